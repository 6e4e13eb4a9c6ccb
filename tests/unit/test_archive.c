/*
 * Archives: what they unpack to is the plain file, byte for byte, however they are read; and nothing that happens to one
 * goes unseen. Files are written here panel by panel, plain and packed alike, so that the plain one is the truth.
 */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "archive_read.h"
#include "shared.h"
#include "random.h"
#include "threads.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifdef SANITIZED
#define STRIDE 7 /* of all flips and cuts */
#else
#define STRIDE 1
#endif

static volatile sig_atomic_t cancelled;
static const s24_io io = {.force = true, .no_sync = true, .threads = 1, .cancel = &cancelled},
    two = {.force = true, .no_sync = true, .threads = 2};
static const s24_read_options strict, lenient = {.salvage = true};

/* ---------------------------------------------------------------- files */

static char directory[] = "/tmp/s24-test-XXXXXX";

typedef struct bytes {
    unsigned char *data;
    size_t n;
} bytes;

static void make_directory(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    begin();
}

static void remove_directory(void)
{
    static const char *const names[] = {"plain", "archive", "other", "again"};
    for (size_t i = 0; i < COUNT(names); i++) {
        unlink(names[i]);
    }
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}

static bytes slurp(const char *path)
{
    FILE *const f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    bytes b = {.n = (size_t)ftell(f)};
    rewind(f);
    b.data = malloc(b.n + 1);
    ck_assert_ptr_nonnull(b.data);
    ck_assert_uint_eq(fread(b.data, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

static void spit(const char *path, bytes b)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(b.data, 1, b.n, f), b.n);
    ck_assert_int_eq(fclose(f), 0);
}

static bool same(bytes a, bytes b)
{
    return a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
}

/* ---------------------------------------------------------------- models */

typedef struct tensor {
    const char *name;
    s24_dtype dtype, stored;
    int axis; /* -1: carried */
    int rank;
    size_t shape[3];
} tensor;

/* As little as has every kind of frame, for the tests that try every bit. */
static const tensor little[] = {
    {"w", S24_F16, S24_F16, 1, 2, {4, 10}},
    {"v", S24_I16, S24_I16, -1, 1, {40}},
    {"u", S24_I8, S24_I8, 1, 2, {3, 12}},
};

/* What a model may have; frames end in all sorts of places. */
static const tensor everything[] = {
    {"odd", S24_F32, S24_F32, 1, 2, {7, 20}},
    {"bias", S24_F32, S24_F32, -1, 1, {7}},
    {"empty", S24_F32, S24_F32, -1, 1, {0}},
    {"norows", S24_F32, S24_F32, 1, 2, {0, 8}},
    {"tail", S24_F64, S24_F64, 1, 2, {5, 7}},
    {"narrow", S24_F32, S24_BF16, 1, 2, {9, 1}},
    {"long", S24_I8, S24_I8, 1, 2, {2, 150}},
    {"scalar", S24_F16, S24_F16, 0, 0, {0}},
    {"f4", S24_F4, S24_F4, -1, 1, {62}},
    {"f6", S24_F6E3M2, S24_F6E3M2, -1, 1, {64}},
    {"complex", S24_C64, S24_C64, -1, 1, {9}},
    {"ids", S24_I64, S24_I64, -1, 1, {300}},
    {"flags", S24_BOOL, S24_BOOL, -1, 1, {3}},
    {"f8", S24_F8E4M3, S24_F8E4M3, 0, 2, {16, 3}},
    {"third", S24_F16, S24_F16, 1, 3, {3, 12, 5}},
    {"e8", S24_F8E8M0, S24_F8E8M0, -1, 1, {70}},
};

/* Bytes of no great variety, the same for the same panel; positions are pairs in order, and padding is 0. */
static void fill_panel(const s24_plain *plain, const s24_entry *e, size_t panel, unsigned noise, unsigned char *planes)
{
    static const uint8_t pairs[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};
    uint64_t x = (uint64_t)e->offset * 31 + panel + 1;
    const s24_panels panels = e->packed ? s24_plain_panels(plain, e) : (s24_panels){0};
    const s24_panel_place place = e->packed ? s24_panel_at(&panels, panel) : (s24_panel_place){0};
    const uint64_t left = e->bytes - (uint64_t)panel * plain->panel_bytes;
    size_t n = left < plain->panel_bytes ? (size_t)left : plain->panel_bytes;
    if (e->packed) {
        n = s24_plain_panel_place(e, &place).plane[S24_VALUES].bytes;
    }
    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        planes[i] = (unsigned char)(x >> 56 & (i % 2 ? 0x3f & noise : noise));
    }
    if (!e->packed) {
        return;
    }
    const size_t row_bytes = (place.groups + 1) / 2, cols = e->pruned->geometry.cols;
    const unsigned width = s24_info(e->stored)->bytes;
    memset(planes + n, 0, place.rows * row_bytes);
    for (size_t i = 0; i < place.rows * place.groups; i++) {
        const size_t row = i / place.groups, group = i % place.groups, rest = cols - 4 * (place.group + group);
        x = x * 6364136223846793005u + 1442695040888963407u;
        const unsigned pair = rest < 4 ? 0x4 : pairs[(x >> 40) % 6];
        planes[n + row * row_bytes + group / 2] |= (uint8_t)(pair << (group % 2 * 4));
        if (rest < 2) {
            memset(planes + (2 * i + 1) * width, 0, width);
        }
    }
}

typedef struct model {
    const tensor *tensors;
    size_t count, panel_groups, panel_bytes, frame_bytes;
    unsigned noise; /* which bits of values vary */
} model;

