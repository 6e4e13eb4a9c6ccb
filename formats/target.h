/*
 * Where pruned tensors go: into a .s24, into a dense file with zeros, or nowhere (a dry run). What prune_file.c needs to
 * know of an output and no more.
 */
#ifndef S24_FORMATS_TARGET_H
#define S24_FORMATS_TARGET_H

#include "plain.h"
#include "threads.h"
#include "workspace.h"

typedef struct s24_target {
    s24_plain_writer *writer; /* .s24 */
    s24_sink *sink;           /* dense */
} s24_target;

/* The entry number `index` as the output plans it, NULL in a dry run. */
s24_entry *s24_target_entry(const s24_target *target, size_t index);
const char *s24_target_name(const s24_target *target);

typedef struct s24_target_settings {
    const s24_format *format;
    const char *container;            /* of a .s24: the format that its tensors came from */
    size_t panel_groups, panel_bytes; /* of a .s24; 0: the defaults */
    s24_packing packing;              /* of a .s24 */
    const s24_plain *keep;            /* of a .s24: the plain file that it is to be, whose tensors are planned; NULL: none */
} s24_target_settings;

/* Takes over out and plan, also on failure. */
s24_status s24_target_open(s24_target *target, const s24_target_settings *settings, s24_output *out, s24_contents *plan,
                           s24_error *err);

/* Writes n bytes of a carried entry of a sink, from byte `at` on; whole elements, where they have bytes. In order. */
s24_status s24_target_write(s24_target *target, size_t index, uint64_t at, const void *data, size_t n, s24_error *err);

/* What is to be carried unchanged. */
typedef struct s24_carry {
    s24_target *target;
    const s24_entry *from;
    size_t index;             /* in the target */
    s24_workspace *workspace;
    uint64_t *done;           /* bytes; added to when all is written */
} s24_carry;

/* The series of jobs that does so. */
s24_status s24_carry_open(const s24_carry *carry, s24_series *series, s24_error *err);

/* All is written; *out is the caller's to commit. */
s24_status s24_target_finish(s24_target *target, s24_output **out, s24_error *err);
void s24_target_abort(s24_target *target);

#endif
