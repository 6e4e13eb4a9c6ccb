/*
 * Any bytes as a .s24 file: all that it holds is read from memory, and one in some is verified, unpacked, salvaged and
 * measured, from a file and from a pipe. Never a crash or a leak, and never two answers: what one way gives, the others
 * give. Bytes alone would not get past the first hash, so that the mutator makes files (from nothing, too: no seeds are
 * needed), changes header or data, and sets the hashes right again.
 */
#define _GNU_SOURCE /* memfd_create */
#include <fcntl.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "directory.h"
#include "made.h"

#define DENSE_MOST (1u << 20)

static const s24_io io = {.force = true, .no_sync = true, .threads = 1};

/* Another text for the header, padded as it must be, everything behind it moved. */
static size_t change_header(uint8_t *data, size_t n, size_t most)
{
    static uint8_t text[MOST], rest[MOST];
    const uint64_t length = n >= 8 ? s24_get_u64(data) : 0;
    if (length < 56 || length > n - 8 || n > MOST || most > MOST || n < 2 * length + 16 + 128) {
        return 0;
    }
    size_t used = (size_t)length;
    while (used > 1 && data[8 + used - 1] == ' ') {
        used--;
    }
    memcpy(text, data + 8, used);
    used = LLVMFuzzerMutate(text, used, (size_t)length);
    memset(text + used, ' ', (size_t)length - used);
    if (pick(8) == 0 && used + 72 <= MOST) { /* also by a step of the padding */
        memset(text + used, ' ', 72);
        used = (used + 8 + 63) / 64 * 64 - 8;
    } else {
        used = (size_t)length;
    }
    const size_t body = n - 2 * (size_t)(8 + length) - 128, whole = 2 * (8 + used) + 128 + body;
    if (whole > most) {
        return 0;
    }
    memcpy(rest, data + 8 + length + 64, body);
    s24_put_u64(data, used);
    memcpy(data + 8, text, used);
    memcpy(data + 8 + used + 64, rest, body);
    return seal_header(data, whole) ? whole : 0;
}

/* Other data, with checks that are right for them. */
static size_t change_data(uint8_t *data, size_t n)
{
    s24_source *const source = parse(data, n);
    if (!source) {
        return 0;
    }
    const s24_plain *const plain = s24_plain_of(source);
    const size_t from = plain->header_bytes + 64;
    const bool whole = plain->file_size == n && from < plain->copy;
    if (whole) {
        const size_t room = (size_t)plain->copy - from, at = from + pick((uint32_t)room);
        const size_t left = (size_t)plain->copy - at;
        LLVMFuzzerMutate(data + at, left < 16 ? left : 16, left < 16 ? left : 16);
        if (pick(4)) {
            seal_data(plain, &source->contents, data);
        }
    }
    s24_source_close(source);
    return whole ? n : 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed)
{
    state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    size_t changed = 0;
    switch (pick(8)) {
    case 0: changed = make_file(data, most); break;
    case 1:
    case 2:
    case 3: changed = change_header(data, n, most); break;
    case 4:
    case 5: changed = change_data(data, n); break;
    default: break;
    }
    if (changed == 0) {
        changed = n < 512 ? make_file(data, most) : 0;
        changed = changed ? changed : LLVMFuzzerMutate(data, n, most);
    }
    return changed;
}

/* ---------------------------------------------------------------- what must hold of any file: from memory */

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

static reading read_all(const uint8_t *data, size_t n, bool lenient)
{
    reading r = {.status = S24_ERR_DATA, .canonical = true};
    s24_error err = {0};
    s24_source *const source = parse_as(data, n, lenient);
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

/* ---------------------------------------------------------------- by the commands */

static char file[32], output[300];
static int file_fd = -1;

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
    REQUIRE((status == S24_ERR_CHECK) == (faults > 0));
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
    REQUIRE(*unpacked != S24_OK || read->status == S24_OK);
    REQUIRE(read->status != S24_OK || verdict == (read->canonical ? S24_OK : S24_ERR_CHECK));
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
    REQUIRE(status == S24_OK || unpacked != S24_OK || !memmem(data, n < 256 ? n : 256, "\"s24\":\"1\"", 9));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    file_fd = memfd_create("s24", 0);
    REQUIRE(file_fd >= 0);
    make_directory();
    snprintf(file, sizeof file, "/proc/self/fd/%d", file_fd);
    snprintf(output, sizeof output, "%s/out", directory);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    s24_status unpacked;
    uint64_t hash;
    if (n > MOST) {
        return 0;
    }
    const reading strict = read_all(data, n, false);
    if (is_chosen(data, n, 4)) {
        const reading lenient = read_all(data, n, true);
        REQUIRE(strict.status != S24_OK || (lenient.status == S24_OK && !lenient.damaged && lenient.hash == strict.hash));
    }
    if (is_chosen(data, n, 32)) {
        REQUIRE(ftruncate(file_fd, 0) == 0 && pwrite(file_fd, data, n, 0) == (ssize_t)n);
        from_file(file, data, n, &strict, &unpacked, &hash);
        from_pipe(data, n, unpacked, hash);
    }
    return 0;
}
