/*
 * Pruning a file: source -> batches of panels -> target. Memory is about (threads) batches, however large the tensor.
 */
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "delivery.h"
#include "permute.h"
#include "prune.h"
#include "summary.h"
#include "select.h"

typedef struct prune_run {
    const s24_io *io;
    const s24_prune_request *request;
    s24_plan plan;            /* where the request has one */
    const s24_method *method;
    bool refit, transposable, permute;
    s24_dtype dtype;          /* of the stored values; S24_SAME */
    size_t scale_group;
    s24_preparation preparation;
    bool prepares;            /* tensors before their panels, which is what takes the time then */
    uint64_t preparing;       /* bytes of the tensor that is being prepared */
    s24_source *source;
    s24_seconds seconds;
    const s24_format *format; /* of the output */
    char method_name[40];     /* as it is recorded */
    s24_delivery delivery;
    s24_workspace workspace;
    uint64_t done, all;       /* bytes of input, for progress */
    size_t compared, fallbacks; /* tensors of which samples were held out, and those that another method did */
    char fallback[512];       /* of the first of them */
    s24_target *target;       /* of the file at hand, and its tensors */
    const s24_task *tasks;
} prune_run;

/* One tensor on its way. */
typedef struct prune_job {
    prune_run *run;
    s24_entry *entry;
    const s24_entry *aux;      /* elements of the second input; NULL where the method takes none */
    const s24_dtype_info *from; /* the elements' */
    size_t index;              /* in the target */
    s24_entry *planned;        /* there; NULL in a dry run */
    s24_factors factors;       /* of a method by them, where the run does not prepare */
    s24_prepared prepared;     /* where the run prepares: what is packed in place of the elements, */
    s24_measurer measurer;     /* which it is measured against */
    s24_pruner pruner;
    s24_unpacker unpacker;     /* for a dense target */
    s24_batches batches;
    size_t planes_bytes;       /* at most, of one panel */
    size_t pieces[S24_PIECES]; /* of a desk */
    s24_sums total;
    uint64_t zeros;
} prune_job;

typedef struct panel_result {
    s24_sums sums;
    uint64_t check;
} panel_result;

/* What is on a desk; these are piece 0 themselves. */
typedef struct prune_buffers {
    unsigned char *dense, *aux, *scratch, *planes, *unpacked, *kept;
    s24_window *window, *aux_window;
    const unsigned char *weights, *second; /* of the batch: in the buffers dense, aux, or in the windows */
    uint64_t zeros; /* of the batch's dense elements; counted in a dry run */
    panel_result *results; /* one a panel of the batch */
} prune_buffers;

static prune_buffers *buffers_of(const prune_job *job, unsigned slot)
{
    return s24_workspace_piece(&job->run->workspace, slot, 0);
}

static s24_status take_desk(prune_job *job, unsigned slot, s24_error *err)
{
    s24_workspace *w = &job->run->workspace;
    const s24_status status = s24_workspace_reserve(w, slot, job->pieces, err);
    if (status == S24_OK) {
        *buffers_of(job, slot) = (prune_buffers){
            .dense = s24_workspace_piece(w, slot, 1), .aux = s24_workspace_piece(w, slot, 2),
            .scratch = s24_workspace_piece(w, slot, 3), .planes = s24_workspace_piece(w, slot, 4),
            .unpacked = s24_workspace_piece(w, slot, 5), .results = s24_workspace_piece(w, slot, 6),
            .kept = s24_workspace_piece(w, slot, 7),
            .window = s24_workspace_window(w, slot, 0), .aux_window = s24_workspace_window(w, slot, 1)};
    }
    return status;
}

static void set_pieces(prune_job *job, bool transposed)
{
    const size_t elements = job->batches.elements, panels = job->batches.per_batch, from = job->from->bytes;
    const size_t aux = job->aux ? job->pruner.aux->bytes : 0, widest = aux > from ? aux : from;
    job->pieces[0] = sizeof(prune_buffers);
    job->pieces[1] = elements * from;
    job->pieces[2] = elements * aux;
    job->pieces[3] = transposed ? elements * (widest > 8 ? widest : 8) : 0;
    job->pieces[4] = panels * job->planes_bytes;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as for every dtype */
    job->pieces[5] = job->run->target->sink ? elements * job->pruner.to->bytes : 0;
    job->pieces[6] = panels * sizeof(panel_result);
    job->pieces[7] = job->pruner.scaled ? 2 * job->batches.panels.groups_per_run * job->pruner.from->bytes : 0;
}

