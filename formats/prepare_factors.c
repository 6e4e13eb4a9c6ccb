/*
 * Factors of scores of a tensor: norms of its inputs, and for some methods sums of its weights, for which those are read
 * once.
 */
#include <math.h>
#include <string.h>

#include "outputs.h"
#include "problem.h"
#include "reorder.h"
#include "threads.h"

/* ---------------------------------------------------------------- sums of |w| */

/*
 * Rows of the problem (s24_problem: the taps of an output are one where they have inputs of their own) are summed tile by
 * tile, in the order in which s24_solve does it: sums are the same to the last bit.
 */
typedef struct summing {
    const s24_matrix *m;
    s24_problem shape;   /* without weights */
    s24_dtype as;
    double *rows, *cols; /* of all: [shape.rows], [shape.k] */
    struct {
        s24_reading reading;
        void *weights;   /* of a reading's chunk, converted */
        double *cols;    /* of the tile */
    } *slots;
} summing;

static s24_status open_slot(summing *s, unsigned slot, s24_error *err)
{
    const s24_matrix *const m = s->m;
    const size_t row = m->cols * m->taps;
    s24_reading *const r = &s->slots[slot].reading;
    if (!s->slots[slot].cols) {
        s24_status status = s24_reading_begin(r, m->entry, m->entry->axis, s->shape.rows, row, err);
        s->slots[slot].weights = status == S24_OK ? s24_malloc(r->chunk * row * s24_info(s->as)->bytes, err) : NULL;
        s->slots[slot].cols = s->slots[slot].weights ? s24_calloc(s->shape.k, sizeof(double), err) : NULL;
        if (!s->slots[slot].cols) {
            return status == S24_OK ? S24_ERR_SYSTEM : status;
        }
    }
    memset(s->slots[slot].cols, 0, s->shape.k * sizeof(double));
    return S24_OK;
}

/* Rows [row, row + n) of the problem. */
static s24_status sum_rows(summing *s, unsigned slot, size_t row, size_t n, s24_error *err)
{
    const s24_matrix *const m = s->m;
    const s24_entry *const e = m->entry;
    s24_reading *const r = &s->slots[slot].reading;
    s24_problem p = s->shape;
    p.weights = s->slots[slot].weights;
    s24_status status = s24_source_read_rows(e, e->axis, row * m->taps, n * m->taps, 0, m->cols, r->data, r->scratch, err);
    status = status == S24_OK ? s24_convert_elements(e, r->data, s->as, p.weights, n * m->taps * m->cols, err) : status;
    for (size_t i = 0; i < n && status == S24_OK; i++) {
        double largest = 0;
        status = s24_problem_survey_row(&p, i, s->slots[slot].cols, &s->rows[row + i], &largest, err);
    }
    if (status == S24_ERR_DATA) { /* an element that is not finite: which, as others are told */
        return s24_reading_check(e, r->data, row * m->taps, n * m->taps, m->cols, err) == S24_OK ? status : S24_ERR_DATA;
    }
    return status;
}

static s24_status sum_tile(void *ctx, unsigned slot, size_t tile, s24_error *err)
{
    summing *const s = ctx;
    const size_t first = tile * S24_TILE_ROWS, left = s->shape.rows - first;
    const size_t count = left < S24_TILE_ROWS ? left : S24_TILE_ROWS;
    s24_status status = s24_io_stopped(s->m->how->io, err);
    status = status == S24_OK ? open_slot(s, slot, err) : status;
    for (size_t row = 0, n = 0; row < count && status == S24_OK; row += n) {
        n = count - row < s->slots[slot].reading.chunk ? count - row : s->slots[slot].reading.chunk;
        status = sum_rows(s, slot, first + row, n, err);
    }
    return status;
}

static s24_status commit_tile(void *ctx, unsigned slot, size_t tile, s24_error *err)
{
    summing *const s = ctx;
    (void)tile;
    (void)err;
    for (size_t j = 0; j < s->shape.k; j++) {
        s->cols[j] += s->slots[slot].cols[j];
    }
    return S24_OK;
}

static s24_status sum_all(summing *s, s24_error *err)
{
    static const s24_stages stages = {.work = sum_tile, .commit = commit_tile};
    const s24_io *const io = s->m->how->io;
    const size_t tiles = s->shape.rows ? (s->shape.rows - 1) / S24_TILE_ROWS + 1 : 0;
    const unsigned threads = io->threads ? io->threads : s24_threads_available(), slots = s24_slots(threads);
    s->slots = s24_calloc(slots, sizeof *s->slots, err);
    s->rows = s->slots ? s24_calloc(s->shape.rows + 1, sizeof *s->rows, err) : NULL;
    s->cols = s->rows ? s24_calloc(s->shape.k + 1, sizeof *s->cols, err) : NULL;
    const s24_status status = s->cols ? s24_run(&stages, s, tiles, threads, err) : S24_ERR_SYSTEM;
    for (unsigned i = 0; s->slots && i < slots; i++) {
        s24_reading_end(&s->slots[i].reading);
        free(s->slots[i].weights);
        free(s->slots[i].cols);
    }
    free(s->slots);
    return status;
}

