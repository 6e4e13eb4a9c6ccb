/*
 * s24io.h - files for libs24: reading, pruning, unpacking and checking .npy, .npz, raw, JSON, safetensors and .s24
 * files.
 *
 * Names, errors and threads as in s24.h. Paths: "-" is standard input or output. Functions that write make the whole
 * file or none: a temporary file beside the target, fsync, rename. Data flow in panels of a few MiB, so that memory does
 * not grow with the file.
 */
#ifndef S24IO_H
#define S24IO_H

#include <signal.h>

#include "s24.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Parts of input files that are mapped at the moment. Zeroed is none. What a program with a handler for SIGBUS hands to the
 * library, so that dense files in the page cache are seen in place instead of copied; see s24_maps_repair.
 */
#define S24_MAPS 64
typedef struct s24_map_slot {
    uintptr_t base;
    size_t bytes;
    int taken, lost;
} s24_map_slot;
typedef struct s24_maps {
    s24_map_slot slots[S24_MAPS]; /* the library's; read and written atomically */
} s24_maps;

/*
 * For a handler of SIGBUS (SA_SIGINFO), with info->si_addr: puts zeros where a file was cut off while it was read, so that
 * the access goes on; what reads it then fails with S24_ERR_DATA. False: the address is none of `maps`, or there is no
 * memory. Async-signal-safe.
 */
S24_API bool s24_maps_repair(s24_maps *maps, void *address);

/* How to run: the caller's, only read, and in place until the call returns. Zeroed is a sensible default. */
typedef struct s24_io {
    bool force;       /* replace an existing output */
    bool no_sync;     /* no fsync: faster, and not safe against a crash of the machine */
    unsigned threads; /* 0: every CPU this process may use */
    s24_isa isa;      /* cap on the instruction set */
    const volatile sig_atomic_t *cancel;                            /* not 0: stop, with S24_ERR_STOPPED; may be NULL */
    void (*note)(void *user, const char *message);                  /* one line of talk; may be NULL */
    void (*warn)(void *user, const char *message);                  /* one line that everybody should see; may be NULL */
    void (*progress)(void *user, uint64_t done, uint64_t total);    /* bytes of input; from one thread at a time */
    const s24_blas *(*blas)(void *user, s24_error *err); /* what calibration multiplies with, asked for when it is first needed;
                                                            NULL, or its result: there is none */
    void *user;
    s24_maps *maps; /* NULL: files are read, not mapped */
} s24_io;

/* How to read an input. Zeroed: the content decides. */
typedef struct s24_read_options {
    const char *format;       /* "npy", "npz", "raw", "json", "safetensors", "s24"; NULL: found by content */
    bool has_dtype;           /* `dtype` is set: of raw data, and of .npy files that leave an 8-bit float's type open */
    s24_dtype dtype;
    bool has_shape;           /* raw data only */
    int rank;
    size_t shape[S24_MAX_RANK];
    uint64_t offset;          /* raw data: bytes before the first element */
    bool big_endian;          /* raw data */
    bool salvage;             /* .s24: open a damaged file, as far as either copy of its header tells */
} s24_read_options;

/* ---------------------------------------------------------------- reports */

typedef enum s24_tensor_status {
    S24_TENSOR_PRUNED,
    S24_TENSOR_PACKED, /* was 2:4 already: nothing but zeros was left out */
    S24_TENSOR_DENSE   /* carried as it is; reason says why */
} s24_tensor_status;

/* What was measured of a tensor that is pruned or packed. */
typedef struct s24_report_figures {
    s24_prune_metrics metrics;
    /* What pruning with what is known of the layer's inputs did to its output; of a .s24 errors and samples alone, the rest
     * is not recorded. NULL: it was pruned without. */
    s24_output_error *output_error;
    bool input_read;         /* a dense tensor was read whole: the next three say what it was before pruning */
    uint64_t input_zeros;    /* elements equal to zero */
    uint64_t groups, compliant_groups; /* how many there are, and how many had at most two elements unequal to zero */
} s24_report_figures;

/* Strings and shape are the report's: they are shared, and none is to be freed or changed alone. */
/* What the bytes of a tensor in an archive are. Their sum is its bytes_stored. */
typedef struct s24_stored_parts {
    uint64_t positions;
    uint64_t planes[8]; /* of the values, or a dense tensor's elements, from the lowest byte of an element */
    uint64_t tables;    /* what the coder needs besides */
    uint64_t frames;    /* heads of frames, checks */
} s24_stored_parts;

