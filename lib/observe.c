#include "observe.h"

void s24_observe_samples(const s24_observed *o, size_t count, const float *x, size_t n, float *scratch, double *sums)
{
    const size_t k = o->inputs, all = count * o->rows;
    o->blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_TRANSPOSED, (int)n, (int)all, (int)k, 1, x, (int)k, o->planes, (int)k, 0,
                   scratch, (int)all);
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < count; p++) {
            const float *const y = scratch + i * all + p * o->rows;
            double sum = 0;
            for (size_t r = 0; r < o->rows; r++) {
                sum += (double)y[r] * (double)y[r];
            }
            sums[p] += sum;
        }
    }
}

/* tr(P H P') = sum_r sum_i p_ri (H_ii p_ri + 2 sum_j<i H_ij p_rj). */
void s24_observe_products(const s24_observed *o, size_t count, float *h, size_t first, size_t n, float *scratch,
                          double *sums)
{
    const size_t k = o->inputs, all = count * o->rows, to = first + n;
    for (size_t i = 0; i < n; i++) {
        h[i * k + first + i] /= 2;
        for (size_t j = first + i + 1; j < to; j++) {
            h[i * k + j] = 0;
        }
    }
    o->blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_TRANSPOSED, (int)all, (int)n, (int)to, 1, o->planes, (int)k, h, (int)k, 0,
                   scratch, (int)n);
    for (size_t r = 0; r < all; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)scratch[r * n + i] * (double)o->planes[r * k + first + i];
        }
        sums[r / o->rows] += 2 * sum;
    }
}
