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

/*
 * Of a row's planes only what is kept: two elements a group, and zeros up to a multiple of four. Directions are then
 * compressed 2:4 matrices, and their products with H sparse ones: 1.5 times as fast as dense ones by a BLAS, with no
 * K x K to be laid out anew.
 */
typedef struct planes {
    size_t groups, kept;     /* of a row; kept: floats of its packed planes */
    double *rz, *error;      /* [rows]: r'P r, 0 where a row is done; (w - v)'H(w - v) */
    double *little;          /* [rows]: how many steps on end gained little */
    float *q;                /* [rows, k]: p H */
    float *v, *r, *z, *p;    /* [rows, kept] */
    float *d;                /* [rows, k], before z and p, in their place: w - v */
    uint8_t *positions;      /* [rows, ceil(groups / 2)] */
    pair_inverse (*inverse)[S24_PAIRS];
} planes;

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

/* z = P r */
static void precondition(const planes *s, const uint8_t *pairs, const float *r, float *z)
{
    for (size_t i = 0; i < s->groups; i++) {
        const pair_inverse *m = &s->inverse[i][pairs[i]];
        const float x = r[2 * i], y = r[2 * i + 1];
        z[2 * i] = m->a * x + m->b * y;
        z[2 * i + 1] = m->b * x + m->c * y;
    }
}

/* What is kept of x [k]; it may be in x itself. */
static void pack_row(const planes *s, const uint8_t *pairs, const float *x, float *kept)
{
    for (size_t i = 0; i < s->groups; i++) {
        const float first = x[4 * i + s24_pair_kept[pairs[i]][0]], second = x[4 * i + s24_pair_kept[pairs[i]][1]];
        kept[2 * i] = first;
        kept[2 * i + 1] = second;
    }
    for (size_t i = 2 * s->groups; i < s->kept; i++) {
        kept[i] = 0;
    }
}

static void unpack_row(const planes *s, const uint8_t *pairs, const float *kept, float *x)
{
    memset(x, 0, 4 * s->groups * sizeof *x);
    for (size_t i = 0; i < s->groups; i++) {
        x[4 * i + s24_pair_kept[pairs[i]][0]] = kept[2 * i];
        x[4 * i + s24_pair_kept[pairs[i]][1]] = kept[2 * i + 1];
    }
}

/* q += damping p, of what is kept. */
static void damp_row(const planes *s, const double *damping, const uint8_t *pairs, const float *p, float *q)
{
    for (size_t i = 0; i < s->groups; i++) {
        q[2 * i] += (float)damping[4 * i + s24_pair_kept[pairs[i]][0]] * p[2 * i];
        q[2 * i + 1] += (float)damping[4 * i + s24_pair_kept[pairs[i]][1]] * p[2 * i + 1];
    }
}

static size_t kept_floats(size_t k)
{
    return (k / 2 + 3) / 4 * 4;
}

size_t s24_refit_scratch(const s24_gram *g, size_t rows)
{
    const size_t groups = g->k / 4, positions = rows * ((groups + 1) / 2);
    return rows * (g->k + 4 * kept_floats(g->k)) + 3 * rows * (sizeof(double) / sizeof(float)) + groups * S24_PAIRS * 3 +
           positions / sizeof(float) + 1;
}

static planes cut(const s24_gram *g, size_t rows, float *scratch)
{
    planes s = {.groups = g->k / 4, .kept = kept_floats(g->k), .rz = (double *)(void *)scratch};
    s.error = s.rz + rows;
    s.little = s.error + rows;
    s.q = (float *)(void *)(s.little + rows);
    s.v = s.q + rows * g->k;
    s.r = s.v + rows * s.kept;
    s.z = s.d = s.r + rows * s.kept;
    s.p = s.z + rows * s.kept;
    s.inverse = (pair_inverse (*)[S24_PAIRS])(void *)(s.p + rows * s.kept);
    s.positions = (uint8_t *)(s.inverse + s.groups);
    return s;
}

