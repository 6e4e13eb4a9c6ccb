/* Names of outputs: where they go when nobody says, and what their suffix says. Strings are the caller's to free. */
#ifndef S24_CLI_PATHS_H
#define S24_CLI_PATHS_H

#include <stdbool.h>

bool path_is_std(const char *path);       /* "-" */
bool path_is_directory(const char *path); /* there is one, or the name ends in "/" */
bool path_is_checkpoint(const char *path); /* a directory of weights, or its index */

/* Whether writing to `path` would replace `input`, or a file of the checkpoint that it is: there is such a file. */
bool path_is_of(const char *path, const char *input);

/* Whether an output that a checkpoint becomes is a directory of files, by its name: there is one, or no suffix says otherwise. */
bool path_for_checkpoint(const char *path);

/* Whether the files of such a directory can be of that format, "same" included. */
bool path_format_of_shards(const char *format);

/* What a path's suffix says about its format. */
typedef enum path_suffix {
    PATH_SAYS_NOTHING,
    PATH_SAYS,          /* *format is it */
    PATH_SAYS_FOREIGN   /* a format that s24 does not write: its suffix on something else would mislead */
} path_suffix;
path_suffix path_format(const char *path, const char **format);

/*
 * "models/w.npy" as an output in `format`: beside the input "models/w.s24", in a directory "DIR/w.s24". format "same":
 * the name as it is. A checkpoint's directory counts by its name, "models/llama/" is "models/llama.s24"; NULL: no memory,
 * or a name that says nothing, as "." does.
 */
char *path_beside(const char *input, const char *format);
char *path_inside(const char *directory, const char *input, const char *format);

#endif
