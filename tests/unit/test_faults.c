/*
 * The n-th allocation, read, write, open, sync or rename fails, for every n until nothing does any more: a status, no
 * leak, no partial file, an existing output untouched. The functions of libc are defined here once more, count, and call
 * the real ones.
 *
 * A directory is several files, which appear one after another when all are complete. Once the first has, a failure can
 * leave some of them new and the others absent, or old: then each is whole, no temporary file is left, and the index is
 * the last, so that who finds a new index finds all that it lists.
 */
#define _GNU_SOURCE /* RTLD_NEXT, renameat2 */
#include <check.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "carry.h"
#include "config_json.h"
#include "plain_blas.h"
#include "zip.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define SANITIZED 1
#endif

/* ---------------------------------------------------------------- the seam */

static bool armed;
static atomic_int calls;            /* of the kind that may fail, since arming */
static int fail_at;                 /* the number of the one that does */
static int fault_errno;
static bool only_transfers;         /* only reads and writes count */
static size_t most;                 /* bytes a read or write moves; 0: any number */
static int renameat2_errno, link_errno, unnamed_errno; /* what these always say; 0: nothing special */
static atomic_long live;            /* allocations less frees while armed */

static bool allocating; /* only allocations count */

static atomic_bool must_be_seen;           /* the call that failed: nobody may go on as if nothing had happened */
static atomic_bool late;                   /* it failed when a file had appeared already */
static atomic_bool appeared;

static bool fails(bool seen)
{
    if (!armed || allocating || atomic_fetch_add(&calls, 1) + 1 != fail_at) {
        return false;
    }
    must_be_seen = seen;
    late = appeared;
    errno = fault_errno;
    return true;
}

static bool fails_besides(bool seen)
{
    return !only_transfers && fails(seen);
}

static size_t at_most(size_t n)
{
    return armed && most && n > most ? most : n;
}

#pragma GCC visibility push(default) /* libc and libcjson are to find these, too */

/* The next definition of the function, libc's or a sanitizer's. */
#define REAL(name, symbol) \
    static _Atomic(void *) found; \
    __typeof__(name) *real; \
    if (!found) { \
        found = dlsym(RTLD_NEXT, symbol); \
    } \
    *(void **)&real = found;

/* off_t has 64 bits by -D_FILE_OFFSET_BITS=64: glibc's headers give these functions the names with 64. */
ssize_t pread(int fd, void *data, size_t n, off_t offset)
{
    REAL(pread, "pread64")
    return fails(true) ? -1 : real(fd, data, at_most(n), offset);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
    REAL(pwrite, "pwrite64")
    return fails(true) ? -1 : real(fd, data, at_most(n), offset);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    REAL(pwritev, "pwritev64")
    const struct iovec some = {pieces->iov_base, at_most(pieces->iov_len)};
    return fails(true) ? -1 : armed && most && pieces->iov_len ? real(fd, &some, 1, offset) : real(fd, pieces, count, offset);
}

ssize_t read(int fd, void *data, size_t n)
{
    REAL(read, "read")
    return fails(true) ? -1 : real(fd, data, at_most(n));
}

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(write, "write")
    return fails(true) ? -1 : real(fd, data, at_most(n));
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    REAL(open, "open64")
    if (armed && unnamed_errno && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = unnamed_errno;
        return -1;
    }
    return fails_besides(!(flags & O_DIRECTORY)) ? -1 : real(path, flags, mode);
}

int mkstemp(char *name)
{
    REAL(mkstemp, "mkstemp64")
    return fails_besides(true) ? -1 : real(name);
}

int fchmod(int fd, mode_t mode)
{
    REAL(fchmod, "fchmod")
    return fails_besides(true) ? -1 : real(fd, mode);
}

int fsync(int fd)
{
    REAL(fsync, "fsync")
    return fails_besides(true) ? -1 : real(fd);
}

int close(int fd) /* it is closed, whatever it says */
{
    REAL(close, "close")
    const bool failing = fails_besides(armed && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY);
    const int r = real(fd);
    errno = failing ? fault_errno : errno;
    return failing ? -1 : r;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir, "mkdir")
    return fails_besides(true) ? -1 : real(path, mode);
}

/* The search for other processes' temporary files, "." or "out/", may fail. */
static _Atomic(DIR *) swept;

DIR *opendir(const char *path)
{
    REAL(opendir, "opendir")
    const bool sweeps = strcmp(path, ".") == 0 || path[strlen(path) - 1] == '/';
    DIR *const d = fails_besides(!sweeps) ? NULL : real(path);
    swept = sweeps ? d : d == swept ? NULL : swept; /* another may be where it was */
    return d;
}

struct dirent *readdir(DIR *d)
{
    REAL(readdir, "readdir64")
    return d != swept && fails_besides(true) ? NULL : real(d);
}

int rename(const char *from, const char *to)
{
    REAL(rename, "rename")
    const int r = fails_besides(true) ? -1 : real(from, to);
    appeared = appeared || r == 0;
    return r;
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    REAL(renameat2, "renameat2")
    if (armed && renameat2_errno) {
        errno = renameat2_errno;
        return -1;
    }
    const int r = fails_besides(true) ? -1 : real(from_fd, from, to_fd, to, flags);
    appeared = appeared || r == 0;
    return r;
}

int link(const char *from, const char *to)
{
    REAL(link, "link")
    if (armed && link_errno) {
        errno = link_errno;
        return -1;
    }
    return fails_besides(true) ? -1 : real(from, to);
}

#ifndef SANITIZED
/* dlsym allocates, so that these cannot ask it; glibc keeps these names for the purpose. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);
extern void __libc_free(void *p);

static bool no_memory(void)
{
    if (!armed || !allocating || atomic_fetch_add(&calls, 1) + 1 != fail_at) {
        return false;
    }
    errno = ENOMEM;
    return true;
}

static void *counted(void *p)
{
    if (p && armed) {
        atomic_fetch_add(&live, 1);
    }
    return p;
}

void *malloc(size_t n)
{
    return no_memory() ? NULL : counted(__libc_malloc(n));
}

void *calloc(size_t count, size_t size)
{
    return no_memory() ? NULL : counted(__libc_calloc(count, size));
}

void *realloc(void *p, size_t n)
{
    if (no_memory()) {
        return NULL;
    }
    return p ? __libc_realloc(p, n) : counted(__libc_realloc(p, n));
}

int posix_memalign(void **p, size_t alignment, size_t n)
{
    if (no_memory()) {
        return ENOMEM;
    }
    *p = counted(__libc_memalign(alignment, n));
    return *p ? 0 : ENOMEM;
}

void free(void *p)
{
    if (p && armed) {
        atomic_fetch_sub(&live, 1);
    }
    __libc_free(p);
}
#endif

#pragma GCC visibility pop

/* ---------------------------------------------------------------- files */

static char directory[32];

typedef struct bytes {
    unsigned char data[16384];
    size_t n;
} bytes;

static bool get(const char *path, bytes *b)
{
    FILE *const f = fopen(path, "rb");
    b->n = f ? fread(b->data, 1, sizeof b->data, f) : 0;
    return f && fclose(f) == 0;
}

static void put(const char *path, const void *data, size_t n)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static int count_entries(const char *path)
{
    DIR *const d = opendir(path);
    int count = 0;
    ck_assert_ptr_nonnull(d);
    while (readdir(d)) {
        count++;
    }
    closedir(d);
    return count;
}

/* A model with everything that takes another way: transposed, big, carried, empty, with metadata. */
static void make_part(const char *path, const char *prefix, unsigned seed)
{
    static const size_t shapes[][3] = {{8, 8}, {12, 6}, {40}, {0, 4}};
    static const s24_dtype dtypes[] = {S24_F32, S24_F16, S24_I16, S24_F32};
    static const char *const names[] = {"w.weight", "turned", "v", "empty"};
    static const s24_io io = {.force = true, .no_sync = true};
    s24_contents plan = {0};
    s24_output *out;
    s24_sink *sink;
    s24_error err;
    unsigned char data[256];
    for (size_t i = 0; i < COUNT(names); i++) {
        char name[32];
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        ck_assert_ptr_nonnull(s24_contents_add(&plan, name, dtypes[i], i == 2 ? 1 : 2, shapes[i], &err));
    }
    ck_assert_int_eq(s24_contents_add_pair(&plan, "s24mine", "value", &err), S24_OK);
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, &s24_format_safetensors, out, &plan, &err), S24_OK);
    for (size_t i = 0; i < COUNT(names); i++) {
        const s24_entry *const e = &sink->contents.entries[i];
        for (size_t k = 0; k < e->bytes; k++) {
            data[k] = (unsigned char)(k * seed & 0x3b);
        }
        ck_assert_int_eq(s24_output_write(out, e->offset, data, (size_t)e->bytes, &err), S24_OK);
    }
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
}

static void make_input(const char *path, unsigned seed)
{
    make_part(path, "", seed);
}

