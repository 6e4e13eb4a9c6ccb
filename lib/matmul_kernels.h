/*
 * Kernels of the sparse product. matmul.c cuts the work into blocks that fit the caches and holds the generic kernels,
 * which are the specification; a kernel set replaces the inner loops for one instruction set and one stored dtype. One
 * list of rows below feeds dispatch: a new instruction set is a new file and new rows.
 *
 * Everything but `vector` works on decoded chunks: a run of groups of a few rows, as f32 weights and where each finds
 * its row of B. Kept weights only: no zero is ever filled in. A kernel therefore knows either the dtype or the product,
 * and M + N of them are enough for M x N pairs:
 *
 *      values, positions --decode--> weights, offsets --tile, dot--> C        N > 1
 *      values, positions ----------------vector--------------------> C        N = 1, where every byte counts
 *
 * A step is 8 groups: 32 elements of a row, 16 kept values, one 32-bit word of positions.
 */
#ifndef S24_LIB_MATMUL_KERNELS_H
#define S24_LIB_MATMUL_KERNELS_H

#include "kernels.h"

#define S24_STEP_GROUPS 8
#define S24_STEP_VALUES 16

/*
 * Consecutive groups of consecutive rows, and where their decoded form goes. Entry i of row r is at r * stride + i; the
 * stride is a multiple of 16, and rows are written up to whole steps: the entries of groups that are not there have
 * weight 0 and an offset within their group, where B is padded with zeros.
 */
typedef struct s24_chunk {
    const void *values;       /* of the first group of the first row; may be unaligned */
    const uint8_t *positions; /* the first group is the low nibble */
    size_t value_pitch;       /* bytes from row to row */
    size_t position_pitch;
    size_t rows, groups;
    const float *scales;      /* for ops->vector_scales alone; NULL: there are none */
    size_t scale_pitch;
    size_t stride;
    unsigned scale;           /* what an element counts in an offset; 4 * groups * scale <= 65536 */
    float *weights;
    uint16_t *offsets;        /* (4 * group + position) * scale */
} s24_chunk;

/* Decodes a chunk. Nothing is read beyond its groups. */
typedef void s24_decode_kernel(const s24_chunk *chunk);

/*
 * C tile (+)= A chunk * B tile: for each row of the chunk, the sum over its first `steps` steps of weight times the row
 * of B that lies `offset` bytes into b, started at 0 and then added to the row of c (`first`: written there). Rows of b
 * and c are whole vectors, as many as the kernel's place in s24_matmul_ops.tile says, aligned and behind one another.
 */
typedef void s24_tile_kernel(const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first);

/*
 * sums[r][j] = the product of row r of the chunk with column j of B, for S24_DOT_ROWS rows and as many columns as the
 * kernel's place in s24_matmul_ops.dot says. Column j lies contiguous at b + j * pitch, zeros up to a whole step behind
 * it. chunk->scale is 1; all entries of `steps` steps count.
 */
#define S24_DOT_ROWS 4
#define S24_DOT_COLS 4
typedef void s24_dot_kernel(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch,
                            float sums[S24_DOT_ROWS][S24_DOT_COLS]);

/*
 * sums[r] = the product of row r of the chunk with the vector x, straight from the stored bytes; nothing of the chunk's
 * decoded form is used. Behind the elements of these groups x has zeros up to a whole step, since weights 0 meet them.
 * A row's sum does not depend on the other rows. Returns whether all positions are valid; if not, sums are of no use.
 */
typedef bool s24_vector_kernel(const s24_chunk *chunk, const float *x, float *sums);

/* The first group of `groups` whose nibble is not two ascending indices (valid: 4 8 9 C D E), or `groups`. */
typedef size_t s24_check_kernel(const uint8_t *positions, size_t groups);

/* Two ascending indices: 4 8 9 C D E. */
static inline bool s24_valid_nibble(unsigned nibble)
{
    return (nibble & 3) < nibble >> 2;
}

#define S24_TILE_VECTORS 12

/* What does not depend on the dtype. */
typedef struct s24_matmul_ops {
    unsigned width;                                /* floats a vector */
    size_t tile_bytes;                             /* of a tile of B, which stays in the L1 cache */
    size_t dot_max;                                /* the largest N that is faster as dot products than by tiles */
    bool vector_scales;                            /* `vector` of 8-bit dtypes takes a chunk's scales: of every row one for
                                                      every S24_SCALE_GROUP columns from the chunk's first on */
    s24_check_kernel *check;
    s24_tile_kernel *tile[S24_TILE_VECTORS + 1];   /* [v]: v vectors a row; [0] is not used */
    s24_dot_kernel *dot[S24_DOT_COLS + 1];         /* [c]: c columns; [0] is not used */
} s24_matmul_ops;

