/*
 * Pruning in memory, through the public API alone. What comes out is compared, byte for byte and sum for sum, with a
 * model that does the same as plainly as can be: elements by index arithmetic, the greatest of a group, then the
 * greatest of the rest. Views, threads and instruction sets are compared with contiguous copies, one thread and the
 * generic code.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "panel.h"
#include "random.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

/* For inner loops: ck_assert tells the parent process, by a system call, of every assertion that holds. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            ck_abort_msg(__VA_ARGS__); \
        } \
    } while (0)

#define MAX_RANK 5
#define DTYPES 7        /* those that can be pruned: S24_F64 to S24_I8 */
#define PANEL 65536     /* groups: part of the order of summation, which recorded figures depend on */

/* ---------------------------------------------------------------- random numbers */

/* Loops of tests count from 0. */
static s24_dtype nth_dtype(int i)
{
    return (s24_dtype)(S24_F64 + i % DTYPES);
}

static void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* ---------------------------------------------------------------- arrays: dense tensors in C order */

typedef struct array {
    s24_dtype dtype;
    int rank;
    size_t shape[MAX_RANK], n;
    unsigned char *data;
} array;

static array array_new(s24_dtype dtype, int rank, const size_t *shape)
{
    array a = {.dtype = dtype, .rank = rank, .n = 1};
    for (int d = 0; d < rank; d++) {
        a.shape[d] = shape[d];
        a.n *= shape[d];
    }
    a.data = allocate(a.n * s24_info(dtype)->bytes);
    return a;
}

static s24_dense dense_of(const array *a)
{
    return (s24_dense){.data = a->data, .dtype = a->dtype, .rank = a->rank, .shape = a->shape};
}

static uint64_t get(const array *a, size_t i)
{
    return s24_load(a->data, s24_info(a->dtype)->bytes, i);
}

static void put(array *a, size_t i, uint64_t bits)
{
    s24_store(a->data, s24_info(a->dtype)->bytes, i, bits);
}

/* The bits of a number that the dtype holds. */
static uint64_t encoded(s24_dtype dtype, double x)
{
    bool overflow = false;
    return s24_encode(s24_info(dtype), x, &overflow);
}

static double decoded(s24_dtype dtype, uint64_t bits)
{
    return s24_decode(s24_info(dtype), bits);
}

static bool finite_bits(s24_dtype dtype, uint64_t bits)
{
    return isfinite(decoded(dtype, bits));
}

/* ANY: every finite pattern. TIES: few magnitudes. MODERATE: fits every dtype, and may become 0 in f16. */
typedef enum filling { ANY, TIES, MODERATE, FILLINGS } filling;

static uint64_t random_element(s24_dtype dtype, filling how)
{
    static const double few[] = {0, -0.0, 1, -1, 2, -2, 64};
    if (how == TIES) {
        return encoded(dtype, few[below(ROWS(few))]) | (dtype != S24_I8 && below(4) == 0
            ? UINT64_C(1) << (s24_info(dtype)->bits - 1) : 0);
    }
    if (how == MODERATE && s24_info(dtype)->bits > 8) {
        const double x = ldexp(1 + (double)(random_bits() >> 12) * 0x1p-52, (int)below(34) - 27);
        return encoded(dtype, below(2) ? x : -x);
    }
    for (;;) {
        const uint64_t bits = random_bits() >> (64 - s24_info(dtype)->bits);
        if (finite_bits(dtype, bits)) {
            return bits;
        }
    }
}

static void fill(array *a, filling how)
{
    for (size_t i = 0; i < a->n; i++) {
        put(a, i, random_element(a->dtype, how));
    }
}

static array random_array(s24_dtype dtype, filling how)
{
    static const size_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 48, 64, 100};
    size_t shape[MAX_RANK], n = 1;
    const int rank = (int)below(MAX_RANK + 1);
    for (int d = 0; d < rank; d++) {
        shape[d] = below(40) == 0 ? 0 : sizes[below(ROWS(sizes))];
        shape[d] = n * shape[d] > 4000 ? 2 : shape[d];
        n *= shape[d];
    }
    array a = array_new(dtype, rank, shape);
    fill(&a, how);
    return a;
}

/* ---------------------------------------------------------------- the model */

typedef struct model {
    const array *w, *gradients; /* no gradients: by magnitude */
    s24_dtype to;
    size_t rows, cols, groups, inner;
    unsigned char *values, *dense; /* of `to` */
    uint8_t *positions;
    double lane[6][8];             /* of the panel at hand */
    size_t panel;
    s24_sums sums;
} model;

enum { KEPT_ABS, KEPT_SQ, PRUNED_ABS, PRUNED_SQ, QUANT_ABS, QUANT_SQ };

static size_t element_of(const model *m, size_t row, size_t col)
{
    return (row / m->inner * m->cols + col) * m->inner + row % m->inner;
}

/* What is greater is kept: first by score, then by rank. What lies beyond the row is below everything. */
typedef struct score {
    double score;
    uint64_t rank;
} score;

static score score_of(const model *m, size_t row, size_t col)
{
    if (col >= m->cols) {
        return (score){.score = -1};
    }
    const size_t i = element_of(m, row, col);
    const uint64_t bits = get(m->w, i);
    const double w = decoded(m->w->dtype, bits);
    if (!isfinite(w)) {
        return (score){.score = HUGE_VAL, .rank = m->gradients ? 1 : s24_key(s24_info(m->w->dtype), bits)};
    }
    return (score){.score = fabs(m->gradients ? w * decoded(m->gradients->dtype, get(m->gradients, i)) : w)};
}

static bool greater(score a, score b)
{
    return a.score > b.score || (a.score == b.score && a.rank > b.rank);
}

/* The greatest of a group, the first of equals, but not `except`. */
static unsigned greatest(const score scores[4], unsigned except)
{
    unsigned best = except == 0 ? 1 : 0;
    for (unsigned i = best + 1; i < 4; i++) {
        if (i != except && greater(scores[i], scores[best])) {
            best = i;
        }
    }
    return best;
}

/* Sums of a panel are kept in eight lanes, which are added like halves of a vector; panels are added in order. */
static void end_panel(model *m)
{
    double *const sum[] = {&m->sums.kept_abs, &m->sums.kept_sq, &m->sums.pruned_abs,
                           &m->sums.pruned_sq, &m->sums.quant_abs, &m->sums.quant_sq};
    for (int i = 0; i < 6; i++) {
        const double *l = m->lane[i];
        *sum[i] += ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
    }
    memset(m->lane, 0, sizeof m->lane);
}

/* The ordinal: of the group's kept, or pruned, elements. v: what w becomes. */
static void add_element(model *m, size_t group, size_t ordinal, bool kept, uint64_t bits, double v)
{
    const double w = decoded(m->w->dtype, bits), error = fabs(w - v);
    const size_t lane = (2 * group + ordinal) % 8;
    s24_sums *s = &m->sums;
    s->total_count++;
    s->pruned_count += !kept;
    s->zero_count += v == 0;
    s->negative_zero_count += !kept && w == 0 && bits != 0;
    if (!isfinite(w)) {
        s->nonfinite_kept += kept;
        s->nonfinite_pruned += !kept;
        return;
    }
    m->lane[kept ? KEPT_ABS : PRUNED_ABS][lane] += fabs(w);
    m->lane[kept ? KEPT_SQ : PRUNED_SQ][lane] += w * w;
    if (kept) {
        m->lane[QUANT_ABS][lane] += error;
        m->lane[QUANT_SQ][lane] += error * error;
    }
    s->max_abs_error = error > s->max_abs_error ? error : s->max_abs_error;
}

static void model_group(model *m, size_t row, size_t group)
{
    const score scores[4] = {score_of(m, row, 4 * group), score_of(m, row, 4 * group + 1),
                             score_of(m, row, 4 * group + 2), score_of(m, row, 4 * group + 3)};
    const unsigned one = greatest(scores, 4), other = greatest(scores, one);
    const unsigned first = one < other ? one : other, second = one < other ? other : one;
    const unsigned bytes = s24_info(m->to)->bytes;
    size_t ordinal[2] = {0};
    bool lossy = false;
    m->positions[row * ((m->groups + 1) / 2) + group / 2] |= (uint8_t)((first | second << 2) << group % 2 * 4);
    for (unsigned i = 0; i < 4 && 4 * group + i < m->cols; i++) {
        const size_t at = element_of(m, row, 4 * group + i);
        const bool kept = i == first || i == second;
        const uint64_t bits = get(m->w, at);
        const double w = decoded(m->w->dtype, bits);
        const uint64_t stored = !kept ? 0 : m->to == m->w->dtype ? bits : encoded(m->to, w);
        if (kept) {
            s24_store(m->values, bytes, (row * m->groups + group) * 2 + (i == second), stored);
        }
        s24_store(m->dense, bytes, at, stored);
        add_element(m, group, ordinal[kept]++, kept, bits, decoded(m->to, stored));
        lossy = lossy || (!kept && w != 0);
    }
    m->sums.broken_groups += lossy;
}

/* axis: not negative. */
static model model_of(const array *w, const array *gradients, int axis, s24_dtype to)
{
    model m = {.w = w, .gradients = gradients, .to = to, .rows = 1, .cols = w->rank ? w->shape[axis] : 1, .inner = 1};
    for (int d = 0; d < w->rank; d++) {
        m.rows *= d == axis ? 1 : w->shape[d];
        m.inner *= d > axis ? w->shape[d] : 1;
    }
    m.groups = (m.cols + 3) / 4;
    m.values = allocate(m.rows * m.groups * 2 * s24_info(to)->bytes);
    m.positions = allocate(m.rows * ((m.groups + 1) / 2));
    m.dense = allocate(w->n * s24_info(to)->bytes);
    const size_t runs = (m.groups + PANEL - 1) / PANEL;
    for (size_t row = 0; row < m.rows; row++) {
        for (size_t group = 0; group < m.groups; group++) {
            const size_t panel = runs > 1 ? row * runs + group / PANEL : row / (PANEL / m.groups);
            if (panel != m.panel) {
                end_panel(&m);
                m.panel = panel;
            }
            model_group(&m, row, group);
        }
    }
    end_panel(&m);
    return m;
}

static void model_free(model *m)
{
    free(m->values);
    free(m->positions);
    free(m->dense);
}

/* ---------------------------------------------------------------- pruning and comparing */

