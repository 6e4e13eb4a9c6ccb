/* Reports as a drawing: of each tensor that was measured a bar for each of its errors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bars.h"
#include "report.h"

#define SERIES 3
static const struct {
    const char *metric, *title;
} series[SERIES] = {
    {"relative_error", "relative error of the weights"},
    {"output_error", "error of the layer's output"},
    {"held_out_error", "the same on samples held out"},
};

/* The rows as they are collected. A figure that no tensor has gets no bars. */
typedef struct drawing {
    bars_row *rows;
    double (*values)[SERIES];
    char **names;          /* of several files: with the path */
    size_t count, tensors; /* measured; all */
    const char *titles[SERIES];
    size_t metrics[SERIES], used;
} drawing;

static void choose_series(drawing *d, const report_writer *w)
{
    for (size_t k = 0; k < SERIES; k++) {
        bool any = k == 0;
        const report_metric *const metric = report_metric_find(series[k].metric);
        for (size_t f = 0; f < w->count; f++) {
            for (size_t i = 0; i < w->files[f].count; i++) {
                const s24_report_tensor *const t = &w->files[f].tensors[i];
                any = any || !isnan(report_value(metric, t, report_measured(&w->files[f], t)));
            }
        }
        if (any) {
            d->titles[d->used] = series[k].title;
            d->metrics[d->used++] = k;
        }
    }
}

static char *name_of(const report_writer *w, const s24_report *report, const s24_report_tensor *t)
{
    const char *const name = report_name(t), *const path = w->count > 1 || !*name ? report->path : "";
    const size_t room = strlen(path) + strlen(name) + 3;
    char *const text = malloc(room);
    if (text) {
        snprintf(text, room, "%s%s%s", path, *path && *name ? ": " : "", name);
    }
    return text;
}

static bool add_file(drawing *d, const report_writer *w, const s24_report *report)
{
    size_t count;
    const s24_report_tensor **const tensors = report_order(report, 1, w->sort, &count);
    bool ok = tensors != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        const s24_report_tensor *const t = tensors[i];
        d->tensors++;
        if (report_measured(report, t)) {
            const size_t n = d->count++;
            d->names[n] = name_of(w, report, t);
            ok = d->names[n] != NULL;
            d->rows[n] = (bars_row){.name = d->names[n], .note = t->status == S24_TENSOR_PACKED ? "packed" : "",
                                    .values = d->values[n]};
            for (size_t k = 0; k < d->used; k++) {
                d->values[n][k] = report_value(report_metric_find(series[d->metrics[k]].metric), t, true);
            }
        }
    }
    free(tensors);
    return ok;
}

static svg *draw(const drawing *d, const report_writer *w)
{
    char subtitle[256], path[160], left[88] = "";
    text_escape(path, sizeof path, w->files[0].path, false);
    if (w->count > 1) {
        snprintf(path, sizeof path, "%zu files", w->count);
    }
    if (d->count < d->tensors) {
        snprintf(left, sizeof left, "; %zu of %zu tensors are dense, and not drawn", d->tensors - d->count, d->tensors);
    }
    snprintf(subtitle, sizeof subtitle, "%s%s", path, left);
    return bars_draw(&(bars){
        .title = w->forecast ? "What 2:4 by magnitude would do to each tensor" : "What 2:4 did to each tensor",
        .subtitle = subtitle, .x_title = "error, relative to what was there", .series = d->titles, .series_count = d->used,
        .rows = d->rows, .count = d->count,
    });
}

svg *report_draw(const report_writer *w)
{
    drawing d = {0};
    size_t most = 0;
    bool ok = true;
    for (size_t f = 0; f < w->count; f++) {
        most += w->files[f].count;
    }
    d.rows = calloc(most + 1, sizeof *d.rows);
    d.values = calloc(most + 1, sizeof *d.values);
    d.names = calloc(most + 1, sizeof *d.names);
    ok = d.rows && d.values && d.names;
    choose_series(&d, w);
    for (size_t f = 0; ok && f < w->count; f++) {
        ok = add_file(&d, w, &w->files[f]);
    }
    svg *const s = ok ? draw(&d, w) : NULL;
    for (size_t i = 0; d.names && i < d.count; i++) {
        free(d.names[i]);
    }
    free(d.names);
    free(d.values);
    free(d.rows);
    return s;
}
