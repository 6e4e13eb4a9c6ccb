/*
 * Sparse layouts of other tools, in safetensors files: a tensor is stored as several, its planes.
 *
 *     sparse-24-bitmask   M.weight   M.shape, M.compressed, M.bitmask                  compressed-tensors, two of four
 *     sparse-bitmask      M.weight   M.shape, M.compressed, M.bitmask, M.row_offsets   the same, any number
 *     cutlass             NAME       NAME.packed, NAME.meta                            what PyTorch hands to CUTLASS
 *
 * They are read as the dense tensors that they stand for. Writing: bitmask.c and cutlass.c.
 */
#ifndef S24_FORMATS_LAYOUT_H
#define S24_FORMATS_LAYOUT_H

#include "format.h"

#define S24_LAYOUT_ADVICE "save the model dense, with the tool that wrote it"

/* In __metadata__ of a file with tensors in CUTLASS's layout, whose names alone say too little. */
#define S24_CUTLASS_KEY "semi_structured"
#define S24_CUTLASS_VALUE "cutlass"

#define S24_BITMASK_WEIGHT ".weight" /* how the names of tensors end that a bitmask stands for */

/*
 * Replaces in source->contents each complete set of planes by one entry with a layout, where the plane of values stood,
 * and holds the data of streams that have such sets: all of them will be read by position. Sets that are complete, but
 * contradict themselves, are S24_ERR_DATA; what is no complete set stays as it is. To be called before any data are
 * read; again when more entries have come, of the same file or others.
 */
s24_status s24_layout_apply(s24_source *source, s24_error *err);

/*
 * All data of a stream, whose header has been read, can be read again and again. Where they end, it must end, too: nobody else
 * will see that. Of a file nothing is to do.
 */
s24_status s24_contents_hold(const s24_contents *contents, s24_input *in, s24_error *err);

/* Takes CUTLASS's mark out of the metadata, unless some plane is left that it may mean. */
void s24_layout_unmark(s24_contents *contents);

/* What the readers rely on: planes as they stand in entry->planes. */
enum { S24_BITMASK_SHAPE, S24_BITMASK_VALUES, S24_BITMASK_BITS, S24_BITMASK_OFFSETS };
enum { S24_CUTLASS_VALUES, S24_CUTLASS_META };

s24_status s24_layout_read_bitmask24(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err);
s24_status s24_layout_read_bitmask(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err);
s24_status s24_layout_read_cutlass(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err);

/*
 * The metadata of CUTLASS: a matrix of words, as many rows as the tensor has, each with a nibble (i0 | i1 << 2) a
 * group, the first lowest: four groups of 16-bit elements, or eight of 8-bit ones. It is stored reordered in bands of
 * 32 (16) rows: a band's part of a pair of columns lies together, 2 x 32 (2 x 16) words, 128 bytes either way.
 *
 *     stored: | pair 0: band 0, band 1, ... | pair 1: band 0, band 1, ... | ...
 *
 * After reorder_meta of tools/util/include/cutlass/util/host_reorder.h in CUTLASS, stored as its
 * ColumnMajorInterleaved<2>.
 */
typedef struct s24_cutlass {
    size_t rows, words;     /* of the tensor; a row */
    unsigned word_bytes;    /* 2 or 4 */
    unsigned groups;        /* a word: 4 or 8 */
    unsigned band;          /* rows: 32 or 16 */
} s24_cutlass;

#define S24_CUTLASS_PIECE 128 /* bytes of one pair of columns in one band */

/* Of a matrix of whole bands and pairs; element_bytes: 2 or 1. */
static inline s24_cutlass s24_cutlass_of(size_t rows, size_t cols, unsigned element_bytes)
{
    const unsigned groups = element_bytes == 2 ? 4 : 8;
    return (s24_cutlass){.rows = rows, .words = cols / (4 * groups), .word_bytes = groups / 2, .groups = groups,
                         .band = 128 / groups};
}

/* Whether there is such a matrix: whole bands, and the columns that the hardware's instruction takes (two pairs). */
static inline bool s24_cutlass_fits(size_t rows, size_t cols, unsigned element_bytes)
{
    const s24_cutlass c = s24_cutlass_of(rows, cols, element_bytes);
    return rows % c.band == 0 && cols % (16 * c.groups) == 0;
}

/* Which word of its piece the metadata of `row` are, in column `word`. */
static inline size_t s24_cutlass_in_piece(const s24_cutlass *c, size_t row, size_t word)
{
    size_t r = row % 8 * (c->band / 8) + row % c->band / 8, side = word % 2;
    if (r % 2 != side) { /* the off-diagonal words of every 2 x 2 change places */
        r = side ? r + 1 : r - 1;
        side = !side;
    }
    return 2 * r + side;
}

/* The first byte of a piece in the plane. */
static inline uint64_t s24_cutlass_piece(const s24_cutlass *c, size_t band, size_t pair)
{
    return ((uint64_t)pair * (c->rows / c->band) + band) * S24_CUTLASS_PIECE;
}

#endif
