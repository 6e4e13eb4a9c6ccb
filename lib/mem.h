/* Memory and sizes: every allocation of the library goes through here, and every product of sizes is checked. */
#ifndef S24_LIB_MEM_H
#define S24_LIB_MEM_H

#include <stdlib.h>

#include "error.h"

_Static_assert(sizeof(size_t) == 8, "libs24 counts bytes in 64 bits");

/* *out = a * b; false when that exceeds INT64_MAX (so that it is an off_t, too). */
static inline bool s24_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out) && *out <= INT64_MAX;
}

static inline bool s24_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out) && *out <= INT64_MAX;
}

/* count * size zeroed bytes (at least one), or NULL and the message of s24_fail_memory. Freed with free(). */
void *s24_calloc(size_t count, size_t size, s24_error *err);

/*
 * `bytes` uninitialised bytes of any alignment. For large buffers that every call needs anew: glibc gives a freed one to
 * the next call of malloc, but maps those of posix_memalign afresh each time, and every page of that costs a fault. Many
 * are asked for in huge pages, as s24_alloc does.
 */
void *s24_malloc(size_t bytes, s24_error *err);

/*
 * `bytes` uninitialised bytes at a multiple of 64 (a cache line, and a vector of AVX-512), the same otherwise. Many of them are
 * asked for in huge pages, from which a cold matrix is read up to a third faster.
 */
void *s24_alloc(size_t bytes, s24_error *err);

#endif
