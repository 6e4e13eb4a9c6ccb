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

/* The last 1..7 groups of a row, copied to where a whole step may be read: the values that are not there are 0. */
typedef struct last_step {
    unsigned char values[S24_STEP_VALUES * 4];
    uint8_t positions[4];
} last_step;

static last_step load_last(const unsigned char *values, const uint8_t *positions, size_t groups, size_t bytes)
{
    last_step last = {.values = {0}};
    memcpy(last.values, values, 2 * groups * bytes);
    memcpy(last.positions, positions, (groups + 1) / 2);
    return last;
}

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

/* ---------------------------------------------------------------- decoding */

/* The offsets of four groups, less those of their first elements. */
INLINE uint16x8_t scaled_positions(const uint8_t *positions, uint16x8_t scale)
{
    static const int16_t shifts[8] = {0, -2, -4, -6, -8, -10, -12, -14};
    uint16_t bits;
    memcpy(&bits, positions, sizeof bits);
    return vmulq_u16(vandq_u16(vshlq_u16(vdupq_n_u16(bits), vld1q_s16(shifts)), vdupq_n_u16(3)), scale);
}

INLINE void decode_step(s24_dtype from, const unsigned char *values, const uint8_t *positions, uint16x8_t scale,
                        uint16x8_t first[2], float *weights, uint16_t *offsets)
{
    float32x4_t w[4];
    load_step(from, values, w);
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        vst1q_f32(weights + 4 * i, w[i]);
    }
    vst1q_u16(offsets, vaddq_u16(first[0], scaled_positions(positions, scale)));
    vst1q_u16(offsets + 8, vaddq_u16(first[1], scaled_positions(positions + 2, scale)));
}

INLINE void decode(s24_dtype from, unsigned bytes, const s24_chunk *chunk)
{
    static const uint16_t elements[8] = {0, 0, 4, 4, 8, 8, 12, 12}; /* where groups begin */
    const size_t steps = chunk->groups / S24_STEP_GROUPS, rest = chunk->groups % S24_STEP_GROUPS;
    const uint16x8_t scale = vdupq_n_u16((uint16_t)chunk->scale);
    const uint16x8_t half = vdupq_n_u16((uint16_t)(2 * S24_STEP_GROUPS * chunk->scale)), whole = vaddq_u16(half, half);
    for (size_t r = 0; r < chunk->rows; r++) {
        const unsigned char *v = (const unsigned char *)chunk->values + r * chunk->value_pitch;
        const uint8_t *p = chunk->positions + r * chunk->position_pitch;
        float *w = chunk->weights + r * chunk->stride;
        uint16_t *o = chunk->offsets + r * chunk->stride;
        uint16x8_t first[2] = {vmulq_u16(vld1q_u16(elements), scale)};
        first[1] = vaddq_u16(first[0], half);
        for (size_t s = 0; s < steps; s++, v += bytes * S24_STEP_VALUES, p += 4, w += S24_STEP_VALUES) {
            decode_step(from, v, p, scale, first, w, o + S24_STEP_VALUES * s);
            first[0] = vaddq_u16(first[0], whole);
            first[1] = vaddq_u16(first[1], whole);
        }
        if (rest) {
            const last_step last = load_last(v, p, rest, bytes);
            decode_step(from, last.values, last.positions, scale, first, w, o + S24_STEP_VALUES * steps);
        }
    }
}

/* ---------------------------------------------------------------- many columns */

/*
 * Each row of B is loaded once a weight, which is what bounds this: 12 sums, and no need for more than one set of them
 * except where a row is so short that additions would wait for one another.
 */
#define ADD_ROW(e) /* the lane has to be a constant where it is written */ \
    { \
        const float *row = (const float *)(const void *)((const char *)b + offsets[i + (e)]); \
        S24_UNROLL \
        for (unsigned j = 0; j < vectors; j++) { \
            sum[(e) % sets][j] = vfmaq_laneq_f32(sum[(e) % sets][j], vld1q_f32(row + 4 * j), w, e); \
        } \
    }

INLINE void tile(const unsigned vectors, const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first)
{
    const unsigned sets = vectors <= 3 ? 4 : vectors <= 6 ? 2 : 1;
    for (size_t r = 0; r < chunk->rows; r++, c += 4 * vectors) {
        const float *weights = chunk->weights + r * chunk->stride;
        const uint16_t *offsets = chunk->offsets + r * chunk->stride;
        float32x4_t sum[4][S24_TILE_VECTORS];
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            sum[0][j] = sum[1][j] = sum[2][j] = sum[3][j] = vdupq_n_f32(0);
        }
        for (size_t i = 0; i < S24_STEP_VALUES * steps; i += 4) {
            const float32x4_t w = vld1q_f32(weights + i);
            ADD_ROW(0)
            ADD_ROW(1)
            ADD_ROW(2)
            ADD_ROW(3)
        }
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            const float32x4_t even = sets == 4 ? vaddq_f32(sum[0][j], sum[2][j]) : sum[0][j];
            const float32x4_t odd = sets == 4 ? vaddq_f32(sum[1][j], sum[3][j]) : sum[1][j];
            const float32x4_t total = sets > 1 ? vaddq_f32(even, odd) : even;
            vst1q_f32(c + 4 * j, first ? total : vaddq_f32(vld1q_f32(c + 4 * j), total));
        }
    }
}

