/* Requests that cannot be met: the status, what the message names, and that nothing is written. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char directory[] = "/tmp/s24-test-XXXXXX";
static const s24_io io = {.no_sync = true, .threads = 1};

typedef struct tensor {
    const char *name;
    s24_dtype dtype;
    int rank;
    size_t shape[2];
} tensor;

static void make(const char *path, const s24_format *format, const tensor *tensors, size_t count)
{
    s24_contents plan = {0};
    s24_output *out;
    s24_sink *sink;
    s24_error err;
    static const unsigned char zeros[4096];
    for (size_t i = 0; i < count; i++) {
        ck_assert_ptr_nonnull(s24_contents_add(&plan, tensors[i].name, tensors[i].dtype, tensors[i].rank, tensors[i].shape, &err));
    }
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, format, out, &plan, &err), S24_OK);
    for (size_t i = 0; i < count; i++) {
        const s24_entry *const e = &sink->contents.entries[i];
        const size_t elements = (size_t)e->bytes / s24_info(e->dtype)->bytes;
        const s24_status status = format->write ? format->write(sink, i, 0, elements, zeros, &err)
                                                : s24_output_write(sink->out, e->offset, zeros, (size_t)e->bytes, &err);
        ck_assert_msg(status == S24_OK, "%s", err.message);
    }
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
}

static void make_directory(void)
{
    static const tensor model[] = {{"w", S24_F32, 2, {4, 8}}, {"n", S24_I16, 1, {3}}}, other[] = {{"v", S24_F32, 2, {4, 8}}},
        turned[] = {{"w", S24_F32, 2, {8, 4}}}, flat[] = {{"w", S24_F32, 1, {32}}}, whole[] = {{"w", S24_I32, 2, {4, 8}}},
        eights[] = {{"w", S24_I8, 2, {4, 8}}}, lone[] = {{"", S24_F32, 2, {4, 8}}}, lone_turned[] = {{"", S24_F32, 2, {8, 4}}},
        lone_flat[] = {{"", S24_F32, 1, {32}}};
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    make("m.safetensors", &s24_format_safetensors, model, COUNT(model));
    make("other.safetensors", &s24_format_safetensors, other, 1);
    make("turned.safetensors", &s24_format_safetensors, turned, 1);
    make("flat.safetensors", &s24_format_safetensors, flat, 1);
    make("whole.safetensors", &s24_format_safetensors, whole, 1);
    make("eights.safetensors", &s24_format_safetensors, eights, 1);
    make("a.npy", &s24_format_npy, lone, 1);
    make("turned.npy", &s24_format_npy, lone_turned, 1);
    make("flat.npy", &s24_format_npy, lone_flat, 1);
    const s24_prune_request all[] = {{.input = "m.safetensors", .output = "m.s24", .dtype = S24_SAME},
                                     {.input = "eights.safetensors", .output = "eights.s24", .dtype = S24_SAME},
                                     {.input = "a.npy", .output = "a.s24", .dtype = S24_SAME}};
    for (size_t i = 0; i < COUNT(all); i++) {
        s24_error err;
        ck_assert_msg(s24_prune_file(&io, &all[i], NULL, &err) == S24_OK, "%s", err.message);
    }
}

static void remove_directory(void)
{
    static const char *const files[] = {"m.safetensors", "other.safetensors", "turned.safetensors", "flat.safetensors",
                                        "whole.safetensors", "eights.safetensors", "a.npy", "turned.npy", "flat.npy", "m.s24",
                                        "eights.s24", "a.s24", "tensor.s24"};
    for (size_t i = 0; i < COUNT(files); i++) {
        unlink(files[i]);
    }
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(directory), 0); /* nothing else is there */
}

static void refused(s24_status got, s24_status status, const s24_error *err, const char *message, const char *what)
{
    ck_assert_msg(got == status && err->status == status && strstr(err->message, message), "%s: %d, %s", what, got, err->message);
    ck_assert_msg(access("out", F_OK) != 0, "%s: there is an output", what);
}

/* ---------------------------------------------------------------- prune */

