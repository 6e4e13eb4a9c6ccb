/*
 * s24.h - the core of libs24: 2:4 structured sparsity in memory.
 *
 * A weight matrix is read as rows along its reduction axis; every four consecutive elements of a row are a
 * group, and 2:4 sparsity keeps the two best of each group. libs24 selects them, packs them (two values and
 * two 2-bit positions a group), gives them back dense, measures what was lost, and multiplies with them.
 *
 * Names. s24_NOUN_VERB; the nouns of the field's literature: Sparse24Tensor is s24_tensor, Sparse24Block
 * is s24_block, PruneMetrics is s24_prune_metrics.
 *
 * Errors. Functions return an s24_status, S24_OK (0) on success. The message goes to the s24_error that the
 * caller passes (NULL: not wanted). On an error no output argument holds anything that must be freed.
 *
 * Threads. There is no mutable global state: any function may be called from any thread at once, as long as no
 * two calls write to the same object. Functions with a `threads` option start and join their own threads.
 *
 * Determinism. The same input and options give the same bytes and the same figures whatever the instruction
 * set and the number of threads (products of s24_sparse_matmul: for one instruction set, but for S24_COMPUTE_I8; what
 * solvers fit: on one machine with one BLAS, whose products they take, and these, by the best instruction set there is).
 *
 * Files are in s24io.h.
 */
#ifndef S24_H
#define S24_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define S24_VERSION "0.1.0"

#if defined(__GNUC__)
#define S24_API __attribute__((visibility("default")))
#define S24_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define S24_API
#define S24_PRINTF(fmt, args)
#endif

/* The version of the library that is linked: "MAJOR.MINOR.PATCH". */
S24_API const char *s24_version(void);

/* ---------------------------------------------------------------- errors */

/* The values are the exit statuses of the command; see s24(1). */
typedef enum s24_status {
    S24_OK = 0,
    S24_ERR_CHECK = 1,   /* a check failed: not 2:4, or damaged; nothing wrong with the run itself */
    S24_ERR_USAGE = 2,   /* an argument makes no sense */
    S24_ERR_DATA = 3,    /* malformed, damaged or unsupported input */
    S24_ERR_SYSTEM = 4,  /* the system said no: I/O, memory, permission */
    S24_ERR_NOTHING = 5, /* nothing to do: no tensor was eligible */
    S24_ERR_STOPPED = 6  /* the caller's cancel flag was raised */
} s24_status;

#define S24_NO_OFFSET UINT64_MAX

typedef struct s24_error {
    s24_status status;
    int sys_errno;     /* errno where the system said no; ENOTSUP where a file needs a newer s24; otherwise 0 */
    uint64_t offset;   /* byte in the file that is at fault, or S24_NO_OFFSET */
    char message[480]; /* one line: what is wrong; what to do. Names in it are the file's own, unescaped */
} s24_error;

/* ---------------------------------------------------------------- element types */

/*
 * The first seven, from S24_F64, can be pruned. The others are the remaining types of the safetensors format: they are carried
 * through files unchanged and never computed with.
 */
typedef enum s24_dtype {
    S24_SAME,                /* in options: the input's own dtype; no dtype itself */
    S24_F64, S24_F32, S24_F16, S24_BF16, S24_F8E4M3, S24_F8E5M2, S24_I8,
    S24_I64, S24_I32, S24_I16, S24_U64, S24_U32, S24_U16, S24_U8, S24_BOOL, S24_C64,
    S24_F8E8M0, S24_F6E2M3, S24_F6E3M2, S24_F4,
    S24_DTYPES               /* the end: dtypes are S24_F64 to S24_DTYPES - 1 */
} s24_dtype;

S24_API const char *s24_dtype_name(s24_dtype dtype);                   /* "f32"; static storage */
S24_API bool s24_dtype_parse(const char *name, s24_dtype *dtype);      /* false: no such dtype */
S24_API unsigned s24_dtype_bits(s24_dtype dtype);                      /* bits an element: 32 for S24_F32 */
S24_API bool s24_dtype_prunable(s24_dtype dtype);

/*
 * Whether elements of `from` are stored as `to` with scales: floats as another type of 8 bits. i8 and the 8-bit floats stored
 * as they are have none.
 */
S24_API bool s24_dtype_scaled(s24_dtype from, s24_dtype to);

/*
 * Converts n elements between two prunable dtypes, rounding to nearest, ties to even. NaN stays NaN (quiet),
 * infinity stays infinity. Conversions to i8, f8e4m3 and f8e5m2 from any other dtype need scales, which pruning finds, and are
 * refused (S24_ERR_USAGE). A finite value beyond the largest of `to` is S24_ERR_DATA; *at (NULL: not wanted) is its index.
 * src and dst may be unaligned and must not overlap, unless both dtypes have the same width and src == dst.
 */
