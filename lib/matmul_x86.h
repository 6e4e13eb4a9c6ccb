/*
 * What the sparse product's kernels of x86 have in common beyond matmul_template.h: checking, and one column, by as many
 * values at a time as a vector holds. matmul_avx2.c and matmul_avx512.c include it between their VECTOR_BEGIN and
 * VECTOR_END. Each defines before that what matmul_template.h asks for and is not defined here, and
 *
 *   VECTOR_AT_ONCE                 rows that are multiplied at once by one column
 *   vec_set1, vec_mul              WIDTH times a float; the products
 *   load_values(dtype, p)          WIDTH kept values as f32
 *   word_picker(word, part)        of a step's positions: lanes part * WIDTH to (part + 1) * WIDTH - 1
 *   bytes                          4 * WIDTH bytes: bytes_zero, bytes_or, bytes_any(b), whether any has its sign set
 *   load_positions(p)              so many bytes of positions; load_last_positions(p, groups): fewer, and valid ones
 *   bad_nibbles(b)                 signs where one of a byte's two nibbles is none of 4 8 9 C D E
 */
#ifndef S24_LIB_MATMUL_X86_H
#define S24_LIB_MATMUL_X86_H

typedef __m256i words;
#define words_zero _mm256_setzero_si256
#define words_set1(x) _mm256_set1_epi16((short)(x))
#define words_store(p, x) _mm256_storeu_si256((void *)(p), x)
#define words_add _mm256_add_epi16
#define words_mul _mm256_mullo_epi16
#define store4 _mm_storeu_ps

/* They are broadcast from memory, one by one. */
typedef const float *weights4;
#define load_weights4(p) (p)
#define vec_fma_one(w, i, b, c) vec_fma(vec_set1((w)[i]), b, c)

INLINE void widen_step(s24_dtype from, unsigned size, const unsigned char *values, float *weights)
{
    S24_UNROLL
    for (unsigned i = 0; i < S24_STEP_VALUES; i += WIDTH) {
        vec_store(weights + i, load_values(from, values + i * size));
    }
}

#include "matmul_template.h"

/* ---------------------------------------------------------------- positions */

#define CHECK_GROUPS (8 * WIDTH) /* looked at together */

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
    const float *scales; /* used where `scaled` says so */
    size_t s_pitch, group;
    vec sum[VECTOR_AT_ONCE][4];
} vector_rows;

/* Vector number i of values of row r from here on, which lie at v; times their scale, if that is wanted. */
INLINE vec vector_weights(const bool scaled, s24_dtype from, const void *v, const vector_rows *a, unsigned r, unsigned i)
{
    const vec w = load_values(from, v);
    return scaled ? vec_mul(w, vec_set1(a->scales[r * a->s_pitch + (a->group + i * (WIDTH / 2)) / (S24_SCALE_GROUP / 4)])) : w;
}

/* `count` vectors of values, each to its own sum; they begin with a step. */
INLINE void vector_step(const unsigned rows, const unsigned count, const bool scaled, s24_dtype from, unsigned size,
                        vector_rows *a)
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
            a->sum[r][i] = vec_fma(vector_weights(scaled, from, v, a, r, i), pick(t, which), a->sum[r][i]);
        }
    }
    a->v += count * WIDTH * size;
    a->p += count * WIDTH / 4;
    a->x += 2 * WIDTH * count;
    a->group += count * (WIDTH / 2);
}

/* The last groups of each row, fewer than a step. */
INLINE void vector_rest(const unsigned rows, const bool scaled, s24_dtype from, unsigned size, size_t groups, vector_rows *a)
{
    S24_UNROLL
    for (unsigned r = 0; r < rows; r++) {
        const last_step last = load_last(a->v + r * a->v_pitch, a->p + r * a->p_pitch, groups, size);
        S24_UNROLL
        for (unsigned i = 0; i < S24_STEP_VALUES / WIDTH; i++) {
            const vec picked = pick(load_table(a->x + 2 * WIDTH * i), word_picker(load_word(last.positions), i));
            /* A step lies within the columns of one scale. */
            const vec w = vector_weights(scaled, from, last.values + i * WIDTH * size, a, r, 0);
            a->sum[r][2 + i] = vec_fma(w, picked, a->sum[r][2 + i]);
        }
    }
}

INLINE bool vector_some(const unsigned rows, const bool scaled, s24_dtype from, unsigned size, const s24_chunk *chunk,
                        size_t row, const float *x, float *sums)
{
    const size_t v_next = rows * chunk->value_pitch, p_next = rows * chunk->position_pitch;
    const size_t p_ahead = p_next > AHEAD_POSITIONS ? p_next : AHEAD_POSITIONS;
    vector_rows a = {.v = (const unsigned char *)chunk->values + row * chunk->value_pitch,
                     .p = chunk->positions + row * chunk->position_pitch,
                     .v_pitch = chunk->value_pitch, .p_pitch = chunk->position_pitch,
                     .v_ahead = v_next > AHEAD_VALUES ? v_next : AHEAD_VALUES, .x = x,
                     .scales = scaled ? chunk->scales + row * chunk->scale_pitch : NULL, .s_pitch = chunk->scale_pitch};
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
            vector_step(rows, 4, scaled, from, size, &a);
        }
        for (; some >= S24_STEP_GROUPS; some -= S24_STEP_GROUPS) {
            vector_step(rows, S24_STEP_VALUES / WIDTH, scaled, from, size, &a);
        }
        if (some) {
            vector_rest(rows, scaled, from, size, some, &a);
        }
    }
    vec total[4];
    float lanes[4];
    S24_UNROLL
    for (unsigned r = 0; r < 4; r++) {
        const vec *sum = a.sum[r < rows ? r : 0];
        total[r] = vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3]));
    }
    store4(lanes, fold4(total[0], total[1], total[2], total[3]));
    memcpy(sums + row, lanes, rows * sizeof *sums);
    return !bytes_any(bad);
}

INLINE bool vector_all(const bool scaled, s24_dtype from, unsigned size, const s24_chunk *chunk, const float *x, float *sums)
{
    bool valid = true;
    size_t r = 0;
    for (; r + VECTOR_AT_ONCE <= chunk->rows; r += VECTOR_AT_ONCE) {
        valid &= vector_some(VECTOR_AT_ONCE, scaled, from, size, chunk, r, x, sums);
    }
    for (; r < chunk->rows; r++) {
        valid &= vector_some(1, scaled, from, size, chunk, r, x, sums);
    }
    return valid;
}

INLINE bool vector(s24_dtype from, unsigned size, const s24_chunk *chunk, const float *x, float *sums)
{
    return size == 1 && chunk->scales ? vector_all(true, from, size, chunk, x, sums)
                                      : vector_all(false, from, size, chunk, x, sums);
}

#endif
