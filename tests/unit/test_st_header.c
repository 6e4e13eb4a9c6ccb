/* Headers of safetensors: good ones are read in the order of the data, bad ones named, and both ways agree. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "st_header.h"

/* Shorthands of the tables: a tensor with its dtype, shape and offsets. */
#define T(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

#define DATA_START 1000000

static s24_status parse(const char *json, size_t n, s24_contents *contents, uint64_t *data_bytes, s24_error *err)
{
    char *const copy = malloc(n ? n : 1); /* exactly as long: a read beyond is seen by a sanitizer */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, json, n);
    const s24_status status = s24_st_header_parse(copy, n, DATA_START, contents, data_bytes, err);
    free(copy);
    return status;
}

static const struct {
    const char *json;
    size_t count, pairs;
    uint64_t data_bytes;
    const char *names; /* in the order of data, each followed by a blank */
} good[] = {
    {"{}", 0, 0, 0, ""},
    {"{}     ", 0, 0, 0, ""},
    {"{\"__metadata__\":{}}", 0, 0, 0, ""},
    {"{\"__metadata__\":{\"format\":\"pt\",\"\":\"\"}}", 0, 2, 0, ""},
    {"{" T("a", "F32", "2,3", "0,24") "}", 1, 0, 24, "a "},
    {"{ \"a\" : { \"data_offsets\" : [ 0 , 24 ] ,\n\"shape\":\t[ 2 , 3 ]\r, \"dtype\" : \"F32\" } } ", 1, 0, 24, "a "},
    {"{" T("scalar", "BOOL", "", "0,1") "}", 1, 0, 1, "scalar "},
    {"{" T("b", "F16", "4", "24,32") "," T("a", "F64", "3", "0,24") ",\"__metadata__\":{\"k\":\"v\"}}", 2, 1, 32,
     "a b "},
    /* empty ones: before the tensor that begins where they lie, in the header's order */
    {"{" T("z", "U8", "0", "4,4") "," T("b", "U8", "2", "4,6") "," T("y", "I8", "0,7", "4,4") ","
     T("a", "F32", "1", "0,4") "," T("x", "U8", "0", "6,6") "," T("w", "U8", "0", "0,0") "}", 6, 0, 6, "w a z y b x "},
    {"{" T("e", "F32", "9223372036854775807,9223372036854775807,0", "0,0") "}", 1, 0, 0, "e "},
    /* every dtype, and those of less than a byte */
    {"{" T("1", "F64", "1", "0,8") "," T("2", "F32", "1", "8,12") "," T("3", "F16", "1", "12,14") ","
     T("4", "BF16", "1", "14,16") "," T("5", "F8_E4M3", "1", "16,17") "," T("6", "F8_E5M2", "1", "17,18") ","
     T("7", "I8", "1", "18,19") "," T("8", "I64", "1", "19,27") "," T("9", "I32", "1", "27,31") ","
     T("10", "I16", "1", "31,33") "," T("11", "U64", "1", "33,41") "," T("12", "U32", "1", "41,45") ","
     T("13", "U16", "1", "45,47") "," T("14", "U8", "1", "47,48") "," T("15", "BOOL", "1", "48,49") ","
     T("16", "C64", "1", "49,57") "," T("17", "F8_E8M0", "1", "57,58") "," T("18", "F6_E2M3", "4", "58,61") ","
     T("19", "F6_E3M2", "2,2", "61,64") "," T("20", "F4", "2", "64,65") "}", 20, 0, 65,
     "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 "},
    /* names */
    {"{" T("\\u0061\\\"\\\\\\n\\ud83d\\ude00\\u00e9\xc3\xa9", "U8", "1", "0,1") "}", 1, 0, 1,
     "a\"\\\n\xf0\x9f\x98\x80\xc3\xa9\xc3\xa9 "},
    {"{" T("", "U8", "1", "0,1") "," T("A", "U8", "1", "1,2") "," T("a", "U8", "1", "2,3") "}", 3, 0, 3, " A a "},
};

