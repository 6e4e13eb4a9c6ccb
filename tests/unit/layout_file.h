/* For the tests of sparse layouts: safetensors files put together by hand, and opened from a file or a pipe. */
#ifndef S24_TESTS_LAYOUT_FILE_H
#define S24_TESTS_LAYOUT_FILE_H

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layout.h"

static const s24_io io = {.force = true, .no_sync = true};
static char path[] = "/tmp/s24-test-XXXXXX";

static inline void make_path(void)
{
    strcpy(path + strlen(path) - 6, "XXXXXX");
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static inline void remove_path(void)
{
    unlink(path);
}

static inline void put_file_as(const char *to, const void *data, size_t n)
{
    FILE *const f = fopen(to, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static inline void put_file(const void *data, size_t n)
{
    put_file_as(path, data, n);
}

typedef struct hand_tensor {
    const char *name, *dtype, *shape; /* as the header spells them; name NULL: no more */
    const void *data;
    size_t n;
} hand_tensor;

/* The file's bytes, the caller's to free. metadata: "" or "\"__metadata__\":{...},". */
static inline unsigned char *by_hand(const hand_tensor *tensors, const char *metadata, size_t *size)
{
    char header[4096];
    size_t used = (size_t)sprintf(header, "{%s", metadata), end = 0, n = 0;
    for (const hand_tensor *t = tensors; t->name; t++) {
        used += (size_t)sprintf(header + used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                                t > tensors ? "," : "", t->name, t->dtype, t->shape, end, end + t->n);
        end += t->n;
    }
    used += (size_t)sprintf(header + used, "}");
    unsigned char *const file = malloc(8 + used + end + 1);
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 8; i++) {
        file[i] = (unsigned char)((uint64_t)used >> 8 * i);
    }
    memcpy(file + 8, header, used);
    n = 8 + used;
    for (const hand_tensor *t = tensors; t->name; t++) {
        memcpy(file + n, t->data, t->n);
        n += t->n;
    }
    *size = n;
    return file;
}

/* A source that reads the n bytes from a pipe, which a child fills. */
static inline s24_status open_pipe(s24_source **source, const void *data, size_t n, s24_error *err)
{
    static const s24_read_options as_safetensors = {.format = "safetensors"};
    int fds[2];
    char name[32];
    ck_assert_int_eq(pipe(fds), 0);
    const pid_t child = fork();
    if (child == 0) {
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
    const s24_status status = s24_source_open(source, &io, name, &as_safetensors, err);
    close(fds[0]);
    return status;
}

/* From a file, or from a pipe. */
static inline s24_status open_bytes(s24_source **source, const void *data, size_t n, bool piped, s24_error *err)
{
    static const s24_read_options as_safetensors = {.format = "safetensors"};
    if (piped) {
        return open_pipe(source, data, n, err);
    }
    put_file(data, n);
    return s24_source_open(source, &io, path, &as_safetensors, err);
}

static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
