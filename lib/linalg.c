#include "linalg.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "threads.h"

/*
 * A tile's edge. Products of 256 x 256 x (what is done already) run near the BLAS's full speed, and the work without it,
 * one tile's own factorization a step, is n / 256 times 256^3 / 3: below 1% of n^3 from n = 4096 on.
 */
#define TILE 256

s24_status s24_cancelled(const s24_compute_env *env, s24_error *err)
{
    if (env->cancel && *env->cancel) {
        return s24_fail(err, S24_ERR_STOPPED, "stopped");
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- small */

bool s24_small_cholesky(double *a, size_t n, size_t lda)
{
    for (size_t j = 0; j < n; j++) {
        double *row = a + j * lda;
        for (size_t i = 0; i <= j; i++) {
            const double *other = a + i * lda;
            double sum = row[i];
            for (size_t k = 0; k < i; k++) {
                sum -= row[k] * other[k];
            }
            if (i < j) {
                row[i] = sum / other[i];
            } else if (sum > 0 && isfinite(sum)) {
                row[i] = sqrt(sum);
            } else {
                return false;
            }
        }
    }
    return true;
}

/* Row by row: X_i = -(1 / l_ii) sum_k<i l_ik X_k, with the sum taken by rows of X, which lie behind one another. */
void s24_small_invert_lower(double *l, size_t n, size_t ldl)
{
    double factor[TILE];
    for (size_t i = 0; i < n; i++) {
        double *row = l + i * ldl;
        const double inverse = 1 / row[i];
        memcpy(factor, row, i * sizeof *row);
        memset(row, 0, i * sizeof *row);
        for (size_t k = 0; k < i; k++) {
            const double *done = l + k * ldl, f = -factor[k] * inverse;
            for (size_t j = 0; j <= k; j++) {
                row[j] += f * done[j];
            }
        }
        row[i] = inverse;
    }
}

/* ---------------------------------------------------------------- tiles */

/*
 * Step k of both:
 *
 *     Cholesky, by columns of tiles            inversion, by rows of tiles
 *         .                                        X
 *         L  k                                     X  X
 *         L  k  .                                  k  k  k
 *         L  k  .  .                               L  L  L  L
 *
 * A tile of the step is one product over everything that is done already, and then one with the inverse of a tile on the
 * diagonal.
 */
typedef struct tiling {
    const s24_compute_env *env;
    double *a;        /* [n, n] */
    size_t n, step;
    double *inverse;  /* [TILE, TILE]: of the step's tile on the diagonal */
    double *panel;    /* [TILE, n]: inversion: the step's rows of L */
    double *scratch;  /* [threads][TILE, TILE] */
    bool last_half;   /* Cholesky: the second of two runs of a step */
} tiling;

static size_t tile_edge(const tiling *t, size_t index)
{
    const size_t left = t->n - index * TILE;
    return left < TILE ? left : TILE;
}

static size_t tiles_of(size_t n)
{
    return (n - 1) / TILE + 1;
}

static double *tile_at(const tiling *t, size_t i, size_t j)
{
    return t->a + i * TILE * t->n + j * TILE;
}

/* to [m, n] = factor * from [m, k] * with [k, n] or its transpose */
static void product(const tiling *t, int trans, size_t m, size_t n, size_t k, double factor, const double *from,
                    size_t from_ld, const double *with, size_t with_ld, double keep, double *to, size_t to_ld)
{
    if (k > 0) {
        t->env->blas->dgemm(S24_ROW_MAJOR, S24_PLAIN, trans, (int)m, (int)n, (int)k, factor, from, (int)from_ld, with,
                            (int)with_ld, keep, to, (int)to_ld);
    }
}

/* Tile (step + job, step): first less what is done, then times the inverse of the diagonal's transpose. */
static s24_status cholesky_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const tiling *t = ctx;
    const size_t j = t->step, i = j + job + t->last_half;
    const size_t m = tile_edge(t, i), n = tile_edge(t, j);
    double *tile = tile_at(t, i, j);
    (void)err;
    if (!t->last_half) {
        product(t, S24_TRANSPOSED, m, n, j * TILE, -1, tile_at(t, i, 0), t->n, tile_at(t, j, 0), t->n, 1, tile, t->n);
        return S24_OK;
    }
    double *copy = t->scratch + slot * TILE * TILE;
    for (size_t r = 0; r < m; r++) {
        memcpy(copy + r * TILE, tile + r * t->n, n * sizeof *copy);
    }
    product(t, S24_TRANSPOSED, m, n, n, 1, copy, TILE, t->inverse, TILE, 0, tile, t->n);
    return S24_OK;
}

/* The inverse of the step's tile on the diagonal, which is lower already; zeros above. */
static void invert_diagonal(const tiling *t)
{
    const size_t n = tile_edge(t, t->step);
    const double *tile = tile_at(t, t->step, t->step);
    for (size_t r = 0; r < n; r++) {
        memcpy(t->inverse + r * TILE, tile + r * t->n, (r + 1) * sizeof *tile);
        memset(t->inverse + r * TILE + r + 1, 0, (TILE - r - 1) * sizeof *tile);
    }
    s24_small_invert_lower(t->inverse, n, TILE);
}

/* Tile (step, job) of the inverse: -inverse(L_ii) sum_k L_ik X_kj, k from j to i - 1. */
static s24_status inverse_tile(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const tiling *t = ctx;
    const size_t i = t->step, j = job, m = tile_edge(t, i);
    double *sum = t->scratch + slot * TILE * TILE;
    (void)err;
    product(t, S24_PLAIN, m, TILE, (i - j) * TILE, -1, t->panel + j * TILE, t->n, tile_at(t, j, j), t->n, 0, sum, TILE);
    product(t, S24_PLAIN, m, TILE, m, 1, t->inverse, TILE, sum, TILE, 0, tile_at(t, i, j), t->n);
    return S24_OK;
}

static s24_status run_tiles(tiling *t, s24_stage *work, size_t jobs, s24_error *err)
{
    const s24_stages stages = {.work = work};
    return jobs ? s24_run(&stages, t, jobs, t->env->threads, err) : S24_OK;
}

static s24_status cholesky_step(tiling *t, s24_error *err)
{
    const size_t below = tiles_of(t->n) - t->step;
    t->last_half = false;
    s24_status status = run_tiles(t, cholesky_tile, below, err);
    if (status != S24_OK) {
        return status;
    }
    if (!s24_small_cholesky(tile_at(t, t->step, t->step), tile_edge(t, t->step), t->n)) {
        return s24_fail(err, S24_ERR_DATA, "X'X is not positive definite; more damping makes it so");
    }
    invert_diagonal(t);
    t->last_half = true;
    return run_tiles(t, cholesky_tile, below - 1, err);
}

static s24_status inverse_step(tiling *t, s24_error *err)
{
    const size_t m = tile_edge(t, t->step), done = t->step * TILE;
    invert_diagonal(t);
    for (size_t r = 0; r < m; r++) {
        memcpy(t->panel + r * t->n, tile_at(t, t->step, 0) + r * t->n, done * sizeof *t->panel);
    }
    const s24_status status = run_tiles(t, inverse_tile, t->step, err);
    for (size_t r = 0; r < m; r++) {
        memcpy(tile_at(t, t->step, t->step) + r * t->n, t->inverse + r * TILE, m * sizeof *t->inverse);
    }
    return status;
}

static s24_status run_steps(const s24_compute_env *env, double *a, size_t n, bool invert, s24_error *err)
{
    tiling t = {.env = env, .a = a, .n = n,
                .inverse = s24_alloc(TILE * TILE * sizeof *a, err),
                .scratch = s24_alloc(env->threads * TILE * TILE * sizeof *a, err)};
    s24_status status = t.inverse && t.scratch ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK && invert) {
        t.panel = s24_alloc(TILE * n * sizeof *a, err);
        status = t.panel ? S24_OK : S24_ERR_SYSTEM;
    }
    for (t.step = 0; status == S24_OK && t.step < tiles_of(n); t.step++) {
        status = s24_cancelled(env, err);
        if (status == S24_OK) {
            status = invert ? inverse_step(&t, err) : cholesky_step(&t, err);
        }
    }
    free(t.inverse);
    free(t.scratch);
    free(t.panel);
    return status;
}

s24_status s24_cholesky(const s24_compute_env *env, double *a, size_t n, s24_error *err)
{
    return run_steps(env, a, n, false, err);
}

s24_status s24_invert_lower(const s24_compute_env *env, double *l, size_t n, s24_error *err)
{
    return run_steps(env, l, n, true, err);
}
