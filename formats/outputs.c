#include "outputs.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "observe.h"
#include "reorder.h"
#include "threads.h"

#define SAMPLES 512 /* at a time */

static uint64_t rows_of(const s24_squares *s)
{
    return s->rows[S24_FIT] + s->rows[S24_HELD_OUT];
}

/* Rows of a second input on their way, some at a time, by threads. */
typedef struct slot {
    s24_reading r;
    float *rows;    /* [SAMPLES, inputs] */
    double *wide;   /* the same, of a hessian */
    float *scratch; /* of products */
    double *sums;   /* [S24_PARTS, MOST_PLANES] */
} slot;

#define MOST_PLANES (1 + 2 * S24_MASKS)

typedef struct pass {
    const s24_matrix *m;
    const s24_entry *second;
    s24_second kind;
    s24_squares *squares;           /* the first pass adds to them */
    s24_observed o;                 /* without rows in the first */
    size_t planes[S24_PARTS];       /* how many of them count */
    double sums[S24_PARTS][MOST_PLANES];
    double unit;                    /* a hessian is divided by it */
    slot *slots;
} pass;

static size_t inputs_of(const s24_matrix *m)
{
    return m->cols * m->taps;
}

static uint64_t all_rows(const pass *p)
{
    return p->kind == S24_HESSIAN ? inputs_of(p->m) : rows_of(p->squares);
}

static s24_status open_slot(const pass *p, slot *s, s24_error *err)
{
    const size_t inputs = inputs_of(p->m), planes = p->o.rows ? p->planes[S24_FIT] : 0;
    const size_t most = p->o.rows && p->planes[S24_HELD_OUT] > planes ? p->planes[S24_HELD_OUT] : planes;
    const s24_status status = s24_reading_begin(&s->r, p->second, p->second->rank - 1, (size_t)all_rows(p), inputs, err);
    s->r.chunk = s->r.chunk < SAMPLES ? s->r.chunk : SAMPLES;
    bool ok = status == S24_OK && (s->rows = s24_calloc(s->r.chunk * inputs, sizeof *s->rows, err)) != NULL;
    ok = ok && (p->kind != S24_HESSIAN || (s->wide = s24_calloc(s->r.chunk * inputs, sizeof *s->wide, err)) != NULL);
    ok = ok && (!p->o.rows || (s->scratch = s24_calloc(s->r.chunk * most * p->o.rows, sizeof *s->scratch, err)) != NULL);
    ok = ok && (s->sums = s24_calloc(S24_PARTS * MOST_PLANES, sizeof *s->sums, err)) != NULL;
    return ok ? S24_OK : status == S24_OK ? S24_ERR_SYSTEM : status;
}

static void close_slots(pass *p, unsigned count)
{
    for (unsigned i = 0; p->slots && i < count; i++) {
        s24_reading_end(&p->slots[i].r);
        free(p->slots[i].rows);
        free(p->slots[i].wide);
        free(p->slots[i].scratch);
        free(p->slots[i].sums);
    }
    free(p->slots);
    p->slots = NULL;
}

static size_t chunk_of(const pass *p)
{
    const size_t inputs = inputs_of(p->m), fit = S24_READING_ELEMENTS / (inputs ? inputs : 1);
    return fit < 1 ? 1 : fit < SAMPLES ? fit : SAMPLES;
}

/* Rows [row, row + n) as f32. */
static s24_status read_rows(const pass *p, slot *s, size_t row, size_t *n, s24_error *err)
{
    s24_status status = s->rows ? S24_OK : open_slot(p, s, err);
    status = status == S24_OK ? s24_reading_next(&s->r, row, n, err) : status;
    if (status != S24_OK || p->kind != S24_HESSIAN) {
        return status == S24_OK ? s24_convert_elements(p->second, s->r.data, S24_F32, s->rows, *n * s->r.cols, err) : status;
    }
    status = s24_convert_elements(p->second, s->r.data, S24_F64, s->wide, *n * s->r.cols, err);
    for (size_t i = 0; i < *n * s->r.cols && status == S24_OK; i++) {
        s->rows[i] = (float)(s->wide[i] / p->unit);
    }
    return status;
}

