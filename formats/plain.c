/* The layout of a plain .s24 file: which bytes lie where. No I/O; reader and writer share it. */
#include "plain.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

/*
 * The same functions with AVX2 and AVX-512 where the processor has them: three times as fast as with the SSE2 of every
 * x86-64. The header is installed where the library was built with them.
 */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#include "archive.h"
#include "jsonx.h"
#include "st_header.h"

#define ALIGN 64
#define DIMENSION_MAX ((size_t)1 << 53) /* what a number of JSON holds exactly */

uint32_t s24_get_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t s24_get_u64(const unsigned char *p)
{
    return s24_get_u32(p) | (uint64_t)s24_get_u32(p + 4) << 32;
}

void s24_put_u32(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (unsigned char)(x >> (8 * i));
    }
}

void s24_put_u64(unsigned char *p, uint64_t x)
{
    s24_put_u32(p, (uint32_t)x);
    s24_put_u32(p + 4, (uint32_t)(x >> 32));
}

void s24_plain_init(s24_plain *plain)
{
    *plain = (s24_plain){.panel_groups = S24_PANEL_GROUPS, .panel_bytes = S24_PANEL_BYTES, .frame_bytes = S24_FRAME_BYTES};
}

static void free_header(s24_plain *plain)
{
    free(plain->header);
    plain->header = NULL;
}

void s24_plain_free(s24_plain *plain)
{
    free_header(plain);
    s24_contents_free(&plain->contents);
    free(plain->tool);
    free(plain->container);
    s24_plain_init(plain);
}

/* ---------------------------------------------------------------- panels */

bool s24_plain_sizes_valid(const s24_plain *plain)
{
    /* Even: a panel's positions are whole bytes. The upper bounds keep a reader's buffers small. */
    return plain->panel_groups >= 2 && plain->panel_groups % 2 == 0 && plain->panel_groups <= 1u << 24 &&
           plain->panel_bytes >= ALIGN && plain->panel_bytes % ALIGN == 0 && plain->panel_bytes <= 1u << 26;
}

s24_panels s24_plain_panels(const s24_plain *plain, const s24_entry *entry)
{
    return s24_panels_of(&entry->pruned->geometry, plain->panel_groups);
}

size_t s24_plain_carried_panels(const s24_plain *plain, const s24_entry *entry)
{
    return (size_t)(entry->bytes / plain->panel_bytes + (entry->bytes % plain->panel_bytes != 0));
}

size_t s24_plain_carried_most(const s24_plain *plain, const s24_entry *entry)
{
    return entry->bytes < plain->panel_bytes ? (size_t)entry->bytes : plain->panel_bytes;
}

size_t s24_plain_panel_count(const s24_plain *plain, const s24_entry *entry)
{
    return entry->packed ? s24_plain_panels(plain, entry).count : s24_plain_carried_panels(plain, entry);
}

size_t s24_plain_check_count(const s24_plain *plain, const s24_entry *entry)
{
    return s24_plain_panel_count(plain, entry) + (entry->packed && entry->permuted);
}

/* ---------------------------------------------------------------- planes */

static size_t row_values(const s24_entry *e, size_t groups)
{
    (void)e;
    return 2 * groups;
}

static size_t row_positions(const s24_entry *e, size_t groups)
{
    (void)e;
    return groups / 2 + groups % 2;
}

static size_t row_scales(const s24_entry *e, size_t groups)
{
    const size_t cols = groups < e->pruned->geometry.groups ? 4 * groups : e->pruned->geometry.cols;
    return s24_row_scales(cols, e->scale_group);
}

static bool has_scales(const s24_entry *e)
{
    return e->scaled;
}

/*
 * What is stored of a pruned tensor, in this order. Its shape is [rows, row], or [rows] where a row has one element by its
 * nature. The values are what a panel begins with; a stream gets the others after them.
 */
