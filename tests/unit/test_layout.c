/*
 * Sparse layouts of other tools, read from files that are put together byte by byte: what they say, from a file and
 * from a pipe, and every way in which they may contradict themselves.
 */
#include "layout_file.h"

#define U16(...) (const uint16_t[]){__VA_ARGS__}
#define BYTES(...) (const unsigned char[]){__VA_ARGS__}
#define I64(...) (const int64_t[]){__VA_ARGS__}

static const uint16_t six[] = {1, 2, 3, 4, 5, 6};

/* sparse-24-bitmask between two others, its planes in an order of their own. */
static const hand_tensor two_of_four[] = {
    {"first", "U8", "[3]", BYTES(7, 8, 9), 3},
    {"m.bitmask", "U8", "[2,2]", BYTES(0xc3, 0x06, 0xa9, 0x05), 4},
    {"m.compressed", "F16", "[2,6]", U16(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 24},
    {"m.weight_scale", "U8", "[1]", BYTES(9), 1},
    {"m.shape", "I64", "[2,1]", I64(2, 12), 16},
    {"last", "U8", "[2,2]", BYTES(1, 2, 3, 4), 4},
    {NULL, NULL, NULL, NULL, 0},
};
static const uint16_t two_of_four_dense[] = {1, 2, 0, 0, 0, 0, 3, 4, 0, 5, 6, 0, 7, 0, 0, 8, 0, 9, 0, 10, 11, 0, 12, 0};

/* sparse-bitmask: any number a row, here 2, 0 and 4. */
static const hand_tensor any_number[] = {
    {"m.compressed", "BF16", "[6]", six, 12},
    {"m.bitmask", "U8", "[3,2]", BYTES(0x01, 0x02, 0, 0, 0x0e, 0x01), 6},
    {"m.row_offsets", "I64", "[3]", I64(0, 2, 2), 24},
    {"m.shape", "I64", "[2]", I64(3, 10), 16},
    {NULL, NULL, NULL, NULL, 0},
};
static const uint16_t any_number_dense[30] = {[0] = 1, [9] = 2, [21] = 3, [22] = 4, [23] = 5, [28] = 6};

/* 32 x 64 of f16, [0, 0, 1, 1] everywhere: 0xEEEE in every word, wherever the reordering puts it. */
static uint16_t ones[32 * 32];
static unsigned char ees[32 * 4 * 2];
static const hand_tensor cutlass[] = {
    {"w.meta", "I16", "[32,4]", ees, sizeof ees},
    {"w.packed", "F16", "[32,32]", ones, sizeof ones},
    {NULL, NULL, NULL, NULL, 0},
};
static uint16_t cutlass_dense[32 * 64];
#define MARK "\"__metadata__\":{\"format\":\"pt\",\"semi_structured\":\"cutlass\",\"z\":\"1\"},"

static void fill(void)
{
    make_path();
    memset(ees, 0xee, sizeof ees);
    for (size_t i = 0; i < 32 * 32; i++) {
        ones[i] = 0x3c00;
    }
    for (size_t i = 0; i < 32 * 64; i++) {
        cutlass_dense[i] = i % 4 > 1 ? 0x3c00 : 0;
    }
}

static const struct {
    const hand_tensor *tensors;
    const char *metadata, *name, *layout;
    size_t index, count; /* of the dense entry; of all */
    const uint16_t *dense;
    size_t rows, cols;
} good[] = {
    {two_of_four, "", "m.weight", "sparse-24-bitmask", 1, 4, two_of_four_dense, 2, 12},
    {any_number, "", "m.weight", "sparse-bitmask", 0, 1, any_number_dense, 3, 10},
    {cutlass, MARK, "w", "cutlass", 0, 1, cutlass_dense, 32, 64},
};
#define GOOD (int)(sizeof good / sizeof *good)

static void check_elements(const s24_entry *e, const uint16_t *dense, size_t elements)
{
    uint16_t got[32 * 64 + 1];
    s24_error err;
    const size_t step = elements > 100 ? 61 : 1;
    for (size_t first = 0; first < elements; first += step) {
        for (size_t n = 0; n <= elements - first; n += step) {
            memset(got, 0xaa, sizeof got);
            ck_assert_msg(e->layout->read(e, first, n, got, &err) == S24_OK, "%s", err.message);
            ck_assert_mem_eq(got, dense + first, n * 2);
            ck_assert_uint_eq(got[n], 0xaaaa);
        }
    }
}

/* Loop: file and pipe of each. */
START_TEST(what_they_say)
{
    const int i = _i / 2;
    size_t n;
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const file = by_hand(good[i].tensors, good[i].metadata, &n);
    ck_assert_msg(open_bytes(&source, file, n, _i % 2, &err) == S24_OK, "%s", err.message);
    ck_assert_uint_eq(source->contents.count, good[i].count);
    const s24_entry *const e = s24_source_find_entry(source, good[i].name);
    ck_assert_ptr_nonnull(e);
    ck_assert_uint_eq((size_t)(e - source->contents.entries), good[i].index);
    ck_assert_str_eq(e->layout->name, good[i].layout);
    ck_assert_int_eq(e->rank, 2);
    ck_assert_uint_eq(e->shape[0], good[i].rows);
    ck_assert_uint_eq(e->shape[1], good[i].cols);
    ck_assert_uint_eq(e->bytes, good[i].rows * good[i].cols * 2);
    ck_assert_ptr_eq(e->source, source);
    ck_assert_ptr_eq(e->in, source->in);
    check_elements(e, good[i].dense, good[i].rows * good[i].cols);
    ck_assert_int_eq(s24_source_expect_end(source, &err), S24_OK);
    s24_source_close(source);
    free(file);
}
END_TEST

/* Rows of the other axis, and a neighbour that must be held for its own: nothing of a pipe is lost. */
START_TEST(columns_from_a_pipe)
{
    size_t n;
    s24_source *source = NULL;
    s24_error err = {0};
    uint16_t columns[24], scratch[24];
    unsigned char square[4];
    unsigned char *const file = by_hand(two_of_four, "", &n);
    ck_assert_int_eq(open_pipe(&source, file, n, &err), S24_OK);
    const s24_entry *const last = s24_source_find_entry(source, "last"), *e = s24_source_find_entry(source, "m.weight");
    ck_assert_int_eq(s24_source_hold(last, 0, &err), S24_OK);
    ck_assert_int_eq(s24_source_read_rows(last, 0, 0, 2, 0, 2, square, scratch, &err), S24_OK);
    ck_assert(memcmp(square, BYTES(1, 3, 2, 4), 4) == 0);
    ck_assert_int_eq(s24_source_hold(e, 0, &err), S24_OK);
    ck_assert_msg(s24_source_read_rows(e, 0, 0, 12, 0, 2, columns, scratch, &err) == S24_OK, "%s", err.message);
    for (size_t i = 0; i < 24; i++) {
        ck_assert_uint_eq(columns[i], two_of_four_dense[i % 2 * 12 + i / 2]);
    }
    s24_source_close(source);
    free(file);
}
END_TEST

/* The words reordered by the formula, without any of the reader's own. */
static size_t reordered(size_t m, size_t r, size_t c, bool wide)
{
    const size_t band = wide ? 32 : 16, spread = wide ? 4 : 2;
    size_t row = r / band * band + (r % 8) * spread + (r % band) / 8, col = c;
    if (row % 2 == 0 && col % 2 == 1) {
        row++, col--;
    } else if (row % 2 == 1 && col % 2 == 0) {
        row--, col++;
    }
    return (col / 2) * 2 * m + 2 * row + col % 2;
}

#define LARGE_ROWS 96
#define LARGE_COLS 384

/* f16 and int8, values that tell their place, positions at random: all of it, and ranges of it. */
START_TEST(reordered_words)
{
    const bool wide = _i == 0;
    const unsigned bytes = wide ? 2 : 1, groups = wide ? 4 : 8;
    const size_t elements = LARGE_ROWS * LARGE_COLS, words = LARGE_COLS / 4 / groups;
    static unsigned char packed[LARGE_ROWS * LARGE_COLS], meta[LARGE_ROWS * LARGE_COLS / 8],
        dense[2 * LARGE_ROWS * LARGE_COLS], got[2 * LARGE_ROWS * LARGE_COLS];
    static const unsigned char nibbles[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};
    uint64_t seed = 88172645463325252u;
    memset(meta, 0, sizeof meta);
    memset(dense, 0, sizeof dense);
    for (size_t g = 0; g < elements / 4; g++) {
        const size_t r = g / (LARGE_COLS / 4), in_row = g % (LARGE_COLS / 4);
        const unsigned nibble = nibbles[next_random(&seed) % 6];
        const size_t word = reordered(LARGE_ROWS, r, in_row / groups, wide);
        meta[word * groups / 2 + in_row % groups / 2] |= (unsigned char)(nibble << 4 * (in_row % 2));
        for (unsigned v = 0; v < 2; v++) {
            const uint64_t value = next_random(&seed) % (wide ? 65536 : 256);
            s24_store(packed, bytes, 2 * g + v, value);
            s24_store(dense, bytes, 4 * g + (v ? nibble >> 2 : nibble & 3), value);
        }
    }
    char shape[32];
    sprintf(shape, "[%d,%zu]", LARGE_ROWS, words);
    const hand_tensor tensors[] = {
        {"x.packed", wide ? "BF16" : "I8", "[96,192]", packed, elements / 2 * bytes},
        {"x.meta", wide ? "I16" : "I32", shape, meta, elements / 8},
        {NULL, NULL, NULL, NULL, 0},
    };
    size_t n;
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const file = by_hand(tensors, MARK, &n);
    ck_assert_msg(open_bytes(&source, file, n, false, &err) == S24_OK, "%s", err.message);
    const s24_entry *const e = source->contents.entries;
    for (int i = 0; i < 300; i++) {
        const size_t first = i ? next_random(&seed) % elements : 0;
        const size_t count = i ? next_random(&seed) % (i % 3 ? 100 : elements - first) : elements;
        const size_t end = first + count < elements ? first + count : elements;
        ck_assert_msg(e->layout->read(e, first, end - first, got, &err) == S24_OK, "%s", err.message);
        ck_assert_mem_eq(got, dense + first * bytes, (end - first) * bytes);
    }
    s24_source_close(source);
    free(file);
}
END_TEST

/* Rank 1 and 3; a row longer than the reader's buffers; ranges against the whole. */
START_TEST(any_number_at_random)
{
    static const struct {
        const char *shape_of_shape, *bits, *offsets;
        int64_t shape[3];
        size_t rank, rows, cols;
    } cases[] = {
        {"[1]", "[1,25]", "[1]", {200}, 1, 1, 200},
        {"[1]", "[25]", "[1]", {195}, 1, 1, 195},
        {"[3]", "[3,5,2]", "[15]", {3, 5, 11}, 3, 15, 11},
        {"[3,1]", "[15,2]", "[15]", {3, 5, 16}, 3, 15, 16},
        {"[2]", "[2,20000]", "[2]", {2, 159998}, 2, 2, 159998},
        {"[2]", "[5000,1]", "[5000]", {5000, 3}, 2, 5000, 3},
    };
    static unsigned char bits[40000], dense[4 * 320000], got[4 * 320000];
    static int64_t offsets[5000];
    static uint32_t values[320000];
    const size_t rows = cases[_i].rows, cols = cases[_i].cols, elements = rows * cols, row_bytes = (cols + 7) / 8;
    uint64_t seed = 1234567 + (uint64_t)_i;
    uint32_t count = 0;
    char list[32];
    memset(bits, 0, sizeof bits);
    memset(dense, 0, sizeof dense);
    for (size_t r = 0; r < rows; r++) {
        offsets[r] = count;
        for (size_t c = 0; c < cols; c++) {
            if (next_random(&seed) % 3 == 0) {
                bits[r * row_bytes + c / 8] |= (unsigned char)(1u << c % 8);
                s24_store(dense, 4, r * cols + c, count + 1);
                values[count] = count + 1;
                count++;
            }
        }
    }
    sprintf(list, "[%u]", count);
    const hand_tensor tensors[] = {
        {"x.weight.shape", "I64", cases[_i].shape_of_shape, cases[_i].shape, 8 * cases[_i].rank},
        {"x.weight.compressed", "F32", list, values, 4 * (size_t)count},
        {"x.weight.bitmask", "U8", cases[_i].bits, bits, rows * row_bytes},
        {"x.weight.row_offsets", "I64", cases[_i].offsets, offsets, 8 * rows},
        {NULL, NULL, NULL, NULL, 0},
    };
    size_t n;
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const file = by_hand(tensors, "", &n);
    ck_assert_msg(open_bytes(&source, file, n, false, &err) == S24_OK, "%s", err.message);
    const s24_entry *const e = source->contents.entries;
    ck_assert_str_eq(e->name, "x.weight"); /* not x.weight.weight */
    ck_assert_int_eq(e->rank, (int)cases[_i].rank);
    for (int i = 0; i < 200; i++) {
        const size_t first = i ? next_random(&seed) % elements : 0;
        const size_t some = i ? next_random(&seed) % (i % 3 ? 100 : elements - first) : elements;
        const size_t end = first + some < elements ? first + some : elements;
        ck_assert_msg(e->layout->read(e, first, end - first, got, &err) == S24_OK, "%s", err.message);
        ck_assert_mem_eq(got, dense + 4 * first, 4 * (end - first));
    }
    s24_source_close(source);
    free(file);
}
END_TEST

/* ---------------------------------------------------------------- refusals */

/* One plane of a good file changed; field NULL: as it is. */
static const struct {
    int file; /* in good */
    const char *plane, *dtype, *shape;
    const void *data;
    size_t n;
    const char *message;
} bad[] = {
    {0, "m.shape", "I32", "[4]", NULL, 0, "m.shape: is i32; a plane of this name is i64"},
    {0, "m.shape", NULL, "[1,2]", NULL, 0, "m.shape: is not a list of 1 to 64 numbers"},
    {0, "m.shape", NULL, "[0]", "", 0, "m.shape: is not a list"},
    {0, "m.shape", NULL, "[1,1,2]", NULL, 0, "m.shape: is not a list"},
    {0, "m.shape", NULL, "[]", I64(1), 8, "m.shape: is not a list"},
    {0, "m.shape", NULL, "[65]", (const int64_t[65]){2, 12}, 520, "m.shape: is not a list"},
    {0, "m.shape", NULL, "[1]", I64(24), 8, "m.shape: rank 1, but sparse-24-bitmask holds matrices only"},
    {0, "m.shape", NULL, "[3]", I64(2, 3, 4), 24, "rank 3, but"},
    {0, "m.shape", NULL, NULL, I64(2, 0), 16, "m.shape: 0 is no extent of a tensor"},
    {0, "m.shape", NULL, NULL, I64(-2, 12), 16, "m.shape: -2 is no extent"},
    {0, "m.shape", NULL, NULL, I64(2, 10), 16, "m.shape: 10 columns, no multiple of 4"},
    {0, "m.shape", NULL, NULL, I64(3, 12), 16, "m.compressed: its shape is not [3, 6]"},
    {0, "m.shape", NULL, NULL, I64(2, 16), 16, "m.compressed: its shape is not [2, 8]"},
    {0, "m.shape", NULL, NULL, I64(INT64_MAX, INT64_MAX - 3), 16, "m.compressed: its shape is not"},
    {0, "m.compressed", "F4", "[2,6]", BYTES(0, 0, 0, 0, 0, 0), 6, "m.compressed: values of f4 cannot lie in this"},
    {0, "m.compressed", NULL, "[12]", NULL, 0, "m.compressed: its shape is not [2, 6]"},
    {0, "m.bitmask", "I8", NULL, NULL, 0, "m.bitmask: is i8; a plane of this name is u8"},
    {0, "m.bitmask", NULL, "[4]", NULL, 0, "m.bitmask: its shape is not [2, 2]"},
    {0, "m.bitmask", NULL, NULL, BYTES(0xc3, 0x06, 0xa8, 0x05), 4, "m.weight: row 1, group 0: its bits do not mark two"},
    {0, "m.bitmask", NULL, NULL, BYTES(0xe3, 0x06, 0xa9, 0x05), 4, "m.weight: row 0, group 1: its bits do not mark two"},
    {0, "m.bitmask", NULL, NULL, BYTES(0xc3, 0x86, 0xa9, 0x05), 4, "m.weight: row 0, group 2: bits behind its row's end"},
    {1, "m.shape", NULL, NULL, I64(3, 17), 16, "m.bitmask: its shape is not a bit for every element"},
    {1, "m.shape", NULL, NULL, I64(INT64_MAX, 10), 16, "m.bitmask: its shape is not a bit"},
    {1, "m.shape", NULL, "[3]", I64(INT64_MAX, 3, 10), 24, "m.bitmask: its shape is not a bit"},
    {1, "m.bitmask", NULL, "[6]", NULL, 0, "m.bitmask: its shape is not a bit"},
    {1, "m.bitmask", NULL, "[2,3]", NULL, 0, "m.bitmask: its shape is not a bit"},
    {1, "m.bitmask", NULL, "[]", BYTES(1), 1, "m.bitmask: its shape is not a bit"},
    {1, "m.shape", NULL, "[4]", I64(INT64_MAX, 3, 1, 10), 32, "m.bitmask: its shape is not a bit"},
    {1, "m.shape", NULL, NULL, I64(-3, 10), 16, "m.shape: -3 is no extent"},
    {1, "m.bitmask", "BOOL", NULL, NULL, 0, "m.bitmask: is bool; a plane of this name is u8"},
    {1, "m.compressed", NULL, "[6,1]", NULL, 0, "m.compressed: rank 2; it must be a list"},
    {1, "m.compressed", "F4", "[6]", BYTES(0, 0, 0), 3, "m.compressed: values of f4"},
    {1, "m.row_offsets", "U64", NULL, NULL, 0, "m.row_offsets: is u64; a plane of this name is i64"},
    {1, "m.row_offsets", NULL, "[3,1]", NULL, 0, "m.row_offsets: its shape is not [3]"},
    {1, "m.row_offsets", NULL, NULL, I64(1, 2, 2), 24, "m.weight: row 0: its offset is not where"},
    {1, "m.row_offsets", NULL, NULL, I64(0, 2, 1), 24, "m.weight: row 1: its offset is not where"},
    {1, "m.row_offsets", NULL, NULL, I64(0, 2, -1), 24, "m.weight: row 1: its offset is not where"},
    {1, "m.row_offsets", NULL, NULL, I64(0, 2, 7), 24, "m.weight: row 1: its offset is not where"},
    {1, "m.row_offsets", NULL, NULL, I64(0, 3, 3), 24, "m.weight: row 0: it has fewer bits than values"},
    {1, "m.row_offsets", NULL, NULL, I64(0, 1, 2), 24, "m.weight: row 0: it has more bits than values"},
    {1, "m.bitmask", NULL, NULL, BYTES(1, 2, 0, 0, 0x0e, 0), 6, "m.weight: row 2: it has fewer bits than values"},
    {1, "m.bitmask", NULL, NULL, BYTES(1, 2, 0, 0, 0x0f, 1), 6, "m.weight: row 2: it has more bits than values"},
    {1, "m.bitmask", NULL, NULL, BYTES(1, 2, 0, 0x80, 0x0e, 1), 6, "m.weight: row 1: bits behind its end are set"},
    {2, "w.packed", "U16", NULL, NULL, 0, "w.packed: is u16; this layout is of f16, bf16 and i8"},
    {2, "w.packed", NULL, "[1024]", NULL, 0, "w.packed: its shape is none of this layout"},
    {2, "w.packed", NULL, "[16,64]", NULL, 0, "w.packed: its shape is none of this layout"},
    {2, "w.packed", NULL, "[64,16]", NULL, 0, "w.packed: its shape is none of this layout"},
    {2, "w.packed", NULL, "[0,32]", "", 0, "w.packed: its shape is none of this layout"},
    {2, "w.packed", NULL, "[0,4611686018427387904]", "", 0, "w.packed: its shape is none of this layout"},
    {2, "w.packed", "I8", "[16,128]", NULL, 0, "w.meta: is i16; a plane of this name is i32"},
    {2, "w.meta", "U16", NULL, NULL, 0, "w.meta: is u16; a plane of this name is i16"},
    {2, "w.meta", NULL, "[4,32]", NULL, 0, "w.meta: its shape is not [32, 4]"},
    {2, "w.meta", NULL, NULL, (const unsigned char[256]){0xee}, 256, "w: row 0, group 2: its metadata are not two asc"},
};
#define BAD (int)(sizeof bad / sizeof *bad)

START_TEST(refusals)
{
    hand_tensor tensors[8] = {{NULL, NULL, NULL, NULL, 0}};
    size_t count = 0, n;
    for (const hand_tensor *t = good[bad[_i].file].tensors; t->name; t++, count++) {
        tensors[count] = *t;
        if (strcmp(t->name, bad[_i].plane) == 0) {
            tensors[count].dtype = bad[_i].dtype ? bad[_i].dtype : t->dtype;
            tensors[count].shape = bad[_i].shape ? bad[_i].shape : t->shape;
            tensors[count].data = bad[_i].data ? bad[_i].data : t->data;
            tensors[count].n = bad[_i].data ? bad[_i].n : t->n;
        }
        if (strcmp(tensors[count].dtype, "I8") == 0 && bad[_i].file == 2) { /* as many elements of half the size */
            tensors[count].n = 16 * 128;
        }
    }
    for (int piped = 0; piped < 2; piped++) {
        s24_source *source = NULL;
        s24_error err = {0};
        uint16_t got[32 * 64];
        unsigned char *const file = by_hand(tensors, good[bad[_i].file].metadata, &n);
        s24_status status = open_bytes(&source, file, n, piped, &err);
        if (status == S24_OK) {
            const s24_entry *const e = s24_source_find_entry(source, good[bad[_i].file].name);
            ck_assert_ptr_nonnull(e);
            ck_assert_uint_eq(s24_info(e->dtype)->bytes, 2);
            status = e->layout->read(e, 0, (size_t)e->bytes / 2, got, &err);
            s24_source_close(source);
        }
        ck_assert_int_eq(status, S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, bad[_i].message), "%d: %s", _i, err.message);
        free(file);
    }
}
END_TEST

