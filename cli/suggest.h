/* What somebody may have meant: the nearest of the names there are. */
#ifndef S24_CLI_SUGGEST_H
#define S24_CLI_SUGGEST_H

#include <stddef.h>

typedef struct suggest {
    const char *word;    /* as typed */
    const char *nearest; /* NULL: nothing is near */
    size_t distance;
} suggest;

/* Begin with suggest{.word = word}, then try every candidate. */
void suggest_try(suggest *s, const char *candidate);

#endif
