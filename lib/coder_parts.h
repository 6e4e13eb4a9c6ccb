/*
 * The parts that coding of a unit is made of: splitting elements into planes (coder_planes.c), palettes (coder_palette.c),
 * copies within a plane (coder_copies.c), and entropy coding of bytes: what symbols cost (coder_cost.c), frequencies
 * (coder_frequencies.c), the coder itself (coder_rans.c). coder_encode.c and coder_decode.c put them together: what units
 * are made of is in coder_unit.h, what is chosen for a plane in coder_choose.h, headers are read in coder_header.h.
 *
 *     element of f32       s eeeeeeee mm mmmmm mmmmmmmm mmmmmmmm
 *                          |    \_____/    |      |        |
 *     planes            signs    symbols  middle  low 1    low 0
 *                      1 bit      1 byte  5 bits  1 byte   1 byte a value
 *
 * The exponent and the first bits of the mantissa, the prefix, are what an entropy coder gains from. The rest is close to
 * noise, and mostly only copied.
 */
#ifndef S24_LIB_CODER_PARTS_H
#define S24_LIB_CODER_PARTS_H

#include "coder.h"
#include "dtype.h"
#include "kernels.h"

/* ---------------------------------------------------------------- splitting */

#define S24_CODER_LOWS 7     /* whole bytes below the prefix, at most */
#define S24_CODER_PREFIX 13  /* bits of a prefix, at most */
#define S24_CODER_WINDOW 254 /* prefixes with a symbol of their own: base and those above it */
#define S24_CODER_ESCAPE 255 /* the symbol of a prefix outside of the window */

/* How the bits of an element are cut: [sign] prefix middle low... */
typedef struct s24_cut {
    unsigned bytes;   /* of an element */
    unsigned sign;    /* 1: the highest bit is a sign */
    unsigned prefix;  /* bits; more than 8: a window of them is mapped to symbols, else they are the symbol */
    unsigned middle;  /* bits, 0 to 7 */
    unsigned lows;    /* bytes */
    unsigned base;    /* first prefix of the window, at most 2^prefix - S24_CODER_WINDOW */
} s24_cut;

/* Element bytes, sign, and the prefix of the dtype. False: there is no such cut. */
bool s24_cut_of(s24_cut *cut, unsigned bytes, bool sign, unsigned prefix);

/* The planes of values: a symbol a value, a byte a value and low, fields of bits, the first in the lowest bits. */
typedef struct s24_value_planes {
    uint8_t *symbols;
    uint8_t *lows[S24_CODER_LOWS];
    uint8_t *middle; /* ceil(values * cut.middle / 8) bytes, those of a last byte beyond it 0 */
    uint8_t *signs;  /* ceil(values / 8) */
} s24_value_planes;

/*
 * Splits n values into planes; prefixes outside of the window become S24_CODER_ESCAPE, and go to escapes, in order, which has
 * room for n. Returns how many there are.
 */
size_t s24_split_values(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes,
                        uint16_t *escapes, s24_isa isa);

/* The reverse. Prefixes that were escaped are 0 in values; s24_put_escapes then puts them there. */
void s24_join_values(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values, s24_isa isa);

/* False: there are not as many as `count`, or one is no prefix. escapes: u16, little-endian. */
bool s24_put_escapes(const s24_cut *cut, const uint8_t *symbols, size_t n, const uint8_t *escapes, size_t count,
                     void *values);

/*
 * The same for the first values of n, without escapes; how many it did, a multiple of 64. Nothing beyond the planes and values
 * of these is read or written.
 */
typedef size_t s24_split_kernel(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes);
typedef size_t s24_join_kernel(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values);

/* n fields of `width` bits, 1 to 7, a byte each, to ceil(n * width / 8) bytes, the first in the lowest bits, and back. */
void s24_pack_fields(const uint8_t *fields, size_t n, unsigned width, uint8_t *out);
void s24_unpack_fields(const uint8_t *in, size_t n, unsigned width, uint8_t *fields);

/*
 * Positions: three groups a byte, c0 + 6 c1 + 36 c2 with c the number of the code among 4 8 9 C D E. False: a nibble is no
 * code, or the pad nibble is not 0; a byte is above what its groups make.
 */
bool s24_pack_positions(const uint8_t *nibbles, size_t groups, uint8_t *packed);
bool s24_unpack_positions(const uint8_t *packed, size_t groups, uint8_t *nibbles);

/* ---------------------------------------------------------------- palettes */

