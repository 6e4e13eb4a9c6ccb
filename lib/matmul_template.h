/*
 * The bodies of the sparse product's kernels of x86, instantiated by matmul_avx2.c and matmul_avx512.c between their
 * VECTOR_BEGIN and VECTOR_END. Each defines before it includes this file
 *
 *   WIDTH                          floats of a vector: 8 or 16
 *   DOT_AT_ONCE, VECTOR_AT_ONCE    rows that are multiplied at once by few columns and by one: what registers allow
 *   vec                            WIDTH floats: vec_zero, vec_set1, vec_load, vec_load_aligned, vec_store, vec_add,
 *                                  and vec_fma(a, b, c), a * b + c
 *   load_values(dtype, p)          WIDTH kept values as f32
 *   table, load_table(b)           the 2 * WIDTH elements of a row that WIDTH kept values are of
 *   picker                         says for each lane which of them it takes: pick(table, picker)
 *   word_picker(word, part)        of a step's positions: lanes part * WIDTH to (part + 1) * WIDTH - 1
 *   offsets_picker(offsets)        of WIDTH decoded offsets of scale 1
 *   step_index(word)               the 16 elements of a step, 0..31, as u16
 *   bytes                          4 * WIDTH bytes: bytes_zero, bytes_or, bytes_any(b), whether any has its sign set
 *   load_positions(p)              so many bytes of positions; load_last_positions(p, groups): fewer, and valid ones
 *   bad_nibbles(b)                 signs where one of a byte's two nibbles is none of 4 8 9 C D E
 *   fold4(a, b, c, d)              the sums of the lanes of each
 */
#ifndef S24_LIB_MATMUL_TEMPLATE_H
#define S24_LIB_MATMUL_TEMPLATE_H

#include "matmul_kernels.h"

/* ---------------------------------------------------------------- positions */

#define CHECK_GROUPS (8 * WIDTH) /* looked at together */

INLINE uint32_t load_word(const uint8_t *positions)
{
    uint32_t word;
    memcpy(&word, positions, sizeof word);
    return word;
}

static size_t check(const uint8_t *positions, size_t groups)
{
    size_t g = 0;
    while (g + CHECK_GROUPS <= groups && !bytes_any(bad_nibbles(load_positions(positions + g / 2)))) {
        g += CHECK_GROUPS;
    }
    if (groups - g < CHECK_GROUPS && !bytes_any(bad_nibbles(load_last_positions(positions + g / 2, groups - g)))) {
        return groups;
    }
    while (g < groups && s24_valid_nibble(positions[g / 2] >> (g % 2 * 4) & 15)) {
        g++;
    }
    return g;
}

/* ---------------------------------------------------------------- decoding */

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
                        __m256i scale, __m256i base, float *weights, uint16_t *offsets)
{
    const __m256i index = step_index(load_word(positions));
    S24_UNROLL
    for (unsigned i = 0; i < S24_STEP_VALUES; i += WIDTH) {
        vec_store(weights + i, load_values(from, values + i * size));
    }
    _mm256_storeu_si256((void *)offsets, _mm256_add_epi16(_mm256_mullo_epi16(index, scale), base));
}

INLINE void decode(s24_dtype from, unsigned size, const s24_chunk *chunk)
{
    const size_t steps = chunk->groups / S24_STEP_GROUPS, rest = chunk->groups % S24_STEP_GROUPS;
    const __m256i scale = _mm256_set1_epi16((short)chunk->scale);
    const __m256i advance = _mm256_set1_epi16((short)(4 * S24_STEP_GROUPS * chunk->scale));
    for (size_t r = 0; r < chunk->rows; r++) {
        const unsigned char *v = (const unsigned char *)chunk->values + r * chunk->value_pitch;
        const uint8_t *p = chunk->positions + r * chunk->position_pitch;
        float *w = chunk->weights + r * chunk->stride;
        uint16_t *o = chunk->offsets + r * chunk->stride;
        __m256i base = _mm256_setzero_si256();
        for (size_t s = 0; s < steps; s++) {
            decode_step(from, size, v, p, scale, base, w, o);
            base = _mm256_add_epi16(base, advance);
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
            S24_UNROLL
            for (unsigned e = 0; e < 4; e++) {
                const float *row = (const float *)(const void *)((const char *)b + offsets[i + e]);
                const vec w = vec_set1(weights[i + e]);
                S24_UNROLL
                for (unsigned j = 0; j < vectors; j++) {
                    sum[e % sets][j] = vec_fma(w, vec_load_aligned(row + WIDTH * j), sum[e % sets][j]);
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
            _mm_storeu_ps(sums[first + r], fold4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]));
        }
    }
}

#define DOT(n) \
    static void dot_##n(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch, \
                        float sums[S24_DOT_ROWS][S24_DOT_COLS]) \
    { \
        dot(n, chunk, steps, b, pitch, sums); \
    }

/* ---------------------------------------------------------------- one column */

/*
 * Rows side by side: each table of x serves all of them, and more of the matrix is on its way from memory. Asked for
 * are the next rows at the same place, since hardware prefetchers stop at the end of a page, and where rows are short,
 * at least so much ahead. Measured on Sapphire Rapids, over only reading f16 weights from memory: one row 16 KiB ahead,
 * as was best on Zen 4, 0.77; four rows 0.90.
 */
