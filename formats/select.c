#include "select.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* Tensors of a model that lose more by 2:4 than they gain, or are no matrices: by their names. */
static const char *const default_excludes[] = {
    "*embed*", "*wte*", "*wpe*", "*lm_head*", "*norm*", "*ln_*", "*bias",
};

static bool matches(const char *glob, const char *name)
{
    return fnmatch(glob, name, 0) == 0;
}

static const char *first_match(const char *const *globs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (matches(globs[i], name)) {
            return globs[i];
        }
    }
    return NULL;
}

static s24_status set_reason(s24_entry *e, s24_error *err, const char *format, ...) S24_PRINTF(3, 4);
static s24_status set_reason(s24_entry *e, s24_error *err, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= (int)sizeof text) { /* no character is cut in two: reasons become JSON */
        for (n = sizeof text - 1; n > 0 && ((unsigned char)text[n - 1] & 0xc0) == 0x80; n--) {
        }
        text[n - (n > 0 && (unsigned char)text[n - 1] >= 0xc0)] = '\0';
    }
    s24_shared_free(e->reason);
    e->reason = s24_shared_text(text, err);
    return e->reason ? S24_OK : S24_ERR_SYSTEM;
}

/* Reasons repeat. */
static void share_reason(s24_entry *e, const s24_entry *before)
{
    if (e->reason && before->reason && strcmp(e->reason, before->reason) == 0) {
        s24_shared_free(e->reason);
        e->reason = s24_shared_keep(before->reason);
    }
}

/* The axis of the last rule that matches; *given: there was one. */
static int rule_axis(const s24_selection *selection, const char *name, bool *given)
{
    int axis = S24_AXIS_AUTO;
    *given = false;
    for (size_t i = 0; i < selection->axis_count; i++) {
        const s24_axis_rule *rule = &selection->axes[i];
        if (!rule->glob || matches(rule->glob, name)) {
            axis = rule->axis;
            *given = axis != S24_AXIS_AUTO;
        }
    }
    return axis;
}

static s24_status take(s24_entry *e, int axis, bool given, s24_dtype stored, size_t scale_group, s24_error *err)
{
    e->stored = stored == S24_SAME ? e->dtype : stored;
    e->scaled = s24_dtype_scaled(e->dtype, e->stored);
    e->scale_group = (uint16_t)(e->scaled ? scale_group : 0);
    if (!e->scaled && !s24_dtype_convertible(e->dtype, e->stored)) {
        return s24_fail(err, S24_ERR_USAGE, "%s cannot be stored as %s; leave --dtype out or choose a wider one",
                        s24_dtype_name(e->dtype), s24_dtype_name(e->stored));
    }
    s24_status status = s24_entry_pack(e, axis, err);
    if (status == S24_OK && e->scaled) {
        status = s24_scales_check(&e->pruned->geometry, scale_group, S24_PANEL_GROUPS, err);
    }
    if (status != S24_OK || (e->rank < 3 && !given)) {
        return status;
    }
    return set_reason(e, err, given ? "axis %d: given" : e->axis == 1 ? "axis %d: input channels of a convolution"
                                                                       : "axis %d: the last", e->axis);
}

/* Why the default rule of a model leaves an entry out; false: it does not. */
static bool left_out(s24_entry *e, int axis, s24_error *err, s24_status *status)
{
    s24_geometry g;
    *status = S24_OK;
    const char *glob = first_match(default_excludes, sizeof default_excludes / sizeof *default_excludes, e->name);
    if (e->rank < 2) {
        *status = set_reason(e, err, "rank %d: no matrix", e->rank);
    } else if (glob) {
        *status = set_reason(e, err, "name matches %s", glob);
    } else if ((*status = s24_geometry_init(&g, e->dtype, e->rank, e->shape, axis, NULL, err)) != S24_OK) {
        return true;
    } else if (g.cols % 4) {
        *status = set_reason(e, err, "%zu element%s along its axis: no multiple of 4", g.cols, s24_plural(g.cols));
    } else if (g.num_elements == 0) {
        *status = set_reason(e, err, "empty");
    } else {
        return false;
    }
    return true;
}

bool s24_selects_by_name(const s24_selection *selection, const char *name)
{
    return first_match(selection->include, selection->include_count, name) != NULL;
}

static s24_status select_one(s24_entry *e, bool whole_model, const s24_selection *s, s24_dtype stored, size_t scale_group,
                             s24_error *err)
{
    bool given;
    s24_status status;
    const int axis = rule_axis(s, e->name, &given);
    const char *excluded = first_match(s->exclude, s->exclude_count, e->name);
    e->packed = false;
    if (excluded) {
        return set_reason(e, err, "excluded by %s", excluded);
    }
    if (!s24_dtype_prunable(e->dtype)) {
        return set_reason(e, err, "dtype %s", s24_dtype_name(e->dtype));
    }
    const bool is_float = s24_info(e->dtype)->kind != S24_KIND_INT;
    const bool wanted = !whole_model || (s->all && is_float) || s24_selects_by_name(s, e->name);
    if (!wanted && left_out(e, axis, err, &status)) {
        return status;
    }
    return take(e, axis, given, stored, scale_group, err);
}

