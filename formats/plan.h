/*
 * A plan of s24 plan: which tensors of a model are pruned, and by what. JSON of the schema "s24.plan/1", of which pruning
 * reads the members below; s24-plan(1) lists them all.
 *
 *     {"schema": "s24.plan/1", "method": "obs", "refit": false, "transposable": false,
 *      "permute": false, "dtype": "same", "group_size": 0,
 *      "tensors": [{"name": "fc1.weight", "shape": [128, 64], "axis": 1, "decision": "prune"},
 *                  {"name": "fc3.weight", "shape": [10, 64], "axis": null, "decision": "dense", "reason": "..."}]}
 */
#ifndef S24_FORMATS_PLAN_H
#define S24_FORMATS_PLAN_H

#include <cjson/cJSON.h>

#include "format.h"

#define S24_PLAN_SCHEMA "s24.plan/1"

/* What it says of one tensor. */
typedef struct s24_planned {
    const char *name;
    const cJSON *shape;
    bool prune;
    int axis;           /* of one that is pruned */
    const char *reason; /* why it is left dense; NULL: it is not told */
    bool seen;          /* the model has it */
} s24_planned;

typedef struct s24_plan {
    char *path;           /* as messages name it */
    const char *method;   /* one that there is */
    bool refit, transposable, permute;
    s24_dtype dtype;      /* of the stored values; S24_SAME */
    size_t scale_group;   /* where that has scales: the columns of one; 0: all of a row */
    s24_planned *tensors; /* in the order of their names */
    size_t count;
    cJSON *json;          /* whose strings these are */
} s24_plan;

/*
 * Reads the file; "-" is standard input. S24_ERR_DATA: no plan, or one of another version; messages name the file and the
 * tensor. On success the caller frees it.
 */
s24_status s24_plan_read(s24_plan *plan, const s24_io *io, const char *path, s24_error *err);
void s24_plan_free(s24_plan *plan); /* leaves it zeroed */

s24_planned *s24_plan_find(const s24_plan *plan, const char *name); /* NULL: it does not list the tensor */

/* The planned tensor, which the model has, is of the same shape there; notes that it was seen. */
s24_status s24_plan_meet(const s24_plan *plan, s24_planned *planned, const s24_entry *entry, s24_error *err);

/* Every tensor that it lists was seen. */
s24_status s24_plan_expect_all(const s24_plan *plan, s24_error *err);

#endif
