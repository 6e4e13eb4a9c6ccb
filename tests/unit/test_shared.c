/* Blocks with several owners: the last one frees, which a sanitizer sees. */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "format.h"

START_TEST(the_last_owner_frees)
{
    s24_error err;
    char *const text = s24_shared_text("text", &err);
    ck_assert_str_eq(text, "text");
    ck_assert_ptr_eq(s24_shared_keep(text), text);
    s24_shared_free(text);
    ck_assert_str_eq(text, "text");
    s24_shared_free(text);
    ck_assert_ptr_null(s24_shared_keep(NULL));
    s24_shared_free(NULL);
    ck_assert_ptr_null(s24_shared_new(NULL, SIZE_MAX - 4, &err));
    ck_assert_int_eq(err.status, S24_ERR_SYSTEM);
}
END_TEST

START_TEST(what_repeats_is_one)
{
    char *const first = s24_shared_like(NULL, "a", NULL), *const same = s24_shared_like(first, "a", NULL);
    char *const other = s24_shared_like(first, "b", NULL);
    ck_assert_ptr_eq(first, same);
    ck_assert_ptr_ne(first, other);
    ck_assert_str_eq(other, "b");
    s24_shared_free(first);
    ck_assert_str_eq(same, "a");
    s24_shared_free(same);
    s24_shared_free(other);
}
END_TEST

/* A plan has its names, shapes and metadata from the source, and may outlive it. */
START_TEST(contents_keep_from_each_other)
{
    static const size_t shape[] = {3, 5};
    s24_contents from = {0}, plan = {0};
    ck_assert_ptr_nonnull(s24_contents_add(&from, "w", S24_F32, 2, shape, NULL));
    ck_assert_int_eq(s24_contents_add_pair(&from, "key", "value", NULL), S24_OK);
    const s24_entry *const e = s24_contents_add_like(&plan, &from.entries[0], S24_F16, NULL);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(s24_contents_keep_pair(&plan, &from.metadata[0], NULL), S24_OK);
    ck_assert_ptr_eq(e->name, from.entries[0].name);
    s24_contents_free(&from);
    ck_assert_str_eq(e->name, "w");
    ck_assert_mem_eq(e->shape, shape, sizeof shape);
    ck_assert_uint_eq(e->bytes, 30);
    ck_assert_str_eq(plan.metadata[0].value, "value");
    s24_contents_free(&plan);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("shared");
    TCase *const tcase = tcase_create("all");
    tcase_add_test(tcase, the_last_owner_frees);
    tcase_add_test(tcase, what_repeats_is_one);
    tcase_add_test(tcase, contents_keep_from_each_other);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
