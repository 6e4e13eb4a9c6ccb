/*
 * The sparse product on AVX2, FMA and F16C. A step of 16 kept values is two registers; positions are shifted into their
 * lanes as on AVX-512 (matmul_avx512.c has the picture). There is no permutation from two registers, so that 8 values,
 * of groups g0 .. g3, are picked from their 16 elements of B by two permutations within 128-bit lanes and a blend:
 *
 *      low  = g0 | g2     vpermilps by positions -> b0 b0 .. .. | b2 b2 .. ..
 *      high = g1 | g3     vpermilps by positions -> .. .. b1 b1 | .. .. b3 b3
 */
#include "matmul_kernels.h"

#if S24_X86

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline)) AVX2

/* ---------------------------------------------------------------- 8 kept values as f32 */

INLINE __m128i load_16_bytes(const void *p)
{
    return _mm_loadu_si128(p);
}

INLINE __m128i load_8_bytes(const void *p)
{
    return _mm_loadl_epi64(p);
}

INLINE __m256 load_f32(const void *p)
{
    return _mm256_loadu_ps(p);
}

INLINE __m256 load_f16(const void *p)
{
    return _mm256_cvtph_ps(load_16_bytes(p));
}

INLINE __m256 load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16_bytes(p)), 16));
}

/* The upper byte of an f16. */
INLINE __m256 load_f8e5m2(const void *p)
{
    return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(load_8_bytes(p)), 8));
}

/* As an f16 of the same exponent field: 2^(15 - 7) too small, subnormals included. All ones is NaN. */
INLINE __m256 load_f8e4m3(const void *p)
{
    const __m128i x = _mm_cvtepi8_epi16(load_8_bytes(p));
    const __m128i sign = _mm_and_si128(x, _mm_set1_epi16((short)0x8000));
    const __m128i key = _mm_and_si128(x, _mm_set1_epi16(0x7f));
    const __m128i nan = _mm_and_si128(_mm_cmpeq_epi16(key, _mm_set1_epi16(0x7f)), _mm_set1_epi16(0x7e00));
    const __m128i half = _mm_or_si128(_mm_or_si128(sign, nan), _mm_slli_epi16(key, 7));
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
}

INLINE __m256 load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8_bytes(p)));
}

/* ---------------------------------------------------------------- positions */

INLINE uint32_t load_word(const uint8_t *positions)
{
    uint32_t word;
    memcpy(&word, positions, sizeof word);
    return word;
}

/* Lane i: position 8 * half + i of a word in its lowest two bits. vpermilps looks at no others. */
INLINE __m256i shift_positions(uint32_t word, unsigned half)
{
    const __m256i shift = half ? _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30)
                               : _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    return _mm256_srlv_epi32(_mm256_set1_epi32((int)word), shift);
}

/* The 16 element indices (0..31) of a step, as u16. */
INLINE __m256i step_index(uint32_t word)
{
    const __m256i base = _mm256_setr_epi16(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    const __m256i three = _mm256_set1_epi32(3);
    const __m256i low = _mm256_and_si256(shift_positions(word, 0), three);
    const __m256i high = _mm256_and_si256(shift_positions(word, 1), three);
    return _mm256_or_si256(_mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8), base);
}

static bool valid_nibble(unsigned nibble)
{
    return (nibble & 3) < nibble >> 2;
}

static AVX2 size_t check(const uint8_t *positions, size_t groups)
{
    /* Bytes to look a nibble up in: 0 for 4 8 9 C D E, 0xff otherwise. */
    const __m256i table = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, -1, -1, -1, 0, -1, -1, -1, 0, 0, -1, -1, 0, 0, 0, -1));
    const __m256i low = _mm256_set1_epi8(15);
    size_t g = 0;
    for (; g + 64 <= groups; g += 64) {
        const __m256i bytes = _mm256_loadu_si256((const void *)(positions + g / 2));
        const __m256i a = _mm256_shuffle_epi8(table, _mm256_and_si256(bytes, low));
        const __m256i b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low));
        if (_mm256_movemask_epi8(_mm256_or_si256(a, b))) {
            break;
        }
    }
    while (g < groups && valid_nibble(positions[g / 2] >> (g % 2 * 4) & 15)) {
        g++;
    }
    return g;
}

/* ---------------------------------------------------------------- decoding */

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

