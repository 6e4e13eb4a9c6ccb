/*
 * s24_sparse_matmul against f64: every dtype, instruction set, remainder of M, N and K, and number of threads. And its
 * benchmark.
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dtype.h"
#include "matmul_i8.h"

static const s24_dtype dtypes[] = {S24_F32, S24_F16, S24_BF16, S24_F8E4M3, S24_F8E5M2, S24_I8};
static const uint8_t nibbles[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define GUARD 12345.0f

/* For inner loops: ck_assert tells the parent process, by a system call, of every assertion that holds. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            ck_abort_msg(__VA_ARGS__); \
        } \
    } while (0)

/* ---------------------------------------------------------------- random matrices */

static uint64_t first_seed, seed;

static void begin(void)
{
    seed = first_seed;
}

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t finite_bits(const s24_dtype_info *info)
{
    uint64_t bits;
    do {
        bits = next() >> 32 & (info->bits == 32 ? 0xffffffff : (1u << info->bits) - 1);
        /* f32 and bf16 of moderate size: sums must not overflow. */
        if (info->exponent_bits == 8) {
            const unsigned shift = info->mantissa_bits + 1;
            bits = (bits & ~(UINT64_C(0x7f) << shift)) | UINT64_C(0x3f) << shift;
        }
    } while (s24_key(info, bits) >= info->nonfinite_key);
    return bits;
}

/* A view of planes of exactly the size they must have, so that a sanitizer sees one byte too much being read. */
static s24_tensor *random_tensor(s24_dtype dtype, size_t m, size_t k)
{
    const size_t shape[2] = {m, k};
    s24_tensor *made, *t = malloc(sizeof *t);
    REQUIRE(s24_tensor_new(&made, dtype, 2, shape, 1, NULL) == S24_OK, "no memory");
    *t = *made;
    t->values = malloc(t->geometry.values_bytes);
    t->positions = malloc(t->geometry.positions_bytes);
    s24_tensor_free(made);
    const s24_dtype_info *info = s24_info(dtype);
    for (size_t i = 0; i < m * t->geometry.row_values; i++) {
        s24_store(t->values, info->bytes, i, finite_bits(info));
    }
    for (size_t i = 0; i < t->geometry.positions_bytes; i++) {
        t->positions[i] = (uint8_t)(nibbles[next() % 6] | nibbles[next() % 6] << 4);
    }
    return t;
}

static void free_tensor(s24_tensor *t)
{
    free(t->values);
    free(t->positions);
    free(t);
}

/* [rows, n] with stride ld and not one element more; what lies between rows is `gap`. */
static float *random_matrix(size_t rows, size_t n, size_t ld, float gap)
{
    float *b = malloc(rows ? ((rows - 1) * ld + n) * sizeof *b : 1);
    for (size_t i = 0; rows && i < (rows - 1) * ld + n; i++) {
        b[i] = i % ld < n ? (float)((double)(next() >> 40) / (1 << 23) - 1) : gap;
    }
    return b;
}

/* ---------------------------------------------------------------- comparison */

/* The entry in f64, and the sum of magnitudes that its error is measured by. Positions beyond K are absent. */
static double reference(const s24_tensor *t, const float *b, size_t ldb, size_t row, size_t col, double *scale)
{
    double sum = 0;
    *scale = 0;
    for (size_t g = 0; g < t->geometry.groups; g++) {
        const s24_block block = s24_tensor_block(t, row, g);
        for (int i = 0; i < 2; i++) {
            const size_t k = 4 * g + block.positions[i];
            if (k < t->geometry.cols) {
                const double term = block.values[i] * (double)b[k * ldb + col];
                sum += term;
                *scale += fabs(term);
            }
        }
    }
    return sum;
}

/* Of a sum: each term is rounded, and with AMX, cut off at 2^-24 and 0 below 2^-126. */
static double error_bound(double scale, double terms, bool amx)
{
    const double rounding = scale * (double)FLT_EPSILON / 2 * (terms + (amx ? 6 : 2));
    return rounding + terms * (double)(amx ? 2 * FLT_MIN : FLT_TRUE_MIN) + (double)FLT_TRUE_MIN;
}

static void check_product(const s24_tensor *t, const float *b, size_t ldb, size_t n, const float *c, size_t ldc,
                          s24_isa isa, const char *what)
{
    const double terms = (double)t->geometry.row_values;
    const bool amx = s24_isa_detect(isa) == S24_ISA_AMX;
    for (size_t r = 0; r < t->geometry.rows; r++) {
        for (size_t j = 0; j < n; j++) {
            double scale;
            const double want = reference(t, b, ldb, r, j, &scale), got = (double)c[r * ldc + j];
            const double bound = error_bound(scale, terms, amx);
            const bool overflows = fabs(want) > (double)FLT_MAX && got == copysign(INFINITY, want);
            REQUIRE(fabs(got - want) <= bound || (isnan(want) && isnan(got)) || overflows,
                    "%s %s %zux%zu, n %zu: [%zu, %zu] is %g, not %g", what, s24_dtype_name(t->dtype),
                    t->geometry.rows, t->geometry.cols, n, r, j, got, want);
        }
        for (size_t j = n; j < ldc && r + 1 < t->geometry.rows; j++) {
            REQUIRE(c[r * ldc + j] == GUARD, "%s: written beyond row %zu", what, r);
        }
    }
}

static void multiply(const s24_tensor *t, const float *b, size_t ldb, size_t n, float *c, size_t ldc, s24_isa isa,
                     unsigned threads)
{
    s24_error err = {.status = S24_OK};
    const s24_matmul_options options = {.threads = threads, .isa = isa};
    REQUIRE(s24_sparse_matmul(t, b, ldb, n, c, ldc, &options, &err) == S24_OK, "%s", err.message);
}

static void one_product(s24_dtype dtype, s24_isa isa, size_t m, size_t k, size_t n, size_t extra)
{
    const size_t ldb = n + extra, ldc = n + 2 * extra;
    s24_tensor *t = random_tensor(dtype, m, k);
    float *b = random_matrix(k, n, ldb, NAN);
    float *c = random_matrix(m, n, ldc, GUARD);
    multiply(t, b, ldb, n, c, ldc, isa, 1);
    check_product(t, b, ldb, n, c, ldc, isa, s24_isa_name(isa));
    free(c);
    free(b);
    free_tensor(t);
}

/* ---------------------------------------------------------------- products */

START_TEST(small_sizes)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t ms[] = {1, 2, 3, 4, 5, 8, 9, 17};
    static const size_t ns[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 20, 21, 31, 33, 48, 65};
    for (size_t k = 1; k <= 70; k++) {
        for (size_t m = 0; m < COUNT(ms); m++) {
            for (size_t n = 0; n < COUNT(ns); n++) {
                one_product(dtypes[(k + m + n) % COUNT(dtypes)], isa, ms[m], k, ns[n], (k + n) % 3);
            }
        }
    }
}
END_TEST

