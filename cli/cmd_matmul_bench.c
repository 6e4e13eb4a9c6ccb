/* s24 matmul-bench: sparse against dense products on this machine. The measuring is the library's: see lib/s24.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "baselines.h"
#include "chart.h"
#include "command.h"
#include "error.h"
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
static const char *const compute_words[] = {[S24_COMPUTE_F32] = "f32", [S24_COMPUTE_BF16] = "bf16", NULL};

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
    {.name = "compute", .value = "TYPE", .set = args_set_word, .offset = BENCH(compute), .words = compute_words,
     .help = "Multiply in f32, the default, or round the dense matrix to bf16 first: faster with AMX, less accurate."},
    {.name = "ceilings", .set = args_set_flag, .offset = BENCH(ceilings),
     .help = "Measure what this machine can read and compute at most, and tell what share of that is reached."},
    {.name = "svg", .value = "FILE", .set = args_set_string, .offset = BENCH(svg), .file = true,
     .help = "Draw the speed-up over N as FILE."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = BENCH(force), .help = "Replace an existing FILE."},
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
    s24_bench_repack repack;
    s24_ceilings ceilings;
} bench;

static bool has_bf16(const bench *b, size_t side)
{
    return side ? b->run.baselines[side - 1].weight_bytes == 2 : b->run.compute == S24_COMPUTE_BF16;
}

/*
 * Side 0 is the sparse one. The operations are those of the dense product: sparse leaves out half, and may reach 2 (and
 * more, where f32 is made of several products in bf16).
 */
static double share_of_peak(const bench *b, size_t side, const s24_bench_figures *f)
{
    const s24_ceilings *c = &b->ceilings;
    return f->gflops / (has_bf16(b, side) && c->bf16_gflops > 0 ? c->bf16_gflops : c->f32_gflops);
}

static double share_of_reads(const bench *b, const s24_bench_figures *f)
{
    return f->weight_gbps / b->ceilings.read_gbps;
}

static void add_shares(json_object *j, const bench *b, size_t side, const s24_bench_figures *f)
{
    if (b->options->ceilings) {
        json_f64(j, "of_read_bandwidth", share_of_reads(b, f));
        json_f64(j, "of_peak", share_of_peak(b, side, f));
    }
}

static void print_json_result(const bench *b, const s24_bench_result *r)
{
    json_object sparse = json_new();
    json_f64(&sparse, "seconds", r->sparse.seconds);
    json_f64(&sparse, "gflops", r->sparse.gflops);
    json_f64(&sparse, "weight_gbps", r->sparse.weight_gbps);
    json_f64(&sparse, "max_error", r->sparse.max_error);
    add_shares(&sparse, b, 0, &r->sparse);
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
        add_shares(&dense, b, 1 + i, &r->dense[i]);
        fputs(i ? ", " : "", stdout);
        json_print(&dense, stdout);
    }
    fputs("]}", stdout);
}

static void print_json_ceilings(const s24_ceilings *c)
{
    json_object ceilings = json_new();
    json_f64(&ceilings, "read_gbps", c->read_gbps);
    json_f64(&ceilings, "f32_gflops", c->f32_gflops);
    json_f64(&ceilings, "bf16_gflops", c->bf16_gflops > 0 ? c->bf16_gflops : NAN);
    fputs("\"ceilings\": ", stdout);
    json_print(&ceilings, stdout);
    fputs(", ", stdout);
}

