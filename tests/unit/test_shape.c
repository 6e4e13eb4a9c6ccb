/*
 * Shapes: the axis, the geometry, panels, and where elements lie in memory and in files, against models that take every
 * element's place from its index, one by one.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rows.h"
#include "random.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

/* For inner loops: ck_assert tells the parent process, by a system call, of every assertion that holds. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            ck_abort_msg(__VA_ARGS__); \
        } \
    } while (0)

#define MAX_RANK 5
#define BIG (SIZE_MAX / 2) /* 2^63 - 1 */

/* ---------------------------------------------------------------- random numbers */

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1); /* exactly as many, so that a sanitizer sees what is beyond */
    ck_assert_ptr_nonnull(p);
    memset(p, 0xa5, bytes);
    return p;
}

/* ---------------------------------------------------------------- the axis */

START_TEST(axis_auto)
{
    static const struct {
        int rank;
        size_t shape[5];
        int axis;
    } rows[] = {
        {0, {0}, 0}, {1, {7}, 0}, {1, {0}, 0}, {2, {3, 5}, 1}, {2, {1000, 1}, 1},
        {3, {8, 16, 3}, 1}, {3, {8, 16, 31}, 1}, {3, {8, 16, 32}, 2}, {3, {2, 3, 0}, 1},
        {4, {64, 64, 3, 3}, 1}, {4, {64, 3, 7, 7}, 1}, {4, {64, 1, 31, 31}, 1}, {4, {64, 64, 32, 3}, 3},
        {4, {64, 64, 3, 32}, 3}, {4, {4096, 4096, 1, 1}, 1}, {5, {2, 3, 4, 5, 6}, 1}, {5, {2, 3, 4, 5, 100}, 4},
        {5, {2, 3, 100, 5, 6}, 4}, {3, {1000, 1000, 1}, 1}, {3, {8, 4096, 4096}, 2},
    };
    for (int i = 0; i < ROWS(rows); i++) {
        s24_geometry g;
        int resolved = -1;
        ck_assert_int_eq(s24_axis_auto(rows[i].rank, rows[i].shape), rows[i].axis);
        ck_assert_int_eq(s24_geometry_init(&g, S24_F32, rows[i].rank, rows[i].shape, S24_AXIS_AUTO, &resolved, NULL),
                         S24_OK);
        ck_assert_int_eq(resolved, rows[i].axis);
    }
}
END_TEST

