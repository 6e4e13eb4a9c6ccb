/* s24 decompress: a .s24 back to a dense file. */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "format.h"
#include "msg.h"
#include "names.h"
#include "paths.h"
#include "progress.h"
#include "signals.h"

typedef struct decompress_options {
    const char *output, *to, *tensor;
    s24_dtype dtype;
    bool salvage, force;
} decompress_options;

static const char *choice_to(size_t i)
{
    if (i == 0) {
        return "same";
    }
    for (size_t f = 0; s24_formats[f]; f++) {
        if (s24_formats[f]->create && !s24_formats[f]->unfit && --i == 0) { /* dense ones: others are convert's */
            return s24_formats[f]->name;
        }
    }
    return NULL;
}

#define DECOMPRESS(field) offsetof(decompress_options, field)
static const args_option decompress_rows[] = {
    {.name = "output", .letter = 'o', .value = "OUT", .set = args_set_string, .offset = DECOMPRESS(output),
     .file = true, .help = "Write to OUT, or to standard output if that is \"-\". Without this, beside the input, with "
                           "the suffix of its type."},
    {.name = "to", .value = "TYPE", .set = args_set_string, .offset = DECOMPRESS(to), .choice = choice_to,
     .help = "Write TYPE: npy, npz, safetensors, json, raw, or same, the type that was pruned. Without this OUT's suffix "
             "decides, and same where that says nothing."},
    {.name = "tensor", .value = "NAME", .set = args_set_string, .offset = DECOMPRESS(tensor),
     .help = "Only the tensor of this name."},
    {.name = "dtype", .value = "DTYPE", .set = set_dtype, .offset = DECOMPRESS(dtype), .choice = choice_stored_dtype,
     .help = "Give the pruned tensors back as DTYPE. Default: same, as they were before they were pruned."},
    {.name = "salvage", .set = args_set_flag, .offset = DECOMPRESS(salvage),
     .help = "Of a damaged file, write what is whole; lost elements are NaN, or 0 for integers. Exits with status 3 "
             "when something was lost."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = DECOMPRESS(force),
     .help = "Replace an existing output."},
    {.name = NULL},
};

static const args_group decompress_groups[] = {{"Options", decompress_rows, 0}, {NULL, NULL, 0}};

/* The format that the tensors of a .s24 came from; false: it cannot be read, and that has been told. */
static bool find_container(const context *c, const decompress_options *o, const char *input, const char **format)
{
    const s24_stats_request q = {.input = input, .read = {.format = o->salvage ? "s24" : NULL, .salvage = o->salvage}, .header_only = true};
    s24_report report = {0};
    s24_error err = {0};
    *format = NULL;
    if (s24_stats_file(&c->io, &q, &report, &err) != S24_OK) {
        msg_failure(&err);
        return false;
    }
    /* What is no .s24 goes on, too: decompress says what it is and what to do. */
    const s24_format *f = s24_format_by_name(report.container);
    *format = f && f->create ? f->name : NULL;
    s24_report_free(&report);
    return true;
}

/* The caller frees it; NULL: told. */
static char *find_output(const context *c, const decompress_options *o, const char *input)
{
    const char *format = o->to && strcmp(o->to, "same") != 0 ? o->to : NULL;
    if (o->output) {
        return strdup(o->output);
    }
    if (path_is_std(input)) {
        return strdup("-");
    }
    if (!format && !find_container(c, o, input, &format)) {
        return NULL;
    }
    if (!format) {
        args_usage(c->command->name, "'%s' does not say which type it was; give --output", input);
        return NULL;
    }
    char *output = path_beside(input, format);
    if (!output) {
        args_usage(c->command->name, "'%s' does not say what the output shall be called; give --output", input);
    }
    return output;
}

/* A checkpoint of .s24 files that no single file was asked for. */
static bool becomes_directory(const decompress_options *o, const char *input)
{
    return path_is_checkpoint(input) && o->output && path_for_checkpoint(o->output) && !o->tensor;
}

/* false: a usage error, told. */
static bool find_type(const context *c, const decompress_options *o, const char **to)
{
    *to = o->to;
    if (o->to || !o->output || path_is_std(o->output) || becomes_directory(o, c->files[0])) {
        return true;
    }
    const path_suffix says = path_format(o->output, to);
    if (says == PATH_SAYS_FOREIGN || (says == PATH_SAYS && !s24_format_by_name(*to)->create)) {
        args_usage(c->command->name, "--output '%s': not a type to decompress to; --to says which it shall be",
                   o->output);
        return false;
    }
    return true;
}

static void on_lost(void *user, const char *message)
{
    (void)user;
    msg_warn("%s", message);
}

static void run(const context *c, const void *options)
{
    const decompress_options *o = options;
    const char *to;
    char *output = find_type(c, o, &to) ? find_output(c, o, c->files[0]) : NULL;
    if (!output) {
        return;
    }
    const s24_decompress_request request = {
        .input = c->files[0], .output = output, .directory = becomes_directory(o, c->files[0]), .to = to, .tensor = o->tensor, .dtype = o->dtype,
        .salvage = o->salvage, .lost = on_lost,
    };
    s24_io io = c->io;
    s24_error err = {0};
    io.force = o->force;
    progress_start(c->files[0]);
    const s24_status status = s24_decompress_file(&io, &request, &err);
    progress_stop();
    if (status != S24_OK) {
        names_failure(c, c->files[0], o->tensor, &err);
    } else {
        msg_note("%s -> %s", c->files[0], output);
    }
    free(output);
}

const command cmd_decompress = {
    .name = "decompress",
    .synopsis = "[OPTION...] IN.s24 [-o OUT]",
    .summary = "Turn a .s24 back into a dense file.",
    .more = "  s24 decompress model.s24 -o model.safetensors\n"
            "  s24 decompress pruned/ -o dense/\n"
            "  s24 decompress model.s24 --tensor fc1.weight -o fc1.npy\n"
            "  s24 decompress damaged.s24 --salvage -o rescued.safetensors\n",
    .groups = decompress_groups,
    .defaults = &(const decompress_options){.dtype = S24_SAME},
    .options_size = sizeof(decompress_options),
    .least = 1, .most = 1,
    .operand = "the .s24",
    .run = run,
};
