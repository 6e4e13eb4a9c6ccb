/*
 * damage [COUNT [SEED]] - is a damaged .s24 ever silently wrong?
 *
 * Of a file of some KB with two pruned tensors and a carried one: every single bit flipped, every truncation, then COUNT
 * random damages (1,000,000): bytes overwritten, cleared, swapped with others, repeated, dropped, inserted. s24_verify_file
 * must find each. Decompressing must fail and write nothing; salvaging must give every element exactly but those that it
 * lost, which are NaN (zero bytes of the carried one), and of a flipped bit must lose no more than one panel. Of the random
 * ones every 32nd is decompressed and salvaged.
 */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "s24io.h"

#define ROWS_A 24
#define COLS_A 44
#define ROWS_B 40
#define COLS_B 36
#define COUNT_C 48
#define BYTES_A (ROWS_A * COLS_A * 4)
#define BYTES_B (ROWS_B * COLS_B * 2)
#define BYTES_C (COUNT_C * 4)
#define DENSE_BYTES (BYTES_A + BYTES_B + BYTES_C)
#define PANEL_GROUPS 44 /* four rows of either */
#define PANEL_ROWS 4
#define PANEL_BYTES 64  /* of the carried one */
#define MOST 65536

static char directory[] = "/tmp/s24-damage-XXXXXX";
static const s24_io io = {.no_sync = true, .threads = 1};
static unsigned char whole[MOST], damaged[2 * MOST], dense[DENSE_BYTES];
static size_t size;
static int input = -1;
static char input_path[64];
static unsigned long long detected, salvaged, beyond, wrong;

static uint64_t state;

static size_t below(size_t n)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (size_t)((z ^ z >> 31) % n);
}

static void complain(const char *what, const char *how, size_t at)
{
    printf("damage: %s at %zu: %s\n", what, at, how);
    wrong++;
}

static void stop(const char *what)
{
    fprintf(stderr, "damage: %s\n", what);
    exit(2);
}

/* ---------------------------------------------------------------- the file */

static size_t slurp(const char *path, void *data, size_t most)
{
    FILE *f = fopen(path, "rb");
    const size_t n = f ? fread(data, 1, most, f) : 0;
    if (f) {
        fclose(f);
    }
    return n;
}

static void make_model(const char *path)
{
    char header[512] = {0};
    const int n = snprintf(header + 8, sizeof header - 8,
                           "{\"a\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[0,%d]},"
                           "\"b\":{\"dtype\":\"F16\",\"shape\":[%d,%d],\"data_offsets\":[%d,%d]},"
                           "\"c\":{\"dtype\":\"I32\",\"shape\":[%d],\"data_offsets\":[%d,%d]}}", ROWS_A, COLS_A, BYTES_A,
                           ROWS_B, COLS_B, BYTES_A, BYTES_A + BYTES_B, COUNT_C, BYTES_A + BYTES_B, DENSE_BYTES);
    header[0] = (char)(n & 255);
    header[1] = (char)(n >> 8);
    for (size_t i = 0; i < DENSE_BYTES; i++) {
        dense[i] = (unsigned char)below(256);
        const bool top = i < BYTES_A ? i % 4 == 3 : i < BYTES_A + BYTES_B && i % 2 == 1;
        dense[i] = top ? dense[i] & 0xbf : dense[i] | 1; /* finite, and nothing is zero */
    }
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(header, 1, (size_t)n + 8, f) != (size_t)n + 8 || fwrite(dense, 1, DENSE_BYTES, f) != DENSE_BYTES ||
        fclose(f) != 0) {
        stop("cannot write");
    }
}

/* The data of a decompressed model lie behind its header. */
static bool read_dense(const char *path, unsigned char data[DENSE_BYTES])
{
    static unsigned char file[MOST];
    const size_t n = slurp(path, file, sizeof file);
    const size_t at = n >= 8 ? 8 + file[0] + 256u * file[1] : 0;
    if (n != at + DENSE_BYTES) {
        return false;
    }
    memcpy(data, file + at, DENSE_BYTES);
    return true;
}

