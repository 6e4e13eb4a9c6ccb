/*
 * Text for people: names made safe to print, figures made readable. A file's or a tensor's name comes from outside and
 * may hold anything: a line break would forge a message, an escape sequence would drive the terminal.
 */
#ifndef S24_CLI_TEXT_H
#define S24_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Copies s with every control character, and every byte that is not UTF-8, as \n, \t, \r or \xNN. At most size - 1
 * characters and a NUL are written; the return value is the length of the whole, as snprintf's. reversible: backslashes
 * are doubled, so that a program can undo it.
 */
size_t text_escape(char *out, size_t size, const char *s, bool reversible);

/* The same into memory that the caller frees; NULL: there is none. */
char *text_escaped(const char *s, bool reversible);
void text_put(FILE *f, const char *s);

/* A copy in which every byte that is not UTF-8 is U+FFFD: JSON must be UTF-8. The caller frees it. */
char *text_utf8(const char *s);

size_t text_width(const char *s); /* in characters */

#define TEXT_SIZE 32 /* bytes of a figure */

void text_bytes(char out[TEXT_SIZE], uint64_t bytes);      /* "33.6 MB" */
void text_figure(char out[TEXT_SIZE], double x);           /* 6 digits; "-": undefined */
void text_exact(char out[TEXT_SIZE], double x);            /* 17 digits; "": undefined */

#define TEXT_SHAPE_SIZE (64 * 21) /* 64 dimensions of at most 20 digits */
void text_shape(char out[TEXT_SHAPE_SIZE], int rank, const size_t *shape, const char *between); /* "4096x4096" */

#endif
