/* The strict door before cJSON: what is JSON passes, what is not is refused at the right byte, by its cause. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jsonx.h"
#include "mem.h"
#include "st_header.h"

/* A literal with its length, so that it may hold NUL. */
#define TEXT(s) s, sizeof(s) - 1

static const struct {
    const char *text;
    size_t n;
} good[] = {
    {TEXT("0")},
    {TEXT(" \t\r\n-0.5e-400 \n")}, /* underflow is rounding */
    {TEXT("1.7976931348623157e308")},
    {TEXT("179769313486231570e291")},
    {TEXT("17976931348623157000000000000000000000000000000000000000000000")},
    {TEXT("0.00000000000000000000000000000000000000000000000000001e+350")},
    {TEXT("0e999999999999999999999999")},
    {TEXT("-12.50E+03")},
    {TEXT("null")},
    {TEXT("true")},
    {TEXT("false")},
    {TEXT("\"\"")},
    {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"")},
    {TEXT("\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"")},
    {TEXT("[]")},
    {TEXT("{}")},
    {TEXT("[ ]")},
    {TEXT("[[],{},[1,2,3],\"a\",{\"a\":{\"a\":[{}]}}]")},
    {TEXT("{\"a\":1,\"b\":2,\"A\":3,\"\":4,\"aa\":5,\"\\u0062b\":6}")},
    {TEXT("[{\"a\":1},{\"a\":2}]")},
};

#define SIXTY_FOUR "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
    const char *text;
    size_t n;
    size_t offset;
    const char *message;
} bad[] = {
    {TEXT(""), 0, "not complete"},
    {TEXT("  "), 2, "not complete"},
    {TEXT("nul"), 3, "not complete"},
    {TEXT("nulx"), 0, "a value is missing"},
    {TEXT("[1,]"), 3, "a value is missing"},
    {TEXT("[,1]"), 1, "a value is missing"},
    {TEXT("[1 2]"), 3, "a comma or ] is missing"},
    {TEXT("[1}"), 2, "a comma or ] is missing"},
    {TEXT("{\"a\":1]"), 6, "a comma or } is missing"},
    {TEXT("{\"a\":1,}"), 7, "a key in double quotes is missing"},
    {TEXT("{a:1}"), 1, "a key in double quotes is missing"},
    {TEXT("{1:1}"), 1, "a key in double quotes is missing"},
    {TEXT("{\"a\" 1}"), 5, "a colon is missing"},
    {TEXT("{\"a\":}"), 5, "a value is missing"},
    {TEXT("1 2"), 2, "something follows"},
    {TEXT("[]]"), 2, "something follows"},
    {TEXT("[] \0"), 3, "something follows"},
    {TEXT("[1] // one"), 4, "something follows"},
    {TEXT("\v1"), 0, "a value is missing"},
    {TEXT("\xef\xbb\xbf[1]"), 0, "byte order mark"},
    /* numbers */
    {TEXT("01"), 0, "begins with 0"},
    {TEXT("-01"), 0, "begins with 0"},
    {TEXT("+1"), 0, "a value is missing"},
    {TEXT(".5"), 0, "a value is missing"},
    {TEXT("-.5"), 1, "a digit is missing"},
    {TEXT("- 1"), 1, "a digit is missing"},
    {TEXT("[-]"), 2, "a digit is missing"},
    {TEXT("[1.]"), 3, "a digit is missing after"},
    {TEXT("[1.e5]"), 3, "a digit is missing after"},
    {TEXT("[1e]"), 3, "a digit is missing in the exponent"},
    {TEXT("[1e+]"), 4, "a digit is missing in the exponent"},
    {TEXT("1e5.5"), 3, "something follows"},
    {TEXT("0x10"), 1, "something follows"},
    {TEXT("[1,1e999]"), 3, "beyond the range of f64"},
    {TEXT("1.7976931348623159e308"), 0, "beyond the range of f64"},
    {TEXT("-1e309"), 0, "beyond the range of f64"},
    {TEXT("1e99999999999999999999999999999999999"), 0, "beyond the range of f64"},
    {TEXT("1111111111111111111111111111111111111111111111111111111111111111"), 0, "more than 63 characters"},
    {TEXT("[NaN]"), 1, "no infinity and no NaN"},
    {TEXT("[-Infinity]"), 1, "no infinity and no NaN"},
    {TEXT("Infinity"), 0, "no infinity and no NaN"},
    {TEXT("[nan]"), 1, "no infinity and no NaN"},
    {TEXT("[None]"), 1, "None is Python's"},
    {TEXT("[True]"), 1, "True is Python's"},
    {TEXT("['a']"), 1, "double quotes"},
    /* strings */
    {TEXT("\"a"), 2, "not complete"},
    {TEXT("\"a\\"), 2, "an escape"},
    {TEXT("\"a\n\""), 2, "control character"},
    {TEXT("\"\0\""), 1, "control character"},
    {TEXT("\"\\x41\""), 1, "an escape"},
    {TEXT("\"\\u12g4\""), 1, "four hexadecimal digits"},
    {TEXT("\"\\u12"), 1, "four hexadecimal digits"},
    {TEXT("\"a\\u0000\""), 2, "NUL"},
    {TEXT("\"\\ud800\""), 1, "surrogate"},
    {TEXT("\"\\ud800\\u0041\""), 1, "surrogate"},
    {TEXT("\"\\udc00\\ud800\""), 1, "surrogate"},
    {TEXT("\"\\ud800\\ud800\""), 1, "surrogate"},
    {TEXT("\"\\ud800\\ue000\""), 1, "surrogate"},
    {TEXT("\"\\ud800\\u12g4\""), 1, "surrogate"},
    {TEXT("\"\\ud800xxdc00\""), 1, "surrogate"},
    {TEXT("\"\x80\""), 1, "not UTF-8"},
    {TEXT("\"\xc0\x80\""), 1, "not UTF-8"},             /* overlong NUL */
    {TEXT("\"\xc1\xbf\""), 1, "not UTF-8"},             /* overlong DEL */
    {TEXT("\"\xe0\x9f\xbf\""), 1, "not UTF-8"},         /* overlong U+07FF */
    {TEXT("\"\xf0\x8f\xbf\xbf\""), 1, "not UTF-8"},     /* overlong U+FFFF */
    {TEXT("\"\xed\xa0\x80\""), 1, "not UTF-8"},         /* surrogate */
    {TEXT("\"\xf4\x90\x80\x80\""), 1, "not UTF-8"},     /* beyond U+10FFFF */
    {TEXT("\"\xf5\x80\x80\x80\""), 1, "not UTF-8"},
    {TEXT("\"\xe2\x82\""), 1, "not UTF-8"},
    {TEXT("\"\xe2\x82"), 1, "not UTF-8"},
    {TEXT("\"\xff\""), 1, "not UTF-8"},
    /* keys */
    {TEXT("{\"a\":1,\"a\":2}"), 7, "\"a\" occurs twice"},
    {TEXT("{\"\":1,\"\":2}"), 6, "\"\" occurs twice"},
    {TEXT("{\"b\":1,\"a\":1,\"a\":1,\"b\":1,\"c\":1,\"c\":1,\"a\":1}"), 13, "\"a\" occurs twice"}, /* the first of them */
    {TEXT("{\"a\":1,\"\\u0061\":2}"), 7, "\"\\u0061\" occurs twice"},
    {TEXT("{\"\\u00e9\":1,\"b\":2,\"\xc3\xa9\":3}"), 18, "occurs twice"},
    {TEXT("{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":3}"), 18, "occurs twice"},
    {TEXT("{\"x\":{\"a\":{},\"b\":[],\"a\":0}}"), 20, "\"a\" occurs twice"},
    {TEXT("{\"" SIXTY_FOUR "more\":1,\"" SIXTY_FOUR "more\":2}"), 74, "\"" SIXTY_FOUR "\" occurs twice"},
};

START_TEST(good_texts)
{
    s24_error err;
    cJSON *json = NULL;
    ck_assert_msg(s24_json_check(good[_i].text, good[_i].n, &err) == S24_OK, "%s: %s", good[_i].text, err.message);
    ck_assert_int_eq(s24_json_parse(good[_i].text, good[_i].n, SIZE_MAX, &json, NULL), S24_OK);
    ck_assert_ptr_nonnull(json);
    cJSON_Delete(json);
}
END_TEST

START_TEST(bad_texts)
{
    s24_error err = {0};
    cJSON *json = NULL;
    char *const copy = malloc(bad[_i].n + 1); /* its own block: a read beyond it is seen by a sanitizer */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bad[_i].text, bad[_i].n);
    ck_assert_msg(s24_json_parse(copy, bad[_i].n, SIZE_MAX, &json, &err) == S24_ERR_DATA, "%s", bad[_i].text);
    ck_assert_ptr_null(json);
    ck_assert_msg(strstr(err.message, bad[_i].message), "%s: %s", bad[_i].text, err.message);
    ck_assert_msg(err.offset == bad[_i].offset, "%s: byte %llu, %s", bad[_i].text, (unsigned long long)err.offset,
                  err.message);
    char prefix[32];
    snprintf(prefix, sizeof prefix, "byte %zu: ", bad[_i].offset);
    ck_assert_ptr_eq(strstr(err.message, prefix), err.message);
    ck_assert_int_eq(s24_json_check(copy, bad[_i].n, NULL), S24_ERR_DATA);
    free(copy);
}
END_TEST

