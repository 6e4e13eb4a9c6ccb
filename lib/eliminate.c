#include "eliminate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "mem.h"
#include "solve_kernels.h"

const unsigned char s24_pair_dropped[S24_PAIRS][2] = {{2, 3}, {1, 3}, {0, 3}, {1, 2}, {0, 2}, {0, 1}};
const unsigned char s24_pair_kept[S24_PAIRS][2] = {{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}};
const uint8_t s24_pair_nibble[S24_PAIRS] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};

void s24_pairs_put(const uint8_t *pairs, size_t groups, uint8_t *positions)
{
    for (size_t g = 0; g < groups; g += 2) {
        const unsigned high = g + 1 < groups ? s24_pair_nibble[pairs[g + 1]] : 0;
        positions[g / 2] = (uint8_t)(s24_pair_nibble[pairs[g]] | high << 4);
    }
}

/* ---------------------------------------------------------------- the factor */

#define DEAD_DAMPED 1e-6 /* of the damping: a dead input's */

static double power_mean(const s24_calibration *cal, unsigned parts, double shape)
{
    double sum = 0, live = 0;
    for (size_t j = 0; j < cal->k; j++) {
        const double x = s24_calibration_product(cal, parts, j, j);
        sum += x > 0 ? pow(x, shape) : 0;
        live += x > 0;
    }
    return live > 0 ? sum / live : 1;
}

/*
 * Of 2 X'X / n with 1 for dead inputs, over the mean of its live elements: the damping, and with `dead` what dead
 * inputs get.
 */
static double sparsegpt_damping(const s24_calibration *cal, unsigned parts, double amount, double *dead)
{
    double rows = 0, live = 0;
    for (size_t j = 0; j < cal->k; j++) {
        live += s24_calibration_product(cal, parts, j, j) > 0;
    }
    for (int i = 0; i < S24_PARTS; i++) {
        rows += parts >> i & 1 ? (double)cal->seen[i] : 0;
    }
    const double k = (double)cal->k, unit = (rows > 0 ? 2 / rows : 1) * power_mean(cal, parts, 1);
    const double damping = amount * (live / k + (k - live) / (k * unit));
    *dead = 1 / unit + damping;
    return damping;
}

void s24_damping_plane(const s24_columns *c, unsigned parts, s24_rule rule, double amount, double shape, double *plane)
{
    double dead = DEAD_DAMPED * amount, of_all = 0;
    const double mean = power_mean(c->cal, parts, shape);
    if (rule == S24_RULE_SPARSEGPT) {
        of_all = sparsegpt_damping(c->cal, parts, amount, &dead);
    }
    for (size_t j = 0; j < c->k; j++) {
        const double x = s24_columns_product(c, parts, j, j);
        plane[j] = !(x > 0) ? dead : rule == S24_RULE_SPARSEGPT ? of_all : amount * pow(x, shape) / mean;
    }
}

#define GUARD_SAMPLES 3 /* of 1 to 20 these and 5 protected rare inputs best at the least cost where there are none */

/* Sums of powers of an input. */
static double power_sum(double *const of[S24_PARTS], unsigned parts, size_t input)
{
    double sum = 0;
    for (int i = 0; i < S24_PARTS; i++) {
        sum += parts >> i & 1 && of[i] ? of[i][input] : 0;
    }
    return sum;
}

bool s24_damping_guard(const s24_columns *c, unsigned parts, double *plane)
{
    const s24_calibration *cal = c->cal;
    double squares = 0, fourths = 0, live = 0, once = 0;
    for (size_t j = 0; j < cal->k && cal->fourths[S24_FIT]; j++) {
        const double s2 = power_sum(cal->squares, parts, j), s4 = power_sum(cal->fourths, parts, j);
        squares += s2;
        fourths += s4;
        live += s4 > 0;
        once += s4 > 0 && s2 * s2 < 2 * s4;
    }
    if (!(squares > 0) || !isfinite(fourths)) {
        return false;
    }
    const double dead = (double)cal->k - live, met = once < dead ? once / dead : 1;
    const double active = fourths / squares * (live / squares);
    for (size_t j = 0; j < c->k; j++) {
        if (c->input[j] >= 0) {
            const double s2 = power_sum(cal->squares, parts, (size_t)c->input[j]);
            const double s4 = power_sum(cal->fourths, parts, (size_t)c->input[j]);
            plane[j] += active * (s4 > 0 ? exp(-s2 * s2 / s4 / GUARD_SAMPLES) : met);
        }
    }
    return true;
}

