/*
 * Which software for sparse hardware takes a 2:4 tensor. All of it wants 2:4, and each of some shapes and element types:
 * that a matrix was pruned and then runs dense is learned late. The table is in hardware.c, a row a stack; for people
 * the rules are in s24-inspect(1).
 */
#ifndef S24_LIB_HARDWARE_H
#define S24_LIB_HARDWARE_H

#include "s24.h"

const char *s24_hardware_name(size_t stack); /* "asp"; NULL: there is no such stack, nor any after it */

/*
 * Why the stack takes no tensor of that type and shape, 2:4 along `axis` (0..rank-1), in a few words in static storage;
 * NULL: it does. dtype: of the values as they are stored.
 */
const char *s24_hardware_refusal(size_t stack, s24_dtype dtype, int rank, const size_t *shape, int axis);

#endif
