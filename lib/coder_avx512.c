/* AVX-512: the coder's planes and its entropy decoder. */
#include "coder_parts.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX512)

#define RUN 64 /* values a turn */

/* ---------------------------------------------------------------- fields of bits */

/*
 * Eight fields of a width are as many bytes, which a lane of 64 bits holds. Unpacking: a byte permutation brings each eight
 * to their lane, and vpmultishiftqb takes the eight fields out of it. Packing: neighbours are joined three times, to 2, 4
 * and 8 fields, by two multiplications and a shift, and the bytes of the lanes moved together.
 */
typedef struct fields {
    unsigned width;
    __mmask64 packed;           /* the bytes of 64 fields */
    __m512i spread, gather;     /* permutations: to lanes, from lanes */
    __m512i shifts, mask;
    __m512i pairs, quads;       /* weights of neighbours */
    __m128i half;               /* shift of the upper four of eight */
} fields;

INLINE fields fields_of(unsigned width)
{
    uint8_t spread[64], gather[64] = {0}, shifts[64];
    for (unsigned i = 0; i < 64; i++) {
        const unsigned lane = i / 8, byte = i % 8;
        spread[i] = (uint8_t)(lane * width + byte);
        shifts[i] = (uint8_t)(byte * width);
        if (byte < width) {
            gather[lane * width + byte] = (uint8_t)i;
        }
    }
    return (fields){.width = width, .packed = ((__mmask64)1 << 8 * width) - 1, .spread = _mm512_loadu_si512(spread),
                    .gather = _mm512_loadu_si512(gather), .shifts = _mm512_loadu_si512(shifts),
                    .mask = _mm512_set1_epi8((char)((1u << width) - 1)),
                    .pairs = _mm512_set1_epi16((short)(1 | 1u << width << 8)),
                    .quads = _mm512_set1_epi32((int)(1 | 1u << 2 * width << 16)),
                    .half = _mm_cvtsi32_si128((int)(4 * width))};
}

INLINE __m512i unpack64(const fields *f, const uint8_t *in)
{
    const __m512i x = _mm512_permutexvar_epi8(f->spread, _mm512_maskz_loadu_epi8(f->packed, in));
    return _mm512_and_si512(_mm512_multishift_epi64_epi8(f->shifts, x), f->mask);
}

/* x has nothing above the width in its bytes. */
INLINE void pack64(const fields *f, __m512i x, uint8_t *out)
{
    const __m512i two = _mm512_maddubs_epi16(f->pairs, x);
    const __m512i four = _mm512_madd_epi16(two, f->quads);
    const __m512i low = _mm512_and_si512(four, _mm512_set1_epi64(0xffffffff));
    const __m512i eight = _mm512_or_si512(low, _mm512_sll_epi64(_mm512_srli_epi64(four, 32), f->half));
    _mm512_mask_storeu_epi8(out, f->packed, _mm512_permutexvar_epi8(f->gather, eight));
}

/* ---------------------------------------------------------------- prefixes and symbols, 16 bits each */

INLINE __m512i symbols_of(const s24_cut *cut, __m512i prefix)
{
    if (cut->prefix <= 8) {
        return prefix;
    }
    const __m512i in_window = _mm512_sub_epi16(prefix, _mm512_set1_epi16((short)cut->base));
    const __mmask32 there = _mm512_cmplt_epu16_mask(in_window, _mm512_set1_epi16(S24_CODER_WINDOW));
    const __m512i next = _mm512_add_epi16(in_window, _mm512_set1_epi16(1));
    const __m512i symbol = _mm512_mask_mov_epi16(_mm512_set1_epi16(S24_CODER_ESCAPE), there, next);
    return _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(prefix, prefix), symbol);
}

