/* Bytes in, bytes out: inputs of all kinds, spools, and outputs that appear as a whole or not at all. */
#define _GNU_SOURCE /* unshare */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "io.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BIG (65u << 20) /* beyond what a spool keeps in memory */

static char directory[] = "/tmp/s24-test-XXXXXX";
static const s24_io plain_io = {.no_sync = true}, force_io = {.force = true};

/* ---------------------------------------------------------------- files */

static void empty_directory(const char *path)
{
    DIR *const d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(name) != 0) {
            empty_directory(name);
            rmdir(name);
        }
    }
    closedir(d);
}

static int count_files(const char *path)
{
    DIR *const d = opendir(path);
    int count = -2; /* . and .. */
    ck_assert_ptr_nonnull(d);
    while (readdir(d)) {
        count++;
    }
    closedir(d);
    return count;
}

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    signal(SIGPIPE, SIG_IGN);
}

static void clear(void)
{
    empty_directory(".");
}

static void remove_directory(void)
{
    clear();
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(directory);
}

static void spit(const char *path, const char *text)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static bool file_is(const char *path, const char *text)
{
    char got[512] = {0};
    FILE *const f = fopen(path, "rb");
    if (!f) {
        return false;
    }
    const size_t n = fread(got, 1, sizeof got - 1, f);
    fclose(f);
    return n == strlen(text) && strcmp(got, text) == 0;
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Byte i of what the tests read: no two places of a few pages look alike. */
static unsigned char byte_at(uint64_t i)
{
    return (unsigned char)(i * 37 + (i >> 8) * 11 + (i >> 16));
}

static void check_bytes(const unsigned char *data, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(data[i] == byte_at(from + i), "byte %llu", (unsigned long long)(from + i));
    }
}

/* ---------------------------------------------------------------- pipes */

/* The read end stays open as `path` until stop; a thread writes n bytes of byte_at, and waits, if told to. */
typedef struct feeder {
    int fds[2];
    size_t n;
    bool linger; /* keeps the write end open */
    pthread_t thread;
    char path[32];
} feeder;

static void *feed(void *argument)
{
    feeder *const p = argument;
    unsigned char buffer[65536];
    for (size_t at = 0, step = 1; at < p->n; step = step < 32768 ? 2 * step + 1 : 40001) {
        const size_t n = p->n - at < step ? p->n - at : step;
        for (size_t i = 0; i < n; i++) {
            buffer[i] = byte_at(at + i);
        }
        const ssize_t w = write(p->fds[1], buffer, n);
        if (w <= 0) {
            break;
        }
        at += (size_t)w;
    }
    if (!p->linger) {
        close(p->fds[1]);
    }
    return NULL;
}

static void start_feeding(feeder *p, size_t n, bool linger)
{
    *p = (feeder){.n = n, .linger = linger};
    ck_assert_int_eq(pipe(p->fds), 0);
    snprintf(p->path, sizeof p->path, "/dev/fd/%d", p->fds[0]);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, feed, p), 0);
}

static void stop_feeding(feeder *p)
{
    close(p->fds[0]);
    pthread_join(p->thread, NULL);
    if (p->linger) {
        close(p->fds[1]);
    }
}

/* ---------------------------------------------------------------- inputs, three kinds alike */

enum { FROM_FILE, FROM_MEMORY, FROM_PIPE, KINDS };

typedef struct source {
    s24_input *in;
    feeder feeder;
    int kind;
} source;

static source open_source(int kind, size_t n, const s24_io *io)
{
    source s = {.kind = kind};
    s24_error err = {0};
    if (kind == FROM_PIPE) {
        /* The feeder must stay where its thread finds it. */
        feeder *const p = malloc(sizeof *p);
        start_feeding(p, n, false);
        ck_assert_int_eq(s24_input_open(&s.in, io, p->path, &err), S24_OK);
        ck_assert(s.in->stream && s.in->size == S24_UNKNOWN);
        stop_feeding(p); /* the pipe holds all of it, or the input's own descriptor keeps it going */
        free(p);
        return s;
    }
    unsigned char *const data = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        data[i] = byte_at(i);
    }
    if (kind == FROM_MEMORY) {
        ck_assert_int_eq(s24_input_memory(&s.in, io, "memory", data, n, &err), S24_OK);
    } else {
        FILE *const f = fopen("input", "wb");
        fwrite(data, 1, n, f);
        fclose(f);
        free(data);
        ck_assert_int_eq(s24_input_open(&s.in, io, "input", &err), S24_OK);
    }
    ck_assert(!s.in->stream && s.in->size == n);
    return s;
}

/* Small enough to lie in a pipe as a whole. */
#define SMALL 30000

START_TEST(reads_in_order)
{
    source s = open_source(_i, SMALL, &plain_io);
    unsigned char data[1000];
    s24_error err = {0};
    ck_assert_int_eq(s24_input_read(s.in, 0, data, 0, &err), S24_OK);
    for (uint64_t at = 0; at + 1000 <= SMALL; at += 1013) { /* with gaps, which are lost */
        ck_assert_int_eq(s24_input_read(s.in, at, data, 1000, &err), S24_OK);
        check_bytes(data, at, 1000);
    }
    const s24_status back = s24_input_read(s.in, 0, data, 10, &err);
    if (_i == FROM_PIPE) {
        ck_assert_int_eq(back, S24_ERR_SYSTEM);
        ck_assert_ptr_nonnull(strstr(err.message, "is gone"));
    } else {
        ck_assert_int_eq(back, S24_OK);
        check_bytes(data, 0, 10);
    }
    ck_assert_int_eq(s24_input_read(s.in, SMALL - 5, data, 5, &err), S24_OK);
    check_bytes(data, SMALL - 5, 5);
    ck_assert_int_eq(s24_input_expect_end(s.in, SMALL, &err), S24_OK);
    s24_input_close(s.in);
}
END_TEST

