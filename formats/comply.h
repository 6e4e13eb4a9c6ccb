/* Whether a dense tensor is 2:4: its groups of four along an axis, all of them, at the speed of reading. */
#ifndef S24_FORMATS_COMPLY_H
#define S24_FORMATS_COMPLY_H

#include "format.h"
#include "workspace.h"

typedef struct s24_compliance {
    uint64_t groups, broken; /* how many there are, and how many have three or more elements unequal to zero */
    s24_broken_group first;  /* the first of those, in the tensor; set where broken is not 0 */
} s24_compliance;

/*
 * Reads the entry, whose axis and geometry are set. *done: bytes read so far, of `all`, for progress. The result does not
 * depend on threads.
 */
s24_status s24_comply(const s24_io *io, const s24_entry *entry, s24_workspace *workspace, uint64_t *done, uint64_t all,
                      s24_compliance *result, s24_error *err);

/* "3 of 4 elements are not zero; 17 of 4096 groups are not 2:4" */
void s24_comply_message(const s24_compliance *result, char *message, size_t size);

#endif
