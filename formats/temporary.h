/*
 * Temporary files beside what they become: ".NAME.s24-TAG-PID-XXXXXX". A process that was killed leaves them there; the next
 * one that writes into the directory removes them. TAG is of the machine and its process namespace, where PID means
 * something: nobody else's files are touched.
 */
#ifndef S24_FORMATS_TEMPORARY_H
#define S24_FORMATS_TEMPORARY_H

#include "io.h"

/*
 * A new file in the directory of `target`, so that renaming it is atomic; mode 0600, so that nobody reads half a file. *path
 * is the caller's to free. Removes what dead processes left there.
 */
s24_status s24_temporary_open(const s24_io *io, const char *target, char **path, int *fd, s24_error *err);

#endif
