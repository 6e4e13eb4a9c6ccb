/*
 * The body of the kernels of the permutation search, instantiated by kernels_avx2.c and kernels_avx512.c between their
 * VECTOR_BEGIN and VECTOR_END. Each defines before it includes this file
 *
 *   v16                           sixteen f32
 *   v16_load, v16_store, v16_zero, v16_add, v16_min, v16_max
 *   v16_halves(x)                 the first eight plus the last eight
 */
#ifndef S24_LIB_COLUMNS_TEMPLATE_H
#define S24_LIB_COLUMNS_TEMPLATE_H

INLINE float v16_sum(v16 x)
{
    const __m256 eight = v16_halves(x);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE float swap_columns(const float *a, const float *b, const float *c, const float *d, size_t n)
{
    v16 one = v16_zero(), other = v16_zero();
    for (size_t i = 0; i < n; i += S24_COLUMN_LANES) {
        one = v16_add(one, v16_min(v16_load(a + i), v16_load(b + i)));
        other = v16_add(other, v16_min(v16_load(c + i), v16_load(d + i)));
    }
    return v16_sum(v16_add(one, other));
}

INLINE float rest_of_columns(const float *x, const float *y, const float *z, float *middle, size_t n)
{
    v16 sum = v16_zero();
    for (size_t i = 0; i < n; i += S24_COLUMN_LANES) {
        const v16 a = v16_load(x + i), b = v16_load(y + i), c = v16_load(z + i);
        const v16 less = v16_min(a, b);
        sum = v16_add(sum, v16_min(less, c));
        v16_store(middle + i, v16_max(less, v16_min(v16_max(a, b), c)));
    }
    return v16_sum(sum);
}

#define COLUMNS_KERNEL(name) \
    static float name##_swap(const float *a, const float *b, const float *c, const float *d, size_t n) \
    { \
        return swap_columns(a, b, c, d, n); \
    } \
    static float name##_rest(const float *x, const float *y, const float *z, float *middle, size_t n) \
    { \
        return rest_of_columns(x, y, z, middle, n); \
    } \
    const s24_columns_kernel name = {.swap = name##_swap, .rest = name##_rest};

#endif
