/* Files that a command makes besides its results, written as a whole: drawings, plans. */
#ifndef S24_CLI_WHOLE_H
#define S24_CLI_WHOLE_H

#include "command.h"
#include "svg.h"

/*
 * Whether --option's file can be written, now, not only after long work: it is none of the operands and none of `others` (NULL
 * among them is fine), and does not exist unless `force`. Otherwise that has been told.
 */
bool whole_check(const context *c, const char *option, const char *path, const char *const *others, size_t count, bool force);

/* The same for a drawing, which is never standard output. */
bool whole_check_drawing(const context *c, const char *path, const char *const *others, size_t count, bool force);

/* Writes n bytes as every output is written (io->force, io->no_sync). Messages name the file. */
s24_status whole_write(const s24_io *io, const char *path, const void *data, size_t n, s24_error *err);

/* Writes and frees the drawing; NULL: there was no memory for it. Failures have been told. */
void whole_write_drawing(const context *c, svg *drawing, const char *path, bool force);

#endif
