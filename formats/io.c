/* Inputs, outputs and spools: see io.h. */
#define _GNU_SOURCE /* renameat2, O_TMPFILE, F_SETPIPE_SZ, sync_file_range */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "temporary.h"

#define SPOOL_MEMORY (32u << 20)  /* beyond this a spool is a file */
#define COPY_BYTES (1u << 20)
#define FIRST_TEXT (64u << 10)    /* room for a text whose length is not known */
#define BLOCK_BYTES (64u << 10)   /* of an appender */
#define PIPE_BYTES (1 << 20)
#define POLL_MS 200               /* how long a read of a pipe goes without a look at the cancel flag */

s24_status s24_io_stopped(const s24_io *io, s24_error *err)
{
    if (io->cancel && __atomic_load_n(io->cancel, __ATOMIC_RELAXED)) { /* set in a handler on another thread */
        return s24_fail(err, S24_ERR_STOPPED, "stopped");
    }
    return S24_OK;
}

static void say(const s24_io *io, void (*to)(void *user, const char *message), const char *format, va_list args)
{
    char message[512];
    if (to) {
        vsnprintf(message, sizeof message, format, args);
        to(io->user, message);
    }
}

void s24_io_note(const s24_io *io, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(io, io->note, format, args);
    va_end(args);
}

void s24_io_warn(const s24_io *io, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(io, io->warn, format, args);
    va_end(args);
}

/* ---------------------------------------------------------------- whole reads and writes */

/* Reads n bytes unless the file ends before; *got is how many. offset S24_UNKNOWN: from where the descriptor stands. */
static s24_status read_some(const s24_io *io, int fd, uint64_t offset, void *data, size_t n, size_t *got,
                            s24_error *err)
{
    *got = 0;
    while (*got < n) {
        const s24_status status = s24_io_stopped(io, err);
        if (status != S24_OK) {
            return status;
        }
        unsigned char *to = (unsigned char *)data + *got;
        const size_t want = n - *got < SSIZE_MAX ? n - *got : SSIZE_MAX;
        ssize_t r;
        if (offset != S24_UNKNOWN) {
            r = pread(fd, to, want, (off_t)(offset + *got));
        } else {
            /* Only the main thread takes signals: another one, blocked in read, would never see the flag. */
            struct pollfd p = {.fd = fd, .events = POLLIN};
            if (poll(&p, 1, POLL_MS) <= 0) { /* -1: a signal; the flag may be up */
                continue;
            }
            r = read(fd, to, want);
        }
        if (r == 0) {
            break;
        }
        if (r < 0 && errno != EINTR && errno != EAGAIN) {
            return s24_fail_errno(err, errno, "cannot read");
        }
        *got += r > 0 ? (size_t)r : 0;
    }
    return S24_OK;
}

static s24_status write_all(const s24_io *io, int fd, uint64_t offset, const void *data, size_t n, s24_error *err)
{
    size_t done = 0;
    while (done < n) {
        const s24_status status = s24_io_stopped(io, err);
        if (status != S24_OK) {
            return status;
        }
        const unsigned char *from = (const unsigned char *)data + done;
        const ssize_t w = offset == S24_UNKNOWN ? write(fd, from, n - done)
                                                : pwrite(fd, from, n - done, (off_t)(offset + done));
        if (w < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, POLL_MS);
        } else if (w < 0 && errno != EINTR) {
            return s24_fail_errno(err, errno, "cannot write");
        }
        done += w > 0 ? (size_t)w : 0;
    }
    return S24_OK;
}

/* Room in a pipe for what is moved at once; a file or a terminal has no such thing, and a refusal does no harm. */
static void widen_pipe(int fd)
{
    fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
}