typedef struct s24_report_tensor {
    char *name;              /* S24_NAMELESS where the format has none */
    s24_dtype dtype, stored;
    int rank;
    int axis;                /* -1 for a dense one */
    s24_tensor_status status;
    bool scaled;             /* stored in 8 bits with scales: */
    uint16_t scale_group;    /* one for so many columns of a row; 0: for a row */
    bool permuted;           /* 2:4 in another order of its columns, which is stored with it */
    size_t *shape;
    char *reason;            /* why dense, or how the axis was chosen; NULL: nothing to tell */
    char *method;            /* NULL for a dense one */
    const char *layout;      /* another tool's sparse layout that it is stored in, static; NULL: none */
    char *file;              /* of a checkpoint: the name of the file that it is in; NULL: no checkpoint */
    s24_report_figures *figures; /* NULL: a dense one, or has_metrics is false */
    uint64_t bytes_dense;    /* as in the original */
    uint64_t bytes_stored;   /* planes, without checks and header; in an archive, where that is known, its share of frames */
    double bits_per_element; /* stored, of all elements of the dense tensor; NaN where there are none */
    s24_stored_parts *parts; /* of an archive that was read for it; NULL: not known */
} s24_report_tensor;

/* What a nameless array (.npy, raw, a bare JSON list) is called in reports and in a .s24. */
#define S24_NAMELESS "arr_0"

/* What a file holds, or what was done. */
typedef struct s24_report {
    char *path;              /* as given */
    const char *format;      /* "npy", "s24"; static storage */
    char *container;         /* of a .s24 the format that its tensors came from, otherwise as format */
    bool archive;            /* it is, or became, an archive, or one of its files is */
    s24_report_tensor *tensors;
    size_t count;
    s24_sums totals;         /* over pruned and packed tensors, added in the order of names */
    uint64_t bytes_dense, bytes_stored; /* over all tensors */
    bool has_metrics;        /* whether tensors that are pruned or packed have figures */
} s24_report;

S24_API void s24_report_free(s24_report *report); /* leaves it zeroed */

/* ---------------------------------------------------------------- whole files */

/* One --axis: tensors whose name matches `glob` (fnmatch(3); NULL: all). The last that matches counts. */
typedef struct s24_axis_rule {
    const char *glob;
    int axis;
} s24_axis_rule;

/* Which tensors, along which axis. Zeroed: the default rule, see s24-prune(1). */
typedef struct s24_selection {
    const char *const *include, *const *exclude; /* globs; exclude wins */
    size_t include_count, exclude_count;
    bool all;                                    /* every tensor of floats, of any rank and name */
    const s24_axis_rule *axes;
    size_t axis_count;
} s24_selection;

/*
 * Of neighbouring layers: the inputs of `tensor` are permuted so that 2:4 keeps more, and the outputs of the tensors `with`, which
 * are those inputs, in the same way, so that the model computes what it did.
 */
typedef struct s24_permute_rule {
    const char *tensor;
    const char *with;          /* names, separated by commas; each permuted along axis 0, or N where it ends in "@N" */
} s24_permute_rule;
/* How a .s24 is written. Zeroed: as a plain file. */
typedef struct s24_packing {
    int level;                 /* 1 to 9: as an archive, which unpacks to that file; more is smaller and slower */
    size_t frame_bytes;        /* of an archive; 0: the default, which is the most; others make small test files */
} s24_packing;

#define S24_ARCHIVE_LEVEL 5    /* when nobody says otherwise */

typedef struct s24_prune_request {
    const char *input;
    s24_read_options read;
    const char *output;        /* NULL: nothing is written (a dry run) */
    bool directory;            /* of a checkpoint: output is a directory, which gets a file for each shard, the index
                                  and copies of all other files */
    unsigned shard, shards;    /* with directory: only files shard, shard + shards, ... from 1; shards 0: all */
    const char *to;            /* output format; NULL: "s24"; "same": the input's, dense with zeros */
    const char *method;        /* NULL: what the second inputs are for, "magnitude" without any */
    const char *second[S24_SECONDS]; /* files of second inputs, tensors of the weights' names; NULL: none */
    const char *plan;          /* a plan of s24 plan: it prunes what that prunes, along its axes, unless selection excludes it;
                                  where this request has no method, by the plan's, permuted or not, and of its dtype
                                  where it has S24_SAME; NULL: none */
    bool refit;                /* after the choice the kept weights are fitted again to activations or hessian */
    bool transposable;         /* by magnitude or wanda: two of four in both directions, see s24_prune_transposable */
    bool permute;              /* each tensor's columns, so that 2:4 keeps more; the order is stored. .s24 only */
    const s24_permute_rule *permute_with; /* neighbours, permuted alike: any output */
    size_t permute_with_count;
    s24_dtype dtype;           /* of the stored values; S24_SAME */
    size_t scale_group;        /* where s24_dtype_scaled: columns that share a scale, S24_SCALE_GROUP, or 0: all of a row */
    s24_selection selection;
    bool allow_nonfinite;
    size_t panel_groups, panel_bytes; /* 0: the defaults; others make small test files */
    s24_packing packing;       /* of a .s24 */
} s24_prune_request;

/*
 * Prunes a file. *report (NULL: not wanted; else zeroed or freed before) is the caller's to free. S24_ERR_NOTHING: no
 * tensor was eligible, and nothing was written; the report says why, without metrics. Messages name file and tensor.
 */
S24_API s24_status s24_prune_file(const s24_io *io, const s24_prune_request *request, s24_report *report,
                                  s24_error *err);

