/*
 * Which tensors of a file are the planes of one: found by their names, checked against each other, and replaced. The
 * readers are in layout_read.c.
 */
#include "layout.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "plain.h"

#define MAX_PLANES 4

/* A set that was found, and what shall stand for it. */
typedef struct set {
    const struct kind *kind;
    size_t index[MAX_PLANES]; /* of its planes, in the contents */
    s24_entry dense;          /* owned until it takes its place */
} set;

typedef struct kind {
    s24_layout layout;
    const char *suffix[MAX_PLANES + 1]; /* of the planes' names */
    unsigned values;                    /* which of them stands for the set */
    bool marked;                        /* only in files whose metadata say so */
    const char *dense;                  /* what the tensor's name ends in; NULL: nothing of its own */
    /* Sets dtype, rank and shape of the dense tensor; planes as in the contents. */
    s24_status (*check)(const s24_entry *const *planes, s24_entry *dense, size_t *shape, s24_error *err);
} kind;

/* ---------------------------------------------------------------- checks */

static s24_status expect_dtype(const s24_entry *plane, s24_dtype wanted, s24_error *err)
{
    return plane->dtype == wanted ? S24_OK
                                  : s24_fail(err, S24_ERR_DATA, "%s: is %s; a plane of this name is %s", plane->name,
                                             s24_dtype_name(plane->dtype), s24_dtype_name(wanted));
}

static s24_status expect_shape(const s24_entry *plane, int rank, const size_t *wanted, s24_error *err)
{
    char text[100];
    size_t used = 0;
    if (plane->rank == rank && memcmp(plane->shape, wanted, (size_t)rank * sizeof *wanted) == 0) {
        return S24_OK;
    }
    for (int d = 0; d < rank && used < sizeof text; d++) {
        used += (size_t)snprintf(text + used, sizeof text - used, d ? ", %zu" : "%zu", wanted[d]);
    }
    return s24_fail(err, S24_ERR_DATA, "%s: its shape is not [%s], which the tensor's other planes demand", plane->name,
                    text);
}

static s24_status expect_whole_bytes(const s24_entry *values, s24_error *err)
{
    return s24_info(values->dtype)->bytes ? S24_OK
                                          : s24_fail(err, S24_ERR_DATA, "%s: values of %s cannot lie in this layout",
                                                     values->name, s24_dtype_name(values->dtype));
}

/* The numbers in M.shape, a list or a column of them. */
static s24_status read_shape(const s24_entry *plane, int *rank, size_t *shape, s24_error *err)
{
    unsigned char data[8 * S24_MAX_RANK];
    s24_status status = expect_dtype(plane, S24_I64, err);
    if (status != S24_OK) {
        return status;
    }
    const bool list = plane->rank == 1 || (plane->rank == 2 && plane->shape[1] == 1);
    if (!list || plane->shape[0] == 0 || plane->shape[0] > S24_MAX_RANK) {
        return s24_fail(err, S24_ERR_DATA, "%s: is not a list of 1 to %d numbers", plane->name, S24_MAX_RANK);
    }
    *rank = (int)plane->shape[0];
    status = s24_input_read(plane->in, plane->offset, data, 8 * plane->shape[0], err);
    for (int d = 0; d < *rank && status == S24_OK; d++) {
        const int64_t extent = (int64_t)s24_get_u64(data + 8 * d);
        if (extent <= 0) {
            return s24_fail(err, S24_ERR_DATA, "%s: %lld is no extent of a tensor", plane->name, (long long)extent);
        }
        shape[d] = (size_t)extent;
    }
    return status;
}

static s24_status check_bitmask24(const s24_entry *const *planes, s24_entry *dense, size_t *shape, s24_error *err)
{
    s24_status status = read_shape(planes[S24_BITMASK_SHAPE], &dense->rank, shape, err);
    if (status == S24_OK && dense->rank != 2) {
        return s24_fail(err, S24_ERR_DATA, "%s: rank %d, but sparse-24-bitmask holds matrices only",
                        planes[S24_BITMASK_SHAPE]->name, dense->rank);
    }
    if (status == S24_OK && shape[1] % 4) { /* written by flat groups, which then cross rows */
        return s24_fail(err, S24_ERR_DATA, "%s: %zu column%s, no multiple of 4", planes[S24_BITMASK_SHAPE]->name, shape[1],
                        s24_plural(shape[1]));
    }
    dense->dtype = planes[S24_BITMASK_VALUES]->dtype;
    status = status == S24_OK ? expect_whole_bytes(planes[S24_BITMASK_VALUES], err) : status;
    status = status == S24_OK ? expect_dtype(planes[S24_BITMASK_BITS], S24_U8, err) : status;
    const size_t values[] = {shape[0], shape[1] / 2}, bits[] = {shape[0], (shape[1] + 7) / 8};
    status = status == S24_OK ? expect_shape(planes[S24_BITMASK_VALUES], 2, values, err) : status;
    return status == S24_OK ? expect_shape(planes[S24_BITMASK_BITS], 2, bits, err) : status;
}

