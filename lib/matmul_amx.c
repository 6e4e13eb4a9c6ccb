/*
 * The sparse product on AMX: A is expanded to dense tiles of bf16, zeros filled in. A tile unit does 16 times what the FMAs
 * of AVX-512 do in f32, and can spare the half that the zeros cost.
 *
 * Terms. TDPBF16PS multiplies bf16 and adds in f32. Every stored dtype is an exact sum of bf16 terms, cut off the
 * significand from above, and so is f32:
 *
 *      bf16, i8, f8e4m3, f8e5m2: 1      f16: 2      f32, and B: 3 (B rounded to bf16: 1)
 *
 * Products of terms a_i b_j with i + j <= 2 (counted from 0) are multiplied; the others are at most 2^-24 of the whole. They
 * are 3 for bf16 weights, 5 for f16, 6 for f32; with a rounded B as many as A has terms.
 *
 * Tiles. 16 rows of 64 bytes: 16 x 32 of A, k along a row; 32 x 16 of B, two k of one column beside each other; 16 x 16
 * of C in f32. A strip is two tiles of rows, a panel two of columns, a step 32 k:
 *
 *                      B step: b0 b1          4 registers of C, 2 of A, 2 of B: every tile that is
 *      A step: a0      c00 c01                loaded is used twice, for as many terms as there are
 *              a1      c10 c11
 *
 * What differs from the other kernels: elements, and terms of elements, below 2^-126 count as 0; the instruction does so.
 * And the filled-in zeros would make NaN of an infinity or a NaN of B that no kept weight meets: a product that comes out
 * with either, whatever the reason, is computed again by those kernels.
 */
#include "matmul_kernels.h"

#if S24_X86

#include "amx.h"
#include "dtype.h"
#include "error.h"
#include "load_avx512.h"
#include "mem.h"
#include "threads.h"

/* The order of tiles: rows and columns of a strip and a panel, and bytes. */
#define STRIP_ROWS 32
#define PANEL_COLS 32
#define STEP_K 32
#define TERMS 3           /* of f32 */
#define PIECE_STEPS 16    /* 512 k: a register of positions */

#define LINE_BYTES 64     /* of values of a row: 1, 2 or 4 steps */
#define LINE_STEPS 4      /* at most */
#define C_FLOATS 1024     /* of a strip by a panel */

/*
 * Sizes. A block of A is BLOCK_ROWS by CHUNK_STEPS / terms, 1 MiB expanded, and lies in the L2 cache (2 MiB wherever
 * there is AMX) while the panels go past it, in pieces that the L1 cache (48 KiB) holds beside a strip. More rows would
 * read B less often, more steps C; 384 by 48 and 512 by 32 were no faster. As many columns of B are packed at a time as
 * make PACK_BYTES. Of A, the line so many bytes on is asked for: half or twice the distance made no difference.
 */
#define BLOCK_ROWS 256
#define CHUNK_STEPS 64
#define PIECE_BYTES(terms) ((terms) == 1 ? 16 * 1024 : 24 * 1024)
#define PACK_BYTES (24u << 20)
#define AHEAD_STORED 1024
#define AHEAD_PACKED 8192

/*
 * A strip of A from some k on, a multiple of 512: as it is stored, or as a plan has packed it. Distances in bytes: from
 * row to row, from a line of values to the next, and from 16 steps to the next.
 */
typedef struct a_piece {
    const unsigned char *values;
    const uint8_t *positions;
    size_t value_pitch, position_pitch;
    size_t value_line, value_piece, position_piece;
    size_t rows;                         /* at most STRIP_ROWS; the others are 0 */
    size_t cols;                         /* of the row from here on; what is beyond is absent */
    size_t count;                        /* values that may be read from here on */
    size_t steps;                        /* that will be expanded before the next strip */
    size_t ahead;                        /* bytes from a line to the one to ask for */
    size_t wrap;                         /* more of them, where that is in the next strip */
    uint32_t (*masks)[PIECE_STEPS];      /* [STRIP_ROWS]: of the steps that are being expanded */
} a_piece;

/* Writes steps [from, to) of a piece: [step][term][2 tiles]. */
typedef void expand_kernel(const a_piece *piece, size_t from, size_t to, unsigned char *tiles);

/*
 * A strip [step][term of A][2 tiles] times a panel [step][term of B][1 or 2 tiles], added to the registers of C; at
 * each step so many lines of 64 bytes of `next` are asked for.
 */
typedef void multiply_kernel(const unsigned char *a, const unsigned char *b, size_t steps, const unsigned char *next,
                             size_t lines);

/* A line of values of each row: 1, 2 or 4 steps. */
typedef struct a_lines {
    const unsigned char *values; /* of the next row */
    size_t pitch, ahead;
    const uint32_t *masks;
    unsigned char *tiles;
} a_lines;

/* Those steps of a strip times a panel, added to the registers of C, and as many steps of the next strip expanded. */
typedef void fuse_kernel(const unsigned char *a, const unsigned char *b, a_lines *lines);

