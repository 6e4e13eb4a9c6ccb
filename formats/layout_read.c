/*
 * Sparse layouts as dense elements. Two of four: runs of groups, whose nibbles each layout makes in its own way and
 * which the library then unpacks like its own. Groups are counted through the whole tensor, for none crosses a row.
 * Any number: runs of rows, or of one row's columns.
 */
#include <string.h>

#include "layout.h"
#include "plain.h"

#define RUN 16384   /* groups at a time: 128 KiB of f16 */
#define UNIT 8      /* groups; runs begin at a multiple, so that their nibbles begin a byte and a word of metadata */

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---------------------------------------------------------------- two of four */

typedef struct run {
    const s24_entry *entry;
    size_t row_groups;
    unsigned char *values;     /* of 2 * RUN elements */
    uint8_t positions[RUN / 2];
    unsigned char raw[RUN + S24_CUTLASS_PIECE]; /* what the positions are made of */
} run;

/* Nibbles of groups [first, first + n) into r->positions; n <= RUN, first a multiple of UNIT. */
typedef s24_status make_positions(run *r, size_t first, size_t n, s24_error *err);

static s24_status refuse_group(const run *r, size_t group, const char *what, s24_error *err)
{
    return s24_fail(err, S24_ERR_DATA, "%s: row %zu, group %zu: %s", r->entry->name, group / r->row_groups,
                    group % r->row_groups, what);
}

static void set_nibble(uint8_t *positions, size_t group, unsigned nibble)
{
    const unsigned low = group % 2 ? positions[group / 2] & 15u : 0;
    positions[group / 2] = (uint8_t)(group % 2 ? low | nibble << 4 : nibble);
}

/* Groups [first, first + n), n <= RUN, first a multiple of UNIT. */
static s24_status unpack_groups(run *r, make_positions *make, size_t first, size_t n, unsigned plane, void *data,
                                s24_error *err)
{
    const s24_entry *const values = &r->entry->planes[plane];
    const unsigned bytes = s24_info(r->entry->dtype)->bytes;
    const s24_unpacker unpacker = s24_unpacker_of(r->entry->dtype, r->entry->dtype, values->in->io->isa);
    s24_fault fault;
    s24_status status = make(r, first, n, err);
    if (status == S24_OK) {
        const uint64_t at = values->offset + 2 * (uint64_t)first * bytes;
        status = s24_input_read(values->in, at, r->values, 2 * n * bytes, err);
    }
    if (status == S24_OK && !s24_unpack_panel(&unpacker, 1, 4 * n, r->values, r->positions, NULL, data, &fault)) {
        return refuse_group(r, first + fault.col / 4, "its metadata are not two ascending positions", err);
    }
    return status;
}

/* Whole units go straight to their place, what is less through a buffer. */
static s24_status read_groups(run *r, make_positions *make, unsigned plane, uint64_t first, size_t n,
                              unsigned char *data, s24_error *err)
{
    const unsigned bytes = s24_info(r->entry->dtype)->bytes;
    const size_t groups = (size_t)r->entry->bytes / bytes / 4;
    unsigned char part[4 * UNIT * 8] = {0};
    while (n) {
        const size_t group = (size_t)(first / (4 * UNIT)) * UNIT, skip = (size_t)(first % (4 * UNIT));
        const bool whole = skip == 0 && n >= (size_t)4 * UNIT;
        const size_t count = whole ? min_size(n / (4 * UNIT) * UNIT, RUN) : min_size(UNIT, groups - group);
        const size_t got = whole ? 4 * count : min_size(4 * count - skip, n);
        const s24_status status = unpack_groups(r, make, group, count, plane, whole ? data : part, err);
        if (status != S24_OK) {
            return status;
        }
        if (!whole) {
            memcpy(data, part + skip * bytes, got * bytes);
        }
        first += got;
        data += got * bytes;
        n -= got;
    }
    return S24_OK;
}

static s24_status read_two_of_four(const s24_entry *entry, make_positions *make, unsigned plane, uint64_t first,
                                   size_t n, void *data, s24_error *err)
{
    const size_t most = min_size(RUN, (n / 4 / UNIT + 1) * UNIT); /* a small read has small buffers */
    run *const r = s24_alloc(sizeof *r, err);
    s24_status status = S24_ERR_SYSTEM;
    if (r) {
        r->entry = entry;
        r->row_groups = entry->shape[1] / 4;
        r->values = s24_alloc(2 * most * s24_info(entry->dtype)->bytes, err);
        status = r->values ? read_groups(r, make, plane, first, n, data, err) : S24_ERR_SYSTEM;
        free(r->values);
    }
    free(r);
    return s24_fail_advise(err, status, S24_LAYOUT_ADVICE);
}

