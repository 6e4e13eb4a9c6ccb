/*
 * The body of the measuring kernels of x86, instantiated by kernels_avx2.c and kernels_avx512.c between their
 * VECTOR_BEGIN and VECTOR_END. Each defines before it includes this file
 *
 *   d8                            eight f64
 *   d8_load, d8_store             from and to memory
 *   d8_of(x), d8_join(low, high)  from eight f32, from two vectors of four f64
 *   d8_add, d8_mul, d8_distance, d8_abs, d8_max        of each lane; the distance is |a - b|
 *   d8_zeros(x), d8_signs(x)      which lanes are 0, which have the sign set, lane 0 lowest
 *
 * What was kept need not be near the original: another's values are measured, too. So errors are taken in f64, in which
 * they are rounded as in the generic code. It goes by quads, of 16 elements.
 */
#ifndef S24_LIB_MEASURE_TEMPLATE_H
#define S24_LIB_MEASURE_TEMPLATE_H

#include "split.h"

#define CHUNK_GROUPS 16

typedef struct measured {
    d8 kept_abs, kept_sq, pruned_abs, pruned_sq, quant_abs, quant_sq, max;
} measured;

/* ---------------------------------------------------------------- eight elements as f64 */

INLINE __m256 floats_of_words(s24_dtype dtype, __m128i x)
{
    return dtype == S24_F16 ? _mm256_cvtph_ps(x) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

/* As f16, of which f8e5m2 is the upper half. f8e4m3 becomes one 2^8 times too small, and its NaN a NaN. */
INLINE __m256 floats_of_bytes(s24_dtype dtype, __m128i x)
{
    if (dtype == S24_I8) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x));
    }
    const __m128i words = _mm_cvtepu8_epi16(x);
    if (dtype == S24_F8E5M2) {
        return _mm256_cvtph_ps(_mm_slli_epi16(words, 8));
    }
    const __m128i key = _mm_and_si128(words, _mm_set1_epi16(INT8_MAX));
    const __m128i sign = _mm_slli_epi16(_mm_xor_si128(words, key), 8);
    const __m128i nan = _mm_cmpeq_epi16(key, _mm_set1_epi16(INT8_MAX));
    const __m128i half = _mm_or_si128(_mm_or_si128(sign, nan), _mm_slli_epi16(key, 7));
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256));
}

/* Eight values behind one another. */
INLINE d8 d8_values(s24_dtype dtype, const unsigned char *values)
{
    switch (dtype) {
    case S24_F64: return d8_join(_mm256_castsi256_pd(load32(values)), _mm256_castsi256_pd(load32(values + 32)));
    case S24_F32: return d8_of(_mm256_castsi256_ps(load32(values)));
    case S24_F16:
    case S24_BF16: return d8_of(floats_of_words(dtype, load16(values)));
    default: return d8_of(floats_of_bytes(dtype, load8(values)));
    }
}

INLINE void split_sixteen_doubles(const unsigned char *src, unsigned keep, d8 *kept, d8 *pruned)
{
    const __m256d g0 = split_group(src, keep & 15), g1 = split_group(src + 32, keep >> 4 & 15);
    const __m256d g2 = split_group(src + 64, keep >> 8 & 15), g3 = split_group(src + 96, keep >> 12 & 15);
    *kept = d8_join(_mm256_permute2f128_pd(g0, g1, 0x20), _mm256_permute2f128_pd(g2, g3, 0x20));
    *pruned = d8_join(_mm256_permute2f128_pd(g0, g1, 0x31), _mm256_permute2f128_pd(g2, g3, 0x31));
}

/* The kept and the pruned of a quad. in: bytes of an element. */
INLINE void split_elements(s24_dtype from, unsigned in, const unsigned char *src, unsigned keep, d8 *kept, d8 *pruned)
{
    const uint8_t low = (uint8_t)keep, high = (uint8_t)(keep >> 8);
    if (in == 8) {
        split_sixteen_doubles(src, keep, kept, pruned);
    } else if (in == 4) {
        const __m256 left = split_pair(src, low), right = split_pair(src + 32, high);
        *kept = d8_of(_mm256_permute2f128_ps(left, right, 0x20));
        *pruned = d8_of(_mm256_permute2f128_ps(left, right, 0x31));
    } else if (in == 2) {
        const __m128i left = split_eight_words(src, low), right = split_eight_words(src + 16, high);
        *kept = d8_of(floats_of_words(from, _mm_unpacklo_epi64(left, right)));
        *pruned = d8_of(floats_of_words(from, _mm_unpackhi_epi64(left, right)));
    } else {
        const __m128i left = split_eight_bytes(src, low), right = split_eight_bytes(src + 8, high);
        const __m128i both = _mm_unpacklo_epi32(left, right);
        *kept = d8_of(floats_of_bytes(from, both));
        *pruned = d8_of(floats_of_bytes(from, _mm_unpackhi_epi64(both, both)));
    }
}

/* ---------------------------------------------------------------- sums */

