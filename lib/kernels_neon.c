/*
 * Pruning, unpacking, compliance and measuring on NEON. Written for it and tested in an emulator, not measured on any
 * machine: what only measurement could tune, such as prefetching, is left out.
 *
 * Sixteen groups are a step. Loads that take elements apart put one of each group into each of four vectors, and zips
 * or stores put them together again: no table says what goes where, and a vector works on 2 to 16 groups at once.
 *
 *     memory                          vectors                   kept      pruned
 *     a0 b0 c0 d0 a1 b1 c1 d1 ...     a0 a1 a2 a3 ...  first    a0 b1..   b0 a1..      (group 0 keeps a and c,
 *                                     b0 b1 b2 b3 ...  second   c0 d1..   d0 c1..       group 1 keeps b and d)
 *                                     c0 c1 c2 c3 ...
 *                                     d0 d1 d2 d3 ...
 *
 * That both the sums and their order are those of the generic code takes no more: the firsts of four groups are added
 * to lanes 0, 2, 4, 6 and the seconds to lanes 1, 3, 5, 7.
 */
#include "kernels.h"

#if S24_ARM64

#include <float.h>
#include <math.h>

#include "dtype.h"
#include "neon.h"

#define STEP_GROUPS 16
#define QUAD_GROUPS 4 /* whose values are one for each lane */
#define STEP_QUADS (STEP_GROUPS / QUAD_GROUPS)

/* ---------------------------------------------------------------- groups in vectors */

/* One element of each of 16 / in groups in each vector; `in` of these are a step. */
typedef struct fours {
    uint8x16_t a, b, c, d;
} fours;

typedef struct twos {
    uint8x16_t first, second;
} twos;

#define FOURS(x) {(uint8x16_t)(x).val[0], (uint8x16_t)(x).val[1], (uint8x16_t)(x).val[2], (uint8x16_t)(x).val[3]}

INLINE fours load_fours_8(const void *src)
{
    const uint8x16x4_t x = vld4q_u8(src);
    return (fours)FOURS(x);
}

INLINE fours load_fours_16(const void *src)
{
    const uint16x8x4_t x = vld4q_u16(src);
    return (fours)FOURS(x);
}

INLINE fours load_fours_32(const void *src)
{
    const uint32x4x4_t x = vld4q_u32(src);
    return (fours)FOURS(x);
}

INLINE fours load_fours_64(const void *src)
{
    const uint64x2x4_t x = vld4q_u64(src);
    return (fours)FOURS(x);
}

INLINE fours load_fours(unsigned in, const void *src)
{
    switch (in) {
    case 1: return load_fours_8(src);
    case 2: return load_fours_16(src);
    case 4: return load_fours_32(src);
    default: return load_fours_64(src);
    }
}

/* All bits of an element that make its key: a float's sign does not. */
INLINE uint64_t key_bits(s24_dtype from, unsigned in)
{
    return UINT64_MAX >> (64 - 8 * in) >> (from != S24_I8);
}

INLINE uint8x16_t key_of(s24_dtype from, unsigned in, uint8x16_t x)
{
    switch (from) {
    case S24_I8: return (uint8x16_t)vabsq_s8((int8x16_t)x);
    case S24_F32: return (uint8x16_t)vabsq_f32((float32x4_t)x); /* one operation; with a constant it is two */
    case S24_F64: return (uint8x16_t)vabsq_f64((float64x2_t)x);
    default: return vandq_u8(x, everywhere(in, key_bits(from, in)));
    }
}

INLINE fours keys_of(s24_dtype from, unsigned in, fours x)
{
    return (fours){key_of(from, in, x.a), key_of(from, in, x.b), key_of(from, in, x.c), key_of(from, in, x.d)};
}

INLINE twos keys_of_twos(s24_dtype from, unsigned in, twos x)
{
    return (twos){key_of(from, in, x.first), key_of(from, in, x.second)};
}

/* What `in` vectors say of elements, equal bytes in each, as one byte a group. */
INLINE uint8x16_t narrow(unsigned in, uint8x16_t x[8])
{
    S24_UNROLL
    for (unsigned n = in / 2; n > 0; n /= 2) {
        S24_UNROLL
        for (unsigned i = 0; i < n; i++) {
            x[i] = vuzp1q_u8(x[2 * i], x[2 * i + 1]);
        }
    }
    return x[0];
}

/* ---------------------------------------------------------------- selection */

/* There is no such instruction for 64 bits. */
#define LESSER_OR_GREATER(name, operation, a_wins) \
    INLINE uint8x16_t name(unsigned in, uint8x16_t a, uint8x16_t b) \
    { \
        switch (in) { \
        case 1: return operation##_u8(a, b); \
        case 2: return (uint8x16_t)operation##_u16((uint16x8_t)a, (uint16x8_t)b); \
        case 4: return (uint8x16_t)operation##_u32((uint32x4_t)a, (uint32x4_t)b); \
        default: return vbslq_u8(a_wins, a, b); \
        } \
    }

LESSER_OR_GREATER(lesser, vminq, above(in, b, a))
LESSER_OR_GREATER(greater, vmaxq, above(in, a, b))

/*
 * Who is kept, as masks. Of a and b one is better, and of c and d; each pair's worse one is compared with the other's
 * better one, and if it wins, both of its pair are kept. At most one of them wins. The lower index wins ties.
 */
typedef struct choice {
    uint8x16_t a, d;   /* this one is kept */
    uint8x16_t ab, cd; /* both are kept; otherwise one of each pair is */
} choice;