typedef struct amx_kernel {
    unsigned terms, bytes;        /* of an element of A */
    expand_kernel *expand;
    fuse_kernel *fuse[2][2];      /* [B has three][tiles of columns - 1] */
} amx_kernel;

VECTOR_BEGIN(VECTOR_AVX512 ",amx-tile,amx-bf16")

/* ---------------------------------------------------------------- expanding A */

/* Expands 16 kept values into a row of the tile of each term. */
INLINE void expand_bf16_row(const void *values, __mmask16 there, __mmask32 keep, unsigned char *row)
{
    const __m256i x = there == 0xffff ? _mm256_loadu_si256(values) : _mm256_maskz_loadu_epi16(there, values);
    _mm512_store_si512(row, _mm512_maskz_expand_epi16(keep, _mm512_castsi256_si512(x)));
}

INLINE void expand_f32_row(const unsigned terms, __m512 x, __mmask32 keep, unsigned char *row)
{
    for (unsigned i = 0; i < terms; i++) {
        const __m512i top = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int)0xffff0000));
        const __m256i term = _mm512_cvtepi32_epi16(_mm512_srli_epi32(top, 16));
        _mm512_store_si512(row + 2 * i * TILE_BYTES, _mm512_maskz_expand_epi16(keep, _mm512_castsi256_si512(term)));
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(top));
    }
}

/* The masks of steps [from, from + 16) of all rows. */
static void piece_masks(const a_piece *p, size_t from)
{
    const size_t rows = p->rows, pitch = p->position_pitch;
    const uint8_t *positions = p->positions + from / PIECE_STEPS * p->position_piece;
    for (size_t r = 0; r < rows; r++, positions += pitch) {
        _mm_prefetch((const char *)((uintptr_t)positions + p->position_piece), _MM_HINT_T1);
        keep_masks(positions, p->cols - STEP_K * from, p->masks[r]);
    }
    for (size_t r = rows; r < STRIP_ROWS; r++) {
        _mm512_store_si512(p->masks[r], _mm512_setzero_si512());
    }
}

/* The lines of all rows that begin with step s. */
static a_lines find_lines(const a_piece *p, size_t line_steps, size_t s, unsigned char *tiles)
{
    const bool here = s + p->ahead / LINE_BYTES * line_steps < p->steps;
    return (a_lines){
        .values = p->values + s / PIECE_STEPS * p->value_piece + s % PIECE_STEPS / line_steps * p->value_line,
        .pitch = p->value_pitch,
        .ahead = p->ahead + (here ? 0 : p->wrap),
        .masks = p->masks[0] + s % PIECE_STEPS,
        .tiles = tiles,
    };
}

static bool whole_lines(const a_piece *p, size_t line_steps, size_t from, size_t to)
{
    return p->rows == STRIP_ROWS && from + line_steps <= to && 16 * (from + line_steps) <= p->count;
}

/*
 * Rows [from, to) of lines. The steps of a line are expanded together: rows a power of two apart share sets of the L1
 * cache, and a line would be gone when its second half's turn came.
 */
typedef void expand_rows_function(a_lines *lines, size_t from, size_t to);

#define EXPAND(name, terms, bytes, expand_row) \
    INLINE void expand_rows_##name(a_lines *x, size_t from, size_t to) \
    { \
        for (size_t r = from; r < to; r++, x->values += x->pitch) { \
            _mm_prefetch((const char *)((uintptr_t)x->values + x->ahead), _MM_HINT_T1); \
            S24_UNROLL \
            for (unsigned i = 0; i < 4 / bytes; i++) { \
                expand_row(terms, x->values + 16 * bytes * i, 0xffff, x->masks[r * PIECE_STEPS + i], \
                           x->tiles + 64 * r + 2 * terms * TILE_BYTES * i); \
            } \
        } \
    } \
    /* One step at the edges of A. */ \
    static void expand_edge_##name(const a_piece *p, size_t s, unsigned char *tiles) \
    { \
        const a_lines x = find_lines(p, 4 / bytes, s, tiles); \
        const unsigned char *values = x.values + s % (4 / bytes) * 16 * bytes; \
        const size_t left = p->count - 16 * s; \
        const __mmask16 there = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffff); \
        for (size_t r = 0; r < STRIP_ROWS; r++) { \
            expand_row(terms, values, there, x.masks[r * PIECE_STEPS], tiles + 64 * r); \
            values += r + 1 < p->rows ? p->value_pitch : 0; \
        } \
    } \
    static void expand_##name(const a_piece *p, size_t from, size_t to, unsigned char *tiles) \
    { \
        for (size_t s = from, count; s < to; s += count, tiles += 2 * terms * TILE_BYTES * count) { \
            const bool whole = s % (4 / bytes) == 0 && whole_lines(p, 4 / bytes, s, to); \
            count = whole ? 4 / bytes : 1; \
            if (s % PIECE_STEPS == 0) { \
                piece_masks(p, s); \
            } \
            if (whole) { \
                a_lines lines = find_lines(p, 4 / bytes, s, tiles); \
                expand_rows_##name(&lines, 0, STRIP_ROWS); \
            } else { \
                expand_edge_##name(p, s, tiles); \
            } \
        } \
    }

