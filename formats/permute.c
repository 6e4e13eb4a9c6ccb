#include "permute.h"

#include <string.h>

#include "layout.h"
#include "order.h"
#include "reorder.h"

/* What happens to an axis of an entry. */
typedef struct change {
    s24_entry *entry;
    int axis;
    size_t places;
    int32_t *order;
} change;

typedef struct changes {
    const s24_preparation *how;
    s24_source *source;
    change *items;
    size_t count, capacity;
} changes;

static s24_status add_change(changes *c, s24_entry *e, int axis, const int32_t *order, s24_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->items[i].entry == e && c->items[i].axis == axis) {
            return s24_fail(err, S24_ERR_USAGE, "%s: axis %d is permuted twice", e->name, axis);
        }
    }
    if (c->count == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 16;
        change *const items = realloc(c->items, capacity * sizeof *items);
        if (!items) {
            return s24_fail_memory(err, capacity * sizeof *items);
        }
        c->items = items;
        c->capacity = capacity;
    }
    const size_t places = e->shape[axis];
    int32_t *const copy = s24_calloc(places, sizeof *copy, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    memcpy(copy, order, places * sizeof *copy);
    c->items[c->count++] = (change){.entry = e, .axis = axis, .places = places, .order = copy};
    return S24_OK;
}

/* ---------------------------------------------------------------- rules */

static const s24_permute_rule *rule_of(const s24_prune_request *q, const char *name)
{
    for (size_t i = 0; i < q->permute_with_count; i++) {
        if (strcmp(q->permute_with[i].tensor, name) == 0) {
            return &q->permute_with[i];
        }
    }
    return NULL;
}

/* "fc1.weight", or "h.0.c_fc.weight@1" for another axis than 0. */
static s24_status find_neighbour(const changes *c, const char *name, size_t n, s24_entry **entry, int *axis, s24_error *err)
{
    const char *const at = memchr(name, '@', n);
    const size_t length = at ? (size_t)(at - name) : n;
    char *const copy = s24_calloc(length + 1, 1, err);
    if (!copy) {
        return S24_ERR_SYSTEM;
    }
    memcpy(copy, name, length);
    *axis = 0;
    *entry = (s24_entry *)(uintptr_t)s24_source_find_entry(c->source, copy);
    s24_status status = S24_OK;
    if (!*entry) {
        status = s24_fail(err, S24_ERR_USAGE, "--permute-with: no tensor %s; s24 inspect lists the names", copy);
    } else if (at && (n != length + 2 || at[1] < '0' || at[1] > '9')) {
        status = s24_fail(err, S24_ERR_USAGE, "--permute-with: %.*s: after the @ an axis is expected, 0 to 9", (int)n, name);
    } else {
        *axis = at ? at[1] - '0' : 0;
    }
    free(copy);
    return status;
}

/*
 * The outputs of the layers before, in the order of the inputs of the one behind. order NULL: nothing but whether the rule
 * makes sense. Something but vectors must be among them: with a bias alone in another order the model would be another one.
 */
static s24_status permute_neighbours(changes *c, const s24_entry *e, const char *with, const int32_t *order, s24_error *err)
{
    const size_t places = e->shape[e->axis];
    bool weights = false;
    for (const char *name = with; *name;) {
        const size_t n = strcspn(name, ",");
        s24_entry *neighbour;
        int axis;
        s24_status status = find_neighbour(c, name, n, &neighbour, &axis, err);
        if (status != S24_OK) {
            return status;
        }
        if (axis >= neighbour->rank || neighbour->shape[axis] != places) {
            return s24_fail(err, S24_ERR_USAGE, "--permute-with: %s has no axis %d of %zu elements, as many as %s has inputs",
                            neighbour->name, axis, places, e->name);
        }
        if (s24_info(neighbour->dtype)->bytes == 0) {
            return s24_fail(err, S24_ERR_USAGE, "--permute-with: %s is of %s, whose elements are no whole bytes",
                            neighbour->name, s24_dtype_name(neighbour->dtype));
        }
        status = order ? add_change(c, neighbour, axis, order, err) : S24_OK;
        if (status != S24_OK) {
            return status;
        }
        weights |= neighbour->rank > 1;
        name += n + (name[n] == ',');
    }
    return weights ? S24_OK
        : s24_fail(err, S24_ERR_USAGE, "--permute-with: %s=%s names no weights; name those that give %s its inputs, "
                   "too, as in fc2.weight=fc1.weight,fc1.bias", e->name, with, e->name);
}

