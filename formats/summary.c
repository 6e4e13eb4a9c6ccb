#include "summary.h"

#include <math.h>
#include <string.h>

#include "archive.h"
#include "plain.h"

void s24_report_free(s24_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->tensors[i].name);
        free(report->tensors[i].shape);
        free(report->tensors[i].reason);
        free(report->tensors[i].method);
        free(report->tensors[i].file);
    }
    free(report->tensors);
    free(report->path);
    free(report->container);
    *report = (s24_report){0};
}

static bool copy_text(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return !from || *to;
}

/* Of a checkpoint, which of its files the tensor is in. */
static const char *file_name(const s24_entry *e)
{
    const char *slash = e->source->is_part ? strrchr(e->in->name, '/') : NULL;
    return slash ? slash + 1 : NULL;
}

static double bits_per_element(const s24_entry *e, uint64_t bytes)
{
    double elements = 1; /* all counts of a file are below 2^53 */
    for (int d = 0; d < e->rank; d++) {
        elements *= (double)e->shape[d];
    }
    return elements > 0 ? 8 * (double)bytes / elements : (double)NAN;
}

static s24_status fill_tensor(s24_report_tensor *t, const s24_entry *e, const char *method, s24_error *err)
{
    const bool packed = e->packed;
    const uint64_t values = packed ? e->pruned->geometry.values_bytes + (uint64_t)e->pruned->geometry.positions_bytes : 0;
    *t = (s24_report_tensor){.dtype = e->dtype, .stored = packed ? e->stored : e->dtype, .rank = e->rank,
                             .axis = packed ? e->axis : -1, .status = S24_TENSOR_DENSE, .bytes_dense = e->bytes};
    t->bytes_stored = e->coded ? e->coded : packed ? values : e->bytes;
    t->has_parts = e->parts != NULL;
    t->parts = e->parts ? *e->parts : (s24_stored_parts){0};
    t->bits_per_element = bits_per_element(e, t->bytes_stored);
    t->layout = e->layout ? e->layout->name : NULL;
    if (packed) {
        t->metrics = s24_metrics_from_sums(&e->pruned->sums);
        const bool measured = e->pruned->sums.total_count == e->pruned->geometry.num_elements;
        t->status = measured && e->pruned->sums.broken_groups == 0 ? S24_TENSOR_PACKED : S24_TENSOR_PRUNED;
        t->bytes_dense = (uint64_t)e->pruned->geometry.num_elements * s24_info(e->dtype)->bytes;
        t->input_read = e->pruned->counted;
        t->input_zeros = e->pruned->input_zeros;
        t->groups = (uint64_t)e->pruned->geometry.rows * e->pruned->geometry.groups;
        t->compliant_groups = t->groups - e->pruned->sums.broken_groups;
    }
    t->shape = s24_calloc((size_t)e->rank, sizeof *t->shape, err);
    if (!t->shape || !copy_text(&t->name, *e->name ? e->name : S24_NAMELESS) || !copy_text(&t->reason, e->reason) ||
        !copy_text(&t->method, packed ? e->method ? e->method : method : NULL) || !copy_text(&t->file, file_name(e))) {
        return s24_fail_memory(err, 0);
    }
    memcpy(t->shape, e->shape, (size_t)e->rank * sizeof *t->shape);
    return S24_OK;
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
        s24_sums_add(&report->totals, &sorted[i]->metrics.sums);
    }
    free(sorted);
    return S24_OK;
}

s24_status s24_report_fill(s24_report *report, const char *path, s24_source *source, const char *method,
                           s24_error *err)
{
    *report = (s24_report){.format = source->format->name, .has_metrics = true};
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
            status = fill_tensor(t, &source->contents.entries[i], method, err);
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
            t->bytes_stored = t->metrics.total_count * s24_info(t->stored)->bytes;
            t->bits_per_element = t->metrics.total_count ? s24_info(t->stored)->bits : (double)NAN;
            report->bytes_stored += t->bytes_stored;
        }
    }
}
