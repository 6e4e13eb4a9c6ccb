/* AVX2 (with BMI2): the coder's planes and its entropy decoder. */
#include "coder_parts.h"

#if S24_X86

#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX2)

#define RUN 64 /* values a turn */

/* ---------------------------------------------------------------- fields of bits */

/* A byte a field, eight fields in 64 bits. */
INLINE uint64_t field_mask(unsigned width)
{
    return UINT64_C(0x0101010101010101) * ((1u << width) - 1);
}

/* 64 fields from 8 * width bytes: nothing beyond these is read, so the last ones come out of the last eight. */
INLINE void unpack64(const uint8_t *in, unsigned width, uint8_t *fields)
{
    const uint64_t mask = field_mask(width);
    for (unsigned k = 0; k < 8; k++) {
        const unsigned at = k * width, last = 8 * width - 8, from = at < last ? at : last;
        uint64_t x;
        memcpy(&x, in + from, 8);
        x = _pdep_u64(x >> 8 * (at - from), mask);
        memcpy(fields + 8 * k, &x, 8);
    }
}

INLINE void pack64(const uint8_t *fields, unsigned width, uint8_t *out)
{
    const uint64_t mask = field_mask(width);
    uint8_t packed[64 + 8];
    for (unsigned k = 0; k < 8; k++) {
        uint64_t x;
        memcpy(&x, fields + 8 * k, 8);
        x = _pext_u64(x, mask);
        memcpy(packed + k * width, &x, 8);
    }
    memcpy(out, packed, 8 * width);
}

/* ---------------------------------------------------------------- prefixes and symbols, 16 bits each */

INLINE __m256i symbols_of(const s24_cut *cut, __m256i prefix)
{
    if (cut->prefix <= 8) {
        return prefix;
    }
    const __m256i in_window = _mm256_sub_epi16(prefix, _mm256_set1_epi16((short)cut->base));
    const __m256i next = _mm256_adds_epu16(in_window, _mm256_set1_epi16(1));
    const __m256i symbol = _mm256_min_epu16(next, _mm256_set1_epi16(S24_CODER_ESCAPE));
    return _mm256_andnot_si256(_mm256_cmpeq_epi16(prefix, _mm256_setzero_si256()), symbol);
}

INLINE __m256i prefixes_of(const s24_cut *cut, __m256i symbols)
{
    if (cut->prefix <= 8) {
        return _mm256_and_si256(symbols, _mm256_set1_epi16((short)((1u << cut->prefix) - 1)));
    }
    const __m256i zero = _mm256_cmpeq_epi16(symbols, _mm256_setzero_si256());
    const __m256i escape = _mm256_cmpeq_epi16(symbols, _mm256_set1_epi16(S24_CODER_ESCAPE));
    const __m256i prefix = _mm256_add_epi16(symbols, _mm256_set1_epi16((short)(cut->base - 1)));
    return _mm256_andnot_si256(_mm256_or_si256(zero, escape), prefix);
}

/* ---------------------------------------------------------------- elements of 16 bits */

INLINE __m256i narrow_words(__m256i low, __m256i high)
{
    const __m256i mask = _mm256_set1_epi16(0xff);
    const __m256i x = _mm256_packus_epi16(_mm256_and_si256(low, mask), _mm256_and_si256(high, mask));
    return _mm256_permute4x64_epi64(x, 0xd8);
}

/* Half a run. */
INLINE void split_words(const s24_cut *cut, const uint8_t *values, size_t i, const s24_value_planes *planes,
                        uint8_t *middle)
{
    const __m128i low_bits = _mm_cvtsi32_si128((int)(8 * cut->lows));
    const __m128i above = _mm_cvtsi32_si128((int)(8 * cut->lows + cut->middle));
    const __m256i prefix_mask = _mm256_set1_epi16((short)((1u << cut->prefix) - 1));
    const __m256i a = load32(values + 2 * i), b = load32(values + 2 * i + 32);
    const __m256i first = symbols_of(cut, _mm256_and_si256(_mm256_srl_epi16(a, above), prefix_mask));
    const __m256i second = symbols_of(cut, _mm256_and_si256(_mm256_srl_epi16(b, above), prefix_mask));
    _mm256_storeu_si256((__m256i *)(void *)(planes->symbols + i), narrow_words(first, second));
    if (cut->lows) {
        _mm256_storeu_si256((__m256i *)(void *)(planes->lows[0] + i), narrow_words(a, b));
    }
    const __m256i between = narrow_words(_mm256_srl_epi16(a, low_bits), _mm256_srl_epi16(b, low_bits));
    _mm256_storeu_si256((__m256i *)(void *)middle, between); /* pext takes what is of the field */
    if (cut->sign) {
        const __m256i signs = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
        const uint32_t bits = (uint32_t)_mm256_movemask_epi8(signs);
        memcpy(planes->signs + i / 8, &bits, 4);
    }
}

