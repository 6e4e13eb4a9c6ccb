/* A .s24 back to a dense file; of a damaged one what is whole. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "decompress.h"
#include "delivery.h"
#include "piece.h"
#include "threads.h"
#include "workspace.h"

typedef struct unpack_buffers {
    unsigned char *planes, *dense, *scratch;
    bool *damaged; /* one a panel of the batch */
} unpack_buffers;

typedef struct unpack_job {
    const s24_io *io;
    const s24_decompress_request *request;
    s24_target *target;
    const s24_entry *entry;
    size_t index;            /* in the target */
    s24_unpacker unpacker;
    s24_batches batches;
    size_t planes_bytes;
    s24_workspace *workspace;
    unpack_buffers *buffers; /* one a slot */
    size_t *lost;            /* damaged parts of the file so far */
    uint64_t *done, all;
} unpack_job;

/* NaN, or 0 where there is none: what was lost must not pass for a weight. */
static uint64_t lost_bits(const s24_dtype_info *info)
{
    bool overflow = false;
    switch (info->id) {
    case S24_C64: return lost_bits(s24_info(S24_F32)) * UINT64_C(0x100000001); /* both parts */
    case S24_F8E8M0: return 0xff;
    default: return info->kind == S24_KIND_IEEE || info->kind == S24_KIND_FN ? s24_encode(info, (double)NAN, &overflow) : 0;
    }
}

static void fill_lost(s24_dtype dtype, void *data, size_t n)
{
    const s24_dtype_info *info = s24_info(dtype);
    const uint64_t bits = lost_bits(info);
    for (size_t i = 0; i < n; i++) {
        s24_store(data, info->bytes, i, bits);
    }
}

static void tell_lost(const s24_decompress_request *q, size_t *lost, const char *message)
{
    ++*lost;
    if (q->lost) {
        q->lost(q->user, message);
    }
}

static const char *separator(const s24_entry *e)
{
    return *e->name ? ": " : "";
}

static s24_status unpack_one(unpack_job *job, unpack_buffers *b, size_t first, size_t index, s24_error *err)
{
    const s24_panel_place place = s24_panel_at(&job->batches.panels, index);
    const s24_entry *e = job->entry;
    const size_t cols = s24_place_cols(&place, job->batches.cols);
    unsigned char *dense = b->dense + s24_batch_before(&job->batches, first, index) * job->unpacker.to->bytes;
    bool *damaged = &b->damaged[index - first];
    s24_fault fault;
    s24_status status = s24_plain_read_panel(e, index, b->planes, damaged, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: %s%s", job->entry->in->name, e->name, separator(e));
    }
    const size_t values_bytes = place.rows * 2 * place.groups * job->unpacker.from->bytes;
    if (!*damaged && !s24_unpack_panel(&job->unpacker, place.rows, cols, b->planes, b->planes + values_bytes, dense,
                                       &fault)) {
        status = s24_fault_report(&fault, &place, e->rank, e->shape, e->axis, job->unpacker.to->name, err);
        return s24_fail_prefix(err, status, "%s: %s%s", job->entry->in->name, e->name, separator(e));
    }
    if (*damaged) {
        fill_lost(job->unpacker.to->id, dense, place.rows * cols);
    }
    return S24_OK;
}

static s24_status write_batch(unpack_job *job, unpack_buffers *b, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    const s24_status status = s24_sink_write_rows(job->target->sink, job->index, job->entry->axis, place.row, place.rows,
                                                  4 * place.group, s24_place_cols(&place, job->batches.cols), b->dense,
                                                  b->scratch, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(job->target));
}

static s24_status stage_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    unpack_job *job = ctx;
    unpack_buffers *b = &job->buffers[slot];
    size_t first, count;
    s24_status status = s24_io_stopped(job->io, err);
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        status = unpack_one(job, b, first, i, err);
    }
    if (status == S24_OK && s24_sink_positional(job->target->sink, job->index)) {
        status = write_batch(job, b, batch, err);
    }
    return status;
}