static const struct plane {
    const char *suffix;
    s24_dtype dtype;                                         /* S24_SAME: that of the stored values */
    size_t (*row)(const s24_entry *e, size_t groups);        /* elements of the first groups of a row */
    bool (*has)(const s24_entry *e);                         /* NULL: every pruned tensor has it */
} planes[S24_PLANES] = {
    [S24_VALUES] = {".s24.values", S24_SAME, row_values, NULL},
    [S24_POSITIONS] = {".s24.positions", S24_U8, row_positions, NULL},
    [S24_SCALES] = {".s24.scales", S24_F32, row_scales, has_scales},
};

s24_dtype s24_plain_plane_dtype(const s24_entry *e, int plane)
{
    return planes[plane].dtype == S24_SAME ? e->stored : planes[plane].dtype;
}

bool s24_plain_has(const s24_entry *e, int plane)
{
    return !planes[plane].has || planes[plane].has(e);
}

static uint64_t plane_bytes(const s24_entry *e, int plane)
{
    const s24_geometry *g = &e->pruned->geometry;
    return !s24_plain_has(e, plane) ? 0
        : (uint64_t)g->rows * planes[plane].row(e, g->groups) * s24_info(s24_plain_plane_dtype(e, plane))->bytes;
}

uint64_t s24_plain_offset(const s24_entry *e, int plane)
{
    uint64_t at = e->offset;
    for (int k = 0; k < plane; k++) {
        at += plane_bytes(e, k);
    }
    return at;
}

size_t s24_plain_plane_count(const s24_entry *e)
{
    size_t count = 0;
    for (int k = 0; k < S24_PLANES; k++) {
        count += s24_plain_has(e, k);
    }
    return count;
}

static size_t permutation_bytes(const s24_entry *e)
{
    return e->permuted ? e->pruned->geometry.cols * sizeof(int32_t) : 0;
}

uint64_t s24_plain_stored_bytes(const s24_entry *e)
{
    uint64_t bytes = e->packed ? permutation_bytes(e) : e->bytes;
    for (int k = 0; e->packed && k < S24_PLANES; k++) {
        bytes += plane_bytes(e, k);
    }
    return bytes;
}

s24_plain_place s24_plain_panel_place(const s24_entry *e, const s24_panel_place *place)
{
    const size_t groups = e->pruned->geometry.groups;
    s24_plain_place p = {.bytes = 0};
    for (int k = 0; k < S24_PLANES; k++) {
        const struct plane *plane = &planes[k];
        if (s24_plain_has(e, k)) {
            const unsigned bytes = s24_info(s24_plain_plane_dtype(e, k))->bytes;
            const size_t before = plane->row(e, place->group), end = plane->row(e, place->group + place->groups);
            p.plane[k].at = s24_plain_offset(e, k) + (place->row * plane->row(e, groups) + before) * bytes;
            p.plane[k].bytes = place->rows * (end - before) * bytes;
            p.bytes += p.plane[k].bytes;
        }
    }
    return p;
}

size_t s24_plain_panel_bytes(const s24_entry *e, const s24_panels *panels)
{
    const s24_panel_place first = s24_panel_at(panels, 0);
    return panels->count ? s24_plain_panel_place(e, &first).bytes : 0;
}

void *s24_plain_plane(const s24_plain_place *p, void *data, int plane)
{
    unsigned char *at = data;
    for (int k = 0; k < plane; k++) {
        at += p->plane[k].bytes;
    }
    return p->plane[plane].bytes ? at : NULL;
}

/* ---------------------------------------------------------------- checks */

uint64_t s24_plain_check(const s24_plain *plain, uint64_t offset, const void *data, size_t n)
{
    return XXH3_64bits_withSeed(data, n, plain->hash + offset);
}

static void checker_start(void *ctx)
{
    const s24_plain_checker *checker = ctx;
    XXH3_64bits_reset_withSeed(checker->state, checker->seed);
}

static void checker_add(void *ctx, const void *data, size_t bytes)
{
    const s24_plain_checker *checker = ctx;
    XXH3_64bits_update(checker->state, data, bytes);
}