static void begin(void)
{
    s24_error err;
    if (!mkdtemp(directory) || chdir(directory) != 0) {
        stop("cannot make a directory");
    }
    make_model("m.safetensors");
    const s24_prune_request prune = {.input = "m.safetensors", .output = "m.s24", .dtype = S24_SAME,
                                     .selection = {.all = true}, .panel_groups = PANEL_GROUPS, .panel_bytes = PANEL_BYTES};
    const s24_decompress_request unpack = {.input = "m.s24", .output = "m.out", .to = "safetensors", .dtype = S24_SAME};
    if (s24_prune_file(&io, &prune, NULL, &err) != S24_OK || s24_decompress_file(&io, &unpack, &err) != S24_OK) {
        stop(err.message);
    }
    size = slurp("m.s24", whole, sizeof whole);
    if (size == sizeof whole || !read_dense("m.out", dense)) {
        stop("the file is not what it should be");
    }
    input = memfd_create("damaged", 0);
    snprintf(input_path, sizeof input_path, "/proc/self/fd/%d", input);
}

/* ---------------------------------------------------------------- what is asked of a damaged file */

static void put(const unsigned char *data, size_t n)
{
    if (ftruncate(input, (off_t)n) != 0 || pwrite(input, data, n, 0) != (ssize_t)n) {
        stop("cannot write");
    }
}

static void check_detected(const char *what, size_t at)
{
    const s24_verify_request verify = {.input = input_path};
    s24_error err;
    const s24_status status = s24_verify_file(&io, &verify, &err);
    if (status == S24_OK) {
        complain(what, "verify finds nothing", at);
    } else if (status != S24_ERR_CHECK && status != S24_ERR_DATA) {
        complain(what, err.message, at);
    }
    detected += status != S24_OK;
}

static void check_refused(const char *what, size_t at)
{
    const s24_decompress_request unpack = {.input = input_path, .output = "refused", .to = "safetensors", .dtype = S24_SAME};
    if (s24_decompress_file(&io, &unpack, NULL) == S24_OK) {
        complain(what, "is decompressed", at);
    }
    if (access("refused", F_OK) == 0) {
        complain(what, "is decompressed in part", at);
        unlink("refused");
    }
}

/* The panel of the whole file that a byte of the dense data is of: a number of its own for each. */
static size_t panel_of(size_t byte)
{
    return byte < BYTES_A ? byte / (PANEL_ROWS * COLS_A * 4)
        : byte < BYTES_A + BYTES_B ? 1000 + (byte - BYTES_A) / (PANEL_ROWS * COLS_B * 2)
        : 2000 + (byte - BYTES_A - BYTES_B) / PANEL_BYTES;
}

/* Whether the element that the byte is of was marked as lost. */
static bool is_lost(const unsigned char *got, size_t byte)
{
    uint32_t bits;
    if (byte >= BYTES_A + BYTES_B) {
        return got[byte] == 0;
    }
    if (byte < BYTES_A) {
        memcpy(&bits, got + byte / 4 * 4, 4);
        return (bits & 0x7fffffff) > 0x7f800000;
    }
    return (got[byte / 2 * 2 + 1] & 0x7f) == 0x7e; /* the quiet NaN of f16 */
}

static void check_salvage(const char *what, size_t at, bool one_panel)
{
    static unsigned char got[DENSE_BYTES];
    const s24_decompress_request unpack = {.input = input_path, .output = "salvaged", .to = "safetensors",
                                           .dtype = S24_SAME, .salvage = true};
    const s24_status status = s24_decompress_file(&io, &unpack, NULL);
    size_t panel = SIZE_MAX;
    if (access("salvaged", F_OK) != 0) {
        beyond++;
        if (status == S24_OK || one_panel) {
            complain(what, "is not salvaged", at);
        }
        return;
    }
    if (!read_dense("salvaged", got)) {
        complain(what, "is salvaged as another model", at);
    }
    unlink("salvaged");
    for (size_t i = 0; i < DENSE_BYTES; i++) {
        if (got[i] == dense[i]) {
            continue;
        }
        if (status == S24_OK || !is_lost(got, i)) {
            complain(what, "is salvaged silently wrong", at);
            return;
        }
        if (one_panel && panel != SIZE_MAX && panel != panel_of(i)) {
            complain(what, "costs more than a panel", at);
            return;
        }
        panel = panel_of(i);
    }
    salvaged++;
}

