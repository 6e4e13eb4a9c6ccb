/*
 * Plain .s24 files: there and back, and nothing wrong that goes unseen. What is expected is computed here, from the
 * dense input, by a few lines that share nothing with the library; that a panel lies where it lies is asked of the
 * library, and that what lies there is right of a plain safetensors reader.
 */
#define _GNU_SOURCE /* memmem */
#include <check.h>
#include <errno.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>
#include <xxhash.h>

#include "plain.h"
#include "st_header.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifdef SANITIZED
#define STRIDE 13 /* of all flips and cuts: every one takes minutes under a sanitizer */
#else
#define STRIDE 1
#endif

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char directory[] = "/tmp/s24-test-XXXXXX";
static const s24_io io = {.force = true, .no_sync = true, .threads = 1};

/* ---------------------------------------------------------------- files */

typedef struct bytes {
    unsigned char *data;
    size_t n;
} bytes;

static void make_directory(void)
{
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    signal(SIGPIPE, SIG_IGN);
}

/* Removes, or only counts, the files of the test's directory. */
static int walk_directory(bool removing)
{
    DIR *const d = opendir(".");
    int count = 0;
    for (const struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            count++;
            if (removing) {
                unlink(e->d_name);
            }
        }
    }
    closedir(d);
    return count;
}

/* Whatever a test that failed has left behind. */
static void empty_directory(void)
{
    walk_directory(true);
}

static void remove_directory(void)
{
    walk_directory(true);
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(directory);
}

static void spit(const char *path, bytes b)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(b.data, 1, b.n, f), b.n);
    ck_assert_int_eq(fclose(f), 0);
}

