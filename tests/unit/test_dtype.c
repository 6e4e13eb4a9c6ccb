/*
 * Element types against their definitions: values by ldexp from the fields (IEEE 754; bf16, the upper half of an f32;
 * OCP 8-bit floating point 1.0), rounding by the compiler's own for f32, and for narrower types at every boundary
 * between two neighbouring values, one f64 below it, on it and one above, which leaves no case out.
 */
#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "dtype.h"
#include "random.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

/* For inner loops: ck_assert tells the parent process, by a system call, of every assertion that holds. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            ck_abort_msg(__VA_ARGS__); \
        } \
    } while (0)

/* ---------------------------------------------------------------- random numbers */

static double f64_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float f32_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* A finite f64 of random significand and sign whose exponent is in [low, high]. */
static double random_f64(int low, int high)
{
    const double significand = 1 + (double)(random_bits() >> 12) * 0x1p-52;
    const double x = ldexp(significand, low + (int)(random_bits() % (uint64_t)(high - low + 1)));
    return random_bits() & 1 ? x : -x;
}

/* ---------------------------------------------------------------- the narrow floats, by definition */

typedef struct narrow {
    s24_dtype dtype;
    int bits, exponent_bits, mantissa_bits;
    unsigned finite; /* how many magnitudes are finite: 0 .. finite - 1 as bits; IEEE types have infinity next */
    bool infinity;
} narrow;

static const narrow narrows[] = {
    {S24_F16, 16, 5, 10, 0x7c00, true},
    {S24_BF16, 16, 8, 7, 0x7f80, true},
    {S24_F8E4M3, 8, 4, 3, 0x7f, false},
    {S24_F8E5M2, 8, 5, 2, 0x7c, true},
};

/* The magnitude with those bits, also of the one that would follow the largest. */
static double magnitude(const narrow *t, unsigned bits)
{
    const int bias = (1 << (t->exponent_bits - 1)) - 1;
    const int exponent = (int)(bits >> t->mantissa_bits);
    const int mantissa = (int)(bits & ((1u << t->mantissa_bits) - 1));
    const int one = 1 << t->mantissa_bits;
    return exponent ? ldexp(one + mantissa, exponent - bias - t->mantissa_bits)
                    : ldexp(mantissa, 1 - bias - t->mantissa_bits);
}

static unsigned sign_bit(const narrow *t)
{
    return 1u << (t->bits - 1);
}

START_TEST(decode_every_pattern)
{
    const narrow *t = &narrows[_i];
    for (unsigned bits = 0; bits < 1u << t->bits; bits++) {
        const unsigned key = bits & (sign_bit(t) - 1);
        const double x = s24_decode(s24_info(t->dtype), bits);
        const double sign = bits & sign_bit(t) ? -1 : 1;
        if (key < t->finite) {
            REQUIRE(bits_of(x) == bits_of(copysign(magnitude(t, key), sign)), "%#x is %a", bits, x);
        } else if (key == t->finite && t->infinity) {
            REQUIRE(bits_of(x) == bits_of(sign * HUGE_VAL), "%#x is %a", bits, x);
        } else {
            REQUIRE(isnan(x) && (signbit(x) != 0) == (sign < 0), "%#x is %a", bits, x);
        }
    }
}
END_TEST

START_TEST(encode_every_decoded)
{
    const narrow *t = &narrows[_i];
    const s24_dtype_info *info = s24_info(t->dtype);
    for (unsigned bits = 0; bits < 1u << t->bits; bits++) {
        bool overflow = false;
        const uint64_t again = s24_encode(info, s24_decode(info, bits), &overflow);
        const unsigned key = bits & (sign_bit(t) - 1);
        const bool nan = key > t->finite || (key == t->finite && !t->infinity);
        const unsigned quiet = nan && t->infinity ? 1u << (t->mantissa_bits - 1) : 0;
        REQUIRE(again == (bits | quiet) && !overflow, "%#x becomes %#llx", bits, (unsigned long long)again);
    }
}
END_TEST

