#include "comply.h"

#include <stdio.h>

#include "batch.h"
#include "threads.h"

/* One slot's. */
typedef struct comply_buffers {
    unsigned char *buffer, *scratch;
    s24_window window;
    const unsigned char *data; /* of the batch, in the buffer or the window */
    uint64_t *broken; /* one a panel of the batch */
} comply_buffers;

typedef struct comply_job {
    const s24_io *io;
    const s24_entry *entry;
    s24_batches batches;
    s24_complier complier;
    s24_workspace *workspace;
    comply_buffers *buffers;
    s24_compliance *result;
    uint64_t *done, all;
} comply_job;

static s24_status read_batch(comply_job *job, unsigned slot, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    comply_buffers *b = &job->buffers[slot];
    const void *rows;
    const s24_status status = s24_source_view_rows(job->entry, job->entry->axis, place.row, place.rows, 4 * place.group,
                                                   s24_place_cols(&place, job->batches.cols), &b->window, b->buffer, b->scratch,
                                                   &rows, err);
    b->data = rows;
    return status;
}

static s24_status stage_read(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    comply_job *job = ctx;
    const s24_status status = s24_io_stopped(job->io, err);
    return status == S24_OK && job->entry->in->stream ? read_batch(job, slot, batch, err) : status;
}

static const unsigned char *panel_data(const comply_job *job, const comply_buffers *b, size_t first, size_t index)
{
    return b->data + s24_batch_before(&job->batches, first, index) * job->complier.info->bytes;
}

static s24_status stage_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    comply_job *job = ctx;
    comply_buffers *b = &job->buffers[slot];
    size_t first, count;
    const s24_status status = job->entry->in->stream ? S24_OK : read_batch(job, slot, batch, err);
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        const s24_panel_place place = s24_panel_at(&job->batches.panels, i);
        b->broken[i - first] = s24_broken_groups(&job->complier, place.rows, s24_place_cols(&place, job->batches.cols),
                                                 panel_data(job, b, first, i));
    }
    return status;
}

/* Panels come in order: only the first that has a broken group is searched for it. */
static s24_status stage_commit(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    comply_job *job = ctx;
    comply_buffers *b = &job->buffers[slot];
    s24_compliance *result = job->result;
    size_t first, count;
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = 0; i < count; i++) {
        const s24_panel_place place = s24_panel_at(&job->batches.panels, first + i);
        const size_t cols = s24_place_cols(&place, job->batches.cols);
        if (b->broken[i] && result->broken == 0) {
            s24_find_broken_group(job->entry->dtype, place.rows, cols, panel_data(job, b, first, first + i),
                                  &result->first);
            result->first.row += place.row;
            result->first.group += place.group;
        }
        result->broken += b->broken[i];
        *job->done += place.rows * cols * job->complier.info->bytes;
    }
    if (job->io->progress) {
        job->io->progress(job->io->user, *job->done, job->all);
    }
    return s24_window_settle(&b->window, err);
}

static s24_status buffers_new(comply_job *job, unsigned slots, bool transposed, s24_error *err)
{
    const size_t bytes = job->batches.elements * job->complier.info->bytes;
    const size_t pieces[S24_PIECES] = {bytes, transposed ? bytes : 0, job->batches.per_batch * sizeof(uint64_t)};
    const s24_status status = s24_workspace_reserve(job->workspace, slots, pieces, err);
    job->buffers = status == S24_OK ? s24_calloc(slots, sizeof *job->buffers, err) : NULL;
    for (unsigned i = 0; job->buffers && i < slots; i++) {
        job->buffers[i] = (comply_buffers){.buffer = s24_workspace_piece(job->workspace, i, 0),
                                           .scratch = s24_workspace_piece(job->workspace, i, 1),
                                           .broken = s24_workspace_piece(job->workspace, i, 2)};
    }
    return job->buffers ? S24_OK : S24_ERR_SYSTEM;
}

s24_status s24_comply(const s24_io *io, const s24_entry *e, s24_workspace *workspace, uint64_t *done, uint64_t all,
                      s24_compliance *result, s24_error *err)
{
    static const s24_stages stages = {.read = stage_read, .work = stage_work, .commit = stage_commit};
    const bool transposed = s24_entry_transposed(e, e->axis);
    const s24_panels panels = s24_panels_of(&e->geometry, S24_PANEL_GROUPS);
    comply_job job = {.io = io, .entry = e, .workspace = workspace, .result = result, .done = done, .all = all,
                      .complier = s24_complier_of(e->dtype, io->isa)};
    *result = (s24_compliance){.groups = (uint64_t)e->geometry.rows * e->geometry.groups};
    job.batches = s24_batches_of(&panels, e->geometry.cols, job.complier.info->bytes, transposed);
    const unsigned workers = s24_workers(io, job.batches.count);
    s24_status status = s24_source_hold(e, e->axis, err);
    status = status == S24_OK ? buffers_new(&job, s24_slots(workers), transposed, err) : status;
    status = status == S24_OK ? s24_run(&stages, &job, job.batches.count, workers, err) : status;
    for (unsigned i = 0; job.buffers && i < s24_slots(workers); i++) {
        s24_window_close(&job.buffers[i].window);
    }
    free(job.buffers);
    return status;
}

void s24_comply_message(const s24_compliance *result, char *message, size_t size)
{
    snprintf(message, size, "%u of %u elements are not zero; %llu of %llu groups %s not 2:4", result->first.nonzero,
             result->first.elements, (unsigned long long)result->broken, (unsigned long long)result->groups,
             result->broken == 1 ? "is" : "are");
}
