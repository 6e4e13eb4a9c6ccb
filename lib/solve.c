#include "solve.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "alternate.h"
#include "dtype.h"
#include "exchange.h"
#include "mem.h"
#include "threads.h"

#define TILE_ROWS 256 /* rows of one job: what a product of them by K x K reads of K x K is little beside its work */
#define REFIT_STEPS 30
#define QUICK_STEPS 12
#define EXCHANGE_PASSES 6
#define THOROUGH_COLUMNS 256
#define EXACT_COLUMNS 128 /* up to here a refit is by elimination */

/* ---------------------------------------------------------------- methods */

typedef enum kind { MASK, SPARSEGPT, OBS } kind;

/* A mask's score is |w| (a_j + b_i c_j), in f64. */
typedef struct method {
    const char *name;
    kind kind;
    bool norms; /* needs the inputs' norms */
    bool sums;  /* and the sums of |w| over rows and over columns */
} method;

static const method methods[] = {
    {"magnitude", MASK, false, false},
    {"wanda", MASK, true, false},
    {"ria", MASK, true, true},
    {"sparsegpt", SPARSEGPT, true, false},
    {"obs", OBS, true, false},
};

static const method *method_find(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

bool s24_solve_method(const char *name, bool *needs_products, bool *rewrites)
{
    const method *m = method_find(name);
    if (m) {
        *needs_products = *rewrites = m->kind != MASK;
    }
    return m != NULL;
}

/* ---------------------------------------------------------------- the problem */

typedef struct problem {
    const s24_solve_options *o;
    const s24_calibration *cal; /* NULL: magnitude */
    s24_compute_env env;
    const s24_solve_kernels *kernels;
    size_t rows;                /* of the matrix that is solved: a run of each tap behind one another */
    size_t taps, cols, run;     /* elements of a run, also padded to a multiple of 4 */
    size_t k;                   /* taps * run: padded columns */
    s24_columns columns;
    s24_dtype dtype;
    unsigned char *weights;     /* [rows, cols] */
    uint8_t *positions;
    double scale;               /* a power of two: weights times it are within 1 */
    double *row_sums, *col_sums; /* of |w|, for ria; or NULL */
} problem;

/* The element of a padded column in memory; false: it is padding. */
static bool element_of(const problem *p, size_t row, size_t col, size_t *at)
{
    *at = (row * p->taps + col / p->run) * p->cols + col % p->run;
    return col % p->run < p->cols;
}

static double weight_at(const problem *p, size_t row, size_t col)
{
    const s24_dtype_info *info = s24_info(p->dtype);
    size_t at;
    return element_of(p, row, col, &at) ? s24_decode(info, s24_load(p->weights, info->bytes, at)) : 0;
}

static s24_status examine_weights(problem *p, s24_error *err)
{
    double largest = 0;
    for (size_t i = 0; i < p->rows; i++) {
        for (size_t j = 0; j < p->k; j++) {
            const double w = fabs(weight_at(p, i, j));
            if (!isfinite(w)) {
                return s24_fail(err, S24_ERR_DATA, "row %zu, element %zu is %s; mend the weights",
                                i * p->taps + j / p->run, j % p->run, isnan(w) ? "nan" : "infinite");
            }
            largest = w > largest ? w : largest;
            if (p->row_sums) {
                p->row_sums[i] += w;
                p->col_sums[j] += w;
            }
        }
    }
    int exponent = 0;
    frexp(largest, &exponent);
    p->scale = largest > 0 ? ldexp(1, exponent < -1022 ? 1022 : -exponent) : 1;
    return S24_OK;
}

/* ---------------------------------------------------------------- masks */

typedef struct scorer {
    double *a, *c; /* [k]; c NULL: 0 */
    double *b;     /* [rows] */
} scorer;

static s24_status scorer_init(scorer *s, const problem *p, const method *m, unsigned parts, s24_error *err)
{
    *s = (scorer){.a = s24_calloc(p->k, sizeof(double), err)};
    if (!s->a) {
        return S24_ERR_SYSTEM;
    }
    for (size_t j = 0; j < p->k; j++) {
        s->a[j] = m->norms ? sqrt(s24_columns_square(&p->columns, parts, j)) : 1;
    }
    if (!m->sums) {
        return S24_OK;
    }
    s->c = s24_calloc(p->k, sizeof(double), err);
    s->b = s24_calloc(p->rows, sizeof(double), err);
    if (!s->c || !s->b) {
        return S24_ERR_SYSTEM;
    }
    for (size_t j = 0; j < p->k; j++) {
        s->c[j] = sqrt(s->a[j]);
        s->a[j] = p->col_sums[j] > 0 ? s->c[j] / p->col_sums[j] : 0;
    }
    for (size_t i = 0; i < p->rows; i++) {
        s->b[i] = p->row_sums[i] > 0 ? 1 / p->row_sums[i] : 0;
    }
    return S24_OK;
}

static void scorer_free(scorer *s)
{
    free(s->a);
    free(s->b);
    free(s->c);
}

/* The pair to drop of four scores: who loses against two or more; of equal ones the lower index wins. Padding: -1. */
static uint8_t drop_least(const double score[4])
{
    for (uint8_t s = 0; s < S24_PAIRS; s++) {
        const unsigned p = s24_pair_kept[s][0], q = s24_pair_kept[s][1];
        bool best = true;
        for (unsigned i = 0; i < 2; i++) {
            const unsigned d = s24_pair_dropped[s][i];
            best &= (p < d ? score[p] >= score[d] : score[p] > score[d]) &&
                    (q < d ? score[q] >= score[d] : score[q] > score[d]);
        }
        if (best) {
            return s;
        }
    }
    return 0;
}

static void score_row(const problem *p, const scorer *s, size_t row, uint8_t *pairs)
{
    for (size_t g = 0; g < p->k / 4; g++) {
        double score[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t j = 4 * g + i;
            const double factor = s->c ? s->a[j] + s->b[row] * s->c[j] : s->a[j];
            score[i] = j % p->run < p->cols ? fabs(weight_at(p, row, j)) * factor : -1;
        }
        pairs[g] = drop_least(score);
    }
}

/* Positions: a nibble p0 | p1 << 2 a group, the lower group first. */
static uint8_t nibble_of(uint8_t pair)
{
    return (uint8_t)(s24_pair_kept[pair][0] | s24_pair_kept[pair][1] << 2);
}

/* The positions of a row's run, of run / 4 groups. */
static size_t positions_of(const problem *p, size_t row, size_t tap)
{
    return (row * p->taps + tap) * ((p->run / 4 + 1) / 2);
}

static void put_positions(const problem *p, size_t row, const uint8_t *pairs)
{
    const size_t groups = p->run / 4;
    for (size_t t = 0; t < p->taps; t++, pairs += groups) {
        uint8_t *to = p->positions + positions_of(p, row, t);
        for (size_t g = 0; g < groups; g += 2) {
            to[g / 2] = (uint8_t)(nibble_of(pairs[g]) | (g + 1 < groups ? nibble_of(pairs[g + 1]) << 4 : 0));
        }
    }
}

static bool get_positions(const problem *p, size_t row, uint8_t *pairs)
{
    for (size_t i = 0; i < p->k / 4; i++) {
        const size_t g = i % (p->run / 4);
        const uint8_t *from = p->o->mask + positions_of(p, row, i / (p->run / 4));
        const unsigned nibble = from[g / 2] >> (g % 2 * 4) & 15;
        pairs[i] = 0;
        while (pairs[i] < S24_PAIRS && nibble_of(pairs[i]) != nibble) {
            pairs[i]++;
        }
        if (pairs[i] == S24_PAIRS) {
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- one solution */

/* How rows are solved: with what is made of some of the samples. */
typedef struct solution {
    const problem *p;
    kind kind;
    bool given;             /* the mask */
    bool refit;
    double *damping;        /* [k]: on the diagonal; NULL: none is used */
    scorer scorer;          /* of MASK, unless given */
    s24_eliminator eliminator;
    const s24_gram *gram;   /* of the refit */
    bool quick, search;     /* as in recipe */
    s24_exchange exchange;       /* of short rows, unless quick */
    s24_alternation alternation; /* of long ones, for `search` */
} solution;

static void solution_free(solution *s)
{
    free(s->damping);
    scorer_free(&s->scorer);
    s24_eliminator_free(&s->eliminator);
    s24_exchange_free(&s->exchange);
    s24_alternation_free(&s->alternation);
}

/* What is done, and with how much damping. */
typedef struct recipe {
    const method *m;        /* NULL: the mask that is given */
    bool refit;
    double damping, shape;  /* of s24_damping_plane; NaN: none is used */
    bool search;            /* for a better mask, by exchanges or by alternating directions */
    bool quick;             /* a refit of few steps will do, to choose by */
} recipe;

/* A refit's damping is that of OBS, whatever the mask is from. */
static s24_status eliminator_init(solution *s, const recipe *how, unsigned parts, s24_error *err)
{
    const problem *p = s->p;
    const s24_rule rule = s->kind == SPARSEGPT ? S24_RULE_SPARSEGPT : S24_RULE_OBS;
    s->damping = s24_calloc(p->k, sizeof *s->damping, err);
    if (!s->damping) {
        return S24_ERR_SYSTEM;
    }
    s24_damping_plane(&p->columns, parts, rule, how->damping, how->shape, s->damping);
    const s24_status status = s24_eliminator_init(&s->eliminator, &p->env, &p->columns, parts, rule, s->damping, err);
    s24_damping_plane(&p->columns, parts, S24_RULE_OBS, how->damping, how->shape, s->damping);
    return status;
}

/* From the samples of `parts`, whose products are `gram` (used where there is a refit, and borrowed). */
static s24_status solution_init(solution *s, const problem *p, const recipe *how, unsigned parts, const s24_gram *gram,
                                s24_error *err)
{
    const method *m = how->m;
    *s = (solution){.p = p, .kind = m ? m->kind : MASK, .given = !m, .refit = how->refit, .gram = gram,
                    .search = how->search, .quick = how->quick};
    const bool short_rows = p->k <= S24_EXCHANGE_COLUMNS;
    s24_status status = S24_OK;
    if (m && m->kind == MASK) {
        status = scorer_init(&s->scorer, p, m, parts, err);
    }
    if (status == S24_OK && (s->kind != MASK || s->refit)) {
        status = eliminator_init(s, how, parts, err);
    }
    if (status == S24_OK && s->refit && (s->search ? short_rows : p->k <= EXACT_COLUMNS) && !s->quick) {
        status = s24_exchange_init(&s->exchange, p->kernels, gram, s->damping, err);
    }
    if (status == S24_OK && s->search && !short_rows) {
        status = s24_alternation_init(&s->alternation, &p->env, gram, s->damping, err);
    }
    return status;
}

/* What a job computes with. */
typedef struct workspace {
    float *w, *v;   /* [TILE_ROWS, k]: the weights, scaled, and their solution */
    uint8_t *pairs; /* [TILE_ROWS, k / 4] */
    float *scratch;
} workspace;

static void workspace_free(workspace *ws)
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

static s24_status workspace_init(workspace *ws, const problem *p, s24_error *err)
{
    const s24_gram gram = {.k = p->k};
    const size_t exchange = 2 * s24_exchange_scratch(p->k < S24_EXCHANGE_COLUMNS ? p->k : S24_EXCHANGE_COLUMNS);
    const size_t refit = larger(s24_refit_scratch(&gram, TILE_ROWS), exchange);
    *ws = (workspace){.w = s24_alloc(TILE_ROWS * p->k * sizeof(float), err),
                      .v = s24_alloc(TILE_ROWS * p->k * sizeof(float), err),
                      .pairs = s24_alloc(TILE_ROWS * (p->k / 4), err),
                      .scratch = s24_alloc(larger(refit, TILE_ROWS * S24_ELIMINATE_BLOCK) * sizeof(float), err)};
    return ws->w && ws->v && ws->pairs && ws->scratch ? S24_OK : S24_ERR_SYSTEM;
}

static void load_row(const problem *p, size_t row, float *w)
{
    for (size_t j = 0; j < p->k; j++) {
        w[j] = (float)(weight_at(p, row, j) * p->scale);
    }
}

static s24_status refit_rows(const solution *s, size_t count, workspace *ws, s24_error *err)
{
    const s24_compute_env *env = &s->p->env;
    const size_t k = s->p->k;
    s24_status status = S24_OK;
    for (size_t r = 0; s->exchange.h && r < count && status == S24_OK; r++) {
        s24_exchange_row(&s->exchange, ws->w + r * k, ws->v + r * k, ws->pairs + r * (k / 4),
                         s->search ? EXCHANGE_PASSES : 0, (double *)(void *)ws->scratch);
        status = s24_cancelled(env, err);
    }
    if (s->alternation.k) {
        status = s24_alternate(&s->alternation, env, ws->w, ws->v, count, ws->pairs, ws->scratch, err);
    }
    if (status == S24_OK && !s->exchange.h) {
        status = s24_refit(s->gram, s->damping, env, ws->w, ws->v, count, ws->pairs, s->quick ? QUICK_STEPS : REFIT_STEPS,
                           s->quick ? 1e-3 : 1e-5, ws->scratch, err);
    }
    return status;
}

/* Rows row_at[0..count) of the weights: ws->w, their solution ws->v, and ws->pairs. */
static s24_status solve_rows(const solution *s, const size_t *row_at, size_t count, workspace *ws, s24_error *err)
{
    const problem *p = s->p;
    const size_t k = p->k;
    for (size_t r = 0; r < count; r++) {
        uint8_t *pairs = ws->pairs + r * (k / 4);
        load_row(p, row_at[r], ws->w + r * k);
        if (s->given && !get_positions(p, row_at[r], pairs)) {
            return s24_fail(err, S24_ERR_DATA, "row %zu: positions of the mask are not two ascending indices", row_at[r]);
        }
        if (s->kind == MASK && !s->given) {
            score_row(p, &s->scorer, row_at[r], pairs);
        }
    }
    memcpy(ws->v, ws->w, count * k * sizeof *ws->v);
    if (s->kind != MASK || s->refit) {
        s24_eliminate(&s->eliminator, p->kernels, p->env.blas, ws->v, count, ws->pairs, s->kind == MASK, ws->scratch);
    } else {
        for (size_t i = 0; i < count * (k / 4); i++) {
            ws->v[4 * i + s24_pair_dropped[ws->pairs[i]][0]] = 0;
            ws->v[4 * i + s24_pair_dropped[ws->pairs[i]][1]] = 0;
        }
    }
    return s->refit ? refit_rows(s, count, ws, err) : S24_OK;
}

/* ---------------------------------------------------------------- all rows */

typedef struct whole {
    const solution *s;
    workspace *ws; /* one a thread */
} whole;

/* Kept values go back as they came where nothing has changed them. */
static void store_row(const problem *p, size_t row, const float *w, const float *v, const uint8_t *pairs)
{
    const s24_dtype_info *info = s24_info(p->dtype);
    for (size_t j = 0; j < p->k; j++) {
        const uint8_t pair = pairs[j / 4];
        const bool dropped = s24_pair_dropped[pair][0] == j % 4 || s24_pair_dropped[pair][1] == j % 4;
        bool overflow = false;
        size_t at;
        if (element_of(p, row, j, &at) && (dropped || v[j] != w[j])) {
            s24_store(p->weights, info->bytes, at, dropped ? 0 : s24_encode(info, (double)v[j] / p->scale, &overflow));
        }
    }
}

static s24_status solve_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const whole *all = ctx;
    const problem *p = all->s->p;
    workspace *ws = &all->ws[slot];
    size_t row_at[TILE_ROWS] = {0};
    const size_t first = job * TILE_ROWS, count = p->rows - first < TILE_ROWS ? p->rows - first : TILE_ROWS;
    for (size_t r = 0; r < count; r++) {
        row_at[r] = first + r;
    }
    s24_status status = s24_cancelled(&p->env, err);
    status = status == S24_OK ? solve_rows(all->s, row_at, count, ws, err) : status;
    for (size_t r = 0; r < count && status == S24_OK; r++) {
        put_positions(p, first + r, ws->pairs + r * (p->k / 4));
        store_row(p, first + r, ws->w + r * p->k, ws->v + r * p->k, ws->pairs + r * (p->k / 4));
    }
    return status;
}

static s24_status solve_all(const solution *s, s24_error *err)
{
    static const s24_stages stages = {.work = solve_tile};
    const problem *p = s->p;
    const size_t jobs = p->rows ? (p->rows - 1) / TILE_ROWS + 1 : 0;
    const unsigned threads = p->env.threads < jobs ? p->env.threads : jobs ? (unsigned)jobs : 1;
    whole all = {.s = s, .ws = s24_calloc(threads, sizeof *all.ws, err)};
    s24_status status = all.ws ? S24_OK : S24_ERR_SYSTEM;
    for (unsigned i = 0; i < threads && status == S24_OK; i++) {
        status = workspace_init(&all.ws[i], p, err);
    }
    status = status == S24_OK ? s24_run(&stages, &all, jobs, threads, err) : status;
    for (unsigned i = 0; all.ws && i < threads; i++) {
        workspace_free(&all.ws[i]);
    }
    free(all.ws);
    return status;
}

/* ---------------------------------------------------------------- errors of a sample of rows */

typedef struct sample {
    size_t count;
    size_t row_at[S24_SAMPLE_ROWS];
    workspace ws;
} sample;

_Static_assert(S24_SAMPLE_ROWS <= TILE_ROWS, "a sample is solved as a tile");

static s24_status sample_init(sample *sa, const problem *p, s24_error *err)
{
    sa->count = p->rows < S24_SAMPLE_ROWS ? p->rows : S24_SAMPLE_ROWS;
    for (size_t i = 0; i < sa->count; i++) {
        sa->row_at[i] = i * p->rows / sa->count;
    }
    return workspace_init(&sa->ws, p, err);
}

/* ||X (W - V)'||_F / ||X W'||_F over the samples of `gram` */
static double output_error(const sample *sa, const problem *p, const s24_gram *gram)
{
    const double whole_output = s24_quadratic(gram, p->env.blas, sa->ws.w, sa->count, sa->ws.scratch);
    for (size_t i = 0; i < sa->count * p->k; i++) {
        sa->ws.v[i] -= sa->ws.w[i];
    }
    const double lost = s24_quadratic(gram, p->env.blas, sa->ws.v, sa->count, sa->ws.scratch);
    return whole_output > 0 ? sqrt(fmax(lost, 0) / whole_output) : lost > 0 ? INFINITY : 0;
}

static s24_status sample_error(sample *sa, const solution *s, const s24_gram *gram, double *error, s24_error *err)
{
    const s24_status status = solve_rows(s, sa->row_at, sa->count, &sa->ws, err);
    if (status == S24_OK) {
        *error = output_error(sa, s->p, gram);
    }
    return status;
}

/* The error over the samples of `of` of what is fitted to `parts`, whose products are `to`. */
static s24_status recipe_error(sample *sa, const problem *p, const recipe *how, unsigned parts, const s24_gram *to,
                               const s24_gram *of, double *error, s24_error *err)
{
    solution s;
    s24_status status = s24_cancelled(&p->env, err);
    if (status != S24_OK) {
        return status;
    }
    status = solution_init(&s, p, how, parts, to, err);
    status = status == S24_OK ? sample_error(sa, &s, of, error, err) : status;
    solution_free(&s);
    return status;
}

/* ---------------------------------------------------------------- what does best on held-out samples */

/* Held-out samples, and what has been found out with them. */
typedef struct trial {
    const problem *p;
    sample *sa;
    s24_gram fit, held_out; /* products of the samples that are fitted to, and of those that are not */
} trial;

static s24_status try(trial *t, const recipe *how, double *error, s24_error *err)
{
    return recipe_error(t->sa, t->p, how, 1u << S24_FIT, &t->fit, &t->held_out, error, err);
}

/*
 * Damping, from 1e-4 to 100 by factors of ten and then of sqrt(10), downhill from 0.01: the error is a smooth curve of the
 * damping with one valley. Below it noise of the samples is fitted, above it too little of the structure is used. Then, from
 * there, the damping's shape: by halves towards 1 as long as that is better. The best shape is 0 for most layers; it was 1 by 3 to 10%
 * of the error for inputs of heavy tails and different scales.
 */
#define DAMPINGS 13
#define DAMPING_START 4
#define DAMPING_STEP 2
#define SHAPES 3

typedef struct damping_search {
    trial *t;
    recipe how;
    double tried[SHAPES][DAMPINGS]; /* errors; NaN: not yet */
    int shape, best;
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

/* From s->best to the bottom, in steps of `step` and then of their half, down to 1. */
static s24_status descend(damping_search *s, int step, s24_error *err)
{
    bool better;
    s24_status status = try_damping(s, s->best, &better, err);
    for (; step > 0 && status == S24_OK; step /= 2) {
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
static s24_status choose_shape(damping_search *s, int from, int step, recipe *how, s24_error *err)
{
    double least = INFINITY;
    for (int i = 0; i < SHAPES * DAMPINGS; i++) {
        s->tried[i / DAMPINGS][i % DAMPINGS] = NAN;
    }
    s->best = from;
    for (s->shape = 0; s->shape < SHAPES; s->shape++) {
        const s24_status status = descend(s, s->shape ? 1 : step, err);
        if (status != S24_OK) {
            return status;
        }
        if (!(s->tried[s->shape][s->best] < least)) {
            break;
        }
        least = s->tried[s->shape][s->best];
        how->damping = damping_at(s->best);
        how->shape = shape_at(s->shape);
    }
    return S24_OK;
}

/*
 * With a quick solution, and where rows are so short that it takes no time, from there with the one that will be made: a better
 * mask fits the samples more closely, and wants more damping.
 */
static s24_status choose_damping(trial *t, recipe *how, s24_error *err)
{
    damping_search s = {.t = t, .how = *how};
    s.how.search = false;
    s.how.quick = true;
    s24_status status = choose_shape(&s, DAMPING_START, DAMPING_STEP, how, err);
    if (status == S24_OK && how->search && t->p->k <= THOROUGH_COLUMNS) {
        s.how = *how;
        status = choose_shape(&s, s.best, 1, how, err);
    }
    return status;
}

/* What obs gives way to where that does better on held-out samples. */
static s24_status choose_fallback(trial *t, recipe *how, double *error, s24_error *err)
{
    const recipe others[] = {{.m = method_find("obs"), .refit = true, .damping = how->damping, .shape = how->shape, .quick = true},
                             {.m = method_find("wanda"), .refit = true, .damping = how->damping, .shape = how->shape, .quick = true},
                             {.m = method_find("wanda"), .damping = NAN},
                             {.m = method_find("magnitude"), .damping = NAN}};
    s24_status status = S24_OK;
    for (size_t i = 0; i < sizeof others / sizeof *others && status == S24_OK; i++) {
        double e = NAN;
        status = try(t, &others[i], &e, err);
        if (status == S24_OK && e < *error) {
            *how = others[i];
            how->quick = false;
            *error = e;
        }
    }
    return status;
}

static s24_status choose(trial *t, recipe *how, s24_output_error *errors, s24_error *err)
{
    const recipe wanda = {.m = method_find("wanda"), .damping = NAN};
    const bool obs = how->m && how->m->kind == OBS, automatic = isnan(how->damping);
    s24_status status = try(t, &wanda, &errors->wanda_held_out, err);
    if (status == S24_OK && how->refit && automatic) {
        status = choose_damping(t, how, err);
    }
    status = status == S24_OK ? try(t, how, &errors->held_out, err) : status;
    return status == S24_OK && obs ? choose_fallback(t, how, &errors->held_out, err) : status;
}

static s24_status choose_held_out(sample *sa, const problem *p, recipe *how, s24_output_error *errors, s24_error *err)
{
    trial t = {.p = p, .sa = sa};
    s24_status status = s24_gram_init(&t.fit, &p->columns, 1u << S24_FIT, err);
    status = status == S24_OK ? s24_gram_init(&t.held_out, &p->columns, 1u << S24_HELD_OUT, err) : status;
    status = status == S24_OK ? choose(&t, how, errors, err) : status;
    s24_gram_free(&t.fit);
    s24_gram_free(&t.held_out);
    return status;
}

/* ---------------------------------------------------------------- solving */

#define ALL_PARTS (1u << S24_FIT | 1u << S24_HELD_OUT)
#define DAMPING_DEFAULT 0.01

static s24_status solve_and_measure(sample *sa, const problem *p, const recipe *how, bool measures, s24_output_error *errors,
                                    s24_error *err)
{
    const recipe wanda = {.m = method_find("wanda"), .damping = NAN};
    s24_gram all = {.k = 0};
    solution s = {.p = p};
    s24_status status = measures ? s24_gram_init(&all, &p->columns, ALL_PARTS, err) : S24_OK;
    if (status == S24_OK && measures) {
        status = recipe_error(sa, p, &wanda, ALL_PARTS, NULL, &all, &errors->wanda_training, err);
    }
    status = status == S24_OK ? solution_init(&s, p, how, ALL_PARTS, &all, err) : status;
    if (status == S24_OK && measures) {
        status = sample_error(sa, &s, &all, &errors->training, err);
    }
    status = status == S24_OK ? solve_all(&s, err) : status;
    solution_free(&s);
    s24_gram_free(&all);
    return status;
}

static s24_status solve_problem(problem *p, const method *m, bool refit, s24_output_error *errors, s24_error *err)
{
    const bool solves = refit || (m && m->kind != MASK);
    const bool measures = p->cal && p->cal->has_blas && p->cal->products[S24_FIT];
    const double given = p->o->damping >= 0 ? p->o->damping : NAN;
    recipe how = {.m = m, .refit = refit, .search = m && m->kind == OBS,
                  .damping = !solves ? NAN : m && m->kind == SPARSEGPT && isnan(given) ? DAMPING_DEFAULT : given};
    sample sa = {.count = 0};
    s24_status status = measures ? sample_init(&sa, p, err) : S24_OK;
    if (status == S24_OK && measures && p->cal->products[S24_HELD_OUT]) {
        status = choose_held_out(&sa, p, &how, errors, err);
    } else if (solves && isnan(how.damping)) {
        how.damping = DAMPING_DEFAULT;
    }
    status = status == S24_OK ? solve_and_measure(&sa, p, &how, measures, errors, err) : status;
    errors->damping = how.damping;
    errors->damping_shape = isnan(how.damping) ? NAN : how.shape;
    errors->method = how.m ? how.m->name : "mask";
    errors->refit = how.refit;
    workspace_free(&sa.ws);
    return status;
}

static s24_status check_request(const s24_solve_options *o, const s24_calibration *cal, const method *m, bool solves,
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
                        o->method && m->kind != MASK ? o->method : "a refit");
    }
    return cal ? s24_calibration_complete(cal, err) : S24_OK;
}

/* Which matrix is solved: its runs are the taps of an output where there are inputs for each of them. */
static s24_status shape_problem(problem *p, size_t rows, size_t cols, s24_error *err)
{
    const size_t taps = p->o->taps ? p->o->taps : 1;
    const bool joined = p->cal && p->cal->k != cols && rows % taps == 0 && p->cal->k / taps == cols && p->cal->k % taps == 0;
    if (p->cal && p->cal->k != cols && !joined) {
        return s24_fail(err, S24_ERR_USAGE, "calibrated for %zu inputs, but the weights have %zu%s", p->cal->k, cols,
                        taps > 1 ? " channels" : "");
    }
    p->taps = joined ? taps : 1;
    p->rows = rows / p->taps;
    p->cols = cols;
    p->run = (cols + 3) / 4 * 4;
    if (!s24_mul(p->taps, p->run, &p->k) || (p->cal && p->k > INT_MAX)) {
        return s24_fail(err, S24_ERR_USAGE, "rows of %zu elements are beyond what a BLAS takes", cols);
    }
    p->columns = (s24_columns){.cal = p->cal, .k = p->k, .input = s24_calloc(p->k, sizeof(int32_t), err)};
    if (!p->columns.input) {
        return S24_ERR_SYSTEM;
    }
    for (size_t j = 0; j < p->k && p->cal; j++) {
        const size_t channel = j % p->run;
        p->columns.input[j] = channel < cols ? (int32_t)(channel * p->taps + j / p->run) : -1;
    }
    return S24_OK;
}

static s24_status sums_init(problem *p, const method *m, s24_error *err)
{
    if (m && m->sums) {
        p->row_sums = s24_calloc(p->rows, sizeof(double), err);
        p->col_sums = s24_calloc(p->k, sizeof(double), err);
        return p->row_sums && p->col_sums ? S24_OK : S24_ERR_SYSTEM;
    }
    return S24_OK;
}

s24_status s24_solve(const s24_solve_options *o, const s24_calibration *cal, size_t rows, size_t cols, s24_dtype dtype,
                     void *weights, uint8_t *positions, s24_output_error *errors, s24_error *err)
{
    const method *m = o->method ? method_find(o->method) : NULL;
    const bool refit = o->refit || (m && m->kind == OBS);
    s24_output_error ignored, *e = errors ? errors : &ignored;
    *e = (s24_output_error){.training = NAN, .held_out = NAN, .wanda_training = NAN, .wanda_held_out = NAN, .damping = NAN,
                              .damping_shape = NAN};
    s24_status status = check_request(o, cal, m, refit || (m && m->kind != MASK), err);
    if (status != S24_OK) {
        return status;
    }
    problem p = {.o = o, .cal = cal, .kernels = s24_solve_kernels_of(o->isa), .dtype = dtype, .weights = weights, .positions = positions,
                 .env = {.blas = cal ? &cal->blas : NULL, .threads = o->threads ? o->threads : s24_threads_available(),
                         .cancel = o->cancel}};
    if (cal) {
        e->samples = cal->seen[S24_FIT] + cal->seen[S24_HELD_OUT];
        e->held_out_samples = cal->seen[S24_HELD_OUT];
    }
    if (p.env.blas && p.env.blas->set_threads) {
        p.env.blas->set_threads(1);
    }
    status = shape_problem(&p, rows, cols, err);
    status = status == S24_OK ? sums_init(&p, m, err) : status;
    status = status == S24_OK ? examine_weights(&p, err) : status;
    status = status == S24_OK && p.rows > 0 && p.k > 0 ? solve_problem(&p, m, refit, e, err) : status;
    free(p.columns.input);
    free(p.row_sums);
    free(p.col_sums);
    return status;
}