static s24_prune_options options_for(int axis, s24_dtype to)
{
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    o.axis = axis;
    o.dtype = to;
    o.threads = 1;
    return o;
}

static s24_tensor *prune(const s24_dense *w, const s24_dense *gradients, const s24_prune_options *o,
                         s24_prune_metrics *metrics)
{
    s24_tensor *t = NULL;
    s24_error err;
    const s24_status status = gradients ? s24_prune_gradient(w, gradients, o, &t, metrics, &err)
                                        : s24_prune_magnitude(w, o, &t, metrics, &err);
    REQUIRE(status == S24_OK, "%s", err.message);
    return t;
}

static void require_same_tensor(const s24_tensor *a, const s24_tensor *b, const char *what)
{
    const s24_geometry *g = &a->geometry;
    REQUIRE(memcmp(g, &b->geometry, sizeof *g) == 0, "%s: geometry", what);
    REQUIRE(memcmp(a->values, b->values, g->values_bytes) == 0, "%s: values", what);
    REQUIRE(memcmp(a->positions, b->positions, g->positions_bytes) == 0, "%s: positions", what);
    REQUIRE(a->dtype == b->dtype && a->axis == b->axis && a->sparsity_percent == b->sparsity_percent, "%s", what);
}

static bool near(double a, double b)
{
    return (isnan(a) && isnan(b)) || a == b || fabs(a - b) <= 1e-13 * fabs(b);
}

/* The figures by their definitions in s24.h. */
static void require_figures(const s24_prune_metrics *p, const s24_sums *s, const char *what)
{
    const uint64_t nonfinite = s->nonfinite_kept + s->nonfinite_pruned, kept = s->total_count - s->pruned_count;
    const double lost = s->pruned_sq + s->quant_sq;
    REQUIRE(p->pruned_count == s->pruned_count && p->total_count == s->total_count, "%s: counts", what);
    REQUIRE(p->nonfinite_count == nonfinite && p->max_abs_error == s->max_abs_error, "%s: nonfinite or max", what);
    REQUIRE(near(p->approximation_error, (s->pruned_abs + s->quant_abs) / (double)(s->total_count - nonfinite)),
            "%s: approximation_error %.17g", what, p->approximation_error);
    REQUIRE(near(p->kept_magnitude_mean, s->kept_abs / (double)(kept - s->nonfinite_kept)),
            "%s: kept_magnitude_mean %.17g", what, p->kept_magnitude_mean);
    REQUIRE(near(p->pruned_magnitude_mean, s->pruned_abs / (double)(s->pruned_count - s->nonfinite_pruned)),
            "%s: pruned_magnitude_mean %.17g", what, p->pruned_magnitude_mean);
    const double all = s->kept_sq + s->pruned_sq;
    const double relative = lost > 0 && !isinf(lost) && !isinf(all) ? sqrt(lost) / sqrt(all) : NAN;
    REQUIRE(near(p->relative_error, s->max_abs_error == 0 ? 0 : relative),
            "%s: relative_error %.17g", what, p->relative_error);
    REQUIRE(near(p->sparsity_percent, 100 * (double)s->zero_count / (double)s->total_count),
            "%s: sparsity_percent %.17g", what, p->sparsity_percent);
}

static void require_metrics(const s24_prune_metrics *p, const model *m, const char *what)
{
    const s24_sums *s = &p->sums;
    REQUIRE(memcmp(s, &m->sums, sizeof *s) == 0, "%s: sums: kept_abs %a, %a, pruned_abs %a, %a, broken_groups %d, %d",
            what, s->kept_abs, m->sums.kept_abs, s->pruned_abs, m->sums.pruned_abs, (int)s->broken_groups,
            (int)m->sums.broken_groups);
    require_figures(p, s, what);
}

static void require_fields(const s24_tensor *t, const model *m, int axis, const char *what)
{
    const s24_geometry *g = &t->geometry;
    const size_t planes = g->values_bytes + g->positions_bytes;
    REQUIRE(t->dtype == m->to && t->source_dtype == m->w->dtype && t->rank == m->w->rank && t->axis == axis,
            "%s: dtype, rank or axis", what);
    REQUIRE(memcmp(t->shape, m->w->shape, (size_t)t->rank * sizeof *t->shape) == 0, "%s: shape", what);
    REQUIRE(g->rows == m->rows && g->cols == m->cols && g->groups == m->groups, "%s: geometry", what);
    REQUIRE(t->num_elements == m->w->n && t->memory_bytes == planes, "%s: sizes", what);
    const double percent = m->w->n ? 100 * (double)m->sums.zero_count / (double)m->w->n : 0;
    REQUIRE(near(t->sparsity_percent, percent), "%s: sparsity_percent is %.17g", what, t->sparsity_percent);
}

static void require_decompressed(const s24_tensor *t, const model *m, const char *what)
{
    const size_t bytes = m->w->n * s24_info(m->to)->bytes;
    unsigned char *dense = allocate(bytes + 1);
    s24_error err;
    memset(dense, 0xa5, bytes + 1);
    REQUIRE(s24_decompress(t, S24_SAME, dense, &err) == S24_OK, "%s: %s", what, err.message);
    REQUIRE(memcmp(dense, m->dense, bytes) == 0, "%s: decompressed", what);
    REQUIRE(dense[bytes] == 0xa5, "%s: decompressed too much", what);
    free(dense);
}

/* A tensor and its metrics are what the model says. */
static void require_model(const s24_tensor *t, const s24_prune_metrics *metrics, const array *w,
                          const array *gradients, const char *what)
{
    model m = model_of(w, gradients, t->axis, t->dtype);
    require_fields(t, &m, t->axis, what);
    REQUIRE(memcmp(t->values, m.values, t->geometry.values_bytes) == 0, "%s: values", what);
    REQUIRE(memcmp(t->positions, m.positions, t->geometry.positions_bytes) == 0, "%s: positions", what);
    require_metrics(metrics, &m, what);
    require_decompressed(t, &m, what);
    model_free(&m);
}

/* What is said of a case that fails. */
static const char *describe(const array *a, int axis, s24_dtype to)
{
    static char text[160];
    int used = snprintf(text, sizeof text, "%s to %s, axis %d of [", s24_dtype_name(a->dtype), s24_dtype_name(to),
                        axis);
    for (int d = 0; d < a->rank; d++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%zu", d ? ", " : "", a->shape[d]);
    }
    snprintf(text + used, sizeof text - (size_t)used, "]");
    return text;
}

/* ---------------------------------------------------------------- selection */

/* Sizes 1 to 4, each element one of eight: every order of ties there is, with both zeros and both signs. */
static array every_group(s24_dtype dtype, size_t size)
{
    static const double numbers[8] = {0, -0.0, 1, -1, 2, -2, 64, -64};
    static const double integers[8] = {0, 1, -1, 2, -2, 127, -127, -128};
    const size_t shape[2] = {(size_t)1 << 3 * size, size};
    array a = array_new(dtype, 2, shape);
    for (size_t i = 0; i < a.n; i++) {
        const size_t digit = i / size >> 3 * (i % size) & 7;
        put(&a, i, encoded(dtype, dtype == S24_I8 ? integers[digit] : numbers[digit]));
    }
    return a;
}

/* As many rows as there are patterns, and, for the kernels, the patterns of whole groups in one row. */
START_TEST(every_tie)
{
    for (size_t size = 1; size <= 4; size++) {
        array a = every_group(nth_dtype(_i), size);
        for (int flat = 0; flat <= (size == 4); flat++) {
            const size_t n = a.n;
            const array shaped = {.dtype = a.dtype, .rank = flat ? 1 : 2, .n = n, .data = a.data,
                                  .shape = {flat ? n : a.shape[0], size}};
            const s24_dense view = dense_of(&shaped);
            for (int isa = S24_ISA_BEST; isa < S24_ISAS; isa++) {
                s24_prune_options o = options_for(-1, S24_SAME);
                s24_prune_metrics metrics;
                o.isa = (s24_isa)isa;
                s24_tensor *t = prune(&view, NULL, &o, &metrics);
                require_model(t, &metrics, &shaped, NULL, describe(&shaped, shaped.rank - 1, a.dtype));
                s24_tensor_free(t);
            }
        }
        free(a.data);
    }
}
END_TEST

/* From the result alone: what 2:4 means. */
static void require_two_of_four(const s24_tensor *t, const array *w)
{
    const s24_geometry *g = &t->geometry;
    const model place = {.cols = g->cols, .inner = t->rank == 0 || t->axis == t->rank - 1 ? 1 : g->rows};
    ck_assert(place.inner == 1 || t->axis == 0);
    for (size_t row = 0; row < g->rows; row++) {
        for (size_t group = 0; group < g->groups; group++) {
            const s24_block b = s24_tensor_block(t, row, group);
            REQUIRE(b.positions[0] < b.positions[1] && b.positions[1] < 4, "row %zu, group %zu: positions", row, group);
            double magnitude[4] = {0};
            for (size_t i = 0; i < 4 && 4 * group + i < g->cols; i++) {
                magnitude[i] = fabs(decoded(w->dtype, get(w, element_of(&place, row, 4 * group + i))));
            }
            for (unsigned i = 0; i < 4; i++) {
                for (unsigned k = 0; k < 2 && i != b.positions[0] && i != b.positions[1]; k++) {
                    const double kept = magnitude[b.positions[k]];
                    REQUIRE(kept > magnitude[i] || (kept == magnitude[i] && b.positions[k] < i),
                            "row %zu, group %zu: %u is pruned, %u kept", row, group, i, b.positions[k]);
                }
            }
            REQUIRE(b.values[0] == 0 || fabs(b.values[0]) == magnitude[b.positions[0]], "row %zu: value", row);
            REQUIRE(b.values[1] == 0 || fabs(b.values[1]) == magnitude[b.positions[1]], "row %zu: value", row);
        }
    }
}

START_TEST(two_of_four)
{
    for (int n = 0; n < 200; n++) {
        const size_t shape[2] = {1 + below(40), 1 + below(100)};
        array a = array_new(nth_dtype(_i), 2, shape);
        fill(&a, (filling)below(FILLINGS));
        const s24_dense view = dense_of(&a);
        const s24_prune_options o = options_for(n % 2, S24_SAME);
        s24_tensor *t = prune(&view, NULL, &o, NULL);
        require_two_of_four(t, &a);
        s24_tensor_free(t);
        free(a.data);
    }
}
END_TEST

/* ---------------------------------------------------------------- every dtype to every other */