static s24_status stage_commit(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    unpack_job *job = ctx;
    unpack_buffers *b = &job->buffers[slot];
    size_t first, count;
    s24_status status = S24_OK;
    s24_batch_at(&job->batches, batch, &first, &count);
    if (!s24_sink_positional(job->target->sink, job->index)) {
        status = write_batch(job, b, batch, err);
    }
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        const s24_panel_place p = s24_panel_at(&job->batches.panels, i);
        *job->done += p.rows * 4 * p.groups * job->unpacker.to->bytes;
        if (b->damaged[i - first]) {
            char message[512];
            snprintf(message, sizeof message, "%s: %s%srows %zu to %zu%s are lost", job->entry->in->name,
                     job->entry->name, separator(job->entry), p.row, p.row + p.rows - 1,
                     job->batches.panels.runs_per_row > 1 ? " (a part of them)" : "");
            tell_lost(job->request, job->lost, message);
        }
    }
    if (job->io->progress) {
        job->io->progress(job->io->user, *job->done, job->all);
    }
    return status;
}

static s24_status buffers_new(unpack_job *job, unsigned slots, s24_error *err)
{
    const s24_batches *bs = &job->batches;
    const size_t dense_bytes = bs->elements * job->unpacker.to->bytes;
    const bool transposed = bs->per_batch > 1 || job->entry->axis != job->entry->rank - 1;
    const size_t pieces[S24_PIECES] = {job->planes_bytes, dense_bytes, transposed ? dense_bytes : 0,
                                       bs->per_batch * sizeof(bool)};
    const s24_status status = s24_workspace_reserve(job->workspace, slots, pieces, err);
    job->buffers = status == S24_OK ? s24_calloc(slots, sizeof *job->buffers, err) : NULL;
    for (unsigned i = 0; job->buffers && i < slots; i++) {
        job->buffers[i] = (unpack_buffers){.planes = s24_workspace_piece(job->workspace, i, 0),
                                           .dense = s24_workspace_piece(job->workspace, i, 1),
                                           .scratch = s24_workspace_piece(job->workspace, i, 2),
                                           .damaged = s24_workspace_piece(job->workspace, i, 3)};
    }
    return job->buffers ? S24_OK : S24_ERR_SYSTEM;
}

static void warn_checks(unpack_job *job)
{
    char message[512];
    if (s24_plain_of(job->entry->source)->checks_damaged) {
        snprintf(message, sizeof message, "%s: %s%sits checks are damaged; panels that still match theirs are kept",
                 job->entry->in->name, job->entry->name, separator(job->entry));
        tell_lost(job->request, job->lost, message);
    }
}

static s24_status unpack_tensor(unpack_job *job, s24_error *err)
{
    static const s24_stages stages = {.work = stage_work, .commit = stage_commit};
    const s24_entry *out = s24_target_entry(job->target, job->index);
    const s24_panels panels = s24_plain_panels(s24_plain_of(job->entry->source), job->entry);
    job->batches = s24_batches_of(&panels, job->entry->geometry.cols, job->unpacker.to->bytes,
                                  s24_entry_transposed(out, job->entry->axis));
    job->planes_bytes = s24_batch_planes_bytes(&job->batches, job->unpacker.from->bytes);
    s24_status status = s24_plain_begin(job->entry, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
    }
    warn_checks(job);
    const unsigned workers = s24_workers(job->io, job->batches.count);
    status = buffers_new(job, s24_slots(workers), err);
    status = status == S24_OK ? s24_run(&stages, job, job->batches.count, workers, err) : status;
    free(job->buffers);
    if (status == S24_OK) {
        status = s24_sink_end_entry(job->target->sink, job->index, job->entry->axis, err);
        s24_fail_prefix(err, status, "%s: ", s24_target_name(job->target));
    }
    return status;
}

/* A carried tensor: its panels, checked. */
typedef struct copy_job {
    unpack_job *unpack;
    s24_piece *pieces; /* one a slot */
} copy_job;

static s24_status copy_work(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    copy_job *job = ctx;
    const s24_entry *e = job->unpack->entry;
    s24_piece *piece = &job->pieces[slot];
    const s24_status status = s24_plain_read_carried(e, panel, piece->data, &piece->n, &piece->damaged, err);
    return s24_fail_prefix(err, status, "%s: %s%s", e->in->name, e->name, separator(e));
}

