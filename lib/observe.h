/*
 * Errors of a layer's output without its K x K products X'X, which are for those who solve: of some rows of W, and of what
 * was pruned of them, the outputs themselves. A product with R rows takes R / K of what X'X does.
 */
#ifndef S24_LIB_OBSERVE_H
#define S24_LIB_OBSERVE_H

#include "linalg.h"

/* Planes of rows behind one another, in the inputs' order: P_0 and so on, [rows, inputs] each. */
typedef struct s24_observed {
    const s24_blas *blas;
    size_t inputs, rows;
    const float *planes;
} s24_observed;

/* sums[p] += ||X P_p'||_F^2 for the first `count` planes; x [n, inputs]. scratch: [n, count * rows]. */
void s24_observe_samples(const s24_observed *o, size_t count, const float *x, size_t n, float *scratch, double *sums);

/*
 * sums[p] += what rows [first, first + n) of H = X'X add to tr(P_p H P_p'), by its lower triangle; h [n, inputs] loses its
 * upper one. scratch: [count * rows, n].
 */
void s24_observe_products(const s24_observed *o, size_t count, float *h, size_t first, size_t n, float *scratch,
                          double *sums);

#endif