/* The same for two pieces behind one another in a regular file. */
static s24_status write_two(const s24_io *io, int fd, uint64_t offset, const void *first, size_t n, const void *second,
                            size_t m, s24_error *err)
{
    size_t done = 0;
    while (done < n + m) {
        const s24_status status = s24_io_stopped(io, err);
        if (status != S24_OK) {
            return status;
        }
        const size_t of_first = done < n ? done : n, of_second = done - of_first;
        const struct iovec pieces[] = {{(char *)(uintptr_t)first + of_first, n - of_first},
                                       {(char *)(uintptr_t)second + of_second, m - of_second}};
        const ssize_t w = pwritev(fd, pieces, 2, (off_t)(offset + done));
        if (w < 0 && errno != EINTR) {
            return s24_fail_errno(err, errno, "cannot write");
        }
        done += w > 0 ? (size_t)w : 0;
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- spool */

void s24_spool_init(s24_spool *spool, const s24_io *io)
{
    *spool = (s24_spool){.io = io, .fd = -1};
}

void s24_spool_free(s24_spool *spool)
{
    free(spool->memory);
    if (spool->fd >= 0) {
        close(spool->fd);
    }
    s24_spool_init(spool, spool->io);
}

static const char *temporary_directory(void)
{
    const char *directory = getenv("TMPDIR");
    return directory && *directory ? directory : P_tmpdir;
}

/* A file without a name. */
static int unlinked_file(void)
{
    const char *directory = temporary_directory();
    char name[PATH_MAX];
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && snprintf(name, sizeof name, "%s/s24-XXXXXX", directory) < (int)sizeof name) {
        fd = mkstemp(name);
        if (fd >= 0) {
            unlink(name);
        }
    }
    return fd;
}

/* Where it is must be told: it may be full while the output's disk is not. */
static s24_status write_unlinked(const s24_io *io, int fd, uint64_t offset, const void *data, size_t n, s24_error *err)
{
    return s24_fail_prefix(err, write_all(io, fd, offset, data, n, err), "a temporary file in %s (TMPDIR says where): ",
                           temporary_directory());
}

static s24_status spool_to_file(s24_spool *spool, const char *what, s24_error *err)
{
    const int fd = unlinked_file();
    if (fd < 0) {
        return s24_fail_errno(err, errno, "cannot make a temporary file in %s; TMPDIR says where",
                              temporary_directory());
    }
    s24_io_note(spool->io, "%s is kept in a temporary file in %s", what, temporary_directory());
    const uint64_t used = spool->length < spool->capacity ? spool->length : spool->capacity;
    const s24_status status = write_unlinked(spool->io, fd, 0, spool->memory, used, err);
    if (status != S24_OK) {
        close(fd);
        return status;
    }
    free(spool->memory);
    spool->memory = NULL;
    spool->capacity = 0;
    spool->fd = fd;
    return S24_OK;
}

s24_status s24_spool_reserve(s24_spool *spool, uint64_t length, const char *what, s24_error *err)
{
    if (spool->fd < 0 && length > SPOOL_MEMORY) {
        const s24_status status = spool_to_file(spool, what, err);
        if (status != S24_OK) {
            return status;
        }
    }
    if (spool->fd < 0 && length > spool->capacity) {
        const size_t doubled = spool->capacity < SPOOL_MEMORY / 2 ? 2 * spool->capacity : SPOOL_MEMORY;
        const size_t capacity = length > doubled ? length : doubled;
        unsigned char *memory = realloc(spool->memory, capacity);
        if (!memory) {
            return s24_fail_memory(err, capacity);
        }
        spool->memory = memory;
        spool->capacity = capacity;
    }
    spool->length = length > spool->length ? length : spool->length;
    return S24_OK;
}

s24_status s24_spool_write(s24_spool *spool, uint64_t offset, const void *data, size_t n, s24_error *err)
{
    if (spool->fd >= 0) {
        return write_unlinked(spool->io, spool->fd, offset, data, n, err);
    }
    if (n) {
        memcpy(spool->memory + offset, data, n);
    }
    return S24_OK;
}

s24_status s24_spool_append(s24_spool *spool, const void *data, size_t n, s24_error *err)
{
    const uint64_t offset = spool->length;
    const s24_status status = s24_spool_reserve(spool, offset + n, "buffered data", err);
    return status == S24_OK ? s24_spool_write(spool, offset, data, n, err) : status;
}

s24_status s24_spool_read(const s24_spool *spool, uint64_t offset, void *data, size_t n, s24_error *err)
{
    if (spool->fd < 0) {
        if (n) {
            memcpy(data, spool->memory + offset, n);
        }
        return S24_OK;
    }
    size_t got;
    const s24_status status = read_some(spool->io, spool->fd, offset, data, n, &got, err);
    if (status == S24_OK && got < n) {
        return s24_fail(err, S24_ERR_SYSTEM, "the temporary file is shorter than what was written to it");
    }
    return status;
}

s24_status s24_spool_drop(s24_spool *spool, uint64_t n, s24_error *err)
{
    s24_spool old = *spool;
    unsigned char buffer[1 << 14];
    s24_status status = S24_OK;
    s24_spool_init(spool, old.io);
    while (n < old.length && status == S24_OK) {
        const size_t part = old.length - n < sizeof buffer ? (size_t)(old.length - n) : sizeof buffer;
        status = s24_spool_read(&old, n, buffer, part, err);
        status = status == S24_OK ? s24_spool_append(spool, buffer, part, err) : status;
        n += part;
    }
    s24_spool_free(&old);
    return status;
}

/* ---------------------------------------------------------------- input */

static s24_input *input_new(const s24_io *io, const char *name, s24_error *err)
{
    s24_input *in = s24_calloc(1, sizeof *in, err);
    if (!in) {
        return NULL;
    }
    in->io = io;
    in->fd = -1;
    s24_spool_init(&in->held, io);
    in->name = strdup(name);
    if (!in->name) {
        s24_fail_memory(err, strlen(name) + 1);
        free(in);
        return NULL;
    }
    return in;
}

void s24_input_close(s24_input *in)
{
    if (in) {
        if (in->fd > STDERR_FILENO) {
            close(in->fd);
        }
        if (in->decoder) {
            in->decoder->close(in->decoder);
        }
        if (in->view) {
            in->view->close(in->view);
        }
        s24_spool_free(&in->held);
        free(in->memory);
        free(in->name);
        free(in);
    }
}

const char *s24_input_shown(const char *path)
{
    return strcmp(path, "-") ? path : "standard input";
}

s24_status s24_input_open(s24_input **input, const s24_io *io, const char *path, s24_error *err)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    struct stat st;
    s24_input *in = input_new(io, s24_input_shown(path), err);
    if (!in) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = S24_OK;
    in->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0 || fstat(in->fd, &st) != 0) {
        const int e = errno; /* a FIFO is opened when its writer comes: a signal ends the wait */
        status = s24_io_stopped(io, err);
        status = status == S24_OK ? s24_fail_errno(err, e, "cannot open") : status;
    } else if (S_ISDIR(st.st_mode)) {
        status = s24_fail_errno(err, EISDIR, "cannot read");
    } else if (isatty(in->fd)) {
        status = s24_fail(err, S24_ERR_USAGE, "is a terminal; give a file or a pipe");
    }
    if (status != S24_OK) {
        s24_input_close(in);
        return status;
    }
    /* A regular file on standard input counts from where it stands; only from the start is it one by position. */
    const off_t at = is_stdin ? lseek(in->fd, 0, SEEK_CUR) : 0;
    in->stream = !S_ISREG(st.st_mode) || at != 0;
    in->size = in->stream ? S24_UNKNOWN : (uint64_t)st.st_size;
    if (in->stream) {
        widen_pipe(in->fd);
    }
    *input = in;
    return S24_OK;
}

