#include "mem.h"

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
    if (posix_memalign(&p, 64, bytes ? bytes : 64) != 0) {
        s24_fail_memory(err, bytes);
        return NULL;
    }
    return p;
}
