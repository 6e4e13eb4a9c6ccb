#include "eliminate.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "solve_kernels.h"

const unsigned char s24_pair_dropped[S24_PAIRS][2] = {{2, 3}, {1, 3}, {0, 3}, {1, 2}, {0, 2}, {0, 1}};
const unsigned char s24_pair_kept[S24_PAIRS][2] = {{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}};

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

/* H with its columns from last to first, the lower triangle: its factor is then U's inverse, from last to first. */
typedef struct reversed {
    const s24_columns *columns;
    unsigned parts;
    const double *damping;
    double factor, *a;
} reversed;

static void fill_reversed(void *ctx, size_t i0, size_t m, size_t j0, size_t n)
{
    const reversed *r = ctx;
    const size_t k = r->columns->k;
    for (size_t i = i0; i < i0 + m; i++) {
        const size_t from = k - 1 - i;
        for (size_t j = j0; j < j0 + n && j <= i; j++) {
            r->a[i * k + j] = r->factor * s24_columns_product(r->columns, r->parts, k - 1 - j, from) +
                              (i == j ? r->damping[from] : 0);
        }
    }
}

/* Row group * 4 + i of U, column group * 4 + j, of the reversed inverse factor. */
static double block_at(const double *inverse, size_t k, size_t group, unsigned i, unsigned j)
{
    return i <= j ? inverse[(k - 1 - 4 * group - i) * k + (k - 1 - 4 * group - j)] : 0;
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

static void set_costs(s24_eliminator *e, const double *inverse, s24_rule rule)
{
    for (size_t g = 0; g < e->k / 4; g++) {
        double t[4][4];
        for (unsigned i = 0; i < 16; i++) {
            t[i / 4][i % 4] = block_at(inverse, e->k, g, i / 4, i % 4);
        }
        for (unsigned s = 0; s < S24_PAIRS; s++) {
            const unsigned p = s24_pair_dropped[s][0], q = s24_pair_dropped[s][1];
            e->costs[g][s] = rule == S24_RULE_OBS ? obs_cost(t, p, q) : sparsegpt_cost(t, p, q);
        }
    }
}

static void set_factor(s24_eliminator *e, const double *inverse)
{
    const size_t k = e->k;
    for (size_t i = 0; i < k; i++) {
        memset(e->u + i * k, 0, i * sizeof *e->u);
        for (size_t j = i; j < k; j++) {
            e->u[i * k + j] = (float)inverse[(k - 1 - i) * k + (k - 1 - j)];
        }
    }
}

s24_status s24_eliminator_init(s24_eliminator *e, const s24_compute_env *env, const s24_columns *columns, unsigned parts,
                               s24_rule rule, const double *damping, s24_error *err)
{
    const size_t k = columns->k;
    *e = (s24_eliminator){.k = k};
    double *a = s24_alloc(k * k * sizeof *a, err);
    s24_status status = a ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK) {
        reversed r = {columns, parts, damping, 1 / power_mean(columns->cal, parts, 1), a};
        status = s24_fill_triangle(env, k, fill_reversed, &r, err);
    }
    if (status == S24_OK) {
        status = s24_cholesky(env, a, k, err);
    }
    status = status == S24_OK ? s24_invert_lower(env, a, k, err) : status;
    if (status == S24_OK) {
        e->u = s24_alloc(k * k * sizeof *e->u, err);
        e->costs = s24_alloc(k / 4 * sizeof *e->costs, err);
        status = e->u && e->costs ? S24_OK : S24_ERR_SYSTEM;
    }
    if (status == S24_OK && rule == S24_RULE_SPARSEGPT) {
        e->drop = s24_calloc(k, sizeof *e->drop, err);
        status = e->drop ? S24_OK : S24_ERR_SYSTEM;
    }
    if (status == S24_OK) {
        set_costs(e, a, rule);
        set_factor(e, a);
    }
    for (size_t j = 0; e->drop && j < k; j++) {
        e->drop[j] = !(s24_columns_product(columns, parts, j, j) > 0);
    }
    free(a);
    return status;
}

void s24_eliminator_free(s24_eliminator *e)
{
    free(e->u);
    free(e->costs);
    free(e->drop);
    *e = (s24_eliminator){.k = 0};
}

/* ---------------------------------------------------------------- rows */

void s24_eliminate(const s24_eliminator *el, const s24_solve_kernels *kernels, const s24_blas *blas, float *w, size_t rows,
                   uint8_t *pairs, bool fixed, float *scratch)
{
    const size_t k = el->k, block = S24_ELIMINATE_BLOCK, lanes = S24_ELIMINATE_LANES;
    for (size_t i = 0; el->drop && i < rows * k; i++) {
        w[i] = el->drop[i % k] ? 0 : w[i];
    }
    for (size_t begin = 0; begin < k; begin += block) {
        const size_t cols = k - begin < block ? k - begin : block, end = begin + cols;
        for (size_t r = 0; r < rows; r += lanes) {
            kernels->eliminate(el, begin, cols, w + r * k, rows - r < lanes ? rows - r : lanes, pairs + r * (k / 4), fixed,
                               scratch + r * block);
        }
        if (end < k) {
            blas->sgemm(S24_ROW_MAJOR, S24_PLAIN, S24_PLAIN, (int)rows, (int)(k - end), (int)cols, -1, scratch, (int)block,
                        el->u + begin * k + end, (int)k, 1, w + end, (int)k);
        }
    }
}
