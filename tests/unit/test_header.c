/* The header of a .s24 by itself: its length, which it holds; what it refuses; and where everything lies, again. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "jsonx.h"
#include "plain.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void add(s24_plain *plain, const char *name, bool packed)
{
    static const size_t shape[] = {3, 10};
    s24_entry *const e = s24_contents_add(&plain->contents, name, S24_F32, 2, shape, NULL);
    ck_assert_ptr_nonnull(e);
    if (packed) {
        ck_assert_int_eq(s24_entry_pack(e, 1, NULL), S24_OK);
        e->method = s24_shared_text("magnitude", NULL);
    }
}

static void begin_file(s24_plain *plain)
{
    s24_plain_init(plain);
    plain->tool = strdup("test \"\\");
    plain->container = strdup("npz");
}

/* Any number of tensors whose names are as long as it says, every third one carried. */
static void make_file(s24_plain *plain, size_t tensors, int name)
{
    begin_file(plain);
    ck_assert_int_eq(s24_contents_add_pair(&plain->contents, "s24mine", "kept \"\n", NULL), S24_OK);
    for (size_t i = 0; i < tensors; i++) {
        char of[64];
        snprintf(of, sizeof of, "%0*zu", name, i);
        add(plain, of, i % 3 != 2);
    }
}

static char *header_of(const s24_plain *plain)
{
    char *const header = malloc(plain->header_bytes);
    ck_assert_ptr_nonnull(header);
    ck_assert_uint_eq(plain->header.bytes, plain->header_bytes);
    ck_assert_int_eq(s24_inflate(&plain->header, header, NULL), S24_OK);
    return header;
}

/* It is JSON of the length that it begins with, lists its copy with that, and its hash is of all of it. */
static void check_header(const s24_plain *plain, const char *header)
{
    const size_t n = plain->header_bytes;
    char copy[64];
    ck_assert_uint_eq(n % 64, 0);
    ck_assert_uint_eq(s24_get_u64((const unsigned char *)header), n - 8);
    ck_assert_int_eq(s24_json_check(header + 8, n - 8, NULL), S24_OK);
    ck_assert_uint_eq(plain->hash, XXH3_64bits(header, n));
    snprintf(copy, sizeof copy, "\".s24.header\":{\"dtype\":\"U8\",\"shape\":[%zu]", n);
    char *const text = strndup(header + 8, n - 8);
    ck_assert_ptr_nonnull(strstr(text, copy));
    free(text);
    ck_assert_uint_eq(plain->tail, plain->copy + n);
    ck_assert_uint_eq(plain->file_size, plain->tail + S24_RECORD_BYTES);
}

/* Where its length gains a digit, and wherever the blanks before its end are many or few. */
START_TEST(it_holds_its_own_length)
{
    size_t lengths = 0, last = 0;
    for (int name = 1; name < 40; name++) {
        s24_plain plain;
        make_file(&plain, (size_t)_i, name);
        ck_assert_int_eq(s24_plain_lay_out(&plain, NULL), S24_OK);
        char *const header = header_of(&plain);
        check_header(&plain, header);
        lengths += plain.header_bytes != last;
        last = plain.header_bytes;
        free(header);
        s24_plain_free(&plain);
    }
    ck_assert(_i < 5 || lengths > 10);
}
END_TEST

/* The level is of how it is held; another writer of the same tensors takes it as it is. */
START_TEST(it_is_the_same_for_all_who_write_it)
{
    s24_plain plain, archive, like;
    make_file(&plain, 50, 8);
    make_file(&archive, 50, 8);
    make_file(&like, 50, 8);
    archive.level = like.level = 5;
    ck_assert_int_eq(s24_plain_lay_out(&plain, NULL), S24_OK);
    ck_assert_int_eq(s24_plain_lay_out(&archive, NULL), S24_OK);
    ck_assert_int_eq(s24_plain_lay_out_like(&like, &plain, NULL), S24_OK);
    ck_assert_uint_lt(archive.header.coded_bytes, plain.header.coded_bytes);
    ck_assert_uint_eq(like.header.coded_bytes, archive.header.coded_bytes);
    ck_assert_mem_eq(like.header.coded, archive.header.coded, archive.header.coded_bytes);
    ck_assert(plain.hash == archive.hash && plain.hash == like.hash);
    ck_assert(plain.file_size == like.file_size && plain.copy == like.copy && plain.tail == like.tail);
    ck_assert_uint_eq(plain.metrics.offset, like.metrics.offset);
    for (size_t i = 0; i < plain.contents.count; i++) {
        const s24_entry *const a = &plain.contents.entries[i], *const b = &like.contents.entries[i];
        ck_assert(a->offset == b->offset && a->checks == b->checks && a->checks_bytes == b->checks_bytes);
    }
    s24_plain_free(&plain);
    s24_plain_free(&archive);
    s24_plain_free(&like);
}
END_TEST

/* Names of others' (a .npz, a caller of the library), and what the file has for itself. */
START_TEST(names_that_it_cannot_hold)
{
    static const struct {
        const char *names[3], *metadata, *message; /* NULL: it can */
        bool packed;
    } cases[] = {
        {{"a", "b", "\xc3"}, NULL, "cannot hold: byte 1: not UTF-8", true},
        {{"a", "b", "\xed\xa0\x80"}, NULL, "cannot hold: ", true},
        {{"a", "b", "c"}, "\xff", "cannot hold: ", true},
        {{"b", "a", "b"}, NULL, "\"b\" would occur twice; rename the tensor", true},
        {{"", "", "b"}, NULL, "\"\" would occur twice", false},
        {{"a", "__metadata__", "c"}, NULL, "\"__metadata__\" would occur twice", false},
        {{"a", "__metadata__", "c"}, NULL, NULL, true},
        {{".s24.metrics", "b", "c"}, NULL, "\".s24.metrics\" would occur twice", true},
        {{".s24.metrics", "b", "c"}, NULL, "\".s24.metrics\" would occur twice", false},
        {{".s24.head", ".s24.tail", "x.s24.values"}, NULL, NULL, false}, /* x.s24.values.s24.dense */
        {{"x", "x.s24.values", "x.s24.checks"}, NULL, NULL, true},
    };
    s24_plain plain;
    s24_error err;
    begin_file(&plain);
    for (int i = 0; i < 3; i++) {
        add(&plain, cases[_i].names[i], cases[_i].packed);
    }
    if (cases[_i].metadata) {
        ck_assert_int_eq(s24_contents_add_pair(&plain.contents, "key", cases[_i].metadata, NULL), S24_OK);
    }
    const s24_status status = s24_plain_lay_out(&plain, &err);
    if (cases[_i].message) {
        ck_assert_int_eq(status, S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, cases[_i].message), "%s", err.message);
        ck_assert_ptr_null(plain.header.coded);
    } else {
        ck_assert_msg(status == S24_OK, "%s", err.message);
        char *const header = header_of(&plain);
        check_header(&plain, header); /* no key twice */
        free(header);
    }
    s24_plain_free(&plain);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("header");
    TCase *const tcase = tcase_create("all");
    tcase_add_loop_test(tcase, it_holds_its_own_length, 0, 40);
    tcase_add_test(tcase, it_is_the_same_for_all_who_write_it);
    tcase_add_loop_test(tcase, names_that_it_cannot_hold, 0, 11);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
