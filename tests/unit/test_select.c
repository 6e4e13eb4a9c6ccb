/* Which tensors are pruned, along which axis, and what is said of the others. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "select.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

/* ---------------------------------------------------------------- a model */

typedef struct tensor {
    const char *name;
    s24_dtype dtype;
    int rank;
    size_t shape[4];
} tensor;

/* What becomes of it: the axis, or -1 for none, and the reason (NULL: none). */
typedef struct outcome {
    int axis;
    const char *reason;
} outcome;

static s24_contents contents_of(const tensor *tensors, int count)
{
    s24_contents c = {0};
    for (int i = 0; i < count; i++) {
        ck_assert_ptr_nonnull(s24_contents_add(&c, tensors[i].name, tensors[i].dtype, tensors[i].rank,
                                               tensors[i].shape, NULL));
    }
    return c;
}

static void require_outcome(const s24_entry *e, const outcome *expected, s24_dtype stored)
{
    ck_assert_msg(e->packed == (expected->axis >= 0), "%s: packed is %d, reason %s", e->name, e->packed,
                  e->reason ? e->reason : "none");
    ck_assert_msg((e->reason == NULL) == (expected->reason == NULL), "%s: reason %s", e->name,
                  e->reason ? e->reason : "none");
    if (expected->reason) {
        ck_assert_str_eq(e->reason, expected->reason);
    }
    if (expected->axis >= 0) {
        s24_geometry g;
        ck_assert_msg(e->axis == expected->axis, "%s: axis %d", e->name, e->axis);
        ck_assert_int_eq(e->stored, stored == S24_SAME ? e->dtype : stored);
        ck_assert_int_eq(s24_geometry_init(&g, e->stored, e->rank, e->shape, e->axis, NULL, NULL), S24_OK);
        ck_assert_mem_eq(&g, &e->pruned->geometry, sizeof g);
    }
}

static s24_source source_of(const tensor *tensors, int count, bool whole_model)
{
    static const s24_io io;
    static char name[] = "test";
    static s24_input in = {.name = name};
    return (s24_source){.format = whole_model ? &s24_format_safetensors : &s24_format_npy, .io = &io, .in = &in,
                        .contents = contents_of(tensors, count)};
}

/* Twice: what was decided before must not matter. */
static void require_selected(const tensor *tensors, int count, bool whole_model, const s24_selection *selection,
                             s24_dtype stored, const outcome *expected)
{
    s24_source source = source_of(tensors, count, whole_model);
    for (int again = 0; again < 2; again++) {
        s24_error err = {.status = S24_OK};
        ck_assert_msg(s24_select(&source, selection, stored, 0, &err) == S24_OK, "%s", err.message);
        for (int i = 0; i < count; i++) {
            require_outcome(&source.contents.entries[i], &expected[i], stored);
        }
    }
    s24_contents_free(&source.contents);
}

static void require_error(const tensor *tensors, int count, bool whole_model, const s24_selection *selection,
                          s24_dtype stored, const char *message)
{
    s24_source source = source_of(tensors, count, whole_model);
    s24_error err;
    ck_assert_int_eq(s24_select(&source, selection, stored, 0, &err), S24_ERR_USAGE);
    ck_assert_int_eq(err.status, S24_ERR_USAGE);
    ck_assert_msg(strstr(err.message, message), "expected \"%s\", not \"%s\"", message, err.message);
    s24_contents_free(&source.contents);
}

static const tensor model[] = {
    {"model.embed_tokens.weight", S24_BF16, 2, {100, 8}},
    {"h.0.attn.weight", S24_F32, 2, {12, 8}},
    {"h.0.attn.bias", S24_F32, 1, {12}},
    {"h.0.mlp.weight", S24_F16, 2, {12, 6}},
    {"h.0.norm.weight", S24_F32, 2, {12, 8}},
    {"conv.weight", S24_F32, 4, {16, 8, 3, 3}},
    {"q.weight", S24_I8, 2, {4, 8}},
    {"ids", S24_I64, 2, {4, 8}},
    {"empty", S24_F32, 2, {0, 8}},
    {"scale", S24_F32, 0, {0}},
};
#define MODEL ROWS(model)

