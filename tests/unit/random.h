/* Random numbers of the unit tests: the same for the same S24_SEED, in every test of a suite. */
#ifndef S24_TESTS_RANDOM_H
#define S24_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static uint64_t first_seed, seed;

/* Check's setup: each test begins at the same place. */
static inline void begin(void)
{
    seed = first_seed;
}

static inline uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline size_t below(size_t n)
{
    return (size_t)(random_bits() % n);
}

#endif
