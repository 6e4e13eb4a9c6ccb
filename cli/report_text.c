/* Reports for people: of one tensor a figure a line, of several a tensor a line. */
#include <inttypes.h>
#include <math.h>

#include "color.h"
#include "error.h"
#include "report.h"
#include "table.h"

/* ---------------------------------------------------------------- several tensors */

static void add_figure(table *t, double x)
{
    char text[TEXT_SIZE];
    text_figure(text, x);
    table_add(t, text);
}

static void add_bytes(table *t, uint64_t bytes)
{
    char text[TEXT_SIZE];
    text_bytes(text, bytes);
    table_add(t, text);
}

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
    table_add(rows, report_status_name(t->status));
}

/* What a table of tensors has besides what all have. */
typedef struct extras {
    bool output_error, why;
} extras;

static void add_figures(table *rows, const s24_report_tensor *t, bool measured, extras with)
{
    static const s24_prune_metrics none;
    const s24_prune_metrics *m = t->figures ? &t->figures->metrics : &none;
    if (with.output_error) {
        add_figure(rows, t->figures && t->figures->calibrated ? t->figures->output_error.training : NAN);
    }
    add_figure(rows, measured ? m->relative_error : NAN);
    add_figure(rows, measured ? m->approximation_error : NAN);
    add_figure(rows, measured ? m->kept_magnitude_mean : NAN);
    add_figure(rows, measured ? m->pruned_magnitude_mean : NAN);
    add_share(rows, measured, m->pruned_count, m->total_count);
    add_bytes(rows, t->bytes_dense);
    add_bytes(rows, t->bytes_stored);
}

#define MOST_COLUMNS 16

/* The columns of such a table, in `columns`, which an unnamed one ends. */
static void choose_columns(table_column columns[MOST_COLUMNS], extras with)
{
    static const struct {
        table_column column;
        bool output_error, why; /* only in a table with that */
    } all[] = {
        {{"tensor", false}, false, false}, {{"shape", false}, false, false}, {{"dtype", false}, false, false},
        {{"axis", true}, false, false}, {{"status", false}, false, false}, {{"output error", true}, true, false},
        {{"relative error", true}, false, false}, {{"mean error", true}, false, false}, {{"kept mean", true}, false, false},
        {{"pruned mean", true}, false, false}, {{"pruned", true}, false, false}, {{"dense", true}, false, false},
        {{"stored", true}, false, false}, {{"why", false}, false, true},
    };
    _Static_assert(sizeof all / sizeof *all < MOST_COLUMNS, "and the end");
    size_t n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if ((!all[i].output_error || with.output_error) && (!all[i].why || with.why)) {
            columns[n++] = all[i].column;
        }
    }
    columns[n] = (table_column){NULL, false};
}

static bool any_calibrated(const s24_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        if (report->has_metrics && report->tensors[i].figures && report->tensors[i].figures->calibrated) {
            return true;
        }
    }
    return false;
}

static void print_table(const report_writer *w, FILE *out, const s24_report *report,
                        const s24_report_tensor *const *tensors)
{
    const extras with = {.output_error = any_calibrated(report), .why = w->full};
    table_column columns[MOST_COLUMNS];
    choose_columns(columns, with);
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
        add_figures(&rows, t, report_measured(report, t), with);
        if (w->full) {
            table_add(&rows, report_why(t));
        }
    }
    s24_report_figures figures;
    const s24_report_tensor total = report_total(&figures, &report->totals, report->bytes_dense, report->bytes_stored);
    table_add(&rows, total.name);
    for (int i = 0; i < 4; i++) {
        table_add(&rows, "");
    }
    add_figures(&rows, &total, report->has_metrics, with);
    if (w->full) {
        table_add(&rows, "");
    }
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
    const s24_output_error *const e = &f->output_error;
    if (!f->calibrated || isnan(e->training)) {
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
        fprintf(out, " along axis %d", t->axis);
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
