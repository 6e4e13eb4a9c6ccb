/* The API over whole tensors in memory: panels handed to threads, sums added in the order of panels. */
#include <math.h>
#include <stdio.h>

#include "error.h"
#include "mem.h"
#include "panel.h"
#include "threads.h"
#include "transposable.h"

const char *s24_version(void)
{
    return S24_VERSION;
}

static size_t round_up_64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

/* scaled: there are scales, all of them 1. */
static s24_status tensor_new(s24_tensor **tensor, s24_dtype dtype, bool scaled, size_t scale_group, int rank,
                             const size_t *shape, int axis, s24_error *err)
{
    s24_geometry geometry;
    int resolved;
    if (!s24_dtype_prunable(dtype)) {
        return s24_fail(err, S24_ERR_USAGE, "a 2:4 tensor of %s cannot be", s24_dtype_name(dtype));
    }
    s24_status status = s24_geometry_init(&geometry, dtype, rank, shape, axis, &resolved, err);
    status = status == S24_OK && scaled ? s24_scales_check(&geometry, scale_group, S24_PANEL_GROUPS, err) : status;
    if (status != S24_OK) {
        return status;
    }
    const size_t head = round_up_64(sizeof(s24_tensor));
    const size_t scales = scaled ? geometry.rows * s24_row_scales(geometry.cols, scale_group) : 0;
    const size_t planes = round_up_64(geometry.values_bytes) + round_up_64(geometry.positions_bytes) + scales * sizeof(float);
    s24_tensor *t = s24_alloc(head + planes, err);
    if (!t) {
        return S24_ERR_SYSTEM;
    }
    memset(t, 0, head + round_up_64(geometry.values_bytes));
    if (scaled) {
        t->scales = (float *)(void *)((unsigned char *)t + head + planes - scales * sizeof(float));
        t->scale_group = scale_group;
    }
    for (size_t i = 0; i < scales; i++) {
        t->scales[i] = 1;
    }
    t->values = (unsigned char *)t + head;
    t->positions = (uint8_t *)t->values + round_up_64(geometry.values_bytes);
    for (size_t r = 0; r < geometry.rows && geometry.groups; r++) { /* rows of nothing may be very many */
        uint8_t *row = t->positions + r * geometry.row_positions;
        memset(row, 0x44, geometry.row_positions);
        if (geometry.groups % 2) {
            row[geometry.row_positions - 1] = 0x04;
        }
    }
    t->dtype = dtype;
    t->source_dtype = scaled ? S24_F32 : dtype;
    t->rank = rank;
    t->axis = resolved;
    for (int d = 0; d < rank; d++) { /* shape may be NULL for rank 0 */
        t->shape[d] = shape[d];
    }
    t->geometry = geometry;
    t->num_elements = geometry.num_elements;
    t->memory_bytes = geometry.values_bytes + geometry.positions_bytes + scales * sizeof(float);
    t->sparsity_percent = geometry.num_elements ? 100 : 0;
    *tensor = t;
    return S24_OK;
}

s24_status s24_tensor_new(s24_tensor **tensor, s24_dtype dtype, int rank, const size_t *shape, int axis,
                          s24_error *err)
{
    return tensor_new(tensor, dtype, false, 0, rank, shape, axis, err);
}

s24_status s24_tensor_new_scaled(s24_tensor **tensor, s24_dtype dtype, size_t scale_group, int rank, const size_t *shape,
                                 int axis, s24_error *err)
{
    return s24_dtype_scaled(S24_F64, dtype)
        ? tensor_new(tensor, dtype, true, scale_group, rank, shape, axis, err)
        : s24_fail(err, S24_ERR_USAGE, "a tensor of %s has no scales; i8, f8e4m3 and f8e5m2 have", s24_dtype_name(dtype));
}

static void free_permutation(s24_tensor *t)
{
    free((int32_t *)t->permutation);
    t->memory_bytes -= t->permutation ? t->geometry.cols * sizeof *t->permutation : 0;
    t->permutation = NULL;
}

void s24_tensor_free(s24_tensor *tensor)
{
    if (tensor) {
        free_permutation(tensor);
    }
    free(tensor);
}

