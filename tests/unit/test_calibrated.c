/*
 * Files pruned by what is known of the inputs: masks and what they do to the output against their definitions in plain
 * loops, the same bytes by any instruction set and number of threads, what is solved as in memory, and all that is refused.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dtype.h"
#include "format.h"
#include "plain_blas.h"
#include "random.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char directory[] = "/tmp/s24-test-XXXXXX";

static const s24_blas *give_plain(void *user, s24_error *err)
{
    (void)user;
    (void)err;
    return &plain;
}

static const s24_blas *give_none(void *user, s24_error *err)
{
    (void)user;
    s24_fail(err, S24_ERR_SYSTEM, "it is gone");
    return NULL;
}

static double uniform(void)
{
    return (double)(random_bits() >> 11) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

/* ---------------------------------------------------------------- files */

typedef struct tensor {
    const char *name; /* "": without one, .npy */
    s24_dtype dtype;
    int rank;
    size_t shape[4];
    const double *data; /* NULL: zeros */
} tensor;

static size_t elements_of(const tensor *t)
{
    size_t n = 1;
    for (int d = 0; d < t->rank; d++) {
        n *= t->shape[d];
    }
    return n;
}

/* A file of one tensor. */
static void put(const char *path, const tensor *t)
{
    static const s24_io io = {.force = true, .no_sync = true};
    const s24_dtype_info *const info = s24_info(t->dtype);
    const size_t n = elements_of(t);
    unsigned char *const data = calloc(n + 1, info->bytes);
    s24_contents plan = {0};
    s24_output *out;
    s24_sink *sink;
    s24_error err;
    for (size_t i = 0; i < n && t->data; i++) {
        bool overflow = false;
        s24_store(data, info->bytes, i, s24_encode(info, t->data[i], &overflow));
    }
    ck_assert_ptr_nonnull(s24_contents_add(&plan, t->name, t->dtype, t->rank, t->shape, &err));
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, *t->name ? &s24_format_safetensors : &s24_format_npy, out, &plan, &err), S24_OK);
    ck_assert_int_eq(s24_output_write(out, sink->contents.entries[0].offset, data, n * info->bytes, &err), S24_OK);
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
    free(data);
}

/* What is in such a file, as f64; the caller frees it. */
static double *take(const char *path, size_t n)
{
    s24_array a;
    s24_error err;
    ck_assert_msg(s24_array_load(path, NULL, &a, &err) == S24_OK, "%s", err.message);
    const s24_dtype_info *const info = s24_info(a.dtype);
    double *const to = calloc(n + 1, sizeof *to);
    for (size_t i = 0; i < n; i++) {
        to[i] = s24_decode(info, s24_load(a.data, info->bytes, i));
    }
    s24_array_free(&a);
    return to;
}

static bool same_files(const char *a, const char *b)
{
    FILE *const f = fopen(a, "rb"), *const g = fopen(b, "rb");
    ck_assert(f && g);
    int c, d;
    do {
        c = getc(f);
        d = getc(g);
    } while (c == d && c != EOF);
    fclose(f);
    fclose(g);
    return c == d;
}

static void enter(void)
{
    begin();
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
}

/* Nothing but these is there. */
static void leave(void)
{
    static const char *const files[] = {"w", "x", "second", "other", "out", "a.s24", "b.s24"};
    for (size_t i = 0; i < COUNT(files); i++) {
        unlink(files[i]);
    }
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}

/* ---------------------------------------------------------------- definitions */

/* A layer: which element of the tensor is the weight of input j of its output r. */
typedef struct layer {
    tensor t;
    int axis;
    bool unfolded;            /* a convolution whose taps have inputs of their own */
    size_t rows, k, inner, step;
    double *w;                /* as stored */
} layer;

static size_t at(const layer *l, size_t r, size_t j)
{
    return (r / l->inner * l->k + j) * l->inner + r % l->inner;
}

static void shape_layer(layer *l)
{
    size_t outer = 1, inner = 1;
    for (int d = 0; d < l->t.rank; d++) {
        outer *= d < l->axis ? l->t.shape[d] : 1;
        inner *= d > l->axis ? l->t.shape[d] : 1;
    }
    l->step = l->unfolded ? inner : 1;
    l->inner = l->unfolded ? 1 : inner;
    l->rows = outer * l->inner;
    l->k = l->t.shape[l->axis] * l->step;
}

/* Numbers that the dtype has; small ones, so that none is out of range. */
static double *random_numbers(s24_dtype dtype, size_t n)
{
    const s24_dtype_info *const info = s24_info(dtype);
    double *const x = calloc(n + 1, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        bool overflow = false;
        const double any = info->kind == S24_KIND_INT ? (double)below(255) - 127 : normal();
        x[i] = s24_decode(info, s24_encode(info, any, &overflow));
    }
    return x;
}

