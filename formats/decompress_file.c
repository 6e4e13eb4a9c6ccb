/* A .s24 back to a dense file; of a damaged one what is whole. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "decompress.h"
#include "delivery.h"

typedef struct unpack_run {
    const s24_io *io;
    const s24_decompress_request *request;
    s24_source *source;
    size_t lost;              /* damaged parts of the file so far */
    const s24_format *format;
    s24_status (*complete)(void *ctx, s24_error *err);
    void *ctx;
    s24_workspace workspace;
    uint64_t done, all;
    s24_target *target;       /* of the file at hand, and its tensors */
    const s24_task *tasks;
} unpack_run;

/* One tensor, pruned or carried. */
typedef struct unpack_job {
    unpack_run *run;
    const s24_entry *entry;
    size_t index;             /* in the target */
    s24_checks checks;
    s24_unpacker unpacker;    /* these are of a pruned one */
    s24_batches batches;
    size_t pieces[S24_PIECES];
} unpack_job;

/* What is on a desk; these are piece 0 themselves. */
typedef struct unpack_buffers {
    unsigned char *planes, *dense, *scratch;
    bool *damaged;           /* one a panel of the batch */
    unsigned char *permuted; /* a panel's rows as they are stored, where columns stand in another order */
} unpack_buffers;

static unpack_buffers *buffers_of(const unpack_job *job, unsigned slot)
{
    return s24_workspace_piece(&job->run->workspace, slot, 0);
}

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

static void tell_lost(unpack_run *run, const char *message)
{
    run->lost++;
    if (run->request->lost) {
        run->request->lost(run->request->user, message);
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
    const unsigned bytes = job->unpacker.to->bytes;
    const int32_t *permutation = job->checks.permutation;
    unsigned char *dense = b->dense + s24_batch_before(&job->batches, first, index) * bytes;
    bool *damaged = &b->damaged[index - first];
    s24_fault fault;
    s24_status status = s24_plain_read_panel(e, &job->checks, index, b->planes, damaged, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: %s%s", job->entry->in->name, e->name, separator(e));
    }
    const s24_plain_place p = s24_plain_panel_place(e, &place);
    *damaged = *damaged || job->checks.lost;
    if (!*damaged && !s24_unpack_panel(&job->unpacker, place.rows, cols, b->planes, s24_plain_plane(&p, b->planes, S24_POSITIONS),
                                       s24_plain_plane(&p, b->planes, S24_SCALES), permutation ? b->permuted : dense, &fault)) {
        s24_fault_restore(&fault, permutation);
        status = s24_fault_report(&fault, &place, e->rank, e->shape, e->axis, job->unpacker.to->name, err);
        s24_fail_advise(err, status, S24_PLAIN_ADVICE);
        return s24_fail_prefix(err, status, "%s: %s%s", job->entry->in->name, e->name, separator(e));
    }
    if (*damaged) {
        fill_lost(job->unpacker.to->id, dense, place.rows * cols);
    } else if (permutation) {
        s24_restore_elements(b->permuted, bytes, place.rows, cols, permutation, dense);
    }
    return S24_OK;
}

static s24_status write_batch(unpack_job *job, unpack_buffers *b, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    const s24_target *target = job->run->target;
    const s24_status status = s24_sink_write_rows(target->sink, job->index, job->entry->axis, place.row, place.rows,
                                                  4 * place.group, s24_place_cols(&place, job->batches.cols), b->dense,
                                                  b->scratch, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(target));
}

static s24_status take_desk(unpack_job *job, unsigned slot, s24_error *err)
{
    s24_workspace *w = &job->run->workspace;
    const s24_status status = s24_workspace_reserve(w, slot, job->pieces, err);
    if (status == S24_OK) {
        *buffers_of(job, slot) = (unpack_buffers){
            .planes = s24_workspace_piece(w, slot, 1), .dense = s24_workspace_piece(w, slot, 2),
            .scratch = s24_workspace_piece(w, slot, 3), .damaged = s24_workspace_piece(w, slot, 4),
            .permuted = s24_workspace_piece(w, slot, 5)};
    }
    return status;
}

static s24_status stage_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    unpack_job *job = ctx;
    size_t first, count;
    s24_status status = s24_io_stopped(job->run->io, err);
    status = status == S24_OK ? take_desk(job, slot, err) : status;
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        status = unpack_one(job, buffers_of(job, slot), first, i, err);
    }
    return status == S24_OK && s24_sink_positional(job->run->target->sink, job->index)
        ? write_batch(job, buffers_of(job, slot), batch, err) : status;
}

