/* What reader and writer of archives share: frames' heads, the numbering of panels, and units. No I/O. */
#include "archive.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> /* see plain.c */
#endif

uint64_t s24_archive_check(const void *data, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, n, seed);
}

/* ---------------------------------------------------------------- heads of frames */

static const char frame_magic[4] = {'S', '2', '4', 'F'};

uint64_t s24_frame_seed(uint64_t hash, uint64_t number)
{
    return hash + number;
}

uint64_t s24_frame_table_bytes(const s24_frame *frame)
{
    return S24_FRAME_LINE_BYTES * ((uint64_t)frame->units + frame->panels);
}

uint64_t s24_frame_bytes(const s24_frame *frame)
{
    return S24_FRAME_HEAD_BYTES + s24_frame_table_bytes(frame) + S24_FRAME_CHECK_BYTES + frame->payload;
}

void s24_frame_put(const s24_frame *frame, uint64_t seed, unsigned char *begin)
{
    const size_t checked = S24_FRAME_HEAD_BYTES + (size_t)s24_frame_table_bytes(frame);
    memcpy(begin, frame_magic, sizeof frame_magic);
    s24_put_u32(begin + 4, (uint32_t)frame->kind | (uint32_t)S24_ARCHIVE_VERSION << 16);
    s24_put_u64(begin + 8, frame->number);
    s24_put_u64(begin + 16, frame->first);
    s24_put_u32(begin + 24, frame->panels);
    s24_put_u32(begin + 28, frame->units);
    s24_put_u64(begin + 32, frame->payload);
    s24_put_u64(begin + 40, frame->raw);
    s24_put_u64(begin + 48, frame->check);
    s24_put_u64(begin + checked, s24_archive_check(begin, checked, seed));
}

bool s24_frame_get(s24_frame *frame, unsigned *version, const unsigned char head[S24_FRAME_HEAD_BYTES])
{
    const uint32_t kind = s24_get_u32(head + 4);
    *version = kind >> 16;
    *frame = (s24_frame){.kind = kind & 0xffff, .number = s24_get_u64(head + 8), .first = s24_get_u64(head + 16),
                         .panels = s24_get_u32(head + 24), .units = s24_get_u32(head + 28),
                         .payload = s24_get_u64(head + 32), .raw = s24_get_u64(head + 40),
                         .check = s24_get_u64(head + 48)};
    return memcmp(head, frame_magic, sizeof frame_magic) == 0;
}

bool s24_frame_begins(const s24_frame *frame, uint64_t seed, const unsigned char *begin)
{
    const size_t checked = S24_FRAME_HEAD_BYTES + (size_t)s24_frame_table_bytes(frame);
    return s24_archive_check(begin, checked, seed) == s24_get_u64(begin + checked);
}

s24_status s24_archive_check_version(unsigned version, s24_error *err)
{
    return version == S24_ARCHIVE_VERSION
        ? S24_OK : s24_fail_unsupported(err, "is version %u of the .s24 archive; this s24 reads version %d; use a newer one",
                                        version, S24_ARCHIVE_VERSION);
}

/* ---------------------------------------------------------------- the tail */

static const char tail_magic[8] = "S24ZTAIL";

void s24_archive_tail_put(const s24_archive_tail *tail, unsigned char bytes[S24_ARCHIVE_TAIL_BYTES])
{
    memcpy(bytes, tail_magic, sizeof tail_magic);
    s24_put_u32(bytes + 8, S24_ARCHIVE_VERSION);
    s24_put_u32(bytes + 12, 0);
    s24_put_u64(bytes + 16, tail->size);
    s24_put_u64(bytes + 24, tail->index);
    s24_put_u64(bytes + 32, tail->frames);
    s24_put_u64(bytes + 40, tail->hash);
    s24_put_u64(bytes + 48, tail->plain_size);
    s24_put_u64(bytes + 56, s24_archive_check(bytes, 56, 0));
}

