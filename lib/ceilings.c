/*
 * What the machine allows: loops that read memory, or multiply and add in registers, and do nothing else. What share of
 * that a product reaches says how much is left to gain. One row of loops an instruction set; a new one is a new row.
 */
#include "s24.h"

#include <stdatomic.h>
#include <string.h>

#include "clock.h"
#include "kernels.h"
#include "matmul_kernels.h"
#include "mem.h"
#include "threads.h"

#if S24_X86
#include "vector.h"
#elif defined(__aarch64__)
#include <arm_neon.h>
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline __attribute__((always_inline))
#endif

#define LINE 64

/*
 * Reads the lines of `streams` equal parts of memory side by side, asking for what lies AHEAD of each. Measured on
 * Sapphire Rapids, 1 GiB: one stream without asking 13.6 GB/s, four that ask 16.3. The result is there to be used.
 */
#define AHEAD 4096
typedef uint64_t read_loop(const unsigned char *p, size_t bytes, size_t streams);

/*
 * Chains of multiply-adds that do not wait for one another: two units that take 4 cycles each need 8 of them, and 12
 * and two operands fit 16 registers.
 */
#define CHAINS 12
typedef float arithmetic_loop(size_t times);

typedef struct loops {
    s24_isa isa;
    read_loop *read;
    arithmetic_loop *multiply_add;
    size_t lanes; /* of a chain */
} loops;

/* Over all lines of a part; `read` is what to do with the line at p. */
#define READ_LOOP(p, bytes, streams, read) \
    do { \
        const size_t part_ = (bytes) / (streams); \
        for (size_t i_ = 0; i_ < part_; i_ += LINE) { \
            for (size_t s_ = 0; s_ < (streams); s_++) { \
                const unsigned char *line = (p) + s_ * part_ + i_; \
                __builtin_prefetch((const void *)((uintptr_t)line + AHEAD)); \
                read; \
            } \
        } \
    } while (0)

#define MULTIPLY_ADD_LOOP(times, sum, step) \
    for (size_t time_ = 0; time_ < (times); time_++) { \
        S24_UNROLL \
        for (size_t i = 0; i < CHAINS; i++) { \
            sum[i] = step; \
        } \
    }

/* ---------------------------------------------------------------- generic */

static uint64_t read_generic(const unsigned char *p, size_t bytes, size_t streams)
{
    uint64_t sum[LINE / 8] = {0}, word[LINE / 8], total = 0;
    READ_LOOP(p, bytes, streams, {
        memcpy(word, line, sizeof word);
        for (size_t i = 0; i < LINE / 8; i++) {
            sum[i] |= word[i];
        }
    });
    for (size_t i = 0; i < LINE / 8; i++) {
        total |= sum[i];
    }
    return total;
}

/* What every machine that this is compiled for has: 16 bytes. */
#define GENERIC_LANES 4
typedef float generic_vector __attribute__((vector_size(4 * GENERIC_LANES)));

static float multiply_add_generic(size_t times)
{
    const generic_vector x = {0.5f, 0.5f, 0.5f, 0.5f}, y = {1, 1, 1, 1};
    generic_vector sum[CHAINS], total = {0};
    for (size_t i = 0; i < CHAINS; i++) {
        sum[i] = y;
    }
    MULTIPLY_ADD_LOOP(times, sum, sum[i] * x + y)
    for (size_t i = 0; i < CHAINS; i++) {
        total += sum[i];
    }
    return total[0];
}

/* ---------------------------------------------------------------- x86 */

#if S24_X86

VECTOR_BEGIN(VECTOR_AVX2)

static uint64_t read_avx2(const unsigned char *p, size_t bytes, size_t streams)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    READ_LOOP(p, bytes, streams, {
        a = _mm256_or_si256(a, load32(line));
        b = _mm256_or_si256(b, load32(line + 32));
    });
    return (uint64_t)_mm256_extract_epi64(_mm256_or_si256(a, b), 0);
}

