#include "solution.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "threads.h"

#define REFIT_STEPS 100
#define REFIT_ENOUGH 1e-6  /* of the squared error, what the last step gains */
#define SEARCH_STEPS 16   /* with 8 the error was 0.1 to 1.1% greater than with 100, with 16 up to 0.6% */
#define SEARCH_ENOUGH 2e-4 /* after a search, which brought some per cent */
#define QUICK_STEPS 12
#define QUICK_ENOUGH 1e-3
#define EXCHANGE_PASSES 6
#define ROUGH_DAMPING 0.005 /* what f32 does to H is noise of 1e-6 to 1e-5 of its diagonal; chosen dampings go down to 1e-4 */

void s24_solution_free(s24_solution *s)
{
    free(s->damping);
    s24_scorer_free(&s->scorer);
    s24_eliminator_free(&s->own);
    s24_exchange_free(&s->exchange);
    s24_alternation_free(&s->alternation);
}


void s24_recipe_damping(const s24_recipe *how, const s24_columns *columns, unsigned parts, s24_rule rule, double *plane)
{
    s24_damping_plane(columns, parts, rule, how->damping, how->shape, plane);
    if (how->guard && rule == S24_RULE_OBS) {
        s24_damping_guard(columns, parts, plane);
    }
}

bool s24_recipe_rough(const s24_recipe *how)
{
    return how->quick || how->damping >= ROUGH_DAMPING;
}

/* A refit's damping is that of OBS, whatever the mask is from. */
static s24_status eliminator_init(s24_solution *s, const s24_recipe *how, unsigned parts, s24_error *err)
{
    const s24_problem *p = s->p;
    const s24_rule rule = s->kind == S24_SOLVER_SPARSEGPT ? S24_RULE_SPARSEGPT : S24_RULE_OBS;
    s->damping = s24_calloc(p->k, sizeof *s->damping, err);
    if (!s->damping) {
        return S24_ERR_SYSTEM;
    }
    s24_recipe_damping(how, &p->columns, parts, rule, s->damping);
    s->eliminator = how->eliminator ? how->eliminator : &s->own;
    s24_status status = S24_OK;
    if (!how->eliminator) {
        status = s24_eliminator_init(&s->own, &p->env, &p->columns, parts, rule, s->damping, s24_recipe_rough(how), err);
    }
    s24_recipe_damping(how, &p->columns, parts, S24_RULE_OBS, s->damping);
    return status;
}

s24_status s24_solution_init(s24_solution *s, const s24_problem *p, const s24_recipe *how, unsigned parts,
                              const s24_gram *gram, s24_error *err)
{
    const s24_solver *m = how->m;
    *s = (s24_solution){.p = p, .kind = m ? m->kind : S24_SOLVER_MASK, .given = !m, .refit = how->refit, .gram = gram,
                    .search = how->search, .quick = how->quick, .few = how->few};
    const bool short_rows = p->k <= S24_EXCHANGE_COLUMNS;
    s24_status status = S24_OK;
    if (m && m->kind == S24_SOLVER_MASK) {
        status = s24_scorer_init(&s->scorer, p, m, parts, err);
    }
    if (status == S24_OK && (s->kind != S24_SOLVER_MASK || s->refit)) {
        status = eliminator_init(s, how, parts, err);
    }
    if (status == S24_OK && s->refit && short_rows && !s->quick) {
        status = s24_exchange_init(&s->exchange, p->kernels, gram, s->damping, err);
    }
    if (status == S24_OK && s->search && !short_rows) {
        status = s24_alternation_init(&s->alternation, &p->env, gram, s->damping, err);
    }
    return status;
}


