/* The formats, in the order in which contents are tried. A new format is its file and a row here. */
#include "format.h"

const s24_format *const s24_formats[] = {
    &s24_format_s24, &s24_format_npy, &s24_format_npz, &s24_format_safetensors, &s24_format_json, &s24_format_raw, NULL,
};
