/*
 * Transposable masks, against a search that knows no patterns: all 2^16 masks of a block, those that keep two a row and
 * two a column, the best of them by f64 sums. Kernels, threads, views and stacks against the generic code and copies.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dtype.h"
#include "random.h"
#include "transposable.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

/* For inner loops: ck_assert tells the parent process, by a system call, of every assertion that holds. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            ck_abort_msg(__VA_ARGS__); \
        } \
    } while (0)

static void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

/* ---------------------------------------------------------------- the search */

/* Masks of 16 bits, element j of row i at 4 i + j, in the order of the library's numbers: by p0 | p1 << 2, row 0 first. */
static unsigned masks[90];
static int mask_count;

static unsigned nibble_of(unsigned row_bits)
{
    unsigned position[2] = {0}, n = 0;
    for (unsigned j = 0; j < 4; j++) {
        if (row_bits >> j & 1) {
            position[n++ & 1] = j;
        }
    }
    return n == 2 ? position[0] | position[1] << 2 : 0;
}

static unsigned order_of(unsigned mask)
{
    return nibble_of(mask & 15) << 12 | nibble_of(mask >> 4 & 15) << 8 | nibble_of(mask >> 8 & 15) << 4 |
           nibble_of(mask >> 12);
}

static int by_order(const void *a, const void *b)
{
    return (int)order_of(*(const unsigned *)a) - (int)order_of(*(const unsigned *)b);
}

static void make_masks(void)
{
    mask_count = 0;
    for (unsigned mask = 0; mask < 1u << 16; mask++) {
        bool fits = true;
        for (unsigned i = 0; i < 4; i++) {
            fits = fits && __builtin_popcount(mask & 15u << 4 * i) == 2 && __builtin_popcount(mask & 0x1111u << i) == 2;
        }
        if (fits) {
            ck_assert_int_lt(mask_count, 90);
            masks[mask_count++] = mask;
        }
    }
    ck_assert_int_eq(mask_count, 90);
    qsort(masks, 90, sizeof *masks, by_order);
}

/* In the order that the header gives. */
static double sum_kept(const double score[16], unsigned mask)
{
    double row[4];
    for (unsigned i = 0; i < 4; i++) {
        const unsigned nibble = nibble_of(mask >> 4 * i & 15);
        row[i] = score[4 * i + (nibble & 3)] + score[4 * i + (nibble >> 2)];
    }
    return (row[0] + row[1]) + (row[2] + row[3]);
}

/* Sums must not overflow. */
static unsigned best_mask(const double score[16])
{
    double finite[16];
    unsigned nonfinite = 0, best = 0;
    for (unsigned k = 0; k < 16; k++) {
        nonfinite |= (unsigned)!isfinite(score[k]) << k;
        finite[k] = isfinite(score[k]) ? score[k] : 0;
    }
    for (int n = 1; n < 90; n++) {
        const int more = __builtin_popcount(masks[n] & nonfinite) - __builtin_popcount(masks[best] & nonfinite);
        const double gain = sum_kept(finite, masks[n]) - sum_kept(finite, masks[best]);
        if (more > 0 || (more == 0 && gain > 0)) {
            best = (unsigned)n;
        }
    }
    return masks[best];
}

/* ---------------------------------------------------------------- matrices */

/* Padding of a block reads as 0. */
static void read_block(s24_dtype dtype, const void *w, size_t rows, size_t cols, size_t r, size_t c, double score[16])
{
    const s24_dtype_info *info = s24_info(dtype);
    for (unsigned k = 0; k < 16; k++) {
        const bool there = r + k / 4 < rows && c + k % 4 < cols;
        score[k] = there ? fabs(s24_decode(info, s24_load(w, info->bytes, (r + k / 4) * cols + c + k % 4))) : 0;
    }
}