s24_status s24_archive_tail_get(s24_archive_tail *tail, const unsigned char bytes[S24_ARCHIVE_TAIL_BYTES], s24_error *err)
{
    if (memcmp(bytes, tail_magic, sizeof tail_magic) != 0 || s24_get_u64(bytes + 56) != s24_archive_check(bytes, 56, 0)) {
        return s24_fail(err, S24_ERR_DATA, "is damaged: its tail does not match its own check");
    }
    const s24_status status = s24_archive_check_version(s24_get_u32(bytes + 8), err);
    if (status != S24_OK) {
        return status;
    }
    if (s24_get_u32(bytes + 12)) {
        return s24_fail_unsupported(err, "its tail sets flags that this s24 does not know (%#x); use a newer one",
                                    s24_get_u32(bytes + 12));
    }
    *tail = (s24_archive_tail){.size = s24_get_u64(bytes + 16), .index = s24_get_u64(bytes + 24),
                               .frames = s24_get_u64(bytes + 32), .hash = s24_get_u64(bytes + 40),
                               .plain_size = s24_get_u64(bytes + 48)};
    return S24_OK;
}

/* ---------------------------------------------------------------- numbers of panels */

s24_status s24_archive_map_init(s24_archive_map *map, const s24_plain *plain, const s24_contents *contents, s24_error *err)
{
    *map = (s24_archive_map){.plain = plain, .contents = contents};
    map->first = s24_calloc(contents->count + 2, sizeof *map->first, err);
    if (!map->first) {
        return S24_ERR_SYSTEM;
    }
    uint64_t panels = 0; /* a panel has a byte of the file, so that this does not overflow */
    for (size_t i = 0; i <= contents->count; i++) {
        map->first[i] = panels;
        panels += s24_archive_count(plain, i < contents->count ? &contents->entries[i] : &plain->metrics);
    }
    map->first[contents->count + 1] = panels;
    return S24_OK;
}

void s24_archive_map_free(s24_archive_map *map)
{
    free(map->first);
    *map = (s24_archive_map){0};
}

uint64_t s24_archive_panels(const s24_archive_map *map)
{
    return map->first[map->contents->count + 1];
}

uint64_t s24_archive_number(const s24_archive_map *map, const s24_entry *entry, size_t panel)
{
    const size_t i = entry == &map->plain->metrics ? map->contents->count : (size_t)(entry - map->contents->entries);
    return map->first[i] + panel;
}

size_t s24_archive_entry(const s24_archive_map *map, uint64_t number)
{
    size_t low = 0, high = map->contents->count + 1; /* the last whose first panel is not behind it: no empty one */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        *(map->first[middle] <= number ? &low : &high) = middle;
    }
    return low;
}

const s24_entry *s24_archive_panel(const s24_archive_map *map, uint64_t number, size_t *panel)
{
    const size_t i = s24_archive_entry(map, number);
    *panel = (size_t)(number - map->first[i]);
    return i < map->contents->count ? &map->contents->entries[i] : &map->plain->metrics;
}

/* ---------------------------------------------------------------- pieces and units */

size_t s24_archive_count(const s24_plain *plain, const s24_entry *entry)
{
    return s24_plain_check_count(plain, entry);
}

/* The permutation of a pruned tensor is a panel of its own, behind the others. */
static bool is_permutation(const s24_plain *plain, const s24_entry *e, size_t panel)
{
    return panel == s24_plain_panel_count(plain, e);
}

size_t s24_archive_parts(const s24_plain *plain, const s24_entry *e, size_t panel, s24_archive_part parts[S24_PARTS_MAX])
{
    if (!e->packed) {
        const uint64_t from = (uint64_t)panel * plain->panel_bytes, left = e->bytes - from;
        const size_t n = left < plain->panel_bytes ? (size_t)left : plain->panel_bytes;
        parts[0] = (s24_archive_part){e->offset + from, n, e->dtype};
        return 1;
    }
    if (is_permutation(plain, e, panel)) {
        parts[0] = (s24_archive_part){s24_plain_offset(e, S24_PLANES), e->pruned->geometry.cols * sizeof(int32_t), S24_I32};
        return 1;
    }
    const s24_panels panels = s24_plain_panels(plain, e);
    const s24_panel_place place = s24_panel_at(&panels, panel);
    const s24_plain_place p = s24_plain_panel_place(e, &place);
    size_t count = 0;
    for (int k = 0; k < S24_PLANES; k++) {
        if (s24_plain_has(e, k)) {
            parts[count++] = (s24_archive_part){p.plane[k].at, p.plane[k].bytes, s24_plain_plane_dtype(e, k)};
        }
    }
    return count;
}

