/*
 * Calibrated pruning against what defines it, written down once more in plain loops: least squares over all pairs, masks by
 * sorting, errors from the samples themselves. The products are plain loops, too, so that no BLAS is needed.
 */
#include <check.h>
#include <limits.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alternate.h"
#include "dtype.h"
#include "exchange.h"
#include "plain_blas.h"
#include "random.h"
#include "salience.h"
#include "solve.h"

/* ---------------------------------------------------------------- numbers */

static double uniform(void)
{
    return (double)(random_bits() >> 11) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

/* Correlated inputs of different scales. */
static float *random_samples(size_t n, size_t k)
{
    float *x = malloc(n * k * sizeof *x);
    double *mix = malloc(k * k * sizeof *mix), *z = malloc(k * sizeof *z), *scale = malloc(k * sizeof *scale);
    for (size_t i = 0; i < k * k; i++) {
        mix[i] = normal() / sqrt((double)k);
    }
    for (size_t j = 0; j < k; j++) {
        scale[j] = exp(0.7 * normal());
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            z[j] = j < k / 3 + 1 ? 2 * normal() : 0.3 * normal();
        }
        for (size_t j = 0; j < k; j++) {
            double sum = 0.3 * normal();
            for (size_t l = 0; l < k; l++) {
                sum += z[l] * mix[l * k + j];
            }
            x[i * k + j] = (float)(sum * scale[j]);
        }
    }
    free(mix);
    free(z);
    free(scale);
    return x;
}

static float *random_weights(size_t rows, size_t k)
{
    float *w = malloc(rows * k * sizeof *w);
    for (size_t i = 0; i < rows * k; i++) {
        w[i] = (float)normal();
    }
    return w;
}

static float *copy_of(const float *w, size_t n)
{
    return memcpy(malloc(n * sizeof *w), w, n * sizeof *w);
}

static void kill_input(float *x, size_t n, size_t k, size_t input)
{
    for (size_t i = 0; i < n; i++) {
        x[i * k + input] = 0;
    }
}

static void require_ok(s24_status status, const s24_error *err)
{
    ck_assert_msg(status == S24_OK, "%s", err->message);
}

static s24_calibration *calibrate(const float *x, size_t n, size_t k, unsigned threads)
{
    s24_calibration *cal;
    s24_error err;
    require_ok(s24_calibration_new(&cal, k, n, &plain, threads, &err), &err);
    require_ok(s24_calibration_add(cal, x, n, &err), &err);
    return cal;
}

/* ||X (w - v)'||^2 over all samples */
static double lost(const float *x, size_t n, size_t k, const float *w, const float *v, size_t rows)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < rows; r++) {
            double y = 0;
            for (size_t j = 0; j < k; j++) {
                y += (double)x[i * k + j] * ((double)w[r * k + j] - (double)v[r * k + j]);
            }
            sum += y * y;
        }
    }
    return sum;
}

/* Solves A z = b, A [n, n], by elimination with pivots; both are overwritten. */
static void solve_linear(double *a, double *b, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        size_t pivot = c;
        for (size_t i = c; i < n; i++) {
            pivot = fabs(a[i * n + c]) > fabs(a[pivot * n + c]) ? i : pivot;
        }
        for (size_t j = 0; j < n; j++) {
            const double t = a[c * n + j];
            a[c * n + j] = a[pivot * n + j];
            a[pivot * n + j] = t;
        }
        const double t = b[c];
        b[c] = b[pivot];
        b[pivot] = t;
        for (size_t i = 0; i < n; i++) {
            const double f = i == c ? 0 : a[i * n + c] / a[c * n + c];
            for (size_t j = c; j < n; j++) {
                a[i * n + j] -= f * a[c * n + j];
            }
            b[i] -= f * b[c];
        }
    }
    for (size_t i = 0; i < n; i++) {
        b[i] /= a[i * n + i];
    }
}

/* The least (w - v)' H (w - v) over v that is zero where keep is not; H [k, k]. v may be NULL. */
static double least_squares(const double *h, size_t k, const float *w, const bool *keep, double *v)
{
    double *a = malloc(k * k * sizeof *a), *b = malloc(k * sizeof *b), cost = 0;
    size_t *at = malloc(k * sizeof *at), n = 0;
    for (size_t j = 0; j < k; j++) {
        if (keep[j]) {
            at[n++] = j;
        }
    }
    for (size_t i = 0; i < n; i++) {
        b[i] = 0;
        for (size_t j = 0; j < k; j++) {
            b[i] += h[at[i] * k + j] * (double)w[j];
        }
        for (size_t j = 0; j < n; j++) {
            a[i * n + j] = h[at[i] * k + at[j]];
        }
    }
    solve_linear(a, b, n);
    double *d = calloc(k, sizeof *d);
    for (size_t j = 0; j < k; j++) {
        d[j] = (double)w[j];
    }
    for (size_t i = 0; i < n; i++) {
        d[at[i]] -= b[i];
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < k; j++) {
            cost += d[i] * h[i * k + j] * d[j];
        }
        if (v) {
            v[i] = (double)w[i] - d[i];
        }
    }
    free(a);
    free(b);
    free(at);
    free(d);
    return cost;
}

/* X'X over the mean of its diagonal, plus damping there: what group-OBS minimizes over. */
static double *damped_products(const float *x, size_t n, size_t k, double damping)
{
    double *h = calloc(k * k, sizeof *h), mean = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t a = 0; a < k; a++) {
            for (size_t b = 0; b < k; b++) {
                h[a * k + b] += (double)x[i * k + a] * (double)x[i * k + b];
            }
        }
    }
    for (size_t j = 0; j < k; j++) {
        mean += h[j * k + j] / (double)k;
    }
    for (size_t i = 0; i < k * k; i++) {
        h[i] /= mean;
    }
    for (size_t j = 0; j < k; j++) {
        h[j * k + j] += damping;
    }
    return h;
}

static unsigned nibble_at(const uint8_t *positions, size_t groups, size_t row, size_t g)
{
    return positions[row * ((groups + 1) / 2) + g / 2] >> (g % 2 * 4) & 15;
}

/* What is kept is told by positions: two ascending ones, all else is 0, and the pad nibble too. */
static void require_sparse(const float *v, const uint8_t *positions, size_t rows, size_t cols)
{
    const size_t groups = (cols + 3) / 4;
    for (size_t r = 0; r < rows; r++) {
        for (size_t g = 0; g < groups; g++) {
            const unsigned nibble = nibble_at(positions, groups, r, g);
            ck_assert_uint_lt(nibble & 3, nibble >> 2);
            for (unsigned i = 0; i < 4 && 4 * g + i < cols; i++) {
                if (i != (nibble & 3) && i != nibble >> 2) {
                    ck_assert_msg(v[r * cols + 4 * g + i] == 0 && !signbit(v[r * cols + 4 * g + i]), "row %zu, %zu", r, 4 * g + i);
                }
            }
        }
        if (groups % 2) {
            ck_assert_uint_eq(positions[r * ((groups + 1) / 2) + groups / 2] >> 4, 0);
        }
    }
}

/* A solution of its own. */
typedef struct solved {
    float *v;
    uint8_t *positions;
    s24_output_error errors;
} solved;

static solved solve_with(const s24_solve_options *o, const s24_calibration *cal, const float *w, size_t rows, size_t cols)
{
    solved s = {.v = copy_of(w, rows * cols), .positions = malloc(rows * ((cols + 7) / 8) + 1)};
    s24_error err;
    require_ok(s24_solve(o, cal, rows, cols, S24_F32, s.v, s.positions, &s.errors, &err), &err);
    require_sparse(s.v, s.positions, rows, cols);
    return s;
}

static solved solve_method(const char *method, bool refit, const s24_calibration *cal, const float *w, size_t rows, size_t cols)
{
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    o.method = method;
    o.refit = refit;
    o.threads = 2;
    return solve_with(&o, cal, w, rows, cols);
}

static void solved_free(solved *s)
{
    free(s->v);
    free(s->positions);
}

/* ---------------------------------------------------------------- orders of columns */

/* Columns in an order, solved by inputs as they come: the same as inputs in that order. And what inputs weigh. */
START_TEST(columns_in_another_order)
{
    enum { ROWS = 20, TAPS = 2, MOST = 12, N = 200 };
    const size_t cols = _i ? 10 : MOST, k = TAPS * cols; /* with padding, and without */
    static float x[N * TAPS * MOST], y[N * TAPS * MOST], w[ROWS * TAPS * MOST];
    int32_t order[MOST];
    for (size_t i = 0; i < N * k; i++) {
        x[i] = (float)normal() * (float)(1 + i % 5) + (i % k ? 0.5f * x[i - 1] : 0);
    }
    for (size_t i = 0; i < ROWS * k; i++) {
        w[i] = (float)normal();
    }
    for (size_t j = 0; j < cols; j++) {
        order[j] = (int32_t)(7 * j % cols);
    }
    for (size_t i = 0; i < N * k; i++) { /* channel by channel, all taps of each */
        y[i] = x[i / k * k + (size_t)order[i % k / TAPS] * TAPS + i % TAPS];
    }
    s24_calibration *const as_they_come = calibrate(x, N, k, 1), *const ordered = calibrate(y, N, k, 1);
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    static const char *const methods[] = {"wanda", "ria", "sparsegpt", "obs"};
    o.taps = TAPS;
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        o.method = methods[m];
        o.order = NULL;
        solved a = solve_with(&o, ordered, w, ROWS * TAPS, cols);
        o.order = order;
        solved b = solve_with(&o, as_they_come, w, ROWS * TAPS, cols);
        ck_assert_int_eq(memcmp(a.positions, b.positions, ROWS * TAPS * ((cols + 7) / 8)), 0);
        ck_assert_double_eq_tol(a.errors.held_out, b.errors.held_out, 1e-6);
        solved_free(&a);
        solved_free(&b);
    }
    s24_calibration_free(as_they_come);
    s24_calibration_free(ordered);
}
END_TEST

