/*
 * Coding a unit: cut its elements into planes, choose for each of them what makes it smallest, and put that one after
 * another. Layout, in detail in s24(5):
 *
 *     kind | how elements are cut | planes: method, copies, frequencies ... | escapes | raw planes ... | states, words
 *
 * Nothing is chosen by more than integers, so that a unit becomes the same bytes on every machine.
 */
#include "coder.h"

#include <assert.h>

#include "coder_parts.h"
#include "kernels.h"

#define PLANES_MOST (2 + S24_CODER_LOWS + 2)
#define UNIT_MOST ((size_t)1 << 28) /* bytes: counts and costs fit their integers */
#define ALIGN 64

enum { KIND_STORED, KIND_PLANES, KIND_PALETTE };

/* A plane's first byte. */
enum { METHOD_RAW, METHOD_CONSTANT, METHOD_RANS, METHODS, WITH_COPIES = 4, WITH_CLASSES = 8, AS_FIELDS = 16 };

/* ---------------------------------------------------------------- what units are made of */

/* How elements of a dtype are cut; C64 counts as two f32. */
typedef struct element {
    unsigned bytes, sign, prefix;
    unsigned exponent_bits; /* 0: none */
} element;

/*
 * Two bits of mantissa stand in the prefix with the exponent: with them values of N(0,1) take 5.45 bits a dense element as
 * bf16, without 5.51, with three 5.444, but then a table has twice as many symbols. f16 has few exponents, and gets three.
 */
static unsigned mantissa_in_prefix(const s24_dtype_info *info)
{
    return info->exponent_bits == 5 ? 3 : 2;
}

static element element_of(s24_dtype dtype)
{
    const s24_dtype_info *info = s24_info(dtype == S24_C64 ? S24_F32 : dtype);
    const bool is_float = info->kind == S24_KIND_IEEE && info->bits > 8;
    const unsigned prefix = is_float ? info->exponent_bits + mantissa_in_prefix(info) : 8;
    return (element){.bytes = info->bytes, .sign = is_float, .prefix = prefix,
                     .exponent_bits = is_float ? info->exponent_bits : 0};
}

static size_t elements_of(const s24_unit *unit)
{
    return unit->dtype == S24_C64 ? 2 * unit->values : unit->values;
}

/* False: no unit, or too large to be one. */
static bool raw_bytes(const s24_unit *unit, size_t *bytes)
{
    const unsigned width = s24_info(unit->dtype)->bytes;
    if (width == 0 || unit->values > UNIT_MOST / width || (unit->groups && unit->values != 2 * unit->groups)) {
        return false;
    }
    *bytes = unit->values * width + (unit->groups + 1) / 2;
    return *bytes <= UNIT_MOST;
}

size_t s24_coder_bound(const s24_unit *unit)
{
    size_t bytes;
    return raw_bytes(unit, &bytes) ? bytes + 1 : SIZE_MAX;
}

/* The planes of a unit, in the order of the file: positions, symbols, lows, middle, signs. */
typedef struct shape {
    size_t n[PLANES_MOST]; /* bytes */
    unsigned count;
    unsigned symbols, first_low, middle, signs; /* which plane; `count` where there is none */
} shape;

static size_t field_bytes(size_t n, unsigned width)
{
    return n / 8 * width + (n % 8 * width + 7) / 8;
}

static shape shape_of(const s24_unit *unit, const s24_cut *cut, bool palette)
{
    const size_t n = elements_of(unit);
    shape s = {.count = 0};
    if (unit->groups) {
        s.n[s.count++] = (unit->groups + 2) / 3;
    }
    s.symbols = s.count;
    s.n[s.count++] = n;
    s.first_low = s.count;
    for (unsigned low = 0; low < cut->lows && !palette; low++) {
        s.n[s.count++] = n;
    }
    s.middle = s.count;
    if (cut->middle && !palette) {
        s.n[s.count++] = field_bytes(n, cut->middle);
    }
    s.signs = s.count;
    if (cut->sign && !palette) {
        s.n[s.count++] = field_bytes(n, 1);
    }
    return s;
}

static s24_value_planes value_planes(const shape *s, const s24_cut *cut, uint8_t *const planes[PLANES_MOST])
{
    s24_value_planes v = {.symbols = planes[s->symbols], .middle = cut->middle ? planes[s->middle] : NULL,
                          .signs = cut->sign ? planes[s->signs] : NULL};
    for (unsigned low = 0; low < cut->lows; low++) {
        v.lows[low] = planes[s->first_low + low];
    }
    return v;
}

/* ---------------------------------------------------------------- scratch memory */

typedef struct arena {
    uint8_t *at;
    size_t taken; /* all that was taken, also while there is no memory, and only sizes are wanted */
} arena;

static arena arena_of(void *scratch)
{
    const size_t skew = (uintptr_t)scratch % ALIGN;
    return (arena){.at = scratch ? (uint8_t *)scratch + (skew ? ALIGN - skew : 0) : NULL, .taken = ALIGN};
}

static void *take(arena *a, size_t bytes)
{
    const size_t whole = (bytes + 2 * ALIGN - 1) / ALIGN * ALIGN; /* kernels may store some bytes too many */
    uint8_t *p = a->at;
    a->taken += whole;
    a->at = p ? p + whole : NULL;
    return p;
}

#define MAX_ELEMENT 8

/* Upper bounds of all planes together, whatever the cut. */
static size_t planes_bytes(const s24_unit *unit)
{
    const size_t n = elements_of(unit), bytes = element_of(unit->dtype).bytes;
    return n * (bytes + 1) + n / 4 + unit->groups / 3 + 1 + PLANES_MOST;
}

/* ---------------------------------------------------------------- choosing for a plane */

typedef struct chosen {
    const uint8_t *plane;
    size_t n;
    unsigned method;
    bool fields;                   /* of the middle: a byte a field */
    s24_copies copies;             /* count 0: none; literals are the plane */
    unsigned tables;               /* of METHOD_RANS; more than 1: with classes */
    unsigned flat;                 /* 0, or so many equally frequent symbols */
    unsigned block;
    uint8_t *classes;
    size_t blocks;
    s24_frequencies *frequencies;  /* [tables] */
    s24_frequencies class_frequencies;
    uint64_t cost;                 /* bits, in 1/65536 */
    size_t words, class_words;
    bool counted;
    uint32_t counts[256];          /* of the plane, once counted */
} chosen;

/* What choosing needs beside the plane. */
typedef struct chooser {
    int level;
    uint32_t *copies_table;
    uint32_t (*bins)[256];
    uint16_t *sums;
    uint8_t *classes;
    s24_frequencies *frequencies; /* the next free ones */
} chooser;

#define BITS(n) ((uint64_t)(n) << 16)
#define BYTES(n) BITS(8 * (uint64_t)(n))

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

/* ---- order 0 */

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
    return s24_entropy(counts) + bias < BITS(SAMPLE_PIECES * SAMPLE_PIECE * bits) / 64 * 63;
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

