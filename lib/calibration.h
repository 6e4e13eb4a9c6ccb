/* What is known of a layer's inputs, as solvers read it: s24_calibration of s24.h from inside. */
#ifndef S24_LIB_CALIBRATION_H
#define S24_LIB_CALIBRATION_H

#include "linalg.h"

enum { S24_FIT, S24_HELD_OUT, S24_PARTS }; /* the parts of the samples: the first three quarters, the last */

#define S24_CHUNK_ROWS 512 /* samples a product: sums of so many f32 products, which are then added in f64 */

struct s24_calibration {
    size_t k;
    s24_blas blas;
    bool has_blas;
    unsigned threads;
    uint64_t total;              /* samples promised */
    uint64_t rows[S24_PARTS];    /* samples of each part */
    uint64_t seen[S24_PARTS];
    double *products[S24_PARTS]; /* X'X, [k, k], the lower triangle; NULL: not known */
    double *squares[S24_PARTS];  /* ||X_j||^2 [k], summed in f64; NULL: not known */
    double *fourths[S24_PARTS];  /* sum of X_ij^4 over i, [k]; NULL: not known, as where no samples came */
    float *buffer;               /* [S24_CHUNK_ROWS, k]: samples not yet in the products */
    size_t buffered;
};

/*
 * S24_OK, or S24_ERR_USAGE: neither norms nor all the samples that were promised have come. S24_ERR_DATA: samples so
 * large or small that f32 does not hold their products.
 */
s24_status s24_calibration_complete(const s24_calibration *cal, s24_error *err);

/* Element (i, j) of X'X over parts. */
static inline double s24_calibration_product(const s24_calibration *cal, unsigned parts, size_t i, size_t j)
{
    const size_t at = i >= j ? i * cal->k + j : j * cal->k + i;
    const double fit = parts & 1u << S24_FIT ? cal->products[S24_FIT][at] : 0;
    return parts & 1u << S24_HELD_OUT && cal->products[S24_HELD_OUT] ? fit + cal->products[S24_HELD_OUT][at] : fit;
}

/* The columns of a matrix that is solved, padded to whole groups, and which input each of them takes. */
typedef struct s24_columns {
    const s24_calibration *cal;
    size_t k;       /* a multiple of 4 */
    int32_t *input; /* [k]; -1: padding */
    bool in_order;  /* column j takes input j */
} s24_columns;

static inline double s24_columns_product(const s24_columns *c, unsigned parts, size_t i, size_t j)
{
    const int32_t a = c->input[i], b = c->input[j];
    return a < 0 || b < 0 ? 0 : s24_calibration_product(c->cal, parts, (size_t)a, (size_t)b);
}

/* Elements (i, j) .. (i, j + n - 1) of X'X over parts, as s24_columns_product has them; j + n - 1 <= i. */
void s24_columns_products(const s24_columns *c, unsigned parts, size_t i, size_t j, size_t n, double *products);

/*
 * Visits the lower triangle of a [k, k] in blocks that fit the caches, by threads: each block (rows [i, i + m), columns
 * [j, j + n)) by one call. Blocks of the diagonal go beyond it.
 */
#define S24_FILL_BLOCK 64
typedef void s24_fill_block(void *ctx, size_t i, size_t m, size_t j, size_t n);
s24_status s24_fill_triangle(const s24_compute_env *env, size_t k, s24_fill_block *fill, void *ctx, s24_error *err);

/* ||X_j||^2 of column j's input, summed in f64, over parts (a bit each). */
static inline double s24_columns_square(const s24_columns *c, unsigned parts, size_t j)
{
    double sum = 0;
    for (int i = 0; i < S24_PARTS && c->input[j] >= 0; i++) {
        sum += parts >> i & 1 && c->cal->squares[i] ? c->cal->squares[i][c->input[j]] : 0;
    }
    return sum;
}

#endif