static void plan_model(s24_plain *plain, const model *m)
{
    s24_error err;
    s24_plain_init(plain);
    plain->panel_groups = m->panel_groups;
    plain->panel_bytes = m->panel_bytes;
    plain->frame_bytes = m->frame_bytes;
    plain->tool = strdup("test");
    plain->container = strdup("safetensors");
    ck_assert_int_eq(s24_contents_add_pair(&plain->contents, "mine", "kept", &err), S24_OK);
    for (size_t i = 0; i < m->count; i++) {
        const tensor *const t = &m->tensors[i];
        s24_entry *const e = s24_contents_add(&plain->contents, t->name, t->dtype, t->rank, t->shape, &err);
        ck_assert_ptr_nonnull(e);
        if (t->axis >= 0) {
            e->stored = t->stored;
            ck_assert_int_eq(s24_entry_pack(e, t->axis, &err), S24_OK);
            e->method = s24_shared_text("magnitude", &err);
            const s24_geometry *const g = &e->pruned->geometry;
            e->pruned->sums = (s24_sums){.total_count = g->num_elements, .kept_abs = (double)i + 0.1,
                                         .pruned_count = g->rows * s24_pruned_per_row(g->cols)};
        }
    }
}

/* Jobs: a panel is coded by whoever comes to it first, and written in its turn. */
typedef struct writing {
    s24_plain_writer *writer;
    const s24_entry *entry;
    unsigned noise;
    unsigned char planes[16][8192];
    uint64_t checks[16];
} writing;

static s24_status write_work(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    writing *const w = ctx;
    unsigned char *const planes = w->planes[slot];
    fill_panel(&w->writer->plain, w->entry, panel, w->noise, planes);
    const uint64_t left = w->entry->bytes - (uint64_t)panel * w->writer->plain.panel_bytes;
    const size_t n = left < w->writer->plain.panel_bytes ? (size_t)left : w->writer->plain.panel_bytes;
    w->checks[slot] = w->entry->packed ? s24_plain_writer_check(w->writer, w->entry, panel, planes)
                                       : s24_plain_writer_check_carried(w->writer, w->entry, panel, planes, n);
    return s24_plain_writer_code(w->writer, w->entry, panel, planes, w->checks[slot], err);
}

static s24_status write_commit(void *ctx, unsigned slot, size_t panel, s24_error *err)
{
    writing *const w = ctx;
    const uint64_t left = w->entry->bytes - (uint64_t)panel * w->writer->plain.panel_bytes;
    const size_t n = left < w->writer->plain.panel_bytes ? (size_t)left : w->writer->plain.panel_bytes;
    return w->entry->packed
        ? s24_plain_writer_panel(w->writer, w->entry, panel, w->planes[slot], w->checks[slot], err)
        : s24_plain_writer_carried(w->writer, panel, w->planes[slot], n, w->checks[slot], err);
}

static bytes write_model(const model *m, int level, unsigned threads)
{
    static const s24_stages stages = {.work = write_work, .commit = write_commit};
    static writing w;
    s24_plain plain;
    s24_output *out;
    s24_error err;
    plan_model(&plain, m);
    plain.level = level;
    ck_assert_int_eq(s24_output_open(&out, &io, "other", NULL, 0, &err), S24_OK);
    ck_assert_msg(s24_plain_writer_open(&w.writer, &plain, NULL, out, &err) == S24_OK, "%s", err.message);
    w.noise = m->noise;
    for (size_t i = 0; i < m->count; i++) {
        w.entry = &w.writer->plain.contents.entries[i];
        ck_assert_int_eq(s24_plain_writer_begin(w.writer, w.entry, &err), S24_OK);
        ck_assert_int_eq(s24_run(&stages, &w, s24_plain_panel_count(&w.writer->plain, w.entry), threads, &err), S24_OK);
        ck_assert_int_eq(s24_plain_writer_end(w.writer, w.entry, &err), S24_OK);
    }
    ck_assert_msg(s24_plain_writer_commit(w.writer, &err) == S24_OK, "%s", err.message);
    return slurp("other");
}

/* ---------------------------------------------------------------- reading */

/* The bytes as a source, from memory or, piped, from a stream (of so few bytes that a pipe holds them). NULL: refused. */
static s24_source *open_bytes(bytes b, const s24_read_options *options, bool piped, s24_error *err)
{
    s24_source *const source = calloc(1, sizeof *source);
    ck_assert_ptr_nonnull(source);
    *source = (s24_source){.format = &s24_format_s24, .options = options, .io = &io, .contents.most = 1000};
    if (piped) {
        int fds[2];
        char path[32];
        ck_assert(pipe(fds) == 0 && write(fds[1], b.data, b.n) == (ssize_t)b.n);
        close(fds[1]);
        snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
        ck_assert_int_eq(s24_input_open(&source->in, &io, path, err), S24_OK);
        close(fds[0]);
    } else {
        void *const copy = malloc(b.n + 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, b.data, b.n);
        ck_assert_int_eq(s24_input_memory(&source->in, &io, "memory", copy, b.n, err), S24_OK);
    }
    if (s24_source_parse(source, err) != S24_OK) {
        s24_source_close(source);
        return NULL;
    }
    return source;
}

/* What a file gave: panels that are as the truth has them, lost ones, and whether all was fine to the end. */
typedef struct verdict {
    size_t right, lost;
    bool fine;
} verdict;

/* A panel that is given at all must be the right one. */
static void read_panel(const s24_entry *e, const s24_checks *checks, size_t panel, bytes truth, verdict *v)
{
    static unsigned char planes[65536];
    const s24_plain *const plain = s24_plain_of(e->source);
    s24_plain_place p = {.plane[S24_VALUES].at = e->offset + (uint64_t)panel * plain->panel_bytes};
    bool damaged = false;
    s24_error err;
    s24_status status;
    if (e->packed) {
        const s24_panels panels = s24_plain_panels(plain, e);
        const s24_panel_place place = s24_panel_at(&panels, panel);
        p = s24_plain_panel_place(e, &place);
        status = s24_plain_read_panel(e, checks, panel, planes, &damaged, &err);
    } else {
        status = s24_plain_read_carried(e, checks, panel, planes, &p.plane[S24_VALUES].bytes, &damaged, &err);
    }
    ck_assert(status == S24_OK || (status == S24_ERR_DATA && err.message[0] && strstr(err.message, "; ")));
    if (status == S24_OK && !damaged) {
        const unsigned char *at = planes;
        for (int k = 0; k < S24_PLANES; at += p.plane[k++].bytes) {
            ck_assert(memcmp(at, truth.data + p.plane[k].at, p.plane[k].bytes) == 0);
        }
        v->right++;
    } else {
        v->lost++;
        v->fine = false;
    }
}

