/*
 * The product of S24_COMPUTE_I8 on AVX-512 VNNI, by dot products. The picture is of one step: 128 elements of a row, 64 kept
 * values in one register.
 *
 *   positions  8 words of 16 bits, one to each lane of 64                          (vpmovzxwq)
 *   >> 2i      byte i of a lane has position i in its lowest two bits              (vpmultishiftqb)
 *   index      (byte & 3) | 4 * (i / 2)                                            (vpternlogd): within half the step
 *   B          the bytes of the lower half of the step for the lower 32 values, of the upper half for the others  (vpermb)
 *
 * VPDPBUSD multiplies unsigned bytes with signed ones and adds four products in i32, modulo 2^32: q + 128 is packed, and
 * 128 times the sum of the weights subtracted. The whole is within i32, and so is right whatever overflowed before.
 */
#include "matmul_i8.h"

#if S24_X86

#include "matmul_i8_avx512.h"
#include "panel.h"

#define STEP_VALUES 64
#define STEP_POSITIONS 16
#define COLS 8       /* at a time, at most: their registers, and 32 KiB of B for 4096 k */

VECTOR_BEGIN(VECTOR_AVX512)

void s24_i8_measure_avx512(const float *b, size_t ldb, size_t rows, size_t cols, uint32_t *most)
{
    const __m512i sign = _mm512_set1_epi32(INT32_MIN);
    for (size_t k = 0; k < rows; k++, b += ldb) {
        for (size_t j = 0; j < cols; j += 16) {
            const __mmask16 there = (__mmask16)(cols - j < 16 ? (1u << (cols - j)) - 1 : 0xffff);
            const __m512i x = _mm512_andnot_si512(sign, _mm512_maskz_loadu_epi32(there, b + j));
            const __m512i larger = _mm512_max_epu32(x, _mm512_maskz_loadu_epi32(there, most + j));
            _mm512_mask_storeu_epi32(most + j, there, larger);
        }
    }
}

/* One column: q + 128. */
static void pack(const float *b, size_t ldb, size_t rows, size_t cols, const float *divisors, unsigned char *to)
{
    const __m512 divisor = _mm512_set1_ps(*divisors), reciprocal = _mm512_div_ps(_mm512_set1_ps(1), divisor);
    (void)cols; /* there is one */
    for (size_t k = 0; k < S24_I8_STEP; k += 16, to += 16) {
        float x[16];
        for (size_t i = 0; i < 16; i++) {
            x[i] = k + i < rows ? b[(k + i) * ldb] : 0;
        }
        const __m128i q = _mm512_cvtepi32_epi8(quantize(_mm512_loadu_ps(x), divisor, reciprocal));
        _mm_storeu_si128((__m128i *)(void *)to, _mm_xor_si128(q, _mm_set1_epi8(INT8_MIN)));
    }
}

INLINE __m512i step_index(__m128i positions)
{
    const __m512i shift = _mm512_set1_epi64(0x0e0c0a0806040200);
    const __m512i base = _mm512_broadcast_i64x4(
        _mm256_setr_epi64x(0x0c0c080804040000, 0x1c1c181814141010, 0x2c2c282824242020, 0x3c3c383834343030));
    const __m512i bytes = _mm512_multishift_epi64_epi8(shift, _mm512_cvtepu16_epi64(positions));
    return _mm512_ternarylogic_epi32(bytes, _mm512_set1_epi8(3), base, 0xea); /* (a & b) | c */
}

INLINE void add_step(const unsigned cols, __m512i weights, __m128i positions, const unsigned char *q, size_t pitch,
                     __m512i *weight_sum, __m512i sums[COLS])
{
    const __m512i index = step_index(positions);
    *weight_sum = _mm512_dpbusd_epi32(*weight_sum, _mm512_set1_epi8(INT8_MIN), weights);
    S24_UNROLL
    for (unsigned j = 0; j < cols; j++) {
        const __m512i low = _mm512_permutexvar_epi8(index, _mm512_loadu_si512(q + j * pitch));
        const __m512i met = _mm512_mask_permutexvar_epi8(low, 0xffffffff00000000, index,
                                                         _mm512_loadu_si512(q + j * pitch + 64));
        sums[j] = _mm512_dpbusd_epi32(sums[j], met, weights);
    }
}

