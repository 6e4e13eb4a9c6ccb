/* AVX2 (with FMA, F16C, BMI2: Haswell, Zen and later): unpacking, compliance and measuring. */
#include "kernels.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX2)

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

#define JOIN_DOUBLES(n) \
    {PAIR_OR_NONE(JOIN_NIBBLE(n, 0, 0)), PAIR_OR_NONE(JOIN_NIBBLE(n, 1, 0)), PAIR_OR_NONE(JOIN_NIBBLE(n, 2, 0)), \
     PAIR_OR_NONE(JOIN_NIBBLE(n, 3, 0))},

static const uint8_t join_doubles[16][8] = {BYTES16(JOIN_DOUBLES, 0)}; /* of one group, as lanes of 32 bits */
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

/* x in the lanes that an entry of a table says, which has NONE for the others. */
INLINE void join(__m128i x, const uint8_t entry[8], unsigned char *dst)
{
    const __m256i order = _mm256_cvtepi8_epi32(load8(entry)); /* NONE becomes negative */
    const __m256 joined = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_castsi128_ps(x)), order);
    _mm256_storeu_ps((float *)(void *)dst, _mm256_blendv_ps(joined, _mm256_setzero_ps(), _mm256_castsi256_ps(order)));
}

INLINE void expand8(s24_dtype from, s24_dtype to, const unsigned char *values, uint8_t position, unsigned char *dst)
{
    if (to == S24_F64) {
        join(load16(values), join_doubles[LOW(position)], dst);
        join(load16(values + 16), join_doubles[HIGH(position)], dst + 32);
    } else if (to == S24_F32) {
        join(load_floats(from, values), join_lanes[position], dst);
    } else if (to == S24_I8) {
        int four;
        memcpy(&four, values, 4);
        const __m128i x = _mm_shuffle_epi8(_mm_cvtsi32_si128(four), load8(join_lanes[position]));
        _mm_storel_epi64((__m128i *)(void *)dst, x);
    } else {
        const __m128i x = _mm_shuffle_epi8(load8(values), load16(join_words[position]));
        _mm_storeu_si128((__m128i *)(void *)dst, x);
    }
}

INLINE void expand64(s24_dtype from, s24_dtype to, const unsigned char *values, uint64_t positions, unsigned char *dst)
{
    const unsigned in = from == S24_F64 ? 8 : from == S24_F32 ? 4 : from == S24_I8 ? 1 : 2;
    const unsigned out = to == S24_F64 ? 8 : to == S24_F32 ? 4 : to == S24_I8 ? 1 : 2;
    for (unsigned i = 0; i < 8; i++) {
        expand8(from, to, values + 4 * in * i, (uint8_t)(positions >> 8 * i), dst + 8 * out * i);
    }
}

UNPACK_KERNEL(s24_unpack_avx2_f64, F64, 8, F64, 8)
UNPACK_KERNEL(s24_unpack_avx2_8, I8, 1, I8, 1)
UNPACK_KERNEL(s24_unpack_avx2_f32, F32, 4, F32, 4)
UNPACK_KERNEL(s24_unpack_avx2_f16, F16, 2, F16, 2)
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
ZEROS_KERNEL(s24_zeros_avx2_f64, F64, 8)
ZEROS_KERNEL(s24_zeros_avx2_f32, F32, 4)
ZEROS_KERNEL(s24_zeros_avx2_f16, F16, 2)
ZEROS_KERNEL(s24_zeros_avx2_f8, F8E4M3, 1)
ZEROS_KERNEL(s24_zeros_avx2_i8, I8, 1)

/* ---------------------------------------------------------------- measuring */

typedef struct d8 {
    __m256d low, high;
} d8;

#define D8_EACH(name, low_, high_) \
    INLINE d8 name(d8 a, d8 b) \
    { \
        return (d8){low_, high_}; \
    }

