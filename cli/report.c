#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"

/* ---------------------------------------------------------------- figures */

/* In the order of the JSON. */
#define FIGURE(name, count) {#name, count, true, false, offsetof(s24_report_figures, metrics.name)}
static const report_metric metrics[] = {
    FIGURE(pruned_count, true),
    FIGURE(total_count, true),
    FIGURE(approximation_error, false),
    FIGURE(kept_magnitude_mean, false),
    FIGURE(pruned_magnitude_mean, false),
    FIGURE(relative_error, false),
    FIGURE(max_abs_error, false),
    FIGURE(sparsity_percent, false),
    FIGURE(nonfinite_count, true),
    {"bytes_dense", true, false, false, offsetof(s24_report_tensor, bytes_dense)},
    {"bytes_stored", true, false, false, offsetof(s24_report_tensor, bytes_stored)},
    {"bits_per_element", false, false, false, offsetof(s24_report_tensor, bits_per_element)},
    {"output_error", false, true, true, offsetof(s24_output_error, training)},
    {"held_out_error", false, true, true, offsetof(s24_output_error, held_out)},
};
#define METRICS (sizeof metrics / sizeof *metrics)

const char *report_metric_name(size_t i)
{
    return i < METRICS ? metrics[i].name : NULL;
}

const report_metric *report_metric_find(const char *name)
{
    for (size_t i = 0; i < METRICS; i++) {
        if (strcmp(metrics[i].name, name) == 0) {
            return &metrics[i];
        }
    }
    return NULL;
}

bool report_measured(const s24_report *report, const s24_report_tensor *t)
{
    return report->has_metrics && t->status != S24_TENSOR_DENSE;
}

static const unsigned char *place_of(const report_metric *metric, const s24_report_tensor *t)
{
    const void *const of = metric->of_output ? (const void *)t->figures->output_error
        : metric->of_metrics ? (const void *)t->figures : t;
    return (const unsigned char *)of + metric->offset;
}

static uint64_t count_of(const report_metric *metric, const s24_report_tensor *t)
{
    uint64_t x;
    memcpy(&x, place_of(metric, t), sizeof x);
    return x;
}

double report_value(const report_metric *metric, const s24_report_tensor *t, bool measured)
{
    double x;
    if ((metric->of_metrics && !measured) || (metric->of_output && !t->figures->output_error)) {
        return NAN;
    }
    if (metric->count) {
        return (double)count_of(metric, t);
    }
    memcpy(&x, place_of(metric, t), sizeof x);
    return x;
}

/* As JSON and TSV have it: counts whole, the rest with 17 digits; "": undefined. */
static void exact_value(char out[TEXT_SIZE], const report_metric *metric, const s24_report_tensor *t, bool measured)
{
    if (metric->count && (measured || !metric->of_metrics)) {
        snprintf(out, TEXT_SIZE, "%" PRIu64, count_of(metric, t));
    } else {
        text_exact(out, report_value(metric, t, measured));
    }
}

/* Of all tensors, pruned or not, counted in bits of what they are dense. */
static double elements_of(const s24_report_tensor *t)
{
    return 8 * (double)t->bytes_dense / s24_dtype_bits(t->dtype);
}

s24_report_tensor report_total(s24_report_figures *figures, const s24_report *files, size_t count, const s24_sums *sums)
{
    static char name[] = "total";
    *figures = (s24_report_figures){.metrics = s24_metrics_from_sums(sums)};
    s24_report_tensor total = {.name = name, .axis = -1, .figures = figures};
    double elements = 0;
    for (size_t f = 0; f < count; f++) {
        total.bytes_dense += files[f].bytes_dense;
        total.bytes_stored += files[f].bytes_stored;
        for (size_t i = 0; i < files[f].count; i++) {
            elements += elements_of(&files[f].tensors[i]);
        }
    }
    total.bits_per_element = elements > 0 ? 8 * (double)total.bytes_stored / elements : (double)NAN;
    return total;
}

const char *report_status_name(s24_tensor_status status)
{
    static const char *const names[] = {
        [S24_TENSOR_PRUNED] = "pruned", [S24_TENSOR_PACKED] = "packed", [S24_TENSOR_DENSE] = "dense",
    };
    return names[status];
}

void report_text_status(char out[TEXT_SIZE], const char *status, const s24_report_tensor *t)
{
    snprintf(out, TEXT_SIZE, "%s%s", status, t->permuted ? ", permuted" : "");
}

