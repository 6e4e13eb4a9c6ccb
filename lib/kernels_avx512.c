/* AVX-512 (F, BW, DQ, VL, VBMI, VBMI2: Ice Lake, Zen 4 and later): unpacking, compliance and measuring. */
#include "kernels.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX512)

/* ---------------------------------------------------------------- unpacking */

#include "unpack_template.h"

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

/* Two groups of f64. */
INLINE void expand_doubles(const unsigned char *values, uint8_t keep, unsigned char *dst)
{
    const __m512i x = _mm512_castsi256_si512(load32(values));
    _mm512_storeu_si512(dst, _mm512_maskz_expand_epi64(keep, x));
}

INLINE void expand64(s24_dtype from, s24_dtype to, const unsigned char *values, uint64_t positions, unsigned char *dst)
{
    const unsigned bytes = from == S24_F32 ? 4 : 2;
    const uint64_t keep = keep_of(positions);
    if (to == S24_F64) {
        for (unsigned i = 0; i < 8; i++) {
            expand_doubles(values + 32 * i, (uint8_t)(keep >> 8 * i), dst + 64 * i);
        }
    } else if (to == S24_I8) {
        _mm512_storeu_si512(dst, _mm512_maskz_expand_epi8(keep, _mm512_castsi256_si512(load32(values))));
    } else if (to == S24_F32) {
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
    if (to == S24_F64) {
        expand_doubles(values, keep, dst);
    } else if (to == S24_I8) {
        const __m128i x = _mm_maskz_loadu_epi8(0x0f, values);
        _mm_storel_epi64((__m128i *)(void *)dst, _mm_maskz_expand_epi8(keep, x));
    } else if (to == S24_F32) {
        const __m256i x = load_floats(from, values, 0x0f);
        _mm256_storeu_si256((__m256i *)(void *)dst, _mm256_maskz_expand_epi32(keep, x));
    } else {
        const __m128i x = _mm_maskz_loadu_epi16(0x0f, values);
        _mm_storeu_si128((__m128i *)(void *)dst, _mm_maskz_expand_epi16(keep, x));
    }
}

UNPACK_KERNEL(s24_unpack_avx512_f64, F64, 8, F64, 8)
UNPACK_KERNEL(s24_unpack_avx512_8, I8, 1, I8, 1)
UNPACK_KERNEL(s24_unpack_avx512_f32, F32, 4, F32, 4)
UNPACK_KERNEL(s24_unpack_avx512_f16, F16, 2, F16, 2)
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
ZEROS_KERNEL(s24_zeros_avx512_f64, F64, 8)
ZEROS_KERNEL(s24_zeros_avx512_f32, F32, 4)
ZEROS_KERNEL(s24_zeros_avx512_f16, F16, 2)
ZEROS_KERNEL(s24_zeros_avx512_f8, F8E4M3, 1)
ZEROS_KERNEL(s24_zeros_avx512_i8, I8, 1)

/* ---------------------------------------------------------------- measuring */

typedef __m512d d8;
#define d8_add _mm512_add_pd
#define d8_mul _mm512_mul_pd
#define d8_max _mm512_max_pd
#define d8_abs _mm512_abs_pd
#define d8_load _mm512_loadu_pd
#define d8_store _mm512_storeu_pd
#define d8_of _mm512_cvtps_pd

INLINE d8 d8_join(__m256d low, __m256d high)
{
    return _mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1);
}

INLINE d8 d8_distance(d8 a, d8 b)
{
    return _mm512_abs_pd(_mm512_sub_pd(a, b));
}

INLINE unsigned d8_signs(d8 x)
{
    return _mm512_movepi64_mask(_mm512_castpd_si512(x));
}

INLINE unsigned d8_zeros(d8 x)
{
    return _mm512_cmp_pd_mask(x, _mm512_setzero_pd(), _CMP_EQ_OQ);
}

#include "measure_template.h"

MEASURE_KERNEL(s24_measure_avx512_f64, F64, 8, F64, 8)
MEASURE_KERNEL(s24_measure_avx512_f32, F32, 4, F32, 4)
MEASURE_KERNEL(s24_measure_avx512_f32_f16, F32, 4, F16, 2)
MEASURE_KERNEL(s24_measure_avx512_f32_bf16, F32, 4, BF16, 2)
MEASURE_KERNEL(s24_measure_avx512_f16, F16, 2, F16, 2)
MEASURE_KERNEL(s24_measure_avx512_bf16, BF16, 2, BF16, 2)
MEASURE_KERNEL(s24_measure_avx512_f8e4m3, F8E4M3, 1, F8E4M3, 1)
MEASURE_KERNEL(s24_measure_avx512_f8e5m2, F8E5M2, 1, F8E5M2, 1)
MEASURE_KERNEL(s24_measure_avx512_i8, I8, 1, I8, 1)