INLINE choice choose(unsigned in, fours key)
{
    const uint8x16_t a = at_least(in, key.a, key.b), c = at_least(in, key.c, key.d);
    const uint8x16_t ab = at_least(in, lesser(in, key.a, key.b), greater(in, key.c, key.d));
    const uint8x16_t cd = above(in, lesser(in, key.c, key.d), greater(in, key.a, key.b));
    return (choice){.a = vorrq_u8(ab, vbicq_u8(a, cd)), .d = vornq_u8(cd, vorrq_u8(c, ab)), .ab = ab, .cd = cd};
}

INLINE twos kept_of(choice keep, fours x)
{
    return (twos){vbslq_u8(keep.a, x.a, vbslq_u8(keep.cd, x.c, x.b)),
                  vbslq_u8(keep.d, x.d, vbslq_u8(keep.ab, x.b, x.c))};
}

INLINE twos pruned_of(choice keep, fours x)
{
    return (twos){vbslq_u8(keep.a, vbslq_u8(keep.ab, x.c, x.b), x.a),
                  vbslq_u8(keep.d, vbslq_u8(keep.cd, x.b, x.c), x.d)};
}

/* Position nibbles in every byte, less MIDDLE: where one of each pair is kept, they are 1 and 2, 0 for a and 3 for d. */
#define MIDDLE (1 | 2 << 2)

INLINE uint8x16_t positions_of(choice keep)
{
    const uint8x16_t first = vsubq_u8(keep.a, keep.cd), second = vsubq_u8(keep.ab, keep.d); /* a mask is -1 */
    return vaddq_u8(first, vshlq_n_u8(second, 2));
}

INLINE void store_positions(uint8_t *positions, uint8x16_t less_middle)
{
    const uint16x8_t nibbles = (uint16x8_t)vaddq_u8(less_middle, vdupq_n_u8(MIDDLE));
    vst1_u8(positions, vmovn_u16(vsraq_n_u16(nibbles, nibbles, 4)));
}

/* ---------------------------------------------------------------- storing and handing on */

/*
 * The work is done in two loops over a block: one selects, splits and stores, one sums up, and both have the registers
 * that they need. |w| is handed on as f32, which no dtype here but f64 exceeds: 3 KiB of it stay in the L1 cache.
 */
#define BLOCK_QUADS 32

typedef struct block { /* lanes of a quad in this order: 0 2 4 6 1 3 5 7 */
    union {
        struct {
            float kept[BLOCK_QUADS][8], pruned[BLOCK_QUADS][8];
            float error[BLOCK_QUADS][8]; /* |w - v| of what is kept */
        } f32;
        struct {
            double kept[BLOCK_QUADS][8], pruned[BLOCK_QUADS][8];
        } f64;
    };
    double error[BLOCK_QUADS][8]; /* where it is measured */
} block;

/* Of what is pruned the least key in a block and the greatest of all, and the greatest |w - v|. */
typedef struct extremes {
    uint8x16_t min, max;
    float32x4_t error;
} extremes;

/* A vector as f32; how many it becomes. */
INLINE unsigned widen(s24_dtype from, uint8x16_t x, float32x4_t out[4])
{
    switch (from) {
    case S24_F32: out[0] = (float32x4_t)x; return 1;
    case S24_F16:
    case S24_BF16: widen_words(from, x, out); return 2;
    default: widen_bytes(from, x, out); return 4;
    }
}

/* The firsts or the seconds of vector `i` of a step, as keys, into `which` half of their quads. */
INLINE void hand_on_f32(s24_dtype from, uint8x16_t key, unsigned i, unsigned which, float quads[][8])
{
    float32x4_t x[4];
    const unsigned count = widen(from, key, x);
    S24_UNROLL
    for (unsigned j = 0; j < count; j++) {
        /* An i8 of key 128 has become -128. */
        vst1q_f32(quads[count * i + j] + 4 * which, from == S24_I8 ? vabsq_f32(x[j]) : x[j]);
    }
}

INLINE void hand_on_f64(uint8x16_t key, unsigned i, unsigned which, double quads[][8])
{
    vst1q_f64(quads[i / 2] + 4 * which + 2 * (i % 2), (float64x2_t)key);
}

INLINE void hand_on(s24_dtype from, twos kept, twos pruned, unsigned i, block *b, size_t quad)
{
    if (from == S24_F64) {
        hand_on_f64(kept.first, i, 0, b->f64.kept + quad);
        hand_on_f64(kept.second, i, 1, b->f64.kept + quad);
        hand_on_f64(pruned.first, i, 0, b->f64.pruned + quad);
        hand_on_f64(pruned.second, i, 1, b->f64.pruned + quad);
    } else {
        hand_on_f32(from, kept.first, i, 0, b->f32.kept + quad);
        hand_on_f32(from, kept.second, i, 1, b->f32.kept + quad);
        hand_on_f32(from, pruned.first, i, 0, b->f32.pruned + quad);
        hand_on_f32(from, pruned.second, i, 1, b->f32.pruned + quad);
    }
}

/* x rounded to bf16, to nearest, ties to even: half a unit less one is added, and one more where the unit is odd. */
INLINE uint32x4_t round_to_bf16(uint32x4_t x)
{
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(x, 16), vdupq_n_u32(1));
    return vaddq_u32(vaddq_u32(x, vdupq_n_u32(0x7fff)), odd);
}

/*
 * Stores the kept values of a quad as f16 or bf16, and hands on |w - v|. That is exact in f32: u, the unit of w in f32,
 * divides w, and it divides v, whose grid is no finer where v lies; and |w - v| <= |w|, since 0 was a candidate for v,
 * too. A multiple of u not above |w| is an f32. (A w rounded up to a power of two gets to a coarser grid still.)
 */
