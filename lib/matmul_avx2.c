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

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX2)

/* ---------------------------------------------------------------- 8 kept values as f32 */

INLINE __m256 load_f32(const void *p)
{
    return _mm256_loadu_ps(p);
}

INLINE __m256 load_f16(const void *p)
{
    return _mm256_cvtph_ps(load16(p));
}

INLINE __m256 load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p)), 16));
}

/* The upper byte of an f16. */
INLINE __m256 load_f8e5m2(const void *p)
{
    return _mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(load8(p)), 8));
}

/* As an f16 of the same exponent field: 2^(15 - 7) too small, subnormals included. All ones is NaN. */
INLINE __m256 load_f8e4m3(const void *p)
{
    const __m128i x = _mm_cvtepi8_epi16(load8(p));
    const __m128i sign = _mm_and_si128(x, _mm_set1_epi16((short)0x8000));
    const __m128i key = _mm_and_si128(x, _mm_set1_epi16(0x7f));
    const __m128i nan = _mm_and_si128(_mm_cmpeq_epi16(key, _mm_set1_epi16(0x7f)), _mm_set1_epi16(0x7e00));
    const __m128i half = _mm_or_si128(_mm_or_si128(sign, nan), _mm_slli_epi16(key, 7));
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
}

INLINE __m256 load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(p)));
}

INLINE __m256 load_values(s24_dtype from, const void *p)
{
    return from == S24_F32      ? load_f32(p)
           : from == S24_F16    ? load_f16(p)
           : from == S24_BF16   ? load_bf16(p)
           : from == S24_F8E4M3 ? load_f8e4m3(p)
           : from == S24_F8E5M2 ? load_f8e5m2(p)
                                : load_i8(p);
}

/* ---------------------------------------------------------------- vectors */

#define WIDTH 8
#define DOT_AT_ONCE 2    /* 8 sums, a table, two registers each of weights and positions */
#define VECTOR_AT_ONCE 2

typedef __m256 vec;
#define vec_zero _mm256_setzero_ps
#define vec_set1 _mm256_set1_ps
#define vec_load _mm256_loadu_ps
#define vec_load_aligned _mm256_load_ps
#define vec_store _mm256_storeu_ps
#define vec_add _mm256_add_ps
#define vec_fma _mm256_fmadd_ps
#define vec_mul _mm256_mul_ps

/* The sums of the lanes of a, b, c, d. */
INLINE __m128 fold4(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256 all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

/* ---------------------------------------------------------------- positions */

typedef __m256i picker;

/* A lane's position in its lowest two bits: vpermilps looks at no others. */
INLINE picker word_picker(uint32_t word, unsigned part)
{
    const __m256i shift = part ? _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30)
                               : _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    return _mm256_srlv_epi32(_mm256_set1_epi32((int)word), shift);
}

INLINE picker offsets_picker(const uint16_t *offsets)
{
    return _mm256_cvtepu16_epi32(load16(offsets));
}

INLINE __m256i step_index(uint32_t word)
{
    const __m256i base = _mm256_setr_epi16(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    const __m256i three = _mm256_set1_epi32(3);
    const __m256i low = _mm256_and_si256(word_picker(word, 0), three);
    const __m256i high = _mm256_and_si256(word_picker(word, 1), three);
    return _mm256_or_si256(_mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8), base);
}

/* 16 elements of B as the two of the picture above. */
typedef struct table {
    __m256 low, high;
} table;

INLINE table load_table(const float *b)
{
    const __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
    return (table){_mm256_permute2f128_ps(b0, b1, 0x20), _mm256_permute2f128_ps(b0, b1, 0x31)};
}

INLINE __m256 pick(table t, picker which)
{
    return _mm256_blend_ps(_mm256_permutevar_ps(t.low, which), _mm256_permutevar_ps(t.high, which), 0xcc);
}

typedef __m256i bytes;
#define bytes_zero _mm256_setzero_si256
#define bytes_or _mm256_or_si256
#define bytes_any(b) (_mm256_movemask_epi8(b) != 0)

#define load_positions load32

INLINE bytes load_last_positions(const uint8_t *p, size_t groups)
{
    uint8_t last[32];
    memset(last, 0x44, sizeof last);
    memcpy(last, p, (groups + 1) / 2);
    if (groups % 2) {
        last[groups / 2] = (last[groups / 2] & 15) | 0x40;
    }
    return load32(last);
}

INLINE bytes bad_nibbles(bytes x)
{
    /* To look a nibble up in: 0 for 4 8 9 C D E. */
    const __m256i invalid = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, -1, -1, -1, 0, -1, -1, -1, 0, 0, -1, -1, 0, 0, 0, -1));
    const __m256i low = _mm256_set1_epi8(15);
    return _mm256_or_si256(_mm256_shuffle_epi8(invalid, _mm256_and_si256(x, low)),
                           _mm256_shuffle_epi8(invalid, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

#include "matmul_x86.h"

/* ---------------------------------------------------------------- the sets */

TILES_TO_12

static const s24_matmul_ops ops = {
    .width = 8,
    .tile_bytes = 24 * 1024,
    .dot_max = 4,
    .vector_scales = true,
    .check = check,
    .tile = {TILE_TABLE_TO_12},
    .dot = {NULL, dot_1, dot_2, dot_3, dot_4},
};

SETS(avx2)

VECTOR_END

#endif