static verdict read_all(bytes b, const s24_read_options *options, bool piped, bytes truth)
{
    verdict v = {.fine = true};
    s24_error err;
    s24_source *const source = open_bytes(b, options, piped, &err);
    if (!source) {
        ck_assert(err.status == S24_ERR_DATA && err.message[0]);
        return (verdict){0};
    }
    for (size_t i = 0; i < source->contents.count; i++) {
        const s24_entry *const e = &source->contents.entries[i];
        s24_checks checks;
        const s24_status status = s24_plain_begin(e, &checks, &err);
        if (status != S24_OK) {
            ck_assert_int_eq(status, S24_ERR_DATA);
            v.fine = false;
            continue;
        }
        for (size_t k = 0; k < s24_plain_panel_count(s24_plain_of(source), e); k++) {
            read_panel(e, &checks, k, truth, &v);
        }
        s24_checks_free(&checks);
    }
    if (!options->salvage) {
        const s24_status status = s24_plain_end(source, &err);
        ck_assert(status == S24_OK || status == S24_ERR_DATA);
        v.fine = v.fine && status == S24_OK;
    }
    s24_source_close(source);
    return v;
}

/* ---------------------------------------------------------------- there and back */

static void convert(const char *from, const char *to, int level, const s24_io *how, size_t frame_bytes)
{
    const s24_convert_request q = {.input = from, .output = to, .packing = {.level = level, .frame_bytes = frame_bytes}};
    s24_error err;
    ck_assert_msg(s24_convert_file(how, &q, NULL, &err) == S24_OK, "%s", err.message);
}

static void try_model(const model *m)
{
    const bytes plain = write_model(m, 0, 1);
    for (int level = 1; level <= 9; level += 4) {
        const bytes archive = write_model(m, level, 1), again = write_model(m, level, 3);
        ck_assert(same(archive, again));
        free(again.data);
        for (int piped = 0; piped < 2; piped++) {
            const verdict v = read_all(archive, &strict, piped && archive.n < 60000, plain);
            ck_assert(v.fine && v.lost == 0);
        }
        const verdict v = read_all(archive, &lenient, false, plain);
        ck_assert(v.fine && v.lost == 0);
        spit("archive", archive);
        spit("plain", plain);
        convert("archive", "again", 0, &two, 0);
        const bytes unpacked = slurp("again");
        ck_assert(same(unpacked, plain));
        convert("plain", "again", level, &two, m->frame_bytes);
        const bytes packed = slurp("again");
        ck_assert(same(packed, archive));
        convert("archive", "again", level, &io, m->frame_bytes);
        const bytes repacked = slurp("again");
        ck_assert(same(repacked, archive));
        ck_assert_msg(m->frame_bytes < S24_FRAME_BYTES || archive.n <= plain.n + plain.n / 1000, "%zu bytes of %zu",
                      archive.n, plain.n);
        free(unpacked.data);
        free(packed.data);
        free(repacked.data);
        free(archive.data);
    }
    free(plain.data);
}

START_TEST(there_and_back)
{
    static const size_t sizes[][2] = {{2, 64}, {4, 128}, {65536, 262144}, {26, 192}};
    static const size_t frames[] = {1, 100, 1000, S24_FRAME_BYTES};
    const model m = {everything, COUNT(everything), sizes[_i % 4][0], sizes[_i % 4][1], frames[_i / 4], 0xff};
    try_model(&m);
}
END_TEST

/* Models that nobody thought of. */
START_TEST(any_model)
{
    static const s24_dtype dtypes[] = {S24_F64, S24_F32, S24_F16, S24_BF16, S24_I8, S24_F8E4M3, S24_I64, S24_U8, S24_F4};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (int round = 0; round < 40; round++) {
        tensor tensors[COUNT(names)];
        const size_t count = below(COUNT(names) + 1);
        for (size_t i = 0; i < count; i++) {
            const s24_dtype dtype = dtypes[below(COUNT(dtypes))];
            tensors[i] = (tensor){names[i], dtype, dtype, s24_dtype_prunable(dtype) && below(3) ? (int)below(2) : -1, 2,
                                  {below(9), 2 * below(40)}};
        }
        const model m = {tensors, count, 2 * (1 + below(20)), 64 * (1 + below(4)), 1 + below(600),
                         (unsigned)below(256)};
        try_model(&m);
    }
}
END_TEST

/* Any range of the plain file, by position. */
START_TEST(any_range)
{
    const model m = {everything, COUNT(everything), 6, 128, 300, 0xff};
    const bytes plain = write_model(&m, 0, 1), archive = write_model(&m, 3, 1);
    static unsigned char data[65536];
    s24_error err;
    s24_source *const source = open_bytes(archive, &strict, false, &err);
    ck_assert_ptr_nonnull(source);
    ck_assert_uint_eq(source->in->size, plain.n);
    for (int i = 0; i < 3000; i++) {
        const size_t at = below(plain.n), left = plain.n - at, most = below(2) ? left : 1 + below(200);
        const size_t n = most < left ? most : left;
        ck_assert_uint_le(n, sizeof data);
        ck_assert_msg(s24_input_read(source->in, at, data, n, &err) == S24_OK, "%s", err.message);
        ck_assert(memcmp(data, plain.data + at, n) == 0);
    }
    ck_assert_int_eq(s24_input_read(source->in, plain.n - 3, data, 4, &err), S24_ERR_DATA);
    s24_source_close(source);
    free(plain.data);
    free(archive.data);
}
END_TEST

