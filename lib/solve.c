#include "solve.h"

#include <math.h>

#include "choose.h"
#include "mem.h"
#include "threads.h"

/* ---------------------------------------------------------------- all rows */

typedef struct whole {
    const s24_solution *s;
    s24_tile_space *ws; /* one a slot, made when it is first used */
    size_t rows;        /* of a job */
} whole;

static s24_status solve_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const whole *all = ctx;
    const s24_problem *p = all->s->p;
    s24_tile_space *ws = &all->ws[slot];
    size_t row_at[S24_SOLVE_ROWS_MOST] = {0};
    const size_t first = job * all->rows, count = p->rows - first < all->rows ? p->rows - first : all->rows;
    for (size_t r = 0; r < count; r++) {
        row_at[r] = first + r;
    }
    s24_status status = s24_cancelled(&p->env, err);
    if (status == S24_OK && !ws->w) { /* few runs use all slots */
        status = s24_tile_space_init(ws, p, all->rows, err);
    }
    status = status == S24_OK ? s24_solve_rows(all->s, row_at, count, ws, err) : status;
    for (size_t r = 0; r < count && status == S24_OK; r++) {
        s24_problem_put_positions(p, first + r, ws->pairs + r * (p->k / 4));
        s24_problem_store_row(p, first + r, ws->w + r * p->k, ws->v + r * p->k, ws->pairs + r * (p->k / 4));
    }
    return status;
}

/* Choosing is about half of the work where there is something to choose, and is told as that. */
static void tell(const s24_problem *p, double done)
{
    if (p->o->progress) {
        p->o->progress(p->o->user, done);
    }
}

static s24_status solve_commit(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const whole *all = ctx;
    const s24_problem *p = all->s->p;
    const double done = (double)((job + 1) * all->rows) / (double)p->rows;
    (void)slot;
    (void)err;
    tell(p, done < 1 ? 0.5 + done / 2 : 1);
    return S24_OK;
}

static s24_status solve_all(const s24_solution *s, s24_error *err)
{
    static const s24_stages stages = {.work = solve_tile, .commit = solve_commit};
    const s24_problem *p = s->p;
    const size_t rows = s24_solve_job_rows(p), jobs = p->rows ? (p->rows - 1) / rows + 1 : 0;
    const unsigned threads = p->env.threads < jobs ? p->env.threads : jobs ? (unsigned)jobs : 1;
    const unsigned slots = s24_slots(threads);
    whole all = {.s = s, .ws = s24_calloc(slots, sizeof *all.ws, err), .rows = rows};
    const s24_status status = all.ws ? s24_run(&stages, &all, jobs, threads, err) : S24_ERR_SYSTEM;
    for (unsigned i = 0; all.ws && i < slots; i++) {
        s24_tile_space_free(&all.ws[i]);
    }
    free(all.ws);
    return status;
}

/* ---------------------------------------------------------------- solving */

#define ALL_PARTS (1u << S24_FIT | 1u << S24_HELD_OUT)
#define DAMPING_DEFAULT 0.01

static s24_status solve_and_measure(s24_sample *sa, const s24_problem *p, const s24_recipe *how, bool measures,
                                    s24_output_error *errors, s24_error *err)
{
    const s24_recipe wanda = {.m = s24_solver_find("wanda"), .damping = NAN};
    s24_gram all = {.k = 0};
    s24_solution s = {.p = p};
    s24_status status = measures || how->refit ? s24_gram_init(&all, &p->env, &p->columns, ALL_PARTS, err) : S24_OK;
    if (status == S24_OK && measures) {
        s24_sample_over(sa, &all);
        status = s24_recipe_error(sa, p, &wanda, ALL_PARTS, NULL, &errors->wanda_training, err);
    }
    status = status == S24_OK ? s24_solution_init(&s, p, how, ALL_PARTS, &all, err) : status;
    if (status == S24_OK) {
        status = s.scorer.a && !how->refit ? s24_problem_mask(p, &s.scorer, err) : solve_all(&s, err);
    }
    if (status == S24_OK) {
        tell(p, 1);
    }
    if (status == S24_OK && measures) {
        status = s24_sample_error(sa, p, NULL, &errors->training, err);
    }
    s24_solution_free(&s);
    s24_gram_free(&all);
    return status;
}

static bool measured(const s24_calibration *cal)
{
    return cal && cal->has_blas && cal->products[S24_FIT];
}