START_TEST(truncated)
{
    static const struct { uint64_t at; size_t n; } reads[] = {{SMALL - 4, 5}, {SMALL, 1}, {SMALL + 7, 3}, {0, SMALL + 1}};
    unsigned char *const data = malloc(SMALL + 1);
    for (size_t i = 0; i < COUNT(reads); i++) {
        source s = open_source(_i, SMALL, &plain_io);
        s24_error err = {0};
        ck_assert_int_eq(s24_input_read(s.in, reads[i].at, data, reads[i].n, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "truncated: ends after 30000 bytes"), "%s", err.message);
        ck_assert_uint_eq(err.offset, SMALL);
        s24_input_close(s.in);
    }
    source s = open_source(_i, SMALL, &plain_io);
    s24_error err = {0};
    char *text;
    /* A length that lies costs no memory: there is not that much. */
    ck_assert_int_eq(s24_input_read_new(s.in, 10, &text, (size_t)1 << 60, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated"));
    s24_input_close(s.in);
    s = open_source(_i, SMALL, &plain_io);
    if (_i != FROM_PIPE) { /* nor does an offset wrap around */
        ck_assert_int_eq(s24_input_read(s.in, UINT64_MAX - 3, data, 10, &err), S24_ERR_DATA);
        ck_assert_int_eq(s24_input_read(s.in, 8, data, SIZE_MAX, &err), S24_ERR_DATA);
    }
    s24_input_close(s.in);
    free(data);
}
END_TEST

START_TEST(new_memory)
{
    static const size_t sizes[] = {0, 1, 4096, SMALL};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        source s = open_source(_i, SMALL, &plain_io);
        s24_error err = {0};
        char *text;
        ck_assert_int_eq(s24_input_read_new(s.in, 0, &text, sizes[i], &err), S24_OK);
        check_bytes((unsigned char *)text, 0, sizes[i]);
        ck_assert_int_eq(text[sizes[i]], 0);
        free(text);
        s24_input_close(s.in);
    }
}
END_TEST

START_TEST(peeks)
{
    static const size_t sizes[] = {0, 1, 100, 256, 257, SMALL};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        source s = open_source(_i, sizes[i], &plain_io);
        unsigned char data[256], *const all = malloc(SMALL);
        s24_error err = {0};
        for (int twice = 0; twice < 2; twice++) {
            size_t got;
            ck_assert_int_eq(s24_input_peek(s.in, data, 256, &got, &err), S24_OK);
            ck_assert_uint_eq(got, sizes[i] < 256 ? sizes[i] : 256);
            check_bytes(data, 0, got);
        }
        ck_assert_int_eq(s24_input_read(s.in, 0, all, sizes[i], &err), S24_OK); /* across the end of what was peeked */
        check_bytes(all, 0, sizes[i]);
        ck_assert_int_eq(s24_input_expect_end(s.in, sizes[i], &err), S24_OK);
        ck_assert_uint_eq(s.in->size, sizes[i]);
        free(all);
        s24_input_close(s.in);
    }
}
END_TEST

/* Holds that overlap, that follow one another, that lie beyond; each readable in any order, again and again. */
START_TEST(holds)
{
    static const struct { uint64_t at, n; } ranges[] = {{100, 300}, {300, 50}, {400, 5000}, {5400, 0}, {6000, 10000},
                                                        {6001, 20000}, {SMALL, 0}};
    source s = open_source(_i, SMALL, &plain_io);
    unsigned char data[256], one;
    s24_error err = {0};
    size_t got;
    ck_assert_int_eq(s24_input_peek(s.in, data, 256, &got, &err), S24_OK);
    for (size_t i = 0; i < COUNT(ranges); i++) {
        ck_assert_msg(s24_input_hold(s.in, ranges[i].at, ranges[i].n, &err) == S24_OK, "%s", err.message);
        for (uint64_t k = ranges[i].n; k > 0; k -= k < 7 ? k : 7) {
            ck_assert_int_eq(s24_input_read(s.in, ranges[i].at + k - 1, &one, 1, &err), S24_OK);
            check_bytes(&one, ranges[i].at + k - 1, 1);
        }
    }
    const s24_status beyond = s24_input_hold(s.in, SMALL - 10, 11, &err);
    ck_assert_int_eq(beyond, _i == FROM_PIPE ? S24_ERR_SYSTEM : S24_OK); /* of a pipe it is gone, not truncated */
    s24_input_close(s.in);
}
END_TEST

