/*
 * AVX2 (with FMA, F16C, BMI2: Haswell, Zen and later). Selection as in kernels_avx512.c, where it is explained, with
 * three more operations in the place of the ternary one.
 */
#include "kernels.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX2)

/* ---------------------------------------------------------------- selection */

/* By the signs of lanes: whether two or three are negative of a, b, c; of not a, b, c. */
INLINE __m256i majority(__m256i a, __m256i b, __m256i c)
{
    return _mm256_or_si256(_mm256_and_si256(b, c), _mm256_and_si256(a, _mm256_or_si256(b, c)));
}

INLINE __m256i majority_not(__m256i a, __m256i b, __m256i c)
{
    return _mm256_or_si256(_mm256_and_si256(b, c), _mm256_andnot_si256(a, _mm256_or_si256(b, c)));
}

/* Groups i and i + 4 of eight, without signs; or group i and zeros. So each half holds groups in their order. */
INLINE __m256i load_magnitudes(const unsigned char *src, unsigned i, bool half)
{
    const __m128i low = load16(src + 16 * i), high = half ? _mm_setzero_si128() : load16(src + 16 * i + 64);
    return _mm256_and_si256(_mm256_set_m128i(high, low), _mm256_set1_epi32(INT32_MAX));
}

/* Signs of a, b, c, d as bits in the order of elements. Packed: a0 a1 a2 a3 b0 b1... in each half; a0 b0 c0 d0 a1... */
INLINE unsigned signs_in_order(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0));
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    return (unsigned)_mm256_movemask_epi8(_mm256_shuffle_epi8(packed, order));
}

/*
 * The keep bits of 32 f32, or of one quad. Signs say of a and b that they lose twice, and are not kept; of c and d that
 * they win twice, and are.
 */
INLINE uint64_t keep_floats(const unsigned char *src, bool half)
{
    const __m256i x0 = load_magnitudes(src, 0, half), x1 = load_magnitudes(src, 1, half);
    const __m256i x2 = load_magnitudes(src, 2, half), x3 = load_magnitudes(src, 3, half);
    const __m256i ab01 = _mm256_unpacklo_epi32(x0, x1), cd01 = _mm256_unpackhi_epi32(x0, x1);
    const __m256i ab23 = _mm256_unpacklo_epi32(x2, x3), cd23 = _mm256_unpackhi_epi32(x2, x3);
    const __m256i a = _mm256_unpacklo_epi64(ab01, ab23), b = _mm256_unpackhi_epi64(ab01, ab23);
    const __m256i c = _mm256_unpacklo_epi64(cd01, cd23), d = _mm256_unpackhi_epi64(cd01, cd23);
    const __m256i ab = _mm256_sub_epi32(a, b), ac = _mm256_sub_epi32(a, c), ad = _mm256_sub_epi32(a, d);
    const __m256i bc = _mm256_sub_epi32(b, c), bd = _mm256_sub_epi32(b, d), cd = _mm256_sub_epi32(c, d);
    const unsigned bits = signs_in_order(majority(ab, ac, ad), majority_not(ab, bc, bd), majority_not(cd, ac, bc),
                                         majority(ad, bd, cd));
    return bits ^ (uint32_t)EVERY_GROUP(3);
}

/* Keys of one quad in 16-bit lanes. */
INLINE __m256i load_keys(s24_dtype from, const unsigned char *src)
{
    const __m256i magnitude = _mm256_set1_epi16(INT16_MAX);
    switch (from) {
    case S24_I8: return _mm256_abs_epi16(_mm256_cvtepi8_epi16(load16(src)));
    case S24_F8E4M3:
    case S24_F8E5M2: return _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepu8_epi16(load16(src)), 8), magnitude);
    default: return _mm256_and_si256(load32(src), magnitude);
    }
}