/* Both neighbours of a boundary, and which of them an f64 at it becomes. */
static void check_boundary(const narrow *t, unsigned lower, double sign)
{
    const s24_dtype_info *info = s24_info(t->dtype);
    const double below = magnitude(t, lower), above = magnitude(t, lower + 1), middle = (below + above) / 2;
    const double at[] = {below, nextafter(below, above), nextafter(middle, 0), middle, nextafter(middle, above),
                         nextafter(above, 0)};
    const unsigned even = lower % 2 ? lower + 1 : lower;
    const unsigned expected[] = {lower, lower, lower, even, lower + 1, lower + 1};
    for (int i = 0; i < ROWS(at); i++) {
        bool overflow = false;
        const uint64_t bits = s24_encode(info, sign * at[i], &overflow);
        const bool beyond = expected[i] >= t->finite;
        REQUIRE(overflow == beyond, "%s: %a: overflow is %d", info->name, sign * at[i], overflow);
        if (!beyond) {
            REQUIRE(bits == (expected[i] | (sign < 0 ? sign_bit(t) : 0)), "%s: %a becomes %#llx, not %#x", info->name,
                    sign * at[i], (unsigned long long)bits, expected[i]);
        }
    }
}

START_TEST(encode_every_boundary)
{
    const narrow *t = &narrows[_i];
    for (unsigned lower = 0; lower < t->finite; lower++) {
        check_boundary(t, lower, 1);
        check_boundary(t, lower, -1);
    }
}
END_TEST

/* The nearest of all values, by looking at each; ties to even, and `finite` for what is beyond the largest. */
static unsigned nearest(const narrow *t, double x)
{
    unsigned best = 0;
    for (unsigned i = 1; i <= t->finite; i++) {
        const double distance = fabs(magnitude(t, i) - x), least = fabs(magnitude(t, best) - x);
        if (distance < least || (distance == least && i % 2 == 0)) {
            best = i;
        }
    }
    return best;
}

START_TEST(encode_random_nearest)
{
    const narrow *t = &narrows[_i];
    const int bias = (1 << (t->exponent_bits - 1)) - 1;
    const int lowest = -bias - t->mantissa_bits - 2; /* an octave and more below the smallest subnormal */
    for (int n = t->bits == 8 ? 20000 : 200; n > 0; n--) {
        /* A short significand now and then: only those are ties. */
        const double x = fabs(random_f64(lowest, bias + 1));
        const double y = n % 2 ? x : f64_of(bits_of(x) & ~((UINT64_C(1) << (52 - t->mantissa_bits - 1)) - 1));
        bool overflow = false;
        const uint64_t bits = s24_encode(s24_info(t->dtype), y, &overflow);
        const unsigned expected = nearest(t, y);
        REQUIRE(overflow == (expected == t->finite), "%a: overflow is %d", y, overflow);
        REQUIRE(overflow || bits == expected, "%a becomes %#llx, not %#x", y, (unsigned long long)bits, expected);
    }
}
END_TEST

/* Powers of two far below and far above every narrow type, and f64's own extremes. */
START_TEST(encode_extremes)
{
    const narrow *t = &narrows[_i];
    const s24_dtype_info *info = s24_info(t->dtype);
    const int bias = (1 << (t->exponent_bits - 1)) - 1;
    for (int e = -1074; e <= 1023; e++) {
        bool overflow = false;
        const uint64_t bits = s24_encode(info, ldexp(-1, e), &overflow);
        if (e < -bias - t->mantissa_bits + 1) {
            REQUIRE(bits == sign_bit(t), "-2^%d becomes %#llx", e, (unsigned long long)bits);
        }
        REQUIRE(overflow == (ldexp(1, e) > magnitude(t, t->finite - 1)), "-2^%d: overflow is %d", e, overflow);
    }
    bool overflow = false;
    ck_assert_uint_eq(s24_encode(info, 0.0, &overflow), 0);
    ck_assert_uint_eq(s24_encode(info, -0.0, &overflow), sign_bit(t));
    ck_assert_uint_eq(s24_encode(info, -DBL_TRUE_MIN, &overflow), sign_bit(t));
    ck_assert(!overflow);
    s24_encode(info, -DBL_MAX, &overflow);
    ck_assert(overflow);
    s24_encode(info, 0, &overflow);
    ck_assert_msg(overflow, "overflow must never be cleared");
}
END_TEST

