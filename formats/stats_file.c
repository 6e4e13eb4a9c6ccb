/* What a file holds and what pruning did, or would do, to it. */
#include <string.h>

#include "archive.h"
#include "batch.h"
#include "plain.h"
#include "prune.h"
#include "summary.h"
#include "select.h"
#include "threads.h"
#include "workspace.h"

/* ---------------------------------------------------------------- recomputing: original against .s24 */

typedef struct measure_run {
    const s24_io *io;
    s24_source *packed, *original;
    s24_workspace workspace;
} measure_run;

/* One tensor of the .s24. */
typedef struct measure_job {
    measure_run *run;
    s24_entry *entry;
    const s24_entry *dense;
    s24_checks checks;
    s24_batches batches;
    s24_measurer measurer;
    size_t pieces[S24_PIECES];
    s24_sums total;
} measure_job;

/* What is on a desk; these are piece 0 themselves. */
typedef struct measure_buffers {
    unsigned char *buffer, *scratch, *planes;
    s24_window *window;
    const unsigned char *dense; /* of the batch, in the buffer or the window */
    s24_sums *sums;             /* one a panel of the batch */
    unsigned char *permuted;    /* a panel's rows of it in the order of a permutation */
} measure_buffers;

static measure_buffers *buffers_of(const measure_job *job, unsigned slot)
{
    return s24_workspace_piece(&job->run->workspace, slot, 0);
}

static s24_status take_desk(measure_job *job, unsigned slot, s24_error *err)
{
    s24_workspace *w = &job->run->workspace;
    const s24_status status = s24_workspace_reserve(w, slot, job->pieces, err);
    if (status == S24_OK) {
        *buffers_of(job, slot) = (measure_buffers){
            .buffer = s24_workspace_piece(w, slot, 1), .scratch = s24_workspace_piece(w, slot, 2),
            .planes = s24_workspace_piece(w, slot, 3), .sums = s24_workspace_piece(w, slot, 4),
            .window = s24_workspace_window(w, slot, 0), .permuted = s24_workspace_piece(w, slot, 5)};
    }
    return status;
}

static s24_status read_original(measure_job *job, unsigned slot, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    measure_buffers *b = buffers_of(job, slot);
    const void *rows;
    const s24_status status = s24_source_view_rows(job->dense, job->entry->axis, place.row, place.rows, 4 * place.group,
                                                   s24_place_cols(&place, job->batches.cols), b->window, b->buffer,
                                                   b->scratch, &rows, err);
    b->dense = rows;
    return status;
}

static s24_status measure_read(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    measure_job *job = ctx;
    s24_status status = s24_io_stopped(job->run->io, err);
    status = status == S24_OK ? take_desk(job, slot, err) : status;
    return status == S24_OK && job->dense->in->stream ? read_original(job, slot, batch, err) : status;
}

static s24_status measure_one(measure_job *job, measure_buffers *b, size_t first, size_t index, s24_error *err)
{
    const s24_panel_place place = s24_panel_at(&job->batches.panels, index);
    const s24_plain_place p = s24_plain_panel_place(job->entry, &place);
    const s24_dtype_info *from = s24_info(job->dense->dtype);
    bool damaged;
    s24_fault fault;
    s24_status status = s24_plain_read_panel(job->entry, &job->checks, index, b->planes, &damaged, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
    }
    s24_panel panel = {
        .rows = place.rows,
        .cols = s24_place_cols(&place, job->batches.cols),
        .dense = b->dense + s24_batch_before(&job->batches, first, index) * from->bytes,
        .values = b->planes,
        .positions = s24_plain_plane(&p, b->planes, S24_POSITIONS),
        .scales = s24_plain_plane(&p, b->planes, S24_SCALES),
    };
    if (job->checks.permutation) {
        s24_permute_elements(panel.dense, from->bytes, panel.rows, panel.cols, job->checks.permutation, b->permuted);
        panel.dense = b->permuted;
    }
    if (!s24_measure_panel(&job->measurer, &panel, &b->sums[index - first], &fault)) {
        status = s24_fault_report(&fault, &place, job->entry->rank, job->entry->shape, job->entry->axis, "", err);
        return s24_fail_prefix(err, status, "%s: ", job->entry->in->name);
    }
    return S24_OK;
}

static s24_status measure_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    measure_job *job = ctx;
    size_t first, count;
    s24_status status = job->dense->in->stream ? S24_OK : read_original(job, slot, batch, err);
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        status = measure_one(job, buffers_of(job, slot), first, i, err);
    }
    return status;
}