START_TEST(default_rule)
{
    static const s24_selection none = {0};
    static const outcome expected[MODEL] = {
        {-1, "name matches *embed*"}, {1, NULL}, {-1, "rank 1: no matrix"},
        {-1, "6 elements along its axis: no multiple of 4"}, {-1, "name matches *norm*"},
        {1, "axis 1: input channels of a convolution"}, {1, NULL}, {-1, "dtype i64"}, {-1, "empty"},
        {-1, "rank 0: no matrix"},
    };
    require_selected(model, MODEL, true, &none, S24_SAME, expected);
    require_selected(model, MODEL, true, &none, S24_F64, expected);
}
END_TEST

/* Every name that the rule leaves out, and some that look like it. */
START_TEST(default_names)
{
    static const struct {
        const char *name, *glob;
    } rows[] = {
        {"a.embed.b", "*embed*"}, {"embed", "*embed*"}, {"word_embeddings/w", "*embed*"}, {"wte.weight", "*wte*"},
        {"transformer.wpe.weight", "*wpe*"}, {"lm_head.weight", "*lm_head*"}, {"post_layernorm.w", "*norm*"},
        {"h.0.ln_1.weight", "*ln_*"}, {"attn.c_attn.bias", "*bias"}, {".norm", "*norm*"}, {"a\nnorm", "*norm*"},
        {"bias.weight", NULL}, {"Embedding.weight", NULL}, {"head.weight", NULL}, {"ln.weight", NULL},
        {"fc1.weight", NULL}, {"", NULL}, {"*", NULL}, {"nor m", NULL},
    };
    static const s24_selection none = {0};
    for (int i = 0; i < ROWS(rows); i++) {
        char reason[64];
        const tensor one = {rows[i].name, S24_F32, 2, {4, 4}};
        snprintf(reason, sizeof reason, "name matches %s", rows[i].glob ? rows[i].glob : "");
        const outcome expected = {rows[i].glob ? -1 : 1, rows[i].glob ? reason : NULL};
        require_selected(&one, 1, true, &none, S24_SAME, &expected);
    }
}
END_TEST

START_TEST(every_dtype)
{
    static const s24_selection none = {0}, all = {.all = true};
    for (int dtype = S24_F64; dtype < S24_DTYPES; dtype++) {
        char reason[32];
        const tensor one = {"w", (s24_dtype)dtype, 2, {8, 8}};
        snprintf(reason, sizeof reason, "dtype %s", s24_dtype_name((s24_dtype)dtype));
        const outcome expected = dtype <= S24_I8 ? (outcome){1, NULL} : (outcome){-1, reason};
        require_selected(&one, 1, true, &none, S24_SAME, &expected);
        require_selected(&one, 1, true, &all, S24_SAME, &expected);
        require_selected(&one, 1, false, &none, S24_SAME, &expected);
    }
}
END_TEST

/* Floats of any rank and name, padded where they must be; i8 by the rule. */
START_TEST(all_floats)
{
    static const char *const excludes[] = {"*.bias", "conv*"};
    static const s24_selection all = {.all = true, .exclude = excludes, .exclude_count = 2};
    static const outcome expected[MODEL] = {
        {1, NULL}, {1, NULL}, {-1, "excluded by *.bias"}, {1, NULL}, {1, NULL}, {-1, "excluded by conv*"}, {1, NULL},
        {-1, "dtype i64"}, {1, NULL}, {0, NULL},
    };
    static const tensor line = {"line", S24_I8, 1, {8}};
    static const outcome left = {-1, "rank 1: no matrix"};
    require_selected(model, MODEL, true, &all, S24_SAME, expected);
    require_selected(&line, 1, true, &all, S24_SAME, &left);
}
END_TEST

START_TEST(include_goes_beyond_the_rule)
{
    static const char *const includes[] = {"h.0.*", "ids"}, *const excludes[] = {"*.attn.*"};
    static const s24_selection selection = {.include = includes, .include_count = 2, .exclude = excludes,
                                            .exclude_count = 1};
    static const outcome expected[MODEL] = {
        {-1, "name matches *embed*"}, {-1, "excluded by *.attn.*"}, {-1, "excluded by *.attn.*"}, {1, NULL}, {1, NULL},
        {1, "axis 1: input channels of a convolution"}, {1, NULL}, {-1, "dtype i64"}, {-1, "empty"},
        {-1, "rank 0: no matrix"},
    };
    require_selected(model, MODEL, true, &selection, S24_SAME, expected);
}
END_TEST

