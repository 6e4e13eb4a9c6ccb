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

/* ---------------------------------------------------------------- what symbols cost */

/* 65536 log2(1 + i / 64) */
static const uint32_t log_steps[65] = {
    0,     1466,  2909,  4331,  5732,  7112,  8473,  9814,  11136, 12440, 13727, 14996, 16248,
    17484, 18704, 19909, 21098, 22272, 23433, 24579, 25711, 26830, 27936, 29029, 30109, 31178,
    32234, 33279, 34312, 35334, 36346, 37346, 38336, 39316, 40286, 41246, 42196, 43137, 44068,
    44990, 45904, 46809, 47705, 48593, 49472, 50344, 51207, 52063, 52911, 53751, 54584, 55410,
    56229, 57040, 57845, 58643, 59434, 60219, 60997, 61769, 62534, 63294, 64047, 64794, 65536,
};

/* 65536 log2(n), n >= 1: integers only, since what is chosen by it must not depend on a machine's logarithm. */
static uint32_t log2_of(uint32_t n)
{
    const unsigned whole = 31 - (unsigned)__builtin_clz(n);
    const uint32_t rest = n << (31 - whole) << 1; /* what follows the leading bit, at the left */
    const uint32_t step = rest >> 26, within = rest >> 10 & 0xffff;
    const uint32_t low = log_steps[step];
    return (whole << 16) + low + (((log_steps[step + 1] - low) * within) >> 16);
}

uint64_t s24_n_log_n(uint32_t n)
{
    return n ? (uint64_t)n * log2_of(n) : 0;
}

uint64_t s24_entropy(const uint32_t counts[256])
{
    uint32_t total = 0;
    uint64_t sum = 0;
    for (unsigned s = 0; s < 256; s++) {
        total += counts[s];
        sum += s24_n_log_n(counts[s]);
    }
    const uint64_t all = s24_n_log_n(total);
    return all > sum ? all - sum : 0;
}

uint64_t s24_cross_entropy(const uint32_t counts[256], const s24_frequencies *frequencies)
{
    uint64_t sum = 0;
    for (unsigned s = 0; s < 256; s++) {
        if (counts[s] && !frequencies->of[s]) {
            return UINT64_MAX;
        }
        sum += counts[s] ? (uint64_t)counts[s] * ((S24_RANS_BITS << 16) - log2_of(frequencies->of[s])) : 0;
    }
    return sum;
}

/* ---------------------------------------------------------------- frequencies */

/* The symbols that occur. */
typedef struct used {
    uint8_t symbols[256];
    unsigned count;
} used;

/*
 * Of the symbols whose frequency may change by `step` the one that loses least, or gains most, a bit: a symbol of c
 * counts and frequency f by about c / f. Of equals the lowest.
 */
static unsigned best_to_change(const s24_frequencies *frequencies, const uint32_t counts[256], const used *u, int step)
{
    unsigned best = 256;
    for (unsigned i = 0; i < u->count; i++) {
        const unsigned s = u->symbols[i], f = frequencies->of[s];
        if (step < 0 ? f < 2 : f == S24_RANS_SUM - 1) {
            continue;
        }
        if (best < 256) {
            const uint64_t mine = (uint64_t)counts[s] * frequencies->of[best], its = (uint64_t)counts[best] * f;
            if (step < 0 ? mine >= its : mine <= its) {
                continue;
            }
        }
        best = s;
    }
    return best;
}

void s24_frequencies_of(s24_frequencies *frequencies, const uint32_t counts[256])
{
    used u = {.count = 0};
    uint64_t total = 0;
    int sum = 0;
    for (unsigned s = 0; s < 256; s++) {
        if (counts[s]) {
            total += counts[s];
            u.symbols[u.count++] = (uint8_t)s;
        }
    }
    memset(frequencies, 0, sizeof *frequencies);
    if (u.count == 1) { /* one symbol cannot have all, and another one gets the rest */
        const unsigned only = u.symbols[0];
        frequencies->of[only] = S24_RANS_SUM - 1;
        frequencies->of[only ? only - 1 : 1] = 1;
        return;
    }
    for (unsigned i = 0; i < u.count; i++) {
        const unsigned s = u.symbols[i];
        const uint64_t f = (counts[s] * (uint64_t)S24_RANS_SUM + total / 2) / total;
        frequencies->of[s] = (uint16_t)(f < 1 ? 1 : f < S24_RANS_SUM ? f : S24_RANS_SUM - 1);
        sum += frequencies->of[s];
    }
    while (sum != S24_RANS_SUM) {
        const int step = sum > (int)S24_RANS_SUM ? -1 : 1;
        const unsigned s = best_to_change(frequencies, counts, &u, step);
        frequencies->of[s] = (uint16_t)(frequencies->of[s] + step);
        sum += step;
    }
}

