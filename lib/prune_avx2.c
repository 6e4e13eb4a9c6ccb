/*
 * Pruning by magnitude and by scores for AVX2 (with FMA, F16C, BMI2: Haswell, Zen and later). Selection as in
 * prune_avx512.c, where it is explained, with three more operations in the place of the ternary one.
 *
 * A quad is 16 elements, four groups: it has eight kept and eight pruned values, one for each lane of s24_lanes. The keep
 * bits of two groups are a byte, and pick a row of a table of shuffles; two of those are joined.
 *
 *     a  B  C  d | E  f  g  H     i  j  K  L | M  n  O  p      capitals: the two greatest of each group
 *     B  C  E  H   a  d  f  g     K  L  M  O   i  j  n  p      split: keep bits 1001 0110 and 0101 1100, from the right
 *     B  C  E  H   K  L  M  O     a  d  f  g   i  j  n  p      kept, pruned: lanes 0 to 7 of each
 *
 * The work is done in three loops over a block of quads: select, split, sum up. What they hand on is in the L1 cache. So
 * none of them waits for another's results, the 16 registers are enough for what each holds, and converting f32 to f64 on
 * the way from memory saves the shuffle that it takes between registers.
 *
 * No element here but f64 is wider than f32, so |w| is handed on as f32. Its square is exact in f64, and a fused
 * multiply-add rounds where multiply, then add, does.
 *
 * Zeros have to be counted, and most matrices have next to none. So the loops only keep the least |w| that is pruned, and
 * where that could have become a zero they look again at the block, and count bits. (No kept one is less.)
 *
 * Non-finite elements need no test of their own. Infinity and NaN turn the f64 sums of |w| into infinity or NaN, which
 * finite elements narrower than f64 cannot, and a value that overflows in narrowing does the same to the sum of |w - v|: one
 * look at the sums at the end tells. (f64 sums can overflow by themselves; then the generic code is asked once more than
 * needed.) f8e4m3, in which NaN looks like any other number, is widened with that in mind.
 *
 * Scores decide in f64, which takes eight times the operations that f32 does. So they are taken in f32 first, of factors
 * that are nearly right; where two of a chunk come too near to one another to be sure of their order it is decided in f64. A
 * kept element may then be less than a pruned one: zeros and non-finite elements are looked for among both.
 */
#include "kernels.h"

#if S24_X86

#include "split.h"
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

/* How near two keys come to one another; of keys of 0 the lower index wins, which needs no distance. */
INLINE __m256i distance(__m256i a, __m256i b)
{
    const __m256i zeros = _mm256_cmpeq_epi32(_mm256_or_si256(a, b), _mm256_setzero_si256());
    return _mm256_or_si256(_mm256_abs_epi32(_mm256_sub_epi32(a, b)), _mm256_srli_epi32(zeros, 1));
}

INLINE bool too_near(__m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i ab_cd = _mm256_min_epu32(distance(a, b), distance(c, d));
    const __m256i ac_bd = _mm256_min_epu32(distance(a, c), distance(b, d));
    const __m256i ad_bc = _mm256_min_epu32(distance(a, d), distance(b, c));
    const __m256i least = _mm256_min_epu32(_mm256_min_epu32(ab_cd, ac_bd), ad_bc);
    const __m256i apart = _mm256_set1_epi32(S24_SCORES_APART);
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_max_epu32(least, apart), least)) != -1;
}

/*
 * The keep bits of 32 keys of 32 bits, the sign 0: vector i has those of groups i and i + 4. Signs say of a and b that they
 * lose twice, and are not kept; of c and d that they win twice, and are. *near (NULL: no matter): two of a group are less
 * than S24_SCORES_APART apart.
 */
INLINE uint64_t keep_keys(__m256i x0, __m256i x1, __m256i x2, __m256i x3, bool *near)
{
    const __m256i ab01 = _mm256_unpacklo_epi32(x0, x1), cd01 = _mm256_unpackhi_epi32(x0, x1);
    const __m256i ab23 = _mm256_unpacklo_epi32(x2, x3), cd23 = _mm256_unpackhi_epi32(x2, x3);
    const __m256i a = _mm256_unpacklo_epi64(ab01, ab23), b = _mm256_unpackhi_epi64(ab01, ab23);
    const __m256i c = _mm256_unpacklo_epi64(cd01, cd23), d = _mm256_unpackhi_epi64(cd01, cd23);
    const __m256i ab = _mm256_sub_epi32(a, b), ac = _mm256_sub_epi32(a, c), ad = _mm256_sub_epi32(a, d);
    const __m256i bc = _mm256_sub_epi32(b, c), bd = _mm256_sub_epi32(b, d), cd = _mm256_sub_epi32(c, d);
    if (near) {
        *near = too_near(a, b, c, d);
    }
    const unsigned bits = signs_in_order(majority(ab, ac, ad), majority_not(ab, bc, bd), majority_not(cd, ac, bc),
                                         majority(ad, bd, cd));
    return bits ^ (uint32_t)EVERY_GROUP(3);
}

/* Of 32 f32, or of one quad. */
INLINE uint64_t keep_floats(const unsigned char *src, bool half)
{
    return keep_keys(load_magnitudes(src, 0, half), load_magnitudes(src, 1, half), load_magnitudes(src, 2, half),
                     load_magnitudes(src, 3, half), NULL);
}

