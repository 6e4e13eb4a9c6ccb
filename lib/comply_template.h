/*
 * The body of the compliance kernels of x86, instantiated by kernels_avx2.c and kernels_avx512.c between their
 * VECTOR_BEGIN and VECTOR_END, which also define the function that this file only declares.
 *
 * Sixteen groups are looked at together: a bit an element, one where it is unequal to zero. What is left are a few
 * operations on 64 bits, so that the loop waits for memory. Nobody asks here which group it is: groups may come in any
 * order, as long as each is four adjacent bits.
 *
 *     d c b a     of each group
 *     (a & b & (c | d)) | ((a | b) & c & d)     three or four of them
 */
#ifndef S24_LIB_COMPLY_TEMPLATE_H
#define S24_LIB_COMPLY_TEMPLATE_H

/* Which of 64 elements are unequal to zero; -0.0 is zero. in: bytes of an element. */
INLINE uint64_t nonzero64(s24_dtype from, unsigned in, const unsigned char *src);

INLINE size_t comply(s24_dtype from, unsigned in, const void *dense, size_t groups, uint64_t *broken)
{
    const unsigned char *src = dense;
    uint64_t n = 0;
    size_t g = 0;
    for (; groups - g >= 16; g += 16) {
        prefetch_ahead(src + 4 * in * g, 64 * in);
        const uint64_t x = nonzero64(from, in, src + 4 * in * g);
        const uint64_t both = x & x >> 1, either = x | x >> 1; /* of a pair: bits 0 and 2 of each group */
        n += (uint64_t)__builtin_popcountll(((both & either >> 2) | (either & both >> 2)) & EVERY_GROUP(1));
    }
    *broken += n;
    return g;
}

/* The other thing that zeros are counted for. */
INLINE size_t zeros(s24_dtype from, unsigned in, const void *data, size_t n, uint64_t *count)
{
    const unsigned char *src = data;
    uint64_t nonzero = 0;
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        prefetch_ahead(src + in * i, 64 * in);
        nonzero += (uint64_t)__builtin_popcountll(nonzero64(from, in, src + in * i));
    }
    *count += i - nonzero;
    return i;
}

#define ZEROS_KERNEL(name, from, in) \
    size_t name(const void *src, size_t n, uint64_t *count) \
    { \
        return zeros(S24_##from, in, src, n, count); \
    }

#define COMPLY_KERNEL(name, from, in) \
    size_t name(const void *src, size_t groups, uint64_t *broken) \
    { \
        return comply(S24_##from, in, src, groups, broken); \
    }

#endif
