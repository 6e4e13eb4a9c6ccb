/*
 * Any dense tensors, pruned and unpacked again. The input is taken for dtypes, shapes, options, elements and gradients.
 * What comes back must follow a plain rule, written down here once more: of four elements the two of greatest |w|, or
 * |w g|, stay, ties go to the lower one, all else is +0.0. Counts and sums must be those of that rule, the .s24 must pass
 * verify, and tell the same as the report; and every file is made twice, by one thread with generic code and by one, or
 * two, with the best there is.
 */
#define _GNU_SOURCE /* memfd_create */
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>

#include "directory.h"
#include "npy.h"
#include "safetensors.h"

#define TENSORS 3
#define DATA_MOST 8192 /* bytes of a tensor */

typedef struct supply {
    const uint8_t *data;
    size_t n, at;
} supply;

/* The next byte; it begins again at the end, so that few bytes make large tensors. */
static unsigned take(supply *s)
{
    return s->n ? s->data[s->at++ % s->n] : 0;
}

static const s24_io plain_io = {.force = true, .no_sync = true, .threads = 1, .isa = S24_ISA_GENERIC};
static s24_io fast_io = {.force = true, .no_sync = true};
static char packed[2][300], dense[2][300];

/* What a run reads: weights, and gradients of the same names and shapes. */
typedef struct input {
    int fd;
    char path[32];
    s24_contents contents;
} input;

static input weights, gradients;

/* ---------------------------------------------------------------- the input */

static s24_dtype take_dtype(supply *s)
{
    return (s24_dtype)(S24_F64 + take(s) % (S24_I64 - S24_F64));
}

/* False: it came out too long. */
static bool add_tensor(s24_contents *contents, supply *s)
{
    char name[2] = {(char)('a' + contents->count), '\0'};
    size_t shape[4] = {0}, n = 8;
    const s24_dtype dtype = take_dtype(s);
    const unsigned rank = take(s) % 5;
    for (unsigned d = 0; d < rank; d++) {
        const unsigned extent = take(s);
        shape[d] = extent < 224 ? extent % 10 : extent;
        n *= shape[d];
    }
    return n <= DATA_MOST && s24_contents_add(contents, name, dtype, (int)rank, shape, NULL);
}

/* Finite, mostly: of bytes as they come NaN would be too many. */
static void add_elements(s24_text *file, const s24_entry *e, supply *s, bool wild)
{
    uint8_t data[DATA_MOST];
    const s24_dtype_info *const info = s24_info(e->dtype);
    for (size_t i = 0; i < e->bytes / info->bytes; i++) {
        uint64_t bits = 0;
        for (unsigned b = 0; b < info->bytes; b++) {
            bits |= (uint64_t)take(s) << 8 * b;
        }
        if (!wild && info->kind != S24_KIND_INT && (bits & info->magnitude_mask) >= info->nonfinite_key) {
            bits &= ~(info->nonfinite_key & ~(info->nonfinite_key >> 1));
        }
        s24_store(data, info->bytes, i, e->big_endian ? __builtin_bswap64(bits) >> (64 - info->bits) : bits);
    }
    s24_text_add(file, (const char *)data, (size_t)e->bytes);
}

/* A .npy of numpy's own spelling, and then in another order. */
static void add_npy_header(s24_text *file, const s24_entry *e)
{
    char header[S24_NPY_HEADER_BYTES + 1] = {0};
    const size_t n = s24_npy_header(e, header);
    char *const order = memmem(header, n, "False", 5), *const endian = memmem(header, n, "'<", 2);
    if (e->fortran && order) {
        memcpy(order, "True ", 5);
    }
    if (e->big_endian && endian) {
        endian[1] = '>';
    }
    s24_text_add(file, header, n);
}

