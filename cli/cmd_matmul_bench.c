/* s24 matmul-bench: sparse against dense products on this machine. The measuring is the library's: see lib/s24.h. */
#include <stdlib.h>
#include <string.h>

#include "baselines.h"
#include "bench_report.h"
#include "command.h"
#include "error.h"
#include "msg.h"
#include "names.h"
#include "signals.h"
#include "whole.h"

typedef struct sizes {
    size_t *items;
    size_t count;
} sizes;

typedef struct bench_options {
    const char *tensor;
    uint64_t m, k, seed;
    sizes n;
    s24_dtype dtype;
    bool has_dtype;
    unsigned reps, warmup;
    int no_baseline;
    int compute; /* an s24_compute */
    bool ceilings, force;
    const char *svg;
} bench_options;

/* ---------------------------------------------------------------- options */

#define MOST_SIDE (1u << 24) /* a side of a matrix: more is a slip */

static bool set_sizes(args *a, const args_option *option, void *target, const char *value)
{
    sizes *s = target;
    const char *p = value;
    s->items = args_alloc(a, strlen(value) + 1, sizeof *s->items);
    for (s->count = 0; s->count == 0 || *p; s->count++) {
        uint64_t n;
        if ((s->count && *p++ != ',') || !args_parse_u64(p, &p, &n) || n == 0 || n > MOST_SIDE) {
            return args_refuse(a, option, value, "not a list of whole numbers from 1 to 16777216, such as 1,8,32");
        }
        s->items[s->count] = (size_t)n;
    }
    return true;
}

static bool set_side(args *a, const args_option *option, void *target, const char *value)
{
    sizes one;
    if (strchr(value, ',') || !set_sizes(a, option, &one, value)) {
        return strchr(value, ',') ? args_refuse(a, option, value, "not one number") : false;
    }
    *(uint64_t *)target = one.items[0];
    return true;
}

static bool set_bench_dtype(args *a, const args_option *option, void *target, const char *value)
{
    bench_options *o = target;
    o->has_dtype = true;
    return set_dtype(a, option, &o->dtype, value);
}

static const char *choice_bench_dtype(size_t i)
{
    static const s24_dtype dtypes[] = {S24_F32, S24_F16, S24_BF16, S24_I8};
    return i < sizeof dtypes / sizeof *dtypes ? s24_dtype_name(dtypes[i]) : NULL;
}

static const char *const baseline_words[] = {"auto", "none", NULL};

#define BENCH(field) offsetof(bench_options, field)
static const args_option bench_rows[] = {
    {.name = "tensor", .value = "NAME", .set = args_set_string, .offset = BENCH(tensor),
     .help = "The tensor of the file; needed when it has several pruned ones."},
    {.name = "m", .value = "M", .set = set_side, .offset = BENCH(m),
     .help = "Rows of the random weights. Default: 4096."},
    {.name = "k", .value = "K", .set = set_side, .offset = BENCH(k),
     .help = "Columns of the random weights, along which they are pruned. Default: 4096."},
    {.name = "n", .value = "N,N...", .set = set_sizes, .offset = BENCH(n),
     .help = "Columns of the dense matrix: a batch of so many. Default: 1,8,32,128,1024."},
    {.name = "dtype", .value = "DTYPE", .set = set_bench_dtype, .choice = choice_bench_dtype,
     .help = "Random weights of f32, f16 (the default), bf16 or i8."},
    {.name = "reps", .value = "R", .set = args_set_unsigned, .offset = BENCH(reps),
     .help = "Time every product R times; the median counts. Default: 9."},
    {.name = "warmup", .value = "W", .set = args_set_unsigned, .offset = BENCH(warmup),
     .help = "Run every product W times before. Default: 1."},
    {.name = "seed", .value = "S", .set = args_set_u64, .offset = BENCH(seed),
     .help = "Of the random numbers. Default: 1."},
    {.name = "baseline", .value = "WHICH", .set = args_set_word, .offset = BENCH(no_baseline), .words = baseline_words,
     .help = "The dense products to compare with: auto, OpenBLAS and oneDNN where they are installed, or none."},
    {.name = "compute", .value = "TYPE", .set = args_set_word, .offset = BENCH(compute), .words = bench_computes,
     .help = "Multiply in f32, the default; round the dense matrix to bf16 first: faster with AMX, less accurate; or, for "
             "weights of i8, quantize its columns to i8."},
    {.name = "ceilings", .set = args_set_flag, .offset = BENCH(ceilings),
     .help = "Measure what this machine can read and compute at most, and tell what share of that is reached."},
    {.name = "svg", .value = "FILE", .set = args_set_string, .offset = BENCH(svg), .file = true,
     .help = "Draw the speed-up over N as FILE."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = BENCH(force), .help = "Replace an existing FILE."},
    {.name = NULL},
};

static const args_group bench_groups[] = {{"Options", bench_rows, 0}, {NULL, NULL, 0}};

/* ---------------------------------------------------------------- work */

typedef struct bench {
    const bench_options *options;
    s24_bench_options run;
    s24_tensor *tensor;
    s24_bench_result *results;
    s24_bench_repack repack;
    s24_ceilings ceilings;
} bench;

