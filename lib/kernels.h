/*
 * Kernels: the inner loops that exist once an instruction set. The generic code in panel.c is the specification; a
 * kernel does the same, bit for bit, for the part of a row that fits its vectors, and says how far it came. One list
 * of rows below feeds dispatch, the differential tests and the benchmarks alike: a new instruction set is a new file
 * and new rows.
 */
#ifndef S24_LIB_KERNELS_H
#define S24_LIB_KERNELS_H

#include "s24.h"

/* S24_GENERIC: without kernels, as on a machine that has none. */
#if defined(__x86_64__) && !defined(S24_GENERIC)
#define S24_X86 1
#else
#define S24_X86 0
#endif

/* Little-endian, as the kernels and all machines in use are. */
#if defined(__aarch64__) && !defined(__AARCH64EB__) && !defined(S24_GENERIC)
#define S24_ARM64 1
#else
#define S24_ARM64 0
#endif

/*
 * The sums of one panel while it is worked on. f64 addition is not associative, so the order is part of the
 * specification: value i (0 or 1, ascending position) of group g of a row is added to lane (2g + i) mod 8, rows in
 * order, kept and pruned values apart. Four groups fill the eight lanes: two AVX registers, or one of AVX-512.
 * s24_lanes_fold in panel.c says how lanes become a sum.
 *
 * A kernel that meets a non-finite element or one out of range of the stored dtype sets `redo`; everything that it
 * has written is then thrown away and the generic code does the panel again, which knows what to count or to refuse.
 */
#define S24_LANES 8

typedef struct s24_lanes {
    double kept_abs[S24_LANES], pruned_abs[S24_LANES];
    double kept_sq[S24_LANES], pruned_sq[S24_LANES];
    double quant_abs[S24_LANES], quant_sq[S24_LANES]; /* of kept values; 0 where the stored dtype is the input's */
    uint64_t kept_zeros;      /* stored values that compare equal to 0 */
    uint64_t negative_zeros;  /* pruned -0.0 */
    uint64_t broken_groups;   /* groups with a pruned value unequal to 0 */
    double max_abs_error;     /* over pruned |w| and kept |w - v| */
    bool redo;
} s24_lanes;

/*
 * Magnitude-prunes the first groups of a row of `groups` whole groups (4 elements of `from` each): writes 2 values of
 * `to` and a nibble a group, adds to *lanes, and returns how many groups it did: all (the pad nibble is 0), or a multiple
 * of 4 (so that lanes and bytes of positions are whole). Pointers may be unaligned. Nothing beyond the groups given is
 * read or written.
 */
typedef size_t s24_prune_kernel(const void *src, size_t groups, void *values, uint8_t *positions, s24_lanes *lanes);

/*
 * Factors of a row, from the first of the elements at hand on: the score of element j is |w| (a[j] + b c[j]), each operation
 * rounded, in f64; c NULL: |w| a[j]. They are finite and not negative, and so many more can be read that the elements are a
 * multiple of 64.
 *
 * near_a[j] + near_b near_c[j] is that factor to within 3 roundings to f32, times a power of two; it is 0 where that is,
 * else at least 1, and below 2^81. So the product with |w| in f32, one rounding more, is 0 where the score is. Of two such
 * that are S24_SCORES_APART or more representable numbers from one another the greater has the greater score: there is no
 * need for f64. near_a NULL: there are none.
 */
typedef struct s24_row_factors {
    const double *a, *c;
    double b;
    const float *near_a, *near_c;
    float near_b;
} s24_row_factors;

#define S24_SCORES_APART 16 /* 4 roundings are up to 4 such steps, of two numbers 8 */

/*
 * As s24_prune_kernel, but keeps the two of the greatest scores: keys are the bits of the scores.
 */
typedef size_t s24_score_kernel(const void *src, size_t groups, const s24_row_factors *factors, void *values,
                                uint8_t *positions, s24_lanes *lanes);

/*
 * Expands the first groups of a row: 4 elements of `to` a group, pruned positions +0.0; returns how many groups it
 * did, an even number. Stops before a pair of groups with an invalid nibble (the generic code then names it), and
 * before a value that `to` cannot hold.
 */
typedef size_t s24_unpack_kernel(const void *values, const uint8_t *positions, size_t groups, void *dst);