#define S24_PALETTE_MOST 256
#define S24_PALETTE_SLOT_BITS 10
#define S24_PALETTE_SLOTS (1u << S24_PALETTE_SLOT_BITS)

/* The different values, in ascending order; slots: of a hash table of them. */
typedef struct s24_palette {
    uint64_t *of, *slots; /* [S24_PALETTE_MOST], [S24_PALETTE_SLOTS] */
    unsigned count;
} s24_palette;

/* Of n values of so many bytes. False: there are too many different ones. */
bool s24_palette_find(s24_palette *palette, unsigned bytes, const void *values, size_t n);
/* The number of each value. */
void s24_palette_symbols(const s24_palette *palette, unsigned bytes, const void *values, size_t n, uint8_t *symbols);

/* ---------------------------------------------------------------- copies */

#define S24_COPY_LEAST 16 /* bytes: what tells of a copy takes some 5 */

/* Numbers in headers: seven bits a byte, the lowest first, 0x80 on all but the last; at most 5 bytes. */
#define S24_NUMBER_BYTES 5
size_t s24_number_write(uint64_t number, uint8_t *out);

typedef struct s24_cursor {
    const uint8_t *at, *end;
    bool bad; /* something was wanted that is not there, or cannot be: what was got is 0 */
} s24_cursor;

uint8_t s24_get_byte(s24_cursor *cursor);
size_t s24_get_number(s24_cursor *cursor);
const uint8_t *s24_get_bytes(s24_cursor *cursor, size_t n); /* NULL: not so many */

/*
 * What of a plane repeats an earlier part of it. A copy is three numbers: how many literals stand before it, its length, and
 * how far back it begins, from 1; it may overlap itself. What follows the last copy are literals.
 */
typedef struct s24_copies {
    size_t count;
    const uint8_t *list; /* 3 numbers a copy */
    size_t list_bytes;
    const uint8_t *literals;
    size_t literal_count;
} s24_copies;

/* Room for a list, and for the table of s24_find_copies. */
static inline size_t s24_copies_list_bytes(size_t n)
{
    return n / 2 + 4 * S24_NUMBER_BYTES;
}
#define S24_COPIES_TABLE 65536 /* u32 */

/* Whether a sample of n bytes tells that there are copies. */
bool s24_may_repeat(const uint8_t *plane, size_t n, uint32_t *table);

/*
 * Finds copies in n bytes; list has room for s24_copies_list_bytes(n), literals for n bytes. count 0: there are none, or
 * not worth it.
 */
void s24_find_copies(const uint8_t *plane, size_t n, s24_copies *copies, uint8_t *list, uint8_t *literals, uint32_t *table);

/* Reads `count` copies of a plane of n bytes over; sets list, list_bytes and literal_count. */
void s24_read_copies(s24_cursor *cursor, size_t count, size_t n, s24_copies *copies);

/* Puts the plane together. False: a distance is beyond its beginning. */
bool s24_put_copies(const s24_copies *copies, uint8_t *plane, size_t n);

/* ---------------------------------------------------------------- entropy coding */

/*
 * rANS (Duda 2013, arXiv 1311.2540) with frequencies of 12 bits, states of 32, and words of 16, interleaved as Giesen
 * does (2014, arXiv 1402.3392): symbol i belongs to lane i mod lanes, all lanes share one sequence of words.
 */
#define S24_RANS_BITS 12
#define S24_RANS_SUM (1u << S24_RANS_BITS)
#define S24_RANS_LOW (1u << 16) /* a state is never lower, and this at the beginning */
#define S24_RANS_LANES 32
#define S24_RANS_CLASSES 16 /* tables of a plane, at most */

/* Frequencies: their sum is S24_RANS_SUM, and none is more than S24_RANS_SUM - 1. */
typedef struct s24_frequencies {
    uint16_t of[256];
} s24_frequencies;

/* Frequencies as near to the counts as can be; at least one is not 0. */
void s24_frequencies_of(s24_frequencies *frequencies, const uint32_t counts[256]);
/* The `symbols` lowest symbols, all the same, as far as can be. symbols: 2 to 256. */
void s24_frequencies_flat(s24_frequencies *frequencies, unsigned symbols);

/* Bytes written, at most S24_FREQUENCIES_BYTES: a length takes at most 25 bits, a frequency 11 more. */
#define S24_FREQUENCIES_BYTES (2 + 255 * 36 / 8 + 1)
size_t s24_frequencies_write(const s24_frequencies *frequencies, uint8_t *out);
/* About as many as that writes of frequencies of the counts. */
size_t s24_frequencies_bytes(const uint32_t counts[256]);
size_t s24_frequencies_write_flat(unsigned symbols, uint8_t *out);
/* Bytes read; 0: malformed. */
size_t s24_frequencies_read(s24_frequencies *frequencies, const uint8_t *in, size_t n);