/* What is not kept of one quad of 16-bit lanes is negative. */
INLINE __m256i losers_words(const unsigned char *src)
{
    const __m256i left1 = _mm256_set1_epi32((int)0xffff0000);
    const __m256i left2 = _mm256_set1_epi64x((int64_t)0xffffffff00000000);
    const __m256i swap = _mm256_broadcastsi128_si256(
        _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
    const __m256i reverse = _mm256_broadcastsi128_si256(
        _mm_set_epi8(9, 8, 11, 10, 13, 12, 15, 14, 1, 0, 3, 2, 5, 4, 7, 6));
    const __m256i a = _mm256_and_si256(load32(src), _mm256_set1_epi16(INT16_MAX));
    const __m256i a1 = _mm256_add_epi16(a, left1), a2 = _mm256_add_epi16(a, left2);
    const __m256i l1 = _mm256_sub_epi16(a1, _mm256_shuffle_epi8(a, swap));
    const __m256i l2 = _mm256_sub_epi16(a2, _mm256_shuffle_epi32(a, 0xb1));
    const __m256i l3 = _mm256_sub_epi16(a2, _mm256_shuffle_epi8(a, reverse));
    return majority(l1, l2, l3);
}

/*
 * What is not kept of 32 bytes is 255, the rest 0. A key, |x| <= 128, fills its lane. So keys are negated, which makes
 * them signed, and subtracted the other way round and with saturation, which keeps the sign.
 */
INLINE __m256i losers_bytes(__m256i key)
{
    const __m256i left1 = _mm256_set1_epi16(0x0100), left2 = _mm256_set1_epi32(0x01010000);
    const __m256i beside = _mm256_broadcastsi128_si256(
        _mm_set_epi8(14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1));
    const __m256i across = _mm256_broadcastsi128_si256(
        _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
    const __m256i reverse = _mm256_broadcastsi128_si256(
        _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    const __m256i none = _mm256_setzero_si256(), a = _mm256_sub_epi8(none, key);
    const __m256i a1 = _mm256_add_epi8(a, left1), a2 = _mm256_add_epi8(a, left2);
    const __m256i l1 = _mm256_subs_epi8(_mm256_shuffle_epi8(a, beside), a1);
    const __m256i l2 = _mm256_subs_epi8(_mm256_shuffle_epi8(a, across), a2);
    const __m256i l3 = _mm256_subs_epi8(_mm256_shuffle_epi8(a, reverse), a2);
    return _mm256_cmpgt_epi8(none, majority(l1, l2, l3));
}

/* The same as bits of 32 elements of f8, or of one quad. */
INLINE uint64_t losers_f8(const unsigned char *src, bool quad)
{
    const __m256i x = quad ? _mm256_set_m128i(_mm_setzero_si128(), load16(src)) : load32(src);
    return (unsigned)_mm256_movemask_epi8(losers_bytes(_mm256_and_si256(x, _mm256_set1_epi8(INT8_MAX))));
}

/* What is not kept of one group of keys of 64 bits, the sign 0, is negative. */
INLINE __m256i losers_long_keys(__m256i a)
{
    const __m256i left1 = _mm256_set_epi64x(-1, 0, -1, 0), left2 = _mm256_set_epi64x(-1, -1, 0, 0);
    const __m256i a1 = _mm256_add_epi64(a, left1), a2 = _mm256_add_epi64(a, left2);
    const __m256i l1 = _mm256_sub_epi64(a1, _mm256_shuffle_epi32(a, 0x4e));
    const __m256i l2 = _mm256_sub_epi64(a2, _mm256_permute4x64_epi64(a, 0x4e));
    const __m256i l3 = _mm256_sub_epi64(a2, _mm256_permute4x64_epi64(a, 0x1b));
    return majority(l1, l2, l3);
}

INLINE __m256i losers_doubles(const unsigned char *src)
{
    return losers_long_keys(_mm256_and_si256(load32(src), _mm256_set1_epi64x(INT64_MAX)));
}

/* The signs of 32 words as bits. Packing works on halves of vectors; the permutation puts those in order again. */
INLINE unsigned signs_of_words(__m256i low, __m256i high)
{
    return (unsigned)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8));
}

/* ---------------------------------------------------------------- selection by scores */

/* |w| of a group that is not of f64, as f32. */
INLINE __m128 four_magnitudes(s24_dtype from, const unsigned char *src)
{
    if (from == S24_F32) {
        return _mm_castsi128_ps(_mm_and_si128(load16(src), _mm_set1_epi32(INT32_MAX)));
    }
    const __m128i key = _mm_and_si128(load8(src), _mm_set1_epi16(INT16_MAX));
    return from == S24_F16 ? _mm_cvtph_ps(key) : _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(key), 16));
}

/* The keep bits of 1 or 4 quads by scores in f64; at: their first element's factors. */
INLINE uint64_t keep_exactly(s24_dtype from, unsigned in, const unsigned char *src, unsigned quads, const s24_row_factors *f,
                             size_t at)
{
    uint64_t losers = 0;
    for (unsigned i = 0; i < 16 * quads; i += 4) {
        const __m256d w = from == S24_F64 ? _mm256_andnot_pd(_mm256_set1_pd(-0.0), _mm256_castsi256_pd(load32(src + in * i)))
                                          : _mm256_cvtps_pd(four_magnitudes(from, src + in * i));
        __m256d factor = _mm256_loadu_pd(f->a + at + i);
        if (f->c) {
            factor = _mm256_add_pd(factor, _mm256_mul_pd(_mm256_set1_pd(f->b), _mm256_loadu_pd(f->c + at + i)));
        }
        const __m256i lost = losers_long_keys(_mm256_castpd_si256(_mm256_mul_pd(w, factor)));
        losers |= (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(lost)) << i;
    }
    return ~losers;
}

