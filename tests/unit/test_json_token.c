/* The words of JSON: numbers as strtod reads them, characters in every spelling, and a walk over what was checked. */
#include <check.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json_token.h"
#include "jsonx.h"

static unsigned long seed = 24;

static uint64_t draw(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return seed >> 11;
}

static double taken(const char *number, size_t *length)
{
    s24_json_walk w = {number, strlen(number), 0};
    const double x = s24_json_take_number(&w);
    *length = w.at;
    return x;
}

static void same_number(const char *number)
{
    size_t length;
    const double expected = strtod(number, NULL), x = taken(number, &length);
    ck_assert_uint_eq(length, strlen(number));
    ck_assert_msg(memcmp(&x, &expected, sizeof x) == 0, "%s: %.17g, not %.17g", number, x, expected);
}

static const char *const numbers[] = {
    "0", "-0", "-0.0", "0e99", "0e-99", "1", "-1.5", "0.1", "1e22", "1e23", "1e-22", "1e-23", "123456789e22", "9007199254740992",
    "9007199254740993", "9007199254740993e-1", "9007199254740992e22", "9007199254740991e-22", "1e308", "1.7976931348623157E+308",
    "5e-324", "2.4703282292062328e-324", "2.4703282292062327e-324", "2.2250738585072011e-308", "0.000000000000000000000001",
    "18446744073709551616", "18446744073709551617", "184467440737095516160", "9999999999999999999", "99999999999999999999",
    "0.1000000000000000055511151231257827021181583404541015625", "1e-99999999999", "0e99999999999",
    "12345678901234567890123456789012345678901234567890123456789012", "123e+05",
    "-0.00000000000000000000000000000000000000000000000000000000001",
};

START_TEST(numbers_as_strtod_reads_them)
{
    same_number(numbers[_i]);
}
END_TEST

START_TEST(any_number)
{
    for (int i = 0; i < 200000; i++) {
        char text[80];
        const int before = (int)(draw() % 20), after = (int)(draw() % 20);
        size_t n = (size_t)sprintf(text, "%s%llu", draw() % 2 ? "-" : "", (unsigned long long)(draw() >> (53 - 2 * before)));
        if (after) {
            n += (size_t)sprintf(text + n, ".%0*llu", after, (unsigned long long)(draw() % 1000000));
        }
        if (draw() % 2) {
            sprintf(text + n, "%c%d", draw() % 2 ? 'e' : 'E', (int)(draw() % 80) - 40);
        }
        same_number(text);
    }
}
END_TEST

/* The locale's decimal point is none of ours. */
START_TEST(another_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    const char *set = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !set; i++) {
        set = setlocale(LC_NUMERIC, names[i]);
    }
    size_t length;
    ck_assert(taken("0.1234567890123456789", &length) == 0.1234567890123456789);
    setlocale(LC_NUMERIC, "C");
}
END_TEST