#define ROW_BF16(terms, v, there, keep, row) expand_bf16_row(v, there, keep, row)
#define ROW_F32(terms, v, there, keep, row) expand_f32_row(terms, load_f32(v, there), keep, row)
#define ROW_F16(terms, v, there, keep, row) expand_f32_row(terms, load_f16(v, there), keep, row)
#define ROW_F8E4M3(terms, v, there, keep, row) expand_f32_row(terms, load_f8e4m3(v, there), keep, row)
#define ROW_F8E5M2(terms, v, there, keep, row) expand_f32_row(terms, load_f8e5m2(v, there), keep, row)
#define ROW_I8(terms, v, there, keep, row) expand_f32_row(terms, load_i8(v, there), keep, row)

EXPAND(f32, 3, 4, ROW_F32)
EXPAND(f16, 2, 2, ROW_F16)
EXPAND(bf16, 1, 2, ROW_BF16)
EXPAND(f8e4m3, 1, 1, ROW_F8E4M3)
EXPAND(f8e5m2, 1, 1, ROW_F8E5M2)
EXPAND(i8, 1, 1, ROW_I8)

/* ---------------------------------------------------------------- packing B */

/* The nearest bf16 in the upper halves, ties to even; NaN stays NaN. */
INLINE __m512i round_bf16(__m512 x)
{
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
}

/* Two rows of 16 columns, beside each other as a row of the tile of each term. */
INLINE void pack_pair(__m512 even, __m512 odd, unsigned terms, unsigned char *row, size_t term_bytes)
{
    const __m512i top = _mm512_set1_epi32((int)0xffff0000);
    for (unsigned i = 0; i < terms; i++) {
        const __m512i e = terms == 1 ? round_bf16(even) : _mm512_castps_si512(even);
        const __m512i o = terms == 1 ? round_bf16(odd) : _mm512_castps_si512(odd);
        /* 0xf8: a | (b & c) */
        _mm512_store_si512(row + i * term_bytes,
                           _mm512_ternarylogic_epi32(_mm512_srli_epi32(e, 16), o, top, 0xf8));
        even = _mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_and_si512(e, top)));
        odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(_mm512_and_si512(o, top)));
    }
}

/* One step of a panel: `rows` rows of up to `cols` columns, zeros elsewhere. */
static void pack_step(const float *b, size_t ldb, size_t rows, size_t cols, unsigned terms, unsigned char *step)
{
    const size_t tiles = cols > TILE_ROWS ? 2 : 1, term_bytes = tiles * TILE_BYTES;
    for (size_t t = 0; t < tiles; t++) {
        const size_t left = cols - 16 * t;
        const __mmask16 mask = (__mmask16)(left < 16 ? (1u << left) - 1 : 0xffff);
        for (size_t r = 0; r < STEP_K; r += 2) {
            const float *row = b + r * ldb + 16 * t;
            const __m512 even = _mm512_maskz_loadu_ps(r < rows ? mask : 0, row);
            const __m512 odd = _mm512_maskz_loadu_ps(r + 1 < rows ? mask : 0, r + 1 < rows ? row + ldb : row);
            pack_pair(even, odd, terms, step + t * TILE_BYTES + 32 * r, term_bytes);
        }
    }
}

/* ---------------------------------------------------------------- tiles */

/* C: registers 0 1 2 3, A: 4 5, B: 6 7. */

/* One tile of columns: every second product goes to the registers that the other tile would have, for four chains. */
INLINE void multiply_narrow(const unsigned i, const unsigned j, const unsigned char *b)
{
    _tile_loadd(6, b, 64);
    if ((i + j) % 2 == 0) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(2, 5, 6);
    } else {
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(3, 5, 6);
    }
}

/* Two tiles of columns, one after the other. */
INLINE void multiply_left(const unsigned char *b)
{
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
}

