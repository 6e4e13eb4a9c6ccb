/*
 * coder [--isa NAME] [--level N] [--mib N] [--dump DIR] [MODEL.safetensors...] - what the coder of archives makes of
 * weights, and how fast, a line for each set of them and dtype: N(0,1), the same with scales, and all matrices of each file.
 *
 * Bits are a dense element, of positions, of each byte of the values from the lowest, of tables, and together; beside
 * them what zlib makes of the same planes (positions three groups a byte, values byte by byte), with Z_HUFFMAN_ONLY and
 * with level 6. 10^6 bytes a second of processor time are of kept values and positions, in and out, one thread; medians. All that is
 * decoded is compared.
 *
 * --dump: the planes, and the dense data with zeros for what was pruned, as files for other compressors.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#include "coder.h"
#include "format.h"
#include "panel.h"

#define ROUNDS 7

typedef struct unit {
    s24_unit u;
    size_t elements;
    uint8_t *values, *nibbles, *coded;
    size_t coded_bytes;
} unit;

typedef struct set {
    const char *name;
    s24_dtype dtype;
    unit *units;
    size_t count;
    size_t elements, kept; /* dense elements; bytes of values and positions */
} set;

static int level = S24_CODER_LEVEL;
static s24_isa isa = S24_ISA_BEST;
static const char *dump_dir;

/* The processor's time of this thread: it only computes, and what else runs on the machine does not count. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double x[ROUNDS])
{
    qsort(x, ROUNDS, sizeof *x, ascending);
    return x[ROUNDS / 2];
}

static void *get(size_t bytes)
{
    void *p = malloc(bytes + 1);
    if (!p) {
        perror("coder");
        exit(1);
    }
    return memset(p, 1, bytes + 1);
}

/* ---------------------------------------------------------------- units */

/* Rows of nibbles to one run of them. */
static void join_rows(const uint8_t *rows, size_t count, size_t groups, uint8_t *nibbles)
{
    memset(nibbles, 0, (count * groups + 1) / 2);
    for (size_t r = 0; r < count; r++) {
        for (size_t g = 0; g < groups; g++) {
            const size_t i = r * groups + g;
            const unsigned nibble = rows[r * ((groups + 1) / 2) + g / 2] >> g % 2 * 4 & 15;
            nibbles[i / 2] = (uint8_t)(nibbles[i / 2] | nibble << i % 2 * 4);
        }
    }
}

static void add_unit(set *s, const float *dense, size_t rows, size_t cols)
{
    const size_t groups = (cols + 3) / 4, all = rows * groups, bytes = s24_info(s->dtype)->bytes;
    const s24_pruner pruner = s24_pruner_of(&s24_methods[S24_METHOD_MAGNITUDE], S24_F32, s->dtype, S24_F32, false, S24_ISA_BEST);
    uint8_t *positions = get(rows * ((groups + 1) / 2));
    s24_sums sums;
    s24_fault fault;
    s->units = realloc(s->units, (s->count + 1) * sizeof *s->units);
    if (!s->units) {
        exit(1);
    }
    unit *u = &s->units[s->count++];
    *u = (unit){.u = {.dtype = s->dtype, .values = 2 * all, .groups = all, .isa = isa}, .elements = rows * cols};
    u->values = get(2 * all * bytes);
    u->nibbles = get((all + 1) / 2);
    u->coded = get(s24_coder_bound(&u->u));
    const s24_panel panel = {.rows = rows, .cols = cols, .dense = dense, .values = u->values, .positions = positions};
    if (!s24_prune_panel(&pruner, &panel, &sums, &fault)) {
        fprintf(stderr, "coder: %s cannot be pruned\n", s->name);
        exit(1);
    }
    join_rows(positions, rows, groups, u->nibbles);
    free(positions);
    s->elements += u->elements;
    s->kept += 2 * all * bytes + (all + 1) / 2;
}

static void free_set(set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->units[i].values);
        free(s->units[i].nibbles);
        free(s->units[i].coded);
    }
    free(s->units);
}