s24_status s24_tensor_set_permutation(s24_tensor *t, const int32_t *permutation, s24_error *err)
{
    const size_t cols = t->geometry.cols;
    int32_t *copy = NULL;
    if (permutation) {
        s24_status status = s24_permutable(&t->geometry, S24_PANEL_GROUPS, err);
        if (status == S24_OK) {
            status = s24_permutation_check(permutation, cols, err);
            s24_fail_prefix(err, status, status == S24_ERR_DATA ? "the order of columns " : "");
        }
        if (status != S24_OK) {
            return status;
        }
        copy = s24_calloc(cols, sizeof *copy, err);
        if (!copy) {
            return S24_ERR_SYSTEM;
        }
        memcpy(copy, permutation, cols * sizeof *copy);
    }
    free_permutation(t);
    t->permutation = copy;
    t->memory_bytes += copy ? cols * sizeof *copy : 0;
    return S24_OK;
}

void s24_tensor_permute_rows(const s24_tensor *t, const float *b, size_t ldb, size_t n, float *out, size_t ldo)
{
    for (size_t i = 0; i < t->geometry.cols; i++) {
        memcpy(out + i * ldo, b + (t->permutation ? (size_t)t->permutation[i] : i) * ldb, n * sizeof *out);
    }
}

s24_block s24_tensor_block(const s24_tensor *t, size_t row, size_t group)
{
    const s24_dtype_info *info = s24_info(t->dtype);
    const size_t at = row * t->geometry.row_values + 2 * group;
    const uint8_t byte = t->positions[row * t->geometry.row_positions + group / 2];
    const unsigned nibble = byte >> (group % 2 * 4) & 15;
    const size_t scale_at = row * s24_row_scales(t->geometry.cols, t->scale_group) +
                            (t->scale_group ? 4 * group / t->scale_group : 0);
    const double scale = t->scales ? (double)t->scales[scale_at] : 1;
    return (s24_block){.values = {s24_decode(info, s24_load(t->values, info->bytes, at)) * scale,
                                  s24_decode(info, s24_load(t->values, info->bytes, at + 1)) * scale},
                       .positions = {nibble & 3, (uint8_t)(nibble >> 2)}};
}

static const char *nonfinite_name(double x)
{
    return isnan(x) ? "nan" : x < 0 ? "-inf" : "inf";
}

void s24_fault_restore(s24_fault *fault, const int32_t *permutation)
{
    if (permutation && fault->kind != S24_FAULT_POSITIONS && fault->kind != S24_FAULT_SCALE) { /* those are of a place */
        fault->col = (size_t)permutation[fault->col];
    }
}

s24_status s24_fault_report(const s24_fault *fault, const s24_panel_place *place, int rank, const size_t *shape,
                            int axis, const char *to, s24_error *err)
{
    size_t index[S24_MAX_RANK];
    char where[24 * 8];
    const size_t row = place->row + fault->row, col = 4 * place->group + fault->col;
    if (fault->kind == S24_FAULT_POSITIONS) {
        return s24_fail(err, S24_ERR_DATA, "row %zu, group %zu: positions are not two ascending indices", row, col / 4);
    }
    if (fault->kind == S24_FAULT_SCALE) {
        return s24_fail(err, S24_ERR_DATA, "row %zu, group %zu: the scale is %.9g, and must be finite and above 0", row,
                        col / 4, fault->value);
    }
    s24_element_index(rank, shape, axis, row, col, index);
    int used = 0;
    for (int d = 0; d < rank && used < (int)sizeof where - 24; d++) {
        used += snprintf(where + used, sizeof where - (size_t)used, "%s%zu", d ? ", " : "", index[d]);
    }
    where[used] = '\0';
    switch (fault->kind) {
    case S24_FAULT_RANGE:
        return s24_fail(err, S24_ERR_DATA, "element [%s] is %.9g, beyond the range of %s; choose a wider --dtype", where,
                        fault->value, to);
    case S24_FAULT_SCALE_RANGE:
        return s24_fail(err, S24_ERR_DATA, "element [%s] is %.9g, beyond the range of %s with an f32 scale; choose a wider "
                        "--dtype", where, fault->value, to);
    case S24_FAULT_UNSCALED:
        return s24_fail(err, S24_ERR_DATA, "element [%s] is %s, and %s with scales has no place for it; mend the weights, or "
                        "leave --dtype out", where, nonfinite_name(fault->value), to);
    case S24_FAULT_AUX_NONFINITE:
        return s24_fail(err, S24_ERR_DATA, "the second input's element [%s] is not finite; its values must be finite",
                        where);
    default:
        return s24_fail(err, S24_ERR_DATA, "element [%s] is %s; mend the weights, or keep such elements with "
                        "--allow-nonfinite", where, nonfinite_name(fault->value));
    }
}