/* A .npy of the one tensor, or a .safetensors of all. */
static void write_input(input *in, unsigned what, supply *s)
{
    s24_text file = {0};
    if (what & 1) {
        s24_entry *const e = in->contents.entries;
        e->fortran = what & 2;
        e->big_endian = (what & 4) && s24_info(e->dtype)->bytes > 1 && e->dtype != S24_BF16;
        if (e->dtype == S24_F8E4M3 || e->dtype == S24_F8E5M2) { /* the file does not tell them apart */
            e->dtype = S24_I8;
        }
        add_npy_header(&file, e);
    } else {
        REQUIRE(s24_safetensors_header(&in->contents, &file, NULL) == S24_OK);
    }
    for (size_t i = 0; i < in->contents.count; i++) {
        add_elements(&file, &in->contents.entries[i], s, what & 8);
    }
    REQUIRE(!file.failed && ftruncate(in->fd, 0) == 0);
    REQUIRE(pwrite(in->fd, file.text, file.length, 0) == (ssize_t)file.length);
    s24_text_free(&file);
}

static bool make_weights(unsigned what, supply *s)
{
    const unsigned count = what & 1 ? 1 : take(s) % (TENSORS + 1);
    for (unsigned i = 0; i < count; i++) {
        if (!add_tensor(&weights.contents, s)) {
            return false;
        }
    }
    write_input(&weights, what, s);
    return true;
}

/* In any order and of any dtype, in a file of the kind that the weights are in: a lone array's have no name. */
static void make_gradients(unsigned what, supply *s)
{
    for (size_t i = 0; i < weights.contents.count; i++) {
        const s24_entry *const e = &weights.contents.entries[i];
        REQUIRE(s24_contents_add(&gradients.contents, e->name, take_dtype(s), e->rank, e->shape, NULL));
    }
    write_input(&gradients, what, s);
}

/* ---------------------------------------------------------------- the rule */

/* Elements of a tensor or of its gradients: rows along the axis. */
typedef struct rows {
    const s24_dtype_info *info;
    uint8_t *data; /* NULL: there are none */
} rows;

typedef struct element {
    uint64_t bits;
    double value, score;
    uint64_t wild; /* how two that are not finite compare; 0: it is finite */
} element;

static element element_of(const rows *from, const rows *by, size_t at)
{
    element e = {.bits = s24_load(from->data, from->info->bytes, at)};
    e.value = s24_decode(from->info, e.bits);
    e.score = fabs(by->data ? e.value * s24_decode(by->info, s24_load(by->data, by->info->bytes, at)) : e.value);
    e.wild = isfinite(e.value) ? 0 : by->data ? 1 : e.bits & from->info->magnitude_mask;
    return e;
}

/* Whether element a of a group goes before b: NaN and infinity first, the greater score, the lower of equals. */
static bool outranks(const element *group, size_t a, size_t b)
{
    const element *const x = &group[a], *const y = &group[b];
    return x->wild != y->wild ? x->wild > y->wild : x->wild || x->score == y->score ? a < b : x->score > y->score;
}

static uint64_t converted(const s24_dtype_info *info, const s24_dtype_info *stored, uint64_t bits)
{
    bool overflow = false;
    return info == stored ? bits : s24_encode(info, s24_decode(stored, s24_encode(stored, s24_decode(info, bits), &overflow)),
                                              &overflow);
}

/* One element, what became of it, and what that adds. */
static void add_element(const s24_dtype_info *info, const s24_dtype_info *stored, const element *e, uint64_t got, bool kept,
                        s24_sums *sums)
{
    const double w = e->value, v = s24_decode(info, got), lost = fabs(w - v);
    if (s24_dtype_scaled(info->id, stored->id)) { /* what its scale makes of it; the figures are of what is not rounded again */
        REQUIRE(kept ? isfinite(v) : got == 0);
        return;
    }
    REQUIRE(got == (kept ? converted(info, stored, e->bits) : 0));
    sums->total_count++;
    sums->pruned_count += !kept;
    sums->zero_count += v == 0;
    sums->negative_zero_count += !kept && w == 0 && signbit(w);
    if (!isfinite(w)) {
        *(kept ? &sums->nonfinite_kept : &sums->nonfinite_pruned) += 1;
        return;
    }
    *(kept ? &sums->kept_abs : &sums->pruned_abs) += fabs(w);
    *(kept ? &sums->kept_sq : &sums->pruned_sq) += w * w;
    sums->quant_abs += kept ? lost : 0;
    sums->quant_sq += kept ? lost * lost : 0;
    sums->max_abs_error = lost > sums->max_abs_error ? lost : sums->max_abs_error;
}

