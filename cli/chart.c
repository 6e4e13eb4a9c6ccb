#include "chart.h"

#include <math.h>
#include <stdlib.h>

#include "text.h"

/* The drawing, in pixels: curves in a field, with room around it for the axes, and above it for titles and names. */
#define WIDTH 720.0
#define FIELD_HEIGHT 320.0
#define LEFT 64.0
#define RIGHT 24.0
#define TOP 62.0
#define BOTTOM 56.0
#define NAME_HEIGHT 18.0

const chart_style chart_styles[CHART_STYLES] = {
    {"#0072b2", ""}, {"#d55e00", "8 4"}, {"#009e73", "2 3"}, {"#cc79a7", "10 3 2 3"}, {"#e69f00", "14 4"},
};

typedef struct field {
    double top;
    double x_least, x_most; /* log2 */
    double y_most, y_step;
} field;

static double at_x(const field *f, double x)
{
    const double span = f->x_most - f->x_least;
    const double share = span > 0 ? (log2(x) - f->x_least) / span : 0.5;
    return LEFT + 16 + share * (WIDTH - LEFT - RIGHT - 32);
}

static double at_y(const field *f, double y)
{
    return f->top + FIELD_HEIGHT * (1 - y / f->y_most);
}

double chart_step(double most)
{
    const double power = pow(10, floor(log10(most / 5)));
    const double rest = most / 5 / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

static field find_field(const chart *c)
{
    field f = {.top = TOP + NAME_HEIGHT * (double)(c->curve_count + 1), .x_least = INFINITY, .x_most = -INFINITY};
    double most = c->mark;
    for (size_t i = 0; i < c->points; i++) {
        f.x_least = fmin(f.x_least, log2(c->x[i]));
        f.x_most = fmax(f.x_most, log2(c->x[i]));
        for (size_t k = 0; k < c->curve_count; k++) {
            most = fmax(most, c->curves[k].y[i]);
        }
    }
    f.y_step = chart_step(most > 0 ? most : 1);
    f.y_most = f.y_step * ceil((most > 0 ? most : 1) / f.y_step * 1.02);
    return f;
}

/* The name of a line of the field, and a piece of it: `row` of those between the titles and the field. */
static void draw_name(svg *s, size_t row, const char *colour, const char *dash, const char *name)
{
    const double y = TOP + NAME_HEIGHT * (double)row;
    svg_line(s, LEFT, y, LEFT + 32, y, colour, 2, dash);
    svg_text(s, LEFT + 40, y + 4, SVG_START, 12, CHART_INK, name);
}

static void draw_y_axis(svg *s, const chart *c, const field *f)
{
    char text[TEXT_SIZE];
    for (int i = 0; i * f->y_step <= f->y_most * 1.001; i++) {
        const double y = i * f->y_step;
        svg_line(s, LEFT, at_y(f, y), WIDTH - RIGHT, at_y(f, y), CHART_FAINT, 1, "");
        snprintf(text, sizeof text, "%g", y);
        svg_text(s, LEFT - 8, at_y(f, y) + 4, SVG_END, 12, CHART_INK, text);
    }
    svg_line(s, LEFT, at_y(f, c->mark), WIDTH - RIGHT, at_y(f, c->mark), CHART_GREY, 1.5, "");
    svg_text_upwards(s, 20, f->top + FIELD_HEIGHT / 2, 13, CHART_INK, c->y_title);
}

/* A tick at every point; figures where they do not run into those drawn before. */
static void draw_x_axis(svg *s, const chart *c, const field *f)
{
    const double bottom = f->top + FIELD_HEIGHT;
    svg_line(s, LEFT, bottom, WIDTH - RIGHT, bottom, CHART_INK, 1, "");
    for (size_t i = 0; i < c->points; i++) {
        const double x = at_x(f, c->x[i]);
        bool room = true;
        for (size_t k = 0; k < i; k++) {
            room = room && fabs(at_x(f, c->x[k]) - x) > 34;
        }
        svg_line(s, x, bottom, x, bottom + 5, CHART_INK, 1, "");
        if (room) {
            char text[TEXT_SIZE];
            snprintf(text, sizeof text, "%.0f", c->x[i]);
            svg_text(s, x, bottom + 19, SVG_MIDDLE, 12, CHART_INK, text);
        }
    }
    svg_text(s, LEFT + (WIDTH - LEFT - RIGHT) / 2, bottom + 42, SVG_MIDDLE, 13, CHART_INK, c->x_title);
}

static int compare_points(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* points: room for all. */
static void draw_curve(svg *s, const chart *c, const field *f, size_t which, double (*points)[2])
{
    const chart_curve *curve = &c->curves[which];
    const char *colour = chart_styles[which % CHART_STYLES].colour, *dash = chart_styles[which % CHART_STYLES].dash;
    for (size_t i = 0; i < c->points; i++) {
        points[i][0] = at_x(f, c->x[i]);
        points[i][1] = at_y(f, curve->y[i]);
    }
    qsort(points, c->points, sizeof *points, compare_points);
    svg_polyline(s, points, c->points, colour, 2, dash);
    for (size_t i = 0; i < c->points; i++) {
        char tip[128];
        snprintf(tip, sizeof tip, "%s, %.0f: %.3g", curve->name, c->x[i], curve->y[i]);
        svg_dot(s, at_x(f, c->x[i]), at_y(f, curve->y[i]), 4, colour, tip);
    }
    draw_name(s, which, colour, dash, curve->name);
}

svg *chart_draw(const chart *c)
{
    const field f = find_field(c);
    double (*points)[2] = calloc(c->points, sizeof *points);
    svg *s = points ? svg_new(WIDTH, f.top + FIELD_HEIGHT + BOTTOM, c->title) : NULL;
    if (s) {
        svg_text(s, LEFT, 24, SVG_START, 16, CHART_INK, c->title);
        svg_text(s, LEFT, 43, SVG_START, 12, CHART_GREY, c->subtitle);
        draw_y_axis(s, c, &f);
        draw_x_axis(s, c, &f);
        for (size_t i = 0; i < c->curve_count; i++) {
            draw_curve(s, c, &f, i, points);
        }
        draw_name(s, c->curve_count, CHART_GREY, "", c->meaning);
    }
    free(points);
    return s;
}
