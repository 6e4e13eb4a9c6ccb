#include "s24.h"

#include <math.h>
#include <string.h>

#include "clock.h"
#include "dtype.h"
#include "error.h"
#include "mem.h"
#include "threads.h"

#define SAMPLE 64 /* rows, and columns, of the reference: 64 * 64 * k multiply-adds are some tens of milliseconds */
#define SIDES (1 + S24_BENCH_BASELINES)
#define TWO_PI 6.283185307179586476925

/* ---------------------------------------------------------------- data */

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void s24_bench_normal(uint64_t seed, float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        const double u = (double)((splitmix64(&seed) >> 11) + 1) * 0x1p-53;
        const double v = (double)(splitmix64(&seed) >> 11) * 0x1p-53;
        const double radius = sqrt(-2 * log(u));
        x[i] = (float)(radius * cos(TWO_PI * v));
        if (i + 1 < n) {
            x[i + 1] = (float)(radius * sin(TWO_PI * v));
        }
    }
}

/* In place: an element of any prunable dtype but f64 is no wider than its f32. */
static void encode(void *x, size_t n, s24_dtype dtype)
{
    const s24_dtype_info *info = s24_info(dtype);
    for (size_t i = 0; i < n; i++) {
        float value;
        bool overflow = false;
        memcpy(&value, (const char *)x + i * sizeof value, sizeof value);
        const double scaled = info->kind == S24_KIND_INT ? fmax(-127, fmin(127, nearbyint(32.0 * (double)value)))
                                                         : (double)value;
        s24_store(x, info->bytes, i, s24_encode(info, scaled, &overflow));
    }
}

s24_status s24_bench_weights(size_t m, size_t k, s24_dtype dtype, uint64_t seed, unsigned threads, s24_isa isa,
                             s24_tensor **tensor, s24_error *err)
{
    size_t count, bytes;
    if (dtype == S24_F64 || !s24_dtype_prunable(dtype)) {
        return s24_fail(err, S24_ERR_USAGE, "no product with weights of %s", s24_dtype_name(dtype));
    }
    if (!s24_mul(m, k, &count) || !s24_mul(count, sizeof(float), &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "%zu x %zu weights are too many", m, k);
    }
    float *x = s24_alloc(bytes, err);
    if (!x) {
        return S24_ERR_SYSTEM;
    }
    s24_bench_normal(seed, x, count);
    encode(x, count, dtype);
    const s24_dense dense = {.data = x, .dtype = dtype, .rank = 2, .shape = (const size_t[]){m, k}};
    const s24_prune_options options = {.axis = 1, .dtype = S24_SAME, .threads = threads, .isa = isa};
    const s24_status status = s24_prune_magnitude(&dense, &options, tensor, NULL, err);
    free(x);
    return status;
}

/* ---------------------------------------------------------------- one n */

typedef struct bench {
    const s24_tensor *tensor;
    const s24_bench_options *options;
    s24_matmul_plan *plan;
    s24_bench_product product;
    float *dense, *b, *c;      /* what the product points to */
    unsigned char *sweep;
    double *times; /* [sides, reps] */
} bench;

static void wait_seconds(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

static s24_status sweep_part(void *ctx, unsigned worker, size_t part, s24_error *err)
{
    const bench *h = ctx;
    const size_t bytes = S24_BENCH_SWEEP / h->product.threads;
    const volatile unsigned char *p = h->sweep + part * bytes;
    (void)worker;
    (void)err;
    for (size_t i = 0; i < bytes; i += 64) {
        (void)p[i];
    }
    return S24_OK;
}

/*
 * Reads a word of every cache line of memory that nobody else uses. By all threads: after a pause every one of the
 * processors sleeps, and in a virtual machine one that was halted may need milliseconds to come back, which would then be
 * counted as the first threaded call's.
 */
static s24_status sweep_caches(bench *h, s24_error *err)
{
    static const s24_stages stages = {.work = sweep_part};
    return s24_run(&stages, h, h->product.threads, h->product.threads, err);
}

/* A step of a baseline, where it has one. */
static s24_status take_step(const bench *h, size_t side, s24_bench_step *step, s24_error *err)
{
    return step ? step(h->options->baselines[side - 1].ctx, &h->product, err) : S24_OK;
}

/* One call of a side: 0 the sparse one, then the baselines. */
static s24_status call(const bench *h, size_t side, s24_error *err)
{
    const size_t n = h->product.n;
    return side ? take_step(h, side, h->options->baselines[side - 1].multiply, err)
                : s24_matmul_plan_multiply(h->plan, h->b, n, n, h->c, n, err);
}

static void settle(const bench *h, size_t side)
{
    if (side > 0 && h->product.threads > 1) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a side above 0 is a baseline */
        wait_seconds(h->options->baselines[side - 1].settle_seconds);
    }
}