/* ||X_j|| of some samples. */
static double *norms_of(const double *x, size_t samples, size_t k)
{
    double *const norms = calloc(k + 1, sizeof *norms);
    for (size_t i = 0; i < samples * k; i++) {
        norms[i % k] += (double)(float)x[i] * (double)(float)x[i];
    }
    for (size_t j = 0; j < k; j++) {
        norms[j] = sqrt(norms[j]);
    }
    return norms;
}

static double *products_of(const double *x, size_t samples, size_t k)
{
    double *const h = calloc(k * k + 1, sizeof *h);
    for (size_t s = 0; s < samples; s++) {
        for (size_t i = 0; i < k * k; i++) {
            h[i] += x[s * k + i / k] * x[s * k + i % k];
        }
    }
    return h;
}

/* |w|, by wanda times the norm of its input, by ria over the sums of its row and column, times the root of the norm. */
static double score(const layer *l, const char *method, const double *norms, size_t r, size_t j)
{
    const double w = fabs(l->w[at(l, r, j)]);
    double row = 0, col = 0;
    if (strcmp(method, "ria") != 0) {
        return strcmp(method, "wanda") == 0 ? w * norms[j] : w;
    }
    for (size_t i = 0; i < l->k; i++) {
        row += fabs(l->w[at(l, r, i)]);
    }
    for (size_t i = 0; i < l->rows; i++) {
        col += fabs(l->w[at(l, i, j)]);
    }
    return ((col > 0 ? w / col : 0) + (row > 0 ? w / row : 0)) * sqrt(norms[j]);
}

/* V: of each group, four channels of a tap, the two best. The caller frees it. */
static double *mask(const layer *l, const char *method, const double *norms)
{
    const size_t channels = l->k / l->step;
    double *const v = calloc(l->rows * l->k + 1, sizeof *v);
    for (size_t i = 0; i < l->rows * l->k; i++) {
        const size_t r = i / l->k, j = i % l->k, channel = j / l->step, first = channel / 4 * 4;
        const double own = score(l, method, norms, r, j);
        int better = 0;
        for (size_t c = first; c < first + 4 && c < channels; c++) {
            const double other = score(l, method, norms, r, c * l->step + j % l->step);
            better += other > own || (other == own && c < channel);
        }
        v[at(l, r, j)] = better < 2 ? l->w[at(l, r, j)] : 0;
    }
    return v;
}

/* ||X (W - V)'|| / ||X W'||, of the rows that are looked at. */
static double error_of(const layer *l, const double *v, const double *x, size_t samples)
{
    const size_t count = l->rows < S24_SAMPLE_ROWS ? l->rows : S24_SAMPLE_ROWS;
    double whole = 0, lost = 0;
    for (size_t i = 0; i < count * samples; i++) {
        const size_t r = i / samples * l->rows / count;
        double all = 0, without = 0;
        for (size_t j = 0; j < l->k; j++) {
            const size_t n = at(l, r, j);
            all += l->w[n] * x[i % samples * l->k + j];
            without += (l->w[n] - v[n]) * x[i % samples * l->k + j];
        }
        whole += all * all;
        lost += without * without;
    }
    return sqrt(lost / whole);
}

/* ---------------------------------------------------------------- masks, and what they do */

static const struct {
    const char *method;
    s24_second kind;
    s24_dtype dtype, inputs;
    int rank, axis;
    size_t shape[4];
    bool unfolded;
    size_t samples;
} masked[] = {
    {"wanda", S24_ACTIVATIONS, S24_F32, S24_F32, 2, 1, {5, 8}, false, 21},
    {"wanda", S24_ACTIVATIONS, S24_F16, S24_BF16, 2, 0, {7, 5}, false, 40},
    {"wanda", S24_ACTIVATIONS, S24_I8, S24_F64, 2, 1, {3, 12}, false, 3},
    {"wanda", S24_ACTIVATIONS, S24_BF16, S24_I8, 4, 1, {3, 8, 2, 3}, true, 64},
    {"wanda", S24_ACTIVATIONS, S24_F32, S24_F8E4M3, 4, 1, {3, 8, 2, 3}, false, 64},
    {"wanda", S24_ACTIVATIONS, S24_F32, S24_F32, 2, 1, {601, 8}, false, 600},
    {"wanda", S24_HESSIAN, S24_F64, S24_F64, 2, 1, {9, 16}, false, 40},
    {"wanda", S24_HESSIAN, S24_F32, S24_F32, 4, 1, {3, 4, 1, 2}, true, 40},
    {"wanda", S24_NORMS, S24_F32, S24_F64, 2, 0, {16, 9}, false, 5},
    {"ria", S24_ACTIVATIONS, S24_F32, S24_F16, 2, 1, {600, 8}, false, 21},
    {"ria", S24_ACTIVATIONS, S24_F16, S24_F32, 4, 1, {3, 8, 2, 3}, true, 21},
    {"ria", S24_HESSIAN, S24_BF16, S24_F64, 2, 0, {6, 5}, false, 21},
    {"ria", S24_NORMS, S24_F64, S24_F32, 4, 1, {3, 5, 2, 3}, false, 21},
    {"magnitude", S24_ACTIVATIONS, S24_F32, S24_F32, 2, 1, {5, 8}, false, 21},
    {"magnitude", S24_HESSIAN, S24_F16, S24_F32, 2, 0, {8, 5}, false, 21},
};