size_t s24_split_avx2_2(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes)
{
    uint8_t middle[RUN];
    size_t i = 0;
    if (cut->lows > 1) {
        return 0;
    }
    for (; i + RUN <= n; i += RUN) {
        split_words(cut, values, i, planes, middle);
        split_words(cut, values, i + RUN / 2, planes, middle + RUN / 2);
        if (cut->middle) {
            pack64(middle, cut->middle, planes->middle + i / 8 * cut->middle);
        }
    }
    return i;
}

/* The highest bit of each of 16 words, from 16 bits. */
INLINE __m256i word_signs(uint32_t bits)
{
    const __m256i each = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, INT16_MIN);
    const __m256i x = _mm256_and_si256(_mm256_set1_epi16((short)bits), each);
    return _mm256_and_si256(_mm256_cmpeq_epi16(x, each), _mm256_set1_epi16(INT16_MIN));
}

INLINE void join_words(const s24_cut *cut, const s24_value_planes *planes, size_t i, const uint8_t *middle, uint32_t signs,
                       uint8_t *values)
{
    const __m128i low_bits = _mm_cvtsi32_si128((int)(8 * cut->lows));
    const __m128i above = _mm_cvtsi32_si128((int)(8 * cut->lows + cut->middle));
    const __m256i symbols = _mm256_cvtepu8_epi16(load16(planes->symbols + i));
    __m256i v = _mm256_sll_epi16(prefixes_of(cut, symbols), above);
    v = _mm256_or_si256(v, _mm256_sll_epi16(_mm256_cvtepu8_epi16(load16(middle)), low_bits));
    if (cut->lows) {
        v = _mm256_or_si256(v, _mm256_cvtepu8_epi16(load16(planes->lows[0] + i)));
    }
    _mm256_storeu_si256((__m256i *)(void *)(values + 2 * i), _mm256_or_si256(v, word_signs(signs)));
}

size_t s24_join_avx2_2(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values)
{
    uint8_t middle[RUN] = {0};
    size_t i = 0;
    if (cut->lows > 1) {
        return 0;
    }
    for (; i + RUN <= n; i += RUN) {
        uint64_t signs = 0;
        if (cut->middle) {
            unpack64(planes->middle + i / 8 * cut->middle, cut->middle, middle);
        }
        if (cut->sign) {
            memcpy(&signs, planes->signs + i / 8, 8);
        }
        for (unsigned k = 0; k < RUN; k += 16) {
            join_words(cut, planes, i + k, middle + k, (uint32_t)(signs >> k), values);
        }
    }
    return i;
}

/* ---------------------------------------------------------------- elements of 32 bits */

/* 32 bytes in order, from what is 16 bits wide in the order of two packus. */
INLINE void store_quarters(uint8_t *out, __m256i first, __m256i second)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i x = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), order);
    _mm256_storeu_si256((__m256i *)(void *)out, x);
}

INLINE void store_shifted(uint8_t *out, const __m256i v[4], unsigned bits)
{
    const __m128i shift = _mm_cvtsi32_si128((int)bits);
    const __m256i mask = _mm256_set1_epi32(0xff);
    __m256i x[4];
    for (unsigned k = 0; k < 4; k++) {
        x[k] = _mm256_and_si256(_mm256_srl_epi32(v[k], shift), mask);
    }
    store_quarters(out, _mm256_packus_epi32(x[0], x[1]), _mm256_packus_epi32(x[2], x[3]));
}