START_TEST(good_headers)
{
    s24_contents contents = {0};
    uint64_t data_bytes = 0, next = DATA_START;
    s24_error err;
    const s24_status status = parse(good[_i].json, strlen(good[_i].json), &contents, &data_bytes, &err);
    ck_assert_msg(status == S24_OK, "%s: %s", good[_i].json, err.message);
    ck_assert_uint_eq(contents.count, good[_i].count);
    ck_assert_uint_eq(contents.pairs, good[_i].pairs);
    ck_assert_uint_eq(data_bytes, good[_i].data_bytes);
    s24_text names = {0};
    s24_text_add(&names, "", 0);
    for (size_t i = 0; i < contents.count; i++) {
        ck_assert_uint_eq(contents.entries[i].offset, next);
        next += contents.entries[i].bytes;
        s24_text_printf(&names, "%s ", contents.entries[i].name);
    }
    ck_assert_str_eq(names.text, good[_i].names);
    ck_assert_uint_eq(next, DATA_START + data_bytes);
    s24_text_free(&names);
    s24_contents_free(&contents);
}
END_TEST

#define RANK_65 "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1," \
                "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"

static const struct {
    const char *json;
    const char *message;
} bad[] = {
    {"", "header, byte 0: it does not begin with {"},
    {" {}", "header, byte 0: it does not begin with {"},
    {"[]", "header, byte 0: it does not begin with {"},
    {"{", "header, byte 1: the text ends here"},
    {"{}{}", "header, byte 2: something follows"},
    {"{} x", "header, byte 3: something follows"},
    {"{\"a\":1}", "header, byte 5: a: it is not an object"},
    {"{\"a\":null}", "a: it is not an object"},
    {"{\"a\":[]}", "a: it is not an object"},
    {"{\"a\":{}}", "header, byte 5: a: dtype is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", "data_offsets is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "shape is missing"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "dtype is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"extra\":1}}", "a: unknown field \"extra\""},
    {"{\"a\":{\"Dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "unknown field \"Dtype\""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"dtype\":\"F32\"}}", "\"dtype\" occurs twice"},
    {"{" T("a", "F32", "1", "0,4") "," T("a", "F32", "1", "4,8") "}", "\"a\" occurs twice"},
    {"{" T("a", "F32", "1", "0,4") "," T("\\u0061", "F32", "1", "4,8") "}", "occurs twice"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}", "\"k\" occurs twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", "occurs twice"},
    {"{\"__metadata__\":[]}", "__metadata__: it is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", "__metadata__: the value of \"k\" is not a string"},
    {"{\"__metadata__\":{\"k\":{}}}", "__metadata__: the value of \"k\" is not a string"},
    {"{" T("a\\u0000", "F32", "1", "0,4") "}", "NUL"},
    {"{" T("a\\ud800", "F32", "1", "0,4") "}", "surrogate"},
    {"{" T("\xff", "F32", "1", "0,4") "}", "not UTF-8"},
    /* dtypes */
    {"{" T("a", "F33", "1", "0,4") "}", "a: unknown dtype \"F33\""},
    {"{" T("a", "f32", "1", "0,4") "}", "a: unknown dtype \"f32\""},
    {"{" T("a", "", "1", "0,4") "}", "a: unknown dtype \"\""},
    {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", "dtype is not a string"},
    {"{" T("a\\nb", "F33", "1", "0,4") "}", "a\\nb: unknown dtype"},
    {"{" T("", "F33", "1", "0,4") "}", "header, byte 13: unknown dtype"},
    /* shapes */
    {"{" T("a", "F32", "-1", "0,4") "}", "shape is not a list of whole numbers"},
    {"{" T("a", "F32", "1.0", "0,4") "}", "shape is not a list of whole numbers"},
    {"{" T("a", "F32", "1e0", "0,4") "}", "shape is not a list of whole numbers"},
    {"{" T("a", "F32", "\"1\"", "0,4") "}", "shape is not a list of whole numbers"},
    {"{" T("a", "F32", "[1]", "0,4") "}", "shape is not a list of whole numbers"},
    {"{" T("a", "F32", "01", "0,4") "}", "begins with 0"},
    {"{" T("a", "F32", "9223372036854775808", "0,4") "}", "beyond 2^63"},
    {"{" T("a", "F32", "18446744073709551617", "0,4") "}", "beyond 2^63"},
    {"{" T("a", "F32", "4294967296,4294967296", "0,0") "}", "a: the shape"},
    {"{" T("a", "U8", RANK_65, "0,1") "}", "shape has more than 64"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", "shape is not a list"},
    /* offsets */
    {"{" T("a", "F32", "1", "0") "}", "not [BEGIN, END]"},
    {"{" T("a", "F32", "1", "") "}", "not [BEGIN, END]"},
    {"{" T("a", "F32", "1", "0,4,8") "}", "more than 2"},
    {"{" T("a", "F32", "1", "4,0") "}", "not [BEGIN, END]"},
    {"{" T("a", "F32", "1", "0,-4") "}", "data_offsets is not a list"},
    {"{" T("a", "F32", "1", "0,8") "}", "a: data_offsets span 8 bytes, but dtype and shape need 4"},
    {"{" T("a", "F32", "1", "0,3") "}", "span 3 bytes"},
    {"{" T("a", "F32", "1", "4,8") "}", "a: its data begin at 4, but the tensors before it end at 0"},
    {"{" T("a", "F32", "1", "0,4") "," T("b", "F32", "1", "8,12") "}", "b: its data begin at 8"},
    {"{" T("a", "F32", "1", "0,4") "," T("b", "F32", "1", "0,4") "}", "b: its data begin at 0"},
    {"{" T("a", "F32", "1", "0,4") "," T("b", "F32", "1", "2,6") "}", "b: its data begin at 2"},
    {"{" T("a", "F32", "0", "1,1") "}", "a: its data begin at 1"},
    {"{" T("a", "F32", "2", "0,8") "," T("b", "F32", "0", "4,4") "}", "b: its data begin at 4"},
    {"{" T("a", "U8", "9223372036854775807", "0,9223372036854775807") "}", "a: the shape"},
    {"{" T("a", "U8", "1152921504606846975", "0,1152921504606846975") ","
     T("b", "U8", "1152921504606846975", "1152921504606846975,2305843009213693950") ","
     T("c", "U8", "1152921504606846975", "2305843009213693950,3458764513820540925") "," T("d", "U8", "1", "0,1") "}",
     "begin at"},
    {"{" T("a", "U8", "1152921504606846975", "0,1152921504606846975") ","
     T("b", "U8", "1152921504606846975", "1152921504606846975,2305843009213693950") ","
     T("c", "U8", "1152921504606846975", "2305843009213693950,3458764513820540925") ","
     T("d", "U8", "1152921504606846975", "3458764513820540925,4611686018427387900") ","
     T("e", "U8", "1152921504606846975", "4611686018427387900,5764607523034234875") ","
     T("f", "U8", "1152921504606846975", "5764607523034234875,6917529027641081850") ","
     T("g", "U8", "1152921504606846975", "6917529027641081850,8070450532247928825") ","
     T("h", "U8", "1152921504606846975", "8070450532247928825,9223372036854775800") "}",
     "the data end beyond 2^63 bytes"},
    /* less than a byte */
    {"{" T("a", "F4", "3", "0,2") "}", "whole number of bytes"},
    {"{" T("a", "F6_E2M3", "2", "0,2") "}", "whole number of bytes"},
};

START_TEST(bad_headers)
{
    s24_contents contents = {0};
    uint64_t data_bytes = 0;
    s24_error err = {0};
    const size_t n = strlen(bad[_i].json);
    ck_assert_msg(parse(bad[_i].json, n, &contents, &data_bytes, &err) == S24_ERR_DATA, "%s", bad[_i].json);
    ck_assert_msg(strstr(err.message, bad[_i].message), "%s: %s", bad[_i].json, err.message);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    size_t byte;
    if (sscanf(err.message, "header, byte %zu", &byte) == 1) { /* the offset is the file's, the text ends at the data */
        ck_assert_uint_eq(err.offset, DATA_START - n + byte);
    }
    ck_assert_ptr_null(contents.entries);
    ck_assert_ptr_null(contents.metadata);
    ck_assert_int_eq(parse(bad[_i].json, n, &contents, &data_bytes, NULL), S24_ERR_DATA);
}
END_TEST

static const char small[] = "{\"__metadata__\":{\"k\\u00e9\":\"v\"}," T("a", "F32", "2,3", "0,24") ","
                            T("b", "I8", "", "24,25") "}";

START_TEST(every_truncation_fails)
{
    s24_contents contents = {0};
    uint64_t data_bytes;
    for (size_t n = 0; n < sizeof small - 1; n++) {
        ck_assert_int_eq(parse(small, n, &contents, &data_bytes, NULL), S24_ERR_DATA);
    }
    ck_assert_int_eq(parse(small, sizeof small - 1, &contents, &data_bytes, NULL), S24_OK);
    s24_contents_free(&contents);
}
END_TEST

/* Any single byte of a header may be damaged: an error or a header, never a crash (sanitizers watch). */
START_TEST(every_byte_damaged)
{
    char copy[sizeof small];
    uint64_t data_bytes;
    for (size_t i = 0; i < sizeof small - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            s24_contents contents = {0};
            memcpy(copy, small, sizeof small);
            copy[i] = (char)byte;
            if (parse(copy, sizeof small - 1, &contents, &data_bytes, NULL) == S24_OK) {
                ck_assert_uint_eq(contents.count, 2);
                s24_contents_free(&contents);
            }
        }
    }
}
END_TEST

