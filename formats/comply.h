/* Whether dense tensors are 2:4: their groups of four along an axis, all of them, at the speed of reading. */
#ifndef S24_FORMATS_COMPLY_H
#define S24_FORMATS_COMPLY_H

#include "format.h"

typedef struct s24_compliance {
    uint64_t groups, broken; /* how many there are, and how many have three or more elements unequal to zero */
    s24_broken_group first;  /* the first of those, in the tensor; set where broken is not 0 */
} s24_compliance;

/* Gets every entry, in order; found: NULL for one that is not to be looked at. */
typedef s24_status s24_complied(void *ctx, s24_entry *entry, const s24_compliance *found, s24_error *err);

/* Reads the entries that are `packed`, whose axis and geometry are set. The results do not depend on threads. */
s24_status s24_comply(const s24_io *io, s24_contents *contents, s24_complied *each, void *ctx, s24_error *err);

/* "3 of 4 elements are not zero; 17 of 4096 groups are not 2:4" */
void s24_comply_message(const s24_compliance *result, char *message, size_t size);

#endif
