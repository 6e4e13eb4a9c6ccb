/*
 * Panels: the unit of work, of checking and of loss. A panel is a run of whole rows, or, of a row longer than a panel,
 * a run of groups. Everything that the library does to a tensor it does panel by panel, in memory and in files alike,
 * so that figures and bytes are the same.
 *
 *      K = 4 * groups, a row                         row longer than a panel
 *    +---------------------------+          +-----------+-----------+-----+
 *    | panel 0: floor(size/G)    |          |  panel 0  |  panel 1  |  2  |   row 0
 *    |          whole rows       |          +-----------+-----------+-----+
 *    +---------------------------+          |  panel 3  |  panel 4  |  5  |   row 1
 *    | panel 1                   |          +-----------+-----------+-----+
 *    +---------------------------+
 */
#ifndef S24_LIB_PANEL_H
#define S24_LIB_PANEL_H

#include "dtype.h"
#include "factors.h"
#include "kernels.h"

#define S24_PANEL_GROUPS 65536 /* 1 MiB of f32: fits an L2 cache with its output, 8 bytes of check are nothing */

typedef struct s24_panels {
    size_t count;
    size_t rows;           /* of the tensor */
    size_t groups;         /* a row */
    size_t rows_per_panel; /* 1 where rows are split */
    size_t runs_per_row;   /* 1 where they are not */
    size_t groups_per_run;
} s24_panels;

/* Where a panel lies: rows [row, row + rows), in each of them groups [group, group + groups). */
typedef struct s24_panel_place {
    size_t row, rows;
    size_t group, groups;
} s24_panel_place;

/* panel_groups: groups a panel, even and at least 2. */
s24_panels s24_panels_of(const s24_geometry *geometry, size_t panel_groups);
s24_panel_place s24_panel_at(const s24_panels *panels, size_t index);

/* Elements of a row (of `cols`) that belong to the place: 4 * groups, less the padding of the last group. */
size_t s24_place_cols(const s24_panel_place *place, size_t cols);

/* Two are kept of a whole group, and of a shorter one as many as there are, up to two. */
static inline size_t s24_pruned_per_row(size_t cols)
{
    return cols / 4 * 2 + (cols % 4 == 3);
}

/* ---------------------------------------------------------------- scales */

/* Of `cols` elements of a row: of a whole one, or of its part in a panel. A row of none has none. */
static inline size_t s24_row_scales(size_t cols, size_t scale_group)
{
    return cols == 0 ? 0 : scale_group ? (cols - 1) / scale_group + 1 : 1;
}

/* Of 8 bits: the greatest |q|. */
double s24_scale_steps(const s24_dtype_info *to);

/* S24_OK, or S24_ERR_USAGE with advice: a group that cannot be, or a scale that panels of so many groups would cut in two. */
s24_status s24_scales_check(const s24_geometry *geometry, size_t scale_group, size_t panel_groups, s24_error *err);

/* Finite and above 0. */
bool s24_scale_valid(float scale);

static inline float s24_load_scale(const void *scales, size_t i)
{
    float scale;
    memcpy(&scale, (const unsigned char *)scales + i * sizeof scale, sizeof scale);
    return scale;
}

/* ---------------------------------------------------------------- criteria */

/*
 * A scorer gives each of n consecutive elements of a row a key; a greater key is kept before a smaller one. `aux` is
 * what belongs to the elements from the criterion's second input. A scorer computes in f64. False: an aux element is
 * not finite, *at is its index.
 */
typedef bool s24_score_row(const s24_dtype_info *info, const void *weights, const s24_dtype_info *aux_info,
                           const void *aux, size_t n, uint64_t *keys, size_t *at);

typedef struct s24_method {
    const char *name;
    s24_score_row *score;  /* NULL: the magnitude itself, or by factors */
    unsigned takes;        /* one bit (1 << s24_second) for each second input of which it needs one; 0: none */
    bool factors;          /* by the magnitude times factors of columns and rows */
    bool solves;           /* not by elements: s24_solve does it to a whole tensor */
} s24_method;

enum {
    S24_METHOD_MAGNITUDE, S24_METHOD_GRADIENT, S24_METHOD_SCORES, S24_METHOD_WANDA, S24_METHOD_RIA, S24_METHOD_SPARSEGPT,
    S24_METHOD_OBS, S24_METHODS
};
extern const s24_method s24_methods[S24_METHODS];

const s24_method *s24_method_find(const char *name); /* NULL: no such criterion */

/* ---------------------------------------------------------------- work on a panel */