/* In 1/65536 bits: log2 n, n >= 1; n log2 n; what the counts of so many symbols take, without a table. */
uint32_t s24_log2(uint32_t n);
uint64_t s24_n_log_n(uint32_t n);
uint64_t s24_entropy(const uint32_t *counts, unsigned symbols);

/*
 * A plane for the entropy coder: n symbols, in blocks of 32 << block of which each has a table. classes: a byte a block,
 * the number of its table; NULL: all have table 0.
 */
typedef struct s24_coded_plane {
    size_t n;
    const uint8_t *classes;
    unsigned block;
} s24_coded_plane;

/*
 * x / frequency is (x + add) * inverse >> shift: coder_rans.c has why. numbers: start, the sum of the frequencies before it |
 * shift << 12 | add << 18 | frequency << 20.
 */
typedef struct s24_encode_entry {
    uint32_t inverse, numbers;
} s24_encode_entry;

typedef struct s24_encode_table {
    s24_encode_entry of[256];
} s24_encode_table;

void s24_encode_table_of(s24_encode_table *table, const s24_frequencies *frequencies);

/* By slot: symbol | (slot - start) << 8 | frequency << 20. */
#define S24_SLOTS_BEYOND 8 /* that are written, too, but not read */
typedef struct s24_decode_table {
    uint32_t at[S24_RANS_SUM + S24_SLOTS_BEYOND];
} s24_decode_table;

void s24_decode_table_of(s24_decode_table *table, const s24_frequencies *frequencies);

/* Planes are encoded from the last to the first, and their words written downwards. */
typedef struct s24_rans_encoder {
    uint32_t state[S24_RANS_LANES];
    unsigned lanes;   /* a power of 2 */
    uint16_t *words;  /* the last one written; as many must be free below it as there are symbols, and S24_WORDS_BELOW */
} s24_rans_encoder;

#define S24_WORDS_BELOW 4 /* that kernels may overwrite */

void s24_rans_encode(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables,
                     const uint8_t *symbols, s24_isa isa);

/* How a kernel does steps of 32 symbols with 32 lanes: n symbols, a multiple of 32, from the last to the first. */
typedef void s24_encode_kernel(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables,
                               size_t n, const uint8_t *symbols);

typedef struct s24_rans_decoder {
    uint32_t state[S24_RANS_LANES];
    unsigned lanes;
    const uint8_t *words, *end; /* little-endian */
} s24_rans_decoder;

/* False: there are not words enough. */
bool s24_rans_decode(s24_rans_decoder *decoder, const s24_coded_plane *plane, const s24_decode_table *tables,
                     uint8_t *symbols, s24_isa isa);

/*
 * How a kernel does steps of 32 symbols with 32 lanes, from `first`, a multiple of 32, on: as long as all words that they
 * may take are there. Returns the first symbol that is not done.
 */
typedef size_t s24_decode_kernel(s24_rans_decoder *decoder, const s24_coded_plane *plane, const s24_decode_table *tables,
                                 size_t first, uint8_t *symbols);

/* ---------------------------------------------------------------- kernels */

/* As in kernels.h: instruction set, bytes of an element, splitting, joining; instruction set, encoding, decoding. */
#if S24_X86
#define S24_PLANE_KERNELS(X) \
    X(AVX512, 2, s24_split_avx512_2, s24_join_avx512_2) \
    X(AVX512, 4, s24_split_avx512_4, s24_join_avx512_4) \
    X(AVX2, 2, s24_split_avx2_2, s24_join_avx2_2) \
    X(AVX2, 4, s24_split_avx2_4, s24_join_avx2_4)
#define S24_RANS_KERNELS(X) \
    X(AVX512, s24_encode_avx2, s24_decode_avx512) \
    X(AVX2, s24_encode_avx2, s24_decode_avx2)
#else
#define S24_PLANE_KERNELS(X)
#define S24_RANS_KERNELS(X)
#endif

#define S24_DECLARE_PLANES(isa, bytes, split, join) s24_split_kernel split; s24_join_kernel join;
#define S24_DECLARE_RANS(isa, encode, decode) s24_encode_kernel encode; s24_decode_kernel decode;
S24_PLANE_KERNELS(S24_DECLARE_PLANES)
S24_RANS_KERNELS(S24_DECLARE_RANS)

#endif
