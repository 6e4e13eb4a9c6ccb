#include "svg.h"

#include <stdio.h>
#include <stdlib.h>

#include "text.h"

struct svg {
    FILE *out; /* into text */
    char *text;
    size_t length;
};

/* As XML has it: no character that means something to it, none that it forbids. */
static void put_text(svg *s, const char *text)
{
    char *clean = text_utf8(text);
    for (const char *p = clean ? clean : ""; *p; p++) {
        switch (*p) {
        case '&':
            fputs("&amp;", s->out);
            break;
        case '<':
            fputs("&lt;", s->out);
            break;
        case '>':
            fputs("&gt;", s->out);
            break;
        case '"':
            fputs("&quot;", s->out);
            break;
        default:
            fputc((unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p, s->out);
        }
    }
    free(clean);
}

svg *svg_new(double width, double height, const char *title)
{
    svg *s = calloc(1, sizeof *s);
    if (!s || !(s->out = open_memstream(&s->text, &s->length))) {
        free(s);
        return NULL;
    }
    fprintf(s->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" viewBox=\"0 0 %g %g\" "
            "role=\"img\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n<title>", width, height, width,
            height);
    put_text(s, title);
    fputs("</title>\n", s->out);
    svg_box(s, 0, 0, width, height, "#ffffff", "");
    return s;
}

void svg_free(svg *s)
{
    if (s) {
        fclose(s->out);
        free(s->text);
        free(s);
    }
}

static void put_stroke(svg *s, const char *colour, double width, const char *dash)
{
    fprintf(s->out, "\" stroke=\"%s\" stroke-width=\"%g\"", colour, width);
    if (*dash) {
        fprintf(s->out, " stroke-dasharray=\"%s\"", dash);
    }
    fputs(" fill=\"none\"/>\n", s->out);
}

void svg_line(svg *s, double x1, double y1, double x2, double y2, const char *colour, double width, const char *dash)
{
    const double points[2][2] = {{x1, y1}, {x2, y2}};
    svg_polyline(s, points, 2, colour, width, dash);
}

void svg_polyline(svg *s, const double (*points)[2], size_t count, const char *colour, double width, const char *dash)
{
    fputs("<polyline points=\"", s->out);
    for (size_t i = 0; i < count; i++) {
        fprintf(s->out, "%s%.2f,%.2f", i ? " " : "", points[i][0], points[i][1]);
    }
    put_stroke(s, colour, width, dash);
}

/* The end of an element that has a tip, or none. */
static void put_tip(svg *s, const char *name, const char *tip)
{
    if (*tip) {
        fputs("><title>", s->out);
        put_text(s, tip);
        fprintf(s->out, "</title></%s>\n", name);
    } else {
        fputs("/>\n", s->out);
    }
}

void svg_box(svg *s, double x, double y, double width, double height, const char *colour, const char *tip)
{
    fprintf(s->out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"", x, y, width, height,
            colour);
    put_tip(s, "rect", tip);
}

void svg_dot(svg *s, double x, double y, double radius, const char *colour, const char *tip)
{
    fprintf(s->out, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%g\" fill=\"%s\"", x, y, radius, colour);
    put_tip(s, "circle", tip);
}

void svg_text(svg *s, double x, double y, svg_anchor anchor, double size, const char *colour, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    fprintf(s->out, "<text x=\"%.2f\" y=\"%.2f\" text-anchor=\"%s\" font-size=\"%g\" fill=\"%s\">", x, y,
            anchors[anchor], size, colour);
    put_text(s, text);
    fputs("</text>\n", s->out);
}

void svg_text_upwards(svg *s, double x, double y, double size, const char *colour, const char *text)
{
    fprintf(s->out, "<text transform=\"translate(%.2f %.2f) rotate(-90)\" text-anchor=\"middle\" font-size=\"%g\" "
            "fill=\"%s\">", x, y, size, colour);
    put_text(s, text);
    fputs("</text>\n", s->out);
}

const char *svg_finish(svg *s, size_t *length)
{
    fputs("</svg>\n", s->out);
    if (fflush(s->out) != 0 || ferror(s->out)) {
        return NULL;
    }
    *length = s->length;
    return s->text;
}
