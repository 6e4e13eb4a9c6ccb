#include "plan_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bars.h"
#include "chart.h"
#include "color.h"
#include "plan.h"
#include "table.h"

uint64_t plan_bytes(const plan_row *row)
{
    return row->prune ? row->planned->bytes_stored : row->planned->bytes_dense;
}

/* ---------------------------------------------------------------- the errors by criterion */

typedef double figure(const plan_row *row);

static const s24_output_error *errors_of(const s24_report_tensor *t)
{
    static const s24_output_error unknown = {.training = NAN, .held_out = NAN, .wanda_training = NAN};
    return t->figures->output_error ? t->figures->output_error : &unknown;
}

static double relative_magnitude(const plan_row *row)
{
    return row->magnitude->figures->metrics.relative_error;
}

static double relative_planned(const plan_row *row)
{
    return row->planned->figures->metrics.relative_error;
}

static double output_magnitude(const plan_row *row)
{
    return errors_of(row->magnitude)->training;
}

static double output_wanda(const plan_row *row)
{
    return errors_of(row->planned)->wanda_training;
}

static double output_planned(const plan_row *row)
{
    return errors_of(row->planned)->training;
}

static double held_out_planned(const plan_row *row)
{
    return errors_of(row->planned)->held_out;
}

/* Columns of the table, bars of the drawing. */
typedef struct error_kind {
    figure *of;
    const char *title, *legend; /* of the method's name */
    const char *metric;         /* of the planned method's: what a budget calls it */
    const char *method;         /* NULL: the planned one */
    bool of_output;
} error_kind;