static const uint32_t *counts_of(chosen *c)
{
    if (!c->counted) {
        count_symbols(c->plane, c->n, c->counts);
        c->counted = true;
    }
    return c->counts;
}

static uint64_t table_cost(const s24_frequencies *frequencies)
{
    return BYTES(s24_frequencies_bytes(frequencies));
}

/* Raw, constant or entropy coded with one table; c->plane and c->n say what. */
static void choose_simple(chooser *with, chosen *c)
{
    unsigned highest = 0, used = 0;
    c->method = METHOD_RAW;
    c->cost = BYTES(c->n + 1);
    if (c->n == 0 || !may_gain(c->plane, c->n)) {
        return;
    }
    const uint32_t *counts = counts_of(c);
    for (unsigned s = 0; s < 256; s++) {
        used += counts[s] > 0;
        highest = counts[s] ? s : highest;
    }
    if (used == 1) {
        c->method = METHOD_CONSTANT;
        c->cost = BYTES(2);
        return;
    }
    s24_frequencies *own = with->frequencies, flat;
    s24_frequencies_of(own, counts);
    s24_frequencies_flat(&flat, highest + 1);
    const uint64_t own_cost = s24_cross_entropy(counts, own) + table_cost(own) + BYTES(4);
    const uint64_t flat_cost = s24_cross_entropy(counts, &flat) + BYTES(2 + 4);
    const uint64_t least = own_cost < flat_cost ? own_cost : flat_cost;
    if (least + least / 128 >= c->cost) {
        return;
    }
    if (flat_cost <= own_cost) {
        *own = flat;
        c->flat = highest + 1;
    }
    c->method = METHOD_RANS;
    c->frequencies = own;
    c->tables = 1;
    c->cost = least;
    with->frequencies++;
}

/* ---- classes */

#define BINS 32

/*
 * Weights have scales: rows and columns of a matrix differ, and so do layers. Blocks are sorted into classes by the mean
 * of their logarithms, half an octave a bin; neighbouring bins are then joined as long as a table less gains more than
 * what is coded with it loses.
 */
typedef struct bins {
    uint32_t (*counts)[256];
    uint32_t blocks[BINS];
    uint64_t cost[BINS]; /* of a bin's symbols and its table */
    unsigned count;
    uint8_t class_of[BINS]; /* of what was a bin at first */
} bins;

static uint64_t bin_cost(const uint32_t counts[256])
{
    unsigned used = 0;
    for (unsigned s = 0; s < 256; s++) {
        used += counts[s] > 0;
    }
    return s24_entropy(counts) + BITS(used * 7 + 24);
}

static uint64_t joined_cost(const bins *b, unsigned i, uint32_t joined[256])
{
    for (unsigned s = 0; s < 256; s++) {
        joined[s] = b->counts[i][s] + b->counts[i + 1][s];
    }
    /* Which class a block has is coded, too: of k blocks of n one costs log2(n / k). */
    const uint64_t apart = s24_n_log_n(b->blocks[i]) + s24_n_log_n(b->blocks[i + 1]);
    const uint64_t gain = s24_n_log_n(b->blocks[i] + b->blocks[i + 1]) - apart, cost = bin_cost(joined);
    return cost > gain ? cost - gain : 0;
}

static void join_bins(bins *b, unsigned i)
{
    for (unsigned s = 0; s < 256; s++) {
        b->counts[i][s] += b->counts[i + 1][s];
    }
    b->blocks[i] += b->blocks[i + 1];
    b->cost[i] = bin_cost(b->counts[i]);
    b->count--;
    memmove(b->counts + i + 1, b->counts + i + 2, (b->count - i - 1) * sizeof *b->counts);
    memmove(b->blocks + i + 1, b->blocks + i + 2, (b->count - i - 1) * sizeof *b->blocks);
    memmove(b->cost + i + 1, b->cost + i + 2, (b->count - i - 1) * sizeof *b->cost);
    for (unsigned k = 0; k < BINS; k++) {
        b->class_of[k] = (uint8_t)(b->class_of[k] - (b->class_of[k] > i));
    }
}

/* The neighbours that are best joined, until that would lose. */
static void join_neighbours(bins *b)
{
    uint64_t joined[BINS];
    uint32_t room[256];
    for (unsigned i = 0; i + 1 < b->count; i++) {
        joined[i] = joined_cost(b, i, room);
    }
    while (b->count > 1) {
        unsigned best = 0;
        int64_t best_gain = INT64_MIN;
        for (unsigned i = 0; i + 1 < b->count; i++) {
            const int64_t gain = (int64_t)(b->cost[i] + b->cost[i + 1]) - (int64_t)joined[i];
            best = gain > best_gain ? i : best;
            best_gain = gain > best_gain ? gain : best_gain;
        }
        if (best_gain < 0 && b->count <= S24_RANS_CLASSES) {
            return;
        }
        join_bins(b, best);
        memmove(joined + best, joined + best + 1, (b->count - best) * sizeof *joined);
        if (best + 1 < b->count) {
            joined[best] = joined_cost(b, best, room);
        }
        if (best > 0) {
            joined[best - 1] = joined_cost(b, best - 1, room);
        }
    }
}

/*
 * Four times the logarithm to base 2 that a symbol stands for, from the least that counts: 15 octaves below the
 * greatest that is not rare. False: symbols have no order of which a scale could be told.
 */
static bool ranks_of(const s24_unit *unit, const s24_cut *cut, const uint32_t counts[256], size_t n, uint8_t ranks[256])
{
    const s24_dtype_info *info = s24_info(unit->dtype == S24_C64 ? S24_F32 : unit->dtype);
    unsigned quarter[256], greatest = 0;
    for (unsigned s = 0; s < 256; s++) {
        if (info->kind == S24_KIND_INT) {
            const uint32_t key = (uint32_t)s24_key(info, s);
            quarter[s] = (unsigned)(s24_n_log_n(key) / (key ? key : 1) >> 14);
        } else if (info->kind == S24_KIND_OPAQUE) {
            return false;
        } else {
            const unsigned fine = cut->sign ? cut->prefix - info->exponent_bits : info->mantissa_bits;
            const unsigned magnitude = cut->sign ? s : s & 127;
            quarter[s] = cut->prefix < info->exponent_bits && cut->sign ? 0 : magnitude << 2 >> fine;
        }
        greatest = counts[s] > n / 512 && s != S24_CODER_ESCAPE && quarter[s] > greatest ? quarter[s] : greatest;
    }
    const unsigned least = greatest > 2 * BINS - 4 ? greatest - (2 * BINS - 4) : 0;
    for (unsigned s = 0; s < 256; s++) {
        const unsigned up = quarter[s] > least ? quarter[s] - least : 0;
        ranks[s] = (uint8_t)(up < 2 * BINS - 1 ? up : 2 * BINS - 1);
    }
    return true;
}

