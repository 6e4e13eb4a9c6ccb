/*
 * Entropy coding of bytes with rANS. A state holds what was coded so far as one large number; coding a symbol of
 * frequency f takes log2(4096 / f) bits of it, fractions included, which is what Huffman's whole bits cannot do.
 *
 *     encode   x -> (x / f) * 4096 + start + x mod f        decode   slot = x mod 4096 tells the symbol
 *     before: x >= f << 20 writes the low word              x -> f * (x / 4096) + slot - start
 *                                                           after: x < 2^16 reads a word
 *
 * Both ends handle the same states, so that what the decoder reads first is what the encoder wrote last: it goes backwards.
 */
#include "coder_parts.h"
#include "kernels.h"

#include <string.h>

typedef struct rans_kernels {
    s24_encode_kernel *encode;
    s24_decode_kernel *decode;
} rans_kernels;

static s24_encode_kernel encode_steps;
static s24_decode_kernel decode_steps;

#define ROW(ISA, encode_function, decode_function) \
    if (best == S24_ISA_##ISA) { \
        return (rans_kernels){.encode = encode_function, .decode = decode_function}; \
    }

static rans_kernels find(s24_isa isa)
{
    const s24_isa best = s24_isa_detect(isa == S24_ISA_BEST || isa > S24_ISA_AVX512 ? S24_ISA_AVX512 : isa);
    S24_RANS_KERNELS(ROW)
    (void)best;
    return (rans_kernels){.encode = encode_steps, .decode = decode_steps};
}

/* ---------------------------------------------------------------- encoding */

/*
 * The quotient x / f by a multiplication of 32 bits, x < f << 20. Let f have `bits` bits behind its first one, and m be
 * floor(2^k / f), k = 32 + bits, or 2^32 - 1 where f is 2^bits. With e = 2^k - m f, 0 < e <= f,
 *
 *     (x + 1) m / 2^k = (x + 1) / f - (x + 1) e / (f 2^k)
 *
 * is below the next quotient, and not below x / f's own as long as (x + 1) e <= 2^k, which f e <= 2^(k - 20) sees to:
 * always where bits < 11. Otherwise f - e < f / 2, and x (m + 1) / 2^k, too great by x (f - e) / (f 2^k) < 1 / f, will do.
 */
static s24_encode_entry entry_of(uint32_t f, uint32_t start)
{
    const unsigned shift = 63 - (unsigned)__builtin_clz(f);
    const uint64_t one = UINT64_C(1) << shift, m = f & (f - 1) ? one / f : UINT32_MAX, e = one - m * f;
    const uint32_t add = f * e <= one >> 20;
    return (s24_encode_entry){.inverse = (uint32_t)m + !add, .numbers = start | shift << 12 | add << 18 | f << 20};
}

void s24_encode_table_of(s24_encode_table *table, const s24_frequencies *frequencies)
{
    uint32_t start = 0;
    for (unsigned s = 0; s < 256; s++) {
        if (frequencies->of[s]) {
            table->of[s] = entry_of(frequencies->of[s], start);
            start += frequencies->of[s];
        }
    }
}

static inline void encode_symbol(uint32_t *state, uint16_t **words, s24_encode_entry entry)
{
    const uint32_t f = entry.numbers >> 20, add = entry.numbers >> 18 & 1, shift = entry.numbers >> 12 & 63;
    uint32_t x = *state;
    const unsigned full = x >> 20 >= f;
    (*words)[-1] = (uint16_t)x; /* in any case: whether it is one is hard to foretell, and below the last word there is room */
    *words -= full;
    x >>= full << 4;
    const uint32_t quotient = (uint32_t)((x + add) * (uint64_t)entry.inverse >> shift);
    *state = x + (entry.numbers & (S24_RANS_SUM - 1)) + quotient * (S24_RANS_SUM - f);
}

/* Symbols [from, to). */
static void encode_symbols(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables,
                           size_t from, size_t to, const uint8_t *symbols)
{
    uint16_t *words = encoder->words;
    const unsigned lanes = encoder->lanes;
    const size_t block = (size_t)S24_RANS_LANES << plane->block;
    while (to > from) {
        const size_t step = (to - 1) / lanes * lanes; /* no step is in two blocks: lanes divide 32 */
        const s24_encode_table *table = &tables[plane->classes ? plane->classes[step / block] : 0];
        for (size_t i = to; i-- > step;) {
            encode_symbol(&encoder->state[i - step], &words, table->of[symbols[i]]);
        }
        to = step;
    }
    encoder->words = words;
}

static void encode_steps(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables, size_t n,
                         const uint8_t *symbols)
{
    encode_symbols(encoder, plane, tables, 0, n, symbols);
}

void s24_rans_encode(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables,
                     const uint8_t *symbols, s24_isa isa)
{
    const size_t whole = encoder->lanes == S24_RANS_LANES ? plane->n / S24_RANS_LANES * S24_RANS_LANES : 0;
    encode_symbols(encoder, plane, tables, whole, plane->n, symbols);
    find(isa).encode(encoder, plane, tables, whole, symbols);
}

/* ---------------------------------------------------------------- decoding */