/* ---------------------------------------------------------------- patterns of blocks */

#define BLOCK_LANES 8
typedef __m512d vd;
#define vd_load _mm512_loadu_pd
#define vd_store _mm512_storeu_pd
#define vd_add _mm512_add_pd
#define vd_max _mm512_max_pd
#define vd_set1 _mm512_set1_pd

INLINE vd vd_choose(vd greater, vd than, vd a, vd b)
{
    return _mm512_mask_mov_pd(b, _mm512_cmp_pd_mask(greater, than, _CMP_GT_OQ), a);
}

#include "blocks_template.h"

BLOCKS_KERNEL(s24_blocks_avx512)
/* ---------------------------------------------------------------- scales */

#define d8_set _mm512_set1_pd
#define d8_div _mm512_div_pd

INLINE d8 d8_round_i8(d8 x, unsigned char *q)
{
    const __m256i rounded = _mm512_cvtpd_epi32(x);
    _mm_storel_epi64((__m128i *)(void *)q, _mm256_cvtepi32_epi8(rounded));
    return _mm512_cvtepi32_pd(rounded);
}

/*
 * To a multiple of what the last bit is worth at x, but not of less than the least number: adding 1.5 * 2^52 of that, and
 * taking it away, rounds. Then the exponents are brought together; a subnormal has its leading bit in front of it for that.
 */
INLINE d8 d8_round_f8(s24_dtype to, d8 x, unsigned char *q)
{
    const int mantissa = to == S24_F8E4M3 ? 3 : 2, least = to == S24_F8E4M3 ? -6 : -14;
    const __m512i sign = _mm512_and_si512(_mm512_castpd_si512(x), _mm512_set1_epi64(INT64_MIN));
    const __m512i exponent = _mm512_srli_epi64(_mm512_castpd_si512(_mm512_abs_pd(x)), 52);
    const __m512i unit = _mm512_add_epi64(_mm512_max_epi64(exponent, _mm512_set1_epi64(1023 + least)),
                                          _mm512_set1_epi64(52 - mantissa));
    const d8 magic = _mm512_castsi512_pd(_mm512_or_si512(_mm512_slli_epi64(unit, 52), _mm512_set1_epi64(INT64_C(1) << 51)));
    const d8 size = _mm512_abs_pd(_mm512_sub_pd(_mm512_add_pd(x, magic), magic));
    const double normal = least == -6 ? 0x1p-6 : 0x1p-14;
    const __mmask8 subnormal = _mm512_cmp_pd_mask(size, _mm512_set1_pd(normal), _CMP_LT_OQ);
    const d8 led = _mm512_mask_add_pd(size, subnormal, size, _mm512_set1_pd(normal));
    const __m512i key = _mm512_sub_epi64(_mm512_srli_epi64(_mm512_castpd_si512(led), (unsigned)(52 - mantissa)),
                                         _mm512_set1_epi64((int64_t)(1022 + least) << mantissa));
    const __m512i code = _mm512_mask_sub_epi64(key, subnormal, key, _mm512_set1_epi64(1 << mantissa));
    _mm_storel_epi64((__m128i *)(void *)q, _mm512_cvtepi64_epi8(_mm512_or_si512(code, _mm512_srli_epi64(sign, 56))));
    return _mm512_castsi512_pd(_mm512_or_si512(_mm512_castpd_si512(size), sign));
}

INLINE __m256i most_bits(unsigned in, __m256i a, __m256i b)
{
    return in == 4 ? _mm256_max_epi32(a, b) : in == 2 ? _mm256_max_epi16(a, b) : _mm256_max_epi64(a, b);
}

#include "store_floats.h"

INLINE bool d8_put(s24_dtype to, d8 x, unsigned char *dst)
{
    if (to == S24_F64) {
        _mm512_storeu_pd((double *)(void *)dst, x);
        return _mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q) == 0; /* the generic code's NaN has its own bits */
    }
    return put_floats(to, _mm512_castpd512_pd256(x), _mm512_extractf64x4_pd(x, 1), dst);
}

#include "quantize_template.h"

SCALE_KERNELS(avx512)

/* ---------------------------------------------------------------- columns of scores */

typedef __m512 v16;
#define v16_add _mm512_add_ps
#define v16_min _mm512_min_ps
#define v16_max _mm512_max_ps
#define v16_zero _mm512_setzero_ps
#define v16_load _mm512_load_ps
#define v16_store _mm512_store_ps

INLINE __m256 v16_halves(v16 x)
{
    return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}

#include "columns_template.h"

COLUMNS_KERNEL(s24_columns_avx512)

VECTOR_END

#endif