static bool convertible(s24_dtype from, s24_dtype to)
{
    return from == to || to <= S24_BF16;
}

/* ANY where every finite element of `from` fits. */
static filling filling_for(s24_dtype from, s24_dtype to)
{
    bool overflow = false;
    const s24_dtype_info *info = s24_info(from);
    if (from != to && from != S24_I8) {
        s24_encode(s24_info(to), s24_decode(info, info->nonfinite_key - 1), &overflow);
    }
    return below(2) ? TIES : overflow ? MODERATE : ANY;
}

/* Metrics of a tensor at hand, and a second pruning of what the first one left. */
static void require_again(const s24_tensor *t, const s24_dense *view, const array *a, const s24_prune_metrics *metrics,
                          const char *what)
{
    s24_prune_metrics again;
    s24_error err;
    REQUIRE(s24_compute_metrics(view, t, 1, &again, &err) == S24_OK, "%s: %s", what, err.message);
    REQUIRE(memcmp(&again, metrics, sizeof again) == 0, "%s: compute_metrics is not what pruning said", what);

    array b = array_new(t->dtype, a->rank, a->shape);
    REQUIRE(s24_decompress(t, t->dtype, b.data, &err) == S24_OK, "%s: %s", what, err.message);
    const s24_dense dense = dense_of(&b);
    const s24_prune_options o = options_for(t->axis, S24_SAME);
    s24_tensor *twice = prune(&dense, NULL, &o, &again);
    if (t->dtype == a->dtype) { /* otherwise a kept value may have become 0, and another index is then as good */
        require_same_tensor(t, twice, what);
    }
    REQUIRE(again.sums.broken_groups == 0 && again.sums.pruned_abs == 0, "%s: pruning twice loses more", what);
    unsigned char *once_more = allocate(b.n * s24_info(b.dtype)->bytes);
    ck_assert_int_eq(s24_decompress(twice, S24_SAME, once_more, NULL), S24_OK);
    REQUIRE(memcmp(once_more, b.data, b.n * s24_info(b.dtype)->bytes) == 0 || t->dtype != a->dtype,
            "%s: pruning twice is not pruning once", what);
    free(once_more);
    s24_tensor_free(twice);
    free(b.data);
}

START_TEST(every_conversion)
{
    const s24_dtype from = nth_dtype(_i / DTYPES), to = nth_dtype(_i);
    for (int n = 0; convertible(from, to) && n < 60; n++) {
        array a = random_array(from, filling_for(from, to));
        const int axes = a.rank ? a.rank : 1, axis = (int)below((size_t)axes);
        s24_prune_options o = options_for(below(2) ? axis : axis - axes, below(2) || from != to ? to : S24_SAME);
        s24_prune_metrics metrics;
        const s24_dense view = dense_of(&a);
        o.isa = (s24_isa)below(S24_ISAS);
        s24_tensor *t = prune(&view, NULL, &o, &metrics);
        const char *what = describe(&a, axis, to);
        require_model(t, &metrics, &a, NULL, what);
        require_again(t, &view, &a, &metrics, what);
        s24_tensor_free(t);
        free(a.data);
    }
}
END_TEST

/* ---------------------------------------------------------------- scales */

static const s24_dtype scaled[] = {S24_I8, S24_F8E4M3, S24_F8E5M2};
static const double steps[] = {127, 448, 57344};

/* Any q of the dtype that is as near to x as this one, or nearer, is this one; of two equally near ones it is even. */
static bool nearest(s24_dtype to, uint64_t q, double x)
{
    const s24_dtype_info *info = s24_info(to);
    const double distance = fabs(s24_decode(info, q) - x);
    for (uint64_t other = 0; other < 256; other++) {
        const bool possible = to == S24_I8 ? other != 0x80 : s24_key(info, other) < info->nonfinite_key;
        const double d = possible ? fabs(s24_decode(info, other) - x) : INFINITY;
        if (d < distance || (d == distance && s24_key(info, other) != s24_key(info, q) && q % 2)) {
            return false;
        }
    }
    return q != 0x80 || to != S24_I8;
}

/* By the definition in s24.h, from the values that are kept without scales: they are the same ones. */
static void require_scaled(const s24_tensor *t, const s24_tensor *as_it_is, double most, const char *what)
{
    const s24_geometry *g = &t->geometry;
    const s24_dtype_info *from = s24_info(as_it_is->dtype);
    const size_t step = t->scale_group ? t->scale_group / 2 : g->row_values;
    const float *scale = t->scales;
    REQUIRE(memcmp(t->positions, as_it_is->positions, g->positions_bytes) == 0, "%s: other positions", what);
    for (size_t r = 0; r < g->rows; r++) {
        for (size_t begin = 0; begin < g->row_values; begin += step, scale++) {
            double largest = 0;
            const size_t end = begin + step < g->row_values ? begin + step : g->row_values;
            for (size_t i = begin; i < end; i++) {
                const size_t at = r * g->row_values + i;
                const double w = s24_decode(from, s24_load(as_it_is->values, from->bytes, at));
                const uint64_t q = s24_load(t->values, 1, at);
                REQUIRE(nearest(t->dtype, q, w / (double)*scale), "%s: %g / %g became %g", what, w, (double)*scale,
                        s24_decode(s24_info(t->dtype), q));
                largest = fmax(largest, fabs(w));
            }
            const double below = (double)nextafterf(*scale, 0);
            REQUIRE(largest == 0 ? *scale == 1 : most * (double)*scale >= largest && most * below < largest,
                    "%s: the scale of %g is %g", what, largest, (double)*scale);
        }
    }
    REQUIRE((size_t)(scale - t->scales) * sizeof *scale + g->values_bytes + g->positions_bytes == t->memory_bytes,
            "%s: memory_bytes", what);
}

/* What comes back: q times its scale, rounded once to the type that it came from. */
static void require_restored(const s24_tensor *t, const array *a, const char *what)
{
    const s24_dtype_info *from = s24_info(a->dtype);
    unsigned char *dense = allocate(a->n * from->bytes);
    double *expected = calloc(a->n + 1, sizeof *expected);
    s24_error err;
    REQUIRE(s24_decompress(t, S24_SAME, dense, &err) == S24_OK, "%s: %s", what, err.message);
    REQUIRE(s24_decompress(t, S24_F64, expected, &err) == S24_OK, "%s: %s", what, err.message);
    for (size_t i = 0; i < a->n; i++) {
        bool overflow = false;
        const uint64_t bits = s24_encode(from, expected[i], &overflow);
        REQUIRE(!overflow && bits == s24_load(dense, from->bytes, i), "%s: element %zu", what, i);
    }
    for (size_t r = 0; r < t->geometry.rows; r++) {
        for (size_t group = 0; group < t->geometry.groups; group++) {
            const s24_block b = s24_tensor_block(t, r, group);
            size_t index[MAX_RANK], at = 0;
            for (int i = 0; i < 2 && 4 * group + b.positions[i] < t->geometry.cols; i++, at = 0) {
                s24_element_index(t->rank, t->shape, t->axis, r, 4 * group + b.positions[i], index);
                for (int d = 0; d < t->rank; d++) {
                    at = at * t->shape[d] + index[d];
                }
                REQUIRE(expected[at] == b.values[i], "%s: a block is not what comes back", what);
            }
        }
    }
    free(expected);
    free(dense);
}

/* From every dtype, by magnitude and by gradient, any shape and axis: the definition, and the same whatever computes it. */
START_TEST(scales)
{
    static const s24_dtype floats[] = {S24_F64, S24_F32, S24_F16, S24_BF16, S24_F8E4M3, S24_F8E5M2};
    for (int n = 0; n < 240; n++) {
        const s24_dtype from = floats[below(ROWS(floats))], to = scaled[_i];
        const size_t group = below(2) ? S24_SCALE_GROUP : 0, wide[2] = {1 + below(4), 1 + below(700)};
        array a = n % 3 ? random_array(from, below(2) ? TIES : MODERATE) : array_new(from, 2, wide);
        if (n % 3 == 0) {
            fill(&a, MODERATE);
        }
        array gradient = array_new(S24_F32, a.rank, a.shape);
        fill(&gradient, MODERATE);
        const s24_dense view = dense_of(&a), g = dense_of(&gradient), *const by = n % 4 ? NULL : &g;
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        const char *what = describe(&a, axis, to);
        s24_prune_options o = options_for(axis, S24_SAME);
        s24_prune_metrics metrics, again;
        s24_tensor *as_it_is = prune(&view, by, &o, NULL);
        o.dtype = to;
        o.scale_group = group;
        o.isa = S24_ISA_GENERIC;
        if (from != to) {
            s24_tensor *t = prune(&view, by, &o, &metrics);
            REQUIRE(t->scale_group == group && t->source_dtype == from, "%s", what);
            require_scaled(t, as_it_is, steps[_i], what);
            require_restored(t, &a, what);
            require_figures(&metrics, &metrics.sums, what);
            for (int isa = S24_ISA_BEST; isa < S24_ISAS; isa++) {
                o.isa = (s24_isa)isa;
                o.threads = 1 + (unsigned)isa % 3;
                s24_tensor *u = prune(&view, by, &o, &again);
                require_same_tensor(t, u, what);
                REQUIRE(memcmp(t->scales, u->scales, t->memory_bytes - t->geometry.values_bytes -
                               t->geometry.positions_bytes) == 0, "%s: other scales", what);
                REQUIRE(memcmp(&metrics, &again, sizeof again) == 0, "%s: other metrics with %s", what, s24_isa_name(o.isa));
                s24_tensor_free(u);
            }
            REQUIRE(s24_compute_metrics(&view, t, 2, &again, NULL) == S24_OK && memcmp(&metrics, &again, sizeof again) == 0,
                    "%s: compute_metrics is not what pruning said", what);
            s24_tensor_free(t);
        }
        s24_tensor_free(as_it_is);
        free(gradient.data);
        free(a.data);
    }
}
END_TEST

