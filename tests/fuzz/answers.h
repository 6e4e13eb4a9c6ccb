/*
 * What must hold of any bytes as a .s24 file, however they are read: from a file, from a pipe, salvaged. Never two answers:
 * what one way gives, the others give.
 */
#ifndef S24_FUZZ_ANSWERS_H
#define S24_FUZZ_ANSWERS_H

#include <fcntl.h>
#include <sys/mman.h>

#include "directory.h"
#include "made.h"

#define DENSE_MOST (1u << 20)

static const s24_io io = {.force = true, .no_sync = true, .threads = 1};

static char output[300];

static void count(void *user, const char *message)
{
    REQUIRE(message[0]);
    ++*(int *)user;
}

static void count_fault(void *user, const s24_verify_fault *fault)
{
    REQUIRE(fault->message[0]);
    ++*(int *)user;
}

/* *damage: where in the file; not where it is whole and cannot be written for another reason. */
static s24_status unpack(const char *path, bool salvage, int *lost, uint64_t *damage)
{
    s24_error err = {.offset = S24_NO_OFFSET};
    const s24_decompress_request q = {.input = path, .output = output, .to = "safetensors", .dtype = S24_SAME,
                                      .salvage = salvage, .lost = count, .user = lost};
    const s24_status status = s24_decompress_file(&io, &q, &err);
    require_told(status, &err);
    *damage = err.offset;
    return status;
}

/* The output's hash; it is removed. 0: there is none. */
static uint64_t take_output(void)
{
    static uint8_t bytes[4 * DENSE_MOST];
    const int fd = open(output, O_RDONLY);
    if (fd < 0) {
        return 0;
    }
    const ssize_t n = read(fd, bytes, sizeof bytes);
    close(fd);
    unlink(output);
    REQUIRE(n >= 0);
    return XXH3_64bits(bytes, (size_t)n) | 1;
}

static s24_status check(const char *path)
{
    int faults = 0;
    s24_error err = {0};
    const s24_verify_request q = {.input = path, .fault = count_fault, .user = &faults};
    const s24_status status = s24_verify_file(&io, &q, &err);
    require_told(status, &err);
    REQUIRE(status == S24_ERR_CHECK ? faults > 0 : faults == 0 || status == S24_ERR_DATA); /* a codec that is not known */
    return status;
}

static s24_status measure(const char *path, bool header_only)
{
    s24_report report = {0};
    s24_error err = {0};
    const s24_stats_request q = {.input = path, .header_only = header_only};
    const s24_status status = s24_stats_file(&io, &q, &report, &err);
    require_told(status, &err);
    s24_report_free(&report);
    return status;
}

/* A header that lies may ask for any amount of NaN. */
static bool small_enough(const uint8_t *data, size_t n)
{
    s24_source *const source = parse(data, n);
    uint64_t bytes = source ? s24_plain_of(source)->file_size : 0;
    for (size_t i = 0; source && i < source->contents.count && bytes < DENSE_MOST; i++) {
        bytes += source->contents.entries[i].bytes;
    }
    s24_source_close(source);
    return bytes < DENSE_MOST;
}

static void from_file(const char *path, const uint8_t *data, size_t n, s24_status *unpacked, uint64_t *hash)
{
    int lost = 0;
    uint64_t damage;
    const s24_status verdict = check(path);
    *unpacked = unpack(path, false, &lost, &damage);
    REQUIRE(verdict != S24_OK || *unpacked == S24_OK || damage == S24_NO_OFFSET);
    *hash = take_output();
    REQUIRE((*unpacked == S24_OK) == (*hash != 0));
    REQUIRE(*unpacked != S24_OK || verdict == S24_OK || verdict == S24_ERR_CHECK); /* padding that is not canonical */
    REQUIRE(measure(path, false) != S24_OK || measure(path, true) == S24_OK);
    if (small_enough(data, n)) {
        const s24_status salvaged = unpack(path, true, &lost, &damage);
        const uint64_t again = take_output();
        REQUIRE((salvaged == S24_ERR_DATA && again) ? lost > 0 : lost == 0 || salvaged != S24_OK);
        REQUIRE(*unpacked != S24_OK || (salvaged == S24_OK && again == *hash));
    }
}

static void from_pipe(const uint8_t *data, size_t n, s24_status unpacked, uint64_t hash)
{
    int fds[2], lost = 0;
    uint64_t damage;
    char path[32];
    REQUIRE(pipe(fds) == 0);
    REQUIRE(write(fds[1], data, n) == (ssize_t)n);
    close(fds[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    const s24_status status = unpack(path, false, &lost, &damage);
    close(fds[0]);
    REQUIRE(take_output() == (status == S24_OK ? hash : 0));
    REQUIRE(status != S24_OK || unpacked == S24_OK);
    /* A pipe has no tail to be known by, only its first bytes. */
    REQUIRE(status == S24_OK || unpacked != S24_OK ||
            (!memmem(data, n < 256 ? n : 256, "\"s24\":\"1\"", 9) && memcmp(data, "\x89S24", 4) != 0));
}

/* The bytes in a file of the target's; the path stays. */
static const char *put_bytes(const uint8_t *data, size_t n)
{
    static int fd = -1;
    static char path[32];
    if (fd < 0) {
        fd = memfd_create("s24", 0);
        REQUIRE(fd >= 0);
        make_directory();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        snprintf(output, sizeof output, "%s/out", directory);
    }
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, data, n, 0) == (ssize_t)n);
    return path;
}

/* All of it; whether the file is whole. */
static bool ask(const uint8_t *data, size_t n)
{
    s24_status unpacked;
    uint64_t hash;
    from_file(put_bytes(data, n), data, n, &unpacked, &hash);
    from_pipe(data, n, unpacked, hash);
    return unpacked == S24_OK;
}

#endif