/* Half a run. */
INLINE void split_doubles(const s24_cut *cut, const uint8_t *values, size_t i, const s24_value_planes *planes,
                          uint8_t *middle)
{
    const unsigned low_bits = 8 * cut->lows;
    const __m128i above = _mm_cvtsi32_si128((int)(low_bits + cut->middle));
    const __m256i prefix_mask = _mm256_set1_epi32((1 << cut->prefix) - 1);
    __m256i v[4], prefix[4];
    for (unsigned k = 0; k < 4; k++) {
        v[k] = load32(values + 4 * i + 32 * k);
        prefix[k] = _mm256_and_si256(_mm256_srl_epi32(v[k], above), prefix_mask);
        if (cut->sign) {
            planes->signs[i / 8 + k] = (uint8_t)_mm256_movemask_ps(_mm256_castsi256_ps(v[k]));
        }
    }
    store_quarters(planes->symbols + i, symbols_of(cut, _mm256_packus_epi32(prefix[0], prefix[1])),
                   symbols_of(cut, _mm256_packus_epi32(prefix[2], prefix[3])));
    for (unsigned low = 0; low < cut->lows; low++) {
        store_shifted(planes->lows[low] + i, v, 8 * low);
    }
    if (cut->middle) {
        store_shifted(middle, v, low_bits);
    }
}

size_t s24_split_avx2_4(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes)
{
    uint8_t middle[RUN];
    size_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        split_doubles(cut, values, i, planes, middle);
        split_doubles(cut, values, i + RUN / 2, planes, middle + RUN / 2);
        if (cut->middle) {
            pack64(middle, cut->middle, planes->middle + i / 8 * cut->middle);
        }
    }
    return i;
}

/* The highest bit of each of eight, from eight bits. */
INLINE __m256i double_signs(uint32_t bits)
{
    const __m256i up = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    return _mm256_and_si256(_mm256_sllv_epi32(_mm256_set1_epi32((int)bits), up), _mm256_set1_epi32(INT32_MIN));
}

INLINE __m256i prefixes_of_doubles(const s24_cut *cut, __m256i symbols)
{
    if (cut->prefix <= 8) {
        return _mm256_and_si256(symbols, _mm256_set1_epi32((1 << cut->prefix) - 1));
    }
    const __m256i zero = _mm256_cmpeq_epi32(symbols, _mm256_setzero_si256());
    const __m256i escape = _mm256_cmpeq_epi32(symbols, _mm256_set1_epi32(S24_CODER_ESCAPE));
    const __m256i prefix = _mm256_add_epi32(symbols, _mm256_set1_epi32((int)cut->base - 1));
    return _mm256_andnot_si256(_mm256_or_si256(zero, escape), prefix);
}

INLINE void join_doubles(const s24_cut *cut, const s24_value_planes *planes, size_t i, const uint8_t *middle, uint32_t signs,
                         uint8_t *values)
{
    const __m128i low_bits = _mm_cvtsi32_si128((int)(8 * cut->lows));
    const __m128i above = _mm_cvtsi32_si128((int)(8 * cut->lows + cut->middle));
    const __m256i symbols = _mm256_cvtepu8_epi32(load8(planes->symbols + i));
    __m256i v = _mm256_sll_epi32(prefixes_of_doubles(cut, symbols), above);
    v = _mm256_or_si256(v, _mm256_sll_epi32(_mm256_cvtepu8_epi32(load8(middle)), low_bits));
    for (unsigned low = 0; low < cut->lows; low++) {
        const __m256i byte = _mm256_cvtepu8_epi32(load8(planes->lows[low] + i));
        v = _mm256_or_si256(v, _mm256_sll_epi32(byte, _mm_cvtsi32_si128((int)(8 * low))));
    }
    _mm256_storeu_si256((__m256i *)(void *)(values + 4 * i), _mm256_or_si256(v, double_signs(signs)));
}

size_t s24_join_avx2_4(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values)
{
    uint8_t middle[RUN] = {0};
    size_t i = 0;
    for (; i + RUN <= n; i += RUN) {
        uint64_t signs = 0;
        if (cut->middle) {
            unpack64(planes->middle + i / 8 * cut->middle, cut->middle, middle);
        }
        if (cut->sign) {
            memcpy(&signs, planes->signs + i / 8, 8);
        }
        for (unsigned k = 0; k < RUN; k += 8) {
            join_doubles(cut, planes, i + k, middle + k, (uint32_t)(signs >> k), values);
        }
    }
    return i;
}

