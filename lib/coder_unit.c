/* What a unit is made of: elements, how they are cut, and the planes that they become. */
#include "coder_unit.h"

#define UNIT_MOST ((size_t)1 << 28) /* bytes: counts and costs fit their integers */

/*
 * Two bits of mantissa stand in the prefix with the exponent: with them values of N(0,1) take 5.45 bits a dense element as
 * bf16, without 5.51, with three 5.444, but then a table has twice as many symbols. f16 has few exponents, and gets three.
 */
static unsigned mantissa_in_prefix(const s24_dtype_info *info)
{
    return info->exponent_bits == 5 ? 3 : 2;
}

s24_element s24_element_of(s24_dtype dtype)
{
    const s24_dtype_info *info = s24_info(dtype == S24_C64 ? S24_F32 : dtype);
    const bool is_float = info->kind == S24_KIND_IEEE && info->bits > 8;
    const unsigned prefix = is_float ? info->exponent_bits + mantissa_in_prefix(info) : 8;
    return (s24_element){.bytes = info->bytes, .sign = is_float, .prefix = prefix,
                         .exponent_bits = is_float ? info->exponent_bits : 0};
}

size_t s24_elements_of(const s24_unit *unit)
{
    return unit->dtype == S24_C64 ? 2 * unit->values : unit->values;
}

bool s24_raw_bytes(const s24_unit *unit, size_t *bytes)
{
    const unsigned width = s24_info(unit->dtype)->bytes;
    if (width == 0 || unit->values > UNIT_MOST / width || (unit->groups && unit->values != 2 * unit->groups)) {
        return false;
    }
    *bytes = unit->values * width + (unit->groups + 1) / 2;
    return *bytes <= UNIT_MOST;
}

size_t s24_coder_bound(const s24_unit *unit)
{
    size_t bytes;
    return s24_raw_bytes(unit, &bytes) ? bytes + 1 : SIZE_MAX;
}

static size_t field_bytes(size_t n, unsigned width)
{
    return n / 8 * width + (n % 8 * width + 7) / 8;
}

s24_unit_shape s24_shape_of(const s24_unit *unit, const s24_cut *cut, bool palette)
{
    const size_t n = s24_elements_of(unit);
    s24_unit_shape s = {.count = 0};
    if (unit->groups) {
        s.n[s.count++] = (unit->groups + 2) / 3;
    }
    s.symbols = s.count;
    s.n[s.count++] = n;
    s.first_low = s.count;
    for (unsigned low = 0; low < cut->lows && !palette; low++) {
        s.n[s.count++] = n;
    }
    s.middle = s.count;
    if (cut->middle && !palette) {
        s.n[s.count++] = field_bytes(n, cut->middle);
    }
    s.signs = s.count;
    if (cut->sign && !palette) {
        s.n[s.count++] = field_bytes(n, 1);
    }
    return s;
}

s24_value_planes s24_value_planes_of(const s24_unit_shape *s, const s24_cut *cut, uint8_t *const planes[S24_PLANES_MOST])
{
    s24_value_planes v = {.symbols = planes[s->symbols], .middle = cut->middle ? planes[s->middle] : NULL,
                          .signs = cut->sign ? planes[s->signs] : NULL};
    for (unsigned low = 0; low < cut->lows; low++) {
        v.lows[low] = planes[s->first_low + low];
    }
    return v;
}

/* ---------------------------------------------------------------- scratch memory */

s24_arena s24_arena_of(void *scratch)
{
    const size_t skew = (uintptr_t)scratch % S24_CODER_ALIGN;
    return (s24_arena){.at = scratch ? (uint8_t *)scratch + (skew ? S24_CODER_ALIGN - skew : 0) : NULL,
                       .taken = S24_CODER_ALIGN};
}

void *s24_take(s24_arena *a, size_t bytes)
{
    const size_t whole = s24_room(bytes);
    uint8_t *p = a->at;
    a->taken += whole;
    a->at = p ? p + whole : NULL;
    return p;
}

size_t s24_planes_room(const s24_unit *unit)
{
    const size_t n = s24_elements_of(unit), bytes = s24_element_of(unit->dtype).bytes;
    return n * (bytes + 1) + n / 4 + unit->groups / 3 + 1 + S24_PLANES_MOST + 2 * S24_CODER_ALIGN * S24_PLANES_MOST;
}

uint8_t *s24_put_bytes(uint8_t *out, const void *bytes, size_t n)
{
    if (n) {
        memcpy(out, bytes, n);
    }
    return out + n;
}
