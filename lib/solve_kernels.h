/*
 * What solvers spend their time in besides products: one body, lib/solve_kernels_template.h, in vectors of the
 * compiler, instantiated for each instruction set. Every element is computed by the same operations in the same order,
 * so that results do not depend on which of them runs.
 */
#ifndef S24_LIB_SOLVE_KERNELS_H
#define S24_LIB_SOLVE_KERNELS_H

#include "eliminate.h"

typedef struct s24_solve_kernels {
    /*
     * Columns [begin, begin + cols) of up to S24_ELIMINATE_LANES rows w [rows, k], as s24_eliminate: cols at most
     * S24_ELIMINATE_BLOCK.
     */
    void (*eliminate)(const s24_eliminator *el, size_t begin, size_t cols, float *w, size_t rows, uint8_t *pairs, bool fixed);
    /*
     * t [ld, ld], the lower triangle of a symmetric matrix, y [ld]: column c swept in, or out again. column [ld] is
     * scratch; ld is a multiple of 8. What is above the diagonal is overwritten up to the next multiple of 8.
     */
    void (*sweep)(double *t, double *y, double *column, size_t ld, size_t c, bool in);
    /*
     * Scores |w_j| (a_j + b c_j) of 4 * groups elements, in f64 (c NULL: |w_j| a_j); pairs [groups] are the two of
     * least score, of equal ones the higher index.
     */
    void (*score)(const float *w, const double *a, const double *c, double b, size_t groups, uint8_t *pairs);
    /*
     * A round of s24_alternate for a row's groups, all of it scaled but w: u = relaxation (w scale + delta) + (1 - relaxation) v;
     * v = the two largest of each group of u + y / rho, and which were dropped; y += rho (u - v).
     */
    void (*relax)(const float *w, const float *scale, const float *delta, float rho, float relaxation, size_t groups, float *v,
                  float *y, uint8_t *pairs);
    /* The sum of a_i b_i in f64, in 8 lanes; n is a multiple of 4. And v += alpha p, r -= alpha q; q += d p; p = z + beta p. */
    double (*dot)(const float *a, const float *b, size_t n);
    void (*advance)(float alpha, const float *p, const float *q, size_t n, float *v, float *r);
    void (*damp)(const double *d, const float *p, size_t n, float *q);
    void (*turn)(float beta, const float *z, size_t n, float *p);
    /* The pairs of w become +0.0. */
    void (*drop)(float *w, size_t groups, const uint8_t *pairs);
    /*
     * |w| of n elements, a multiple of 4: added to cols [n] (or NULL), and in 4 lanes; *largest is raised. False: not
     * finite.
     */
    bool (*survey)(const float *w, size_t n, double *cols, double *sum, double *largest);
} s24_solve_kernels;

extern const s24_solve_kernels s24_solve_generic, s24_solve_avx2, s24_solve_avx512;

const s24_solve_kernels *s24_solve_kernels_of(s24_isa cap);

#endif