INLINE __m512i prefixes_of(const s24_cut *cut, __m512i symbols)
{
    if (cut->prefix <= 8) {
        return _mm512_and_si512(symbols, _mm512_set1_epi16((short)((1u << cut->prefix) - 1)));
    }
    const __m512i next = _mm512_add_epi16(symbols, _mm512_set1_epi16(1));
    const __mmask32 there = _mm512_cmpgt_epu16_mask(next, _mm512_set1_epi16(1)) &
                            _mm512_cmplt_epu16_mask(symbols, _mm512_set1_epi16(S24_CODER_ESCAPE));
    return _mm512_maskz_add_epi16(there, symbols, _mm512_set1_epi16((short)(cut->base - 1)));
}

INLINE __m512i widen_half(__m512i bytes, unsigned half)
{
    return _mm512_cvtepu8_epi16(half ? _mm512_extracti64x4_epi64(bytes, 1) : _mm512_castsi512_si256(bytes));
}

INLINE __m512i narrow_halves(__m512i low, __m512i high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(low)), _mm512_cvtepi16_epi8(high), 1);
}

/* ---------------------------------------------------------------- elements of 16 bits */

INLINE void split_words(const s24_cut *cut, const fields *f, const uint8_t *values, size_t i, const s24_value_planes *planes)
{
    const __m128i low_bits = _mm_cvtsi32_si128((int)(8 * cut->lows));
    const __m128i above = _mm_cvtsi32_si128((int)(8 * cut->lows + cut->middle));
    const __m512i prefix_mask = _mm512_set1_epi16((short)((1u << cut->prefix) - 1));
    __m512i v[2], symbols[2];
    for (unsigned k = 0; k < 2; k++) {
        v[k] = _mm512_loadu_si512(values + 2 * i + 64 * k);
        symbols[k] = symbols_of(cut, _mm512_and_si512(_mm512_srl_epi16(v[k], above), prefix_mask));
    }
    _mm512_storeu_si512(planes->symbols + i, narrow_halves(symbols[0], symbols[1]));
    if (cut->lows) {
        _mm512_storeu_si512(planes->lows[0] + i, narrow_halves(v[0], v[1]));
    }
    if (cut->middle) {
        const __m512i middle = narrow_halves(_mm512_srl_epi16(v[0], low_bits), _mm512_srl_epi16(v[1], low_bits));
        pack64(f, _mm512_and_si512(middle, f->mask), planes->middle + i / 8 * cut->middle);
    }
    if (cut->sign) {
        const uint64_t signs = _mm512_movepi16_mask(v[0]) | (uint64_t)_mm512_movepi16_mask(v[1]) << 32;
        memcpy(planes->signs + i / 8, &signs, 8);
    }
}

size_t s24_split_avx512_2(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes)
{
    const fields f = fields_of(cut->middle);
    size_t i = 0;
    if (cut->lows > 1) {
        return 0;
    }
    for (; i + RUN <= n; i += RUN) {
        split_words(cut, &f, values, i, planes);
    }
    return i;
}

INLINE void join_words(const s24_cut *cut, const fields *f, const s24_value_planes *planes, size_t i, uint8_t *values)
{
    const __m128i low_bits = _mm_cvtsi32_si128((int)(8 * cut->lows));
    const __m128i above = _mm_cvtsi32_si128((int)(8 * cut->lows + cut->middle));
    const __m512i symbols = _mm512_loadu_si512(planes->symbols + i);
    const __m512i middle = cut->middle ? unpack64(f, planes->middle + i / 8 * cut->middle) : _mm512_setzero_si512();
    const __m512i lows = cut->lows ? _mm512_loadu_si512(planes->lows[0] + i) : _mm512_setzero_si512();
    uint64_t signs = 0;
    if (cut->sign) {
        memcpy(&signs, planes->signs + i / 8, 8);
    }
    for (unsigned k = 0; k < 2; k++) {
        __m512i v = _mm512_sll_epi16(prefixes_of(cut, widen_half(symbols, k)), above);
        v = _mm512_or_si512(v, _mm512_sll_epi16(widen_half(middle, k), low_bits));
        v = _mm512_or_si512(v, widen_half(lows, k));
        v = _mm512_or_si512(v, _mm512_maskz_set1_epi16((__mmask32)(signs >> 32 * k), (short)0x8000));
        _mm512_storeu_si512(values + 2 * i + 64 * k, v);
    }
}

