/*
 * The order of a tensor's columns in which it is pruned best: what the search of s24_permute_search finds by one score of
 * the columns or another, and where values are fitted to activations, whichever is best on the samples held out, the order
 * given among them.
 */
#ifndef S24_FORMATS_ORDER_H
#define S24_FORMATS_ORDER_H

#include "prepare.h"

/* *order [cols] is the caller's to free; NULL: it is best as it is. The entry's data can be read again. */
s24_status s24_order_find(const s24_preparation *how, const s24_entry *entry, int32_t **order, s24_error *err);

#endif