START_TEST(written_as_the_reference_does)
{
    static const size_t shape[] = {2, 3};
    s24_contents contents = {0};
    s24_text text = {0};
    s24_contents_add(&contents, "name", S24_F32, 2, shape, NULL)->offset = 500;
    s24_contents_add(&contents, "s", S24_F8E4M3, 0, shape, NULL)->offset = 524;
    s24_st_header_write(&text, &contents, 500);
    ck_assert_str_eq(text.text, "{" T("name", "F32", "2,3", "0,24") "," T("s", "F8_E4M3", "", "24,25") "}");
    s24_contents_add_pair(&contents, "k", "v", NULL);
    s24_contents_add_pair(&contents, "\"\\\b\f\n\r\t\x01\x1f\x7f/\xc3\xa9", "", NULL);
    text.length = 0;
    s24_st_header_write(&text, &contents, 500);
    ck_assert_str_eq(text.text, "{\"__metadata__\":{\"k\":\"v\","
                                "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\xc3\xa9\":\"\"},"
                                T("name", "F32", "2,3", "0,24") "," T("s", "F8_E4M3", "", "24,25") "}");
    s24_contents_free(&contents);
    text.length = 0;
    s24_st_header_write(&text, &contents, 0);
    ck_assert_str_eq(text.text, "{}");
    contents.pairs = 0;
    s24_text_free(&text);
}
END_TEST

