/* Lists of tensors and metadata. */
#include <stdio.h>
#include <string.h>

#include "reorder.h"

s24_status s24_dense_bytes(s24_dtype dtype, int rank, const size_t *shape, uint64_t *bytes, s24_error *err)
{
    size_t n = s24_dtype_bits(dtype);
    bool fits = true;
    for (int d = 0; d < rank; d++) {
        if (shape[d] == 0) { /* an empty tensor, however long the other dimensions */
            *bytes = 0;
            return S24_OK;
        }
        fits = fits && s24_mul(n, shape[d], &n);
    }
    if (!fits) {
        return s24_fail(err, S24_ERR_DATA, "the shape has more elements than can be addressed");
    }
    if (n % 8) {
        return s24_fail(err, S24_ERR_DATA, "the shape is not a whole number of bytes of %s", s24_dtype_name(dtype));
    }
    *bytes = n / 8;
    return S24_OK;
}

/* Room for one more of `size` bytes, doubling. */
static void *grow(void *array, size_t count, size_t *capacity, size_t size, s24_error *err)
{
    if (count < *capacity) {
        return array;
    }
    const size_t wanted = *capacity ? 2 * *capacity : 8;
    void *p = realloc(array, wanted * size);
    if (!p) {
        s24_fail_memory(err, wanted * size);
        return NULL;
    }
    *capacity = wanted;
    return p;
}

static char *copy_string(const char *s, s24_error *err)
{
    char *copy = strdup(s);
    if (!copy) {
        s24_fail_memory(err, strlen(s) + 1);
    }
    return copy;
}

s24_status s24_contents_fit(size_t count, s24_error *err)
{
    return count <= S24_TENSORS_MAX ? S24_OK
        : s24_fail_unsupported(err, "too many tensors: s24 takes %d a model at most; split the model",
                               S24_TENSORS_MAX);
}

/* Takes over name and shape, also on failure; either may be NULL, where there was no memory. */
static s24_entry *add_entry(s24_contents *contents, s24_entry entry, s24_error *err)
{
    if (!entry.name || !entry.shape) {
        return NULL;
    }
    if (s24_dense_bytes(entry.dtype, entry.rank, entry.shape, &entry.bytes, err) != S24_OK) {
        return NULL;
    }
    if (contents->most && contents->count == contents->most) {
        s24_contents_fit(SIZE_MAX, err);
        return NULL;
    }
    s24_entry *entries = grow(contents->entries, contents->count, &contents->capacity, sizeof entry, err);
    if (!entries) {
        return NULL;
    }
    contents->entries = entries;
    entries[contents->count] = entry;
    return &entries[contents->count++];
}

static s24_entry *add_or_free(s24_contents *contents, s24_entry entry, s24_error *err)
{
    s24_entry *const added = add_entry(contents, entry, err);
    if (!added) {
        s24_shared_free(entry.name);
        s24_shared_free(entry.shape);
    }
    return added;
}

/* Tensors of one shape mostly follow one another, and have it in common. */
static size_t *add_shape(const s24_contents *contents, int rank, const size_t *shape, s24_error *err)
{
    const s24_entry *const last = contents->count ? &contents->entries[contents->count - 1] : NULL;
    const size_t bytes = (size_t)rank * sizeof *shape;
    return last && rank && last->rank == rank && memcmp(last->shape, shape, bytes) == 0
        ? s24_shared_keep(last->shape) : s24_shared_new(rank ? shape : NULL, bytes, err);
}

s24_entry *s24_contents_take(s24_contents *contents, char *name, s24_dtype dtype, int rank, const size_t *shape,
                             s24_error *err)
{
    return add_or_free(contents, (s24_entry){.dtype = dtype, .stored = dtype, .rank = rank, .name = name,
                                             .shape = add_shape(contents, rank, shape, err)}, err);
}

s24_entry *s24_contents_add(s24_contents *contents, const char *name, s24_dtype dtype, int rank, const size_t *shape,
                            s24_error *err)
{
    return s24_contents_take(contents, s24_shared_text(name, err), dtype, rank, shape, err);
}

