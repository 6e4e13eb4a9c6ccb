/* A command: its row in main's table, and what it is given to run with. One file a command. */
#ifndef S24_CLI_COMMAND_H
#define S24_CLI_COMMAND_H

#include "args.h"
#include "options.h"
#include "s24io.h"

typedef struct command command;

/* What every command gets. */
typedef struct context {
    const command *command;
    const globals *globals;
    s24_io io;
    char **files; /* the operands */
    size_t file_count;
} context;

struct command {
    const char *name;
    const char *synopsis;      /* after the name: "[OPTION...] IN... [-o OUT]" */
    const char *summary;       /* one line of `s24 --help` */
    const char *more;          /* --help: lines at the end; NULL: none */
    const args_group *groups;  /* NULL: no options of its own */
    const void *defaults;      /* of the struct that the groups fill; NULL: zeros */
    size_t options_size;       /* of that struct; 0: there is none */
    size_t least, most;        /* how many operands */
    const char *operand;       /* what an operand is, for the error when it is missing */
    const char *(*choice)(size_t i); /* the operands there are, NULL after the last; NULL: files */
    void (*run)(const context *c, const void *options); /* errors: by msg.h, which keeps the status */
};

extern const command *const commands[]; /* in the order of the help; ends with NULL */
const command *command_find_or_suggest(const char *name); /* NULL: no such command, which has been told */
extern const args_group command_globals[];

extern const command cmd_prune, cmd_plan, cmd_decompress, cmd_stats, cmd_matmul_bench, cmd_inspect, cmd_verify,
    cmd_convert, cmd_completion, cmd_help;

#endif