static s24_status prune(const s24_io *io, const s24_prune_request *like, const char *to, const char *output,
                        s24_report *report, s24_error *err)
{
    s24_prune_request q = *like;
    q.to = to;
    q.output = output;
    return s24_prune_file(io, &q, report, err);
}

/* By the generic kernels, and by several threads: the same bytes. */
static void require_same(const s24_prune_request *q)
{
    static const s24_io ways[] = {{.no_sync = true, .force = true, .threads = 1, .isa = S24_ISA_GENERIC, .blas = give_plain},
                                  {.no_sync = true, .force = true, .threads = 3, .blas = give_plain},
                                  {.no_sync = true, .force = true, .threads = 2, .isa = S24_ISA_AVX2, .blas = give_plain}};
    s24_error err;
    for (size_t i = 0; i < COUNT(ways); i++) {
        ck_assert_msg(prune(&ways[i], q, NULL, i ? "b.s24" : "a.s24", NULL, &err) == S24_OK, "%s", err.message);
        ck_assert_msg(i == 0 || same_files("a.s24", "b.s24"), "way %zu", i);
    }
}

START_TEST(masks_by_their_definition)
{
    static const s24_io io = {.no_sync = true, .threads = 1, .blas = give_plain};
    layer l = {.t = {.name = "w", .dtype = masked[_i].dtype, .rank = masked[_i].rank}, .axis = masked[_i].axis,
               .unfolded = masked[_i].unfolded};
    const size_t samples = masked[_i].samples, fit = samples - samples / 4;
    const s24_second kind = masked[_i].kind;
    const char *const method = masked[_i].method;
    memcpy(l.t.shape, masked[_i].shape, sizeof l.t.shape);
    shape_layer(&l);
    l.t.data = l.w = random_numbers(l.t.dtype, elements_of(&l.t));
    double *const x = random_numbers(kind == S24_ACTIVATIONS ? masked[_i].inputs : S24_F32, samples * l.k),
        *const h = products_of(x, samples, l.k), *const norms = norms_of(x, samples, l.k),
        *const early = norms_of(x, fit, l.k);
    const tensor seconds[] = {[S24_ACTIVATIONS] = {"w", masked[_i].inputs, 2, {samples, l.k}, x},
                              [S24_HESSIAN] = {"w", S24_F64, 2, {l.k, l.k}, h},
                              [S24_NORMS] = {"w", S24_F64, 1, {l.k}, norms}};
    put("w", &l.t);
    put("second", &seconds[kind]);
    const s24_axis_rule axis = {NULL, l.axis};
    s24_prune_request q = {.input = "w", .method = method, .dtype = S24_SAME,
                           .selection = {.include = (const char *const[]){"w"}, .include_count = 1, .axes = &axis,
                                         .axis_count = 1}};
    q.second[kind] = "second";
    s24_report report = {0};
    s24_error err;
    ck_assert_msg(prune(&io, &q, "same", "out", &report, &err) == S24_OK, "%s", err.message);
    double *const v = take("out", elements_of(&l.t)), *const expected = mask(&l, method, norms);
    for (size_t i = 0; i < elements_of(&l.t); i++) {
        ck_assert_msg(v[i] == expected[i], "element %zu: %g, expected %g of %g", i, v[i], expected[i], l.w[i]);
    }
    const s24_output_error *const e = report.tensors[0].figures->output_error;
    ck_assert((e != NULL) == (kind != S24_NORMS));
    if (kind != S24_NORMS) {
        ck_assert_double_eq_tol(e->training, error_of(&l, v, x, samples), 1e-5);
        ck_assert_uint_eq(e->samples, kind == S24_HESSIAN ? 0 : samples);
    }
    if (kind == S24_ACTIVATIONS && samples / 4) {
        double *const seen = mask(&l, method, early);
        ck_assert_double_eq_tol(e->held_out, error_of(&l, seen, x + fit * l.k, samples / 4), 1e-5);
        free(seen);
    } else if (kind != S24_NORMS) {
        ck_assert(isnan(e->held_out));
    }
    require_same(&q);
    s24_report_free(&report);
    free(l.w);
    free(x);
    free(h);
    free(norms);
    free(early);
    free(v);
    free(expected);
}
END_TEST