/* ---------------------------------------------------------------- strided views as panels */

/* Rows of a dense view, without a copy where the view allows that. */
typedef struct row_view {
    const s24_dense *dense;
    const s24_dtype_info *info;
    int64_t strides[S24_MAX_RANK];
    int axis;
    const int32_t *permutation; /* of the columns; NULL: none */
    bool contiguous; /* canonical rows lie behind one another, as they are wanted */
} row_view;

static row_view row_view_of(const s24_dense *dense, int axis, const int32_t *permutation)
{
    row_view v = {.dense = dense, .info = s24_info(dense->dtype), .axis = axis, .permutation = permutation};
    int64_t c_order[S24_MAX_RANK];
    s24_c_strides(dense->rank, dense->shape, c_order);
    memcpy(v.strides, dense->strides ? dense->strides : c_order, (size_t)dense->rank * sizeof *c_order);
    v.contiguous = dense->rank == 0 || axis == dense->rank - 1;
    for (int d = 0; d < dense->rank; d++) {
        v.contiguous = v.contiguous && (v.strides[d] == c_order[d] || dense->shape[d] <= 1);
    }
    v.contiguous = v.contiguous && !permutation;
    return v;
}

/* The rows of a place, contiguous: in the view itself, or gathered into buffer. */
static const void *row_view_get(const row_view *v, const s24_panel_place *place, size_t row_cols, void *buffer)
{
    const size_t cols = s24_place_cols(place, row_cols);
    const unsigned bytes = v->info->bytes;
    if (v->contiguous) {
        return (const unsigned char *)v->dense->data + (place->row * row_cols + 4 * place->group) * bytes;
    }
    if (v->permutation) {
        s24_gather_permuted(v->dense->data, bytes, v->dense->rank, v->dense->shape, v->strides, v->axis, place->row,
                            place->rows, v->permutation, buffer);
        return buffer;
    }
    s24_gather_rows(v->dense->data, bytes, v->dense->rank, v->dense->shape, v->strides, v->axis, place->row, place->rows,
                    4 * place->group, cols, buffer);
    return buffer;
}

/* ---------------------------------------------------------------- pruning and measuring */

/* Of a slot: originals and second input where they are gathered, and what quantizing needs. */
enum { ORIGINAL, AUX, SCRATCH, BUFFERS };

/* One job for both: a panel of `original`, and of the tensor that it becomes or became. */
typedef struct panel_job {
    s24_tensor *tensor;
    s24_panels panels;
    row_view original, aux;
    bool has_aux, measure;
    s24_pruner pruner;
    s24_measurer measurer;
    unsigned char **buffers;  /* BUFFERS a slot; NULL where they are not needed */
    s24_sums *sums;           /* one a slot */
    s24_sums total;
} panel_job;

/* Of a place in a tensor; NULL: it has none. */
static float *place_scales(const s24_tensor *t, const s24_panel_place *place)
{
    const size_t before = place->row * s24_row_scales(t->geometry.cols, t->scale_group);
    return t->scales ? t->scales + before + (t->scale_group ? 4 * place->group / t->scale_group : 0) : NULL;
}

