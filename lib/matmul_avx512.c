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

#include "load_avx512.h"

VECTOR_BEGIN(VECTOR_AVX512)

INLINE __m512 load_values(s24_dtype from, const void *p)
{
    return from == S24_F32      ? load_f32(p, 0xffff)
           : from == S24_F16    ? load_f16(p, 0xffff)
           : from == S24_BF16   ? load_bf16(p, 0xffff)
           : from == S24_F8E4M3 ? load_f8e4m3(p, 0xffff)
           : from == S24_F8E5M2 ? load_f8e5m2(p, 0xffff)
                                : load_i8(p, 0xffff);
}

/* ---------------------------------------------------------------- vectors */

#define WIDTH 16
#define DOT_AT_ONCE 4
#define VECTOR_AT_ONCE 4

typedef __m512 vec;
#define vec_zero _mm512_setzero_ps
#define vec_set1 _mm512_set1_ps
#define vec_load _mm512_loadu_ps
#define vec_load_aligned _mm512_load_ps
#define vec_store _mm512_storeu_ps
#define vec_add _mm512_add_ps
#define vec_fma _mm512_fmadd_ps
#define vec_mul _mm512_mul_ps

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

/* ---------------------------------------------------------------- positions */

typedef __m512i picker;

INLINE picker word_picker(uint32_t word, unsigned part)
{
    const __m512i shift = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i base = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    (void)part; /* there is one */
    /* 0xea: (a & b) | c */
    return _mm512_ternarylogic_epi32(_mm512_srlv_epi32(_mm512_set1_epi32((int)word), shift), _mm512_set1_epi32(3), base,
                                     0xea);
}

/* vpermi2ps looks at the lowest five bits only. */
INLINE picker offsets_picker(const uint16_t *offsets)
{
    return _mm512_cvtepu16_epi32(load32(offsets));
}

INLINE __m256i step_index(uint32_t word)
{
    return _mm512_cvtepi32_epi16(word_picker(word, 0));
}

typedef struct table {
    __m512 low, high;
} table;

INLINE table load_table(const float *b)
{
    return (table){_mm512_loadu_ps(b), _mm512_loadu_ps(b + 16)};
}

INLINE __m512 pick(table t, picker which)
{
    return _mm512_permutex2var_ps(t.low, which, t.high);
}

typedef __m512i bytes;
#define bytes_zero _mm512_setzero_si512
#define bytes_or _mm512_or_si512
#define bytes_any(b) (_mm512_movepi8_mask(b) != 0)

#define load_positions _mm512_loadu_si512

INLINE bytes load_last_positions(const uint8_t *p, size_t groups)
{
    const __mmask64 lows = _bzhi_u64(UINT64_MAX, (unsigned)(groups + 1) / 2);
    const __mmask64 highs = _bzhi_u64(UINT64_MAX, (unsigned)groups / 2);
    const __m512i x = _mm512_mask_loadu_epi8(_mm512_set1_epi8(0x44), lows, p);
    const __m512i low = _mm512_and_si512(x, _mm512_set1_epi8(15));
    return _mm512_mask_mov_epi8(x, lows & ~highs, _mm512_or_si512(low, _mm512_set1_epi8(0x40)));
}

INLINE bytes bad_nibbles(bytes x)
{
    /* To look a nibble up in: 0 for 4 8 9 C D E. */
    const __m512i invalid = _mm512_broadcast_i32x4(
        _mm_setr_epi8(-1, -1, -1, -1, 0, -1, -1, -1, 0, 0, -1, -1, 0, 0, 0, -1));
    const __m512i low = _mm512_set1_epi8(15);
    return _mm512_or_si512(_mm512_shuffle_epi8(invalid, _mm512_and_si512(x, low)),
                           _mm512_shuffle_epi8(invalid, _mm512_and_si512(_mm512_srli_epi16(x, 4), low)));
}

#include "matmul_x86.h"

/* ---------------------------------------------------------------- the sets */

TILES_TO_8

static const s24_matmul_ops ops = {
    .width = 16,
    /* 8 vectors by 64 k, on Sapphire Rapids 1.05 times as fast as 12 by 32, which rewrite C twice as often. */
    .tile_bytes = 32 * 1024,
    .dot_max = 20,
    .vector_scales = true,
    .check = check,
    .tile = {TILE_TABLE_TO_8},
    .dot = {NULL, dot_1, dot_2, dot_3, dot_4},
};

SETS(avx512)

VECTOR_END

#endif