/* ---------------------------------------------------------------- what is solved */

/* As s24_prune_calibrated of the same in memory. */
static const struct {
    const char *method;
    s24_second kind;
    s24_dtype dtype;
    int rank, axis;
    size_t shape[4];
    bool unfolded, refit;
} solved[] = {
    {"obs", S24_ACTIVATIONS, S24_F32, 2, 1, {6, 12}, false, false},
    {"obs", S24_HESSIAN, S24_F16, 2, 0, {9, 5}, false, false},
    {"sparsegpt", S24_ACTIVATIONS, S24_BF16, 2, 1, {6, 12}, false, false},
    {"sparsegpt", S24_HESSIAN, S24_F64, 4, 1, {3, 4, 2, 1}, true, false},
    {"wanda", S24_ACTIVATIONS, S24_F32, 4, 1, {3, 4, 2, 1}, false, true},
    {"ria", S24_HESSIAN, S24_F32, 2, 1, {6, 12}, false, true},
    {"magnitude", S24_ACTIVATIONS, S24_F64, 2, 1, {6, 12}, false, true},
};

START_TEST(solved_as_in_memory)
{
    static const s24_io io = {.no_sync = true, .threads = 1, .blas = give_plain};
    enum { SAMPLES = 40 };
    layer l = {.t = {.name = "w", .dtype = solved[_i].dtype, .rank = solved[_i].rank}, .axis = solved[_i].axis,
               .unfolded = solved[_i].unfolded};
    const s24_second kind = solved[_i].kind;
    memcpy(l.t.shape, solved[_i].shape, sizeof l.t.shape);
    shape_layer(&l);
    const size_t n = elements_of(&l.t);
    l.t.data = l.w = random_numbers(l.t.dtype, n);
    double *const x = random_numbers(S24_F32, SAMPLES * l.k), *const h = products_of(x, SAMPLES, l.k);
    put("w", &l.t);
    put("second", kind == S24_HESSIAN ? &(tensor){"w", S24_F64, 2, {l.k, l.k}, h}
                                      : &(tensor){"w", S24_F32, 2, {SAMPLES, l.k}, x});
    const s24_axis_rule axis = {NULL, l.axis};
    s24_prune_request q = {.input = "w", .method = solved[_i].method, .refit = solved[_i].refit, .dtype = S24_SAME,
                           .selection = {.include = (const char *const[]){"w"}, .include_count = 1, .axes = &axis,
                                         .axis_count = 1}};
    q.second[kind] = "second";
    s24_report report = {0};
    s24_error err;
    ck_assert_msg(prune(&io, &q, "same", "out", &report, &err) == S24_OK, "%s", err.message);
    double *const v = take("out", n);

    const s24_dtype_info *const info = s24_info(l.t.dtype);
    unsigned char *const weights = calloc(n, info->bytes), *const dense = calloc(n, info->bytes);
    float *const samples = calloc(SAMPLES * l.k, sizeof *samples);
    for (size_t i = 0; i < SAMPLES * l.k; i++) {
        samples[i] = (float)x[i];
    }
    for (size_t i = 0; i < n; i++) {
        bool overflow = false;
        s24_store(weights, info->bytes, i, s24_encode(info, l.w[i], &overflow));
    }
    s24_calibration *cal;
    s24_tensor *t;
    s24_output_error e;
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    const s24_dense view = {.data = weights, .dtype = l.t.dtype, .rank = l.t.rank, .shape = l.t.shape};
    o.axis = l.axis;
    ck_assert_int_eq(s24_calibration_new(&cal, l.k, kind == S24_HESSIAN ? 0 : SAMPLES, &plain, 1, &err), S24_OK);
    ck_assert_int_eq(kind == S24_HESSIAN ? s24_calibration_set_hessian(cal, S24_F64, h, &err)
                                         : s24_calibration_add(cal, samples, SAMPLES, &err), S24_OK);
    ck_assert_msg(s24_prune_calibrated(&view, solved[_i].method, cal, &o, solved[_i].refit, &t, NULL, &e, &err) == S24_OK,
                  "%s", err.message);
    ck_assert_int_eq(s24_decompress(t, l.t.dtype, dense, &err), S24_OK);
    for (size_t i = 0; i < n; i++) {
        const double in_memory = s24_decode(info, s24_load(dense, info->bytes, i));
        ck_assert_msg(v[i] == in_memory, "element %zu: %g, in memory %g", i, v[i], in_memory);
    }
    ck_assert_double_eq(report.tensors[0].figures->output_error->training, e.training);
    ck_assert_str_eq(report.tensors[0].method, solved[_i].refit ? report.tensors[0].method : e.method);
    require_same(&q);
    s24_tensor_free(t);
    s24_calibration_free(cal);
    s24_report_free(&report);
    free(l.w);
    free(x);
    free(h);
    free(v);
    free(weights);
    free(dense);
    free(samples);
}
END_TEST

