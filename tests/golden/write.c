/*
 * write.c - writes the golden files from their inputs, with the library as it is: write INPUTS OUTPUTS, two
 * directories. The command has no option for the sizes of panels, which some of them need tiny.
 */
#include <stdio.h>
#include <string.h>

#include "s24io.h"

typedef struct golden {
    const char *name, *suffix;
    s24_prune_request request; /* without paths; method "packed": not pruned but converted; "permuted": see write_permuted */
} golden;

static const s24_axis_rule first_axis[] = {{NULL, 0}};

static const s24_axis_rule axes[] = {{NULL, 0}, {"cube", 1}};
static const s24_axis_rule npz_axes[] = {{"a", 0}};
static const char *const i8_name[] = {"i8"}, *const npz_names[] = {"a"};

static const golden files[] = {
    {"matrix", ".npy", {.dtype = S24_SAME}},
    {"tails", ".safetensors", {.dtype = S24_SAME, .selection = {.all = true}}},
    {"columns", ".npy", {.dtype = S24_SAME, .selection = {.axes = first_axis, .axis_count = 1}}},
    {"model", ".safetensors", {.dtype = S24_SAME, .panel_groups = 8, .panel_bytes = 64}},
    {"i8", ".npy", {.dtype = S24_SAME}},
    {"scalar", ".npy", {.dtype = S24_SAME}},
    {"nothing", ".safetensors", {.dtype = S24_SAME, .selection = {.all = true}}},
    {"panels", ".safetensors", {.dtype = S24_SAME, .selection = {.all = true}, .panel_groups = 4, .panel_bytes = 128}},
    {"narrow", ".npy", {.dtype = S24_F16}},
    {"nonfinite", ".npy", {.dtype = S24_SAME, .allow_nonfinite = true}},
    {"gradient", ".json", {.dtype = S24_SAME, .method = "gradient", .second = {[S24_GRADIENTS] = ".gradients.npy"}}},
    {"fortran", ".npy", {.dtype = S24_SAME}},
    {"axes", ".safetensors", {.dtype = S24_SAME, .selection = {.axes = axes, .axis_count = 2, .all = true,
                                                               .include = i8_name, .include_count = 1}}},
    {"carried", ".safetensors", {.dtype = S24_SAME}},
    {"rounded", ".npy", {.dtype = S24_BF16}},
    {"packed", ".npy", {.method = "packed"}},
    {"scales", ".npy", {.dtype = S24_I8}},
    {"scales128", ".safetensors", {.dtype = S24_F8E4M3, .scale_group = 128, .panel_groups = 32, .selection = {.all = true}}},
    {"scales-e5m2", ".npy", {.dtype = S24_F8E5M2}},
    {"scales-nothing", ".safetensors", {.dtype = S24_I8, .selection = {.all = true}}},
    {"permuted", ".npy", {.dtype = S24_SAME, .method = "permuted"}},
    {"permuted-scales", ".npy", {.dtype = S24_I8, .method = "permuted"}},
    {"npz", ".npz", {.dtype = S24_SAME, .selection = {.axes = npz_axes, .axis_count = 1, .include = npz_names,
                                                      .include_count = 1}}},
    {"raw", ".raw", {.dtype = S24_SAME, .read = {.format = "raw", .has_dtype = true, .dtype = S24_F16, .has_shape = true,
                                                 .rank = 2, .shape = {2, 8}, .offset = 6, .big_endian = true}}},
};

/* A matrix whose column (5 i + 3) mod K stands at place i. */
static s24_status write_permuted(const s24_prune_request *request, s24_error *error)
{
    int32_t order[16];
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_prune_metrics metrics;
    s24_array array;
    s24_tensor *tensor;
    s24_status status = s24_array_load(request->input, NULL, &array, error);
    if (status != S24_OK) {
        return status;
    }
    for (size_t i = 0; i < array.shape[1]; i++) {
        order[i] = (int32_t)((5 * i + 3) % array.shape[1]);
    }
    o.dtype = request->dtype;
    o.permutation = order;
    const s24_dense view = {.data = array.data, .dtype = array.dtype, .rank = array.rank, .shape = array.shape};
    status = s24_prune_magnitude(&view, &o, &tensor, &metrics, error);
    if (status == S24_OK) {
        status = s24_tensor_save(request->output, NULL, tensor, "magnitude", &metrics, error);
        s24_tensor_free(tensor);
    }
    s24_array_free(&array);
    return status;
}

/* Made of those above: "archive-NAME.s24". Frames are tiny, so that there are several. */
static const struct {
    const char *name;
    s24_packing packing;
} archives[] = {
    {"matrix", {.level = 5}},
    {"model", {.level = 5, .frame_bytes = 100}},
    {"panels", {.level = 9, .frame_bytes = 1}},
    {"carried", {.level = 1, .frame_bytes = 300}},
    {"axes", {.level = 5}},
    {"nothing", {.level = 5}},
    {"scales", {.level = 5, .frame_bytes = 100}},
    {"permuted", {.level = 5}},
};

static int write_archives(const s24_io *io, const char *directory)
{
    for (size_t i = 0; i < sizeof archives / sizeof *archives; i++) {
        char input[4096], output[4096];
        s24_error error;
        snprintf(input, sizeof input, "%s/%s.s24", directory, archives[i].name);
        snprintf(output, sizeof output, "%s/archive-%s.s24", directory, archives[i].name);
        const s24_convert_request q = {.input = input, .output = output, .packing = archives[i].packing};
        if (s24_convert_file(io, &q, NULL, &error) != S24_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const s24_io io = {.no_sync = true};
    if (argc != 3) {
        fprintf(stderr, "usage: write INPUTS OUTPUTS\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const golden *g = &files[i];
        s24_prune_request request = g->request;
        char input[4096], gradients[4096], output[4096];
        s24_error error;
        snprintf(input, sizeof input, "%s/%s%s", argv[1], g->name, g->suffix);
        snprintf(gradients, sizeof gradients, "%s/%s%s", argv[1], g->name, request.second[S24_GRADIENTS] ? request.second[S24_GRADIENTS] : "");
        snprintf(output, sizeof output, "%s/%s.s24", argv[2], g->name);
        request.input = input;
        request.output = output;
        request.second[S24_GRADIENTS] = request.second[S24_GRADIENTS] ? gradients : NULL;
        const s24_convert_request pack = {.input = input, .output = output};
        const bool convert = request.method && strcmp(request.method, "packed") == 0;
        const bool permuted = request.method && strcmp(request.method, "permuted") == 0;
        const s24_status status = permuted ? write_permuted(&request, &error)
                                : convert ? s24_convert_file(&io, &pack, NULL, &error)
                                          : s24_prune_file(&io, &request, NULL, &error);
        if (status != S24_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
    }
    return write_archives(&io, argv[2]);
}
