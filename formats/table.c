/* The formats, in the order in which contents are tried. A new format is its file and a row here. */
#include "format.h"

const s24_format *const s24_formats[] = {
    &s24_format_s24, &s24_format_npy, &s24_format_npz, &s24_format_safetensors, &s24_format_json, &s24_format_raw,
    &s24_format_bitmask, &s24_format_cutlass,

    &s24_format_gguf, &s24_format_pytorch, &s24_format_pickle, &s24_format_hdf5, &s24_format_onnx,
    &s24_format_tflite, &s24_format_gzip, &s24_format_zstd, &s24_format_xz, &s24_format_bzip2, NULL,
};
