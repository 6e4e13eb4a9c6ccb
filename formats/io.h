/*
 * Bytes in and bytes out. Everything in formats/ reaches files through here and nowhere else.
 *
 * An input is a regular file (read by position, from any thread), a pipe (read in order, once), or memory. What an
 * adapter must read out of order from a pipe it holds first: up to 32 MiB in memory, beyond that in an unlinked
 * temporary file. An output is a temporary file that becomes the target as a whole or not at all, or a stream.
 */
#ifndef S24_FORMATS_IO_H
#define S24_FORMATS_IO_H

#include "error.h"
#include "mem.h"
#include "s24io.h"

#define S24_UNKNOWN UINT64_MAX

/* S24_ERR_STOPPED once the caller's cancel flag is up. */
s24_status s24_io_stopped(const s24_io *io, s24_error *err);

/* Tells the user what he may want to know, one line; only where he asked for it. */
void s24_io_note(const s24_io *io, const char *format, ...) S24_PRINTF(2, 3);

/* Tells him what he should know whether he asked or not. */
void s24_io_warn(const s24_io *io, const char *format, ...) S24_PRINTF(2, 3);

/* ---------------------------------------------------------------- spool: bytes kept for later */

/* Positional storage, in memory while small and then in an unlinked temporary file. Writes of different threads to
 * different places may overlap in time once the length is reserved. */
typedef struct s24_spool {
    const s24_io *io;
    unsigned char *memory;
    size_t capacity;
    int fd;          /* -1: in memory */
    uint64_t length;
} s24_spool;

void s24_spool_init(s24_spool *spool, const s24_io *io);
void s24_spool_free(s24_spool *spool);
/* Makes room for `length` bytes in all, undefined until written; what: for the note that a file is used. */
s24_status s24_spool_reserve(s24_spool *spool, uint64_t length, const char *what, s24_error *err);
s24_status s24_spool_append(s24_spool *spool, const void *data, size_t n, s24_error *err);
s24_status s24_spool_write(s24_spool *spool, uint64_t offset, const void *data, size_t n, s24_error *err);
s24_status s24_spool_read(const s24_spool *spool, uint64_t offset, void *data, size_t n, s24_error *err);
/* Forgets the first n bytes, or all where there are fewer. */
s24_status s24_spool_drop(s24_spool *spool, uint64_t n, s24_error *err);

/* ---------------------------------------------------------------- input */

typedef struct s24_input {
    const s24_io *io;
    char *name;          /* for messages: the path, "standard input" */
    int fd;              /* -1: memory */
    bool stream;         /* neither a regular file nor memory */
    uint64_t size;       /* S24_UNKNOWN for a stream whose end has not been seen */
    uint64_t position;   /* stream: bytes taken from it */
    uint64_t held_from;  /* stream: the spool holds [held_from, held_from + held.length) */
    s24_spool held;
    unsigned char *memory;
    struct s24_decoder *decoder; /* a stream that another input's bytes are decoded to; owned */
    struct s24_view *view;       /* what another input's bytes stand for, by position; owned */
} s24_input;

/* Where the bytes of a decoded stream come from. */
typedef struct s24_decoder {
    /* The next bytes, up to n; *got < n only at the end. After the end: *got = 0. */
    s24_status (*pull)(struct s24_decoder *decoder, void *data, size_t n, size_t *got, s24_error *err);
    s24_status (*rewind)(struct s24_decoder *decoder, s24_error *err); /* to the beginning; NULL: it cannot be */
    void (*close)(struct s24_decoder *decoder);
} s24_decoder;

/*
 * Bytes by position that are made from those of another input, and read as a file's are: from any thread. If that one is
 * a stream, what is read must be held before.
 */
typedef struct s24_view {
    s24_status (*read)(struct s24_view *view, uint64_t offset, void *data, size_t n, s24_error *err);
    s24_status (*hold)(struct s24_view *view, uint64_t offset, uint64_t n, s24_error *err);
    s24_status (*end)(struct s24_view *view, s24_error *err); /* the other input ends where it must */
    void (*close)(struct s24_view *view);
    s24_input *behind; /* the other input */
} s24_view;

/* What an input is called in messages: the path, "standard input" for "-". */
const char *s24_input_shown(const char *path);

/* path "-" is standard input. A directory, or what cannot be opened, is an error. */
s24_status s24_input_open(s24_input **input, const s24_io *io, const char *path, s24_error *err);

/* Input from memory that the input then owns and frees. */
s24_status s24_input_memory(s24_input **input, const s24_io *io, const char *name, void *data, size_t n,
                            s24_error *err);
/* A stream of what the decoder gives; takes it over, also on failure. */
s24_status s24_input_decoded(s24_input **input, const s24_io *io, const char *name, s24_decoder *decoder,
                             s24_error *err);
