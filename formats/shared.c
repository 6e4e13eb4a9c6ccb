#include "shared.h"

#include <string.h>

#include "mem.h"

/* In front of the block, which has malloc's alignment for pointers and sizes. */
typedef size_t owners;

void *s24_shared_new(const void *data, size_t bytes, s24_error *err)
{
    size_t all;
    owners *const count = s24_add(bytes, sizeof *count, &all) ? malloc(all) : NULL;
    if (!count) {
        s24_fail_memory(err, bytes);
        return NULL;
    }
    *count = 1;
    if (data) {
        memcpy(count + 1, data, bytes);
    }
    return count + 1;
}

char *s24_shared_text(const char *text, s24_error *err)
{
    return s24_shared_new(text, strlen(text) + 1, err);
}

char *s24_shared_like(char *last, const char *text, s24_error *err)
{
    return last && strcmp(last, text) == 0 ? s24_shared_keep(last) : s24_shared_text(text, err);
}

void *s24_shared_keep(void *block)
{
    if (block) {
        ++*((owners *)block - 1);
    }
    return block;
}

void s24_shared_free(void *block)
{
    owners *const count = block ? (owners *)block - 1 : NULL;
    if (count && --*count == 0) {
        free(count);
    }
}
