/* Shared libraries that are loaded when they are first needed. */
#ifndef S24_CLI_LIBRARY_H
#define S24_CLI_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

/* The function of that name, stored in the function pointer at `function`; false: there is none, and it is NULL. */
bool library_find(void *handle, const char *symbol, void *function);

#endif