/* Of inputs without correlation: the power of each over the mean, and the damping. */
START_TEST(salience_of_independent_inputs)
{
    enum { K = 150 };
    static double h[K * K], salience[K];
    double mean = 0;
    for (size_t j = 0; j < K; j++) {
        h[j * K + j] = (double)(1 + j % 7);
        mean += h[j * K + j] / K;
    }
    s24_calibration *cal;
    s24_error err;
    require_ok(s24_calibration_new(&cal, K, 0, &plain, 1, &err), &err);
    require_ok(s24_calibration_set_hessian(cal, S24_F64, h, &err), &err);
    const s24_compute_env env = {.blas = &plain, .threads = 2};
    require_ok(s24_salience(cal, &env, salience, &err), &err);
    for (size_t j = 0; j < K; j++) {
        ck_assert_double_eq_tol(salience[j], (double)(1 + j % 7) / mean + 0.01, 1e-5);
    }
    s24_calibration_free(cal);
}
END_TEST

/* ---------------------------------------------------------------- factorizations */

/* L'L is A, with 1e-12 or 1e-5; inverses are those of L's tiles. */
static void require_factor(const double *a, const double *l, const float *inverses, size_t n, double tolerance)
{
    for (size_t t = 0; t < 200; t++) {
        const size_t i = below(n), j = below(i + 1), in = i % S24_TILE, first = i - in, out = below(in + 1);
        double sum = 0, unit = 0;
        for (size_t c = i; c < n; c++) {
            sum += l[c * n + i] * l[c * n + j];
        }
        ck_assert_double_eq_tol(sum, a[i * n + j], tolerance);
        for (size_t c = out; c <= in; c++) {
            unit += l[i * n + first + c] * (double)inverses[(first + c) * S24_TILE + out];
        }
        ck_assert_double_eq_tol(unit, out == in, 1e-5);
        ck_assert(in + 1 == S24_TILE || inverses[i * S24_TILE + in + 1] == 0);
    }
}

static void require_factors(size_t n, unsigned threads)
{
    enum { ROWS = 3 };
    const s24_compute_env env = {.blas = &plain, .threads = threads};
    s24_error err;
    double *x = calloc(n * n, sizeof *x), *a = malloc(n * n * sizeof *a), *l = malloc(n * n * sizeof *l);
    float *l32 = malloc(n * n * sizeof *l32), *inverses = malloc(n * S24_TILE * sizeof *inverses);
    float *y = random_weights(ROWS, n), *b = copy_of(y, ROWS * n), scratch[ROWS * S24_TILE];
    for (size_t i = 0; i < n * n; i++) {
        x[i] = normal() / sqrt((double)n);
    }
    plain_dgemm(S24_ROW_MAJOR, S24_TRANSPOSED, S24_PLAIN, (int)n, (int)n, (int)n, 1, x, (int)n, x, (int)n, 0, a, (int)n);
    for (size_t i = 0; i < n; i++) {
        a[i * n + i] += 0.1;
    }
    for (size_t i = 0; i < n * n; i++) {
        l[i] = i % n <= i / n ? a[i] : NAN; /* what is above is not read */
        l32[i] = (float)l[i];
    }
    require_ok(s24_factor(&env, l, n, inverses, &err), &err);
    require_factor(a, l, inverses, n, 1e-12);
    require_ok(s24_factor_f32(&env, l32, n, inverses, &err), &err);
    for (size_t i = 0; i < n * n; i++) {
        l[i] = (double)l32[i];
    }
    require_factor(a, l, inverses, n, 1e-5);
    s24_solve_factored(&plain, l32, inverses, n, y, ROWS, scratch);
    for (size_t i = 0; i < ROWS * n; i++) {
        double sum = 0;
        for (size_t c = 0; c < n; c++) {
            sum += (double)y[i / n * n + c] * a[c * n + i % n];
        }
        ck_assert_double_eq_tol(sum, (double)b[i], 1e-3);
    }
    free(x);
    free(a);
    free(l);
    free(l32);
    free(inverses);
    free(y);
    free(b);
}

START_TEST(factors_of_every_size)
{
    static const size_t sizes[] = {1, 2, 7, 64, 255, 256, 257, 520};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        require_factors(sizes[i], 1 + (unsigned)(i % 3));
    }
}
END_TEST

START_TEST(what_is_not_positive_definite)
{
    const s24_compute_env env = {.blas = &plain, .threads = 1};
    double a[9] = {1, 0, 0, 2, 1, 0, 0, 0, 1};
    s24_error err;
    float inverses[3 * S24_TILE];
    ck_assert_int_eq(s24_factor(&env, a, 3, inverses, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "not positive definite"));
}
END_TEST

/* ---------------------------------------------------------------- calibration */

START_TEST(samples_in_pieces)
{
    const size_t n = 1400, k = 37;
    float *x = random_samples(n, k);
    s24_calibration *whole = calibrate(x, n, k, 1), *pieces;
    s24_error err;
    require_ok(s24_calibration_new(&pieces, k, n, &plain, 3, &err), &err);
    for (size_t at = 0; at < n;) {
        size_t take = 1 + below(300);
        take = take < n - at ? take : n - at;
        require_ok(s24_calibration_add(pieces, x + at * k, take, &err), &err);
        at += take;
    }
    ck_assert_uint_eq(whole->seen[S24_FIT], 1050);
    ck_assert_uint_eq(whole->seen[S24_HELD_OUT], 350);
    for (int part = 0; part < S24_PARTS; part++) {
        ck_assert_mem_eq(whole->products[part], pieces->products[part], k * k * sizeof(double));
        ck_assert_mem_eq(whole->squares[part], pieces->squares[part], k * sizeof(double));
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum[2] = {0, 0};
            for (size_t s = 0; s < n; s++) {
                sum[s >= 1050] += (double)x[s * k + i] * (double)x[s * k + j];
            }
            ck_assert_double_eq_tol(whole->products[0][i * k + j], sum[0], 1e-3 * fabs(sum[0]) + 0.1);
            ck_assert_double_eq_tol(s24_calibration_product(whole, 3, j, i), sum[0] + sum[1], 1e-3 * fabs(sum[0]) + 0.1);
        }
    }
    s24_calibration_free(whole);
    s24_calibration_free(pieces);
    free(x);
}
END_TEST

static void require_refused(s24_status status, s24_status expected, const s24_error *err, const char *text)
{
    ck_assert_int_eq(status, expected);
    ck_assert_msg(strstr(err->message, text) != NULL, "message: %s", err->message);
}

START_TEST(calibration_that_cannot_be)
{
    const float x[8] = {1, 2, 3, INFINITY, 1, 1, 1, 1};
    const double norms[4] = {1, 2, -1, 0}, endless[4] = {1, INFINITY, 1, 0};
    const double h[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1}, no_h[16] = {1, 0, 0, 0, NAN};
    float w[4] = {1, 2, 3, 4};
    uint8_t positions[1];
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_calibration *cal;
    s24_error err;
    require_refused(s24_calibration_new(&cal, 0, 0, &plain, 1, &err), S24_ERR_USAGE, &err, "0 inputs");
    require_ok(s24_calibration_new(&cal, 4, 2, &plain, 1, &err), &err);
    require_refused(s24_calibration_add(cal, x, 1, &err), S24_ERR_DATA, &err, "sample 0 of the activations is not finite at input 3");
    require_refused(s24_calibration_add(cal, x + 4, 3, &err), S24_ERR_USAGE, &err, "more samples than the 2");
    require_refused(s24_calibration_set_norms(cal, norms, &err), S24_ERR_DATA, &err, "norm of input 2 is -1");
    require_refused(s24_calibration_set_norms(cal, endless, &err), S24_ERR_DATA, &err, "norm of input 1 is inf");
    require_refused(s24_calibration_set_hessian(cal, S24_F64, no_h, &err), S24_ERR_DATA, &err, "[1, 0]");
    require_refused(s24_calibration_set_hessian(cal, S24_F64, h, &err), S24_ERR_DATA, &err, "[2, 2]");
    require_refused(s24_calibration_set_hessian(cal, S24_F16, h, &err), S24_ERR_USAGE, &err, "f16");
    require_ok(s24_calibration_add(cal, x + 4, 1, &err), &err);
    o.method = "wanda";
    require_refused(s24_solve(&o, cal, 1, 4, S24_F32, w, positions, NULL, &err), S24_ERR_USAGE, &err, "1 samples have come of the 2");
    require_ok(s24_calibration_add(cal, x + 4, 1, &err), &err);
    require_refused(s24_solve(&o, cal, 1, 3, S24_F32, w, positions, NULL, &err), S24_ERR_USAGE, &err, "calibrated for 4 inputs");
    require_refused(s24_solve(&o, NULL, 1, 4, S24_F32, w, positions, NULL, &err), S24_ERR_USAGE, &err, "needs activations");
    o.method = NULL;
    o.mask = (const uint8_t[]){0x4};
    o.refit = true;
    require_refused(s24_solve(&o, NULL, 1, 4, S24_F32, w, positions, NULL, &err), S24_ERR_USAGE, &err, "a refit needs");
    o.refit = false;
    o.method = "magic";
    require_refused(s24_solve(&o, cal, 1, 4, S24_F32, w, positions, NULL, &err), S24_ERR_USAGE, &err, "no method magic");
    w[2] = NAN;
    o.method = "magnitude";
    require_refused(s24_solve(&o, cal, 1, 4, S24_F32, w, positions, NULL, &err), S24_ERR_DATA, &err, "row 0, element 2 is nan");
    s24_calibration_free(cal);
    s24_calibration_free(NULL);
    require_refused(s24_calibration_new(&cal, INT_MAX, 0, &plain, 1, &err), S24_ERR_USAGE, &err, "2147483647 inputs");
    require_ok(s24_calibration_new(&cal, 4, 1, NULL, 1, &err), &err);
    require_refused(s24_calibration_add(cal, x + 4, 1, &err), S24_ERR_USAGE, &err, "need a BLAS");
    s24_calibration_free(cal);
}
END_TEST

