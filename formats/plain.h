/*
 * The plain .s24 file; man/s24.5 is its specification. One description, s24_plain, is computed from shapes, dtypes and
 * options alone: the writer makes it from its plan, the reader makes it again from what the header says and compares.
 */
#ifndef S24_FORMATS_PLAIN_H
#define S24_FORMATS_PLAIN_H

#include "deflated.h"
#include "format.h"

#define S24_PLAIN_VERSION 1
#define S24_PLAIN_ALIGN 64
#define S24_PANEL_BYTES 262144     /* a panel of a carried tensor */
#define S24_RECORD_BYTES 64        /* head and tail */
#define S24_METRICS_SLOTS 16
#define S24_NEEDS_SCALES "scales"  /* in s24.needs */
#define S24_NEEDS_PERM "perm"
#define S24_PLAIN_ADVICE "make it again from its dense form" /* of what matches its checks and is wrong all the same */
#define S24_PLAIN_SAVED_AGAIN "is a .s24 that another tool saved again: its parts have moved and its checks are void; " \
    S24_PLAIN_ADVICE

typedef struct s24_plain {
    s24_contents contents;   /* the tensors of the input, in its order; offsets set by s24_plain_lay_out */
    size_t panel_groups;     /* groups a panel of a pruned tensor */
    size_t panel_bytes;      /* bytes a panel of a carried one */
    char *tool;              /* "s24 0.1.0" */
    char *container;         /* the format that the tensors came from */

    s24_deflated header;     /* the file's first header_bytes bytes */
    size_t header_bytes;
    uint64_t hash;           /* XXH3-64 of them */
    s24_entry metrics;       /* offsets of .s24.metrics and its checks */
    uint64_t copy, tail, file_size;

    int level;               /* of an archive that is to be written, 1 to 9; 0: a plain file */
    size_t frame_bytes;      /* of its frames, at most S24_FRAME_BYTES; others than that make small test files */

    bool lenient;            /* reading what may be damaged: go on, and tell */
} s24_plain;

void s24_plain_init(s24_plain *plain);
void s24_plain_free(s24_plain *plain);

/* Whether a reader takes these panel sizes. */
bool s24_plain_sizes_valid(const s24_plain *plain);

/*
 * Computes header, hash and all offsets from contents, panel sizes, tool and container. S24_ERR_USAGE: panel sizes that
 * no reader takes; S24_ERR_DATA: names or metadata that no header can hold. plain->level: deflated as an archive has it.
 */
s24_status s24_plain_lay_out(s24_plain *plain, s24_error *err);

/*
 * The same for a header that exists: contents, panel sizes, tool and container as read from it; takes over `header`
 * (header_bytes bytes), also on failure, computes where everything must lie, and compares that with what the header lists.
 */
s24_status s24_plain_lay_out_as(s24_plain *plain, char *header, size_t header_bytes, const s24_contents *stored,
                                s24_error *err);

/* The same with the header of `from`, which was laid out, and whose contents, panel sizes, tool and container these are. */
s24_status s24_plain_lay_out_like(s24_plain *plain, const s24_plain *from, s24_error *err);

/* Panels of a pruned entry, and of a carried one (or of the metrics). */
s24_panels s24_plain_panels(const s24_plain *plain, const s24_entry *entry);
size_t s24_plain_carried_panels(const s24_plain *plain, const s24_entry *entry);
size_t s24_plain_carried_most(const s24_plain *plain, const s24_entry *entry); /* bytes of the largest of these */
size_t s24_plain_panel_count(const s24_plain *plain, const s24_entry *entry); /* of either */

/*
 * Where the parts of a panel of a pruned entry begin in the file, and how long they are. In memory they lie behind one
 * another ("planes"), which is what the panel's check is over.
 */
typedef struct s24_plain_place {
    struct {
        uint64_t at;
        size_t bytes; /* 0: the tensor has no such plane */
    } plane[S24_PLANES];
    size_t bytes;     /* of all */
} s24_plain_place;

