/* Which stacks take a tensor: each rule at its border, on both sides. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "hardware.h"

static size_t stack_of(const char *name)
{
    size_t i = 0;
    while (s24_hardware_name(i) && strcmp(s24_hardware_name(i), name) != 0) {
        i++;
    }
    ck_assert_msg(s24_hardware_name(i), "no stack %s", name);
    return i;
}

#define ALONG(axis, ...) (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)), {__VA_ARGS__}, axis

/* why: a part of the reason; NULL: it is taken. */
static const struct {
    const char *stack;
    s24_dtype dtype;
    int rank;
    size_t shape[6];
    int axis;
    const char *why;
} cases[] = {
    {"asp", S24_F32, ALONG(1, 8, 16), NULL},
    {"asp", S24_F16, ALONG(1, 24, 48), NULL},
    {"asp", S24_BF16, ALONG(1, 8, 16), NULL},
    {"asp", S24_F64, ALONG(1, 8, 16), "only f32"},
    {"asp", S24_I8, ALONG(1, 8, 16), "only f32"},
    {"asp", S24_F32, ALONG(1, 12, 16), "rows are no multiple of 8"},
    {"asp", S24_F32, ALONG(1, 8, 24), "columns are no multiple of 16"},
    {"asp", S24_F32, ALONG(0, 16, 16), "axis 1"},
    {"asp", S24_F32, ALONG(0, 16), "neither"},
    {"asp", S24_F32, ALONG(1, 8, 16, 3, 3), NULL},
    {"asp", S24_F32, ALONG(1, 4, 16, 3, 3), "rows"}, /* the taps make rows of 36, but no output channels */
    {"asp", S24_F32, ALONG(1, 8, 8, 3, 3), "columns"},
    {"asp", S24_F32, ALONG(2, 8, 16, 16), "neither"},
    {"asp", S24_F32, ALONG(1, 8, 16, 64), "neither"},

    {"cusparselt", S24_F16, ALONG(1, 16, 16), NULL},
    {"cusparselt", S24_BF16, ALONG(0, 16, 48), NULL},
    {"cusparselt", S24_F16, ALONG(1, 8, 16), "rows are no multiple of 16"},
    {"cusparselt", S24_F16, ALONG(1, 16, 8), "columns are no multiple of 16"},
    {"cusparselt", S24_I8, ALONG(1, 32, 32), NULL},
    {"cusparselt", S24_F8E4M3, ALONG(1, 32, 64), NULL},
    {"cusparselt", S24_F8E5M2, ALONG(1, 48, 32), "rows are no multiple of 32"},
    {"cusparselt", S24_I8, ALONG(1, 32, 16), "columns are no multiple of 32"},
    {"cusparselt", S24_F32, ALONG(1, 32, 32), "1:2"},
    {"cusparselt", S24_F64, ALONG(1, 32, 32), "only f16"},
    {"cusparselt", S24_F16, ALONG(1, 16, 16, 3, 3), "no matrix"},

    {"cutlass", S24_F16, ALONG(1, 32, 64), NULL},
    {"cutlass", S24_BF16, ALONG(1, 96, 192), NULL},
    {"cutlass", S24_F16, ALONG(1, 16, 64), "rows are no multiple of 32"},
    {"cutlass", S24_F16, ALONG(1, 32, 96), "columns are no multiple of 64"},
    {"cutlass", S24_I8, ALONG(1, 16, 128), NULL},
    {"cutlass", S24_I8, ALONG(1, 8, 128), "rows are no multiple of 16"},
    {"cutlass", S24_I8, ALONG(1, 16, 64), "columns are no multiple of 128"},
    {"cutlass", S24_F16, ALONG(0, 64, 64), "last axis"},
    {"cutlass", S24_F32, ALONG(1, 128, 128), "1:2"},
    {"cutlass", S24_F8E4M3, ALONG(1, 128, 128), "only f16"},
    {"cutlass", S24_F16, ALONG(2, 4, 64, 64), "no matrix"},

    {"tensorrt", S24_F32, ALONG(1, 10, 256), NULL},
    {"tensorrt", S24_F16, ALONG(0, 256, 10), NULL},
    {"tensorrt", S24_BF16, ALONG(1, 10, 300), NULL},
    {"tensorrt", S24_I8, ALONG(1, 64, 256, 3, 3), NULL},
    {"tensorrt", S24_F32, ALONG(1, 512, 252), "256"},
    {"tensorrt", S24_F16, ALONG(1, 64, 128, 3, 3), "256"},
    {"tensorrt", S24_F8E4M3, ALONG(1, 512, 512), "only f32"},
    {"tensorrt", S24_F16, ALONG(2, 8, 512, 512), "neither"},
    {"tensorrt", S24_F16, ALONG(0, 512), "neither"},
    {"tensorrt", S24_F32, ALONG(1, 0, 512), "empty"},
    {"cutlass", S24_F16, ALONG(1, 32, 0), "empty"},
};

START_TEST(borders)
{
    const size_t stack = stack_of(cases[_i].stack);
    const char *why = s24_hardware_refusal(stack, cases[_i].dtype, cases[_i].rank, cases[_i].shape, cases[_i].axis);
    const char *wanted = cases[_i].why;
    ck_assert_msg(!why == !wanted && (!why || strstr(why, wanted)), "row %d, %s: %s, not %s", _i, cases[_i].stack,
                  why ? why : "takes it", wanted ? wanted : "takes it");
}
END_TEST

/* A tensor of rank 0 is one element: nobody takes it, and its axis 0 is looked for nowhere. */
START_TEST(scalar)
{
    for (size_t i = 0; s24_hardware_name(i); i++) {
        ck_assert_ptr_nonnull(s24_hardware_refusal(i, S24_F16, 0, NULL, 0));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hardware");
    TCase *rules = tcase_create("rules");
    tcase_add_loop_test(rules, borders, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(rules, scalar);
    suite_add_tcase(suite, rules);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
