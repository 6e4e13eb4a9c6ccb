/*
 * The bytes of one member of a zip archive, as they come: stored ones are read, deflated ones inflated, with a window and
 * a buffer whatever the member's size. With the last byte the CRC is compared, so that nobody gets all of a damaged member.
 */
#include <string.h>
#include <zlib.h>

#include "zip.h"

#define BUFFER_BYTES 65536u
#define FIRST_READ 512u    /* of deflated bytes, then twice as many each time: a header needs few */
#define PART_MAX (1u << 30) /* zlib counts in unsigned ints */
#define NAME_SHOWN 120

#define COPY_AGAIN "damaged; copy the file again, or save it again with numpy.savez"

typedef struct member {
    s24_decoder decoder; /* the first: a decoder is cast to its member */
    s24_input *archive;
    const s24_zip_entry *entry;
    bool named;
    uint64_t given;      /* bytes of the member, */
    uint64_t taken;      /* and of the archive */
    uint32_t crc;        /* of those given */

    /* Deflated ones, from the first byte to the last. */
    unsigned char *buffer;
    z_stream z;
    unsigned step;       /* bytes to read next */
    bool ended;          /* the deflated data say so */
} member;

static void stop_inflating(member *m)
{
    if (m->buffer) {
        inflateEnd(&m->z);
        free(m->buffer);
        m->buffer = NULL;
    }
}

static s24_status start_inflating(member *m, s24_error *err)
{
    unsigned char *buffer = s24_alloc(BUFFER_BYTES, err);
    if (!buffer) {
        return S24_ERR_SYSTEM;
    }
    m->z = (z_stream){0};
    m->step = FIRST_READ;
    if (inflateInit2(&m->z, -MAX_WBITS) != Z_OK) { /* without a zlib header */
        free(buffer);
        return s24_fail_memory(err, 1u << MAX_WBITS);
    }
    m->buffer = buffer;
    return S24_OK;
}

static s24_status refill(member *m, s24_error *err)
{
    const uint64_t left = m->entry->compressed - m->taken;
    const unsigned n = left < m->step ? (unsigned)left : m->step;
    if (n == 0) {
        return s24_fail(err, S24_ERR_DATA, "its deflated data do not end where they must: " COPY_AGAIN);
    }
    const s24_status status = s24_input_read(m->archive, m->entry->data + m->taken, m->buffer, n, err);
    m->z.next_in = m->buffer;
    m->z.avail_in = n;
    m->taken += n;
    m->step = m->step < BUFFER_BYTES ? 2 * m->step : BUFFER_BYTES;
    return status;
}

/* Inflates n bytes, fewer only where the data end before. */
static s24_status inflate_some(member *m, unsigned char *data, size_t n, size_t *got, s24_error *err)
{
    *got = 0;
    while (*got < n && !m->ended) {
        const unsigned part = n - *got < PART_MAX ? (unsigned)(n - *got) : PART_MAX;
        s24_status status = m->z.avail_in ? S24_OK : refill(m, err);
        if (status != S24_OK) {
            return status;
        }
        m->z.next_out = data + *got;
        m->z.avail_out = part;
        const int r = inflate(&m->z, Z_NO_FLUSH);
        *got += part - m->z.avail_out;
        m->ended = r == Z_STREAM_END;
        if (r == Z_MEM_ERROR) {
            return s24_fail_memory(err, 1u << MAX_WBITS);
        }
        if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR) {
            return s24_fail(err, S24_ERR_DATA, "its deflated data make no sense (%s): " COPY_AGAIN,
                            m->z.msg ? m->z.msg : "a preset dictionary");
        }
    }
    return S24_OK;
}

/* After the last byte: the deflated data end, too, and with what is there of them. */
static s24_status end_inflating(member *m, s24_error *err)
{
    unsigned char more;
    size_t got;
    const s24_status status = inflate_some(m, &more, 1, &got, err);
    if (status != S24_OK) {
        return status;
    }
    if (got || m->z.avail_in || m->taken != m->entry->compressed) {
        return s24_fail(err, S24_ERR_DATA, "its deflated data are longer than the directory says: " COPY_AGAIN);
    }
    return S24_OK;
}

static s24_status pull_deflated(member *m, void *data, size_t n, s24_error *err)
{
    size_t got = 0;
    s24_status status = m->buffer ? S24_OK : start_inflating(m, err);
    status = status == S24_OK ? inflate_some(m, data, n, &got, err) : status;
    if (status == S24_OK && got < n) {
        return s24_fail(err, S24_ERR_DATA, "its deflated data are shorter than the directory says: " COPY_AGAIN);
    }
    if (status == S24_OK && m->given + n == m->entry->size) {
        status = end_inflating(m, err);
        stop_inflating(m);
    }
    return status;
}

static s24_status pull(s24_decoder *decoder, void *data, size_t n, size_t *got, s24_error *err)
{
    member *m = (member *)decoder;
    const s24_zip_entry *e = m->entry;
    const uint64_t left = e->size - m->given;
    n = left < n ? (size_t)left : n;
    *got = n;
    if (n == 0) {
        return S24_OK;
    }
    s24_status status = e->method == S24_ZIP_STORED ? s24_input_read(m->archive, e->data + m->given, data, n, err)
                                                    : pull_deflated(m, data, n, err);
    if (status == S24_OK) {
        m->crc = (uint32_t)crc32_z(m->crc, data, n);
        m->given += n;
        if (m->given == e->size && m->crc != e->crc) {
            status = s24_fail_at(err, e->header, "CRC mismatch: " COPY_AGAIN);
        }
    }
    return m->named ? s24_fail_prefix(err, status, "member %.*s: ", NAME_SHOWN, e->name) : status;
}

static s24_status rewind_member(s24_decoder *decoder, s24_error *err)
{
    member *m = (member *)decoder;
    (void)err;
    stop_inflating(m);
    m->given = m->taken = 0;
    m->crc = 0;
    m->ended = false;
    return S24_OK;
}

static void close_member(s24_decoder *decoder)
{
    member *m = (member *)decoder;
    stop_inflating(m);
    free(m);
}

s24_status s24_zip_member(s24_input **in, s24_input *archive, const s24_zip_entry *entry, bool named, s24_error *err)
{
    member *m = s24_calloc(1, sizeof *m, err);
    if (!m) {
        return S24_ERR_SYSTEM;
    }
    *m = (member){.decoder = {.pull = pull, .rewind = rewind_member, .close = close_member}, .archive = archive, .entry = entry, .named = named};
    return s24_input_decoded(in, archive->io, archive->name, &m->decoder, err);
}