typedef struct s24_matmul_kernel {
    const s24_matmul_ops *ops;
    s24_decode_kernel *decode;
    s24_vector_kernel *vector;
} s24_matmul_kernel;

/*     instruction set, dtype, kernel set; those of better instruction sets come later */
#define S24_MATMUL_GENERIC(X) \
    X(GENERIC, F32, s24_matmul_f32_generic) \
    X(GENERIC, F16, s24_matmul_f16_generic) \
    X(GENERIC, BF16, s24_matmul_bf16_generic) \
    X(GENERIC, F8E4M3, s24_matmul_f8e4m3_generic) \
    X(GENERIC, F8E5M2, s24_matmul_f8e5m2_generic) \
    X(GENERIC, I8, s24_matmul_i8_generic)

#if S24_X86
#define S24_MATMUL_KERNELS(X) \
    S24_MATMUL_GENERIC(X) \
    X(AVX2, F32, s24_matmul_f32_avx2) \
    X(AVX2, F16, s24_matmul_f16_avx2) \
    X(AVX2, BF16, s24_matmul_bf16_avx2) \
    X(AVX2, F8E4M3, s24_matmul_f8e4m3_avx2) \
    X(AVX2, F8E5M2, s24_matmul_f8e5m2_avx2) \
    X(AVX2, I8, s24_matmul_i8_avx2) \
    X(AVX512, F32, s24_matmul_f32_avx512) \
    X(AVX512, F16, s24_matmul_f16_avx512) \
    X(AVX512, BF16, s24_matmul_bf16_avx512) \
    X(AVX512, F8E4M3, s24_matmul_f8e4m3_avx512) \
    X(AVX512, F8E5M2, s24_matmul_f8e5m2_avx512) \
    X(AVX512, I8, s24_matmul_i8_avx512)
#elif S24_ARM64
#define S24_MATMUL_KERNELS(X) \
    S24_MATMUL_GENERIC(X) \
    X(NEON, F32, s24_matmul_f32_neon) \
    X(NEON, F16, s24_matmul_f16_neon) \
    X(NEON, BF16, s24_matmul_bf16_neon) \
    X(NEON, F8E4M3, s24_matmul_f8e4m3_neon) \
    X(NEON, F8E5M2, s24_matmul_f8e5m2_neon) \
    X(NEON, I8, s24_matmul_i8_neon)
#else
#define S24_MATMUL_KERNELS(X) S24_MATMUL_GENERIC(X)
#endif

#define S24_DECLARE_MATMUL(isa, dtype, kernel) extern const s24_matmul_kernel kernel;
S24_MATMUL_KERNELS(S24_DECLARE_MATMUL)

/* The best kernel set for this machine, capped at isa; NULL: the dtype has none (f64, and what cannot be pruned). */
const s24_matmul_kernel *s24_find_matmul_kernel(s24_isa isa, s24_dtype dtype);

/* Completely unrolls the loop that follows, whose count is constant: its arrays then live in registers. */
#if defined(__clang__)
#define S24_UNROLL _Pragma("clang loop unroll(full)")
#else
#define S24_UNROLL _Pragma("GCC unroll 16")
#endif

/* C = A B, as s24_sparse_matmul has it; neither side is empty. */
typedef struct s24_product {
    const s24_tensor *a;
    const float *b;
    float *c;
    size_t ldb, n, ldc;
    s24_compute compute;
    bool checked;                /* positions have been looked at before */
    const unsigned char *packed; /* of s24_amx_pack or, where whole numbers are computed with, s24_i8_pack; or NULL */
} s24_product;

/* S24_ERR_DATA when a position of these rows is none. */
s24_status s24_check_rows(const s24_tensor *a, const s24_matmul_ops *ops, size_t row, size_t rows, s24_error *err);

#if S24_X86
/* A copy of A, whose positions are valid, in the order of its use: for `packed` above. Freed with free(). */
typedef s24_status s24_pack(const s24_tensor *a, unsigned char **packed, size_t *bytes, s24_error *err);
s24_pack s24_amx_pack, s24_i8_pack;

/*
 * The whole product on AMX, which the process must be permitted to use. *finite: every element of C is; otherwise C is
 * not valid: see the top of matmul_amx.c.
 */
s24_status s24_amx_multiply(const s24_product *product, const s24_matmul_ops *ops, unsigned threads, bool *finite,
                            s24_error *err);
#endif

#endif
