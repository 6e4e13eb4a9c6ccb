/*
 * Tensors whose columns stand in another order, in memory and in files: everything that is done to one is compared with the
 * same done to a matrix whose columns were put in that order by hand.
 */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plain.h"
#include "random.h"
#include "s24io.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

/* For inner loops: ck_assert tells the parent process, by a system call, of every assertion that holds. */
#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            ck_abort_msg(__VA_ARGS__); \
        } \
    } while (0)

static const s24_io io;
static char directory[] = "/tmp/s24-permuted-XXXXXX";

static void enter(void)
{
    begin();
    strcpy(directory, "/tmp/s24-permuted-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
}

static void leave(void)
{
    static const char *const files[] = {"w.s24", "cut.s24", "w.npy", "out.npy", "out.raw", "fifo"};
    for (int i = 0; i < ROWS(files); i++) {
        unlink(files[i]);
    }
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(directory);
}

static void *allocate(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    ck_assert_ptr_nonnull(p);
    return p;
}

static int32_t *random_order(size_t n)
{
    int32_t *order = allocate(n * sizeof *order);
    for (size_t i = 0; i < n; i++) {
        const size_t k = below(i + 1);
        order[i] = order[k];
        order[k] = (int32_t)i;
    }
    return order;
}

/* ---------------------------------------------------------------- matrices of any dtype, rows along either axis */

typedef struct matrix {
    s24_dtype dtype;
    int axis;
    size_t shape[2], rows, cols;
    unsigned char *data;
} matrix;

static matrix random_matrix(s24_dtype dtype, int axis, size_t rows, size_t cols)
{
    matrix m = {.dtype = dtype, .axis = axis, .shape = {axis ? rows : cols, axis ? cols : rows}, .rows = rows, .cols = cols};
    const s24_dtype_info *info = s24_info(dtype);
    bool overflow = false;
    m.data = allocate(rows * cols * info->bytes);
    for (size_t i = 0; i < rows * cols; i++) {
        s24_store(m.data, info->bytes, i, s24_encode(info, (double)below(255) - 127, &overflow));
    }
    return m;
}

static s24_dense view_of(const matrix *m)
{
    return (s24_dense){.data = m->data, .dtype = m->dtype, .rank = 2, .shape = m->shape};
}

static size_t at(const matrix *m, size_t row, size_t col)
{
    return m->axis ? row * m->cols + col : col * m->rows + row;
}

/* Its columns in that order. */
static matrix ordered(const matrix *m, const int32_t *order)
{
    const unsigned bytes = s24_info(m->dtype)->bytes;
    matrix out = *m;
    out.data = allocate(m->rows * m->cols * bytes);
    for (size_t r = 0; r < m->rows; r++) {
        for (size_t c = 0; c < m->cols; c++) {
            s24_store(out.data, bytes, at(m, r, c), s24_load(m->data, bytes, at(m, r, (size_t)order[c])));
        }
    }
    return out;
}

typedef enum pruning { MAGNITUDE, GRADIENT, TRANSPOSABLE, PRUNINGS } pruning;

static s24_tensor *prune(pruning how, const matrix *m, const matrix *g, s24_dtype to, const int32_t *order,
                         s24_prune_metrics *metrics)
{
    const s24_dense view = view_of(m), gradients = view_of(g);
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_error err = {0};
    s24_tensor *t = NULL;
    o.axis = m->axis;
    o.dtype = to;
    o.permutation = order;
    const s24_status status = how == MAGNITUDE ? s24_prune_magnitude(&view, &o, &t, metrics, &err)
                            : how == GRADIENT ? s24_prune_gradient(&view, &gradients, &o, &t, metrics, &err)
                                              : s24_prune_transposable(&view, &o, &t, metrics, &err);
    ck_assert_msg(status == S24_OK, "%s", err.message);
    return t;
}

static const size_t shapes[][2] = {{5, 16}, {3, 7}, {8, 1}, {300, 260}, {2, 70000}, {0, 8}, {4, 0}};

/* Planes and figures are those of the matrix in that order; what comes back is in its own. */
START_TEST(as_if_put_in_order)
{
    const s24_dtype dtype = (s24_dtype)(S24_F64 + _i), to = dtype == S24_F32 ? S24_I8 : dtype;
    for (int s = 0; s < 2 * ROWS(shapes); s++) {
        const matrix m = random_matrix(dtype, s % 2, shapes[s / 2][0], shapes[s / 2][1]);
        const matrix g = random_matrix(S24_F32, m.axis, m.rows, m.cols);
        int32_t *order = random_order(m.cols);
        const matrix other = ordered(&m, order), other_g = ordered(&g, order);
        const size_t bytes = m.rows * m.cols * s24_info(dtype)->bytes;
        for (int how = 0; how < PRUNINGS; how++) {
            s24_prune_metrics metrics, expected, measured;
            s24_tensor *t = prune((pruning)how, &m, &g, to, order, &metrics);
            s24_tensor *same = prune((pruning)how, &other, &other_g, to, NULL, &expected);
            ck_assert_mem_eq(&metrics, &expected, sizeof metrics);
            ck_assert(memcmp(t->values, same->values, t->geometry.values_bytes) == 0);
            ck_assert(memcmp(t->positions, same->positions, t->geometry.positions_bytes) == 0);
            ck_assert(!t->scales || !m.cols || memcmp(t->scales, same->scales, t->geometry.rows * sizeof *t->scales) == 0);
            ck_assert_uint_eq(t->memory_bytes, same->memory_bytes + 4 * m.cols);
            const s24_dense view = view_of(&m);
            ck_assert_int_eq(s24_compute_metrics(&view, t, 2, &measured, NULL), S24_OK);
            ck_assert_mem_eq(&measured, &expected, sizeof measured);
            matrix back = m, back_other = m;
            back.data = allocate(bytes);
            back_other.data = allocate(bytes);
            ck_assert_int_eq(s24_decompress(t, dtype, back.data, NULL), S24_OK);
            ck_assert_int_eq(s24_decompress(same, dtype, back_other.data, NULL), S24_OK);
            const matrix restored = ordered(&back, order);
            ck_assert(memcmp(restored.data, back_other.data, bytes) == 0);
            free(back.data);
            free(back_other.data);
            free(restored.data);
            s24_tensor_free(t);
            s24_tensor_free(same);
        }
        free(m.data);
        free(g.data);
        free(other.data);
        free(other_g.data);
        free(order);
    }
}
END_TEST

/* C = A B in whichever order, with B's rows in A's. */
START_TEST(products)
{
    enum { M = 24, K = 52, N = 9 };
    const matrix m = random_matrix(S24_F32, 1, M, K);
    int32_t *order = random_order(K);
    s24_tensor *t = prune(MAGNITUDE, &m, &m, S24_F32, order, NULL);
    static float b[K * 12], in_order[K * 10], c[M * N], dense[M * K];
    for (size_t i = 0; i < K * 12; i++) {
        b[i] = (float)below(17) - 8;
    }
    ck_assert_int_eq(s24_decompress(t, S24_F32, dense, NULL), S24_OK);
    s24_tensor_permute_rows(t, b, 12, N, in_order, 10);
    ck_assert_int_eq(s24_sparse_matmul(t, in_order, 10, N, c, N, NULL, NULL), S24_OK);
    for (size_t i = 0; i < M * N; i++) {
        float sum = 0; /* of small whole numbers: exact */
        for (size_t k = 0; k < K; k++) {
            sum += dense[i / N * K + k] * b[k * 12 + i % N];
        }
        ck_assert_float_eq(c[i], sum);
    }
    ck_assert_int_eq(s24_tensor_set_permutation(t, NULL, NULL), S24_OK);
    s24_tensor_permute_rows(t, b, 12, N, in_order, 10);
    for (size_t i = 0; i < K * N; i++) {
        ck_assert_float_eq(in_order[i / N * 10 + i % N], b[i / N * 12 + i % N]);
    }
    s24_tensor_free(t);
    free(m.data);
    free(order);
}
END_TEST

/* The sparse side and the dense one are of one matrix. */
START_TEST(benchmark)
{
    enum { M = 32, K = 64 };
    static const size_t n[1] = {4};
    const matrix m = random_matrix(S24_F32, 1, M, K);
    int32_t *order = random_order(K);
    s24_tensor *t = prune(MAGNITUDE, &m, &m, S24_F32, order, NULL);
    s24_bench_options o = S24_BENCH_OPTIONS_INIT;
    s24_bench_result result;
    o.n = n;
    o.count = 1;
    o.reps = 1;
    ck_assert_int_eq(s24_bench_run(t, &o, &result, NULL, NULL), S24_OK);
    ck_assert_double_lt(result.sparse.max_error, 1e-5);
    s24_tensor_free(t);
    free(m.data);
    free(order);
}
END_TEST

START_TEST(no_permutations)
{
    static const int32_t twice[4] = {0, 1, 1, 3}, beyond[4] = {0, 1, 4, 3}, negative[4] = {0, -1, 2, 3};
    static const size_t shape[2] = {2, 4}, long_row[2] = {1, 262145};
    static const float w[8] = {1, 2, 3, 4, 5, NAN, 7, 8};
    static const int32_t order[4] = {1, 3, 0, 2};
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_error err;
    s24_tensor *t = NULL;
    ck_assert_int_eq(s24_tensor_new(&t, S24_F32, 2, shape, 1, NULL), S24_OK);
    ck_assert_int_eq(s24_tensor_set_permutation(t, twice, &err), S24_ERR_DATA);
    ck_assert_str_eq(err.message, "the order of columns is no permutation: 1 stands again at place 2 of 4");
    ck_assert_int_eq(s24_tensor_set_permutation(t, beyond, &err), S24_ERR_DATA);
    ck_assert_int_eq(s24_tensor_set_permutation(t, negative, &err), S24_ERR_DATA);
    ck_assert_ptr_null(t->permutation);
    s24_tensor_free(t);
    int32_t *many = random_order(long_row[1]);
    ck_assert_int_eq(s24_tensor_new(&t, S24_F32, 2, long_row, 1, NULL), S24_OK);
    ck_assert_int_eq(s24_tensor_set_permutation(t, many, &err), S24_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "too long to be permuted"));
    s24_tensor_free(t);
    free(many);
    /* The element that is at fault has its own name. */
    o.permutation = order;
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shape};
    ck_assert_int_eq(s24_prune_magnitude(&view, &o, &t, NULL, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "element [1, 1] is nan"));
    o.permutation = twice;
    ck_assert_int_eq(s24_prune_magnitude(&view, &o, &t, NULL, &err), S24_ERR_DATA);
}
END_TEST