static bool matches_any(const s24_contents *contents, const char *glob)
{
    for (size_t i = 0; i < contents->count; i++) {
        if (matches(glob, contents->entries[i].name)) {
            return true;
        }
    }
    return false;
}

/*
 * A pattern that names nothing is a slip of the pen, or of a list that is used for many models: what was to be included
 * would silently be missing; of the others it is told.
 */
static s24_status check_globs(const s24_source *source, const s24_selection *s, s24_error *err)
{
    const s24_contents *c = &source->contents;
    for (size_t g = 0; g < s->include_count && s24_source_is_model(source); g++) {
        if (!matches_any(c, s->include[g])) {
            return s24_fail(err, S24_ERR_USAGE, "no tensor's name matches --include %s; s24 inspect lists the names",
                            s->include[g]);
        }
    }
    for (size_t g = 0; g < s->exclude_count; g++) {
        if (!matches_any(c, s->exclude[g])) {
            s24_io_warn(source->io, "%s: no tensor's name matches --exclude %s", source->in->name, s->exclude[g]);
        }
    }
    for (size_t g = 0; g < s->axis_count; g++) {
        if (s->axes[g].glob && !matches_any(c, s->axes[g].glob)) {
            s24_io_warn(source->io, "%s: no tensor's name matches --axis %s=%d", source->in->name, s->axes[g].glob,
                        s->axes[g].axis);
        }
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- by a plan */

static s24_status take_planned(s24_entry *e, int axis, s24_dtype stored, size_t scale_group, s24_error *err)
{
    if (!s24_dtype_prunable(e->dtype) || axis >= (e->rank ? e->rank : 1)) {
        return s24_fail(err, S24_ERR_DATA, "cannot be pruned as the plan says, of dtype %s and rank %d; make a plan of this "
                        "model with s24 plan", s24_dtype_name(e->dtype), e->rank);
    }
    return take(e, axis, axis != s24_axis_auto(e->rank, e->shape), stored, scale_group, err);
}

/* What the rule would take is left for the plan's reason; what it would not has its own. */
static s24_status leave_planned(s24_entry *e, const s24_planned *p, s24_error *err)
{
    const bool taken = e->packed;
    e->packed = false;
    return !taken ? S24_OK : set_reason(e, err, "left dense by the plan%s%s", p->reason ? ": " : "", p->reason ? p->reason : "");
}

static s24_status select_planned(s24_entry *e, bool whole_model, const s24_selection *s, const s24_plan *plan, s24_dtype stored,
                                 size_t scale_group, s24_error *err)
{
    s24_planned *const p = s24_plan_find(plan, *e->name ? e->name : S24_NAMELESS);
    const bool excluded = first_match(s->exclude, s->exclude_count, e->name) != NULL;
    s24_status status = p ? s24_plan_meet(plan, p, e, err) : S24_OK;
    if (status == S24_OK && p && p->prune && !excluded) {
        return take_planned(e, p->axis, stored, scale_group, err);
    }
    status = status == S24_OK ? select_one(e, whole_model, s, stored, scale_group, err) : status;
    if (status == S24_OK && p) {
        return leave_planned(e, p, err);
    }
    return status != S24_OK || !e->packed ? status
        : s24_fail(err, S24_ERR_DATA, "is not in %s; make a plan of this model with s24 plan, or leave the tensor out with "
                   "--exclude", plan->path);
}

s24_status s24_select_planned(s24_source *source, const s24_selection *selection, const s24_plan *plan, s24_dtype stored,
                              size_t scale_group, s24_error *err)
{
    s24_contents *contents = &source->contents;
    const bool whole_model = s24_source_is_model(source);
    s24_status status = check_globs(source, selection, err);
    for (size_t i = 0; i < contents->count && status == S24_OK; i++) {
        s24_entry *e = &contents->entries[i];
        status = select_planned(e, whole_model, selection, plan, stored, scale_group, err);
        if (i > 0) {
            share_reason(e, e - 1);
        }
        if (status != S24_OK && *e->name) {
            s24_fail_prefix(err, status, "%s: ", e->name);
        }
    }
    return status == S24_OK ? s24_plan_expect_all(plan, err) : status;
}

/* ---------------------------------------------------------------- by the rule */

s24_status s24_select(s24_source *source, const s24_selection *selection, s24_dtype stored, size_t scale_group,
                      s24_error *err)
{
    s24_contents *contents = &source->contents;
    const bool whole_model = s24_source_is_model(source);
    s24_status status = check_globs(source, selection, err);
    for (size_t i = 0; i < contents->count && status == S24_OK; i++) {
        s24_entry *e = &contents->entries[i];
        status = select_one(e, whole_model, selection, stored, scale_group, err);
        if (i > 0) {
            share_reason(e, e - 1);
        }
        if (status != S24_OK && *e->name) {
            s24_fail_prefix(err, status, "%s: ", e->name);
        }
    }
    return status;
}