static float multiply_add_avx2(size_t times)
{
    const __m256 x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(1);
    __m256 sum[CHAINS], total = _mm256_setzero_ps();
    for (size_t i = 0; i < CHAINS; i++) {
        sum[i] = y;
    }
    MULTIPLY_ADD_LOOP(times, sum, _mm256_fmadd_ps(sum[i], x, y))
    for (size_t i = 0; i < CHAINS; i++) {
        total = _mm256_add_ps(total, sum[i]);
    }
    return _mm256_cvtss_f32(total);
}

VECTOR_END
VECTOR_BEGIN(VECTOR_AVX512)

static uint64_t read_avx512(const unsigned char *p, size_t bytes, size_t streams)
{
    __m512i sum = _mm512_setzero_si512();
    READ_LOOP(p, bytes, streams, sum = _mm512_or_si512(sum, _mm512_loadu_si512(line)));
    return (uint64_t)_mm512_reduce_or_epi64(sum);
}

static float multiply_add_avx512(size_t times)
{
    const __m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1);
    __m512 sum[CHAINS], total = _mm512_setzero_ps();
    for (size_t i = 0; i < CHAINS; i++) {
        sum[i] = y;
    }
    MULTIPLY_ADD_LOOP(times, sum, _mm512_fmadd_ps(sum[i], x, y))
    for (size_t i = 0; i < CHAINS; i++) {
        total = _mm512_add_ps(total, sum[i]);
    }
    return _mm512_cvtss_f32(total);
}

VECTOR_END
VECTOR_BEGIN("amx-tile,amx-bf16")

/* 16 x 32 times 32 x 16 numbers a product; tiles 0 to 5 are sums: a product takes 52 cycles, the next begins after 16. */
#define TILE_SUMS 6
#define TILE_OPERATIONS (2.0 * 16 * 16 * 32)

static float multiply_add_tiles(size_t times)
{
    /* Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, LDTILECFG: palette 1, rows of 64 bytes */
    const struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    uint16_t ones[16 * 32];
    for (size_t i = 0; i < 16 * 32; i++) {
        ones[i] = 0x3f80;
    }
    atomic_signal_fence(memory_order_seq_cst); /* gcc 12 does not know that _tile_loadconfig reads memory */
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_loadd(6, ones, 64);
    _tile_loadd(7, ones, 64);
    for (size_t i = 0; i < times; i++) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_release();
    return 0;
}

VECTOR_END

static bool has_tiles(s24_isa isa)
{
    return isa >= S24_ISA_AMX && s24_amx_permitted();
}

#else

#define TILE_SUMS 1
#define TILE_OPERATIONS 0.0

static float multiply_add_tiles(size_t times)
{
    (void)times;
    return 0;
}

static bool has_tiles(s24_isa isa)
{
    (void)isa;
    return false;
}

#endif

/* ---------------------------------------------------------------- arm64: reading is what the generic loop does */

#if defined(__aarch64__)

static float multiply_add_neon(size_t times)
{
    const float32x4_t x = vdupq_n_f32(0.5f), y = vdupq_n_f32(1);
    float32x4_t sum[CHAINS], total = vdupq_n_f32(0);
    for (size_t i = 0; i < CHAINS; i++) {
        sum[i] = y;
    }
    MULTIPLY_ADD_LOOP(times, sum, vfmaq_f32(y, sum[i], x))
    for (size_t i = 0; i < CHAINS; i++) {
        total = vaddq_f32(total, sum[i]);
    }
    return vgetq_lane_f32(total, 0);
}

#endif

/* ---------------------------------------------------------------- measuring */

static const loops rows[] = {
    {S24_ISA_GENERIC, read_generic, multiply_add_generic, GENERIC_LANES},
#if defined(__aarch64__)
    {S24_ISA_NEON, read_generic, multiply_add_neon, 4},
#endif
#if S24_X86
    {S24_ISA_AVX2, read_avx2, multiply_add_avx2, 8},
    {S24_ISA_AVX512, read_avx512, multiply_add_avx512, 16},
#endif
};