/* The same archive with its members deflated, as s24 does not write them. */
static void deflate_archive(const char *from, const char *to)
{
    static const s24_io io = {.force = true, .no_sync = true};
    s24_text text = {0}, central = {0};
    s24_input *in, *member;
    s24_error err;
    s24_zip zip;
    ck_assert_int_eq(s24_input_open(&in, &io, from, &err), S24_OK);
    ck_assert_int_eq(s24_zip_read(&zip, in, &err), S24_OK);
    ck_assert_int_eq(s24_zip_locate(&zip, in, &err), S24_OK);
    for (size_t i = 0; i < zip.count; i++) {
        s24_zip_entry e = zip.entries[i];
        unsigned char data[1024], packed[2048];
        z_stream z = {.next_in = data, .avail_in = (unsigned)e.size, .next_out = packed, .avail_out = sizeof packed};
        ck_assert_int_eq(s24_zip_member(&member, in, &zip.entries[i], true, &err), S24_OK);
        ck_assert_uint_le(e.size, sizeof data);
        ck_assert_int_eq(s24_input_read(member, 0, data, (size_t)e.size, &err), S24_OK);
        s24_input_close(member);
        ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
        ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
        e.method = S24_ZIP_DEFLATED;
        e.compressed = sizeof packed - z.avail_out;
        e.header = text.length;
        deflateEnd(&z);
        s24_zip_put_local(&text, &e, 1);
        s24_text_add(&text, (const char *)packed, (size_t)e.compressed);
        s24_zip_put_central(&central, &e);
    }
    const size_t start = text.length;
    s24_text_add(&text, central.text, central.length);
    s24_zip_put_end(&text, zip.count, start, central.length);
    put(to, text.text, text.length);
    s24_text_free(&text);
    s24_text_free(&central);
    s24_zip_free(&zip);
    s24_input_close(in);
}

/* The same archive with a zip64 record before the end record. */
static void add_zip64(const char *from, const char *to)
{
    enum { END = 22, END64 = 56, LOCATOR = 20 };
    static bytes b;
    ck_assert(get(from, &b) && b.n > END && b.n + END64 + LOCATOR <= sizeof b.data);
    const size_t at = b.n - END;
    unsigned char *const p = b.data + at, end[END];
    memcpy(end, p, END);
    memset(p, 0, END64 + LOCATOR);
    s24_put_u32(p, 0x06064b50);
    s24_put_u64(p + 4, END64 - 12);
    s24_put_u64(p + 24, end[10]); /* members, twice, and where the directory is */
    s24_put_u64(p + 32, end[10]);
    s24_put_u64(p + 40, s24_get_u32(end + 12));
    s24_put_u64(p + 48, s24_get_u32(end + 16));
    s24_put_u32(p + END64, 0x07064b50);
    s24_put_u64(p + END64 + 8, at);
    s24_put_u32(p + END64 + 16, 1);
    memcpy(p + END64 + LOCATOR, end, END);
    put(to, b.data, b.n + END64 + LOCATOR);
}

static const s24_axis_rule axes[] = {{"*turned", 0}};
static const char *const include[] = {"*turned"};

static const s24_blas *give_plain(void *user, s24_error *err)
{
    (void)user;
    (void)err;
    return &plain;
}

static s24_io io = {.threads = 1, .blas = give_plain}; /* with its fsyncs */

static s24_status prune_as(const char *from, const char *to, int level, s24_report *report, s24_error *err)
{
    const s24_prune_request q = {.input = from, .output = to, .dtype = S24_SAME, .panel_groups = 4, .panel_bytes = 64,
                                 .packing = {.level = level, .frame_bytes = 100},
                                 .selection = {.include = include, .include_count = 1, .axes = axes, .axis_count = 1}};
    return s24_prune_file(&io, &q, report, err);
}

/* The same in 8 bits with scales. */
static s24_status prune_scaled_from(const char *from, const char *to, s24_error *err)
{
    const s24_prune_request q = {.input = from, .output = to, .dtype = S24_I8, .panel_groups = 4, .panel_bytes = 64,
                                 .selection = {.include = include, .include_count = 1, .axes = axes, .axis_count = 1}};
    return s24_prune_file(&io, &q, NULL, err);
}

static s24_status prune_from(const char *from, const char *to, s24_report *report, s24_error *err)
{
    return prune_as(from, to, 0, report, err);
}

static s24_status prune_raw(const char *type, const char *to, s24_error *err)
{
    const s24_prune_request q = {.input = "in.raw", .output = to, .to = type, .dtype = S24_SAME,
                                 .read = {.format = "raw", .has_dtype = true, .dtype = S24_I8, .has_shape = true, .rank = 2,
                                          .shape = {8, 8}}};
    return s24_prune_file(&io, &q, NULL, err);
}

/* An order is searched for, twice: few groups, and many; a transposable mask in it; to a file, and back from there. */
static s24_status do_permuted(s24_error *err)
{
    enum { ROW = 12, COLS = 136 };
    static const size_t shape[2] = {COLS, ROW};
    static float w[ROW * COLS], dense[ROW * COLS];
    static int32_t order[COLS];
    s24_permute_options search = S24_PERMUTE_OPTIONS_INIT;
    s24_prune_options o = S24_PRUNE_OPTIONS_INIT;
    s24_prune_metrics metrics;
    s24_tensor *tensor;
    s24_array array;
    for (size_t i = 0; i < ROW * COLS; i++) {
        w[i] = (float)(i * 7919 % 1009) - 500;
    }
    search.moves = 1000;
    search.threads = io.threads;
    o.axis = 0;
    o.threads = io.threads;
    o.permutation = order;
    s24_status status = s24_permute_search(w, COLS, ROW, 40, &search, order, NULL, err);
    status = status == S24_OK ? s24_permute_search(w, COLS, ROW, COLS, &search, order, NULL, err) : status;
    const s24_dense view = {.data = w, .dtype = S24_F32, .rank = 2, .shape = shape};
    status = status == S24_OK ? s24_prune_transposable(&view, &o, &tensor, &metrics, err) : status;
    if (status != S24_OK) {
        return status;
    }
    status = s24_decompress(tensor, S24_F32, dense, err);
    status = status == S24_OK ? s24_tensor_save("out", NULL, tensor, "magnitude", &metrics, err) : status;
    s24_tensor_free(tensor);
    if (status == S24_OK && (status = s24_array_load("out", NULL, &array, err)) == S24_OK) {
        status = memcmp(array.data, dense, sizeof dense) == 0 ? S24_OK : S24_ERR_CHECK;
        s24_array_free(&array);
    }
    return status;
}

/* ---------------------------------------------------------------- calibration */

/* A file of two tensors: weights, or what is known of them. rows 0: vectors of so many columns. */
static void make_two(const char *path, s24_dtype dtype, const size_t shapes[2][2], const void *const data[2])
{
    static const char *const names[] = {"w.weight", "turned"};
    s24_contents plan = {0};
    s24_output *out;
    s24_sink *sink;
    s24_error err;
    for (size_t i = 0; i < 2; i++) {
        const size_t *const shape = shapes[i] + !shapes[i][0];
        ck_assert_ptr_nonnull(s24_contents_add(&plan, names[i], dtype, shapes[i][0] ? 2 : 1, shape, &err));
    }
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, &s24_format_safetensors, out, &plan, &err), S24_OK);
    for (size_t i = 0; i < 2; i++) {
        const s24_entry *const e = &sink->contents.entries[i];
        ck_assert_int_eq(s24_output_write(out, e->offset, data[i], (size_t)e->bytes, &err), S24_OK);
    }
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
}

enum { SAMPLES = 24, MOST = 12 };

/* X'X and the norms of X [SAMPLES, k]. */
static void multiply_inputs(const float *x, size_t k, double *h, double *norms)
{
    for (size_t i = 0; i < k * k; i++) {
        h[i] = 0;
        for (size_t s = 0; s < SAMPLES; s++) {
            h[i] += (double)(x[s * k + i / k] * x[s * k + i % k]);
        }
    }
    for (size_t j = 0; j < k; j++) {
        norms[j] = sqrt(h[j * k + j]);
    }
}

/*
 * Samples of the inputs, their products and norms; scores of the elements. The same of narrow weights, which are those to
 * permute: of one group there is nothing to search for.
 */
static void make_seconds(void)
{
    static const struct {
        const char *weights, *scores, *x, *h, *norms;
        size_t shapes[2][2], k[2];
    } sets[] = {
        {"unused.safetensors", "scores.safetensors", "x.safetensors", "h.safetensors", "norms.safetensors",
         {{8, 8}, {12, 6}}, {8, 12}},
        {"narrow.safetensors", "scores4.safetensors", "x4.safetensors", "h4.safetensors", "norms4.safetensors",
         {{6, 4}, {4, 5}}, {4, 4}},
    };
    static float x[SAMPLES * MOST];
    static double h[2][MOST * MOST], norms[2][MOST];
    s24_bench_normal(1, x, SAMPLES * MOST);
    for (size_t i = 0; i < COUNT(sets); i++) {
        const size_t *const k = sets[i].k;
        const size_t samples[2][2] = {{SAMPLES, k[0]}, {SAMPLES, k[1]}}, squares[2][2] = {{k[0], k[0]}, {k[1], k[1]}},
            vectors[2][2] = {{0, k[0]}, {0, k[1]}};
        const void *const inputs[] = {x, x}, *const products[] = {h[0], h[1]}, *const lengths[] = {norms[0], norms[1]};
        multiply_inputs(x, k[0], h[0], norms[0]);
        multiply_inputs(x, k[1], h[1], norms[1]);
        make_two(sets[i].weights, S24_F32, sets[i].shapes, inputs);
        make_two(sets[i].scores, S24_F32, sets[i].shapes, inputs);
        make_two(sets[i].x, S24_F32, samples, inputs);
        make_two(sets[i].h, S24_F64, squares, products);
        make_two(sets[i].norms, S24_F64, vectors, lengths);
    }
}

