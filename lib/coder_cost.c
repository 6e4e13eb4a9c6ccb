/* What symbols cost, in integers, since what is chosen by it must not depend on a machine's logarithm. */
#include "coder_parts.h"

/* 65536 log2(1 + i / 64) */
static const uint32_t log_steps[65] = {
    0,     1466,  2909,  4331,  5732,  7112,  8473,  9814,  11136, 12440, 13727, 14996, 16248,
    17484, 18704, 19909, 21098, 22272, 23433, 24579, 25711, 26830, 27936, 29029, 30109, 31178,
    32234, 33279, 34312, 35334, 36346, 37346, 38336, 39316, 40286, 41246, 42196, 43137, 44068,
    44990, 45904, 46809, 47705, 48593, 49472, 50344, 51207, 52063, 52911, 53751, 54584, 55410,
    56229, 57040, 57845, 58643, 59434, 60219, 60997, 61769, 62534, 63294, 64047, 64794, 65536,
};

uint32_t s24_log2(uint32_t n)
{
    const unsigned whole = 31 - (unsigned)__builtin_clz(n);
    const uint32_t rest = n << (31 - whole) << 1; /* what follows the leading bit, at the left */
    const uint32_t step = rest >> 26, within = rest >> 10 & 0xffff;
    const uint32_t low = log_steps[step];
    return (whole << 16) + low + (((log_steps[step + 1] - low) * within) >> 16);
}

uint64_t s24_n_log_n(uint32_t n)
{
    return n ? (uint64_t)n * s24_log2(n) : 0;
}

uint64_t s24_entropy(const uint32_t *counts, unsigned symbols)
{
    uint32_t total = 0;
    uint64_t sum = 0;
    for (unsigned s = 0; s < symbols; s++) {
        total += counts[s];
        sum += s24_n_log_n(counts[s]);
    }
    const uint64_t all = s24_n_log_n(total);
    return all > sum ? all - sum : 0;
}