/* ---------------------------------------------------------------- at the edge */

#define FOUR 1, 1, 1, 1
static const double ones[] = {FOUR, FOUR, FOUR, FOUR, FOUR, FOUR, FOUR, FOUR,
                              FOUR, FOUR, FOUR, FOUR, FOUR, FOUR, FOUR, FOUR},
    balanced[] = {3, -1, -1, -1}, units[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1},
    negative[] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1}, has_nan[] = {5, NAN, 1, 2, 1, 2, 3, 4},
    has_infinity[] = {1, 2, 3, 4, 1, INFINITY, 2, 3}, huge[] = {3e38, 3e38, 3e38, 3e38}, minus_one[] = {1, 1, 1, -1},
    mixed[] = {4, -3, 2, 1, 0, 0, 0, 0};

#define WEIGHTS(dtype, data) {"w", dtype, 2, {sizeof(data) / sizeof *(data) / 4, 4}, data}
#define SELECTED .dtype = S24_SAME, .selection = {.include = (const char *const[]){"w"}, .include_count = 1}

/* What an error of the output is where there is little to measure. */
static const struct {
    s24_prune_request q;
    tensor w, second;
    s24_second kind;
    double error;
} edges[] = {
    /* nothing comes out, and nothing is lost; or all of what comes out is */
    {{.method = "wanda", SELECTED}, {"w", S24_F32, 2, {2, 4}, NULL}, {"w", S24_F32, 2, {3, 4}, ones}, S24_ACTIVATIONS, 0},
    {{.method = "ria", SELECTED}, {"w", S24_F32, 2, {2, 4}, NULL}, {"w", S24_F32, 2, {3, 4}, ones}, S24_ACTIVATIONS, 0},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F32, 2, {3, 4}, NULL}, S24_ACTIVATIONS, 0},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F64, 2, {4, 4}, NULL}, S24_HESSIAN, 0},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, balanced), {"w", S24_F32, 2, {1, 4}, ones}, S24_ACTIVATIONS, INFINITY},
    {{.method = "ria", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F32, 2, {4, 4}, units}, S24_ACTIVATIONS,
     0.408248290463863},
    /* no rows, no inputs: nothing is known */
    {{.method = "wanda", SELECTED}, {"w", S24_F32, 2, {0, 4}, NULL}, {"w", S24_F32, 2, {3, 4}, ones}, S24_ACTIVATIONS, NAN},
    {{.method = "ria", SELECTED}, {"w", S24_F32, 2, {0, 4}, NULL}, {"w", S24_F32, 2, {3, 4}, ones}, S24_ACTIVATIONS, NAN},
    {{.method = "wanda", SELECTED}, {"w", S24_F32, 2, {4, 0}, NULL}, {"w", S24_F32, 2, {3, 0}, NULL}, S24_ACTIVATIONS, NAN},
    /* what is not finite is kept, and left out of the figures */
    {{.method = "wanda", .allow_nonfinite = true, SELECTED}, WEIGHTS(S24_F32, has_nan), {"w", S24_F32, 2, {4, 4}, units},
     S24_ACTIVATIONS, 0.408248290463863},
};

START_TEST(errors_at_the_edge)
{
    static const s24_io io = {.no_sync = true, .threads = 1, .blas = give_plain};
    s24_prune_request q = edges[_i].q;
    s24_report report = {0};
    s24_error err;
    put("w", &edges[_i].w);
    put("second", &edges[_i].second);
    q.input = "w";
    q.second[edges[_i].kind] = "second";
    ck_assert_msg(prune(&io, &q, "same", "out", &report, &err) == S24_OK, "%s", err.message);
    const double error = report.tensors[0].figures->output_error->training, expected = edges[_i].error;
    ck_assert_msg(error == expected || fabs(error - expected) < 1e-6 || (isnan(error) && isnan(expected)), "%.17g", error);
    require_same(&q);
    s24_report_free(&report);
}
END_TEST

