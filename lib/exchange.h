/*
 * The best exchange of a pair, group after group, with all other kept weights of the row fitted anew: a local optimum
 * of the exact error over masks that differ in one group, and its exact refit. For rows of some hundreds of elements.
 *
 * A row's state is H, swept (Goodnight 1979, doi 10.1080/00031305.1979.10482685) on the kept columns S, and H w beside
 * it:
 *
 *                 S                        rest
 *     S      -inverse(H_SS)        inverse(H_SS) H_S,rest       v_S
 *     rest         .          H_rest - H_rest,S inv(H_SS) H_S,rest   what is left of H w
 *
 * A group's 4 x 4 block and its 4 elements beside it are all that the cost of its six pairs depends on.
 */
#ifndef S24_LIB_EXCHANGE_H
#define S24_LIB_EXCHANGE_H

#include "refit.h"
#include "solve_kernels.h"

#define S24_EXCHANGE_COLUMNS 512 /* at most: the state of a row, 2 MiB, is in a core's second cache, or near it */

typedef struct s24_exchange {
    const s24_solve_kernels *kernels;
    size_t k;
    double *h; /* [k, k], the lower triangle: damped */
} s24_exchange;

s24_status s24_exchange_init(s24_exchange *x, const s24_solve_kernels *kernels, const s24_gram *gram, const double *damping,
                             s24_error *err);
void s24_exchange_free(s24_exchange *x);

/* Doubles that s24_exchange_row needs. */
size_t s24_exchange_scratch(size_t k);

/*
 * pairs [k / 4] are what is dropped of w [k] to begin with; at most `passes` over all groups exchange them where the
 * error becomes less. v [k] becomes the solution of least error for the pairs. passes 0: the refit alone.
 */
void s24_exchange_row(const s24_exchange *x, const float *w, float *v, uint8_t *pairs, unsigned passes, double *scratch);

#endif
