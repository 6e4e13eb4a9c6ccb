/*
 * Conversions between element types, all of them through f64, which holds every value of every other type: decode is
 * exact and encode rounds once.
 */
#include "dtype.h"

#include "error.h"

#define F64_BIAS 1023

#define MAGNITUDE_MASK(bits) ((UINT64_C(1) << ((bits) - 1)) - 1)
#define NONFINITE_IEEE(bits, e, m) (((UINT64_C(1) << (e)) - 1) << (m))
#define NONFINITE_FN(bits, e, m) MAGNITUDE_MASK(bits)
#define NONFINITE_INT(bits, e, m) UINT64_MAX
#define NONFINITE_OPAQUE(bits, e, m) UINT64_MAX

const s24_dtype_info s24_dtype_infos[S24_DTYPES] = {
    [S24_SAME] = {.id = S24_SAME, .name = "same", .st_name = "", .kind = S24_KIND_OPAQUE},
#define X(id_, name_, st, bits_, kind_, e, m, npy) \
    [S24_##id_] = {.id = S24_##id_, .name = name_, .st_name = st, .npy_type = npy, .bits = bits_, \
                   .bytes = (bits_) % 8 ? 0 : (bits_) / 8, .kind = S24_KIND_##kind_, .exponent_bits = e, \
                   .mantissa_bits = m, .magnitude_mask = MAGNITUDE_MASK(bits_), \
                   .nonfinite_key = NONFINITE_##kind_(bits_, e, m)},
    S24_DTYPE_TABLE(X)
#undef X
};

const char *s24_dtype_name(s24_dtype dtype)
{
    return s24_dtype_infos[dtype].name;
}

bool s24_dtype_parse(const char *name, s24_dtype *dtype)
{
    for (int i = S24_F64; i < S24_DTYPES; i++) {
        if (strcmp(name, s24_dtype_infos[i].name) == 0) {
            *dtype = (s24_dtype)i;
            return true;
        }
    }
    return false;
}

unsigned s24_dtype_bits(s24_dtype dtype)
{
    return s24_dtype_infos[dtype].bits;
}

bool s24_dtype_prunable(s24_dtype dtype)
{
    return dtype < S24_DTYPES && s24_dtype_infos[dtype].kind != S24_KIND_OPAQUE;
}

bool s24_dtype_convertible(s24_dtype from, s24_dtype to)
{
    if (!s24_dtype_prunable(from) || !s24_dtype_prunable(to)) {
        return false;
    }
    return from == to || s24_info(to)->bits > 8;
}

bool s24_dtype_restorable(s24_dtype stored, bool scaled, s24_dtype source, s24_dtype to)
{
    return s24_dtype_prunable(to) && (to == source || (s24_dtype_convertible(stored, to) &&
                                                       !(scaled && s24_info(to)->bits == 8)));
}

bool s24_dtype_scaled(s24_dtype from, s24_dtype to)
{
    return s24_dtype_prunable(from) && s24_dtype_prunable(to) && from != to && s24_info(from)->kind != S24_KIND_INT &&
           s24_info(to)->bits == 8;
}

static double f64_from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t f64_to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

double s24_decode(const s24_dtype_info *info, uint64_t bits)
{
    if (info->kind == S24_KIND_INT) {
        return bits < 128 ? (double)bits : (double)bits - 256;
    }
    if (info->bits == 64) {
        return f64_from_bits(bits);
    }
    const unsigned m = info->mantissa_bits;
    const uint64_t sign = bits >> (info->bits - 1) << 63;
    const uint64_t key = bits & info->magnitude_mask;
    const uint64_t mantissa = key & ((UINT64_C(1) << m) - 1);
    const uint64_t bias = (UINT64_C(1) << (info->exponent_bits - 1)) - 1;
    if (key >= info->nonfinite_key) {
        const uint64_t payload = info->kind == S24_KIND_FN ? UINT64_C(1) << 51 : mantissa << (52 - m);
        return f64_from_bits(sign | UINT64_C(0x7ff) << 52 | payload);
    }
    if (key >> m == 0) { /* subnormal: mantissa * 2^(1 - bias - m), an exact product */
        const double unit = f64_from_bits((F64_BIAS + 1 - bias - m) << 52);
        const double magnitude = (double)mantissa * unit;
        return sign ? -magnitude : magnitude;
    }
    return f64_from_bits(sign | ((key >> m) + F64_BIAS - bias) << 52 | mantissa << (52 - m));
}

uint64_t s24_encode(const s24_dtype_info *info, double x, bool *overflow)
{
    const uint64_t bits = f64_to_bits(x);
    if (info->kind == S24_KIND_INT) {
        *overflow |= !(x >= -128 && x <= 127 && x == (double)(int)x); /* no rounding: that needs scales */
        return *overflow ? 0 : (uint64_t)(int64_t)x & 0xff;
    }
    if (info->bits == 64) {
        return bits;
    }
    const unsigned m = info->mantissa_bits;
    const uint64_t sign = bits >> 63 << (info->bits - 1);
    const uint64_t magnitude = bits & MAGNITUDE_MASK(64);
    if (magnitude >= UINT64_C(0x7ff) << 52) { /* infinity, or NaN made quiet with the upper payload bits kept */
        const uint64_t payload = (magnitude & ((UINT64_C(1) << 52) - 1)) >> (52 - m);
        const bool nan = magnitude > UINT64_C(0x7ff) << 52;
        if (info->kind == S24_KIND_FN) {
            *overflow |= !nan;
            return sign | info->nonfinite_key;
        }
        return sign | info->nonfinite_key | (nan ? payload | UINT64_C(1) << (m - 1) : 0);
    }
    if (magnitude >> 52 == 0) {
        return sign; /* an f64 subnormal is far below half of the smallest value of any other type */
    }
    /* x = significand * 2^(exponent - 52); a subnormal result keeps fewer bits of it. */
    const int bias = (1 << (info->exponent_bits - 1)) - 1;
    const int exponent = (int)(magnitude >> 52) - F64_BIAS;
    const uint64_t significand = (magnitude & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    const int below = exponent < 1 - bias ? 1 - bias - exponent : 0;
    const int shift = 52 - (int)m + below;
    if (shift > 53) {
        return sign; /* below half of the smallest subnormal */
    }
    const uint64_t half = UINT64_C(1) << (shift - 1);
    const uint64_t odd = significand >> shift & 1;
    const uint64_t rounded = (significand + half - 1 + odd) >> shift;
    /* A normal result carries its leading bit into the exponent field, so that rounding up to a power of two works. */
    const uint64_t key = below ? rounded : rounded + ((uint64_t)(exponent + bias - 1) << m);
    if (key >= info->nonfinite_key) {
        *overflow = true;
        return sign | info->nonfinite_key;
    }
    return sign | key;
}

/* Sixteen-bit floats as f32, in loops that compilers make vectors of; false: one of them is not finite. */
static bool widen_all(s24_dtype from, const unsigned char *src, unsigned char *dst, size_t n)
{
    uint32_t nonfinite = 0;
    const unsigned up = from == S24_F16 ? 13 : 16;
    const uint32_t limit = (uint32_t)s24_info(from)->nonfinite_key;
    /* A half's exponent is 112 less than that of an f32; multiplying mends that of subnormal ones, too. */
    const float mend = from == S24_F16 ? 0x1p112f : 1;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, src + 2 * i, sizeof bits);
        const uint32_t key = bits & 0x7fffu, sign = (uint32_t)(bits >> 15) << 31, wide = key << up | sign;
        float x;
        memcpy(&x, &wide, sizeof x);
        x *= mend;
        memcpy(dst + 4 * i, &x, sizeof x);
        nonfinite |= key >= limit;
    }
    return !nonfinite;
}

s24_status s24_dtype_convert(s24_dtype from, const void *src, s24_dtype to, void *dst, size_t n, size_t *at,
                             s24_error *err)
{
    if (!s24_dtype_convertible(from, to)) {
        return s24_fail(err, S24_ERR_USAGE, "cannot convert %s to %s without scales", s24_dtype_name(from),
                        s24_dtype_name(to));
    }
    const s24_dtype_info *in = s24_info(from);
    const s24_dtype_info *out = s24_info(to);
    if (from == to) {
        memmove(dst, src, n * in->bytes);
        return S24_OK;
    }
    if (to == S24_F32 && in->bytes == 2 && widen_all(from, src, dst, n)) {
        return S24_OK;
    }
    for (size_t i = 0; i < n; i++) {
        const double x = s24_decode(in, s24_load(src, in->bytes, i));
        bool overflow = false;
        s24_store(dst, out->bytes, i, s24_encode(out, x, &overflow));
        if (overflow) {
            if (at) {
                *at = i;
            }
            return s24_fail(err, S24_ERR_DATA, "element %zu (%g) is beyond the range of %s", i, x, out->name);
        }
    }
    return S24_OK;
}