static s24_status measure_commit(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    measure_job *job = ctx;
    const measure_buffers *b = buffers_of(job, slot);
    size_t first, count;
    s24_batch_at(&job->batches, batch, &first, &count);
    for (size_t i = 0; i < count; i++) {
        s24_sums_add(&job->total, &b->sums[i]);
    }
    return s24_window_settle(b->window, err);
}

static s24_status measure_end(void *ctx, s24_error *err)
{
    measure_job *job = ctx;
    (void)err;
    job->entry->pruned->sums = job->total;
    return S24_OK;
}

static void measure_free(void *ctx)
{
    measure_job *job = ctx;
    s24_checks_free(&job->checks);
    free(job);
}

/* The dense tensor that a pruned one came from: the same name, or the only one there is. */
static const s24_entry *find_original(s24_source *original, const s24_source *packed, const s24_entry *e,
                                      s24_error *err)
{
    const bool lone = original->contents.count == 1 && packed->contents.count == 1;
    const s24_entry *d = lone ? &original->contents.entries[0] : s24_source_find_entry(original, e->name);
    if (!d) {
        s24_fail(err, S24_ERR_DATA, "%s: no tensor %s to compare with", original->in->name, e->name);
    } else if (!s24_dtype_prunable(d->dtype) || d->rank != e->rank ||
               memcmp(d->shape, e->shape, (size_t)e->rank * sizeof *e->shape) != 0) {
        s24_fail(err, S24_ERR_DATA, "%s: %s%shas another shape or dtype than the pruned tensor", d->in->name, d->name,
                 *d->name ? ": " : "");
        return NULL;
    }
    return d;
}

static s24_batches batches_of(const s24_entry *e, const s24_entry *dense)
{
    const s24_panels panels = s24_plain_panels(s24_plain_of(e->source), e);
    return s24_batches_of(&panels, e->pruned->geometry.cols, s24_info(dense->dtype)->bytes,
                          s24_entry_transposed(dense, e->axis) ? S24_BATCH_READ_BYTES : 0);
}

static s24_status measure_job_init(measure_job *job, s24_error *err)
{
    const s24_entry *e = job->entry;
    job->dense = find_original(job->run->original, job->run->packed, e, err);
    if (!job->dense) {
        return S24_ERR_DATA;
    }
    job->batches = batches_of(e, job->dense);
    job->measurer = s24_measurer_of(job->dense->dtype, e->stored, job->run->io->isa);
    job->measurer.scale_group = e->scale_group;
    const size_t bytes = job->batches.elements * s24_info(job->dense->dtype)->bytes;
    job->pieces[0] = sizeof(measure_buffers);
    job->pieces[1] = job->pieces[2] = bytes;
    job->pieces[3] = s24_plain_panel_bytes(e, &job->batches.panels);
    job->pieces[4] = job->batches.per_batch * sizeof(s24_sums);
    job->pieces[5] = e->permuted ? bytes : 0;
    s24_status status = s24_source_hold(job->dense, e->axis, err);
    if (status == S24_OK) {
        status = s24_plain_begin(e, &job->checks, err);
        s24_fail_prefix(err, status, "%s: ", e->in->name);
    }
    return status;
}

static s24_status open_tensor(void *ctx, size_t number, s24_series *series, s24_error *err)
{
    static const s24_stages stages = {.read = measure_read, .work = measure_work, .commit = measure_commit,
                                      .end = measure_end, .free = measure_free};
    static const s24_stages none = {0};
    measure_run *run = ctx;
    s24_entry *e = &run->packed->contents.entries[number];
    if (!e->packed) {
        *series = (s24_series){.stages = &none};
        return S24_OK;
    }
    measure_job *job = s24_calloc(1, sizeof *job, err);
    if (!job) {
        return S24_ERR_SYSTEM;
    }
    *job = (measure_job){.run = run, .entry = e};
    const s24_status status = measure_job_init(job, err);
    if (status != S24_OK) {
        measure_free(job);
        return status;
    }
    *series = (s24_series){.stages = &stages, .ctx = job, .jobs = job->batches.count, .alone = e->in->stream};
    return S24_OK;
}

static s24_status measure_all(measure_run *run, s24_error *err)
{
    const s24_contents *c = &run->packed->contents;
    s24_status status = s24_workspace_run(&run->workspace, run->io, open_tensor, run, c->count, err);
    for (size_t i = 0; i < s24_source_files(run->original) && status == S24_OK; i++) {
        s24_source *file = s24_source_file(run->original, i);
        status = s24_source_expect_end(file, err);
        s24_fail_prefix(err, status, "%s: ", file->in->name);
    }
    s24_workspace_free(&run->workspace);
    return status;
}