INLINE float32x4_t store_narrowed(s24_dtype to, twos kept, unsigned char *values, float error[8])
{
    const float32x4_t first = (float32x4_t)kept.first, second = (float32x4_t)kept.second;
    float32x4_t v0, v1;
    uint16x8_t stored;
    if (to == S24_F16) {
        const float16x4_t h0 = vcvt_f16_f32(first), h1 = vcvt_f16_f32(second);
        stored = vcombine_u16(vzip1_u16((uint16x4_t)h0, (uint16x4_t)h1), vzip2_u16((uint16x4_t)h0, (uint16x4_t)h1));
        v0 = vcvt_f32_f16(h0);
        v1 = vcvt_f32_f16(h1);
    } else {
        const uint32x4_t r0 = round_to_bf16((uint32x4_t)first), r1 = round_to_bf16((uint32x4_t)second);
        stored = vtrn2q_u16((uint16x8_t)r0, (uint16x8_t)r1);
        v0 = (float32x4_t)vandq_u32(r0, vdupq_n_u32(0xffff0000));
        v1 = (float32x4_t)vandq_u32(r1, vdupq_n_u32(0xffff0000));
    }
    const float32x4_t e0 = vabdq_f32(first, v0), e1 = vabdq_f32(second, v1);
    vst1q_u8(values, (uint8x16_t)stored); /* bytes: it may be unaligned */
    vst1q_f32(error, e0);
    vst1q_f32(error + 4, e1);
    return vmaxq_f32(e0, e1);
}

INLINE void store_kept(unsigned in, twos kept, unsigned char *values)
{
    vst1q_u8(values, zip_low(in, kept.first, kept.second));
    vst1q_u8(values + 16, zip_high(in, kept.first, kept.second));
}

/* in, out: bytes of an element. */
INLINE void prune_step(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src,
                       unsigned char *values, uint8_t *positions, block *b, size_t quad, extremes *e)
{
    uint8x16_t nibbles[8];
    S24_UNROLL
    for (unsigned i = 0; i < in; i++) {
        const fours x = load_fours(in, src + 64 * i), key = keys_of(from, in, x);
        const choice keep = choose(in, key);
        const twos kept = kept_of(keep, x), pruned = pruned_of(keep, key);
        const twos magnitude = keys_of_twos(from, in, kept);
        nibbles[i] = positions_of(keep);
        e->min = lesser(in, e->min, lesser(in, pruned.first, pruned.second));
        e->max = greater(in, e->max, greater(in, pruned.first, pruned.second));
        if (from == to) {
            store_kept(in, kept, values + 32 * i);
        } else {
            unsigned char *place = values + 8 * out * i;
            e->error = vmaxq_f32(e->error, store_narrowed(to, kept, place, b->f32.error[quad + i]));
        }
        hand_on(from, magnitude, pruned, i, b, quad);
    }
    store_positions(positions, narrow(in, nibbles));
}

/* ---------------------------------------------------------------- sums */

/* Eight f64, as the lanes of s24_lanes: 0 2, 4 6, 1 3, 5 7. */
typedef struct d8 {
    float64x2_t x[4];
} d8;

INLINE d8 d8_load(const double lane[8])
{
    const float64x2x2_t low = vld2q_f64(lane), high = vld2q_f64(lane + 4);
    return (d8){{low.val[0], high.val[0], low.val[1], high.val[1]}};
}

INLINE void d8_store(double lane[8], d8 d)
{
    vst2q_f64(lane, ((float64x2x2_t){{d.x[0], d.x[2]}}));
    vst2q_f64(lane + 4, ((float64x2x2_t){{d.x[1], d.x[3]}}));
}

/* What the block holds of a quad. */
INLINE d8 d8_of_f32(const float lane[8])
{
    const float32x4_t first = vld1q_f32(lane), second = vld1q_f32(lane + 4);
    return (d8){{vcvt_f64_f32(vget_low_f32(first)), vcvt_high_f64_f32(first), vcvt_f64_f32(vget_low_f32(second)),
                 vcvt_high_f64_f32(second)}};
}

INLINE d8 d8_of_f64(const double lane[8])
{
    return (d8){{vld1q_f64(lane), vld1q_f64(lane + 2), vld1q_f64(lane + 4), vld1q_f64(lane + 6)}};
}

INLINE void d8_add(d8 *sum, d8 d)
{
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        sum->x[i] = vaddq_f64(sum->x[i], d.x[i]);
    }
}

/* The square of an f32 is exact in f64: a fused multiply-add rounds where multiply, then add, does. */
INLINE void d8_add_exact_square(d8 *sum, d8 d)
{
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        sum->x[i] = vfmaq_f64(sum->x[i], d.x[i], d.x[i]);
    }
}

INLINE void d8_add_square(d8 *sum, d8 d)
{
    S24_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        sum->x[i] = vaddq_f64(sum->x[i], vmulq_f64(d.x[i], d.x[i]));
    }
}

/*
 * Adds |w| of `quads` quads, in order. Two planes at a time: 16 registers of sums, and chains enough to hide how long an
 * addition takes.
 */
static __attribute__((noinline)) void add_block(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 kept_abs = d8_load(lanes->kept_abs), kept_sq = d8_load(lanes->kept_sq);
    d8 pruned_abs = d8_load(lanes->pruned_abs), pruned_sq = d8_load(lanes->pruned_sq);
    for (size_t i = 0; i < quads; i++) {
        const d8 k = d8_of_f32(b->f32.kept[i]), p = d8_of_f32(b->f32.pruned[i]);
        d8_add(&kept_abs, k);
        d8_add_exact_square(&kept_sq, k);
        d8_add(&pruned_abs, p);
        d8_add_exact_square(&pruned_sq, p);
    }
    d8_store(lanes->kept_abs, kept_abs);
    d8_store(lanes->kept_sq, kept_sq);
    d8_store(lanes->pruned_abs, pruned_abs);
    d8_store(lanes->pruned_sq, pruned_sq);
}

