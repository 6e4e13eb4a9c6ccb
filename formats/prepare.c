#include "prepare.h"

#include <math.h>
#include <string.h>

#define CHUNK_ELEMENTS ((size_t)1 << 20) /* read and converted at a time */

/* A matrix as the solver gets it. */
typedef struct matrix {
    const s24_preparation *how;
    const s24_entry *entry;
    size_t rows, cols;   /* of the tensor along its axis */
    size_t taps, width;  /* columns of a tap, padded to whole groups where there are several */
    size_t solve_rows, solve_cols;
} matrix;

bool s24_must_prepare(const s24_preparation *how)
{
    const s24_seconds *const s = how->seconds;
    return how->refit || how->method->solves || s->of[S24_ACTIVATIONS] || s->of[S24_HESSIAN];
}

void s24_prepared_free(s24_prepared *prepared)
{
    free(prepared->weights);
    *prepared = (s24_prepared){0};
}

static s24_status measure(matrix *m, s24_error *err)
{
    const s24_geometry *const g = &m->entry->pruned->geometry;
    m->rows = g->rows;
    m->cols = g->cols;
    m->width = m->taps > 1 ? 4 * g->groups : g->cols;
    m->solve_rows = g->rows / m->taps;
    return s24_mul(m->width, m->taps, &m->solve_cols) ? S24_OK
        : s24_fail(err, S24_ERR_DATA, "%s: %s: too many inputs", m->entry->in->name, m->entry->name);
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

/* Canonical rows of `cols` to rows of `width`, and back: the padding of taps comes in, or goes. */
static void widen(const matrix *m, unsigned bytes, size_t row, size_t n, const void *rows, unsigned char *wide)
{
    for (size_t r = 0; r < n; r++) {
        memcpy(wide + (row + r) * m->width * bytes, (const unsigned char *)rows + r * m->cols * bytes, m->cols * bytes);
    }
}

static void narrow(const matrix *m, unsigned bytes, unsigned char *weights)
{
    for (size_t r = 1; r < m->rows && m->width != m->cols; r++) {
        memmove(weights + r * m->cols * bytes, weights + r * m->width * bytes, m->cols * bytes);
    }
}

static s24_status read_weights(const matrix *m, s24_dtype dtype, unsigned char *weights, s24_error *err)
{
    const unsigned bytes = s24_info(dtype)->bytes;
    reading r;
    size_t n = 0;
    s24_status status = reading_begin(&r, m->entry, m->entry->axis, m->rows, m->cols, err);
    void *const converted = status == S24_OK ? s24_malloc(r.chunk * m->cols * bytes, err) : NULL;
    status = status == S24_OK && !converted ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < m->rows && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(m->entry, r.data, dtype, converted, n * m->cols, err) : status;
        if (status == S24_OK) {
            widen(m, bytes, row, n, converted, weights);
        }
    }
    free(converted);
    reading_end(&r);
    return status;
}

/* ---------------------------------------------------------------- calibration */

/* Where input `at` of a row of inputs as the user has them (channel by channel) is, tap by tap. */
static size_t place_of(const matrix *m, size_t at)
{
    return m->taps == 1 ? at : at % m->taps * m->width + at / m->taps;
}

/* What was computed once, of a row of inputs: into the solver's order. Places between taps stay 0. */
static void spread_f32(const matrix *m, const float *from, float *to)
{
    for (size_t i = 0; i < m->cols * m->taps; i++) {
        to[place_of(m, i)] = from[i];
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
    float *const flat = status == S24_OK ? s24_malloc(r.chunk * inputs * sizeof *flat, err) : NULL;
    float *const spread = flat && m->taps > 1 ? s24_calloc(r.chunk * m->solve_cols, sizeof *spread, err) : NULL;
    status = status == S24_OK && (!flat || (m->taps > 1 && !spread)) ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < r.rows && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(x, r.data, S24_F32, flat, n * inputs, err) : status;
        for (size_t i = 0; i < n && status == S24_OK && spread; i++) {
            spread_f32(m, flat + i * inputs, spread + i * m->solve_cols);
        }
        status = status == S24_OK ? s24_calibration_add(cal, spread ? spread : flat, n, err) : status;
    }
    free(flat);
    free(spread);
    reading_end(&r);
    return status;
}

