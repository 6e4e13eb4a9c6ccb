/* Elements of an entry by rows, whole and converted, some at a time: what a tensor is prepared from. */
#ifndef S24_FORMATS_READING_H
#define S24_FORMATS_READING_H

#include "prepare.h"

/* A matrix as the solver gets it: canonical rows. */
typedef struct s24_matrix {
    const s24_preparation *how;
    const s24_entry *entry;
    size_t rows, cols;
    const int32_t *order; /* of the columns, where the entry has them in another one than its inputs; or NULL */
    size_t taps;   /* rows that have their inputs together: of a convolution that is calibrated by unfolded ones; or 1 */
} s24_matrix;

#define S24_READING_ELEMENTS ((size_t)1 << 20) /* read and converted at a time, or one row */

/* Elements of an entry, rows of its last (or pruned) axis, in chunks. */
typedef struct s24_reading {
    const s24_entry *entry;
    int axis;
    size_t rows, cols;
    size_t chunk;          /* rows at a time */
    void *data, *scratch;
} s24_reading;

/* On failure, too, the caller ends it. */
s24_status s24_reading_begin(s24_reading *r, const s24_entry *entry, int axis, size_t rows, size_t cols, s24_error *err);
void s24_reading_end(s24_reading *r);

/* Rows [row, row + *n) into r->data, finite; *n 0: there are no more. */
s24_status s24_reading_next(s24_reading *r, size_t row, size_t *n, s24_error *err);

/* Rows [row, row + n) that were read elsewhere: S24_ERR_DATA if an element is not finite. */
s24_status s24_reading_check(const s24_entry *entry, const void *data, size_t row, size_t n, size_t cols, s24_error *err);

/* n elements as `to`; an f64 beyond f32 is refused. */
s24_status s24_convert_elements(const s24_entry *entry, const void *from, s24_dtype to, void *data, size_t n,
                                s24_error *err);

/* Rows of inputs in the columns' order, in place; row: room for one. bytes: of an element. */
void s24_reorder_inputs(const s24_matrix *m, unsigned bytes, void *rows, size_t n, unsigned char *row);

/* Rows of activations. */
size_t s24_samples_of(const s24_entry *activations);

#endif