/* The ranks of each step of 32 symbols, added. */
static void add_ranks(const chosen *c, const uint8_t ranks[256], uint16_t *sums)
{
    size_t i = 0;
    for (; i < c->n; i += S24_RANS_LANES) {
        const size_t some = c->n - i < S24_RANS_LANES ? c->n - i : S24_RANS_LANES;
        unsigned sum = 0;
        for (size_t k = 0; k < some; k++) {
            sum += ranks[c->plane[i + k]];
        }
        *sums++ = (uint16_t)sum;
    }
}

static void drop_empty(bins *b)
{
    b->count = 0;
    for (unsigned i = 0; i < BINS; i++) {
        b->class_of[i] = (uint8_t)b->count;
        if (b->blocks[i] == 0) {
            continue;
        }
        if (i > b->count) {
            memcpy(b->counts[b->count], b->counts[i], sizeof *b->counts);
            b->blocks[b->count] = b->blocks[i];
        }
        b->cost[b->count] = bin_cost(b->counts[i]);
        b->count++;
    }
}

static void sort_blocks(const chosen *c, const uint16_t *sums, unsigned block, uint8_t *bin_of, bins *b)
{
    const size_t most = (size_t)S24_RANS_LANES << block;
    memset(b->counts, 0, BINS * sizeof *b->counts);
    memset(b->blocks, 0, sizeof b->blocks);
    for (size_t i = 0; i < c->n; i += most, bin_of++) {
        const size_t some = c->n - i < most ? c->n - i : most;
        uint32_t sum = 0;
        for (size_t k = 0; k < some; k += S24_RANS_LANES) {
            sum += *sums++;
        }
        *bin_of = (uint8_t)(sum / (2 * some));
        uint32_t *counts = b->counts[*bin_of];
        for (size_t k = 0; k < some; k++) {
            counts[c->plane[i + k]]++;
        }
        b->blocks[*bin_of]++;
    }
    drop_empty(b);
}

/* Classes with blocks of this size, if that is better than what is chosen. */
static void try_classes(chooser *with, chosen *c, unsigned block)
{
    uint8_t *classes = with->classes;
    bins b = {.counts = with->bins};
    sort_blocks(c, with->sums, block, classes, &b);
    join_neighbours(&b);
    if (b.count < 2) {
        return;
    }
    const size_t blocks = (c->n + ((size_t)S24_RANS_LANES << block) - 1) >> block >> 5;
    uint32_t class_counts[256] = {0};
    s24_frequencies class_frequencies;
    for (unsigned i = 0; i < b.count; i++) {
        class_counts[i] = b.blocks[i];
    }
    s24_frequencies_of(&class_frequencies, class_counts);
    uint64_t cost = s24_cross_entropy(class_counts, &class_frequencies) + table_cost(&class_frequencies) + BYTES(2 + 2 * 4);
    for (unsigned i = 0; i < b.count; i++) {
        s24_frequencies_of(&with->frequencies[i], b.counts[i]);
        cost += s24_cross_entropy(b.counts[i], &with->frequencies[i]) + table_cost(&with->frequencies[i]);
    }
    if (cost >= c->cost) {
        return;
    }
    for (size_t i = 0; i < blocks; i++) {
        classes[i] = b.class_of[classes[i]];
    }
    c->method = METHOD_RANS;
    c->flat = 0;
    c->cost = cost;
    c->tables = b.count;
    c->block = block;
    c->blocks = blocks;
    c->classes = classes;
    c->class_frequencies = class_frequencies;
    c->frequencies = with->frequencies;
    with->frequencies += b.count;
    with->classes += blocks;
}

#define BLOCK_SIZES 3   /* 32, 64 and 128 symbols; */
#define EVERY_SIZE 0x2f /* and 256 and 1024, as a set of bits */

/*
 * What blocks of a size may leave of n symbols, in 1/65536 bits: of what is spread about normally a variance of v takes
 * log2(v) / 2 bits, and a constant; v is that of the ranks within bins. And which bin each block has.
 */
static uint64_t left_by_blocks(const uint16_t *sums, size_t n, uint64_t squares, unsigned block)
{
    const size_t most = (size_t)S24_RANS_LANES << block;
    uint32_t blocks[256] = {0};
    uint64_t symbols[BINS] = {0}, ranks[BINS] = {0};
    for (size_t i = 0; i < n; i += most) {
        const size_t some = n - i < most ? n - i : most;
        uint32_t sum = 0;
        for (size_t k = 0; k < some; k += S24_RANS_LANES) {
            sum += *sums++;
        }
        const size_t bin = sum / (2 * some);
        blocks[bin]++;
        symbols[bin] += some;
        ranks[bin] += sum;
    }
    for (unsigned bin = 0; bin < BINS; bin++) {
        const uint64_t r = ranks[bin], k = symbols[bin] ? symbols[bin] : 1;
        squares -= r / k * r + r % k * r / k; /* r^2 / k would not fit */
    }
    const uint32_t variance = (uint32_t)(256 * squares / n) + 1;
    return s24_n_log_n(variance) / variance * n / 2 + s24_entropy(blocks);
}

/* The size that gains most, as ranks tell, and a set, a bit each, of those that are nearly as good. */
static unsigned best_blocks(const chosen *c, const uint16_t *sums, const uint8_t ranks[256], unsigned *first)
{
    uint64_t squares = 0, left[BLOCK_SIZES], least = UINT64_MAX;
    unsigned best = 0;
    for (unsigned s = 0; s < 256; s++) {
        squares += (uint64_t)c->counts[s] * ranks[s] * ranks[s];
    }
    for (unsigned block = 0; block < BLOCK_SIZES; block++) {
        left[block] = left_by_blocks(sums, c->n, squares, block);
        *first = left[block] < least ? block : *first;
        least = left[block] < least ? left[block] : least;
    }
    for (unsigned block = 0; block < BLOCK_SIZES; block++) {
        best |= (unsigned)(left[block] - least <= c->cost / 512) << block;
    }
    return best;
}

#define CLASSES_LEAST 2048 /* symbols: below, tables are more than they gain */

static void choose_classes(chooser *with, chosen *c, const s24_unit *unit, const s24_cut *cut)
{
    uint8_t ranks[256];
    if (c->n < CLASSES_LEAST || c->method == METHOD_CONSTANT || with->level < 3 ||
        !ranks_of(unit, cut, counts_of(c), c->n, ranks)) {
        return;
    }
    add_ranks(c, ranks, with->sums);
    unsigned first = 1;
    const unsigned good = best_blocks(c, with->sums, ranks, &first);
    const unsigned sizes = with->level > 6 ? EVERY_SIZE : with->level > 4 ? good : 0;
    try_classes(with, c, first);
    for (unsigned block = 0; sizes >> block && c->tables > 1; block++) {
        if (block != first && sizes >> block & 1) {
            try_classes(with, c, block);
        }
    }
}