/* Seldom wanted: out of the way of the loop. */
static __attribute__((noinline)) uint64_t keep_near(s24_dtype from, const unsigned char *src, unsigned quads,
                                                    const s24_row_factors *f, size_t at)
{
    switch (from) {
    case S24_F32: return keep_exactly(S24_F32, 4, src, quads, f, at);
    case S24_F16: return keep_exactly(S24_F16, 2, src, quads, f, at);
    default: return keep_exactly(S24_BF16, 2, src, quads, f, at);
    }
}

/* The scores of a group in f32, nearly. */
INLINE __m128 near_scores(s24_dtype from, const unsigned char *src, const s24_row_factors *f, size_t at)
{
    __m128 factor = _mm_loadu_ps(f->near_a + at);
    if (f->near_c) {
        factor = _mm_fmadd_ps(_mm_set1_ps(f->near_b), _mm_loadu_ps(f->near_c + at), factor);
    }
    return _mm_mul_ps(four_magnitudes(from, src), factor);
}

/* Of groups i and i + 4 of eight; or of group i, and zeros. */
INLINE __m256i near_keys(s24_dtype from, unsigned in, const unsigned char *src, unsigned i, bool half,
                         const s24_row_factors *f, size_t at)
{
    const __m128 low = near_scores(from, src + 4 * in * i, f, at + 4 * i);
    const __m128 high = half ? _mm_setzero_ps() : near_scores(from, src + 4 * in * i + 16 * in, f, at + 4 * i + 16);
    return _mm256_castps_si256(_mm256_set_m128(high, low));
}

INLINE uint64_t keep_nearly(s24_dtype from, unsigned in, const unsigned char *src, bool half, const s24_row_factors *f,
                            size_t at, bool *near)
{
    bool here;
    const __m256i x0 = near_keys(from, in, src, 0, half, f, at), x1 = near_keys(from, in, src, 1, half, f, at);
    const __m256i x2 = near_keys(from, in, src, 2, half, f, at), x3 = near_keys(from, in, src, 3, half, f, at);
    const uint64_t keep = keep_keys(x0, x1, x2, x3, &here);
    *near |= here;
    return keep;
}

INLINE uint64_t keep_scored(s24_dtype from, unsigned in, const unsigned char *src, unsigned quads, const s24_row_factors *f,
                            size_t at)
{
    if (from == S24_F64) {
        return keep_exactly(from, in, src, quads, f, at);
    }
    bool near = !f->near_a;
    uint64_t keep = 0;
    if (f->near_a) {
        keep = keep_nearly(from, in, src, quads == 1, f, at, &near);
        keep |= quads == 1 ? 0 : keep_nearly(from, in, src + 32 * in, false, f, at + 32, &near) << 32;
    }
    return near ? keep_near(from, src, quads, f, at) : keep;
}

/* ---------------------------------------------------------------- selection of quads */

/*
 * The keep bits of 1 or 4 quads, one an element, element 0 lowest, then anything. in: bytes of an element; scored: by
 * factors f, of which their own begin at `at`.
 */
INLINE uint64_t select_keep(s24_dtype from, unsigned in, const unsigned char *src, unsigned quads, bool scored,
                            const s24_row_factors *f, size_t at)
{
    uint64_t losers = 0;
    if (scored) {
        return keep_scored(from, in, src, quads, f, at);
    }
    if (from == S24_F32) {
        return quads == 4 ? keep_floats(src, false) | keep_floats(src + 128, false) << 32 : keep_floats(src, true);
    }
    if (from == S24_F64) {
        for (unsigned i = 0; i < 4 * quads; i++) {
            const __m256i x = losers_doubles(src + 32 * i);
            losers |= (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x)) << 4 * i;
        }
    } else if (from == S24_F8E4M3 || from == S24_F8E5M2) {
        losers = quads == 1 ? losers_f8(src, true) : losers_f8(src, false) | losers_f8(src + 32, false) << 32;
    } else if (quads == 1) {
        losers = signs_of_words(losers_words(src), _mm256_setzero_si256());
    } else {
        losers = signs_of_words(losers_words(src), losers_words(src + 32)) |
                 (uint64_t)signs_of_words(losers_words(src + 64), losers_words(src + 96)) << 32;
    }
    return ~losers;
}

/*
 * 512 elements: 3 KiB of f32 are handed on, and stay in the L1 cache with what is read and written. Half of that is 5%
 * slower on Zen 4, since the loops start more often; twice as much is no faster, four times loses a quarter.
 */
#define BLOCK_QUADS 32

typedef struct block {
    uint8_t keep[BLOCK_QUADS][2]; /* keep bits of two groups each */
    union {
        struct {
            float kept[BLOCK_QUADS][8], pruned[BLOCK_QUADS][8]; /* |w| */
            float error[BLOCK_QUADS][8];                        /* |w - v| of what is kept */
        } f32;
        struct {
            double kept[BLOCK_QUADS][8], pruned[BLOCK_QUADS][8];
        } f64;
    };
} block;

/* The least pruned |w| of a block, and the greatest pruned |w| and |w - v| of all. */
typedef struct extremes {
    __m256 min, max;
    __m256d min_f64, max_f64; /* where elements are f64 */
} extremes;

/* ---------------------------------------------------------------- splitting */

