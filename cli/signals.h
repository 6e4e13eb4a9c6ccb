/*
 * Signals. SIGINT and others that end a run raise a flag that the library looks at, so that half-written files are removed;
 * the command then ends by the same signal, so that a shell knows (128 + n). A closed pipe is treated as one more.
 */
#ifndef S24_CLI_SIGNALS_H
#define S24_CLI_SIGNALS_H

#include "s24io.h"

void signals_install(void);

/* For work that cannot look at the flag, and has nothing to clean up: signals end it at once. */
void signals_release(void);

/* The number of the signal that came; 0: none. As s24_io.cancel. */
const volatile sig_atomic_t *signals_flag(void);

/* As s24_io.maps: a handler of SIGBUS looks after them. */
s24_maps *signals_maps(void);

/* A reader went away: the rest is not wanted, and nobody is told. */
void signals_pipe_closed(void);

/* Ends the process by the signal that came, if one came. */
void signals_pass_on(void);

#endif
