/*
 * Pruning column after column with the exact inverse Hessian: SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774),
 * and group-OBS, which is the same walk with the exact cost of each of the six pairs of a group (optimal brain surgeon,
 * Hassibi and Stork 1993).
 *
 * H = L'L, L lower (s24_factor), and U the inverse of L', so that inverse(H) = U'U. Of the columns from j on, once those
 * before are settled, the inverse Hessian is U_jj' U_jj of the trailing rows and columns of U: what is needed of the
 * group at j is its 4 x 4 block T, M = T'T. To drop the pair S costs w_S' inverse(M_SS) w_S and changes the columns
 * from j on by -e' U_j: with e = T_:S inverse(M_SS) w_S, of four elements.
 *
 * U itself is needed within blocks of columns alone. All changes d so far are -E U, so that d L' = -E, and a block J to
 * which no errors belong yet has changed by d_J = -(sum over I < J of d_I L_JI') U_JJ: products with L do, and to invert
 * it as a whole is spared.
 */
#ifndef S24_LIB_ELIMINATE_H
#define S24_LIB_ELIMINATE_H

#include "calibration.h"

#define S24_PAIRS 6 /* to drop of a group; in the order in which ties are decided: the higher indices first */

extern const unsigned char s24_pair_dropped[S24_PAIRS][2]; /* the lower index first */
extern const unsigned char s24_pair_kept[S24_PAIRS][2];
extern const uint8_t s24_pair_nibble[S24_PAIRS]; /* p0 | p1 << 2 of the two kept, as positions are stored */

/* The positions [ceil(groups / 2)] of pairs [groups]. */
void s24_pairs_put(const uint8_t *pairs, size_t groups, uint8_t *positions);

/*
 * What is the same for all rows, of a group: cost = a w_p^2 + 2 b w_p w_q + c w_q^2, e_i = e[i][0] w_p + e[i][1] w_q.
 */
typedef struct s24_pair_cost {
    float a, b, c;
    float e[4][2];
} s24_pair_cost;

typedef struct s24_eliminator {
    size_t k;                           /* columns, padded to a multiple of 4 */
    float *l;                           /* [k, k], lower triangular */
    float *u;                           /* [k, S24_ELIMINATE_BLOCK]: U's blocks on the diagonal, one below the other */
    s24_pair_cost (*costs)[S24_PAIRS];  /* [k / 4] */
    bool *drop;                         /* [k]: columns whose weights are 0 from the beginning; NULL: none */
} s24_eliminator;

typedef enum s24_rule { S24_RULE_SPARSEGPT, S24_RULE_OBS } s24_rule;

/*
 * What is added to the diagonal of X'X over the mean of its live elements, into plane [columns->k].
 *
 * SparseGPT: H = 2 X'X / n, H_jj = 1 where the input is dead, plus `amount` (0.01) of the diagonal's mean, everywhere.
 * A Hessian that was given is taken as it is. (X'X over that mean is H up to a factor, which makes no difference.)
 *
 * OBS: amount H_jj^shape, over the mean of H_jj^shape. Shape 0 is a multiple of the identity: all weights are held back
 * alike; 1 is in proportion to the inputs' power, as if they had been scaled to be alike. A dead input's weight costs
 * next to nothing, so that it goes before a live one, unless it is guarded, and among dead ones the larger is kept, as it
 * is.
 */
void s24_damping_plane(const s24_columns *columns, unsigned parts, s24_rule rule, double amount, double shape, double *plane);

/*
 * More of it, for what few samples speak of. The power of an input that was active in few of the samples is known badly, and
 * of a dead one it may be that it just was not active yet; used to make up for others, such inputs cost much more than was
 * measured when their turn comes. So plane [columns->k] grows by the power of one more time that they are active: as much as
 * inputs are worth when they are (sum x^4 / sum x^2 over all inputs), times exp(-n_j / 3), n_j = (sum x^2)^2 / sum x^4, the
 * samples that an input's power is from; of dead ones, times the share of them that are to be met (Good 1953, doi
 * 10.1093/biomet/40.3-4.237): as many as are known from one sample alone. False: the samples tell nothing of this.
 */
bool s24_damping_guard(const s24_columns *columns, unsigned parts, double *plane);

/*
 * From X'X of `parts`. damping: s24_damping_plane of the same rule. In f64, or, to try things with, in f32 where that is
 * positive definite. The eliminator's planes are the caller's to free with s24_eliminator_free, also after an error.
 */
s24_status s24_eliminator_init(s24_eliminator *e, const s24_compute_env *env, const s24_columns *columns, unsigned parts,
                               s24_rule rule, const double *damping, bool rough, s24_error *err);
void s24_eliminator_free(s24_eliminator *e);

#define S24_ELIMINATE_BLOCK S24_TILE /* columns between two products: SparseGPT's lazy blocks */
#define S24_ELIMINATE_LANES 16  /* rows side by side: a vector of AVX-512 */

struct s24_solve_kernels;

size_t s24_eliminate_scratch(const s24_eliminator *e, size_t rows);

/*
 * Rows w [rows, k] become their sparse solution; pairs [rows, k / 4] are what was dropped, by its number. fixed: pairs
 * are read instead, and only the values are found. scratch: s24_eliminate_scratch floats.
 */
void s24_eliminate(const s24_eliminator *e, const struct s24_solve_kernels *kernels, const s24_blas *blas, float *w,
                   size_t rows, uint8_t *pairs, bool fixed, float *scratch);

#endif
