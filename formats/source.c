/* Which format a file has, and rows of its dense tensors. */
#include <string.h>

#include "checkpoint.h"
#include "layout.h"
#include "plain.h"

const s24_format *s24_format_by_name(const char *name)
{
    for (int i = 0; s24_formats[i]; i++) {
        if (strcmp(s24_formats[i]->name, name) == 0) {
            return s24_formats[i];
        }
    }
    return NULL;
}

/* Whether `suffixes` (".raw .bin") has the n characters at `suffix` as one of its words. */
static bool has_word(const char *suffixes, const char *suffix, size_t n)
{
    for (const char *s = suffixes; s && *s;) {
        const size_t word = strcspn(s, " ");
        if (word == n && memcmp(s, suffix, n) == 0) {
            return true;
        }
        s += word + (s[word] == ' ');
    }
    return false;
}

const s24_format *s24_format_by_suffix(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash : path, '.');
    for (int i = 0; dot && s24_formats[i]; i++) {
        if (has_word(s24_formats[i]->suffixes, dot, strlen(dot))) {
            return s24_formats[i];
        }
    }
    return NULL;
}

static s24_status find_format(s24_source *source, s24_error *err)
{
    const s24_format *found = NULL;
    if (source->options->format) {
        found = s24_format_by_name(source->options->format);
        if (!found || !found->open) {
            return s24_fail(err, S24_ERR_USAGE, "no such input type: %s", source->options->format);
        }
        source->format = found;
        return S24_OK;
    }
    unsigned char head[S24_PROBE_BYTES];
    size_t got;
    s24_status status = s24_input_peek(source->in, head, sizeof head, &got, err);
    if (status != S24_OK) {
        return status;
    }
    if (got == 0) {
        return s24_fail(err, S24_ERR_DATA, "is empty; copy the file again");
    }
    if (s24_plain_recognise(source->in, head, got)) {
        found = &s24_format_s24;
    }
    for (int i = 0; !found && s24_formats[i]; i++) {
        if (s24_formats[i]->probe && s24_formats[i]->probe(head, got)) {
            found = s24_formats[i];
        }
    }
    const s24_format *const named = found ? NULL : s24_format_by_suffix(source->in->name);
    if (named && named->open && named != &s24_format_raw) {
        return s24_fail(err, S24_ERR_DATA, "does not begin as a .%s does: damaged, or of another type; copy the file "
                        "again, or say its type with --from", named->name);
    }
    if (!found) {
        return s24_fail(err, S24_ERR_DATA, "is no known type of weights file; raw data need --from raw --raw-dtype f32 "
                        "--shape 4096,4096");
    }
    if (found->unsupported) {
        return s24_fail(err, S24_ERR_DATA, "is %s, which s24 does not read; %s", found->name, found->advice);
    }
    source->format = found;
    return S24_OK;
}

s24_status s24_source_find(s24_source **source, const s24_io *io, const char *path, const s24_read_options *options,
                           s24_error *err)
{
    static const s24_read_options defaults;
    s24_source *src = s24_calloc(1, sizeof *src, err);
    if (!src) {
        return S24_ERR_SYSTEM;
    }
    src->io = io;
    src->options = options ? options : &defaults;
    src->contents.most = S24_TENSORS_MAX;
    s24_status status;
    if (s24_checkpoint_is(path, src->options->format != NULL)) {
        status = s24_checkpoint_find(src, io, path, err);
    } else {
        status = s24_input_open(&src->in, io, path, err);
        status = status == S24_OK ? find_format(src, err) : status;
    }
    if (status == S24_OK && src->format != &s24_format_raw &&
        (src->options->has_shape || src->options->offset || src->options->big_endian)) {
        status = s24_fail(err, S24_ERR_USAGE, "is .%s, which tells its shape and order itself; --shape, --offset and "
                          "--endian go with --from raw", src->format->name);
    }
    if (status != S24_OK) {
        s24_source_close(src);
        return status;
    }
    *source = src;
    return S24_OK;
}

