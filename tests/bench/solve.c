/*
 * solve ROWS K SAMPLES THREADS [PART...]: the times of calibrated pruning, beside those of OpenBLAS's own products and
 * factorizations on as many threads: lines "NAME SECONDS". PART: masks, update, sparsegpt, obs; all. What
 * OpenBLAS takes is measured before and after.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "calibration.h"
#include "solve.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(s24_status status, const s24_error *err)
{
    if (status != S24_OK) {
        fprintf(stderr, "solve: %s\n", err->message);
        exit((int)status);
    }
}

static void *allocate(size_t bytes)
{
    void *p = malloc(bytes);
    if (!p) {
        exit(S24_ERR_SYSTEM);
    }
    return p;
}

static void *find(void *handle, const char *name)
{
    void *p = dlsym(handle, name);
    if (!p) {
        fprintf(stderr, "solve: OpenBLAS has no %s\n", name);
        exit(S24_ERR_SYSTEM);
    }
    return p;
}

#define LOAD(function, name) memcpy(&(function), &(void *){find(handle, name)}, sizeof(void *))

/* Inputs as layers have them: half of the variance in k / 8 directions, and scales that differ. */
static void fill_samples(float *x, size_t n, size_t k)
{
    const size_t rank = k / 8 + 1;
    float *mix = allocate(rank * k * sizeof *mix), *z = allocate(rank * sizeof *z), *noise = allocate(k * sizeof *noise);
    s24_bench_normal(7, mix, rank * k);
    for (size_t i = 0; i < n; i++) {
        s24_bench_normal(1000 + i, z, rank);
        s24_bench_normal(900000 + i, noise, k);
        float *row = x + i * k;
        memcpy(row, noise, k * sizeof *row);
        for (size_t r = 0; r < 8 && r < rank; r++) { /* some of them a sample, so that filling is quick */
            const size_t at = (i * 131 + r * 977) % rank;
            for (size_t j = 0; j < k; j++) {
                row[j] += z[r] * mix[at * k + j];
            }
        }
        for (size_t j = 0; j < k; j++) {
            row[j] *= j % 64 ? 1 : 8;
        }
    }
    free(mix);
    free(z);
    free(noise);
}

typedef struct job {
    size_t rows, k;
    unsigned threads;
    float *w, *x;
    s24_calibration *cal;
} job;

static void solve(const job *j, const char *name, const char *label, bool measures)
{
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_error err;
    s24_output_error e;
    float *w = allocate(j->rows * j->k * sizeof *w);
    uint8_t *positions = allocate(j->rows * ((j->k + 7) / 8));
    o.method = name;
    o.threads = j->threads;
    memcpy(w, j->w, j->rows * j->k * sizeof *w);
    const double start = now();
    must(s24_solve(&o, j->cal, j->rows, j->k, S24_F32, w, positions, measures ? &e : NULL, &err), &err);
    printf("%s %.3f\n", label, now() - start);
    if (measures) {
        printf("# errors: %s%s, damping %.3g, training %.4f, held out %.4f; Wanda %.4f, %.4f\n", e.method,
               e.refit ? " and refit" : "", e.damping, e.training, e.held_out, e.wanda_training, e.wanda_held_out);
    }
    free(w);
    free(positions);
}

/* Masks by norms alone: seconds, and elements a nanosecond and thread. */
static void mask(const job *j, const char *name)
{
    s24_solve_options o = S24_SOLVE_OPTIONS_INIT;
    s24_calibration *cal;
    s24_error err;
    float *w = allocate(j->rows * j->k * sizeof *w);
    double *norms = allocate(j->k * sizeof *norms), best = 1e9;
    uint8_t *positions = allocate(j->rows * ((j->k + 7) / 8));
    for (size_t i = 0; i < j->k; i++) {
        norms[i] = 1 + (double)(i % 7);
    }
    must(s24_calibration_new(&cal, j->k, 0, NULL, j->threads, &err), &err);
    must(s24_calibration_set_norms(cal, norms, &err), &err);
    o.method = name;
    o.threads = j->threads;
    for (int i = 0; i < 5; i++) {
        memcpy(w, j->w, j->rows * j->k * sizeof *w);
        const double start = now();
        must(s24_solve(&o, cal, j->rows, j->k, S24_F32, w, positions, NULL, &err), &err);
        best = now() - start < best ? now() - start : best;
    }
    printf("%s-mask %.4f\n# %.2f elements a nanosecond and thread\n", name, best,
           (double)(j->rows * j->k) / best / 1e9 / (double)j->threads);
    s24_calibration_free(cal);
    free(w);
    free(norms);
    free(positions);
}

/* The mask and the update alone: no error is measured, and nothing held out of a Hessian, so that it is factored once. */
static void update(const job *j, const s24_blas *blas)
{
    double *h = allocate(j->k * j->k * sizeof *h);
    s24_error err;
    job alone = *j;
    for (size_t i = 0; i < j->k; i++) {
        for (size_t c = 0; c <= i; c++) {
            h[i * j->k + c] = s24_calibration_product(j->cal, 3, i, c);
        }
    }
    must(s24_calibration_new(&alone.cal, j->k, 0, blas, j->threads, &err), &err);
    must(s24_calibration_set_hessian(alone.cal, S24_F64, h, &err), &err);
    free(h);
    solve(&alone, "sparsegpt", "update", false);
    s24_calibration_free(alone.cal);
}

