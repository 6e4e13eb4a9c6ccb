/* Recognising an archive, its header's frame, and looking for frames in what is damaged. */
#include "archive_read.h"

#include <string.h>
#include <zlib.h>

#include "st_header.h"

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

s24_status s24_archive_damaged(uint64_t offset, uint64_t number, const char *what, s24_error *err)
{
    return s24_fail_at(err, offset, S24_ARCHIVE_DAMAGED "frame %llu, at byte %llu, %s" S24_ARCHIVE_RECOVER,
                       (unsigned long long)number, (unsigned long long)offset, what);
}

s24_status s24_archive_unknown_codec(uint32_t codec, s24_error *err)
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
        const size_t want = 2 * room + S24_ARCHIVE_SCAN_BYTES;
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
        status = s24_fail(err, S24_ERR_DATA, S24_ARCHIVE_DAMAGED "its header cannot be inflated" S24_ARCHIVE_RECOVER);
    }
    if (status != S24_OK) {
        free(data);
        return status;
    }
    *out = data;
    return S24_OK;
}

/* The payload becomes the header, where it is one. */
static s24_status unpack_header(const s24_frame *frame, const s24_frame_unit *line, char **payload, uint64_t offset,
                                char **header, s24_error *err)
{
    const size_t raw = (size_t)frame->raw;
    if (line->codec == S24_CODEC_DEFLATE) {
        const s24_status status = inflate_all((const unsigned char *)*payload, line->bytes, raw, header, err);
        if (status != S24_OK) {
            return status;
        }
    } else if (line->codec == S24_CODEC_STORED && line->bytes == raw) {
        *header = *payload;
        *payload = NULL;
    } else {
        return line->codec >= S24_CODECS ? s24_archive_unknown_codec(line->codec, err)
                                         : s24_archive_damaged(offset, frame->number, "is not coded as a header is", err);
    }
    if (s24_get_u64((const unsigned char *)*header) != raw - 8) {
        free(*header);
        return s24_archive_damaged(offset, frame->number, "has a header of another length than it says", err);
    }
    return S24_OK;
}

s24_status s24_archive_read_header(s24_input *in, uint64_t offset, uint64_t number, char **header, size_t *header_bytes,
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
        return s24_archive_damaged(offset, number, "the header's, does not match its check", err);
    }
    status = s24_archive_check_version(version, err);
    if (status != S24_OK) {
        return status;
    }
    const s24_frame_unit line = {s24_get_u32(begin + S24_FRAME_HEAD_BYTES), s24_get_u32(begin + S24_FRAME_HEAD_BYTES + 4)};
    if (frame.kind != S24_FRAME_HEADER || frame.number != number || frame.first != 0 || frame.payload != line.bytes ||
        frame.raw % 64 || frame.raw - 8 > S24_ST_HEADER_MAX /* nor 0 */ || frame.payload > frame.raw) {
        return s24_archive_damaged(offset, number, "is no header's frame", err);
    }
    char *payload;
    status = s24_input_read_new(in, offset + sizeof begin, &payload, line.bytes, err);
    if (status != S24_OK) {
        return status;
    }
    status = s24_archive_check(payload, line.bytes, s24_frame_seed(0, number)) == frame.check
        ? unpack_header(&frame, &line, &payload, offset, header, err)
        : s24_archive_damaged(offset, number, "the header's, does not match its check", err);
    free(payload);
    *header_bytes = (size_t)frame.raw;
    *end = offset + sizeof begin + line.bytes;
    return status;
}

/* ---------------------------------------------------------------- looking for frames */

s24_status s24_archive_find_magic(s24_input *in, uint64_t *at, unsigned char buffer[S24_ARCHIVE_SCAN_BYTES], s24_error *err)
{
    while (*at + S24_FRAME_HEAD_BYTES <= in->size) {
        const uint64_t left = in->size - *at;
        const size_t n = left < S24_ARCHIVE_SCAN_BYTES ? (size_t)left : S24_ARCHIVE_SCAN_BYTES;
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

s24_status s24_archive_find_header(s24_input *in, char **header, size_t *header_bytes, s24_error *err)
{
    unsigned char *buffer = s24_malloc(S24_ARCHIVE_SCAN_BYTES, err);
    uint64_t end;
    if (!buffer) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = S24_ERR_DATA;
    for (uint64_t at = 0; status == S24_ERR_DATA; at++) {
        status = s24_archive_find_magic(in, &at, buffer, err);
        if (status == S24_OK && at == S24_UNKNOWN) {
            status = s24_fail(err, S24_ERR_DATA, "is damaged beyond recovery: neither its header nor the copy is whole");
            break;
        }
        status = status == S24_OK ? s24_archive_read_header(in, at, S24_UNKNOWN, header, header_bytes, &end, err) : status;
    }
    free(buffer);
    return status;
}