/* How many of n samples from `row` on belong to the part that the first of them belongs to. */
static size_t run_of(const pass *p, size_t row, size_t n, int *part)
{
    const uint64_t fit = p->squares->rows[S24_FIT];
    *part = row < fit ? S24_FIT : S24_HELD_OUT;
    return *part == S24_FIT && fit - row < n ? (size_t)(fit - row) : n;
}

static s24_status work(void *ctx, unsigned number, size_t job, s24_error *err)
{
    const pass *const p = ctx;
    slot *const s = &p->slots[number];
    const size_t first = job * chunk_of(p), inputs = inputs_of(p->m);
    size_t n = 0;
    const s24_status status = read_rows(p, s, first, &n, err);
    if (status != S24_OK || !p->o.rows) {
        return status;
    }
    memset(s->sums, 0, S24_PARTS * MOST_PLANES * sizeof *s->sums);
    if (p->kind == S24_HESSIAN) {
        s24_observe_products(&p->o, p->planes[S24_FIT], s->rows, first, n, s->scratch, s->sums);
        return S24_OK;
    }
    for (size_t i = 0, run = 0; i < n; i += run) {
        int part;
        run = run_of(p, first + i, n - i, &part);
        s24_observe_samples(&p->o, p->planes[part], s->rows + i * inputs, run, s->scratch,
                            s->sums + (size_t)part * MOST_PLANES);
    }
    return S24_OK;
}

/* In order: sums are as those of s24_calibration. */
static void add_squares(const pass *p, const slot *s, size_t first, size_t n)
{
    const size_t inputs = inputs_of(p->m);
    for (size_t i = 0; i < n; i++) {
        int part;
        run_of(p, first + i, 1, &part);
        double *const to = p->squares->of[part];
        const float *const x = s->rows + i * inputs;
        for (size_t j = 0; j < inputs; j++) {
            to[j] += (double)x[j] * (double)x[j];
        }
    }
}

static s24_status commit(void *ctx, unsigned number, size_t job, s24_error *err)
{
    pass *const p = ctx;
    const slot *const s = &p->slots[number];
    const uint64_t first = (uint64_t)job * chunk_of(p), left = all_rows(p) - first;
    (void)err;
    if (!p->o.rows) {
        add_squares(p, s, (size_t)first, left < chunk_of(p) ? (size_t)left : chunk_of(p));
        return S24_OK;
    }
    for (int part = 0; part < S24_PARTS; part++) {
        for (size_t i = 0; i < MOST_PLANES; i++) {
            p->sums[part][i] += s->sums[(size_t)part * MOST_PLANES + i];
        }
    }
    return S24_OK;
}

static s24_status run(pass *p, s24_error *err)
{
    static const s24_stages stages = {.work = work, .commit = commit};
    const s24_io *const io = p->m->how->io;
    const unsigned threads = io->threads ? io->threads : s24_threads_available(), slots = s24_slots(threads);
    p->slots = s24_calloc(slots, sizeof *p->slots, err);
    const size_t jobs = ((size_t)all_rows(p) + chunk_of(p) - 1) / chunk_of(p);
    const s24_status status = p->slots ? s24_run(&stages, p, jobs, threads, err) : S24_ERR_SYSTEM;
    close_slots(p, slots);
    return status;
}

/* ---------------------------------------------------------------- norms */

void s24_squares_free(s24_squares *s)
{
    for (int part = 0; part < S24_PARTS; part++) {
        free(s->of[part]);
        s->of[part] = NULL;
    }
}

