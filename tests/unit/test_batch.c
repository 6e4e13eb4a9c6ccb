/* Batches of panels: whatever the sizes, each panel is in one of them, in order, and none is larger than it may be. */
#include <check.h>
#include <stdlib.h>

#include "batch.h"

/* rows, columns, groups a panel, bytes an element, the most bytes of a batch; and the batches that there are */
static const struct {
    size_t rows, cols, panel_groups;
    unsigned bytes;
    size_t most, count;
} cases[] = {
    {10, 16, 4, 4, 0, 10},         /* no rows are transposed: a panel each */
    {10, 16, 8, 4, 0, 5},
    {10, 16, 4, 4, 192, 4},        /* three rows of 64 bytes a batch, and one in the last */
    {10, 16, 4, 4, 255, 4},
    {10, 16, 4, 4, 256, 3},
    {10, 16, 4, 2, 256, 2},
    {10, 15, 4, 4, 192, 4},        /* padded */
    {10, 16, 4, 4, 63, 10},        /* a panel is more than a batch may have: it is one all the same */
    {10, 16, 4, 4, 1, 10},
    {10, 16, 4, 4, 640, 1},
    {10, 16, 4, 4, 1u << 20, 1},   /* there are no more */
    {3, 40, 4, 4, 1u << 20, 9},    /* rows are split into runs: transposed or not, a run each */
    {0, 16, 4, 4, 256, 0},
    {10, 0, 4, 4, 256, 0},
};

START_TEST(cover_all_panels)
{
    const size_t shape[] = {cases[_i].rows, cases[_i].cols};
    s24_geometry g;
    ck_assert_int_eq(s24_geometry_init(&g, S24_F32, 2, shape, 1, NULL, NULL), S24_OK);
    const s24_panels panels = s24_panels_of(&g, cases[_i].panel_groups);
    const s24_batches b = s24_batches_of(&panels, cases[_i].cols, cases[_i].bytes, cases[_i].most);
    size_t next = 0, elements = 0;
    ck_assert_uint_eq(b.count, cases[_i].count);
    ck_assert(b.count == 0 || b.per_batch <= panels.count); /* nobody takes memory for more */
    for (size_t i = 0; i < b.count; i++) {
        size_t first, count, rows = 0;
        const s24_panel_place place = s24_batch_at(&b, i, &first, &count);
        ck_assert_uint_eq(first, next);
        ck_assert_uint_ge(count, 1);
        for (next = first; next < first + count; next++) {
            const s24_panel_place of = s24_panel_at(&panels, next);
            ck_assert_uint_eq(of.row, place.row + rows);
            ck_assert_uint_eq(of.group, place.group);
            ck_assert_uint_eq(s24_batch_before(&b, first, next), rows * cases[_i].cols);
            rows += of.rows;
            elements += 4 * of.rows * of.groups;
        }
        ck_assert_uint_eq(place.rows, rows);
        ck_assert_uint_le(4 * place.rows * place.groups, b.elements);
        ck_assert(count == 1 || 4 * place.rows * place.groups * cases[_i].bytes <= cases[_i].most);
    }
    ck_assert_uint_eq(next, panels.count);
    ck_assert_uint_eq(elements, 4 * g.rows * g.groups);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("batch");
    TCase *tests = tcase_create("batch");
    tcase_add_loop_test(tests, cover_all_panels, 0, (int)(sizeof cases / sizeof *cases));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
