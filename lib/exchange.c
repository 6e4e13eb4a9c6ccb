#include "exchange.h"

#include <math.h>
#include <string.h>

#include "mem.h"

s24_status s24_exchange_init(s24_exchange *x, const s24_solve_kernels *kernels, const s24_gram *gram, const double *damping,
                             s24_error *err)
{
    const size_t k = gram->k;
    *x = (s24_exchange){.kernels = kernels, .k = k, .h = s24_alloc(k * k * sizeof *x->h, err)};
    if (!x->h) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < k * k; i++) {
        x->h[i] = (double)gram->h[i];
    }
    for (size_t j = 0; j < k; j++) {
        x->h[j * k + j] += damping[j];
    }
    return S24_OK;
}

void s24_exchange_free(s24_exchange *x)
{
    free(x->h);
    *x = (s24_exchange){.k = 0};
}

/* ---------------------------------------------------------------- the state of a row */

typedef struct state {
    const s24_solve_kernels *kernels;
    size_t ld;      /* k, up to a multiple of 8 */
    double *t;      /* [ld, ld], the lower triangle */
    double *y;      /* [ld] */
    double *column; /* [ld] */
} state;

static size_t stride_of(size_t k)
{
    return (k + 7) / 8 * 8;
}

size_t s24_exchange_scratch(size_t k)
{
    const size_t ld = stride_of(k);
    return ld * ld + 2 * ld;
}

static void sweep(const state *s, size_t c, bool in)
{
    s->kernels->sweep(s->t, s->y, s->column, s->ld, c, in);
}

/* Sweeps element c of a group's block in, or out again: the two differ in a sign. */
static void sweep_block(double t[4][4], double y[4], unsigned c, bool in)
{
    const double inverse = 1 / t[c][c], sign = in ? inverse : -inverse, yc = y[c];
    double column[4];
    for (unsigned i = 0; i < 4; i++) {
        column[i] = i == c ? 0 : t[i][c];
    }
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 4; j++) {
            t[i][j] -= column[i] * inverse * column[j];
        }
        y[i] -= column[i] * inverse * yc;
    }
    for (unsigned i = 0; i < 4; i++) {
        t[i][c] = t[c][i] = column[i] * sign;
    }
    t[c][c] = -inverse;
    y[c] = yc * sign;
}

/* By how much the error is less with a pair kept than with none of the group: y_S' inverse(T_SS) y_S. */
static double gain_of(double t[4][4], const double y[4], unsigned p, unsigned q)
{
    const double determinant = t[p][p] * t[q][q] - t[p][q] * t[p][q];
    if (!(determinant > 1e-12 * t[p][p] * t[q][q])) {
        return -INFINITY;
    }
    return (t[q][q] * y[p] * y[p] - 2 * t[p][q] * y[p] * y[q] + t[p][p] * y[q] * y[q]) / determinant;
}

/* The pair that is best dropped of a group, and by how much that is better than `now`. */
static unsigned best_pair(const state *s, size_t group, unsigned now, double *better)
{
    double t[4][4], y[4];
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j <= i; j++) {
            t[i][j] = t[j][i] = s->t[(4 * group + i) * s->ld + 4 * group + j];
        }
        y[i] = s->y[4 * group + i];
    }
    sweep_block(t, y, s24_pair_kept[now][0], false);
    sweep_block(t, y, s24_pair_kept[now][1], false);
    const double gain_now = gain_of(t, y, s24_pair_kept[now][0], s24_pair_kept[now][1]);
    double best = gain_now;
    unsigned pair = now;
    for (unsigned i = 0; i < S24_PAIRS; i++) {
        const double gain = gain_of(t, y, s24_pair_kept[i][0], s24_pair_kept[i][1]);
        if (gain > best) {
            best = gain;
            pair = i;
        }
    }
    *better = best - gain_now;
    return pair;
}

static bool kept(unsigned pair, size_t i)
{
    return s24_pair_kept[pair][0] == i || s24_pair_kept[pair][1] == i;
}

static void exchange_pair(const state *s, size_t group, unsigned from, unsigned to)
{
    for (size_t i = 0; i < 4; i++) {
        if (kept(to, i) && !kept(from, i)) {
            sweep(s, 4 * group + i, true);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (kept(from, i) && !kept(to, i)) {
            sweep(s, 4 * group + i, false);
        }
    }
}

/* w' H w, and y = H w. */
static double start(const s24_exchange *x, const float *w, const state *s)
{
    const size_t k = x->k;
    double energy = 0;
    memset(s->t, 0, (s->ld * s->ld + 2 * s->ld) * sizeof *s->t);
    for (size_t i = 0; i < k; i++) {
        const double *row = x->h + i * k;
        for (size_t j = 0; j < i; j++) {
            s->y[i] += row[j] * (double)w[j];
            s->y[j] += row[j] * (double)w[i];
        }
        s->y[i] += row[i] * (double)w[i];
        memcpy(s->t + i * s->ld, row, (i + 1) * sizeof *row);
    }
    for (size_t i = 0; i < k; i++) {
        energy += s->y[i] * (double)w[i];
    }
    return energy;
}

#define WORTH 1e-7 /* of the row's error: exchanges that gain less are not made */

void s24_exchange_row(const s24_exchange *x, const float *w, float *v, uint8_t *pairs, unsigned passes, double *scratch)
{
    const size_t k = x->k, ld = stride_of(k);
    const state s = {.kernels = x->kernels, .ld = ld, .t = scratch, .y = scratch + ld * ld, .column = scratch + ld * ld + ld};
    double error = start(x, w, &s);
    for (size_t j = 0; j < k; j++) {
        if (kept(pairs[j / 4], j % 4)) {
            error -= s.y[j] * s.y[j] / s.t[j * ld + j];
            sweep(&s, j, true);
        }
    }
    bool changed = true;
    for (unsigned n = 0; n < passes && changed; n++) {
        changed = false;
        for (size_t g = 0; g < k / 4; g++) {
            double better;
            const unsigned pair = best_pair(&s, g, pairs[g], &better);
            if (pair != pairs[g] && better > WORTH * error) {
                exchange_pair(&s, g, pairs[g], pair);
                pairs[g] = (uint8_t)pair;
                error -= better;
                changed = true;
            }
        }
    }
    for (size_t j = 0; j < k; j++) {
        v[j] = kept(pairs[j / 4], j % 4) ? (float)s.y[j] : 0;
    }
}
