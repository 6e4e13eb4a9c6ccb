/*
 * Element types: one row each in S24_DTYPE_TABLE, and the three things that 2:4 asks of an element: its key (the
 * magnitude as an unsigned integer), its value as f64, and the bits of a given f64.
 */
#ifndef S24_LIB_DTYPE_H
#define S24_LIB_DTYPE_H

#include <string.h>

#include "s24.h"

typedef enum s24_kind {
    S24_KIND_IEEE,  /* sign, exponent, mantissa; the largest exponent is infinity and NaN */
    S24_KIND_FN,    /* "finite": no infinity, NaN is all ones (OCP 8-bit floating point, E4M3) */
    S24_KIND_INT,   /* two's complement */
    S24_KIND_OPAQUE /* carried, never computed with */
} s24_kind;

/*     id, name, name in safetensors, bits, kind, exponent bits, mantissa bits, type letter and size in .npy (or NULL) */
#define S24_DTYPE_TABLE(X) \
    X(F64, "f64", "F64", 64, IEEE, 11, 52, "f8") \
    X(F32, "f32", "F32", 32, IEEE, 8, 23, "f4") \
    X(F16, "f16", "F16", 16, IEEE, 5, 10, "f2") \
    X(BF16, "bf16", "BF16", 16, IEEE, 8, 7, "V2") \
    X(F8E4M3, "f8e4m3", "F8_E4M3", 8, FN, 4, 3, "V1") \
    X(F8E5M2, "f8e5m2", "F8_E5M2", 8, IEEE, 5, 2, "f1") \
    X(I8, "i8", "I8", 8, INT, 0, 7, "i1") \
    X(I64, "i64", "I64", 64, OPAQUE, 0, 0, "i8") \
    X(I32, "i32", "I32", 32, OPAQUE, 0, 0, "i4") \
    X(I16, "i16", "I16", 16, OPAQUE, 0, 0, "i2") \
    X(U64, "u64", "U64", 64, OPAQUE, 0, 0, "u8") \
    X(U32, "u32", "U32", 32, OPAQUE, 0, 0, "u4") \
    X(U16, "u16", "U16", 16, OPAQUE, 0, 0, "u2") \
    X(U8, "u8", "U8", 8, OPAQUE, 0, 0, "u1") \
    X(BOOL, "bool", "BOOL", 8, OPAQUE, 0, 0, "b1") \
    X(C64, "c64", "C64", 64, OPAQUE, 0, 0, "c8") \
    X(F8E8M0, "f8e8m0", "F8_E8M0", 8, OPAQUE, 0, 0, NULL) \
    X(F6E2M3, "f6e2m3", "F6_E2M3", 6, OPAQUE, 0, 0, NULL) \
    X(F6E3M2, "f6e3m2", "F6_E3M2", 6, OPAQUE, 0, 0, NULL) \
    X(F4, "f4", "F4", 4, OPAQUE, 0, 0, NULL)

typedef struct s24_dtype_info {
    s24_dtype id;
    const char *name;
    const char *st_name;      /* in a safetensors header */
    const char *npy_type;     /* in a .npy descr, without the byte order */
    unsigned bits;
    unsigned bytes;           /* 0 where an element is not whole bytes */
    s24_kind kind;
    unsigned exponent_bits, mantissa_bits;
    uint64_t magnitude_mask;  /* floats: the bits without the sign */
    uint64_t nonfinite_key;   /* keys from here on are infinity or NaN */
} s24_dtype_info;

extern const s24_dtype_info s24_dtype_infos[S24_DTYPES];

static inline const s24_dtype_info *s24_info(s24_dtype dtype)
{
    return &s24_dtype_infos[dtype];
}

/* Whether s24_dtype_convert does `from` -> `to`. */
bool s24_dtype_convertible(s24_dtype from, s24_dtype to);

/*
 * Whether values stored as `stored`, with scales or without, are given back as `to`: of the source dtype they came, and so
 * they go back; to others as s24_dtype_convert does it, and what has scales to more than 8 bits.
 */
bool s24_dtype_restorable(s24_dtype stored, bool scaled, s24_dtype source, s24_dtype to);

/* The bits of element i of an array of `bytes`-wide elements, and the reverse. The array may be unaligned. */
static inline uint64_t s24_load(const void *array, unsigned bytes, size_t i)
{
    const unsigned char *p = (const unsigned char *)array + i * bytes;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (bytes) {
    case 1: return *p;
    case 2: memcpy(&u16, p, 2); return u16;
    case 4: memcpy(&u32, p, 4); return u32;
    default: memcpy(&u64, p, 8); return u64;
    }
}

static inline void s24_store(void *array, unsigned bytes, size_t i, uint64_t bits)
{
    unsigned char *p = (unsigned char *)array + i * bytes;
    uint16_t u16 = (uint16_t)bits;
    uint32_t u32 = (uint32_t)bits;
    switch (bytes) {
    case 1: *p = (unsigned char)bits; break;
    case 2: memcpy(p, &u16, 2); break;
    case 4: memcpy(p, &u32, 4); break;
    default: memcpy(p, &bits, 8); break;
    }
}

/*
 * The magnitude as an unsigned integer: a greater key is a greater |x|. For floats the bits without the sign, which
 * IEEE 754 orders like the values, infinity and NaN above; for i8 the absolute value, |-128| = 128.
 */
static inline uint64_t s24_key(const s24_dtype_info *info, uint64_t bits)
{
    if (info->kind == S24_KIND_INT) {
        return bits < 128 ? bits : 256 - bits;
    }
    return bits & info->magnitude_mask;
}

/* The value as f64: exact for every prunable dtype. */
double s24_decode(const s24_dtype_info *info, uint64_t bits);

/*
 * The bits of x rounded to nearest, ties to even. *overflow is set (never cleared) when a finite x is out of range, and
 * for i8 also when x is no integer.
 */
uint64_t s24_encode(const s24_dtype_info *info, double x, bool *overflow);

#endif