INLINE void multiply_right(const unsigned char *b)
{
    _tile_loadd(7, b + TILE_BYTES, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
}

INLINE void load_a(const unsigned char *a)
{
    _tile_loadd(4, a, 64);
    _tile_loadd(5, a + TILE_BYTES, 64);
}

INLINE void multiply_steps(const unsigned a_terms, const unsigned b_terms, const unsigned cols, const unsigned char *a,
                           const unsigned char *b, size_t steps, const unsigned char *next, size_t lines)
{
    for (size_t s = 0; s < steps; s++, a += 2 * a_terms * TILE_BYTES, b += cols * b_terms * TILE_BYTES) {
        for (size_t i = 0; i < lines; i++, next += 64) {
            _mm_prefetch((const char *)next, _MM_HINT_T1);
        }
        for (unsigned i = 0; i < a_terms; i++) {
            load_a(a + 2 * i * TILE_BYTES);
            for (unsigned j = 0; j < b_terms && i + j < TERMS; j++) {
                if (cols == 1) {
                    multiply_narrow(i, j, b + j * TILE_BYTES);
                } else {
                    multiply_left(b + 2 * j * TILE_BYTES);
                    multiply_right(b + 2 * j * TILE_BYTES);
                }
            }
        }
    }
}

/* The same for `count` steps, a line of A, while a line of each row further on is expanded: the rows spread evenly. */
INLINE void fuse_steps(const unsigned a_terms, const unsigned b_terms, const unsigned cols, const unsigned count,
                       const unsigned char *a, const unsigned char *b, expand_rows_function *expand, a_lines *lines)
{
    const unsigned products = b_terms == 1 ? a_terms : a_terms == 1 ? 3 : a_terms == 2 ? 5 : 6;
    const unsigned parts = count * products * cols;
    unsigned part = 0;
    for (unsigned s = 0; s < count; s++, a += 2 * a_terms * TILE_BYTES, b += cols * b_terms * TILE_BYTES) {
        for (unsigned i = 0; i < a_terms; i++) {
            load_a(a + 2 * i * TILE_BYTES);
            for (unsigned j = 0; j < b_terms && i + j < TERMS; j++, part++) {
                if (cols == 1) {
                    multiply_narrow(i, j, b + j * TILE_BYTES);
                } else {
                    multiply_left(b + 2 * j * TILE_BYTES);
                    expand(lines, STRIP_ROWS * part / parts, STRIP_ROWS * (part + 1) / parts);
                    part++;
                    multiply_right(b + 2 * j * TILE_BYTES);
                }
                expand(lines, STRIP_ROWS * part / parts, STRIP_ROWS * (part + 1) / parts);
            }
        }
    }
}

#define FUSE(name, terms, bytes, b_terms, cols) \
    static void fuse_##name##_##b_terms##cols(const unsigned char *a, const unsigned char *b, a_lines *lines) \
    { \
        fuse_steps(terms, b_terms, cols, 4 / bytes, a, b, expand_rows_##name, lines); \
    }
#define FUSE_ALL(name, terms, bytes) \
    FUSE(name, terms, bytes, 1, 1) \
    FUSE(name, terms, bytes, 1, 2) \
    FUSE(name, terms, bytes, 3, 1) \
    FUSE(name, terms, bytes, 3, 2)

FUSE_ALL(f32, 3, 4)
FUSE_ALL(f16, 2, 2)
FUSE_ALL(bf16, 1, 2)
FUSE_ALL(f8e4m3, 1, 1)
FUSE_ALL(f8e5m2, 1, 1)
FUSE_ALL(i8, 1, 1)

#define MULTIPLY(a_terms, b_terms, cols) \
    static void multiply_##a_terms##b_terms##cols(const unsigned char *a, const unsigned char *b, size_t steps, \
                                                  const unsigned char *next, size_t lines) \
    { \
        multiply_steps(a_terms, b_terms, cols, a, b, steps, next, lines); \
    }

MULTIPLY(1, 1, 1)
MULTIPLY(1, 1, 2)
MULTIPLY(1, 3, 1)
MULTIPLY(1, 3, 2)
MULTIPLY(2, 1, 1)
MULTIPLY(2, 1, 2)
MULTIPLY(2, 3, 1)
MULTIPLY(2, 3, 2)
MULTIPLY(3, 1, 1)
MULTIPLY(3, 1, 2)
MULTIPLY(3, 3, 1)
MULTIPLY(3, 3, 2)

/* [terms of A - 1][B has three][tiles of columns - 1] */
static multiply_kernel *const multiply_kernels[TERMS][2][2] = {
    {{multiply_111, multiply_112}, {multiply_131, multiply_132}},
    {{multiply_211, multiply_212}, {multiply_231, multiply_232}},
    {{multiply_311, multiply_312}, {multiply_331, multiply_332}},
};

#define KERNEL(name, terms, bytes) \
    {terms, bytes, expand_##name, {{fuse_##name##_11, fuse_##name##_12}, {fuse_##name##_31, fuse_##name##_32}}}

static const amx_kernel kernels[S24_DTYPES] = {
    [S24_F32] = KERNEL(f32, 3, 4),       [S24_F16] = KERNEL(f16, 2, 2),       [S24_BF16] = KERNEL(bf16, 1, 2),
    [S24_F8E4M3] = KERNEL(f8e4m3, 1, 1), [S24_F8E5M2] = KERNEL(f8e5m2, 1, 1), [S24_I8] = KERNEL(i8, 1, 1),
};

/* A strip of tiles to its place in C, written or added; false when something is not finite. */
static bool flush_strip(const float *tiles, float *c, size_t ldc, size_t rows, size_t cols, bool first)
{
    const __mmask16 left = (__mmask16)(cols < 16 ? (1u << cols) - 1 : 0xffff);
    const __mmask16 right = (__mmask16)(cols <= 16 ? 0 : (1u << (cols - 16)) - 1);
    __mmask16 bad = 0;
    for (size_t r = 0; r < rows; r++, c += ldc) {
        const float *row = tiles + r / TILE_ROWS * 512 + r % TILE_ROWS * 16;
        __m512 x = _mm512_load_ps(row), y = _mm512_load_ps(row + 256);
        x = right ? x : _mm512_add_ps(x, y);
        x = first ? x : _mm512_add_ps(x, _mm512_maskz_loadu_ps(left, c));
        y = first ? y : _mm512_add_ps(y, _mm512_maskz_loadu_ps(right, c + 16));
        _mm512_mask_storeu_ps(c, left, x);
        _mm512_mask_storeu_ps(c + 16, right, y);
        bad |= _mm512_mask_fpclass_ps_mask(left, x, 0x99) | _mm512_mask_fpclass_ps_mask(right, y, 0x99); /* NaN, inf */
    }
    return bad == 0;
}

VECTOR_END

/* ---------------------------------------------------------------- one product */

typedef struct scratch {
    unsigned char *a; /* a block: [strip][step][term][2 tiles]; of one panel a ring of steps */
    float *c;         /* [strip][2][2 tiles] of one panel */
    uint32_t (*masks)[PIECE_STEPS];
} scratch;

typedef struct amx_product {
    const s24_product *p;
    const s24_matmul_ops *ops;
    const amx_kernel *kernel;
    unsigned b_terms;
    size_t steps, chunk_steps;          /* of a row; of a block of A */
    size_t col, cols, panels;           /* the columns that are packed */
    unsigned char *b;                   /* [chunk][panel][step][term][2 tiles, 1 in a last narrow panel] */
    size_t block_rows, row_jobs;        /* job = part of the panels * row_jobs + row / block_rows */
    size_t job_panels, panel_jobs;
    scratch *scratches;                 /* [threads] */
    atomic_bool nonfinite;              /* somewhere in C */
} amx_product;

/* A block of A: rows of a job by steps of a chunk. */
typedef struct block_place {
    size_t row, rows, step, steps;
} block_place;

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panel_cols(const amx_product *x, size_t panel)
{
    return min_size(PANEL_COLS, x->cols - panel * PANEL_COLS);
}

static size_t panel_tiles(const amx_product *x, size_t panel)
{
    return panel_cols(x, panel) > TILE_ROWS ? 2 : 1;
}

static size_t b_step_bytes(const amx_product *x, size_t panel)
{
    return panel_tiles(x, panel) * x->b_terms * TILE_BYTES;
}

static size_t a_step_bytes(const amx_product *x)
{
    return 2 * x->kernel->terms * TILE_BYTES;
}

/* Where a step of a panel is packed; the panels of a chunk lie behind one another, as they are used. */
static unsigned char *packed_step(const amx_product *x, size_t panel, size_t step)
{
    const size_t chunk = step / x->chunk_steps, first = chunk * x->chunk_steps;
    const size_t steps = min_size(x->chunk_steps, x->steps - first);
    const size_t tiles = 2 * (x->panels - 1) + panel_tiles(x, x->panels - 1);
    const size_t at = first * tiles + panel * steps * 2 + (step - first) * panel_tiles(x, panel);
    return x->b + at * x->b_terms * TILE_BYTES;
}

/* Job: 16 steps of all packed columns. */
static s24_status pack_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const amx_product *x = ctx;
    const s24_product *p = x->p;
    const size_t to = min_size((job + 1) * PIECE_STEPS, x->steps);
    (void)worker, (void)err;
    for (size_t step = job * PIECE_STEPS; step < to; step++) {
        const size_t k = step * STEP_K;
        for (size_t panel = 0; panel < x->panels; panel++) {
            pack_step(p->b + k * p->ldb + x->col + panel * PANEL_COLS, p->ldb,
                      min_size(STEP_K, p->a->geometry.cols - k), panel_cols(x, panel), x->b_terms,
                      packed_step(x, panel, step));
        }
    }
    return S24_OK;
}

/* Bytes of 16 steps of a strip as they are packed, fewer where the row ends: positions, then lines of values. */
static size_t packed_bytes(const amx_kernel *kernel, size_t steps)
{
    const size_t line_steps = 4 / kernel->bytes;
    return (1 + ceil_div(min_size(steps, PIECE_STEPS), line_steps)) * STRIP_ROWS * 64;
}

static size_t packed_strip_bytes(const amx_kernel *kernel, size_t steps)
{
    const size_t rest = steps % PIECE_STEPS;
    return steps / PIECE_STEPS * packed_bytes(kernel, PIECE_STEPS) + (rest ? packed_bytes(kernel, rest) : 0);
}

static a_piece stored_piece(const s24_tensor *a, const amx_kernel *kernel, size_t row, size_t step)
{
    const size_t value_pitch = a->geometry.row_values * kernel->bytes, cols = a->geometry.cols - step * STEP_K;
    return (a_piece){
        .values = (const unsigned char *)a->values + row * value_pitch + step * 16 * kernel->bytes,
        .positions = a->positions + row * a->geometry.row_positions + step * 4,
        .value_pitch = value_pitch,
        .position_pitch = a->geometry.row_positions,
        .value_line = LINE_BYTES,
        .value_piece = 16 * PIECE_STEPS * kernel->bytes,
        .position_piece = 4 * PIECE_STEPS,
        .rows = min_size(a->geometry.rows - row, STRIP_ROWS),
        .cols = cols,
        .count = 2 * ceil_div(cols, 4),
        .ahead = AHEAD_STORED,
    };
}

/* [strip][16 steps]: positions of a row behind one another, 64 bytes; then lines of values the same. */
static a_piece packed_piece(const s24_tensor *a, const amx_kernel *kernel, const unsigned char *packed, size_t row,
                            size_t step)
{
    const size_t piece_bytes = packed_bytes(kernel, PIECE_STEPS), cols = a->geometry.cols - step * STEP_K;
    const unsigned char *strip =
        packed + row / STRIP_ROWS * packed_strip_bytes(kernel, ceil_div(a->geometry.cols, STEP_K));
    return (a_piece){
        .values = strip + step / PIECE_STEPS * piece_bytes + STRIP_ROWS * 64,
        .positions = strip + step / PIECE_STEPS * piece_bytes,
        .value_pitch = 64,
        .position_pitch = 64,
        .value_line = STRIP_ROWS * 64,
        .value_piece = piece_bytes,
        .position_piece = piece_bytes,
        .rows = STRIP_ROWS,
        .cols = cols,
        .count = SIZE_MAX,
        .ahead = AHEAD_PACKED,
    };
}

static a_piece strip_piece(const amx_product *x, const scratch *s, const block_place *at, size_t row)
{
    const s24_product *p = x->p;
    a_piece piece = p->packed ? packed_piece(p->a, x->kernel, p->packed, at->row + row, at->step)
                              : stored_piece(p->a, x->kernel, at->row + row, at->step);
    piece.steps = at->steps;
    piece.wrap = p->packed ? 0 : STRIP_ROWS * piece.value_pitch - at->steps * 16 * x->kernel->bytes;
    piece.masks = s->masks;
    return piece;
}

static float *c_place(const amx_product *x, const block_place *at, size_t row, size_t panel)
{
    return x->p->c + (at->row + row) * x->p->ldc + x->col + panel * PANEL_COLS;
}

static void flush(amx_product *x, const block_place *at, const float *c, size_t row, size_t panel)
{
    if (!flush_strip(c, c_place(x, at, row, panel), x->p->ldc, min_size(STRIP_ROWS, at->rows - row),
                     panel_cols(x, panel), at->step == 0)) {
        atomic_store_explicit(&x->nonfinite, true, memory_order_relaxed);
    }
}

static multiply_kernel *find_multiply(const amx_product *x, size_t panel)
{
    return multiply_kernels[x->kernel->terms - 1][x->b_terms > 1][panel_tiles(x, panel) - 1];
}

/* ---------------------------------------------------------------- many columns */

static void expand_block(const amx_product *x, const scratch *s, const block_place *at)
{
    for (size_t r = 0; r < at->rows; r += STRIP_ROWS) {
        const a_piece piece = strip_piece(x, s, at, r);
        x->kernel->expand(&piece, 0, at->steps, s->a + r / STRIP_ROWS * x->chunk_steps * a_step_bytes(x));
    }
}

/*
 * One panel past a block of A: pieces of B that the L1 cache holds beside what comes past, and every strip past each of
 * them. Meanwhile the next piece comes to the L2 cache. (To ask for C, too, gained nothing.)
 */
static void multiply_panel(amx_product *x, const scratch *s, const block_place *at, size_t panel)
{
    multiply_kernel *multiply = find_multiply(x, panel);
    const size_t most = PIECE_BYTES(x->b_terms) / b_step_bytes(x, panel), strips = ceil_div(at->rows, STRIP_ROWS);
    const size_t ahead = ceil_div(most * b_step_bytes(x, panel) / 64, strips * most);
    for (size_t i = 0; i < at->steps; i += most) {
        const size_t count = min_size(most, at->steps - i);
        const unsigned char *b = packed_step(x, panel, at->step + i), *next = b + count * b_step_bytes(x, panel);
        for (size_t strip = 0; strip < strips; strip++, next += count * ahead * 64) {
            float *c = s->c + strip * C_FLOATS;
            load_c(c, i == 0);
            multiply(s->a + (strip * x->chunk_steps + i) * a_step_bytes(x), b, count, next, ahead);
            store_c(c);
            if (i + most >= at->steps) {
                flush(x, at, c, strip * STRIP_ROWS, panel);
            }
        }
    }
}

/* ---------------------------------------------------------------- one panel */

/*
 * Tiles of A are used once, so that they stay in the L1 cache, in a ring: they are expanded half a ring before they are
 * multiplied, since a tile load that meets its stores on their way would wait. Both are cursors over (strip, step);
 * strips are padded to whole lines.
 */
typedef struct cursor {
    size_t row, step, slot; /* slot: of the ring, in steps */
} cursor;

static size_t ring_steps(const amx_product *x)
{
    return x->kernel->terms == 1 ? 2 * LINE_STEPS : LINE_STEPS;
}

static void advance(const amx_product *x, const block_place *at, cursor *c, size_t steps)
{
    c->slot = (c->slot + steps) % ring_steps(x);
    c->step += steps;
    if (c->step >= at->steps && c->step % LINE_STEPS == 0) {
        c->step = 0;
        c->row += STRIP_ROWS;
    }
}

/* A line of steps multiplied (`here`) and one expanded (`ahead`), either of which may be NULL. */
static void do_line(const amx_product *x, const scratch *s, const block_place *at, const cursor *here,
                    const cursor *ahead, const a_piece *piece)
{
    const size_t line = 4 / x->kernel->bytes;
    const unsigned char *b = packed_step(x, 0, at->step + (here ? here->step : 0));
    unsigned char *from = s->a + (here ? here->slot : 0) * a_step_bytes(x);
    unsigned char *to = s->a + (ahead ? ahead->slot : 0) * a_step_bytes(x);
    if (here && ahead && here->step + line <= at->steps && whole_lines(piece, line, ahead->step, at->steps)) {
        if (ahead->step % PIECE_STEPS == 0) {
            piece_masks(piece, ahead->step);
        }
        a_lines lines = find_lines(piece, line, ahead->step, to);
        x->kernel->fuse[x->b_terms > 1][panel_tiles(x, 0) - 1](from, b, &lines);
        return;
    }
    if (here) {
        find_multiply(x, 0)(from, b, min_size(line, at->steps - here->step), b, 0);
    }
    if (ahead) {
        x->kernel->expand(piece, ahead->step, min_size(ahead->step + line, at->steps), to);
    }
}

static void multiply_strips(amx_product *x, const scratch *s, const block_place *at)
{
    const size_t line = 4 / x->kernel->bytes, distance = ring_steps(x) / 2;
    cursor ahead = {0}, here = {0};
    a_piece piece = strip_piece(x, s, at, 0);
    for (size_t done = 0; here.row < at->rows; done += line) {
        const bool expands = ahead.row < at->rows && ahead.step < at->steps;
        const bool multiplies = done >= distance && here.step < at->steps;
        if (expands && ahead.step == 0) {
            piece = strip_piece(x, s, at, ahead.row);
        }
        if (multiplies && here.step == 0) {
            load_c(s->c, true);
        }
        do_line(x, s, at, multiplies ? &here : NULL, expands ? &ahead : NULL, &piece);
        if (multiplies && here.step + line >= at->steps) {
            store_c(s->c);
            flush(x, at, s->c, here.row, 0);
        }
        advance(x, at, &ahead, line);
        if (done >= distance) {
            advance(x, at, &here, line);
        }
    }
}

/* ---------------------------------------------------------------- jobs */

static s24_status multiply_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    amx_product *x = ctx;
    const scratch *s = &x->scratches[worker];
    const size_t first = job / x->row_jobs * x->job_panels, row = job % x->row_jobs * x->block_rows;
    block_place at = {.row = row, .rows = min_size(x->block_rows, x->p->a->geometry.rows - row)};
    if (first == 0 && x->col == 0 && !x->p->checked) {
        const s24_status status = s24_check_rows(x->p->a, x->ops, row, at.rows, err);
        if (status != S24_OK) {
            return status;
        }
    }
    configure_tiles();
    for (; at.step < x->steps; at.step += x->chunk_steps) {
        at.steps = min_size(x->chunk_steps, x->steps - at.step);
        if (atomic_load_explicit(&x->nonfinite, memory_order_relaxed)) {
            break; /* it will all be done again */
        }
        if (x->panels == 1) {
            multiply_strips(x, s, &at);
            continue;
        }
        expand_block(x, s, &at);
        for (size_t panel = first; panel < min_size(first + x->job_panels, x->panels); panel++) {
            multiply_panel(x, s, &at, panel);
        }
    }
    release_tiles();
    return S24_OK;
}