s24_status s24_input_memory(s24_input **input, const s24_io *io, const char *name, void *data, size_t n,
                            s24_error *err)
{
    s24_input *in = input_new(io, name, err);
    if (!in) {
        free(data);
        return S24_ERR_SYSTEM;
    }
    in->memory = data;
    in->size = n;
    *input = in;
    return S24_OK;
}

s24_status s24_input_decoded(s24_input **input, const s24_io *io, const char *name, s24_decoder *decoder,
                             s24_error *err)
{
    s24_input *in = input_new(io, name, err);
    if (!in) {
        decoder->close(decoder);
        return S24_ERR_SYSTEM;
    }
    in->decoder = decoder;
    in->stream = true;
    in->size = S24_UNKNOWN;
    *input = in;
    return S24_OK;
}

s24_status s24_input_viewed(s24_input **input, const s24_io *io, const char *name, s24_view *view, s24_error *err)
{
    s24_input *in = input_new(io, name, err);
    if (!in) {
        return S24_ERR_SYSTEM;
    }
    in->view = view;
    in->stream = view->behind->stream;
    in->size = S24_UNKNOWN;
    *input = in;
    return S24_OK;
}

/* The next bytes of a stream, up to n; *got < n only at its end. */
static s24_status stream_pull(s24_input *in, void *data, size_t n, size_t *got, s24_error *err)
{
    return in->decoder ? in->decoder->pull(in->decoder, data, n, got, err)
                       : read_some(in->io, in->fd, S24_UNKNOWN, data, n, got, err);
}

static s24_status truncated(uint64_t size, uint64_t need, s24_error *err)
{
    return s24_fail_at(err, size, "truncated: ends after %llu byte%s, %llu or more were expected; copy the file again",
                       (unsigned long long)size, s24_plural(size), (unsigned long long)need);
}