static s24_status job_work(void *ctx, unsigned slot, size_t index, s24_error *err)
{
    panel_job *job = ctx;
    const s24_tensor *t = job->tensor;
    const s24_geometry *g = &t->geometry;
    const s24_panel_place place = s24_panel_at(&job->panels, index);
    s24_fault fault;
    const s24_panel panel = {
        .rows = place.rows,
        .cols = s24_place_cols(&place, g->cols),
        .dense = row_view_get(&job->original, &place, g->cols, job->buffers[BUFFERS * slot + ORIGINAL]),
        .aux = job->has_aux ? row_view_get(&job->aux, &place, g->cols, job->buffers[BUFFERS * slot + AUX]) : NULL,
        .values = (unsigned char *)t->values +
                  (place.row * g->row_values + 2 * place.group) * s24_info(t->dtype)->bytes,
        .positions = t->positions + place.row * g->row_positions + place.group / 2,
        .scales = place_scales(t, &place),
        .scratch = job->buffers[BUFFERS * slot + SCRATCH],
    };
    const bool ok = job->measure
        ? s24_measure_panel(&job->measurer, &panel, &job->sums[slot], &fault)
        : s24_prune_panel(&job->pruner, &panel, &job->sums[slot], &fault);
    if (!ok) {
        s24_fault_restore(&fault, t->permutation);
        return s24_fault_report(&fault, &place, t->rank, t->shape, t->axis, job->pruner.to->name, err);
    }
    return S24_OK;
}

static s24_status job_commit(void *ctx, unsigned slot, size_t index, s24_error *err)
{
    panel_job *job = ctx;
    (void)index;
    (void)err;
    s24_sums_add(&job->total, &job->sums[slot]);
    return S24_OK;
}

static s24_status job_buffers(panel_job *job, unsigned slots, s24_error *err)
{
    const size_t elements = s24_panel_at(&job->panels, 0).rows * 4 * job->panels.groups_per_run;
    const row_view *const views[] = {[ORIGINAL] = &job->original, [AUX] = &job->aux};
    size_t bytes[BUFFERS] = {0};
    job->sums = s24_calloc(slots, sizeof *job->sums, err);
    job->buffers = s24_calloc(BUFFERS * (size_t)slots, sizeof *job->buffers, err);
    if (!job->sums || !job->buffers) {
        return S24_ERR_SYSTEM;
    }
    for (int k = ORIGINAL; k <= AUX; k++) {
        bytes[k] = views[k]->dense && !views[k]->contiguous ? elements * views[k]->info->bytes : 0;
    }
    bytes[SCRATCH] = job->pruner.scaled ? 2 * job->panels.groups_per_run * job->pruner.from->bytes : 0;
    for (unsigned i = 0; i < BUFFERS * slots && job->panels.count; i++) {
        if (bytes[i % BUFFERS] && !(job->buffers[i] = s24_alloc(bytes[i % BUFFERS], err))) {
            return S24_ERR_SYSTEM;
        }
    }
    return S24_OK;
}

static s24_status job_run(panel_job *job, unsigned threads, s24_error *err)
{
    static const s24_stages stages = {.work = job_work, .commit = job_commit};
    job->panels = s24_panels_of(&job->tensor->geometry, S24_PANEL_GROUPS);
    threads = threads ? threads : s24_threads_available();
    threads = threads < job->panels.count ? threads : job->panels.count ? (unsigned)job->panels.count : 1;
    s24_status status = job_buffers(job, s24_slots(threads), err);
    if (status == S24_OK) {
        status = s24_run(&stages, job, job->panels.count, threads, err);
    }
    for (unsigned i = 0; job->buffers && i < BUFFERS * s24_slots(threads); i++) {
        free(job->buffers[i]);
    }
    free(job->buffers);
    free(job->sums);
    return status;
}

static bool same_shape(const s24_dense *a, int rank, const size_t *shape)
{
    return a->rank == rank && rank >= 0 && rank <= S24_MAX_RANK &&
           (rank == 0 || memcmp(a->shape, shape, (size_t)rank * sizeof *shape) == 0);
}

static const s24_prune_options default_options = S24_PRUNE_OPTIONS_INIT;

/* After the job is set up: chooses what is kept, as a whole, before panels are packed. NULL: panel by panel. */
typedef s24_status choose_mask(panel_job *job, const s24_prune_options *options, s24_error *err);