static s24_status set_hessian(const matrix *m, const s24_entry *h, s24_calibration *cal, s24_error *err)
{
    const size_t inputs = m->cols * m->taps, k = m->solve_cols;
    reading r;
    size_t n = 0, all;
    double *const whole = s24_mul(k, k, &all) ? s24_calloc(all, sizeof *whole, err) : NULL;
    s24_status status = whole ? reading_begin(&r, h, 1, inputs, inputs, err) : S24_ERR_SYSTEM;
    if (!whole) {
        return status;
    }
    double *const flat = status == S24_OK ? s24_malloc(r.chunk * inputs * sizeof *flat, err) : NULL;
    status = status == S24_OK && !flat ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < inputs && status == S24_OK; row += n) {
        status = reading_next(&r, row, &n, err);
        status = status == S24_OK ? convert(h, r.data, S24_F64, flat, n * inputs, err) : status;
        for (size_t i = 0; i < n * inputs && status == S24_OK; i++) {
            whole[place_of(m, row + i / inputs) * k + place_of(m, i % inputs)] = flat[i];
        }
    }
    status = status == S24_OK ? s24_calibration_set_hessian(cal, S24_F64, whole, err) : status;
    free(flat);
    free(whole);
    reading_end(&r);
    return status;
}

static s24_status set_norms(const matrix *m, const s24_entry *norms, s24_calibration *cal, s24_error *err)
{
    const size_t inputs = m->cols * m->taps;
    reading r;
    size_t n = 0;
    double *const spread = s24_calloc(m->solve_cols, sizeof *spread, err);
    double *const flat = spread ? s24_calloc(inputs, sizeof *flat, err) : NULL;
    s24_status status = flat ? reading_begin(&r, norms, 0, 1, inputs, err) : S24_ERR_SYSTEM;
    if (!flat) {
        free(spread);
        return status;
    }
    status = status == S24_OK ? reading_next(&r, 0, &n, err) : status;
    status = status == S24_OK ? convert(norms, r.data, S24_F64, flat, inputs, err) : status;
    for (size_t i = 0; i < inputs && status == S24_OK; i++) {
        spread[place_of(m, i)] = flat[i];
    }
    status = status == S24_OK ? s24_calibration_set_norms(cal, spread, err) : status;
    free(flat);
    free(spread);
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
    s24_status status = s24_calibration_new(cal, m->solve_cols, kind == S24_ACTIVATIONS ? samples_of(second) : 0, blas,
                                            io->threads, err);
    if (status == S24_OK) {
        status = kind == S24_ACTIVATIONS ? add_samples(m, second, *cal, err)
               : kind == S24_HESSIAN ? set_hessian(m, second, *cal, err) : set_norms(m, second, *cal, err);
    }
    return s24_fail_prefix(err, status, "%s: %s: ", second->in->name, second->name);
}

/* ---------------------------------------------------------------- masks of scorers */

/* Nibbles of canonical rows, each in whole bytes, into those of the solver's, where the groups of all taps follow each other. */
static void place_nibbles(const matrix *m, size_t row, size_t n, const uint8_t *from, uint8_t *mask)
{
    const size_t groups = m->width / 4 + (m->width % 4 != 0), row_bytes = (groups + 1) / 2;
    const size_t mask_bytes = (groups * m->taps + 1) / 2;
    for (size_t r = 0; r < n; r++) {
        const size_t first = (row + r) % m->taps * groups;
        uint8_t *const to = mask + (row + r) / m->taps * mask_bytes;
        for (size_t g = 0; g < groups; g++) {
            const unsigned nibble = from[r * row_bytes + g / 2] >> (g % 2 * 4) & 15u;
            to[(first + g) / 2] |= (uint8_t)(nibble << ((first + g) % 2 * 4));
        }
    }
}

static s24_status choose_rows(const matrix *m, const s24_pruner *pruner, const reading *weights, const reading *second,
                              size_t row, size_t n, unsigned char *planes, uint8_t *mask, s24_error *err)
{
    const size_t values = n * m->entry->pruned->geometry.row_values * pruner->to->bytes;
    const s24_panel panel = {.rows = n, .cols = m->cols, .dense = weights->data, .aux = second->data, .values = planes,
                             .positions = planes + values};
    const s24_panel_place place = {.row = row, .rows = n, .groups = m->entry->pruned->geometry.groups};
    s24_sums sums;
    s24_fault fault;
    if (!s24_prune_panel(pruner, &panel, &sums, &fault)) { /* all elements were seen to be finite */
        return s24_fault_report(&fault, &place, m->entry->rank, m->entry->shape, m->entry->axis, "", err);
    }
    place_nibbles(m, row, n, panel.positions, mask);
    return S24_OK;
}

