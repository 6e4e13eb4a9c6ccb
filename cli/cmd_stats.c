/* s24 stats: what pruning did to the tensors of a .s24, or would do to those of a dense file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "msg.h"
#include "progress.h"
#include "report.h"
#include "signals.h"
#include "suggest.h"

/* ---------------------------------------------------------------- --fail-if */

typedef bool holds(double a, double b);

static bool holds_less(double a, double b) { return a < b; }
static bool holds_at_most(double a, double b) { return a <= b; }
static bool holds_more(double a, double b) { return a > b; }
static bool holds_at_least(double a, double b) { return a >= b; }

typedef struct condition {
    const report_metric *metric;
    holds *holds;
    double limit;
    const char *text; /* as given */
} condition;

typedef struct stats_options {
    const char *original;
    bool tsv;
    int sort;
    condition *conditions;
    size_t condition_count;
    s24_read_options read;
    selection selection;
} stats_options;

static bool parse_operator(const char *s, holds **op, const char **end)
{
    static const struct {
        const char *sign;
        holds *op;
    } operators[] = {{"<=", holds_at_most}, {">=", holds_at_least}, {"<", holds_less}, {">", holds_more}};
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        const size_t n = strlen(operators[i].sign);
        if (strncmp(s, operators[i].sign, n) == 0) {
            *op = operators[i].op;
            *end = s + n;
            return true;
        }
    }
    return false;
}

static bool unknown_metric(const args *a, const char *name)
{
    char what[128];
    suggest s = {.word = name};
    for (size_t i = 0; report_metric_name(i); i++) {
        suggest_try(&s, report_metric_name(i));
    }
    if (s.nearest) {
        snprintf(what, sizeof what, "--fail-if: no such figure '%.60s'", name);
        args_mistyped(a->command, what, "", s.nearest);
        return false;
    }
    char names[512] = "";
    for (size_t i = 0; report_metric_name(i); i++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, " %s", report_metric_name(i));
    }
    args_usage(a->command, "--fail-if: no such figure '%.60s'; there are%s", name, names);
    return false;
}

/* "relative_error>0.4", blanks allowed around the operator */
static bool set_condition(args *a, const args_option *option, void *target, const char *value)
{
    stats_options *o = target;
    const size_t n = strcspn(value, "<>= ");
    char *name = memcpy(args_alloc(a, n + 1, 1), value, n), *end;
    condition k = {.metric = report_metric_find(name), .text = value};
    const char *number;
    if (!parse_operator(value + n + strspn(value + n, " "), &k.holds, &number)) {
        return args_refuse(a, option, value, "not FIGURE, one of < <= > >=, and a number, as in relative_error>0.4");
    }
    k.limit = strtod(number, &end);
    if (end == number || *end || isnan(k.limit)) {
        return args_refuse(a, option, value, "what follows the operator is not a number");
    }
    if (!k.metric) {
        return unknown_metric(a, name);
    }
    if (!o->conditions) {
        o->conditions = args_alloc(a, (size_t)a->argc, sizeof *o->conditions);
    }
    o->conditions[o->condition_count++] = k;
    return true;
}

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
    {.name = "fail-if", .value = "CONDITION", .set = set_condition,
     .help = "Exit with status 1 if a tensor meets the condition: a figure's name in the JSON, one of < <= > >=, and a "
             "number, as in 'relative_error>0.4'. Repeatable."},
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
        for (size_t k = 0; k < o->condition_count; k++) {
            const condition *q = &o->conditions[k];
            const double x = report_value(q->metric, t, report_measured(report, t));
            if (q->holds(x, q->limit)) { /* false of NaN, the undefined */
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

static void run(const context *c, const void *options)
{
    const stats_options *o = options;
    if (o->tsv && c->globals->json) {
        args_usage(c->command->name, "--json and --tsv exclude each other");
        return;
    }
    if (o->original && c->file_count > 1) {
        args_usage(c->command->name, "--original goes with one file");
        return;
    }
    report_writer reports = {
        .views = {{stdout, c->globals->json ? REPORT_JSON : o->tsv ? REPORT_TSV : REPORT_TEXT}},
        .sort = (report_sort)o->sort, .full = c->globals->verbose,
    };
    report_begin(&reports);
    for (size_t i = 0; i < c->file_count && !*signals_flag(); i++) {
        stats_one(c, o, c->files[i], &reports);
    }
    report_end(&reports);
}

const command cmd_stats = {
    .name = "stats",
    .synopsis = "[OPTION...] FILE...",
    .summary = "Say what pruning did to the tensors of a .s24, or would do to those of a dense file.",
    .more = "  s24 stats model.s24 --sort error\n"
            "  s24 stats model.s24 --original model.safetensors --json\n"
            "  s24 stats model.s24 --fail-if 'relative_error>0.4'\n",
    .groups = stats_groups,
    .options_size = sizeof(stats_options),
    .least = 1, .most = SIZE_MAX,
    .operand = "the file",
    .run = run,
};