/* The next n bytes of a stream; data NULL: thrown away. */
static s24_status stream_next(s24_input *in, void *data, size_t n, s24_error *err)
{
    unsigned char skipped[4096];
    while (n) {
        const size_t part = data || n < sizeof skipped ? n : sizeof skipped;
        size_t got;
        /* cppcheck-suppress legacyUninitvar */
        const s24_status status = stream_pull(in, data ? data : skipped, part, &got, err);
        if (status != S24_OK) {
            return status;
        }
        in->position += got;
        if (got < part) {
            in->size = in->position;
            return truncated(in->position, in->position + (n - got), err);
        }
        n -= part;
    }
    return S24_OK;
}

static s24_status stream_skip_to(s24_input *in, uint64_t offset, s24_error *err)
{
    while (in->position < offset) {
        const uint64_t gap = offset - in->position;
        const s24_status status = stream_next(in, NULL, gap < COPY_BYTES ? (size_t)gap : COPY_BYTES, err);
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

s24_status s24_input_read(s24_input *in, uint64_t offset, void *data, size_t n, s24_error *err)
{
    if (!in->stream || in->view) {
        if (offset > in->size || n > in->size - offset) {
            return truncated(in->size, offset + n, err);
        }
        if (in->view) {
            return in->view->read(in->view, offset, data, n, err);
        }
        if (in->memory) {
            memcpy(data, in->memory + offset, n);
            return S24_OK;
        }
        size_t got;
        const s24_status status = read_some(in->io, in->fd, offset, data, n, &got, err);
        /* The size was true when the file was opened: it shrank since. */
        return status == S24_OK && got < n ? truncated(offset + got, offset + n, err) : status;
    }
    const uint64_t held_to = in->held_from + in->held.length;
    size_t from_held = 0;
    if (offset >= in->held_from && offset < held_to) {
        from_held = n < held_to - offset ? n : (size_t)(held_to - offset);
        const s24_status status = s24_spool_read(&in->held, offset - in->held_from, data, from_held, err);
        if (status != S24_OK || from_held == n) {
            return status;
        }
    }
    offset += from_held;
    if (n && offset < in->position) {
        return s24_fail(err, S24_ERR_SYSTEM, "byte %llu of a pipe is gone: an error of s24",
                        (unsigned long long)offset);
    }
    const s24_status status = stream_skip_to(in, offset, err);
    return status == S24_OK ? stream_next(in, (unsigned char *)data + from_held, n - from_held, err) : status;
}

s24_status s24_input_read_new(s24_input *in, uint64_t offset, char **data, size_t n, s24_error *err)
{
    char *p = NULL;
    size_t got = 0, capacity = COPY_BYTES;
    do {
        capacity = n - got < capacity ? n - got : capacity;
        char *larger = realloc(p, got + capacity + 1); /* + 1: a text may be ended */
        if (!larger) {
            free(p);
            return s24_fail_memory(err, got + capacity + 1);
        }
        p = larger;
        const s24_status status = s24_input_read(in, offset + got, p + got, capacity, err);
        if (status != S24_OK) {
            free(p);
            return status;
        }
        got += capacity;
        capacity = got; /* twice as much next time */
    } while (got < n);
    p[n] = '\0';
    *data = p;
    return S24_OK;
}

/* Takes from the stream until the spool holds `n` bytes; at the stream's end size is set, which is no error here. */
static s24_status hold_more(s24_input *in, uint64_t n, s24_error *err)
{
    if (in->size == S24_UNKNOWN && in->held.length < n) {
        const uint64_t old = in->held.length;
        const size_t part = n - old < COPY_BYTES ? (size_t)(n - old) : COPY_BYTES;
        unsigned char *buffer = s24_alloc(part, err);
        if (!buffer) {
            return S24_ERR_SYSTEM;
        }
        s24_status status = S24_OK;
        while (status == S24_OK && in->size == S24_UNKNOWN && in->held.length < n) {
            const uint64_t missing = n - in->held.length;
            const size_t want = missing < part ? (size_t)missing : part;
            size_t got;
            status = stream_pull(in, buffer, want, &got, err);
            if (status == S24_OK) {
                in->position += got;
                in->size = got < want ? in->position : S24_UNKNOWN;
                status = s24_spool_append(&in->held, buffer, got, err);
            }
        }
        free(buffer);
        return status;
    }
    return S24_OK;
}

s24_status s24_input_peek(s24_input *in, void *data, size_t n, size_t *got, s24_error *err)
{
    if (in->stream) {
        const s24_status status = hold_more(in, n, err);
        if (status != S24_OK) {
            return status;
        }
    }
    const uint64_t there = in->stream ? in->held.length : in->size;
    *got = there < n ? (size_t)there : n;
    return s24_input_read(in, 0, data, *got, err);
}

s24_status s24_input_read_text(s24_input *in, size_t most, char **text, size_t *n, s24_error *err)
{
    size_t room = in->size == S24_UNKNOWN ? FIRST_TEXT : (size_t)in->size + 1;
    *text = NULL;
    if (in->size != S24_UNKNOWN && in->size > most) {
        return S24_OK;
    }
    for (;;) {
        char *const buffer = s24_alloc(room, err);
        if (!buffer) {
            return S24_ERR_SYSTEM;
        }
        const s24_status status = s24_input_peek(in, buffer, room, n, err);
        if (status == S24_OK && *n < room) {
            *text = buffer;
            return S24_OK;
        }
        free(buffer);
        if (status != S24_OK || room > most) {
            return status;
        }
        room = 2 * room < most ? 2 * room : most + 1;
    }
}

s24_status s24_input_hold(s24_input *in, uint64_t offset, uint64_t n, s24_error *err)
{
    if (in->view) {
        return in->view->hold(in->view, offset, n, err);
    }
    if (!in->stream) {
        return S24_OK;
    }
    const uint64_t held_to = in->held_from + in->held.length;
    if (in->size != S24_UNKNOWN && offset >= in->held_from && offset <= held_to && n <= held_to - offset) {
        return S24_OK; /* the stream is at its end, and others may want what else is held */
    }
    /* What is held from there on (a peek, the last hold) stays, also behind the range: it comes only once. */
    s24_status status = s24_spool_drop(&in->held, offset >= in->held_from ? offset - in->held_from : in->held.length, err);
    in->held_from = offset;
    if (status == S24_OK && in->held.length < n && offset + in->held.length < in->position) {
        return s24_fail(err, S24_ERR_SYSTEM, "byte %llu of a pipe is gone: an error of s24",
                        (unsigned long long)(offset + in->held.length));
    }
    status = status == S24_OK ? stream_skip_to(in, offset, err) : status;
    status = status == S24_OK ? hold_more(in, n, err) : status;
    if (status == S24_OK && in->held.length < n) {
        return truncated(in->position, offset + n, err);
    }
    return status;
}

s24_status s24_input_hold_all(s24_input *in, s24_error *err)
{
    return in->stream && !in->view ? hold_more(in, UINT64_MAX, err) : S24_OK;
}

/* Whether a stream was taken in whole: then nothing of it is ever gone. */
static bool all_held(const s24_input *in)
{
    return in->held_from == 0 && in->size != S24_UNKNOWN && in->held.length == in->size;
}

s24_status s24_input_rewind(s24_input *in, s24_error *err)
{
    if (!in->stream || all_held(in)) {
        return S24_OK;
    }
    if (!in->decoder || !in->decoder->rewind) {
        return s24_fail(err, S24_ERR_SYSTEM, "a pipe cannot be read twice: an error of s24");
    }
    s24_spool_free(&in->held);
    s24_spool_init(&in->held, in->io);
    in->held_from = in->position = 0;
    in->size = S24_UNKNOWN;
    return in->decoder->rewind(in->decoder, err);
}

s24_status s24_input_expect_end(s24_input *in, uint64_t offset, s24_error *err)
{
    uint64_t size = in->size;
    if (in->view && size == offset) {
        return in->view->end(in->view, err);
    }
    if (in->stream && size == S24_UNKNOWN) {
        unsigned char byte;
        size_t got;
        s24_status status = stream_skip_to(in, offset, err);
        status = status == S24_OK ? stream_pull(in, &byte, 1, &got, err) : status;
        if (status != S24_OK) {
            return status;
        }
        size = in->position += got;
        if (got) {
            return s24_fail_at(err, offset, "more bytes follow after byte %llu, where the data end; it is damaged or "
                               "not what its header says", (unsigned long long)offset);
        }
        in->size = size;
    }
    if (size > offset) {
        return s24_fail_at(err, offset, "%llu byte%s too many after the data; it is damaged or not what its header "
                           "says", (unsigned long long)(size - offset), s24_plural(size - offset));
    }
    return size < offset ? truncated(size, offset, err) : S24_OK;
}

/* ---------------------------------------------------------------- output */

static void output_free(s24_output *out)
{
    if (out->fd > STDERR_FILENO) {
        close(out->fd);
    }
    free(out->name);
    free(out->target);
    free(out->temporary);
    free(out);
}

void s24_output_abort(s24_output *out)
{
    if (out) {
        if (out->temporary) {
            unlink(out->temporary);
        }
        output_free(out);
    }
}

/* Where the file really is: a symbolic link is followed, so that the link stays a link. *exists, *st: of the target. */
static s24_status resolve_target(const char *path, char **target, bool *exists, struct stat *st, s24_error *err)
{
    *exists = stat(path, st) == 0;
    if (!*exists && (errno != ENOENT || !*path)) {
        return s24_fail_errno(err, errno, "cannot write");
    }
    struct stat link;
    const bool is_link = lstat(path, &link) == 0 && S_ISLNK(link.st_mode);
    if (is_link && !*exists) {
        return s24_fail(err, S24_ERR_SYSTEM, "is a symbolic link to nothing; remove it or write to its target");
    }
    /* Only a regular file is replaced: /dev/fd/N of a pipe is a link, too, to a name that is no path. */
    *target = is_link && S_ISREG(st->st_mode) ? realpath(path, NULL) : strdup(path);
    return *target ? S24_OK : s24_fail_errno(err, errno, "cannot write");
}

static bool same_file(const struct stat *st, const s24_input *in)
{
    struct stat other;
    while (in && in->view) {
        in = in->view->behind;
    }
    /* What was decoded into memory has no descriptor any more, but the name of its file. */
    return in && (in->fd >= 0 ? fstat(in->fd, &other) : stat(in->name, &other)) == 0 && st->st_dev == other.st_dev &&
           st->st_ino == other.st_ino;
}

static s24_status exists_already(const char *how, s24_error *err)
{
    s24_fail(err, S24_ERR_SYSTEM, "exists already%s; -f replaces it", how);
    if (err) {
        err->sys_errno = EEXIST;
    }
    return S24_ERR_SYSTEM;
}

static s24_status output_open_path(s24_output *out, const char *path, s24_input *const *inputs, size_t input_count,
                                   s24_error *err)
{
    struct stat st;
    bool exists;
    const s24_status status = resolve_target(path, &out->target, &exists, &st, err);
    if (status != S24_OK) {
        return status;
    }
    if (!exists) {
        return s24_temporary_open(out->io, out->target, &out->temporary, &out->fd, err);
    }
    for (size_t i = 0; i < input_count; i++) {
        if (same_file(&st, inputs[i])) {
            return s24_fail(err, S24_ERR_USAGE, "is the input; choose another output");
        }
    }
    if (S_ISDIR(st.st_mode)) {
        return s24_fail_errno(err, EISDIR, "cannot write");
    }
    if (S_ISREG(st.st_mode)) {
        return out->io->force || out->shared
            ? s24_temporary_open(out->io, out->target, &out->temporary, &out->fd, err) : exists_already("", err);
    }
    out->stream = true;
    out->fd = open(path, O_WRONLY | O_CLOEXEC);
    return out->fd < 0 ? s24_fail_errno(err, errno, "cannot write") : S24_OK;
}

static s24_status output_new(s24_output **output, const s24_io *io, const char *path, bool shared,
                             s24_input *const *inputs, size_t input_count, s24_error *err)
{
    const bool is_stdout = strcmp(path, "-") == 0;
    s24_output *out = s24_calloc(1, sizeof *out, err);
    if (!out) {
        return S24_ERR_SYSTEM;
    }
    out->io = io;
    out->fd = is_stdout ? STDOUT_FILENO : -1;
    out->stream = is_stdout;
    out->shared = shared;
    out->name = strdup(is_stdout ? "standard output" : path);
    s24_status status = out->name ? S24_OK : s24_fail_memory(err, strlen(path));
    struct stat st;
    if (status == S24_OK && !is_stdout) {
        status = output_open_path(out, path, inputs, input_count, err);
    } else if (status == S24_OK && fstat(out->fd, &st) != 0) {
        status = s24_fail_errno(err, errno, "cannot write");
    } else if (status == S24_OK && S_ISREG(st.st_mode)) {
        for (size_t i = 0; i < input_count && status == S24_OK; i++) {
            if (same_file(&st, inputs[i])) {
                status = s24_fail(err, S24_ERR_USAGE, "is the input; choose another output");
            }
        }
    }
    if (status == S24_OK && isatty(out->fd)) {
        status = s24_fail(err, S24_ERR_USAGE, "is a terminal; redirect it or give -o FILE");
    }
    if (status != S24_OK) {
        s24_output_abort(out);
        return status;
    }
    if (out->stream) {
        widen_pipe(out->fd);
    }
    *output = out;
    return S24_OK;
}

s24_status s24_output_open(s24_output **output, const s24_io *io, const char *path, s24_input *const *inputs,
                           size_t input_count, s24_error *err)
{
    return output_new(output, io, path, false, inputs, input_count, err);
}

s24_status s24_output_open_shared(s24_output **output, const s24_io *io, const char *path, s24_error *err)
{
    return output_new(output, io, path, true, NULL, 0, err);
}

/*
 * What will be synced anyway goes to the disk while the rest is still computed. A wish: whoever cannot, or fails, says so when
 * it counts, in fsync().
 */
static void begin_sync(const s24_output *out, uint64_t offset, size_t n)
{
    if (out->temporary && !out->io->no_sync && n >= BLOCK_BYTES) {
        sync_file_range(out->fd, (off_t)offset, (off_t)n, SYNC_FILE_RANGE_WRITE);
    }
}

s24_status s24_output_write(s24_output *out, uint64_t offset, const void *data, size_t n, s24_error *err)
{
    if (!out->stream) {
        const s24_status status = write_all(out->io, out->fd, offset, data, n, err);
        begin_sync(out, offset, status == S24_OK ? n : 0);
        return status;
    }
    if (n && offset != out->position) {
        return s24_fail(err, S24_ERR_SYSTEM, "byte %llu comes out of order to a pipe: an error of s24",
                        (unsigned long long)offset);
    }
    out->position += n;
    return write_all(out->io, out->fd, S24_UNKNOWN, data, n, err);
}

/* ---------------------------------------------------------------- appending */

s24_status s24_appender_flush(s24_appender *a, s24_error *err)
{
    const size_t held = a->held;
    a->held = 0;
    return held ? s24_output_write(a->out, a->next - held, a->block, held, err) : S24_OK;
}

s24_status s24_appender_move(s24_appender *a, uint64_t offset, s24_error *err)
{
    const s24_status status = s24_appender_flush(a, err);
    a->next = offset;
    return status;
}

s24_status s24_appender_add(s24_appender *a, const void *data, size_t n, s24_error *err)
{
    const unsigned char *from = data;
    if (!a->block && !a->out->stream && !(a->block = s24_alloc(BLOCK_BYTES, err))) {
        return S24_ERR_SYSTEM;
    }
    const uint64_t end = a->next + n, whole = a->out->stream ? end : end / BLOCK_BYTES * BLOCK_BYTES;
    if (whole > a->next) {
        const size_t part = (size_t)(whole - a->next), held = a->held;
        const uint64_t offset = a->next - held;
        const s24_status status = a->out->stream
            ? s24_output_write(a->out, offset, from, part, err)
            : write_two(a->out->io, a->out->fd, offset, a->block, held, from, part, err);
        if (status != S24_OK) {
            return status;
        }
        begin_sync(a->out, offset, held + part);
        a->held = 0;
        a->next = whole;
        from += part;
        n -= part;
    }
    if (n) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): nothing is left for a stream */
        memcpy(a->block + a->held, from, n);
        a->held += n;
        a->next += n;
    }
    return S24_OK;
}