static bool check_usage(const context *c, const bench_options *o)
{
    if (c->file_count && (o->m || o->k || o->has_dtype)) {
        args_usage(c->command->name, "--m, --k and --dtype are for random weights; '%s' has its own", c->files[0]);
        return false;
    }
    if (!c->file_count && o->tensor) {
        args_usage(c->command->name, "--tensor needs the file that has it");
        return false;
    }
    if (o->reps == 0) {
        args_usage(c->command->name, "--reps 0: nothing would be measured");
        return false;
    }
    if (o->svg && o->no_baseline) {
        args_usage(c->command->name, "--svg draws the speed-up over a baseline, and --baseline none leaves none");
        return false;
    }
    return !o->svg || whole_check_drawing(c, o->svg, NULL, 0, o->force);
}

static s24_status find_weights(const context *c, bench *b, s24_error *err)
{
    const bench_options *o = b->options;
    if (c->file_count) {
        return s24_tensor_load(c->files[0], o->tensor, &b->tensor, NULL, err);
    }
    return s24_bench_weights(o->m ? (size_t)o->m : 4096, o->k ? (size_t)o->k : 4096, o->dtype, o->seed,
                             c->globals->threads, b->run.isa, &b->tensor, err);
}

static void find_baselines(bench *b, baselines *dense)
{
    size_t most = 0;
    for (size_t i = 0; i < b->run.count; i++) {
        most = b->run.n[i] > most ? b->run.n[i] : most;
    }
    const bool bf16 = b->tensor->dtype == S24_BF16 || b->run.compute == S24_COMPUTE_BF16;
    baselines_open(dense, bf16, b->tensor->geometry.rows, b->tensor->geometry.cols, most);
    b->run.baselines = dense->rows;
    b->run.baseline_count = dense->count;
}

static s24_status take_times(bench *b, s24_error *err)
{
    if (b->options->svg && b->run.baseline_count == 0) {
        return s24_fail(err, S24_ERR_SYSTEM, "nothing to compare with, and so nothing for --svg to draw");
    }
    b->results = calloc(b->run.count, sizeof *b->results);
    if (!b->results) {
        return s24_fail_memory(err, b->run.count * sizeof *b->results);
    }
    const s24_status status = b->options->ceilings ? s24_bench_ceilings(b->run.threads, b->run.isa, &b->ceilings, err)
                                                   : S24_OK;
    return status == S24_OK ? s24_bench_run(b->tensor, &b->run, b->results, &b->repack, err) : status;
}

static void report(const context *c, const bench *b)
{
    const bench_report r = {.name = b->options->tensor, .tensor = b->tensor, .run = &b->run, .results = b->results,
                            .repack = b->repack, .ceilings = b->options->ceilings ? &b->ceilings : NULL};
    c->globals->json ? bench_report_json(&r) : bench_report_text(&r);
    if (b->options->svg) {
        signals_install(); /* from here on there is something to clean up */
        whole_write_drawing(c, bench_report_draw(&r), b->options->svg, b->options->force);
    }
}

static s24_status measure(const context *c, bench *b, s24_error *err)
{
    baselines dense = {.count = 0};
    if (!b->options->no_baseline) {
        find_baselines(b, &dense);
    }
    const s24_status status = take_times(b, err);
    if (status == S24_OK) {
        report(c, b);
    }
    baselines_close(&dense);
    b->run.baselines = NULL;
    return status;
}

static void run(const context *c, const void *options)
{
    static const size_t usual[] = {1, 8, 32, 128, 1024};
    const bench_options *o = options;
    s24_error err = {0};
    if (!check_usage(c, o)) {
        return;
    }
    signals_release();
    bench b = {.options = o, .run = S24_BENCH_OPTIONS_INIT};
    b.run.n = o->n.count ? o->n.items : usual;
    b.run.count = o->n.count ? o->n.count : sizeof usual / sizeof *usual;
    b.run.reps = o->reps;
    b.run.warmup = o->warmup;
    b.run.seed = o->seed;
    b.run.threads = c->globals->threads ? c->globals->threads : s24_threads_available();
    b.run.isa = c->globals->isa;
    b.run.compute = (s24_compute)o->compute;
    s24_status status = find_weights(c, &b, &err);
    status = status == S24_OK ? measure(c, &b, &err) : status;
    if (status != S24_OK) {
        names_failure(c, c->file_count ? c->files[0] : "-", o->tensor, &err);
    }
    s24_tensor_free(b.tensor);
    free(b.results);
}

const command cmd_matmul_bench = {
    .name = "matmul-bench",
    .synopsis = "[OPTION...] [FILE.s24]",
    .summary = "Measure what 2:4 buys on this machine: sparse products against those of a BLAS.",
    .more = "  s24 matmul-bench --n 1,32 -T 1\n"
            "  s24 matmul-bench --dtype bf16 --compute bf16 --ceilings --svg speedup.svg\n"
            "  s24 matmul-bench model.s24 --tensor fc1.weight --json\n",
    .groups = bench_groups,
    .defaults = &(const bench_options){.dtype = S24_F16, .reps = 9, .warmup = 1, .seed = 1},
    .options_size = sizeof(bench_options),
    .least = 0, .most = 1,
    .operand = "the file",
    .run = run,
};