/* What one of these writes is in a file of its name. */
static const struct calibrated {
    const char *name, *method;
    const char *second[S24_SECONDS];
    bool refit, transposable, permute, neighbours;
    int level;
} calibrated[] = {
    {.name = "obs", .method = "obs", .second = {[S24_ACTIVATIONS] = "x.safetensors"}, .level = 5},
    {.name = "obs by a hessian", .method = "obs", .second = {[S24_HESSIAN] = "h.safetensors"}},
    {.name = "sparsegpt", .method = "sparsegpt", .second = {[S24_ACTIVATIONS] = "x.safetensors"}},
    {.name = "wanda", .method = "wanda", .second = {[S24_ACTIVATIONS] = "x.safetensors"}},
    {.name = "wanda by norms", .method = "wanda", .second = {[S24_NORMS] = "norms.safetensors"}, .level = 5},
    {.name = "ria", .method = "ria", .second = {[S24_ACTIVATIONS] = "x.safetensors"}},
    {.name = "ria by a hessian", .method = "ria", .second = {[S24_HESSIAN] = "h.safetensors"}},
    {.name = "ria by norms", .method = "ria", .second = {[S24_NORMS] = "norms.safetensors"}},
    {.name = "gradients, measured", .method = "gradient",
     .second = {[S24_GRADIENTS] = "scores.safetensors", [S24_ACTIVATIONS] = "x.safetensors"}},
    {.name = "scores, fitted", .method = "scores",
     .second = {[S24_SCORES] = "scores.safetensors", [S24_HESSIAN] = "h.safetensors"}, .refit = true},
    {.name = "transposable, fitted", .method = "wanda",
     .second = {[S24_ACTIVATIONS] = "x.safetensors"}, .refit = true, .transposable = true},
    {.name = "permuted, fitted", .method = "obs", .second = {[S24_ACTIVATIONS] = "x4.safetensors"}, .permute = true},
    {.name = "permuted by norms", .method = "wanda", .second = {[S24_NORMS] = "norms4.safetensors"}, .permute = true},
    {.name = "permuted with its neighbour", .method = "scores",
     .second = {[S24_SCORES] = "scores4.safetensors", [S24_HESSIAN] = "h4.safetensors"}, .neighbours = true},
};

static const char *input_of(const struct calibrated *c)
{
    return c->permute || c->neighbours ? "narrow.safetensors" : "in.safetensors";
}

static s24_status prune_calibrated(const struct calibrated *c, const char *from, const char *to, s24_error *err)
{
    static const s24_permute_rule rule = {"turned", "w.weight@1"};
    s24_prune_request q = {.input = from, .output = to, .method = c->method, .refit = c->refit, .permute = c->permute,
                           .permute_with = &rule, .permute_with_count = c->neighbours, .transposable = c->transposable,
                           .dtype = S24_SAME, .panel_groups = 4, .panel_bytes = 64,
                           .packing = {.level = c->level, .frame_bytes = 100},
                           .selection = {.axes = axes, .axis_count = 1}};
    s24_report report = {0};
    memcpy(q.second, c->second, sizeof q.second);
    const s24_status status = s24_prune_file(&io, &q, &report, err);
    s24_report_free(&report);
    return status;
}

/* ---------------------------------------------------------------- directories */

/* The files of a checkpoint, and of what becomes of it; "?" is where the suffix goes. */
static const char *const tree_files[] = {"config.json", "tokens/words.txt", "model-1.?", "model-2.?", "model.?.index.json"};
static const char *const suffixes[] = {"safetensors", "s24"};
enum { TREE_INDEX = COUNT(tree_files) - 1 };

static const char *in_tree(const char *tree, size_t file, size_t suffix)
{
    static char paths[2][128];
    static int next;
    char *const path = paths[next = !next];
    const char *const name = tree_files[file], *const mark = strchr(name, '?');
    snprintf(path, sizeof *paths, "%s/%.*s%s%s", tree, mark ? (int)(mark - name) : (int)strlen(name), name,
             mark ? suffixes[suffix] : "", mark ? mark + 1 : "");
    return path;
}

/* What is not one of the files stays, and is found. */
static void remove_tree(const char *tree)
{
    char tokens[64];
    for (size_t i = 0; i < COUNT(tree_files) * COUNT(suffixes); i++) {
        unlink(in_tree(tree, i / 2, i % 2));
    }
    snprintf(tokens, sizeof tokens, "%s/tokens", tree);
    rmdir(tokens);
    rmdir(tree);
}

/* The files that `like` has, with its content, or all with another. */
static void put_tree(const char *tree, const char *like, const char *content)
{
    char tokens[64];
    bytes b;
    snprintf(tokens, sizeof tokens, "%s/tokens", tree);
    ck_assert(mkdir(tree, 0777) == 0 && mkdir(tokens, 0777) == 0);
    for (size_t i = 0; i < COUNT(tree_files) * COUNT(suffixes); i++) {
        if ((i % 2 == 0 || strchr(tree_files[i / 2], '?')) && get(in_tree(like, i / 2, i % 2), &b)) {
            put(in_tree(tree, i / 2, i % 2), content ? content : (const char *)b.data, content ? strlen(content) : b.n);
        }
    }
}

/* Two shards, a config.json that other layouts change, and a directory. */
static void make_checkpoint(void)
{
    static const char config[] = "{\"layers\": 2,\n \"quantization_config\": {\"bits\": 8}}\n", words[] = "words\n",
        index[] = "{\"metadata\":{\"note\":1},\"weight_map\":{"
        "\"1.w.weight\":\"model-1.safetensors\",\"1.turned\":\"model-1.safetensors\",\"1.v\":\"model-1.safetensors\","
        "\"1.empty\":\"model-1.safetensors\",\"2.w.weight\":\"model-2.safetensors\",\"2.turned\":\"model-2.safetensors\","
        "\"2.v\":\"model-2.safetensors\",\"2.empty\":\"model-2.safetensors\"}}";
    ck_assert(mkdir("ck", 0777) == 0 && mkdir("ck/tokens", 0777) == 0);
    put("ck/config.json", config, sizeof config - 1);
    put("ck/tokens/words.txt", words, sizeof words - 1);
    put("ck/model.safetensors.index.json", index, sizeof index - 1);
    make_part("ck/model-1.safetensors", "1.", 7);
    make_part("ck/model-2.safetensors", "2.", 11);
}

static s24_status prune_tree_from(const char *from, const char *to, const char *type, unsigned shard, unsigned shards,
                                  s24_error *err)
{
    const s24_prune_request q = {.input = from, .output = to, .directory = true, .to = type, .shard = shard,
                                 .shards = shards, .dtype = S24_SAME, .panel_groups = 4, .panel_bytes = 64,
                                 .selection = {.include = include, .include_count = 1, .axes = axes, .axis_count = 1}};
    s24_report report = {0};
    const s24_status status = s24_prune_file(&io, &q, &report, err);
    s24_report_free(&report);
    return status;
}

static s24_status prune_tree(const char *to, const char *type, unsigned shard, unsigned shards, s24_error *err)
{
    return prune_tree_from("ck", to, type, shard, shards, err);
}

static s24_status convert(const char *from, const char *to, bool tree, const char *type, s24_error *err)
{
    const s24_convert_request q = {.input = from, .output = to, .directory = tree, .to = type,
                                   .selection = {.axes = axes, .axis_count = 1}};
    s24_report report = {0};
    const s24_status status = s24_convert_file(&io, &q, &report, err);
    s24_report_free(&report);
    return status;
}

/* Between plain files and archives. */
static s24_status repack(const char *from, const char *to, bool tree, int level, s24_error *err)
{
    const s24_convert_request q = {.input = from, .output = to, .directory = tree,
                                   .packing = {.level = level, .frame_bytes = 100}};
    s24_report report = {0};
    const s24_status status = s24_convert_file(&io, &q, &report, err);
    s24_report_free(&report);
    return status;
}

static const char *const trees[] = {"ck", "same", "packed", "share", "bits", "tight"};

