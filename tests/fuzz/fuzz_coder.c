/*
 * The entropy coder, both ways. Any bytes as a coded unit: refused, or decoded to something valid, the same by all
 * instruction sets, which comes back when it is coded again. And any bytes as the elements of a unit, which come back.
 * Coding takes the longest by far, and is done with one unit in 8; the mutator makes coded units of elements.
 *
 * The first bytes say dtype, groups, elements and level.
 */
#include <sanitizer/asan_interface.h>

#include "coder.h"
#include "fuzz.h"

#define VALUES_MOST 8192 /* of one unit in 64 */
#define FEW 1024         /* of the others, which are fast */

typedef struct planes {
    uint8_t *values, *nibbles;
} planes;

/*
 * Memory that is kept: to get and give back what large units take, with its shadow, is most of a small unit's time. What
 * lies behind the bytes that were asked for is poisoned, so that a byte more is found.
 */
#define POISONED 4096

typedef struct room {
    uint8_t *data;
    size_t used, bytes; /* bytes: without the poisoned ones */
} room;

static uint8_t *reserve(room *r, size_t n)
{
    if (r->data) {
        ASAN_UNPOISON_MEMORY_REGION(r->data + r->used, POISONED);
    }
    if (!r->data || n > r->bytes) {
        free(r->data);
        r->bytes = 2 * n;
        r->data = malloc(r->bytes + POISONED);
        REQUIRE(r->data);
    }
    r->used = n;
    ASAN_POISON_MEMORY_REGION(r->data + n, POISONED);
    return r->data;
}

static size_t value_bytes(const s24_unit *unit)
{
    return unit->values * s24_dtype_bits(unit->dtype) / 8;
}

/* Of exactly the sizes that the unit has. `which`: several are in use at once. */
enum { ORIGINAL, BACK, GENERIC, BEST, PLANES };
static planes planes_of(const s24_unit *unit, int which)
{
    static room values[PLANES], nibbles[PLANES];
    return (planes){reserve(&values[which], value_bytes(unit)), reserve(&nibbles[which], (unit->groups + 1) / 2)};
}

static bool decode(s24_unit unit, s24_isa isa, const uint8_t *coded, size_t n, const planes *out)
{
    static room scratch, exact;
    s24_coded_sizes sizes;
    unit.isa = isa;
    uint8_t *const copy = reserve(&exact, n);
    memcpy(copy, coded, n);
    const bool ok = s24_unit_decode(&unit, copy, n, out->values, out->nibbles, reserve(&scratch, s24_decode_scratch(&unit)));
    REQUIRE(s24_unit_sizes(&unit, copy, n, &sizes) || !ok);
    return ok;
}

static bool same(const s24_unit *unit, const planes *a, const planes *b)
{
    return memcmp(a->values, b->values, value_bytes(unit)) == 0 &&
           memcmp(a->nibbles, b->nibbles, (unit->groups + 1) / 2) == 0;
}

static void round_trip(s24_unit unit, int level, const planes *p)
{
    static room scratch, room_coded;
    uint8_t *const coded = reserve(&room_coded, s24_coder_bound(&unit));
    const planes back = planes_of(&unit, BACK);
    const size_t n = s24_unit_encode(&unit, p->values, p->nibbles, level, coded,
                                     reserve(&scratch, s24_encode_scratch(&unit)));
    REQUIRE(n > 0 && n <= s24_coder_bound(&unit));
    REQUIRE(decode(unit, S24_ISA_BEST, coded, n, &back));
    REQUIRE(same(&unit, p, &back));
}

static void as_coded(const s24_unit *unit, int level, const uint8_t *data, size_t n, bool again)
{
    const planes generic = planes_of(unit, GENERIC), best = planes_of(unit, BEST);
    const bool ok = decode(*unit, S24_ISA_GENERIC, data, n, &generic);
    REQUIRE(decode(*unit, S24_ISA_BEST, data, n, &best) == ok);
    if (ok) {
        REQUIRE(same(unit, &generic, &best));
    }
    if (ok && again) {
        round_trip(*unit, level, &generic);
    }
}

/* The bytes, again and again. */
static planes elements_of(const s24_unit *unit, const uint8_t *data, size_t n)
{
    static const uint8_t codes[] = {4, 8, 9, 12, 13, 14};
    const planes p = planes_of(unit, ORIGINAL);
    memset(p.nibbles, 0, (unit->groups + 1) / 2);
    for (size_t i = 0, k = 0, bytes = value_bytes(unit); i < bytes; i++, k = k + 1 < n ? k + 1 : 0) {
        p.values[i] = n ? data[k] : 0;
    }
    for (size_t g = 0; g < unit->groups; g++) {
        p.nibbles[g / 2] = (uint8_t)(p.nibbles[g / 2] | codes[n ? data[g * 7 % n] % 6 : 0] << g % 2 * 4);
    }
    return p;
}

/* ---------------------------------------------------------------- what the first bytes say */

#define HEAD 4
#define ELEMENTS 2 /* in the last of them: what follows are elements, not a coded unit */

/* False: there is no such unit. large: of many values, if they say so. */
static bool unit_of(const uint8_t head[HEAD], bool large, s24_unit *unit, int *level)
{
    const size_t most = large ? VALUES_MOST : FEW;
    const size_t values = 2 * (((head[1] | (size_t)head[2] << 8) % (most / 2)) >> (head[2] >> 5));
    *unit = (s24_unit){.dtype = (s24_dtype)(S24_F64 + head[0] % (S24_DTYPES - 1)), .values = values,
                       .groups = head[3] & 1 ? values / 2 : 0};
    *level = 1 + (head[3] >> 2) % S24_CODER_LEVELS;
    return s24_coder_bound(unit) != SIZE_MAX;
}

/* The unit that its elements are coded to, for as_coded; 0: there is no room. */
static size_t code_elements(uint8_t *data, size_t n, size_t most)
{
    static room scratch, coded;
    s24_unit unit;
    int level;
    if (!unit_of(data, false, &unit, &level)) {
        return 0;
    }
    const planes p = elements_of(&unit, data + HEAD, n - HEAD);
    uint8_t *const to = reserve(&coded, s24_coder_bound(&unit));
    const size_t bytes = s24_unit_encode(&unit, p.values, p.nibbles, level, to,
                                         reserve(&scratch, s24_encode_scratch(&unit)));
    if (bytes == 0 || HEAD + bytes > most) {
        return 0;
    }
    memcpy(data + HEAD, to, bytes);
    data[HEAD - 1] &= (uint8_t)~ELEMENTS;
    return HEAD + bytes;
}

/* Bytes alone are hardly ever a unit. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed)
{
    const size_t coded = n > HEAD && seed % 32 == 0 ? code_elements(data, n, most) : 0;
    if (coded) {
        return coded;
    }
    if (n > HEAD && seed % 4) {
        return HEAD + LLVMFuzzerMutate(data + HEAD, n - HEAD, most - HEAD);
    }
    return LLVMFuzzerMutate(data, n, most);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    s24_unit unit;
    int level;
    if (n < HEAD || !unit_of(data, is_chosen(data, n, 64), &unit, &level)) {
        return 0;
    }
    if (!(data[HEAD - 1] & ELEMENTS)) {
        as_coded(&unit, level, data + HEAD, n - HEAD, is_chosen(data, n, 8));
    } else if (is_chosen(data, n, 8)) {
        const planes p = elements_of(&unit, data + HEAD, n - HEAD);
        round_trip(unit, level, &p);
    }
    return 0;
}
