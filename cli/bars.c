#include "bars.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"
#include "text.h"

/* The drawing, in pixels: titles, what the colours mean, a scale, the rows, the scale once more. */
#define WIDTH 860.0
#define RIGHT 56.0      /* room for the figure behind the longest bar */
#define LEFT 16.0
#define TOP 62.0
#define KEY_HEIGHT 18.0
#define SCALE 26.0      /* of a scale above or below the rows */
#define BOTTOM 40.0
#define LETTER 6.5      /* of the names, on average; wide ones are rare */
#define NAME_SIZE 11.0
#define NAME_LETTERS 48 /* a longer name is cut in front: what tells layers apart is mostly behind */
#define ROW_LEAST 14.0  /* a line of text */
#define ROW_GAP 4.0
#define FIGURE_BAR 9.0  /* a bar of that height has its figure behind it */
#define STRIPE "#f4f4f4"

typedef struct frame {
    double left, top;   /* of the bars */
    double bar, row;    /* heights */
    double most, step;  /* of the values */
    size_t count;
} frame;

/* Of few rows the bars are easy to see; of many a row is not much higher than a line of text. */
static double bar_height(size_t rows, size_t series)
{
    const double many = fmax(4, floor(12 / (double)series));
    return fmax(many, rows <= 12 ? 12 : rows <= 40 ? 9 : many);
}

static double at_x(const frame *f, double x)
{
    return f->left + x / f->most * (WIDTH - RIGHT - f->left);
}

static double row_y(const frame *f, size_t i)
{
    return f->top + f->row * (double)i;
}


/* Of bars and marks; but a mark far beyond all bars would leave no room for them. */
static double largest(const bars *b, size_t rows)
{
    double most = 0;
    for (size_t i = 0; i < rows; i++) {
        for (size_t k = 0; k < b->series_count; k++) {
            most = fmax(most, b->rows[i].values[k]); /* NaN counts for nothing */
        }
    }
    const double bound = 1.5 * most;
    for (size_t m = 0; m < b->mark_count; m++) {
        most = b->marks[m].at <= bound ? fmax(most, b->marks[m].at) : most;
    }
    return most > 0 ? most : 1;
}

static bool mark_fits(const frame *f, const bars_mark *m)
{
    return m->at >= 0 && m->at <= f->most;
}

/* The name as it is shown: in one line, not too long. The caller frees it; NULL: no memory. */
static char *shown_name(const bars_row *row)
{
    char *name = text_escaped(row->name, false);
    size_t letters = name ? text_width(name) : 0;
    if (letters > NAME_LETTERS) {
        static const char dots[] = "...";
        const char *from = name;
        for (; letters > NAME_LETTERS - strlen(dots); letters--) {
            for (from++; ((unsigned char)*from & 0xc0) == 0x80; from++) {
            }
        }
        memmove(name + strlen(dots), from, strlen(from) + 1); /* more than that was cut off */
        memcpy(name, dots, strlen(dots));
    }
    return name;
}

static double note_width(const bars_row *row)
{
    return *row->note ? LETTER * (double)(2 + text_width(row->note)) : 0;
}

static double names_width(const bars *b, size_t rows)
{
    double most = 0;
    for (size_t i = 0; i < rows; i++) {
        char *const name = shown_name(&b->rows[i]);
        most = fmax(most, (name ? LETTER * (double)text_width(name) : 0) + note_width(&b->rows[i]));
        free(name);
    }
    return most;
}

static frame find_frame(const bars *b)
{
    frame f = {.count = b->count < BARS_MOST ? b->count : BARS_MOST};
    const size_t keys = b->series_count + b->mark_count + (f.count < b->count);
    f.left = LEFT + names_width(b, f.count) + 10;
    f.top = TOP + KEY_HEIGHT * (double)keys + SCALE;
    f.bar = bar_height(f.count, b->series_count);
    f.row = fmax(ROW_LEAST, f.bar * (double)b->series_count) + ROW_GAP;
    f.most = largest(b, f.count);
    f.step = chart_step(f.most);
    return f;
}

/* ---------------------------------------------------------------- pieces */

static void draw_keys(svg *s, const bars *b, const frame *f)
{
    char text[256];
    double y = TOP;
    for (size_t k = 0; k < b->series_count; k++) {
        svg_box(s, LEFT, y - 5, 32, 10, chart_styles[k % CHART_STYLES].colour, "");
        svg_text(s, LEFT + 40, y + 4, SVG_START, 12, CHART_INK, b->series[k]);
        y += KEY_HEIGHT;
    }
    for (size_t m = 0; m < b->mark_count; m++) {
        const bool fits = mark_fits(f, &b->marks[m]);
        svg_line(s, LEFT, y, LEFT + 32, y, CHART_INK, 1.5, "6 3");
        snprintf(text, sizeof text, "%s%s", b->marks[m].name, fits ? "" : ": beyond this drawing");
        svg_text(s, LEFT + 40, y + 4, SVG_START, 12, CHART_INK, text);
        y += KEY_HEIGHT;
    }
    if (f->count < b->count) {
        snprintf(text, sizeof text, "The first %zu of %zu are drawn.", f->count, b->count);
        svg_text(s, LEFT, y + 4, SVG_START, 12, CHART_INK, text);
    }
}

