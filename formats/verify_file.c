/* Integrity of a .s24: every byte. 2:4 compliance of a dense file: every group of the tensors that prune would select. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "comply.h"
#include "piece.h"
#include "plain.h"
#include "select.h"
#include "threads.h"

/* One slot's; messages and faults one a panel of the batch. */
typedef struct verify_buffers {
    unsigned char *planes;
    char (*messages)[480]; /* "" where nothing is wrong */
    s24_fault *faults;
} verify_buffers;

typedef struct verify_run {
    const s24_io *io;
    const s24_verify_request *request;
    s24_source *source;
    s24_workspace workspace;
    size_t faults;
    uint64_t done, all; /* bytes, for progress */
} verify_run;

/* A pruned tensor of a .s24. */
typedef struct verify_job {
    verify_run *run;
    const s24_entry *entry;
    s24_batches batches;
    size_t planes_bytes;
    verify_buffers *buffers;
} verify_job;

/* In a checkpoint, its file is named. */
static void tell(verify_run *run, const s24_input *in, s24_verify_fault *fault)
{
    run->faults++;
    fault->file = run->source->checkpoint ? in->name : NULL;
    if (run->request->fault) {
        run->request->fault(run->request->user, fault);
    }
}

/* A fault without a row and a group. */
static void tell_damage(verify_run *run, const s24_input *in, const char *tensor, const char *message)
{
    tell(run, in, &(s24_verify_fault){.tensor = tensor, .message = message});
}

static void show_progress(verify_run *run, uint64_t bytes)
{
    run->done += bytes;
    if (run->io->progress) {
        run->io->progress(run->io->user, run->done, run->all);
    }
}

/* ---------------------------------------------------------------- pruned tensors */

static s24_status verify_packed(verify_job *job, verify_buffers *b, size_t first, size_t index, s24_error *err)
{
    const s24_panel_place place = s24_panel_at(&job->batches.panels, index);
    const s24_plain_place p = s24_plain_panel_place(job->entry, &place);
    const size_t slot = index - first;
    bool damaged;
    const s24_status status = s24_plain_read_panel(job->entry, index, b->planes, &damaged, err);
    b->messages[slot][0] = '\0';
    b->faults[slot] = (s24_fault){.kind = S24_FAULT_NONE};
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
    }
    if (damaged) {
        snprintf(b->messages[slot], sizeof b->messages[slot], "rows %zu to %zu do not match their check: damaged",
                 place.row, place.row + place.rows - 1);
    } else if (!s24_plain_canonical(job->entry, &place, b->planes, b->planes + p.values_bytes, &b->faults[slot])) {
        snprintf(b->messages[slot], sizeof b->messages[slot], "positions or padding are not as they must be");
    }
    return S24_OK;
}

static s24_status stage_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    verify_job *job = ctx;
    size_t first, count;
    s24_status status = s24_io_stopped(job->run->io, err);
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        status = verify_packed(job, &job->buffers[slot], first, i, err);
    }
    return status;
}

static s24_status stage_commit(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    verify_job *job = ctx;
    const verify_buffers *b = &job->buffers[slot];
    size_t first, count;
    (void)err;
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = 0; i < count; i++) {
        const s24_panel_place place = s24_panel_at(&job->batches.panels, first + i);
        if (b->messages[i][0]) {
            tell(job->run, job->entry->in,
                 &(s24_verify_fault){.tensor = job->entry->name, .has_place = b->faults[i].kind != S24_FAULT_NONE,
                                     .row = place.row + b->faults[i].row, .group = place.group + b->faults[i].col / 4,
                                     .message = b->messages[i]});
        }
        show_progress(job->run, place.rows * 2 * place.groups * s24_info(job->entry->stored)->bytes);
    }
    return S24_OK;
}

