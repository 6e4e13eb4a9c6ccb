/*
 * Elements to planes and back. Generic: 64 values at a time as bytes in small arrays, which are then packed to fields. That
 * is the specification of what kernels do.
 */
#include "coder_parts.h"
#include "kernels.h"

#define RUN 64 /* values: whole bytes of fields of any width */

/* The pieces are always inlined: widths are then constants. */
#define INLINE static inline __attribute__((always_inline))

bool s24_cut_of(s24_cut *cut, unsigned bytes, bool sign, unsigned prefix)
{
    const unsigned bits = 8 * bytes - sign;
    if (prefix == 0 || prefix > S24_CODER_PREFIX || prefix > bits || (bits - prefix) / 8 > S24_CODER_LOWS) {
        return false;
    }
    *cut = (s24_cut){.bytes = bytes, .sign = sign, .prefix = prefix, .middle = (bits - prefix) % 8,
                     .lows = (bits - prefix) / 8};
    return true;
}

/* ---------------------------------------------------------------- kernels */

typedef struct plane_kernels {
    s24_split_kernel *split;
    s24_join_kernel *join;
} plane_kernels;

#define ROW(ISA, width, split_function, join_function) \
    if (best == S24_ISA_##ISA && bytes == (width)) { \
        return (plane_kernels){.split = split_function, .join = join_function}; \
    }

/* None: the generic code does it all. */
static plane_kernels find(s24_isa isa, unsigned bytes)
{
    const s24_isa best = s24_isa_detect(isa == S24_ISA_BEST || isa > S24_ISA_AVX512 ? S24_ISA_AVX512 : isa);
    S24_PLANE_KERNELS(ROW)
    (void)best;
    (void)bytes;
    return (plane_kernels){.split = NULL};
}

/* ---------------------------------------------------------------- fields of bits */

/*
 * Eight fields, a byte each, to as many bytes as they have bits, and back: neighbours are moved together three times, to
 * lanes of two, four and eight fields.
 */
#define LANES16 UINT64_C(0x0001000100010001)
#define LANES32 UINT64_C(0x0000000100000001)

static uint64_t pack8(uint64_t x, unsigned width)
{
    x = (x & LANES16 * 0xff) | (x >> 8 & LANES16 * 0xff) << width;
    x = (x & LANES32 * 0xffff) | (x >> 16 & LANES32 * 0xffff) << 2 * width;
    return (x & UINT32_MAX) | x >> 32 << 4 * width;
}

static uint64_t unpack8(uint64_t x, unsigned width)
{
    const uint64_t four = (UINT64_C(1) << 4 * width) - 1, two = LANES32 * ((1u << 2 * width) - 1);
    const uint64_t one = LANES16 * ((1u << width) - 1);
    x = (x & four) | (x >> 4 * width & four) << 32;
    x = (x & two) | (x >> 2 * width & two) << 16;
    return (x & one) | (x >> width & one) << 8;
}

/* n fields of `width` bits, with room for RUN, to ceil(n * width / 8) bytes; fields beyond n are 0. */
static void pack_fields(const uint8_t fields[RUN], size_t n, unsigned width, uint8_t *out)
{
    uint8_t packed[RUN + 8];
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x;
        memcpy(&x, fields + i, 8);
        x = pack8(x, width);
        memcpy(packed + i / 8 * width, &x, 8);
    }
    memcpy(out, packed, (n * width + 7) / 8);
}

static void unpack_fields(const uint8_t *in, size_t n, unsigned width, uint8_t fields[RUN])
{
    uint8_t packed[RUN + 8] = {0};
    memcpy(packed, in, (n * width + 7) / 8);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t x;
        memcpy(&x, packed + i / 8 * width, 8);
        x = unpack8(x, width);
        memcpy(fields + i, &x, 8);
    }
}

void s24_pack_fields(const uint8_t *fields, size_t n, unsigned width, uint8_t *out)
{
    for (size_t i = 0; i < n; i += RUN) {
        uint8_t run[RUN] = {0};
        const size_t some = n - i < RUN ? n - i : RUN;
        memcpy(run, fields + i, some);
        pack_fields(run, some, width, out + i / 8 * width);
    }
}

void s24_unpack_fields(const uint8_t *in, size_t n, unsigned width, uint8_t *fields)
{
    for (size_t i = 0; i < n; i += RUN) {
        uint8_t run[RUN];
        const size_t some = n - i < RUN ? n - i : RUN;
        unpack_fields(in + i / 8 * width, some, width, run);
        memcpy(fields + i, run, some);
    }
}

/* ---------------------------------------------------------------- splitting */

/* Elements of a byte are their symbols. */
static bool is_symbols(const s24_cut *cut)
{
    return cut->bytes == 1 && cut->prefix == 8;
}

INLINE unsigned prefix_in(const s24_cut *cut, uint64_t v)
{
    return (unsigned)(v >> 8 * cut->lows >> cut->middle) & ((1u << cut->prefix) - 1);
}