/* Rows and columns of trained weights have scales of their own: scaled, those are e^(0.5 N) and e^(0.25 N). */
static set gaussian(s24_dtype dtype, size_t mib, bool scaled)
{
    enum { COLS = 4096, ROWS = 4 * S24_PANEL_GROUPS / COLS };
    static float row_scale[ROWS], col_scale[COLS];
    set s = {.name = scaled ? "N(0,1) x row x column" : "N(0,1)", .dtype = dtype};
    float *x = get(ROWS * COLS * sizeof *x);
    s24_bench_normal(0, col_scale, COLS);
    for (size_t i = 0; i < mib; i++) {
        s24_bench_normal(i + 1, x, ROWS * COLS);
        s24_bench_normal(i + 1001, row_scale, ROWS);
        for (size_t k = 0; k < ROWS * COLS && scaled; k++) {
            x[k] *= expf(0.5f * row_scale[k / COLS] + 0.25f * col_scale[k % COLS]);
        }
        add_unit(&s, x, ROWS, COLS);
    }
    free(x);
    return s;
}

static void add_matrix(set *s, const s24_entry *e)
{
    s24_geometry g;
    int axis;
    s24_error err;
    float *dense = get(e->bytes), *scratch = get(e->bytes);
    if (s24_geometry_init(&g, s->dtype, e->rank, e->shape, S24_AXIS_AUTO, &axis, &err) != S24_OK ||
        s24_source_read_rows(e, axis, 0, g.rows, 0, g.cols, dense, scratch, &err) != S24_OK) {
        fprintf(stderr, "coder: %s\n", err.message);
        exit(1);
    }
    const s24_panels panels = s24_panels_of(&g, S24_PANEL_GROUPS);
    for (size_t i = 0; i < panels.count; i++) {
        const s24_panel_place p = s24_panel_at(&panels, i);
        const size_t cols = s24_place_cols(&p, g.cols);
        add_unit(s, dense + p.row * g.cols + 4 * p.group, p.rows, cols);
    }
    free(dense);
    free(scratch);
}

static set model(const char *path, s24_dtype dtype)
{
    static const s24_io io = {.threads = 1};
    const char *slash = strrchr(path, '/');
    set s = {.name = slash ? slash + 1 : path, .dtype = dtype};
    s24_source *source;
    s24_error err;
    if (s24_source_open(&source, &io, path, NULL, &err) != S24_OK) {
        fprintf(stderr, "coder: %s\n", err.message);
        exit(1);
    }
    for (size_t i = 0; i < source->contents.count; i++) {
        const s24_entry *e = &source->contents.entries[i];
        if (e->rank >= 2 && e->dtype == S24_F32) {
            add_matrix(&s, e);
        }
    }
    s24_source_close(source);
    return s;
}

/* ---------------------------------------------------------------- planes as other compressors get them */

/* Positions, three groups a byte, then bytes of values, the lowest first; how many bytes there are. */
static size_t planes_of(const unit *u, uint8_t *planes)
{
    static const uint8_t number[16] = {[4] = 0, [8] = 1, [9] = 2, [12] = 3, [13] = 4, [14] = 5};
    const size_t bytes = s24_info(u->u.dtype)->bytes;
    uint8_t *out = planes;
    for (size_t g = 0; g < u->u.groups; g += 3) {
        unsigned packed = 0, weight = 1;
        for (size_t i = g; i < g + 3 && i < u->u.groups; i++, weight *= 6) {
            packed += weight * number[u->nibbles[i / 2] >> i % 2 * 4 & 15];
        }
        *out++ = (uint8_t)packed;
    }
    for (size_t b = 0; b < bytes; b++) {
        for (size_t i = 0; i < u->u.values; i++) {
            *out++ = u->values[i * bytes + b];
        }
    }
    return (size_t)(out - planes);
}