static void tell_lost_rows(const unpack_job *job, const s24_panel_place *p)
{
    char message[512];
    snprintf(message, sizeof message, "%s: %s%srows %zu to %zu%s are lost", job->entry->in->name, job->entry->name,
             separator(job->entry), p->row, p->row + p->rows - 1,
             job->batches.panels.runs_per_row > 1 ? " (a part of them)" : "");
    tell_lost(job->run, message);
}

static void show_progress(unpack_run *run, uint64_t bytes)
{
    run->done += bytes;
    if (run->io->progress) {
        run->io->progress(run->io->user, run->done, run->all);
    }
}

static s24_status stage_commit(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    unpack_job *job = ctx;
    unpack_buffers *b = buffers_of(job, slot);
    size_t first, count, elements = 0;
    s24_batch_at(&job->batches, batch, &first, &count);
    const s24_status status = s24_sink_positional(job->run->target->sink, job->index) ? S24_OK
        : write_batch(job, b, batch, err);
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        const s24_panel_place p = s24_panel_at(&job->batches.panels, i);
        elements += p.rows * 4 * p.groups;
        if (b->damaged[i - first]) {
            tell_lost_rows(job, &p);
        }
    }
    show_progress(job->run, elements * job->unpacker.to->bytes);
    return status;
}

static s24_status begin_tensor(void *ctx, s24_error *err)
{
    const unpack_job *job = ctx;
    char message[512];
    (void)err;
    if (job->checks.damaged) {
        snprintf(message, sizeof message, "%s: %s%sits checks are damaged; panels that still match theirs are kept",
                 job->entry->in->name, job->entry->name, separator(job->entry));
        tell_lost(job->run, message);
    }
    if (job->checks.lost) {
        snprintf(message, sizeof message, "%s: %s%s%s; nobody knows which column is which", job->entry->in->name,
                 job->entry->name, separator(job->entry), job->checks.lost);
        tell_lost(job->run, message);
    }
    return S24_OK;
}

static s24_status end_tensor(void *ctx, s24_error *err)
{
    const unpack_job *job = ctx;
    const s24_target *target = job->run->target;
    return s24_fail_prefix(err, s24_sink_end_entry(target->sink, job->index, job->entry->axis, err), "%s: ",
                           s24_target_name(target));
}

static void free_job(void *ctx)
{
    unpack_job *job = ctx;
    s24_checks_free(&job->checks);
    free(job);
}

/* ---------------------------------------------------------------- a carried tensor: its panels, checked */

typedef struct copy_result {
    size_t n;
    bool damaged;
} copy_result;

/* What is on a desk. */
enum { DATA, RESULT };

static s24_status copy_work(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    const unpack_job *job = ctx;
    const s24_entry *e = job->entry;
    s24_workspace *w = &job->run->workspace;
    s24_status status = s24_io_stopped(job->run->io, err);
    status = status == S24_OK ? s24_workspace_reserve(w, slot, job->pieces, err) : status;
    if (status != S24_OK) {
        return status;
    }
    copy_result *result = s24_workspace_piece(w, slot, RESULT);
    status = s24_plain_read_carried(e, &job->checks, panel, s24_workspace_piece(w, slot, DATA), &result->n, &result->damaged,
                                    err);
    return s24_fail_prefix(err, status, "%s: %s%s", e->in->name, e->name, separator(e));
}

static void lose_piece(const unpack_job *job, void *data, size_t n, uint64_t at)
{
    const s24_entry *e = job->entry;
    const unsigned bytes = s24_info(e->dtype)->bytes;
    char message[512];
    snprintf(message, sizeof message, "%s: %s%sbytes %llu to %llu are lost", e->in->name, e->name, separator(e),
             (unsigned long long)at, (unsigned long long)(at + n - 1));
    tell_lost(job->run, message);
    memset(data, 0, n);
    if (bytes) {
        fill_lost(e->dtype, data, n / bytes);
    }
}

static s24_status copy_commit(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    const unpack_job *job = ctx;
    const copy_result *result = s24_workspace_piece(&job->run->workspace, slot, RESULT);
    void *data = s24_workspace_piece(&job->run->workspace, slot, DATA);
    const uint64_t at = (uint64_t)panel * s24_plain_of(job->entry->source)->panel_bytes;
    if (result->damaged) {
        lose_piece(job, data, result->n, at);
    }
    const s24_status status = s24_target_write(job->run->target, job->index, at, data, result->n, err);
    show_progress(job->run, result->n);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(job->run->target));
}

