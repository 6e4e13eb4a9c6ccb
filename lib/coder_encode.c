/*
 * Coding a unit: cut its elements into planes, choose for each of them what makes it smallest, and put that one after
 * another.
 */
#include "coder.h"

#include <assert.h>

#include "coder_choose.h"

/* What an entropy coded plane has become. */
typedef struct plane_tables {
    s24_frequencies frequencies[S24_RANS_CLASSES], of_classes;
    size_t words, class_words;
} plane_tables;

/* All that encoding a unit needs, in scratch memory. */
typedef struct encoding {
    const s24_unit *unit;
    s24_cut cut;
    s24_unit_shape s;
    bool palette;
    uint8_t *planes[S24_PLANES_MOST], *literals[S24_PLANES_MOST], *lists[S24_PLANES_MOST];
    uint8_t *plane_room, *literal_room, *list_room; /* of all of them */
    uint8_t *fields, *classes, *header;
    s24_palette values;
    uint16_t *escapes;
    size_t escaped;
    uint16_t *words, *words_end;
    uint32_t *copies_table;
    uint32_t (*bins)[256];
    uint16_t *sums;
    plane_tables *of_plane;
    s24_encode_table *tables;
    s24_rans_encoder rans;
    s24_chosen chosen[S24_PLANES_MOST];
    enum { UNKNOWN, REPEATS, REPEATS_NOT } repeats[S24_PLANES_MOST]; /* as a sample tells */
} encoding;

static size_t take_encoding(encoding *e, const s24_unit *unit, void *scratch)
{
    s24_arena a = s24_arena_of(scratch);
    const size_t n = s24_elements_of(unit), planes = s24_planes_room(unit);
    const size_t lists = planes / 2 + S24_PLANES_MOST * 4 * S24_NUMBER_BYTES;
    const size_t tables = (S24_PLANES_MOST + S24_RANS_CLASSES) * S24_FREQUENCIES_BYTES;
    e->plane_room = s24_take(&a, planes);
    e->literal_room = s24_take(&a, planes);
    e->list_room = s24_take(&a, lists);
    e->fields = s24_take(&a, n);
    e->classes = s24_take(&a, n / 8 + 64);
    e->header = s24_take(&a, lists + tables + S24_ELEMENT_MOST * S24_PALETTE_MOST);
    e->values.of = s24_take(&a, sizeof *e->values.of * S24_PALETTE_MOST);
    e->values.slots = s24_take(&a, sizeof *e->values.slots * S24_PALETTE_SLOTS);
    e->escapes = s24_take(&a, 2 * n);
    const size_t words = planes + n / 8 + 64 + S24_WORDS_BELOW;
    e->words = s24_take(&a, sizeof *e->words * words);
    e->words_end = e->words ? e->words + words : NULL;
    e->copies_table = s24_take(&a, sizeof *e->copies_table * S24_COPIES_TABLE);
    e->bins = s24_take(&a, sizeof *e->bins * 2 * S24_CLASS_BINS);
    e->sums = s24_take(&a, sizeof *e->sums * (n / S24_RANS_LANES + 1));
    e->of_plane = s24_take(&a, sizeof *e->of_plane * S24_PLANES_MOST);
    e->tables = s24_take(&a, sizeof *e->tables * S24_RANS_CLASSES);
    return a.taken;
}

size_t s24_encode_scratch(const s24_unit *unit)
{
    size_t bytes;
    encoding e;
    return s24_raw_bytes(unit, &bytes) ? take_encoding(&e, unit, NULL) : 0;
}

static size_t store(const s24_unit *unit, const void *values, const uint8_t *nibbles, uint8_t *out)
{
    const size_t n = unit->values * s24_info(unit->dtype)->bytes, positions = (unit->groups + 1) / 2;
    out[0] = S24_CODED_STORED;
    s24_put_bytes(s24_put_bytes(out + 1, values, n), nibbles, positions);
    return 1 + n + positions;
}

