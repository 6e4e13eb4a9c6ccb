/* s24 convert: between layouts, without loss. */
#include <string.h>

#include "command.h"
#include "format.h"
#include "msg.h"
#include "paths.h"
#include "progress.h"
#include "report.h"

typedef struct convert_options {
    const char *output, *to;
    bool force;
    s24_packing packing;
    s24_read_options read;
    selection selection;
} convert_options;

#define CONVERT(field) offsetof(convert_options, field)
static const args_option convert_rows[] = {
    {.name = "output", .letter = 'o', .value = "OUT", .set = args_set_string, .offset = CONVERT(output), .file = true,
     .help = "Write to OUT, or to standard output if that is \"-\"."},
    {.name = "to", .value = "TYPE", .set = args_set_string, .offset = CONVERT(to), .choice = choice_any_output,
     .help = "Write TYPE: s24; npy, npz, safetensors, json or raw, dense with zeros; sparse-24-bitmask, as "
             "compressed-tensors had it; cutlass, as PyTorch hands it to CUTLASS. Without this OUT's suffix decides, and "
             "s24 where that says nothing."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = CONVERT(force), .help = "Replace an existing output."},
    {.name = NULL},
};

static const args_group convert_groups[] = {
    {"Options", convert_rows, 0},
    {"How a .s24 is written", packing_options, CONVERT(packing)},
    {"Which tensors of a dense file", selection_options, CONVERT(selection)},
    {"Input", read_options, CONVERT(read)},
    {NULL, NULL, 0},
};

static bool becomes_directory(const context *c, const convert_options *o)
{
    return path_is_checkpoint(c->files[0]) && path_for_checkpoint(o->output);
}

/* false: a usage error, told. */
static bool find_type(const context *c, const convert_options *o, const char **to)
{
    if (!o->output) {
        args_usage(c->command->name, "give --output: where the result goes");
        return false;
    }
    *to = o->to;
    if (!*to && !path_is_std(o->output) && !becomes_directory(c, o) && path_format(o->output, to) == PATH_SAYS_FOREIGN) {
        args_usage(c->command->name, "--output '%s': s24 does not write that type; --to says which it shall be", o->output);
        return false;
    }
    *to = *to ? *to : "s24";
    if (o->packing.level && strcmp(*to, "s24") != 0) {
        args_usage(c->command->name, "--archive is for .s24 files, not for %s", *to);
        return false;
    }
    if (becomes_directory(c, o) && !path_format_of_shards(*to)) {
        args_usage(c->command->name, "--to %s: a checkpoint's directory holds .safetensors or .s24 files; name one file "
                   "as --output", *to);
        return false;
    }
    return true;
}

/* output: NULL when there is none. */
static void report(const context *c, const char *output, s24_report *done)
{
    const globals *g = c->globals;
    const bool binary = output && path_is_std(output), both = g->json && binary;
    report_writer reports = {
        .views = {{stderr, g->quiet || both ? REPORT_NONE : REPORT_TEXT},
                  {binary ? stderr : stdout, g->json ? REPORT_JSON : REPORT_NONE}},
        .full = g->verbose,
    };
    report_begin(&reports);
    report_file(&reports, done, !output ? NULL : binary ? "standard output" : output);
    report_end(&reports);
}

/* Dense, a tensor that was permuted is not 2:4, which is what one converts for. */
static void tell_orders(const char *input, const s24_report *done)
{
    const s24_report_tensor *first = NULL;
    size_t more = 0;
    for (size_t i = 0; i < done->count; i++) {
        more += first && done->tensors[i].permuted;
        first = !first && done->tensors[i].permuted ? &done->tensors[i] : first;
    }
    if (first && more) {
        msg_warn("%s: %s and %zu more are 2:4 in another order of their columns, which is undone; only a .s24 keeps it", input,
                 first->name, more);
    } else if (first) {
        msg_warn("%s: %s%sis 2:4 in another order of its columns, which is undone; only a .s24 keeps it", input,
                 report_name(first), *report_name(first) ? " " : "");
    }
}

static void run(const context *c, const void *options)
{
    const convert_options *o = options;
    const char *to;
    if (!find_type(c, o, &to)) {
        return;
    }
    const s24_convert_request request = {
        .input = c->files[0], .read = o->read, .output = o->output, .directory = becomes_directory(c, o), .to = to,
        .selection = selection_of(&o->selection), .packing = o->packing,
    };
    s24_io io = c->io;
    s24_report done = {0};
    s24_error err = {0};
    io.force = o->force;
    progress_start(c->files[0]);
    const s24_status status = s24_convert_file(&io, &request, &done, &err);
    progress_stop();
    if (status != S24_OK) {
        msg_failure(&err);
    }
    if (status == S24_OK && strcmp(to, "s24") != 0) {
        tell_orders(c->files[0], &done);
    }
    if (done.count && (status == S24_OK || c->globals->verbose || c->globals->json)) {
        report(c, status == S24_OK ? o->output : NULL, &done);
    }
    s24_report_free(&done);
}

const command cmd_convert = {
    .name = "convert",
    .synopsis = "[OPTION...] IN -o OUT",
    .summary = "Change the layout of a file and nothing else: what is 2:4 already is packed, or unpacked.",
    .more = "Of a dense file the tensors that prune would select are packed if they are 2:4;\n"
            "those that are not stay dense, and -v says where they fail. One that --include\n"
            "names must be 2:4.\n\n"
            "  s24 convert pruned-elsewhere.safetensors -o model.s24\n"
            "  s24 convert model.s24 -z -o small.s24\n"
            "  s24 convert small.s24 -o model.s24\n"
            "  s24 convert model.s24 --to sparse-24-bitmask -o model.safetensors\n"
            "  s24 convert old-checkpoint/ -o dense/ --to safetensors\n"
            "  s24 convert model.s24 --to cutlass -o packed.safetensors\n",
    .groups = convert_groups,
    .options_size = sizeof(convert_options),
    .least = 1, .most = 1,
    .operand = "the input",
    .run = run,
};