/* As many bytes as there have to be, of no row. */
START_TEST(bits_without_rows)
{
    const hand_tensor tensors[] = {
        {"m.shape", "I64", "[2]", I64(1, 8), 16}, {"m.row_offsets", "I64", "[1]", I64(0), 8},
        {"m.bitmask", "U8", "[]", BYTES(1), 1}, {"m.compressed", "U8", "[1]", BYTES(7), 1}, {NULL, NULL, NULL, NULL, 0},
    };
    size_t n;
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const file = by_hand(tensors, "", &n);
    ck_assert_int_eq(open_bytes(&source, file, n, false, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "m.bitmask: its shape is not a bit for every element"));
    free(file);
}
END_TEST

/* A part of a row, which is read without the rows around it: its bits are counted from its beginning. */
START_TEST(parts_of_rows)
{
    static const struct {
        int64_t offsets[3];
        uint64_t first;
        const char *message;
    } cases[] = {
        {{0, 1, 2}, 9, "m.weight: row 0: it has more bits than values"},
        {{0, 0, 2}, 5, "m.weight: row 0: it has more bits than values"}, /* before what is asked for */
        {{0, 2, 2}, 9, "truncated"}, /* meanwhile */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hand_tensor tensors[] = {any_number[1], {"m.row_offsets", "I64", "[3]", cases[i].offsets, 24}, any_number[3],
                                       any_number[0], {NULL, NULL, NULL, NULL, 0}};
        size_t n;
        s24_source *source = NULL;
        s24_error err = {0};
        uint16_t got[1];
        unsigned char *const file = by_hand(tensors, "", &n);
        ck_assert_int_eq(open_bytes(&source, file, n, false, &err), S24_OK);
        ck_assert_int_eq(truncate(path, (off_t)(i == 2 ? n - 10 : n)), 0);
        const s24_entry *const e = source->contents.entries;
        ck_assert_int_eq(e->layout->read(e, cases[i].first, 1, got, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, cases[i].message), "%s", err.message);
        s24_source_close(source);
        free(file);
    }
}
END_TEST