/* The window is mapped to 1..254, and prefix 0, that of zeros and of what is nearly zero, to 0. */
INLINE uint8_t symbol_of(const s24_cut *cut, unsigned prefix)
{
    if (cut->prefix <= 8) {
        return (uint8_t)prefix;
    }
    const unsigned in_window = prefix - cut->base;
    return prefix == 0 ? 0 : in_window < S24_CODER_WINDOW ? (uint8_t)(in_window + 1) : S24_CODER_ESCAPE;
}

INLINE void split_run(const s24_cut *cut, unsigned bytes, const uint8_t *values, size_t first, size_t n,
                      const s24_value_planes *planes)
{
    uint8_t middle[RUN] = {0}, signs[RUN] = {0};
    const unsigned low_bits = 8 * cut->lows, bits = 8 * bytes - cut->sign;
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = s24_load(values, bytes, first + i);
        planes->symbols[first + i] = symbol_of(cut, prefix_in(cut, v));
        middle[i] = (uint8_t)(v >> low_bits & ((1u << cut->middle) - 1));
        signs[i] = cut->sign ? (uint8_t)(v >> bits) : 0;
        for (unsigned low = 0; low < cut->lows; low++) {
            planes->lows[low][first + i] = (uint8_t)(v >> 8 * low);
        }
    }
    if (cut->middle) {
        pack_fields(middle, n, cut->middle, planes->middle + first * cut->middle / 8);
    }
    if (cut->sign) {
        pack_fields(signs, n, 1, planes->signs + first / 8);
    }
}

static size_t collect_escapes(const s24_cut *cut, const void *values, size_t n, const uint8_t *symbols, uint16_t *escapes)
{
    size_t escaped = 0;
    for (size_t i = 0; i < n && cut->prefix > 8; i++) {
        const uint8_t *next = memchr(symbols + i, S24_CODER_ESCAPE, n - i);
        if (!next) {
            break;
        }
        i = (size_t)(next - symbols);
        escapes[escaped++] = (uint16_t)prefix_in(cut, s24_load(values, cut->bytes, i));
    }
    return escaped;
}

size_t s24_split_values(const s24_cut *cut, const void *values, size_t n, const s24_value_planes *planes,
                        uint16_t *escapes, s24_isa isa)
{
    if (is_symbols(cut)) {
        memcpy(planes->symbols, values, n);
        return 0;
    }
    s24_split_kernel *kernel = find(isa, cut->bytes).split;
    for (size_t i = kernel ? kernel(cut, values, n, planes) : 0; i < n; i += RUN) {
        const size_t some = n - i < RUN ? n - i : RUN;
        switch (cut->bytes) {
        case 1: split_run(cut, 1, values, i, some, planes); break;
        case 2: split_run(cut, 2, values, i, some, planes); break;
        case 4: split_run(cut, 4, values, i, some, planes); break;
        default: split_run(cut, 8, values, i, some, planes); break;
        }
    }
    return collect_escapes(cut, values, n, planes->symbols, escapes);
}

/* ---------------------------------------------------------------- joining */

INLINE uint64_t prefix_of(const s24_cut *cut, uint8_t symbol)
{
    if (cut->prefix <= 8) {
        return symbol & ((1u << cut->prefix) - 1);
    }
    return symbol == 0 || symbol == S24_CODER_ESCAPE ? 0 : cut->base + symbol - 1;
}

INLINE void join_run(const s24_cut *cut, unsigned bytes, const s24_value_planes *planes, size_t first, size_t n,
                     uint8_t *values)
{
    uint8_t middle[RUN] = {0}, signs[RUN] = {0};
    const unsigned low_bits = 8 * cut->lows, bits = 8 * bytes - cut->sign;
    if (cut->middle) {
        unpack_fields(planes->middle + first * cut->middle / 8, n, cut->middle, middle);
    }
    if (cut->sign) {
        unpack_fields(planes->signs + first / 8, n, 1, signs);
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t v = prefix_of(cut, planes->symbols[first + i]) << low_bits << cut->middle;
        v |= (uint64_t)middle[i] << low_bits;
        v |= cut->sign ? (uint64_t)signs[i] << bits : 0;
        for (unsigned low = 0; low < cut->lows; low++) {
            v |= (uint64_t)planes->lows[low][first + i] << 8 * low;
        }
        s24_store(values, bytes, first + i, v);
    }
}

void s24_join_values(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values, s24_isa isa)
{
    if (is_symbols(cut)) {
        memcpy(values, planes->symbols, n);
        return;
    }
    s24_join_kernel *kernel = find(isa, cut->bytes).join;
    for (size_t i = kernel ? kernel(cut, planes, n, values) : 0; i < n; i += RUN) {
        const size_t some = n - i < RUN ? n - i : RUN;
        switch (cut->bytes) {
        case 1: join_run(cut, 1, planes, i, some, values); break;
        case 2: join_run(cut, 2, planes, i, some, values); break;
        case 4: join_run(cut, 4, planes, i, some, values); break;
        default: join_run(cut, 8, planes, i, some, values); break;
        }
    }
}