/* Several tiles, chunks, panels and batches, and one less and one more. */
START_TEST(large_sizes)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t ks[] = {127, 128, 129, 383, 384, 385, 511, 512, 513, 1027, 1500};
    static const size_t ns[] = {1, 4, 6, 11, 16, 32, 50, 95, 96, 97, 127, 150, 191, 192, 193, 300, 400};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        for (size_t k = 0; k < COUNT(ks); k++) {
            one_product(dtypes[d], isa, 1 + 7 * d, ks[k], ns[(7 * d + k) % COUNT(ns)], 1);
        }
        for (size_t n = 0; n < COUNT(ns); n++) {
            one_product(dtypes[d], isa, 3 + d, ks[(d + n) % COUNT(ks)], ns[n], 0);
        }
    }
    one_product(S24_F16, isa, 1300, 70, 130, 3);
    one_product(S24_I8, isa, 390, 70, 1100, 0); /* more panels than a job takes, and more rows */
    one_product(S24_F16, isa, 3, 8300, 20, 1);  /* sums are brought to C more than once */
    one_product(S24_F16, isa, 3, 8300, 5, 1);
    one_product(S24_F32, isa, 1300, 70, 5, 3);
    one_product(S24_BF16, isa, 1300, 70, 1, 3);
}
END_TEST

/* So large that it is written past the caches: as a whole, but for its last rows and columns, where its rows are aligned. */
START_TEST(large_c)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    const size_t m = 2053, k = 12, n = 1037, ldc = 1040;
    s24_tensor *t = random_tensor(S24_BF16, m, k);
    float *b = random_matrix(k, n, n, NAN), *unaligned = random_matrix(m + 1, ldc, ldc, GUARD);
    float *c = unaligned + (64 - (uintptr_t)unaligned % 64) / sizeof *c;
    for (size_t i = 0; i < m * ldc; i++) {
        c[i] = GUARD;
    }
    multiply(t, b, n, n, c, ldc, isa, 2);
    check_product(t, b, n, n, c, ldc, isa, "large C");
    free(unaligned);
    free(b);
    free_tensor(t);
}
END_TEST

/* One column: rows side by side or not, every length of what is behind the last whole block of positions. */
START_TEST(one_column)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    for (size_t k = 71; k <= 1100; k += k < 500 ? 3 : 1) {
        one_product(dtypes[k % COUNT(dtypes)], isa, 1 + k % 11, k, 1, k % 2);
    }
    one_product(S24_F32, isa, 6, 8300, 1, 0);
}
END_TEST

/* A row's sum is the same wherever the row is. */
START_TEST(one_column_of_any_rows)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    const size_t ks[] = {24, 700, 1024};
    for (size_t i = 0; i < COUNT(ks); i++) {
        s24_tensor *t = random_tensor(S24_F16, 11, ks[i]), row = *t;
        float *b = random_matrix(ks[i], 1, 1, 0), c[11], one;
        const size_t shape[2] = {1, ks[i]};
        multiply(t, b, 1, 1, c, 1, isa, 1);
        for (size_t r = 0; r < 11; r++) {
            ck_assert_int_eq(s24_geometry_init(&row.geometry, S24_F16, 2, shape, 1, NULL, NULL), S24_OK);
            row.shape[0] = 1;
            row.values = (char *)t->values + r * t->geometry.row_values * 2;
            row.positions = t->positions + r * t->geometry.row_positions;
            multiply(&row, b, 1, 1, &one, 1, isa, 1);
            ck_assert_msg(memcmp(&one, &c[r], sizeof one) == 0, "k %zu, row %zu: %g, not %g", ks[i], r, (double)one,
                          (double)c[r]);
        }
        free(b);
        free_tensor(t);
    }
}
END_TEST

/* Every value of the narrow dtypes, NaN and infinity among them, in every position of a group. */
START_TEST(all_values)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    for (size_t d = 1; d < COUNT(dtypes); d++) {
        const s24_dtype_info *info = s24_info(dtypes[d]);
        const size_t count = (size_t)1 << info->bits, m = count / 16, k = 32;
        for (size_t n = 1; n < 20; n += 9) {
            s24_tensor *t = random_tensor(dtypes[d], m, k);
            float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0);
            memset(t->values, 0, t->geometry.values_bytes);
            for (size_t i = 0; i < count; i++) { /* one value a row: what is not finite stays apart */
                const size_t row = i % m, at = row * t->geometry.row_values + (row + i / m) % 16;
                memset((char *)t->values + row * t->geometry.row_values * info->bytes, 0, 16 * info->bytes);
                s24_store(t->values, info->bytes, at, i);
                if (row == m - 1) {
                    multiply(t, b, n, n, c, n, isa, 1);
                    check_product(t, b, n, n, c, n, isa, s24_isa_name(isa));
                }
            }
            free(c);
            free(b);
            free_tensor(t);
        }
    }
}
END_TEST

START_TEST(same_for_all_threads)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t sizes[][3] = {
        {4003, 1100, 1}, {1501, 1027, 6}, {700, 601, 64}, {9, 3001, 1500}, {129, 513, 700}, {900, 130, 1100}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const size_t m = sizes[i][0], k = sizes[i][1], n = sizes[i][2];
        s24_tensor *t = random_tensor(dtypes[i], m, k);
        float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0), *one = random_matrix(m, n, n, 0);
        multiply(t, b, n, n, one, n, isa, 1);
        for (unsigned threads = 2; threads <= 5; threads += 3) {
            memset(c, 0xff, m * n * sizeof *c);
            multiply(t, b, n, n, c, n, isa, threads);
            ck_assert_msg(memcmp(c, one, m * n * sizeof *c) == 0, "%zu x %zu x %zu: %u threads", m, k, n, threads);
        }
        multiply(t, b, n, n, c, n, isa, 0);
        ck_assert_int_eq(memcmp(c, one, m * n * sizeof *c), 0);
        free(one);
        free(c);
        free(b);
        free_tensor(t);
    }
}
END_TEST

/* The nearest of the bf16 around x; a tie goes to the one whose last bit is 0. */
static float nearest_bf16(float x)
{
    uint32_t bits;
    float below, above;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t low = bits & 0xffff0000, high = low + 0x10000;
    memcpy(&below, &low, sizeof below);
    memcpy(&above, &high, sizeof above);
    const double down = fabs((double)x - (double)below), up = fabs((isinf(above) ? copysign(0x1p128, x) : (double)above) - (double)x);
    return down < up || (down == up && !(low >> 16 & 1)) ? below : above;
}

