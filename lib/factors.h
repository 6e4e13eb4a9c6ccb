/*
 * Scores that are |w| times a factor of the element's column, or of its column and its row: Wanda (Sun et al. 2023, arXiv
 * 2306.11695) and RIA (Zhang et al. 2024, ICLR). What is known of the columns is the same for all panels of a tensor, so
 * that these prune as fast as magnitude does.
 */
#ifndef S24_LIB_FACTORS_H
#define S24_LIB_FACTORS_H

#include "kernels.h"

/*
 * Of a tensor's elements. Row r takes run r % taps of the columns' factors, and number r / taps of the rows': a convolution
 * may have inputs for each of its taps. Short runs are there again and again, so that rows whose factors are those of their
 * columns alone can be pruned as one long row. Behind the last run come S24_FACTORS_BEHIND zeros more, so that kernels read
 * whole vectors.
 */
typedef struct s24_factors {
    size_t rows, cols, taps;
    size_t runs;   /* a multiple of taps */
    double *a, *c; /* [runs, cols]; c NULL: 0 */
    double *b;     /* [rows / taps], with c */
    float *near_a, *near_c, *near_b; /* nearly the same: see s24_row_factors; NULL: there are none */
} s24_factors;

#define S24_FACTORS_BEHIND 64

/* All 0, for the caller to fill in the first `taps` runs of a, and with `sums` of c, and b. */
s24_status s24_factors_init(s24_factors *factors, size_t rows, size_t cols, size_t taps, bool sums, s24_error *err);

/* The other runs, and what is near them: of what was filled in, which is finite and not negative. */
void s24_factors_complete(s24_factors *factors);

void s24_factors_free(s24_factors *factors);

/* Of so many rows of `cols` elements from `row` on: how many have their factors behind one another. */
size_t s24_factors_joined(const s24_factors *factors, size_t row, size_t cols, size_t rows);

/* From element col of a row on. */
s24_row_factors s24_factors_at(const s24_factors *factors, size_t row, size_t col);

#endif
