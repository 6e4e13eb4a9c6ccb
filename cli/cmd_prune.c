/* s24 prune: one output an input. All names are found before anything is written, so that no two outputs collide. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "format.h"
#include "msg.h"
#include "panel.h"
#include "paths.h"
#include "progress.h"
#include "report.h"
#include "second.h"
#include "signals.h"

typedef struct prune_options {
    const char *output, *to, *plan;
    criterion criterion;
    storage storage;
    bool allow_nonfinite, dry_run, force;
    s24_permute_rule *permute_with;
    size_t permute_with_count;
    args_share shards;
    s24_packing packing;
    s24_read_options read;
    selection selection;
} prune_options;

static const char *choice_to(size_t i)
{
    static const char *const first[] = {"s24", "same"};
    if (i < 2) {
        return first[i];
    }
    i -= 2;
    for (size_t f = 0; s24_formats[f]; f++) {
        if (s24_formats[f]->create && !s24_formats[f]->unfit && i-- == 0) { /* dense ones: others are convert's */
            return s24_formats[f]->name;
        }
    }
    return NULL;
}

/* "fc2.weight=fc1.weight,fc1.bias" */
static bool set_permute_with(args *a, const args_option *option, void *target, const char *value)
{
    prune_options *const o = target;
    const char *const equals = strchr(value, '=');
    if (!equals || equals == value || !equals[1]) {
        return args_refuse(a, option, value, "not NAME=PREV, the tensor whose inputs are permuted and those before it");
    }
    if (!o->permute_with) {
        o->permute_with = args_alloc(a, (size_t)a->argc, sizeof *o->permute_with);
    }
    const size_t n = (size_t)(equals - value);
    o->permute_with[o->permute_with_count++] = (s24_permute_rule){
        .tensor = memcpy(args_alloc(a, n + 1, 1), value, n), .with = equals + 1};
    return true;
}

#define PRUNE(field) offsetof(prune_options, field)
static const args_option prune_rows[] = {
    {.name = "output", .letter = 'o', .value = "OUT", .set = args_set_string, .offset = PRUNE(output), .file = true,
     .help = "Write to OUT, or to standard output if that is \"-\". With several inputs OUT is a directory. Without "
             "this, beside the input: model.npy becomes model.s24."},
    {.name = "to", .value = "TYPE", .set = args_set_string, .offset = PRUNE(to), .choice = choice_to,
     .help = "Write TYPE: s24, or a dense file with zeros: npy, npz, safetensors, json, raw, or same, the input's own. "
             "Without this OUT's suffix decides, and s24 where that says nothing."},
    {.name = "permute-with", .value = "NAME=PREV", .set = set_permute_with,
     .help = "The same as --permute for the tensor NAME, whose inputs are the outputs of the tensors PREV, separated by "
             "commas: they are permuted alike, so that nothing need be undone. Repeatable."},
    {.name = "plan", .value = "FILE", .set = args_set_string, .offset = PRUNE(plan), .file = true,
     .help = "Prune what the plan FILE, made by s24 plan, prunes, along its axes; by its method and to its dtype, unless "
             "--method or --dtype say otherwise."},
    {.name = "allow-nonfinite", .set = args_set_flag, .offset = PRUNE(allow_nonfinite),
     .help = "Keep NaN and infinity before everything else instead of refusing them."},
    {.name = "dry-run", .letter = 'n', .set = args_set_flag, .offset = PRUNE(dry_run),
     .help = "Write nothing; say what would be done, and the metrics."},
    {.name = "shards", .value = "I/N", .set = args_set_share, .offset = PRUNE(shards),
     .help = "Of a checkpoint, do only every N-th file, from the I-th: the share of one of N jobs, which may run at the "
             "same time on several machines."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = PRUNE(force), .help = "Replace existing outputs."},
    {.name = NULL},
};

static const args_group prune_groups[] = {
    {"Options", prune_rows, 0},
    {"Criterion", criterion_options, PRUNE(criterion)},
    {"Stored values", storage_options, PRUNE(storage)},
    {"How a .s24 is written", packing_options, PRUNE(packing)},
    {"Which tensors", selection_options, PRUNE(selection)},
    {"Input", read_options, PRUNE(read)},
    {NULL, NULL, 0},
};

/* ---------------------------------------------------------------- usage */

/* The plan says which tensors; its method is known once it is read. */
static bool check_plan(const context *c, const prune_options *o)
{
    const selection *const s = &o->selection;
    const char *const vain = s->axis_count ? "axis" : s->include.count ? "include" : s->all ? "all" : NULL;
    if (o->plan && vain) {
        args_usage(c->command->name, "--%s is for s24 plan: with --plan, the plan says which tensors and along which axes", vain);
        return false;
    }
    if (o->plan && c->file_count > 1) {
        args_usage(c->command->name, "--plan goes with one input");
        return false;
    }
    if (o->plan && path_is_std(o->plan) && path_is_std(c->files[0])) {
        args_usage(c->command->name, "standard input cannot be both the plan and the weights");
        return false;
    }
    if (o->plan && o->output && path_is_of(o->output, o->plan)) {
        args_usage(c->command->name, "--output '%s' would replace the plan", o->output);
        return false;
    }
    return (o->plan && !o->criterion.method) || criterion_method(c->command->name, &o->criterion);
}