#define W "m.safetensors"
#define OUT .output = "out", .dtype = S24_SAME
static const struct {
    s24_prune_request q;
    s24_status status;
    const char *message;
} prunes[] = {
    {{.input = W, OUT, .method = "chance"}, S24_ERR_USAGE, "no such method: chance"},
    {{.input = W, OUT, .method = "gradient"}, S24_ERR_USAGE, "--method gradient needs --gradients FILE"},
    {{.input = W, OUT, .method = "magnitude", .second = {W}}, S24_ERR_USAGE, "--gradients is for --method gradient"},
    {{.input = W, OUT, .method = "gradient", .second = {"none"}}, S24_ERR_SYSTEM, "none: "},
    {{.input = W, OUT, .method = "gradient", .second = {"other.safetensors"}}, S24_ERR_DATA, "no gradients for tensor w"},
    {{.input = W, OUT, .method = "gradient", .second = {"turned.safetensors"}}, S24_ERR_DATA, "w: gradients have another shape"},
    {{.input = W, OUT, .method = "gradient", .second = {"flat.safetensors"}}, S24_ERR_DATA, "w: gradients have another shape"},
    {{.input = W, OUT, .method = "gradient", .second = {"whole.safetensors"}}, S24_ERR_DATA, "w: gradients of dtype i32"},
    {{.input = W, OUT, .method = "gradient", .second = {"a.npy"}}, S24_ERR_DATA, "no gradients for tensor w"},
    {{.input = "a.npy", OUT, .method = "gradient", .second = {W}}, S24_ERR_DATA, "m.safetensors: no gradients for an array without a name"},
    {{.input = "a.npy", OUT, .method = "gradient", .second = {"turned.npy"}}, S24_ERR_DATA, "gradients have another shape"},
    {{.input = "m.s24", OUT}, S24_ERR_USAGE, "is a .s24 file: pruned already"},
    {{.input = W, OUT, .to = "paper"}, S24_ERR_USAGE, "no such output type: paper"},
    {{.input = W, OUT, .to = "cutlass"}, S24_ERR_USAGE, "s24 prune does not write cutlass"},
    {{.input = "eights.safetensors", .output = "out", .dtype = S24_F8E4M3, .selection.all = true,
      .selection.include = (const char *const[]){"w"}, .selection.include_count = 1}, S24_ERR_USAGE,
     "cannot be stored as f8e4m3"},
    {{.input = W, OUT, .shard = 1, .shards = 2}, S24_ERR_USAGE, "only a checkpoint has shards"},
    {{.input = W, OUT, .directory = true}, S24_ERR_USAGE, ""},
    {{.input = "none", OUT}, S24_ERR_SYSTEM, "none: "},
};

START_TEST(prune_refuses)
{
    s24_error err = {0};
    s24_report report = {0};
    const s24_status status = s24_prune_file(&io, &prunes[_i].q, &report, &err);
    refused(status, prunes[_i].status, &err, prunes[_i].message, prunes[_i].message);
    ck_assert(!report.tensors);
    ck_assert_int_eq(s24_prune_file(&io, &prunes[_i].q, NULL, NULL), prunes[_i].status);
}
END_TEST

/* ---------------------------------------------------------------- stats, decompress, convert */

static const struct {
    const char *input, *original;
    s24_status status;
    const char *message;
} measures[] = {
    {"m.s24", "other.safetensors", S24_ERR_DATA, "other.safetensors: no tensor w to compare with"},
    {"m.s24", "turned.safetensors", S24_ERR_DATA, "w: has another shape or dtype"},
    {"m.s24", "flat.safetensors", S24_ERR_DATA, "w: has another shape or dtype"},
    {"m.s24", "whole.safetensors", S24_ERR_DATA, "w: has another shape or dtype"},
    {"a.s24", "flat.npy", S24_ERR_DATA, "flat.npy: has another shape or dtype"},
    {"m.s24", "m.s24", S24_ERR_USAGE, "--original takes the dense one"},
    {"m.s24", "none", S24_ERR_SYSTEM, "none: "},
    {W, W, S24_ERR_USAGE, "is no .s24 file; --original goes with one"},
    {"none", NULL, S24_ERR_SYSTEM, "none: "},
};

START_TEST(stats_refuse)
{
    const s24_stats_request q = {.input = measures[_i].input, .original = measures[_i].original};
    s24_error err = {0};
    s24_report report = {0};
    refused(s24_stats_file(&io, &q, &report, &err), measures[_i].status, &err, measures[_i].message, measures[_i].message);
    ck_assert(!report.tensors);
}
END_TEST

static const struct {
    s24_decompress_request q;
    s24_status status;
    const char *message;
} unpackings[] = {
    {{.input = W, OUT}, S24_ERR_DATA, "is no .s24 file but .safetensors"},
    {{.input = "m.s24", OUT, .to = "paper"}, S24_ERR_USAGE, "paper"},
    {{.input = "m.s24", OUT, .to = "s24"}, S24_ERR_USAGE, "s24"},
    {{.input = "m.s24", OUT, .tensor = "x"}, S24_ERR_USAGE, "x"},
    {{.input = "eights.s24", .output = "out", .dtype = S24_F8E5M2}, S24_ERR_USAGE, "w: cannot become f8e5m2 without scales"},
    {{.input = "m.s24", OUT, .directory = true}, S24_ERR_USAGE, ""},
    {{.input = "none", OUT}, S24_ERR_SYSTEM, "none: "},
};