/* Several threads read the same few frames; of a damaged one each of them is told. */
static s24_source *shared;
static bytes shared_truth;
static atomic_size_t refused;

static s24_status read_somewhere(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    unsigned char data[700];
    (void)ctx, (void)slot;
    const size_t n = 1 + job * 7919 % sizeof data, at = job * 104729 % (shared_truth.n - n);
    const s24_status status = s24_input_read(shared->in, at, data, n, err);
    refused += status == S24_ERR_DATA;
    return status == S24_OK && memcmp(data, shared_truth.data + at, n) != 0 ? S24_ERR_CHECK
        : status == S24_ERR_DATA ? S24_OK : status;
}

START_TEST(many_readers)
{
    static const s24_stages stages = {.work = read_somewhere};
    const model m = {everything, COUNT(everything), 6, 128, 300, 0xff};
    bytes archive = write_model(&m, 3, 1);
    size_t alone[2] = {0}; /* how often one reader is refused */
    s24_error err;
    shared_truth = write_model(&m, 0, 1);
    for (int damaged = 0; damaged < 2; damaged++) {
        for (unsigned threads = 1; threads <= 4; threads += 3) {
            shared = open_bytes(archive, &strict, false, &err);
            ck_assert_ptr_nonnull(shared);
            refused = 0;
            ck_assert_int_eq(s24_run(&stages, NULL, 5000, threads, &err), S24_OK);
            alone[damaged] = threads == 1 ? refused : alone[damaged];
            ck_assert_uint_eq(refused, alone[damaged]);
            s24_source_close(shared);
        }
        archive.data[archive.n / 2] ^= 1;
    }
    ck_assert(alone[0] == 0 && alone[1] > 0);
    free(archive.data);
    free(shared_truth.data);
}
END_TEST

/* All bytes of all data frames, but for the metrics', are some tensor's; with their parts or without. */
START_TEST(sizes)
{
    static const tensor carried[] = {
        {"a", S24_F16, S24_F16, -1, 1, {900}}, {"b", S24_U8, S24_U8, -1, 1, {77}}, {"c", S24_F16, S24_F16, -1, 1, {30}},
        {"d", S24_F32, S24_F32, -1, 1, {0}}, {"e", S24_I64, S24_I64, -1, 2, {90, 3}},
    };
    static const size_t frame_bytes[] = {1, 300, 2000, S24_FRAME_BYTES};
    const model m = {carried, COUNT(carried), 6, 128, frame_bytes[_i / 2], 0xff};
    const bytes archive = write_model(&m, 3, 1);
    s24_error err;
    uint64_t all = 0;
    for (size_t at = S24_ARCHIVE_MAGIC_BYTES; at < archive.n - S24_ARCHIVE_TAIL_BYTES;) {
        s24_frame f;
        unsigned version;
        ck_assert(s24_frame_get(&f, &version, archive.data + at));
        all += f.kind == S24_FRAME_DATA ? s24_frame_bytes(&f) : 0;
        at += (size_t)s24_frame_bytes(&f);
    }
    for (int parts = 0; parts < 2; parts++) {
        s24_source *const source = open_bytes(archive, &strict, _i % 2, &err);
        uint64_t coded = 0;
        ck_assert_msg(s24_archive_measure(source, parts, &err) == S24_OK, "%s", err.message);
        for (size_t i = 0; i < source->contents.count; i++) {
            const s24_entry *const e = &source->contents.entries[i];
            uint64_t sum = 0;
            for (size_t k = 0; parts && k < sizeof *e->parts / sizeof sum; k++) {
                sum += ((const uint64_t *)(const void *)e->parts)[k];
            }
            ck_assert(!parts || sum == e->coded);
            ck_assert((e->bytes == 0) == (e->coded == 0));
            coded += e->coded;
        }
        ck_assert_uint_eq(coded, all);
        s24_source_close(source);
    }
    free(archive.data);
}
END_TEST

/* What the coder does not take is kept all the same: positions that are none, pads that are not 0. */
START_TEST(not_canonical)
{
    static const tensor one[] = {{"w", S24_F32, S24_F32, 1, 2, {90, 12}}}; /* rows of three groups; thirty a panel */
    const model m = {one, 1, 90, 64, 1, 0}; /* zeros: coded, they would be smaller */
    bytes plain = write_model(&m, 0, 1);
    s24_error err;
    s24_source *const source = open_bytes(plain, &strict, false, &err);
    const s24_entry e = source->contents.entries[0];
    const s24_plain *const p = s24_plain_of(source);
    const s24_panels panels = s24_plain_panels(p, &e);
    const uint8_t odd[] = {0x00, 0x44, 0x5f};
    for (size_t i = 0; i < COUNT(odd); i++) { /* the second byte of a row has a pad */
        const s24_panel_place place = s24_panel_at(&panels, i);
        const s24_plain_place at = s24_plain_panel_place(&e, &place);
        unsigned char planes[1024];
        ck_assert_uint_le(at.bytes, sizeof planes);
        plain.data[at.plane[S24_POSITIONS].at + (i == 1)] = odd[i];
        memcpy(planes, plain.data + at.plane[S24_VALUES].at, at.plane[S24_VALUES].bytes);
        memcpy(planes + at.plane[S24_VALUES].bytes, plain.data + at.plane[S24_POSITIONS].at, at.plane[S24_POSITIONS].bytes);
        s24_put_u64(plain.data + e.checks + 8 * i, s24_plain_check(p, at.plane[S24_VALUES].at, planes, at.bytes));
    }
    s24_put_u64(plain.data + e.checks + e.checks_bytes - 8,
                s24_plain_check(p, e.checks, plain.data + e.checks, (size_t)e.checks_bytes - 8));
    spit("plain", plain);
    convert("plain", "archive", 5, &io, 1);
    convert("archive", "again", 0, &io, 0);
    const bytes again = slurp("again");
    ck_assert(same(again, plain));
    s24_source_close(source);
    free(plain.data);
    free(again.data);
}
END_TEST

/* ---------------------------------------------------------------- damage */

