/* Bytes held deflated, and text that is not held. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "deflated.h"
#include "random.h"
#include "textbuf.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define BYTES ((size_t)300000)

/* Half of them repeat what was before, so that they deflate and take more than a window. */
static unsigned char *make_bytes(size_t n)
{
    unsigned char *const data = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < n; i++) {
        data[i] = i >= 5000 && i / 1000 % 2 ? data[i - 4999] : (unsigned char)random_bits();
    }
    return data;
}

START_TEST(any_piece_comes_back)
{
    static const size_t lengths[] = {0, 1, 64, 16384, 16385, BYTES};
    const size_t n = lengths[_i];
    unsigned char *const data = make_bytes(n), *const got = malloc(n ? n : 1);
    s24_deflated d;
    s24_inflater inflater;
    ck_assert_int_eq(s24_deflate(&d, data, n, 1, NULL), S24_OK);
    ck_assert_uint_eq(d.bytes, n);
    ck_assert_int_eq(s24_inflate(&d, got, NULL), S24_OK);
    ck_assert_mem_eq(got, data, n);
    s24_inflate_begin(&inflater, &d);
    for (int i = 0; i < 40; i++) { /* onwards, backwards, over one another */
        const size_t offset = below(n + 1), most = n - offset;
        const size_t bytes = below(most < 70000 ? most + 1 : 70000);
        memset(got, 0, bytes);
        ck_assert_int_eq(s24_inflate_read(&inflater, offset, got, bytes, NULL), S24_OK);
        ck_assert_mem_eq(got, data + offset, bytes);
    }
    s24_inflate_end(&inflater);
    s24_deflated_free(&d);
    free(data);
    free(got);
}
END_TEST

/* The bytes of an archive must not depend on how its header was put together. */
START_TEST(pieces_do_not_matter)
{
    static const size_t pieces[] = {1, 63, 4096, 65536, BYTES};
    static const int levels[] = {1, 6, 9};
    const int level = levels[_i];
    unsigned char *const data = make_bytes(BYTES);
    s24_deflated whole, again, d;
    ck_assert_int_eq(s24_deflate(&whole, data, BYTES, level, NULL), S24_OK);
    for (size_t p = 0; p < COUNT(pieces); p++) {
        s24_deflater deflater;
        s24_deflate_begin(&deflater, level);
        for (size_t at = 0; at < BYTES; at += pieces[p]) {
            s24_deflate_add(&deflater, data + at, BYTES - at < pieces[p] ? BYTES - at : pieces[p]);
        }
        ck_assert_int_eq(s24_deflate_end(&deflater, &d, NULL), S24_OK);
        ck_assert_uint_eq(d.coded_bytes, whole.coded_bytes);
        ck_assert_mem_eq(d.coded, whole.coded, whole.coded_bytes);
        s24_deflated_free(&d);
    }
    ck_assert_int_eq(s24_deflate(&d, data, BYTES, 3, NULL), S24_OK);
    ck_assert_int_eq(s24_deflate_again(&again, &d, level, NULL), S24_OK);
    ck_assert_uint_eq(again.coded_bytes, whole.coded_bytes);
    ck_assert_mem_eq(again.coded, whole.coded, whole.coded_bytes);
    s24_deflated_free(&whole);
    s24_deflated_free(&again);
    s24_deflated_free(&d);
    free(data);
}
END_TEST

static void collect(void *to, const char *text, size_t n)
{
    ck_assert_uint_eq(strlen(text), n);
    s24_text_add(to, text, n);
}

static void write_some(s24_text *text)
{
    static const char odd[] = "\"a\\b\n\x01";
    for (int i = 0; i < 20000; i++) {
        s24_text_printf(text, "%d", i);
        s24_text_json_string(text, i % 7 ? "w" : odd);
    }
    s24_text_printf(text, "%0300d", 7); /* more than is expected */
}

START_TEST(drained_text_is_the_same)
{
    s24_text kept = {0}, collected = {0};
    s24_text drained = {.drain = collect, .to = &collected};
    write_some(&kept);
    write_some(&drained);
    ck_assert_uint_lt(drained.capacity, kept.length / 4);
    s24_text_drain(&drained);
    s24_text_drain(&drained); /* nothing more */
    ck_assert_uint_eq(collected.length, kept.length);
    ck_assert_str_eq(collected.text, kept.text);
    ck_assert(!drained.failed);
    s24_text_free(&kept);
    s24_text_free(&drained);
    s24_text_free(&collected);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("deflated");
    TCase *const tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_loop_test(tcase, any_piece_comes_back, 0, 6);
    tcase_add_loop_test(tcase, pieces_do_not_matter, 0, 3);
    tcase_add_test(tcase, drained_text_is_the_same);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
