/* How rows of a problem are solved, by a recipe, from some of the samples; and its error for a sample of the rows. */
#ifndef S24_LIB_SOLUTION_H
#define S24_LIB_SOLUTION_H

#include "alternate.h"
#include "exchange.h"
#include "problem.h"

/* What is done, and with how much damping. */
typedef struct s24_recipe {
    const s24_solver *m;        /* NULL: the mask that is given */
    bool refit;
    double damping, shape;  /* of s24_damping_plane; NaN: none is used */
    bool guard;             /* with that of s24_damping_guard */
    bool search;            /* for a better mask, by exchanges or by alternating directions */
    bool quick;             /* a refit of few steps will do, and a rough factorization, to choose by */
    bool few;               /* the sample's first rows will do, in long rows: its error compares with such alone */
    const s24_eliminator *eliminator; /* of group-OBS with this damping, borrowed; NULL: to be made */
} s24_recipe;

/* How rows are solved: with what is made of some of the samples. */
typedef struct s24_solution {
    const s24_problem *p;
    s24_solver_kind kind;
    bool given;             /* the mask */
    bool refit;
    double *damping;        /* [k]: on the diagonal; NULL: none is used */
    s24_scorer scorer;        /* of S24_SOLVER_MASK, unless given */
    s24_eliminator own;     /* unless the recipe has one */
    const s24_eliminator *eliminator;
    const s24_gram *gram;   /* of the refit */
    bool quick, few, search;     /* as in recipe */
    s24_exchange exchange;       /* of short rows, unless quick */
    s24_alternation alternation; /* of long ones, for `search` */
} s24_solution;

/* The damping of a recipe, plane [k]. */
void s24_recipe_damping(const s24_recipe *how, const s24_columns *columns, unsigned parts, s24_rule rule, double *plane);

/* Whether f32 will do to factor H with that damping. */
bool s24_recipe_rough(const s24_recipe *how);

/* From the samples of `parts`, whose products are `gram` (used where there is a refit, and borrowed). */
s24_status s24_solution_init(s24_solution *s, const s24_problem *p, const s24_recipe *how, unsigned parts,
                              const s24_gram *gram, s24_error *err);
void s24_solution_free(s24_solution *s);

/*
 * Rows of a job. For each product of them by K x K a BLAS lays K x K out anew: of 256 rows that is a tenth to a fifth of the
 * time. An eighth of all rows, so that there are enough jobs, within these.
 */
#define S24_SOLVE_ROWS_LEAST 256
#define S24_SOLVE_ROWS_MOST 512
size_t s24_solve_job_rows(const s24_problem *p);

/* What a job computes with. */
typedef struct s24_tile_space {
    float *w, *v;   /* [rows, k]: the weights, scaled, and their solution */
    uint8_t *pairs; /* [rows, k / 4] */
    float *scratch;
} s24_tile_space;

s24_status s24_tile_space_init(s24_tile_space *ws, const s24_problem *p, size_t rows, s24_error *err);
void s24_tile_space_free(s24_tile_space *ws);

/* Rows row_at[0..count) of the weights: ws->w, their solution ws->v, and ws->pairs. */
s24_status s24_solve_rows(const s24_solution *s, const size_t *row_at, size_t count, s24_tile_space *ws, s24_error *err);

/*
 * Rows that stand for all, evenly spread, and so are the first `few` of them. They are solved in jobs of S24_SAMPLE_JOB rows,
 * the few in two, so that threads share them.
 */
#define S24_SAMPLE_JOB 64
#define S24_SAMPLE_FEW 64

typedef struct s24_sample {
    size_t count, few;
    size_t row_at[S24_SAMPLE_ROWS];
    s24_tile_space ws;
    size_t job_scratch; /* floats of ws.scratch a job */
    const s24_gram *of; /* of the samples that errors are over */
    double whole[S24_SAMPLE_ROWS], lost[S24_SAMPLE_ROWS]; /* of each row ||X w||^2, ||X (w - v)||^2 */
    size_t known;       /* how many of the first in `whole` are */
    double error_of_few; /* of what s24_sample_error was called for last: of the few alone */
} s24_sample;

s24_status s24_sample_init(s24_sample *sa, const s24_problem *p, s24_error *err);

/* Errors are over the samples of `of`, which is borrowed, from now on. */
void s24_sample_over(s24_sample *sa, const s24_gram *of);

/*
 * ||X (W - V)'||_F / ||X W'||_F for these rows, V a solution; NULL: what the problem's
 * weights have become since the last call, which keeps what they were. Of a solution for few, in long rows, for the first
 * `few` rows alone.
 */
s24_status s24_sample_error(s24_sample *sa, const s24_problem *p, const s24_solution *s, double *error, s24_error *err);

/* The same for what is fitted to the samples of `parts` by a recipe, and to their products `to`. */
s24_status s24_recipe_error(s24_sample *sa, const s24_problem *p, const s24_recipe *how, unsigned parts, const s24_gram *to,
                            double *error, s24_error *err);

#endif