static s24_status run_pruning(panel_job *job, const s24_prune_options *o, choose_mask *choose, s24_prune_metrics *figures,
                              s24_error *err)
{
    s24_status status = choose ? choose(job, o, err) : S24_OK;
    status = status == S24_OK ? job_run(job, o->threads, err) : status;
    if (status != S24_OK) {
        s24_tensor_free(job->tensor);
        return status;
    }
    *figures = s24_metrics_from_sums(&job->total);
    job->tensor->sparsity_percent = job->total.total_count ? figures->sparsity_percent : 0;
    return S24_OK;
}

static s24_status prune(const s24_method *method, choose_mask *choose, const s24_dense *weights, const s24_dense *aux,
                        const s24_prune_options *options, s24_tensor **tensor, s24_prune_metrics *metrics,
                        s24_error *err)
{
    const s24_prune_options *o = options ? options : &default_options;
    const s24_dtype to = o->dtype == S24_SAME ? weights->dtype : o->dtype;
    const bool scaled = s24_dtype_scaled(weights->dtype, to);
    if (!scaled && !s24_dtype_convertible(weights->dtype, to)) {
        return s24_fail(err, S24_ERR_USAGE, "%s cannot be pruned and stored as %s", s24_dtype_name(weights->dtype),
                        s24_dtype_name(to));
    }
    if (aux && (!s24_dtype_prunable(aux->dtype) || !same_shape(aux, weights->rank, weights->shape))) {
        return s24_fail(err, S24_ERR_USAGE, "%s must be numbers of the shape of the weights",
                        s24_second_name((s24_second)__builtin_ctz(method->takes)));
    }
    panel_job job = {.has_aux = aux};
    s24_status status = tensor_new(&job.tensor, to, scaled, o->scale_group, weights->rank, weights->shape, o->axis, err);
    if (status != S24_OK) {
        return status;
    }
    status = s24_tensor_set_permutation(job.tensor, o->permutation, err);
    if (status != S24_OK) {
        s24_tensor_free(job.tensor);
        return status;
    }
    job.tensor->source_dtype = weights->dtype;
    job.original = row_view_of(weights, job.tensor->axis, job.tensor->permutation);
    if (aux) {
        job.aux = row_view_of(aux, job.tensor->axis, job.tensor->permutation);
    }
    job.pruner = s24_pruner_of(method, weights->dtype, to, aux ? aux->dtype : S24_F64, o->allow_nonfinite, o->isa);
    job.pruner.scale_group = o->scale_group;
    if (choose) {
        s24_pruner_mask(&job.pruner, o->isa);
    }
    s24_prune_metrics figures;
    status = run_pruning(&job, o, choose, &figures, err);
    if (status != S24_OK) {
        return status;
    }
    *tensor = job.tensor;
    if (metrics) {
        *metrics = figures;
    }
    return S24_OK;
}

s24_status s24_prune_magnitude(const s24_dense *weights, const s24_prune_options *options, s24_tensor **tensor,
                               s24_prune_metrics *metrics, s24_error *err)
{
    return prune(&s24_methods[S24_METHOD_MAGNITUDE], NULL, weights, NULL, options, tensor, metrics, err);
}

s24_status s24_prune_gradient(const s24_dense *weights, const s24_dense *gradients, const s24_prune_options *options,
                              s24_tensor **tensor, s24_prune_metrics *metrics, s24_error *err)
{
    return prune(&s24_methods[S24_METHOD_GRADIENT], NULL, weights, gradients, options, tensor, metrics, err);
}

/* A row of the view, as s24_score_rows wants it. */
static const void *original_row(const void *ctx, size_t row, void *buffer)
{
    const panel_job *job = ctx;
    const s24_geometry *g = &job->tensor->geometry;
    const s24_panel_place place = {.row = row, .rows = 1, .groups = g->groups};
    return row_view_get(&job->original, &place, g->cols, buffer);
}

static s24_status choose_transposable(panel_job *job, const s24_prune_options *o, s24_error *err)
{
    const s24_tensor *t = job->tensor;
    const s24_block_rows blocks = s24_block_rows_of(&t->geometry, t->rank, t->shape, t->axis);
    const s24_score_rows rows = {.get = original_row, .ctx = job, .dtype = t->source_dtype,
                                 .buffered = !job->original.contiguous};
    const unsigned threads = o->threads ? o->threads : s24_threads_available();
    return s24_transposable_positions(&blocks, &rows, o->isa, threads, t->positions, err);
}