s24_status s24_plain_checker_begin(s24_plain_checker *checker, const s24_plain *plain, uint64_t offset, s24_error *err)
{
    *checker = (s24_plain_checker){.tap = {.start = checker_start, .add = checker_add, .ctx = checker},
                                   .state = XXH3_createState(), .seed = plain->hash + offset};
    return checker->state ? S24_OK : s24_fail_memory(err, 0);
}

uint64_t s24_plain_checker_end(s24_plain_checker *checker)
{
    const uint64_t check = XXH3_64bits_digest(checker->state);
    XXH3_freeState(checker->state);
    return check;
}

/* How many of a row's groups, from its first on and by sixteens, are fine, its last one not among them. */
static size_t plainly_canonical(const uint8_t *positions, size_t groups)
{
    size_t g = 0;
    while (g + 16 < groups && s24_positions_valid(s24_get_u64(positions + g / 2), UINT64_C(0x1111111111111111))) {
        g += 16;
    }
    return g;
}

static bool positions_canonical(const s24_entry *entry, const s24_panel_place *place, const void *values,
                                const uint8_t *positions, s24_fault *fault)
{
    const size_t row_bytes = (place->groups + 1) / 2;
    const unsigned bytes = s24_info(entry->stored)->bytes;
    const size_t last = entry->pruned->geometry.cols - 4 * (entry->pruned->geometry.groups - 1); /* elements of a row's last group */
    const bool at_end = place->group + place->groups == entry->pruned->geometry.groups;
    for (size_t r = 0; r < place->rows; r++) {
        for (size_t g = plainly_canonical(positions + r * row_bytes, place->groups); g < 2 * row_bytes; g++) {
            const unsigned nibble = positions[r * row_bytes + g / 2] >> (g % 2 * 4) & 15;
            const bool padding = g == place->groups;
            bool ok = padding ? nibble == 0 : (nibble & 3) < nibble >> 2;
            /* Of the row's last group: a slot whose position lies beyond the row holds zero bits. */
            for (unsigned i = 0; ok && !padding && at_end && g + 1 == place->groups && i < 2; i++) {
                const unsigned position = i ? nibble >> 2 : nibble & 3;
                ok = position < last || s24_load(values, bytes, (r * place->groups + g) * 2 + i) == 0;
            }
            if (!ok) {
                *fault = (s24_fault){.kind = S24_FAULT_POSITIONS, .row = r, .col = 4 * g};
                return false;
            }
        }
    }
    return true;
}

bool s24_plain_canonical(const s24_entry *entry, const s24_panel_place *place, const void *data, s24_fault *fault)
{
    const s24_plain_place p = s24_plain_panel_place(entry, place);
    const unsigned char *positions = (const unsigned char *)data + p.plane[S24_VALUES].bytes;
    return positions_canonical(entry, place, data, positions, fault) &&
           (!entry->scaled || s24_scales_valid(positions + p.plane[S24_POSITIONS].bytes, place->rows,
                                               s24_place_cols(place, entry->pruned->geometry.cols), entry->scale_group, fault));
}

/* ---------------------------------------------------------------- metrics */

#define UNKNOWN UINT64_C(0x7ff8000000000000) /* the NaN of an error that is not known */

/* The slots are f64: counts are exact up to 2^53, which is beyond any file. */
void s24_plain_put_metrics(const s24_pruned *pruned, unsigned char slots[8 * S24_METRICS_SLOTS])
{
    const s24_sums *const s = &pruned->sums;
    const s24_output_error *const e = pruned->calibration;
    const double slot[S24_METRICS_SLOTS] = {
        (double)s->total_count, (double)s->pruned_count, (double)s->zero_count, (double)s->nonfinite_kept,
        (double)s->nonfinite_pruned, (double)s->negative_zero_count, (double)s->broken_groups, s->kept_abs,
        s->pruned_abs, s->kept_sq, s->pruned_sq, s->quant_abs, s->quant_sq, s->max_abs_error,
        e ? e->training : 0, e ? e->held_out : 0,
    };
    for (int i = 0; i < S24_METRICS_SLOTS; i++) {
        uint64_t bits = UNKNOWN;
        if (!isnan(slot[i])) {
            memcpy(&bits, &slot[i], 8);
        }
        s24_put_u64(slots + 8 * i, bits);
    }
}

