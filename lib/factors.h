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
 * may have inputs for each of its taps. Behind each run come S24_FACTORS_BEHIND zeros more, so that kernels read whole
 * vectors.
 */
typedef struct s24_factors {
    size_t rows, cols, taps, stride; /* stride: of runs */
    double *a, *c; /* [taps, stride]; c NULL: 0 */
    double *b;     /* [rows / taps], with c */
    float *near_a, *near_c, *near_b; /* nearly the same: see s24_row_factors; NULL: there are none */
} s24_factors;

#define S24_FACTORS_BEHIND 64

/* All 0, for the caller to fill in a, and with `sums` c and b. */
s24_status s24_factors_init(s24_factors *factors, size_t rows, size_t cols, size_t taps, bool sums, s24_error *err);

/* Of what was filled in, which is finite and not negative. */
void s24_factors_approach(s24_factors *factors);

void s24_factors_free(s24_factors *factors);

/* From element col of a row on. */
s24_row_factors s24_factors_at(const s24_factors *factors, size_t row, size_t col);

#endif