static const error_kind kinds[] = {
    {relative_magnitude, "relative: %s", "relative error of the weights, by %s", NULL, "magnitude", false},
    {relative_planned, "relative: %s", "relative error of the weights, by %s", "relative_error", NULL, false},
    {output_magnitude, "output: %s", "error of the layer's output, by %s", NULL, "magnitude", true},
    {output_wanda, "output: %s", "error of the layer's output, by %s", NULL, "wanda", true},
    {output_planned, "output: %s", "error of the layer's output, by %s", "output_error", NULL, true},
    {held_out_planned, "held out: %s", "the same on samples held out, by %s", "held_out_error", NULL, true},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static const char *method_of(const plan_report *r, const error_kind *k)
{
    return k->method ? k->method : r->shown;
}

/* What there is to tell: what is known, and not twice where the planned method is one of those it is compared with. */
static bool applies(const plan_report *r, const error_kind *k)
{
    const bool same = strcmp(r->shown, "magnitude") == 0;
    if (k->of == held_out_planned) {
        return r->held_out;
    }
    if (!k->of_output) {
        return k->method || !same;
    }
    return r->calibrated && !(k->method && strcmp(k->method, r->shown) == 0);
}

/* ---------------------------------------------------------------- text */

static const char *why(const plan_row *row)
{
    const char *const packed = row->planned->status == S24_TENSOR_PACKED ? "2:4 already" : "";
    return *row->reason ? row->reason : row->eligible ? packed : report_why(row->planned);
}

static void add_row(table *rows, const plan_report *r, const plan_row *row)
{
    char shape[TEXT_SHAPE_SIZE];
    text_shape(shape, row->planned->rank, row->planned->shape, "x");
    table_add(rows, row->planned->name);
    table_add(rows, shape);
    for (size_t k = 0; k < KINDS; k++) {
        if (applies(r, &kinds[k])) {
            table_add_figure(rows, row->eligible ? kinds[k].of(row) : NAN);
        }
    }
    table_add(rows, row->prune ? "prune" : "dense");
    table_add_bytes(rows, row->planned->bytes_dense);
    table_add_bytes(rows, plan_bytes(row));
    table_add(rows, why(row));
}

static void add_total(table *rows, const plan_report *r)
{
    table_add(rows, "total");
    table_add(rows, "");
    for (size_t k = 0; k < KINDS; k++) {
        if (applies(r, &kinds[k])) {
            table_add(rows, "");
        }
    }
    table_add(rows, "");
    table_add_bytes(rows, r->bytes_dense);
    table_add_bytes(rows, r->bytes_planned);
    table_add(rows, "");
}

static void print_head(const plan_report *r, FILE *out)
{
    fputs(color(out, COLOR_BOLD), out);
    text_put(out, r->path);
    fprintf(out, "%s: a plan for %s", color(out, COLOR_OFF), r->shown);
    for (size_t i = 0; i < r->budget->count; i++) {
        fprintf(out, "%s", i ? ", " : ", budget ");
        text_put(out, r->budget->items[i].text);
    }
    fputc('\n', out);
}

#define COUNTS_SIZE 112
static void describe_counts(char out[COUNTS_SIZE], const plan_report *r)
{
    const size_t left = r->eligible - r->pruned;
    snprintf(out, COUNTS_SIZE, "%zu of %zu eligible tensors %s pruned, %zu %s dense", r->pruned, r->eligible,
             r->pruned == 1 ? "is" : "are", left, left == 1 ? "stays" : "stay");
}

static void print_summary(const plan_report *r, bool full, FILE *out)
{
    char counts[COUNTS_SIZE], from[TEXT_SIZE], to[TEXT_SIZE];
    const size_t others = r->count - r->eligible;
    describe_counts(counts, r);
    text_bytes(from, r->bytes_dense);
    text_bytes(to, r->bytes_planned);
    fprintf(out, "%s: %s -> %s", counts, from, to);
    if (r->bytes_dense) {
        fprintf(out, " (%.2f %%)", 100 * (double)r->bytes_planned / (double)r->bytes_dense);
    }
    fputc('\n', out);
    if (others && !full) {
        fprintf(out, "%zu of %zu tensors are not eligible; -v lists them and says why\n", others, r->count);
    }
}

void plan_report_text(const plan_report *r, bool full, FILE *out)
{
    table_column columns[KINDS + 7] = {{"tensor", false}, {"shape", false}};
    char titles[KINDS][48];
    size_t n = 2;
    for (size_t k = 0; k < KINDS; k++) {
        if (applies(r, &kinds[k])) {
            snprintf(titles[k], sizeof titles[k], kinds[k].title, method_of(r, &kinds[k]));
            columns[n++] = (table_column){titles[k], true};
        }
    }
    static const table_column last[] = {{"decision", false}, {"dense", true}, {"planned", true}, {"why", false}, {NULL, false}};
    memcpy(columns + n, last, sizeof last);
    table rows = {.columns = columns};
    for (size_t i = 0; i < r->count; i++) {
        if (r->rows[i].eligible || full) {
            add_row(&rows, r, &r->rows[i]);
        }
    }
    add_total(&rows, r);
    print_head(r, out);
    table_print(&rows, out);
    print_summary(r, full, out);
}

/* ---------------------------------------------------------------- JSON */

/* output: over all samples, and held out; NULL: not known. */
static void json_errors(json_object *j, const char *key, double relative, const double output[2])
{
    json_object errors = json_new();
    if (!isnan(relative)) {
        json_f64(&errors, "relative_error", relative);
    }
    if (output) {
        json_f64(&errors, "output_error", output[0]);
        json_f64(&errors, "held_out_error", output[1]);
    }
    j->failed = j->failed || errors.failed;
    json_item(j, key, errors.object);
}

/* What the methods would do to an eligible tensor. */
static void json_eligible(json_object *j, const plan_row *row)
{
    const s24_report_figures *const m = row->magnitude->figures, *const p = row->planned->figures;
    const s24_output_error *const e = p->output_error, *const by_magnitude = m->output_error;
    json_f64(j, "relative_error", p->metrics.relative_error);
    json_f64(j, "approximation_error", p->metrics.approximation_error);
    if (e) {
        json_f64(j, "output_error", e->training);
        json_f64(j, "held_out_error", e->held_out);
        json_errors(j, "wanda", NAN, (const double[]){e->wanda_training, e->wanda_held_out});
    }
    json_errors(j, "magnitude", m->metrics.relative_error,
                by_magnitude ? (const double[]){by_magnitude->training, by_magnitude->held_out} : NULL);
}

static void json_row(FILE *out, const plan_row *row)
{
    const s24_report_tensor *const t = row->planned;
    json_object j = json_new();
    json_text(&j, "name", t->name);
    json_text(&j, "dtype", s24_dtype_name(t->dtype));
    json_text(&j, "stored_dtype", s24_dtype_name(row->prune ? t->stored : t->dtype));
    json_shape(&j, "shape", t->rank, t->shape);
    if (t->axis < 0) {
        json_text(&j, "axis", NULL);
    } else {
        json_raw(&j, "axis", "%d", t->axis);
    }
    json_bool(&j, "eligible", row->eligible);
    json_text(&j, "decision", row->prune ? "prune" : "dense");
    json_text(&j, "reason", *row->reason ? row->reason : t->reason);
    if (row->eligible) {
        json_eligible(&j, row);
    }
    json_raw(&j, "bytes_dense", "%" PRIu64, t->bytes_dense);
    json_raw(&j, "bytes_planned", "%" PRIu64, plan_bytes(row));
    json_print(&j, out);
}

static const char *flag(bool on)
{
    return on ? "true" : "false";
}

static void json_head(const plan_report *r, FILE *out)
{
    const s24_dtype dtype = r->storage->dtype;
    fprintf(out, "{\"schema\": \"" S24_PLAN_SCHEMA "\", \"version\": \"%s\", \"path\": ", s24_version());
    json_print_string(r->path, out);
    fprintf(out, ", \"format\": \"%s\",\n \"method\": \"%s\", \"refit\": %s, \"transposable\": %s,\n \"permute\": %s, "
            "\"dtype\": \"%s\", \"group_size\": %zu,\n \"budget\": [", r->format, r->method, flag(r->criterion->refit),
            flag(r->criterion->transposable), flag(r->criterion->permute), dtype == S24_SAME ? "same" : s24_dtype_name(dtype),
            storage_scale_group(r->storage));
    for (size_t i = 0; i < r->budget->count; i++) {
        fputs(i ? ", " : "", out);
        json_print_string(r->budget->items[i].text, out);
    }
    fputs("],\n \"tensors\": [", out);
}

void plan_report_json(const plan_report *r, FILE *out)
{
    json_object totals = json_new();
    json_head(r, out);
    for (size_t i = 0; i < r->count; i++) {
        fputs(i ? ",\n  " : "\n  ", out);
        json_row(out, &r->rows[i]);
    }
    json_raw(&totals, "tensors", "%zu", r->count);
    json_raw(&totals, "eligible", "%zu", r->eligible);
    json_raw(&totals, "pruned", "%zu", r->pruned);
    json_raw(&totals, "left_dense", "%zu", r->eligible - r->pruned);
    json_raw(&totals, "bytes_dense", "%" PRIu64, r->bytes_dense);
    json_raw(&totals, "bytes_planned", "%" PRIu64, r->bytes_planned);
    fputs("],\n \"totals\": ", out);
    json_print(&totals, out);
    fputs("}\n", out);
}

/* ---------------------------------------------------------------- the drawing */

static bool budgeted(const plan_report *r, const char *metric)
{
    for (size_t i = 0; i < r->budget->count; i++) {
        if (metric && strcmp(r->budget->items[i].metric->name, metric) == 0) {
            return true;
        }
    }
    return false;
}

/* Bars are about the output where that is known, otherwise about the weights; and about what has a budget. */
static bool is_drawn(const plan_report *r, const error_kind *k)
{
    return applies(r, k) && (k->of_output == r->calibrated || budgeted(r, k->metric) ||
                             (k->of == relative_magnitude && strcmp(r->shown, "magnitude") == 0 && budgeted(r, "relative_error")));
}

typedef struct drawing {
    bars_row *rows;
    double (*values)[KINDS];
    bars_mark *marks;
    char (*mark_names)[80];
    size_t mark_count;
    const error_kind *series[KINDS];
    char titles[KINDS][80];
    const char *title_list[KINDS];
    size_t used;
} drawing;

static void choose_series(drawing *d, const plan_report *r)
{
    for (size_t k = 0; k < KINDS && d->used < CHART_STYLES; k++) {
        if (is_drawn(r, &kinds[k])) {
            snprintf(d->titles[d->used], sizeof d->titles[0], kinds[k].legend, method_of(r, &kinds[k]));
            d->title_list[d->used] = d->titles[d->used];
            d->series[d->used++] = &kinds[k];
        }
    }
}

static size_t add_rows(drawing *d, const plan_report *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const plan_row *const row = &r->rows[i];
        if (row->eligible) {
            for (size_t k = 0; k < d->used; k++) {
                d->values[n][k] = d->series[k]->of(row);
            }
            d->rows[n] = (bars_row){.name = *report_name(row->planned) ? row->planned->name : r->path,
                                    .note = row->prune ? "" : "dense", .values = d->values[n]};
            n++;
        }
    }
    return n;
}

