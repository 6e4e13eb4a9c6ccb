/*
 * Reading an archive: an input that shows the plain file. What is asked for by position is made from the header, from the
 * panels' checks, or from the frame that has it; the frames decoded last are kept, since a panel is asked for in pieces.
 *
 * Of a file the index says where the frames are. Of a pipe frames are taken as they come, and the coded ones are kept
 * while a tensor is held. Salvage looks for frames by their magic, wherever they are.
 */
#include "archive.h"

#include <pthread.h>
#include <string.h>
#include <zlib.h>

#include "st_header.h"
#include "threads.h"

#define DAMAGED "is damaged: "
#define RECOVER "; s24 decompress --salvage recovers what is whole"
#define COPY_BYTES (1u << 20)
#define SCAN_BYTES (64u << 10)
#define SALVAGED_CHECKS ((size_t)1 << 20) /* more panels than are found that a header may claim in a damaged file */

/* Where a frame is. */
typedef struct span {
    uint64_t offset, bytes; /* in the archive */
    uint64_t number, first;
    uint32_t panels;
    size_t checks;          /* its first one in archive.checks */
} span;

/* A decoded frame. Under the lock, but for the data of one that is READY and has users. */
typedef struct slot {
    struct slot *next;
    enum { EMPTY, LOADING, READY } state;
    size_t frame;
    unsigned users;
    uint64_t used;          /* when last; the least is replaced */
    unsigned char *data;    /* its panels, one behind another */
    size_t bytes;           /* room */
    size_t *starts;         /* where each of the panels begins */
    uint32_t panels;        /* for which there is room in that */
} slot;

typedef struct archive {
    s24_view view;
    s24_source *source;
    s24_archive_map map;    /* once the header is understood */
    uint64_t begin;         /* of what follows the header's frame */
    s24_bench table;        /* head and table of a frame that is looked at, by one thread */
    uint64_t hash;
    bool salvage;

    span *frames;          /* by their first panel */
    size_t frame_count, frame_capacity;
    uint64_t *checks;
    size_t check_count, check_capacity;
    uint64_t copy, copy_end; /* where the header lies once more */

    uint64_t position;      /* of a stream: where it stands, */
    uint64_t panels;        /* how many panels have come, */
    s24_spool held;         /* and the coded frames from held_from on */
    uint64_t held_from;
    bool ended;
    bool lost;              /* it is not known where the next frame begins */

    pthread_mutex_t lock;
    pthread_cond_t loaded;
    slot *slots;
    unsigned slots_idle;    /* how many are kept that nobody uses */
    uint64_t clock;
    s24_bench *benches;
} archive;

/* ---------------------------------------------------------------- recognising */

bool s24_archive_shows(const unsigned char *head, size_t n)
{
    return (n >= 8 && memcmp(head, S24_ARCHIVE_MAGIC, 8) == 0) ||
           (n >= 14 && memcmp(head + 8, "S24F\1\0", 6) == 0); /* the header's frame behind a magic that is damaged */
}

bool s24_archive_ends(const unsigned char tail[S24_ARCHIVE_TAIL_BYTES])
{
    return memcmp(tail, "S24ZTAIL", 8) == 0;
}

/* ---------------------------------------------------------------- the header's frame */

static s24_status damaged_frame(uint64_t offset, uint64_t number, const char *what, s24_error *err)
{
    return s24_fail_at(err, offset, DAMAGED "frame %llu, at byte %llu, %s" RECOVER, (unsigned long long)number,
                       (unsigned long long)offset, what);
}

static s24_status unknown_codec(uint32_t codec, s24_error *err)
{
    return s24_fail_unsupported(err, "uses codec %u, which this s24 does not know; use a newer one", codec);
}

/* Exactly `raw` bytes, in memory that grows as they come. */
static s24_status inflate_all(const unsigned char *coded, size_t n, size_t raw, char **out, s24_error *err)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)coded, .avail_in = (unsigned)n};
    char *data = NULL;
    size_t room = 0, got = 0;
    s24_status status = inflateInit(&z) == Z_OK ? S24_OK : s24_fail_memory(err, 0);
    int r = Z_OK;
    while (status == S24_OK && r == Z_OK && got < raw + 1) { /* one more than there may be: then there are too many */
        const size_t want = 2 * room + SCAN_BYTES;
        char *larger = room == got ? realloc(data, room = want < raw + 1 ? want : raw + 1) : data;
        status = larger ? S24_OK : s24_fail_memory(err, room);
        data = larger ? larger : data;
        if (larger) {
            z.next_out = (unsigned char *)data + got;
            z.avail_out = (unsigned)(room - got);
            r = inflate(&z, Z_NO_FLUSH);
            got = room - z.avail_out;
        }
    }
    inflateEnd(&z);
    if (status == S24_OK && r == Z_MEM_ERROR) {
        status = s24_fail_memory(err, raw);
    } else if (status == S24_OK && (r != Z_STREAM_END || got != raw || z.avail_in)) {
        status = s24_fail(err, S24_ERR_DATA, DAMAGED "its header cannot be inflated" RECOVER);
    }
    if (status != S24_OK) {
        free(data);
        return status;
    }
    *out = data;
    return S24_OK;
}

static s24_status unpack_header(const s24_frame *frame, const s24_frame_unit *line, const char *payload, uint64_t offset,
                                char **header, s24_error *err)
{
    const size_t raw = (size_t)frame->raw;
    if (line->codec == S24_CODEC_DEFLATE) {
        const s24_status status = inflate_all((const unsigned char *)payload, line->bytes, raw, header, err);
        if (status != S24_OK) {
            return status;
        }
    } else if (line->codec == S24_CODEC_STORED && line->bytes == raw) {
        *header = s24_malloc(raw, err);
        if (!*header) {
            return S24_ERR_SYSTEM;
        }
        memcpy(*header, payload, raw);
    } else {
        return line->codec >= S24_CODECS ? unknown_codec(line->codec, err)
                                         : damaged_frame(offset, frame->number, "is not coded as a header is", err);
    }
    if (s24_get_u64((const unsigned char *)*header) != raw - 8) {
        free(*header);
        return damaged_frame(offset, frame->number, "has a header of another length than it says", err);
    }
    return S24_OK;
}

/*
 * The header of the frame at `offset`, and where that ends. number: the frame's; S24_UNKNOWN: as it says itself.
 */