S24_API s24_status s24_dtype_convert(s24_dtype from, const void *src, s24_dtype to, void *dst, size_t n,
                                     size_t *at, s24_error *err);

/* ---------------------------------------------------------------- instruction sets */

/* What a kernel may use. Caps the choice; what the machine lacks is never used. Results do not depend on it. */
typedef enum s24_isa {
    S24_ISA_BEST, S24_ISA_GENERIC, S24_ISA_NEON, S24_ISA_AVX2, S24_ISA_AVX512,
    S24_ISA_AMX,             /* AVX-512, AMX-BF16 and AMX-INT8: products only */
    S24_ISAS
} s24_isa;

S24_API const char *s24_isa_name(s24_isa isa);                    /* "avx512"; static storage */
S24_API bool s24_isa_parse(const char *name, s24_isa *isa);       /* false: no such instruction set */
S24_API s24_isa s24_isa_detect(s24_isa cap);                      /* the best that the machine has, up to cap */
S24_API unsigned s24_threads_available(void);                     /* the CPUs this process may use, at least 1 */

/* ---------------------------------------------------------------- shapes */

#define S24_MAX_RANK 64
#define S24_AXIS_AUTO INT32_MAX

/*
 * How a tensor of a given shape is read as rows along its pruned axis. A row is `cols` (K) elements, `groups` =
 * ceil(K/4) groups, the last one padded with zeros. Rows are numbered in C order over the other axes.
 * A tensor of rank 0 is one row of one element.
 */
typedef struct s24_geometry {
    size_t rows, cols, groups;
    size_t row_values;      /* 2 * groups: kept values a row */
    size_t row_positions;   /* ceil(groups / 2): bytes of positions a row */
    size_t num_elements;    /* rows * cols, without padding */
    size_t values_bytes;    /* of the plane of kept values in the stored dtype */
    size_t positions_bytes; /* of the plane of positions */
} s24_geometry;

/*
 * The axis that groups run along when nobody says otherwise: the last one for rank 1 and 2; axis 1 for rank 3 and
 * more when every dimension after it is at most 31 (a convolution, OIHW), otherwise the last. 0 for rank 0.
 */
S24_API int s24_axis_auto(int rank, const size_t *shape);

/*
 * Fills *geometry for a tensor whose values are stored as `stored`. axis: S24_AXIS_AUTO, or 0..rank-1, or negative
 * from the end; *resolved (NULL: not wanted) is the axis as 0..rank-1. S24_ERR_USAGE for an axis that the tensor
 * does not have, S24_ERR_DATA for sizes beyond 2^63 - 1 bytes.
 */
S24_API s24_status s24_geometry_init(s24_geometry *geometry, s24_dtype stored, int rank, const size_t *shape,
                                     int axis, int *resolved, s24_error *err);

/* A borrowed view of a dense array. The memory stays the caller's and is only read. It may be unaligned. */
typedef struct s24_dense {
    const void *data;
    s24_dtype dtype;
    int rank;               /* 0..S24_MAX_RANK */
    const size_t *shape;    /* [rank] */
    const int64_t *strides; /* [rank], in elements, or NULL: C order */
} s24_dense;

/* ---------------------------------------------------------------- sparse tensors */

/*
 * Scales. Kept values of floats are stored in 8 bits as q = w / scale, and are worth q * scale: for every row, or for every
 * S24_SCALE_GROUP columns of a row, of the values that it keeps
 *
 *      scale = the least f32 s with M * s >= max |w|; 1 where all are 0        M = 127 (i8), 448 (f8e4m3), 57344 (f8e5m2)
 *      q = w / scale in f64, rounded to nearest, ties to even, to the stored dtype
 *
 * so that |q| <= M. An i8 is symmetric: -128 does not occur. Where max |w| is below 2^-149 * M, the scale is the least f32,
 * 2^-149, and q as small as it comes.
 */
#define S24_SCALE_GROUP 128