/* ---------------------------------------------------------------- factors */

/* RIA: (|w| / sum of its column + |w| / sum of its row) sqrt(norm). Sums of 0 are of zeros alone. */
static void use_sums(const summing *s, s24_factors *f)
{
    for (size_t t = 0; t < f->taps; t++) {
        for (size_t j = 0; j < f->cols; j++) {
            const size_t at = t * f->cols + j;
            const double sum = s->cols[t * s->shape.run + j];
            f->c[at] = sqrt(f->a[at]);
            f->a[at] = sum > 0 ? f->c[at] / sum : 0;
        }
    }
    for (size_t i = 0; i < s->shape.rows; i++) {
        f->b[i] = s->rows[i] > 0 ? 1 / s->rows[i] : 0;
    }
}

/* The caller frees rows and cols of it. */
static s24_status add_up(const s24_matrix *m, summing *s, s24_error *err)
{
    const size_t run = (m->cols + 3) / 4 * 4;
    const s24_dtype as = m->entry->dtype == S24_F64 ? S24_F64 : S24_F32;
    *s = (summing){.m = m, .as = as,
                   .shape = {.kernels = s24_solve_kernels_of(m->how->io->isa), .rows = m->rows / m->taps, .taps = m->taps,
                             .cols = m->cols, .run = run, .k = m->taps * run, .dtype = as}};
    const s24_status status = m->entry->in->stream ? s24_input_hold(m->entry->in, m->entry->offset, m->entry->bytes, err)
                                                   : S24_OK;
    s24_fail_prefix(err, status, "%s: ", m->entry->in->name);
    return status == S24_OK ? sum_all(s, err) : status;
}

/* norms: in the columns' order, channel by channel. sums: NULL where the method takes none. */
static s24_status make_factors(const s24_matrix *m, const double *norms, const summing *sums, s24_factors *f, s24_error *err)
{
    const s24_status status = s24_factors_init(f, m->rows, m->cols, m->taps, sums, err);
    for (size_t i = 0; status == S24_OK && i < m->cols * m->taps; i++) {
        f->a[i % m->taps * f->cols + i / m->taps] = norms[i];
    }
    if (status == S24_OK && sums) {
        use_sums(sums, f);
    }
    if (status == S24_OK) {
        s24_factors_complete(f);
    }
    return status;
}

/* ---------------------------------------------------------------- norms that were given */

static s24_status check_norms(const s24_matrix *m, const s24_entry *second, const double *norms, s24_error *err)
{
    for (size_t i = 0; i < m->cols * m->taps; i++) {
        if (norms[i] < 0) {
            return s24_fail(err, S24_ERR_DATA, "%s: %s: the norm of input %zu is %g; norms are not negative",
                            second->in->name, second->name, i, norms[i]);
        }
    }
    return S24_OK;
}

static s24_status read_norms(const s24_matrix *m, const s24_entry *second, double *norms, s24_error *err)
{
    const size_t inputs = m->cols * m->taps;
    s24_reading r;
    size_t n;
    s24_status status = s24_reading_begin(&r, second, second->rank - 1, 1, inputs, err);
    status = status == S24_OK ? s24_reading_next(&r, 0, &n, err) : status;
    status = status == S24_OK ? s24_convert_elements(second, r.data, S24_F64, norms, inputs, err) : status;
    status = status == S24_OK ? check_norms(m, second, norms, err) : status;
    s24_reading_end(&r);
    s24_reorder_inputs(m, sizeof *norms, norms, 1, (unsigned char *)(norms + inputs));
    return status;
}

/* ---------------------------------------------------------------- norms of inputs, and what masks do to the output */

/* What masks are made by. */
typedef struct factor_sets {
    s24_factors wanda, wanda_fit, method_fit;
} factor_sets;

static s24_status make_sets(const s24_matrix *m, const s24_squares *squares, const summing *sums, double *norms,
                            factor_sets *sets, s24_factors *f, s24_error *err)
{
    const unsigned fit = 1u << S24_FIT, all = fit | 1u << S24_HELD_OUT;
    s24_squares_norms(m, squares, all, norms);
    s24_status status = make_factors(m, norms, NULL, &sets->wanda, err);
    if (status == S24_OK && f) {
        status = make_factors(m, norms, sums, f, err);
    }
    s24_squares_norms(m, squares, fit, norms);
    status = status == S24_OK ? make_factors(m, norms, NULL, &sets->wanda_fit, err) : status;
    if (status == S24_OK && sums) {
        status = make_factors(m, norms, sums, &sets->method_fit, err);
    }
    return status;
}

