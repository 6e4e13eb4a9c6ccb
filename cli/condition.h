/* Conditions on the figures of a tensor, as "relative_error>0.4": of stats --fail-if, of plan --budget. */
#ifndef S24_CLI_CONDITION_H
#define S24_CLI_CONDITION_H

#include "args.h"
#include "report.h"

typedef struct condition_operator {
    const char *sign, *contrary; /* "<=", ">" */
    bool (*holds)(double a, double b);
} condition_operator;

typedef struct condition {
    const report_metric *metric;
    const condition_operator *op;
    double limit;
    const char *text; /* as given */
} condition;

typedef struct condition_list {
    condition *items;
    size_t count;
} condition_list;

/* Adds one, FIGURE OPERATOR NUMBER, blanks allowed around the operator, to a condition_list. */
args_setter condition_add;

bool condition_holds(const condition *c, double x); /* false of NaN, the undefined */

#endif