static void lose_piece(const unpack_job *job, s24_piece *piece, uint64_t at)
{
    const s24_entry *e = job->entry;
    const unsigned bytes = s24_info(e->dtype)->bytes;
    char message[512];
    snprintf(message, sizeof message, "%s: %s%sbytes %llu to %llu are lost", e->in->name, e->name, separator(e),
             (unsigned long long)at, (unsigned long long)(at + piece->n - 1));
    tell_lost(job->request, job->lost, message);
    memset(piece->data, 0, piece->n);
    if (bytes) {
        fill_lost(e->dtype, piece->data, piece->n / bytes);
    }
}

static s24_status copy_commit(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    copy_job *job = ctx;
    const unpack_job *u = job->unpack;
    s24_piece *piece = &job->pieces[slot];
    const uint64_t at = (uint64_t)panel * s24_plain_of(u->entry->source)->panel_bytes;
    if (piece->damaged) {
        lose_piece(u, piece, at);
    }
    const s24_status status = s24_target_write(u->target, u->index, at, piece->data, piece->n, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(u->target));
}

static s24_status copy_tensor(unpack_job *job, s24_error *err)
{
    static const s24_stages stages = {.work = copy_work, .commit = copy_commit};
    const s24_plain *plain = s24_plain_of(job->entry->source);
    const size_t panels = s24_plain_carried_panels(plain, job->entry);
    const unsigned workers = s24_workers(job->io, panels);
    copy_job copy = {.unpack = job, .pieces = s24_pieces_new(s24_slots(workers), plain->panel_bytes, err)};
    s24_status status = copy.pieces ? s24_plain_begin(job->entry, err) : S24_ERR_SYSTEM;
    if (status == S24_OK) {
        warn_checks(job);
        status = s24_run(&stages, &copy, panels, workers, err);
    }
    s24_pieces_free(copy.pieces);
    return status;
}

/* ---------------------------------------------------------------- the whole file */

typedef struct unpack_run {
    const s24_io *io;
    const s24_decompress_request *request;
    s24_source *source;
    size_t lost;
    const s24_format *format;
    s24_status (*complete)(void *ctx, s24_error *err);
    void *ctx;
    s24_workspace workspace;
    uint64_t done, all;
} unpack_run;

static bool wanted(const unpack_run *run, const s24_entry *e)
{
    return !run->request->tensor || strcmp(run->request->tensor, e->name) == 0;
}