INLINE __m256 without_sign(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* x rounded to bf16, to nearest, ties to even: half a unit less one is added, and one more where the unit is odd. */
INLINE __m256i round_to_bf16(__m256i x)
{
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(x, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return _mm256_and_si256(sum, _mm256_set1_epi32((int)0xffff0000));
}

INLINE __m128i upper_halves(__m256i x)
{
    const __m256i high = _mm256_srli_epi32(x, 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

/*
 * Stores eight kept values as f16 or bf16, and returns the errors |w - v|. They are exact in f32: u, the unit of w in
 * f32, divides w, and it divides v, whose grid is no finer where v lies; and |w - v| <= |w|, since 0 was a candidate
 * for v, too. A multiple of u not above |w| is an f32. (A w rounded up to a power of two gets to a coarser grid still.)
 */
INLINE __m256 store_narrowed(s24_dtype to, __m256 kept, unsigned char *values)
{
    __m128i stored;
    __m256 v;
    if (to == S24_F16) {
        stored = _mm256_cvtps_ph(kept, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        v = _mm256_cvtph_ps(stored);
    } else {
        const __m256i rounded = round_to_bf16(_mm256_castps_si256(kept));
        stored = upper_halves(rounded);
        v = _mm256_castsi256_ps(rounded);
    }
    _mm_storeu_si128((__m128i *)(void *)values, stored);
    return without_sign(_mm256_sub_ps(kept, v));
}

/* Hands on |w| of a quad. */
INLINE void split_done(bool scored, __m256 kept, __m256 pruned, block *b, size_t quad, extremes *e)
{
    _mm256_storeu_ps(b->f32.kept[quad], kept);
    _mm256_storeu_ps(b->f32.pruned[quad], pruned);
    e->min = _mm256_min_ps(e->min, scored ? _mm256_min_ps(kept, pruned) : pruned);
    e->max = _mm256_max_ps(e->max, pruned);
}

INLINE void split_32(s24_dtype to, bool scored, const unsigned char *src, unsigned char *values, block *b, size_t quad,
                     extremes *e)
{
    const __m256 left = split_pair(src, b->keep[quad][0]), right = split_pair(src + 32, b->keep[quad][1]);
    const __m256 kept = _mm256_permute2f128_ps(left, right, 0x20), pruned = _mm256_permute2f128_ps(left, right, 0x31);
    if (to == S24_F32) {
        _mm256_storeu_ps((float *)(void *)values, kept);
    } else {
        const __m256 error = store_narrowed(to, kept, values);
        _mm256_storeu_ps(b->f32.error[quad], error);
        e->max = _mm256_max_ps(e->max, error);
    }
    split_done(scored, without_sign(kept), without_sign(pruned), b, quad, e);
}

/* Eight f16 or bf16 as f32, without signs. */
INLINE __m256 widen_words(s24_dtype from, __m128i x)
{
    const __m128i key = _mm_and_si128(x, _mm_set1_epi16(INT16_MAX));
    return from == S24_F16 ? _mm256_cvtph_ps(key)
                           : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(key), 16));
}

INLINE void split_16(s24_dtype from, bool scored, const unsigned char *src, unsigned char *values, block *b, size_t quad,
                     extremes *e)
{
    const __m128i left = split_eight_words(src, b->keep[quad][0]);
    const __m128i right = split_eight_words(src + 16, b->keep[quad][1]);
    const __m128i kept = _mm_unpacklo_epi64(left, right), pruned = _mm_unpackhi_epi64(left, right);
    _mm_storeu_si128((__m128i *)(void *)values, kept);
    split_done(scored, widen_words(from, kept), widen_words(from, pruned), b, quad, e);
}

/*
 * Eight f8 as f32, without signs. f8e5m2 is the upper half of an f16. f8e4m3, one bit further
 * down, reads as an f16 that is 2^8 times too small: its bias is 7 and not 15. Its NaN is made one of f16.
 *
 *     f16     0eeeeemmmmmmmmmm
 *     f8e5m2  0eeeeemm
 *     f8e4m3   0eeeemmm
 */
INLINE __m256 widen_bytes(s24_dtype from, __m128i x)
{
    const __m128i words = _mm_cvtepu8_epi16(_mm_and_si128(x, _mm_set1_epi8(INT8_MAX)));
    if (from == S24_F8E5M2) {
        return _mm256_cvtph_ps(_mm_slli_epi16(words, 8));
    }
    const __m128i nan = _mm_cmpeq_epi16(words, _mm_set1_epi16(0x7f));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(_mm_slli_epi16(words, 7), nan)), _mm256_set1_ps(256));
}

INLINE void split_8(s24_dtype from, const unsigned char *src, unsigned char *values, block *b, size_t quad,
                    extremes *e)
{
    const __m128i left = split_eight_bytes(src, b->keep[quad][0]);
    const __m128i right = split_eight_bytes(src + 8, b->keep[quad][1]);
    const __m128i kept = _mm_unpacklo_epi32(left, right), pruned = _mm_unpackhi_epi64(kept, kept);
    _mm_storel_epi64((__m128i *)(void *)values, kept);
    split_done(false, widen_bytes(from, kept), widen_bytes(from, pruned), b, quad, e);
}

/* Two groups: half a quad, which starts at lane `lane`. */
INLINE void split_64(bool scored, const unsigned char *src, unsigned keep, unsigned char *values, block *b, size_t quad,
                     unsigned lane, extremes *e)
{
    const __m256d left = split_group(src, keep & 15), right = split_group(src + 32, keep >> 4);
    const __m256d kept = _mm256_permute2f128_pd(left, right, 0x20), pruned = _mm256_permute2f128_pd(left, right, 0x31);
    const __m256d sign = _mm256_set1_pd(-0.0), lost = _mm256_andnot_pd(sign, pruned), held = _mm256_andnot_pd(sign, kept);
    _mm256_storeu_pd((double *)(void *)values, kept);
    _mm256_storeu_pd(b->f64.kept[quad] + lane, held);
    _mm256_storeu_pd(b->f64.pruned[quad] + lane, lost);
    e->min_f64 = _mm256_min_pd(e->min_f64, scored ? _mm256_min_pd(held, lost) : lost);
    e->max_f64 = _mm256_max_pd(e->max_f64, lost);
}

INLINE void split_quad(s24_dtype from, s24_dtype to, bool scored, const unsigned char *src, unsigned char *values,
                       block *b, size_t quad, extremes *e)
{
    switch (from) {
    case S24_F64:
        split_64(scored, src, b->keep[quad][0], values, b, quad, 0, e);
        split_64(scored, src + 64, b->keep[quad][1], values + 32, b, quad, 4, e);
        break;
    case S24_F32: split_32(to, scored, src, values, b, quad, e); break;
    case S24_F16:
    case S24_BF16: split_16(from, scored, src, values, b, quad, e); break;
    default: split_8(from, src, values, b, quad, e); break;
    }
}

/* ---------------------------------------------------------------- sums */

/* Eight f64, as the lanes of s24_lanes. */
typedef struct d8 {
    __m256d low, high;
} d8;

INLINE d8 d8_load(const double lane[8])
{
    return (d8){_mm256_loadu_pd(lane), _mm256_loadu_pd(lane + 4)};
}

INLINE void d8_store(double lane[8], d8 x)
{
    _mm256_storeu_pd(lane, x.low);
    _mm256_storeu_pd(lane + 4, x.high);
}

INLINE d8 d8_widen(const float lane[8])
{
    return (d8){_mm256_cvtps_pd(_mm_loadu_ps(lane)), _mm256_cvtps_pd(_mm_loadu_ps(lane + 4))};
}

INLINE d8 d8_add(d8 a, d8 b)
{
    return (d8){_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
}

/* acc + x * x, for an exact square, and for one that has to be rounded first. */
INLINE d8 d8_add_exact_square(d8 acc, d8 x)
{
    return (d8){_mm256_fmadd_pd(x.low, x.low, acc.low), _mm256_fmadd_pd(x.high, x.high, acc.high)};
}

INLINE d8 d8_add_square(d8 acc, d8 x)
{
    return d8_add(acc, (d8){_mm256_mul_pd(x.low, x.low), _mm256_mul_pd(x.high, x.high)});
}

/*
 * Adds |w| of `quads` quads, in order. Not inlined: these loops need all registers of AVX2, and the constants of the
 * others would take some.
 */
static __attribute__((noinline)) void add_block(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 kept_abs = d8_load(lanes->kept_abs), kept_sq = d8_load(lanes->kept_sq);
    d8 pruned_abs = d8_load(lanes->pruned_abs), pruned_sq = d8_load(lanes->pruned_sq);
    for (size_t i = 0; i < quads; i++) {
        const d8 k = d8_widen(b->f32.kept[i]), p = d8_widen(b->f32.pruned[i]);
        kept_abs = d8_add(kept_abs, k);
        kept_sq = d8_add_exact_square(kept_sq, k);
        pruned_abs = d8_add(pruned_abs, p);
        pruned_sq = d8_add_exact_square(pruned_sq, p);
    }
    d8_store(lanes->kept_abs, kept_abs);
    d8_store(lanes->kept_sq, kept_sq);
    d8_store(lanes->pruned_abs, pruned_abs);
    d8_store(lanes->pruned_sq, pruned_sq);
}

/* The same, and |w - v|. One loop for the three: each has to wait for its own last addition. */
static __attribute__((noinline)) void add_narrowed_block(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 kept_abs = d8_load(lanes->kept_abs), kept_sq = d8_load(lanes->kept_sq);
    d8 pruned_abs = d8_load(lanes->pruned_abs), pruned_sq = d8_load(lanes->pruned_sq);
    d8 quant_abs = d8_load(lanes->quant_abs), quant_sq = d8_load(lanes->quant_sq);
    for (size_t i = 0; i < quads; i++) {
        const d8 k = d8_widen(b->f32.kept[i]);
        kept_abs = d8_add(kept_abs, k);
        kept_sq = d8_add_exact_square(kept_sq, k);
        const d8 p = d8_widen(b->f32.pruned[i]);
        pruned_abs = d8_add(pruned_abs, p);
        pruned_sq = d8_add_exact_square(pruned_sq, p);
        const d8 e = d8_widen(b->f32.error[i]);
        quant_abs = d8_add(quant_abs, e);
        quant_sq = d8_add_exact_square(quant_sq, e);
    }
    d8_store(lanes->kept_abs, kept_abs);
    d8_store(lanes->kept_sq, kept_sq);
    d8_store(lanes->pruned_abs, pruned_abs);
    d8_store(lanes->pruned_sq, pruned_sq);
    d8_store(lanes->quant_abs, quant_abs);
    d8_store(lanes->quant_sq, quant_sq);
}

/* f64: squares are rounded before they are added, as the generic code does it. */
static __attribute__((noinline)) void add_block_f64(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 kept_abs = d8_load(lanes->kept_abs), kept_sq = d8_load(lanes->kept_sq);
    d8 pruned_abs = d8_load(lanes->pruned_abs), pruned_sq = d8_load(lanes->pruned_sq);
    for (size_t i = 0; i < quads; i++) {
        const d8 k = d8_load(b->f64.kept[i]), p = d8_load(b->f64.pruned[i]);
        kept_abs = d8_add(kept_abs, k);
        kept_sq = d8_add_square(kept_sq, k);
        pruned_abs = d8_add(pruned_abs, p);
        pruned_sq = d8_add_square(pruned_sq, p);
    }
    d8_store(lanes->kept_abs, kept_abs);
    d8_store(lanes->kept_sq, kept_sq);
    d8_store(lanes->pruned_abs, pruned_abs);
    d8_store(lanes->pruned_sq, pruned_sq);
}

/* ---------------------------------------------------------------- zeros */

/* What is unequal to 0, and what has the sign bit set: one bit an element. */
typedef struct marks {
    uint64_t nonzero, negative;
} marks;

INLINE unsigned signs_of_doubles(__m256i x)
{
    return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(x));
}

INLINE unsigned signs_of_floats(__m256i x)
{
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(x));
}

