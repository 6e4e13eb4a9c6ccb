/* All of a source's tensors, carried into a target by one thread. */
#ifndef S24_TESTS_CARRY_H
#define S24_TESTS_CARRY_H

#include "target.h"

typedef struct carrying {
    s24_target *target;
    const s24_contents *from;
    s24_workspace workspace;
    uint64_t done;
} carrying;

static s24_status open_carried(void *ctx, size_t index, s24_series *series, s24_error *err)
{
    carrying *c = ctx;
    return s24_carry_open(&(s24_carry){.target = c->target, .from = &c->from->entries[index], .index = index,
                                       .workspace = &c->workspace, .done = &c->done}, series, err);
}

static inline s24_status carry_all(s24_target *target, const s24_contents *from, s24_error *err)
{
    carrying c = {.target = target, .from = from};
    s24_status status = s24_workspace_open(&c.workspace, s24_slots(1), err);
    status = status == S24_OK ? s24_run_series(open_carried, &c, from->count, 1, err) : status;
    s24_workspace_free(&c.workspace);
    return status;
}

#endif