/* ---------------------------------------------------------------- refused */

#define X {"w", S24_F32, 2, {16, 4}, ones}
#define MATRIX(name, dtype, rows, cols, data) {name, dtype, 2, {rows, cols}, data}
#define NONE {.name = NULL}
#define BY_ACTIVATIONS NONE, S24_ACTIVATIONS, S24_SECONDS
#define BY_HESSIAN NONE, S24_HESSIAN, S24_SECONDS
#define BY_NORMS NONE, S24_NORMS, S24_SECONDS

static const struct {
    s24_prune_request q;
    tensor w, second, other; /* other: a second input by elements */
    s24_second kind, by;
    s24_status status;
    const char *message;
} refusals[] = {
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F64, 4, 4, negative), BY_HESSIAN,
     S24_ERR_DATA, "second: w: element [2, 2] of the Hessian is -1"},
    {{.method = "obs", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F64, 4, 4, negative), BY_HESSIAN,
     S24_ERR_DATA, "second: w: "},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F64, 1, {4}, minus_one}, BY_NORMS,
     S24_ERR_DATA, "second: w: the norm of input 3 is -1"},
    {{.method = "magnitude", .transposable = true, SELECTED}, WEIGHTS(S24_F32, has_nan), X, NONE, S24_SECONDS, S24_SECONDS,
     S24_ERR_DATA, "w: w: row 0, column 1 is nan: nothing can be fitted"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, has_nan), X, BY_ACTIVATIONS,
     S24_ERR_DATA, "w: w: element [0, 1] is nan"},
    {{.method = "ria", .allow_nonfinite = true, SELECTED}, WEIGHTS(S24_F32, has_infinity), X, BY_ACTIVATIONS,
     S24_ERR_DATA, "w: w: row 1, column 1 is infinite"},
    {{.method = "ria", .allow_nonfinite = true, SELECTED}, WEIGHTS(S24_F64, has_nan), X, BY_ACTIVATIONS,
     S24_ERR_DATA, "w: w: row 0, column 1 is nan"},
    {{.method = "gradient", SELECTED}, WEIGHTS(S24_F32, mixed), X, WEIGHTS(S24_F32, has_infinity), S24_ACTIVATIONS,
     S24_GRADIENTS, S24_ERR_DATA, "other: w: the second input's element [1, 1] is not finite"},
    {{.method = "wanda", SELECTED}, MATRIX("w", S24_F32, 1, 4, ones), MATRIX("w", S24_F64, 1, 4, huge), BY_ACTIVATIONS,
     S24_ERR_DATA, "second: w: squares of the activations are beyond the range of f32"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F16, 2, 4, has_infinity), BY_ACTIVATIONS,
     S24_ERR_DATA, "second: w: row 1, column 1 is infinite"},
    {{.method = "obs", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F8E5M2, 2, 4, has_nan), BY_ACTIVATIONS,
     S24_ERR_DATA, "second: w: row 0, column 1 is nan"},
    {{.method = "sparsegpt", SELECTED}, WEIGHTS(S24_I8, mixed), X, BY_ACTIVATIONS,
     S24_ERR_USAGE, "w: w: i8 without scales cannot be fitted"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F32, 0, 4, NULL), BY_ACTIVATIONS,
     S24_ERR_DATA, "second: w: there are no samples"},
    /* shapes */
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F32, 1, {4}, ones}, BY_ACTIVATIONS,
     S24_ERR_DATA, "the shape of the activations, [4], does not fit; it must be samples x K, of K = 4 inputs"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F32, 3, {4, 2, 2}, ones}, BY_HESSIAN,
     S24_ERR_DATA, "the shape of the hessian, [4, 2, 2], does not fit; it must be K x K"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F32, 4, 2, ones), BY_HESSIAN,
     S24_ERR_DATA, "the shape of the hessian, [4, 2], does not fit"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), MATRIX("w", S24_F32, 1, 4, ones), BY_NORMS,
     S24_ERR_DATA, "the shape of the norms, [1, 4], does not fit; it must be K"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"w", S24_F32, 1, {8}, ones}, BY_NORMS,
     S24_ERR_DATA, "the shape of the norms, [8], does not fit"},
    {{.method = "wanda", SELECTED}, {"w", S24_F32, 4, {1, 4, 2, 3}, ones}, MATRIX("w", S24_F32, 2, 6, ones), BY_ACTIVATIONS,
     S24_ERR_DATA, "of K = 4 inputs, or unfolded (im2col) of 24"},
    {{.method = "wanda", SELECTED}, {"w", S24_F32, 3, {4, 2, 3}, ones}, MATRIX("w", S24_F32, 2, 18, ones), BY_ACTIVATIONS,
     S24_ERR_DATA, "second: w: the shape of the activations, [2, 18], does not fit"},
    {{.method = "scores", SELECTED}, WEIGHTS(S24_F32, mixed), NONE, {"w", S24_F32, 3, {2, 2, 2}, ones}, S24_SECONDS,
     S24_SCORES, S24_ERR_DATA, "other: w: scores have another shape than the weights"},
    {{.method = "wanda", SELECTED}, WEIGHTS(S24_F32, mixed), {"v", S24_F32, 1, {4}, ones}, BY_NORMS,
     S24_ERR_DATA, "second: no norms for tensor w; s24 prune --exclude leaves it out"},
    /* no names: .npy */
    {{.method = "obs", .dtype = S24_SAME}, MATRIX("", S24_I8, 2, 4, mixed), MATRIX("", S24_F32, 2, 4, ones), BY_ACTIVATIONS,
     S24_ERR_USAGE, "w: i8 without scales cannot be fitted"},
    {{.method = "obs", .dtype = S24_SAME}, MATRIX("", S24_F32, 2, 4, has_nan), MATRIX("", S24_F32, 2, 4, ones),
     BY_ACTIVATIONS,
     S24_ERR_DATA, "w: row 0, column 1 is nan"},
    {{.method = "obs", .dtype = S24_SAME}, MATRIX("", S24_F32, 2, 4, mixed), MATRIX("", S24_F32, 0, 4, NULL), BY_ACTIVATIONS,
     S24_ERR_DATA, "second: there are no samples"},
};

