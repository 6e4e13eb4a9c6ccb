/*
 * The body of the kernels that choose patterns of blocks: a block a lane. Instantiated by kernels_avx2.c and
 * kernels_avx512.c between their VECTOR_BEGIN and VECTOR_END. Each defines before it includes this file
 *
 *   BLOCK_LANES                   f64 of a vector: 4 or 8
 *   vd, vd_load, vd_store, vd_add, vd_max, vd_set1
 *   vd_choose(greater, than, a, b)    a where greater > than, elsewhere b
 *
 *      lanes       block 0   block 1   block 2 ...
 *      scores[0]    a00       b00       c00          six sums of pairs a row, 36 a pair of rows, and of those
 *      scores[1]    a01       b01       c01          90 sums, each compared with the best so far
 *
 * All 90 are summed: to take the best of the lower rows by what columns are left would halve the work, but of sums that
 * rounding makes equal it would not always find the one with the lowest number. Vectors take turns, so that no
 * comparison waits for the one before it.
 */
#ifndef S24_LIB_BLOCKS_TEMPLATE_H
#define S24_LIB_BLOCKS_TEMPLATE_H

#define BLOCK_VECTORS (S24_BLOCKS / BLOCK_LANES)

/* Of two rows: sums of every pair of the upper with every pair of the lower one. */
INLINE void sum_two_rows(const double scores[8][S24_BLOCKS], unsigned v, vd sums[36])
{
    static const uint8_t pairs[6][2] = {{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}};
    vd row[2][6];
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned p = 0; p < 6; p++) {
            row[i][p] = vd_add(vd_load(&scores[4 * i + pairs[p][0]][v * BLOCK_LANES]),
                               vd_load(&scores[4 * i + pairs[p][1]][v * BLOCK_LANES]));
        }
    }
    for (unsigned a = 0; a < 6; a++) {
        for (unsigned b = 0; b < 6; b++) {
            sums[6 * a + b] = vd_add(row[0][a], row[1][b]);
        }
    }
}

#define BLOCKS_KERNEL(name) \
    void name(const uint8_t pairs[][2], const double scores[16][S24_BLOCKS], uint8_t best[S24_BLOCKS]) \
    { \
        vd upper[BLOCK_VECTORS][36], lower[BLOCK_VECTORS][36], most[BLOCK_VECTORS], number[BLOCK_VECTORS]; \
        for (unsigned v = 0; v < BLOCK_VECTORS; v++) { \
            sum_two_rows(scores, v, upper[v]); \
            sum_two_rows(scores + 8, v, lower[v]); \
            most[v] = vd_set1(-1); \
            number[v] = vd_set1(0); \
        } \
        for (unsigned p = 0; p < 90; p++) { \
            const vd this = vd_set1(p); \
            for (unsigned v = 0; v < BLOCK_VECTORS; v++) { \
                const vd sum = vd_add(upper[v][pairs[p][0]], lower[v][pairs[p][1]]); \
                number[v] = vd_choose(sum, most[v], this, number[v]); \
                most[v] = vd_max(sum, most[v]); \
            } \
        } \
        double numbers[S24_BLOCKS]; \
        for (unsigned v = 0; v < BLOCK_VECTORS; v++) { \
            vd_store(numbers + v * BLOCK_LANES, number[v]); \
        } \
        for (unsigned b = 0; b < S24_BLOCKS; b++) { \
            best[b] = (uint8_t)numbers[b]; \
        } \
    }

#endif