/* All dimensions but the last are rows, whether the bits have them one by one or as one. */
static s24_status check_bitmask(const s24_entry *const *planes, s24_entry *dense, size_t *shape, s24_error *err)
{
    const s24_entry *const values = planes[S24_BITMASK_VALUES], *const bits = planes[S24_BITMASK_BITS];
    s24_status status = read_shape(planes[S24_BITMASK_SHAPE], &dense->rank, shape, err);
    if (status != S24_OK) {
        return status;
    }
    size_t rows = 1, bytes;
    bool fits = true;
    for (int d = 0; d < dense->rank - 1; d++) {
        fits = fits && s24_mul(rows, shape[d], &rows);
    }
    const size_t cols = shape[dense->rank - 1], row_bytes = cols / 8 + (cols % 8 != 0);
    if (values->rank != 1) {
        return s24_fail(err, S24_ERR_DATA, "%s: rank %d; it must be a list", values->name, values->rank);
    }
    if (!fits || !s24_mul(rows, row_bytes, &bytes) || bits->bytes != bytes || bits->rank < 1 ||
        bits->shape[bits->rank - 1] != row_bytes) {
        return s24_fail(err, S24_ERR_DATA, "%s: its shape is not a bit for every element of the tensor, its rows in "
                        "whole bytes", bits->name);
    }
    dense->dtype = values->dtype;
    status = expect_whole_bytes(values, err);
    status = status == S24_OK ? expect_dtype(bits, S24_U8, err) : status;
    status = status == S24_OK ? expect_dtype(planes[S24_BITMASK_OFFSETS], S24_I64, err) : status;
    return status == S24_OK ? expect_shape(planes[S24_BITMASK_OFFSETS], 1, &rows, err) : status;
}

static s24_status check_cutlass(const s24_entry *const *planes, s24_entry *dense, size_t *shape, s24_error *err)
{
    const s24_entry *const values = planes[S24_CUTLASS_VALUES];
    const unsigned bytes = s24_info(values->dtype)->bytes;
    if (values->dtype != S24_F16 && values->dtype != S24_BF16 && values->dtype != S24_I8) {
        return s24_fail(err, S24_ERR_DATA, "%s: is %s; this layout is of f16, bf16 and i8", values->name,
                        s24_dtype_name(values->dtype));
    }
    if (values->rank != 2 || !s24_mul(values->shape[1], 2, &shape[1]) || values->bytes == 0 ||
        !s24_cutlass_fits(values->shape[0], shape[1], bytes)) {
        return s24_fail(err, S24_ERR_DATA, "%s: its shape is none of this layout: [m, k/2], m a multiple of %u and k "
                        "of %u", values->name, bytes == 2 ? 32 : 16, bytes == 2 ? 64 : 128);
    }
    dense->dtype = values->dtype;
    dense->rank = 2;
    shape[0] = values->shape[0];
    const s24_cutlass c = s24_cutlass_of(shape[0], shape[1], bytes);
    const size_t meta[] = {c.rows, c.words};
    const s24_status status = expect_dtype(planes[S24_CUTLASS_META], bytes == 2 ? S24_I16 : S24_I32, err);
    return status == S24_OK ? expect_shape(planes[S24_CUTLASS_META], 2, meta, err) : status;
}

/* A kind whose planes are some of another's comes after it. */
static const kind kinds[] = {
    {.layout = {"sparse-bitmask", s24_layout_read_bitmask}, .values = S24_BITMASK_VALUES, .dense = S24_BITMASK_WEIGHT,
     .suffix = {".shape", ".compressed", ".bitmask", ".row_offsets"}, .check = check_bitmask},
    {.layout = {"sparse-24-bitmask", s24_layout_read_bitmask24}, .values = S24_BITMASK_VALUES,
     .dense = S24_BITMASK_WEIGHT, .suffix = {".shape", ".compressed", ".bitmask"}, .check = check_bitmask24},
    {.layout = {"cutlass", s24_layout_read_cutlass}, .values = S24_CUTLASS_VALUES, .marked = true,
     .suffix = {".packed", ".meta"}, .check = check_cutlass},
};

#define KINDS (sizeof kinds / sizeof *kinds)

/* ---------------------------------------------------------------- finding */