static bool on_the_scale(const report_metric *m)
{
    static const char *const drawn[] = {"relative_error", "output_error", "held_out_error"};
    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
        if (strcmp(m->name, drawn[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void add_marks(drawing *d, const plan_report *r)
{
    for (size_t i = 0; i < r->budget->count; i++) {
        const condition *const q = &r->budget->items[i];
        if (on_the_scale(q->metric)) {
            snprintf(d->mark_names[d->mark_count], sizeof *d->mark_names, "budget: %.60s", q->text);
            d->marks[d->mark_count] = (bars_mark){q->limit, d->mark_names[d->mark_count]};
            d->mark_count++;
        }
    }
}

static svg *draw(drawing *d, const plan_report *r)
{
    char subtitle[360], path[160], counts[COUNTS_SIZE], unseen[80] = "";
    choose_series(d, r);
    const size_t rows = add_rows(d, r);
    add_marks(d, r);
    text_escape(path, sizeof path, r->path, false);
    if (d->mark_count < r->budget->count) {
        snprintf(unseen, sizeof unseen, "; %zu budgets of other figures are not drawn", r->budget->count - d->mark_count);
    }
    describe_counts(counts, r);
    snprintf(subtitle, sizeof subtitle, "%s: %s%s", path, counts, unseen);
    return bars_draw(&(bars){
        .title = "What 2:4 costs each tensor, by criterion", .subtitle = subtitle,
        .x_title = "error, relative to what was there", .series = d->title_list, .series_count = d->used, .rows = d->rows,
        .count = rows, .marks = d->marks, .mark_count = d->mark_count,
    });
}

svg *plan_report_draw(const plan_report *r)
{
    drawing d = {.rows = calloc(r->count + 1, sizeof *d.rows), .values = calloc(r->count + 1, sizeof *d.values),
                 .marks = calloc(r->budget->count + 1, sizeof *d.marks),
                 .mark_names = calloc(r->budget->count + 1, sizeof *d.mark_names)};
    svg *const s = d.rows && d.values && d.marks && d.mark_names ? draw(&d, r) : NULL;
    free(d.rows);
    free(d.values);
    free(d.marks);
    free(d.mark_names);
    return s;
}
