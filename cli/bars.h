/* Horizontal bars, some a row, as a drawing that is as high as its rows need. */
#ifndef S24_CLI_BARS_H
#define S24_CLI_BARS_H

#include "svg.h"

typedef struct bars_row {
    const char *name;
    const char *note;       /* behind the name, "" for none */
    const double *values;   /* one a series, 0 or more; NaN: undefined */
} bars_row;

typedef struct bars_mark {
    double at;
    const char *name;
} bars_mark;

typedef struct bars {
    const char *title, *subtitle, *x_title;
    const char *const *series; /* what the bars of a row are, from above */
    size_t series_count;       /* at least 1 */
    const bars_row *rows;
    size_t count;
    const bars_mark *marks;    /* values that mean something: a line through all rows each */
    size_t mark_count;
} bars;

/* Rows that one drawing takes: what is beyond them is not drawn, which it says. */
#define BARS_MOST 1000

svg *bars_draw(const bars *b); /* NULL: no memory */

#endif
