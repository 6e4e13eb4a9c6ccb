/*
 * Calibrated pruning of one matrix in memory. Masks (magnitude, wanda, ria, or a given one), solvers that rewrite the
 * kept weights too (sparsegpt, obs), and the refit of any mask; what is best is decided on held-out samples.
 */
#ifndef S24_LIB_SOLVE_H
#define S24_LIB_SOLVE_H

#include "linalg.h"

#define S24_DAMPING_AUTO (-1.0)

typedef struct s24_solve_options {
    const char *method;   /* "magnitude", "wanda", "ria", "sparsegpt", "obs"; NULL: the mask that is given */
    const uint8_t *mask;  /* positions as s24_tensor has them, [rows, ceil(groups / 2)]: where method is NULL */
    bool refit;           /* of masks; solvers: of obs always */
    const int32_t *order; /* [cols]: which input (channel) each column takes; NULL: 0, 1, 2, ... */
    size_t taps;          /* of a convolution: rows that take the same outputs' parts, see s24_solve; 0 is 1 */
    double damping;       /* relative to the mean of X'X's diagonal; S24_DAMPING_AUTO: sparsegpt 0.01, others chosen */
    unsigned threads;     /* 0: every CPU this process may use */
    s24_isa isa;
    const volatile sig_atomic_t *cancel;               /* not 0: stop, with S24_ERR_STOPPED; may be NULL */
    void (*progress)(void *user, double done);         /* 0..1, from one thread at a time; may be NULL */
    void *user;
} s24_solve_options;

#define S24_SOLVE_OPTIONS_INIT {NULL, NULL, false, NULL, 0, S24_DAMPING_AUTO, 0, S24_ISA_BEST, NULL, NULL, NULL}

/*
 * weights [rows, cols], f32 or f64 (dtype), contiguous, finite: becomes the solution, two elements of each group of
 * four unequal to zero at most. positions (out): as s24_tensor has them.
 *
 * cal: of cols inputs, or of cols * taps: then every `taps` rows are the taps of one output of a convolution (canonical
 * rows of OIHW along axis 1 are numbered so: taps = H W), solved together as one row of the im2col matrix. Inputs are
 * numbered as the elements of an output's weights are, channel * taps + tap, which is how im2col (unfold) gives them.
 * NULL: for magnitude without refit. Masks without a refit leave the kept values bit for bit; solutions are computed in
 * f32 from weights scaled by a power of two. errors may be NULL, and then they are not measured; nothing of it is known
 * without X'X. Memory: besides weights and cal up to 24 K^2 bytes for K inputs (36 K^2 where K is at most 2,048), and 21
 * bytes times 512 rows times K for each thread and two more. The result does not depend on the number of threads.
 */
s24_status s24_solve(const s24_solve_options *options, const s24_calibration *cal, size_t rows, size_t cols,
                     s24_dtype dtype, void *weights, uint8_t *positions, s24_output_error *errors, s24_error *err);

#endif