#define AHEAD_VALUES 4096
#define AHEAD_POSITIONS 1024

/* Where some rows are, and what they have summed up: a lane in four. */
typedef struct vector_rows {
    const unsigned char *v;
    const uint8_t *p;
    size_t v_pitch, p_pitch, v_ahead;
    const float *x;
    vec sum[VECTOR_AT_ONCE][4];
} vector_rows;

/* `count` vectors of values, each to its own sum; they begin with a step. */
INLINE void vector_step(const unsigned rows, const unsigned count, s24_dtype from, unsigned size, vector_rows *a)
{
    S24_UNROLL
    for (unsigned i = 0; i < count; i++) {
        const table t = load_table(a->x + 2 * WIDTH * i);
        S24_UNROLL
        for (unsigned r = 0; r < rows; r++) {
            const unsigned char *v = a->v + r * a->v_pitch + i * WIDTH * size;
            const uint32_t word = load_word(a->p + r * a->p_pitch + i * WIDTH / S24_STEP_VALUES * 4);
            if (i * WIDTH * size % 64 == 0) {
                _mm_prefetch((const char *)v + a->v_ahead, _MM_HINT_T0);
            }
            const picker which = word_picker(word, i * WIDTH % S24_STEP_VALUES / WIDTH);
            a->sum[r][i] = vec_fma(load_values(from, v), pick(t, which), a->sum[r][i]);
        }
    }
    a->v += count * WIDTH * size;
    a->p += count * WIDTH / 4;
    a->x += 2 * WIDTH * count;
}

/* The last groups of each row, fewer than a step. */
INLINE void vector_rest(const unsigned rows, s24_dtype from, unsigned size, size_t groups, vector_rows *a)
{
    S24_UNROLL
    for (unsigned r = 0; r < rows; r++) {
        const last_step last = load_last(a->v + r * a->v_pitch, a->p + r * a->p_pitch, groups, size);
        S24_UNROLL
        for (unsigned i = 0; i < S24_STEP_VALUES / WIDTH; i++) {
            const vec picked = pick(load_table(a->x + 2 * WIDTH * i), word_picker(load_word(last.positions), i));
            a->sum[r][2 + i] = vec_fma(load_values(from, last.values + i * WIDTH * size), picked, a->sum[r][2 + i]);
        }
    }
}

INLINE bool vector_some(const unsigned rows, s24_dtype from, unsigned size, const s24_chunk *chunk, size_t row,
                        const float *x, float *sums)
{
    const size_t v_next = rows * chunk->value_pitch, p_next = rows * chunk->position_pitch;
    const size_t p_ahead = p_next > AHEAD_POSITIONS ? p_next : AHEAD_POSITIONS;
    vector_rows a = {.v = (const unsigned char *)chunk->values + row * chunk->value_pitch,
                     .p = chunk->positions + row * chunk->position_pitch,
                     .v_pitch = chunk->value_pitch, .p_pitch = chunk->position_pitch,
                     .v_ahead = v_next > AHEAD_VALUES ? v_next : AHEAD_VALUES, .x = x};
    bytes bad = bytes_zero();
    size_t groups = chunk->groups;
    S24_UNROLL
    for (unsigned r = 0; r < rows; r++) {
        a.sum[r][0] = a.sum[r][1] = a.sum[r][2] = a.sum[r][3] = vec_zero();
    }
    while (groups) {
        size_t some = groups < CHECK_GROUPS ? groups : CHECK_GROUPS;
        groups -= some;
        S24_UNROLL
        for (unsigned r = 0; r < rows; r++) {
            const uint8_t *p = a.p + r * a.p_pitch;
            _mm_prefetch((const char *)p + p_ahead, _MM_HINT_T0);
            bad = bytes_or(bad, bad_nibbles(some == CHECK_GROUPS ? load_positions(p) : load_last_positions(p, some)));
        }
        for (; some >= 2 * WIDTH; some -= 2 * WIDTH) {
            vector_step(rows, 4, from, size, &a);
        }
        for (; some >= S24_STEP_GROUPS; some -= S24_STEP_GROUPS) {
            vector_step(rows, S24_STEP_VALUES / WIDTH, from, size, &a);
        }
        if (some) {
            vector_rest(rows, from, size, some, &a);
        }
    }
    vec total[4];
    float lanes[4];
    S24_UNROLL
    for (unsigned r = 0; r < 4; r++) {
        const vec *sum = a.sum[r < rows ? r : 0];
        total[r] = vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3]));
    }
    _mm_storeu_ps(lanes, fold4(total[0], total[1], total[2], total[3]));
    memcpy(sums + row, lanes, rows * sizeof *sums);
    return !bytes_any(bad);
}

INLINE bool vector(s24_dtype from, unsigned size, const s24_chunk *chunk, const float *x, float *sums)
{
    bool valid = true;
    size_t r = 0;
    for (; r + VECTOR_AT_ONCE <= chunk->rows; r += VECTOR_AT_ONCE) {
        valid &= vector_some(VECTOR_AT_ONCE, from, size, chunk, r, x, sums);
    }
    for (; r < chunk->rows; r++) {
        valid &= vector_some(1, from, size, chunk, r, x, sums);
    }
    return valid;
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
