/* Raw data: what must be said, and the size that must fit it. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format.h"

static const s24_io io = {.no_sync = true};

static s24_read_options matrix(s24_dtype dtype, size_t rows, size_t cols, uint64_t offset)
{
    return (s24_read_options){.has_dtype = true, .dtype = dtype, .has_shape = true, .rank = 2, .shape = {rows, cols},
                              .offset = offset};
}

static s24_status open_bytes(s24_source *source, size_t n, const s24_read_options *options, s24_error *err)
{
    *source = (s24_source){.format = &s24_format_raw, .options = options, .io = &io};
    ck_assert_int_eq(s24_input_memory(&source->in, &io, "w.raw", calloc(n ? n : 1, 1), n, err), S24_OK);
    return s24_format_raw.open(source, err);
}

static void close_source(s24_source *source)
{
    s24_contents_free(&source->contents);
    s24_input_close(source->in);
}

/* Returns the offset that the error names. */
static uint64_t check_fails(size_t n, const s24_read_options *options, s24_status want, const char *piece)
{
    s24_source source;
    s24_error err = {0};
    const s24_status status = open_bytes(&source, n, options, &err);
    ck_assert_msg(status == want, "status %d: %s", (int)status, err.message);
    ck_assert_msg(strstr(err.message, piece) != NULL, "\"%s\" lacks \"%s\"", err.message, piece);
    ck_assert_uint_eq(source.contents.count, 0);
    close_source(&source);
    return err.offset;
}

START_TEST(reads_what_fits)
{
    static const struct {
        s24_dtype dtype;
        uint64_t offset;
        size_t size;
        bool said_big, big_endian;
    } cases[] = {
        {S24_F32, 0, 24, false, false}, {S24_F32, 5, 29, true, true}, {S24_F64, 0, 48, false, false},
        {S24_BF16, 1, 13, true, true},  {S24_I8, 0, 6, true, false},  {S24_F8E4M3, 0, 6, true, false},
        {S24_F4, 0, 3, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s24_read_options options = matrix(cases[i].dtype, 2, 3, cases[i].offset);
        options.big_endian = cases[i].said_big;
        s24_source source;
        s24_error err = {0};
        ck_assert_int_eq(open_bytes(&source, cases[i].size, &options, &err), S24_OK);
        ck_assert_uint_eq(source.contents.count, 1);
        const s24_entry *e = &source.contents.entries[0];
        ck_assert_str_eq(e->name, "");
        ck_assert_int_eq(e->dtype, cases[i].dtype);
        ck_assert_int_eq(e->rank, 2);
        ck_assert_uint_eq(e->shape[0], 2);
        ck_assert_uint_eq(e->shape[1], 3);
        ck_assert_uint_eq(e->offset, cases[i].offset);
        ck_assert_uint_eq(e->offset + e->bytes, cases[i].size);
        ck_assert_int_eq(e->big_endian, cases[i].big_endian);
        ck_assert(!e->fortran);
        close_source(&source);
    }
}
END_TEST

/* Elements in the machine's order; a complex number is two of them. */
START_TEST(swaps_bytes)
{
    static const struct {
        s24_dtype dtype;
        const char *want;
    } cases[] = {
        {S24_F64, "76543210fedcba98"}, {S24_C64, "32107654ba98fedc"}, {S24_U32, "32107654ba98fedc"},
        {S24_BF16, "1032547698badcfe"}, {S24_U8, "0123456789abcdef"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t n = 16 / s24_info(cases[i].dtype)->bytes;
        s24_read_options options = matrix(cases[i].dtype, 1, n, 0);
        char *bytes = strdup("0123456789abcdef"), got[16];
        s24_source source = {.format = &s24_format_raw, .options = &options, .io = &io};
        options.big_endian = true;
        ck_assert_int_eq(s24_input_memory(&source.in, &io, "w.raw", bytes, 16, NULL), S24_OK);
        ck_assert_int_eq(s24_source_parse(&source, NULL), S24_OK);
        ck_assert_int_eq(s24_source_read_rows(&source.contents.entries[0], 1, 0, 1, 0, n, got, NULL, NULL), S24_OK);
        ck_assert_mem_eq(got, cases[i].want, 16);
        close_source(&source);
    }
}
END_TEST

START_TEST(reads_scalars_and_empty)
{
    s24_read_options options = {.has_dtype = true, .dtype = S24_F32, .has_shape = true};
    s24_source source;
    s24_error err = {0};
    ck_assert_int_eq(open_bytes(&source, 4, &options, &err), S24_OK);
    ck_assert_uint_eq(source.contents.entries[0].bytes, 4);
    close_source(&source);
    options = matrix(S24_F32, 0, 7, 0);
    ck_assert_int_eq(open_bytes(&source, 0, &options, &err), S24_OK);
    ck_assert_uint_eq(source.contents.entries[0].bytes, 0);
    close_source(&source);
}
END_TEST

START_TEST(needs_dtype_and_shape)
{
    s24_read_options options = {0};
    check_fails(24, &options, S24_ERR_USAGE, "tell their dtype and shape; say both, as in --raw-dtype f32 --shape");
    options = matrix(S24_F32, 2, 3, 0);
    options.has_dtype = false;
    check_fails(24, &options, S24_ERR_USAGE, "do not tell their dtype;");
    options = matrix(S24_F32, 2, 3, 0);
    options.has_shape = false;
    check_fails(24, &options, S24_ERR_USAGE, "do not tell their shape;");
    options = matrix(S24_SAME, 2, 3, 0);
    check_fails(24, &options, S24_ERR_USAGE, "need a dtype of their own");
    options = matrix(S24_F32, 2, 3, 0);
    options.rank = S24_MAX_RANK + 1;
    check_fails(24, &options, S24_ERR_USAGE, "has 65 dimensions");
    options.rank = -1;
    check_fails(24, &options, S24_ERR_USAGE, "has -1 dimensions");
}
END_TEST

START_TEST(refuses_other_sizes)
{
    s24_read_options options = matrix(S24_F32, 2, 3, 5);
    for (size_t n = 0; n < 29; n++) {
        char piece[64];
        snprintf(piece, sizeof piece, n == 1 ? "has %zu byte, " : "has %zu bytes, ", n);
        ck_assert_uint_eq(check_fails(n, &options, S24_ERR_DATA, piece), n);
        check_fails(n, &options, S24_ERR_DATA, "as f32 needs 24 after the first 5, 29 in all; check --shape");
    }
    ck_assert_uint_eq(check_fails(30, &options, S24_ERR_DATA, "has 30 bytes, "), 29);
}
END_TEST

START_TEST(refuses_sizes_beyond_counting)
{
    s24_read_options options = matrix(S24_F32, SIZE_MAX / 2, SIZE_MAX / 2, 0);
    check_fails(24, &options, S24_ERR_DATA, "more elements than can be addressed");
    options = matrix(S24_F32, 2, 3, UINT64_MAX - 8);
    check_fails(24, &options, S24_ERR_USAGE, "--offset 18446744073709551607 is beyond");
    options = matrix(S24_F32, 2, 3, INT64_MAX - 23);
    check_fails(24, &options, S24_ERR_USAGE, "is beyond");
    options = matrix(S24_F32, 2, 3, INT64_MAX - 24);
    check_fails(24, &options, S24_ERR_DATA, "has 24 bytes, ");
    options = matrix(S24_F4, 3, 3, 0);
    check_fails(24, &options, S24_ERR_DATA, "not a whole number of bytes");
}
END_TEST

START_TEST(leaves_the_end_of_a_pipe_to_the_caller)
{
    int ends[2];
    char path[32];
    const s24_read_options options = matrix(S24_F32, 2, 3, 5);
    s24_source source = {.format = &s24_format_raw, .options = &options, .io = &io};
    s24_error err = {0};
    unsigned char data[24];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "12345abcdefghijklmnopqrstuvwx", 29), 29);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    ck_assert_int_eq(s24_input_open(&source.in, &io, path, &err), S24_OK);
    close(ends[0]);
    ck_assert_int_eq(s24_format_raw.open(&source, &err), S24_OK);
    const s24_entry *e = &source.contents.entries[0];
    ck_assert_int_eq(s24_input_read(source.in, e->offset, data, e->bytes, &err), S24_OK);
    ck_assert_mem_eq(data, "abcdefghijklmnopqrstuvwx", 24);
    ck_assert_int_eq(s24_input_expect_end(source.in, e->offset + e->bytes, &err), S24_OK);
    close_source(&source);
}
END_TEST

