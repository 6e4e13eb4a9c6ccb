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

/*
 * square [n, n], symmetric, = X'X, X [n, n] lower, with zeros in its upper tiles' diagonal ones: of an inverted factor
 * the inverse of A.
 */
s24_status s24_square_lower(const s24_compute_env *env, double *x, size_t n, float *square, s24_error *err);

/* The same in f32. */
s24_status s24_cholesky_f32(const s24_compute_env *env, float *a, size_t n, s24_error *err);
s24_status s24_invert_lower_f32(const s24_compute_env *env, float *l, size_t n, s24_error *err);
s24_status s24_square_lower_f32(const s24_compute_env *env, float *x, size_t n, float *square, s24_error *err);

/* Without a BLAS, for n up to 256, lda >= n; what is above the diagonal is left. False: not positive definite. */
bool s24_small_cholesky(double *a, size_t n, size_t lda);
void s24_small_invert_lower(double *l, size_t n, size_t ldl);
bool s24_small_cholesky_f32(float *a, size_t n, size_t lda);
void s24_small_invert_lower_f32(float *l, size_t n, size_t ldl);

/* Where number `job` of the lower triangle's places lies, row after row: (0, 0), (1, 0), (1, 1), (2, 0), ... */
void s24_triangle_place(size_t job, size_t *i, size_t *j);

#endif