/* Several panels, on any number of threads, and rows cut into panels. */
START_TEST(scales_of_many_panels)
{
    static const size_t shapes[][2] = {{700, 1000}, {1, 262144}, {2, 524417}};
    for (int i = 0; i < 2 * ROWS(shapes); i++) {
        array a = array_new(i % 2 ? S24_F32 : S24_BF16, 2, shapes[i / 2]);
        fill(&a, MODERATE);
        const s24_dense view = dense_of(&a);
        s24_prune_options o = options_for(1, S24_I8);
        s24_prune_metrics m[2];
        o.scale_group = i / 2 == 2 ? S24_SCALE_GROUP : 0;
        s24_tensor *t = prune(&view, NULL, &o, &m[0]);
        o.threads = 3;
        o.isa = S24_ISA_GENERIC;
        s24_tensor *u = prune(&view, NULL, &o, &m[1]);
        require_same_tensor(t, u, "many panels");
        const size_t scale_bytes = t->memory_bytes - t->geometry.values_bytes - t->geometry.positions_bytes;
        ck_assert(memcmp(t->scales, u->scales, scale_bytes) == 0 && memcmp(&m[0], &m[1], sizeof *m) == 0);
        ck_assert_int_eq(s24_compute_metrics(&view, t, 3, &m[1], NULL), S24_OK);
        ck_assert(memcmp(&m[0], &m[1], sizeof *m) == 0);
        require_restored(t, &a, "many panels");
        s24_tensor_free(t);
        s24_tensor_free(u);
        free(a.data);
    }
}
END_TEST

/* A row of zeros, of the least numbers, and what no scale holds. */
START_TEST(scales_at_the_ends)
{
    const double rows[][4] = {{0, -0.0, 0, 0}, {5e-324, 0, 0, -5e-324}, {0x1p-149, 0x1.fcp-143, 0, 0}, {0x1p-150, 0x1p-151, 0, 0},
                              {1e38, -1, 0, 0}};
    const float expected[] = {1, 0x1p-149f, 0x1p-149f, 0x1p-149f, 0};
    const size_t shape[2] = {ROWS(rows), 4};
    const s24_dense view = {.data = rows, .dtype = S24_F64, .rank = 2, .shape = shape};
    s24_prune_options o = options_for(1, S24_I8);
    s24_prune_metrics metrics;
    s24_tensor *t = prune(&view, NULL, &o, &metrics);
    ck_assert(memcmp(t->scales, expected, 4 * sizeof *expected) == 0);
    ck_assert_uint_eq(metrics.sums.negative_zero_count, 1); /* a -0.0 kept, which i8 has not */
    double back[ROWS(rows)][4];
    ck_assert_int_eq(s24_decompress(t, S24_F64, back, NULL), S24_OK);
    ck_assert(back[0][1] == 0 && !signbit(back[0][1]) && back[1][0] == 0 && back[2][0] == 0x1p-149 && back[2][1] == 0x1.fcp-143);
    ck_assert(back[3][0] == 0 && back[3][1] == 0); /* the half of the scale goes to the even 0 */
    s24_tensor_free(t);

    const double bad[] = {NAN, INFINITY, -INFINITY, 1e300, -4.4e40};
    const float largest[4] = {1, FLT_MAX, 0, 0};
    s24_error err;
    for (int i = 0; i < ROWS(bad); i++) {
        const double w[4] = {1, 2, bad[i], 3};
        const s24_dense one = {.data = w, .dtype = S24_F64, .rank = 2, .shape = (const size_t[]){1, 4}};
        for (int allow = 0; allow < 2; allow++) {
            o.allow_nonfinite = allow;
            ck_assert_int_eq(s24_prune_magnitude(&one, &o, &t, NULL, &err), S24_ERR_DATA);
            ck_assert_msg(strstr(err.message, isfinite(bad[i]) ? "element [0, 2] is" : "i8 with scales has no place for it"), "%s",
                          err.message);
        }
    }
    /* 127 times the least scale that holds FLT_MAX is beyond it: it would not come back. */
    const s24_dense most = {.data = largest, .dtype = S24_F32, .rank = 2, .shape = (const size_t[]){1, 4}};
    ck_assert_int_eq(s24_prune_magnitude(&most, &o, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, "element [0, 1] is 3.40282347e+38"), "%s", err.message);
}
END_TEST

