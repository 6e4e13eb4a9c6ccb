/* Strings that grow, for whoever writes text. */
#ifndef S24_FORMATS_TEXTBUF_H
#define S24_FORMATS_TEXTBUF_H

#include "error.h"

/*
 * A growing string. text is NUL-terminated; failed: no memory, and nothing more is appended. One with a drain is not kept:
 * what there is of it, NUL-terminated as well, goes there every now and then, and at s24_text_drain, which must come last.
 */
typedef struct s24_text {
    char *text;
    size_t length, capacity;
    bool failed;
    void (*drain)(void *to, const char *text, size_t n); /* NULL: it is kept */
    void *to;
} s24_text;

void s24_text_free(s24_text *text);
bool s24_text_reserve(s24_text *text, size_t n); /* room for n more characters and the NUL; false: failed */
void s24_text_add(s24_text *text, const char *data, size_t n);
void s24_text_printf(s24_text *text, const char *format, ...) S24_PRINTF(2, 3);
void s24_text_json_string(s24_text *text, const char *value); /* quoted and escaped */
void s24_text_json_escaped(s24_text *text, const char *value); /* without the quotes */
void s24_text_drain(s24_text *text);

/* A name for a message: what JSON escapes is escaped, and a long one is cut. */
void s24_text_shorten(const char *name, char *out, size_t size);

#endif