static size_t find_mark(const s24_contents *contents)
{
    size_t i = 0;
    while (i < contents->pairs && strcmp(contents->metadata[i].key, S24_CUTLASS_KEY) != 0) {
        i++;
    }
    return i < contents->pairs && strcmp(contents->metadata[i].value, S24_CUTLASS_VALUE) == 0 ? i : contents->pairs;
}

static bool has_mark(const s24_contents *contents)
{
    return find_mark(contents) < contents->pairs;
}

/* base (n characters of it) and suffix; NULL: *err is set. */
static char *join(const char *base, size_t n, const char *suffix, s24_error *err)
{
    const size_t m = strlen(suffix);
    char *const name = s24_calloc(n + m + 1, 1, err);
    if (name) {
        memcpy(name, base, n);
        memcpy(name + n, suffix, m);
    }
    return name;
}

/* The planes beside the values at `index`; *found only where all are there. marked: CUTLASS's mark is in its file. */
static s24_status find_planes(s24_source *source, size_t index, const kind *k, bool marked, set *s, bool *found,
                              s24_error *err)
{
    s24_contents *const c = &source->contents;
    const s24_entry *const values = &c->entries[index];
    const size_t base = strlen(values->name) - strlen(k->suffix[k->values]);
    *found = !k->marked || marked;
    s->kind = k;
    for (size_t p = 0; k->suffix[p] && *found; p++) {
        char *const name = join(values->name, base, k->suffix[p], err);
        if (!name) {
            return S24_ERR_SYSTEM;
        }
        const s24_entry *const plane = s24_source_find_entry(source, name);
        free(name);
        *found = plane && !plane->layout;
        s->index[p] = *found ? (size_t)(plane - c->entries) : 0;
    }
    return S24_OK;
}

/* Sets in the order of their values; *sets is the caller's to free, NULL when there are none. */
static s24_status find_sets(s24_source *source, set **sets, size_t *count, s24_error *err)
{
    const s24_contents *const c = &source->contents;
    const s24_source *file = NULL; /* of the entry before */
    const bool mark = has_mark(c);
    bool marked = mark;
    size_t candidates = 0;
    for (size_t i = 0; i < c->count; i++) {
        candidates += s24_ends_with(c->entries[i].name, ".compressed") || s24_ends_with(c->entries[i].name, ".packed");
    }
    *count = 0;
    *sets = candidates ? s24_calloc(candidates, sizeof **sets, err) : NULL;
    if (candidates && !*sets) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < c->count && candidates; i++) {
        bool found = false;
        if (c->entries[i].source != file) { /* metadata may be as many as tensors: once a file */
            file = c->entries[i].source;
            marked = mark || has_mark(&file->contents);
        }
        for (size_t k = 0; k < KINDS && !found; k++) {
            if (!c->entries[i].layout && s24_ends_with(c->entries[i].name, kinds[k].suffix[kinds[k].values])) {
                const s24_status status = find_planes(source, i, &kinds[k], marked, &(*sets)[*count], &found,
                                                      err);
                if (status != S24_OK) {
                    return status;
                }
            }
        }
        *count += found;
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- holding */

s24_status s24_contents_hold(const s24_contents *contents, s24_input *in, s24_error *err)
{
    uint64_t from = UINT64_MAX, to = 0;
    if (!in->stream || in->size != S24_UNKNOWN) { /* what was read to its end before any data is held already */
        return S24_OK;
    }
    for (size_t i = 0; i < contents->count; i++) {
        const s24_entry *const e = &contents->entries[i];
        assert(!e->layout); /* else all of the stream is held */
        if (e->in == in) { /* another shard has another one */
            from = e->offset < from ? e->offset : from;
            to = e->offset + e->bytes > to ? e->offset + e->bytes : to;
        }
    }
    const s24_status status = s24_input_hold(in, from, to - from, err);
    return status == S24_OK ? s24_input_expect_end(in, to, err) : status;
}

/* ---------------------------------------------------------------- replacing */

static s24_status name_dense(const set *s, const s24_entry *values, char **name, s24_error *err)
{
    const size_t base = strlen(values->name) - strlen(s->kind->suffix[s->kind->values]);
    char *const stem = join(values->name, base, "", err), *whole = NULL;
    if (stem) {
        whole = join(stem, base, s->kind->dense && !s24_ends_with(stem, s->kind->dense) ? s->kind->dense : "", err);
    }
    *name = whole ? s24_shared_text(whole, err) : NULL;
    free(whole);
    free(stem);
    return *name ? S24_OK : S24_ERR_SYSTEM;
}

/* The dense tensor's entry, with room for its planes, which stay where they are until nothing can fail any more. */
static s24_status make_dense(const s24_contents *contents, set *s, s24_error *err)
{
    const s24_entry *const values = &contents->entries[s->index[s->kind->values]];
    const s24_entry *planes[MAX_PLANES] = {NULL};
    size_t shape[S24_MAX_RANK], count = 0;
    s24_entry *const dense = &s->dense;
    s24_status status = S24_OK;
    for (; s->kind->suffix[count] && status == S24_OK; count++) {
        planes[count] = &contents->entries[s->index[count]];
        status = s24_contents_hold(contents, planes[count]->in, err);
    }
    status = status == S24_OK ? s->kind->check(planes, dense, shape, err) : status;
    status = status == S24_OK ? s24_dense_bytes(dense->dtype, dense->rank, shape, &dense->bytes, err) : status;
    status = status == S24_OK ? name_dense(s, values, &dense->name, err) : status;
    if (status != S24_OK) {
        return status;
    }
    dense->shape = s24_shared_new(shape, (size_t)dense->rank * sizeof *shape, err);
    dense->planes = s24_calloc(count, sizeof *dense->planes, err);
    if (!dense->shape || !dense->planes) {
        return S24_ERR_SYSTEM;
    }
    dense->stored = dense->dtype;
    dense->layout = &s->kind->layout;
    dense->source = values->source;
    dense->in = values->in;
    dense->offset = values->offset;
    return S24_OK;
}

static void free_set(set *s)
{
    s24_shared_free(s->dense.name);
    s24_shared_free(s->dense.shape);
    free(s->dense.planes);
}

/* Entries without a name are the planes that were taken. */
static void close_gaps(s24_contents *contents)
{
    size_t kept = 0;
    for (size_t i = 0; i < contents->count; i++) {
        if (contents->entries[i].name) {
            contents->entries[kept++] = contents->entries[i];
        }
    }
    contents->count = kept;
}

static void replace(s24_contents *contents, set *sets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s24_entry dense = sets[i].dense;
        for (; sets[i].kind->suffix[dense.plane_count]; dense.plane_count++) {
            s24_entry *const plane = &contents->entries[sets[i].index[dense.plane_count]];
            dense.planes[dense.plane_count] = *plane;
            plane->name = NULL;
        }
        contents->entries[sets[i].index[sets[i].kind->values]] = dense;
    }
    close_gaps(contents);
}

