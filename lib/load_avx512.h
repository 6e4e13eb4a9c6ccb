/* 16 kept values of any dtype as f32, for the kernels of products on AVX-512. Masked-out lanes are 0 and not read. */
#ifndef S24_LIB_LOAD_AVX512_H
#define S24_LIB_LOAD_AVX512_H

#include "vector.h"

VECTOR_BEGIN("avx512f,avx512bw,avx512dq,avx512vl")

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

VECTOR_END

#endif