/* What is not kept of one quad of 16-bit lanes is negative. */
INLINE __m256i losers_words(s24_dtype from, const unsigned char *src)
{
    const __m256i left1 = _mm256_set1_epi32((int)0xffff0000);
    const __m256i left2 = _mm256_set1_epi64x((int64_t)0xffffffff00000000);
    const __m256i swap = _mm256_broadcastsi128_si256(
        _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
    const __m256i reverse = _mm256_broadcastsi128_si256(
        _mm_set_epi8(9, 8, 11, 10, 13, 12, 15, 14, 1, 0, 3, 2, 5, 4, 7, 6));
    const __m256i a = load_keys(from, src);
    const __m256i a1 = _mm256_add_epi16(a, left1), a2 = _mm256_add_epi16(a, left2);
    const __m256i l1 = _mm256_sub_epi16(a1, _mm256_shuffle_epi8(a, swap));
    const __m256i l2 = _mm256_sub_epi16(a2, _mm256_shuffle_epi32(a, 0xb1));
    const __m256i l3 = _mm256_sub_epi16(a2, _mm256_shuffle_epi8(a, reverse));
    return majority(l1, l2, l3);
}

/* The same of one group of f64. */
INLINE __m256i losers_doubles(const unsigned char *src)
{
    const __m256i left1 = _mm256_set_epi64x(-1, 0, -1, 0), left2 = _mm256_set_epi64x(-1, -1, 0, 0);
    const __m256i a = _mm256_and_si256(load32(src), _mm256_set1_epi64x(INT64_MAX));
    const __m256i a1 = _mm256_add_epi64(a, left1), a2 = _mm256_add_epi64(a, left2);
    const __m256i l1 = _mm256_sub_epi64(a1, _mm256_shuffle_epi32(a, 0x4e));
    const __m256i l2 = _mm256_sub_epi64(a2, _mm256_permute4x64_epi64(a, 0x4e));
    const __m256i l3 = _mm256_sub_epi64(a2, _mm256_permute4x64_epi64(a, 0x1b));
    return majority(l1, l2, l3);
}

/* The signs of 32 words as bits. Packing works on halves of vectors; the permutation puts those in order again. */
INLINE unsigned signs_of_words(__m256i low, __m256i high)
{
    return (unsigned)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8));
}

INLINE uint64_t select_keep(s24_dtype from, const unsigned char *src, unsigned quads)
{
    uint64_t losers = 0;
    if (from == S24_F32) {
        return quads == 4 ? keep_floats(src, false) | keep_floats(src + 128, false) << 32 : keep_floats(src, true);
    }
    if (from == S24_F64) {
        for (unsigned i = 0; i < 4 * quads; i++) {
            const __m256i x = losers_doubles(src + 32 * i);
            losers |= (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x)) << 4 * i;
        }
    } else if (quads == 1) {
        losers = signs_of_words(losers_words(from, src), _mm256_setzero_si256());
    } else {
        const unsigned step = from == S24_F16 || from == S24_BF16 ? 32 : 16;
        const __m256i q0 = losers_words(from, src), q1 = losers_words(from, src + step);
        const __m256i q2 = losers_words(from, src + 2 * step), q3 = losers_words(from, src + 3 * step);
        losers = signs_of_words(q0, q1) | (uint64_t)signs_of_words(q2, q3) << 32;
    }
    return ~losers;
}

#include "prune_template.h"

PRUNE_KERNEL(s24_prune_avx2_f64, F64, 8, F64, 8)
PRUNE_KERNEL(s24_prune_avx2_f32, F32, 4, F32, 4)
PRUNE_KERNEL(s24_prune_avx2_f32_f16, F32, 4, F16, 2)
PRUNE_KERNEL(s24_prune_avx2_f32_bf16, F32, 4, BF16, 2)
PRUNE_KERNEL(s24_prune_avx2_f16, F16, 2, F16, 2)
PRUNE_KERNEL(s24_prune_avx2_bf16, BF16, 2, BF16, 2)
PRUNE_KERNEL(s24_prune_avx2_f8e4m3, F8E4M3, 1, F8E4M3, 1)
PRUNE_KERNEL(s24_prune_avx2_f8e5m2, F8E5M2, 1, F8E5M2, 1)
PRUNE_KERNEL(s24_prune_avx2_i8, I8, 1, I8, 1)

/* ---------------------------------------------------------------- unpacking */

#include "unpack_template.h"

/* By a byte of positions, which of four values each of eight elements is; NONE: it is 0, and stays NONE as a PAIR. */
#define NONE 0x80
#define JOIN_NIBBLE(nibble, j, v) ((j) == ((nibble) & 3) ? (v) : (j) == (nibble) >> 2 ? (v) + 1 : NONE)
#define JOIN(L, b) \
    {L(JOIN_NIBBLE(LOW(b), 0, 0)), L(JOIN_NIBBLE(LOW(b), 1, 0)), L(JOIN_NIBBLE(LOW(b), 2, 0)), \
     L(JOIN_NIBBLE(LOW(b), 3, 0)), L(JOIN_NIBBLE(HIGH(b), 0, 2)), L(JOIN_NIBBLE(HIGH(b), 1, 2)), \
     L(JOIN_NIBBLE(HIGH(b), 2, 2)), L(JOIN_NIBBLE(HIGH(b), 3, 2))},
#define PAIR_OR_NONE(i) ((i) & NONE) | (2 * (i) & 15), ((i) & NONE) | (2 * (i) & 15) | 1
#define JOIN_LANES(b) JOIN(SINGLE, b)
#define JOIN_WORDS(b) JOIN(PAIR_OR_NONE, b)

static const uint8_t join_lanes[256][8] = {BYTES256(JOIN_LANES)};
static const uint8_t join_words[256][16] = {BYTES256(JOIN_WORDS)};

