/*
 * Splitting with AVX2: eight elements, two groups, by a table of shuffles that their keep bits pick.
 *
 *     a  B  C  d | E  f  g  H      capitals: the two kept of each group
 *     B  C  E  H   a  d  f  g      split: keep bits 1001 0110, from the right
 */
#ifndef S24_LIB_SPLIT_H
#define S24_LIB_SPLIT_H

#include "vector.h"

/* By keep byte: where each lane comes from. A word is two bytes, and an f64 two lanes of 32 bits. */
#define SPLIT(L, b) \
    {L(FIRST(LOW(b))), L(SECOND(LOW(b))), L(4 + FIRST(HIGH(b))), L(4 + SECOND(HIGH(b))), \
     L(FIRST(15 - LOW(b))), L(SECOND(15 - LOW(b))), L(4 + FIRST(15 - HIGH(b))), L(4 + SECOND(15 - HIGH(b)))},
#define SPLIT_LANES(b) SPLIT(SINGLE, b)
#define SPLIT_WORDS(b) SPLIT(PAIR, b)
#define SPLIT_DOUBLES(n) {PAIR(FIRST(n)), PAIR(SECOND(n)), PAIR(FIRST(15 - (n))), PAIR(SECOND(15 - (n)))},

/* 6 KiB for each instruction set, of which the 36 rows with two bits in each nibble are ever used, 0.9 KiB. */
static const uint8_t split_lanes[256][8] = {BYTES256(SPLIT_LANES)};
static const uint8_t split_words[256][16] = {BYTES256(SPLIT_WORDS)};
static const uint8_t split_doubles[16][8] = {BYTES16(SPLIT_DOUBLES, 0)}; /* of one group */

VECTOR_BEGIN(VECTOR_AVX2)

INLINE __m256 split_pair(const unsigned char *src, uint8_t keep)
{
    const __m256i order = _mm256_cvtepu8_epi32(load8(split_lanes[keep]));
    return _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(load32(src), order));
}

INLINE __m256d split_group(const unsigned char *src, unsigned keep)
{
    const __m256i order = _mm256_cvtepu8_epi32(load8(split_doubles[keep]));
    return _mm256_castsi256_pd(_mm256_permutevar8x32_epi32(load32(src), order));
}

/* Four kept, then four pruned, of eight 16-bit elements; the same of eight bytes. */
INLINE __m128i split_eight_words(const unsigned char *src, uint8_t keep)
{
    return _mm_shuffle_epi8(load16(src), load16(split_words[keep]));
}

INLINE __m128i split_eight_bytes(const unsigned char *src, uint8_t keep)
{
    return _mm_shuffle_epi8(load8(src), load8(split_lanes[keep]));
}

VECTOR_END

#endif
