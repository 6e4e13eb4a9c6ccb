#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "panel.h"
#include "second.h"

/* ---------------------------------------------------------------- values */

static const char *choice_isa(size_t i)
{
    return i < S24_ISAS ? s24_isa_name((s24_isa)i) : NULL;
}

const char *choice_input_format(size_t i)
{
    for (size_t f = 0; s24_formats[f]; f++) {
        if (s24_formats[f]->open && i-- == 0) {
            return s24_formats[f]->name;
        }
    }
    return NULL;
}

const char *choice_any_output(size_t i)
{
    for (size_t f = 0; s24_formats[f]; f++) {
        if ((s24_formats[f] == &s24_format_s24 || s24_formats[f]->create) && i-- == 0) {
            return s24_formats[f]->name;
        }
    }
    return NULL;
}

const char *choice_dtype(size_t i)
{
    return i + S24_F64 < S24_DTYPES ? s24_dtype_name((s24_dtype)(i + S24_F64)) : NULL;
}

const char *choice_stored_dtype(size_t i)
{
    if (i == 0) {
        return "same";
    }
    for (size_t d = 0; d < S24_DTYPES; d++) {
        if (s24_dtype_prunable((s24_dtype)d) && --i == 0) {
            return s24_dtype_name((s24_dtype)d);
        }
    }
    return NULL;
}

const char *choice_method(size_t i)
{
    return i < S24_METHODS ? s24_methods[i].name : NULL;
}

bool set_dtype(args *a, const args_option *option, void *target, const char *value)
{
    (void)a, (void)option;
    return strcmp(value, "same") == 0 ? *(s24_dtype *)target = S24_SAME, true : s24_dtype_parse(value, target);
}

/* ---------------------------------------------------------------- global */

static bool set_isa(args *a, const args_option *option, void *target, const char *value)
{
    globals *g = target;
    (void)a, (void)option;
    return s24_isa_parse(value, &g->isa);
}

static const char *const color_words[] = {"auto", "always", "never", NULL}; /* as color_mode */
static const char *const progress_words[] = {"auto", "never", NULL};

#define GLOBAL(field) offsetof(globals, field)
const args_option global_options[] = {
    {.name = "help", .letter = 'h', .help = "Print this help and exit.", .set = args_set_last_flag,
     .offset = GLOBAL(help)},
    {.name = "version", .letter = 'V', .help = "Print the version and exit; with -v also what this machine has.",
     .set = args_set_flag, .offset = GLOBAL(version)},
    {.name = "verbose", .letter = 'v', .help = "Say more: what was left out and why, how the axis was chosen.",
     .set = args_set_flag, .offset = GLOBAL(verbose)},
    {.name = "quiet", .letter = 'q', .help = "Say nothing but errors.", .set = args_set_flag, .offset = GLOBAL(quiet)},
    {.name = "json", .help = "Print the report as JSON.", .set = args_set_flag, .offset = GLOBAL(json)},
    {.name = "threads", .letter = 'T', .value = "N", .set = args_set_unsigned, .offset = GLOBAL(threads),
     .help = "Use N threads; 0, the default, is one for every CPU that this process may use."},
    {.name = "isa", .value = "NAME", .set = set_isa, .choice = choice_isa,
     .help = "Use no instruction set beyond NAME: generic, neon, avx2, avx512, amx or best. Results do not depend on it."},
    {.name = "no-sync", .set = args_set_flag, .offset = GLOBAL(no_sync),
     .help = "Do not wait until outputs are on the disk: faster, and not safe against a crash of the machine."},
    {.name = "color", .value = "WHEN", .set = args_set_word, .offset = GLOBAL(color), .words = color_words,
     .help = "Colour the text: auto (on terminals, unless NO_COLOR is set), always or never."},
    {.name = "progress", .value = "WHEN", .set = args_set_word, .offset = GLOBAL(no_progress), .words = progress_words,
     .help = "Show a progress bar: auto (on terminals, after a second) or never."},
    {.name = NULL},
};

/* ---------------------------------------------------------------- input */

static bool set_raw_dtype(args *a, const args_option *option, void *target, const char *value)
{
    s24_read_options *read = target;
    (void)a, (void)option;
    read->has_dtype = true;
    return s24_dtype_parse(value, &read->dtype);
}