/* Eight slots at a time: what is too much is the next symbol's, which overwrites it, or beyond the table. */
void s24_decode_table_of(s24_decode_table *table, const s24_frequencies *frequencies)
{
    uint32_t *slot = table->at;
    for (uint32_t s = 0; s < 256; s++) {
        const uint32_t f = frequencies->of[s];
        for (uint32_t i = 0; i < f; i += S24_SLOTS_BEYOND) {
            const uint32_t entry = s | i << 8 | f << 20;
            for (uint32_t k = 0; k < S24_SLOTS_BEYOND; k++) {
                slot[i + k] = entry + (k << 8);
            }
        }
        slot += f;
    }
}

/* The specification: a symbol at a time. */
static bool decode_symbol(s24_rans_decoder *decoder, unsigned lane, const s24_decode_table *table, uint8_t *symbol)
{
    uint32_t x = decoder->state[lane];
    const uint32_t entry = table->at[x & (S24_RANS_SUM - 1)];
    *symbol = (uint8_t)entry;
    x = (entry >> 20) * (x >> S24_RANS_BITS) + (entry >> 8 & (S24_RANS_SUM - 1));
    if (x < S24_RANS_LOW) {
        if (decoder->end - decoder->words < 2) {
            return false;
        }
        x = x << 16 | decoder->words[0] | (uint32_t)decoder->words[1] << 8;
        decoder->words += 2;
    }
    decoder->state[lane] = x;
    return true;
}

#define EACH_LANE for (unsigned l = 0; l < S24_RANS_LANES; l++)

/*
 * The same for a symbol of each of 32 lanes, without asking for words: so many are there. Returns how many it took. All
 * but the table and the order of words is loops without branches, which become vectors.
 */
static inline size_t decode_step(uint32_t state[S24_RANS_LANES], const uint32_t *table, const uint8_t *words,
                                 uint8_t *symbols)
{
    uint32_t entry[S24_RANS_LANES], low[S24_RANS_LANES], word[S24_RANS_LANES];
    uint16_t next[S24_RANS_LANES];
    uint8_t symbol[S24_RANS_LANES];
    size_t taken = 0;
    memcpy(next, words, sizeof next);
    EACH_LANE entry[l] = table[state[l] & (S24_RANS_SUM - 1)];
    EACH_LANE symbol[l] = (uint8_t)entry[l];
    EACH_LANE state[l] = (entry[l] >> 20) * (state[l] >> S24_RANS_BITS) + (entry[l] >> 8 & (S24_RANS_SUM - 1));
    EACH_LANE low[l] = state[l] >> 16 ? 0 : 1;
    EACH_LANE {
        word[l] = next[taken];
        taken += low[l];
    }
    EACH_LANE {
        const uint32_t more = state[l] << 16 | word[l];
        state[l] = low[l] ? more : state[l];
    }
    memcpy(symbols, symbol, sizeof symbol);
    return taken;
}

static size_t decode_steps(s24_rans_decoder *decoder, const s24_coded_plane *plane, const s24_decode_table *tables,
                           size_t first, uint8_t *symbols)
{
    const unsigned shift = 5 + plane->block;
    const uint8_t *words = decoder->words;
    uint32_t state[S24_RANS_LANES];
    size_t i = first;
    memcpy(state, decoder->state, sizeof state);
    for (; plane->n - i >= S24_RANS_LANES && decoder->end - words >= 2 * S24_RANS_LANES; i += S24_RANS_LANES) {
        const uint32_t *table = tables[plane->classes ? plane->classes[i >> shift] : 0].at;
        words += 2 * decode_step(state, table, words, symbols + i);
    }
    memcpy(decoder->state, state, sizeof state);
    decoder->words = words;
    return i;
}

/*
 * The last steps, for which there may be too few words: with zeros behind these. False: they wanted some of the zeros.
 * Symbols are done from *done on, as far as steps go.
 */
static bool decode_last_steps(s24_decode_kernel *kernel, s24_rans_decoder *decoder, const s24_coded_plane *plane,
                              const s24_decode_table *tables, size_t *done, uint8_t *symbols)
{
    uint8_t words[2 * 2 * S24_RANS_LANES] = {0};
    const uint8_t *const from = decoder->words, *const end = decoder->end;
    const size_t n = (size_t)(end - from);
    memcpy(words, from, n);
    decoder->words = words;
    decoder->end = words + n + 2 * S24_RANS_LANES;
    *done = kernel(decoder, plane, tables, *done, symbols);
    const size_t taken = (size_t)(decoder->words - words);
    decoder->end = end;
    decoder->words = from + (taken < n ? taken : n);
    return taken <= n;
}

bool s24_rans_decode(s24_rans_decoder *decoder, const s24_coded_plane *plane, const s24_decode_table *tables,
                     uint8_t *symbols, s24_isa isa)
{
    const size_t block = (size_t)S24_RANS_LANES << plane->block;
    size_t i = 0;
    if (decoder->lanes == S24_RANS_LANES) {
        s24_decode_kernel *kernel = find(isa).decode;
        i = kernel(decoder, plane, tables, i, symbols);
        if (plane->n - i >= S24_RANS_LANES && !decode_last_steps(kernel, decoder, plane, tables, &i, symbols)) {
            return false;
        }
    }
    for (; i < plane->n; i++) {
        const s24_decode_table *table = &tables[plane->classes ? plane->classes[i / block] : 0];
        if (!decode_symbol(decoder, (unsigned)(i & (decoder->lanes - 1)), table, &symbols[i])) {
            return false;
        }
    }
    return true;
}