/* What the batch needs of those inputs that are streams, or of those that are not. */
static s24_status read_batch(const prune_job *job, prune_buffers *b, size_t batch, bool streams, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    const size_t cols = s24_place_cols(&place, job->entry->pruned->geometry.cols);
    const int axis = job->entry->axis;
    const void *rows;
    s24_status status = S24_OK;
    if (job->entry->in->stream == streams) {
        status = s24_source_view_rows(job->entry, axis, place.row, place.rows, 4 * place.group, cols, b->window, b->dense,
                                      b->scratch, &rows, err);
        b->weights = rows;
    }
    if (status == S24_OK && job->aux && job->aux->in->stream == streams) {
        status = s24_source_view_rows(job->aux, axis, place.row, place.rows, 4 * place.group, cols, b->aux_window, b->aux,
                                      b->scratch, &rows, err);
        b->second = rows;
    }
    return status;
}

/* Elements that were prepared, from those of the place on. */
static const void *prepared_at(const prune_job *job, const s24_panel_place *place)
{
    const size_t at = place->row * job->entry->pruned->geometry.cols + 4 * place->group;
    return (const unsigned char *)job->prepared.weights + at * s24_info(job->prepared.dtype)->bytes;
}

/* Streams are read here, in order. */
static s24_status stage_read(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    prune_job *job = ctx;
    s24_status status = s24_io_stopped(job->run->io, err);
    status = status == S24_OK ? take_desk(job, slot, err) : status;
    return status == S24_OK ? read_batch(job, buffers_of(job, slot), batch, true, err) : status;
}

static s24_status report_fault(const prune_job *job, const s24_fault *fault, const s24_panel_place *place, s24_error *err)
{
    const s24_entry *e = job->entry;
    s24_status status = s24_fault_report(fault, place, e->rank, e->shape, e->axis, job->pruner.to->name, err);
    const bool aux = fault->kind == S24_FAULT_AUX_NONFINITE;
    return s24_fail_prefix(err, status, "%s: %s%s", (aux ? job->aux : e)->in->name, e->name,
                           *e->name ? ": " : "");
}

static s24_status prune_one(prune_job *job, prune_buffers *b, size_t first, size_t index, s24_error *err)
{
    const s24_panel_place place = s24_panel_at(&job->batches.panels, index);
    const size_t before = s24_batch_before(&job->batches, first, index), slot = index - first;
    unsigned char *planes = b->planes + slot * job->planes_bytes;
    const s24_plain_place p = s24_plain_panel_place(job->entry, &place);
    const s24_plain_writer *writer = job->run->target->writer;
    s24_plain_checker checker;
    if (writer && s24_plain_writer_checker(writer, job->planned, index, &checker, err) != S24_OK) {
        return S24_ERR_SYSTEM;
    }
    const s24_panel panel = {
        .rows = place.rows,
        .cols = s24_place_cols(&place, job->entry->pruned->geometry.cols),
        .dense = b->weights + before * job->from->bytes,
        .aux = job->aux ? b->second + before * job->pruner.aux->bytes : NULL,
        .values = planes,
        .positions = s24_plain_plane(&p, planes, S24_POSITIONS),
        .scales = s24_plain_plane(&p, planes, S24_SCALES),
        .scratch = b->kept,
        .tap = writer ? &checker.tap : NULL,
        .row = place.row, .col = 4 * place.group,
    };
    s24_fault fault;
    panel_result *result = &b->results[slot];
    bool ok;
    if (job->run->prepares) {
        s24_panel solved = panel;
        solved.dense = prepared_at(job, &place);
        ok = s24_prune_panel(&job->pruner, &solved, &result->sums, &fault) &&
             s24_measure_panel(&job->measurer, &panel, &result->sums, &fault);
    } else {
        ok = s24_prune_panel(&job->pruner, &panel, &result->sums, &fault);
    }
    result->check = writer ? s24_plain_checker_end(&checker) : 0;
    if (!ok) {
        return report_fault(job, &fault, &place, err);
    }
    const s24_status status = writer ? s24_plain_writer_code(writer, job->planned, index, planes, result->check, err) : S24_OK;
    if (status != S24_OK) {
        return status;
    }
    if (job->run->target->sink) {
        unsigned char *to = b->unpacked + before * job->unpacker.to->bytes;
        s24_unpack_panel(&job->unpacker, panel.rows, panel.cols, panel.values, panel.positions, NULL, to, &fault);
    }
    return S24_OK;
}