/* What is no whole bytes is coded as bytes, and a complex number as its parts. */
static s24_piece dense_piece(s24_dtype dtype, size_t bytes)
{
    const s24_dtype coded = dtype == S24_C64 ? S24_F32 : s24_info(dtype)->bytes == 0 ? S24_U8 : dtype;
    return (s24_piece){.dtype = coded, .values = bytes / s24_info(coded)->bytes, .bytes = bytes};
}

size_t s24_archive_pieces(const s24_archive_map *map, uint64_t number, s24_piece pieces[S24_PIECES_MAX])
{
    size_t panel, count = 0;
    const s24_entry *e = s24_archive_panel(map, number, &panel);
    s24_archive_part parts[S24_PARTS_MAX];
    const size_t n = s24_archive_parts(map->plain, e, panel, parts);
    if (e->packed && !is_permutation(map->plain, e, panel)) { /* values and positions are one */
        assert(n >= 2);
        const s24_panels panels = s24_plain_panels(map->plain, e);
        const s24_panel_place place = s24_panel_at(&panels, panel);
        pieces[count++] = (s24_piece){.dtype = e->stored, .values = place.rows * 2 * place.groups, .rows = place.rows,
                                      .groups = place.groups, .bytes = parts[0].bytes + parts[1].bytes};
    }
    for (size_t i = 2 * count; i < n; i++) {
        pieces[count++] = dense_piece(parts[i].dtype, parts[i].bytes);
    }
    return count;
}

size_t s24_archive_panel_bytes(const s24_archive_map *map, uint64_t number)
{
    size_t panel, bytes = 0;
    const s24_entry *e = s24_archive_panel(map, number, &panel);
    s24_archive_part parts[S24_PARTS_MAX];
    const size_t n = s24_archive_parts(map->plain, e, panel, parts);
    for (size_t i = 0; i < n; i++) {
        bytes += parts[i].bytes;
    }
    return bytes;
}

void s24_archive_starts(const s24_archive_map *map, uint64_t first, uint32_t panels, size_t *at)
{
    at[0] = 0;
    for (uint32_t i = 0; i < panels; i++) {
        at[i + 1] = at[i] + s24_archive_panel_bytes(map, first + i);
    }
}

static bool is_of(const s24_piece *piece, const s24_archive_unit *unit)
{
    return piece->dtype == unit->unit.dtype && (piece->groups > 0) == (unit->unit.groups > 0);
}

size_t s24_archive_units(const s24_archive_map *map, uint64_t first, uint32_t panels, s24_archive_unit units[S24_UNITS_MAX],
                         uint64_t *raw)
{
    size_t count = 0;
    *raw = 0;
    for (uint64_t number = first; number < first + panels; number++) {
        s24_piece pieces[S24_PIECES_MAX];
        const size_t n = s24_archive_pieces(map, number, pieces);
        for (size_t i = 0; i < n; i++) {
            size_t k = 0;
            while (k < count && !is_of(&pieces[i], &units[k])) {
                k++;
            }
            if (k == count) {
                units[count++] = (s24_archive_unit){.unit.dtype = pieces[i].dtype};
            }
            units[k].unit.values += pieces[i].values;
            units[k].unit.groups += pieces[i].rows * pieces[i].groups;
            units[k].bytes += pieces[i].bytes;
            *raw += pieces[i].bytes;
        }
    }
    return count;
}

size_t s24_unit_value_bytes(const s24_unit *unit)
{
    return unit->values * s24_info(unit->dtype)->bytes;
}

size_t s24_unit_nibble_bytes(const s24_unit *unit)
{
    return (unit->groups + 1) / 2;
}

/* ---------------------------------------------------------------- nibbles: rows of whole bytes, and all in one row */

