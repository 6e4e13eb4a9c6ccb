#include "color.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static color_mode mode_in_use;

void color_setup(color_mode mode)
{
    const char *no_color = getenv("NO_COLOR");
    mode_in_use = mode == COLOR_AUTO && no_color && *no_color ? COLOR_NEVER : mode;
}

bool color_terminal(FILE *f)
{
    const char *term = getenv("TERM");
    return isatty(fileno(f)) && term && *term && strcmp(term, "dumb") != 0;
}

const char *color(FILE *f, color_kind kind)
{
    static const char *const sequences[COLOR_KINDS] = {
        [COLOR_OFF] = "\033[0m", [COLOR_BOLD] = "\033[1m", [COLOR_RED] = "\033[1;31m",
    };
    const bool on = mode_in_use == COLOR_ALWAYS || (mode_in_use == COLOR_AUTO && color_terminal(f));
    return on ? sequences[kind] : "";
}
