/* Integrity of a .s24: every byte. 2:4 compliance of a dense file: every group of the tensors that prune would select. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "comply.h"
#include "plain.h"
#include "select.h"
#include "threads.h"
#include "workspace.h"

typedef struct verify_run {
    const s24_io *io;
    const s24_verify_request *request;
    s24_source *source;
    s24_workspace workspace;
    size_t faults;
    uint64_t done, all; /* bytes, for progress */
    s24_source *file;   /* of the .s24 files the one at hand */
    bool ended;         /* it is a pipe that has ended before its tensors */
} verify_run;

/* A tensor of a .s24, pruned or carried. */
typedef struct verify_job {
    verify_run *run;
    const s24_entry *entry;
    s24_checks checks;
    s24_panels panels;         /* of a pruned one */
    size_t pieces[S24_PIECES];
} verify_job;

/* What was found in a panel; on a desk. */
typedef struct panel_result {
    char message[480];         /* "" where nothing is wrong */
    s24_fault fault;
    size_t n;                  /* bytes of a carried one */
    bool damaged;
} panel_result;

enum { RESULT, DATA }; /* pieces */

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

/* ---------------------------------------------------------------- tensors of a .s24 */

static s24_status take_desk(const verify_job *job, unsigned slot, s24_error *err)
{
    const s24_status status = s24_io_stopped(job->run->io, err);
    return status == S24_OK ? s24_workspace_reserve(&job->run->workspace, slot, job->pieces, err) : status;
}

static s24_status pruned_work(void *ctx, unsigned slot, size_t index, s24_error *err)
{
    const verify_job *job = ctx;
    s24_status status = take_desk(job, slot, err);
    if (status != S24_OK) {
        return status;
    }
    const s24_panel_place place = s24_panel_at(&job->panels, index);
    panel_result *r = s24_workspace_piece(&job->run->workspace, slot, RESULT);
    unsigned char *planes = s24_workspace_piece(&job->run->workspace, slot, DATA);
    *r = (panel_result){.fault.kind = S24_FAULT_NONE};
    status = s24_plain_read_panel(job->entry, &job->checks, index, planes, &r->damaged, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
    }
    if (r->damaged) {
        snprintf(r->message, sizeof r->message, "rows %zu to %zu do not match their check: damaged", place.row,
                 place.row + place.rows - 1);
    } else if (!s24_plain_canonical(job->entry, &place, planes, &r->fault)) {
        snprintf(r->message, sizeof r->message, r->fault.kind == S24_FAULT_SCALE
                 ? "a scale is not finite and above 0" : "positions or padding are not as they must be");
    }
    return S24_OK;
}

static s24_status pruned_commit(void *ctx, unsigned slot, size_t index, s24_error *err)
{
    const verify_job *job = ctx;
    const panel_result *r = s24_workspace_piece(&job->run->workspace, slot, RESULT);
    const s24_panel_place place = s24_panel_at(&job->panels, index);
    (void)err;
    if (r->message[0]) {
        tell(job->run, job->entry->in,
             &(s24_verify_fault){.tensor = job->entry->name, .has_place = r->fault.kind != S24_FAULT_NONE,
                                 .row = place.row + r->fault.row, .group = place.group + r->fault.col / 4,
                                 .message = r->message});
    }
    show_progress(job->run, place.rows * 2 * place.groups * s24_info(job->entry->stored)->bytes);
    return S24_OK;
}

static s24_status carried_work(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    const verify_job *job = ctx;
    s24_status status = take_desk(job, slot, err);
    if (status == S24_OK) {
        panel_result *r = s24_workspace_piece(&job->run->workspace, slot, RESULT);
        status = s24_plain_read_carried(job->entry, &job->checks, panel, s24_workspace_piece(&job->run->workspace, slot, DATA),
                                        &r->n, &r->damaged, err);
        s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
    }
    return status;
}

static s24_status carried_commit(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    const verify_job *job = ctx;
    const panel_result *r = s24_workspace_piece(&job->run->workspace, slot, RESULT);
    const uint64_t at = (uint64_t)panel * s24_plain_of(job->entry->source)->panel_bytes;
    (void)err;
    if (r->damaged) {
        char message[128];
        snprintf(message, sizeof message, "bytes %llu to %llu do not match their check: damaged", (unsigned long long)at,
                 (unsigned long long)(at + r->n - 1));
        tell_damage(job->run, job->entry->in, job->entry->name, message);
    }
    show_progress(job->run, r->n);
    return S24_OK;
}

