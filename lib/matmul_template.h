/*
 * The bodies of the sparse product's kernels, instantiated by matmul_avx2.c and matmul_avx512.c, through matmul_x86.h,
 * and by matmul_neon.c. Each defines before it includes this file
 *
 *   WIDTH                          floats of a vector: 4, 8 or 16
 *   DOT_AT_ONCE                    rows that are multiplied at once by few columns: what registers allow
 *   vec                            WIDTH floats: vec_zero, vec_load, vec_load_aligned, vec_store, vec_add,
 *                                  and vec_fma(a, b, c), a * b + c
 *   weights4, load_weights4(p)     four weights of which vec_fma_one(w, i, b, c) takes one, w[i] * b + c
 *   widen_step(dtype, size, p, to) stores the 16 kept values of a step as f32; size: bytes of one
 *   words                          16 u16: words_zero, words_set1, words_store, words_add, words_mul
 *   step_index(word)               of a step's positions: its 16 elements, 0..31, as words
 *   table, load_table(b)           the 2 * WIDTH elements of a row that WIDTH kept values are of
 *   picker                         says for each lane which of them it takes: pick(table, picker)
 *   offsets_picker(offsets)        of WIDTH decoded offsets of scale 1
 *   fold4(a, b, c, d)              the sums of the lanes of each, which store4 stores
 *
 * and after it `check` and `vector`, which SETS asks for.
 */
#ifndef S24_LIB_MATMUL_TEMPLATE_H
#define S24_LIB_MATMUL_TEMPLATE_H

#include "matmul_kernels.h"

/* ---------------------------------------------------------------- decoding */

INLINE uint32_t load_word(const uint8_t *positions)
{
    uint32_t word;
    memcpy(&word, positions, sizeof word);
    return word;
}

/* The last 1..7 groups of a row, copied to where a whole step may be read: the values that are not there are 0. */
typedef struct last_step {
    unsigned char values[S24_STEP_VALUES * 4];
    uint8_t positions[4];
} last_step;

INLINE last_step load_last(const unsigned char *values, const uint8_t *positions, size_t groups, size_t size)
{
    last_step last = {.values = {0}};
    memcpy(last.values, values, 2 * groups * size);
    memcpy(last.positions, positions, (groups + 1) / 2);
    return last;
}

INLINE void decode_step(s24_dtype from, unsigned size, const unsigned char *values, const uint8_t *positions,
                        words scale, words base, float *weights, uint16_t *offsets)
{
    const words index = step_index(load_word(positions));
    widen_step(from, size, values, weights);
    words_store(offsets, words_add(words_mul(index, scale), base));
}

INLINE void decode(s24_dtype from, unsigned size, const s24_chunk *chunk)
{
    const size_t steps = chunk->groups / S24_STEP_GROUPS, rest = chunk->groups % S24_STEP_GROUPS;
    const words scale = words_set1(chunk->scale), advance = words_set1(4 * S24_STEP_GROUPS * chunk->scale);
    for (size_t r = 0; r < chunk->rows; r++) {
        const unsigned char *v = (const unsigned char *)chunk->values + r * chunk->value_pitch;
        const uint8_t *p = chunk->positions + r * chunk->position_pitch;
        float *w = chunk->weights + r * chunk->stride;
        uint16_t *o = chunk->offsets + r * chunk->stride;
        words base = words_zero();
        for (size_t s = 0; s < steps; s++) {
            decode_step(from, size, v, p, scale, base, w, o);
            base = words_add(base, advance);
            v += size * S24_STEP_VALUES;
            p += 4;
            w += S24_STEP_VALUES;
            o += S24_STEP_VALUES;
        }
        if (rest) {
            const last_step last = load_last(v, p, rest, size);
            decode_step(from, size, last.values, last.positions, scale, base, w, o);
        }
    }
}

/* ---------------------------------------------------------------- many columns */

/*
 * A row of the tile is `vectors` registers, and so is the sum that one row of A gathers from it: the only loads of the
 * loop are rows of B, as operands of the FMA. Narrow tiles keep the sum two or four times, for every second or fourth
 * entry: an FMA takes four cycles, and fewer chains than that (eight, where two start a cycle) would leave it waiting.
 */