/* The marks of as many elements as fill 32 bytes, 16 for 8-bit types. A sign is shifted out: -0.0 is a zero. */
INLINE marks look(s24_dtype from, const unsigned char *src)
{
    const __m256i none = _mm256_setzero_si256();
    if (from == S24_F64) {
        const __m256i x = load32(src);
        return (marks){signs_of_doubles(_mm256_cmpeq_epi64(_mm256_slli_epi64(x, 1), none)) ^ 0xf, signs_of_doubles(x)};
    }
    if (from == S24_F32) {
        const __m256i x = load32(src);
        return (marks){signs_of_floats(_mm256_cmpeq_epi32(_mm256_slli_epi32(x, 1), none)) ^ 0xff, signs_of_floats(x)};
    }
    __m128i x, zero;
    if (from == S24_F16 || from == S24_BF16) {
        const __m128i y = load16(src), z = load16(src + 16);
        x = _mm_packs_epi16(y, z); /* saturates, with its sign */
        zero = _mm_cmpeq_epi8(_mm_packs_epi16(_mm_add_epi16(y, y), _mm_add_epi16(z, z)), _mm_setzero_si128());
    } else {
        x = load16(src);
        zero = _mm_cmpeq_epi8(_mm_add_epi8(x, x), _mm_setzero_si128());
    }
    return (marks){(unsigned)_mm_movemask_epi8(zero) ^ 0xffff, (unsigned)_mm_movemask_epi8(x)};
}

