#include "prepare.h"

#include <math.h>
#include <string.h>

#include "calibration.h"
#include "reorder.h"

#define CHUNK_ELEMENTS ((size_t)1 << 20) /* read and converted at a time */

/* A matrix as the solver gets it: canonical rows. */
typedef struct matrix {
    const s24_preparation *how;
    const s24_entry *entry;
    size_t rows, cols;
    const int32_t *order; /* of the columns, where the entry has them in another one than its inputs; or NULL */
    size_t taps;   /* rows that have their inputs together: of a convolution that is calibrated by unfolded ones; or 1 */
} matrix;

bool s24_must_prepare(const s24_preparation *how)
{
    const s24_seconds *const s = how->seconds;
    return how->refit || how->transposable || how->method->solves || s->of[S24_ACTIVATIONS] || s->of[S24_HESSIAN];
}

void s24_prepared_free(s24_prepared *prepared)
{
    free(prepared->weights);
    *prepared = (s24_prepared){0};
}

/* ---------------------------------------------------------------- numbers */

static bool finite_all(const s24_dtype_info *info, const void *data, size_t n, size_t *at)
{
    for (*at = 0; *at < n; ++*at) {
        if (s24_key(info, s24_load(data, info->bytes, *at)) >= info->nonfinite_key) {
            return false;
        }
    }
    return true;
}

/* Elements of an entry, rows of its last (or pruned) axis, in chunks. */
typedef struct reading {
    const s24_entry *entry;
    int axis;
    size_t rows, cols;
    size_t chunk;          /* rows at a time */
    void *data, *scratch;
} reading;

static s24_status reading_begin(reading *r, const s24_entry *e, int axis, size_t rows, size_t cols, s24_error *err)
{
    const unsigned bytes = s24_info(e->dtype)->bytes;
    const size_t fit = cols ? CHUNK_ELEMENTS / cols : 1;
    *r = (reading){.entry = e, .axis = axis, .rows = rows, .cols = cols, .chunk = fit < 1 ? 1 : fit < rows ? fit : rows};
    size_t elements, n;
    if (!s24_mul(r->chunk, cols, &elements) || !s24_mul(elements, bytes, &n)) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    r->data = s24_malloc(n, err);
    r->scratch = r->data && s24_entry_transposed(e, axis) ? s24_malloc(n, err) : NULL;
    return r->data && (r->scratch || !s24_entry_transposed(e, axis)) ? s24_source_hold(e, axis, err) : S24_ERR_SYSTEM;
}

static void reading_end(reading *r)
{
    free(r->data);
    free(r->scratch);
}

/* Rows [row, row + *n) into r->data, finite; *n 0: there are no more. */
static s24_status reading_next(reading *r, size_t row, size_t *n, s24_error *err)
{
    const s24_entry *const e = r->entry;
    size_t at;
    *n = r->rows - row < r->chunk ? r->rows - row : r->chunk;
    s24_status status = s24_io_stopped(e->in->io, err);
    status = status == S24_OK ? s24_source_read_rows(e, r->axis, row, *n, 0, r->cols, r->data, r->scratch, err) : status;
    if (status == S24_OK && !finite_all(s24_info(e->dtype), r->data, *n * r->cols, &at)) {
        return s24_fail(err, S24_ERR_DATA, "%s: %s%srow %zu, column %zu is not finite: nothing can be fitted to that",
                        e->in->name, e->name, *e->name ? ": " : "", row + at / r->cols, at % r->cols);
    }
    return status;
}

/* n elements as `to`; an f64 beyond f32 is refused. */
static s24_status convert(const s24_entry *e, const void *from, s24_dtype to, void *data, size_t n, s24_error *err)
{
    const s24_status status = s24_dtype_convert(e->dtype, from, to, data, n, NULL, err);
    return s24_fail_prefix(err, status, "%s: %s%s", e->in->name, e->name, *e->name ? ": " : "");
}

/* ---------------------------------------------------------------- weights */