static s24_status plan_entry(void *ctx, const s24_entry *e, s24_contents *plan, s24_error *err)
{
    const unpack_run *run = ctx;
    const s24_dtype given = run->request->dtype, dtype = e->packed && given != S24_SAME ? given : e->dtype;
    if (!wanted(run, e)) {
        return S24_OK;
    }
    /* Back to the original dtype is exact, even where narrowing in general needs scales. */
    if (e->packed && dtype != e->dtype && !s24_dtype_convertible(e->stored, dtype)) {
        return s24_fail(err, S24_ERR_USAGE, "%s: %s%scannot become %s without scales", e->in->name, e->name,
                        separator(e), s24_dtype_name(dtype));
    }
    const bool nameless = run->source->contents.count == 1 && strcmp(e->name, S24_NAMELESS) == 0;
    s24_entry *copy = s24_contents_add(plan, nameless ? "" : e->name, dtype, e->rank, e->shape, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    copy->axis = e->axis;
    copy->packed = e->packed && run->format->unfit && !run->format->unfit(copy);
    return S24_OK;
}

static s24_status process_entry(void *ctx, s24_target *target, s24_entry *e, size_t index, s24_error *err)
{
    unpack_run *run = ctx;
    unpack_job job = {.io = run->io, .request = run->request, .target = target, .entry = e, .index = index,
                      .workspace = &run->workspace, .lost = &run->lost, .done = &run->done, .all = run->all};
    if (e->packed) {
        job.unpacker = s24_unpacker_of(e->stored, s24_target_entry(target, index)->dtype, run->io->isa);
    }
    return e->packed ? unpack_tensor(&job, err) : copy_tensor(&job, err);
}

/* What follows the tensors must be whole, too; a salvage has told what is lost of them already. */
static s24_status check_end(void *ctx, s24_source *file, s24_error *err)
{
    const unpack_run *run = ctx;
    const s24_status status = run->request->salvage ? S24_OK : s24_plain_end(file, err);
    return s24_fail_prefix(err, status, "%s: ", file->in->name);
}

static s24_status find_format(unpack_run *run, s24_error *err)
{
    const s24_decompress_request *q = run->request;
    const char *to = q->to && strcmp(q->to, "same") != 0 ? q->to : s24_plain_of(s24_source_file(run->source, 0))->container;
    run->format = s24_format_by_name(to);
    return run->format && run->format->create ? S24_OK
        : s24_fail(err, S24_ERR_USAGE, "%s cannot be written dense; choose --to npy, npz, safetensors, json or raw", to);
}

/* The tensors that were asked for, and how many bytes they are. */
static s24_status count_wanted(unpack_run *run, s24_error *err)
{
    const s24_contents *c = &run->source->contents;
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++) {
        const s24_entry *e = &c->entries[i];
        found += wanted(run, e);
        run->all += !wanted(run, e) ? 0 : e->packed ? e->geometry.num_elements * (uint64_t)s24_info(e->dtype)->bytes : e->bytes;
    }
    return found || !run->request->tensor ? S24_OK
        : s24_fail(err, S24_ERR_USAGE, "%s: no tensor %s; s24 inspect lists the names", run->source->in->name,
                   run->request->tensor);
}

static s24_status unpack_source(unpack_run *run, s24_error *err)
{
    const s24_decompress_request *q = run->request;
    s24_status status = find_format(run, err);
    status = status == S24_OK ? count_wanted(run, err) : status;
    if (status != S24_OK) {
        return status;
    }
    s24_delivery delivery = {.io = run->io, .source = run->source, .format = run->format, .output = q->output,
                             .directory = q->directory, .without_metadata = q->tensor != NULL, .ctx = run,
                             .plan = plan_entry, .process = process_entry, .end = check_end};
    status = s24_delivery_write(&delivery, err);
    status = status == S24_OK && run->complete ? run->complete(run->ctx, err) : status;
    if (status == S24_OK) {
        return s24_delivery_commit(&delivery, err);
    }
    s24_delivery_abort(&delivery);
    return status;
}

s24_status s24_decompress_source(const s24_io *io, const s24_decompress_request *q, s24_source *source,
                                 s24_status (*complete)(void *ctx, s24_error *err), void *ctx, s24_error *err)
{
    unpack_run run = {.io = io, .request = q, .source = source, .complete = complete, .ctx = ctx};
    const s24_status status = unpack_source(&run, err);
    s24_workspace_free(&run.workspace);
    return status != S24_OK || run.lost == 0 ? status
        : s24_fail(err, S24_ERR_DATA, "%s: damaged: %zu part%s lost; the rest was recovered", source->in->name, run.lost,
                   run.lost == 1 ? " is" : "s are");
}

s24_status s24_decompress_file(const s24_io *io, const s24_decompress_request *q, s24_error *err)
{
    const s24_read_options read = {.salvage = q->salvage};
    const char *input = s24_input_shown(q->input);
    s24_source *source;
    s24_status status = s24_source_open(&source, io, q->input, &read, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", input);
    }
    const s24_format *to = q->to ? s24_format_by_name(q->to) : NULL;
    if (to && to->unfit) {
        status = s24_fail(err, S24_ERR_USAGE, "%s is no dense type; s24 convert writes it", to->name);
    } else if (source->format == &s24_format_s24) {
        status = s24_decompress_source(io, q, source, NULL, NULL, err);
    } else {
        status = s24_fail(err, S24_ERR_DATA, "%s: is no .s24 file but .%s; s24 prune makes one, s24 convert another type", input,
                          source->format->name);
    }
    s24_source_close(source);
    return status;
}