static s24_status recompute(const s24_io *io, s24_source *packed, const s24_stats_request *q, s24_error *err)
{
    measure_run run = {.io = io, .packed = packed};
    s24_status status = s24_source_open(&run.original, io, q->original, &q->original_read, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", s24_input_shown(q->original));
    }
    status = run.original->format == &s24_format_s24
        ? s24_fail(err, S24_ERR_USAGE, "%s: is a .s24 file; --original takes the dense one", q->original)
        : measure_all(&run, err);
    s24_source_close(run.original);
    return status;
}

/* ---------------------------------------------------------------- the file */

/* What the files that are archives take, tensor by tensor. */
static s24_status measure_archives(s24_source *source, const s24_stats_request *q, s24_error *err)
{
    s24_status status = S24_OK;
    for (size_t i = 0; i < s24_source_files(source) && status == S24_OK; i++) {
        s24_source *file = s24_source_file(source, i);
        if (s24_archive_is(file) && (!file->in->stream || !q->original || q->parts)) {
            status = s24_archive_measure(file, q->parts, err);
            s24_fail_prefix(err, status, "%s: ", file->in->name);
        }
    }
    return status;
}

static s24_status stats_s24(const s24_io *io, s24_source *source, const s24_stats_request *q, s24_error *err)
{
    for (size_t i = 0; i < s24_source_files(source); i++) { /* a header may be salvaged, figures of damaged data are wrong */
        s24_plain_of(s24_source_file(source, i))->lenient = false;
    }
    /* The recorded metrics are read and checked in any case; of a pipe they come after the tensors. */
    s24_status status = measure_archives(source, q, err);
    status = status == S24_OK && q->original ? recompute(io, source, q, err) : status;
    s24_sums *recomputed = NULL;
    if (q->original && status == S24_OK) {
        recomputed = s24_calloc(source->contents.count, sizeof *recomputed, err);
        status = recomputed ? S24_OK : S24_ERR_SYSTEM;
    }
    for (size_t i = 0; recomputed && i < source->contents.count; i++) {
        const s24_pruned *p = source->contents.entries[i].pruned;
        recomputed[i] = p ? p->sums : (s24_sums){0};
    }
    for (size_t i = 0; i < s24_source_files(source) && status == S24_OK; i++) {
        s24_source *file = s24_source_file(source, i);
        status = s24_plain_end(file, err);
        s24_fail_prefix(err, status, "%s: ", file->in->name);
    }
    for (size_t i = 0; recomputed && i < source->contents.count; i++) {
        s24_pruned *p = source->contents.entries[i].pruned;
        if (p) {
            p->sums = recomputed[i];
        }
    }
    free(recomputed);
    return status;
}

/* A dense file: what a dry run of prune says. Takes over the source. */
static s24_status stats_dense(const s24_io *io, const s24_stats_request *q, s24_source *source, s24_report *report,
                              s24_error *err)
{
    const s24_prune_request dry = {.input = q->input, .dtype = S24_SAME, .selection = q->selection,
                                   .allow_nonfinite = true};
    return s24_prune_source(io, &dry, source, report, err);
}

static s24_status inspect(s24_source *source, const s24_stats_request *q, s24_report *report, s24_error *err)
{
    s24_status status = S24_OK;
    if (source->format != &s24_format_s24) {
        status = s24_select(source, &q->selection, S24_SAME, 0, err);
        s24_fail_prefix(err, status, "%s: ", source->in->name);
    } else {
        status = measure_archives(source, q, err);
    }
    return status == S24_OK ? s24_report_fill(report, q->input, source, NULL, false, err) : status;
}

s24_status s24_stats_file(const s24_io *io, const s24_stats_request *q, s24_report *report, s24_error *err)
{
    s24_source *source;
    s24_status status = s24_source_open(&source, io, q->input, &q->read, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", s24_input_shown(q->input));
    }
    const bool packed = source->format == &s24_format_s24;
    if (q->header_only) {
        status = inspect(source, q, report, err);
    } else if (packed) {
        status = stats_s24(io, source, q, err);
        status = status == S24_OK ? s24_report_fill(report, q->input, source, NULL, true, err) : status;
    } else if (q->original) {
        status = s24_fail(err, S24_ERR_USAGE, "%s: is no .s24 file; --original goes with one", source->in->name);
    } else {
        return stats_dense(io, q, source, report, err);
    }
    s24_source_close(source);
    return status;
}