START_TEST(include_of_nothing)
{
    static const char *const includes[] = {"h.*", "layers.*"};
    static const s24_selection selection = {.include = includes, .include_count = 2};
    require_error(model, MODEL, true, &selection, S24_SAME, "--include layers.*");
    /* What a lone tensor is called is nobody's choice. */
    static const tensor lone = {"", S24_F32, 1, {3}};
    static const outcome expected = {0, NULL};
    require_selected(&lone, 1, false, &selection, S24_SAME, &expected);
}
END_TEST

START_TEST(exclude_wins)
{
    static const char *const globs[] = {"*"};
    static const s24_selection selection = {.include = globs, .include_count = 1, .exclude = globs, .exclude_count = 1,
                                            .all = true};
    outcome expected[MODEL];
    for (int i = 0; i < MODEL; i++) {
        expected[i] = (outcome){-1, "excluded by *"};
    }
    require_selected(model, MODEL, true, &selection, S24_SAME, expected);
    require_selected(model, MODEL, false, &selection, S24_SAME, expected);
}
END_TEST

/* One array is pruned whatever it is like. */
START_TEST(a_lone_tensor)
{
    static const s24_selection none = {0};
    static const tensor tensors[] = {
        {"", S24_F32, 0, {0}}, {"", S24_F32, 1, {3}}, {"norm.bias", S24_F64, 2, {5, 7}}, {"", S24_I8, 1, {0}},
        {"", S24_F16, 3, {2, 3, 100}}, {"", S24_F16, 3, {2, 3, 5}}, {"", S24_U8, 2, {4, 4}},
    };
    static const outcome expected[] = {
        {0, NULL}, {0, NULL}, {1, NULL}, {0, NULL}, {2, "axis 2: the last"},
        {1, "axis 1: input channels of a convolution"}, {-1, "dtype u8"},
    };
    for (int i = 0; i < ROWS(tensors); i++) {
        require_selected(&tensors[i], 1, false, &none, S24_SAME, &expected[i]);
    }
}
END_TEST

/* ---------------------------------------------------------------- axes */

/* The last rule that matches counts; one without a glob matches all. */
START_TEST(axis_rules)
{
    static const s24_axis_rule rules[] = {{NULL, -1}, {"h.*", 0}, {"h.1*", S24_AXIS_AUTO}, {"*.in", -2}};
    static const s24_selection selection = {.axes = rules, .axis_count = 4};
    static const tensor tensors[] = {
        {"other", S24_F32, 2, {3, 8}}, {"h.0", S24_F32, 2, {8, 3}}, {"h.1", S24_F32, 2, {3, 8}},
        {"h.1.in", S24_F32, 2, {8, 3}}, {"conv", S24_F32, 4, {2, 3, 3, 8}}, {"h.0.conv", S24_F32, 3, {8, 3, 3}},
        {"h.1.conv", S24_F32, 3, {3, 8, 3}}, {"h.1.wide", S24_F32, 3, {3, 3, 40}}, {"bad.in", S24_F32, 2, {6, 8}},
        {"h.bias", S24_F32, 1, {6}},
    };
    static const outcome expected[] = {
        {1, "axis 1: given"}, {0, "axis 0: given"}, {1, NULL}, {0, "axis 0: given"}, {3, "axis 3: given"},
        {0, "axis 0: given"}, {1, "axis 1: input channels of a convolution"}, {2, "axis 2: the last"},
        {-1, "6 elements along its axis: no multiple of 4"}, {-1, "rank 1: no matrix"},
    };
    require_selected(tensors, ROWS(tensors), true, &selection, S24_SAME, expected);
}
END_TEST