/* The largest values and the first f64 that overflows, written out. */
START_TEST(overflow_thresholds)
{
    static const struct {
        s24_dtype dtype;
        double fits;     /* the largest f64 that is rounded down */
        uint64_t bits;
        double overflows; /* the next one */
    } rows[] = {
        {S24_F16, 0x1.ffdffffffffffp15, 0x7bff, 65520},
        {S24_F16, 65519.99, 0x7bff, 65520.01},
        {S24_BF16, 0x1.fefffffffffffp127, 0x7f7f, 0x1.ffp127},
        {S24_F32, 0x1.fffffefffffffp127, 0x7f7fffff, 0x1.ffffffp127},
        {S24_F8E4M3, 464, 0x7e, 464.0000000000001}, /* a tie, and 448 is the even one */
        {S24_F8E5M2, 61439.99999999999, 0x7b, 61440},
    };
    for (int i = 0; i < ROWS(rows); i++) {
        const s24_dtype_info *info = s24_info(rows[i].dtype);
        bool overflow = false;
        ck_assert_uint_eq(s24_encode(info, rows[i].fits, &overflow), rows[i].bits);
        ck_assert(!overflow);
        s24_encode(info, -rows[i].overflows, &overflow);
        ck_assert_msg(overflow, "%s: %.17g must overflow", info->name, rows[i].overflows);
    }
}
END_TEST

/* Infinity is a value where the type has one. */
START_TEST(encode_nonfinite)
{
    const narrow *t = &narrows[_i];
    const s24_dtype_info *info = s24_info(t->dtype);
    bool overflow = false;
    const uint64_t bits = s24_encode(info, -HUGE_VAL, &overflow);
    ck_assert_int_eq(overflow, !t->infinity);
    ck_assert(!t->infinity || bits == (t->finite | sign_bit(t)));
    for (int n = 0; n < 1000; n++) { /* NaN with any payload, also one whose upper bits are 0 */
        const uint64_t payload = random_bits() >> (12 + random_bits() % 52);
        const double nan = f64_of((random_bits() & 1) << 63 | UINT64_C(0x7ff) << 52 | (payload ? payload : 1));
        overflow = false;
        const double again = s24_decode(info, s24_encode(info, nan, &overflow));
        const bool quiet = bits_of(again) >> 51 & 1;
        const bool sign_kept = (signbit(again) != 0) == (signbit(nan) != 0);
        REQUIRE(isnan(again) && quiet && sign_kept && !overflow, "NaN %#llx becomes %#llx",
                (unsigned long long)bits_of(nan), (unsigned long long)bits_of(again));
    }
}
END_TEST

/* ---------------------------------------------------------------- f32, by the compiler */

static void check_f32(double x)
{
    const float expected = (float)x;
    bool overflow = false;
    const uint64_t bits = s24_encode(s24_info(S24_F32), x, &overflow);
    REQUIRE(overflow == (isinf(expected) && !isinf(x)), "%a: overflow is %d", x, overflow);
    REQUIRE(overflow || bits == bits_of_f32(expected), "%a becomes %#llx, not %#x", x, (unsigned long long)bits,
            bits_of_f32(expected));
}

START_TEST(f32_random)
{
    for (int n = 0; n < 1000000; n++) {
        check_f32(random_f64(-160, 130));
        const double any = f64_of(random_bits());
        check_f32(isnan(any) ? 0 : any);
    }
}
END_TEST

