/*
 * The entropy coder of archives: one unit of a .s24, in memory, to fewer bytes and back, bit for bit. A unit is a panel
 * of a pruned tensor, or some panels joined, or a piece of a dense tensor; units know nothing of each other. The bytes
 * of a coded unit are described in s24(5), CODED UNITS.
 *
 * Nothing here allocates: the caller brings buffers and scratch memory of the sizes that the functions below tell, of any
 * alignment. Any function may be called from any thread; calls share nothing but what is only read.
 */
#ifndef S24_LIB_CODER_H
#define S24_LIB_CODER_H

#include "s24.h"

#define S24_CODER_LEVELS 9
#define S24_CODER_LEVEL 5 /* when nobody says otherwise */

/* What is coded by itself. */
typedef struct s24_unit {
    s24_dtype dtype; /* of the elements: one of whole bytes */
    size_t values;   /* elements; 2 * groups where there are groups */
    size_t groups;   /* 0: elements of a dense tensor, there are no positions */
    s24_isa isa;     /* cap on the instruction set; the bytes do not depend on it */
} s24_unit;

/* The most bytes that a unit may take coded: its raw bytes and a few. SIZE_MAX: it is too large to be one. */
size_t s24_coder_bound(const s24_unit *unit);

/* Bytes of scratch memory that coding and decoding need. */
size_t s24_encode_scratch(const s24_unit *unit);
size_t s24_decode_scratch(const s24_unit *unit);

/*
 * Codes unit->values elements, little-endian, and a nibble a group (p0 | p1 << 2, p0 < p1), the lower group in the low
 * nibble, without gaps, a last pad nibble 0. out has room for s24_coder_bound bytes. level: 1 to 9, more is smaller and
 * slower. Returns how many bytes it wrote; 0 where a nibble is none of the six. The same input and level give the same bytes
 * on every machine.
 */
size_t s24_unit_encode(const s24_unit *unit, const void *values, const uint8_t *nibbles, int level, void *out,
                       void *scratch);

/*
 * Decodes all of n bytes. False: they are malformed, and the outputs hold nothing of use. Whatever the bytes are, nothing
 * beyond n is read, nothing beyond the outputs is written, and nibbles that come out are valid.
 */
bool s24_unit_decode(const s24_unit *unit, const void *coded, size_t n, void *values, uint8_t *nibbles, void *scratch);

/* Where the bytes of a coded unit go. Their sum is all of it. */
typedef struct s24_coded_sizes {
    size_t positions;
    size_t planes[8]; /* of values, from the lowest byte of an element */
    size_t tables;    /* what describes the others: headers, frequencies, states */
} s24_coded_sizes;

/* From the headers alone. False: malformed, as far as can be seen from there. */
bool s24_unit_sizes(const s24_unit *unit, const void *coded, size_t n, s24_coded_sizes *sizes);

#endif
