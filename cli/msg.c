#include "msg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "color.h"
#include "progress.h"
#include "signals.h"
#include "text.h"

static bool quiet, verbose;
static s24_status worst = S24_OK;

void msg_setup(bool is_quiet, bool is_verbose)
{
    quiet = is_quiet;
    verbose = is_verbose && !is_quiet;
}

bool msg_quiet(void)
{
    return quiet;
}

bool msg_verbose(void)
{
    return verbose;
}

void msg_record(s24_status status)
{
    /* What to tell first when several things went wrong; S24_ERR_STOPPED ends the process by its signal. */
    static const unsigned char weight[] = {
        [S24_OK] = 0, [S24_ERR_NOTHING] = 1, [S24_ERR_CHECK] = 2, [S24_ERR_USAGE] = 3, [S24_ERR_DATA] = 4,
        [S24_ERR_SYSTEM] = 5, [S24_ERR_STOPPED] = 0,
    };
    if (weight[status] > weight[worst]) {
        worst = status;
    }
}

int msg_status(void)
{
    return (int)worst;
}

/* One line at once: other processes may write to the same terminal, other threads to the same stream. */
static void say(color_kind kind, const char *format, va_list args)
{
    char text[8192], line[4 * sizeof text]; /* the longest path is 4096 bytes, the longest escape 4 */
    vsnprintf(text, sizeof text, format, args);
    text_escape(line, sizeof line, text, false);
    flockfile(stderr);
    progress_wipe();
    fprintf(stderr, "%ss24:%s %s\n", color(stderr, kind), color(stderr, COLOR_OFF), line);
    fflush(stderr);
    funlockfile(stderr);
}

void msg_error(s24_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(COLOR_RED, format, args);
    va_end(args);
    msg_record(status);
}

void msg_failure(const s24_error *err)
{
    /* A system call that a signal broke off is a stop, even where its caller called it a failure. */
    if (*signals_flag() && (err->status == S24_ERR_STOPPED || err->sys_errno == EINTR)) {
        return;
    }
    if (err->sys_errno == EPIPE) {
        signals_pipe_closed();
        return;
    }
    msg_error(err->status, "%s", err->message);
}

void msg_check(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!quiet) {
        say(COLOR_RED, format, args);
    }
    va_end(args);
    msg_record(S24_ERR_CHECK);
}

void msg_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!quiet) {
        say(COLOR_BOLD, format, args);
    }
    va_end(args);
}

void msg_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (verbose) {
        say(COLOR_BOLD, format, args);
    }
    va_end(args);
}

void msg_flush_stdout(void)
{
    static bool told;
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || told || *signals_flag()) {
        return; /* a signal breaks off a write, too: that is a stop */
    }
    /* glibc keeps what it could not write, and fails anew; musl drops it. Another byte, which no longer matters, fails
     * for the same reason. */
    if (errno == 0 && write(STDOUT_FILENO, "\n", 1) == 1) {
        errno = EIO;
    }
    if (errno == EPIPE) {
        signals_pipe_closed();
        return;
    }
    told = true; /* once: what follows fails as well */
    msg_error(S24_ERR_SYSTEM, "standard output: cannot write: %s", strerror(errno));
}
