/* Names of tensors that somebody typed. */
#ifndef S24_CLI_NAMES_H
#define S24_CLI_NAMES_H

#include "command.h"

/*
 * Tells a library error about the tensor `name` (NULL: none was asked for) of a file, and, where the file has no such
 * tensor, the name that was perhaps meant.
 */
void names_failure(const context *c, const char *path, const char *name, const s24_error *err);

#endif
