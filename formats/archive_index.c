/* The index and the tail: of a file they say where the frames are, of a stream they must say what has come. */
#include "archive_read.h"

s24_status s24_archive_bad_index(s24_error *err, uint64_t offset, const char *what)
{
    return s24_fail_at(err, offset, S24_ARCHIVE_DAMAGED "its index %s" S24_ARCHIVE_RECOVER, what);
}

static s24_status read_tail(const s24_archive *a, s24_archive_tail *tail, s24_error *err)
{
    const s24_input *in = a->view.behind;
    unsigned char bytes[S24_ARCHIVE_TAIL_BYTES];
    const uint64_t at = in->size - sizeof bytes;
    if (in->size < a->begin + sizeof bytes) {
        return s24_fail_at(err, in->size, S24_ARCHIVE_DAMAGED "it ends before its data" S24_ARCHIVE_RECOVER);
    }
    s24_status status = s24_input_read(a->view.behind, at, bytes, sizeof bytes, err);
    status = status == S24_OK ? s24_archive_tail_get(tail, bytes, err) : status;
    s24_fail_advise(err, status, "s24 decompress --salvage recovers what is whole");
    if (status == S24_OK && (tail->hash != a->hash || tail->plain_size != a->map.plain->file_size)) {
        return s24_fail_at(err, at, S24_ARCHIVE_DAMAGED "its tail is that of another file" S24_ARCHIVE_RECOVER);
    }
    if (status == S24_OK && tail->size != in->size) {
        return s24_fail_at(err, at, S24_ARCHIVE_DAMAGED "it has %llu bytes and should have %llu" S24_ARCHIVE_RECOVER,
                           (unsigned long long)in->size, (unsigned long long)tail->size);
    }
    return status;
}

/* Head, table, check and payload of the index are these; payload follows the rest. */
static bool index_matches(const s24_archive *a, const s24_archive_tail *tail, const unsigned char *bytes)
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
static uint64_t index_bytes(const s24_archive *a, uint64_t frames, uint64_t size)
{
    const uint64_t panels = s24_archive_panels(&a->map);
    if (panels > size / S24_FRAME_LINE_BYTES || frames > panels || (panels && !frames)) {
        return S24_UNKNOWN;
    }
    return S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * panels + S24_FRAME_CHECK_BYTES +
           S24_INDEX_LINE_BYTES * (frames + 1);
}

/* Frames follow one another without a gap, and so do their panels. */
static s24_status take_index(s24_archive *a, const s24_archive_tail *tail, const unsigned char *bytes, s24_error *err)
{
    const size_t frames = (size_t)tail->frames, panels = (size_t)s24_archive_panels(&a->map);
    const unsigned char *checks = bytes + S24_FRAME_HEAD_BYTES;
    const unsigned char *line = checks + S24_FRAME_LINE_BYTES * panels + S24_FRAME_CHECK_BYTES;
    const s24_status status = s24_archive_room(a, frames, panels, err);
    if (status != S24_OK) {
        return status;
    }
    for (size_t i = 0; i < panels; i++) {
        a->checks[i] = s24_get_u64(checks + S24_FRAME_LINE_BYTES * i);
    }
    if (s24_get_u64(line) != a->begin || s24_get_u64(line + 8) != 0) {
        return s24_archive_bad_index(err, tail->index, "does not begin where the frames do");
    }
    for (size_t k = 0; k < frames; k++, line += S24_INDEX_LINE_BYTES) {
        const uint64_t offset = s24_get_u64(line), next = s24_get_u64(line + S24_INDEX_LINE_BYTES);
        const uint64_t first = s24_get_u64(line + 8), after = s24_get_u64(line + S24_INDEX_LINE_BYTES + 8);
        if (next <= offset || next >= tail->index || after <= first || after > panels) {
            return s24_archive_bad_index(err, tail->index, "is not in order");
        }
        if (next - offset < S24_FRAME_HEAD_BYTES + S24_FRAME_CHECK_BYTES) {
            return s24_archive_bad_index(err, tail->index, "has a frame that is too short to be one");
        }
        a->frames[k] = (s24_archive_span){.offset = offset, .bytes = next - offset, .number = k + 1, .first = first,
                               .panels = (uint32_t)(after - first), .checks = (size_t)first};
    }
    a->copy = s24_get_u64(line);
    a->copy_end = tail->index;
    if (s24_get_u64(line + 8) != panels) {
        return s24_archive_bad_index(err, tail->index, "does not have all panels");
    }
    a->frame_count = frames;
    a->check_count = panels;
    return S24_OK;
}

s24_status s24_archive_load_index(s24_archive *a, s24_error *err)
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
        return s24_archive_bad_index(err, tail.index, "is not where it must be");
    }
    status = s24_input_read_new(in, tail.index, &bytes, (size_t)n, err);
    if (status != S24_OK) {
        return status;
    }
    status = index_matches(a, &tail, (const unsigned char *)bytes)
        ? take_index(a, &tail, (const unsigned char *)bytes, err)
        : s24_archive_bad_index(err, tail.index, "does not match its check");
    free(bytes);
    return status;
}

s24_status s24_archive_check_end(s24_archive *a, s24_error *err)
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
        status = s24_fail_at(err, at + n, S24_ARCHIVE_DAMAGED "its tail does not match" S24_ARCHIVE_RECOVER);
    }
    if (status == S24_OK && !index_matches(a, &tail, index)) {
        status = s24_archive_bad_index(err, at, "does not match its check");
    }
    for (size_t k = 0; k <= a->frame_count && status == S24_OK; k++, line += S24_INDEX_LINE_BYTES) {
        const uint64_t offset = k < a->frame_count ? a->frames[k].offset : a->copy;
        const uint64_t first = k < a->frame_count ? a->frames[k].first : a->panels;
        if (s24_get_u64(line) != offset || s24_get_u64(line + 8) != first) {
            status = s24_archive_bad_index(err, at, "is not that of the frames");
        }
    }
    for (size_t i = 0; i < a->check_count && status == S24_OK; i++) {
        if (s24_get_u64(index + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * i) != a->checks[i]) {
            status = s24_archive_bad_index(err, at, "has other checks than the frames");
        }
    }
    free(bytes);
    a->position = at + n + S24_ARCHIVE_TAIL_BYTES;
    return status == S24_OK ? s24_input_expect_end(in, a->position, err) : status;
}