/* Whole pieces, and as many as make a block of one size. One panel needs no block. */
static size_t chunk_steps(unsigned terms, size_t cols)
{
    return cols <= PANEL_COLS || terms == 1 ? CHUNK_STEPS : CHUNK_STEPS / terms / PIECE_STEPS * PIECE_STEPS;
}

/* Columns at a time: what PACK_BYTES hold, in even parts of whole panels. */
static size_t packed_cols(const amx_product *x)
{
    const size_t panels = ceil_div(x->p->n, PANEL_COLS), most = PACK_BYTES / (x->steps * 2 * x->b_terms * TILE_BYTES);
    return ceil_div(panels, ceil_div(panels, most ? most : 1)) * PANEL_COLS;
}

/* Cuts the work into jobs, small enough for threads to stay busy; results do not depend on where. */
static void plan_jobs(amx_product *x, unsigned threads)
{
    const size_t strips = ceil_div(x->p->a->geometry.rows, STRIP_ROWS), wanted = threads > 1 ? 4 * (size_t)threads : 1;
    const size_t job_strips = min_size(BLOCK_ROWS / STRIP_ROWS, ceil_div(strips, wanted));
    x->block_rows = job_strips * STRIP_ROWS;
    x->row_jobs = ceil_div(strips, job_strips);
    x->panels = ceil_div(x->cols, PANEL_COLS);
    x->job_panels = ceil_div(x->panels, min_size(x->panels, ceil_div(wanted, x->row_jobs)));
    x->panel_jobs = ceil_div(x->panels, x->job_panels);
}