START_TEST(scales_that_cannot_be)
{
    const size_t shape[2] = {3, 300}, longer[2] = {1, 262145};
    s24_error err;
    s24_tensor *t = NULL;
    ck_assert_int_eq(s24_tensor_new_scaled(&t, S24_F16, 0, 2, shape, 1, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_tensor_new_scaled(&t, S24_I8, 64, 2, shape, 1, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_tensor_new_scaled(&t, S24_I8, 0, 2, longer, 1, &err), S24_ERR_USAGE);
    ck_assert_ptr_null(t);
    ck_assert_int_eq(s24_tensor_new_scaled(&t, S24_I8, S24_SCALE_GROUP, 2, shape, 1, &err), S24_OK);
    for (int i = 0; i < 9; i++) {
        ck_assert(t->scales[i] == 1);
    }
    float *dense = calloc(900, sizeof *dense);
    ck_assert_int_eq(s24_decompress(t, S24_I8, dense, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_decompress(t, S24_F32, dense, &err), S24_OK);
    const float bad[] = {0, -1, NAN, INFINITY};
    const s24_dense view = {.data = dense, .dtype = S24_F32, .rank = 2, .shape = shape};
    for (int i = 0; i < ROWS(bad); i++) {
        s24_prune_metrics metrics;
        t->scales[5] = bad[i];
        ck_assert_int_eq(s24_decompress(t, S24_F32, dense, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "row 1, group 64: the scale is"), "%s", err.message);
        ck_assert_int_eq(s24_compute_metrics(&view, t, 1, &metrics, &err), S24_ERR_DATA);
    }
    free(dense);
    s24_tensor_free(t);
}
END_TEST

/* ---------------------------------------------------------------- views */

typedef struct strided {
    s24_dense dense;
    int64_t strides[MAX_RANK];
    unsigned char *memory;
} strided;

/* Elements of dimensions that lie in a random order, with gaps, some backwards, at any address. */
static void strided_make(strided *v, const array *a)
{
    const unsigned bytes = s24_info(a->dtype)->bytes;
    int order[MAX_RANK] = {0, 1, 2, 3, 4};
    size_t lowest = 0, span = 1; /* elements before element [0, ..., 0]; elements in all */
    for (int d = a->rank - 1; d > 0; d--) {
        const int other = (int)below((size_t)d + 1), swapped = order[d];
        order[d] = order[other];
        order[other] = swapped;
    }
    for (int k = 0; k < a->rank; k++) {
        const int d = order[k];
        const size_t step = span * (below(3) ? 1 : 1 + below(3));
        const bool backwards = below(3) == 0;
        v->strides[d] = backwards ? -(int64_t)step : (int64_t)step;
        lowest += backwards && a->shape[d] ? (a->shape[d] - 1) * step : 0;
        span = step * (a->shape[d] ? a->shape[d] : 1);
    }
    v->memory = allocate(span * bytes + 8);
    unsigned char *base = v->memory + below(8) + lowest * bytes;
    v->dense = (s24_dense){.data = base, .dtype = a->dtype, .rank = a->rank, .shape = a->shape, .strides = v->strides};
    for (size_t i = 0; i < a->n; i++) {
        int64_t offset = 0;
        size_t rest = i;
        for (int d = a->rank - 1; d >= 0; d--) {
            offset += (int64_t)(rest % a->shape[d]) * v->strides[d];
            rest /= a->shape[d];
        }
        memcpy(base + offset * (int64_t)bytes, a->data + i * bytes, bytes);
    }
}

START_TEST(views_are_their_copies)
{
    for (int n = 0; n < 120; n++) {
        array a = random_array(nth_dtype(_i), (filling)below(FILLINGS));
        strided v;
        strided_make(&v, &a);
        const s24_dense copy = dense_of(&a);
        for (int axis = -1; axis < a.rank; axis++) { /* -1: the last, or the only one of a number */
            const s24_prune_options o = options_for(axis, S24_SAME);
            s24_prune_metrics m[3];
            s24_tensor *t = prune(&v.dense, NULL, &o, &m[0]), *u = prune(&copy, NULL, &o, &m[1]);
            const char *what = describe(&a, axis, a.dtype);
            require_same_tensor(t, u, what);
            ck_assert_int_eq(s24_compute_metrics(&v.dense, u, 1, &m[2], NULL), S24_OK);
            REQUIRE(memcmp(&m[0], &m[1], sizeof *m) == 0 && memcmp(&m[0], &m[2], sizeof *m) == 0, "%s: metrics", what);
            s24_tensor_free(t);
            s24_tensor_free(u);
        }
        free(v.memory);
        free(a.data);
    }
}
END_TEST

/* A stride of 0: one row, or one element, many times. */
START_TEST(views_that_repeat)
{
    static const int64_t strides[3][2] = {{0, 1}, {1, 0}, {0, 0}};
    const size_t shape[2] = {37, 48};
    const size_t line[1] = {48};
    array base = array_new(S24_F32, 1, line), a = array_new(S24_F32, 2, shape);
    fill(&base, TIES);
    for (int s = 0; s < 3; s++) {
        for (size_t i = 0; i < a.n; i++) {
            put(&a, i, get(&base, i / 48 * (size_t)strides[s][0] + i % 48 * (size_t)strides[s][1]));
        }
        const s24_dense view = {.data = base.data, .dtype = S24_F32, .rank = 2, .shape = shape, .strides = strides[s]};
        for (int axis = 0; axis < 2; axis++) {
            const s24_prune_options o = options_for(axis, S24_SAME);
            s24_prune_metrics metrics;
            s24_tensor *t = prune(&view, NULL, &o, &metrics);
            require_model(t, &metrics, &a, NULL, describe(&a, axis, S24_F32));
            s24_tensor_free(t);
        }
    }
    free(base.data);
    free(a.data);
}
END_TEST

/* ---------------------------------------------------------------- many panels, threads, instruction sets */

/* Several threads and every cap give the same as one and the generic code, which is compared with the model. */
static void require_deterministic(const s24_dense *view, const array *a, const array *gradients, int axis, s24_dtype to)
{
    static const struct {
        unsigned threads;
        s24_isa isa;
    } runs[] = {
        {2, S24_ISA_GENERIC}, {1, S24_ISA_AVX2}, {2, S24_ISA_AVX512}, {5, S24_ISA_AVX2}, {5, S24_ISA_BEST},
    };
    const char *what = describe(a, axis, to);
    s24_prune_options o = options_for(axis, to);
    s24_prune_metrics first_metrics, metrics;
    s24_dense aux;
    if (gradients) {
        aux = dense_of(gradients);
    }
    o.isa = S24_ISA_GENERIC;
    s24_tensor *first = prune(view, gradients ? &aux : NULL, &o, &first_metrics);
    require_model(first, &first_metrics, a, gradients, what);
    for (int i = 0; i < ROWS(runs); i++) {
        o.isa = runs[i].isa;
        o.threads = runs[i].threads;
        s24_tensor *t = prune(view, gradients ? &aux : NULL, &o, &metrics);
        require_same_tensor(first, t, what);
        REQUIRE(memcmp(&first_metrics, &metrics, sizeof metrics) == 0, "%s: metrics of %s with %u threads", what,
                s24_isa_name(o.isa), o.threads);
        s24_tensor_free(t);
    }
    for (unsigned threads = 1; threads <= 5; threads += 4) {
        ck_assert_int_eq(s24_compute_metrics(view, first, threads, &metrics, NULL), S24_OK);
        REQUIRE(memcmp(&first_metrics, &metrics, sizeof metrics) == 0, "%s: compute_metrics, %u threads", what,
                threads);
    }
    s24_tensor_free(first);
}

static const struct {
    s24_dtype from, to;
} kernels_and_more[] = {
    {S24_F64, S24_F64}, {S24_F32, S24_F32}, {S24_F32, S24_F16}, {S24_F32, S24_BF16}, {S24_F16, S24_F16},
    {S24_BF16, S24_BF16}, {S24_F8E4M3, S24_F8E4M3}, {S24_F8E5M2, S24_F8E5M2}, {S24_I8, S24_I8}, {S24_F64, S24_F16},
};

/* Rows that are joined to one, rows with a tail, rows of an odd number of groups; a panel and a bit each. */
START_TEST(many_panels)
{
    static const size_t shapes[][2] = {{80, 4096}, {140, 2001}, {5000, 60}};
    for (int s = 0; s < ROWS(shapes); s++) {
        array a = array_new(kernels_and_more[_i].from, 2, shapes[s]);
        fill(&a, s == 1 ? TIES : MODERATE);
        const s24_dense view = dense_of(&a);
        require_deterministic(&view, &a, NULL, 1, kernels_and_more[_i].to);
        free(a.data);
    }
}
END_TEST

/* Rows longer than a panel are cut into runs. */
START_TEST(long_rows)
{
    static const size_t shapes[][2] = {{2, 4 * PANEL + 4}, {1, 8 * PANEL + 6}};
    for (int s = 0; s < ROWS(shapes); s++) {
        array a = array_new(kernels_and_more[_i].from, 2, shapes[s]);
        fill(&a, MODERATE);
        const s24_dense view = dense_of(&a);
        require_deterministic(&view, &a, NULL, 1, kernels_and_more[_i].to);
        free(a.data);
    }
}
END_TEST

/* The same along the other axis: panels are gathered, each thread into its own buffer. */
START_TEST(many_panels_gathered)
{
    const size_t shape[2] = {4 * PANEL + 9, 3}, wide[3] = {40, 130, 100};
    array a = array_new(S24_F16, 2, shape), b = array_new(S24_BF16, 3, wide);
    fill(&a, ANY);
    fill(&b, TIES);
    const s24_dense view = dense_of(&a), view_b = dense_of(&b);
    require_deterministic(&view, &a, NULL, 0, S24_F16);
    require_deterministic(&view_b, &b, NULL, 0, S24_BF16);
    require_deterministic(&view_b, &b, NULL, 1, S24_BF16);
    free(a.data);
    free(b.data);
}
END_TEST

START_TEST(many_panels_by_gradient)
{
    const size_t shape[2] = {400, 1201};
    array a = array_new(S24_F32, 2, shape), g = array_new(S24_F16, 2, shape);
    fill(&a, MODERATE);
    fill(&g, TIES);
    const s24_dense view = dense_of(&a);
    require_deterministic(&view, &a, &g, 1, S24_F32);
    require_deterministic(&view, &a, &g, 0, S24_BF16);
    free(a.data);
    free(g.data);
}
END_TEST

/* ---------------------------------------------------------------- what is not finite */

static uint64_t random_nonfinite(s24_dtype dtype)
{
    const s24_dtype_info *info = s24_info(dtype);
    for (;;) {
        const uint64_t bits = random_bits() >> (64 - info->bits);
        const uint64_t special = below(2) ? bits : (bits & ~info->magnitude_mask) | info->nonfinite_key;
        if (!finite_bits(dtype, special)) {
            return special;
        }
        if (bits % 2) {
            return special | info->nonfinite_key | 1; /* of wide types hardly any random pattern is NaN */
        }
    }
}

/* "[3, 17]" of a C-order element. */
static const char *place_of(const array *a, size_t i)
{
    static char text[128];
    size_t index[MAX_RANK] = {0};
    int used = 1;
    for (int d = a->rank - 1; d >= 0; d--) {
        index[d] = i % a->shape[d];
        i /= a->shape[d];
    }
    text[0] = '[';
    for (int d = 0; d < a->rank; d++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%zu", d ? ", " : "", index[d]);
    }
    snprintf(text + used, sizeof text - (size_t)used, "]");
    return text;
}

static const char *name_of(double x)
{
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
}

static void require_refused(const s24_dense *view, const s24_prune_options *o, const array *a, size_t at,
                            const char *what)
{
    char expected[192];
    s24_tensor *t = NULL;
    s24_error err;
    REQUIRE(s24_prune_magnitude(view, o, &t, NULL, &err) == S24_ERR_DATA && err.status == S24_ERR_DATA, "%s", what);
    REQUIRE(t == NULL, "%s: a tensor in spite of the error", what);
    const double x = decoded(a->dtype, get(a, at));
    snprintf(expected, sizeof expected, "element %s is %s", place_of(a, at), isfinite(x) ? "" : name_of(x));
    REQUIRE(strncmp(err.message, expected, strlen(expected)) == 0, "%s: expected \"%s\", not \"%s\"", what, expected,
            err.message);
    REQUIRE(s24_prune_magnitude(view, o, &t, NULL, NULL) == S24_ERR_DATA, "%s", what);
}

/* The first in the order of rows along the axis, however many there are. */
static size_t first_in_rows(const array *a, int axis, const size_t *at, int n)
{
    size_t inner = 1, best = 0, best_place = SIZE_MAX;
    for (int d = axis + 1; d < a->rank; d++) {
        inner *= a->shape[d];
    }
    const size_t cols = a->rank ? a->shape[axis] : 1;
    for (int i = 0; i < n; i++) {
        const size_t row = at[i] / inner / cols * inner + at[i] % inner, place = row * cols + at[i] / inner % cols;
        if (place < best_place) {
            best_place = place;
            best = at[i];
        }
    }
    return best;
}

START_TEST(nonfinite_is_refused)
{
    for (int n = 0; n < 200; n++) {
        array a = random_array(nth_dtype(_i), (filling)below(FILLINGS));
        const int axes = a.rank ? a.rank : 1, axis = (int)below((size_t)axes);
        size_t at[3] = {0};
        const int count = 1 + (int)below(3);
        for (int i = 0; i < count && a.n; i++) {
            at[i] = below(a.n);
            put(&a, at[i], random_nonfinite(a.dtype));
        }
        if (a.n) {
            strided v;
            strided_make(&v, &a);
            s24_prune_options o = options_for(axis, S24_SAME);
            o.isa = (s24_isa)below(S24_ISAS);
            require_refused(&v.dense, &o, &a, first_in_rows(&a, axis, at, count), describe(&a, axis, a.dtype));
            free(v.memory);
        }
        free(a.data);
    }
}
END_TEST

/* Whichever thread finds one first, in panels of many rows and in parts of one. */
START_TEST(nonfinite_of_many_panels)
{
    static const size_t shapes[2][2] = {{700, 1000}, {1, 12 * PANEL + 9}};
    array a = array_new(S24_F32, 2, shapes[_i]);
    fill(&a, MODERATE);
    const s24_dense view = dense_of(&a);
    for (int n = 0; n < 20; n++) {
        size_t at[3];
        for (int i = 0; i < 3; i++) {
            at[i] = below(a.n);
            put(&a, at[i], encoded(S24_F32, i ? -HUGE_VAL : NAN));
        }
        for (unsigned threads = 1; threads <= 5; threads += 2) {
            s24_prune_options o = options_for(1, S24_SAME);
            o.threads = threads;
            require_refused(&view, &o, &a, first_in_rows(&a, 1, at, 3), describe(&a, 1, S24_F32));
        }
        for (int i = 0; i < 3; i++) {
            put(&a, at[i], 0);
        }
    }
    free(a.data);
}
END_TEST

/* Allowed, they are kept before all others and left out of the sums; of three or four in a group some are lost. */
START_TEST(nonfinite_is_allowed)
{
    static const size_t rarely[] = {1, 2, 5, 60};
    for (int n = 0; n < 200; n++) {
        const s24_dtype from = nth_dtype(_i), to = below(2) || from > S24_F32 ? from : S24_BF16;
        array a = random_array(from, to == from ? (filling)below(FILLINGS) : MODERATE);
        const size_t one_in = rarely[below(ROWS(rarely))];
        for (size_t i = 0; i < a.n; i++) {
            if (below(one_in) == 0) {
                put(&a, i, random_nonfinite(from));
            }
        }
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        const s24_dense view = dense_of(&a);
        s24_prune_options o = options_for(axis, to);
        s24_prune_metrics metrics, again;
        o.allow_nonfinite = true;
        o.isa = (s24_isa)below(S24_ISAS);
        s24_tensor *t = prune(&view, NULL, &o, &metrics);
        require_model(t, &metrics, &a, NULL, describe(&a, axis, to));
        ck_assert_int_eq(s24_compute_metrics(&view, t, 1, &again, NULL), S24_OK);
        REQUIRE(memcmp(&again, &metrics, sizeof again) == 0, "compute_metrics");
        s24_tensor_free(t);
        free(a.data);
    }
}
END_TEST

/* Written out once: three non-finite in one group, four in another. */
START_TEST(nonfinite_figures)
{
    const double inf = HUGE_VAL;
    const double w[8] = {1, inf, NAN, -inf, NAN, inf, -inf, NAN};
    const size_t shape[2] = {1, 8};
    const s24_dense view = {.data = w, .dtype = S24_F64, .rank = 2, .shape = shape};
    s24_prune_options o = options_for(1, S24_SAME);
    s24_prune_metrics m;
    o.allow_nonfinite = true;
    s24_tensor *t = prune(&view, NULL, &o, &m);
    const s24_block one = s24_tensor_block(t, 0, 0), two = s24_tensor_block(t, 0, 1);
    ck_assert(one.positions[0] == 1 && one.values[0] == inf && one.positions[1] == 2 && isnan(one.values[1]));
    ck_assert(two.positions[0] == 0 && isnan(two.values[0]) && two.positions[1] == 3 && isnan(two.values[1]));
    ck_assert_uint_eq(m.nonfinite_count, 7);
    ck_assert_uint_eq(m.sums.nonfinite_kept, 4);
    ck_assert_uint_eq(m.sums.nonfinite_pruned, 3);
    ck_assert_uint_eq(m.sums.broken_groups, 2);
    ck_assert_double_eq(m.approximation_error, 1);
    ck_assert_double_eq(m.pruned_magnitude_mean, 1);
    ck_assert_double_eq(m.max_abs_error, 1);
    ck_assert_double_eq(m.relative_error, 1);
    ck_assert_double_eq(m.sparsity_percent, 50);
    ck_assert_double_nan(m.kept_magnitude_mean);
    s24_tensor_free(t);
}
END_TEST

/* ---------------------------------------------------------------- metrics */

/* Small enough for a pencil. */
START_TEST(metrics_written_out)
{
    const float w[2][6] = {{3, -4, 1, 0, -0.0f, 0.5f}, {8, 0, 0, -6, 2049, 0}};
    const size_t shape[2] = {2, 6};
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shape};
    s24_prune_options o = options_for(S24_AXIS_AUTO, S24_F16); /* of 2049 f16 makes 2048 */
    s24_prune_metrics m;
    s24_tensor *t = prune(&view, NULL, &o, &m);
    ck_assert_uint_eq(m.total_count, 12);
    ck_assert_uint_eq(m.pruned_count, 4);
    ck_assert_uint_eq(m.sums.zero_count, 6); /* four pruned, -0.0 and 0 kept in tails */
    ck_assert_uint_eq(m.sums.broken_groups, 1);
    ck_assert_uint_eq(m.sums.negative_zero_count, 0);
    ck_assert_double_eq(m.sums.kept_abs, 3 + 4 + 0.5 + 8 + 6 + 2049);
    ck_assert_double_eq(m.sums.pruned_abs, 1);
    ck_assert_double_eq(m.sums.quant_abs, 1);
    ck_assert_double_eq(m.approximation_error, 2.0 / 12);
    ck_assert_double_eq(m.kept_magnitude_mean, 2070.5 / 8);
    ck_assert_double_eq(m.pruned_magnitude_mean, 0.25);
    ck_assert_double_eq(m.max_abs_error, 1);
    ck_assert_double_eq_tol(m.relative_error, sqrt(2 / (9 + 16 + 0.25 + 64 + 36 + 2049.0 * 2049 + 1)), 1e-15);
    ck_assert_double_eq(m.sparsity_percent, 50);
    ck_assert_double_eq(t->sparsity_percent, 50);
    ck_assert_uint_eq(t->memory_bytes, 2 * 4 * 2 + 2 * 1);
    s24_tensor_free(t);
}
END_TEST

/* What means nothing is NaN; of nothing lost the error is 0. */
START_TEST(metrics_of_nothing)
{
    const s24_sums none = {0}, zeros = {.total_count = 8, .pruned_count = 4, .zero_count = 8};
    s24_prune_metrics m = s24_metrics_from_sums(&none);
    ck_assert_double_nan(m.approximation_error);
    ck_assert_double_nan(m.kept_magnitude_mean);
    ck_assert_double_nan(m.pruned_magnitude_mean);
    ck_assert_double_nan(m.sparsity_percent);
    ck_assert_double_eq(m.relative_error, 0);
    m = s24_metrics_from_sums(&zeros);
    ck_assert_double_eq(m.approximation_error, 0);
    ck_assert_double_eq(m.relative_error, 0);
    ck_assert_double_eq(m.sparsity_percent, 100);
}
END_TEST

START_TEST(sums_add_every_field)
{
    const s24_sums a = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    const s24_sums b = {100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1};
    const s24_sums expected = {101, 202, 303, 404, 505, 606, 707, 808, 909, 1010, 1111, 1212, 1313, 14};
    s24_sums sum = a;
    s24_sums_add(&sum, &b);
    ck_assert_mem_eq(&sum, &expected, sizeof sum);
    s24_sums largest = b;
    s24_sums_add(&largest, &a);
    ck_assert_mem_eq(&largest, &expected, sizeof sum);
}
END_TEST

/* ---------------------------------------------------------------- narrowing */

START_TEST(overflow_names_the_element)
{
    static const struct {
        s24_dtype from, to;
        double large, fits;
    } rows[] = {
        {S24_F64, S24_F32, 1e39, 3.4e38}, {S24_F64, S24_F16, 65520, 65519.99}, {S24_F64, S24_BF16, 3.4e38, 3.38e38},
        {S24_F32, S24_F16, -1e30, 65519}, {S24_F32, S24_BF16, 3.4e38, 3.38e38}, {S24_BF16, S24_F16, -65536, 65280},
    };
    for (int n = 0; n < 600; n++) {
        const int r = n % ROWS(rows);
        array a = random_array(rows[r].from, MODERATE);
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        const s24_dense view = dense_of(&a);
        s24_prune_options o = options_for(axis, rows[r].to);
        o.isa = (s24_isa)below(S24_ISAS);
        if (a.n) {
            const size_t at = below(a.n);
            put(&a, at, encoded(a.dtype, rows[r].fits));
            s24_tensor_free(prune(&view, NULL, &o, NULL));
            put(&a, at, encoded(a.dtype, rows[r].large));
            require_refused(&view, &o, &a, at, describe(&a, axis, rows[r].to));
        }
        free(a.data);
    }
}
END_TEST

/* What is pruned need not fit. */
START_TEST(overflow_of_pruned_is_none)
{
    const float w[4] = {1e30f, 1, 2, 3}, g[4] = {0, 1, 1, 1};
    const size_t shape[1] = {4};
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 1, .shape = shape};
    const s24_dense gradients = {.data = g, .dtype = S24_F32, .rank = 1, .shape = shape};
    const s24_prune_options o = options_for(0, S24_F16);
    s24_prune_metrics m;
    s24_tensor *t = prune(&view, &gradients, &o, &m);
    ck_assert_double_eq(s24_tensor_block(t, 0, 0).values[0], 2);
    ck_assert_double_eq(m.max_abs_error, 1e30f);
    s24_tensor_free(t);
}
END_TEST

/* ---------------------------------------------------------------- by gradient */

START_TEST(gradient_of_every_dtype)
{
    const s24_dtype dtype = nth_dtype(_i / DTYPES), aux = nth_dtype(_i);
    for (int n = 0; n < 20; n++) {
        array a = random_array(dtype, (filling)below(FILLINGS));
        array g = array_new(aux, a.rank, a.shape);
        fill(&g, (filling)below(FILLINGS));
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        strided v, u;
        strided_make(&v, &a);
        strided_make(&u, &g);
        s24_prune_options o = options_for(axis, S24_SAME);
        s24_prune_metrics metrics;
        o.allow_nonfinite = below(2);
        for (size_t i = 0; o.allow_nonfinite && i < a.n && dtype != S24_I8; i += 1 + below(20)) {
            put(&a, i, random_nonfinite(dtype)); /* all alike: ties go to the lower index */
        }
        free(v.memory);
        strided_make(&v, &a);
        s24_tensor *t = prune(&v.dense, &u.dense, &o, &metrics);
        require_model(t, &metrics, &a, &g, describe(&a, axis, dtype));
        s24_tensor_free(t);
        free(v.memory);
        free(u.memory);
        free(a.data);
        free(g.data);
    }
}
END_TEST

/* The product is formed in f64: in f32 these would overflow to equal infinities, or underflow to equal zeros. */
START_TEST(gradient_in_f64)
{
    const float w[8] = {1e30f, 2e30f, 3e30f, 4e30f, 1e-30f, 2e-30f, 3e-30f, 4e-30f};
    const float g[8] = {1e30f, 1e30f, -1e30f, 1e30f, 1e-30f, 1e-30f, -1e-30f, 1e-30f};
    const size_t shape[1] = {8};
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 1, .shape = shape};
    const s24_dense gradients = {.data = g, .dtype = S24_F32, .rank = 1, .shape = shape};
    s24_tensor *t = prune(&view, &gradients, NULL, NULL);
    ck_assert_uint_eq(t->positions[0], 0xee);
    s24_tensor_free(t);
}
END_TEST

