#include "calibration.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "dtype.h"
#include "mem.h"
#include "threads.h"

#define TILE 256 /* of X'X: one product of [TILE, samples] and [samples, TILE] */

s24_status s24_calibration_new(s24_calibration **out, size_t k, uint64_t total_rows, const s24_blas *blas,
                               unsigned threads, s24_error *err)
{
    size_t bytes;
    if (k == 0 || k > INT_MAX / 4 || !s24_mul(k, k * sizeof(double), &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "calibration of %zu inputs is beyond what a BLAS takes", k);
    }
    s24_calibration *cal = s24_calloc(1, sizeof *cal, err);
    if (!cal) {
        return S24_ERR_SYSTEM;
    }
    cal->k = k;
    cal->threads = threads ? threads : s24_threads_available();
    cal->total = total_rows;
    cal->rows[S24_HELD_OUT] = total_rows / 4;
    cal->rows[S24_FIT] = total_rows - total_rows / 4;
    if (blas) {
        cal->blas = *blas;
        cal->has_blas = true;
    }
    *out = cal;
    return S24_OK;
}

void s24_calibration_free(s24_calibration *cal)
{
    for (int i = 0; cal && i < S24_PARTS; i++) {
        free(cal->products[i]);
        free(cal->squares[i]);
        free(cal->fourths[i]);
    }
    if (cal) {
        free(cal->buffer);
    }
    free(cal);
}

/* ---------------------------------------------------------------- samples */

typedef struct accumulation {
    const s24_calibration *cal;
    double *products, *squares, *fourths;
    float *scratch; /* [threads][TILE, TILE] */
} accumulation;

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void add_powers(const s24_calibration *cal, double *squares, double *fourths, size_t from, size_t count)
{
    for (size_t r = 0; r < cal->buffered; r++) {
        const float *x = cal->buffer + r * cal->k + from;
        for (size_t c = 0; c < count; c++) {
            const double square = (double)x[c] * (double)x[c];
            squares[from + c] += square;
            fourths[from + c] += square * square;
        }
    }
}

static s24_status accumulate_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const accumulation *a = ctx;
    const s24_calibration *cal = a->cal;
    float *scratch = a->scratch + slot * TILE * TILE;
    size_t i, j;
    s24_triangle_place(job, &i, &j);
    const size_t m = least(TILE, cal->k - i * TILE), n = least(TILE, cal->k - j * TILE);
    (void)err;
    cal->blas.sgemm(S24_ROW_MAJOR, S24_TRANSPOSED, S24_PLAIN, (int)m, (int)n, (int)cal->buffered, 1,
                    cal->buffer + i * TILE, (int)cal->k, cal->buffer + j * TILE, (int)cal->k, 0, scratch, TILE);
    for (size_t r = 0; r < m; r++) {
        double *to = a->products + (i * TILE + r) * cal->k + j * TILE;
        for (size_t c = 0; c < n; c++) {
            to[c] += (double)scratch[r * TILE + c];
        }
    }
    if (i == j) {
        add_powers(cal, a->squares, a->fourths, i * TILE, m);
    }
    return S24_OK;
}

static s24_status flush(s24_calibration *cal, int part, s24_error *err)
{
    static const s24_stages stages = {.work = accumulate_tile};
    const size_t tiles = (cal->k - 1) / TILE + 1;
    accumulation a = {.cal = cal, .products = cal->products[part], .squares = cal->squares[part],
                      .fourths = cal->fourths[part],
                      .scratch = s24_alloc(cal->threads * TILE * TILE * sizeof(float), err)};
    if (!a.scratch) {
        return S24_ERR_SYSTEM;
    }
    if (cal->blas.set_threads) {
        cal->blas.set_threads(1);
    }
    const s24_status status = s24_run(&stages, &a, tiles * (tiles + 1) / 2, cal->threads, err);
    free(a.scratch);
    cal->buffered = 0;
    return status;
}