/* ---- copies */

/* Copies, and something simple for the literals, if that is better than what is chosen. */
static void choose_copies(chooser *with, chosen *c, uint8_t *list, uint8_t *literals)
{
    s24_copies copies;
    s24_find_copies(c->plane, c->n, &copies, list, literals, with->copies_table);
    if (copies.count == 0) {
        return;
    }
    s24_frequencies *free_frequencies = with->frequencies;
    chosen rest = {.plane = copies.literals, .n = copies.literal_count};
    choose_simple(with, &rest);
    rest.cost += BYTES(copies.list_bytes + S24_NUMBER_BYTES);
    if (rest.cost >= c->cost) {
        with->frequencies = free_frequencies;
        return;
    }
    rest.copies = copies;
    rest.plane = c->plane;
    rest.n = c->n;
    *c = rest;
}

/* ---- fields */

/* The middle as a byte a field, coded: bytes that hold parts of two fields hide what fields have in common. */
static void choose_fields(chooser *with, chosen *c, size_t n, unsigned width, uint8_t *fields)
{
    if (c->method == METHOD_CONSTANT || !fields_may_gain(c->plane, n, width)) {
        return;
    }
    s24_frequencies *free_frequencies = with->frequencies;
    chosen other = {.plane = fields, .n = n, .fields = true};
    s24_unpack_fields(c->plane, n, width, fields);
    choose_simple(with, &other);
    if (other.method != METHOD_RANS || other.cost >= c->cost) {
        with->frequencies = free_frequencies;
        return;
    }
    *c = other;
}

/* ---------------------------------------------------------------- encoding */

/* All that encoding a unit needs, in scratch memory. */
typedef struct encoding {
    const s24_unit *unit;
    s24_cut cut;
    shape s;
    bool palette;
    uint8_t *planes[PLANES_MOST], *literals[PLANES_MOST], *lists[PLANES_MOST];
    uint8_t *plane_room, *literal_room, *list_room; /* of all of them */
    uint8_t *fields, *classes, *header;
    uint8_t *palette_values;
    unsigned palette_count;
    uint16_t *escapes;
    size_t escaped;
    uint16_t *words, *words_end;
    uint32_t *copies_table;
    uint32_t (*bins)[256];
    uint16_t *sums;
    s24_frequencies *frequencies;
    s24_encode_table *tables;
    s24_rans_encoder rans;
    chosen chosen[PLANES_MOST];
} encoding;

#define FREQUENCIES (3 * PLANES_MOST + 5 * S24_RANS_CLASSES + BINS) /* BINS: of a try that is thrown away */
#define PALETTE_MOST 256
#define PALETTE_SLOTS 1024

static size_t take_encoding(encoding *e, const s24_unit *unit, void *scratch)
{
    arena a = arena_of(scratch);
    const size_t n = elements_of(unit), planes = planes_bytes(unit) + 2 * ALIGN * PLANES_MOST;
    const size_t lists = planes / 2 + PLANES_MOST * 4 * S24_NUMBER_BYTES;
    e->plane_room = take(&a, planes);
    e->literal_room = take(&a, planes);
    e->list_room = take(&a, lists);
    e->fields = take(&a, n);
    e->classes = take(&a, n / 8 + 64);
    e->header = take(&a, lists + (FREQUENCIES + 1) * S24_FREQUENCIES_BYTES + MAX_ELEMENT * PALETTE_MOST);
    e->palette_values = take(&a, MAX_ELEMENT * (PALETTE_MOST + PALETTE_SLOTS));
    e->escapes = take(&a, 2 * n);
    const size_t words = planes + n / 8 + 64;
    e->words = take(&a, sizeof *e->words * words);
    e->words_end = e->words ? e->words + words : NULL;
    e->copies_table = take(&a, sizeof *e->copies_table * S24_COPIES_TABLE);
    e->bins = take(&a, sizeof *e->bins * (BINS + 1));
    e->sums = take(&a, sizeof *e->sums * (n / S24_RANS_LANES + 1));
    e->frequencies = take(&a, sizeof *e->frequencies * FREQUENCIES);
    e->tables = take(&a, sizeof *e->tables * S24_RANS_CLASSES);
    return a.taken;
}

size_t s24_encode_scratch(const s24_unit *unit)
{
    size_t bytes;
    encoding e;
    return raw_bytes(unit, &bytes) ? take_encoding(&e, unit, NULL) : 0;
}

static size_t store(const s24_unit *unit, const void *values, const uint8_t *nibbles, uint8_t *out)
{
    const size_t n = unit->values * s24_info(unit->dtype)->bytes, positions = (unit->groups + 1) / 2;
    out[0] = KIND_STORED;
    if (n) {
        memcpy(out + 1, values, n);
    }
    if (positions) {
        memcpy(out + 1 + n, nibbles, positions);
    }
    return 1 + n + positions;
}

static void lay_planes(encoding *e)
{
    uint8_t *plane = e->plane_room, *literals = e->literal_room, *list = e->list_room;
    e->s = shape_of(e->unit, &e->cut, e->palette);
    for (unsigned i = 0; i < e->s.count; i++) {
        const size_t room = (e->s.n[i] + 2 * ALIGN - 1) / ALIGN * ALIGN;
        e->planes[i] = plane;
        e->literals[i] = literals;
        e->lists[i] = list;
        plane += room;
        literals += room;
        list += s24_copies_list_bytes(e->s.n[i]);
    }
}

/* ---- cutting */

#define BASE_SAMPLES 4096

/*
 * The window, of 63 octaves, that holds most of a sample; of equally good ones the middle, since what was not in the sample may
 * be greater or smaller. Prefix 0 needs none.
 */
static unsigned base_of(const s24_cut *cut, const void *values, size_t n)
{
    uint16_t counts[1 << S24_CODER_PREFIX] = {0};
    const unsigned prefixes = 1u << cut->prefix, last = prefixes - S24_CODER_WINDOW, shift = 8 * cut->lows + cut->middle;
    const size_t step = n / BASE_SAMPLES + 1;
    unsigned within = 0, most, from = 0, to = 0;
    for (size_t i = 0; i < n; i += step) {
        counts[(s24_load(values, cut->bytes, i) >> shift) & (prefixes - 1)]++;
    }
    counts[0] = 0;
    for (unsigned p = 0; p < S24_CODER_WINDOW; p++) {
        within += counts[p];
    }
    most = within;
    for (unsigned base = 1; base <= last; base++) {
        within += counts[base + S24_CODER_WINDOW - 1] - counts[base - 1];
        if (within > most) {
            most = within;
            from = to = base;
        } else if (within == most && to + 1 == base) {
            to = base;
        }
    }
    return from + (to - from) / 2;
}

#define ESCAPES_MOST 64 /* one of so many values, else the exponent alone is the symbol */