/* Cut anywhere, or a byte longer: named, from a file and from a pipe. */
START_TEST(every_length)
{
    const int i = _i / 2, piped = _i % 2;
    size_t n;
    unsigned char *const file = by_hand(good[i].tensors, good[i].metadata, &n);
    file[n] = 0;
    for (size_t length = 8; length <= n + 1; length += length > 500 && length + 97 < n ? 97 : 1) {
        s24_source *source = NULL;
        s24_error err = {0};
        if (length == n) {
            continue;
        }
        const s24_status status = open_bytes(&source, file, length, piped, &err);
        ck_assert_int_eq(status, S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, length < n ? "truncated" : piped ? "more bytes follow" : "too many"), "%zu: %s",
                      length, err.message);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    free(file);
}
END_TEST

/* ---------------------------------------------------------------- what is none */

static void expect_plain(const hand_tensor *tensors, const char *metadata, size_t pairs)
{
    size_t n, i = 0;
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const file = by_hand(tensors, metadata, &n);
    ck_assert_msg(open_bytes(&source, file, n, false, &err) == S24_OK, "%s", err.message);
    for (; tensors[i].name; i++) {
        ck_assert_str_eq(source->contents.entries[i].name, tensors[i].name);
        ck_assert_ptr_null(source->contents.entries[i].layout);
    }
    ck_assert_uint_eq(source->contents.count, i);
    ck_assert_uint_eq(source->contents.pairs, pairs);
    s24_source_close(source);
    free(file);
}

