/* Scales: how kept values of floats become 8 bits. The definition is in s24.h, "Scales". */
#ifndef S24_LIB_SCALE_H
#define S24_LIB_SCALE_H

#include "panel.h"

/*
 * Finds the scale of n values of `from` that share one, stores them times 1 / scale as `to`, and adds to *lanes what that loses:
 * of value i, whose lane is i modulo 8, quant_abs, quant_sq and max_abs_error, kept_zeros where q is 0, and negative_zeros where
 * a -0.0 lost its sign. `real`: so many of them are elements, the rest, at most one, is padding, stored as 0 and counted nowhere.
 * False: no scale holds them; *at is the one that is too large.
 */
bool s24_quantize(const s24_pruner *pruner, const void *values, size_t n, size_t real, void *q, float *scale,
                  s24_lanes *lanes, size_t *at);

/* Adds the same of n finite values, all of them elements, that were stored as q before. */
void s24_add_misfits(const s24_measurer *measurer, const void *values, const void *q, size_t n, float scale, s24_lanes *lanes);

#endif
