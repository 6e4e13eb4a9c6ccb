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

/*
 * The order of A. A line is 64 bytes of values of each row of a strip, 1, 2 or 4 steps of 4, 2 or 1 bytes an element,
 * and behind them keep masks of 32 bits, [row][step]. A group is the lines of 4 steps, a block [group][strip][line]: what
 * a job reads is one stream, although all its strips go past the B of a group before that of the next.
 */
#define LINE_BYTES 64
#define GROUP_STEPS 4
#define LINE_STEPS(bytes) (LINE_BYTES / 16 / (bytes))
#define MASKS_AT (STRIP_ROWS * LINE_BYTES)
#define C_FLOATS 1024     /* of a strip by a panel */

/*
 * Sizes. A block of A is 256 rows by CHUNK_STEPS / terms, 1 MiB expanded, and lies in the L2 cache (2 MiB wherever
 * there is AMX) while the panels go past it, in pieces that the L1 cache (48 KiB) holds beside a strip. More rows would
 * read B less often, more steps C; 384 by 48 and 512 by 32 were no faster. As many columns of B are packed at a time as
 * make PACK_BYTES. Of A, what lies AHEAD is asked for: a quarter and two to eight times of it made no difference.
 */
#define BLOCK_STRIPS 8
#define CHUNK_STEPS 64
#define PACK_STEPS 16     /* of B: a job's */
#define PIECE_BYTES(terms) ((terms) == 1 ? 32 * 1024 : 24 * 1024)
#define PACK_BYTES (24u << 20)
#define AHEAD 8192
#define AHEAD_STORED 1024
#define STREAM_FLOATS (2u << 20) /* of C: so many do not stay in a cache, and are written past them */

/*
 * A line of A. Without a plan, values that are all there are read where the tensor has them: to pack them, too, took
 * 1.2 times as long in all. `ahead`: how far from those of each row the ones to ask for are.
 */
typedef struct a_line {
    const unsigned char *values, *masks;
    size_t pitch, ahead;
} a_line;

/* Expands a line: [step][term][2 tiles]. */
typedef void expand_kernel(const a_line *from, unsigned char *tiles);

/*
 * A strip [step][term of A][2 tiles] times a panel [step][term of B][1 or 2 tiles], added to the registers of C; at
 * each step so many lines of 64 bytes of `next` are asked for.
 */
typedef void multiply_kernel(const unsigned char *a, const unsigned char *b, size_t steps, const unsigned char *next,
                             size_t lines);

/* The same for the steps of a line, while another is expanded. */
typedef void fuse_kernel(const unsigned char *a, const unsigned char *b, const a_line *from, unsigned char *tiles);

typedef struct amx_kernel {
    unsigned terms, bytes;        /* of an element of A */
    expand_kernel *expand;
    fuse_kernel *fuse[2][2];      /* [B has three][tiles of columns - 1] */
} amx_kernel;

VECTOR_BEGIN(VECTOR_AVX512 ",amx-tile,amx-bf16")

/* ---------------------------------------------------------------- expanding A */

/* `bytes` <= 64 of them and zeros. */
INLINE __m512i load_bytes(const void *from, size_t bytes)
{
    return _mm512_maskz_loadu_epi8(bytes ? UINT64_MAX >> (64 - bytes) : 0, from);
}

/* The last groups of a row are not all there, nor is what a line has beyond. */
static void clip_masks(unsigned char *keep, size_t steps, size_t cols)
{
    for (size_t i = 0; i < STRIP_ROWS * steps; i++) {
        const size_t before = i % steps * STEP_K, left = cols > before ? cols - before : 0;
        uint32_t mask;
        memcpy(&mask, keep + 4 * i, sizeof mask);
        mask &= left < STEP_K ? (1u << left) - 1 : UINT32_MAX;
        memcpy(keep + 4 * i, &mask, sizeof mask);
    }
}

/*
 * A line from where a tensor stores it; zeros beyond its rows and columns. Without values only its masks.
 */