D8_EACH(d8_add, _mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high))
D8_EACH(d8_sub, _mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high))
D8_EACH(d8_mul, _mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high))
D8_EACH(d8_max, _mm256_max_pd(a.low, b.low), _mm256_max_pd(a.high, b.high))
D8_EACH(d8_andnot, _mm256_andnot_pd(a.low, b.low), _mm256_andnot_pd(a.high, b.high))

INLINE d8 d8_abs(d8 x)
{
    return d8_andnot((d8){_mm256_set1_pd(-0.0), _mm256_set1_pd(-0.0)}, x);
}

INLINE d8 d8_distance(d8 a, d8 b)
{
    return d8_abs(d8_sub(a, b));
}

INLINE d8 d8_load(const double lane[8])
{
    return (d8){_mm256_loadu_pd(lane), _mm256_loadu_pd(lane + 4)};
}

INLINE void d8_store(double lane[8], d8 x)
{
    _mm256_storeu_pd(lane, x.low);
    _mm256_storeu_pd(lane + 4, x.high);
}

INLINE d8 d8_join(__m256d low, __m256d high)
{
    return (d8){low, high};
}

INLINE d8 d8_of(__m256 x)
{
    return (d8){_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}

INLINE unsigned d8_signs(d8 x)
{
    return (unsigned)(_mm256_movemask_pd(x.low) | _mm256_movemask_pd(x.high) << 4);
}

INLINE unsigned d8_zeros(d8 x)
{
    const __m256d none = _mm256_setzero_pd();
    return d8_signs((d8){_mm256_cmp_pd(x.low, none, _CMP_EQ_OQ), _mm256_cmp_pd(x.high, none, _CMP_EQ_OQ)});
}

#include "measure_template.h"

MEASURE_KERNEL(s24_measure_avx2_f64, F64, 8, F64, 8)
MEASURE_KERNEL(s24_measure_avx2_f32, F32, 4, F32, 4)
MEASURE_KERNEL(s24_measure_avx2_f32_f16, F32, 4, F16, 2)
MEASURE_KERNEL(s24_measure_avx2_f32_bf16, F32, 4, BF16, 2)
MEASURE_KERNEL(s24_measure_avx2_f16, F16, 2, F16, 2)
MEASURE_KERNEL(s24_measure_avx2_bf16, BF16, 2, BF16, 2)
MEASURE_KERNEL(s24_measure_avx2_f8e4m3, F8E4M3, 1, F8E4M3, 1)
MEASURE_KERNEL(s24_measure_avx2_f8e5m2, F8E5M2, 1, F8E5M2, 1)
MEASURE_KERNEL(s24_measure_avx2_i8, I8, 1, I8, 1)

/* ---------------------------------------------------------------- patterns of blocks */

#define BLOCK_LANES 4
typedef __m256d vd;
#define vd_load _mm256_loadu_pd
#define vd_store _mm256_storeu_pd
#define vd_add _mm256_add_pd
#define vd_max _mm256_max_pd
#define vd_set1 _mm256_set1_pd

INLINE vd vd_choose(vd greater, vd than, vd a, vd b)
{
    return _mm256_blendv_pd(b, a, _mm256_cmp_pd(greater, than, _CMP_GT_OQ));
}

#include "blocks_template.h"

BLOCKS_KERNEL(s24_blocks_avx2)
/* ---------------------------------------------------------------- scales */

D8_EACH(d8_div, _mm256_div_pd(a.low, b.low), _mm256_div_pd(a.high, b.high))

INLINE d8 d8_set(double x)
{
    return (d8){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}

INLINE d8 d8_round_i8(d8 x, unsigned char *q)
{
    const __m128i low = _mm256_cvtpd_epi32(x.low), high = _mm256_cvtpd_epi32(x.high);
    const __m128i words = _mm_packs_epi32(low, high);
    _mm_storel_epi64((__m128i *)(void *)q, _mm_packs_epi16(words, words));
    return (d8){_mm256_cvtepi32_pd(low), _mm256_cvtepi32_pd(high)};
}

/* As with AVX-512, where it is told. A byte of each lane of 64 bits. */
INLINE __m256d round_f8(s24_dtype to, __m256d x, unsigned char *q)
{
    const int mantissa = to == S24_F8E4M3 ? 3 : 2, least = to == S24_F8E4M3 ? -6 : -14;
    const __m256d minus = _mm256_set1_pd(-0.0), sign = _mm256_and_pd(x, minus);
    const __m256i exponent = _mm256_srli_epi64(_mm256_castpd_si256(_mm256_andnot_pd(minus, x)), 52);
    const __m256i unit = _mm256_add_epi64(_mm256_max_epi32(exponent, _mm256_set1_epi64x(1023 + least)),
                                          _mm256_set1_epi64x(52 - mantissa));
    const __m256d magic = _mm256_castsi256_pd(_mm256_or_si256(_mm256_slli_epi64(unit, 52),
                                                              _mm256_set1_epi64x(INT64_C(1) << 51)));
    const __m256d size = _mm256_andnot_pd(minus, _mm256_sub_pd(_mm256_add_pd(x, magic), magic));
    const __m256d normal = _mm256_set1_pd(least == -6 ? 0x1p-6 : 0x1p-14);
    const __m256d subnormal = _mm256_cmp_pd(size, normal, _CMP_LT_OQ);
    const __m256d led = _mm256_add_pd(size, _mm256_and_pd(subnormal, normal));
    const __m256i key = _mm256_sub_epi64(_mm256_srli_epi64(_mm256_castpd_si256(led), 52 - mantissa),
                                         _mm256_set1_epi64x((int64_t)(1022 + least) << mantissa));
    const __m256i less = _mm256_and_si256(_mm256_castpd_si256(subnormal), _mm256_set1_epi64x(1 << mantissa));
    const __m256i code = _mm256_or_si256(_mm256_sub_epi64(key, less), _mm256_srli_epi64(_mm256_castpd_si256(sign), 56));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    const int four = _mm_cvtsi128_si32(_mm_shuffle_epi8(words, _mm_setr_epi8(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)));
    memcpy(q, &four, sizeof four);
    return _mm256_or_pd(size, sign);
}

INLINE d8 d8_round_f8(s24_dtype to, d8 x, unsigned char *q)
{
    return (d8){round_f8(to, x.low, q), round_f8(to, x.high, q + 4)};
}

INLINE __m256i most_bits(unsigned in, __m256i a, __m256i b)
{
    return in == 4 ? _mm256_max_epi32(a, b) : in == 2 ? _mm256_max_epi16(a, b)
                                            : _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(b, a));
}

#include "store_floats.h"

INLINE bool d8_put(s24_dtype to, d8 x, unsigned char *dst)
{
    if (to == S24_F64) {
        d8_store((double *)(void *)dst, x);
        return !d8_signs((d8){_mm256_cmp_pd(x.low, x.low, _CMP_UNORD_Q), _mm256_cmp_pd(x.high, x.high, _CMP_UNORD_Q)});
    }
    return put_floats(to, x.low, x.high, dst);
}

#include "quantize_template.h"

SCALE_KERNELS(avx2)

/* ---------------------------------------------------------------- columns of scores */

typedef struct v16 {
    __m256 low, high;
} v16;

#define V16_EACH(name, function) \
    INLINE v16 name(v16 a, v16 b) \
    { \
        return (v16){function(a.low, b.low), function(a.high, b.high)}; \
    }

V16_EACH(v16_add, _mm256_add_ps)
V16_EACH(v16_min, _mm256_min_ps)
V16_EACH(v16_max, _mm256_max_ps)

INLINE v16 v16_zero(void)
{
    return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

INLINE v16 v16_load(const float *p)
{
    return (v16){_mm256_load_ps(p), _mm256_load_ps(p + 8)};
}

INLINE void v16_store(float *p, v16 x)
{
    _mm256_store_ps(p, x.low);
    _mm256_store_ps(p + 8, x.high);
}

INLINE __m256 v16_halves(v16 x)
{
    return _mm256_add_ps(x.low, x.high);
}

#include "columns_template.h"

COLUMNS_KERNEL(s24_columns_avx2)

VECTOR_END

#endif
