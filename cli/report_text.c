/* Reports for people: of one tensor a figure a line, of several a tensor a line. */
#include <inttypes.h>
#include <math.h>

#include "color.h"
#include "error.h"
#include "report.h"
#include "table.h"

/* ---------------------------------------------------------------- several tensors */

static void add_share(table *t, bool defined, uint64_t part, uint64_t whole)
{
    char text[TEXT_SIZE] = "-";
    if (defined && whole) {
        snprintf(text, sizeof text, "%.2f %%", 100 * (double)part / (double)whole);
    }
    table_add(t, text);
}

/* What a tensor is; nothing of that in the line of totals. */
static void add_kind(table *rows, const s24_report_tensor *t)
{
    char text[TEXT_SHAPE_SIZE];
    text_shape(text, t->rank, t->shape, "x");
    table_add(rows, text);
    report_dtype(text, t);
    table_add(rows, text);
    snprintf(text, sizeof text, "%d", t->axis);
    table_add(rows, t->axis < 0 ? "" : text);
    report_text_status(text, report_status_name(t->status), t);
    table_add(rows, text);
}

/* Columns of a table of tensors: those that all have, and those that are there for a reason. */
typedef enum extra { ALWAYS, OUTPUT_ERROR, BITS, PARTS, WHY, EXTRAS } extra;

typedef struct extras {
    bool has[EXTRAS];
} extras;

static void add_figures(table *rows, const s24_report_tensor *t, bool measured, const extras *with)
{
    static const s24_prune_metrics none;
    const s24_prune_metrics *m = t->figures ? &t->figures->metrics : &none;
    if (with->has[OUTPUT_ERROR]) {
        table_add_figure(rows, t->figures && t->figures->output_error ? t->figures->output_error->training : NAN);
    }
    table_add_figure(rows, measured ? m->relative_error : NAN);
    table_add_figure(rows, measured ? m->approximation_error : NAN);
    table_add_figure(rows, measured ? m->kept_magnitude_mean : NAN);
    table_add_figure(rows, measured ? m->pruned_magnitude_mean : NAN);
    add_share(rows, measured, m->pruned_count, m->total_count);
    table_add_bytes(rows, t->bytes_dense);
    table_add_bytes(rows, t->bytes_stored);
}

#define MOST_COLUMNS 17

/* The columns of such a table, in `columns`, which an unnamed one ends. */
static void choose_columns(table_column columns[MOST_COLUMNS], const extras *with)
{
    static const struct {
        table_column column;
        extra only;
    } all[] = {
        {{"tensor", false}, ALWAYS}, {{"shape", false}, ALWAYS}, {{"dtype", false}, ALWAYS}, {{"axis", true}, ALWAYS},
        {{"status", false}, ALWAYS}, {{"output error", true}, OUTPUT_ERROR}, {{"relative error", true}, ALWAYS},
        {{"mean error", true}, ALWAYS}, {{"kept mean", true}, ALWAYS}, {{"pruned mean", true}, ALWAYS},
        {{"pruned", true}, ALWAYS}, {{"dense", true}, ALWAYS}, {{"stored", true}, ALWAYS}, {{"bits", true}, BITS},
        {{"of which", false}, PARTS}, {{"why", false}, WHY},
    };
    _Static_assert(sizeof all / sizeof *all < MOST_COLUMNS, "and the end");
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (with->has[all[i].only]) {
            columns[n++] = all[i].column;
        }
    }
    columns[n] = (table_column){NULL, false};
}

static extras extras_of(const report_writer *w, const s24_report *report)
{
    extras with = {.has = {[ALWAYS] = true, [BITS] = report->archive, [WHY] = w->full}};
    for (size_t i = 0; i < report->count; i++) {
        const s24_report_figures *const f = report->tensors[i].figures;
        with.has[OUTPUT_ERROR] = with.has[OUTPUT_ERROR] || (report->has_metrics && f && f->output_error);
        with.has[PARTS] = with.has[PARTS] || report->tensors[i].parts != NULL;
    }
    return with;
}