/* ---------------------------------------------------------------- entropy encoding */

/* By mask of four lanes: their words, in order, as the last of four. */
#define NO_WORD 0x80, 0x80

static const uint8_t last_words[16][8] = {
    {NO_WORD, NO_WORD, NO_WORD, NO_WORD}, {NO_WORD, NO_WORD, NO_WORD, PAIR(0)}, {NO_WORD, NO_WORD, NO_WORD, PAIR(1)},
    {NO_WORD, NO_WORD, PAIR(0), PAIR(1)}, {NO_WORD, NO_WORD, NO_WORD, PAIR(2)}, {NO_WORD, NO_WORD, PAIR(0), PAIR(2)},
    {NO_WORD, NO_WORD, PAIR(1), PAIR(2)}, {NO_WORD, PAIR(0), PAIR(1), PAIR(2)}, {NO_WORD, NO_WORD, NO_WORD, PAIR(3)},
    {NO_WORD, NO_WORD, PAIR(0), PAIR(3)}, {NO_WORD, NO_WORD, PAIR(1), PAIR(3)}, {NO_WORD, PAIR(0), PAIR(1), PAIR(3)},
    {NO_WORD, NO_WORD, PAIR(2), PAIR(3)}, {NO_WORD, PAIR(0), PAIR(2), PAIR(3)}, {NO_WORD, PAIR(1), PAIR(2), PAIR(3)},
    {PAIR(0), PAIR(1), PAIR(2), PAIR(3)},
};

/* Puts those of four lanes' words that the mask has below the others. */
INLINE void put_words(uint16_t **words, __m128i four, unsigned mask)
{
    _mm_storel_epi64((__m128i *)(void *)(*words - 4), _mm_shuffle_epi8(four, load8(last_words[mask])));
    *words -= _mm_popcnt_u32(mask);
}

/* Two entries: inverse, numbers, inverse, numbers. */
INLINE __m128i two_entries(const s24_encode_table *table, const uint8_t *symbols)
{
    return _mm_unpacklo_epi64(load8(&table->of[symbols[0]]), load8(&table->of[symbols[1]]));
}

/*
 * Eight lanes. Their entries are loaded one by one: gathering them takes twice as long on Zen 4. Products are of even and of
 * odd lanes, whose high halves come together again; a shift by 32 is in that.
 */
INLINE __m256i encode8(__m256i x, const s24_encode_table *table, const uint8_t *symbols, uint16_t **words)
{
    const __m256i a = _mm256_set_m128i(two_entries(table, symbols + 4), two_entries(table, symbols));
    const __m256i b = _mm256_set_m128i(two_entries(table, symbols + 6), two_entries(table, symbols + 2));
    const __m256 fa = _mm256_castsi256_ps(a), fb = _mm256_castsi256_ps(b);
    const __m256i inverse = _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0x88));
    const __m256i numbers = _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0xdd));
    const __m256i f = _mm256_srli_epi32(numbers, 20), sum = _mm256_set1_epi32(S24_RANS_SUM);
    const __m256i start = _mm256_and_si256(numbers, _mm256_set1_epi32(S24_RANS_SUM - 1));
    const __m256i add = _mm256_and_si256(_mm256_srli_epi32(numbers, 18), _mm256_set1_epi32(1));
    const __m256i shift = _mm256_and_si256(_mm256_srli_epi32(numbers, 12), _mm256_set1_epi32(31));

    const __m256i not_full = _mm256_cmpgt_epi32(f, _mm256_srli_epi32(x, 20));
    const unsigned full = ~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(not_full));
    const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
    const __m128i eight = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    put_words(words, _mm_unpackhi_epi64(eight, eight), full >> 4 & 15);
    put_words(words, eight, full & 15);

    x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, not_full);
    const __m256i more = _mm256_add_epi32(x, add);
    const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(more, inverse), 32);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(more, 32), _mm256_srli_epi64(inverse, 32));
    const __m256i quotient = _mm256_srlv_epi32(_mm256_blend_epi32(even, odd, 0xaa), shift);
    const __m256i change = _mm256_mullo_epi32(quotient, _mm256_sub_epi32(sum, f));
    return _mm256_add_epi32(_mm256_add_epi32(x, start), change);
}