static s24_status measure(bench *h, size_t side, double *seconds, s24_error *err)
{
    s24_status status = sweep_caches(h, err);
    const double start = s24_now();
    status = status == S24_OK ? call(h, side, err) : status;
    *seconds = s24_now() - start;
    settle(h, side);
    return status;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, compare_doubles);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static size_t spread(size_t i, size_t samples, size_t n)
{
    return samples < n ? i * n / samples : i;
}

/* The sampled entries of A B in f64. A's zeros are skipped: they are what was pruned. */
static void reference_rows(const bench *h, size_t rows, size_t cols, double reference[SAMPLE][SAMPLE])
{
    for (size_t i = 0; i < rows; i++) {
        const float *a = h->dense + spread(i, rows, h->product.m) * h->product.k;
        for (size_t k = 0; k < h->product.k; k++) {
            for (size_t j = 0; a[k] != 0 && j < cols; j++) {
                reference[i][j] += (double)a[k] * (double)h->b[k * h->product.n + spread(j, cols, h->product.n)];
            }
        }
    }
}

static double max_error(const bench *h, size_t rows, size_t cols, double reference[SAMPLE][SAMPLE])
{
    double error = 0, scale = 0;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            const double c = (double)h->c[spread(i, rows, h->product.m) * h->product.n + spread(j, cols, h->product.n)];
            const double difference = fabs(c - reference[i][j]);
            error = difference > error || isnan(difference) ? difference : error;
            scale = fmax(scale, fabs(reference[i][j]));
        }
    }
    return scale > 0 ? error / scale : error;
}

/* The calls before the timed ones of a side: at least one, and the last leaves its result in C. */
static s24_status warm_up_side(bench *h, size_t side, s24_error *err)
{
    const s24_bench_baseline *baseline = side ? &h->options->baselines[side - 1] : NULL;
    s24_status status = baseline ? take_step(h, side, baseline->prepare, err) : S24_OK;
    settle(h, side);
    for (unsigned i = 0; status == S24_OK && i < (h->options->warmup ? h->options->warmup : 1); i++) {
        double ignored;
        memset(h->c, 0xff, h->product.m * h->product.n * sizeof *h->c); /* NaN: an entry left out is seen */
        status = measure(h, side, &ignored, err);
    }
    return status == S24_OK && baseline ? take_step(h, side, baseline->finish, err) : status;
}

static s24_status warm_up(bench *h, double *errors, s24_error *err)
{
    const size_t m = h->product.m, n = h->product.n, rows = m < SAMPLE ? m : SAMPLE, cols = n < SAMPLE ? n : SAMPLE;
    double (*reference)[SAMPLE] = s24_calloc(SAMPLE, sizeof *reference, err);
    s24_status status = reference ? S24_OK : S24_ERR_SYSTEM;
    if (reference) {
        reference_rows(h, rows, cols, reference);
    }
    for (size_t side = 0; status == S24_OK && side <= h->options->baseline_count; side++) {
        status = warm_up_side(h, side, err);
        errors[side] = status == S24_OK ? max_error(h, rows, cols, reference) : 0;
    }
    free(reference);
    return status;
}

static s24_status run_n(bench *h, s24_bench_result *result, s24_error *err)
{
    const size_t sides = 1 + h->options->baseline_count, reps = h->options->reps;
    double errors[SIDES];
    s24_status status = warm_up(h, errors, err);
    for (size_t i = 0; status == S24_OK && i < reps; i++) {
        for (size_t side = 0; status == S24_OK && side < sides; side++) {
            status = measure(h, side, &h->times[side * reps + i], err);
        }
    }
    result->n = h->product.n;
    for (size_t side = 0; status == S24_OK && side < sides; side++) {
        s24_bench_figures *f = side ? &result->dense[side - 1] : &result->sparse;
        const double elements = (double)h->product.m * (double)h->product.k;
        const double bytes = side ? elements * h->options->baselines[side - 1].weight_bytes
                                  : (double)h->tensor->memory_bytes;
        f->seconds = median(h->times + side * reps, reps);
        f->gflops = 2e-9 * elements * (double)h->product.n / f->seconds;
        f->weight_gbps = 1e-9 * bytes / f->seconds;
        /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): warm_up sets those of all sides */
        f->max_error = errors[side];
        f->speedup = f->seconds / result->sparse.seconds;
    }
    return status;
}