/* Samples whose squares f32 does not hold are refused: they would all be dead, or infinite. */
START_TEST(samples_beyond_range)
{
    static const float scales[] = {1e-30f, 1e25f, 1e-15f, 1e15f};
    const size_t k = 8, n = 40;
    for (size_t i = 0; i < 4; i++) {
        float *x = random_samples(n, k), *w = random_weights(1, k);
        uint8_t positions[1];
        s24_error err;
        for (size_t j = 0; j < n * k; j++) {
            x[j] *= scales[i];
        }
        s24_calibration *cal = calibrate(x, n, k, 1);
        s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
        o.method = "obs";
        const s24_status status = s24_solve(&o, cal, 1, k, S24_F32, w, positions, NULL, &err);
        if (i < 2) {
            require_refused(status, S24_ERR_DATA, &err, "beyond the range of f32");
        } else {
            require_ok(status, &err);
        }
        s24_calibration_free(cal);
        free(x);
        free(w);
    }
}
END_TEST

START_TEST(norms_alone)
{
    const double norms[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float w[8] = {8, 4, 2.5f, 2, 1, 1, 1, 1};
    uint8_t positions[1];
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_output_error e;
    s24_calibration *cal;
    s24_error err;
    require_ok(s24_calibration_new(&cal, 8, 0, NULL, 1, &err), &err);
    o.method = "wanda";
    require_refused(s24_solve(&o, cal, 1, 8, S24_F32, w, positions, &e, &err), S24_ERR_USAGE, &err, "nothing is known");
    require_ok(s24_calibration_set_norms(cal, norms, &err), &err);
    require_ok(s24_solve(&o, cal, 1, 8, S24_F32, w, positions, &e, &err), &err); /* 8 8 7.5 8: ties to the lower index */
    ck_assert_uint_eq(positions[0], (0 | 1 << 2) | (2 | 3 << 2) << 4);
    ck_assert(isnan(e.training) && isnan(e.held_out) && isnan(e.damping));
    o.refit = true;
    require_refused(s24_solve(&o, cal, 1, 8, S24_F32, w, positions, &e, &err), S24_ERR_USAGE, &err, "a refit needs");
    o.method = "sparsegpt";
    o.refit = false;
    require_refused(s24_solve(&o, cal, 1, 8, S24_F32, w, positions, &e, &err), S24_ERR_USAGE, &err, "sparsegpt needs");
    s24_calibration_free(cal);
}
END_TEST

/* ---------------------------------------------------------------- masks */

static void require_mask(const solved *s, const float *w, size_t rows, size_t cols, const double *score)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < cols; j++) {
            unsigned losses = 0;
            for (size_t i = j / 4 * 4; i < cols && i < j / 4 * 4 + 4; i++) {
                losses += i < j ? score[r * cols + i] >= score[r * cols + j] : score[r * cols + i] > score[r * cols + j];
            }
            ck_assert_msg(s->v[r * cols + j] == (losses < 2 ? w[r * cols + j] : 0), "row %zu, element %zu", r, j);
        }
    }
}

START_TEST(masks_by_their_definition)
{
    for (size_t cols = 1; cols < 24; cols += 1 + below(3)) {
        const size_t n = 50, rows = 1 + below(9);
        float *x = random_samples(n, cols), *w = random_weights(rows, cols);
        double *norm = calloc(cols, sizeof *norm), *score = malloc(rows * cols * sizeof *score);
        double *row_sum = calloc(rows, sizeof *row_sum), *col_sum = calloc(cols, sizeof *col_sum);
        for (size_t i = 0; i < n * cols; i++) {
            norm[i % cols] += (double)x[i] * (double)x[i];
        }
        for (size_t i = 0; i < rows * cols; i++) {
            row_sum[i / cols] += fabs((double)w[i]);
            col_sum[i % cols] += fabs((double)w[i]);
        }
        s24_calibration *cal = calibrate(x, n, cols, 2);
        static const char *const methods[] = {"magnitude", "wanda", "ria"};
        for (unsigned m = 0; m < 3; m++) {
            for (size_t i = 0; i < rows * cols; i++) {
                const double a = fabs((double)w[i]), s = sqrt(norm[i % cols]);
                score[i] = m == 0 ? a : m == 1 ? a * s : (a / row_sum[i / cols] + a / col_sum[i % cols]) * sqrt(s);
            }
            solved s = solve_method(methods[m], false, cal, w, rows, cols);
            require_mask(&s, w, rows, cols, score);
            ck_assert(s.errors.training >= 0 && s.errors.held_out >= 0 && s.errors.held_out_samples == 12);
            ck_assert_str_eq(s.errors.method, methods[m]);
            solved_free(&s);
        }
        s24_calibration_free(cal);
        free(x);
        free(w);
        free(norm);
        free(score);
        free(row_sum);
        free(col_sum);
    }
}
END_TEST

/* ---------------------------------------------------------------- elimination */

/* The cost of a pair and the weights without it, of the first group, against least squares. */
START_TEST(pair_costs_are_exact)
{
    const size_t n = 60, k = 12;
    for (unsigned trial = 0; trial < 20; trial++) {
        float *x = random_samples(n, k), *w = random_weights(1, k);
        double *h = damped_products(x, n, k, 0.01);
        s24_calibration *cal = calibrate(x, n, k, 1);
        int32_t input[12];
        for (size_t j = 0; j < k; j++) {
            input[j] = (int32_t)j;
        }
        const s24_columns columns = {.cal = cal, .k = k, .input = input};
        const s24_compute_env env = {.blas = &plain, .threads = 1};
        s24_eliminator e;
        s24_error err;
        double damping[12];
        s24_damping_plane(&columns, 3, S24_RULE_OBS, 0.01, 0, damping);
        require_ok(s24_eliminator_init(&e, &env, &columns, 3, S24_RULE_OBS, damping, false, &err), &err);
        for (unsigned s = 0; s < S24_PAIRS; s++) {
            const unsigned p = s24_pair_dropped[s][0], q = s24_pair_dropped[s][1];
            const s24_pair_cost *c = &e.costs[0][s];
            const double wp = (double)w[p], wq = (double)w[q];
            const double cost = (double)c->a * wp * wp + 2 * (double)c->b * wp * wq + (double)c->c * wq * wq;
            bool keep[12];
            double v[12];
            for (size_t j = 0; j < k; j++) {
                keep[j] = j != p && j != q;
            }
            const double best = least_squares(h, k, w, keep, v);
            ck_assert_msg(fabs(cost - best) < 1e-4 * best, "pair %u: %g, %g", s, cost, best);
            for (size_t j = 0; j < k; j++) {
                double moved = (double)w[j];
                for (unsigned i = 0; i < 4; i++) {
                    const double error = (double)c->e[i][0] * wp + (double)c->e[i][1] * wq;
                    moved -= error * (double)e.u[i * S24_ELIMINATE_BLOCK + j];
                }
                ck_assert_double_eq_tol(moved, v[j], 1e-3);
            }
        }
        s24_eliminator_free(&e);
        s24_calibration_free(cal);
        free(h);
        free(x);
        free(w);
    }
}
END_TEST

/* A = L L', in place. */
static void cholesky(double *a, size_t n)
{
    for (size_t i = 0; i < n * n; i++) {
        const size_t row = i / n, col = i % n;
        for (size_t c = 0; c < col && col <= row; c++) {
            a[i] -= a[row * n + c] * a[col * n + c];
        }
        a[i] = col < row ? a[i] / a[col * n + col] : col == row ? sqrt(a[i]) : a[i];
    }
}

