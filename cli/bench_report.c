#include "bench_report.h"

#include <math.h>
#include <stdlib.h>

#include "chart.h"
#include "error.h"
#include "json.h"
#include "table.h"
#include "text.h"

const char *const bench_computes[] = {[S24_COMPUTE_F32] = "f32", [S24_COMPUTE_BF16] = "bf16", [S24_COMPUTE_I8] = "i8", NULL};

/* ---------------------------------------------------------------- figures */

static bool has_bf16(const bench_report *b, size_t side)
{
    return side ? b->run->baselines[side - 1].weight_bytes == 2 : b->run->compute == S24_COMPUTE_BF16;
}

/*
 * Side 0 is the sparse one. The operations are those of the dense product: sparse leaves out half, and may reach 2 (and
 * more, where f32 is made of several products in bf16). Of i8 no peak is measured.
 */
static double share_of_peak(const bench_report *b, size_t side, const s24_bench_figures *f)
{
    if (side == 0 && b->run->compute == S24_COMPUTE_I8) {
        return NAN;
    }
    const s24_ceilings *c = b->ceilings;
    return f->gflops / (has_bf16(b, side) && c->bf16_gflops > 0 ? c->bf16_gflops : c->f32_gflops);
}

static double share_of_reads(const bench_report *b, const s24_bench_figures *f)
{
    return f->weight_gbps / b->ceilings->read_gbps;
}

/* ---------------------------------------------------------------- JSON */

static void add_shares(json_object *j, const bench_report *b, size_t side, const s24_bench_figures *f)
{
    if (b->ceilings) {
        json_f64(j, "of_read_bandwidth", share_of_reads(b, f));
        json_f64(j, "of_peak", share_of_peak(b, side, f));
    }
}

static void print_json_result(const bench_report *b, const s24_bench_result *r)
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
    for (size_t i = 0; i < b->run->baseline_count; i++) {
        json_object dense = json_new();
        json_text(&dense, "name", b->run->baselines[i].name);
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

void bench_report_json(const bench_report *b)
{
    const s24_geometry *g = &b->tensor->geometry;
    char repack[TEXT_SIZE];
    printf("{\"schema\": \"s24.matmul-bench/1\", \"version\": \"%s\", \"tensor\": ", s24_version());
    if (b->name) {
        json_print_string(b->name, stdout);
    } else {
        fputs("null", stdout);
    }
    text_exact(repack, b->repack.seconds);
    printf(", \"m\": %zu, \"k\": %zu, \"dtype\": \"%s\",\n \"compute\": \"%s\", \"isa\": \"%s\", \"threads\": %u, "
           "\"repack_seconds\": %s, ", g->rows, g->cols, s24_dtype_name(b->tensor->dtype),
           bench_computes[b->run->compute], s24_isa_name(s24_isa_detect(b->run->isa)), b->run->threads, repack);
    if (b->ceilings) {
        print_json_ceilings(b->ceilings);
    }
    fputs("\"results\": [", stdout);
    for (size_t i = 0; i < b->run->count; i++) {
        fputs(i ? "," : "", stdout);
        print_json_result(b, &b->results[i]);
    }
    fputs("]}\n", stdout);
}

/* ---------------------------------------------------------------- text */

static void add(table *t, const char *format, double x)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, format, x);
    table_add(t, isnan(x) ? "-" : text);
}

static void add_result(table *t, const bench_report *b, size_t n, size_t side, const s24_bench_figures *f)
{
    add(t, "%.0f", (double)n);
    table_add(t, side ? b->run->baselines[side - 1].name : "sparse");
    add(t, "%.4g", 1e3 * f->seconds);
    add(t, "%.4g", f->gflops);
    add(t, "%.4g", f->weight_gbps);
    add(t, "%.1e", f->max_error);
    add(t, "%.2f", f->speedup);
    if (b->ceilings) {
        add(t, "%.2f", share_of_reads(b, f));
        add(t, "%.2f", share_of_peak(b, side, f));
    }
}

/* One line about what was measured: of the text, and under the title of the drawing. */
static void describe(char *line, size_t size, const bench_report *b)
{
    static const char *const made[] = {[S24_COMPUTE_F32] = "", [S24_COMPUTE_BF16] = " rounded to bf16",
                                       [S24_COMPUTE_I8] = " quantized to i8"};
    const s24_geometry *g = &b->tensor->geometry;
    snprintf(line, size, "%zu x %zu weights of %s times k x n of f32%s, %s, %u thread%s; medians of %u", g->rows,
             g->cols, s24_dtype_name(b->tensor->dtype), made[b->run->compute],
             s24_isa_name(s24_isa_detect(b->run->isa)), b->run->threads, s24_plural(b->run->threads), b->run->reps);
}

/* Where sparse does not pay, against the first baseline. */
static void print_verdict(const bench_report *b)
{
    size_t slower = 0;
    for (size_t i = 0; i < b->run->count; i++) {
        slower += b->results[i].dense[0].speedup < 1;
    }
    if (slower == 0) {
        printf("Sparse is at least as fast as %s at every n measured.\n", b->run->baselines[0].name);
        return;
    }
    printf("Sparse is slower than %s at n =", b->run->baselines[0].name);
    for (size_t i = 0; i < b->run->count; i++) {
        if (b->results[i].dense[0].speedup < 1) {
            printf(" %zu", b->results[i].n);
        }
    }
    puts(slower == b->run->count ? ": here 2:4 saves memory, not time." : ": there dense products are the better ones.");
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

void bench_report_text(const bench_report *b)
{
    static const table_column columns[] = {COLUMNS, {NULL, false}};
    static const table_column with_shares[] = {COLUMNS, {"of read bandwidth", true}, {"of peak", true}, {NULL, false}};
    table rows = {.columns = b->ceilings ? with_shares : columns};
    char line[256];
    describe(line, sizeof line, b);
    puts(line);
    print_repack(&b->repack);
    if (b->ceilings) {
        print_ceilings(b->ceilings);
    }
    for (size_t i = 0; i < b->run->count; i++) {
        const s24_bench_result *r = &b->results[i];
        add_result(&rows, b, r->n, 0, &r->sparse);
        for (size_t d = 0; d < b->run->baseline_count; d++) {
            add_result(&rows, b, r->n, 1 + d, &r->dense[d]);
        }
    }
    table_print(&rows, stdout);
    if (b->run->baseline_count) {
        print_verdict(b);
    }
}

/* ---------------------------------------------------------------- the drawing */

/* Room for the x of every n and the y of every baseline; NULL: no memory. */
svg *bench_report_draw(const bench_report *b)
{
    const size_t count = b->run->count;
    double *x = calloc(count * (1 + b->run->baseline_count), sizeof *x);
    chart_curve curves[S24_BENCH_BASELINES];
    char line[256];
    if (!x) {
        return NULL;
    }
    for (size_t d = 0; d < b->run->baseline_count; d++) {
        double *y = x + count * (1 + d);
        curves[d] = (chart_curve){.name = b->run->baselines[d].name, .y = y};
        for (size_t i = 0; i < count; i++) {
            x[i] = (double)b->results[i].n;
            y[i] = b->results[i].dense[d].speedup;
        }
    }
    describe(line, sizeof line, b);
    svg *s = chart_draw(&(chart){
        .title = "Speed-up of 2:4 sparse products over dense ones", .subtitle = line,
        .x_title = "n, columns of the dense matrix", .y_title = "dense time over sparse time", .x = x, .points = count, .curves = curves,
        .curve_count = b->run->baseline_count, .mark = 1, .meaning = "as fast as dense",
    });
    free(x);
    return s;
}