/* sums of one row with so many columns; values and positions are each one stream over the rows. */
INLINE void dot_row(const unsigned cols, const unsigned char *values, const uint8_t *positions, size_t groups,
                    const unsigned char *q, size_t pitch, int32_t dots[COLS])
{
    __m512i weight_sum = _mm512_setzero_si512(), sums[COLS];
    S24_UNROLL
    for (unsigned j = 0; j < cols; j++) {
        sums[j] = weight_sum;
    }
    for (; groups >= STEP_VALUES / 2; groups -= STEP_VALUES / 2) {
        prefetch_ahead(values, 64);
        prefetch_ahead(positions, STEP_POSITIONS);
        add_step(cols, _mm512_loadu_si512(values), load16(positions), q, pitch, &weight_sum, sums);
        values += STEP_VALUES;
        positions += STEP_POSITIONS;
        q += S24_I8_STEP;
    }
    if (groups) {
        const __m512i weights = _mm512_maskz_loadu_epi8(_bzhi_u64(UINT64_MAX, 2 * (unsigned)groups), values);
        const __mmask16 there = (__mmask16)((1u << (groups + 1) / 2) - 1);
        add_step(cols, weights, _mm_maskz_loadu_epi8(there, positions), q, pitch, &weight_sum, sums);
    }
    S24_UNROLL
    for (unsigned j = 0; j < cols; j++) {
        dots[j] = _mm512_reduce_add_epi32(_mm512_sub_epi32(sums[j], weight_sum));
    }
}

/* A step is what a group's scale is for: its dot products are added on their own, in f32 and one after the other. */
INLINE void scaled_row(const unsigned cols, const unsigned char *values, const uint8_t *positions, size_t groups,
                       const float *scales, const unsigned char *q, size_t pitch, float totals[COLS])
{
    _Static_assert(2 * STEP_VALUES == S24_SCALE_GROUP, "a step has another scale in it");
    for (unsigned j = 0; j < cols; j++) {
        totals[j] = 0;
    }
    for (size_t some; groups; groups -= some) {
        int32_t dots[COLS];
        some = groups < STEP_VALUES / 2 ? groups : STEP_VALUES / 2;
        dot_row(cols, values, positions, some, q, pitch, dots);
        S24_UNROLL
        for (unsigned j = 0; j < cols; j++) {
            totals[j] += (float)dots[j] * *scales;
        }
        scales++;
        values += STEP_VALUES;
        positions += STEP_POSITIONS;
        q += S24_I8_STEP;
    }
}

INLINE void multiply_scaled_rows(const unsigned cols, const s24_i8_product *x, const s24_i8_job *job, size_t col)
{
    const s24_tensor *a = x->p->a;
    const s24_geometry *g = &a->geometry;
    for (size_t r = job->row; r < job->row + job->rows; r++) {
        float totals[COLS];
        scaled_row(cols, (const unsigned char *)a->values + r * g->row_values, a->positions + r * g->row_positions, g->groups,
                   a->scales + r * s24_row_scales(g->cols, a->scale_group), s24_i8_block(x, col, 0), x->depth, totals);
        for (unsigned j = 0; j < cols; j++) {
            x->p->c[r * x->p->ldc + col + j] = totals[j] * x->scales[col + j];
        }
    }
}

INLINE void multiply_rows(const unsigned cols, const s24_i8_product *x, const s24_i8_job *job, size_t col)
{
    const s24_geometry *g = &x->p->a->geometry;
    if (x->p->a->scale_group) {
        multiply_scaled_rows(cols, x, job, col);
        return;
    }
    for (size_t r = job->row; r < job->row + job->rows; r++) {
        int32_t dots[COLS];
        dot_row(cols, (const unsigned char *)x->p->a->values + r * g->row_values,
                x->p->a->positions + r * g->row_positions, g->groups, s24_i8_block(x, col, 0), x->depth, dots);
        for (unsigned j = 0; j < cols; j++) {
            x->p->c[r * x->p->ldc + col + j] = (float)dots[j] * x->scales[col + j];
        }
    }
}

static void multiply(const s24_i8_product *x, const s24_i8_job *job, unsigned char *scratch)
{
    (void)scratch;
    for (size_t col = job->block, cols; col < job->end; col += cols) {
        const size_t left = job->end - col;
        cols = left >= COLS ? COLS : left > 4 ? 4 : left;
        switch (cols) {
        case 1: multiply_rows(1, x, job, col); break;
        case 2: multiply_rows(2, x, job, col); break;
        case 3: multiply_rows(3, x, job, col); break;
        case 4: multiply_rows(4, x, job, col); break;
        default: multiply_rows(COLS, x, job, col);
        }
    }
}

VECTOR_END

const s24_i8_kernel s24_i8_avx512 = {
    .width = 1, .least = 1, .job_rows = 64,
    .measure = s24_i8_measure_avx512, .pack = pack, .multiply = multiply,
};

#endif
