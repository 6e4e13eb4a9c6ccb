/*
 * The command line, from tables. A command lists its options as rows; parsing, --help, suggestions for what was
 * mistyped and completion scripts are all made from the same rows, so that none can fall behind the others.
 */
#ifndef S24_CLI_ARGS_H
#define S24_CLI_ARGS_H

#include "s24.h"

typedef struct args args;
typedef struct args_option args_option;

/*
 * Stores the value (NULL for an option that takes none) in *target. false: it is no such value, and that has been told.
 */
typedef bool args_setter(args *a, const args_option *option, void *target, const char *value);

struct args_option {
    const char *name;   /* long, without its "--"; NULL ends a table */
    char letter;        /* short; 0: none */
    const char *value;  /* what its value is called; NULL: it takes none */
    const char *help;   /* a sentence; --help wraps it */
    args_setter *set;
    size_t offset;      /* of the target in the struct that the group fills */
    const char *const *words;          /* the values there are, NULL-terminated; NULL: see choice */
    const char *(*choice)(size_t i);   /* the i-th value, NULL after the last; NULL: any value */
    bool file;          /* the value is a file's name: for completion */
    bool optional;      /* the value may be left out: it is attached, "-z9", "--archive=9", or there is none (NULL) */
};

/* Options that belong together, and are shared between commands. */
typedef struct args_group {
    const char *title;  /* in --help; NULL ends a table */
    const args_option *options;
    size_t offset;      /* of the group's struct in the command's */
} args_group;

typedef struct args_scope {
    const args_group *groups;
    void *base;
} args_scope;

#define ARGS_SCOPES 2

/* Set the first members, and free with args_free. Strings that are stored are those of argv, or live until then. */
struct args {
    const char *command;  /* for messages and their hint; NULL: none yet */
    args_scope scopes[ARGS_SCOPES]; /* an unused one has no groups */
    char **argv;
    int argc;
    bool leading;         /* stop at the first operand: a command's name */

    int next;             /* of argv */
    bool done;            /* a setter has seen enough: --help */
    char **operands;
    size_t operand_count;
    struct args_block *memory;
};

/* false: a usage error, which has been told. */
bool args_parse(args *a);
void args_free(args *a);

/* Zeroed memory until args_free; ends the process with status 4 where there is none. */
void *args_alloc(args *a, size_t count, size_t size);

const char *args_choice(const args_option *option, size_t i); /* the i-th value it may have; NULL: no more */

/* ---------------------------------------------------------------- usage errors: status 2 */

/* "s24: prune: MESSAGE; see 's24 prune --help'" */
void args_usage(const char *command, const char *format, ...) S24_PRINTF(2, 3);

/* "s24: prune: WHAT; did you mean NEAREST? See 's24 prune --help'"; as args_usage where nearest is NULL */
void args_mistyped(const char *command, const char *what, const char *prefix, const char *nearest);

/* "s24: prune: --threads 0x1: not a number ..."; returns false, for setters */
bool args_refuse(const args *a, const args_option *option, const char *value, const char *why);

/* ---------------------------------------------------------------- setters */

/* Strings in the order given. */
typedef struct args_list {
    const char **items;
    size_t count;
} args_list;

args_setter args_set_flag;     /* bool */
args_setter args_set_last_flag;/* bool; nothing after it is looked at */
args_setter args_set_string;   /* const char * */
args_setter args_set_list;     /* args_list */
args_setter args_set_word;     /* int: which of `words` */
args_setter args_set_unsigned; /* unsigned, up to 4096 */
args_setter args_set_u64;      /* uint64_t */

/* "3/8": the third of eight. of 0: not given. */
typedef struct args_share {
    unsigned which, of;
} args_share;
args_setter args_set_share;    /* args_share */

/* Digits alone, as a number; false: it is none, or beyond u64. *end: after the last digit, which may not be the end. */
bool args_parse_u64(const char *s, const char **end, uint64_t *value);

#endif
