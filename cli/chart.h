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

/* What drawings have in common: colours of text and lines, */
#define CHART_INK "#222222"
#define CHART_FAINT "#dddddd"
#define CHART_GREY "#777777"

/* colours that the colour-blind can tell apart (Okabe and Ito 2008), and dashes for who has none, */
typedef struct chart_style {
    const char *colour, *dash;
} chart_style;
#define CHART_STYLES 5
extern const chart_style chart_styles[CHART_STYLES];

/* and the steps of an axis up to `most`, more than 0: 1, 2 or 5 times a power of ten, about five of them. */
double chart_step(double most);

svg *chart_draw(const chart *c); /* NULL: no memory */

#endif