INLINE bool any_at_most(__m256 x, float limit)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_LE_OQ)) != 0;
}

INLINE bool any_zero_f64(__m256d x)
{
    return _mm256_movemask_pd(_mm256_cmp_pd(x, _mm256_setzero_pd(), _CMP_EQ_OQ)) != 0;
}

/* The greatest |w| that is stored as a zero. Half of the least subnormal of f16 and bf16 is a tie, and 0 is even. */
INLINE float stored_as_zero(s24_dtype from, s24_dtype to)
{
    return from == to ? 0 : to == S24_F16 ? 0x1p-25f : 0x1p-134f;
}

/* Zeros among eight stored f16 or bf16. */
INLINE uint64_t count_zeros(const unsigned char *values)
{
    const __m128i x = load16(values), zero = _mm_cmpeq_epi16(_mm_add_epi16(x, x), _mm_setzero_si128());
    return (uint64_t)__builtin_popcount((unsigned)_mm_movemask_epi8(zero)) / 2;
}

/* The counts of one or four quads. */
INLINE void count_quads(s24_lanes *lanes, s24_dtype from, unsigned in, const unsigned char *src, uint64_t keep,
                        unsigned quads)
{
    const unsigned step = in == 1 ? 16 : 32 / in; /* elements a look */
    marks m = {0, 0};
    for (unsigned i = 0; i < 16 * quads; i += step) {
        const marks seen = look(from, src + in * i);
        m.nonzero |= seen.nonzero << i;
        m.negative |= seen.negative << i;
    }
    uint64_t broken = m.nonzero & ~keep; /* gathered at the lowest bit of each group */
    broken |= broken >> 1;
    broken |= broken >> 2;
    lanes->broken_groups += (uint64_t)__builtin_popcountll(broken & EVERY_GROUP(1));
    lanes->negative_zeros += (uint64_t)__builtin_popcountll(m.negative & ~(m.nonzero | keep));
    lanes->kept_zeros += (uint64_t)__builtin_popcountll(keep & ~m.nonzero);
}

/* The counts of a block, after it is stored. */
INLINE void count_block(s24_lanes *lanes, s24_dtype from, unsigned in, s24_dtype to, const unsigned char *src,
                        const unsigned char *values, const block *b, size_t quads)
{
    const uint64_t kept_zeros = lanes->kept_zeros;
    size_t i = 0;
    for (; quads - i >= 4; i += 4) {
        uint64_t keep;
        memcpy(&keep, b->keep[i], 8);
        count_quads(lanes, from, in, src + 16 * in * i, keep, 4);
    }
    for (; i < quads; i++) {
        count_quads(lanes, from, in, src + 16 * in * i, b->keep[i][0] | (uint64_t)b->keep[i][1] << 8, 1);
    }
    if (from != to) { /* zeros are what was stored as such */
        lanes->kept_zeros = kept_zeros;
        for (i = 0; i < quads; i++) {
            lanes->kept_zeros += count_zeros(values + 16 * i);
        }
    }
}

/* ---------------------------------------------------------------- the loops */