/* A plan gives the bytes of the one-shot product; with S24_COMPUTE_BF16 those of the rounded B, within f32's errors. */
START_TEST(plans)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t ns[] = {1, 2, 7, 8, 9, 16, 31, 33, 64, 100};
    for (size_t i = 0; i < COUNT(dtypes) * COUNT(ns); i++) {
        const size_t m = 45, k = 333, n = ns[i % COUNT(ns)], ldb = n + i % 3, ldc = n + i % 2;
        s24_tensor *t = random_tensor(dtypes[i / COUNT(ns)], m, k);
        float *b = random_matrix(k, n, ldb, NAN), *c = random_matrix(m, n, ldc, GUARD);
        float *one = random_matrix(m, n, ldc, GUARD), *rounded = random_matrix(k, n, ldb, NAN);
        for (size_t j = 0; j < k * n; j++) {
            rounded[j / n * ldb + j % n] = nearest_bf16(b[j / n * ldb + j % n]);
        }
        for (int compute = S24_COMPUTE_F32; compute <= S24_COMPUTE_BF16; compute++) {
            const s24_matmul_options options = {.threads = 1, .isa = isa, .compute = (s24_compute)compute};
            s24_matmul_plan *plan;
            s24_error err = {.status = S24_OK};
            REQUIRE(s24_sparse_matmul(t, b, ldb, n, one, ldc, &options, &err) == S24_OK, "%s", err.message);
            check_product(t, compute ? rounded : b, ldb, n, one, ldc, isa, compute ? "bf16" : "f32");
            REQUIRE(s24_matmul_plan_new(t, &options, &plan, &err) == S24_OK, "%s", err.message);
            for (int again = 0; again < 2; again++) {
                memset(c, 0xff, ((m - 1) * ldc + n) * sizeof *c);
                REQUIRE(s24_matmul_plan_multiply(plan, b, ldb, n, c, ldc, &err) == S24_OK, "%s", err.message);
                for (size_t r = 0; r < m; r++) {
                    REQUIRE(memcmp(c + r * ldc, one + r * ldc, n * sizeof *c) == 0, "n %zu: row %zu differs", n, r);
                }
            }
            s24_matmul_plan_free(plan);
        }
        free(rounded);
        free(one);
        free(c);
        free(b);
        free_tensor(t);
    }
    s24_matmul_plan_free(NULL);
}
END_TEST

/* A plan packs rows and steps in blocks: jobs of parts of one, and the last one of both, find theirs. */
START_TEST(plans_of_many_jobs)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t sizes[][3] = {{300, 2500, 8}, {577, 2081, 32}, {270, 2177, 40}};
    for (size_t i = 0; i < COUNT(dtypes) * COUNT(sizes); i++) {
        const size_t *size = sizes[i % COUNT(sizes)], m = size[0], k = size[1], n = size[2];
        s24_tensor *t = random_tensor(dtypes[i / COUNT(sizes)], m, k);
        float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0), *one = random_matrix(m, n, n, 0);
        multiply(t, b, n, n, one, n, isa, 1);
        check_product(t, b, n, n, one, n, isa, "one job");
        for (unsigned threads = 1; threads <= 8; threads += 3) {
            const s24_matmul_options options = {.threads = threads, .isa = isa};
            s24_matmul_plan *plan;
            s24_error err = {.status = S24_OK};
            REQUIRE(s24_matmul_plan_new(t, &options, &plan, &err) == S24_OK, "%s", err.message);
            memset(c, 0xff, m * n * sizeof *c);
            REQUIRE(s24_matmul_plan_multiply(plan, b, n, n, c, n, &err) == S24_OK, "%s", err.message);
            REQUIRE(memcmp(c, one, m * n * sizeof *c) == 0, "%zu x %zu x %zu: %u threads", m, k, n, threads);
            s24_matmul_plan_free(plan);
        }
        free(one);
        free(c);
        free(b);
        free_tensor(t);
    }
}
END_TEST

START_TEST(empty)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    float c[6] = {1, 1, 1, 1, 1, 1};
    const float b[1] = {NAN};
    s24_tensor *no_cols = random_tensor(S24_F16, 3, 0), *no_rows = random_tensor(S24_F16, 0, 5);
    s24_tensor *some = random_tensor(S24_F16, 3, 5);
    multiply(no_rows, b, 2, 2, c, 2, isa, 1);
    multiply(some, b, 2, 0, c, 2, isa, 1);
    for (int i = 0; i < 6; i++) {
        ck_assert_float_eq(c[i], 1);
    }
    multiply(no_cols, b, 1, 1, c, 2, isa, 1);
    for (int i = 0; i < 6; i++) {
        ck_assert_float_eq(c[i], i % 2 ? 1.0f : 0.0f);
    }
    free_tensor(some);
    free_tensor(no_rows);
    free_tensor(no_cols);
}
END_TEST

static s24_tensor *scaled_tensor(s24_dtype dtype, size_t group, size_t m, size_t k)
{
    const size_t shape[2] = {m, k}, scales = m * ((group ? (k - 1) / group : 0) + 1);
    s24_tensor *made, *t = random_tensor(dtype, m, k);
    ck_assert_int_eq(s24_tensor_new_scaled(&made, dtype, group, 2, shape, 1, NULL), S24_OK);
    ck_assert_uint_eq(made->memory_bytes, made->geometry.values_bytes + made->geometry.positions_bytes + 4 * scales);
    s24_tensor_free(made);
    t->scales = malloc(scales * sizeof *t->scales);
    t->scale_group = group;
    for (size_t i = 0; i < scales; i++) {
        t->scales[i] = (float)(1 + next() % 1000) * 0x1p-12f;
    }
    return t;
}

/* ---------------------------------------------------------------- what is hostile, or not finite */

/* dtype: with scales of groups where it has 8 bits. */
static void bad_positions(s24_isa isa, s24_dtype dtype, size_t k)
{
    static const size_t ns[] = {1, 5, 40};
    const s24_matmul_options options = {.threads = 2, .isa = isa};
    const size_t m = 5, groups = (k + 3) / 4;
    s24_tensor *t = s24_info(dtype)->bytes == 1 ? scaled_tensor(dtype, S24_SCALE_GROUP, m, k) : random_tensor(dtype, m, k);
    float *b = random_matrix(k, 40, 40, 0), *c = random_matrix(m, 40, 40, 0);
    for (unsigned bad = 0; bad < 16; bad++) {
        if (memchr(nibbles, (int)bad, sizeof nibbles)) {
            continue;
        }
        for (size_t i = 0; i < 3 * groups; i++) {
            const size_t n = ns[i % 3], row = i % m, group = i % groups;
            uint8_t *byte = t->positions + row * t->geometry.row_positions + group / 2, good = *byte;
            char want[64];
            s24_matmul_plan *plan;
            s24_error err;
            *byte = (uint8_t)(group % 2 ? (good & 15) | bad << 4 : (good & 0xf0) | bad);
            snprintf(want, sizeof want, "row %zu, group %zu:", row, group);
            REQUIRE(s24_sparse_matmul(t, b, n, n, c, n, &options, &err) == S24_ERR_DATA, "taken: %s %x", want, bad);
            REQUIRE(strncmp(err.message, want, strlen(want)) == 0, "%s, not %s", err.message, want);
            REQUIRE(s24_matmul_plan_new(t, &options, &plan, &err) == S24_ERR_DATA, "planned: %s %x", want, bad);
            REQUIRE(strncmp(err.message, want, strlen(want)) == 0, "%s, not %s", err.message, want);
            *byte = good;
        }
    }
    free(c);
    free(b);
    free(t->scales);
    free_tensor(t);
}

START_TEST(bad_positions_are_refused)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    bad_positions(isa, S24_F16, 1029); /* padded */
    bad_positions(isa, S24_F16, 1036); /* not padded: the kernel for one column has to find it; an odd number of groups */
    bad_positions(isa, S24_F8E4M3, 1036);
}
END_TEST

