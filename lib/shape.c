/* Shapes: which axis, how many rows, and where an element of a row lies in the array. */
#include "panel.h"

#include "error.h"
#include "mem.h"

#define CONVOLUTION_TAP_MAX 31 /* dimensions of at most this size after axis 1 are a kernel's taps, not features */

int s24_axis_auto(int rank, const size_t *shape)
{
    if (rank < 3) {
        return rank ? rank - 1 : 0;
    }
    for (int d = 2; d < rank; d++) {
        if (shape[d] > CONVOLUTION_TAP_MAX) {
            return rank - 1;
        }
    }
    return 1;
}

/* 0..rank-1, or -1. A tensor of rank 0 has one axis, of one element. */
static int resolve_axis(int rank, const size_t *shape, int axis)
{
    const int axes = rank ? rank : 1;
    if (axis == S24_AXIS_AUTO) {
        return s24_axis_auto(rank, shape);
    }
    const int resolved = axis < 0 ? axis + axes : axis;
    return resolved >= 0 && resolved < axes ? resolved : -1;
}

s24_status s24_geometry_init(s24_geometry *geometry, s24_dtype stored, int rank, const size_t *shape, int axis,
                             int *resolved, s24_error *err)
{
    s24_geometry g = {.rows = 1, .cols = 1};
    const int a = resolve_axis(rank, shape, axis);
    if (rank < 0 || rank > S24_MAX_RANK) {
        return s24_fail(err, S24_ERR_DATA, "rank %d is beyond %d", rank, S24_MAX_RANK);
    }
    if (a < 0) {
        return s24_fail(err, S24_ERR_USAGE, "no axis %d in a tensor of rank %d; it has 0 to %d, or -1 to %d", axis, rank,
                        rank ? rank - 1 : 0, rank ? -rank : -1);
    }
    bool fits = true;
    for (int d = 0; d < rank; d++) {
        if (d != a) {
            fits = fits && s24_mul(g.rows, shape[d], &g.rows);
        }
    }
    if (rank) {
        g.cols = shape[a];
    }
    g.groups = g.cols / 4 + (g.cols % 4 != 0);
    g.row_positions = g.groups / 2 + g.groups % 2;
    const unsigned bytes = s24_info(stored)->bytes;
    fits = fits && s24_mul(g.groups, 2, &g.row_values) && s24_mul(g.rows, g.cols, &g.num_elements) &&
           s24_mul(g.rows, g.row_values, &g.values_bytes) && s24_mul(g.values_bytes, bytes, &g.values_bytes) &&
           s24_mul(g.rows, g.row_positions, &g.positions_bytes);
    if (!fits) {
        return s24_fail(err, S24_ERR_DATA, "the shape has more elements than can be addressed");
    }
    *geometry = g;
    if (resolved) {
        *resolved = a;
    }
    return S24_OK;
}

void s24_c_strides(int rank, const size_t *shape, int64_t *strides)
{
    int64_t stride = 1;
    for (int d = rank - 1; d >= 0; d--) {
        strides[d] = stride;
        /* Of an array without elements this may wrap: its strides are never used. */
        stride = (int64_t)((uint64_t)stride * (shape[d] ? shape[d] : 1));
    }
}

void s24_element_index(int rank, const size_t *shape, int axis, size_t row, size_t col, size_t *index)
{
    for (int d = rank - 1; d >= 0; d--) {
        if (d == axis) {
            index[d] = col;
        } else {
            index[d] = row % shape[d];
            row /= shape[d];
        }
    }
}

/* Offsets of consecutive rows, by counting up the other axes like an odometer. */
typedef struct row_walk {
    int rank, axis;
    const size_t *shape;
    const int64_t *strides;
    size_t index[S24_MAX_RANK];
    int64_t offset; /* of the row's element 0, in elements */
} row_walk;

static row_walk row_walk_at(int rank, const size_t *shape, const int64_t *strides, int axis, size_t row)
{
    row_walk w = {.rank = rank, .axis = axis, .shape = shape, .strides = strides};
    s24_element_index(rank, shape, axis, row, 0, w.index);
    for (int d = 0; d < rank; d++) {
        w.offset += (int64_t)w.index[d] * strides[d];
    }
    return w;
}

static void row_walk_next(row_walk *w)
{
    for (int d = w->rank - 1; d >= 0; d--) {
        if (d == w->axis) {
            continue;
        }
        w->offset += w->strides[d];
        if (++w->index[d] < w->shape[d]) {
            return;
        }
        w->offset -= (int64_t)w->shape[d] * w->strides[d];
        w->index[d] = 0;
    }
}

/* n elements with their own distances in bytes; a constant width lets the compiler make a load and a store of it. */
static void copy_strided(unsigned char *dst, ptrdiff_t dst_step, const unsigned char *src, ptrdiff_t src_step,
                         unsigned bytes, size_t n)
{
    if (dst_step == (ptrdiff_t)bytes && src_step == (ptrdiff_t)bytes) {
        memcpy(dst, src, n * bytes);
        return;
    }
#define COPY(width) \
    for (; n--; dst += dst_step, src += src_step) memcpy(dst, src, width); \
    break
    switch (bytes) {
    case 1: COPY(1);
    case 2: COPY(2);
    case 4: COPY(4);
    default: COPY(8);
    }
#undef COPY
}