typedef enum s24_fault_kind {
    S24_FAULT_NONE,
    S24_FAULT_NONFINITE,     /* an element is NaN or infinite */
    S24_FAULT_AUX_NONFINITE, /* the second input's element is */
    S24_FAULT_RANGE,         /* a finite element that the stored dtype cannot hold */
    S24_FAULT_UNSCALED,      /* an element is NaN or infinite, and the stored dtype has scales */
    S24_FAULT_SCALE_RANGE,   /* a finite element that no scale can hold, or that would not come back */
    S24_FAULT_POSITIONS,     /* a group's nibble is not two ascending indices */
    S24_FAULT_SCALE          /* a scale is not finite and above 0 */
} s24_fault_kind;

/* What was wrong with which element, for the caller to name: he knows the tensor and the panel's place in it. */
typedef struct s24_fault {
    s24_fault_kind kind;
    size_t row, col;   /* in the panel; of S24_FAULT_POSITIONS the group's first element, of S24_FAULT_SCALE the scale's */
    double value;      /* the element; the scale; nothing for S24_FAULT_POSITIONS */
} s24_fault;

/*
 * Who wants to see what is written to a panel, the values, the positions, the scales, in order and while it is in the first
 * caches: a check need not fetch it again. A panel may be done twice; then `start` is called twice, too.
 */
typedef struct s24_tap {
    void (*start)(void *ctx);
    void (*add)(void *ctx, const void *data, size_t bytes);
    void *ctx;
} s24_tap;

/*
 * One panel in memory. Rows are contiguous: row r of `dense` starts at element r * cols, of `values` at r * 2 * G, of
 * `positions` at byte r * ceil(G / 2), with G = ceil(cols / 4), of `scales` at r * s24_row_scales(cols, group). Pointers may be
 * unaligned.
 */
typedef struct s24_panel {
    size_t rows, cols;
    const void *dense;
    const void *aux;     /* as dense; NULL where the criterion takes none */
    void *values;
    uint8_t *positions;  /* read where the pruner is masked, otherwise written */
    void *scales;        /* f32; NULL where nothing is scaled */
    void *scratch;       /* of s24_prune_panel to a scaled dtype: 2 * G elements of the dense dtype, at a multiple of 8 */
    const s24_tap *tap;  /* of s24_prune_panel; NULL: nobody */
    size_t row, col;     /* of the tensor, its first element's: where the pruner has factors */
} s24_panel;

/* How to prune: the same for all panels of a tensor, shared between threads. */
typedef struct s24_pruner {
    const s24_dtype_info *from, *to, *aux;
    const s24_method *method;
    const s24_factors *factors; /* of a method by them; borrowed */
    bool allow_nonfinite;
    bool masked;              /* nothing is chosen: the positions of every panel are given */
    s24_measure_kernel *measure; /* then, of values stored as they are; NULL: generic */
    s24_prune_kernel *kernel; /* for magnitude; NULL: generic. With scales it stores the values as they are, to the scratch */
    s24_score_kernel *scored; /* with factors, likewise */
    bool scaled;              /* s24_dtype_scaled(from, to) */
    s24_quantize_kernel *quantize; /* then; NULL: generic */
    s24_largest_kernel *largest;
    size_t scale_group;       /* the caller's to set then; 0: whole rows */
} s24_pruner;

s24_pruner s24_pruner_of(const s24_method *method, s24_dtype from, s24_dtype to, s24_dtype aux, bool allow_nonfinite,
                         s24_isa isa);

/* Gives one of a method by factors those of its tensor. */
void s24_pruner_by(s24_pruner *pruner, const s24_factors *factors, s24_isa isa);

/* Makes it keep what the positions of its panels say, a mask that was chosen before. Its criterion chooses nothing. */
void s24_pruner_mask(s24_pruner *pruner, s24_isa isa);

/* Selects and packs; *sums is set. False: *fault says why, the outputs hold nothing of use. */
bool s24_prune_panel(const s24_pruner *pruner, const s24_panel *panel, s24_sums *sums, s24_fault *fault);

/* The sums that pruning `panel->dense` (from) to `values` and `positions` (to) gives. */
typedef struct s24_measurer {
    const s24_dtype_info *from, *to;
    s24_measure_kernel *kernel; /* NULL: generic */
    s24_measure_kernel *as_it_is; /* of values that were stored as they are, and of what scaled ones lose: */
    s24_misfit_kernel *misfit;
    size_t scale_group;           /* the caller's to set where panels have scales */
} s24_measurer;