/* Keep bits into the block, and position nibbles. in: bytes of an element. */
INLINE void select_block(s24_dtype from, unsigned in, unsigned out, const unsigned char *src, bool scored,
                         const s24_row_factors *f, size_t at, unsigned char *values, uint8_t *positions, size_t quads,
                         block *b)
{
    size_t i = 0;
    for (; quads - i >= 4; i += 4) {
        prefetch_pages(src + 16 * in * i, 64 * in);
        prefetch_written(values + 8 * out * i, 32 * out);
        const uint64_t keep = select_keep(from, in, src + 16 * in * i, 4, scored, f, at + 16 * i);
        const uint64_t nibbles = positions_of(keep);
        memcpy(b->keep[i], &keep, 8);
        memcpy(positions + 2 * i, &nibbles, 8);
    }
    for (; i < quads; i++) {
        const uint64_t keep = select_keep(from, in, src + 16 * in * i, 1, scored, f, at + 16 * i);
        const uint64_t nibbles = positions_of(keep);
        memcpy(b->keep[i], &keep, 2);
        memcpy(positions + 2 * i, &nibbles, 2);
    }
}

/* in, out: bytes of an element. */
INLINE void prune_block(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src, size_t quads,
                        bool scored, const s24_row_factors *f, size_t at, unsigned char *values, uint8_t *positions,
                        extremes *e, s24_lanes *lanes)
{
    block b;
    select_block(from, in, out, src, scored, f, at, values, positions, quads, &b);
    e->min = _mm256_set1_ps(FLT_MAX);
    e->min_f64 = _mm256_set1_pd(DBL_MAX);
    for (size_t i = 0; i < quads; i++) {
        split_quad(from, to, scored, src + 16 * in * i, values + 8 * out * i, &b, i, e);
    }
    if (from == S24_F64 ? any_zero_f64(e->min_f64) : any_at_most(e->min, stored_as_zero(from, to))) {
        count_block(lanes, from, in, to, src, values, &b, quads);
    } else {
        lanes->broken_groups += 4 * quads;
    }
    if (from == S24_F64) {
        add_block_f64(lanes, &b, quads);
    } else if (from != to) {
        add_narrowed_block(lanes, &b, quads);
    } else {
        add_block(lanes, &b, quads);
    }
}

/* One to three groups at the end of a row: a quad with zeros behind them, of which only zeros are counted, and taken back. */
INLINE void prune_rest(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src, size_t groups,
                       bool scored, const s24_row_factors *f, size_t at, unsigned char *values, uint8_t *positions,
                       extremes *e, s24_lanes *lanes)
{
    unsigned char padded[16 * 8] = {0}, stored[8 * 8];
    uint8_t nibbles[2];
    memcpy(padded, src, 4 * groups * in);
    prune_block(from, in, to, out, padded, 1, scored, f, at, stored, nibbles, e, lanes);
    lanes->kept_zeros -= 2 * (4 - groups);
    memcpy(values, stored, 2 * groups * out);
    nibbles[groups / 2] &= 15; /* of an odd number the pad nibble is 0; of two, this is not copied */
    memcpy(positions, nibbles, (groups + 1) / 2);
}

/* What is left to do at the end of a call. By magnitude non-finite elements are kept before others: that sum has them. */
INLINE void lanes_end(s24_lanes *lanes, bool scored, const extremes *e)
{
    float max[8];
    double max_f64[4];
    _mm256_storeu_ps(max, e->max);
    _mm256_storeu_pd(max_f64, e->max_f64);
    for (unsigned i = 0; i < S24_LANES; i++) {
        const double greatest = max_f64[i % 4] > max[i] ? max_f64[i % 4] : (double)max[i];
        lanes->max_abs_error = greatest > lanes->max_abs_error ? greatest : lanes->max_abs_error;
        lanes->redo |= !(lanes->kept_abs[i] + lanes->quant_abs[i] + (scored ? lanes->pruned_abs[i] : 0) <= DBL_MAX);
    }
}

INLINE size_t prune(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *dense, size_t groups,
                    bool scored, const s24_row_factors *f, void *kept, uint8_t *positions, s24_lanes *lanes)
{
    const unsigned char *src = dense;
    unsigned char *values = kept;
    const size_t quads = groups / 4;
    extremes e = {.max = _mm256_setzero_ps(), .max_f64 = _mm256_setzero_pd()};
    for (size_t i = 0; i < quads; i += BLOCK_QUADS) {
        const size_t n = quads - i < BLOCK_QUADS ? quads - i : BLOCK_QUADS;
        prune_block(from, in, to, out, src + 16 * in * i, n, scored, f, 16 * i, values + 8 * out * i, positions + 2 * i, &e,
                    lanes);
    }
    if (groups % 4) {
        prune_rest(from, in, to, out, src + 16 * in * quads, groups % 4, scored, f, 16 * quads, values + 8 * out * quads,
                   positions + 2 * quads, &e, lanes);
    }
    lanes_end(lanes, scored, &e);
    return groups;
}