/* The unused nibble behind an odd number of groups may be anything: nobody reads it. */
START_TEST(unused_nibble_is_ignored)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    for (size_t n = 1; n < 50; n += 12) {
        s24_tensor *t = random_tensor(S24_F32, 4, 36);
        float *b = random_matrix(36, n, n, 0), *c = random_matrix(4, n, n, 0);
        for (size_t r = 0; r < 4; r++) {
            t->positions[r * t->geometry.row_positions + 4] |= 0xf0;
        }
        multiply(t, b, n, n, c, n, isa, 1);
        check_product(t, b, n, n, c, n, isa, "unused nibble");
        free(c);
        free(b);
        free_tensor(t);
    }
}
END_TEST

/* Values at positions beyond K, whatever they are, meet no row of B and change nothing. */
START_TEST(padding_is_absent)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    for (size_t k = 1; k < 200; k += k % 4 == 3 ? 2 : 1) {
        for (size_t n = 1; n < 60; n += 7) {
            s24_tensor *t = random_tensor(S24_F32, 5, k);
            float *b = random_matrix(k, n, n + 1, NAN), *c = random_matrix(5, n, n, 0);
            for (size_t r = 0; r < 5; r++) {
                const size_t last = t->geometry.groups - 1;
                uint8_t *byte = t->positions + r * t->geometry.row_positions + last / 2;
                *byte = (uint8_t)(last % 2 ? (*byte & 15) | 0xe0 : 0x0e); /* positions 2 and 3 */
                for (size_t i = 0; i < 2; i++) {
                    if (4 * last + 2 + i >= k) {
                        const uint32_t bits = r % 2 ? 0x7f800000 : 0x7fc00000; /* infinity, NaN */
                        s24_store(t->values, 4, r * t->geometry.row_values + 2 * last + i, bits);
                    }
                }
            }
            multiply(t, b, n + 1, n, c, n, isa, 1);
            check_product(t, b, n + 1, n, c, n, isa, "padding");
            free(c);
            free(b);
            free_tensor(t);
        }
    }
}
END_TEST

/* Non-finite elements of B reach the columns and rows that keep a weight for them, and no others. */
START_TEST(nonfinite_b)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    const size_t m = 6;
    for (size_t k = 65; k < 130; k++) {
        for (size_t n = 1; n < 60; n += n < 10 ? 1 : 7) {
            s24_tensor *t = random_tensor(S24_BF16, m, k);
            float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0);
            for (int i = 0; i < 3; i++) {
                b[next() % (k * n)] = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
            }
            b[k * n - 1 - next() % n] = NAN; /* in the last row, beside the padding */
            multiply(t, b, n, n, c, n, isa, 1);
            check_product(t, b, n, n, c, n, isa, "nonfinite");
            free(c);
            free(b);
            free_tensor(t);
        }
    }
}
END_TEST

/* Every dtype and computation around the edges of tiles of rows, columns and K. */
START_TEST(tile_edges)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t ns[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 100};
    static const size_t ks[] = {31, 32, 33, 63, 65, 511, 513, 2047, 2051}, ms[] = {1, 15, 16, 17, 31, 32, 33, 70};
    for (size_t i = 0; i < 2 * COUNT(dtypes) * COUNT(ns); i++) {
        const s24_compute compute = i % 2 ? S24_COMPUTE_BF16 : S24_COMPUTE_F32;
        const size_t n = ns[i / 2 % COUNT(ns)], ldb = n + i % 3, ldc = n + i % 5;
        const size_t k = ks[next() % COUNT(ks)], m = ms[next() % COUNT(ms)];
        s24_tensor *t = random_tensor(dtypes[i / 2 / COUNT(ns)], m, k);
        float *b = random_matrix(k, n, ldb, NAN), *c = random_matrix(m, n, ldc, GUARD);
        for (size_t j = 0; compute == S24_COMPUTE_BF16 && j < k * n; j++) {
            b[j / n * ldb + j % n] = nearest_bf16(b[j / n * ldb + j % n]);
        }
        const s24_matmul_options options = {.threads = 1 + i % 2, .isa = isa, .compute = compute};
        s24_error err = {.status = S24_OK};
        REQUIRE(s24_sparse_matmul(t, b, ldb, n, c, ldc, &options, &err) == S24_OK, "%s", err.message);
        check_product(t, b, ldb, n, c, ldc, isa, "edges");
        free(c);
        free(b);
        free_tensor(t);
    }
}
END_TEST

/* Infinity and NaN as weights, of every dtype that has them, and as elements of B: what is kept meets them, nothing else. */
START_TEST(nonfinite_everywhere)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const uint64_t bad[][2] = {
        {0x7f800000, 0xffc00000}, {0xfc00, 0x7e00}, {0x7f80, 0xffc0}, {0x7f, 0xff}, {0x7c, 0xfe}};
    for (size_t i = 0; i < 5 * 12; i++) {
        const size_t d = i % 5, m = 40, k = 200, n = 1 + 9 * (i / 5);
        const s24_dtype_info *info = s24_info(dtypes[d]);
        s24_tensor *t = random_tensor(dtypes[d], m, k);
        float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0), *rounded = random_matrix(k, n, n, 0);
        for (unsigned j = 0; i % 2 && j < 2; j++) {
            s24_store(t->values, info->bytes, next() % (m * t->geometry.row_values), bad[d][j]);
        }
        /* infinity, a NaN that must not be carried away when it is rounded to bf16, and FLT_MAX: infinite, rounded */
        const uint32_t one = i % 4 == 1 ? 0x7fffffff : i % 2 ? 0x7f800000 : 0x7f7fffff;
        memcpy(&b[next() % (k * n)], &one, sizeof *b);
        for (int compute = S24_COMPUTE_F32; compute <= S24_COMPUTE_BF16; compute++) {
            const s24_matmul_options options = {.threads = 1, .isa = isa, .compute = (s24_compute)compute};
            s24_error err = {.status = S24_OK};
            REQUIRE(s24_sparse_matmul(t, b, n, n, c, n, &options, &err) == S24_OK, "%s", err.message);
            for (size_t j = 0; j < k * n; j++) {
                rounded[j] = compute && isfinite(b[j]) ? nearest_bf16(b[j]) : b[j];
            }
            check_product(t, rounded, n, n, c, n, isa, compute ? "bf16" : "f32");
        }
        free(rounded);
        free(c);
        free(b);
        free_tensor(t);
    }
}
END_TEST

/* ---------------------------------------------------------------- i8 */

/* Of the element `col` of a row. */
static float scale_of(const s24_tensor *t, size_t row, size_t col)
{
    return t->scales[row * ((t->geometry.cols - 1) / t->scale_group + 1) + col / t->scale_group];
}

