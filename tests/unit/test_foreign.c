/* Types that are known and not read: what each begins with, and what is almost that. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"

#define TEXT(s) s, sizeof(s) - 1

static const struct {
    const s24_format *format; /* NULL: none of them */
    const char *head;
    size_t n;
} heads[] = {
    {NULL, TEXT("")},
    {NULL, TEXT("\x80")},
    {&s24_format_gguf, TEXT("GGUF\3")},
    {NULL, TEXT("GGU")},
    {NULL, TEXT("GGUf\3")},
    {&s24_format_tflite, TEXT("\x1c\0\0\0TFL3")},
    {NULL, TEXT("\x1c\0\0\0TFL")},
    /* bzip2: level, then the magic of a block or of the end */
    {&s24_format_bzip2, TEXT("BZh91AY&SY")},
    {&s24_format_bzip2, TEXT("BZh1\x17rE8P\x90")},
    {NULL, TEXT("BZh")},
    {NULL, TEXT("BZh9")},
    {NULL, TEXT("BZi91AY&SY")},
    {NULL, TEXT("BZh01AY&SY")},
    {NULL, TEXT("BZh:1AY&SY")},
    {NULL, TEXT("BZh91AY&S")},
    {NULL, TEXT("BZh91AY&SX")},
    /* pickles */
    {&s24_format_pickle, TEXT("\x80\4\x95")},
    {&s24_format_pickle, TEXT("\x80\2}")},
    {NULL, TEXT("\x80\4")},
    {NULL, TEXT("\x81\4\x95")},
    {NULL, TEXT("\x80\1\x95")},
    {NULL, TEXT("\x80\6\x95")},
    {NULL, TEXT("\x80\4\x01")},
    {&s24_format_pytorch, TEXT("\x80\2\x8a\x0alfc\x9c")},
    {&s24_format_pickle, TEXT("\x80\2\x8a\x09lfc\x9c")},
    /* ONNX: ir_version; texts in order; the graph, which begins with a field of its own; or opset imports */
    {&s24_format_onnx, TEXT("\x08\x07\x12\x07pytorch\x1a\x05" "2.0.1:\x08\x0a\x06\x0a\x01x\x12\x01y")},
    {&s24_format_onnx, TEXT("\x08\x07:\x08\x0a\x06\x0a\x01x\x12\x01y")},
    {&s24_format_onnx, TEXT("\x08\x07" "B\x02\x10\x0d")},
    {&s24_format_onnx, TEXT("\x08\x64:\x81\x01\x12")},                      /* version 100; a length of two bytes */
    {&s24_format_onnx, TEXT("\x08\x07\x22\x00(\x81\x01\x32\x03" "a\tb:\x01\x62")}, /* domain, version, doc, and output */
    {&s24_format_onnx, TEXT("\x08\x07\x12\x02" "ab\x1a\x60" "a text that goes beyond what is at hand")},
    {NULL, TEXT("\x08\x07\x12\x60" "a text that goes beyond what is at hand, the first")},
    {NULL, TEXT("\x08")},
    {NULL, TEXT("\x09\x07:\x08\x0a")},
    {NULL, TEXT("\x08\x00:\x08\x0a")},
    {NULL, TEXT("\x08\x65:\x08\x0a")},
    {NULL, TEXT("\x08\x07")},
    {NULL, TEXT("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01:\x08\x0a")}, /* a varint of more than 64 bits */
    {NULL, TEXT("\x08\x80")},                                                  /* one that has no end */
    {NULL, TEXT("\x08\x07:\x08")},              /* nothing of the graph */
    {NULL, TEXT("\x08\x07:\x80")},
    {NULL, TEXT("\x08\x07:\x00\x0a")},          /* an empty one */
    {NULL, TEXT("\x08\x07:\x08\x0b")},          /* no field of a graph */
    {NULL, TEXT("\x08\x07\x07:\x08\x0a")},      /* a tag that is none, or not in order */
    {NULL, TEXT("\x08\x07\x1a\x01x\x12\x01x:\x08\x0a")},
    {NULL, TEXT("\x08\x07\x13\x01x:\x08\x0a")},
    {NULL, TEXT("\x08\x07\x12\x02" "a\x01:\x08\x0a")}, /* no text */
    {NULL, TEXT("\x08\x07\x12\x80")},                  /* no length */
    {NULL, TEXT("\x08\x07(\x80")},                     /* no version */
    {NULL, TEXT("\x08\x07" "C\x02\x10\x0d")},
};

START_TEST(what_begins_with_this)
{
    unsigned char *const copy = malloc(heads[_i].n + 1); /* its own block: a read beyond it is seen by a sanitizer */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, heads[_i].head, heads[_i].n);
    const s24_format *found = NULL;
    for (size_t i = 0; s24_formats[i] && !found; i++) {
        found = s24_formats[i]->unsupported && s24_formats[i]->probe(copy, heads[_i].n) ? s24_formats[i] : NULL;
    }
    ck_assert_msg(found == heads[_i].format, "%d: %s", _i, found ? found->name : "none");
    free(copy);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("foreign");
    TCase *const tcase = tcase_create("all");
    tcase_add_loop_test(tcase, what_begins_with_this, 0, (int)(sizeof heads / sizeof *heads));
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
