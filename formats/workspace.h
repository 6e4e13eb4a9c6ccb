/*
 * The workers of a command: how many, and the memory of their slots (see s24_run), which is kept from one tensor to the
 * next. A model of many small tensors would otherwise get, and fault in, fresh pages for each.
 */
#ifndef S24_FORMATS_WORKSPACE_H
#define S24_FORMATS_WORKSPACE_H

#include "io.h"

#define S24_PIECES 6

/* Zeroed is empty. */
typedef struct s24_workspace {
    struct {
        void *data;
        size_t bytes;
    } *pieces; /* S24_PIECES of each slot */
    unsigned slots;
} s24_workspace;

/* How many workers for so many jobs: as many as the caller wants, or the machine has, but none without a job. */
unsigned s24_workers(const s24_io *io, size_t jobs);

/* Makes piece k of every slot at least bytes[k] long; what is in them is undefined. */
s24_status s24_workspace_reserve(s24_workspace *workspace, unsigned slots, const size_t bytes[S24_PIECES],
                                 s24_error *err);

static inline void *s24_workspace_piece(const s24_workspace *workspace, unsigned slot, unsigned piece)
{
    return workspace->pieces[slot * S24_PIECES + piece].data;
}

void s24_workspace_free(s24_workspace *workspace);

#endif
