/*
 * Kernels of the product of i8 weights with a B that is quantized to i8, S24_COMPUTE_I8. matmul_i8.c holds what drives
 * them and the generic ones, which are the specification: sums are exact, and so every kernel gives the same bytes.
 *
 * B is quantized and packed once, in blocks of `width` columns, K filled up with zeros to S24_I8_STEP:
 *
 *      q: [block][k / step, or what the kernel makes of that][column]      width * depth bytes a block
 */
#ifndef S24_LIB_MATMUL_I8_H
#define S24_LIB_MATMUL_I8_H

#include "matmul_kernels.h"

#define S24_I8_STEP 128
#define S24_I8_MOST ((size_t)INT32_MAX / (127 * 128)) /* kept weights of a row whose sum is an i32 whatever they are */

typedef struct s24_i8_kernel s24_i8_kernel;

typedef struct s24_i8_product {
    const s24_product *p;
    const s24_i8_kernel *kernel;
    float *scales, *divisors; /* of the columns, up to whole blocks: see matmul_i8.c */
    unsigned char *q;
    size_t depth, blocks;
} s24_i8_product;

/* The first column of a block's bytes, from k on, a multiple of S24_I8_STEP. */
unsigned char *s24_i8_block(const s24_i8_product *x, size_t block, size_t k);

/* Rows and columns of a job. */
typedef struct s24_i8_job {
    size_t row, rows;   /* at most kernel->job_rows */
    size_t block, end;
} s24_i8_job;

struct s24_i8_kernel {
    size_t width;
    size_t least;       /* how many columns it takes to be faster than the rows above it in the list */
    size_t job_rows;
    size_t (*scratch_bytes)(const s24_i8_product *x); /* NULL: none */

    /* most[j] = the largest of itself and the bits without the sign of column j, over these rows of B. */
    void (*measure)(const float *b, size_t ldb, size_t rows, size_t cols, uint32_t *most);

    /* S24_I8_STEP rows of a block; those from `rows` on and columns from `cols` on are not there, and zero. */
    void (*pack)(const float *b, size_t ldb, size_t rows, size_t cols, const float *divisors, unsigned char *to);

    /* Writes the elements of C of a job, whatever the positions are. scratch: scratch_bytes at a multiple of 64. */
    void (*multiply)(const s24_i8_product *x, const s24_i8_job *job, unsigned char *scratch);
};

/*     instruction set, kernel: the last one that suits is taken */
#define S24_I8_GENERIC(X) \
    X(GENERIC, s24_i8_generic_dot) \
    X(GENERIC, s24_i8_generic)

#if S24_X86
#define S24_I8_KERNELS(X) \
    S24_I8_GENERIC(X) \
    X(AVX512, s24_i8_avx512) \
    X(AMX, s24_i8_amx)
#else
#define S24_I8_KERNELS(X) S24_I8_GENERIC(X)
#endif

#define S24_DECLARE_I8(isa, kernel) extern const s24_i8_kernel kernel;
S24_I8_KERNELS(S24_DECLARE_I8)

/* The fastest for so many columns, up to isa. */
const s24_i8_kernel *s24_find_i8_kernel(s24_isa isa, size_t n);

/* S24_ERR_USAGE when these weights cannot be multiplied so. */
s24_status s24_i8_check(const s24_tensor *a, s24_error *err);

/* The whole product; weights that s24_i8_check takes. */
s24_status s24_i8_multiply(const s24_product *p, const s24_i8_kernel *kernel, const s24_matmul_ops *ops,
                           unsigned threads, s24_error *err);

#endif
