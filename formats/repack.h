/* From a plain .s24 file to an archive, and back. */
#ifndef S24_FORMATS_REPACK_H
#define S24_FORMATS_REPACK_H

#include "format.h"

/*
 * Copies the panels of a source of .s24 files, checked, into files that are the same plain ones, packed as the request
 * says. complete: as in decompress.h.
 */
s24_status s24_repack_source(const s24_io *io, const s24_convert_request *request, s24_source *source,
                             s24_status (*complete)(void *ctx, s24_error *err), void *ctx, s24_error *err);

#endif