s24_status s24_prepare_weights(const s24_entry *e, s24_dtype dtype, void *weights, s24_error *err)
{
    const s24_geometry *const g = &e->pruned->geometry;
    const size_t row_bytes = g->cols * s24_info(dtype)->bytes;
    unsigned char *to = weights;
    reading r;
    size_t n = 0;
    s24_status status = reading_begin(&r, e, e->axis, g->rows, g->cols, err);
    for (size_t row = 0; row < g->rows && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(e, r.data, dtype, to + row * row_bytes, n * g->cols, err) : status;
    }
    reading_end(&r);
    return status;
}

/* ---------------------------------------------------------------- calibration */

/* Which input is input i of the columns' order: channel by channel, all taps of one together. */
static size_t input_at(const matrix *m, size_t i)
{
    return m->order ? (size_t)m->order[i / m->taps] * m->taps + i % m->taps : i;
}

/* Rows of inputs in the columns' order, in place; row: room for one. */
static void reorder_inputs(const matrix *m, unsigned bytes, void *rows, size_t n, unsigned char *row)
{
    const size_t inputs = m->cols * m->taps;
    unsigned char *at = rows;
    for (size_t r = 0; m->order && r < n; r++, at += inputs * bytes) {
        for (size_t i = 0; i < inputs; i++) {
            memcpy(row + i * bytes, at + input_at(m, i) * bytes, bytes);
        }
        memcpy(at, row, inputs * bytes);
    }
}

static size_t samples_of(const s24_entry *x)
{
    size_t n = 1;
    for (int d = 0; d + 1 < x->rank; d++) {
        n *= x->shape[d];
    }
    return n;
}

static s24_status add_samples(const matrix *m, const s24_entry *x, s24_calibration *cal, s24_error *err)
{
    const size_t inputs = m->cols * m->taps;
    reading r;
    size_t n = 0;
    s24_status status = reading_begin(&r, x, x->rank - 1, samples_of(x), inputs, err);
    float *const samples = status == S24_OK ? s24_malloc((r.chunk + 1) * inputs * sizeof *samples, err) : NULL;
    status = status == S24_OK && !samples ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < r.rows && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(x, r.data, S24_F32, samples, n * inputs, err) : status;
        if (status == S24_OK) {
            reorder_inputs(m, sizeof *samples, samples, n, (unsigned char *)(samples + r.chunk * inputs));
            status = s24_calibration_add(cal, samples, n, err);
        }
    }
    free(samples);
    reading_end(&r);
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
static s24_status set_whole(const matrix *m, s24_second kind, const s24_entry *e, s24_calibration *cal, s24_error *err)
{
    const size_t inputs = m->cols * m->taps, rows = kind == S24_HESSIAN ? inputs : 1;
    reading r;
    size_t all, n = 0;
    double *const whole = s24_mul(rows + 1, inputs, &all) ? s24_calloc(all, sizeof *whole, err) : NULL;
    if (!whole) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    s24_status status = reading_begin(&r, e, e->rank - 1, rows, inputs, err);
    for (size_t row = 0; row < rows && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(e, r.data, S24_F64, whole + row * inputs, n * inputs, err) : status;
    }
    reorder_inputs(m, sizeof *whole, whole, rows, (unsigned char *)(whole + rows * inputs));
    if (kind == S24_HESSIAN) { /* the rows, too: it is symmetric */
        transpose(whole, inputs);
        reorder_inputs(m, sizeof *whole, whole, rows, (unsigned char *)(whole + rows * inputs));
    }
    if (status == S24_OK) {
        status = kind == S24_HESSIAN ? s24_calibration_set_hessian(cal, S24_F64, whole, err)
                                     : s24_calibration_set_norms(cal, whole, err);
    }
    free(whole);
    reading_end(&r);
    return status;
}