/* C by the formula of s24.h, shared with no kernel. */
static void reference_i8(const s24_tensor *t, const float *b, size_t ldb, size_t n, float *c, size_t ldc)
{
    s24_tensor unscaled = *t;
    unscaled.scales = NULL;
    int *q = malloc((t->geometry.cols + 4) * sizeof *q);
    for (size_t j = 0; j < n; j++) {
        float most = 0;
        for (size_t k = 0; k < t->geometry.cols; k++) {
            most = fmaxf(most, fabsf(b[k * ldb + j]));
        }
        const float scale = most / 127;
        memset(q, 0, (t->geometry.cols + 4) * sizeof *q);
        for (size_t k = 0; k < t->geometry.cols && scale > 0; k++) {
            q[k] = (int)fmaxf(-127, fminf(127, rintf(b[k * ldb + j] / scale)));
        }
        for (size_t r = 0; r < t->geometry.rows; r++) {
            int64_t sum = 0;
            float total = 0;
            for (size_t g = 0; g < t->geometry.groups; g++) {
                const s24_block block = s24_tensor_block(&unscaled, r, g);
                if (t->scale_group && g && 4 * g % t->scale_group == 0) {
                    total += (float)sum * scale_of(t, r, 4 * g - 1);
                    sum = 0;
                }
                for (int i = 0; i < 2; i++) {
                    sum += (int64_t)block.values[i] * q[4 * g + block.positions[i]];
                }
            }
            total = t->scale_group ? total + (float)sum * scale_of(t, r, t->geometry.cols - 1) : (float)sum;
            c[r * ldc + j] = total * scale * (t->scale_group || !t->scales ? 1 : t->scales[r]);
        }
    }
    free(q);
}

static void require_same(const s24_tensor *t, size_t n, const float *c, const float *want, size_t ldc, const char *what)
{
    for (size_t r = 0; r < t->geometry.rows; r++) {
        for (size_t j = 0; j < (r + 1 < t->geometry.rows ? ldc : n); j++) {
            const float expected = j < n ? want[r * ldc + j] : GUARD;
            REQUIRE(memcmp(&c[r * ldc + j], &expected, sizeof expected) == 0, "%s %zux%zu, n %zu: [%zu, %zu] is %g, not %g",
                    what, t->geometry.rows, t->geometry.cols, n, r, j, (double)c[r * ldc + j], (double)expected);
        }
    }
}

/* What quantizing may stumble over: a column of zeros, of one sign, of ties, of subnormals, of the largest numbers. */
static void spoil(float *b, size_t k, size_t n, size_t ldb)
{
    for (size_t j = 0; j < n; j++) {
        const uint64_t what = next() % 8;
        for (size_t i = 0; i < k; i++) {
            float *x = &b[i * ldb + j];
            *x = what == 0   ? copysignf(0, *x)
                 : what == 1 ? fabsf(*x)
                 : what == 2 ? (i == 0 ? 127.0f : (float)((int)(next() % 254) - 127) + 0.5f)
                 : what == 3 ? (float)((double)*x * 300 * 0x1p-149)
                 : what == 4 ? *x * FLT_MAX
                             : *x;
        }
    }
}

/* Every row of the list that this machine has, at any number of columns. */
static void one_i8(size_t m, size_t k, size_t n, size_t ldb, size_t ldc, unsigned threads)
{
    static const struct {
        s24_isa isa;
        const s24_i8_kernel *kernel;
        const char *name;
    } rows[] = {
#define X(isa_, kernel_) {S24_ISA_##isa_, &kernel_, #kernel_},
        S24_I8_KERNELS(X)
#undef X
    };
    s24_tensor *t = random_tensor(S24_I8, m, k);
    float *b = random_matrix(k, n, ldb, NAN), *want = random_matrix(m, n, ldc, GUARD);
    spoil(b, k, n, ldb);
    if (m > 1) { /* the largest sums that there are */
        memset(t->values, INT8_MIN, t->geometry.row_values);
    }
    reference_i8(t, b, ldb, n, want, ldc);
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (s24_isa_detect(rows[i].isa) != rows[i].isa || (rows[i].isa == S24_ISA_AMX && !s24_amx_permitted())) {
            continue;
        }
        float *c = random_matrix(m, n, ldc, GUARD);
        const s24_product p = {.a = t, .b = b, .c = c, .ldb = ldb, .n = n, .ldc = ldc};
        s24_error err = {.status = S24_OK};
        const s24_matmul_ops *ops = s24_find_matmul_kernel(rows[i].isa, S24_I8)->ops;
        REQUIRE(s24_i8_multiply(&p, rows[i].kernel, ops, threads, &err) == S24_OK, "%s", err.message);
        require_same(t, n, c, want, ldc, rows[i].name);
        free(c);
    }
    free(want);
    free(b);
    free_tensor(t);
}

START_TEST(i8_kernels)
{
    static const size_t ks[] = {1, 3, 4, 31, 63, 64, 65, 127, 128, 129, 191, 257, 511, 513, 700, 1025};
    static const size_t ms[] = {1, 2, 5, 15, 16, 17, 31, 32, 33, 70};
    static const size_t ns[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65, 100};
    for (size_t i = 0; i < COUNT(ks) * COUNT(ns); i++) {
        const size_t n = ns[i / COUNT(ks)];
        one_i8(ms[next() % COUNT(ms)], ks[i % COUNT(ks)], n, n + i % 3, n + i % 5, 1 + (unsigned)i % 3);
    }
    one_i8(600, 130, 70, 70, 70, 1);    /* more rows than a block */
    one_i8(40, 8300, 40, 40, 41, 2);    /* more than one chunk of K */
    one_i8(33, 12288, 3, 4, 3, 1);
    one_i8(9, 300, 1100, 1100, 1100, 5);
    one_i8(3, 264208, 2, 2, 2, 1);      /* the longest row */
}
END_TEST

/* ---------------------------------------------------------------- scales */

/* Every dtype that has scales, of rows and of groups of columns, any remainder, with every instruction set. */
START_TEST(scaled_products)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const s24_dtype scaled[] = {S24_I8, S24_F8E4M3, S24_F8E5M2};
    static const size_t ks[] = {1, 3, 6, 125, 128, 129, 255, 257, 385, 1027}, ns[] = {1, 2, 5, 8, 9, 40, 130};
    for (size_t i = 0; i < 2 * COUNT(scaled) * COUNT(ks) * COUNT(ns); i++) {
        const size_t group = i % 2 * S24_SCALE_GROUP, k = ks[i / 6 % COUNT(ks)], n = ns[i / 6 / COUNT(ks)], m = 1 + next() % 40;
        s24_tensor *t = scaled_tensor(scaled[i / 2 % 3], group, m, k);
        float *b = random_matrix(k, n, n + 1, NAN), *c = random_matrix(m, n, n + 2, GUARD);
        multiply(t, b, n + 1, n, c, n + 2, isa, 1 + (unsigned)i % 2);
        check_product(t, b, n + 1, n, c, n + 2, isa, group ? "scales of groups" : "scales of rows");
        free(c);
        free(b);
        free(t->scales);
        free_tensor(t);
    }
}
END_TEST

static void multiply_i8(const s24_tensor *t, const float *b, size_t n, float *c, s24_isa isa, unsigned threads)
{
    const s24_matmul_options options = {.threads = threads, .isa = isa, .compute = S24_COMPUTE_I8};
    s24_error err = {.status = S24_OK};
    REQUIRE(s24_sparse_matmul(t, b, n, n, c, n, &options, &err) == S24_OK, "%s", err.message);
}