/* positions [rows, ceil(G / 2)] are the best for every block. */
static void require_best(s24_dtype dtype, const void *w, size_t rows, size_t cols, const uint8_t *positions)
{
    const size_t groups = (cols + 3) / 4, row_positions = (groups + 1) / 2;
    for (size_t r = 0; r < rows; r += 4) {
        for (size_t g = 0; g < groups; g++) {
            double score[16];
            read_block(dtype, w, rows, cols, r, 4 * g, score);
            const unsigned best = best_mask(score);
            for (size_t i = 0; i < 4 && r + i < rows; i++) {
                const unsigned nibble = positions[(r + i) * row_positions + g / 2] >> g % 2 * 4 & 15;
                REQUIRE(nibble == nibble_of(best >> 4 * i & 15), "%zu x %zu of %s, row %zu, group %zu: %x, not %x", rows,
                        cols, s24_dtype_name(dtype), r + i, g, nibble, nibble_of(best >> 4 * i & 15));
            }
        }
        if (groups % 2) {
            REQUIRE(positions[(r + 1) * row_positions - 1] >> 4 == 0, "a pad nibble is not 0");
        }
    }
}

typedef enum filling { NORMAL, TIES, WILD, FILLINGS } filling;

static uint64_t random_element(s24_dtype dtype, filling how)
{
    static const double few[] = {0, -0.0, 1, -1, 2, 3};
    const s24_dtype_info *info = s24_info(dtype);
    bool overflow = false;
    for (;;) {
        if (how == TIES) {
            return s24_encode(info, few[below(ROWS(few))], &overflow);
        }
        /* WILD: any bits, NaN, infinities and, below, what eight of overflow in f64 among them. */
        const uint64_t bits = random_bits() >> (64 - info->bits);
        if (how == WILD && (info->id != S24_F64 || below(8))) {
            return bits;
        }
        if (how == WILD) {
            return s24_encode(info, below(2) ? INFINITY : 0x1.8p1023, &overflow);
        }
        const double x = (double)(int64_t)random_bits() * 0x1p-60;
        return s24_encode(info, info->kind == S24_KIND_INT ? rint(x * 8) : x, &overflow);
    }
}

static unsigned char *random_matrix(s24_dtype dtype, size_t n, filling how)
{
    const unsigned bytes = s24_info(dtype)->bytes;
    unsigned char *w = allocate(n * bytes);
    for (size_t i = 0; i < n; i++) {
        s24_store(w, bytes, i, random_element(dtype, how));
    }
    return w;
}

static const size_t shapes[][2] = {{4, 4}, {8, 64}, {4, 68}, {12, 132}, {1, 1}, {1, 5}, {2, 3}, {3, 3}, {5, 9}, {7, 66},
                                   {6, 127}, {9, 1}, {4, 2}, {33, 260}, {400, 1030}};

/* Every dtype, every instruction set, one thread and three: the best of each block. */
START_TEST(best_of_all_masks)
{
    const s24_dtype dtype = (s24_dtype)(S24_F64 + _i);
    for (int s = 0; s < ROWS(shapes); s++) {
        const size_t rows = shapes[s][0], cols = shapes[s][1], bytes = rows * (((cols + 3) / 4 + 1) / 2);
        for (int how = NORMAL; how < FILLINGS; how++) {
            if (how == WILD && dtype == S24_F64) {
                continue; /* sums overflow: below */
            }
            unsigned char *w = random_matrix(dtype, rows * cols, (filling)how);
            uint8_t *first = allocate(bytes), *other = allocate(bytes);
            s24_error err;
            ck_assert_int_eq(s24_transposable_matrix(dtype, w, rows, cols, S24_ISA_GENERIC, 1, first, &err), S24_OK);
            require_best(dtype, w, rows, cols, first);
            for (int isa = S24_ISA_BEST; isa < S24_ISAS; isa++) {
                memset(other, 0xff, bytes);
                ck_assert_int_eq(s24_transposable_matrix(dtype, w, rows, cols, (s24_isa)isa, 1 + (unsigned)isa % 3, other,
                                                         &err), S24_OK);
                REQUIRE(memcmp(first, other, bytes) == 0, "%s differs", s24_isa_name((s24_isa)isa));
            }
            free(w);
            free(first);
            free(other);
        }
    }
}
END_TEST

