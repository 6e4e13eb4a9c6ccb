/*
 * Dense files being written. Three ways for a tensor's rows to reach its file: to their places (regular files), one
 * after another (pipes and text, when rows come in the file's order), or through a spool (pipes and text, when they do
 * not: the tensor is put together there and sent when it is complete).
 */
#include <string.h>

#include "format.h"

#define COPY_BYTES (1u << 20)

s24_status s24_sink_open(s24_sink **sink, const s24_format *format, s24_output *out, s24_contents *plan, s24_error *err)
{
    s24_sink *s = s24_calloc(1, sizeof *s, err);
    if (!s) {
        s24_contents_free(plan);
        s24_output_abort(out);
        return S24_ERR_SYSTEM;
    }
    *s = (s24_sink){.format = format, .io = out->io, .out = out, .contents = *plan};
    *plan = (s24_contents){0};
    s24_spool_init(&s->spool, out->io);
    for (size_t i = 0; i < s->contents.count; i++) { /* what a sink writes is little-endian C order */
        s->contents.entries[i].fortran = false;
        s->contents.entries[i].big_endian = false;
    }
    const s24_status status = format->create(s, err);
    if (status != S24_OK) {
        s24_sink_abort(s);
        return status;
    }
    *sink = s;
    return S24_OK;
}

static bool text_format(const s24_sink *sink)
{
    return sink->format->write != NULL;
}

bool s24_sink_positional(const s24_sink *sink, size_t index)
{
    (void)index;
    return !sink->out->stream && !text_format(sink);
}

typedef struct sink_place {
    s24_sink *sink;
    size_t index;
    uint64_t offset;
    unsigned bytes;
} sink_place;

static s24_status move_out(void *ctx, uint64_t first, size_t n, void *data, s24_error *err)
{
    const sink_place *p = ctx;
    if (text_format(p->sink)) {
        return p->sink->format->write(p->sink, p->index, first, n, data, err);
    }
    return s24_output_write(p->sink->out, p->offset + first * p->bytes, data, n * p->bytes, err);
}

static s24_status move_to_spool(void *ctx, uint64_t first, size_t n, void *data, s24_error *err)
{
    const sink_place *p = ctx;
    return s24_spool_write(&p->sink->spool, first * p->bytes, data, n * p->bytes, err);
}

/* Whether the entry must go through the spool. */
static bool spooled(const s24_sink *sink, size_t index, const s24_rows *rows)
{
    return !s24_sink_positional(sink, index) && !s24_rows_contiguous(rows);
}

s24_status s24_sink_write_rows(s24_sink *sink, size_t index, int axis, size_t row, size_t count, size_t col,
                               size_t cols, const void *data, void *scratch, s24_error *err)
{
    const s24_entry *entry = &sink->contents.entries[index];
    const s24_rows rows = s24_entry_rows(entry, axis);
    sink_place place = {.sink = sink, .index = index, .offset = entry->offset, .bytes = rows.bytes};
    if (!spooled(sink, index, &rows)) {
        return s24_rows_write(&rows, row, count, col, cols, data, scratch, move_out, &place, err);
    }
    const s24_status status = s24_spool_reserve(&sink->spool, entry->bytes, "a transposed tensor", err);
    if (status != S24_OK) {
        return status;
    }
    return s24_rows_write(&rows, row, count, col, cols, data, scratch, move_to_spool, &place, err);
}

s24_status s24_sink_end_entry(s24_sink *sink, size_t index, int axis, s24_error *err)
{
    const s24_entry *entry = &sink->contents.entries[index];
    const s24_rows rows = s24_entry_rows(entry, axis);
    s24_status status = S24_OK;
    if (spooled(sink, index, &rows) && entry->bytes) {
        sink_place place = {.sink = sink, .index = index, .offset = entry->offset, .bytes = rows.bytes};
        unsigned char *buffer = s24_alloc(COPY_BYTES, err);
        if (!buffer) {
            return S24_ERR_SYSTEM;
        }
        for (uint64_t at = 0; at < entry->bytes && status == S24_OK;) {
            const size_t n = entry->bytes - at < COPY_BYTES ? (size_t)(entry->bytes - at) : COPY_BYTES;
            status = s24_spool_read(&sink->spool, at, buffer, n, err);
            status = status == S24_OK ? move_out(&place, at / rows.bytes, n / rows.bytes, buffer, err) : status;
            at += n;
        }
        free(buffer);
        s24_spool_free(&sink->spool);
    }
    return status;
}

static void sink_free(s24_sink *sink)
{
    s24_contents_free(&sink->contents);
    s24_spool_free(&sink->spool);
    free(sink);
}

s24_status s24_sink_finish(s24_sink *sink, s24_output **output, s24_error *err)
{
    const s24_status status = sink->format->finish ? sink->format->finish(sink, err) : S24_OK;
    if (status != S24_OK) {
        s24_sink_abort(sink);
        return status;
    }
    *output = sink->out;
    sink_free(sink);
    return S24_OK;
}

s24_status s24_sink_commit(s24_sink *sink, s24_error *err)
{
    s24_output *out;
    const s24_status status = s24_sink_finish(sink, &out, err);
    return status == S24_OK ? s24_output_commit(out, err) : status;
}

void s24_sink_abort(s24_sink *sink)
{
    if (sink) {
        if (sink->format->abandon) {
            sink->format->abandon(sink);
        }
        s24_output_abort(sink->out);
        sink_free(sink);
    }
}