static void cut_values(encoding *e, const void *values)
{
    const element of = element_of(e->unit->dtype);
    const size_t n = elements_of(e->unit);
    bool ok = s24_cut_of(&e->cut, of.bytes, of.sign, of.prefix);
    assert(ok);
    if (e->cut.prefix > 8) {
        e->cut.base = base_of(&e->cut, values, n);
    }
    lay_planes(e);
    s24_value_planes v = value_planes(&e->s, &e->cut, e->planes);
    e->escaped = s24_split_values(&e->cut, values, n, &v, e->escapes, e->unit->isa);
    if (e->escaped > n / ESCAPES_MOST) {
        ok = s24_cut_of(&e->cut, of.bytes, of.sign, 8);
        assert(ok);
        lay_planes(e);
        v = value_planes(&e->s, &e->cut, e->planes);
        e->escaped = s24_split_values(&e->cut, values, n, &v, e->escapes, e->unit->isa);
    }
    (void)ok;
}

/* ---- palettes */

#define PALETTE_SAMPLE 1024 /* values that are looked at first */

/* At most 255: by insertion. (qsort may allocate.) */
static void sort_palette(uint64_t *palette, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        const uint64_t value = palette[i];
        unsigned k = i;
        for (; k > 0 && palette[k - 1] > value; k--) {
            palette[k] = palette[k - 1];
        }
        palette[k] = value;
    }
}

static uint64_t *palette_slot(uint64_t *slots, uint64_t value)
{
    size_t at = (value * UINT64_C(0x9e3779b97f4a7c15)) >> 54;
    while (slots[at] != UINT64_MAX && slots[at] != value) {
        at = (at + 1) % PALETTE_SLOTS;
    }
    return &slots[at];
}

/* Puts the different values among n into the palette, as slots of a hash table. False: there are too many of them. */
static bool add_to_palette(encoding *e, uint64_t *slots, const void *values, size_t n)
{
    uint64_t *const palette = (uint64_t *)(void *)e->palette_values;
    for (size_t i = 0; i < n; i++) {
        const uint64_t value = s24_load(values, e->cut.bytes, i);
        uint64_t *slot = palette_slot(slots, value);
        if (*slot != value) {
            if (e->palette_count == PALETTE_MOST - 1) {
                return false;
            }
            *slot = value;
            palette[e->palette_count++] = value;
        } else if (value == UINT64_MAX) { /* what marks a free slot */
            return false;
        }
    }
    return true;
}

/*
 * Values of which there are few, whatever they are: the symbols are then their numbers, in ascending order. Of quantized
 * weights, of weights that were clustered, and of masks.
 */
static bool use_palette(encoding *e, const void *values)
{
    uint64_t *const palette = (uint64_t *)(void *)e->palette_values, *const slots = palette + PALETTE_MOST;
    uint8_t number_of[PALETTE_SLOTS];
    const size_t n = elements_of(e->unit);
    e->cut.bytes = element_of(e->unit->dtype).bytes;
    if (e->cut.bytes == 1) {
        return false;
    }
    memset(slots, 0xff, sizeof *slots * PALETTE_SLOTS);
    e->palette_count = 0;
    if (!add_to_palette(e, slots, values, n < PALETTE_SAMPLE ? n : PALETTE_SAMPLE) ||
        (e->palette_count > n / 8) || !add_to_palette(e, slots, values, n)) {
        return false;
    }
    e->palette = true;
    e->escaped = 0;
    lay_planes(e);
    sort_palette(palette, e->palette_count);
    for (unsigned i = 0; i < e->palette_count; i++) {
        number_of[palette_slot(slots, palette[i]) - slots] = (uint8_t)i;
    }
    uint8_t *symbols = e->planes[e->s.symbols];
    for (size_t i = 0; i < n; i++) {
        symbols[i] = number_of[palette_slot(slots, s24_load(values, e->cut.bytes, i)) - slots];
    }
    return true;
}

/* ---- planes */

/*
 * Whether copies are worth a search: a sample tells. Symbols and signs are not looked at where the plane next below repeats
 * nothing, which is nearer to noise: what repeats there repeats above, too, and little else.
 */
static bool may_repeat(const encoding *e, unsigned i, const chooser *with)
{
    const bool above = (i == e->s.symbols || i == e->s.signs) && e->s.first_low < e->s.signs && !e->palette;
    const unsigned low = e->s.first_low;
    if (with->level < 3 || e->chosen[i].method == METHOD_CONSTANT) {
        return false;
    }
    return with->level > 7 || ((!above || s24_may_repeat(e->planes[low], e->s.n[low], with->copies_table)) &&
                               s24_may_repeat(e->planes[i], e->s.n[i], with->copies_table));
}

static void choose_all(encoding *e, int level)
{
    chooser with = {.level = level, .copies_table = e->copies_table, .bins = e->bins, .sums = e->sums,
                    .classes = e->classes, .frequencies = e->frequencies};
    for (unsigned i = 0; i < e->s.count; i++) {
        chosen *c = &e->chosen[i];
        *c = (chosen){.plane = e->planes[i], .n = e->s.n[i]};
        choose_simple(&with, c);
        if (i == e->s.symbols && !e->palette) {
            choose_classes(&with, c, e->unit, &e->cut);
        }
        if (may_repeat(e, i, &with)) {
            choose_copies(&with, c, e->lists[i], e->literals[i]);
        }
        if (i == e->s.middle && e->cut.middle && !e->palette) {
            choose_fields(&with, c, elements_of(e->unit), e->cut.middle, e->fields);
        }
    }
}

static const uint8_t *literals_of(const chosen *c, size_t *n)
{
    *n = c->copies.count ? c->copies.literal_count : c->n;
    return c->copies.count ? c->copies.literals : c->plane;
}

#define LANES_LEAST 8192 /* symbols that are worth 32 states of 4 bytes */
#define FEW_LANES 4

static unsigned lanes_of(const encoding *e)
{
    size_t symbols = 0, n;
    for (unsigned i = 0; i < e->s.count; i++) {
        literals_of(&e->chosen[i], &n);
        symbols += e->chosen[i].method == METHOD_RANS ? n : 0;
    }
    return symbols == 0 ? 1 : symbols < LANES_LEAST ? FEW_LANES : S24_RANS_LANES;
}

/* From the last plane to the first, of each the symbols and then their classes: the decoder does it the other way round. */
static void encode_planes(encoding *e)
{
    e->rans.lanes = lanes_of(e);
    e->rans.words = e->words_end;
    for (unsigned lane = 0; lane < S24_RANS_LANES; lane++) {
        e->rans.state[lane] = S24_RANS_LOW;
    }
    for (unsigned i = e->s.count; i-- > 0;) {
        chosen *c = &e->chosen[i];
        s24_coded_plane plane = {.classes = c->tables > 1 ? c->classes : NULL, .block = c->block};
        const uint8_t *literals = literals_of(c, &plane.n);
        const uint16_t *before = e->rans.words;
        if (c->method != METHOD_RANS) {
            continue;
        }
        for (unsigned t = 0; t < c->tables; t++) {
            s24_encode_table_of(&e->tables[t], &c->frequencies[t]);
        }
        s24_rans_encode(&e->rans, &plane, e->tables, literals);
        c->words = (size_t)(before - e->rans.words);
        if (c->tables > 1) {
            before = e->rans.words;
            s24_encode_table_of(&e->tables[0], &c->class_frequencies);
            s24_rans_encode(&e->rans, &(s24_coded_plane){.n = c->blocks}, e->tables, c->classes);
            c->class_words = (size_t)(before - e->rans.words);
        }
    }
}