/* f64 that overflow: as they are when all are 2^-8 times as large. Every instruction set the same. */
START_TEST(huge_scores)
{
    enum { ROW = 4, COLS = 256 };
    static double w[ROW * COLS], small[ROW * COLS];
    uint8_t big[ROW * COLS / 8], scaled[ROW * COLS / 8];
    s24_error err;
    for (int isa = S24_ISA_BEST; isa < S24_ISAS; isa++) {
        for (size_t i = 0; i < ROW * COLS; i++) {
            w[i] = ldexp(1 + (double)(random_bits() >> 12) * 0x1p-52, 1023 - (int)below(20));
            small[i] = below(30) ? w[i] * 0x1p-8 : INFINITY;
            w[i] = isfinite(small[i]) ? w[i] : NAN;
        }
        ck_assert_int_eq(s24_transposable_matrix(S24_F64, w, ROW, COLS, (s24_isa)isa, 1, big, &err), S24_OK);
        ck_assert_int_eq(s24_transposable_matrix(S24_F64, small, ROW, COLS, (s24_isa)isa, 1, scaled, &err), S24_OK);
        require_best(S24_F64, small, ROW, COLS, scaled);
        ck_assert_mem_eq(big, scaled, sizeof big);
    }
}
END_TEST

/* Whatever the scores: a tie of everything keeps the upper left and the lower right. */
START_TEST(ties_of_everything)
{
    static const float zeros[16 * 80];
    static const uint8_t row[4] = {0x44, 0x44, 0xee, 0xee};
    uint8_t positions[16 * 10];
    s24_error err;
    for (int isa = S24_ISA_BEST; isa < S24_ISAS; isa++) {
        ck_assert_int_eq(s24_transposable_matrix(S24_F32, zeros, 16, 80, (s24_isa)isa, 2, positions, &err), S24_OK);
        for (size_t i = 0; i < sizeof positions; i++) {
            REQUIRE(positions[i] == row[i / 10 % 4], "byte %zu is %x", i, positions[i]);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- tensors */

static s24_tensor *prune(const s24_dense *view, const s24_prune_options *o, s24_prune_metrics *metrics)
{
    s24_tensor *t = NULL;
    s24_error err = {0};
    ck_assert_msg(s24_prune_transposable(view, o, &t, metrics, &err) == S24_OK, "%s", err.message);
    return t;
}

static bool kept(const s24_tensor *t, size_t row, size_t col)
{
    const s24_block b = s24_tensor_block(t, row, col / 4);
    return b.positions[0] == col % 4 || b.positions[1] == col % 4;
}

/* The mean of |x| and of x^2 that the best pattern keeps of N(0, 1); each is 0.702 and 0.818 to three digits. */
START_TEST(of_normal_weights)
{
    enum { N = 1024 };
    const size_t shape[2] = {N, N};
    float *w = allocate(N * N * sizeof *w);
    s24_prune_metrics m, plain;
    s24_tensor *t;
    s24_bench_normal(1, w, N * N);
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shape};
    s24_tensor_free(prune(&view, NULL, &m));
    ck_assert_int_eq(s24_prune_magnitude(&view, NULL, &t, &plain, NULL), S24_OK);
    s24_tensor_free(t);
    const double abs = m.sums.kept_abs / (m.sums.kept_abs + m.sums.pruned_abs);
    const double sq = m.sums.kept_sq / (m.sums.kept_sq + m.sums.pruned_sq);
    ck_assert_msg(fabs(abs - 0.702) < 0.001, "%f of L1", abs);
    ck_assert_msg(fabs(sq - 0.818) < 0.001, "%f of L2^2", sq);
    ck_assert_double_lt(m.sums.kept_abs, plain.sums.kept_abs);
    free(w);
}
END_TEST

/* Both it and its transpose are 2:4, and nothing that is kept is lost. */
static void require_transposable(const s24_tensor *t, const float *w)
{
    const size_t rows = t->geometry.rows, cols = t->geometry.cols;
    float *dense = allocate(rows * cols * sizeof *dense);
    ck_assert_int_eq(s24_decompress(t, S24_SAME, dense, NULL), S24_OK);
    for (size_t r = 0; r < rows; r += 4) {
        for (size_t c = 0; c < cols; c++) {
            unsigned nonzero = 0;
            for (size_t i = r; i < r + 4 && i < rows; i++) {
                nonzero += dense[i * cols + c] != 0;
                REQUIRE(dense[i * cols + c] == (kept(t, i, c) ? w[i * cols + c] : 0), "row %zu, column %zu", i, c);
            }
            REQUIRE(nonzero <= 2, "column %zu has %u of rows %zu to %zu", c, nonzero, r, r + 3);
        }
    }
    free(dense);
}

/* Figures are those that measuring gives, and those that the mask says. */
static void require_figures(const s24_tensor *t, const s24_dense *view, const s24_prune_metrics *metrics)
{
    s24_prune_metrics measured;
    uint64_t pruned = 0;
    ck_assert_int_eq(s24_compute_metrics(view, t, 1, &measured, NULL), S24_OK);
    ck_assert_mem_eq(&measured, metrics, sizeof measured);
    for (size_t r = 0; r < t->geometry.rows; r++) {
        for (size_t c = 0; c < t->geometry.cols; c++) {
            pruned += !kept(t, r, c);
        }
    }
    ck_assert_uint_eq(pruned, metrics->pruned_count);
}

START_TEST(the_transpose_complies)
{
    for (int s = 0; s < ROWS(shapes); s++) {
        const size_t n = shapes[s][0] * shapes[s][1];
        float *w = (float *)(void *)random_matrix(S24_F32, n, NORMAL);
        const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shapes[s]};
        s24_prune_metrics metrics;
        s24_tensor *t = prune(&view, NULL, &metrics);
        require_transposable(t, w);
        require_figures(t, &view, &metrics);
        if (shapes[s][0] % 4 == 0 && shapes[s][1] % 4 == 0) {
            ck_assert_uint_eq(metrics.pruned_count, n / 2);
        }
        for (int isa = S24_ISA_BEST; isa < S24_ISAS; isa++) {
            s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
            s24_prune_metrics others;
            o.isa = (s24_isa)isa;
            s24_tensor *other = prune(&view, &o, &others);
            ck_assert_mem_eq(&others, &metrics, sizeof metrics);
            ck_assert(memcmp(other->values, t->values, t->geometry.values_bytes) == 0);
            s24_tensor_free(other);
        }
        /* Narrowed, and with scales: the mask is the same. */
        for (int to = S24_F16; to <= S24_I8; to++) {
            s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
            o.dtype = (s24_dtype)to;
            s24_tensor *narrow = prune(&view, &o, &metrics);
            ck_assert_mem_eq(narrow->positions, t->positions, t->geometry.positions_bytes);
            require_figures(narrow, &view, &metrics);
            s24_tensor_free(narrow);
        }
        s24_tensor_free(t);
        free(w);
    }
}
END_TEST

/* A transposed view, pruned along its first axis, keeps what the matrix itself does: the sums are those of a symmetric
 * set of patterns, and no two are equal. */
START_TEST(either_axis)
{
    enum { R = 40, C = 72 };
    const size_t shape[2] = {R, C}, turned[2] = {C, R};
    const int64_t strides[2] = {1, C};
    float *w = (float *)(void *)random_matrix(S24_F32, R * C, NORMAL);
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_tensor *t = prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 2, .shape = shape}, NULL, NULL);
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = turned, .strides = strides};
    o.axis = 0;
    s24_tensor *same = prune(&view, &o, NULL);
    ck_assert_mem_eq(same->positions, t->positions, t->geometry.positions_bytes);
    o.axis = 1;
    s24_tensor *transposed = prune(&view, &o, NULL);
    for (size_t r = 0; r < R; r++) {
        for (size_t c = 0; c < C; c++) {
            REQUIRE(kept(t, r, c) == kept(transposed, c, r), "row %zu, column %zu", r, c);
        }
    }
    s24_tensor_free(t);
    s24_tensor_free(same);
    s24_tensor_free(transposed);
    free(w);
}
END_TEST