void s24_appender_free(s24_appender *a)
{
    free(a->block);
    a->block = NULL;
}

/* ---------------------------------------------------------------- the target appears */

/* rename(), which without `replace` fails when the target has appeared meanwhile. */
static int rename_into_place(const char *from, const char *to, bool replace)
{
    if (replace) {
        return rename(from, to);
    }
    int r = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (r != 0 && (errno == EINVAL || errno == ENOSYS)) { /* a file system without it: link() refuses, too */
        r = link(from, to);
        if (r == 0) {
            unlink(from);
        } else if (errno == EPERM || errno == EOPNOTSUPP) {
            r = rename(from, to);
        }
    }
    return r;
}

s24_status s24_sync_entry(const char *path, s24_error *err)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/') { /* a directory's own slash */
        n--;
    }
    while (n && path[n - 1] != '/') {
        n--;
    }
    char *directory = n ? strndup(path, n) : strdup(".");
    if (!directory) {
        return s24_fail_memory(err, n + 2);
    }
    s24_status status = S24_OK;
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot sync a directory (EINVAL): then rename is as good as it gets. */
    if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL) {
        status = s24_fail_errno(err, errno, "cannot sync the directory");
    }
    if (fd >= 0) {
        close(fd);
    }
    free(directory);
    return status;
}

