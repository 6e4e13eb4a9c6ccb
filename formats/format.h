/*
 * Formats: one file and one row each. A source is an opened file with the list of its tensors; a sink is a dense file
 * being written. What is common - places in the data, transposition, byte order, pipes - is done once, in source.c and
 * sink.c, so that an adapter is little more than its header's grammar. (.s24 as an output is no sink: see plain.h.)
 */
#ifndef S24_FORMATS_FORMAT_H
#define S24_FORMATS_FORMAT_H

#include "dtype.h"
#include "io.h"
#include "panel.h"
#include "rows.h"
#include "shared.h"
#include "window.h"

#define S24_PROBE_BYTES 256

/*
 * In a model, and keys in its metadata: an entry and its line in a report take several times the 50 bytes in which a header
 * lists it. (The largest models have some 200,000.)
 */
#define S24_TENSORS_MAX 262144

typedef struct s24_layout s24_layout;

/* The planes of a pruned tensor in a .s24, in the order of their data. plain.c has a table of them. */
enum { S24_VALUES, S24_POSITIONS, S24_SCALES, S24_PLANES };

/* What tensors that are pruned have besides: most of what files list are none. */
typedef struct s24_pruned {
    s24_geometry geometry;
    s24_sums sums;          /* of a .s24 once they are read; of others once it was pruned or measured */
    bool counted;           /* the dense data were read, and have input_zeros elements equal to 0 */
    uint64_t input_zeros;
    s24_output_error *calibration; /* what became of the layer's output, at first only of how many samples; NULL: not known; owned */
    int32_t *permutation;   /* [cols], of a plan whose entry is permuted; owned */
    unsigned owners;        /* entries: that of a plan has the source's */
} s24_pruned;

/* One tensor of a file. */
typedef struct s24_entry {
    struct s24_source *source; /* the file that it is in; NULL in a plan */
    s24_input *in;          /* what offset counts in: the file, or a member of it */
    const s24_layout *layout; /* how a tensor lies that is stored as several; NULL: as it is */
    struct s24_entry *planes; /* of a layout: what it reads, as its file lists them; owned, with plane_count */
    size_t plane_count;
    struct s24_order *orders; /* of a view with places of axes in another order: see reorder.h */
    char *name;             /* "" where the format has none; this, shape, method and reason are shared.h's */
    s24_dtype dtype;        /* of the dense tensor */
    int rank;
    size_t *shape;
    uint64_t offset, bytes; /* its dense data, or in a .s24 its values, in the file */
    bool fortran;           /* the first index varies fastest */
    bool big_endian;

    /* Pruned tensors: in a .s24, and in the plan of one. */
    bool packed;
    bool elsewhere;         /* of another job's share: not part of this one's report */
    bool permuted;          /* its columns stand in another order: there is a plane that says in which */
    bool scaled;            /* the kept values have scales: */
    uint16_t scale_group;   /* one for so many columns of a row; 0: for a row */
    s24_dtype stored;       /* of the kept values */
    int axis;
    s24_pruned *pruned;     /* NULL unless s24_entry_pack set it */
    char *method;           /* NULL: carried, not pruned */
    char *reason;           /* why it was not pruned, or how the axis was chosen; NULL: nothing to tell */
    uint64_t checks;        /* in a .s24 where its checks are (also of a carried tensor), behind all planes */
    uint64_t checks_bytes;
    uint64_t coded;         /* bytes that its panels take in an archive, once that is known; otherwise 0 */
    s24_stored_parts *parts; /* what they are; NULL: nobody asked; owned */
} s24_entry;

typedef struct s24_pair {
    char *key, *value; /* shared.h's */
} s24_pair;

/* What a file holds besides data; owned, freed by s24_contents_free. */
typedef struct s24_contents {
    s24_entry *entries;
    size_t count, capacity;
    size_t most;         /* of either that are taken, of a file that is read; 0: any number */
    bool without_metadata; /* of a file that is read, which is checked all the same */
    s24_pair *metadata;  /* the user's own, in order */
    size_t pairs, pairs_capacity;
} s24_contents;

/* Appends an entry with a copy of name and shape, and bytes = elements * bits / 8 (checked). NULL: *err is set. */
s24_entry *s24_contents_add(s24_contents *contents, const char *name, s24_dtype dtype, int rank, const size_t *shape,
                            s24_error *err);
/* The same, but takes over name, a string of shared.h, also on failure (NULL: there was no memory). */
s24_entry *s24_contents_take(s24_contents *contents, char *name, s24_dtype dtype, int rank, const size_t *shape,
                             s24_error *err);
/* The same with name and shape of another entry. */
s24_entry *s24_contents_add_like(s24_contents *contents, const s24_entry *like, s24_dtype dtype, s24_error *err);
s24_status s24_contents_add_pair(s24_contents *contents, const char *key, const char *value, s24_error *err);
/* Of strings of shared.h: takes them over, also on failure (NULL: there was no memory); or keeps those of another pair. */
s24_status s24_contents_take_pair(s24_contents *contents, char *key, char *value, s24_error *err);
s24_status s24_contents_keep_pair(s24_contents *contents, const s24_pair *pair, s24_error *err);
/* S24_OK, or an error that says that a model must not have so many tensors. */
s24_status s24_contents_fit(size_t count, s24_error *err);
void s24_contents_free(s24_contents *contents);

