/*
 * Writing an archive, in one pass. Whoever has a panel codes it, or leaves it with the others of its frame, the last of whom
 * codes the frame; when the panels' turn comes, complete frames are written. So all threads code, and the bytes depend on
 * nothing but the panels.
 */
#include "archive.h"

#include <pthread.h>
#include <string.h>

/* A frame on its way: all panels that are not yet written belong to one, up to the last panel that anybody has. */
typedef struct frame {
    struct frame *next;
    uint64_t first;
    uint32_t panels;
    size_t *starts;       /* of the panels in raw, and where they end */
    uint64_t number;
    bool stored;          /* a panel that the coder does not take, whatever its check says */
    uint32_t missing;     /* panels; under the lock */
    unsigned char *raw;   /* the panels, where there are several */
    uint64_t *checks;     /* one a panel */
    unsigned char *coded; /* the frame, until it is written, */
    size_t bytes;         /* which has so many */
} frame;

struct s24_archive_writer {
    s24_plain *plain;
    s24_archive_map map;
    s24_appender out;

    pthread_mutex_t lock; /* over the next four; who takes a frame from the list is the only one who writes */
    frame *frames, **last;
    uint64_t planned;     /* panels */
    uint64_t numbers;     /* of frames */
    s24_bench *idle;

    unsigned char *index; /* its lines, of the frames that are written */
    size_t index_lines, index_capacity;
    uint64_t *checks;     /* of all panels that are written */
    size_t check_count, check_capacity;
};

/* ---------------------------------------------------------------- benches */

static s24_bench *take_bench(s24_archive_writer *w, s24_error *err)
{
    pthread_mutex_lock(&w->lock);
    s24_bench *bench = w->idle;
    w->idle = bench ? bench->next : NULL;
    pthread_mutex_unlock(&w->lock);
    if (!bench) {
        return s24_calloc(1, sizeof *bench, err);
    }
    bench->next = NULL;
    return bench;
}

static void return_bench(s24_archive_writer *w, s24_bench *bench)
{
    pthread_mutex_lock(&w->lock);
    bench->next = w->idle;
    w->idle = bench;
    pthread_mutex_unlock(&w->lock);
}

/* ---------------------------------------------------------------- coding a frame */

/* The unit at `to`: coded, if that is less than as it is. */
static s24_status put_unit(s24_archive_writer *w, s24_bench *bench, const frame *f, const s24_frame *head,
                           s24_archive_unit *unit, const unsigned char *raw, unsigned char *to, s24_frame_unit *line,
                           s24_error *err)
{
    unit->unit.isa = w->out.out->io->isa;
    const size_t bound = s24_coder_bound(&unit->unit);
    size_t n = 0;
    if (!f->stored && bound != SIZE_MAX) {
        unsigned char *values = s24_bench_reserve(bench, S24_BENCH_VALUES, s24_unit_value_bytes(&unit->unit), err);
        unsigned char *nibbles = s24_bench_reserve(bench, S24_BENCH_NIBBLES, s24_unit_nibble_bytes(&unit->unit), err);
        unsigned char *scratch = s24_bench_reserve(bench, S24_BENCH_SCRATCH, s24_encode_scratch(&unit->unit), err);
        if (!values || !nibbles || !scratch) {
            return S24_ERR_SYSTEM;
        }
        s24_archive_gather(&w->map, head, unit, raw, values, nibbles);
        n = s24_unit_encode(&unit->unit, values, unit->unit.groups ? nibbles : NULL, w->plain->level, to, scratch);
    }
    *line = (s24_frame_unit){.codec = S24_CODEC_UNIT, .bytes = (uint32_t)n};
    if (n == 0 || n >= unit->bytes) {
        s24_archive_gather_stored(&w->map, head, unit, raw, to);
        *line = (s24_frame_unit){.codec = S24_CODEC_STORED, .bytes = (uint32_t)unit->bytes};
    }
    return S24_OK;
}

