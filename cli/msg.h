/*
 * Messages to people, on stderr, one line each, and the exit status: what prints an error also records it, so that no
 * failure is told without being counted or counted without being told. Any thread may talk.
 */
#ifndef S24_CLI_MSG_H
#define S24_CLI_MSG_H

#include "s24.h"

void msg_setup(bool quiet, bool verbose);
bool msg_quiet(void);
bool msg_verbose(void);

/* "s24: " and the message, control characters escaped. Errors are told also to those who asked for quiet. */
void msg_error(s24_status status, const char *format, ...) S24_PRINTF(2, 3);

/* An error of the library. A stop by a signal and a closed pipe are no errors: signals_flag() is up after them. */
void msg_failure(const s24_error *err);

void msg_check(const char *format, ...) S24_PRINTF(1, 2); /* a check that failed: status 1; not told with -q */
void msg_warn(const char *format, ...) S24_PRINTF(1, 2);  /* what everybody should know; not with -q */
void msg_note(const char *format, ...) S24_PRINTF(1, 2);  /* only with -v */

/* What is said on stdout has been written, all of it; otherwise status 4. To call after every file. */
void msg_flush_stdout(void);

void msg_record(s24_status status);
int msg_status(void); /* the worst so far, as an exit status */

#endif
