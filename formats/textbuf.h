/* Strings that grow, for whoever writes text. */
#ifndef S24_FORMATS_TEXTBUF_H
#define S24_FORMATS_TEXTBUF_H

#include "error.h"

/* A growing string. text is NUL-terminated; failed: no memory, and nothing more is appended. */
typedef struct s24_text {
    char *text;
    size_t length, capacity;
    bool failed;
} s24_text;

void s24_text_free(s24_text *text);
bool s24_text_reserve(s24_text *text, size_t n); /* room for n more characters and the NUL; false: failed */
void s24_text_add(s24_text *text, const char *data, size_t n);
void s24_text_printf(s24_text *text, const char *format, ...) S24_PRINTF(2, 3);
void s24_text_json_string(s24_text *text, const char *value); /* quoted and escaped */

/* A name for a message: what JSON escapes is escaped, and a long one is cut. */
void s24_text_shorten(const char *name, char *out, size_t size);

#endif