static s24_status alloc_scratches(amx_product *x, unsigned threads, s24_error *err)
{
    const size_t strips = x->block_rows / STRIP_ROWS;
    const size_t block = strips * x->chunk_steps, steps = block > ring_steps(x) ? block : ring_steps(x);
    x->scratches = s24_calloc(threads, sizeof *x->scratches, err);
    for (unsigned i = 0; i < threads; i++) {
        scratch *s = &x->scratches[i];
        if (!x->scratches || !(s->a = s24_alloc(steps * a_step_bytes(x), err)) ||
            !(s->c = s24_alloc(strips * C_FLOATS * sizeof *s->c, err)) ||
            !(s->masks = s24_alloc(STRIP_ROWS * sizeof *s->masks, err))) {
            return S24_ERR_SYSTEM;
        }
    }
    return S24_OK;
}

static void free_scratches(amx_product *x, unsigned threads)
{
    for (unsigned i = 0; x->scratches && i < threads; i++) {
        free(x->scratches[i].a);
        free(x->scratches[i].c);
        free(x->scratches[i].masks);
    }
    free(x->scratches);
}

static s24_status multiply_columns(amx_product *x, unsigned threads, s24_error *err)
{
    static const s24_stages pack = {.work = pack_job}, multiply = {.work = multiply_job};
    /* Packing a few panels takes less time than starting a thread. */
    const s24_status status = s24_run(&pack, x, ceil_div(x->steps, PIECE_STEPS), x->panels < 8 ? 1 : threads, err);
    return status == S24_OK ? s24_run(&multiply, x, x->row_jobs * x->panel_jobs, threads, err) : status;
}

