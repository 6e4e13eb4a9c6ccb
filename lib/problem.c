#include "problem.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "dtype.h"
#include "mem.h"
#include "threads.h"

/* ---------------------------------------------------------------- methods */

static const s24_solver solvers[] = {
    {"magnitude", S24_SOLVER_MASK, false, false},
    {"wanda", S24_SOLVER_MASK, true, false},
    {"ria", S24_SOLVER_MASK, true, true},
    {"sparsegpt", S24_SOLVER_SPARSEGPT, true, false},
    {"obs", S24_SOLVER_OBS, true, false},
};

const s24_solver *s24_solver_find(const char *name)
{
    for (size_t i = 0; i < sizeof solvers / sizeof *solvers; i++) {
        if (strcmp(name, solvers[i].name) == 0) {
            return &solvers[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- elements */

/* The element of a padded column in memory; false: it is padding. */
static bool element_of(const s24_problem *p, size_t row, size_t col, size_t *at)
{
    *at = (row * p->taps + col / p->run) * p->cols + col % p->run;
    return col % p->run < p->cols;
}

static double weight_at(const s24_problem *p, size_t row, size_t col)
{
    const s24_dtype_info *info = s24_info(p->dtype);
    size_t at;
    return element_of(p, row, col, &at) ? s24_decode(info, s24_load(p->weights, info->bytes, at)) : 0;
}

void s24_problem_load_row(const s24_problem *p, size_t row, float *w)
{
    const s24_dtype_info *info = s24_info(p->dtype);
    for (size_t t = 0; t < p->taps; t++, w += p->run) {
        for (size_t c = 0; c < p->cols; c++) {
            const uint64_t bits = s24_load(p->weights, info->bytes, (row * p->taps + t) * p->cols + c);
            w[c] = (float)(s24_decode(info, bits) * p->scale);
        }
        for (size_t c = p->cols; c < p->run; c++) {
            w[c] = 0;
        }
    }
}

/* Whether an element of a group goes, by pair: a bit each. */
static const uint8_t dropped_bits[S24_PAIRS] = {0xc, 0xa, 0x9, 0x6, 0x5, 0x3};

static void store_run(const s24_problem *p, size_t at, const float *w, const float *v, const uint8_t *pairs)
{
    const s24_dtype_info *info = s24_info(p->dtype);
    for (size_t c = 0; c < p->cols; c++) {
        const bool dropped = dropped_bits[pairs[c / 4]] >> c % 4 & 1;
        bool overflow = false;
        if (dropped || v[c] != w[c]) {
            s24_store(p->weights, info->bytes, at + c, dropped ? 0 : s24_encode(info, (double)v[c] / p->scale, &overflow));
        }
    }
}

/* Kept values go back as they came where nothing has changed them. */
void s24_problem_store_row(const s24_problem *p, size_t row, const float *w, const float *v, const uint8_t *pairs)
{
    for (size_t t = 0; t < p->taps; t++) {
        const size_t first = t * p->run;
        store_run(p, (row * p->taps + t) * p->cols, w + first, v + first, pairs + first / 4);
    }
}

/* ---------------------------------------------------------------- what it is made of */

/* A tile's rows: whether all is finite, what is largest, and its sums. */
typedef struct survey {
    s24_problem *p;
    double largest;    /* of what is committed */
    double *of_slot;   /* [slots]: the largest */
    double *cols;      /* [slots, k]: sums down the columns; NULL: none are wanted */
} survey;

static s24_status nonfinite(const s24_problem *p, size_t row, size_t col, double w, s24_error *err)
{
    return s24_fail(err, S24_ERR_DATA, "row %zu, element %zu is %s; mend the weights", row * p->taps + col / p->run,
                    col % p->run, isnan(w) ? "nan" : "infinite");
}

/* What kernels see: f32, without padding. */
static bool plain(const s24_problem *p)
{
    return p->dtype == S24_F32 && p->cols == p->run;
}

s24_status s24_problem_survey_row(const s24_problem *p, size_t row, double *cols, double *sum, double *largest,
                                  s24_error *err)
{
    double all = 0;
    if (plain(p) && p->kernels->survey((const float *)(const void *)p->weights + row * p->k, p->k, cols, &all, largest)) {
        *sum += cols ? all : 0;
        return S24_OK;
    }
    for (size_t j = 0; j < p->k; j++) {
        const double w = fabs(weight_at(p, row, j));
        if (!isfinite(w)) {
            return nonfinite(p, row, j, w, err);
        }
        *largest = w > *largest ? w : *largest;
        if (cols) {
            *sum += w;
            cols[j] += w;
        }
    }
    return S24_OK;
}

static s24_status survey_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    survey *s = ctx;
    s24_status status = S24_OK;
    s->of_slot[slot] = 0;
    if (s->cols) {
        memset(s->cols + slot * s->p->k, 0, s->p->k * sizeof *s->cols);
    }
    for (size_t r = job * S24_TILE_ROWS; r < s->p->rows && r < (job + 1) * S24_TILE_ROWS && status == S24_OK; r++) {
        double sum = 0;
        status = s24_problem_survey_row(s->p, r, s->cols ? s->cols + slot * s->p->k : NULL, &sum, &s->of_slot[slot], err);
        if (s->p->row_sums) {
            s->p->row_sums[r] = sum;
        }
    }
    return status;
}

static s24_status survey_commit(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    survey *s = ctx;
    (void)job;
    (void)err;
    s->largest = s->of_slot[slot] > s->largest ? s->of_slot[slot] : s->largest;
    for (size_t j = 0; s->cols && j < s->p->k; j++) {
        s->p->col_sums[j] += s->cols[slot * s->p->k + j];
    }
    return S24_OK;
}

static size_t tiles_of(const s24_problem *p)
{
    return p->rows ? (p->rows - 1) / S24_TILE_ROWS + 1 : 0;
}

static unsigned threads_of(const s24_problem *p)
{
    const size_t tiles = tiles_of(p);
    return p->env.threads < tiles ? p->env.threads : tiles ? (unsigned)tiles : 1;
}

static s24_status survey_weights(s24_problem *p, s24_error *err)
{
    static const s24_stages stages = {.work = survey_tile, .commit = survey_commit};
    const unsigned slots = s24_slots(threads_of(p));
    survey s = {.p = p, .of_slot = s24_calloc(slots, sizeof *s.of_slot, err)};
    s24_status status = s.of_slot ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK && p->col_sums) {
        s.cols = s24_alloc(slots * p->k * sizeof *s.cols, err);
        status = s.cols ? S24_OK : S24_ERR_SYSTEM;
    }
    status = status == S24_OK ? s24_run(&stages, &s, tiles_of(p), threads_of(p), err) : status;
    int exponent = 0;
    frexp(s.largest, &exponent);
    p->scale = s.largest > 0 ? ldexp(1, exponent < -1022 ? 1022 : -exponent) : 1;
    free(s.of_slot);
    free(s.cols);
    return status;
}

/* Which matrix is solved: its runs are the taps of an output where there are inputs for each of them. */
static s24_status shape_problem(s24_problem *p, size_t rows, size_t cols, s24_error *err)
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
    p->columns = (s24_columns){.cal = p->cal, .k = p->k, .input = s24_calloc(p->k, sizeof(int32_t), err),
                               .in_order = p->taps == 1 && cols == p->run && !p->o->order};
    if (!p->columns.input) {
        return S24_ERR_SYSTEM;
    }
    for (size_t j = 0; j < p->k && p->cal; j++) {
        const size_t col = j % p->run, channel = p->o->order && col < cols ? (size_t)p->o->order[col] : col;
        p->columns.input[j] = col < cols ? (int32_t)(channel * p->taps + j / p->run) : -1;
    }
    return S24_OK;
}

s24_status s24_problem_init(s24_problem *p, const s24_solver *m, size_t rows, size_t cols, s24_error *err)
{
    s24_status status = shape_problem(p, rows, cols, err);
    if (status == S24_OK && m && m->sums) {
        p->row_sums = s24_calloc(p->rows, sizeof(double), err);
        p->col_sums = s24_calloc(p->k, sizeof(double), err);
        status = p->row_sums && p->col_sums ? S24_OK : S24_ERR_SYSTEM;
    }
    return status == S24_OK && p->surveyed ? survey_weights(p, err) : status;
}

void s24_problem_free(s24_problem *p)
{
    free(p->columns.input);
    free(p->row_sums);
    free(p->col_sums);
}

/* ---------------------------------------------------------------- masks */

s24_status s24_scorer_init(s24_scorer *s, const s24_problem *p, const s24_solver *m, unsigned parts, s24_error *err)
{
    *s = (s24_scorer){.a = s24_calloc(p->k, sizeof(double), err)};
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

void s24_scorer_free(s24_scorer *s)
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

void s24_problem_score_row(const s24_problem *p, const s24_scorer *s, size_t row, uint8_t *pairs)
{
    if (plain(p)) {
        const float *w = (const float *)(const void *)p->weights + row * p->k;
        p->kernels->score(w, s->a, s->c, s->c ? s->b[row] : 0, p->k / 4, pairs);
        return;
    }
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

/* The positions of a row's run, of run / 4 groups. */
static size_t positions_of(const s24_problem *p, size_t row, size_t tap)
{
    return (row * p->taps + tap) * ((p->run / 4 + 1) / 2);
}

void s24_problem_put_positions(const s24_problem *p, size_t row, const uint8_t *pairs)
{
    const size_t groups = p->run / 4;
    for (size_t t = 0; t < p->taps; t++, pairs += groups) {
        s24_pairs_put(pairs, groups, p->positions + positions_of(p, row, t));
    }
}

bool s24_problem_get_positions(const s24_problem *p, size_t row, uint8_t *pairs)
{
    for (size_t i = 0; i < p->k / 4; i++) {
        const size_t g = i % (p->run / 4);
        const uint8_t *from = p->o->mask + positions_of(p, row, i / (p->run / 4));
        const unsigned nibble = from[g / 2] >> (g % 2 * 4) & 15;
        pairs[i] = 0;
        while (pairs[i] < S24_PAIRS && s24_pair_nibble[pairs[i]] != nibble) {
            pairs[i]++;
        }
        if (pairs[i] == S24_PAIRS) {
            return false;
        }
    }
    return true;
}

typedef struct masking {
    const s24_problem *p;
    const s24_scorer *s;
    uint8_t *pairs; /* [threads, k / 4] */
} masking;

static void drop_row(const s24_problem *p, size_t row, const uint8_t *pairs)
{
    const s24_dtype_info *info = s24_info(p->dtype);
    if (plain(p)) {
        p->kernels->drop((float *)(void *)p->weights + row * p->k, p->k / 4, pairs);
        return;
    }
    for (size_t i = 0; i < p->k / 2; i++) {
        const size_t col = i / 2 * 4 + s24_pair_dropped[pairs[i / 2]][i % 2];
        size_t at;
        if (element_of(p, row, col, &at)) {
            s24_store(p->weights, info->bytes, at, 0);
        }
    }
}

static s24_status mask_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const masking *m = ctx;
    const s24_problem *p = m->p;
    uint8_t *pairs = m->pairs + slot * (p->k / 4);
    s24_status status = s24_cancelled(&p->env, err);
    for (size_t r = job * S24_TILE_ROWS; r < p->rows && r < (job + 1) * S24_TILE_ROWS && status == S24_OK; r++) {
        double largest = 0, sum = 0;
        if (!p->surveyed && (status = s24_problem_survey_row(p, r, NULL, &sum, &largest, err)) != S24_OK) {
            break;
        }
        s24_problem_score_row(p, m->s, r, pairs);
        s24_problem_put_positions(p, r, pairs);
        drop_row(p, r, pairs);
    }
    return status;
}

s24_status s24_problem_mask(const s24_problem *p, const s24_scorer *s, s24_error *err)
{
    static const s24_stages stages = {.work = mask_tile};
    masking m = {.p = p, .s = s, .pairs = s24_alloc(threads_of(p) * (p->k / 4), err)};
    const s24_status status = m.pairs ? s24_run(&stages, &m, tiles_of(p), threads_of(p), err) : S24_ERR_SYSTEM;
    free(m.pairs);
    return status;
}
