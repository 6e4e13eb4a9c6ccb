/*
 * The archive: a stream of frames that unpacks to exactly a plain .s24 file; man/s24.5 is its specification.
 *
 *     magic | header | data | data | ... | header again | index | tail
 *
 * A data frame holds panels, one or as many small ones as make 128 KiB. Which panels there are, what they are made of and
 * where they lie in the plain file follows from the header, so that a frame says little more than which panels it has:
 * they are numbered through the file, the metrics' last. What of a frame's panels is coded alike is one unit of the coder.
 * Everything else of the plain file - head, checks, copy of the header, tail - is made again from the panels' checks.
 *
 * Reading, an archive is an input that shows the plain file: plain_read.c and all commands read that. Writing, it is
 * another way out of s24_plain_writer.
 */
#ifndef S24_FORMATS_ARCHIVE_H
#define S24_FORMATS_ARCHIVE_H

#include "coder.h"
#include "plain.h"

#define S24_ARCHIVE_VERSION 1
#define S24_ARCHIVE_MAGIC "\x89S24\r\n\x1a\n"
#define S24_ARCHIVE_MAGIC_BYTES 8
#define S24_ARCHIVE_TAIL_BYTES 64

_Static_assert(S24_ARCHIVE_LEVEL == S24_CODER_LEVEL, "one default");

/* ---------------------------------------------------------------- frames */

#define S24_FRAME_HEAD_BYTES 56 /* before the table; behind it, a check of both */
#define S24_FRAME_CHECK_BYTES 8
#define S24_FRAME_LINE_BYTES 8  /* of the table: a unit, or a panel's check */
#define S24_INDEX_LINE_BYTES 16

/*
 * Panels are gathered to this many bytes, so that a frame's own 80 bytes are below 0.1 %. A reader takes what has less
 * without its last panel: then no frame takes more memory than that and a panel.
 */
#define S24_FRAME_BYTES ((size_t)128 << 10)

typedef enum s24_frame_kind { S24_FRAME_HEADER = 1, S24_FRAME_DATA, S24_FRAME_INDEX, S24_FRAME_KINDS } s24_frame_kind;

typedef enum s24_codec {
    S24_CODEC_STORED,  /* as it lies in the plain file */
    S24_CODEC_UNIT,    /* lib/coder.h */
    S24_CODEC_DEFLATE, /* zlib, of the header */
    S24_CODECS
} s24_codec;

typedef struct s24_frame {
    s24_frame_kind kind;
    uint64_t number;          /* of the frame in its file */
    uint64_t first;           /* panel, of a data frame */
    uint32_t panels, units;
    uint64_t payload, raw;    /* bytes, and what they unpack to */
    uint64_t check;           /* of the payload */
} s24_frame;

/* A line of the table. */
typedef struct s24_frame_unit {
    uint32_t codec, bytes;
} s24_frame_unit;

uint64_t s24_frame_table_bytes(const s24_frame *frame); /* without the check behind it */
uint64_t s24_frame_bytes(const s24_frame *frame);       /* all of it */

/*
 * What begins a frame whose payload follows: head, table (table_bytes of it, filled in) and check. seed: that of
 * s24_frame_seed.
 */
void s24_frame_put(const s24_frame *frame, uint64_t seed, unsigned char *begin);

/*
 * The head alone, of which nothing but the sizes may be believed, to read the rest: false where it is none, or of another
 * version (*version tells).
 */
bool s24_frame_get(s24_frame *frame, unsigned *version, const unsigned char head[S24_FRAME_HEAD_BYTES]);
/* Whether head and table match their check, which lies behind them. */
bool s24_frame_begins(const s24_frame *frame, uint64_t seed, const unsigned char *begin);

/* S24_ERR_DATA, unsupported: another version than this s24 reads. */
s24_status s24_archive_check_version(unsigned version, s24_error *err);

/* Checks are seeded, so that a frame of another file, or another place, fails. hash: of the plain header; 0 for its frames. */
uint64_t s24_frame_seed(uint64_t hash, uint64_t number);

/* XXH3-64 with a seed. */
uint64_t s24_archive_check(const void *data, size_t n, uint64_t seed);

