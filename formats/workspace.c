#include "workspace.h"

#include <string.h>

s24_status s24_workspace_open(s24_workspace *w, unsigned slots, s24_error *err)
{
    if (slots <= w->slots) {
        return S24_OK;
    }
    s24_desk *desks = realloc(w->desks, slots * sizeof *desks);
    if (!desks) {
        return s24_fail_memory(err, slots * sizeof *desks);
    }
    memset(desks + w->slots, 0, (slots - w->slots) * sizeof *desks);
    w->desks = desks;
    w->slots = slots;
    return S24_OK;
}

s24_status s24_workspace_reserve(s24_workspace *w, unsigned slot, const size_t bytes[S24_PIECES], s24_error *err)
{
    s24_desk *desk = &w->desks[slot];
    for (unsigned i = 0; i < S24_PIECES; i++) {
        if (bytes[i] > desk->pieces[i].bytes) { /* free before new: the old content is not needed, its memory may be */
            free(desk->pieces[i].data);
            desk->pieces[i].data = s24_alloc(bytes[i], err);
            desk->pieces[i].bytes = desk->pieces[i].data ? bytes[i] : 0;
            if (!desk->pieces[i].data) {
                return S24_ERR_SYSTEM;
            }
        }
    }
    return S24_OK;
}

s24_status s24_workspace_run(s24_workspace *w, const s24_io *io, s24_series_open *open, void *ctx, size_t count, s24_error *err)
{
    const unsigned workers = io->threads ? io->threads : s24_threads_available();
    const s24_status status = s24_workspace_open(w, s24_slots(workers), err);
    return status == S24_OK ? s24_run_series(open, ctx, count, workers, err) : status;
}

void s24_workspace_free(s24_workspace *w)
{
    for (unsigned i = 0; i < w->slots; i++) {
        for (unsigned k = 0; k < S24_PIECES; k++) {
            free(w->desks[i].pieces[k].data);
        }
        for (unsigned k = 0; k < S24_WINDOWS; k++) {
            s24_window_close(&w->desks[i].windows[k]);
        }
    }
    free(w->desks);
    *w = (s24_workspace){0};
}
