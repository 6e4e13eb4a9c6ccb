#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void fill(s24_error *err, s24_status status, const char *format, va_list args)
{
    if (!err) {
        return;
    }
    *err = (s24_error){.status = status, .offset = S24_NO_OFFSET};
    vsnprintf(err->message, sizeof err->message, format, args);
}

s24_status s24_fail(s24_error *err, s24_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, format, args);
    va_end(args);
    return status;
}

s24_status s24_fail_at(s24_error *err, uint64_t offset, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, S24_ERR_DATA, format, args);
    va_end(args);
    if (err) {
        err->offset = offset;
    }
    return S24_ERR_DATA;
}

s24_status s24_fail_errno(s24_error *err, int sys_errno, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, S24_ERR_SYSTEM, format, args);
    va_end(args);
    if (err) {
        err->sys_errno = sys_errno;
        const size_t used = strlen(err->message);
        char text[128];
        /* The XSI form: strerror itself is not thread-safe. */
        if (strerror_r(sys_errno, text, sizeof text) != 0) {
            snprintf(text, sizeof text, "error %d", sys_errno);
        }
        snprintf(err->message + used, sizeof err->message - used, ": %s", text);
    }
    return S24_ERR_SYSTEM;
}

s24_status s24_fail_unsupported(s24_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, S24_ERR_DATA, format, args);
    va_end(args);
    if (err) {
        err->sys_errno = ENOTSUP;
    }
    return S24_ERR_DATA;
}

s24_status s24_fail_prefix(s24_error *err, s24_status status, const char *format, ...)
{
    va_list args;
    if (!err || status == S24_OK) {
        return status;
    }
    s24_error before = *err;
    va_start(args, format);
    const int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->message) {
        /* What is cut off, if anything, is the end of the line. */
        const size_t room = sizeof err->message - (size_t)n - 1;
        before.message[room] = '\0';
        memcpy(err->message + n, before.message, room + 1);
    }
    return status;
}

s24_status s24_fail_advise(s24_error *err, s24_status status, const char *advice)
{
    if (err && status == S24_ERR_DATA && !strstr(err->message, "; ")) {
        const size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used, "; %s", advice);
    }
    return status;
}

s24_status s24_fail_memory(s24_error *err, size_t bytes)
{
    s24_fail(err, S24_ERR_SYSTEM, "no memory for %zu byte%s", bytes, s24_plural(bytes));
    if (err) {
        err->sys_errno = ENOMEM;
    }
    return S24_ERR_SYSTEM;
}
