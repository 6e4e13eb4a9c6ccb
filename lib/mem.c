#define _GNU_SOURCE /* madvise */
#include "mem.h"

#include <stdint.h>
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

/* A wish for the huge pages that lie wholly inside: where it is not granted, pages are small. */
static void wish_huge(void *p, size_t bytes)
{
    const size_t skip = -(uintptr_t)p % HUGE_PAGE;
    if (bytes >= HUGE_FROM) {
        madvise((char *)p + skip, (bytes - skip) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    }
}

void *s24_malloc(size_t bytes, s24_error *err)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        s24_fail_memory(err, bytes);
        return NULL;
    }
    wish_huge(p, bytes);
    return p;
}

void *s24_alloc(size_t bytes, s24_error *err)
{
    void *p = NULL;
    if (posix_memalign(&p, bytes >= HUGE_FROM ? HUGE_PAGE : 64, bytes ? bytes : 64) != 0) {
        s24_fail_memory(err, bytes);
        return NULL;
    }
    wish_huge(p, bytes);
    return p;
}