/* "4096,4096"; "" is a scalar */
static bool set_shape(args *a, const args_option *option, void *target, const char *value)
{
    s24_read_options *read = target;
    const char *p = value;
    read->has_shape = true;
    for (read->rank = 0; *p; read->rank++) {
        uint64_t n;
        if (read->rank == S24_MAX_RANK) {
            return args_refuse(a, option, value, "more than 64 dimensions");
        }
        if ((read->rank && *p++ != ',') || !args_parse_u64(p, &p, &n) || n > SIZE_MAX) {
            return args_refuse(a, option, value, "not a list of whole numbers such as 4096,4096");
        }
        read->shape[read->rank] = (size_t)n;
    }
    return true;
}

static const char *const endian_words[] = {"little", "big", NULL};

static bool set_endian(args *a, const args_option *option, void *target, const char *value)
{
    (void)a, (void)option;
    *(bool *)target = strcmp(value, "big") == 0;
    return true;
}

#define READ(field) offsetof(s24_read_options, field)
const args_option read_options[] = {
    {.name = "from", .value = "TYPE", .set = args_set_string, .offset = READ(format), .choice = choice_input_format,
     .help = "Read the input as TYPE, whatever it looks like: npy, npz, safetensors, json, raw or s24."},
    {.name = "raw-dtype", .value = "DTYPE", .set = set_raw_dtype, .choice = choice_dtype,
     .help = "Raw data are of DTYPE, such as f32, bf16 or i8; also an .npy file that does not tell its 8-bit float."},
    {.name = "shape", .value = "N,N...", .set = set_shape, .help = "Raw data have this shape, such as 4096,4096."},
    {.name = "offset", .value = "N", .set = args_set_u64, .offset = READ(offset),
     .help = "Raw data begin N bytes into the file."},
    {.name = "endian", .value = "ORDER", .set = set_endian, .offset = READ(big_endian), .words = endian_words,
     .help = "Raw data are in this byte order: little, the default, or big."},
    {.name = NULL},
};

/* ---------------------------------------------------------------- packing */

static bool set_level(args *a, const args_option *option, void *target, const char *value)
{
    int *level = target;
    if (value && (value[0] < '1' || value[0] > '9' || value[1])) {
        return args_refuse(a, option, value, "not a level from 1 to 9");
    }
    *level = value ? value[0] - '0' : S24_ARCHIVE_LEVEL;
    return true;
}

const args_option packing_options[] = {
    {.name = "archive", .letter = 'z', .value = "LEVEL", .optional = true, .set = set_level,
     .offset = offsetof(s24_packing, level),
     .help = "Write an archive: a .s24 that is smaller still and unpacks to the plain one, byte for byte. LEVEL, right "
             "behind -z, is 1 (fast) to 9 (small); 5 if it is left out."},
    {.name = NULL},
};

/* ---------------------------------------------------------------- selection */

static bool parse_axis(const char *s, int *axis)
{
    const char *end;
    uint64_t n;
    const bool negative = *s == '-';
    if (strcmp(s, "auto") == 0) {
        *axis = S24_AXIS_AUTO;
        return true;
    }
    if (!args_parse_u64(s + negative, &end, &n) || *end || n > S24_MAX_RANK) {
        return false;
    }
    *axis = negative ? -(int)n : (int)n;
    return !negative || n;
}

/* "-1" or "h.*.c_fc=0"; a name may have an equals sign itself, an axis has none. */
static bool set_axis(args *a, const args_option *option, void *target, const char *value)
{
    selection *s = target;
    s24_axis_rule rule = {0};
    const char *equals = strrchr(value, '=');
    if (!parse_axis(equals ? equals + 1 : value, &rule.axis)) {
        return args_refuse(a, option, value, "not auto, a number from -64 to 64, or GLOB=NUMBER");
    }
    if (equals) {
        const size_t n = (size_t)(equals - value);
        rule.glob = memcpy(args_alloc(a, n + 1, 1), value, n);
    }
    if (!s->axes) {
        s->axes = args_alloc(a, (size_t)a->argc, sizeof *s->axes);
    }
    s->axes[s->axis_count++] = rule;
    return true;
}

#define SELECT(field) offsetof(selection, field)
const args_option selection_options[] = {
    {.name = "axis", .value = "AXIS", .set = set_axis,
     .help = "Groups of four run along this axis: auto, a number (negative: from the end), or GLOB=NUMBER for the "
             "tensors whose names match. Repeatable; the last that matches counts."},
    {.name = "include", .letter = 'i', .value = "GLOB", .set = args_set_list, .offset = SELECT(include),
     .help = "Select the tensors whose names match, beyond the rule for models. Repeatable."},
    {.name = "exclude", .letter = 'x', .value = "GLOB", .set = args_set_list, .offset = SELECT(exclude),
     .help = "Leave out the tensors whose names match, whatever selects them. Repeatable."},
    {.name = "all", .set = args_set_flag, .offset = SELECT(all),
     .help = "Select every tensor of floats, of any rank and name."},
    {.name = NULL},
};

