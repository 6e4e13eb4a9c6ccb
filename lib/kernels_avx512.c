/* AVX-512 (F, BW, DQ, VL, VBMI, VBMI2: Ice Lake, Zen 4 and later): unpacking and compliance. */
#include "kernels.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX512)

/* ---------------------------------------------------------------- unpacking */

#include "unpack_template.h"

/*
 * Keep nibbles from position nibbles, p0 the low two bits and p1 the high two, 16 groups at once: bit j is set where
 * p0 or p1 is j. p0 is never 3 and p1 never 0.
 */
INLINE uint64_t keep_of(uint64_t p)
{
    const uint64_t inverse = ~p;
    const uint64_t k0 = inverse & inverse >> 1 & EVERY_GROUP(1);
    const uint64_t k1 = ((p << 1 & inverse) | (p >> 1 & inverse >> 2)) & EVERY_GROUP(2);
    const uint64_t k2 = ((p << 1 & inverse << 2) | (p >> 1 & inverse)) & EVERY_GROUP(4);
    const uint64_t k3 = p & p << 1 & EVERY_GROUP(8);
    return k0 | k1 | k2 | k3;
}

/* The values of `from` that `mask` has, of eight, as f32. What it has not is not touched. */
INLINE __m256i load_floats(s24_dtype from, const unsigned char *values, __mmask8 mask)
{
    if (from == S24_F32) {
        return _mm256_maskz_loadu_epi32(mask, values);
    }
    const __m128i x = _mm_maskz_loadu_epi16(mask, values);
    return from == S24_F16 ? _mm256_castps_si256(_mm256_cvtph_ps(x)) : widen_bf16(x);
}

/* `bytes` of a value: one quad of f32. */
INLINE void expand_floats(s24_dtype from, unsigned bytes, const unsigned char *values, uint64_t keep,
                          unsigned char *dst, unsigned quad)
{
    const __m512i x = _mm512_castsi256_si512(load_floats(from, values + 8 * bytes * quad, 0xff));
    const __mmask16 mask = (__mmask16)(keep >> 16 * quad);
    _mm512_storeu_si512(dst + 64 * quad, _mm512_maskz_expand_epi32(mask, x));
}

/* Two quads of 16-bit elements. */
INLINE void expand_words(const unsigned char *values, uint64_t keep, unsigned char *dst, unsigned half)
{
    const __m256i x = load32(values + 32 * half);
    const __mmask32 mask = (__mmask32)(keep >> 32 * half);
    _mm512_storeu_si512(dst + 64 * half, _mm512_maskz_expand_epi16(mask, _mm512_castsi256_si512(x)));
}

INLINE void expand64(s24_dtype from, s24_dtype to, const unsigned char *values, uint64_t positions, unsigned char *dst)
{
    const unsigned bytes = from == S24_F32 ? 4 : 2;
    const uint64_t keep = keep_of(positions);
    if (to == S24_F32) {
        expand_floats(from, bytes, values, keep, dst, 0);
        expand_floats(from, bytes, values, keep, dst, 1);
        expand_floats(from, bytes, values, keep, dst, 2);
        expand_floats(from, bytes, values, keep, dst, 3);
    } else {
        expand_words(values, keep, dst, 0);
        expand_words(values, keep, dst, 1);
    }
}

INLINE void expand8(s24_dtype from, s24_dtype to, const unsigned char *values, uint8_t position, unsigned char *dst)
{
    const __mmask8 keep = (__mmask8)keep_of(position);
    if (to == S24_F32) {
        const __m256i x = load_floats(from, values, 0x0f);
        _mm256_storeu_si256((__m256i *)(void *)dst, _mm256_maskz_expand_epi32(keep, x));
    } else {
        const __m128i x = _mm_maskz_loadu_epi16(0x0f, values);
        _mm_storeu_si128((__m128i *)(void *)dst, _mm_maskz_expand_epi16(keep, x));
    }
}

UNPACK_KERNEL(s24_unpack_avx512_f32, F32, 4, F32, 4)
UNPACK_KERNEL(s24_unpack_avx512_f16, F16, 2, F16, 2)
UNPACK_KERNEL(s24_unpack_avx512_bf16, BF16, 2, BF16, 2)
UNPACK_KERNEL(s24_unpack_avx512_f16_f32, F16, 2, F32, 4)
UNPACK_KERNEL(s24_unpack_avx512_bf16_f32, BF16, 2, F32, 4)

/* ---------------------------------------------------------------- compliance */

#include "comply_template.h"

INLINE uint64_t nonzero64(s24_dtype from, unsigned in, const unsigned char *src)
{
    return nonzero_bits(from, in, src);
}

COMPLY_KERNEL(s24_comply_avx512_f64, F64, 8)
COMPLY_KERNEL(s24_comply_avx512_f32, F32, 4)
COMPLY_KERNEL(s24_comply_avx512_f16, F16, 2)
COMPLY_KERNEL(s24_comply_avx512_f8, F8E4M3, 1)
COMPLY_KERNEL(s24_comply_avx512_i8, I8, 1)

VECTOR_END

#endif
