/*
 * The body of the unpacking kernels of x86, instantiated by kernels_avx2.c and kernels_avx512.c between their
 * VECTOR_BEGIN and VECTOR_END, which also define the two functions that this file only declares.
 */
#ifndef S24_LIB_UNPACK_TEMPLATE_H
#define S24_LIB_UNPACK_TEMPLATE_H

/* Expand 16 groups (8 bytes of positions, read as one number) and 2 groups (one byte). The positions are valid. */
INLINE void expand64(s24_dtype from, s24_dtype to, const unsigned char *values, uint64_t positions,
                     unsigned char *dst);
INLINE void expand8(s24_dtype from, s24_dtype to, const unsigned char *values, uint8_t position, unsigned char *dst);

/* bf16 as f32, NaN made quiet as conversions do: a key above infinity's gets the highest bit of the mantissa. */
INLINE __m256i widen_bf16(__m128i x)
{
    const __m128i key = _mm_and_si128(x, _mm_set1_epi16(0x7fff));
    const __m128i nan = _mm_cmpgt_epi16(key, _mm_set1_epi16(0x7f80));
    const __m128i quiet = _mm_or_si128(x, _mm_and_si128(nan, _mm_set1_epi16(0x40)));
    return _mm256_slli_epi32(_mm256_cvtepu16_epi32(quiet), 16);
}

INLINE size_t unpack(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *kept,
                     const uint8_t *positions, size_t groups, void *dense)
{
    const unsigned char *values = kept;
    unsigned char *dst = dense;
    size_t g = 0;
    for (; groups - g >= 16; g += 16) {
        uint64_t p;
        memcpy(&p, positions + g / 2, 8);
        if (!s24_positions_valid(p, EVERY_GROUP(1))) {
            break; /* the loop below finds the pair */
        }
        prefetch_ahead(values + 2 * g * in, 32 * in);
        expand64(from, to, values + 2 * g * in, p, dst + 4 * g * out);
    }
    for (; groups - g >= 2 && s24_positions_valid(positions[g / 2], 0x11); g += 2) {
        expand8(from, to, values + 2 * g * in, positions[g / 2], dst + 4 * g * out);
    }
    return g;
}

#define UNPACK_KERNEL(name, from, in, to, out) \
    size_t name(const void *values, const uint8_t *positions, size_t groups, void *dst) \
    { \
        return unpack(S24_##from, in, S24_##to, out, values, positions, groups, dst); \
    }

#endif