/* The last 64 bytes. */
typedef struct s24_archive_tail {
    uint64_t size;       /* of the archive */
    uint64_t index;      /* offset of the index frame */
    uint64_t frames;     /* data frames */
    uint64_t hash;       /* of the plain header */
    uint64_t plain_size; /* of the plain file */
} s24_archive_tail;

void s24_archive_tail_put(const s24_archive_tail *tail, unsigned char bytes[S24_ARCHIVE_TAIL_BYTES]);
/* S24_ERR_DATA: it is none, of another version, or damaged. */
s24_status s24_archive_tail_get(s24_archive_tail *tail, const unsigned char bytes[S24_ARCHIVE_TAIL_BYTES], s24_error *err);

/* ---------------------------------------------------------------- panels and what they are made of */

/* Numbers of panels: those of an entry follow one another, those of the metrics are last. */
typedef struct s24_archive_map {
    const s24_plain *plain;
    const s24_contents *contents;
    uint64_t *first; /* of every entry, then of the metrics, then how many there are in all */
} s24_archive_map;

s24_status s24_archive_map_init(s24_archive_map *map, const s24_plain *plain, const s24_contents *contents, s24_error *err);
void s24_archive_map_free(s24_archive_map *map);
uint64_t s24_archive_panels(const s24_archive_map *map);
uint64_t s24_archive_number(const s24_archive_map *map, const s24_entry *entry, size_t panel);
/* The entry of a panel, and its number there. */
const s24_entry *s24_archive_panel(const s24_archive_map *map, uint64_t number, size_t *panel);
/* The number of an entry, the metrics behind the others, of which panel `number` is. */
size_t s24_archive_entry(const s24_archive_map *map, uint64_t number);

/* Where a panel lies in the plain file: a plane each, in the order in which its check takes them. */
typedef struct s24_archive_part {
    uint64_t offset;
    size_t bytes;
    s24_dtype dtype; /* of its elements */
} s24_archive_part;

#define S24_PARTS_MAX S24_PLANES

/*
 * These two say what an entry has that is checked and coded by panels; everything else here follows from them. How many
 * panels, and the parts of one; returns how many.
 */
size_t s24_archive_count(const s24_plain *plain, const s24_entry *entry);
size_t s24_archive_parts(const s24_plain *plain, const s24_entry *entry, size_t panel, s24_archive_part parts[S24_PARTS_MAX]);

/* A part of a panel, coded as one: values and their positions, or elements of one type. */
typedef struct s24_piece {
    s24_dtype dtype;
    size_t values;       /* elements */
    size_t rows, groups; /* of values with positions; 0, 0: there are none */
    size_t bytes;        /* in the plain file: values, positions */
} s24_piece;

#define S24_PIECES_MAX (S24_PARTS_MAX - 1)

/* What panel `number` is made of, in the order of its check; returns how many. */
size_t s24_archive_pieces(const s24_archive_map *map, uint64_t number, s24_piece pieces[S24_PIECES_MAX]);
size_t s24_archive_panel_bytes(const s24_archive_map *map, uint64_t number);

/* Where each of so many panels begins among them, one behind another, and at last where they end: at has one more. */
void s24_archive_starts(const s24_archive_map *map, uint64_t first, uint32_t panels, size_t *at);

/* All pieces of the same kind in a frame, joined. */
typedef struct s24_archive_unit {
    s24_unit unit;
    size_t bytes; /* in the plain file */
} s24_archive_unit;

#define S24_UNITS_MAX (2 * S24_DTYPES)

/* The units of a frame in the order in which their kinds first occur; returns how many. *raw: bytes of all panels. */
size_t s24_archive_units(const s24_archive_map *map, uint64_t first, uint32_t panels, s24_archive_unit units[S24_UNITS_MAX],
                         uint64_t *raw);

/* Bytes that unit number k of a frame has in memory: its values, and its nibbles without the pads of rows. */
size_t s24_unit_value_bytes(const s24_unit *unit);
size_t s24_unit_nibble_bytes(const s24_unit *unit);