#define PRUNE_KERNEL(name, from, in, to, out) \
    size_t name(const void *src, size_t groups, void *values, uint8_t *positions, s24_lanes *lanes) \
    { \
        return prune(S24_##from, in, S24_##to, out, src, groups, false, NULL, values, positions, lanes); \
    }
#define SCORE_KERNEL(name, from, in, to, out) \
    size_t name(const void *src, size_t groups, const s24_row_factors *factors, void *values, uint8_t *positions, \
                s24_lanes *lanes) \
    { \
        return prune(S24_##from, in, S24_##to, out, src, groups, true, factors, values, positions, lanes); \
    }

PRUNE_KERNEL(s24_prune_avx2_f64, F64, 8, F64, 8)
PRUNE_KERNEL(s24_prune_avx2_f32, F32, 4, F32, 4)
PRUNE_KERNEL(s24_prune_avx2_f32_f16, F32, 4, F16, 2)
PRUNE_KERNEL(s24_prune_avx2_f32_bf16, F32, 4, BF16, 2)
PRUNE_KERNEL(s24_prune_avx2_f16, F16, 2, F16, 2)
PRUNE_KERNEL(s24_prune_avx2_bf16, BF16, 2, BF16, 2)
PRUNE_KERNEL(s24_prune_avx2_f8e4m3, F8E4M3, 1, F8E4M3, 1)
PRUNE_KERNEL(s24_prune_avx2_f8e5m2, F8E5M2, 1, F8E5M2, 1)

SCORE_KERNEL(s24_score_avx2_f64, F64, 8, F64, 8)
SCORE_KERNEL(s24_score_avx2_f32, F32, 4, F32, 4)
SCORE_KERNEL(s24_score_avx2_f32_f16, F32, 4, F16, 2)
SCORE_KERNEL(s24_score_avx2_f32_bf16, F32, 4, BF16, 2)
SCORE_KERNEL(s24_score_avx2_f16, F16, 2, F16, 2)
SCORE_KERNEL(s24_score_avx2_bf16, BF16, 2, BF16, 2)

/* ---------------------------------------------------------------- i8 */

/* See count_integers. */
typedef struct integers {
    __m256i kept_abs, pruned_abs; /* 64 bits */
    __m256i kept_sq, pruned_sq;   /* 32 bits */
    __m256i max;                  /* of the pruned */
} integers;

/* Of 64 elements. */
typedef struct integer_bits {
    uint64_t pruned, zero, lowest;
} integer_bits;

/* Squares added by fours. */
INLINE __m256i add_squares(__m256i sum, __m256i x)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, x), _mm256_set1_epi16(1)));
}

INLINE void add_bytes(const unsigned char *src, unsigned at, integers *s, integer_bits *bits)
{
    const __m256i x = load32(src + at), key = _mm256_abs_epi8(x), none = _mm256_setzero_si256();
    const __m256i losers = losers_bytes(key);
    const __m256i kept = _mm256_andnot_si256(losers, key), pruned = _mm256_and_si256(losers, key);
    s->kept_abs = _mm256_add_epi64(s->kept_abs, _mm256_sad_epu8(kept, none));
    s->pruned_abs = _mm256_add_epi64(s->pruned_abs, _mm256_sad_epu8(pruned, none));
    s->kept_sq = add_squares(s->kept_sq, kept);
    s->pruned_sq = add_squares(s->pruned_sq, pruned);
    s->max = _mm256_max_epu8(s->max, pruned);
    bits->pruned |= (uint64_t)(unsigned)_mm256_movemask_epi8(losers) << at;
    bits->zero |= (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(x, none)) << at;
    bits->lowest |= (uint64_t)(unsigned)_mm256_movemask_epi8(key) << at;
}

/* The 16 kept of 32. */
INLINE __m128i kept_bytes(const unsigned char *src, uint32_t keep)
{
    const __m128i a = split_eight_bytes(src, (uint8_t)keep), b = split_eight_bytes(src + 8, (uint8_t)(keep >> 8));
    const __m128i c = split_eight_bytes(src + 16, (uint8_t)(keep >> 16)), d = split_eight_bytes(src + 24, (uint8_t)(keep >> 24));
    return _mm_unpacklo_epi64(_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
}

/* 64 elements of which the lowest are `real`, the others 0. */
INLINE void prune_chunk_i8(const unsigned char *src, unsigned char *values, uint8_t *positions, uint64_t real,
                           integers *s, s24_lanes *lanes)
{
    integer_bits bits = {0, 0, 0};
    add_bytes(src, 0, s, &bits);
    add_bytes(src, 32, s, &bits);
    const uint64_t keep = ~bits.pruned, nibbles = positions_of(keep);
    _mm_storeu_si128((__m128i *)(void *)values, kept_bytes(src, (uint32_t)keep));
    _mm_storeu_si128((__m128i *)(void *)(values + 16), kept_bytes(src + 32, (uint32_t)(keep >> 32)));
    memcpy(positions, &nibbles, 8);
    count_integers(lanes, keep, bits.zero, bits.lowest, real);
}

static void integers_end(const integers *s, s24_lanes *lanes)
{
    uint64_t kept_abs[4], pruned_abs[4];
    int32_t kept_sq[8], pruned_sq[8];
    uint8_t max[32];
    memcpy(kept_abs, &s->kept_abs, 32);
    memcpy(pruned_abs, &s->pruned_abs, 32);
    memcpy(kept_sq, &s->kept_sq, 32);
    memcpy(pruned_sq, &s->pruned_sq, 32);
    memcpy(max, &s->max, 32);
    for (unsigned i = 0; i < 8; i++) {
        lanes->kept_abs[0] += i < 4 ? (double)kept_abs[i] : 0;
        lanes->pruned_abs[0] += i < 4 ? (double)pruned_abs[i] : 0;
        lanes->kept_sq[0] += kept_sq[i];
        lanes->pruned_sq[0] += pruned_sq[i];
    }
    for (unsigned i = 0; i < 32; i++) {
        lanes->max_abs_error = max[i] > lanes->max_abs_error ? max[i] : lanes->max_abs_error;
    }
}

#include "prune_i8_template.h"

PRUNE_I8_KERNEL(s24_prune_avx2_i8)

VECTOR_END

#endif
