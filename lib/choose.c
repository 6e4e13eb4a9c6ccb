#include "choose.h"

#include <math.h>

#include "mem.h"

#define THOROUGH_COLUMNS 256 /* up to here all is tried with the solution that will be made */
#define COARSE_COLUMNS 2048  /* beyond, dampings are tried by factors of ten alone: an inverse each */

/* Held-out samples, and what has been found out with them. */
typedef struct trial {
    const s24_problem *p;
    s24_sample *sa;
    s24_gram fit, held_out; /* products of the samples that are fitted to, and of those that are not */
    s24_eliminator chosen;  /* of the damping that was chosen, for all that is compared then */
} trial;

static s24_status try(trial *t, const s24_recipe *how, double *error, s24_error *err)
{
    return s24_recipe_error(t->sa, t->p, how, 1u << S24_FIT, &t->fit, error, err);
}

/*
 * Damping, from 1e-4 to 100 by factors of ten and then of sqrt(10), downhill from 0.01: the error is a smooth curve of
 * the damping with one valley. Below it noise of the samples is fitted, above it too little of the structure is used.
 * Then, from there, the damping's shape: by halves towards 1 as long as that is better. The best shape is 0 for most
 * layers; it was 1 by 3 to 10% of the error for inputs of heavy tails and different scales.
 */
#define DAMPINGS 13
#define DAMPING_START 4
#define DAMPING_STEP 2
#define SHAPES 3

typedef struct damping_search {
    trial *t;
    s24_recipe how;
    double tried[SHAPES][DAMPINGS]; /* errors; NaN: not yet */
    int shape, best;
    double least; /* of all errors */
} damping_search;

static double damping_at(int index)
{
    return pow(10, -4 + 0.5 * index);
}

static double shape_at(int index)
{
    return 0.5 * index;
}

/* Tries one, unless it has been or cannot be; *better: it is the best of its shape. */
static s24_status try_damping(damping_search *s, int at, bool *better, s24_error *err)
{
    *better = false;
    if (at < 0 || at >= DAMPINGS || !isnan(s->tried[s->shape][at])) {
        return S24_OK;
    }
    s->how.damping = damping_at(at);
    s->how.shape = shape_at(s->shape);
    const s24_status status = try(s->t, &s->how, &s->tried[s->shape][at], err);
    *better = status == S24_OK && s->tried[s->shape][at] < s->tried[s->shape][s->best];
    return status;
}

/* From s->best to the bottom, in steps of `step` and then of their half, down to `last`. */
static s24_status descend(damping_search *s, int step, int last, s24_error *err)
{
    bool better;
    s24_status status = try_damping(s, s->best, &better, err);
    for (; step >= last && status == S24_OK; step /= 2) {
        for (int side = 0; side < 2 && status == S24_OK; side++) {
            const int by = side ? -step : step;
            do {
                status = try_damping(s, s->best + by, &better, err);
                s->best += better ? by : 0;
            } while (status == S24_OK && better);
        }
    }
    return status;
}

/* The shapes one after the other, each from where the one before it was best; the first from `from`. */
static s24_status choose_shape(damping_search *s, int from, int step, s24_recipe *how, s24_error *err)
{
    const int last = s->t->p->k > COARSE_COLUMNS ? DAMPING_STEP : 1;
    s->least = INFINITY;
    for (int i = 0; i < SHAPES * DAMPINGS; i++) {
        s->tried[i / DAMPINGS][i % DAMPINGS] = NAN;
    }
    s->best = from;
    for (s->shape = 0; s->shape < SHAPES; s->shape++) {
        const s24_status status = descend(s, s->shape ? last : step, last, err);
        if (status != S24_OK) {
            return status;
        }
        if (!(s->tried[s->shape][s->best] < s->least)) {
            break;
        }
        s->least = s->tried[s->shape][s->best];
        how->damping = damping_at(s->best);
        how->shape = shape_at(s->shape);
    }
    return S24_OK;
}

/*
 * Samples held out, which are from the same time as the others, hardly show what rare inputs may do, so that guarding
 * against them is worth so much of the error there. In layers with rare inputs it cost 1 to 2.3% there, and on fresh
 * samples saved up to 20% where these were unlike the others, and cost up to 1% where they were not; in other layers it
 * cost nothing, or up to 1.8% where it was taken.
 */
#define GUARD_PREMIUM 1.025

static s24_status choose_guard(damping_search *s, s24_recipe *how, s24_error *err)
{
    double e = NAN;
    s->how.damping = how->damping;
    s->how.shape = how->shape;
    s->how.guard = true;
    const s24_status status = try(s->t, &s->how, &e, err);
    how->guard = e <= GUARD_PREMIUM * s->least;
    return status;
}