/* SparseGPT as its paper writes it: columns one by one, with the inverse Hessian's Cholesky factor. */
static void sparsegpt(const float *x, size_t n, size_t k, const float *w0, double *v)
{
    double *h = calloc(k * k, sizeof *h), *inverse = malloc(k * k * sizeof *h), mean = 0, w[64];
    for (size_t i = 0; i < n * k; i++) {
        for (size_t b = 0; b < k; b++) {
            h[i % k * k + b] += 2 * (double)x[i] * (double)x[i / k * k + b] / (double)n;
        }
    }
    for (size_t j = 0; j < k; j++) {
        const bool dead = h[j * k + j] == 0;
        w[j] = dead ? 0 : (double)w0[j];
        h[j * k + j] += dead;
        mean += h[j * k + j] / (double)k;
    }
    for (size_t j = 0; j < k; j++) {
        h[j * k + j] += 0.01 * mean;
    }
    for (size_t c = 0; c < k; c++) {
        double *a = memcpy(malloc(k * k * sizeof *a), h, k * k * sizeof *a), b[64] = {0};
        b[c] = 1;
        solve_linear(a, b, k);
        for (size_t i = 0; i < k; i++) {
            inverse[i * k + c] = b[i];
        }
        free(a);
    }
    cholesky(inverse, k); /* U is its transpose */
    bool drop[64] = {false};
    for (size_t j = 0; j < k; j++) {
        for (size_t i = j; j % 4 == 0 && i < j + 4; i++) {
            unsigned losses = 0;
            for (size_t o = j; o < j + 4; o++) {
                const double mine = pow(w[i] / inverse[i * k + i], 2), other = pow(w[o] / inverse[o * k + o], 2);
                losses += o < i ? other >= mine : other > mine;
            }
            drop[i] = losses >= 2;
        }
        v[j] = drop[j] ? 0 : w[j];
        const double e = (w[j] - v[j]) / inverse[j * k + j];
        for (size_t i = j; i < k; i++) {
            w[i] -= e * inverse[i * k + j];
        }
    }
    free(h);
    free(inverse);
}

START_TEST(sparsegpt_by_its_definition)
{
    for (unsigned trial = 0; trial < 10; trial++) {
        const size_t n = 100, k = 4 * (1 + below(12)), rows = 1 + below(20);
        float *x = random_samples(n, k), *w = random_weights(rows, k);
        kill_input(x, n, k, below(k));
        s24_calibration *cal = calibrate(x, n, k, 1);
        solved s = solve_method("sparsegpt", false, cal, w, rows, k);
        for (size_t r = 0; r < rows; r++) {
            double v[64];
            sparsegpt(x, n, k, w + r * k, v);
            for (size_t j = 0; j < k; j++) {
                ck_assert_double_eq_tol((double)s.v[r * k + j], v[j], 2e-3 * (1 + fabs(v[j])));
            }
        }
        ck_assert_double_eq(s.errors.damping, 0.01);
        solved_free(&s);
        s24_calibration_free(cal);
        free(x);
        free(w);
    }
}
END_TEST

/* ---------------------------------------------------------------- refit and search */

static void keep_of(const solved *s, size_t row, size_t k, bool *keep)
{
    for (size_t j = 0; j < k; j++) {
        const unsigned nibble = nibble_at(s->positions, k / 4, row, j / 4);
        keep[j] = (nibble & 3) == j % 4 || nibble >> 2 == j % 4;
    }
}

/* The least squares of a mask. */
START_TEST(refit_is_least_squares)
{
    static const size_t sizes[] = {12, 64, 160};
    for (size_t t = 0; t < 3; t++) {
        const size_t k = sizes[t], n = 3 * k, rows = 5;
        float *x = random_samples(n, k), *w = random_weights(rows, k);
        s24_calibration *cal = calibrate(x, n, k, 1);
        s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
        o.method = "wanda";
        o.damping = 0.01;
        o.threads = 1;
        solved plainly = solve_with(&o, cal, w, rows, k);
        o.refit = true;
        solved s = solve_with(&o, cal, w, rows, k);
        double *h = damped_products(x, n, k, 0.01);
        ck_assert_mem_eq(plainly.positions, s.positions, rows * ((k + 7) / 8));
        for (size_t r = 0; r < rows; r++) {
            bool keep[160];
            double v[160], cost = 0;
            keep_of(&s, r, k, keep);
            const double best = least_squares(h, k, w + r * k, keep, v);
            for (size_t i = 0; i < k * k; i++) {
                const size_t a = r * k + i / k, b = r * k + i % k;
                cost += ((double)w[a] - (double)s.v[a]) * h[i] * ((double)w[b] - (double)s.v[b]);
            }
            ck_assert_msg(cost < best * (1 + 1e-4), "k %zu: %g, best %g", k, cost, best);
        }
        ck_assert_double_lt(s.errors.training, plainly.errors.training);
        ck_assert(s.errors.refit && !plainly.errors.refit);
        free(h);
        solved_free(&plainly);
        solved_free(&s);
        s24_calibration_free(cal);
        free(x);
        free(w);
    }
}
END_TEST

/* No exchange of one pair makes the error less, and no search makes it more. */
START_TEST(exchanges_end_in_an_optimum)
{
    for (unsigned trial = 0; trial < 12; trial++) {
        const size_t k = 4 * (1 + below(6)), n = 4 * k;
        float *x = random_samples(n, k), *w = random_weights(1, k), v[64];
        double *h = damped_products(x, n, k, 0.01), *scratch = malloc(s24_exchange_scratch(k) * sizeof *scratch);
        const s24_exchange exchange = {.kernels = s24_solve_kernels_of(S24_ISA_BEST), .k = k, .h = h};
        uint8_t pairs[16] = {0};
        bool keep[64];
        for (size_t g = 0; g < k / 4; g++) {
            pairs[g] = (uint8_t)below(S24_PAIRS);
        }
        for (size_t j = 0; j < k; j++) {
            keep[j] = s24_pair_kept[pairs[j / 4]][0] == j % 4 || s24_pair_kept[pairs[j / 4]][1] == j % 4;
        }
        const double before = least_squares(h, k, w, keep, NULL);
        s24_exchange_row(&exchange, w, v, pairs, 50, scratch);
        for (size_t j = 0; j < k; j++) {
            keep[j] = s24_pair_kept[pairs[j / 4]][0] == j % 4 || s24_pair_kept[pairs[j / 4]][1] == j % 4;
        }
        double best[64];
        const double after = least_squares(h, k, w, keep, best);
        ck_assert_double_le(after, before * (1 + 1e-9));
        for (size_t j = 0; j < k; j++) {
            ck_assert_double_eq_tol((double)v[j], best[j], 1e-5 * (1 + fabs(best[j])));
        }
        for (size_t g = 0; g < k / 4; g++) {
            for (unsigned s = 0; s < S24_PAIRS; s++) {
                bool other[64];
                memcpy(other, keep, sizeof other);
                for (size_t i = 0; i < 4; i++) {
                    other[4 * g + i] = s24_pair_kept[s][0] == i || s24_pair_kept[s][1] == i;
                }
                ck_assert_double_ge(least_squares(h, k, w, other, NULL), after * (1 - 1e-5));
            }
        }
        free(x);
        free(w);
        free(h);
        free(scratch);
    }
}
END_TEST

static double masked_least_squares(const double *h, size_t k, const float *w, const uint8_t *pairs)
{
    bool keep[64];
    for (size_t j = 0; j < k; j++) {
        keep[j] = s24_pair_kept[pairs[j / 4]][0] == j % 4 || s24_pair_kept[pairs[j / 4]][1] == j % 4;
    }
    return least_squares(h, k, w, keep, NULL);
}

/* Alternating directions find better masks than elimination, where they begin; and the steps to a refit end at the best. */
START_TEST(alternation_finds_better_masks)
{
    const size_t k = 48 + 4 * (size_t)_i, n = 4 * k, rows = 40; /* 12 groups, and 13 */
    float *x = random_samples(n, k), *w = random_weights(rows, k);
    double *h = damped_products(x, n, k, 0.01), damping[52], before = 0, after = 0, fitted = 0;
    s24_calibration *cal = calibrate(x, n, k, 1);
    int32_t input[52];
    for (size_t j = 0; j < k; j++) {
        input[j] = (int32_t)j;
    }
    const s24_columns columns = {.cal = cal, .k = k, .input = input};
    const s24_compute_env env = {.blas = &plain, .threads = 2};
    const s24_solve_kernels *kernels = s24_solve_kernels_of(S24_ISA_BEST);
    s24_eliminator e;
    s24_gram gram;
    s24_alternation a;
    s24_error err;
    s24_damping_plane(&columns, 3, S24_RULE_OBS, 0.01, 0, damping);
    require_ok(s24_eliminator_init(&e, &env, &columns, 3, S24_RULE_OBS, damping, false, &err), &err);
    require_ok(s24_gram_init(&gram, &env, &columns, 3, &err), &err);
    require_ok(s24_alternation_init(&a, &env, &gram, damping, &err), &err);
    float *v = copy_of(w, rows * k), *scratch = malloc((s24_refit_scratch(&gram, rows) + s24_eliminate_scratch(&e, rows)) * sizeof *scratch);
    uint8_t *pairs = malloc(rows * k / 4);
    s24_eliminate(&e, kernels, &plain, v, rows, pairs, false, scratch);
    for (size_t r = 0; r < rows; r++) {
        before += masked_least_squares(h, k, w + r * k, pairs + r * (k / 4));
    }
    require_ok(s24_alternate(&a, kernels, &env, w, v, rows, pairs, scratch, &err), &err);
    require_ok(s24_refit(&gram, damping, kernels, &env, w, v, rows, pairs, 100, 1e-7, scratch, &err), &err);
    for (size_t r = 0; r < rows; r++) {
        after += masked_least_squares(h, k, w + r * k, pairs + r * (k / 4));
        for (size_t i = 0; i < k * k; i++) {
            const size_t p = r * k + i / k, q = r * k + i % k;
            fitted += ((double)w[p] - (double)v[p]) * h[i] * ((double)w[q] - (double)v[q]);
        }
    }
    ck_assert_msg(after < 0.97 * before, "%g, before %g", after, before);
    ck_assert_msg(fitted < 1.0001 * after, "%g, the best is %g", fitted, after);
    s24_eliminator_free(&e);
    s24_gram_free(&gram);
    s24_alternation_free(&a);
    s24_calibration_free(cal);
    free(x);
    free(w);
    free(h);
    free(v);
    free(scratch);
    free(pairs);
}
END_TEST