static double get_slot(const unsigned char *slots, int i)
{
    const uint64_t bits = s24_get_u64(slots + 8 * i);
    double x;
    memcpy(&x, &bits, 8);
    return x;
}

/* An error of the output: UNKNOWN or not negative, nor -0; 0, and no other bits, of what was not calibrated. */
static bool get_output_error(const s24_pruned *pruned, const unsigned char *slots, int i, double *error)
{
    *error = get_slot(slots, i);
    const uint64_t bits = s24_get_u64(slots + 8 * i);
    return pruned->calibration ? bits == UNKNOWN || (*error >= 0 && !signbit(*error)) : bits == 0;
}

bool s24_plain_get_metrics(s24_pruned *pruned, const unsigned char slots[8 * S24_METRICS_SLOTS])
{
    s24_sums *const s = &pruned->sums;
    uint64_t *const counts[] = {&s->total_count, &s->pruned_count, &s->zero_count, &s->nonfinite_kept,
                                &s->nonfinite_pruned, &s->negative_zero_count, &s->broken_groups};
    double *const sums[] = {&s->kept_abs, &s->pruned_abs, &s->kept_sq, &s->pruned_sq, &s->quant_abs, &s->quant_sq,
                            &s->max_abs_error};
    for (int i = 0; i < 7; i++) {
        const double x = get_slot(slots, i);
        if (!(x >= 0 && x < 0x1p53 && x == floor(x)) || signbit(x)) { /* -0 would not come back as it was */
            return false;
        }
        *counts[i] = (uint64_t)x;
    }
    for (int i = 7; i < 14; i++) {
        *sums[i - 7] = get_slot(slots, i);
        if (!(*sums[i - 7] >= 0) || signbit(*sums[i - 7])) { /* of magnitudes; an f64 tensor's squares may overflow to infinity */
            return false;
        }
    }
    s24_output_error none = {0}, *const e = pruned->calibration ? pruned->calibration : &none;
    return get_output_error(pruned, slots, 14, &e->training) && get_output_error(pruned, slots, 15, &e->held_out);
}

/* ---------------------------------------------------------------- header */

static void describe_scales(const s24_entry *e, s24_text *text)
{
    if (e->scaled && e->scale_group) {
        s24_text_printf(text, ",\"scales\":%u", e->scale_group);
    } else if (e->scaled) {
        s24_text_printf(text, ",\"scales\":\"row\"");
    }
}

/* The text of __metadata__ "s24.tensors": what the stored planes do not tell. */
static void describe_tensors(const s24_contents *contents, s24_text *text)
{
    s24_text_add(text, "[", 1);
    for (size_t i = 0; i < contents->count; i++) {
        const s24_entry *e = &contents->entries[i];
        s24_text_printf(text, "%s{\"name\":", i ? "," : "");
        s24_text_json_string(text, e->name);
        s24_text_printf(text, ",\"dtype\":\"%s\",\"shape\":[", s24_dtype_name(e->dtype));
        for (int d = 0; d < e->rank; d++) {
            s24_text_printf(text, "%s%zu", d ? "," : "", e->shape[d]);
        }
        s24_text_printf(text, "]");
        if (e->packed) {
            s24_text_printf(text, ",\"axis\":%d,\"method\":", e->axis);
            s24_text_json_string(text, e->method);
            describe_scales(e, text);
            s24_text_printf(text, "%s", e->permuted ? ",\"permuted\":true" : "");
        }
        if (e->packed && e->pruned->calibration) {
            s24_text_printf(text, ",\"calibration\":{\"samples\":%llu,\"held_out\":%llu}",
                            (unsigned long long)e->pruned->calibration->samples,
                            (unsigned long long)e->pruned->calibration->held_out_samples);
        }
        if (e->fortran) {
            s24_text_printf(text, ",\"order\":\"F\"");
        }
        if (e->big_endian) {
            s24_text_printf(text, ",\"endian\":\"big\"");
        }
        if (e->reason) {
            s24_text_printf(text, ",\"reason\":");
            s24_text_json_string(text, e->reason);
        }
        s24_text_add(text, "}", 1);
    }
    s24_text_add(text, "]", 1);
}