size_t s24_join_avx512_2(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values)
{
    const fields f = fields_of(cut->middle);
    size_t i = 0;
    if (cut->lows > 1) {
        return 0;
    }
    for (; i + RUN <= n; i += RUN) {
        join_words(cut, &f, planes, i, values);
    }
    return i;
}

/* ---------------------------------------------------------------- elements of 32 bits */

/* The low byte of each, of 64. */
INLINE __m512i narrow_quarters(const __m512i x[4])
{
    __m512i all = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(x[0]));
    all = _mm512_inserti32x4(all, _mm512_cvtepi32_epi8(x[1]), 1);
    all = _mm512_inserti32x4(all, _mm512_cvtepi32_epi8(x[2]), 2);
    return _mm512_inserti32x4(all, _mm512_cvtepi32_epi8(x[3]), 3);
}

INLINE __m512i narrow_shifted(const __m512i v[4], unsigned bits)
{
    const __m128i shift = _mm_cvtsi32_si128((int)bits);
    const __m512i x[4] = {_mm512_srl_epi32(v[0], shift), _mm512_srl_epi32(v[1], shift), _mm512_srl_epi32(v[2], shift),
                          _mm512_srl_epi32(v[3], shift)};
    return narrow_quarters(x);
}

INLINE void split_doubles(const s24_cut *cut, const fields *f, const uint8_t *values, size_t i,
                          const s24_value_planes *planes)
{
    const unsigned low_bits = 8 * cut->lows;
    const __m128i above = _mm_cvtsi32_si128((int)(low_bits + cut->middle));
    const __m512i prefix_mask = _mm512_set1_epi32((1 << cut->prefix) - 1);
    __m512i v[4], symbols[2];
    for (unsigned k = 0; k < 4; k++) {
        v[k] = _mm512_loadu_si512(values + 4 * i + 64 * k);
    }
    for (unsigned k = 0; k < 2; k++) {
        const __m512i low = _mm512_and_si512(_mm512_srl_epi32(v[2 * k], above), prefix_mask);
        const __m512i high = _mm512_and_si512(_mm512_srl_epi32(v[2 * k + 1], above), prefix_mask);
        const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
                                                _mm512_cvtepi32_epi16(high), 1);
        symbols[k] = symbols_of(cut, both);
    }
    _mm512_storeu_si512(planes->symbols + i, narrow_halves(symbols[0], symbols[1]));
    for (unsigned low = 0; low < cut->lows; low++) {
        _mm512_storeu_si512(planes->lows[low] + i, narrow_shifted(v, 8 * low));
    }
    if (cut->middle) {
        pack64(f, _mm512_and_si512(narrow_shifted(v, low_bits), f->mask), planes->middle + i / 8 * cut->middle);
    }
    if (cut->sign) {
        const uint64_t signs = _mm512_movepi32_mask(v[0]) | (uint64_t)_mm512_movepi32_mask(v[1]) << 16 |
                               (uint64_t)_mm512_movepi32_mask(v[2]) << 32 | (uint64_t)_mm512_movepi32_mask(v[3]) << 48;
        memcpy(planes->signs + i / 8, &signs, 8);
    }
}

size_t s24_split_avx512_4(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes)
{
    const fields f = fields_of(cut->middle);
    size_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        split_doubles(cut, &f, values, i, planes);
    }
    return i;
}

INLINE __m512i widen_quarter(const uint8_t *bytes)
{
    return _mm512_cvtepu8_epi32(load16(bytes));
}