/* The calibration that was given, if any; NULL stays NULL without. */
static s24_status calibrate(const matrix *m, s24_second kind, const s24_entry *second, s24_calibration **cal, s24_error *err)
{
    const s24_io *const io = m->how->io;
    const s24_blas *blas = NULL;
    if (kind != S24_NORMS && !(blas = io->blas ? io->blas(io->user, err) : NULL)) {
        return io->blas ? S24_ERR_SYSTEM : s24_fail(err, S24_ERR_USAGE, "activations need a BLAS to multiply with");
    }
    s24_status status = s24_calibration_new(cal, m->cols * m->taps, kind == S24_ACTIVATIONS ? samples_of(second) : 0, blas,
                                            io->threads, err);
    if (status == S24_OK) {
        status = kind == S24_ACTIVATIONS ? add_samples(m, second, *cal, err) : set_whole(m, kind, second, *cal, err);
    }
    return s24_fail_prefix(err, status, "%s: %s: ", second->in->name, second->name);
}

/* ---------------------------------------------------------------- masks of scorers */

static s24_status choose_rows(const matrix *m, const s24_pruner *pruner, const reading *weights, const reading *second,
                              size_t row, size_t n, void *values, uint8_t *mask, s24_error *err)
{
    const s24_geometry *const g = &m->entry->pruned->geometry;
    const s24_panel panel = {.rows = n, .cols = m->cols, .dense = weights->data, .aux = second->data, .values = values,
                             .positions = mask + row * g->row_positions};
    const s24_panel_place place = {.row = row, .rows = n, .groups = g->groups};
    s24_sums sums;
    s24_fault fault;
    if (!s24_prune_panel(pruner, &panel, &sums, &fault)) { /* all elements were seen to be finite */
        return s24_fault_report(&fault, &place, m->entry->rank, m->entry->shape, m->entry->axis, "", err);
    }
    return S24_OK;
}

/* What a criterion by elements keeps, of which a second input tells. */
static s24_status choose(const matrix *m, const s24_entry *elements, uint8_t *mask, s24_error *err)
{
    const s24_entry *const e = m->entry;
    const s24_geometry *const g = &e->pruned->geometry;
    const s24_pruner pruner = s24_pruner_of(m->how->method, e->dtype, e->dtype, elements->dtype, false, m->how->io->isa);
    reading weights = {0}, second = {0};
    size_t n = 0;
    s24_status status = reading_begin(&weights, e, e->axis, m->rows, m->cols, err);
    status = status == S24_OK ? reading_begin(&second, elements, e->axis, m->rows, m->cols, err) : status;
    void *const values = status == S24_OK ? s24_malloc(weights.chunk * g->row_values * s24_info(e->dtype)->bytes, err) : NULL;
    status = status == S24_OK && !values ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < m->rows && status == S24_OK; row += n) {
        status = reading_next(&weights, row, &n, err);
        status = status == S24_OK ? reading_next(&second, row, &n, err) : status;
        status = status == S24_OK ? choose_rows(m, &pruner, &weights, &second, row, n, values, mask, err) : status;
    }
    free(values);
    reading_end(&weights);
    reading_end(&second);
    return status;
}

/* ---------------------------------------------------------------- transposable masks */

