/* Plans: what is read, what is refused and by which words, and what becomes of a model by one. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"
#include "select.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SCHEMA "{\"schema\":\"s24.plan/1\""
#define METHOD SCHEMA ",\"method\":\"wanda\",\"refit\":true,\"transposable\":false"
#define STORAGE METHOD ",\"dtype\":\"f16\",\"group_size\":128,\"later\":[1,{}]"
#define HEAD STORAGE ",\"tensors\":["
#define W "{\"name\":\"w\",\"shape\":[4,8],\"axis\":0,\"decision\":\"prune\",\"more\":null}"
#define V "{\"name\":\"v\",\"shape\":[8,8],\"decision\":\"dense\",\"reason\":\"too much\"}"
#define U "{\"name\":\"u\",\"shape\":[8,8],\"decision\":\"dense\"}"
#define B "{\"name\":\"b.bias\",\"shape\":[8],\"decision\":\"dense\",\"reason\":\"because\"}"
#define X16 "xxxxxxxxxxxxxxxx"
#define X64 X16 X16 X16 X16

static const s24_io io = {.threads = 1};

static s24_status read_text(s24_plan *plan, const char *text, s24_error *err)
{
    char path[] = "/tmp/s24-test-XXXXXX";
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const s24_status status = s24_plan_read(plan, &io, path, err);
    if (status != S24_OK) {
        ck_assert_msg(strncmp(err->message, path, strlen(path)) == 0, "%s", err->message);
        ck_assert_msg(strstr(err->message, "s24 plan"), "%s", err->message); /* what to do */
        ck_assert(!plan->json && !plan->tensors && !plan->path);
    }
    unlink(path);
    return status;
}

/* ---------------------------------------------------------------- the file */

START_TEST(read_one)
{
    s24_plan plan;
    s24_error err;
    ck_assert_msg(read_text(&plan, HEAD W "," V "," U "]}", &err) == S24_OK, "%s", err.message);
    ck_assert_str_eq(plan.method, "wanda");
    ck_assert(plan.refit && !plan.transposable && plan.dtype == S24_F16 && plan.scale_group == 128 && plan.count == 3);
    const s24_planned *const w = s24_plan_find(&plan, "w"), *const v = s24_plan_find(&plan, "v");
    ck_assert(w && w->prune && w->axis == 0 && !w->reason);
    ck_assert(v && !v->prune && strcmp(v->reason, "too much") == 0);
    ck_assert_ptr_null(s24_plan_find(&plan, "W"));
    s24_plan_free(&plan);
    ck_assert_int_eq(read_text(&plan, HEAD "]}", &err), S24_OK);
    ck_assert(!s24_plan_find(&plan, "w") && !plan.permute);
    s24_plan_free(&plan);
    ck_assert_int_eq(read_text(&plan, STORAGE ",\"permute\":true,\"tensors\":[]}", &err), S24_OK);
    ck_assert(plan.permute);
    s24_plan_free(&plan);
}
END_TEST

static const struct {
    const char *text, *message;
} bad[] = {
    {"", "is no plan"},
    {"{", "is no plan"},
    {"[]", "is no plan: it has no \"schema\""},
    {"null", "it has no \"schema\""},
    {"{\"schema\":1}", "it has no \"schema\""},
    {"{\"schema\":\"s24.stats/1\"}", "it has no \"schema\""},
    {"{\"schema\":\"s24.plan/10\"}", "schema s24.plan/10, and this s24 reads s24.plan/1"},
    {"{\"schema\":\"s24.plan/1\",\"schema\":\"s24.plan/1\"}", "is no plan"},
    {SCHEMA "}", "\"method\" is missing"},
    {SCHEMA ",\"method\":\"best\"}", "no method best"},
    {SCHEMA ",\"method\":\"obs\"}", "\"refit\" is neither"},
    {SCHEMA ",\"method\":\"obs\",\"refit\":false,\"transposable\":0}", "\"transposable\" is neither"},
    {METHOD ",\"permute\":null}", "\"permute\" is neither"},
    {METHOD "}", "\"dtype\" is missing"},
    {METHOD ",\"dtype\":\"f99\"}", "no type f99"},
    {METHOD ",\"dtype\":\"i8\",\"group_size\":-1}", "\"group_size\""},
    {STORAGE "}", "\"tensors\" is not a list"},
    {STORAGE ",\"tensors\":{}}", "is not a list"},
    {HEAD "1]}", "tensor 0 of the list: \"name\" is missing"},
    {HEAD W ",{}]}", "tensor 1 of the list: \"name\" is missing"},
    {HEAD "{\"name\":7}]}", "\"name\" is not a string"},
    {HEAD "{\"name\":\"w\"}]}", "w: \"decision\" is missing"},
    {HEAD "{\"name\":\"w\",\"decision\":\"keep\"}]}", "w: \"decision\" is neither"},
    {HEAD "{\"name\":\"w\",\"decision\":\"dense\"}]}", "w: \"shape\" is not a list"},
    {HEAD "{\"name\":\"w\",\"decision\":\"prune\",\"shape\":[1]}]}", "w: \"axis\""},
    {HEAD "{\"name\":\"w\",\"decision\":\"prune\",\"shape\":[1],\"axis\":-1}]}", "w: \"axis\""},
    {HEAD "{\"name\":\"w\",\"decision\":\"prune\",\"shape\":[1],\"axis\":0.5}]}", "w: \"axis\""},
    {HEAD "{\"name\":\"w\",\"decision\":\"prune\",\"shape\":[1],\"axis\":64}]}", "w: \"axis\""},
    {HEAD "{\"name\":\"w\",\"decision\":\"prune\",\"shape\":[1],\"axis\":null}]}", "w: \"axis\""},
    {HEAD "{\"name\":\"w\",\"decision\":\"dense\",\"shape\":[1],\"reason\":1}]}", "w: \"reason\""},
    {HEAD "{\"name\":\"w\",\"decision\":\"dense\",\"shape\":[1],\"reason\":\"" X64 X64 X64 X64 "\"}]}", "w: \"reason\""},
    {HEAD W "," V "," W "]}", "lists tensor w twice"},
};

