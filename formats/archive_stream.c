/* A stream: frames as they come, of which those that somebody wants are held, coded. */
#include "archive_read.h"

#include <string.h>

#define COPY_BYTES (1u << 20)

/* The frame at offset is not yet dropped. */
static s24_status append_held(s24_archive *a, const void *data, size_t n, bool keep, s24_error *err)
{
    return keep ? s24_spool_append(&a->held, data, n, err) : S24_OK;
}

static s24_status take_payload(s24_archive *a, uint64_t n, bool keep, s24_error *err)
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
static s24_status take_frame(s24_archive *a, uint64_t wanted, s24_error *err)
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
    if (!s24_frame_get(&frame, &version, head) || frame.first != a->panels || !s24_archive_head_fits(a, &frame)) {
        return s24_archive_damaged(offset, number, "is not what must come next", err);
    }
    const size_t n = (size_t)(s24_frame_bytes(&frame) - frame.payload);
    status = s24_archive_read_begin(a, &frame, head, offset, &begin, err);
    status = status == S24_OK ? s24_archive_check_begin(a, &frame, version, number, begin, offset, units, err) : status;
    if (status != S24_OK) {
        return status;
    }
    const bool keep = frame.first + frame.panels > wanted;
    if (a->held.length == 0) {
        a->held_from = keep ? offset : offset + s24_frame_bytes(&frame);
    }
    status = append_held(a, begin, n, keep, err);
    a->position += n;
    status = status == S24_OK ? take_payload(a, frame.payload, keep, err) : status;
    status = status == S24_OK ? s24_archive_add_frame(a, &frame, offset, begin, err) : status;
    if (status == S24_OK) {
        s24_archive_account(&a->map, &frame, begin, NULL, a->source->contents.entries);
        a->panels += frame.panels;
    }
    return status;
}

s24_status s24_archive_take_frames(s24_archive *a, uint64_t wanted, uint64_t end, s24_error *err)
{
    if (a->panels >= end) {
        return S24_OK;
    }
    if (a->lost) {
        return s24_archive_damaged(a->position, a->frame_count + 1, "could not be read", err);
    }
    s24_status status = S24_OK;
    while (status == S24_OK && a->panels < end) {
        status = s24_io_stopped(a->view.behind->io, err);
        status = status == S24_OK ? take_frame(a, wanted, err) : status;
    }
    a->lost = status != S24_OK;
    return status;
}

s24_status s24_archive_drop_before(s24_archive *a, uint64_t wanted, s24_error *err)
{
    const s24_archive_span *p = s24_archive_frame_of(a, wanted);
    const uint64_t from = p ? p->offset : a->position, n = from - a->held_from;
    if (a->held.length == 0 || from <= a->held_from) {
        return S24_OK;
    }
    a->held_from = from;
    return s24_spool_drop(&a->held, n, err);
}

s24_status s24_archive_read_coded(s24_archive *a, const s24_archive_span *p, unsigned char *data, size_t n, s24_error *err)
{
    if (!s24_archive_streams(a)) {
        return s24_input_read(a->view.behind, p->offset, data, n, err);
    }
    if (p->offset < a->held_from) { /* all that has come since is held */
        return s24_fail(err, S24_ERR_SYSTEM, "frame %llu of a pipe is gone: an error of s24", (unsigned long long)p->number);
    }
    return s24_spool_read(&a->held, p->offset - a->held_from, data, n, err);
}
