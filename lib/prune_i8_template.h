/*
 * The loop of the kernels that prune i8, instantiated by prune_avx2.c and prune_avx512.c between their VECTOR_BEGIN and
 * VECTOR_END, after the type and the two functions that it needs: integers, zeroed before they are added to; prune_chunk_i8,
 * of 64 elements; integers_end.
 */
#ifndef S24_LIB_PRUNE_I8_TEMPLATE_H
#define S24_LIB_PRUNE_I8_TEMPLATE_H

/* The last chunk of a row that has less than 16 groups: of zeros where it has none. */
INLINE void prune_rest_i8(const unsigned char *src, size_t groups, unsigned char *values, uint8_t *positions, integers *s,
                          s24_lanes *lanes)
{
    unsigned char padded[64] = {0}, stored[32];
    uint64_t nibbles;
    memcpy(padded, src, 4 * groups);
    prune_chunk_i8(padded, stored, (uint8_t *)&nibbles, (UINT64_C(1) << 4 * groups) - 1, s, lanes);
    memcpy(values, stored, 2 * groups);
    nibbles &= (UINT64_C(1) << 4 * groups) - 1;
    memcpy(positions, &nibbles, (groups + 1) / 2);
}

INLINE size_t prune_i8(const unsigned char *src, size_t groups, unsigned char *values, uint8_t *positions, s24_lanes *lanes)
{
    size_t g = 0;
    while (g < groups) {
        integers s = {0};
        for (size_t i = 0; i < INTEGER_CHUNKS && groups - g >= 16; i++, g += 16) {
            prefetch_pages(src + 4 * g, 64);
            if (i % 2 == 0) {
                prefetch_written(values + 2 * g, 64);
            }
            prune_chunk_i8(src + 4 * g, values + 2 * g, positions + g / 2, UINT64_MAX, &s, lanes);
        }
        if (groups - g < 16) {
            prune_rest_i8(src + 4 * g, groups - g, values + 2 * g, positions + g / 2, &s, lanes);
            g = groups;
        }
        integers_end(&s, lanes);
    }
    return groups;
}

#define PRUNE_I8_KERNEL(name) \
    size_t name(const void *src, size_t groups, void *values, uint8_t *positions, s24_lanes *lanes) \
    { \
        return prune_i8(src, groups, values, positions, lanes); \
    }

#endif
