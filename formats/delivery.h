/*
 * Deliveries: what a command makes of a source. One file, or of a checkpoint a directory: a file for each shard, the
 * index, and every file that is no weights as it is. The command says what becomes of a tensor; which files there are,
 * what they are called and that they appear together, the index last, is done here.
 */
#ifndef S24_FORMATS_DELIVERY_H
#define S24_FORMATS_DELIVERY_H

#include "checkpoint.h"
#include "textbuf.h"
#include "target.h"

/* A tensor that is written. */
typedef struct s24_task {
    s24_entry *entry;
    size_t planned; /* its number in the target */
} s24_task;

typedef struct s24_delivery {
    const s24_io *io;
    s24_source *source;
    s24_source *const *others; /* further inputs, which must not be overwritten either; NULL among them: none */
    size_t other_count;
    const s24_format *format;  /* of the files */
    const char *output;        /* a file, "-", or a directory */
    bool directory;
    unsigned shard, shards;    /* only files number shard, shard + shards, ... from 1; shards 0: all */
    bool without_metadata;
    size_t panel_groups, panel_bytes; /* of a .s24; 0: the defaults */
    s24_packing packing;       /* of a .s24 */
    bool keep;                 /* .s24 files become .s24 files that are the same plain ones */

    void *ctx;                 /* of the callbacks */
    /* Appends the entry as the file shall have it, or nothing: then it is left out. */
    s24_status (*plan)(void *ctx, const s24_entry *entry, s24_contents *plan, s24_error *err);
    /* Writes the data of the tensors of a file, in order. */
    s24_status (*process)(void *ctx, s24_target *target, const s24_task *tasks, size_t count, s24_error *err);
    /* All wanted data of the file have been read. */
    s24_status (*end)(void *ctx, s24_source *file, s24_error *err);

    /* Of s24_delivery_write: */
    s24_output **outputs;      /* complete, not yet in their places */
    size_t output_count, output_capacity;
    size_t index;              /* which of them appears last; SIZE_MAX: none */
    s24_names directories;     /* that were made */
} s24_delivery;

/* Whether the source's file number i is of this delivery's share. */
bool s24_delivery_has(const s24_delivery *delivery, size_t i);

/* Writes everything, so that only renaming is left. Messages name files. On failure: abort. */
s24_status s24_delivery_write(s24_delivery *delivery, s24_error *err);

/* The outputs appear, or nothing does. Both free what the delivery holds. */
s24_status s24_delivery_commit(s24_delivery *delivery, s24_error *err);
void s24_delivery_abort(s24_delivery *delivery);

#endif
