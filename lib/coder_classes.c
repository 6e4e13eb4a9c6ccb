/*
 * Classes: blocks of symbols, each with the table of its class.
 *
 * Weights have scales: rows and columns of a matrix differ, and so do layers. Blocks are sorted into classes by the mean
 * of their logarithms, half an octave a bin; neighbouring bins are then joined as long as a table less gains more than
 * what is coded with it loses.
 */
#include "coder_choose.h"

#include <assert.h>

#define BINS S24_CLASS_BINS

typedef struct bins {
    uint32_t (*counts)[256];
    unsigned symbols; /* above the highest of all */
    uint32_t blocks[BINS];
    uint64_t cost[BINS]; /* of a bin's symbols and its table */
    unsigned count;
    uint8_t class_of[BINS]; /* of what was a bin at first */
} bins;

static uint64_t bin_cost(const uint32_t *counts, unsigned symbols)
{
    unsigned used = 0;
    for (unsigned s = 0; s < symbols; s++) {
        used += counts[s] > 0;
    }
    return s24_entropy(counts, symbols) + S24_BITS(7 * used + 24);
}

static uint64_t joined_cost(const bins *b, unsigned i, uint32_t joined[256])
{
    for (unsigned s = 0; s < b->symbols; s++) {
        joined[s] = b->counts[i][s] + b->counts[i + 1][s];
    }
    /* Which class a block has is coded, too: of k blocks of n one costs log2(n / k). */
    const uint64_t apart = s24_n_log_n(b->blocks[i]) + s24_n_log_n(b->blocks[i + 1]);
    const uint64_t gain = s24_n_log_n(b->blocks[i] + b->blocks[i + 1]) - apart, cost = bin_cost(joined, b->symbols);
    return cost > gain ? cost - gain : 0;
}

static void join_bins(bins *b, unsigned i)
{
    for (unsigned s = 0; s < b->symbols; s++) {
        b->counts[i][s] += b->counts[i + 1][s];
    }
    b->blocks[i] += b->blocks[i + 1];
    b->cost[i] = bin_cost(b->counts[i], b->symbols);
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
static void add_ranks(const s24_chosen *c, const uint8_t ranks[256], uint16_t *sums)
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
        b->cost[b->count] = bin_cost(b->counts[i], b->symbols);
        b->count++;
    }
}

/* Half the mean of `some` ranks, which nearly always fill their block. */
static size_t bin_at(uint32_t sum, size_t some, unsigned block)
{
    assert(some > 0);
    return some == (size_t)S24_RANS_LANES << block ? sum >> (6 + block) : sum / (2 * some);
}

static void sort_blocks(const s24_chosen *c, const uint16_t *sums, unsigned block, uint8_t *bin_of, bins *b)
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
        *bin_of = (uint8_t)bin_at(sum, some, block);
        uint32_t *counts = b->counts[*bin_of];
        for (size_t k = 0; k < some; k++) {
            counts[c->plane[i + k]]++;
        }
        b->blocks[*bin_of]++;
    }
    drop_empty(b);
}

#define CLASSES_HEADER 20 /* bytes: numbers, and frequencies of classes */

/* Classes with blocks of this size, if that is better than what is chosen. */
static void try_classes(s24_chooser *with, s24_chosen *c, unsigned symbols, unsigned block)
{
    uint8_t *classes = with->classes;
    bins b = {.counts = c->table_counts == with->bins ? with->bins + BINS : with->bins, .symbols = symbols};
    sort_blocks(c, with->sums, block, classes, &b);
    join_neighbours(&b);
    uint64_t cost = s24_entropy(b.blocks, b.count) + S24_BYTES(CLASSES_HEADER);
    for (unsigned i = 0; i < b.count; i++) {
        cost += b.cost[i];
    }
    if (b.count < 2 || cost >= c->cost) {
        return;
    }
    const size_t blocks = (c->n + ((size_t)S24_RANS_LANES << block) - 1) >> block >> 5;
    for (size_t i = 0; i < blocks; i++) {
        classes[i] = b.class_of[classes[i]];
    }
    c->method = S24_PLANE_RANS;
    c->flat = 0;
    c->cost = cost;
    c->tables = b.count;
    c->table_counts = b.counts;
    memcpy(c->class_counts, b.blocks, b.count * sizeof *b.blocks);
    c->block = block;
    c->blocks = blocks;
    c->classes = classes;
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
    uint32_t blocks[BINS] = {0};
    uint64_t symbols[BINS] = {0}, ranks[BINS] = {0};
    for (size_t i = 0; i < n; i += most) {
        const size_t some = n - i < most ? n - i : most;
        uint32_t sum = 0;
        for (size_t k = 0; k < some; k += S24_RANS_LANES) {
            sum += *sums++;
        }
        const size_t bin = bin_at(sum, some, block);
        blocks[bin]++;
        symbols[bin] += some;
        ranks[bin] += sum;
    }
    for (unsigned bin = 0; bin < BINS; bin++) {
        const uint64_t r = ranks[bin], k = symbols[bin] ? symbols[bin] : 1;
        squares -= r / k * r + r % k * r / k; /* r^2 / k would not fit */
    }
    const uint32_t variance = (uint32_t)(256 * squares / n) + 1;
    return s24_log2(variance) * (uint64_t)n / 2 + s24_entropy(blocks, BINS);
}

/* The size that gains most, as ranks tell, and a set, a bit each, of those that are nearly as good. */
static unsigned best_blocks(const s24_chosen *c, const uint16_t *sums, const uint8_t ranks[256], unsigned *first)
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

void s24_choose_classes(s24_chooser *with, s24_chosen *c, const s24_unit *unit, const s24_cut *cut)
{
    uint8_t ranks[256];
    unsigned symbols = 256;
    if (c->n < CLASSES_LEAST || c->method == S24_PLANE_CONSTANT || with->level < 3 ||
        !ranks_of(unit, cut, s24_counts_of(c), c->n, ranks)) {
        return;
    }
    add_ranks(c, ranks, with->sums);
    while (c->counts[symbols - 1] == 0) {
        symbols--;
    }
    unsigned first = 1;
    const unsigned good = best_blocks(c, with->sums, ranks, &first);
    const unsigned sizes = with->level > 6 ? EVERY_SIZE : with->level > 4 ? good : 0;
    try_classes(with, c, symbols, first);
    for (unsigned block = 0; sizes >> block && c->tables > 1; block++) {
        if (block != first && sizes >> block & 1) {
            try_classes(with, c, symbols, block);
        }
    }
}