/*
 * Counts, of the first groups of `groups` whole ones (4 elements each), those with three or more elements unequal to
 * zero, adds them to *broken, and returns how many groups it looked at. -0.0 is zero, NaN is not. `src` may be
 * unaligned; nothing beyond the groups given is read.
 */
typedef size_t s24_comply_kernel(const void *src, size_t groups, uint64_t *broken);

/* Adds to *zeros how many of the first elements of n are equal to 0, and returns how many it looked at. */
typedef size_t s24_zeros_kernel(const void *src, size_t n, uint64_t *zeros);

/*
 * The sums of the first groups of a row whose values and positions are given, added to *lanes: what pruning would have
 * added if it had kept that. Returns how many groups it looked at: all, or a multiple of 4; it stops in front of invalid
 * positions. `redo` is set as in pruning. Nothing beyond the groups given is read.
 */
typedef size_t s24_measure_kernel(const void *src, size_t groups, const void *values, const uint8_t *positions,
                                  s24_lanes *lanes);

/*
 * The numbers of the best patterns of S24_BLOCKS blocks of 4 x 4 scores; transposable.h says what is best. Scores are at
 * least 0 and finite, and so are sums of eight of them. scores[4 * i + j] is element j of row i of every block. pairs: by
 * number of the pattern, 6 * the pair of the upper row + that of the lower one, of rows 0 and 1, and of rows 2 and 3.
 */
#define S24_BLOCKS 16

typedef void s24_blocks_kernel(const uint8_t pairs[][2], const double scores[16][S24_BLOCKS], uint8_t best[S24_BLOCKS]);

/*
 * The first of n kept values that share a scale, as the generic code in scale.c does it: stored as 8 bits, value i adding to
 * lane i modulo 8 of quant_abs and quant_sq, and to max_abs_error, kept_zeros, negative_zeros. Returns how many, a multiple of 8.
 */
typedef size_t s24_quantize_kernel(const void *values, size_t n, float scale, void *q, s24_lanes *lanes);

/* The same sums for values that were quantized before, to q, which need not be what they would become. */
typedef size_t s24_misfit_kernel(const void *values, const void *q, size_t n, float scale, s24_lanes *lanes);

/* *key = the largest of itself and the magnitudes' bits of the first of n finite values; returns how many. */
typedef size_t s24_largest_kernel(const void *values, size_t n, uint64_t *key);

/*
 * The reverse of quantizing: values times their scale. Returns how many, a multiple of 8; stops before what the dtype cannot
 * hold.
 */
typedef size_t s24_dequantize_kernel(const void *q, size_t n, float scale, void *values);

/*
 * Columns of scores as the permutation search sees them: f32, S24_COLUMN_LANES of them side by side and n a multiple of
 * that, at multiples of 64 bytes. Sums are f32, element i added to lane i mod 16, in order; then lane i + 8 is added to
 * lane i, and so on with 4, 2 and 1, so that every instruction set has the same sum.
 *
 * swap: of min(a, b) + min(c, d). rest: of the smallest of x, y and z; middle becomes the median of the three.
 */
#define S24_COLUMN_LANES 16

typedef struct s24_columns_kernel {
    float (*swap)(const float *a, const float *b, const float *c, const float *d, size_t n);
    float (*rest)(const float *x, const float *y, const float *z, float *middle, size_t n);
} s24_columns_kernel;

/* How many of the rows, evenly spread, the search looks at: all where they are few, however wide they are. */
size_t s24_permute_sample(size_t rows, size_t cols);

/*
 * Whether p0 < p1 in every group of `positions`, 16 nibbles; `groups` has a 1 for each group that there is. Numbers of two
 * bits are compared as one does with digits: the higher decides, and where it is equal the lower.
 */
static inline bool s24_positions_valid(uint64_t positions, uint64_t groups)
{
    const uint64_t less = ~positions & positions >> 2;
    const uint64_t not_greater = ~positions | positions >> 2;
    const uint64_t ascending = less | (not_greater & less << 1);
    return (ascending >> 1 & groups) == groups;
}

/*
 * The kernels of an instruction set, the same for each: instruction set, from, to, function; of comply and zeros one dtype, of
 * which the width counts, and whether there is a sign to leave out.
 */