/* Four bits, the lowest the first element's, as a nibble of positions; 0, which is none, unless two are set. */
static const uint8_t nibble_of_bits[16] = {
    [1 | 2] = 0 | 1 << 2, [1 | 4] = 0 | 2 << 2, [1 | 8] = 0 | 3 << 2,
    [2 | 4] = 1 | 2 << 2, [2 | 8] = 1 | 3 << 2, [4 | 8] = 2 | 3 << 2,
};

/* Two groups a byte, a row in whole bytes. */
static s24_status bitmask_positions(run *r, size_t first, size_t n, s24_error *err)
{
    const s24_entry *const bits = &r->entry->planes[S24_BITMASK_BITS];
    const size_t row_bytes = (r->row_groups + 1) / 2, last = first + n - 1;
    size_t in_row = first % r->row_groups;
    const uint64_t from = (uint64_t)(first / r->row_groups) * row_bytes + in_row / 2;
    const uint64_t to = (uint64_t)(last / r->row_groups) * row_bytes + last % r->row_groups / 2 + 1;
    const s24_status status = s24_input_read(bits->in, bits->offset + from, r->raw, (size_t)(to - from), err);
    if (status != S24_OK) {
        return status;
    }
    const unsigned char *at = r->raw;
    for (size_t g = 0; g < n; g++) {
        const unsigned nibble = nibble_of_bits[*at >> (in_row % 2 * 4) & 15];
        if (nibble == 0) {
            return refuse_group(r, first + g, "its bits do not mark two of four", err);
        }
        set_nibble(r->positions, g, nibble);
        in_row++;
        if (in_row == r->row_groups && in_row % 2 && *at >> 4) {
            return refuse_group(r, first + g, "bits behind its row's end are set", err);
        }
        at += in_row % 2 == 0 || in_row == r->row_groups;
        in_row = in_row == r->row_groups ? 0 : in_row;
    }
    return S24_OK;
}

s24_status s24_layout_read_bitmask24(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err)
{
    return read_two_of_four(entry, bitmask_positions, S24_BITMASK_VALUES, first, n, data, err);
}

/* Where the words of a run lie: rows [row, last_row], of which pairs of columns [pair, last_pair]. */
typedef struct words {
    s24_cutlass c;
    size_t first, end; /* words, counted through the tensor */
    size_t row, last_row, pair, last_pair;
} words;

static words words_of(const run *r, size_t first, size_t n)
{
    words w = {.c = s24_cutlass_of(r->entry->shape[0], r->entry->shape[1], s24_info(r->entry->dtype)->bytes)};
    w.first = first / w.c.groups;
    w.end = (first + n + w.c.groups - 1) / w.c.groups;
    w.row = w.first / w.c.words;
    w.last_row = (w.end - 1) / w.c.words;
    w.pair = w.row == w.last_row ? w.first % w.c.words / 2 : 0;
    w.last_pair = w.row == w.last_row ? (w.end - 1) % w.c.words / 2 : w.c.words / 2 - 1;
    return w;
}

/* The words of one pair of columns, out of the bands in r->raw, into their places in the positions. */
static void take_pair(run *r, const words *w, size_t pair)
{
    const size_t first_band = w->row / w->c.band;
    for (size_t row = w->row; row <= w->last_row; row++) {
        const unsigned char *const piece = r->raw + (row / w->c.band - first_band) * S24_CUTLASS_PIECE;
        for (size_t col = 2 * pair; col < 2 * pair + 2; col++) {
            const size_t word = row * w->c.words + col;
            if (word >= w->first && word < w->end) {
                memcpy(r->positions + (word - w->first) * w->c.word_bytes,
                       piece + s24_cutlass_in_piece(&w->c, row, col) * w->c.word_bytes, w->c.word_bytes);
            }
        }
    }
}

static s24_status cutlass_positions(run *r, size_t first, size_t n, s24_error *err)
{
    const s24_entry *const meta = &r->entry->planes[S24_CUTLASS_META];
    const words w = words_of(r, first, n);
    const size_t band = w.row / w.c.band, bands = w.last_row / w.c.band - band + 1;
    for (size_t pair = w.pair; pair <= w.last_pair; pair++) {
        const s24_status status = s24_input_read(meta->in, meta->offset + s24_cutlass_piece(&w.c, band, pair), r->raw,
                                                 bands * S24_CUTLASS_PIECE, err);
        if (status != S24_OK) {
            return status;
        }
        take_pair(r, &w, pair);
    }
    return S24_OK;
}