/* A small file, its truth, and where its frames begin (the last one is the tail). */
static bytes whole, truth;
static size_t frames[64], frame_count, panel_count;

static void make_whole(const model *m)
{
    truth = write_model(m, 0, 1);
    whole = write_model(m, 5, 1);
    frame_count = 0;
    for (size_t at = S24_ARCHIVE_MAGIC_BYTES; at < whole.n - S24_ARCHIVE_TAIL_BYTES;) {
        s24_frame f;
        unsigned version;
        ck_assert(s24_frame_get(&f, &version, whole.data + at));
        frames[frame_count++] = at;
        at += (size_t)s24_frame_bytes(&f);
    }
    frames[frame_count] = whole.n - S24_ARCHIVE_TAIL_BYTES;
    const verdict v = read_all(whole, &strict, false, truth);
    ck_assert(v.fine);
    panel_count = v.right;
}

static void free_whole(void)
{
    free(truth.data);
    free(whole.data);
}

static void make_small(void)
{
    const model m = {little, COUNT(little), 4, 64, 30, 0x3f};
    make_directory();
    make_whole(&m);
    ck_assert_uint_ge(frame_count, 6);
}

static void free_small(void)
{
    free_whole();
    remove_directory();
}

/* Which frame a byte is in; SIZE_MAX: the magic; frame_count: the tail. */
static size_t frame_at(size_t at)
{
    size_t k = 0;
    while (k < frame_count && at >= frames[k + 1]) {
        k++;
    }
    return at < frames[0] ? SIZE_MAX : k;
}