static s24_status read_diagonal(const s24_matrix *m, const s24_entry *second, double *squares, s24_error *err)
{
    const size_t inputs = inputs_of(m);
    double element, scratch;
    s24_status status = S24_OK;
    for (size_t i = 0; i < inputs && status == S24_OK; i++) {
        status = s24_source_read_rows(second, second->rank - 1, i, 1, i, 1, &element, &scratch, err);
        status = status == S24_OK ? s24_reading_check(second, &element, i, 1, 1, err) : status;
        status = status == S24_OK ? s24_convert_elements(second, &element, S24_F64, &squares[i], 1, err) : status;
        if (status == S24_OK && squares[i] < 0) {
            return s24_fail(err, S24_ERR_DATA, "%s: %s: element [%zu, %zu] of the Hessian is %g; X'X is finite, and not "
                            "negative on its diagonal", second->in->name, second->name, i, i, squares[i]);
        }
    }
    return status;
}

static s24_status hold(const s24_entry *e, s24_error *err)
{
    const s24_status status = e->in->stream ? s24_input_hold(e->in, e->offset, e->bytes, err) : S24_OK;
    return s24_fail_prefix(err, status, "%s: ", e->in->name);
}

s24_status s24_squares_read(const s24_matrix *m, s24_second kind, const s24_entry *second, s24_squares *s, s24_error *err)
{
    const uint64_t samples = kind == S24_ACTIVATIONS ? s24_samples_of(second) : 0;
    *s = (s24_squares){.inputs = inputs_of(m), .rows = {[S24_FIT] = samples - samples / 4, [S24_HELD_OUT] = samples / 4}};
    pass p = {.m = m, .kind = kind, .second = second, .squares = s};
    s24_status status = hold(second, err);
    for (int part = 0; part < S24_PARTS && status == S24_OK; part++) {
        if (part == S24_FIT || s->rows[part]) {
            s->of[part] = s24_calloc(s->inputs + 1, sizeof(double), err);
            status = s->of[part] ? S24_OK : S24_ERR_SYSTEM;
        }
    }
    if (status == S24_OK) {
        status = kind == S24_HESSIAN ? read_diagonal(m, second, s->of[S24_FIT], err) : run(&p, err);
    }
    return status;
}

void s24_squares_norms(const s24_matrix *m, const s24_squares *s, unsigned parts, double *norms)
{
    for (size_t i = 0; i < s->inputs; i++) {
        double sum = 0;
        for (int part = 0; part < S24_PARTS; part++) {
            sum += parts >> part & 1 && s->of[part] ? s->of[part][i] : 0;
        }
        norms[i] = sqrt(sum);
    }
    s24_reorder_inputs(m, sizeof *norms, norms, 1, (unsigned char *)(norms + s->inputs));
}

/* ---------------------------------------------------------------- errors */

/* A sample of the rows, evenly spread, and what masks leave out of them. */
typedef struct sample {
    const s24_matrix *m;
    const s24_masks *masks;
    size_t count;            /* rows: the taps of an output are one where they have inputs of their own */
    float *planes;
    unsigned char *dense, *aux, *scratch, *values;
    uint8_t *positions;
    float *weights;          /* of a row, as f32 */
} sample;

static s24_status sample_init(sample *s, size_t planes, s24_error *err)
{
    const s24_matrix *const m = s->m;
    const s24_geometry *const g = &m->entry->pruned->geometry;
    const size_t elements = inputs_of(m), rows = m->rows / m->taps;
    s->count = rows < S24_SAMPLE_ROWS ? rows : S24_SAMPLE_ROWS;
    bool ok = (s->planes = s24_calloc(planes * s->count * elements, sizeof *s->planes, err)) != NULL;
    ok = ok && (s->dense = s24_calloc(elements, sizeof(double), err)) != NULL;
    ok = ok && (s->aux = s24_calloc(elements, sizeof(double), err)) != NULL;
    ok = ok && (s->scratch = s24_calloc(elements, sizeof(double), err)) != NULL;
    ok = ok && (s->weights = s24_calloc(elements, sizeof *s->weights, err)) != NULL;
    ok = ok && (s->values = s24_calloc(m->taps * g->row_values, sizeof(double), err)) != NULL;
    ok = ok && (s->positions = s24_calloc(m->taps, g->row_positions, err)) != NULL;
    return ok ? S24_OK : S24_ERR_SYSTEM;
}

static void sample_free(sample *s)
{
    free(s->planes);
    free(s->dense);
    free(s->aux);
    free(s->scratch);
    free(s->weights);
    free(s->values);
    free(s->positions);
}