/* Convolutions tap by tap, stacks matrix by matrix: each is what the matrix alone gives. */
START_TEST(more_axes)
{
    enum { OUT = 10, IN = 24, TAPS = 6 };
    static const size_t conv[4] = {OUT, IN, 2, 3}, stack[3] = {TAPS, OUT, IN}, one[2] = {OUT, IN};
    static const int64_t tap_strides[2] = {IN * TAPS, TAPS};
    float *w = (float *)(void *)random_matrix(S24_F32, OUT * IN * TAPS, NORMAL);
    s24_tensor *whole = prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 4, .shape = conv}, NULL, NULL);
    s24_tensor *many = prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 3, .shape = stack},
                             &(s24_prune_options){.axis = 2, .threads = 3}, NULL);
    ck_assert_int_eq(whole->axis, 1);
    for (size_t tap = 0; tap < TAPS; tap++) {
        s24_tensor *t = prune(&(s24_dense){.data = w + tap, .dtype = S24_F32, .rank = 2, .shape = one,
                                           .strides = tap_strides}, NULL, NULL);
        s24_tensor *m = prune(&(s24_dense){.data = w + tap * OUT * IN, .dtype = S24_F32, .rank = 2, .shape = one}, NULL,
                              NULL);
        for (size_t i = 0; i < OUT * IN; i++) {
            REQUIRE(kept(t, i / IN, i % IN) == kept(whole, i / IN * TAPS + tap, i % IN), "tap %zu, element %zu", tap, i);
            REQUIRE(kept(m, i / IN, i % IN) == kept(many, tap * OUT + i / IN, i % IN), "matrix %zu, element %zu", tap, i);
        }
        s24_tensor_free(t);
        s24_tensor_free(m);
    }
    s24_tensor_free(whole);
    s24_tensor_free(many);
    free(w);
}
END_TEST

