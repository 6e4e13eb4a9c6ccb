/*
 * What a Hugging Face config.json says about a checkpoint's sparse layout. The text is spliced: every byte that is not
 * about that stays as it is, numbers and order included.
 */
#ifndef S24_FORMATS_CONFIG_JSON_H
#define S24_FORMATS_CONFIG_JSON_H

#include "textbuf.h"

/*
 * Makes quantization_config.sparsity_config of the n bytes of a config.json say that tensors are stored in `format`
 * ("sparse-24-bitmask"), or, format NULL, takes it away, and with it a quantization_config that says nothing more.
 * Where the file has the older compression_config instead, that is meant. *out: the new text, the caller's to free
 * also on failure; *changed: whether it differs. S24_ERR_DATA: not JSON, not such an object, or one that belongs to
 * another tool's quantization.
 */
s24_status s24_config_set_sparsity(const char *text, size_t n, const char *format, s24_text *out, bool *changed,
                                   s24_error *err);

#endif