s24_entry *s24_contents_add_like(s24_contents *contents, const s24_entry *like, s24_dtype dtype, s24_error *err)
{
    return add_or_free(contents, (s24_entry){.dtype = dtype, .stored = dtype, .rank = like->rank,
                                             .name = s24_shared_keep(like->name), .shape = s24_shared_keep(like->shape)},
                       err);
}

static s24_status add_pair(s24_contents *contents, s24_pair pair, s24_error *err)
{
    if (!pair.key || !pair.value) {
        return S24_ERR_SYSTEM;
    }
    if (contents->most && contents->pairs == contents->most) {
        return s24_fail_unsupported(err, "too many keys in its metadata: s24 takes %d at most; leave some out",
                                    S24_TENSORS_MAX);
    }
    s24_pair *pairs = grow(contents->metadata, contents->pairs, &contents->pairs_capacity, sizeof *pairs, err);
    if (!pairs) {
        return S24_ERR_SYSTEM;
    }
    contents->metadata = pairs;
    pairs[contents->pairs++] = pair;
    return S24_OK;
}

s24_status s24_contents_take_pair(s24_contents *contents, char *key, char *value, s24_error *err)
{
    const s24_status status = add_pair(contents, (s24_pair){key, value}, err);
    if (status != S24_OK) {
        s24_shared_free(key);
        s24_shared_free(value);
    }
    return status;
}

s24_status s24_contents_add_pair(s24_contents *contents, const char *key, const char *value, s24_error *err)
{
    return s24_contents_take_pair(contents, s24_shared_text(key, err), s24_shared_text(value, err), err);
}

s24_status s24_contents_keep_pair(s24_contents *contents, const s24_pair *pair, s24_error *err)
{
    return s24_contents_take_pair(contents, s24_shared_keep(pair->key), s24_shared_keep(pair->value), err);
}

/* Planes may be tensors of several planes themselves: what a view is of. */
static void free_entry(s24_entry *e)
{
    s24_shared_free(e->name);
    s24_shared_free(e->shape);
    s24_shared_free(e->method);
    s24_shared_free(e->reason);
    for (size_t p = 0; p < e->plane_count; p++) {
        free_entry(&e->planes[p]);
    }
    free(e->planes);
    s24_orders_free(e->orders);
}

void s24_contents_free(s24_contents *contents)
{
    for (size_t i = 0; i < contents->count; i++) {
        s24_entry *e = &contents->entries[i];
        free_entry(e);
        if (e->pruned && --e->pruned->owners == 0) {
            free(e->pruned->permutation);
            free(e->pruned->calibration);
            free(e->pruned);
        }
        free(e->parts);
    }
    for (size_t i = 0; i < contents->pairs; i++) {
        s24_shared_free(contents->metadata[i].key);
        s24_shared_free(contents->metadata[i].value);
    }
    free(contents->entries);
    free(contents->metadata);
    *contents = (s24_contents){0};
}

s24_status s24_entry_pack(s24_entry *entry, int axis, s24_error *err)
{
    if (!entry->pruned) {
        entry->pruned = s24_calloc(1, sizeof *entry->pruned, err);
        if (!entry->pruned) {
            return S24_ERR_SYSTEM;
        }
        entry->pruned->owners = 1;
    }
    const s24_status status = s24_geometry_init(&entry->pruned->geometry, entry->stored, entry->rank, entry->shape, axis,
                                                &entry->axis, err);
    entry->packed = status == S24_OK;
    return status;
}

bool s24_ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n > m && memcmp(s + n - m, end, m) == 0;
}

s24_status s24_names_add(s24_names *names, const char *name, s24_error *err)
{
    char **items = grow(names->items, names->count, &names->capacity, sizeof *items, err);
    if (!items) {
        return S24_ERR_SYSTEM;
    }
    names->items = items;
    char *const copy = copy_string(name, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    items[names->count++] = copy;
    return S24_OK;
}

void s24_names_free(s24_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i]);
    }
    free(names->items);
    *names = (s24_names){0};
}
