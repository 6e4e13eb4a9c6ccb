/*
 * The body of the kernels of x86 that scale and unscale kept values, instantiated by kernels_avx2.c and kernels_avx512.c
 * between their VECTOR_BEGIN and VECTOR_END, behind measure_template.h, whose d8 they use. Each defines besides
 *
 *   d8_set(x), d8_div             eight times the same; the quotients
 *   d8_round_i8(x, q)             the nearest integers, ties to even: stored as bytes, and as they are
 *   d8_round_f8(to, x, q)         the nearest 8-bit floats, the same
 *   d8_put(to, x, dst)            eight f64, rounded to nearest, ties to even; false: one of them is beyond `to`, or NaN
 *   most_bits(in, a, b)           the greater of magnitudes of `in` bytes, in 32 bytes of each; sign bits are not set
 *
 * Quotients and products are taken in f64 as the generic code takes them, so that the last bit is the same.
 */
#ifndef S24_LIB_QUANTIZE_TEMPLATE_H
#define S24_LIB_QUANTIZE_TEMPLATE_H

typedef struct misfits {
    d8 sum, squares, most;
} misfits;

INLINE misfits misfits_begin(const s24_lanes *lanes)
{
    return (misfits){d8_load(lanes->quant_abs), d8_load(lanes->quant_sq), d8_set(0)};
}

/* Eight elements w, and what they are stored as. */
INLINE void misfits_add(s24_dtype to, d8 w, d8 stored, d8 scale, misfits *m, s24_lanes *lanes)
{
    const d8 error = d8_distance(w, d8_mul(stored, scale));
    lanes->kept_zeros += (uint64_t)__builtin_popcount(d8_zeros(stored));
    if (to == S24_I8) {
        lanes->negative_zeros += (uint64_t)__builtin_popcount(d8_zeros(w) & d8_signs(w));
    }
    m->sum = d8_add(m->sum, error);
    m->squares = d8_add(m->squares, d8_mul(error, error));
    m->most = d8_max(m->most, error);
}

/* What is not finite turns the sums into infinity or NaN. */
INLINE void misfits_end(const misfits *m, s24_lanes *lanes)
{
    double max[S24_LANES];
    d8_store(lanes->quant_abs, m->sum);
    d8_store(lanes->quant_sq, m->squares);
    d8_store(max, m->most);
    for (unsigned k = 0; k < S24_LANES; k++) {
        lanes->max_abs_error = max[k] > lanes->max_abs_error ? max[k] : lanes->max_abs_error;
        lanes->redo |= !(lanes->quant_abs[k] <= DBL_MAX);
    }
}

INLINE size_t quantize(s24_dtype from, unsigned in, s24_dtype to, const void *values, size_t n, float scale, void *stored,
                       s24_lanes *lanes)
{
    const unsigned char *src = values;
    unsigned char *q = stored;
    const d8 s = d8_set((double)scale);
    misfits m = misfits_begin(lanes);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const d8 w = d8_values(from, src + in * i), x = d8_div(w, s);
        misfits_add(to, w, to == S24_I8 ? d8_round_i8(x, q + i) : d8_round_f8(to, x, q + i), s, &m, lanes);
    }
    misfits_end(&m, lanes);
    return i;
}

INLINE size_t misfit(s24_dtype from, unsigned in, s24_dtype to, const void *values, const void *stored, size_t n, float scale,
                     s24_lanes *lanes)
{
    const unsigned char *src = values, *q = stored;
    const d8 s = d8_set((double)scale);
    misfits m = misfits_begin(lanes);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        misfits_add(to, d8_values(from, src + in * i), d8_values(to, q + i), s, &m, lanes);
    }
    misfits_end(&m, lanes);
    return i;
}

/* Of whole 32 bytes. */
INLINE size_t largest(unsigned in, const void *values, size_t n, uint64_t *key)
{
    const unsigned char *src = values;
    const size_t step = 32 / in;
    unsigned char lanes[32];
    __m256i most = _mm256_setzero_si256();
    size_t i = 0;
    const __m256i magnitude = in == 4 ? _mm256_set1_epi32(INT32_MAX) : in == 2 ? _mm256_set1_epi16(INT16_MAX)
                                                                                : _mm256_set1_epi64x(INT64_MAX);
    for (; n - i >= step; i += step) {
        most = most_bits(in, most, _mm256_and_si256(load32(src + in * i), magnitude));
    }
    _mm256_storeu_si256((__m256i *)(void *)lanes, most);
    for (size_t k = 0; k < step; k++) {
        uint64_t bits = 0;
        memcpy(&bits, lanes + in * k, in);
        *key = bits > *key ? bits : *key;
    }
    return i;
}

