/*
 * Writing tensors in a sparse layout of two of four: what the layouts have in common. A tensor's elements come in order
 * and are compressed as they come. Its values go straight to their plane; what says where they stood belongs to the
 * plane behind them, which of a file is written by position, and of a stream waits in a spool until the values are out.
 */
#ifndef S24_FORMATS_SPARSE_H
#define S24_FORMATS_SPARSE_H

#include "layout.h"

typedef struct s24_sparse s24_sparse;

/* What a layout is. Its planes lie behind one another: any that are known beforehand, the values, the positions. */
typedef struct s24_sparse_kind {
    /* Appends an entry's planes to `stored`. */
    s24_status (*planes)(const s24_entry *entry, s24_contents *stored, s24_error *err);
    size_t plane_count;
    const char *mark_key, *mark_value; /* what __metadata__ says of a file with such tensors; NULL: nothing */

    /* Before the first group: what lies before the values, and room for the positions. */
    s24_status (*begin)(s24_sparse *sparse, s24_error *err);
    /* Nibbles (i0 | i1 << 2) of the groups that come next, counted through the tensor from sparse->group on. */
    s24_status (*positions)(s24_sparse *sparse, const uint8_t *nibbles, size_t n, s24_error *err);
    s24_status (*end)(s24_sparse *sparse, s24_error *err); /* after the last group; NULL: nothing to do */
} s24_sparse_kind;

/* The state of a sink. */
struct s24_sparse {
    const s24_sparse_kind *kind;
    s24_output *out;
    s24_contents stored;
    size_t *first;           /* of each planned entry its first stored one */
    s24_spool spool;         /* of a stream: the positions' plane */

    /* Of the tensor that is being written. */
    const s24_entry *entry;
    const s24_entry *planes; /* plane_count of them */
    size_t row_groups, group; /* a row; the next one, counted through the tensor */
    unsigned char part[32];  /* a group that is not complete */
    size_t part_bytes;
    unsigned char *values;   /* not written yet */
    size_t values_bytes;
    uint64_t values_at;      /* where they go */
    unsigned char *pending;  /* the layout's own: positions not written yet */
    size_t pending_bytes;
    uint64_t pending_at;
};

/* The functions of a format's row that need to know only the kind. */
s24_status s24_sparse_expand(const s24_sparse_kind *kind, const s24_contents *plan, s24_contents *stored,
                             s24_error *err);
s24_status s24_sparse_create(const s24_sparse_kind *kind, s24_sink *sink, s24_error *err);
s24_status s24_sparse_write(s24_sink *sink, size_t entry, size_t first, size_t n, const void *data, s24_error *err);
s24_status s24_sparse_finish(s24_sink *sink, s24_error *err);
void s24_sparse_abandon(s24_sink *sink);

/* n bytes of the positions' plane, from byte `at` of it on. */
s24_status s24_sparse_put(s24_sparse *sparse, uint64_t at, const void *data, size_t n, s24_error *err);

/* "rank 4: NAME holds matrices only" for any rank that is not 2, otherwise NULL; NAME is a string literal. */
#define S24_SPARSE_RANK(rank, NAME) \
    ((rank) == 2 ? NULL : (rank) == 0 ? "rank 0: " NAME " holds matrices only" \
     : (rank) == 1 ? "rank 1: " NAME " holds matrices only" : (rank) == 3 ? "rank 3: " NAME " holds matrices only" \
     : (rank) == 4 ? "rank 4: " NAME " holds matrices only" : (rank) == 5 ? "rank 5: " NAME " holds matrices only" \
     : "rank above 5: " NAME " holds matrices only")

#endif
