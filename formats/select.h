/* Which tensors of a file are pruned, along which axis, and why not the others. */
#ifndef S24_FORMATS_SELECT_H
#define S24_FORMATS_SELECT_H

#include "plan.h"

/*
 * Decides for every entry of the source: sets packed, axis, geometry (for values stored as `stored`; S24_SAME: the
 * entry's dtype), scales (for floats stored in 8 bits, of so many columns; 0: of rows) and reason. whole_model: the default rule of a model applies; otherwise a lone tensor is pruned whatever
 * its shape. S24_ERR_USAGE: an axis that a selected tensor does not have, a glob of --include that matches nothing, a
 * dtype that cannot be, a row that is too long for one scale.
 */
s24_status s24_select(s24_source *source, const s24_selection *selection, s24_dtype stored, size_t scale_group,
                      s24_error *err);

/*
 * The same as the plan says, which then has seen its tensors: those that it prunes, along its axes, unless selection excludes
 * them. S24_ERR_DATA: the rule selects a tensor that the plan does not list, or the plan lists one that the model lacks, or has
 * in another shape.
 */
s24_status s24_select_planned(s24_source *source, const s24_selection *selection, const s24_plan *plan, s24_dtype stored,
                              size_t scale_group, s24_error *err);

/* Whether --include names the tensor. */
bool s24_selects_by_name(const s24_selection *selection, const char *name);

#endif
