/*
 * The words of JSON: the one place that knows how its characters and numbers are spelled. s24_json_check (jsonx.h) sees
 * whether a text is JSON; what reads one then without building a tree - safetensors headers, JSON weights, config.json -
 * walks over it with these, and can trust its grammar.
 */
#ifndef S24_FORMATS_JSON_TOKEN_H
#define S24_FORMATS_JSON_TOKEN_H

#include "textbuf.h"

/*
 * The character at *at (less than n) of a string, which is moved behind it. NULL, or what is wrong: then *at is somewhere in
 * the character.
 */
const char *s24_json_character(const char *text, size_t n, size_t *at, uint32_t *character);

/* Whether a number of n characters, at most S24_JSON_NUMBER, is beyond the range of f64. */
bool s24_json_overflows(const char *number, size_t n);

/*
 * cJSON 1.7.15 cuts a number after 63 characters (parse_number's number_c_string[64]) and takes what is left for what
 * follows it. No f64 needs more than 24.
 */
#define S24_JSON_NUMBER 63

/* Where one is in a text that was checked. Each of these moves over the blanks before what it looks for. */
typedef struct s24_json_walk {
    const char *text;
    size_t n, at;
} s24_json_walk;

/* The first character of what is next; NUL: the end. */
static inline char s24_json_look(s24_json_walk *w)
{
    while (w->at < w->n) {
        const char c = w->text[w->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            return c;
        }
        w->at++;
    }
    return '\0';
}

/* Over that character, if it is next. */
static inline bool s24_json_take(s24_json_walk *w, char wanted)
{
    const bool there = s24_json_look(w) == wanted;
    w->at += there;
    return there;
}

static inline bool s24_json_number_next(s24_json_walk *w)
{
    const char c = s24_json_look(w);
    return c == '-' || (c >= '0' && c <= '9');
}

void s24_json_skip(s24_json_walk *w);                       /* over a value, or a key */
size_t s24_json_take_rest(s24_json_walk *w);                /* to behind the end of the list that is open; elements on the way */
double s24_json_take_number(s24_json_walk *w);              /* a number is next: rounded to nearest */
bool s24_json_reads(const s24_json_walk *w, const char *ascii); /* whether the string that begins here is this, however it is spelled */
s24_status s24_json_take_string(s24_json_walk *w, s24_text *out, s24_error *err); /* a string is next: *out becomes it */
char *s24_json_take_shared(s24_json_walk *w, s24_error *err); /* the same as a text of shared.h; NULL: no memory */

#endif
