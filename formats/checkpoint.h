/*
 * Checkpoints: a directory with the weights of one model, usually in several files ("shards") with an index that says
 * which tensor is in which. Reading one gives a source whose parts are the shards and whose contents are all tensors;
 * delivery.h writes them.
 */
#ifndef S24_FORMATS_CHECKPOINT_H
#define S24_FORMATS_CHECKPOINT_H

#include <dirent.h>

#include "format.h"
#include "jsonx.h"

/* Which shard the index says that a tensor is in. */
typedef struct s24_index_place {
    const char *tensor;  /* borrowed from json */
    size_t shard;
} s24_index_place;

typedef struct s24_checkpoint {
    char *directory;
    char *index;         /* the index's file name; NULL: there is none, and one shard */
    char *index_text;
    size_t index_bytes;
    cJSON *json;         /* the same, parsed */
    s24_index_place *places; /* in the order of tensors' names */
    size_t place_count;
    s24_names shards;    /* file names, in their order */
} s24_checkpoint;

/* Whether a path is a checkpoint: a directory, or, unless the format is given, an index by its name. */
bool s24_checkpoint_is(const char *path, bool format_given);

/*
 * Finds the checkpoint at path and the names of its shards, fills source->checkpoint, format and in. S24_ERR_DATA, each
 * by name: no weights or several without an index, an index that is none, names that leave the directory, weights files
 * that the index does not list.
 */
s24_status s24_checkpoint_find(s24_source *source, const s24_io *io, const char *path, s24_error *err);

/*
 * Opens every shard as a part, and gathers their tensors in source->contents. S24_ERR_DATA: shards or tensors missing, or
 * other ones than the index says.
 */
s24_status s24_checkpoint_parse(s24_source *source, s24_error *err);
void s24_checkpoint_close(s24_source *source);

/* After contents were rearranged (layout.h): each part's contents are again its range of them. */
void s24_checkpoint_divide(s24_source *source);

/* "DIRECTORY/NAME" in new memory; NULL: *err is set. */
char *s24_path_join(const char *directory, const char *name, s24_error *err);

/* The next name in a directory, until the next call; NULL: there is none, or *status is not S24_OK any more. */
const char *s24_directory_next(DIR *directory, s24_status *status, s24_error *err);

#endif
