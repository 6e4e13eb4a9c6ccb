#include "summary.h"

#include <math.h>
#include <string.h>

#include "archive.h"
#include "plain.h"

static void free_tensor(s24_report_tensor *t)
{
    s24_shared_free(t->name);
    s24_shared_free(t->shape);
    s24_shared_free(t->reason);
    s24_shared_free(t->method);
    s24_shared_free(t->file);
    if (t->figures) {
        free(t->figures->output_error);
    }
    free(t->figures);
    free(t->parts);
}

void s24_report_free(s24_report *report)
{
    for (size_t i = 0; report->tensors && i < report->count; i++) {
        free_tensor(&report->tensors[i]);
    }
    free(report->tensors);
    free(report->path);
    free(report->container);
    *report = (s24_report){0};
}

/* Of a checkpoint, which of its files the tensor is in. */
static const char *file_name(const s24_entry *e)
{
    const char *slash = e->source->is_part ? strrchr(e->in->name, '/') : NULL;
    return slash ? slash + 1 : NULL;
}

/* What entries do not say themselves is mostly that of the tensor before; last: NULL for the first. */
static s24_status fill_texts(s24_report_tensor *t, const s24_report_tensor *last, const s24_entry *e, const char *method,
                             s24_error *err)
{
    const char *file = file_name(e);
    t->name = *e->name ? s24_shared_keep(e->name) : s24_shared_text(S24_NAMELESS, err);
    t->shape = s24_shared_keep(e->shape);
    t->reason = s24_shared_keep(e->reason);
    if (e->packed && (e->method || method)) {
        method = e->method ? e->method : method;
        t->method = e->method ? s24_shared_keep(e->method) : s24_shared_like(last ? last->method : NULL, method, err);
    }
    t->file = file ? s24_shared_like(last ? last->file : NULL, file, err) : NULL;
    const bool complete = t->name && (t->method || !e->packed || !method) && (t->file || !file);
    return complete ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status fill_figures(s24_report_tensor *t, const s24_pruned *pruned, s24_error *err)
{
    const s24_sums *sums = &pruned->sums;
    s24_report_figures *f = s24_calloc(1, sizeof *f, err);
    t->figures = f;
    if (!f) {
        return S24_ERR_SYSTEM;
    }
    f->metrics = s24_metrics_from_sums(sums);
    if (pruned->calibration) {
        f->output_error = s24_calloc(1, sizeof *f->output_error, err);
        if (!f->output_error) {
            return S24_ERR_SYSTEM;
        }
        *f->output_error = *pruned->calibration;
    }
    f->input_read = pruned->counted;
    f->input_zeros = pruned->input_zeros;
    f->groups = (uint64_t)pruned->geometry.rows * pruned->geometry.groups;
    f->compliant_groups = f->groups - sums->broken_groups;
    const bool all = sums->total_count == pruned->geometry.num_elements;
    t->status = all && sums->broken_groups == 0 ? S24_TENSOR_PACKED : S24_TENSOR_PRUNED;
    return S24_OK;
}

static s24_status fill_parts(s24_report_tensor *t, const s24_entry *e, s24_error *err)
{
    if (!e->parts) {
        return S24_OK;
    }
    t->parts = s24_calloc(1, sizeof *t->parts, err);
    if (t->parts) {
        *t->parts = *e->parts;
    }
    return t->parts ? S24_OK : S24_ERR_SYSTEM;
}

static double bits_per_element(const s24_entry *e, uint64_t bytes)
{
    double elements = 1; /* all counts of a file are below 2^53 */
    for (int d = 0; d < e->rank; d++) {
        elements *= (double)e->shape[d];
    }
    return elements > 0 ? 8 * (double)bytes / elements : (double)NAN;
}

static s24_status fill_tensor(s24_report_tensor *t, const s24_report_tensor *last, const s24_entry *e, const char *method,
                              bool measured, s24_error *err)
{
    const bool packed = e->packed;
    *t = (s24_report_tensor){.dtype = e->dtype, .stored = packed ? e->stored : e->dtype, .rank = e->rank,
                             .axis = packed ? e->axis : -1, .status = S24_TENSOR_DENSE,
                             .layout = e->layout ? e->layout->name : NULL, .bytes_dense = e->bytes,
                             .bytes_stored = e->coded ? e->coded : s24_plain_stored_bytes(e)};
    t->bits_per_element = bits_per_element(e, t->bytes_stored);
    if (packed) {
        t->status = S24_TENSOR_PRUNED;
        t->bytes_dense = (uint64_t)e->pruned->geometry.num_elements * s24_info(e->dtype)->bytes;
        t->scaled = e->scaled;
        t->scale_group = e->scaled ? e->scale_group : 0;
        t->permuted = e->permuted;
    }
    s24_status status = fill_texts(t, last, e, method, err);
    status = status == S24_OK ? fill_parts(t, e, err) : status;
    return status == S24_OK && packed && measured ? fill_figures(t, e->pruned, err) : status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const s24_report_tensor *const *)a)->name, (*(const s24_report_tensor *const *)b)->name);
}

/* f64 sums depend on their order: that of the names does not depend on how a model was split into files. */
static s24_status add_totals(s24_report *report, s24_error *err)
{
    const s24_report_tensor **sorted = s24_calloc(report->count, sizeof *sorted, err);
    if (!sorted) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < report->count; i++) {
        sorted[i] = &report->tensors[i];
        report->bytes_dense += report->tensors[i].bytes_dense;
        report->bytes_stored += report->tensors[i].bytes_stored;
    }
    qsort(sorted, report->count, sizeof *sorted, by_name);
    for (size_t i = 0; i < report->count; i++) {
        if (sorted[i]->figures) {
            s24_sums_add(&report->totals, &sorted[i]->figures->metrics.sums);
        }
    }
    free(sorted);
    return S24_OK;
}

s24_status s24_report_fill(s24_report *report, const char *path, s24_source *source, const char *method, bool measured,
                           s24_error *err)
{
    *report = (s24_report){.format = source->format->name, .has_metrics = measured};
    const bool packed = source->format == &s24_format_s24;
    for (size_t i = 0; packed && i < s24_source_files(source); i++) {
        report->archive = report->archive || s24_archive_is(s24_source_file(source, i));
    }
    report->path = strdup(path);
    report->container = strdup(packed ? s24_plain_of(s24_source_file(source, 0))->container : source->format->name);
    report->tensors = s24_calloc(source->contents.count, sizeof *report->tensors, err);
    s24_status status = report->path && report->container && report->tensors ? S24_OK : s24_fail_memory(err, 0);
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        if (!source->contents.entries[i].elsewhere) {
            s24_report_tensor *t = &report->tensors[report->count++]; /* what was begun is freed */
            status = fill_tensor(t, report->count > 1 ? t - 1 : NULL, &source->contents.entries[i], method, measured, err);
        }
    }
    status = status == S24_OK ? add_totals(report, err) : status;
    if (status != S24_OK) {
        s24_report_free(report);
    }
    return status;
}

void s24_report_as_dense(s24_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        s24_report_tensor *t = &report->tensors[i];
        if (t->status != S24_TENSOR_DENSE) {
            report->bytes_stored -= t->bytes_stored;
            t->bytes_stored = t->figures->metrics.total_count * s24_info(t->stored)->bytes;
            t->bits_per_element = t->figures->metrics.total_count ? s24_info(t->stored)->bits : (double)NAN;
            report->bytes_stored += t->bytes_stored;
        }
    }
}
