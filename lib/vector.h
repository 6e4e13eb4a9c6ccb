/*
 * What the kernels of x86 share.
 *
 * They are compiled for an instruction set that the rest of the library is not: everything between VECTOR_BEGIN and
 * VECTOR_END is, whatever the command line says. (-m flags for whole files would also apply to inline functions of
 * headers, of which the linker may pick any copy for all callers.)
 */
#ifndef S24_LIB_VECTOR_H
#define S24_LIB_VECTOR_H

#include <float.h>
#include <immintrin.h>
#include <string.h>

#include "kernels.h"

#define VECTOR_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define VECTOR_BEGIN(features) \
    VECTOR_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define VECTOR_END VECTOR_PRAGMA(clang attribute pop)
#else
#define VECTOR_BEGIN(features) VECTOR_PRAGMA(GCC push_options) VECTOR_PRAGMA(GCC target(features))
#define VECTOR_END VECTOR_PRAGMA(GCC pop_options)
#endif

/*
 * What lib/cpu.c asks for before it says S24_ISA_AVX2 and S24_ISA_AVX512; keep them equal. It does not ask for prfchw,
 * an instruction that every x86-64 processor takes, if only to do nothing.
 */
#define VECTOR_AVX2 "avx2,bmi,bmi2,f16c,fma,popcnt,prfchw"
#define VECTOR_AVX512 \
    "avx2,bmi,bmi2,f16c,fma,popcnt,prfchw,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vnni"

/* The pieces of a kernel are always inlined: their dtype arguments are then constants, and branches on them vanish. */
#define INLINE static inline __attribute__((always_inline))

VECTOR_BEGIN(VECTOR_AVX2)

INLINE __m128i load8(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}

INLINE __m128i load16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

INLINE __m256i load32(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

VECTOR_END

/*
 * Asks for what lies ahead of `bytes` at p: the hardware's own prefetching stops at the end of a page. From memory
 * it made pruning 1.3 to 1.5 times as fast. The buffers for lines on their way are few: calls are best spread evenly.
 */
#define PREFETCH_BYTES 2048

INLINE void prefetch_ahead(const void *p, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)((uintptr_t)p + PREFETCH_BYTES + i), _MM_HINT_T0);
    }
}

/*
 * Where one stream is read and another is written, the same for both. What is read: lines of four pages by turns, those
 * after the four that p lies in, so that the hardware's prefetching runs in four pages at once, and has begun before
 * their first lines are wanted. What is written: to own it. From memory to memory pruning is 1.1 to 1.2 times as fast as
 * with prefetch_ahead; either of the two alone gains next to nothing. bytes of what is read: 64, or twice, four or eight
 * times that, in all calls for a stream.
 */
#define PAGE_BYTES 4096
#define PAGES_BYTES (4 * PAGE_BYTES)

INLINE void prefetch_pages(const void *p, unsigned bytes)
{
    const uintptr_t at = (uintptr_t)p % PAGES_BYTES, line = at / bytes * (bytes / 64);
    const uintptr_t next = (uintptr_t)p - at + PAGES_BYTES + line % 4 * PAGE_BYTES + line / 4 * 64;
    for (unsigned i = 0; i < bytes / 64; i++) {
        _mm_prefetch((const char *)(next + i % 4 * PAGE_BYTES + i / 4 * 64), _MM_HINT_T1);
    }
}

#define WRITE_AHEAD_BYTES 1024

INLINE void prefetch_written(void *p, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 64) {
        __builtin_prefetch((const char *)((uintptr_t)p + WRITE_AHEAD_BYTES + i), 1);
    }
}

/* 64 bits, one an element or four a group; a nibble repeated in all groups. */
#define EVERY_GROUP(nibble) (UINT64_C(0x1111111111111111) * (nibble))

/*
 * Position nibbles p0 | p1 << 2 from keep nibbles k3 k2 k1 k0 that have two bits set, 16 groups at once:
 * p0 is 1 when k1 is the first, 2 when neither k0 nor k1 is set; p1 is 3 with k3, otherwise 2 with k2, otherwise 1.
 */
INLINE uint64_t positions_of(uint64_t keep)
{
    const uint64_t inverse = ~keep;
    const uint64_t p0_low = keep >> 1 & inverse & EVERY_GROUP(1);
    const uint64_t p0_high = inverse & inverse << 1 & EVERY_GROUP(2);
    const uint64_t p1_low = (keep >> 1 | inverse) & EVERY_GROUP(4);
    const uint64_t p1_high = (keep | keep << 1) & EVERY_GROUP(8);
    return p0_low | p0_high | p1_low | p1_high;
}

