#include "sparse.h"

#include <string.h>

#include "safetensors.h"

#define VALUES_BYTES 65536
#define STEP 2048          /* groups at a time: 2 * STEP values of 8 bytes fit in VALUES_BYTES */
#define COPY_BYTES (1u << 20)

/* ---------------------------------------------------------------- the plan */

static s24_status add_mark(const s24_sparse_kind *kind, s24_contents *stored, s24_error *err)
{
    for (size_t i = 0; i < stored->pairs; i++) {
        const s24_pair *const pair = &stored->metadata[i];
        if (strcmp(pair->key, kind->mark_key) == 0) {
            return strcmp(pair->value, kind->mark_value) == 0
                       ? S24_OK
                       : s24_fail(err, S24_ERR_DATA, "its metadata say already \"%s\": \"%s\", which must be \"%s\" in "
                                  "this layout", kind->mark_key, pair->value, kind->mark_value);
        }
    }
    return s24_contents_add_pair(stored, kind->mark_key, kind->mark_value, err);
}

/* first: of each planned entry its first stored one; NULL: not wanted. */
static s24_status expand(const s24_sparse_kind *kind, const s24_contents *plan, s24_contents *stored, size_t *first,
                         s24_error *err)
{
    bool any = false;
    s24_status status = S24_OK;
    for (size_t i = 0; i < plan->count && status == S24_OK; i++) {
        const s24_entry *const e = &plan->entries[i];
        if (first) {
            first[i] = stored->count;
        }
        if (e->packed) {
            status = kind->planes(e, stored, err);
        } else if (!s24_contents_add_like(stored, e, e->dtype, err)) {
            status = S24_ERR_SYSTEM;
        }
        any = any || e->packed;
    }
    for (size_t i = 0; i < plan->pairs && status == S24_OK; i++) {
        status = s24_contents_keep_pair(stored, &plan->metadata[i], err);
    }
    return status == S24_OK && any && kind->mark_key ? add_mark(kind, stored, err) : status;
}

s24_status s24_sparse_expand(const s24_sparse_kind *kind, const s24_contents *plan, s24_contents *stored,
                             s24_error *err)
{
    return expand(kind, plan, stored, NULL, err);
}

static s24_status write_header(s24_sink *sink, s24_sparse *s, s24_error *err)
{
    s24_text header = {0};
    s24_status status = s24_safetensors_header(&s->stored, &header, err);
    status = status == S24_OK ? s24_output_write(sink->out, 0, header.text, header.length, err) : status;
    s24_text_free(&header);
    for (size_t i = 0; i < sink->contents.count && status == S24_OK; i++) {
        sink->contents.entries[i].offset = s->stored.entries[s->first[i]].offset;
    }
    return status;
}

s24_status s24_sparse_create(const s24_sparse_kind *kind, s24_sink *sink, s24_error *err)
{
    s24_sparse *const s = s24_calloc(1, sizeof *s, err);
    if (!s) {
        return S24_ERR_SYSTEM;
    }
    sink->state = s;
    s->kind = kind;
    s->out = sink->out;
    s24_spool_init(&s->spool, sink->io);
    s->first = s24_calloc(sink->contents.count, sizeof *s->first, err);
    s->values = s24_alloc(VALUES_BYTES, err);
    s24_status status = s->first && s->values ? S24_OK : S24_ERR_SYSTEM;
    status = status == S24_OK ? s24_safetensors_name_lone(&sink->contents, err) : status;
    status = status == S24_OK ? expand(kind, &sink->contents, &s->stored, s->first, err) : status;
    return status == S24_OK ? write_header(sink, s, err) : status;
}

/* ---------------------------------------------------------------- groups */

/*
 * The positions that a group keeps, by which of its elements are not zero: those, and the zeros of the lowest index
 * where they are fewer than two. 0: more than two.
 */
