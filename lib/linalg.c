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

/* A system to solve: x [rows, n] becomes x inverse(L), or x inverse(L'). */
typedef struct halving {
    const s24_blas *blas;
    const float *l, *inverses;
    size_t n, rows;
    float *x, *scratch;
} halving;

/*
 * Columns [begin, end) alone, halved until they are a tile: so most of the work is in products as large as they can be, which
 * go through x a few times instead of once for each tile.
 */
static void solve_halves(const halving *s, size_t begin, size_t end, bool transposed)
{
    const size_t n = s->n, cols = end - begin;
    if (cols <= TILE) {
        times_tile(s->blas, transposed ? S24_TRANSPOSED : S24_PLAIN, s->inverses + begin * TILE, s->x + begin, n, s->rows,
                   cols, s->scratch);
        return;
    }
    const size_t middle = begin + ((cols - 1) / TILE + 1) / 2 * TILE;
    const size_t from = transposed ? begin : middle, to = transposed ? middle : begin;
    const size_t of_from = transposed ? middle - begin : end - middle, of_to = cols - of_from;
    solve_halves(s, from, from + of_from, transposed);
    s->blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, transposed ? S24_TRANSPOSED : S24_PLAIN, (int)s->rows, (int)of_to, (int)of_from,
                   -1, s->x + from, (int)n, s->l + middle * n + begin, (int)n, 1, s->x + to, (int)n);
    solve_halves(s, to, to + of_to, transposed);
}

/* First y L = x from the last columns to the first, then x L' = y the other way. */
void s24_solve_factored(const s24_blas *blas, const float *l, const float *inverses, size_t n, float *x, size_t rows,
                        float *scratch)
{
    const halving s = {.blas = blas, .l = l, .inverses = inverses, .n = n, .rows = rows, .x = x, .scratch = scratch};
    solve_halves(&s, 0, n, false);
    solve_halves(&s, 0, n, true);
}