START_TEST(axis_from_either_end)
{
    const size_t shape[4] = {2, 3, 5, 7};
    for (int rank = 0; rank <= 4; rank++) {
        const int axes = rank ? rank : 1;
        for (int axis = -axes - 2; axis <= axes + 1; axis++) {
            const bool there = axis >= -axes && axis < axes;
            s24_geometry g = {.rows = 77};
            s24_error err;
            int resolved = 77;
            const s24_status status = s24_geometry_init(&g, S24_F32, rank, shape, axis, &resolved, &err);
            ck_assert_int_eq(status, there ? S24_OK : S24_ERR_USAGE);
            ck_assert_int_eq(resolved, there ? (axis + axes) % axes : 77);
            ck_assert_uint_eq(g.rows == 77, !there);
            ck_assert_int_eq(s24_geometry_init(&g, S24_F32, rank, shape, axis, NULL, NULL), status);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- geometry */

START_TEST(geometry_by_counting)
{
    for (int n = 0; n < 3000; n++) {
        const s24_dtype dtype = (s24_dtype)below(7);
        const int rank = 1 + (int)below(MAX_RANK), axis = (int)below((size_t)rank);
        size_t shape[MAX_RANK], rows = 1, groups = 0, elements = 1;
        for (int d = 0; d < rank; d++) {
            shape[d] = below(30) == 0 ? 0 : 1 + below(20);
            rows *= d == axis ? 1 : shape[d];
            elements *= shape[d];
        }
        while (4 * groups < shape[axis]) {
            groups++;
        }
        s24_geometry g;
        int resolved;
        REQUIRE(s24_geometry_init(&g, dtype, rank, shape, axis, &resolved, NULL) == S24_OK, "status");
        REQUIRE(resolved == axis && g.rows == rows && g.cols == shape[axis] && g.groups == groups, "rows");
        REQUIRE(g.row_values == 2 * groups && 2 * g.row_positions == groups + groups % 2, "a row's planes");
        REQUIRE(g.num_elements == elements, "num_elements");
        REQUIRE(g.values_bytes == rows * 2 * groups * s24_dtype_bits(dtype) / 8, "values_bytes");
        REQUIRE(g.positions_bytes == rows * g.row_positions, "positions_bytes");
    }
}
END_TEST

START_TEST(geometry_of_a_number)
{
    const size_t shape[1] = {99};
    s24_geometry g;
    int resolved;
    ck_assert_int_eq(s24_geometry_init(&g, S24_F16, 0, shape, S24_AXIS_AUTO, &resolved, NULL), S24_OK);
    ck_assert(g.rows == 1 && g.cols == 1 && g.groups == 1 && g.num_elements == 1 && resolved == 0);
    ck_assert(g.values_bytes == 4 && g.positions_bytes == 1);
}
END_TEST

/* Around 2^63 - 1 bytes, in each of the products. */
START_TEST(geometry_limits)
{
    const size_t e60 = (size_t)1 << 60, e32 = (size_t)1 << 32;
    const struct {
        s24_dtype dtype;
        int rank;
        size_t shape[3];
        int axis;
        bool fits;
    } rows[] = {
        {S24_I8, 1, {BIG}, 0, true},                /* 2^62 values of one byte */
        {S24_I8, 1, {BIG + 1}, 0, false},
        {S24_F16, 1, {BIG}, 0, false},
        {S24_F16, 1, {BIG - 3}, 0, true},           /* 2^62 values less 2, of 2 bytes each */
        {S24_F32, 1, {BIG - 3}, 0, false},
        {S24_F64, 1, {e60}, 0, true},               /* 2^59 values of 8 bytes */
        {S24_F64, 1, {2 * e60}, 0, false},
        {S24_I8, 2, {e32, e32 / 2}, 1, false},      /* 2^63 elements */
        {S24_I8, 2, {e32, e32 / 4}, 1, true},
        {S24_F32, 2, {e32, e32 / 4}, 1, false},
        {S24_I8, 2, {2 * e60, 1}, 1, true},         /* padding: 2^62 values of 2^61 elements */
        {S24_I8, 2, {4 * e60, 1}, 1, false},
        {S24_F32, 3, {e32, e32, e32}, 2, false},
        {S24_F32, 3, {e32, e32, e32}, 0, false},
        {S24_F32, 2, {SIZE_MAX, 4}, 1, false},
        {S24_F32, 2, {4, SIZE_MAX}, 1, false},
        {S24_F32, 1, {SIZE_MAX}, 0, false},
        {S24_F32, 2, {0, 4 * e60}, 1, true},        /* nothing */
        {S24_F32, 2, {4 * e60, 0}, 1, true},
    };
    for (int i = 0; i < ROWS(rows); i++) {
        s24_geometry g;
        s24_error err = {.status = S24_OK};
        const s24_status expected = rows[i].fits ? S24_OK : S24_ERR_DATA;
        ck_assert_msg(s24_geometry_init(&g, rows[i].dtype, rows[i].rank, rows[i].shape, rows[i].axis, NULL, &err) ==
                      expected, "row %d: %s", i, err.message);
        ck_assert_int_eq(err.status, expected);
    }
}
END_TEST

START_TEST(geometry_ranks)
{
    size_t shape[S24_MAX_RANK + 1];
    s24_geometry g;
    s24_error err;
    for (int d = 0; d <= S24_MAX_RANK; d++) {
        shape[d] = 1 + (d == 63);
    }
    ck_assert_int_eq(s24_geometry_init(&g, S24_F32, 64, shape, 63, NULL, &err), S24_OK);
    ck_assert_uint_eq(g.cols, 2);
    ck_assert_int_eq(s24_geometry_init(&g, S24_F32, 65, shape, 63, NULL, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_geometry_init(&g, S24_F32, 65, shape, S24_AXIS_AUTO, NULL, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_geometry_init(&g, S24_F32, -1, shape, S24_AXIS_AUTO, NULL, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_geometry_init(&g, S24_F32, -1, shape, 0, NULL, &err), S24_ERR_DATA);
}
END_TEST

/* ---------------------------------------------------------------- panels */

/* Every group in one panel, in the order of rows; panels as large as they may be, but not larger. */
static void require_covered(size_t rows, size_t cols, size_t panel_groups)
{
    const size_t shape[2] = {rows, cols};
    s24_geometry g;
    size_t next_row = 0, next_group = 0, seen_cols = 0;
    REQUIRE(s24_geometry_init(&g, S24_F32, 2, shape, 1, NULL, NULL) == S24_OK, "geometry");
    const s24_panels panels = s24_panels_of(&g, panel_groups);
    for (size_t i = 0; i < panels.count; i++) {
        const s24_panel_place p = s24_panel_at(&panels, i);
        const bool whole = p.groups == g.groups, last = p.row + p.rows == rows;
        REQUIRE(p.row == next_row && p.group == next_group, "%zu x %zu, %zu: panel %zu", rows, cols, panel_groups, i);
        REQUIRE(p.rows > 0 && p.groups > 0 && p.rows * p.groups <= panel_groups, "panel %zu: size", i);
        REQUIRE(whole ? last || (p.rows + 1) * p.groups > panel_groups : p.rows == 1, "panel %zu: rows", i);
        REQUIRE(whole || p.groups == panel_groups || p.group + p.groups == g.groups, "panel %zu: groups", i);
        REQUIRE(p.group % 2 == 0, "panel %zu: positions begin within a byte", i);
        const size_t beyond = 4 * (p.group + p.groups) > cols ? 4 * (p.group + p.groups) - cols : 0;
        REQUIRE(s24_place_cols(&p, cols) == 4 * p.groups - beyond && beyond < 4, "panel %zu: cols", i);
        seen_cols += p.rows * s24_place_cols(&p, cols);
        next_group = p.group + p.groups == g.groups ? 0 : p.group + p.groups;
        next_row += next_group ? 0 : p.rows;
    }
    REQUIRE(next_row == (cols ? rows : 0) && next_group == 0 && seen_cols == rows * cols, "%zu x %zu, %zu: the end",
            rows, cols, panel_groups);
}

START_TEST(panels_cover)
{
    static const size_t sizes[] = {2, 4, 6, 10, 16, 64, 65536};
    for (int s = 0; s < ROWS(sizes); s++) {
        for (size_t rows = 0; rows <= 12; rows++) {
            for (size_t cols = 0; cols <= 90; cols++) {
                require_covered(rows, cols, sizes[s]);
            }
        }
        for (int n = 0; n < 300; n++) {
            require_covered(1 + below(n % 2 ? 1000 : 5), 1 + below(n % 2 ? 100 : 5000), sizes[s]);
        }
    }
}
END_TEST

/* The panels of the file format and of the order of summation: these must never change. */
START_TEST(panels_of_known_shapes)
{
    static const struct {
        size_t shape[2], count, rows, groups;
    } known[] = {
        {{4096, 4096}, 64, 64, 1024}, {{3, 262144}, 3, 1, 65536}, {{3, 262145}, 6, 1, 65536},
        {{100000, 1}, 2, 65536, 1}, {{10, 4 * 40000}, 10, 1, 40000}, {{10, 4 * 32768}, 5, 2, 32768}, {{1, 1}, 1, 1, 1},
        {{0, 5}, 0, 0, 0}, {{5, 0}, 0, 0, 0},
    };
    for (int i = 0; i < ROWS(known); i++) {
        s24_geometry g;
        ck_assert_int_eq(s24_geometry_init(&g, S24_F32, 2, known[i].shape, 1, NULL, NULL), S24_OK);
        const s24_panels panels = s24_panels_of(&g, S24_PANEL_GROUPS);
        ck_assert_uint_eq(panels.count, known[i].count);
        if (panels.count) {
            const s24_panel_place p = s24_panel_at(&panels, 0);
            ck_assert(p.rows == known[i].rows && p.groups == known[i].groups);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- places in memory */

typedef struct tensor {
    int rank, axis;
    size_t shape[MAX_RANK], n, rows, cols;
    int64_t strides[MAX_RANK]; /* in memory, or in the file */
    unsigned bytes;
} tensor;

static tensor random_tensor(void)
{
    static const unsigned widths[] = {1, 2, 4, 8};
    tensor t = {.rank = (int)below(MAX_RANK + 1), .n = 1, .rows = 1, .cols = 1, .bytes = widths[below(4)]};
    t.axis = (int)below(t.rank ? (size_t)t.rank : 1);
    for (int d = 0; d < t.rank; d++) {
        t.shape[d] = 1 + below(below(3) ? 4 : 9);
        t.n *= t.shape[d];
        t.rows *= d == t.axis ? 1 : t.shape[d];
    }
    t.cols = t.rank ? t.shape[t.axis] : 1;
    return t;
}

/* Where element `col` of row `row` is: rows count up the other dimensions, the last one fastest. */
static size_t place_of(const tensor *t, size_t row, size_t col)
{
    int64_t place = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        const size_t index = d == t->axis ? col : row % t->shape[d];
        row = d == t->axis ? row : row / t->shape[d];
        place += (int64_t)index * t->strides[d];
    }
    return (size_t)place;
}

/* Dense strides, in the order C (d ascending), Fortran, or any; backwards ones come with the offset of element 0. */
static void set_strides(tensor *t, bool fortran)
{
    int64_t stride = 1;
    for (int k = t->rank - 1; k >= 0; k--) {
        const int d = fortran ? t->rank - 1 - k : k;
        t->strides[d] = stride;
        stride *= (int64_t)t->shape[d];
    }
}

static void fill(unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)random_bits();
    }
}

static void random_strides(tensor *t, size_t *origin)
{
    *origin = 0;
    set_strides(t, below(2));
    for (int d = 0; d < t->rank; d++) {
        if (below(3) == 0) {
            *origin += (t->shape[d] - 1) * (size_t)t->strides[d];
            t->strides[d] = -t->strides[d];
        }
    }
}

START_TEST(element_index)
{
    for (int n = 0; n < 300; n++) {
        tensor t = random_tensor();
        set_strides(&t, false);
        int64_t strides[MAX_RANK] = {0};
        s24_c_strides(t.rank, t.shape, strides);
        REQUIRE(memcmp(strides, t.strides, (size_t)t.rank * sizeof *strides) == 0, "s24_c_strides");
        for (size_t row = 0; row < t.rows; row++) {
            for (size_t col = 0; col < t.cols; col++) {
                size_t index[MAX_RANK] = {0}, place = 0;
                s24_element_index(t.rank, t.shape, t.axis, row, col, index);
                for (int d = 0; d < t.rank; d++) {
                    REQUIRE(index[d] < t.shape[d], "index");
                    place = place * t.shape[d] + index[d];
                }
                REQUIRE(place == place_of(&t, row, col), "row %zu, col %zu", row, col);
            }
        }
    }
}
END_TEST

/* A range of a tensor: whole rows, or a part of some. */
typedef struct range {
    size_t row, rows, col, cols;
} range;

static range random_range(const tensor *t)
{
    range r = {.row = below(t->rows), .cols = t->cols};
    r.rows = 1 + below(t->rows - r.row);
    if (below(3) == 0) {
        r.col = below(t->cols);
        r.cols = 1 + below(t->cols - r.col);
    }
    return r;
}

/* Gathered as the model does; scattered back into an empty array only those elements are there. */
START_TEST(gather_and_scatter)
{
    for (int n = 0; n < 5000; n++) {
        tensor t = random_tensor();
        size_t origin;
        random_strides(&t, &origin);
        const range r = random_range(&t);
        const size_t count = r.rows * r.cols;
        unsigned char *array = allocate(t.n * t.bytes), *rows = allocate(count * t.bytes);
        unsigned char *expected = allocate(count * t.bytes);
        unsigned char *back = allocate(t.n * t.bytes), *expected_back = allocate(t.n * t.bytes);
        fill(array, t.n * t.bytes);
        for (size_t i = 0; i < count; i++) {
            const size_t place = origin + place_of(&t, r.row + i / r.cols, r.col + i % r.cols);
            memcpy(expected + i * t.bytes, array + place * t.bytes, t.bytes);
            memcpy(expected_back + place * t.bytes, array + place * t.bytes, t.bytes);
        }
        s24_gather_rows(array + origin * t.bytes, t.bytes, t.rank, t.shape, t.strides, t.axis, r.row, r.rows, r.col,
                        r.cols, rows);
        REQUIRE(memcmp(rows, expected, count * t.bytes) == 0, "gathered");
        s24_scatter_rows(rows, t.bytes, t.rank, t.shape, t.strides, t.axis, r.row, r.rows, r.col, r.cols,
                         back + origin * t.bytes);
        REQUIRE(memcmp(back, expected_back, t.n * t.bytes) == 0, "scattered");
        free(array);
        free(rows);
        free(expected);
        free(back);
        free(expected_back);
    }
}
END_TEST

/* ---------------------------------------------------------------- rows in a file */

/* A file in memory; every move is checked, counted, and fails when it is the turn of one that shall. */
typedef struct file {
    unsigned char *bytes;
    size_t n;               /* elements */
    unsigned width;
    bool writing;
    unsigned char *touched; /* how often each element was moved */
    size_t calls, elements;
    size_t fail_at;         /* this call fails */
} file;

static s24_status move(void *ctx, uint64_t first, size_t n, void *data, s24_error *err)
{
    file *f = ctx;
    REQUIRE(n > 0 && first < f->n && n <= f->n - first, "a move of %zu elements from %llu of %zu", n,
            (unsigned long long)first, f->n);
    if (f->calls++ == f->fail_at) {
        return s24_fail(err, S24_ERR_SYSTEM, "on purpose");
    }
    for (size_t i = first; i < first + n; i++) {
        f->touched[i]++;
    }
    f->elements += n;
    unsigned char *at = f->bytes + first * f->width;
    memcpy(f->writing ? at : data, f->writing ? data : at, n * f->width);
    return S24_OK;
}

/* What s24_rows_read and s24_rows_write want: part of a row only when it is one. */
static range random_request(const tensor *t)
{
    range r = random_range(t);
    if (r.cols != t->cols) {
        r.rows = 1;
    }
    return r;
}

static file file_of(const tensor *t, bool writing)
{
    file f = {.bytes = allocate(t->n * t->bytes), .n = t->n, .width = t->bytes, .writing = writing,
              .touched = allocate(t->n), .fail_at = SIZE_MAX};
    memset(f.touched, 0, t->n);
    return f;
}

static void file_free(file *f)
{
    free(f->bytes);
    free(f->touched);
}

/* Just the elements of the range were moved, each once. */
static void require_touched(const file *f, const tensor *t, const range *r)
{
    REQUIRE(f->elements == r->rows * r->cols, "%zu elements moved, not %zu", f->elements, r->rows * r->cols);
    for (size_t i = 0; i < r->rows * r->cols; i++) {
        REQUIRE(f->touched[place_of(t, r->row + i / r->cols, r->col + i % r->cols)] == 1, "an element was left out");
    }
}

typedef struct setup {
    tensor t;
    s24_rows rows;
    range r;
    unsigned char *data, *expected, *scratch;
    size_t bytes; /* of data */
} setup;

static void setup_make(setup *s)
{
    s->t = random_tensor();
    set_strides(&s->t, false);
    s->rows = (s24_rows){.rank = s->t.rank, .axis = s->t.axis, .shape = s->t.shape, .fortran = below(2),
                         .bytes = s->t.bytes};
    set_strides(&s->t, s->rows.fortran);
    s->r = random_request(&s->t);
    s->bytes = s->r.rows * s->r.cols * s->t.bytes;
    s->data = allocate(s->bytes);
    s->expected = allocate(s->bytes);
    s->scratch = s24_rows_contiguous(&s->rows) ? NULL : allocate(s->bytes);
}

static void setup_free(setup *s)
{
    free(s->data);
    free(s->expected);
    free(s->scratch);
}

START_TEST(rows_read)
{
    for (int n = 0; n < 20000; n++) {
        setup s;
        setup_make(&s);
        file f = file_of(&s.t, false);
        fill(f.bytes, s.t.n * s.t.bytes);
        for (size_t i = 0; i < s.r.rows * s.r.cols; i++) {
            memcpy(s.expected + i * s.t.bytes,
                   f.bytes + place_of(&s.t, s.r.row + i / s.r.cols, s.r.col + i % s.r.cols) * s.t.bytes, s.t.bytes);
        }
        s24_error err;
        REQUIRE(s24_rows_read(&s.rows, s.r.row, s.r.rows, s.r.col, s.r.cols, s.data, s.scratch, move, &f, &err) ==
                S24_OK, "%s", err.message);
        REQUIRE(memcmp(s.data, s.expected, s.bytes) == 0, "read: %zu rows of rank %d", s.r.rows, s.t.rank);
        require_touched(&f, &s.t, &s.r);
        REQUIRE(s.scratch || f.calls == 1, "%zu moves of contiguous rows", f.calls);
        file_free(&f);
        setup_free(&s);
    }
}
END_TEST

START_TEST(rows_write)
{
    for (int n = 0; n < 20000; n++) {
        setup s;
        setup_make(&s);
        file f = file_of(&s.t, true);
        unsigned char *expected = allocate(s.t.n * s.t.bytes);
        fill(s.data, s.bytes);
        memcpy(s.expected, s.data, s.bytes);
        for (size_t i = 0; i < s.r.rows * s.r.cols; i++) {
            memcpy(expected + place_of(&s.t, s.r.row + i / s.r.cols, s.r.col + i % s.r.cols) * s.t.bytes,
                   s.data + i * s.t.bytes, s.t.bytes);
        }
        s24_error err;
        REQUIRE(s24_rows_write(&s.rows, s.r.row, s.r.rows, s.r.col, s.r.cols, s.data, s.scratch, move, &f, &err) ==
                S24_OK, "%s", err.message);
        REQUIRE(memcmp(f.bytes, expected, s.t.n * s.t.bytes) == 0, "written: %zu rows of rank %d", s.r.rows, s.t.rank);
        REQUIRE(memcmp(s.data, s.expected, s.bytes) == 0, "the caller's rows were changed");
        require_touched(&f, &s.t, &s.r);
        free(expected);
        file_free(&f);
        setup_free(&s);
    }
}
END_TEST

/* The status of a move that fails is returned, and there is no other move after it. */
START_TEST(rows_that_fail)
{
    for (int n = 0; n < 3000; n++) {
        setup s;
        setup_make(&s);
        file f = file_of(&s.t, n % 2);
        s24_error err = {.status = S24_OK};
        f.fail_at = below(4);
        const s24_status status = n % 2
            ? s24_rows_write(&s.rows, s.r.row, s.r.rows, s.r.col, s.r.cols, s.data, s.scratch, move, &f, &err)
            : s24_rows_read(&s.rows, s.r.row, s.r.rows, s.r.col, s.r.cols, s.data, s.scratch, move, &f, &err);
        const bool failed = f.calls > f.fail_at;
        REQUIRE(status == (failed ? S24_ERR_SYSTEM : S24_OK) && err.status == status, "status %d", status);
        REQUIRE(!failed || f.calls == f.fail_at + 1, "%zu moves, the one before them failed", f.calls - f.fail_at - 1);
        file_free(&f);
        setup_free(&s);
    }
}
END_TEST

/* No rows: nothing is moved. (Of contiguous rows a move of nothing is one that this test's `move` would refuse.) */
START_TEST(rows_none)
{
    const size_t shape[2] = {6, 5};
    const tensor t = {.rank = 2, .n = 30, .bytes = 4};
    const s24_rows rows = {.rank = 2, .axis = 0, .shape = shape, .fortran = false, .bytes = 4};
    file f = file_of(&t, false);
    ck_assert_int_eq(s24_rows_read(&rows, 2, 0, 0, 6, NULL, NULL, move, &f, NULL), S24_OK);
    ck_assert_int_eq(s24_rows_write(&rows, 2, 0, 0, 6, NULL, NULL, move, &f, NULL), S24_OK);
    ck_assert_uint_eq(f.calls, 0);
    file_free(&f);
}
END_TEST

/*
 * Contiguous means that each element of the rows is in the file where it is in memory. (In Fortran order, and of rows
 * of one element, that is not always recognised, which costs a copy and nothing else.)
 */
START_TEST(rows_contiguous)
{
    int found = 0;
    for (int n = 0; n < 5000; n++) {
        tensor t = random_tensor();
        const s24_rows rows = {.rank = t.rank, .axis = t.axis, .shape = t.shape, .fortran = below(2), .bytes = 4};
        set_strides(&t, rows.fortran);
        bool same = true;
        for (size_t i = 0; i < t.n; i++) {
            same = same && place_of(&t, i / t.cols, i % t.cols) == i;
        }
        const bool told = s24_rows_contiguous(&rows);
        REQUIRE(told == same || (same && (rows.fortran || t.cols == 1)), "rank %d, axis %d: %d", t.rank, t.axis, told);
        found += told;
    }
    ck_assert_int_gt(found, 500);
}
END_TEST

/* A transposed matrix takes a move a row of the file's order, not one an element. */
START_TEST(rows_in_long_runs)
{
    tensor t = {.rank = 2, .axis = 0, .shape = {64, 50}, .n = 3200, .rows = 50, .cols = 64, .bytes = 4};
    const s24_rows rows = {.rank = 2, .axis = 0, .shape = t.shape, .fortran = false, .bytes = 4};
    unsigned char *data = allocate(t.n * 4), *scratch = allocate(t.n * 4);
    file f = file_of(&t, false);
    set_strides(&t, false);
    ck_assert_int_eq(s24_rows_read(&rows, 0, 50, 0, 64, data, scratch, move, &f, NULL), S24_OK);
    ck_assert_uint_eq(f.calls, 1); /* all of it */
    ck_assert_int_eq(s24_rows_read(&rows, 10, 20, 0, 64, data, scratch, move, &f, NULL), S24_OK);
    ck_assert_uint_eq(f.calls, 1 + 64);
    file_free(&f);
    free(data);
    free(scratch);
}
END_TEST

/* ---------------------------------------------------------------- suite */

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_shape: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("shape");
    TCase *tcase = tcase_create("shape");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, axis_auto);
    tcase_add_test(tcase, axis_from_either_end);
    tcase_add_test(tcase, geometry_by_counting);
    tcase_add_test(tcase, geometry_of_a_number);
    tcase_add_test(tcase, geometry_limits);
    tcase_add_test(tcase, geometry_ranks);
    tcase_add_test(tcase, panels_cover);
    tcase_add_test(tcase, panels_of_known_shapes);
    tcase_add_test(tcase, element_index);
    tcase_add_test(tcase, gather_and_scatter);
    tcase_add_test(tcase, rows_read);
    tcase_add_test(tcase, rows_write);
    tcase_add_test(tcase, rows_that_fail);
    tcase_add_test(tcase, rows_none);
    tcase_add_test(tcase, rows_contiguous);
    tcase_add_test(tcase, rows_in_long_runs);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