/* An input that shows the view, which it takes over unless it fails; size is the caller's to set. */
s24_status s24_input_viewed(s24_input **input, const s24_io *io, const char *name, s24_view *view, s24_error *err);
void s24_input_close(s24_input *input); /* NULL is fine */

/*
 * Exactly n bytes from offset; fewer there is S24_ERR_DATA ("truncated"). From a stream the offset must not lie before
 * what was read already, unless it is held; what is jumped over is lost. Any thread may call it for a file or for held
 * bytes; for the rest of a stream one thread at a time.
 */
s24_status s24_input_read(s24_input *input, uint64_t offset, void *data, size_t n, s24_error *err);

/* The same into new memory, which grows as the bytes arrive, so that a length that lies costs nothing. Freed by free(). */
s24_status s24_input_read_new(s24_input *input, uint64_t offset, char **data, size_t n, s24_error *err);

/* The first bytes, up to n, for probing; *got is how many there are. They can be read again. */
s24_status s24_input_peek(s24_input *input, void *data, size_t n, size_t *got, s24_error *err);

/*
 * All of an input that is text, while nothing but a peek was read: *text has *n bytes, freed by free(). NULL: there are more
 * than `most`. Of a stream as much memory is taken as twice what has come.
 */
s24_status s24_input_read_text(s24_input *input, size_t most, char **text, size_t *n, s24_error *err);

/*
 * Makes [offset, offset + n) readable by position and again and again (a no-op but for streams). Ends earlier holds,
 * unless the stream has ended and one of them has all of it.
 */
s24_status s24_input_hold(s24_input *input, uint64_t offset, uint64_t n, s24_error *err);

/* The same for everything from offset 0 to the end; sets input->size. Only while nothing but a peek was read. */
s24_status s24_input_hold_all(s24_input *input, s24_error *err);

/* A second reading from the beginning: of a decoded stream; of a pipe all must be held; of a file nothing is to do. */
s24_status s24_input_rewind(s24_input *input, s24_error *err);

/* S24_ERR_DATA when the input does not end at `offset`. */
s24_status s24_input_expect_end(s24_input *input, uint64_t offset, s24_error *err);

/* ---------------------------------------------------------------- output */

typedef struct s24_output {
    const s24_io *io;
    char *name;       /* for messages */
    char *target;     /* the path that the temporary file becomes; NULL for streams */
    char *temporary;
    int fd;
    bool stream;      /* must be written in order */
    bool shared;      /* see s24_output_open_shared */
    bool sealed;
    uint64_t position;
} s24_output;

/*
 * path "-" is standard output; a FIFO or device is written in place; otherwise a temporary file beside the target
 * (a symbolic link is followed). Refuses an existing target without io->force, a target that is one of the `inputs`,
 * and a terminal.
 */
s24_status s24_output_open(s24_output **output, const s24_io *io, const char *path, s24_input *const *inputs,
                           size_t input_count, s24_error *err);
/* For a file that several processes write alike: one that exists is fine if its content turns out to be the same. */
s24_status s24_output_open_shared(s24_output **output, const s24_io *io, const char *path, s24_error *err);
s24_status s24_output_write(s24_output *output, uint64_t offset, const void *data, size_t n, s24_error *err);

/*
 * Bytes that go to an output one behind another, by one thread at a time. A regular file gets them in whole blocks, at
 * multiples of a block, which ext4's page cache takes 1.26 times as fast as pieces that begin anywhere. Zeroed but for `out`.
 */
typedef struct s24_appender {
    s24_output *out;
    uint64_t next;        /* where the next byte goes */
    size_t held;          /* bytes before that one which wait for the rest of their block */
    unsigned char *block;
} s24_appender;

/* From here on bytes go to `offset`; what was held is written. */
s24_status s24_appender_move(s24_appender *appender, uint64_t offset, s24_error *err);
s24_status s24_appender_add(s24_appender *appender, const void *data, size_t n, s24_error *err);
s24_status s24_appender_flush(s24_appender *appender, s24_error *err);
void s24_appender_free(s24_appender *appender);

/* All is written: mode, fsync, close. What is left is the rename; for who has several files to make appear together. */
s24_status s24_output_seal(s24_output *output, s24_error *err);

/* The target appears, complete (fsync unless io->no_sync). Frees the output, also on failure. */
s24_status s24_output_commit(s24_output *output, s24_error *err);

/* Brings the entry of a file or directory to the disk, by syncing the directory that it is in. */
s24_status s24_sync_entry(const char *path, s24_error *err);

/* Nothing appears. Frees the output; NULL is fine. */
void s24_output_abort(s24_output *output);

#endif
