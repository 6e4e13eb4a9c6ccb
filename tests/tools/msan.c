/*
 * What MemorySanitizer has to be told of libraries that are not built with it: linked into every program of check-msan,
 * with --wrap for the functions that begin with __wrap_. What they read has to be set; what they wrote is.
 */
#include <cjson/cJSON.h>
#include <sanitizer/msan_interface.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include <zlib.h>

/* cJSON's items come from zeroed memory, so that all that it leaves there counts as set. */
static void *zeroed(size_t n)
{
    return calloc(1, n);
}

__attribute__((constructor)) static void set_up_cjson(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = zeroed, .free_fn = free});
}

#define STREAM(name) \
    int __real_##name(z_stream *stream, int flush); \
    int __wrap_##name(z_stream *stream, int flush); \
    int __wrap_##name(z_stream *stream, int flush) \
    { \
        unsigned char *const out = stream->next_out; \
        __msan_check_mem_is_initialized(stream->next_in, stream->avail_in); \
        const int r = __real_##name(stream, flush); \
        __msan_unpoison(stream, sizeof *stream); \
        __msan_unpoison(out, (size_t)(stream->next_out - out)); \
        return r; \
    }

STREAM(inflate)
STREAM(deflate)

/* xxhash.h, and what xxh_x86dispatch.h makes of its names. */
#define HASH(name) \
    XXH64_hash_t __real_##name(const void *data, size_t n); \
    XXH64_hash_t __wrap_##name(const void *data, size_t n); \
    XXH64_hash_t __wrap_##name(const void *data, size_t n) \
    { \
        __msan_check_mem_is_initialized(data, n); \
        return __real_##name(data, n); \
    }

#define SEEDED_HASH(name) \
    XXH64_hash_t __real_##name(const void *data, size_t n, XXH64_hash_t seed); \
    XXH64_hash_t __wrap_##name(const void *data, size_t n, XXH64_hash_t seed); \
    XXH64_hash_t __wrap_##name(const void *data, size_t n, XXH64_hash_t seed) \
    { \
        __msan_check_mem_is_initialized(data, n); \
        return __real_##name(data, n, seed); \
    }

HASH(XXH3_64bits)
HASH(XXH3_64bits_dispatch)
SEEDED_HASH(XXH3_64bits_withSeed)
SEEDED_HASH(XXH3_64bits_withSeed_dispatch)

uLong __real_crc32(uLong crc, const Bytef *data, uInt n);
uLong __wrap_crc32(uLong crc, const Bytef *data, uInt n);
uLong __wrap_crc32(uLong crc, const Bytef *data, uInt n)
{
    __msan_check_mem_is_initialized(data, n);
    return __real_crc32(crc, data, n);
}

/* Check sends its messages in blocks of its own. */
void *__wrap_emalloc(size_t n);
void *__wrap_emalloc(size_t n)
{
    return calloc(1, n);
}

void *__wrap_erealloc(void *p, size_t n);
void *__wrap_erealloc(void *p, size_t n)
{
    void *const q = realloc(p, n);
    if (q) {
        __msan_unpoison(q, n);
    }
    return q;
}

/* clang 14 knows them by the names that they had before glibc 2.33. */
#define STAT(name, what) \
    int __real_##name(what where, struct stat *st); \
    int __wrap_##name(what where, struct stat *st); \
    int __wrap_##name(what where, struct stat *st) \
    { \
        const int r = __real_##name(where, st); \
        if (r == 0) { \
            __msan_unpoison(st, sizeof *st); \
        } \
        return r; \
    }

STAT(fstat64, int)
STAT(stat64, const char *)
STAT(lstat64, const char *)

int __real_fstatat64(int directory, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int directory, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int directory, const char *path, struct stat *st, int flags)
{
    const int r = __real_fstatat64(directory, path, st, flags);
    if (r == 0) {
        __msan_unpoison(st, sizeof *st);
    }
    return r;
}

/* The products of a BLAS that is found while the program runs: row-major, by enum CBLAS_TRANSPOSE. */
static void check_factor(const void *p, int transposed, int rows, int cols, int stride, size_t size)
{
    for (int i = 0; i < (transposed ? cols : rows); i++) {
        __msan_check_mem_is_initialized((const char *)p + (size_t)i * (size_t)stride * size,
                                        (size_t)(transposed ? rows : cols) * size);
    }
}

#define GEMM(name, real) \
    typedef void name##_function(int order, int trans_a, int trans_b, int m, int n, int k, real alpha, const real *a, \
                                 int lda, const real *b, int ldb, real beta, real *c, int ldc); \
    static name##_function *found_##name; \
    static void name(int order, int trans_a, int trans_b, int m, int n, int k, real alpha, const real *a, int lda, \
                     const real *b, int ldb, real beta, real *c, int ldc) \
    { \
        check_factor(a, trans_a == TRANSPOSED, m, k, lda, sizeof *a); \
        check_factor(b, trans_b == TRANSPOSED, k, n, ldb, sizeof *b); \
        check_factor(c, 0, beta == 0 ? 0 : m, n, ldc, sizeof *c); \
        found_##name(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc); \
        for (int i = 0; i < m; i++) { \
            __msan_unpoison(c + (size_t)i * (size_t)ldc, (size_t)n * sizeof *c); \
        } \
    }

enum { TRANSPOSED = 112 };
GEMM(sgemm, float)
GEMM(dgemm, double)

/* The library's function, or the one above that calls it. Only the command has library_find: elsewhere it is not there. */
#define INSTEAD(name) \
    if (found && strcmp(symbol, "cblas_" #name) == 0) { \
        name##_function *const own = name; \
        memcpy(&found_##name, function, sizeof own); \
        memcpy(function, &own, sizeof own); \
    }

__attribute__((weak)) bool __real_library_find(void *handle, const char *symbol, void *function);
bool __wrap_library_find(void *handle, const char *symbol, void *function);
bool __wrap_library_find(void *handle, const char *symbol, void *function)
{
    const bool found = __real_library_find(handle, symbol, function);
    INSTEAD(sgemm)
    INSTEAD(dgemm)
    return found;
}
