/*
 * Factorizations of large matrices over a BLAS's products. Every product is one call of one thread on a tile whose size
 * depends on nothing but the matrix; threads share the tiles. So results do not depend on the number of threads, and
 * no LAPACK is needed.
 */
#ifndef S24_LIB_LINALG_H
#define S24_LIB_LINALG_H

#include <signal.h>

#include "s24.h"

enum { S24_ROW_MAJOR = 101, S24_PLAIN = 111, S24_TRANSPOSED = 112 }; /* of CBLAS */

/* With what and how long one computes; shared by all of a solution. */
typedef struct s24_compute_env {
    const s24_blas *blas;
    unsigned threads;                    /* at least 1 */
    const volatile sig_atomic_t *cancel; /* not 0: stop, with S24_ERR_STOPPED; may be NULL */
} s24_compute_env;

s24_status s24_cancelled(const s24_compute_env *env, s24_error *err); /* S24_OK, or S24_ERR_STOPPED */

/*
 * A = L L', A [n, n] row-major and symmetric, of which the lower triangle is read and becomes L. What is above is left.
 * S24_ERR_DATA: not positive definite.
 */
s24_status s24_cholesky(const s24_compute_env *env, double *a, size_t n, s24_error *err);

/* The inverse of the lower triangle, in place. What is above it is left, or 0. */
s24_status s24_invert_lower(const s24_compute_env *env, double *l, size_t n, s24_error *err);

/* The same for small ones, n <= some hundreds, lda >= n, without a BLAS. False: not positive definite. */
bool s24_small_cholesky(double *a, size_t n, size_t lda);
void s24_small_invert_lower(double *l, size_t n, size_t ldl);

#endif