/* ---- writing */

static uint8_t *put_number(uint8_t *out, uint64_t number)
{
    return out + s24_number_write(number, out);
}

static uint8_t *put_plane_header(uint8_t *out, const chosen *c)
{
    *out++ = (uint8_t)(c->method | (c->copies.count ? WITH_COPIES : 0) | (c->tables > 1 ? WITH_CLASSES : 0) |
                       (c->fields ? AS_FIELDS : 0));
    if (c->copies.count) {
        out = put_number(out, c->copies.count);
        memcpy(out, c->copies.list, c->copies.list_bytes);
        out += c->copies.list_bytes;
    }
    if (c->method == METHOD_CONSTANT) {
        size_t n;
        *out++ = *literals_of(c, &n);
    }
    if (c->method != METHOD_RANS) {
        return out;
    }
    out = put_number(out, c->words);
    if (c->tables > 1) {
        *out++ = (uint8_t)c->tables;
        *out++ = (uint8_t)c->block;
        out = put_number(out, c->class_words);
        out += s24_frequencies_write(&c->class_frequencies, out);
    }
    for (unsigned t = 0; t < c->tables; t++) {
        out += c->flat ? s24_frequencies_write_flat(c->flat, out) : s24_frequencies_write(&c->frequencies[t], out);
    }
    return out;
}

static unsigned log2_lanes(unsigned lanes)
{
    return (unsigned)__builtin_ctz(lanes);
}

static size_t put_header(const encoding *e)
{
    const uint64_t *palette = (const uint64_t *)(const void *)e->palette_values;
    uint8_t *out = e->header;
    *out++ = e->palette ? KIND_PALETTE : KIND_PLANES;
    *out++ = (uint8_t)log2_lanes(e->rans.lanes);
    if (e->palette) {
        *out++ = (uint8_t)(e->palette_count - 1);
        for (unsigned i = 0; i < e->palette_count; i++, out += e->cut.bytes) {
            s24_store(out, e->cut.bytes, 0, palette[i]);
        }
    } else {
        *out++ = (uint8_t)e->cut.prefix;
        if (e->cut.prefix > 8) {
            s24_store(out, 2, 0, e->cut.base);
            out = put_number(out + 2, e->escaped);
        }
    }
    for (unsigned i = 0; i < e->s.count; i++) {
        out = put_plane_header(out, &e->chosen[i]);
    }
    return (size_t)(out - e->header);
}

static size_t raw_plane_bytes(const encoding *e)
{
    size_t sum = 0, n;
    for (unsigned i = 0; i < e->s.count; i++) {
        literals_of(&e->chosen[i], &n);
        sum += e->chosen[i].method == METHOD_RAW ? n : 0;
    }
    return sum;
}

static bool any_coded(const encoding *e)
{
    for (unsigned i = 0; i < e->s.count; i++) {
        if (e->chosen[i].method == METHOD_RANS) {
            return true;
        }
    }
    return false;
}

static uint8_t *put_bytes(uint8_t *out, const void *bytes, size_t n)
{
    if (n) {
        memcpy(out, bytes, n);
    }
    return out + n;
}

static void put_payload(const encoding *e, uint8_t *out)
{
    out = put_bytes(out, e->escapes, 2 * e->escaped);
    for (unsigned i = 0; i < e->s.count; i++) {
        size_t n;
        const uint8_t *literals = literals_of(&e->chosen[i], &n);
        out = e->chosen[i].method == METHOD_RAW ? put_bytes(out, literals, n) : out;
    }
    if (any_coded(e)) {
        out = put_bytes(out, e->rans.state, sizeof *e->rans.state * e->rans.lanes);
        put_bytes(out, e->rans.words, sizeof *e->words * (size_t)(e->words_end - e->rans.words));
    }
}

size_t s24_unit_encode(const s24_unit *unit, const void *values, const uint8_t *nibbles, int level, void *out,
                       void *scratch)
{
    encoding e = {.unit = unit};
    size_t raw;
    if (!raw_bytes(unit, &raw)) {
        return 0;
    }
    take_encoding(&e, unit, scratch);
    if (raw == 0) {
        return store(unit, values, nibbles, out);
    }
    if (!use_palette(&e, values)) {
        cut_values(&e, values);
    }
    if (unit->groups && !s24_pack_positions(nibbles, unit->groups, e.planes[0])) {
        return 0;
    }
    choose_all(&e, level);
    encode_planes(&e);
    const size_t header = put_header(&e), coded = (size_t)(e.words_end - e.rans.words);
    const size_t states = any_coded(&e) ? sizeof *e.rans.state * e.rans.lanes : 0;
    const size_t total = header + 2 * e.escaped + raw_plane_bytes(&e) + states + sizeof *e.words * coded;
    if (total > raw) {
        return store(unit, values, nibbles, out);
    }
    memcpy(out, e.header, header);
    put_payload(&e, (uint8_t *)out + header);
    return total;
}

/* ---------------------------------------------------------------- reading headers */

typedef struct coded_plane {
    size_t n;
    unsigned method;
    bool fields;
    uint8_t value;
    s24_copies copies;
    size_t words, class_words;
    unsigned tables, block;
    size_t blocks;
    s24_cursor frequencies;   /* of classes, if there are any, then of each table */
    const uint8_t *raw;
    size_t header;            /* bytes */
} coded_plane;

typedef struct coded_unit {
    unsigned kind, lanes;
    s24_cut cut;
    shape s;
    const uint8_t *stored, *palette, *escapes;
    unsigned palette_count;
    size_t escaped;
    coded_plane planes[PLANES_MOST];
    const uint8_t *states, *words, *end;
} coded_unit;

static void skip_frequencies(s24_cursor *cursor)
{
    s24_frequencies frequencies;
    const size_t n = s24_frequencies_read(&frequencies, cursor->at, (size_t)(cursor->end - cursor->at));
    cursor->bad = cursor->bad || n == 0;
    cursor->at += n;
}