s24_status s24_prune_transposable(const s24_dense *weights, const s24_prune_options *options, s24_tensor **tensor,
                                  s24_prune_metrics *metrics, s24_error *err)
{
    return prune(&s24_methods[S24_METHOD_MAGNITUDE], choose_transposable, weights, NULL, options, tensor, metrics, err);
}

s24_status s24_compute_metrics(const s24_dense *original, const s24_tensor *tensor, unsigned threads,
                               s24_prune_metrics *metrics, s24_error *err)
{
    if (!s24_dtype_prunable(original->dtype) || !same_shape(original, tensor->rank, tensor->shape)) {
        return s24_fail(err, S24_ERR_USAGE, "the original must be numbers of the shape of the sparse tensor");
    }
    panel_job job = {.tensor = (s24_tensor *)tensor, /* only read when measuring */
                     .measure = true,
                     .original = row_view_of(original, tensor->axis, tensor->permutation),
                     .pruner = {.to = s24_info(tensor->dtype)},
                     .measurer = s24_measurer_of(original->dtype, tensor->dtype, S24_ISA_BEST)};
    job.measurer.scale_group = tensor->scale_group;
    const s24_status status = job_run(&job, threads, err);
    if (status == S24_OK) {
        *metrics = s24_metrics_from_sums(&job.total);
    }
    return status;
}

/* ---------------------------------------------------------------- unpacking */

s24_status s24_decompress(const s24_tensor *t, s24_dtype dtype, void *dense, s24_error *err)
{
    const s24_dtype to = dtype != S24_SAME ? dtype : t->scales ? t->source_dtype : t->dtype;
    const s24_geometry *g = &t->geometry;
    if (!s24_dtype_restorable(t->dtype, t->scales != NULL, t->source_dtype, to)) {
        return s24_fail(err, S24_ERR_USAGE, "cannot convert %s to %s without scales", s24_dtype_name(t->dtype),
                        s24_dtype_name(to));
    }
    s24_unpacker unpacker = s24_unpacker_of(t->dtype, to, S24_ISA_BEST);
    unpacker.scale_group = t->scale_group;
    const s24_panels panels = s24_panels_of(g, S24_PANEL_GROUPS);
    const bool in_place = (t->rank == 0 || t->axis == t->rank - 1) && !t->permutation;
    const unsigned bytes = s24_info(to)->bytes;
    int64_t strides[S24_MAX_RANK];
    s24_c_strides(t->rank, t->shape, strides);
    unsigned char *buffer = NULL;
    if (!in_place && !(buffer = s24_alloc(s24_panel_at(&panels, 0).rows * 4 * panels.groups_per_run * bytes, err))) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = S24_OK;
    for (size_t i = 0; i < panels.count && status == S24_OK; i++) {
        const s24_panel_place p = s24_panel_at(&panels, i);
        const size_t cols = s24_place_cols(&p, g->cols);
        unsigned char *rows = in_place ? (unsigned char *)dense + (p.row * g->cols + 4 * p.group) * bytes : buffer;
        s24_fault fault;
        if (!s24_unpack_panel(&unpacker, p.rows, cols,
                              (unsigned char *)t->values + (p.row * g->row_values + 2 * p.group) * s24_info(t->dtype)->bytes,
                              t->positions + p.row * g->row_positions + p.group / 2, place_scales(t, &p), rows, &fault)) {
            s24_fault_restore(&fault, t->permutation);
            status = s24_fault_report(&fault, &p, t->rank, t->shape, t->axis, s24_dtype_name(to), err);
        } else if (t->permutation) {
            s24_scatter_permuted(rows, bytes, t->rank, t->shape, strides, t->axis, p.row, p.rows, t->permutation, dense);
        } else if (!in_place) {
            s24_scatter_rows(rows, bytes, t->rank, t->shape, strides, t->axis, p.row, p.rows, 4 * p.group, cols, dense);
        }
    }
    free(buffer);
    return status;
}
