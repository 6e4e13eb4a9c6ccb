/*
 * What must hold of any bytes as a .s24 file: all that it holds is read from memory, one in some as a stream and salvaged,
 * too, and one in many verified, unpacked, salvaged and measured by the commands, from a file and from a pipe. Never a crash
 * or a leak, and never two answers: what one way gives, the others give.
 */
#ifndef S24_FUZZ_ANSWERS_H
#define S24_FUZZ_ANSWERS_H

#include <fcntl.h>
#include <sys/mman.h>

#include "directory.h"
#include "made.h"

#define DENSE_MOST (1u << 20)

static const s24_io io = {.force = true, .no_sync = true, .threads = 1};

/* ---------------------------------------------------------------- from memory */

/* What was found in a file. */
typedef struct reading {
    s24_status status;
    bool damaged;       /* some of it, and it was read all the same */
    bool canonical;     /* positions and padding are as they must be */
    uint64_t hash;      /* of all panels that are whole */
} reading;

/* One panel into a buffer that has room for the largest. */
static void read_panel(const s24_entry *e, const s24_checks *checks, size_t i, uint8_t *planes, reading *r)
{
    bool damaged = false;
    s24_error err = {0};
    size_t n;
    if (e->packed) {
        const s24_panels panels = s24_plain_panels(s24_plain_of(e->source), e);
        const s24_panel_place place = s24_panel_at(&panels, i);
        const s24_plain_place p = s24_plain_panel_place(e, &place);
        s24_fault fault;
        n = p.bytes;
        r->status = s24_plain_read_panel(e, checks, i, planes, &damaged, &err);
        r->canonical = r->canonical && r->status == S24_OK && !damaged &&
                       s24_plain_canonical(e, &place, planes, &fault);
    } else {
        r->status = s24_plain_read_carried(e, checks, i, planes, &n, &damaged, &err);
    }
    require_told(r->status, &err);
    r->damaged = r->damaged || damaged;
    if (r->status == S24_OK && !damaged) {
        r->hash = XXH3_64bits_withSeed(planes, n, r->hash);
    }
}

static size_t largest_panel(const s24_plain *plain, const s24_entry *e)
{
    if (!e->packed) {
        return s24_plain_carried_most(plain, e);
    }
    const s24_panels panels = s24_plain_panels(plain, e);
    return s24_plain_panel_bytes(e, &panels);
}

static void read_entry(const s24_entry *e, reading *r)
{
    const s24_plain *const plain = s24_plain_of(e->source);
    s24_checks checks;
    s24_error err = {0};
    r->status = s24_plain_begin(e, &checks, &err);
    require_told(r->status, &err);
    if (r->status != S24_OK) {
        return;
    }
    const size_t panels = s24_plain_panel_count(plain, e);
    uint8_t *const planes = panels ? malloc(largest_panel(plain, e)) : NULL;
    REQUIRE(planes || !panels);
    r->damaged = r->damaged || checks.damaged;
    for (size_t i = 0; i < panels && r->status == S24_OK; i++) {
        read_panel(e, &checks, i, planes, r);
    }
    free(planes);
    s24_checks_free(&checks);
}

/* A header that lies may ask for any amount. */
static bool is_small(s24_source *source)
{
    uint64_t bytes = s24_plain_of(source)->file_size;
    for (size_t i = 0; i < source->contents.count && bytes < DENSE_MOST; i++) {
        bytes += source->contents.entries[i].bytes;
    }
    return bytes < DENSE_MOST;
}

static reading read_all(s24_source *source, bool lenient)
{
    reading r = {.status = S24_ERR_DATA, .canonical = true};
    s24_error err = {0};
    if (source && (!lenient || is_small(source))) {
        r.status = S24_OK;
        for (size_t i = 0; i < source->contents.count && r.status == S24_OK; i++) {
            read_entry(&source->contents.entries[i], &r);
        }
        r.status = r.status == S24_OK && !lenient ? s24_plain_end(source, &err) : r.status; /* of a salvage nobody asks it */
    }
    s24_source_close(source);
    return r;
}

/* Memory that is read as a pipe is. */
typedef struct stream {
    s24_decoder decoder;
    const uint8_t *next;
    size_t left;
} stream;

static s24_status pull(s24_decoder *decoder, void *data, size_t n, size_t *got, s24_error *err)
{
    stream *const s = (stream *)decoder;
    (void)err;
    *got = n < s->left ? n : s->left;
    memcpy(data, s->next, *got);
    s->next += *got;
    s->left -= *got;
    return S24_OK;
}

static void end_stream(s24_decoder *decoder)
{
    free(decoder);
}

static s24_source *parse_stream(const uint8_t *data, size_t n)
{
    static const s24_read_options none;
    s24_source *const source = calloc(1, sizeof *source);
    stream *const s = malloc(sizeof *s);
    REQUIRE(source && s);
    *s = (stream){.decoder = {.pull = pull, .close = end_stream}, .next = data, .left = n};
    *source = (s24_source){.format = &s24_format_s24, .options = &none, .io = &io};
    REQUIRE(s24_input_decoded(&source->in, &io, "fuzz", &s->decoder, NULL) == S24_OK);
    return parsed(source);
}

/* What the file holds, which is the same as a stream and in the way of a salvage. */
static reading from_memory(const uint8_t *data, size_t n)
{
    const reading r = read_all(parse_as(data, n, false), false);
    if (is_chosen(data, n, 4)) {
        const reading lenient = read_all(parse_as(data, n, true), true);
        REQUIRE(r.status != S24_OK || (lenient.status == S24_OK && !lenient.damaged && lenient.hash == r.hash));
    } else if (is_chosen(data, n, 3)) {
        const reading streamed = read_all(parse_stream(data, n), false);
        REQUIRE((streamed.status == S24_OK) == (r.status == S24_OK));
        REQUIRE(r.status != S24_OK || (streamed.hash == r.hash && streamed.canonical == r.canonical));
    }
    return r;
}

/* ---------------------------------------------------------------- by the commands */

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

static bool small_enough(const uint8_t *data, size_t n)
{
    s24_source *const source = parse(data, n);
    const bool small = !source || is_small(source);
    s24_source_close(source);
    return small;
}

static void from_file(const char *path, const uint8_t *data, size_t n, const reading *read, s24_status *unpacked,
                      uint64_t *hash)
{
    int lost = 0;
    uint64_t damage;
    const s24_status verdict = check(path);
    *unpacked = unpack(path, false, &lost, &damage);
    REQUIRE(verdict != S24_OK || *unpacked == S24_OK || damage == S24_NO_OFFSET);
    *hash = take_output();
    REQUIRE((*unpacked == S24_OK) == (*hash != 0));
    REQUIRE(*unpacked != S24_OK || read->status == S24_OK);
    REQUIRE(read->status != S24_OK || verdict == (read->canonical ? S24_OK : S24_ERR_CHECK));
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
    const reading r = from_memory(data, n);
    if (is_chosen(data, n, 64)) {
        s24_status unpacked;
        uint64_t hash;
        from_file(put_bytes(data, n), data, n, &r, &unpacked, &hash);
        from_pipe(data, n, unpacked, hash);
    }
    return r.status == S24_OK;
}

#endif