bool s24_put_escapes(const s24_cut *cut, const uint8_t *symbols, size_t n, const uint8_t *escapes, size_t count,
                     void *values)
{
    const unsigned shift = 8 * cut->lows + cut->middle;
    size_t put = 0;
    if (cut->prefix <= 8) {
        return count == 0;
    }
    for (size_t i = 0; i < n; i++, put++) {
        const uint8_t *next = memchr(symbols + i, S24_CODER_ESCAPE, n - i);
        if (!next) {
            break;
        }
        if (put == count) {
            return false;
        }
        i = (size_t)(next - symbols);
        const uint64_t prefix = s24_load(escapes, 2, put);
        if (prefix >> cut->prefix) {
            return false;
        }
        s24_store(values, cut->bytes, i, s24_load(values, cut->bytes, i) | prefix << shift);
    }
    return put == count;
}

/* ---------------------------------------------------------------- positions */

#define NO_CODE 0xff

static const uint8_t number_of[16] = {
    NO_CODE, NO_CODE, NO_CODE, NO_CODE, 0, NO_CODE, NO_CODE, NO_CODE, 1, 2, NO_CODE, NO_CODE, 3, 4, 5, NO_CODE,
};
static const uint16_t code_of[6] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};

static unsigned nibble_at(const uint8_t *nibbles, size_t i)
{
    return i % 2 ? nibbles[i / 2] >> 4 : nibbles[i / 2] & 15;
}

/* Groups [first, groups), first a multiple of 6. */
static unsigned pack_rest(const uint8_t *nibbles, size_t first, size_t groups, uint8_t *packed)
{
    unsigned bad = groups % 2 ? nibbles[groups / 2] & 0xf0 : 0;
    for (size_t g = first; g < groups; g += 3) {
        unsigned three = 0, weight = 1;
        for (size_t i = g; i < groups && i < g + 3; i++, weight *= 6) {
            const unsigned number = number_of[nibble_at(nibbles, i)];
            bad |= number & 0x80;
            three += number * weight;
        }
        packed[g / 3] = (uint8_t)three;
    }
    return bad;
}

bool s24_pack_positions(const uint8_t *nibbles, size_t groups, uint8_t *packed)
{
    uint8_t of_two[256]; /* two groups: c0 + 6 c1 */
    unsigned bad = 0;
    size_t g = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        const unsigned low = number_of[byte & 15], high = number_of[byte >> 4];
        of_two[byte] = (uint8_t)((low | high) & 0x80 ? NO_CODE : low + 6 * high);
    }
    for (; g + 6 <= groups; g += 6) {
        const uint8_t *p = nibbles + g / 2;
        const unsigned a = of_two[p[0]], b = of_two[p[1]], c = of_two[p[2]], b1 = b / 6;
        bad |= (a | b | c) & 0x80;
        packed[g / 3] = (uint8_t)(a + 36 * (b - 6 * b1));
        packed[g / 3 + 1] = (uint8_t)(b1 + 6 * c);
    }
    return (bad | pack_rest(nibbles, g, groups, packed)) == 0;
}

static void put_nibble(uint8_t *nibbles, size_t i, unsigned code)
{
    nibbles[i / 2] = (uint8_t)(i % 2 ? nibbles[i / 2] | code << 4 : code);
}

#define THREES 216 /* 6 * 6 * 6 */
#define NO_THREE 0xffff

bool s24_unpack_positions(const uint8_t *packed, size_t groups, uint8_t *nibbles)
{
    uint16_t of_three[256];
    unsigned bad = 0;
    size_t g = 0;
    for (unsigned three = 0; three < 256; three++) {
        of_three[three] = (uint16_t)(three < THREES ? code_of[three % 6] | code_of[three / 6 % 6] << 4 | code_of[three / 36] << 8
                                                    : NO_THREE);
    }
    for (; g + 6 <= groups; g += 6) {
        const uint32_t a = of_three[packed[g / 3]], b = of_three[packed[g / 3 + 1]], both = a | b << 12;
        bad |= a == NO_THREE || b == NO_THREE;
        nibbles[g / 2] = (uint8_t)both;
        nibbles[g / 2 + 1] = (uint8_t)(both >> 8);
        nibbles[g / 2 + 2] = (uint8_t)(both >> 16);
    }
    for (; g < groups; g += 3) {
        unsigned rest = packed[g / 3];
        for (size_t i = g; i < groups && i < g + 3; i++, rest /= 6) {
            put_nibble(nibbles, i, code_of[rest % 6]);
        }
        bad |= rest;
    }
    return bad == 0;
}