/* Sparse24Tensor: the compressed form, one allocation. Make it with s24_tensor_new or a prune function. */
typedef struct s24_tensor {
    void *values;             /* [rows, 2 * groups] of dtype, ascending position; slots of padding are 0 */
    uint8_t *positions;       /* [rows, ceil(groups / 2)]: a nibble a group, p0 | p1 << 2, p0 < p1, lower group first */
    s24_dtype dtype;          /* of the stored values */
    s24_dtype source_dtype;   /* of the tensor it was made from */
    int rank;
    int axis;                 /* the pruned axis, 0..rank-1 */
    size_t shape[S24_MAX_RANK];
    s24_geometry geometry;
    size_t num_elements;      /* of the dense tensor */
    size_t memory_bytes;      /* of all planes */
    double sparsity_percent;  /* elements that decompress to zero, of 100 */
    float *scales;            /* [rows], or [rows, ceil(cols / scale_group)]: finite, above 0; NULL: values count as they are */
    size_t scale_group;       /* columns that share a scale: S24_SCALE_GROUP, or 0: all of a row */
    const int32_t *permutation; /* [cols]: which element of a dense row stands at place i of a stored one; NULL: i */
} s24_tensor;

/* Sparse24Block: one group. */
typedef struct s24_block {
    double values[2];         /* times their scale, where there is one */
    uint8_t positions[2];     /* 0..3, ascending */
} s24_block;

/* A tensor of zeros, positions 0 and 1 in every group. The caller frees it with s24_tensor_free (NULL is fine). */
S24_API s24_status s24_tensor_new(s24_tensor **tensor, s24_dtype dtype, int rank, const size_t *shape, int axis,
                                  s24_error *err);

/* The same with scales, all of them 1, of f32. dtype: i8, f8e4m3 or f8e5m2; scale_group: 0 or S24_SCALE_GROUP. */
S24_API s24_status s24_tensor_new_scaled(s24_tensor **tensor, s24_dtype dtype, size_t scale_group, int rank,
                                         const size_t *shape, int axis, s24_error *err);
S24_API void s24_tensor_free(s24_tensor *tensor);

/*
 * Says in which order the columns of the tensor stand, which is then at place i of its rows that of the dense tensor with
 * index permutation[i]; NULL: in their own. Nothing else of the tensor changes. The numbers are copied. S24_ERR_DATA: not
 * each of 0 .. cols - 1 once. S24_ERR_USAGE: rows of more than 262144 elements (of a panel: they are split elsewhere, where
 * each part would be of columns from everywhere).
 */
S24_API s24_status s24_tensor_set_permutation(s24_tensor *tensor, const int32_t *permutation, s24_error *err);

/*
 * Rows of B, [cols, n] with row stride ldb, in the order that the tensor's columns have, as products want them: row i of
 * `out`, row stride ldo, is row permutation[i] of b, or row i. The two must not overlap.
 */
S24_API void s24_tensor_permute_rows(const s24_tensor *tensor, const float *b, size_t ldb, size_t n, float *out,
                                     size_t ldo);

/* The group `group` of row `row`, as it is stored, values as f64. row < geometry.rows, group < geometry.groups. */
S24_API s24_block s24_tensor_block(const s24_tensor *tensor, size_t row, size_t group);

/* ---------------------------------------------------------------- metrics */

/*
 * What pruning did to a tensor, as plain sums, so that parts can be added. w is an original element, v what it
 * decompresses to in f64 (of a scaled tensor q * scale, which is exact). Non-finite elements are counted and left out
 * of every sum. All in f64.
 */
typedef struct s24_sums {
    uint64_t total_count;          /* all elements; padding never counts */
    uint64_t pruned_count;         /* elements not among the two kept of their group */
    uint64_t zero_count;           /* elements with v == 0 */
    uint64_t nonfinite_kept;       /* w not finite, kept */
    uint64_t nonfinite_pruned;     /* w not finite, pruned: a group had more than two */
    uint64_t negative_zero_count;  /* w == -0.0 that became +0.0 */
    uint64_t broken_groups;        /* groups with a pruned element unequal to 0; none: the input was 2:4 already */
    double kept_abs, pruned_abs;   /* sums of |w| over kept, over pruned elements */
    double kept_sq, pruned_sq;     /* sums of w^2 */
    double quant_abs, quant_sq;    /* sums of |w - v| and (w - v)^2 over kept elements */
    double max_abs_error;          /* max |w - v| */
} s24_sums;

/* PruneMetrics: the figures derived from the sums. What is undefined (a mean over nothing) is NaN. */
typedef struct s24_prune_metrics {
    uint64_t pruned_count;
    uint64_t total_count;
    double approximation_error;    /* mean of |w - v| over all finite elements */
    double kept_magnitude_mean;    /* mean of |w| over kept elements */
    double pruned_magnitude_mean;  /* mean of |w| over pruned elements */
    double relative_error;         /* ||W - V||_F / ||W||_F; NaN where squares of f64 values under- or overflow */
    double max_abs_error;
    double sparsity_percent;       /* elements with v == 0, of 100 */
    uint64_t nonfinite_count;
    s24_sums sums;
} s24_prune_metrics;