INLINE void join_doubles(const s24_cut *cut, const fields *f, const s24_value_planes *planes, size_t i, uint8_t *values)
{
    const __m128i low_bits = _mm_cvtsi32_si128((int)(8 * cut->lows));
    const __m128i above = _mm_cvtsi32_si128((int)(8 * cut->lows + cut->middle));
    const __m512i symbols = _mm512_loadu_si512(planes->symbols + i);
    uint8_t middle[RUN] = {0};
    uint64_t signs = 0;
    if (cut->middle) {
        _mm512_storeu_si512(middle, unpack64(f, planes->middle + i / 8 * cut->middle));
    }
    if (cut->sign) {
        memcpy(&signs, planes->signs + i / 8, 8);
    }
    for (unsigned k = 0; k < 2; k++) {
        const __m512i prefixes = prefixes_of(cut, widen_half(symbols, k));
        for (unsigned h = 0; h < 2; h++) {
            const unsigned at = 32 * k + 16 * h;
            const __m256i half = h ? _mm512_extracti64x4_epi64(prefixes, 1) : _mm512_castsi512_si256(prefixes);
            __m512i v = _mm512_sll_epi32(_mm512_cvtepu16_epi32(half), above);
            v = _mm512_or_si512(v, _mm512_sll_epi32(widen_quarter(middle + at), low_bits));
            v = _mm512_or_si512(v, _mm512_maskz_set1_epi32((__mmask16)(signs >> at), INT32_MIN));
            for (unsigned low = 0; low < cut->lows; low++) {
                const __m512i byte = widen_quarter(planes->lows[low] + i + at);
                v = _mm512_or_si512(v, _mm512_sll_epi32(byte, _mm_cvtsi32_si128((int)(8 * low))));
            }
            _mm512_storeu_si512(values + 4 * (i + at), v);
        }
    }
}

size_t s24_join_avx512_4(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values)
{
    const fields f = fields_of(cut->middle);
    size_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        join_doubles(cut, &f, planes, i, values);
    }
    return i;
}

/* ---------------------------------------------------------------- entropy decoding */

/* 16 lanes: their symbols, and the words that those need whose state has become low, which vpexpandd brings to them. */
INLINE __m512i decode16(__m512i x, const uint32_t *table, const uint8_t **words, uint8_t *symbols)
{
    const __m512i slot = _mm512_and_si512(x, _mm512_set1_epi32(S24_RANS_SUM - 1));
    const __m512i entry = _mm512_i32gather_epi32(slot, table, 4);
    _mm_storeu_si128((__m128i *)(void *)symbols, _mm512_cvtepi32_epi8(entry));
    const __m512i within = _mm512_and_si512(_mm512_srli_epi32(entry, 8), _mm512_set1_epi32(S24_RANS_SUM - 1));
    x = _mm512_mullo_epi32(_mm512_srli_epi32(entry, 20), _mm512_srli_epi32(x, S24_RANS_BITS));
    x = _mm512_add_epi32(x, within);
    const __mmask16 low = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(S24_RANS_LOW));
    const __m512i next = _mm512_maskz_expand_epi32(low, _mm512_cvtepu16_epi32(load32(*words)));
    *words += 2 * _mm_popcnt_u32(low);
    return _mm512_or_si512(_mm512_mask_slli_epi32(x, low, x, 16), next);
}

size_t s24_decode_avx512(s24_rans_decoder *decoder, const s24_coded_plane *plane, const s24_decode_table *tables,
                         size_t first, uint8_t *symbols)
{
    const unsigned shift = 5 + plane->block;
    const uint8_t *words = decoder->words;
    __m512i a = _mm512_loadu_si512(decoder->state), b = _mm512_loadu_si512(decoder->state + 16);
    size_t i = first;
    for (; plane->n - i >= S24_RANS_LANES && decoder->end - words >= 2 * S24_RANS_LANES; i += S24_RANS_LANES) {
        const uint32_t *table = tables[plane->classes ? plane->classes[i >> shift] : 0].at;
        a = decode16(a, table, &words, symbols + i);
        b = decode16(b, table, &words, symbols + i + 16);
    }
    _mm512_storeu_si512(decoder->state, a);
    _mm512_storeu_si512(decoder->state + 16, b);
    decoder->words = words;
    return i;
}

VECTOR_END

#endif
