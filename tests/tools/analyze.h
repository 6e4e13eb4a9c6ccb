/*
 * For analyzers, which see one file at a time: what the functions of lib/error.h return. Without it they follow paths on
 * which a failure is S24_OK.
 */
#include "error.h"

#define s24_fail(err, status, ...) (s24_fail(err, status, __VA_ARGS__), status)
#define s24_fail_at(...) (s24_fail_at(__VA_ARGS__), S24_ERR_DATA)
#define s24_fail_errno(...) (s24_fail_errno(__VA_ARGS__), S24_ERR_SYSTEM)
#define s24_fail_unsupported(...) (s24_fail_unsupported(__VA_ARGS__), S24_ERR_DATA)
#define s24_fail_prefix(err, status, ...) (s24_fail_prefix(err, status, __VA_ARGS__), status)
#define s24_fail_memory(...) (s24_fail_memory(__VA_ARGS__), S24_ERR_SYSTEM)