s24_status s24_source_parse(s24_source *source, s24_error *err)
{
    if (source->checkpoint) {
        return s24_checkpoint_parse(source, err);
    }
    /* cppcheck-suppress ctunullpointer ; it is set when s24_source_find succeeds */
    s24_status status = source->format->open(source, err);
    if (status == S24_OK && source->format == &s24_format_safetensors && !source->options->format &&
        s24_plain_lists_records(&source->contents)) { /* planes must not pass for weights, unless --from says so */
        status = s24_fail(err, S24_ERR_DATA, S24_PLAIN_SAVED_AGAIN);
    }
    source->listed = source->contents.count;
    for (size_t i = 0; i < source->contents.count; i++) {
        s24_entry *e = &source->contents.entries[i];
        e->source = source;
        e->in = e->in ? e->in : source->in;
    }
    /* The planes of a tensor may be in several of a checkpoint's files. */
    return status == S24_OK && source->format == &s24_format_safetensors && !source->is_part ? s24_layout_apply(source, err)
                                                                                             : status;
}

s24_status s24_source_open(s24_source **source, const s24_io *io, const char *path, const s24_read_options *options,
                           s24_error *err)
{
    s24_source *src;
    s24_status status = s24_source_find(&src, io, path, options, err);
    if (status == S24_OK) {
        status = s24_source_parse(src, err);
        if (status != S24_OK) {
            s24_source_close(src);
            return status;
        }
        *source = src;
    }
    return status;
}

size_t s24_source_files(const s24_source *source)
{
    return source->checkpoint ? source->part_count : 1;
}

s24_source *s24_source_file(s24_source *source, size_t i)
{
    return source->checkpoint ? source->parts[i] : source;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(s24_entry *const *)a)->name, (*(s24_entry *const *)b)->name);
}

static int name_of(const void *name, const void *entry)
{
    return strcmp(name, (*(s24_entry *const *)entry)->name);
}

s24_entry *s24_source_find_entry(s24_source *source, const char *name)
{
    s24_contents *c = &source->contents;
    if (!source->by_name && c->count) {
        source->by_name = s24_calloc(c->count, sizeof *source->by_name, NULL);
        for (size_t i = 0; source->by_name && i < c->count; i++) {
            source->by_name[i] = &c->entries[i];
        }
        if (source->by_name) {
            qsort(source->by_name, c->count, sizeof *source->by_name, by_name);
        }
    }
    for (size_t i = 0; !source->by_name && i < c->count; i++) { /* no memory: slower */
        if (strcmp(c->entries[i].name, name) == 0) {
            return &c->entries[i];
        }
    }
    s24_entry **found = source->by_name ? bsearch(name, source->by_name, c->count, sizeof *source->by_name, name_of) : NULL;
    return found ? *found : NULL;
}

bool s24_source_is_model(const s24_source *source)
{
    return source->format->max_tensors != 1 && !(source->contents.count == 1 && !*source->contents.entries[0].name);
}

void s24_source_close(s24_source *source)
{
    if (source) {
        if (source->checkpoint) {
            s24_checkpoint_close(source);
        } else if (source->format && source->format->close) {
            source->format->close(source);
        }
        free(source->by_name);
        s24_contents_free(&source->contents);
        s24_input_close(source->in);
        free(source);
    }
}

s24_status s24_source_expect_end(s24_source *source, s24_error *err)
{
    bool planes = source->contents.count != source->listed; /* in it; of tensors that may be another shard's */
    uint64_t end = 0;
    if (source->format->end) {
        return source->format->end(source, err);
    }
    for (size_t i = 0; i < source->contents.count; i++) {
        const s24_entry *e = &source->contents.entries[i];
        planes = planes || e->layout;
        end = e->offset + e->bytes > end ? e->offset + e->bytes : end;
    }
    /* What has planes was read to its end when they were found. */
    return source->in->stream && source->contents.count && !planes ? s24_input_expect_end(source->in, end, err) : S24_OK;
}

