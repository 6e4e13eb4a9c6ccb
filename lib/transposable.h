/*
 * Transposable masks: in every 4 x 4 block two elements a row and two a column are kept, so that a matrix and its
 * transpose are both 2:4 (Hubara et al. 2021, arXiv 2102.08124). A block has 90 such patterns: the best of them is found
 * exactly.
 *
 *      row 0   x x . .      a pattern: a pair of columns for each row, so that each column is in two pairs
 *      row 1   x . x .
 *      row 2   . x . x
 *      row 3   . . x x
 */
#ifndef S24_LIB_TRANSPOSABLE_H
#define S24_LIB_TRANSPOSABLE_H

#include "dtype.h"
#include "kernels.h"

/*
 * Patterns are numbered in the order of their nibbles: row 0's first, p0 | p1 << 2 as in s24_tensor, 4 8 9 C D E. Sums
 * are f64, ((a + b) + (c + d)) + ((e + f) + (g + h)) over the kept of rows 0 to 3 in ascending positions.
 *
 * The best pattern keeps the most scores that are not finite; among those it has the greatest sum of the finite ones, and
 * among those the lowest number. Padding scores 0: of patterns that are equally good, a low number has it pruned.
 */
#define S24_PATTERNS 90

extern const uint8_t s24_pair_nibbles[6]; /* 4 8 9 C D E */

/*
 * How the rows of a tensor make blocks: four consecutive places of the axis before the pruned one (of axis 1, where the
 * first is pruned): output channels of a convolution, tap by tap; rows of each matrix of a stack. Rows are those of
 * s24_geometry: (outer * partner + place) * step + inner. What is left at the end of the partner axis, or of a row, is
 * padded: at most two a row and at most two a column are kept there, of a row's tail perhaps fewer than two.
 */
typedef struct s24_block_rows {
    size_t rows, cols;
    size_t partner; /* the length of that axis; rows of a matrix */
    size_t step;    /* rows from one of its places to the next; 1 in a matrix */
} s24_block_rows;

s24_block_rows s24_block_rows_of(const s24_geometry *geometry, int rank, const size_t *shape, int axis);

/*
 * Where scores come from: |x| of elements of `dtype`. `get` returns row `row`, which is read until the next call for the
 * same buffer; buffer has room for a row, or is NULL where `buffered` is false. It is called by several threads.
 */
typedef struct s24_score_rows {
    const void *(*get)(const void *ctx, size_t row, void *buffer);
    const void *ctx;
    s24_dtype dtype;
    bool buffered;
} s24_score_rows;

/* positions: [rows, ceil(G / 2)] as in s24_tensor; G is ceil(cols / 4). threads: at least 1. */
s24_status s24_transposable_positions(const s24_block_rows *blocks, const s24_score_rows *scores, s24_isa isa,
                                      unsigned threads, uint8_t *positions, s24_error *err);

/* The same for a matrix of scores in memory, rows behind one another: |w| as f32, or any score that is a number. */
s24_status s24_transposable_matrix(s24_dtype dtype, const void *scores, size_t rows, size_t cols, s24_isa isa,
                                   unsigned threads, uint8_t *positions, s24_error *err);

#endif