void s24_frequencies_flat(s24_frequencies *frequencies, unsigned symbols)
{
    memset(frequencies, 0, sizeof *frequencies);
    for (unsigned s = 0; s < symbols; s++) {
        frequencies->of[s] = (uint16_t)(S24_RANS_SUM / symbols + (s < S24_RANS_SUM % symbols));
    }
}

/*
 * The first and the last symbol, a byte each; then bits, the first in the lowest of a byte, of the frequencies from the first
 * to the one before the last, whose own is what is left. Of each the length in bits (0 for 0), as a difference to the one
 * before it (at first to 4) in unary: 0 is "0", 1 is "10", -1 "110", 2 "1110" and so on; then its bits but for the leading
 * one, the lowest first. Neighbours are alike, and so this takes some 7 bits of the 12.
 */
#define FIRST_LENGTH 4
#define LENGTHS 13

typedef struct bit_writer {
    uint8_t *out;
    uint64_t bits; /* that are not written: so many */
    unsigned count;
} bit_writer;

/* At most 32. */
static void put_bits(bit_writer *w, uint64_t bits, unsigned count)
{
    w->bits |= bits << w->count;
    for (w->count += count; w->count >= 8; w->count -= 8) {
        *w->out++ = (uint8_t)w->bits;
        w->bits >>= 8;
    }
}

static unsigned length_of(unsigned f)
{
    return f ? 32 - (unsigned)__builtin_clz(f) : 0;
}

static void find_range(const s24_frequencies *frequencies, unsigned *first, unsigned *last)
{
    *first = 0;
    *last = 255;
    while (!frequencies->of[*first]) {
        ++*first;
    }
    while (!frequencies->of[*last]) {
        --*last;
    }
}

/* Bits 1 before the bit 0 that ends a difference of lengths. */
static unsigned ones_of(unsigned length, unsigned before)
{
    return length > before ? 2 * (length - before) - 1 : 2 * (before - length);
}

size_t s24_frequencies_write(const s24_frequencies *frequencies, uint8_t *out)
{
    unsigned first, last, before = FIRST_LENGTH;
    bit_writer w = {.out = out + 2};
    find_range(frequencies, &first, &last);
    out[0] = (uint8_t)first;
    out[1] = (uint8_t)last;
    for (unsigned s = first; s < last; s++) {
        const unsigned f = frequencies->of[s], length = length_of(f), ones = ones_of(length, before);
        put_bits(&w, (1u << ones) - 1, ones + 1);
        put_bits(&w, f & ~(1u << length >> 1), length ? length - 1 : 0);
        before = length;
    }
    put_bits(&w, 0, 7);
    return (size_t)(w.out - out);
}

size_t s24_frequencies_bytes(const s24_frequencies *frequencies)
{
    unsigned first, last, before = FIRST_LENGTH;
    size_t bits = 0;
    find_range(frequencies, &first, &last);
    for (unsigned s = first; s < last; s++) {
        const unsigned length = length_of(frequencies->of[s]);
        bits += ones_of(length, before) + (length ? length : 1);
        before = length;
    }
    return 2 + (bits + 7) / 8;
}

/* A first symbol greater than the last, which is 0: so many symbols, and one more, are equally frequent. */
size_t s24_frequencies_write_flat(unsigned symbols, uint8_t *out)
{
    out[0] = (uint8_t)(symbols - 1);
    out[1] = 0;
    return 2;
}

typedef struct bit_reader {
    const uint8_t *in;
    size_t bytes, at; /* at: bits; beyond the end there are zeros */
} bit_reader;

/* The next 57 bits, and perhaps more. */
static uint64_t peek_bits(const bit_reader *r)
{
    const size_t byte = r->at / 8;
    uint64_t bits = 0;
    if (r->bytes >= 8 && byte <= r->bytes - 8) {
        memcpy(&bits, r->in + byte, 8);
    } else {
        for (size_t i = byte; i < r->bytes; i++) {
            bits |= (uint64_t)r->in[i] << 8 * (i - byte);
        }
    }
    return bits >> r->at % 8;
}

