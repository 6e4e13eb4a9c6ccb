/* What matmul-bench measured, as JSON, as text and as a drawing. */
#ifndef S24_CLI_BENCH_REPORT_H
#define S24_CLI_BENCH_REPORT_H

#include "s24io.h"
#include "svg.h"

typedef struct bench_report {
    const char *name;              /* of the tensor, which is of a file; NULL: random weights */
    const s24_tensor *tensor;
    const s24_bench_options *run;
    const s24_bench_result *results;
    s24_bench_repack repack;
    const s24_ceilings *ceilings;  /* NULL: not asked for */
} bench_report;

extern const char *const bench_computes[]; /* names, by s24_compute; ends with NULL */

void bench_report_json(const bench_report *b);
void bench_report_text(const bench_report *b);

/* The speed-up over n; at least one baseline. NULL: no memory. Ended by svg_write or svg_free. */
svg *bench_report_draw(const bench_report *b);

#endif
