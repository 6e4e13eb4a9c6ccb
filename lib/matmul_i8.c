/*
 * C = A B in whole numbers: weights are i8 as they are stored, and every column j of B is quantized for itself,
 *
 *      s_j = max_k |b_kj| / 127        q_kj = b_kj / s_j, to nearest, ties to even        C_ij = s_j * sum_k w_ik q_kj
 *
 * in f32, each division and the last product rounded once; the sum is exact in i32 and rounded once to f32. q is within
 * -127..127 (a quotient beyond, which subnormal s_j can give, becomes the nearer end), and 0 where s_j is 0. Nothing here
 * depends on an order, so that every instruction set and number of threads gives the same bytes.
 *
 * The sums of a row's kept weights are below 127 * 128 times their number: rows of more than S24_I8_MOST are refused. An
 * infinity or NaN has no place in a column of such numbers, and is refused, too, whether or not a weight meets it.
 *
 * Weights with a scale for every row are multiplied as they are stored, and matmul.c multiplies C. With a scale for a group of
 * columns, each group has a sum of its own; C_ij is then s_j times the sum of these in f32, times their scales, in order.
 * AMX's tiles, which sum up more, do not do that.
 */
#include "matmul_i8.h"

#include <assert.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "panel.h"
#include "threads.h"

#define INLINE static inline __attribute__((always_inline))

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---------------------------------------------------------------- generic kernels: the specification */

static void generic_measure(const float *b, size_t ldb, size_t rows, size_t cols, uint32_t *most)
{
    for (size_t k = 0; k < rows; k++) {
        for (size_t j = 0; j < cols; j++) {
            uint32_t bits;
            memcpy(&bits, b + k * ldb + j, sizeof bits);
            bits &= 0x7fffffff;
            most[j] = bits > most[j] ? bits : most[j];
        }
    }
}

static int8_t quantize(float b, float divisor)
{
    const float magic = 0x1.8p23f; /* the last bit of a sum with it counts 1: the addition rounds */
    float x = b / divisor;
    x = x > 127 ? 127 : x < -127 ? -127 : x;
    return (int8_t)(x + magic - magic);
}

/* [k][width] */
INLINE void generic_pack(const size_t width, const float *b, size_t ldb, size_t rows, size_t cols,
                         const float *divisors, unsigned char *to)
{
    memset(to, 0, S24_I8_STEP * width);
    for (size_t k = 0; k < rows; k++, to += width) {
        for (size_t j = 0; j < cols; j++) {
            to[j] = (unsigned char)quantize(b[k * ldb + j], divisors[j]);
        }
    }
}

INLINE void generic_row(const size_t width, const s24_i8_product *x, size_t row, size_t block)
{
    const s24_product *p = x->p;
    const s24_geometry *g = &p->a->geometry;
    const int8_t *values = (const int8_t *)p->a->values + row * g->row_values;
    const uint8_t *positions = p->a->positions + row * g->row_positions;
    const int8_t *q = (const int8_t *)s24_i8_block(x, block, 0);
    const size_t col = block * width, count = 2 * g->groups, step = p->a->scale_group ? p->a->scale_group / 2 : count;
    const float *scales = p->a->scale_group ? p->a->scales + row * s24_row_scales(g->cols, p->a->scale_group) : NULL;
    float total[16] = {0};
    assert(step > 0 || count == 0);
    for (size_t begin = 0; begin < count; begin += step) {
        int32_t sum[16] = {0};
        for (size_t i = begin; i < min_size(begin + step, count); i++) {
            const size_t k = i / 2 * 4 + ((unsigned)positions[i / 4] >> i % 4 * 2 & 3);
            for (size_t j = 0; j < width; j++) {
                sum[j] += values[i] * q[k * width + j];
            }
        }
        for (size_t j = 0; j < width; j++) {
            total[j] = scales ? total[j] + (float)sum[j] * scales[begin / step] : (float)sum[j];
        }
    }
    for (size_t j = 0; j < width && col + j < p->n; j++) {
        p->c[row * p->ldc + col + j] = total[j] * x->scales[col + j];
    }
}