/* What lies behind a range that is held, and was taken with it, comes only once: as a peek takes several small tensors. */
START_TEST(holds_keep_what_follows)
{
    static const struct { uint64_t at, n; } ranges[] = {{100, 0}, {120, 20}, {140, 16}, {200, 100}};
    source s = open_source(_i, SMALL, &plain_io);
    unsigned char data[256];
    s24_error err = {0};
    size_t got;
    ck_assert_int_eq(s24_input_peek(s.in, data, 256, &got, &err), S24_OK);
    for (size_t i = 0; i < COUNT(ranges); i++) {
        ck_assert_msg(s24_input_hold(s.in, ranges[i].at, ranges[i].n, &err) == S24_OK, "%s", err.message);
    }
    ck_assert_msg(s24_input_hold(s.in, 210, 5, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(s24_input_read(s.in, 220, data, 200, &err) == S24_OK, "%s", err.message);
    check_bytes(data, 220, 200);
    s24_input_close(s.in);
}
END_TEST

START_TEST(holds_too_much)
{
    s24_error err = {0};
    source s = open_source(FROM_PIPE, SMALL, &plain_io);
    ck_assert_int_eq(s24_input_hold(s.in, 29000, 2000, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated: ends after 30000"));
    s24_input_close(s.in);
    s = open_source(FROM_PIPE, SMALL, &plain_io);
    ck_assert_int_eq(s24_input_hold(s.in, SMALL + 1, 1, &err), S24_ERR_DATA);
    s24_input_close(s.in);
    /* What was read without being held cannot be held any more; it must not be taken for what follows. */
    unsigned char data[500];
    s = open_source(FROM_PIPE, SMALL, &plain_io);
    ck_assert_int_eq(s24_input_hold(s.in, 0, 100, &err), S24_OK);
    ck_assert_int_eq(s24_input_read(s.in, 100, data, 500, &err), S24_OK);
    ck_assert_int_eq(s24_input_hold(s.in, 50, 100, &err), S24_ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "is gone"));
    s24_input_close(s.in);
}
END_TEST

START_TEST(holds_all)
{
    source s = open_source(_i, SMALL, &plain_io);
    unsigned char data[256];
    s24_error err = {0};
    size_t got;
    ck_assert_int_eq(s24_input_peek(s.in, data, 256, &got, &err), S24_OK);
    ck_assert_int_eq(s24_input_hold_all(s.in, &err), S24_OK);
    ck_assert_uint_eq(s.in->size, SMALL);
    for (uint64_t at = SMALL - 256;; at -= 256) {
        ck_assert_int_eq(s24_input_read(s.in, at, data, 256, &err), S24_OK);
        check_bytes(data, at, 256);
        if (at < 256) {
            break;
        }
    }
    ck_assert_int_eq(s24_input_read(s.in, SMALL - 3, data, 4, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_input_expect_end(s.in, SMALL, &err), S24_OK);
    s24_input_close(s.in);
}
END_TEST

/* One byte too many, one too few, whatever has been peeked at or read before. */
START_TEST(ends)
{
    for (int way = 0; way < 3; way++) {
        for (int delta = -1; delta <= 1; delta++) {
            const size_t size = way == 1 ? 200 : 5000;
            source s = open_source(_i, size, &plain_io);
            unsigned char data[256];
            s24_error err = {0};
            size_t got;
            if (way == 1) {
                ck_assert_int_eq(s24_input_peek(s.in, data, 256, &got, &err), S24_OK);
            } else if (way == 2) {
                ck_assert_int_eq(s24_input_read(s.in, 0, data, 256, &err), S24_OK);
            }
            const s24_status status = s24_input_expect_end(s.in, size + (size_t)delta, &err);
            ck_assert_int_eq(status, delta ? S24_ERR_DATA : S24_OK);
            ck_assert(delta >= 0 || strstr(err.message, "too many after") || strstr(err.message, "more bytes follow"));
            ck_assert(delta <= 0 || strstr(err.message, "truncated"));
            s24_input_close(s.in);
        }
    }
}
END_TEST

START_TEST(shrinks)
{
    source s = open_source(FROM_FILE, SMALL, &plain_io);
    unsigned char data[100];
    s24_error err = {0};
    ck_assert_int_eq(truncate("input", 20000), 0);
    ck_assert_int_eq(s24_input_read(s.in, 19950, data, 100, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated: ends after 20000"));
    s24_input_close(s.in);
}
END_TEST

START_TEST(cannot_open)
{
    s24_input *in;
    s24_error err = {0};
    ck_assert_int_eq(s24_input_open(&in, &plain_io, "missing", &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_int_eq(s24_input_open(&in, &plain_io, ".", &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, EISDIR);
    ck_assert_int_eq(s24_input_open(&in, &plain_io, "missing", NULL), S24_ERR_SYSTEM);
}
END_TEST

/* Standard input: a file from its start is one by position; from elsewhere, and a pipe, it is a stream. */
START_TEST(standard_input)
{
    const int saved = dup(STDIN_FILENO);
    source file = open_source(FROM_FILE, SMALL, &plain_io);
    s24_input_close(file.in);
    for (int way = 0; way < 3; way++) {
        feeder p;
        int fd = -1;
        if (way < 2) {
            fd = open("input", O_RDONLY);
            ck_assert_int_eq(lseek(fd, way ? 1000 : 0, SEEK_SET), way ? 1000 : 0);
            dup2(fd, STDIN_FILENO);
        } else {
            start_feeding(&p, SMALL, false);
            dup2(p.fds[0], STDIN_FILENO);
        }
        s24_input *in;
        unsigned char data[100];
        s24_error err = {0};
        ck_assert_int_eq(s24_input_open(&in, &plain_io, "-", &err), S24_OK);
        ck_assert_str_eq(in->name, "standard input");
        ck_assert_int_eq(in->stream, way != 0);
        ck_assert_int_eq(s24_input_read(in, 50, data, 100, &err), S24_OK);
        check_bytes(data, way == 1 ? 1050 : 50, 100);
        ck_assert_int_eq(s24_input_expect_end(in, way == 1 ? SMALL - 1000 : SMALL, &err), S24_OK);
        s24_input_close(in);
        ck_assert_int_ge(fcntl(STDIN_FILENO, F_GETFD), 0); /* it is not ours to close */
        if (way < 2) {
            close(fd);
        } else {
            stop_feeding(&p);
        }
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
}
END_TEST

/* ---------------------------------------------------------------- spools */

static void count_notes(void *user, const char *message)
{
    ck_assert_ptr_nonnull(strstr(message, "temporary file"));
    ++*(int *)user;
}

typedef struct reader {
    s24_input *in;
    pthread_t thread;
    unsigned seed;
} reader;

static void *read_around(void *argument)
{
    const reader *const r = argument;
    unsigned char data[5000];
    uint64_t at = r->seed;
    for (int i = 0; i < 200; i++) {
        at = (at * 6364136223846793005u + 1442695040888963407u) % (BIG - sizeof data);
        if (s24_input_read(r->in, at, data, sizeof data, NULL) != S24_OK || data[0] != byte_at(at) ||
            data[4999] != byte_at(at + 4999)) {
            return (void *)(uintptr_t)1;
        }
    }
    return NULL;
}

/* More than a spool keeps in memory: a file without a name, and the same bytes. */
START_TEST(large_hold)
{
    int notes = 0;
    const s24_io io = {.note = count_notes, .user = &notes};
    feeder p;
    s24_input *in;
    s24_error err = {0};
    start_feeding(&p, BIG, false);
    ck_assert_int_eq(s24_input_open(&in, &io, p.path, &err), S24_OK);
    ck_assert_int_eq(s24_input_hold_all(in, &err), S24_OK);
    ck_assert_uint_eq(in->size, BIG);
    ck_assert(in->held.fd >= 0 && !in->held.memory);
    ck_assert_int_eq(notes, 1);
    reader readers[3];
    for (unsigned i = 0; i < COUNT(readers); i++) {
        readers[i] = (reader){.in = in, .seed = i + 1};
        ck_assert_int_eq(pthread_create(&readers[i].thread, NULL, read_around, &readers[i]), 0);
    }
    for (unsigned i = 0; i < COUNT(readers); i++) {
        void *wrong;
        pthread_join(readers[i].thread, &wrong);
        ck_assert_ptr_null(wrong);
    }
    struct stat st;
    ck_assert_int_eq(fstat(in->held.fd, &st), 0);
    ck_assert_uint_eq(st.st_nlink, 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    stop_feeding(&p);
    s24_input_close(in);
}
END_TEST

START_TEST(spool_by_position)
{
    s24_spool spool;
    s24_error err = {0};
    unsigned char data[64];
    s24_spool_init(&spool, &plain_io);
    ck_assert_int_eq(s24_spool_reserve(&spool, 64, "a test", &err), S24_OK);
    for (int i = 63; i >= 0; i--) {
        const unsigned char byte = byte_at((uint64_t)i);
        ck_assert_int_eq(s24_spool_write(&spool, (uint64_t)i, &byte, 1, &err), S24_OK);
    }
    ck_assert_int_eq(s24_spool_append(&spool, "tail", 4, &err), S24_OK);
    ck_assert_int_eq(s24_spool_append(&spool, NULL, 0, &err), S24_OK);
    ck_assert_uint_eq(spool.length, 68);
    /* What was in memory moves into the file. */
    ck_assert_int_eq(s24_spool_reserve(&spool, BIG, "a test", &err), S24_OK);
    ck_assert(spool.fd >= 0 && spool.length == BIG);
    ck_assert_int_eq(s24_spool_read(&spool, 0, data, 64, &err), S24_OK);
    check_bytes(data, 0, 64);
    ck_assert_int_eq(s24_spool_read(&spool, 64, data, 4, &err), S24_OK);
    ck_assert(memcmp(data, "tail", 4) == 0);
    ck_assert_int_eq(s24_spool_write(&spool, BIG - 1, "x", 1, &err), S24_OK);
    ck_assert_int_eq(s24_spool_read(&spool, BIG - 1, data, 1, &err), S24_OK);
    ck_assert_int_eq(data[0], 'x');
    ck_assert_int_eq(s24_spool_read(&spool, BIG - 1, data, 2, &err), S24_ERR_SYSTEM);
    s24_spool_free(&spool);
    ck_assert(spool.fd == -1 && spool.length == 0);
}
END_TEST

/* ---------------------------------------------------------------- outputs */

static s24_output *open_output(const s24_io *io, const char *path)
{
    s24_output *out;
    s24_error err = {0};
    ck_assert_msg(s24_output_open(&out, io, path, NULL, 0, &err) == S24_OK, "%s: %s", path, err.message);
    return out;
}

static s24_status put(const s24_io *io, const char *path, const char *text, s24_error *err)
{
    s24_output *const out = open_output(io, path);
    ck_assert_int_eq(s24_output_write(out, 0, text, strlen(text), err), S24_OK);
    return s24_output_commit(out, err);
}

static s24_status refusal(const s24_io *io, const char *path, s24_input *input, s24_error *err)
{
    s24_output *out;
    s24_input *const inputs[] = {NULL, input};
    *err = (s24_error){0};
    return s24_output_open(&out, io, path, inputs, COUNT(inputs), err);
}

START_TEST(appears_as_a_whole)
{
    static const s24_io *const ios[] = {&plain_io, &force_io}; /* the second with its fsyncs */
    char absolute[128];
    snprintf(absolute, sizeof absolute, "%s/absolute", directory);
    const char *const paths[] = {"new", "./new", "sub/new", "sub/../new", absolute};
    ck_assert_int_eq(mkdir("sub", 0777), 0);
    for (size_t i = 0; i < COUNT(paths); i++) {
        s24_error err = {0};
        s24_output *const out = open_output(ios[i % 2], paths[i]);
        ck_assert(!out->stream);
        ck_assert_int_eq(s24_output_write(out, 4, "efgh", 4, &err), S24_OK);
        ck_assert_int_eq(s24_output_write(out, 0, "abcd", 4, &err), S24_OK);
        ck_assert_int_eq(s24_output_write(out, 9, NULL, 0, &err), S24_OK);
        ck_assert(!exists(paths[i]));
        ck_assert_int_eq(s24_output_commit(out, &err), S24_OK);
        ck_assert(file_is(paths[i], "abcdefgh"));
        unlink(paths[i]);
    }
    ck_assert_int_eq(count_files("sub"), 0);
    ck_assert_int_eq(count_files("."), 1);
}
END_TEST

START_TEST(abort_leaves_nothing)
{
    s24_error err = {0};
    spit("old", "precious");
    for (int existing = 0; existing < 2; existing++) {
        s24_output *const out = open_output(&force_io, existing ? "old" : "new");
        ck_assert_int_eq(s24_output_write(out, 0, "half", 4, &err), S24_OK);
        ck_assert_int_eq(count_files("."), 2);
        s24_output_abort(out);
        ck_assert_int_eq(count_files("."), 1);
    }
    s24_output_abort(NULL);
    ck_assert(file_is("old", "precious"));
}
END_TEST

START_TEST(existing_target)
{
    s24_error err;
    spit("old", "precious");
    ck_assert_int_eq(refusal(&plain_io, "old", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, EEXIST);
    ck_assert_ptr_nonnull(strstr(err.message, "-f replaces it"));
    ck_assert(file_is("old", "precious"));
    ck_assert_int_eq(put(&force_io, "old", "new", &err), S24_OK);
    ck_assert(file_is("old", "new"));
    ck_assert_int_eq(refusal(&force_io, ".", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, EISDIR);
    ck_assert_int_eq(refusal(&force_io, "missing/new", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ENOENT);
    ck_assert_int_eq(refusal(&force_io, "old/new", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ENOTDIR);
    ck_assert_int_eq(refusal(&force_io, "", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(count_files("."), 1);
}
END_TEST

/* While the output was being made somebody else made one of that name. */
START_TEST(target_appears_meanwhile)
{
    s24_error err = {0};
    s24_output *out = open_output(&plain_io, "new");
    ck_assert_int_eq(s24_output_write(out, 0, "mine", 4, &err), S24_OK);
    spit("new", "theirs");
    ck_assert_int_eq(s24_output_commit(out, &err), S24_ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "exists already"));
    ck_assert(file_is("new", "theirs"));
    ck_assert_int_eq(count_files("."), 1);
    unlink("new");
    out = open_output(&force_io, "new");
    ck_assert_int_eq(s24_output_write(out, 0, "mine", 4, &err), S24_OK);
    spit("new", "theirs");
    ck_assert_int_eq(s24_output_commit(out, &err), S24_OK);
    ck_assert(file_is("new", "mine"));
    ck_assert_int_eq(count_files("."), 1);
}
END_TEST

START_TEST(never_an_input)
{
    source s = open_source(FROM_FILE, 100, &plain_io);
    s24_error err;
    char absolute[128];
    snprintf(absolute, sizeof absolute, "%s/input", directory);
    ck_assert_int_eq(link("input", "hard"), 0);
    ck_assert_int_eq(symlink("input", "soft"), 0);
    ck_assert_int_eq(symlink("soft", "softer"), 0);
    const char *const paths[] = {"input", "./input", absolute, "hard", "soft", "softer"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        ck_assert_int_eq(refusal(&force_io, paths[i], s.in, &err), S24_ERR_USAGE);
        ck_assert_ptr_nonnull(strstr(err.message, "is the input"));
        ck_assert_int_eq(refusal(&plain_io, paths[i], s.in, &err), S24_ERR_USAGE);
    }
    ck_assert_int_eq(mkfifo("fifo", 0600), 0); /* a pipe into itself waits for ever */
    const int both = open("fifo", O_RDWR);
    s24_input *in;
    ck_assert_int_eq(s24_input_open(&in, &plain_io, "fifo", &err), S24_OK);
    ck_assert_int_eq(refusal(&force_io, "fifo", in, &err), S24_ERR_USAGE);
    s24_input_close(in);
    close(both);
    s24_input_close(s.in);
    ck_assert_int_eq(count_files("."), 5);
}
END_TEST

START_TEST(symbolic_links)
{
    s24_error err;
    struct stat st;
    ck_assert_int_eq(mkdir("there", 0777), 0);
    spit("there/real", "old");
    ck_assert_int_eq(symlink("there/real", "link"), 0);
    ck_assert_int_eq(symlink("link", "chain"), 0);
    ck_assert_int_eq(refusal(&plain_io, "link", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, EEXIST);
    const char *const links[] = {"link", "chain"};
    for (size_t i = 0; i < COUNT(links); i++) {
        s24_output *const out = open_output(&force_io, links[i]);
        ck_assert_int_eq(s24_output_write(out, 0, links[i], 4, &err), S24_OK);
        ck_assert_int_eq(count_files("there"), 2); /* beside the real file: rename is within one directory */
        ck_assert_int_eq(s24_output_commit(out, &err), S24_OK);
        ck_assert(lstat(links[i], &st) == 0 && S_ISLNK(st.st_mode));
        ck_assert(lstat("there/real", &st) == 0 && S_ISREG(st.st_mode));
        ck_assert(file_is("there/real", i ? "chai" : "link"));
    }
    ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
    ck_assert_int_eq(refusal(&force_io, "dangling", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "symbolic link to nothing"));
    ck_assert_int_eq(symlink("circle", "circle"), 0);
    ck_assert_int_eq(refusal(&force_io, "circle", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ELOOP);
    ck_assert(!exists("nowhere"));
    ck_assert_int_eq(count_files("there"), 1);
}
END_TEST

START_TEST(mode_as_umask_says)
{
    static const mode_t masks[] = {022, 077, 002, 0, 0777};
    const mode_t before = umask(masks[_i]);
    s24_error err = {0};
    struct stat st;
    s24_output *const out = open_output(&plain_io, "new");
    ck_assert_int_eq(stat(out->temporary, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600 & ~masks[_i]); /* nobody reads half a file */
    ck_assert_int_eq(s24_output_commit(out, &err), S24_OK);
    ck_assert_int_eq(stat("new", &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0666 & ~masks[_i]);
    ck_assert_int_eq(chmod("new", 0640), 0); /* a file that is replaced is a new one */
    ck_assert_int_eq(put(&force_io, "new", "x", &err), S24_OK);
    ck_assert_int_eq(stat("new", &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0666 & ~masks[_i]);
    umask(before);
}
END_TEST

START_TEST(long_names)
{
    char name[256];
    s24_error err = {0};
    memset(name, 'n', 255);
    name[255] = '\0';
    ck_assert_int_eq(put(&plain_io, name, "long", &err), S24_OK);
    ck_assert(file_is(name, "long"));
    ck_assert_int_eq(count_files("."), 1);
}
END_TEST

/* What a process left behind that was killed, of this machine, is taken away by the next; nothing else is. */
START_TEST(left_behind)
{
    s24_error err = {0};
    char left[300] = "", name[300];
    const pid_t child = fork();
    if (child == 0) {
        s24_output *const out = open_output(&plain_io, "killed");
        s24_output_write(out, 0, "half", 4, NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, NULL, 0), child); /* and its number is nobody's */
    DIR *const d = opendir(".");
    for (const struct dirent *e; d && (e = readdir(d)) != NULL;) {
        if (strncmp(e->d_name, ".killed.s24-", 12) == 0) {
            snprintf(left, sizeof left, "%s", e->d_name);
        }
    }
    closedir(d);
    ck_assert_str_ne(left, "");
    const char *const mark = strstr(left, ".s24-"), *const dash = strchr(mark + 5, '-');
    const int tag = (int)(dash - mark) - 5;
    /* Almost the same: another machine's; of a process that lives; no number; too long; no dot; a directory; a link. */
    char others[7][320];
    snprintf(others[0], sizeof *others, ".killed.s24-%08x-%ld-abcdef", 0u, (long)child);
    snprintf(others[1], sizeof *others, ".killed.s24-%.*s-%ld-abcdef", tag, mark + 5, (long)getpid());
    snprintf(others[2], sizeof *others, ".killed.s24-%.*s-0-abcdef", tag, mark + 5);
    snprintf(others[3], sizeof *others, "%sg", left);
    snprintf(others[4], sizeof *others, "%s", left + 1);
    snprintf(others[5], sizeof *others, ".killed.s24-%.*s-%ld-direct", tag, mark + 5, (long)child);
    snprintf(others[6], sizeof *others, ".killed.s24-%.*s-%ld-linked", tag, mark + 5, (long)child);
    for (int i = 0; i < 5; i++) {
        spit(others[i], "theirs");
    }
    ck_assert_int_eq(mkdir(others[5], 0777), 0);
    ck_assert_int_eq(symlink(others[0], others[6]), 0);
    snprintf(name, sizeof name, ".x.s24-y%s", mark); /* the last mark counts */
    spit(name, "left");
    ck_assert_int_eq(put(&plain_io, "new", "next", &err), S24_OK);
    ck_assert_msg(!exists(left) && !exists(name), "%s is there still", left);
    for (int i = 0; i < 5; i++) {
        ck_assert_msg(exists(others[i]), "%s is gone", others[i]);
        unlink(others[i]);
    }
    ck_assert_int_eq(rmdir(others[5]), 0);
    ck_assert_int_eq(unlink(others[6]), 0);
    unlink("new");
    ck_assert_int_eq(count_files("."), 0);
}
END_TEST

/* A killed process of this machine under another name; false: that is not allowed here. */
static bool leave_behind(const char *machine)
{
    int ended;
    const pid_t child = fork();
    if (child == 0) {
        if ((unshare(CLONE_NEWUTS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWUTS) != 0) ||
            sethostname(machine, strlen(machine)) != 0) {
            _exit(1);
        }
        s24_output *const out = open_output(&plain_io, machine);
        s24_output_write(out, 0, "half", 4, NULL);
        _exit(0);
    }
    return waitpid(child, &ended, 0) == child && ended == 0;
}

/* Every letter of a machine's name counts: on a shared disk a number that is free here may be taken there. */
START_TEST(left_behind_elsewhere)
{
    s24_error err = {0};
    struct utsname machine;
    char first[sizeof machine.nodename], last[sizeof machine.nodename];
    ck_assert(uname(&machine) == 0 && *machine.nodename);
    const size_t n = strlen(machine.nodename);
    for (size_t i = 0; i <= n; i++) {
        first[i] = last[i] = machine.nodename[i];
    }
    first[0] = (char)(first[0] == 'a' ? 'b' : 'a');
    last[n - 1] = (char)(last[n - 1] == 'a' ? 'b' : 'a');
    if (n > 1 && leave_behind(first) && leave_behind(last) && leave_behind(machine.nodename)) {
        ck_assert_int_eq(count_files("."), 3);
        ck_assert_int_eq(put(&plain_io, "new", "next", &err), S24_OK);
        ck_assert_int_eq(count_files("."), 3); /* this machine's is gone, "new" has come */
    }
}
END_TEST

/* ---------------------------------------------------------------- outputs that are streams */

typedef struct drain {
    int fd;
    char text[512];
    size_t n;
    pthread_t thread;
} drain;

static void *drain_loop(void *argument)
{
    drain *const d = argument;
    for (ssize_t r = 1; r > 0 && d->n < sizeof d->text;) {
        r = read(d->fd, d->text + d->n, sizeof d->text - d->n);
        d->n += r > 0 ? (size_t)r : 0;
    }
    return NULL;
}

START_TEST(fifo_in_place)
{
    s24_error err = {0};
    struct stat st;
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    drain d = {.fd = open("fifo", O_RDONLY | O_NONBLOCK)};
    ck_assert_int_eq(fcntl(d.fd, F_SETFL, 0), 0);
    s24_output *const out = open_output(&plain_io, "fifo"); /* without force: nothing is replaced */
    ck_assert(out->stream && !out->temporary);
    ck_assert_int_eq(pthread_create(&d.thread, NULL, drain_loop, &d), 0);
    ck_assert_int_eq(s24_output_write(out, 0, "abcd", 4, &err), S24_OK);
    ck_assert_int_eq(s24_output_write(out, 4, "ef", 2, &err), S24_OK);
    ck_assert_int_eq(s24_output_write(out, 9, "x", 1, &err), S24_ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "out of order"));
    ck_assert_int_eq(s24_output_commit(out, &err), S24_OK);
    pthread_join(d.thread, NULL);
    close(d.fd);
    ck_assert(d.n == 6 && memcmp(d.text, "abcdef", 6) == 0);
    ck_assert(lstat("fifo", &st) == 0 && S_ISFIFO(st.st_mode));
    ck_assert_int_eq(count_files("."), 1);
}
END_TEST

/* What a shell makes of `-o >(command)`: a link to something that has no path. */
START_TEST(descriptor_of_a_pipe)
{
    int fds[2];
    char path[32], got[8] = {0};
    s24_error err = {0};
    ck_assert_int_eq(pipe(fds), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[1]);
    ck_assert_int_eq(put(&plain_io, path, "hello", &err), S24_OK);
    ck_assert_int_eq(read(fds[0], got, sizeof got), 5);
    ck_assert_str_eq(got, "hello");
    close(fds[0]);
    s24_output *const out = open_output(&plain_io, path);
    ck_assert_int_eq(s24_output_write(out, 0, "x", 1, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, EPIPE);
    s24_output_abort(out);
    close(fds[1]);
}
END_TEST

START_TEST(full_device)
{
    s24_error err = {0};
    s24_output *const out = open_output(&plain_io, "/dev/full");
    ck_assert_int_eq(s24_output_write(out, 0, "x", 1, &err), S24_ERR_SYSTEM);
    ck_assert_int_eq(err.sys_errno, ENOSPC);
    s24_output_abort(out);
    ck_assert(exists("/dev/full"));
}
END_TEST

START_TEST(standard_output)
{
    const int saved = dup(STDOUT_FILENO);
    s24_error err = {0};
    spit("log", "before ");
    const int fd = open("log", O_WRONLY | O_APPEND);
    s24_input *in;
    ck_assert_int_eq(s24_input_open(&in, &plain_io, "log", &err), S24_OK);
    dup2(fd, STDOUT_FILENO);
    const s24_status onto_input = refusal(&plain_io, "-", in, &err);
    s24_output *out;
    const s24_status opened = s24_output_open(&out, &plain_io, "-", NULL, 0, &err);
    s24_status written = s24_output_write(out, 0, "after", 5, &err);
    written = written == S24_OK ? s24_output_commit(out, &err) : written;
    const int open_still = fcntl(STDOUT_FILENO, F_GETFD);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(fd);
    ck_assert_int_eq(onto_input, S24_ERR_USAGE);
    ck_assert(opened == S24_OK && written == S24_OK && open_still >= 0);
    ck_assert(file_is("log", "before after"));
    s24_input_close(in);
}
END_TEST

/* ---------------------------------------------------------------- stopping */

static volatile sig_atomic_t flag;
static const s24_io stoppable = {.no_sync = true, .cancel = &flag};

START_TEST(stopped_before)
{
    s24_error err = {0};
    unsigned char data[10];
    flag = 0;
    source s = open_source(_i, SMALL, &stoppable);
    s24_output *out = open_output(&stoppable, "new");
    ck_assert_int_eq(s24_output_write(out, 0, "half", 4, &err), S24_OK);
    flag = 1;
    if (_i != FROM_MEMORY) {
        ck_assert_int_eq(s24_input_read(s.in, 0, data, 10, &err), S24_ERR_STOPPED);
    }
    ck_assert_int_eq(s24_output_write(out, 4, "x", 1, &err), S24_ERR_STOPPED);
    ck_assert_int_eq(s24_output_commit(out, &err), S24_ERR_STOPPED);
    ck_assert_int_eq(err.status, S24_ERR_STOPPED);
    ck_assert(!exists("new"));
    s24_input_close(s.in);
    ck_assert_int_eq(count_files("."), _i == FROM_FILE);
    flag = 0;
}
END_TEST

__attribute__((no_sanitize("thread"))) static void raise_flag(int signal_number)
{
    (void)signal_number;
    flag = 1;
}

typedef struct stopper {
    pthread_t thread, main;
    bool by_signal;
} stopper;

/* The flag is what a signal handler raises, volatile and not atomic: a race to ThreadSanitizer, and none that matters. */
__attribute__((no_sanitize("thread"))) static void *stop_soon(void *argument)
{
    const stopper *const s = argument;
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    if (s->by_signal) {
        pthread_kill(s->main, SIGUSR1);
    } else {
        flag = 1;
    }
    return NULL;
}

/* A read that waits for a pipe sees the flag, be it raised by another thread or by a signal to this one. */
START_TEST(stopped_while_waiting)
{
    feeder p;
    s24_input *in;
    s24_error err = {0};
    unsigned char data[200];
    struct sigaction action = {.sa_handler = raise_flag};
    sigemptyset(&action.sa_mask);
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    flag = 0;
    start_feeding(&p, 100, true);
    ck_assert_int_eq(s24_input_open(&in, &stoppable, p.path, &err), S24_OK);
    stopper s = {.main = pthread_self(), .by_signal = _i};
    ck_assert_int_eq(pthread_create(&s.thread, NULL, stop_soon, &s), 0);
    const s24_status status = _i ? s24_input_hold_all(in, &err) : s24_input_read(in, 0, data, 200, &err);
    ck_assert_int_eq(status, S24_ERR_STOPPED);
    pthread_join(s.thread, NULL);
    s24_input_close(in);
    stop_feeding(&p);
    flag = 0;
}
END_TEST

/* A descriptor that does not block is waited for all the same. */
START_TEST(non_blocking)
{
    feeder p;
    s24_error err = {0};
    unsigned char data[SMALL];
    start_feeding(&p, SMALL, false);
    const int saved = dup(STDIN_FILENO);
    dup2(p.fds[0], STDIN_FILENO);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    s24_input *in;
    ck_assert_int_eq(s24_input_open(&in, &plain_io, "-", &err), S24_OK);
    ck_assert_int_eq(s24_input_read(in, 0, data, SMALL, &err), S24_OK);
    check_bytes(data, 0, SMALL);
    s24_input_close(in);
    dup2(saved, STDIN_FILENO);
    close(saved);
    stop_feeding(&p);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("io");
    TCase *const tcase = tcase_create("all");
    tcase_add_unchecked_fixture(tcase, make_directory, remove_directory);
    tcase_add_checked_fixture(tcase, clear, clear);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, reads_in_order, 0, KINDS);
    tcase_add_loop_test(tcase, truncated, 0, KINDS);
    tcase_add_loop_test(tcase, new_memory, 0, KINDS);
    tcase_add_loop_test(tcase, peeks, 0, KINDS);
    tcase_add_loop_test(tcase, holds, 0, KINDS);
    tcase_add_loop_test(tcase, holds_keep_what_follows, 0, KINDS);
    tcase_add_test(tcase, holds_too_much);
    tcase_add_loop_test(tcase, holds_all, 0, KINDS);
    tcase_add_loop_test(tcase, ends, 0, KINDS);
    tcase_add_test(tcase, shrinks);
    tcase_add_test(tcase, cannot_open);
    tcase_add_test(tcase, standard_input);
    tcase_add_test(tcase, large_hold);
    tcase_add_test(tcase, spool_by_position);
    tcase_add_test(tcase, appears_as_a_whole);
    tcase_add_test(tcase, abort_leaves_nothing);
    tcase_add_test(tcase, existing_target);
    tcase_add_test(tcase, target_appears_meanwhile);
    tcase_add_test(tcase, never_an_input);
    tcase_add_test(tcase, symbolic_links);
    tcase_add_loop_test(tcase, mode_as_umask_says, 0, 5);
    tcase_add_test(tcase, long_names);
    tcase_add_test(tcase, left_behind);
    tcase_add_test(tcase, left_behind_elsewhere);
    tcase_add_test(tcase, fifo_in_place);
    tcase_add_test(tcase, descriptor_of_a_pipe);
    tcase_add_test(tcase, full_device);
    tcase_add_test(tcase, standard_output);
    tcase_add_loop_test(tcase, stopped_before, 0, KINDS);
    tcase_add_loop_test(tcase, stopped_while_waiting, 0, 2);
    tcase_add_test(tcase, non_blocking);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
