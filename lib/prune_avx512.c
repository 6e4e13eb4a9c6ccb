/*
 * Pruning by magnitude and by scores for AVX-512 (F, BW, DQ, VL, VBMI, VBMI2: Ice Lake, Zen 4 and later). Who is kept is
 * found without a compare and without a branch. A negative difference of two keys is a lost comparison; keys have a bit less
 * than a lane, so no difference overflows. Who loses at most once is kept: "not the majority of three sign bits" is one
 * ternary logic operation. Of equal keys the lower index wins.
 *
 * f32 is transposed, 64 keys at a time; a quarter of each vector here. Then each difference is taken only once:
 *
 *     x0 ... x3    a group each    a0 b0 c0 d0    a1 b1 c1 d1    a2 b2 c2 d2    a3 b3 c3 d3
 *     a  ... d     transposed      a0 a1 a2 a3    b0 b1 b2 b3    c0 c1 c2 c3    d0 d1 d2 d3
 *     a-b, a-c, a-d, b-c, b-d, c-d: where negative, the one on the right wins, otherwise the one on the left
 *
 * 16 bits are half transposed, and others are compared in place, each lane with its three partners:
 *
 *     a        keys of a group                a0       a1       a2       a3
 *     l1       against lane ^ 1               a0-a1    a1-1-a0  a2-a3    a3-1-a2
 *     l2       against lane ^ 2               a0-a2    a1-a3    a2-1-a0  a3-1-a1
 *     l3       against lane ^ 3               a0-a3    a1-a2    a2-1-a1  a3-1-a0
 *
 * Against a partner on the left a lane has 1 less, and so loses where they are equal.
 *
 * Positions, two bits a value, then are the indices of shuffles that put 16 kept, and 16 pruned, elements of 32 behind one
 * another: the lanes of s24_lanes, twice. (vpcompress takes two operations for each vector, and leaves half a one.)
 *
 * A chunk of 64 elements is selected, split, widened and summed up in rounds of one loop, each step a round after the one
 * before, handing on through the L1 cache: from there to f64 takes two operations for any eight f32, and from the upper half
 * of a register three. In each round the loop so reads as much as in any other, and computes while it waits for memory.
 * (Three loops over blocks read and prefetch in bursts: 0.85 of that from memory.)
 *
 * What prune_avx2.c says about exact sums, zeros, non-finite elements and scores holds here, too.
 */
#include "kernels.h"

#if S24_X86

#include "dtype.h"
#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX512)

/* "At most one of three" as a truth table, bit 4a + 2b + c for inputs a, b, c: of these; of ~a; ~a, ~b; ~a, ~b, ~c. */
#define NOT_MAJORITY 0x17
#define NOT_MAJORITY_A 0x71
#define NOT_MAJORITY_AB 0xd4
#define NOT_MAJORITY_ABC 0xe8

#define CHUNK 64 /* elements: what is selected together, 16 groups */

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

/* How near two of a chunk's keys come to one another; keys of 0 may do so, since the lower index then wins. */
INLINE __m512i distance(__m512i a, __m512i b)
{
    return _mm512_mask_abs_epi32(_mm512_set1_epi32(INT32_MAX), _mm512_test_epi32_mask(a, a) | _mm512_test_epi32_mask(b, b),
                                 _mm512_sub_epi32(a, b));
}

INLINE bool too_near(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab_cd = _mm512_min_epu32(distance(a, b), distance(c, d));
    const __m512i ac_bd = _mm512_min_epu32(distance(a, c), distance(b, d));
    const __m512i ad_bc = _mm512_min_epu32(distance(a, d), distance(b, c));
    const __m512i least = _mm512_min_epu32(_mm512_min_epu32(ab_cd, ac_bd), ad_bc);
    return _mm512_cmplt_epu32_mask(least, _mm512_set1_epi32(S24_SCORES_APART)) != 0;
}

/* 64 keys of 32 bits, the sign 0. *near (NULL: no matter): two of a group are less than S24_SCORES_APART apart. */
INLINE uint64_t keep_keys(__m512i x0, __m512i x1, __m512i x2, __m512i x3, bool *near)
{
    const __m512i ab01 = _mm512_unpacklo_epi32(x0, x1), cd01 = _mm512_unpackhi_epi32(x0, x1);
    const __m512i ab23 = _mm512_unpacklo_epi32(x2, x3), cd23 = _mm512_unpackhi_epi32(x2, x3);
    const __m512i a = _mm512_unpacklo_epi64(ab01, ab23), b = _mm512_unpackhi_epi64(ab01, ab23);
    const __m512i c = _mm512_unpacklo_epi64(cd01, cd23), d = _mm512_unpackhi_epi64(cd01, cd23);
    const __m512i ab = _mm512_sub_epi32(a, b), ac = _mm512_sub_epi32(a, c), ad = _mm512_sub_epi32(a, d);
    const __m512i bc = _mm512_sub_epi32(b, c), bd = _mm512_sub_epi32(b, d), cd = _mm512_sub_epi32(c, d);
    if (near) {
        *near = too_near(a, b, c, d);
    }
    return signs_in_order(_mm512_ternarylogic_epi32(ab, ac, ad, NOT_MAJORITY),
                          _mm512_ternarylogic_epi32(ab, bc, bd, NOT_MAJORITY_A),
                          _mm512_ternarylogic_epi32(ac, bc, cd, NOT_MAJORITY_AB),
                          _mm512_ternarylogic_epi32(ad, bd, cd, NOT_MAJORITY_ABC));
}

INLINE uint64_t keep_floats(const unsigned char *src)
{
    return keep_keys(load_magnitudes(src), load_magnitudes(src + 64), load_magnitudes(src + 128), load_magnitudes(src + 192),
                     NULL);
}