static void describe_file(const s24_plain *plain, s24_text *text)
{
    s24_text_printf(text, "{\"tool\":");
    s24_text_json_string(text, plain->tool);
    s24_text_printf(text, ",\"container\":");
    s24_text_json_string(text, plain->container);
    s24_text_add(text, "}", 1);
}

/* How a file is laid out: a pass over what it stores, in its order, which writes the header or compares one that exists. */
typedef struct layout {
    s24_plain *plain;
    s24_text *text;               /* of the header so far, while it is written */
    const s24_contents *expected; /* what a header lists, while that is compared; otherwise NULL */
    size_t matched;               /* of these */
    uint64_t at;                  /* where the next stored tensor begins */
} layout;

/* One more of the metadata. */
static void write_pair(s24_text *text, const char *prefix, const char *key, const char *value)
{
    s24_text whole = {0};
    s24_text_printf(&whole, "%s%s", prefix, key);
    s24_text_add(text, ",", 1);
    s24_text_json_string(text, whole.failed ? "" : whole.text);
    s24_text_add(text, ":", 1);
    s24_text_json_string(text, value);
    text->failed = text->failed || whole.failed;
    s24_text_free(&whole);
}

/* A pair whose value was put together, and is freed. */
static void write_own_pair(s24_text *text, const char *key, s24_text *value)
{
    write_pair(text, "", key, value->failed ? "" : value->text);
    text->failed = text->failed || value->failed;
    s24_text_free(value);
}

static bool is_scaled(const s24_entry *e)
{
    return e->scaled;
}

static bool is_permuted(const s24_entry *e)
{
    return e->permuted;
}

/* What a reader must know: names between single blanks. */
static void describe_needs(const s24_contents *contents, s24_text *text)
{
    static const struct {
        const char *name;
        bool (*needed)(const s24_entry *e);
    } features[] = {{S24_NEEDS_SCALES, is_scaled}, {S24_NEEDS_PERM, is_permuted}};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++) {
        bool needed = false;
        for (size_t i = 0; i < contents->count && !needed; i++) {
            needed = contents->entries[i].packed && features[f].needed(&contents->entries[i]);
        }
        if (needed) {
            s24_text_printf(text, "%s%s", text->length ? " " : "", features[f].name);
        }
    }
}

/* Our keys first, so that the file shows itself in its first bytes; then the user's, out of the way of ours. */
static void write_metadata(const s24_plain *plain, s24_text *text)
{
    s24_text value = {0};
    s24_text_printf(text, "\"__metadata__\":{\"s24\":\"1\"");
    s24_text_printf(&value, "{\"panel_groups\":%zu,\"panel_bytes\":%zu}", plain->panel_groups, plain->panel_bytes);
    write_own_pair(text, "s24.layout", &value);
    describe_file(plain, &value);
    write_own_pair(text, "s24.file", &value);
    describe_tensors(&plain->contents, &value);
    write_own_pair(text, "s24.tensors", &value);
    describe_needs(&plain->contents, &value);
    if (value.length || value.failed) {
        write_own_pair(text, "s24.needs", &value);
    }
    for (size_t i = 0; i < plain->contents.pairs; i++) {
        const s24_pair *pair = &plain->contents.metadata[i];
        write_pair(text, strncmp(pair->key, "s24", 3) == 0 ? "s24.user." : "", pair->key, pair->value);
    }
    s24_text_add(text, "}", 1);
}

