/*
 * kernels [--isa NAME] [--mib N] - how fast the kernels of this machine are, a line for each row of the kernel lists.
 *
 * In L1: elements a cycle over 16 KiB of dense elements. From memory: 10^9 elements a second over N MiB of them, panel by
 * panel, pruning with its sums and with the checksum of what it wrote; and beside it a loop that reads and writes as
 * many bytes in the same order, prefetches, and computes nothing. The two take turns; medians; the ratio is of those
 * of each turn. The tail: rows of 1000 elements, no multiple of 16, over rows of 1024.
 *
 * Cycles are those of the core, not of the time stamp counter: a chain of multiplications, three cycles each on every
 * processor with AVX2, is timed beside the kernel.
 */
#define _DEFAULT_SOURCE 1

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "panel.h"
#include "plain.h"

#define ROUNDS 9
#define L1_BYTES 16384
#define CHUNK 512 /* elements: whole cache lines of everything */
#define PANEL ((size_t)4 * S24_PANEL_GROUPS)

typedef enum operation { PRUNE, SCORE, UNPACK, COMPLY, MEASURE, ZEROS } operation;
static const char *const operation_names[] = {"prune", "score", "unpack", "comply", "measure", "zeros"};

typedef struct row {
    operation what;
    s24_isa isa;
    s24_dtype from, to;
} row;

#define ROW(what, isa, from, to) {what, S24_ISA_##isa, S24_##from, S24_##to},
#define PRUNE_ROW(isa, from, to, function) ROW(PRUNE, isa, from, to)
#define SCORE_ROW(isa, from, to, function) ROW(SCORE, isa, from, to)
#define UNPACK_ROW(isa, from, to, function) ROW(UNPACK, isa, from, to)
#define COMPLY_ROW(isa, dtype, function) ROW(COMPLY, isa, dtype, dtype)
#define ZEROS_ROW(isa, dtype, function) ROW(ZEROS, isa, dtype, dtype)
#define MEASURE_ROW(isa, from, to, function) ROW(MEASURE, isa, from, to)
static const row rows[] = {
    S24_PRUNE_KERNELS(PRUNE_ROW)
    S24_SCORE_KERNELS(SCORE_ROW)
    S24_UNPACK_KERNELS(UNPACK_ROW)
    S24_COMPLY_KERNELS(COMPLY_ROW)
    S24_MEASURE_KERNELS(MEASURE_ROW)
    ROW(MEASURE, GENERIC, F32, F16)
    S24_ZEROS_KERNELS(ZEROS_ROW)
    S24_QUANTIZE_KERNELS(PRUNE_ROW)   /* with a scale for each row */
    S24_DEQUANTIZE_KERNELS(UNPACK_ROW)
};

/* Dense elements of `from`, packed ones of `to` (a panel's values, then its positions), and room for dense ones. */
static unsigned char *dense, *packed, *room;
static size_t arena_bytes;

/* Of a panel's rows, where there are some; and what quantizing one needs. */
static float scales[PANEL / 1000 + 1];
static double scratch[PANEL / 2];

/* Norms of inputs, of every row that there is. */
static s24_factors norms;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double x[ROUNDS])
{
    double sorted[ROUNDS];
    memcpy(sorted, x, sizeof sorted);
    qsort(sorted, ROUNDS, sizeof *sorted, ascending);
    return sorted[ROUNDS / 2];
}

/* Whatever is read ends here, so that no compiler leaves it out. */
static volatile uint64_t sink;

static double cycles_a_second(void)
{
    const unsigned n = 30000;
    uint64_t x = sink | 1;
    const uint64_t factor = x | 6;
    const double from = now();
    for (unsigned i = 0; i < n; i++) {
        x *= factor;
    }
    sink = x;
    return 3.0 * n / (now() - from);
}

/* ---------------------------------------------------------------- the kernels, through the library's functions */

typedef struct task {
    row r;
    s24_pruner pruner;
    s24_unpacker unpacker;
    s24_complier complier;
    s24_measurer measurer;
    bool checked; /* the checksum of what was written is part of it */
} task;

static task task_of(const row *r)
{
    const s24_method *method = &s24_methods[r->what == SCORE ? S24_METHOD_WANDA : S24_METHOD_MAGNITUDE];
    task t = {.r = *r, .pruner = s24_pruner_of(method, r->from, r->to, r->from, false, r->isa),
                  .unpacker = s24_unpacker_of(r->from, r->to, r->isa), .complier = s24_complier_of(r->from, r->isa),
                  .measurer = s24_measurer_of(r->from, r->to, r->isa)};
    if (r->what == SCORE) {
        s24_pruner_by(&t.pruner, &norms, r->isa);
    }
    return t;
}

/* Bytes of the dense elements, and of the values of `n` of them. */
static size_t dense_bytes(const row *r, size_t n)
{
    return n * s24_info(r->what == UNPACK ? r->to : r->from)->bytes;
}

static size_t values_bytes(const row *r, size_t n)
{
    return n / 2 * s24_info(r->what == UNPACK ? r->from : r->to)->bytes;
}

