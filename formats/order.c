#include "order.h"

#include <math.h>
#include <string.h>

#include "calibration.h"
#include "salience.h"
#include "threads.h"

#define THOROUGH_INPUTS 512  /* up to here damping is chosen anew for each order; beyond it is what is most often best */
#define SALIENT_INPUTS 4096  /* up to here orders are searched by salience, too: that takes the time of a factorization */

typedef struct searching {
    const s24_preparation *how;
    const s24_entry *entry;
    size_t rows, cols, taps; /* taps: rows that have their inputs together */
    float *weights;          /* [rows, cols] */
    s24_calibration *cal;    /* of what is fitted; or NULL */
    bool tries;              /* there are samples held out to try orders by */
} searching;

/* What comes from computing, names no file. */
static void fail_of(const searching *s, s24_status status, s24_error *err)
{
    s24_fail_prefix(err, status, "%s: %s%s", s->entry->in->name, s->entry->name, *s->entry->name ? ": " : "");
}

static unsigned threads_of(const searching *s)
{
    return s->how->io->threads ? s->how->io->threads : s24_threads_available();
}

/* ---------------------------------------------------------------- scores of columns */

/* ||X_j|| of each column, over all taps; *scores NULL: without calibration magnitudes count. */
static s24_status find_norms(const searching *s, float **scores, s24_error *err)
{
    double *squares;
    *scores = NULL;
    s24_status status = s24_prepare_squares(s->how, s->entry, &squares, err);
    if (status != S24_OK || !squares) {
        return status;
    }
    *scores = s24_calloc(s->cols, sizeof **scores, err);
    for (size_t j = 0; *scores && j < s->cols; j++) {
        (*scores)[j] = (float)sqrt(squares[j]);
    }
    free(squares);
    return *scores ? S24_OK : S24_ERR_SYSTEM;
}

/* The same by salience; NULL where it is not known, or takes too long. */
static s24_status find_salience(const searching *s, float **scores, s24_error *err)
{
    const size_t inputs = s->cols * s->taps;
    *scores = NULL;
    if (!s->tries || inputs > SALIENT_INPUTS) {
        return S24_OK;
    }
    const s24_compute_env env = {.blas = &s->cal->blas, .threads = threads_of(s), .cancel = s->how->io->cancel};
    double *const salience = s24_calloc(inputs, sizeof *salience, err);
    *scores = salience ? s24_calloc(s->cols, sizeof **scores, err) : NULL;
    const s24_status status = *scores ? s24_salience(s->cal, &env, salience, err) : S24_ERR_SYSTEM;
    fail_of(s, status, err);
    for (size_t j = 0; status == S24_OK && j < s->cols; j++) {
        double sum = 0;
        for (size_t t = 0; t < s->taps; t++) {
            sum += salience[j * s->taps + t];
        }
        (*scores)[j] = (float)sqrt(sum);
    }
    free(salience);
    return status;
}

/* ---------------------------------------------------------------- trying an order */

/* The taps of some outputs, evenly spread, columns in the order. */
static void copy_sample(const searching *s, size_t count, const int32_t *order, float *to)
{
    const size_t outputs = s->rows / s->taps;
    for (size_t i = 0; i < count; i++) {
        for (size_t t = 0; t < s->taps; t++, to += s->cols) {
            const float *const row = s->weights + (i * outputs / count * s->taps + t) * s->cols;
            for (size_t j = 0; j < s->cols; j++) {
                to[j] = row[order ? (size_t)order[j] : j];
            }
        }
    }
}

/* The error of the output on the samples held out. order NULL: as it is. */
static s24_status try(const searching *s, const int32_t *order, double *error, s24_error *err)
{
    const s24_preparation *const how = s->how;
    const size_t outputs = s->rows / s->taps, count = outputs < S24_SAMPLE_ROWS ? outputs : S24_SAMPLE_ROWS;
    const size_t row_positions = s->entry->pruned->geometry.row_positions;
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_output_error errors;
    float *const sample = s24_calloc(count * s->taps * s->cols, sizeof *sample, err);
    uint8_t *const positions = sample ? s24_calloc(count * s->taps, row_positions, err) : NULL;
    o.method = how->method->name;
    o.refit = how->refit;
    o.order = order;
    o.taps = s->taps;
    o.damping = s->cols * s->taps > THOROUGH_INPUTS ? 0.01 : S24_DAMPING_AUTO;
    o.threads = how->io->threads;
    o.isa = how->io->isa;
    o.cancel = how->io->cancel;
    s24_status status = positions ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK) {
        copy_sample(s, count, order, sample);
        status = s24_solve(&o, s->cal, count * s->taps, s->cols, S24_F32, sample, positions, &errors, err);
        *error = status == S24_OK ? errors.held_out : NAN;
        fail_of(s, status, err);
    }
    free(sample);
    free(positions);
    return status;
}

