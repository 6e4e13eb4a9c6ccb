/*
 * Rows of a tensor in a file. The library works on rows along the pruned axis; a file holds elements in C or Fortran
 * order. Where both agree a range of rows is one run of bytes. Otherwise it is cut into boxes (a range of one index,
 * all of the later ones), a box is read as runs of bytes in the file's order, and transposed in memory.
 */
#ifndef S24_FORMATS_ROWS_H
#define S24_FORMATS_ROWS_H

#include "error.h"
#include "panel.h"

typedef struct s24_rows {
    int rank, axis;
    const size_t *shape;
    bool fortran;
    unsigned bytes; /* an element */
} s24_rows;

/* Moves n elements from, or to, the file's element `first` (in the order of the file). */
typedef s24_status s24_rows_move(void *ctx, uint64_t first, size_t n, void *data, s24_error *err);

/* Whether rows lie behind one another in the file. */
bool s24_rows_contiguous(const s24_rows *rows);

/*
 * Reads, or writes, elements [col, col + cols) of rows [row, row + count), contiguous in `data`, by calls of `move`.
 * cols is whole rows unless count is 1. scratch has room for count * cols elements where the rows are not contiguous,
 * otherwise it may be NULL.
 */
s24_status s24_rows_read(const s24_rows *rows, size_t row, size_t count, size_t col, size_t cols, void *data,
                         void *scratch, s24_rows_move *move, void *ctx, s24_error *err);
s24_status s24_rows_write(const s24_rows *rows, size_t row, size_t count, size_t col, size_t cols, const void *data,
                          void *scratch, s24_rows_move *move, void *ctx, s24_error *err);

#endif
