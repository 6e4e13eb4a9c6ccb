#include "plan.h"

#include <string.h>

#include "jsonx.h"

#define TEXT_MAX 256000000u               /* some 900 bytes a tensor */
#define VALUES_MAX (32 * S24_TENSORS_MAX)
#define REASON_MAX 255                   /* bytes: no reason of s24 is longer */
#define ADVICE "make it anew with s24 plan"

/* ---------------------------------------------------------------- members */

static s24_status read_reason(s24_planned *p, const cJSON *item, s24_error *err)
{
    const cJSON *const reason = s24_json_get(item, "reason");
    if (reason && !cJSON_IsNull(reason) && (!cJSON_IsString(reason) || strlen(reason->valuestring) > REASON_MAX)) {
        return s24_fail(err, S24_ERR_DATA, "\"reason\" is neither null nor a string of at most %d bytes", REASON_MAX);
    }
    p->reason = reason ? reason->valuestring : NULL;
    return S24_OK;
}

static s24_status read_axis(s24_planned *p, const cJSON *item, s24_error *err)
{
    size_t axis;
    if (!p->prune) {
        return S24_OK;
    }
    if (!s24_json_size(s24_json_get(item, "axis"), &axis) || axis >= S24_MAX_RANK) {
        return s24_fail(err, S24_ERR_DATA, "\"axis\" is not the number of an axis");
    }
    p->axis = (int)axis;
    return S24_OK;
}

static s24_status read_tensor(s24_planned *p, const cJSON *item, s24_error *err)
{
    const char *const decision = s24_json_string(item, "decision", err);
    p->shape = s24_json_get(item, "shape");
    if (!decision) {
        return S24_ERR_DATA;
    }
    p->prune = strcmp(decision, "prune") == 0;
    if (!p->prune && strcmp(decision, "dense") != 0) {
        return s24_fail(err, S24_ERR_DATA, "\"decision\" is neither \"prune\" nor \"dense\"");
    }
    if (!cJSON_IsArray(p->shape)) {
        return s24_fail(err, S24_ERR_DATA, "\"shape\" is not a list");
    }
    const s24_status status = read_axis(p, item, err);
    return status == S24_OK ? read_reason(p, item, err) : status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const s24_planned *)a)->name, ((const s24_planned *)b)->name);
}

static s24_status sort_tensors(s24_plan *plan, s24_error *err)
{
    qsort(plan->tensors, plan->count, sizeof *plan->tensors, by_name);
    for (size_t i = 1; i < plan->count; i++) {
        if (by_name(&plan->tensors[i - 1], &plan->tensors[i]) == 0) {
            return s24_fail(err, S24_ERR_DATA, "lists tensor %s twice", plan->tensors[i].name);
        }
    }
    return S24_OK;
}

static s24_status read_tensors(s24_plan *plan, s24_error *err)
{
    const cJSON *const list = s24_json_get(plan->json, "tensors"), *item;
    if (!cJSON_IsArray(list)) {
        return s24_fail(err, S24_ERR_DATA, "\"tensors\" is not a list");
    }
    plan->tensors = s24_calloc((size_t)cJSON_GetArraySize(list), sizeof *plan->tensors, err);
    if (!plan->tensors) {
        return S24_ERR_SYSTEM;
    }
    cJSON_ArrayForEach(item, list) {
        s24_planned *const p = &plan->tensors[plan->count];
        p->name = s24_json_string(item, "name", err);
        if (!p->name) {
            return s24_fail_prefix(err, S24_ERR_DATA, "tensor %zu of the list: ", plan->count);
        }
        const s24_status status = read_tensor(p, item, err);
        if (status != S24_OK) {
            return s24_fail_prefix(err, status, "%s: ", p->name);
        }
        plan->count++;
    }
    return sort_tensors(plan, err);
}

static s24_status read_flag(const cJSON *json, const char *key, bool *flag, s24_error *err)
{
    const cJSON *const item = s24_json_get(json, key);
    *flag = cJSON_IsTrue(item);
    return cJSON_IsBool(item) ? S24_OK : s24_fail(err, S24_ERR_DATA, "\"%s\" is neither true nor false", key);
}

static s24_status read_method(s24_plan *plan, s24_error *err)
{
    plan->method = s24_json_string(plan->json, "method", err);
    if (!plan->method) {
        return S24_ERR_DATA;
    }
    if (!s24_method_find(plan->method)) {
        return s24_fail(err, S24_ERR_DATA, "\"method\": there is no method %.40s", plan->method);
    }
    s24_status status = read_flag(plan->json, "refit", &plan->refit, err);
    status = status == S24_OK ? read_flag(plan->json, "transposable", &plan->transposable, err) : status;
    const bool told = s24_json_get(plan->json, "permute"); /* in older plans it is not */
    return status == S24_OK && told ? read_flag(plan->json, "permute", &plan->permute, err) : status;
}