/* All of the frame, from its panels. What else that takes is for the next one: many frames may wait to be written. */
static s24_status code_on(s24_archive_writer *w, s24_bench *bench, frame *f, const unsigned char *raw, s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    s24_frame head = {.kind = S24_FRAME_DATA, .number = f->number, .first = f->first, .panels = f->panels};
    head.units = (uint32_t)s24_archive_units(&w->map, f->first, f->panels, units, &head.raw);
    const size_t begin = (size_t)s24_frame_bytes(&head);
    size_t most = begin;
    for (uint32_t k = 0; k < head.units; k++) {
        const size_t bound = s24_coder_bound(&units[k].unit);
        most += bound != SIZE_MAX && bound > units[k].bytes ? bound : units[k].bytes;
    }
    unsigned char *const p = f->coded = s24_malloc(most, err);
    if (!p) {
        return S24_ERR_SYSTEM;
    }
    unsigned char *line = p + S24_FRAME_HEAD_BYTES;
    for (uint32_t k = 0; k < head.units; k++, line += S24_FRAME_LINE_BYTES) {
        s24_frame_unit unit;
        const s24_status status = put_unit(w, bench, f, &head, &units[k], raw, p + begin + head.payload, &unit, err);
        if (status != S24_OK) {
            return status;
        }
        s24_put_u32(line, unit.codec);
        s24_put_u32(line + 4, unit.bytes);
        head.payload += unit.bytes;
    }
    for (uint32_t i = 0; i < f->panels; i++, line += S24_FRAME_LINE_BYTES) {
        s24_put_u64(line, f->checks[i]);
    }
    const uint64_t seed = s24_frame_seed(w->plain->hash, f->number);
    head.check = s24_archive_check(p + begin, (size_t)head.payload, seed);
    s24_frame_put(&head, seed, p);
    f->bytes = (size_t)s24_frame_bytes(&head);
    return S24_OK;
}

static s24_status code_frame(s24_archive_writer *w, frame *f, const unsigned char *raw, s24_error *err)
{
    s24_bench *const bench = take_bench(w, err);
    if (!bench) {
        return S24_ERR_SYSTEM;
    }
    const s24_status status = code_on(w, bench, f, raw, err);
    return_bench(w, bench);
    free(f->raw);
    f->raw = NULL;
    return status;
}

/* ---------------------------------------------------------------- frames on their way */

/* The next frame: as many panels as make frame_bytes, or what is left. Under the lock. */
static s24_status plan_frame(s24_archive_writer *w, s24_error *err)
{
    const uint64_t all = s24_archive_panels(&w->map);
    frame *f = s24_calloc(1, sizeof *f, err);
    if (!f) {
        return S24_ERR_SYSTEM;
    }
    f->first = w->planned;
    size_t bytes = 0;
    do {
        bytes += s24_archive_panel_bytes(&w->map, f->first + f->panels);
        f->panels++;
    } while (bytes < w->plain->frame_bytes && f->first + f->panels < all);
    f->missing = f->panels;
    f->checks = s24_calloc(f->panels, sizeof *f->checks, err);
    f->starts = f->checks ? s24_calloc(f->panels + (size_t)1, sizeof *f->starts, err) : NULL;
    f->raw = f->starts && f->panels > 1 ? s24_malloc(bytes, err) : NULL;
    if (!f->starts || (f->panels > 1 && !f->raw)) {
        free(f->checks);
        free(f->starts);
        free(f);
        return S24_ERR_SYSTEM;
    }
    s24_archive_starts(&w->map, f->first, f->panels, f->starts);
    f->number = w->numbers++;
    w->planned += f->panels;
    *w->last = f;
    w->last = &f->next;
    return S24_OK;
}

/* The frame of a panel that is not yet written. */
static s24_status find_frame(s24_archive_writer *w, uint64_t number, frame **found, s24_error *err)
{
    s24_status status = S24_OK;
    pthread_mutex_lock(&w->lock);
    while (number >= w->planned && status == S24_OK) {
        status = plan_frame(w, err);
    }
    *found = w->frames;
    while (status == S24_OK && number >= (*found)->first + (*found)->panels) {
        *found = (*found)->next;
    }
    pthread_mutex_unlock(&w->lock);
    return status;
}

static void free_frame(frame *f)
{
    free(f->coded);
    free(f->raw);
    free(f->starts);
    free(f->checks);
    free(f);
}

/* Whether the coder takes the panel, and gives it back as it was: nibbles are two ascending positions, pads are 0. */
static bool codable(const s24_archive_writer *w, const s24_entry *entry, size_t panel, const void *planes)
{
    if (!entry->packed || panel >= s24_plain_panel_count(w->plain, entry)) {
        return true;
    }
    const s24_panels panels = s24_plain_panels(w->plain, entry);
    const s24_panel_place place = s24_panel_at(&panels, panel);
    s24_fault fault;
    return s24_plain_canonical(entry, &place, planes, &fault);
}