static const uint8_t kept_of_nonzero[16] = {
    [0] = 0 | 1 << 2,     [1] = 0 | 1 << 2,     [2] = 0 | 1 << 2,     [4] = 0 | 2 << 2,
    [8] = 0 | 3 << 2,     [1 | 2] = 0 | 1 << 2, [1 | 4] = 0 | 2 << 2, [1 | 8] = 0 | 3 << 2,
    [2 | 4] = 1 | 2 << 2, [2 | 8] = 1 | 3 << 2, [4 | 8] = 2 | 3 << 2,
};

/* Inlined with a constant width. mask: the bits that make an element other than zero. */
static inline size_t compress_width(unsigned width, uint64_t mask, const unsigned char *data, size_t n,
                                    unsigned char *values, uint8_t *nibbles)
{
    for (size_t g = 0; g < n; g++) {
        uint64_t bits[4];
        unsigned nonzero = 0;
        for (unsigned i = 0; i < 4; i++) {
            bits[i] = s24_load(data, width, 4 * g + i);
            bits[i] = bits[i] & mask ? bits[i] : 0;
            nonzero |= (unsigned)(bits[i] != 0) << i;
        }
        nibbles[g] = kept_of_nonzero[nonzero];
        if (nibbles[g] == 0) {
            return g;
        }
        s24_store(values, width, 2 * g, bits[nibbles[g] & 3]);
        s24_store(values, width, 2 * g + 1, bits[nibbles[g] >> 2]);
    }
    return n;
}

/* Returns how many groups are two of four, up to n; -0.0 is a zero and becomes +0.0. */
static size_t compress(const s24_dtype_info *info, const unsigned char *data, size_t n, unsigned char *values,
                       uint8_t *nibbles)
{
    const bool is_float = info->kind == S24_KIND_IEEE || info->kind == S24_KIND_FN;
    const uint64_t mask = is_float ? info->magnitude_mask : UINT64_MAX;
    switch (info->bytes) {
    case 1: return compress_width(1, mask, data, n, values, nibbles);
    case 2: return compress_width(2, mask, data, n, values, nibbles);
    case 4: return compress_width(4, mask, data, n, values, nibbles);
    default: return compress_width(8, mask, data, n, values, nibbles);
    }
}

static s24_status flush_values(s24_sparse *s, s24_error *err)
{
    const s24_status status = s24_output_write(s->out, s->values_at, s->values, s->values_bytes, err);
    s->values_at += s->values_bytes;
    s->values_bytes = 0;
    return status;
}

static s24_status put_groups(s24_sparse *s, const unsigned char *data, size_t n, s24_error *err)
{
    const s24_dtype_info *const info = s24_info(s->entry->dtype);
    uint8_t nibbles[STEP];
    s24_status status = S24_OK;
    while (n && status == S24_OK) {
        const size_t room = (VALUES_BYTES - s->values_bytes) / (2 * info->bytes), most = room < STEP ? room : STEP;
        const size_t step = n < most ? n : most;
        const size_t good = compress(info, data, step, s->values + s->values_bytes, nibbles);
        if (good < step) {
            return s24_fail(err, S24_ERR_DATA, "%s: row %zu, group %zu is not 2:4; s24 prune makes it so",
                            s->entry->name, (s->group + good) / s->row_groups, (s->group + good) % s->row_groups);
        }
        status = s->kind->positions(s, nibbles, step, err);
        s->group += step;
        s->values_bytes += 2 * step * info->bytes;
        data += 4 * step * info->bytes;
        n -= step;
        if (status == S24_OK && VALUES_BYTES - s->values_bytes < 2 * info->bytes) {
            status = flush_values(s, err);
        }
    }
    return status;
}

/* ---------------------------------------------------------------- a tensor */

s24_status s24_sparse_put(s24_sparse *s, uint64_t at, const void *data, size_t n, s24_error *err)
{
    const s24_entry *const plane = &s->planes[s->kind->plane_count - 1];
    return s->out->stream ? s24_spool_write(&s->spool, at, data, n, err)
                          : s24_output_write(s->out, plane->offset + at, data, n, err);
}

