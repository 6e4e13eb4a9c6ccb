/* Whether text may be coloured, and how. */
#ifndef S24_CLI_COLOR_H
#define S24_CLI_COLOR_H

#include <stdbool.h>
#include <stdio.h>

typedef enum color_mode { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color_mode;
typedef enum color_kind { COLOR_OFF, COLOR_BOLD, COLOR_RED, COLOR_KINDS } color_kind;

/* auto: on terminals, unless NO_COLOR is set (no-color.org) or TERM is "dumb". */
void color_setup(color_mode mode);

const char *color(FILE *f, color_kind kind); /* an escape sequence; "" where there is to be none */
bool color_terminal(FILE *f);                /* a terminal that knows escape sequences */

#endif