/* H's lower triangle, in f64 or in f32. */
typedef struct damped {
    const s24_columns *columns;
    unsigned parts;
    const double *damping;
    double factor, *a;
    float *rough; /* instead of a; or NULL */
} damped;

static void fill_damped(void *ctx, size_t i0, size_t m, size_t j0, size_t n)
{
    const damped *d = ctx;
    const size_t k = d->columns->k;
    double row[S24_FILL_BLOCK];
    for (size_t i = i0; i < i0 + m; i++) {
        const size_t count = i - j0 + 1 < n ? i - j0 + 1 : n;
        s24_columns_products(d->columns, d->parts, i, j0, count, row);
        for (size_t j = 0; j < count; j++) {
            row[j] *= d->factor;
        }
        row[count - 1] += i == j0 + count - 1 ? d->damping[i] : 0;
        for (size_t j = 0; j < count && d->rough; j++) {
            d->rough[i * k + j0 + j] = (float)row[j];
        }
        if (!d->rough) {
            memcpy(d->a + i * k + j0, row, count * sizeof *row);
        }
    }
}

/* f64 to f32 in place, and what is then too much given back; NULL: no memory, and a is freed. */
static float *narrow(double *a, size_t n, s24_error *err)
{
    unsigned char *bytes = (unsigned char *)a;
    assert(n > 0); /* a calibration has inputs */
    for (size_t i = 0; i < n; i++) {
        const float x = (float)a[i];
        memcpy(bytes + i * sizeof x, &x, sizeof x);
    }
    float *l = realloc(a, n * sizeof *l);
    if (!l) {
        s24_fail_memory(err, n * sizeof *l);
        free(a);
    }
    return l;
}

