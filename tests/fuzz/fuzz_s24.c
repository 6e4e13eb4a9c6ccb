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
#include "plain.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MOST 60000 /* bytes: a pipe holds them */
#define DENSE_MOST (1u << 20)

static const s24_io io = {.force = true, .no_sync = true, .threads = 1};

/* ---------------------------------------------------------------- the layout of a file in memory */

/* NULL: its header says nothing that can be believed. Lenient: the size need not be what the header says. */
static s24_source *parse_as(const uint8_t *data, size_t n, bool lenient)
{
    static const s24_read_options options[] = {{.salvage = false}, {.salvage = true}};
    s24_source *const source = source_of(&s24_format_s24, &options[lenient], data, n);
    s24_error err = {0};
    const s24_status status = s24_source_parse(source, &err);
    require_told(status, &err);
    if (status != S24_OK) {
        s24_source_close(source);
        return NULL;
    }
    return source;
}

static s24_source *parse(const uint8_t *data, size_t n)
{
    return parse_as(data, n, true);
}

/* All checks of an entry, for the data at hand. */
static void seal_entry(const s24_plain *plain, const s24_entry *e, uint8_t *data)
{
    static uint8_t planes[MOST];
    for (size_t i = 0; i < s24_plain_panel_count(plain, e); i++) {
        const uint64_t from = i * plain->panel_bytes, left = e->bytes - from;
        s24_plain_place p = {.plane[S24_VALUES] = {e->offset + from, left < plain->panel_bytes ? left : plain->panel_bytes}};
        size_t n = 0;
        if (e->packed) {
            const s24_panels panels = s24_plain_panels(plain, e);
            const s24_panel_place place = s24_panel_at(&panels, i);
            p = s24_plain_panel_place(e, &place);
        }
        for (int k = 0; k < S24_PLANES; n += p.plane[k++].bytes) {
            memcpy(planes + n, data + p.plane[k].at, p.plane[k].bytes);
        }
        s24_put_u64(data + e->checks + 8 * i, s24_plain_check(plain, p.plane[S24_VALUES].at, planes, n));
    }
    if (e->packed && e->permuted) {
        s24_put_u64(data + e->checks + 8 * s24_plain_panel_count(plain, e),
                    s24_plain_check(plain, s24_plain_offset(e, S24_PLANES), data + s24_plain_offset(e, S24_PLANES), e->pruned->geometry.cols * sizeof(int32_t)));
    }
    const size_t n = (size_t)e->checks_bytes - 8;
    s24_put_u64(data + e->checks + n, s24_plain_check(plain, e->checks, data + e->checks, n));
}

static void seal_data(const s24_plain *plain, const s24_contents *contents, uint8_t *data)
{
    for (size_t i = 0; i < contents->count; i++) {
        seal_entry(plain, &contents->entries[i], data);
    }
    seal_entry(plain, &plain->metrics, data);
}

/* Head, copy and tail for whatever header the file has; false: it has no room for them. */
static bool seal_header(uint8_t *data, size_t n)
{
    const uint64_t header = n >= 8 ? s24_get_u64(data) + 8 : 0;
    if (header < 64 || header > n || n < 2 * header + 128) {
        return false;
    }
    s24_plain plain = {.header_bytes = (size_t)header, .file_size = n, .copy = n - 64 - header,
                       .hash = XXH3_64bits(data, (size_t)header)};
    memcpy(data + plain.copy, data, (size_t)header);
    s24_plain_record(&plain, "S24HEAD", data + header);
    s24_plain_record(&plain, "S24TAIL", data + n - 64);
    return true;
}

/* ---------------------------------------------------------------- making and changing files */

static uint64_t state;