s24_status s24_format_accepts(const s24_format *format, const s24_contents *contents, s24_error *err)
{
    if (format->max_tensors && contents->count > format->max_tensors) {
        return s24_fail(err, S24_ERR_USAGE, "%zu tensors do not fit a .%s file; write .safetensors, or choose one",
                        contents->count, format->name);
    }
    for (size_t i = 0; i < contents->count && format->accepts; i++) {
        const s24_entry *e = &contents->entries[i];
        const s24_status status = format->accepts(e, err);
        if (status != S24_OK) {
            return *e->name ? s24_fail_prefix(err, status, "%s: ", e->name) : status;
        }
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- rows */

s24_rows s24_entry_rows(const s24_entry *entry, int axis)
{
    return (s24_rows){.rank = entry->rank, .axis = axis, .shape = entry->shape, .fortran = entry->fortran,
                      .bytes = s24_info(entry->dtype)->bytes};
}

bool s24_entry_transposed(const s24_entry *entry, int axis)
{
    const s24_rows rows = s24_entry_rows(entry, axis);
    return !s24_rows_contiguous(&rows);
}

s24_status s24_source_hold(const s24_entry *entry, int axis, s24_error *err)
{
    if (!entry->in->stream || entry->layout || !s24_entry_transposed(entry, axis)) { /* a layout's planes are held */
        return S24_OK;
    }
    const s24_status status = s24_input_hold(entry->in, entry->offset, entry->bytes, err);
    return s24_fail_prefix(err, status, "%s: ", entry->in->name);
}

static s24_status move_in(void *ctx, uint64_t first, size_t n, void *data, s24_error *err)
{
    const s24_entry *const e = ctx;
    const unsigned bytes = s24_info(e->dtype)->bytes;
    return e->layout ? e->layout->read(e, first, n, data, err)
                     : s24_input_read(e->in, e->offset + first * bytes, data, n * bytes, err);
}

/* Of n elements; a complex number is two, each with an order of its own. */
static void swap_bytes(void *data, s24_dtype dtype, size_t n)
{
    const unsigned parts = dtype == S24_C64 ? 2 : 1, bytes = s24_info(dtype)->bytes / parts;
    unsigned char *p = data;
    n *= parts;
    for (size_t i = 0; i < n; i++) {
        const uint64_t x = s24_load(p, bytes, i);
        s24_store(p, bytes, i, __builtin_bswap64(x) >> (64 - 8 * bytes));
    }
}

s24_status s24_entry_read_rows(const s24_entry *entry, int axis, size_t row, size_t count, size_t col, size_t cols,
                               void *data, void *scratch, s24_error *err)
{
    const s24_rows rows = s24_entry_rows(entry, axis);
    const s24_status status = s24_rows_read(&rows, row, count, col, cols, data, scratch, move_in,
                                            (void *)(uintptr_t)entry, err);
    if (status == S24_OK && entry->big_endian && rows.bytes > 1) {
        swap_bytes(data, entry->dtype, count * cols);
    }
    return status;
}

s24_status s24_source_read_rows(const s24_entry *entry, int axis, size_t row, size_t count, size_t col, size_t cols,
                                void *data, void *scratch, s24_error *err)
{
    const s24_status status = s24_entry_read_rows(entry, axis, row, count, col, cols, data, scratch, err);
    return s24_fail_prefix(err, status, "%s: ", entry->in->name);
}

s24_status s24_source_view_rows(const s24_entry *entry, int axis, size_t row, size_t count, size_t col, size_t cols,
                                s24_window *window, void *data, void *scratch, const void **view, s24_error *err)
{
    const s24_rows rows = s24_entry_rows(entry, axis);
    if (entry->layout || entry->big_endian || !s24_rows_contiguous(&rows)) {
        *view = data;
        return s24_source_read_rows(entry, axis, row, count, col, cols, data, scratch, err);
    }
    const size_t row_cols = entry->rank ? entry->shape[axis] : 1;
    const uint64_t first = (uint64_t)row * row_cols + col;
    const s24_status status = s24_window_view(window, entry->in, entry->offset + first * rows.bytes, count * cols * rows.bytes,
                                              data, view, err);
    return s24_fail_prefix(err, status, "%s: ", entry->in->name);
}
