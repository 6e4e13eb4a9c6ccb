/*
 * s24: the command. A table of commands; what they have in common - global options, operands, signals, the exit
 * status - is done here once.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blas.h"
#include "command.h"
#include "help.h"
#include "msg.h"
#include "progress.h"
#include "signals.h"
#include "suggest.h"

const command *const commands[] = {
    &cmd_prune, &cmd_plan, &cmd_decompress, &cmd_stats, &cmd_inspect, &cmd_verify, &cmd_convert,
    &cmd_matmul_bench, &cmd_completion, &cmd_help,
    NULL,
};

const args_group command_globals[] = {{"Global options", global_options, 0}, {NULL, NULL, 0}};

const command *command_find_or_suggest(const char *name)
{
    char what[128];
    suggest s = {.word = name};
    for (size_t i = 0; commands[i]; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
        suggest_try(&s, commands[i]->name);
    }
    snprintf(what, sizeof what, "unknown command '%.80s'", name);
    args_mistyped(NULL, what, "", s.nearest);
    return NULL;
}

/*
 * A standard stream that is closed would be the next file opened, and text would go into a model. A descriptor that can
 * only be used the wrong way round takes its place: whoever uses it gets EBADF.
 */
static void fill_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            _exit(S24_ERR_SYSTEM);
        }
    }
}

static void print_version(bool verbose)
{
    printf("s24 %s\n", s24_version());
    if (verbose) {
        printf("instruction set: %s\nthreads: %u\n", s24_isa_name(s24_isa_detect(S24_ISA_BEST)),
               s24_threads_available());
    }
}

static void on_note(void *user, const char *message)
{
    (void)user;
    msg_note("%s", message);
}

static void on_warning(void *user, const char *message)
{
    (void)user;
    msg_warn("%s", message);
}

static s24_io io_of(const globals *g)
{
    return (s24_io){
        .no_sync = g->no_sync, .threads = g->threads, .isa = g->isa,
        .cancel = signals_flag(), .note = on_note, .warn = on_warning, .progress = progress_update, .maps = signals_maps(),
        .blas = blas_products,
    };
}

static bool check_operands(const command *c, const args *a)
{
    if (a->operand_count < c->least) {
        args_usage(c->name, "%s is missing", c->operand);
        return false;
    }
    if (a->operand_count > c->most) {
        args_usage(c->name, "one too many: '%s'", a->operands[c->most]);
        return false;
    }
    return true;
}

static void apply_globals(const globals *g)
{
    msg_setup(g->quiet, g->verbose);
    color_setup((color_mode)g->color);
    progress_setup(!g->quiet && !g->no_progress);
}

/* argv from the command's name on. */
static void run_command(const command *c, globals *g, int argc, char **argv)
{
    args a = {.command = c->name, .argc = argc, .argv = argv, .next = 1};
    void *options = c->options_size ? args_alloc(&a, 1, c->options_size) : NULL;
    if (options && c->defaults) {
        memcpy(options, c->defaults, c->options_size);
    }
    a.scopes[0] = (args_scope){c->groups, options};
    a.scopes[1] = (args_scope){command_globals, g};
    const bool parsed = args_parse(&a);
    apply_globals(g);
    if (parsed && g->help) {
        help_command(c, stdout);
    } else if (parsed && g->version) {
        print_version(g->verbose);
    } else if (parsed && check_operands(c, &a)) {
        const context with = {.command = c, .globals = g, .io = io_of(g), .files = a.operands,
                              .file_count = a.operand_count};
        c->run(&with, options);
    }
    args_free(&a);
}

static void run(int argc, char **argv)
{
    globals g = {0};
    args a = {.argc = argc, .argv = argv, .next = 1, .leading = true, .scopes = {{command_globals, &g}}};
    const bool parsed = args_parse(&a);
    const char *name = parsed && a.operand_count ? a.operands[0] : NULL;
    apply_globals(&g);
    if (parsed && g.help) {
        help_general(stdout);
    } else if (name) {
        const command *c = command_find_or_suggest(name);
        if (c) {
            run_command(c, &g, argc - a.next + 1, argv + a.next - 1);
        }
    } else if (parsed && g.version) {
        print_version(g.verbose);
    } else if (parsed) {
        help_usage(stderr);
        msg_record(S24_ERR_USAGE);
    }
    args_free(&a);
}

int main(int argc, char **argv)
{
    static char line[BUFSIZ];
    fill_standard_streams();
    setvbuf(stderr, line, _IOLBF, sizeof line); /* a line at once, also where several processes write */
    signals_install();
    run(argc, argv);
    progress_stop();
    msg_flush_stdout();
    signals_pass_on();
    return msg_status();
}