/* 16 steps of a strip, fewer at the end of a row, in the order of packed_piece. */
static void pack_piece(const s24_tensor *a, const amx_kernel *kernel, size_t row, size_t step, unsigned char *to)
{
    const a_piece from = stored_piece(a, kernel, row, step);
    const size_t bytes = min_size(from.count, 16 * PIECE_STEPS) * kernel->bytes;
    for (size_t r = 0; r < from.rows; r++) {
        memcpy(to + 64 * r, from.positions + r * from.position_pitch, min_size(64, ceil_div(from.cols, 8)));
    }
    for (size_t at = 0; at < bytes; at += LINE_BYTES) {
        to += STRIP_ROWS * 64;
        for (size_t r = 0; r < from.rows; r++) {
            memcpy(to + 64 * r, from.values + r * from.value_pitch + at, min_size(LINE_BYTES, bytes - at));
        }
    }
}

s24_status s24_amx_pack(const s24_tensor *a, unsigned char **packed, size_t *bytes, s24_error *err)
{
    const amx_kernel *kernel = &kernels[a->dtype];
    const size_t steps = ceil_div(a->geometry.cols, STEP_K);
    if (!s24_mul(ceil_div(a->geometry.rows, STRIP_ROWS), packed_strip_bytes(kernel, steps), bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a matrix of %zu x %zu is too large", a->geometry.rows, a->geometry.cols);
    }
    unsigned char *to = *packed = s24_alloc(*bytes, err);
    if (!to) {
        return S24_ERR_SYSTEM;
    }
    memset(to, 0, *bytes);
    for (size_t row = 0; row < a->geometry.rows; row += STRIP_ROWS) {
        for (size_t step = 0; step < steps; step += PIECE_STEPS) {
            pack_piece(a, kernel, row, step, to);
            to += packed_bytes(kernel, steps - step);
        }
    }
    return S24_OK;
}

s24_status s24_amx_multiply(const s24_product *p, const s24_matmul_ops *ops, unsigned threads, bool *finite,
                            s24_error *err)
{
    const amx_kernel *kernel = &kernels[p->a->dtype];
    amx_product x = {.p = p, .ops = ops, .kernel = kernel,
                     .b_terms = p->compute == S24_COMPUTE_BF16 ? 1 : TERMS,
                     .steps = ceil_div(p->a->geometry.cols, STEP_K)};
    const size_t most = packed_cols(&x);
    size_t bytes;
    x.chunk_steps = min_size(chunk_steps(kernel->terms, most), x.steps);
    if (!s24_mul(most * x.b_terms * 2, x.steps * STEP_K, &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a product over %zu elements is too long", p->a->geometry.cols);
    }
    x.cols = min_size(most, p->n);
    plan_jobs(&x, threads);
    const unsigned workers = (unsigned)min_size(threads, x.row_jobs * x.panel_jobs);
    unsigned char *buffer = s24_malloc(bytes + 63, err);
    x.b = (unsigned char *)(((uintptr_t)buffer + 63) & ~(uintptr_t)63);
    s24_status status = buffer ? alloc_scratches(&x, workers, err) : S24_ERR_SYSTEM;
    for (; status == S24_OK && x.col < p->n && !x.nonfinite; x.col += most) {
        x.cols = min_size(most, p->n - x.col);
        plan_jobs(&x, threads);
        status = multiply_columns(&x, workers, err);
    }
    *finite = !x.nonfinite;
    free_scratches(&x, workers);
    free(buffer);
    return status;
}

#endif
