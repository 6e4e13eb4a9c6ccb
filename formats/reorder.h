/*
 * A tensor with the places of an axis in another order: a view of the entry as it was, read as a layout. What reads the
 * entry sees nothing of it.
 */
#ifndef S24_FORMATS_REORDER_H
#define S24_FORMATS_REORDER_H

#include "format.h"

/* Orders of axes: place i of the view is place order[i] of the tensor. */
typedef struct s24_order {
    int axis;
    int32_t *places; /* [shape[axis]]; owned */
    struct s24_order *next;
} s24_order;

/*
 * Gives the entry the order along the axis, once an axis; the order is copied. Of a stream the entry's data must be held. Data
 * are then in C order and little-endian.
 */
s24_status s24_entry_reorder(s24_entry *entry, int axis, const int32_t *places, s24_error *err);

/* The order along the axis; NULL: as they are. */
const int32_t *s24_entry_order(const s24_entry *entry, int axis);

void s24_orders_free(s24_order *orders);

#endif
