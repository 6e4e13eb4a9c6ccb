/*
 * AVX-512 (F, BW, DQ, VL, VBMI, VBMI2: Ice Lake, Zen 4 and later). Who is kept is found without a compare and without
 * a branch. A negative difference of two keys is a lost comparison; keys have a bit less than a lane, so no difference
 * overflows. Who loses at most once is kept: "not the majority of three sign bits" is one ternary logic operation. Of
 * equal keys the lower index wins.
 *
 * f32 is transposed, 64 keys at a time; a quarter of each vector here. Then each difference is taken only once:
 *
 *     x0 ... x3    a group each    a0 b0 c0 d0    a1 b1 c1 d1    a2 b2 c2 d2    a3 b3 c3 d3
 *     a  ... d     transposed      a0 a1 a2 a3    b0 b1 b2 b3    c0 c1 c2 c3    d0 d1 d2 d3
 *     a-b, a-c, a-d, b-c, b-d, c-d: where negative, the one on the right wins, otherwise the one on the left
 *
 * Other widths are compared in place, each lane with its three partners:
 *
 *     a        keys of a group                a0       a1       a2       a3
 *     l1       against lane ^ 1               a0-a1    a1-1-a0  a2-a3    a3-1-a2
 *     l2       against lane ^ 2               a0-a2    a1-a3    a2-1-a0  a3-1-a1
 *     l3       against lane ^ 3               a0-a3    a1-a2    a2-1-a1  a3-1-a0
 *
 * Against a partner on the left a lane has 1 less, and so loses where they are equal.
 */
#include "kernels.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX512)

/* "At most one of three" as a truth table, bit 4a + 2b + c for inputs a, b, c: of these; of ~a; ~a, ~b; ~a, ~b, ~c. */
#define NOT_MAJORITY 0x17
#define NOT_MAJORITY_A 0x71
#define NOT_MAJORITY_AB 0xd4
#define NOT_MAJORITY_ABC 0xe8

/* ---------------------------------------------------------------- selection */

/*
 * Element e = 16 i + 4 g + j is number j of group g of vector xi. Transposed it is in vector j, lane i of quarter g.
 * Packing puts the four vectors one behind another in each quarter: byte 16 g + 4 j + i.
 */
#define PACKED(e) 16 * ((e) >> 2 & 3) + 4 * ((e) & 3) + ((e) >> 4),
static const uint8_t packed_order[64] = {BYTES64(PACKED, 0)};

/* Signs of four transposed vectors as bits in the order of elements. */
INLINE uint64_t signs_in_order(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
    return _mm512_movepi8_mask(_mm512_permutexvar_epi8(_mm512_loadu_si512(packed_order), packed));
}

INLINE __m512i load_magnitudes(const unsigned char *src)
{
    return _mm512_and_si512(_mm512_loadu_si512(src), _mm512_set1_epi32(INT32_MAX));
}

/* 64 elements, or one quad. */
INLINE uint64_t keep_floats(const unsigned char *src, unsigned quads)
{
    const __m512i none = _mm512_setzero_si512();
    const __m512i x0 = load_magnitudes(src), x1 = quads == 4 ? load_magnitudes(src + 64) : none;
    const __m512i x2 = quads == 4 ? load_magnitudes(src + 128) : none;
    const __m512i x3 = quads == 4 ? load_magnitudes(src + 192) : none;
    const __m512i ab01 = _mm512_unpacklo_epi32(x0, x1), cd01 = _mm512_unpackhi_epi32(x0, x1);
    const __m512i ab23 = _mm512_unpacklo_epi32(x2, x3), cd23 = _mm512_unpackhi_epi32(x2, x3);
    const __m512i a = _mm512_unpacklo_epi64(ab01, ab23), b = _mm512_unpackhi_epi64(ab01, ab23);
    const __m512i c = _mm512_unpacklo_epi64(cd01, cd23), d = _mm512_unpackhi_epi64(cd01, cd23);
    const __m512i ab = _mm512_sub_epi32(a, b), ac = _mm512_sub_epi32(a, c), ad = _mm512_sub_epi32(a, d);
    const __m512i bc = _mm512_sub_epi32(b, c), bd = _mm512_sub_epi32(b, d), cd = _mm512_sub_epi32(c, d);
    return signs_in_order(_mm512_ternarylogic_epi32(ab, ac, ad, NOT_MAJORITY),
                          _mm512_ternarylogic_epi32(ab, bc, bd, NOT_MAJORITY_A),
                          _mm512_ternarylogic_epi32(ac, bc, cd, NOT_MAJORITY_AB),
                          _mm512_ternarylogic_epi32(ad, bd, cd, NOT_MAJORITY_ABC));
}

/* Keys in 16-bit lanes: 32, or as many as there are in one quad, and zeros. */
INLINE __m512i load_keys(s24_dtype from, const unsigned char *src, bool half)
{
    const __m256i bytes = half ? _mm256_zextsi128_si256(load16(src)) : load32(src);
    const __m512i magnitude = _mm512_set1_epi16(INT16_MAX);
    switch (from) {
    case S24_I8: return _mm512_abs_epi16(_mm512_cvtepi8_epi16(bytes));
    case S24_F8E4M3:
    case S24_F8E5M2: return _mm512_and_si512(_mm512_slli_epi16(_mm512_cvtepu8_epi16(bytes), 8), magnitude);
    default: break;
    }
    return _mm512_and_si512(half ? _mm512_zextsi256_si512(load32(src)) : _mm512_loadu_si512(src), magnitude);
}