s24_status s24_layout_read_cutlass(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err)
{
    return read_two_of_four(entry, cutlass_positions, S24_CUTLASS_VALUES, first, n, data, err);
}

/* ---------------------------------------------------------------- any number */

#define ROWS 1024          /* at a time */
#define ROW_BYTES 8192     /* of bits at a time: 65536 elements */

typedef struct scan {
    const s24_entry *entry;
    size_t rows, cols, row_bytes;
    uint64_t count;        /* of values */
    unsigned bytes;        /* an element */
    uint64_t next;         /* the value that comes next */
    uint64_t row_end;      /* the value after the row's last */
    unsigned char bits[ROW_BYTES];
    unsigned char offsets[8 * (ROWS + 1)]; /* of the rows from first_row on, and of the one behind them */
    unsigned char *values; /* of the elements of a read, at most 8 * ROW_BYTES */
} scan;

static s24_status refuse_row(const scan *s, size_t row, const char *what, s24_error *err)
{
    return s24_fail(err, S24_ERR_DATA, "%s: row %zu: %s", s->entry->name, row, what);
}

/* Where n rows begin, and the one behind them, or, behind the last, the end. */
static s24_status read_offsets(scan *s, size_t row, size_t n, s24_error *err)
{
    const s24_entry *const plane = &s->entry->planes[S24_BITMASK_OFFSETS];
    const size_t there = min_size(n + 1, s->rows - row);
    const s24_status status = s24_input_read(plane->in, plane->offset + 8 * (uint64_t)row, s->offsets, 8 * there, err);
    s24_put_u64(s->offsets + 8 * n, there > n ? s24_get_u64(s->offsets + 8 * n) : s->count);
    return status;
}

/* From the i-th of these offsets. The first row begins at 0: no value is left out. */
static s24_status begin_row(scan *s, size_t i, size_t row, s24_error *err)
{
    s->next = s24_get_u64(s->offsets + 8 * i);
    s->row_end = s24_get_u64(s->offsets + 8 * i + 8);
    if (s->next > s->row_end || s->row_end > s->count || (row == 0 && s->next != 0)) {
        return refuse_row(s, row, "its offset is not where the values of the row before it end", err);
    }
    return S24_OK;
}

/* How many of the bits [0, n) are set. */
static size_t count_bits(const unsigned char *bits, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n / 8; i++) {
        count += (size_t)__builtin_popcount(bits[i]);
    }
    return n % 8 ? count + (size_t)__builtin_popcount(bits[n / 8] & ((1u << n % 8) - 1)) : count;
}

/* Puts values where the bits [bit, bit + n) are set, into zeroed data. Returns what is left of the values. */
static const unsigned char *scatter(unsigned bytes, const unsigned char *bits, size_t bit, size_t n,
                                    const unsigned char *values, unsigned char *data)
{
    for (size_t i = 0; i < n; i++) {
        if (bits[(bit + i) / 8] >> (bit + i) % 8 & 1) {
            s24_store(data, bytes, i, s24_load(values, bytes, 0));
            values += bytes;
        }
    }
    return values;
}

static s24_status read_values(scan *s, size_t count, s24_error *err)
{
    const s24_entry *const plane = &s->entry->planes[S24_BITMASK_VALUES];
    return s24_input_read(plane->in, plane->offset + s->next * s->bytes, s->values, count * s->bytes, err);
}

/* The row's last byte has been seen, and all of its bits counted. */
static s24_status end_row(const scan *s, size_t row, unsigned char last, s24_error *err)
{
    if (s->next != s->row_end) {
        return refuse_row(s, row, "it has fewer bits than values", err);
    }
    return s->cols % 8 && last >> s->cols % 8 ? refuse_row(s, row, "bits behind its end are set", err) : S24_OK;
}

/* The bits of one row from `from` on are in s->bits: counts those before `col`, and places those from there to `to`. */
static s24_status place_columns(scan *s, size_t row, size_t from, size_t col, size_t to, unsigned char *data,
                                s24_error *err)
{
    const size_t begin = from < col ? col - from : 0, n = to - from - begin;
    s->next += count_bits(s->bits, begin);
    const size_t count = count_bits(s->bits, to - from) - count_bits(s->bits, begin);
    if (s->next > s->row_end || count > s->row_end - s->next) {
        return refuse_row(s, row, "it has more bits than values", err);
    }
    const s24_status status = read_values(s, count, err);
    if (status == S24_OK) {
        scatter(s->bytes, s->bits, begin, n, s->values, data);
    }
    s->next += count;
    return status;
}