static s24_status write_dense(prune_job *job, prune_buffers *b, size_t batch, s24_error *err)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    const size_t cols = s24_place_cols(&place, job->entry->pruned->geometry.cols);
    const s24_target *target = job->run->target;
    const s24_status status = s24_sink_write_rows(target->sink, job->index, job->entry->axis, place.row, place.rows,
                                                  4 * place.group, cols, b->unpacked, b->scratch, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(target));
}

static size_t batch_elements(const prune_job *job, size_t batch)
{
    size_t first, count;
    const s24_panel_place place = s24_batch_at(&job->batches, batch, &first, &count);
    return place.rows * s24_place_cols(&place, job->entry->pruned->geometry.cols);
}

/* What was found in a file that was cut off meanwhile is no fault of its data. */
static s24_status settle(prune_buffers *b, s24_status status, s24_error *err)
{
    s24_status cut = s24_window_settle(b->window, err);
    cut = cut == S24_OK ? s24_window_settle(b->aux_window, err) : cut;
    return cut == S24_OK ? status : cut;
}

/* Whether rows go to their places at once, whoever has them. */
static bool positional(const prune_job *job)
{
    return job->run->target->sink && s24_sink_positional(job->run->target->sink, job->index);
}

static s24_status stage_work(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    prune_job *job = ctx;
    prune_buffers *b = buffers_of(job, slot);
    size_t first, count;
    s24_batch_at(&job->batches, batch, &first, &count);
    s24_status status = read_batch(job, b, batch, false, err);
    if (status == S24_OK && !job->run->request->output) {
        b->zeros = s24_count_zeros(job->from, job->run->io->isa, b->weights, batch_elements(job, batch));
    }
    for (size_t i = first; i < first + count && status == S24_OK; i++) {
        status = prune_one(job, b, first, i, err);
    }
    status = settle(b, status, err);
    return status == S24_OK && positional(job) ? write_dense(job, b, batch, err) : status;
}

static s24_status stage_commit(void *ctx, unsigned slot, size_t batch, s24_error *err)
{
    prune_job *job = ctx;
    prune_run *run = job->run;
    prune_buffers *b = buffers_of(job, slot);
    size_t first, count;
    s24_batch_at(&job->batches, batch, &first, &count);
    s24_status status = run->target->sink && !positional(job) ? write_dense(job, b, batch, err) : S24_OK;
    for (size_t i = 0; i < count && status == S24_OK; i++) {
        if (run->target->writer) {
            status = s24_plain_writer_panel(run->target->writer, job->planned, first + i, b->planes + i * job->planes_bytes,
                                            b->results[i].check, err);
            s24_fail_prefix(err, status, "%s: ", s24_target_name(run->target));
        }
        s24_sums_add(&job->total, &b->results[i].sums);
    }
    job->zeros += b->zeros;
    run->done += batch_elements(job, batch) * job->from->bytes;
    if (run->io->progress) {
        run->io->progress(run->io->user, run->done, run->all);
    }
    return status;
}

/* ---------------------------------------------------------------- a tensor, from its opening to its end */

static s24_status begin_tensor(void *ctx, s24_error *err)
{
    const prune_job *job = ctx;
    const s24_target *target = job->run->target;
    const s24_status status = target->writer ? s24_plain_writer_begin(target->writer, job->planned, err) : S24_OK;
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(target));
}

