/*
 * Between plain .s24 files and archives: panels are copied as they are, each against its check, and the header is the same
 * bytes. Nothing is unpacked, so nothing can differ.
 */
#include "repack.h"

#include <string.h>

#include "archive.h"
#include "batch.h"
#include "delivery.h"
#include "shared.h"

typedef struct repack_run {
    const s24_io *io;
    s24_workspace workspace;
    uint64_t done, all;       /* bytes of planes, for progress */
    s24_target *target;       /* of the file at hand, and its tensors */
    const s24_task *tasks;
    const s24_source *ended;  /* the last file whose end was checked */
} repack_run;

/* One tensor, pruned or carried. */
typedef struct repack_job {
    repack_run *run;
    const s24_entry *entry, *planned;
    s24_checks checks;
    size_t pieces[S24_PIECES];
} repack_job;

/* What is on a desk. */
enum { DATA, LENGTH };

static s24_status copy_work(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    const repack_job *job = ctx;
    const s24_entry *e = job->entry;
    s24_workspace *w = &job->run->workspace;
    bool damaged;
    s24_status status = s24_io_stopped(job->run->io, err);
    status = status == S24_OK ? s24_workspace_reserve(w, slot, job->pieces, err) : status;
    if (status != S24_OK) {
        return status;
    }
    void *data = s24_workspace_piece(w, slot, DATA);
    size_t *n = s24_workspace_piece(w, slot, LENGTH);
    status = e->packed ? s24_plain_read_panel(e, &job->checks, panel, data, &damaged, err)
                       : s24_plain_read_carried(e, &job->checks, panel, data, n, &damaged, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: %s%s", e->in->name, e->name, *e->name ? ": " : "");
    }
    return s24_plain_writer_code(job->run->target->writer, job->planned, panel, data, job->checks.of_panel[panel], err);
}

static void show_progress(repack_run *run, uint64_t bytes)
{
    run->done += bytes;
    if (run->io->progress) {
        run->io->progress(run->io->user, run->done, run->all);
    }
}

static s24_status copy_commit(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    const repack_job *job = ctx;
    const s24_workspace *w = &job->run->workspace;
    s24_plain_writer *writer = job->run->target->writer;
    const void *data = s24_workspace_piece(w, slot, DATA);
    const size_t *n = s24_workspace_piece(w, slot, LENGTH);
    const uint64_t check = job->checks.of_panel[panel];
    const s24_status status = job->entry->packed
        ? s24_plain_writer_panel(writer, job->planned, panel, data, check, err)
        : s24_plain_writer_carried(writer, panel, data, *n, check, err);
    show_progress(job->run, job->pieces[DATA]);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(job->run->target));
}

static s24_status begin_tensor(void *ctx, s24_error *err)
{
    const repack_job *job = ctx;
    const s24_status status = s24_plain_writer_begin(job->run->target->writer, job->planned, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(job->run->target));
}

static s24_status end_tensor(void *ctx, s24_error *err)
{
    const repack_job *job = ctx;
    const s24_status status = s24_plain_writer_end(job->run->target->writer, job->planned, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(job->run->target));
}

static void free_job(void *ctx)
{
    repack_job *job = ctx;
    s24_checks_free(&job->checks);
    free(job);
}

static size_t largest_panel(const s24_plain *plain, const s24_entry *e)
{
    if (!e->packed) {
        return s24_plain_carried_most(plain, e);
    }
    const s24_panels panels = s24_plain_panels(plain, e);
    return s24_plain_panel_bytes(e, &panels);
}

static s24_status open_tensor(void *ctx, size_t number, s24_series *series, s24_error *err)
{
    static const s24_stages stages = {.work = copy_work, .commit = copy_commit, .begin = begin_tensor, .end = end_tensor,
                                      .free = free_job};
    repack_run *run = ctx;
    const s24_task *task = &run->tasks[number];
    const s24_entry *e = task->entry;
    const s24_plain *plain = s24_plain_of(e->source);
    repack_job *job = s24_calloc(1, sizeof *job, err);
    if (!job) {
        return S24_ERR_SYSTEM;
    }
    *job = (repack_job){.run = run, .entry = e, .planned = s24_target_entry(run->target, task->planned),
                        .pieces[DATA] = largest_panel(plain, e), .pieces[LENGTH] = sizeof(size_t)};
    const s24_status status = s24_plain_begin(e, &job->checks, err);
    if (status != S24_OK) {
        free(job);
        return s24_fail_prefix(err, status, "%s: ", e->in->name);
    }
    if (e->packed && e->permuted) { /* as the planned one, with which it shares that, writes it */
        e->pruned->permutation = job->checks.permutation;
        job->checks.permutation = NULL;
    }
    *series = (s24_series){.stages = &stages, .ctx = job, .jobs = s24_plain_panel_count(plain, e), .alone = e->in->stream};
    return S24_OK;
}

/* ---------------------------------------------------------------- files */

static s24_status plan_entry(void *ctx, const s24_entry *e, s24_contents *plan, s24_error *err)
{
    (void)ctx;
    s24_entry *copy = s24_contents_add_like(plan, e, e->dtype, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    copy->packed = e->packed;
    copy->permuted = e->permuted;
    copy->stored = e->stored;
    copy->scaled = e->scaled;
    copy->scale_group = e->scale_group;
    copy->axis = e->axis;
    copy->pruned = e->pruned;
    if (copy->pruned) {
        copy->pruned->owners++;
    }
    copy->method = s24_shared_keep(e->method);
    copy->reason = s24_shared_keep(e->reason);
    return S24_OK;
}

static s24_status end_file(void *ctx, s24_source *file, s24_error *err)
{
    repack_run *run = ctx;
    if (run->ended == file) {
        return S24_OK;
    }
    run->ended = file;
    const s24_status status = s24_plain_end(file, err);
    return s24_fail_prefix(err, status, "%s: ", file->in->name);
}

/* The metrics, which the writer needs at its end, are read here: planned tensors share them with those they come from. */
static s24_status process(void *ctx, s24_target *target, const s24_task *tasks, size_t count, s24_error *err)
{
    repack_run *run = ctx;
    run->target = target;
    run->tasks = tasks;
    const s24_status status = s24_workspace_run(&run->workspace, run->io, open_tensor, run, count, err);
    return status == S24_OK && count ? end_file(run, tasks[0].entry->source, err) : status;
}

s24_status s24_repack_source(const s24_io *io, const s24_convert_request *q, s24_source *source,
                             s24_status (*complete)(void *ctx, s24_error *err), void *ctx, s24_error *err)
{
    repack_run run = {.io = io};
    s24_delivery delivery = {.io = io, .source = source, .format = &s24_format_s24, .output = q->output,
                             .directory = q->directory, .packing = q->packing, .keep = true, .ctx = &run,
                             .plan = plan_entry, .process = process, .end = end_file};
    for (size_t i = 0; i < source->contents.count; i++) {
        const s24_entry *e = &source->contents.entries[i];
        const s24_plain *plain = s24_plain_of(e->source);
        run.all += (uint64_t)s24_plain_panel_count(plain, e) * largest_panel(plain, e);
    }
    s24_status status = s24_delivery_write(&delivery, err);
    status = status == S24_OK && complete ? complete(ctx, err) : status;
    if (status == S24_OK) {
        status = s24_delivery_commit(&delivery, err);
    } else {
        s24_delivery_abort(&delivery);
    }
    s24_workspace_free(&run.workspace);
    return status;
}