/* What a criterion by elements keeps, of which a second input tells. mask: zeroed. */
static s24_status choose(const matrix *m, const s24_entry *elements, uint8_t *mask, s24_error *err)
{
    const s24_entry *const e = m->entry;
    const s24_geometry *const g = &e->pruned->geometry;
    const s24_pruner pruner = s24_pruner_of(m->how->method, e->dtype, e->dtype, elements->dtype, false, m->how->io->isa);
    reading weights = {0}, second = {0};
    size_t n = 0;
    s24_status status = reading_begin(&weights, e, e->axis, m->rows, m->cols, err);
    status = status == S24_OK ? reading_begin(&second, elements, e->axis, m->rows, m->cols, err) : status;
    unsigned char *const planes = status != S24_OK ? NULL
        : s24_malloc(weights.chunk * (g->row_values * s24_info(e->dtype)->bytes + g->row_positions), err);
    status = status == S24_OK && !planes ? S24_ERR_SYSTEM : status;
    for (size_t row = 0; row < m->rows && status == S24_OK; row += n) {
        status = reading_next(&weights, row, &n, err);
        status = status == S24_OK ? reading_next(&second, row, &n, err) : status;
        status = status == S24_OK ? choose_rows(m, &pruner, &weights, &second, row, n, planes, mask, err) : status;
    }
    free(planes);
    reading_end(&weights);
    reading_end(&second);
    return status;
}

/* ---------------------------------------------------------------- solving */

/* elements: NULL, or of the criterion by elements. */
static s24_status solve(const matrix *m, const s24_entry *elements, const s24_calibration *cal, s24_prepared *p,
                        s24_error *err)
{
    const s24_preparation *const how = m->how;
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    size_t positions;
    o.method = elements ? NULL : how->method->name;
    o.refit = how->refit;
    o.threads = how->io->threads;
    o.isa = how->io->isa;
    o.cancel = how->io->cancel;
    o.progress = how->progress;
    o.user = how->user;
    if (!s24_mul(m->solve_rows, (m->solve_cols + 7) / 8, &positions)) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    uint8_t *const nibbles = s24_calloc(positions, 1, err), *const mask = elements ? s24_calloc(positions, 1, err) : NULL;
    s24_status status = nibbles && (mask || !elements) ? S24_OK : S24_ERR_SYSTEM;
    status = status == S24_OK && elements ? choose(m, elements, mask, err) : status;
    o.mask = mask;
    if (status == S24_OK) {
        status = s24_solve(&o, cal, m->solve_rows, m->solve_cols, p->dtype, p->weights, nibbles, &p->error, err);
    }
    free(nibbles);
    free(mask);
    return s24_fail_prefix(err, status, "%s: %s%s", m->entry->in->name, m->entry->name, *m->entry->name ? ": " : "");
}

static s24_status prepare(matrix *m, const s24_entry *elements, s24_second kind, const s24_entry *second, s24_prepared *p,
                          s24_error *err)
{
    const unsigned bytes = s24_info(p->dtype)->bytes;
    size_t count;
    s24_calibration *cal = NULL;
    s24_status status = measure(m, err);
    if (status == S24_OK && !s24_mul(m->rows, m->width, &count)) {
        status = s24_fail_memory(err, SIZE_MAX);
    }
    p->weights = status == S24_OK ? s24_calloc(count, bytes, err) : NULL;
    status = status == S24_OK && !p->weights ? S24_ERR_SYSTEM : status;
    status = status == S24_OK ? read_weights(m, p->dtype, p->weights, err) : status;
    status = status == S24_OK && second ? calibrate(m, kind, second, &cal, err) : status;
    status = status == S24_OK ? solve(m, elements, cal, p, err) : status;
    s24_calibration_free(cal);
    if (status == S24_OK) {
        narrow(m, bytes, p->weights);
    }
    return status;
}

s24_status s24_prepare(const s24_preparation *how, const s24_entry *e, s24_prepared *p, s24_error *err)
{
    matrix m = {.how = how, .entry = e, .taps = 1};
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
                e->pruned->calibrated = true;
                e->pruned->output_error.samples = samples;
                e->pruned->output_error.held_out_samples = samples / 4; /* as s24_calibration_new says */
            }
        }
    }
    return S24_OK;
}