static void run_panel(const task *t, size_t panel_rows, size_t cols, unsigned char *from, unsigned char *planes,
                      unsigned char *to)
{
    const size_t n = panel_rows * cols, values = values_bytes(&t->r, PANEL);
    s24_plain_checker checker;
    s24_error err;
    const s24_panel panel = {.rows = panel_rows, .cols = cols, .dense = from, .values = planes, .positions = planes + values,
                             .scales = scales, .scratch = scratch, .tap = t->checked ? &checker.tap : NULL};
    const bool scaled = t->r.what == UNPACK && s24_dtype_scaled(t->r.to, t->r.from);
    s24_panel unscaled = panel;
    s24_sums sums;
    s24_fault fault;
    bool ok = true;
    unscaled.scales = NULL;
    switch (t->r.what) {
    case PRUNE:
    case SCORE:
        ok = !t->checked || s24_plain_checker_begin(&checker, &(s24_plain){.hash = 1}, 0, &err) == S24_OK;
        ok = ok && s24_prune_panel(&t->pruner, &panel, &sums, &fault);
        sink += t->checked ? s24_plain_checker_end(&checker) : 0;
        break;
    case UNPACK:
        ok = s24_unpack_panel(&t->unpacker, panel_rows, cols, planes, panel.positions, scaled ? scales : NULL, to, &fault);
        break;
    case COMPLY: sink += s24_broken_groups(&t->complier, panel_rows, cols, from); break;
    case MEASURE: ok = s24_measure_panel(&t->measurer, &unscaled, &sums, &fault); break;
    default: sink += s24_count_zeros(t->pruner.from, t->r.isa, from, n); break;
    }
    if (!ok) {
        fprintf(stderr, "kernels: refused\n");
        exit(1);
    }
}

/* ---------------------------------------------------------------- the same traffic without computing */

typedef struct stream {
    unsigned char *at;
    size_t bytes; /* a chunk; 0: there is none */
} stream;

/* 64 bytes at any address. */
typedef uint64_t wide __attribute__((vector_size(64), aligned(1), may_alias));

#define AHEAD 2048 /* as far as the kernels prefetch */

#if defined(__x86_64__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif

WIDEST static void move(stream in0, stream in1, stream out0, stream out1, size_t chunks)
{
    stream in[2] = {in0, in1}, out[2] = {out0, out1};
    wide sum = {0};
    for (size_t c = 0; c < chunks; c++) {
        for (int k = 0; k < 2; k++) {
            for (size_t i = 0; i < in[k].bytes; i += 64) {
                __builtin_prefetch((const void *)((uintptr_t)in[k].at + AHEAD + i));
                sum ^= *(const wide *)(const void *)(in[k].at + i);
            }
            in[k].at += in[k].bytes;
        }
        for (int k = 0; k < 2; k++) {
            for (size_t i = 0; i < out[k].bytes; i += 64) {
                *(wide *)(void *)(out[k].at + i) = sum;
            }
            out[k].at += out[k].bytes;
        }
    }
    sink += sum[0] ^ sum[7];
}

static void move_panel(const task *t, size_t n, unsigned char *from, unsigned char *planes, unsigned char *to)
{
    const stream whole = {from, dense_bytes(&t->r, CHUNK)}, room_ = {to, whole.bytes}, none = {planes, 0};
    const stream values = {planes, values_bytes(&t->r, CHUNK)};
    const stream positions = {planes + values_bytes(&t->r, PANEL), CHUNK / 8};
    switch (t->r.what) {
    case PRUNE:
    case SCORE: move(whole, none, values, positions, n / CHUNK); break;
    case UNPACK: move(values, positions, room_, none, n / CHUNK); break;
    case MEASURE:
        move(whole, values, none, none, n / CHUNK);
        move(positions, none, none, none, n / CHUNK);
        break;
    default: move(whole, none, none, none, n / CHUNK); break;
    }
}

/* ---------------------------------------------------------------- what is measured */

/* Seconds over `panels` panels behind one another. `cols` of 0: without computing. */
static double pass(const task *t, size_t panels, size_t cols)
{
    const size_t panel_rows = cols ? PANEL / cols : 0, n = cols ? panel_rows * cols : PANEL;
    const size_t step = dense_bytes(&t->r, PANEL), planes = values_bytes(&t->r, PANEL) + PANEL / 8;
    const double start = now();
    for (size_t i = 0; i < panels; i++) {
        if (cols) {
            run_panel(t, panel_rows, cols, dense + i * step, packed + i * planes, room + i * step);
        } else {
            move_panel(t, n, dense + i * step, packed + i * planes, room + i * step);
        }
    }
    return now() - start;
}