/* ---------------------------------------------------------------- damages */

static void flip_every_bit(void)
{
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(damaged, whole, size);
        damaged[bit / 8] ^= (unsigned char)(1u << bit % 8);
        put(damaged, size);
        check_detected("a flipped bit", bit);
        check_refused("a flipped bit", bit);
        check_salvage("a flipped bit", bit, true);
    }
}

static void cut_off_everywhere(void)
{
    for (size_t n = 0; n < size; n++) {
        put(whole, n);
        check_detected("a cut", n);
        check_refused("a cut", n);
        check_salvage("a cut", n, false);
    }
}

/* Lengths and places are often multiples of 64, as those of planes are. */
static size_t draw(size_t n)
{
    const size_t x = below(n);
    return below(2) ? x & ~(size_t)63 : x;
}

/* The damaged file's length; *at: where it differs. */
static size_t damage_once(size_t *at)
{
    const size_t from = draw(size), left = size - from, to = draw(size);
    size_t n = 1 + draw(below(4) ? 64 : 1024);
    n = n < left ? n : left;
    memcpy(damaged, whole, size);
    *at = from;
    switch (below(7)) {
    case 0: /* overwritten */
        for (size_t i = 0; i < n; i++) {
            damaged[from + i] = (unsigned char)below(256);
        }
        return size;
    case 1: /* cleared, or set */
        memset(damaged + from, below(2) ? 0 : 255, n);
        return size;
    case 2: /* swapped */
        n = n < size - to ? n : size - to;
        memcpy(damaged + from, whole + to, n);
        if (from + n <= to || to + n <= from) {
            memcpy(damaged + to, whole + from, n);
        }
        return size;
    case 3: /* written to another place */
        memmove(damaged + to, whole + from, n < size - to ? n : size - to);
        return size;
    case 4: /* dropped */
        memmove(damaged + from, whole + from + n, left - n);
        return size - n;
    case 5: /* repeated */
        memcpy(damaged + from + n, whole + from, left);
        return size + n;
    default: /* inserted */
        for (size_t i = 0; i < n; i++) {
            damaged[from + i] = (unsigned char)below(256);
        }
        memcpy(damaged + from + n, whole + from, left);
        return size + n;
    }
}

static void damage_at_random(unsigned long long count)
{
    for (unsigned long long i = 0; i < count;) {
        size_t at;
        const size_t n = damage_once(&at);
        if (n == size && memcmp(damaged, whole, n) == 0) {
            continue; /* no damage */
        }
        put(damaged, n);
        check_detected("a random damage", at);
        if (i++ % 32 == 0) {
            check_refused("a random damage", at);
            check_salvage("a random damage", at, false);
        }
    }
}

static void report(const char *what)
{
    printf("%s: %llu detected, %llu silently wrong or worse; salvaged %llu, beyond recovery %llu\n", what, detected, wrong,
           salvaged, beyond);
    fflush(stdout);
    detected = salvaged = beyond = 0;
}

int main(int argc, char **argv)
{
    const unsigned long long count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 24;
    state = seed;
    begin();
    printf("a file of %zu bytes, seed %llu\n", size, (unsigned long long)seed);
    put(whole, size);
    if (s24_verify_file(&io, &(s24_verify_request){.input = input_path}, NULL) != S24_OK) {
        stop("the undamaged file does not verify");
    }
    flip_every_bit();
    report("every bit");
    cut_off_everywhere();
    report("every cut");
    damage_at_random(count);
    report("at random");
    unlink("m.safetensors");
    unlink("m.s24");
    unlink("m.out");
    if (chdir("/") == 0) {
        rmdir(directory);
    }
    return wrong != 0;
}