static void make_trees(void)
{
    s24_error err;
    make_checkpoint();
    ck_assert_msg(prune_tree("same", "same", 0, 0, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(prune_tree("packed", "s24", 0, 0, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(prune_tree("share", "s24", 1, 2, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(repack("packed", "tight", true, 5, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(convert("packed", "bits", true, "sparse-24-bitmask", &err) == S24_OK, "%s", err.message);
    ck_assert_msg(convert("m.safetensors", "c.s24", false, "s24", &err) == S24_OK, "%s", err.message);
    ck_assert_msg(convert("m.s24", "c.safetensors", false, "sparse-24-bitmask", &err) == S24_OK, "%s", err.message);
}

/* ---------------------------------------------------------------- all inputs */

static s24_report figures, other_figures; /* as recorded, and against another original; undisturbed */

static bool right_figures(const s24_report *r, const s24_report *expected)
{
    return r->count == expected->count && memcmp(&r->totals, &expected->totals, sizeof r->totals) == 0;
}

/* A tensor in a sparse layout, and one beside it. */
static void make_layout(const s24_format *format, const char *path)
{
    static const size_t shape[] = {16, 128}, beside[] = {3};
    s24_contents plan = {0};
    s24_output *out;
    s24_sink *sink;
    s24_error err;
    unsigned char data[16 * 128];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = i % 4 < 2 ? (unsigned char)(i / 4) : 0;
    }
    s24_entry *const e = s24_contents_add(&plan, "w.weight", S24_I8, 2, shape, &err);
    e->packed = true;
    e->axis = 1;
    ck_assert_ptr_nonnull(s24_contents_add(&plan, "v", S24_U8, 1, beside, &err));
    ck_assert_int_eq(s24_output_open(&out, &io, path, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, format, out, &plan, &err), S24_OK);
    ck_assert_int_eq(format->write(sink, 0, 0, sizeof data, data, &err), S24_OK);
    ck_assert_int_eq(format->write(sink, 1, 0, 3, data, &err), S24_OK);
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
}

/* A tensor in sparse-bitmask: three rows of twenty, a value for each row's number and one more. */
static void make_any_number(const char *path)
{
    static const char header[] =
        "{\"m.shape\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"m.row_offsets\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[16,40]},"
        "\"m.compressed\":{\"dtype\":\"U8\",\"shape\":[6],\"data_offsets\":[40,46]},"
        "\"m.bitmask\":{\"dtype\":\"U8\",\"shape\":[3,3],\"data_offsets\":[46,55]}}";
    static const unsigned char rest[] = {1, 2, 3, 4, 5, 6, 0x01, 0, 0, 0x80, 0x01, 0, 0x03, 0, 0x08};
    static const uint64_t numbers[] = {3, 20, 0, 1, 3};
    unsigned char file[512];
    const size_t n = sizeof header - 1;
    s24_put_u64(file, n);
    memcpy(file + 8, header, n);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        s24_put_u64(file + 8 + n + 8 * i, numbers[i]);
    }
    memcpy(file + 8 + n + sizeof numbers, rest, sizeof rest);
    put(path, file, 8 + n + sizeof numbers + sizeof rest);
}

/* An archive whose header is inflated in pieces. */
static void make_long(void)
{
    static const size_t shape[] = {12, 6};
    static char note[70000];
    s24_contents plan = {0};
    s24_output *out;
    s24_sink *sink;
    s24_error err;
    memset(note, 'x', sizeof note - 1);
    ck_assert_ptr_nonnull(s24_contents_add(&plan, "turned", S24_I8, 2, shape, &err));
    ck_assert_int_eq(s24_contents_add_pair(&plan, "note", note, &err), S24_OK);
    ck_assert_int_eq(s24_output_open(&out, &io, "long.safetensors", NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(&sink, &s24_format_safetensors, out, &plan, &err), S24_OK);
    ck_assert_int_eq(s24_output_write(out, sink->contents.entries[0].offset, note, 72, &err), S24_OK);
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
    ck_assert_msg(prune_as("long.safetensors", "long.s24", 5, NULL, &err) == S24_OK, "%s", err.message);
}

/* Files of which salvage has to find the header elsewhere, and what is lost of one that is cut off. */
static void damage_files(void)
{
    bytes b;
    ck_assert(get("m.s24", &b));
    put("cut.s24", b.data, b.n - 64);
    put("half.s24", b.data, b.n / 2);
    ck_assert(get("z.s24", &b));
    b.data[100] ^= 1;
    put("damaged.s24", b.data, b.n);
}

static const char plan_text[] =
    "{\"schema\":\"s24.plan/1\",\"method\":\"magnitude\",\"refit\":false,\"transposable\":false,"
    "\"dtype\":\"same\",\"group_size\":0,\"tensors\":["
    "{\"name\":\"w.weight\",\"shape\":[8,8],\"axis\":1,\"decision\":\"prune\"},"
    "{\"name\":\"turned\",\"shape\":[12,6],\"axis\":0,\"decision\":\"prune\"},"
    "{\"name\":\"v\",\"shape\":[40],\"decision\":\"dense\",\"reason\":\"x\"}]}";

static void make_directory(void)
{
    s24_error err;
    /* In memory where that can be: every output is synced, thousands of times. */
    strcpy(directory, access("/dev/shm", W_OK) == 0 ? "/dev/shm/s24-test-XXXXXX" : "/tmp/s24-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chdir(directory), 0);
    signal(SIGPIPE, SIG_IGN);
    make_input("in.safetensors", 7);
    make_input("other.safetensors", 11);
    ck_assert_msg(prune_from("in.safetensors", "m.s24", NULL, &err) == S24_OK, "%s", err.message);
    const s24_decompress_request q = {.input = "m.s24", .output = "m.safetensors", .dtype = S24_SAME};
    ck_assert_int_eq(s24_decompress_file(&io, &q, &err), S24_OK);
    const s24_decompress_request z = {.input = "m.s24", .output = "m.npz", .to = "npz", .dtype = S24_SAME};
    ck_assert_int_eq(s24_decompress_file(&io, &z, &err), S24_OK);
    deflate_archive("m.npz", "in.npz");
    ck_assert_msg(prune_from("in.npz", "n.s24", NULL, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(prune_scaled_from("in.safetensors", "scaled.s24", &err) == S24_OK, "%s", err.message);
    const s24_decompress_request d = {.input = "scaled.s24", .output = "scaled.safetensors", .dtype = S24_SAME};
    ck_assert_int_eq(s24_decompress_file(&io, &d, &err), S24_OK);
    ck_assert_msg(prune_as("in.safetensors", "z.s24", 5, NULL, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(do_permuted(&err) == S24_OK && rename("out", "permuted.s24") == 0, "%s", err.message);
    const s24_decompress_request p = {.input = "permuted.s24", .output = "permuted.raw", .to = "raw", .dtype = S24_SAME};
    ck_assert_int_eq(s24_decompress_file(&io, &p, &err), S24_OK);
    const s24_stats_request s = {.input = "m.s24"};
    ck_assert_int_eq(s24_stats_file(&io, &s, &figures, &err), S24_OK);
    const s24_stats_request r = {.input = "m.s24", .original = "other.safetensors"};
    ck_assert_int_eq(s24_stats_file(&io, &r, &other_figures, &err), S24_OK);
    ck_assert(!right_figures(&figures, &other_figures));
    make_layout(&s24_format_bitmask, "bitmask.safetensors");
    make_layout(&s24_format_cutlass, "cutlass.safetensors");
    make_any_number("any.safetensors");
    const s24_decompress_request j = {.input = "m.s24", .output = "m.json", .to = "json", .dtype = S24_SAME};
    ck_assert_msg(s24_decompress_file(&io, &j, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(prune_from("m.json", "j.s24", NULL, &err) == S24_OK, "%s", err.message);
    make_trees();
    make_seconds();
    for (size_t i = 0; i < COUNT(calibrated); i++) {
        ck_assert_msg(prune_calibrated(&calibrated[i], input_of(&calibrated[i]), calibrated[i].name, &err) == S24_OK, "%s: %s",
                      calibrated[i].name, err.message);
    }
    make_long();
    damage_files();
    add_zip64("in.npz", "zip64.npz");
    put("in.raw", plan_text, 64);
    ck_assert_msg(prune_raw("s24", "raw.s24", &err) == S24_OK, "%s", err.message);
    ck_assert_msg(prune_raw("safetensors", "raw.safetensors", &err) == S24_OK, "%s", err.message);
    put("plan.json", plan_text, sizeof plan_text - 1);
}

static void remove_directory(void)
{
    for (size_t i = 0; i < COUNT(trees); i++) {
        remove_tree(trees[i]);
    }
    DIR *const d = opendir(".");
    for (const struct dirent *e; d && (e = readdir(d));) {
        unlink(e->d_name);
    }
    closedir(d);
    s24_report_free(&figures);
    s24_report_free(&other_figures);
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(directory);
}

/* ---------------------------------------------------------------- what is tried */

static s24_status do_prune(s24_error *err)
{
    s24_report report = {0};
    const s24_status status = prune_from("in.safetensors", "out", &report, err);
    const bool right = status != S24_OK || right_figures(&report, &figures);
    s24_report_free(&report);
    return right ? status : S24_ERR_CHECK;
}

static s24_status do_prune_scaled(s24_error *err)
{
    return prune_scaled_from("in.safetensors", "out", err);
}

static s24_status do_decompress_scaled(s24_error *err)
{
    const s24_decompress_request q = {.input = "scaled.s24", .output = "out", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_load_and_save_scaled(s24_error *err)
{
    s24_tensor *tensor;
    s24_prune_metrics metrics;
    s24_status status = s24_tensor_load("scaled.s24", "turned", &tensor, &metrics, err);
    if (status == S24_OK) {
        status = s24_tensor_save("out", "turned", tensor, "magnitude", &metrics, err);
        s24_tensor_free(tensor);
    }
    return status;
}

static s24_status do_decompress(s24_error *err)
{
    const s24_decompress_request q = {.input = "m.s24", .output = "out", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

/* The same as `prune` does, but as a plan says. */
static s24_status do_prune_planned(s24_error *err)
{
    const s24_prune_request q = {.input = "in.safetensors", .output = "out", .plan = "plan.json", .dtype = S24_SAME,
                                 .panel_groups = 4, .panel_bytes = 64};
    return s24_prune_file(&io, &q, NULL, err);
}

static s24_status do_prune_npz(s24_error *err)
{
    return prune_from("in.npz", "out", NULL, err);
}

static s24_status do_decompress_npz(s24_error *err)
{
    const s24_decompress_request q = {.input = "m.s24", .output = "out", .to = "npz", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_prune_zip64(s24_error *err)
{
    return prune_from("zip64.npz", "out", NULL, err);
}

static s24_status do_prune_raw(s24_error *err)
{
    return prune_raw("s24", "out", err);
}

static s24_status do_prune_raw_same(s24_error *err)
{
    return prune_raw("safetensors", "out", err);
}

static s24_status salvage(const char *from, s24_error *err)
{
    const s24_decompress_request q = {.input = from, .output = "out", .dtype = S24_SAME, .salvage = true};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_salvage(s24_error *err)
{
    return salvage("m.s24", err);
}

static s24_status do_salvage_cut(s24_error *err)
{
    return salvage("cut.s24", err);
}

/* What is lost is told, and the rest is there. */
static s24_status do_salvage_half(s24_error *err)
{
    const s24_status status = salvage("half.s24", err);
    return status == S24_ERR_DATA ? S24_OK : status;
}

static s24_status do_verify(s24_error *err)
{
    const s24_verify_request q = {.input = "m.s24"};
    return s24_verify_file(&io, &q, err);
}

static s24_status do_verify_dense(s24_error *err)
{
    const s24_verify_request q = {.input = "m.safetensors",
                                  .selection = {.include = include, .include_count = 1, .axes = axes, .axis_count = 1}};
    return s24_verify_file(&io, &q, err);
}

static s24_status stats_of(const s24_stats_request *q, const s24_report *expected, s24_error *err)
{
    s24_report report = {0};
    const s24_status status = s24_stats_file(&io, q, &report, err);
    const bool right = status != S24_OK || right_figures(&report, expected);
    s24_report_free(&report);
    return right ? status : S24_ERR_CHECK;
}

static s24_status do_stats(s24_error *err)
{
    return stats_of(&(s24_stats_request){.input = "m.s24"}, &figures, err);
}

static s24_status do_recompute(s24_error *err)
{
    return stats_of(&(s24_stats_request){.input = "m.s24", .original = "other.safetensors"}, &other_figures, err);
}

static s24_status do_load_and_save(s24_error *err)
{
    s24_tensor *tensor;
    s24_prune_metrics metrics;
    s24_status status = s24_tensor_load("m.s24", "turned", &tensor, &metrics, err);
    if (status == S24_OK) {
        status = s24_tensor_save("out", "turned", tensor, "magnitude", &metrics, err);
        s24_tensor_free(tensor);
    }
    return status;
}

static s24_status do_load(s24_error *err)
{
    static const char *const paths[] = {"m.s24", "m.safetensors", "in.npz"}, *const names[] = {"turned", "v"};
    s24_status status = S24_OK;
    for (size_t i = 0; i < 6 && status == S24_OK; i++) {
        s24_array array;
        status = s24_array_load(paths[i / 2], names[i % 2], &array, err);
        if (status == S24_OK) {
            s24_array_free(&array);
        }
    }
    return status;
}

/* Out of a sparse layout, and into it again. */
static s24_status carry_layout(s24_source *source, const s24_format *format, const char *to, s24_error *err)
{
    s24_contents plan = {0};
    s24_output *out;
    s24_target target = {0};
    s24_status status = S24_OK;
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        const s24_entry *const from = &source->contents.entries[i];
        s24_entry *const e = s24_contents_add(&plan, from->name, from->dtype, from->rank, from->shape, err);
        status = e ? S24_OK : S24_ERR_SYSTEM;
        if (e) {
            e->packed = from->layout != NULL;
            e->axis = from->rank - 1;
        }
    }
    status = status == S24_OK ? s24_output_open(&out, &io, to, NULL, 0, err) : status;
    if (status != S24_OK) {
        s24_contents_free(&plan);
        return status;
    }
    status = s24_sink_open(&target.sink, format, out, &plan, err);
    status = status == S24_OK ? carry_all(&target, &source->contents, err) : status;
    status = status == S24_OK ? s24_source_expect_end(source, err) : status;
    if (status != S24_OK) {
        s24_target_abort(&target);
        return status;
    }
    status = s24_target_finish(&target, &out, err);
    return status == S24_OK ? s24_output_commit(out, err) : status;
}

static s24_status do_layout(const s24_format *format, const char *from, const char *to, s24_error *err)
{
    s24_source *source;
    s24_status status = s24_source_open(&source, &io, from, NULL, err);
    if (status == S24_OK) {
        status = carry_layout(source, format, to, err);
        s24_source_close(source);
    }
    return status;
}

static s24_status do_bitmask(s24_error *err)
{
    return do_layout(&s24_format_bitmask, "bitmask.safetensors", "out", err);
}

static s24_status do_cutlass(s24_error *err)
{
    return do_layout(&s24_format_cutlass, "cutlass.safetensors", "out", err);
}

/* Whole rows, and parts of them. */
static s24_status do_any_number(s24_error *err)
{
    static const struct {
        uint64_t first;
        size_t n;
    } parts[] = {{0, 60}, {3, 20}, {0, 20}};
    s24_source *source;
    unsigned char data[60];
    s24_status status = s24_source_open(&source, &io, "any.safetensors", NULL, err);
    if (status != S24_OK) {
        return status;
    }
    for (size_t i = 0; i < COUNT(parts) && status == S24_OK; i++) {
        const s24_entry *const e = source->contents.entries;
        status = e->layout->read(e, parts[i].first, parts[i].n, data, err);
        const int wrong = status == S24_OK && i == 0 && (data[0] != 1 || data[27] != 2 || data[28] != 3 || data[59] != 6);
        status = wrong ? S24_ERR_CHECK : status;
    }
    s24_source_close(source);
    return status;
}

static s24_status do_prune_json(s24_error *err)
{
    return prune_from("m.json", "out", NULL, err);
}

static s24_status do_decompress_json(s24_error *err)
{
    const s24_decompress_request q = {.input = "m.s24", .output = "out", .to = "json", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_prune_tree(s24_error *err)
{
    return prune_tree("out", "s24", 0, 0, err);
}

static s24_status do_prune_index(s24_error *err)
{
    return prune_tree_from("ck/model.safetensors.index.json", "out", "s24", 0, 0, err);
}

static s24_status do_prune_tree_same(s24_error *err)
{
    return prune_tree("out", "same", 0, 0, err);
}

static s24_status do_share(s24_error *err)
{
    return prune_tree("out", "s24", 1, 2, err);
}

static s24_status do_other_share(s24_error *err)
{
    return prune_tree("out", "s24", 2, 2, err);
}

static s24_status do_decompress_tree(s24_error *err)
{
    const s24_decompress_request q = {.input = "packed", .output = "out", .directory = true, .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_convert_tree(s24_error *err)
{
    return convert("packed", "out", true, "sparse-24-bitmask", err);
}

static s24_status do_archive(s24_error *err)
{
    return prune_as("in.safetensors", "out", 5, NULL, err);
}

static s24_status do_pack(s24_error *err)
{
    return repack("m.s24", "out", false, 5, err);
}

static s24_status do_unpack(s24_error *err)
{
    return repack("z.s24", "out", false, 0, err);
}

static s24_status do_decompress_archive(s24_error *err)
{
    const s24_decompress_request q = {.input = "z.s24", .output = "out", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_salvage_archive(s24_error *err)
{
    return salvage("z.s24", err);
}

static s24_status do_salvage_damaged_archive(s24_error *err)
{
    return salvage("damaged.s24", err);
}

static s24_status do_verify_archive(s24_error *err)
{
    const s24_verify_request q = {.input = "z.s24"};
    return s24_verify_file(&io, &q, err);
}

static s24_status do_verify_long(s24_error *err)
{
    const s24_verify_request q = {.input = "long.s24"};
    return s24_verify_file(&io, &q, err);
}

static s24_status do_verify_calibrated(s24_error *err)
{
    const s24_verify_request q = {.input = "sparsegpt"};
    return s24_verify_file(&io, &q, err);
}

static s24_status do_stats_archive(s24_error *err)
{
    return stats_of(&(s24_stats_request){.input = "z.s24", .parts = true}, &figures, err);
}

static s24_status do_load_archive(s24_error *err)
{
    s24_array array;
    s24_status status = S24_OK;
    for (int i = 0; i < 2 && status == S24_OK; i++) {
        status = s24_array_load("z.s24", i ? "v" : "turned", &array, err);
        if (status == S24_OK) {
            s24_array_free(&array);
        }
    }
    return status;
}

static s24_status do_pack_tree(s24_error *err)
{
    return repack("packed", "out", true, 5, err);
}

static s24_status do_unpack_tree(s24_error *err)
{
    return repack("tight", "out", true, 0, err);
}

static s24_status do_convert(s24_error *err)
{
    return convert("m.safetensors", "out", false, "s24", err);
}

static s24_status do_convert_back(s24_error *err)
{
    return convert("m.s24", "out", false, "sparse-24-bitmask", err);
}

/* Pipes that hold all there is: no threads are needed. */
static int pipe_in[2], pipe_out[2];
static char path_in[32], path_out[32];

static void fill_pipes(const char *from)
{
    bytes b;
    ck_assert(get(from, &b));
    ck_assert(pipe(pipe_in) == 0 && pipe(pipe_out) == 0);
    ck_assert_int_eq(write(pipe_in[1], b.data, b.n), (ssize_t)b.n);
    close(pipe_in[1]);
    snprintf(path_in, sizeof path_in, "/dev/fd/%d", pipe_in[0]);
    snprintf(path_out, sizeof path_out, "/dev/fd/%d", pipe_out[1]);
}

/* What arrived goes into "out", so that it is compared with the rest. */
static void drain_pipes(bool keep)
{
    bytes b = {.n = 0};
    close(pipe_out[1]);
    for (ssize_t r = 1; r > 0; b.n += r > 0 ? (size_t)r : 0) {
        r = read(pipe_out[0], b.data + b.n, sizeof b.data - b.n);
    }
    close(pipe_out[0]);
    close(pipe_in[0]);
    if (keep) {
        put("out", b.data, b.n);
    }
}

static s24_status do_prune_pipe(s24_error *err)
{
    return prune_from(path_in, path_out, NULL, err);
}

static s24_status do_prune_scaled_pipe(s24_error *err)
{
    return prune_scaled_from(path_in, path_out, err);
}

static s24_status do_decompress_pipe(s24_error *err)
{
    const s24_decompress_request q = {.input = path_in, .output = path_out, .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_decompress_npz_pipe(s24_error *err)
{
    const s24_decompress_request q = {.input = path_in, .output = path_out, .to = "npz", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_salvage_pipe(s24_error *err)
{
    const s24_decompress_request q = {.input = path_in, .output = path_out, .dtype = S24_SAME, .salvage = true};
    return s24_decompress_file(&io, &q, err);
}

static s24_status do_bitmask_pipe(s24_error *err)
{
    return do_layout(&s24_format_bitmask, path_in, path_out, err);
}

static s24_status do_cutlass_pipe(s24_error *err)
{
    return do_layout(&s24_format_cutlass, path_in, path_out, err);
}

static s24_status do_convert_pipe(s24_error *err)
{
    return convert(path_in, path_out, false, "s24", err);
}

static s24_status do_archive_pipe(s24_error *err)
{
    return prune_as(path_in, path_out, 5, NULL, err);
}

static s24_status do_pack_pipe(s24_error *err)
{
    return repack(path_in, path_out, false, 5, err);
}

static s24_status do_unpack_pipe(s24_error *err)
{
    return repack(path_in, path_out, false, 0, err);
}

static s24_status do_decompress_permuted(s24_error *err)
{
    const s24_decompress_request q = {.input = "permuted.s24", .output = "out", .to = "raw", .dtype = S24_SAME};
    return s24_decompress_file(&io, &q, err);
}

static const struct calibrated *now; /* which one the next two do */

static s24_status do_calibrated(s24_error *err)
{
    return prune_calibrated(now, input_of(now), "out", err);
}

static s24_status do_calibrated_pipe(s24_error *err)
{
    return prune_calibrated(now, path_in, path_out, err);
}

typedef struct operation {
    const char *name;
    s24_status (*run)(s24_error *err);
    const char *expected; /* what "out" must be; NULL: nothing is written, or what is is not compared nor replaced */
    const char *piped;    /* the file that comes through a pipe; NULL: none */
    bool writes;
    int spared;           /* faults that may go unseen: a file that is no .s24 is asked twice whether it is one,
                             names are searched without a list where there is no memory for it, salvage has two of
                             everything */
    bool tree;            /* "out" and `expected` are directories */
    const char *start;    /* what "out" is before; NULL: nothing, or with force other files */
} operation;

static const operation operations[] = {
    {"prune", do_prune, "m.s24", NULL, true, 2, false, NULL},
    {"prune by a plan", do_prune_planned, "m.s24", NULL, true, 2, false, NULL},
    {"prune .npz", do_prune_npz, "n.s24", NULL, true, 2, false, NULL},
    {"prune .npz with zip64", do_prune_zip64, "n.s24", NULL, true, 2, false, NULL},
    {"prune raw", do_prune_raw, "raw.s24", NULL, true, 0, false, NULL},
    {"prune raw to .safetensors", do_prune_raw_same, "raw.safetensors", NULL, true, 0, false, NULL},
    {"decompress", do_decompress, "m.safetensors", NULL, true, 0, false, NULL},
    {"decompress to .npz", do_decompress_npz, "m.npz", NULL, true, 0, false, NULL},
    {"salvage", do_salvage, "m.safetensors", NULL, true, 99, false, NULL},
    {"salvage without a tail", do_salvage_cut, "m.safetensors", NULL, true, 99, false, NULL},
    {"salvage half of it", do_salvage_half, NULL, NULL, true, 99, false, NULL},
    {"load and save", do_load_and_save, NULL, NULL, true, 0, false, NULL},
    {"scales", do_prune_scaled, "scaled.s24", NULL, true, 2, false, NULL},
    {"decompress scales", do_decompress_scaled, "scaled.safetensors", NULL, true, 0, false, NULL},
    {"load and save scales", do_load_and_save_scaled, NULL, NULL, true, 0, false, NULL},
    {"decompress permuted", do_decompress_permuted, "permuted.raw", NULL, true, 0, false, NULL},
    {"permuted", do_permuted, NULL, NULL, true, 1, false, NULL},
    {"verify", do_verify, NULL, NULL, false, 0, false, NULL},
    {"verify dense", do_verify_dense, NULL, NULL, false, 2, false, NULL},
    {"stats", do_stats, NULL, NULL, false, 0, false, NULL},
    {"recompute", do_recompute, NULL, NULL, false, 2, false, NULL},
    {"load", do_load, NULL, NULL, false, 8, false, NULL},
    {"bitmask", do_bitmask, "bitmask.safetensors", NULL, true, 4, false, NULL},
    {"cutlass", do_cutlass, "cutlass.safetensors", NULL, true, 4, false, NULL},
    {"sparse-bitmask", do_any_number, NULL, NULL, false, 4, false, NULL},
    {"prune .json", do_prune_json, "j.s24", NULL, true, 2, false, NULL},
    {"decompress to .json", do_decompress_json, "m.json", NULL, true, 0, false, NULL},
    {"convert", do_convert, "c.s24", NULL, true, 2, false, NULL},
    {"convert from .s24", do_convert_back, "c.safetensors", NULL, true, 0, false, NULL},
    {"prune a directory", do_prune_tree, "packed", NULL, true, 4, true, NULL},
    {"prune a directory by its index", do_prune_index, "packed", NULL, true, 4, true, NULL},
    {"prune a directory to the same", do_prune_tree_same, "same", NULL, true, 4, true, NULL},
    {"a share", do_share, "share", NULL, true, 4, true, NULL},
    {"the other share", do_other_share, "packed", NULL, true, 4, true, "share"},
    {"decompress a directory", do_decompress_tree, "same", NULL, true, 0, true, NULL},
    {"convert a directory", do_convert_tree, "bits", NULL, true, 0, true, NULL},
    {"prune to an archive", do_archive, "z.s24", NULL, true, 2, false, NULL},
    {"pack", do_pack, "z.s24", NULL, true, 0, false, NULL},
    {"unpack", do_unpack, "m.s24", NULL, true, 2, false, NULL},
    {"decompress an archive", do_decompress_archive, "m.safetensors", NULL, true, 2, false, NULL},
    {"salvage an archive", do_salvage_archive, "m.safetensors", NULL, true, 99, false, NULL},
    {"salvage an archive by its copy", do_salvage_damaged_archive, "m.safetensors", NULL, true, 99, false, NULL},
    {"verify an archive", do_verify_archive, NULL, NULL, false, 2, false, NULL},
    {"verify what was calibrated", do_verify_calibrated, NULL, NULL, false, 0, false, NULL},
    {"verify an archive with a long header", do_verify_long, NULL, NULL, false, 2, false, NULL},
    {"stats of an archive", do_stats_archive, NULL, NULL, false, 2, false, NULL},
    {"load from an archive", do_load_archive, NULL, NULL, false, 4, false, NULL},
    {"pack a directory", do_pack_tree, "tight", NULL, true, 0, true, NULL},
    {"unpack a directory", do_unpack_tree, "packed", NULL, true, 4, true, NULL},
    {"prune to an archive through pipes", do_archive_pipe, "z.s24", "in.safetensors", false, 0, false, NULL},
    {"pack through pipes", do_pack_pipe, "z.s24", "m.s24", false, 0, false, NULL},
    {"unpack through pipes", do_unpack_pipe, "m.s24", "z.s24", false, 0, false, NULL},
    {"decompress an archive through pipes", do_decompress_pipe, "m.safetensors", "z.s24", false, 0, false, NULL},
    {"salvage an archive through pipes", do_salvage_pipe, "m.safetensors", "z.s24", false, 0, false, NULL},
    {"convert through pipes", do_convert_pipe, "c.s24", "m.safetensors", false, 0, false, NULL},
    {"prune through pipes", do_prune_pipe, "m.s24", "in.safetensors", false, 0, false, NULL},
    {"prune .json through pipes", do_prune_pipe, "j.s24", "m.json", false, 0, false, NULL},
    {"prune .npz through pipes", do_prune_pipe, "n.s24", "in.npz", false, 0, false, NULL},
    {"decompress to .npz through pipes", do_decompress_npz_pipe, NULL, "m.s24", false, 0, false, NULL},
    {"scales through pipes", do_prune_scaled_pipe, "scaled.s24", "in.safetensors", false, 0, false, NULL},
    {"decompress through pipes", do_decompress_pipe, "m.safetensors", "m.s24", false, 0, false, NULL},
    {"salvage through pipes", do_salvage_pipe, "m.safetensors", "m.s24", false, 0, false, NULL},
    {"bitmask through pipes", do_bitmask_pipe, "bitmask.safetensors", "bitmask.safetensors", false, 2, false, NULL},
    {"cutlass through pipes", do_cutlass_pipe, "cutlass.safetensors", "cutlass.safetensors", false, 2, false, NULL},
};

/* How many there are: those, and each calibrated one with files and through pipes. */
enum { OPERATIONS = COUNT(operations) + 2 * COUNT(calibrated) };

static const operation *operation_of(int i)
{
    static operation made;
    if (i < (int)COUNT(operations)) {
        return &operations[i];
    }
    const int c = i - (int)COUNT(operations);
    int seconds = 0;
    now = &calibrated[c / 2];
    for (int k = 0; k < S24_SECONDS; k++) {
        seconds += now->second[k] != NULL;
    }
    made = c % 2 ? (operation){now->name, do_calibrated_pipe, now->name, input_of(now), .spared = 2 * seconds}
                 : (operation){now->name, do_calibrated, now->name, NULL, .writes = true, .spared = 2 * seconds + 2};
    return &made;
}

static bool same_file(const char *a, const char *b)
{
    static bytes x, y;
    return get(a, &x) && get(b, &y) && x.n == y.n && memcmp(x.data, y.data, x.n) == 0;
}

/* What is at "out" before a run. True: there is something. */
static bool prepare(const operation *op)
{
    unlink("out");
    remove_tree("out");
    ck_assert_msg(access("out", F_OK) != 0, "%s: a file is left that is none of the checkpoint's", op->name);
    if (op->start) {
        put_tree("out", op->start, NULL);
        return true;
    }
    if (!op->writes || !op->expected || !io.force) {
        return false;
    }
    if (op->tree) {
        put_tree("out", op->expected, "precious");
    } else {
        put("out", "precious", 8);
    }
    return true;
}

/* Runs it once with the fault number n (0: none). False: fewer calls were made, so that nothing failed. */
static bool run_with_fault(const operation *op, int n, s24_status *status, s24_error *err)
{
    *err = (s24_error){0};
    const bool replaces = prepare(op);
    if (op->piped) {
        fill_pipes(op->piped);
    }
    const int entries = count_entries("."), descriptors = count_entries("/proc/self/fd");
    fail_at = n;
    must_be_seen = late = appeared = false;
    atomic_store(&calls, 0);
    atomic_store(&live, 0);
    armed = true;
    *status = op->run(err);
    armed = false;
    const bool reached = n > 0 && atomic_load(&calls) >= n;
    /* glibc keeps the stacks of threads that have ended, and what belongs to them. */
    ck_assert_msg(atomic_load(&live) == 0 || io.threads > 1, "%s, fault %d: %ld blocks leak", op->name, n, atomic_load(&live));
    ck_assert_msg(count_entries("/proc/self/fd") == descriptors, "%s, fault %d: a descriptor leaks", op->name, n);
    const int created = op->writes && !replaces && access("out", F_OK) == 0;
    ck_assert_msg(count_entries(".") == entries + created, "%s, fault %d: a temporary file is left", op->name, n);
    if (op->piped) {
        drain_pipes(*status == S24_OK);
    }
    return reached;
}

/* What is there of a directory: new files whole, old ones as they were, nothing else, and the index last. */
static void check_tree(const operation *op, int n, s24_status status)
{
    const size_t suffix = access(in_tree(op->expected, TREE_INDEX, 1), F_OK) == 0;
    static bytes b;
    int whole = 0, wanted = 0;
    bool index = false;
    for (size_t i = 0; i < COUNT(tree_files); i++) {
        const bool there = access(in_tree("out", i, suffix), F_OK) == 0;
        const bool same = there && same_file(in_tree("out", i, suffix), in_tree(op->expected, i, suffix));
        wanted += access(in_tree(op->expected, i, suffix), F_OK) == 0;
        whole += same;
        index = i == TREE_INDEX ? same : index;
        ck_assert_msg(!there || same || (io.force && get(in_tree("out", i, suffix), &b) && b.n == 8 &&
                                         memcmp(b.data, "precious", 8) == 0),
                      "%s, fault %d: %s is not whole", op->name, n, in_tree("out", i, suffix));
    }
    ck_assert_msg(status != S24_OK || whole == wanted, "%s, fault %d: silently %d of %d files", op->name, n, whole, wanted);
    if (op->start) { /* this job's files are not all, and the index was there before */
        return;
    }
    /* The index of a share may be in other jobs' hands already: it is never taken back. Nor is what replaced a file. */
    ck_assert_msg(!index || whole == wanted || op->run == do_share, "%s, fault %d: the index before the files", op->name, n);
    ck_assert_msg(whole == 0 || status == S24_OK || io.force || op->run == do_share,
                  "%s, fault %d: files without the others", op->name, n);
    ck_assert_msg(whole || io.force || access("out", F_OK) != 0, "%s, fault %d: an empty directory", op->name, n);
    if (access("out", F_OK) == 0) {
        const int names = 2 + (access("out/tokens", F_OK) == 0), tokens = access(in_tree("out", 1, 0), F_OK) == 0;
        int files = 0;
        for (size_t i = 0; i < COUNT(tree_files); i++) {
            files += i != 1 && access(in_tree("out", i, suffix), F_OK) == 0;
        }
        ck_assert_msg(count_entries("out") == names + files, "%s, fault %d: other files in it", op->name, n);
        ck_assert_msg(names == 2 || count_entries("out/tokens") == 2 + tokens, "%s, fault %d: other files", op->name, n);
    }
}

/* What is there after a fault: all of it or nothing of it. */
static void check_output(const operation *op, int n, s24_status status)
{
    bytes b;
    if (op->tree) {
        check_tree(op, n, status);
        return;
    }
    if (status == S24_OK) {
        ck_assert_msg(!op->expected || same_file("out", op->expected), "%s, fault %d: silently wrong", op->name, n);
    } else if (op->writes && access("out", F_OK) == 0 && !(op->expected && same_file("out", op->expected))) {
        /* Complete and an error: the directory could not be synced. Otherwise what was there before. */
        ck_assert_msg(io.force || !op->expected, "%s, fault %d: half a file", op->name, n);
        ck_assert(get("out", &b));
        ck_assert_msg(!op->expected || (b.n == 8 && memcmp(b.data, "precious", 8) == 0), "%s, fault %d: touched",
                      op->name, n);
    }
}

/* Every fault of one kind. errno values that are retried (EINTR) must not be seen at all. */
static void try_all(const operation *op, int error, bool retried)
{
    s24_status status;
    s24_error err;
    int n = 1, failed = 0, unseen = 0;
    fault_errno = error;
    run_with_fault(op, 0, &status, &err); /* libc's own first-time allocations */
    ck_assert_msg(status == S24_OK, "%s: %s", op->name, err.message);
    for (; run_with_fault(op, n, &status, &err); n++) {
        ck_assert_msg(status == S24_OK || (status == S24_ERR_SYSTEM && !retried), "%s, fault %d: status %d, %s", op->name,
                      n, status, err.message);
        if (status != S24_OK) {
            ck_assert(err.status == status && err.message[0]);
            const bool said = error == ENOMEM && strstr(err.message, "no memory");
            ck_assert_msg(err.sys_errno == error || said, "%s, fault %d: errno %d, %s", op->name, n, err.sys_errno, err.message);
            failed++;
        }
        unseen += status == S24_OK && must_be_seen && !retried;
        ck_assert_msg(unseen <= op->spared, "%s, fault %d is not seen", op->name, n);
        check_output(op, n, status);
        ck_assert_int_lt(n, 20000);
    }
    ck_assert_int_eq(status, S24_OK);
    check_output(op, n, status);
    ck_assert_msg(n > 3 && (retried || failed > n / 2), "%s: %d of %d faults are seen", op->name, failed, n - 1);
}

START_TEST(every_call)
{
    const operation *const op = operation_of(_i);
    for (int force = 0; force < 2; force++) {
        io.force = force;
        try_all(op, EIO, false);
    }
}
END_TEST

START_TEST(every_interruption)
{
    only_transfers = true;
    io.force = true;
    try_all(operation_of(_i), EINTR, true);
    try_all(operation_of(_i), EAGAIN, true);
}
END_TEST

/* The system may move fewer bytes than it was asked to, at any time. */
START_TEST(short_transfers)
{
    const operation *const op = operation_of(_i);
    s24_status status;
    s24_error err;
    io.force = true;
    for (most = 1; most < 200; most = 3 * most + 1) {
        run_with_fault(op, 0, &status, &err);
        ck_assert_msg(status == S24_OK, "%s", err.message);
        check_output(op, 0, status);
    }
}
END_TEST

#ifndef SANITIZED
START_TEST(every_allocation)
{
    const operation *const op = operation_of(_i);
    allocating = true;
    for (int force = 0; force < 2; force++) {
        io.force = force;
        try_all(op, ENOMEM, false);
    }
}
END_TEST
#endif

#ifndef SANITIZED
/* ---------------------------------------------------------------- in memory */

enum { ROWS = 32, COLS = 128, WIDTH = 33 }; /* wide enough for every way to multiply */

static s24_status do_metrics(s24_error *err)
{
    static float weights[ROWS * COLS], gradients[ROWS * COLS], back[ROWS * COLS];
    static const size_t shape[] = {COLS, ROWS};
    static const int64_t turned[] = {1, COLS};
    const s24_dense dense = {weights, S24_F32, 2, shape, turned}, gradient = {gradients, S24_F32, 2, shape, turned};
    const s24_prune_options options = {.axis = 0, .dtype = S24_F16, .threads = 1};
    s24_tensor *t = NULL;
    s24_prune_metrics metrics;
    s24_bench_normal(3, weights, ROWS * COLS);
    s24_bench_normal(4, gradients, ROWS * COLS);
    s24_status status = s24_prune_gradient(&dense, &gradient, &options, &t, &metrics, err);
    status = status == S24_OK ? s24_decompress(t, S24_F32, back, err) : status;
    status = status == S24_OK ? s24_compute_metrics(&dense, t, 1, &metrics, err) : status;
    s24_tensor_free(t);
    return status;
}

/* Masks and solutions, of rows that end in padding. */
static s24_status prune_solved(const char *method, s24_error *err)
{
    enum { K = 18, HEIGHT = 6, INPUTS = 40 };
    static float x[INPUTS * K], weights[HEIGHT * K];
    static const size_t shape[] = {HEIGHT, K};
    const s24_dense dense = {weights, S24_F32, 2, shape, NULL};
    const s24_prune_options options = {.axis = 1, .dtype = S24_F16, .threads = 1};
    s24_calibration *cal = NULL;
    s24_tensor *t = NULL;
    s24_prune_metrics metrics;
    s24_output_error errors;
    s24_bench_normal(7, x, INPUTS * K);
    s24_bench_normal(8, weights, HEIGHT * K);
    s24_status status = s24_calibration_new(&cal, K, INPUTS, &plain, 1, err);
    status = status == S24_OK ? s24_calibration_add(cal, x, INPUTS, err) : status;
    status = status == S24_OK ? s24_prune_calibrated(&dense, method, cal, &options, false, &t, &metrics, &errors, err)
                              : status;
    s24_tensor_free(t);
    s24_calibration_free(cal);
    return status;
}

static s24_status do_ria(s24_error *err)
{
    return prune_solved("ria", err);
}

static s24_status do_obs(s24_error *err)
{
    return prune_solved("obs", err);
}

static s24_status do_norms(s24_error *err)
{
    static const double norms[] = {1, 2, 3, 4};
    static const double hessian[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    s24_calibration *cal = NULL;
    s24_status status = s24_calibration_new(&cal, 4, 0, NULL, 1, err);
    status = status == S24_OK ? s24_calibration_set_norms(cal, norms, err) : status;
    status = status == S24_OK ? s24_calibration_set_hessian(cal, S24_F64, hessian, err) : status;
    s24_calibration_free(cal);
    return status;
}

static s24_status multiply(s24_dtype dtype, s24_compute compute, s24_error *err)
{
    static float b[COLS * WIDTH], c[ROWS * WIDTH];
    const s24_matmul_options options = {.threads = 1, .compute = compute};
    s24_tensor *t = NULL;
    s24_matmul_plan *plan = NULL;
    s24_bench_normal(5, b, COLS * WIDTH);
    s24_status status = s24_bench_weights(ROWS, COLS, dtype, 6, 1, S24_ISA_BEST, &t, err);
    for (size_t n = 1; n <= WIDTH && status == S24_OK; n += 32) {
        status = s24_sparse_matmul(t, b, WIDTH, n, c, WIDTH, &options, err);
    }
    status = status == S24_OK ? s24_matmul_plan_new(t, &options, &plan, err) : status;
    status = status == S24_OK ? s24_matmul_plan_multiply(plan, b, WIDTH, WIDTH, c, WIDTH, err) : status;
    s24_matmul_plan_free(plan);
    s24_tensor_free(t);
    return status;
}

static s24_status do_multiply(s24_error *err)
{
    return multiply(S24_F32, S24_COMPUTE_F32, err);
}

static s24_status do_multiply_bf16(s24_error *err)
{
    return multiply(S24_BF16, S24_COMPUTE_BF16, err);
}

static s24_status do_multiply_i8(s24_error *err)
{
    return multiply(S24_I8, S24_COMPUTE_I8, err);
}

static s24_status do_bench(s24_error *err)
{
    static const size_t n[] = {1};
    const s24_bench_options options = {.n = n, .count = 1, .reps = 1, .threads = 1};
    s24_tensor *t = NULL;
    s24_bench_result result;
    s24_status status = s24_bench_weights(ROWS, COLS, S24_F32, 6, 1, S24_ISA_BEST, &t, err);
    status = status == S24_OK ? s24_bench_run(t, &options, &result, NULL, err) : status;
    s24_tensor_free(t);
    return status;
}

/* What other layouts write into config.json, and take out of it again. */
static s24_status do_config(s24_error *err)
{
    static const char whole[] = "{\n  \"a\": 1,\n  \"quantization_config\": {\"quant_method\": \"compressed-tensors\"}\n}\n",
        bare[] = "{}",
        other[] = "{\"compression_config\": {\"sparsity_config\": {}, \"b\": 1}, \"quantization_config\": null}";
    const char *const texts[] = {whole, bare, other};
    s24_status status = S24_OK;
    for (size_t i = 0; i < COUNT(texts) && status == S24_OK; i++) {
        s24_text with = {0}, without = {0};
        bool changed;
        status = s24_config_set_sparsity(texts[i], strlen(texts[i]), "sparse-24-bitmask", &with, &changed, err);
        status = status == S24_OK ? s24_config_set_sparsity(with.text, with.length, NULL, &without, &changed, err) : status;
        s24_text_free(&with);
        s24_text_free(&without);
    }
    return status;
}

static s24_status (*const in_memory[])(s24_error *err) = {do_metrics, do_multiply, do_multiply_bf16, do_multiply_i8, do_bench,
                                                          do_config, do_ria, do_obs, do_norms};

/* A status, no leak, and all is well again. */
START_TEST(every_allocation_in_memory)
{
    s24_error err;
    ck_assert_msg(in_memory[_i](&err) == S24_OK, "%s", err.message);
    allocating = armed = true;
    for (fail_at = 1;; fail_at++) {
        atomic_store(&calls, 0);
        atomic_store(&live, 0);
        err = (s24_error){0};
        const s24_status status = in_memory[_i](&err);
        const bool reached = atomic_load(&calls) >= fail_at;
        const long left = atomic_load(&live);
        armed = false;
        ck_assert_msg(status == (reached ? S24_ERR_SYSTEM : S24_OK), "fault %d: %d, %s", fail_at, status, err.message);
        ck_assert_msg(status == S24_OK || strstr(err.message, "no memory"), "fault %d: %s", fail_at, err.message);
        ck_assert_msg(left == 0, "fault %d: %ld blocks leak", fail_at, left);
        if (!reached) {
            break;
        }
        armed = true;
    }
    ck_assert_int_gt(fail_at, 3);
}
END_TEST
#endif

/* Two threads: which call is the n-th differs from run to run; what must hold does not. */
START_TEST(with_threads)
{
    io.threads = 3;
    io.force = true;
    try_all(operation_of(_i), EIO, false);
}
END_TEST

/* A file system that cannot rename without replacing, and one that has no hard links either. */
START_TEST(old_file_systems)
{
    static const operation *const op = &operations[1];
    s24_status status;
    s24_error err;
    io.force = false;
    for (int way = 0; way < 2; way++) {
        renameat2_errno = way ? ENOSYS : EINVAL;
        link_errno = way ? EPERM : 0;
        run_with_fault(op, 0, &status, &err);
        ck_assert_int_eq(status, S24_OK);
        check_output(op, 0, status);
    }
    /* With links the target that appears meanwhile is seen. */
    link_errno = 0;
    s24_output *out;
    unlink("out");
    ck_assert_int_eq(s24_output_open(&out, &io, "out", NULL, 0, &err), S24_OK);
    put("out", "theirs", 6);
    armed = true;
    fail_at = 0;
    ck_assert_int_eq(s24_output_commit(out, &err), S24_ERR_SYSTEM);
    armed = false;
    ck_assert_ptr_nonnull(strstr(err.message, "exists already"));
    bytes b;
    ck_assert(get("out", &b) && b.n == 6);
}
END_TEST

/* One that has no files without names: what is too large for memory is in one that lost its name at once. */
START_TEST(no_unnamed_files)
{
    static const uint64_t large = 33u << 20;
    const char *const before = getenv("TMPDIR");
    char *const kept = before ? strdup(before) : NULL;
    char got[4] = "";
    s24_error err = {0};
    s24_spool spool;
    struct stat st = {0};
    ck_assert_int_eq(setenv("TMPDIR", directory, 1), 0);
    s24_spool_init(&spool, &io);
    unnamed_errno = EOPNOTSUPP;
    fail_at = 0;
    armed = true;
    s24_status status = s24_spool_append(&spool, "head", 4, &err);
    status = status == S24_OK ? s24_spool_reserve(&spool, large, "data", &err) : status;
    status = status == S24_OK ? s24_spool_write(&spool, large - 4, "tail", 4, &err) : status;
    armed = false;
    unnamed_errno = 0;
    ck_assert_msg(status == S24_OK, "%s", err.message);
    ck_assert(spool.fd >= 0 && fstat(spool.fd, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 0777) == 0600);
    ck_assert(s24_spool_read(&spool, 0, got, 4, &err) == S24_OK && memcmp(got, "head", 4) == 0);
    ck_assert(s24_spool_read(&spool, large - 4, got, 4, &err) == S24_OK && memcmp(got, "tail", 4) == 0);
    s24_spool_free(&spool);
    ck_assert_int_eq(kept ? setenv("TMPDIR", kept, 1) : unsetenv("TMPDIR"), 0);
    free(kept);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("faults");
    TCase *const tcase = tcase_create("all");
    tcase_add_unchecked_fixture(tcase, make_directory, remove_directory);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_call, 0, OPERATIONS);
    tcase_add_loop_test(tcase, every_interruption, 0, OPERATIONS);
    tcase_add_loop_test(tcase, short_transfers, 0, OPERATIONS);
#ifdef SANITIZED
    puts("test_faults: a sanitizer has malloc; only the other calls fail");
#else
    tcase_add_loop_test(tcase, every_allocation, 0, OPERATIONS);
    tcase_add_loop_test(tcase, every_allocation_in_memory, 0, (int)COUNT(in_memory));
#endif
    tcase_add_loop_test(tcase, with_threads, 0, OPERATIONS);
    tcase_add_test(tcase, old_file_systems);
    tcase_add_test(tcase, no_unnamed_files);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
