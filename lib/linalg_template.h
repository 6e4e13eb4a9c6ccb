/*
 * The bodies of lib/linalg.c, once in f64 and once in f32. Parameters: REAL; NAME(x), which tells the two apart;
 * TILING, a name for their struct; GEMM, the product of s24_blas; SQRT.
 */

/* ---------------------------------------------------------------- small */

bool NAME(s24_small_cholesky)(REAL *a, size_t n, size_t lda)
{
    for (size_t j = 0; j < n; j++) {
        REAL *row = a + j * lda;
        for (size_t i = 0; i <= j; i++) {
            const REAL *other = a + i * lda;
            REAL sum = row[i];
            for (size_t k = 0; k < i; k++) {
                sum -= row[k] * other[k];
            }
            if (i < j) {
                row[i] = sum / other[i];
            } else if (sum > 0 && isfinite(sum)) {
                row[i] = SQRT(sum);
            } else {
                return false;
            }
        }
    }
    return true;
}

/* Row by row: X_i = -(1 / l_ii) sum_k<i l_ik X_k, with the sum taken by rows of X, which lie behind one another. */
void NAME(s24_small_invert_lower)(REAL *l, size_t n, size_t ldl)
{
    REAL factor[TILE];
    for (size_t i = 0; i < n; i++) {
        REAL *row = l + i * ldl;
        const REAL inverse = 1 / row[i];
        memcpy(factor, row, i * sizeof *row);
        memset(row, 0, i * sizeof *row);
        for (size_t k = 0; k < i; k++) {
            const REAL *done = l + k * ldl, f = -factor[k] * inverse;
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
 * A tile of the step is one product over everything that is done already, and then one with the inverse of a tile on
 * the diagonal.
 */
typedef struct TILING {
    const s24_compute_env *env;
    REAL *a;        /* [n, n] */
    size_t n, step;
    REAL *inverse;  /* [TILE, TILE]: of the step's tile on the diagonal */
    REAL *panel;    /* [TILE, n]: inversion: the step's rows of L */
    REAL *scratch;  /* [threads][TILE, TILE] */
    float *square;    /* [n, n]: of NAME(s24_square_lower) */
    bool last_half;   /* Cholesky: the second of two runs of a step */
} TILING;

static size_t NAME(tile_edge)(const TILING *t, size_t index)
{
    const size_t left = t->n - index * TILE;
    return left < TILE ? left : TILE;
}

static size_t NAME(tiles_of)(size_t n)
{
    return (n - 1) / TILE + 1;
}

static REAL *NAME(tile_at)(const TILING *t, size_t i, size_t j)
{
    return t->a + i * TILE * t->n + j * TILE;
}

/* to [m, n] = factor * from [m, k] * with [k, n] or its transpose */
static void NAME(product)(const TILING *t, int trans, size_t m, size_t n, size_t k, REAL factor, const REAL *from,
                    size_t from_ld, const REAL *with, size_t with_ld, REAL keep, REAL *to, size_t to_ld)
{
    if (k > 0) {
        t->env->blas->GEMM(S24_ROW_MAJOR, S24_PLAIN, trans, (int)m, (int)n, (int)k, factor, from, (int)from_ld, with,
                            (int)with_ld, keep, to, (int)to_ld);
    }
}

/* Tile (step + job, step): first less what is done, then times the inverse of the diagonal's transpose. */
static s24_status NAME(cholesky_tile)(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const TILING *t = ctx;
    const size_t j = t->step, i = j + job + t->last_half;
    const size_t m = NAME(tile_edge)(t, i), n = NAME(tile_edge)(t, j);
    REAL *tile = NAME(tile_at)(t, i, j);
    (void)err;
    if (!t->last_half) {
        NAME(product)(t, S24_TRANSPOSED, m, n, j * TILE, -1, NAME(tile_at)(t, i, 0), t->n, NAME(tile_at)(t, j, 0), t->n, 1,
                      tile, t->n);
        return S24_OK;
    }
    REAL *copy = t->scratch + slot * TILE * TILE;
    for (size_t r = 0; r < m; r++) {
        memcpy(copy + r * TILE, tile + r * t->n, n * sizeof *copy);
    }
    NAME(product)(t, S24_TRANSPOSED, m, n, n, 1, copy, TILE, t->inverse, TILE, 0, tile, t->n);
    return S24_OK;
}

/* The inverse of the step's tile on the diagonal, which is lower already; zeros above. */
static void NAME(invert_diagonal)(const TILING *t)
{
    const size_t n = NAME(tile_edge)(t, t->step);
    const REAL *tile = NAME(tile_at)(t, t->step, t->step);
    for (size_t r = 0; r < n; r++) {
        memcpy(t->inverse + r * TILE, tile + r * t->n, (r + 1) * sizeof *tile);
        memset(t->inverse + r * TILE + r + 1, 0, (TILE - r - 1) * sizeof *tile);
    }
    NAME(s24_small_invert_lower)(t->inverse, n, TILE);
}

/* Tile (step, job) of the inverse: -inverse(L_ii) sum_k L_ik X_kj, k from j to i - 1. */
static s24_status NAME(inverse_tile)(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const TILING *t = ctx;
    const size_t i = t->step, j = job, m = NAME(tile_edge)(t, i);
    REAL *sum = t->scratch + slot * TILE * TILE;
    (void)err;
    NAME(product)(t, S24_PLAIN, m, TILE, (i - j) * TILE, -1, t->panel + j * TILE, t->n, NAME(tile_at)(t, j, j), t->n, 0,
                  sum, TILE);
    NAME(product)(t, S24_PLAIN, m, TILE, m, 1, t->inverse, TILE, sum, TILE, 0, NAME(tile_at)(t, i, j), t->n);
    return S24_OK;
}

static s24_status NAME(run_tiles)(TILING *t, s24_stage *work, size_t jobs, s24_error *err)
{
    const s24_stages stages = {.work = work};
    return jobs ? s24_run(&stages, t, jobs, t->env->threads, err) : S24_OK;
}

static s24_status NAME(cholesky_step)(TILING *t, s24_error *err)
{
    const size_t below = NAME(tiles_of)(t->n) - t->step;
    t->last_half = false;
    s24_status status = NAME(run_tiles)(t, NAME(cholesky_tile), below, err);
    if (status != S24_OK) {
        return status;
    }
    if (!NAME(s24_small_cholesky)(NAME(tile_at)(t, t->step, t->step), NAME(tile_edge)(t, t->step), t->n)) {
        return s24_fail(err, S24_ERR_DATA, "X'X is not positive definite; more damping makes it so");
    }
    NAME(invert_diagonal)(t);
    t->last_half = true;
    return NAME(run_tiles)(t, NAME(cholesky_tile), below - 1, err);
}

static s24_status NAME(inverse_step)(TILING *t, s24_error *err)
{
    const size_t m = NAME(tile_edge)(t, t->step), done = t->step * TILE;
    NAME(invert_diagonal)(t);
    for (size_t r = 0; r < m; r++) {
        memcpy(t->panel + r * t->n, NAME(tile_at)(t, t->step, 0) + r * t->n, done * sizeof *t->panel);
    }
    const s24_status status = NAME(run_tiles)(t, NAME(inverse_tile), t->step, err);
    for (size_t r = 0; r < m; r++) {
        memcpy(NAME(tile_at)(t, t->step, t->step) + r * t->n, t->inverse + r * TILE, m * sizeof *t->inverse);
    }
    return status;
}

/* Tile number `job` of the lower half of X'X, X lower: (i, j), sums from row i on, and its mirror image. */
static s24_status NAME(square_tile)(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const TILING *t = ctx;
    REAL *tile = t->scratch + slot * TILE * TILE;
    size_t i, j;
    s24_triangle_place(job, &i, &j);
    const size_t m = NAME(tile_edge)(t, i), n = NAME(tile_edge)(t, j), from = i * TILE;
    (void)err;
    t->env->blas->GEMM(S24_ROW_MAJOR, S24_TRANSPOSED, S24_PLAIN, (int)m, (int)n, (int)(t->n - from), 1,
                       NAME(tile_at)(t, i, i), (int)t->n, NAME(tile_at)(t, i, j), (int)t->n, 0, tile, TILE);
    for (size_t r = 0; r < m; r++) {
        for (size_t c = 0; c < n; c++) {
            t->square[(i * TILE + r) * t->n + j * TILE + c] = (float)tile[r * TILE + c];
            t->square[(j * TILE + c) * t->n + i * TILE + r] = (float)tile[r * TILE + c];
        }
    }
    return S24_OK;
}

static s24_status NAME(run_steps)(const s24_compute_env *env, REAL *a, size_t n, bool invert, s24_error *err)
{
    TILING t = {.env = env, .a = a, .n = n,
                .inverse = s24_alloc(TILE * TILE * sizeof *a, err),
                .scratch = s24_alloc(env->threads * TILE * TILE * sizeof *a, err)};
    s24_status status = t.inverse && t.scratch ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK && invert) {
        t.panel = s24_alloc(TILE * n * sizeof *a, err);
        status = t.panel ? S24_OK : S24_ERR_SYSTEM;
    }
    for (t.step = 0; status == S24_OK && t.step < NAME(tiles_of)(n); t.step++) {
        status = s24_cancelled(env, err);
        if (status == S24_OK) {
            status = invert ? NAME(inverse_step)(&t, err) : NAME(cholesky_step)(&t, err);
        }
    }
    free(t.inverse);
    free(t.scratch);
    free(t.panel);
    return status;
}

s24_status NAME(s24_cholesky)(const s24_compute_env *env, REAL *a, size_t n, s24_error *err)
{
    return NAME(run_steps)(env, a, n, false, err);
}

s24_status NAME(s24_invert_lower)(const s24_compute_env *env, REAL *l, size_t n, s24_error *err)
{
    return NAME(run_steps)(env, l, n, true, err);
}

s24_status NAME(s24_square_lower)(const s24_compute_env *env, REAL *x, size_t n, float *square, s24_error *err)
{
    const s24_stages stages = {.work = NAME(square_tile)};
    const size_t tiles = NAME(tiles_of)(n);
    TILING t = {.env = env, .a = x, .n = n, .square = square,
                .scratch = s24_alloc(env->threads * TILE * TILE * sizeof *x, err)};
    const s24_status status = t.scratch ? s24_run(&stages, &t, tiles * (tiles + 1) / 2, env->threads, err) : S24_ERR_SYSTEM;
    free(t.scratch);
    return status;
}
