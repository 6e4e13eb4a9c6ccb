/*
 * oneDNN, loaded when it is first needed: more dense sides of matmul-bench. By the C interface of its version 2; version
 * 3 has another one.
 */
#ifndef S24_CLI_DNNL_H
#define S24_CLI_DNNL_H

#include "s24.h"

/*
 * Rows of the benchmark's table: operands in f32, or both rounded to bf16 before. S24_ERR_SYSTEM, and what to install,
 * where there is no oneDNN; S24_ERR_DATA where there is one that does not serve. Ended by dnnl_close.
 */
s24_status dnnl_open_f32(s24_bench_baseline *row, s24_error *err);
s24_status dnnl_open_bf16(s24_bench_baseline *row, s24_error *err);
void dnnl_close(s24_bench_baseline *row);

#endif
