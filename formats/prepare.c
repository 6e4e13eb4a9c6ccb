#include "prepare.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "calibration.h"
#include "reading.h"
#include "reorder.h"

bool s24_must_prepare(const s24_preparation *how)
{
    return how->refit || how->transposable || how->method->solves;
}

void s24_prepared_free(s24_prepared *prepared)
{
    free(prepared->weights);
    *prepared = (s24_prepared){0};
}

/* ---------------------------------------------------------------- weights */

s24_status s24_prepare_weights(const s24_entry *e, s24_dtype dtype, void *weights, s24_error *err)
{
    const s24_geometry *const g = &e->pruned->geometry;
    const size_t row_bytes = g->cols * s24_info(dtype)->bytes;
    unsigned char *to = weights;
    s24_reading r;
    size_t n = 0;
    s24_status status = s24_reading_begin(&r, e, e->axis, g->rows, g->cols, err);
    for (size_t row = 0; row < g->rows && status == S24_OK; row += n) {
        status = s24_reading_next(&r, row, &n, err);
        status = status == S24_OK ? s24_convert_elements(e, r.data, dtype, to + row * row_bytes, n * g->cols, err) : status;
    }
    s24_reading_end(&r);
    return status;
}

/* ---------------------------------------------------------------- calibration */

static s24_status add_samples(const s24_matrix *m, const s24_entry *x, s24_calibration *cal, s24_error *err)
{
    const size_t inputs = m->cols * m->taps;
    s24_reading r;
    size_t n = 0;
    s24_status status = s24_reading_begin(&r, x, x->rank - 1, s24_samples_of(x), inputs, err);
    float *const samples = status == S24_OK ? s24_malloc((r.chunk + 1) * inputs * sizeof *samples, err) : NULL;
    status = status == S24_OK && !samples ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < r.rows && status == S24_OK; row += n) {
        status = s24_reading_next(&r, row, &n, err);
        status = status == S24_OK ? s24_convert_elements(x, r.data, S24_F32, samples, n * inputs, err) : status;
        if (status == S24_OK) {
            s24_reorder_inputs(m, sizeof *samples, samples, n, (unsigned char *)(samples + r.chunk * inputs));
            status = s24_calibration_add(cal, samples, n, err);
            s24_fail_prefix(err, status, "%s: %s: ", x->in->name, x->name);
        }
    }
    free(samples);
    s24_reading_end(&r);
    return status;
}

static void transpose(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            const double x = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = x;
        }
    }
}

/* The whole of a hessian, or of norms, as f64. */
static s24_status set_whole(const s24_matrix *m, s24_second kind, const s24_entry *e, s24_calibration *cal, s24_error *err)
{
    const size_t inputs = m->cols * m->taps, rows = kind == S24_HESSIAN ? inputs : 1;
    s24_reading r;
    size_t all, n = 0;
    double *const whole = s24_mul(rows + 1, inputs, &all) ? s24_calloc(all, sizeof *whole, err) : NULL;
    if (!whole) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    s24_status status = s24_reading_begin(&r, e, e->rank - 1, rows, inputs, err);
    for (size_t row = 0; row < rows && status == S24_OK; row += n) {
        status = s24_reading_next(&r, row, &n, err);
        status = status == S24_OK ? s24_convert_elements(e, r.data, S24_F64, whole + row * inputs, n * inputs, err) : status;
    }
    s24_reorder_inputs(m, sizeof *whole, whole, rows, (unsigned char *)(whole + rows * inputs));
    if (kind == S24_HESSIAN) { /* the rows, too: it is symmetric */
        transpose(whole, inputs);
        s24_reorder_inputs(m, sizeof *whole, whole, rows, (unsigned char *)(whole + rows * inputs));
    }
    if (status == S24_OK) {
        status = kind == S24_HESSIAN ? s24_calibration_set_hessian(cal, S24_F64, whole, err)
                                     : s24_calibration_set_norms(cal, whole, err);
        s24_fail_prefix(err, status, "%s: %s: ", e->in->name, e->name);
    }
    free(whole);
    s24_reading_end(&r);
    return status;
}