START_TEST(gradient_must_be_finite)
{
    for (int n = 0; n < 100; n++) {
        array a = random_array(S24_F32, MODERATE);
        array g = array_new(n % 2 ? S24_BF16 : S24_F64, a.rank, a.shape);
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        char expected[192];
        s24_prune_options o = options_for(axis, S24_SAME);
        s24_tensor *t = NULL;
        s24_error err;
        o.allow_nonfinite = n % 3 == 0;
        if (a.n) {
            const size_t at = below(a.n);
            fill(&g, MODERATE);
            put(&g, at, random_nonfinite(g.dtype));
            const s24_dense view = dense_of(&a), gradients = dense_of(&g);
            ck_assert_int_eq(s24_prune_gradient(&view, &gradients, &o, &t, NULL, &err), S24_ERR_DATA);
            snprintf(expected, sizeof expected, "element %s is not finite", place_of(&a, at));
            REQUIRE(strstr(err.message, expected), "expected \"%s\", not \"%s\"", expected, err.message);
            ck_assert_ptr_null(t);
        }
        free(a.data);
        free(g.data);
    }
}
END_TEST

START_TEST(gradient_of_another_shape)
{
    static const float data[24];
    const size_t shape[2] = {4, 6}, turned[2] = {6, 4}, deep[3] = {4, 6, 1};
    const s24_dense view = {.data = data, .dtype = S24_F32, .rank = 2, .shape = shape};
    const s24_dense others[] = {
        {.data = data, .dtype = S24_F32, .rank = 2, .shape = turned},
        {.data = data, .dtype = S24_F32, .rank = 3, .shape = deep},
        {.data = data, .dtype = S24_F32, .rank = 1, .shape = shape},
        {.data = data, .dtype = S24_I32, .rank = 2, .shape = shape},
    };
    for (int i = 0; i < ROWS(others); i++) {
        s24_tensor *t = NULL;
        s24_error err;
        ck_assert_int_eq(s24_prune_gradient(&view, &others[i], NULL, &t, NULL, &err), S24_ERR_USAGE);
        ck_assert_msg(strstr(err.message, "gradients"), "%s", err.message);
        ck_assert_ptr_null(t);
    }
}
END_TEST

