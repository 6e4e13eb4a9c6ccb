/* s24 matmul-bench: sparse against dense products on this machine. The measuring is the library's; see lib/bench.h. */
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "command.h"
#include "json.h"
#include "msg.h"
#include "names.h"
#include "signals.h"
#include "table.h"
#include "text.h"

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
     .help = "The dense products to compare with: auto, the BLAS that is installed, or none."},
    {.name = NULL},
};

static const args_group bench_groups[] = {{"Options", bench_rows, 0}, {NULL, NULL, 0}};

/* ---------------------------------------------------------------- output */

/* What was measured. */
typedef struct bench {
    const bench_options *options;
    s24_bench_options run;
    s24_tensor *tensor;
    s24_bench_result *results;
} bench;

static void print_json_result(const bench *b, const s24_bench_result *r)
{
    json_object sparse = json_new();
    json_f64(&sparse, "seconds", r->sparse.seconds);
    json_f64(&sparse, "gflops", r->sparse.gflops);
    json_f64(&sparse, "weight_gbps", r->sparse.weight_gbps);
    json_f64(&sparse, "max_error", r->sparse.max_error);
    printf("\n  {\"n\": %zu, \"sparse\": ", r->n);
    json_print(&sparse, stdout);
    fputs(", \"dense\": [", stdout);
    for (size_t i = 0; i < b->run.baseline_count; i++) {
        json_object dense = json_new();
        json_text(&dense, "name", b->run.baselines[i].name);
        json_f64(&dense, "seconds", r->dense[i].seconds);
        json_f64(&dense, "gflops", r->dense[i].gflops);
        json_f64(&dense, "max_error", r->dense[i].max_error);
        json_f64(&dense, "speedup", r->dense[i].speedup);
        fputs(i ? ", " : "", stdout);
        json_print(&dense, stdout);
    }
    fputs("]}", stdout);
}

static void print_json(const bench *b)
{
    const s24_geometry *g = &b->tensor->geometry;
    printf("{\"schema\": \"s24.matmul-bench/1\", \"version\": \"%s\", \"tensor\": ", s24_version());
    if (b->options->tensor) {
        json_print_string(b->options->tensor, stdout);
    } else {
        fputs("null", stdout);
    }
    printf(", \"m\": %zu, \"k\": %zu, \"dtype\": \"%s\",\n \"compute\": \"f32\", \"isa\": \"%s\", \"threads\": %u, "
           "\"repack_seconds\": 0, \"results\": [", g->rows, g->cols, s24_dtype_name(b->tensor->dtype),
           s24_isa_name(s24_isa_detect(b->run.isa)), b->run.threads);
    for (size_t i = 0; i < b->run.count; i++) {
        fputs(i ? "," : "", stdout);
        print_json_result(b, &b->results[i]);
    }
    fputs("]}\n", stdout);
}

static void add(table *t, const char *format, double x)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, format, x);
    table_add(t, text);
}

static void add_result(table *t, size_t n, const char *name, const s24_bench_figures *f)
{
    add(t, "%.0f", (double)n);
    table_add(t, name);
    add(t, "%.4g", 1e3 * f->seconds);
    add(t, "%.4g", f->gflops);
    add(t, "%.4g", f->weight_gbps);
    add(t, "%.1e", f->max_error);
    add(t, "%.2f", f->speedup);
}

/* Where sparse does not pay, against the first baseline. */
static void print_verdict(const bench *b)
{
    size_t slower = 0;
    for (size_t i = 0; i < b->run.count; i++) {
        slower += b->results[i].dense[0].speedup < 1;
    }
    if (slower == 0) {
        printf("Sparse is at least as fast as %s at every n measured.\n", b->run.baselines[0].name);
        return;
    }
    printf("Sparse is slower than %s at n =", b->run.baselines[0].name);
    for (size_t i = 0; i < b->run.count; i++) {
        if (b->results[i].dense[0].speedup < 1) {
            printf(" %zu", b->results[i].n);
        }
    }
    puts(slower == b->run.count ? ": here 2:4 saves memory, not time." : ": there dense products are the better ones.");
}

static void print_text(const bench *b)
{
    static const table_column columns[] = {
        {"n", true}, {"side", false}, {"ms", true}, {"GFLOP/s", true}, {"weights GB/s", true}, {"max error", true},
        {"sparse is faster by", true}, {NULL, false},
    };
    const s24_geometry *g = &b->tensor->geometry;
    table rows = {.columns = columns};
    printf("%zu x %zu weights of %s times k x n of f32, %s, %u thread%s; medians of %u\n", g->rows, g->cols,
           s24_dtype_name(b->tensor->dtype), s24_isa_name(s24_isa_detect(b->run.isa)), b->run.threads,
           b->run.threads == 1 ? "" : "s", b->run.reps);
    for (size_t i = 0; i < b->run.count; i++) {
        const s24_bench_result *r = &b->results[i];
        add_result(&rows, r->n, "sparse", &r->sparse);
        for (size_t d = 0; d < b->run.baseline_count; d++) {
            add_result(&rows, r->n, b->run.baselines[d].name, &r->dense[d]);
        }
    }
    table_print(&rows, stdout);
    if (b->run.baseline_count) {
        print_verdict(b);
    }
}

/* ---------------------------------------------------------------- work */

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
    return true;
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

/* Whether the baseline can be used; a BLAS that is not there is told, and the sparse side is measured all the same. */
static bool find_baseline(const bench *b, blas *dense)
{
    s24_error err = {0};
    const s24_geometry *g = &b->tensor->geometry;
    if (b->options->no_baseline) {
        return false;
    }
    if (blas_open(dense, &err) != S24_OK) {
        msg_warn("%s", err.message);
        return false;
    }
    for (size_t i = 0; i < b->run.count; i++) {
        if (!blas_fits(g->rows, b->run.n[i], g->cols)) {
            msg_warn("the matrices are too large for %s: sparse products only", dense->name);
            blas_close(dense);
            return false;
        }
    }
    return true;
}

static s24_status measure(const context *c, bench *b, s24_error *err)
{
    blas dense;
    s24_bench_baseline baseline;
    const bool compare = find_baseline(b, &dense);
    if (compare) {
        baseline = blas_baseline(&dense);
        b->run.baselines = &baseline;
        b->run.baseline_count = 1;
    }
    b->results = calloc(b->run.count, sizeof *b->results);
    s24_status status = S24_ERR_SYSTEM;
    if (b->results) {
        status = s24_bench_run(b->tensor, &b->run, b->results, err);
    } else {
        snprintf(err->message, sizeof err->message, "no memory for the results");
        err->status = status;
    }
    if (status == S24_OK) {
        c->globals->json ? print_json(b) : print_text(b);
    }
    if (compare) {
        blas_close(&dense);
    }
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
            "  s24 matmul-bench model.s24 --tensor fc1.weight --json\n",
    .groups = bench_groups,
    .defaults = &(const bench_options){.dtype = S24_F16, .reps = 9, .warmup = 1, .seed = 1},
    .options_size = sizeof(bench_options),
    .least = 0, .most = 1,
    .operand = "the file",
    .run = run,
};
