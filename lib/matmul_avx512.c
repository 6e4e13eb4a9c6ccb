/*
 * The sparse product on AVX-512 (F, BW, DQ and VL). The picture is of one step: 32 elements of a row, 16 kept values in
 * one register.
 *
 *   word     ... g1: p1 p0 | g0: p1 p0      32 bits of positions, broadcast
 *   >> 2i    lane i has position i in its lowest two bits      (vpsrlvd)
 *   index    (lane & 3) | 4 * (i / 2)                          (vpternlogd): 0..31, the element within the step
 *
 * For one column, or a few, the 32 elements of B are two registers and vpermi2ps picks the 16 that meet kept weights.
 * For many columns the index times the length of a row of the tile says which row of B a weight is multiplied with.
 */
#include "matmul_kernels.h"

#if S24_X86

#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE static inline __attribute__((always_inline)) AVX512

/* ---------------------------------------------------------------- 16 kept values as f32 */

INLINE __m512 load_f32(const void *p, __mmask16 mask)
{
    return _mm512_maskz_loadu_ps(mask, p);
}

INLINE __m512 load_f16(const void *p, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
}

INLINE __m512 load_bf16(const void *p, __mmask16 mask)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
}

/* The upper byte of an f16. */
INLINE __m512 load_f8e5m2(const void *p, __mmask16 mask)
{
    return _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_maskz_loadu_epi8(mask, p)), 8));
}

/* As an f16 of the same exponent field: 2^(15 - 7) too small, subnormals included. All ones is NaN. */
INLINE __m512 load_f8e4m3(const void *p, __mmask16 mask)
{
    const __m256i x = _mm256_cvtepi8_epi16(_mm_maskz_loadu_epi8(mask, p));
    const __m256i sign = _mm256_and_si256(x, _mm256_set1_epi16((short)0x8000));
    const __m256i key = _mm256_and_si256(x, _mm256_set1_epi16(0x7f));
    const __mmask16 nan = _mm256_cmpeq_epi16_mask(key, _mm256_set1_epi16(0x7f));
    const __m256i half = _mm256_or_si256(sign, _mm256_slli_epi16(key, 7));
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_mask_mov_epi16(half, nan, _mm256_set1_epi16(0x7e00))),
                         _mm512_set1_ps(256));
}

INLINE __m512 load_i8(const void *p, __mmask16 mask)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, p)));
}

/* ---------------------------------------------------------------- positions */

INLINE __m512i step_index(uint32_t word)
{
    const __m512i shift = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i base = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    /* 0xea: (a & b) | c */
    return _mm512_ternarylogic_epi32(_mm512_srlv_epi32(_mm512_set1_epi32((int)word), shift), _mm512_set1_epi32(3), base,
                                     0xea);
}

INLINE uint32_t load_word(const uint8_t *positions)
{
    uint32_t word;
    memcpy(&word, positions, sizeof word);
    return word;
}

/* The nibbles of the last `groups` (1..7) groups of a row. What is behind them says where weights 0 are, no more. */
INLINE uint32_t load_last_word(const uint8_t *positions, size_t groups)
{
    uint32_t word = 0;
    memcpy(&word, positions, (groups + 1) / 2);
    return word;
}

/* Bytes to look a nibble up in: 0 for 4 8 9 C D E, 0xff otherwise. */
INLINE __m512i invalid_nibbles(void)
{
    return _mm512_broadcast_i32x4(_mm_setr_epi8(-1, -1, -1, -1, 0, -1, -1, -1, 0, 0, -1, -1, 0, 0, 0, -1));
}

static AVX512 size_t check(const uint8_t *positions, size_t groups)
{
    const __m512i table = invalid_nibbles(), low = _mm512_set1_epi8(15);
    for (size_t done = 0; done < groups; done += 128) {
        const size_t left = groups - done;
        /* cppcheck-suppress shiftTooManyBits ; left is at least 1 */
        const uint64_t lows = left >= 128 ? UINT64_MAX : UINT64_MAX >> (64 - (left + 1) / 2);
        const uint64_t highs = left >= 128 ? UINT64_MAX : left < 2 ? 0 : UINT64_MAX >> (64 - left / 2);
        const __m512i bytes = _mm512_maskz_loadu_epi8(lows, positions + done / 2);
        const __m512i a = _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, low));
        const __m512i b = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low));
        const uint64_t bad_low = _mm512_movepi8_mask(a) & lows, bad_high = _mm512_movepi8_mask(b) & highs;
        if (bad_low | bad_high) {
            const size_t first_low = bad_low ? 2 * (size_t)__builtin_ctzll(bad_low) : SIZE_MAX;
            const size_t first_high = bad_high ? 2 * (size_t)__builtin_ctzll(bad_high) + 1 : SIZE_MAX;
            return done + (first_low < first_high ? first_low : first_high);
        }
    }
    return groups;
}