/* What is read as a dense tensor is not marked as anything else, unless some plane is left. */
void s24_layout_unmark(s24_contents *contents)
{
    const size_t mark = find_mark(contents);
    if (mark == contents->pairs) {
        return;
    }
    for (size_t i = 0; i < contents->count; i++) {
        if (s24_ends_with(contents->entries[i].name, ".packed") || s24_ends_with(contents->entries[i].name, ".meta")) {
            return;
        }
    }
    s24_shared_free(contents->metadata[mark].key);
    s24_shared_free(contents->metadata[mark].value);
    contents->pairs--;
    memmove(&contents->metadata[mark], &contents->metadata[mark + 1],
            (contents->pairs - mark) * sizeof *contents->metadata);
}

/* No tensor is there twice, dense and in planes, or in planes of two spellings. */
static s24_status expect_unique(s24_source *source, s24_error *err)
{
    const s24_contents *const c = &source->contents;
    for (size_t i = 0; i < c->count; i++) {
        const s24_entry *const e = &c->entries[i];
        if (s24_source_find_entry(source, e->name) != e) { /* of two that are equal it finds one */
            return s24_fail(err, S24_ERR_DATA, "%s: the tensor is there twice, and in a sparse layout", e->name);
        }
    }
    return S24_OK;
}

static void forget_names(s24_source *source)
{
    free(source->by_name);
    source->by_name = NULL;
}

s24_status s24_layout_apply(s24_source *source, s24_error *err)
{
    set *sets = NULL;
    size_t count = 0;
    bool cutlass = false;
    forget_names(source);
    s24_status status = find_sets(source, &sets, &count, err);
    for (size_t i = 0; i < count && status == S24_OK; i++) {
        status = make_dense(&source->contents, &sets[i], err);
        cutlass = cutlass || sets[i].kind->marked;
    }
    for (size_t i = 0; i < count && status != S24_OK; i++) {
        free_set(&sets[i]);
    }
    if (status == S24_OK && count) {
        replace(&source->contents, sets, count);
        forget_names(source);
        status = expect_unique(source, err);
    }
    if (status == S24_OK && cutlass) {
        s24_layout_unmark(&source->contents);
    }
    forget_names(source);
    free(sets);
    return s24_fail_advise(err, status, S24_LAYOUT_ADVICE);
}
