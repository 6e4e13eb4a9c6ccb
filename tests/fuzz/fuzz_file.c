/*
 * Any bytes as a file of any type, found by its content: inspected, verified, measured, pruned and converted, from a
 * file and from a pipe. Never a crash or a leak, never an output after an error or none after success, and the same
 * output and verdict whether the bytes come from a file or a pipe. What inspect refuses everything else refuses, too, which
 * is looked at in one of some.
 */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "directory.h"

#define MOST 60000 /* bytes: a pipe holds them */

static const s24_io io = {.force = true, .no_sync = true, .threads = 1};
static char file[32], output[300];
static int file_fd = -1;

typedef s24_status command(const char *path, s24_error *err);

static s24_status inspect(const char *path, s24_error *err)
{
    const s24_stats_request q = {.input = path, .header_only = true};
    s24_report report = {0};
    const s24_status status = s24_stats_file(&io, &q, &report, err);
    s24_report_free(&report);
    return status;
}

static s24_status stats(const char *path, s24_error *err)
{
    const s24_stats_request q = {.input = path, .selection = {.all = true}};
    s24_report report = {0};
    const s24_status status = s24_stats_file(&io, &q, &report, err);
    s24_report_free(&report);
    return status;
}

static s24_status verify(const char *path, s24_error *err)
{
    const s24_verify_request q = {.input = path, .selection = {.all = true}};
    return s24_verify_file(&io, &q, err);
}

static s24_status prune(const char *path, s24_error *err)
{
    const s24_prune_request q = {.input = path, .output = output, .dtype = S24_SAME, .selection = {.all = true}};
    return s24_prune_file(&io, &q, NULL, err);
}

static s24_status prune_dense(const char *path, s24_error *err)
{
    const s24_prune_request q = {.input = path, .output = output, .dtype = S24_SAME, .to = "npz", .allow_nonfinite = true};
    return s24_prune_file(&io, &q, NULL, err);
}

static s24_status pack(const char *path, s24_error *err)
{
    const s24_convert_request q = {.input = path, .output = output};
    return s24_convert_file(&io, &q, NULL, err);
}

static s24_status unpack(const char *path, s24_error *err)
{
    const s24_convert_request q = {.input = path, .output = output, .to = "json"};
    return s24_convert_file(&io, &q, NULL, err);
}

/* From a file and from a pipe. The first tells most: what is refused there is refused by all. */
static command *const commands[] = {inspect, stats, verify, prune, prune_dense, pack, unpack};

/* The output, which is removed; NULL: there is none. */
static uint8_t *take_output(size_t *n)
{
    const int fd = open(output, O_RDONLY);
    const off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    uint8_t *const data = fd < 0 ? NULL : malloc((size_t)size + 1);
    *n = (size_t)size;
    if (fd >= 0) {
        REQUIRE(data && pread(fd, data, *n, 0) == size);
        close(fd);
        unlink(output);
    }
    return data;
}

static s24_status run_piped(command *run, const uint8_t *data, size_t n, s24_error *err)
{
    int fds[2];
    char path[32];
    REQUIRE(pipe(fds) == 0 && write(fds[1], data, n) == (ssize_t)n);
    close(fds[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    const s24_status status = run(path, err);
    close(fds[0]);
    return status;
}

static s24_status run_both(command *run, const uint8_t *data, size_t n)
{
    s24_error err = {0}, piped = {0};
    size_t size, again;
    const s24_status status = run(file, &err);
    uint8_t *const made = take_output(&size);
    const s24_status other = run_piped(run, data, n, &piped);
    uint8_t *const same = take_output(&again);
    require_told(status, &err);
    require_told(other, &piped);
    REQUIRE(status == S24_OK || !made);
    REQUIRE(other == S24_OK || !same);
    /*
     * Of a pipe inspect does not see the end, what has nothing to do does not either, and a .s24 is not known by its tail,
     * nor that it is a later s24's before what is damaged in it.
     */
    REQUIRE(other == status || (other != S24_OK && (other != S24_ERR_CHECK || err.sys_errno == ENOTSUP)) || run == inspect);
    REQUIRE(status != S24_OK || other != S24_OK || (size == again && (!made || memcmp(made, same, size) == 0)));
    free(made);
    free(same);
    return status;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    make_directory();
    snprintf(output, sizeof output, "%s/out", directory);
    file_fd = memfd_create("file", 0);
    REQUIRE(file_fd >= 0);
    snprintf(file, sizeof file, "/proc/self/fd/%d", file_fd);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > MOST) {
        return 0;
    }
    REQUIRE(ftruncate(file_fd, 0) == 0 && pwrite(file_fd, data, n, 0) == (ssize_t)n);
    const bool readable = run_both(commands[0], data, n) == S24_OK;
    for (size_t i = 1; i < sizeof commands / sizeof *commands && (readable || is_chosen(data, n, 8)); i++) {
        const s24_status status = run_both(commands[i], data, n);
        REQUIRE(readable || status != S24_OK);
    }
    return 0;
}