#define DECODE(name, bytes, load) \
    INLINE void decode_step_##name(const unsigned char *values, const uint8_t *positions, __m256i scale, __m256i base, \
                                   float *weights, uint16_t *offsets) \
    { \
        const __m256i index = step_index(load_word(positions)); \
        _mm256_storeu_ps(weights, load(values)); \
        _mm256_storeu_ps(weights + 8, load(values + 8 * bytes)); \
        _mm256_storeu_si256((void *)offsets, _mm256_add_epi16(_mm256_mullo_epi16(index, scale), base)); \
    } \
    static AVX2 void decode_##name(const s24_chunk *chunk) \
    { \
        const size_t steps = chunk->groups / S24_STEP_GROUPS, rest = chunk->groups % S24_STEP_GROUPS; \
        const __m256i scale = _mm256_set1_epi16((short)chunk->scale); \
        const __m256i advance = _mm256_set1_epi16((short)(4 * S24_STEP_GROUPS * chunk->scale)); \
        for (size_t r = 0; r < chunk->rows; r++) { \
            const unsigned char *v = (const unsigned char *)chunk->values + r * chunk->value_pitch; \
            const uint8_t *p = chunk->positions + r * chunk->position_pitch; \
            float *w = chunk->weights + r * chunk->stride; \
            uint16_t *o = chunk->offsets + r * chunk->stride; \
            __m256i base = _mm256_setzero_si256(); \
            for (size_t s = 0; s < steps; s++) { \
                decode_step_##name(v + bytes * S24_STEP_VALUES * s, p + 4 * s, scale, base, w + S24_STEP_VALUES * s, \
                                   o + S24_STEP_VALUES * s); \
                base = _mm256_add_epi16(base, advance); \
            } \
            if (rest) { \
                const last_step last = load_last(v + bytes * S24_STEP_VALUES * steps, p + 4 * steps, rest, bytes); \
                decode_step_##name(last.values, last.positions, scale, base, w + S24_STEP_VALUES * steps, \
                                   o + S24_STEP_VALUES * steps); \
            } \
        } \
    }

/* ---------------------------------------------------------------- many columns */

/* As on AVX-512, in half as wide vectors: 12 sums, a weight, and rows of B as operands of the FMA fill 16 registers. */
INLINE void tile(const unsigned vectors, const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first)
{
    const unsigned sets = vectors <= 3 ? 4 : vectors <= 6 ? 2 : 1;
    for (size_t r = 0; r < chunk->rows; r++, c += 8 * vectors) {
        const float *weights = chunk->weights + r * chunk->stride;
        const uint16_t *offsets = chunk->offsets + r * chunk->stride;
        __m256 sum[4][S24_TILE_VECTORS];
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            sum[0][j] = sum[1][j] = sum[2][j] = sum[3][j] = _mm256_setzero_ps();
        }
        for (size_t i = 0; i < S24_STEP_VALUES * steps; i += 4) {
            S24_UNROLL
            for (unsigned e = 0; e < 4; e++) {
                const float *row = (const float *)(const void *)((const char *)b + offsets[i + e]);
                const __m256 w = _mm256_set1_ps(weights[i + e]);
                S24_UNROLL
                for (unsigned j = 0; j < vectors; j++) {
                    sum[e % sets][j] = _mm256_fmadd_ps(w, _mm256_load_ps(row + 8 * j), sum[e % sets][j]);
                }
            }
        }
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            const __m256 even = sets == 4 ? _mm256_add_ps(sum[0][j], sum[2][j]) : sum[0][j];
            const __m256 odd = sets == 4 ? _mm256_add_ps(sum[1][j], sum[3][j]) : sum[1][j];
            const __m256 total = sets > 1 ? _mm256_add_ps(even, odd) : even;
            _mm256_store_ps(c + 8 * j, first ? total : _mm256_add_ps(_mm256_load_ps(c + 8 * j), total));
        }
    }
}

#define TILE(n) \
    static AVX2 void tile_##n(const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first) \
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

/* 16 elements of B as the two tables of the picture above. */
typedef struct table {
    __m256 low, high;
} table;

INLINE table load_table(const float *b)
{
    const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
    return (table){_mm256_permute2f128_ps(b0, b1, 0x20), _mm256_permute2f128_ps(b0, b1, 0x31)};
}

INLINE __m256 pick(table t, __m256i positions)
{
    return _mm256_blend_ps(_mm256_permutevar_ps(t.low, positions), _mm256_permutevar_ps(t.high, positions), 0xcc);
}