static void print_json(const bench *b)
{
    const s24_geometry *g = &b->tensor->geometry;
    char repack[TEXT_SIZE];
    printf("{\"schema\": \"s24.matmul-bench/1\", \"version\": \"%s\", \"tensor\": ", s24_version());
    if (b->options->tensor) {
        json_print_string(b->options->tensor, stdout);
    } else {
        fputs("null", stdout);
    }
    text_exact(repack, b->repack.seconds);
    printf(", \"m\": %zu, \"k\": %zu, \"dtype\": \"%s\",\n \"compute\": \"%s\", \"isa\": \"%s\", \"threads\": %u, "
           "\"repack_seconds\": %s, ", g->rows, g->cols, s24_dtype_name(b->tensor->dtype),
           compute_words[b->run.compute], s24_isa_name(s24_isa_detect(b->run.isa)), b->run.threads, repack);
    if (b->options->ceilings) {
        print_json_ceilings(&b->ceilings);
    }
    fputs("\"results\": [", stdout);
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

static void add_result(table *t, const bench *b, size_t n, size_t side, const s24_bench_figures *f)
{
    add(t, "%.0f", (double)n);
    table_add(t, side ? b->run.baselines[side - 1].name : "sparse");
    add(t, "%.4g", 1e3 * f->seconds);
    add(t, "%.4g", f->gflops);
    add(t, "%.4g", f->weight_gbps);
    add(t, "%.1e", f->max_error);
    add(t, "%.2f", f->speedup);
    if (b->options->ceilings) {
        add(t, "%.2f", share_of_reads(b, f));
        add(t, "%.2f", share_of_peak(b, side, f));
    }
}

/* One line about what was measured: of the text, and under the title of the drawing. */
static void describe(char *line, size_t size, const bench *b)
{
    const s24_geometry *g = &b->tensor->geometry;
    snprintf(line, size, "%zu x %zu weights of %s times k x n of f32%s, %s, %u thread%s; medians of %u", g->rows,
             g->cols, s24_dtype_name(b->tensor->dtype), b->run.compute == S24_COMPUTE_BF16 ? " rounded to bf16" : "",
             s24_isa_name(s24_isa_detect(b->run.isa)), b->run.threads, b->run.threads == 1 ? "" : "s", b->run.reps);
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

static void print_repack(const s24_bench_repack *r)
{
    char bytes[TEXT_SIZE];
    text_bytes(bytes, r->bytes);
    printf("before the first product: %.3g ms, ", 1e3 * r->seconds);
    if (r->bytes) {
        printf("to check the weights and copy them in another order, %s\n", bytes);
    } else {
        puts("to check the weights, which are multiplied as they are stored");
    }
}

static void print_ceilings(const s24_ceilings *c)
{
    printf("read bandwidth: %.4g GB/s\npeak: %.4g GFLOP/s in f32", c->read_gbps, c->f32_gflops);
    if (c->bf16_gflops > 0) {
        printf(", %.4g in bf16", c->bf16_gflops);
    }
    puts("");
}

#define COLUMNS \
    {"n", true}, {"side", false}, {"ms", true}, {"GFLOP/s", true}, {"weights GB/s", true}, {"max error", true}, \
    {"sparse is faster by", true}

static void print_text(const bench *b)
{
    static const table_column columns[] = {COLUMNS, {NULL, false}};
    static const table_column with_shares[] = {COLUMNS, {"of read bandwidth", true}, {"of peak", true}, {NULL, false}};
    table rows = {.columns = b->options->ceilings ? with_shares : columns};
    char line[256];
    describe(line, sizeof line, b);
    puts(line);
    print_repack(&b->repack);
    if (b->options->ceilings) {
        print_ceilings(&b->ceilings);
    }
    for (size_t i = 0; i < b->run.count; i++) {
        const s24_bench_result *r = &b->results[i];
        add_result(&rows, b, r->n, 0, &r->sparse);
        for (size_t d = 0; d < b->run.baseline_count; d++) {
            add_result(&rows, b, r->n, 1 + d, &r->dense[d]);
        }
    }
    table_print(&rows, stdout);
    if (b->run.baseline_count) {
        print_verdict(b);
    }
}

/* ---------------------------------------------------------------- the drawing */

/* Room for the x of every n and the y of every baseline; NULL: no memory. */
static svg *draw(const bench *b)
{
    const size_t count = b->run.count;
    double *x = calloc(count * (1 + b->run.baseline_count), sizeof *x);
    chart_curve curves[S24_BENCH_BASELINES];
    char line[256];
    if (!x) {
        return NULL;
    }
    for (size_t d = 0; d < b->run.baseline_count; d++) {
        double *y = x + count * (1 + d);
        curves[d] = (chart_curve){.name = b->run.baselines[d].name, .y = y};
        for (size_t i = 0; i < count; i++) {
            x[i] = (double)b->results[i].n;
            y[i] = b->results[i].dense[d].speedup;
        }
    }
    describe(line, sizeof line, b);
    svg *s = chart_draw(&(chart){
        .title = "Speed-up of 2:4 sparse products over dense ones", .subtitle = line,
        .x_title = "n, columns of the dense matrix", .y_title = "dense time over sparse time", .x = x, .points = count, .curves = curves,
        .curve_count = b->run.baseline_count, .mark = 1, .meaning = "as fast as dense",
    });
    free(x);
    return s;
}

static s24_status write_drawing(const bench *b, const s24_io *io, s24_error *err)
{
    svg *s = draw(b);
    if (!s) {
        return s24_fail(err, S24_ERR_SYSTEM, "no memory for the drawing");
    }
    signals_install(); /* from here on there is something to clean up */
    return svg_write(s, io, b->options->svg, err);
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
    if (o->svg && o->no_baseline) {
        args_usage(c->command->name, "--svg draws the speed-up over a baseline, and --baseline none leaves none");
        return false;
    }
    if (o->svg && strcmp(o->svg, "-") == 0) {
        args_usage(c->command->name, "--svg needs a file: results are on standard output");
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

static s24_status measure(const context *c, bench *b, const s24_io *io, s24_error *err)
{
    baselines dense = {.count = 0};
    if (!b->options->no_baseline) {
        find_baselines(b, &dense);
    }
    s24_status status = take_times(b, err);
    if (status == S24_OK) {
        c->globals->json ? print_json(b) : print_text(b);
    }
    if (status == S24_OK && b->options->svg) {
        status = write_drawing(b, io, err);
    }
    baselines_close(&dense);
    return status;
}

static void run(const context *c, const void *options)
{
    static const size_t usual[] = {1, 8, 32, 128, 1024};
    const bench_options *o = options;
    s24_io io = c->io;
    s24_error err = {0};
    if (!check_usage(c, o)) {
        return;
    }
    io.force = o->force;
    if (o->svg && svg_check(&io, o->svg, &err) != S24_OK) {
        msg_failure(&err);
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
    status = status == S24_OK ? measure(c, &b, &io, &err) : status;
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
