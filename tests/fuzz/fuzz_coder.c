/*
 * The entropy coder, both ways. Any bytes as a coded unit: refused, or decoded to something valid, the same by all
 * instruction sets, which comes back when it is coded again. And any bytes as the elements of a unit, which come back.
 *
 * The first bytes say dtype, groups, elements and level.
 */
#include "coder.h"
#include "fuzz.h"

#define VALUES_MOST 4096

typedef struct planes {
    uint8_t *values, *nibbles;
} planes;

static void *get(size_t n)
{
    void *p = malloc(n ? n : 1);
    REQUIRE(p);
    return p;
}

/* Of exactly the sizes that the unit has, so that a byte more is found. */
static planes planes_of(const s24_unit *unit)
{
    return (planes){get(unit->values * s24_dtype_bits(unit->dtype) / 8), get((unit->groups + 1) / 2)};
}

static void free_planes(planes *p)
{
    free(p->values);
    free(p->nibbles);
}

static bool decode(s24_unit unit, s24_isa isa, const uint8_t *coded, size_t n, planes *out)
{
    s24_coded_sizes sizes;
    unit.isa = isa;
    void *scratch = get(s24_decode_scratch(&unit)), *exact = get(n);
    memcpy(exact, coded, n);
    *out = planes_of(&unit);
    const bool ok = s24_unit_decode(&unit, exact, n, out->values, out->nibbles, scratch);
    REQUIRE(s24_unit_sizes(&unit, exact, n, &sizes) || !ok);
    free(scratch);
    free(exact);
    return ok;
}

static bool same(const s24_unit *unit, const planes *a, const planes *b)
{
    return memcmp(a->values, b->values, unit->values * s24_dtype_bits(unit->dtype) / 8) == 0 &&
           memcmp(a->nibbles, b->nibbles, (unit->groups + 1) / 2) == 0;
}

static void round_trip(s24_unit unit, int level, const planes *p)
{
    void *scratch = get(s24_encode_scratch(&unit));
    uint8_t *coded = get(s24_coder_bound(&unit));
    planes back;
    const size_t n = s24_unit_encode(&unit, p->values, p->nibbles, level, coded, scratch);
    REQUIRE(n > 0 && n <= s24_coder_bound(&unit));
    REQUIRE(decode(unit, S24_ISA_BEST, coded, n, &back));
    REQUIRE(same(&unit, p, &back));
    free_planes(&back);
    free(scratch);
    free(coded);
}

static void as_coded(const s24_unit *unit, int level, const uint8_t *data, size_t n)
{
    planes generic, best;
    const bool ok = decode(*unit, S24_ISA_GENERIC, data, n, &generic);
    REQUIRE(decode(*unit, S24_ISA_BEST, data, n, &best) == ok);
    if (ok) {
        REQUIRE(same(unit, &generic, &best));
        round_trip(*unit, level, &generic);
    }
    free_planes(&generic);
    free_planes(&best);
}

/* The bytes, again and again. */
static void as_elements(const s24_unit *unit, int level, const uint8_t *data, size_t n)
{
    static const uint8_t codes[] = {4, 8, 9, 12, 13, 14};
    planes p = planes_of(unit);
    memset(p.nibbles, 0, (unit->groups + 1) / 2);
    for (size_t i = 0; i < unit->values * s24_dtype_bits(unit->dtype) / 8; i++) {
        p.values[i] = n ? data[i % n] : 0;
    }
    for (size_t g = 0; g < unit->groups; g++) {
        p.nibbles[g / 2] = (uint8_t)(p.nibbles[g / 2] | codes[n ? data[g * 7 % n] % 6 : 0] << g % 2 * 4);
    }
    round_trip(*unit, level, &p);
    free_planes(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 4) {
        return 0;
    }
    const s24_dtype dtype = (s24_dtype)(S24_F64 + data[0] % (S24_DTYPES - 1));
    const size_t values = 2 * ((data[1] | (size_t)data[2] << 8) % (VALUES_MOST / 2));
    const s24_unit unit = {.dtype = dtype, .values = values, .groups = data[3] & 1 ? values / 2 : 0};
    const int level = 1 + (data[3] >> 2) % S24_CODER_LEVELS;
    if (s24_coder_bound(&unit) == SIZE_MAX) {
        return 0;
    }
    if (data[3] & 2) {
        as_coded(&unit, level, data + 4, n - 4);
    } else {
        as_elements(&unit, level, data + 4, n - 4);
    }
    return 0;
}