/* ---------------------------------------------------------------- decoding */

#define DECODE(name, bytes, load) \
    INLINE void decode_step_##name(const unsigned char *values, uint32_t word, __mmask16 mask, __m256i scale, \
                                   __m256i base, float *weights, uint16_t *offsets) \
    { \
        const __m256i index = _mm512_cvtepi32_epi16(step_index(word)); \
        _mm512_storeu_ps(weights, load(values, mask)); \
        _mm256_storeu_si256((void *)offsets, _mm256_add_epi16(_mm256_mullo_epi16(index, scale), base)); \
    } \
    static AVX512 void decode_##name(const s24_chunk *chunk) \
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
                decode_step_##name(v, load_word(p), 0xffff, scale, base, w, o); \
                base = _mm256_add_epi16(base, advance); \
                v += bytes * S24_STEP_VALUES; \
                p += 4; \
                w += S24_STEP_VALUES; \
                o += S24_STEP_VALUES; \
            } \
            if (rest) { \
                decode_step_##name(v, load_last_word(p, rest), (__mmask16)((1u << 2 * rest) - 1), scale, base, w, o); \
            } \
        } \
    }

/* ---------------------------------------------------------------- many columns */

/*
 * A row of the tile is `vectors` registers, and so is the sum that one row of A gathers from it: the only loads of the
 * loop are rows of B, as operands of the FMA. Narrow tiles keep the sum two or four times, for every second or fourth
 * entry: an FMA takes four cycles, and fewer chains than that (eight, where two start a cycle) would leave it waiting.
 */
INLINE void tile(const unsigned vectors, const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first)
{
    const unsigned sets = vectors <= 3 ? 4 : vectors <= 6 ? 2 : 1;
    for (size_t r = 0; r < chunk->rows; r++, c += 16 * vectors) {
        const float *weights = chunk->weights + r * chunk->stride;
        const uint16_t *offsets = chunk->offsets + r * chunk->stride;
        __m512 sum[4][S24_TILE_VECTORS];
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            sum[0][j] = sum[1][j] = sum[2][j] = sum[3][j] = _mm512_setzero_ps();
        }
        for (size_t i = 0; i < S24_STEP_VALUES * steps; i += 4) {
            S24_UNROLL
            for (unsigned e = 0; e < 4; e++) {
                const float *row = (const float *)(const void *)((const char *)b + offsets[i + e]);
                const __m512 w = _mm512_set1_ps(weights[i + e]);
                S24_UNROLL
                for (unsigned j = 0; j < vectors; j++) {
                    sum[e % sets][j] = _mm512_fmadd_ps(w, _mm512_load_ps(row + 16 * j), sum[e % sets][j]);
                }
            }
        }
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            const __m512 even = sets == 4 ? _mm512_add_ps(sum[0][j], sum[2][j]) : sum[0][j];
            const __m512 odd = sets == 4 ? _mm512_add_ps(sum[1][j], sum[3][j]) : sum[1][j];
            const __m512 total = sets > 1 ? _mm512_add_ps(even, odd) : even;
            _mm512_store_ps(c + 16 * j, first ? total : _mm512_add_ps(_mm512_load_ps(c + 16 * j), total));
        }
    }
}

#define TILE(n) \
    static AVX512 void tile_##n(const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first) \
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

/* ---------------------------------------------------------------- few columns */

/* The sums of the lanes of a, b, c, d. */
INLINE __m128 fold4(__m512 a, __m512 b, __m512 c, __m512 d)
{
    /* a0+a2 b0+b2 a1+a3 b1+b3 | ... */
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* 4 rows by `cols` columns: each pair of registers of B serves four rows, each register of weights all columns. */
INLINE void dot(const unsigned cols, const s24_chunk *chunk, size_t steps, const float *b, size_t pitch,
                float sums[S24_DOT_ROWS][S24_DOT_COLS])
{
    __m512 sum[S24_DOT_ROWS][S24_DOT_COLS];
    S24_UNROLL
    for (unsigned r = 0; r < S24_DOT_ROWS; r++) {
        S24_UNROLL
        for (unsigned j = 0; j < S24_DOT_COLS; j++) {
            sum[r][j] = _mm512_setzero_ps();
        }
    }
    for (size_t s = 0; s < steps; s++) {
        const size_t at = S24_STEP_VALUES * s;
        __m512 w[S24_DOT_ROWS];
        __m512i index[S24_DOT_ROWS];
        S24_UNROLL
        for (unsigned r = 0; r < S24_DOT_ROWS; r++) {
            const void *offsets = chunk->offsets + r * chunk->stride + at;
            w[r] = _mm512_loadu_ps(chunk->weights + r * chunk->stride + at);
            index[r] = _mm512_cvtepu16_epi32(_mm256_loadu_si256(offsets));
        }
        S24_UNROLL
        for (unsigned j = 0; j < cols; j++) {
            const float *column = b + j * pitch + 2 * at;
            const __m512 b0 = _mm512_loadu_ps(column), b1 = _mm512_loadu_ps(column + 16);
            S24_UNROLL
            for (unsigned r = 0; r < S24_DOT_ROWS; r++) {
                sum[r][j] = _mm512_fmadd_ps(w[r], _mm512_permutex2var_ps(b0, index[r], b1), sum[r][j]);
            }
        }
    }
    S24_UNROLL
    for (unsigned r = 0; r < S24_DOT_ROWS; r++) {
        _mm_storeu_ps(sums[r], fold4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]));
    }
}

