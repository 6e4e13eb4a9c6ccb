/* Plain .s24 files made from nothing but a seed, and their checks, set right for whatever they hold. */
#ifndef S24_FUZZ_MADE_H
#define S24_FUZZ_MADE_H

#include <xxhash.h>

#include "fuzz.h"
#include "plain.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define MOST 60000 /* bytes: a pipe holds them */

/* ---------------------------------------------------------------- the layout of a file in memory */

/* NULL, and closed: its header says nothing that can be believed. */
static s24_source *parsed(s24_source *source)
{
    s24_error err = {0};
    const s24_status status = s24_source_parse(source, &err);
    require_told(status, &err);
    if (status != S24_OK) {
        s24_source_close(source);
        return NULL;
    }
    return source;
}

/* Lenient: the size need not be what the header says. */
static s24_source *parse_as(const uint8_t *data, size_t n, bool lenient)
{
    static const s24_read_options options[] = {{.salvage = false}, {.salvage = true}};
    return parsed(source_of(&s24_format_s24, &options[lenient], data, n));
}

static s24_source *parse(const uint8_t *data, size_t n)
{
    return parse_as(data, n, true);
}

/* All checks of an entry, for the data at hand. */
static void seal_entry(const s24_plain *plain, const s24_entry *e, uint8_t *data)
{
    static uint8_t planes[MOST];
    for (size_t i = 0; i < s24_plain_panel_count(plain, e); i++) {
        const uint64_t from = i * plain->panel_bytes, left = e->bytes - from;
        s24_plain_place p = {.plane[S24_VALUES] = {e->offset + from, left < plain->panel_bytes ? left : plain->panel_bytes}};
        size_t n = 0;
        if (e->packed) {
            const s24_panels panels = s24_plain_panels(plain, e);
            const s24_panel_place place = s24_panel_at(&panels, i);
            p = s24_plain_panel_place(e, &place);
        }
        for (int k = 0; k < S24_PLANES; n += p.plane[k++].bytes) {
            memcpy(planes + n, data + p.plane[k].at, p.plane[k].bytes);
        }
        s24_put_u64(data + e->checks + 8 * i, s24_plain_check(plain, p.plane[S24_VALUES].at, planes, n));
    }
    if (e->packed && e->permuted) {
        s24_put_u64(data + e->checks + 8 * s24_plain_panel_count(plain, e),
                    s24_plain_check(plain, s24_plain_offset(e, S24_PLANES), data + s24_plain_offset(e, S24_PLANES), e->pruned->geometry.cols * sizeof(int32_t)));
    }
    const size_t n = (size_t)e->checks_bytes - 8;
    s24_put_u64(data + e->checks + n, s24_plain_check(plain, e->checks, data + e->checks, n));
}

static void seal_data(const s24_plain *plain, const s24_contents *contents, uint8_t *data)
{
    for (size_t i = 0; i < contents->count; i++) {
        seal_entry(plain, &contents->entries[i], data);
    }
    seal_entry(plain, &plain->metrics, data);
}

/* Head, copy and tail for whatever header the file has; false: it has no room for them. */
static bool seal_header(uint8_t *data, size_t n)
{
    const uint64_t header = n >= 8 ? s24_get_u64(data) + 8 : 0;
    if (header < 64 || header > n || n < 2 * header + 128) {
        return false;
    }
    s24_plain plain = {.header_bytes = (size_t)header, .file_size = n, .copy = n - 64 - header,
                       .hash = XXH3_64bits(data, (size_t)header)};
    memcpy(data + plain.copy, data, (size_t)header);
    s24_plain_record(&plain, "S24HEAD", data + header);
    s24_plain_record(&plain, "S24TAIL", data + n - 64);
    return true;
}

/* ---------------------------------------------------------------- making and changing files */

static uint64_t state;