static bool check_several(const context *c, const prune_options *o)
{
    struct stat st;
    if (c->file_count == 1) {
        return true;
    }
    for (size_t i = 0; i < c->file_count; i++) {
        if (path_is_std(c->files[i])) {
            args_usage(c->command->name, "standard input can only be the one input");
            return false;
        }
    }
    if (o->output && (path_is_std(o->output) || (stat(o->output, &st) == 0 && !S_ISDIR(st.st_mode)))) {
        args_usage(c->command->name, "--output '%s': several inputs need a directory", o->output);
        return false;
    }
    const char *format;
    if (o->output && !path_is_directory(o->output) && path_format(o->output, &format) != PATH_SAYS_NOTHING) {
        args_usage(c->command->name, "--output '%s': several inputs need a directory; if that shall be its name, write "
                   "'%s/'", o->output, o->output);
        return false;
    }
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        if (o->criterion.second[k]) {
            args_usage(c->command->name, "--%s goes with one input", s24_second_name((s24_second)k));
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- names */

/* Where the outputs go, and what they are. */
typedef struct plan {
    const char *directory;  /* of one output an input; NULL: not into one */
    bool made;              /* by us */
    const char *to;
    char **outputs;         /* one an input */
} plan;

static bool find_target(const context *c, const prune_options *o, plan *p)
{
    const char *format = NULL;
    const bool checkpoint = c->file_count == 1 && path_is_checkpoint(c->files[0]);
    const bool directory = o->output && !path_is_std(o->output) && !checkpoint &&
                           (c->file_count > 1 || path_is_directory(o->output));
    p->directory = directory ? o->output : NULL;
    if (o->to) {
        p->to = o->to;
    } else if (o->output && !directory && !(checkpoint && path_for_checkpoint(o->output)) && path_format(o->output, &format) == PATH_SAYS_FOREIGN) {
        args_usage(c->command->name, "--output '%s': s24 does not write that type; --to says which it shall be",
                   o->output);
        return false;
    }
    p->to = p->to ? p->to : format ? format : "s24";
    if (o->packing.level && strcmp(p->to, "s24") != 0) {
        args_usage(c->command->name, "--archive is for .s24 files, not for %s", p->to);
        return false;
    }
    if (!o->output && strcmp(p->to, "same") == 0 && !path_is_std(c->files[0])) {
        args_usage(c->command->name, "--to same needs --output: it would go onto the input");
        return false;
    }
    return true;
}

/* Whether an input becomes a directory of files: a checkpoint that no single file was asked for. */
static bool becomes_directory(const prune_options *o, const plan *p, const char *input)
{
    return path_is_checkpoint(input) && (p->directory ? strcmp(p->to, "same") == 0
                                                      : o->output && path_for_checkpoint(o->output));
}

static bool check_checkpoint(const context *c, const prune_options *o, const plan *p, const char *input)
{
    const bool directory = becomes_directory(o, p, input);
    if (directory && !path_format_of_shards(p->to)) {
        args_usage(c->command->name, "--to %s: a checkpoint's directory holds .safetensors or .s24 files; name one file "
                   "as --output", p->to);
        return false;
    }
    if (o->shards.of && !directory && !o->dry_run) {
        args_usage(c->command->name, "--shards is for a checkpoint that becomes a directory: --output names it");
        return false;
    }
    return true;
}

static char *output_of(const prune_options *o, const plan *p, const char *input)
{
    if (p->directory) {
        return path_inside(p->directory, path_is_std(input) ? "stdin" : input, p->to);
    }
    return o->output ? strdup(o->output) : path_is_std(input) ? strdup("-") : path_beside(input, p->to);
}

static bool find_outputs(const context *c, const prune_options *o, plan *p)
{
    p->outputs = calloc(c->file_count, sizeof *p->outputs);
    if (!p->outputs) {
        msg_error(S24_ERR_SYSTEM, "no memory for the names of the outputs");
        return false;
    }
    for (size_t i = 0; i < c->file_count; i++) {
        p->outputs[i] = output_of(o, p, c->files[i]);
        if (!p->outputs[i]) {
            args_usage(c->command->name, "'%s' does not say what the output shall be called; give --output", c->files[i]);
            return false;
        }
        if (!check_checkpoint(c, o, p, c->files[i])) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (!o->dry_run && strcmp(p->outputs[k], p->outputs[i]) == 0) {
                args_usage(c->command->name, "'%s' and '%s' would both become '%s'", c->files[k], c->files[i],
                           p->outputs[i]);
                return false;
            }
        }
    }
    return true;
}

static bool make_directory(plan *p)
{
    struct stat st;
    if (!p->directory || (stat(p->directory, &st) == 0 && S_ISDIR(st.st_mode))) {
        return true;
    }
    if (mkdir(p->directory, 0777) != 0) {
        msg_error(S24_ERR_SYSTEM, "%s: cannot make the directory: %s", p->directory, strerror(errno));
        return false;
    }
    p->made = true;
    return true;
}

static void plan_free(plan *p, size_t count)
{
    if (p->made) {
        rmdir(p->directory); /* fails, as it should, unless nothing was written */
    }
    for (size_t i = 0; p->outputs && i < count; i++) {
        free(p->outputs[i]);
    }
    free(p->outputs);
}

/* ---------------------------------------------------------------- work */

static void prune_one(const context *c, const prune_options *o, const plan *p, size_t i, report_writer *reports)
{
    s24_prune_request request = {
        .input = c->files[i], .read = o->read, .output = o->dry_run ? NULL : p->outputs[i], .to = p->to,
        .directory = becomes_directory(o, p, c->files[i]), .shard = o->shards.which, .shards = o->shards.of,
        .method = o->criterion.method, .plan = o->plan, .refit = o->criterion.refit, .transposable = o->criterion.transposable,
        .permute = o->criterion.permute, .permute_with = o->permute_with, .permute_with_count = o->permute_with_count,
        .dtype = o->storage.dtype, .scale_group = storage_scale_group(&o->storage),
        .selection = selection_of(&o->selection), .allow_nonfinite = o->allow_nonfinite, .packing = o->packing,
    };
    memcpy(request.second, o->criterion.second, sizeof request.second);
    s24_io io = c->io;
    s24_report report = {0};
    s24_error err = {0};
    io.force = o->force;
    progress_start(c->files[i]);
    const s24_status status = s24_prune_file(&io, &request, &report, &err);
    progress_stop();
    if (status != S24_OK) {
        msg_failure(&err);
    }
    if (status == S24_OK && report.count == 0 && o->shards.of) {
        msg_warn("%s: none of its files is in share %u of %u", c->files[i], o->shards.which, o->shards.of);
    }
    /* Of nothing to do the report says why: that is for who wants to know more than the error. */
    if (report.count && (status != S24_ERR_NOTHING || reports->full || c->globals->json)) {
        report_file(reports, &report, status != S24_OK ? NULL : path_is_std(p->outputs[i]) ? "standard output"
                                                                                         : p->outputs[i]);
    }
    s24_report_free(&report);
}

static void prune_all(const context *c, const prune_options *o, const plan *p)
{
    const globals *g = c->globals;
    const bool binary = !o->dry_run && path_is_std(p->outputs[0]);
    const bool both = g->json && binary; /* the report takes the place of the text on stderr */
    report_writer reports = {
        .views = {{stderr, g->quiet || both ? REPORT_NONE : REPORT_TEXT},
                  {binary ? stderr : stdout, g->json ? REPORT_JSON : REPORT_NONE}},
        .full = g->verbose || o->dry_run, .forecast = o->dry_run,
    };
    report_begin(&reports);
    for (size_t i = 0; i < c->file_count && !*signals_flag(); i++) {
        prune_one(c, o, p, i, &reports);
        msg_flush_stdout();
    }
    report_end(&reports);
}

static void run(const context *c, const void *options)
{
    const prune_options *o = options;
    plan p = {0};
    if (check_plan(c, o) && storage_check(c->command->name, &o->storage) && check_several(c, o) && find_target(c, o, &p) &&
        find_outputs(c, o, &p) &&
        (o->dry_run || make_directory(&p))) {
        prune_all(c, o, &p);
    }
    plan_free(&p, c->file_count);
}

const command cmd_prune = {
    .name = "prune",
    .synopsis = "[OPTION...] IN... [-o OUT]",
    .summary = "Prune the tensors of a weights file to 2:4.",
    .more = "A lone array (.npy, raw, a JSON list) is pruned, whatever its shape. Of a model,\n"
            "the tensors of floats or i8, of rank 2 or more, whose pruned axis is a multiple\n"
            "of 4, but not embeddings, norms, biases and output heads: 's24 inspect' says\n"
            "which, and why not the others; --include selects also, not only.\n\n"
            "  s24 prune model.safetensors -o model.s24\n"
            "  s24 prune w.npy --dtype f16\n"
            "  s24 prune model.safetensors --dtype i8 --group-size 128\n"
            "  s24 prune model.safetensors -z9 -o model.s24\n"
            "  s24 prune w.raw --from raw --raw-dtype f32 --shape 4096,4096 -o w.s24\n"
            "  s24 prune gpt2.safetensors --axis 'h.*.weight=0' -n\n"
            "  s24 prune checkpoint/ -o pruned/ --to same\n"
            "  s24 prune checkpoint/ -o pruned/ --shards 3/8\n",
    .groups = prune_groups,
    .defaults = &(const prune_options){.storage.dtype = S24_SAME},
    .options_size = sizeof(prune_options),
    .least = 1, .most = SIZE_MAX,
    .operand = "the input",
    .run = run,
};