/* Between a random f32 and its neighbour, subnormals and the largest included. */
START_TEST(f32_boundaries)
{
    for (int n = 0; n < 300000; n++) {
        const uint32_t random = (uint32_t)random_bits() & INT32_MAX;
        const uint32_t lower = n < 4 ? 0x7f7ffffcu + (uint32_t)n : n < 100 ? (uint32_t)n
            : n % 4 ? random % 0x7f800000u : random & 0xffffff;
        const double below = f32_of(lower), above = lower == 0x7f7fffff ? 0x1p128 : f32_of(lower + 1);
        const double middle = (below + above) / 2;
        const double at[] = {below, middle, nextafter(middle, 0), nextafter(middle, above), above};
        for (int i = 0; i < ROWS(at); i++) {
            check_f32(at[i]);
            check_f32(-at[i]);
        }
    }
}
END_TEST

START_TEST(f32_decode)
{
    for (int n = 0; n < 1000000; n++) {
        const uint32_t bits = n < 2000 ? (uint32_t)n << 31 | (uint32_t)n / 2 : (uint32_t)random_bits();
        const double x = s24_decode(s24_info(S24_F32), bits), expected = f32_of(bits);
        REQUIRE(isnan(expected) ? isnan(x) : bits_of(x) == bits_of(expected), "%#x is %a", bits, x);
    }
}
END_TEST

START_TEST(f64_is_itself)
{
    for (int n = 0; n < 100000; n++) {
        const uint64_t bits = random_bits();
        bool overflow = false;
        const bool decoded = bits_of(s24_decode(s24_info(S24_F64), bits)) == bits;
        const bool encoded = s24_encode(s24_info(S24_F64), f64_of(bits), &overflow) == bits;
        REQUIRE(decoded && encoded && !overflow, "%#llx changes", (unsigned long long)bits);
    }
}
END_TEST

START_TEST(i8_every_pattern)
{
    for (unsigned bits = 0; bits < 256; bits++) {
        int8_t expected;
        const uint8_t byte = (uint8_t)bits;
        bool overflow = false;
        memcpy(&expected, &byte, 1);
        const double x = s24_decode(s24_info(S24_I8), bits);
        ck_assert_double_eq(x, expected);
        ck_assert_uint_eq(s24_encode(s24_info(S24_I8), x, &overflow), bits);
        ck_assert_uint_eq(s24_key(s24_info(S24_I8), bits), (uint64_t)abs(expected));
        ck_assert(!overflow);
    }
}
END_TEST

/* Nothing is rounded to i8: what is no integer of it is refused. */
START_TEST(i8_takes_its_own)
{
    static const double others[] = {0.5, -0.5, 127.5, 128, -128.5, -129, 1e300, -HUGE_VAL, HUGE_VAL, NAN, 0x1p-1074};
    for (int i = 0; i < ROWS(others); i++) {
        bool overflow = false;
        s24_encode(s24_info(S24_I8), others[i], &overflow);
        ck_assert_msg(overflow, "%g is no i8", others[i]);
    }
    bool overflow = false;
    ck_assert_uint_eq(s24_encode(s24_info(S24_I8), -0.0, &overflow), 0);
    ck_assert(!overflow);
}
END_TEST

/* ---------------------------------------------------------------- keys */

/*
 * Every pair of patterns of 8 bits; of 16 bits every pair of neighbours by key, which is as good: each key has just
 * the two patterns of both signs.
 */