void report_text_bits(char out[TEXT_SIZE], const s24_report_tensor *t)
{
    snprintf(out, TEXT_SIZE, isnan(t->bits_per_element) ? "-" : "%.2f", t->bits_per_element);
}

void report_text_parts(char out[REPORT_PARTS_SIZE], const s24_report_tensor *t)
{
    const double each = t->bits_per_element / (double)t->bytes_stored; /* of a byte */
    int used = 0;
    out[0] = '\0';
    if (!t->parts || t->bytes_stored == 0) {
        return;
    }
    if (t->status != S24_TENSOR_DENSE) {
        used = snprintf(out, REPORT_PARTS_SIZE, "positions %.2f, ", each * (double)t->parts->positions);
    }
    used += snprintf(out + used, (size_t)(REPORT_PARTS_SIZE - used), "bytes");
    for (unsigned k = report_planes(t); k-- > 0;) {
        used += snprintf(out + used, (size_t)(REPORT_PARTS_SIZE - used), " %.2f", each * (double)t->parts->planes[k]);
    }
    snprintf(out + used, (size_t)(REPORT_PARTS_SIZE - used), ", other %.2f",
             each * (double)(t->parts->tables + t->parts->frames));
}

/* The columns behind those that all tables have. */
static void add_more(table *rows, const extras *with, const s24_report_tensor *t, const char *why)
{
    char parts[REPORT_PARTS_SIZE];
    if (with->has[BITS]) {
        report_text_bits(parts, t);
        table_add(rows, parts);
    }
    if (with->has[PARTS]) {
        report_text_parts(parts, t);
        table_add(rows, parts);
    }
    if (with->has[WHY]) {
        table_add(rows, why);
    }
}

static void print_table(const report_writer *w, FILE *out, const s24_report *report,
                        const s24_report_tensor *const *tensors)
{
    const extras with = extras_of(w, report);
    table_column columns[MOST_COLUMNS];
    choose_columns(columns, &with);
    table rows = {.columns = columns};
    size_t left_out = 0;
    for (size_t i = 0; i < report->count; i++) {
        const s24_report_tensor *t = tensors[i];
        if (t->status == S24_TENSOR_DENSE && !w->full) {
            left_out++;
            continue;
        }
        table_add(&rows, t->name);
        add_kind(&rows, t);
        add_figures(&rows, t, report_measured(report, t), &with);
        add_more(&rows, &with, t, report_why(t));
    }
    s24_report_figures figures;
    const s24_report_tensor total = report_total(&figures, report, 1, &report->totals);
    table_add(&rows, total.name);
    for (int i = 0; i < 4; i++) {
        table_add(&rows, "");
    }
    add_figures(&rows, &total, report->has_metrics, &with);
    add_more(&rows, &with, &total, "");
    table_print(&rows, out);
    if (left_out) {
        fprintf(out, "%zu of %zu tensor%s %s; -v lists %s and says why\n", left_out, report->count, s24_plural(report->count),
                left_out == 1 ? "is carried as it is" : "are carried as they are", left_out == 1 ? "it" : "them");
    }
}

/* ---------------------------------------------------------------- one tensor */

static void line(FILE *out, const char *name, double x)
{
    char text[TEXT_SIZE];
    text_figure(text, x);
    fprintf(out, "  %-21s  %s\n", name, text);
}

static void line_counts(FILE *out, const char *name, uint64_t part, uint64_t whole)
{
    fprintf(out, "  %-21s  %" PRIu64 " of %" PRIu64, name, part, whole);
    if (whole) {
        fprintf(out, " (%.2f %%)", 100 * (double)part / (double)whole);
    }
    fputc('\n', out);
}

static void line_bytes(FILE *out, uint64_t dense, uint64_t stored)
{
    char from[TEXT_SIZE], to[TEXT_SIZE];
    text_bytes(from, dense);
    text_bytes(to, stored);
    fprintf(out, "  %-21s  %s -> %s", "bytes", from, to);
    if (dense) {
        fprintf(out, " (%.2f %%)", 100 * (double)stored / (double)dense);
    }
    fputc('\n', out);
}

