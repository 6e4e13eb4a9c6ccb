/*
 * How far it is: a bar, the rate and the time left, on the last line of a terminal, not before a second has passed.
 * Messages wipe it away before they are printed. Any thread may call.
 */
#ifndef S24_CLI_PROGRESS_H
#define S24_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

void progress_setup(bool wanted); /* wanted, where stderr is a terminal that can do it */
void progress_start(const char *label);
void progress_update(void *unused, uint64_t done, uint64_t total); /* as s24_io.progress; total 0: not known */
void progress_stop(void);
void progress_wipe(void); /* with stderr locked */

#endif