START_TEST(writes_nothing_before_the_data)
{
    s24_sink sink = {.format = &s24_format_raw, .io = &io};
    s24_error err = {0};
    s24_entry *e = s24_contents_add(&sink.contents, "w", S24_F32, 2, (size_t[]){2, 3}, &err);
    ck_assert_ptr_nonnull(e);
    e->offset = 77;
    ck_assert_int_eq(s24_format_raw.create(&sink, &err), S24_OK);
    ck_assert_uint_eq(e->offset, 0);
    s24_contents_free(&sink.contents);
}
END_TEST

START_TEST(is_never_found_by_content)
{
    ck_assert_ptr_null(s24_format_raw.probe);
    ck_assert_uint_eq(s24_format_raw.max_tensors, 1);
    ck_assert_str_eq(s24_format_raw.suffixes, ".raw .bin");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("raw");
    TCase *tests = tcase_create("raw");
    tcase_add_test(tests, reads_what_fits);
    tcase_add_test(tests, swaps_bytes);
    tcase_add_test(tests, reads_scalars_and_empty);
    tcase_add_test(tests, needs_dtype_and_shape);
    tcase_add_test(tests, refuses_other_sizes);
    tcase_add_test(tests, refuses_sizes_beyond_counting);
    tcase_add_test(tests, leaves_the_end_of_a_pipe_to_the_caller);
    tcase_add_test(tests, writes_nothing_before_the_data);
    tcase_add_test(tests, is_never_found_by_content);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