static bytes slurp(const char *path)
{
    FILE *const f = fopen(path, "rb");
    struct stat st;
    ck_assert_msg(f != NULL, "%s is not there", path);
    ck_assert_int_eq(fstat(fileno(f), &st), 0);
    const bytes b = {malloc((size_t)st.st_size + 1), (size_t)st.st_size};
    ck_assert_ptr_nonnull(b.data);
    ck_assert_uint_eq(fread(b.data, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

static bytes copy_of(bytes b)
{
    const bytes copy = {malloc(b.n + 1), b.n};
    ck_assert_ptr_nonnull(copy.data);
    memcpy(copy.data, b.data, b.n);
    return copy;
}

static bool same(bytes a, bytes b)
{
    return a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
}

static bool file_is(const char *path, bytes expected)
{
    const bytes b = slurp(path);
    const bool equal = same(b, expected);
    free(b.data);
    return equal;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Overwrites n bytes of a file in place. */
static void poke(const char *path, size_t at, const void *data, size_t n)
{
    const int fd = open(path, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, n, (off_t)at), (ssize_t)n);
    close(fd);
}

/* ---------------------------------------------------------------- models, and what pruning makes of them */

typedef struct tensor {
    const char *name; /* as it stands in JSON */
    s24_dtype dtype;
    int axis;         /* -1: carried */
    int rank;
    size_t shape[4];
} tensor;

/* A bit of everything. Names that globs below do not select are left to the default rule. */
static const tensor everything[] = {
    {"a.weight", S24_F32, 1, 2, {6, 8}},
    {"a.bias", S24_F32, -1, 1, {6}},
    {"b.s24.values", S24_F16, 1, 2, {3, 12}},
    {"x.s24.checks", S24_I64, -1, 1, {20}},
    {".s24.head", S24_U8, -1, 1, {64}},
    {"gr\xc3\xb6\xc3\x9f""e/\xe5\xb1\xa4", S24_BF16, 1, 2, {5, 4}},
    {"we\\\"ird\\\\", S24_F32, 1, 2, {3, 4}},
    {"empty", S24_F32, -1, 2, {0, 4}},
    {"take.norows", S24_F32, 1, 2, {0, 8}},
    {"take.nocols", S24_F16, 1, 2, {4, 0}},
    {"take.scalar", S24_F64, 0, 0, {0}},
    {"scalar", S24_F32, -1, 0, {0}},
    {"take.odd", S24_F64, 1, 2, {3, 7}},
    {"take.narrow", S24_F32, 1, 2, {9, 1}},
    {"take.long", S24_I8, 1, 2, {2, 50}},
    {"take.vector", S24_F32, 0, 1, {37}},
    {"conv", S24_F32, 1, 4, {4, 8, 3, 3}},
    {"first.axis0", S24_F64, 0, 2, {8, 5}},
    {"tall.axis0", S24_F16, 0, 2, {40, 3}},
    {"take.middle", S24_F32, 1, 3, {2, 7, 40}},
    {"f8", S24_F8E4M3, 1, 2, {2, 16}},
    {"f8b", S24_F8E5M2, 1, 2, {1, 20}},
    {"flags", S24_BOOL, -1, 1, {3}},
    {"f4", S24_F4, -1, 1, {6}},
    {"f6", S24_F6E2M3, -1, 2, {2, 100}},
    {"e8", S24_F8E8M0, -1, 1, {70}},
    {"complex", S24_C64, -1, 1, {9}},
};

/* As little as shows every kind of section, for the tests that try every bit. */
static const tensor little[] = {
    {"w", S24_F16, 1, 2, {4, 8}},
    {"v", S24_I16, -1, 1, {40}},
    {"scalar.weight", S24_F64, -1, 0, {0}},
};

static const char *const include[] = {"take.*"};
static const s24_axis_rule axes[] = {{"*.axis0", 0}, {"take.middle", 1}};

static uint64_t random_state = 0x243f6a8885a308d3;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t elements_of(const tensor *t)
{
    size_t n = 1;
    for (int d = 0; d < t->rank; d++) {
        n *= t->shape[d];
    }
    return n;
}

static size_t bytes_of(const tensor *t)
{
    return elements_of(t) * s24_info(t->dtype)->bits / 8;
}

/* Random bits; of floats one exponent bit is clear, so that all are finite. */
static void fill(const tensor *t, unsigned char *data)
{
    const s24_dtype_info *const info = s24_info(t->dtype);
    const bool is_float = info->kind == S24_KIND_IEEE || info->kind == S24_KIND_FN;
    const uint64_t clear = is_float ? UINT64_C(1) << info->mantissa_bits : 0;
    if (info->bytes == 0) {
        memset(data, 0x5a, bytes_of(t));
    }
    for (size_t i = 0; info->bytes && i < elements_of(t); i++) {
        s24_store(data, info->bytes, i, t->dtype == S24_BOOL ? random_u64() & 1 : random_u64() & ~clear);
    }
}

/* A tensor as [outer, K, inner]: row o * inner + i, its elements `inner` apart. */
typedef struct rows_of {
    size_t outer, k, inner;
} rows_of;

static rows_of rows_along(const tensor *t)
{
    rows_of r = {1, 1, 1};
    for (int d = 0; d < t->rank; d++) {
        *(d < t->axis ? &r.outer : d == t->axis ? &r.k : &r.inner) *= t->shape[d];
    }
    return r;
}

static size_t element_at(rows_of r, size_t row, size_t col)
{
    return (row / r.inner * r.k + col) * r.inner + row % r.inner;
}

static uint64_t key_of(const tensor *t, const unsigned char *data, size_t element)
{
    const s24_dtype_info *const info = s24_info(t->dtype);
    const uint64_t bits = s24_load(data, info->bytes, element);
    return t->dtype == S24_I8 ? (uint64_t)abs((int8_t)bits) : bits & ~(UINT64_C(1) << (info->bits - 1));
}

/* What 2:4 by magnitude leaves: of four the two largest, the first of equals; the rest is 0. */
static void prune_reference(const tensor *t, unsigned char *data)
{
    const rows_of r = rows_along(t);
    for (size_t row = 0; row < r.outer * r.inner; row++) {
        for (size_t col = 0; col < r.k; col += 4) {
            const size_t n = r.k - col < 4 ? r.k - col : 4;
            uint64_t key[4];
            for (size_t i = 0; i < n; i++) {
                key[i] = key_of(t, data, element_at(r, row, col + i));
            }
            for (size_t i = 0; i < n; i++) {
                int before = 0;
                for (size_t j = 0; j < n; j++) {
                    before += key[j] > key[i] || (key[j] == key[i] && j < i);
                }
                if (before >= 2) {
                    s24_store(data, s24_info(t->dtype)->bytes, element_at(r, row, col + i), 0);
                }
            }
        }
    }
}

/* A safetensors file as the library itself would write it, so that decompressing must give it byte for byte. */
static size_t write_header(const tensor *t, size_t count, const char *metadata, FILE *f)
{
    size_t end = 0;
    fprintf(f, "%.8s{%s", "--------", metadata);
    for (size_t i = 0; i < count; i++) {
        fprintf(f, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i || *metadata ? "," : "", t[i].name,
                s24_info(t[i].dtype)->st_name);
        for (int d = 0; d < t[i].rank; d++) {
            fprintf(f, "%s%zu", d ? "," : "", t[i].shape[d]);
        }
        fprintf(f, "],\"data_offsets\":[%zu,%zu]}", end, end + bytes_of(&t[i]));
        end += bytes_of(&t[i]);
    }
    fputc('}', f);
    return end;
}

typedef struct model {
    const tensor *tensors;
    size_t count;
    bytes in, expected;
    size_t data; /* where the first tensor begins in both */
} model;

static model make_model(const tensor *t, size_t count, const char *metadata)
{
    model m = {.tensors = t, .count = count};
    char *text;
    size_t n;
    FILE *const f = open_memstream(&text, &n);
    const size_t data_bytes = write_header(t, count, metadata, f);
    fclose(f);
    m.data = (n + 63) / 64 * 64;
    m.in = (bytes){malloc(m.data + data_bytes + 1), m.data + data_bytes};
    ck_assert_ptr_nonnull(m.in.data);
    memset(m.in.data, ' ', m.data);
    memcpy(m.in.data, text, n);
    s24_put_u64(m.in.data, m.data - 8);
    free(text);
    size_t at = m.data;
    for (size_t i = 0; i < count; i++) {
        fill(&t[i], m.in.data + at);
        at += bytes_of(&t[i]);
    }
    m.expected = copy_of(m.in);
    at = m.data;
    for (size_t i = 0; i < count; i++) {
        if (t[i].axis >= 0) {
            prune_reference(&t[i], m.expected.data + at);
        }
        at += bytes_of(&t[i]);
    }
    return m;
}

static void free_model(model *m)
{
    free(m->in.data);
    free(m->expected.data);
}

static size_t data_of(const model *m, size_t index)
{
    size_t at = m->data;
    for (size_t i = 0; i < index; i++) {
        at += bytes_of(&m->tensors[i]);
    }
    return at;
}

/* ---------------------------------------------------------------- the library, called */

static s24_status prune(const s24_io *how, const char *from, const char *to, size_t panel_groups, s24_error *err)
{
    const s24_prune_request q = {
        .input = from, .output = to, .dtype = S24_SAME, .panel_groups = panel_groups, .panel_bytes = 64,
        .selection = {.include = include, .include_count = 1, .axes = axes, .axis_count = COUNT(axes)},
    };
    const s24_prune_request all = {.input = from, .output = to, .dtype = S24_SAME, .panel_groups = panel_groups,
                                   .panel_bytes = 64};
    const s24_status status = s24_prune_file(how, &q, NULL, err);
    return status == S24_ERR_USAGE ? s24_prune_file(how, &all, NULL, err) : status; /* no tensor is called take.* */
}

/* The model as a .s24 in the file `path`, and its bytes. */
static bytes prune_model(const model *m, const char *path, size_t panel_groups)
{
    s24_error err = {0};
    spit("in.safetensors", m->in);
    const s24_status status = prune(&io, "in.safetensors", path, panel_groups, &err);
    ck_assert_msg(status == S24_OK, "%s", err.message);
    return slurp(path);
}

typedef struct told {
    int count;
    char first[480], last[480];
} told;

static void hear(void *user, const char *message)
{
    told *const t = user;
    snprintf(t->count++ ? t->last : t->first, sizeof t->last, "%s", message);
}

static void hear_fault(void *user, const s24_verify_fault *fault)
{
    hear(user, fault->message);
}

static s24_status verify(const char *path, told *faults, s24_error *err)
{
    *faults = (told){0};
    const s24_verify_request q = {.input = path, .fault = hear_fault, .user = faults};
    return s24_verify_file(&io, &q, err);
}

static s24_status decompress(const char *from, const char *to, s24_error *err)
{
    const s24_decompress_request q = {.input = from, .output = to, .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status salvage(const char *from, const char *to, told *lost, s24_error *err)
{
    *lost = (told){0};
    const s24_decompress_request q = {.input = from, .output = to, .dtype = S24_SAME, .salvage = true, .lost = hear,
                                      .user = lost};
    return s24_decompress_file(&io, &q, err);
}

static s24_status stats(const char *path, s24_report *report, s24_error *err)
{
    const s24_stats_request q = {.input = path};
    return s24_stats_file(&io, &q, report, err);
}

static bool same_figures(const s24_report *a, const s24_report *b)
{
    bool equal = a->count == b->count && memcmp(&a->totals, &b->totals, sizeof a->totals) == 0;
    for (size_t i = 0; equal && i < a->count; i++) {
        const s24_report_tensor *const x = &a->tensors[i], *const y = &b->tensors[i];
        equal = strcmp(x->name, y->name) == 0 && x->dtype == y->dtype && x->stored == y->stored &&
                x->rank == y->rank && x->axis == y->axis && x->status == y->status &&
                memcmp(x->shape, y->shape, (size_t)x->rank * sizeof *x->shape) == 0 &&
                !x->figures == !y->figures &&
                (!x->figures || memcmp(&x->figures->metrics.sums, &y->figures->metrics.sums, sizeof(s24_sums)) == 0);
    }
    return equal;
}

/* ---------------------------------------------------------------- there and back */

#define METADATA \
    "\"__metadata__\":{\"format\":\"pt\",\"s24\":\"2\",\"s24x\":\"\",\"s24.user.x\":\"deep\",\"n\\u0001\":\"\\\"q\\\"\\n\xc3\xbc\"}"

static const s24_entry *find(const s24_contents *c, const char *name, const char *suffix)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->entries[i].name, full) == 0) {
            return &c->entries[i];
        }
    }
    return NULL;
}

/* The planes of a pruned tensor, as a reader that knows only safetensors finds them, give the expected elements. */
static void check_planes(const s24_contents *c, bytes file, const char *name, const tensor *t,
                         const unsigned char *expected)
{
    const s24_entry *const v = find(c, name, ".s24.values"), *const p = find(c, name, ".s24.positions");
    const rows_of r = rows_along(t);
    const size_t groups = (r.k + 3) / 4, rows = r.outer * r.inner;
    const unsigned width = s24_info(t->dtype)->bytes;
    ck_assert(v && p && v->dtype == t->dtype && p->dtype == S24_U8 && v->rank == 2 && p->rank == 2);
    ck_assert(v->shape[0] == rows && v->shape[1] == 2 * groups);
    ck_assert(p->shape[0] == rows && p->shape[1] == (groups + 1) / 2);
    for (size_t row = 0; row < rows; row++) {
        for (size_t col = 0; col < r.k; col++) {
            const size_t g = col / 4;
            const unsigned byte = file.data[p->offset + row * p->shape[1] + g / 2], nibble = byte >> (g % 2 * 4) & 15;
            uint64_t bits = 0;
            for (unsigned i = 0; i < 2; i++) {
                if ((i ? nibble >> 2 : nibble & 3) == col % 4) {
                    bits = s24_load(file.data + v->offset, width, row * 2 * groups + 2 * g + i);
                }
            }
            ck_assert_uint_eq(bits, s24_load(expected, width, element_at(r, row, col)));
        }
    }
}

/* The file as a safetensors file, tensor by tensor. */
static void check_stored(const model *m, bytes file)
{
    const s24_read_options as_safetensors = {.format = "safetensors"};
    s24_source *plain, *dense;
    s24_error err = {0};
    ck_assert_int_eq(s24_source_open(&plain, &io, "m.s24", &as_safetensors, &err), S24_OK);
    ck_assert_int_eq(s24_source_open(&dense, &io, "in.safetensors", NULL, &err), S24_OK);
    ck_assert_uint_eq(dense->contents.count, m->count);
    for (size_t i = 0; i < m->count; i++) {
        const tensor *const t = &m->tensors[i];
        const s24_entry *const e = &dense->contents.entries[i]; /* the name without its escapes */
        const unsigned char *const expected = m->expected.data + data_of(m, i);
        if (t->axis >= 0) {
            check_planes(&plain->contents, file, e->name, t, expected);
        } else {
            const s24_entry *const c = find(&plain->contents, e->name, strstr(e->name, ".s24.") ? ".s24.dense" : "");
            ck_assert(c && c->dtype == t->dtype && c->rank == t->rank && c->bytes == bytes_of(t));
            ck_assert(memcmp(file.data + c->offset, expected, bytes_of(t)) == 0);
        }
    }
    s24_source_close(plain);
    s24_source_close(dense);
}

/* One by one into memory; a pruned one out again into a file of its own. */
static void check_loaded(const model *m)
{
    s24_source *dense;
    s24_error err = {0};
    ck_assert_int_eq(s24_source_open(&dense, &io, "in.safetensors", NULL, &err), S24_OK);
    for (size_t i = 0; i < m->count; i++) {
        const tensor *const t = &m->tensors[i];
        const char *const name = dense->contents.entries[i].name;
        const unsigned char *const expected = m->expected.data + data_of(m, i);
        const char *const paths[] = {"m.s24", "back.safetensors", "one.s24"};
        if (t->axis >= 0) {
            s24_tensor *loaded;
            s24_prune_metrics metrics;
            ck_assert_msg(s24_tensor_load("m.s24", name, &loaded, &metrics, &err) == S24_OK, "%s", err.message);
            ck_assert_uint_eq(metrics.total_count, elements_of(t));
            unlink("one.s24");
            ck_assert_int_eq(s24_tensor_save("one.s24", name, loaded, "magnitude", &metrics, &err), S24_OK);
            ck_assert_int_eq(s24_tensor_save("one.s24", name, loaded, "magnitude", &metrics, &err), S24_ERR_SYSTEM);
            s24_tensor_free(loaded);
        }
        for (size_t k = 0; k < (t->axis >= 0 ? 3 : 2); k++) {
            s24_array array;
            ck_assert_msg(s24_array_load(paths[k], name, &array, &err) == S24_OK, "%s", err.message);
            ck_assert(array.dtype == t->dtype && array.rank == t->rank);
            ck_assert_msg(memcmp(array.data, expected, bytes_of(t)) == 0, "%s of %s", name, paths[k]);
            s24_array_free(&array);
        }
    }
    unlink("one.s24");
    s24_source_close(dense);
}

static const size_t panel_sizes[] = {2, 4, 6, 0};

START_TEST(there_and_back)
{
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", panel_sizes[_i]);
    told faults;
    s24_error err = {0};
    s24_report report = {0};
    ck_assert_msg(verify("m.s24", &faults, &err) == S24_OK, "%s %s", err.message, faults.first);
    ck_assert_int_eq(decompress("m.s24", "back.safetensors", &err), S24_OK);
    ck_assert(file_is("back.safetensors", m.expected));
    check_stored(&m, file);
    check_loaded(&m);
    ck_assert_int_eq(stats("m.s24", &report, &err), S24_OK);
    ck_assert_uint_eq(report.count, m.count);
    for (size_t i = 0; i < m.count; i++) {
        const s24_report_tensor *const t = &report.tensors[i];
        ck_assert_int_eq(t->axis, m.tensors[i].axis);
        ck_assert_int_eq(t->status == S24_TENSOR_DENSE, m.tensors[i].axis < 0);
        ck_assert_int_eq(!t->figures, m.tensors[i].axis < 0);
        ck_assert(!t->method == (m.tensors[i].axis < 0) && (!t->method || strcmp(t->method, "magnitude") == 0));
    }
    s24_report_free(&report);
    ck_assert_int_eq(walk_directory(true), 3);
    free(file.data);
    free_model(&m);
}
END_TEST

static const struct {
    const char *text;
    size_t shape[2]; /* of the only tensor, or of the one called w */
    int rank;
    double expected[8];
} json_files[] = {
    {"[1, -5, 3, 0.25, 7]", {5}, 1, {0, -5, 3, 0, 7}},
    {"[[1, 2, 3, 4], [8, 7, 6, 5]]", {2, 4}, 2, {0, 0, 3, 4, 8, 7, 0, 0}},
    {"{\"w\": [[1, 2, 3, 4]], \"bias\": [5, 6]}", {1, 4}, 2, {0, 0, 3, 4}},
    {"{\"bias\": [9], \"w\": [[2, 2, 2, 2]], \"w.s24.values\": [[1, 2, 3]]}", {1, 4}, 2, {2, 2, 0, 0}},
};

START_TEST(json_there_and_back)
{
    const char *const text = json_files[_i].text;
    s24_error err = {0};
    s24_array array = {0};
    told faults;
    spit("in.json", (bytes){(unsigned char *)(uintptr_t)text, strlen(text)});
    ck_assert_msg(prune(&io, "in.json", "j.s24", 2, &err) == S24_OK, "%s", err.message);
    ck_assert_int_eq(verify("j.s24", &faults, &err), S24_OK);
    ck_assert_int_eq(decompress("j.s24", "back.json", &err), S24_OK);
    const char *const paths[] = {"j.s24", "back.json"}, *const name = *text == '{' ? "w" : NULL; /* the only one */
    for (size_t k = 0; k < COUNT(paths); k++) {
        ck_assert_msg(s24_array_load(paths[k], name, &array, &err) == S24_OK, "%s", err.message);
        ck_assert(array.dtype == S24_F64 && array.rank == json_files[_i].rank);
        size_t n = 1;
        for (int d = 0; d < array.rank; d++) {
            ck_assert_uint_eq(array.shape[d], json_files[_i].shape[d]);
            n *= array.shape[d];
        }
        ck_assert(memcmp(array.data, json_files[_i].expected, n * sizeof(double)) == 0);
        s24_array_free(&array);
    }
    ck_assert_int_eq(walk_directory(true), 3);
}
END_TEST

/* Names that would make two stored tensors of one: refused before anything is written, by name. */
static const char *const clashing[] = {"__metadata__", ".s24.metrics"};

START_TEST(clashing_name)
{
    char text[128];
    s24_error err = {0};
    snprintf(text, sizeof text, "{\"%s\": [1, 2], \"w\": [[1, 2, 3, 4]]}", clashing[_i]);
    spit("in.json", (bytes){(unsigned char *)text, strlen(text)});
    ck_assert_int_eq(prune(&io, "in.json", "j.s24", 2, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, clashing[_i]), "%s", err.message);
    ck_assert_int_eq(walk_directory(true), 1);
}
END_TEST

/* An input is never replaced, not even one whose text has been decoded and closed. */
START_TEST(onto_itself)
{
    static const char *const names[] = {"in.json", "link.json", "hard.json"};
    static const char text[] = "[[1, 2, 3, 4]]";
    s24_error err = {0};
    spit("in.json", (bytes){(unsigned char *)(uintptr_t)text, strlen(text)});
    ck_assert_int_eq(symlink("in.json", "link.json"), 0);
    ck_assert_int_eq(link("in.json", "hard.json"), 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        ck_assert_int_eq(prune(&io, "in.json", names[i], 2, &err), S24_ERR_USAGE);
        ck_assert_ptr_nonnull(strstr(err.message, "is the input"));
    }
    ck_assert(file_is("in.json", (bytes){(unsigned char *)(uintptr_t)text, strlen(text)}));
    ck_assert_int_eq(walk_directory(true), 3);
}
END_TEST

/* Panel sizes that no reader takes are not written. */
START_TEST(bad_panel_sizes)
{
    static const size_t sizes[][2] = {{1, 64}, {3, 64}, {4, 63}, {4, 100}, {SIZE_MAX - 1, 64}, {4, (size_t)1 << 40}};
    model m = make_model(little, COUNT(little), "");
    s24_error err = {0};
    spit("in.safetensors", m.in);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const s24_prune_request q = {.input = "in.safetensors", .output = "m.s24", .dtype = S24_SAME,
                                     .panel_groups = sizes[i][0], .panel_bytes = sizes[i][1]};
        ck_assert_int_eq(s24_prune_file(&io, &q, NULL, &err), S24_ERR_USAGE);
    }
    ck_assert_int_eq(walk_directory(true), 1);
    free_model(&m);
}
END_TEST

