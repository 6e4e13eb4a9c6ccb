/*
 * write.c - writes the golden files from their inputs, with the library as it is: write INPUTS OUTPUTS, two
 * directories. The command has no option for the sizes of panels, which some of them need tiny.
 */
#include <stdio.h>

#include "s24io.h"

typedef struct golden {
    const char *name, *suffix;
    s24_prune_request request; /* without paths */
} golden;

static const s24_axis_rule first_axis[] = {{NULL, 0}};

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
    {"gradient", ".json", {.dtype = S24_SAME, .method = "gradient", .gradients = ".gradients.npy"}},
    {"fortran", ".npy", {.dtype = S24_SAME}},
};

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
        snprintf(gradients, sizeof gradients, "%s/%s%s", argv[1], g->name, request.gradients ? request.gradients : "");
        snprintf(output, sizeof output, "%s/%s.s24", argv[2], g->name);
        request.input = input;
        request.output = output;
        request.gradients = request.gradients ? gradients : NULL;
        if (s24_prune_file(&io, &request, NULL, &error) != S24_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
    }
    return 0;
}
