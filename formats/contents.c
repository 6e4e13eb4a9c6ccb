/* Lists of tensors and metadata. */
#include <stdio.h>
#include <string.h>

#include "format.h"

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

s24_entry *s24_contents_add(s24_contents *contents, const char *name, s24_dtype dtype, int rank, const size_t *shape,
                            s24_error *err)
{
    s24_entry entry = {.dtype = dtype, .stored = dtype, .rank = rank};
    if (s24_dense_bytes(dtype, rank, shape, &entry.bytes, err) != S24_OK) {
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
    entry.name = copy_string(name, err);
    entry.shape = s24_calloc((size_t)rank, sizeof *shape, err);
    if (!entry.name || !entry.shape) {
        free(entry.name);
        free(entry.shape);
        return NULL;
    }
    if (rank) {
        memcpy(entry.shape, shape, (size_t)rank * sizeof *shape);
    }
    entries[contents->count] = entry;
    return &entries[contents->count++];
}

s24_status s24_contents_add_pair(s24_contents *contents, const char *key, const char *value, s24_error *err)
{
    if (contents->most && contents->pairs == contents->most) {
        return s24_fail_unsupported(err, "too many keys in its metadata: s24 takes %d at most; leave some out",
                                    S24_TENSORS_MAX);
    }
    s24_pair *pairs = grow(contents->metadata, contents->pairs, &contents->pairs_capacity, sizeof *pairs, err);
    if (!pairs) {
        return S24_ERR_SYSTEM;
    }
    contents->metadata = pairs;
    const s24_pair pair = {.key = copy_string(key, err), .value = copy_string(value, err)};
    if (!pair.key || !pair.value) {
        free(pair.key);
        free(pair.value);
        return S24_ERR_SYSTEM;
    }
    pairs[contents->pairs++] = pair;
    return S24_OK;
}

void s24_contents_free(s24_contents *contents)
{
    for (size_t i = 0; i < contents->count; i++) {
        s24_entry *e = &contents->entries[i];
        free(e->name);
        free(e->shape);
        free(e->method);
        free(e->reason);
        if (e->pruned && --e->pruned->owners == 0) {
            free(e->pruned);
        }
        for (size_t p = 0; p < e->plane_count; p++) {
            free(e->planes[p].name);
            free(e->planes[p].shape);
        }
        free(e->planes);
        free(e->parts);
    }
    for (size_t i = 0; i < contents->pairs; i++) {
        free(contents->metadata[i].key);
        free(contents->metadata[i].value);
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