/* Every bit: seen, from a file and from a pipe, and never another panel; salvage has all but the frame's. */
START_TEST(every_flip)
{
    for (size_t bit = (size_t)_i * STRIDE; bit < 8 * whole.n; bit += 8 * STRIDE) {
        const size_t frame = frame_at(bit / 8);
        whole.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        ck_assert_msg(!read_all(whole, &strict, false, truth).fine, "bit %zu of byte %zu", bit % 8, bit / 8);
        ck_assert_msg(!read_all(whole, &strict, true, truth).fine, "bit %zu of byte %zu, piped", bit % 8, bit / 8);
        const verdict v = read_all(whole, &lenient, false, truth);
        const bool data = frame > 0 && frame < frame_count - 2;
        ck_assert_msg(data ? v.right > 0 && v.right + v.lost == panel_count : v.right == panel_count,
                      "bit %zu of byte %zu: %zu right, %zu lost", bit % 8, bit / 8, v.right, v.lost);
        whole.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}
END_TEST

/* Cut off anywhere: seen; salvage has the frames that are whole. */
START_TEST(every_cut)
{
    size_t before = 0;
    for (size_t n = 0; n < whole.n; n += STRIDE) {
        const bytes cut = {whole.data, n};
        ck_assert(!read_all(cut, &strict, false, truth).fine);
        ck_assert(!read_all(cut, &strict, true, truth).fine);
        if (n < 256) { /* nothing shows what it is, or it has no header */
            continue;
        }
        const verdict v = read_all(cut, &lenient, false, truth);
        ck_assert_uint_ge(v.right, before); /* never less of more */
        before = v.right;
    }
    ck_assert_uint_eq(before, panel_count);
}
END_TEST

/* Nothing at the beginning shows what it is: the end does. Of a pipe that is not seen. */
START_TEST(beginning_gone)
{
    unsigned char kept[16];
    memcpy(kept, whole.data, sizeof kept);
    s24_source *source;
    s24_error err;
    memset(whole.data, 0, S24_ARCHIVE_MAGIC_BYTES); /* the frame behind the magic shows it, also of a pipe */
    for (int piped = 0; piped < 2; piped++) {
        ck_assert(!open_bytes(whole, &strict, piped, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "it does not begin as an archive does; s24 decompress --salvage"));
    }
    memset(whole.data, 0, sizeof kept);
    ck_assert(!read_all(whole, &strict, false, truth).fine);
    ck_assert(!read_all(whole, &strict, true, truth).fine);
    ck_assert_uint_eq(read_all(whole, &lenient, false, truth).right, panel_count);
    spit("archive", whole); /* whatever type it may be */
    ck_assert_int_eq(s24_source_open(&source, &io, "archive", NULL, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "it does not begin as an archive does; s24 decompress --salvage"));
    whole.data[whole.n - S24_ARCHIVE_TAIL_BYTES] ^= 1;
    ck_assert_uint_eq(read_all(whole, &lenient, false, truth).right, 0);
    whole.data[whole.n - S24_ARCHIVE_TAIL_BYTES] ^= 1;
    memcpy(whole.data, kept, sizeof kept);
}
END_TEST

static void append(bytes *b, const unsigned char *data, size_t n)
{
    b->data = realloc(b->data, b->n + n + 1);
    ck_assert_ptr_nonnull(b->data);
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void append_frame(bytes *b, size_t k)
{
    append(b, whole.data + frames[k], frames[k + 1] - frames[k]);
}

/* Frames in another order, one gone, one twice: seen; salvage has what is there. */
START_TEST(frames_moved)
{
    for (size_t x = 0; x < frame_count; x++) {
        for (size_t y = 0; y < frame_count; y++) {
            bytes swapped = {0}, doubled = {0};
            append(&swapped, whole.data, frames[0]);
            append(&doubled, whole.data, frames[0]);
            for (size_t k = 0; k < frame_count; k++) {
                append_frame(&swapped, k == x ? y : k == y ? x : k);
                append_frame(&doubled, k);
                if (k == y) {
                    append_frame(&doubled, x);
                }
            }
            append(&swapped, whole.data + frames[frame_count], whole.n - frames[frame_count]);
            append(&doubled, whole.data + frames[frame_count], whole.n - frames[frame_count]);
            for (int piped = 0; piped < 2; piped++) {
                ck_assert_msg(read_all(swapped, &strict, piped, truth).fine == (x == y), "%zu and %zu swapped", x, y);
                ck_assert_msg(!read_all(doubled, &strict, piped, truth).fine, "%zu once more behind %zu", x, y);
            }
            const size_t right = read_all(swapped, &lenient, false, truth).right;
            ck_assert_msg(right == panel_count, "%zu and %zu of %zu swapped: %zu right", x, y, frame_count, right);
            ck_assert_uint_eq(read_all(doubled, &lenient, false, truth).right, panel_count);
            free(swapped.data);
            free(doubled.data);
        }
        bytes without = {0};
        append(&without, whole.data, frames[x]);
        append(&without, whole.data + frames[x + 1], whole.n - frames[x + 1]);
        ck_assert(!read_all(without, &strict, false, truth).fine);
        ck_assert(!read_all(without, &strict, true, truth).fine);
        const verdict v = read_all(without, &lenient, false, truth);
        ck_assert(v.right + v.lost == panel_count && v.right > 0);
        free(without.data);
    }
}
END_TEST

/* Bytes put in or taken out: whole frames behind that place are found by their magic. */
START_TEST(bytes_moved)
{
    for (size_t at = frames[1]; at < frames[frame_count - 2]; at += 5) {
        bytes more = {0}, less = {0};
        append(&more, whole.data, at);
        append(&more, (const unsigned char *)"S24F!", 5);
        append(&more, whole.data + at, whole.n - at);
        append(&less, whole.data, at);
        append(&less, whole.data + at + 3, whole.n - at - 3);
        ck_assert(!read_all(more, &strict, false, truth).fine && !read_all(less, &strict, false, truth).fine);
        const verdict v = read_all(more, &lenient, false, truth), w = read_all(less, &lenient, false, truth);
        ck_assert(v.right + v.lost == panel_count && v.right > panel_count / 3);
        ck_assert(w.right + w.lost == panel_count && w.right > panel_count / 3);
        free(more.data);
        free(less.data);
    }
}
END_TEST

/* A frame of another file with the same layout, another header. */
START_TEST(foreign_frame)
{
    tensor other[COUNT(little)];
    memcpy(other, little, sizeof other);
    other[1].name = "x";
    const model m = {other, COUNT(other), 4, 64, 30, 0x3f};
    const bytes foreign = write_model(&m, 5, 1);
    s24_frame f;
    unsigned version;
    ck_assert(s24_frame_get(&f, &version, foreign.data + frames[0]));
    const size_t from = frames[0] + (size_t)s24_frame_bytes(&f), n = frames[2] - frames[1];
    memcpy(whole.data + frames[1], foreign.data + from, n);
    ck_assert(!read_all(whole, &strict, false, truth).fine);
    ck_assert(!read_all(whole, &strict, true, truth).fine);
    ck_assert(read_all(whole, &lenient, false, truth).lost > 0);
    free(foreign.data);
}
END_TEST

/*
 * Frame k changed as `change` does, and its checks set right again where a reader looks for them, which may be in another
 * frame: then one of those is damaged, too.
 */
static void forge(size_t k, void (*change)(unsigned char *frame, unsigned x), unsigned x, bytes *forged)
{
    s24_frame f;
    unsigned version;
    append(forged, whole.data, whole.n);
    unsigned char *const frame = forged->data + frames[k];
    const uint64_t left = whole.n - frames[k];
    const bool header = k == 0 || k == frame_count - 2;
    const uint64_t hash = header ? 0 : s24_archive_check(truth.data, (size_t)s24_get_u64(truth.data) + 8, 0);
    change(frame, x);
    s24_frame_get(&f, &version, frame);
    if (f.payload > left || s24_frame_bytes(&f) > left) {
        return;
    }
    const size_t begin = (size_t)(s24_frame_bytes(&f) - f.payload);
    s24_put_u64(frame + 48, s24_archive_check(frame + begin, (size_t)f.payload, s24_frame_seed(hash, k)));
    s24_put_u64(frame + begin - 8, s24_archive_check(frame, begin - 8, s24_frame_seed(hash, k)));
}

static void change_bit(unsigned char *data, unsigned x)
{
    data[x / 8] ^= (unsigned char)(1u << x % 8);
}

/* What tensors take, with parts and without: there is an answer, or why there is none. */
static void ask_sizes(bytes b)
{
    for (int parts = 0; parts < 2; parts++) {
        s24_error err;
        s24_source *const source = open_bytes(b, &strict, false, &err);
        if (source) {
            const s24_status status = s24_archive_measure(source, parts, &err);
            ck_assert(status == S24_OK || (status == S24_ERR_DATA && strstr(err.message, "; ")));
            s24_source_close(source);
        }
    }
}

/* Reads what lies in every way. Unless it is `coded` what changed, which may unpack to the same, none may be content. */
static void try_lie(bytes forged, bool coded, const char *where, size_t k, unsigned bit)
{
    for (int piped = 0; piped < 2; piped++) {
        const verdict v = read_all(forged, &strict, piped, truth);
        ck_assert_msg(!v.fine || (coded && v.right == panel_count), "%s %zu, bit %u of byte %u%s", where, k, bit % 8,
                      bit / 8, piped ? ", piped" : "");
    }
    read_all(forged, &lenient, false, truth);
    ask_sizes(forged);
}

/* Every bit of every frame but for its checks, which are right. */
START_TEST(every_lie)
{
    for (size_t k = (size_t)_i; k < frame_count; k += 4) {
        s24_frame f;
        unsigned version;
        s24_frame_get(&f, &version, whole.data + frames[k]);
        const size_t begin = (size_t)(s24_frame_bytes(&f) - f.payload);
        for (unsigned bit = 0; bit < 8 * (frames[k + 1] - frames[k]); bit += STRIDE) {
            if ((bit / 8 >= 48 && bit / 8 < 56) || (bit / 8 >= begin - 8 && bit / 8 < begin)) {
                continue;
            }
            bytes forged = {0};
            forge(k, change_bit, bit, &forged);
            try_lie(forged, bit / 8 >= begin && k < frame_count - 1, "frame", k, bit);
            free(forged.data);
        }
    }
}
END_TEST

/* The same of the tail. */
START_TEST(every_lie_of_the_tail)
{
    for (unsigned bit = 8 * 8; bit < 8 * 56; bit++) {
        unsigned char *const tail = whole.data + frames[frame_count];
        change_bit(tail, bit);
        s24_put_u64(tail + 56, s24_archive_check(tail, 56, 0));
        try_lie(whole, false, "tail", 0, bit);
        change_bit(tail, bit);
    }
}
END_TEST

static void set_number(unsigned char *frame, unsigned x)
{
    s24_put_u32(frame + x % 1000, x / 1000);
}

/* As many panels as a frame may have are what makes S24_FRAME_BYTES: of more nothing is read. */
START_TEST(too_many_panels)
{
    static const tensor large[] = {{"w", S24_U8, S24_U8, -1, 1, {8 << 16}}};
    const model m = {large, 1, 4, 1 << 16, S24_FRAME_BYTES, 0}; /* two panels a frame; zeros take nothing */
    const unsigned lines = 56 + 8 * 8 + 8; /* of the index, which has a check a panel */
    unsigned char data[8];
    bytes forged = {0}, other = {0}, less = {0};
    s24_error err;
    free_whole();
    make_whole(&m);
    forge(frame_count - 1, set_number, 7000 + lines + 16 * 4 + 8, &less); /* a panel is in no frame */
    ck_assert(!open_bytes(less, &strict, false, &err) && err.status == S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "its index does not have all panels; "));
    forge(frame_count - 1, set_number, 3000 + lines + 24, &forged); /* the second frame from panel 3 on */
    s24_source *source = open_bytes(forged, &strict, false, &err);
    ck_assert_ptr_nonnull(source);
    ck_assert_int_eq(s24_input_read(source->in, source->contents.entries[0].offset, data, sizeof data, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "frame 1, at byte"));
    ck_assert_ptr_nonnull(strstr(err.message, "cannot have what the index says; "));
    ck_assert_int_eq(s24_archive_measure(source, true, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "cannot have what the index says; "));
    s24_source_close(source);
    forge(1, set_number, 3000 + 24, &other);
    source = open_bytes(other, &strict, true, &err);
    ck_assert_ptr_nonnull(source);
    ck_assert_int_eq(s24_archive_measure(source, true, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "is not what must come next; "));
    s24_source_close(source);
    free(forged.data);
    free(other.data);
    free(less.data);
}
END_TEST

/* Panels that there are not are in no frame, wherever numbers end. */
START_TEST(panels_of_frames)
{
    s24_error err;
    s24_source *const source = open_bytes(whole, &strict, false, &err);
    const s24_archive *const a = (const s24_archive *)source->in->view;
    const uint64_t all = s24_archive_panels(&a->map);
    const struct {
        uint64_t first, panels;
        bool fits;
    } cases[] = {
        {0, 1, true}, {0, all, true}, {all - 1, 1, true}, {0, 0, false}, {all, 0, false}, {all, 1, false},
        {all - 1, 2, false}, {0, all + 1, false}, {1, all, false}, {UINT64_MAX, 1, false}, {1, UINT64_MAX, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        ck_assert_msg(s24_archive_frame_fits(a, cases[i].first, cases[i].panels) == cases[i].fits, "case %zu", i);
    }
    s24_source_close(source);
}
END_TEST

/* Of a frame without room for its head nothing is read, by nobody: not its panels, nor what it takes. */
START_TEST(short_frame)
{
    const size_t index = frames[frame_count - 1];
    const unsigned line = (unsigned)(frames[frame_count] - index - 16 * (frame_count - 3)); /* the second frame begins */
    ck_assert_uint_lt(line, 1000);
    const unsigned ends[] = {1, S24_FRAME_HEAD_BYTES - 1, S24_FRAME_HEAD_BYTES + S24_FRAME_CHECK_BYTES - 1};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        bytes forged = {0};
        s24_error err;
        forge(frame_count - 1, set_number, 1000 * (unsigned)(frames[1] + ends[i]) + line, &forged);
        ask_sizes(forged);
        ck_assert(!open_bytes(forged, &strict, false, &err) && err.status == S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "its index has a frame that is too short to be one; ") != NULL, "%s", err.message);
        free(forged.data);
    }
}
END_TEST

