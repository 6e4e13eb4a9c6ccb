/* The dense sides of matmul-bench: a row a library in baselines.c. */
#ifndef S24_CLI_BASELINES_H
#define S24_CLI_BASELINES_H

#include "s24.h"

/* rows: for s24_bench_options, the one that comes first is what speed-ups are told against. */
typedef struct baselines {
    s24_bench_baseline rows[S24_BENCH_BASELINES];
    size_t adapters[S24_BENCH_BASELINES]; /* which row of the table each is of */
    size_t count;
} baselines;

/*
 * All that are installed and fit the products [m, k] times [k, n], n up to `most`. bf16: also those that round to it.
 * What is missing is told. Ended by baselines_close.
 */
void baselines_open(baselines *b, bool bf16, size_t m, size_t k, size_t most);
void baselines_close(baselines *b);

#endif