START_TEST(incomplete_sets)
{
    for (int left_out = 0; left_out < 3; left_out++) {
        hand_tensor tensors[4] = {{NULL, NULL, NULL, NULL, 0}};
        for (int i = 0, to = 0; i < 3; i++) {
            if (i != left_out) {
                tensors[to++] = any_number[i == 2 ? 3 : i];
            }
        }
        expect_plain(tensors, "", 0);
    }
    expect_plain(cutlass, "", 0);
    expect_plain(cutlass, "\"__metadata__\":{\"semi_structured\":\"other\"},", 1);
    hand_tensor one[] = {cutlass[0], {NULL, NULL, NULL, NULL, 0}};
    expect_plain(one, MARK, 3);
    const hand_tensor bare[] = {
        {".bitmask", "U8", "[1]", "x", 1}, {".compressed", "U8", "[1]", "x", 1}, {".shape", "U8", "[1]", "x", 1},
        {NULL, NULL, NULL, NULL, 0}};
    expect_plain(bare, "", 0);
}
END_TEST

/* The mark goes with the planes that it is about, and with nothing else. */
START_TEST(the_mark)
{
    hand_tensor tensors[4] = {cutlass[0], cutlass[1], {"y.packed", "U8", "[1]", "x", 1}, {NULL, NULL, NULL, NULL, 0}};
    static const char *const others[] = {NULL, "y.packed", "y.meta", "w.packed"};
    for (int left = 0; left < 4; left++) {
        size_t n;
        s24_source *source = NULL;
        s24_error err = {0};
        tensors[0].name = left == 3 ? "w.meta.meta" : "w.meta"; /* a tensor that is called as planes are */
        tensors[1].name = left == 3 ? "w.meta.packed" : "w.packed";
        tensors[2].name = others[left];
        unsigned char *const file = by_hand(tensors, MARK, &n);
        ck_assert_int_eq(open_bytes(&source, file, n, false, &err), S24_OK);
        ck_assert_uint_eq(source->contents.pairs, left ? 3 : 2);
        ck_assert_str_eq(source->contents.metadata[0].key, "format");
        ck_assert_str_eq(source->contents.metadata[1].key, left ? "semi_structured" : "z");
        ck_assert_int_eq(s24_layout_apply(source, &err), S24_OK); /* again: nothing more to do */
        ck_assert_uint_eq(source->contents.count, left ? 2 : 1);
        s24_source_close(source);
        free(file);
    }
}
END_TEST