S24_API void s24_sums_add(s24_sums *total, const s24_sums *part);
S24_API s24_prune_metrics s24_metrics_from_sums(const s24_sums *sums);

/* ---------------------------------------------------------------- second inputs */

/* What a criterion may know besides the weights. K: elements of a row, the inputs of the layer. */
typedef enum s24_second {
    S24_GRADIENTS,    /* of the loss, [as the weights] */
    S24_SCORES,       /* the caller's own, [as the weights]: of each group the two greatest are kept */
    S24_ACTIVATIONS,  /* calibration inputs X, [samples, K] */
    S24_HESSIAN,      /* X'X up to a factor, [K, K] */
    S24_NORMS,        /* ||X_j||_2 up to a factor, [K] */
    S24_SECONDS
} s24_second;

S24_API const char *s24_second_name(s24_second second); /* "gradients"; static storage */
/* ---------------------------------------------------------------- calibrated pruning */

/*
 * Products of matrices, given by the caller, so that the library needs no BLAS: functions of the CBLAS interface (BLAS
 * Technical Forum, 2001) with 32-bit ints, called with order 101 (row-major) and transpositions 111 (none) and 112. They
 * are called from several threads at once, each for a tile of its own, and so must not start threads of their own:
 * set_threads(1) is called first where there is such a function (openblas_set_num_threads), and left at that.
 */
typedef struct s24_blas {
    const char *name; /* "OpenBLAS 0.3.21"; borrowed */
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*dgemm)(int order, int trans_a, int trans_b, int m, int n, int k, double alpha, const double *a, int lda,
                  const double *b, int ldb, double beta, double *c, int ldc);
    void (*set_threads)(int threads); /* NULL: the library has no threads */
} s24_blas;

/*
 * What is known of the inputs X [samples, K] of a layer: X'X, of the first three quarters of the samples and of the last
 * quarter apart, which is held out: damping and method are chosen by the error there. Convolutions (OIHW, axis 1): X is
 * the im2col (unfolded) matrix, K = I H W inputs numbered as an output's weights are; or K = I, the channels as every tap
 * meets them. One thread at a time may write to it, any number may prune with it.
 */
typedef struct s24_calibration s24_calibration;

/*
 * *cal is the caller's to free with s24_calibration_free. total_rows: how many samples s24_calibration_add will bring; 0
 * where they come by s24_calibration_set_hessian or s24_calibration_set_norms. blas is copied, but for its name; NULL:
 * norms alone can be set. threads: of s24_calibration_add, 0: every CPU this process may use. Takes 16 K^2 bytes once
 * samples come. S24_ERR_USAGE: K = 0, or beyond 2^31 - 1.
 */
S24_API s24_status s24_calibration_new(s24_calibration **cal, size_t k, uint64_t total_rows, const s24_blas *blas,
                                       unsigned threads, s24_error *err);
S24_API void s24_calibration_free(s24_calibration *cal); /* NULL is fine */

/*
 * The next n samples, x [n, K] without gaps. How they are cut into calls makes no difference. S24_ERR_DATA: one that is not
 * finite. S24_ERR_USAGE: more than total_rows.
 */
S24_API s24_status s24_calibration_add(s24_calibration *cal, const float *x, size_t n, s24_error *err);

/*
 * X'X itself, up to a positive factor: h [K, K] f32 or f64, of which the lower triangle is read. Nothing is held out.
 * S24_ERR_DATA: an element that is not finite, or a negative one on the diagonal.
 */
S24_API s24_status s24_calibration_set_hessian(s24_calibration *cal, s24_dtype dtype, const void *h, s24_error *err);

/* ||X_j||_2 alone, up to a positive factor: enough for wanda and ria. S24_ERR_DATA: one that is negative or not finite. */
S24_API s24_status s24_calibration_set_norms(s24_calibration *cal, const double *norms, s24_error *err);

/*
 * What pruning did to the layer's output: ||X (W - V)'||_F / ||X W'||_F, V the result before it is rounded to the stored
 * dtype. Of up to S24_SAMPLE_ROWS rows of W, evenly spread; NaN where it is not known. The held-out figures are of a
 * solution from the first three quarters of the samples, with the same options; the result itself is from all of them.
 */