/* A stored tensor: that of `name` + `suffix`. */
typedef struct part {
    const char *name, *suffix;
    s24_dtype dtype;
    int rank;
    const size_t *shape;
} part;

/* The next one that the header lists is this, there. */
static s24_status match_stored(layout *l, const part *p, uint64_t bytes, s24_error *err)
{
    if (l->matched == l->expected->count) {
        return s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: it has tensors too few");
    }
    const s24_entry *e = &l->expected->entries[l->matched++];
    const size_t n = strlen(p->name);
    const bool same = strncmp(e->name, p->name, n) == 0 && strcmp(e->name + n, p->suffix) == 0 && e->dtype == p->dtype &&
                      e->rank == p->rank && e->offset == l->at && e->bytes == bytes &&
                      (p->rank == 0 || memcmp(e->shape, p->shape, (size_t)p->rank * sizeof *p->shape) == 0);
    return same ? S24_OK : s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: %s is not what s24.tensors says",
                                    e->name);
}

static s24_status write_stored(const layout *l, const part *p, uint64_t bytes, s24_error *err)
{
    const uint64_t begin = l->at - l->plain->header_bytes;
    s24_text whole = {0};
    s24_text_printf(&whole, "%s%s", p->name, p->suffix);
    s24_text_add(l->text, ",", 1);
    s24_st_header_write_tensor(l->text, whole.failed ? "" : whole.text, p->dtype, p->rank, p->shape, begin, begin + bytes);
    const bool failed = whole.failed || l->text->failed;
    s24_text_free(&whole);
    return failed ? s24_fail_memory(err, l->text->length) : S24_OK;
}

/* Behind everything before it. */
static s24_status add_stored(layout *l, const part *p, uint64_t *offset, s24_error *err)
{
    uint64_t bytes;
    size_t end;
    s24_status status = s24_dense_bytes(p->dtype, p->rank, p->shape, &bytes, err);
    if (status != S24_OK) {
        return status;
    }
    if (!s24_add((size_t)l->at, (size_t)bytes, &end)) {
        return s24_fail(err, S24_ERR_DATA, "the file would be too large");
    }
    status = l->expected ? match_stored(l, p, bytes, err) : write_stored(l, p, bytes, err);
    *offset = l->at;
    l->at = end;
    return status;
}

/* Plain bytes. */
static s24_status add_bytes(layout *l, const char *name, const char *suffix, size_t n, uint64_t *offset, s24_error *err)
{
    return add_stored(l, &(part){name, suffix, S24_U8, 1, &n}, offset, err);
}

/* A u64 a panel and for a permutation, zeros, a u64 over this section, up to the next multiple of 64. */
static s24_status add_checks(layout *l, const char *name, s24_entry *entry, s24_error *err)
{
    const uint64_t need = l->at + 8 * (uint64_t)s24_plain_check_count(l->plain, entry) + 8;
    const uint64_t end = (need + ALIGN - 1) / ALIGN * ALIGN;
    entry->checks_bytes = end - l->at;
    return add_bytes(l, name, ".s24.checks", (size_t)entry->checks_bytes, &entry->checks, err);
}

static s24_status add_planes(layout *l, s24_entry *e, s24_error *err)
{
    const s24_geometry *g = &e->pruned->geometry;
    uint64_t at; /* of what follows the values: s24_plain_offset says it */
    s24_status status = e->scaled ? s24_scales_check(g, e->scale_group, l->plain->panel_groups, err) : S24_OK;
    status = status == S24_OK && e->permuted ? s24_permutable(g, l->plain->panel_groups, err) : status;
    for (int k = 0; k < S24_PLANES && status == S24_OK; k++) {
        const bool one = k == S24_SCALES && e->scale_group == 0;
        const size_t row = planes[k].row(e, g->groups), shape[2] = {one ? g->rows * row : g->rows, row};
        if (s24_plain_has(e, k)) {
            const part p = {e->name, planes[k].suffix, s24_plain_plane_dtype(e, k), one ? 1 : 2, shape};
            status = add_stored(l, &p, k == S24_VALUES ? &e->offset : &at, err);
        }
    }
    return status == S24_OK && e->permuted
        ? add_stored(l, &(part){e->name, ".s24.perm", S24_I32, 1, &g->cols}, &at, err) : status;
}

