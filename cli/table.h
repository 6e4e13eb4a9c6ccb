/* Aligned columns of text. */
#ifndef S24_CLI_TABLE_H
#define S24_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct table_column {
    const char *title; /* NULL ends the list */
    bool right;        /* figures are aligned right */
} table_column;

/* Begin with table{.columns = list}; cells go in row by row. */
typedef struct table {
    const table_column *columns;
    char *cells;       /* behind one another, each with its NUL: there may be millions */
    size_t bytes, capacity, count;
    bool failed; /* no memory for all of it */
} table;

void table_add(table *t, const char *cell); /* copied, control characters escaped */
void table_add_figure(table *t, double x); /* these as text.h has them */
void table_add_bytes(table *t, uint64_t bytes);

/* Prints title line and rows, and empties the table. A table without rows prints nothing. */
void table_print(table *t, FILE *out);

#endif
