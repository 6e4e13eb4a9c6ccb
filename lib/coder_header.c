#include "coder_header.h"

/* To *room, which is then behind them, where there is any. */
static void read_frequencies(s24_cursor *cursor, s24_frequencies **room)
{
    s24_frequencies dropped;
    const size_t n = s24_frequencies_read(*room ? *room : &dropped, cursor->at, (size_t)(cursor->end - cursor->at));
    cursor->bad = cursor->bad || n == 0;
    cursor->at += n;
    if (*room) {
        (*room)++;
    }
}

static void read_tables(s24_cursor *cursor, s24_plane_header *p, bool classes, s24_frequencies **room)
{
    p->words = s24_get_number(cursor);
    p->tables = 1;
    p->frequencies = *room;
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
        read_frequencies(cursor, room);
    }
    for (unsigned t = 0; t < p->tables && !cursor->bad; t++) {
        read_frequencies(cursor, room);
    }
}

/* n: its bytes; fields: as how many it may be a byte a field, 0: it may not. */
static void read_plane(s24_cursor *cursor, s24_plane_header *p, size_t n, size_t fields, s24_frequencies **room)
{
    const unsigned first = s24_get_byte(cursor);
    const bool as_fields = first & S24_AS_FIELDS;
    n = as_fields ? fields : n;
    *p = (s24_plane_header){.n = n, .method = first & 3, .fields = as_fields, .copies = {.literal_count = n}};
    if (p->method >= S24_PLANE_METHODS || first >= 2 * S24_AS_FIELDS || (as_fields && fields == 0) ||
        (first & S24_WITH_CLASSES && p->method != S24_PLANE_RANS)) {
        cursor->bad = true;
        return;
    }
    if (first & S24_WITH_COPIES) {
        s24_read_copies(cursor, s24_get_number(cursor), n, &p->copies);
    }
    if (p->method == S24_PLANE_CONSTANT) {
        p->value = s24_get_byte(cursor);
    }
    if (p->method == S24_PLANE_RANS && !cursor->bad) {
        read_tables(cursor, p, first & S24_WITH_CLASSES, room);
    }
}

static void read_cut(s24_cursor *cursor, const s24_unit *unit, s24_unit_header *u)
{
    const s24_element of = s24_element_of(unit->dtype);
    const unsigned lanes = s24_get_byte(cursor);
    cursor->bad = cursor->bad || lanes > 5;
    u->lanes = 1u << (lanes & 7);
    if (u->kind == S24_CODED_PALETTE) {
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
        cursor->bad = cursor->bad || u->cut.base > (1u << prefix) - S24_CODER_WINDOW || u->escaped > s24_elements_of(unit);
    }
}

bool s24_unit_header_read(const s24_unit *unit, const uint8_t *coded, size_t n, s24_frequencies *room, s24_unit_header *u)
{
    s24_cursor cursor = {.at = coded, .end = coded + n};
    size_t raw, words = 0;
    bool any = false;
    *u = (s24_unit_header){.kind = s24_get_byte(&cursor)};
    if (!s24_raw_bytes(unit, &raw) || cursor.bad || u->kind > S24_CODED_PALETTE) {
        return false;
    }
    if (u->kind == S24_CODED_STORED) {
        u->stored = cursor.at;
        return n == raw + 1;
    }
    read_cut(&cursor, unit, u);
    if (cursor.bad) {
        return false;
    }
    u->s = s24_shape_of(unit, &u->cut, u->kind == S24_CODED_PALETTE);
    for (unsigned i = 0; i < u->s.count && !cursor.bad; i++) {
        const bool is_middle = i == u->s.middle && u->cut.middle;
        read_plane(&cursor, &u->planes[i], u->s.n[i], is_middle ? s24_elements_of(unit) : 0, &room);
        any = any || u->planes[i].method == S24_PLANE_RANS;
        words += u->planes[i].words + u->planes[i].class_words;
    }
    u->escapes = s24_get_bytes(&cursor, 2 * u->escaped);
    for (unsigned i = 0; i < u->s.count && !cursor.bad; i++) {
        s24_plane_header *p = &u->planes[i];
        p->raw = p->method == S24_PLANE_RAW ? s24_get_bytes(&cursor, p->copies.literal_count) : NULL;
    }
    u->states = s24_get_bytes(&cursor, any ? sizeof(uint32_t) * u->lanes : 0);
    u->words = cursor.at;
    u->end = cursor.end;
    return !cursor.bad && words <= n && (size_t)(cursor.end - cursor.at) == 2 * words;
}

/* ---------------------------------------------------------------- statistics */

/* The byte of an element that plane i belongs to; -1: positions. */
static int byte_of(const s24_unit_header *u, unsigned i)
{
    if (i < u->s.symbols) {
        return -1;
    }
    if (i >= u->s.first_low && i < u->s.first_low + u->cut.lows && u->kind == S24_CODED_PLANES) {
        return (int)(i - u->s.first_low);
    }
    return i == u->s.middle && u->cut.middle && u->kind == S24_CODED_PLANES ? (int)u->cut.lows : (int)u->cut.bytes - 1;
}

bool s24_unit_sizes(const s24_unit *unit, const void *coded, size_t n, s24_coded_sizes *sizes)
{
    s24_unit_header u;
    *sizes = (s24_coded_sizes){.tables = 0};
    if (!s24_unit_header_read(unit, coded, n, NULL, &u)) {
        return false;
    }
    if (u.kind == S24_CODED_STORED) {
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
        const s24_plane_header *p = &u.planes[i];
        const size_t bytes = 2 * (p->words + p->class_words) + (p->method == S24_PLANE_RAW ? p->copies.literal_count : 0) +
                             (p->copies.count ? p->copies.list_bytes : 0);
        const int byte = byte_of(&u, i);
        *(byte < 0 ? &sizes->positions : &sizes->planes[byte]) += bytes;
        rest -= bytes;
    }
    sizes->planes[u.cut.bytes - 1] += 2 * u.escaped;
    sizes->tables = rest - 2 * u.escaped;
    return true;
}