/* The n elements from `at`. */
static void add_group(const rows *from, const rows *by, const rows *to, const s24_dtype_info *stored, size_t at, size_t n,
                      s24_sums *sums)
{
    element group[4];
    bool broken = false;
    for (size_t i = 0; i < n; i++) {
        group[i] = element_of(from, by, at + i);
    }
    for (size_t i = 0; i < n; i++) {
        size_t better = 0;
        for (size_t k = 0; k < n; k++) {
            better += k != i && outranks(group, k, i);
        }
        add_element(from->info, stored, &group[i], s24_load(to->data, to->info->bytes, at + i), better < 2, sums);
        broken = broken || (better >= 2 && group[i].value != 0);
    }
    sums->broken_groups += broken;
}

static bool near(double a, double b)
{
    return (!isfinite(a) && !isfinite(b)) || fabs(a - b) <= 1e-11 * fabs(b) + 1e-300;
}

static void compare_sums(const s24_sums *a, const s24_sums *b)
{
    REQUIRE(a->total_count == b->total_count && a->pruned_count == b->pruned_count && a->zero_count == b->zero_count);
    REQUIRE(a->nonfinite_kept == b->nonfinite_kept && a->nonfinite_pruned == b->nonfinite_pruned);
    REQUIRE(a->negative_zero_count == b->negative_zero_count && a->broken_groups == b->broken_groups);
    REQUIRE(near(a->kept_abs, b->kept_abs) && near(a->pruned_abs, b->pruned_abs));
    REQUIRE(near(a->kept_sq, b->kept_sq) && near(a->pruned_sq, b->pruned_sq));
    REQUIRE(near(a->quant_abs, b->quant_abs) && near(a->quant_sq, b->quant_sq));
    REQUIRE(a->max_abs_error == b->max_abs_error);
}

/* To be freed. */
static rows read_rows(const s24_entry *e, int axis, size_t cols)
{
    uint8_t *const data = malloc((size_t)e->bytes + 1), *const scratch = malloc((size_t)e->bytes + 1);
    const size_t n = (size_t)e->bytes / s24_info(e->dtype)->bytes;
    REQUIRE(data && scratch);
    REQUIRE(n == 0 || s24_source_read_rows(e, axis, 0, n / cols, 0, cols, data, scratch, NULL) == S24_OK);
    free(scratch);
    return (rows){s24_info(e->dtype), data};
}

/* by: its gradients; NULL: none. */
static void check_tensor(const s24_entry *before, const s24_entry *by, const s24_entry *after, const s24_report_tensor *t)
{
    const bool carried = t->status == S24_TENSOR_DENSE;
    const int axis = carried ? before->rank - 1 : t->axis;
    const size_t cols = before->rank ? before->shape[axis] : 1, n = (size_t)before->bytes / s24_info(before->dtype)->bytes;
    s24_sums sums = {0};
    REQUIRE(after->dtype == before->dtype && after->rank == before->rank && after->bytes == before->bytes);
    REQUIRE(before->rank == 0 || memcmp(after->shape, before->shape, (size_t)before->rank * sizeof *before->shape) == 0);
    const rows from = read_rows(before, axis < 0 ? 0 : axis, cols), to = read_rows(after, axis < 0 ? 0 : axis, cols);
    const rows scored = by && !carried ? read_rows(by, axis < 0 ? 0 : axis, cols) : (rows){NULL, NULL};
    REQUIRE(!carried || memcmp(from.data, to.data, (size_t)before->bytes) == 0);
    for (size_t i = 0; i < n && !carried; i += cols) {
        for (size_t k = 0; k < cols; k += 4) {
            add_group(&from, &scored, &to, s24_info(t->stored), i + k, cols - k < 4 ? cols - k : 4, &sums);
        }
    }
    if (!carried && !t->scaled) {
        compare_sums(&t->figures->metrics.sums, &sums);
    }
    free(from.data);
    free(to.data);
    free(scored.data);
}