void report_stored(char out[TEXT_SIZE], const s24_report_tensor *t)
{
    snprintf(out, TEXT_SIZE, t->scale_group ? "%s/%u" : "%s", s24_dtype_name(t->stored), t->scale_group);
}

void report_dtype(char out[TEXT_SIZE], const s24_report_tensor *t)
{
    char stored[TEXT_SIZE];
    const bool same = t->stored == t->dtype || t->status == S24_TENSOR_DENSE;
    report_stored(stored, t);
    snprintf(out, TEXT_SIZE, same ? "%s" : "%s->%s", s24_dtype_name(t->dtype), stored);
}

const char *report_name(const s24_report_tensor *t)
{
    return strcmp(t->name, S24_NAMELESS) == 0 ? "" : t->name;
}

const char *report_why(const s24_report_tensor *t)
{
    /* The rule of every matrix goes without saying in files, but not to somebody who asks. */
    return t->reason ? t->reason : t->axis >= 0 && t->axis == t->rank - 1 ? "the last axis" : "";
}

/* ---------------------------------------------------------------- order */

typedef struct ranked {
    const s24_report_tensor *tensor;
    const char *name, *path; /* name NULL: by figure */
    double figure;           /* greatest first; NaN last */
    size_t index;            /* what ties keep */
} ranked;

