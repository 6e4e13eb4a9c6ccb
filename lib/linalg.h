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
 * A tile's edge. Products of 128 x 128 x (what is done already) run near the BLAS's full speed. The work without it, in
 * plain loops of one thread, is the tiles on the diagonal, each factored and inverted: 128^2 n operations, 0.1% of n^3 at
 * n = 4096, which loops that are twenty times slower make 2%. With 256 it was four times that.
 */
#define S24_TILE 128

/*
 * A = L'L, L lower: Cholesky's factorization from the last row to the first, as it comes of what is eliminated from
 * the first to the last. A [n, n] is row-major and symmetric; its lower triangle is read and becomes L, what is above
 * is left. inverses [n, S24_TILE]: of L's tiles on the diagonal, one below the other, with zeros above their diagonals.
 * S24_ERR_DATA: not positive definite.
 *
 * In f32 the tiles on the diagonal are factored and inverted in f64 all the same.
 */
s24_status s24_factor(const s24_compute_env *env, double *a, size_t n, float *inverses, s24_error *err);
s24_status s24_factor_f32(const s24_compute_env *env, float *a, size_t n, float *inverses, s24_error *err);

/* x [rows, n] becomes x inverse(L'L), of what s24_factor_f32 gave; by one thread. scratch: [rows, S24_TILE]. */
void s24_solve_factored(const s24_blas *blas, const float *l, const float *inverses, size_t n, float *x, size_t rows,
                        float *scratch);

/* A tile a [S24_TILE, S24_TILE], of which n x n are used: the same without a BLAS. False: not positive definite. */
bool s24_small_factor(double *a, size_t n);
/* Of its lower triangle, in place. What is above becomes 0. */
void s24_small_invert(double *l, size_t n);

/* Where number `job` of the lower triangle's places lies, row after row: (0, 0), (1, 0), (1, 1), (2, 0), ... */
void s24_triangle_place(size_t job, size_t *i, size_t *j);

#endif