/*
 * 64 elements of 16 bits, e = 32 v + 4 g + j. Vector 0 in the low and vector 1 in the high half of each 32 bits, j = 0 and
 * 2 (a, c) in one register and 1 and 3 (b, d) in another: loads at addresses a word off do that.
 *
 *     ac           a0  a1  c0  c1        ac - bd                a-b, c-d, and inverted b-a-1, d-c-1
 *     bd           b0  b1  d0  d1        ac against ca, db      a-c, c-1-a    a-d, c-1-b
 *                                        bd against ca, db      b-c, d-1-a    b-d, d-1-b
 */
#define WORD_PACKED(e) 16 * ((e) >> 3 & 3) + 8 * ((e) & 1) + 4 * ((e) >> 2 & 1) + ((e) & 2) + ((e) >> 5),
static const uint8_t words_order[64] = {BYTES64(WORD_PACKED, 0)};

INLINE uint64_t keep_words(const unsigned char *src)
{
    const __mmask32 odd = 0xaaaaaaaa;
    const __m512i magnitude = _mm512_set1_epi16(INT16_MAX), left = _mm512_set1_epi64((int64_t)0xffffffff00000000);
    const __m512i acs = _mm512_mask_loadu_epi16(_mm512_loadu_si512(src), odd, src + 62);
    const __m512i bds = _mm512_mask_loadu_epi16(_mm512_loadu_si512(src + 2), odd, src + 64);
    const __m512i ac = _mm512_and_si512(acs, magnitude), bd = _mm512_and_si512(bds, magnitude);
    const __m512i ca = _mm512_rol_epi64(ac, 32), db = _mm512_rol_epi64(bd, 32);
    const __m512i ac1 = _mm512_add_epi16(ac, left), bd1 = _mm512_add_epi16(bd, left);
    const __m512i beside = _mm512_sub_epi16(ac, bd);
    const __m512i keep_ac = _mm512_ternarylogic_epi32(beside, _mm512_sub_epi16(ac1, ca), _mm512_sub_epi16(ac1, db),
                                                      NOT_MAJORITY);
    const __m512i keep_bd = _mm512_ternarylogic_epi32(beside, _mm512_sub_epi16(bd1, ca), _mm512_sub_epi16(bd1, db),
                                                      NOT_MAJORITY_A);
    const __m512i packed = _mm512_packs_epi16(keep_ac, keep_bd);
    return _mm512_movepi8_mask(_mm512_permutexvar_epi8(_mm512_loadu_si512(words_order), packed));
}

INLINE __m512i byte_keys(s24_dtype from, __m512i x)
{
    return from == S24_I8 ? _mm512_abs_epi8(x) : _mm512_and_si512(x, _mm512_set1_epi8(INT8_MAX));
}

/*
 * 64 elements. A key of i8 fills its lane, |-128| = 128. So keys are negated, which makes them signed, and subtracted
 * the other way round and with saturation, which keeps the sign.
 */
INLINE uint64_t keep_bytes(s24_dtype from, const unsigned char *src)
{
    const __m512i left1 = _mm512_set1_epi16(0x0100), left2 = _mm512_set1_epi32(0x01010000);
    const __m512i beside = _mm512_broadcast_i32x4(_mm_set_epi8(14, 15, 12, 13, 10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1));
    const __m512i reverse = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    const __m512i a = _mm512_sub_epi8(_mm512_setzero_si512(), byte_keys(from, _mm512_loadu_si512(src)));
    const __m512i a1 = _mm512_add_epi8(a, left1), a2 = _mm512_add_epi8(a, left2);
    const __m512i l1 = _mm512_subs_epi8(_mm512_shuffle_epi8(a, beside), a1);
    const __m512i l2 = _mm512_subs_epi8(_mm512_rol_epi32(a, 16), a2);
    const __m512i l3 = _mm512_subs_epi8(_mm512_shuffle_epi8(a, reverse), a2);
    return _mm512_movepi8_mask(_mm512_ternarylogic_epi32(l1, l2, l3, NOT_MAJORITY));
}

/* Eight keys of 64 bits, the sign 0. */
INLINE uint64_t keep_long_keys(__m512i a)
{
    const __m512i left1 = _mm512_set4_epi64(-1, 0, -1, 0), left2 = _mm512_set4_epi64(-1, -1, 0, 0);
    const __m512i a1 = _mm512_add_epi64(a, left1), a2 = _mm512_add_epi64(a, left2);
    const __m512i l1 = _mm512_sub_epi64(a1, _mm512_shuffle_epi32(a, _MM_PERM_BADC));
    const __m512i l2 = _mm512_sub_epi64(a2, _mm512_permutex_epi64(a, 0x4e));
    const __m512i l3 = _mm512_sub_epi64(a2, _mm512_permutex_epi64(a, 0x1b));
    return _mm512_movepi64_mask(_mm512_ternarylogic_epi64(l1, l2, l3, NOT_MAJORITY));
}

INLINE uint64_t keep_doubles(const unsigned char *src)
{
    return keep_long_keys(_mm512_and_si512(_mm512_loadu_si512(src), _mm512_set1_epi64(INT64_MAX)));
}

/* ---------------------------------------------------------------- selection by scores */

/* |w| of sixteen elements that are no f64, as f32. */
INLINE __m512 sixteen_magnitudes(s24_dtype from, const unsigned char *src)
{
    if (from == S24_F32) {
        return _mm512_castsi512_ps(load_magnitudes(src));
    }
    const __m256i key = _mm256_and_si256(load32(src), _mm256_set1_epi16(INT16_MAX));
    return from == S24_F16 ? _mm512_cvtph_ps(key)
                           : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(key), 16));
}