void s24_gather_rows(const void *base, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                     size_t row, size_t rows, size_t col, size_t cols, void *dst)
{
    const int64_t step = rank ? strides[axis] : 1;
    row_walk w = row_walk_at(rank, shape, strides, axis, row);
    for (size_t r = 0; r < rows; r++, row_walk_next(&w)) {
        const unsigned char *src = (const unsigned char *)base + (w.offset + (int64_t)col * step) * bytes;
        copy_strided((unsigned char *)dst + r * cols * bytes, bytes, src, step * bytes, bytes, cols);
    }
}

void s24_scatter_rows(const void *src, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                      size_t row, size_t rows, size_t col, size_t cols, void *base)
{
    const int64_t step = rank ? strides[axis] : 1;
    row_walk w = row_walk_at(rank, shape, strides, axis, row);
    for (size_t r = 0; r < rows; r++, row_walk_next(&w)) {
        unsigned char *dst = (unsigned char *)base + (w.offset + (int64_t)col * step) * bytes;
        copy_strided(dst, step * bytes, (const unsigned char *)src + r * cols * bytes, bytes, bytes, cols);
    }
}

/* ---------------------------------------------------------------- permuted rows */

s24_status s24_permutation_check(const int32_t *permutation, size_t n, s24_error *err)
{
    uint64_t *seen = s24_calloc(n / 64 + 1, sizeof *seen, err);
    if (!seen) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < n; i++) {
        int32_t column;
        memcpy(&column, permutation + i, sizeof column); /* of a file it may be unaligned */
        const size_t c = (size_t)column; /* of a negative one beyond n */
        if (c >= n || seen[c / 64] >> c % 64 & 1) {
            free(seen);
            return s24_fail(err, S24_ERR_DATA, "is no permutation: %ld %s at place %zu of %zu", (long)column,
                            c >= n ? "stands" : "stands again", i, n);
        }
        seen[c / 64] |= UINT64_C(1) << c % 64;
    }
    free(seen);
    return S24_OK;
}

s24_status s24_permutable(const s24_geometry *geometry, size_t panel_groups, s24_error *err)
{
    return geometry->groups <= panel_groups ? S24_OK
        : s24_fail(err, S24_ERR_USAGE, "a row of %zu elements is too long to be permuted, which goes up to %zu",
                   geometry->cols, 4 * panel_groups);
}

/* One row: element i at src + step * i, and at dst + dst_step * permutation[i]; or the other way round. */
static void copy_permuted(unsigned char *dst, ptrdiff_t dst_step, const unsigned char *src, ptrdiff_t src_step,
                          const int32_t *permutation, bool restore, unsigned bytes, size_t n)
{
#define COPY(width) \
    for (size_t i = 0; i < n; i++) { \
        const ptrdiff_t place = (ptrdiff_t)i, other = permutation[i]; \
        memcpy(dst + dst_step * (restore ? other : place), src + src_step * (restore ? place : other), width); \
    } \
    break
    switch (bytes) {
    case 1: COPY(1);
    case 2: COPY(2);
    case 4: COPY(4);
    default: COPY(8);
    }
#undef COPY
}

void s24_gather_permuted(const void *base, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                         size_t row, size_t rows, const int32_t *permutation, void *dst)
{
    const int64_t step = rank ? strides[axis] : 1;
    const size_t cols = rank ? shape[axis] : 1;
    row_walk w = row_walk_at(rank, shape, strides, axis, row);
    for (size_t r = 0; r < rows; r++, row_walk_next(&w)) {
        copy_permuted((unsigned char *)dst + r * cols * bytes, bytes, (const unsigned char *)base + w.offset * bytes,
                      step * bytes, permutation, false, bytes, cols);
    }
}

void s24_scatter_permuted(const void *src, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                          size_t row, size_t rows, const int32_t *permutation, void *base)
{
    const int64_t step = rank ? strides[axis] : 1;
    const size_t cols = rank ? shape[axis] : 1;
    row_walk w = row_walk_at(rank, shape, strides, axis, row);
    for (size_t r = 0; r < rows; r++, row_walk_next(&w)) {
        copy_permuted((unsigned char *)base + w.offset * bytes, step * bytes, (const unsigned char *)src + r * cols * bytes,
                      bytes, permutation, true, bytes, cols);
    }
}

void s24_permute_elements(const void *src, unsigned bytes, size_t rows, size_t cols, const int32_t *permutation, void *dst)
{
    for (size_t r = 0; r < rows; r++) {
        copy_permuted((unsigned char *)dst + r * cols * bytes, bytes, (const unsigned char *)src + r * cols * bytes, bytes,
                      permutation, false, bytes, cols);
    }
}

void s24_restore_elements(const void *src, unsigned bytes, size_t rows, size_t cols, const int32_t *permutation, void *dst)
{
    for (size_t r = 0; r < rows; r++) {
        copy_permuted((unsigned char *)dst + r * cols * bytes, bytes, (const unsigned char *)src + r * cols * bytes, bytes,
                      permutation, true, bytes, cols);
    }
}