/* ---------------------------------------------------------------- every bit, every cut */

/* What must hold of any damaged file "d.s24" that was "m.s24". */
static void check_damaged(const model *m, const s24_report *figures, const char *what, size_t where)
{
    s24_error err = {0};
    s24_report report = {0};
    told faults;
    const s24_status verdict = verify("d.s24", &faults, &err);
    ck_assert_msg(verdict == S24_ERR_CHECK || verdict == S24_ERR_DATA, "%s %zu: verify says %d", what, where, verdict);
    ck_assert_msg(verdict == S24_ERR_DATA || faults.count > 0, "%s %zu: no fault is told", what, where);
    ck_assert(err.message[0] && err.status == verdict);
    if (decompress("d.s24", "d.out", &err) == S24_OK) {
        ck_assert_msg(file_is("d.out", m->expected), "%s %zu: silently wrong", what, where);
        unlink("d.out");
    }
    if (stats("d.s24", &report, &err) == S24_OK) {
        ck_assert_msg(same_figures(&report, figures), "%s %zu: figures differ", what, where);
        s24_report_free(&report);
    }
    ck_assert_msg(!exists("d.out"), "%s %zu: an output after an error", what, where);
}

/* Of a file of another size not even the list of tensors is told. */
static void check_other_size(void)
{
    s24_error err = {0};
    s24_report report = {0};
    const s24_stats_request q = {.input = "d.s24", .header_only = true};
    ck_assert_int_eq(s24_stats_file(&io, &q, &report, &err), S24_ERR_DATA);
}

static void begin_damage(model *m, bytes *file, s24_report *figures)
{
    s24_error err = {0};
    *m = make_model(little, COUNT(little), "");
    *file = prune_model(m, "m.s24", 4);
    ck_assert_int_eq(stats("m.s24", figures, &err), S24_OK);
    spit("d.s24", *file);
    unlink("in.safetensors");
    unlink("m.s24");
}

static void end_damage(model *m, bytes *file, s24_report *figures)
{
    ck_assert_int_eq(walk_directory(true), 1); /* d.s24 alone: no temporary files */
    s24_report_free(figures);
    free(file->data);
    free_model(m);
}

#define SHARES 8 /* of the flips, so that a failure is found soon and no test runs into its time limit */

START_TEST(every_flip)
{
    model m;
    bytes file;
    s24_report figures = {0};
    begin_damage(&m, &file, &figures);
    if (_i == 0) {
        printf("test_plain: %zu bytes, %s flip\n", file.n, STRIDE > 1 ? "every 13th" : "every");
    }
    for (size_t bit = (size_t)_i; bit < 8 * file.n; bit += SHARES * STRIDE) {
        const unsigned char flipped = file.data[bit / 8] ^ (unsigned char)(1 << bit % 8);
        poke("d.s24", bit / 8, &flipped, 1);
        check_damaged(&m, &figures, "flip of bit", bit);
        poke("d.s24", bit / 8, &file.data[bit / 8], 1);
    }
    end_damage(&m, &file, &figures);
}
END_TEST

START_TEST(every_cut)
{
    model m;
    bytes file;
    s24_report figures = {0};
    begin_damage(&m, &file, &figures);
    for (size_t n = (size_t)_i; n < file.n; n += SHARES * STRIDE) {
        spit("d.s24", (bytes){file.data, n});
        check_damaged(&m, &figures, "cut to", n);
        check_other_size();
    }
    end_damage(&m, &file, &figures);
}
END_TEST

START_TEST(every_extension)
{
    model m;
    bytes file;
    s24_report figures = {0};
    begin_damage(&m, &file, &figures);
    bytes longer = {malloc(2 * file.n + 100), 0};
    ck_assert_ptr_nonnull(longer.data);
    memcpy(longer.data, file.data, file.n);
    for (size_t more = 1; more <= 100; more++) {
        longer.n = file.n + more;
        for (int kind = 0; kind < 3; kind++) { /* zeros, its own front, its own tail */
            for (size_t i = 0; i < more; i++) {
                const size_t from = kind == 1 || more > file.n ? i : file.n - more + i;
                longer.data[file.n + i] = kind ? file.data[from] : 0;
            }
            spit("d.s24", longer);
            check_damaged(&m, &figures, "longer by", more);
            check_other_size();
        }
    }
    memcpy(longer.data + file.n, file.data, file.n);
    longer.n = 2 * file.n;
    spit("d.s24", longer);
    check_damaged(&m, &figures, "twice", 2);
    free(longer.data);
    end_damage(&m, &file, &figures);
}
END_TEST

/* Through a pipe the size is not known beforehand: cuts and extensions must show all the same. */
static void feed_file(const char *path, bytes b, s24_status *verified, s24_status *unpacked);

START_TEST(cuts_through_pipes)
{
    model m;
    bytes file;
    s24_report figures = {0};
    begin_damage(&m, &file, &figures);
    bytes longer = {calloc(1, file.n + 1), file.n + 1};
    ck_assert_ptr_nonnull(longer.data);
    memcpy(longer.data, file.data, file.n);
    for (size_t n = 0; n <= longer.n; n += n + 80 < file.n ? 61 : 1) {
        s24_status verified, unpacked;
        feed_file("d.out", (bytes){longer.data, n}, &verified, &unpacked);
        ck_assert_msg((verified == S24_OK) == (n == file.n), "cut to %zu: verify says %d", n, verified);
        ck_assert_msg((unpacked == S24_OK) == (n == file.n), "cut to %zu: decompress says %d", n, unpacked);
        ck_assert(exists("d.out") == (n == file.n));
        unlink("d.out");
    }
    free(longer.data);
    end_damage(&m, &file, &figures);
}
END_TEST

