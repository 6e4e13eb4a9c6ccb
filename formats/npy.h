/* The .npy header: of a file of its own, and of each member of a .npz. */
#ifndef S24_FORMATS_NPY_H
#define S24_FORMATS_NPY_H

#include "format.h"

/*
 * Reads the header at the beginning of `in` and adds the tensor to source->contents as `name`, with its offset in `in`.
 * size: what the .npy has in all, checked against its shape; S24_UNKNOWN: nobody knows yet. member: it is one of several,
 * so that integers, booleans and complex numbers are carried, and --raw-dtype says which 8-bit float is meant, no more.
 */
s24_status s24_npy_open(s24_source *source, s24_input *in, uint64_t size, const char *name, bool member,
                        s24_error *err);

/*
 * Writes the header of the entry's data in C order, byte for byte what numpy.save writes, and returns its length, a
 * multiple of 64. The longest has 64 dimensions of 19 digits, and less than 200 bytes around them.
 */
#define S24_NPY_HEADER_BYTES (200 + S24_MAX_RANK * 21 + 21 + 64)
size_t s24_npy_header(const s24_entry *entry, char text[S24_NPY_HEADER_BYTES]);

#endif
