/* Views with places of axes in another order, against the plain permutation of an array. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "reorder.h"

#include "random.h"

typedef struct fixture {
    s24_source source;
    s24_contents contents;
    uint16_t *data;
    size_t count;
    int32_t *orders[3];
} fixture;

static int32_t *random_order(size_t n)
{
    int32_t *o = calloc(n, sizeof *o);
    for (size_t i = 0; i < n; i++) {
        const size_t k = below(i + 1);
        o[i] = o[k];
        o[k] = (int32_t)i;
    }
    return o;
}

static void make(fixture *f, int rank, const size_t *shape, bool fortran)
{
    static const s24_io io;
    *f = (fixture){.count = 1};
    for (int d = 0; d < rank; d++) {
        f->count *= shape[d];
    }
    f->data = calloc(f->count, sizeof *f->data);
    void *bytes = calloc(f->count, sizeof *f->data);
    for (size_t i = 0; i < f->count; i++) {
        f->data[i] = (uint16_t)i;
    }
    memcpy(bytes, f->data, f->count * sizeof *f->data);
    s24_entry *e = s24_contents_add(&f->contents, "w", S24_F16, rank, shape, NULL);
    ck_assert_int_eq(s24_input_memory(&f->source.in, &io, "memory", bytes, f->count * sizeof *f->data, NULL), S24_OK);
    e->in = f->source.in;
    e->fortran = fortran;
}

static void end(fixture *f)
{
    s24_contents_free(&f->contents);
    s24_input_close(f->source.in);
    for (int d = 0; d < 3; d++) {
        free(f->orders[d]);
    }
    free(f->data);
}

/* Element [i, j, k] of the view, by its definition. */
static uint16_t expected(const fixture *f, const size_t *shape, size_t i, size_t j, size_t k, bool fortran)
{
    size_t at[3] = {i, j, k};
    for (int d = 0; d < 3; d++) {
        at[d] = f->orders[d] ? (size_t)f->orders[d][at[d]] : at[d];
    }
    return f->data[fortran ? at[0] + shape[0] * (at[1] + shape[1] * at[2]) : (at[0] * shape[1] + at[1]) * shape[2] + at[2]];
}

static void require_view(const size_t *shape, unsigned axes, bool fortran)
{
    fixture f;
    make(&f, 3, shape, fortran);
    s24_entry *const e = &f.contents.entries[0];
    for (int d = 0; d < 3; d++) {
        if (axes >> d & 1) {
            f.orders[d] = random_order(shape[d]);
            ck_assert_int_eq(s24_entry_reorder(e, d, f.orders[d], NULL), S24_OK);
            ck_assert_mem_eq(s24_entry_order(e, d), f.orders[d], shape[d] * sizeof(int32_t));
        } else {
            ck_assert_ptr_null(s24_entry_order(e, d));
        }
    }
    uint16_t *got = calloc(f.count, sizeof *got);
    for (int round = 0; round < 5; round++) {
        const size_t first = round ? below(f.count) : 0, n = round ? 1 + below(f.count - first) : f.count;
        ck_assert_int_eq(e->layout->read(e, first, n, got, NULL), S24_OK);
        for (size_t x = 0; x < n; x++) {
            const size_t at = first + x, k = at % shape[2], j = at / shape[2] % shape[1], i = at / shape[2] / shape[1];
            ck_assert_uint_eq(got[x], expected(&f, shape, i, j, k, fortran));
        }
    }
    free(got);
    end(&f);
}

START_TEST(every_set_of_axes)
{
    static const size_t shapes[][3] = {{5, 7, 3}, {1, 8, 1}, {4, 4, 9}, {16, 1, 5}, {3, 2, 2500}, {2, 500, 2}};
    for (unsigned axes = 1; axes < 8; axes++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            require_view(shapes[s], axes, false);
            require_view(shapes[s], axes, true);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reorder");
    TCase *tcase = tcase_create("reorder");
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_reorder: S24_SEED=%llu\n", (unsigned long long)first_seed);
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, every_set_of_axes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