/* The calibration that was given, if any; NULL stays NULL without. */
static s24_status calibrate(const s24_matrix *m, s24_second kind, const s24_entry *second, s24_calibration **cal,
                            s24_error *err)
{
    const s24_io *const io = m->how->io;
    const s24_blas *blas = NULL;
    if (kind != S24_NORMS && !(blas = io->blas ? io->blas(io->user, err) : NULL)) {
        return io->blas ? S24_ERR_SYSTEM : s24_fail(err, S24_ERR_USAGE, "activations need a BLAS to multiply with");
    }
    const uint64_t samples = kind == S24_ACTIVATIONS ? s24_samples_of(second) : 0;
    s24_status status = s24_calibration_new(cal, m->cols * m->taps, samples, blas, io->threads, err);
    s24_fail_prefix(err, status, "%s: %s: ", second->in->name, second->name);
    if (status == S24_OK) {
        status = kind == S24_ACTIVATIONS ? add_samples(m, second, *cal, err) : set_whole(m, kind, second, *cal, err);
    }
    return status;
}

/* ---------------------------------------------------------------- masks of scorers */

/* All elements were seen to be finite: nothing can go wrong. */
static void choose_rows(const s24_matrix *m, const s24_pruner *pruner, const s24_reading *weights, const s24_reading *second,
                        size_t row, size_t n, void *values, uint8_t *mask)
{
    const s24_geometry *const g = &m->entry->pruned->geometry;
    const s24_panel panel = {.rows = n, .cols = m->cols, .dense = weights->data, .aux = second->data, .values = values,
                             .positions = mask + row * g->row_positions};
    s24_sums sums;
    s24_fault fault;
    const bool chosen = s24_prune_panel(pruner, &panel, &sums, &fault);
    assert(chosen);
    (void)chosen;
}

/* What a criterion by elements keeps, of which a second input tells. */
static s24_status choose(const s24_matrix *m, const s24_entry *elements, uint8_t *mask, s24_error *err)
{
    const s24_entry *const e = m->entry;
    const s24_geometry *const g = &e->pruned->geometry;
    const s24_pruner pruner = s24_pruner_of(m->how->method, e->dtype, e->dtype, elements->dtype, false, m->how->io->isa);
    s24_reading weights = {0}, second = {0};
    size_t n = 0;
    s24_status status = s24_reading_begin(&weights, e, e->axis, m->rows, m->cols, err);
    status = status == S24_OK ? s24_reading_begin(&second, elements, e->axis, m->rows, m->cols, err) : status;
    void *const values = status == S24_OK ? s24_malloc(weights.chunk * g->row_values * s24_info(e->dtype)->bytes, err) : NULL;
    status = status == S24_OK && !values ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < m->rows && status == S24_OK; row += n) {
        status = s24_reading_next(&weights, row, &n, err);
        status = status == S24_OK ? s24_reading_next(&second, row, &n, err) : status;
        if (status == S24_OK) {
            choose_rows(m, &pruner, &weights, &second, row, n, values, mask);
        }
    }
    free(values);
    s24_reading_end(&weights);
    s24_reading_end(&second);
    return status;
}

/* ---------------------------------------------------------------- transposable masks */

/* Scores |w| times the norm of its input, canonical rows. */
typedef struct scored {
    const s24_matrix *m;
    const s24_prepared *p;
    const s24_calibration *cal; /* NULL: without norms */
} scored;

static double norm_of(const scored *s, size_t row, size_t col)
{
    const size_t taps = s->m->taps, input = col * taps + row % taps;
    double sum = 0;
    for (int part = 0; part < S24_PARTS; part++) {
        sum += s->cal->squares[part] ? s->cal->squares[part][input] : 0;
    }
    return sqrt(sum);
}

static const void *scored_row(const void *ctx, size_t row, void *buffer)
{
    const scored *const s = ctx;
    const s24_dtype_info *const info = s24_info(s->p->dtype);
    double *const scores = buffer;
    for (size_t j = 0; j < s->m->cols; j++) {
        const double w = s24_decode(info, s24_load(s->p->weights, info->bytes, row * s->m->cols + j));
        scores[j] = s->cal ? w * norm_of(s, row, j) : w;
    }
    return scores;
}

static s24_status choose_transposable(const s24_matrix *m, const s24_calibration *cal, const s24_prepared *p, uint8_t *mask,
                                      s24_error *err)
{
    const s24_entry *const e = m->entry;
    const s24_io *const io = m->how->io;
    const s24_block_rows blocks = s24_block_rows_of(&e->pruned->geometry, e->rank, e->shape, e->axis);
    const scored s = {.m = m, .p = p, .cal = m->how->method->factors ? cal : NULL};
    const s24_score_rows scores = {.get = scored_row, .ctx = &s, .dtype = S24_F64, .buffered = true};
    return s24_transposable_positions(&blocks, &scores, io->isa, io->threads ? io->threads : s24_threads_available(), mask,
                                      err);
}

