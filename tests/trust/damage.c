/*
 * damage [COUNT [SEED]] - is a damaged .s24 ever silently wrong?
 *
 * A model of two pruned tensors and a carried one, as files of some KB: plain and as an archive, with the values as they
 * were and in 8 bits with scales, permuted, calibrated. Of each file every single bit flipped, every truncation, of an
 * archive every frame swapped with every other, repeated everywhere and dropped, then COUNT random damages in all
 * (1,000,000): bytes overwritten, cleared, swapped with others, repeated, dropped, inserted. s24_verify_file must find each.
 * Decompressing must fail and write nothing; salvaging must give every element exactly but those that it lost, which are NaN
 * (zero bytes of the carried one). Of a flipped bit it must lose no more than one panel, of an archive no more than the
 * frame that the bit is in, and of a permuted tensor all where the damage is in its order. Of the random ones every 32nd is
 * decompressed and salvaged.
 */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive.h"

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
#define PANELS_A (ROWS_A / PANEL_ROWS)
#define PANELS_B (ROWS_B / PANEL_ROWS)
#define FRAME_BYTES 300 /* several panels */
#define MOST 65536

static char directory[] = "/tmp/s24-damage-XXXXXX";
static const s24_io io = {.no_sync = true, .threads = 1};
static unsigned char whole[MOST], damaged[2 * MOST], dense[DENSE_BYTES];
static size_t size;
static int input = -1;
static char input_path[64];
static unsigned long long detected, salvaged, beyond, wrong, wrong_in_all;

/* The kinds of files. */
typedef struct kind {
    const char *name;
    bool archive, changed; /* 8 bits with scales, permuted, calibrated */
} kind;

static const kind kinds[] = {
    {"plain", false, false}, {"plain, 8 bits with scales, permuted, calibrated", false, true},
    {"archive", true, false}, {"archive, 8 bits with scales, permuted, calibrated", true, true},
};
#define KINDS (sizeof kinds / sizeof *kinds)
static const kind *now;

/* Of an archive: the data frames, and which panels, numbered through the file, they have. */
typedef struct frame {
    size_t begin, end, first, panels;
} frame;
static frame frames[64];
static size_t frame_count;

#define PANELS_MOST 64
static bool cost[PANELS_MOST]; /* the panels of which a salvage lost something */

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

