/*
 * The workers of a command: how many, and what is on the desk of each slot (see s24_run): memory, and windows on the input.
 * Both are kept from one tensor to the next. A model of many small tensors would otherwise get, and fault in, fresh pages
 * for each.
 */
#ifndef S24_FORMATS_WORKSPACE_H
#define S24_FORMATS_WORKSPACE_H

#include "threads.h"
#include "window.h"

#define S24_PIECES 8
#define S24_WINDOWS 2

typedef struct s24_desk {
    struct {
        void *data;
        size_t bytes;
    } pieces[S24_PIECES];
    s24_window windows[S24_WINDOWS];
} s24_desk;

/* Zeroed is empty. */
typedef struct s24_workspace {
    s24_desk *desks; /* one a slot */
    unsigned slots;
} s24_workspace;

/* Desks for so many slots. Not while somebody works at one. */
s24_status s24_workspace_open(s24_workspace *workspace, unsigned slots, s24_error *err);

/* Makes piece k of a slot at least bytes[k] long; what is in it is undefined. Whoever has the slot may call it. */
s24_status s24_workspace_reserve(s24_workspace *workspace, unsigned slot, const size_t bytes[S24_PIECES], s24_error *err);

static inline void *s24_workspace_piece(const s24_workspace *workspace, unsigned slot, unsigned piece)
{
    return workspace->desks[slot].pieces[piece].data;
}

static inline s24_window *s24_workspace_window(const s24_workspace *workspace, unsigned slot, unsigned window)
{
    return &workspace->desks[slot].windows[window];
}

/* Runs `count` series by as many workers as the caller wants, or the machine has. */
s24_status s24_workspace_run(s24_workspace *workspace, const s24_io *io, s24_series_open *open, void *ctx, size_t count,
                             s24_error *err);

/* Before the inputs that the windows look at are closed. */
void s24_workspace_free(s24_workspace *workspace);

#endif
