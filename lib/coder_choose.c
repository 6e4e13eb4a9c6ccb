/*
 * What makes a plane smallest, but for classes (coder_classes.c): one table, copies and a table for the rest, or fields.
 * Costs are integers, and what gains nothing in a sample is not looked at any further.
 */
#include "coder_choose.h"

/* Four counters by turns: the same symbol twice in a row need not wait for itself. */
static void count_symbols(const uint8_t *symbols, size_t n, uint32_t counts[256])
{
    uint32_t four[4][256];
    size_t i = 0;
    memset(four, 0, sizeof four);
    for (; i + 4 <= n; i += 4) {
        four[0][symbols[i]]++;
        four[1][symbols[i + 1]]++;
        four[2][symbols[i + 2]]++;
        four[3][symbols[i + 3]]++;
    }
    for (; i < n; i++) {
        four[0][symbols[i]]++;
    }
    for (unsigned s = 0; s < 256; s++) {
        counts[s] = four[0][s] + four[1][s] + four[2][s] + four[3][s];
    }
}

/* ---------------------------------------------------------------- order 0 */

#define SAMPLE_PIECES 16
#define SAMPLE_PIECE 256

/*
 * Whether a sample tells that coding may gain anything worth the time, of symbols of so many bits. The entropy of a sample
 * of n is too small by some (symbols - 1) / (2 n ln 2) bits a symbol (Miller 1955).
 */
static bool sample_gains(const uint32_t counts[256], unsigned bits)
{
    unsigned used = 0;
    for (unsigned s = 0; s < 256; s++) {
        used += counts[s] > 0;
    }
    const uint64_t bias = (uint64_t)(used - 1) * 47274; /* 65536 / (2 ln 2) */
    return s24_entropy(counts, 256) + bias < S24_BITS(SAMPLE_PIECES * SAMPLE_PIECE * bits) / 64 * 63;
}

static bool may_gain(const uint8_t *plane, size_t n)
{
    uint32_t counts[256] = {0};
    if (n < 2 * SAMPLE_PIECES * SAMPLE_PIECE) {
        return true;
    }
    for (size_t piece = 0; piece < SAMPLE_PIECES; piece++) {
        const uint8_t *p = plane + n / SAMPLE_PIECES * piece;
        for (size_t i = 0; i < SAMPLE_PIECE; i++) {
            counts[p[i]]++;
        }
    }
    return sample_gains(counts, 8);
}

/* The same of n fields of bits, which are at whole bytes every eight. */
static bool fields_may_gain(const uint8_t *packed, size_t n, unsigned width)
{
    uint32_t counts[256] = {0};
    uint8_t fields[SAMPLE_PIECE];
    if (n < 2 * SAMPLE_PIECES * SAMPLE_PIECE) {
        return true;
    }
    for (size_t piece = 0; piece < SAMPLE_PIECES; piece++) {
        s24_unpack_fields(packed + n / SAMPLE_PIECES * piece / 8 * width, SAMPLE_PIECE, width, fields);
        for (size_t i = 0; i < SAMPLE_PIECE; i++) {
            counts[fields[i]]++;
        }
    }
    return sample_gains(counts, width);
}

const uint32_t *s24_counts_of(s24_chosen *c)
{
    if (!c->counted) {
        count_symbols(c->plane, c->n, c->counts);
        c->counted = true;
    }
    return c->counts;
}

void s24_choose_simple(s24_chosen *c)
{
    unsigned highest = 0, used = 0;
    c->method = S24_PLANE_RAW;
    c->cost = S24_BYTES(c->n + 1);
    if (c->n == 0 || !may_gain(c->plane, c->n)) {
        return;
    }
    const uint32_t *counts = s24_counts_of(c);
    for (unsigned s = 0; s < 256; s++) {
        used += counts[s] > 0;
        highest = counts[s] ? s : highest;
    }
    if (used == 1) {
        c->method = S24_PLANE_CONSTANT;
        c->cost = S24_BYTES(2);
        return;
    }
    const uint64_t own = s24_entropy(counts, highest + 1) + S24_BYTES(s24_frequencies_bytes(counts) + 4);
    const uint64_t flat = c->n * (uint64_t)s24_log2(highest + 1) + S24_BYTES(2 + 4);
    const uint64_t least = own < flat ? own : flat;
    if (least + least / 128 < c->cost) {
        c->method = S24_PLANE_RANS;
        c->tables = 1;
        c->flat = flat <= own ? highest + 1 : 0;
        c->cost = least;
    }
}

/* ---------------------------------------------------------------- copies */

void s24_choose_copies(s24_chosen *c, uint8_t *list, uint8_t *literals, uint32_t *table)
{
    s24_copies copies;
    s24_find_copies(c->plane, c->n, &copies, list, literals, table);
    if (copies.count == 0) {
        return;
    }
    s24_chosen rest = {.plane = copies.literals, .n = copies.literal_count};
    s24_choose_simple(&rest);
    rest.cost += S24_BYTES(copies.list_bytes + S24_NUMBER_BYTES);
    if (rest.cost >= c->cost) {
        return;
    }
    rest.copies = copies;
    rest.plane = c->plane;
    rest.n = c->n;
    *c = rest;
}

/* ---------------------------------------------------------------- fields */

void s24_choose_fields(s24_chosen *c, size_t n, unsigned width, uint8_t *fields)
{
    if (c->method == S24_PLANE_CONSTANT || !fields_may_gain(c->plane, n, width)) {
        return;
    }
    s24_chosen other = {.plane = fields, .n = n, .fields = true};
    s24_unpack_fields(c->plane, n, width, fields);
    s24_choose_simple(&other);
    if (other.method != S24_PLANE_RANS || other.cost >= c->cost) {
        return;
    }
    *c = other;
}