static s24_masks masks_of(const s24_matrix *m, const factor_sets *sets, const s24_factors *f, bool sums,
                          const s24_entry *elements)
{
    const s24_preparation *const how = m->how;
    const s24_dtype dtype = m->entry->dtype;
    const s24_method *const wanda = &s24_methods[S24_METHOD_WANDA];
    const s24_pruner by_norms = s24_pruner_of(wanda, dtype, dtype, S24_F64, true, how->io->isa);
    const s24_dtype aux = elements ? elements->dtype : S24_F64;
    const s24_pruner other = s24_pruner_of(how->method, dtype, dtype, aux, true, how->io->isa);
    s24_masks masks = {.all = {by_norms, other}, .fit = {by_norms, other}, .elements = elements,
                       .same = how->method == wanda};
    s24_pruner_by(&masks.all[S24_MASK_WANDA], &sets->wanda, how->io->isa);
    s24_pruner_by(&masks.fit[S24_MASK_WANDA], &sets->wanda_fit, how->io->isa);
    if (f) {
        s24_pruner_by(&masks.all[S24_MASK_METHOD], f, how->io->isa);
        s24_pruner_by(&masks.fit[S24_MASK_METHOD], sums ? &sets->method_fit : &sets->wanda_fit, how->io->isa);
    }
    return masks;
}

/*
 * By activations or a hessian. elements: of a criterion's second input by elements, or NULL; f: NULL where it takes no
 * factors.
 */
static s24_status observe_all(const s24_matrix *m, s24_second kind, const s24_entry *second, const s24_entry *elements,
                              const summing *sums, s24_factors *f, s24_output_error *error, s24_error *err)
{
    factor_sets sets = {0};
    s24_squares squares;
    double *const norms = s24_calloc(2 * m->cols * m->taps + 1, sizeof *norms, err);
    s24_status status = s24_squares_read(m, kind, second, &squares, err);
    status = status == S24_OK && !norms ? S24_ERR_SYSTEM : status;
    status = status == S24_OK ? make_sets(m, &squares, sums, norms, &sets, f, err) : status;
    if (status == S24_OK) {
        const s24_masks masks = masks_of(m, &sets, f, sums, elements);
        status = s24_observe(m, kind, second, &squares, &masks, error, err);
    }
    free(norms);
    s24_squares_free(&squares);
    s24_factors_free(&sets.wanda);
    s24_factors_free(&sets.wanda_fit);
    s24_factors_free(&sets.method_fit);
    return status;
}

/* By norms. */
static s24_status weigh(const s24_matrix *m, const s24_entry *second, const summing *sums, s24_factors *f, s24_error *err)
{
    double *const norms = s24_calloc(2 * m->cols * m->taps + 1, sizeof *norms, err);
    s24_status status = norms ? read_norms(m, second, norms, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? make_factors(m, norms, sums, f, err) : status;
    free(norms);
    return status;
}

s24_status s24_prepare_factors(const s24_preparation *how, const s24_entry *e, s24_factors *f, s24_output_error *error,
                               s24_error *err)
{
    const s24_geometry *const g = &e->pruned->geometry;
    const s24_second kind = s24_seconds_given(how->seconds, ~S24_ELEMENTS);
    const s24_second by = s24_seconds_given(how->seconds, S24_ELEMENTS);
    s24_matrix m = {.how = how, .entry = e, .rows = g->rows, .cols = g->cols, .taps = 1,
                    .order = s24_entry_order(e, e->axis)};
    const s24_entry *const second = s24_seconds_found(how->seconds, kind, e, &m.taps);
    const s24_entry *const elements = by != S24_SECONDS ? s24_seconds_found(how->seconds, by, e, NULL) : NULL;
    const bool sums = how->method->factors && s24_solver_find(how->method->name)->sums;
    summing s = {.rows = NULL};
    s24_status status = sums ? add_up(&m, &s, err) : S24_OK;
    if (status == S24_OK) {
        status = kind == S24_NORMS ? weigh(&m, second, sums ? &s : NULL, f, err)
                 : observe_all(&m, kind, second, elements, sums ? &s : NULL, how->method->factors ? f : NULL, error, err);
    }
    free(s.rows);
    free(s.cols);
    if (status != S24_OK) {
        s24_factors_free(f);
    }
    return status;
}