/* What a new file would have got. umask can only be read by setting it: /proc tells without that. */
static mode_t new_file_mode(void)
{
    unsigned mask = 022;
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "Umask: %o", &mask) == 1) {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return 0666 & ~(mode_t)mask;
}

/* Whether two open files have the same bytes. */
static s24_status compare_content(const s24_io *io, const int fds[2], bool *same, s24_error *err)
{
    char *buffer = s24_alloc(2 * COPY_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    size_t got[2] = {COPY_BYTES, 0};
    *same = true;
    for (uint64_t at = 0; status == S24_OK && *same && got[0] == COPY_BYTES; at += COPY_BYTES) {
        for (int i = 0; i < 2 && status == S24_OK; i++) {
            status = read_some(io, fds[i], at, buffer + i * (ptrdiff_t)COPY_BYTES, COPY_BYTES, &got[i], err);
        }
        *same = status == S24_OK && got[0] == got[1] && memcmp(buffer, buffer + COPY_BYTES, got[0]) == 0;
    }
    free(buffer);
    return status;
}

static s24_status compare_files(const s24_io *io, const char *a, const char *b, bool *same, s24_error *err)
{
    int fds[2] = {open(a, O_RDONLY | O_CLOEXEC), -1};
    fds[1] = fds[0] >= 0 ? open(b, O_RDONLY | O_CLOEXEC) : -1;
    const s24_status status = fds[1] >= 0 ? compare_content(io, fds, same, err)
                                          : s24_fail_errno(err, errno, "cannot open to compare with what is there already");
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return status;
}

/* Another process may have written the file already. */
static s24_status settle_shared(s24_output *out, s24_error *err)
{
    if (!out->temporary || out->io->force || access(out->target, F_OK) != 0) {
        return S24_OK;
    }
    bool same = false;
    const s24_status status = compare_files(out->io, out->temporary, out->target, &same, err);
    if (status != S24_OK || !same) {
        return status != S24_OK ? status : exists_already(" with other content", err);
    }
    unlink(out->temporary);
    free(out->temporary);
    out->temporary = NULL;
    return S24_OK;
}

s24_status s24_output_seal(s24_output *out, s24_error *err)
{
    s24_status status = S24_OK;
    out->sealed = true;
    if (out->temporary) {
        status = s24_io_stopped(out->io, err);
        if (status == S24_OK && fchmod(out->fd, new_file_mode()) != 0) {
            status = s24_fail_errno(err, errno, "cannot set the mode");
        }
        if (status == S24_OK && !out->io->no_sync && fsync(out->fd) != 0) {
            status = s24_fail_errno(err, errno, "cannot sync");
        }
    }
    /* A network file system may report the failure of an earlier write only here. */
    if (status == S24_OK && out->fd > STDERR_FILENO) {
        const int fd = out->fd;
        out->fd = -1;
        if (close(fd) != 0 && errno != EINTR) {
            status = s24_fail_errno(err, errno, "cannot close");
        }
    }
    return status == S24_OK && out->shared ? settle_shared(out, err) : status;
}

static s24_status move_into_place(s24_output *out, s24_error *err)
{
    if (rename_into_place(out->temporary, out->target, out->io->force) == 0) {
        free(out->temporary);
        out->temporary = NULL;
        const s24_status status = out->io->no_sync ? S24_OK : s24_sync_entry(out->target, err);
        if (status != S24_OK && !out->io->force && !out->shared) { /* what was replaced does not come back */
            unlink(out->target);
        }
        return status;
    }
    if (errno != EEXIST) {
        return s24_fail_errno(err, errno, "cannot rename the temporary file");
    }
    const s24_status status = out->shared ? settle_shared(out, err) : exists_already("", err);
    return status == S24_OK && out->temporary ? exists_already("", err) : status; /* it came and went */
}

s24_status s24_output_commit(s24_output *out, s24_error *err)
{
    s24_status status = out->sealed ? S24_OK : s24_output_seal(out, err);
    if (status == S24_OK && out->temporary) {
        status = move_into_place(out, err);
    }
    s24_output_abort(out);
    return status;
}
