/*
 * Windows onto files: what is seen equals what is read, wherever it lies, and a file that is cut off under a window is an
 * error instead of a signal.
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "random.h"

#define MIB (1u << 20)

static s24_maps maps;
static volatile sig_atomic_t repaired;
static char path[] = "/tmp/s24-window-XXXXXX";
static unsigned char *content;
static size_t size;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!s24_maps_repair(&maps, info->si_addr)) {
        signal(number, SIG_DFL);
    }
    repaired++;
}

/* A file of n bytes, whatever they are. */
static void make_file(size_t n)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
    strcpy(path + strlen(path) - 6, "XXXXXX");
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    content = malloc(n);
    size = n;
    for (size_t i = 0; i < n; i++) {
        content[i] = (unsigned char)(random_bits() >> 56);
    }
    for (size_t done = 0; done < n;) {
        const ssize_t w = write(fd, content + done, n - done);
        ck_assert_int_gt(w, 0);
        done += (size_t)w;
    }
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
    free(content);
    for (size_t i = 0; i < S24_MAPS; i++) {
        ck_assert_int_eq(maps.slots[i].taken, 0);
    }
}

static s24_input *open_input(const s24_io *io)
{
    s24_input *in;
    ck_assert_int_eq(s24_input_open(&in, io, path, NULL), S24_OK);
    return in;
}

START_TEST(equals_what_is_read)
{
    const s24_io io = {.maps = &maps};
    s24_window w = {0};
    size_t mapped = 0;
    make_file(11 * MIB + 12345);
    s24_input *in = open_input(&io);
    unsigned char *buffer = malloc(size);
    for (int i = 0; i < 300; i++) {
        const size_t n = 1 + (i % 3 ? below(2 * MIB) : below(size)), offset = below(size - n + 1);
        const void *data;
        ck_assert_int_eq(s24_window_view(&w, in, offset, n, buffer, &data, NULL), S24_OK);
        ck_assert_int_eq(memcmp(data, content + offset, n), 0);
        ck_assert_int_eq(s24_window_settle(&w, NULL), S24_OK);
        mapped += data != buffer;
    }
    ck_assert_uint_gt(mapped, 100);
    s24_window_close(&w);
    s24_input_close(in);
    free(buffer);
    remove_file();
}
END_TEST

START_TEST(one_window_many_files)
{
    const s24_io io = {.maps = &maps};
    s24_window w = {0};
    make_file(2 * MIB);
    s24_input *a = open_input(&io), *b = open_input(&io);
    unsigned char *buffer = malloc(size);
    for (int i = 0; i < 6; i++) {
        const void *data;
        ck_assert_int_eq(s24_window_view(&w, i % 2 ? a : b, 4096u * (unsigned)i, MIB, buffer, &data, NULL), S24_OK);
        ck_assert_int_eq(memcmp(data, content + 4096 * i, MIB), 0);
    }
    s24_window_close(&w);
    s24_input_close(a);
    s24_input_close(b);
    free(buffer);
    remove_file();
}
END_TEST

/* Nobody who handles SIGBUS, more windows than places, or little to see: the buffer. */
START_TEST(read_where_it_cannot_be_mapped)
{
    const s24_io unmapped = {0}, io = {.maps = &maps};
    s24_window w[S24_MAPS + 1] = {0}, none = {0};
    const void *data;
    make_file(2 * MIB);
    unsigned char *buffer = malloc(size);
    s24_input *in = open_input(&unmapped);
    ck_assert_int_eq(s24_window_view(&none, in, 0, MIB, buffer, &data, NULL), S24_OK);
    ck_assert_ptr_eq(data, buffer);
    s24_input_close(in);
    in = open_input(&io);
    ck_assert_int_eq(s24_window_view(&none, in, 77, 100, buffer, &data, NULL), S24_OK);
    ck_assert_ptr_eq(data, buffer);
    ck_assert_int_eq(memcmp(data, content + 77, 100), 0);
    for (size_t i = 0; i <= S24_MAPS; i++) {
        ck_assert_int_eq(s24_window_view(&w[i], in, 99, MIB, buffer, &data, NULL), S24_OK);
        ck_assert_int_eq(data == buffer, i == S24_MAPS);
        ck_assert_int_eq(memcmp(data, content + 99, MIB), 0);
    }
    for (size_t i = 0; i <= S24_MAPS; i++) {
        s24_window_close(&w[i]);
    }
    s24_window_close(&none);
    s24_input_close(in);
    free(buffer);
    remove_file();
}
END_TEST

