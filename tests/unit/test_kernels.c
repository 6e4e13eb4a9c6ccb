/*
 * Every vector kernel against the generic code, which is the specification: all lists of kernels.h are expanded here, so
 * that a new row is a tested row. Compared are the bytes of both planes, the sums and counts, and what is refused and
 * why.
 *
 * Buffers end at a page that nobody may touch, or a few bytes before it; the bytes around them are checked.
 */
#define _DEFAULT_SOURCE 1 /* MAP_ANONYMOUS */

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "scale.h"

/* ---------------------------------------------------------------- what is tested */

typedef struct prune_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_prune_kernel *function;
    const char *name;
} prune_case;

typedef struct unpack_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_unpack_kernel *function;
    const char *name;
} unpack_case;

typedef struct comply_case {
    s24_isa isa;
    s24_dtype dtype;
    s24_comply_kernel *function;
    const char *name;
} comply_case;

typedef struct measure_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_measure_kernel *function;
    const char *name;
} measure_case;

#define CASE(isa, from, to, function) {S24_ISA_##isa, S24_##from, S24_##to, function, #function},
static const prune_case prune_cases[] = {S24_PRUNE_KERNELS(CASE){.name = ""}};
static const unpack_case unpack_cases[] = {S24_UNPACK_KERNELS(CASE){.name = ""}};
#define CASE_OF_ONE(isa, dtype, function) {S24_ISA_##isa, S24_##dtype, function, #function " " #dtype},
static const comply_case comply_cases[] = {S24_COMPLY_KERNELS(CASE_OF_ONE){.name = ""}};
static const measure_case measure_cases[] = {S24_MEASURE_KERNELS(CASE){.name = ""}};
typedef struct zeros_case {
    s24_isa isa;
    s24_dtype dtype;
    s24_zeros_kernel *function;
    const char *name;
} zeros_case;
static const zeros_case zeros_cases[] = {S24_ZEROS_KERNELS(CASE_OF_ONE){.name = ""}};
typedef struct quantize_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_quantize_kernel *function;
    const char *name;
} quantize_case;
static const quantize_case quantize_cases[] = {S24_QUANTIZE_KERNELS(CASE){.name = ""}};
typedef struct dequantize_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_dequantize_kernel *function;
    const char *name;
} dequantize_case;
static const dequantize_case dequantize_cases[] = {S24_DEQUANTIZE_KERNELS(CASE){.name = ""}};
typedef struct misfit_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_misfit_kernel *function;
    const char *name;
} misfit_case;
static const misfit_case misfit_cases[] = {S24_MISFIT_KERNELS(CASE){.name = ""}};
#define MISFIT_CASES ((int)(sizeof misfit_cases / sizeof *misfit_cases) - 1)
typedef struct largest_case {
    s24_isa isa;
    s24_dtype dtype;
    s24_largest_kernel *function;
    const char *name;
} largest_case;
static const largest_case largest_cases[] = {S24_LARGEST_KERNELS(CASE_OF_ONE){.name = ""}};
#define QUANTIZE_CASES ((int)(sizeof quantize_cases / sizeof *quantize_cases) - 1)
#define DEQUANTIZE_CASES ((int)(sizeof dequantize_cases / sizeof *dequantize_cases) - 1)
#define LARGEST_CASES ((int)(sizeof largest_cases / sizeof *largest_cases) - 1)
typedef struct score_case {
    s24_isa isa;
    s24_dtype from, to;
    s24_score_kernel *function;
    const char *name;
} score_case;
static const score_case score_cases[] = {S24_SCORE_KERNELS(CASE){.name = ""}};
#define SCORE_CASES ((int)(sizeof score_cases / sizeof *score_cases) - 1)
#define ZEROS_CASES ((int)(sizeof zeros_cases / sizeof *zeros_cases) - 1)
#define PRUNE_CASES ((int)(sizeof prune_cases / sizeof *prune_cases) - 1)
#define UNPACK_CASES ((int)(sizeof unpack_cases / sizeof *unpack_cases) - 1)
#define MEASURE_CASES ((int)(sizeof measure_cases / sizeof *measure_cases) - 1)
#define COMPLY_CASES ((int)(sizeof comply_cases / sizeof *comply_cases) - 1)

static bool have(s24_isa isa)
{
    return s24_isa_detect(isa) == isa;
}

/* ---------------------------------------------------------------- random numbers */

static uint64_t seed;

static uint64_t random_bits(void) /* splitmix64 */
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return (size_t)(random_bits() % n);
}

static bool one_in(size_t n)
{
    return below(n) == 0;
}

/* ---------------------------------------------------------------- buffers */

#define PAGE 4096
#define ARENA (1 << 22)
#define GUARD 64
#define GUARD_BYTE 0xa5

typedef struct buffer {
    unsigned char *arena; /* ARENA bytes, then a page without access */
    unsigned char *data;
    size_t size;
} buffer;

static buffer src_buffer, aux_buffer, out_buffer[2], positions_buffer[2];