/* The frequency after one of length *length, whose own it becomes; S24_RANS_SUM: there is no such length. */
static unsigned get_frequency(bit_reader *r, unsigned *length)
{
    const uint64_t bits = peek_bits(r);
    const unsigned ones = (unsigned)__builtin_ctzll(~bits | UINT64_C(1) << 2 * LENGTHS), change = (ones + 1) / 2;
    *length = ones % 2 ? *length + change : *length - change;
    if (*length >= LENGTHS) { /* below 0 is great, too */
        return S24_RANS_SUM;
    }
    const unsigned leading = 1u << *length >> 1, below = *length ? *length - 1 : 0;
    r->at += ones + 1 + below;
    return leading | ((unsigned)(bits >> (ones + 1)) & ((1u << below) - 1));
}

size_t s24_frequencies_read(s24_frequencies *frequencies, const uint8_t *in, size_t n)
{
    if (n < 2 || (in[1] > 0 && in[0] >= in[1]) || (in[1] == 0 && in[0] == 0)) {
        return 0;
    }
    if (in[0] > in[1]) {
        s24_frequencies_flat(frequencies, in[0] + 1u);
        return 2;
    }
    const unsigned first = in[0], last = in[1];
    bit_reader r = {.in = in + 2, .bytes = n - 2};
    unsigned sum = 0, length = FIRST_LENGTH;
    memset(frequencies, 0, sizeof *frequencies);
    for (unsigned s = first; s < last && sum < S24_RANS_SUM; s++) {
        const unsigned f = get_frequency(&r, &length);
        frequencies->of[s] = (uint16_t)f;
        sum += f;
    }
    const size_t bytes = (r.at + 7) / 8;
    if (bytes > r.bytes || sum >= S24_RANS_SUM || sum == 0) {
        return 0;
    }
    frequencies->of[last] = (uint16_t)(S24_RANS_SUM - sum);
    return 2 + bytes;
}

/* ---------------------------------------------------------------- encoding */

void s24_encode_table_of(s24_encode_table *table, const s24_frequencies *frequencies)
{
    unsigned start = 0;
    for (unsigned s = 0; s < 256; s++) {
        const unsigned f = frequencies->of[s];
        if (f) {
            table->of[s] = (s24_encode_entry){.inverse = ((UINT64_C(1) << 44) + f - 1) / f, .frequency = (uint16_t)f,
                                              .rest = (uint16_t)(S24_RANS_SUM - f), .start = (uint16_t)start};
        }
        start += f;
    }
}

/*
 * The quotient x / f by a multiplication: x < f << 20 here, so that with m = (2^44 + e) / f, e < f, the product x m is below
 * 2^64, and its error, x e / f < f << 20, never reaches the next multiple of 2^44.
 */
static inline void encode_symbol(uint32_t *state, uint16_t **words, const s24_encode_entry *entry)
{
    uint32_t x = *state;
    const unsigned full = x >> 20 >= entry->frequency;
    (*words)[-1] = (uint16_t)x; /* in any case: whether it is one is hard to foretell, and below the last word there is room */
    *words -= full;
    x >>= full << 4;
    const uint32_t quotient = (uint32_t)((x * entry->inverse) >> 44);
    *state = x + entry->start + quotient * entry->rest;
}

void s24_rans_encode(s24_rans_encoder *encoder, const s24_coded_plane *plane, const s24_encode_table *tables,
                     const uint8_t *symbols)
{
    uint16_t *words = encoder->words;
    const unsigned lanes = encoder->lanes;
    const size_t block = (size_t)S24_RANS_LANES << plane->block;
    for (size_t to = plane->n; to > 0;) {
        const size_t from = (to - 1) / lanes * lanes; /* no step is in two blocks: lanes divide 32 */
        const s24_encode_table *table = &tables[plane->classes ? plane->classes[from / block] : 0];
        for (size_t i = to; i-- > from;) {
            encode_symbol(&encoder->state[i - from], &words, &table->of[symbols[i]]);
        }
        to = from;
    }
    encoder->words = words;
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

#define ROW(ISA, function) \
    if (best == S24_ISA_##ISA) { \
        return function; \
    }

static s24_rans_kernel *find(s24_isa isa)
{
    const s24_isa best = s24_isa_detect(isa == S24_ISA_BEST || isa > S24_ISA_AVX512 ? S24_ISA_AVX512 : isa);
    S24_RANS_KERNELS(ROW)
    (void)best;
    return decode_steps;
}

/*
 * The last steps, for which there may be too few words: with zeros behind these. False: they wanted some of the zeros.
 * Symbols are done from *done on, as far as steps go.
 */
static bool decode_last_steps(s24_rans_kernel *kernel, s24_rans_decoder *decoder, const s24_coded_plane *plane,
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
        s24_rans_kernel *kernel = find(isa);
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