/*
 * The tensor is to be stored pruned along the axis (or S24_AXIS_AUTO): sets axis, pruned, and, unless it cannot, packed.
 * Before it: stored, scaled, scale_group, permuted.
 */
s24_status s24_entry_pack(s24_entry *entry, int axis, s24_error *err);

bool s24_ends_with(const char *s, const char *end); /* and is more than that */

/* A list of strings; owned. */
typedef struct s24_names {
    char **items;
    size_t count, capacity;
} s24_names;

s24_status s24_names_add(s24_names *names, const char *name, s24_error *err); /* a copy */
void s24_names_free(s24_names *names);

/* Bytes of a dense tensor; S24_ERR_DATA when they cannot be counted or are not whole. */
s24_status s24_dense_bytes(s24_dtype dtype, int rank, const size_t *shape, uint64_t *bytes, s24_error *err);

typedef struct s24_format s24_format;

/* A sparse layout of other tools, read as the dense tensor that it stands for: see layout.h. */
struct s24_layout {
    const char *name; /* "sparse-24-bitmask" */
    /* Elements [first, first + n) of the dense tensor, C order, little-endian. Any thread. */
    s24_status (*read)(const s24_entry *entry, uint64_t first, size_t n, void *data, s24_error *err);
};

/* ---------------------------------------------------------------- sources */

typedef struct s24_source {
    const s24_format *format;
    const s24_read_options *options;
    const s24_io *io;
    s24_input *in;      /* an adapter that decodes (JSON) replaces it by an input from memory */
    s24_contents contents;
    void *state;        /* the adapter's own, freed by its close */

    /*
     * A checkpoint of several files: each is a source of its own, whose entries are a range of contents. `format` is
     * theirs, `in` stands for the directory's name. checkpoint: NULL for a lone file. See checkpoint.h.
     */
    struct s24_checkpoint *checkpoint;
    struct s24_source **parts;
    size_t part_count;
    bool is_part;
    size_t listed; /* tensors in its header, before sparse layouts are recognised */

    s24_entry **by_name; /* made by s24_source_find_entry */
} s24_source;

/* The files of a source one by one: its parts, or itself. */
size_t s24_source_files(const s24_source *source);
s24_source *s24_source_file(s24_source *source, size_t i);

/* Opens path ("-": standard input), finds its format by content or options->format, and reads its header. */
s24_status s24_source_open(s24_source **source, const s24_io *io, const char *path, const s24_read_options *options,
                           s24_error *err);
/* Its two steps, for who must know the format even of a file whose header is bad. find: *source is NULL on failure. */
s24_status s24_source_find(s24_source **source, const s24_io *io, const char *path, const s24_read_options *options,
                           s24_error *err);
s24_status s24_source_parse(s24_source *source, s24_error *err);
void s24_source_close(s24_source *source); /* NULL is fine */

/* Whether a file is a model of named tensors, as against one lone array. */
bool s24_source_is_model(const s24_source *source);

/*
 * Rows of a dense entry in canonical order (see rows.h), in the machine's byte order. Not for entries of a .s24, whose
 * bytes must be checked first: see plain.h. Messages begin with the file's name.
 */
s24_status s24_source_read_rows(const s24_entry *entry, int axis, size_t row, size_t count,
                                size_t col, size_t cols, void *data, void *scratch, s24_error *err);

/* The same without the name. */
s24_status s24_entry_read_rows(const s24_entry *entry, int axis, size_t row, size_t count, size_t col, size_t cols,
                               void *data, void *scratch, s24_error *err);

/*
 * The same, and *rows is where they are: in `data`, or in the window, where they lie in the file as they are wanted. What was
 * computed from them counts once the window is settled.
 */
s24_status s24_source_view_rows(const s24_entry *entry, int axis, size_t row, size_t count, size_t col, size_t cols,
                                s24_window *window, void *data, void *scratch, const void **rows, s24_error *err);

/* Before the first read of an entry's rows: of a stream whose rows are not in order the entry is held. */
s24_status s24_source_hold(const s24_entry *entry, int axis, s24_error *err);

/* The entry of that name; NULL: none. A search in sorted names, made at the first call. */
s24_entry *s24_source_find_entry(s24_source *source, const char *name);

/* Whether rows along the axis do not lie behind one another in the file. */
bool s24_entry_transposed(const s24_entry *entry, int axis);

/* Nothing follows the data. After the last read. */
s24_status s24_source_expect_end(s24_source *source, s24_error *err);

/* How an entry's rows lie in its file. */
s24_rows s24_entry_rows(const s24_entry *entry, int axis);

/* ---------------------------------------------------------------- sinks */

typedef struct s24_sink {
    const s24_format *format;
    const s24_io *io;
    s24_output *out;
    s24_contents contents; /* the plan: create sets each entry's offset */
    void *state;
    s24_spool spool;       /* a tensor that cannot be written as it comes */
} s24_sink;

