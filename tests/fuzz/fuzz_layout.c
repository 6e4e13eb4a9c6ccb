/*
 * Any bytes as a safetensors file with layouts of other tools: opened or refused, every tensor read, whole and in
 * pieces, to the same bytes; never more of it than its planes can stand for. Bytes alone seldom agree on names, shapes
 * and sizes, so that those that do not begin as such a file are taken for what planes are made of.
 */
#include "fuzz.h"
#include "layout.h"

#define MOST (1u << 17) /* dense bytes that are read of a tensor */
#define PIECES 8

/* ---------------------------------------------------------------- a file */

/* What is taken off the front of the input; zeros once it is used up. */
typedef struct supply {
    const uint8_t *data;
    size_t n;
} supply;

static unsigned take(supply *b)
{
    if (b->n == 0) {
        return 0;
    }
    b->n--;
    return *b->data++;
}

typedef struct draft {
    char header[4096];
    size_t used, end; /* of the header; of the data */
    uint8_t data[1u << 14];
} draft;

/* One plane. What the input has no data for is zeros. */
static void add_plane(draft *f, const char *name, const char *dtype, const char *shape, size_t n, supply *from)
{
    n = n < sizeof f->data - f->end ? n : sizeof f->data - f->end;
    f->used += (size_t)snprintf(f->header + f->used, sizeof f->header - f->used,
                                ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", name, dtype, shape,
                                f->end, f->end + n);
    const size_t taken = n < from->n ? n : from->n;
    if (taken) {
        memcpy(f->data + f->end, from->data, taken);
    }
    memset(f->data + f->end + taken, 0, n - taken);
    from->data += taken;
    from->n -= taken;
    f->end += n;
}

static void add_list(draft *f, const char *name, const char *shape, const uint64_t *numbers, size_t count)
{
    uint8_t data[8 * 8];
    for (size_t i = 0; i < 8 * count; i++) {
        data[i] = (uint8_t)(numbers[i / 8] >> i % 8 * 8);
    }
    supply from = {data, 8 * count};
    add_plane(f, name, "I64", shape, 8 * count, &from);
}

/* Bits with two of four set, but for those that the input spoils. */
static void add_bits(draft *f, const char *name, size_t rows, size_t row_bytes, size_t cols, supply *b)
{
    static const uint8_t two[] = {3, 5, 9, 6, 10, 12};
    char shape[64];
    uint8_t bits[4096];
    snprintf(shape, sizeof shape, "%zu,%zu", rows, row_bytes);
    const unsigned honest = take(b) & 3; /* 0: as it comes */
    for (size_t i = 0; i < rows * row_bytes; i++) {
        const unsigned x = take(b), low = two[x % 6], high = i % row_bytes * 8 + 4 < cols ? two[x / 6 % 6] : 0u;
        bits[i] = (uint8_t)(honest ? low | high << 4 : x);
    }
    supply from = {bits, rows * row_bytes};
    add_plane(f, name, "U8", shape, rows * row_bytes, &from);
}

static void add_bitmask(draft *f, const char *base, bool any_number, supply *b)
{
    static const char *const dtypes[] = {"F32", "F16", "I8", "F64"};
    static const size_t widths[] = {4, 2, 1, 8};
    const size_t rows = 1 + take(b) % 17, cols = any_number ? 1 + take(b) % 70 : 4 + take(b) % 20 * 4;
    const unsigned dtype = take(b) % 4, lie = take(b);
    const uint64_t extents[] = {lie == 1 ? (uint64_t)take(b) << take(b) % 64 : rows, lie == 2 ? cols + take(b) : cols};
    uint64_t offsets[8] = {0};
    const size_t row_bytes = (cols + 7) / 8 - (lie == 5), few = rows < 8 ? rows : 8;
    char name[64], shape[64];
    snprintf(name, sizeof name, "%s.shape", base);
    add_list(f, name, take(b) & 1 ? "2" : "2,1", extents, 2);
    const size_t kept = any_number ? take(b) * (size_t)(lie == 3 ? 1 : 2) : cols / 2 - (lie == 6);
    snprintf(name, sizeof name, "%s.compressed", base);
    snprintf(shape, sizeof shape, any_number ? "%zu" : "%zu,%zu", any_number ? kept : rows, kept);
    add_plane(f, name, dtypes[dtype], shape, (any_number ? kept : rows * kept) * widths[dtype], b);
    snprintf(name, sizeof name, "%s.bitmask", base);
    add_bits(f, name, rows, row_bytes, cols, b);
    if (any_number) {
        for (size_t r = 0, at = 0; r < few; r++, at += lie & 4 ? take(b) : row_bytes * 4) {
            offsets[r] = at;
        }
        snprintf(name, sizeof name, "%s.row_offsets", base);
        snprintf(shape, sizeof shape, "%zu", few);
        add_list(f, name, shape, offsets, few);
    }
}

static void add_cutlass(draft *f, const char *base, supply *b)
{
    static const uint8_t two[] = {0x4, 0x8, 0xc, 0x9, 0xd, 0xe};
    const bool i8 = take(b) & 1;
    const size_t rows = (i8 ? 16 : 32) * (1 + take(b) % 2), cols = (i8 ? 128 : 64) * (1 + take(b) % 3);
    const size_t words = cols / (i8 ? 32 : 16) - (take(b) == 1), n = rows * words * (i8 ? 4 : 2);
    const unsigned honest = take(b) & 3;
    uint8_t meta[4096];
    char name[64], shape[64];
    snprintf(name, sizeof name, "%s.packed", base);
    snprintf(shape, sizeof shape, "%zu,%zu", rows, cols / 2);
    for (size_t i = 0; i < n; i++) {
        const unsigned x = take(b);
        meta[i] = (uint8_t)(honest ? (unsigned)(two[x % 6] | two[x / 6 % 6] << 4) : x);
    }
    supply from = {meta, n};
    add_plane(f, name, i8 ? "I8" : "F16", shape, rows * (cols / 2) * (i8 ? 1 : 2), b);
    snprintf(name, sizeof name, "%s.meta", base);
    snprintf(shape, sizeof shape, "%zu,%zu", rows, words);
    add_plane(f, name, i8 ? "I32" : "I16", shape, n, &from);
}