/* Elements a cycle in L1. */
static double in_l1(const task *t)
{
    const size_t n = L1_BYTES / dense_bytes(&t->r, 1);
    const unsigned repeats = 200;
    double rate[ROUNDS];
    for (int round = -1; round < ROUNDS; round++) { /* once to get it there */
        const double before = cycles_a_second(), start = now();
        for (unsigned i = 0; i < repeats; i++) {
            run_panel(t, 1, n, dense, packed, room);
        }
        const double seconds = now() - start;
        rate[round < 0 ? 0 : round] = (double)(n * repeats) / (seconds * (before + cycles_a_second()) / 2);
    }
    return median(rate);
}

/* The packed form of a panel, for what reads one. */
static void pack(const task *t)
{
    const s24_dtype from = t->r.what == UNPACK ? t->r.to : t->r.from, to = t->r.what == UNPACK ? t->r.from : t->r.to;
    task once = {.r = {.what = PRUNE, .from = from, .to = to}};
    once.pruner = s24_pruner_of(&s24_methods[S24_METHOD_MAGNITUDE], from, to, from, false, S24_ISA_BEST);
    run_panel(&once, 1, PANEL, dense, packed, NULL);
}

/* One panel of normally distributed weights, again and again, and its packed form. */
static size_t prepare(const task *t)
{
    const row *r = &t->r;
    const s24_dtype_info *info = s24_info(r->what == UNPACK ? r->to : r->from);
    const size_t step = PANEL * info->bytes, planes = values_bytes(r, PANEL) + PANEL / 8, panels = arena_bytes / step;
    float *x = malloc(PANEL * sizeof *x);
    if (!x) {
        exit(1);
    }
    s24_bench_normal(1, x, PANEL);
    for (size_t i = 0; i < PANEL; i++) {
        bool overflow = false;
        const double w = info->kind == S24_KIND_INT ? (double)(int)(32 * x[i]) : (double)x[i] * 0.02;
        s24_store(dense, info->bytes, i, s24_encode(info, w, &overflow));
    }
    free(x);
    for (size_t i = 1; i < panels; i++) {
        memcpy(dense + i * step, dense, step);
    }
    pack(t);
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        scales[i] = *scales;
    }
    for (size_t i = 1; i < panels; i++) {
        memcpy(packed + i * planes, packed, planes);
    }
    return panels;
}

static void measure_row(const row *r)
{
    task t = task_of(r);
    const size_t panels = prepare(&t);
    const double n = (double)(panels * PANEL);
    const double l1 = in_l1(&t);
    double kernel[ROUNDS], bare[ROUNDS], ratio[ROUNDS], tail[ROUNDS];
    t.checked = true;
    for (int round = 0; round < ROUNDS; round++) {
        kernel[round] = pass(&t, panels, 1024);
        bare[round] = pass(&t, panels, 0);
        tail[round] = kernel[round] * (double)(PANEL / 1000 * 1000) / (double)PANEL / pass(&t, panels, 1000);
        ratio[round] = bare[round] / kernel[round];
    }
    printf("%-8s %-8s %-7s %-7s %7.2f %9.2f %9.2f %7.2f %7.2f\n", operation_names[r->what], s24_isa_name(r->isa),
           s24_dtype_name(r->from), s24_dtype_name(r->to), l1, n / median(kernel) * 1e-9, n / median(bare) * 1e-9,
           median(ratio), median(tail));
    fflush(stdout);
}

static void make_norms(void)
{
    s24_error err;
    float x[L1_BYTES / 2];
    if (s24_factors_init(&norms, 1, L1_BYTES / 2, 1, false, &err) != S24_OK) {
        exit(1);
    }
    s24_bench_normal(2, x, L1_BYTES / 2);
    for (size_t i = 0; i < L1_BYTES / 2; i++) {
        norms.a[i] = exp((double)x[i]);
    }
    s24_factors_complete(&norms);
}

static unsigned char *map(size_t bytes)
{
    unsigned char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("kernels");
        exit(1);
    }
    memset(p, 1, bytes); /* memory that was never touched comes at a tenth of the speed */
    return p;
}

int main(int argc, char **argv)
{
    s24_isa isa = S24_ISA_BEST;
    size_t mib = 256;
    bool usage = argc % 2 == 0;
    for (int i = 1; i + 1 < argc && !usage; i += 2) {
        if (strcmp(argv[i], "--isa") == 0) {
            usage = !s24_isa_parse(argv[i + 1], &isa);
        } else {
            usage = strcmp(argv[i], "--mib") != 0 || (mib = strtoull(argv[i + 1], NULL, 10)) < 4;
        }
    }
    if (usage) {
        fprintf(stderr, "usage: kernels [--isa NAME] [--mib N]\n");
        return 2;
    }
    arena_bytes = mib << 20;
    dense = map(arena_bytes);
    packed = map(arena_bytes);
    room = map(arena_bytes);
    make_norms();
    printf("%-8s %-8s %-7s %-7s %7s %9s %9s %7s %7s\n", "kernel", "isa", "from", "to", "el/cyc", "10^9 el/s", "bare",
           "ratio", "tail");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (s24_isa_detect(rows[i].isa) == rows[i].isa && (isa == S24_ISA_BEST || isa == rows[i].isa)) {
            measure_row(&rows[i]);
        }
    }
    return 0;
}
