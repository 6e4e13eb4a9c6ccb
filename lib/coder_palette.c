/*
 * Palettes: values of which there are few, whatever they are, become their numbers, in ascending order. Of quantized
 * weights, of weights that were clustered, and of masks.
 */
#include "coder_parts.h"

#include <string.h>

#define SAMPLE 1024 /* values that are looked at first */

static uint64_t *slot_of(const s24_palette *p, uint64_t value)
{
    size_t at = (value * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - S24_PALETTE_SLOT_BITS);
    while (p->slots[at] != UINT64_MAX && p->slots[at] != value) {
        at = (at + 1) % S24_PALETTE_SLOTS;
    }
    return &p->slots[at];
}

/* Puts the different values among n into the palette. False: there are too many of them. */
static bool add_values(s24_palette *p, unsigned bytes, const void *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t value = s24_load(values, bytes, i);
        uint64_t *slot = slot_of(p, value);
        if (*slot != value) {
            if (p->count == S24_PALETTE_MOST - 1) {
                return false;
            }
            *slot = value;
            p->of[p->count++] = value;
        } else if (value == UINT64_MAX) { /* what marks a free slot */
            return false;
        }
    }
    return true;
}

/* At most 255: by insertion. (qsort may allocate.) */
static void sort(uint64_t *values, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        const uint64_t value = values[i];
        unsigned k = i;
        for (; k > 0 && values[k - 1] > value; k--) {
            values[k] = values[k - 1];
        }
        values[k] = value;
    }
}

bool s24_palette_find(s24_palette *p, unsigned bytes, const void *values, size_t n)
{
    if (bytes == 1) {
        return false;
    }
    memset(p->slots, 0xff, sizeof *p->slots * S24_PALETTE_SLOTS);
    p->count = 0;
    if (!add_values(p, bytes, values, n < SAMPLE ? n : SAMPLE) || p->count > n / 8 || !add_values(p, bytes, values, n)) {
        return false;
    }
    sort(p->of, p->count);
    return true;
}

void s24_palette_symbols(const s24_palette *p, unsigned bytes, const void *values, size_t n, uint8_t *symbols)
{
    uint8_t number_of[S24_PALETTE_SLOTS] = {0};
    for (unsigned i = 0; i < p->count; i++) {
        number_of[slot_of(p, p->of[i]) - p->slots] = (uint8_t)i;
    }
    for (size_t i = 0; i < n; i++) {
        symbols[i] = number_of[slot_of(p, s24_load(values, bytes, i)) - p->slots];
    }
}