static s24_status read_header(s24_input *in, uint64_t offset, uint64_t number, char **header, size_t *header_bytes,
                              uint64_t *end, s24_error *err)
{
    unsigned char begin[S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES + S24_FRAME_CHECK_BYTES];
    s24_frame frame;
    unsigned version;
    s24_status status = s24_input_read(in, offset, begin, sizeof begin, err);
    if (status != S24_OK) {
        return status;
    }
    const bool is_one = s24_frame_get(&frame, &version, begin) && frame.units == 1 && frame.panels == 0;
    number = number == S24_UNKNOWN ? frame.number : number;
    if (!is_one || !s24_frame_begins(&frame, s24_frame_seed(0, number), begin)) {
        return damaged_frame(offset, number, "the header's, does not match its check", err);
    }
    status = s24_archive_check_version(version, err);
    if (status != S24_OK) {
        return status;
    }
    const s24_frame_unit line = {s24_get_u32(begin + S24_FRAME_HEAD_BYTES), s24_get_u32(begin + S24_FRAME_HEAD_BYTES + 4)};
    if (frame.kind != S24_FRAME_HEADER || frame.number != number || frame.first != 0 || frame.payload != line.bytes ||
        frame.raw < 64 || frame.raw % 64 || frame.raw - 8 > S24_ST_HEADER_MAX || frame.payload > frame.raw) {
        return damaged_frame(offset, number, "is no header's frame", err);
    }
    char *payload;
    status = s24_input_read_new(in, offset + sizeof begin, &payload, line.bytes, err);
    if (status != S24_OK) {
        return status;
    }
    status = s24_archive_check(payload, line.bytes, s24_frame_seed(0, number)) == frame.check
        ? unpack_header(&frame, &line, payload, offset, header, err)
        : damaged_frame(offset, number, "the header's, does not match its check", err);
    free(payload);
    *header_bytes = (size_t)frame.raw;
    *end = offset + sizeof begin + line.bytes;
    return status;
}

/* ---------------------------------------------------------------- looking for frames */

/* Moves *at to the next place, from there on, where a frame may begin; S24_UNKNOWN: there is none. */
static s24_status find_magic(s24_input *in, uint64_t *at, unsigned char buffer[SCAN_BYTES], s24_error *err)
{
    while (*at + S24_FRAME_HEAD_BYTES <= in->size) {
        const uint64_t left = in->size - *at;
        const size_t n = left < SCAN_BYTES ? (size_t)left : SCAN_BYTES;
        const s24_status status = s24_input_read(in, *at, buffer, n, err);
        if (status != S24_OK) {
            return status;
        }
        for (const unsigned char *p = buffer; (p = memchr(p, 'S', n - (size_t)(p - buffer))) != NULL; p++) {
            if (n - (size_t)(p - buffer) >= 4 && memcmp(p, "S24F", 4) == 0) {
                *at += (uint64_t)(p - buffer);
                *at = *at + S24_FRAME_HEAD_BYTES <= in->size ? *at : S24_UNKNOWN;
                return S24_OK;
            }
        }
        *at += n - 3; /* what may be the beginning of one */
    }
    *at = S24_UNKNOWN;
    return S24_OK;
}

/* Salvage: any whole frame of the header. */
static s24_status find_header(s24_input *in, char **header, size_t *header_bytes, s24_error *err)
{
    unsigned char *buffer = s24_malloc(SCAN_BYTES, err);
    uint64_t end;
    if (!buffer) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = S24_ERR_DATA;
    for (uint64_t at = 0; status == S24_ERR_DATA; at++) {
        status = find_magic(in, &at, buffer, err);
        if (status == S24_OK && at == S24_UNKNOWN) {
            status = s24_fail(err, S24_ERR_DATA, "is damaged beyond recovery: neither its header nor the copy is whole");
            break;
        }
        status = status == S24_OK ? read_header(in, at, S24_UNKNOWN, header, header_bytes, &end, err) : status;
    }
    free(buffer);
    return status;
}

/* ---------------------------------------------------------------- what begins a data frame */

static s24_status room_for(void **list, size_t *capacity, size_t need, size_t size, s24_error *err)
{
    if (need > *capacity) {
        const size_t more = 2 * need < 64 ? 64 : 2 * need;
        void *larger = realloc(*list, more * size);
        if (!larger) {
            return s24_fail_memory(err, more * size);
        }
        *list = larger;
        *capacity = more;
    }
    return S24_OK;
}

/* Whether so many panels may be in a frame, by their bytes; many are not even looked at. */
static bool frame_fits(const archive *a, uint64_t first, uint64_t panels)
{
    const uint64_t all = s24_archive_panels(&a->map);
    uint64_t bytes = 0;
    if (panels < 1 || first >= all || panels > all - first) {
        return false;
    }
    for (uint64_t i = first; i < first + panels; i++) {
        if (bytes >= S24_FRAME_BYTES) {
            return false;
        }
        bytes += s24_archive_panel_bytes(&a->map, i);
    }
    return true;
}

/* Whether the head, which need not be believed yet, is one of a data frame that can be: then its table is short, too. */
static bool head_fits(const archive *a, const s24_frame *frame)
{
    return frame->kind == S24_FRAME_DATA && frame->units >= 1 && frame->units <= S24_UNITS_MAX &&
           frame_fits(a, frame->first, frame->panels);
}

/* Whether the table, which is checked, is that of the units. */
static bool table_fits(const s24_frame *frame, const s24_archive_unit *units, size_t count, uint64_t raw,
                       const unsigned char *table)
{
    uint64_t payload = 0;
    if (count != frame->units || raw != frame->raw) {
        return false;
    }
    for (size_t k = 0; k < count; k++) {
        const uint32_t bytes = s24_get_u32(table + S24_FRAME_LINE_BYTES * k + 4);
        if (bytes > units[k].bytes) {
            return false;
        }
        payload += bytes;
    }
    return payload == frame->payload;
}

/* begin: of the frame, head_fits, at `offset`; the units are set. */
static s24_status check_begin(const archive *a, const s24_frame *frame, unsigned version, uint64_t number,
                              const unsigned char *begin, uint64_t offset, s24_archive_unit units[S24_UNITS_MAX],
                              s24_error *err)
{
    uint64_t raw;
    if (!s24_frame_begins(frame, s24_frame_seed(a->hash, number), begin)) {
        return damaged_frame(offset, number, "does not match its check", err);
    }
    const s24_status status = s24_archive_check_version(version, err);
    if (status != S24_OK) {
        return status;
    }
    const size_t count = s24_archive_units(&a->map, frame->first, frame->panels, units, &raw);
    return frame->number == number && table_fits(frame, units, count, raw, begin + S24_FRAME_HEAD_BYTES)
        ? S24_OK : damaged_frame(offset, number, "is not what the header says", err);
}