/* Of eight elements, as f64. */
INLINE __m512d eight_magnitudes(s24_dtype from, const unsigned char *src)
{
    const __m128i magnitude = _mm_set1_epi16(INT16_MAX);
    switch (from) {
    case S24_F64: return _mm512_andnot_pd(_mm512_set1_pd(-0.0), _mm512_loadu_pd(src));
    case S24_F32: return _mm512_cvtps_pd(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_castsi256_ps(load32(src))));
    case S24_F16: return _mm512_cvtps_pd(_mm256_cvtph_ps(_mm_and_si128(load16(src), magnitude)));
    default: return _mm512_cvtps_pd(_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_and_si128(load16(src), magnitude)), 16)));
    }
}

/* The keep bits of a chunk by scores in f64; at: its first element's factors. */
INLINE uint64_t keep_exactly(s24_dtype from, unsigned in, const unsigned char *src, const s24_row_factors *f, size_t at)
{
    uint64_t keep = 0;
    for (unsigned i = 0; i < CHUNK; i += 8) {
        __m512d factor = _mm512_loadu_pd(f->a + at + i);
        if (f->c) {
            factor = _mm512_add_pd(factor, _mm512_mul_pd(_mm512_set1_pd(f->b), _mm512_loadu_pd(f->c + at + i)));
        }
        const __m512d score = _mm512_mul_pd(eight_magnitudes(from, src + in * i), factor);
        keep |= keep_long_keys(_mm512_castpd_si512(score)) << i;
    }
    return keep;
}

/* Seldom wanted: out of the way of the loop. */
static __attribute__((noinline)) uint64_t keep_near(s24_dtype from, const unsigned char *src, const s24_row_factors *f,
                                                    size_t at)
{
    switch (from) {
    case S24_F32: return keep_exactly(S24_F32, 4, src, f, at);
    case S24_F16: return keep_exactly(S24_F16, 2, src, f, at);
    default: return keep_exactly(S24_BF16, 2, src, f, at);
    }
}

/* Sixteen scores in f32, nearly. */
INLINE __m512i near_scores(s24_dtype from, const unsigned char *src, const s24_row_factors *f, size_t at)
{
    __m512 factor = _mm512_loadu_ps(f->near_a + at);
    if (f->near_c) {
        factor = _mm512_fmadd_ps(_mm512_set1_ps(f->near_b), _mm512_loadu_ps(f->near_c + at), factor);
    }
    return _mm512_castps_si512(_mm512_mul_ps(sixteen_magnitudes(from, src), factor));
}

INLINE uint64_t keep_scored(s24_dtype from, unsigned in, const unsigned char *src, const s24_row_factors *f, size_t at)
{
    if (from == S24_F64) {
        return keep_exactly(from, in, src, f, at);
    }
    bool near = true;
    uint64_t keep = 0;
    if (f->near_a) {
        keep = keep_keys(near_scores(from, src, f, at), near_scores(from, src + 16 * in, f, at + 16),
                         near_scores(from, src + 32 * in, f, at + 32), near_scores(from, src + 48 * in, f, at + 48), &near);
    }
    return near ? keep_near(from, src, f, at) : keep;
}

/* ---------------------------------------------------------------- selection of a chunk */

/* The keep bits of a chunk, element 0 lowest. in: bytes of an element; scored: by factors f, of which its own begin
 * at `at`. */
INLINE uint64_t select_keep(s24_dtype from, unsigned in, const unsigned char *src, bool scored, const s24_row_factors *f,
                            size_t at)
{
    uint64_t keep = 0;
    if (scored) {
        return keep_scored(from, in, src, f, at);
    }
    if (from == S24_F32) {
        return keep_floats(src);
    }
    if (from == S24_F64) {
        for (unsigned i = 0; i < 8; i++) {
            keep |= keep_doubles(src + 64 * i) << 8 * i;
        }
        return keep;
    }
    return in == 1 ? keep_bytes(from, src) : keep_words(src);
}

/* ---------------------------------------------------------------- what the loops hand on */

#define HALF 32         /* what is split together: as many as give 16 kept and 16 pruned */
#define BLOCK_CHUNKS 64 /* what is looked at again together where there are zeros */

/* From splitting on a chunk goes through three steps, one a round, in one of four places, for two halves each. */
#define RING 8

#define BATCH 8 /* chunks whose positions are worked out together: those of each are 64 bits */

typedef struct block {
    uint64_t keep[BLOCK_CHUNKS];
    uint64_t order[2][2][8];                                          /* of two batches: see order_of */
    uint16_t words[RING][32];                                         /* |w| of 16 kept and 16 pruned, as f16 or as bytes */
    float kept[RING][16], pruned[RING][16], error[RING][16];          /* |w|, and |w - v| of the kept */
} block;

/* Sums, lane by lane as in s24_lanes. The extremes are those of pruned |w|, as keys of 16 bits, f32 or f64. */
typedef struct sums {
    __m512d kept_abs, kept_sq, pruned_abs, pruned_sq, quant_abs, quant_sq;
    __m512i min, max;
} sums;

INLINE __m512 without_sign(__m512 x)
{
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MAX)));
}

/* acc + x * x of 16 f32 in memory: the upper half of a register would take an operation more. */
INLINE void add_floats(__m512d *abs, __m512d *sq, const float x[16])
{
    const __m512d low = _mm512_cvtps_pd(_mm256_loadu_ps(x)), high = _mm512_cvtps_pd(_mm256_loadu_ps(x + 8));
    *abs = _mm512_add_pd(_mm512_add_pd(*abs, low), high);
    *sq = _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, *sq));
}

