#include "comply.h"

#include <stdio.h>

#include "batch.h"
#include "workspace.h"

typedef struct comply_run {
    const s24_io *io;
    s24_contents *contents;
    s24_complied *each;
    void *ctx;
    s24_workspace workspace;
    uint64_t done, all; /* bytes, for progress */
} comply_run;

/* One tensor. */
typedef struct comply_job {
    comply_run *run;
    s24_entry *entry;
    s24_batches batches;
    s24_complier complier;
    size_t pieces[S24_PIECES];
    s24_compliance result;
} comply_job;

/* What is on a desk; these are piece 0 themselves. */
typedef struct comply_buffers {
    unsigned char *buffer, *scratch;
    s24_window *window;
    const unsigned char *data; /* of the batch, in the buffer or the window */
    uint64_t *broken;          /* one a panel of the batch */
} comply_buffers;

static comply_buffers *buffers_of(const comply_job *job, unsigned slot)
{
    return s24_workspace_piece(&job->run->workspace, slot, 0);
}

static s24_status take_desk(comply_job *job, unsigned slot, s24_error *err)
{
    s24_workspace *w = &job->run->workspace;
    const s24_status status = s24_workspace_reserve(w, slot, job->pieces, err);
    if (status == S24_OK) {
        *buffers_of(job, slot) = (comply_buffers){
            .buffer = s24_workspace_piece(w, slot, 1), .scratch = s24_workspace_piece(w, slot, 2),
            .broken = s24_workspace_piece(w, slot, 3), .window = s24_workspace_window(w, slot, 0)};
    }
    return status;
}

static s24_status read_batch(comply_job *job, unsigned slot, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    comply_buffers *b = buffers_of(job, slot);
    const void *rows;
    const s24_status status = s24_source_view_rows(job->entry, job->entry->axis, place.row, place.rows, 4 * place.group,
                                                   s24_place_cols(&place, job->batches.cols), b->window, b->buffer, b->scratch,
                                                   &rows, err);
    b->data = rows;
    return status;
}

static s24_status stage_read(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    comply_job *job = ctx;
    s24_status status = s24_io_stopped(job->run->io, err);
    status = status == S24_OK ? take_desk(job, slot, err) : status;
    return status == S24_OK && job->entry->in->stream ? read_batch(job, slot, batch, err) : status;
}

static const unsigned char *panel_data(const comply_job *job, const comply_buffers *b, size_t first, size_t index)
{
    return b->data + s24_batch_before(&job->batches, first, index) * job->complier.info->bytes;
}

static s24_status stage_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    comply_job *job = ctx;
    comply_buffers *b = buffers_of(job, slot);
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
    comply_run *run = job->run;
    comply_buffers *b = buffers_of(job, slot);
    s24_compliance *result = &job->result;
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
        run->done += place.rows * cols * job->complier.info->bytes;
    }
    if (run->io->progress) {
        run->io->progress(run->io->user, run->done, run->all);
    }
    return s24_window_settle(b->window, err);
}

static s24_status end_tensor(void *ctx, s24_error *err)
{
    const comply_job *job = ctx;
    return job->run->each(job->run->ctx, job->entry, job->entry->packed ? &job->result : NULL, err);
}

static s24_batches batches_of(const s24_entry *e)
{
    const s24_panels panels = s24_panels_of(&e->pruned->geometry, S24_PANEL_GROUPS);
    return s24_batches_of(&panels, e->pruned->geometry.cols, s24_info(e->dtype)->bytes,
                          s24_entry_transposed(e, e->axis) ? S24_BATCH_READ_BYTES : 0);
}

static s24_status comply_job_init(comply_job *job, s24_error *err)
{
    const s24_entry *e = job->entry;
    job->complier = s24_complier_of(e->dtype, job->run->io->isa);
    job->result = (s24_compliance){.groups = (uint64_t)e->pruned->geometry.rows * e->pruned->geometry.groups};
    job->batches = batches_of(e);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): every dtype has its s24_info */
    const size_t bytes = job->batches.elements * job->complier.info->bytes;
    job->pieces[0] = sizeof(comply_buffers);
    job->pieces[1] = bytes;
    job->pieces[2] = s24_entry_transposed(e, e->axis) ? bytes : 0;
    job->pieces[3] = job->batches.per_batch * sizeof(uint64_t);
    return s24_source_hold(e, e->axis, err);
}

static s24_status open_tensor(void *ctx, size_t number, s24_series *series, s24_error *err)
{
    static const s24_stages stages = {.read = stage_read, .work = stage_work, .commit = stage_commit, .end = end_tensor,
                                      .free = free};
    comply_run *run = ctx;
    s24_entry *e = &run->contents->entries[number];
    comply_job *job = s24_calloc(1, sizeof *job, err);
    if (!job) {
        return S24_ERR_SYSTEM;
    }
    *job = (comply_job){.run = run, .entry = e};
    const s24_status status = e->packed ? comply_job_init(job, err) : S24_OK;
    if (status != S24_OK) {
        free(job);
        return status;
    }
    /* What `each` does with a stream, rewind it for one, is not to meet the reading of the next tensor. */
    *series = (s24_series){.stages = &stages, .ctx = job, .jobs = job->batches.count, .alone = e->in->stream};
    return S24_OK;
}

s24_status s24_comply(const s24_io *io, s24_contents *contents, s24_complied *each, void *ctx, s24_error *err)
{
    comply_run run = {.io = io, .contents = contents, .each = each, .ctx = ctx};
    for (size_t i = 0; i < contents->count; i++) {
        const s24_entry *e = &contents->entries[i];
        run.all += e->packed ? e->bytes : 0;
    }
    const s24_status status = s24_workspace_run(&run.workspace, io, open_tensor, &run, contents->count, err);
    s24_workspace_free(&run.workspace);
    return status;
}

void s24_comply_message(const s24_compliance *result, char *message, size_t size)
{
    snprintf(message, size, "%u of %u elements are not zero; %llu of %llu group%s %s not 2:4", result->first.nonzero,
             result->first.elements, (unsigned long long)result->broken, (unsigned long long)result->groups,
             s24_plural(result->groups), result->broken == 1 ? "is" : "are");
}