s24_plain_place s24_plain_panel_place(const s24_entry *entry, const s24_panel_place *place);

/* Of the largest panel. */
size_t s24_plain_panel_bytes(const s24_entry *entry, const s24_panels *panels);

/* Where a plane begins in the bytes of a panel; NULL: there is none. */
void *s24_plain_plane(const s24_plain_place *p, void *planes, int plane);

/* Whether a pruned entry has the plane, where it begins in the file, and how many planes it has. */
bool s24_plain_has(const s24_entry *entry, int plane);
s24_dtype s24_plain_plane_dtype(const s24_entry *entry, int plane);
int s24_plain_plane_shape(const s24_entry *entry, int plane, size_t shape[2]); /* returns its rank */
const char *s24_plain_plane_suffix(int plane);                                 /* of the stored tensor's name */
uint64_t s24_plain_offset(const s24_entry *entry, int plane); /* S24_PLANES: of the permutation */
size_t s24_plain_plane_count(const s24_entry *entry);

/* Words of the checks section that say something: of the panels, then of the permutation. */
size_t s24_plain_check_count(const s24_plain *plain, const s24_entry *entry);

/* Bytes of the entry's data, without checks. */
uint64_t s24_plain_stored_bytes(const s24_entry *entry);

/* The check of the n bytes of a panel that begins at `offset` of the file: of a pruned tensor its planes in their order. */
uint64_t s24_plain_check(const s24_plain *plain, uint64_t offset, const void *data, size_t n);

/* The same of a panel that is being pruned, which tells the tap. After S24_OK there must be an end; it must not move. */
typedef struct s24_plain_checker {
    s24_tap tap;
    struct XXH3_state_s *state;
    uint64_t seed;
} s24_plain_checker;

s24_status s24_plain_checker_begin(s24_plain_checker *checker, const s24_plain *plain, uint64_t offset, s24_error *err);
uint64_t s24_plain_checker_end(s24_plain_checker *checker);

/* The 64 bytes of head (magic "S24HEAD") or tail ("S24TAIL"). */
void s24_plain_record(const s24_plain *plain, const char *magic, unsigned char record[S24_RECORD_BYTES]);

/* Little-endian words. */
uint32_t s24_get_u32(const unsigned char *p);
uint64_t s24_get_u64(const unsigned char *p);
void s24_put_u32(unsigned char *p, uint32_t x);
void s24_put_u64(unsigned char *p, uint64_t x);

/* What is recorded of a tensor, sums and errors of the output: their f64 slots in .s24.metrics, and back. */
void s24_plain_put_metrics(const s24_pruned *pruned, unsigned char slots[8 * S24_METRICS_SLOTS]);
bool s24_plain_get_metrics(s24_pruned *pruned, const unsigned char slots[8 * S24_METRICS_SLOTS]);

/* Whether the planes of a panel are canonical: valid nibbles, zero pad nibbles and pad slots, scales that are some. */
bool s24_plain_canonical(const s24_entry *entry, const s24_panel_place *place, const void *planes, s24_fault *fault);

/* ---------------------------------------------------------------- reading; the source's state is its s24_plain */

static inline s24_plain *s24_plain_of(const s24_source *source)
{
    return source->state;
}

/* Whether head and tail are among them: these are the stored tensors of a .s24. */
bool s24_plain_lists_records(const s24_contents *stored);

/* The checks of a tensor's panels. */
typedef struct s24_checks {
    uint64_t *of_panel;
    bool damaged; /* they do not match their own check */
    int32_t *permutation; /* [cols] of a permuted entry; NULL: there is none, or it is lost */
    const char *lost;     /* with plain->lenient: what is wrong with it, so that nobody knows which column is which */
} s24_checks;

/*
 * Before a tensor's panels are read: its checks and its permutation are loaded; of a stream the whole tensor is held, and
 * the one before it no longer. Entries in order. Damaged checks are an error, or with plain->lenient checks->damaged.
 */
s24_status s24_plain_begin(const s24_entry *entry, s24_checks *checks, s24_error *err);
void s24_checks_free(s24_checks *checks);

