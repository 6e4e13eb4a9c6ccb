/*
 * units.c - codes small units with the library: units DIRECTORY writes for each NAME.unit, NAME.raw (elements and nibbles)
 * and a line of the file `list`, for coder.py to decode. Every kind, method and dtype is among them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coder.h"
#include "dtype.h"

#define MOST 20000 /* elements */

static uint64_t state = 1;

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Near enough to a normal deviate: the sum of twelve uniform ones. */
static double normal(void)
{
    double sum = -6;
    for (unsigned i = 0; i < 12; i++) {
        sum += (double)(next() >> 11) * 0x1p-53;
    }
    return sum;
}

typedef enum pattern { NORMAL, SCALED, WIDE, FEW, REPEATED, ROUNDED, CONSTANT, NOISE, PATTERNS } pattern;
static const char *const pattern_names[] = {"normal", "scaled", "wide", "few", "repeated", "rounded", "constant", "noise"};

static uint64_t element(const s24_dtype_info *info, pattern what, size_t i, const uint8_t *values)
{
    static const double scales[] = {1, 0.25, 0.0625, 0.5};
    const double x = what == SCALED ? normal() * scales[i / 700 % 4] : normal();
    bool overflow = false;
    switch (what) {
    case WIDE: return next() % 150 ? s24_encode(info, x, &overflow) : next();
    case FEW: return s24_encode(info, (double)(next() % 5), &overflow);
    case REPEATED: return i < 300 ? s24_encode(info, x, &overflow) : s24_load(values, info->bytes, i - 300);
    case ROUNDED: return s24_encode(info, x, &overflow) & ~(UINT64_C(7) << info->mantissa_bits / 2); /* fields alike */
    case CONSTANT: return s24_encode(info, 1.5, &overflow);
    case NOISE: return next();
    default: return info->kind == S24_KIND_INT ? (uint64_t)(int64_t)(20 * x) : s24_encode(info, x, &overflow);
    }
}

static void put(const char *directory, const char *name, const char *suffix, const void *a, size_t n, const void *b, size_t m)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", directory, name, suffix);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(a, 1, n, f) != n || fwrite(b, 1, m, f) != m || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void add(const char *directory, FILE *list, s24_dtype dtype, size_t n, bool sparse, pattern what, int level)
{
    static const uint8_t codes[] = {4, 8, 9, 12, 13, 14};
    static uint8_t values[MOST * 8], nibbles[MOST / 4 + 1];
    const s24_unit unit = {.dtype = dtype, .values = n, .groups = sparse ? n / 2 : 0};
    const s24_dtype_info *info = s24_info(dtype);
    char name[100];
    for (size_t i = 0; i < n; i++) {
        s24_store(values, info->bytes, i, element(info, what, i, values));
    }
    memset(nibbles, 0, sizeof nibbles);
    for (size_t g = 0; g < unit.groups; g++) {
        nibbles[g / 2] = (uint8_t)(nibbles[g / 2] | codes[what == CONSTANT ? 2 : next() % 6] << g % 2 * 4);
    }
    void *coded = malloc(s24_coder_bound(&unit)), *scratch = malloc(s24_encode_scratch(&unit));
    if (!coded || !scratch) {
        exit(1);
    }
    const size_t bytes = s24_unit_encode(&unit, values, nibbles, level, coded, scratch);
    snprintf(name, sizeof name, "%s-%s-%zu%s-%d", info->name, pattern_names[what], n, sparse ? "s" : "", level);
    put(directory, name, "unit", coded, bytes, NULL, 0);
    put(directory, name, "raw", values, n * info->bytes, nibbles, (unit.groups + 1) / 2);
    fprintf(list, "%s %s %zu %zu\n", name, info->name, unit.values, unit.groups);
    free(coded);
    free(scratch);
}

int main(int argc, char **argv)
{
    static const s24_dtype dtypes[] = {S24_F64, S24_F32, S24_F16, S24_BF16, S24_F8E4M3, S24_F8E5M2, S24_I8};
    char path[4096];
    if (argc != 2) {
        fprintf(stderr, "usage: units DIRECTORY\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/list", argv[1]);
    FILE *list = fopen(path, "w");
    if (!list) {
        perror(path);
        return 1;
    }
    for (unsigned d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        for (unsigned what = 0; what < PATTERNS; what++) {
            add(argv[1], list, dtypes[d], 1202 + 2 * d, (d + what) % 3 > 0, (pattern)what, 9);
        }
        add(argv[1], list, dtypes[d], 14, true, NORMAL, 5);
        add(argv[1], list, dtypes[d], 0, false, NORMAL, 5);
        add(argv[1], list, dtypes[d], 12000 + 2 * d, d % 2, SCALED, 9);
    }
    return fclose(list) != 0;
}