void s24_tile_space_free(s24_tile_space *ws)
{
    free(ws->w);
    free(ws->v);
    free(ws->pairs);
    free(ws->scratch);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Floats for so many rows. */
static size_t scratch_of(const s24_problem *p, size_t rows)
{
    const s24_gram gram = {.k = p->k};
    const size_t exchange = 2 * s24_exchange_scratch(p->k < S24_EXCHANGE_COLUMNS ? p->k : S24_EXCHANGE_COLUMNS);
    const s24_eliminator eliminator = {.k = p->k};
    return larger(larger(s24_refit_scratch(&gram, rows), exchange), s24_eliminate_scratch(&eliminator, rows));
}

size_t s24_solve_job_rows(const s24_problem *p)
{
    const size_t rows = (p->rows / 8 + 15) / 16 * 16;
    return rows < S24_SOLVE_ROWS_LEAST ? S24_SOLVE_ROWS_LEAST : rows > S24_SOLVE_ROWS_MOST ? S24_SOLVE_ROWS_MOST : rows;
}

s24_status s24_tile_space_init(s24_tile_space *ws, const s24_problem *p, size_t rows, s24_error *err)
{
    *ws = (s24_tile_space){.w = s24_alloc(rows * p->k * sizeof(float), err),
                           .v = s24_alloc(rows * p->k * sizeof(float), err),
                           .pairs = s24_alloc(rows * (p->k / 4), err),
                           .scratch = s24_alloc(scratch_of(p, rows) * sizeof(float), err)};
    return ws->w && ws->v && ws->pairs && ws->scratch ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status refit_rows(const s24_solution *s, size_t count, s24_tile_space *ws, s24_error *err)
{
    const s24_compute_env *env = &s->p->env;
    const size_t k = s->p->k;
    const double enough = s->quick ? QUICK_ENOUGH : s->search ? SEARCH_ENOUGH : REFIT_ENOUGH;
    const unsigned steps = s->quick ? QUICK_STEPS : s->search ? SEARCH_STEPS : REFIT_STEPS;
    s24_status status = S24_OK;
    for (size_t r = 0; s->exchange.h && r < count && status == S24_OK; r++) {
        s24_exchange_row(&s->exchange, ws->w + r * k, ws->v + r * k, ws->pairs + r * (k / 4),
                         s->search ? EXCHANGE_PASSES : 0, (double *)(void *)ws->scratch);
        status = s24_cancelled(env, err);
    }
    if (s->alternation.k) {
        status = s24_alternate(&s->alternation, s->p->kernels, env, ws->w, ws->v, count, ws->pairs, ws->scratch, err);
    }
    if (status == S24_OK && !s->exchange.h) {
        status = s24_refit(s->gram, s->damping, s->p->kernels, env, ws->w, ws->v, count, ws->pairs, steps, enough,
                           ws->scratch, err);
    }
    return status;
}

s24_status s24_solve_rows(const s24_solution *s, const size_t *row_at, size_t count, s24_tile_space *ws, s24_error *err)
{
    const s24_problem *p = s->p;
    const size_t k = p->k;
    for (size_t r = 0; r < count; r++) {
        uint8_t *pairs = ws->pairs + r * (k / 4);
        s24_problem_load_row(p, row_at[r], ws->w + r * k);
        if (s->given && !s24_problem_get_positions(p, row_at[r], pairs)) {
            return s24_fail(err, S24_ERR_DATA, "row %zu: positions of the mask are not two ascending indices", row_at[r]);
        }
        if (s->kind == S24_SOLVER_MASK && !s->given) {
            s24_problem_score_row(p, &s->scorer, row_at[r], pairs);
        }
    }
    memcpy(ws->v, ws->w, count * k * sizeof *ws->v);
    if (s->kind != S24_SOLVER_MASK || s->refit) {
        s24_eliminate(s->eliminator, p->kernels, p->env.blas, ws->v, count, ws->pairs, s->kind == S24_SOLVER_MASK,
                      ws->scratch);
    } else {
        for (size_t i = 0; i < count * (k / 4); i++) {
            ws->v[4 * i + s24_pair_dropped[ws->pairs[i]][0]] = 0;
            ws->v[4 * i + s24_pair_dropped[ws->pairs[i]][1]] = 0;
        }
    }
    return s->refit ? refit_rows(s, count, ws, err) : S24_OK;
}

/* ---------------------------------------------------------------- a sample of rows */

static void spread_rows(s24_sample *sa, size_t rows)
{
    const size_t stride = (sa->count - 1) / S24_SAMPLE_FEW + 1;
    size_t n = 0;
    for (size_t first = 0; first < stride; first++) {
        sa->few = first == 1 ? n : sa->few;
        for (size_t i = first; i < sa->count; i += stride) {
            sa->row_at[n++] = i * rows / sa->count;
        }
    }
    sa->few = stride == 1 ? n : sa->few;
}

s24_status s24_sample_init(s24_sample *sa, const s24_problem *p, s24_error *err)
{
    const size_t jobs = S24_SAMPLE_ROWS / S24_SAMPLE_JOB;
    *sa = (s24_sample){.count = p->rows < S24_SAMPLE_ROWS ? p->rows : S24_SAMPLE_ROWS,
                       .job_scratch = (scratch_of(p, S24_SAMPLE_JOB) + 15) / 16 * 16};
    spread_rows(sa, p->rows);
    sa->ws = (s24_tile_space){.w = s24_alloc(S24_SAMPLE_ROWS * p->k * sizeof(float), err),
                              .v = s24_alloc(S24_SAMPLE_ROWS * p->k * sizeof(float), err),
                              .pairs = s24_alloc(S24_SAMPLE_ROWS * (p->k / 4), err),
                              .scratch = s24_alloc(jobs * sa->job_scratch * sizeof(float), err)};
    return sa->ws.w && sa->ws.v && sa->ws.pairs && sa->ws.scratch ? S24_OK : S24_ERR_SYSTEM;
}

void s24_sample_over(s24_sample *sa, const s24_gram *of)
{
    sa->of = of;
    sa->known = 0;
}

typedef struct sample_run {
    s24_sample *sa;
    const s24_problem *p;
    const s24_solution *s;
    size_t count, rows; /* of all, of a job */
} sample_run;

static s24_status sample_job(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const sample_run *run = ctx;
    s24_sample *sa = run->sa;
    const size_t k = run->p->k, first = job * run->rows;
    const size_t count = run->count - first < run->rows ? run->count - first : run->rows;
    s24_tile_space ws = {sa->ws.w + first * k, sa->ws.v + first * k, sa->ws.pairs + first * (k / 4),
                         sa->ws.scratch + job * sa->job_scratch};
    s24_status status = S24_OK;
    (void)slot;
    if (run->s) {
        status = s24_solve_rows(run->s, sa->row_at + first, count, &ws, err);
    } else {
        for (size_t r = 0; r < count; r++) {
            s24_problem_load_row(run->p, sa->row_at[first + r], ws.v + r * k);
        }
    }
    for (size_t i = 0; i < count * k; i++) {
        ws.v[i] -= ws.w[i];
    }
    if (first + count > sa->known) {
        s24_quadratics(sa->of, run->p->kernels, run->p->env.blas, ws.w, count, ws.scratch, sa->whole + first);
    }
    s24_quadratics(sa->of, run->p->kernels, run->p->env.blas, ws.v, count, ws.scratch, sa->lost + first);
    return status;
}

/* Of the first rows. */
static double error_of(const s24_sample *sa, size_t rows)
{
    double whole = 0, lost = 0;
    for (size_t i = 0; i < rows; i++) {
        whole += sa->whole[i];
        lost += sa->lost[i];
    }
    return whole > 0 ? sqrt(fmax(lost, 0) / whole) : lost > 0 ? INFINITY : 0;
}

s24_status s24_sample_error(s24_sample *sa, const s24_problem *p, const s24_solution *s, double *error, s24_error *err)
{
    static const s24_stages stages = {.work = sample_job};
    sample_run run = {.sa = sa, .p = p, .s = s, .count = sa->count, .rows = S24_SAMPLE_JOB};
    if (s && s->few && p->k > S24_EXCHANGE_COLUMNS) {
        run.count = sa->few;
        run.rows = S24_SAMPLE_JOB / 2;
    }
    const size_t jobs = (run.count - 1) / run.rows + 1;
    const s24_status status = s24_run(&stages, &run, jobs, p->env.threads < jobs ? p->env.threads : (unsigned)jobs, err);
    if (status == S24_OK) {
        sa->known = run.count > sa->known ? run.count : sa->known;
        *error = error_of(sa, run.count);
        sa->error_of_few = error_of(sa, sa->few);
    }
    return status;
}

s24_status s24_recipe_error(s24_sample *sa, const s24_problem *p, const s24_recipe *how, unsigned parts, const s24_gram *to,
                            double *error, s24_error *err)
{
    s24_solution s;
    s24_status status = s24_cancelled(&p->env, err);
    if (status != S24_OK) {
        return status;
    }
    status = s24_solution_init(&s, p, how, parts, to, err);
    status = status == S24_OK ? s24_sample_error(sa, p, &s, error, err) : status;
    s24_solution_free(&s);
    return status;
}
