/*
 * Blocks that several own: a plan and a report have names, shapes and metadata from the source, and keep them instead of
 * copying. One thread at a time.
 */
#ifndef S24_FORMATS_SHARED_H
#define S24_FORMATS_SHARED_H

#include "error.h"

/* `bytes` bytes with one owner, a copy of data (NULL: undefined); NULL: no memory, *err is set. */
void *s24_shared_new(const void *data, size_t bytes, s24_error *err);
char *s24_shared_text(const char *text, s24_error *err);
/* A text that often repeats: `last` again if it is the same, otherwise a new one. last may be NULL. */
char *s24_shared_like(char *last, const char *text, s24_error *err);

void *s24_shared_keep(void *block); /* the same with one more owner; NULL is fine, as below */
void s24_shared_free(void *block);  /* one owner less; the last frees it */

#endif