/* ---------------------------------------------------------------- the round trip */

static uint64_t read_file(const char *path, uint8_t *data, size_t most)
{
    const int fd = open(path, O_RDONLY);
    const ssize_t n = fd < 0 ? 0 : read(fd, data, most);
    REQUIRE(n >= 0 && (size_t)n < most);
    if (fd >= 0) {
        close(fd);
    }
    return (uint64_t)n;
}

static void compare_files(char paths[2][300])
{
    static uint8_t data[2][1 << 17];
    const uint64_t n = read_file(paths[0], data[0], sizeof data[0]);
    REQUIRE(n > 0 && read_file(paths[1], data[1], sizeof data[1]) == n && memcmp(data[0], data[1], (size_t)n) == 0);
}

static void compare_reports(const s24_report *a, const s24_report *b)
{
    REQUIRE(a->count == b->count && memcmp(&a->totals, &b->totals, sizeof a->totals) == 0);
    for (size_t i = 0; i < a->count; i++) {
        const s24_report_tensor *const x = &a->tensors[i], *const y = &b->tensors[i];
        REQUIRE(x->axis == y->axis && x->stored == y->stored && (x->status == S24_TENSOR_DENSE) == (y->status == S24_TENSOR_DENSE));
        REQUIRE(!x->figures == !y->figures);
        REQUIRE(!x->figures || memcmp(&x->figures->metrics.sums, &y->figures->metrics.sums, sizeof(s24_sums)) == 0);
    }
}

static void check_packed(const s24_read_options *read, const s24_report *report)
{
    const s24_verify_request verify = {.input = packed[0]};
    s24_stats_request stats = {.input = packed[0], .original_read = *read};
    s24_report told = {0};
    s24_error err = {0};
    REQUIRE(s24_verify_file(&plain_io, &verify, &err) == S24_OK);
    REQUIRE(s24_verify_file(&fast_io, &verify, &err) == S24_OK);
    REQUIRE(s24_stats_file(&plain_io, &stats, &told, &err) == S24_OK);
    compare_reports(report, &told);
    s24_report_free(&told);
    stats.original = weights.path;
    REQUIRE(s24_stats_file(&fast_io, &stats, &told, &err) == S24_OK);
    compare_reports(report, &told);
    s24_report_free(&told);
}

/*
 * Into both `dense`. False: stored in another dtype an element was rounded up beyond the range of its own (f16's 65504 is
 * 65536 in bf16), as the error must say.
 */
static bool unpack(const s24_prune_request *q, s24_dtype dtype)
{
    s24_status status[2];
    for (int i = 0; i < 2; i++) {
        const s24_decompress_request request = {.input = packed[0], .output = dense[i], .to = "safetensors", .dtype = dtype};
        s24_error err = {0};
        status[i] = s24_decompress_file(i ? &fast_io : &plain_io, &request, &err);
        REQUIRE(status[i] == S24_OK || (q->dtype != S24_SAME && strstr(err.message, "beyond the range of")));
    }
    REQUIRE(status[0] == status[1]);
    return status[0] == S24_OK;
}