static void pack_line(const s24_tensor *a, unsigned bytes, size_t row, size_t step, bool with_values,
                      unsigned char *line)
{
    const s24_geometry *g = &a->geometry;
    const size_t steps = LINE_STEPS(bytes), rows = g->rows - row < STRIP_ROWS ? g->rows - row : STRIP_ROWS;
    const size_t pitch = g->row_values * bytes, left = pitch - 16 * step * bytes, tail = g->row_positions - 4 * step;
    const size_t there = left < LINE_BYTES ? left : LINE_BYTES, some = tail < 4 * steps ? tail : 4 * steps;
    const unsigned char *values = (const unsigned char *)a->values + row * pitch + 16 * step * bytes;
    const uint8_t *positions = a->positions + row * g->row_positions + 4 * step;
    unsigned char *keep = line + MASKS_AT;
    memset(keep, 0, 4 * STRIP_ROWS * steps);
    for (size_t r = 0; r < rows; r++) {
        const __m128i x = _mm_maskz_loadu_epi8((__mmask16)((1u << some) - 1), positions + r * g->row_positions);
        _mm_mask_storeu_epi8(keep + 4 * steps * r, (__mmask16)((1u << 4 * steps) - 1), x);
    }
    for (size_t r = 0; with_values && r < STRIP_ROWS; r++) {
        _mm_prefetch((const char *)((uintptr_t)values + AHEAD_STORED), _MM_HINT_T1);
        _mm512_store_si512(line + LINE_BYTES * r, load_bytes(values, r < rows ? there : 0));
        values += r + 1 < rows ? pitch : 0;
    }
    for (size_t i = 0; i < 4 * STRIP_ROWS * steps; i += 64) {
        _mm512_store_si512(keep + i, masks_of(_mm512_load_si512(keep + i)));
    }
    if (g->cols < (step + steps) * STEP_K) {
        clip_masks(keep, steps, g->cols - step * STEP_K);
    }
}

/* Expands 16 kept values into a row of the tile of each term. */
INLINE void expand_bf16_row(const void *values, __mmask32 keep, unsigned char *row)
{
    _mm512_store_si512(row, _mm512_maskz_expand_epi16(keep, _mm512_castsi256_si512(_mm256_loadu_si256(values))));
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

/*
 * Rows [first, to) of a line, at most `most` of them: that number is a constant before all else is, and only then do
 * compilers unroll the loops around. What is AHEAD is asked for, the masks evenly among the rows: all with the first rows,
 * products of 16 columns took 1.07 times as long.
 */
typedef void expand_rows_function(unsigned first, unsigned to, unsigned most, const a_line *from,
                                  unsigned char *tiles);

#define EXPAND(name, terms, bytes, expand_row) \
    INLINE void expand_row_##name(const a_line *from, unsigned char *tiles, unsigned r) \
    { \
        const unsigned mask_rows = 16 / LINE_STEPS(bytes); /* whose masks share 64 bytes */ \
        const unsigned char *values = from->values + from->pitch * r; \
        const unsigned char *masks = from->masks + 4 * LINE_STEPS(bytes) * r; \
        _mm_prefetch((const char *)((uintptr_t)values + from->ahead), _MM_HINT_T1); \
        if (r % mask_rows == mask_rows / 2) { \
            _mm_prefetch((const char *)((uintptr_t)from->masks + 64 * (r / mask_rows) + AHEAD), _MM_HINT_T1); \
        } \
        S24_UNROLL \
        for (unsigned i = 0; i < LINE_STEPS(bytes); i++) { \
            expand_row(terms, values + 16 * bytes * i, ((const uint32_t *)(const void *)masks)[i], \
                       tiles + 64 * r + 2 * terms * TILE_BYTES * i); \
        } \
    } \
    INLINE void expand_rows_##name(unsigned first, unsigned to, unsigned most, const a_line *from, \
                                   unsigned char *tiles) \
    { \
        S24_UNROLL \
        for (unsigned i = 0; i < most; i++) { \
            if (first + i < to) { \
                expand_row_##name(from, tiles, first + i); \
            } \
        } \
    } \
    static void expand_##name(const a_line *from, unsigned char *tiles) \
    { \
        const a_line own = *from; \
        for (unsigned r = 0; r < STRIP_ROWS; r++) { \
            expand_row_##name(&own, tiles, r); \
        } \
    }

