/* Products of matrices in plain loops: what calibration asks of a BLAS, without one. */
#ifndef S24_TESTS_PLAIN_BLAS_H
#define S24_TESTS_PLAIN_BLAS_H

#include <assert.h>
#include <stddef.h>

#include "linalg.h"

/* c = beta c + alpha a b, a row of c at a time. */
#define PRODUCT(name, real) \
    static void name(int order, int trans_a, int trans_b, int m, int n, int k, real alpha, const real *a, int lda, \
                     const real *b, int ldb, real beta, real *c, int ldc) \
    { \
        assert(order == S24_ROW_MAJOR); \
        for (int i = 0; i < m; i++) { \
            real *row = c + (size_t)i * (size_t)ldc; \
            for (int j = 0; j < n; j++) { \
                row[j] = beta == 0 ? 0 : beta * row[j]; \
            } \
            for (int l = 0; l < k; l++) { \
                const real x = alpha * (trans_a == S24_TRANSPOSED ? a[l * lda + i] : a[i * lda + l]); \
                const int step = trans_b == S24_TRANSPOSED ? ldb : 1; \
                const real *from = trans_b == S24_TRANSPOSED ? b + l : b + (size_t)l * (size_t)ldb; \
                for (int j = 0; j < n; j++) { \
                    row[j] += x * from[j * step]; \
                } \
            } \
        } \
    }

PRODUCT(plain_sgemm, float)
PRODUCT(plain_dgemm, double)

static const s24_blas plain = {"plain loops", plain_sgemm, plain_dgemm, NULL};

#endif