#define S24_SAMPLE_ROWS 256
typedef struct s24_output_error {
    double training;        /* of the result, over all samples */
    double held_out;        /* on samples that the solution did not see */
    double wanda_training;  /* the same of Wanda's mask, values unchanged, for the same rows of W */
    double wanda_held_out;
    double damping;         /* of the result, relative to the mean of the diagonal of X'X; NaN: none was used */
    double damping_shape;   /* input j's is in proportion to this power of ||X_j||^2: 0 is the same for all; NaN: none */
    uint64_t samples;       /* 0: they came as a Hessian, or as norms */
    uint64_t held_out_samples;
    const char *method;     /* what was done: "obs", or what it fell back to; static storage */
    bool refit;             /* whether values were fitted to the final mask */
} s24_output_error;

/* ---------------------------------------------------------------- the API */

typedef struct s24_prune_options {
    int axis;               /* S24_AXIS_AUTO, or an axis, negative from the end */
    s24_dtype dtype;        /* of the stored values; S24_SAME: the input's */
    bool allow_nonfinite;   /* rank NaN and infinity above everything instead of refusing them */
    unsigned threads;       /* 0: every CPU this process may use */
    s24_isa isa;            /* cap on the instruction set */
    size_t scale_group;     /* where s24_dtype_scaled: columns that share a scale, S24_SCALE_GROUP, or 0: all of a row */
    const int32_t *permutation; /* [cols]: puts the columns in this order first; see s24_tensor_set_permutation. NULL: none */
} s24_prune_options;

#define S24_PRUNE_OPTIONS_INIT {S24_AXIS_AUTO, S24_SAME, false, 0, S24_ISA_BEST, 0, NULL}

/*
 * prune_24_magnitude: keeps the two elements of largest |w| of every group, ties to the lower index (Mishra et al.
 * 2021, arXiv 2104.08378). *tensor is the caller's to free. options and metrics may be NULL. S24_ERR_DATA: a
 * non-finite element (with scales also where allow_nonfinite is set: what is not finite has none), or one beyond the range of
 * the stored dtype or of its scale; S24_ERR_USAGE: a dtype or axis that cannot be, or a row of more than 262144 elements with
 * one scale; S24_ERR_SYSTEM: no memory.
 */
S24_API s24_status s24_prune_magnitude(const s24_dense *weights, const s24_prune_options *options,
                                       s24_tensor **tensor, s24_prune_metrics *metrics, s24_error *err);

/*
 * prune_24_gradient: the same with the score |w * g|, computed in f64 (Molchanov et al. 2019, arXiv 1906.10771).
 * gradients has the shape of weights, any prunable dtype and strides of its own; it must be finite.
 */
S24_API s24_status s24_prune_gradient(const s24_dense *weights, const s24_dense *gradients,
                                      const s24_prune_options *options, s24_tensor **tensor,
                                      s24_prune_metrics *metrics, s24_error *err);

/*
 * Prunes with what is known of the layer's inputs. method:
 *
 *   magnitude, wanda, ria  masks: |w|; |w| ||X_j||_2 (Sun et al. 2023, arXiv 2306.11695); (|w| / sum_i |w| + |w| / sum_j |w|)
 *                          ||X_j||_2^(1/2) (Zhang et al. 2024, ICLR). Scores in f64, ties to the lower index.
 *   sparsegpt              Frantar and Alistarh 2023, arXiv 2301.00774: columns from left to right, what is pruned made up for
 *                          by the columns to the right, damping 0.01.
 *   obs                    the most accurate: see libs24(3). refit is implied.
 *
 * refit: the kept values are fitted to the mask by least squares, per row min ||X (w - v)||^2. Needs X'X, as sparsegpt and obs
 * do; wanda and ria need norms, magnitude nothing (cal may then be NULL). Otherwise as s24_prune_magnitude, except that weights must
 * be finite. Values that are not the input's own are rounded to the stored dtype, and held within its range where that
 * is i8 or an 8-bit float. errors may be NULL. S24_ERR_USAGE: an unknown method, or K of the weights and of cal differ, or cal
 * does not know enough. S24_ERR_DATA: not finite weights; X'X that is not positive definite in spite of damping.
 */
S24_API s24_status s24_prune_calibrated(const s24_dense *weights, const char *method, const s24_calibration *cal,
                                        const s24_prune_options *options, bool refit, s24_tensor **tensor,
                                        s24_prune_metrics *metrics, s24_output_error *errors, s24_error *err);

/*
 * By magnitude with a transposable mask: the transpose is 2:4, too (Hubara et al. 2021, arXiv 2102.08124). A block is four
 * consecutive groups, one of each of four places of the axis before the pruned one (of axis 1, where the first is pruned):
 * 4 x 4 of a matrix; of a convolution [O, I, R, S] pruned along axis 1, four output by four input channels of a tap. In
 * each block two elements a row and two a column are kept, so that the sum of |w| is the greatest of all 90 such patterns;
 * it is found exactly, with sums in f64. Of equal sums the pattern wins whose first row keeps the lowest positions, by
 * p0 | p1 << 2, then the second, and so on.
 *
 * Both axes are padded with zeros to multiples of 4, which rank below everything: at an edge at most two a row and two a
 * column are kept, and of the tail of a row perhaps none. options, metrics and errors as s24_prune_magnitude.
 */