#define ROW_BF16(terms, v, keep, row) expand_bf16_row(v, keep, row)
#define ROW_F32(terms, v, keep, row) expand_f32_row(terms, load_f32(v, 0xffff), keep, row)
#define ROW_F16(terms, v, keep, row) expand_f32_row(terms, load_f16(v, 0xffff), keep, row)
#define ROW_F8E4M3(terms, v, keep, row) expand_f32_row(terms, load_f8e4m3(v, 0xffff), keep, row)
#define ROW_F8E5M2(terms, v, keep, row) expand_f32_row(terms, load_f8e5m2(v, 0xffff), keep, row)
#define ROW_I8(terms, v, keep, row) expand_f32_row(terms, load_i8(v, 0xffff), keep, row)

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

/*
 * Two tiles of columns, and B rounded: a tile of A is used twice and then not before the next panel. Its loads are streamed,
 * which leaves more of the L1 cache to the piece of B, and multiplied as they come.
 */
INLINE void multiply_rounded(const unsigned char *a, const unsigned char *b)
{
    _tile_stream_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_stream_loadd(5, a + TILE_BYTES, 64);
    _tile_dpbf16ps(2, 5, 6);
    multiply_right(b);
}

INLINE void multiply_steps(const unsigned a_terms, const unsigned b_terms, const unsigned cols, const unsigned char *a,
                           const unsigned char *b, size_t steps, const unsigned char *next, size_t lines)
{
    for (size_t s = 0; s < steps; s++, a += 2 * a_terms * TILE_BYTES, b += cols * b_terms * TILE_BYTES) {
        for (size_t i = 0; i < lines; i++, next += 64) {
            _mm_prefetch((const char *)next, _MM_HINT_T1);
        }
        for (unsigned i = 0; i < a_terms; i++) {
            if (b_terms == 1 && cols == 2) {
                multiply_rounded(a + 2 * i * TILE_BYTES, b);
                continue;
            }
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

/* The same for `count` steps, a line of A, while another is expanded: its rows spread evenly. */
INLINE void fuse_steps(const unsigned a_terms, const unsigned b_terms, const unsigned cols, const unsigned count,
                       const unsigned char *a, const unsigned char *b, expand_rows_function *expand,
                       const a_line *from, unsigned char *tiles)
{
    const a_line own = *from; /* stores to tiles cannot change it */
    const unsigned products = b_terms == 1 ? a_terms : a_terms == 1 ? 3 : a_terms == 2 ? 5 : 6;
    const unsigned parts = count * products * cols, most = (STRIP_ROWS + parts - 1) / parts;
    unsigned part = 0;
    S24_UNROLL
    for (unsigned s = 0; s < count; s++) {
        S24_UNROLL
        for (unsigned i = 0; i < a_terms; i++) {
            const unsigned end = b_terms < TERMS - i ? b_terms : TERMS - i;
            load_a(a + 2 * (s * a_terms + i) * TILE_BYTES);
            S24_UNROLL
            for (unsigned j = 0; j < end; j++, part++) {
                const unsigned char *step = b + cols * (s * b_terms + j) * TILE_BYTES;
                if (cols == 1) {
                    multiply_narrow(i, j, step);
                } else {
                    multiply_left(step);
                    expand(STRIP_ROWS * part / parts, STRIP_ROWS * (part + 1) / parts, most, &own, tiles);
                    part++;
                    multiply_right(step);
                }
                expand(STRIP_ROWS * part / parts, STRIP_ROWS * (part + 1) / parts, most, &own, tiles);
            }
        }
    }
}

#define FUSE(name, terms, bytes, b_terms, cols) \
    static void fuse_##name##_##b_terms##cols(const unsigned char *a, const unsigned char *b, \
                                              const a_line *from, unsigned char *tiles) \
    { \
        fuse_steps(terms, b_terms, cols, LINE_STEPS(bytes), a, b, expand_rows_##name, from, tiles); \
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

static void add_tiles(float *sum, const float *tiles)
{
    for (size_t i = 0; i < C_FLOATS; i += 16) {
        _mm512_store_ps(sum + i, _mm512_add_ps(_mm512_load_ps(sum + i), _mm512_load_ps(tiles + i)));
    }
}

/*
 * A strip of tiles, and the sum of those of the chunks before, if there are any, to its place in C, past the caches if
 * `stream`; false when something is not finite.
 */
static bool flush_strip(const float *tiles, const float *before, float *c, size_t ldc, size_t rows, size_t cols,
                        bool stream)
{
    const __mmask16 left = (__mmask16)(cols < 16 ? (1u << cols) - 1 : 0xffff);
    const __mmask16 right = (__mmask16)(cols <= 16 ? 0 : (1u << (cols - 16)) - 1);
    __mmask16 bad = 0;
    stream = stream && right == 0xffff && ldc % 16 == 0 && (uintptr_t)c % 64 == 0;
    for (size_t r = 0; r < rows; r++, c += ldc) {
        const size_t row = r / TILE_ROWS * 512 + r % TILE_ROWS * 16;
        __m512 x = _mm512_load_ps(tiles + row), y = _mm512_load_ps(tiles + row + 256);
        x = before ? _mm512_add_ps(x, _mm512_load_ps(before + row)) : x;
        y = before ? _mm512_add_ps(y, _mm512_load_ps(before + row + 256)) : y;
        x = right ? x : _mm512_add_ps(x, y);
        if (stream) {
            _mm512_stream_ps(c, x);
            _mm512_stream_ps(c + 16, y);
        } else {
            _mm512_mask_storeu_ps(c, left, x);
            _mm512_mask_storeu_ps(c + 16, right, y);
        }
        bad |= _mm512_mask_fpclass_ps_mask(left, x, 0x99) | _mm512_mask_fpclass_ps_mask(right, y, 0x99); /* NaN, inf */
    }
    return bad == 0;
}

VECTOR_END

/* ---------------------------------------------------------------- one product */

typedef struct scratch {
    unsigned char *lines; /* of a block of A, where no plan has packed them */
    unsigned char *a;     /* a block expanded: [strip][step][term][2 tiles]; for one panel two lines */
    float *c;             /* [strip][2][2 tiles] of one panel */
    float *sums;          /* [panel] of them: the chunks before, where there are several */
} scratch;

typedef struct amx_product {
    const s24_product *p;
    const s24_matmul_ops *ops;
    const amx_kernel *kernel;
    unsigned b_terms;
    size_t steps, chunk_steps;          /* of a row; of a block of A */
    size_t col, cols, panels;           /* the columns that are packed */
    unsigned char *b;                   /* [chunk][panel][step][term][2 tiles, 1 in a last narrow panel] */
    size_t job_strips, row_jobs;        /* job = part of the panels * row_jobs + strip / job_strips */
    size_t job_panels, panel_jobs;
    scratch *scratches;                 /* [threads] */
    atomic_bool nonfinite;              /* somewhere in C */
} amx_product;

/* A block of A: rows of a job by steps of a chunk. And its lines: those of the strips of the job, among others. */
typedef struct block_place {
    size_t row, rows, step, steps;
    const unsigned char *lines;
    size_t strips, skip;                /* that a group has, and before those of the job */
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
    const size_t to = min_size((job + 1) * PACK_STEPS, x->steps);
    (void)worker, (void)err;
    for (size_t step = job * PACK_STEPS; step < to; step++) {
        const size_t k = step * STEP_K;
        for (size_t panel = 0; panel < x->panels; panel++) {
            pack_step(p->b + k * p->ldb + x->col + panel * PANEL_COLS, p->ldb,
                      min_size(STEP_K, p->a->geometry.cols - k), panel_cols(x, panel), x->b_terms,
                      packed_step(x, panel, step));
        }
    }
    return S24_OK;
}

static size_t line_bytes(const amx_kernel *kernel)
{
    return STRIP_ROWS * (LINE_BYTES + 4 * LINE_STEPS(kernel->bytes));
}

static size_t line_count(const amx_kernel *kernel, size_t steps)
{
    return ceil_div(steps, LINE_STEPS(kernel->bytes));
}

/* Whether a tensor has all values of a line. */
static bool is_whole(const s24_tensor *a, const amx_kernel *kernel, size_t row, size_t step)
{
    return row + STRIP_ROWS <= a->geometry.rows && 16 * (step + LINE_STEPS(kernel->bytes)) <= a->geometry.row_values;
}

/* Where in a block a line of the job is, in bytes: [group][strip][line]. */
static size_t line_place(const amx_kernel *kernel, const block_place *at, size_t strip, size_t step)
{
    const unsigned shift = kernel->bytes / 2; /* lines of a group: 1, 2, 4 */
    const size_t group = step / GROUP_STEPS, left = at->steps - group * GROUP_STEPS;
    const size_t count = ceil_div(min_size(GROUP_STEPS, left) << shift, GROUP_STEPS);
    const size_t line = (step % GROUP_STEPS << shift) / GROUP_STEPS;
    return ((group * at->strips << shift) + (at->skip + strip) * count + line) * line_bytes(kernel);
}

/* A block, strip by strip: many rows at once would be more pages than the TLB and the prefetchers follow. */
static void pack_block(const s24_tensor *a, const amx_kernel *kernel, const block_place *at, bool with_values,
                       unsigned char *to)
{
    for (size_t strip = 0; strip < at->strips; strip++) {
        const size_t row = at->row + strip * STRIP_ROWS;
        for (size_t s = 0; s < at->steps; s += LINE_STEPS(kernel->bytes)) {
            const bool values = with_values || !is_whole(a, kernel, row, at->step + s);
            pack_line(a, kernel->bytes, row, at->step + s, values, to + line_place(kernel, at, strip, s));
        }
    }
}

/* Where the lines of a block are: in the plan, or, now packed, in scratch. */
static void find_lines(const amx_product *x, const scratch *s, block_place *at)
{
    const s24_product *p = x->p;
    const size_t strip = at->row / STRIP_ROWS, first = strip / BLOCK_STRIPS * BLOCK_STRIPS;
    const size_t strips = ceil_div(p->a->geometry.rows, STRIP_ROWS);
    if (p->packed) {
        at->strips = min_size(BLOCK_STRIPS, strips - first);
        at->skip = strip - first;
        at->lines = p->packed + (first * line_count(x->kernel, x->steps) +
                                 at->strips * line_count(x->kernel, at->step)) * line_bytes(x->kernel);
    } else {
        at->strips = ceil_div(at->rows, STRIP_ROWS);
        at->skip = 0;
        at->lines = s->lines;
        pack_block(p->a, x->kernel, at, false, s->lines);
    }
}

/* Stored values are asked for when the group before them is due, and that is all rows of the block before. */
static a_line find_line(const amx_product *x, const block_place *at, size_t strip, size_t step)
{
    const unsigned char *line = at->lines + line_place(x->kernel, at, strip, step);
    const s24_tensor *a = x->p->a;
    const size_t row = at->row + strip * STRIP_ROWS, pitch = a->geometry.row_values * x->kernel->bytes;
    const size_t step_bytes = 16 * x->kernel->bytes;
    if (x->p->packed || !is_whole(a, x->kernel, row, at->step + step)) {
        return (a_line){line, line + MASKS_AT, LINE_BYTES, AHEAD};
    }
    const unsigned char *values = (const unsigned char *)a->values + row * pitch + (at->step + step) * step_bytes;
    return (a_line){values, line + MASKS_AT, pitch, GROUP_STEPS * step_bytes};
}

static float *strip_sums(const amx_product *x, const scratch *s, size_t strip, size_t panel)
{
    return s->sums + (panel * x->job_strips + strip) * C_FLOATS;
}

/* Where a strip is summed up over a chunk: the first of several begins the sum of all. */
static float *strip_tiles(const amx_product *x, const scratch *s, const block_place *at, size_t strip, size_t panel)
{
    return at->step == 0 && at->steps < x->steps ? strip_sums(x, s, strip, panel) : s->c + strip * C_FLOATS;
}

static float *c_place(const amx_product *x, const block_place *at, size_t row, size_t panel)
{
    return x->p->c + (at->row + row) * x->p->ldc + x->col + panel * PANEL_COLS;
}

/*
 * A strip's chunk is done. Its sum began at 0, since a single chain of additions over a long row is less exact; and the sums
 * of a chunk wait for the next one as tiles, which lie behind one another: C has its rows pages apart.
 */
static void flush(amx_product *x, const scratch *s, const block_place *at, size_t strip, size_t panel)
{
    const bool stream = x->p->a->geometry.rows * x->p->n >= STREAM_FLOATS;
    const float *tiles = strip_tiles(x, s, at, strip, panel);
    const size_t row = strip * STRIP_ROWS;
    if (at->step + at->steps < x->steps) {
        if (at->step > 0) {
            add_tiles(strip_sums(x, s, strip, panel), tiles);
        }
    } else if (!flush_strip(tiles, at->step > 0 ? strip_sums(x, s, strip, panel) : NULL, c_place(x, at, row, panel),
                            x->p->ldc, min_size(STRIP_ROWS, at->rows - row), panel_cols(x, panel), stream)) {
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
    const size_t line_steps = LINE_STEPS(x->kernel->bytes), strips = ceil_div(at->rows, STRIP_ROWS);
    for (size_t group = 0; group < at->steps; group += GROUP_STEPS) {
        for (size_t strip = 0; strip < strips; strip++) {
            for (size_t step = group; step < min_size(group + GROUP_STEPS, at->steps); step += line_steps) {
                const a_line line = find_line(x, at, strip, step);
                x->kernel->expand(&line, s->a + (strip * x->chunk_steps + step) * a_step_bytes(x));
            }
        }
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
            float *c = strip_tiles(x, s, at, strip, panel);
            load_c(c, i == 0);
            multiply(s->a + (strip * x->chunk_steps + i) * a_step_bytes(x), b, count, next, ahead);
            store_c(c);
            if (i + most >= at->steps) {
                flush(x, s, at, strip, panel);
            }
        }
    }
}

/* ---------------------------------------------------------------- one panel */

/* The line behind one, in the order of a block; behind the last any. */
static a_line next_line(const amx_product *x, const block_place *at, size_t strip, size_t step)
{
    const size_t line_steps = LINE_STEPS(x->kernel->bytes), strips = ceil_div(at->rows, STRIP_ROWS);
    const size_t group = step / GROUP_STEPS * GROUP_STEPS, end = min_size(group + GROUP_STEPS, at->steps);
    if (step + line_steps < end) {
        return find_line(x, at, strip, step + line_steps);
    }
    if (strip + 1 < strips) {
        return find_line(x, at, strip + 1, group);
    }
    return find_line(x, at, 0, end < at->steps ? end : 0);
}

/*
 * Tiles of A are used once: a line is expanded while the one before it is multiplied, to one of two places, so that
 * they and the B of a group, which all strips go past, stay in the L1 cache. The sums of the strips come and go.
 */
static void multiply_group(amx_product *x, const scratch *s, const block_place *at, size_t group, unsigned *slot)
{
    const amx_kernel *kernel = x->kernel;
    const size_t line_steps = LINE_STEPS(kernel->bytes), steps = min_size(GROUP_STEPS, at->steps - group);
    const size_t slot_bytes = line_steps * a_step_bytes(x), strips = ceil_div(at->rows, STRIP_ROWS);
    const unsigned char *b = packed_step(x, 0, at->step + group);
    fuse_kernel *fuse = kernel->fuse[x->b_terms > 1][panel_tiles(x, 0) - 1];
    for (size_t strip = 0; strip < strips; strip++) {
        float *c = strip_tiles(x, s, at, strip, 0);
        load_c(c, group == 0);
        for (size_t step = 0; step < steps; step += line_steps, *slot ^= 1) {
            const unsigned char *from = s->a + *slot * slot_bytes, *b_line = b + step * b_step_bytes(x, 0);
            unsigned char *to = s->a + (*slot ^ 1) * slot_bytes;
            const a_line next = next_line(x, at, strip, group + step);
            if (step + line_steps <= steps) {
                fuse(from, b_line, &next, to);
            } else {
                find_multiply(x, 0)(from, b_line, steps - step, b, 0);
                kernel->expand(&next, to);
            }
        }
        store_c(c);
        if (group + steps == at->steps) {
            flush(x, s, at, strip, 0);
        }
    }
}

static void multiply_strips(amx_product *x, const scratch *s, const block_place *at)
{
    unsigned slot = 0;
    const a_line line = find_line(x, at, 0, 0);
    x->kernel->expand(&line, s->a);
    for (size_t group = 0; group < at->steps; group += GROUP_STEPS) {
        multiply_group(x, s, at, group, &slot);
    }
}

/* ---------------------------------------------------------------- jobs */

static s24_status multiply_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    amx_product *x = ctx;
    const scratch *s = &x->scratches[worker];
    const size_t first = job / x->row_jobs * x->job_panels, row = job % x->row_jobs * x->job_strips * STRIP_ROWS;
    block_place at = {.row = row, .rows = min_size(x->job_strips * STRIP_ROWS, x->p->a->geometry.rows - row)};
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
        find_lines(x, s, &at);
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
    _mm_sfence(); /* what was streamed, before others hear that it is there */
    return S24_OK;
}

/* Whole groups, and as many as make a block of one size. One panel needs no block. */
static size_t chunk_steps(unsigned terms, size_t cols)
{
    return cols <= PANEL_COLS || terms == 1 ? CHUNK_STEPS : CHUNK_STEPS / terms / PACK_STEPS * PACK_STEPS;
}

/* Columns at a time: what PACK_BYTES hold, in even parts of whole panels. */
static size_t packed_cols(const amx_product *x)
{
    const size_t panels = ceil_div(x->p->n, PANEL_COLS), most = PACK_BYTES / (x->steps * 2 * x->b_terms * TILE_BYTES);
    return ceil_div(panels, ceil_div(panels, most ? most : 1)) * PANEL_COLS;
}

/* The power of two, up to BLOCK_STRIPS, that is not below `strips` otherwise. */
static size_t part_strips(size_t strips)
{
    size_t part = 1;
    while (part < strips && part < BLOCK_STRIPS) {
        part *= 2;
    }
    return part;
}

/* Cuts the work into jobs, small enough for threads to stay busy; results do not depend on where. */
static void plan_jobs(amx_product *x, unsigned threads)
{
    const size_t strips = ceil_div(x->p->a->geometry.rows, STRIP_ROWS), wanted = threads > 1 ? 4 * (size_t)threads : 1;
    const size_t blocks = ceil_div(strips, BLOCK_STRIPS);
    /* Whole blocks, or even parts of each: a job has lines of one block. */
    x->job_strips = blocks >= wanted ? BLOCK_STRIPS : part_strips(ceil_div(strips, wanted));
    x->row_jobs = ceil_div(strips, x->job_strips);
    x->panels = ceil_div(x->cols, PANEL_COLS);
    x->job_panels = ceil_div(x->panels, min_size(x->panels, ceil_div(wanted, x->row_jobs)));
    x->panel_jobs = ceil_div(x->panels, x->job_panels);
}

/* Of A expanded, for each thread. */
static size_t block_bytes(const amx_product *x)
{
    const size_t block = x->panels > 1 ? x->job_strips * x->chunk_steps : 0;
    return (block > 2 * GROUP_STEPS ? block : 2 * GROUP_STEPS) * a_step_bytes(x);
}

static s24_status alloc_scratches(amx_product *x, unsigned char *blocks, unsigned threads, s24_error *err)
{
    const size_t lines = x->p->packed ? 1 : x->job_strips * line_count(x->kernel, x->chunk_steps);
    const size_t c_bytes = x->job_strips * C_FLOATS * sizeof(float);
    const size_t panels = x->chunk_steps < x->steps ? x->panels : 0;
    x->scratches = s24_calloc(threads, sizeof *x->scratches, err);
    for (unsigned i = 0; i < threads; i++) {
        scratch *s = &x->scratches[i];
        if (!x->scratches || !(s->c = s24_alloc(c_bytes, err)) ||
            !(s->sums = s24_alloc(panels * c_bytes, err)) ||
            !(s->lines = s24_alloc(lines * line_bytes(x->kernel), err))) {
            return S24_ERR_SYSTEM;
        }
        s->a = blocks + i * block_bytes(x);
    }
    return S24_OK;
}

static void free_scratches(amx_product *x, unsigned threads)
{
    for (unsigned i = 0; x->scratches && i < threads; i++) {
        free(x->scratches[i].c);
        free(x->scratches[i].sums);
        free(x->scratches[i].lines);
    }
    free(x->scratches);
}

static s24_status multiply_columns(amx_product *x, unsigned threads, s24_error *err)
{
    static const s24_stages pack = {.work = pack_job}, multiply = {.work = multiply_job};
    /* Packing a few panels takes less time than starting a thread. */
    const s24_status status = s24_run(&pack, x, ceil_div(x->steps, PACK_STEPS), x->panels < 8 ? 1 : threads, err);
    return status == S24_OK ? s24_run(&multiply, x, x->row_jobs * x->panel_jobs, threads, err) : status;
}

s24_status s24_amx_pack(const s24_tensor *a, unsigned char **packed, size_t *bytes, s24_error *err)
{
    const amx_kernel *kernel = &kernels[a->dtype];
    const size_t steps = ceil_div(a->geometry.cols, STEP_K), strips = ceil_div(a->geometry.rows, STRIP_ROWS);
    const size_t strip_bytes = line_count(kernel, steps) * line_bytes(kernel);
    if (!s24_mul(strips, strip_bytes, bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a matrix of %zu x %zu is too large", a->geometry.rows, a->geometry.cols);
    }
    *packed = s24_alloc(*bytes, err);
    if (!*packed) {
        return S24_ERR_SYSTEM;
    }
    for (size_t strip = 0; strip < strips; strip += BLOCK_STRIPS) {
        const block_place at = {.row = strip * STRIP_ROWS, .steps = steps,
                                .strips = min_size(BLOCK_STRIPS, strips - strip)};
        pack_block(a, kernel, &at, true, *packed + strip * strip_bytes);
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
    x.chunk_steps = min_size(chunk_steps(kernel->terms, most), ceil_div(x.steps, GROUP_STEPS) * GROUP_STEPS);
    if (!s24_mul(most * x.b_terms * 2, x.steps * STEP_K, &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a product over %zu elements is too long", p->a->geometry.cols);
    }
    x.cols = min_size(most, p->n);
    plan_jobs(&x, threads);
    const unsigned workers = (unsigned)min_size(threads, x.row_jobs * x.panel_jobs);
    unsigned char *buffer = s24_malloc(bytes + workers * block_bytes(&x) + 63, err);
    x.b = (unsigned char *)(((uintptr_t)buffer + 63) & ~(uintptr_t)63);
    s24_status status = buffer ? alloc_scratches(&x, x.b + bytes, workers, err) : S24_ERR_SYSTEM;
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