static void lay_planes(encoding *e)
{
    uint8_t *plane = e->plane_room, *literals = e->literal_room, *list = e->list_room;
    e->s = s24_shape_of(e->unit, &e->cut, e->palette);
    for (unsigned i = 0; i < e->s.count; i++) {
        const size_t room = s24_room(e->s.n[i]);
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
    const s24_element of = s24_element_of(e->unit->dtype);
    const size_t n = s24_elements_of(e->unit);
    bool ok = s24_cut_of(&e->cut, of.bytes, of.sign, of.prefix);
    assert(ok);
    if (e->cut.prefix > 8) {
        e->cut.base = base_of(&e->cut, values, n);
    }
    lay_planes(e);
    s24_value_planes v = s24_value_planes_of(&e->s, &e->cut, e->planes);
    e->escaped = s24_split_values(&e->cut, values, n, &v, e->escapes, e->unit->isa);
    if (e->escaped > n / ESCAPES_MOST) {
        ok = s24_cut_of(&e->cut, of.bytes, of.sign, 8);
        assert(ok);
        lay_planes(e);
        v = s24_value_planes_of(&e->s, &e->cut, e->planes);
        e->escaped = s24_split_values(&e->cut, values, n, &v, e->escapes, e->unit->isa);
    }
    (void)ok;
}

/* ---- palettes */

static bool use_palette(encoding *e, const void *values)
{
    const size_t n = s24_elements_of(e->unit);
    e->cut.bytes = s24_element_of(e->unit->dtype).bytes;
    if (!s24_palette_find(&e->values, e->cut.bytes, values, n)) {
        return false;
    }
    e->palette = true;
    e->escaped = 0;
    lay_planes(e);
    s24_palette_symbols(&e->values, e->cut.bytes, values, n, e->planes[e->s.symbols]);
    return true;
}

/* ---- planes */

static bool sample_repeats(encoding *e, unsigned i)
{
    if (e->repeats[i] == UNKNOWN) {
        e->repeats[i] = s24_may_repeat(e->planes[i], e->s.n[i], e->copies_table) ? REPEATS : REPEATS_NOT;
    }
    return e->repeats[i] == REPEATS;
}

/*
 * Whether copies are worth a search: a sample tells. Symbols and signs are not looked at where the plane next below repeats
 * nothing, which is nearer to noise: what repeats there repeats above, too, and little else.
 */
static bool may_repeat(encoding *e, unsigned i, int level)
{
    const bool above = (i == e->s.symbols || i == e->s.signs) && e->s.first_low < e->s.signs && !e->palette;
    if (level < 3 || e->chosen[i].method == S24_PLANE_CONSTANT) {
        return false;
    }
    return level > 7 || ((!above || sample_repeats(e, e->s.first_low)) && sample_repeats(e, i));
}

static void choose_all(encoding *e, int level)
{
    s24_chooser with = {.level = level, .bins = e->bins, .sums = e->sums, .classes = e->classes};
    for (unsigned i = 0; i < e->s.count; i++) {
        s24_chosen *c = &e->chosen[i];
        *c = (s24_chosen){.plane = e->planes[i], .n = e->s.n[i]};
        s24_choose_simple(c);
        if (i == e->s.symbols && !e->palette) {
            s24_choose_classes(&with, c, e->unit, &e->cut);
        }
        if (may_repeat(e, i, level)) {
            s24_choose_copies(c, e->lists[i], e->literals[i], e->copies_table);
        }
        if (i == e->s.middle && e->cut.middle && !e->palette) {
            s24_choose_fields(c, s24_elements_of(e->unit), e->cut.middle, e->fields);
        }
    }
}

static const uint8_t *literals_of(const s24_chosen *c, size_t *n)
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
        symbols += e->chosen[i].method == S24_PLANE_RANS ? n : 0;
    }
    return symbols == 0 ? 1 : symbols < LANES_LEAST ? FEW_LANES : S24_RANS_LANES;
}

static void make_frequencies(const s24_chosen *c, plane_tables *p)
{
    if (c->flat) {
        s24_frequencies_flat(&p->frequencies[0], c->flat);
        return;
    }
    for (unsigned t = 0; t < c->tables; t++) {
        s24_frequencies_of(&p->frequencies[t], c->tables > 1 ? c->table_counts[t] : c->counts);
    }
    if (c->tables > 1) {
        s24_frequencies_of(&p->of_classes, c->class_counts);
    }
}

/* With so many tables; returns how many words there are more. */
static size_t encode_symbols(encoding *e, const s24_coded_plane *plane, const s24_frequencies *frequencies, unsigned tables,
                             const uint8_t *symbols)
{
    const uint16_t *before = e->rans.words;
    for (unsigned t = 0; t < tables; t++) {
        s24_encode_table_of(&e->tables[t], &frequencies[t]);
    }
    s24_rans_encode(&e->rans, plane, e->tables, symbols, e->unit->isa);
    return (size_t)(before - e->rans.words);
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
        const s24_chosen *c = &e->chosen[i];
        plane_tables *p = &e->of_plane[i];
        s24_coded_plane plane = {.classes = c->tables > 1 ? c->classes : NULL, .block = c->block};
        const uint8_t *literals = literals_of(c, &plane.n);
        if (c->method != S24_PLANE_RANS) {
            continue;
        }
        make_frequencies(c, p);
        p->words = encode_symbols(e, &plane, p->frequencies, c->tables, literals);
        if (c->tables > 1) {
            p->class_words = encode_symbols(e, &(s24_coded_plane){.n = c->blocks}, &p->of_classes, 1, c->classes);
        }
    }
}