START_TEST(keys_order_magnitudes)
{
    const narrow *t = &narrows[_i];
    const s24_dtype_info *info = s24_info(t->dtype);
    ck_assert_uint_eq(info->nonfinite_key, t->finite);
    for (unsigned bits = 0; bits < 1u << t->bits; bits++) {
        REQUIRE(s24_key(info, bits) == (bits & (sign_bit(t) - 1)), "key of %#x", bits);
    }
    for (unsigned key = 0; key + 1 < t->finite; key++) {
        REQUIRE(fabs(s24_decode(info, key)) < fabs(s24_decode(info, (key + 1) | sign_bit(t))), "keys from %#x", key);
    }
    for (unsigned key = t->finite; key < sign_bit(t); key++) {
        const double x = s24_decode(info, key); /* infinity is below NaN */
        REQUIRE(key == t->finite ? !isfinite(x) : isnan(x), "%#x is %a", key, x);
    }
}
END_TEST

START_TEST(keys_every_pair)
{
    static const s24_dtype dtypes[] = {S24_F8E4M3, S24_F8E5M2, S24_I8};
    for (int d = 0; d < ROWS(dtypes); d++) {
        const s24_dtype_info *info = s24_info(dtypes[d]);
        for (unsigned pair = 0; pair < 1u << 16; pair++) {
            const double a = fabs(s24_decode(info, pair & 255)), b = fabs(s24_decode(info, pair >> 8));
            if (!isnan(a) && !isnan(b)) {
                const uint64_t key_a = s24_key(info, pair & 255), key_b = s24_key(info, pair >> 8);
                REQUIRE((key_a > key_b) - (key_a < key_b) == (a > b) - (a < b), "%s: keys of %g and %g", info->name,
                        a, b);
            }
        }
    }
}
END_TEST

START_TEST(keys_of_wide_types)
{
    for (int n = 0; n < 1000000; n++) {
        const uint64_t a = random_bits(), b = n % 2 ? random_bits() : a ^ (UINT64_C(1) << 63 | random_bits() % 3);
        const uint64_t a4 = a & UINT32_MAX, b4 = b & UINT32_MAX;
        const uint64_t key_a = s24_key(s24_info(S24_F64), a), key_b = s24_key(s24_info(S24_F64), b);
        const uint64_t key_a4 = s24_key(s24_info(S24_F32), a4), key_b4 = s24_key(s24_info(S24_F32), b4);
        const double x = fabs(f64_of(a)), y = fabs(f64_of(b));
        const double x4 = fabs((double)f32_of((uint32_t)a4)), y4 = fabs((double)f32_of((uint32_t)b4));
        REQUIRE(isnan(x) || isnan(y) || (x < y) == (key_a < key_b), "keys of %a and %a", x, y);
        REQUIRE(isnan(x4) || isnan(y4) || (x4 < y4) == (key_a4 < key_b4), "f32: keys of %a and %a", x4, y4);
        REQUIRE((isfinite(x) != 0) == (key_a < s24_info(S24_F64)->nonfinite_key), "key of %a", x);
        REQUIRE((isfinite(x4) != 0) == (key_a4 < s24_info(S24_F32)->nonfinite_key), "f32: key of %a", x4);
    }
}
END_TEST

/* ---------------------------------------------------------------- conversion of arrays */

#define N 300

/* Bits that every pair of dtypes can convert: from small integers. */
static void fill(s24_dtype dtype, unsigned char *array)
{
    const s24_dtype_info *info = s24_info(dtype);
    for (size_t i = 0; i < N; i++) {
        bool overflow = false;
        s24_store(array, info->bytes, i, s24_encode(info, (double)(random_bits() % 17) - 8, &overflow));
    }
}

