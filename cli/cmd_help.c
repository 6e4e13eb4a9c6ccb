/* s24 help: the same text as --help. */
#include "help.h"
#include "msg.h"

static const char *choice_command(size_t i)
{
    return commands[i] ? commands[i]->name : NULL;
}

static void run(const context *c, const void *options)
{
    (void)options;
    const command *about = c->file_count ? command_find_or_suggest(c->files[0]) : NULL;
    if (about) {
        help_command(about, stdout);
    } else if (c->file_count == 0) {
        help_general(stdout);
    }
}

const command cmd_help = {
    .name = "help",
    .synopsis = "[COMMAND]",
    .summary = "Say how a command is used.",
    .least = 0, .most = 1,
    .operand = "the command",
    .choice = choice_command,
    .run = run,
};