/*
 * Keep nibbles from position nibbles, p0 the low two bits and p1 the high two, 16 groups at once: bit j is set where
 * p0 or p1 is j. p0 is never 3 and p1 never 0.
 */
INLINE uint64_t keep_of(uint64_t p)
{
    const uint64_t inverse = ~p;
    const uint64_t k0 = inverse & inverse >> 1 & EVERY_GROUP(1);
    const uint64_t k1 = ((p << 1 & inverse) | (p >> 1 & inverse >> 2)) & EVERY_GROUP(2);
    const uint64_t k2 = ((p << 1 & inverse << 2) | (p >> 1 & inverse)) & EVERY_GROUP(4);
    const uint64_t k3 = p & p << 1 & EVERY_GROUP(8);
    return k0 | k1 | k2 | k3;
}

/*
 * i8: sums of integers are exact below 2^53, in whatever order and type: no f64 is needed, and no splitting. What is not
 * kept of a vector is made 0 in it, and the reverse. Squares are those of unsigned bytes, multiplied as unsigned by
 * signed ones, so that for 128 the negative square is added; that is taken back here.
 *
 * The bits of 64 elements, of which the lowest are `real`, the others 0: what is kept, what is 0, what is -128.
 */
INLINE void count_integers(s24_lanes *lanes, uint64_t keep, uint64_t zero, uint64_t lowest, uint64_t real)
{
    uint64_t broken = ~(zero | keep);
    broken |= broken >> 1;
    broken |= broken >> 2;
    lanes->broken_groups += (uint64_t)__builtin_popcountll(broken & EVERY_GROUP(1));
    lanes->kept_zeros += (uint64_t)__builtin_popcountll(keep & zero & real);
    if (lowest) {
        lanes->kept_sq[0] += 2 * 128 * 128 * __builtin_popcountll(lowest & keep);
        lanes->pruned_sq[0] += 2 * 128 * 128 * __builtin_popcountll(lowest & ~keep);
    }
}

/* Chunks of 64 before sums of squares in lanes of 32 bits overflow: each adds at most 2^17 to one of them. */
#define INTEGER_CHUNKS 8192

/*
 * Tables of shuffles, a row for each value of a byte: the two groups of its nibbles. An entry says which lane goes
 * there, or as PAIR, for lanes twice as wide as what is shuffled, which two.
 */
#define LOW(byte) ((byte) & 15)
#define HIGH(byte) ((byte) >> 4)
#define SINGLE(i) (i)
#define PAIR(i) 2 * (i), 2 * (i) + 1

/* The first and the second of the two bits set in a nibble; of other nibbles something below 4. */
#define FIRST(nibble) ((nibble) & 1 ? 0 : (nibble) & 2 ? 1 : 2)
#define SECOND(nibble) ((nibble) & 8 ? 3 : (nibble) & 4 ? 2 : 1)

#define BYTES4(X, b) X(b) X((b) + 1) X((b) + 2) X((b) + 3)
#define BYTES16(X, b) BYTES4(X, b) BYTES4(X, (b) + 4) BYTES4(X, (b) + 8) BYTES4(X, (b) + 12)
#define BYTES64(X, b) BYTES16(X, b) BYTES16(X, (b) + 16) BYTES16(X, (b) + 32) BYTES16(X, (b) + 48)
#define BYTES256(X) BYTES64(X, 0) BYTES64(X, 64) BYTES64(X, 128) BYTES64(X, 192)

VECTOR_BEGIN(VECTOR_AVX512)

/* 64 bytes: a bit for each element that has one of the bits of its mask. */
INLINE uint64_t nonzero_bytes(s24_dtype from, unsigned in, const unsigned char *src)
{
    const __m512i x = _mm512_loadu_si512(src);
    switch (in) {
    case 1: return _mm512_test_epi8_mask(x, _mm512_set1_epi8(from == S24_I8 ? -1 : INT8_MAX));
    case 2: return _mm512_test_epi16_mask(x, _mm512_set1_epi16(INT16_MAX));
    case 4: return _mm512_test_epi32_mask(x, _mm512_set1_epi32(INT32_MAX));
    default: return _mm512_test_epi64_mask(x, _mm512_set1_epi64(INT64_MAX));
    }
}

/* Which of 64 elements are unequal to zero; -0.0 is zero. in: bytes of an element. */
INLINE uint64_t nonzero_bits(s24_dtype from, unsigned in, const unsigned char *src)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < in; i++) {
        bits |= nonzero_bytes(from, in, src + 64 * i) << 64 / in * i;
    }
    return bits;
}

VECTOR_END

#endif