/* ---------------------------------------------------------------- the search */

/* What has been found, and how good it is on the samples held out. */
typedef struct best {
    int32_t *order; /* NULL: as it is */
    double error, as_it_is;
    s24_permute_figures figures;
    bool by_norms;
} best;

static s24_status search(const searching *s, const float *scores, bool by_norms, best *b, s24_error *err)
{
    best found = {.order = s24_calloc(s->cols, sizeof *found.order, err), .by_norms = by_norms};
    s24_permute_options o = S24_PERMUTE_OPTIONS_INIT;
    o.norms = scores;
    o.threads = s->how->io->threads;
    o.isa = s->how->io->isa;
    o.cancel = s->how->io->cancel;
    s24_status status = found.order ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK) {
        status = s24_permute_search(s->weights, s->cols, s->rows, s->cols, &o, found.order, &found.figures, err);
        fail_of(s, status, err);
    }
    if (status == S24_OK && s->tries) {
        status = try(s, found.order, &found.error, err);
    }
    if (status == S24_OK && (!s->tries || found.error < b->error)) {
        int32_t *const worse = b->order;
        b->order = found.order;
        b->error = found.error;
        b->figures = found.figures;
        b->by_norms = found.by_norms;
        found.order = worse;
    }
    free(found.order);
    return status;
}

static void tell(const searching *s, const best *b)
{
    const s24_entry *const e = s->entry;
    const s24_io *const io = s->how->io;
    const char *const colon = *e->name ? ": " : "";
    const double whole = b->figures.total > 0 ? b->figures.total : 1;
    if (s->tries && b->order) {
        s24_io_note(io, "%s: %s%spermuted: the error on the samples held out is %.6g instead of %.6g", e->in->name, e->name,
                    colon, b->error, b->as_it_is);
    } else if (s->tries) {
        s24_io_note(io, "%s: %s%sleft in its order: with another the error on the samples held out is not less", e->in->name,
                    e->name, colon);
    } else {
        s24_io_note(io, "%s: %s%spermuted: 2:4 keeps %.2f %% of %s instead of %.2f %%", e->in->name, e->name, colon,
                    100 * b->figures.kept_after / whole, b->by_norms ? "its output's energy, estimated," : "the magnitude",
                    100 * b->figures.kept_before / whole);
    }
}

static s24_status search_all(const searching *s, best *b, s24_error *err)
{
    float *norms = NULL, *salience = NULL;
    s24_status status = find_norms(s, &norms, err);
    status = status == S24_OK ? find_salience(s, &salience, err) : status;
    if (status == S24_OK && s->tries) {
        status = try(s, NULL, &b->as_it_is, err);
        b->error = b->as_it_is;
    }
    status = status == S24_OK ? search(s, norms, norms, b, err) : status;
    status = status == S24_OK && salience ? search(s, salience, false, b, err) : status;
    free(norms);
    free(salience);
    return status;
}

/* Whether it is known how a row of it is solved: a mask by a second input's elements is not. */
static bool fits_values(const s24_preparation *how)
{
    return !how->transposable && (how->method->solves || (how->refit && !how->method->score));
}

s24_status s24_order_find(const s24_preparation *how, const s24_entry *e, int32_t **order, s24_error *err)
{
    const s24_geometry *const g = &e->pruned->geometry;
    searching s = {.how = how, .entry = e, .rows = g->rows, .cols = g->cols, .taps = 1,
                   .weights = s24_calloc(g->num_elements, sizeof *s.weights, err)};
    best b = {.order = NULL};
    s24_status status = s.weights ? s24_prepare_weights(e, S24_F32, s.weights, err) : S24_ERR_SYSTEM;
    if (status == S24_OK && fits_values(how)) {
        status = s24_prepare_calibration(how, e, &s.taps, &s.cal, err);
        s.tries = s.cal && s.cal->rows[S24_HELD_OUT] > 0 && g->num_elements > 0;
    }
    if (status == S24_OK) {
        status = search_all(&s, &b, err);
    }
    if (status == S24_OK) {
        tell(&s, &b);
    }
    s24_calibration_free(s.cal);
    free(s.weights);
    *order = b.order;
    if (status != S24_OK) {
        free(b.order);
        *order = NULL;
    }
    return status;
}
