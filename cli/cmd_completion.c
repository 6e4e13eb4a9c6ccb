/*
 * s24 completion: scripts for shells, made from the tables that the parser uses. Each shell gets what its own
 * completion system is fed with: bash functions of case lists, zsh specifications for _arguments, fish a line each.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "msg.h"
#include "suggest.h"

/* What to do with every option of a group, of a command (NULL: the options of all). */
typedef void visitor(const command *c, const args_option *option);

static void visit(const command *c, const args_group *groups, visitor *v)
{
    for (const args_group *g = groups; g && g->title; g++) {
        for (const args_option *o = g->options; o->name; o++) {
            v(c, o);
        }
    }
}

static void visit_all(visitor *v)
{
    visit(NULL, command_globals, v);
    for (size_t i = 0; commands[i]; i++) {
        visit(commands[i], commands[i]->groups, v);
    }
}

/* The first sentence of a text, to stand between single quotes; `quote` goes before what the shell would take amiss. */
static void print_sentence(const char *text, const char *special, const char *quote)
{
    const char *end = strstr(text, ". ");
    const size_t length = end ? (size_t)(end - text) : strlen(text) - (text[strlen(text) - 1] == '.');
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\'') {
            fputs("'\\''", stdout);
        } else {
            printf("%s%c", strchr(special, text[i]) ? quote : "", text[i]);
        }
    }
}

static void print_choices(const args_option *o)
{
    for (size_t i = 0; args_choice(o, i); i++) {
        printf("%s%s", i ? " " : "", args_choice(o, i));
    }
}

static void print_operands(const command *c)
{
    for (size_t i = 0; c->choice(i); i++) {
        printf("%s%s", i ? " " : "", c->choice(i));
    }
}

/* ---------------------------------------------------------------- bash */

static void bash_name(const command *c, const args_option *o)
{
    (void)c;
    printf(" --%s", o->name);
}

static void bash_value(const command *c, const args_option *o)
{
    if (!o->value || o->optional) { /* the next word is no value */
        return;
    }
    const char *name = c ? c->name : "*";
    printf("    %s:--%s", name, o->name);
    if (o->letter) {
        printf("|%s:-%c", name, o->letter);
    }
    fputs(") ", stdout);
    if (args_choice(o, 0)) {
        fputs("words='", stdout);
        print_choices(o);
        fputs("' ", stdout);
    }
    puts(";;");
}

/* Global options that take a value: the word after them is no command. */
static void bash_skip(const command *c, const args_option *o)
{
    (void)c;
    if (o->value) {
        printf("|--%s", o->name);
        if (o->letter) {
            printf("|-%c", o->letter);
        }
    }
}

static void print_bash_words(void)
{
    fputs("_s24_words() { # options after a dash, otherwise what the command works on\n"
          "    local options='", stdout);
    visit(NULL, command_globals, bash_name);
    fputs("'\n    case $command in\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        const command *c = commands[i];
        printf("    %s) options+='", c->name);
        visit(c, c->groups, bash_name);
        putchar('\'');
        if (c->choice) {
            fputs("; words='", stdout);
            print_operands(c);
            putchar('\'');
        }
        puts(" ;;");
    }
    fputs("    '') words='", stdout);
    print_operands(&cmd_help);
    fputs("' ;;\n    esac\n"
          "    if [[ $cur == -* ]]; then\n"
          "        words=$options\n"
          "    fi\n"
          "}\n", stdout);
}

static void print_bash(void)
{
    fputs("# Completion for s24 in bash; made by 's24 completion bash'.\n"
          "_s24() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' words='' i\n"
          "    if [[ $cur == = ]]; then\n"
          "        cur=\n"
          "    elif [[ $prev == = ]]; then\n"
          "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    fi\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n"
          "        =) ((i++)) ;;\n"
          "        ''", stdout);
    visit(NULL, command_globals, bash_skip);
    fputs(") [[ ${COMP_WORDS[i+1]} == = ]] || ((i++)) ;;\n"
          "        -*) ;;\n"
          "        *) command=${COMP_WORDS[i]}; break ;;\n"
          "        esac\n"
          "    done\n"
          "    case $command:$prev in\n", stdout);
    visit_all(bash_value);
    fputs("    *) _s24_words ;;\n"
          "    esac\n"
          "    # Without words readline completes file names, by itself, and better than compgen.\n"
          "    # shellcheck disable=SC2207\n"
          "    [[ $words ]] && COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "}\n", stdout);
    print_bash_words();
    fputs("complete -o default -F _s24 s24\n", stdout);
}
/* ---------------------------------------------------------------- zsh */