/* What a mask leaves out of a row, or, without a mask, all of it; in the order in which inputs come. */
static void place_row(const sample *s, bool masked, float *to)
{
    const s24_matrix *const m = s->m;
    const size_t row_positions = m->entry->pruned->geometry.row_positions;
    for (size_t t = 0; t < m->taps; t++) {
        const uint8_t *const positions = s->positions + t * row_positions;
        for (size_t j = 0; j < m->cols; j++) {
            const unsigned nibble = positions[j / 8] >> (j / 4 % 2 * 4) & 15;
            const bool kept = masked && ((nibble & 3) == j % 4 || nibble >> 2 == j % 4);
            const size_t channel = m->order ? (size_t)m->order[j] : j;
            to[channel * m->taps + t] = kept ? 0 : s->weights[t * m->cols + j];
        }
    }
}

static s24_status mask_row(sample *s, const s24_pruner *pruner, size_t row, s24_error *err)
{
    const s24_matrix *const m = s->m;
    const s24_entry *const e = m->entry, *const elements = s->masks->elements;
    const s24_panel panel = {.rows = m->taps, .cols = m->cols, .dense = s->dense, .aux = s->aux, .values = s->values,
                             .positions = s->positions, .row = row};
    const s24_panel_place place = {.row = row, .rows = m->taps, .groups = e->pruned->geometry.groups};
    s24_sums sums;
    s24_fault fault;
    if (s24_prune_panel(pruner, &panel, &sums, &fault)) {
        return S24_OK;
    }
    const s24_status status = s24_fault_report(&fault, &place, e->rank, e->shape, e->axis, "", err);
    const s24_entry *const of = fault.kind == S24_FAULT_AUX_NONFINITE ? elements : e;
    assert(of); /* what is refused there was read there */
    return s24_fail_prefix(err, status, "%s: %s%s", of->in->name, e->name, *e->name ? ": " : "");
}

static s24_status read_row(sample *s, size_t row, s24_error *err)
{
    const s24_matrix *const m = s->m;
    const s24_entry *const e = m->entry, *const elements = s->masks->elements;
    s24_status status = s24_source_read_rows(e, e->axis, row, m->taps, 0, m->cols, s->dense, s->scratch, err);
    if (status == S24_OK && elements) {
        status = s24_source_read_rows(elements, e->axis, row, m->taps, 0, m->cols, s->aux, s->scratch, err);
    }
    status = status == S24_OK ? s24_convert_elements(e, s->dense, S24_F32, s->weights, m->taps * m->cols, err) : status;
    for (size_t i = 0; i < m->taps * m->cols && status == S24_OK; i++) {
        s->weights[i] = isfinite(s->weights[i]) ? s->weights[i] : 0; /* left out of the figures */
    }
    return status;
}

/* Rows into all planes: W, what is lost of it by all samples, and what by those that are not held out. */
static s24_status fill_planes(sample *s, size_t masks, bool held_out, s24_error *err)
{
    const s24_matrix *const m = s->m;
    const size_t elements = inputs_of(m), rows = m->rows / m->taps, plane = s->count * elements;
    s24_status status = S24_OK;
    for (size_t i = 0; i < s->count && status == S24_OK; i++) {
        const size_t row = i * rows / s->count * m->taps;
        float *to = s->planes + i * elements;
        status = s24_io_stopped(m->how->io, err);
        status = status == S24_OK ? read_row(s, row, err) : status;
        if (status == S24_OK) {
            place_row(s, false, to);
        }
        for (size_t k = 0; k < (held_out ? 2 * masks : masks) && status == S24_OK; k++) {
            const s24_pruner *const all = &s->masks->all[k % masks], *const fit = &s->masks->fit[k % masks];
            status = mask_row(s, k < masks ? all : fit, row, err);
            place_row(s, true, to + (k + 1) * plane);
        }
    }
    return status;
}