/* Puts `rows` rows of `groups` nibbles behind the `at` that are there; a last half byte has 0 in its upper half. */
static void join_rows(uint8_t *to, size_t at, const uint8_t *from, size_t rows, size_t groups)
{
    const size_t row_bytes = (groups + 1) / 2;
    for (size_t r = 0; r < rows; r++, from += row_bytes, at += groups) {
        uint8_t *p = to + at / 2;
        if (at % 2 == 0) {
            memcpy(p, from, row_bytes);
            continue;
        }
        for (size_t i = 0; i < row_bytes; i++) {
            p[i] = (uint8_t)(p[i] | from[i] << 4);
            if (2 * i + 1 < groups) {
                p[i + 1] = from[i] >> 4;
            }
        }
    }
}

/* The reverse. */
static void split_rows(uint8_t *to, const uint8_t *from, size_t at, size_t rows, size_t groups)
{
    const size_t row_bytes = (groups + 1) / 2;
    for (size_t r = 0; r < rows; r++, to += row_bytes, at += groups) {
        const uint8_t *p = from + at / 2;
        if (at % 2 == 0) {
            memcpy(to, p, row_bytes);
        } else {
            for (size_t i = 0; i < row_bytes; i++) {
                to[i] = (uint8_t)(p[i] >> 4 | (2 * i + 1 < groups ? p[i + 1] << 4 : 0));
            }
        }
        if (groups % 2) {
            to[row_bytes - 1] &= 15;
        }
    }
}

/* ---------------------------------------------------------------- panels <-> units */

/* What is done with each piece of a unit: where it lies in the panels, and in the unit. */
typedef struct walk {
    unsigned char *raw, *values; /* the next one's */
    uint8_t *nibbles;            /* of the unit */
    size_t nibble;               /* the next one's first */
} walk;

typedef void visit(walk *w, const s24_piece *piece);

static void visit_pieces(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit, walk *w, visit *v)
{
    for (uint64_t number = frame->first; number < frame->first + frame->panels; number++) {
        s24_piece pieces[S24_PIECES_MAX];
        const size_t n = s24_archive_pieces(map, number, pieces);
        for (size_t i = 0; i < n; i++) {
            if (is_of(&pieces[i], unit)) {
                v(w, &pieces[i]);
            }
            w->raw += pieces[i].bytes;
        }
    }
}

static size_t value_bytes(const s24_piece *piece)
{
    return piece->values * s24_info(piece->dtype)->bytes;
}

static void gather(walk *w, const s24_piece *piece)
{
    const size_t n = value_bytes(piece);
    memcpy(w->values, w->raw, n);
    join_rows(w->nibbles, w->nibble, w->raw + n, piece->rows, piece->groups);
    w->values += n;
    w->nibble += piece->rows * piece->groups;
}

static void scatter(walk *w, const s24_piece *piece)
{
    const size_t n = value_bytes(piece);
    memcpy(w->raw, w->values, n);
    split_rows(w->raw + n, w->nibbles, w->nibble, piece->rows, piece->groups);
    w->values += n;
    w->nibble += piece->rows * piece->groups;
}

static void gather_stored(walk *w, const s24_piece *piece)
{
    memcpy(w->values, w->raw, piece->bytes);
    w->values += piece->bytes;
}

static void scatter_stored(walk *w, const s24_piece *piece)
{
    memcpy(w->raw, w->values, piece->bytes);
    w->values += piece->bytes;
}

/* What is only read is const to the callers. */
void s24_archive_gather(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                        const unsigned char *raw, unsigned char *values, uint8_t *nibbles)
{
    walk w = {.raw = (unsigned char *)(uintptr_t)raw, .values = values, .nibbles = nibbles};
    visit_pieces(map, frame, unit, &w, gather);
}

void s24_archive_scatter(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                         unsigned char *raw, const unsigned char *values, const uint8_t *nibbles)
{
    walk w = {.raw = raw, .values = (unsigned char *)(uintptr_t)values, .nibbles = (uint8_t *)(uintptr_t)nibbles};
    visit_pieces(map, frame, unit, &w, scatter);
}

void s24_archive_gather_stored(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                               const unsigned char *raw, unsigned char *stored)
{
    walk w = {.raw = (unsigned char *)(uintptr_t)raw, .values = stored};
    visit_pieces(map, frame, unit, &w, gather_stored);
}

void s24_archive_scatter_stored(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                                unsigned char *raw, const unsigned char *stored)
{
    walk w = {.raw = raw, .values = (unsigned char *)(uintptr_t)stored};
    visit_pieces(map, frame, unit, &w, scatter_stored);
}

