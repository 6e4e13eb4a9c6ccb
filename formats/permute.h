/*
 * Channel permutations of the tensors of a source, before anything is written: which columns share a group is chosen so
 * that 2:4 keeps more. The order of a tensor alone is stored with it; of neighbouring layers the one before gets its outputs
 * in the same order. From then on the entries are views (reorder.h), and nothing else knows of it.
 */
#ifndef S24_FORMATS_PERMUTE_H
#define S24_FORMATS_PERMUTE_H

#include "prepare.h"

/*
 * The tensors that are packed, and what goes with them: all of them if how->permute, those of request->permute_with in any
 * case. Data of streams are held. S24_ERR_USAGE: a rule that makes no sense.
 */
s24_status s24_permute_source(const s24_preparation *how, const s24_prune_request *request, s24_source *source, s24_error *err);

#endif