S24_API s24_status s24_prune_transposable(const s24_dense *weights, const s24_prune_options *options,
                                          s24_tensor **tensor, s24_prune_metrics *metrics, s24_error *err);

/*
 * decompress: writes the dense tensor, C order, as `dtype` (S24_SAME: the stored one) into `dense`, which holds
 * num_elements elements; a permutation is undone. Pruned positions are +0.0. Conversion as s24_dtype_convert; of a scaled
 * tensor q * scale, in f64, is rounded once, and S24_SAME is the source dtype. S24_ERR_DATA: a position or a scale that is none. S24_ERR_USAGE: a dtype of
 * 8 bits that is not the source's, and so would need scales.
 */
S24_API s24_status s24_decompress(const s24_tensor *tensor, s24_dtype dtype, void *dense, s24_error *err);

/*
 * compute_metrics: what `tensor` lost against `original`, which has its shape. Equal, bit for bit, to what pruning
 * `original` to `tensor` reported. Non-finite elements are counted. threads as in s24_prune_options.
 */
S24_API s24_status s24_compute_metrics(const s24_dense *original, const s24_tensor *tensor, unsigned threads,
                                       s24_prune_metrics *metrics, s24_error *err);

/* What a product computes with. */
typedef enum s24_compute {
    S24_COMPUTE_F32,        /* the errors of f32 arithmetic */
    S24_COMPUTE_BF16,       /* B is rounded to bf16 first (nearest, ties to even): less accurate, faster with AMX */
    S24_COMPUTE_I8          /* B is quantized to i8 column by column, for weights of i8: see s24_sparse_matmul */
} s24_compute;

typedef struct s24_matmul_options {
    unsigned threads;       /* 0: every CPU this process may use */
    s24_isa isa;            /* cap on the instruction set */
    s24_compute compute;
} s24_matmul_options;

#define S24_MATMUL_OPTIONS_INIT {0, S24_ISA_BEST, S24_COMPUTE_F32}

/*
 * sparse_matmul: C = A B with A the compressed tensor [M, K] (rank 2, pruned along axis 1; M = rows, K = cols),
 * B row-major f32 [K, N] with row stride ldb >= N, C row-major f32 [M, N] with row stride ldc >= N. Accumulates in f32;
 * A is never dense as a whole. B and C must not overlap. With AMX elements below 2^-126 may count as 0. options may be NULL:
 * S24_MATMUL_OPTIONS_INIT. S24_ERR_USAGE: a tensor that is not such a matrix, or an f64 one. S24_ERR_DATA: a position or a
 * scale that is none. Where A has a permutation, row i of B is what its column permutation[i] is multiplied with:
 * s24_tensor_permute_rows.
 *
 * Scales of rows are multiplied with in the end: C_ij = scale_i * sum_k q_ik b_kj, so that the sum must be an f32, too. With
 * those of groups of columns every weight or every group is scaled before it is added.
 *
 * S24_COMPUTE_I8 multiplies whole numbers. For every column j of B, in f32: s_j = max_k |b_kj| / 127; q_kj = b_kj / s_j
 * rounded to nearest, ties to even, and held within -127..127 (0 where s_j is 0); C_ij = s_j * sum_k w_ik q_kj, the sum
 * exact and rounded once to f32, and then times scale_i where rows have scales. With scales of groups of columns there
 * is a sum for every group, and C_ij = s_j * (the sum of scale * group's sum, in f32 and in order). Results are the
 * same bytes for every instruction set and number of threads. S24_ERR_USAGE: weights that are not i8 (compute in f32 or
 * bf16), or rows of more than 132104 kept ones, whose sums may exceed i32. S24_ERR_DATA: a column of B with an infinity
 * or a NaN, which the message names.
 */
S24_API s24_status s24_sparse_matmul(const s24_tensor *a, const float *b, size_t ldb, size_t n, float *c, size_t ldc,
                                     const s24_matmul_options *options, s24_error *err);

/*
 * The same for many products with one tensor: what depends on the tensor alone is done once. Positions are checked when
 * the plan is made, and where the kernels gain by it the plan holds a copy of the weights in their order. `a` is
 * borrowed: it must outlive the plan and stay as it is. *plan is the caller's to free with s24_matmul_plan_free.
 * Products of a plan are byte for byte those of s24_sparse_matmul. Errors are the same, too.
 */
