#include "alternate.h"

#include <math.h>
#include <string.h>

#include "mem.h"

static const float penalty[S24_PENALTIES] = {0.06f, 0.18f, 0.54f};
#define RELAXATION 1.6f

static void fill(const s24_gram *gram, const float *scale, float rho, float *a)
{
    const size_t k = gram->k;
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < i; j++) {
            a[i * k + j] = gram->h[i * k + j] / (scale[i] * scale[j]);
        }
        a[i * k + i] = 1 + rho;
    }
}

s24_status s24_alternation_init(s24_alternation *a, const s24_compute_env *env, const s24_gram *gram, const double *damping,
                                s24_error *err)
{
    const size_t k = gram->k;
    *a = (s24_alternation){.k = k, .scale = s24_alloc(k * sizeof(float), err)};
    float *factor = s24_alloc(k * k * sizeof *factor, err);
    s24_status status = a->scale && factor ? S24_OK : S24_ERR_SYSTEM;
    for (size_t j = 0; status == S24_OK && j < k; j++) {
        a->scale[j] = (float)sqrt((double)gram->h[j * k + j] + damping[j]);
    }
    for (int i = 0; i < S24_PENALTIES && status == S24_OK; i++) {
        a->inverse[i] = s24_alloc(k * k * sizeof *factor, err);
        if (!a->inverse[i]) {
            status = S24_ERR_SYSTEM;
            break;
        }
        fill(gram, a->scale, penalty[i], factor);
        status = s24_cholesky_f32(env, factor, k, err);
        status = status == S24_OK ? s24_invert_lower_f32(env, factor, k, err) : status;
        status = status == S24_OK ? s24_square_lower_f32(env, factor, k, a->inverse[i], err) : status;
    }
    free(factor);
    return status;
}

void s24_alternation_free(s24_alternation *a)
{
    for (int i = 0; i < S24_PENALTIES; i++) {
        free(a->inverse[i]);
    }
    free(a->scale);
    *a = (s24_alternation){.k = 0};
}

static void round_of(const s24_alternation *a, const s24_solve_kernels *kernels, const s24_blas *blas, int stage,
                     const float *w, float *v, size_t rows, uint8_t *pairs, float *y, float *toward, float *delta)
{
    const size_t k = a->k;
    const float rho = penalty[stage];
    for (size_t i = 0; i < rows * k; i += k) {
        for (size_t j = 0; j < k; j++) {
            toward[i + j] = rho * (v[i + j] - w[i + j] * a->scale[j]) - y[i + j];
        }
    }
    blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_PLAIN, (int)rows, (int)k, (int)k, 1, toward, (int)k, a->inverse[stage],
                (int)k, 0, delta, (int)k);
    for (size_t i = 0; i < rows * k; i += k) {
        kernels->relax(w + i, a->scale, delta + i, rho, RELAXATION, k / 4, v + i, y + i, pairs + i / 4);
    }
}

s24_status s24_alternate(const s24_alternation *a, const s24_solve_kernels *kernels, const s24_compute_env *env, const float *w, float *v, size_t rows,
                         uint8_t *pairs, float *scratch, s24_error *err)
{
    const size_t k = a->k, plane = rows * k;
    memset(scratch, 0, plane * sizeof *scratch);
    for (size_t i = 0; i < plane; i++) {
        v[i] *= a->scale[i % k];
    }
    for (int stage = 0; stage < S24_PENALTIES; stage++) {
        for (int i = 0; i < S24_ROUNDS; i++) {
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