static void note_negative_zeros(const prune_job *job)
{
    const s24_entry *e = job->entry;
    const unsigned long long count = job->total.negative_zero_count;
    if (count) {
        s24_io_note(job->run->io, "%s: %s%s%llu element%s -0.0 became +0.0", e->in->name, e->name, *e->name ? ": " : "",
                    count, s24_plural(count));
    }
}

/* Where another way was better on the samples held out; a transposable mask is not compared with others. */
static void note_fallback(const prune_job *job)
{
    prune_run *const run = job->run;
    const s24_entry *const e = job->entry;
    const s24_output_error *const o = &job->prepared.error;
    const bool other = o->method && run->method->solves && !run->transposable && strcmp(o->method, run->method->name) != 0;
    run->compared += o->held_out_samples > 0;
    if (other) {
        char told[sizeof run->fallback];
        snprintf(told, sizeof told, "%s: %s%s%s was worse on the samples held out: it was done by %s%s", e->in->name,
                 e->name, *e->name ? ": " : "", run->method->name, o->method, o->refit ? ", and refitted" : "");
        if (run->fallbacks++ == 0) {
            memcpy(run->fallback, told, sizeof told);
        } else {
            s24_io_note(run->io, "%s", told);
        }
    }
}

/* One line, however many there are. */
static void tell_fallbacks(const prune_run *run)
{
    if (run->fallbacks == 1) {
        s24_io_warn(run->io, "%s", run->fallback);
    } else if (run->fallbacks) {
        s24_io_warn(run->io, "%s; %zu more of %zu tensors were done by another method, too, as -v tells", run->fallback,
                    run->fallbacks - 1, run->compared);
    }
}

static s24_status end_tensor(void *ctx, s24_error *err)
{
    prune_job *job = ctx;
    const s24_target *target = job->run->target;
    s24_status status = S24_OK;
    s24_pruned *const p = job->entry->pruned; /* the planned entry's, too */
    p->sums = job->total;
    p->counted = !job->run->request->output;
    p->input_zeros = job->zeros;
    if (p->calibration) {
        *p->calibration = job->prepared.error;
    }
    if (target->writer) {
        status = s24_plain_writer_end(target->writer, job->planned, err);
    } else if (target->sink) {
        status = s24_sink_end_entry(target->sink, job->index, job->entry->axis, err);
    }
    if (status == S24_OK) {
        note_negative_zeros(job);
        note_fallback(job);
    }
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(target));
}

static bool moved(const prune_run *run, const s24_entry *e, const s24_entry *aux, const s24_entry *planned)
{
    return s24_entry_transposed(e, e->axis) || (aux && s24_entry_transposed(aux, e->axis)) ||
           (run->target->sink && s24_entry_transposed(planned, e->axis));
}

static s24_batches batches_of(const prune_run *run, const s24_entry *e, bool transposed)
{
    const size_t groups = run->request->panel_groups ? run->request->panel_groups : S24_PANEL_GROUPS;
    const s24_panels panels = s24_panels_of(&e->pruned->geometry, groups);
    return s24_batches_of(&panels, e->pruned->geometry.cols, s24_info(e->dtype)->bytes, transposed ? S24_BATCH_READ_BYTES : 0);
}

/* ---------------------------------------------------------------- the whole file */

static void show_preparation(void *user, double done)
{
    const prune_run *run = user;
    if (run->io->progress) {
        run->io->progress(run->io->user, run->done + (uint64_t)(done * (double)run->preparing), run->all);
    }
}

static s24_status find_method(prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    const bool planned = q->plan && !q->method, stored = q->plan && q->dtype == S24_SAME;
    run->refit = q->refit || (planned && run->plan.refit);
    run->transposable = q->transposable || (planned && run->plan.transposable);
    run->permute = q->permute || (planned && run->plan.permute);
    run->dtype = stored ? run->plan.dtype : q->dtype;
    run->scale_group = stored ? run->plan.scale_group : q->scale_group;
    const s24_status status = s24_seconds_method(planned ? run->plan.method : q->method, q->second, run->refit,
                                                 run->transposable, &run->method, err);
    if (planned) {
        s24_fail_prefix(err, status, "%s plans for %s, whose second inputs must be given again: ", run->plan.path,
                        run->plan.method);
    }
    if (status == S24_OK) {
        run->preparation = (s24_preparation){.io = run->io, .method = run->method, .refit = run->refit,
                                             .transposable = run->transposable, .permute = run->permute,
                                             .seconds = &run->seconds, .progress = show_preparation, .user = run};
        snprintf(run->method_name, sizeof run->method_name, "%s%s%s", run->method->name,
                 run->transposable ? "+transposable" : "", run->refit ? "+refit" : "");
    }
    return status;
}