/* Before orders are searched, which may take minutes. */
static s24_status check_rules(changes *c, const s24_prune_request *q, s24_error *err)
{
    for (size_t i = 0; i < q->permute_with_count; i++) {
        const s24_entry *const e = s24_source_find_entry(c->source, q->permute_with[i].tensor);
        if (!e || !e->packed) {
            return s24_fail(err, S24_ERR_USAGE, e ? "--permute-with: %s is not pruned; --include selects it"
                                                  : "--permute-with: no tensor %s; s24 inspect lists the names",
                            q->permute_with[i].tensor);
        }
        const s24_status status = permute_neighbours(c, e, q->permute_with[i].with, NULL, err);
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- all tensors */

static s24_status permute_entry(changes *c, const s24_prune_request *q, s24_entry *e, s24_error *err)
{
    const s24_permute_rule *const rule = rule_of(q, e->name);
    if (!e->packed || e->elsewhere || (!rule && !c->how->permute)) {
        return S24_OK;
    }
    if (!rule && e->pruned->geometry.groups > S24_PANEL_GROUPS) {
        return s24_fail(err, S24_ERR_USAGE, "%s: rows of %zu elements are too long to be permuted; leave it out with --exclude",
                        e->name, e->pruned->geometry.cols);
    }
    int32_t *order = NULL;
    s24_status status = s24_order_find(c->how, e, &order, err);
    if (status == S24_OK && !order) {
        return S24_OK; /* as it is */
    }
    status = status == S24_OK ? add_change(c, e, e->axis, order, err) : status;
    status = status == S24_OK && rule ? permute_neighbours(c, e, rule->with, order, err) : status;
    if (status == S24_OK && !rule) { /* it is stored */
        e->permuted = true;
        e->pruned->permutation = order;
        return S24_OK;
    }
    free(order);
    return status;
}

/* What lies beside the elements of a tensor goes with them. */
static s24_status apply(const changes *c, const change *ch, s24_error *err)
{
    s24_status status = s24_entry_reorder(ch->entry, ch->axis, ch->order, err);
    for (unsigned k = 0; k < S24_SECONDS && status == S24_OK; k++) {
        if (c->how->seconds->of[k] && 1u << k & S24_ELEMENTS && ch->entry->packed) {
            const s24_entry *const second = s24_seconds_find(c->how->seconds, (s24_second)k, ch->entry, NULL, err);
            status = second ? s24_entry_reorder((s24_entry *)(uintptr_t)second, ch->axis, ch->order, err) : S24_ERR_DATA;
        }
    }
    return status;
}

/* Of a compressed member of an archive, which is a stream of its own. */
static s24_status hold_members(const s24_source *file, s24_error *err)
{
    s24_status status = S24_OK;
    for (size_t i = 0; i < file->contents.count && status == S24_OK; i++) {
        const s24_entry *const e = &file->contents.entries[i];
        status = e->in != file->in && e->in->stream ? s24_input_hold(e->in, e->offset, e->bytes, err) : S24_OK;
    }
    return status;
}

/* Everything will be read more than once. */
static s24_status hold_all(s24_source *source, s24_error *err)
{
    for (size_t i = 0; source && i < s24_source_files(source); i++) {
        s24_source *const file = s24_source_file(source, i);
        s24_status status = file->contents.count ? s24_contents_hold(&file->contents, file->in, err) : S24_OK;
        status = status == S24_OK ? hold_members(file, err) : status;
        if (status != S24_OK) {
            return s24_fail_prefix(err, status, "%s: ", file->in->name);
        }
    }
    return S24_OK;
}

s24_status s24_permute_source(const s24_preparation *how, const s24_prune_request *q, s24_source *source, s24_error *err)
{
    changes c = {.how = how, .source = source};
    s24_status status = hold_all(source, err);
    for (size_t k = 0; k < S24_SECONDS && status == S24_OK; k++) {
        status = hold_all(how->seconds->of[k], err);
    }
    status = status == S24_OK ? check_rules(&c, q, err) : status;
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        status = permute_entry(&c, q, &source->contents.entries[i], err);
    }
    for (size_t i = 0; i < c.count && status == S24_OK; i++) {
        status = apply(&c, &c.items[i], err);
    }
    for (size_t i = 0; i < c.count; i++) {
        free(c.items[i].order);
    }
    free(c.items);
    return status;
}