static uint32_t pick(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static void add_entry(s24_contents *contents)
{
    static const char *const names[] = {"w", "", "a.s24.values", "\xc3\xa9", "b", "\"\\", "layer.0.weight"};
    const s24_dtype dtype = (s24_dtype)(S24_F64 + pick(S24_DTYPES - S24_F64)),
                    other = (s24_dtype)(S24_F64 + pick(S24_DTYPES - S24_F64));
    const int rank = (int)pick(4);
    size_t shape[4];
    for (int d = 0; d < rank; d++) {
        shape[d] = pick(8) ? pick(7) : pick(70);
    }
    s24_entry *const e = s24_contents_add(contents, names[pick(COUNT(names))], dtype, rank, shape, NULL);
    if (!e || !s24_dtype_prunable(dtype) || pick(3) == 0) {
        return;
    }
    e->stored = pick(4) == 0 && s24_dtype_convertible(dtype, other) ? other : dtype;
    if (pick(4) == 0 && s24_dtype_scaled(dtype, other)) {
        e->stored = other;
        e->scaled = true;
        e->scale_group = pick(2) ? S24_SCALE_GROUP : 0;
    }
    s24_entry_pack(e, rank ? (int)pick((uint32_t)rank) : 0, NULL);
    e->method = e->packed ? s24_shared_text("magnitude", NULL) : NULL;
    e->reason = pick(2) ? s24_shared_text("why", NULL) : NULL;
}

/* Planes as they may be: pairs in order, nothing in the padding, scales of 1 and, seldom, of anything. */
static void fill_entry(const s24_entry *e, uint8_t *data)
{
    static const uint8_t pairs[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};
    const s24_geometry *const g = e->packed ? &e->pruned->geometry : NULL;
    const unsigned bytes = s24_info(e->stored)->bytes;
    for (size_t i = 0; !e->packed && i < e->bytes; i++) {
        data[e->offset + i] = (uint8_t)pick(256);
    }
    for (size_t i = 0; e->packed && i < g->rows * g->groups; i++) {
        const size_t row = i / g->groups, group = i % g->groups, left = g->cols - 4 * group;
        const unsigned pair = left < 4 ? 0x4 : pairs[pick(COUNT(pairs))];
        data[s24_plain_offset(e, S24_POSITIONS) + row * g->row_positions + group / 2] |= (uint8_t)(pair << (group % 2 * 4));
        for (size_t k = 0; k < (left < 2 ? bytes : 2 * bytes); k++) {
            data[e->offset + 2 * i * bytes + k] = (uint8_t)pick(256);
        }
    }
    for (size_t i = 0; e->packed && e->scaled && i < g->rows * s24_row_scales(g->cols, e->scale_group); i++) {
        s24_put_u32(data + s24_plain_offset(e, S24_SCALES) + 4 * i, pick(64) ? 0x3f800000 : pick(UINT32_MAX));
    }
}

static void fill_file(s24_plain *plain, uint8_t *data)
{
    size_t slot = 0;
    memset(data, 0, (size_t)plain->file_size);
    REQUIRE(s24_inflate(&plain->header, data, NULL) == S24_OK);
    for (size_t i = 0; i < plain->contents.count; i++) {
        s24_entry *const e = &plain->contents.entries[i];
        fill_entry(e, data);
        if (e->packed) {
            e->pruned->sums = (s24_sums){.total_count = e->pruned->geometry.num_elements, .pruned_count = pick(2), .kept_abs = 1};
            s24_plain_put_metrics(e->pruned, data + plain->metrics.offset + 8 * S24_METRICS_SLOTS * slot++);
        }
    }
    seal_data(plain, &plain->contents, data);
    REQUIRE(seal_header(data, (size_t)plain->file_size));
}

/* A valid file; 0: it came out too long, or with two tensors of one name. */
static size_t make_file(uint8_t *data, size_t most)
{
    static const char *const containers[] = {"safetensors", "npy", "json", "raw", "none"};
    s24_plain plain;
    size_t n = 0;
    s24_plain_init(&plain);
    plain.panel_groups = 2 * (size_t)(1 + pick(4));
    plain.panel_bytes = 64 * (size_t)(1 + pick(3));
    plain.tool = strdup("fuzz");
    plain.container = strdup(containers[pick(COUNT(containers))]);
    for (uint32_t i = pick(4); i > 0; i--) {
        add_entry(&plain.contents);
    }
    if (pick(2)) {
        s24_contents_add_pair(&plain.contents, pick(2) ? "s24x" : "format", "pt", NULL);
    }
    if (s24_plain_lay_out(&plain, NULL) == S24_OK && plain.file_size <= most) {
        n = (size_t)plain.file_size;
        fill_file(&plain, data);
    }
    s24_plain_free(&plain);
    return n;
}

#endif