static s24_status open_seconds(prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    if (run->source->format == &s24_format_s24) {
        return s24_fail(err, S24_ERR_USAGE, "%s: is a .s24 file: pruned already; s24 decompress gives it back dense",
                        run->source->in->name);
    }
    const s24_status status = s24_seconds_open(&run->seconds, run->io, q->second, run->source, &q->read, err);
    run->prepares = s24_must_prepare(&run->preparation);
    return status;
}

/* An entry as the target's plan has it. */
static s24_status plan_entry(void *ctx, const s24_entry *e, s24_contents *plan, s24_error *err)
{
    const prune_run *run = ctx;
    const bool dense = run->format != &s24_format_s24;
    const s24_dtype dtype = dense && e->packed ? e->stored : e->dtype;
    const bool nameless = !*e->name && !dense;
    s24_entry *copy = nameless ? s24_contents_add(plan, S24_NAMELESS, dtype, e->rank, e->shape, err)
                               : s24_contents_add_like(plan, e, dtype, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    copy->fortran = e->fortran;
    copy->big_endian = e->big_endian;
    copy->packed = e->packed && (!dense || run->format->unfit);
    copy->permuted = copy->packed && e->permuted;
    copy->stored = e->stored;
    copy->scaled = e->scaled;
    copy->scale_group = e->scale_group;
    copy->axis = e->axis;
    copy->pruned = copy->packed ? e->pruned : NULL;
    if (copy->pruned) {
        copy->pruned->owners++;
    }
    copy->reason = s24_shared_keep(e->reason);
    if (!copy->packed) {
        return S24_OK;
    }
    copy->method = s24_shared_like(plan->count > 1 ? copy[-1].method : NULL, run->method_name, err);
    return copy->method ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status prepare_tensor(prune_job *job, s24_error *err)
{
    prune_run *const run = job->run;
    run->preparing = job->entry->bytes;
    return s24_prepare(&run->preparation, job->entry, &job->prepared, err);
}

static s24_status prune_job_init(prune_job *job, prune_run *run, const s24_task *task, s24_error *err)
{
    s24_entry *e = task->entry;
    const s24_isa isa = run->io->isa;
    *job = (prune_job){.run = run, .entry = e, .from = s24_info(e->dtype), .index = task->planned,
                       .planned = s24_target_entry(run->target, task->planned)};
    const s24_second elements = s24_seconds_given(&run->seconds, run->prepares ? 0 : S24_ELEMENTS);
    if (elements != S24_SECONDS) {
        job->aux = s24_seconds_found(&run->seconds, elements, e, NULL);
    }
    s24_status status = run->prepares ? prepare_tensor(job, err) : S24_OK;
    if (status != S24_OK) {
        return status;
    }
    const bool transposed = moved(run, e, job->aux, job->planned);
    if (run->prepares) {
        job->pruner = s24_pruner_of(&s24_methods[S24_METHOD_MAGNITUDE], job->prepared.dtype, e->stored, S24_F64, false, isa);
        job->measurer = s24_measurer_of(e->dtype, e->stored, isa);
        job->measurer.scale_group = e->scale_group;
    } else {
        job->pruner = s24_pruner_of(run->method, e->dtype, e->stored, job->aux ? job->aux->dtype : S24_F64,
                                    run->request->allow_nonfinite, isa);
    }
    if (!run->prepares && s24_seconds_given(&run->seconds, ~S24_ELEMENTS) != S24_SECONDS) {
        status = s24_prepare_factors(&run->preparation, e, &job->factors, &job->prepared.error, err);
    }
    if (!run->prepares && run->method->factors) {
        s24_pruner_by(&job->pruner, &job->factors, isa);
    }
    job->pruner.scale_group = e->scale_group;
    job->unpacker = s24_unpacker_of(e->stored, e->stored, isa);
    job->batches = batches_of(run, e, transposed);
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as for every dtype */
    job->planes_bytes = s24_plain_panel_bytes(e, &job->batches.panels);
    set_pieces(job, transposed);
    if (status == S24_OK && !run->prepares) { /* a prepared one is held already */
        status = s24_source_hold(e, e->axis, err);
    }
    return status == S24_OK && job->aux ? s24_source_hold(job->aux, e->axis, err) : status;
}

static void free_job(void *ctx)
{
    prune_job *const job = ctx;
    s24_prepared_free(&job->prepared);
    s24_factors_free(&job->factors);
    free(job);
}

/* One prepared matrix in memory at a time; what multiplies by all inputs of a layer has all threads to itself. */
static bool alone(const prune_run *run)
{
    return run->prepares || s24_seconds_given(&run->seconds, S24_PRODUCTS) != S24_SECONDS;
}

static s24_status open_tensor(void *ctx, size_t number, s24_series *series, s24_error *err)
{
    static const s24_stages stages = {.read = stage_read, .work = stage_work, .commit = stage_commit,
                                      .begin = begin_tensor, .end = end_tensor, .free = free_job};
    prune_run *run = ctx;
    const s24_task *task = &run->tasks[number];
    if (!task->entry->packed) {
        const s24_status carried = s24_carry_open(&(s24_carry){
            .target = run->target, .from = task->entry, .index = task->planned, .workspace = &run->workspace,
            .done = &run->done}, series, err);
        series->alone = series->alone || alone(run);
        return carried;
    }
    prune_job *job = s24_calloc(1, sizeof *job, err);
    const s24_status status = job ? prune_job_init(job, run, task, err) : S24_ERR_SYSTEM;
    if (status != S24_OK) {
        if (job) {
            free_job(job);
        }
        return status;
    }
    *series = (s24_series){.stages = &stages, .ctx = job, .jobs = job->batches.count, .alone = alone(run)};
    return S24_OK;
}

static s24_status process(void *ctx, s24_target *target, const s24_task *tasks, size_t count, s24_error *err)
{
    prune_run *run = ctx;
    run->target = target;
    run->tasks = tasks;
    return s24_workspace_run(&run->workspace, run->io, open_tensor, run, count, err);
}

static s24_status expect_end(void *ctx, s24_source *file, s24_error *err)
{
    (void)ctx;
    const s24_status status = s24_source_expect_end(file, err);
    return s24_fail_prefix(err, status, "%s: ", file->in->name);
}

/* A share of a checkpoint leaves the other shards' tensors to the other jobs. */
static s24_status take_share(prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    if (q->shards == 0) {
        return S24_OK;
    }
    if (!run->source->checkpoint || q->shard < 1 || q->shard > q->shards) {
        return s24_fail(err, S24_ERR_USAGE, "%s: %s", run->source->in->name, run->source->checkpoint
                        ? "the share must be one of 1 to as many as there are" : "only a checkpoint has shards to share");
    }
    for (size_t i = 0; i < run->source->part_count; i++) {
        s24_contents *c = &run->source->parts[i]->contents;
        for (size_t k = 0; k < c->count && i % q->shards != q->shard - 1; k++) {
            c->entries[k].elsewhere = true;
        }
    }
    return S24_OK;
}

static s24_status count_selected(prune_run *run, s24_error *err)
{
    const s24_contents *c = &run->source->contents;
    size_t selected = 0;
    for (size_t i = 0; i < c->count; i++) {
        selected += c->entries[i].packed;
        run->all += c->entries[i].elsewhere ? 0 : c->entries[i].bytes;
    }
    if (!selected && run->request->plan) {
        return s24_fail(err, S24_ERR_NOTHING, "%s: %s leaves every tensor dense", run->source->in->name, run->plan.path);
    }
    return selected ? S24_OK
                    : s24_fail(err, S24_ERR_NOTHING, "%s: no tensor is eligible; s24 inspect says why, --include and "
                               "--all select more", run->source->in->name);
}

/* Without an output: the metrics alone. */
static s24_status dry_run(prune_run *run, s24_error *err)
{
    s24_target nowhere = {0};
    const s24_contents *c = &run->source->contents;
    s24_task *tasks = s24_calloc(c->count, sizeof *tasks, err);
    size_t count = 0;
    for (size_t i = 0; tasks && i < c->count; i++) {
        s24_entry *e = &c->entries[i];
        if (!e->elsewhere && e->packed) {
            tasks[count++] = (s24_task){.entry = e, .planned = i};
        } else if (!e->elsewhere) {
            run->done += e->bytes;
        }
    }
    s24_status status = tasks ? process(run, &nowhere, tasks, count, err) : S24_ERR_SYSTEM;
    free(tasks);
    for (size_t i = 0; i < s24_source_files(run->source) && status == S24_OK; i++) {
        status = expect_end(run, s24_source_file(run->source, i), err);
    }
    return status;
}

/* Before anything is written: every tensor that is pruned has its second inputs. */
static s24_status check_seconds(const prune_run *run, s24_error *err)
{
    const s24_contents *c = &run->source->contents;
    for (size_t i = 0; i < c->count; i++) {
        s24_entry *const e = &c->entries[i];
        const s24_status status = e->packed && !e->elsewhere ? s24_prepare_plan(&run->preparation, e, err) : S24_OK;
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

/* Scales need a .s24, and panels that leave them whole: before anything is written. */
static s24_status check_scales(const prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    const s24_contents *c = &run->source->contents;
    const bool dense = q->output && q->to && strcmp(q->to, "s24") != 0;
    const size_t groups = q->panel_groups ? q->panel_groups : S24_PANEL_GROUPS;
    s24_status status = S24_OK;
    for (size_t i = 0; i < c->count && status == S24_OK; i++) {
        const s24_entry *e = &c->entries[i];
        if (e->packed && e->scaled) {
            status = dense ? s24_fail(err, S24_ERR_USAGE, "a dense file has no place for the scales of %s; write a .s24, and s24 "
                                      "decompress gives it back as floats", s24_dtype_name(e->stored))
                           : s24_scales_check(&e->pruned->geometry, e->scale_group, groups, err);
            s24_fail_prefix(err, status, "%s: %s%s", e->in->name, e->name, *e->name ? ": " : "");
        }
    }
    return status;
}

static s24_status find_format(prune_run *run, s24_error *err)
{
    const char *to = run->request->to ? run->request->to : "s24";
    run->format = strcmp(to, "same") == 0 ? run->source->format : s24_format_by_name(to);
    if (!run->format || (run->format != &s24_format_s24 && !run->format->create)) {
        return s24_fail(err, S24_ERR_USAGE, "no such output type: %s", to);
    }
    return S24_OK;
}

/* Before anything else is done: it may take minutes. */
static s24_status permute(prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    const s24_status status = find_format(run, err);
    if (status == S24_OK && run->permute && run->format != &s24_format_s24) {
        return s24_fail(err, S24_ERR_USAGE, "%s: a dense file of permuted tensors would not be 2:4, since the order is "
                        "undone in it; write .s24, or permute neighbours alike with --permute-with",
                        q->permute ? "--permute" : run->plan.path);
    }
    return status == S24_OK ? s24_permute_source(&run->preparation, q, run->source, err) : status;
}

/* Which tensors, of which files. */
static s24_status choose(prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    s24_status status = q->plan ? s24_select_planned(run->source, &q->selection, &run->plan, run->dtype, run->scale_group, err)
                                : s24_select(run->source, &q->selection, run->dtype, run->scale_group, err);
    s24_fail_prefix(err, status, "%s: ", run->source->in->name);
    status = status == S24_OK ? check_scales(run, err) : status;
    status = status == S24_OK ? take_share(run, err) : status;
    status = status == S24_OK ? count_selected(run, err) : status;
    status = status == S24_OK ? check_seconds(run, err) : status;
    return status == S24_OK && (run->permute || q->permute_with_count) ? permute(run, err) : status;
}

/* All tensors, to where they go. */
static s24_status run_all(prune_run *run, s24_error *err)
{
    const s24_prune_request *q = run->request;
    s24_status status = find_format(run, err);
    if (status == S24_OK && q->output) {
        run->delivery = (s24_delivery){
            .io = run->io, .source = run->source, .others = run->seconds.of, .other_count = S24_SECONDS,
            .format = run->format, .output = q->output,
            .directory = q->directory, .shard = q->shard, .shards = q->shards, .panel_groups = q->panel_groups,
            .panel_bytes = q->panel_bytes, .packing = q->packing, .ctx = run, .plan = plan_entry, .process = process, .end = expect_end,
        };
        status = s24_delivery_write(&run->delivery, err);
    } else if (status == S24_OK) {
        status = dry_run(run, err);
    }
    if (status == S24_OK) {
        tell_fallbacks(run);
    }
    return status == S24_OK ? s24_seconds_expect_end(&run->seconds, err) : status;
}

/* The report, and the outputs appear. */
static s24_status complete(prune_run *run, s24_report *report, s24_error *err)
{
    const s24_prune_request *q = run->request;
    s24_status status = report ? s24_report_fill(report, q->input, run->source, run->method_name, true, err) : S24_OK;
    if (status != S24_OK) {
        s24_delivery_abort(&run->delivery);
        return status;
    }
    if (report) {
        report->archive = q->packing.level != 0;
    }
    if (report && run->format != &s24_format_s24 && !run->format->unfit) {
        s24_report_as_dense(report);
    }
    status = s24_delivery_commit(&run->delivery, err);
    if (status != S24_OK && report) {
        s24_report_free(report);
    }
    return status;
}

/* From where the tensors are chosen on. */
static s24_status finish(prune_run *run, s24_status status, s24_report *report, s24_error *err)
{
    status = status == S24_OK ? run_all(run, err) : status;
    if (status == S24_OK) {
        status = complete(run, report, err);
    } else {
        s24_delivery_abort(&run->delivery);
    }
    if (status == S24_ERR_NOTHING && report) {
        s24_report_fill(report, run->request->input, run->source, NULL, false, NULL);
    }
    s24_workspace_free(&run->workspace);
    s24_plan_free(&run->plan);
    s24_seconds_close(&run->seconds);
    s24_source_close(run->source);
    return status;
}

s24_status s24_prune_source(const s24_io *io, const s24_prune_request *request, s24_source *source, s24_report *report,
                            s24_error *err)
{
    prune_run run = {.io = io, .request = request, .source = source};
    s24_status status = request->plan ? s24_plan_read(&run.plan, io, request->plan, err) : S24_OK;
    status = status == S24_OK ? find_method(&run, err) : status;
    status = status == S24_OK ? open_seconds(&run, err) : status;
    return finish(&run, status == S24_OK ? choose(&run, err) : status, report, err);
}

s24_status s24_pack_source(const s24_io *io, const s24_prune_request *request, s24_source *source, s24_report *report,
                           s24_error *err)
{
    prune_run run = {.io = io, .request = request, .source = source, .method = s24_method_find("magnitude"),
                     .method_name = "packed"};
    const s24_status status = take_share(&run, err);
    for (size_t i = 0; i < source->contents.count; i++) {
        run.all += source->contents.entries[i].elsewhere ? 0 : source->contents.entries[i].bytes;
    }
    return finish(&run, status, report, err);
}

s24_status s24_prune_file(const s24_io *io, const s24_prune_request *request, s24_report *report, s24_error *err)
{
    s24_source *source;
    const s24_format *to = request->to ? s24_format_by_name(request->to) : NULL;
    if (to && to->unfit) {
        return s24_fail(err, S24_ERR_USAGE, "s24 prune does not write %s; prune to .s24, and s24 convert that", to->name);
    }
    const s24_status status = s24_source_open(&source, io, request->input, &request->read, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", s24_input_shown(request->input));
    }
    return s24_prune_source(io, request, source, report, err);
}
