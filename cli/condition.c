#include "condition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "suggest.h"

static bool less(double a, double b) { return a < b; }
static bool at_most(double a, double b) { return a <= b; }
static bool more(double a, double b) { return a > b; }
static bool at_least(double a, double b) { return a >= b; }

/* A sign before another that it begins with. */
static const condition_operator operators[] = {
    {"<=", ">", at_most}, {">=", "<", at_least}, {"<", ">=", less}, {">", "<=", more},
};

static const condition_operator *find_operator(const char *s)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (strncmp(s, operators[i].sign, strlen(operators[i].sign)) == 0) {
            return &operators[i];
        }
    }
    return NULL;
}

static bool unknown_metric(const args *a, const args_option *option, const char *name)
{
    char what[128];
    suggest s = {.word = name};
    for (size_t i = 0; report_metric_name(i); i++) {
        suggest_try(&s, report_metric_name(i));
    }
    if (s.nearest) {
        snprintf(what, sizeof what, "--%s: no such figure '%.60s'", option->name, name);
        args_mistyped(a->command, what, "", s.nearest);
        return false;
    }
    char names[512] = "";
    for (size_t i = 0; report_metric_name(i); i++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, " %s", report_metric_name(i));
    }
    args_usage(a->command, "--%s: no such figure '%.60s'; there are%s", option->name, name, names);
    return false;
}

bool condition_add(args *a, const args_option *option, void *target, const char *value)
{
    condition_list *list = target;
    const size_t n = strcspn(value, "<>= ");
    const char *const sign = value + n + strspn(value + n, " ");
    char *name = memcpy(args_alloc(a, n + 1, 1), value, n), *end;
    condition c = {.metric = report_metric_find(name), .op = find_operator(sign), .text = value};
    if (!c.op) {
        return args_refuse(a, option, value, "not FIGURE, one of < <= > >=, and a number, as in relative_error>0.4");
    }
    const char *const number = sign + strlen(c.op->sign);
    c.limit = strtod(number, &end);
    if (end == number || *end || isnan(c.limit)) {
        return args_refuse(a, option, value, "what follows the operator is not a number");
    }
    if (!c.metric) {
        return unknown_metric(a, option, name);
    }
    if (!list->items) {
        list->items = args_alloc(a, (size_t)a->argc, sizeof *list->items);
    }
    list->items[list->count++] = c;
    return true;
}

bool condition_holds(const condition *c, double x)
{
    return c->op->holds(x, c->limit);
}