static void check_pair(s24_dtype from, s24_dtype to)
{
    const bool numbers = from <= S24_I8 && to <= S24_I8;
    const bool possible = numbers && (from == to || to <= S24_BF16);
    unsigned char src[8 * N + 1] = {0}, dst[8 * N + 3] = {0};
    s24_error err = {.status = S24_OK};
    size_t at = 77;
    if (numbers) {
        fill(from, src + 1);
    }
    const s24_status status = s24_dtype_convert(from, src + 1, to, dst + 3, N, &at, &err);
    ck_assert_int_eq(s24_dtype_convertible(from, to), possible);
    ck_assert_int_eq(status, possible ? S24_OK : S24_ERR_USAGE);
    ck_assert_int_eq(err.status, status);
    ck_assert_uint_eq(at, 77);
    ck_assert_int_eq(s24_dtype_convert(from, src + 1, to, dst + 3, 0, NULL, NULL), status);
    if (!possible) {
        ck_assert_ptr_nonnull(strstr(err.message, s24_dtype_name(from)));
        ck_assert_ptr_nonnull(strstr(err.message, s24_dtype_name(to)));
        return;
    }
    for (size_t i = 0; i < N; i++) {
        const uint64_t v = s24_load(src + 1, s24_info(from)->bytes, i), w = s24_load(dst + 3, s24_info(to)->bytes, i);
        const double x = s24_decode(s24_info(from), v), y = s24_decode(s24_info(to), w);
        REQUIRE(x == y, "%s to %s: %g becomes %g", s24_dtype_name(from), s24_dtype_name(to), x, y);
    }
}

START_TEST(convert_every_pair)
{
    for (int to = S24_F64; to < S24_DTYPES; to++) {
        check_pair((s24_dtype)_i, (s24_dtype)to);
    }
}
END_TEST

/* The first element out of range is named, and nobody has to ask for it. */
START_TEST(convert_overflow)
{
    static const struct {
        s24_dtype from, to;
        double large;
    } rows[] = {
        {S24_F64, S24_F32, 1e39}, {S24_F64, S24_F16, 65520}, {S24_F64, S24_BF16, -3.4e38}, {S24_F32, S24_F16, -1e30},
        {S24_BF16, S24_F16, 0x1p16}, {S24_F32, S24_BF16, FLT_MAX},
    };
    for (int r = 0; r < ROWS(rows); r++) {
        const s24_dtype_info *from = s24_info(rows[r].from);
        unsigned char src[8 * N], dst[8 * N];
        const size_t where = (size_t)(random_bits() % (N - 1));
        bool overflow = false;
        size_t at = 0;
        s24_error err;
        char element[32];
        fill(rows[r].from, src);
        s24_store(src, from->bytes, where, s24_encode(from, rows[r].large, &overflow));
        s24_store(src, from->bytes, N - 1, s24_encode(from, -rows[r].large, &overflow));
        ck_assert(!overflow);
        ck_assert_int_eq(s24_dtype_convert(rows[r].from, src, rows[r].to, dst, N, &at, &err), S24_ERR_DATA);
        ck_assert_uint_eq(at, where);
        snprintf(element, sizeof element, "element %zu ", where);
        ck_assert_msg(strstr(err.message, element) && strstr(err.message, s24_dtype_name(rows[r].to)), "%s",
                      err.message);
        ck_assert_int_eq(s24_dtype_convert(rows[r].from, src, rows[r].to, dst, N, NULL, NULL), S24_ERR_DATA);
    }
}
END_TEST

/* In place where the width stays; infinity and NaN pass; the same dtype copies every bit, also of signalling NaN. */
START_TEST(convert_special)
{
    uint16_t half[] = {0x7c00, 0xfc00, 0x7c01, 0xbc00, 0x8000};
    ck_assert_int_eq(s24_dtype_convert(S24_F16, half, S24_F16, half, 5, NULL, NULL), S24_OK);
    ck_assert_uint_eq(half[2], 0x7c01);
    ck_assert_int_eq(s24_dtype_convert(S24_F16, half, S24_BF16, half, 5, NULL, NULL), S24_OK);
    ck_assert_uint_eq(half[0], 0x7f80);
    ck_assert_uint_eq(half[1], 0xff80);
    ck_assert_uint_eq(half[2] & 0x7fc0, 0x7fc0);
    ck_assert_uint_eq(half[3], 0xbf80);
    ck_assert_uint_eq(half[4], 0x8000);
    /* Rounded once: by way of f32 this would be a tie, and go down. */
    const double once = 1 + 0x1p-11 + 0x1p-40;
    ck_assert_int_eq(s24_dtype_convert(S24_F64, &once, S24_F16, half, 1, NULL, NULL), S24_OK);
    ck_assert_uint_eq(half[0], 0x3c01);
}
END_TEST

