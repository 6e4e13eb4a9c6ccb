#include "refit.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "threads.h"

/* ---------------------------------------------------------------- the Gram matrix */

static double live_mean(const s24_calibration *cal, unsigned parts)
{
    double sum = 0, live = 0;
    for (size_t j = 0; j < cal->k; j++) {
        const double x = s24_calibration_product(cal, parts, j, j);
        sum += x;
        live += x > 0;
    }
    return live > 0 ? sum / live : 1;
}

typedef struct scaled {
    const s24_columns *columns;
    unsigned parts;
    double factor;
    float *h;
} scaled;

static void fill_scaled(void *ctx, size_t i0, size_t m, size_t j0, size_t n)
{
    const scaled *s = ctx;
    const size_t k = s->columns->k;
    double row[S24_FILL_BLOCK];
    for (size_t i = i0; i < i0 + m; i++) {
        const size_t count = i - j0 + 1 < n ? i - j0 + 1 : n;
        s24_columns_products(s->columns, s->parts, i, j0, count, row);
        for (size_t j = 0; j < count; j++) {
            s->h[i * k + j0 + j] = s->h[(j0 + j) * k + i] = (float)(s->factor * row[j]);
        }
    }
}

s24_status s24_gram_init(s24_gram *g, const s24_compute_env *env, const s24_columns *columns, unsigned parts, s24_error *err)
{
    const size_t k = columns->k;
    *g = (s24_gram){.k = k, .h = s24_alloc(k * k * sizeof(float), err)};
    if (!g->h) {
        return S24_ERR_SYSTEM;
    }
    scaled s = {columns, parts, 1 / live_mean(columns->cal, parts), g->h};
    const s24_status status = s24_fill_triangle(env, k, fill_scaled, &s, err);
    for (size_t i = 0; i < k && status == S24_OK; i++) {
        if (!isfinite(g->h[i * k + i])) {
            return s24_fail(err, S24_ERR_DATA, "X'X is not finite at input %zu; scale the activations down", i);
        }
    }
    return status;
}

void s24_gram_free(s24_gram *g)
{
    free(g->h);
    *g = (s24_gram){.k = 0};
}

/* to = d H */
static void times_gram(const s24_gram *g, const s24_blas *blas, const float *d, size_t rows, float *to)
{
    const int k = (int)g->k;
    blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_PLAIN, (int)rows, k, k, 1, d, k, g->h, k, 0, to, k);
}

void s24_quadratics(const s24_gram *g, const s24_solve_kernels *kernels, const s24_blas *blas, const float *d, size_t rows,
                    float *scratch, double *quadratics)
{
    times_gram(g, blas, d, rows, scratch);
    for (size_t r = 0; r < rows; r++) {
        quadratics[r] = kernels->dot(d + r * g->k, scratch + r * g->k, g->k);
    }
}

/* ---------------------------------------------------------------- conjugate gradients */

/*
 * The preconditioner: of each group the inverse of the 2 x 2 block of H that belongs to the two kept. It does not
 * depend on the row but by the pair, so that there are six of them a group.
 */
typedef struct pair_inverse {
    float a, b, c;
} pair_inverse;

static pair_inverse invert_pair(const s24_gram *g, const double *damping, size_t group, unsigned pair)
{
    const size_t p = 4 * group + s24_pair_kept[pair][0], q = 4 * group + s24_pair_kept[pair][1], k = g->k;
    const double pp = (double)g->h[p * k + p] + damping[p];
    const double qq = (double)g->h[q * k + q] + damping[q];
    const double pq = (double)g->h[p * k + q];
    const double determinant = pp * qq - pq * pq;
    if (!(pp > 0 && qq > 0 && determinant > 1e-9 * pp * qq)) { /* alike, or dead: each for itself */
        return (pair_inverse){.a = pp > 0 ? (float)(1 / pp) : 0, .c = qq > 0 ? (float)(1 / qq) : 0};
    }
    return (pair_inverse){(float)(qq / determinant), (float)(-pq / determinant), (float)(pp / determinant)};
}

/* z = P r; what was dropped becomes 0 in both. */
static void precondition(const pair_inverse (*inverse)[S24_PAIRS], size_t groups, const uint8_t *pairs, float *r, float *z)
{
    for (size_t i = 0; i < groups; i++) {
        const unsigned pair = pairs[i];
        const unsigned p = s24_pair_kept[pair][0], q = s24_pair_kept[pair][1];
        const float x = r[4 * i + p], y = r[4 * i + q];
        const pair_inverse *m = &inverse[i][pair];
        memset(r + 4 * i, 0, 4 * sizeof *r);
        memset(z + 4 * i, 0, 4 * sizeof *z);
        r[4 * i + p] = x;
        r[4 * i + q] = y;
        z[4 * i + p] = m->a * x + m->b * y;
        z[4 * i + q] = m->b * x + m->c * y;
    }
}

