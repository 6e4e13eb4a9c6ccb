#include "library.h"

#include <dlfcn.h>
#include <string.h>

/* By way of memory: ISO C has no cast from void * to a function pointer. */
bool library_find(void *handle, const char *symbol, void *function)
{
    void *p = dlsym(handle, symbol);
    memcpy(function, &p, sizeof p);
    return p != NULL;
}