static s24_status begin(s24_sparse *s, const s24_entry *entry, size_t stored, s24_error *err)
{
    s->entry = entry;
    s->planes = &s->stored.entries[stored];
    s->row_groups = entry->shape[entry->rank - 1] / 4;
    s->group = s->part_bytes = s->values_bytes = s->pending_bytes = 0;
    s->pending_at = 0;
    s->values_at = s->planes[s->kind->plane_count - 2].offset;
    const s24_entry *const plane = &s->planes[s->kind->plane_count - 1];
    const s24_status status =
        s->out->stream ? s24_spool_reserve(&s->spool, plane->bytes, "a tensor's metadata", err) : S24_OK;
    return status == S24_OK ? s->kind->begin(s, err) : status;
}

static s24_status send_spool(s24_sparse *s, s24_error *err)
{
    const s24_entry *const plane = &s->planes[s->kind->plane_count - 1];
    unsigned char *const buffer = s24_alloc(COPY_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    for (uint64_t at = 0; at < plane->bytes && status == S24_OK; at += COPY_BYTES) {
        const size_t n = plane->bytes - at < COPY_BYTES ? (size_t)(plane->bytes - at) : COPY_BYTES;
        status = s24_spool_read(&s->spool, at, buffer, n, err);
        status = status == S24_OK ? s24_output_write(s->out, plane->offset + at, buffer, n, err) : status;
    }
    free(buffer);
    s24_spool_free(&s->spool);
    return status;
}

static s24_status end(s24_sparse *s, s24_error *err)
{
    s24_status status = s->kind->end ? s->kind->end(s, err) : S24_OK;
    status = status == S24_OK ? flush_values(s, err) : status;
    free(s->pending);
    s->pending = NULL;
    return status == S24_OK && s->out->stream ? send_spool(s, err) : status;
}

/* Completes the group that an earlier call left, as far as the n bytes go; *took of them. */
static s24_status fill_part(s24_sparse *s, const unsigned char *data, size_t n, size_t *took, s24_error *err)
{
    const size_t group_bytes = (size_t)4 * s24_info(s->entry->dtype)->bytes, missing = group_bytes - s->part_bytes;
    *took = n < missing ? n : missing;
    memcpy(s->part + s->part_bytes, data, *took);
    s->part_bytes += *took;
    if (s->part_bytes < group_bytes) {
        return S24_OK;
    }
    s->part_bytes = 0;
    return put_groups(s, s->part, 1, err);
}

static s24_status write_packed(s24_sparse *s, const unsigned char *data, size_t n, s24_error *err)
{
    const size_t bytes = s24_info(s->entry->dtype)->bytes;
    s24_status status = S24_OK;
    size_t left = n * bytes, took = 0;
    if (s->part_bytes) {
        status = fill_part(s, data, left, &took, err);
        data += took;
        left -= took;
    }
    const size_t groups = left / (4 * bytes);
    status = status == S24_OK ? put_groups(s, data, groups, err) : status;
    data += groups * 4 * bytes;
    left -= groups * 4 * bytes;
    return status == S24_OK && left ? fill_part(s, data, left, &took, err) : status;
}

s24_status s24_sparse_write(s24_sink *sink, size_t index, size_t first, size_t n, const void *data, s24_error *err)
{
    s24_sparse *const s = sink->state;
    const s24_entry *const entry = &sink->contents.entries[index];
    const unsigned bytes = s24_info(entry->dtype)->bytes;
    if (!entry->packed) {
        return s24_output_write(sink->out, entry->offset + (uint64_t)first * bytes, data, n * bytes, err);
    }
    s24_status status = first == 0 ? begin(s, entry, s->first[index], err) : S24_OK;
    status = status == S24_OK ? write_packed(s, data, n, err) : status;
    return status == S24_OK && first + n == entry->bytes / bytes ? end(s, err) : status;
}

void s24_sparse_abandon(s24_sink *sink)
{
    s24_sparse *const s = sink->state;
    if (s) {
        s24_contents_free(&s->stored);
        s24_spool_free(&s->spool);
        free(s->first);
        free(s->values);
        free(s->pending);
        free(s);
        sink->state = NULL;
    }
}

s24_status s24_sparse_finish(s24_sink *sink, s24_error *err)
{
    (void)err;
    s24_sparse_abandon(sink);
    return S24_OK;
}
