#include "args.h"

#include <limits.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "suggest.h"

#define MOST_UNSIGNED 4096 /* threads, repetitions: more is a slip */

/* ---------------------------------------------------------------- memory */

typedef struct args_block {
    struct args_block *next;
    uint64_t data[]; /* aligned for what setters keep */
} args_block;

void *args_alloc(args *a, size_t count, size_t size)
{
    args_block *block = calloc(1, sizeof *block + count * size); /* count: of arguments, so that nothing overflows */
    if (!block) {
        msg_error(S24_ERR_SYSTEM, "no memory for the arguments");
        exit(S24_ERR_SYSTEM); /* nothing has been begun yet */
    }
    block->next = a->memory;
    a->memory = block;
    return block->data;
}

void args_free(args *a)
{
    while (a->memory) {
        args_block *next = a->memory->next;
        free(a->memory);
        a->memory = next;
    }
}

/* ---------------------------------------------------------------- usage errors */

static void hint(char *out, size_t size, const char *command)
{
    snprintf(out, size, "s24 %s%s--help", command ? command : "", command ? " " : "");
}

void args_usage(const char *command, const char *format, ...)
{
    char message[4096], see[64];
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    hint(see, sizeof see, command);
    msg_error(S24_ERR_USAGE, "%s%s%s; see '%s'", command ? command : "", command ? ": " : "", message, see);
}

void args_mistyped(const char *command, const char *what, const char *prefix, const char *nearest)
{
    char see[64];
    if (!nearest) {
        args_usage(command, "%s", what);
        return;
    }
    hint(see, sizeof see, command);
    msg_error(S24_ERR_USAGE, "%s%s%s; did you mean %s%s? See '%s'", command ? command : "", command ? ": " : "", what,
              prefix, nearest, see);
}

bool args_refuse(const args *a, const args_option *option, const char *value, const char *why)
{
    args_usage(a->command, "--%s '%s': %s", option->name, value, why);
    return false;
}

/* ---------------------------------------------------------------- setters */

bool args_set_flag(args *a, const args_option *option, void *target, const char *value)
{
    (void)a, (void)option, (void)value;
    *(bool *)target = true;
    return true;
}

bool args_set_last_flag(args *a, const args_option *option, void *target, const char *value)
{
    a->done = true;
    return args_set_flag(a, option, target, value);
}

bool args_set_string(args *a, const args_option *option, void *target, const char *value)
{
    (void)a, (void)option;
    *(const char **)target = value;
    return true;
}

bool args_set_list(args *a, const args_option *option, void *target, const char *value)
{
    (void)option;
    args_list *list = target;
    if (!list->items) { /* an option a word at most, so that this is enough */
        list->items = args_alloc(a, (size_t)a->argc, sizeof *list->items);
    }
    list->items[list->count++] = value;
    return true;
}

bool args_set_word(args *a, const args_option *option, void *target, const char *value)
{
    (void)a;
    for (int i = 0; option->words[i]; i++) { /* it is one of them: the parser has looked */
        if (strcmp(option->words[i], value) == 0) {
            *(int *)target = i;
        }
    }
    return true;
}

bool args_parse_u64(const char *s, const char **end, uint64_t *value)
{
    const char *p = s;
    *value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        const unsigned digit = (unsigned)(*p - '0');
        if (*value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *value = 10 * *value + digit;
    }
    *end = p;
    return p > s;
}

bool args_set_u64(args *a, const args_option *option, void *target, const char *value)
{
    const char *end;
    uint64_t x;
    if (!args_parse_u64(value, &end, &x) || *end) {
        return args_refuse(a, option, value, "not a whole number");
    }
    *(uint64_t *)target = x;
    return true;
}

bool args_set_unsigned(args *a, const args_option *option, void *target, const char *value)
{
    const char *end;
    uint64_t x;
    if (!args_parse_u64(value, &end, &x) || *end || x > MOST_UNSIGNED) {
        return args_refuse(a, option, value, "not a whole number from 0 to 4096");
    }
    *(unsigned *)target = (unsigned)x;
    return true;
}

bool args_set_share(args *a, const args_option *option, void *target, const char *value)
{
    const char *end;
    uint64_t which, of;
    if (!args_parse_u64(value, &end, &which) || *end != '/' || !args_parse_u64(end + 1, &end, &of) || *end ||
        which < 1 || which > of || of > UINT_MAX) {
        return args_refuse(a, option, value, "not a share I/N with I from 1 to N, as in 3/8");
    }
    *(args_share *)target = (args_share){(unsigned)which, (unsigned)of};
    return true;
}

/* ---------------------------------------------------------------- parsing */

const char *args_choice(const args_option *option, size_t i)
{
    return option->words ? option->words[i] : option->choice ? option->choice(i) : NULL;
}

/* An option that was found, and the struct that its group fills. */
typedef struct found {
    const args_option *option;
    unsigned char *base;
} found;

typedef bool matcher(const args_option *option, const char *name, size_t n);