typedef struct s24_matmul_plan s24_matmul_plan;
S24_API s24_status s24_matmul_plan_new(const s24_tensor *a, const s24_matmul_options *options, s24_matmul_plan **plan,
                                       s24_error *err);

/* C = A B as above. The plan is only read: any number of threads may multiply with it at once. */
S24_API s24_status s24_matmul_plan_multiply(const s24_matmul_plan *plan, const float *b, size_t ldb, size_t n, float *c,
                                            size_t ldc, s24_error *err);

S24_API size_t s24_matmul_plan_bytes(const s24_matmul_plan *plan); /* of the copy of the weights; 0: there is none */
S24_API void s24_matmul_plan_free(s24_matmul_plan *plan);          /* NULL is fine */

/* ---------------------------------------------------------------- permutations of columns */

/*
 * Which columns share a group is nobody's choice but the matrix's, and a network does not change when the columns of a
 * layer's weights and the elements of its input are permuted alike. A search finds an order in which 2:4 keeps more (Pool
 * and Yu, NeurIPS 2021).
 */
typedef struct s24_permute_options {
    const float *norms;  /* [cols], finite and at least 0: the score of w_ij is (w_ij norms[j])^2; NULL: |w_ij| */
    uint64_t moves;      /* exchanges of two columns that are tried; 0: as many as suit the shape */
    uint64_t seed;
    unsigned threads;    /* 0: every CPU this process may use */
    s24_isa isa;         /* cap on the instruction set */
    const volatile sig_atomic_t *cancel; /* not 0: stop, with S24_ERR_STOPPED; may be NULL */
} s24_permute_options;

#define S24_PERMUTE_OPTIONS_INIT {NULL, 0, 1, 0, S24_ISA_BEST, NULL}

/* Sums of scores over the whole matrix. */
typedef struct s24_permute_figures {
    double total;
    double kept_before, kept_after; /* of 2:4, in the order given and in the one found */
    double kept_rows;               /* of the best half of each row, whatever the groups: no order keeps more */
    double efficacy;                /* (kept_after - kept_before) / (kept_rows - kept_before); NaN: there is nothing to gain */
} s24_permute_figures;

/*
 * permutation[i], i < cols, is the column of w that stands at place i of the best order found; groups are places 4 g to
 * 4 g + 3, in ascending order of columns. w is [rows, cols], row r at w + r * ldw, ldw >= cols. The order never keeps less
 * than the one given: where nothing better was found it is 0, 1, 2, ... The search looks at all rows up to 4096, and at so
 * many of more, evenly spread; the figures (NULL: not wanted) are those of all.
 *
 * It tries `moves` exchanges and looks at no clock. By default it takes seconds for 128 x 64, and a minute for
 * 4096 x 4096, on two CPUs with AVX-512. It takes memory for the scores of the rows that it looks at, in f32, and for as
 * many again of some columns. S24_ERR_USAGE: cols beyond 2^31 - 1, or ldw < cols. S24_ERR_DATA: a weight or a norm that
 * is not finite, or a negative norm; S24_ERR_SYSTEM: no memory.
 */
S24_API s24_status s24_permute_search(const float *w, size_t ldw, size_t rows, size_t cols,
                                      const s24_permute_options *options, int32_t *permutation,
                                      s24_permute_figures *figures, s24_error *err);

/* ---------------------------------------------------------------- the benchmark */

/*
 * What 2:4 buys on this machine: the sparse product against dense ones, of the same weights. The dense side comes as a
 * table from the caller, so that the library needs no BLAS.
 *
 * Rules of measuring. All sides alternate, call by call, and the median of each is reported: drift of the machine meets
 * them alike. Before every timed call S24_BENCH_SWEEP bytes of other memory are read, so that weights come from memory
 * as they do in a model that exceeds the caches; it also wakes the processor after a pause. (Measured on Sapphire
 * Rapids: 80 MiB read again and again come at 30 GB/s from the third cache, 176 MiB and more at 16 GB/s from memory.) A
 * call includes all it does, the starting of threads, too; what the sparse side does once for all calls is a plan, and is
 * reported apart.
 */
#define S24_BENCH_SWEEP (256u << 20)
#define S24_BENCH_BASELINES 4

/* C[m, n] = A[m, k] B[k, n], f32, row-major without gaps, with `threads` threads. */
typedef struct s24_bench_product {
    unsigned threads;
    size_t m, n, k;
    const float *a, *b;
    float *c;
} s24_bench_product;

