/* Decoding a unit: its planes, one after another, and its elements out of them. */
#include "coder.h"

#include <string.h>

#include "coder_header.h"

typedef struct decoding {
    s24_unit_header u;
    uint8_t *plane_room, *literals, *fields, *classes;
    uint8_t *planes[S24_PLANES_MOST];
    s24_frequencies *frequencies;
    s24_decode_table *tables;
    s24_rans_decoder rans;
} decoding;

static size_t take_decoding(decoding *d, const s24_unit *unit, void *scratch)
{
    s24_arena a = s24_arena_of(scratch);
    const size_t n = s24_elements_of(unit), groups = unit->groups / 3 + 1;
    d->plane_room = s24_take(&a, s24_planes_room(unit));
    d->literals = s24_take(&a, n > groups ? n : groups);
    d->fields = s24_take(&a, n);
    d->classes = s24_take(&a, (n > groups ? n : groups) / 32 + 1);
    d->frequencies = s24_take(&a, sizeof *d->frequencies * S24_TABLES_MOST);
    d->tables = s24_take(&a, sizeof *d->tables * S24_RANS_CLASSES);
    return a.taken;
}

size_t s24_decode_scratch(const s24_unit *unit)
{
    size_t bytes;
    decoding d;
    return s24_raw_bytes(unit, &bytes) ? take_decoding(&d, unit, NULL) : 0;
}

/* Symbols of a coded plane, as many words as its header said. */
static bool decode_coded(decoding *d, s24_plane_header *p, uint8_t *symbols, s24_isa isa)
{
    const s24_frequencies *next = p->frequencies;
    s24_coded_plane plane = {.n = p->copies.literal_count, .block = p->block};
    if (p->blocks) {
        const uint8_t *until = d->rans.words + 2 * p->class_words;
        s24_decode_table_of(d->tables, next++);
        if (!s24_rans_decode(&d->rans, &(s24_coded_plane){.n = p->blocks}, d->tables, d->classes, isa) ||
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
        s24_decode_table_of(&d->tables[t], next++);
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
    s24_plane_header *p = &d->u.planes[i];
    uint8_t *const whole = p->fields ? d->fields : room, *const literals = p->copies.count ? d->literals : whole;
    p->copies.literals = literals;
    switch (p->method) {
    case S24_PLANE_RAW: p->copies.literals = p->raw; break;
    case S24_PLANE_CONSTANT: memset(literals, p->value, p->copies.literal_count); break;
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
        room += s24_room(d->u.s.n[i]);
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

static bool decode_stored(const s24_unit *unit, const s24_unit_header *u, void *values, uint8_t *nibbles)
{
    const size_t n = unit->values * s24_info(unit->dtype)->bytes;
    s24_put_bytes(values, u->stored, n);
    s24_put_bytes(nibbles, u->stored + n, (unit->groups + 1) / 2);
    return valid_nibbles(nibbles, unit->groups);
}

bool s24_unit_decode(const s24_unit *unit, const void *coded, size_t n, void *values, uint8_t *nibbles, void *scratch)
{
    decoding d;
    size_t raw;
    if (!s24_raw_bytes(unit, &raw)) {
        return false;
    }
    take_decoding(&d, unit, scratch);
    if (!s24_unit_header_read(unit, coded, n, d.frequencies, &d.u)) {
        return false;
    }
    if (d.u.kind == S24_CODED_STORED) {
        return decode_stored(unit, &d.u, values, nibbles);
    }
    const size_t elements = s24_elements_of(unit);
    if (!decode_planes(&d, unit->isa) || (unit->groups && !s24_unpack_positions(d.planes[0], unit->groups, nibbles))) {
        return false;
    }
    const uint8_t *symbols = d.planes[d.u.s.symbols];
    if (d.u.kind == S24_CODED_PALETTE) {
        return join_palette(&d, symbols, elements, values);
    }
    const s24_value_planes planes = s24_value_planes_of(&d.u.s, &d.u.cut, d.planes);
    s24_join_values(&d.u.cut, &planes, elements, values, unit->isa);
    return s24_put_escapes(&d.u.cut, symbols, elements, d.u.escapes, d.u.escaped, values);
}