static void check_dense(const s24_prune_request *q, const s24_report *report)
{
    s24_source *before, *after, *by = NULL;
    if (!unpack(q, S24_SAME)) {
        REQUIRE(unpack(q, S24_F64));
        return;
    }
    compare_files(dense);
    REQUIRE(s24_source_open(&before, &plain_io, q->input, &q->read, NULL) == S24_OK);
    REQUIRE(s24_source_open(&after, &plain_io, dense[0], NULL, NULL) == S24_OK);
    const char *const path = q->second[S24_GRADIENTS];
    REQUIRE(!path || s24_source_open(&by, &plain_io, path, NULL, NULL) == S24_OK);
    REQUIRE(before->contents.count == report->count && after->contents.count == report->count);
    for (size_t i = 0; i < report->count; i++) {
        check_tensor(&before->contents.entries[i], by ? &by->contents.entries[i] : NULL, &after->contents.entries[i],
                     &report->tensors[i]);
    }
    s24_source_close(before);
    s24_source_close(after);
    s24_source_close(by);
}

static void round_trip(s24_prune_request *q, bool may_fail)
{
    s24_report reports[2] = {{0}, {0}};
    s24_error errs[2] = {{0}, {0}};
    q->output = packed[0];
    const s24_status status = s24_prune_file(&plain_io, q, &reports[0], &errs[0]);
    q->output = packed[1];
    REQUIRE(s24_prune_file(&fast_io, q, &reports[1], &errs[1]) == status);
    require_told(status, &errs[0]);
    REQUIRE(strcmp(errs[0].message, errs[1].message) == 0);
    REQUIRE(status == S24_OK || status == S24_ERR_NOTHING || may_fail);
    if (status == S24_OK) {
        compare_files(packed);
        compare_reports(&reports[0], &reports[1]);
        check_packed(&q->read, &reports[0]);
        check_dense(q, &reports[0]);
    }
    s24_report_free(&reports[0]);
    s24_report_free(&reports[1]);
}

static void open_input(input *in)
{
    in->fd = memfd_create("input", 0);
    REQUIRE(in->fd >= 0);
    snprintf(in->path, sizeof in->path, "/proc/self/fd/%d", in->fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    make_directory();
    for (int i = 0; i < 2; i++) {
        snprintf(packed[i], sizeof packed[i], "%s/%d.s24", directory, i);
        snprintf(dense[i], sizeof dense[i], "%s/%d.dense", directory, i);
    }
    open_input(&weights);
    open_input(&gradients);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const s24_dtype dtypes[] = {S24_SAME, S24_I8, S24_F8E4M3, S24_F32, S24_F16, S24_BF16, S24_SAME, S24_F8E5M2};
    supply s = {data, n, 0};
    const unsigned options = take(&s), axes = take(&s), what = take(&s), of_gradients = options & 128 ? take(&s) : 0;
    const s24_axis_rule rules[] = {{"a", (int)(axes % 4) - 2}, {"b", (int)(axes / 4 % 4) - 2}};
    s24_prune_request q = {
        .input = weights.path, .to = "s24", .dtype = dtypes[options & 7], .allow_nonfinite = options & 8,
        .scale_group = what & 128 ? S24_SCALE_GROUP : 0,
        .selection = {.all = options & 16, .axes = rules, .axis_count = axes / 16 % 3},
        .panel_groups = options & 32 ? 2 * (1 + axes / 64) : 0, .panel_bytes = options & 64 ? 64 : 0,
    };
    fast_io.threads = is_chosen(data, n, 4) ? 2 : 1; /* starting one takes as long as all else */
    if (make_weights(what, &s)) {
        if (options & 128) {
            make_gradients((of_gradients & ~1u) | (what & 1), &s);
            q.method = "gradient";
            q.second[S24_GRADIENTS] = gradients.path;
        }
        /* Weights that spell a member of a .s24's header pass for a damaged one. */
        const bool like_s24 = memmem(data, n, "s24", 3) != NULL;
        round_trip(&q, q.dtype != S24_SAME || !q.allow_nonfinite || q.selection.axis_count || of_gradients & 8 || like_s24);
    }
    s24_contents_free(&weights.contents);
    s24_contents_free(&gradients.contents);
    return 0;
}
