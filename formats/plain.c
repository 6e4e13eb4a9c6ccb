/*
 * A plain .s24 file: panels, planes, checks, metrics, head and tail, as reader and writer share them. No I/O; where the
 * tensors lie is plain_header.c's.
 */
#include "plain.h"

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

void s24_plain_free(s24_plain *plain)
{
    s24_deflated_free(&plain->header);
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
           plain->panel_bytes >= S24_PLAIN_ALIGN && plain->panel_bytes % S24_PLAIN_ALIGN == 0 && plain->panel_bytes <= 1u << 26;
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

const char *s24_plain_plane_suffix(int plane)
{
    return planes[plane].suffix;
}

int s24_plain_plane_shape(const s24_entry *e, int plane, size_t shape[2])
{
    const s24_geometry *g = &e->pruned->geometry;
    const size_t row = planes[plane].row(e, g->groups);
    const bool one = plane == S24_SCALES && e->scale_group == 0;
    shape[0] = one ? g->rows * row : g->rows;
    shape[1] = row;
    return one ? 1 : 2;
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

/* ---------------------------------------------------------------- head and tail */

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