static FILE *create(const set *s, const char *suffix)
{
    char path[4096], name[64];
    snprintf(name, sizeof name, "%s", s->name);
    for (char *c = name; *c; c++) {
        *c = isalnum((unsigned char)*c) ? *c : '-';
    }
    snprintf(path, sizeof path, "%s/%s.%s.%s", dump_dir, name, s24_dtype_name(s->dtype), suffix);
    FILE *f = fopen(path, "wb");
    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

/* One file a plane of all units, and one of the dense elements. */
static void dump(const set *s)
{
    const size_t bytes = s24_info(s->dtype)->bytes;
    for (size_t plane = 0; plane <= bytes; plane++) {
        char suffix[] = "plane0";
        suffix[5] = (char)('0' + plane);
        FILE *f = create(s, suffix);
        for (size_t i = 0; i < s->count; i++) {
            const unit *u = &s->units[i];
            uint8_t *planes = get(s->kept);
            planes_of(u, planes);
            const size_t positions = (u->u.groups + 2) / 3;
            fwrite(plane ? planes + positions + (plane - 1) * u->u.values : planes, 1,
                   plane ? u->u.values : positions, f);
            free(planes);
        }
        fclose(f);
    }
    FILE *f = create(s, "dense");
    for (size_t i = 0; i < s->count; i++) {
        const unit *u = &s->units[i];
        uint8_t *dense = get(4 * u->u.groups * bytes);
        s24_fault fault;
        const s24_unpacker unpacker = s24_unpacker_of(s->dtype, s->dtype, S24_ISA_BEST);
        s24_unpack_panel(&unpacker, 1, 4 * u->u.groups, u->values, u->nibbles, NULL, dense, &fault);
        fwrite(dense, bytes, 4 * u->u.groups, f);
        free(dense);
    }
    fclose(f);
}

/* ---------------------------------------------------------------- measuring */

typedef struct result {
    size_t bytes;
    double in, out; /* seconds */
} result;

static result run_zlib(const set *s, int zlib_level, int strategy)
{
    uint8_t *planes = get(s->kept), *coded = get(compressBound(s->kept)), *back = get(s->kept);
    result r = {0};
    for (size_t i = 0; i < s->count; i++) {
        const unit *u = &s->units[i];
        const size_t positions = (u->u.groups + 2) / 3, all = planes_of(u, planes);
        for (size_t at = 0, n = positions; at < all; at += n, n = u->u.values) {
            z_stream in = {.next_in = planes + at, .avail_in = (uInt)n, .next_out = coded, .avail_out = (uInt)compressBound(n)};
            const double t0 = now();
            deflateInit2(&in, zlib_level, Z_DEFLATED, -15, 9, strategy);
            deflate(&in, Z_FINISH);
            deflateEnd(&in);
            const double t1 = now();
            z_stream out = {.next_in = coded, .avail_in = (uInt)in.total_out, .next_out = back, .avail_out = (uInt)n};
            inflateInit2(&out, -15);
            inflate(&out, Z_FINISH);
            inflateEnd(&out);
            r.out += now() - t1;
            r.in += t1 - t0;
            r.bytes += in.total_out < n ? in.total_out : n;
        }
    }
    free(planes);
    free(coded);
    free(back);
    return r;
}

static size_t most(const set *s, size_t (*of)(const s24_unit *unit))
{
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        n = of(&s->units[i].u) > n ? of(&s->units[i].u) : n;
    }
    return n;
}

static void decode_all(const set *s, void *scratch, uint8_t *values, uint8_t *nibbles)
{
    for (size_t i = 0; i < s->count; i++) {
        const unit *u = &s->units[i];
        if (!s24_unit_decode(&u->u, u->coded, u->coded_bytes, values, nibbles, scratch)) {
            fprintf(stderr, "coder: does not come back\n");
            exit(1);
        }
    }
}

static void compare_all(const set *s, void *scratch, uint8_t *values, uint8_t *nibbles)
{
    for (size_t i = 0; i < s->count; i++) {
        const unit *u = &s->units[i];
        if (!s24_unit_decode(&u->u, u->coded, u->coded_bytes, values, nibbles, scratch) ||
            memcmp(values, u->values, u->u.values * s24_info(s->dtype)->bytes) != 0 ||
            memcmp(nibbles, u->nibbles, (u->u.groups + 1) / 2) != 0) {
            fprintf(stderr, "coder: comes back different\n");
            exit(1);
        }
    }
}

