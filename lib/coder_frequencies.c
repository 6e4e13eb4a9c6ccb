/* Frequencies: from counts, and as tables of a coded unit. */
#include "coder_parts.h"

#include <string.h>

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

size_t s24_frequencies_bytes(const uint32_t counts[256])
{
    unsigned first = 256, last = 0, before = FIRST_LENGTH;
    uint64_t total = 0;
    size_t bits = 0;
    for (unsigned s = 0; s < 256; s++) {
        first = counts[s] && first == 256 ? s : first;
        last = counts[s] ? s : last;
        total += counts[s];
    }
    const uint64_t scale = ((uint64_t)S24_RANS_SUM << 32) / total;
    for (unsigned s = first; s < last; s++) {
        const unsigned f = (unsigned)((counts[s] * scale + (UINT64_C(1) << 31)) >> 32);
        const unsigned length = length_of(counts[s] && f == 0 ? 1 : f);
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
