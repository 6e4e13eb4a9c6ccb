/*
 * Bytes that are held deflated: put together once, from front to back, and read again as often as they are wanted. For
 * headers, which say much the same of every tensor: in memory they take a tenth of what they are. One thread at a time.
 */
#ifndef S24_FORMATS_DEFLATED_H
#define S24_FORMATS_DEFLATED_H

#include <zlib.h>

#include "error.h"

typedef struct s24_deflated {
    unsigned char *coded;  /* as zlib has them; NULL: there are none */
    size_t coded_bytes, bytes; /* and what they are of */
} s24_deflated;

void s24_deflated_free(s24_deflated *deflated); /* leaves it zeroed */

/* Putting them together. A failure is remembered, and told at the end, which must come. level: zlib's, 1 to 9. */
typedef struct s24_deflater {
    z_stream z;
    s24_deflated made;
    size_t room;
    bool failed;
} s24_deflater;

void s24_deflate_begin(s24_deflater *deflater, int level);
void s24_deflate_add(s24_deflater *deflater, const void *data, size_t n);
s24_status s24_deflate_end(s24_deflater *deflater, s24_deflated *deflated, s24_error *err); /* S24_ERR_SYSTEM: no memory */

/* All of them at once, and those of others with another level. */
s24_status s24_deflate(s24_deflated *deflated, const void *data, size_t n, int level, s24_error *err);
s24_status s24_deflate_again(s24_deflated *deflated, const s24_deflated *from, int level, s24_error *err);

/* All of them, into room for deflated->bytes. */
s24_status s24_inflate(const s24_deflated *deflated, void *data, s24_error *err);

/* Reading some: any n bytes that are there; those that follow the last ones cost the least. The end must come. */
typedef struct s24_inflater {
    const s24_deflated *of;
    z_stream z;
    bool begun;
    size_t at; /* the next byte that z gives */
} s24_inflater;

void s24_inflate_begin(s24_inflater *inflater, const s24_deflated *of);
s24_status s24_inflate_read(s24_inflater *inflater, size_t offset, void *data, size_t n, s24_error *err);
void s24_inflate_end(s24_inflater *inflater);

#endif