/* ---------------------------------------------------------------- solving */

/* A mask of which s24_solve knows nothing. elements: NULL, or of the criterion by elements. */
static s24_status make_mask(const s24_matrix *m, const s24_entry *elements, const s24_calibration *cal,
                            const s24_prepared *p, uint8_t *mask, s24_error *err)
{
    if (m->how->transposable) {
        return choose_transposable(m, cal, p, mask, err);
    }
    assert(elements); /* or no mask was wanted */
    return choose(m, elements, mask, err);
}

static s24_status solve(const s24_matrix *m, const s24_entry *elements, const s24_calibration *cal, s24_prepared *p,
                        s24_error *err)
{
    const s24_preparation *const how = m->how;
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    const bool masked = elements || how->transposable;
    o.method = masked ? NULL : how->method->name;
    o.refit = how->refit;
    o.threads = how->io->threads;
    o.isa = how->io->isa;
    o.cancel = how->io->cancel;
    o.progress = how->progress;
    o.user = how->user;
    o.taps = m->taps;
    const size_t positions = m->entry->pruned->geometry.positions_bytes;
    uint8_t *const nibbles = s24_malloc(positions, err), *const mask = masked ? s24_malloc(positions, err) : NULL;
    s24_status status = nibbles && (mask || !masked) ? S24_OK : S24_ERR_SYSTEM;
    status = status == S24_OK && masked ? make_mask(m, elements, cal, p, mask, err) : status;
    o.mask = mask;
    if (status == S24_OK) {
        status = s24_solve(&o, cal, m->rows, m->cols, p->dtype, p->weights, nibbles, &p->error, err);
    }
    free(nibbles);
    free(mask);
    return s24_fail_prefix(err, status, "%s: %s%s", m->entry->in->name, m->entry->name, *m->entry->name ? ": " : "");
}

static s24_status prepare(s24_matrix *m, const s24_entry *elements, s24_second kind, const s24_entry *second,
                          s24_prepared *p, s24_error *err)
{
    const s24_geometry *const g = &m->entry->pruned->geometry;
    s24_calibration *cal = NULL;
    m->rows = g->rows;
    m->cols = g->cols;
    p->weights = s24_calloc(g->num_elements, s24_info(p->dtype)->bytes, err);
    s24_status status = p->weights ? S24_OK : S24_ERR_SYSTEM;
    status = status == S24_OK ? s24_prepare_weights(m->entry, p->dtype, p->weights, err) : status;
    status = status == S24_OK && second ? calibrate(m, kind, second, &cal, err) : status;
    status = status == S24_OK ? solve(m, elements, cal, p, err) : status;
    s24_calibration_free(cal);
    return status;
}

/* What a row of the second input says of ||X_j||^2: a sample, a row of the hessian, the norms. at: which row it is. */
static void add_squares(const s24_matrix *m, s24_second kind, const double *row, size_t at, double *squares)
{
    for (size_t i = 0; i < m->cols * m->taps; i++) {
        if (kind != S24_HESSIAN || i == at) {
            squares[i / m->taps] += kind == S24_HESSIAN ? row[i] : row[i] * row[i];
        }
    }
}

static s24_status sum_squares(const s24_matrix *m, s24_second kind, const s24_entry *second, double *squares, s24_error *err)
{
    const size_t inputs = m->cols * m->taps;
    s24_reading r;
    size_t n = 0;
    s24_status status = s24_reading_begin(&r, second, second->rank - 1, s24_samples_of(second), inputs, err);
    double *const rows = status == S24_OK ? s24_malloc(r.chunk * inputs * sizeof *rows, err) : NULL;
    status = status == S24_OK && !rows ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < r.rows && status == S24_OK; row += n) {
        status = s24_reading_next(&r, row, &n, err);
        status = status == S24_OK ? s24_convert_elements(second, r.data, S24_F64, rows, n * inputs, err) : status;
        for (size_t i = 0; i < n && status == S24_OK; i++) {
            add_squares(m, kind, rows + i * inputs, row + i, squares);
        }
    }
    free(rows);
    s24_reading_end(&r);
    return status;
}

