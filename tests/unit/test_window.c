/*
 * Windows onto files: what is seen equals what is read, wherever it lies, and a file that is cut off under a window is an
 * error instead of a signal.
 */
#define _GNU_SOURCE /* preadv2, RTLD_NEXT */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "format.h"
#include "random.h"

#define MIB (1u << 20)

static s24_maps maps;
static volatile sig_atomic_t repaired;
static char path[] = "/tmp/s24-window-XXXXXX";
static unsigned char *content;
static size_t size;

/* What the system says of pages in memory; 0: what it says itself. */
static int preadv2_errno, madvise_errno;

#pragma GCC visibility push(default)

ssize_t preadv2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    __typeof__(preadv2) *real;
    *(void **)&real = dlsym(RTLD_NEXT, "preadv64v2");
    errno = preadv2_errno;
    return preadv2_errno ? -1 : real(fd, pieces, count, offset, flags);
}

int madvise(void *p, size_t n, int advice)
{
    __typeof__(madvise) *real;
    *(void **)&real = dlsym(RTLD_NEXT, "madvise");
    errno = madvise_errno;
    return madvise_errno ? -1 : real(p, n, advice);
}

#pragma GCC visibility pop

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

/* One window follows what is looked at, also behind its end, and what is larger than windows are. */
START_TEST(beyond_a_window)
{
    static const size_t places[][2] = {{0, MIB}, {4096, 33 * MIB}, {MIB, MIB}, {36 * MIB, MIB}, {0, MIB},
                                       {31 * MIB + 5, 2 * MIB}};
    const s24_io io = {.maps = &maps};
    s24_window w = {0};
    const void *data;
    s24_error err;
    make_file(38 * MIB);
    unsigned char *buffer = malloc(size);
    s24_input *in = open_input(&io);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        ck_assert_int_eq(s24_window_view(&w, in, places[i][0], places[i][1], buffer, &data, NULL), S24_OK);
        ck_assert_ptr_ne(data, buffer);
        ck_assert_int_eq(memcmp(data, content + places[i][0], places[i][1]), 0);
    }
    ck_assert_int_eq(s24_window_view(&w, in, size - MIB, MIB + 1, buffer, &data, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated"));
    s24_window_close(&w);
    s24_input_close(in);
    free(buffer);
    remove_file();
}
END_TEST

/*
 * Whether pages are in memory is asked of the file, or, where that has no answer, of the pages; pages that cannot be had are
 * read; and where they cannot be had at once they come one by one.
 */
START_TEST(what_systems_can_tell)
{
    static const struct {
        int preadv2, madvise;
        bool mapped;
    } systems[] = {{0, 0, true}, {EOPNOTSUPP, 0, true}, {EAGAIN, 0, false}, {0, EINVAL, true}, {0, EFAULT, false}};
    const s24_io io = {.maps = &maps};
    make_file(2 * MIB);
    unsigned char *buffer = malloc(size);
    s24_input *in = open_input(&io);
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
        s24_window w = {0};
        const void *data;
        preadv2_errno = systems[i].preadv2;
        madvise_errno = systems[i].madvise;
        ck_assert_int_eq(s24_window_view(&w, in, 4099, MIB, buffer, &data, NULL), S24_OK);
        ck_assert_msg((data != buffer) == systems[i].mapped, "system %zu", i);
        ck_assert_int_eq(memcmp(data, content + 4099, MIB), 0);
        s24_window_close(&w);
    }
    preadv2_errno = madvise_errno = 0;
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
    static unsigned char here[3];
    ck_assert(!s24_maps_repair(&others, here));
    ck_assert(!s24_maps_repair(&others, NULL));
    for (size_t i = 0; i < S24_MAPS; i++) { /* a byte that is mapped, between its neighbours */
        others.slots[i] = (s24_map_slot){.base = (uintptr_t)(here + 1), .bytes = 1};
    }
    ck_assert(!s24_maps_repair(&others, here));
    ck_assert(!s24_maps_repair(&others, here + 2));
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
    tcase_add_test(tests, beyond_a_window);
    tcase_add_test(tests, what_systems_can_tell);
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