/*
 * Reads and checks one panel of the entry. Any thread. A panel that does not match its check is an error that
 * names its rows; with plain->lenient it sets *damaged, and so does one whose bytes are gone.
 */
s24_status s24_plain_read_panel(const s24_entry *entry, const s24_checks *checks, size_t panel, void *planes, bool *damaged,
                                s24_error *err);

/* The same for a panel of a carried entry: its bytes. *n: how many. */
s24_status s24_plain_read_carried(const s24_entry *entry, const s24_checks *checks, size_t panel, void *data, size_t *n,
                                  bool *damaged, s24_error *err);

/*
 * After the last tensor (or, of a regular file, at any time): reads and checks metrics, header copy and tail, fills the
 * entries' sums, and makes sure that nothing follows.
 */
s24_status s24_plain_end(s24_source *source, s24_error *err);

/* ---------------------------------------------------------------- writing */

typedef struct s24_plain_writer {
    s24_plain plain;
    s24_output *out;
    s24_appender planes[S24_PLANES]; /* of the tensor at hand; what is carried goes where values do */
    s24_spool waiting[S24_PLANES];   /* what a stream gets after the values */
    uint64_t *checks;                /* of the tensor at hand */
    const s24_entry *entry;          /* the tensor at hand */
    struct s24_archive_writer *archive; /* instead of all of these; NULL: a plain file */
    uint64_t *coded;                 /* of an archive: what its end sets for every entry, as s24_entry.coded; NULL: not wanted */
} s24_plain_writer;

/*
 * Takes over plain (contents, panel sizes, tool, container set) and out, also on failure. Writes the header; like: that of
 * another file of these, NULL: its own. plain->level: as an archive.
 */
s24_status s24_plain_writer_open(s24_plain_writer **writer, s24_plain *plain, const s24_plain *like, s24_output *out,
                                 s24_error *err);

/* Tensors in order: begin, every panel, end. */
s24_status s24_plain_writer_begin(s24_plain_writer *writer, const s24_entry *entry, s24_error *err);

/*
 * The check of a panel, at once or by a checker: any thread may compute it, of a tensor not yet begun, too. Then the panel's bytes with it, one
 * thread at a time and in the order of panels. (Two threads that write their own panels, each in two places of a file, took
 * 1.3 times as long.)
 */
uint64_t s24_plain_writer_check(const s24_plain_writer *writer, const s24_entry *entry, size_t panel, const void *planes);
s24_status s24_plain_writer_checker(const s24_plain_writer *writer, const s24_entry *entry, size_t panel,
                                    s24_plain_checker *checker, s24_error *err);

/* Before its turn comes every panel, pruned or carried, is coded, by any thread, of a tensor not yet begun, too: of an archive. */
s24_status s24_plain_writer_code(const s24_plain_writer *writer, const s24_entry *entry, size_t panel, const void *planes,
                                 uint64_t check, s24_error *err);

s24_status s24_plain_writer_panel(s24_plain_writer *writer, const s24_entry *entry, size_t panel, const void *planes,
                                  uint64_t check, s24_error *err);

/* The same for the n bytes of a panel of a carried entry. */
uint64_t s24_plain_writer_check_carried(const s24_plain_writer *writer, const s24_entry *entry, size_t panel,
                                        const void *data, size_t n);
s24_status s24_plain_writer_carried(s24_plain_writer *writer, size_t panel, const void *data, size_t n, uint64_t check,
                                    s24_error *err);
s24_status s24_plain_writer_end(s24_plain_writer *writer, const s24_entry *entry, s24_error *err);

/*
 * Metrics, copy, tail: all is written, and *output is the caller's to commit; or the file appears. All three free the
 * writer.
 */
s24_status s24_plain_writer_finish(s24_plain_writer *writer, s24_output **output, s24_error *err);
s24_status s24_plain_writer_commit(s24_plain_writer *writer, s24_error *err);
void s24_plain_writer_abort(s24_plain_writer *writer); /* NULL is fine */

#endif
