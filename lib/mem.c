#define _GNU_SOURCE /* madvise */
#include "mem.h"

#include <sys/mman.h>

#define HUGE_PAGE (2u << 20)
#define HUGE_FROM (4u << 20)

void *s24_calloc(size_t count, size_t size, s24_error *err)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) {
        s24_fail_memory(err, count * size);
    }
    return p;
}

void *s24_malloc(size_t bytes, s24_error *err)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        s24_fail_memory(err, bytes);
    }
    return p;
}

void *s24_alloc(size_t bytes, s24_error *err)
{
    void *p = NULL;
    const bool huge = bytes >= HUGE_FROM;
    if (posix_memalign(&p, huge ? HUGE_PAGE : 64, bytes ? bytes : 64) != 0) {
        s24_fail_memory(err, bytes);
        return NULL;
    }
    if (huge) {
        madvise(p, bytes, MADV_HUGEPAGE); /* a wish: where it is not granted, pages are small */
    }
    return p;
}
