/* s24 stats: what pruning did to the tensors of a .s24, or would do to those of a dense file. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "condition.h"
#include "msg.h"
#include "progress.h"
#include "report.h"
#include "signals.h"
#include "whole.h"

typedef struct stats_options {
    const char *original, *svg;
    bool tsv, force;
    int sort;
    condition_list fail_if;
    s24_read_options read;
    selection selection;
} stats_options;

/* ---------------------------------------------------------------- options */

static const char *const sort_words[] = {"file", "error", "name", "size", NULL}; /* as report_sort */

#define STATS(field) offsetof(stats_options, field)
static const args_option stats_rows[] = {
    {.name = "original", .value = "DENSE", .set = args_set_string, .offset = STATS(original), .file = true,
     .help = "Compute the metrics of a .s24 anew, against the dense file that it was made from."},
    {.name = "tsv", .set = args_set_flag, .offset = STATS(tsv),
     .help = "Print a line a tensor, fields separated by tabs, after a line with their names."},
    {.name = "sort", .value = "KEY", .set = args_set_word, .offset = STATS(sort), .words = sort_words,
     .help = "Order the tensors of a file by error (relative, largest first), name, size (dense, largest first), or as "
             "in the file."},
    {.name = "fail-if", .value = "CONDITION", .set = condition_add, .offset = STATS(fail_if),
     .help = "Exit with status 1 if a tensor meets the condition: a figure's name in the JSON, one of < <= > >=, and a "
             "number, as in 'relative_error>0.4'. Repeatable."},
    {.name = "svg", .value = "FILE", .set = args_set_string, .offset = STATS(svg), .file = true,
     .help = "Draw the errors of each tensor as bars, as FILE."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = STATS(force), .help = "Replace an existing FILE."},
    {.name = NULL},
};

static const args_group stats_groups[] = {
    {"Options", stats_rows, 0},
    {"Which tensors of a dense file", selection_options, STATS(selection)},
    {"Input", read_options, STATS(read)},
    {NULL, NULL, 0},
};

/* ---------------------------------------------------------------- work */

static void check_conditions(const stats_options *o, const s24_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const s24_report_tensor *t = &report->tensors[i];
        for (size_t k = 0; k < o->fail_if.count; k++) {
            const condition *q = &o->fail_if.items[k];
            const double x = report_value(q->metric, t, report_measured(report, t));
            if (condition_holds(q, x)) {
                msg_check("%s: %s%s%s is %.6g; --fail-if '%s'", report->path, report_name(t), *report_name(t) ? ": " : "",
                          q->metric->name, x, q->text);
            }
        }
    }
}

static void stats_one(const context *c, const stats_options *o, const char *path, report_writer *reports)
{
    s24_stats_request request = {
        .input = path, .original = o->original, .selection = selection_of(&o->selection), .parts = c->globals->verbose,
    };
    s24_report report = {0};
    s24_error err = {0};
    *(o->original ? &request.original_read : &request.read) = o->read; /* a .s24 needs no word about how to read it */
    progress_start(path);
    const s24_status status = s24_stats_file(&c->io, &request, &report, &err);
    progress_stop();
    if (status != S24_OK) {
        msg_failure(&err);
        s24_report_free(&report); /* of nothing to do there is one */
        return;
    }
    check_conditions(o, &report);
    reports->forecast = strcmp(report.format, "s24") != 0;
    report_file(reports, &report, NULL);
    msg_flush_stdout();
}

static bool check_usage(const context *c, const stats_options *o)
{
    if (o->tsv && c->globals->json) {
        args_usage(c->command->name, "--json and --tsv exclude each other");
        return false;
    }
    if (o->original && c->file_count > 1) {
        args_usage(c->command->name, "--original goes with one file");
        return false;
    }
    const char *const others[] = {o->original};
    return !o->svg || whole_check_drawing(c, o->svg, others, 1, o->force);
}

/* Of what was measured; of nothing it has been told why. */
static void draw(const context *c, const stats_options *o, const report_writer *reports)
{
    if (reports->count && !*signals_flag()) {
        whole_write_drawing(c, report_draw(reports), o->svg, o->force);
    }
}

static void run(const context *c, const void *options)
{
    const stats_options *o = options;
    report_writer reports = {
        .views = {{stdout, c->globals->json ? REPORT_JSON : o->tsv ? REPORT_TSV : REPORT_TEXT}},
        .sort = (report_sort)o->sort, .full = c->globals->verbose,
    };
    if (!check_usage(c, o)) {
        return;
    }
    report_begin(&reports);
    for (size_t i = 0; i < c->file_count && !*signals_flag(); i++) {
        stats_one(c, o, c->files[i], &reports);
    }
    if (o->svg) {
        draw(c, o, &reports);
    }
    report_end(&reports);
}

const command cmd_stats = {
    .name = "stats",
    .synopsis = "[OPTION...] FILE...",
    .summary = "Say what pruning did to the tensors of a .s24, or would do to those of a dense file.",
    .more = "  s24 stats model.s24 --sort error\n"
            "  s24 stats model.s24 --original model.safetensors --json\n"
            "  s24 stats model.s24 --fail-if 'relative_error>0.4'\n"
            "  s24 stats model.s24 --sort error --svg errors.svg\n",
    .groups = stats_groups,
    .options_size = sizeof(stats_options),
    .least = 1, .most = SIZE_MAX,
    .operand = "the file",
    .run = run,
};
