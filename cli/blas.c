#include "blas.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* enum CBLAS_ORDER and CBLAS_TRANSPOSE of the CBLAS interface (BLAS Technical Forum, 2001). */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111 };

/*
 * After a call of several threads OpenBLAS's workers spin for 2^28 cycles of the time-stamp counter before they sleep
 * (THREAD_TIMEOUT in its blas_server.c): 0.13 s at 2 GHz. Measured while they still do, the other side has half a machine.
 */
#define SETTLE_SECONDS 0.15

/* Function pointers from dlsym by way of memory: ISO C has no cast from void *. */
static bool find(void *library, const char *symbol, void *function)
{
    void *p = dlsym(library, symbol);
    memcpy(function, &p, sizeof p);
    return p != NULL;
}

/* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": the first two words. */
static void set_name(blas *b, const char *file)
{
    char *(*config)(void);
    char word[2][24];
    if (find(b->handle, "openblas_get_config", &config) && sscanf(config(), "%23s %23s", word[0], word[1]) == 2) {
        snprintf(b->name, sizeof b->name, "%s %s", word[0], word[1]);
    } else {
        snprintf(b->name, sizeof b->name, "%s", file);
    }
}

static s24_status fail(s24_error *err, const char *message)
{
    if (err) {
        *err = (s24_error){.status = S24_ERR_SYSTEM, .offset = S24_NO_OFFSET};
        snprintf(err->message, sizeof err->message, "%s", message);
    }
    return S24_ERR_SYSTEM;
}

s24_status blas_open(blas *b, s24_error *err)
{
    static const char *const files[] = {"libopenblas.so.0", "libopenblas.so", "libblas.so.3"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        *b = (blas){.handle = dlopen(files[i], RTLD_NOW | RTLD_LOCAL)};
        if (!b->handle) {
            continue;
        }
        if (find(b->handle, "cblas_sgemm", &b->sgemm) && find(b->handle, "cblas_sgemv", &b->sgemv)) {
            find(b->handle, "openblas_set_num_threads", &b->set_threads);
            set_name(b, files[i]);
            return S24_OK;
        }
        dlclose(b->handle);
    }
    *b = (blas){.handle = NULL};
    return fail(err, "no BLAS to compare with; install OpenBLAS (Debian: libopenblas0), or say --baseline none");
}

void blas_close(blas *b)
{
    if (b->handle) {
        dlclose(b->handle);
    }
    *b = (blas){.handle = NULL};
}

bool blas_fits(size_t m, size_t n, size_t k)
{
    return m <= INT_MAX && n <= INT_MAX && k <= INT_MAX;
}

static void multiply(void *ctx, unsigned threads, size_t m, size_t n, size_t k, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t ldc)
{
    const blas *library = ctx;
    if (library->set_threads) {
        library->set_threads((int)threads);
    }
    if (n == 1) {
        library->sgemv(ROW_MAJOR, NO_TRANSPOSE, (int)m, (int)k, 1, a, (int)lda, b, (int)ldb, 0, c, (int)ldc);
    } else {
        library->sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, 0, c,
                       (int)ldc);
    }
}

s24_bench_baseline blas_baseline(blas *b)
{
    return (s24_bench_baseline){.name = b->name, .sgemm = multiply, .ctx = b, .settle_seconds = SETTLE_SECONDS};
}
