/*
 * Writing sparse layouts: the bytes against the formats' own rules, there and back for every dtype and every tail, files
 * and pipes, and every refusal.
 */
#include <sys/stat.h>

#include "carry.h"
#include "layout_file.h"

#define MAX_ELEMENTS 40000

static const s24_format *const formats[] = {&s24_format_bitmask, &s24_format_cutlass};

/* Bytes of standard output, or of the file. */
static unsigned char *get_file(const char *name, size_t *n)
{
    FILE *const f = fopen(name, "rb");
    struct stat st;
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    *n = (size_t)st.st_size;
    unsigned char *const data = malloc(*n + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

/* A FIFO's other end, copied to `path` by a child. */
static pid_t start_reader(const char *fifo)
{
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    const pid_t child = fork();
    if (child == 0) {
        FILE *const from = fopen(fifo, "rb"), *const to = fopen(path, "wb");
        for (int c; from && to && (c = getc(from)) != EOF;) {
            putc(c, to);
        }
        _exit(!to || fclose(to) != 0);
    }
    return child;
}

/* Two tensors in the layout and one beside them; data of both the same. steps: 0, all at once; or up to so many. */
static s24_status write_layout(const s24_format *format, s24_dtype dtype, const size_t *shape, const void *data,
                               size_t steps, const char *to, const s24_pair *pair, s24_error *err)
{
    static const size_t three[] = {3};
    static const char *const names[] = {"a.weight", "norm", "b.weight"};
    const unsigned bytes = s24_info(dtype)->bytes;
    const size_t elements = shape[0] * shape[1];
    uint64_t seed = 99 + steps;
    s24_contents plan = {0};
    s24_output *out = NULL;
    s24_sink *sink = NULL;
    for (int i = 0; i < 3; i++) {
        s24_entry *const e = i == 1 ? s24_contents_add(&plan, names[i], S24_U8, 1, three, err)
                                    : s24_contents_add(&plan, names[i], dtype, 2, shape, err);
        e->packed = i != 1;
        e->axis = i == 1 ? 0 : 1;
        ck_assert(i == 1 || format->unfit(e) == NULL);
    }
    s24_contents_add_pair(&plan, "format", "pt", err);
    if (pair) {
        s24_contents_add_pair(&plan, pair->key, pair->value, err);
    }
    ck_assert_int_eq(s24_output_open(&out, &io, to, NULL, 0, err), S24_OK);
    s24_status status = s24_sink_open(&sink, format, out, &plan, err);
    if (status != S24_OK) {
        return status;
    }
    for (size_t i = 0; i < 3; i++) {
        const size_t count = i == 1 ? 3 : elements;
        for (size_t first = 0; first < count && status == S24_OK;) {
            const size_t left = count - first, n = steps ? 1 + next_random(&seed) % steps : left;
            const size_t part = n < left ? n : left;
            const void *const from = i == 1 ? &"xyz"[first] : (const char *)data + first * bytes;
            status = format->write(sink, i, first, part, from, err);
            first += part;
        }
    }
    if (status != S24_OK) {
        s24_sink_abort(sink);
        return status;
    }
    return s24_sink_commit(sink, err);
}

/* Groups of none to two elements unequal to zero; zeros of both signs where there are two. */
static void make_data(const s24_dtype_info *info, size_t elements, bool full, uint64_t *seed, unsigned char *data,
                      unsigned char *wanted)
{
    const bool has_sign = info->kind == S24_KIND_IEEE || info->kind == S24_KIND_FN;
    for (size_t g = 0; g < elements / 4; g++) {
        const unsigned a = (unsigned)(next_random(seed) % 4), b = (a + 1 + (unsigned)(next_random(seed) % 3)) % 4;
        for (unsigned i = 0; i < 4; i++) {
            const bool kept = i == a || i == b;
            const uint64_t value = (next_random(seed) >> (64 - info->bits)) | 1;
            const bool zero = !kept || (!full && next_random(seed) % 4 == 0);
            const uint64_t sign = has_sign && next_random(seed) % 2 ? (uint64_t)1 << (info->bits - 1) : 0;
            s24_store(data, info->bytes, 4 * g + i, zero ? sign : value);
            s24_store(wanted, info->bytes, 4 * g + i, zero ? 0 : value);
        }
    }
}

static const s24_dtype dtypes[] = {S24_F64, S24_F32, S24_F16, S24_BF16, S24_F8E4M3, S24_F8E5M2, S24_I8};
#define DTYPES (int)(sizeof dtypes / sizeof *dtypes)
static const size_t bitmask_shapes[][2] = {{1, 4}, {3, 4}, {2, 12}, {5, 20}, {1, 32}, {7, 36}, {9000, 4}, {3, 12012}};

static void check_there_and_back(const s24_format *format, s24_dtype dtype, const size_t *shape, bool full)
{
    static unsigned char data[8 * MAX_ELEMENTS], wanted[8 * MAX_ELEMENTS], got[8 * MAX_ELEMENTS];
    const s24_dtype_info *const info = s24_info(dtype);
    const size_t elements = shape[0] * shape[1];
    uint64_t seed = 31 * elements + (uint64_t)dtype + 1;
    s24_source *source = NULL;
    s24_error err = {0};
    ck_assert_uint_le(elements, MAX_ELEMENTS);
    make_data(info, elements, full, &seed, data, wanted);
    ck_assert_msg(write_layout(format, dtype, shape, data, 0, path, NULL, &err) == S24_OK, "%s", err.message);
    size_t n, m;
    unsigned char *const file = get_file(path, &n);
    /* In small pieces, and to a pipe: the same bytes. */
    ck_assert_int_eq(write_layout(format, dtype, shape, data, 7, path, NULL, &err), S24_OK);
    unsigned char *again = get_file(path, &m);
    ck_assert(n == m && memcmp(file, again, n) == 0);
    free(again);
    char fifo[64];
    snprintf(fifo, sizeof fifo, "%s.fifo", path);
    const pid_t child = start_reader(fifo);
    ck_assert_msg(write_layout(format, dtype, shape, data, 5000, fifo, NULL, &err) == S24_OK, "%s", err.message);
    waitpid(child, NULL, 0);
    unlink(fifo);
    again = get_file(path, &m);
    ck_assert(n == m && memcmp(file, again, n) == 0);
    free(again);
    ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
    ck_assert_uint_eq(source->contents.count, 3);
    ck_assert_uint_eq(source->contents.pairs, 1);
    for (int i = 0; i < 60; i++) {
        const s24_entry *const e = &source->contents.entries[i % 2 * 2];
        ck_assert_str_eq(e->name, i % 2 ? "b.weight" : "a.weight");
        ck_assert_str_eq(e->layout->name, format->name);
        const size_t first = i < 2 ? 0 : next_random(&seed) % elements;
        const size_t left = elements - first, some = i < 2 ? left : next_random(&seed) % (i % 4 < 2 ? left + 1 : 70);
        const size_t count = some < left ? some : left;
        ck_assert_msg(e->layout->read(e, first, count, got, &err) == S24_OK, "%s", err.message);
        ck_assert(memcmp(got, wanted + first * info->bytes, count * info->bytes) == 0);
    }
    ck_assert_int_eq(s24_input_read(source->in, source->contents.entries[1].offset, got, 3, &err), S24_OK);
    ck_assert(memcmp(got, "xyz", 3) == 0);
    s24_source_close(source);
    free(file);
}

START_TEST(bitmask_there_and_back)
{
    for (size_t s = 0; s < sizeof bitmask_shapes / sizeof *bitmask_shapes; s++) {
        check_there_and_back(&s24_format_bitmask, dtypes[_i], bitmask_shapes[s], s % 2);
    }
}
END_TEST

static const struct {
    s24_dtype dtype;
    size_t shape[2];
} cutlass_shapes[] = {{S24_F16, {32, 64}},  {S24_BF16, {64, 128}}, {S24_F16, {96, 192}}, {S24_BF16, {128, 256}},
                      {S24_I8, {16, 128}},  {S24_I8, {64, 256}},   {S24_I8, {48, 384}},  {S24_F16, {32, 1216}}};

START_TEST(cutlass_there_and_back)
{
    check_there_and_back(&s24_format_cutlass, cutlass_shapes[_i].dtype, cutlass_shapes[_i].shape, _i % 2);
}
END_TEST

/* The planes of a file, as ordinary tensors: what other tools see. */
static s24_status open_planes(s24_source *source, s24_error *err)
{
    memset(source, 0, sizeof *source);
    source->io = &io;
    source->format = &s24_format_safetensors;
    ck_assert_int_eq(s24_input_open(&source->in, &io, path, err), S24_OK);
    return source->format->open(source, err);
}

static void close_planes(s24_source *source)
{
    s24_contents_free(&source->contents);
    s24_input_close(source->in);
}

static void check_plane(const s24_source *source, size_t i, const char *name, s24_dtype dtype, size_t rows, size_t cols,
                        const void *data)
{
    static unsigned char got[8 * MAX_ELEMENTS];
    const s24_entry *const e = &source->contents.entries[i];
    s24_error err;
    ck_assert_str_eq(e->name, name);
    ck_assert_int_eq(e->dtype, dtype);
    ck_assert_int_eq(e->rank, 2);
    ck_assert_uint_eq(e->shape[0], rows);
    ck_assert_uint_eq(e->shape[1], cols);
    ck_assert_int_eq(s24_input_read(source->in, e->offset, got, (size_t)e->bytes, &err), S24_OK);
    ck_assert(memcmp(got, data, (size_t)e->bytes) == 0);
}

/* By hand, under-full groups with it: the zeros of the lowest index fill up, and -0.0 is one and becomes +0.0. */
START_TEST(bitmask_bytes)
{
    static const uint16_t dense[] = {1, 2, 0, 0,  0, 0, 3, 4,  0, 5, 6, 0,
                                     7, 0, 0, 8,  0, 0x8000, 0, 10,  0x8000, 0, 0, 0};
    static const uint16_t values[] = {1, 2, 3, 4, 5, 6,  7, 8, 0, 10, 0, 0};
    static const unsigned char bits[] = {0xc3, 0x06, 0x99, 0x03};
    static const int64_t extents[] = {2, 12};
    s24_source source;
    s24_error err = {0};
    ck_assert_int_eq(write_layout(&s24_format_bitmask, S24_F16, (const size_t[]){2, 12}, dense, 0, path, NULL, &err), S24_OK);
    ck_assert_int_eq(open_planes(&source, &err), S24_OK);
    ck_assert_uint_eq(source.contents.count, 7);
    check_plane(&source, 0, "a.shape", S24_I64, 2, 1, extents);
    check_plane(&source, 1, "a.compressed", S24_F16, 2, 6, values);
    check_plane(&source, 2, "a.bitmask", S24_U8, 2, 2, bits);
    ck_assert_str_eq(source.contents.entries[3].name, "norm");
    check_plane(&source, 4, "b.shape", S24_I64, 2, 1, extents);
    check_plane(&source, 5, "b.compressed", S24_F16, 2, 6, values);
    check_plane(&source, 6, "b.bitmask", S24_U8, 2, 2, bits);
    ck_assert_uint_eq(source.contents.pairs, 1);
    close_planes(&source);
}
END_TEST

/* [0, 0, 1, 1] gives 0xEEEE in every word, wherever it goes; the mark goes with it. */
START_TEST(cutlass_golden)
{
    static uint16_t dense[32 * 64], ones[32 * 32], ees[32 * 4];
    s24_source source;
    s24_error err = {0};
    for (size_t i = 0; i < 32 * 64; i++) {
        dense[i] = i % 4 > 1 ? 0x3c00 : 0;
        ones[i / 2] = 0x3c00;
        ees[i / 16] = 0xeeee;
    }
    ck_assert_int_eq(write_layout(&s24_format_cutlass, S24_F16, (const size_t[]){32, 64}, dense, 0, path, NULL, &err), S24_OK);
    ck_assert_int_eq(open_planes(&source, &err), S24_OK);
    ck_assert_uint_eq(source.contents.count, 5);
    check_plane(&source, 0, "a.weight.packed", S24_F16, 32, 32, ones);
    check_plane(&source, 1, "a.weight.meta", S24_I16, 32, 4, ees);
    ck_assert_str_eq(source.contents.entries[2].name, "norm");
    check_plane(&source, 4, "b.weight.meta", S24_I16, 32, 4, ees);
    ck_assert_uint_eq(source.contents.pairs, 2);
    ck_assert_str_eq(source.contents.metadata[1].key, "semi_structured");
    ck_assert_str_eq(source.contents.metadata[1].value, "cutlass");
    close_planes(&source);
}
END_TEST

/* Where the formula of the layout puts the word of row r and column c. */
static size_t reordered(size_t m, size_t r, size_t c, bool wide)
{
    size_t row = wide ? r / 32 * 32 + r % 8 * 4 + r % 32 / 8 : r / 16 * 16 + r % 8 * 2 + r % 16 / 8, col = c;
    if (row % 2 != col % 2) {
        row = row % 2 ? row - 1 : row + 1;
        col = col % 2 ? col - 1 : col + 1;
    }
    return col / 2 * 2 * m + 2 * row + col % 2;
}

START_TEST(cutlass_words)
{
    static unsigned char dense[2 * MAX_ELEMENTS], wanted[2 * MAX_ELEMENTS], meta[MAX_ELEMENTS / 4];
    const s24_dtype dtype = cutlass_shapes[_i].dtype;
    const size_t *const shape = cutlass_shapes[_i].shape;
    const bool wide = dtype != S24_I8;
    const size_t groups = wide ? 4 : 8, words = shape[1] / 4 / groups;
    s24_source source;
    s24_error err = {0};
    uint64_t seed = 5;
    memset(meta, 0, sizeof meta);
    make_data(s24_info(dtype), shape[0] * shape[1], true, &seed, dense, wanted);
    for (size_t g = 0; g < shape[0] * shape[1] / 4; g++) {
        unsigned nibble = 0, found = 0;
        for (unsigned i = 0; i < 4; i++) {
            if (s24_load(wanted, wide ? 2 : 1, 4 * g + i)) {
                nibble |= i << 2 * found++;
            }
        }
        ck_assert_uint_eq(found, 2);
        const size_t row = g / (shape[1] / 4), in_row = g % (shape[1] / 4);
        meta[reordered(shape[0], row, in_row / groups, wide) * groups / 2 + in_row % groups / 2] |=
            (unsigned char)(nibble << in_row % 2 * 4);
    }
    ck_assert_int_eq(write_layout(&s24_format_cutlass, dtype, shape, dense, 0, path, NULL, &err), S24_OK);
    ck_assert_int_eq(open_planes(&source, &err), S24_OK);
    check_plane(&source, 1, "a.weight.meta", wide ? S24_I16 : S24_I32, shape[0], words, meta);
    close_planes(&source);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

/* A third element that is not zero, anywhere: row and group, and no file. */
START_TEST(not_two_of_four)
{
    static uint16_t dense[32 * 64];
    uint64_t seed = 3 + (uint64_t)_i;
    for (int i = 0; i < 50; i++) {
        const size_t g = next_random(&seed) % (32 * 16), four = next_random(&seed) % 2;
        char wanted[100];
        s24_error err = {0};
        memset(dense, 0, sizeof dense);
        for (size_t k = 0; k < 4; k++) {
            dense[4 * g + k] = four || k != g % 4 ? 0x8001 : 0x8000;
        }
        dense[32 * 64 - 1] = dense[32 * 64 - 2] = dense[32 * 64 - 3] = 1; /* the first one is told */
        unlink(path);
        ck_assert_int_eq(write_layout(formats[_i], S24_F16, (const size_t[]){32, 64}, dense, i % 2 ? 3 : 0, path, NULL, &err),
                         S24_ERR_DATA);
        snprintf(wanted, sizeof wanted, "a.weight: row %zu, group %zu is not 2:4; s24 prune makes it so", g / 16, g % 16);
        ck_assert_str_eq(err.message, wanted);
        ck_assert_int_ne(access(path, F_OK), 0);
    }
}
END_TEST

static const struct {
    int format; /* in formats */
    s24_dtype dtype;
    int rank, axis;
    size_t shape[4];
    const char *name, *reason;
} unfits[] = {
    {0, S24_F32, 2, 1, {1, 4}, "a.weight", NULL},
    {0, S24_F32, 4, 1, {8, 8, 3, 3}, "a.weight", "rank 4: sparse-24-bitmask holds matrices only"},
    {0, S24_F32, 1, 0, {8}, "a.weight", "rank 1: sparse-24-bitmask holds matrices only"},
    {0, S24_F32, 2, 0, {8, 8}, "a.weight", "sparse-24-bitmask has its groups along the last axis"},
    {0, S24_F32, 2, 1, {8, 6}, "a.weight", "sparse-24-bitmask takes columns in multiples of 4"},
    {0, S24_F32, 2, 1, {0, 8}, "a.weight", "sparse-24-bitmask has no place for an empty tensor"},
    {0, S24_F32, 2, 1, {8, 8}, "a.bias", "sparse-24-bitmask is for names that end in .weight"},
    {0, S24_F32, 2, 1, {8, 8}, ".weight", "sparse-24-bitmask is for names that end in .weight"},
    {0, S24_F32, 2, 1, {8, 8}, "", "sparse-24-bitmask is for names that end in .weight"},
    {1, S24_F16, 2, 1, {32, 64}, "x", NULL},
    {1, S24_BF16, 2, 1, {64, 192}, "", NULL},
    {1, S24_I8, 2, 1, {16, 128}, "x", NULL},
    {1, S24_F32, 2, 1, {32, 64}, "x", "f32: the hardware takes f16, bf16 and i8"},
    {1, S24_F8E4M3, 2, 1, {32, 64}, "x", "f8e4m3: the hardware takes f16, bf16 and i8"},
    {1, S24_F16, 3, 2, {2, 32, 64}, "x", "rank 3: cutlass holds matrices only"},
    {1, S24_F16, 2, 0, {64, 64}, "x", "cutlass has its groups along the last axis"},
    {1, S24_F16, 2, 1, {0, 64}, "x", "cutlass has no place for an empty tensor"},
    {1, S24_F16, 2, 1, {16, 64}, "x", "cutlass takes 16-bit matrices of 32 rows and 64 columns, and multiples of them"},
    {1, S24_BF16, 2, 1, {32, 96}, "x", "cutlass takes 16-bit matrices of 32 rows and 64 columns, and multiples of them"},
    {1, S24_I8, 2, 1, {8, 128}, "x", "cutlass takes i8 matrices of 16 rows and 128 columns, and multiples of them"},
    {1, S24_I8, 2, 1, {16, 64}, "x", "cutlass takes i8 matrices of 16 rows and 128 columns, and multiples of them"},
};

START_TEST(unfit)
{
    s24_contents contents = {0};
    s24_entry *const e = s24_contents_add(&contents, unfits[_i].name, unfits[_i].dtype, unfits[_i].rank,
                                          unfits[_i].shape, NULL);
    e->axis = unfits[_i].axis;
    const char *const reason = formats[unfits[_i].format]->unfit(e);
    if (unfits[_i].reason) {
        ck_assert_str_eq(reason, unfits[_i].reason);
    } else {
        ck_assert_ptr_null(reason);
    }
    s24_contents_free(&contents);
}
END_TEST

/* The user's own metadata: the mark that is there already, and one that says something else. */
START_TEST(metadata)
{
    static uint16_t dense[32 * 64];
    static char key[] = "semi_structured", same[] = "cutlass", other[] = "mine";
    s24_source source;
    s24_error err = {0};
    const size_t shape[] = {32, 64};
    ck_assert_int_eq(write_layout(&s24_format_cutlass, S24_F16, shape, dense, 0, path, &(s24_pair){key, same}, &err),
                     S24_OK);
    ck_assert_int_eq(open_planes(&source, &err), S24_OK);
    ck_assert_uint_eq(source.contents.pairs, 2);
    close_planes(&source);
    ck_assert_int_eq(write_layout(&s24_format_cutlass, S24_F16, shape, dense, 0, path, &(s24_pair){key, other}, &err),
                     S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "\"semi_structured\": \"mine\", which must be \"cutlass\""));
    ck_assert_int_eq(write_layout(&s24_format_bitmask, S24_F16, shape, dense, 0, path, &(s24_pair){key, other}, &err),
                     S24_OK);
}
END_TEST

/* A plane of the name of another tensor, and the name that the format has taken. */
START_TEST(impossible_names)
{
    const size_t shape[] = {32, 64};
    for (int i = 0; i < 2; i++) {
        s24_contents plan = {0};
        s24_output *out = NULL;
        s24_sink *sink = NULL;
        s24_error err = {0};
        s24_contents_add(&plan, "a.weight", S24_F16, 2, shape, &err)->packed = true;
        s24_contents_add(&plan, i ? "a.weight.meta" : "a.bitmask", S24_F16, 2, shape, &err);
        ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
        ck_assert_int_eq(s24_sink_open(&sink, formats[i], out, &plan, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "occurs twice"), "%s", err.message);
        char name[] = "__metadata__";
        ck_assert_int_eq(formats[i]->accepts(&(s24_entry){.name = name}, &err), S24_ERR_DATA);
    }
}
END_TEST

/* What the file will list is what it lists. Nothing to store in the layout: no mark. */
START_TEST(expand)
{
    const size_t shape[] = {32, 64};
    for (int i = 0; i < 2; i++) {
        s24_contents plan = {0}, stored = {0};
        s24_error err = {0};
        s24_contents_add(&plan, "a.weight", S24_F16, 2, shape, &err);
        ck_assert_int_eq(formats[i]->expand(&plan, &stored, &err), S24_OK);
        ck_assert_uint_eq(stored.count, 1);
        ck_assert_str_eq(stored.entries[0].name, "a.weight");
        ck_assert_uint_eq(stored.pairs, 0);
        s24_contents_free(&stored);
        plan.entries[0].packed = true;
        ck_assert_int_eq(formats[i]->expand(&plan, &stored, &err), S24_OK);
        ck_assert_uint_eq(stored.count, i ? 2 : 3);
        ck_assert_str_eq(stored.entries[0].name, i ? "a.weight.packed" : "a.shape");
        ck_assert_uint_eq(stored.pairs, i ? 1 : 0);
        s24_contents_free(&stored);
        s24_contents_free(&plan);
    }
}
END_TEST

/* ---------------------------------------------------------------- whole files */

/* Tensors whose elements are no whole bytes are carried; so is a layout, as a dense tensor. */
START_TEST(carried)
{
    static uint16_t dense[32 * 64];
    const size_t shape[] = {32, 64}, eight[] = {8};
    const hand_tensor tensors[] = {{"w.weight", "F16", "[32,64]", dense, sizeof dense},
                                   {"f", "F4", "[8]", "abcd", 4},
                                   {NULL, NULL, NULL, NULL, 0}};
    uint64_t seed = 77;
    s24_source *source = NULL;
    s24_error err = {0};
    size_t n;
    static unsigned char unused[sizeof dense];
    make_data(s24_info(S24_F16), 32 * 64, true, &seed, (unsigned char *)dense, unused);
    for (size_t i = 0; i < 32 * 64; i++) {
        dense[i] = dense[i] & 0x7fff ? dense[i] : 0;
    }
    unsigned char *const file = by_hand(tensors, "", &n);
    put_file(file, n);
    for (int f = 0; f < 3; f++) { /* into each layout, out of it into the next, and dense at last */
        const s24_format *const format = f < 2 ? formats[f] : &s24_format_safetensors;
        s24_contents plan = {0};
        s24_output *out = NULL;
        s24_target target = {0};
        ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
        s24_entry *const e = s24_contents_add(&plan, "w.weight", S24_F16, 2, shape, &err);
        e->packed = f < 2;
        e->axis = 1;
        s24_contents_add(&plan, "f", S24_F4, 1, eight, &err);
        ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
        ck_assert_int_eq(s24_sink_open(&target.sink, format, out, &plan, &err), S24_OK);
        ck_assert_msg(carry_all(&target, &source->contents, &err) == S24_OK, "%s", err.message);
        ck_assert_int_eq(s24_target_finish(&target, &out, &err), S24_OK);
        ck_assert_int_eq(s24_output_commit(out, &err), S24_OK);
        s24_source_close(source);
    }
    size_t end;
    unsigned char *const last = get_file(path, &end);
    ck_assert(memcmp(last + end - 4 - sizeof dense, dense, sizeof dense) == 0);
    ck_assert(memcmp(last + end - 4, "abcd", 4) == 0);
    free(last);
    free(file);
}
END_TEST

/* Neither is an input type, nor a dense output. */
START_TEST(only_for_converting)
{
    s24_error err = {0};
    s24_source *source = NULL;
    for (int i = 0; i < 2; i++) {
        const s24_read_options from = {.format = formats[i]->name};
        const s24_prune_request q = {.input = path, .output = "/nonexistent/x", .to = formats[i]->name};
        s24_report report = {0};
        ck_assert_ptr_eq(s24_format_by_name(formats[i]->name), formats[i]);
        ck_assert_int_eq(s24_source_open(&source, &io, path, &from, &err), S24_ERR_USAGE);
        size_t n;
        const hand_tensor tensors[] = {{"w", "F32", "[1,4]", "0123456789abcdef", 16}, {NULL, NULL, NULL, NULL, 0}};
        unsigned char *const file = by_hand(tensors, "", &n);
        put_file(file, n);
        ck_assert_int_eq(s24_prune_file(&io, &q, &report, &err), S24_ERR_USAGE);
        ck_assert_msg(strstr(err.message, "s24 convert"), "%s", err.message);
        free(file);
    }
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("sparse");
    TCase *const tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, make_path, remove_path);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, bitmask_there_and_back, 0, DTYPES);
    tcase_add_loop_test(tcase, cutlass_there_and_back, 0, (int)(sizeof cutlass_shapes / sizeof *cutlass_shapes));
    tcase_add_test(tcase, bitmask_bytes);
    tcase_add_test(tcase, cutlass_golden);
    tcase_add_loop_test(tcase, cutlass_words, 0, (int)(sizeof cutlass_shapes / sizeof *cutlass_shapes));
    tcase_add_loop_test(tcase, not_two_of_four, 0, 2);
    tcase_add_loop_test(tcase, unfit, 0, (int)(sizeof unfits / sizeof *unfits));
    tcase_add_test(tcase, metadata);
    tcase_add_test(tcase, impossible_names);
    tcase_add_test(tcase, expand);
    tcase_add_test(tcase, carried);
    tcase_add_test(tcase, only_for_converting);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
