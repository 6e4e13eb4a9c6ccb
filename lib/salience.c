#include "salience.h"

#include <string.h>

#include "mem.h"
#include "threads.h"

#define DAMPING 0.01

/* Rows of the identity become rows of the inverse, so many at a time. */
#define ROWS S24_TILE

typedef struct inverting {
    const s24_compute_env *env;
    size_t k;
    const float *l, *inverses;
    float *rows, *scratch; /* [threads][ROWS, k], [threads][ROWS, S24_TILE] */
    double *salience;
} inverting;

static s24_status invert_rows(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const inverting *v = ctx;
    const size_t first = job * ROWS, n = v->k - first < ROWS ? v->k - first : ROWS;
    float *const rows = v->rows + slot * ROWS * v->k;
    memset(rows, 0, n * v->k * sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        rows[i * v->k + first + i] = 1;
    }
    s24_solve_factored(v->env->blas, v->l, v->inverses, v->k, rows, n, v->scratch + slot * ROWS * S24_TILE);
    for (size_t i = 0; i < n; i++) {
        const double x = (double)rows[i * v->k + first + i];
        v->salience[first + i] = x > 0 ? 1 / x : 0;
    }
    return s24_cancelled(v->env, err);
}

/* H over the mean of its diagonal, damped: the lower triangle. */
static void fill(const s24_calibration *cal, float *h)
{
    const size_t k = cal->k;
    const unsigned fit = 1u << S24_FIT;
    double mean = 0;
    for (size_t j = 0; j < k; j++) {
        mean += s24_calibration_product(cal, fit, j, j) / (double)k;
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j <= i; j++) {
            h[i * k + j] = (float)(mean > 0 ? s24_calibration_product(cal, fit, i, j) / mean : 0);
        }
        h[i * k + i] += (float)DAMPING;
    }
}

s24_status s24_salience(const s24_calibration *cal, const s24_compute_env *env, double *salience, s24_error *err)
{
    static const s24_stages stages = {.work = invert_rows};
    const size_t k = cal->k;
    float *const h = s24_alloc(k * k * sizeof *h, err), *const inverses = s24_alloc(k * S24_TILE * sizeof *h, err);
    inverting v = {.env = env, .k = k, .l = h, .inverses = inverses, .salience = salience,
                   .rows = s24_alloc(env->threads * ROWS * k * sizeof *h, err),
                   .scratch = s24_alloc(env->threads * ROWS * S24_TILE * sizeof *h, err)};
    s24_status status = h && inverses && v.rows && v.scratch ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK) {
        fill(cal, h);
        status = s24_factor_f32(env, h, k, inverses, err);
    }
    status = status == S24_OK ? s24_run(&stages, &v, (k - 1) / ROWS + 1, env->threads, err) : status;
    free(h);
    free(inverses);
    free(v.rows);
    free(v.scratch);
    return status;
}