static s24_status add_tensor(layout *l, s24_entry *e, s24_error *err)
{
    s24_status status;
    for (int d = 0; d < e->rank; d++) { /* only an array without elements can have such a one */
        if (e->shape[d] > DIMENSION_MAX) {
            return s24_fail(err, S24_ERR_DATA, "a dimension of %zu is more than a .s24 can describe", e->shape[d]);
        }
    }
    if (e->packed) {
        status = add_planes(l, e, err);
    } else {
        const char *suffix = strstr(e->name, ".s24.") ? ".s24.dense" : "";
        status = add_stored(l, &(part){e->name, suffix, e->dtype, e->rank, e->shape}, &e->offset, err);
    }
    return status == S24_OK ? add_checks(l, e->name, e, err) : status;
}

/* All stored tensors; the header itself has header_bytes bytes. */
static s24_status add_all(layout *l, s24_error *err)
{
    s24_plain *const plain = l->plain;
    uint64_t head;
    size_t pruned = 0;
    l->at = plain->header_bytes;
    s24_status status = add_bytes(l, "", ".s24.head", S24_RECORD_BYTES, &head, err);
    for (size_t i = 0; i < plain->contents.count && status == S24_OK; i++) {
        pruned += plain->contents.entries[i].packed;
        status = add_tensor(l, &plain->contents.entries[i], err);
    }
    s24_entry *const m = &plain->metrics;
    const size_t shape[2] = {pruned, S24_METRICS_SLOTS};
    *m = (s24_entry){.dtype = S24_F64, .bytes = 8 * S24_METRICS_SLOTS * (uint64_t)pruned};
    status = status == S24_OK ? add_stored(l, &(part){".s24.metrics", "", S24_F64, 2, shape}, &m->offset, err) : status;
    status = status == S24_OK ? add_checks(l, ".s24.metrics", m, err) : status;
    status = status == S24_OK ? add_bytes(l, ".s24.header", "", plain->header_bytes, &plain->copy, err) : status;
    status = status == S24_OK ? add_bytes(l, ".s24.tail", "", S24_RECORD_BYTES, &plain->tail, err) : status;
    plain->file_size = l->at;
    return status;
}

static s24_status too_long(s24_error *err)
{
    return s24_fail(err, S24_ERR_DATA, "too many tensors, or too long names: the header would be beyond safetensors' "
                    "100,000,000 bytes; split the model");
}

/* The header's bytes, padded with spaces, where it is header_bytes long; all offsets are set. */
static s24_status make_header(s24_plain *plain, s24_text *text, s24_error *err)
{
    static const char spaces[ALIGN + 1] = "                                                                ";
    layout l = {.plain = plain, .text = text};
    text->length = 0;
    s24_text_add(text, "\0\0\0\0\0\0\0\0{", 9);
    write_metadata(plain, text);
    const s24_status status = add_all(&l, err);
    if (status != S24_OK) {
        return status;
    }
    s24_text_add(text, "}", 1);
    s24_text_add(text, spaces, (ALIGN - text->length % ALIGN) % ALIGN);
    if (text->failed) {
        return s24_fail_memory(err, text->length);
    }
    if (text->length - 8 > S24_ST_HEADER_MAX) {
        return too_long(err);
    }
    s24_put_u64((unsigned char *)text->text, text->length - 8);
    return S24_OK;
}