START_TEST(refused)
{
    static const s24_io io = {.no_sync = true, .threads = 1, .blas = give_plain};
    s24_prune_request q = refusals[_i].q;
    s24_report report = {0};
    s24_error err = {0};
    put("w", &refusals[_i].w);
    q.input = "w";
    if (refusals[_i].kind != S24_SECONDS) {
        put("second", &refusals[_i].second);
        q.second[refusals[_i].kind] = "second";
    }
    if (refusals[_i].by != S24_SECONDS) {
        put("other", &refusals[_i].other);
        q.second[refusals[_i].by] = "other";
    }
    const s24_status status = prune(&io, &q, NULL, "out", &report, &err);
    ck_assert_msg(status == refusals[_i].status && err.status == status && strstr(err.message, refusals[_i].message),
                  "%s: %d, %s", refusals[_i].message, status, err.message);
    ck_assert(!strchr(err.message, '\n') && access("out", F_OK) != 0 && !report.tensors);
}
END_TEST

/* A mask by activations, what is solved: neither does without products. */
START_TEST(no_blas)
{
    static const char *const methods[] = {"wanda", "obs"};
    static const s24_io none = {.no_sync = true, .threads = 1}, gone = {.no_sync = true, .threads = 1, .blas = give_none};
    const s24_prune_request q = {.input = "w", .method = methods[_i], .second = {[S24_ACTIVATIONS] = "second"}, SELECTED};
    const tensor w = WEIGHTS(S24_F32, mixed), x = X;
    s24_error err;
    put("w", &w);
    put("second", &x);
    ck_assert_int_eq(prune(&none, &q, NULL, "out", NULL, &err), S24_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "need a BLAS to multiply with"));
    ck_assert_int_eq(prune(&gone, &q, NULL, "out", NULL, &err), S24_ERR_SYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "it is gone"));
    ck_assert(access("out", F_OK) != 0);
}
END_TEST

/* ---------------------------------------------------------------- in memory */

/* Input 2 is input 0 once more: fitted, the first weight takes what was dropped, as far as its dtype goes. */
static const struct {
    s24_dtype dtype;
    double w[4], first; /* NaN: refused */
} beyond[] = {
    {S24_F32, {448, 400, 300, 0}, 748},
    {S24_F8E4M3, {448, 320, 256, 0}, 448},
    {S24_F8E5M2, {-57344, 40960, -32768, 0}, -57344},
    {S24_I8, {100, 95, 90, 0}, 127},
    {S24_I8, {-100, 95, -90, 0}, -127},
    {S24_F16, {60000, 59008, 50016, 0}, NAN},
};