typedef s24_status s24_bench_step(void *ctx, const s24_bench_product *product, s24_error *err);

/*
 * A dense side. Only `multiply` is timed. `prepare` comes before the calls of an n, and may lay out A and B as the side
 * likes them best; `finish` comes after a call, and brings the result to C where multiply left it elsewhere. Either may
 * be NULL: nothing to do.
 */
typedef struct s24_bench_baseline {
    const char *name;      /* "OpenBLAS 0.3.21" */
    void *ctx;
    s24_bench_step *prepare, *multiply, *finish;
    double settle_seconds; /* how long its worker threads spin after a call; waited for when threads > 1 */
    unsigned weight_bytes; /* an element of A, as multiply reads it */
} s24_bench_baseline;

typedef struct s24_bench_options {
    const size_t *n;       /* [count], each at least 1 */
    size_t count;
    unsigned reps, warmup; /* timed calls of each side (at least 1), and calls before them */
    uint64_t seed;         /* of B */
    unsigned threads;      /* of every side; 0: every CPU this process may use */
    s24_isa isa;           /* cap, for the sparse side */
    s24_compute compute;   /* of the sparse side */
    const s24_bench_baseline *baselines;
    size_t baseline_count; /* at most S24_BENCH_BASELINES */
} s24_bench_options;

#define S24_BENCH_OPTIONS_INIT {NULL, 0, 9, 1, 1, 0, S24_ISA_BEST, S24_COMPUTE_F32, NULL, 0}

typedef struct s24_bench_figures {
    double seconds;     /* median of one call */
    double gflops;      /* dense-equivalent: 2 m n k / seconds / 1e9, for the sparse side too */
    double weight_gbps; /* bytes of the weights as this side has them (compressed, or dense) / seconds / 1e9 */
    double max_error;   /* max |c - reference| / max |reference| over a sample of entries; see s24_bench_run */
    double speedup;     /* seconds of this side over those of the sparse one: 1 for the sparse side itself */
} s24_bench_figures;

typedef struct s24_bench_result {
    size_t n;
    s24_bench_figures sparse;
    s24_bench_figures dense[S24_BENCH_BASELINES];
} s24_bench_result;

/* What the sparse side does once: s24_matmul_plan_new. */
typedef struct s24_bench_repack {
    double seconds;     /* median of three */
    size_t bytes;       /* s24_matmul_plan_bytes */
} s24_bench_repack;

/*
 * Weights to measure with: N(0, 1) by s24_bench_normal(seed), pruned by magnitude, [m, k] of dtype; i8 and the 8-bit
 * floats as round(32 x) in -127..127, and as the nearest value of x. *tensor is the caller's to free.
 */
S24_API s24_status s24_bench_weights(size_t m, size_t k, s24_dtype dtype, uint64_t seed, unsigned threads, s24_isa isa,
                                     s24_tensor **tensor, s24_error *err);

/*
 * n normal deviates: SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2714064.2660195) from `seed`, two outputs u, v
 * a pair of deviates sqrt(-2 ln u) (cos, sin)(2 pi v) (Box and Muller 1958), u in (0, 1], v in [0, 1), 53 bits each.
 */
S24_API void s24_bench_normal(uint64_t seed, float *x, size_t n);

/*
 * Measures tensor [m, k] times B [k, n], B of s24_bench_normal(seed), for every n of the options, into results[count].
 * The dense sides multiply the decompressed weights. The reference is computed in f64 for up to 64 rows by 64 columns,
 * evenly spread, so that its time is bounded. repack may be NULL. Errors as s24_sparse_matmul and the steps of the
 * baselines, and S24_ERR_SYSTEM without memory.
 */
S24_API s24_status s24_bench_run(const s24_tensor *tensor, const s24_bench_options *options, s24_bench_result *results,
                                 s24_bench_repack *repack, s24_error *err);

/* What nothing on this machine goes beyond, measured with loops that do nothing else. */
typedef struct s24_ceilings {
    double read_gbps;   /* reading S24_BENCH_SWEEP bytes of memory */
    double f32_gflops;  /* f32 multiply-adds between registers, 2 operations each, in the instruction set's vectors */
    double bf16_gflops; /* AMX products of bf16 tiles between registers; 0: there is no AMX up to the cap */
} s24_ceilings;

/*
 * The best of several runs each, about a second in all. threads: 0 is every CPU this process may use. isa caps the
 * instruction set. S24_ERR_SYSTEM without memory.
 */
S24_API s24_status s24_bench_ceilings(unsigned threads, s24_isa isa, s24_ceilings *ceilings, s24_error *err);

#ifdef __cplusplus
}
#endif

#endif
