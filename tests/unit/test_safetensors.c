/* safetensors files: there and back through files and pipes, and every way in which one may be broken. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "safetensors.h"
#include "shared.h"
#include "st_header.h"

static const s24_io io = {.force = true, .no_sync = true};
static char path[] = "/tmp/s24-test-XXXXXX";

static void make_path(void)
{
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

static void put_file(const void *data, size_t n)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* The file's bytes, the caller's to free. */
static unsigned char *get_file(size_t *n)
{
    FILE *const f = fopen(path, "rb");
    struct stat st;
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    *n = (size_t)st.st_size;
    unsigned char *const data = malloc(*n + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

/* A source that reads the n bytes from a pipe, which a child fills. */
static s24_status open_pipe(s24_source **source, const void *data, size_t n, pid_t *child, s24_error *err)
{
    int fds[2];
    char name[32];
    ck_assert_int_eq(pipe(fds), 0);
    *child = fork();
    if (*child == 0) {
        close(fds[0]);
        for (size_t done = 0; done < n;) {
            const ssize_t w = write(fds[1], (const char *)data + done, n - done);
            if (w <= 0) {
                break;
            }
            done += (size_t)w;
        }
        _exit(0);
    }
    close(fds[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", fds[0]);
    const s24_status status = s24_source_open(source, &io, name, NULL, err);
    close(fds[0]);
    return status;
}

static void plan(s24_contents *contents)
{
    static const size_t shape[] = {2, 3, 0};
    memset(contents, 0, sizeof *contents);
    s24_contents_add(contents, "layer.weight", S24_F32, 2, shape, NULL);
    s24_contents_add(contents, "empty", S24_F64, 3, shape, NULL);
    s24_contents_add(contents, "mask", S24_BOOL, 1, shape, NULL);
    s24_contents_add(contents, "scale", S24_F8E8M0, 0, shape, NULL);
    s24_contents_add_pair(contents, "format", "pt", NULL);
    s24_contents_add_pair(contents, "note", "a \"quoted\"\nline", NULL);
}

/* Bytes that differ from place to place. */
static unsigned char byte_at(uint64_t i)
{
    return (unsigned char)(i * 37 + 11);
}

static s24_status write_file(s24_contents *contents, s24_error *err)
{
    s24_output *out = NULL;
    s24_sink *sink = NULL;
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, err), S24_OK);
    const s24_status status = s24_sink_open(&sink, &s24_format_safetensors, out, contents, err);
    if (status != S24_OK) {
        return status;
    }
    uint64_t data_byte = 0;
    for (size_t e = 0; e < sink->contents.count; e++) {
        for (uint64_t i = 0; i < sink->contents.entries[e].bytes; i++) {
            const unsigned char byte = byte_at(data_byte++);
            ck_assert_int_eq(s24_output_write(out, sink->contents.entries[e].offset + i, &byte, 1, err), S24_OK);
        }
    }
    return s24_sink_commit(sink, err);
}

static void check_source(s24_source *source)
{
    s24_contents wanted;
    s24_error err;
    plan(&wanted);
    ck_assert_str_eq(source->format->name, "safetensors");
    ck_assert_uint_eq(source->contents.count, wanted.count);
    ck_assert_uint_eq(source->contents.pairs, wanted.pairs);
    for (size_t i = 0; i < wanted.pairs; i++) {
        ck_assert_str_eq(source->contents.metadata[i].key, wanted.metadata[i].key);
        ck_assert_str_eq(source->contents.metadata[i].value, wanted.metadata[i].value);
    }
    uint64_t data_byte = 0;
    for (size_t e = 0; e < wanted.count; e++) {
        const s24_entry *const got = &source->contents.entries[e], *const want = &wanted.entries[e];
        unsigned char data[64];
        ck_assert_str_eq(got->name, want->name);
        ck_assert_int_eq(got->dtype, want->dtype);
        ck_assert_int_eq(got->rank, want->rank);
        ck_assert(got->rank == 0 || memcmp(got->shape, want->shape, (size_t)got->rank * sizeof *got->shape) == 0);
        ck_assert_uint_eq(got->bytes, want->bytes);
        ck_assert_int_eq(s24_input_read(source->in, got->offset, data, (size_t)got->bytes, &err), S24_OK);
        for (size_t i = 0; i < got->bytes; i++) {
            ck_assert_uint_eq(data[i], byte_at(data_byte++));
        }
    }
    s24_contents_free(&wanted);
}

START_TEST(there_and_back)
{
    s24_contents contents;
    s24_source *source = NULL;
    s24_error err;
    pid_t child;
    size_t n;
    plan(&contents);
    ck_assert_int_eq(write_file(&contents, &err), S24_OK);
    ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
    ck_assert_uint_eq(source->contents.entries[0].offset % 64, 0);
    check_source(source);
    s24_source_close(source);
    unsigned char *const data = get_file(&n);
    ck_assert_int_eq(open_pipe(&source, data, n, &child, &err), S24_OK);
    check_source(source);
    ck_assert_int_eq(s24_input_expect_end(source->in, n, &err), S24_OK);
    s24_source_close(source);
    waitpid(child, NULL, 0);
    free(data);
}
END_TEST

/* Cut anywhere, or longer by a byte: named, from a file and (as far as the header) from a pipe. */
START_TEST(every_length)
{
    static const s24_read_options as_safetensors = {.format = "safetensors"};
    s24_contents contents;
    s24_source *source = NULL;
    s24_error err;
    pid_t child;
    size_t n;
    plan(&contents);
    ck_assert_int_eq(write_file(&contents, &err), S24_OK);
    unsigned char *const data = get_file(&n);
    data[n] = 0;
    for (size_t length = 0; length < n; length++) {
        put_file(data, length);
        ck_assert_int_eq(s24_source_open(&source, &io, path, &as_safetensors, &err), S24_ERR_DATA);
        ck_assert_ptr_nonnull(strstr(err.message, "truncated: ends after"));
        ck_assert_uint_eq(err.offset, length);
    }
    put_file(data, n + 1);
    ck_assert_int_eq(s24_source_open(&source, &io, path, &as_safetensors, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "1 byte too many"));
    ck_assert_uint_eq(err.offset, n);
    for (size_t length = 10; length < n - 2 * 12 - 3; length += 13) {
        ck_assert_int_eq(open_pipe(&source, data, length, &child, &err), S24_ERR_DATA);
        ck_assert_ptr_nonnull(strstr(err.message, "truncated: ends after"));
        waitpid(child, NULL, 0);
    }
    free(data);
}
END_TEST

#define FILE_TEXT(s) s, sizeof(s) - 1

static const struct {
    const char *data;
    size_t n;
    bool probed;
    const char *message; /* NULL: a good file */
} files[] = {
    {FILE_TEXT("\2\0\0\0\0\0\0\0{}"), true, NULL},
    {FILE_TEXT("\3\0\0\0\0\0\0\0{ }"), true, NULL},
    {FILE_TEXT("\10\0\0\0\0\0\0\0{}      "), true, NULL},
    {FILE_TEXT("\2\0\0\0\0\0\0\0{}x"), true, "1 byte too many"},
    {FILE_TEXT("\3\0\0\0\0\0\0\0{}\0"), true, "something follows"},
    {FILE_TEXT("\2\0\0\0\0\0\0\0[]"), false, "does not begin with {"},
    {FILE_TEXT("\3\0\0\0\0\0\0\0 {}"), false, "does not begin with {"},
    {FILE_TEXT("\2\0\0\0\0\0\0\0{x"), false, "a key in double quotes is missing"},
    {FILE_TEXT("\0\0\0\0\0\0\0\0"), false, "does not begin with {"},
    {FILE_TEXT("\0\0\0\0\0\0\0\0{}"), true, "does not begin with {"},
    {FILE_TEXT("\0\341\365\5\0\0\0\0{\"a\":"), true, "ends after 13 bytes, its header alone needs 100000008"},
    {FILE_TEXT("\1\341\365\5\0\0\0\0{\"a\":"), false, "a header of 100000001 bytes"},
    {FILE_TEXT("\377\377\377\377\377\377\377\377{\"a\":"), false, "a header of 18446744073709551615 bytes"},
};

START_TEST(small_files)
{
    static const s24_read_options as_safetensors = {.format = "safetensors"};
    s24_source *source = NULL;
    s24_error err;
    put_file(files[_i].data, files[_i].n);
    const s24_status status = s24_source_open(&source, &io, path, &as_safetensors, &err);
    ck_assert_msg((status == S24_OK) == !files[_i].message, "%d: %s", _i, err.message);
    if (status == S24_OK) {
        s24_source_close(source);
    } else {
        ck_assert_int_eq(status, S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, files[_i].message), "%d: %s", _i, err.message);
    }
    const unsigned char *const head = (const unsigned char *)files[_i].data;
    ck_assert_int_eq(s24_format_safetensors.probe(head, files[_i].n), files[_i].probed);
}
END_TEST

/* A pipe that promises a header of 100 MB and has 13 bytes. */
START_TEST(short_pipe)
{
    s24_source *source = NULL;
    s24_error err;
    pid_t child;
    ck_assert_int_eq(open_pipe(&source, "\0\341\365\5\0\0\0\0{\"a\":", 13, &child, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated: ends after 13 bytes"));
    waitpid(child, NULL, 0);
}
END_TEST

/* A plan that the format cannot hold is refused before any data, and nothing appears. */
START_TEST(impossible_plans)
{
    static const struct {
        const char *first, *second, *message;
    } plans[] = {
        {"a", "a", "\"a\" occurs twice"},
        {"a", "\xe9", "not UTF-8"},
        {"a", "__metadata__", "__metadata__: "},
    };
    static const size_t shape[] = {4};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        s24_contents contents = {0};
        s24_error err;
        size_t n;
        put_file("before", 6);
        s24_contents_add(&contents, plans[i].first, S24_F32, 1, shape, NULL);
        s24_contents_add(&contents, plans[i].second, S24_F32, 1, shape, NULL);
        ck_assert_int_eq(write_file(&contents, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, plans[i].message), "%s", err.message);
        unsigned char *const data = get_file(&n);
        ck_assert_uint_eq(n, 6);
        free(data);
    }
    char name[] = "__metadata__";
    const s24_entry entry = {.name = name};
    ck_assert_int_eq(s24_format_safetensors.accepts(&entry, NULL), S24_ERR_DATA);
    name[0] = 'a';
    ck_assert_int_eq(s24_format_safetensors.accepts(&entry, NULL), S24_OK);
}
END_TEST

/* Readers take 100 MB: 101 times a megabyte of metadata is refused. */
START_TEST(large_header)
{
    static char megabyte[1000001];
    s24_contents contents = {0};
    s24_text header = {0};
    s24_error err;
    memset(megabyte, 'x', sizeof megabyte - 1);
    s24_pair pair = {.value = s24_shared_text(megabyte, &err)};
    for (int i = 0; i < 101; i++) {
        char key[8];
        snprintf(key, sizeof key, "%d", i);
        pair.key = s24_shared_text(key, &err);
        ck_assert_int_eq(s24_contents_keep_pair(&contents, &pair, &err), S24_OK);
        s24_shared_free(pair.key);
    }
    ck_assert_int_eq(s24_safetensors_header(&contents, &header, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "at most 100000000 are allowed; split the file"));
    s24_shared_free(pair.value);
    s24_contents_free(&contents);
    s24_text_free(&header);
}
END_TEST

START_TEST(lone_array_gets_a_name)
{
    static const size_t shape[] = {4};
    s24_contents contents = {0};
    s24_source *source = NULL;
    s24_error err;
    s24_contents_add(&contents, "", S24_F32, 1, shape, NULL);
    ck_assert_int_eq(write_file(&contents, &err), S24_OK);
    ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
    ck_assert_str_eq(source->contents.entries[0].name, "arr_0");
    s24_source_close(source);
}
END_TEST

/* A length, a brace, and behind blanks what an object may have. */
START_TEST(found_by_content)
{
    static const struct {
        const char *head;
        size_t n;
        bool is;
    } heads[] = {
        {"\x40\0\0\0\0\0\0\0{\"", 10, true},
        {"\x40\0\0\0\0\0\0\0{}", 10, true},
        {"\x40\0\0\0\0\0\0\0{ \t\n\r\"", 14, true},
        {"\x40\0\0\0\0\0\0\0{ \t\n", 12, true}, /* no more at hand */
        {"\x40\0\0\0\0\0\0\0{ 1", 11, false},
        {"\x40\0\0\0\0\0\0\0{", 9, false},
        {"\x40\0\0\0\0\0\0\0[]", 10, false},
        {"\x01\xe1\xf5\x05\0\0\0\0{}", 10, false}, /* 100,000,001 */
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        ck_assert_msg(s24_format_safetensors.probe((const unsigned char *)heads[i].head, heads[i].n) == heads[i].is, "%zu", i);
    }
}
END_TEST

START_TEST(many_tensors)
{
    enum { MANY = 100000 };
    static const size_t shape[] = {1};
    s24_contents contents = {0};
    s24_source *source = NULL;
    s24_output *out = NULL;
    s24_sink *sink = NULL;
    s24_error err;
    char name[64], *const data = calloc(MANY, 4);
    ck_assert_ptr_nonnull(data);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.weight", i);
        ck_assert_ptr_nonnull(s24_contents_add(&contents, name, S24_F32, 1, shape, &err));
    }
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, &s24_format_safetensors, out, &contents, &err), S24_OK);
    ck_assert_int_eq(s24_output_write(out, sink->contents.entries[0].offset, data, MANY * 4, &err), S24_OK);
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
    ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
    ck_assert_uint_eq(source->contents.count, MANY);
    ck_assert_str_eq(source->contents.entries[MANY - 1].name, name);
    s24_source_close(source);
    free(data);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("safetensors");
    TCase *const tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, make_path, remove_path);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, there_and_back);
    tcase_add_test(tcase, every_length);
    tcase_add_loop_test(tcase, small_files, 0, (int)(sizeof files / sizeof *files));
    tcase_add_test(tcase, short_pipe);
    tcase_add_test(tcase, impossible_plans);
    tcase_add_test(tcase, large_header);
    tcase_add_test(tcase, lone_array_gets_a_name);
    tcase_add_test(tcase, found_by_content);
    tcase_add_test(tcase, many_tensors);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