START_TEST(refuse)
{
    s24_plan plan;
    s24_error err = {0};
    ck_assert_int_eq(read_text(&plan, bad[_i].text, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, bad[_i].message), "%s", err.message);
}
END_TEST

START_TEST(refuse_large)
{
    s24_plan plan;
    s24_error err = {0};
    char path[] = "/tmp/s24-test-XXXXXX";
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 1 << 30), 0); /* a hole: nothing of it is to be read */
    close(fd);
    ck_assert_int_eq(s24_plan_read(&plan, &io, path, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, "larger than"), "%s", err.message);
    unlink(path);
}
END_TEST

/* ---------------------------------------------------------------- a model by it */

typedef struct tensor {
    const char *name;
    s24_dtype dtype;
    int rank;
    size_t shape[2];
} tensor;

static s24_source source_of(const tensor *tensors, size_t count)
{
    static char name[] = "m";
    static s24_input in = {.name = name};
    s24_source source = {.format = &s24_format_safetensors, .io = &io, .in = &in};
    for (size_t i = 0; i < count; i++) {
        ck_assert_ptr_nonnull(s24_contents_add(&source.contents, tensors[i].name, tensors[i].dtype, tensors[i].rank,
                                               tensors[i].shape, NULL));
    }
    return source;
}

static const tensor model[] = {
    {"w", S24_F32, 2, {4, 8}}, {"v", S24_F32, 2, {8, 8}}, {"u", S24_F32, 2, {8, 8}}, {"b.bias", S24_F32, 1, {8}},
};

START_TEST(choose)
{
    static const char *const none[] = {"w"};
    s24_plan plan;
    s24_error err;
    ck_assert_int_eq(read_text(&plan, HEAD B "," U "," V "," W "]}", &err), S24_OK);
    s24_source s = source_of(model, COUNT(model));
    const s24_entry *const e = s.contents.entries;
    ck_assert_msg(s24_select_planned(&s, &(s24_selection){0}, &plan, S24_F16, 0, &err) == S24_OK, "%s", err.message);
    ck_assert(e[0].packed && e[0].axis == 0 && e[0].stored == S24_F16);
    ck_assert_str_eq(e[0].reason, "axis 0: given");
    ck_assert(!e[1].packed && !e[2].packed && !e[3].packed);
    ck_assert_str_eq(e[1].reason, "left dense by the plan: too much");
    ck_assert_str_eq(e[2].reason, "left dense by the plan");
    ck_assert_str_eq(e[3].reason, "rank 1: no matrix");
    const s24_selection exclude = {.exclude = none, .exclude_count = 1};
    ck_assert_int_eq(s24_select_planned(&s, &exclude, &plan, S24_SAME, 0, &err), S24_OK);
    ck_assert(!e[0].packed);
    ck_assert_str_eq(e[0].reason, "excluded by w");
    s24_contents_free(&s.contents);
    s24_plan_free(&plan);
}
END_TEST

/* Plans that are of another model; a tensor that nobody would prune need not be in one. */
static const struct {
    const char *text, *message; /* NULL: it goes */
} strict[] = {
    {HEAD W "," V "," U "]}", NULL},
    {HEAD W "," V "]}", "u: is not in "},
    {HEAD W "," V "," U ",{\"name\":\"t\",\"shape\":[],\"decision\":\"dense\"}]}", "lists tensor t, which the model has not"},
    {HEAD W "," U ",{\"name\":\"v\",\"shape\":[8],\"decision\":\"dense\"}]}", "v: has another shape"},
    {HEAD W "," U ",{\"name\":\"v\",\"shape\":[8,8,1],\"decision\":\"dense\"}]}", "v: has another shape"},
    {HEAD W "," U ",{\"name\":\"v\",\"shape\":[8,-8],\"decision\":\"dense\"}]}", "v: has another shape"},
    {HEAD W "," U ",{\"name\":\"v\",\"shape\":[8,\"8\"],\"decision\":\"dense\"}]}", "v: has another shape"},
    {HEAD W "," U ",{\"name\":\"v\",\"shape\":[8,8],\"axis\":2,\"decision\":\"prune\"}]}", "v: cannot be pruned as the plan says"},
};

START_TEST(refuse_model)
{
    s24_plan plan;
    s24_error err = {0};
    ck_assert_msg(read_text(&plan, strict[_i].text, &err) == S24_OK, "%s", err.message);
    s24_source s = source_of(model, COUNT(model));
    const s24_status status = s24_select_planned(&s, &(s24_selection){0}, &plan, S24_SAME, 0, &err);
    ck_assert_int_eq(status, strict[_i].message ? S24_ERR_DATA : S24_OK);
    ck_assert_msg(!strict[_i].message || strstr(err.message, strict[_i].message), "%s", err.message);
    s24_contents_free(&s.contents);
    s24_plan_free(&plan);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("plan");
    TCase *const tcase = tcase_create("all");
    tcase_add_test(tcase, read_one);
    tcase_add_loop_test(tcase, refuse, 0, (int)COUNT(bad));
    tcase_add_test(tcase, refuse_large);
    tcase_add_test(tcase, choose);
    tcase_add_loop_test(tcase, refuse_model, 0, (int)COUNT(strict));
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
