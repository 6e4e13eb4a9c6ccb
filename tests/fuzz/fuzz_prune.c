/*
 * Any dense tensors, pruned and unpacked again. The input is taken for dtypes, shapes, options and elements. What comes
 * back must follow a plain rule, written down here once more: of four elements the two of greatest magnitude stay, ties
 * go to the lower one, all else is +0.0. Counts and sums must be those of that rule, the .s24 must pass verify, and tell
 * the same as the report; and every file is made twice, by one thread with generic code and by two with the best there is.
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

static const s24_io plain_io = {.force = true, .no_sync = true, .threads = 1, .isa = S24_ISA_GENERIC},
                    fast_io = {.force = true, .no_sync = true, .threads = 2};
static char packed[2][300], dense[2][300], input[32];
static int input_fd = -1;

/* ---------------------------------------------------------------- the input */

/* False: it came out too long. */
static bool add_tensor(s24_contents *contents, supply *s)
{
    char name[2] = {(char)('a' + contents->count), '\0'};
    size_t shape[4] = {0}, n = 8;
    const s24_dtype dtype = (s24_dtype)(S24_F64 + take(s) % (S24_I64 - S24_F64));
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

static bool make_input(s24_contents *contents, s24_text *file, supply *s)
{
    const unsigned what = take(s), count = what & 1 ? 1 : take(s) % (TENSORS + 1);
    for (unsigned i = 0; i < count; i++) {
        if (!add_tensor(contents, s)) {
            return false;
        }
    }
    if (what & 1) {
        s24_entry *const e = contents->entries;
        e->fortran = what & 2;
        e->big_endian = (what & 4) && s24_info(e->dtype)->bytes > 1 && e->dtype != S24_BF16;
        if (e->dtype == S24_F8E4M3 || e->dtype == S24_F8E5M2) { /* the file does not tell them apart */
            e->dtype = S24_I8;
        }
        add_npy_header(file, e);
    } else {
        REQUIRE(s24_safetensors_header(contents, file, NULL) == S24_OK);
    }
    for (unsigned i = 0; i < count; i++) {
        add_elements(file, &contents->entries[i], s, what & 8);
    }
    REQUIRE(!file->failed && ftruncate(input_fd, 0) == 0);
    REQUIRE(pwrite(input_fd, file->text, file->length, 0) == (ssize_t)file->length);
    return true;
}

/* ---------------------------------------------------------------- the rule */

/* Whether element a of a group goes before b: the greater magnitude, NaN and infinity first, the lower of equals. */
static bool outranks(const s24_dtype_info *info, const uint64_t *group, size_t a, size_t b)
{
    const double x = fabs(s24_decode(info, group[a])), y = fabs(s24_decode(info, group[b]));
    if (!isfinite(x) && !isfinite(y)) {
        const uint64_t i = group[a] & info->magnitude_mask, k = group[b] & info->magnitude_mask;
        return i == k ? a < b : i > k;
    }
    return isfinite(x) != isfinite(y) ? !isfinite(x) : x == y ? a < b : x > y;
}

static uint64_t converted(const s24_dtype_info *info, const s24_dtype_info *stored, uint64_t bits)
{
    bool overflow = false;
    return info == stored ? bits : s24_encode(info, s24_decode(stored, s24_encode(stored, s24_decode(info, bits), &overflow)),
                                              &overflow);
}

/* One element, what became of it, and what that adds. */
static void add_element(const s24_dtype_info *info, const s24_dtype_info *stored, uint64_t bits, uint64_t got, bool kept,
                        s24_sums *sums)
{
    const double w = s24_decode(info, bits), v = s24_decode(info, got), lost = fabs(w - v);
    if (s24_dtype_scaled(info->id, stored->id)) { /* what its scale makes of it; the figures are of what is not rounded again */
        REQUIRE(kept ? isfinite(v) : got == 0);
        return;
    }
    REQUIRE(got == (kept ? converted(info, stored, bits) : 0));
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

static void add_group(const s24_dtype_info *info, const s24_dtype_info *stored, const uint8_t *from, const uint8_t *to,
                      size_t n, s24_sums *sums)
{
    uint64_t group[4];
    bool broken = false;
    for (size_t i = 0; i < n; i++) {
        group[i] = s24_load(from, info->bytes, i);
    }
    for (size_t i = 0; i < n; i++) {
        size_t better = 0;
        for (size_t k = 0; k < n; k++) {
            better += k != i && outranks(info, group, k, i);
        }
        add_element(info, stored, group[i], s24_load(to, info->bytes, i), better < 2, sums);
        broken = broken || (better >= 2 && s24_decode(info, group[i]) != 0);
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

/* Rows of both along the axis, where they are to be freed. */
static uint8_t *read_rows(const s24_entry *e, int axis, size_t cols)
{
    uint8_t *const data = malloc((size_t)e->bytes + 1), *const scratch = malloc((size_t)e->bytes + 1);
    const size_t n = (size_t)e->bytes / s24_info(e->dtype)->bytes;
    REQUIRE(data && scratch);
    REQUIRE(n == 0 || s24_source_read_rows(e, axis, 0, n / cols, 0, cols, data, scratch, NULL) == S24_OK);
    free(scratch);
    return data;
}

static void check_tensor(const s24_entry *before, const s24_entry *after, const s24_report_tensor *t)
{
    const s24_dtype_info *const info = s24_info(before->dtype);
    const bool carried = t->status == S24_TENSOR_DENSE;
    const int axis = carried ? before->rank - 1 : t->axis;
    const size_t cols = before->rank ? before->shape[axis] : 1, n = (size_t)before->bytes / info->bytes;
    s24_sums sums = {0};
    REQUIRE(after->dtype == before->dtype && after->rank == before->rank && after->bytes == before->bytes);
    REQUIRE(before->rank == 0 || memcmp(after->shape, before->shape, (size_t)before->rank * sizeof *before->shape) == 0);
    uint8_t *const from = read_rows(before, axis < 0 ? 0 : axis, cols), *const to = read_rows(after, axis < 0 ? 0 : axis, cols);
    REQUIRE(!carried || memcmp(from, to, (size_t)before->bytes) == 0);
    for (size_t i = 0; i < n && !carried; i += cols) {
        for (size_t k = 0; k < cols; k += 4) {
            const size_t at = (i + k) * info->bytes;
            add_group(info, s24_info(t->stored), from + at, to + at, cols - k < 4 ? cols - k : 4, &sums);
        }
    }
    if (!carried && !t->scaled) {
        compare_sums(&t->metrics.sums, &sums);
    }
    free(from);
    free(to);
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
        REQUIRE(memcmp(&x->metrics.sums, &y->metrics.sums, sizeof x->metrics.sums) == 0);
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
    stats.original = input;
    REQUIRE(s24_stats_file(&fast_io, &stats, &told, &err) == S24_OK);
    compare_reports(report, &told);
    s24_report_free(&told);
}

static void check_dense(const s24_read_options *read, const s24_report *report)
{
    s24_source *before, *after;
    for (int i = 0; i < 2; i++) {
        const s24_decompress_request unpack = {.input = packed[0], .output = dense[i], .to = "safetensors", .dtype = S24_SAME};
        REQUIRE(s24_decompress_file(i ? &fast_io : &plain_io, &unpack, NULL) == S24_OK);
    }
    compare_files(dense);
    REQUIRE(s24_source_open(&before, &plain_io, input, read, NULL) == S24_OK);
    REQUIRE(s24_source_open(&after, &plain_io, dense[0], NULL, NULL) == S24_OK);
    REQUIRE(before->contents.count == report->count && after->contents.count == report->count);
    for (size_t i = 0; i < report->count; i++) {
        check_tensor(&before->contents.entries[i], &after->contents.entries[i], &report->tensors[i]);
    }
    s24_source_close(before);
    s24_source_close(after);
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
        check_dense(&q->read, &reports[0]);
    }
    s24_report_free(&reports[0]);
    s24_report_free(&reports[1]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    make_directory();
    for (int i = 0; i < 2; i++) {
        snprintf(packed[i], sizeof packed[i], "%s/%d.s24", directory, i);
        snprintf(dense[i], sizeof dense[i], "%s/%d.dense", directory, i);
    }
    input_fd = memfd_create("input", 0);
    REQUIRE(input_fd >= 0);
    snprintf(input, sizeof input, "/proc/self/fd/%d", input_fd);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const s24_dtype dtypes[] = {S24_SAME, S24_I8, S24_F8E4M3, S24_F32, S24_F16, S24_BF16, S24_SAME, S24_F8E5M2};
    supply s = {data, n, 0};
    s24_contents contents = {0};
    s24_text file = {0};
    const unsigned options = take(&s), axes = take(&s);
    const s24_axis_rule rules[] = {{"a", (int)(axes % 4) - 2}, {"b", (int)(axes / 4 % 4) - 2}};
    s24_prune_request q = {
        .input = input, .to = "s24", .dtype = dtypes[options & 7], .allow_nonfinite = options & 8,
        .scale_group = options & 128 ? S24_SCALE_GROUP : 0,
        .selection = {.all = options & 16, .axes = rules, .axis_count = axes / 16 % 3},
        .panel_groups = options & 32 ? 2 * (1 + axes / 64) : 0, .panel_bytes = options & 64 ? 64 : 0,
    };
    if (make_input(&contents, &file, &s)) {
        round_trip(&q, q.dtype != S24_SAME || !q.allow_nonfinite || q.selection.axis_count);
    }
    s24_contents_free(&contents);
    s24_text_free(&file);
    return 0;
}
