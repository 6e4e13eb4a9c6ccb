/*
 * Elements to planes and back, 64 values at a time. Generic: in small arrays, by loops of constant length without branches,
 * which compilers make vectors of. That is the specification of what kernels do.
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

/* ---------------------------------------------------------------- fields of bits */

/*
 * Eight fields, a byte each, to as many bytes as they have bits, and back: neighbours are moved together three times, to
 * lanes of two, four and eight fields.
 */
#define LANES16 UINT64_C(0x0001000100010001)
#define LANES32 UINT64_C(0x0000000100000001)

INLINE uint64_t pack8(uint64_t x, unsigned width)
{
    x = (x & LANES16 * 0xff) | (x >> 8 & LANES16 * 0xff) << width;
    x = (x & LANES32 * 0xffff) | (x >> 16 & LANES32 * 0xffff) << 2 * width;
    return (x & UINT32_MAX) | x >> 32 << 4 * width;
}

INLINE void unpack_words(uint64_t x[RUN / 8], unsigned width)
{
    const uint64_t four = (UINT64_C(1) << 4 * width) - 1, two = LANES32 * ((1u << 2 * width) - 1);
    const uint64_t one = LANES16 * ((1u << width) - 1);
    for (unsigned k = 0; k < RUN / 8; k++) {
        const uint64_t a = (x[k] & four) | (x[k] >> 4 * width & four) << 32;
        const uint64_t b = (a & two) | (a >> 2 * width & two) << 16;
        x[k] = (b & one) | (b >> width & one) << 8;
    }
}

/* A run of fields of `width` bits, a byte each, to 8 * width bytes, and back. */
INLINE void pack_run(const uint8_t fields[RUN], unsigned width, uint8_t *out)
{
    uint8_t packed[RUN + 8];
    for (unsigned i = 0; i < RUN; i += 8) {
        uint64_t x;
        memcpy(&x, fields + i, 8);
        x = pack8(x, width);
        memcpy(packed + i / 8 * width, &x, 8);
    }
    memcpy(out, packed, 8 * width);
}

/* The last ones come out of the last eight bytes: nothing beyond them is read. */
INLINE void unpack_run(const uint8_t *in, unsigned width, uint8_t fields[RUN])
{
    const unsigned last = 8 * width - 8;
    uint64_t x[RUN / 8];
    for (unsigned k = 0; k < RUN / 8; k++) {
        const unsigned at = k * width, from = at < last ? at : last;
        memcpy(&x[k], in + from, 8);
        x[k] >>= 8 * (at - from);
    }
    unpack_words(x, width);
    memcpy(fields, x, RUN);
}

static size_t field_bytes(size_t n, unsigned width)
{
    return (n * width + 7) / 8;
}

void s24_pack_fields(const uint8_t *fields, size_t n, unsigned width, uint8_t *out)
{
    for (size_t i = 0; i < n; i += RUN) {
        uint8_t run[RUN] = {0}, packed[RUN];
        const size_t some = n - i < RUN ? n - i : RUN;
        memcpy(run, fields + i, some);
        pack_run(run, width, packed);
        memcpy(out + i / 8 * width, packed, field_bytes(some, width));
    }
}

void s24_unpack_fields(const uint8_t *in, size_t n, unsigned width, uint8_t *fields)
{
    for (size_t i = 0; i < n; i += RUN) {
        uint8_t run[RUN], packed[RUN] = {0};
        const size_t some = n - i < RUN ? n - i : RUN;
        memcpy(packed, in + i / 8 * width, field_bytes(some, width));
        unpack_run(packed, width, run);
        memcpy(fields + i, run, some);
    }
}

/* Of each byte its lowest bit, and back: bit k of a byte stands at 8k, or 0. */
INLINE void pack_bits(const uint8_t bits[RUN], uint8_t *out)
{
    for (unsigned i = 0; i < RUN; i += 8) {
        uint64_t x;
        memcpy(&x, bits + i, 8);
        out[i / 8] = (uint8_t)(x * UINT64_C(0x0102040810204080) >> 56);
    }
}

INLINE void unpack_bits(const uint8_t *in, uint8_t bits[RUN])
{
    for (unsigned i = 0; i < RUN; i += 8) {
        const uint64_t each = in[i / 8] * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);
        const uint64_t x = (each + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
        memcpy(bits + i, &x, 8);
    }
}

/* ---------------------------------------------------------------- runs */

/* The window is mapped to 1..254, and prefix 0, that of zeros and of what is nearly zero, to 0. */
INLINE void symbols_of(const s24_cut *cut, const uint16_t prefixes[RUN], uint8_t symbols[RUN])
{
    if (cut->prefix <= 8) {
        for (unsigned i = 0; i < RUN; i++) {
            symbols[i] = (uint8_t)prefixes[i];
        }
        return;
    }
    const uint16_t base = (uint16_t)cut->base;
    for (unsigned i = 0; i < RUN; i++) {
        const uint16_t in_window = (uint16_t)(prefixes[i] - base);
        const uint16_t symbol = in_window < S24_CODER_WINDOW ? (uint16_t)(in_window + 1) : S24_CODER_ESCAPE;
        symbols[i] = (uint8_t)(prefixes[i] ? symbol : 0);
    }
}

INLINE void prefixes_of(const s24_cut *cut, const uint8_t symbols[RUN], uint16_t prefixes[RUN])
{
    if (cut->prefix <= 8) {
        const uint16_t mask = (uint16_t)((1u << cut->prefix) - 1);
        for (unsigned i = 0; i < RUN; i++) {
            prefixes[i] = symbols[i] & mask;
        }
        return;
    }
    const uint16_t below = (uint16_t)(cut->base - 1);
    for (unsigned i = 0; i < RUN; i++) {
        const uint16_t prefix = (uint16_t)(symbols[i] + below);
        prefixes[i] = (uint8_t)(symbols[i] + 1) > 1 ? prefix : 0; /* neither 0 nor an escape */
    }
}

