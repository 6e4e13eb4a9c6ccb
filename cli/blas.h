/*
 * OpenBLAS, loaded when it is first needed: the dense side of matmul-bench. Any library with the CBLAS interface serves
 * (libblas.so.3 is whatever the system's alternatives point at); what only OpenBLAS has is used where it is there.
 */
#ifndef S24_CLI_BLAS_H
#define S24_CLI_BLAS_H

#include "s24.h"

typedef struct blas {
    void *handle; /* of dlopen */
    char name[64]; /* "OpenBLAS 0.3.21"; of others the file's name */
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                  float beta, float *y, int incy);
    void (*set_threads)(int threads); /* NULL: the library has no such thing */
} blas;

/* S24_ERR_SYSTEM, and what to install, when there is none. Closed with blas_close. */
s24_status blas_open(blas *b, s24_error *err);
void blas_close(blas *b);

/* As a row of the benchmark's table; `b` must outlive it. m, n, k and strides must fit an int: see blas_fits. */
s24_bench_baseline blas_baseline(blas *b);
bool blas_fits(size_t m, size_t n, size_t k);

#endif
