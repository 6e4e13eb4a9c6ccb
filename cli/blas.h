/*
 * OpenBLAS, loaded when it is first needed: the first dense side of matmul-bench. Any library with the CBLAS interface
 * serves (libblas.so.3 is whatever the system's alternatives point at); what only OpenBLAS has is used where there is
 * such a thing.
 */
#ifndef S24_CLI_BLAS_H
#define S24_CLI_BLAS_H

#include "s24.h"

/* A row of the benchmark's table. S24_ERR_SYSTEM, and what to install, when there is none. Ended by blas_close. */
s24_status blas_open(s24_bench_baseline *row, s24_error *err);
void blas_close(s24_bench_baseline *row);

/* Whether its sizes, which are ints, go that far. */
bool blas_fits(size_t m, size_t n, size_t k);

/* What calibrated pruning multiplies with: s24_io.blas. Loaded at the first call. NULL: *err says what to install. */
const s24_blas *blas_products(void *user, s24_error *err);

#endif