/* What is asked for when it is gone, or never was held; and nothing at all, which leaves things as they are. */
START_TEST(gone)
{
    s24_error err;
    unsigned char data[8];
    for (int kept = 0; kept < 2; kept++) {
        s24_source *const source = open_bytes(whole, &strict, true, &err);
        const s24_entry *const first = source->contents.entries, *const last = &first[COUNT(little) - 1];
        ck_assert(!kept || s24_input_hold(source->in, first->offset, first->bytes, &err) == S24_OK);
        ck_assert_int_eq(s24_input_hold(source->in, last->offset, last->bytes, &err), S24_OK);
        ck_assert_int_eq(s24_input_hold(source->in, first->offset, 0, &err), S24_OK);
        ck_assert_int_eq(s24_input_read(source->in, last->offset, data, sizeof data, &err), S24_OK);
        ck_assert(memcmp(data, truth.data + last->offset, sizeof data) == 0);
        ck_assert_int_eq(s24_input_read(source->in, first->offset, data, sizeof data, &err), S24_ERR_SYSTEM);
        ck_assert_ptr_nonnull(strstr(err.message, "frame 1 of a pipe is gone"));
        s24_source_close(source);
    }
}
END_TEST

/* The flag to stop is looked at between frames. */
START_TEST(stopped)
{
    s24_error err;
    for (int piped = 0; piped < 2; piped++) {
        s24_source *const source = open_bytes(whole, &strict, piped, &err);
        ck_assert_ptr_nonnull(source);
        cancelled = 1;
        ck_assert_int_eq(s24_archive_measure(source, true, &err), S24_ERR_STOPPED);
        cancelled = 0;
        s24_source_close(source);
    }
    cancelled = 1;
    ck_assert(!open_bytes(whole, &lenient, false, &err) && err.status == S24_ERR_STOPPED);
    cancelled = 0;
}
END_TEST