INLINE void add_half(const block *b, size_t half, bool narrowed, sums *s)
{
    add_floats(&s->kept_abs, &s->kept_sq, b->kept[half]);
    add_floats(&s->pruned_abs, &s->pruned_sq, b->pruned[half]);
    if (narrowed) {
        add_floats(&s->quant_abs, &s->quant_sq, b->error[half]);
    }
}

/* ---------------------------------------------------------------- splitting */

/* (x & mask) | base */
#define MASKED_OR 0xea

/* Two bits a lane, lane 0 lowest, become indices of 32 elements: group 4 (lane / 2), and there the one they say. */
INLINE __m512i indices_of(const uint32_t *positions)
{
    const __m512i shifts = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i base = _mm512_set_epi32(28, 28, 24, 24, 20, 20, 16, 16, 12, 12, 8, 8, 4, 4, 0, 0);
    const __m512i x = _mm512_srlv_epi32(_mm512_set1_epi32((int)*positions), shifts);
    return _mm512_ternarylogic_epi32(x, _mm512_set1_epi32(3), base, MASKED_OR);
}

/* x rounded to bf16, to nearest, ties to even: half a unit less one is added, and one more where the unit is odd. */
INLINE __m512i round_to_bf16(__m512i x)
{
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_and_si512(sum, _mm512_set1_epi32((int)0xffff0000));
}

#define ODD_WORD(b) (2 * ((b) & ~1) + 2 + ((b) & 1)) & 63,
#define EVEN_WORD(b) (2 * ((b) & ~1) + ((b) & 1)) & 63,
static const uint8_t odd_words[64] = {BYTES64(ODD_WORD, 0)};
static const uint8_t even_words[64] = {BYTES64(EVEN_WORD, 0)};

INLINE __m256i pick_bytes(const uint8_t which[64], __m512i x)
{
    return _mm512_castsi512_si256(_mm512_permutexvar_epi8(_mm512_loadu_si512(which), x));
}

/*
 * Stores 16 kept values as f16 or bf16, and returns the errors |w - v|. They are exact in f32: u, the unit of w in
 * f32, divides w, and it divides v, whose grid is no finer where v lies; and |w - v| <= |w|, since 0 was a candidate
 * for v, too. A multiple of u not above |w| is an f32. (A w rounded up to a power of two gets to a coarser grid still.)
 */
INLINE __m512 store_narrowed(s24_dtype to, __m512 kept, unsigned char *values)
{
    __m256i stored;
    __m512 v;
    if (to == S24_F16) {
        stored = _mm512_cvtps_ph(kept, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        v = _mm512_cvtph_ps(stored);
    } else {
        const __m512i rounded = round_to_bf16(_mm512_castps_si512(kept));
        stored = pick_bytes(odd_words, rounded);
        v = _mm512_castsi512_ps(rounded);
    }
    _mm256_storeu_si256((__m256i *)(void *)values, stored);
    return without_sign(_mm512_sub_ps(kept, v));
}

INLINE void split_floats(s24_dtype to, bool scored, const unsigned char *src, unsigned char *values, const uint64_t *places,
                         block *b, size_t half, sums *s)
{
    const uint32_t *order = (const uint32_t *)(const void *)places;
    const __m512 x0 = _mm512_loadu_ps(src), x1 = _mm512_loadu_ps(src + 64);
    const __m512 kept = _mm512_permutex2var_ps(x0, indices_of(order), x1);
    const __m512 pruned = without_sign(_mm512_permutex2var_ps(x0, indices_of(order + 1), x1));
    __m512 max = _mm512_castsi512_ps(s->max);
    if (to == S24_F32) {
        _mm512_storeu_ps(values, kept);
    } else {
        const __m512 error = store_narrowed(to, kept, values);
        _mm512_storeu_ps(b->error[half], error);
        max = _mm512_max_ps(max, error);
    }
    const __m512 magnitude = without_sign(kept), least = scored ? _mm512_min_ps(magnitude, pruned) : pruned;
    _mm512_storeu_ps(b->kept[half], magnitude);
    _mm512_storeu_ps(b->pruned[half], pruned);
    s->min = _mm512_castps_si512(_mm512_min_ps(_mm512_castsi512_ps(s->min), least));
    s->max = _mm512_castps_si512(_mm512_max_ps(max, pruned));
}

/*
 * Words: one shuffle of bytes puts 16 kept words in front of 16 pruned ones; those of bf16 side by side, so that each
 * pair is two halves of f32. Byte n of the result belongs to word w = n / 2 of group w / 2 mod 8; that group's words
 * start at byte 8 (w / 2), and the two bits that say which of them it is lie at bit 2 w of the order. They are wanted
 * one bit higher, times two.
 */
#define BESIDE(w) ((w) / 2 + 16 * ((w) & 1))
#define SHIFT_OF(w) (uint8_t)((2 * (w) - 1) & 63)
#define BASE_OF(w, n) (8 * ((w) / 2 % 8) + ((n) & 1))
#define SHIFT_APART(n) SHIFT_OF((n) / 2),
#define SHIFT_BESIDE(n) SHIFT_OF(BESIDE((n) / 2)),
#define BASE_APART(n) BASE_OF((n) / 2, n),
#define BASE_BESIDE(n) BASE_OF(BESIDE((n) / 2), n),
static const uint8_t shift_apart[64] = {BYTES64(SHIFT_APART, 0)}, base_apart[64] = {BYTES64(BASE_APART, 0)};
static const uint8_t shift_beside[64] = {BYTES64(SHIFT_BESIDE, 0)}, base_beside[64] = {BYTES64(BASE_BESIDE, 0)};

INLINE __m512i split_order(bool beside, const uint64_t *order)
{
    const __m512i shift = _mm512_loadu_si512(beside ? shift_beside : shift_apart);
    const __m512i base = _mm512_loadu_si512(beside ? base_beside : base_apart);
    const __m512i x = _mm512_multishift_epi64_epi8(shift, _mm512_set1_epi64((int64_t)*order));
    return _mm512_ternarylogic_epi64(x, _mm512_set1_epi8(6), base, MASKED_OR);
}

INLINE void words_extremes(__m512i key, sums *s)
{
    s->min = _mm512_min_epu16(s->min, key);
    s->max = _mm512_max_epu16(s->max, key);
}

/* Eight-bit types are split as words, too. */
INLINE void split_words(s24_dtype from, const unsigned char *src, unsigned char *values, const uint64_t *order, block *b,
                        size_t half, sums *s)
{
    const bool wide = from == S24_F16 || from == S24_BF16, beside = from == S24_BF16;
    const __m512i x = wide ? _mm512_loadu_si512(src) : _mm512_cvtepu8_epi16(load32(src));
    const __m512i y = _mm512_permutexvar_epi8(split_order(beside, order), x);
    const __m512i key = _mm512_and_si512(y, _mm512_set1_epi16(wide ? INT16_MAX : INT8_MAX));
    words_extremes(key, s);
    if (from == S24_BF16) {
        _mm256_storeu_si256((__m256i *)(void *)values, pick_bytes(even_words, y));
        _mm512_storeu_si512(b->kept[half], _mm512_slli_epi32(key, 16));
        _mm512_storeu_si512(b->pruned[half], _mm512_and_si512(key, _mm512_set1_epi32((int)0xffff0000)));
        return;
    }
    const __m256i kept = _mm512_castsi512_si256(y);
    if (from == S24_F16) {
        _mm256_storeu_si256((__m256i *)(void *)values, kept);
    } else {
        _mm_storeu_si128((__m128i *)(void *)values, _mm256_cvtepi16_epi8(kept));
    }
    _mm512_storeu_si512(b->words[half], key);
}

/*
 * Sixteen keys of an 8-bit type as f32. f8e5m2 is the upper half of an f16. f8e4m3, one bit further down, reads as an f16
 * that is 2^8 times too small: its bias is 7 and not 15.
 *
 *     f16     0eeeeemmmmmmmmmm
 *     f8e5m2  0eeeeemm
 *     f8e4m3   0eeeemmm
 */
INLINE __m512 widen_bytes(s24_dtype from, __m256i key)
{
    if (from == S24_F8E5M2) {
        return _mm512_cvtph_ps(_mm256_slli_epi16(key, 8));
    }
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_slli_epi16(key, 7)), _mm512_set1_ps(256));
}