/* What OpenBLAS does by itself, with as many threads: the middle one of three runs, after one that is not counted. */
typedef struct peers {
    size_t rows, k;
    unsigned threads;
    const float *w;
    const s24_blas *blas;
    void (*potrf[2])(const char *, const int *, void *, const int *, int *, size_t); /* in f32, in f64 */
    void (*potri[2])(const char *, const int *, void *, const int *, int *, size_t);
    void *h; /* [k, k] */
    float *c;
} peers;

static peers peers_open(const job *j, void *handle, const s24_blas *blas)
{
    peers p = {.rows = j->rows, .k = j->k, .threads = j->threads, .w = j->w, .blas = blas,
               .h = allocate(j->k * j->k * sizeof(double)), .c = allocate(j->rows * j->k * sizeof *p.c)};
    LOAD(p.potrf[0], "spotrf_");
    LOAD(p.potri[0], "spotri_");
    LOAD(p.potrf[1], "dpotrf_");
    LOAD(p.potri[1], "dpotri_");
    return p;
}

static void peers_free(peers *p)
{
    free(p->h);
    free(p->c);
}

/* Positive definite, by its diagonal. */
static void fill_hessian(const peers *p, bool wide)
{
    float *h = p->h;
    double *h64 = p->h;
    for (size_t i = 0; i < p->k * p->k; i++) {
        const double x = i % (p->k + 1) == 0 ? 1 : 1e-4 * (double)(i * 2654435761u % 1000) / 1000;
        if (wide) {
            h64[i] = x;
        } else {
            h[i] = (float)x;
        }
    }
}

static void multiply(const peers *p)
{
    const int k = (int)p->k;
    p->blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_PLAIN, (int)p->rows, k, k, 1, p->w, k, p->h, k, 0, p->c, k);
}

static void invert(const peers *p, bool wide)
{
    const int k = (int)p->k;
    int info;
    p->potrf[wide]("U", &k, p->h, &k, &info, 1);
    p->potri[wide]("U", &k, p->h, &k, &info, 1);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { SGEMM, S_INVERSE, D_INVERSE, PEERS };

static void measure(const peers *p, int which)
{
    static const char *const names[PEERS] = {"sgemm", "spotrf+spotri", "dpotrf+dpotri"};
    double seconds[3];
    p->blas->set_threads((int)p->threads);
    for (int i = -1; i < 3; i++) {
        fill_hessian(p, which == D_INVERSE);
        const double start = now();
        if (which == SGEMM) {
            multiply(p);
        } else {
            invert(p, which == D_INVERSE);
        }
        seconds[i < 0 ? 0 : i] = now() - start;
    }
    p->blas->set_threads(1);
    nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL); /* OpenBLAS's threads spin until then, for something to do */
    qsort(seconds, 3, sizeof *seconds, by_size);
    printf("%s %.3f\n", names[which], seconds[1]);
    fflush(stdout);
}

static bool wanted(int argc, char **argv, const char *part)
{
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], part) == 0) {
            return true;
        }
    }
    return argc == 5;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: solve ROWS K SAMPLES THREADS [masks|update|sparsegpt|obs...]\n");
        return S24_ERR_USAGE;
    }
    void *handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        printf("# no OpenBLAS\n");
        return 0;
    }
    s24_blas blas = {.name = "OpenBLAS"};
    LOAD(blas.sgemm, "cblas_sgemm");
    LOAD(blas.dgemm, "cblas_dgemm");
    LOAD(blas.set_threads, "openblas_set_num_threads");
    job j = {.rows = (size_t)atol(argv[1]), .k = (size_t)atol(argv[2]), .threads = (unsigned)atoi(argv[4])};
    const size_t samples = (size_t)atol(argv[3]);
    s24_error err;
    j.w = allocate(j.rows * j.k * sizeof *j.w);
    s24_bench_normal(1, j.w, j.rows * j.k);
    peers p = peers_open(&j, handle, &blas);
    if (wanted(argc, argv, "masks")) {
        mask(&j, "magnitude");
        mask(&j, "wanda");
        mask(&j, "ria");
    }
    j.x = allocate(samples * j.k * sizeof *j.x);
    fill_samples(j.x, samples, j.k);
    must(s24_calibration_new(&j.cal, j.k, samples, &blas, j.threads, &err), &err);
    const double start = now();
    must(s24_calibration_add(j.cal, j.x, samples, &err), &err);
    printf("products %.3f\n", now() - start);
    free(j.x);
    if (wanted(argc, argv, "update")) {
        measure(&p, S_INVERSE);
        measure(&p, D_INVERSE);
        update(&j, &blas);
        measure(&p, D_INVERSE);
        measure(&p, S_INVERSE);
    }
    static const char *const methods[] = {"sparsegpt", "obs"};
    for (size_t i = 0; i < 2; i++) {
        if (wanted(argc, argv, methods[i])) {
            measure(&p, SGEMM);
            solve(&j, methods[i], methods[i], true);
            measure(&p, SGEMM);
        }
    }
    peers_free(&p);
    s24_calibration_free(j.cal);
    free(j.w);
    return 0;
}