START_TEST(few_axes_and_none)
{
    static const float w[5] = {1, -5, 3, 4, 2};
    static const size_t five[1] = {5}, none[2] = {0, 8}, nothing[2] = {8, 0};
    s24_tensor *t = prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 1, .shape = five}, NULL, NULL);
    ck_assert(!kept(t, 0, 0) && kept(t, 0, 1) && !kept(t, 0, 2) && kept(t, 0, 3) && kept(t, 0, 4));
    s24_tensor_free(t);
    t = prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 0}, NULL, NULL);
    ck_assert(kept(t, 0, 0));
    s24_tensor_free(t);
    s24_tensor_free(prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 2, .shape = none}, NULL, NULL));
    s24_tensor_free(prune(&(s24_dense){.data = w, .dtype = S24_F32, .rank = 2, .shape = nothing}, NULL, NULL));
}
END_TEST

/* What magnitude pruning refuses is refused, by the same words. */
START_TEST(refusals)
{
    static const size_t shape[2] = {2, 4};
    static const double huge[8] = {1, 2, 3, 4, 1e30, 2e300, 3e300, 4};
    static float odd[8] = {1, 2, 3, 4, 5, NAN, 7, 8};
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_prune_metrics metrics;
    s24_tensor *t = NULL;
    s24_error err, same;
    const s24_dense view = {.data = odd, .dtype = S24_F32, .rank = 2, .shape = shape};
    ck_assert_int_eq(s24_prune_transposable(&view, NULL, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_prune_magnitude(&view, NULL, &t, NULL, &same), S24_ERR_DATA);
    ck_assert_str_eq(err.message, same.message);
    o.allow_nonfinite = true;
    t = prune(&view, &o, &metrics);
    ck_assert(kept(t, 1, 1));
    ck_assert_uint_eq(metrics.nonfinite_count, 1);
    s24_tensor_free(t);
    o = (s24_prune_options)S24_PRUNE_OPTIONS_INIT;
    o.dtype = S24_F32;
    const s24_dense wide = {.data = huge, .dtype = S24_F64, .rank = 2, .shape = shape};
    ck_assert_int_eq(s24_prune_transposable(&wide, &o, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "element [1, 1] is 2e+300"));
    o.dtype = S24_F16;
    ck_assert_int_eq(s24_prune_transposable(&(s24_dense){.data = odd, .dtype = S24_I8, .rank = 2, .shape = shape}, &o, &t,
                                            NULL, &err), S24_OK);
    s24_tensor_free(t);
    o.dtype = S24_I8; /* with a scale, and none is that large */
    ck_assert_int_eq(s24_prune_transposable(&wide, &o, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, "beyond the range of i8") != NULL, "%s", err.message);
}
END_TEST

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_transposable: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("transposable");
    TCase *tcase = tcase_create("transposable");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_checked_fixture(tcase, make_masks, NULL);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, best_of_all_masks, 0, 7);
    tcase_add_test(tcase, huge_scores);
    tcase_add_test(tcase, ties_of_everything);
    tcase_add_test(tcase, of_normal_weights);
    tcase_add_test(tcase, the_transpose_complies);
    tcase_add_test(tcase, either_axis);
    tcase_add_test(tcase, more_axes);
    tcase_add_test(tcase, few_axes_and_none);
    tcase_add_test(tcase, refusals);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