#define TILE(n) \
    static void tile_##n(const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first) \
    { \
        tile(n, chunk, steps, b, c, first); \
    }

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)

/* ---------------------------------------------------------------- few columns */

/* Eight elements of B. */
INLINE uint8x16x2_t load_table(const float *b)
{
    return vld1q_u8_x2((const void *)b);
}

/* Four of them, by the indices of their bytes. */
INLINE float32x4_t pick(uint8x16x2_t table, uint8x16_t index)
{
    return (float32x4_t)vqtbl2q_u8(table, index);
}

/* Four offsets as indices: of eight elements, which offsets count in a row, byte by byte. */
INLINE uint8x16_t index_of(const uint16_t *offsets)
{
    const uint32x4_t element = vandq_u32(vmovl_u16(vld1_u16(offsets)), vdupq_n_u32(7));
    return (uint8x16_t)vmlaq_n_u32(vdupq_n_u32(0x03020100), element, 0x04040404);
}

/* The sums of the lanes of four vectors. */
INLINE float32x4_t fold4(const float32x4_t x[4])
{
    return vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3]));
}

/* Two rows at a time: 8 sums, and of four columns a table each. (With four rows both compilers run out of registers.) */
INLINE void dot(const unsigned cols, const s24_chunk *chunk, size_t steps, const float *b, size_t pitch,
                float sums[S24_DOT_ROWS][S24_DOT_COLS])
{
    for (unsigned first = 0; first < S24_DOT_ROWS; first += 2) {
        const float *w0 = chunk->weights + first * chunk->stride, *w1 = w0 + chunk->stride;
        const uint16_t *o0 = chunk->offsets + first * chunk->stride, *o1 = o0 + chunk->stride;
        float32x4_t sum[2][S24_DOT_COLS];
        S24_UNROLL
        for (unsigned j = 0; j < S24_DOT_COLS; j++) {
            sum[0][j] = sum[1][j] = vdupq_n_f32(0);
        }
        for (size_t at = 0; at < S24_STEP_VALUES * steps; at += 4) {
            const uint8x16_t i0 = index_of(o0 + at), i1 = index_of(o1 + at);
            S24_UNROLL
            for (unsigned j = 0; j < cols; j++) {
                const uint8x16x2_t table = load_table(b + j * pitch + 2 * at);
                sum[0][j] = vfmaq_f32(sum[0][j], vld1q_f32(w0 + at), pick(table, i0));
                sum[1][j] = vfmaq_f32(sum[1][j], vld1q_f32(w1 + at), pick(table, i1));
            }
        }
        vst1q_f32(sums[first], fold4(sum[0]));
        vst1q_f32(sums[first + 1], fold4(sum[1]));
    }
}

#define DOT(n) \
    static void dot_##n(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch, \
                        float sums[S24_DOT_ROWS][S24_DOT_COLS]) \
    { \
        dot(n, chunk, steps, b, pitch, sums); \
    }

DOT(1)
DOT(2)
DOT(3)
DOT(4)

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
INLINE float vector(s24_dtype from, unsigned bytes, const void *values, const uint8_t *p, size_t groups, const float *x)
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
    return vaddvq_f32(fold4(even));
}

/* A bad position leads to some other element of x within its step, so that a row is checked after it. */
INLINE bool vector_rows(s24_dtype from, unsigned bytes, const s24_chunk *chunk, const float *x, float *sums)
{
    bool valid = true;
    for (size_t r = 0; r < chunk->rows; r++) {
        const uint8_t *positions = chunk->positions + r * chunk->position_pitch;
        sums[r] = vector(from, bytes, (const unsigned char *)chunk->values + r * chunk->value_pitch, positions,
                         chunk->groups, x);
        valid &= check(positions, chunk->groups) == chunk->groups;
    }
    return valid;
}

/* ---------------------------------------------------------------- the sets */

static const s24_matmul_ops ops = {
    .width = 4,
    .tile_bytes = 24 * 1024,
    .dot_max = 4,
    .check = check,
    .tile = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8, tile_9, tile_10, tile_11, tile_12},
    .dot = {NULL, dot_1, dot_2, dot_3, dot_4},
};

#define SET(name, dtype, bytes) \
    static void decode_##name(const s24_chunk *chunk) \
    { \
        decode(S24_##dtype, bytes, chunk); \
    } \
    static bool vector_##name(const s24_chunk *chunk, const float *x, float *sums) \
    { \
        return vector_rows(S24_##dtype, bytes, chunk, x, sums); \
    } \
    const s24_matmul_kernel s24_matmul_##name##_neon = {&ops, decode_##name, vector_##name};

SET(f32, F32, 4)
SET(f16, F16, 2)
SET(bf16, BF16, 2)
SET(f8e4m3, F8E4M3, 1)
SET(f8e5m2, F8E5M2, 1)
SET(i8, I8, 1)

#endif