START_TEST(only_what_is_beyond_overflows)
{
    static const struct {
        const char *number;
        bool beyond;
    } rows[] = {
        {"1e308", false}, {"1e309", true}, {"1.7976931348623157e308", false}, {"1.7976931348623159e308", true},
        {"179769313486231570e291", false}, {"179769313486231590e291", true}, {"-1e309", true}, {"0e999", false},
        {"1e999999999999999999999", true}, {"0.0000000001e318", false}, {"0.0000000001e319", true}, {"9e30", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_msg(s24_json_overflows(rows[i].number, strlen(rows[i].number)) == rows[i].beyond, "%s", rows[i].number);
    }
}
END_TEST

static const struct {
    const char *json, *is;
} strings[] = {
    {"\"\"", ""},
    {"\"a\"", "a"},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
    {"\"\\u0041\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "A\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
    {"\"\\ud800\\udc00\\uDBFF\\udfff\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
    {"\"x\\u00e9y\xc3\xa9\\\\\"", "x\xc3\xa9y\xc3\xa9\\"},
    {" \t\n\r\"blanks\" ", "blanks"},
};

/* cJSON, which shares nothing with this, unescapes alike. */
START_TEST(strings_are_unescaped)
{
    const char *const text = strings[_i].json;
    s24_json_walk w = {text, strlen(text), 0};
    s24_text out = {0};
    s24_error err;
    cJSON *json = NULL;
    s24_text_add(&out, "before", 6);
    ck_assert_int_eq(s24_json_take_string(&w, &out, &err), S24_OK);
    ck_assert_str_eq(out.text, strings[_i].is);
    ck_assert_int_eq(s24_json_look(&w), '\0');
    ck_assert_int_eq(s24_json_parse(text, strlen(text), 1, &json, &err), S24_OK);
    ck_assert_str_eq(json->valuestring, strings[_i].is);
    cJSON_Delete(json);
    s24_text_free(&out);
}
END_TEST

/* Bytes of the UTF-8 character that begins with these, by table 3-7 of the Unicode standard; 0: there is none. */
static size_t well_formed(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char lead, last_lead, second, last_second;
        size_t length;
    } rows[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (p[0] < rows[i].lead || p[0] > rows[i].last_lead || n < rows[i].length) {
            continue;
        }
        bool good = p[1] >= rows[i].second && p[1] <= rows[i].last_second;
        for (size_t k = 2; k < rows[i].length; k++) {
            good = good && p[k] >= 0x80 && p[k] <= 0xbf;
        }
        return good ? rows[i].length : 0;
    }
    return 0;
}

/* Any first two bytes, with what may and what may not follow them, cut off everywhere. */
START_TEST(bytes_that_are_utf8)
{
    static const unsigned char edges[] = {0x7f, 0x80, 0x9f, 0xbf, 0xc0};
    unsigned char p[4] = {(unsigned char)_i};
    for (unsigned i = 0; i < 256 * sizeof edges * sizeof edges; i++) {
        p[1] = (unsigned char)i;
        p[2] = edges[i / 256 % sizeof edges];
        p[3] = edges[i / 256 / sizeof edges];
        for (size_t n = 1; n <= 4; n++) {
            const size_t length = well_formed(p, n);
            size_t at = 0;
            uint32_t character = 0, expected = length == 2 ? p[0] & 0x1f : length == 3 ? p[0] & 0xf : p[0] & 7;
            for (size_t k = 1; k < length; k++) {
                expected = expected << 6 | (p[k] & 0x3f);
            }
            const char *const cause = s24_json_character((const char *)p, n, &at, &character);
            if (cause ? length > 0 : at != length || character != expected) { /* an assertion for each takes 16 s */
                ck_abort_msg("%02x %02x %02x %02x, the first %zu: %s, %zu, U+%04X", p[0], p[1], p[2], p[3], n,
                             cause ? cause : "good", at, (unsigned)character);
            }
        }
    }
}
END_TEST

START_TEST(keys_in_every_spelling)
{
    static const struct {
        const char *json;
        bool is_data;
    } rows[] = {
        {"\"data\"", true}, {"\"\\u0064ata\"", true}, {"\"dat\\u0061\"", true}, {"\"dat\"", false}, {"\"datas\"", false},
        {"\"Data\"", false}, {"\"\"", false}, {"\"dat\\u00e1\"", false}, {"\"dat\\uda61\\udc00\"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const s24_json_walk w = {rows[i].json, strlen(rows[i].json), 0};
        ck_assert_msg(s24_json_reads(&w, "data") == rows[i].is_data, "%s", rows[i].json);
    }
}
END_TEST

/* Over each of these as a whole, and over each element of a list of them. */
START_TEST(values_are_skipped)
{
    static const char *const values[] = {
        "1", "-1.5e+3", "true", "null", "\"]},\\\"\\\\\"", "[]", "{}", "[[],[[1,2] , 3]]", "{ \"a]\" : [1,{\"b\":\"}\"}] , \"c\":{}}",
    };
    const size_t n = sizeof values / sizeof *values;
    s24_text list = {0};
    s24_text_add(&list, "[", 1);
    for (size_t i = 0; i < n; i++) {
        s24_json_walk w = {values[i], strlen(values[i]), 0};
        s24_json_skip(&w);
        ck_assert_msg(w.at == w.n, "%s", values[i]);
        s24_text_printf(&list, "%s %s ", i ? "," : "", values[i]);
    }
    s24_text_add(&list, "] ", 2);
    ck_assert_int_eq(s24_json_check(list.text, list.length, NULL), S24_OK);
    s24_json_walk w = {list.text, list.length, 0};
    ck_assert(s24_json_take(&w, '['));
    ck_assert(!s24_json_take(&w, ']'));
    ck_assert(s24_json_number_next(&w));
    s24_json_skip(&w);
    ck_assert(s24_json_take(&w, ','));
    ck_assert(s24_json_number_next(&w));
    ck_assert_uint_eq(s24_json_take_rest(&w), n - 1);
    ck_assert_int_eq(s24_json_look(&w), '\0');
    ck_assert_uint_eq(w.at, w.n);
    s24_text_free(&list);
}
END_TEST

int main(void)
{
    const char *const given = getenv("S24_SEED");
    seed = given ? strtoul(given, NULL, 0) : (unsigned long)time(NULL);
    printf("test_json_token: S24_SEED=%lu\n", seed);
    fflush(stdout);
    Suite *const suite = suite_create("json_token");
    TCase *const tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, numbers_as_strtod_reads_them, 0, (int)(sizeof numbers / sizeof *numbers));
    tcase_add_test(tcase, any_number);
    tcase_add_test(tcase, another_locale);
    tcase_add_test(tcase, only_what_is_beyond_overflows);
    tcase_add_loop_test(tcase, strings_are_unescaped, 0, (int)(sizeof strings / sizeof *strings));
    tcase_add_loop_test(tcase, bytes_that_are_utf8, 0x80, 0x100);
    tcase_add_test(tcase, keys_in_every_spelling);
    tcase_add_test(tcase, values_are_skipped);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