/* What is known of the inputs of both pruned tensors: their norms. */
static void make_norms(const char *path)
{
    char header[512] = {0};
    const int n = snprintf(header + 8, sizeof header - 8,
                           "{\"a\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[0,%d]},"
                           "\"b\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%d,%d]}}", COLS_A, COLS_A * 4, COLS_B,
                           COLS_A * 4, (COLS_A + COLS_B) * 4);
    float norms[COLS_A + COLS_B];
    header[0] = (char)(n & 255);
    header[1] = (char)(n >> 8);
    for (size_t i = 0; i < COLS_A + COLS_B; i++) {
        norms[i] = (float)(1 + below(1000));
    }
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(header, 1, (size_t)n + 8, f) != (size_t)n + 8 || fwrite(norms, 1, sizeof norms, f) != sizeof norms ||
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

/* Where the data frames of the archive are. */
static void list_frames(void)
{
    size_t at = S24_ARCHIVE_MAGIC_BYTES;
    s24_frame f;
    unsigned version;
    frame_count = 0;
    for (; s24_frame_get(&f, &version, whole + at) && f.kind != S24_FRAME_INDEX; at += (size_t)s24_frame_bytes(&f)) {
        if (f.kind == S24_FRAME_DATA) {
            frames[frame_count++] = (frame){at, at + (size_t)s24_frame_bytes(&f), (size_t)f.first, f.panels};
        }
    }
    if (frame_count < 6) {
        stop("the archive has too few frames");
    }
}

static void begin(void)
{
    if (!mkdtemp(directory) || chdir(directory) != 0) {
        stop("cannot make a directory");
    }
    make_model("m.safetensors");
    make_norms("x.safetensors");
    input = memfd_create("damaged", 0);
    snprintf(input_path, sizeof input_path, "/proc/self/fd/%d", input);
}

static void end(void)
{
    unlink("m.safetensors");
    unlink("x.safetensors");
    if (chdir("/") == 0) {
        rmdir(directory);
    }
}

/* The whole file of a kind, and what it decompresses to. */
static void make_whole(const kind *k)
{
    s24_error err;
    s24_prune_request prune = {.input = "m.safetensors", .output = "m.s24", .dtype = k->changed ? S24_I8 : S24_SAME,
                               .permute = k->changed, .selection = {.all = true}, .panel_groups = PANEL_GROUPS,
                               .panel_bytes = PANEL_BYTES};
    if (k->changed) {
        prune.second[S24_NORMS] = "x.safetensors";
    }
    if (k->archive) {
        prune.packing = (s24_packing){.level = S24_ARCHIVE_LEVEL, .frame_bytes = FRAME_BYTES};
    }
    const s24_decompress_request unpack = {.input = "m.s24", .output = "m.out", .to = "safetensors", .dtype = S24_SAME};
    if (s24_prune_file(&io, &prune, NULL, &err) != S24_OK || s24_decompress_file(&io, &unpack, &err) != S24_OK) {
        stop(err.message);
    }
    size = slurp("m.s24", whole, sizeof whole);
    if (size == sizeof whole || !read_dense("m.out", dense)) {
        stop("the file is not what it should be");
    }
    unlink("m.s24");
    unlink("m.out");
    now = k;
    if (k->archive) {
        list_frames();
    }
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

/* Panels are numbered through the file; the order of a permuted tensor is one more, behind its others. */
static size_t panel_begin(int tensor)
{
    const size_t order = now->changed;
    return tensor == 0 ? 0 : tensor == 1 ? PANELS_A + order : PANELS_A + PANELS_B + 2 * order;
}

/* The panel that a byte of the dense data is of. */
static size_t panel_of(size_t byte)
{
    return byte < BYTES_A ? byte / (PANEL_ROWS * COLS_A * 4)
        : byte < BYTES_A + BYTES_B ? panel_begin(1) + (byte - BYTES_A) / (PANEL_ROWS * COLS_B * 2)
        : panel_begin(2) + (byte - BYTES_A - BYTES_B) / PANEL_BYTES;
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

/* Sets `cost`. must: there is something to salvage. */
static void check_salvage(const char *what, size_t at, bool must)
{
    static unsigned char got[DENSE_BYTES];
    const s24_decompress_request unpack = {.input = input_path, .output = "salvaged", .to = "safetensors",
                                           .dtype = S24_SAME, .salvage = true};
    const s24_status status = s24_decompress_file(&io, &unpack, NULL);
    memset(cost, 0, sizeof cost);
    if (access("salvaged", F_OK) != 0) {
        beyond++;
        if (status == S24_OK || must) {
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
        cost[panel_of(i)] = true;
    }
    salvaged++;
}

/* ---------------------------------------------------------------- what a damage may cost */

/* A panel, or all of a permuted tensor whose order is damaged. */
static bool costs_a_panel(void)
{
    size_t lost = 0, first = 0;
    for (size_t i = 0; i < PANELS_MOST; i++) {
        first = cost[i] && lost == 0 ? i : first;
        lost += cost[i];
    }
    const int tensor = first >= panel_begin(1);
    const size_t panels = tensor ? PANELS_B : PANELS_A;
    return lost <= 1 || (now->changed && first == panel_begin(tensor) && lost == panels && cost[first + panels - 1]);
}

/* What only the frames have of which `gone` says so. */
static bool costs_frames(const bool gone[])
{
    bool may[PANELS_MOST] = {0};
    for (size_t k = 0; k < frame_count; k++) {
        for (size_t i = 0; gone[k] && i < frames[k].panels; i++) {
            may[frames[k].first + i] = true;
        }
    }
    for (int tensor = 0; tensor < 2 && now->changed; tensor++) {
        const size_t from = panel_begin(tensor), panels = tensor ? PANELS_B : PANELS_A;
        for (size_t i = 0; may[from + panels] && i < panels; i++) {
            may[from + i] = true;
        }
    }
    for (size_t i = 0; i < PANELS_MOST; i++) {
        if (cost[i] && !may[i]) {
            return false;
        }
    }
    return true;
}

/* All that is not whole before byte n, or, with to, what bytes [n, to) are of. */
static bool costs_bytes(size_t n, size_t to)
{
    bool gone[sizeof frames / sizeof *frames];
    for (size_t k = 0; k < frame_count; k++) {
        gone[k] = frames[k].end > n && (to == 0 || frames[k].begin < to);
    }
    return costs_frames(gone);
}

/* ---------------------------------------------------------------- damages */

static void check(const char *what, size_t at, bool must)
{
    check_detected(what, at);
    check_refused(what, at);
    check_salvage(what, at, must);
}

static void flip_every_bit(void)
{
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(damaged, whole, size);
        damaged[bit / 8] ^= (unsigned char)(1u << bit % 8);
        put(damaged, size);
        check("a flipped bit", bit, true);
        if (now->archive ? !costs_bytes(bit / 8, bit / 8 + 1) : !costs_a_panel()) {
            complain("a flipped bit", "costs more than a panel, or a frame", bit);
        }
    }
}

static void cut_off_everywhere(void)
{
    for (size_t n = 0; n < size; n++) {
        put(whole, n);
        check("a cut", n, now->archive && n >= frames[0].begin);
        if (now->archive && n >= frames[0].begin && !costs_bytes(n, 0)) {
            complain("a cut", "costs what is before it", n);
        }
    }
}

/* The archive with its data frames in another order; the number of each. */
static void put_frames(const size_t *order, size_t count)
{
    size_t n = frames[0].begin;
    memcpy(damaged, whole, n);
    for (size_t i = 0; i < count; i++) {
        const frame *const f = &frames[order[i]];
        memcpy(damaged + n, whole + f->begin, f->end - f->begin);
        n += f->end - f->begin;
    }
    memcpy(damaged + n, whole + frames[frame_count - 1].end, size - frames[frame_count - 1].end);
    put(damaged, n + (size - frames[frame_count - 1].end));
}

static void move_frames(void)
{
    size_t order[sizeof frames / sizeof *frames + 1];
    for (size_t x = 0; x < frame_count; x++) {
        for (size_t y = 0; y <= frame_count; y++) { /* once more, before y */
            for (size_t i = 0; i <= frame_count; i++) {
                order[i] = i < y ? i : i == y ? x : i - 1;
            }
            put_frames(order, frame_count + 1);
            check("a repeated frame", x * 100 + y, true);
            if (!costs_frames((const bool[sizeof frames / sizeof *frames]){false})) {
                complain("a repeated frame", "costs something", x * 100 + y);
            }
        }
        for (size_t y = x + 1; y < frame_count; y++) {
            for (size_t i = 0; i < frame_count; i++) {
                order[i] = i == x ? y : i == y ? x : i;
            }
            put_frames(order, frame_count);
            check("swapped frames", x * 100 + y, true);
            if (!costs_frames((const bool[sizeof frames / sizeof *frames]){false})) {
                complain("swapped frames", "cost something", x * 100 + y);
            }
        }
        for (size_t i = 0; i + 1 < frame_count; i++) {
            order[i] = i < x ? i : i + 1;
        }
        put_frames(order, frame_count - 1);
        check("a dropped frame", x, true);
        if (!costs_bytes(frames[x].begin, frames[x].end)) {
            complain("a dropped frame", "costs others", x);
        }
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
    wrong_in_all += wrong;
    detected = salvaged = beyond = wrong = 0;
}

int main(int argc, char **argv)
{
    const unsigned long long count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 24;
    state = seed;
    begin();
    for (size_t k = 0; k < KINDS; k++) {
        make_whole(&kinds[k]);
        printf("%s: %zu bytes, seed %llu\n", now->name, size, (unsigned long long)seed);
        put(whole, size);
        if (s24_verify_file(&io, &(s24_verify_request){.input = input_path}, NULL) != S24_OK) {
            stop("the undamaged file does not verify");
        }
        flip_every_bit();
        report("  every bit");
        cut_off_everywhere();
        report("  every cut");
        if (now->archive) {
            move_frames();
            report("  frames moved");
        }
        damage_at_random(count / KINDS);
        report("  at random");
    }
    end();
    return wrong_in_all != 0;
}