START_TEST(fitted_beyond_range)
{
    enum { SAMPLES = 64 };
    static const size_t shape[] = {1, 4};
    const s24_dtype_info *const info = s24_info(beyond[_i].dtype);
    unsigned char w[32], v[32];
    float x[SAMPLES * 4];
    s24_calibration *cal;
    s24_tensor *t;
    s24_output_error e;
    s24_prune_metrics metrics;
    s24_error err;
    for (size_t i = 0; i < SAMPLES * 4; i++) {
        x[i] = i % 4 == 2 ? x[i - 2] : (float)normal();
    }
    for (size_t j = 0; j < 4; j++) {
        bool overflow = false;
        s24_store(w, info->bytes, j, s24_encode(info, beyond[_i].w[j], &overflow));
        ck_assert(s24_decode(info, s24_load(w, info->bytes, j)) == beyond[_i].w[j]);
    }
    ck_assert_int_eq(s24_calibration_new(&cal, 4, SAMPLES, &plain, 1, &err), S24_OK);
    ck_assert_int_eq(s24_calibration_add(cal, x, SAMPLES, &err), S24_OK);
    const s24_dense dense = {.data = w, .dtype = beyond[_i].dtype, .rank = 2, .shape = shape};
    const s24_status status = s24_prune_calibrated(&dense, "magnitude", cal, NULL, true, &t, &metrics, &e, &err);
    if (isnan(beyond[_i].first)) {
        ck_assert_int_eq(status, S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "[0, 0]") && strstr(err.message, "f16"), "%s", err.message);
    } else {
        ck_assert_msg(status == S24_OK, "%s", err.message);
        ck_assert_int_eq(s24_decompress(t, beyond[_i].dtype, v, &err), S24_OK);
        const double first = s24_decode(info, s24_load(v, info->bytes, 0));
        ck_assert_msg(fabs(first - beyond[_i].first) <= 0.02 * fabs(beyond[_i].first), "%g", first);
        ck_assert_uint_eq(metrics.pruned_count, 2);
        s24_tensor_free(t);
    }
    s24_calibration_free(cal);
}
END_TEST

START_TEST(refused_in_memory)
{
    static const float w[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const size_t shape[] = {2, 4}, none[] = {0, 4};
    const s24_dense dense = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shape};
    const s24_dense empty = {.data = w, .dtype = S24_F32, .rank = 2, .shape = none};
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_tensor *t;
    s24_output_error e;
    s24_error err;
    o.dtype = S24_I8;
    ck_assert_int_eq(s24_prune_calibrated(&dense, "magnitude", NULL, &o, false, &t, NULL, &e, &err), S24_ERR_USAGE);
    ck_assert_str_eq(err.message, "f32 cannot be pruned and stored as i8");
    o.dtype = S24_BF16;
    o.axis = 5;
    ck_assert_int_eq(s24_prune_calibrated(&dense, "magnitude", NULL, &o, false, &t, NULL, &e, &err), S24_ERR_USAGE);
    o.axis = 0;
    ck_assert_int_eq(s24_prune_calibrated(&dense, "obs", NULL, &o, false, &t, NULL, &e, &err), S24_ERR_USAGE);
    ck_assert_ptr_nonnull(strstr(err.message, "obs needs activations"));
    ck_assert_int_eq(s24_prune_calibrated(&dense, "magnitude", NULL, &o, false, &t, NULL, &e, &err), S24_OK);
    ck_assert(t->dtype == S24_BF16 && t->axis == 0);
    s24_tensor_free(t);
    ck_assert_int_eq(s24_prune_calibrated(&empty, "magnitude", NULL, NULL, false, &t, NULL, &e, &err), S24_OK);
    ck_assert(t->num_elements == 0 && t->sparsity_percent == 0);
    s24_tensor_free(t);
}
END_TEST

int main(void)
{
    const char *const given = getenv("S24_SEED");
    Suite *const suite = suite_create("calibrated");
    TCase *const tcase = tcase_create("all");
    first_seed = given ? strtoull(given, NULL, 0) : 24;
    printf("test_calibrated: S24_SEED=%llu\n", (unsigned long long)first_seed);
    tcase_add_checked_fixture(tcase, enter, leave);
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, masks_by_their_definition, 0, (int)COUNT(masked));
    tcase_add_loop_test(tcase, solved_as_in_memory, 0, (int)COUNT(solved));
    tcase_add_loop_test(tcase, errors_at_the_edge, 0, (int)COUNT(edges));
    tcase_add_loop_test(tcase, refused, 0, (int)COUNT(refusals));
    tcase_add_loop_test(tcase, no_blas, 0, 2);
    tcase_add_loop_test(tcase, fitted_beyond_range, 0, (int)COUNT(beyond));
    tcase_add_test(tcase, refused_in_memory);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
