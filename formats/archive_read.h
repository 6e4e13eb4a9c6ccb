/*
 * An archive that is read, and the rooms of reading it: the header's frame (archive_header.c), data frames as they are found
 * and checked (archive_frames.c), the index of a file (archive_index.c), the frames of a stream (archive_stream.c), and
 * frames decoded (archive_panels.c). archive_read.c shows the plain file, of which the rest of the program reads.
 */
#ifndef S24_FORMATS_ARCHIVE_READ_H
#define S24_FORMATS_ARCHIVE_READ_H

#include <pthread.h>

#include "archive.h"

#define S24_ARCHIVE_DAMAGED "is damaged: "
#define S24_ARCHIVE_RECOVER "; s24 decompress --salvage recovers what is whole"

/* Where a frame is. */
typedef struct s24_archive_span {
    uint64_t offset, bytes; /* in the archive */
    uint64_t number, first;
    uint32_t panels;
    size_t checks;          /* its first one in s24_archive.checks */
} s24_archive_span;

/* A decoded frame. Under the lock, but for the data of one that is READY and has users. */
typedef struct s24_archive_slot {
    struct s24_archive_slot *next;
    enum { S24_SLOT_EMPTY, S24_SLOT_LOADING, S24_SLOT_READY } state;
    size_t frame;
    unsigned users;
    uint64_t used;          /* when last; the least is replaced */
    unsigned char *data;    /* its panels, one behind another */
    size_t bytes;           /* room */
    size_t *starts;         /* where each of the panels begins */
    uint32_t panels;        /* for which there is room in that */
} s24_archive_slot;

typedef struct s24_archive {
    s24_view view;
    s24_source *source;
    s24_archive_map map;    /* once the header is understood */
    uint64_t begin;         /* of what follows the header's frame */
    s24_bench table;        /* head and table of a frame that is looked at, by one thread */
    uint64_t hash;          /* of the header */
    s24_inflater header;    /* under the lock */
    bool salvage;

    s24_archive_span *frames; /* by their first panel */
    size_t frame_count, frame_capacity;
    uint64_t *checks;
    size_t check_count, check_capacity;
    uint64_t copy, copy_end; /* where the header lies once more */

    uint64_t position;      /* of a stream: where it stands, */
    uint64_t panels;        /* how many panels have come, */
    s24_spool held;         /* and the coded frames from held_from on */
    uint64_t held_from;
    bool lost;              /* it is not known where the next frame begins */

    pthread_mutex_t lock;
    pthread_cond_t loaded;
    s24_archive_slot *slots;
    unsigned slots_idle;    /* how many are kept that nobody uses */
    uint64_t clock;
    s24_bench *benches;
} s24_archive;

/* Frames are taken as they come: of a stream, but for one that is salvaged, which is held as a whole. */
static inline bool s24_archive_streams(const s24_archive *a)
{
    return a->view.behind->stream && !a->salvage;
}

/* ---------------------------------------------------------------- the header's frame */

/* The faults that several rooms tell. */
s24_status s24_archive_damaged(uint64_t offset, uint64_t number, const char *what, s24_error *err);
s24_status s24_archive_unknown_codec(uint32_t codec, s24_error *err);

/*
 * The header of the frame at `offset` (the caller's to free), and where that ends. number: the frame's; S24_UNKNOWN: as it
 * says itself.
 */
s24_status s24_archive_read_header(s24_input *in, uint64_t offset, uint64_t number, char **header, size_t *header_bytes,
                                   uint64_t *end, s24_error *err);

/* Salvage: any whole frame of the header. */
s24_status s24_archive_find_header(s24_input *in, char **header, size_t *header_bytes, s24_error *err);

/* Moves *at to the next place, from there on, where a frame may begin; S24_UNKNOWN: there is none. */
#define S24_ARCHIVE_SCAN_BYTES (64u << 10)
s24_status s24_archive_find_magic(s24_input *in, uint64_t *at, unsigned char buffer[S24_ARCHIVE_SCAN_BYTES], s24_error *err);

/* ---------------------------------------------------------------- data frames */

/* Whether so many panels may be in a frame, by their bytes; many are not even looked at. */
bool s24_archive_frame_fits(const s24_archive *a, uint64_t first, uint64_t panels);

/* Whether the head, which need not be believed yet, is one of a data frame that can be: then its table is short, too. */
bool s24_archive_head_fits(const s24_archive *a, const s24_frame *frame);

/* *begin: head and table of the frame at `offset`, whose head fits, until the next one's. */
s24_status s24_archive_read_begin(s24_archive *a, const s24_frame *frame, const unsigned char head[S24_FRAME_HEAD_BYTES],
                                  uint64_t offset, unsigned char **begin, s24_error *err);

/* Checks that; sets the units. */
s24_status s24_archive_check_begin(const s24_archive *a, const s24_frame *frame, unsigned version, uint64_t number,
                                   const unsigned char *begin, uint64_t offset, s24_archive_unit units[S24_UNITS_MAX],
                                   s24_error *err);

/* All of a frame, coded: checked as a whole, with its units. */
s24_status s24_archive_check_frame(const s24_archive *a, const s24_archive_span *p, const unsigned char *bytes,
                                   s24_frame *frame, s24_archive_unit units[S24_UNITS_MAX], s24_error *err);

/* Room for so many frames and checks in all. */
s24_status s24_archive_room(s24_archive *a, size_t frames, size_t checks, s24_error *err);

/* One more frame is known, with its panels' checks. */
s24_status s24_archive_add_frame(s24_archive *a, const s24_frame *frame, uint64_t offset, const unsigned char *begin,
                                 s24_error *err);

/* The frame that has a panel; NULL: none is known. */
const s24_archive_span *s24_archive_frame_of(const s24_archive *a, uint64_t panel);

/* Salvage: all whole frames, by their magic. */
s24_status s24_archive_find_frames(s24_archive *a, s24_error *err);

/* ---------------------------------------------------------------- a file: the index */

s24_status s24_archive_bad_index(s24_error *err, uint64_t offset, const char *what);
s24_status s24_archive_load_index(s24_archive *a, s24_error *err);

/* Of a stream, whose frames have come: its index and tail, which must say the same. */
s24_status s24_archive_check_end(s24_archive *a, s24_error *err);

/* ---------------------------------------------------------------- a stream: frames as they come */

/* Until panel `end` - 1 has come; those from panel `wanted` on are kept. */
s24_status s24_archive_take_frames(s24_archive *a, uint64_t wanted, uint64_t end, s24_error *err);

/* Drops what is held before panel `wanted`. */
s24_status s24_archive_drop_before(s24_archive *a, uint64_t wanted, s24_error *err);

/* The first n bytes of a frame, from wherever it is. */
s24_status s24_archive_read_coded(s24_archive *a, const s24_archive_span *p, unsigned char *data, size_t n, s24_error *err);

/* ---------------------------------------------------------------- decoded frames */

/* The panels of a frame, until they are released. Any thread. */
s24_status s24_archive_take_panels(s24_archive *a, const s24_archive_span *p, s24_archive_slot **taken, s24_error *err);
void s24_archive_release(s24_archive *a, s24_archive_slot *s);
void s24_archive_free_panels(s24_archive *a); /* of all frames */

#endif
