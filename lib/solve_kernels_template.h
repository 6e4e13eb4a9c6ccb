/*
 * The bodies of s24_solve_kernels. Sixteen rows lie side by side, for the columns of a block:
 *
 *     column 0    r0 r1 ... r15        one vector of AVX-512, two of AVX2, four of SSE2 and NEON
 *     column 1    r0 r1 ... r15
 *     ...
 *
 * INLINE is defined before this file is included, and KERNELS, the name of the table.
 */
#include <string.h>

#include "solve_kernels.h"

#define LANES S24_ELIMINATE_LANES
#define BLOCK S24_ELIMINATE_BLOCK

typedef float lane __attribute__((vector_size(4 * LANES)));
typedef int32_t lane_mask __attribute__((vector_size(4 * LANES)));
typedef double eight __attribute__((vector_size(64), aligned(8), may_alias));

INLINE void choose_pairs(const s24_pair_cost costs[S24_PAIRS], const lane *w, lane_mask *pair)
{
    lane best = {0};
    lane_mask chosen = {0};
    for (int32_t s = 0; s < S24_PAIRS; s++) {
        const lane p = w[s24_pair_dropped[s][0]], q = w[s24_pair_dropped[s][1]];
        const lane cost = costs[s].a * p * p + 2 * costs[s].b * p * q + costs[s].c * q * q;
        const lane_mask less = s == 0 ? cost == cost : cost < best;
        chosen = (less & s) | (~less & chosen);
        best = (lane)((less & (lane_mask)cost) | (~less & (lane_mask)best));
    }
    *pair = chosen;
}

INLINE void set_errors(const s24_pair_cost costs[S24_PAIRS], const lane *w, const lane_mask *pair, lane *e)
{
    lane_mask sum[4] = {{0}, {0}, {0}, {0}};
    for (int32_t s = 0; s < S24_PAIRS; s++) {
        const lane p = w[s24_pair_dropped[s][0]], q = w[s24_pair_dropped[s][1]];
        const lane_mask here = *pair == s;
        for (unsigned i = 0; i < 4; i++) {
            sum[i] |= here & (lane_mask)(costs[s].e[i][0] * p + costs[s].e[i][1] * q);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        e[i] = (lane)sum[i];
    }
}

/* w_c -= sum_i e_i u_ic for the columns of the block from the group's first; u: its first row of U there. */
INLINE void spread_errors(const float *u, size_t ldu, size_t count, const lane *e, lane *w)
{
    const lane e0 = e[0], e1 = e[1], e2 = e[2], e3 = e[3];
    for (size_t c = 0; c < count; c++) {
        w[c] -= (e0 * u[c] + e1 * u[ldu + c]) + (e2 * u[2 * ldu + c] + e3 * u[3 * ldu + c]);
    }
}

INLINE void zero_pairs(const lane_mask *pair, lane *w)
{
    lane_mask keep[4] = {{0}, {0}, {0}, {0}};
    for (int32_t s = 0; s < S24_PAIRS; s++) {
        const lane_mask here = *pair == s;
        keep[s24_pair_kept[s][0]] |= here;
        keep[s24_pair_kept[s][1]] |= here;
    }
    for (unsigned i = 0; i < 4; i++) {
        w[i] = (lane)((lane_mask)w[i] & keep[i]);
    }
}

static void eliminate(const s24_eliminator *el, size_t begin, size_t cols, float *w, size_t rows, uint8_t *pairs, bool fixed)
{
    const size_t k = el->k, groups = k / 4;
    lane columns[BLOCK], errors[4];
    for (size_t c = 0; c < cols; c++) {
        for (size_t r = 0; r < LANES; r++) {
            columns[c][r] = r < rows ? w[r * k + begin + c] : 0;
        }
    }
    for (size_t c = 0; c < cols; c += 4) {
        const size_t group = (begin + c) / 4;
        lane_mask pair = {0};
        if (!fixed) {
            choose_pairs(el->costs[group], columns + c, &pair);
        }
        for (size_t r = 0; r < rows; r++) {
            if (fixed) {
                pair[r] = pairs[r * groups + group];
            } else {
                pairs[r * groups + group] = (uint8_t)pair[r];
            }
        }
        set_errors(el->costs[group], columns + c, &pair, errors);
        spread_errors(el->u + (begin + c) * BLOCK + c, BLOCK, cols - c, errors, columns + c);
        zero_pairs(&pair, columns + c);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            w[r * k + begin + c] = columns[c][r];
        }
    }
}

