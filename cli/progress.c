#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "color.h"
#include "text.h"

#define FIRST_SECONDS 1.0  /* what takes less needs no bar */
#define REDRAW_SECONDS 0.1
#define LABEL_SIZE 33

static bool wanted, running, visible;
static char label[LABEL_SIZE];
static double started, drawn;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_setup(bool is_wanted)
{
    wanted = is_wanted && color_terminal(stderr);
}

void progress_start(const char *name)
{
    char *safe = wanted ? text_escaped(name, false) : NULL;
    if (!safe) {
        return;
    }
    const size_t length = strlen(safe);
    /* The end of a long path says more than its beginning. */
    snprintf(label, sizeof label, "%s", length < LABEL_SIZE ? safe : safe + length - (LABEL_SIZE - 1));
    free(safe);
    started = now();
    drawn = 0;
    running = true;
}

void progress_wipe(void)
{
    if (visible) {
        fputs("\r\033[K", stderr);
        visible = false;
    }
}

void progress_stop(void)
{
    flockfile(stderr);
    progress_wipe();
    fflush(stderr);
    running = false;
    funlockfile(stderr);
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void draw(uint64_t done, uint64_t total, double seconds)
{
    char rate[TEXT_SIZE], figures[96], bar[64];
    const double per_second = (double)done / seconds;
    text_bytes(rate, (uint64_t)per_second);
    if (total == 0 || total == UINT64_MAX || done > total) {
        char bytes[TEXT_SIZE];
        text_bytes(bytes, done);
        fprintf(stderr, "\r%s  %s  %s/s\033[K", label, bytes, rate);
        return;
    }
    const double share = (double)done / (double)total;
    const double left = done ? (double)(total - done) / per_second + 0.5 : 0;
    const unsigned long whole = left < 1e6 ? (unsigned long)left : 999999;
    snprintf(figures, sizeof figures, "%3d %%  %s/s  %lu:%02lu left", (int)(100 * share), rate, whole / 60, whole % 60);
    const int room = columns() - 1 - (int)strlen(label) - (int)strlen(figures) - 6;
    const int width = room > 40 ? 40 : room;
    if (width < 5) {
        fprintf(stderr, "\r%.*s\033[K", columns() - 1, figures);
        return;
    }
    memset(bar, ' ', sizeof bar);
    memset(bar, '=', (size_t)(share * width));
    fprintf(stderr, "\r%s  [%.*s]  %s\033[K", label, width, bar, figures);
}

void progress_update(void *unused, uint64_t done, uint64_t total)
{
    (void)unused;
    if (!running) {
        return;
    }
    const double t = now();
    flockfile(stderr);
    if (t - started >= FIRST_SECONDS && t - drawn >= REDRAW_SECONDS) {
        draw(done, total, t - started);
        fflush(stderr);
        visible = true;
        drawn = t;
    }
    funlockfile(stderr);
}