/* One shot and by a plan, on any number of threads and instruction set. */
START_TEST(i8_products)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t sizes[][3] = {{1203, 1100, 1}, {501, 1027, 3}, {301, 1027, 9}, {700, 601, 64}, {9, 3001, 500},
                                      {129, 513, 33}, {900, 132, 120}, {45, 4700, 20}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const size_t m = sizes[i][0], k = sizes[i][1], n = sizes[i][2];
        s24_tensor *t = random_tensor(S24_I8, m, k);
        float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0), *want = random_matrix(m, n, n, 0);
        const s24_matmul_options options = {.threads = 2, .isa = isa, .compute = S24_COMPUTE_I8};
        s24_matmul_plan *plan;
        s24_error err;
        reference_i8(t, b, n, n, want, n);
        for (unsigned threads = 0; threads <= 4; threads += 1 + threads) {
            memset(c, 0xff, m * n * sizeof *c);
            multiply_i8(t, b, n, c, isa, threads);
            require_same(t, n, c, want, n, s24_isa_name(isa));
        }
        memset(c, 0xff, m * n * sizeof *c);
        REQUIRE(s24_matmul_plan_new(t, &options, &plan, &err) == S24_OK, "%s", err.message);
        REQUIRE(s24_matmul_plan_multiply(plan, b, n, n, c, n, &err) == S24_OK, "%s", err.message);
        require_same(t, n, c, want, n, "plan");
        s24_matmul_plan_free(plan);
        free(want);
        free(c);
        free(b);
        free_tensor(t);
    }
}
END_TEST

START_TEST(i8_scaled_products)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    static const size_t sizes[][3] = {{3, 1, 1}, {40, 127, 2}, {33, 128, 5}, {20, 129, 33}, {301, 1027, 9}, {64, 600, 64}};
    for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
        const size_t m = sizes[i / 2][0], k = sizes[i / 2][1], n = sizes[i / 2][2];
        s24_tensor *t = scaled_tensor(S24_I8, i % 2 * S24_SCALE_GROUP, m, k);
        float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0), *want = random_matrix(m, n, n, 0);
        reference_i8(t, b, n, n, want, n);
        for (unsigned threads = 1; threads <= 2; threads++) {
            multiply_i8(t, b, n, c, isa, threads);
            require_same(t, n, c, want, n, s24_isa_name(isa));
        }
        free(want);
        free(c);
        free(b);
        free(t->scales);
        free_tensor(t);
    }
}
END_TEST

/* A scale that is none, and rows that are too long for one sum but not for several. */
START_TEST(scales_are_looked_at)
{
    static const float bad[] = {0, -1, NAN, INFINITY, -INFINITY};
    const s24_matmul_options options = {.threads = 1, .isa = (s24_isa)_i};
    float b[300] = {0}, c[4];
    for (size_t i = 0; i < 2 * COUNT(bad); i++) {
        s24_tensor *t = scaled_tensor(S24_I8, i % 2 * S24_SCALE_GROUP, 4, 300);
        s24_error err = {0};
        t->scales[3] = bad[i / 2];
        ck_assert_int_eq(s24_sparse_matmul(t, b, 1, 1, c, 1, &options, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, i % 2 ? "row 1, group 0: the scale is" : "row 3, group 0: the scale is"), "%s",
                      err.message);
        free(t->scales);
        free_tensor(t);
    }
}
END_TEST

START_TEST(i8_refused)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    const s24_matmul_options options = {.threads = 1, .isa = isa, .compute = S24_COMPUTE_I8};
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    const size_t m = 20, k = 72;
    s24_tensor *t = random_tensor(S24_I8, m, k), *f16 = random_tensor(S24_F16, m, k);
    s24_tensor *deep = random_tensor(S24_I8, 1, 264212);
    s24_matmul_plan *plan;
    s24_error err;
    for (size_t n = 1; n < 70; n += 11) {
        float *b = random_matrix(k, n, n, 0), *c = random_matrix(m, n, n, 0);
        const size_t at = next() % (k * n);
        char want[32];
        snprintf(want, sizeof want, "column %zu ", at % n);
        b[at] = bad[n % COUNT(bad)];
        ck_assert_int_eq(s24_sparse_matmul(t, b, n, n, c, n, &options, &err), S24_ERR_DATA);
        ck_assert_msg(strncmp(err.message, want, strlen(want)) == 0, "%s, not %s", err.message, want);
        b[at] = 0;
        t->positions[17 * t->geometry.row_positions] = 0x44 & 0xf1; /* not ascending */
        ck_assert_int_eq(s24_sparse_matmul(t, b, n, n, c, n, &options, &err), S24_ERR_DATA);
        ck_assert_msg(strncmp(err.message, "row 17, group 0:", 16) == 0, "%s", err.message);
        t->positions[17 * t->geometry.row_positions] = 0x44;
        free(c);
        free(b);
    }
    ck_assert_int_eq(s24_matmul_plan_new(f16, &options, &plan, &err), S24_ERR_USAGE);
    ck_assert_msg(strstr(err.message, "f16") && strstr(err.message, "compute in f32"), "%s", err.message);
    ck_assert_int_eq(s24_matmul_plan_new(deep, &options, &plan, &err), S24_ERR_USAGE);
    ck_assert_msg(strstr(err.message, "132106") && strstr(err.message, "132104"), "%s", err.message);
    free_tensor(deep);
    free_tensor(f16);
    free_tensor(t);
}
END_TEST