/* *begin: head and table of the frame at `offset`, whose head fits, until the next one's. */
static s24_status read_begin(archive *a, const s24_frame *frame, const unsigned char head[S24_FRAME_HEAD_BYTES],
                             uint64_t offset, unsigned char **begin, s24_error *err)
{
    const size_t n = (size_t)s24_frame_table_bytes(frame) + S24_FRAME_CHECK_BYTES;
    *begin = s24_bench_reserve(&a->table, S24_BENCH_FRAME, S24_FRAME_HEAD_BYTES + n, err);
    if (!*begin) {
        return S24_ERR_SYSTEM;
    }
    memcpy(*begin, head, S24_FRAME_HEAD_BYTES);
    return s24_input_read(a->view.behind, offset + S24_FRAME_HEAD_BYTES, *begin + S24_FRAME_HEAD_BYTES, n, err);
}

/* One more frame is known, with its panels' checks. */
static s24_status add_frame(archive *a, const s24_frame *frame, uint64_t offset, const unsigned char *begin, s24_error *err)
{
    const unsigned char *checks = begin + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (size_t)frame->units;
    s24_status status = room_for((void **)&a->frames, &a->frame_capacity, a->frame_count + 1, sizeof *a->frames, err);
    status = status == S24_OK ? room_for((void **)&a->checks, &a->check_capacity, a->check_count + frame->panels,
                                         sizeof *a->checks, err) : status;
    if (status != S24_OK) {
        return status;
    }
    a->frames[a->frame_count++] = (span){.offset = offset, .bytes = s24_frame_bytes(frame), .number = frame->number,
                                          .first = frame->first, .panels = frame->panels, .checks = a->check_count};
    for (uint32_t i = 0; i < frame->panels; i++) {
        a->checks[a->check_count++] = s24_get_u64(checks + S24_FRAME_LINE_BYTES * (size_t)i);
    }
    return S24_OK;
}

/* The frame that has a panel; NULL: none is known. */
static const span *frame_of(const archive *a, uint64_t panel)
{
    size_t low = 0, high = a->frame_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (a->frames[middle].first + a->frames[middle].panels <= panel) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < a->frame_count && a->frames[low].first <= panel ? &a->frames[low] : NULL;
}

/* ---------------------------------------------------------------- a file: the index */

static s24_status bad_index(s24_error *err, uint64_t offset, const char *what)
{
    return s24_fail_at(err, offset, DAMAGED "its index %s" RECOVER, what);
}

static s24_status read_tail(const archive *a, s24_archive_tail *tail, s24_error *err)
{
    const s24_input *in = a->view.behind;
    unsigned char bytes[S24_ARCHIVE_TAIL_BYTES];
    const uint64_t at = in->size - sizeof bytes;
    if (in->size < a->begin + sizeof bytes) {
        return s24_fail_at(err, in->size, DAMAGED "it ends before its data" RECOVER);
    }
    s24_status status = s24_input_read(a->view.behind, at, bytes, sizeof bytes, err);
    status = status == S24_OK ? s24_archive_tail_get(tail, bytes, err) : status;
    s24_fail_advise(err, status, "s24 decompress --salvage recovers what is whole");
    if (status == S24_OK && (tail->hash != a->hash || tail->plain_size != a->map.plain->file_size)) {
        return s24_fail_at(err, at, DAMAGED "its tail is that of another file" RECOVER);
    }
    if (status == S24_OK && tail->size != in->size) {
        return s24_fail_at(err, at, DAMAGED "it has %llu bytes and should have %llu" RECOVER,
                           (unsigned long long)in->size, (unsigned long long)tail->size);
    }
    return status;
}

/* Head, table, check and payload of the index are these; payload follows the rest. */
static bool index_matches(const archive *a, const s24_archive_tail *tail, const unsigned char *bytes)
{
    const uint64_t panels = s24_archive_panels(&a->map), payload = S24_INDEX_LINE_BYTES * (tail->frames + 1);
    s24_frame frame;
    unsigned version;
    const uint64_t seed = s24_frame_seed(a->hash, tail->frames + 2);
    return s24_frame_get(&frame, &version, bytes) && frame.kind == S24_FRAME_INDEX && version == S24_ARCHIVE_VERSION &&
           frame.number == tail->frames + 2 && frame.first == 0 && frame.panels == panels && frame.units == 0 &&
           frame.payload == payload && frame.raw == payload && s24_frame_begins(&frame, seed, bytes) &&
           s24_archive_check(bytes + (s24_frame_bytes(&frame) - payload), (size_t)payload, seed) == frame.check;
}

/* The index's own size, if frames and panels are so many; S24_UNKNOWN: they cannot be. */
static uint64_t index_bytes(const archive *a, uint64_t frames, uint64_t size)
{
    const uint64_t panels = s24_archive_panels(&a->map);
    if (panels > size / S24_FRAME_LINE_BYTES || frames > panels || (panels && !frames)) {
        return S24_UNKNOWN;
    }
    return S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * panels + S24_FRAME_CHECK_BYTES +
           S24_INDEX_LINE_BYTES * (frames + 1);
}

/* Frames follow one another without a gap, and so do their panels. */
static s24_status take_index(archive *a, const s24_archive_tail *tail, const unsigned char *bytes, s24_error *err)
{
    const size_t frames = (size_t)tail->frames, panels = (size_t)s24_archive_panels(&a->map);
    const unsigned char *checks = bytes + S24_FRAME_HEAD_BYTES;
    const unsigned char *line = checks + S24_FRAME_LINE_BYTES * panels + S24_FRAME_CHECK_BYTES;
    s24_status status = room_for((void **)&a->frames, &a->frame_capacity, frames, sizeof *a->frames, err);
    status = status == S24_OK ? room_for((void **)&a->checks, &a->check_capacity, panels, sizeof *a->checks, err) : status;
    if (status != S24_OK) {
        return status;
    }
    for (size_t i = 0; i < panels; i++) {
        a->checks[i] = s24_get_u64(checks + S24_FRAME_LINE_BYTES * i);
    }
    if (s24_get_u64(line) != a->begin || s24_get_u64(line + 8) != 0) {
        return bad_index(err, tail->index, "does not begin where the frames do");
    }
    for (size_t k = 0; k < frames; k++, line += S24_INDEX_LINE_BYTES) {
        const uint64_t offset = s24_get_u64(line), next = s24_get_u64(line + S24_INDEX_LINE_BYTES);
        const uint64_t first = s24_get_u64(line + 8), after = s24_get_u64(line + S24_INDEX_LINE_BYTES + 8);
        if (next <= offset || next >= tail->index || after <= first || after > panels) {
            return bad_index(err, tail->index, "is not in order");
        }
        a->frames[k] = (span){.offset = offset, .bytes = next - offset, .number = k + 1, .first = first,
                               .panels = (uint32_t)(after - first), .checks = (size_t)first};
    }
    a->copy = s24_get_u64(line);
    a->copy_end = tail->index;
    if (s24_get_u64(line + 8) != panels) {
        return bad_index(err, tail->index, "does not have all panels");
    }
    a->frame_count = frames;
    a->check_count = panels;
    return S24_OK;
}

