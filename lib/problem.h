/*
 * The matrix that is solved, as solvers see it: rows of padded columns, whatever it is in memory. And masks by score.
 */
#ifndef S24_LIB_PROBLEM_H
#define S24_LIB_PROBLEM_H

#include "solve.h"
#include "solve_kernels.h"

typedef enum s24_solver_kind { S24_SOLVER_MASK, S24_SOLVER_SPARSEGPT, S24_SOLVER_OBS } s24_solver_kind;

/* A mask's score is |w| (a_j + b_i c_j), in f64. */
typedef struct s24_solver {
    const char *name;
    s24_solver_kind kind;
    bool norms; /* needs the inputs' norms */
    bool sums;  /* and the sums of |w| over rows and over columns */
} s24_solver;

const s24_solver *s24_solver_find(const char *name); /* NULL: there is none */

typedef struct s24_problem {
    const s24_solve_options *o;
    const s24_calibration *cal; /* NULL: magnitude */
    s24_compute_env env;
    const s24_solve_kernels *kernels;
    size_t rows;                /* of the matrix that is solved: a run of each tap behind one another */
    size_t taps, cols, run;     /* elements of a run, also padded to a multiple of 4 */
    size_t k;                   /* taps * run: padded columns */
    s24_columns columns;
    s24_dtype dtype;
    unsigned char *weights;     /* [rows, taps, cols] */
    uint8_t *positions;
    bool surveyed;              /* all weights are seen before anything is done; false: mask rows one by one, as they come */
    double scale;               /* a power of two: weights times it are within 1 */
    double *row_sums, *col_sums; /* of |w|, for ria; or NULL */
} s24_problem;

/* Rows of one job, where they are looked at one by one. */
#define S24_TILE_ROWS 256

/*
 * From o, cal, dtype, weights, positions, surveyed, env and kernels: all else. The planes are freed by
 * s24_problem_free, also after an error.
 */
s24_status s24_problem_init(s24_problem *p, const s24_solver *m, size_t rows, size_t cols, s24_error *err);
void s24_problem_free(s24_problem *p);

/*
 * Of a row, from weights, dtype, taps, cols, run, k and kernels: adds |w| to *sum and to cols[k] (NULL: neither), and makes
 * *largest the largest |w|, if it was less. S24_ERR_DATA: one that is not finite.
 */
s24_status s24_problem_survey_row(const s24_problem *p, size_t row, double *cols, double *sum, double *largest,
                                  s24_error *err);

/* A row's padded columns, scaled. */
void s24_problem_load_row(const s24_problem *p, size_t row, float *w);

/* Weights become v where they were w, and 0 where the pairs [k / 4] were dropped: the others stay bit for bit. */
void s24_problem_store_row(const s24_problem *p, size_t row, const float *w, const float *v, const uint8_t *pairs);

/* The pairs that a row's positions tell, of the mask that was given; false: they do not. And the reverse. */
bool s24_problem_get_positions(const s24_problem *p, size_t row, uint8_t *pairs);
void s24_problem_put_positions(const s24_problem *p, size_t row, const uint8_t *pairs);

/* Scores of the samples of `parts`. */
typedef struct s24_scorer {
    double *a, *c; /* [k]; c NULL: 0 */
    double *b;     /* [rows] */
} s24_scorer;

s24_status s24_scorer_init(s24_scorer *s, const s24_problem *p, const s24_solver *m, unsigned parts, s24_error *err);
void s24_scorer_free(s24_scorer *s);

/* The two of least score of each group, as pairs [k / 4]: of equal scores the lower index is kept. */
void s24_problem_score_row(const s24_problem *p, const s24_scorer *s, size_t row, uint8_t *pairs);

/* The mask of all rows, and nothing else: positions, and weights in place. */
s24_status s24_problem_mask(const s24_problem *p, const s24_scorer *s, s24_error *err);

#endif
