/*
 * Drawings as SVG 1.1 (www.w3.org/TR/SVG11): lines, boxes and text, collected in memory as a whole. Units
 * are pixels, y grows downwards. A colour is what CSS takes. A tip, "" for none, is shown on hovering.
 */
#ifndef S24_CLI_SVG_H
#define S24_CLI_SVG_H

#include <stdbool.h>
#include <stddef.h>

typedef struct svg svg;

typedef enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END } svg_anchor; /* what of a text lies at x */

/* NULL: no memory. title: for who does not see it. Ended by svg_free. */
svg *svg_new(double width, double height, const char *title);
void svg_free(svg *s); /* NULL is fine */

/* dash: lengths of strokes and gaps, "6 3"; "": none */
void svg_line(svg *s, double x1, double y1, double x2, double y2, const char *colour, double width, const char *dash);
void svg_polyline(svg *s, const double (*points)[2], size_t count, const char *colour, double width, const char *dash);
void svg_box(svg *s, double x, double y, double width, double height, const char *colour, const char *tip);
void svg_dot(svg *s, double x, double y, double radius, const char *colour, const char *tip);
void svg_text(svg *s, double x, double y, svg_anchor anchor, double size, const char *colour, const char *text);
/* From below to above, its middle at y. */
void svg_text_upwards(svg *s, double x, double y, double size, const char *colour, const char *text);

/* The drawing as a file has it, once it is complete, until svg_free; NULL: no memory. */
const char *svg_finish(svg *s, size_t *length);

#endif