/* The file's bytes, to be freed. */
static uint8_t *make_file(supply b, size_t *size)
{
    static draft f;
    f.used = (size_t)snprintf(f.header, sizeof f.header, "{\"__metadata__\":{\"semi_structured\":\"cutlass\"}");
    f.end = 0;
    const unsigned what = take(&b);
    if (what & 1) {
        add_bitmask(&f, "a", false, &b);
    }
    if (what & 2) {
        add_bitmask(&f, what & 32 ? "a" : "b", true, &b); /* the same name twice is refused as a header */
    }
    if (what & 4) {
        add_cutlass(&f, what & 64 ? "a.weight" : "c", &b);
    }
    if (what & 8) {
        add_plane(&f, "d", "F32", "2,4", 32, &b);
    }
    f.header[f.used++] = '}';
    uint8_t *file = malloc(8 + f.used + f.end);
    REQUIRE(file);
    for (int i = 0; i < 8; i++) {
        file[i] = (uint8_t)((uint64_t)f.used >> 8 * i);
    }
    memcpy(file + 8, f.header, f.used);
    memcpy(file + 8 + f.used, f.data, f.end);
    *size = 8 + f.used + f.end;
    return file;
}

/* ---------------------------------------------------------------- reading it */

/* Elements of a tensor in some pieces from all over it; S24_OK: they are the same as all at once. */
static s24_status read_pieces(const s24_entry *e, const unsigned char *whole, unsigned bytes, size_t step, s24_error *err)
{
    const size_t n = (size_t)(e->bytes / bytes), next = step * (1 + n / step / PIECES);
    unsigned char *part = malloc(step * bytes);
    s24_status status = part ? S24_OK : S24_ERR_SYSTEM;
    for (size_t at = 0; at < n && status == S24_OK; at += next) {
        const size_t count = n - at < step ? n - at : step;
        status = e->layout->read(e, at, count, part, err);
        REQUIRE(status != S24_OK || memcmp(part, whole + at * bytes, count * bytes) == 0);
    }
    free(part);
    return status;
}

/* A plane that is too short would be read beyond its end, into the next: nothing else would see that. */
static void check_planes(const s24_entry *e)
{
    const size_t cols = e->shape[e->rank - 1], elements = (size_t)(e->bytes / s24_info(e->dtype)->bytes);
    const bool bits = strcmp(e->layout->name, "cutlass") != 0, two = strcmp(e->layout->name, "sparse-bitmask") != 0;
    const size_t values = bits ? S24_BITMASK_VALUES : S24_CUTLASS_VALUES, places = bits ? S24_BITMASK_BITS : S24_CUTLASS_META;
    REQUIRE(e->planes[places].bytes == (bits ? elements / cols * ((cols + 7) / 8) : elements / 8));
    REQUIRE(!two || 2 * e->planes[values].bytes == e->bytes);
    REQUIRE(two || e->planes[S24_BITMASK_OFFSETS].bytes == 8 * (elements / cols));
}

static void read_entry(const s24_entry *e)
{
    const unsigned bytes = s24_info(e->dtype)->bytes;
    s24_error err = {0};
    uint64_t planes = 0;
    for (size_t p = 0; p < e->plane_count; p++) {
        planes += e->planes[p].bytes;
    }
    REQUIRE(!e->layout || (bytes && e->bytes <= 64 * planes)); /* a bit stands for 8 bytes at most */
    if (bytes == 0 || e->bytes == 0 || e->bytes > MOST || e->rank == 0) {
        return;
    }
    if (e->layout) {
        check_planes(e);
    }
    const size_t cols = e->shape[e->rank - 1], rows = (size_t)(e->bytes / bytes) / cols;
    unsigned char *whole = malloc((size_t)e->bytes), *scratch = malloc((size_t)e->bytes);
    REQUIRE(whole && scratch);
    const s24_status status = s24_source_read_rows(e, e->rank - 1, 0, rows, 0, cols, whole, scratch, &err);
    require_told(status, &err);
    REQUIRE(status == S24_OK || (e->layout && status == S24_ERR_DATA));
    if (status == S24_OK && e->layout) {
        REQUIRE(read_pieces(e, whole, bytes, 1 + (size_t)(e->bytes % 61), &err) == S24_OK);
        REQUIRE(read_pieces(e, whole, bytes, 64, &err) == S24_OK);
    }
    free(whole);
    free(scratch);
}

static void open_once(const uint8_t *file, size_t n)
{
    s24_source *const source = source_of(&s24_format_safetensors, NULL, file, n);
    s24_error err = {0};
    const s24_status status = s24_source_parse(source, &err);
    require_told(status, &err);
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        REQUIRE(source->contents.entries[i].source == source);
        read_entry(&source->contents.entries[i]);
    }
    REQUIRE(status != S24_OK || s24_source_expect_end(source, &err) == S24_OK);
    s24_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 8 && data[8] == '{') {
        open_once(data, size);
    } else {
        uint8_t *const file = make_file((supply){data, size}, &size);
        open_once(file, size);
        free(file);
    }
    return 0;
}