static int compare(const void *x, const void *y)
{
    const ranked *a = x, *b = y;
    int order = 0;
    if (a->name) {
        order = strcmp(a->name, b->name);
        order = order ? order : strcmp(a->path, b->path);
    } else if (isnan(a->figure) || isnan(b->figure)) {
        order = isnan(a->figure) - isnan(b->figure);
    } else {
        order = (a->figure < b->figure) - (a->figure > b->figure);
    }
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static ranked rank_of(const s24_report *report, size_t i, report_sort sort)
{
    const s24_report_tensor *t = &report->tensors[i];
    ranked r = {.tensor = t, .index = i, .name = sort == REPORT_BY_NAME ? t->name : NULL, .path = report->path};
    if (sort == REPORT_BY_ERROR) {
        r.figure = report_measured(report, t) ? t->figures->metrics.relative_error : NAN;
    } else if (sort == REPORT_BY_SIZE) {
        r.figure = (double)t->bytes_dense;
    }
    return r; /* in the file's order all figures are 0 */
}

const s24_report_tensor **report_order(const s24_report *files, size_t file_count, report_sort sort, size_t *count)
{
    size_t most = 0, n = 0;
    for (size_t f = 0; f < file_count; f++) {
        most += files[f].count;
    }
    ranked *order = calloc(most + 1, sizeof *order);
    const s24_report_tensor **tensors = calloc(most + 1, sizeof *tensors);
    for (size_t f = 0; order && f < file_count; f++) {
        for (size_t i = 0; i < files[f].count; i++) {
            order[n] = rank_of(&files[f], i, sort);
            order[n].index = n;
            n++;
        }
    }
    if (order && tensors) {
        qsort(order, n, sizeof *order, compare);
        for (size_t i = 0; i < n; i++) {
            tensors[i] = order[i].tensor;
        }
    } else {
        free(tensors);
        tensors = NULL;
        msg_error(S24_ERR_SYSTEM, "no memory for the report");
    }
    free(order);
    *count = n;
    return tensors;
}

/* ---------------------------------------------------------------- JSON */

void report_json_head(json_object *j, const s24_report_tensor *t, const char *status)
{
    json_text(j, "name", t->name);
    json_text(j, "dtype", s24_dtype_name(t->dtype));
    json_text(j, "stored_dtype", s24_dtype_name(t->status == S24_TENSOR_DENSE ? t->dtype : t->stored));
    json_shape(j, "shape", t->rank, t->shape);
    if (t->axis < 0) {
        json_text(j, "axis", NULL);
    } else {
        json_raw(j, "axis", "%d", t->axis);
    }
    json_text(j, "status", status);
    json_text(j, "reason", t->reason);
}

void report_json_storage(json_object *j, const s24_report_tensor *t)
{
    if (t->scale_group) {
        json_raw(j, "scales", "%u", t->scale_group);
    } else {
        json_text(j, "scales", t->scaled ? "row" : NULL);
    }
    json_raw(j, "permuted", t->permuted ? "true" : "false");
}

static void json_figures(json_object *j, const s24_report_tensor *t, bool measured, bool of_output)
{
    for (size_t i = 0; i < METRICS; i++) {
        if (metrics[i].of_output == of_output) {
            char text[TEXT_SIZE];
            exact_value(text, &metrics[i], t, measured);
            json_raw(j, metrics[i].name, "%s", text);
        }
    }
}

/* What became of the layer's output. */
static void json_calibration(json_object *j, const s24_report_tensor *t, bool measured)
{
    const s24_report_figures *const f = t->figures;
    if (f && f->output_error) {
        json_figures(j, t, measured, true);
        json_raw(j, "calibration_samples", "%" PRIu64, f->output_error->samples);
        json_raw(j, "held_out_samples", "%" PRIu64, f->output_error->held_out_samples);
    }
}

/* Only where it was asked for. */
void report_json_parts(json_object *j, const s24_report_tensor *t)
{
    cJSON *planes = t->parts ? cJSON_CreateArray() : NULL;
    if (!t->parts) {
        return;
    }
    json_object parts = json_new();
    json_raw(&parts, "positions", "%" PRIu64, t->parts->positions);
    for (unsigned k = 0; planes && k < report_planes(t); k++) {
        char text[TEXT_SIZE];
        snprintf(text, sizeof text, "%" PRIu64, t->parts->planes[k]);
        cJSON *number = cJSON_CreateRaw(text);
        if (!cJSON_AddItemToArray(planes, number)) {
            cJSON_Delete(number);
            j->failed = true;
        }
    }
    json_item(&parts, "planes", planes);
    json_raw(&parts, "tables", "%" PRIu64, t->parts->tables);
    json_raw(&parts, "frames", "%" PRIu64, t->parts->frames);
    j->failed = j->failed || parts.failed;
    json_item(j, "bytes_by_part", parts.object);
}

unsigned report_planes(const s24_report_tensor *t)
{
    const unsigned bits = s24_dtype_bits(t->status == S24_TENSOR_DENSE ? t->dtype : t->stored);
    return bits % 8 ? 1 : bits / 8;
}

/* What a dense tensor was before anything was done to it. */
static void json_input(json_object *j, const s24_report_tensor *t)
{
    const s24_report_figures *f = t->figures;
    if (f && f->input_read) {
        json_raw(j, "input_zeros", "%" PRIu64, f->input_zeros);
        json_raw(j, "groups", "%" PRIu64, f->groups);
        json_raw(j, "compliant_groups", "%" PRIu64, f->compliant_groups);
    }
}

static void json_totals(FILE *out, const s24_report_tensor *total, bool measured)
{
    json_object j = json_new();
    json_figures(&j, total, measured, false);
    fputs("\"totals\": ", out);
    json_print(&j, out);
}

static void json_begin(FILE *out)
{
    fprintf(out, "{\"schema\": \"s24.stats/1\", \"version\": \"%s\", \"files\": [", s24_version());
}

static void json_file(const report_writer *w, FILE *out, const s24_report *report,
                      const s24_report_tensor *const *tensors, const char *output)
{
    s24_report_figures figures;
    const s24_report_tensor total = report_total(&figures, report, 1, &report->totals);
    (void)output;
    fprintf(out, "%s\n {\"path\": ", w->count > 1 ? "," : "");
    json_print_string(report->path, out);
    fprintf(out, ", \"format\": \"%s\", \"archive\": %s, \"tensors\": [", report->format, report->archive ? "true" : "false");
    for (size_t i = 0; i < report->count; i++) {
        json_object j = json_new();
        report_json_head(&j, tensors[i], report_status_name(tensors[i]->status));
        json_text(&j, "method", tensors[i]->method);
        json_figures(&j, tensors[i], report_measured(report, tensors[i]), false);
        report_json_storage(&j, tensors[i]);
        json_calibration(&j, tensors[i], report_measured(report, tensors[i]));
        json_input(&j, tensors[i]);
        report_json_parts(&j, tensors[i]);
        fputs(i ? ",\n  " : "\n  ", out);
        json_print(&j, out);
    }
    fputs("],\n  ", out);
    json_totals(out, &total, report->has_metrics);
    fputc('}', out);
}

static void json_end(const report_writer *w, FILE *out, const s24_report_tensor *total)
{
    (void)w;
    fputs("],\n ", out);
    json_totals(out, total, true);
    fputs("}\n", out);
}

/* ---------------------------------------------------------------- TSV */

static const char *const tsv_figures[] = {
    "relative_error", "approximation_error", "kept_magnitude_mean", "pruned_magnitude_mean", "pruned_count",
    "total_count", "bytes_dense", "bytes_stored", "output_error", "held_out_error",
};
#define TSV_FIGURES (sizeof tsv_figures / sizeof *tsv_figures)

static void tsv_begin(FILE *out)
{
    fputs("path\tname\tdtype\tshape\tstatus", out);
    for (size_t i = 0; i < TSV_FIGURES; i++) {
        fprintf(out, "\t%s", tsv_figures[i]);
    }
    fputc('\n', out);
}

/* Tabs and line breaks in a name as \t and \n, so that a line is a tensor. */
static void tsv_text(FILE *out, const char *s)
{
    char *safe = text_escaped(s, true);
    if (!safe) {
        msg_error(S24_ERR_SYSTEM, "no memory for the report");
        return;
    }
    fprintf(out, "%s\t", safe);
    free(safe);
}

static void tsv_file(const report_writer *w, FILE *out, const s24_report *report,
                     const s24_report_tensor *const *tensors, const char *output)
{
    (void)w, (void)output;
    for (size_t i = 0; i < report->count; i++) {
        const s24_report_tensor *t = tensors[i];
        char shape[TEXT_SHAPE_SIZE];
        tsv_text(out, report->path);
        tsv_text(out, t->name);
        text_shape(shape, t->rank, t->shape, ",");
        fprintf(out, "%s\t%s\t%s", s24_dtype_name(t->dtype), shape, report_status_name(t->status));
        for (size_t k = 0; k < TSV_FIGURES; k++) {
            char text[TEXT_SIZE];
            exact_value(text, report_metric_find(tsv_figures[k]), t, report_measured(report, t));
            fprintf(out, "\t%s", text);
        }
        fputc('\n', out);
    }
}

/* ---------------------------------------------------------------- the whole */

/* What a form prints before, for and after the files. */
static const struct {
    void (*begin)(FILE *out);
    void (*file)(const report_writer *w, FILE *out, const s24_report *report, const s24_report_tensor *const *tensors,
                 const char *output);
    void (*end)(const report_writer *w, FILE *out, const s24_report_tensor *total);
} forms[REPORT_FORMS] = {
    [REPORT_TEXT] = {NULL, report_text_file, report_text_totals},
    [REPORT_TSV] = {tsv_begin, tsv_file, NULL},
    [REPORT_JSON] = {json_begin, json_file, json_end},
};

void report_begin(report_writer *w)
{
    for (int v = 0; v < REPORT_VIEWS; v++) {
        if (forms[w->views[v].form].begin) {
            forms[w->views[v].form].begin(w->views[v].out);
        }
    }
}

/* Reports are kept, because the totals are sums in the order of all tensors' names. NULL: no memory. */
static const s24_report *keep(report_writer *w, s24_report *report)
{
    if (w->count == w->capacity) {
        const size_t capacity = w->capacity ? 2 * w->capacity : 8;
        s24_report *files = realloc(w->files, capacity * sizeof *files);
        if (!files) {
            msg_error(S24_ERR_SYSTEM, "no memory for the report");
            return NULL;
        }
        w->files = files;
        w->capacity = capacity;
    }
    w->files[w->count] = *report;
    *report = (s24_report){0};
    return &w->files[w->count++];
}

void report_file(report_writer *w, s24_report *report, const char *output)
{
    size_t count;
    const s24_report *kept = keep(w, report);
    const s24_report_tensor **tensors = kept ? report_order(kept, 1, w->sort, &count) : NULL;
    for (int v = 0; tensors && v < REPORT_VIEWS; v++) {
        if (forms[w->views[v].form].file) {
            forms[w->views[v].form].file(w, w->views[v].out, kept, tensors, output);
        }
    }
    free(tensors);
    s24_report_free(report);
}

/* By name, then by path: a model gives the same figures however it is split into files, and in whatever order. */
static s24_report_tensor add_all(const report_writer *w, s24_report_figures *figures)
{
    s24_sums sums = {0};
    size_t count;
    const s24_report_tensor **tensors = report_order(w->files, w->count, REPORT_BY_NAME, &count);
    for (size_t i = 0; tensors && i < count; i++) {
        if (tensors[i]->figures) {
            s24_sums_add(&sums, &tensors[i]->figures->metrics.sums);
        }
    }
    free(tensors);
    return report_total(figures, w->files, w->count, &sums);
}

void report_end(report_writer *w)
{
    s24_report_figures figures;
    const s24_report_tensor total = add_all(w, &figures);
    for (int v = 0; v < REPORT_VIEWS; v++) {
        if (forms[w->views[v].form].end) {
            forms[w->views[v].form].end(w, w->views[v].out, &total);
        }
    }
    for (size_t f = 0; f < w->count; f++) {
        s24_report_free(&w->files[f]);
    }
    free(w->files);
    w->files = NULL;
    w->count = w->capacity = 0;
}