INLINE __m512 widen16(s24_dtype from, const uint16_t *words)
{
    return from == S24_F16 ? _mm512_cvtph_ps(load32(words)) : widen_bytes(from, load32(words));
}

/* What was split as words, as f32. */
INLINE void widen_half(s24_dtype from, block *b, size_t half)
{
    if (from != S24_F64 && from != S24_F32 && from != S24_BF16) {
        _mm512_storeu_ps(b->kept[half], widen16(from, b->words[half]));
        _mm512_storeu_ps(b->pruned[half], widen16(from, b->words[half] + 16));
    }
}

/* Two bits a lane, of eight lanes. */
INLINE __m512i indices_of_doubles(uint32_t positions)
{
    const __m512i shifts = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i base = _mm512_set_epi64(12, 12, 8, 8, 4, 4, 0, 0);
    const __m512i x = _mm512_srlv_epi64(_mm512_set1_epi64(positions), shifts);
    return _mm512_ternarylogic_epi64(x, _mm512_set1_epi64(3), base, MASKED_OR);
}

/* Half of a half: f64 need no widening, and are added at once. Squares are rounded first, as the generic code does it. */
INLINE void split_doubles(bool scored, const unsigned char *src, unsigned char *values, uint64_t order, sums *s)
{
    const __m512d x0 = _mm512_loadu_pd(src), x1 = _mm512_loadu_pd(src + 64);
    const __m512d sign = _mm512_set1_pd(-0.0);
    const __m512d w = _mm512_permutex2var_pd(x0, indices_of_doubles((uint32_t)order), x1);
    const __m512d x = _mm512_permutex2var_pd(x0, indices_of_doubles((uint32_t)(order >> 32)), x1);
    const __m512d kept = _mm512_andnot_pd(sign, w), pruned = _mm512_andnot_pd(sign, x);
    _mm512_storeu_pd(values, w);
    s->kept_abs = _mm512_add_pd(s->kept_abs, kept);
    s->kept_sq = _mm512_add_pd(s->kept_sq, _mm512_mul_pd(kept, kept));
    s->pruned_abs = _mm512_add_pd(s->pruned_abs, pruned);
    s->pruned_sq = _mm512_add_pd(s->pruned_sq, _mm512_mul_pd(pruned, pruned));
    const __m512d least = scored ? _mm512_min_pd(kept, pruned) : pruned;
    s->min = _mm512_castpd_si512(_mm512_min_pd(_mm512_castsi512_pd(s->min), least));
    s->max = _mm512_castpd_si512(_mm512_max_pd(_mm512_castsi512_pd(s->max), pruned));
}

INLINE void split_half(s24_dtype from, s24_dtype to, bool scored, const unsigned char *src, unsigned char *values,
                       const uint64_t *order, block *b, size_t half, sums *s)
{
    if (from == S24_F64) {
        split_doubles(scored, src, values, *order, s);
        split_doubles(scored, src + 128, values + 64, *order >> 16, s);
    } else if (from == S24_F32) {
        split_floats(to, scored, src, values, order, b, half, s);
    } else {
        split_words(from, src, values, order, b, half, s);
    }
}

/* ---------------------------------------------------------------- zeros */