START_TEST(cut_off_before_it_is_seen)
{
    const s24_io io = {.maps = &maps};
    s24_window w = {0};
    const void *data;
    s24_error err;
    make_file(4 * MIB);
    unsigned char *buffer = malloc(size);
    s24_input *in = open_input(&io);
    ck_assert_int_eq(s24_window_view(&w, in, 0, MIB, buffer, &data, NULL), S24_OK);
    ck_assert_int_eq(truncate(path, 3 * MIB), 0);
    s24_status status = s24_window_view(&w, in, 2 * MIB + 1, MIB, buffer, &data, &err);
    if (status == S24_OK) { /* some systems cannot tell before the byte is looked at */
        ck_assert_uint_eq(((const volatile unsigned char *)data)[MIB - 1], 0);
        status = s24_window_settle(&w, &err);
    }
    ck_assert_int_eq(status, S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated"));
    ck_assert_int_eq(s24_window_view(&w, in, 5 * MIB, MIB, buffer, &data, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_window_settle(&w, NULL), S24_OK);
    s24_window_close(&w);
    s24_input_close(in);
    free(buffer);
    remove_file();
}
END_TEST

START_TEST(cut_off_while_it_is_seen)
{
    const s24_io io = {.maps = &maps};
    s24_window w = {0};
    const void *data;
    s24_error err;
    make_file(4 * MIB);
    unsigned char *buffer = malloc(size);
    s24_input *in = open_input(&io);
    ck_assert_int_eq(s24_window_view(&w, in, 2 * MIB, 2 * MIB, buffer, &data, NULL), S24_OK);
    ck_assert_ptr_ne(data, buffer);
    ck_assert_int_eq(truncate(path, 3 * MIB + 5), 0);
    const volatile unsigned char *p = data;
    ck_assert_int_eq(repaired, 0);
    ck_assert_uint_eq(p[MIB - 1], content[3 * MIB - 1]); /* what there is stays as it is */
    ck_assert_uint_eq(p[2 * MIB - 1], 0);
    ck_assert_uint_eq(p[MIB + 8192], 0);
    ck_assert_int_ge(repaired, 1);
    ck_assert_int_eq(s24_window_settle(&w, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "cut off while it was read"));
    ck_assert_int_eq(s24_window_settle(&w, NULL), S24_OK); /* told once; the window is open no more */
    ck_assert_int_eq(s24_window_view(&w, in, 0, MIB, buffer, &data, NULL), S24_OK);
    ck_assert_int_eq(memcmp(data, content, MIB), 0);
    s24_window_close(&w);
    s24_input_close(in);
    free(buffer);
    remove_file();
}
END_TEST

/* Another access that fails is none of the library's business. */
START_TEST(an_address_of_somebody_else)
{
    static s24_maps others;
    int here;
    ck_assert(!s24_maps_repair(&others, &here));
    ck_assert(!s24_maps_repair(&others, NULL));
}
END_TEST

static void shorten(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    ck_assert_int_eq(truncate(path, (off_t)(total / 2)), 0);
}

/* A whole command whose input shrinks while it runs: an error, and no output. */
START_TEST(a_file_that_shrinks)
{
    const s24_io io = {.maps = &maps, .threads = 2, .progress = shorten};
    char output[sizeof path + 4];
    s24_error err;
    make_file(16 * MIB);
    snprintf(output, sizeof output, "%s.s24", path);
    const s24_prune_request request = {
        .input = path, .output = output, 
        .read = {.format = "raw", .has_dtype = true, .dtype = S24_I8, .has_shape = true, .rank = 2, .shape = {4096, 4096}}};
    ck_assert_int_eq(s24_prune_file(&io, &request, NULL, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated"));
    ck_assert_int_ne(access(output, F_OK), 0);
    remove_file();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("window");
    TCase *tests = tcase_create("window");
    const char *text = getenv("S24_SEED");
    first_seed = text ? strtoull(text, NULL, 0) : 1;
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, equals_what_is_read);
    tcase_add_test(tests, one_window_many_files);
    tcase_add_test(tests, read_where_it_cannot_be_mapped);
    tcase_add_test(tests, cut_off_before_it_is_seen);
    tcase_add_test(tests, cut_off_while_it_is_seen);
    tcase_add_test(tests, an_address_of_somebody_else);
    tcase_add_test(tests, a_file_that_shrinks);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
