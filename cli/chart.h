/* Curves over a logarithmic axis, as a drawing. */
#ifndef S24_CLI_CHART_H
#define S24_CLI_CHART_H

#include "svg.h"

typedef struct chart_curve {
    const char *name;
    const double *y;    /* [points], 0 or more */
} chart_curve;

typedef struct chart {
    const char *title, *subtitle;
    const char *x_title, *y_title;
    const double *x;    /* [points], more than 0; in any order */
    size_t points;      /* at least 1 */
    const chart_curve *curves;
    size_t curve_count;
    double mark;        /* a value of y that means something, drawn through; */
    const char *meaning;
} chart;

svg *chart_draw(const chart *c); /* NULL: no memory */

#endif
