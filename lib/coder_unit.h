/*
 * What a unit is made of, for coding and decoding alike: how its elements are cut, which planes come of them, in the order
 * of the file, and the bytes that tell of them. Layout of a coded unit, in detail in s24(5):
 *
 *     kind | how elements are cut | planes: method, copies, frequencies ... | escapes | raw planes ... | states, words
 */
#ifndef S24_LIB_CODER_UNIT_H
#define S24_LIB_CODER_UNIT_H

#include "coder_parts.h"

/* A unit's first byte. */
enum { S24_CODED_STORED, S24_CODED_PLANES, S24_CODED_PALETTE };

/* A plane's first byte. */
enum { S24_PLANE_RAW, S24_PLANE_CONSTANT, S24_PLANE_RANS, S24_PLANE_METHODS, S24_WITH_COPIES = 4, S24_WITH_CLASSES = 8,
       S24_AS_FIELDS = 16 };

/* How elements of a dtype are cut; C64 counts as two f32. */
#define S24_ELEMENT_MOST 8 /* bytes */
typedef struct s24_element {
    unsigned bytes, sign, prefix;
    unsigned exponent_bits; /* 0: none */
} s24_element;

s24_element s24_element_of(s24_dtype dtype);
size_t s24_elements_of(const s24_unit *unit);

/* False: no unit, or too large to be one. */
bool s24_raw_bytes(const s24_unit *unit, size_t *bytes);

/* The planes of a unit, in the order of the file: positions, symbols, lows, middle, signs. */
#define S24_PLANES_MOST (2 + S24_CODER_LOWS + 2)
typedef struct s24_unit_shape {
    size_t n[S24_PLANES_MOST]; /* bytes */
    unsigned count;
    unsigned symbols, first_low, middle, signs; /* which plane; `count` where there is none */
} s24_unit_shape;

s24_unit_shape s24_shape_of(const s24_unit *unit, const s24_cut *cut, bool palette);
s24_value_planes s24_value_planes_of(const s24_unit_shape *s, const s24_cut *cut, uint8_t *const planes[S24_PLANES_MOST]);

/* ---------------------------------------------------------------- scratch memory */

#define S24_CODER_ALIGN 64

typedef struct s24_arena {
    uint8_t *at;
    size_t taken; /* all that was taken, also while there is no memory, and only sizes are wanted */
} s24_arena;

s24_arena s24_arena_of(void *scratch);
void *s24_take(s24_arena *a, size_t bytes);

/* So many bytes, and some that kernels may store too many, up to where the next ones may begin. */
static inline size_t s24_room(size_t bytes)
{
    return (bytes + 2 * S24_CODER_ALIGN - 1) / S24_CODER_ALIGN * S24_CODER_ALIGN;
}

/* Room for all planes together, whatever the cut. */
size_t s24_planes_room(const s24_unit *unit);

/* Where n bytes that are put at `out` end. */
uint8_t *s24_put_bytes(uint8_t *out, const void *bytes, size_t n);

#endif