INLINE size_t dequantize(s24_dtype from, s24_dtype to, unsigned out, const void *stored, size_t n, float scale, void *values)
{
    const unsigned char *q = stored;
    unsigned char *dst = values;
    const d8 s = d8_set((double)scale);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        if (!d8_put(to, d8_mul(d8_values(from, q + i), s), dst + out * i)) {
            break; /* the generic code says which */
        }
    }
    return i;
}

#define QUANTIZE_KERNEL(name, from, in, to) \
    size_t name(const void *values, size_t n, float scale, void *q, s24_lanes *lanes) \
    { \
        return quantize(S24_##from, in, S24_##to, values, n, scale, q, lanes); \
    }
#define QUANTIZE_KERNELS(isa, small, name) \
    QUANTIZE_KERNEL(s24_quantize_##isa##_f64_##small, F64, 8, name) \
    QUANTIZE_KERNEL(s24_quantize_##isa##_f32_##small, F32, 4, name) \
    QUANTIZE_KERNEL(s24_quantize_##isa##_f16_##small, F16, 2, name) \
    QUANTIZE_KERNEL(s24_quantize_##isa##_bf16_##small, BF16, 2, name)

#define MISFIT_KERNEL(name, from, in, to) \
    size_t name(const void *values, const void *q, size_t n, float scale, s24_lanes *lanes) \
    { \
        return misfit(S24_##from, in, S24_##to, values, q, n, scale, lanes); \
    }
#define MISFIT_KERNELS(isa, small, name) \
    MISFIT_KERNEL(s24_misfit_##isa##_f64_##small, F64, 8, name) \
    MISFIT_KERNEL(s24_misfit_##isa##_f32_##small, F32, 4, name) \
    MISFIT_KERNEL(s24_misfit_##isa##_f16_##small, F16, 2, name) \
    MISFIT_KERNEL(s24_misfit_##isa##_bf16_##small, BF16, 2, name)

#define LARGEST_KERNEL(name, in) \
    size_t name(const void *values, size_t n, uint64_t *key) \
    { \
        return largest(in, values, n, key); \
    }

#define DEQUANTIZE_KERNEL(name, from, to, out) \
    size_t name(const void *q, size_t n, float scale, void *values) \
    { \
        return dequantize(S24_##from, S24_##to, out, q, n, scale, values); \
    }
#define DEQUANTIZE_KERNELS(isa, small, name) \
    DEQUANTIZE_KERNEL(s24_dequantize_##isa##_##small##_f64, name, F64, 8) \
    DEQUANTIZE_KERNEL(s24_dequantize_##isa##_##small##_f32, name, F32, 4) \
    DEQUANTIZE_KERNEL(s24_dequantize_##isa##_##small##_f16, name, F16, 2) \
    DEQUANTIZE_KERNEL(s24_dequantize_##isa##_##small##_bf16, name, BF16, 2)

#define SCALE_KERNELS(isa) \
    QUANTIZE_KERNELS(isa, i8, I8) \
    QUANTIZE_KERNELS(isa, f8e4m3, F8E4M3) \
    QUANTIZE_KERNELS(isa, f8e5m2, F8E5M2) \
    MISFIT_KERNELS(isa, i8, I8) \
    MISFIT_KERNELS(isa, f8e4m3, F8E4M3) \
    MISFIT_KERNELS(isa, f8e5m2, F8E5M2) \
    DEQUANTIZE_KERNELS(isa, i8, I8) \
    DEQUANTIZE_KERNELS(isa, f8e4m3, F8E4M3) \
    DEQUANTIZE_KERNELS(isa, f8e5m2, F8E5M2) \
    LARGEST_KERNEL(s24_largest_##isa##_f64, 8) \
    LARGEST_KERNEL(s24_largest_##isa##_f32, 4) \
    LARGEST_KERNEL(s24_largest_##isa##_f16, 2)

#endif
