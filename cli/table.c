#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "color.h"
#include "msg.h"
#include "text.h"

#define MOST_COLUMNS 16

/* Room for n more bytes of cells. */
static bool reserve(table *t, size_t n)
{
    size_t capacity = t->capacity ? t->capacity : 4096;
    while (capacity - t->bytes < n) {
        capacity *= 2;
    }
    char *cells = capacity == t->capacity ? t->cells : realloc(t->cells, capacity);
    if (cells) {
        t->cells = cells;
        t->capacity = capacity;
    }
    return cells;
}

void table_add(table *t, const char *cell)
{
    char *copy = text_escaped(cell, false);
    const size_t n = copy ? strlen(copy) + 1 : 0;
    t->failed = t->failed || !copy || !reserve(t, n);
    if (!t->failed) {
        memcpy(t->cells + t->bytes, copy, n);
        t->bytes += n;
        t->count++;
    }
    free(copy);
}

void table_add_figure(table *t, double x)
{
    char text[TEXT_SIZE];
    text_figure(text, x);
    table_add(t, text);
}

void table_add_bytes(table *t, uint64_t bytes)
{
    char text[TEXT_SIZE];
    text_bytes(text, bytes);
    table_add(t, text);
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
    const char *cells[MOST_COLUMNS]; /* first the titles */
    for (; t->columns[columns].title; columns++) {
        cells[columns] = t->columns[columns].title;
        width[columns] = text_width(cells[columns]);
    }
    const char *cell = t->cells;
    for (size_t i = 0; i < t->count; i++) {
        const size_t w = text_width(cell);
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): every table has columns */
        width[i % columns] = w > width[i % columns] ? w : width[i % columns];
        cell += strlen(cell) + 1;
    }
    fputs(color(out, COLOR_BOLD), out);
    print_row(t, columns, width, cells, out);
    fputs(color(out, COLOR_OFF), out);
    cell = t->cells;
    for (size_t i = 0; i + columns <= t->count; i += columns) {
        for (size_t c = 0; c < columns; c++) {
            cells[c] = cell;
            cell += strlen(cell) + 1;
        }
        print_row(t, columns, width, cells, out);
    }
}

void table_print(table *t, FILE *out)
{
    if (t->failed) {
        msg_error(S24_ERR_SYSTEM, "no memory for the table");
    } else if (t->count) {
        print_rows(t, out);
    }
    free(t->cells);
    *t = (table){.columns = t->columns};
}