/* So that no product of theirs is beyond f32. */
static void scale_planes(float *planes, size_t n)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fabsf(planes[i]) > largest ? fabsf(planes[i]) : largest;
    }
    int exponent;
    frexp((double)largest, &exponent);
    const double unit = ldexp(1, -exponent);
    for (size_t i = 0; i < n && largest > 0; i++) {
        planes[i] = (float)((double)planes[i] * unit);
    }
}

static double error_of(double lost, double whole)
{
    return whole > 0 ? sqrt(fmax(lost, 0) / whole) : lost > 0 ? INFINITY : 0;
}

static s24_status set_errors(const pass *p, size_t masks, s24_output_error *e, s24_error *err)
{
    const double *const fit = p->sums[S24_FIT], *const held_out = p->sums[S24_HELD_OUT];
    const size_t method = masks; /* its plane; of Wanda's own masks that of the one */
    const double whole = fit[0] + held_out[0];
    if (!isfinite(whole)) {
        return s24_fail(err, S24_ERR_DATA, "%s: %s: squares of the activations are beyond the range of f32; scale them",
                        p->second->in->name, p->second->name);
    }
    e->wanda_training = error_of(fit[1] + held_out[1], whole);
    e->training = error_of(fit[method] + held_out[method], whole);
    if (p->planes[S24_HELD_OUT]) {
        e->wanda_held_out = error_of(held_out[masks + 1], held_out[0]);
        e->held_out = error_of(held_out[masks + method], held_out[0]);
    }
    return S24_OK;
}

static double mean_of(const s24_squares *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->inputs; i++) {
        sum += s->of[S24_FIT][i];
    }
    return sum > 0 ? sum / (double)s->inputs : 1;
}

static s24_status observe(sample *s, pass *p, const s24_blas *blas, s24_output_error *error, s24_error *err)
{
    const size_t masks = s->masks->same ? 1 : S24_MASKS;
    const bool held_out = p->squares->rows[S24_HELD_OUT] > 0;
    p->o = (s24_observed){.blas = blas, .inputs = inputs_of(p->m), .rows = s->count, .planes = s->planes};
    p->planes[S24_FIT] = 1 + masks;
    p->planes[S24_HELD_OUT] = held_out ? 1 + 2 * masks : 0;
    s24_status status = fill_planes(s, masks, held_out, err);
    if (status == S24_OK) {
        scale_planes(s->planes, (1 + (1 + (size_t)held_out) * masks) * s->count * p->o.inputs);
        status = run(p, err);
    }
    return status == S24_OK ? set_errors(p, masks, error, err) : status;
}

s24_status s24_observe(const s24_matrix *m, s24_second kind, const s24_entry *second, const s24_squares *squares,
                       const s24_masks *masks, s24_output_error *error, s24_error *err)
{
    const s24_io *const io = m->how->io;
    const s24_blas *const blas = io->blas ? io->blas(io->user, err) : NULL;
    *error = (s24_output_error){.training = NAN, .held_out = NAN, .wanda_training = NAN, .wanda_held_out = NAN,
                                .damping = NAN, .damping_shape = NAN, .samples = rows_of(squares), .method = "mask",
                                .held_out_samples = squares->rows[S24_HELD_OUT]};
    if (!blas) {
        return io->blas ? S24_ERR_SYSTEM : s24_fail(err, S24_ERR_USAGE, "activations need a BLAS to multiply with");
    }
    if (blas->set_threads) {
        blas->set_threads(1);
    }
    error->method = m->how->method->score ? "mask" : m->how->method->name;
    if (m->rows == 0 || m->cols == 0) {
        return S24_OK;
    }
    s24_squares copy = *squares;
    sample s = {.m = m, .masks = masks};
    pass p = {.m = m, .kind = kind, .second = second, .squares = &copy, .unit = mean_of(squares)};
    s24_status status = hold(m->entry, err);
    status = status == S24_OK && masks->elements ? hold(masks->elements, err) : status;
    status = status == S24_OK ? sample_init(&s, MOST_PLANES, err) : status;
    status = status == S24_OK ? observe(&s, &p, blas, error, err) : status;
    sample_free(&s);
    return status;
}