typedef struct s24_decompress_request {
    const char *input;
    const char *output;
    bool directory;            /* of a checkpoint of .s24 files: output is a directory, as in s24_prune_request */
    const char *to;            /* output format; NULL or "same": the format of the original */
    const char *tensor;        /* only this one; NULL: all */
    s24_dtype dtype;           /* of the pruned tensors in the output; S24_SAME: the original's */
    bool salvage;              /* of a damaged file what is whole; lost elements are NaN, or 0 for integers */
    void (*lost)(void *user, const char *message); /* salvage: one line a damaged part; may be NULL */
    void *user;
} s24_decompress_request;

/* A .s24 back to a dense file. S24_ERR_DATA after a salvage that lost something: the output is there all the same. */
S24_API s24_status s24_decompress_file(const s24_io *io, const s24_decompress_request *request, s24_error *err);

typedef struct s24_convert_request {
    const char *input;
    s24_read_options read;
    const char *output;
    bool directory;            /* of a checkpoint: output is a directory, as in s24_prune_request */
    const char *to;            /* NULL: "s24"; a dense type, or a sparse layout: "sparse-24-bitmask", "cutlass" */
    s24_selection selection;   /* of a dense input, what is to be packed, if it is 2:4 */
    s24_packing packing;       /* of a .s24, also one made of another: from plain file to archive or back */
} s24_convert_request;

/*
 * From one layout to another without loss: of a dense file what is 2:4 is packed, of a .s24 or another sparse layout
 * everything is unpacked, or packed anew. *report as of s24_prune_file. S24_ERR_NOTHING: nothing could be packed; S24_ERR_DATA
 * also for a tensor that selection.include names and that is not 2:4.
 */
S24_API s24_status s24_convert_file(const s24_io *io, const s24_convert_request *request, s24_report *report,
                                    s24_error *err);

typedef struct s24_stats_request {
    const char *input;
    s24_read_options read;
    const char *original;      /* of a .s24: recompute the metrics against this dense file; NULL: the recorded ones */
    s24_read_options original_read;
    s24_selection selection;   /* of a dense file */
    bool header_only;          /* tensors and their status alone, has_metrics false: inspect */
    bool parts;                /* of an archive: read all of it, and say what its bytes are */
} s24_stats_request;

/*
 * Of a .s24 what was recorded (or recomputed); of a dense file what magnitude pruning of the selected tensors would cost,
 * status S24_TENSOR_PACKED where they are 2:4 already.
 */
S24_API s24_status s24_stats_file(const s24_io *io, const s24_stats_request *request, s24_report *report,
                                  s24_error *err);

/* A fault that verify found: what is wrong, where. Damage: one a damaged part; a dense tensor that is not 2:4: one. */
typedef struct s24_verify_fault {
    const char *file;          /* of a checkpoint: which of its files; NULL: the input itself */
    const char *tensor;        /* NULL: the file itself */
    bool has_place;
    uint64_t row, group;       /* the first offending group */
    uint64_t broken_groups;    /* of a dense tensor: how many are not 2:4, of `groups`; of damage both are 0 */
    uint64_t groups;
    const char *message;       /* what is wrong, one line */
} s24_verify_fault;

typedef struct s24_verify_request {
    const char *input;
    s24_read_options read;
    s24_selection selection;   /* of a dense file: the tensors that must be 2:4 */
    void (*fault)(void *user, const s24_verify_fault *fault); /* called for each, from one thread; may be NULL */
    void (*skipped)(void *user, const char *tensor, const char *reason); /* tensors left out; may be NULL */
    void *user;
} s24_verify_request;

/* Integrity of a .s24, 2:4 compliance of any file. S24_ERR_CHECK when there were faults. */
S24_API s24_status s24_verify_file(const s24_io *io, const s24_verify_request *request, s24_error *err);

/* ---------------------------------------------------------------- one tensor in memory */

/* Loads and checks the pruned tensor `name` of a .s24 (NULL: the only one). The caller frees it with s24_tensor_free. */
S24_API s24_status s24_tensor_load(const char *path, const char *name, s24_tensor **tensor, s24_prune_metrics *metrics,
                                   s24_error *err);

/* A dense array that the library allocated. */
typedef struct s24_array {
    void *data;                /* C order */
    s24_dtype dtype;
    int rank;
    size_t shape[S24_MAX_RANK];
} s24_array;

/* Loads a tensor of any file that s24 reads (a pruned one is decompressed). Freed with s24_array_free. */
S24_API s24_status s24_array_load(const char *path, const char *name, s24_array *array, s24_error *err);
S24_API void s24_array_free(s24_array *array);

/* Writes one pruned tensor as a .s24. name may be NULL: S24_NAMELESS. metrics as pruning gave them. Never replaces a file. */
S24_API s24_status s24_tensor_save(const char *path, const char *name, const s24_tensor *tensor, const char *method,
                                   const s24_prune_metrics *metrics, s24_error *err);

#ifdef __cplusplus
}
#endif

#endif