/* Before anything of it is made: a header has at least so many bytes. Every name is in it once more than it has planes. */
static bool surely_too_long(const s24_contents *contents)
{
    static const char described[] = "{'name':'','dtype':'f32','shape':[]},", stored[] = "'':{'dtype':'U8','shape':[0],"
                                    "'data_offsets':[0,0]},";
    size_t least = 0;
    for (size_t i = 0; i < contents->count && least <= S24_ST_HEADER_MAX; i++) {
        const s24_entry *e = &contents->entries[i];
        const size_t parts = 1 + (e->packed ? s24_plain_plane_count(e) + e->permuted : 1); /* with the checks */
        least += sizeof described - 1 + parts * (sizeof stored - 1) + (parts + 1) * strlen(e->name);
    }
    return least > S24_ST_HEADER_MAX;
}

/* What was made is JSON: names may come from a .npz, and two stored tensors of one name are a file nobody can open. */
static s24_status try_header(const s24_text *text, s24_error *err)
{
    const s24_status status = s24_json_check(text->text + 8, text->length - 8, err);
    return status == S24_ERR_DATA ? s24_fail_prefix(err, status, "a name or metadata that a .s24 cannot hold: ") : status;
}

s24_status s24_plain_lay_out(s24_plain *plain, s24_error *err)
{
    if (!s24_plain_sizes_valid(plain)) {
        return s24_fail(err, S24_ERR_USAGE, "panels of %zu group%s and %zu byte%s are not possible", plain->panel_groups,
                        s24_plural(plain->panel_groups), plain->panel_bytes, s24_plural(plain->panel_bytes));
    }
    if (!plain->tool || !plain->container) { /* the copies of him who filled them in */
        return s24_fail_memory(err, 0);
    }
    if (surely_too_long(&plain->contents)) {
        return too_long(err);
    }
    /*
     * The header holds its own length (as the shape of its copy). Begin with none and lay out again with the length that
     * came out, until it stays: lengths only grow, by a digit of that number, so this ends after three rounds.
     */
    s24_text text = {0};
    s24_status status;
    free_header(plain);
    plain->header_bytes = 0;
    for (;;) {
        status = make_header(plain, &text, err);
        if (status != S24_OK || text.length == plain->header_bytes) {
            break;
        }
        plain->header_bytes = text.length;
    }
    status = status == S24_OK ? try_header(&text, err) : status;
    if (status != S24_OK) {
        s24_text_free(&text);
        return status;
    }
    plain->header = text.text;
    plain->hash = XXH3_64bits(plain->header, plain->header_bytes);
    return S24_OK;
}

s24_status s24_plain_lay_out_as(s24_plain *plain, char *header, size_t header_bytes, const s24_contents *stored,
                                s24_error *err)
{
    layout l = {.plain = plain, .expected = stored};
    assert(stored); /* or it would be written */
    free_header(plain);
    plain->header = header;
    plain->header_bytes = header_bytes;
    plain->hash = XXH3_64bits(header, header_bytes);
    const s24_status status = add_all(&l, err);
    return status != S24_OK || l.matched == stored->count
        ? status : s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: it has tensors too many");
}

s24_status s24_plain_lay_out_again(s24_plain *plain, s24_error *err)
{
    char *const header = plain->header;
    const size_t n = plain->header_bytes;
    s24_contents stored = {0};
    uint64_t end;
    s24_status status = s24_st_header_parse(header + 8, n - 8, n, &stored, &end, err);
    if (status == S24_OK) {
        plain->header = NULL;
        status = s24_plain_lay_out_as(plain, header, n, &stored, err);
    }
    s24_contents_free(&stored);
    return status;
}

void s24_plain_record(const s24_plain *plain, const char *magic, unsigned char record[S24_RECORD_BYTES])
{
    memset(record, 0, S24_RECORD_BYTES);
    memcpy(record, magic, 8); /* with its NUL */
    s24_put_u32(record + 8, S24_PLAIN_VERSION);
    s24_put_u32(record + 12, 0);
    s24_put_u64(record + 16, plain->header_bytes);
    s24_put_u64(record + 24, plain->file_size);
    s24_put_u64(record + 32, plain->hash);
    s24_put_u64(record + 40, plain->copy);
    s24_put_u64(record + 48, 0);
    s24_put_u64(record + 56, XXH3_64bits(record, 56));
}