INLINE void measure_quad(s24_dtype from, unsigned in, s24_dtype to, const unsigned char *src,
                         const unsigned char *values, unsigned keep, measured *m, s24_lanes *lanes)
{
    d8 kept, pruned;
    split_elements(from, in, src, keep, &kept, &pruned);
    const d8 stored = d8_values(to, values);
    const d8 error = d8_distance(kept, stored);
    const unsigned zeros = d8_zeros(pruned); /* of a group, two bits */
    lanes->kept_zeros += (uint64_t)__builtin_popcount(d8_zeros(stored));
    lanes->negative_zeros += (uint64_t)__builtin_popcount(zeros & d8_signs(pruned));
    lanes->broken_groups += 4 - (uint64_t)__builtin_popcount(zeros & zeros >> 1 & 0x55);
    kept = d8_abs(kept);
    pruned = d8_abs(pruned);
    m->kept_abs = d8_add(m->kept_abs, kept);
    m->kept_sq = d8_add(m->kept_sq, d8_mul(kept, kept));
    m->pruned_abs = d8_add(m->pruned_abs, pruned);
    m->pruned_sq = d8_add(m->pruned_sq, d8_mul(pruned, pruned));
    m->quant_abs = d8_add(m->quant_abs, error);
    m->quant_sq = d8_add(m->quant_sq, d8_mul(error, error));
    m->max = d8_max(m->max, d8_max(pruned, error));
}

INLINE void measure_chunk(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src,
                          const unsigned char *values, uint64_t positions, measured *m, s24_lanes *lanes)
{
    const uint64_t keep = keep_of(positions);
    for (unsigned i = 0; i < 4; i++) {
        measure_quad(from, in, to, src + 16 * in * i, values + 8 * out * i, (unsigned)(keep >> 16 * i) & 0xffff, m,
                     lanes);
    }
}

INLINE measured measured_begin(const s24_lanes *lanes)
{
    static const double zeros[8] = {0};
    return (measured){d8_load(lanes->kept_abs),  d8_load(lanes->kept_sq),   d8_load(lanes->pruned_abs),
                      d8_load(lanes->pruned_sq), d8_load(lanes->quant_abs), d8_load(lanes->quant_sq), d8_load(zeros)};
}

/* Infinity and NaN turn the sums of absolute values into infinity or NaN. */
INLINE void measured_end(const measured *m, s24_lanes *lanes)
{
    double max[8];
    d8_store(lanes->kept_abs, m->kept_abs);
    d8_store(lanes->kept_sq, m->kept_sq);
    d8_store(lanes->pruned_abs, m->pruned_abs);
    d8_store(lanes->pruned_sq, m->pruned_sq);
    d8_store(lanes->quant_abs, m->quant_abs);
    d8_store(lanes->quant_sq, m->quant_sq);
    d8_store(max, m->max);
    for (unsigned i = 0; i < S24_LANES; i++) {
        lanes->max_abs_error = max[i] > lanes->max_abs_error ? max[i] : lanes->max_abs_error;
        lanes->redo |= !(lanes->kept_abs[i] + lanes->pruned_abs[i] + lanes->quant_abs[i] <= DBL_MAX);
    }
}

INLINE size_t measure(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *dense, size_t groups,
                      const void *kept, const uint8_t *positions, s24_lanes *lanes)
{
    const unsigned char *src = dense, *values = kept;
    measured m = measured_begin(lanes);
    size_t g = 0;
    for (; groups - g >= CHUNK_GROUPS; g += CHUNK_GROUPS) {
        uint64_t p;
        memcpy(&p, positions + g / 2, 8);
        if (!s24_positions_valid(p, EVERY_GROUP(1))) {
            break; /* the generic code says where */
        }
        prefetch_ahead(src + 4 * in * g, 64 * in);
        prefetch_ahead(values + 2 * out * g, 32 * out);
        measure_chunk(from, in, to, out, src + 4 * in * g, values + 2 * out * g, p, &m, lanes);
    }
    const size_t rest = groups - g;
    if (rest && rest < CHUNK_GROUPS) {
        unsigned char padded[64 * 8] = {0}, stored[32 * 8] = {0};
        uint64_t p = 0;
        memcpy(&p, positions + g / 2, (rest + 1) / 2);
        const uint64_t real = (UINT64_C(1) << 4 * rest) - 1;
        if (s24_positions_valid(p, EVERY_GROUP(1) & real)) {
            memcpy(padded, src + 4 * in * g, 4 * in * rest);
            memcpy(stored, values + 2 * out * g, 2 * out * rest);
            p = (p & real) | (EVERY_GROUP(4) & ~real);
            measure_chunk(from, in, to, out, padded, stored, p, &m, lanes);
            lanes->kept_zeros -= 2 * (CHUNK_GROUPS - rest);
            g = groups;
        }
    }
    measured_end(&m, lanes);
    return g;
}

#define MEASURE_KERNEL(name, from, in, to, out) \
    size_t name(const void *src, size_t groups, const void *values, const uint8_t *positions, s24_lanes *lanes) \
    { \
        return measure(S24_##from, in, S24_##to, out, src, groups, values, positions, lanes); \
    }

#endif