START_TEST(decompress_refuses)
{
    s24_error err = {0};
    refused(s24_decompress_file(&io, &unpackings[_i].q, &err), unpackings[_i].status, &err, unpackings[_i].message,
            unpackings[_i].message);
}
END_TEST

static const struct {
    s24_convert_request q;
    s24_status status;
    const char *message;
} conversions[] = {
    {{.input = W, .output = "out", .to = "paper"}, S24_ERR_USAGE, "no such output type: paper"},
    {{.input = "m.s24", .output = "out", .to = "s24"}, S24_ERR_USAGE, "is a .s24 file already"},
    {{.input = "m.s24", .output = "out"}, S24_ERR_USAGE, "is a .s24 file already"},
    {{.input = "none", .output = "out"}, S24_ERR_SYSTEM, "none: "},
};

START_TEST(convert_refuses)
{
    s24_error err = {0};
    s24_report report = {0};
    refused(s24_convert_file(&io, &conversions[_i].q, &report, &err), conversions[_i].status, &err, conversions[_i].message,
            conversions[_i].message);
    ck_assert(!report.tensors);
}
END_TEST

/* ---------------------------------------------------------------- one tensor in memory */

static const struct {
    const char *path, *name;
    s24_status status;
    const char *message;
} loads[] = {
    {W, "w", S24_ERR_USAGE, "m.safetensors: w is not pruned"},
    {"a.npy", NULL, S24_ERR_USAGE, "a.npy: is not pruned"},
    {"m.s24", "n", S24_ERR_USAGE, "m.s24: n is not pruned"},
    {"m.s24", "x", S24_ERR_USAGE, "m.s24: no tensor x in it"},
    {"m.s24", NULL, S24_ERR_USAGE, "m.s24: has 2 tensors; --tensor says which"},
    {"none", NULL, S24_ERR_SYSTEM, "none: "},
};

START_TEST(load_refuses)
{
    s24_tensor *t = NULL;
    s24_array array;
    s24_error err = {0};
    refused(s24_tensor_load(loads[_i].path, loads[_i].name, &t, NULL, &err), loads[_i].status, &err, loads[_i].message,
            loads[_i].message);
    ck_assert_ptr_null(t);
    const bool there = loads[_i].name ? strcmp(loads[_i].name, "x") != 0 : strcmp(loads[_i].path, "a.npy") == 0;
    ck_assert_int_eq(s24_array_load(loads[_i].path, loads[_i].name, &array, &err) == S24_OK, there);
    if (there) {
        s24_array_free(&array);
    }
}
END_TEST

START_TEST(loaded_and_saved)
{
    s24_tensor *t = NULL, *again = NULL;
    s24_prune_metrics metrics;
    s24_error err;
    ck_assert_int_eq(s24_tensor_load("a.s24", NULL, &t, &metrics, &err), S24_OK);
    ck_assert_int_eq(s24_tensor_save("tensor.s24", NULL, t, "magnitude", &metrics, &err), S24_OK);
    ck_assert_int_eq(s24_tensor_save("tensor.s24", NULL, t, "magnitude", &metrics, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(s24_tensor_load("tensor.s24", S24_NAMELESS, &again, NULL, &err), S24_OK);
    ck_assert_uint_eq(again->memory_bytes, t->memory_bytes);
    ck_assert_mem_eq(again->values, t->values, t->geometry.values_bytes);
    s24_tensor_free(t);
    s24_tensor_free(again);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("requests");
    TCase *const tcase = tcase_create("all");
    tcase_add_unchecked_fixture(tcase, make_directory, remove_directory);
    tcase_add_loop_test(tcase, prune_refuses, 0, (int)COUNT(prunes));
    tcase_add_loop_test(tcase, stats_refuse, 0, (int)COUNT(measures));
    tcase_add_loop_test(tcase, decompress_refuses, 0, (int)COUNT(unpackings));
    tcase_add_loop_test(tcase, convert_refuses, 0, (int)COUNT(conversions));
    tcase_add_loop_test(tcase, load_refuses, 0, (int)COUNT(loads));
    tcase_add_test(tcase, loaded_and_saved);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