s24_measurer s24_measurer_of(s24_dtype from, s24_dtype to, s24_isa isa);
bool s24_measure_panel(const s24_measurer *measurer, const s24_panel *panel, s24_sums *sums, s24_fault *fault);

/* How many of n elements are equal to zero, -0.0 included. */
uint64_t s24_count_zeros(const s24_dtype_info *info, s24_isa isa, const void *data, size_t n);

/* Compliance: how many groups of a dense panel have three or more elements unequal to zero (-0.0 is zero, NaN is not). */
typedef struct s24_complier {
    const s24_dtype_info *info;
    s24_comply_kernel *kernel; /* NULL: generic */
} s24_complier;

s24_complier s24_complier_of(s24_dtype dtype, s24_isa isa);
uint64_t s24_broken_groups(const s24_complier *complier, size_t rows, size_t cols, const void *dense);

/* The first of them: its row and group in the panel, and how many of its elements are not zero. */
typedef struct s24_broken_group {
    size_t row, group;
    unsigned nonzero, elements; /* elements: 4, or what is left at the end of a row */
} s24_broken_group;

/* False: there is none. */
bool s24_find_broken_group(s24_dtype dtype, size_t rows, size_t cols, const void *dense, s24_broken_group *first);

/* Expands values (from) and positions to dense rows (to): dense row r at element r * cols of dst. scales: as of a panel. */
typedef struct s24_unpacker {
    const s24_dtype_info *from, *to;
    s24_unpack_kernel *kernel;
    s24_unpack_kernel *expand;         /* of elements that are of `to` already, and what makes them of scaled ones; */
    s24_dequantize_kernel *dequantize; /* NULL: generic */
    size_t scale_group;                /* the caller's to set where there are scales */
} s24_unpacker;

s24_unpacker s24_unpacker_of(s24_dtype from, s24_dtype to, s24_isa isa);
bool s24_unpack_panel(const s24_unpacker *unpacker, size_t rows, size_t cols, const void *values,
                      const uint8_t *positions, const void *scales, void *dst, s24_fault *fault);

/* The first of the scales of a panel's rows that is none; false: *fault says which. */
bool s24_scales_valid(const void *scales, size_t rows, size_t cols, size_t scale_group, s24_fault *fault);

/* "element [3, 17] is nan" and what to do: fault in the panel at `place` of a tensor, into *err. */
s24_status s24_fault_report(const s24_fault *fault, const s24_panel_place *place, int rank, const size_t *shape,
                            int axis, const char *to, s24_error *err);

/* ---------------------------------------------------------------- places in a tensor */

/* The C-order index of element `col` of canonical row `row`, one number a dimension. */
void s24_element_index(int rank, const size_t *shape, int axis, size_t row, size_t col, size_t *index);

/*
 * Copies rows [row, row + rows), elements [col, col + cols) of each, of a strided array into contiguous rows.
 * strides in elements, one a dimension; base is the address of element [0, ..., 0].
 */
void s24_gather_rows(const void *base, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                     size_t row, size_t rows, size_t col, size_t cols, void *dst);

/* The reverse: contiguous rows into a strided array. */
void s24_scatter_rows(const void *src, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                      size_t row, size_t rows, size_t col, size_t cols, void *base);

/*
 * Whole rows, whose element i is number permutation[i] of those of the array; and the reverse. An error says what of
 * permutation[n] is none.
 */
void s24_gather_permuted(const void *base, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                         size_t row, size_t rows, const int32_t *permutation, void *dst);
void s24_scatter_permuted(const void *src, unsigned bytes, int rank, const size_t *shape, const int64_t *strides, int axis,
                          size_t row, size_t rows, const int32_t *permutation, void *base);
s24_status s24_permutation_check(const int32_t *permutation, size_t n, s24_error *err);

/* Rows of `cols` contiguous elements, likewise. */
void s24_permute_elements(const void *src, unsigned bytes, size_t rows, size_t cols, const int32_t *permutation, void *dst);
void s24_restore_elements(const void *src, unsigned bytes, size_t rows, size_t cols, const int32_t *permutation, void *dst);

/* Whether rows are short enough to be permuted: whole rows in panels of so many groups. */
s24_status s24_permutable(const s24_geometry *geometry, size_t panel_groups, s24_error *err);

/* A fault in permuted rows: its element's column becomes that of the dense tensor. NULL: as it is. */
void s24_fault_restore(s24_fault *fault, const int32_t *permutation);

/* C-order strides of a shape, in elements. */
void s24_c_strides(int rank, const size_t *shape, int64_t *strides);

#endif