/* Elements [col, col + n) of one row, which may be of any length: what stands before them is counted. */
static s24_status read_columns(scan *s, size_t row, size_t col, size_t n, unsigned char *data, s24_error *err)
{
    const s24_entry *const plane = &s->entry->planes[S24_BITMASK_BITS];
    const uint64_t at = plane->offset + (uint64_t)row * s->row_bytes;
    size_t got = 0;
    s24_status status = read_offsets(s, row, 1, err);
    status = status == S24_OK ? begin_row(s, 0, row, err) : status;
    for (size_t byte = 0; byte * 8 < col + n && status == S24_OK; byte += ROW_BYTES) {
        got = min_size(ROW_BYTES, s->row_bytes - byte);
        const size_t from = 8 * byte, to = min_size(from + 8 * got, col + n);
        status = s24_input_read(plane->in, at + byte, s->bits, got, err);
        if (status == S24_OK && to <= col) {
            s->next += count_bits(s->bits, to - from);
        } else if (status == S24_OK) {
            status = place_columns(s, row, from, col, to, data, err);
            data += (to - (from < col ? col : from)) * s->bytes;
        }
    }
    return status == S24_OK && col + n == s->cols ? end_row(s, row, s->bits[got - 1], err) : status;
}

/* Rows are whole, and have the values that their offsets give them. */
static s24_status check_rows(scan *s, size_t row, size_t n, s24_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char *const bits = s->bits + i * s->row_bytes;
        s24_status status = begin_row(s, i, row + i, err);
        if (status != S24_OK) {
            return status;
        }
        s->next += count_bits(bits, s->cols);
        if (s->next > s->row_end) {
            return refuse_row(s, row + i, "it has more bits than values", err);
        }
        status = end_row(s, row + i, bits[s->row_bytes - 1], err);
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

/* Whole rows, as many as fit in the buffers. */
static s24_status read_rows(scan *s, size_t row, size_t n, unsigned char *data, s24_error *err)
{
    const s24_entry *const plane = &s->entry->planes[S24_BITMASK_BITS];
    s24_status status = read_offsets(s, row, n, err);
    status = status == S24_OK ? s24_input_read(plane->in, plane->offset + (uint64_t)row * s->row_bytes, s->bits,
                                               n * s->row_bytes, err)
                              : status;
    status = status == S24_OK ? check_rows(s, row, n, err) : status;
    if (status == S24_OK) {
        const uint64_t end = s->next;
        s->next = s24_get_u64(s->offsets);
        status = read_values(s, (size_t)(end - s->next), err);
    }
    const unsigned char *values = s->values;
    for (size_t i = 0; i < n && status == S24_OK; i++) {
        values = scatter(s->bytes, s->bits + i * s->row_bytes, 0, s->cols, values, data);
        data += s->cols * s->bytes;
    }
    return status;
}

static s24_status read_elements(scan *s, uint64_t first, size_t n, unsigned char *data, s24_error *err)
{
    const size_t fit = min_size(ROWS, ROW_BYTES / s->row_bytes);
    while (n) {
        const size_t row = (size_t)(first / s->cols), col = (size_t)(first % s->cols);
        const size_t rows = col == 0 ? min_size(n / s->cols, fit) : 0;
        const size_t part = rows ? rows * s->cols : min_size(n, s->cols - col);
        const s24_status status = rows ? read_rows(s, row, rows, data, err)
                                       : read_columns(s, row, col, part, data, err);
        if (status != S24_OK) {
            return status;
        }
        first += part;
        data += part * s->bytes;
        n -= part;
    }
    return S24_OK;
}

s24_status s24_layout_read_bitmask(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err)
{
    scan *const s = s24_alloc(sizeof *s, err);
    s24_status status = S24_ERR_SYSTEM;
    if (s) {
        s->entry = entry;
        s->cols = entry->shape[entry->rank - 1];
        s->row_bytes = (s->cols + 7) / 8;
        s->rows = entry->planes[S24_BITMASK_OFFSETS].shape[0];
        s->count = entry->planes[S24_BITMASK_VALUES].shape[0];
        s->bytes = s24_info(entry->dtype)->bytes;
        s->values = s24_alloc(min_size((size_t)8 * ROW_BYTES, n) * s->bytes, err);
        memset(data, 0, n * s->bytes);
        status = s->values ? read_elements(s, first, n, data, err) : S24_ERR_SYSTEM;
        free(s->values);
    }
    free(s);
    return s24_fail_advise(err, status, S24_LAYOUT_ADVICE);
}
