/*
 * The factorization of lib/linalg.c, once in f64 and once in f32. Parameters: REAL; NAME(x), which tells the two apart;
 * TILING, a name for their struct; GEMM, the product of s24_blas.
 *
 * Step k, of rows of tiles from the last to the first:
 *
 *         .
 *         .  .
 *         k  k  k
 *         L  L  L  L
 *         L  L  L  L  L
 *
 * A tile of the step is first less one product over everything that is done already, and is then multiplied by the
 * inverse of the step's tile on the diagonal.
 */
typedef struct TILING {
    const s24_compute_env *env;
    REAL *a;        /* [n, n] */
    size_t n, step;
    double *diagonal; /* [TILE, TILE]: the step's tile on the diagonal, then its inverse */
    REAL *inverse;  /* [TILE, TILE]: that inverse */
    REAL *scratch;  /* [threads][TILE, TILE] */
} TILING;

static size_t NAME(tile_edge)(const TILING *t, size_t index)
{
    const size_t left = t->n - index * TILE;
    return left < TILE ? left : TILE;
}

static REAL *NAME(tile_at)(const TILING *t, size_t i, size_t j)
{
    return t->a + i * TILE * t->n + j * TILE;
}

/* Tile (step, job) less what is done: sum over the rows below of L_ks' L_kj. */
static s24_status NAME(subtract_tile)(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const TILING *t = ctx;
    const size_t s = t->step, m = NAME(tile_edge)(t, s), n = NAME(tile_edge)(t, job), below = t->n - s * TILE - m;
    (void)slot;
    (void)err;
    t->env->blas->GEMM(S24_ROW_MAJOR, S24_TRANSPOSED, S24_PLAIN, (int)m, (int)n, (int)below, -1, NAME(tile_at)(t, s + 1, s),
                       (int)t->n, NAME(tile_at)(t, s + 1, job), (int)t->n, 1, NAME(tile_at)(t, s, job), (int)t->n);
    return S24_OK;
}

/* Tile (step, job) times the inverse, transposed, of the tile on the diagonal. */
static s24_status NAME(divide_tile)(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const TILING *t = ctx;
    const size_t m = NAME(tile_edge)(t, t->step);
    REAL *tile = NAME(tile_at)(t, t->step, job), *copy = t->scratch + slot * TILE * TILE;
    (void)err;
    for (size_t r = 0; r < m; r++) {
        memcpy(copy + r * TILE, tile + r * t->n, TILE * sizeof *copy);
    }
    t->env->blas->GEMM(S24_ROW_MAJOR, S24_TRANSPOSED, S24_PLAIN, (int)m, TILE, (int)m, 1, t->inverse, TILE, copy, TILE, 0, tile,
                       (int)t->n);
    return S24_OK;
}

static bool NAME(factor_diagonal)(const TILING *t, float *inverses)
{
    const size_t m = NAME(tile_edge)(t, t->step);
    REAL *tile = NAME(tile_at)(t, t->step, t->step);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j <= i; j++) {
            t->diagonal[i * TILE + j] = (double)tile[i * t->n + j];
        }
    }
    if (!s24_small_factor(t->diagonal, m)) {
        return false;
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j <= i; j++) {
            tile[i * t->n + j] = (REAL)t->diagonal[i * TILE + j];
        }
    }
    s24_small_invert(t->diagonal, m);
    for (size_t i = 0; i < m * TILE; i++) {
        t->inverse[i] = (REAL)t->diagonal[i];
        inverses[t->step * TILE * TILE + i] = (float)t->diagonal[i];
    }
    return true;
}

static s24_status NAME(factor_step)(TILING *t, float *inverses, s24_error *err)
{
    static const s24_stages subtract = {.work = NAME(subtract_tile)}, divide = {.work = NAME(divide_tile)};
    s24_status status = s24_cancelled(t->env, err);
    if (status == S24_OK && (t->step + 1) * TILE < t->n) {
        status = s24_run(&subtract, t, t->step + 1, t->env->threads, err);
    }
    if (status == S24_OK && !NAME(factor_diagonal)(t, inverses)) {
        status = s24_fail(err, S24_ERR_DATA, "X'X is not positive definite in spite of damping; a Hessian that was given "
                          "is no X'X");
    }
    return status == S24_OK && t->step > 0 ? s24_run(&divide, t, t->step, t->env->threads, err) : status;
}

s24_status NAME(s24_factor)(const s24_compute_env *env, REAL *a, size_t n, float *inverses, s24_error *err)
{
    TILING t = {.env = env, .a = a, .n = n,
                .diagonal = s24_alloc(TILE * TILE * sizeof *t.diagonal, err),
                .inverse = s24_alloc(TILE * TILE * sizeof *a, err),
                .scratch = s24_alloc(env->threads * TILE * TILE * sizeof *a, err)};
    s24_status status = t.diagonal && t.inverse && t.scratch ? S24_OK : S24_ERR_SYSTEM;
    for (size_t left = (n - 1) / TILE + 1; status == S24_OK && left > 0; left--) {
        t.step = left - 1;
        status = NAME(factor_step)(&t, inverses, err);
    }
    free(t.diagonal);
    free(t.inverse);
    free(t.scratch);
    return status;
}
