/*
 * What 2:4 buys on this machine: the sparse product against dense ones, of the same weights. The dense side comes as a
 * table from the caller, so that the library needs no BLAS.
 *
 * Rules of measuring. All sides alternate, call by call, and the median of each is reported: drift of the machine meets
 * them alike. Before every timed call S24_BENCH_SWEEP bytes of other memory are read, so that weights come from memory
 * as they do in a model that exceeds the caches (of up to that size); it also wakes the processor after a pause. A call
 * includes all it does, the starting of threads, too.
 */
#ifndef S24_LIB_BENCH_H
#define S24_LIB_BENCH_H

#include "s24.h"

#define S24_BENCH_SWEEP (64u << 20)
#define S24_BENCH_BASELINES 4

/* C[m, n] = A[m, k] B[k, n], f32, row-major with row strides, with `threads` threads. */
typedef void s24_sgemm(void *ctx, unsigned threads, size_t m, size_t n, size_t k, const float *a, size_t lda,
                       const float *b, size_t ldb, float *c, size_t ldc);

typedef struct s24_bench_baseline {
    const char *name;      /* "OpenBLAS 0.3.21" */
    s24_sgemm *sgemm;
    void *ctx;
    double settle_seconds; /* how long its worker threads spin after a call; waited for when threads > 1 */
} s24_bench_baseline;

typedef struct s24_bench_options {
    const size_t *n;       /* [count], each at least 1 */
    size_t count;
    unsigned reps, warmup; /* timed calls of each side (at least 1), and calls before them */
    uint64_t seed;         /* of B */
    unsigned threads;      /* of every side; 0: every CPU this process may use */
    s24_isa isa;           /* cap, for the sparse side */
    const s24_bench_baseline *baselines;
    size_t baseline_count; /* at most S24_BENCH_BASELINES */
} s24_bench_options;

#define S24_BENCH_OPTIONS_INIT {NULL, 0, 9, 1, 1, 0, S24_ISA_BEST, NULL, 0}

typedef struct s24_bench_figures {
    double seconds;     /* median of one call */
    double gflops;      /* dense-equivalent: 2 m n k / seconds / 1e9, for the sparse side too */
    double weight_gbps; /* bytes of the weights as this side reads them (compressed, or dense f32) / seconds / 1e9 */
    double max_error;   /* max |c - reference| / max |reference| over a sample of entries; see s24_bench_run */
    double speedup;     /* seconds of this side over those of the sparse one: 1 for the sparse side itself */
} s24_bench_figures;

typedef struct s24_bench_result {
    size_t n;
    s24_bench_figures sparse;
    s24_bench_figures dense[S24_BENCH_BASELINES];
} s24_bench_result;

/*
 * Weights to measure with: N(0, 1) by s24_bench_normal(seed), pruned by magnitude, [m, k] of dtype; i8 and the 8-bit
 * floats as round(32 x) in -127..127, and as the nearest value of x. *tensor is the caller's to free.
 */
s24_status s24_bench_weights(size_t m, size_t k, s24_dtype dtype, uint64_t seed, unsigned threads, s24_isa isa,
                             s24_tensor **tensor, s24_error *err);

/*
 * n normal deviates: SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2714064.2660195) from `seed`, two outputs u, v
 * a pair of deviates sqrt(-2 ln u) (cos, sin)(2 pi v) (Box and Muller 1958), u in (0, 1], v in [0, 1), 53 bits each.
 */
void s24_bench_normal(uint64_t seed, float *x, size_t n);

/*
 * Measures tensor [m, k] times B [k, n], B of s24_bench_normal(seed), for every n of the options, into results[count].
 * The dense sides multiply the decompressed weights, in f32. The reference is computed in f64 for up to 64 rows by 64
 * columns, evenly spread, so that its time is bounded. Errors as s24_sparse_matmul, and S24_ERR_SYSTEM without memory.
 */
s24_status s24_bench_run(const s24_tensor *tensor, const s24_bench_options *options, s24_bench_result *results,
                         s24_error *err);

#endif
