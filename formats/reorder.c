#include "reorder.h"

#include <string.h>

#include "shared.h"

void s24_orders_free(s24_order *orders)
{
    while (orders) {
        s24_order *const next = orders->next;
        free(orders->places);
        free(orders);
        orders = next;
    }
}

const int32_t *s24_entry_order(const s24_entry *entry, int axis)
{
    const s24_order *o = entry->orders;
    while (o && o->axis != axis) {
        o = o->next;
    }
    return o ? o->places : NULL;
}

/* ---------------------------------------------------------------- reading */

/* Elements [first, first + n) of an entry in C order, little-endian; scratch: as many. */
static s24_status read_flat(const s24_entry *e, uint64_t first, size_t n, void *data, void *scratch, s24_error *err)
{
    const int axis = e->rank ? e->rank - 1 : 0;
    const size_t cols = e->rank ? e->shape[axis] : 1;
    unsigned char *to = data;
    s24_status status = S24_OK;
    while (n && status == S24_OK) {
        const size_t row = (size_t)(first / cols), col = (size_t)(first % cols);
        const size_t rows = col == 0 && n >= cols ? n / cols : 1;
        const size_t part = rows > 1 || n >= cols - col ? cols - col : n;
        status = s24_entry_read_rows(e, axis, row, rows, col, part, to, scratch, err);
        to += rows * part * s24_info(e->dtype)->bytes;
        first += rows * part;
        n -= rows * part;
    }
    return status;
}

/*
 * The view in blocks of one place of the last reordered axis: `inner` elements that lie together in either order. All that
 * has the same places before that axis is a slab, which is read as a whole where its blocks are short.
 */
typedef struct view {
    const s24_entry *entry, *from;
    size_t inner, places; /* a block; blocks a slab */
    int axis;
    const int32_t *order; /* of that axis */
    unsigned char *slab, *scratch;
    uint64_t slab_at;     /* which one is in `slab`; UINT64_MAX: none */
} view;

#define SHORT_BLOCK 4096 /* bytes: a call of pread for less costs more than what it leaves out */

static s24_status view_open(view *v, const s24_entry *e, s24_error *err)
{
    *v = (view){.entry = e, .from = &e->planes[0], .inner = 1, .slab_at = UINT64_MAX};
    for (v->axis = e->rank - 1; !s24_entry_order(e, v->axis); v->axis--) {
        v->inner *= e->shape[v->axis];
    }
    v->order = s24_entry_order(e, v->axis);
    v->places = e->shape[v->axis];
    const unsigned bytes = s24_info(e->dtype)->bytes;
    const bool whole = v->inner * bytes < SHORT_BLOCK;
    const size_t elements = whole ? v->inner * v->places : v->inner;
    v->slab = whole ? s24_malloc(elements * bytes, err) : NULL;
    v->scratch = s24_malloc(elements * bytes, err);
    return v->scratch && (v->slab || !whole) ? S24_OK : S24_ERR_SYSTEM;
}

static void view_close(view *v)
{
    free(v->slab);
    free(v->scratch);
}

/* Which slab of the tensor is slab `at` of the view: the orders of earlier axes. */
static uint64_t slab_from(const view *v, uint64_t at)
{
    uint64_t from = 0, stride = 1;
    for (int d = v->axis - 1; d >= 0; d--) {
        const size_t extent = v->entry->shape[d], place = (size_t)(at % extent);
        const int32_t *const order = s24_entry_order(v->entry, d);
        from += stride * (order ? (size_t)order[place] : place);
        stride *= extent;
        at /= extent;
    }
    return from;
}

static s24_status read_block(view *v, uint64_t block, size_t skip, size_t n, void *data, s24_error *err)
{
    const uint64_t slab = slab_from(v, block / v->places);
    const size_t place = (size_t)v->order[block % v->places], size = v->inner * v->places;
    const unsigned bytes = s24_info(v->from->dtype)->bytes;
    if (!v->slab) {
        return read_flat(v->from, slab * size + place * v->inner + skip, n, data, v->scratch, err);
    }
    if (v->slab_at != slab) {
        const s24_status status = read_flat(v->from, slab * size, size, v->slab, v->scratch, err);
        if (status != S24_OK) {
            return status;
        }
        v->slab_at = slab;
    }
    memcpy(data, v->slab + (place * v->inner + skip) * bytes, n * bytes);
    return S24_OK;
}

static s24_status read_reordered(const s24_entry *e, uint64_t first, size_t n, void *data, s24_error *err)
{
    view v;
    unsigned char *to = data;
    s24_status status = view_open(&v, e, err);
    while (n && status == S24_OK) {
        const size_t skip = (size_t)(first % v.inner), part = n < v.inner - skip ? n : v.inner - skip;
        status = read_block(&v, first / v.inner, skip, part, to, err);
        to += part * s24_info(e->dtype)->bytes;
        first += part;
        n -= part;
    }
    view_close(&v);
    return status;
}

static const s24_layout reordered = {NULL, read_reordered};

/* ---------------------------------------------------------------- making one */

static s24_status make_view(s24_entry *e, s24_error *err)
{
    s24_entry *const from = s24_calloc(1, sizeof *from, err);
    if (!from) {
        return S24_ERR_SYSTEM;
    }
    *from = *e;
    from->name = s24_shared_keep(e->name);
    from->shape = s24_shared_keep(e->shape);
    from->method = from->reason = NULL;
    from->pruned = NULL;
    e->planes = from;
    e->plane_count = 1;
    e->layout = &reordered;
    e->fortran = e->big_endian = false;
    return S24_OK;
}

s24_status s24_entry_reorder(s24_entry *e, int axis, const int32_t *places, s24_error *err)
{
    s24_order *const order = s24_calloc(1, sizeof *order, err);
    if (!order) {
        return S24_ERR_SYSTEM;
    }
    order->axis = axis;
    order->places = s24_calloc(e->shape[axis], sizeof *order->places, err);
    const s24_status status = !order->places ? S24_ERR_SYSTEM : e->layout == &reordered ? S24_OK : make_view(e, err);
    if (status != S24_OK) {
        s24_orders_free(order);
        return status;
    }
    memcpy(order->places, places, e->shape[axis] * sizeof *places);
    order->next = e->orders;
    e->orders = order;
    return S24_OK;
}