/* plain's, where most of a is 0. */
static void sparse_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                         const float *b, int ldb, float beta, float *c, int ldc)
{
    for (int i = 0; i < m; i++, c += ldc) {
        for (int j = 0; j < n; j++) {
            c[j] = beta == 0 ? 0 : beta * c[j];
        }
        for (int l = 0; l < k; l++) {
            const float *x = trans_a == S24_TRANSPOSED ? a + l * lda + i : a + i * lda + l;
            if (*x != 0) {
                const float *from = trans_b == S24_TRANSPOSED ? b + l : b + l * ldb;
                plain_sgemm(order, S24_PLAIN, trans_b, 1, n, 1, alpha, x, lda, from, ldb, 1, c, ldc);
            }
        }
    }
}

/* Alternating directions of a group of independent inputs. False: two were so close that f32 may have chosen another one. */
static bool alternate_group(const double *penalties, int rounds, const double w[4], double v[4])
{
    double y[4] = {0}, t[4], u[4];
    bool clear = true;
    for (; *penalties > 0; penalties++) {
        const double rho = *penalties;
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < 4; i++) {
                u[i] = 1.6 * (w[i] + (rho * (v[i] - w[i]) - y[i]) / (1 + rho)) - 0.6 * v[i];
                t[i] = u[i] + y[i] / rho;
            }
            for (int i = 0; i < 4; i++) {
                int larger = 0;
                for (int j = 0; j < 4; j++) {
                    larger += fabs(t[j]) > fabs(t[i]);
                    clear = clear && (i == j || fabs(fabs(t[j]) - fabs(t[i])) > 1e-4);
                }
                v[i] = larger < 2 ? t[i] : 0;
                y[i] += rho * (u[i] - v[i]);
            }
        }
    }
    return clear;
}

/* By its definition, of short rows and of long ones, whose schedules differ; stopped between two rounds. */
START_TEST(alternation_by_its_definition)
{
    static const struct {
        size_t k;
        int rounds;
        double damping, penalties[7];
    } cases[] = {{2048, 4, 0.04, {0.1, 0.15, 0.22, 0.33, 0.5, 0.75, 0}}, {2052, 3, 0.32, {0.2, 0.46, 1.06, 0}}};
    static const volatile sig_atomic_t raised = 1;
    const s24_blas blas = {"for zeros", sparse_sgemm, plain_dgemm, NULL};
    const s24_compute_env env = {.blas = &blas, .threads = 2}, stopping = {.blas = &blas, .threads = 1, .cancel = &raised};
    const s24_solve_kernels *kernels = s24_solve_kernels_of(S24_ISA_BEST);
    const size_t k = cases[_i].k;
    float *h = calloc(k * k, sizeof *h), *w = random_weights(1, k), *v = copy_of(w, k);
    float *scratch = malloc((2 * k + S24_TILE) * sizeof *scratch);
    double *damping = malloc(k * sizeof *damping);
    uint8_t *pairs = malloc(k / 4);
    const s24_gram gram = {.k = k, .h = h};
    s24_alternation a;
    s24_error err;
    size_t clear = 0;
    for (size_t j = 0; j < k; j++) {
        h[j * k + j] = (float)(0.5 + uniform());
        damping[j] = cases[_i].damping;
    }
    ck_assert_int_eq(s24_alternation_init(&a, &stopping, &gram, damping, &err), S24_ERR_STOPPED);
    s24_alternation_free(&a);
    require_ok(s24_alternation_init(&a, &env, &gram, damping, &err), &err);
    ck_assert_int_eq(s24_alternate(&a, kernels, &stopping, w, v, 1, pairs, scratch, &err), S24_ERR_STOPPED);
    memcpy(v, w, k * sizeof *v);
    require_ok(s24_alternate(&a, kernels, &env, w, v, 1, pairs, scratch, &err), &err);
    for (size_t g = 0; g < k; g += 4) {
        double from[4], to[4], scale[4];
        for (size_t i = 0; i < 4; i++) {
            scale[i] = sqrt((double)h[(g + i) * (k + 1)] + damping[g + i]);
            from[i] = to[i] = (double)w[g + i] * scale[i];
        }
        const bool is_clear = alternate_group(cases[_i].penalties, cases[_i].rounds, from, to);
        clear += is_clear;
        for (size_t i = 0; i < 4 && is_clear; i++) {
            ck_assert_msg(fabs((double)v[g + i] * scale[i] - to[i]) < 1e-4, "column %zu: %g, not %g", g + i,
                          (double)v[g + i] * scale[i], to[i]);
            ck_assert_int_eq(v[g + i] != 0, s24_pair_kept[pairs[g / 4]][0] == i || s24_pair_kept[pairs[g / 4]][1] == i);
        }
    }
    ck_assert_uint_gt(clear, k / 4 * 9 / 10);
    s24_alternation_free(&a);
    free(h);
    free(w);
    free(v);
    free(scratch);
    free(damping);
    free(pairs);
}
END_TEST

/*
 * Without damping kept inputs may be alike, one of them dead, or both: the fit is as good as without those that add nothing,
 * and what is dead stays where it was.
 */
START_TEST(refit_of_inputs_that_add_nothing)
{
    enum { K = 12, N = 40, ROWS = 4 };
    static const double damping[K] = {0};
    static const bool dead[K] = {[5] = true, [8] = true, [9] = true}, counts[K] = {[0] = true, [4] = true};
    static const uint8_t pairs[ROWS * K / 4] = {0}; /* the first two of each group are kept */
    const s24_compute_env env = {.blas = &plain, .threads = 1};
    float *x = random_samples(N, K), *w = random_weights(ROWS, K), h[K * K], v[ROWS * K] = {0};
    double exact[K * K];
    for (size_t i = 0; i < N; i++) {
        x[i * K + 1] = x[i * K];
        for (size_t j = 0; j < K; j++) {
            x[i * K + j] = dead[j] ? 0 : x[i * K + j];
        }
    }
    for (size_t i = 0; i < K * K; i++) {
        double sum = 0;
        for (size_t n = 0; n < N; n++) {
            sum += (double)x[n * K + i / K] * (double)x[n * K + i % K];
        }
        h[i] = (float)(sum / N);
        exact[i] = (double)h[i];
    }
    const s24_gram gram = {.k = K, .h = h};
    float *scratch = malloc(s24_refit_scratch(&gram, ROWS) * sizeof *scratch);
    s24_error err;
    const s24_solve_kernels *kernels = s24_solve_kernels_of(S24_ISA_BEST);
    require_ok(s24_refit(&gram, damping, kernels, &env, w, v, ROWS, pairs, 100, 1e-7, scratch, &err), &err);
    for (size_t r = 0; r < ROWS; r++) {
        const double best = least_squares(exact, K, w + r * K, counts, NULL);
        double fitted = 0;
        for (size_t i = 0; i < K * K; i++) {
            const size_t p = r * K + i / K, q = r * K + i % K;
            fitted += ((double)w[p] - (double)v[p]) * exact[i] * ((double)w[q] - (double)v[q]);
        }
        ck_assert_msg(fitted < 1.0001 * best, "row %zu: %g, the best is %g", r, fitted, best);
        for (size_t j = 0; j < K; j++) {
            ck_assert_msg(isfinite(v[r * K + j]) && (!dead[j] || v[r * K + j] == 0), "row %zu: %zu is %g", r, j,
                          (double)v[r * K + j]);
        }
    }
    free(scratch);
    free(x);
    free(w);
}
END_TEST

/* obs is better than sparsegpt on fresh samples, and than Wanda's mask on held-out ones, in short rows and in long ones. */
START_TEST(obs_is_the_most_accurate)
{
    static const size_t sizes[] = {32, 100, 520};
    for (size_t t = 0; t < 3; t++) {
        const size_t k = sizes[t], n = 4 * k, rows = 12;
        float *x = random_samples(2 * n, k), *w = random_weights(rows, k);
        s24_calibration *cal = calibrate(x, n, k, 2);
        solved obs = solve_method("obs", false, cal, w, rows, k), gpt = solve_method("sparsegpt", false, cal, w, rows, k);
        const double by_obs = lost(x + n * k, n, k, w, obs.v, rows), by_gpt = lost(x + n * k, n, k, w, gpt.v, rows);
        ck_assert_msg(sqrt(by_obs) < 0.85 * sqrt(by_gpt), "k %zu: %g, %g", k, sqrt(by_obs), sqrt(by_gpt));
        ck_assert_double_le(obs.errors.held_out, obs.errors.wanda_held_out);
        ck_assert(obs.errors.refit && obs.errors.damping > 0);
        ck_assert_str_eq(obs.errors.method, "obs");
        solved_free(&obs);
        solved_free(&gpt);
        s24_calibration_free(cal);
        free(x);
        free(w);
    }
}
END_TEST