/*
 * With a quick solution, and where rows are so short that it takes no time, from there with the one that will be made:
 * a better mask fits the samples more closely, and wants more damping.
 */
static s24_status choose_damping(trial *t, s24_recipe *how, s24_error *err)
{
    damping_search s = {.t = t, .how = *how};
    s.how.search = false;
    s.how.quick = s.how.few = true;
    s24_status status = choose_shape(&s, DAMPING_START, DAMPING_STEP, how, err);
    if (status == S24_OK && how->search && t->p->k <= THOROUGH_COLUMNS) {
        s.how = *how;
        status = choose_shape(&s, s.best, 1, how, err);
    }
    return status == S24_OK && t->p->cal->fourths[S24_FIT] ? choose_guard(&s, how, err) : status;
}

/* Whether a recipe may be better than what a few rows' error is of: worse on these, others need not be asked. */
static s24_status worth_trying(trial *t, s24_recipe how, double of_few, bool *worth, s24_error *err)
{
    double e = NAN;
    how.few = true;
    const s24_status status = try(t, &how, &e, err);
    *worth = status == S24_OK && e < of_few;
    return status;
}

/* What obs gives way to where that does better on held-out samples. */
static s24_status choose_fallback(trial *t, s24_recipe *how, double *error, s24_error *err)
{
    const double of_few = t->sa->error_of_few;
    const s24_solver *obs = s24_solver_find("obs"), *wanda = s24_solver_find("wanda");
    const s24_recipe fitted = {.refit = true, .damping = how->damping, .shape = how->shape, .guard = how->guard,
                               .quick = true, .eliminator = &t->chosen};
    s24_recipe others[] = {fitted, fitted, {.m = wanda, .damping = NAN},
                           {.m = s24_solver_find("magnitude"), .damping = NAN}};
    others[0].m = obs;
    others[1].m = wanda;
    s24_status status = S24_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others && status == S24_OK; i++) {
        double e = NAN;
        bool worth = true;
        if (others[i].refit && t->p->k > THOROUGH_COLUMNS) {
            status = worth_trying(t, others[i], of_few, &worth, err);
        }
        status = status == S24_OK && worth ? try(t, &others[i], &e, err) : status;
        if (status == S24_OK && e < *error) {
            *how = others[i];
            how->quick = false;
            how->eliminator = NULL;
            *error = e;
        }
    }
    return status;
}

static s24_status make_chosen(trial *t, const s24_recipe *how, s24_error *err)
{
    const s24_problem *p = t->p;
    const unsigned parts = 1u << S24_FIT;
    double *damping = s24_calloc(p->k, sizeof *damping, err);
    if (!damping) {
        return S24_ERR_SYSTEM;
    }
    s24_recipe_damping(how, &p->columns, parts, S24_RULE_OBS, damping);
    const s24_status status = s24_eliminator_init(&t->chosen, &p->env, &p->columns, parts, S24_RULE_OBS, damping,
                                                  s24_recipe_rough(how), err);
    free(damping);
    return status;
}

/* obs, with the damping that was chosen or given, and what it gives way to. */
static s24_status choose_obs(trial *t, s24_recipe *how, double *error, s24_error *err)
{
    s24_recipe searched = *how;
    s24_status status = make_chosen(t, how, err);
    searched.eliminator = &t->chosen;
    status = status == S24_OK ? try(t, &searched, error, err) : status;
    return status == S24_OK ? choose_fallback(t, how, error, err) : status;
}

static s24_status choose(trial *t, s24_recipe *how, s24_output_error *errors, s24_error *err)
{
    const s24_recipe wanda = {.m = s24_solver_find("wanda"), .damping = NAN};
    s24_status status = try(t, &wanda, &errors->wanda_held_out, err);
    if (status == S24_OK && how->refit && isnan(how->damping)) {
        status = choose_damping(t, how, err);
    }
    if (status != S24_OK) {
        return status;
    }
    const bool obs = how->m && how->m->kind == S24_SOLVER_OBS;
    return obs ? choose_obs(t, how, &errors->held_out, err) : try(t, how, &errors->held_out, err);
}

s24_status s24_choose_held_out(s24_sample *sa, const s24_problem *p, s24_recipe *how, s24_output_error *errors,
                               s24_error *err)
{
    trial t = {.p = p, .sa = sa};
    s24_status status = s24_gram_init(&t.fit, &p->env, &p->columns, 1u << S24_FIT, err);
    status = status == S24_OK ? s24_gram_init(&t.held_out, &p->env, &p->columns, 1u << S24_HELD_OUT, err) : status;
    s24_sample_over(sa, &t.held_out);
    status = status == S24_OK ? choose(&t, how, errors, err) : status;
    s24_gram_free(&t.fit);
    s24_gram_free(&t.held_out);
    s24_eliminator_free(&t.chosen);
    return status;
}