START_TEST(usage)
{
    const size_t shape[3] = {4, 8, 2};
    float b[64] = {0}, c[64];
    s24_tensor *f64, *rank3, *axis0, *fine;
    s24_matmul_plan *plan;
    s24_error err;
    ck_assert_int_eq(s24_tensor_new(&f64, S24_F64, 2, shape, 1, NULL), S24_OK);
    ck_assert_int_eq(s24_tensor_new(&rank3, S24_F32, 3, shape, 1, NULL), S24_OK);
    ck_assert_int_eq(s24_tensor_new(&axis0, S24_F32, 2, shape, 0, NULL), S24_OK);
    ck_assert_int_eq(s24_tensor_new(&fine, S24_F32, 2, shape, 1, NULL), S24_OK);
    ck_assert_int_eq(s24_sparse_matmul(f64, b, 2, 2, c, 2, NULL, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_sparse_matmul(rank3, b, 2, 2, c, 2, NULL, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_sparse_matmul(axis0, b, 2, 2, c, 2, NULL, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_sparse_matmul(fine, b, 1, 2, c, 2, NULL, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_sparse_matmul(fine, b, 2, 2, c, 1, NULL, NULL), S24_ERR_USAGE);
    ck_assert_int_eq(s24_sparse_matmul(fine, b, 2, 2, c, 2, NULL, NULL), S24_OK);
    ck_assert_int_eq(s24_matmul_plan_new(f64, NULL, &plan, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_matmul_plan_new(axis0, NULL, &plan, NULL), S24_ERR_USAGE);
    ck_assert_int_eq(s24_matmul_plan_new(fine, NULL, &plan, &err), S24_OK);
    ck_assert_int_eq(s24_matmul_plan_multiply(plan, b, 1, 2, c, 2, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_matmul_plan_multiply(plan, b, 2, 2, c, 1, NULL), S24_ERR_USAGE);
    s24_matmul_plan_free(plan);
    s24_tensor_free(f64);
    s24_tensor_free(rank3);
    s24_tensor_free(axis0);
    s24_tensor_free(fine);
}
END_TEST

/* ---------------------------------------------------------------- error, benchmark */

/* The calls of every step of a dense side that keeps A in a place, and C in an order, of its own. */
typedef struct naive {
    unsigned prepared, multiplied, finished;
    float *a, *turned; /* turned: [n, m] */
} naive;

static s24_status naive_prepare(void *ctx, const s24_bench_product *p, s24_error *err)
{
    naive *side = ctx;
    (void)err;
    free(side->a);
    free(side->turned);
    side->a = malloc(p->m * p->k * sizeof *side->a);
    side->turned = malloc(p->m * p->n * sizeof *side->turned);
    ck_assert(side->a && side->turned);
    memcpy(side->a, p->a, p->m * p->k * sizeof *side->a);
    side->prepared++;
    return S24_OK;
}

static s24_status naive_multiply(void *ctx, const s24_bench_product *p, s24_error *err)
{
    naive *side = ctx;
    (void)err;
    ck_assert_uint_eq(p->threads, 1);
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            float sum = 0;
            for (size_t l = 0; l < p->k; l++) {
                sum += side->a[i * p->k + l] * p->b[l * p->n + j];
            }
            side->turned[j * p->m + i] = sum;
        }
    }
    side->multiplied++;
    return S24_OK;
}

static s24_status naive_finish(void *ctx, const s24_bench_product *p, s24_error *err)
{
    naive *side = ctx;
    (void)err;
    for (size_t i = 0; i < p->m * p->n; i++) {
        p->c[i] = side->turned[i % p->n * p->m + i / p->n];
    }
    side->finished++;
    return S24_OK;
}

static s24_status zero_multiply(void *ctx, const s24_bench_product *p, s24_error *err)
{
    (void)ctx, (void)err;
    memset(p->c, 0, p->m * p->n * sizeof *p->c);
    return S24_OK;
}

static s24_status failing_step(void *ctx, const s24_bench_product *p, s24_error *err)
{
    (void)ctx, (void)p;
    err->status = S24_ERR_SYSTEM;
    return S24_ERR_SYSTEM;
}

/*
 * Over a row of 4096 the sums must be cut: the error, relative to the largest entry, of a single chain of f32 additions
 * is 1e-6 and more; a dense product by a good BLAS has 2e-7 to 6e-7.
 */
START_TEST(error_and_bench)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    const size_t n[] = {1, 6, 40};
    naive side = {0};
    const s24_bench_baseline baselines[] = {{"naive", &side, naive_prepare, naive_multiply, naive_finish, 0, 4},
                                            {"zero", NULL, NULL, zero_multiply, NULL, 0, 2}};
    const s24_bench_baseline failing[] = {{"fails", NULL, failing_step, zero_multiply, NULL, 0, 4},
                                          {"fails", NULL, NULL, failing_step, NULL, 0, 4},
                                          {"fails", NULL, NULL, zero_multiply, failing_step, 0, 4}};
    s24_bench_options options = S24_BENCH_OPTIONS_INIT;
    s24_bench_result results[3];
    s24_bench_repack repack = {-1, 1};
    s24_tensor *t;
    s24_error err;
    options.n = n;
    options.count = 3;
    options.reps = 2;
    options.threads = 1;
    options.isa = isa;
    options.baselines = baselines;
    options.baseline_count = 2;
    ck_assert_int_eq(s24_bench_weights(70, 4096, S24_F16, 7, 1, isa, &t, &err), S24_OK);
    ck_assert_int_eq(s24_bench_run(t, &options, results, &repack, &err), S24_OK);
    ck_assert_uint_eq(side.prepared, 3);
    ck_assert_uint_eq(side.multiplied, 3 * (1 + 2));
    ck_assert_uint_eq(side.finished, 3);
    ck_assert(repack.seconds > 0);
    for (int i = 0; i < 3; i++) {
        const s24_bench_result *r = &results[i];
        ck_assert_uint_eq(r->n, n[i]);
        ck_assert_msg(r->sparse.max_error < 7e-7, "n %zu: error %g", n[i], r->sparse.max_error);
        ck_assert(r->sparse.max_error > 0 && r->dense[0].max_error > 0 && r->dense[0].max_error < 5e-6);
        ck_assert_double_eq(r->dense[1].max_error, 1);
        ck_assert(r->sparse.seconds > 0 && r->sparse.speedup == 1);
        ck_assert_double_eq(r->dense[0].speedup, r->dense[0].seconds / r->sparse.seconds);
        ck_assert_double_eq_tol(r->dense[0].weight_gbps * r->dense[0].seconds, 4e-9 * 70 * 4096, 1e-9);
        ck_assert_double_eq_tol(r->dense[1].weight_gbps * r->dense[1].seconds, 2e-9 * 70 * 4096, 1e-9);
        ck_assert_double_eq_tol(r->sparse.gflops * r->sparse.seconds, 2e-9 * 70 * 4096 * (double)n[i], 1e-9);
        ck_assert_double_eq_tol(r->sparse.weight_gbps * r->sparse.seconds, 1e-9 * (double)t->memory_bytes, 1e-9);
    }
    options.count = 1;
    options.baseline_count = 1;
    for (size_t i = 0; i < COUNT(failing); i++) {
        options.baselines = &failing[i];
        ck_assert_int_eq(s24_bench_run(t, &options, results, NULL, &err), S24_ERR_SYSTEM);
    }
    options.reps = 0;
    ck_assert_int_eq(s24_bench_run(t, &options, results, NULL, &err), S24_ERR_USAGE);
    s24_tensor_free(t);
    free(side.a);
    free(side.turned);
}
END_TEST

static s24_status nan_multiply(void *ctx, const s24_bench_product *p, s24_error *err)
{
    (void)ctx;
    (void)err;
    for (size_t i = 0; i < p->m * p->n; i++) {
        p->c[i] = NAN;
    }
    return S24_OK;
}

/* A side whose product is no number has no error that is one; and where all is zero the error is not divided. */
START_TEST(bench_of_odd_numbers)
{
    const size_t n[] = {3}, shape[] = {8, 16};
    const s24_bench_baseline baseline = {"nan", NULL, NULL, nan_multiply, NULL, 0, 4};
    const s24_bench_options options = {.n = n, .count = 1, .reps = 1, .baselines = &baseline, .baseline_count = 1};
    s24_bench_result result;
    s24_tensor *t;
    s24_error err;
    ck_assert_int_eq(s24_tensor_new(&t, S24_F32, 2, shape, 1, &err), S24_OK);
    ck_assert_int_eq(s24_bench_run(t, &options, &result, NULL, &err), S24_OK);
    ck_assert(isnan(result.dense[0].max_error));
    ck_assert_double_eq(result.sparse.max_error, 0);
    s24_tensor_free(t);
}
END_TEST

START_TEST(bench_of_what_cannot_be)
{
    const size_t none[] = {3, 0}, one[] = {1}, shape[] = {4, 4, 4};
    const s24_bench_options bad[] = {
        {.n = none, .count = 2, .reps = 1}, {.n = one, .count = 1},
        {.n = one, .count = 1, .reps = 1, .baseline_count = S24_BENCH_BASELINES + 1},
    }, good = {.n = one, .count = 1, .reps = 1};
    s24_bench_result results[2];
    s24_tensor *t, *cube;
    s24_error err;
    ck_assert_int_eq(s24_bench_weights(4, 8, S24_F32, 1, 1, S24_ISA_BEST, &t, &err), S24_OK);
    ck_assert_int_eq(s24_tensor_new(&cube, S24_F32, 3, shape, 2, &err), S24_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        ck_assert_int_eq(s24_bench_run(t, &bad[i], results, NULL, &err), S24_ERR_USAGE);
    }
    ck_assert_int_eq(s24_bench_run(cube, &good, results, NULL, &err), S24_ERR_USAGE);
    s24_tensor_free(t);
    s24_tensor_free(cube);
    t = NULL;
    ck_assert_int_eq(s24_bench_weights(4, 8, S24_I64, 1, 1, S24_ISA_BEST, &t, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_bench_weights(SIZE_MAX, 8, S24_F32, 1, 1, S24_ISA_BEST, &t, &err), S24_ERR_USAGE);
    ck_assert_int_eq(s24_bench_weights((size_t)1 << 61, 2, S24_F32, 1, 1, S24_ISA_BEST, &t, &err), S24_ERR_USAGE);
    ck_assert_ptr_null(t);
}
END_TEST

/* Sizes that no memory has are refused before any of it is touched. */
START_TEST(too_wide)
{
    static const float b[1];
    float c[1];
    const size_t widths[] = {(size_t)1 << 61, (size_t)1 << 59};
    s24_bench_result result;
    s24_tensor *t;
    s24_error err;
    for (size_t i = 0; i < COUNT(widths); i++) {
        for (int whole = 0; whole < 2; whole++) {
            const s24_matmul_options options = {.threads = 1, .compute = whole ? S24_COMPUTE_I8 : S24_COMPUTE_BF16};
            ck_assert_int_eq(s24_bench_weights(4, 8, whole ? S24_I8 : S24_BF16, 1, 1, S24_ISA_BEST, &t, &err), S24_OK);
            if (!whole || i == 0) {
                ck_assert_int_eq(s24_sparse_matmul(t, b, widths[i], widths[i], c, widths[i], &options, &err), S24_ERR_USAGE);
                ck_assert_msg(strstr(err.message, "is too long"), "%s", err.message);
            }
            const s24_bench_options bench = {.n = &widths[i], .count = 1, .reps = 1};
            ck_assert_int_eq(s24_bench_run(t, &bench, &result, NULL, &err), S24_ERR_SYSTEM);
            ck_assert_msg(strstr(err.message, "no memory for a matrix"), "%s", err.message);
            s24_tensor_free(t);
        }
    }
}
END_TEST

START_TEST(bench_data)
{
    enum { DEVIATES = 99999 };
    static float x[DEVIATES];
    double sum = 0, squares = 0;
    s24_tensor *t;
    s24_error err;
    s24_bench_normal(1, x, DEVIATES);
    for (int i = 0; i < DEVIATES; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    ck_assert_double_eq_tol(sum / DEVIATES, 0, 0.02);
    ck_assert_double_eq_tol(squares / DEVIATES, 1, 0.02);
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        ck_assert_int_eq(s24_bench_weights(9, 30, dtypes[d], 1, 1, S24_ISA_BEST, &t, &err), S24_OK);
        ck_assert(t->dtype == dtypes[d] && t->geometry.rows == 9 && t->geometry.cols == 30);
        const s24_block block = s24_tensor_block(t, 0, 0);
        const float first = x[block.positions[0]];
        ck_assert_double_eq_tol(block.values[0] / (dtypes[d] == S24_I8 ? 32 : 1), (double)first,
                                fabs((double)first) / 8 + 1.0 / 64);
        s24_tensor_free(t);
    }
    ck_assert_int_eq(s24_bench_weights(9, 30, S24_F64, 1, 1, S24_ISA_BEST, &t, &err), S24_ERR_USAGE);
}
END_TEST

START_TEST(ceilings)
{
    const s24_isa isa = (s24_isa)_i;
    if (s24_isa_detect(isa) != isa) {
        return; /* not on this machine */
    }
    s24_ceilings c = {-1, -1, -1};
    ck_assert_int_eq(s24_bench_ceilings(isa == S24_ISA_BEST ? 0 : 1, isa, &c, NULL), S24_OK);
    ck_assert(isfinite(c.read_gbps) && isfinite(c.f32_gflops) && isfinite(c.bf16_gflops));
    ck_assert(c.read_gbps > 0 && c.f32_gflops > 0);
    ck_assert(isa == S24_ISA_AMX ? c.bf16_gflops >= 0 : c.bf16_gflops == 0);
}
END_TEST

int main(void)
{
    const struct {
        const TTest *test;
        const char *name;
    } tests[] = {{small_sizes, "small"}, {large_sizes, "large"}, {large_c, "large_c"}, {all_values, "values"},
                 {one_column, "column"}, {one_column_of_any_rows, "rows"},
                 {same_for_all_threads, "threads"}, {plans, "plans"},
                 {plans_of_many_jobs, "jobs of plans"}, {empty, "empty"}, {bad_positions_are_refused, "positions"},
                 {unused_nibble_is_ignored, "nibble"}, {padding_is_absent, "padding"}, {nonfinite_b, "nonfinite"},
                 {tile_edges, "edges"}, {nonfinite_everywhere, "nonfinite2"}, {error_and_bench, "error"},
                 {ceilings, "ceilings"}, {i8_products, "i8"}, {i8_refused, "i8 refused"}, {scaled_products, "scales"},
                 {i8_scaled_products, "i8 scales"}, {scales_are_looked_at, "bad scales"}};
    if (s24_isa_detect(S24_ISA_AMX) != S24_ISA_AMX) {
        printf("test_matmul: no AMX on this machine: its tests are left out\n");
    }
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_matmul: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("matmul");
    for (size_t i = 0; i < COUNT(tests); i++) {
        TCase *tcase = tcase_create(tests[i].name);
        tcase_add_checked_fixture(tcase, begin, NULL);
        tcase_set_timeout(tcase, 300);
        tcase_add_loop_test(tcase, tests[i].test, S24_ISA_BEST, S24_ISAS);
        suite_add_tcase(suite, tcase);
    }
    TCase *tcase = tcase_create("others");
    tcase_add_test(tcase, usage);
    tcase_add_test(tcase, i8_kernels);
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, bench_data);
    tcase_add_test(tcase, too_wide);
    tcase_add_test(tcase, bench_of_odd_numbers);
    tcase_add_test(tcase, bench_of_what_cannot_be);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
