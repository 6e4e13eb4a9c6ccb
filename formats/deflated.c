#include "deflated.h"

#include <assert.h>
#include <limits.h>

#include "mem.h"

#define PIECE_BYTES ((size_t)16 << 10) /* that is inflated to be skipped, or to be deflated again */
#define PART_MAX ((size_t)1 << 30)     /* zlib counts in unsigned ints */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void s24_deflated_free(s24_deflated *d)
{
    free(d->coded);
    *d = (s24_deflated){0};
}

/* ---------------------------------------------------------------- deflating */

void s24_deflate_begin(s24_deflater *d, int level)
{
    *d = (s24_deflater){.failed = false};
    d->failed = deflateInit(&d->z, level) != Z_OK;
}

/* Room for what zlib gives next. */
static bool grow(s24_deflater *d)
{
    const size_t more = d->room ? 2 * d->room : PIECE_BYTES;
    unsigned char *const larger = realloc(d->made.coded, more);
    if (larger) {
        d->made.coded = larger;
        d->room = more;
    }
    return larger != NULL;
}

/* What zlib has, of what it got. */
static void pump(s24_deflater *d, int flush)
{
    int z = Z_OK;
    while (!d->failed && z == Z_OK && (d->z.avail_in || flush == Z_FINISH)) {
        if (d->made.coded_bytes == d->room && !grow(d)) {
            d->failed = true;
            return;
        }
        const size_t room = least(d->room - d->made.coded_bytes, PART_MAX);
        d->z.next_out = d->made.coded + d->made.coded_bytes;
        d->z.avail_out = (unsigned)room;
        z = deflate(&d->z, flush);
        d->made.coded_bytes += room - d->z.avail_out;
    }
    assert(d->failed || z == (flush == Z_FINISH ? Z_STREAM_END : Z_OK)); /* it takes no more memory than at the beginning */
}

void s24_deflate_add(s24_deflater *d, const void *data, size_t n)
{
    const unsigned char *from = data;
    d->made.bytes += n;
    while (n && !d->failed) {
        const size_t part = least(n, PART_MAX);
        d->z.next_in = (unsigned char *)(uintptr_t)from; /* which it does not change */
        d->z.avail_in = (unsigned)part;
        pump(d, Z_NO_FLUSH);
        from += part;
        n -= part;
    }
}

s24_status s24_deflate_end(s24_deflater *d, s24_deflated *deflated, s24_error *err)
{
    pump(d, Z_FINISH);
    deflateEnd(&d->z);
    if (d->failed) {
        const size_t bytes = d->made.bytes;
        s24_deflated_free(&d->made);
        return s24_fail_memory(err, bytes);
    }
    *deflated = d->made;
    return S24_OK;
}

s24_status s24_deflate(s24_deflated *deflated, const void *data, size_t n, int level, s24_error *err)
{
    s24_deflater d;
    s24_deflate_begin(&d, level);
    s24_deflate_add(&d, data, n);
    return s24_deflate_end(&d, deflated, err);
}

s24_status s24_deflate_again(s24_deflated *deflated, const s24_deflated *from, int level, s24_error *err)
{
    unsigned char piece[PIECE_BYTES];
    s24_deflater d;
    s24_inflater i;
    s24_status status = S24_OK;
    s24_deflate_begin(&d, level);
    s24_inflate_begin(&i, from);
    for (size_t at = 0, n; at < from->bytes && status == S24_OK; at += n) {
        n = least(from->bytes - at, sizeof piece);
        status = s24_inflate_read(&i, at, piece, n, err);
        if (status == S24_OK) {
            s24_deflate_add(&d, piece, n);
        }
    }
    s24_inflate_end(&i);
    const s24_status ended = s24_deflate_end(&d, deflated, status == S24_OK ? err : NULL);
    if (status != S24_OK && ended == S24_OK) {
        s24_deflated_free(deflated);
    }
    return status == S24_OK ? ended : status;
}

/* ---------------------------------------------------------------- inflating */

void s24_inflate_begin(s24_inflater *i, const s24_deflated *of)
{
    *i = (s24_inflater){.of = of};
}

void s24_inflate_end(s24_inflater *i)
{
    if (i->begun) {
        inflateEnd(&i->z);
        i->begun = false;
    }
}

static s24_status rewind_to_front(s24_inflater *i, s24_error *err)
{
    s24_inflate_end(i);
    i->z = (z_stream){.next_in = i->of->coded, .avail_in = (unsigned)i->of->coded_bytes};
    i->begun = inflateInit(&i->z) == Z_OK;
    i->at = 0;
    return i->begun ? S24_OK : s24_fail_memory(err, 0);
}

/* The next n bytes. */
static s24_status inflate_next(s24_inflater *i, void *data, size_t n, s24_error *err)
{
    i->z.next_out = data;
    i->z.avail_out = (unsigned)n;
    if (n) {
        inflate(&i->z, Z_SYNC_FLUSH); /* as much as fits: they were deflated here, so that nothing but memory can be missing */
    }
    i->at += n - i->z.avail_out;
    return i->z.avail_out == 0 ? S24_OK : s24_fail_memory(err, n);
}

s24_status s24_inflate_read(s24_inflater *i, size_t offset, void *data, size_t n, s24_error *err)
{
    unsigned char skipped[PIECE_BYTES];
    s24_status status = S24_OK;
    assert(i->of->coded_bytes <= UINT_MAX && n <= UINT_MAX && offset <= i->of->bytes && n <= i->of->bytes - offset);
    if (!i->begun || offset < i->at) {
        status = rewind_to_front(i, err);
    }
    while (status == S24_OK && i->at < offset) {
        status = inflate_next(i, skipped, least(offset - i->at, sizeof skipped), err);
    }
    return status == S24_OK ? inflate_next(i, data, n, err) : status;
}

s24_status s24_inflate(const s24_deflated *deflated, void *data, s24_error *err)
{
    s24_inflater i;
    s24_inflate_begin(&i, deflated);
    const s24_status status = s24_inflate_read(&i, 0, data, deflated->bytes, err);
    s24_inflate_end(&i);
    return status;
}