#define GENERIC(name, width_, least_) \
    static void pack_##name(const float *b, size_t ldb, size_t rows, size_t cols, const float *divisors, \
                            unsigned char *to) \
    { \
        generic_pack(width_, b, ldb, rows, cols, divisors, to); \
    } \
    static void multiply_##name(const s24_i8_product *x, const s24_i8_job *job, unsigned char *scratch) \
    { \
        (void)scratch; \
        for (size_t block = job->block; block < job->end; block++) { \
            for (size_t r = 0; r < job->rows; r++) { \
                generic_row(width_, x, job->row + r, block); \
            } \
        } \
    } \
    const s24_i8_kernel s24_i8_##name = { \
        .width = width_, .least = least_, .job_rows = 16, \
        .measure = generic_measure, .pack = pack_##name, .multiply = multiply_##name, \
    };

GENERIC(generic_dot, 1, 1)
GENERIC(generic, 16, 4)

const s24_i8_kernel *s24_find_i8_kernel(s24_isa isa, size_t n)
{
    static const struct {
        s24_isa isa;
        const s24_i8_kernel *kernel;
    } rows[] = {
#define X(isa_, kernel_) {S24_ISA_##isa_, &kernel_},
        S24_I8_KERNELS(X)
#undef X
    };
    const s24_i8_kernel *best = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        best = rows[i].isa <= isa && n >= rows[i].kernel->least ? rows[i].kernel : best;
    }
    return best;
}

/* ---------------------------------------------------------------- one product */

#define PIECE_K (4 * S24_I8_STEP) /* of B, for a job of packing */
#define JOBS_PER_THREAD 4

typedef struct product {
    s24_i8_product x;
    const s24_matmul_ops *ops;
    uint32_t *most;              /* [n]: bits of the largest magnitude of a column */
    size_t measured_cols;        /* of a job of measuring */
    size_t job_rows, row_jobs;   /* job = job of columns * row_jobs + row / job_rows */
    size_t job_blocks, col_jobs;
    unsigned char *buffer;       /* of x.q and the scratches, which begin at multiples of 64 */
    unsigned char *scratch;
    size_t scratch_bytes;        /* of one worker */
} product;

unsigned char *s24_i8_block(const s24_i8_product *x, size_t block, size_t k)
{
    return x->q + (block * x->depth + k) * x->kernel->width;
}

static s24_status measure_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const product *o = ctx;
    const s24_product *p = o->x.p;
    const size_t col = job * o->measured_cols;
    (void)worker, (void)err;
    o->x.kernel->measure(p->b + col, p->ldb, p->a->geometry.cols, min_size(o->measured_cols, p->n - col),
                         o->most + col);
    return S24_OK;
}

/* A divisor of 1 makes 0 of what is so small that its scale is 0. */
static s24_status find_scales(product *o, s24_error *err)
{
    for (size_t j = 0; j < o->x.p->n; j++) {
        float most;
        if (o->most[j] >= 0x7f800000) {
            return s24_fail(err, S24_ERR_DATA, "column %zu of the dense matrix holds an infinity or NaN, and cannot be "
                            "quantized to i8; compute in f32 instead", j);
        }
        memcpy(&most, &o->most[j], sizeof most);
        o->x.scales[j] = most / 127;
        o->x.divisors[j] = o->x.scales[j] > 0 ? o->x.scales[j] : 1;
    }
    return S24_OK;
}

static s24_status pack_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const s24_i8_product *x = &((const product *)ctx)->x;
    const s24_product *p = x->p;
    const size_t rows = p->a->geometry.cols, width = x->kernel->width;
    (void)worker, (void)err;
    for (size_t k = job * PIECE_K; k < min_size((job + 1) * PIECE_K, x->depth); k += S24_I8_STEP) {
        for (size_t block = 0; block < x->blocks; block++) {
            const size_t col = block * width;
            x->kernel->pack(p->b + k * p->ldb + col, p->ldb, min_size(S24_I8_STEP, rows - k),
                            min_size(width, p->n - col), x->divisors + col, s24_i8_block(x, block, k));
        }
    }
    return S24_OK;
}

static s24_status multiply_job(void *ctx, unsigned worker, size_t number, s24_error *err)
{
    const product *o = ctx;
    const s24_product *p = o->x.p;
    const size_t row = number % o->row_jobs * o->job_rows, block = number / o->row_jobs * o->job_blocks;
    const s24_i8_job job = {.row = row, .rows = min_size(o->job_rows, p->a->geometry.rows - row),
                            .block = block, .end = min_size(block + o->job_blocks, o->x.blocks)};
    s24_status status = S24_OK;
    if (block == 0 && !p->checked) {
        status = s24_check_rows(p->a, o->ops, job.row, job.rows, err);
    }
    if (status == S24_OK) {
        o->x.kernel->multiply(&o->x, &job, o->scratch + worker * o->scratch_bytes);
    }
    return status;
}