/* ---------------------------------------------------------------- files */

static size_t slurp(const char *path, unsigned char **bytes)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    *bytes = allocate((size_t)st.st_size);
    ck_assert_uint_eq(fread(*bytes, 1, (size_t)st.st_size, f), (size_t)st.st_size);
    fclose(f);
    return (size_t)st.st_size;
}

static void spit(const char *path, const unsigned char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* A .npy of f32. */
static void spit_npy(const char *path, const matrix *m)
{
    char header[129];
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    const int n = snprintf(header, sizeof header, "%cNUMPY%c%cv%c{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
                           '\x93', 1, 0, 0, m->shape[0], m->shape[1]);
    memset(header + n, ' ', 128 - (size_t)n);
    header[127] = '\n';
    ck_assert_uint_eq(fwrite(header, 1, 128, f), 128);
    ck_assert_uint_eq(fwrite(m->data, 4, m->rows * m->cols, f), m->rows * m->cols);
    ck_assert_int_eq(fclose(f), 0);
}

/* Saved, loaded, verified, measured, unpacked: the same as in memory. */
START_TEST(through_a_file)
{
    for (int s = 0; s < 2 * ROWS(shapes); s++) {
        const matrix m = random_matrix(S24_F32, s % 2, shapes[s / 2][0], shapes[s / 2][1]);
        int32_t *order = random_order(m.cols);
        s24_prune_metrics metrics, loaded_metrics;
        s24_error err = {0};
        const size_t n = m.rows * m.cols * sizeof(float);
        s24_tensor *t = prune(_i == 2 ? TRANSPOSABLE : MAGNITUDE, &m, &m, _i == 1 ? S24_I8 : S24_F32, order, &metrics), *loaded;
        float *dense = allocate(n);
        s24_array array;
        s24_report report = {0};
        ck_assert_int_eq(s24_decompress(t, S24_F32, dense, NULL), S24_OK);
        ck_assert_msg(s24_tensor_save("w.s24", NULL, t, "magnitude", &metrics, &err) == S24_OK, "%s", err.message);
        ck_assert_msg(s24_tensor_load("w.s24", NULL, &loaded, &loaded_metrics, &err) == S24_OK, "%s", err.message);
        ck_assert(memcmp(loaded->permutation, order, m.cols * sizeof *order) == 0);
        ck_assert(memcmp(loaded->values, t->values, t->geometry.values_bytes) == 0);
        ck_assert_mem_eq(&loaded_metrics, &metrics, sizeof metrics);
        ck_assert_msg(s24_array_load("w.s24", NULL, &array, &err) == S24_OK, "%s", err.message);
        ck_assert(memcmp(array.data, dense, n) == 0);
        s24_array_free(&array);
        ck_assert_int_eq(s24_verify_file(&io, &(s24_verify_request){.input = "w.s24"}, &err), S24_OK);
        ck_assert_msg(s24_decompress_file(&io, &(s24_decompress_request){.input = "w.s24", .output = "out.npy"}, &err) == S24_OK,
                      "%s", err.message);
        ck_assert_int_eq(s24_array_load("out.npy", NULL, &array, &err), S24_OK);
        ck_assert(memcmp(array.data, dense, n) == 0);
        s24_array_free(&array);
        spit_npy("w.npy", &m);
        ck_assert_msg(s24_stats_file(&io, &(s24_stats_request){.input = "w.s24", .original = "w.npy"}, &report, &err) == S24_OK,
                      "%s", err.message);
        ck_assert_mem_eq(&report.tensors[0].figures->metrics, &metrics, sizeof metrics);
        ck_assert_uint_eq(report.tensors[0].bytes_stored, t->memory_bytes);
        s24_report_free(&report);
        s24_tensor_free(t);
        s24_tensor_free(loaded);
        free(dense);
        free(order);
        free(m.data);
        unlink("w.s24");
        unlink("out.npy");
    }
}
END_TEST

/* Through pipes: the tensor is held until its permutation has come. */
START_TEST(through_a_pipe)
{
    const matrix m = random_matrix(S24_F32, 1, 40, 60);
    int32_t *order = random_order(m.cols);
    s24_prune_metrics metrics;
    s24_error err = {0};
    s24_array array;
    unsigned char *bytes;
    static float dense[40 * 60];
    s24_tensor *t = prune(MAGNITUDE, &m, &m, S24_F32, order, &metrics);
    ck_assert_int_eq(s24_decompress(t, S24_F32, dense, NULL), S24_OK);
    ck_assert_int_eq(s24_tensor_save("w.s24", NULL, t, "magnitude", &metrics, &err), S24_OK);
    const size_t n = slurp("w.s24", &bytes);
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    const pid_t child = fork();
    if (child == 0) {
        spit("fifo", bytes, n);
        _exit(0);
    }
    ck_assert_msg(s24_decompress_file(&io, &(s24_decompress_request){.input = "fifo", .output = "out.npy"}, &err) == S24_OK, "%s",
                  err.message);
    ck_assert_int_eq(s24_array_load("out.npy", NULL, &array, &err), S24_OK);
    ck_assert_mem_eq(array.data, dense, sizeof dense);
    s24_array_free(&array);
    /* And out of one: a save to a FIFO writes the same bytes. */
    unsigned char *again = allocate(n + 1);
    const pid_t writer = fork();
    if (writer == 0) {
        _exit(s24_tensor_save("fifo", NULL, t, "magnitude", &metrics, NULL) != S24_OK);
    }
    FILE *f = fopen("fifo", "rb");
    ck_assert_ptr_nonnull(f);
    const size_t got = fread(again, 1, n + 1, f);
    fclose(f);
    ck_assert(got == n && memcmp(again, bytes, n) == 0);
    free(again);
    free(bytes);
    free(order);
    free(m.data);
    s24_tensor_free(t);
}
END_TEST

/* ---------------------------------------------------------------- damage */

static void count_fault(void *user, const s24_verify_fault *fault)
{
    (void)fault;
    ++*(int *)user;
}

static s24_tensor *save_small(const char *name, const int32_t *order, size_t *perm)
{
    const matrix m = random_matrix(S24_F32, 1, 6, 20);
    s24_prune_metrics metrics;
    s24_source *source;
    s24_error err = {0};
    s24_tensor *t = prune(MAGNITUDE, &m, &m, S24_F32, order, &metrics);
    ck_assert_int_eq(s24_tensor_save("w.s24", name, t, "magnitude", &metrics, &err), S24_OK);
    ck_assert_int_eq(s24_source_open(&source, &io, "w.s24", NULL, &err), S24_OK);
    *perm = (size_t)s24_plain_offset(&source->contents.entries[0], S24_PLANES);
    s24_source_close(source);
    free(m.data);
    return t;
}

/* Every bit of the permutation and of the checks, and every truncation. */
START_TEST(every_flip_is_found)
{
    int32_t *order = random_order(20);
    unsigned char *bytes;
    size_t perm;
    s24_error err;
    s24_tensor *t = save_small(NULL, order, &perm), *loaded;
    const size_t n = slurp("w.s24", &bytes);
    for (size_t k = 0; k < n; k++) {
        bytes[k] ^= (unsigned char)(1u << k % 8);
        spit("cut.s24", bytes, n);
        bytes[k] ^= (unsigned char)(1u << k % 8);
        REQUIRE(s24_tensor_load("cut.s24", NULL, &loaded, NULL, &err) == S24_ERR_DATA, "a flip of byte %zu is not found", k);
        int faults = 0;
        const s24_status status = s24_verify_file(&io, &(s24_verify_request){.input = "cut.s24", .fault = count_fault,
                                                                            .user = &faults}, &err);
        REQUIRE(status == S24_ERR_CHECK && faults > 0, "verify does not find a flip of byte %zu", k);
    }
    for (size_t k = 0; k < n; k++) {
        spit("cut.s24", bytes, k);
        REQUIRE(s24_tensor_load("cut.s24", NULL, &loaded, NULL, &err) != S24_OK, "%zu bytes are taken", k);
    }
    s24_tensor_free(t);
    free(bytes);
    free(order);
}
END_TEST

typedef struct heard {
    int count;
    char all[2048];
} heard;

static void hear(void *user, const char *message)
{
    heard *h = user;
    const size_t used = strlen(h->all);
    h->count++;
    snprintf(h->all + used, sizeof h->all - used, "%s\n", message);
}

/* Without its permutation a tensor is lost: what was kept is in nobody knows which column. */
START_TEST(salvage_without_a_permutation)
{
    static const char *const names[] = {NULL, "w"};
    int32_t *order = random_order(20);
    unsigned char *bytes;
    size_t perm;
    s24_error err;
    s24_array array;
    heard h = {0};
    s24_tensor *t = save_small(names[_i], order, &perm);
    const size_t n = slurp("w.s24", &bytes);
    bytes[perm + 5] ^= 1;
    spit("cut.s24", bytes, n);
    const s24_decompress_request whole = {.input = "cut.s24", .output = "out.npy"};
    ck_assert_int_eq(s24_decompress_file(&io, &whole, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, _i ? "w: its permutation does not match" : "its permutation does not match its check"),
                  "%s", err.message);
    ck_assert_int_eq(access("out.npy", F_OK), -1);
    const s24_decompress_request q = {.input = "cut.s24", .output = "out.npy", .salvage = true, .lost = hear, .user = &h};
    ck_assert_int_eq(s24_decompress_file(&io, &q, &err), S24_ERR_DATA);
    ck_assert_int_eq(h.count, 2); /* the permutation, and rows 0 to 5 */
    ck_assert_msg(strstr(h.all, "nobody knows which column"), "%s", h.all);
    ck_assert_int_eq(s24_array_load("out.npy", NULL, &array, &err), S24_OK);
    for (size_t i = 0; i < 6 * 20; i++) {
        ck_assert(isnan(((const float *)array.data)[i]));
    }
    s24_array_free(&array);
    h = (heard){0};
    spit("cut.s24", bytes, perm + 5);
    const s24_decompress_request cut = {.input = "cut.s24", .output = "cut.npy", .salvage = true, .lost = hear, .user = &h};
    ck_assert_int_eq(s24_decompress_file(&io, &cut, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(h.all, "its permutation is cut off"), "%s", h.all);
    unlink("cut.npy");
    s24_tensor_free(t);
    free(bytes);
    free(order);
}
END_TEST

/* A layout of other tools has no place for an order. */
START_TEST(convert_leaves_it_dense)
{
    int32_t *order = random_order(20);
    size_t perm;
    s24_error err;
    s24_tensor *t = save_small(NULL, order, &perm);
    const s24_convert_request q = {.input = "w.s24", .output = "out.raw", .to = "sparse-24-bitmask"};
    ck_assert_int_eq(s24_convert_file(&io, &q, NULL, &err), S24_ERR_NOTHING);
    s24_tensor_free(t);
    free(order);
}
END_TEST

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_permuted: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("permuted");
    TCase *tcase = tcase_create("permuted");
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, as_if_put_in_order, 0, 7);
    tcase_add_test(tcase, products);
    tcase_add_test(tcase, benchmark);
    tcase_add_test(tcase, no_permutations);
    tcase_add_loop_test(tcase, through_a_file, 0, 3);
    tcase_add_test(tcase, through_a_pipe);
    tcase_add_test(tcase, every_flip_is_found);
    tcase_add_loop_test(tcase, salvage_without_a_permutation, 0, 2);
    tcase_add_test(tcase, convert_leaves_it_dense);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
