#include "rows.h"

bool s24_rows_contiguous(const s24_rows *rows)
{
    if (!rows->fortran && (rows->rank == 0 || rows->axis == rows->rank - 1)) {
        return true;
    }
    /* Dimensions of 1 have no order: what counts is where the longer ones stand. */
    int first = -1, last = -1, many = 0;
    for (int d = 0; d < rows->rank; d++) {
        if (rows->shape[d] != 1) {
            first = many ? first : d;
            last = d;
            many++;
        }
    }
    /*
     * At most one of them: a vector, one row if it is the axis, rows of one element if it is not. In Fortran order the
     * axis must come first, and more than one other dimension would number the rows in another order.
     */
    return many < 2 || (!rows->fortran && last == rows->axis) || (rows->fortran && many == 2 && first == rows->axis);
}

/* A part of the tensor: n[d] indices from lo[d] on, and the element stride of each dimension in a compact copy. */
typedef struct box {
    size_t lo[S24_MAX_RANK], n[S24_MAX_RANK];
    int64_t stride[S24_MAX_RANK];
} box;

/* Dimension number `k` of the file, slowest first. */
static int file_dim(const s24_rows *rows, int k)
{
    return rows->fortran ? rows->rank - 1 - k : k;
}

/*
 * The largest box that begins at `row` and holds at most `count` rows, which are consecutive: all of the later
 * dimensions, a range of one, a single index of the earlier ones. Returns its number of rows.
 */
static size_t box_at(const s24_rows *rows, size_t row, size_t count, size_t col, size_t cols, box *b)
{
    size_t inside = 1; /* rows in all of the dimensions after d */
    int split = -1;
    s24_element_index(rows->rank, rows->shape, rows->axis, row, col, b->lo);
    for (int d = 0; d < rows->rank; d++) {
        b->n[d] = 1;
    }
    b->n[rows->axis] = cols;
    for (int d = rows->rank - 1; d >= 0; d--) {
        if (d == rows->axis) {
            continue;
        }
        split = d;
        if (b->lo[d] != 0 || inside * rows->shape[d] > count) {
            break; /* not a whole dimension: the box is a range of this one */
        }
        b->n[d] = rows->shape[d];
        inside *= rows->shape[d];
        split = -1;
    }
    if (split >= 0) {
        const size_t fit = count / inside, left = rows->shape[split] - b->lo[split];
        b->n[split] = fit < left ? fit : left;
        inside *= b->n[split];
    }
    int64_t stride = 1;
    for (int k = rows->rank - 1; k >= 0; k--) {
        const int d = file_dim(rows, k);
        b->stride[d] = stride;
        stride *= (int64_t)b->n[d];
    }
    return inside;
}

/* Moves a box between the file and its compact copy, in the longest runs that the file's order allows. */
static s24_status move_box(const s24_rows *rows, const box *b, unsigned char *compact, s24_rows_move *move, void *ctx,
                           s24_error *err)
{
    int64_t file_stride[S24_MAX_RANK] = {0};
    int64_t stride = 1;
    size_t run = 1;
    int outer = rows->rank; /* dimensions of the file before this one are walked */
    bool whole = true;      /* everything after it is complete */
    for (int k = rows->rank - 1; k >= 0; k--) {
        const int d = file_dim(rows, k);
        file_stride[d] = stride;
        stride *= (int64_t)rows->shape[d];
        if (whole) {
            run *= b->n[d];
            outer = k;
        }
        whole = whole && b->n[d] == rows->shape[d];
    }
    size_t index[S24_MAX_RANK] = {0};
    for (;;) {
        uint64_t first = 0;
        for (int d = 0; d < rows->rank; d++) {
            first += (b->lo[d] + index[d]) * (uint64_t)file_stride[d];
        }
        const s24_status status = move(ctx, first, run, compact, err);
        if (status != S24_OK) {
            return status;
        }
        compact += run * rows->bytes;
        int k = outer - 1;
        for (; k >= 0; k--) {
            const int d = file_dim(rows, k);
            if (++index[d] < b->n[d]) {
                break;
            }
            index[d] = 0;
        }
        if (k < 0) {
            return S24_OK;
        }
    }
}

s24_status s24_rows_read(const s24_rows *rows, size_t row, size_t count, size_t col, size_t cols, void *data,
                         void *scratch, s24_rows_move *move, void *ctx, s24_error *err)
{
    const size_t row_cols = rows->rank ? rows->shape[rows->axis] : 1;
    unsigned char *to = data;
    if (s24_rows_contiguous(rows)) {
        return move(ctx, (uint64_t)row * row_cols + col, count * cols, to, err);
    }
    while (count && cols) {
        box b;
        const size_t n = box_at(rows, row, count, col, cols, &b);
        const s24_status status = move_box(rows, &b, scratch, move, ctx, err);
        if (status != S24_OK) {
            return status;
        }
        s24_gather_rows(scratch, rows->bytes, rows->rank, b.n, b.stride, rows->axis, 0, n, 0, cols, to);
        to += n * cols * rows->bytes;
        row += n;
        count -= n;
    }
    return S24_OK;
}

s24_status s24_rows_write(const s24_rows *rows, size_t row, size_t count, size_t col, size_t cols, const void *data,
                          void *scratch, s24_rows_move *move, void *ctx, s24_error *err)
{
    const size_t row_cols = rows->rank ? rows->shape[rows->axis] : 1;
    const unsigned char *from = data;
    if (s24_rows_contiguous(rows)) {
        return move(ctx, (uint64_t)row * row_cols + col, count * cols, (void *)(uintptr_t)from, err);
    }
    while (count && cols) {
        box b;
        const size_t n = box_at(rows, row, count, col, cols, &b);
        s24_scatter_rows(from, rows->bytes, rows->rank, b.n, b.stride, rows->axis, 0, n, 0, cols, scratch);
        const s24_status status = move_box(rows, &b, scratch, move, ctx, err);
        if (status != S24_OK) {
            return status;
        }
        from += n * cols * rows->bytes;
        row += n;
        count -= n;
    }
    return S24_OK;
}