/* ---- writing */

static uint8_t *put_number(uint8_t *out, uint64_t number)
{
    return out + s24_number_write(number, out);
}

static uint8_t *put_plane_header(uint8_t *out, const s24_chosen *c, const plane_tables *p)
{
    *out++ = (uint8_t)(c->method | (c->copies.count ? S24_WITH_COPIES : 0) | (c->tables > 1 ? S24_WITH_CLASSES : 0) |
                       (c->fields ? S24_AS_FIELDS : 0));
    if (c->copies.count) {
        out = put_number(out, c->copies.count);
        memcpy(out, c->copies.list, c->copies.list_bytes);
        out += c->copies.list_bytes;
    }
    if (c->method == S24_PLANE_CONSTANT) {
        size_t n;
        *out++ = *literals_of(c, &n);
    }
    if (c->method != S24_PLANE_RANS) {
        return out;
    }
    out = put_number(out, p->words);
    if (c->tables > 1) {
        *out++ = (uint8_t)c->tables;
        *out++ = (uint8_t)c->block;
        out = put_number(out, p->class_words);
        out += s24_frequencies_write(&p->of_classes, out);
    }
    for (unsigned t = 0; t < c->tables; t++) {
        out += c->flat ? s24_frequencies_write_flat(c->flat, out) : s24_frequencies_write(&p->frequencies[t], out);
    }
    return out;
}

static unsigned log2_lanes(unsigned lanes)
{
    return (unsigned)__builtin_ctz(lanes);
}

static size_t put_header(const encoding *e)
{
    uint8_t *out = e->header;
    *out++ = e->palette ? S24_CODED_PALETTE : S24_CODED_PLANES;
    *out++ = (uint8_t)log2_lanes(e->rans.lanes);
    if (e->palette) {
        *out++ = (uint8_t)(e->values.count - 1);
        for (unsigned i = 0; i < e->values.count; i++, out += e->cut.bytes) {
            s24_store(out, e->cut.bytes, 0, e->values.of[i]);
        }
    } else {
        *out++ = (uint8_t)e->cut.prefix;
        if (e->cut.prefix > 8) {
            s24_store(out, 2, 0, e->cut.base);
            out = put_number(out + 2, e->escaped);
        }
    }
    for (unsigned i = 0; i < e->s.count; i++) {
        out = put_plane_header(out, &e->chosen[i], &e->of_plane[i]);
    }
    return (size_t)(out - e->header);
}

static size_t raw_plane_bytes(const encoding *e)
{
    size_t sum = 0, n;
    for (unsigned i = 0; i < e->s.count; i++) {
        literals_of(&e->chosen[i], &n);
        sum += e->chosen[i].method == S24_PLANE_RAW ? n : 0;
    }
    return sum;
}

static bool any_coded(const encoding *e)
{
    for (unsigned i = 0; i < e->s.count; i++) {
        if (e->chosen[i].method == S24_PLANE_RANS) {
            return true;
        }
    }
    return false;
}

static void put_payload(const encoding *e, uint8_t *out)
{
    out = s24_put_bytes(out, e->escapes, 2 * e->escaped);
    for (unsigned i = 0; i < e->s.count; i++) {
        size_t n;
        const uint8_t *literals = literals_of(&e->chosen[i], &n);
        out = e->chosen[i].method == S24_PLANE_RAW ? s24_put_bytes(out, literals, n) : out;
    }
    if (any_coded(e)) {
        out = s24_put_bytes(out, e->rans.state, sizeof *e->rans.state * e->rans.lanes);
        s24_put_bytes(out, e->rans.words, sizeof *e->words * (size_t)(e->words_end - e->rans.words));
    }
}

size_t s24_unit_encode(const s24_unit *unit, const void *values, const uint8_t *nibbles, int level, void *out,
                       void *scratch)
{
    encoding e = {.unit = unit};
    size_t raw;
    if (!s24_raw_bytes(unit, &raw)) {
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