static s24_status load_index(archive *a, s24_error *err)
{
    s24_input *in = a->view.behind;
    s24_archive_tail tail;
    char *bytes;
    s24_status status = read_tail(a, &tail, err);
    if (status != S24_OK) {
        return status;
    }
    const uint64_t n = index_bytes(a, tail.frames, in->size), end = in->size - S24_ARCHIVE_TAIL_BYTES;
    if (n > end || tail.index != end - n) {
        return bad_index(err, tail.index, "is not where it must be");
    }
    status = s24_input_read_new(in, tail.index, &bytes, (size_t)n, err);
    if (status != S24_OK) {
        return status;
    }
    status = index_matches(a, &tail, (const unsigned char *)bytes)
        ? take_index(a, &tail, (const unsigned char *)bytes, err) : bad_index(err, tail.index, "does not match its check");
    free(bytes);
    return status;
}

/* ---------------------------------------------------------------- a damaged file: frames by their magic */

static s24_status try_frame(archive *a, uint64_t at, s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    unsigned char head[S24_FRAME_HEAD_BYTES], *begin;
    s24_frame frame;
    unsigned version;
    s24_status status = s24_input_read(a->view.behind, at, head, sizeof head, err);
    if (status != S24_OK || !s24_frame_get(&frame, &version, head) || !head_fits(a, &frame)) {
        return status;
    }
    status = read_begin(a, &frame, head, at, &begin, err);
    if (status != S24_OK || check_begin(a, &frame, version, frame.number, begin, at, units, NULL) != S24_OK) {
        return status == S24_ERR_DATA ? S24_OK : status; /* beyond the end */
    }
    return add_frame(a, &frame, at, begin, err);
}