static void sweep(double *t, double *y, double *column, size_t ld, size_t c, bool in)
{
    memcpy(column, t + c * ld, c * sizeof *column);
    for (size_t i = c; i < ld; i++) {
        column[i] = t[i * ld + c];
    }
    const double inverse = 1 / column[c], sign = in ? inverse : -inverse, yc = y[c];
    column[c] = 0;
    for (size_t i = 0; i < ld; i++) {
        const double f = column[i] * inverse;
        double *row = t + i * ld;
        for (size_t j = 0; j <= i && f != 0; j += 8) {
            *(eight *)(void *)(row + j) -= f * *(const eight *)(const void *)(column + j);
        }
        y[i] -= f * yc;
    }
    for (size_t i = 0; i < c; i++) {
        t[c * ld + i] = column[i] * sign;
    }
    for (size_t i = c; i < ld; i++) {
        t[i * ld + c] = column[i] * sign;
    }
    t[c * ld + c] = -inverse;
    y[c] = yc * sign;
}

/* ---------------------------------------------------------------- masks */

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef double four_wide __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t four_long __attribute__((vector_size(32), aligned(8), may_alias));
typedef int32_t four_mask __attribute__((vector_size(16), aligned(4), may_alias));

/*
 * The pair to drop by which of two elements is kept before the other, a bit each: 0 before 1, 0 before 2, 0 before 3, 1
 * before 2, 1 before 3, 2 before 3. Whoever loses twice or three times is dropped. 24 of the 64 are orders; the others
 * are 0.
 */
static const uint8_t pair_by_order[64] = {
    5, 5, 0, 3, 0, 0, 0, 3, 4, 0, 4, 3, 0, 0, 0, 3,
    0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 0, 0,
    5, 5, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 0, 0, 2, 1, 0, 1, 2, 0, 0, 0, 2, 0, 0, 0
};

INLINE uint8_t pair_of_scores(const double s[4])
{
    const unsigned order = (unsigned)(s[0] >= s[1]) | (unsigned)(s[0] >= s[2]) << 1 | (unsigned)(s[0] >= s[3]) << 2 |
                           (unsigned)(s[1] >= s[2]) << 3 | (unsigned)(s[1] >= s[3]) << 4 | (unsigned)(s[2] >= s[3]) << 5;
    return pair_by_order[order];
}

static void score(const float *w, const double *a, const double *c, double b, size_t groups, uint8_t *pairs)
{
    for (size_t g = 0; g < groups; g++) {
        four_wide factor = *(const four_wide *)(const void *)(a + 4 * g);
        if (c) {
            factor += b * *(const four_wide *)(const void *)(c + 4 * g);
        }
        double s[4];
        const four_mask magnitudes = *(const four_mask *)(const void *)(w + 4 * g) & 0x7fffffff;
        *(four_wide *)(void *)s = __builtin_convertvector((four)magnitudes, four_wide) * factor;
        pairs[g] = pair_of_scores(s);
    }
}

static const int32_t keep[S24_PAIRS][4] = {{-1, -1, 0, 0}, {-1, 0, -1, 0}, {0, -1, -1, 0},
                                           {-1, 0, 0, -1}, {0, -1, 0, -1}, {0, 0, -1, -1}};

static void drop(float *w, size_t groups, const uint8_t *pairs)
{
    for (size_t g = 0; g < groups; g++) {
        *(four_mask *)(void *)(w + 4 * g) &= *(const four_mask *)(const void *)keep[pairs[g]];
    }
}

