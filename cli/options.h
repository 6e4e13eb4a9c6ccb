/* Options that several commands have: their structs, their rows, their setters. */
#ifndef S24_CLI_OPTIONS_H
#define S24_CLI_OPTIONS_H

#include "args.h"
#include "color.h"
#include "s24io.h"

/* Accepted before and after the command. */
typedef struct globals {
    bool help, version, verbose, quiet, json, no_sync;
    int color;       /* a color_mode */
    int no_progress; /* 0 or 1: which of the words */
    s24_isa isa;
    unsigned threads;
} globals;

extern const args_option global_options[];

/* How to read the input. Fills an s24_read_options. */
extern const args_option read_options[];

/* How a .s24 is written. Fills an s24_packing. */
extern const args_option packing_options[];

/* Which tensors, along which axis. */
typedef struct selection {
    args_list include, exclude;
    s24_axis_rule *axes;
    size_t axis_count;
    bool all;
} selection;

extern const args_option selection_options[];
s24_selection selection_of(const selection *s); /* borrows */

/* What is kept of a group: by which method, and files of what that knows besides the weights. */
typedef struct criterion {
    const char *method;              /* NULL: what the files are for */
    const char *second[S24_SECONDS];
    bool refit, transposable, permute;
} criterion;

extern const args_option criterion_options[];
/* The name of the method that it is; NULL: method and files do not go together, which has been told. */
const char *criterion_method(const char *command, const criterion *c);

/* What kept values are stored as. */
typedef struct storage {
    s24_dtype dtype;  /* S24_SAME */
    int group_size;   /* see storage_scale_group */
} storage;

extern const args_option storage_options[];
bool storage_check(const char *command, const storage *s); /* whether the two go together; it has been told if not */
size_t storage_scale_group(const storage *s);              /* columns that share a scale; 0: all of a row */

/* ---------------------------------------------------------------- values of options, from the library's tables */

const char *choice_input_format(size_t i);
const char *choice_any_output(size_t i);   /* what can be written */
const char *choice_dtype(size_t i);
const char *choice_stored_dtype(size_t i); /* "same", and what can be pruned */
const char *choice_method(size_t i);

args_setter set_dtype;                     /* s24_dtype; "same": S24_SAME */

#endif