static result run_coder(const set *s)
{
    void *encode = get(most(s, s24_encode_scratch)), *decode = get(most(s, s24_decode_scratch));
    uint8_t *values = get(s->kept), *nibbles = get(s->kept);
    double in[ROUNDS], out[ROUNDS];
    result r = {0};
    for (int round = -1; round < ROUNDS; round++) {
        const int k = round < 0 ? 0 : round;
        const double t0 = now();
        r.bytes = 0;
        for (size_t i = 0; i < s->count; i++) {
            unit *u = &s->units[i];
            r.bytes += u->coded_bytes = s24_unit_encode(&u->u, u->values, u->nibbles, level, u->coded, encode);
        }
        const double t1 = now();
        decode_all(s, decode, values, nibbles);
        out[k] = now() - t1;
        in[k] = t1 - t0;
    }
    compare_all(s, decode, values, nibbles);
    r.in = median(in);
    r.out = median(out);
    free(encode);
    free(decode);
    free(values);
    free(nibbles);
    return r;
}

static void print_sizes(const set *s)
{
    s24_coded_sizes sum = {0}, one;
    for (size_t i = 0; i < s->count; i++) {
        s24_unit_sizes(&s->units[i].u, s->units[i].coded, s->units[i].coded_bytes, &one);
        sum.positions += one.positions;
        sum.tables += one.tables;
        for (unsigned b = 0; b < 8; b++) {
            sum.planes[b] += one.planes[b];
        }
    }
    const double bits = 8 / (double)s->elements;
    printf("   positions %.4f  bytes", bits * (double)sum.positions);
    for (unsigned b = 0; b < s24_info(s->dtype)->bytes; b++) {
        printf(" %.4f", bits * (double)sum.planes[b]);
    }
    printf("  tables %.4f\n", bits * (double)sum.tables);
}

static void measure(const set *s)
{
    const result own = run_coder(s), huffman = run_zlib(s, 6, Z_HUFFMAN_ONLY), six = run_zlib(s, 6, Z_DEFAULT_STRATEGY);
    const double bits = 8 / (double)s->elements, mb = 1e-6 * (double)s->kept;
    const result *all[] = {&own, &huffman, &six};
    printf("%-24.24s %-5s", s->name, s24_dtype_name(s->dtype));
    for (unsigned i = 0; i < 3; i++) {
        printf("  %8.4f %6.0f %6.0f", bits * (double)all[i]->bytes, mb / all[i]->in, mb / all[i]->out);
    }
    printf("\n");
    print_sizes(s);
    fflush(stdout);
    if (dump_dir) {
        dump(s);
    }
}

static void measure_all(size_t mib, char **models, int count)
{
    static const s24_dtype dtypes[] = {S24_BF16, S24_F16, S24_F32};
    printf("%-24s %-5s  %8s %6s %6s  %8s %6s %6s  %8s %6s %6s\n", "weights", "dtype", "bits", "in", "out", "huffman", "in",
           "out", "zlib -6", "in", "out");
    for (int m = -2; m < count; m++) {
        for (unsigned d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
            set s = m < 0 ? gaussian(dtypes[d], mib, m == -1) : model(models[m], dtypes[d]);
            measure(&s);
            free_set(&s);
        }
    }
}

int main(int argc, char **argv)
{
    size_t mib = 16;
    bool usage = false;
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0 && !usage; i += 2) {
        if (strcmp(argv[i], "--isa") == 0) {
            usage = !s24_isa_parse(argv[i + 1], &isa);
        } else if (strcmp(argv[i], "--level") == 0) {
            usage = (level = atoi(argv[i + 1])) < 1 || level > S24_CODER_LEVELS;
        } else if (strcmp(argv[i], "--dump") == 0) {
            dump_dir = argv[i + 1];
        } else {
            usage = strcmp(argv[i], "--mib") != 0 || (mib = strtoull(argv[i + 1], NULL, 10)) < 1;
        }
    }
    if (usage || (i < argc && strncmp(argv[i], "--", 2) == 0)) {
        fprintf(stderr, "usage: coder [--isa NAME] [--level 1-9] [--mib N] [--dump DIR] [MODEL.safetensors...]\n");
        return 2;
    }
    measure_all(mib, argv + i, argc - i);
    return 0;
}