s24_status s24_archive_writer_code(s24_archive_writer *w, const s24_entry *entry, size_t panel, const void *planes,
                                   uint64_t check, s24_error *err)
{
    const uint64_t number = s24_archive_number(&w->map, entry, panel);
    const bool fit = codable(w, entry, panel, planes);
    frame *f;
    const s24_status status = find_frame(w, number, &f, err);
    if (status != S24_OK) {
        return status;
    }
    const size_t i = (size_t)(number - f->first);
    f->checks[i] = check;
    if (f->panels > 1) {
        memcpy(f->raw + f->starts[i], planes, f->starts[i + 1] - f->starts[i]);
    }
    pthread_mutex_lock(&w->lock);
    f->stored = f->stored || !fit;
    const bool complete = --f->missing == 0;
    pthread_mutex_unlock(&w->lock);
    return complete ? code_frame(w, f, f->panels > 1 ? f->raw : planes, err) : S24_OK;
}

/* ---------------------------------------------------------------- writing */

/* One more line of the index. */
static s24_status index_line(s24_archive_writer *w, uint64_t offset, uint64_t first, s24_error *err)
{
    if (w->index_lines == w->index_capacity) {
        const size_t capacity = w->index_capacity ? 2 * w->index_capacity : 64;
        unsigned char *index = realloc(w->index, capacity * S24_INDEX_LINE_BYTES);
        if (!index) {
            return s24_fail_memory(err, capacity * S24_INDEX_LINE_BYTES);
        }
        w->index = index;
        w->index_capacity = capacity;
    }
    s24_put_u64(w->index + w->index_lines * S24_INDEX_LINE_BYTES, offset);
    s24_put_u64(w->index + w->index_lines * S24_INDEX_LINE_BYTES + 8, first);
    w->index_lines++;
    return S24_OK;
}

static s24_status keep_checks(s24_archive_writer *w, const uint64_t *checks, size_t n, s24_error *err)
{
    if (n > w->check_capacity - w->check_count) {
        const size_t capacity = 2 * (w->check_count + n);
        uint64_t *more = realloc(w->checks, capacity * sizeof *more);
        if (!more) {
            return s24_fail_memory(err, capacity * sizeof *more);
        }
        w->checks = more;
        w->check_capacity = capacity;
    }
    memcpy(w->checks + w->check_count, checks, n * sizeof *checks);
    w->check_count += n;
    return S24_OK;
}

/* What the frame takes, for reports. */
static void account(const s24_archive_writer *w, const frame *f)
{
    const unsigned char *begin = f->coded;
    s24_frame head;
    unsigned version;
    s24_frame_get(&head, &version, begin);
    s24_archive_account(&w->map, &head, begin, NULL, w->plain->contents.entries);
}

s24_status s24_archive_writer_append(s24_archive_writer *w, const s24_entry *entry, size_t panel, s24_error *err)
{
    const uint64_t number = s24_archive_number(&w->map, entry, panel);
    pthread_mutex_lock(&w->lock);
    frame *f = w->frames;
    const bool complete = f && number == f->first + f->panels - 1;
    if (complete) { /* then it is coded: all its panels have been */
        w->frames = f->next;
        w->last = w->frames ? w->last : &w->frames;
    }
    pthread_mutex_unlock(&w->lock);
    if (!complete) {
        return S24_OK;
    }
    s24_status status = index_line(w, w->out.next, f->first, err);
    status = status == S24_OK ? keep_checks(w, f->checks, f->panels, err) : status;
    status = status == S24_OK ? s24_appender_add(&w->out, f->coded, f->bytes, err) : status;
    account(w, f);
    free_frame(f);
    return status;
}

/* ---------------------------------------------------------------- header, index, tail */

