/* Integrity of a .s24: every byte. 2:4 compliance of a dense file: every group of the tensors that prune would select. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "plain.h"
#include "select.h"
#include "threads.h"

/* One worker's. What belongs to panels: one each of the batch, of a dense tensor or of a pruned one. */
typedef struct verify_buffers {
    unsigned char *data, *scratch, *planes;
    uint64_t *broken;      /* dense: groups that do not comply */
    char (*messages)[480]; /* pruned: "" where nothing is wrong */
    s24_fault *faults;     /* pruned */
} verify_buffers;

typedef struct verify_job {
    const s24_io *io;
    const s24_verify_request *request;
    const s24_entry *entry;
    s24_batches batches;
    size_t planes_bytes;
    verify_buffers *buffers;
    size_t *faults;

    /* Of a dense tensor: what is committed so far. */
    s24_complier complier;
    uint64_t broken;
    s24_broken_group first; /* in the tensor; set where broken is not 0 */
} verify_job;

static void tell(const s24_verify_request *q, size_t *faults, const s24_verify_fault *fault)
{
    ++*faults;
    if (q->fault) {
        q->fault(q->user, fault);
    }
}

/* A fault without a row and a group. */
static void tell_damage(const s24_verify_request *q, size_t *faults, const char *tensor, const char *message)
{
    tell(q, faults, &(s24_verify_fault){.tensor = tensor, .message = message});
}

/* ---------------------------------------------------------------- dense tensors */

static s24_status read_dense(verify_job *job, unsigned worker, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    return s24_source_read_rows(job->entry, job->entry->axis, place.row, place.rows, 4 * place.group,
                                s24_place_cols(&place, job->batches.cols), job->buffers[worker].data,
                                job->buffers[worker].scratch, err);
}

static s24_status stage_read(void *ctx, unsigned worker, size_t batch, s24_error *err)
{
    verify_job *job = ctx;
    const s24_status status = s24_io_stopped(job->io, err);
    return status == S24_OK && job->entry->in->stream && !job->entry->method
        ? read_dense(job, worker, batch, err) : status;
}

static const unsigned char *dense_panel(const verify_job *job, const verify_buffers *b, size_t first, size_t index)
{
    return b->data + s24_batch_before(&job->batches, first, index) * job->complier.info->bytes;
}

static void verify_dense(const verify_job *job, verify_buffers *b, size_t first, size_t index)
{
    const s24_panel_place place = s24_panel_at(&job->batches.panels, index);
    b->broken[index - first] = s24_broken_groups(&job->complier, place.rows, s24_place_cols(&place, job->batches.cols),
                                                 dense_panel(job, b, first, index));
}

/* Panels come in order: only the first that has a broken group is searched for it. */
static void commit_dense(verify_job *job, const verify_buffers *b, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (b->broken[i] && job->broken == 0) {
            const s24_panel_place place = s24_panel_at(&job->batches.panels, first + i);
            s24_find_broken_group(job->entry->dtype, place.rows, s24_place_cols(&place, job->batches.cols),
                                  dense_panel(job, b, first, first + i), &job->first);
            job->first.row += place.row;
            job->first.group += place.group;
        }
        job->broken += b->broken[i];
    }
}

/* One line a tensor, however many groups are broken. */
static void tell_dense(const verify_job *job)
{
    const uint64_t groups = (uint64_t)job->entry->geometry.rows * job->entry->geometry.groups;
    char message[160];
    snprintf(message, sizeof message, "%u of %u elements are not zero; %llu of %llu groups %s not 2:4",
             job->first.nonzero, job->first.elements, (unsigned long long)job->broken, (unsigned long long)groups,
             job->broken == 1 ? "is" : "are");
    tell(job->request, job->faults,
         &(s24_verify_fault){.tensor = job->entry->name, .has_place = true, .row = job->first.row,
                             .group = job->first.group, .broken_groups = job->broken, .groups = groups,
                             .message = message});
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

static void commit_packed(const verify_job *job, const verify_buffers *b, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (b->messages[i][0]) {
            const s24_panel_place place = s24_panel_at(&job->batches.panels, first + i);
            tell(job->request, job->faults,
                 &(s24_verify_fault){.tensor = job->entry->name, .has_place = b->faults[i].kind != S24_FAULT_NONE,
                                     .row = place.row + b->faults[i].row, .group = place.group + b->faults[i].col / 4,
                                     .message = b->messages[i]});
        }
    }
}

/* ---------------------------------------------------------------- both */