/* Where inputs have no structure there is nothing to use: not worse than magnitude. */
START_TEST(obs_of_independent_inputs)
{
    const size_t k = 64, n = 256, rows = 16;
    float *x = random_weights(n, k), *w = random_weights(rows, k), *fresh = random_weights(2000, k);
    s24_calibration *cal = calibrate(x, n, k, 1);
    solved obs = solve_method("obs", false, cal, w, rows, k), magnitude = solve_method("magnitude", false, cal, w, rows, k);
    const double by_obs = sqrt(lost(fresh, 2000, k, w, obs.v, rows)), by_magnitude = sqrt(lost(fresh, 2000, k, w, magnitude.v, rows));
    ck_assert_msg(by_obs < by_magnitude * 1.01, "%g, %g", by_obs, by_magnitude);
    ck_assert_double_le(obs.errors.held_out, magnitude.errors.held_out);
    solved_free(&obs);
    solved_free(&magnitude);
    s24_calibration_free(cal);
    free(x);
    free(w);
    free(fresh);
}
END_TEST

/* The errors are those of the samples themselves. */
START_TEST(errors_are_measured)
{
    const size_t k = 24, n = 160, rows = 9;
    float *x = random_samples(n, k), *w = random_weights(rows, k), *zero = calloc(rows * k, sizeof *zero);
    s24_calibration *cal = calibrate(x, n, k, 1);
    solved wanda = solve_method("wanda", false, cal, w, rows, k), obs = solve_method("obs", false, cal, w, rows, k);
    const double whole = lost(x, n, k, w, zero, rows);
    ck_assert_double_eq_tol(wanda.errors.training, sqrt(lost(x, n, k, w, wanda.v, rows) / whole), 1e-4);
    ck_assert_double_eq_tol(obs.errors.training, sqrt(lost(x, n, k, w, obs.v, rows) / whole), 1e-4);
    ck_assert_double_eq(obs.errors.wanda_training, wanda.errors.training);
    ck_assert_double_eq(obs.errors.wanda_held_out, wanda.errors.held_out);

    s24_calibration *first = calibrate(x, 120, k, 1); /* all of it fits: nothing of it is held out where it is a Hessian */
    s24_error err;
    double h[24 * 24];
    for (size_t i = 0; i < k * k; i++) {
        h[i] = s24_calibration_product(first, 3, i / k, i % k);
    }
    s24_calibration_free(first);
    require_ok(s24_calibration_new(&first, k, 0, &plain, 1, &err), &err);
    require_ok(s24_calibration_set_hessian(first, S24_F64, h, &err), &err);
    solved early = solve_method("wanda", false, first, w, rows, k);
    const double held_out = sqrt(lost(x + 120 * k, 40, k, w, early.v, rows) / lost(x + 120 * k, 40, k, w, zero, rows));
    ck_assert_double_eq_tol(wanda.errors.held_out, held_out, 1e-4);
    ck_assert(isnan(early.errors.held_out) && early.errors.samples == 0);
    solved_free(&wanda);
    solved_free(&obs);
    solved_free(&early);
    s24_calibration_free(first);
    s24_calibration_free(cal);
    free(x);
    free(w);
    free(zero);
}
END_TEST

static atomic_int products; /* that were asked for; from several threads */

