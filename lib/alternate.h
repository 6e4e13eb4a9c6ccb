/*
 * A better mask for many rows at once: alternating directions (ADMM; Boyd et al. 2011, doi 10.1561/2200000016, and for
 * pruning Meng et al. 2024, arXiv 2406.07831). A dense solution u and a sparse one v are drawn together by a penalty
 * rho and a dual y:
 *
 *     u = w + (rho (v - w) - y) inverse(H + rho I)    the least error near v
 *     v = the two largest of each group of u + y / rho
 *     y = y + rho (u - v)
 *
 * so that a weight that was dropped comes back when the error asks for it often enough. Inputs are scaled to H_jj = 1.
 */
#ifndef S24_LIB_ALTERNATE_H
#define S24_LIB_ALTERNATE_H

#include "refit.h"
#include "solve_kernels.h"

/*
 * Some rounds at each of some penalties, u over-relaxed by 1.6: at a product a round, by the two halves of a factorization,
 * of which there is one a penalty. The rounds of a penalty do not settle, and should not: most groups change in each of the
 * first ones, which is how the alternatives are seen. What counts is how the penalties follow on one another. Over fourteen
 * layers of 600 to 1,024 inputs (synthetic, and a trained network's) the errors on fresh samples were, beside three rounds of
 * 0.1, 0.23 and 0.53, geometric mean:
 *
 *      rounds   factors between penalties
 *      12       3      +0.1%     four rounds of 0.06, 0.18 and 0.54
 *      12       1.5    -0.7%     two of 0.1, 0.15, 0.22, 0.33, 0.5 and 0.75
 *      24       1.5    -1.2%     four of these
 *      72       1.5    -1.5%     twelve of these
 *
 * and 1% more with 0.4 or 0.7 after 0.18, for no reason that was found. Nine where products are long, 24 where they are not.
 *
 * All of them times cbrt(mean damping / 0.04), within 0.8 and 3: the damping that was chosen tells how much inputs have to do
 * with each other, and where it is little, the penalties that do best are greater: twice to six times these for a damping
 * of 0.3 to 1.
 */
#define S24_PENALTIES 6 /* at most */
#define S24_ALTERNATION_SHORT 2048 /* columns, up to which there are 24 rounds */

typedef struct s24_alternation {
    size_t k;
    const struct s24_schedule *schedule;
    float penalty[S24_PENALTIES];
    float *scale;                   /* [k]: sqrt(H_jj) */
    float *factor[S24_PENALTIES];   /* [k, k], lower: of the scaled H + rho I, as s24_factor_f32 has it; one a penalty */
    float *inverses[S24_PENALTIES]; /* [k, S24_TILE], and its tiles */
} s24_alternation;

/* The planes are the caller's to free with s24_alternation_free, also after an error. */
s24_status s24_alternation_init(s24_alternation *a, const s24_compute_env *env, const s24_gram *gram, const double *damping,
                                s24_error *err);
void s24_alternation_free(s24_alternation *a);

/*
 * v [rows, k] and pairs [rows, k / 4] are a solution for w, and become another one, to be refitted. scratch:
 * rows (2 k + S24_TILE) floats. S24_ERR_STOPPED between two rounds.
 */
s24_status s24_alternate(const s24_alternation *a, const s24_solve_kernels *kernels, const s24_compute_env *env,
                         const float *w, float *v, size_t rows, uint8_t *pairs, float *scratch, s24_error *err);

#endif