/* 32 elements, or one quad. */
INLINE uint64_t keep_words(s24_dtype from, const unsigned char *src, bool half)
{
    const __m512i left1 = _mm512_set1_epi32((int)0xffff0000);
    const __m512i left2 = _mm512_set1_epi64((int64_t)0xffffffff00000000);
    const __m512i reverse = _mm512_broadcast_i32x4(_mm_set_epi8(9, 8, 11, 10, 13, 12, 15, 14, 1, 0, 3, 2, 5, 4, 7, 6));
    const __m512i a = load_keys(from, src, half);
    const __m512i a1 = _mm512_add_epi16(a, left1), a2 = _mm512_add_epi16(a, left2);
    const __m512i l1 = _mm512_sub_epi16(a1, _mm512_rol_epi32(a, 16));
    const __m512i l2 = _mm512_sub_epi16(a2, _mm512_shuffle_epi32(a, _MM_PERM_CDAB));
    const __m512i l3 = _mm512_sub_epi16(a2, _mm512_shuffle_epi8(a, reverse));
    return _mm512_movepi16_mask(_mm512_ternarylogic_epi32(l1, l2, l3, NOT_MAJORITY));
}

/* Eight elements. */
INLINE uint64_t keep_doubles(const unsigned char *src)
{
    const __m512i left1 = _mm512_set4_epi64(-1, 0, -1, 0), left2 = _mm512_set4_epi64(-1, -1, 0, 0);
    const __m512i a = _mm512_and_si512(_mm512_loadu_si512(src), _mm512_set1_epi64(INT64_MAX));
    const __m512i a1 = _mm512_add_epi64(a, left1), a2 = _mm512_add_epi64(a, left2);
    const __m512i l1 = _mm512_sub_epi64(a1, _mm512_shuffle_epi32(a, _MM_PERM_BADC));
    const __m512i l2 = _mm512_sub_epi64(a2, _mm512_permutex_epi64(a, 0x4e));
    const __m512i l3 = _mm512_sub_epi64(a2, _mm512_permutex_epi64(a, 0x1b));
    return _mm512_movepi64_mask(_mm512_ternarylogic_epi64(l1, l2, l3, NOT_MAJORITY));
}

INLINE uint64_t select_keep(s24_dtype from, const unsigned char *src, unsigned quads)
{
    uint64_t keep = 0;
    if (from == S24_F32) {
        keep = keep_floats(src, quads);
    } else if (from == S24_F64) {
        for (unsigned i = 0; i < 2 * quads; i++) {
            keep |= keep_doubles(src + 64 * i) << 8 * i;
        }
    } else {
        const unsigned half = from == S24_F16 || from == S24_BF16 ? 64 : 32;
        keep = keep_words(from, src, quads == 1);
        keep |= quads == 4 ? keep_words(from, src + half, false) << 32 : 0;
    }
    return keep;
}

#include "prune_template.h"

PRUNE_KERNEL(s24_prune_avx512_f64, F64, 8, F64, 8)
PRUNE_KERNEL(s24_prune_avx512_f32, F32, 4, F32, 4)
PRUNE_KERNEL(s24_prune_avx512_f32_f16, F32, 4, F16, 2)
PRUNE_KERNEL(s24_prune_avx512_f32_bf16, F32, 4, BF16, 2)
PRUNE_KERNEL(s24_prune_avx512_f16, F16, 2, F16, 2)
PRUNE_KERNEL(s24_prune_avx512_bf16, BF16, 2, BF16, 2)
PRUNE_KERNEL(s24_prune_avx512_f8e4m3, F8E4M3, 1, F8E4M3, 1)
PRUNE_KERNEL(s24_prune_avx512_f8e5m2, F8E5M2, 1, F8E5M2, 1)
PRUNE_KERNEL(s24_prune_avx512_i8, I8, 1, I8, 1)

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

/* 64 bytes: a bit for each element that has one of the bits of its mask. */
INLINE uint64_t nonzero_bytes(s24_dtype from, unsigned in, const unsigned char *src)
{
    const __m512i x = _mm512_loadu_si512(src);
    switch (in) {
    case 1: return _mm512_test_epi8_mask(x, _mm512_set1_epi8(from == S24_I8 ? -1 : INT8_MAX));
    case 2: return _mm512_test_epi16_mask(x, _mm512_set1_epi16(INT16_MAX));
    case 4: return _mm512_test_epi32_mask(x, _mm512_set1_epi32(INT32_MAX));
    default: return _mm512_test_epi64_mask(x, _mm512_set1_epi64(INT64_MAX));
    }
}

INLINE uint64_t nonzero64(s24_dtype from, unsigned in, const unsigned char *src)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < in; i++) {
        bits |= nonzero_bytes(from, in, src + 64 * i) << 64 / in * i;
    }
    return bits;
}

COMPLY_KERNEL(s24_comply_avx512_f64, F64, 8)
COMPLY_KERNEL(s24_comply_avx512_f32, F32, 4)
COMPLY_KERNEL(s24_comply_avx512_f16, F16, 2)
COMPLY_KERNEL(s24_comply_avx512_f8, F8E4M3, 1)
COMPLY_KERNEL(s24_comply_avx512_i8, I8, 1)

VECTOR_END

#endif