INLINE uint64_t signs64(unsigned in, const unsigned char *src)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < in; i++) {
        const __m512i x = _mm512_loadu_si512(src + 64 * i);
        bits |= (in == 1 ? _mm512_movepi8_mask(x) : in == 2 ? _mm512_movepi16_mask(x)
                 : in == 4 ? _mm512_movepi32_mask(x) : _mm512_movepi64_mask(x)) << 64 / in * i;
    }
    return bits;
}

/* The counts of a chunk of which the lowest elements are `real`, after it is stored. */
INLINE void count_chunk(s24_lanes *lanes, s24_dtype from, unsigned in, s24_dtype to, const unsigned char *src,
                        const unsigned char *values, uint64_t keep, uint64_t real)
{
    const uint64_t nonzero = nonzero_bits(from, in, src);
    uint64_t broken = nonzero & ~keep & real; /* gathered at the lowest bit of each group */
    uint64_t kept_zeros = keep & ~nonzero & real;
    broken |= broken >> 1;
    broken |= broken >> 2;
    lanes->broken_groups += (uint64_t)__builtin_popcountll(broken & EVERY_GROUP(1));
    lanes->negative_zeros += (uint64_t)__builtin_popcountll(signs64(in, src) & ~(nonzero | keep));
    if (from != to) { /* zeros are what was stored as such, two a group */
        const uint32_t some = _mm512_test_epi16_mask(_mm512_loadu_si512(values), _mm512_set1_epi16(INT16_MAX));
        kept_zeros = ~some & _pext_u64(real, EVERY_GROUP(3));
    }
    lanes->kept_zeros += (uint64_t)__builtin_popcountll(kept_zeros);
}

/* Whether something pruned, or what was stored of something kept, can have been a zero. */
INLINE bool zeros_possible(s24_dtype from, s24_dtype to, __m512i min)
{
    /* The greatest |w| stored as a zero: half of the least subnormal of f16 and bf16 is a tie, and 0 is even. */
    const float limit = from == to ? 0 : to == S24_F16 ? 0x1p-25f : 0x1p-134f;
    switch (from) {
    case S24_F64: return _mm512_cmp_pd_mask(_mm512_castsi512_pd(min), _mm512_setzero_pd(), _CMP_LE_OQ) != 0;
    case S24_F32: return _mm512_cmp_ps_mask(_mm512_castsi512_ps(min), _mm512_set1_ps(limit), _CMP_LE_OQ) != 0;
    default: return _mm512_testn_epi16_mask(min, min) != 0;
    }
}

/* ---------------------------------------------------------------- the loops */

/* positions_of for eight numbers. */
INLINE __m512i positions_of_batch(__m512i keep)
{
    const __m512i down = _mm512_srli_epi64(keep, 1), up = _mm512_slli_epi64(keep, 1);
    const __m512i p0_low = _mm512_ternarylogic_epi64(down, keep, _mm512_set1_epi8(0x11), 0x20);  /* a & ~b & c */
    const __m512i p0_high = _mm512_ternarylogic_epi64(up, keep, _mm512_set1_epi8(0x22), 0x02);   /* ~a & ~b & c */
    const __m512i p1_low = _mm512_ternarylogic_epi64(down, keep, _mm512_set1_epi8(0x44), 0xa2);  /* (a | ~b) & c */
    const __m512i p1_high = _mm512_ternarylogic_epi64(up, keep, _mm512_set1_epi8((char)0x88), 0xa8); /* (a | b) & c */
    return _mm512_or_si512(_mm512_or_si512(p0_low, p0_high), _mm512_or_si512(p1_low, p1_high));
}

/* `n` chunks from `first` on, a multiple of BATCH. Of each half: the positions of the kept, and above of the pruned. */
INLINE void find_positions(block *b, size_t first, size_t n, uint8_t *positions)
{
    const __m512i keep = _mm512_maskz_loadu_epi64((__mmask8)((1u << n) - 1), &b->keep[first]);
    const __m512i kept = positions_of_batch(keep);
    const __m512i pruned = positions_of_batch(_mm512_xor_si512(keep, _mm512_set1_epi64(-1)));
    uint64_t(*order)[8] = b->order[first / BATCH % 2];
    _mm512_mask_storeu_epi64(positions + 8 * first, (__mmask8)((1u << n) - 1), kept);
    _mm512_storeu_si512(order[0], _mm512_unpacklo_epi32(kept, pruned)); /* chunks 0, 2, 4, 6 */
    _mm512_storeu_si512(order[1], _mm512_unpackhi_epi32(kept, pruned)); /* chunks 1, 3, 5, 7 */
}

INLINE const uint64_t *order_of(const block *b, size_t chunk)
{
    return &b->order[chunk / BATCH % 2][chunk % 2][chunk % BATCH / 2 * 2];
}

/*
 * A round selects a chunk, splits the one a batch before, whose positions are known by then, and widens and adds the two
 * before that. `groups` of the chunks are real; others are padding, zeros, of which nothing is counted.
 */