static void draw_stripes(svg *s, const frame *f)
{
    for (size_t i = 0; i < f->count; i += 2) {
        svg_box(s, LEFT - 4, row_y(f, i), WIDTH - RIGHT - LEFT + 4, f->row, STRIPE, "");
    }
}

static void draw_scale(svg *s, const bars *b, const frame *f)
{
    const double bottom = row_y(f, f->count);
    char text[TEXT_SIZE];
    for (int i = 0; i * f->step <= f->most * 1.001; i++) {
        const double x = at_x(f, i * f->step);
        svg_line(s, x, f->top, x, bottom, CHART_FAINT, 1, "");
        snprintf(text, sizeof text, "%g", i * f->step);
        svg_text(s, x, f->top - 6, SVG_MIDDLE, NAME_SIZE, CHART_INK, text);
        svg_text(s, x, bottom + 14, SVG_MIDDLE, NAME_SIZE, CHART_INK, text);
    }
    svg_text(s, f->left + (WIDTH - RIGHT - f->left) / 2, bottom + 32, SVG_MIDDLE, 12, CHART_INK, b->x_title);
}

static void draw_name(svg *s, const frame *f, const bars_row *row, double y)
{
    char *const name = shown_name(row);
    const double base = y + f->row / 2 + 4;
    svg_text(s, f->left - 8 - note_width(row), base, SVG_END, NAME_SIZE, CHART_INK, name ? name : "");
    if (*row->note) {
        svg_text(s, f->left - 8, base, SVG_END, NAME_SIZE, CHART_GREY, row->note);
    }
    free(name);
}

static double bar_y(const bars *b, const frame *f, size_t i, size_t k)
{
    return row_y(f, i) + (f->row - f->bar * (double)b->series_count) / 2 + f->bar * (double)k;
}

/* An undefined value is a stump. */
static double bar_end(const frame *f, double x)
{
    return isnan(x) ? f->left + 2 : fmax(at_x(f, x), f->left + 0.5);
}

static void draw_bars(svg *s, const bars *b, const frame *f, size_t i)
{
    const bars_row *const row = &b->rows[i];
    for (size_t k = 0; k < b->series_count; k++) {
        const double x = row->values[k];
        char tip[512], figure[TEXT_SIZE];
        text_figure(figure, x);
        snprintf(tip, sizeof tip, "%.300s, %.100s: %s", row->name, b->series[k], isnan(x) ? "undefined" : figure);
        svg_box(s, f->left, bar_y(b, f, i, k), bar_end(f, x) - f->left, f->bar - 0.5,
                isnan(x) ? CHART_GREY : chart_styles[k % CHART_STYLES].colour, tip);
    }
}

static void draw_marks(svg *s, const bars *b, const frame *f)
{
    for (size_t m = 0; m < b->mark_count; m++) {
        if (mark_fits(f, &b->marks[m])) {
            const double x = at_x(f, b->marks[m].at);
            svg_line(s, x, f->top, x, row_y(f, f->count), CHART_INK, 1.5, "6 3");
        }
    }
}

/* Figures behind the bars, where there is room for them. */
static void draw_figures(svg *s, const bars *b, const frame *f, size_t i)
{
    for (size_t k = 0; k < b->series_count && f->bar >= FIGURE_BAR; k++) {
        const double x = b->rows[i].values[k];
        char text[TEXT_SIZE];
        isnan(x) ? snprintf(text, sizeof text, "undefined") : snprintf(text, sizeof text, "%.3g", x);
        svg_text(s, bar_end(f, x) + 4, bar_y(b, f, i, k) + f->bar - 2, SVG_START, f->bar - 1, CHART_INK, text);
    }
}

svg *bars_draw(const bars *b)
{
    const frame f = find_frame(b);
    svg *const s = svg_new(WIDTH, row_y(&f, f.count) + BOTTOM, b->title);
    if (!s) {
        return NULL;
    }
    svg_text(s, LEFT, 24, SVG_START, 16, CHART_INK, b->title);
    svg_text(s, LEFT, 43, SVG_START, 12, CHART_GREY, b->subtitle);
    draw_keys(s, b, &f);
    draw_stripes(s, &f);
    draw_scale(s, b, &f);
    for (size_t i = 0; i < f.count; i++) {
        draw_name(s, &f, &b->rows[i], row_y(&f, i));
        draw_bars(s, b, &f, i);
    }
    draw_marks(s, b, &f);
    for (size_t i = 0; i < f.count; i++) {
        draw_figures(s, b, &f, i);
    }
    return s;
}
