/*
 * Batches: the panels that one job takes. One, where rows lie in a file as they are needed; some MiB of them where rows are
 * transposed, so that the runs that are read or written stay long. 8192 x 8192 f32 on two threads: reading by 16 or 8 MiB
 * is no faster than by 4, and takes the more memory; writing by 16 is as fast as by 8, and by 4 takes 1.3 times as long.
 */
#ifndef S24_FORMATS_BATCH_H
#define S24_FORMATS_BATCH_H

#include "panel.h"

#define S24_BATCH_READ_BYTES (4u << 20)
#define S24_BATCH_WRITE_BYTES (8u << 20)

typedef struct s24_batches {
    s24_panels panels;
    size_t cols;            /* of the tensor */
    size_t per_batch;       /* panels */
    size_t count;           /* batches */
    size_t panel_elements;  /* of the largest panel, dense, padding included */
    size_t elements;        /* of the largest batch */
} s24_batches;

/* bytes: of a dense element. most: of the dense elements of a batch of several panels; 0: no rows are transposed. */
s24_batches s24_batches_of(const s24_panels *panels, size_t cols, unsigned bytes, size_t most);

/* What batch number `index` covers: panels [*first, *first + *count), whole rows unless it is a single panel. */
s24_panel_place s24_batch_at(const s24_batches *batches, size_t index, size_t *first, size_t *count);

/* Dense elements of the batch that begins with panel `first` before its panel `index`. */
size_t s24_batch_before(const s24_batches *batches, size_t first, size_t index);

#endif
