/* Calibrated pruning of a tensor in memory: its rows as one matrix, solved, and packed by the solver's positions. */
#include <math.h>

#include "mem.h"
#include "panel.h"
#include "solve.h"

/* The rows of the view, contiguous, as f64 where it is f64 and else as f32: exact. */
static s24_status rows_of(const s24_dense *dense, const s24_geometry *g, int axis, s24_dtype to, void *rows, s24_error *err)
{
    const unsigned bytes = s24_info(dense->dtype)->bytes, to_bytes = s24_info(to)->bytes;
    int64_t c_order[S24_MAX_RANK];
    s24_c_strides(dense->rank, dense->shape, c_order);
    void *row = s24_alloc(g->cols * bytes, err);
    s24_status status = row ? S24_OK : S24_ERR_SYSTEM;
    for (size_t r = 0; r < g->rows && status == S24_OK; r++) {
        s24_gather_rows(dense->data, bytes, dense->rank, dense->shape, dense->strides ? dense->strides : c_order, axis, r, 1,
                        0, g->cols, row);
        status = s24_dtype_convert(dense->dtype, row, to, (unsigned char *)rows + r * g->cols * to_bytes, g->cols, NULL, err);
    }
    free(row);
    return status;
}

/*
 * The bits of x. Whole numbers and 8-bit floats go by a scale that the weights came with: x is held within their range,
 * as quantizing does.
 */
static uint64_t encode(const s24_dtype_info *to, double x, bool *overflow)
{
    if (to->kind == S24_KIND_INT) {
        return s24_encode(to, fmax(-127, fmin(127, nearbyint(x))), overflow);
    }
    bool beyond = false;
    const uint64_t bits = s24_encode(to, x, &beyond);
    if (beyond && to->bytes == 1) {
        return (to->nonfinite_key - 1) | (signbit(x) ? 0x80 : 0);
    }
    *overflow |= beyond;
    return bits;
}

static s24_status pack_row(const s24_tensor *t, size_t row, s24_dtype from, const void *rows, s24_error *err)
{
    const s24_geometry *g = &t->geometry;
    const s24_dtype_info *info = s24_info(from), *to = s24_info(t->dtype);
    for (size_t i = 0; i < g->row_values; i++) {
        const unsigned nibble = t->positions[row * g->row_positions + i / 4] >> (i / 2 % 2 * 4) & 15;
        const size_t col = i / 2 * 4 + (i % 2 ? nibble >> 2 : nibble & 3);
        if (col >= g->cols) {
            continue; /* padding: 0 already */
        }
        const double x = s24_decode(info, s24_load(rows, info->bytes, row * g->cols + col));
        bool overflow = false;
        s24_store(t->values, to->bytes, row * g->row_values + i, encode(to, x, &overflow));
        if (overflow) {
            const s24_fault fault = {.kind = S24_FAULT_RANGE, .col = col, .value = x};
            const s24_panel_place place = {.row = row};
            return s24_fault_report(&fault, &place, t->rank, t->shape, t->axis, to->name, err);
        }
    }
    return S24_OK;
}

/* A convolution's: the elements behind its input channels. Other tensors along axis 1 do not take so many inputs. */
static size_t taps_of(const s24_tensor *t)
{
    size_t taps = 1;
    for (int d = 2; t->axis == 1 && d < t->rank; d++) {
        taps *= t->shape[d];
    }
    return taps;
}

static s24_status solve_tensor(const s24_dense *weights, const char *method, const s24_calibration *cal,
                               const s24_prune_options *o, bool refit, s24_tensor *t, s24_output_error *errors,
                               s24_error *err)
{
    const s24_geometry *g = &t->geometry;
    const s24_dtype as = weights->dtype == S24_F64 ? S24_F64 : S24_F32;
    s24_solve_options so = S24_SOLVE_OPTIONS_INIT;
    so.method = method;
    so.refit = refit;
    so.threads = o->threads;
    so.taps = taps_of(t);
    so.isa = o->isa;
    size_t bytes;
    if (!s24_mul(g->num_elements, s24_info(as)->bytes, &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a matrix too large for memory");
    }
    void *rows = s24_alloc(bytes, err);
    s24_status status = rows ? rows_of(weights, g, t->axis, as, rows, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? s24_solve(&so, cal, g->rows, g->cols, as, rows, t->positions, errors, err) : status;
    for (size_t r = 0; r < g->rows && status == S24_OK; r++) {
        status = pack_row(t, r, as, rows, err);
    }
    free(rows);
    return status;
}

s24_status s24_prune_calibrated(const s24_dense *weights, const char *method, const s24_calibration *cal,
                                const s24_prune_options *options, bool refit, s24_tensor **tensor,
                                s24_prune_metrics *metrics, s24_output_error *errors, s24_error *err)
{
    static const s24_prune_options defaults = S24_PRUNE_OPTIONS_INIT;
    const s24_prune_options *o = options ? options : &defaults;
    const s24_dtype to = o->dtype == S24_SAME ? weights->dtype : o->dtype;
    if (!s24_dtype_convertible(weights->dtype, to)) {
        return s24_fail(err, S24_ERR_USAGE, "%s cannot be pruned and stored as %s", s24_dtype_name(weights->dtype),
                        s24_dtype_name(to));
    }
    s24_tensor *t;
    s24_status status = s24_tensor_new(&t, to, weights->rank, weights->shape, o->axis, err);
    if (status != S24_OK) {
        return status;
    }
    t->source_dtype = weights->dtype;
    s24_prune_metrics figures;
    status = solve_tensor(weights, method, cal, o, refit, t, errors, err);
    status = status == S24_OK ? s24_compute_metrics(weights, t, o->threads, &figures, err) : status;
    if (status != S24_OK) {
        s24_tensor_free(t);
        return status;
    }
    t->sparsity_percent = figures.total_count ? figures.sparsity_percent : 0;
    if (metrics) {
        *metrics = figures;
    }
    *tensor = t;
    return S24_OK;
}