static s24_status stage_work(void *ctx, unsigned worker, size_t batch, s24_error *err)
{
    verify_job *job = ctx;
    verify_buffers *b = &job->buffers[worker];
    size_t first, count;
    s24_status status = S24_OK;
    s24_batch_at(&job->batches, batch, &first, &count);
    if (!job->entry->method && !job->entry->in->stream) {
        status = read_dense(job, worker, batch, err);
    }
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        if (job->entry->method) {
            status = verify_packed(job, b, first, i, err);
        } else {
            verify_dense(job, b, first, i);
        }
    }
    return status;
}

static s24_status stage_commit(void *ctx, unsigned worker, size_t batch, s24_error *err)
{
    verify_job *job = ctx;
    const verify_buffers *b = &job->buffers[worker];
    size_t first, count;
    (void)err;
    s24_batch_at(&job->batches, batch, &first, &count);
    if (job->entry->method) {
        commit_packed(job, b, first, count);
    } else {
        commit_dense(job, b, first, count);
    }
    return S24_OK;
}

static s24_status buffers_new(verify_job *job, unsigned threads, s24_error *err)
{
    const bool dense = !job->entry->method;
    const size_t panels = job->batches.per_batch, bytes = job->batches.elements * s24_info(job->entry->dtype)->bytes;
    job->buffers = s24_calloc(threads, sizeof *job->buffers, err);
    for (unsigned i = 0; job->buffers && i < threads; i++) {
        verify_buffers *b = &job->buffers[i];
        b->data = s24_alloc(dense ? bytes : 0, err);
        b->scratch = s24_alloc(dense ? bytes : 0, err);
        b->broken = s24_calloc(dense ? panels : 0, sizeof *b->broken, err);
        b->planes = s24_alloc(dense ? 0 : job->planes_bytes, err);
        b->messages = s24_calloc(dense ? 0 : panels, sizeof *b->messages, err);
        b->faults = s24_calloc(dense ? 0 : panels, sizeof *b->faults, err);
        if (!b->data || !b->scratch || !b->broken || !b->planes || !b->messages || !b->faults) {
            return S24_ERR_SYSTEM;
        }
    }
    return job->buffers ? S24_OK : S24_ERR_SYSTEM;
}

static void buffers_free(verify_buffers *buffers, unsigned threads)
{
    for (unsigned i = 0; buffers && i < threads; i++) {
        free(buffers[i].data);
        free(buffers[i].scratch);
        free(buffers[i].broken);
        free(buffers[i].planes);
        free(buffers[i].messages);
        free(buffers[i].faults);
    }
    free(buffers);
}

static s24_status verify_tensor(verify_job *job, const s24_panels *panels, bool transposed, s24_error *err)
{
    static const s24_stages stages = {.read = stage_read, .work = stage_work, .commit = stage_commit};
    unsigned threads = job->io->threads ? job->io->threads : s24_threads_available();
    job->batches = s24_batches_of(panels, job->entry->geometry.cols, s24_info(job->entry->dtype)->bytes, transposed);
    job->planes_bytes = s24_batch_planes_bytes(&job->batches, s24_info(job->entry->stored)->bytes);
    threads = threads < job->batches.count ? threads : job->batches.count ? (unsigned)job->batches.count : 1;
    s24_status status = buffers_new(job, threads, err);
    status = status == S24_OK ? s24_run(&stages, job, job->batches.count, threads, err) : status;
    buffers_free(job->buffers, threads);
    return status;
}

static s24_status verify_carried(verify_job *job, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(job->entry->source);
    unsigned char *data = s24_alloc(plain->panel_bytes, err);
    s24_status status = data ? S24_OK : S24_ERR_SYSTEM;
    for (size_t i = 0; i < s24_plain_carried_panels(plain, job->entry) && status == S24_OK; i++) {
        size_t n;
        bool damaged;
        status = s24_plain_read_carried(job->entry, i, data, &n, &damaged, err);
        if (status == S24_OK && damaged) {
            char message[128];
            const uint64_t at = (uint64_t)i * plain->panel_bytes;
            snprintf(message, sizeof message, "bytes %llu to %llu do not match their check: damaged",
                     (unsigned long long)at, (unsigned long long)(at + n - 1));
            tell_damage(job->request, job->faults, job->entry->name, message);
        }
    }
    free(data);
    return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
}