/* q = p H. The fastest kernels whatever the caller's cap, as the BLAS's are: where sums are cut is the kernels'. */
static s24_status multiply(const planes *s, const s24_gram *g, size_t rows, s24_error *err)
{
    static const s24_matmul_options alone = {.threads = 1, .isa = S24_ISA_BEST, .compute = S24_COMPUTE_F32};
    const s24_tensor p = {
        .values = s->p, .positions = s->positions, .dtype = S24_F32, .source_dtype = S24_F32, .rank = 2, .axis = 1,
        .shape = {rows, g->k}, .num_elements = rows * g->k,
        .geometry = {.rows = rows, .cols = g->k, .groups = s->groups, .row_values = s->kept,
                     .row_positions = (s->groups + 1) / 2, .num_elements = rows * g->k},
    };
    return s24_sparse_matmul(&p, g->h, g->k, g->k, s->q, g->k, &alone, err);
}

/* r = (H + damping) (w - v) of what is kept, which is left to be explained; z = p = P r. */
static void begin(const planes *s, const s24_gram *g, const double *damping, const s24_solve_kernels *kernels,
                  const s24_blas *blas, const float *w, const float *v, size_t rows, const uint8_t *pairs)
{
    const size_t k = g->k;
    for (size_t i = 0; i < rows * k; i++) {
        s->d[i] = w[i] - v[i];
    }
    times_gram(g, blas, s->d, rows, s->q);
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *of_row = pairs + i * s->groups;
        float *q = s->q + i * k;
        kernels->damp(damping, s->d + i * k, k, q);
        s->little[i] = 0;
        s->error[i] = kernels->dot(s->d + i * k, q, k);
        pack_row(s, of_row, q, s->r + i * s->kept);
        pack_row(s, of_row, v + i * k, s->v + i * s->kept);
        s24_pairs_put(of_row, s->groups, s->positions + i * ((s->groups + 1) / 2));
    }
    memset(s->z, 0, 2 * rows * s->kept * sizeof *s->z); /* and p: what pads them, too */
    for (size_t i = 0; i < rows; i++) {
        float *r = s->r + i * s->kept, *z = s->z + i * s->kept;
        precondition(s, pairs + i * s->groups, r, z);
        s->rz[i] = kernels->dot(r, z, s->kept);
    }
    memcpy(s->p, s->z, rows * s->kept * sizeof *s->p);
}

#define LITTLE_STEPS 2 /* after one that gains little another may gain more */

/* A row's step along p, with q = p H. False: there is no other to make, or not much to gain by it. */
static bool step_row(const planes *s, const s24_solve_kernels *kernels, const double *damping, double enough, size_t row,
                     const uint8_t *pairs)
{
    const size_t n = s->kept;
    float *p = s->p + row * n, *q = s->q + row * 4 * s->groups, *r = s->r + row * n, *z = s->z + row * n;
    pack_row(s, pairs, q, q);
    damp_row(s, damping, pairs, p, q);
    const double curvature = kernels->dot(p, q, n);
    if (!(curvature > 0)) {
        return false;
    }
    const float alpha = (float)(s->rz[row] / curvature);
    kernels->advance(alpha, p, q, n, s->v + row * n, r);
    precondition(s, pairs, r, z);
    const double rz = kernels->dot(r, z, n);
    const float beta = (float)(rz / s->rz[row]);
    kernels->turn(beta, z, n, p);
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
    const planes s = cut(g, rows, scratch);
    for (size_t i = 0; i < s.groups * S24_PAIRS; i++) {
        s.inverse[i / S24_PAIRS][i % S24_PAIRS] = invert_pair(g, damping, i / S24_PAIRS, (unsigned)(i % S24_PAIRS));
    }
    begin(&s, g, damping, kernels, env->blas, w, v, rows, pairs);
    bool moving = true;
    for (unsigned n = 0; n < steps && moving; n++) {
        s24_status status = s24_cancelled(env, err);
        status = status == S24_OK ? multiply(&s, g, rows, err) : status;
        if (status != S24_OK) {
            return status;
        }
        moving = false;
        for (size_t i = 0; i < rows; i++) {
            if (s.rz[i] > 0 && !step_row(&s, kernels, damping, enough, i, pairs + i * s.groups)) {
                s.rz[i] = 0;
            }
            moving |= s.rz[i] > 0;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        unpack_row(&s, pairs + i * s.groups, s.v + i * s.kept, v + i * g->k);
    }
    return S24_OK;
}