/* Of a checkpoint each shard has a mark of its own, whatever the first one says. */
START_TEST(the_mark_of_a_shard)
{
    static const char index[] =
        "{\"weight_map\":{\"s\":\"a.safetensors\",\"w.meta\":\"b.safetensors\",\"w.packed\":\"b.safetensors\"}}";
    static const hand_tensor other[] = {{"s", "U8", "[1]", "x", 1}, {NULL, NULL, NULL, NULL, 0}};
    static const char *const names[] = {"/a.safetensors", "/b.safetensors", "/model.safetensors.index.json"};
    char directory[] = "/tmp/s24-test-XXXXXX", files[3][64];
    size_t n[2];
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const a = by_hand(other, "\"__metadata__\":{\"semi_structured\":\"other\"},", &n[0]);
    unsigned char *const b = by_hand(cutlass, MARK, &n[1]);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    for (int i = 0; i < 3; i++) {
        snprintf(files[i], sizeof files[i], "%s%s", directory, names[i]);
    }
    put_file_as(files[0], a, n[0]);
    put_file_as(files[1], b, n[1]);
    put_file_as(files[2], index, sizeof index - 1);
    ck_assert_msg(s24_source_open(&source, &io, directory, NULL, &err) == S24_OK, "%s", err.message);
    const s24_entry *const w = s24_source_find_entry(source, "w");
    ck_assert(w && w->layout && source->contents.count == 2);
    s24_source_close(source);
    for (int i = 0; i < 3; i++) {
        unlink(files[i]);
    }
    rmdir(directory);
    free(a);
    free(b);
}
END_TEST