/* In jobs of less than a millisecond, so that at the end no thread waits long for another. */
#define READ_JOB ((size_t)2 << 20)
#define ARITHMETIC_JOBS 32 /* a thread */
#define VECTOR_TIMES ((size_t)1 << 17)
#define TILE_TIMES ((size_t)1 << 13)
#define RUNS 10

typedef struct measurement {
    const loops *loops;
    const unsigned char *memory;
    size_t streams;
    arithmetic_loop *arithmetic;
    size_t times;
} measurement;

static s24_status read_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const measurement *m = ctx;
    const volatile uint64_t used = m->loops->read(m->memory + job * READ_JOB, READ_JOB, m->streams);
    (void)used;
    (void)worker;
    (void)err;
    return S24_OK;
}

static s24_status arithmetic_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const measurement *m = ctx;
    const volatile float used = m->arithmetic(m->times);
    (void)used;
    (void)worker;
    (void)job;
    (void)err;
    return S24_OK;
}

/* The shortest time of all jobs together. */
static s24_status best_seconds(const s24_stages *stages, measurement *m, size_t jobs, unsigned threads, double *best,
                               s24_error *err)
{
    s24_status status = S24_OK;
    *best = 0;
    for (int i = 0; status == S24_OK && i < RUNS; i++) {
        const double start = s24_now();
        status = s24_run(stages, m, jobs, threads, err);
        const double seconds = s24_now() - start;
        *best = i == 0 || seconds < *best ? seconds : *best;
    }
    return status;
}

static s24_status measure_reads(measurement *m, unsigned threads, double *gbps, s24_error *err)
{
    static const s24_stages stages = {.work = read_job};
    unsigned char *memory = s24_alloc(S24_BENCH_SWEEP, err);
    s24_status status = memory ? S24_OK : S24_ERR_SYSTEM;
    if (memory) {
        memset(memory, 1, S24_BENCH_SWEEP); /* what was never written is one page of zeros */
    }
    m->memory = memory;
    *gbps = 0;
    for (m->streams = 1; status == S24_OK && m->streams <= 4; m->streams *= 4) {
        double seconds;
        status = best_seconds(&stages, m, S24_BENCH_SWEEP / READ_JOB, threads, &seconds, err);
        *gbps = 1e-9 * S24_BENCH_SWEEP / seconds > *gbps ? 1e-9 * S24_BENCH_SWEEP / seconds : *gbps;
    }
    free(memory);
    return status;
}

/* operations: of one of the `times` of a loop. */
static s24_status measure_arithmetic(measurement *m, unsigned threads, double operations, double *gflops,
                                     s24_error *err)
{
    static const s24_stages stages = {.work = arithmetic_job};
    const size_t jobs = (size_t)ARITHMETIC_JOBS * threads;
    double seconds;
    const s24_status status = best_seconds(&stages, m, jobs, threads, &seconds, err);
    *gflops = 1e-9 * operations * (double)m->times * (double)jobs / seconds;
    return status;
}

s24_status s24_bench_ceilings(unsigned threads, s24_isa isa, s24_ceilings *ceilings, s24_error *err)
{
    measurement m = {.loops = rows};
    isa = s24_isa_detect(isa);
    threads = threads ? threads : s24_threads_available();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        m.loops = rows[i].isa <= isa ? &rows[i] : m.loops;
    }
    *ceilings = (s24_ceilings){0, 0, 0};
    s24_status status = measure_reads(&m, threads, &ceilings->read_gbps, err);
    if (status == S24_OK) {
        m.arithmetic = m.loops->multiply_add;
        m.times = VECTOR_TIMES;
        status = measure_arithmetic(&m, threads, 2.0 * CHAINS * (double)m.loops->lanes, &ceilings->f32_gflops, err);
    }
    if (status == S24_OK && has_tiles(isa)) {
        m.arithmetic = multiply_add_tiles;
        m.times = TILE_TIMES;
        status = measure_arithmetic(&m, threads, TILE_SUMS * TILE_OPERATIONS, &ceilings->bf16_gflops, err);
    }
    return status;
}
