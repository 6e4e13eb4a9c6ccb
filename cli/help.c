#include "help.h"

#include <string.h>

#include "color.h"

#define WIDTH 80
#define INDENT 26 /* where the help of an option begins */

/* Words from column `at` on, broken before WIDTH and continued at column `indent`. */
static void wrap(FILE *out, const char *text, int at, int indent)
{
    bool first = true;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (!first && at + 1 + n >= WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", n, text);
        at += n;
        text += n + (text[n] == ' ');
        first = false;
    }
    fputc('\n', out);
}

static void title(FILE *out, const char *text)
{
    fprintf(out, "\n%s%s%s\n", color(out, COLOR_BOLD), text, color(out, COLOR_OFF));
}

static void print_option(FILE *out, const args_option *o)
{
    int at = 0;
    if (o->letter) {
        at += fprintf(out, "  -%c, --%s", o->letter, o->name);
    } else {
        at += fprintf(out, "      --%s", o->name);
    }
    if (o->value) {
        at += fprintf(out, o->optional ? "[=%s]" : "=%s", o->value);
    }
    if (at + 2 > INDENT) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", INDENT - at, "");
    wrap(out, o->help, INDENT, INDENT);
}

static void print_groups(FILE *out, const args_group *groups)
{
    for (const args_group *g = groups; g && g->title; g++) {
        title(out, g->title);
        for (const args_option *o = g->options; o->name; o++) {
            print_option(out, o);
        }
    }
}

void help_usage(FILE *out)
{
    fputs("usage: s24 COMMAND [OPTION...] [FILE...]\ncommands:", out);
    for (size_t i = 0; commands[i]; i++) {
        fprintf(out, " %s", commands[i]->name);
    }
    fputs("\n's24 --help' and 's24 COMMAND --help' say more\n", out);
}

void help_general(FILE *out)
{
    fputs("Usage: s24 COMMAND [OPTION...] [FILE...]\n\n"
          "Makes neural-network weights 2:4 sparse - of every four consecutive weights two\n"
          "are kept - stores them truly smaller, and checks the result.\n", out);
    title(out, "Commands");
    for (size_t i = 0; commands[i]; i++) {
        fprintf(out, "  %-14s  ", commands[i]->name);
        wrap(out, commands[i]->summary, 18, 18);
    }
    print_groups(out, command_globals);
    title(out, "Exit status");
    fputs("  0 done            3 malformed, damaged or unsupported input\n"
          "  1 a check failed  4 the system said no: input or output, memory, permission\n"
          "  2 usage           5 nothing to do: no tensor was eligible\n"
          "  128+n             stopped by signal n\n\n"
          "'s24 COMMAND --help' says more about a command.\n", out);
}

void help_command(const command *c, FILE *out)
{
    fprintf(out, "Usage: s24 %s %s\n\n", c->name, c->synopsis);
    wrap(out, c->summary, 0, 0);
    print_groups(out, c->groups);
    print_groups(out, command_globals);
    if (c->more) {
        fprintf(out, "\n%s", c->more);
    }
}
