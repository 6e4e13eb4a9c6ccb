/* Pruning a source that is open already. */
#ifndef S24_FORMATS_PRUNE_H
#define S24_FORMATS_PRUNE_H

#include "format.h"

/* As s24_prune_file, but reads `source` instead of request->input, which only names it; closes it. */
s24_status s24_prune_source(const s24_io *io, const s24_prune_request *request, s24_source *source, s24_report *report,
                            s24_error *err);

/*
 * The same without a criterion, of a source whose tensors are chosen: those that are `packed` are 2:4 already, and
 * nothing of them is lost.
 */
s24_status s24_pack_source(const s24_io *io, const s24_prune_request *request, s24_source *source, s24_report *report,
                           s24_error *err);

#endif