INLINE void prune_block(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src, size_t groups,
                        bool scored, const s24_row_factors *f, size_t at, unsigned char *values, uint8_t *positions,
                        sums *s, s24_lanes *lanes)
{
    block b;
    const size_t chunks = (groups + 15) / 16;
    s->min = _mm512_set1_epi8(INT8_MAX);
    for (size_t i = 0; i < chunks + BATCH + 2; i++) {
        if (i < chunks) {
            prefetch_pages(src + CHUNK * in * i, CHUNK * in);
            prefetch_written(values + CHUNK / 2 * out * i, CHUNK / 2 * out);
            b.keep[i] = select_keep(from, in, src + CHUNK * in * i, scored, f, at + CHUNK * i);
        }
        if (i % BATCH == BATCH - 1 && i - (BATCH - 1) < chunks) {
            const size_t first = i - (BATCH - 1), left = chunks - first;
            find_positions(&b, first, left < BATCH ? left : BATCH, positions);
        }
        const size_t split = i - BATCH, widen = split - 1, add = split - 2; /* before the first: very many */
        if (split < chunks) {
            const unsigned char *from_ = src + CHUNK * in * split;
            unsigned char *to_ = values + CHUNK / 2 * out * split;
            const uint64_t *order = order_of(&b, split);
            split_half(from, to, scored, from_, to_, order, &b, 2 * split % RING, s);
            split_half(from, to, scored, from_ + HALF * in, to_ + HALF / 2 * out, order + 1, &b, 2 * split % RING + 1, s);
        }
        if (widen < chunks) {
            widen_half(from, &b, 2 * widen % RING);
            widen_half(from, &b, 2 * widen % RING + 1);
        }
        if (add < chunks && from != S24_F64) {
            add_half(&b, 2 * add % RING, from != to, s);
            add_half(&b, 2 * add % RING + 1, from != to, s);
        }
    }
    if (!zeros_possible(from, to, s->min)) {
        lanes->broken_groups += groups;
        return;
    }
    for (size_t i = 0; i < chunks; i++) {
        const size_t left = groups - 16 * i;
        const uint64_t real = left < 16 ? (UINT64_C(1) << 4 * left) - 1 : UINT64_MAX;
        count_chunk(lanes, from, in, to, src + CHUNK * in * i, values + CHUNK / 2 * out * i, b.keep[i], real);
    }
}

/* n bytes, then zeros up to `padded`, a multiple of 64. */
INLINE void copy_padded(unsigned char *dst, const unsigned char *src, size_t n, size_t padded)
{
    for (size_t i = 0; i < padded; i += 64) {
        const __mmask64 mask = i < n ? _bzhi_u64(UINT64_MAX, n - i < 64 ? (unsigned)(n - i) : 64) : 0;
        _mm512_storeu_si512(dst + i, _mm512_maskz_loadu_epi8(mask, src + i));
    }
}

/* The last chunk of a row that has less than 16 groups: of zeros where it has none. */
INLINE void prune_rest(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src, size_t groups,
                       bool scored, const s24_row_factors *f, size_t at, unsigned char *values, uint8_t *positions,
                       sums *s, s24_lanes *lanes)
{
    unsigned char padded[CHUNK * 8], stored[CHUNK / 2 * 8];
    uint64_t nibbles;
    copy_padded(padded, src, 4 * groups * in, CHUNK * in);
    prune_block(from, in, to, out, padded, groups, scored, f, at, stored, (uint8_t *)&nibbles, s, lanes);
    memcpy(values, stored, 2 * groups * out);
    nibbles &= UINT64_MAX >> (64 - 4 * groups);
    memcpy(positions, &nibbles, (groups + 1) / 2);
}

/* Of words, the 16 pruned as f32. */
INLINE __m512 pruned_floats(s24_dtype from, __m512i max)
{
    const __m256i words = _mm512_extracti64x4_epi64(max, 1);
    switch (from) {
    case S24_BF16: return _mm512_castsi512_ps(_mm512_and_si512(max, _mm512_set1_epi32((int)0xffff0000)));
    case S24_F16: return _mm512_cvtph_ps(words);
    default: return widen_bytes(from, words);
    }
}

INLINE double greatest_of(s24_dtype from, __m512i max)
{
    switch (from) {
    case S24_F64: return _mm512_reduce_max_pd(_mm512_castsi512_pd(max));
    case S24_F32: return (double)_mm512_reduce_max_ps(_mm512_castsi512_ps(max));
    default: return (double)_mm512_reduce_max_ps(pruned_floats(from, max));
    }
}

INLINE sums sums_begin(const s24_lanes *lanes)
{
    return (sums){.kept_abs = _mm512_loadu_pd(lanes->kept_abs), .kept_sq = _mm512_loadu_pd(lanes->kept_sq),
                  .pruned_abs = _mm512_loadu_pd(lanes->pruned_abs), .pruned_sq = _mm512_loadu_pd(lanes->pruned_sq),
                  .quant_abs = _mm512_loadu_pd(lanes->quant_abs), .quant_sq = _mm512_loadu_pd(lanes->quant_sq)};
}

/* By magnitude non-finite elements are kept before others, so that the sum of those has them. */
INLINE void sums_end(s24_dtype from, bool scored, const sums *s, s24_lanes *lanes)
{
    _mm512_storeu_pd(lanes->kept_abs, s->kept_abs);
    _mm512_storeu_pd(lanes->kept_sq, s->kept_sq);
    _mm512_storeu_pd(lanes->pruned_abs, s->pruned_abs);
    _mm512_storeu_pd(lanes->pruned_sq, s->pruned_sq);
    _mm512_storeu_pd(lanes->quant_abs, s->quant_abs);
    _mm512_storeu_pd(lanes->quant_sq, s->quant_sq);
    const double greatest = greatest_of(from, s->max);
    lanes->max_abs_error = greatest > lanes->max_abs_error ? greatest : lanes->max_abs_error;
    __m512d all = _mm512_add_pd(s->kept_abs, s->quant_abs);
    all = scored ? _mm512_add_pd(all, s->pruned_abs) : all;
    lanes->redo |= _mm512_cmp_pd_mask(all, _mm512_set1_pd(DBL_MAX), _CMP_NLE_UQ) != 0;
    if (from == S24_F8E4M3) { /* NaN is the greatest key, and looks like any other number */
        lanes->redo |= _mm512_cmpeq_epi16_mask(s->max, _mm512_set1_epi16(INT8_MAX)) != 0;
    }
}