static s24_status begin_tensor(void *ctx, s24_error *err)
{
    const verify_job *job = ctx;
    (void)err;
    if (job->checks.damaged) {
        tell_damage(job->run, job->entry->in, job->entry->name, "its checks are damaged");
    }
    if (job->checks.lost) {
        tell_damage(job->run, job->entry->in, job->entry->name, job->checks.lost);
    }
    return S24_OK;
}

static void free_job(void *ctx)
{
    verify_job *job = ctx;
    s24_checks_free(&job->checks);
    free(job);
}

static s24_status open_tensor(void *ctx, size_t number, s24_series *series, s24_error *err)
{
    static const s24_stages pruned = {.work = pruned_work, .commit = pruned_commit, .begin = begin_tensor, .free = free_job};
    static const s24_stages carried = {.work = carried_work, .commit = carried_commit, .begin = begin_tensor,
                                       .free = free_job};
    verify_run *run = ctx;
    const s24_entry *e = &run->file->contents.entries[number];
    const s24_plain *plain = s24_plain_of(run->file);
    verify_job *job = s24_calloc(1, sizeof *job, err);
    if (!job) {
        return S24_ERR_SYSTEM;
    }
    *job = (verify_job){.run = run, .entry = e, .pieces[RESULT] = sizeof(panel_result)};
    const s24_status status = s24_plain_begin(e, &job->checks, err);
    if (status != S24_OK) {
        free(job);
        run->ended = status == S24_ERR_DATA;
        return run->ended ? status : s24_fail_prefix(err, status, "%s: ", run->file->in->name);
    }
    if (e->packed) {
        job->panels = s24_plain_panels(plain, e);
        job->pieces[DATA] = s24_plain_panel_bytes(e, &job->panels);
    } else {
        job->pieces[DATA] = s24_plain_carried_most(plain, e);
    }
    *series = (s24_series){.stages = e->packed ? &pruned : &carried, .ctx = job, .jobs = s24_plain_panel_count(plain, e),
                           .alone = e->in->stream};
    return S24_OK;
}

/* ---------------------------------------------------------------- a .s24 file */

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
    s24_error error;
    run->file = file;
    run->ended = false;
    plain->lenient = true; /* go on after a fault: name them all */
    s24_status status = s24_workspace_run(&run->workspace, run->io, open_tensor, run, file->contents.count, &error);
    plain->lenient = false;
    if (status == S24_OK || run->ended) {
        status = status == S24_OK ? s24_plain_end(file, &error) : status;
        return as_fault(run, file->in, status, &error, err);
    }
    if (err) {
        *err = error;
    }
    return status;
}

/* ---------------------------------------------------------------- dense tensors */

/* One line a tensor, however many groups are broken. */
static s24_status tell_dense(void *ctx, s24_entry *e, const s24_compliance *found, s24_error *err)
{
    verify_run *run = ctx;
    const s24_verify_request *q = run->request;
    char message[160];
    (void)err;
    if (!found && q->skipped) {
        q->skipped(q->user, e->name, e->reason ? e->reason : "");
    }
    if (found && found->broken) {
        s24_comply_message(found, message, sizeof message);
        tell(run, e->in, &(s24_verify_fault){.tensor = e->name, .has_place = true, .row = found->first.row,
                                             .group = found->first.group, .broken_groups = found->broken,
                                             .groups = found->groups, .message = message});
    }
    return S24_OK;
}

static s24_status verify_model(verify_run *run, s24_error *err)
{
    const s24_verify_request *q = run->request;
    s24_contents *c = &run->source->contents;
    size_t selected = 0;
    s24_status status = s24_select(run->source, &q->selection, S24_SAME, 0, err);
    s24_fail_prefix(err, status, "%s: ", run->source->in->name);
    for (size_t i = 0; i < c->count; i++) {
        selected += c->entries[i].packed;
    }
    status = status == S24_OK ? s24_comply(run->io, c, tell_dense, run, err) : status;
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
            run.all += e->packed ? e->pruned->geometry.values_bytes : e->bytes;
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
                        run.faults, s24_plural(run.faults));
    }
    return status;
}