s24_status s24_prepare_squares(const s24_preparation *how, const s24_entry *e, double **squares, s24_error *err)
{
    s24_matrix m = {.how = how, .entry = e, .rows = e->pruned->geometry.rows, .cols = e->pruned->geometry.cols, .taps = 1};
    const s24_second kind = s24_seconds_given(how->seconds, ~S24_ELEMENTS);
    *squares = NULL;
    if (kind == S24_SECONDS) {
        return S24_OK;
    }
    const s24_entry *const second = s24_seconds_found(how->seconds, kind, e, &m.taps);
    *squares = s24_calloc(m.cols, sizeof **squares, err);
    if (!*squares) {
        return S24_ERR_SYSTEM;
    }
    const s24_status status = sum_squares(&m, kind, second, *squares, err);
    if (status != S24_OK) {
        free(*squares);
        *squares = NULL;
    }
    return status;
}

s24_status s24_prepare_calibration(const s24_preparation *how, const s24_entry *e, size_t *taps, s24_calibration **cal,
                                   s24_error *err)
{
    s24_matrix m = {.how = how, .entry = e, .rows = e->pruned->geometry.rows, .cols = e->pruned->geometry.cols, .taps = 1};
    const s24_second kind = s24_seconds_given(how->seconds, S24_PRODUCTS);
    *cal = NULL;
    *taps = 1;
    if (kind == S24_SECONDS) {
        return S24_OK;
    }
    const s24_entry *const second = s24_seconds_found(how->seconds, kind, e, taps);
    m.taps = *taps;
    return calibrate(&m, kind, second, cal, err);
}

s24_status s24_prepare(const s24_preparation *how, const s24_entry *e, s24_prepared *p, s24_error *err)
{
    s24_matrix m = {.how = how, .entry = e, .taps = 1, .order = s24_entry_order(e, e->axis)};
    const s24_second kind = s24_seconds_given(how->seconds, ~S24_ELEMENTS);
    const s24_second by = s24_seconds_given(how->seconds, S24_ELEMENTS);
    const s24_entry *const second = kind != S24_SECONDS ? s24_seconds_found(how->seconds, kind, e, &m.taps) : NULL;
    const s24_entry *const elements = by != S24_SECONDS ? s24_seconds_found(how->seconds, by, e, NULL) : NULL;
    *p = (s24_prepared){.dtype = e->dtype == S24_F64 ? S24_F64 : S24_F32};
    s24_status status = e->in->stream ? s24_input_hold(e->in, e->offset, e->bytes, err) : S24_OK; /* for the pruning to come */
    s24_fail_prefix(err, status, "%s: ", e->in->name);
    status = status == S24_OK ? prepare(&m, elements, kind, second, p, err) : status;
    if (status != S24_OK) {
        s24_prepared_free(p);
    }
    return status;
}

s24_status s24_prepare_plan(const s24_preparation *how, s24_entry *e, s24_error *err)
{
    if (s24_must_prepare(how) && s24_dtype_scaled(S24_F32, e->stored) && !e->scaled) {
        return s24_fail(err, S24_ERR_USAGE, "%s: %s%s%s without scales cannot be fitted; leave it out with --exclude, or "
                        "choose by --method wanda, which leaves values as they are", e->in->name, e->name, *e->name ? ": " : "",
                        s24_dtype_name(e->dtype));
    }
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        if (how->seconds->of[k]) {
            const s24_entry *const second = s24_seconds_find(how->seconds, (s24_second)k, e, NULL, err);
            if (!second) {
                return S24_ERR_DATA;
            }
            if (k == S24_ACTIVATIONS && s24_samples_of(second) == 0) {
                return s24_fail(err, S24_ERR_DATA, "%s: %s%sthere are no samples", second->in->name, second->name,
                                *second->name ? ": " : "");
            }
            if (1u << k & S24_PRODUCTS) {
                const uint64_t samples = k == S24_ACTIVATIONS ? s24_samples_of(second) : 0;
                e->pruned->calibration = s24_calloc(1, sizeof *e->pruned->calibration, err);
                if (!e->pruned->calibration) {
                    return S24_ERR_SYSTEM;
                }
                e->pruned->calibration->samples = samples;
                e->pruned->calibration->held_out_samples = samples / 4; /* as s24_calibration_new says */
            }
        }
    }
    return S24_OK;
}