void s24_encode_avx2(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables, size_t n,
                     const uint8_t *symbols)
{
    const unsigned shift = 5 + plane->block;
    uint16_t *words = encoder->words;
    __m256i x[4];
    for (unsigned k = 0; k < 4; k++) {
        x[k] = load32(encoder->state + 8 * k);
    }
    for (size_t i = n; i > 0;) {
        i -= S24_RANS_LANES;
        const s24_encode_table *table = &tables[plane->classes ? plane->classes[i >> shift] : 0];
        for (unsigned k = 4; k-- > 0;) {
            x[k] = encode8(x[k], table, symbols + i + 8 * k, &words);
        }
    }
    for (unsigned k = 0; k < 4; k++) {
        _mm256_storeu_si256((__m256i *)(void *)(encoder->state + 8 * k), x[k]);
    }
    encoder->words = words;
}

/* ---------------------------------------------------------------- entropy decoding */

/* By mask of eight lanes: which of the next words each of these takes. */
#define BELOW(b, j) \
    (((b) & 1 && (j) > 0) + ((b) & 2 && (j) > 1) + ((b) & 4 && (j) > 2) + ((b) & 8 && (j) > 3) + ((b) & 16 && (j) > 4) + \
     ((b) & 32 && (j) > 5) + ((b) & 64 && (j) > 6))
#define WORDS(b) {BELOW(b, 0), BELOW(b, 1), BELOW(b, 2), BELOW(b, 3), BELOW(b, 4), BELOW(b, 5), BELOW(b, 6), BELOW(b, 7)},

static const uint8_t which_word[256][8] = {BYTES256(WORDS)};

/* Eight lanes, whose entries are returned. */
INLINE __m256i decode8(__m256i *state, const uint32_t *table, const uint8_t **words)
{
    const __m256i low_bits = _mm256_set1_epi32(S24_RANS_SUM - 1);
    __m256i x = *state;
    const __m256i entry = _mm256_i32gather_epi32((const int *)table, _mm256_and_si256(x, low_bits), 4);
    const __m256i within = _mm256_and_si256(_mm256_srli_epi32(entry, 8), low_bits);
    x = _mm256_mullo_epi32(_mm256_srli_epi32(entry, 20), _mm256_srli_epi32(x, S24_RANS_BITS));
    x = _mm256_add_epi32(x, within);
    const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
    const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(low));
    const __m256i next = _mm256_permutevar8x32_epi32(_mm256_cvtepu16_epi32(load16(*words)),
                                                     _mm256_cvtepu8_epi32(load8(which_word[mask])));
    *words += 2 * _mm_popcnt_u32(mask);
    *state = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), next), low);
    return _mm256_and_si256(entry, _mm256_set1_epi32(0xff));
}

size_t s24_decode_avx2(s24_rans_decoder *decoder, const s24_coded_plane *plane, const s24_decode_table *tables,
                       size_t first, uint8_t *symbols)
{
    const unsigned shift = 5 + plane->block;
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const uint8_t *words = decoder->words;
    __m256i x[4], s[4];
    size_t i = first;
    for (unsigned k = 0; k < 4; k++) {
        x[k] = load32(decoder->state + 8 * k);
    }
    for (; plane->n - i >= S24_RANS_LANES && decoder->end - words >= 2 * S24_RANS_LANES; i += S24_RANS_LANES) {
        const uint32_t *table = tables[plane->classes ? plane->classes[i >> shift] : 0].at;
        for (unsigned k = 0; k < 4; k++) {
            s[k] = decode8(&x[k], table, &words);
        }
        const __m256i all = _mm256_packus_epi16(_mm256_packus_epi32(s[0], s[1]), _mm256_packus_epi32(s[2], s[3]));
        _mm256_storeu_si256((__m256i *)(void *)(symbols + i), _mm256_permutevar8x32_epi32(all, order));
    }
    for (unsigned k = 0; k < 4; k++) {
        _mm256_storeu_si256((__m256i *)(void *)(decoder->state + 8 * k), x[k]);
    }
    decoder->words = words;
    return i;
}

VECTOR_END

#endif