static bool match_name(const args_option *option, const char *name, size_t n)
{
    return strlen(option->name) == n && memcmp(option->name, name, n) == 0;
}

static bool match_letter(const args_option *option, const char *name, size_t n)
{
    (void)n;
    return option->letter == *name;
}

static found find(const args *a, matcher *match, const char *name, size_t n)
{
    for (int s = 0; s < ARGS_SCOPES; s++) {
        for (const args_group *g = a->scopes[s].groups; g && g->title; g++) {
            for (const args_option *o = g->options; o->name; o++) {
                if (match(o, name, n)) {
                    return (found){o, (unsigned char *)a->scopes[s].base + g->offset};
                }
            }
        }
    }
    return (found){NULL, NULL};
}

static bool unknown_long(const args *a, const char *name, size_t n)
{
    char word[64], what[128];
    suggest s = {.word = word};
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    snprintf(what, sizeof what, "unknown option --%s", word);
    for (int k = 0; k < ARGS_SCOPES; k++) {
        for (const args_group *g = a->scopes[k].groups; g && g->title; g++) {
            for (const args_option *o = g->options; o->name; o++) {
                suggest_try(&s, o->name);
            }
        }
    }
    args_mistyped(a->command, what, "--", s.nearest);
    return false;
}

static bool unknown_short(const args *a, const char *letter)
{
    char what[32];
    const found f = find(a, match_name, letter, 1); /* a long name of one letter: --n */
    snprintf(what, sizeof what, "unknown option -%c", *letter);
    args_mistyped(a->command, what, "--", f.option ? f.option->name : NULL);
    return false;
}

/* Whether the option may have this value at all. */
static bool check_choice(const args *a, const args_option *option, const char *value)
{
    char what[512];
    suggest s = {.word = value};
    int used = snprintf(what, sizeof what, "--%s '%.64s': there are", option->name, value);
    const char *choice;
    for (size_t i = 0; (choice = args_choice(option, i)) != NULL; i++) {
        if (strcmp(choice, value) == 0) {
            return true;
        }
        suggest_try(&s, choice);
        if ((size_t)used < sizeof what) {
            used += snprintf(what + used, sizeof what - (size_t)used, " %s", choice);
        }
    }
    args_mistyped(a->command, what, "", s.nearest);
    return false;
}

static bool apply(args *a, found f, const char *value)
{
    if (value && args_choice(f.option, 0) && !check_choice(a, f.option, value)) {
        return false;
    }
    return f.option->set(a, f.option, f.base + f.option->offset, value);
}

/* The value that is the next word; whatever it looks like, a negative number or a file with a dash. */
static const char *next_word(args *a, const args_option *option)
{
    if (a->next < a->argc) {
        return a->argv[a->next++];
    }
    args_usage(a->command, "--%s needs a value: --%s=%s", option->name, option->name, option->value);
    return NULL;
}

static bool parse_long(args *a, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t n = equals ? (size_t)(equals - word) : strlen(word);
    const found f = find(a, match_name, word, n);
    if (!f.option) {
        return unknown_long(a, word, n);
    }
    if (!f.option->value) {
        if (equals) {
            args_usage(a->command, "--%s takes no value", f.option->name);
            return false;
        }
        return apply(a, f, NULL);
    }
    if (f.option->optional && !equals) {
        return apply(a, f, NULL);
    }
    const char *value = equals ? equals + 1 : next_word(a, f.option);
    return value && apply(a, f, value);
}

/* "-nf", "-oFILE", "-o FILE", "-z9f": an optional value is a number, and what follows its digits is no part of it. */
static bool parse_short(args *a, const char *letters)
{
    for (; *letters && !a->done; letters++) {
        const found f = find(a, match_letter, letters, 1);
        if (!f.option) {
            return unknown_short(a, letters);
        }
        if (f.option->optional) {
            const size_t digits = strspn(letters + 1, "0123456789");
            char *value = digits ? memcpy(args_alloc(a, digits + 1, 1), letters + 1, digits) : NULL;
            if (!apply(a, f, value)) {
                return false;
            }
            letters += digits;
            continue;
        }
        if (f.option->value) {
            const char *value = letters[1] ? letters + 1 : next_word(a, f.option);
            return value && apply(a, f, value);
        }
        if (!apply(a, f, NULL)) {
            return false;
        }
    }
    return true;
}

static bool parse_word(args *a, char *word, bool *options_over)
{
    if (*options_over || word[0] != '-' || word[1] == '\0') { /* "-" is a file: standard input or output */
        a->operands[a->operand_count++] = word;
        a->done = a->leading;
        return true;
    }
    if (strcmp(word, "--") == 0) {
        *options_over = true;
        return true;
    }
    return word[1] == '-' ? parse_long(a, word + 2) : parse_short(a, word + 1);
}

bool args_parse(args *a)
{
    bool options_over = false;
    a->operands = args_alloc(a, (size_t)a->argc + 1, sizeof *a->operands);
    while (a->next < a->argc && !a->done) {
        if (!parse_word(a, a->argv[a->next++], &options_over)) {
            return false;
        }
    }
    return true;
}