static s24_status factor_roughly(s24_eliminator *e, const s24_compute_env *env, damped *d, s24_error *err)
{
    e->l = d->rough = s24_alloc(e->k * e->k * sizeof *e->l, err);
    s24_status status = e->l ? s24_fill_triangle(env, e->k, fill_damped, d, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? s24_factor_f32(env, e->l, e->k, e->u, err) : status;
    if (status != S24_OK) {
        free(e->l);
        e->l = d->rough = NULL;
    }
    return status;
}

static s24_status factor(s24_eliminator *e, const s24_compute_env *env, damped *d, s24_error *err)
{
    const size_t n = e->k * e->k;
    d->a = s24_alloc(n * sizeof *d->a, err);
    s24_status status = d->a ? s24_fill_triangle(env, e->k, fill_damped, d, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? s24_factor(env, d->a, e->k, e->u, err) : status;
    if (status != S24_OK) {
        free(d->a);
        return status;
    }
    e->l = narrow(d->a, n, err);
    return e->l ? S24_OK : S24_ERR_SYSTEM;
}

/* Tiles of inverse(L) become those of U, which are their transposes. */
static void transpose_tiles(float *u, size_t k)
{
    for (size_t row = 0; row < k; row++) {
        float *tile = u + row / S24_TILE * S24_TILE * S24_TILE;
        const size_t i = row % S24_TILE;
        for (size_t j = 0; j < i; j++) {
            tile[j * S24_TILE + i] = tile[i * S24_TILE + j];
            tile[i * S24_TILE + j] = 0;
        }
    }
}

/* e = T_:S inverse(M_SS) w_S, M = T'T. */
static s24_pair_cost obs_cost(double t[4][4], unsigned p, unsigned q)
{
    double pp = 0, pq = 0, qq = 0;
    for (unsigned i = 0; i < 4; i++) {
        pp += t[i][p] * t[i][p];
        pq += t[i][p] * t[i][q];
        qq += t[i][q] * t[i][q];
    }
    const double determinant = pp * qq - pq * pq, a = qq / determinant, b = -pq / determinant, c = pp / determinant;
    s24_pair_cost cost = {.a = (float)a, .b = (float)b, .c = (float)c};
    for (unsigned i = 0; i < 4; i++) {
        cost.e[i][0] = (float)(t[i][p] * a + t[i][q] * b);
        cost.e[i][1] = (float)(t[i][p] * b + t[i][q] * c);
    }
    return cost;
}

/* One element after the other: e_p = w_p / T_pp, e_q = (w_q - e_p T_pq) / T_qq; the costs as if they were alone. */
static s24_pair_cost sparsegpt_cost(double t[4][4], unsigned p, unsigned q)
{
    s24_pair_cost cost = {.a = (float)(1 / (t[p][p] * t[p][p])), .c = (float)(1 / (t[q][q] * t[q][q]))};
    cost.e[p][0] = (float)(1 / t[p][p]);
    cost.e[q][0] = (float)(-t[p][q] / (t[p][p] * t[q][q]));
    cost.e[q][1] = (float)(1 / t[q][q]);
    return cost;
}

static void set_costs(s24_eliminator *e, s24_rule rule)
{
    for (size_t g = 0; g < e->k / 4; g++) {
        const float *block = e->u + 4 * g * S24_TILE + 4 * g % S24_TILE;
        double t[4][4];
        for (unsigned i = 0; i < 16; i++) {
            t[i / 4][i % 4] = (double)block[i / 4 * S24_TILE + i % 4];
        }
        for (unsigned s = 0; s < S24_PAIRS; s++) {
            const unsigned p = s24_pair_dropped[s][0], q = s24_pair_dropped[s][1];
            e->costs[g][s] = rule == S24_RULE_OBS ? obs_cost(t, p, q) : sparsegpt_cost(t, p, q);
        }
    }
}

s24_status s24_eliminator_init(s24_eliminator *e, const s24_compute_env *env, const s24_columns *columns, unsigned parts,
                               s24_rule rule, const double *damping, bool rough, s24_error *err)
{
    const size_t k = columns->k;
    damped d = {columns, parts, damping, 1 / power_mean(columns->cal, parts, 1), NULL, NULL};
    *e = (s24_eliminator){.k = k, .u = s24_alloc(k * S24_TILE * sizeof *e->u, err)};
    e->costs = s24_alloc(k / 4 * sizeof *e->costs, err);
    s24_status status = e->u && e->costs ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK && rule == S24_RULE_SPARSEGPT) {
        e->drop = s24_calloc(k, sizeof *e->drop, err);
        status = e->drop ? S24_OK : S24_ERR_SYSTEM;
    }
    if (status == S24_OK && rough) {
        status = factor_roughly(e, env, &d, err);
    }
    if (status == S24_ERR_DATA || (status == S24_OK && !rough)) {
        status = factor(e, env, &d, err);
    }
    if (status == S24_OK) {
        transpose_tiles(e->u, k);
        set_costs(e, rule);
    }
    for (size_t j = 0; status == S24_OK && e->drop && j < k; j++) {
        e->drop[j] = !(s24_columns_product(columns, parts, j, j) > 0);
    }
    return status;
}

void s24_eliminator_free(s24_eliminator *e)
{
    free(e->l);
    free(e->u);
    free(e->costs);
    free(e->drop);
    *e = (s24_eliminator){.k = 0};
}

/* ---------------------------------------------------------------- rows */

size_t s24_eliminate_scratch(const s24_eliminator *e, size_t rows)
{
    return rows * (e->k + S24_ELIMINATE_BLOCK);
}

/* by = what columns [begin, begin + cols) of w have changed by since `by` was a copy of them; or that copy. */
static void take_block(const float *w, size_t k, size_t rows, size_t cols, bool copy, float *by)
{
    for (size_t r = 0; r < rows; r++, w += k, by += S24_ELIMINATE_BLOCK) {
        for (size_t c = 0; c < cols; c++) {
            by[c] = copy ? w[c] : w[c] - by[c];
        }
    }
}

void s24_eliminate(const s24_eliminator *el, const s24_solve_kernels *kernels, const s24_blas *blas, float *w, size_t rows,
                   uint8_t *pairs, bool fixed, float *scratch)
{
    const size_t k = el->k, block = S24_ELIMINATE_BLOCK, lanes = S24_ELIMINATE_LANES;
    float *sums = scratch, *changes = scratch + rows * k; /* of changes times L'; the block's */
    for (size_t i = 0; el->drop && i < rows * k; i++) {
        w[i] = el->drop[i % k] ? 0 : w[i];
    }
    for (size_t begin = 0; begin < k; begin += block) {
        const size_t cols = k - begin < block ? k - begin : block, end = begin + cols;
        take_block(w + begin, k, rows, cols, true, changes);
        if (begin > 0) {
            blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_PLAIN, (int)rows, (int)cols, (int)cols, -1, sums + begin, (int)k,
                        el->u + begin * block, (int)block, 1, w + begin, (int)k);
        }
        for (size_t r = 0; r < rows; r += lanes) {
            kernels->eliminate(el, begin, cols, w + r * k, rows - r < lanes ? rows - r : lanes, pairs + r * (k / 4), fixed);
        }
        if (end < k) {
            take_block(w + begin, k, rows, cols, false, changes);
            blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_TRANSPOSED, (int)rows, (int)(k - end), (int)cols, 1, changes, (int)block,
                        el->l + end * k + begin, (int)k, begin > 0, sums + end, (int)k);
        }
    }
}