/* Damage of the file as a whole is a fault, too, not an error of verifying. */
static s24_status as_fault(const s24_verify_request *q, size_t *faults, s24_status status, const s24_error *error,
                           s24_error *err)
{
    if (status == S24_ERR_DATA) {
        tell_damage(q, faults, NULL, error->message);
        return S24_OK;
    }
    if (status != S24_OK && err) {
        *err = *error;
        s24_fail_prefix(err, status, "%s: ", strcmp(q->input, "-") ? q->input : "standard input");
    }
    return status;
}

/* One .s24 file. */
static s24_status verify_s24(const s24_io *io, const s24_verify_request *q, s24_source *source, size_t *faults,
                             s24_error *err)
{
    s24_plain *plain = s24_plain_of(source);
    s24_status status = S24_OK;
    s24_error error;
    plain->lenient = true; /* go on after a fault: name them all */
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        verify_job job = {.io = io, .request = q, .entry = &source->contents.entries[i], .faults = faults};
        status = as_fault(q, faults, s24_plain_begin(job.entry, &error), &error, err);
        if (status != S24_OK || !plain->checks) {
            break; /* a pipe that ended */
        }
        if (plain->checks_damaged) {
            tell_damage(q, faults, job.entry->name, "its checks are damaged");
        }
        if (job.entry->packed) {
            const s24_panels panels = s24_plain_panels(plain, job.entry);
            status = verify_tensor(&job, &panels, false, err);
        } else {
            status = verify_carried(&job, err);
        }
    }
    plain->lenient = false;
    return status == S24_OK ? as_fault(q, faults, s24_plain_end(source, &error), &error, err) : status;
}

static s24_status verify_model(const s24_io *io, const s24_verify_request *q, s24_source *source, size_t *faults,
                               s24_error *err)
{
    s24_contents *c = &source->contents;
    size_t selected = 0;
    s24_status status = s24_select(c, s24_source_is_model(source), &q->selection, S24_SAME, err);
    s24_fail_prefix(err, status, "%s: ", source->in->name);
    for (size_t i = 0; i < c->count && status == S24_OK; i++) {
        s24_entry *e = &c->entries[i];
        selected += e->packed;
        if (!e->packed) {
            if (q->skipped) {
                q->skipped(q->user, e->name, e->reason ? e->reason : "");
            }
            continue;
        }
        verify_job job = {.io = io, .request = q, .entry = e, .faults = faults,
                          .complier = s24_complier_of(e->dtype, io->isa)};
        const s24_panels panels = s24_panels_of(&e->geometry, S24_PANEL_GROUPS);
        status = s24_source_hold(e, e->axis, err);
        status = status == S24_OK ? verify_tensor(&job, &panels, s24_entry_transposed(e, e->axis), err) : status;
        if (status == S24_OK && job.broken) {
            tell_dense(&job);
        }
    }
    for (size_t i = 0; i < s24_source_files(source) && status == S24_OK; i++) {
        s24_source *file = s24_source_file(source, i);
        status = s24_source_expect_end(file, err);
        s24_fail_prefix(err, status, "%s: ", file->in->name);
    }
    if (status == S24_OK && selected == 0) {
        return s24_fail(err, S24_ERR_NOTHING, "%s: no tensor is eligible; s24 inspect says why", source->in->name);
    }
    return status;
}

s24_status s24_verify_file(const s24_io *io, const s24_verify_request *q, s24_error *err)
{
    s24_source *source = NULL;
    s24_error error;
    size_t faults = 0;
    s24_status status = s24_source_find(&source, io, q->input, &q->read, &error);
    status = status == S24_OK ? s24_source_parse(source, &error) : status;
    if (status != S24_OK) {
        /* A .s24 whose header cannot be read is a damaged .s24: a failed check. What is no known file is an error. */
        if (status == S24_ERR_DATA && error.sys_errno != ENOTSUP && source && source->format == &s24_format_s24) {
            status = as_fault(q, &faults, status, &error, err);
        } else if (err) {
            *err = error;
            s24_fail_prefix(err, status, "%s: ", strcmp(q->input, "-") ? q->input : "standard input");
        }
    } else if (source->format == &s24_format_s24) {
        for (size_t i = 0; i < s24_source_files(source) && (status == S24_OK || status == S24_ERR_CHECK); i++) {
            status = verify_s24(io, q, s24_source_file(source, i), &faults, err);
        }
    } else {
        status = verify_model(io, q, source, &faults, err);
    }
    s24_source_close(source);
    if (status == S24_OK && faults) {
        return s24_fail(err, S24_ERR_CHECK, "%s: %zu fault%s", strcmp(q->input, "-") ? q->input : "standard input",
                        faults, faults == 1 ? "" : "s");
    }
    return status;
}
