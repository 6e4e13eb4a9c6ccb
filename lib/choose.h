/* What does best on the held-out samples: damping, and the method that obs comes to. */
#ifndef S24_LIB_CHOOSE_H
#define S24_LIB_CHOOSE_H

#include "solution.h"

/*
 * Sets what *how leaves open (damping NaN, of a refit; of obs, the method), with the sample sa, and errors->held_out
 * and errors->wanda_held_out.
 */
s24_status s24_choose_held_out(s24_sample *sa, const s24_problem *p, s24_recipe *how, s24_output_error *errors,
                               s24_error *err);

#endif