static int by_first(const void *x, const void *y)
{
    const span *a = x, *b = y;
    const int order = (a->first > b->first) - (a->first < b->first);
    return order ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

/* Of frames that have the same panels the first stays. */
static void sort_frames(archive *a)
{
    size_t kept = 0;
    uint64_t end = 0;
    if (a->frame_count) {
        qsort(a->frames, a->frame_count, sizeof *a->frames, by_first);
    }
    for (size_t i = 0; i < a->frame_count; i++) {
        if (a->frames[i].first >= end) {
            end = a->frames[i].first + a->frames[i].panels;
            a->frames[kept++] = a->frames[i];
        }
    }
    a->frame_count = kept;
}

static s24_status find_frames(archive *a, s24_error *err)
{
    unsigned char *buffer = s24_malloc(SCAN_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    a->frame_count = a->check_count = 0;
    for (uint64_t at = 0; status == S24_OK; at++) {
        status = find_magic(a->view.behind, &at, buffer, err);
        if (at == S24_UNKNOWN) {
            break;
        }
        status = status == S24_OK ? s24_io_stopped(a->view.behind->io, err) : status;
        status = status == S24_OK ? try_frame(a, at, err) : status;
    }
    free(buffer);
    sort_frames(a);
    return status;
}

/* ---------------------------------------------------------------- a stream: frames as they come */

/* The frame at offset is not yet dropped. */
static s24_status append_held(archive *a, const void *data, size_t n, bool keep, s24_error *err)
{
    return keep ? s24_spool_append(&a->held, data, n, err) : S24_OK;
}

static s24_status take_payload(archive *a, uint64_t n, bool keep, s24_error *err)
{
    unsigned char *buffer = s24_malloc(n < COPY_BYTES ? (size_t)n : COPY_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    while (n && status == S24_OK) {
        const size_t part = n < COPY_BYTES ? (size_t)n : COPY_BYTES;
        status = s24_input_read(a->view.behind, a->position, buffer, part, err);
        status = status == S24_OK ? append_held(a, buffer, part, keep, err) : status;
        a->position += part;
        n -= part;
    }
    free(buffer);
    return status;
}

/* The next frame, which is kept if it has panel `wanted` or a later one. */
static s24_status take_frame(archive *a, uint64_t wanted, s24_error *err)
{
    const uint64_t offset = a->position, number = a->frame_count + 1;
    s24_archive_unit units[S24_UNITS_MAX];
    unsigned char head[S24_FRAME_HEAD_BYTES], *begin;
    s24_frame frame;
    unsigned version;
    s24_status status = s24_input_read(a->view.behind, offset, head, sizeof head, err);
    if (status != S24_OK) {
        return status;
    }
    if (!s24_frame_get(&frame, &version, head) || frame.first != a->panels || !head_fits(a, &frame)) {
        return damaged_frame(offset, number, "is not what must come next", err);
    }
    const size_t n = (size_t)(s24_frame_bytes(&frame) - frame.payload);
    status = read_begin(a, &frame, head, offset, &begin, err);
    status = status == S24_OK ? check_begin(a, &frame, version, number, begin, offset, units, err) : status;
    if (status != S24_OK) {
        return status;
    }
    const bool keep = frame.first + frame.panels > wanted;
    if (keep && a->held.length == 0) {
        a->held_from = offset;
    }
    status = append_held(a, begin, n, keep, err);
    a->position += n;
    status = status == S24_OK ? take_payload(a, frame.payload, keep, err) : status;
    status = status == S24_OK ? add_frame(a, &frame, offset, begin, err) : status;
    if (status == S24_OK) {
        s24_archive_account(&a->map, &frame, begin, NULL, a->source->contents.entries);
        a->panels += frame.panels;
    }
    return status;
}

/* Until panel `end` - 1 has come. */
static s24_status take_frames(archive *a, uint64_t wanted, uint64_t end, s24_error *err)
{
    if (a->panels >= end) {
        return S24_OK;
    }
    if (a->lost) {
        return damaged_frame(a->position, a->frame_count + 1, "could not be read", err);
    }
    s24_status status = S24_OK;
    while (status == S24_OK && a->panels < end) {
        status = s24_io_stopped(a->view.behind->io, err);
        status = status == S24_OK ? take_frame(a, wanted, err) : status;
    }
    a->lost = status != S24_OK;
    return status;
}

/* Drops what is held before panel `wanted`. */
static s24_status drop_before(archive *a, uint64_t wanted, s24_error *err)
{
    const span *p = frame_of(a, wanted);
    const uint64_t from = p ? p->offset : a->position, end = a->held_from + a->held.length;
    s24_spool old = a->held;
    if (a->held.length == 0 || from <= a->held_from) {
        return S24_OK;
    }
    s24_spool_init(&a->held, old.io);
    unsigned char *buffer = s24_malloc(COPY_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    for (uint64_t at = from; at < end && status == S24_OK;) {
        const size_t n = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        status = s24_spool_read(&old, at - a->held_from, buffer, n, err);
        status = status == S24_OK ? s24_spool_append(&a->held, buffer, n, err) : status;
        at += n;
    }
    free(buffer);
    s24_spool_free(&old);
    a->held_from = from;
    return status;
}

static bool streams(const archive *a)
{
    return a->view.behind->stream && !a->salvage; /* what is salvaged is held as a whole */
}

/* ---------------------------------------------------------------- a frame's panels */

static s24_bench *take_bench(archive *a, s24_error *err)
{
    pthread_mutex_lock(&a->lock);
    s24_bench *bench = a->benches;
    a->benches = bench ? bench->next : NULL;
    pthread_mutex_unlock(&a->lock);
    if (!bench) {
        return s24_calloc(1, sizeof *bench, err);
    }
    bench->next = NULL;
    return bench;
}

static void return_bench(archive *a, s24_bench *bench)
{
    pthread_mutex_lock(&a->lock);
    bench->next = a->benches;
    a->benches = bench;
    pthread_mutex_unlock(&a->lock);
}

/* The first n bytes of a frame. */
static s24_status read_coded(archive *a, const span *p, unsigned char *data, size_t n, s24_error *err)
{
    if (!streams(a)) {
        return s24_input_read(a->view.behind, p->offset, data, n, err);
    }
    if (p->offset < a->held_from || p->bytes > a->held.length || p->offset - a->held_from > a->held.length - p->bytes) {
        return s24_fail(err, S24_ERR_SYSTEM, "frame %llu of a pipe is gone: an error of s24", (unsigned long long)p->number);
    }
    return s24_spool_read(&a->held, p->offset - a->held_from, data, n, err);
}

static s24_status decode_unit(const archive *a, s24_bench *bench, const s24_frame *frame, s24_archive_unit *unit,
                              const s24_frame_unit *line, const unsigned char *coded, const span *p, unsigned char *raw,
                              s24_error *err)
{
    if (line->codec == S24_CODEC_STORED && line->bytes == unit->bytes) {
        s24_archive_scatter_stored(&a->map, frame, unit, raw, coded);
        return S24_OK;
    }
    if (line->codec != S24_CODEC_UNIT || s24_coder_bound(&unit->unit) == SIZE_MAX) {
        return line->codec >= S24_CODECS ? unknown_codec(line->codec, err)
                                         : damaged_frame(p->offset, p->number, "is not coded as data are", err);
    }
    unit->unit.isa = a->view.behind->io->isa;
    unsigned char *values = s24_bench_reserve(bench, S24_BENCH_VALUES, s24_unit_value_bytes(&unit->unit), err);
    unsigned char *nibbles = s24_bench_reserve(bench, S24_BENCH_NIBBLES, s24_unit_nibble_bytes(&unit->unit), err);
    unsigned char *scratch = s24_bench_reserve(bench, S24_BENCH_SCRATCH, s24_decode_scratch(&unit->unit), err);
    if (!values || !nibbles || !scratch) {
        return S24_ERR_SYSTEM;
    }
    if (!s24_unit_decode(&unit->unit, coded, line->bytes, values, unit->unit.groups ? nibbles : NULL, scratch)) {
        return damaged_frame(p->offset, p->number, "cannot be decoded", err);
    }
    s24_archive_scatter(&a->map, frame, unit, raw, values, nibbles);
    return S24_OK;
}

/* The frame, coded, in the bench: checked as a whole, with its units. */
static s24_status check_frame(const archive *a, const span *p, const unsigned char *bytes, s24_frame *frame,
                              s24_archive_unit units[S24_UNITS_MAX], s24_error *err)
{
    unsigned version;
    if (!s24_frame_get(frame, &version, bytes) || frame->first != p->first || frame->panels != p->panels ||
        !head_fits(a, frame) || s24_frame_bytes(frame) != p->bytes) {
        return damaged_frame(p->offset, p->number, "is not what the index says", err);
    }
    const s24_status status = check_begin(a, frame, version, p->number, bytes, p->offset, units, err);
    if (status != S24_OK) {
        return status;
    }
    const size_t begin = (size_t)(p->bytes - frame->payload);
    if (s24_archive_check(bytes + begin, (size_t)frame->payload, s24_frame_seed(a->hash, p->number)) != frame->check) {
        return damaged_frame(p->offset, p->number, "does not match its check", err);
    }
    const unsigned char *checks = bytes + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (size_t)frame->units;
    for (uint32_t i = 0; i < frame->panels; i++) {
        if (s24_get_u64(checks + S24_FRAME_LINE_BYTES * (size_t)i) != a->checks[p->checks + i]) {
            return damaged_frame(p->offset, p->number, "has other checks than the index", err);
        }
    }
    return S24_OK;
}

/* Reads and decodes a frame into *s, which the caller alone has. */
static s24_status load_frame(archive *a, s24_bench *bench, const span *p, slot *s, s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    s24_frame frame;
    if (!frame_fits(a, p->first, p->panels) || p->bytes < S24_FRAME_HEAD_BYTES + S24_FRAME_CHECK_BYTES) {
        return damaged_frame(p->offset, p->number, "cannot have what the index says", err);
    }
    unsigned char *bytes = s24_bench_reserve(bench, S24_BENCH_FRAME, (size_t)p->bytes, err);
    s24_status status = bytes ? read_coded(a, p, bytes, (size_t)p->bytes, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? check_frame(a, p, bytes, &frame, units, err) : status;
    if (status != S24_OK) {
        return status;
    }
    if (frame.raw > s->bytes) {
        free(s->data);
        s->data = s24_alloc((size_t)frame.raw, err);
        s->bytes = s->data ? (size_t)frame.raw : 0;
    }
    if (frame.panels > s->panels) {
        free(s->starts);
        s->starts = s24_calloc(frame.panels + (size_t)1, sizeof *s->starts, err);
        s->panels = s->starts ? frame.panels : 0;
    }
    if (!s->data || !s->starts) {
        return S24_ERR_SYSTEM;
    }
    s24_archive_starts(&a->map, frame.first, frame.panels, s->starts);
    const unsigned char *coded = bytes + (p->bytes - frame.payload);
    for (uint32_t k = 0; k < frame.units && status == S24_OK; k++) {
        const unsigned char *at = bytes + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (size_t)k;
        const s24_frame_unit line = {s24_get_u32(at), s24_get_u32(at + 4)};
        status = decode_unit(a, bench, &frame, &units[k], &line, coded, p, s->data, err);
        coded += line.bytes;
    }
    return status;
}

/* ---------------------------------------------------------------- decoded frames */

/* A slot for a frame that none has: the one that nobody has used for longest, or a new one. Under the lock. */
static slot *free_slot(archive *a, s24_error *err)
{
    slot *oldest = NULL;
    unsigned idle = 0;
    for (slot *s = a->slots; s; s = s->next) {
        idle += s->users == 0;
        if (s->users == 0 && (!oldest || s->used < oldest->used)) {
            oldest = s;
        }
    }
    if (oldest && idle >= a->slots_idle) {
        return oldest;
    }
    slot *s = s24_calloc(1, sizeof *s, err);
    if (s) {
        s->next = a->slots;
        a->slots = s;
    }
    return s;
}

/* The frame's slot, decoded or to be decoded by the caller (LOADING). Under the lock. */
static slot *claim_slot(archive *a, size_t frame, bool *mine, s24_error *err)
{
    slot *s = a->slots;
    while (s && (s->state == EMPTY || s->frame != frame)) {
        s = s->next;
    }
    *mine = !s;
    s = s ? s : free_slot(a, err);
    if (s) {
        s->users++;
        s->used = ++a->clock;
        if (*mine) {
            s->frame = frame;
            s->state = LOADING;
        }
    }
    return s;
}

static void release_slot(archive *a, slot *s)
{
    pthread_mutex_lock(&a->lock);
    s->users--;
    pthread_mutex_unlock(&a->lock);
}

/* The panels of a frame, until they are released. */
static s24_status take_panels(archive *a, const span *p, slot **taken, s24_error *err)
{
    bool mine;
    s24_status status = S24_OK;
    pthread_mutex_lock(&a->lock);
    slot *s = claim_slot(a, (size_t)(p - a->frames), &mine, err);
    while (s && !mine && s->state == LOADING) {
        pthread_cond_wait(&a->loaded, &a->lock);
    }
    /* Whoever was to decode it could not, and was told why; this one shall be, too. */
    if (s && !mine && s->state == EMPTY) {
        s->state = LOADING;
        s->frame = (size_t)(p - a->frames);
        mine = true;
    }
    pthread_mutex_unlock(&a->lock);
    if (!s) {
        return S24_ERR_SYSTEM;
    }
    if (mine) {
        s24_bench *bench = take_bench(a, err);
        status = bench ? load_frame(a, bench, p, s, err) : S24_ERR_SYSTEM;
        if (bench) {
            return_bench(a, bench);
        }
        pthread_mutex_lock(&a->lock);
        s->state = status == S24_OK ? READY : EMPTY;
        pthread_cond_broadcast(&a->loaded);
        pthread_mutex_unlock(&a->lock);
    }
    if (status != S24_OK) {
        release_slot(a, s);
        return status;
    }
    *taken = s;
    return S24_OK;
}

/* ---------------------------------------------------------------- the plain file's bytes */

/*
 * The panel of an entry that has a part at `offset`, that part, and how many bytes of the panel are before it. Parts of one
 * kind lie in the order of panels, and kinds behind one another.
 */
static size_t panel_at(const archive *a, const s24_entry *e, uint64_t offset, s24_archive_part *part, size_t *before)
{
    s24_archive_part parts[S24_PARTS_MAX];
    const size_t panels = s24_plain_panel_count(a->map.plain, e);
    if (e->packed && e->permuted && offset >= s24_plain_offset(e, S24_PLANES)) { /* a panel of its own, behind the others */
        s24_archive_parts(a->map.plain, e, panels, parts);
        *part = parts[0];
        *before = 0;
        return panels;
    }
    const size_t kinds = s24_archive_parts(a->map.plain, e, 0, parts);
    size_t kind = 0, low = 0, high = panels;
    while (kind + 1 < kinds && parts[kind + 1].offset <= offset) {
        kind++;
    }
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        s24_archive_parts(a->map.plain, e, middle, parts);
        *(parts[kind].offset <= offset ? &low : &high) = middle;
    }
    s24_archive_parts(a->map.plain, e, low, parts);
    *before = 0;
    for (size_t i = 0; i < kind; i++) {
        *before += parts[i].bytes;
    }
    *part = parts[kind];
    return low;
}

/* n bytes of an entry's data at `offset`, as far as one panel has them; *got of them. */
static s24_status read_panel(archive *a, const s24_entry *e, uint64_t offset, void *data, size_t n, size_t *got,
                             s24_error *err)
{
    s24_archive_part p;
    slot *s;
    size_t before;
    const size_t panel = panel_at(a, e, offset, &p, &before);
    const uint64_t number = s24_archive_number(&a->map, e, panel), skip = offset - p.offset;
    const span *frame = frame_of(a, number);
    if (!frame) {
        return s24_fail_at(err, offset, DAMAGED "a frame is missing" RECOVER);
    }
    s24_status status = take_panels(a, frame, &s, err);
    if (status != S24_OK) {
        return status;
    }
    *got = n < p.bytes - skip ? n : (size_t)(p.bytes - skip);
    memcpy(data, s->data + s->starts[number - frame->first] + before + skip, *got);
    release_slot(a, s);
    return S24_OK;
}

/* The same of its checks, which are made anew. */
static s24_status read_checks(const archive *a, const s24_entry *e, uint64_t offset, void *data, size_t n, size_t *got,
                              s24_error *err)
{
    const size_t bytes = (size_t)e->checks_bytes, panels = s24_archive_count(a->map.plain, e);
    const uint64_t first = s24_archive_number(&a->map, e, 0), from = offset - e->checks;
    if (a->salvage && panels > a->check_count + SALVAGED_CHECKS) {
        return s24_fail_at(err, offset, DAMAGED "it has not nearly what its header says");
    }
    unsigned char *section = s24_calloc(bytes, 1, err);
    if (!section) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < panels; i++) {
        const span *p = frame_of(a, first + i);
        s24_put_u64(section + 8 * i, p ? a->checks[p->checks + (first + i - p->first)] : 0);
    }
    s24_put_u64(section + bytes - 8, s24_plain_check(a->map.plain, e->checks, section, bytes - 8));
    *got = n < bytes - from ? n : (size_t)(bytes - from);
    memcpy(data, section + from, *got);
    free(section);
    return S24_OK;
}

/* Of what is made anew of the header: [begin, begin + bytes) of the file is `made`. */
static size_t copy_made(uint64_t begin, const void *made, size_t bytes, uint64_t offset, void *data, size_t n)
{
    const uint64_t skip = offset - begin, left = bytes - skip;
    const size_t got = n < left ? n : (size_t)left;
    memcpy(data, (const char *)made + skip, got);
    return got;
}

static size_t read_made(const s24_plain *plain, uint64_t offset, void *data, size_t n)
{
    unsigned char record[S24_RECORD_BYTES];
    if (offset < plain->header_bytes) {
        return copy_made(0, plain->header, plain->header_bytes, offset, data, n);
    }
    if (offset >= plain->copy && offset < plain->tail) {
        return copy_made(plain->copy, plain->header, plain->header_bytes, offset, data, n);
    }
    const bool head = offset < plain->header_bytes + sizeof record;
    s24_plain_record(plain, head ? "S24HEAD" : "S24TAIL", record);
    return copy_made(head ? plain->header_bytes : plain->tail, record, sizeof record, offset, data, n);
}

/* The entry, or the metrics, whose data or checks lie at `offset`; there is one. */
static const s24_entry *entry_at(const archive *a, uint64_t offset)
{
    const s24_contents *c = a->map.contents;
    size_t low = 0, high = c->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->entries[middle].checks + c->entries[middle].checks_bytes <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < c->count ? &c->entries[low] : &a->map.plain->metrics;
}

static s24_status view_read(s24_view *view, uint64_t offset, void *data, size_t n, s24_error *err)
{
    archive *a = (archive *)view;
    const s24_plain *plain = a->map.plain;
    unsigned char *to = data;
    s24_status status = plain ? S24_OK : s24_fail(err, S24_ERR_DATA, "is an archive whose header is not known yet");
    while (n && status == S24_OK) {
        size_t got = 0;
        if (offset < plain->header_bytes + S24_RECORD_BYTES || offset >= plain->copy) {
            got = read_made(plain, offset, to, n);
        } else {
            const s24_entry *e = entry_at(a, offset);
            status = offset >= e->checks ? read_checks(a, e, offset, to, n, &got, err)
                                         : read_panel(a, e, offset, to, n, &got, err);
        }
        to += got;
        offset += got;
        n -= got;
    }
    return status;
}

/* ---------------------------------------------------------------- holding, ending */

/* Of a stream the frames of all tensors that [offset, offset + n) touches. */
static s24_status view_hold(s24_view *view, uint64_t offset, uint64_t n, s24_error *err)
{
    archive *a = (archive *)view;
    if (!streams(a) || n == 0) {
        return S24_OK;
    }
    const s24_entry *first = entry_at(a, offset), *last = entry_at(a, offset + n - 1);
    const uint64_t from = s24_archive_number(&a->map, first, 0);
    const uint64_t end = s24_archive_number(&a->map, last, s24_archive_count(a->map.plain, last));
    const s24_status status = drop_before(a, from, err);
    return status == S24_OK ? take_frames(a, from, end, err) : status;
}

/* The header lies there once more, and is the same. */
static s24_status check_copy(const archive *a, uint64_t offset, uint64_t number, uint64_t *end, s24_error *err)
{
    const s24_plain *plain = a->map.plain;
    char *copy;
    size_t n;
    const s24_status status = read_header(a->view.behind, offset, number, &copy, &n, end, err);
    if (status != S24_OK) {
        return status;
    }
    const bool same = n == plain->header_bytes && memcmp(copy, plain->header, n) == 0;
    free(copy);
    return same ? S24_OK : damaged_frame(offset, number, "the header once more, is another one", err);
}

/* A stream's index and tail, which must say what has come. */
static s24_status check_stream_end(archive *a, s24_error *err)
{
    s24_input *in = a->view.behind;
    const uint64_t n = index_bytes(a, a->frame_count, S24_UNKNOWN), at = a->position;
    s24_archive_tail tail;
    char *bytes;
    s24_status status = s24_input_read_new(in, at, &bytes, (size_t)n + S24_ARCHIVE_TAIL_BYTES, err);
    if (status != S24_OK) {
        return status;
    }
    const unsigned char *index = (const unsigned char *)bytes;
    const unsigned char *line = index + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * a->check_count + S24_FRAME_CHECK_BYTES;
    status = s24_archive_tail_get(&tail, index + n, err);
    s24_fail_advise(err, status, "s24 decompress --salvage recovers what is whole");
    if (status == S24_OK && (tail.size != at + n + S24_ARCHIVE_TAIL_BYTES || tail.index != at || tail.hash != a->hash ||
                             tail.frames != a->frame_count || tail.plain_size != a->map.plain->file_size)) {
        status = s24_fail_at(err, at + n, DAMAGED "its tail does not match" RECOVER);
    }
    if (status == S24_OK && !index_matches(a, &tail, index)) {
        status = bad_index(err, at, "does not match its check");
    }
    for (size_t k = 0; k <= a->frame_count && status == S24_OK; k++, line += S24_INDEX_LINE_BYTES) {
        const uint64_t offset = k < a->frame_count ? a->frames[k].offset : a->copy;
        const uint64_t first = k < a->frame_count ? a->frames[k].first : a->panels;
        if (s24_get_u64(line) != offset || s24_get_u64(line + 8) != first) {
            status = bad_index(err, at, "is not that of the frames");
        }
    }
    for (size_t i = 0; i < a->check_count && status == S24_OK; i++) {
        if (s24_get_u64(index + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * i) != a->checks[i]) {
            status = bad_index(err, at, "has other checks than the frames");
        }
    }
    free(bytes);
    a->position = at + n + S24_ARCHIVE_TAIL_BYTES;
    return status == S24_OK ? s24_input_expect_end(in, a->position, err) : status;
}

static s24_status view_end(s24_view *view, s24_error *err)
{
    archive *a = (archive *)view;
    uint64_t end;
    s24_status status = S24_OK;
    if (!streams(a)) {
        status = check_copy(a, a->copy, a->frame_count + 1, &end, err);
        return status != S24_OK || end == a->copy_end ? status : bad_index(err, end, "does not follow the header's copy");
    }
    if (a->ended) {
        return S24_OK;
    }
    const uint64_t all = s24_archive_panels(&a->map);
    status = take_frames(a, all, all, err); /* what nobody wanted */
    a->copy = a->position;
    status = status == S24_OK ? check_copy(a, a->copy, a->frame_count + 1, &a->position, err) : status;
    status = status == S24_OK ? check_stream_end(a, err) : status;
    a->ended = status == S24_OK;
    return status;
}

/* ---------------------------------------------------------------- opening, closing */

static void view_close(s24_view *view)
{
    archive *a = (archive *)view;
    while (a->slots) {
        slot *s = a->slots;
        a->slots = s->next;
        free(s->data);
        free(s->starts);
        free(s);
    }
    s24_bench_free(a->benches);
    s24_bench_clear(&a->table);
    s24_spool_free(&a->held);
    s24_archive_map_free(&a->map);
    s24_input_close(a->view.behind);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->loaded);
    free(a->frames);
    free(a->checks);
    free(a);
}

/* The header, where it must be, or of a damaged file wherever it is whole. */
static s24_status first_header(archive *a, char **header, size_t *n, s24_error *err)
{
    s24_input *in = a->view.behind;
    unsigned char magic[S24_ARCHIVE_MAGIC_BYTES];
    s24_status status = a->salvage ? s24_input_hold_all(in, err) : S24_OK;
    if (status != S24_OK) {
        return status;
    }
    status = s24_input_read(in, 0, magic, sizeof magic, err);
    if (status == S24_OK && memcmp(magic, S24_ARCHIVE_MAGIC, sizeof magic) != 0) {
        status = s24_fail_at(err, 0, DAMAGED "it does not begin as an archive does" RECOVER);
    }
    status = status == S24_OK ? read_header(in, sizeof magic, 0, header, n, &a->begin, err) : status;
    return status == S24_ERR_DATA && a->salvage ? find_header(in, header, n, err) : status;
}

s24_status s24_archive_open(s24_source *source, char **header, size_t *header_bytes, s24_error *err)
{
    s24_input *viewed, *in = source->in;
    archive *a = s24_calloc(1, sizeof *a, err);
    if (!a) {
        return S24_ERR_SYSTEM;
    }
    const unsigned threads = source->io->threads ? source->io->threads : s24_threads_available();
    *a = (archive){.view = {.read = view_read, .hold = view_hold, .end = view_end, .close = view_close, .behind = in},
                   .source = source, .salvage = source->options->salvage, .slots_idle = threads + 2};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->loaded, NULL);
    s24_spool_init(&a->held, in->io);
    s24_status status = s24_input_viewed(&viewed, in->io, in->name, &a->view, err);
    if (status != S24_OK) {
        a->view.behind = NULL; /* still the source's */
        view_close(&a->view);
        return status;
    }
    source->in = viewed;
    status = first_header(a, header, header_bytes, err);
    if (status == S24_OK) {
        a->hash = s24_archive_check(*header, *header_bytes, 0);
        a->position = a->begin;
    }
    return status;
}

s24_status s24_archive_begin(s24_source *source, s24_error *err)
{
    archive *a = (archive *)source->in->view;
    s24_status status = s24_archive_map_init(&a->map, s24_plain_of(source), &source->contents, err);
    if (status == S24_OK && !streams(a)) {
        status = a->salvage ? find_frames(a, err) : load_index(a, err); /* frames may have moved under a whole index */
    }
    source->in->size = a->map.plain->file_size;
    return status;
}

/* ---------------------------------------------------------------- measuring */

/* The only tensor that a frame has panels of; SIZE_MAX: there are several. */
static size_t only_entry(const archive *a, const span *p)
{
    const size_t first = s24_archive_entry(&a->map, p->first);
    return first == s24_archive_entry(&a->map, p->first + p->panels - 1) ? first : SIZE_MAX;
}

/* With parts all of the frame, otherwise its head and table. */
static s24_status read_account(archive *a, const span *p, s24_bench *bench, bool parts, s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    s24_frame frame;
    unsigned version;
    const bool fits = frame_fits(a, p->first, p->panels);
    const uint64_t most = S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (S24_UNITS_MAX + (uint64_t)p->panels) +
                          S24_FRAME_CHECK_BYTES;
    const size_t n = (size_t)(parts || most > p->bytes ? p->bytes : most);
    unsigned char *bytes = fits ? s24_bench_reserve(bench, S24_BENCH_FRAME, n, err) : NULL;
    s24_status status = bytes ? read_coded(a, p, bytes, n, err) : S24_ERR_SYSTEM;
    if (!fits) {
        return damaged_frame(p->offset, p->number, "cannot have what the index says", err);
    }
    if (status == S24_OK && parts) {
        status = check_frame(a, p, bytes, &frame, units, err);
    } else if (status == S24_OK) {
        status = n >= S24_FRAME_HEAD_BYTES && s24_frame_get(&frame, &version, bytes) && head_fits(a, &frame) &&
                 frame.panels == p->panels && frame.first == p->first && s24_frame_bytes(&frame) == p->bytes
            ? check_begin(a, &frame, version, p->number, bytes, p->offset, units, err)
            : damaged_frame(p->offset, p->number, "is not what the index says", err);
    }
    if (status == S24_OK) {
        s24_archive_account(&a->map, &frame, bytes, parts ? bytes + (p->bytes - frame.payload) : NULL,
                            a->source->contents.entries);
    }
    return status;
}

static s24_status account_frame(archive *a, const span *p, s24_bench *bench, bool parts, s24_error *err)
{
    const size_t only = only_entry(a, p);
    if (parts || only == SIZE_MAX) {
        return read_account(a, p, bench, parts, err);
    }
    if (only < a->source->contents.count) {
        a->source->contents.entries[only].coded += p->bytes;
    }
    return S24_OK;
}

static s24_status begin_parts(s24_contents *c, s24_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        s24_entry *e = &c->entries[i];
        e->parts = e->parts ? e->parts : s24_calloc(1, sizeof *e->parts, err);
        if (!e->parts) {
            return S24_ERR_SYSTEM;
        }
        *e->parts = (s24_stored_parts){0};
    }
    return S24_OK;
}

s24_status s24_archive_measure(s24_source *source, bool parts, s24_error *err)
{
    archive *a = (archive *)source->in->view;
    s24_status status = S24_OK;
    if (streams(a)) { /* what frames take is counted as they come */
        const uint64_t metrics = s24_archive_number(&a->map, &a->map.plain->metrics, 0); /* these are read later */
        status = take_frames(a, parts ? 0 : metrics, s24_archive_panels(&a->map), err);
        if (status != S24_OK || !parts) {
            return status;
        }
    }
    status = parts ? begin_parts(&source->contents, err) : S24_OK;
    for (size_t i = 0; i < source->contents.count; i++) {
        source->contents.entries[i].coded = 0;
    }
    s24_bench bench = {0};
    for (size_t k = 0; k < a->frame_count && status == S24_OK; k++) {
        status = s24_io_stopped(source->io, err);
        status = status == S24_OK ? account_frame(a, &a->frames[k], &bench, parts, err) : status;
    }
    s24_bench_clear(&bench);
    return status;
}
