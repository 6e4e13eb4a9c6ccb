/*
 * permute [ROWS COLS MOVES] - what s24_permute_search gains, and in what time: a line for each matrix and number of moves.
 *
 * Efficacy is the share of what groups lose against the best half of each row that the order found gives back. `steep`:
 * normal deviates in columns whose scales are e^x, x normal, too, as where norms of inputs weigh.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "s24.h"

typedef struct row {
    size_t rows, cols;
    bool steep;
    uint64_t moves[4]; /* 0: the default */
} row;

static const row rows[] = {
    {128, 64, false, {1000000, 10000000, 0, 0}},
    {128, 64, true, {1000000, 10000000, 0, 0}},
    {512, 512, false, {10000000, 100000000, 0, 0}},
    {512, 512, true, {10000000, 100000000, 0, 0}},
    {4096, 4096, false, {10000000, 0, 0, 0}},
    {4096, 4096, true, {10000000, 0, 0, 0}},
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p) {
        perror("permute");
        exit(1);
    }
    return p;
}

static void measure(const row *r, const float *w, uint64_t moves, int32_t *order)
{
    s24_permute_options o = S24_PERMUTE_OPTIONS_INIT;
    s24_permute_figures f;
    s24_error err;
    o.moves = moves;
    const double from = now();
    if (s24_permute_search(w, r->cols, r->rows, r->cols, &o, order, &f, &err) != S24_OK) {
        fprintf(stderr, "permute: %s\n", err.message);
        exit(1);
    }
    char count[24] = "default";
    if (moves) {
        snprintf(count, sizeof count, "%llu", (unsigned long long)moves);
    }
    printf("%5zu x %-5zu %-6s %10s %9.2f %9.4f %9.4f %9.2f\n", r->rows, r->cols, r->steep ? "steep" : "flat", count,
           now() - from, f.kept_before / f.total, f.kept_after / f.total, 100 * f.efficacy);
    fflush(stdout);
}

static void measure_row(const row *r)
{
    float *w = allocate(r->rows * r->cols, sizeof *w), *scale = allocate(r->cols, sizeof *scale);
    int32_t *order = allocate(r->cols, sizeof *order);
    s24_bench_normal(1, w, r->rows * r->cols);
    s24_bench_normal(2, scale, r->cols);
    for (size_t i = 0; r->steep && i < r->rows * r->cols; i++) {
        w[i] *= expf(scale[i % r->cols]);
    }
    for (size_t k = 0; k < 4 && (k == 0 || r->moves[k - 1]); k++) {
        measure(r, w, r->moves[k], order);
    }
    free(w);
    free(scale);
    free(order);
}

int main(int argc, char **argv)
{
    if (argc != 1 && argc != 4) {
        fprintf(stderr, "usage: permute [ROWS COLS MOVES]\n");
        return 2;
    }
    printf("%13s %-6s %10s %9s %9s %9s %9s\n", "matrix", "", "moves", "seconds", "kept", "then", "efficacy%");
    if (argc == 4) {
        row one = {strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10), false, {strtoull(argv[3], NULL, 10)}};
        measure_row(&one);
        one.steep = true;
        measure_row(&one);
        return 0;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        measure_row(&rows[i]);
    }
    return 0;
}
