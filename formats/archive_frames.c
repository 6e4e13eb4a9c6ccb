/* Data frames: what begins them, all of them, those that are known, and those of a damaged file, by their magic. */
#include "archive_read.h"

#include <string.h>

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

s24_status s24_archive_room(s24_archive *a, size_t frames, size_t checks, s24_error *err)
{
    const s24_status status = room_for((void **)&a->frames, &a->frame_capacity, frames, sizeof *a->frames, err);
    return status == S24_OK ? room_for((void **)&a->checks, &a->check_capacity, checks, sizeof *a->checks, err) : status;
}

bool s24_archive_frame_fits(const s24_archive *a, uint64_t first, uint64_t panels)
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

bool s24_archive_head_fits(const s24_archive *a, const s24_frame *frame)
{
    return frame->kind == S24_FRAME_DATA && frame->units >= 1 && frame->units <= S24_UNITS_MAX &&
           s24_archive_frame_fits(a, frame->first, frame->panels);
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

s24_status s24_archive_check_begin(const s24_archive *a, const s24_frame *frame, unsigned version, uint64_t number,
                              const unsigned char *begin, uint64_t offset, s24_archive_unit units[S24_UNITS_MAX],
                              s24_error *err)
{
    uint64_t raw;
    if (!s24_frame_begins(frame, s24_frame_seed(a->hash, number), begin)) {
        return s24_archive_damaged(offset, number, "does not match its check", err);
    }
    const s24_status status = s24_archive_check_version(version, err);
    if (status != S24_OK) {
        return status;
    }
    const size_t count = s24_archive_units(&a->map, frame->first, frame->panels, units, &raw);
    return frame->number == number && table_fits(frame, units, count, raw, begin + S24_FRAME_HEAD_BYTES)
        ? S24_OK : s24_archive_damaged(offset, number, "is not what the header says", err);
}

s24_status s24_archive_read_begin(s24_archive *a, const s24_frame *frame, const unsigned char head[S24_FRAME_HEAD_BYTES],
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

s24_status s24_archive_add_frame(s24_archive *a, const s24_frame *frame, uint64_t offset, const unsigned char *begin,
                                 s24_error *err)
{
    const unsigned char *checks = begin + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (size_t)frame->units;
    const s24_status status = s24_archive_room(a, a->frame_count + 1, a->check_count + frame->panels, err);
    if (status != S24_OK) {
        return status;
    }
    a->frames[a->frame_count++] = (s24_archive_span){
        .offset = offset, .bytes = s24_frame_bytes(frame), .number = frame->number, .first = frame->first,
        .panels = frame->panels, .checks = a->check_count,
    };
    for (uint32_t i = 0; i < frame->panels; i++) {
        a->checks[a->check_count++] = s24_get_u64(checks + S24_FRAME_LINE_BYTES * (size_t)i);
    }
    return S24_OK;
}

const s24_archive_span *s24_archive_frame_of(const s24_archive *a, uint64_t panel)
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

s24_status s24_archive_check_frame(const s24_archive *a, const s24_archive_span *p, const unsigned char *bytes,
                                   s24_frame *frame, s24_archive_unit units[S24_UNITS_MAX], s24_error *err)
{
    unsigned version;
    if (!s24_frame_get(frame, &version, bytes) || frame->first != p->first || frame->panels != p->panels ||
        !s24_archive_head_fits(a, frame) || s24_frame_bytes(frame) != p->bytes) {
        return s24_archive_damaged(p->offset, p->number, "is not what the index says", err);
    }
    const s24_status status = s24_archive_check_begin(a, frame, version, p->number, bytes, p->offset, units, err);
    if (status != S24_OK) {
        return status;
    }
    const size_t begin = (size_t)(p->bytes - frame->payload);
    if (s24_archive_check(bytes + begin, (size_t)frame->payload, s24_frame_seed(a->hash, p->number)) != frame->check) {
        return s24_archive_damaged(p->offset, p->number, "does not match its check", err);
    }
    const unsigned char *checks = bytes + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (size_t)frame->units;
    for (uint32_t i = 0; i < frame->panels; i++) {
        if (s24_get_u64(checks + S24_FRAME_LINE_BYTES * (size_t)i) != a->checks[p->checks + i]) {
            return s24_archive_damaged(p->offset, p->number, "has other checks than the index", err);
        }
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- a damaged file: frames by their magic */

static s24_status try_frame(s24_archive *a, uint64_t at, s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    unsigned char head[S24_FRAME_HEAD_BYTES], *begin;
    s24_frame frame;
    unsigned version;
    s24_status status = s24_input_read(a->view.behind, at, head, sizeof head, err);
    if (status != S24_OK) {
        return status;
    }
    s24_frame_get(&frame, &version, head); /* its magic was found, and is checked with the rest */
    if (!s24_archive_head_fits(a, &frame)) {
        return S24_OK;
    }
    status = s24_archive_read_begin(a, &frame, head, at, &begin, err);
    if (status != S24_OK || s24_archive_check_begin(a, &frame, version, frame.number, begin, at, units, NULL) != S24_OK) {
        return status == S24_ERR_DATA ? S24_OK : status; /* beyond the end */
    }
    return s24_archive_add_frame(a, &frame, at, begin, err);
}

static int by_first(const void *x, const void *y)
{
    const s24_archive_span *a = x, *b = y;
    const int order = (a->first > b->first) - (a->first < b->first);
    return order ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

/* Of frames that have the same panels the first stays. */
static void sort_frames(s24_archive *a)
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

s24_status s24_archive_find_frames(s24_archive *a, s24_error *err)
{
    unsigned char *buffer = s24_malloc(S24_ARCHIVE_SCAN_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    a->frame_count = a->check_count = 0;
    for (uint64_t at = 0; status == S24_OK; at++) {
        status = s24_archive_find_magic(a->view.behind, &at, buffer, err);
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
