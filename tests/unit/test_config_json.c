/* config.json, spliced: what changes is what shall, and nothing else. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_json.h"
#include "jsonx.h"

#define FORMAT "sparse-24-bitmask"
#define SPARSITY(f) "\"sparsity_config\": {\"format\": \"" f "\", \"sparsity_structure\": \"2:4\", " \
                    "\"targets\": [\"Linear\"], \"ignore\": []}"
#define LINES(indent) "{\n" indent "  \"format\": \"" FORMAT "\",\n" indent "  \"sparsity_structure\": \"2:4\",\n" \
                      indent "  \"targets\": [\"Linear\"],\n" indent "  \"ignore\": []\n" indent "}"

static const struct {
    const char *before, *format, *after; /* after NULL: unchanged */
} edits[] = {
    /* added: nothing there, one line and several, tabs and carriage returns */
    {"{\"a\": 1e0}", FORMAT,
     "{\"a\": 1e0, \"quantization_config\": {\"quant_method\": \"compressed-tensors\", " SPARSITY(FORMAT) "}}"},
    {"{}", FORMAT,
     "{\n  \"quantization_config\": {\n    \"quant_method\": \"compressed-tensors\",\n    \"sparsity_config\": "
     LINES("    ") "\n  }\n}"},
    {" {\n  \"a\": 1.50,\n  \"b\": [1, {\"c\": \"}\\\"]\"}]\n}\n", FORMAT,
     " {\n  \"a\": 1.50,\n  \"b\": [1, {\"c\": \"}\\\"]\"}],\n  \"quantization_config\": {\n    \"quant_method\": "
     "\"compressed-tensors\",\n    \"sparsity_config\": " LINES("    ") "\n  }\n}\n"},
    {"{\r\n\t\"a\": 1\r\n}", FORMAT,
     "{\r\n\t\"a\": 1,\r\n\t\"quantization_config\": {\r\n\t\t\"quant_method\": \"compressed-tensors\",\r\n\t\t"
     "\"sparsity_config\": {\r\n\t\t\t\"format\": \"" FORMAT "\",\r\n\t\t\t\"sparsity_structure\": \"2:4\",\r\n\t\t\t"
     "\"targets\": [\"Linear\"],\r\n\t\t\t\"ignore\": []\r\n\t\t}\r\n\t}\r\n}"},
    /* into what is there: a quantization, the older name, null, empty */
    {"{\"quantization_config\": {\"config_groups\": {\"g\": 1}}, \"z\": 0.10}", FORMAT,
     "{\"quantization_config\": {\"config_groups\": {\"g\": 1}, " SPARSITY(FORMAT) "}, \"z\": 0.10}"},
    {"{\"compression_config\": {\"x\": 1}}", FORMAT, "{\"compression_config\": {\"x\": 1, " SPARSITY(FORMAT) "}}"},
    {"{\"compression_config\": {}, \"quantization_config\": {}}", FORMAT,
     "{\"compression_config\": {}, \"quantization_config\": {" SPARSITY(FORMAT) "}}"},
    {"{\"quantization_config\": null}", FORMAT,
     "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", " SPARSITY(FORMAT) "}}"},
    {"{\"quantization_config\": {\"sparsity_config\": null}}", FORMAT,
     "{\"quantization_config\": {" SPARSITY(FORMAT) "}}"},
    /* what the user's own says stays, but for what the layout must say */
    {"{\"quantization_config\": {\"sparsity_config\": {\"format\":\"dense\",\"ignore\":[\"lm_head\"],\"global_sparsity\":0.10,"
     "\"targets\":[]}, \"quant_method\": \"compressed-tensors\"}}", FORMAT,
     "{\"quantization_config\": {\"sparsity_config\": {\"format\":\"" FORMAT "\",\"ignore\":[\"lm_head\"],"
     "\"global_sparsity\":0.10,\"targets\":[], \"sparsity_structure\": \"2:4\"}, \"quant_method\": \"compressed-tensors\"}}"},
    {"{\"quantization_config\": {" SPARSITY(FORMAT) "}}", FORMAT, NULL},
    {"{\"quantization_config\": {" SPARSITY("sparse-24-bitmusk") "}}", FORMAT, /* a change that keeps the length */
     "{\"quantization_config\": {" SPARSITY(FORMAT) "}}"},
    /* a key that is spelled with escapes */
    {"{\"quantization\\u005fconfig\": {" SPARSITY("dense") "}}", FORMAT,
     "{\"quantization\\u005fconfig\": {" SPARSITY(FORMAT) "}}"},
    {"{\"quantization\\u005fconfigs\": {}}", FORMAT,
     "{\"quantization\\u005fconfigs\": {}, \"quantization_config\": {\"quant_method\": \"compressed-tensors\", "
     SPARSITY(FORMAT) "}}"},
    /* taken away, and all with it where nothing is left to say */
    {"{\"a\": 1, \"quantization_config\": {\"quant_method\": \"compressed-tensors\", " SPARSITY(FORMAT) "}}", NULL,
     "{\"a\": 1}"},
    {"{\n  \"quantization_config\": {\n    " SPARSITY(FORMAT) ",\n    \"format\": \"dense\",\n    \"version\": \"0.9\",\n"
     "    \"config_groups\": {},\n    \"kv_cache_scheme\": null,\n    \"ignore\": [\"x\"]\n  },\n  \"b\": 2\n}", NULL,
     "{\n  \"b\": 2\n}"},
    {"{ \"quantization_config\": { " SPARSITY(FORMAT) " } }", NULL, "{}"},
    {"{\"compression_config\": {" SPARSITY(FORMAT) "}, \"a\": 1}", NULL, "{\"a\": 1}"},
    {"{\"a\": 1, \"compression_config\": {" SPARSITY(FORMAT) ", \"quantization_config\": {\"n\": 8}}, \"b\": 2}", NULL,
     "{\"a\": 1, \"compression_config\": {\"quantization_config\": {\"n\": 8}}, \"b\": 2}"},
    {"{\"quantization_config\": {\"format\": \"pack-quantized\", " SPARSITY(FORMAT) "}}", NULL,
     "{\"quantization_config\": {\"format\": \"pack-quantized\"}}"},
    {"{\"quantization_config\": {\"config_groups\": {\"g\": {}}, " SPARSITY(FORMAT) ", \"format\": \"dense\"}}", NULL,
     "{\"quantization_config\": {\"config_groups\": {\"g\": {}}, \"format\": \"dense\"}}"},
    {"{\"quantization_config\": {" SPARSITY(FORMAT) ", \"quant_method\": \"gptq\"}}", NULL,
     "{\"quantization_config\": {\"quant_method\": \"gptq\"}}"},
    {"{\"quantization_config\": {" SPARSITY(FORMAT) ", \"new\": 1}}", NULL, "{\"quantization_config\": {\"new\": 1}}"},
    /* nothing there to take away: a config that says nothing of sparsity is none of ours */
    {"{\"quantization_config\": {\"quant_method\": \"compressed-tensors\"}}", NULL, NULL},
    {"{\"sparsity_config\": {}, \"quantization_config\": 3}", NULL, NULL},
    {"{}", NULL, NULL},
};