/* Four values of `from` as f32. */
INLINE __m128i load_floats(s24_dtype from, const unsigned char *values)
{
    switch (from) {
    case S24_F32: return load16(values);
    case S24_F16: return _mm_castps_si128(_mm_cvtph_ps(load8(values)));
    default: return _mm256_castsi256_si128(widen_bf16(load8(values)));
    }
}

INLINE void expand8(s24_dtype from, s24_dtype to, const unsigned char *values, uint8_t position, unsigned char *dst)
{
    if (to != S24_F32) {
        const __m128i x = _mm_shuffle_epi8(load8(values), load16(join_words[position]));
        _mm_storeu_si128((__m128i *)(void *)dst, x);
        return;
    }
    const __m256 x = _mm256_castps128_ps256(_mm_castsi128_ps(load_floats(from, values)));
    const __m256i order = _mm256_cvtepi8_epi32(load8(join_lanes[position])); /* NONE becomes negative */
    const __m256 expanded = _mm256_permutevar8x32_ps(x, order);
    _mm256_storeu_ps((float *)(void *)dst, _mm256_blendv_ps(expanded, _mm256_setzero_ps(), _mm256_castsi256_ps(order)));
}

INLINE void expand64(s24_dtype from, s24_dtype to, const unsigned char *values, uint64_t positions, unsigned char *dst)
{
    const unsigned in = from == S24_F32 ? 16 : 8, out = to == S24_F32 ? 32 : 16;
    for (unsigned i = 0; i < 8; i++) {
        expand8(from, to, values + in * i, (uint8_t)(positions >> 8 * i), dst + out * i);
    }
}

UNPACK_KERNEL(s24_unpack_avx2_f32, F32, 4, F32, 4)
UNPACK_KERNEL(s24_unpack_avx2_f16, F16, 2, F16, 2)
UNPACK_KERNEL(s24_unpack_avx2_bf16, BF16, 2, BF16, 2)
UNPACK_KERNEL(s24_unpack_avx2_f16_f32, F16, 2, F32, 4)
UNPACK_KERNEL(s24_unpack_avx2_bf16_f32, BF16, 2, F32, 4)

/* ---------------------------------------------------------------- compliance */

#include "comply_template.h"

/* 32 bytes: -1 in each element that is zero. Doubling a float shifts its sign out. */
INLINE __m256i zeros32(s24_dtype from, unsigned in, const unsigned char *src)
{
    const __m256i x = load32(src), none = _mm256_setzero_si256();
    switch (in) {
    case 1: return _mm256_cmpeq_epi8(from == S24_I8 ? x : _mm256_add_epi8(x, x), none);
    case 2: return _mm256_cmpeq_epi16(_mm256_add_epi16(x, x), none);
    case 4: return _mm256_cmpeq_epi32(_mm256_add_epi32(x, x), none);
    default: return _mm256_cmpeq_epi64(_mm256_add_epi64(x, x), none);
    }
}

/* Zeros among 32 elements as bytes. Packing takes the halves of vectors in turn, and a half holds whole groups. */
INLINE __m256i zeros_packed(s24_dtype from, unsigned in, const unsigned char *src)
{
    const __m256i a = zeros32(from, in, src);
    if (in == 1) {
        return a;
    }
    const __m256i b = zeros32(from, in, src + 32);
    if (in == 2) {
        return _mm256_packs_epi16(a, b);
    }
    const __m256i c = zeros32(from, in, src + 64), d = zeros32(from, in, src + 96);
    return _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}

INLINE uint64_t nonzero64(s24_dtype from, unsigned in, const unsigned char *src)
{
    uint64_t zeros = 0;
    if (in == 8) {
        for (unsigned i = 0; i < 16; i++) {
            const __m256d x = _mm256_castsi256_pd(zeros32(from, in, src + 32 * i));
            zeros |= (uint64_t)(unsigned)_mm256_movemask_pd(x) << 4 * i;
        }
    } else {
        const unsigned low = (unsigned)_mm256_movemask_epi8(zeros_packed(from, in, src));
        const unsigned high = (unsigned)_mm256_movemask_epi8(zeros_packed(from, in, src + 32 * in));
        zeros = low | (uint64_t)high << 32;
    }
    return ~zeros;
}

COMPLY_KERNEL(s24_comply_avx2_f64, F64, 8)
COMPLY_KERNEL(s24_comply_avx2_f32, F32, 4)
COMPLY_KERNEL(s24_comply_avx2_f16, F16, 2)
COMPLY_KERNEL(s24_comply_avx2_f8, F8E4M3, 1)
COMPLY_KERNEL(s24_comply_avx2_i8, I8, 1)

VECTOR_END

#endif