/* ---------------------------------------------------------------- names */

START_TEST(names)
{
    static const struct {
        const char *name;
        s24_dtype dtype;
        unsigned bits;
    } rows[] = {
        {"f64", S24_F64, 64}, {"f32", S24_F32, 32}, {"f16", S24_F16, 16}, {"bf16", S24_BF16, 16},
        {"f8e4m3", S24_F8E4M3, 8}, {"f8e5m2", S24_F8E5M2, 8}, {"i8", S24_I8, 8}, {"i64", S24_I64, 64},
        {"i32", S24_I32, 32}, {"i16", S24_I16, 16}, {"u64", S24_U64, 64}, {"u32", S24_U32, 32}, {"u16", S24_U16, 16},
        {"u8", S24_U8, 8}, {"bool", S24_BOOL, 8}, {"c64", S24_C64, 64}, {"f8e8m0", S24_F8E8M0, 8},
        {"f6e2m3", S24_F6E2M3, 6}, {"f6e3m2", S24_F6E3M2, 6}, {"f4", S24_F4, 4},
    };
    s24_dtype dtype;
    ck_assert_int_eq(ROWS(rows), S24_DTYPES - S24_F64);
    for (int i = 0; i < ROWS(rows); i++) {
        ck_assert_str_eq(s24_dtype_name(rows[i].dtype), rows[i].name);
        ck_assert(s24_dtype_parse(rows[i].name, &dtype));
        ck_assert_int_eq(dtype, rows[i].dtype);
        ck_assert_uint_eq(s24_dtype_bits(dtype), rows[i].bits);
        ck_assert_int_eq(s24_dtype_prunable(dtype), i < 7);
    }
    ck_assert_str_eq(s24_dtype_name(S24_SAME), "same");
    ck_assert(!s24_dtype_prunable(S24_SAME));
    static const char *const none[] = {"", "f", "F32", "f32 ", "float32", "same", "f8"};
    for (int i = 0; i < ROWS(none); i++) {
        ck_assert_msg(!s24_dtype_parse(none[i], &dtype), "\"%s\" is no dtype", none[i]);
    }
}
END_TEST

/* ---------------------------------------------------------------- suite */

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_dtype: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("dtype");
    TCase *tcase = tcase_create("dtype");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, decode_every_pattern, 0, ROWS(narrows));
    tcase_add_loop_test(tcase, encode_every_decoded, 0, ROWS(narrows));
    tcase_add_loop_test(tcase, encode_every_boundary, 0, ROWS(narrows));
    tcase_add_loop_test(tcase, encode_random_nearest, 0, ROWS(narrows));
    tcase_add_loop_test(tcase, encode_extremes, 0, ROWS(narrows));
    tcase_add_loop_test(tcase, encode_nonfinite, 0, ROWS(narrows));
    tcase_add_loop_test(tcase, keys_order_magnitudes, 0, ROWS(narrows));
    tcase_add_test(tcase, overflow_thresholds);
    tcase_add_test(tcase, f32_random);
    tcase_add_test(tcase, f32_boundaries);
    tcase_add_test(tcase, f32_decode);
    tcase_add_test(tcase, f64_is_itself);
    tcase_add_test(tcase, i8_every_pattern);
    tcase_add_test(tcase, i8_takes_its_own);
    tcase_add_test(tcase, keys_every_pair);
    tcase_add_test(tcase, keys_of_wide_types);
    tcase_add_loop_test(tcase, convert_every_pair, S24_F64, S24_DTYPES);
    tcase_add_test(tcase, convert_overflow);
    tcase_add_test(tcase, convert_special);
    tcase_add_test(tcase, names);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