static void buffer_map(buffer *b)
{
    b->arena = mmap(NULL, ARENA + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(b->arena != MAP_FAILED);
    ck_assert_int_eq(mprotect(b->arena + ARENA, PAGE, PROT_NONE), 0);
}

static void map_all(void)
{
    buffer_map(&src_buffer);
    buffer_map(&aux_buffer);
    for (int i = 0; i < 2; i++) {
        buffer_map(&out_buffer[i]);
        buffer_map(&positions_buffer[i]);
    }
}

/* `size` bytes that end `gap` < GUARD bytes before the page without access. */
static void *buffer_place(buffer *b, size_t size, size_t gap)
{
    ck_assert_uint_le(size + 2 * GUARD, ARENA);
    b->size = size;
    b->data = b->arena + ARENA - gap - size;
    memset(b->data - GUARD, GUARD_BYTE, GUARD + size + gap);
    return b->data;
}

static size_t random_gap(void)
{
    return one_in(2) ? 0 : below(GUARD);
}

static void buffer_check(const buffer *b)
{
    for (const unsigned char *p = b->data - GUARD; p < b->arena + ARENA; p++) {
        if (p == b->data) {
            p += b->size;
            if (p == b->arena + ARENA) {
                break;
            }
        }
        if (*p != GUARD_BYTE) { /* a ck_assert of each byte would take most of the time */
            ck_abort_msg("wrote %td bytes from the start of %zu", p - b->data, b->size);
        }
    }
}

/* ---------------------------------------------------------------- input */

typedef enum input {
    IN_ORDINARY,  /* weights around 0.05 */
    IN_TIES,      /* few small integers */
    IN_ZEROS,     /* of both signs, and a few others */
    IN_SPARSE,    /* 2:4 already, with -0.0 among the others */
    IN_SUBNORMAL, /* the smallest of the type */
    IN_ROUNDING,  /* all exponents of the stored type, often just at or beside a tie */
    IN_FINITE,    /* any finite bits: overflows when narrowed */
    IN_OVERFLOW,  /* ordinary, with the odd element at or beyond the stored type's range */
    IN_NONFINITE, /* ordinary, with NaN and infinities */
    INPUTS
} input;

static uint64_t encode(const s24_dtype_info *info, double x)
{
    bool overflow = false;
    return s24_encode(info, x, &overflow);
}

static uint64_t sign_bit(const s24_dtype_info *info)
{
    return info->kind == S24_KIND_INT ? 0 : random_bits() & 1 ? info->magnitude_mask + 1 : 0;
}

static uint64_t finite_bits(const s24_dtype_info *info)
{
    uint64_t bits;
    do {
        bits = random_bits() >> (64 - info->bits);
    } while (s24_key(info, bits) >= info->nonfinite_key);
    return bits;
}

static uint64_t ordinary_bits(const s24_dtype_info *info)
{
    const double x = (double)(int64_t)random_bits() * 0x1p-63;
    return info->kind == S24_KIND_INT ? random_bits() & 255 : encode(info, x * x * x * 0.25);
}

static uint64_t rounding_bits(const s24_dtype_info *from, const s24_dtype_info *to)
{
    const unsigned extra = from->mantissa_bits - to->mantissa_bits;
    if (from == to || extra == 0 || to->kind != S24_KIND_IEEE) {
        return finite_bits(from);
    }
    const uint64_t exponents = UINT64_C(1) << to->exponent_bits;
    const int exponent = (int)below((size_t)exponents + to->mantissa_bits) - (int)(exponents / 2 + to->mantissa_bits);
    uint64_t bits = encode(from, ldexp(1 + (double)random_bits() * 0x1p-64, exponent));
    const uint64_t below_unit = (UINT64_C(1) << extra) - 1;
    switch (below(4)) {
    case 0: bits = (bits & ~below_unit) | (below_unit / 2 + 1); break;
    case 1: bits = (bits & ~below_unit) | (below_unit / 2 + below(3)); break;
    case 2: bits = bits | (below_unit >> below(3)); break;
    default: break;
    }
    const double limit = s24_decode(to, to->nonfinite_key - 1);
    return s24_decode(from, bits) <= limit ? bits | sign_bit(from) : encode(from, limit);
}

static uint64_t element(input kind, const s24_dtype_info *from, const s24_dtype_info *to)
{
    static const double small[] = {0, -0.0, 1, -1, 2, -2, 3, 0};
    const double limit = s24_decode(to, to->nonfinite_key - 1);
    switch (kind) {
    case IN_TIES: return encode(from, small[below(8)]);
    case IN_ZEROS: return one_in(6) ? ordinary_bits(from) : sign_bit(from);
    case IN_SPARSE: return one_in(2) ? ordinary_bits(from) : sign_bit(from);
    case IN_SUBNORMAL:
        return (random_bits() & ((UINT64_C(2) << (from->mantissa_bits - below(3))) - 1)) | sign_bit(from);
    case IN_ROUNDING: return rounding_bits(from, to);
    case IN_FINITE: return finite_bits(from);
    case IN_OVERFLOW:
        return one_in(200) && from->kind != S24_KIND_INT ? encode(from, limit * (1 + (double)below(9) * 0x1p-12))
                                                         : ordinary_bits(from);
    case IN_NONFINITE:
        if (one_in(50) && from->kind != S24_KIND_INT) {
            return (from->nonfinite_key + (one_in(2) ? 0 : below(from->magnitude_mask - from->nonfinite_key + 1))) |
                   sign_bit(from);
        }
        return ordinary_bits(from);
    default: return ordinary_bits(from);
    }
}

/* IN_SPARSE: a third and a fourth element unequal to zero become zeros. */
static void fill(input kind, const s24_dtype_info *from, const s24_dtype_info *to, size_t rows, size_t cols, void *dst)
{
    for (size_t i = 0; i < rows * cols; i++) {
        s24_store(dst, from->bytes, i, element(kind, from, to));
    }
    for (size_t row = 0; kind == IN_SPARSE && row < rows; row++) {
        for (size_t col = 0, nonzero = 0; col < cols; col++) {
            nonzero = col % 4 ? nonzero : 0;
            nonzero += s24_key(from, s24_load(dst, from->bytes, row * cols + col)) != 0;
            if (nonzero > 2) {
                s24_store(dst, from->bytes, row * cols + col, sign_bit(from));
            }
        }
    }
}

/* ---------------------------------------------------------------- pruning */

static s24_pruner pruner_of(const prune_case *c, bool allow_nonfinite, bool generic)
{
    s24_pruner p = s24_pruner_of(&s24_methods[S24_METHOD_MAGNITUDE], c->from, c->to, c->from, allow_nonfinite, c->isa);
    ck_assert_msg(p.kernel == c->function, "%s is not what dispatch finds", c->name);
    p.kernel = generic ? NULL : p.kernel;
    return p;
}

static void assert_same_fault(const s24_fault *a, const s24_fault *b, const char *what)
{
    ck_assert_msg(a->kind == b->kind && a->row == b->row && a->col == b->col &&
                      memcmp(&a->value, &b->value, sizeof a->value) == 0,
                  "%s: fault %d at [%zu, %zu] (%g), not %d at [%zu, %zu] (%g)", what, a->kind, a->row, a->col, a->value,
                  b->kind, b->row, b->col, b->value);
}

/* What a tap is told, one piece behind another. */
static unsigned char told[ARENA];
static size_t told_bytes;

static void tap_start(void *ctx)
{
    *(size_t *)ctx = 0;
}

static void tap_add(void *ctx, const void *data, size_t bytes)
{
    size_t *at = ctx;
    ck_assert(bytes <= sizeof told - *at);
    memcpy(told + *at, data, bytes);
    *at += bytes;
}

static const s24_tap tap = {.start = tap_start, .add = tap_add, .ctx = &told_bytes};

static void assert_told(const buffer *values, const buffer *positions, const char *what)
{
    ck_assert_msg(told_bytes == values->size + positions->size && memcmp(told, values->data, values->size) == 0 &&
                      memcmp(told + values->size, positions->data, positions->size) == 0,
                  "%s: the tap was told something else", what);
}

/* The panel in src_buffer by two pruners, with kernels and without, into pairs of buffers. Whether it was accepted. */
static bool prune_by_both(const s24_pruner pruners[2], size_t rows, size_t cols, size_t row, size_t col, const char *what)
{
    const size_t groups = (cols + 3) / 4;
    s24_sums sums[2];
    s24_fault fault[2];
    bool ok[2];
    memset(sums, 0, sizeof sums);
    for (int generic = 0; generic < 2; generic++) {
        const s24_pruner p = pruners[generic];
        const s24_panel panel = {
            .row = row, .col = col,
            .rows = rows, .cols = cols, .dense = src_buffer.data,
            .values = buffer_place(&out_buffer[generic], rows * groups * 2 * p.to->bytes, random_gap()),
            .positions = buffer_place(&positions_buffer[generic], rows * ((groups + 1) / 2), random_gap()),
            .tap = &tap};
        ok[generic] = s24_prune_panel(&p, &panel, &sums[generic], &fault[generic]);
        buffer_check(&out_buffer[generic]);
        buffer_check(&positions_buffer[generic]);
        if (ok[generic]) {
            assert_told(&out_buffer[generic], &positions_buffer[generic], what);
        }
    }
    buffer_check(&src_buffer);
    ck_assert_msg(ok[0] == ok[1], "%s: %s, which the generic code does not", what, ok[0] ? "accepts" : "refuses");
    if (!ok[0]) {
        assert_same_fault(&fault[0], &fault[1], what);
        return false;
    }
    ck_assert_msg(memcmp(positions_buffer[0].data, positions_buffer[1].data, positions_buffer[0].size) == 0,
                  "%s: positions differ", what);
    ck_assert_msg(memcmp(out_buffer[0].data, out_buffer[1].data, out_buffer[0].size) == 0, "%s: values differ", what);
    ck_assert_msg(memcmp(&sums[0], &sums[1], sizeof sums[0]) == 0, "%s: sums differ", what);
    return true;
}

static bool prune_both(const prune_case *c, size_t rows, size_t cols, bool allow_nonfinite, const char *what)
{
    const s24_pruner pruners[2] = {pruner_of(c, allow_nonfinite, false), pruner_of(c, allow_nonfinite, true)};
    return prune_by_both(pruners, rows, cols, 0, 0, what);
}

static void place_input(const prune_case *c, input kind, size_t rows, size_t cols)
{
    const s24_dtype_info *from = s24_info(c->from);
    fill(kind, from, s24_info(c->to), rows, cols, buffer_place(&src_buffer, rows * cols * from->bytes, random_gap()));
}

START_TEST(prune_random)
{
    const prune_case *c = &prune_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (size_t cols = 1; cols <= 130; cols++) {
        for (int kind = 0; kind < INPUTS; kind++) {
            const size_t rows = 1 + below(5);
            char what[200];
            snprintf(what, sizeof what, "%s, %zu x %zu, input %d", c->name, rows, cols, kind);
            place_input(c, (input)kind, rows, cols);
            prune_both(c, rows, cols, false, what);
            prune_both(c, rows, cols, true, what);
        }
    }
    /* Long rows, where a block is followed by many others, and counters grow. */
    for (int kind = 0; kind < INPUTS; kind++) {
        place_input(c, (input)kind, 3, 10000 + below(64));
        prune_both(c, 3, src_buffer.size / 3 / s24_info(c->from)->bytes, true, c->name);
    }
    /* Longer than what is done between two words to a tap: a row, and rows that are joined. */
    for (int kind = 0; kind < INPUTS; kind++) {
        const size_t rows = 1 + (size_t)kind % 2, cols = kind % 2 ? 16640 : 33000 + below(64);
        place_input(c, (input)kind, rows, cols);
        prune_both(c, rows, cols, true, c->name);
    }
}
END_TEST

/* Every group of four over a small alphabet, with every group in every place of a vector. */
START_TEST(prune_ties)
{
    const prune_case *c = &prune_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *from = s24_info(c->from);
    const uint64_t alphabet[6] = {encode(from, 0),  encode(from, -0.0), encode(from, 1),
                                  encode(from, -1), encode(from, 2),    c->from == S24_I8 ? 0x80 : 1};
    for (size_t shift = 0; shift < 16; shift++) {
        const size_t cols = 4 * (shift + 1296);
        unsigned char *src = buffer_place(&src_buffer, cols * from->bytes, 0);
        memset(src, 0, cols * from->bytes);
        for (size_t g = 0; g < 1296; g++) {
            size_t digits = g;
            for (size_t i = 0; i < 4; i++, digits /= 6) {
                s24_store(src, from->bytes, 4 * (shift + g) + i, alphabet[digits % 6]);
            }
        }
        ck_assert(prune_both(c, 1, cols, false, c->name));
    }
}
END_TEST

/* Narrowing: every upper half of an f32 that is in range, with lower halves at, below and above all ties. */
START_TEST(prune_every_rounding)
{
    const prune_case *c = &prune_cases[_i];
    if (!have(c->isa) || c->from != S24_F32) {
        return;
    }
    static const uint32_t lower[] = {0, 1, 0xfff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001,
                                     0x7fff, 0x8000, 0x8001, 0x9000, 0xefff, 0xf000, 0xf001, 0xffff};
    for (uint32_t block = 0; block < 65536; block += 256) {
        size_t n = 0;
        uint32_t *src = buffer_place(&src_buffer, 4 * 4096, 0);
        for (uint32_t upper = block; upper < block + 256; upper++) {
            for (size_t i = 0; i < 16; i++) {
                const uint32_t bits = upper << 16 | lower[i];
                bool overflow = false;
                s24_encode(s24_info(c->to), s24_decode(s24_info(S24_F32), bits), &overflow);
                if (!overflow && (bits & 0x7fffffff) < 0x7f800000) {
                    src[n++] = bits;
                }
            }
        }
        memmove((unsigned char *)src + 4 * (4096 - n), src, 4 * n);
        src_buffer.data += 4 * (4096 - n);
        src_buffer.size = 4 * n;
        memset(src_buffer.data - GUARD, GUARD_BYTE, GUARD);
        ck_assert(n == 0 || prune_both(c, 1, n, false, c->name));
    }
}
END_TEST

/* Narrowing: groups of what just becomes a zero, and just does not, alone and among others. */
START_TEST(prune_underflow)
{
    const prune_case *c = &prune_cases[_i];
    const s24_dtype_info *from = s24_info(c->from), *to = s24_info(c->to);
    if (!have(c->isa) || from == to) {
        return;
    }
    const uint64_t half = encode(from, s24_decode(to, 1) / 2);
    for (size_t g = 0; g < 200; g++) {
        for (uint64_t bits = half - 2; bits <= half + 2; bits++) {
            unsigned char *src = buffer_place(&src_buffer, 800 * from->bytes, 0);
            for (size_t i = 0; i < 800; i++) {
                s24_store(src, from->bytes, i, i / 4 == g ? bits | sign_bit(from) : encode(from, 1));
            }
            ck_assert(prune_both(c, 1, 800, false, c->name));
        }
    }
}
END_TEST

/* The kernel itself: it does all that it can, asks for nothing again without need, and always with need. */
START_TEST(prune_redo)
{
    const prune_case *c = &prune_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *from = s24_info(c->from), *to = s24_info(c->to);
    for (size_t groups = 0; groups < 70; groups++) {
        s24_lanes lanes = {0};
        unsigned char *src = buffer_place(&src_buffer, 4 * groups * from->bytes, 0);
        unsigned char *values = buffer_place(&out_buffer[0], 2 * groups * to->bytes, 0);
        uint8_t *positions = buffer_place(&positions_buffer[0], (groups + 1) / 2, 0);
        fill(IN_ORDINARY, from, to, 1, 4 * groups, src);
        const size_t done = c->function(src, groups, values, positions, &lanes);
        ck_assert(done == groups || done == groups / 4 * 4);
        ck_assert(!lanes.redo);
        for (size_t i = 0; i < 4 * done && from->kind != S24_KIND_INT; i++) {
            const uint64_t ordinary = s24_load(src, from->bytes, i);
            const uint64_t largest = from->nonfinite_key - 1;
            s24_store(src, from->bytes, i, from == to ? from->nonfinite_key | sign_bit(from) : largest);
            s24_store(src, from->bytes, i, one_in(2) ? from->magnitude_mask : s24_load(src, from->bytes, i));
            lanes = (s24_lanes){0};
            c->function(src, groups, values, positions, &lanes);
            if (!lanes.redo) {
                ck_abort_msg("%s: element %zu of %zu is let pass", c->name, i, 4 * groups);
            }
            s24_store(src, from->bytes, i, ordinary);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- unpacking */

static s24_unpacker unpacker_of(const unpack_case *c, bool generic)
{
    s24_unpacker u = s24_unpacker_of(c->from, c->to, c->isa);
    ck_assert_msg(u.kernel == c->function, "%s is not what dispatch finds", c->name);
    u.kernel = generic ? NULL : u.kernel;
    return u;
}

/* The planes in src_buffer and aux_buffer by the kernel and by the generic code. */
static bool unpack_both(const unpack_case *c, size_t rows, size_t cols, const char *what)
{
    s24_fault fault[2];
    bool ok[2];
    for (int generic = 0; generic < 2; generic++) {
        const s24_unpacker u = unpacker_of(c, generic);
        void *dst = buffer_place(&out_buffer[generic], rows * cols * u.to->bytes, random_gap());
        ok[generic] = s24_unpack_panel(&u, rows, cols, src_buffer.data, aux_buffer.data, NULL, dst, &fault[generic]);
        buffer_check(&out_buffer[generic]);
    }
    buffer_check(&src_buffer);
    buffer_check(&aux_buffer);
    ck_assert_msg(ok[0] == ok[1], "%s: %s, which the generic code does not", what, ok[0] ? "accepts" : "refuses");
    if (!ok[0]) {
        assert_same_fault(&fault[0], &fault[1], what);
        return false;
    }
    ck_assert_msg(memcmp(out_buffer[0].data, out_buffer[1].data, out_buffer[0].size) == 0, "%s: values differ", what);
    return true;
}

static uint8_t random_positions(void)
{
    static const uint8_t valid[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};
    return (uint8_t)(valid[below(6)] | valid[below(6)] << 4);
}

/* Planes of random values (any bits) and valid positions; what follows the last group of a row is random, too. */
static void place_planes(const unpack_case *c, size_t rows, size_t cols)
{
    const size_t groups = (cols + 3) / 4;
    unsigned char *values = buffer_place(&src_buffer, rows * groups * 2 * s24_info(c->from)->bytes, random_gap());
    uint8_t *positions = buffer_place(&aux_buffer, rows * ((groups + 1) / 2), random_gap());
    for (size_t i = 0; i < src_buffer.size; i++) {
        values[i] = (unsigned char)random_bits();
    }
    for (size_t i = 0; i < aux_buffer.size; i++) {
        positions[i] = random_positions();
        if (groups % 2 && (i + 1) % ((groups + 1) / 2) == 0) {
            positions[i] = (uint8_t)((positions[i] & 15) | random_bits() << 4);
        }
    }
}

START_TEST(unpack_random)
{
    const unpack_case *c = &unpack_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (size_t cols = 1; cols <= 130; cols++) {
        for (int repeat = 0; repeat < 8; repeat++) {
            const size_t rows = 1 + below(5);
            char what[200];
            snprintf(what, sizeof what, "%s, %zu x %zu", c->name, rows, cols);
            place_planes(c, rows, cols);
            ck_assert(unpack_both(c, rows, cols, what));
            aux_buffer.data[below(aux_buffer.size)] = (uint8_t)random_bits();
            unpack_both(c, rows, cols, what);
        }
    }
}
END_TEST

/* Each of the 16 nibbles in every place; the kernel stops in front of its pair, and not before. */
START_TEST(unpack_nibbles)
{
    const unpack_case *c = &unpack_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (size_t g = 0; g < 50; g++) {
        for (unsigned nibble = 0; nibble < 16; nibble++) {
            place_planes(c, 1, 4 * 50);
            const unsigned shift = g % 2 * 4;
            uint8_t *byte = &aux_buffer.data[g / 2];
            *byte = (uint8_t)((*byte & 0xf0u >> shift) | nibble << shift);
            const bool valid = (nibble & 3) < nibble >> 2;
            ck_assert_int_eq(unpack_both(c, 1, 4 * 50, c->name), valid);
            void *dst = buffer_place(&out_buffer[0], 200 * s24_info(c->to)->bytes, 0);
            const size_t done = c->function(src_buffer.data, aux_buffer.data, 50, dst);
            ck_assert_uint_eq(done, valid ? 50 : g / 2 * 2);
        }
    }
}
END_TEST

/* Each of the 65536 values of a 16-bit type: subnormals, infinities, NaN of both kinds. */
START_TEST(unpack_every_value)
{
    const unpack_case *c = &unpack_cases[_i];
    if (!have(c->isa) || s24_info(c->from)->bits != 16) {
        return;
    }
    place_planes(c, 1, 2 * 65536);
    for (size_t i = 0; i < 65536; i++) {
        s24_store(src_buffer.data, 2, i, i);
    }
    ck_assert(unpack_both(c, 1, 2 * 65536, c->name));
}
END_TEST

/* ---------------------------------------------------------------- compliance */

/* Broken groups, and zeros, of the panel in src_buffer by the kernels, which must be those of the generic code. */
static uint64_t comply_both(const comply_case *c, size_t rows, size_t cols, const char *what)
{
    const s24_complier fast = s24_complier_of(c->dtype, c->isa), generic = {.info = s24_info(c->dtype)};
    ck_assert_msg(fast.kernel == c->function, "%s is not what dispatch finds", c->name);
    const uint64_t broken = s24_broken_groups(&fast, rows, cols, src_buffer.data);
    const uint64_t wanted = s24_broken_groups(&generic, rows, cols, src_buffer.data);
    ck_assert_msg(broken == wanted, "%s: %llu broken groups, not %llu", what, (unsigned long long)broken,
                  (unsigned long long)wanted);
    const size_t n = rows * cols;
    const uint64_t zeros = s24_count_zeros(s24_info(c->dtype), c->isa, src_buffer.data, n);
    ck_assert_uint_eq(zeros, s24_count_zeros(s24_info(c->dtype), S24_ISA_GENERIC, src_buffer.data, n));
    buffer_check(&src_buffer);
    return broken;
}

START_TEST(comply_random)
{
    static const input kinds[] = {IN_ORDINARY, IN_TIES, IN_ZEROS, IN_SPARSE, IN_SUBNORMAL, IN_NONFINITE};
    const comply_case *c = &comply_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *info = s24_info(c->dtype);
    for (size_t cols = 1; cols <= 260; cols++) { /* four blocks of 16 groups, and every tail */
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            const size_t rows = 1 + below(5);
            char what[200];
            snprintf(what, sizeof what, "%s, %zu x %zu, input %d", c->name, rows, cols, kinds[k]);
            fill(kinds[k], info, info, rows, cols, buffer_place(&src_buffer, rows * cols * info->bytes, random_gap()));
            const uint64_t broken = comply_both(c, rows, cols, what);
            ck_assert_msg(broken == 0 || kinds[k] != IN_SPARSE, "%s: 2:4, and said not to be", what);
        }
    }
}
END_TEST

/*
 * Each of the 16 patterns of a group in each of 64 places, among groups of two elements, with the smallest element of
 * the type and its largest bits (a NaN of floats, -1 of i8), and the zeros of both signs: three and four are broken.
 */
START_TEST(comply_patterns)
{
    const comply_case *c = &comply_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *info = s24_info(c->dtype);
    const bool is_int = info->kind == S24_KIND_INT;
    const uint64_t all = UINT64_MAX >> (64 - info->bits), zeros[] = {0, is_int ? 0 : info->magnitude_mask + 1};
    const uint64_t others[] = {1, is_int ? 0x80 : info->nonfinite_key, all};
    unsigned char *src = buffer_place(&src_buffer, 4 * 64 * info->bytes, 3);
    for (size_t i = 0; i < 256; i++) {
        s24_store(src, info->bytes, i, i % 4 < 2 ? 1 : zeros[i / 4 % 2]);
    }
    for (size_t place = 0; place < 64; place++) {
        for (unsigned pattern = 0; pattern < 16; pattern++) {
            for (unsigned kind = 0; kind < 6; kind++) {
                for (unsigned i = 0; i < 4; i++) {
                    s24_store(src, info->bytes, 4 * place + i, pattern >> i & 1 ? others[kind / 2] : zeros[kind % 2]);
                }
                s24_broken_group first;
                const bool broken = __builtin_popcount(pattern) > 2;
                ck_assert_uint_eq(comply_both(c, 1, 256, c->name), broken);
                ck_assert(s24_find_broken_group(c->dtype, 1, 256, src, &first) == broken);
                ck_assert(!broken || (first.row == 0 && first.group == place && first.elements == 4 &&
                                      first.nonzero == (unsigned)__builtin_popcount(pattern)));
            }
        }
        s24_store(src, info->bytes, 4 * place, 0);
        s24_store(src, info->bytes, 4 * place + 1, 0);
    }
}
END_TEST

/* The zeros of each element of 256, alone and among others; all the blocks of 64 elements that there are are counted. */
START_TEST(zeros_reach)
{
    const zeros_case *c = &zeros_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *info = s24_info(c->dtype);
    ck_assert_msg(s24_find_zeros_kernel(c->isa, c->dtype) == c->function, "%s is not what dispatch finds", c->name);
    for (size_t n = 0; n < 256; n++) {
        uint64_t count = 3;
        unsigned char *src = buffer_place(&src_buffer, n * info->bytes, 0);
        for (size_t i = 0; i < n; i++) {
            s24_store(src, info->bytes, i, 1);
        }
        ck_assert_uint_eq(c->function(src, n, &count), n / 64 * 64);
        ck_assert_uint_eq(count, 3);
        for (size_t i = 0; i < n / 64 * 64; i++) {
            s24_store(src, info->bytes, i, i % 2 && info->kind != S24_KIND_INT ? info->magnitude_mask + 1 : 0);
            c->function(src, n, &count);
            ck_assert_uint_eq(count, 4);
            count = 3;
            s24_store(src, info->bytes, i, 1);
        }
    }
}
END_TEST

/* The kernel itself does all the blocks of 16 groups that there are; nor does it miscount when all of many are broken. */
START_TEST(comply_reach)
{
    const comply_case *c = &comply_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (size_t groups = 0; groups < 5000; groups = groups < 70 ? groups + 1 : 2 * groups) {
        uint64_t broken = 5;
        void *src = buffer_place(&src_buffer, 4 * groups * s24_info(c->dtype)->bytes, 0);
        memset(src, 1, src_buffer.size);
        ck_assert_uint_eq(c->function(src, groups, &broken), groups / 16 * 16);
        ck_assert_uint_eq(broken, 5 + groups / 16 * 16);
        ck_assert_uint_eq(s24_count_zeros(s24_info(c->dtype), c->isa, src, 4 * groups), 0);
    }
}
END_TEST

/* ---------------------------------------------------------------- measuring */

/* The panel in src_buffer against the planes in out_buffer[0] and positions_buffer[0]. Whether it was accepted. */
static bool measure_both(const measure_case *c, size_t rows, size_t cols, const char *what)
{
    const s24_measurer fast = s24_measurer_of(c->from, c->to, c->isa), generic = {.from = fast.from, .to = fast.to};
    const s24_panel panel = {.rows = rows, .cols = cols, .dense = src_buffer.data, .values = out_buffer[0].data,
                             .positions = positions_buffer[0].data};
    s24_sums sums[2];
    s24_fault fault[2];
    memset(sums, 0, sizeof sums);
    ck_assert_msg(fast.kernel == c->function, "%s is not what dispatch finds", c->name);
    const bool ok = s24_measure_panel(&fast, &panel, &sums[0], &fault[0]);
    ck_assert_msg(ok == s24_measure_panel(&generic, &panel, &sums[1], &fault[1]), "%s: %s, which the generic code does not",
                  what, ok ? "accepts" : "refuses");
    if (!ok) {
        assert_same_fault(&fault[0], &fault[1], what);
        return false;
    }
    /* What has passed through NaN has an unspecified sign. */
    for (double *x = &sums[0].kept_abs, *y = &sums[1].kept_abs; x <= &sums[0].max_abs_error; x++, y++) {
        *x = isnan(*x) && isnan(*y) ? *y : *x;
    }
    ck_assert_msg(memcmp(&sums[0], &sums[1], sizeof sums[0]) == 0, "%s: sums differ", what);
    return true;
}

static void place_random(buffer *b, const s24_dtype_info *info, input kind, size_t n)
{
    fill(kind, info, info, 1, n, buffer_place(b, n * info->bytes, random_gap()));
}

/* Valid positions; and of whole groups, so that a kernel finds no pad nibble where there is none. */
static void place_positions(size_t rows, size_t groups)
{
    uint8_t *positions = buffer_place(&positions_buffer[0], rows * ((groups + 1) / 2), random_gap());
    for (size_t i = 0; i < positions_buffer[0].size; i++) {
        positions[i] = random_positions();
        if (groups % 2 && (i + 1) % ((groups + 1) / 2) == 0) {
            positions[i] &= 15;
        }
    }
}

/* Values that are the original's, and values of anything at all. */
START_TEST(measure_random)
{
    const measure_case *c = &measure_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *from = s24_info(c->from), *to = s24_info(c->to);
    const prune_case p = {c->isa, c->from, c->to, s24_find_prune_kernel(c->isa, c->from, c->to), c->name};
    for (size_t cols = 1; cols <= 130; cols++) {
        for (int kind = 0; kind < INPUTS; kind++) {
            const size_t rows = 1 + below(5), groups = (cols + 3) / 4;
            char what[200];
            snprintf(what, sizeof what, "%s, %zu x %zu, input %d", c->name, rows, cols, kind);
            place_input(&p, (input)kind, rows, cols);
            if (prune_both(&p, rows, cols, true, what)) {
                ck_assert(measure_both(c, rows, cols, what));
            }
            place_random(&src_buffer, from, (input)kind, rows * cols);
            place_random(&out_buffer[0], to, (input)below(INPUTS), rows * groups * 2);
            place_positions(rows, groups);
            ck_assert(measure_both(c, rows, cols, what));
            positions_buffer[0].data[below(positions_buffer[0].size)] = (uint8_t)random_bits();
            measure_both(c, rows, cols, what);
        }
    }
}
END_TEST

/* The kernel itself does all that there is, up to invalid positions, and asks for the generic code where it must. */
START_TEST(measure_reach)
{
    const measure_case *c = &measure_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *from = s24_info(c->from), *to = s24_info(c->to);
    for (size_t groups = 1; groups < 70; groups++) {
        s24_lanes lanes = {0};
        place_random(&src_buffer, from, IN_ORDINARY, 4 * groups);
        place_random(&out_buffer[0], to, IN_ORDINARY, 2 * groups);
        place_positions(1, groups);
        unsigned char *src = src_buffer.data;
        uint8_t *positions = positions_buffer[0].data;
        ck_assert_uint_eq(c->function(src, groups, out_buffer[0].data, positions, &lanes), groups);
        ck_assert(!lanes.redo);
        for (size_t i = 0; i < 4 * groups && from->kind != S24_KIND_INT; i++) {
            const uint64_t ordinary = s24_load(src, from->bytes, i);
            s24_store(src, from->bytes, i, (one_in(2) ? from->nonfinite_key : from->magnitude_mask) | sign_bit(from));
            lanes = (s24_lanes){0};
            c->function(src, groups, out_buffer[0].data, positions, &lanes);
            ck_assert_msg(lanes.redo, "%s: element %zu of %zu is let pass", c->name, i, 4 * groups);
            s24_store(src, from->bytes, i, ordinary);
        }
        const size_t bad = below(groups);
        positions[bad / 2] &= bad % 2 ? 0x0f : 0xf0;
        ck_assert_uint_le(c->function(src, groups, out_buffer[0].data, positions, &lanes), bad);
    }
}
END_TEST

/* ---------------------------------------------------------------- properties */

/* The kernel's element (row, col) is the input's, or +0 where another two are kept: so unpack of pack is the mask. */
static void assert_masked(const s24_dtype_info *info, size_t rows, size_t cols, const unsigned char *in,
                          const unsigned char *out)
{
    for (size_t i = 0, nonzero = 0; i < rows * cols; i++) {
        const uint64_t w = s24_load(in, info->bytes, i), v = s24_load(out, info->bytes, i);
        nonzero = i % cols % 4 ? nonzero : 0;
        nonzero += v != 0;
        if ((v != w && v != 0) || nonzero > 2) {
            ck_abort_msg("element %zu is neither kept nor pruned, or the third of its group", i);
        }
    }
}

START_TEST(properties)
{
    const unpack_case *u = &unpack_cases[_i];
    if (!have(u->isa) || u->from != u->to) {
        return;
    }
    const prune_case c = {u->isa, u->from, u->to, s24_find_prune_kernel(u->isa, u->from, u->to), u->name};
    const s24_unpacker unpacker = unpacker_of(u, false);
    const unsigned bytes = unpacker.from->bytes;
    for (size_t cols = 1; cols <= 130; cols++) {
        const size_t rows = 1 + below(5), groups = (cols + 3) / 4;
        s24_fault fault;
        place_input(&c, (input)below(IN_ROUNDING), rows, cols);
        ck_assert(prune_both(&c, rows, cols, false, c.name));
        unsigned char *dense = buffer_place(&aux_buffer, rows * cols * bytes, random_gap());
        ck_assert(s24_unpack_panel(&unpacker, rows, cols, out_buffer[0].data, positions_buffer[0].data, NULL, dense, &fault));
        buffer_check(&aux_buffer);
        assert_masked(unpacker.from, rows, cols, src_buffer.data, dense);

        /* Once more: the dense form, since with zeros among the kept the positions may be others. */
        memcpy(src_buffer.data, dense, rows * cols * bytes);
        ck_assert(prune_both(&c, rows, cols, false, c.name));
        unsigned char *again = buffer_place(&out_buffer[1], rows * groups * 4 * bytes, 0);
        ck_assert(s24_unpack_panel(&unpacker, rows, cols, out_buffer[0].data, positions_buffer[0].data, NULL, again, &fault));
        for (size_t i = 0; i < rows * cols; i++) {
            const uint64_t v = s24_load(dense, bytes, i), w = s24_load(again, bytes, i);
            if (v != w && (s24_key(unpacker.from, v) != 0 || w != 0)) {
                ck_abort_msg("element %zu changes when it is pruned again", i);
            }
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- scores */

typedef enum factor_kind {
    FACTORS_ANY,    /* around 1 */
    FACTORS_EQUAL,  /* ties where magnitudes tie */
    FACTORS_DEAD,   /* most are 0 */
    FACTORS_NEAR,   /* a few roundings apart, by which f64 decides */
    FACTORS_TINY,   /* of exponents far below those of f32 */
    FACTORS_WIDE,   /* of all exponents: nothing near them is in f32 */
    FACTOR_KINDS
} factor_kind;

static double factor(factor_kind kind)
{
    const double x = ldexp(1 + (double)random_bits() * 0x1p-64, (int)below(8) - 4);
    switch (kind) {
    case FACTORS_EQUAL: return 3;
    case FACTORS_DEAD: return one_in(3) ? x : 0;
    case FACTORS_NEAR: return 1 + (double)below(64) * 0x1p-26 + (one_in(2) ? 0x1p-50 : 0);
    case FACTORS_TINY: return ldexp(x, -700);
    case FACTORS_WIDE: return ldexp(x, (int)below(1600) - 800);
    default: return x;
    }
}

static void place_factors(s24_factors *f, factor_kind kind, size_t rows, size_t cols, size_t taps, bool sums)
{
    s24_error err;
    ck_assert_int_eq(s24_factors_init(f, rows, cols, taps, sums, &err), S24_OK);
    for (size_t t = 0; t < taps; t++) {
        for (size_t j = 0; j < cols; j++) {
            f->a[t * cols + j] = factor(kind);
            if (sums) {
                f->c[t * cols + j] = f->a[t * cols + j] != 0 ? factor(kind) : 0;
            }
        }
    }
    for (size_t i = 0; sums && i < rows / taps; i++) {
        f->b[i] = one_in(8) ? 0 : factor(FACTORS_ANY);
    }
    s24_factors_complete(f);
    ck_assert_msg(f->near_a || kind == FACTORS_WIDE, "there are no factors near those of kind %d", kind);
}

/* A panel that lies somewhere in its tensor. */
static void score_both(const score_case *c, input kind, factor_kind factors, size_t rows, size_t cols)
{
    const s24_method *const wanda = &s24_methods[S24_METHOD_WANDA];
    const size_t taps = 1 + below(3), row = below(4), col = 4 * below(3);
    const prune_case place = {c->isa, c->from, c->to, NULL, c->name};
    s24_pruner p[2];
    s24_factors f;
    char what[200];
    snprintf(what, sizeof what, "%s, %zu x %zu, input %d, factors %d", c->name, rows, cols, kind, factors);
    place_factors(&f, factors, (row + rows + taps) / taps * taps, col + cols, taps, one_in(2));
    for (int generic = 0; generic < 2; generic++) {
        p[generic] = s24_pruner_of(wanda, c->from, c->to, S24_F64, one_in(2) && generic == 0, c->isa);
        p[generic].allow_nonfinite = p[0].allow_nonfinite;
        s24_pruner_by(&p[generic], &f, c->isa);
    }
    ck_assert_msg(p[0].scored == c->function, "%s is not what dispatch finds", c->name);
    p[1].scored = NULL;
    place_input(&place, kind, rows, cols);
    prune_by_both(p, rows, cols, row, col, what);
    s24_factors_free(&f);
}

START_TEST(score_kernels)
{
    const score_case *c = &score_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (size_t cols = 1; cols <= 130; cols++) {
        for (int kind = 0; kind < INPUTS; kind++) {
            score_both(c, (input)kind, (factor_kind)(((size_t)kind + cols) % FACTOR_KINDS), 1 + below(4), cols);
        }
    }
    for (int kind = 0; kind < INPUTS * FACTOR_KINDS; kind++) {
        score_both(c, (input)(kind / FACTOR_KINDS), (factor_kind)(kind % FACTOR_KINDS), 2, 1000 + below(500));
    }
    score_both(c, IN_ORDINARY, FACTORS_ANY, 2, 33000 + below(64));
}
END_TEST

/* The kernel itself does all groups, and a chunk that needs no f64 as one that does. */
START_TEST(score_reach)
{
    const score_case *c = &score_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *from = s24_info(c->from), *to = s24_info(c->to);
    for (size_t groups = 1; groups < 70; groups++) {
        s24_factors f;
        s24_lanes lanes = {.redo = false};
        place_factors(&f, FACTORS_ANY, 1, 4 * groups, 1, false);
        const s24_row_factors row = s24_factors_at(&f, 0, 0);
        unsigned char *src = buffer_place(&src_buffer, 4 * groups * from->bytes, 0);
        fill(IN_ORDINARY, from, to, 1, 4 * groups, src);
        buffer_place(&out_buffer[0], 2 * groups * to->bytes, 0);
        buffer_place(&positions_buffer[0], (groups + 1) / 2, 0);
        ck_assert_uint_eq(c->function(src, groups, &row, out_buffer[0].data, positions_buffer[0].data, &lanes), groups);
        ck_assert(!lanes.redo);
        for (size_t i = 0; i < 4 * groups; i++) {
            const uint64_t ordinary = s24_load(src, from->bytes, i);
            s24_store(src, from->bytes, i, (one_in(2) ? from->nonfinite_key : from->magnitude_mask) | sign_bit(from));
            f.a[i] = one_in(2) ? 0 : f.a[i];
            f.near_a[i] = f.a[i] > 0 ? f.near_a[i] : 0;
            lanes = (s24_lanes){.redo = false};
            c->function(src, groups, &row, out_buffer[0].data, positions_buffer[0].data, &lanes);
            ck_assert_msg(lanes.redo, "%s: element %zu of %zu is let pass", c->name, i, 4 * groups);
            s24_store(src, from->bytes, i, ordinary);
        }
        s24_factors_free(&f);
    }
}
END_TEST

/* ---------------------------------------------------------------- scales */

/* A number times 2^exponent: one of the 8-bit type, halfway between two of them, next to such a place, or any. */
static double near_steps(const s24_dtype_info *to, int exponent)
{
    const uint64_t most = to->kind == S24_KIND_INT ? 127 : to->nonfinite_key - 1;
    const uint64_t key = below(most); /* one more is still a number */
    const double low = s24_decode(to, key), high = s24_decode(to, key + 1), between = (low + high) / 2;
    const double x = one_in(3) ? low : one_in(2) ? between : low + (high - low) * (double)(random_bits() >> 11) * 0x1p-53;
    const double shifted = one_in(4) ? nextafter(x, one_in(2) ? 0 : INFINITY) : x;
    return ldexp(one_in(2) ? -shifted : shifted, exponent);
}

static void quantize_both(const quantize_case *c, size_t n, int exponent, bool steps)
{
    s24_pruner fast = s24_pruner_of(&s24_methods[S24_METHOD_MAGNITUDE], c->from, c->to, c->from, false, c->isa), slow = fast;
    s24_lanes lanes[2];
    float scale[2];
    size_t at;
    unsigned char *values = buffer_place(&src_buffer, n * fast.from->bytes, random_gap());
    const size_t real = n - (n % 2 == 0 && one_in(4));
    slow.quantize = NULL;
    slow.largest = NULL;
    memset(lanes, 0, sizeof lanes);
    ck_assert_msg(fast.quantize == c->function, "%s is not what dispatch finds", c->name);
    for (size_t i = 0; i < n; i++) {
        bool overflow = false;
        double x = i == 3 && steps ? ldexp(s24_scale_steps(fast.to), exponent) : near_steps(fast.to, exponent);
        x = one_in(16) ? copysign(0, x) : !steps && one_in(8) ? ldexp(x, -(int)below(40)) : x;
        s24_store(values, fast.from->bytes, i, i < real ? s24_encode(fast.from, x, &overflow) : 0);
        ck_assert(!overflow);
    }
    for (int generic = 0; generic < 2; generic++) {
        void *q = buffer_place(&out_buffer[generic], n, random_gap());
        ck_assert(s24_quantize(generic ? &slow : &fast, values, n, real, q, &scale[generic], &lanes[generic], &at));
        buffer_check(&out_buffer[generic]);
    }
    buffer_check(&src_buffer);
    ck_assert_msg(memcmp(&scale[0], &scale[1], sizeof *scale) == 0, "%s: scales %a, %a", c->name, (double)scale[0],
                  (double)scale[1]);
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(out_buffer[0].data[i] == out_buffer[1].data[i], "%s: %a / %a is %02x, not %02x", c->name,
                      s24_decode(fast.from, s24_load(values, fast.from->bytes, i)), (double)*scale, out_buffer[0].data[i],
                      out_buffer[1].data[i]);
    }
    ck_assert_msg(memcmp(&lanes[0], &lanes[1], sizeof *lanes) == 0, "%s: sums differ", c->name);
}

START_TEST(quantize_kernels)
{
    const quantize_case *c = &quantize_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (int n = 0; n < 1500; n++) {
        const int least = c->from == S24_F16 ? -20 : -120, room = c->from == S24_F16 ? 19 : 220;
        quantize_both(c, 4 + below(300), c->from == S24_F16 && c->to == S24_F8E5M2 ? -(int)below(12)
                      : least + (int)below((size_t)room), n % 2);
    }
    /* the kernel itself does all the eights that there are */
    for (size_t n = 0; n < 40; n++) {
        s24_lanes lanes = {.redo = false};
        memset(buffer_place(&src_buffer, 8 * n, 0), 0, 8 * n);
        ck_assert_uint_eq(c->function(src_buffer.data, n, 1, buffer_place(&out_buffer[0], n, 0), &lanes), n / 8 * 8);
        ck_assert_uint_eq(lanes.kept_zeros, n / 8 * 8);
    }
}
END_TEST

START_TEST(largest_kernels)
{
    const largest_case *c = &largest_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    const s24_dtype_info *info = s24_info(c->dtype);
    for (size_t n = 0; n < 200; n++) {
        unsigned char *values = buffer_place(&src_buffer, n * info->bytes, random_gap());
        const size_t whole = n / (32 / info->bytes) * (32 / info->bytes);
        uint64_t expected = below(2) ? 0 : random_bits() % info->nonfinite_key, key = expected;
        for (size_t i = 0; i < n; i++) {
            const uint64_t bits = random_bits() % info->nonfinite_key | (one_in(2) ? info->magnitude_mask + 1 : 0);
            s24_store(values, info->bytes, i, bits);
            expected = i < whole && s24_key(info, bits) > expected ? s24_key(info, bits) : expected;
        }
        ck_assert_uint_eq(c->function(values, n, &key), whole);
        ck_assert_uint_eq(key, expected);
    }
}
END_TEST

/* Any panel with scales against any original: by kernels as without them, down to what is no position or no number. */
START_TEST(misfit_kernels)
{
    const misfit_case *c = &misfit_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (int n = 0; n < 600; n++) {
        const size_t rows = 1 + below(4), cols = 1 + below(n % 8 ? 300 : 5000), groups = (cols + 3) / 4;
        s24_measurer fast = s24_measurer_of(c->from, c->to, c->isa), slow = fast;
        fast.scale_group = slow.scale_group = one_in(2) ? S24_SCALE_GROUP : 0;
        const size_t scales = rows * s24_row_scales(cols, fast.scale_group);
        ck_assert_msg(fast.misfit == c->function, "%s is not what dispatch finds", c->name);
        slow.as_it_is = NULL;
        unsigned char *src = buffer_place(&src_buffer, rows * cols * fast.from->bytes, random_gap());
        unsigned char *q = buffer_place(&out_buffer[0], rows * 2 * groups, random_gap());
        uint8_t *positions = buffer_place(&positions_buffer[0], rows * ((groups + 1) / 2), random_gap());
        float *scale = (float *)(void *)buffer_place(&aux_buffer, scales * sizeof(float), 0);
        for (size_t i = 0; i < rows * cols; i++) {
            bool overflow = false;
            const double x = one_in(8) ? copysign(0, one_in(2) ? 1 : -1) : near_steps(s24_info(S24_I8), -7);
            s24_store(src, fast.from->bytes, i, s24_encode(fast.from, n % 5 == 0 && one_in(500) ? (double)NAN : x, &overflow));
        }
        for (size_t i = 0; i < out_buffer[0].size; i++) {
            q[i] = (unsigned char)random_bits();
            q[i] = one_in(4) ? 0 : s24_key(fast.to, q[i]) < fast.to->nonfinite_key || (n % 7 == 0 && one_in(9)) ? q[i] : 1;
        }
        for (size_t i = 0; i < positions_buffer[0].size; i++) {
            positions[i] = n % 16 ? random_positions() : (uint8_t)random_bits();
        }
        for (size_t i = 0; i < scales; i++) {
            scale[i] = ldexpf((float)(1 + below(1000)), -20 - (int)below(8));
        }
        const s24_panel panel = {.rows = rows, .cols = cols, .dense = src, .values = q, .positions = positions, .scales = scale};
        s24_sums sums[2];
        s24_fault fault[2];
        memset(sums, 0, sizeof sums);
        const bool ok = s24_measure_panel(&fast, &panel, &sums[0], &fault[0]);
        ck_assert_msg(ok == s24_measure_panel(&slow, &panel, &sums[1], &fault[1]), "%s: %s, which the generic code does not",
                      c->name, ok ? "accepts" : "refuses");
        if (!ok) {
            assert_same_fault(&fault[0], &fault[1], c->name);
            continue;
        }
        for (double *x = &sums[0].kept_abs, *y = &sums[1].kept_abs; x <= &sums[0].max_abs_error; x++, y++) {
            *x = isnan(*x) && isnan(*y) ? *y : *x;
        }
        ck_assert_msg(memcmp(&sums[0], &sums[1], sizeof *sums) == 0, "%s: sums differ", c->name);
    }
}
END_TEST

/* A panel with scales by kernels and without: every stored value, and what does not fit or is no position. */
START_TEST(dequantize_kernels)
{
    const dequantize_case *c = &dequantize_cases[_i];
    if (!have(c->isa)) {
        return;
    }
    for (int n = 0; n < 600; n++) {
        const size_t rows = 1 + below(4), cols = 1 + below(n % 8 ? 300 : 5000), groups = (cols + 3) / 4;
        s24_unpacker fast = s24_unpacker_of(c->from, c->to, c->isa), slow = fast;
        fast.scale_group = slow.scale_group = one_in(2) ? S24_SCALE_GROUP : 0;
        const size_t scales = s24_row_scales(cols, fast.scale_group);
        ck_assert_msg(fast.dequantize == c->function, "%s is not what dispatch finds", c->name);
        slow.dequantize = NULL;
        unsigned char *q = buffer_place(&src_buffer, rows * 2 * groups, random_gap());
        uint8_t *positions = buffer_place(&aux_buffer, rows * ((groups + 1) / 2), random_gap());
        float *scale = (float *)(void *)buffer_place(&positions_buffer[0], rows * scales * sizeof(float), 0);
        for (size_t i = 0; i < src_buffer.size; i++) {
            q[i] = (unsigned char)random_bits();
            q[i] = one_in(64) || s24_key(fast.from, q[i]) < fast.from->nonfinite_key ? q[i] : 1;
        }
        for (size_t i = 0; i < aux_buffer.size; i++) {
            positions[i] = n % 16 ? random_positions() : (uint8_t)random_bits();
        }
        for (size_t i = 0; i < rows * scales; i++) {
            const int exponent = c->to == S24_F16 ? (int)below(36) - 34 : (int)below(260) - 149;
            scale[i] = ldexpf((float)(1 + (random_bits() >> 41)) * 0x1p-23f, one_in(8) ? -20 : exponent);
            scale[i] = scale[i] > 0 && isfinite(scale[i]) ? scale[i] : 1;
        }
        s24_fault fault[2];
        bool ok[2];
        for (int generic = 0; generic < 2; generic++) {
            void *dst = buffer_place(&out_buffer[generic], rows * cols * fast.to->bytes, random_gap());
            ok[generic] = s24_unpack_panel(generic ? &slow : &fast, rows, cols, q, positions, scale, dst, &fault[generic]);
            buffer_check(&out_buffer[generic]);
        }
        ck_assert_msg(ok[0] == ok[1], "%s: %s, which the generic code does not", c->name, ok[0] ? "accepts" : "refuses");
        if (!ok[0]) {
            assert_same_fault(&fault[0], &fault[1], c->name);
        } else {
            ck_assert_msg(memcmp(out_buffer[0].data, out_buffer[1].data, out_buffer[0].size) == 0, "%s: values differ", c->name);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- suite */

static void print_skipped(void)
{
    for (int i = 0; i < PRUNE_CASES; i++) {
        if (!have(prune_cases[i].isa)) {
            printf("test_kernels: skipped, not on this machine: %s\n", prune_cases[i].name);
        }
    }
    for (int i = 0; i < UNPACK_CASES; i++) {
        if (!have(unpack_cases[i].isa)) {
            printf("test_kernels: skipped, not on this machine: %s\n", unpack_cases[i].name);
        }
    }
    for (int i = 0; i < MEASURE_CASES; i++) {
        if (!have(measure_cases[i].isa)) {
            printf("test_kernels: skipped, not on this machine: %s\n", measure_cases[i].name);
        }
    }
    for (int i = 0; i < COMPLY_CASES; i++) {
        if (!have(comply_cases[i].isa)) {
            printf("test_kernels: skipped, not on this machine: %s\n", comply_cases[i].name);
        }
    }
}

int main(void)
{
    const char *given = getenv("S24_SEED");
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_kernels: S24_SEED=%llu\n", (unsigned long long)seed);
    print_skipped();

    Suite *suite = suite_create("kernels");
    TCase *prune = tcase_create("prune"), *unpack = tcase_create("unpack"), *comply = tcase_create("comply");
    TCase *measure = tcase_create("measure");
    tcase_add_checked_fixture(measure, map_all, NULL);
    tcase_set_timeout(measure, 300);
    tcase_add_loop_test(measure, measure_random, 0, MEASURE_CASES);
    tcase_add_loop_test(measure, measure_reach, 0, MEASURE_CASES);
    tcase_add_checked_fixture(prune, map_all, NULL);
    tcase_add_checked_fixture(unpack, map_all, NULL);
    tcase_add_checked_fixture(comply, map_all, NULL);
    tcase_set_timeout(comply, 300);
    tcase_set_timeout(prune, 300);
    tcase_set_timeout(unpack, 300);
    tcase_add_loop_test(prune, prune_random, 0, PRUNE_CASES);
    tcase_add_loop_test(prune, score_kernels, 0, SCORE_CASES);
    tcase_add_loop_test(prune, score_reach, 0, SCORE_CASES);
    tcase_add_loop_test(prune, prune_ties, 0, PRUNE_CASES);
    tcase_add_loop_test(prune, prune_every_rounding, 0, PRUNE_CASES);
    tcase_add_loop_test(prune, prune_underflow, 0, PRUNE_CASES);
    tcase_add_loop_test(prune, prune_redo, 0, PRUNE_CASES);
    tcase_add_loop_test(unpack, unpack_random, 0, UNPACK_CASES);
    tcase_add_loop_test(unpack, unpack_nibbles, 0, UNPACK_CASES);
    tcase_add_loop_test(unpack, unpack_every_value, 0, UNPACK_CASES);
    tcase_add_loop_test(unpack, properties, 0, UNPACK_CASES);
    tcase_add_loop_test(comply, comply_random, 0, COMPLY_CASES);
    tcase_add_loop_test(comply, comply_patterns, 0, COMPLY_CASES);
    tcase_add_loop_test(comply, comply_reach, 0, COMPLY_CASES);
    tcase_add_loop_test(comply, zeros_reach, 0, ZEROS_CASES);
    TCase *scaling = tcase_create("scales");
    tcase_add_checked_fixture(scaling, map_all, NULL);
    tcase_set_timeout(scaling, 300);
    tcase_add_loop_test(scaling, quantize_kernels, 0, QUANTIZE_CASES);
    tcase_add_loop_test(scaling, largest_kernels, 0, LARGEST_CASES);
    tcase_add_loop_test(scaling, dequantize_kernels, 0, DEQUANTIZE_CASES);
    tcase_add_loop_test(scaling, misfit_kernels, 0, MISFIT_CASES);
    suite_add_tcase(suite, scaling);
    suite_add_tcase(suite, comply);
    suite_add_tcase(suite, measure);
    suite_add_tcase(suite, prune);
    suite_add_tcase(suite, unpack);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