/* All bits of the front, by which a pipe's format is found, and some of the rest. */
START_TEST(flips_through_pipes)
{
    model m;
    bytes file;
    s24_report figures = {0};
    begin_damage(&m, &file, &figures);
    for (size_t bit = 0; bit < 8 * file.n; bit += bit < 8 * 320 ? 1 : 41) {
        s24_status verified, unpacked;
        file.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        feed_file("d.out", file, &verified, &unpacked);
        ck_assert_msg(verified == S24_ERR_CHECK || verified == S24_ERR_DATA, "bit %zu: verify says %d", bit, verified);
        ck_assert_msg(unpacked == S24_ERR_DATA && !exists("d.out"), "bit %zu: decompress says %d", bit, unpacked);
        file.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    end_damage(&m, &file, &figures);
}
END_TEST

/* ---------------------------------------------------------------- panels, their places and their checks */

/* A .s24 file in memory whose layout is known, so that a test can damage it with intent. */
typedef struct opened {
    s24_source *source;
    s24_plain *plain;
    bytes file;
} opened;

static opened open_layout(const char *path)
{
    opened o = {.file = slurp(path)};
    s24_error err = {0};
    ck_assert_msg(s24_source_open(&o.source, &io, path, NULL, &err) == S24_OK, "%s", err.message);
    o.plain = s24_plain_of(o.source);
    return o;
}

static void close_layout(opened *o)
{
    s24_source_close(o->source);
    free(o->file.data);
}

/* Panel number `panel` of an entry. */
typedef struct part {
    s24_panel_place place;
    s24_plain_place at;
} part;

static size_t panel_count(const opened *o, const s24_entry *e)
{
    return e->packed ? s24_plain_panels(o->plain, e).count : s24_plain_carried_panels(o->plain, e);
}

static part part_of(const opened *o, const s24_entry *e, size_t panel)
{
    part p = {0};
    if (e->packed) {
        const s24_panels panels = s24_plain_panels(o->plain, e);
        p.place = s24_panel_at(&panels, panel);
        p.at = s24_plain_panel_place(e, &p.place);
    } else {
        const size_t from = panel * o->plain->panel_bytes, left = (size_t)e->bytes - from;
        p.at.plane[S24_VALUES].at = e->offset + from;
        p.at.plane[S24_VALUES].bytes = p.at.bytes = left < o->plain->panel_bytes ? left : o->plain->panel_bytes;
    }
    return p;
}

/* Between a panel's planes in a file and one behind another. */
static void move_part(unsigned char *data, const part *p, unsigned char *panel, bool out)
{
    for (int k = 0; k < S24_PLANES; panel += p->at.plane[k++].bytes) {
        unsigned char *const in = data + p->at.plane[k].at;
        memcpy(out ? panel : in, out ? in : panel, p->at.plane[k].bytes);
    }
}

/* Sets the check over an entry's checks; with `panels` those of its panels, too. */
static void reseal_entry(opened *o, const s24_entry *e, uint64_t hash, bool panels)
{
    unsigned char *const data = o->file.data, buffer[1 << 12];
    for (size_t i = 0; panels && i < panel_count(o, e); i++) {
        const part p = part_of(o, e, i);
        ck_assert_uint_le(p.at.bytes, sizeof buffer);
        move_part(data, &p, buffer, true);
        s24_put_u64(data + e->checks + 8 * i, XXH3_64bits_withSeed(buffer, p.at.bytes, hash + p.at.plane[S24_VALUES].at));
    }
    const size_t n = (size_t)e->checks_bytes - 8;
    s24_put_u64(data + e->checks + n, XXH3_64bits_withSeed(data + e->checks, n, hash + e->checks));
}

static void reseal_record(unsigned char *record)
{
    s24_put_u64(record + 56, XXH3_64bits(record, 56));
}

/* Makes every hash and check of the file right for what it holds now. */
static void reseal(opened *o)
{
    unsigned char *const data = o->file.data;
    const size_t n = o->plain->header_bytes;
    const uint64_t hash = XXH3_64bits(data, n);
    memcpy(data + o->plain->copy, data, n);
    s24_put_u64(data + n + 32, hash);
    s24_put_u64(data + o->plain->tail + 32, hash);
    reseal_record(data + n);
    reseal_record(data + o->plain->tail);
    for (size_t i = 0; i < o->source->contents.count; i++) {
        reseal_entry(o, &o->source->contents.entries[i], hash, true);
    }
    reseal_entry(o, &o->plain->metrics, hash, true);
}

static void swap_bytes(unsigned char *a, unsigned char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

static void expect_damage(const bytes *file, const char *what)
{
    told faults;
    s24_error err = {0};
    spit("d.s24", *file);
    ck_assert_msg(verify("d.s24", &faults, &err) == S24_ERR_CHECK, "%s: not seen", what);
    ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
    ck_assert(!exists("d.out"));
}

/* Panels i and j of an entry change places, or j becomes a second i; also with their checks, sealed anew. */
static void move_panels(opened *o, const s24_entry *e, size_t i, size_t j, bool swapping)
{
    const part p = part_of(o, e, i), q = part_of(o, e, j);
    const bytes whole = copy_of(o->file);
    unsigned char *const d = o->file.data;
    if (p.at.bytes == q.at.bytes) {
        for (int k = 0; k < S24_PLANES; k++) {
            if (swapping) {
                swap_bytes(d + p.at.plane[k].at, d + q.at.plane[k].at, p.at.plane[k].bytes);
            } else {
                memcpy(d + q.at.plane[k].at, d + p.at.plane[k].at, p.at.plane[k].bytes);
            }
        }
        if (!same(o->file, whole)) {
            expect_damage(&o->file, "panels moved");
            if (swapping) {
                swap_bytes(d + e->checks + 8 * i, d + e->checks + 8 * j, 8);
            } else {
                memcpy(d + e->checks + 8 * j, d + e->checks + 8 * i, 8);
            }
            expect_damage(&o->file, "panels and checks moved");
            reseal_entry(o, e, o->plain->hash, false);
            expect_damage(&o->file, "panels and checks moved and sealed");
        }
    }
    memcpy(d, whole.data, whole.n);
    free(whole.data);
}

START_TEST(moved_panels)
{
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    told faults;
    s24_error err = {0};
    reseal(&o);
    ck_assert(same(o.file, file)); /* the test seals as the library does */
    spit("d.s24", o.file);
    ck_assert_int_eq(verify("d.s24", &faults, &err), S24_OK);
    for (size_t i = 0; i < o.source->contents.count; i++) {
        const s24_entry *const e = &o.source->contents.entries[i];
        for (size_t panel = 0; panel + 1 < panel_count(&o, e); panel++) {
            move_panels(&o, e, panel, panel + 1, true);
            move_panels(&o, e, panel, panel + 1, false);
        }
    }
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* From a file of the same header, and from one of another, in which the panel is even the same. */
START_TEST(foreign_panels)
{
    model m = make_model(everything, COUNT(everything), METADATA), m2 = make_model(everything, COUNT(everything), METADATA);
    model other = make_model(everything, COUNT(everything), ""); /* less metadata: another header */
    memcpy(other.in.data + other.data, m.in.data + m.data, m.in.n - m.data);
    bytes file = prune_model(&m, "m.s24", 4), twin = prune_model(&m2, "t.s24", 4), third = prune_model(&other, "o.s24", 4);
    opened o = open_layout("m.s24"), o3 = open_layout("o.s24");
    const uint64_t shift = o.plain->header_bytes - o3.plain->header_bytes;
    ck_assert_uint_gt(shift, 0);
    for (size_t i = 0; i < o.source->contents.count; i++) {
        const s24_entry *const e = &o.source->contents.entries[i];
        for (size_t panel = 0; panel < panel_count(&o, e); panel++) {
            const part p = part_of(&o, e, panel);
            for (int k = 0; k < S24_PLANES; k++) {
                memcpy(file.data + p.at.plane[k].at, twin.data + p.at.plane[k].at, p.at.plane[k].bytes);
            }
            if (!same(file, o.file)) {
                expect_damage(&file, "a panel of a twin");
            }
            memcpy(file.data, o.file.data, file.n);
            /* Same panel, foreign check: the seed is the other header's. */
            memcpy(file.data + e->checks + 8 * panel, third.data + e->checks - shift + 8 * panel, 8);
            reseal_entry(&(opened){o.source, o.plain, file}, e, o.plain->hash, false);
            expect_damage(&file, "a foreign check");
            memcpy(file.data, o.file.data, file.n);
        }
    }
    close_layout(&o);
    close_layout(&o3);
    free(file.data);
    free(twin.data);
    free(third.data);
    free_model(&m);
    free_model(&m2);
    free_model(&other);
}
END_TEST

/* ---------------------------------------------------------------- salvage */

/* Whether `data` is what a lost element must be: NaN, 0 of integers and of what has no NaN. */
static bool is_lost(s24_dtype dtype, const unsigned char *data)
{
    const s24_dtype_info *const info = s24_info(dtype);
    if (dtype == S24_C64) {
        return is_lost(S24_F32, data) && is_lost(S24_F32, data + 4);
    }
    if (dtype == S24_F8E8M0) {
        return *data == 0xff;
    }
    const uint64_t bits = s24_load(data, info->bytes, 0);
    if (info->kind == S24_KIND_IEEE) {
        return (bits & info->magnitude_mask) > info->nonfinite_key;
    }
    return info->kind == S24_KIND_FN ? (bits & 0x7f) == 0x7f : bits == 0;
}

/* A byte a byte of the dense file: 1 where a damaged panel takes it with it. */
static void mark_lost(const model *m, unsigned char *lost, size_t index, const part *p, size_t panel, size_t panel_bytes)
{
    const tensor *const t = &m->tensors[index];
    const unsigned width = s24_info(t->dtype)->bytes;
    const rows_of r = rows_along(t);
    if (t->axis < 0) {
        memset(lost + data_of(m, index) + panel * panel_bytes, 1, p->at.bytes);
        return;
    }
    for (size_t row = p->place.row; row < p->place.row + p->place.rows; row++) {
        for (size_t g = p->place.group; g < p->place.group + p->place.groups; g++) {
            for (size_t col = 4 * g; col < 4 * g + 4 && col < r.k; col++) {
                memset(lost + data_of(m, index) + element_at(r, row, col) * width, 1, width);
            }
        }
    }
}

/* Everything but the marked elements is there, bit for bit; these are NaN. */
static void check_salvaged(const model *m, const unsigned char *lost, const char *what)
{
    const bytes got = slurp("d.out");
    ck_assert_uint_eq(got.n, m->expected.n);
    ck_assert(memcmp(got.data, m->expected.data, m->data) == 0);
    for (size_t i = 0; i < m->count; i++) {
        const unsigned bits = s24_info(m->tensors[i].dtype)->bits, width = bits % 8 ? 1 : bits / 8;
        for (size_t at = data_of(m, i); at < data_of(m, i) + bytes_of(&m->tensors[i]); at += width) {
            const bool right = !lost[at] ? memcmp(got.data + at, m->expected.data + at, width) == 0
                               : bits % 8 ? got.data[at] == 0 : is_lost(m->tensors[i].dtype, got.data + at);
            ck_assert_msg(right, "%s: %s, byte %zu%s", what, m->tensors[i].name, at - data_of(m, i),
                          lost[at] ? " is no NaN" : "");
        }
    }
    free(got.data);
    unlink("d.out");
}

static void damage_panel(const model *m, const opened *o, size_t index, size_t panel, int plane)
{
    const s24_entry *const e = &o->source->contents.entries[index];
    const part p = part_of(o, e, panel);
    const uint64_t at = p.at.plane[plane].at + (plane == S24_VALUES ? p.at.plane[plane].bytes / 2 : p.at.plane[plane].bytes - 1);
    const unsigned char wrong = o->file.data[at] ^ 0x10;
    unsigned char *const lost = calloc(m->expected.n, 1);
    ck_assert_ptr_nonnull(lost);
    mark_lost(m, lost, index, &p, panel, o->plain->panel_bytes);
    poke("d.s24", at, &wrong, 1);
    told parts, faults;
    s24_error err = {0};
    ck_assert_int_eq(salvage("d.s24", "d.out", &parts, &err), S24_ERR_DATA);
    ck_assert_int_eq(parts.count, 1);
    ck_assert_msg(strstr(parts.first, e->name) && strstr(parts.first, "lost"), "%s", parts.first);
    check_salvaged(m, lost, "a panel");
    ck_assert_int_eq(verify("d.s24", &faults, &err), S24_ERR_CHECK);
    ck_assert_int_eq(faults.count, 1);
    poke("d.s24", at, &o->file.data[at], 1);
    free(lost);
}

START_TEST(salvage_each_panel)
{
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", panel_sizes[_i]);
    opened o = open_layout("m.s24");
    spit("d.s24", file);
    for (size_t i = 0; i < m.count; i++) {
        const s24_entry *const e = &o.source->contents.entries[i];
        for (size_t panel = 0; panel < panel_count(&o, e); panel++) {
            damage_panel(&m, &o, i, panel, S24_VALUES);
            if (e->packed) {
                damage_panel(&m, &o, i, panel, S24_POSITIONS);
            }
        }
    }
    ck_assert_int_eq(walk_directory(true), 3);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Damaged checks cost the panel whose check it was, and no other. */
START_TEST(salvage_each_check)
{
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    unsigned char *const lost = malloc(m.expected.n);
    told parts;
    s24_error err = {0};
    spit("d.s24", file);
    for (size_t i = 0; i < m.count; i++) {
        const s24_entry *const e = &o.source->contents.entries[i];
        for (size_t at = 3; at < e->checks_bytes; at += 8) {
            const size_t panel = at / 8;
            const unsigned char wrong = file.data[e->checks + at] ^ 1;
            memset(lost, 0, m.expected.n);
            if (panel < panel_count(&o, e)) {
                const part p = part_of(&o, e, panel);
                mark_lost(&m, lost, i, &p, panel, o.plain->panel_bytes);
            }
            poke("d.s24", e->checks + at, &wrong, 1);
            ck_assert_int_eq(salvage("d.s24", "d.out", &parts, &err), S24_ERR_DATA);
            ck_assert_int_eq(parts.count, panel < panel_count(&o, e) ? 2 : 1);
            check_salvaged(&m, lost, "a check");
            poke("d.s24", e->checks + at, &file.data[e->checks + at], 1);
        }
    }
    free(lost);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* n bytes from `at` on are gone; what is left tells everything. */
static void expect_recovery(const model *m, const opened *o, uint64_t at, size_t n, const char *what)
{
    const bytes damaged = copy_of(o->file);
    told parts, faults;
    s24_error err = {0};
    unsigned char *const none = calloc(m->expected.n, 1);
    memset(damaged.data + at, 0xa5, n);
    spit("d.s24", damaged);
    const s24_status status = salvage("d.s24", "d.out", &parts, &err);
    ck_assert_msg(status == S24_OK && parts.count == 0, "%s: %s %s", what, err.message, parts.first);
    check_salvaged(m, none, what);
    ck_assert_int_eq(verify("d.s24", &faults, &err), S24_ERR_CHECK);
    ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "damaged"));
    free(none);
    free(damaged.data);
}

START_TEST(salvage_without_header)
{
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    const size_t header = o.plain->header_bytes;
    for (size_t at = 0; at < header; at += 97) {
        expect_recovery(&m, &o, at, 1, "header");
    }
    expect_recovery(&m, &o, 0, 8, "length");
    expect_recovery(&m, &o, 0, header, "all of the header");
    expect_recovery(&m, &o, 0, header + 64, "header and head");
    for (size_t i = 0; i < 64; i++) {
        expect_recovery(&m, &o, header + i, 1, "head");
        expect_recovery(&m, &o, o.plain->tail + i, 1, "tail");
    }
    expect_recovery(&m, &o, header, 64, "all of the head");
    expect_recovery(&m, &o, o.plain->tail, 64, "all of the tail");
    expect_recovery(&m, &o, o.plain->copy, header, "all of the copy");
    expect_recovery(&m, &o, o.plain->copy, header + 64, "copy and tail");
    expect_recovery(&m, &o, o.plain->metrics.offset, 8, "metrics");
    o.file.data[o.plain->tail] ^= 1; /* then head and copy are left, and the front need not say what it is */
    expect_recovery(&m, &o, 8, header - 8, "header but for its length, and tail");
    expect_recovery(&m, &o, o.plain->tail, 8, "tail");
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/*
 * A front that ends with its head, behind the largest header that there may be: blanks make it as long, and the copy at the
 * end, which is not there, would be. The tensors are known, and lost.
 */
START_TEST(salvage_behind_the_largest_header)
{
    static const char copy[] = "\".s24.header\":";
    const size_t largest = (S24_ST_HEADER_MAX + 8) / 64 * 64;
    model m = make_model(little, COUNT(little), "");
    const bytes file = prune_model(&m, "m.s24", 4);
    bytes front = {malloc(largest + 128), largest + 64};
    unsigned char *const lost = malloc(m.expected.n);
    opened o = open_layout("m.s24");
    told parts;
    s24_error err = {0};
    const unsigned char *const in_front = memmem(file.data, o.plain->header_bytes, copy, strlen(copy));
    const size_t before = (size_t)(in_front - file.data);
    const unsigned long long at = o.plain->copy - o.plain->header_bytes, end = at + largest;
    memcpy(front.data, file.data, before);
    memset(front.data + before, ' ', largest - before);
    const int n = snprintf((char *)front.data + before, 300, "%s{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%llu,"
                           "%llu]},\".s24.tail\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[%llu,%llu]}}", copy,
                           largest, at, end, end, end + 64);
    front.data[before + (size_t)n] = ' ';
    s24_put_u64(front.data, largest - 8);
    const s24_plain described = {.header_bytes = largest, .hash = XXH3_64bits(front.data, largest), .copy = largest + at,
                                 .file_size = largest + end + 64};
    s24_plain_record(&described, "S24HEAD", front.data + largest);
    memset(lost, 1, m.expected.n);
    spit("d.s24", front);
    ck_assert_int_eq(salvage("d.s24", "d.out", &parts, &err), S24_ERR_DATA);
    ck_assert_msg(parts.count > 0, "%s", err.message);
    check_salvaged(&m, lost, "all but the largest header");
    memset(front.data + largest, 0, 64); /* no head, and no place behind where one could be */
    front.n += 64;
    s24_plain_record(&described, "S24HEAD", front.data + largest + 64);
    spit("d.s24", front);
    ck_assert_int_eq(salvage("d.s24", "d.out", &parts, &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, "neither its header nor the copy"), "%s", err.message);
    free(lost);
    free(front.data);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Header and copy both damaged: nothing can be known, and nothing is written. */
START_TEST(salvage_nothing)
{
    model m = make_model(little, COUNT(little), "");
    bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    told parts;
    s24_error err = {0};
    file.data[o.plain->header_bytes / 2] ^= 1;
    file.data[o.plain->copy + o.plain->header_bytes / 2] ^= 1;
    spit("d.s24", file);
    ck_assert_int_eq(salvage("d.s24", "d.out", &parts, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "beyond recovery"));
    ck_assert(!exists("d.out"));
    for (size_t n = 1; n < 16; n++) { /* not even a length, or one that cannot be */
        const s24_read_options options = {.format = "s24", .salvage = true};
        s24_source *source;
        memset(file.data, n < 8 ? 0 : 0xff, 16);
        spit("d.s24", (bytes){file.data, n});
        ck_assert_int_eq(s24_source_open(&source, &io, "d.s24", &options, &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, "beyond recovery"), "%zu bytes: %s", n, err.message);
    }
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Every cut behind the head: the panels before the cut are recovered. */
START_TEST(salvage_every_cut)
{
    model m = make_model(little, COUNT(little), "");
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    unsigned char *const lost = malloc(m.expected.n);
    for (size_t n = 1; n < file.n; n++) {
        told parts;
        s24_error err = {0};
        bool any = false;
        memset(lost, 0, m.expected.n);
        for (size_t i = 0; i < m.count; i++) {
            const s24_entry *const e = &o.source->contents.entries[i];
            for (size_t panel = 0; panel < panel_count(&o, e); panel++) {
                const part p = part_of(&o, e, panel);
                if (n < e->checks + e->checks_bytes) { /* checks are read as a whole or not at all */
                    mark_lost(&m, lost, i, &p, panel, o.plain->panel_bytes);
                    any = true;
                }
            }
        }
        spit("d.s24", (bytes){file.data, n});
        const s24_status status = salvage("d.s24", "d.out", &parts, &err);
        if (n < o.plain->header_bytes + 64) {
            ck_assert_int_eq(status, S24_ERR_DATA);
            ck_assert(!exists("d.out"));
        } else {
            ck_assert_int_eq(status, any ? S24_ERR_DATA : S24_OK);
            check_salvaged(&m, lost, "a cut");
        }
    }
    free(lost);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Salvage of every third flip: the output is right or NaN, element by element. */
START_TEST(salvage_flips)
{
    model m;
    bytes file;
    s24_report figures = {0};
    begin_damage(&m, &file, &figures);
    for (size_t bit = (size_t)_i; bit < 8 * file.n; bit += 3 * SHARES * STRIDE) {
        const unsigned char flipped = file.data[bit / 8] ^ (unsigned char)(1 << bit % 8);
        told parts;
        s24_error err = {0};
        poke("d.s24", bit / 8, &flipped, 1);
        const s24_status status = salvage("d.s24", "d.out", &parts, &err);
        ck_assert_msg(status == S24_OK || (status == S24_ERR_DATA && parts.count), "bit %zu: %s", bit, err.message);
        const bytes got = slurp("d.out");
        ck_assert_uint_eq(got.n, m.expected.n);
        for (size_t i = 0; i < m.count; i++) {
            const unsigned width = s24_info(m.tensors[i].dtype)->bytes;
            for (size_t at = data_of(&m, i); at < data_of(&m, i) + bytes_of(&m.tensors[i]); at += width) {
                ck_assert_msg(memcmp(got.data + at, m.expected.data + at, width) == 0 ||
                              (parts.count && is_lost(m.tensors[i].dtype, got.data + at)), "bit %zu", bit);
            }
        }
        free(got.data);
        unlink("d.out");
        poke("d.s24", bit / 8, &file.data[bit / 8], 1);
    }
    end_damage(&m, &file, &figures);
}
END_TEST

/* ---------------------------------------------------------------- headers that lie, with every hash right */

#define LITTLE_METADATA "\"__metadata__\":{\"NNNNNNNNN\":\"zip\",\"OOOOOOO\":\"\",\"PPPPPPP\":\"cpu\",\"QQQQQQQQQ\":\"\"}"

static const struct {
    const char *from, *to; /* of the same length */
    int nth;               /* which occurrence, from 0 */
    const char *message;   /* NULL: it is taken */
} lies[] = {
    {"\"s24\":\"1\"", "\"s24\":\"2\"", 0, "s24 is not \"1\""},
    {"\"s24.layout\"", "\"s24_layout\"", 0, "s24.layout is missing"},
    {"\"s24.file\"", "\"s24_file\"", 0, "s24.file is missing"},
    {"\"s24.tensors\"", "\"s24_tensors\"", 0, "s24.tensors is missing"},
    {"\"NNNNNNNNN\"", "\"s24.needs\"", 0, "zip"},
    {"\"OOOOOOO\"", "\"s24.foo\"", 0, "s24.foo"},
    {"\"PPPPPPP\"", "\"s24.may\"", 0, NULL},
    {"\"QQQQQQQQQ\"", "\"s24.needs\"", 0, NULL},
    {"\\\"f16\\\"", "1000000", 0, "s24.tensors"},
    {"\\\"magnitude\\\"", "1000000000000", 0, "s24.tensors"},
    {"\\\"method\\\":", "\\\"order\\\" :", 0, "s24.tensors"},
    {"\\\"reason\\\"", "\\\"endian\\\"", 0, "s24.tensors"},
    {"\\\"reason\\\":\\\"dtype i16\\\"", "\\\"reason\\\":1000000000000", 0, "s24.tensors"},
    {"\\\"reason\\\":\\\"dtype i16\\\"", "\\\"order\\\" :1000000000000", 0, "s24.tensors"},
    {"\\\"shape\\\":[40]", "\\\"shape\\\":[-1]", 0, "shape"},
    {"panel_groups\\\":4", "panel_groups\\\":3", 0, "s24.layout"},
    {"panel_groups\\\":4", "panel_groups\\\":0", 0, "s24.layout"},
    {"panel_groups\\\":4", "panel_groupz\\\":4", 0, "s24.layout"},
    {"panel_bytes\\\":64", "panel_bytes\\\":63", 0, "s24.layout"},
    {"panel_bytes\\\":64", "panel_bytes\\\":-1", 0, "s24.layout"},
    {"{\\\"panel_groups", "[\\\"panel_groups", 0, "s24.layout is no JSON"},
    {"\\\"tool\\\"", "\\\"tuul\\\"", 0, "s24.file lacks"},
    {"\\\"container\\\"", "\\\"kontainer\\\"", 0, "s24.file lacks"},
    {"[{\\\"name", "{\\\"names", 0, "s24.tensors is no JSON"},
    {"\\\"name\\\":\\\"w\\\"", "\\\"name\\\":\\\"u\\\"", 0, "values are not where"},
    {"\\\"name\\\":\\\"w\\\"", "\\\"gnam\\\":\\\"w\\\"", 0, "s24.tensors"},
    {"\\\"name\\\":\\\"v\\\"", "\\\"name\\\":\\\"u\\\"", 0, "v is not what"},
    {"\\\"dtype\\\":\\\"f16\\\"", "\\\"dtype\\\":\\\"f17\\\"", 0, "s24.tensors"},
    {"\\\"dtype\\\":\\\"f16\\\"", "\\\"dtype\\\":\\\"i64\\\"", 0, "cannot be pruned"},
    {"\\\"dtype\\\":\\\"i16\\\"", "\\\"dtype\\\":\\\"u16\\\"", 0, "v is not what"},
    {"\\\"shape\\\":[4,8]", "\\\"shape\\\":[8,4]", 0, "w.s24.values is not what"},
    {"\\\"shape\\\":[4,8]", "\\\"shape\\\":[4,4]", 0, "w.s24.values is not what"},
    {"\\\"shape\\\":[4,8]", "\\\"shape\\\":[4,7]", 0, ""}, /* as many groups; the metrics tell */
    {"\\\"shape\\\":[4,8]", "\\\"shape\\\":[3,8]", 0, "w.s24.values is not what"},
    {"\\\"shape\\\":[4,8]", "\\\"shape\\\":\\\"4\\\"", 0, "s24.tensors"},
    {"\\\"shape\\\":[4,8]", "\\\"shape\\\":[-48]", 0, "shape"},
    {"\\\"shape\\\":[4,8],\\\"axis\\\":1", "\\\"shape\\\":[9e15,9e15]     ", 0, "elements"},
    {"\\\"shape\\\":[40]", "\\\"shape\\\":[41]", 0, "v is not what"},
    {"\\\"shape\\\":[40]", "\\\"shape\\\":1040", 0, "s24.tensors"},
    {"\\\"axis\\\":1", "\\\"axis\\\":0", 0, "w.s24.values is not what"},
    {"\\\"axis\\\":1", "\\\"axis\\\":7", 0, "axis"},
    {"\\\"axis\\\":1", "\\\"oxis\\\":1", 0, "axis"},
    {"\\\"method\\\"", "\\\"methud\\\"", 0, "what only a pruned one has"},
    {"\\\"magnitude\\\"", "\\\"saintness\\\"", 0, NULL}, /* who chose does not matter to who reads */
    {"\"w.s24.values\":{\"dtype\":\"F16\"", "\"w.s24.values\":{\"dtype\":\"I16\"", 0, "values are not where"},
    {"\"w.s24.values\":{\"dtype\":\"F16\"", "\"w.s24.values\":{\"dtype\":\"U8\" ", 0, "data_offsets"},
    {"\"w.s24.positions\"", "\"w.s24.positionz\"", 0, "w.s24.positionz is not what"},
    {"\"w.s24.checks\"", "\"w.s24.chocks\"", 0, "w.s24.chocks is not what"},
    {"\".s24.tail\"", "\".s24.tale\"", 0, ".s24.tale is not what"},
    {"\".s24.head\"", "\".s24.haed\"", 0, ".s24.haed is not what"},
    {"\"w.s24.positions\":{\"dtype\":\"U8\",\"shape\":[4,1]", "\"w.s24.positions\":{\"dtype\":\"U8\",\"shape\":[2,2]", 0,
     "w.s24.positions is not what"},
    {"\"w.s24.positions\":{\"dtype\":\"U8\",\"shape\":[4,1]", "\"w.s24.positions\":{\"dtype\":\"I8\",\"shape\":[4,1]", 0,
     "w.s24.positions is not what"},
    {"\"data_offsets\":[64,", "\"data_offsets\":[65,", 0, "data_offsets"},
};

/* Replaces in header (and copy) and makes all hashes right. */
static void lie(opened *o, const char *from, const char *to, int nth)
{
    const size_t n = strlen(from);
    unsigned char *at = o->file.data;
    ck_assert_uint_eq(n, strlen(to));
    for (; at + n <= o->file.data + o->plain->header_bytes; at++) {
        if (memcmp(at, from, n) == 0 && nth-- == 0) {
            memcpy(at, to, n);
            reseal(o);
            spit("d.s24", o->file);
            return;
        }
    }
    ck_abort_msg("%s is not in the header", from);
}

/* Damage is a failed check; what only a newer s24 knows is no damage, and an input that this one cannot judge. */
static void expect_verdict(const char *path, const char *message, const char *what)
{
    told faults;
    s24_error err = {0};
    const s24_status verdict = verify(path, &faults, &err);
    if (verdict == S24_ERR_DATA) {
        ck_assert_msg(err.sys_errno == ENOTSUP && strstr(err.message, message) && strstr(err.message, "newer"), "%s: %s",
                      what, err.message);
    } else {
        ck_assert_msg(verdict == S24_ERR_CHECK && strstr(faults.first, message) && !strstr(faults.first, "newer"),
                      "%s: %d, %s", what, verdict, faults.first);
    }
}

START_TEST(lying_headers)
{
    model m = make_model(little, COUNT(little), LITTLE_METADATA);
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    told faults, parts;
    s24_error err = {0};
    lie(&o, lies[_i].from, lies[_i].to, lies[_i].nth);
    const char *const message = lies[_i].message;
    const s24_status verdict = verify("d.s24", &faults, &err), status = decompress("d.s24", "d.out", &err);
    if (message) {
        expect_verdict("d.s24", message, lies[_i].to);
        ck_assert_msg(status == S24_ERR_DATA && strstr(err.message, message), "%s: %d, %s", lies[_i].to, status,
                      err.message);
        ck_assert(!exists("d.out"));
        ck_assert(!*message || salvage("d.s24", "d.out", &parts, &err) == S24_ERR_DATA);
        ck_assert(!*message || !exists("d.out"));
    } else {
        const bytes got = slurp("d.out"); /* the metadata may differ, the tensors may not */
        const size_t n = m.expected.n - m.data;
        ck_assert(verdict == S24_OK && status == S24_OK && got.n >= n);
        ck_assert(memcmp(got.data + got.n - n, m.expected.data + m.data, n) == 0);
        free(got.data);
    }
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* He who wants no message gets the same answers. */
START_TEST(without_messages)
{
    model m = make_model(little, COUNT(little), LITTLE_METADATA);
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    told faults;
    s24_error err = {0};
    s24_report report = {0};
    ck_assert_int_eq(verify("m.s24", &faults, NULL), S24_OK);
    ck_assert_int_eq(decompress("m.s24", "d.out", NULL), S24_OK);
    lie(&o, lies[_i].from, lies[_i].to, lies[_i].nth);
    ck_assert_int_eq(verify("d.s24", &faults, NULL), verify("d.s24", &faults, &err));
    ck_assert_int_eq(decompress("d.s24", "d.out", NULL), decompress("d.s24", "d.out", &err));
    const s24_status status = stats("d.s24", &report, NULL);
    s24_report_free(&report);
    ck_assert_int_eq(status, stats("d.s24", &report, &err));
    s24_report_free(&report);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* A layout that is another one: as many panels, but other ones. */
START_TEST(other_panels)
{
    model m = make_model(little, COUNT(little), "");
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    lie(&o, "panel_groups\\\":4", "panel_groups\\\":2", 0);
    expect_damage(&o.file, "other panels");
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

static const struct {
    size_t at;         /* in the record */
    unsigned char byte;
    const char *message;
} records[] = {
    {8, 2, "version 2"},
    {8, 0, "version 0"},
    {11, 1, "version 16777217"},
    {12, 1, "(0x1)"},
    {15, 0x80, "(0x80000000)"},
    {48, 1, "reserved field"},
    {16, 1, "header"},      /* its length */
    {24, 1, "contradicts"}, /* the file's */
    {40, 1, "contradicts"}, /* where the copy is */
};

START_TEST(lying_records)
{
    model m = make_model(little, COUNT(little), "");
    bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    s24_error err = {0};
    unsigned char *const head = file.data + o.plain->header_bytes, *const tail = file.data + o.plain->tail;
    head[records[_i].at] = records[_i].byte;
    reseal_record(head);
    spit("d.s24", file);
    expect_verdict("d.s24", records[_i].message, "head");
    ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
    ck_assert_msg(strstr(err.message, records[_i].message), "%s", err.message);
    poke("d.s24", 0, (const unsigned char[8]){0}, 8); /* and no header at all where it should be */
    ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "its header's length, 0, cannot be"));
    memcpy(head, o.file.data + o.plain->header_bytes, 64);
    tail[records[_i].at] = records[_i].byte; /* and the tail alone */
    reseal_record(tail);
    expect_damage(&file, "tail");
    if (strcmp(records[_i].message, "contradicts") != 0) { /* then its header is none, and the head tells everything */
        unsigned char *const none = calloc(m.expected.n, 1);
        told parts;
        spit("d.s24", file);
        ck_assert_msg(salvage("d.s24", "d.out", &parts, &err) == S24_OK && parts.count == 0, "%s", err.message);
        check_salvaged(&m, none, "a tail that lies");
        free(none);
    }
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* ---------------------------------------------------------------- not canonical, with every check right */

static const tensor padded[] = {{"take.w", S24_F16, 1, 2, {3, 7}}, {"take.v", S24_F32, 1, 2, {3, 9}}};

typedef struct oddity {
    const char *what;
    bool refused; /* by decompress, too: it cannot know what is meant */
    void (*make)(opened *o, const s24_entry *e);
} oddity;

static unsigned char *positions_of(opened *o, const s24_entry *e)
{
    return o->file.data + s24_plain_offset(e, S24_POSITIONS);
}

static void equal_indices(opened *o, const s24_entry *e)
{
    positions_of(o, e)[0] = (unsigned char)(positions_of(o, e)[0] & 0xf0);
}

static void descending_indices(opened *o, const s24_entry *e)
{
    positions_of(o, e)[0] = (unsigned char)((positions_of(o, e)[0] & 0x0f) | 0x30); /* 0 | 3 << 2 is 0xc; this is 3, 0 */
}

static void pad_nibble(opened *o, const s24_entry *e) /* of the second tensor: 3 groups a row */
{
    const s24_entry *const odd = e + 1;
    positions_of(o, odd)[1] |= 0x40;
}

static void pad_slot(opened *o, const s24_entry *e) /* row 0, group 1: its fourth element lies beyond the row */
{
    positions_of(o, e)[0] = (unsigned char)((positions_of(o, e)[0] & 0x0f) | 0xc0);
    s24_store(o->file.data + e->offset, 2, 3, 0x3c00);
}

static const oddity oddities[] = {
    {"equal indices", true, equal_indices},
    {"descending indices", true, descending_indices},
    {"a pad nibble", false, pad_nibble},
    {"a pad slot", false, pad_slot},
};

START_TEST(not_canonical)
{
    model m = make_model(padded, COUNT(padded), "");
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    told faults;
    s24_error err = {0};
    s24_tensor *loaded;
    oddities[_i].make(&o, &o.source->contents.entries[0]);
    reseal(&o);
    spit("d.s24", o.file);
    ck_assert_int_eq(verify("d.s24", &faults, &err), S24_ERR_CHECK);
    ck_assert_int_eq(faults.count, 1);
    ck_assert_ptr_nonnull(strstr(faults.first, "positions or padding"));
    if (oddities[_i].refused) {
        ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
        ck_assert(!exists("d.out"));
        ck_assert_int_eq(s24_tensor_load("d.s24", "take.w", &loaded, NULL, &err), S24_ERR_DATA);
        ck_assert(strstr(err.message, "d.s24"));
    } else {
        ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_OK);
        const bytes got = slurp("d.out");
        ck_assert_uint_eq(got.n, m.expected.n); /* nothing of the padding comes out, in particular not beyond the rows */
        free(got.data);
    }
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Every byte in every place of a row, long enough to be looked at by sixteens: it is two nibbles of ascending indices, or named. */
START_TEST(every_nibble)
{
    enum { GROUPS = 51 };
    const size_t shape[] = {2, 4 * GROUPS};
    s24_pruned pruned;
    const s24_entry e = {.stored = S24_F16, .pruned = &pruned};
    s24_error err;
    ck_assert_int_eq(s24_geometry_init(&pruned.geometry, S24_F16, 2, shape, 1, NULL, &err), S24_OK);
    const s24_panel_place place = {.rows = 2, .groups = GROUPS};
    uint8_t planes[2 * 2 * GROUPS * 2 + 2 * (GROUPS + 1) / 2] = {0}, *const positions = planes + 2 * 2 * GROUPS * 2;
    const size_t n = 2 * (GROUPS + 1) / 2;
    for (size_t at = 0; at < n; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            s24_fault fault = {0};
            memset(positions, 0xe4, n); /* 0 and 1; 2 and 3 */
            positions[GROUPS / 2] = positions[n - 1] = 0x04;
            positions[at] = (uint8_t)byte;
            const size_t g = at % (GROUPS / 2 + 1) * 2;
            const bool low = (byte & 3) < (byte >> 2 & 3);
            const bool high = g + 1 == GROUPS ? byte >> 4 == 0 : (byte >> 4 & 3) < byte >> 6;
            ck_assert_int_eq(s24_plain_canonical(&e, &place, planes, &fault), low && high);
            ck_assert(low && high ? fault.kind == S24_FAULT_NONE
                                  : fault.row == at / (GROUPS / 2 + 1) && fault.col == 4 * (low ? g + 1 : g));
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- scales */

enum { SCALED_ROWS = 5, SCALED_COLS = 260 };

/* f32 in in.raw, pruned to i8 in scaled.s24: rows of 65 groups, two a panel, or cut in two. */
static void prune_scaled(size_t group)
{
    static float w[SCALED_ROWS * SCALED_COLS];
    const s24_prune_request q = {.input = "in.raw", .output = "scaled.s24", .dtype = S24_I8, .scale_group = group,
                                 .panel_groups = group ? 64 : 130,
                                 .read = {.format = "raw", .has_dtype = true, .dtype = S24_F32, .has_shape = true, .rank = 2,
                                          .shape = {SCALED_ROWS, SCALED_COLS}}};
    s24_error err = {0};
    for (size_t i = 0; i < COUNT(w); i++) {
        w[i] = (float)((int)(i * 2654435761u >> 16 & 0xffff) - 0x8000) * 0x1p-12f;
    }
    spit("in.raw", (bytes){(unsigned char *)w, sizeof w});
    ck_assert_msg(s24_prune_file(&io, &q, NULL, &err) == S24_OK, "%s", err.message);
}

static void check_scaled_salvage(const bytes whole, const s24_panel_place *lost, const char *what)
{
    const bytes got = slurp("d.out");
    ck_assert_uint_eq(got.n, whole.n);
    for (size_t i = 0; i < SCALED_ROWS * SCALED_COLS; i++) {
        const size_t row = i / SCALED_COLS, group = i % SCALED_COLS / 4;
        const bool gone = row >= lost->row && row < lost->row + lost->rows && group >= lost->group &&
                          group < lost->group + lost->groups;
        float x;
        memcpy(&x, got.data + 4 * i, 4);
        ck_assert_msg(gone ? isnan(x) : memcmp(got.data + 4 * i, whole.data + 4 * i, 4) == 0, "%s: element %zu", what, i);
    }
    free(got.data);
    unlink("d.out");
}

/* A byte of any plane of a panel costs that panel; so do the scales of another. */
static void damage_scaled(opened *o, const bytes whole)
{
    static const char *const planes[] = {"values", "positions", "scales"};
    const s24_entry *const e = &o->source->contents.entries[0];
    const part first = part_of(o, e, 0);
    s24_error err;
    told parts;
    for (size_t panel = 0; panel < panel_count(o, e); panel++) {
        const part p = part_of(o, e, panel);
        for (int k = 0; k < 2 * S24_PLANES; k++) {
            const bytes copy = copy_of(o->file);
            const size_t n = p.at.plane[k / 2].bytes;
            ck_assert_uint_gt(n, 0);
            copy.data[p.at.plane[k / 2].at + (k % 2 ? n - 1 : 0)] ^= 0x20;
            expect_damage(&copy, planes[k / 2]);
            ck_assert_int_eq(salvage("d.s24", "d.out", &parts, &err), S24_ERR_DATA);
            ck_assert_int_eq(parts.count, 1);
            check_scaled_salvage(whole, &p.place, planes[k / 2]);
            free(copy.data);
        }
        if (panel && p.at.plane[S24_SCALES].bytes == first.at.plane[S24_SCALES].bytes) {
            const bytes copy = copy_of(o->file);
            memcpy(copy.data + p.at.plane[S24_SCALES].at, o->file.data + first.at.plane[S24_SCALES].at,
                   first.at.plane[S24_SCALES].bytes);
            expect_damage(&copy, "scales of another panel");
            free(copy.data);
        }
    }
}

START_TEST(scales)
{
    s24_error err = {0};
    told faults;
    s24_tensor *tensors[2];
    s24_prune_metrics metrics[2];
    prune_scaled(_i ? S24_SCALE_GROUP : 0);
    ck_assert_msg(verify("scaled.s24", &faults, &err) == S24_OK, "%s", err.message);
    ck_assert_int_eq(decompress("scaled.s24", "back.raw", &err), S24_OK);
    const bytes whole = slurp("back.raw");
    /* into memory, out, and in again */
    ck_assert_msg(s24_tensor_load("scaled.s24", NULL, &tensors[0], &metrics[0], &err) == S24_OK, "%s", err.message);
    ck_assert_int_eq(s24_tensor_save("one.s24", NULL, tensors[0], "magnitude", &metrics[0], &err), S24_OK);
    ck_assert_msg(s24_tensor_load("one.s24", NULL, &tensors[1], &metrics[1], &err) == S24_OK, "%s", err.message);
    ck_assert(tensors[0]->scale_group == tensors[1]->scale_group && tensors[0]->source_dtype == S24_F32);
    ck_assert_mem_eq(tensors[0]->values, tensors[1]->values, tensors[0]->geometry.values_bytes);
    ck_assert_mem_eq(tensors[0]->positions, tensors[1]->positions, tensors[0]->geometry.positions_bytes);
    ck_assert_mem_eq(tensors[0]->scales, tensors[1]->scales, SCALED_ROWS * sizeof(float) * (_i ? 3 : 1));
    ck_assert_mem_eq(&metrics[0], &metrics[1], sizeof *metrics);
    float *dense = malloc(whole.n);
    ck_assert_int_eq(s24_decompress(tensors[1], S24_SAME, dense, &err), S24_OK);
    ck_assert_mem_eq(dense, whole.data, whole.n);
    free(dense);
    s24_tensor_free(tensors[0]);
    s24_tensor_free(tensors[1]);
    opened o = open_layout("scaled.s24");
    damage_scaled(&o, whole);
    close_layout(&o);
    free(whole.data);
    for (size_t i = 0; i < 5; i++) {
        static const char *const files[] = {"in.raw", "scaled.s24", "back.raw", "one.s24", "d.s24"};
        unlink(files[i]);
    }
}
END_TEST

/* A panel of an odd number of scale groups' worth cuts none: the layout refuses. */
START_TEST(scales_of_two_panels)
{
    const size_t sizes[] = {30, 34, 62};
    static float w[2 * SCALED_COLS];
    spit("in.raw", (bytes){(unsigned char *)w, sizeof w});
    for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
        s24_prune_request q = {.input = "in.raw", .output = "scaled.s24", .dtype = S24_F8E4M3,
                               .scale_group = i % 2 ? S24_SCALE_GROUP : 0, .panel_groups = sizes[i / 2],
                               .read = {.format = "raw", .has_dtype = true, .dtype = S24_F32, .has_shape = true, .rank = 2,
                                        .shape = {2, SCALED_COLS}}};
        s24_error err = {0};
        ck_assert_int_eq(s24_prune_file(&io, &q, NULL, &err), S24_ERR_USAGE);
        ck_assert_msg(strstr(err.message, i % 2 ? "would cut 128 columns in two" : "too long for one scale"), "%s", err.message);
        ck_assert(!exists("scaled.s24"));
    }
    unlink("in.raw");
}
END_TEST

/* Zeros of a checks section, and reserved slots of the metrics, that are none. */
START_TEST(reserved_bytes)
{
    model m = make_model(padded, COUNT(padded), "");
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    told faults;
    s24_error err = {0};
    s24_report report = {0};
    const s24_entry *const e = &o.source->contents.entries[0];
    if (_i == 0) {
        ck_assert_uint_lt(8 * panel_count(&o, e), e->checks_bytes - 8);
        o.file.data[e->checks + e->checks_bytes - 9] = 1;
    } else {
        o.file.data[o.plain->metrics.offset + (_i == 1 ? 8 * 14 : 7)] = _i == 1 ? 1 : 0xbf; /* -1 element */
    }
    reseal(&o);
    spit("d.s24", o.file);
    ck_assert_int_eq(verify("d.s24", &faults, &err), S24_ERR_CHECK);
    ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
    ck_assert(_i == 0 || stats("d.s24", &report, &err) == S24_ERR_DATA);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Figures of a damaged file are not told, not even of one that is opened to be salvaged. */
START_TEST(stats_of_damaged)
{
    model m = make_model(little, COUNT(little), "");
    bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    s24_error err = {0};
    s24_report report = {0};
    file.data[o.plain->metrics.offset] ^= 1;
    spit("d.s24", file);
    for (int original = 0; original < 2; original++) {
        const s24_stats_request q = {.input = "d.s24", .read.salvage = true, .original = original ? "in.safetensors" : NULL};
        ck_assert_int_eq(s24_stats_file(&io, &q, &report, &err), S24_ERR_DATA);
    }
    memcpy(file.data, o.file.data, file.n);
    file.data[o.source->contents.entries[0].offset] ^= 1;
    spit("d.s24", file);
    const s24_stats_request q = {.input = "d.s24", .read.salvage = true, .original = "in.safetensors"};
    ck_assert_int_eq(s24_stats_file(&io, &q, &report, &err), S24_ERR_DATA);
    spit("d.s24", (bytes){o.file.data, (size_t)o.plain->metrics.checks + 4}); /* its head tells what would follow */
    const s24_stats_request cut = {.input = "d.s24", .read.salvage = true};
    ck_assert_int_eq(s24_stats_file(&io, &cut, &report, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "truncated"));
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* A fault is told with the place where a reader has to look, and nothing is written. */
START_TEST(places_of_damage)
{
    model m = make_model(little, COUNT(little), "");
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    const size_t header = o.plain->header_bytes;
    const s24_entry *const w = &o.source->contents.entries[0], *const v = &o.source->contents.entries[1];
    const struct {
        uint64_t at, told; /* of the byte that is wrong, and in the error */
        const char *message;
    } cases[] = {
        {7, 0, "its header's length, "},
        {0, 0, "its header's length, "},
        {20, 0, "its header does not match its check"},
        {header + 20, header, "its head does not match its own check"},
        {w->offset + 3, w->offset, "rows 0 to "},
        {v->offset + 70, v->offset + 64, "bytes 64 to 79 do not match their check"}, /* panels of 64 bytes */
        {w->checks, w->checks, "the checks of w do not match their own"},
        {o.plain->metrics.offset, o.plain->metrics.offset, "the recorded metrics: "},
        {o.plain->metrics.checks, o.plain->metrics.checks, "the checks of its metrics do not match"},
        {o.plain->copy + 30, o.plain->copy, "the copy of its header is not the header"},
        {o.plain->tail + 9, o.plain->tail, "its tail does not match"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        s24_error err = {0};
        o.file.data[cases[i].at] ^= 1;
        spit("d.s24", o.file);
        ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, cases[i].message) && strstr(err.message, "; s24 decompress --salvage"), "%s",
                      err.message);
        ck_assert_msg(err.offset == cases[i].told, "%s: byte %llu", err.message, (unsigned long long)err.offset);
        ck_assert(!exists("d.out"));
        o.file.data[cases[i].at] ^= 1;
    }
    for (int longer = 0; longer < 2; longer++) {
        s24_error err = {0};
        o.file.data[file.n] = 0; /* there is room for one more */
        spit("d.s24", (bytes){o.file.data, longer ? file.n + 1 : file.n - 5});
        ck_assert_int_eq(decompress("d.s24", "d.out", &err), S24_ERR_DATA);
        ck_assert_uint_eq(err.offset, longer ? file.n : file.n - 5);
    }
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* ---------------------------------------------------------------- pipes and threads */

typedef struct pipe_end {
    int fds[2];
    bytes b;
    pthread_t thread;
    char path[32];
} pipe_end;

static void *feed_loop(void *argument)
{
    const pipe_end *const p = argument;
    for (size_t at = 0, step = 1; at < p->b.n; step = step * 2 % 8191) { /* short reads of all kinds */
        const size_t left = p->b.n - at;
        const ssize_t w = write(p->fds[1], p->b.data + at, left < step ? left : step);
        if (w <= 0) {
            break;
        }
        at += (size_t)w;
    }
    close(p->fds[1]);
    return NULL;
}

static void *drain_loop(void *argument)
{
    pipe_end *const p = argument;
    for (ssize_t r = 1; r > 0;) {
        p->b.data = realloc(p->b.data, p->b.n + 65536);
        r = read(p->fds[0], p->b.data + p->b.n, 65536);
        p->b.n += r > 0 ? (size_t)r : 0;
    }
    return NULL;
}

static void start(pipe_end *p, bool feeding, bytes b)
{
    *p = (pipe_end){.b = feeding ? b : (bytes){0}};
    ck_assert_int_eq(pipe(p->fds), 0);
    snprintf(p->path, sizeof p->path, "/dev/fd/%d", p->fds[feeding ? 0 : 1]);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, feeding ? feed_loop : drain_loop, p), 0);
}

static void stop(pipe_end *p, bool feeding)
{
    close(p->fds[feeding ? 0 : 1]);
    pthread_join(p->thread, NULL);
    if (!feeding) {
        close(p->fds[0]);
    }
}

static void feed_file(const char *path, bytes b, s24_status *verified, s24_status *unpacked)
{
    pipe_end p;
    told faults;
    s24_error err = {0};
    start(&p, true, b);
    *verified = verify(p.path, &faults, &err);
    stop(&p, true);
    start(&p, true, b);
    *unpacked = decompress(p.path, path, &err);
    stop(&p, true);
}

/* bit 0: the input is a pipe, bit 1: the output is; one thread, two, five. */
static const unsigned thread_counts[] = {1, 2, 5};

START_TEST(streams_and_threads)
{
    const unsigned ways = (unsigned)_i % 4;
    const s24_io how = {.force = true, .no_sync = true, .threads = thread_counts[_i / 4]};
    model m = make_model(everything, COUNT(everything), METADATA);
    for (size_t k = 0; k < COUNT(panel_sizes); k++) {
        const bytes file = prune_model(&m, "m.s24", panel_sizes[k]);
        s24_error err = {0};
        pipe_end in, out;
        const struct { const char *path; bytes in, out; } step[] = {{"in.safetensors", m.in, file},
                                                                    {"m.s24", file, m.expected}};
        for (int back = 0; back < 2; back++) {
            if (ways & 1) {
                start(&in, true, step[back].in);
            }
            if (ways & 2) {
                start(&out, false, step[back].out);
            }
            const char *const from = ways & 1 ? in.path : step[back].path, *const to = ways & 2 ? out.path : "d.out";
            const s24_decompress_request q = {.input = from, .output = to, .dtype = S24_SAME};
            const s24_status status = back ? s24_decompress_file(&how, &q, &err) : prune(&how, from, to, panel_sizes[k], &err);
            ck_assert_msg(status == S24_OK, "%s", err.message);
            if (ways & 1) {
                stop(&in, true);
            }
            if (ways & 2) {
                stop(&out, false);
                ck_assert_msg(same(out.b, step[back].out), "%s to a pipe", back ? "back" : "there");
                free(out.b.data);
            } else {
                ck_assert_msg(file_is("d.out", step[back].out), "%s", back ? "back" : "there");
            }
        }
        free(file.data);
    }
    free_model(&m);
}
END_TEST

/* Verify, stats and salvage of a pipe; panels of several threads from held bytes. */
START_TEST(reading_pipes)
{
    const s24_io how = {.force = true, .no_sync = true, .threads = thread_counts[_i]};
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", 4);
    opened o = open_layout("m.s24");
    s24_report recorded = {0}, piped = {0}, again = {0};
    s24_error err = {0};
    told parts = {0};
    pipe_end in, original;
    ck_assert_int_eq(stats("m.s24", &recorded, &err), S24_OK);
    start(&in, true, file);
    const s24_stats_request q = {.input = in.path};
    ck_assert_int_eq(s24_stats_file(&how, &q, &piped, &err), S24_OK);
    ck_assert(same_figures(&recorded, &piped));
    stop(&in, true);
    start(&in, true, file);
    start(&original, true, m.in);
    const s24_stats_request both = {.input = in.path, .original = original.path};
    ck_assert_msg(s24_stats_file(&how, &both, &again, &err) == S24_OK, "%s", err.message);
    ck_assert(same_figures(&recorded, &again));
    stop(&in, true);
    stop(&original, true);
    unsigned char *const lost = calloc(m.expected.n, 1);
    const part p = part_of(&o, &o.source->contents.entries[0], 1);
    mark_lost(&m, lost, 0, &p, 1, 64);
    o.file.data[p.at.plane[S24_VALUES].at] ^= 4;
    start(&in, true, o.file);
    const s24_decompress_request rescue = {.input = in.path, .output = "d.out", .dtype = S24_SAME, .salvage = true,
                                           .lost = hear, .user = &parts};
    ck_assert_int_eq(s24_decompress_file(&how, &rescue, &err), S24_ERR_DATA);
    stop(&in, true);
    ck_assert_int_eq(parts.count, 1);
    check_salvaged(&m, lost, "a pipe");
    free(lost);
    s24_report_free(&recorded);
    s24_report_free(&piped);
    s24_report_free(&again);
    close_layout(&o);
    free(file.data);
    free_model(&m);
}
END_TEST

/* Of a pipe nobody can see the end, which might tell what the beginning does not. */
START_TEST(noise_through_a_pipe)
{
    static const s24_read_options options = {.format = "s24"};
    s24_source *source;
    s24_error err = {0};
    pipe_end in;
    const bytes noise = {calloc(3 << 20, 1), 3 << 20};
    ck_assert_ptr_nonnull(noise.data);
    start(&in, true, noise);
    ck_assert_int_eq(s24_source_open(&source, &io, in.path, &options, &err), S24_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(err.message, "its header's length, 0, cannot be"));
    stop(&in, true);
    free(noise.data);
}
END_TEST

/* ---------------------------------------------------------------- stopping */

static volatile sig_atomic_t stop_flag;
static int steps_left;

/* The flag is what a signal handler raises, volatile and not atomic: a race to ThreadSanitizer, and none that matters. */
__attribute__((no_sanitize("thread"))) static void stop_after_steps(void *user, uint64_t done, uint64_t all)
{
    (void)user;
    ck_assert_uint_le(done, 2 * all); /* padding counts */
    stop_flag = --steps_left <= 0;
}

/* In the middle of the work: a status, no output, the old one untouched. */
START_TEST(stopped)
{
    const s24_io how = {.force = true, .no_sync = true, .threads = thread_counts[_i], .cancel = &stop_flag,
                        .progress = stop_after_steps};
    model m = make_model(everything, COUNT(everything), METADATA);
    const bytes file = prune_model(&m, "m.s24", 4), old = {(unsigned char *)(uintptr_t)"old", 3};
    s24_error err = {0};
    for (int steps = 1; steps < 25; steps += 7) {
        const s24_decompress_request q = {.input = "m.s24", .output = "d.out", .dtype = S24_SAME};
        spit("d.out", old);
        steps_left = steps;
        stop_flag = 0;
        ck_assert_int_eq(prune(&how, "in.safetensors", "d.out", 4, &err), S24_ERR_STOPPED);
        steps_left = steps;
        stop_flag = 0;
        ck_assert_int_eq(s24_decompress_file(&how, &q, &err), S24_ERR_STOPPED);
        ck_assert(file_is("d.out", old));
    }
    s24_report report = {0};
    const s24_verify_request v = {.input = "m.s24"};
    const s24_stats_request s = {.input = "m.s24", .original = "in.safetensors"};
    ck_assert_int_eq(s24_verify_file(&how, &v, &err), S24_ERR_STOPPED); /* the flag is still up */
    ck_assert_int_eq(s24_stats_file(&how, &s, &report, &err), S24_ERR_STOPPED);
    ck_assert_int_eq(walk_directory(true), 3);
    free(file.data);
    free_model(&m);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("plain");
    TCase *const tcase = tcase_create("all");
    tcase_add_unchecked_fixture(tcase, make_directory, remove_directory);
    tcase_add_checked_fixture(tcase, empty_directory, empty_directory);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, there_and_back, 0, (int)COUNT(panel_sizes));
    tcase_add_loop_test(tcase, json_there_and_back, 0, (int)COUNT(json_files));
    tcase_add_loop_test(tcase, clashing_name, 0, (int)COUNT(clashing));
    tcase_add_test(tcase, onto_itself);
    tcase_add_test(tcase, bad_panel_sizes);
    tcase_add_loop_test(tcase, every_flip, 0, SHARES);
    tcase_add_loop_test(tcase, every_cut, 0, SHARES);
    tcase_add_test(tcase, every_extension);
    tcase_add_test(tcase, cuts_through_pipes);
    tcase_add_test(tcase, flips_through_pipes);
    tcase_add_test(tcase, moved_panels);
    tcase_add_test(tcase, foreign_panels);
    tcase_add_loop_test(tcase, salvage_each_panel, 0, (int)COUNT(panel_sizes));
    tcase_add_test(tcase, salvage_each_check);
    tcase_add_test(tcase, salvage_without_header);
    tcase_add_test(tcase, salvage_behind_the_largest_header);
    tcase_add_test(tcase, salvage_nothing);
    tcase_add_test(tcase, salvage_every_cut);
    tcase_add_loop_test(tcase, salvage_flips, 0, SHARES);
    tcase_add_loop_test(tcase, lying_headers, 0, (int)COUNT(lies));
    tcase_add_loop_test(tcase, without_messages, 0, (int)COUNT(lies));
    tcase_add_test(tcase, other_panels);
    tcase_add_loop_test(tcase, lying_records, 0, (int)COUNT(records));
    tcase_add_test(tcase, every_nibble);
    tcase_add_loop_test(tcase, not_canonical, 0, (int)COUNT(oddities));
    tcase_add_loop_test(tcase, reserved_bytes, 0, 3);
    tcase_add_loop_test(tcase, scales, 0, 2);
    tcase_add_test(tcase, scales_of_two_panels);
    tcase_add_test(tcase, stats_of_damaged);
    tcase_add_test(tcase, places_of_damage);
    tcase_add_loop_test(tcase, streams_and_threads, 0, 4 * (int)COUNT(thread_counts));
    tcase_add_loop_test(tcase, reading_pipes, 0, (int)COUNT(thread_counts));
    tcase_add_test(tcase, noise_through_a_pipe);
    tcase_add_loop_test(tcase, stopped, 0, (int)COUNT(thread_counts));
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