/* ---------------------------------------------------------------- alternating directions, conjugate gradients */

static void relax(const float *w, const float *scale, const float *delta, float rho, float relaxation, size_t groups, float *v,
                  float *y, uint8_t *pairs)
{
    for (size_t i = 0; i < 4 * groups; i += 4) {
        four *vi = (four *)(void *)(v + i), *yi = (four *)(void *)(y + i);
        const four dense = *(const four *)(const void *)(w + i) * *(const four *)(const void *)(scale + i) +
                           *(const four *)(const void *)(delta + i);
        const four u = relaxation * dense + (1 - relaxation) * *vi, t = u + *yi / rho;
        const four_mask size = (four_mask)t & 0x7fffffff;
        float s[4];
        memcpy(s, &size, sizeof s);
        const unsigned order = (unsigned)(s[0] >= s[1]) | (unsigned)(s[0] >= s[2]) << 1 | (unsigned)(s[0] >= s[3]) << 2 |
                               (unsigned)(s[1] >= s[2]) << 3 | (unsigned)(s[1] >= s[3]) << 4 | (unsigned)(s[2] >= s[3]) << 5;
        pairs[i / 4] = pair_by_order[order];
        *vi = (four)((four_mask)t & *(const four_mask *)(const void *)keep[pairs[i / 4]]);
        *yi += rho * (u - *vi);
    }
}

static double dot(const float *a, const float *b, size_t n)
{
    four_wide sum[2] = {{0}, {0}};
    for (size_t i = 0; i < n; i += 4) {
        const four x = *(const four *)(const void *)(a + i), y = *(const four *)(const void *)(b + i);
        sum[i / 4 % 2] += __builtin_convertvector(x, four_wide) * __builtin_convertvector(y, four_wide);
    }
    const four_wide both = sum[0] + sum[1];
    return (both[0] + both[2]) + (both[1] + both[3]);
}

static void advance(float alpha, const float *p, const float *q, size_t n, float *v, float *r)
{
    for (size_t i = 0; i < n; i += 4) {
        *(four *)(void *)(v + i) += alpha * *(const four *)(const void *)(p + i);
        *(four *)(void *)(r + i) -= alpha * *(const four *)(const void *)(q + i);
    }
}

static void damp(const double *d, const float *p, size_t n, float *q)
{
    for (size_t i = 0; i < n; i += 4) {
        const four f = __builtin_convertvector(*(const four_wide *)(const void *)(d + i), four);
        *(four *)(void *)(q + i) += f * *(const four *)(const void *)(p + i);
    }
}

static void turn(float beta, const float *z, size_t n, float *p)
{
    for (size_t i = 0; i < n; i += 4) {
        four *pi = (four *)(void *)(p + i);
        *pi = *(const four *)(const void *)(z + i) + beta * *pi;
    }
}

static bool survey(const float *w, size_t n, double *cols, double *sum, double *largest)
{
    four_wide total = {0}, most = {0};
    four_mask beyond = {0};
    for (size_t j = 0; j < n; j += 4) {
        const four_mask bits = *(const four_mask *)(const void *)(w + j) & 0x7fffffff;
        const four_wide x = __builtin_convertvector((four)bits, four_wide);
        beyond |= bits >= 0x7f800000;
        total += x;
        const four_long more = x > most;
        most = (four_wide)(((four_long)x & more) | ((four_long)most & ~more));
        if (cols) {
            *(four_wide *)(void *)(cols + j) += x;
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        *largest = most[i] > *largest ? most[i] : *largest;
    }
    *sum = (total[0] + total[2]) + (total[1] + total[3]);
    return !(beyond[0] | beyond[1] | beyond[2] | beyond[3]);
}

const s24_solve_kernels KERNELS = {.eliminate = eliminate, .sweep = sweep, .score = score, .relax = relax, .dot = dot,
                                   .advance = advance, .damp = damp, .turn = turn, .drop = drop, .survey = survey};