INLINE void tile(const unsigned vectors, const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first)
{
    const unsigned sets = vectors <= 3 ? 4 : vectors <= 6 ? 2 : 1;
    for (size_t r = 0; r < chunk->rows; r++, c += WIDTH * vectors) {
        const float *weights = chunk->weights + r * chunk->stride;
        const uint16_t *offsets = chunk->offsets + r * chunk->stride;
        vec sum[4][S24_TILE_VECTORS];
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            sum[0][j] = sum[1][j] = sum[2][j] = sum[3][j] = vec_zero();
        }
        for (size_t i = 0; i < S24_STEP_VALUES * steps; i += 4) {
            const weights4 w = load_weights4(weights + i);
            S24_UNROLL
            for (unsigned e = 0; e < 4; e++) {
                const float *row = (const float *)(const void *)((const char *)b + offsets[i + e]);
                S24_UNROLL
                for (unsigned j = 0; j < vectors; j++) {
                    sum[e % sets][j] = vec_fma_one(w, e, vec_load_aligned(row + WIDTH * j), sum[e % sets][j]);
                }
            }
        }
        S24_UNROLL
        for (unsigned j = 0; j < vectors; j++) {
            const vec even = sets == 4 ? vec_add(sum[0][j], sum[2][j]) : sum[0][j];
            const vec odd = sets == 4 ? vec_add(sum[1][j], sum[3][j]) : sum[1][j];
            const vec total = sets > 1 ? vec_add(even, odd) : even;
            vec_store(c + WIDTH * j, first ? total : vec_add(vec_load_aligned(c + WIDTH * j), total));
        }
    }
}

#define TILE(n) \
    static void tile_##n(const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first) \
    { \
        tile(n, chunk, steps, b, c, first); \
    }

/* The tiles of 1 to 8 and to 12 vectors, and their rows in a table, whose place 0 is empty. */
#define TILES_TO_8 TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
#define TILES_TO_12 TILES_TO_8 TILE(9) TILE(10) TILE(11) TILE(12)
#define TILE_TABLE_TO_8 NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8
#define TILE_TABLE_TO_12 TILE_TABLE_TO_8, tile_9, tile_10, tile_11, tile_12

/* ---------------------------------------------------------------- few columns */

/* Some rows by `cols` columns: each table of B serves all rows, each register of weights all columns. */
INLINE void dot(const unsigned cols, const s24_chunk *chunk, size_t steps, const float *b, size_t pitch,
                float sums[S24_DOT_ROWS][S24_DOT_COLS])
{
    for (unsigned first = 0; first < S24_DOT_ROWS; first += DOT_AT_ONCE) {
        vec sum[DOT_AT_ONCE][S24_DOT_COLS];
        S24_UNROLL
        for (unsigned r = 0; r < DOT_AT_ONCE; r++) {
            S24_UNROLL
            for (unsigned j = 0; j < S24_DOT_COLS; j++) {
                sum[r][j] = vec_zero();
            }
        }
        for (size_t at = 0; at < S24_STEP_VALUES * steps; at += WIDTH) {
            vec w[DOT_AT_ONCE];
            picker which[DOT_AT_ONCE];
            S24_UNROLL
            for (unsigned r = 0; r < DOT_AT_ONCE; r++) {
                w[r] = vec_load(chunk->weights + (first + r) * chunk->stride + at);
                which[r] = offsets_picker(chunk->offsets + (first + r) * chunk->stride + at);
            }
            S24_UNROLL
            for (unsigned j = 0; j < cols; j++) {
                const table t = load_table(b + j * pitch + 2 * at);
                S24_UNROLL
                for (unsigned r = 0; r < DOT_AT_ONCE; r++) {
                    sum[r][j] = vec_fma(w[r], pick(t, which[r]), sum[r][j]);
                }
            }
        }
        S24_UNROLL
        for (unsigned r = 0; r < DOT_AT_ONCE; r++) {
            store4(sums[first + r], fold4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]));
        }
    }
}

#define DOT(n) \
    static void dot_##n(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch, \
                        float sums[S24_DOT_ROWS][S24_DOT_COLS]) \
    { \
        dot(n, chunk, steps, b, pitch, sums); \
    }

/* ---------------------------------------------------------------- the sets */

DOT(1)
DOT(2)
DOT(3)
DOT(4)

#define SET(isa, name, dtype, size) \
    static void decode_##name(const s24_chunk *chunk) \
    { \
        decode(S24_##dtype, size, chunk); \
    } \
    static bool vector_##name(const s24_chunk *chunk, const float *x, float *sums) \
    { \
        return vector(S24_##dtype, size, chunk, x, sums); \
    } \
    const s24_matmul_kernel s24_matmul_##name##_##isa = {&ops, decode_##name, vector_##name};

#define SETS(isa) \
    SET(isa, f32, F32, 4) \
    SET(isa, f16, F16, 2) \
    SET(isa, bf16, BF16, 2) \
    SET(isa, f8e4m3, F8E4M3, 1) \
    SET(isa, f8e5m2, F8E5M2, 1) \
    SET(isa, i8, I8, 1)

#endif
