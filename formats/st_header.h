/*
 * The header of a safetensors file: u64 LE length N, then N bytes of JSON of one fixed grammar, then the data. A strict
 * scanner of that grammar, with memory in proportion to the tensors and not to a hostile header's size.
 */
#ifndef S24_FORMATS_ST_HEADER_H
#define S24_FORMATS_ST_HEADER_H

#include "format.h"
#include "textbuf.h"

#define S24_ST_HEADER_MAX 100000000u

/*
 * Fills *contents, which is empty, from the n bytes of JSON: entries in the order of their data, offset = data_start +
 * begin. Refuses, each by name: what is not the grammar, more than contents->most, duplicate keys, unknown fields and dtypes, invalid UTF-8, NUL in a name, offsets
 * that do not begin at 0, overlap, leave a hole, or differ from shape x dtype. *data_bytes is where the data end.
 * Allocates at most a small multiple of n.
 */
s24_status s24_st_header_parse(const char *json, size_t n, uint64_t data_start, s24_contents *contents,
                               uint64_t *data_bytes, s24_error *err);

/* Appends one of the header's tensors: "NAME":{...}. */
void s24_st_header_write_tensor(s24_text *text, const char *name, s24_dtype dtype, int rank, const size_t *shape,
                                uint64_t begin, uint64_t end);

/*
 * Appends the header's JSON, "{...}" without padding: __metadata__ first when there are pairs, then the tensors in
 * order, with offsets relative to data_start.
 */
void s24_st_header_write(s24_text *text, const s24_contents *contents, uint64_t data_start);

#endif
