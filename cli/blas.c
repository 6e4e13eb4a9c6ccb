#include "blas.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "library.h"

/* enum CBLAS_ORDER and CBLAS_TRANSPOSE of the CBLAS interface (BLAS Technical Forum, 2001). */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111 };

/*
 * After a call of several threads OpenBLAS's workers spin for 2^28 cycles of the time-stamp counter before they sleep
 * (THREAD_TIMEOUT in its blas_server.c): 0.13 s at 2 GHz. Measured while they still do, the other side has half a machine.
 */
#define SETTLE_SECONDS 0.15

typedef struct blas {
    void *handle; /* of dlopen */
    char name[64]; /* "OpenBLAS 0.3.21"; of others the file's name */
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                  float beta, float *y, int incy);
    void (*dgemm)(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                  const double *b, int ldb, double beta, double *c, int ldc);
    void (*set_threads)(int threads); /* NULL: the library has no such thing */
} blas;

/* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": the first two words. */
static void set_name(blas *b, const char *file)
{
    char *(*config)(void);
    char word[2][24];
    if (library_find(b->handle, "openblas_get_config", &config) &&
        sscanf(config(), "%23s %23s", word[0], word[1]) == 2) {
        snprintf(b->name, sizeof b->name, "%s %s", word[0], word[1]);
    } else {
        snprintf(b->name, sizeof b->name, "%s", file);
    }
}

/*
 * What OpenBLAS for x86-64 takes a processor for that is newer than itself is one of 2004, whose kernels take four to five
 * times as long as those it has for AVX-512 (gotoblas_dynamic_init in its dynamic.c). It reads the environment as it is
 * loaded, and what the user says there stays.
 */
static const char *better_core(void *handle)
{
    static const char variable[] = "OPENBLAS_CORETYPE", oldest[] = "Prescott";
    static const char *const cores[S24_ISAS] = {[S24_ISA_AVX2] = "Haswell", [S24_ISA_AVX512] = "SkylakeX",
                                                [S24_ISA_AMX] = "SkylakeX"};
    const s24_isa isa = s24_isa_detect(S24_ISA_BEST);
    char *(*core)(void);
    if (getenv(variable) || !library_find(handle, "openblas_get_corename", &core) || strcmp(core(), oldest) != 0) {
        return NULL;
    }
    return cores[isa];
}

static void *open_library(const char *file)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    const char *const core = handle ? better_core(handle) : NULL;
    if (core && setenv("OPENBLAS_CORETYPE", core, 0) == 0) {
        dlclose(handle);
        handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        unsetenv("OPENBLAS_CORETYPE");
    }
    return handle;
}

/* instead: what the user may do without one; "": nothing. */
static s24_status load(blas *b, const char *instead, s24_error *err)
{
    static const char *const files[] = {"libopenblas.so.0", "libopenblas.so", "libblas.so.3"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        *b = (blas){.handle = open_library(files[i])};
        if (!b->handle) {
            continue;
        }
        if (library_find(b->handle, "cblas_sgemm", &b->sgemm) &&
            library_find(b->handle, "cblas_sgemv", &b->sgemv)) {
            library_find(b->handle, "cblas_dgemm", &b->dgemm);
            library_find(b->handle, "openblas_set_num_threads", &b->set_threads);
            set_name(b, files[i]);
            return S24_OK;
        }
        dlclose(b->handle);
    }
    return s24_fail(err, S24_ERR_SYSTEM, "no BLAS is installed; install OpenBLAS (Debian: libopenblas0)%s", instead);
}

bool blas_fits(size_t m, size_t n, size_t k)
{
    return m <= INT_MAX && n <= INT_MAX && k <= INT_MAX;
}

static s24_status multiply(void *ctx, const s24_bench_product *p, s24_error *err)
{
    const blas *b = ctx;
    const int m = (int)p->m, n = (int)p->n, k = (int)p->k;
    (void)err;
    if (b->set_threads) {
        b->set_threads((int)p->threads);
    }
    if (n == 1) {
        b->sgemv(ROW_MAJOR, NO_TRANSPOSE, m, k, 1, p->a, k, p->b, 1, 0, p->c, 1);
    } else {
        b->sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1, p->a, k, p->b, n, 0, p->c, n);
    }
    return S24_OK;
}

s24_status blas_open(s24_bench_baseline *row, s24_error *err)
{
    blas *b = calloc(1, sizeof *b);
    if (!b) {
        return s24_fail_memory(err, sizeof *b);
    }
    const s24_status status = load(b, ", or say --baseline none", err);
    if (status != S24_OK) {
        free(b);
        return status;
    }
    *row = (s24_bench_baseline){.name = b->name, .ctx = b, .multiply = multiply, .settle_seconds = SETTLE_SECONDS,
                                .weight_bytes = sizeof(float)};
    return S24_OK;
}

void blas_close(s24_bench_baseline *row)
{
    blas *b = row->ctx;
    dlclose(b->handle);
    free(b);
    row->ctx = NULL;
}

/* One for the whole process, as its name and functions are: what was loaded is kept until the end. */
const s24_blas *blas_products(void *user, s24_error *err)
{
    static blas shared;
    static s24_blas products;
    (void)user;
    if (!shared.handle && load(&shared, "", err) != S24_OK) {
        return NULL;
    }
    products = (s24_blas){.name = shared.name, .sgemm = shared.sgemm, .dgemm = shared.dgemm, .set_threads = shared.set_threads};
    if (!shared.dgemm) {
        s24_fail(err, S24_ERR_SYSTEM, "%s has no cblas_dgemm; install OpenBLAS (Debian: libopenblas0)", shared.name);
        return NULL;
    }
    return &products;
}