/* ---------------------------------------------------------------- tensors */

START_TEST(a_new_tensor_is_zero)
{
    for (int n = 0; n < 200; n++) {
        const s24_dtype dtype = nth_dtype((int)below(DTYPES));
        array a = random_array(dtype, TIES);
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        s24_tensor *t = NULL;
        ck_assert_int_eq(s24_tensor_new(&t, dtype, a.rank, a.shape, axis, NULL), S24_OK);
        memset(a.data, 0, a.n * s24_info(dtype)->bytes); /* what pruning zeros gives is just that */
        model m = model_of(&a, NULL, axis, dtype);
        require_fields(t, &m, axis, describe(&a, axis, dtype));
        REQUIRE(memcmp(t->values, m.values, t->geometry.values_bytes) == 0, "values");
        REQUIRE(memcmp(t->positions, m.positions, t->geometry.positions_bytes) == 0, "positions");
        require_decompressed(t, &m, "a new tensor");
        s24_tensor_free(t);
        model_free(&m);
        free(a.data);
    }
    s24_tensor_free(NULL);
}
END_TEST

START_TEST(blocks)
{
    const int8_t w[2][10] = {{1, -2, 3, -4, 0, 0, 0, 0, -128, 5}, {7, 7, 7, 7, 0, 0, 9, 0, 0, 1}};
    const s24_block expected[2][3] = {{{{3, -4}, {2, 3}}, {{0, 0}, {0, 1}}, {{-128, 5}, {0, 1}}},
                                      {{{7, 7}, {0, 1}}, {{0, 9}, {0, 2}}, {{0, 1}, {0, 1}}}};
    const size_t shape[2] = {2, 10};
    const s24_dense view = {.data = w, .dtype = S24_I8, .rank = 2, .shape = shape};
    s24_tensor *t = prune(&view, NULL, NULL, NULL);
    for (size_t row = 0; row < 2; row++) {
        for (size_t group = 0; group < 3; group++) {
            const s24_block b = s24_tensor_block(t, row, group), *e = &expected[row][group];
            ck_assert_mem_eq(b.positions, e->positions, 2);
            ck_assert(b.values[0] == e->values[0] && b.values[1] == e->values[1]);
        }
    }
    ck_assert_uint_eq(t->positions[1], 0x04); /* an odd number of groups: the last nibble is 0 */
    s24_tensor_free(t);
}
END_TEST

/* ---------------------------------------------------------------- decompressing */

START_TEST(decompress_to_every_dtype)
{
    const s24_dtype from = nth_dtype(_i / DTYPES), to = nth_dtype(_i);
    for (int n = 0; n < 20; n++) {
        array a = random_array(from, MODERATE);
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        const s24_dense view = dense_of(&a);
        const s24_prune_options o = options_for(axis, S24_SAME);
        model m = model_of(&a, NULL, axis, from);
        const size_t bytes = a.n * s24_info(to)->bytes;
        unsigned char *dense = allocate(bytes + 9), *expected = allocate(bytes);
        s24_tensor *t = prune(&view, NULL, &o, NULL);
        const s24_status wanted = convertible(from, to) ? S24_OK : S24_ERR_USAGE;
        s24_error err;
        const size_t shift = below(8);
        dense[shift + bytes] = 0xa5;
        REQUIRE(s24_decompress(t, to, dense + shift, &err) == wanted, "%s", describe(&a, axis, to));
        if (wanted == S24_OK) {
            ck_assert_int_eq(s24_dtype_convert(from, m.dense, to, expected, a.n, NULL, NULL), S24_OK);
            REQUIRE(memcmp(dense + shift, expected, bytes) == 0, "%s", describe(&a, axis, to));
        }
        REQUIRE(dense[shift + bytes] == 0xa5, "%s: too much", describe(&a, axis, to));
        s24_tensor_free(t);
        free(dense);
        free(expected);
        model_free(&m);
        free(a.data);
    }
}
END_TEST

/* Back to where it came from, which needs no scales: types of 8 bits that were widened. */
START_TEST(decompress_to_the_source)
{
    static const s24_dtype narrow[] = {S24_I8, S24_F8E4M3, S24_F8E5M2};
    for (int n = 0; n < 300; n++) {
        const s24_dtype from = narrow[n % 3], to = nth_dtype((int)below(4)); /* f64 to bf16 */
        array a = random_array(from, ANY);
        const int axis = (int)below(a.rank ? (size_t)a.rank : 1);
        const s24_dense view = dense_of(&a);
        const s24_prune_options o = options_for(axis, to);
        model m = model_of(&a, NULL, axis, from);
        s24_tensor *t = prune(&view, NULL, &o, NULL);
        unsigned char *dense = allocate(a.n);
        ck_assert_int_eq(s24_decompress(t, from, dense, NULL), S24_OK);
        REQUIRE(memcmp(dense, m.dense, a.n) == 0, "%s and back", describe(&a, axis, to));
        ck_assert_int_eq(s24_decompress(t, narrow[(n + 1) % 3], dense, NULL), S24_ERR_USAGE);
        s24_tensor_free(t);
        model_free(&m);
        free(dense);
        free(a.data);
    }
}
END_TEST

/* Every nibble that is none, in every place of rows that kernels do and of their tails. */
START_TEST(decompress_damaged_positions)
{
    const size_t shape[2] = {5, 75}; /* 19 groups */
    for (int axis = 0; axis < 2; axis++) {
        s24_tensor *t = NULL;
        ck_assert_int_eq(s24_tensor_new(&t, S24_F32, 2, shape, axis, NULL), S24_OK);
        const s24_geometry g = t->geometry;
        float *dense = allocate(t->num_elements * sizeof *dense);
        for (size_t at = 0; at < g.rows * g.groups; at++) {
            uint8_t *byte = t->positions + at / g.groups * g.row_positions + at % g.groups / 2;
            const uint8_t good = *byte;
            const unsigned shift = at % g.groups % 2 * 4;
            for (unsigned nibble = 0; nibble < 16; nibble++) {
                char expected[64];
                s24_error err;
                s24_prune_metrics m;
                const s24_dense view = {.data = dense, .dtype = S24_F32, .rank = 2, .shape = shape};
                *byte = (uint8_t)((good & ~(15u << shift)) | nibble << shift);
                const s24_status wanted = (nibble & 3) < nibble >> 2 ? S24_OK : S24_ERR_DATA;
                snprintf(expected, sizeof expected, "row %zu, group %zu:", at / g.groups, at % g.groups);
                REQUIRE(s24_decompress(t, S24_SAME, dense, &err) == wanted, "%s nibble %u", expected, nibble);
                REQUIRE(wanted == S24_OK || strstr(err.message, expected), "%s \"%s\"", expected, err.message);
                REQUIRE(s24_compute_metrics(&view, t, 1, &m, &err) == wanted, "%s nibble %u", expected, nibble);
                REQUIRE(wanted == S24_OK || strstr(err.message, expected), "%s \"%s\"", expected, err.message);
            }
            *byte = good;
        }
        free(dense);
        s24_tensor_free(t);
    }
}
END_TEST

START_TEST(decompress_overflow)
{
    const float w[2][5] = {{1, 2, 3, 4, 5}, {1, 2, 3, -1e20f, 5}};
    const size_t shape[2] = {2, 5};
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shape};
    uint16_t half[10];
    for (int axis = 0; axis < 2; axis++) {
        const s24_prune_options o = options_for(axis, S24_SAME);
        s24_error err;
        s24_tensor *t = prune(&view, NULL, &o, NULL);
        ck_assert_int_eq(s24_decompress(t, S24_F16, half, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "element [1, 3] is -1"), "%s", err.message);
        ck_assert_int_eq(s24_decompress(t, S24_BF16, half, NULL), S24_OK);
        s24_tensor_free(t);
    }
}
END_TEST

/* ---------------------------------------------------------------- usage */

/* By a mask that is given, of elements of every size: positions that no pair has are named, in whole groups and at the end. */
START_TEST(masks_that_are_none)
{
    static const s24_dtype dtypes[] = {S24_I8, S24_F16, S24_F32, S24_F64};
    static const struct {
        uint8_t positions[2];
        size_t col; /* of the group at fault; SIZE_MAX: there is none */
    } cases[] = {{{0xe4, 0x04}, SIZE_MAX}, {{0xe5, 0x04}, 0}, {{0x54, 0x04}, 4}, {{0xe4, 0x0a}, 8}, {{0x1e, 0x04}, 4}};
    const uint64_t zeros[10] = {0};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            for (int generic = 0; generic < 2; generic++) {
                const s24_isa isa = generic ? S24_ISA_GENERIC : S24_ISA_BEST;
                s24_pruner pruner = s24_pruner_of(&s24_methods[S24_METHOD_MAGNITUDE], dtypes[d], dtypes[d], S24_F64, false, isa);
                uint64_t values[6];
                uint8_t positions[2];
                memcpy(positions, cases[i].positions, sizeof positions);
                const s24_panel panel = {.rows = 1, .cols = 10, .dense = zeros, .values = values, .positions = positions};
                s24_sums sums = {0};
                s24_fault fault;
                s24_pruner_mask(&pruner, isa);
                const bool ok = s24_prune_panel(&pruner, &panel, &sums, &fault);
                ck_assert_msg(ok == (cases[i].col == SIZE_MAX), "dtype %zu, case %zu", d, i);
                ck_assert(ok || (fault.kind == S24_FAULT_POSITIONS && fault.col == cases[i].col));
                ck_assert(!ok || sums.total_count == 10);
            }
        }
    }
}
END_TEST

