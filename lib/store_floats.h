/*
 * Eight f64 as floats of fewer bits, rounded once. Included by kernels_avx2.c and kernels_avx512.c between their VECTOR_BEGIN and
 * VECTOR_END.
 */
#ifndef S24_LIB_STORE_FLOATS_H
#define S24_LIB_STORE_FLOATS_H

/* Four f64 as f32 that a further rounding treats as it would the f64: cut off, and odd where that lost something. */
INLINE __m128 odd_floats(__m256d x)
{
    const __m128 nearest = _mm256_cvtpd_ps(x);
    const __m256d back = _mm256_cvtps_pd(nearest);
    const __m256d sign = _mm256_set1_pd(-0.0);
    const __m256d size = _mm256_andnot_pd(sign, x), back_size = _mm256_andnot_pd(sign, back);
    const __m256i beyond = _mm256_castpd_si256(_mm256_cmp_pd(back_size, size, _CMP_GT_OQ)); /* rounded up: one less */
    const __m256i inexact = _mm256_castpd_si256(_mm256_cmp_pd(back_size, size, _CMP_NEQ_OQ));
    const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const __m128i less = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(beyond, even));
    const __m128i odd = _mm_srli_epi32(_mm256_castsi256_si128(_mm256_permutevar8x32_epi32(inexact, even)), 31);
    const __m128i cut = _mm_add_epi32(_mm_castps_si128(nearest), less);
    return _mm_castsi128_ps(_mm_or_si128(cut, odd));
}

INLINE __m256 two_fours(__m128 low, __m128 high)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
}

/* Whether all are finite: of f16 as words, of others as f32. */
INLINE bool finite_floats(__m256 x)
{
    const __m256i infinity = _mm256_set1_epi32(0x7f800000);
    const __m256i exponents = _mm256_and_si256(_mm256_castps_si256(x), infinity);
    return _mm256_testz_si256(_mm256_cmpeq_epi32(exponents, infinity), _mm256_set1_epi32(-1));
}

/* The upper half of f32, rounded to nearest, ties to even. */
INLINE __m256i nearest_bf16(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i last = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_add_epi32(bits, _mm256_add_epi32(last, _mm256_set1_epi32(0x7fff)));
}

/* f32, f16 or bf16; false: one is beyond it. */
INLINE bool put_floats(s24_dtype to, __m256d low, __m256d high, unsigned char *dst)
{
    if (to == S24_F32) {
        const __m256 x = two_fours(_mm256_cvtpd_ps(low), _mm256_cvtpd_ps(high));
        _mm256_storeu_ps((float *)(void *)dst, x);
        return finite_floats(x);
    }
    const __m256 odd = two_fours(odd_floats(low), odd_floats(high));
    if (to == S24_F16) {
        const __m128i half = _mm256_cvtps_ph(odd, _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)dst, half);
        return finite_floats(_mm256_cvtph_ps(half));
    }
    const __m256i rounded = nearest_bf16(odd);
    const __m256i words = _mm256_srli_epi32(rounded, 16);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)dst, packed);
    return finite_floats(odd) && finite_floats(_mm256_castsi256_ps(rounded)); /* rounding may carry a NaN out of sight */
}

#endif