/* A tensor without that axis is an error where it would be pruned, and only there. */
START_TEST(axis_that_is_none)
{
    static const s24_axis_rule third = {NULL, 2};
    static const s24_selection selection = {.axes = &third, .axis_count = 1};
    static const tensor bias = {"a.bias", S24_F32, 1, {8}}, matrix = {"a.weight", S24_F32, 2, {8, 8}};
    static const tensor ids = {"ids", S24_U8, 2, {8, 8}}, norm = {"norm", S24_F32, 2, {8, 8}};
    static const outcome left[] = {{-1, "rank 1: no matrix"}, {-1, "dtype u8"}, {-1, "name matches *norm*"}};
    require_selected(&bias, 1, true, &selection, S24_SAME, &left[0]);
    require_selected(&ids, 1, true, &selection, S24_SAME, &left[1]);
    require_selected(&norm, 1, true, &selection, S24_SAME, &left[2]);
    require_error(&matrix, 1, true, &selection, S24_SAME, "a.weight: ");
    require_error(&bias, 1, false, &selection, S24_SAME, "axis 2");
}
END_TEST

/* ---------------------------------------------------------------- stored dtypes */

/* Floats in 8 bits have scales, and what is stored as it is has none. A scale is not cut in two. */
START_TEST(scaled_dtypes)
{
    static const s24_selection none = {0};
    static const tensor all[] = {{"w", S24_F32, 2, {8, 8}}, {"b", S24_I8, 2, {8, 8}}, {"n", S24_F32, 1, {8}},
                                 {"long", S24_F16, 2, {2, 262144}}};
    static const tensor longer = {"longer", S24_F32, 2, {1, 262148}};
    for (size_t group = 0; group <= S24_SCALE_GROUP; group += S24_SCALE_GROUP) {
        s24_source source = source_of(all, 4, true);
        s24_error err = {0};
        ck_assert_msg(s24_select(&source, &none, S24_I8, group, &err) == S24_OK, "%s", err.message);
        const s24_entry *const e = source.contents.entries;
        ck_assert(e[0].scaled && e[0].scale_group == group && e[3].scaled && !e[1].scaled && e[1].packed && !e[2].packed);
        s24_contents_free(&source.contents);
        source = source_of(&longer, 1, true);
        ck_assert_int_eq(s24_select(&source, &none, S24_F8E4M3, group, &err), group ? S24_OK : S24_ERR_USAGE);
        ck_assert(group || strstr(err.message, "longer: a row of 262148 elements is too long for one scale"));
        s24_contents_free(&source.contents);
    }
}
END_TEST

START_TEST(stored_dtypes)
{
    static const s24_selection none = {0};
    static const tensor w = {"w", S24_F32, 2, {8, 8}}, bytes = {"b", S24_I8, 2, {8, 8}}, ids = {"i", S24_I32, 1, {8}};
    static const outcome taken = {1, NULL}, left = {-1, "dtype i32"};
    require_selected(&w, 1, true, &none, S24_F16, &taken);
    require_selected(&bytes, 1, true, &none, S24_BF16, &taken);
    require_selected(&bytes, 1, true, &none, S24_I8, &taken);
    require_selected(&ids, 1, true, &none, S24_I8, &left); /* not pruned, so its dtype does not matter */
    require_selected(&w, 1, true, &none, S24_I8, &taken);
    require_selected(&w, 1, false, &none, S24_F8E5M2, &taken);
    require_error(&bytes, 1, true, &none, S24_F8E4M3, "b: i8 cannot be stored as f8e4m3");
}
END_TEST

/* ---------------------------------------------------------------- suite */

int main(void)
{
    Suite *suite = suite_create("select");
    TCase *tcase = tcase_create("select");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, default_rule);
    tcase_add_test(tcase, default_names);
    tcase_add_test(tcase, every_dtype);
    tcase_add_test(tcase, all_floats);
    tcase_add_test(tcase, include_goes_beyond_the_rule);
    tcase_add_test(tcase, include_of_nothing);
    tcase_add_test(tcase, exclude_wins);
    tcase_add_test(tcase, a_lone_tensor);
    tcase_add_test(tcase, axis_rules);
    tcase_add_test(tcase, axis_that_is_none);
    tcase_add_test(tcase, stored_dtypes);
    tcase_add_test(tcase, scaled_dtypes);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
