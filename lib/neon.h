/*
 * What the kernels of NEON share. It is part of arm64: nothing has to be asked for, of the compiler or of the machine.
 *
 * Elements stay in vectors of bytes, whatever their width: most of what is done to them is bitwise, and a mask has all
 * ones or all zeros in each byte of an element. Only what compares or moves whole elements is told their width, `in`
 * bytes, a constant by the time it is compiled. (A cast between vectors of 16 bytes keeps the bits.)
 */
#ifndef S24_LIB_NEON_H
#define S24_LIB_NEON_H

#include <arm_neon.h>
#include <string.h>

#include "matmul_kernels.h"

/* The pieces of a kernel are always inlined: their dtype arguments are then constants, and branches on them vanish. */
#define INLINE static inline __attribute__((always_inline))

#define BY_WIDTH(name, operation) \
    INLINE uint8x16_t name(unsigned in, uint8x16_t a, uint8x16_t b) \
    { \
        switch (in) { \
        case 1: return operation##_u8(a, b); \
        case 2: return (uint8x16_t)operation##_u16((uint16x8_t)a, (uint16x8_t)b); \
        case 4: return (uint8x16_t)operation##_u32((uint32x4_t)a, (uint32x4_t)b); \
        default: return (uint8x16_t)operation##_u64((uint64x2_t)a, (uint64x2_t)b); \
        } \
    }

BY_WIDTH(at_least, vcgeq)
BY_WIDTH(above, vcgtq)
BY_WIDTH(same, vceqq)
BY_WIDTH(any_bit, vtstq)
BY_WIDTH(zip_low, vzip1q)
BY_WIDTH(zip_high, vzip2q)

/* An element in all places. */
INLINE uint8x16_t everywhere(unsigned in, uint64_t element)
{
    switch (in) {
    case 1: return vdupq_n_u8((uint8_t)element);
    case 2: return (uint8x16_t)vdupq_n_u16((uint16_t)element);
    case 4: return (uint8x16_t)vdupq_n_u32((uint32_t)element);
    default: return (uint8x16_t)vdupq_n_u64(element);
    }
}

INLINE bool any(uint8x16_t mask)
{
    return vmaxvq_u32((uint32x4_t)mask) != 0;
}

/* ---------------------------------------------------------------- positions */

/* The 16 nibbles of 8 bytes, the low one of each byte first. */
INLINE uint8x16_t load_nibbles(const uint8_t *positions)
{
    const uint8x8_t x = vld1_u8(positions), low = vand_u8(x, vdup_n_u8(15)), high = vshr_n_u8(x, 4);
    return vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high));
}

/* Where a nibble is two ascending indices. */
INLINE uint8x16_t ascending(uint8x16_t nibbles)
{
    return vcgtq_u8(vshrq_n_u8(nibbles, 2), vandq_u8(nibbles, vdupq_n_u8(3)));
}

/* How many of 16 masks come before the first that is not set. */
INLINE size_t leading(uint8x16_t masks)
{
    const uint8x8_t four_bits_each = vshrn_n_u16((uint16x8_t)masks, 4);
    const uint64_t others = ~vget_lane_u64((uint64x1_t)four_bits_each, 0);
    return others ? (size_t)__builtin_ctzll(others) / 4 : 16;
}

/* ---------------------------------------------------------------- to f32 */

/* Eight f16 or bf16. */
INLINE void widen_words(s24_dtype from, uint8x16_t x, float32x4_t out[2])
{
    if (from == S24_F16) {
        out[0] = vcvt_f32_f16(vget_low_f16((float16x8_t)x));
        out[1] = vcvt_high_f32_f16((float16x8_t)x);
    } else {
        out[0] = (float32x4_t)zip_low(2, vdupq_n_u8(0), x);
        out[1] = (float32x4_t)zip_high(2, vdupq_n_u8(0), x);
    }
}

/* Eight integers. */
INLINE void widen_integers(int16x8_t x, float32x4_t out[2])
{
    out[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(x)));
    out[1] = vcvtq_f32_s32(vmovl_high_s16(x));
}

/*
 * Sixteen elements of an 8-bit type. f8e5m2 is the upper half of an f16. f8e4m3, one bit further down, reads as an f16
 * that is 2^8 times too small: its bias is 7 and not 15. Its NaN, all ones, is made one of f16.
 *
 *     f16     seeeeemmmmmmmmmm
 *     f8e5m2  seeeeemm
 *     f8e4m3  s eeeemmm
 */
INLINE void widen_bytes(s24_dtype from, uint8x16_t x, float32x4_t out[4])
{
    if (from == S24_I8) {
        widen_integers(vmovl_s8(vget_low_s8((int8x16_t)x)), out);
        widen_integers(vmovl_high_s8((int8x16_t)x), out + 2);
        return;
    }
    uint8x16_t low = vdupq_n_u8(0), high = x;
    if (from == S24_F8E4M3) {
        const uint8x16_t magnitude = vdupq_n_u8(0x7f), key = vandq_u8(x, magnitude);
        low = vshlq_n_u8(x, 7);
        high = vorrq_u8(vbslq_u8(magnitude, vshrq_n_u8(key, 1), x), vshrq_n_u8(vceqq_u8(key, magnitude), 1));
    }
    widen_words(S24_F16, vzip1q_u8(low, high), out);
    widen_words(S24_F16, vzip2q_u8(low, high), out + 2);
    S24_UNROLL
    for (unsigned i = 0; from == S24_F8E4M3 && i < 4; i++) {
        out[i] = vmulq_n_f32(out[i], 256);
    }
}

#endif