/* Small enough for threads to stay busy, and of two blocks of columns, that AMX takes together. */
static void plan_jobs(product *o, unsigned threads)
{
    const size_t rows = o->x.p->a->geometry.rows, wanted = threads > 1 ? JOBS_PER_THREAD * (size_t)threads : 1;
    const size_t even = ceil_div(ceil_div(rows, wanted), 32) * 32;
    o->job_rows = min_size(o->x.kernel->job_rows, even);
    o->row_jobs = ceil_div(rows, o->job_rows);
    const size_t pairs = ceil_div(o->x.blocks, 2), parts = min_size(pairs, ceil_div(wanted, o->row_jobs));
    o->job_blocks = 2 * ceil_div(pairs, parts);
    o->col_jobs = ceil_div(o->x.blocks, o->job_blocks);
    o->measured_cols = ceil_div(ceil_div(o->x.p->n, threads), 64) * 64;
}

/* s24_malloc rather than s24_alloc: the pages of the last product come back. */
static s24_status alloc_buffers(product *o, unsigned threads, s24_error *err)
{
    const size_t cols = o->x.blocks * o->x.kernel->width;
    size_t bytes, all;
    o->scratch_bytes = o->x.kernel->scratch_bytes ? ceil_div(o->x.kernel->scratch_bytes(&o->x), 64) * 64 : 0;
    if (!s24_mul(cols, o->x.depth, &bytes) || !s24_mul(threads, o->scratch_bytes, &all) ||
        !s24_add(all, bytes, &all) || !s24_add(all, 63, &all)) {
        return s24_fail(err, S24_ERR_USAGE, "a product over %zu elements is too long", o->x.depth);
    }
    o->most = s24_calloc(cols, sizeof *o->most, err);
    o->x.scales = o->most ? s24_calloc(cols, sizeof *o->x.scales, err) : NULL;
    o->x.divisors = o->x.scales ? s24_calloc(cols, sizeof *o->x.divisors, err) : NULL;
    o->buffer = o->x.divisors ? s24_malloc(all, err) : NULL;
    if (!o->buffer) {
        return S24_ERR_SYSTEM;
    }
    o->x.q = (unsigned char *)(((uintptr_t)o->buffer + 63) & ~(uintptr_t)63);
    o->scratch = o->x.q + bytes;
    return S24_OK;
}

static s24_status run(product *o, unsigned threads, s24_error *err)
{
    static const s24_stages measure = {.work = measure_job}, pack = {.work = pack_job};
    static const s24_stages multiply = {.work = multiply_job};
    /* Measuring and packing a few columns takes less time than starting a thread. */
    const unsigned some = o->x.p->n < 256 ? 1 : threads;
    s24_status status = s24_run(&measure, o, ceil_div(o->x.p->n, o->measured_cols), some, err);
    status = status == S24_OK ? find_scales(o, err) : status;
    status = status == S24_OK ? s24_run(&pack, o, ceil_div(o->x.depth, PIECE_K), some, err) : status;
    return status == S24_OK ? s24_run(&multiply, o, o->row_jobs * o->col_jobs, threads, err) : status;
}

s24_status s24_i8_check(const s24_tensor *a, s24_error *err)
{
    if (a->dtype != S24_I8) {
        return s24_fail(err, S24_ERR_USAGE, "a product in i8 wants weights of i8, and these are %s; compute in f32 or "
                        "bf16", s24_dtype_name(a->dtype));
    }
    if (a->geometry.row_values > S24_I8_MOST && a->scale_group == 0) {
        return s24_fail(err, S24_ERR_USAGE, "a row keeps %zu weights, and their sum in i8 is exact up to %zu; compute in "
                        "f32", a->geometry.row_values, S24_I8_MOST);
    }
    return S24_OK;
}

s24_status s24_i8_multiply(const s24_product *p, const s24_i8_kernel *kernel, const s24_matmul_ops *ops,
                           unsigned threads, s24_error *err)
{
    product o = {.x = {.p = p, .kernel = kernel, .depth = ceil_div(p->a->geometry.cols, S24_I8_STEP) * S24_I8_STEP,
                       .blocks = ceil_div(p->n, kernel->width)},
                 .ops = ops};
    plan_jobs(&o, threads);
    s24_status status = alloc_buffers(&o, threads, err);
    status = status == S24_OK ? run(&o, threads, err) : status;
    free(o.buffer);
    free(o.x.divisors);
    free(o.x.scales);
    free(o.most);
    return status;
}