static s24_status read_storage(s24_plan *plan, s24_error *err)
{
    const char *const dtype = s24_json_string(plan->json, "dtype", err);
    if (!dtype) {
        return S24_ERR_DATA;
    }
    plan->dtype = S24_SAME;
    if (strcmp(dtype, "same") != 0 && !s24_dtype_parse(dtype, &plan->dtype)) {
        return s24_fail(err, S24_ERR_DATA, "\"dtype\": there is no type %.40s", dtype);
    }
    if (!s24_json_size(s24_json_get(plan->json, "group_size"), &plan->scale_group)) {
        return s24_fail(err, S24_ERR_DATA, "\"group_size\" is not a number of columns");
    }
    return S24_OK;
}

/* Another tool's JSON, or that of another version. */
static s24_status check_schema(const cJSON *json, s24_error *err)
{
    static const char family[] = "s24.plan/";
    const cJSON *const schema = s24_json_get(json, "schema");
    if (!cJSON_IsString(schema) || strncmp(schema->valuestring, family, sizeof family - 1) != 0) {
        return s24_fail(err, S24_ERR_DATA, "is no plan: it has no \"schema\": \"" S24_PLAN_SCHEMA "\"; s24 plan -o makes one");
    }
    if (strcmp(schema->valuestring, S24_PLAN_SCHEMA) != 0) {
        return s24_fail(err, S24_ERR_DATA, "is a plan of the schema %.40s, and this s24 reads " S24_PLAN_SCHEMA "; " ADVICE,
                        schema->valuestring);
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- the file */

static s24_status parse(s24_plan *plan, s24_input *in, s24_error *err)
{
    char *text;
    size_t n;
    s24_status status = s24_input_read_text(in, TEXT_MAX, &text, &n, err);
    if (status != S24_OK) {
        return status;
    }
    if (!text) {
        return s24_fail(err, S24_ERR_DATA, "is no plan: it is larger than 256 MB");
    }
    if (s24_json_parse(text, n, VALUES_MAX, &plan->json, err) != S24_OK) {
        free(text);
        return s24_fail_prefix(err, err ? err->status : S24_ERR_DATA, "is no plan: ");
    }
    free(text);
    status = check_schema(plan->json, err);
    status = status == S24_OK ? read_method(plan, err) : status;
    status = status == S24_OK ? read_storage(plan, err) : status;
    return status == S24_OK ? read_tensors(plan, err) : status;
}

s24_status s24_plan_read(s24_plan *plan, const s24_io *io, const char *path, s24_error *err)
{
    s24_input *in;
    s24_error unwanted = {0};
    err = err ? err : &unwanted;
    *plan = (s24_plan){0};
    s24_status status = s24_input_open(&in, io, path, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", s24_input_shown(path));
    }
    plan->path = strdup(in->name);
    status = plan->path ? parse(plan, in, err) : s24_fail_memory(err, strlen(in->name) + 1);
    s24_input_close(in);
    if (status != S24_OK) {
        s24_fail_prefix(err, s24_fail_advise(err, status, ADVICE), "%s: ", s24_input_shown(path));
        s24_plan_free(plan);
    }
    return status;
}

void s24_plan_free(s24_plan *plan)
{
    cJSON_Delete(plan->json);
    free(plan->tensors);
    free(plan->path);
    *plan = (s24_plan){0};
}

/* ---------------------------------------------------------------- the model */

s24_planned *s24_plan_find(const s24_plan *plan, const char *name)
{
    const s24_planned wanted = {.name = name};
    return plan->count ? bsearch(&wanted, plan->tensors, plan->count, sizeof wanted, by_name) : NULL;
}

s24_status s24_plan_meet(const s24_plan *plan, s24_planned *planned, const s24_entry *e, s24_error *err)
{
    const cJSON *side = planned->shape->child;
    int d = 0;
    size_t n;
    planned->seen = true;
    for (; side && d < e->rank && s24_json_size(side, &n) && n == e->shape[d]; d++) {
        side = side->next;
    }
    return !side && d == e->rank ? S24_OK
        : s24_fail(err, S24_ERR_DATA, "has another shape than in %s; make a plan of this model with s24 plan", plan->path);
}

s24_status s24_plan_expect_all(const s24_plan *plan, s24_error *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (!plan->tensors[i].seen) {
            return s24_fail(err, S24_ERR_DATA, "%s lists tensor %s, which the model has not; make a plan of this model with "
                            "s24 plan", plan->path, plan->tensors[i].name);
        }
    }
    return S24_OK;
}