/*
 * Between the frame's panels, one behind another as their checks take them, and unit number k of it: as it is coded (values,
 * nibbles), or stored. What the other units have of the panels is left alone.
 */
void s24_archive_gather(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                        const unsigned char *raw, unsigned char *values, uint8_t *nibbles);
void s24_archive_scatter(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                         unsigned char *raw, const unsigned char *values, const uint8_t *nibbles);
void s24_archive_gather_stored(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                               const unsigned char *raw, unsigned char *stored);
void s24_archive_scatter_stored(const s24_archive_map *map, const s24_frame *frame, const s24_archive_unit *unit,
                                unsigned char *raw, const unsigned char *stored);

/*
 * Adds what a frame takes to `coded` of the entries that it has panels of, and to their parts, where they have such: shares
 * by bytes of the plain file, of every unit for itself. begin: head and table; payload: NULL where parts are not wanted.
 */
void s24_archive_account(const s24_archive_map *map, const s24_frame *frame, const unsigned char *begin,
                         const unsigned char *payload, s24_entry *entries);

/* ---------------------------------------------------------------- buffers */

/* What coding a frame takes, kept from one to the next. Zeroed is empty. */
enum { S24_BENCH_FRAME, S24_BENCH_VALUES, S24_BENCH_NIBBLES, S24_BENCH_SCRATCH, S24_BENCH_BUFFERS };
typedef struct s24_bench {
    struct s24_bench *next;
    struct {
        unsigned char *data;
        size_t bytes;
    } buffers[S24_BENCH_BUFFERS];
} s24_bench;

/* Buffer k with at least so many bytes, undefined; NULL: no memory. */
unsigned char *s24_bench_reserve(s24_bench *bench, unsigned k, size_t bytes, s24_error *err);
void s24_bench_clear(s24_bench *bench); /* its buffers */
void s24_bench_free(s24_bench *bench);  /* the bench itself, with all that follow; NULL is fine */

/* ---------------------------------------------------------------- reading */

/* Whether the first bytes of an input, or its last S24_ARCHIVE_TAIL_BYTES, are an archive's. */
bool s24_archive_shows(const unsigned char *head, size_t n);
bool s24_archive_ends(const unsigned char tail[S24_ARCHIVE_TAIL_BYTES]);

/*
 * Makes source->in, an archive, an input that shows its plain file, and gives that file's header (the caller's to free).
 * S24_ERR_DATA where it is damaged, unless another part of it says the same and options->salvage is set.
 */
s24_status s24_archive_open(s24_source *source, char **header, size_t *header_bytes, s24_error *err);

/* Once the header is understood: source's contents and plain are set, and stay. Now everything can be read. */
s24_status s24_archive_begin(s24_source *source, s24_error *err);

static inline bool s24_archive_is(const s24_source *source)
{
    return source->in && source->in->view;
}

/*
 * Sets `coded` of the entries: what a tensor's panels take, with their share of frames that others are in, too; and with
 * `parts` what that is. Of a stream, before anything else of it is read: then everything is, and held if there are parts.
 */
s24_status s24_archive_measure(s24_source *source, bool parts, s24_error *err);

/* ---------------------------------------------------------------- writing */

typedef struct s24_archive_writer s24_archive_writer;

/* plain: laid out, and in place until the writer is freed. Writes what comes before the data. */
s24_status s24_archive_writer_open(s24_archive_writer **writer, s24_plain *plain, s24_output *out, s24_error *err);

/* Codes a panel, of any entry: any thread, in any order; before its turn comes it must be done. */
s24_status s24_archive_writer_code(s24_archive_writer *writer, const s24_entry *entry, size_t panel, const void *planes,
                                   uint64_t check, s24_error *err);

/* All panels in order, one thread at a time: what is complete is written. */
s24_status s24_archive_writer_append(s24_archive_writer *writer, const s24_entry *entry, size_t panel, s24_error *err);

/* After the last panel: what comes behind the data. */
s24_status s24_archive_writer_finish(s24_archive_writer *writer, s24_error *err);
void s24_archive_writer_free(s24_archive_writer *writer); /* NULL is fine */

#endif