static void mask_row(size_t groups, const uint8_t *pairs, float *x)
{
    for (size_t i = 0; i < groups; i++) {
        x[4 * i + s24_pair_dropped[pairs[i]][0]] = 0;
        x[4 * i + s24_pair_dropped[pairs[i]][1]] = 0;
    }
}

size_t s24_refit_scratch(const s24_gram *g, size_t rows)
{
    return 4 * rows * g->k + 3 * rows * (sizeof(double) / sizeof(float)) + g->k / 4 * S24_PAIRS * 3;
}

/* r = mask (H + damping) (w - v), what is left to be explained. */
static void residuals(const s24_gram *g, const double *damping, const s24_solve_kernels *kernels, const s24_blas *blas, const float *w, const float *v,
                      size_t rows, float *d, float *r)
{
    for (size_t i = 0; i < rows * g->k; i++) {
        d[i] = w[i] - v[i];
    }
    times_gram(g, blas, d, rows, r);
    for (size_t i = 0; i < rows; i++) {
        kernels->damp(damping, d + i * g->k, g->k, r + i * g->k);
    }
}

typedef struct planes {
    double *rz, *error;   /* [rows]: r'P r, 0 where a row is done; (w - v)'H(w - v) */
    double *little;       /* [rows]: how many steps on end gained little */
    float *r, *z, *p, *q; /* [rows, k] */
    pair_inverse (*inverse)[S24_PAIRS];
} planes;

#define LITTLE_STEPS 2 /* after one that gains little another may gain more */

/* A row's step along p, with q = H p. False: there is no other to make, or not much to gain by it. */
static bool step_row(const s24_solve_kernels *kernels, size_t k, const double *damping, double enough, const planes *s,
                     size_t row, const uint8_t *pairs, float *v)
{
    float *p = s->p + row * k, *q = s->q + row * k, *r = s->r + row * k, *z = s->z + row * k;
    kernels->damp(damping, p, k, q);
    const double curvature = kernels->dot(p, q, k);
    if (!(curvature > 0) || !(s->rz[row] > 0)) {
        return false;
    }
    const float alpha = (float)(s->rz[row] / curvature);
    kernels->advance(alpha, p, q, k, v, r);
    precondition((const pair_inverse (*)[S24_PAIRS])s->inverse, k / 4, pairs, r, z);
    const double rz = kernels->dot(r, z, k);
    const float beta = (float)(rz / s->rz[row]);
    kernels->turn(beta, z, k, p);
    const double gained = s->rz[row] * s->rz[row] / curvature;
    s->rz[row] = rz;
    s->error[row] -= gained;
    s->little[row] = gained > enough * s->error[row] ? 0 : s->little[row] + 1;
    return s->little[row] < LITTLE_STEPS;
}

s24_status s24_refit(const s24_gram *g, const double *damping, const s24_solve_kernels *kernels,
                     const s24_compute_env *env, const float *w, float *v, size_t rows, const uint8_t *pairs,
                     unsigned steps, double enough, float *scratch, s24_error *err)
{
    const size_t k = g->k, groups = k / 4;
    planes s = {.rz = (double *)(void *)scratch};
    s.error = s.rz + rows;
    s.little = s.error + rows;
    s.r = (float *)(void *)(s.little + rows);
    s.z = s.r + rows * k;
    s.p = s.z + rows * k;
    s.q = s.p + rows * k;
    s.inverse = (pair_inverse (*)[S24_PAIRS])(void *)(s.q + rows * k);
    for (size_t i = 0; i < groups * S24_PAIRS; i++) {
        s.inverse[i / S24_PAIRS][i % S24_PAIRS] = invert_pair(g, damping, i / S24_PAIRS, (unsigned)(i % S24_PAIRS));
    }
    residuals(g, damping, kernels, env->blas, w, v, rows, s.q, s.r);
    for (size_t i = 0; i < rows; i++) {
        s.little[i] = 0;
        s.error[i] = kernels->dot(s.q + i * k, s.r + i * k, k);
        precondition((const pair_inverse (*)[S24_PAIRS])s.inverse, groups, pairs + i * groups, s.r + i * k, s.z + i * k);
        s.rz[i] = kernels->dot(s.r + i * k, s.z + i * k, k);
    }
    memcpy(s.p, s.z, rows * k * sizeof *s.p);
    bool moving = true;
    for (unsigned n = 0; n < steps && moving; n++) {
        const s24_status status = s24_cancelled(env, err);
        if (status != S24_OK) {
            return status;
        }
        times_gram(g, env->blas, s.p, rows, s.q);
        moving = false;
        for (size_t i = 0; i < rows; i++) {
            if (s.rz[i] > 0 && !step_row(kernels, k, damping, enough, &s, i, pairs + i * groups, v + i * k)) {
                s.rz[i] = 0;
            }
            moving |= s.rz[i] > 0;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        mask_row(groups, pairs + i * groups, v + i * k);
    }
    return S24_OK;
}
