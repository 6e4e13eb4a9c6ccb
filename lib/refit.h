/*
 * Fitting the kept weights to a mask: per row min over v, which is zero outside the mask, of (w - v)' H (w - v), that
 * is H_SS v_S = (H w)_S. Exactly by a Cholesky factorization a row where K is small; else by conjugate gradients for
 * many rows at once, so that a step is one product of rows x K by K x K.
 */
#ifndef S24_LIB_REFIT_H
#define S24_LIB_REFIT_H

#include "eliminate.h"
#include "solve_kernels.h"

/* X'X over the mean of its diagonal's live elements, in f32. */
typedef struct s24_gram {
    size_t k;      /* padded to a multiple of 4 with inputs that are dead */
    float *h;      /* [k, k], symmetric */
} s24_gram;

s24_status s24_gram_init(s24_gram *g, const s24_compute_env *env, const s24_columns *columns, unsigned parts, s24_error *err);
void s24_gram_free(s24_gram *g);

/* Floats that s24_refit needs for so many rows. */
size_t s24_refit_scratch(const s24_gram *g, size_t rows);

/*
 * v [rows, k] is a solution to begin with, zero where the pairs [rows, k / 4] were dropped; it becomes the best one for
 * w [rows, k] with damping [k] on H's diagonal, up to `steps` steps, or two that make a row's error less
 * by `enough` of it at most; it is never worse than it was. S24_ERR_STOPPED between two steps.
 */
s24_status s24_refit(const s24_gram *g, const double *damping, const s24_solve_kernels *kernels,
                     const s24_compute_env *env, const float *w, float *v, size_t rows, const uint8_t *pairs,
                     unsigned steps, double enough, float *scratch, s24_error *err);

/* Of each row d' H d, without damping. scratch: [rows, k]. */
void s24_quadratics(const s24_gram *g, const s24_solve_kernels *kernels, const s24_blas *blas, const float *d, size_t rows,
                    float *scratch, double *quadratics);

#endif
