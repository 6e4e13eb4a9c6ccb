/* Quantizing B on AVX-512: for AVX-512 VNNI and AMX. */
#ifndef S24_LIB_MATMUL_I8_AVX512_H
#define S24_LIB_MATMUL_I8_AVX512_H

#include "matmul_i8.h"
#include "vector.h"

/* s24_i8_kernel.measure */
void s24_i8_measure_avx512(const float *b, size_t ldb, size_t rows, size_t cols, uint32_t *most);

VECTOR_BEGIN(VECTOR_AVX512)

/*
 * The quotients x / divisor as i32, to nearest, within -127..127. By multiplication, which is faster, and whose error is
 * below 2^-15; where one is as near as that to a tie, or no number since its reciprocal is none, by division.
 */
INLINE __m512i quantize(__m512 x, __m512 divisor, __m512 reciprocal)
{
    __m512 q = _mm512_mul_ps(x, reciprocal);
    const __m512 rest = _mm512_abs_ps(_mm512_sub_ps(q, _mm512_roundscale_ps(q, 0)));
    if (__builtin_expect(_mm512_cmp_ps_mask(rest, _mm512_set1_ps(0.4999f), _CMP_NLE_UQ) != 0, 0)) {
        q = _mm512_div_ps(x, divisor);
    }
    q = _mm512_max_ps(_mm512_min_ps(q, _mm512_set1_ps(127)), _mm512_set1_ps(-127));
    return _mm512_cvtps_epi32(q);
}

VECTOR_END

#endif