static void read_tables(s24_cursor *cursor, coded_plane *p, bool classes)
{
    p->words = s24_get_number(cursor);
    p->tables = 1;
    p->frequencies = *cursor;
    if (classes) {
        p->tables = s24_get_byte(cursor);
        p->block = s24_get_byte(cursor);
        p->class_words = s24_get_number(cursor);
        if (p->tables < 2 || p->tables > S24_RANS_CLASSES || p->block > 16) {
            cursor->bad = true;
            return;
        }
        const size_t most = (size_t)S24_RANS_LANES << p->block;
        p->blocks = p->copies.literal_count / most + (p->copies.literal_count % most > 0);
        p->frequencies = *cursor;
        skip_frequencies(cursor);
    }
    for (unsigned t = 0; t < p->tables && !cursor->bad; t++) {
        skip_frequencies(cursor);
    }
    p->frequencies.end = cursor->at;
}

/* n: its bytes; fields: as how many it may be a byte a field, 0: it may not. */
static void read_plane(s24_cursor *cursor, coded_plane *p, size_t n, size_t fields)
{
    const uint8_t *begin = cursor->at;
    const unsigned first = s24_get_byte(cursor);
    const bool as_fields = first & AS_FIELDS;
    n = as_fields ? fields : n;
    *p = (coded_plane){.n = n, .method = first & 3, .fields = as_fields, .copies = {.literal_count = n}};
    if (p->method >= METHODS || first >= 2 * AS_FIELDS || (first & WITH_CLASSES && p->method != METHOD_RANS) ||
        (as_fields && fields == 0)) {
        cursor->bad = true;
        return;
    }
    if (first & WITH_COPIES) {
        s24_read_copies(cursor, s24_get_number(cursor), n, &p->copies);
    }
    if (p->method == METHOD_CONSTANT) {
        p->value = s24_get_byte(cursor);
    }
    if (p->method == METHOD_RANS && !cursor->bad) {
        read_tables(cursor, p, first & WITH_CLASSES);
    }
    p->header = (size_t)(cursor->at - begin);
}

static void read_cut(s24_cursor *cursor, const s24_unit *unit, coded_unit *u)
{
    const element of = element_of(unit->dtype);
    const unsigned lanes = s24_get_byte(cursor);
    cursor->bad = cursor->bad || lanes > 5;
    u->lanes = 1u << (lanes & 7);
    if (u->kind == KIND_PALETTE) {
        u->palette_count = s24_get_byte(cursor) + 1u;
        u->palette = s24_get_bytes(cursor, (size_t)u->palette_count * of.bytes);
        u->cut.bytes = of.bytes;
        return;
    }
    const unsigned prefix = s24_get_byte(cursor);
    if (!s24_cut_of(&u->cut, of.bytes, of.sign, prefix)) {
        cursor->bad = true;
        return;
    }
    if (prefix > 8) {
        u->cut.base = s24_get_byte(cursor);
        u->cut.base |= (unsigned)s24_get_byte(cursor) << 8;
        u->escaped = s24_get_number(cursor);
        cursor->bad = cursor->bad || u->cut.base > (1u << prefix) - S24_CODER_WINDOW || u->escaped > elements_of(unit);
    }
}

/* Where everything is. False: malformed. */
static bool read_unit(const s24_unit *unit, const uint8_t *coded, size_t n, coded_unit *u)
{
    s24_cursor cursor = {.at = coded, .end = coded + n};
    size_t raw, words = 0;
    bool any = false;
    *u = (coded_unit){.kind = s24_get_byte(&cursor)};
    if (!raw_bytes(unit, &raw) || cursor.bad || u->kind > KIND_PALETTE) {
        return false;
    }
    if (u->kind == KIND_STORED) {
        u->stored = cursor.at;
        return n == raw + 1;
    }
    read_cut(&cursor, unit, u);
    if (cursor.bad) {
        return false;
    }
    u->s = shape_of(unit, &u->cut, u->kind == KIND_PALETTE);
    for (unsigned i = 0; i < u->s.count && !cursor.bad; i++) {
        const bool is_middle = i == u->s.middle && u->cut.middle;
        read_plane(&cursor, &u->planes[i], u->s.n[i], is_middle ? elements_of(unit) : 0);
        any = any || u->planes[i].method == METHOD_RANS;
        words += u->planes[i].words + u->planes[i].class_words;
    }
    u->escapes = s24_get_bytes(&cursor, 2 * u->escaped);
    for (unsigned i = 0; i < u->s.count && !cursor.bad; i++) {
        coded_plane *p = &u->planes[i];
        p->raw = p->method == METHOD_RAW ? s24_get_bytes(&cursor, p->copies.literal_count) : NULL;
    }
    u->states = s24_get_bytes(&cursor, any ? sizeof(uint32_t) * u->lanes : 0);
    u->words = cursor.at;
    u->end = cursor.end;
    return !cursor.bad && words <= n && (size_t)(cursor.end - cursor.at) == 2 * words;
}

/* ---------------------------------------------------------------- decoding */

typedef struct decoding {
    coded_unit u;
    uint8_t *plane_room, *literals, *fields, *classes;
    uint8_t *planes[PLANES_MOST];
    s24_decode_table *tables, *class_table;
    s24_rans_decoder rans;
} decoding;

static size_t take_decoding(decoding *d, const s24_unit *unit, void *scratch)
{
    arena a = arena_of(scratch);
    const size_t n = elements_of(unit), groups = unit->groups / 3 + 1;
    d->plane_room = take(&a, planes_bytes(unit) + 2 * ALIGN * PLANES_MOST);
    d->literals = take(&a, n > groups ? n : groups);
    d->fields = take(&a, n);
    d->classes = take(&a, (n > groups ? n : groups) / 32 + 1);
    d->tables = take(&a, sizeof *d->tables * S24_RANS_CLASSES);
    d->class_table = take(&a, sizeof *d->class_table);
    return a.taken;
}

size_t s24_decode_scratch(const s24_unit *unit)
{
    size_t bytes;
    decoding d;
    return raw_bytes(unit, &bytes) ? take_decoding(&d, unit, NULL) : 0;
}

static void next_table(s24_cursor *cursor, s24_decode_table *table)
{
    s24_frequencies frequencies;
    cursor->at += s24_frequencies_read(&frequencies, cursor->at, (size_t)(cursor->end - cursor->at));
    s24_decode_table_of(table, &frequencies);
}

/* Symbols of a coded plane, as many words as its header said. */
static bool decode_coded(decoding *d, coded_plane *p, uint8_t *symbols, s24_isa isa)
{
    s24_cursor cursor = p->frequencies;
    s24_coded_plane plane = {.n = p->copies.literal_count, .block = p->block};
    if (p->blocks) {
        const uint8_t *until = d->rans.words + 2 * p->class_words;
        next_table(&cursor, d->class_table);
        if (!s24_rans_decode(&d->rans, &(s24_coded_plane){.n = p->blocks}, d->class_table, d->classes, isa) ||
            d->rans.words != until) {
            return false;
        }
        for (size_t i = 0; i < p->blocks; i++) {
            if (d->classes[i] >= p->tables) {
                return false;
            }
        }
        plane.classes = d->classes;
    }
    for (unsigned t = 0; t < p->tables; t++) {
        next_table(&cursor, &d->tables[t]);
    }
    const uint8_t *until = d->rans.words + 2 * p->words;
    return s24_rans_decode(&d->rans, &plane, d->tables, symbols, isa) && d->rans.words == until;
}