START_TEST(every_truncation_fails)
{
    static const char text[] = "{\"a\\u00e9\":[1.5e-3,true,null,{\"b\":\"\xe2\x82\xac\"}],\"c\":false}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *const copy = malloc(n + 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, text, n);
        ck_assert_int_eq(s24_json_check(copy, n, NULL), S24_ERR_DATA);
        free(copy);
    }
    ck_assert_int_eq(s24_json_check(text, sizeof text - 1, NULL), S24_OK);
}
END_TEST

START_TEST(nesting_has_a_limit)
{
    char text[258];
    s24_error err;
    for (size_t depth = 127; depth <= 129; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        const s24_status status = s24_json_check(text, 2 * depth, &err);
        ck_assert_int_eq(status, depth <= 128 ? S24_OK : S24_ERR_DATA);
    }
    ck_assert_uint_eq(err.offset, 128);
    ck_assert_ptr_nonnull(strstr(err.message, "deeper than 128"));
    const size_t n = 10000000; /* no recursion */
    char *const deep = malloc(n);
    ck_assert_ptr_nonnull(deep);
    memset(deep, '[', n);
    ck_assert_int_eq(s24_json_check(deep, n, NULL), S24_ERR_DATA);
    free(deep);
}
END_TEST

/* 300,000 keys in one object, and the last one twice: no quadratic work, and the one duplicate is seen. */
START_TEST(many_keys)
{
    s24_text text = {0};
    s24_text_add(&text, "{", 1);
    for (int i = 0; i < 300000; i++) {
        s24_text_printf(&text, "\"k%d\":%d,", i, i);
    }
    const size_t end = text.length;
    s24_text_printf(&text, "\"k\":0}");
    ck_assert(!text.failed);
    ck_assert_int_eq(s24_json_check(text.text, text.length, NULL), S24_OK);
    text.length = end;
    s24_text_printf(&text, "\"k77\\u0037\":0}");
    s24_error err;
    ck_assert_int_eq(s24_json_check(text.text, text.length, &err), S24_ERR_DATA);
    ck_assert_uint_eq(err.offset, end);
    s24_text_free(&text);
}
END_TEST