static uint32_t pick(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static void add_entry(s24_contents *contents)
{
    static const char *const names[] = {"w", "", "a.s24.values", "\xc3\xa9", "b", "\"\\", "layer.0.weight"};
    const s24_dtype dtype = (s24_dtype)(S24_F64 + pick(S24_DTYPES - S24_F64)),
                    other = (s24_dtype)(S24_F64 + pick(S24_DTYPES - S24_F64));
    const int rank = (int)pick(4);
    size_t shape[4];
    for (int d = 0; d < rank; d++) {
        shape[d] = pick(8) ? pick(7) : pick(70);
    }
    s24_entry *const e = s24_contents_add(contents, names[pick(COUNT(names))], dtype, rank, shape, NULL);
    if (!e || !s24_dtype_prunable(dtype) || pick(3) == 0) {
        return;
    }
    e->stored = pick(4) == 0 && s24_dtype_convertible(dtype, other) ? other : dtype;
    if (pick(4) == 0 && s24_dtype_scaled(dtype, other)) {
        e->stored = other;
        e->scaled = true;
        e->scale_group = pick(2) ? S24_SCALE_GROUP : 0;
    }
    s24_entry_pack(e, rank ? (int)pick((uint32_t)rank) : 0, NULL);
    e->method = e->packed ? s24_shared_text("magnitude", NULL) : NULL;
    e->reason = pick(2) ? s24_shared_text("why", NULL) : NULL;
}

/* Planes as they may be: pairs in order, nothing in the padding, scales of 1 and, seldom, of anything. */
static void fill_entry(const s24_entry *e, uint8_t *data)
{
    static const uint8_t pairs[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};
    const s24_geometry *const g = e->packed ? &e->pruned->geometry : NULL;
    const unsigned bytes = s24_info(e->stored)->bytes;
    for (size_t i = 0; !e->packed && i < e->bytes; i++) {
        data[e->offset + i] = (uint8_t)pick(256);
    }
    for (size_t i = 0; e->packed && i < g->rows * g->groups; i++) {
        const size_t row = i / g->groups, group = i % g->groups, left = g->cols - 4 * group;
        const unsigned pair = left < 4 ? 0x4 : pairs[pick(COUNT(pairs))];
        data[s24_plain_offset(e, S24_POSITIONS) + row * g->row_positions + group / 2] |= (uint8_t)(pair << (group % 2 * 4));
        for (size_t k = 0; k < (left < 2 ? bytes : 2 * bytes); k++) {
            data[e->offset + 2 * i * bytes + k] = (uint8_t)pick(256);
        }
    }
    for (size_t i = 0; e->packed && e->scaled && i < g->rows * s24_row_scales(g->cols, e->scale_group); i++) {
        s24_put_u32(data + s24_plain_offset(e, S24_SCALES) + 4 * i, pick(64) ? 0x3f800000 : pick(UINT32_MAX));
    }
}

static void fill_file(s24_plain *plain, uint8_t *data)
{
    size_t slot = 0;
    memset(data, 0, (size_t)plain->file_size);
    memcpy(data, plain->header, plain->header_bytes);
    for (size_t i = 0; i < plain->contents.count; i++) {
        s24_entry *const e = &plain->contents.entries[i];
        fill_entry(e, data);
        if (e->packed) {
            e->pruned->sums = (s24_sums){.total_count = e->pruned->geometry.num_elements, .pruned_count = pick(2), .kept_abs = 1};
            s24_plain_put_metrics(e->pruned, data + plain->metrics.offset + 8 * S24_METRICS_SLOTS * slot++);
        }
    }
    seal_data(plain, &plain->contents, data);
    REQUIRE(seal_header(data, (size_t)plain->file_size));
}

/* A valid file; 0: it came out too long, or with two tensors of one name. */
static size_t make_file(uint8_t *data, size_t most)
{
    static const char *const containers[] = {"safetensors", "npy", "json", "raw", "none"};
    s24_plain plain;
    size_t n = 0;
    s24_plain_init(&plain);
    plain.panel_groups = 2 * (size_t)(1 + pick(4));
    plain.panel_bytes = 64 * (size_t)(1 + pick(3));
    plain.tool = strdup("fuzz");
    plain.container = strdup(containers[pick(COUNT(containers))]);
    for (uint32_t i = pick(4); i > 0; i--) {
        add_entry(&plain.contents);
    }
    if (pick(2)) {
        s24_contents_add_pair(&plain.contents, pick(2) ? "s24x" : "format", "pt", NULL);
    }
    if (s24_plain_lay_out(&plain, NULL) == S24_OK && plain.file_size <= most) {
        n = (size_t)plain.file_size;
        fill_file(&plain, data);
    }
    s24_plain_free(&plain);
    return n;
}

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
        n = p.values_bytes + p.positions_bytes;
        r->status = s24_plain_read_panel(e, checks, i, planes, &damaged, &err);
        r->canonical = r->canonical && r->status == S24_OK && !damaged &&
                       s24_plain_canonical(e, &place, planes, planes + p.values_bytes, &fault);
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
    const s24_panel_place first = s24_panel_at(&panels, 0);
    const s24_plain_place p = s24_plain_panel_place(e, &first);
    return p.values_bytes + p.positions_bytes;
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
        r.status = r.status == S24_OK ? s24_plain_end(source, &err) : r.status;
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