static s24_status write_header(s24_archive_writer *w, s24_error *err)
{
    unsigned char begin[S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES + S24_FRAME_CHECK_BYTES], *stored = NULL;
    const s24_deflated *const header = &w->plain->header;
    const bool deflated = header->coded_bytes < header->bytes;
    s24_status status = S24_OK;
    if (!deflated) {
        stored = s24_malloc(header->bytes, err);
        status = stored ? s24_inflate(header, stored, err) : S24_ERR_SYSTEM;
    }
    if (status == S24_OK) {
        const unsigned char *const payload = deflated ? header->coded : stored;
        const size_t n = deflated ? header->coded_bytes : header->bytes;
        const uint64_t number = w->numbers++, seed = s24_frame_seed(0, number);
        const s24_frame head = {.kind = S24_FRAME_HEADER, .number = number, .units = 1, .payload = n, .raw = header->bytes,
                                .check = s24_archive_check(payload, n, seed)};
        s24_put_u32(begin + S24_FRAME_HEAD_BYTES, deflated ? S24_CODEC_DEFLATE : S24_CODEC_STORED);
        s24_put_u32(begin + S24_FRAME_HEAD_BYTES + 4, (uint32_t)n);
        s24_frame_put(&head, seed, begin);
        status = s24_appender_add(&w->out, begin, sizeof begin, err);
        status = status == S24_OK ? s24_appender_add(&w->out, payload, n, err) : status;
    }
    free(stored);
    return status;
}

static s24_status write_index(s24_archive_writer *w, s24_error *err)
{
    const size_t payload = w->index_lines * S24_INDEX_LINE_BYTES;
    const uint64_t number = w->numbers++, seed = s24_frame_seed(w->plain->hash, number);
    s24_frame head = {.kind = S24_FRAME_INDEX, .number = number, .panels = (uint32_t)w->check_count, .payload = payload,
                      .raw = payload, .check = s24_archive_check(w->index, payload, seed)};
    const size_t n = (size_t)(s24_frame_bytes(&head) - payload);
    unsigned char *begin = s24_malloc(n, err);
    if (!begin) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < w->check_count; i++) {
        s24_put_u64(begin + S24_FRAME_HEAD_BYTES + i * S24_FRAME_LINE_BYTES, w->checks[i]);
    }
    s24_frame_put(&head, seed, begin);
    s24_status status = s24_appender_add(&w->out, begin, n, err);
    status = status == S24_OK ? s24_appender_add(&w->out, w->index, payload, err) : status;
    free(begin);
    return status;
}

s24_status s24_archive_writer_finish(s24_archive_writer *w, s24_error *err)
{
    unsigned char bytes[S24_ARCHIVE_TAIL_BYTES];
    s24_archive_tail tail = {.frames = w->index_lines, .hash = w->plain->hash, .plain_size = w->plain->file_size};
    s24_status status = index_line(w, w->out.next, w->check_count, err); /* where the last frame ends */
    status = status == S24_OK ? write_header(w, err) : status;
    tail.index = w->out.next;
    status = status == S24_OK ? write_index(w, err) : status;
    if (status != S24_OK) {
        return status;
    }
    tail.size = w->out.next + sizeof bytes;
    s24_archive_tail_put(&tail, bytes);
    status = s24_appender_add(&w->out, bytes, sizeof bytes, err);
    return status == S24_OK ? s24_appender_flush(&w->out, err) : status;
}

/* ---------------------------------------------------------------- the writer */

void s24_archive_writer_free(s24_archive_writer *w)
{
    if (!w) {
        return;
    }
    while (w->frames) {
        frame *f = w->frames;
        w->frames = f->next;
        free_frame(f);
    }
    s24_bench_free(w->idle);
    s24_archive_map_free(&w->map);
    s24_appender_free(&w->out);
    pthread_mutex_destroy(&w->lock);
    free(w->index);
    free(w->checks);
    free(w);
}

s24_status s24_archive_writer_open(s24_archive_writer **writer, s24_plain *plain, s24_output *out, s24_error *err)
{
    s24_archive_writer *w = s24_calloc(1, sizeof *w, err);
    if (!w) {
        return S24_ERR_SYSTEM;
    }
    w->plain = plain;
    w->out.out = out;
    w->last = &w->frames;
    pthread_mutex_init(&w->lock, NULL);
    s24_status status = s24_archive_map_init(&w->map, plain, &plain->contents, err);
    if (status == S24_OK && s24_archive_panels(&w->map) > UINT32_MAX) { /* some 2 PiB */
        status = s24_fail(err, S24_ERR_DATA, "an archive has at most %u panels, not %llu; split the model", UINT32_MAX,
                          (unsigned long long)s24_archive_panels(&w->map));
    }
    status = status == S24_OK ? s24_appender_add(&w->out, S24_ARCHIVE_MAGIC, S24_ARCHIVE_MAGIC_BYTES, err) : status;
    status = status == S24_OK ? write_header(w, err) : status;
    if (status != S24_OK) {
        s24_archive_writer_free(w);
        return status;
    }
    *writer = w;
    return S24_OK;
}
