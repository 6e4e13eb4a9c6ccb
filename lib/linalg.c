#include "linalg.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "threads.h"

#define TILE S24_TILE

s24_status s24_cancelled(const s24_compute_env *env, s24_error *err)
{
    if (env->cancel && *env->cancel) {
        return s24_fail(err, S24_ERR_STOPPED, "stopped");
    }
    return S24_OK;
}

void s24_triangle_place(size_t job, size_t *i, size_t *j)
{
    size_t row = (size_t)((sqrt(8 * (double)job + 1) - 1) / 2);
    row -= row * (row + 1) / 2 > job;
    row += (row + 1) * (row + 2) / 2 <= job;
    *i = row;
    *j = job - row * (row + 1) / 2;
}

/* ---------------------------------------------------------------- a tile */

bool s24_small_factor(double *a, size_t n)
{
    for (size_t s = n; s-- > 0;) {
        double *last = a + s * TILE;
        if (!(last[s] > 0 && isfinite(last[s]))) {
            return false;
        }
        const double pivot = sqrt(last[s]), inverse = 1 / pivot;
        for (size_t j = 0; j < s; j++) {
            last[j] *= inverse;
        }
        last[s] = pivot;
        for (size_t i = 0; i < s; i++) {
            double *row = a + i * TILE;
            const double f = last[i];
            for (size_t j = 0; j <= i; j++) {
                row[j] -= f * last[j];
            }
        }
    }
    return true;
}

/* Row by row: X_i = -(1 / l_ii) sum_k<i l_ik X_k, with the sum taken by rows of X, which lie behind one another. */
void s24_small_invert(double *l, size_t n)
{
    double factor[TILE];
    for (size_t i = 0; i < n; i++) {
        double *row = l + i * TILE;
        const double inverse = 1 / row[i];
        memcpy(factor, row, i * sizeof *row);
        memset(row, 0, TILE * sizeof *row);
        for (size_t k = 0; k < i; k++) {
            const double *done = l + k * TILE, f = -factor[k] * inverse;
            for (size_t j = 0; j <= k; j++) {
                row[j] += f * done[j];
            }
        }
        row[i] = inverse;
    }
}

/* ---------------------------------------------------------------- all tiles */

#define REAL double
#define NAME(x) x
#define TILING tiling
#define GEMM dgemm
#include "linalg_template.h"
#undef REAL
#undef NAME
#undef TILING
#undef GEMM

#define REAL float
#define NAME(x) x##_f32
#define TILING tiling_f32
#define GEMM sgemm
#include "linalg_template.h"

/* ---------------------------------------------------------------- solving */

/* Columns [begin, begin + cols) of x become themselves times a tile, or its transpose. */
static void times_tile(const s24_blas *blas, int trans, const float *tile, float *x, size_t n, size_t rows, size_t cols,
                       float *scratch)
{
    for (size_t r = 0; r < rows; r++) {
        memcpy(scratch + r * TILE, x + r * n, cols * sizeof *x);
    }
    blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, trans, (int)rows, (int)cols, (int)cols, 1, scratch, TILE, tile, TILE, 0, x, (int)n);
}

/* First y L = x from the last tile to the first, then x L' = y the other way; what is done is taken from all that is not. */
void s24_solve_factored(const s24_blas *blas, const float *l, const float *inverses, size_t n, float *x, size_t rows,
                        float *scratch)
{
    const size_t tiles = (n - 1) / TILE + 1;
    for (size_t s = tiles; s-- > 0;) {
        const size_t begin = s * TILE, cols = n - begin < TILE ? n - begin : TILE;
        times_tile(blas, S24_PLAIN, inverses + begin * TILE, x + begin, n, rows, cols, scratch);
        if (begin > 0) {
            blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_PLAIN, (int)rows, (int)begin, (int)cols, -1, x + begin, (int)n,
                        l + begin * n, (int)n, 1, x, (int)n);
        }
    }
    for (size_t s = 0; s < tiles; s++) {
        const size_t begin = s * TILE, cols = n - begin < TILE ? n - begin : TILE, end = begin + cols;
        times_tile(blas, S24_TRANSPOSED, inverses + begin * TILE, x + begin, n, rows, cols, scratch);
        if (end < n) {
            blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_TRANSPOSED, (int)rows, (int)(n - end), (int)cols, -1, x + begin, (int)n,
                        l + end * n + begin, (int)n, 1, x + end, (int)n);
        }
    }
}