#define EACH for (unsigned k = 0; k < RUN; k++)

#define ELEMENT uint8_t
#define UP(x, bits) ((ELEMENT)((x) * (ELEMENT)(1u << (bits))))
#define SPLIT split_1
#define JOIN join_1
#include "coder_runs_template.h"
#define ELEMENT uint16_t
#define UP(x, bits) ((ELEMENT)((x) * (ELEMENT)(1u << (bits))))
#define SPLIT split_2
#define JOIN join_2
#include "coder_runs_template.h"
#define ELEMENT uint32_t
#define UP(x, bits) ((ELEMENT)(x) << (bits))
#define SPLIT split_4
#define JOIN join_4
#include "coder_runs_template.h"
#define ELEMENT uint64_t
#define UP(x, bits) ((ELEMENT)(x) << (bits))
#define SPLIT split_8
#define JOIN join_8
#include "coder_runs_template.h"

/* ---------------------------------------------------------------- kernels */

typedef struct plane_kernels {
    s24_split_kernel *split;
    s24_join_kernel *join;
} plane_kernels;

static const plane_kernels generic[] = {[1] = {split_1, join_1}, [2] = {split_2, join_2}, [4] = {split_4, join_4},
                                        [8] = {split_8, join_8}};

#define ROW(ISA, width, split_function, join_function) \
    if (best == S24_ISA_##ISA && bytes == (width)) { \
        return (plane_kernels){.split = split_function, .join = join_function}; \
    }

static plane_kernels find(s24_isa isa, unsigned bytes)
{
    const s24_isa best = s24_isa_detect(isa == S24_ISA_BEST || isa > S24_ISA_AVX512 ? S24_ISA_AVX512 : isa);
    S24_PLANE_KERNELS(ROW)
    (void)best;
    return generic[bytes];
}

/* Elements of a byte are their symbols. */
static bool is_symbols(const s24_cut *cut)
{
    return cut->bytes == 1 && cut->prefix == 8;
}

/* A last run that is not whole, in planes of its own. */
typedef struct last_run {
    s24_value_planes planes;
    uint8_t symbols[RUN], lows[S24_CODER_LOWS][RUN], middle[RUN], signs[RUN / 8], values[8 * RUN];
} last_run;

static void lay_last(last_run *r)
{
    memset(r, 0, sizeof *r);
    r->planes = (s24_value_planes){.symbols = r->symbols, .middle = r->middle, .signs = r->signs};
    for (unsigned low = 0; low < S24_CODER_LOWS; low++) {
        r->planes.lows[low] = r->lows[low];
    }
}

/* What planes have of n values, to or from values `first` and on. */
static void copy_planes(const s24_cut *cut, const s24_value_planes *to, size_t to_first, const s24_value_planes *from,
                        size_t from_first, size_t n)
{
    memcpy(to->symbols + to_first, from->symbols + from_first, n);
    for (unsigned low = 0; low < cut->lows; low++) {
        memcpy(to->lows[low] + to_first, from->lows[low] + from_first, n);
    }
    if (cut->middle) {
        memcpy(to->middle + to_first / 8 * cut->middle, from->middle + from_first / 8 * cut->middle,
               field_bytes(n, cut->middle));
    }
    if (cut->sign) {
        memcpy(to->signs + to_first / 8, from->signs + from_first / 8, field_bytes(n, 1));
    }
}

/* ---------------------------------------------------------------- splitting */

static size_t collect_escapes(const s24_cut *cut, const void *values, size_t n, const uint8_t *symbols, uint16_t *escapes)
{
    const unsigned shift = 8 * cut->lows + cut->middle;
    size_t escaped = 0;
    for (size_t i = 0; i < n && cut->prefix > 8; i++) {
        const uint8_t *next = memchr(symbols + i, S24_CODER_ESCAPE, n - i);
        if (!next) {
            break;
        }
        i = (size_t)(next - symbols);
        escapes[escaped++] = (uint16_t)(s24_load(values, cut->bytes, i) >> shift & ((1u << cut->prefix) - 1));
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
    s24_split_kernel *split = find(isa, cut->bytes).split;
    const size_t whole = split(cut, values, n, planes);
    if (whole < n) {
        last_run r;
        lay_last(&r);
        memcpy(r.values, (const uint8_t *)values + whole * cut->bytes, (n - whole) * cut->bytes);
        split(cut, r.values, RUN, &r.planes);
        copy_planes(cut, planes, whole, &r.planes, 0, n - whole);
    }
    return collect_escapes(cut, values, n, planes->symbols, escapes);
}

/* ---------------------------------------------------------------- joining */

void s24_join_values(const s24_cut *cut, const s24_value_planes *planes, size_t n, void *values, s24_isa isa)
{
    if (is_symbols(cut)) {
        memcpy(values, planes->symbols, n);
        return;
    }
    s24_join_kernel *join = find(isa, cut->bytes).join;
    const size_t whole = join(cut, planes, n, values);
    if (whole < n) {
        last_run r;
        lay_last(&r);
        copy_planes(cut, &r.planes, 0, planes, whole, n - whole);
        join(cut, &r.planes, RUN, r.values);
        memcpy((uint8_t *)values + whole * cut->bytes, r.values, (n - whole) * cut->bytes);
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