static void print_metrics(FILE *out, const s24_prune_metrics *m)
{
    line_counts(out, "pruned_count", m->pruned_count, m->total_count);
    line(out, "approximation_error", m->approximation_error);
    line(out, "kept_magnitude_mean", m->kept_magnitude_mean);
    line(out, "pruned_magnitude_mean", m->pruned_magnitude_mean);
    line(out, "relative_error", m->relative_error);
    line(out, "max_abs_error", m->max_abs_error);
    line(out, "sparsity_percent", m->sparsity_percent);
    if (m->nonfinite_count) {
        fprintf(out, "  %-21s  %" PRIu64 "\n", "nonfinite_count", m->nonfinite_count);
    }
}

/* What became of the layer's output, and of how many samples that is known. */
static void print_calibration(FILE *out, const s24_report_figures *f)
{
    const s24_output_error *const e = f->output_error;
    if (!e || isnan(e->training)) {
        return;
    }
    line(out, "output_error", e->training);
    if (isnan(e->held_out)) {
        fprintf(out, "  %-21s  nothing was held out\n", "held_out_error");
        return;
    }
    line(out, "held_out_error", e->held_out);
    fprintf(out, "  %-21s  %" PRIu64 ", of which %" PRIu64 " were held out\n", "samples", e->samples, e->held_out_samples);
}

/* What a dense tensor is before anything is done to it. */
static void print_input(FILE *out, const s24_report_figures *f)
{
    if (f->input_read) {
        line_counts(out, "zeros already", f->input_zeros, f->metrics.total_count);
        line_counts(out, "groups 2:4 already", f->compliant_groups, f->groups);
    }
}

static void print_card(const report_writer *w, FILE *out, const s24_report *report, const s24_report_tensor *t)
{
    char dtype[TEXT_SIZE], shape[TEXT_SHAPE_SIZE];
    report_dtype(dtype, t);
    text_shape(shape, t->rank, t->shape, "x");
    fputs("  ", out);
    text_put(out, report_name(t));
    fprintf(out, "%s%s%s%s, %s", *report_name(t) ? ": " : "", dtype, *shape ? " " : "", shape,
            report_status_name(t->status));
    if (t->axis >= 0) {
        fprintf(out, " along axis %d%s", t->axis, t->permuted ? ", permuted," : "");
    }
    if (t->method) {
        fprintf(out, " by %s", t->method);
    }
    if (*report_why(t) && (w->full || t->status == S24_TENSOR_DENSE)) {
        fputs(": ", out);
        text_put(out, report_why(t));
    }
    fputc('\n', out);
    if (report_measured(report, t)) {
        print_input(out, t->figures);
        print_metrics(out, &t->figures->metrics);
        print_calibration(out, t->figures);
    }
    line_bytes(out, t->bytes_dense, t->bytes_stored);
    if (report->archive && !isnan(t->bits_per_element)) {
        char parts[REPORT_PARTS_SIZE];
        report_text_parts(parts, t);
        fprintf(out, "  %-21s  %.2f%s%s\n", "bits_per_element", t->bits_per_element, *parts ? ": " : "", parts);
    }
}

/* ---------------------------------------------------------------- files */

void report_text_file(const report_writer *w, FILE *out, const s24_report *report,
                      const s24_report_tensor *const *tensors, const char *output)
{
    fputs(color(out, COLOR_BOLD), out);
    text_put(out, report->path);
    if (output) {
        fputs(" -> ", out);
        text_put(out, output);
    }
    const bool forecast = w->forecast && report->has_metrics;
    fprintf(out, "%s%s\n", color(out, COLOR_OFF), forecast ? ": this is what 2:4 would make of it" : "");
    if (report->count == 1) {
        print_card(w, out, report, tensors[0]);
    } else {
        print_table(w, out, report, tensors);
    }
}

void report_text_totals(const report_writer *w, FILE *out, const s24_report_tensor *total)
{
    if (w->count > 1) {
        fprintf(out, "%s%zu files%s\n", color(out, COLOR_BOLD), w->count, color(out, COLOR_OFF));
        print_metrics(out, &total->figures->metrics);
        line_bytes(out, total->bytes_dense, total->bytes_stored);
    }
}