/* The sums of the lanes of a, b, c, d. */
INLINE __m128 fold4(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

/* Two rows at a time: 8 sums, two tables, two registers each of weights and positions. */
INLINE void dot(const unsigned cols, const s24_chunk *chunk, size_t steps, const float *b, size_t pitch,
                float sums[S24_DOT_ROWS][S24_DOT_COLS])
{
    for (unsigned first = 0; first < S24_DOT_ROWS; first += 2) {
        __m256 sum[2][S24_DOT_COLS];
        S24_UNROLL
        for (unsigned j = 0; j < S24_DOT_COLS; j++) {
            sum[0][j] = sum[1][j] = _mm256_setzero_ps();
        }
        for (size_t at = 0; at < S24_STEP_VALUES * steps; at += 8) {
            const size_t at0 = first * chunk->stride + at, at1 = at0 + chunk->stride;
            const __m256 w0 = _mm256_loadu_ps(chunk->weights + at0), w1 = _mm256_loadu_ps(chunk->weights + at1);
            const __m256i p0 = _mm256_cvtepu16_epi32(load_16_bytes(chunk->offsets + at0));
            const __m256i p1 = _mm256_cvtepu16_epi32(load_16_bytes(chunk->offsets + at1));
            S24_UNROLL
            for (unsigned j = 0; j < cols; j++) {
                const table t = load_table(b + j * pitch + 2 * at);
                sum[0][j] = _mm256_fmadd_ps(w0, pick(t, p0), sum[0][j]);
                sum[1][j] = _mm256_fmadd_ps(w1, pick(t, p1), sum[1][j]);
            }
        }
        _mm_storeu_ps(sums[first], fold4(sum[0][0], sum[0][1], sum[0][2], sum[0][3]));
        _mm_storeu_ps(sums[first + 1], fold4(sum[1][0], sum[1][1], sum[1][2], sum[1][3]));
    }
}

#define DOT(n) \
    static AVX2 void dot_##n(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch, \
                             float sums[S24_DOT_ROWS][S24_DOT_COLS]) \
    { \
        dot(n, chunk, steps, b, pitch, sums); \
    }

DOT(1)
DOT(2)
DOT(3)
DOT(4)

/* ---------------------------------------------------------------- one column */

/* Ahead of their use, for the second-level cache: see matmul_avx512.c. */
#define AHEAD_VALUES 16384
#define AHEAD_POSITIONS 4096

/* Two steps at a time, a sum for each half of each. */
#define VECTOR(name, bytes, load) \
    INLINE __m256 vector_half_##name(const unsigned char *v, uint32_t word, const unsigned half, const float *x, \
                                     __m256 sum) \
    { \
        const __m256 picked = pick(load_table(x + 16 * half), shift_positions(word, half)); \
        return _mm256_fmadd_ps(load(v + 8 * bytes * half), picked, sum); \
    } \
    static AVX2 float vector_##name(const void *values, const uint8_t *p, size_t groups, const float *x) \
    { \
        const size_t steps = groups / S24_STEP_GROUPS, rest = groups % S24_STEP_GROUPS; \
        const unsigned char *v = values; \
        __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a; \
        size_t s = 0; \
        for (; s + 2 <= steps; s += 2, v += 2 * S24_STEP_VALUES * bytes, p += 8, x += 64) { \
            _mm_prefetch((const char *)p + AHEAD_POSITIONS, _MM_HINT_T1); \
            _mm_prefetch((const char *)v + AHEAD_VALUES, _MM_HINT_T1); \
            if (bytes == 4) { \
                _mm_prefetch((const char *)v + AHEAD_VALUES + 64, _MM_HINT_T1); \
            } \
            a = vector_half_##name(v, load_word(p), 0, x, a); \
            b = vector_half_##name(v, load_word(p), 1, x, b); \
            c = vector_half_##name(v + S24_STEP_VALUES * bytes, load_word(p + 4), 0, x + 32, c); \
            d = vector_half_##name(v + S24_STEP_VALUES * bytes, load_word(p + 4), 1, x + 32, d); \
        } \
        for (; s < steps; s++, v += S24_STEP_VALUES * bytes, p += 4, x += 32) { \
            a = vector_half_##name(v, load_word(p), 0, x, a); \
            b = vector_half_##name(v, load_word(p), 1, x, b); \
        } \
        if (rest) { \
            const last_step last = load_last(v, p, rest, bytes); \
            c = vector_half_##name(last.values, load_word(last.positions), 0, x, c); \
            d = vector_half_##name(last.values, load_word(last.positions), 1, x, d); \
        } \
        const __m128 sums = fold4(a, b, c, d); \
        const __m128 pairs = _mm_add_ps(sums, _mm_movehl_ps(sums, sums)); \
        return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs))); \
    }

/* ---------------------------------------------------------------- the sets */

static const s24_matmul_ops ops = {
    .width = 8,
    .tile_bytes = 24 * 1024,
    .dot_max = 4,
    .check = check,
    .tile = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8, tile_9, tile_10, tile_11, tile_12},
    .dot = {NULL, dot_1, dot_2, dot_3, dot_4},
};

#define SET(name, bytes) \
    DECODE(name, bytes, load_##name) \
    VECTOR(name, bytes, load_##name) \
    const s24_matmul_kernel s24_matmul_##name##_avx2 = {&ops, decode_##name, vector_##name};

SET(f32, 4)
SET(f16, 2)
SET(bf16, 2)
SET(f8e4m3, 1)
SET(f8e5m2, 1)
SET(i8, 1)

#endif
