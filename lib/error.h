/* Errors are made here and nowhere else: one line, with a status, on the caller's stack. */
#ifndef S24_LIB_ERROR_H
#define S24_LIB_ERROR_H

#include <stdarg.h>

#include "s24.h"

/* Fills *err (NULL: not wanted) and returns status. */
s24_status s24_fail(s24_error *err, s24_status status, const char *format, ...) S24_PRINTF(3, 4);

/* The same for a byte offset, and for an errno, whose text is appended after ": ". */
s24_status s24_fail_at(s24_error *err, uint64_t offset, const char *format, ...) S24_PRINTF(3, 4);
s24_status s24_fail_errno(s24_error *err, int sys_errno, const char *format, ...) S24_PRINTF(3, 4);

/* S24_ERR_DATA for what is whole, but beyond this version: sys_errno is ENOTSUP, so that nobody takes it for damage. */
s24_status s24_fail_unsupported(s24_error *err, const char *format, ...) S24_PRINTF(2, 3);

/* Puts text before the message: where it happened, as the caller that knows it returns the error. Returns the status. */
s24_status s24_fail_prefix(s24_error *err, s24_status status, const char *format, ...) S24_PRINTF(3, 4);

/* Puts "; ADVICE" behind a message of S24_ERR_DATA that does not say yet what to do. Returns the status. */
s24_status s24_fail_advise(s24_error *err, s24_status status, const char *advice);

/* Behind a noun of which there are n: "%zu byte%s". */
static inline const char *s24_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* "no memory for N bytes", S24_ERR_SYSTEM. */
s24_status s24_fail_memory(s24_error *err, size_t bytes);

#endif