/* ---------------------------------------------------------------- the whole file */

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
    if (e->packed && !s24_dtype_restorable(e->stored, e->scaled, e->dtype, dtype)) {
        return s24_fail(err, S24_ERR_USAGE, "%s: %s%scannot become %s without scales", e->in->name, e->name,
                        separator(e), s24_dtype_name(dtype));
    }
    const bool nameless = run->source->contents.count == 1 && strcmp(e->name, S24_NAMELESS) == 0;
    s24_entry *copy = nameless ? s24_contents_add(plan, "", dtype, e->rank, e->shape, err)
                               : s24_contents_add_like(plan, e, dtype, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    copy->axis = e->axis;
    copy->packed = e->packed && !e->permuted && run->format->unfit && !run->format->unfit(copy);
    return S24_OK;
}

static s24_batches batches_of(const unpack_run *run, const s24_task *task)
{
    const s24_entry *e = task->entry, *out = s24_target_entry(run->target, task->planned);
    const s24_panels panels = s24_plain_panels(s24_plain_of(e->source), e);
    return s24_batches_of(&panels, e->pruned->geometry.cols, s24_info(out->dtype)->bytes,
                          s24_entry_transposed(out, e->axis) ? S24_BATCH_WRITE_BYTES : 0);
}

static void set_pieces(unpack_job *job)
{
    const s24_entry *e = job->entry;
    const s24_batches *bs = &job->batches;
    const size_t dense_bytes = bs->elements * job->unpacker.to->bytes;
    job->pieces[0] = sizeof(unpack_buffers);
    job->pieces[1] = s24_plain_panel_bytes(e, &bs->panels);
    job->pieces[2] = dense_bytes;
    job->pieces[3] = bs->per_batch > 1 || e->axis != e->rank - 1 ? dense_bytes : 0;
    job->pieces[4] = bs->per_batch * sizeof(bool);
    job->pieces[5] = e->permuted ? s24_panel_at(&bs->panels, 0).rows * bs->cols * job->unpacker.to->bytes : 0;
}

/* Everything of a pipe that the next tensor's opening would drop must be gone by then. */
static s24_status open_tensor(void *ctx, size_t number, s24_series *series, s24_error *err)
{
    static const s24_stages unpack = {.work = stage_work, .commit = stage_commit, .begin = begin_tensor, .end = end_tensor,
                                      .free = free_job};
    static const s24_stages copy = {.work = copy_work, .commit = copy_commit, .begin = begin_tensor, .free = free_job};
    unpack_run *run = ctx;
    const s24_task *task = &run->tasks[number];
    const s24_entry *e = task->entry;
    const s24_plain *plain = s24_plain_of(e->source);
    unpack_job *job = s24_calloc(1, sizeof *job, err);
    if (!job) {
        return S24_ERR_SYSTEM;
    }
    *job = (unpack_job){.run = run, .entry = e, .index = task->planned};
    const s24_status status = s24_plain_begin(e, &job->checks, err);
    if (status != S24_OK) {
        free(job);
        return s24_fail_prefix(err, status, "%s: ", e->in->name);
    }
    *series = (s24_series){.stages = e->packed ? &unpack : &copy, .ctx = job, .alone = e->in->stream};
    if (e->packed) {
        job->unpacker = s24_unpacker_of(e->stored, s24_target_entry(run->target, task->planned)->dtype, run->io->isa);
        job->unpacker.scale_group = e->scale_group;
        job->batches = batches_of(run, task);
        set_pieces(job);
        series->jobs = job->batches.count;
    } else {
        job->pieces[DATA] = s24_plain_carried_most(plain, e);
        job->pieces[RESULT] = sizeof(copy_result);
        series->jobs = s24_plain_carried_panels(plain, e);
    }
    return S24_OK;
}

static s24_status process(void *ctx, s24_target *target, const s24_task *tasks, size_t count, s24_error *err)
{
    unpack_run *run = ctx;
    run->target = target;
    run->tasks = tasks;
    return s24_workspace_run(&run->workspace, run->io, open_tensor, run, count, err);
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
        run->all += !wanted(run, e) ? 0 : e->packed ? e->pruned->geometry.num_elements * (uint64_t)s24_info(e->dtype)->bytes : e->bytes;
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
                             .plan = plan_entry, .process = process, .end = check_end};
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