/* Opens a dense file for the tensors of `plan`, which the sink takes over (also on failure). */
s24_status s24_sink_open(s24_sink **sink, const s24_format *format, s24_output *out, s24_contents *plan, s24_error *err);

/*
 * Rows of entry number `index` in canonical order, little-endian C order in the file. Entries in order. Where
 * s24_sink_positional says so, any thread in any order of rows, best while they are in its cache (1.13 times as fast as
 * one thread that writes for all); otherwise one thread, rows in order.
 */
bool s24_sink_positional(const s24_sink *sink, size_t index);
s24_status s24_sink_write_rows(s24_sink *sink, size_t index, int axis, size_t row, size_t count, size_t col,
                               size_t cols, const void *data, void *scratch, s24_error *err);
s24_status s24_sink_end_entry(s24_sink *sink, size_t index, int axis, s24_error *err);

/* All is written, and *output is the caller's to commit; or the file appears, or not. All three free the sink. */
s24_status s24_sink_finish(s24_sink *sink, s24_output **output, s24_error *err);
s24_status s24_sink_commit(s24_sink *sink, s24_error *err);
void s24_sink_abort(s24_sink *sink);

/* ---------------------------------------------------------------- the table */

struct s24_format {
    const char *name;      /* of --from and --to */
    const char *suffixes;  /* ".raw .bin" */
    size_t max_tensors;    /* 0: any number */
    bool unsupported;      /* known by its content, but neither read nor written; `name` says what it is */
    const char *advice;    /* what to do instead, of an unsupported one */

    /* Whether the first bytes (at most S24_PROBE_BYTES of them) are this format's. NULL: never found by content. */
    bool (*probe)(const unsigned char *head, size_t n);

    /*
     * Reads the header from source->in and fills source->contents; entries' offsets say where the data lie. Checks
     * every rule of the format, that the data are as long as the shapes say, and, where the size is known, that nothing
     * follows. For a stream the end is checked by the caller with s24_input_expect_end once the data are read, at the
     * largest offset + bytes. NULL: not read.
     */
    s24_status (*open)(s24_source *source, s24_error *err);
    void (*close)(s24_source *source); /* frees state; NULL: there is none */
    /*
     * After the last read: what can be checked only then. NULL: that nothing follows the data of a stream. Entries that
     * nobody read need not be looked at.
     */
    s24_status (*end)(s24_source *source, s24_error *err);

    /* Whether a tensor can be written in this format: S24_OK, or an error that says what to do. NULL: any. */
    s24_status (*accepts)(const s24_entry *entry, s24_error *err);

    /*
     * A format that stores 2:4 tensors in a sparse layout: why it cannot do so with this one, which is 2:4 along
     * entry->axis ("rank 4: only matrices"); NULL: it can. The planned entries that it shall so store have `packed` set,
     * the others are carried dense. Data come dense, with zeros, to `write`. NULL: a dense format.
     */
    const char *(*unfit)(const s24_entry *entry);

    /* What the file will list when the plan is this: a sparse layout stores one tensor as several. NULL: the plan. */
    s24_status (*expand)(const s24_contents *plan, s24_contents *stored, s24_error *err);

    /* Given the plan, sets every entry's offset and writes what comes before the data. NULL: not written. */
    s24_status (*create)(s24_sink *sink, s24_error *err);

    /*
     * Text formats and sparse layouts: elements [first, first + n) of an entry, C order, all entries and elements in
     * order. NULL: data are bytes at the entry's offset, little-endian C order, entries behind one another in the
     * plan's order; of a dtype that has no whole bytes they always are.
     */
    s24_status (*write)(s24_sink *sink, size_t entry, size_t first, size_t n, const void *data, s24_error *err);

    /* Writes what comes after the data, frees state; called once after the last write. NULL: nothing. */
    s24_status (*finish)(s24_sink *sink, s24_error *err);
    void (*abandon)(s24_sink *sink); /* frees state after a failure; NULL: there is none */
};

extern const s24_format *const s24_formats[]; /* ends with NULL */

const s24_format *s24_format_by_name(const char *name);      /* NULL: none */
/* Whether the format can hold that many tensors of those dtypes; an error says what to do. */
s24_status s24_format_accepts(const s24_format *format, const s24_contents *contents, s24_error *err);

const s24_format *s24_format_by_suffix(const char *path);    /* NULL: none */

/* Whether anything shows that the file is, or was, a .s24: one flipped bit must not make it an ordinary model. */
bool s24_plain_recognise(s24_input *in, const unsigned char *head, size_t n);

extern const s24_format s24_format_npy, s24_format_npz, s24_format_raw, s24_format_json, s24_format_safetensors,
    s24_format_s24;
/* Sparse layouts, written only: read they are safetensors with a layout. */
extern const s24_format s24_format_bitmask, s24_format_cutlass;
/* Unsupported ones, of foreign.c. */
extern const s24_format s24_format_gguf, s24_format_pytorch, s24_format_pickle, s24_format_hdf5, s24_format_onnx,
    s24_format_tflite, s24_format_gzip, s24_format_zstd, s24_format_xz, s24_format_bzip2;

#endif