/* |w - v|. With the others in one loop gcc 12 has too few registers. */
static __attribute__((noinline)) void add_errors(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 quant_abs = d8_load(lanes->quant_abs), quant_sq = d8_load(lanes->quant_sq);
    for (size_t i = 0; i < quads; i++) {
        const d8 e = d8_of_f32(b->f32.error[i]);
        d8_add(&quant_abs, e);
        d8_add_exact_square(&quant_sq, e);
    }
    d8_store(lanes->quant_abs, quant_abs);
    d8_store(lanes->quant_sq, quant_sq);
}

/* f64: squares are rounded before they are added, as the generic code does it. */
static __attribute__((noinline)) void add_block_f64(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 kept_abs = d8_load(lanes->kept_abs), kept_sq = d8_load(lanes->kept_sq);
    d8 pruned_abs = d8_load(lanes->pruned_abs), pruned_sq = d8_load(lanes->pruned_sq);
    for (size_t i = 0; i < quads; i++) {
        const d8 k = d8_of_f64(b->f64.kept[i]), p = d8_of_f64(b->f64.pruned[i]);
        d8_add(&kept_abs, k);
        d8_add_square(&kept_sq, k);
        d8_add(&pruned_abs, p);
        d8_add_square(&pruned_sq, p);
    }
    d8_store(lanes->kept_abs, kept_abs);
    d8_store(lanes->kept_sq, kept_sq);
    d8_store(lanes->pruned_abs, pruned_abs);
    d8_store(lanes->pruned_sq, pruned_sq);
}

/* ---------------------------------------------------------------- zeros */

/*
 * Zeros have to be counted, and most matrices have next to none. So a block that has none among what is pruned is not
 * looked at again (no kept one is less), and another is selected once more, and counted.
 */

/* The greatest key that is stored as a zero. Half of the least subnormal of f16 and bf16 is a tie, and 0 is even. */
INLINE uint64_t zero_key(s24_dtype from, s24_dtype to)
{
    return from == to ? 0 : to == S24_F16 ? 0x33000000 /* 2^-25 */ : 0x8000 /* 2^-134 */;
}

