#include "table.h"

#include <stdlib.h>

#include "color.h"
#include "msg.h"
#include "text.h"

#define MOST_COLUMNS 16

void table_add(table *t, const char *cell)
{
    if (t->count == t->capacity) {
        const size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **cells = realloc(t->cells, capacity * sizeof *cells);
        if (!cells) {
            t->failed = true;
            return;
        }
        t->cells = cells;
        t->capacity = capacity;
    }
    char *copy = text_escaped(cell, false);
    t->failed = t->failed || !copy;
    if (copy) {
        t->cells[t->count++] = copy;
    }
}

static void print_row(const table *t, size_t columns, const size_t *width, const char *const *cells, FILE *out)
{
    for (size_t c = 0; c < columns; c++) {
        const bool right = t->columns[c].right;
        const int pad = (int)(width[c] - text_width(cells[c]));
        const bool last = c + 1 == columns;
        if (!last || *cells[c]) { /* no blanks at the end of a line */
            fprintf(out, "%s%*s%s%*s", c ? "  " : "", right ? pad : 0, "", cells[c], right || last ? 0 : pad, "");
        }
    }
    fputc('\n', out);
}

static void print_rows(const table *t, FILE *out)
{
    size_t columns = 0, width[MOST_COLUMNS];
    const char *titles[MOST_COLUMNS];
    for (; t->columns[columns].title; columns++) {
        titles[columns] = t->columns[columns].title;
        width[columns] = text_width(titles[columns]);
    }
    for (size_t i = 0; i < t->count; i++) {
        const size_t w = text_width(t->cells[i]);
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): every table has columns */
        width[i % columns] = w > width[i % columns] ? w : width[i % columns];
    }
    fputs(color(out, COLOR_BOLD), out);
    print_row(t, columns, width, titles, out);
    fputs(color(out, COLOR_OFF), out);
    for (size_t i = 0; i + columns <= t->count; i += columns) {
        print_row(t, columns, width, (const char *const *)t->cells + i, out);
    }
}

void table_print(table *t, FILE *out)
{
    if (t->failed) {
        msg_error(S24_ERR_SYSTEM, "no memory for the table");
    } else if (t->count) {
        print_rows(t, out);
    }
    for (size_t i = 0; i < t->count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (table){.columns = t->columns};
}