START_TEST(values_are_what_they_say)
{
    static const char text[] = "{\"a\":\"x\\ud83d\\ude00\",\"A\":9007199254740992,"
                               "\"n\":[0,-1,1.5,9007199254740993,1e300]}";
    s24_error err;
    cJSON *json = NULL;
    ck_assert_int_eq(s24_json_parse(text, sizeof text - 1, SIZE_MAX, &json, &err), S24_OK);
    ck_assert_str_eq(s24_json_string(json, "a", &err), "x\xf0\x9f\x98\x80");
    size_t size = 0;
    ck_assert(s24_json_size(s24_json_get(json, "A"), &size));
    ck_assert_uint_eq(size, 9007199254740992u);
    const cJSON *n = s24_json_get(json, "n")->child;
    ck_assert(s24_json_size(n, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert(!s24_json_size(n->next, &size));
    ck_assert(!s24_json_size(n->next->next, &size));
    ck_assert(!s24_json_size(n->next->next->next->next, &size));
    ck_assert(!s24_json_size(s24_json_get(json, "a"), &size));
    ck_assert(!s24_json_size(NULL, &size));
    ck_assert_ptr_null(s24_json_get(json, "N"));
    ck_assert_ptr_null(s24_json_string(json, "N", &err));
    ck_assert_ptr_nonnull(strstr(err.message, "\"N\" is missing"));
    ck_assert_ptr_null(s24_json_string(json, "A", &err));
    ck_assert_ptr_nonnull(strstr(err.message, "\"A\" is not a string"));
    cJSON_Delete(json);
}
END_TEST

START_TEST(numbers_written_read_back)
{
    static const double values[] = {0.1, -0.0, 5e-324, 1.7976931348623157e308, 1.0 / 3, 3};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        cJSON *const json = cJSON_CreateObject(), *again = NULL;
        s24_json_add_f64(json, "x", values[i]);
        s24_json_add_f64(json, "nan", NAN);
        s24_json_add_f64(json, "inf", -INFINITY);
        char *const text = cJSON_PrintUnformatted(json);
        ck_assert_int_eq(s24_json_parse(text, strlen(text), SIZE_MAX, &again, NULL), S24_OK);
        const double x = s24_json_get(again, "x")->valuedouble;
        ck_assert_mem_eq(&x, &values[i], sizeof x);
        ck_assert(cJSON_IsNull(s24_json_get(again, "nan")));
        ck_assert(cJSON_IsNull(s24_json_get(again, "inf")));
        cJSON_free(text);
        cJSON_Delete(json);
        cJSON_Delete(again);
    }
}
END_TEST

/* Nothing of it is looked at. */
START_TEST(too_long_a_text)
{
    s24_error err;
    ck_assert_int_eq(s24_json_check("[]", (size_t)UINT32_MAX + 1, &err), S24_ERR_DATA);
    ck_assert_str_eq(err.message, "is JSON of more than 4 GiB");
}
END_TEST

START_TEST(values_are_counted)
{
    static const char text[] = "{\"a\":[1,{}],\"b\":null}";
    cJSON *json = NULL;
    s24_error err;
    ck_assert_int_eq(s24_json_parse(text, sizeof text - 1, 5, &json, &err), S24_OK);
    cJSON_Delete(json);
    ck_assert_int_eq(s24_json_parse(text, sizeof text - 1, 4, &json, &err), S24_ERR_DATA);
    ck_assert_str_eq(err.message, "byte 16: more than the 4 values that s24 takes here");
}
END_TEST

static const struct {
    const char *text;
    size_t elements;     /* good ones before the end, or before what is wrong */
    const char *message; /* NULL: the end */
} lists[] = {
    {"[]", 0, NULL},
    {" [ ] ", 0, NULL},
    {"[1]", 1, NULL},
    {" [ {\"a\":[]} , [1,2] ,\"]\" ] ", 3, NULL},
    {"", 0, "byte 0: the text ends here"},
    {"{}", 0, "byte 0: a list is missing"},
    {"1", 0, "byte 0: a list is missing"},
    {"[", 0, "byte 1: the text ends here"},
    {"[1", 1, "byte 2: the text ends here"},
    {"[1 2]", 1, "byte 3: a comma or ] is missing"},
    {"[1,]", 1, "byte 3: a value is missing"},
    {"[,1]", 0, "byte 1: a value is missing"},
    {"[1]]", 1, "byte 3: something follows"},
    {"[1],", 1, "byte 3: something follows"},
    {"[1,[01]]", 1, "byte 4: a number that begins with 0"},
    {"[[1],[2,3,4]]", 1, "byte 10: more than the 3 values"},
};

/* One by one what a list has; at most 3 values an element. */
START_TEST(elements_of_a_list)
{
    const size_t n = strlen(lists[_i].text);
    char *const copy = malloc(n ? n : 1); /* exactly as long: a read beyond is seen by a sanitizer */
    s24_error err;
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, lists[_i].text, n);
    s24_json_list list = {.text = copy, .n = n};
    cJSON *element;
    size_t elements = 0;
    s24_status status;
    while ((status = s24_json_next(&list, 3, &element, &err)) == S24_OK && element) {
        elements++;
        cJSON_Delete(element);
    }
    ck_assert_uint_eq(elements, lists[_i].elements);
    ck_assert_int_eq(status, lists[_i].message ? S24_ERR_DATA : S24_OK);
    ck_assert_msg(status == S24_OK || strstr(err.message, lists[_i].message), "%s: %s", lists[_i].text, err.message);
    free(copy);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("jsonx");
    TCase *const tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, good_texts, 0, (int)(sizeof good / sizeof *good));
    tcase_add_loop_test(tcase, bad_texts, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tcase, every_truncation_fails);
    tcase_add_test(tcase, nesting_has_a_limit);
    tcase_add_test(tcase, many_keys);
    tcase_add_test(tcase, values_are_what_they_say);
    tcase_add_test(tcase, numbers_written_read_back);
    tcase_add_test(tcase, too_long_a_text);
    tcase_add_test(tcase, values_are_counted);
    tcase_add_loop_test(tcase, elements_of_a_list, 0, (int)(sizeof lists / sizeof *lists));
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