#define S24_PRUNE_ROWS(X, ISA, isa) \
    X(ISA, F64, F64, s24_prune_##isa##_f64) \
    X(ISA, F32, F32, s24_prune_##isa##_f32) \
    X(ISA, F32, F16, s24_prune_##isa##_f32_f16) \
    X(ISA, F32, BF16, s24_prune_##isa##_f32_bf16) \
    X(ISA, F16, F16, s24_prune_##isa##_f16) \
    X(ISA, BF16, BF16, s24_prune_##isa##_bf16) \
    X(ISA, F8E4M3, F8E4M3, s24_prune_##isa##_f8e4m3) \
    X(ISA, F8E5M2, F8E5M2, s24_prune_##isa##_f8e5m2) \
    X(ISA, I8, I8, s24_prune_##isa##_i8)
#define S24_SCORE_ROWS(X, ISA, isa) \
    X(ISA, F64, F64, s24_score_##isa##_f64) \
    X(ISA, F32, F32, s24_score_##isa##_f32) \
    X(ISA, F32, F16, s24_score_##isa##_f32_f16) \
    X(ISA, F32, BF16, s24_score_##isa##_f32_bf16) \
    X(ISA, F16, F16, s24_score_##isa##_f16) \
    X(ISA, BF16, BF16, s24_score_##isa##_bf16)
#define S24_UNPACK_ROWS(X, ISA, isa) \
    X(ISA, F64, F64, s24_unpack_##isa##_f64) \
    X(ISA, F8E4M3, F8E4M3, s24_unpack_##isa##_8) \
    X(ISA, F8E5M2, F8E5M2, s24_unpack_##isa##_8) \
    X(ISA, I8, I8, s24_unpack_##isa##_8) \
    X(ISA, F32, F32, s24_unpack_##isa##_f32) \
    X(ISA, F16, F16, s24_unpack_##isa##_f16) \
    X(ISA, BF16, BF16, s24_unpack_##isa##_f16) \
    X(ISA, F16, F32, s24_unpack_##isa##_f16_f32) \
    X(ISA, BF16, F32, s24_unpack_##isa##_bf16_f32)
#define S24_ONE_DTYPE_ROWS(X, ISA, what, isa) \
    X(ISA, F64, s24_##what##_##isa##_f64) \
    X(ISA, F32, s24_##what##_##isa##_f32) \
    X(ISA, F16, s24_##what##_##isa##_f16) \
    X(ISA, BF16, s24_##what##_##isa##_f16) \
    X(ISA, F8E4M3, s24_##what##_##isa##_f8) \
    X(ISA, F8E5M2, s24_##what##_##isa##_f8) \
    X(ISA, I8, s24_##what##_##isa##_i8)
#define S24_MEASURE_ROWS(X, ISA, isa) \
    X(ISA, F64, F64, s24_measure_##isa##_f64) \
    X(ISA, F32, F32, s24_measure_##isa##_f32) \
    X(ISA, F32, F16, s24_measure_##isa##_f32_f16) \
    X(ISA, F32, BF16, s24_measure_##isa##_f32_bf16) \
    X(ISA, F16, F16, s24_measure_##isa##_f16) \
    X(ISA, BF16, BF16, s24_measure_##isa##_bf16) \
    X(ISA, F8E4M3, F8E4M3, s24_measure_##isa##_f8e4m3) \
    X(ISA, F8E5M2, F8E5M2, s24_measure_##isa##_f8e5m2) \
    X(ISA, I8, I8, s24_measure_##isa##_i8)
#define S24_FROM_FLOATS(X, ISA, isa, TO, to) \
    X(ISA, F64, TO, s24_quantize_##isa##_f64_##to) \
    X(ISA, F32, TO, s24_quantize_##isa##_f32_##to) \
    X(ISA, F16, TO, s24_quantize_##isa##_f16_##to) \
    X(ISA, BF16, TO, s24_quantize_##isa##_bf16_##to)
#define S24_QUANTIZE_ROWS(X, ISA, isa) \
    S24_FROM_FLOATS(X, ISA, isa, I8, i8) \
    S24_FROM_FLOATS(X, ISA, isa, F8E4M3, f8e4m3) \
    S24_FROM_FLOATS(X, ISA, isa, F8E5M2, f8e5m2)
#define S24_MISFIT_OF(X, ISA, isa, TO, to) \
    X(ISA, F64, TO, s24_misfit_##isa##_f64_##to) \
    X(ISA, F32, TO, s24_misfit_##isa##_f32_##to) \
    X(ISA, F16, TO, s24_misfit_##isa##_f16_##to) \
    X(ISA, BF16, TO, s24_misfit_##isa##_bf16_##to)
#define S24_MISFIT_ROWS(X, ISA, isa) \
    S24_MISFIT_OF(X, ISA, isa, I8, i8) \
    S24_MISFIT_OF(X, ISA, isa, F8E4M3, f8e4m3) \
    S24_MISFIT_OF(X, ISA, isa, F8E5M2, f8e5m2)
#define S24_TO_FLOATS(X, ISA, isa, FROM, from) \
    X(ISA, FROM, F64, s24_dequantize_##isa##_##from##_f64) \
    X(ISA, FROM, F32, s24_dequantize_##isa##_##from##_f32) \
    X(ISA, FROM, F16, s24_dequantize_##isa##_##from##_f16) \
    X(ISA, FROM, BF16, s24_dequantize_##isa##_##from##_bf16)
#define S24_DEQUANTIZE_ROWS(X, ISA, isa) \
    S24_TO_FLOATS(X, ISA, isa, I8, i8) \
    S24_TO_FLOATS(X, ISA, isa, F8E4M3, f8e4m3) \
    S24_TO_FLOATS(X, ISA, isa, F8E5M2, f8e5m2)
#define S24_LARGEST_ROWS(X, ISA, isa) \
    X(ISA, F64, s24_largest_##isa##_f64) \
    X(ISA, F32, s24_largest_##isa##_f32) \
    X(ISA, F16, s24_largest_##isa##_f16) \
    X(ISA, BF16, s24_largest_##isa##_f16)

#if S24_X86
#define S24_SCORE_KERNELS(X) S24_SCORE_ROWS(X, AVX512, avx512) S24_SCORE_ROWS(X, AVX2, avx2)
#define S24_QUANTIZE_KERNELS(X) S24_QUANTIZE_ROWS(X, AVX512, avx512) S24_QUANTIZE_ROWS(X, AVX2, avx2)
#define S24_DEQUANTIZE_KERNELS(X) S24_DEQUANTIZE_ROWS(X, AVX512, avx512) S24_DEQUANTIZE_ROWS(X, AVX2, avx2)
#define S24_LARGEST_KERNELS(X) S24_LARGEST_ROWS(X, AVX512, avx512) S24_LARGEST_ROWS(X, AVX2, avx2)
#define S24_MISFIT_KERNELS(X) S24_MISFIT_ROWS(X, AVX512, avx512) S24_MISFIT_ROWS(X, AVX2, avx2)
#else
#define S24_SCORE_KERNELS(X)
#define S24_MISFIT_KERNELS(X)
#define S24_QUANTIZE_KERNELS(X)
#define S24_DEQUANTIZE_KERNELS(X)
#define S24_LARGEST_KERNELS(X)
#endif

#define S24_BLOCKS_ROWS(X, ISA, isa) X(ISA, F64, s24_blocks_##isa)
#define S24_COLUMNS_ROWS(X, ISA, isa) X(ISA, s24_columns_##isa)

#if S24_X86
#define S24_BLOCKS_KERNELS(X) S24_BLOCKS_ROWS(X, AVX512, avx512) S24_BLOCKS_ROWS(X, AVX2, avx2)
#define S24_COLUMNS_KERNELS(X) S24_COLUMNS_ROWS(X, AVX512, avx512) S24_COLUMNS_ROWS(X, AVX2, avx2)
#define S24_PRUNE_KERNELS(X) S24_PRUNE_ROWS(X, AVX512, avx512) S24_PRUNE_ROWS(X, AVX2, avx2)
#define S24_UNPACK_KERNELS(X) S24_UNPACK_ROWS(X, AVX512, avx512) S24_UNPACK_ROWS(X, AVX2, avx2)
#define S24_COMPLY_KERNELS(X) S24_ONE_DTYPE_ROWS(X, AVX512, comply, avx512) S24_ONE_DTYPE_ROWS(X, AVX2, comply, avx2)
#define S24_ZEROS_KERNELS(X) S24_ONE_DTYPE_ROWS(X, AVX512, zeros, avx512) S24_ONE_DTYPE_ROWS(X, AVX2, zeros, avx2)
#define S24_MEASURE_KERNELS(X) S24_MEASURE_ROWS(X, AVX512, avx512) S24_MEASURE_ROWS(X, AVX2, avx2)
#elif S24_ARM64
#define S24_BLOCKS_KERNELS(X)
#define S24_COLUMNS_KERNELS(X)
#define S24_PRUNE_KERNELS(X) S24_PRUNE_ROWS(X, NEON, neon)
#define S24_UNPACK_KERNELS(X) S24_UNPACK_ROWS(X, NEON, neon)
#define S24_COMPLY_KERNELS(X) S24_ONE_DTYPE_ROWS(X, NEON, comply, neon)
#define S24_ZEROS_KERNELS(X) S24_ONE_DTYPE_ROWS(X, NEON, zeros, neon)
#define S24_MEASURE_KERNELS(X) S24_MEASURE_ROWS(X, NEON, neon)
#else
#define S24_BLOCKS_KERNELS(X)
#define S24_COLUMNS_KERNELS(X)
#define S24_PRUNE_KERNELS(X)
#define S24_UNPACK_KERNELS(X)
#define S24_COMPLY_KERNELS(X)
#define S24_ZEROS_KERNELS(X)
#define S24_MEASURE_KERNELS(X)
#endif

#define S24_DECLARE_PRUNE(isa, from, to, function) s24_prune_kernel function;
#define S24_DECLARE_SCORE(isa, from, to, function) s24_score_kernel function;
#define S24_DECLARE_UNPACK(isa, from, to, function) s24_unpack_kernel function;
#define S24_DECLARE_ZEROS(isa, dtype, function) s24_zeros_kernel function;
#define S24_DECLARE_MEASURE(isa, from, to, function) s24_measure_kernel function;
#define S24_DECLARE_COMPLY(isa, dtype, function) s24_comply_kernel function;
#define S24_DECLARE_COLUMNS(isa, table) extern const s24_columns_kernel table;
#define S24_DECLARE_BLOCKS(isa, dtype, function) s24_blocks_kernel function;
S24_PRUNE_KERNELS(S24_DECLARE_PRUNE)
S24_SCORE_KERNELS(S24_DECLARE_SCORE)
S24_UNPACK_KERNELS(S24_DECLARE_UNPACK)
S24_COMPLY_KERNELS(S24_DECLARE_COMPLY)
S24_ZEROS_KERNELS(S24_DECLARE_ZEROS)
S24_MEASURE_KERNELS(S24_DECLARE_MEASURE)
S24_BLOCKS_KERNELS(S24_DECLARE_BLOCKS)
#define S24_DECLARE_QUANTIZE(isa, from, to, function) s24_quantize_kernel function;
#define S24_DECLARE_DEQUANTIZE(isa, from, to, function) s24_dequantize_kernel function;
#define S24_DECLARE_LARGEST(isa, dtype, function) s24_largest_kernel function;
#define S24_DECLARE_MISFIT(isa, from, to, function) s24_misfit_kernel function;
S24_MISFIT_KERNELS(S24_DECLARE_MISFIT)
S24_QUANTIZE_KERNELS(S24_DECLARE_QUANTIZE)
S24_DEQUANTIZE_KERNELS(S24_DECLARE_DEQUANTIZE)
S24_LARGEST_KERNELS(S24_DECLARE_LARGEST)
S24_COLUMNS_KERNELS(S24_DECLARE_COLUMNS)

/* The best kernel for this machine, capped at isa; NULL: there is none, the generic code does it all. */
s24_prune_kernel *s24_find_prune_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_score_kernel *s24_find_score_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_unpack_kernel *s24_find_unpack_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_comply_kernel *s24_find_comply_kernel(s24_isa isa, s24_dtype dtype);
s24_zeros_kernel *s24_find_zeros_kernel(s24_isa isa, s24_dtype dtype);
s24_measure_kernel *s24_find_measure_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_blocks_kernel *s24_find_blocks_kernel(s24_isa isa);
s24_quantize_kernel *s24_find_quantize_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_misfit_kernel *s24_find_misfit_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_dequantize_kernel *s24_find_dequantize_kernel(s24_isa isa, s24_dtype from, s24_dtype to);
s24_largest_kernel *s24_find_largest_kernel(s24_isa isa, s24_dtype dtype);
const s24_columns_kernel *s24_find_columns_kernel(s24_isa isa);

/* Whether this process may use AMX, which it asks the operating system for. S24_ISA_AMX only says that there is AMX. */
bool s24_amx_permitted(void);

#endif
