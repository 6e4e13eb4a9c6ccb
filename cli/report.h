/*
 * What a file holds and what pruning did to it, as text for people, as JSON (schema s24.stats/1) and as TSV. Files come
 * one by one and are printed as they come; totals over all of them follow.
 */
#ifndef S24_CLI_REPORT_H
#define S24_CLI_REPORT_H

#include <stdio.h>

#include "json.h"
#include "s24io.h"
#include "svg.h"
#include "text.h"

/* ---------------------------------------------------------------- figures */

/* A figure of a tensor, by its name in JSON, TSV and --fail-if. */
typedef struct report_metric {
    const char *name;
    bool count;      /* a uint64_t, otherwise a double */
    bool of_metrics; /* undefined for a tensor without metrics */
    bool of_output;  /* the layer's output: undefined where nothing is known of its inputs; not in totals */
    size_t offset;   /* in s24_report_figures, of what is not of_metrics in s24_report_tensor */
} report_metric;

const char *report_metric_name(size_t i);                  /* NULL: no more */
const report_metric *report_metric_find(const char *name); /* NULL: no such figure */

bool report_measured(const s24_report *report, const s24_report_tensor *t); /* whether it has metrics */
double report_value(const report_metric *metric, const s24_report_tensor *t, bool measured); /* NaN: undefined */

/* ---------------------------------------------------------------- the whole */

typedef enum report_form { REPORT_NONE, REPORT_TEXT, REPORT_TSV, REPORT_JSON, REPORT_FORMS } report_form;
typedef enum report_sort { REPORT_FILE_ORDER, REPORT_BY_ERROR, REPORT_BY_NAME, REPORT_BY_SIZE } report_sort;

typedef struct report_view {
    FILE *out;
    report_form form;
} report_view;

/* The same report in up to two forms. Set the first members; the rest zero. */
#define REPORT_VIEWS 2
typedef struct report_writer {
    report_view views[REPORT_VIEWS];
    report_sort sort;
    bool full;       /* text: also tensors that were carried as they are, and all reasons */
    bool forecast;   /* text: nothing was pruned, this is what would be */

    s24_report *files;
    size_t count, capacity;
} report_writer;

void report_begin(report_writer *w);
/* Takes over *report, leaves it zeroed. output: where it went, for text; NULL: nowhere. */
void report_file(report_writer *w, s24_report *report, const char *output);
void report_end(report_writer *w); /* totals; frees everything */

/* The tensors of all files that were measured, a bar a figure, in report_chart.c. Before the end; NULL: no memory. */
svg *report_draw(const report_writer *w);

/* ---------------------------------------------------------------- pieces */

/* The tensors of some files in the order wanted, `count` of them; NULL: no memory, which was told. The caller frees it. */
const s24_report_tensor **report_order(const s24_report *files, size_t file_count, report_sort sort, size_t *count);

const char *report_status_name(s24_tensor_status status);
void report_text_status(char out[TEXT_SIZE], const char *status, const s24_report_tensor *t); /* "pruned, permuted" */
void report_stored(char out[TEXT_SIZE], const s24_report_tensor *t); /* "i8"; with scales of 128 columns "i8/128" */
void report_dtype(char out[TEXT_SIZE], const s24_report_tensor *t); /* "f32", "f32->f16" */
const char *report_name(const s24_report_tensor *t); /* for people: "" for the array that has none */
const char *report_why(const s24_report_tensor *t); /* it is dense, or how its axis was found; "": nothing to tell */
void report_json_head(json_object *j, const s24_report_tensor *t, const char *status); /* members name to reason */
void report_json_storage(json_object *j, const s24_report_tensor *t); /* "scales": "row", 128 or null; "permuted" */

unsigned report_planes(const s24_report_tensor *t); /* value planes that it has in an archive */
void report_json_parts(json_object *j, const s24_report_tensor *t); /* bytes_by_part, where they are known */

/* Sums as a tensor with the bytes of all files, so that totals are printed by the same code; its figures are `figures`. */
s24_report_tensor report_total(s24_report_figures *figures, const s24_report *files, size_t count, const s24_sums *sums);

/* "6.53": stored bits per element. "-": there are none. */
void report_text_bits(char out[TEXT_SIZE], const s24_report_tensor *t);

/* "positions 0.65, bytes 2.61 3.99, other 0.01", the highest byte first: the same, of an archive by parts. "": not known. */
#define REPORT_PARTS_SIZE 160
void report_text_parts(char out[REPORT_PARTS_SIZE], const s24_report_tensor *t);

/* The text form, in report_text.c. `tensors`: of the report, in the order wanted. */
void report_text_file(const report_writer *w, FILE *out, const s24_report *report,
                      const s24_report_tensor *const *tensors, const char *output);
void report_text_totals(const report_writer *w, FILE *out, const s24_report_tensor *total);

#endif