s24_selection selection_of(const selection *s)
{
    return (s24_selection){
        .include = s->include.items, .include_count = s->include.count,
        .exclude = s->exclude.items, .exclude_count = s->exclude.count,
        .axes = s->axes, .axis_count = s->axis_count,
        .all = s->all,
    };
}

/* ---------------------------------------------------------------- criterion */

#define CRITERION(field) offsetof(criterion, field)
const args_option criterion_options[] = {
    {.name = "method", .value = "NAME", .set = args_set_string, .offset = CRITERION(method), .choice = choice_method,
     .help = "Choose by magnitude |w|; by gradient |w g|; by the given scores; by wanda or ria, which know the layer's inputs; or "
             "by sparsegpt or obs, which also fit the kept weights to them. Default: what the files below are for, the best "
             "there is with each (obs with activations), and magnitude without any."},
    {.name = "gradients", .value = "FILE", .set = args_set_string, .offset = CRITERION(second[S24_GRADIENTS]), .file = true,
     .help = "The gradients g for --method gradient: tensors of the same names and shapes."},
    {.name = "scores", .value = "FILE", .set = args_set_string, .offset = CRITERION(second[S24_SCORES]), .file = true,
     .help = "Scores of your own, of the same names and shapes: the two greatest of a group are kept."},
    {.name = "activations", .value = "FILE", .set = args_set_string, .offset = CRITERION(second[S24_ACTIVATIONS]), .file = true,
     .help = "Calibration inputs of each layer, under the names of its weights: samples x K."},
    {.name = "hessian", .value = "FILE", .set = args_set_string, .offset = CRITERION(second[S24_HESSIAN]), .file = true,
     .help = "In place of activations X the products X'X, up to a factor: K x K."},
    {.name = "norms", .value = "FILE", .set = args_set_string, .offset = CRITERION(second[S24_NORMS]), .file = true,
     .help = "In place of activations, for wanda and ria, the norms of the columns of X: K."},
    {.name = "refit", .set = args_set_flag, .offset = CRITERION(refit),
     .help = "Whatever chose them, fit the kept weights to the activations, or the hessian, by least squares."},
    {.name = "transposable", .set = args_set_flag, .offset = CRITERION(transposable),
     .help = "Keep two of four in both directions: in each block of 4 x 4 the best of all masks with two a row and two a "
             "column. By magnitude or wanda."},
    {.name = "permute", .set = args_set_flag, .offset = CRITERION(permute),
     .help = "Search an order of the columns of each tensor in which 2:4 keeps more. The order is stored, and undone when "
             "the .s24 is decompressed."},
    {.name = NULL},
};

const char *criterion_method(const char *command, const criterion *c)
{
    const s24_method *method;
    s24_error err = {0};
    if (s24_seconds_method(c->method, c->second, c->refit, c->transposable, &method, &err) != S24_OK) {
        args_usage(command, "%s", err.message);
        return NULL;
    }
    return method->name;
}

/* ---------------------------------------------------------------- storage */

/* Columns that share a scale. */
static const char *const group_size_words[] = {"0", "128", NULL};
static const size_t group_sizes[] = {0, S24_SCALE_GROUP};

#define STORAGE(field) offsetof(storage, field)
const args_option storage_options[] = {
    {.name = "dtype", .value = "DTYPE", .set = set_dtype, .offset = STORAGE(dtype), .choice = choice_stored_dtype,
     .help = "Store the kept values as DTYPE, rounded to nearest: f64, f32, f16 or bf16, or with a scale for each row i8, "
             "f8e4m3 or f8e5m2. Default: same, as they are."},
    {.name = "group-size", .value = "N", .set = args_set_word, .offset = STORAGE(group_size), .words = group_size_words,
     .help = "With --dtype i8, f8e4m3 or f8e5m2: a scale for every N columns of a row, 128, or 0: for a whole row, the "
             "default."},
    {.name = NULL},
};

bool storage_check(const char *command, const storage *s)
{
    if (s->group_size && !s24_dtype_scaled(S24_F64, s->dtype)) {
        args_usage(command, "--group-size goes with --dtype i8, f8e4m3 or f8e5m2, which have scales");
        return false;
    }
    return true;
}

size_t storage_scale_group(const storage *s)
{
    return group_sizes[s->group_size];
}