START_TEST(usage)
{
    static const float data[24];
    const size_t shape[2] = {4, 6}, other[2] = {6, 4};
    const s24_dense view = {.data = data, .dtype = S24_F32, .rank = 2, .shape = shape};
    const s24_dense ints = {.data = data, .dtype = S24_I32, .rank = 2, .shape = shape};
    const s24_dense small = {.data = data, .dtype = S24_I8, .rank = 2, .shape = shape};
    const struct {
        const s24_dense *view;
        int axis;
        s24_dtype dtype;
    } wrong[] = {
        {&view, 2, S24_SAME}, {&view, -3, S24_SAME}, {&view, INT32_MIN, S24_SAME}, {&view, INT32_MAX - 1, S24_SAME},
        {&small, 0, S24_F8E4M3}, {&small, 0, S24_F8E5M2}, {&view, 0, S24_I32}, {&ints, 0, S24_SAME}, {&ints, 0, S24_F32},
        {&ints, 0, S24_I8},
    };
    s24_error err;
    s24_tensor *t = NULL;
    for (int i = 0; i < ROWS(wrong); i++) {
        const s24_prune_options o = options_for(wrong[i].axis, wrong[i].dtype);
        ck_assert_int_eq(s24_prune_magnitude(wrong[i].view, &o, &t, NULL, &err), S24_ERR_USAGE);
        ck_assert_int_eq(err.status, S24_ERR_USAGE);
        ck_assert_uint_gt(strlen(err.message), 0);
        ck_assert_ptr_null(t);
    }
    ck_assert_int_eq(s24_tensor_new(&t, S24_I64, 2, shape, 0, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_tensor_new(&t, S24_F32, 2, shape, 2, &err), S24_ERR_USAGE);
    ck_assert_ptr_null(t);

    t = prune(&view, NULL, NULL, NULL);
    const s24_dense turned = {.data = data, .dtype = S24_F32, .rank = 2, .shape = other};
    const s24_dense flat = {.data = data, .dtype = S24_F32, .rank = 1, .shape = shape};
    s24_prune_metrics m;
    ck_assert_int_eq(s24_compute_metrics(&turned, t, 1, &m, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_compute_metrics(&flat, t, 1, &m, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_compute_metrics(&ints, t, 1, &m, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_compute_metrics(&view, t, 0, &m, NULL), S24_OK);
    s24_tensor_free(t);
}
END_TEST

/* Measuring compares with what is there, whoever made it: kept values may differ from the original's, too. */
START_TEST(measures_another_original)
{
    static const float ones[4] = {1, 1, 1, 1}, fives[4] = {5, 5, 5, 5};
    const size_t shape[1] = {4};
    const s24_dense one = {.data = ones, .dtype = S24_F32, .rank = 1, .shape = shape};
    const s24_dense five = {.data = fives, .dtype = S24_F32, .rank = 1, .shape = shape};
    s24_tensor *t = prune(&one, NULL, NULL, NULL);
    s24_prune_metrics m;
    ck_assert_int_eq(s24_compute_metrics(&five, t, 1, &m, NULL), S24_OK);
    ck_assert_double_eq(m.approximation_error, 4.5);
    ck_assert_double_eq(m.max_abs_error, 5);
    ck_assert_double_eq_tol(m.relative_error, sqrt(82) / 10, 1e-15);
    s24_tensor_free(t);
}
END_TEST

/* Squares of f64 may leave its range: then there is no relative error, not one of 0. */
START_TEST(squares_out_of_range)
{
    static const double tiny[4] = {1e-200, 2e-200, 3e-200, 4e-200}, huge[4] = {1e200, 2e200, 3e200, 4e200};
    static const double small[4] = {1e-161, 2e-161, 3e-161, 4e-161}; /* squares of a few bits */
    const size_t shape[1] = {4};
    const double *const data[] = {tiny, small, huge};
    for (int i = 0; i < ROWS(data); i++) {
        const s24_dense w = {.data = data[i], .dtype = S24_F64, .rank = 1, .shape = shape};
        s24_prune_metrics m;
        s24_tensor_free(prune(&w, NULL, NULL, &m));
        ck_assert(isnan(m.relative_error));
        ck_assert_double_eq(m.max_abs_error, data[i][1]);
    }
    static const double least[4] = {2e-154, 3e-154, 4e-154, 5e-154};
    const s24_dense w = {.data = least, .dtype = S24_F64, .rank = 1, .shape = shape};
    s24_prune_metrics m;
    s24_tensor_free(prune(&w, NULL, NULL, &m));
    ck_assert_double_eq_tol(m.relative_error, sqrt(13.0 / 54), 1e-15);
}
END_TEST

/* Shapes that cost nothing must not cost time, nor overflow; and a rank that is none is an argument that is none. */
START_TEST(odd_shapes)
{
    static const float data[1] = {3};
    const size_t rows[2] = {(size_t)1 << 40, 0}, empty[3] = {0, (size_t)1 << 20, (size_t)1 << 20};
    const s24_dense none = {.data = data, .dtype = S24_F32, .rank = 2, .shape = rows};
    const s24_dense also = {.data = data, .dtype = S24_F32, .rank = 3, .shape = empty};
    const s24_dense scalar = {.data = data, .dtype = S24_F32, .rank = 0, .shape = NULL};
    const s24_dense negative = {.data = data, .dtype = S24_F32, .rank = -1, .shape = rows};
    s24_prune_options many = options_for(S24_AXIS_AUTO, S24_SAME);
    many.threads = UINT32_MAX;
    s24_tensor_free(prune(&none, NULL, NULL, NULL));
    s24_tensor_free(prune(&also, NULL, NULL, NULL));
    s24_tensor *t = prune(&scalar, NULL, &many, NULL);
    float back = 0;
    ck_assert_int_eq(s24_decompress(t, S24_SAME, &back, NULL), S24_OK);
    ck_assert_float_eq(back, 3);
    s24_tensor_free(t);
    ck_assert_int_ne(s24_prune_gradient(&negative, &negative, NULL, &t, NULL, NULL), S24_OK);
}
END_TEST

/* The most dimensions there can be, and their long message; one more is refused. */
START_TEST(rank_64)
{
    size_t shape[S24_MAX_RANK + 1];
    for (int d = 0; d <= S24_MAX_RANK; d++) {
        shape[d] = d == 20 ? 6 : 1;
    }
    const float w[6] = {1, 2, 3, 4, HUGE_VALF, 5};
    s24_dense view = {.data = w, .dtype = S24_F32, .rank = S24_MAX_RANK, .shape = shape};
    s24_prune_options o = options_for(20, S24_SAME);
    s24_error err;
    s24_tensor *t = NULL;
    ck_assert_int_eq(s24_prune_magnitude(&view, &o, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, "0, 4, 0") && strstr(err.message, " is inf"), "%s", err.message);
    o.allow_nonfinite = true;
    t = prune(&view, NULL, &o, NULL);
    ck_assert_uint_eq(t->geometry.rows, 1);
    s24_tensor_free(t);
    t = NULL;
    view.rank++;
    ck_assert_int_eq(s24_prune_magnitude(&view, &o, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(instruction_sets)
{
    static const char *const names[] = {"best", "generic", "neon", "avx2", "avx512", "amx"};
    s24_isa isa;
    for (int i = 0; i < ROWS(names); i++) {
        ck_assert_str_eq(s24_isa_name((s24_isa)i), names[i]);
        ck_assert(s24_isa_parse(names[i], &isa) && isa == (s24_isa)i);
        const s24_isa found = s24_isa_detect(isa);
        ck_assert(isa == S24_ISA_BEST || found <= isa);
        ck_assert_int_ne(found, S24_ISA_BEST);
        ck_assert_int_eq(s24_isa_detect(found), found);
    }
    ck_assert(!s24_isa_parse("sse2", &isa) && !s24_isa_parse("", &isa) && !s24_isa_parse("AVX2", &isa));
    ck_assert_int_eq(s24_isa_detect(S24_ISA_GENERIC), S24_ISA_GENERIC);
    ck_assert_str_eq(s24_version(), S24_VERSION);
}
END_TEST

/* ---------------------------------------------------------------- suite */

static void add_small(TCase *tcase)
{
    tcase_add_test(tcase, views_that_repeat);
    tcase_add_test(tcase, nonfinite_figures);
    tcase_add_test(tcase, metrics_written_out);
    tcase_add_test(tcase, metrics_of_nothing);
    tcase_add_test(tcase, sums_add_every_field);
    tcase_add_test(tcase, overflow_names_the_element);
    tcase_add_test(tcase, overflow_of_pruned_is_none);
    tcase_add_test(tcase, gradient_in_f64);
    tcase_add_test(tcase, gradient_must_be_finite);
    tcase_add_test(tcase, gradient_of_another_shape);
    tcase_add_test(tcase, a_new_tensor_is_zero);
    tcase_add_test(tcase, blocks);
    tcase_add_test(tcase, decompress_to_the_source);
    tcase_add_test(tcase, decompress_damaged_positions);
    tcase_add_test(tcase, decompress_overflow);
    tcase_add_test(tcase, masks_that_are_none);
    tcase_add_test(tcase, usage);
    tcase_add_loop_test(tcase, scales, 0, ROWS(scaled));
    tcase_add_test(tcase, scales_of_many_panels);
    tcase_add_test(tcase, scales_at_the_ends);
    tcase_add_test(tcase, scales_that_cannot_be);
    tcase_add_test(tcase, measures_another_original);
    tcase_add_test(tcase, squares_out_of_range);
    tcase_add_test(tcase, odd_shapes);
    tcase_add_test(tcase, rank_64);
    tcase_add_test(tcase, instruction_sets);
}

static void add_large(TCase *tcase)
{
    tcase_add_loop_test(tcase, every_tie, 0, DTYPES);
    tcase_add_loop_test(tcase, two_of_four, 0, DTYPES);
    tcase_add_loop_test(tcase, every_conversion, 0, DTYPES * DTYPES);
    tcase_add_loop_test(tcase, views_are_their_copies, 0, DTYPES);
    tcase_add_loop_test(tcase, many_panels, 0, ROWS(kernels_and_more));
    tcase_add_loop_test(tcase, long_rows, 1, 4); /* from f32 to f32, f16, bf16 */
    tcase_add_test(tcase, many_panels_gathered);
    tcase_add_test(tcase, many_panels_by_gradient);
    tcase_add_loop_test(tcase, nonfinite_is_refused, 0, DTYPES - 1);
    tcase_add_loop_test(tcase, nonfinite_of_many_panels, 0, 2);
    tcase_add_loop_test(tcase, nonfinite_is_allowed, 0, DTYPES - 1);
    tcase_add_loop_test(tcase, gradient_of_every_dtype, 0, DTYPES * DTYPES);
    tcase_add_loop_test(tcase, decompress_to_every_dtype, 0, DTYPES * DTYPES);
}

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_prune: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("prune");
    TCase *tcase = tcase_create("prune");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_set_timeout(tcase, 300);
    add_small(tcase);
    add_large(tcase);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
