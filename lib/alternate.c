#include "alternate.h"

#include <math.h>
#include <string.h>

#include "mem.h"

#define RELAXATION 1.6f

typedef struct s24_schedule {
    int penalties, rounds; /* of each */
    float penalty[S24_PENALTIES];
} schedule;

static const schedule of_short = {6, 4, {0.1f, 0.15f, 0.22f, 0.33f, 0.5f, 0.75f}};
static const schedule of_long = {3, 3, {0.1f, 0.23f, 0.53f}};

typedef struct scaled {
    const s24_gram *gram;
    const float *unscale; /* [k] */
    float rho, *a;
} scaled;

static void fill_scaled(void *ctx, size_t i0, size_t m, size_t j0, size_t n)
{
    const scaled *s = ctx;
    const size_t k = s->gram->k;
    for (size_t i = i0; i < i0 + m; i++) {
        for (size_t j = j0; j < j0 + n && j <= i; j++) {
            s->a[i * k + j] = i == j ? 1 + s->rho : s->gram->h[i * k + j] * s->unscale[i] * s->unscale[j];
        }
    }
}

static s24_status init_penalty(s24_alternation *a, int i, const s24_compute_env *env, const s24_gram *gram,
                               const float *unscale, s24_error *err)
{
    const size_t k = gram->k;
    a->factor[i] = s24_alloc(k * k * sizeof(float), err);
    a->inverses[i] = s24_alloc(k * S24_TILE * sizeof(float), err);
    scaled s = {gram, unscale, a->penalty[i], a->factor[i]};
    s24_status status = s.a && a->inverses[i] ? s24_fill_triangle(env, k, fill_scaled, &s, err) : S24_ERR_SYSTEM;
    return status == S24_OK ? s24_factor_f32(env, s.a, k, a->inverses[i], err) : status;
}

/* What the schedule's penalties are multiplied with. */
static double scale_of(const double *damping, size_t k)
{
    double sum = 0;
    for (size_t j = 0; j < k; j++) {
        sum += damping[j];
    }
    return fmin(fmax(cbrt(sum / (double)k / 0.04), 0.8), 3);
}

s24_status s24_alternation_init(s24_alternation *a, const s24_compute_env *env, const s24_gram *gram, const double *damping,
                                s24_error *err)
{
    const size_t k = gram->k;
    *a = (s24_alternation){.k = k, .schedule = k <= S24_ALTERNATION_SHORT ? &of_short : &of_long,
                           .scale = s24_alloc(k * sizeof(float), err)};
    float *unscale = s24_alloc(k * sizeof *unscale, err);
    s24_status status = a->scale && unscale ? S24_OK : S24_ERR_SYSTEM;
    for (size_t j = 0; status == S24_OK && j < k; j++) {
        const double scale = sqrt((double)gram->h[j * k + j] + damping[j]);
        a->scale[j] = (float)scale;
        unscale[j] = (float)(1 / scale);
    }
    const double of_all = scale_of(damping, k);
    for (int i = 0; i < a->schedule->penalties; i++) {
        a->penalty[i] = (float)(of_all * (double)a->schedule->penalty[i]);
    }
    for (int i = 0; i < a->schedule->penalties && status == S24_OK; i++) {
        status = init_penalty(a, i, env, gram, unscale, err);
    }
    free(unscale);
    return status;
}

void s24_alternation_free(s24_alternation *a)
{
    for (int i = 0; i < S24_PENALTIES; i++) {
        free(a->factor[i]);
        free(a->inverses[i]);
    }
    free(a->scale);
    *a = (s24_alternation){.k = 0};
}

static void round_of(const s24_alternation *a, const s24_solve_kernels *kernels, const s24_blas *blas, int stage,
                     const float *w, float *v, size_t rows, uint8_t *pairs, float *y, float *delta, float *scratch)
{
    const size_t k = a->k;
    const float rho = a->penalty[stage];
    for (size_t i = 0; i < rows * k; i += k) {
        for (size_t j = 0; j < k; j++) {
            delta[i + j] = rho * (v[i + j] - w[i + j] * a->scale[j]) - y[i + j];
        }
    }
    s24_solve_factored(blas, a->factor[stage], a->inverses[stage], k, delta, rows, scratch);
    for (size_t i = 0; i < rows * k; i += k) {
        kernels->relax(w + i, a->scale, delta + i, rho, RELAXATION, k / 4, v + i, y + i, pairs + i / 4);
    }
}

s24_status s24_alternate(const s24_alternation *a, const s24_solve_kernels *kernels, const s24_compute_env *env,
                         const float *w, float *v, size_t rows, uint8_t *pairs, float *scratch, s24_error *err)
{
    const size_t k = a->k, plane = rows * k;
    memset(scratch, 0, plane * sizeof *scratch);
    for (size_t i = 0; i < plane; i++) {
        v[i] *= a->scale[i % k];
    }
    for (int stage = 0; stage < a->schedule->penalties; stage++) {
        for (int i = 0; i < a->schedule->rounds; i++) {
            const s24_status status = s24_cancelled(env, err);
            if (status != S24_OK) {
                return status;
            }
            round_of(a, kernels, env->blas, stage, w, v, rows, pairs, scratch, scratch + plane, scratch + 2 * plane);
        }
    }
    for (size_t i = 0; i < plane; i++) {
        v[i] /= a->scale[i % k];
    }
    return S24_OK;
}