/* Fields, a byte each, to the plane that they are. False: one has more bits. */
static bool pack_middle(const decoding *d, const uint8_t *fields, size_t n, uint8_t *packed)
{
    unsigned bits = 0;
    for (size_t i = 0; i < n; i++) {
        bits |= fields[i];
    }
    s24_pack_fields(fields, n, d->u.cut.middle, packed);
    return bits >> d->u.cut.middle == 0;
}

/* Sets d->planes[i]: in scratch memory, or, where it stands as it is, in the coded bytes. */
static bool decode_plane(decoding *d, unsigned i, uint8_t *room, s24_isa isa)
{
    coded_plane *p = &d->u.planes[i];
    uint8_t *const whole = p->fields ? d->fields : room, *const literals = p->copies.count ? d->literals : whole;
    p->copies.literals = literals;
    switch (p->method) {
    case METHOD_RAW: p->copies.literals = p->raw; break;
    case METHOD_CONSTANT: memset(literals, p->value, p->copies.literal_count); break;
    default:
        if (!decode_coded(d, p, literals, isa)) {
            return false;
        }
    }
    if (p->copies.count && !s24_put_copies(&p->copies, whole, p->n)) {
        return false;
    }
    /* It will only be read. */
    d->planes[i] = p->copies.count ? whole : (uint8_t *)(uintptr_t)p->copies.literals;
    if (p->fields) {
        const uint8_t *fields = d->planes[i];
        d->planes[i] = room;
        return pack_middle(d, fields, p->n, room);
    }
    return true;
}

static bool decode_planes(decoding *d, s24_isa isa)
{
    uint8_t *room = d->plane_room;
    d->rans = (s24_rans_decoder){.lanes = d->u.lanes, .words = d->u.words, .end = d->u.end};
    for (unsigned lane = 0; lane < d->u.lanes && d->u.end > d->u.states; lane++) {
        d->rans.state[lane] = (uint32_t)s24_load(d->u.states, 4, lane);
        if (d->rans.state[lane] < S24_RANS_LOW) {
            return false;
        }
    }
    for (unsigned i = 0; i < d->u.s.count; i++) {
        if (!decode_plane(d, i, room, isa)) {
            return false;
        }
        room += (d->u.s.n[i] + 2 * ALIGN - 1) / ALIGN * ALIGN;
    }
    for (unsigned lane = 0; lane < d->u.lanes && d->u.end > d->u.states; lane++) {
        if (d->rans.state[lane] != S24_RANS_LOW) {
            return false;
        }
    }
    return d->rans.words == d->u.end;
}

static bool join_palette(const decoding *d, const uint8_t *symbols, size_t n, void *values)
{
    const unsigned bytes = d->u.cut.bytes;
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        const bool known = symbols[i] < d->u.palette_count;
        bad |= !known;
        s24_store(values, bytes, i, known ? s24_load(d->u.palette, bytes, symbols[i]) : 0);
    }
    return bad == 0;
}

static bool valid_nibbles(const uint8_t *nibbles, size_t groups)
{
    bool valid = groups % 2 == 0 || nibbles[groups / 2] < 16;
    for (size_t i = 0; i < groups / 2 && valid; i++) {
        valid = s24_positions_valid(nibbles[i], 0x11);
    }
    return valid && (groups % 2 == 0 || s24_positions_valid(nibbles[groups / 2], 0x1));
}

static bool decode_stored(const s24_unit *unit, const coded_unit *u, void *values, uint8_t *nibbles)
{
    const size_t n = unit->values * s24_info(unit->dtype)->bytes;
    put_bytes(values, u->stored, n);
    put_bytes(nibbles, u->stored + n, (unit->groups + 1) / 2);
    return valid_nibbles(nibbles, unit->groups);
}

bool s24_unit_decode(const s24_unit *unit, const void *coded, size_t n, void *values, uint8_t *nibbles, void *scratch)
{
    decoding d;
    if (!read_unit(unit, coded, n, &d.u)) {
        return false;
    }
    if (d.u.kind == KIND_STORED) {
        return decode_stored(unit, &d.u, values, nibbles);
    }
    take_decoding(&d, unit, scratch);
    const size_t elements = elements_of(unit);
    if (!decode_planes(&d, unit->isa) || (unit->groups && !s24_unpack_positions(d.planes[0], unit->groups, nibbles))) {
        return false;
    }
    const uint8_t *symbols = d.planes[d.u.s.symbols];
    if (d.u.kind == KIND_PALETTE) {
        return join_palette(&d, symbols, elements, values);
    }
    const s24_value_planes planes = value_planes(&d.u.s, &d.u.cut, d.planes);
    s24_join_values(&d.u.cut, &planes, elements, values, unit->isa);
    return s24_put_escapes(&d.u.cut, symbols, elements, d.u.escapes, d.u.escaped, values);
}

/* ---------------------------------------------------------------- statistics */

/* The byte of an element that plane i belongs to; -1: positions. */
static int byte_of(const coded_unit *u, unsigned i)
{
    if (i < u->s.symbols) {
        return -1;
    }
    if (i >= u->s.first_low && i < u->s.first_low + u->cut.lows && u->kind == KIND_PLANES) {
        return (int)(i - u->s.first_low);
    }
    return i == u->s.middle && u->cut.middle && u->kind == KIND_PLANES ? (int)u->cut.lows : (int)u->cut.bytes - 1;
}

bool s24_unit_sizes(const s24_unit *unit, const void *coded, size_t n, s24_coded_sizes *sizes)
{
    coded_unit u;
    *sizes = (s24_coded_sizes){.tables = 0};
    if (!read_unit(unit, coded, n, &u)) {
        return false;
    }
    if (u.kind == KIND_STORED) {
        const unsigned bytes = s24_info(unit->dtype)->bytes;
        for (unsigned i = 0; i < bytes; i++) {
            sizes->planes[i] = unit->values;
        }
        sizes->positions = (unit->groups + 1) / 2;
        sizes->tables = 1;
        return true;
    }
    size_t rest = n;
    for (unsigned i = 0; i < u.s.count; i++) {
        const coded_plane *p = &u.planes[i];
        const size_t bytes = 2 * (p->words + p->class_words) + (p->method == METHOD_RAW ? p->copies.literal_count : 0) +
                             (p->copies.count ? p->copies.list_bytes : 0);
        const int byte = byte_of(&u, i);
        *(byte < 0 ? &sizes->positions : &sizes->planes[byte]) += bytes;
        rest -= bytes;
    }
    sizes->planes[u.cut.bytes - 1] += 2 * u.escaped;
    sizes->tables = rest - 2 * u.escaped;
    return true;
}