/* ---------------------------------------------------------------- all n */

/* count f32 that exist in memory: what was never written would fault while it is timed. */
static float *alloc_floats(size_t rows, size_t cols, s24_error *err)
{
    size_t count, bytes;
    if (!s24_mul(rows, cols, &count) || !s24_mul(count, sizeof(float), &bytes)) {
        s24_fail(err, S24_ERR_SYSTEM, "no memory for a matrix of %zu x %zu", rows, cols);
        return NULL;
    }
    float *p = s24_alloc(bytes, err);
    if (p) {
        memset(p, 0, bytes);
    }
    return p;
}

static s24_status prepare(bench *h, size_t n, s24_error *err)
{
    h->dense = alloc_floats(h->product.m, h->product.k, err);
    h->b = h->dense ? alloc_floats(h->product.k, n, err) : NULL;
    h->c = h->b ? alloc_floats(h->product.m, n, err) : NULL;
    h->sweep = h->c ? s24_alloc(S24_BENCH_SWEEP, err) : NULL;
    h->times = h->sweep ? s24_calloc(SIDES * (size_t)h->options->reps, sizeof *h->times, err) : NULL;
    if (!h->times) {
        return S24_ERR_SYSTEM;
    }
    memset(h->sweep, 1, S24_BENCH_SWEEP);
    h->product.a = h->dense;
    h->product.b = h->b;
    h->product.c = h->c;
    s24_tensor as_it_stands = *h->tensor; /* both sides have B's rows in the order of its columns */
    as_it_stands.permutation = NULL;
    return s24_decompress(&as_it_stands, S24_F32, h->dense, err);
}

/* As often as it takes to tell its time; the last plan is kept. */
static s24_status make_plan(bench *h, s24_bench_repack *repack, s24_error *err)
{
    enum { TIMES = 3 };
    const s24_matmul_options options = {.threads = h->product.threads, .isa = h->options->isa,
                                        .compute = h->options->compute};
    double seconds[TIMES];
    s24_status status = S24_OK;
    for (int i = 0; status == S24_OK && i < TIMES; i++) {
        s24_matmul_plan_free(h->plan);
        h->plan = NULL;
        status = sweep_caches(h, err);
        const double start = s24_now();
        status = status == S24_OK ? s24_matmul_plan_new(h->tensor, &options, &h->plan, err) : status;
        seconds[i] = s24_now() - start;
    }
    if (status == S24_OK && repack) {
        *repack = (s24_bench_repack){.seconds = median(seconds, TIMES), .bytes = s24_matmul_plan_bytes(h->plan)};
    }
    return status;
}

/* The n of the options: S24_ERR_USAGE for options that cannot be. */
static s24_status check_options(const s24_tensor *tensor, const s24_bench_options *o, size_t *largest, s24_error *err)
{
    *largest = 0;
    for (size_t i = 0; i < o->count; i++) {
        if (o->n[i] == 0) {
            return s24_fail(err, S24_ERR_USAGE, "a product with 0 columns cannot be measured");
        }
        *largest = o->n[i] > *largest ? o->n[i] : *largest;
    }
    if (o->reps == 0 || o->baseline_count > S24_BENCH_BASELINES || tensor->rank != 2) {
        return s24_fail(err, S24_ERR_USAGE, "a benchmark needs a matrix, a repetition and at most %d baselines",
                        S24_BENCH_BASELINES);
    }
    return S24_OK;
}

s24_status s24_bench_run(const s24_tensor *tensor, const s24_bench_options *options, s24_bench_result *results,
                         s24_bench_repack *repack, s24_error *err)
{
    size_t largest;
    s24_status status = check_options(tensor, options, &largest, err);
    if (status != S24_OK) {
        return status;
    }
    bench h = {.tensor = tensor, .options = options};
    h.product.m = tensor->shape[0];
    h.product.k = tensor->shape[1];
    h.product.threads = options->threads ? options->threads : s24_threads_available();
    status = prepare(&h, largest, err);
    status = status == S24_OK ? make_plan(&h, repack, err) : status;
    for (size_t i = 0; status == S24_OK && i < options->count; i++) {
        h.product.n = options->n[i];
        s24_bench_normal(options->seed, h.b, h.product.k * h.product.n);
        status = run_n(&h, &results[i], err);
    }
    s24_matmul_plan_free(h.plan);
    free(h.times);
    free(h.sweep);
    free(h.c);
    free(h.b);
    free(h.dense);
    return status;
}
