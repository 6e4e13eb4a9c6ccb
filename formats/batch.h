/*
 * Batches: the panels that one job takes. One, where rows lie in a file as they are needed; about 16 MiB of them where
 * rows are transposed, so that the runs that are read or written stay long.
 */
#ifndef S24_FORMATS_BATCH_H
#define S24_FORMATS_BATCH_H

#include "panel.h"

#define S24_TRANSPOSED_BATCH_BYTES (16u << 20)

typedef struct s24_batches {
    s24_panels panels;
    size_t cols;            /* of the tensor */
    size_t per_batch;       /* panels */
    size_t count;           /* batches */
    size_t panel_elements;  /* of the largest panel, dense, padding included */
    size_t elements;        /* of the largest batch */
} s24_batches;

/* bytes: of a dense element. */
s24_batches s24_batches_of(const s24_panels *panels, size_t cols, unsigned bytes, bool transposed);

/* What batch number `index` covers: panels [*first, *first + *count), whole rows unless it is a single panel. */
s24_panel_place s24_batch_at(const s24_batches *batches, size_t index, size_t *first, size_t *count);

/* Dense elements of the batch that begins with panel `first` before its panel `index`. */
size_t s24_batch_before(const s24_batches *batches, size_t first, size_t index);

#endif