/* Which of the groups of a step there are. */
INLINE uint8x16_t there_are(size_t groups)
{
    static const uint8_t index[STEP_GROUPS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return vcltq_u8(vld1q_u8(index), vdupq_n_u8((uint8_t)groups));
}

/* Of the groups that are there, what bytes count as 0, -1 or -2. */
INLINE uint64_t count_bytes(uint8x16_t x, uint8x16_t there)
{
    return (uint64_t)-vaddlvq_s8((int8x16_t)vandq_u8(x, there));
}

typedef struct counted {
    uint8x16_t kept_zeros[8], negative_zeros[8], broken[8];
} counted;

/* Vector i of a step. limit: the greatest key of a kept one that counts as 0. */
INLINE void count_zeros(counted *n, unsigned i, s24_dtype from, unsigned in, twos kept, uint64_t limit, twos pruned)
{
    const uint8x16_t zero = everywhere(in, limit), bits = everywhere(in, key_bits(from, in)), sign = vmvnq_u8(bits);
    const twos key = keys_of_twos(from, in, kept);
    n->kept_zeros[i] = vaddq_u8(at_least(in, zero, key.first), at_least(in, zero, key.second));
    n->negative_zeros[i] = vaddq_u8(same(in, pruned.first, sign), same(in, pruned.second, sign));
    n->broken[i] = any_bit(in, vorrq_u8(pruned.first, pruned.second), bits);
}

INLINE void count_end(s24_lanes *lanes, s24_dtype from, unsigned in, counted *n, uint8x16_t there)
{
    lanes->kept_zeros += count_bytes(narrow(in, n->kept_zeros), there);
    lanes->broken_groups += count_bytes(narrow(in, n->broken), there);
    if (from != S24_I8) {
        lanes->negative_zeros += count_bytes(narrow(in, n->negative_zeros), there);
    }
}

INLINE void count_step(s24_lanes *lanes, s24_dtype from, unsigned in, s24_dtype to, const unsigned char *src,
                       size_t quads)
{
    counted n;
    S24_UNROLL
    for (unsigned i = 0; i < in; i++) {
        const fours x = load_fours(in, src + 64 * i);
        const choice keep = choose(in, keys_of(from, in, x));
        count_zeros(&n, i, from, in, kept_of(keep, x), zero_key(from, to), pruned_of(keep, x));
    }
    count_end(lanes, from, in, &n, there_are(QUAD_GROUPS * quads));
}

/* ---------------------------------------------------------------- the loops */

/* The last quads of a row, one to three of them, get a step of their own. */
typedef struct last_step {
    unsigned char src[64 * 8], values[32 * 8];
    uint8_t positions[STEP_GROUPS / 2];
} last_step;

/* Completed by copies of the last quad: they change no extreme. */
INLINE const unsigned char *complete_step(unsigned in, const unsigned char *src, size_t quads, last_step *last)
{
    for (size_t i = 0; i < STEP_QUADS; i++) {
        memcpy(last->src + 16 * in * i, src + 16 * in * (i < quads ? i : quads - 1), 16 * in);
    }
    return last->src;
}

INLINE size_t step_quads(size_t rest)
{
    return rest < STEP_QUADS ? rest : STEP_QUADS;
}

INLINE void count_block(s24_lanes *lanes, s24_dtype from, unsigned in, s24_dtype to, const unsigned char *src,
                        size_t quads)
{
    last_step last;
    for (size_t i = 0; i < quads; i += STEP_QUADS) {
        const unsigned char *step = src + 16 * in * i;
        const size_t n = step_quads(quads - i);
        count_step(lanes, from, in, to, n < STEP_QUADS ? complete_step(in, step, n, &last) : step, n);
    }
}

INLINE void split_block(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src, size_t quads,
                        unsigned char *values, uint8_t *positions, block *b, extremes *e)
{
    last_step last;
    for (size_t i = 0; i < quads; i += STEP_QUADS) {
        const unsigned char *step = src + 16 * in * i;
        const size_t n = step_quads(quads - i);
        const bool whole = n == STEP_QUADS;
        unsigned char *kept = whole ? values + 8 * out * i : last.values;
        uint8_t *nibbles = whole ? positions + 2 * i : last.positions;
        prune_step(from, in, to, out, whole ? step : complete_step(in, step, n, &last), kept, nibbles, b, i, e);
        if (!whole) {
            memcpy(values + 8 * out * i, last.values, 8 * out * n);
            memcpy(positions + 2 * i, last.positions, 2 * n);
        }
    }
}

INLINE void prune_block(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src, size_t quads,
                        unsigned char *values, uint8_t *positions, extremes *e, s24_lanes *lanes)
{
    block b;
    e->min = vdupq_n_u8(UINT8_MAX);
    split_block(from, in, to, out, src, quads, values, positions, &b, e);
    if (any(at_least(in, everywhere(in, zero_key(from, to)), e->min))) {
        count_block(lanes, from, in, to, src, quads);
    } else {
        lanes->broken_groups += QUAD_GROUPS * quads;
    }
    if (from == S24_F64) {
        add_block_f64(lanes, &b, quads);
    } else {
        add_block(lanes, &b, quads);
        if (from != to) {
            add_errors(lanes, &b, quads);
        }
    }
}

/*
 * What is left to do at the end of a call. A non-finite element turns the sum of |w| into one, among what is kept or, in
 * measuring, what is not; so does, for |w - v|, what overflows in narrowing. (f64 sums can overflow by themselves:
 * redone without need.)
 */
INLINE void lanes_end(s24_lanes *lanes, s24_dtype from, unsigned in, const extremes *e)
{
    unsigned char max[16];
    uint64_t key = 0;
    vst1q_u8(max, e->max);
    for (unsigned i = 0; i < 16 / in; i++) {
        const uint64_t other = s24_load(max, in, i);
        key = other > key ? other : key;
    }
    const double pruned = fabs(s24_decode(s24_info(from), key)), narrowed = (double)vmaxvq_f32(e->error);
    lanes->max_abs_error = fmax(lanes->max_abs_error, fmax(pruned, narrowed));
    for (unsigned i = 0; i < S24_LANES; i++) {
        lanes->redo |= !(lanes->kept_abs[i] + lanes->pruned_abs[i] + lanes->quant_abs[i] <= DBL_MAX);
    }
}

INLINE size_t prune(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *dense, size_t groups,
                    void *kept, uint8_t *positions, s24_lanes *lanes)
{
    const unsigned char *src = dense;
    unsigned char *values = kept;
    const size_t quads = groups / QUAD_GROUPS;
    extremes e = {.max = vdupq_n_u8(0), .error = vdupq_n_f32(0)};
    for (size_t i = 0; i < quads; i += BLOCK_QUADS) {
        const size_t n = quads - i < BLOCK_QUADS ? quads - i : BLOCK_QUADS;
        prune_block(from, in, to, out, src + 16 * in * i, n, values + 8 * out * i, positions + 2 * i, &e, lanes);
    }
    lanes_end(lanes, from, in, &e);
    return QUAD_GROUPS * quads;
}

#define PRUNE_KERNEL(name, from, in, to, out) \
    size_t name(const void *src, size_t groups, void *values, uint8_t *positions, s24_lanes *lanes) \
    { \
        return prune(S24_##from, in, S24_##to, out, src, groups, values, positions, lanes); \
    }

PRUNE_KERNEL(s24_prune_neon_f64, F64, 8, F64, 8)
PRUNE_KERNEL(s24_prune_neon_f32, F32, 4, F32, 4)
PRUNE_KERNEL(s24_prune_neon_f32_f16, F32, 4, F16, 2)
PRUNE_KERNEL(s24_prune_neon_f32_bf16, F32, 4, BF16, 2)
PRUNE_KERNEL(s24_prune_neon_f16, F16, 2, F16, 2)
PRUNE_KERNEL(s24_prune_neon_bf16, BF16, 2, BF16, 2)
PRUNE_KERNEL(s24_prune_neon_f8e4m3, F8E4M3, 1, F8E4M3, 1)
PRUNE_KERNEL(s24_prune_neon_f8e5m2, F8E5M2, 1, F8E5M2, 1)
PRUNE_KERNEL(s24_prune_neon_i8, I8, 1, I8, 1)

/* ---------------------------------------------------------------- unpacking */

/* Four bf16 as f32, NaN made quiet as conversions do: a key above infinity's gets the highest bit of the mantissa. */
INLINE uint8x16_t widen_four(s24_dtype from, uint16x4_t x)
{
    if (from == S24_F16) {
        return (uint8x16_t)vcvt_f32_f16((float16x4_t)x);
    }
    const uint16x4_t nan = vcgt_u16(vand_u16(x, vdup_n_u16(0x7fff)), vdup_n_u16(0x7f80));
    return (uint8x16_t)vshll_n_u16(vorr_u16(x, vand_u16(nan, vdup_n_u16(0x40))), 16);
}

#define TWOS(x) {(uint8x16_t)(x).val[0], (uint8x16_t)(x).val[1]}

INLINE twos load_twos_8(const void *values)
{
    const uint8x16x2_t x = vld2q_u8(values);
    return (twos)TWOS(x);
}

INLINE twos load_twos_16(const void *values)
{
    const uint16x8x2_t x = vld2q_u16(values);
    return (twos)TWOS(x);
}

INLINE twos load_twos_32(const void *values)
{
    const uint32x4x2_t x = vld2q_u32(values);
    return (twos)TWOS(x);
}

INLINE twos load_twos_64(const void *values)
{
    const uint64x2x2_t x = vld2q_u64(values);
    return (twos)TWOS(x);
}

/* The kept values of as many groups as elements of `to` fill a vector, as `to`. out: bytes of one. */
INLINE twos load_twos(s24_dtype from, s24_dtype to, unsigned out, const void *values)
{
    if (from != to) {
        const uint16x4x2_t x = vld2_u16(values);
        return (twos){widen_four(from, x.val[0]), widen_four(from, x.val[1])};
    }
    switch (out) {
    case 1: return load_twos_8(values);
    case 2: return load_twos_16(values);
    case 4: return load_twos_32(values);
    default: return load_twos_64(values);
    }
}

#define STORE_FOURS(store, wide, one, x, dst) \
    store(dst, ((wide){{(one)(x).a, (one)(x).b, (one)(x).c, (one)(x).d}}))

INLINE void store_fours(unsigned out, fours x, void *dst)
{
    switch (out) {
    case 1: STORE_FOURS(vst4q_u8, uint8x16x4_t, uint8x16_t, x, dst); break;
    case 2: STORE_FOURS(vst4q_u16, uint16x8x4_t, uint16x8_t, x, dst); break;
    case 4: STORE_FOURS(vst4q_u32, uint32x4x4_t, uint32x4_t, x, dst); break;
    default: STORE_FOURS(vst4q_u64, uint64x2x4_t, uint64x2_t, x, dst); break;
    }
}

/*
 * By nibbles, in every byte of an element. Of the four bits 3 2 1 0: the first is a where neither 0 nor 1 is set, b with
 * 0 and c with 1; the second is d with 2 and 3, and where b and c are not the first, b without 3 and c without 2.
 */
INLINE fours expand(twos kept, uint8x16_t nibbles)
{
    const uint8x16_t bit0 = vtstq_u8(nibbles, vdupq_n_u8(1)), bit1 = vtstq_u8(nibbles, vdupq_n_u8(2));
    const uint8x16_t bit2 = vtstq_u8(nibbles, vdupq_n_u8(4)), bit3 = vtstq_u8(nibbles, vdupq_n_u8(8));
    return (fours){.a = vbicq_u8(kept.first, vorrq_u8(bit0, bit1)),
                   .b = vbslq_u8(bit0, kept.first, vbicq_u8(kept.second, bit3)),
                   .c = vbslq_u8(bit1, kept.first, vbicq_u8(kept.second, bit2)),
                   .d = vandq_u8(kept.second, vandq_u8(bit2, bit3))};
}

/* A byte a group, in every byte of its elements: what narrow() takes back. */
INLINE void spread(unsigned out, uint8x16_t nibbles, uint8x16_t wide[8])
{
    wide[0] = nibbles;
    S24_UNROLL
    for (unsigned n = 1; n < out; n *= 2) {
        S24_UNROLL
        for (unsigned i = n; i-- > 0;) {
            const uint8x16_t x = wide[i];
            wide[2 * i] = vzip1q_u8(x, x);
            wide[2 * i + 1] = vzip2q_u8(x, x);
        }
    }
}

/* Sixteen groups. in, out: bytes of an element. */
INLINE void expand_step(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *values,
                        uint8x16_t nibbles, unsigned char *dst)
{
    uint8x16_t wide[8];
    spread(out, nibbles, wide);
    S24_UNROLL
    for (unsigned i = 0; i < out; i++) {
        store_fours(out, expand(load_twos(from, to, out, values + 32 * in / out * i), wide[i]), dst + 64 * i);
    }
}

/* The pairs of groups behind the last whole step, and those in front of an invalid one. */
INLINE size_t unpack_rest(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *values,
                          const uint8_t *positions, size_t groups, unsigned char *dst)
{
    unsigned char kept[32 * 8] = {0}, step[64 * 8];
    uint8_t bytes[STEP_GROUPS / 2] = {0};
    memcpy(bytes, positions, groups / 2);
    const uint8x16_t nibbles = load_nibbles(bytes);
    const size_t valid = leading(ascending(nibbles)) / 2 * 2; /* a 0 is not */
    memcpy(kept, values, 2 * in * valid);
    expand_step(from, in, to, out, kept, nibbles, step);
    memcpy(dst, step, 4 * out * valid);
    return valid;
}

INLINE size_t unpack(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *kept,
                     const uint8_t *positions, size_t groups, void *dense)
{
    const unsigned char *values = kept;
    unsigned char *dst = dense;
    size_t g = 0;
    for (; groups - g >= STEP_GROUPS; g += STEP_GROUPS) {
        const uint8x16_t nibbles = load_nibbles(positions + g / 2);
        if (any(vmvnq_u8(ascending(nibbles)))) {
            break;
        }
        expand_step(from, in, to, out, values + 2 * in * g, nibbles, dst + 4 * out * g);
    }
    const size_t rest = groups - g < STEP_GROUPS ? groups - g : STEP_GROUPS;
    return g + unpack_rest(from, in, to, out, values + 2 * in * g, positions + g / 2, rest, dst + 4 * out * g);
}

#define UNPACK_KERNEL(name, from, in, to, out) \
    size_t name(const void *values, const uint8_t *positions, size_t groups, void *dst) \
    { \
        return unpack(S24_##from, in, S24_##to, out, values, positions, groups, dst); \
    }

UNPACK_KERNEL(s24_unpack_neon_f64, F64, 8, F64, 8)
UNPACK_KERNEL(s24_unpack_neon_8, I8, 1, I8, 1)
UNPACK_KERNEL(s24_unpack_neon_f32, F32, 4, F32, 4)
UNPACK_KERNEL(s24_unpack_neon_f16, F16, 2, F16, 2)
UNPACK_KERNEL(s24_unpack_neon_f16_f32, F16, 2, F32, 4)
UNPACK_KERNEL(s24_unpack_neon_bf16_f32, BF16, 2, F32, 4)

/* ---------------------------------------------------------------- compliance */

/* How many of four elements are unequal to zero, negative, in each byte. */
INLINE uint8x16_t nonzero(s24_dtype from, unsigned in, fours x)
{
    const uint8x16_t bits = everywhere(in, key_bits(from, in));
    return vaddq_u8(vaddq_u8(any_bit(in, x.a, bits), any_bit(in, x.b, bits)),
                    vaddq_u8(any_bit(in, x.c, bits), any_bit(in, x.d, bits)));
}

/* Groups of 16 / in with three or four elements unequal to zero: -1 in each byte. */
INLINE uint8x16_t broken_of(s24_dtype from, unsigned in, const unsigned char *src)
{
    return (uint8x16_t)vcltq_s8((int8x16_t)nonzero(from, in, load_fours(in, src)), vdupq_n_s8(-2));
}

/* Where it does not matter which four. */
INLINE uint8x16_t nonzero_of(s24_dtype from, unsigned in, const unsigned char *src)
{
    const uint8x16x4_t x = vld1q_u8_x4(src);
    return nonzero(from, in, (fours)FOURS(x));
}

typedef uint8x16_t piece_count(s24_dtype from, unsigned in, const unsigned char *src);

/* Of pieces of 64 bytes: each adds at most four to a byte. */
#define COUNT_PIECES 63

/* What `of` finds, over all pieces. */
INLINE uint64_t count_pieces(piece_count *of, s24_dtype from, unsigned in, const unsigned char *src, size_t pieces)
{
    uint64_t total = 0;
    for (size_t first = 0; first < pieces; first += COUNT_PIECES) {
        const size_t end = pieces - first < COUNT_PIECES ? pieces : first + COUNT_PIECES;
        uint8x16_t count = vdupq_n_u8(0);
        for (size_t i = first; i < end; i++) {
            count = vsubq_u8(count, of(from, in, src + 64 * i));
        }
        total += vaddlvq_u8(count) / in;
    }
    return total;
}

INLINE size_t comply(s24_dtype from, unsigned in, const void *dense, size_t groups, uint64_t *broken)
{
    const size_t steps = groups / STEP_GROUPS;
    *broken += count_pieces(broken_of, from, in, dense, in * steps);
    return STEP_GROUPS * steps;
}

/* The other thing that zeros are counted for. */
INLINE size_t zeros(s24_dtype from, unsigned in, const void *data, size_t n, uint64_t *count)
{
    const size_t blocks = n / 64;
    *count += 64 * blocks - count_pieces(nonzero_of, from, in, data, in * blocks);
    return 64 * blocks;
}

#define COMPLY_KERNEL(name, from, in) \
    size_t name(const void *src, size_t groups, uint64_t *broken) \
    { \
        return comply(S24_##from, in, src, groups, broken); \
    }

COMPLY_KERNEL(s24_comply_neon_f64, F64, 8)
COMPLY_KERNEL(s24_comply_neon_f32, F32, 4)
COMPLY_KERNEL(s24_comply_neon_f16, F16, 2)
COMPLY_KERNEL(s24_comply_neon_f8, F8E4M3, 1)
COMPLY_KERNEL(s24_comply_neon_i8, I8, 1)

#define ZEROS_KERNEL(name, from, in) \
    size_t name(const void *src, size_t n, uint64_t *count) \
    { \
        return zeros(S24_##from, in, src, n, count); \
    }

ZEROS_KERNEL(s24_zeros_neon_f64, F64, 8)
ZEROS_KERNEL(s24_zeros_neon_f32, F32, 4)
ZEROS_KERNEL(s24_zeros_neon_f16, F16, 2)
ZEROS_KERNEL(s24_zeros_neon_f8, F8E4M3, 1)
ZEROS_KERNEL(s24_zeros_neon_i8, I8, 1)

/* ---------------------------------------------------------------- measuring */

/*
 * Who is kept is given, and so is what is stored of it, which need not be near it: another's values are measured, too.
 * So |w - v| is handed on as f64, in which it and its square are rounded as in the generic code. What is stored is read
 * as `from`, which all that it is stored as fits into.
 */

/* By nibbles, as in expand(). */
INLINE choice choice_of(uint8x16_t nibbles)
{
    const uint8x16_t high = vdupq_n_u8(3 << 2);
    return (choice){.a = vmvnq_u8(vtstq_u8(nibbles, vdupq_n_u8(3))), .d = vcgeq_u8(nibbles, high),
                    .ab = vceqq_u8(nibbles, vdupq_n_u8(1 << 2)), .cd = vceqq_u8(nibbles, vdupq_n_u8(2 | 3 << 2))};
}

/* As hand_on_f32 and hand_on_f64 do. */
INLINE void hand_on_error(s24_dtype from, uint8x16_t kept, uint8x16_t stored, unsigned i, unsigned which,
                          double quads[][8])
{
    if (from == S24_F64) {
        hand_on_f64((uint8x16_t)vabdq_f64((float64x2_t)kept, (float64x2_t)stored), i, which, quads);
        return;
    }
    float32x4_t w[4], v[4];
    const unsigned count = widen(from, kept, w);
    widen(from, stored, v);
    S24_UNROLL
    for (unsigned j = 0; j < count; j++) {
        double *place = quads[count * i + j] + 4 * which;
        vst1q_f64(place, vabdq_f64(vcvt_f64_f32(vget_low_f32(w[j])), vcvt_f64_f32(vget_low_f32(v[j]))));
        vst1q_f64(place + 2, vabdq_f64(vcvt_high_f64_f32(w[j]), vcvt_high_f64_f32(v[j])));
    }
}

INLINE void measure_step(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src,
                         const unsigned char *values, uint8x16_t nibbles, uint8x16_t there, block *b,
                         size_t quad, extremes *e, s24_lanes *lanes)
{
    uint8x16_t wide[8];
    counted n;
    spread(in, nibbles, wide);
    S24_UNROLL
    for (unsigned i = 0; i < in; i++) {
        const choice keep = choice_of(wide[i]);
        const fours x = load_fours(in, src + 64 * i);
        const twos kept = kept_of(keep, x), pruned = pruned_of(keep, x), key = keys_of_twos(from, in, pruned);
        const twos stored = load_twos(to, from, in, values + 32 * out / in * i);
        count_zeros(&n, i, from, in, stored, 0, pruned);
        e->max = greater(in, e->max, greater(in, key.first, key.second));
        hand_on(from, keys_of_twos(from, in, kept), key, i, b, quad);
        hand_on_error(from, kept.first, stored.first, i, 0, b->error + quad);
        hand_on_error(from, kept.second, stored.second, i, 1, b->error + quad);
    }
    count_end(lanes, from, in, &n, there);
}

static __attribute__((noinline)) void add_errors_f64(s24_lanes *lanes, const block *b, size_t quads)
{
    d8 quant_abs = d8_load(lanes->quant_abs), quant_sq = d8_load(lanes->quant_sq);
    float64x2_t max = vdupq_n_f64(lanes->max_abs_error);
    for (size_t i = 0; i < quads; i++) {
        const d8 e = d8_of_f64(b->error[i]);
        d8_add(&quant_abs, e);
        d8_add_square(&quant_sq, e);
        max = vmaxq_f64(max, vmaxq_f64(vmaxq_f64(e.x[0], e.x[1]), vmaxq_f64(e.x[2], e.x[3])));
    }
    d8_store(lanes->quant_abs, quant_abs);
    d8_store(lanes->quant_sq, quant_sq);
    lanes->max_abs_error = vmaxvq_f64(max);
}

/* Completed by zeros, which add nothing. */
INLINE void complete_planes(unsigned in, unsigned out, const unsigned char *src, const unsigned char *values,
                            const uint8_t *positions, size_t groups, last_step *last)
{
    memset(last, 0, sizeof *last);
    memcpy(last->src, src, 4 * in * groups);
    memcpy(last->values, values, 2 * out * groups);
    memcpy(last->positions, positions, (groups + 1) / 2);
}

/* At most a block, whose last step need not be whole; how many groups, up to a step with invalid positions. */
INLINE size_t measure_block(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const unsigned char *src,
                            size_t groups, const unsigned char *values, const uint8_t *positions, extremes *e,
                            s24_lanes *lanes)
{
    block b;
    last_step last;
    size_t g = 0;
    for (; g < groups; g += STEP_GROUPS) {
        const unsigned char *step = src + 4 * in * g, *kept = values + 2 * out * g;
        const uint8_t *p = positions + g / 2;
        const uint8x16_t there = there_are(groups - g);
        if (groups - g < STEP_GROUPS) {
            complete_planes(in, out, step, kept, p, groups - g, &last);
            step = last.src, kept = last.values, p = last.positions;
        }
        const uint8x16_t nibbles = load_nibbles(p);
        if (any(vbicq_u8(there, ascending(nibbles)))) {
            break; /* the generic code says where */
        }
        measure_step(from, in, to, out, step, kept, nibbles, there, &b, g / QUAD_GROUPS, e, lanes);
    }
    const size_t quads = ((g < groups ? g : groups) + QUAD_GROUPS - 1) / QUAD_GROUPS;
    if (from == S24_F64) {
        add_block_f64(lanes, &b, quads);
    } else {
        add_block(lanes, &b, quads);
    }
    add_errors_f64(lanes, &b, quads);
    return g < groups ? g : groups;
}

INLINE size_t measure(s24_dtype from, unsigned in, s24_dtype to, unsigned out, const void *dense, size_t groups,
                      const void *kept, const uint8_t *positions, s24_lanes *lanes)
{
    const unsigned char *src = dense, *values = kept;
    extremes e = {.max = vdupq_n_u8(0), .error = vdupq_n_f32(0)};
    size_t g = 0, done, some;
    do {
        some = groups - g < QUAD_GROUPS * BLOCK_QUADS ? groups - g : QUAD_GROUPS * BLOCK_QUADS;
        done = measure_block(from, in, to, out, src + 4 * in * g, some, values + 2 * out * g, positions + g / 2, &e,
                             lanes);
        g += done;
    } while (done == some && g < groups);
    lanes_end(lanes, from, in, &e);
    return g;
}

#define MEASURE_KERNEL(name, from, in, to, out) \
    size_t name(const void *src, size_t groups, const void *values, const uint8_t *positions, s24_lanes *lanes) \
    { \
        return measure(S24_##from, in, S24_##to, out, src, groups, values, positions, lanes); \
    }

MEASURE_KERNEL(s24_measure_neon_f64, F64, 8, F64, 8)
MEASURE_KERNEL(s24_measure_neon_f32, F32, 4, F32, 4)
MEASURE_KERNEL(s24_measure_neon_f32_f16, F32, 4, F16, 2)
MEASURE_KERNEL(s24_measure_neon_f32_bf16, F32, 4, BF16, 2)
MEASURE_KERNEL(s24_measure_neon_f16, F16, 2, F16, 2)
MEASURE_KERNEL(s24_measure_neon_bf16, BF16, 2, BF16, 2)
MEASURE_KERNEL(s24_measure_neon_f8e4m3, F8E4M3, 1, F8E4M3, 1)
MEASURE_KERNEL(s24_measure_neon_f8e5m2, F8E5M2, 1, F8E5M2, 1)
MEASURE_KERNEL(s24_measure_neon_i8, I8, 1, I8, 1)

#endif