static s24_status allocate_parts(s24_calibration *cal, s24_error *err)
{
    cal->buffer = s24_alloc(S24_CHUNK_ROWS * cal->k * sizeof *cal->buffer, err);
    bool ok = cal->buffer;
    for (int i = 0; i < S24_PARTS && ok; i++) {
        if (cal->rows[i]) {
            cal->products[i] = s24_calloc(cal->k, cal->k * sizeof(double), err);
            ok = cal->products[i] && (cal->squares[i] = s24_calloc(cal->k, sizeof(double), err)) != NULL &&
                 (cal->fourths[i] = s24_calloc(cal->k, sizeof(double), err)) != NULL;
        }
    }
    return ok ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status find_nonfinite(const s24_calibration *cal, const float *x, size_t n, s24_error *err)
{
    for (size_t i = 0; i < n * cal->k; i++) {
        if (!isfinite(x[i])) {
            return s24_fail(err, S24_ERR_DATA, "sample %llu of the activations is not finite at input %zu; leave such "
                            "samples out", (unsigned long long)(cal->seen[0] + cal->seen[1] + i / cal->k), i % cal->k);
        }
    }
    return S24_OK;
}

s24_status s24_calibration_add(s24_calibration *cal, const float *x, size_t n, s24_error *err)
{
    if (!cal->has_blas) {
        return s24_fail(err, S24_ERR_USAGE, "activations need a BLAS; install OpenBLAS");
    }
    if (n > cal->total - cal->seen[S24_FIT] - cal->seen[S24_HELD_OUT]) {
        return s24_fail(err, S24_ERR_USAGE, "more samples than the %llu that were announced",
                        (unsigned long long)cal->total);
    }
    s24_status status = find_nonfinite(cal, x, n, err);
    if (status == S24_OK && n > 0 && !cal->buffer) {
        status = allocate_parts(cal, err);
    }
    while (status == S24_OK && n > 0) {
        const int part = cal->seen[S24_FIT] < cal->rows[S24_FIT] ? S24_FIT : S24_HELD_OUT;
        const uint64_t left = cal->rows[part] - cal->seen[part];
        const size_t take = least(least(n, S24_CHUNK_ROWS - cal->buffered), left < SIZE_MAX ? (size_t)left : SIZE_MAX);
        memcpy(cal->buffer + cal->buffered * cal->k, x, take * cal->k * sizeof *x);
        cal->buffered += take;
        cal->seen[part] += take;
        x += take * cal->k;
        n -= take;
        if (cal->buffered == S24_CHUNK_ROWS || cal->seen[part] == cal->rows[part]) {
            status = flush(cal, part, err);
        }
    }
    return status;
}

/* ---------------------------------------------------------------- given as they are */

s24_status s24_calibration_set_norms(s24_calibration *cal, const double *norms, s24_error *err)
{
    double *squares = s24_calloc(cal->k, sizeof *squares, err);
    if (!squares) {
        return S24_ERR_SYSTEM;
    }
    for (size_t j = 0; j < cal->k; j++) {
        if (!isfinite(norms[j]) || norms[j] < 0) {
            free(squares);
            return s24_fail(err, S24_ERR_DATA, "the norm of input %zu is %g; norms are finite and not negative", j, norms[j]);
        }
        squares[j] = norms[j] * norms[j];
    }
    free(cal->squares[S24_FIT]);
    cal->squares[S24_FIT] = squares;
    return S24_OK;
}

s24_status s24_calibration_set_hessian(s24_calibration *cal, s24_dtype dtype, const void *h, s24_error *err)
{
    const size_t k = cal->k;
    if (dtype != S24_F64 && dtype != S24_F32) {
        return s24_fail(err, S24_ERR_USAGE, "a Hessian of %s; f64 or f32 is needed", s24_dtype_name(dtype));
    }
    double *products = s24_alloc(k * k * sizeof *products, err);
    double *squares = products ? s24_calloc(k, sizeof *squares, err) : NULL;
    s24_status status = products && squares ? S24_OK : S24_ERR_SYSTEM;
    for (size_t i = 0; i < k && status == S24_OK; i++) {
        for (size_t j = 0; j <= i; j++) {
            const double x = s24_decode(s24_info(dtype), s24_load(h, s24_info(dtype)->bytes, i * k + j));
            products[i * k + j] = x;
            if (!isfinite(x) || (i == j && x < 0)) {
                status = s24_fail(err, S24_ERR_DATA, "element [%zu, %zu] of the Hessian is %g; X'X is finite, and not "
                                  "negative on its diagonal", i, j, x);
                break;
            }
        }
        squares[i] = status == S24_OK ? products[i * k + i] : 0;
    }
    if (status != S24_OK) {
        free(products);
        free(squares);
        return status;
    }
    free(cal->products[S24_FIT]);
    free(cal->squares[S24_FIT]);
    cal->products[S24_FIT] = products;
    cal->squares[S24_FIT] = squares;
    return S24_OK;
}

/* ---------------------------------------------------------------- reading */

/* Products are of f32, the sums of squares of f64: where the one over- or underflows the other tells. */
static bool in_range(const s24_calibration *cal, int part)
{
    double trace = 0, squares = 0;
    for (size_t j = 0; cal->products[part] && j < cal->k; j++) {
        trace += cal->products[part][j * cal->k + j];
        squares += cal->squares[part][j];
    }
    return fabs(trace - squares) <= 0.01 * squares;
}

s24_status s24_calibration_complete(const s24_calibration *cal, s24_error *err)
{
    const uint64_t seen = cal->seen[S24_FIT] + cal->seen[S24_HELD_OUT];
    if (cal->total != seen) {
        return s24_fail(err, S24_ERR_USAGE, "%llu samples have come of the %llu that were announced",
                        (unsigned long long)seen, (unsigned long long)cal->total);
    }
    if (!cal->squares[S24_FIT]) {
        return s24_fail(err, S24_ERR_USAGE, "nothing is known of the layer's inputs");
    }
    for (int i = 0; i < S24_PARTS; i++) {
        if (!in_range(cal, i)) {
            return s24_fail(err, S24_ERR_DATA, "squares of the activations are beyond the range of f32; scale them");
        }
    }
    return S24_OK;
}

void s24_columns_products(const s24_columns *c, unsigned parts, size_t i, size_t j, size_t n, double *products)
{
    const double *fit = c->cal->products[S24_FIT], *held_out = c->cal->products[S24_HELD_OUT];
    const bool has_fit = parts & 1u << S24_FIT, has_held_out = parts & 1u << S24_HELD_OUT && held_out;
    const size_t at = i * c->k + j;
    for (size_t m = 0; m < n && !c->in_order; m++) {
        products[m] = s24_columns_product(c, parts, i, j + m);
    }
    for (size_t m = 0; m < n && c->in_order; m++) {
        products[m] = (has_fit ? fit[at + m] : 0) + (has_held_out ? held_out[at + m] : 0);
    }
}

typedef struct filling {
    s24_fill_block *fill;
    void *ctx;
    size_t k;
} filling;

static s24_status fill_rows(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const filling *f = ctx;
    const size_t i = job * S24_FILL_BLOCK, m = least(S24_FILL_BLOCK, f->k - i);
    (void)slot;
    (void)err;
    for (size_t j = 0; j <= i; j += S24_FILL_BLOCK) {
        f->fill(f->ctx, i, m, j, least(S24_FILL_BLOCK, f->k - j));
    }
    return S24_OK;
}

s24_status s24_fill_triangle(const s24_compute_env *env, size_t k, s24_fill_block *fill, void *ctx, s24_error *err)
{
    static const s24_stages stages = {.work = fill_rows};
    filling f = {fill, ctx, k};
    return k ? s24_run(&stages, &f, (k - 1) / S24_FILL_BLOCK + 1, env->threads, err) : S24_OK;
}