/* ---------------------------------------------------------------- what they take */

enum { PART_POSITIONS, PART_PLANES, PART_TABLES = PART_PLANES + 8, PART_FRAMES };
_Static_assert(sizeof(s24_stored_parts) == (PART_FRAMES + 1) * sizeof(uint64_t), "parts are numbers");

/*
 * Some bytes of a frame to the entries whose pieces they are, NULL: of any unit. Rounded so that the shares are all of it.
 * No unit is empty, since no panel is.
 */
static void share(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit, uint64_t bytes,
                  unsigned part, s24_entry *entries)
{
    const uint64_t all = unit ? unit->bytes : frame->raw;
    uint64_t before = 0;
    for (uint64_t number = frame->first; number < frame->first + frame->panels; number++) {
        s24_piece pieces[S24_PIECES_MAX];
        const size_t n = s24_archive_pieces(map, number, pieces), entry = s24_archive_entry(map, number);
        uint64_t after = before;
        for (size_t i = 0; i < n; i++) {
            after += !unit || is_of(&pieces[i], unit) ? pieces[i].bytes : 0;
        }
        if (entry < map->contents->count) {
            const uint64_t share = bytes * after / all - bytes * before / all; /* below 2^63: some panels times some */
            entries[entry].coded += share;
            if (entries[entry].parts) {
                *((uint64_t *)(void *)entries[entry].parts + part) += share;
            }
        }
        before = after;
    }
}

/* What the bytes of a unit are. */
static void share_unit(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                       const s24_frame_unit *line, const unsigned char *coded, s24_entry *entries)
{
    s24_coded_sizes sizes = {0};
    if (line->codec != S24_CODEC_UNIT || !s24_unit_sizes(&unit->unit, coded, line->bytes, &sizes)) {
        for (unsigned k = 0; k < s24_info(unit->unit.dtype)->bytes; k++) {
            sizes.planes[k] = unit->unit.values;
        }
        sizes.positions = unit->bytes - s24_unit_value_bytes(&unit->unit);
    }
    share(map, frame, unit, sizes.positions, PART_POSITIONS, entries);
    for (unsigned k = 0; k < 8; k++) {
        share(map, frame, unit, sizes.planes[k], PART_PLANES + k, entries);
    }
    share(map, frame, unit, sizes.tables, PART_TABLES, entries);
}

void s24_archive_account(const s24_archive_map *map, const s24_frame *frame, const unsigned char *begin,
                         const unsigned char *payload, s24_entry *entries)
{
    s24_archive_unit units[S24_UNITS_MAX];
    uint64_t raw;
    const size_t count = s24_archive_units(map, frame->first, frame->panels, units, &raw);
    for (size_t k = 0; k < count; k++) {
        const unsigned char *at = begin + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * k;
        const s24_frame_unit line = {s24_get_u32(at), s24_get_u32(at + 4)};
        if (payload) {
            share_unit(map, frame, &units[k], &line, payload, entries);
            payload += line.bytes;
        } else {
            share(map, frame, &units[k], line.bytes, PART_FRAMES, entries);
        }
    }
    share(map, frame, NULL, s24_frame_bytes(frame) - frame->payload, PART_FRAMES, entries);
}

/* ---------------------------------------------------------------- buffers */

unsigned char *s24_bench_reserve(s24_bench *bench, unsigned k, size_t bytes, s24_error *err)
{
    if (bytes > bench->buffers[k].bytes || !bench->buffers[k].data) {
        free(bench->buffers[k].data);
        bench->buffers[k].data = s24_alloc(bytes, err);
        bench->buffers[k].bytes = bench->buffers[k].data ? bytes : 0;
    }
    return bench->buffers[k].data;
}

void s24_bench_clear(s24_bench *bench)
{
    for (unsigned k = 0; k < S24_BENCH_BUFFERS; k++) {
        free(bench->buffers[k].data);
    }
    *bench = (s24_bench){0};
}

void s24_bench_free(s24_bench *bench)
{
    while (bench) {
        s24_bench *next = bench->next;
        s24_bench_clear(bench);
        free(bench);
        bench = next;
    }
}
