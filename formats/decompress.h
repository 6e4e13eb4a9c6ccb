/* Decompressing a source that is open already. */
#ifndef S24_FORMATS_DECOMPRESS_H
#define S24_FORMATS_DECOMPRESS_H

#include "format.h"

/*
 * As s24_decompress_file, of a source that is a .s24, or a checkpoint of them; it stays open. Formats with sparse layouts
 * get what they can hold packed. complete: called when all is written and nothing has appeared yet; may be NULL.
 */
s24_status s24_decompress_source(const s24_io *io, const s24_decompress_request *request, s24_source *source,
                                 s24_status (*complete)(void *ctx, s24_error *err), void *ctx, s24_error *err);

#endif