INLINE size_t prune(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *dense, size_t groups,
                    bool scored, const s24_row_factors *f, void *kept, uint8_t *positions, s24_lanes *lanes)
{
    const unsigned char *src = dense;
    unsigned char *values = kept;
    sums s = sums_begin(lanes);
    s.max = _mm512_setzero_si512();
    const size_t whole = groups / 16 * 16, step = 16 * BLOCK_CHUNKS;
    for (size_t g = 0; g < whole; g += step) {
        const size_t n = whole - g < step ? whole - g : step;
        prune_block(from, in, to, out, src + 4 * in * g, n, scored, f, 4 * g, values + 2 * out * g, positions + g / 2, &s,
                    lanes);
    }
    if (groups > whole) {
        prune_rest(from, in, to, out, src + 4 * in * whole, groups - whole, scored, f, 4 * whole, values + 2 * out * whole,
                   positions + whole / 2, &s, lanes);
    }
    sums_end(from, scored, &s, lanes);
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

PRUNE_KERNEL(s24_prune_avx512_f64, F64, 8, F64, 8)
PRUNE_KERNEL(s24_prune_avx512_f32, F32, 4, F32, 4)
PRUNE_KERNEL(s24_prune_avx512_f32_f16, F32, 4, F16, 2)
PRUNE_KERNEL(s24_prune_avx512_f32_bf16, F32, 4, BF16, 2)
PRUNE_KERNEL(s24_prune_avx512_f16, F16, 2, F16, 2)
PRUNE_KERNEL(s24_prune_avx512_bf16, BF16, 2, BF16, 2)
PRUNE_KERNEL(s24_prune_avx512_f8e4m3, F8E4M3, 1, F8E4M3, 1)
PRUNE_KERNEL(s24_prune_avx512_f8e5m2, F8E5M2, 1, F8E5M2, 1)

SCORE_KERNEL(s24_score_avx512_f64, F64, 8, F64, 8)
SCORE_KERNEL(s24_score_avx512_f32, F32, 4, F32, 4)
SCORE_KERNEL(s24_score_avx512_f32_f16, F32, 4, F16, 2)
SCORE_KERNEL(s24_score_avx512_f32_bf16, F32, 4, BF16, 2)
SCORE_KERNEL(s24_score_avx512_f16, F16, 2, F16, 2)
SCORE_KERNEL(s24_score_avx512_bf16, BF16, 2, BF16, 2)

/* ---------------------------------------------------------------- i8 */

/* See count_integers. */
typedef struct integers {
    __m512i kept_abs, pruned_abs; /* 64 bits */
    __m512i kept_sq, pruned_sq;   /* 32 bits */
    __m512i max;                  /* of the pruned */
} integers;

/* Squares added by fours. */
INLINE __m512i add_squares(__m512i sum, __m512i x)
{
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(x, x), _mm512_set1_epi16(1)));
}

/* A chunk of which the lowest elements are `real`, the others 0. */
INLINE void prune_chunk_i8(const unsigned char *src, unsigned char *values, uint8_t *positions, uint64_t real,
                           integers *s, s24_lanes *lanes)
{
    const __m512i x = _mm512_loadu_si512(src), none = _mm512_setzero_si512();
    const uint64_t keep = keep_bytes(S24_I8, src), nibbles = positions_of(keep);
    const __m512i kept = _mm512_maskz_abs_epi8(keep, x), pruned = _mm512_maskz_abs_epi8(~keep, x);
    _mm256_storeu_si256((__m256i *)(void *)values, _mm512_castsi512_si256(_mm512_maskz_compress_epi8(keep, x)));
    memcpy(positions, &nibbles, 8);
    s->kept_abs = _mm512_add_epi64(s->kept_abs, _mm512_sad_epu8(kept, none));
    s->pruned_abs = _mm512_add_epi64(s->pruned_abs, _mm512_sad_epu8(pruned, none));
    s->kept_sq = add_squares(s->kept_sq, kept);
    s->pruned_sq = add_squares(s->pruned_sq, pruned);
    s->max = _mm512_max_epu8(s->max, pruned);
    count_integers(lanes, keep, _mm512_testn_epi8_mask(x, x), _mm512_movepi8_mask(_mm512_abs_epi8(x)), real);
}

INLINE void integers_end(const integers *s, s24_lanes *lanes)
{
    const __m512i max = _mm512_max_epu8(s->max, _mm512_srli_epi32(s->max, 16));
    const unsigned greatest = _mm512_reduce_max_epu32(_mm512_and_si512(
        _mm512_max_epu8(max, _mm512_srli_epi32(max, 8)), _mm512_set1_epi32(255)));
    lanes->max_abs_error = greatest > lanes->max_abs_error ? greatest : lanes->max_abs_error;
    lanes->kept_abs[0] += (double)_mm512_reduce_add_epi64(s->kept_abs);
    lanes->pruned_abs[0] += (double)_mm512_reduce_add_epi64(s->pruned_abs);
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i even_kept = _mm512_mul_epi32(s->kept_sq, one), even_pruned = _mm512_mul_epi32(s->pruned_sq, one);
    const __m512i odd_kept = _mm512_mul_epi32(_mm512_srli_epi64(s->kept_sq, 32), one);
    const __m512i odd_pruned = _mm512_mul_epi32(_mm512_srli_epi64(s->pruned_sq, 32), one);
    lanes->kept_sq[0] += (double)_mm512_reduce_add_epi64(_mm512_add_epi64(even_kept, odd_kept));
    lanes->pruned_sq[0] += (double)_mm512_reduce_add_epi64(_mm512_add_epi64(even_pruned, odd_pruned));
}

#include "prune_i8_template.h"

PRUNE_I8_KERNEL(s24_prune_avx512_i8)

VECTOR_END

#endif