START_TEST(there_twice)
{
    hand_tensor tensors[8] = {{"m.weight", "U8", "[1]", "x", 1}};
    memcpy(tensors + 1, two_of_four, sizeof two_of_four);
    size_t n;
    s24_source *source = NULL;
    s24_error err = {0};
    unsigned char *const file = by_hand(tensors, "", &n);
    ck_assert_int_eq(open_bytes(&source, file, n, false, &err), S24_ERR_DATA);
    ck_assert_str_eq(err.message, "m.weight: the tensor is there twice, and in a sparse layout; "
                     S24_LAYOUT_ADVICE);
    free(file);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("layout");
    TCase *const tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, fill, remove_path);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, what_they_say, 0, 2 * GOOD);
    tcase_add_test(tcase, columns_from_a_pipe);
    tcase_add_loop_test(tcase, reordered_words, 0, 2);
    tcase_add_loop_test(tcase, any_number_at_random, 0, 6);
    tcase_add_loop_test(tcase, refusals, 0, BAD);
    tcase_add_test(tcase, bits_without_rows);
    tcase_add_test(tcase, parts_of_rows);
    tcase_add_loop_test(tcase, every_length, 0, 2 * GOOD);
    tcase_add_test(tcase, incomplete_sets);
    tcase_add_test(tcase, the_mark);
    tcase_add_test(tcase, the_mark_of_a_shard);
    tcase_add_test(tcase, there_twice);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