/* 100,000 tensors, their data in the reverse of their order: there and back, in well under a second. */
START_TEST(many_tensors)
{
    enum { MANY = 100000 };
    static const size_t shape[] = {2};
    s24_contents contents = {0}, again = {0};
    s24_text text = {0}, second = {0};
    uint64_t data_bytes = 0;
    char name[64];
    s24_error err;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "model.layers.%d.self_attn.q_proj.weight", i);
        s24_entry *const entry = s24_contents_add(&contents, name, S24_F16, 1, shape, &err);
        ck_assert_ptr_nonnull(entry);
        entry->offset = (uint64_t)(MANY - 1 - i) * 4;
    }
    s24_st_header_write(&text, &contents, 0);
    ck_assert(!text.failed);
    const clock_t start = clock();
    const s24_status status = s24_st_header_parse(text.text, text.length, 0, &again, &data_bytes, &err);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    ck_assert_msg(status == S24_OK, "%s", err.message);
    ck_assert_msg(seconds < 5, "%.1f s", seconds); /* some 0.1 s; a sanitizer and a busy machine are slower */
    ck_assert_uint_eq(again.count, MANY);
    ck_assert_uint_eq(data_bytes, 4 * MANY);
    ck_assert_str_eq(again.entries[0].name, name);
    s24_st_header_write(&second, &again, 0);
    ck_assert_uint_eq(second.length, text.length);
    s24_text_free(&text);
    s24_text_free(&second);
    s24_contents_free(&contents);
    s24_contents_free(&again);
}
END_TEST

START_TEST(text_grows)
{
    s24_text text = {0};
    for (int i = 0; i < 1000; i++) {
        s24_text_printf(&text, "%d,", i);
        s24_text_add(&text, "\0", 1);
    }
    ck_assert(!text.failed);
    ck_assert_uint_eq(text.length, 10 * 3 + 90 * 4 + 900 * 5);
    ck_assert_int_eq(text.text[text.length], 0);
    ck_assert_str_eq(text.text + text.length - 5, "999,");
    s24_text_free(&text);
    ck_assert_ptr_null(text.text);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("st_header");
    TCase *const tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, good_headers, 0, (int)(sizeof good / sizeof *good));
    tcase_add_loop_test(tcase, bad_headers, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tcase, every_truncation_fails);
    tcase_add_test(tcase, every_byte_damaged);
    tcase_add_test(tcase, written_as_the_reference_does);
    tcase_add_test(tcase, many_tensors);
    tcase_add_test(tcase, text_grows);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