#define DOT(n) \
    static AVX512 void dot_##n(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch, \
                               float sums[S24_DOT_ROWS][S24_DOT_COLS]) \
    { \
        dot(n, chunk, steps, b, pitch, sums); \
    }

DOT(1)
DOT(2)
DOT(3)
DOT(4)

/* ---------------------------------------------------------------- one column */

/*
 * Ahead of their use, for the second-level cache: measured, 16 KiB (the next rows) and no prefetch into the first level
 * read a cold matrix as fast as a loop that does nothing else; hardware prefetchers alone reach half of that.
 */
#define AHEAD_VALUES 16384
#define AHEAD_POSITIONS 4096

/* Four steps at a time, a sum each. */
#define VECTOR(name, bytes, load) \
    INLINE __m512 vector_step_##name(const unsigned char *v, uint32_t word, __mmask16 mask, const float *x, \
                                     __m512 sum) \
    { \
        const __m512 picked = _mm512_permutex2var_ps(_mm512_loadu_ps(x), step_index(word), _mm512_loadu_ps(x + 16)); \
        return _mm512_fmadd_ps(load(v, mask), picked, sum); \
    } \
    static AVX512 float vector_##name(const void *values, const uint8_t *p, size_t groups, const float *x) \
    { \
        const size_t steps = groups / S24_STEP_GROUPS, rest = groups % S24_STEP_GROUPS; \
        const unsigned char *v = values; \
        __m512 sum[4]; \
        size_t s = 0; \
        S24_UNROLL \
        for (unsigned i = 0; i < 4; i++) { \
            sum[i] = _mm512_setzero_ps(); \
        } \
        for (; s + 4 <= steps; s += 4, v += 4 * S24_STEP_VALUES * bytes, p += 16, x += 128) { \
            _mm_prefetch((const char *)p + AHEAD_POSITIONS, _MM_HINT_T1); \
            S24_UNROLL \
            for (unsigned i = 0; i < 4; i++) { \
                if (i * S24_STEP_VALUES * bytes % 64 == 0) { \
                    _mm_prefetch((const char *)v + i * S24_STEP_VALUES * bytes + AHEAD_VALUES, _MM_HINT_T1); \
                } \
                sum[i] = vector_step_##name(v + i * S24_STEP_VALUES * bytes, load_word(p + 4 * i), 0xffff, x + 32 * i, \
                                            sum[i]); \
            } \
        } \
        for (; s < steps; s++, v += S24_STEP_VALUES * bytes, p += 4, x += 32) { \
            sum[0] = vector_step_##name(v, load_word(p), 0xffff, x, sum[0]); \
        } \
        if (rest) { \
            sum[1] = vector_step_##name(v, load_last_word(p, rest), (__mmask16)((1u << 2 * rest) - 1), x, sum[1]); \
        } \
        return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]))); \
    }

/* ---------------------------------------------------------------- the sets */

static const s24_matmul_ops ops = {
    .width = 16,
    /* 8 vectors by 64 k, in 48 KiB: on Sapphire Rapids 1.05 times as fast as 12 by 32 in 24 KiB, which rewrite C twice as often. */
    .tile_bytes = 32 * 1024,
    .dot_max = 8,
    .check = check,
    .tile = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8},
    .dot = {NULL, dot_1, dot_2, dot_3, dot_4},
};

#define SET(name, bytes) \
    DECODE(name, bytes, load_##name) \
    VECTOR(name, bytes, load_##name) \
    const s24_matmul_kernel s24_matmul_##name##_avx512 = {&ops, decode_##name, vector_##name};

SET(f32, 4)
SET(f16, 2)
SET(bf16, 2)
SET(f8e4m3, 1)
SET(f8e5m2, 1)
SET(i8, 1)

#endif
