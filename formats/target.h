/*
 * Where pruned tensors go: into a .s24, into a dense file with zeros, or nowhere (a dry run). What prune_file.c needs to
 * know of an output and no more.
 */
#ifndef S24_FORMATS_TARGET_H
#define S24_FORMATS_TARGET_H

#include "plain.h"

typedef struct s24_target {
    s24_plain_writer *writer; /* .s24 */
    s24_sink *sink;           /* dense */
} s24_target;

/* The entry number `index` as the output plans it, NULL in a dry run. */
s24_entry *s24_target_entry(const s24_target *target, size_t index);
const char *s24_target_name(const s24_target *target);

/* Carries entry `index` of `source` unchanged. */
s24_status s24_target_carry(s24_target *target, s24_source *source, size_t index, s24_error *err);

s24_status s24_target_commit(s24_target *target, s24_error *err);
void s24_target_abort(s24_target *target);

#endif
