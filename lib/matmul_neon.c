/*
 * The sparse product on NEON. Written for it and tested in an emulator, not measured on any machine: what only
 * measurement could tune, such as prefetching, is left out, and dot_max is what AVX2 has. (By the number of instructions
 * tiles would win from three columns on.)
 *
 * A vector is four floats, so that a step of 16 kept values is four times this: a byte of positions, two groups, and
 * the eight elements of B that these pick from.
 *
 *      b0 b1 b2 b3 | b4 b5 b6 b7      two registers, a table of 32 bytes; two groups' positions make 16 indices into it
 */
#include "matmul_kernels.h"

#if S24_ARM64

#include "neon.h"

/* ---------------------------------------------------------------- values and positions */

/* The 16 values of a step. */
INLINE void load_step(s24_dtype from, const unsigned char *values, float32x4_t out[4])
{
    switch (from) {
    case S24_F32:
        S24_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            out[i] = (float32x4_t)vld1q_u8(values + 16 * i); /* bytes: it may be unaligned */
        }
        break;
    case S24_F16:
    case S24_BF16:
        widen_words(from, vld1q_u8(values), out);
        widen_words(from, vld1q_u8(values + 16), out + 2);
        break;
    default: widen_bytes(from, vld1q_u8(values), out); break;
    }
}

INLINE void widen_step(s24_dtype from, unsigned size, const unsigned char *values, float *weights)
{
    float32x4_t w[4];
    (void)size;
    load_step(from, values, w);
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        vst1q_f32(weights + 4 * i, w[i]);
    }
}

/* ---------------------------------------------------------------- vectors */

#define WIDTH 4
#define DOT_AT_ONCE 2 /* with four rows both compilers run out of registers */

typedef float32x4_t vec, weights4;
#define vec_zero() vdupq_n_f32(0)
#define vec_load vld1q_f32
#define vec_load_aligned vld1q_f32
#define vec_store vst1q_f32
#define vec_add vaddq_f32
#define vec_fma(a, b, c) vfmaq_f32(c, a, b)
#define load_weights4 vld1q_f32
#define store4 vst1q_f32

/* A lane has to be a constant where it is written. */
INLINE vec vec_fma_one(weights4 w, unsigned i, vec b, vec c)
{
    switch (i) {
    case 0: return vfmaq_laneq_f32(c, b, w, 0);
    case 1: return vfmaq_laneq_f32(c, b, w, 1);
    case 2: return vfmaq_laneq_f32(c, b, w, 2);
    default: return vfmaq_laneq_f32(c, b, w, 3);
    }
}

/* The sums of the lanes of a, b, c, d. */
INLINE float32x4_t fold4(vec a, vec b, vec c, vec d)
{
    return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}

/* ---------------------------------------------------------------- positions */

/* Sixteen u16. */
typedef struct words {
    uint16x8_t low, high;
} words;

INLINE words words_set1(unsigned x)
{
    return (words){vdupq_n_u16((uint16_t)x), vdupq_n_u16((uint16_t)x)};
}

#define words_zero() words_set1(0)

INLINE void words_store(uint16_t *p, words x)
{
    vst1q_u16(p, x.low);
    vst1q_u16(p + 8, x.high);
}

INLINE words words_add(words a, words b)
{
    return (words){vaddq_u16(a.low, b.low), vaddq_u16(a.high, b.high)};
}

INLINE words words_mul(words a, words b)
{
    return (words){vmulq_u16(a.low, b.low), vmulq_u16(a.high, b.high)};
}

INLINE words step_index(uint32_t word)
{
    static const int16_t shifts[8] = {0, -2, -4, -6, -8, -10, -12, -14};
    static const uint16_t elements[8] = {0, 0, 4, 4, 8, 8, 12, 12}; /* where groups begin */
    const int16x8_t shift = vld1q_s16(shifts);
    const uint16x8_t three = vdupq_n_u16(3), low = vld1q_u16(elements), high = vaddq_u16(low, vdupq_n_u16(16));
    const uint16x8_t p0 = vandq_u16(vshlq_u16(vdupq_n_u16((uint16_t)word), shift), three);
    const uint16x8_t p1 = vandq_u16(vshlq_u16(vdupq_n_u16((uint16_t)(word >> 16)), shift), three);
    return (words){vaddq_u16(p0, low), vaddq_u16(p1, high)};
}

/* Eight elements of B. */
typedef uint8x16x2_t table;

INLINE table load_table(const float *b)
{
    return vld1q_u8_x2((const void *)b);
}

/* Which four of them: the indices of their bytes. */
typedef uint8x16_t picker;

INLINE vec pick(table t, picker which)
{
    return (vec)vqtbl2q_u8(t, which);
}

