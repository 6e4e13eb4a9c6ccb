/* What other formats that are safetensors files share with it. */
#ifndef S24_FORMATS_SAFETENSORS_H
#define S24_FORMATS_SAFETENSORS_H

#include "st_header.h"

/* safetensors' own `accepts`: a name that the format has taken is refused. */
s24_status s24_safetensors_accepts(const s24_entry *entry, s24_error *err);

/* A lone array has no name in its own format; here it is called what numpy calls it in a .npz. */
s24_status s24_safetensors_name_lone(s24_contents *contents, s24_error *err);

/*
 * The header's bytes, the length before it and the padding behind it included; every entry's offset is set. They are
 * read back by the strict reader: a name or a piece of metadata that the format cannot hold (from a .npz, say) is found
 * before any data are written. The caller frees *header, also on failure.
 */
s24_status s24_safetensors_header(s24_contents *contents, s24_text *header, s24_error *err);

#endif
