#include "workspace.h"

#include <string.h>

#include "threads.h"

unsigned s24_workers(const s24_io *io, size_t jobs)
{
    const unsigned wanted = io->threads ? io->threads : s24_threads_available();
    return jobs == 0 ? 1 : wanted < jobs ? wanted : (unsigned)jobs;
}

static s24_status add_slots(s24_workspace *w, unsigned slots, s24_error *err)
{
    void *pieces = realloc(w->pieces, slots * S24_PIECES * sizeof *w->pieces);
    if (!pieces) {
        return s24_fail_memory(err, slots * S24_PIECES * sizeof *w->pieces);
    }
    w->pieces = pieces;
    memset(w->pieces + w->slots * S24_PIECES, 0, (slots - w->slots) * S24_PIECES * sizeof *w->pieces);
    w->slots = slots;
    return S24_OK;
}

s24_status s24_workspace_reserve(s24_workspace *w, unsigned slots, const size_t bytes[S24_PIECES], s24_error *err)
{
    s24_status status = slots > w->slots ? add_slots(w, slots, err) : S24_OK;
    for (unsigned i = 0; i < slots * S24_PIECES && status == S24_OK; i++) {
        const size_t wanted = bytes[i % S24_PIECES];
        if (wanted > w->pieces[i].bytes) { /* free before new: the old content is not needed, its memory may be */
            free(w->pieces[i].data);
            w->pieces[i].data = s24_alloc(wanted, err);
            w->pieces[i].bytes = w->pieces[i].data ? wanted : 0;
            status = w->pieces[i].data ? S24_OK : S24_ERR_SYSTEM;
        }
    }
    return status;
}

void s24_workspace_free(s24_workspace *w)
{
    for (unsigned i = 0; i < w->slots * S24_PIECES; i++) {
        free(w->pieces[i].data);
    }
    free(w->pieces);
    *w = (s24_workspace){0};
}