static void counted_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                          const float *b, int ldb, float beta, float *c, int ldc)
{
    products++;
    plain_sgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void counted_dgemm(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                          const double *b, int ldb, double beta, double *c, int ldc)
{
    products++;
    plain_dgemm(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static const struct {
    const char *method;
    bool refit;
} unmeasured[] = {
    {"magnitude", false}, {"wanda", false}, {"ria", false}, {"sparsegpt", false}, {"obs", false}, {"ria", true},
};

/* Who asks for no errors gets the same weights for less work: a mask alone takes no products at all. */
START_TEST(errors_that_nobody_asks_for)
{
    const size_t k = 32, rows = 24, n = 400, bytes = rows * k * sizeof(float);
    const s24_blas counting = {"counted loops", counted_sgemm, counted_dgemm, NULL};
    float *x = random_samples(n, k), *w = random_weights(rows, k), *v = copy_of(w, rows * k);
    uint8_t *positions = malloc(rows * k / 8);
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_calibration *cal;
    s24_error err;
    require_ok(s24_calibration_new(&cal, k, n, &counting, 1, &err), &err);
    require_ok(s24_calibration_add(cal, x, n, &err), &err);
    o.method = unmeasured[_i].method;
    o.refit = unmeasured[_i].refit;
    products = 0;
    solved s = solve_with(&o, cal, w, rows, k);
    const int measured = products;
    products = 0;
    require_ok(s24_solve(&o, cal, rows, k, S24_F32, v, positions, NULL, &err), &err);
    ck_assert_mem_eq(v, s.v, bytes);
    ck_assert_mem_eq(positions, s.positions, rows * k / 8);
    ck_assert_msg(products < measured, "%d products, and with errors %d", products, measured);
    if (!o.refit && _i < 3) {
        ck_assert_int_eq(products, 0);
    }
    solved_free(&s);
    s24_calibration_free(cal);
    free(positions);
    free(x);
    free(w);
    free(v);
}
END_TEST

/* X'X as a Hessian, to a factor: nothing is held out, and the damping is the default. */
START_TEST(a_hessian)
{
    const size_t k = 20, n = 100, rows = 4;
    float *x = random_samples(n, k), *w = random_weights(rows, k), h32[400];
    double h[400];
    s24_calibration *cal = calibrate(x, n, k, 1), *given;
    s24_error err;
    for (size_t i = 0; i < k * k; i++) {
        h[i] = i % k <= i / k ? 7 * s24_calibration_product(cal, 3, i / k, i % k) : NAN;
        h32[i] = (float)h[i];
    }
    require_ok(s24_calibration_new(&given, k, 0, &plain, 1, &err), &err);
    for (unsigned i = 0; i < 2; i++) {
        require_ok(s24_calibration_set_hessian(given, i ? S24_F32 : S24_F64, i ? (const void *)h32 : h, &err), &err);
        solved s = solve_method("obs", false, given, w, rows, k);
        ck_assert_double_eq(s.errors.damping, 0.01);
        ck_assert(isnan(s.errors.held_out) && isnan(s.errors.wanda_held_out) && s.errors.held_out_samples == 0);
        ck_assert_double_lt(s.errors.training, 0.8 * s.errors.wanda_training);
        solved_free(&s);
    }
    s24_calibration_free(cal);
    s24_calibration_free(given);
    free(x);
    free(w);
}
END_TEST

/* ---------------------------------------------------------------- edges */

START_TEST(dead_inputs_go_first)
{
    const size_t n = 80, k = 16, rows = 6;
    float *x = random_samples(n, k), *w = random_weights(rows, k);
    for (size_t j = 4; j < 8; j++) { /* all of the second group, and two of the third */
        kill_input(x, n, k, j);
    }
    kill_input(x, n, k, 8);
    kill_input(x, n, k, 11);
    s24_calibration *cal = calibrate(x, n, k, 1);
    solved obs = solve_method("obs", false, cal, w, rows, k), gpt = solve_method("sparsegpt", false, cal, w, rows, k);
    for (size_t r = 0; r < rows; r++) {
        unsigned as_they_are = 0;
        for (size_t j = 4; j < 8; j++) {
            as_they_are += fabsf(obs.v[r * k + j] - w[r * k + j]) < 1e-6f;
            ck_assert(gpt.v[r * k + j] == 0);
        }
        ck_assert_uint_eq(as_they_are, 2);
        ck_assert_uint_eq(nibble_at(obs.positions, k / 4, r, 2), 1 | 2 << 2);
        ck_assert_uint_eq(nibble_at(gpt.positions, k / 4, r, 2), 1 | 2 << 2);
    }
    solved_free(&obs);
    solved_free(&gpt);
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

/* The guard by its definition, columns in another order; of a Hessian there is none. */
START_TEST(guard_by_its_definition)
{
    enum { N = 200, K = 12 };
    float *x = random_samples(N, K);
    for (size_t i = 0; i < N; i++) { /* 3 is active once, 5 three times, 6 and 9 never */
        x[i * K + 3] = i == 7 ? 0.5f : 0;
        x[i * K + 5] = i % 70 == 0 ? 2 : 0;
        x[i * K + 6] = x[i * K + 9] = 0;
    }
    s24_calibration *cal = calibrate(x, N, K, 1), *given;
    double s2[K] = {0}, s4[K] = {0}, all2 = 0, all4 = 0, h[K * K];
    int32_t input[K];
    for (size_t i = 0; i < N * K; i++) {
        s2[i % K] += pow((double)x[i], 2);
        s4[i % K] += pow((double)x[i], 4);
    }
    for (size_t j = 0; j < K; j++) {
        all2 += s2[j];
        all4 += s4[j];
        input[j] = j < K - 1 ? (int32_t)(K - 1 - j) : -1;
    }
    const s24_columns columns = {.cal = cal, .k = K, .input = input};
    double plane[K] = {0};
    ck_assert(s24_damping_guard(&columns, 3, plane));
    for (size_t j = 0; j < K; j++) {
        const size_t from = K - 1 - j;
        const double seen = s2[from] > 0 ? exp(-s2[from] * s2[from] / s4[from] / 3) : 0.5; /* one known from once, two dead */
        const double wanted = j < K - 1 ? all4 / all2 / (all2 / (K - 2)) * seen : 0;
        ck_assert_msg(fabs(plane[j] - wanted) <= 1e-5 * wanted, "%zu: %g, expected %g", j, plane[j], wanted);
    }
    s24_error err;
    for (size_t i = 0; i < K * K; i++) {
        h[i] = i % K <= i / K ? s24_calibration_product(cal, 3, i / K, i % K) : NAN;
    }
    require_ok(s24_calibration_new(&given, K, 0, &plain, 1, &err), &err);
    require_ok(s24_calibration_set_hessian(given, S24_F64, h, &err), &err);
    ck_assert(!s24_damping_guard(&(s24_columns){.cal = given, .k = K, .input = input}, 3, plane));
    s24_calibration_free(cal);
    s24_calibration_free(given);
    free(x);
}
END_TEST

/* A dead input of a large weight is kept where some inputs are known from one sample, and goes where none are. */
START_TEST(dead_inputs_that_may_be_met)
{
    const size_t n = 400, k = 48, rows = 12;
    for (unsigned met = 0; met < 2; met++) {
        float *x = random_samples(n, k), *w = random_weights(rows, k);
        kill_input(x, n, k, 0);
        kill_input(x, n, k, 7);
        x[7] = met ? 1 : 0;
        for (size_t r = 0; r < rows; r++) {
            w[r * k] = 10;
            w[r * k + 1] = w[r * k + 2] = w[r * k + 3] = w[r * k + 7] = 1e-4f;
        }
        s24_calibration *cal = calibrate(x, n, k, 1);
        solved obs = solve_method("obs", false, cal, w, rows, k);
        ck_assert_str_eq(obs.errors.method, "obs");
        for (size_t r = 0; r < rows; r++) {
            ck_assert_msg((obs.v[r * k] != 0) == met, "met %u, row %zu: %g", met, r, (double)obs.v[r * k]);
        }
        solved_free(&obs);
        s24_calibration_free(cal);
        free(x);
        free(w);
    }
}
END_TEST

/* Nothing but dead inputs: magnitude. */
START_TEST(inputs_that_are_all_dead)
{
    const size_t n = 8, k = 8, rows = 3;
    float *x = calloc(n * k, sizeof *x), *w = random_weights(rows, k);
    s24_calibration *cal = calibrate(x, n, k, 1);
    solved obs = solve_method("obs", false, cal, w, rows, k), magnitude = solve_method("magnitude", false, NULL, w, rows, k);
    ck_assert_mem_eq(obs.positions, magnitude.positions, rows);
    solved_free(&obs);
    solved_free(&magnitude);
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

/* Every row length with every method: rows end in padding, which is never kept before what is there. */
START_TEST(tails)
{
    static const char *const methods[] = {"magnitude", "wanda", "ria", "sparsegpt", "obs"};
    for (size_t k = 1; k < 14; k++) {
        float *x = random_samples(40, k), *w = random_weights(4, k);
        s24_calibration *cal = calibrate(x, 40, k, 1);
        for (size_t m = 0; m < 5; m++) {
            solved s = solve_method(methods[m], false, cal, w, 4, k);
            for (size_t r = 0; r < 4; r++) {
                const unsigned last = nibble_at(s.positions, (k + 3) / 4, r, (k - 1) / 4);
                ck_assert_uint_lt(last >> 2, k % 4 == 0 ? 4 : k % 4 == 1 ? 2 : k % 4);
            }
            solved_free(&s);
        }
        s24_calibration_free(cal);
        free(x);
        free(w);
    }
}
END_TEST

/* A convolution of three taps is the matrix of its im2col inputs, which are numbered channel by channel. */
START_TEST(taps_are_one_row)
{
    const size_t outputs = 5, taps = 3, channels = 8, k = taps * channels, n = 200;
    float *x = random_samples(n, k), *w = random_weights(outputs, k);
    float *rows = malloc(outputs * k * sizeof *rows), *ordered = malloc(n * k * sizeof *ordered);
    for (size_t o = 0; o < outputs; o++) {
        for (size_t c = 0; c < channels; c++) {
            for (size_t t = 0; t < taps; t++) {
                rows[(o * taps + t) * channels + c] = w[o * k + c * taps + t];
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            ordered[i * k + j] = x[i * k + j % channels * taps + j / channels];
        }
    }
    s24_calibration *cal = calibrate(x, n, k, 1), *as_rows = calibrate(ordered, n, k, 1);
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    o.method = "obs";
    solved matrix = solve_with(&o, as_rows, rows, outputs, k);
    o.taps = taps;
    solved conv = solve_with(&o, cal, rows, outputs * taps, channels);
    ck_assert_mem_eq(matrix.v, conv.v, outputs * k * sizeof *rows);
    ck_assert_mem_eq(matrix.positions, conv.positions, outputs * taps * channels / 8);
    static const size_t others[][2] = {{14, 8}, {15, 7}, {15, 12}}; /* rows that are no whole outputs, other channels */
    for (size_t i = 0; i < 3; i++) {
        s24_error err;
        require_refused(s24_solve(&o, cal, others[i][0], others[i][1], S24_F32, rows, conv.positions, NULL, &err),
                        S24_ERR_USAGE, &err, i == 1 ? "24 inputs, but the weights have 7 channels" : "24 inputs, but");
    }
    o.taps = 5;
    s24_error err; /* five taps of four channels are 20 inputs */
    require_refused(s24_solve(&o, cal, 15, 4, S24_F32, rows, conv.positions, NULL, &err), S24_ERR_USAGE, &err, "4 channels");
    solved_free(&matrix);
    solved_free(&conv);
    s24_calibration_free(cal);
    s24_calibration_free(as_rows);
    free(x);
    free(w);
    free(rows);
    free(ordered);
}
END_TEST

START_TEST(a_mask_that_is_given)
{
    const size_t k = 12, rows = 3, n = 60;
    float *x = random_samples(n, k), *w = random_weights(rows, k);
    uint8_t mask[6];
    s24_calibration *cal = calibrate(x, n, k, 1);
    solved wanda = solve_method("wanda", true, cal, w, rows, k);
    memcpy(mask, wanda.positions, sizeof mask);
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    o.mask = mask;
    o.refit = true;
    solved given = solve_with(&o, cal, w, rows, k);
    ck_assert_mem_eq(given.v, wanda.v, rows * k * sizeof *w);
    ck_assert_mem_eq(given.positions, mask, sizeof mask);
    ck_assert_str_eq(given.errors.method, "mask");
    s24_error err;
    mask[3] = 0x55;
    require_refused(s24_solve(&o, cal, rows, k, S24_F32, given.v, given.positions, NULL, &err), S24_ERR_DATA, &err, "row 1: positions");
    solved_free(&wanda);
    solved_free(&given);
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

/* Weights of any magnitude: the solution goes with them. */
START_TEST(weights_of_any_scale)
{
    static const double scales[] = {0x1p-120, 0x1p120, 0x1p-1000, 0x1p1000};
    const size_t k = 16, rows = 2, n = 64;
    float *x = random_samples(n, k), *w = random_weights(rows, k);
    s24_calibration *cal = calibrate(x, n, k, 1);
    solved s = solve_method("obs", false, cal, w, rows, k);
    for (size_t i = 0; i < 4; i++) {
        double v[32];
        uint8_t positions[4];
        s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
        s24_error err;
        for (size_t j = 0; j < rows * k; j++) {
            v[j] = (double)w[j] * scales[i];
        }
        o.method = "obs";
        require_ok(s24_solve(&o, cal, rows, k, S24_F64, v, positions, NULL, &err), &err);
        for (size_t j = 0; j < rows * k; j++) {
            ck_assert_double_eq(v[j], (double)s.v[j] * scales[i]);
        }
        ck_assert_mem_eq(positions, s.positions, 4);
    }
    solved_free(&s);
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

/* Whole numbers of the least f64 there is: the mask of the same numbers of ones. */
START_TEST(weights_of_the_least_scale)
{
    enum { K = 16, ROWS = 2 };
    float *x = random_samples(64, K), *w = random_weights(ROWS, K);
    double v[ROWS * K];
    uint8_t positions[ROWS * K / 8];
    s24_calibration *cal = calibrate(x, 64, K, 1);
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_error err;
    for (size_t i = 0; i < ROWS * K; i++) {
        w[i] = roundf(1000 * w[i]);
        v[i] = (double)w[i] * 0x1p-1074;
    }
    solved s = solve_method("obs", false, cal, w, ROWS, K);
    o.method = "obs";
    require_ok(s24_solve(&o, cal, ROWS, K, S24_F64, v, positions, NULL, &err), &err);
    ck_assert_mem_eq(positions, s.positions, sizeof positions);
    for (size_t i = 0; i < ROWS * K; i++) {
        ck_assert_double_le(fabs(v[i] * 0x1p1000 * 0x1p74 - (double)s.v[i]), 0.51);
    }
    solved_free(&s);
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

/* A row of zeros says nothing of the others, nor do rows that are not there. */
START_TEST(rows_of_nothing)
{
    static const char *const methods[] = {"wanda", "ria", "obs"};
    const size_t k = 16, n = 64;
    float *x = random_samples(n, k), *w = random_weights(3, k), *with = calloc(4 * k, sizeof *with);
    s24_calibration *cal = calibrate(x, n, k, 1);
    memcpy(with, w, k * sizeof *w);
    memcpy(with + 2 * k, w + k, 2 * k * sizeof *w);
    for (size_t m = 0; m < 3; m++) {
        solved some = solve_method(methods[m], false, cal, w, 3, k), all = solve_method(methods[m], false, cal, with, 4, k);
        ck_assert_mem_eq(all.v, some.v, k * sizeof *w);
        ck_assert_mem_eq(all.v + k, with + k, k * sizeof *w);
        for (size_t i = 0; i < k / 8; i++) { /* of equals the first are kept */
            ck_assert_uint_eq(all.positions[k / 8 + i], 0x44);
        }
        ck_assert_mem_eq(all.v + 2 * k, some.v + k, 2 * k * sizeof *w);
        solved none = solve_method(methods[m], false, cal, w, 0, k);
        ck_assert(isnan(none.errors.training));
        solved_free(&none);
        solved_free(&some);
        solved_free(&all);
    }
    s24_calibration_free(cal);
    free(with);
    free(x);
    free(w);
}
END_TEST

/* ---------------------------------------------------------------- threads, instruction sets, stopping */

START_TEST(threads_and_instruction_sets_make_no_difference)
{
    static const char *const methods[] = {"ria", "sparsegpt", "obs"};
    static const size_t sizes[] = {40, 528};
    for (size_t t = 2; t < 6; t++) { /* of long rows obs alone, with a damping that is given: it takes long enough */
        const size_t k = sizes[t < 3], rows = t < 3 ? 20 : 600, n = 2 * k;
        float *x = random_samples(n, k), *w = random_weights(rows, k);
        s24_calibration *cal = calibrate(x, n, k, 1), *other = calibrate(x, n, k, 3);
        s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
        o.method = methods[t % 3];
        o.damping = t < 3 ? 0.01 : S24_DAMPING_AUTO;
        o.threads = 1;
        o.isa = S24_ISA_GENERIC;
        solved one = solve_with(&o, cal, w, rows, k);
        for (unsigned i = 0; i < 3; i++) {
            o.threads = 2 + 3 * i;
            o.isa = (s24_isa[]){S24_ISA_AVX2, S24_ISA_AVX512, S24_ISA_BEST}[i];
            solved many = solve_with(&o, other, w, rows, k);
            ck_assert_mem_eq(one.v, many.v, rows * k * sizeof *w);
            ck_assert_mem_eq(one.positions, many.positions, rows * ((k + 7) / 8));
            ck_assert_double_eq(one.errors.training, many.errors.training);
            solved_free(&many);
        }
        solved_free(&one);
        s24_calibration_free(cal);
        s24_calibration_free(other);
        free(x);
        free(w);
    }
}
END_TEST

static void note_progress(void *user, double done)
{
    double *last = user;
    ck_assert(done >= *last && done <= 1);
    *last = done;
}

START_TEST(progress_ends_at_one)
{
    static const char *const methods[] = {"wanda", "obs"};
    const size_t k = 16, rows = 600, n = 64;
    float *x = random_samples(n, k), *w = random_weights(rows, k);
    s24_calibration *cal = calibrate(x, n, k, 1);
    for (size_t m = 0; m < 2; m++) {
        double last = 0;
        s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
        o.method = methods[m];
        o.threads = 3;
        o.progress = note_progress;
        o.user = &last;
        solved s = solve_with(&o, cal, w, rows, k);
        ck_assert_double_eq(last, 1);
        solved_free(&s);
    }
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

START_TEST(stopped)
{
    static const volatile sig_atomic_t raised = 1;
    const size_t k = 16, rows = 2, n = 64;
    float *x = random_samples(n, k), *w = random_weights(rows, k);
    uint8_t positions[4];
    s24_calibration *cal = calibrate(x, n, k, 1);
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_error err;
    o.method = "obs";
    o.cancel = &raised;
    ck_assert_int_eq(s24_solve(&o, cal, rows, k, S24_F32, w, positions, NULL, &err), S24_ERR_STOPPED);
    s24_calibration_free(cal);
    free(x);
    free(w);
}
END_TEST

/* ---------------------------------------------------------------- tensors */

START_TEST(tensors_of_every_dtype)
{
    static const s24_dtype dtypes[] = {S24_F64, S24_F32, S24_F16, S24_BF16, S24_F8E4M3, S24_F8E5M2, S24_I8};
    const size_t shape[2] = {6, 20}, n = 100;
    float *x = random_samples(n, 20);
    s24_calibration *cal = calibrate(x, n, 20, 1);
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        const s24_dtype_info *info = s24_info(dtypes[d]);
        unsigned char data[6 * 20 * 8];
        for (size_t i = 0; i < 120; i++) {
            bool overflow = false;
            s24_store(data, info->bytes, i, s24_encode(info, info->kind == S24_KIND_INT ? round(60 * normal()) : normal(), &overflow));
        }
        const s24_dense dense = {data, dtypes[d], 2, shape, NULL};
        s24_tensor *t;
        s24_prune_metrics m, again;
        s24_output_error e;
        s24_error err;
        require_ok(s24_prune_calibrated(&dense, "obs", cal, NULL, true, &t, &m, &e, &err), &err);
        require_ok(s24_compute_metrics(&dense, t, 1, &again, &err), &err);
        ck_assert_mem_eq(&m.sums, &again.sums, sizeof m.sums);
        ck_assert_uint_eq(m.pruned_count, 60);
        ck_assert_double_lt(e.held_out, e.wanda_held_out);
        s24_tensor_free(t);
        s24_tensor *mask, *same; /* and a mask alone leaves the values, bit for bit */
        require_ok(s24_prune_calibrated(&dense, "magnitude", NULL, NULL, false, &mask, NULL, NULL, &err), &err);
        require_ok(s24_prune_magnitude(&dense, NULL, &same, NULL, &err), &err);
        ck_assert_mem_eq(mask->values, same->values, mask->geometry.values_bytes);
        ck_assert_mem_eq(mask->positions, same->positions, mask->geometry.positions_bytes);
        s24_tensor_free(mask);
        s24_tensor_free(same);
    }
    s24_calibration_free(cal);
    free(x);
}
END_TEST

START_TEST(a_convolution)
{
    const size_t shape[4] = {4, 8, 3, 1}, n = 200, k = 24;
    float *x = random_samples(n, k), *w = random_weights(4, k), back[96];
    s24_calibration *cal = calibrate(x, n, k, 1), *channels;
    const s24_dense dense = {w, S24_F32, 4, shape, NULL};
    s24_tensor *t;
    s24_output_error e;
    s24_error err;
    require_ok(s24_prune_calibrated(&dense, "obs", cal, NULL, true, &t, NULL, &e, &err), &err);
    require_ok(s24_decompress(t, S24_SAME, back, &err), &err);
    float *zero = calloc(4 * k, sizeof *zero); /* the flattened weights are rows of the im2col matrix as it is */
    ck_assert_double_eq_tol(e.training, sqrt(lost(x, n, k, w, back, 4) / lost(x, n, k, w, zero, 4)), 1e-4);
    s24_tensor_free(t);
    channels = calibrate(x, 3 * n, 8, 1);
    require_ok(s24_prune_calibrated(&dense, "obs", channels, NULL, true, &t, NULL, &e, &err), &err);
    s24_tensor_free(t);
    s24_calibration_free(channels);
    channels = calibrate(x, n, 12, 1);
    require_refused(s24_prune_calibrated(&dense, "obs", channels, NULL, true, &t, NULL, &e, &err), S24_ERR_USAGE, &err, "8 channels");
    s24_calibration_free(channels);
    s24_calibration_free(cal);
    free(zero);
    free(x);
    free(w);
}
END_TEST

/* ---------------------------------------------------------------- suite */

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : 24;
    printf("S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("solve");
    TCase *tcase = tcase_create("solve");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, factors_of_every_size);
    tcase_add_test(tcase, what_is_not_positive_definite);
    tcase_add_test(tcase, samples_in_pieces);
    tcase_add_test(tcase, calibration_that_cannot_be);
    tcase_add_test(tcase, samples_beyond_range);
    tcase_add_test(tcase, norms_alone);
    tcase_add_test(tcase, masks_by_their_definition);
    tcase_add_test(tcase, pair_costs_are_exact);
    tcase_add_test(tcase, sparsegpt_by_its_definition);
    tcase_add_test(tcase, refit_is_least_squares);
    tcase_add_test(tcase, exchanges_end_in_an_optimum);
    tcase_add_loop_test(tcase, alternation_finds_better_masks, 0, 2);
    tcase_add_loop_test(tcase, alternation_by_its_definition, 0, 2);
    tcase_add_test(tcase, refit_of_inputs_that_add_nothing);
    tcase_add_test(tcase, obs_is_the_most_accurate);
    tcase_add_test(tcase, obs_of_independent_inputs);
    tcase_add_test(tcase, errors_are_measured);
    tcase_add_loop_test(tcase, errors_that_nobody_asks_for, 0, (int)(sizeof unmeasured / sizeof *unmeasured));
    tcase_add_test(tcase, a_hessian);
    tcase_add_test(tcase, dead_inputs_go_first);
    tcase_add_test(tcase, guard_by_its_definition);
    tcase_add_test(tcase, dead_inputs_that_may_be_met);
    tcase_add_test(tcase, inputs_that_are_all_dead);
    tcase_add_test(tcase, tails);
    tcase_add_test(tcase, taps_are_one_row);
    tcase_add_test(tcase, a_mask_that_is_given);
    tcase_add_test(tcase, weights_of_any_scale);
    tcase_add_test(tcase, weights_of_the_least_scale);
    tcase_add_test(tcase, rows_of_nothing);
    tcase_add_test(tcase, threads_and_instruction_sets_make_no_difference);
    tcase_add_test(tcase, progress_ends_at_one);
    tcase_add_test(tcase, stopped);
    tcase_add_loop_test(tcase, columns_in_another_order, 0, 2);
    tcase_add_test(tcase, salience_of_independent_inputs);
    tcase_add_test(tcase, tensors_of_every_dtype);
    tcase_add_test(tcase, a_convolution);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
