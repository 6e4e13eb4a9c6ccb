/*
 * Before the panels of a tensor are pruned: what a criterion must know of all of it. A solver gets the whole matrix in
 * memory, with what is known of the layer's inputs, and gives it back with two of every group left.
 */
#ifndef S24_FORMATS_PREPARE_H
#define S24_FORMATS_PREPARE_H

#include "second.h"
#include "solve.h"
#include "transposable.h"

typedef struct s24_preparation {
    const s24_io *io;
    const s24_method *method;
    bool refit, transposable, permute;
    const s24_seconds *seconds;
    void (*progress)(void *user, double done); /* of the tensor, 0 to 1; may be NULL */
    void *user;
} s24_preparation;

/* Whether tensors must be prepared. By factors they need not be. */
bool s24_must_prepare(const s24_preparation *how);

/*
 * Before anything is written: the entry's second inputs are there and fit, and what its output is measured by is noted in
 * entry->pruned, for the header of a .s24.
 */
s24_status s24_prepare_plan(const s24_preparation *how, s24_entry *entry, s24_error *err);

typedef struct s24_prepared {
    s24_dtype dtype;        /* of the weights: S24_F32, of f64 ones S24_F64 */
    void *weights;          /* [rows, cols], rows along the axis: what the elements became, two of a group at most not 0 */
    s24_output_error error;
} s24_prepared;

/*
 * The entry, whose axis is chosen. Its data are read, and of a stream are held: they can be read once more. Messages name
 * file and tensor.
 */
s24_status s24_prepare(const s24_preparation *how, const s24_entry *entry, s24_prepared *prepared, s24_error *err);
void s24_prepared_free(s24_prepared *prepared);

/* The entry's elements along its axis, converted, into room for all of them. Not finite ones are refused. */
s24_status s24_prepare_weights(const s24_entry *entry, s24_dtype dtype, void *weights, s24_error *err);

/*
 * ||X_j||^2 of each column, over all taps, from whatever calibration was given; *squares is the caller's to free, NULL where there
 * is none.
 */
s24_status s24_prepare_squares(const s24_preparation *how, const s24_entry *entry, double **squares, s24_error *err);

/*
 * What activations or a hessian tell of the entry's inputs, as they come; *taps: rows that have their inputs together. *cal
 * is the caller's to free, also after an error; NULL where neither was given.
 */
s24_status s24_prepare_calibration(const s24_preparation *how, const s24_entry *entry, size_t *taps, s24_calibration **cal,
                                   s24_error *err);

/*
 * Of what need not be prepared, where activations, a hessian or norms are given: the factors of a method by them, for the
 * entry, whose axis is chosen. Where it takes sums of the weights those are read once for that (of a stream they are held).
 * The caller frees the factors. By activations or a hessian *error becomes what the mask does to the layer's output.
 */
s24_status s24_prepare_factors(const s24_preparation *how, const s24_entry *entry, s24_factors *factors,
                               s24_output_error *error, s24_error *err);

#endif