static s24_status buffers_new(verify_job *job, unsigned slots, s24_error *err)
{
    s24_workspace *workspace = &job->run->workspace;
    const size_t panels = job->batches.per_batch;
    const size_t pieces[S24_PIECES] = {job->planes_bytes, panels * sizeof *job->buffers->messages,
                                       panels * sizeof *job->buffers->faults};
    const s24_status status = s24_workspace_reserve(workspace, slots, pieces, err);
    job->buffers = status == S24_OK ? s24_calloc(slots, sizeof *job->buffers, err) : NULL;
    for (unsigned i = 0; job->buffers && i < slots; i++) {
        job->buffers[i] = (verify_buffers){.planes = s24_workspace_piece(workspace, i, 0),
                                           .messages = s24_workspace_piece(workspace, i, 1),
                                           .faults = s24_workspace_piece(workspace, i, 2)};
    }
    return job->buffers ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status verify_pruned(verify_run *run, const s24_entry *e, s24_error *err)
{
    static const s24_stages stages = {.work = stage_work, .commit = stage_commit};
    const s24_panels panels = s24_plain_panels(s24_plain_of(e->source), e);
    verify_job job = {.run = run, .entry = e};
    job.batches = s24_batches_of(&panels, e->geometry.cols, s24_info(e->dtype)->bytes, false);
    job.planes_bytes = s24_batch_planes_bytes(&job.batches, s24_info(e->stored)->bytes);
    const unsigned workers = s24_workers(run->io, job.batches.count);
    s24_status status = buffers_new(&job, s24_slots(workers), err);
    status = status == S24_OK ? s24_run(&stages, &job, job.batches.count, workers, err) : status;
    free(job.buffers);
    return status;
}

/* A carried tensor of a .s24. */
typedef struct carried_job {
    verify_run *run;
    const s24_entry *entry;
    s24_piece *pieces; /* one a slot */
} carried_job;

static s24_status carried_work(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    carried_job *job = ctx;
    s24_piece *piece = &job->pieces[slot];
    const s24_status status = s24_plain_read_carried(job->entry, panel, piece->data, &piece->n, &piece->damaged, err);
    return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
}

static s24_status carried_commit(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    carried_job *job = ctx;
    const s24_piece *piece = &job->pieces[slot];
    const uint64_t at = (uint64_t)panel * s24_plain_of(job->entry->source)->panel_bytes;
    (void)err;
    if (piece->damaged) {
        char message[128];
        snprintf(message, sizeof message, "bytes %llu to %llu do not match their check: damaged", (unsigned long long)at,
                 (unsigned long long)(at + piece->n - 1));
        tell_damage(job->run, job->entry->in, job->entry->name, message);
    }
    show_progress(job->run, piece->n);
    return S24_OK;
}

static s24_status verify_carried(verify_run *run, const s24_entry *e, s24_error *err)
{
    static const s24_stages stages = {.work = carried_work, .commit = carried_commit};
    const s24_plain *plain = s24_plain_of(e->source);
    const size_t panels = s24_plain_carried_panels(plain, e);
    const unsigned workers = s24_workers(run->io, panels);
    carried_job job = {.run = run, .entry = e, .pieces = s24_pieces_new(s24_slots(workers), plain->panel_bytes, err)};
    const s24_status status = job.pieces ? s24_run(&stages, &job, panels, workers, err) : S24_ERR_SYSTEM;
    s24_pieces_free(job.pieces);
    return status;
}

/* Damage of a file as a whole is a fault, too, not an error of verifying. */
static s24_status as_fault(verify_run *run, const s24_input *in, s24_status status, const s24_error *error,
                           s24_error *err)
{
    if (status == S24_ERR_DATA) {
        tell_damage(run, in, NULL, error->message);
        return S24_OK;
    }
    if (status != S24_OK && err) {
        *err = *error;
        s24_fail_prefix(err, status, "%s: ", in->name);
    }
    return status;
}

/* One .s24 file. */
static s24_status verify_s24(verify_run *run, s24_source *file, s24_error *err)
{
    s24_plain *plain = s24_plain_of(file);
    s24_status status = S24_OK;
    s24_error error;
    plain->lenient = true; /* go on after a fault: name them all */
    for (size_t i = 0; i < file->contents.count && status == S24_OK; i++) {
        const s24_entry *e = &file->contents.entries[i];
        status = as_fault(run, file->in, s24_plain_begin(e, &error), &error, err);
        if (status != S24_OK || !plain->checks) {
            break; /* a pipe that ended */
        }
        if (plain->checks_damaged) {
            tell_damage(run, file->in, e->name, "its checks are damaged");
        }
        status = e->packed ? verify_pruned(run, e, err) : verify_carried(run, e, err);
    }
    plain->lenient = false;
    return status == S24_OK ? as_fault(run, file->in, s24_plain_end(file, &error), &error, err) : status;
}

/* ---------------------------------------------------------------- dense tensors */

/* One line a tensor, however many groups are broken. */
static void tell_dense(verify_run *run, const s24_entry *e, const s24_compliance *found)
{
    char message[160];
    s24_comply_message(found, message, sizeof message);
    tell(run, e->in, &(s24_verify_fault){.tensor = e->name, .has_place = true, .row = found->first.row,
                                         .group = found->first.group, .broken_groups = found->broken,
                                         .groups = found->groups, .message = message});
}

static s24_status verify_model(verify_run *run, s24_error *err)
{
    const s24_verify_request *q = run->request;
    s24_contents *c = &run->source->contents;
    size_t selected = 0;
    s24_status status = s24_select(run->source, &q->selection, S24_SAME, err);
    s24_fail_prefix(err, status, "%s: ", run->source->in->name);
    for (size_t i = 0; i < c->count; i++) {
        run->all += c->entries[i].packed ? c->entries[i].bytes : 0;
        selected += c->entries[i].packed;
    }
    for (size_t i = 0; i < c->count && status == S24_OK; i++) {
        const s24_entry *e = &c->entries[i];
        s24_compliance found;
        if (!e->packed) {
            if (q->skipped) {
                q->skipped(q->user, e->name, e->reason ? e->reason : "");
            }
            continue;
        }
        status = s24_comply(run->io, e, &run->workspace, &run->done, run->all, &found, err);
        if (status == S24_OK && found.broken) {
            tell_dense(run, e, &found);
        }
    }
    for (size_t i = 0; i < s24_source_files(run->source) && status == S24_OK; i++) {
        s24_source *file = s24_source_file(run->source, i);
        status = s24_source_expect_end(file, err);
        s24_fail_prefix(err, status, "%s: ", file->in->name);
    }
    if (status == S24_OK && selected == 0) {
        return s24_fail(err, S24_ERR_NOTHING, "%s: no tensor is eligible; s24 inspect says why", run->source->in->name);
    }
    return status;
}

/* ---------------------------------------------------------------- the file */

/*
 * A .s24 whose header cannot be read is a damaged .s24: a failed check. What is no known file is an error, and so is one
 * that is not there, or that a newer s24 wrote (errno says so).
 */
static s24_status judge_header(verify_run *run, s24_status status, const s24_error *error, s24_error *err)
{
    if (status == S24_ERR_DATA && error->sys_errno == 0 && run->source && run->source->format == &s24_format_s24) {
        return as_fault(run, run->source->in, status, error, err);
    }
    if (err) {
        *err = *error;
        s24_fail_prefix(err, status, "%s: ", s24_input_shown(run->request->input));
    }
    return status;
}

s24_status s24_verify_file(const s24_io *io, const s24_verify_request *q, s24_error *err)
{
    verify_run run = {.io = io, .request = q};
    s24_error error;
    s24_status status = s24_source_find(&run.source, io, q->input, &q->read, &error);
    status = status == S24_OK ? s24_source_parse(run.source, &error) : status;
    if (status != S24_OK) {
        status = judge_header(&run, status, &error, err);
    } else if (run.source->format == &s24_format_s24) {
        for (size_t i = 0; i < run.source->contents.count; i++) {
            const s24_entry *e = &run.source->contents.entries[i];
            run.all += e->packed ? e->geometry.values_bytes : e->bytes;
        }
        for (size_t i = 0; i < s24_source_files(run.source) && status == S24_OK; i++) {
            status = verify_s24(&run, s24_source_file(run.source, i), err);
        }
    } else {
        status = verify_model(&run, err);
    }
    s24_workspace_free(&run.workspace);
    s24_source_close(run.source);
    if (status == S24_OK && run.faults) {
        return s24_fail(err, S24_ERR_CHECK, "%s: %zu fault%s", s24_input_shown(q->input),
                        run.faults, run.faults == 1 ? "" : "s");
    }
    return status;
}