/* The frame of a header, with number 0: stored, for headers need not be deflated. */
static void append_header(bytes *b, const s24_plain *plain)
{
    unsigned char begin[S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES + S24_FRAME_CHECK_BYTES];
    const size_t n = plain->header_bytes;
    unsigned char *const header = malloc(n);
    ck_assert_int_eq(s24_inflate(&plain->header, header, NULL), S24_OK);
    const s24_frame f = {.kind = S24_FRAME_HEADER, .units = 1, .payload = n, .raw = n,
                         .check = s24_archive_check(header, n, s24_frame_seed(0, 0))};
    s24_put_u32(begin + S24_FRAME_HEAD_BYTES, S24_CODEC_STORED);
    s24_put_u32(begin + S24_FRAME_HEAD_BYTES + 4, (uint32_t)n);
    s24_frame_put(&f, s24_frame_seed(0, 0), begin);
    append(b, begin, sizeof begin);
    append(b, header, n);
    free(header);
}

/* A header that tells of a tensor of 64 TiB, and nothing of it: no time or memory is spent on what is not there. */
START_TEST(header_alone)
{
    static const tensor vast[] = {{"w", S24_U8, S24_U8, -1, 1, {(size_t)1 << 46}}};
    const model m = {vast, 1, 4, 1 << 20, 1, 0};
    unsigned char tail[S24_ARCHIVE_TAIL_BYTES], data[8];
    bytes b = {0};
    s24_plain plain;
    s24_error err;
    plan_model(&plain, &m);
    ck_assert_msg(s24_plain_lay_out(&plain, &err) == S24_OK, "%s", err.message);
    append(&b, (const unsigned char *)S24_ARCHIVE_MAGIC, S24_ARCHIVE_MAGIC_BYTES);
    append_header(&b, &plain);
    const s24_archive_tail t = {.size = b.n + sizeof tail, .index = b.n, .frames = 1, .hash = plain.hash,
                                .plain_size = plain.file_size};
    s24_archive_tail_put(&t, tail);
    append(&b, tail, sizeof tail);
    ck_assert(!open_bytes(b, &strict, false, &err) && err.status == S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "its index is not where it must be; "));
    s24_source *source = open_bytes(b, &strict, true, &err);
    ck_assert_ptr_nonnull(source);
    ck_assert_int_eq(s24_input_hold(source->in, source->contents.entries[0].offset, 1, &err), S24_ERR_DATA);
    s24_source_close(source);
    source = open_bytes(b, &lenient, false, &err);
    ck_assert_ptr_nonnull(source);
    ck_assert_int_eq(s24_input_read(source->in, source->contents.entries[0].checks, data, sizeof data, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "it has not nearly what its header says"));
    ck_assert_int_eq(s24_input_read(source->in, source->contents.entries[0].offset, data, sizeof data, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "a frame is missing"));
    s24_source_close(source);
    s24_plain_free(&plain);
    free(b.data);
}
END_TEST

static void set_version(unsigned char *frame, unsigned x)
{
    frame[6] = (unsigned char)x;
}

static void set_codec(unsigned char *frame, unsigned x)
{
    s24_put_u32(frame + S24_FRAME_HEAD_BYTES, x);
}

/* What a later version may write is named. */
START_TEST(unknown)
{
    s24_error err;
    bytes forged = {0};
    forge(0, set_version, 2, &forged);
    ck_assert_ptr_null(open_bytes(forged, &strict, false, &err));
    ck_assert(strstr(err.message, "version 2") && err.sys_errno);
    free(forged.data);
    forged = (bytes){0};
    forge(0, set_codec, 7, &forged);
    ck_assert_ptr_null(open_bytes(forged, &strict, false, &err));
    ck_assert(strstr(err.message, "codec 7") && err.sys_errno);
    free(forged.data);
    forged = (bytes){0};
    forge(1, set_codec, 9, &forged);
    s24_source *const source = open_bytes(forged, &strict, false, &err);
    ck_assert_ptr_nonnull(source);
    unsigned char data[8];
    ck_assert_int_eq(s24_input_read(source->in, source->contents.entries[0].offset, data, sizeof data, &err), S24_ERR_DATA);
    ck_assert(strstr(err.message, "codec 9") && err.sys_errno);
    s24_source_close(source);
    free(forged.data);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("archive");
    TCase *const tcase = tcase_create("whole"), *const damage = tcase_create("damage");
    const char *const given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : 24;
    printf("test_archive: S24_SEED=%llu\n", (unsigned long long)first_seed);
    tcase_add_checked_fixture(tcase, make_directory, remove_directory);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, there_and_back, 0, 16);
    tcase_add_test(tcase, any_model);
    tcase_add_test(tcase, any_range);
    tcase_add_test(tcase, many_readers);
    tcase_add_loop_test(tcase, sizes, 0, 8);
    tcase_add_test(tcase, not_canonical);
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(damage, make_small, free_small);
    tcase_set_timeout(damage, 300);
    tcase_add_loop_test(damage, every_flip, 0, 8);
    tcase_add_test(damage, every_cut);
    tcase_add_test(damage, beginning_gone);
    tcase_add_test(damage, frames_moved);
    tcase_add_test(damage, bytes_moved);
    tcase_add_test(damage, foreign_frame);
    tcase_add_loop_test(damage, every_lie, 0, 4);
    tcase_add_test(damage, every_lie_of_the_tail);
    tcase_add_test(damage, too_many_panels);
    tcase_add_test(damage, panels_of_frames);
    tcase_add_test(damage, short_frame);
    tcase_add_test(damage, gone);
    tcase_add_test(damage, stopped);
    tcase_add_test(damage, header_alone);
    tcase_add_test(damage, unknown);
    suite_add_tcase(suite, damage);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