/* Scores |w| times the norm of its input, canonical rows. */
typedef struct scored {
    const matrix *m;
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

static s24_status choose_transposable(const matrix *m, const s24_calibration *cal, const s24_prepared *p, uint8_t *mask,
                                      s24_error *err)
{
    const s24_entry *const e = m->entry;
    const s24_io *const io = m->how->io;
    const s24_block_rows blocks = s24_block_rows_of(&e->pruned->geometry, e->rank, e->shape, e->axis);
    const scored s = {.m = m, .p = p, .cal = m->how->method->solves ? cal : NULL};
    const s24_score_rows scores = {.get = scored_row, .ctx = &s, .dtype = S24_F64, .buffered = true};
    return s24_transposable_positions(&blocks, &scores, io->isa, io->threads ? io->threads : s24_threads_available(), mask,
                                      err);
}

/* ---------------------------------------------------------------- solving */

/* A mask of which s24_solve knows nothing. elements: NULL, or of the criterion by elements. */
static s24_status make_mask(const matrix *m, const s24_entry *elements, const s24_calibration *cal, const s24_prepared *p,
                            uint8_t *mask, s24_error *err)
{
    return m->how->transposable ? choose_transposable(m, cal, p, mask, err) : choose(m, elements, mask, err);
}

static s24_status solve(const matrix *m, const s24_entry *elements, const s24_calibration *cal, s24_prepared *p,
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

static s24_status prepare(matrix *m, const s24_entry *elements, s24_second kind, const s24_entry *second, s24_prepared *p,
                          s24_error *err)
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
static void add_squares(const matrix *m, s24_second kind, const double *row, size_t at, double *squares)
{
    for (size_t i = 0; i < m->cols * m->taps; i++) {
        if (kind != S24_HESSIAN || i == at) {
            squares[i / m->taps] += kind == S24_HESSIAN ? row[i] : row[i] * row[i];
        }
    }
}

static s24_status sum_squares(const matrix *m, s24_second kind, const s24_entry *second, double *squares, s24_error *err)
{
    const size_t inputs = m->cols * m->taps;
    reading r;
    size_t n = 0;
    s24_status status = reading_begin(&r, second, second->rank - 1, samples_of(second), inputs, err);
    double *const rows = status == S24_OK ? s24_malloc(r.chunk * inputs * sizeof *rows, err) : NULL;
    status = status == S24_OK && !rows ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < r.rows && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(second, r.data, S24_F64, rows, n * inputs, err) : status;
        for (size_t i = 0; i < n && status == S24_OK; i++) {
            add_squares(m, kind, rows + i * inputs, row + i, squares);
        }
    }
    free(rows);
    reading_end(&r);
    return status;
}

s24_status s24_prepare_squares(const s24_preparation *how, const s24_entry *e, double **squares, s24_error *err)
{
    matrix m = {.how = how, .entry = e, .rows = e->pruned->geometry.rows, .cols = e->pruned->geometry.cols, .taps = 1};
    const s24_second kind = s24_seconds_given(how->seconds, ~S24_ELEMENTS);
    *squares = NULL;
    if (kind == S24_SECONDS) {
        return S24_OK;
    }
    const s24_entry *const second = s24_seconds_find(how->seconds, kind, e, &m.taps, err);
    *squares = second ? s24_calloc(m.cols, sizeof **squares, err) : NULL;
    if (!*squares) {
        return second ? S24_ERR_SYSTEM : S24_ERR_DATA;
    }
    const s24_status status = sum_squares(&m, kind, second, *squares, err);
    if (status != S24_OK) {
        free(*squares);
        *squares = NULL;
    }
    return status;
}

s24_status s24_prepare(const s24_preparation *how, const s24_entry *e, s24_prepared *p, s24_error *err)
{
    matrix m = {.how = how, .entry = e, .taps = 1, .order = s24_entry_order(e, e->axis)};
    const s24_second kind = s24_seconds_given(how->seconds, ~S24_ELEMENTS);
    const s24_second by = s24_seconds_given(how->seconds, S24_ELEMENTS);
    const s24_entry *second = NULL, *elements = NULL;
    *p = (s24_prepared){.dtype = e->dtype == S24_F64 ? S24_F64 : S24_F32};
    if (kind != S24_SECONDS && !(second = s24_seconds_find(how->seconds, kind, e, &m.taps, err))) {
        return S24_ERR_DATA;
    }
    if (by != S24_SECONDS && !(elements = s24_seconds_find(how->seconds, by, e, NULL, err))) {
        return S24_ERR_DATA;
    }
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
        return s24_fail(err, S24_ERR_USAGE, "%s: %s%sis %s without scales, to which nothing can be fitted; leave it out with "
                        "--exclude", e->in->name, e->name, *e->name ? ": " : "", s24_dtype_name(e->dtype));
    }
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        if (how->seconds->of[k]) {
            const s24_entry *const second = s24_seconds_find(how->seconds, (s24_second)k, e, NULL, err);
            if (!second) {
                return S24_ERR_DATA;
            }
            if (s24_must_prepare(how) && 1u << k & S24_PRODUCTS) {
                const uint64_t samples = k == S24_ACTIVATIONS ? samples_of(second) : 0;
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
