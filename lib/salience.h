/* What a column of weights counts for, by products of the inputs: to choose an order of the columns by. */
#ifndef S24_LIB_SALIENCE_H
#define S24_LIB_SALIENCE_H

#include "calibration.h"

/*
 * salience[j] = 1 / inverse(H)_jj for each of the calibration's inputs, H = X'X of the samples that are not held out over
 * the mean of its diagonal, plus 0.01: w_j^2 times that is what it costs to leave out w_j alone when all other weights make
 * up for it (optimal brain surgeon, Hassibi and Stork 1993). In f32; memory 4 K^2 bytes. S24_ERR_DATA: not positive
 * definite.
 */
s24_status s24_salience(const s24_calibration *cal, const s24_compute_env *env, double *salience, s24_error *err);

#endif