static void zsh_option(const command *c, const args_option *o)
{
    const char *const attached = o->optional ? "-" : ""; /* the value is in the same word, or there is none */
    (void)c;
    fputs("        ", stdout);
    if (o->value) {
        fputs("'*'", stdout); /* may come again */
    } else if (o->letter) {
        printf("'(-%c --%s)'", o->letter, o->name);
    }
    if (o->letter) {
        printf("{-%c%s,--%s%s%s}", o->letter, o->optional ? attached : o->value ? "+" : "", o->name, o->value ? "=" : "",
               attached);
    } else {
        printf("--%s%s", o->name, o->value ? "=" : "");
    }
    fputs("'[", stdout);
    print_sentence(o->help, "[]\\", "\\");
    putchar(']');
    if (o->value) {
        printf("%s:%s:", o->optional ? ":" : "", o->name);
        if (args_choice(o, 0)) {
            putchar('(');
            print_choices(o);
            putchar(')');
        } else {
            fputs(o->file ? "_files" : "", stdout);
        }
    }
    puts("'");
}

static void print_zsh(void)
{
    fputs("#compdef s24\n# Completion for s24 in zsh; made by 's24 completion zsh'.\n"
          "_s24() {\n"
          "    local context state state_descr line\n"
          "    typeset -A opt_args\n"
          "    local -a global commands own\n"
          "    global=(\n", stdout);
    visit(NULL, command_globals, zsh_option);
    fputs("    )\n    commands=(\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        printf("        '%s:", commands[i]->name);
        print_sentence(commands[i]->summary, "\\", "\\");
        puts("'");
    }
    fputs("    )\n"
          "    _arguments -C $global '1:command:->command' '*::argument:->argument'\n"
          "    case $state in\n"
          "    command) _describe command commands ;;\n"
          "    argument)\n"
          "        case $words[1] in\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        const command *c = commands[i];
        printf("        %s) own=(\n", c->name);
        visit(c, c->groups, zsh_option);
        if (c->choice) {
            printf("        '1:%s:(", c->name);
            print_operands(c);
            puts(")') ;;");
        } else {
            puts("        '*:file:_files') ;;");
        }
    }
    fputs("        esac\n"
          "        _arguments $global $own ;;\n"
          "    esac\n"
          "}\n"
          "if [[ $funcstack[1] == _s24 ]]; then _s24 \"$@\"; else compdef _s24 s24; fi\n", stdout);
}

/* ---------------------------------------------------------------- fish */

static void fish_option(const command *c, const args_option *o)
{
    fputs("complete -c s24", stdout);
    if (c) {
        printf(" -n '__fish_seen_subcommand_from %s'", c->name);
    }
    printf(" -l %s", o->name);
    if (o->letter) {
        printf(" -s %c", o->letter);
    }
    if (o->value && args_choice(o, 0)) {
        fputs(" -x -a '", stdout);
        print_choices(o);
        putchar('\'');
    } else if (o->value && !o->optional) {
        fputs(o->file ? " -r -F" : " -x", stdout);
    }
    fputs(" -d '", stdout);
    print_sentence(o->help, "\\", "\\");
    puts("'");
}

static void print_fish(void)
{
    fputs("# Completion for s24 in fish; made by 's24 completion fish'.\n"
          "complete -c s24 -f\n", stdout);
    for (size_t i = 0; commands[i]; i++) {
        const command *c = commands[i];
        printf("complete -c s24 -n __fish_use_subcommand -a %s -d '", c->name);
        print_sentence(c->summary, "\\", "\\");
        puts("'");
        printf("complete -c s24 -n '__fish_seen_subcommand_from %s' ", c->name);
        if (c->choice) {
            fputs("-a '", stdout);
            print_operands(c);
            puts("'");
        } else {
            puts("-F");
        }
    }
    visit_all(fish_option);
}

/* ---------------------------------------------------------------- */

static const struct {
    const char *shell;
    void (*print)(void);
} scripts[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

static const char *choice_shell(size_t i)
{
    return i < sizeof scripts / sizeof *scripts ? scripts[i].shell : NULL;
}

static void run(const context *c, const void *options)
{
    char what[128];
    suggest s = {.word = c->files[0]};
    (void)options;
    for (size_t i = 0; choice_shell(i); i++) {
        if (strcmp(scripts[i].shell, c->files[0]) == 0) {
            scripts[i].print();
            return;
        }
        suggest_try(&s, scripts[i].shell);
    }
    snprintf(what, sizeof what, "no script for '%.60s', but for bash, zsh and fish", c->files[0]);
    args_mistyped(c->command->name, what, "", s.nearest);
}

const command cmd_completion = {
    .name = "completion",
    .synopsis = "bash|zsh|fish",
    .summary = "Print a completion script for a shell.",
    .more = "  s24 completion bash > ~/.local/share/bash-completion/completions/s24\n"
            "  s24 completion zsh > ~/.zfunc/_s24    # a directory of your fpath\n"
            "  s24 completion fish > ~/.config/fish/completions/s24.fish\n",
    .least = 1, .most = 1,
    .operand = "the shell (bash, zsh or fish)",
    .choice = choice_shell,
    .run = run,
};