/* Offsets count all elements of a row, and indices eight. */
INLINE picker offsets_picker(const uint16_t *offsets)
{
    const uint32x4_t element = vandq_u32(vmovl_u16(vld1_u16(offsets)), vdupq_n_u32(7));
    return (picker)vmlaq_n_u32(vdupq_n_u32(0x03020100), element, 0x04040404);
}

#include "matmul_template.h"

/* ---------------------------------------------------------------- checking */

static size_t check(const uint8_t *positions, size_t groups)
{
    size_t g = 0;
    for (; groups - g >= 32; g += 32) {
        const uint8x16_t x = vld1q_u8(positions + g / 2);
        const uint8x16_t low = ascending(vandq_u8(x, vdupq_n_u8(15))), high = ascending(vshrq_n_u8(x, 4));
        if (any(vmvnq_u8(vandq_u8(low, high)))) {
            break;
        }
    }
    while (g < groups) {
        const size_t count = groups - g < 16 ? groups - g : 16;
        uint8_t bytes[8] = {0};
        memcpy(bytes, positions + g / 2, (count + 1) / 2);
        const size_t good = leading(ascending(load_nibbles(bytes)));
        if (good < count) {
            return g + good;
        }
        g += count;
    }
    return groups;
}

/* ---------------------------------------------------------------- one column */

/* The indices of each byte of positions: to load them takes less than half of the instructions that making them takes. */
#define FLOAT(i) 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3
#define ROW(b) {FLOAT((b) & 3), FLOAT((b) >> 2 & 3), FLOAT(4 + ((b) >> 4 & 3)), FLOAT(4 + ((b) >> 6))},
#define ROWS4(b) ROW(b) ROW((b) + 1) ROW((b) + 2) ROW((b) + 3)
#define ROWS16(b) ROWS4(b) ROWS4((b) + 4) ROWS4((b) + 8) ROWS4((b) + 12)
#define ROWS64(b) ROWS16(b) ROWS16((b) + 16) ROWS16((b) + 32) ROWS16((b) + 48)

static const uint8_t indices[256][16] = {ROWS64(0) ROWS64(64) ROWS64(128) ROWS64(192)}; /* 36 are ever used */

INLINE void vector_step(s24_dtype from, const unsigned char *values, const uint8_t *positions, const float *x,
                        float32x4_t sum[4])
{
    float32x4_t w[4];
    load_step(from, values, w);
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        sum[i] = vfmaq_f32(sum[i], w[i], pick(load_table(x + 8 * i), vld1q_u8(indices[positions[i]])));
    }
}

/* Two steps at a time, and a sum for each vector of both: 32 lanes. */
INLINE float vector_row(s24_dtype from, unsigned bytes, const void *values, const uint8_t *p, size_t groups,
                        const float *x)
{
    size_t steps = groups / S24_STEP_GROUPS;
    const size_t rest = groups % S24_STEP_GROUPS;
    const unsigned char *v = values;
    float32x4_t even[4], odd[4];
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        even[i] = odd[i] = vdupq_n_f32(0);
    }
    for (; steps >= 2; steps -= 2, v += 2 * S24_STEP_VALUES * bytes, p += 8, x += 64) {
        vector_step(from, v, p, x, even);
        vector_step(from, v + S24_STEP_VALUES * bytes, p + 4, x + 32, odd);
    }
    if (steps) {
        vector_step(from, v, p, x, even);
        v += S24_STEP_VALUES * bytes;
        p += 4;
        x += 32;
    }
    if (rest) {
        const last_step last = load_last(v, p, rest, bytes);
        vector_step(from, last.values, last.positions, x, odd);
    }
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        even[i] = vaddq_f32(even[i], odd[i]);
    }
    return vaddvq_f32(fold4(even[0], even[1], even[2], even[3]));
}

/* A bad position leads to some other element of x within its step, so that a row is checked after it. */
INLINE bool vector(s24_dtype from, unsigned bytes, const s24_chunk *chunk, const float *x, float *sums)
{
    bool valid = true;
    for (size_t r = 0; r < chunk->rows; r++) {
        const uint8_t *positions = chunk->positions + r * chunk->position_pitch;
        sums[r] = vector_row(from, bytes, (const unsigned char *)chunk->values + r * chunk->value_pitch, positions,
                             chunk->groups, x);
        valid &= check(positions, chunk->groups) == chunk->groups;
    }
    return valid;
}

/* ---------------------------------------------------------------- the sets */

TILES_TO_12

static const s24_matmul_ops ops = {
    .width = 4,
    .tile_bytes = 24 * 1024,
    .dot_max = 4,
    .check = check,
    .tile = {TILE_TABLE_TO_12},
    .dot = {NULL, dot_1, dot_2, dot_3, dot_4},
};

SETS(neon)

#endif