static s24_status solve_problem(s24_problem *p, const s24_solver *m, bool refit, bool wanted, s24_output_error *errors,
                                s24_error *err)
{
    const bool solves = refit || (m && m->kind != S24_SOLVER_MASK), measures = wanted && measured(p->cal);
    const bool chooses = (measures || refit) && measured(p->cal) && p->cal->products[S24_HELD_OUT];
    const double given = p->o->damping >= 0 ? p->o->damping : NAN;
    const double unless_chosen = m && m->kind == S24_SOLVER_SPARSEGPT && isnan(given) ? DAMPING_DEFAULT : given;
    s24_recipe how = {.m = m, .refit = refit, .search = m && m->kind == S24_SOLVER_OBS,
                      .damping = solves ? unless_chosen : NAN};
    s24_sample sa = {.count = 0};
    s24_status status = measures || chooses ? s24_sample_init(&sa, p, err) : S24_OK;
    if (status == S24_OK && chooses) {
        status = s24_choose_held_out(&sa, p, &how, errors, err);
        tell(p, 0.5);
    } else if (solves && isnan(how.damping)) {
        how.damping = DAMPING_DEFAULT;
    }
    status = status == S24_OK ? solve_and_measure(&sa, p, &how, measures, errors, err) : status;
    errors->damping = how.damping;
    errors->damping_shape = isnan(how.damping) ? NAN : how.shape;
    errors->method = how.m ? how.m->name : "mask";
    errors->refit = how.refit;
    s24_tile_space_free(&sa.ws);
    return status;
}

static s24_status check_request(const s24_solve_options *o, const s24_calibration *cal, const s24_solver *m, bool solves,
                                s24_error *err)
{
    if (o->method && !m) {
        return s24_fail(err, S24_ERR_USAGE, "no method %s; there are magnitude, wanda, ria, sparsegpt and obs", o->method);
    }
    if (!cal && (solves || (m && m->norms))) {
        return s24_fail(err, S24_ERR_USAGE, "%s needs activations of the layer", o->method ? o->method : "a refit");
    }
    if (cal && solves && (!cal->products[S24_FIT] || !cal->has_blas)) {
        return s24_fail(err, S24_ERR_USAGE, "%s needs activations or a Hessian, and a BLAS",
                        o->method && m->kind != S24_SOLVER_MASK ? o->method : "a refit");
    }
    return cal ? s24_calibration_complete(cal, err) : S24_OK;
}

s24_status s24_solve(const s24_solve_options *o, const s24_calibration *cal, size_t rows, size_t cols, s24_dtype dtype,
                     void *weights, uint8_t *positions, s24_output_error *errors, s24_error *err)
{
    const s24_solver *m = o->method ? s24_solver_find(o->method) : NULL;
    const bool refit = o->refit || (m && m->kind == S24_SOLVER_OBS);
    s24_output_error ignored = {.samples = 0}, *e = errors ? errors : &ignored;
    *e = (s24_output_error){.training = NAN, .held_out = NAN, .wanda_training = NAN, .wanda_held_out = NAN, .damping = NAN,
                              .damping_shape = NAN};
    s24_status status = check_request(o, cal, m, refit || (m && m->kind != S24_SOLVER_MASK), err);
    if (status != S24_OK) {
        return status;
    }
    s24_problem p = {.o = o, .cal = cal, .kernels = s24_solve_kernels_of(o->isa), .dtype = dtype, .weights = weights,
                     .positions = positions,
                 .env = {.blas = cal ? &cal->blas : NULL, .threads = o->threads ? o->threads : s24_threads_available(),
                         .cancel = o->cancel}};
    if (cal) {
        e->samples = cal->seen[S24_FIT] + cal->seen[S24_HELD_OUT];
        e->held_out_samples = cal->seen[S24_HELD_OUT];
    }
    if (p.env.blas && p.env.blas->set_threads) {
        p.env.blas->set_threads(1);
    }
    p.surveyed = refit || !m || m->kind != S24_SOLVER_MASK || m->sums || (errors && measured(cal));
    status = s24_problem_init(&p, m, rows, cols, err);
    status = status == S24_OK && p.rows > 0 && p.k > 0 ? solve_problem(&p, m, refit, errors, e, err) : status;
    s24_problem_free(&p);
    return status;
}