START_TEST(edit)
{
    s24_text out = {0};
    bool changed = true;
    s24_error err = {0};
    const char *const before = edits[_i].before, *const after = edits[_i].after ? edits[_i].after : before;
    /* The text does not end where the file does: nobody looks beyond it. */
    char *const copy = malloc(strlen(before) + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, before, strlen(before));
    copy[strlen(before)] = '#';
    const s24_status status = s24_config_set_sparsity(copy, strlen(before), edits[_i].format, &out, &changed, &err);
    ck_assert_msg(status == S24_OK, "%s", err.message);
    ck_assert_str_eq(out.text, after);
    ck_assert_int_eq(changed, edits[_i].after != NULL);
    ck_assert_int_eq(s24_json_check(out.text, out.length, &err), S24_OK);
    s24_text again = {0}; /* once more: nothing changes */
    ck_assert_int_eq(s24_config_set_sparsity(out.text, out.length, edits[_i].format, &again, &changed, &err), S24_OK);
    ck_assert_str_eq(again.text, after);
    ck_assert(!changed);
    s24_text_free(&again);
    s24_text_free(&out);
    free(copy);
}
END_TEST

/* Added and taken away again: the file as it was. */
START_TEST(there_and_back)
{
    static const char *const files[] = {
        "{\"a\": 1}", "{\n  \"a\": 1\n}\n", "{\n    \"a\": 1,\n    \"b\": {\"c\": 2.0}\n}",
        "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"a\": 1}}}"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        s24_text with = {0}, without = {0};
        bool changed;
        s24_error err;
        ck_assert_int_eq(s24_config_set_sparsity(files[i], strlen(files[i]), FORMAT, &with, &changed, &err), S24_OK);
        ck_assert(changed);
        ck_assert_int_eq(s24_config_set_sparsity(with.text, with.length, NULL, &without, &changed, &err), S24_OK);
        ck_assert(changed);
        ck_assert_str_eq(without.text, files[i]);
        s24_text_free(&with);
        s24_text_free(&without);
    }
}
END_TEST

static const struct {
    const char *text, *message;
} bad[] = {
    {"", "byte 0"},
    {"{\"a\": 01}", "byte"},
    {"{\"a\": 1, \"a\": 2}", "a"},
    {"[1]", "is not a JSON object"},
    {"{\"quantization_config\": [1]}", "\"quantization_config\" is not an object"},
    {"{\"quantization_config\": {\"sparsity_config\": \"dense\"}}", "\"sparsity_config\" is not an object"},
    {"{\"quantization_config\": {\"quant_method\": \"gptq\"}}", "another quant_method than compressed-tensors"},
    {"{\"quantization_config\": {\"quant_method\": 1}}", "another quant_method than compressed-tensors"},
    {"{\"quantization_config\": {\"quant_method\": \"compressed-Tensors\"}}", "another quant_method than"},
    {"{\"quantization_config\": {\"quant_method\": 12345678901234567890}}", "another quant_method than"}, /* as long as it */
};

START_TEST(refuse)
{
    s24_text out = {0};
    bool changed = true;
    s24_error err = {0};
    ck_assert_int_eq(s24_config_set_sparsity(bad[_i].text, strlen(bad[_i].text), FORMAT, &out, &changed, &err),
                     S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, bad[_i].message), "%s", err.message);
    ck_assert(!changed);
    s24_text_free(&out);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("config_json");
    TCase *const tcase = tcase_create("all");
    tcase_add_loop_test(tcase, edit, 0, (int)(sizeof edits / sizeof *edits));
    tcase_add_test(tcase, there_and_back);
    tcase_add_loop_test(tcase, refuse, 0, (int)(sizeof bad / sizeof *bad));
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
