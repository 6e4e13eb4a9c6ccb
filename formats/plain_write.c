/* Writing a plain .s24 file, in one pass: header, head, tensors in order, metrics, copy, tail. */
#include <string.h>

#include "archive.h"
#include "plain.h"

#define COPY_BYTES (1u << 20)

static void writer_free(s24_plain_writer *w)
{
    for (int k = 0; k < S24_PLANES; k++) {
        s24_appender_free(&w->planes[k]);
        s24_spool_free(&w->waiting[k]);
    }
    s24_archive_writer_free(w->archive);
    s24_plain_free(&w->plain);
    free(w->checks);
    free(w);
}

void s24_plain_writer_abort(s24_plain_writer *w)
{
    if (w) {
        s24_output_abort(w->out);
        writer_free(w);
    }
}

/* The header and behind it a record: head or, with the copy, tail. */
static s24_status write_header(const s24_plain_writer *w, uint64_t offset, const char *magic, s24_error *err)
{
    const size_t bytes = w->plain.header_bytes, buffer_bytes = bytes < COPY_BYTES ? bytes : COPY_BYTES;
    unsigned char record[S24_RECORD_BYTES], *buffer = s24_malloc(buffer_bytes, err);
    s24_inflater header;
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    s24_inflate_begin(&header, &w->plain.header);
    for (size_t at = 0; at < bytes && status == S24_OK; at += buffer_bytes) {
        const size_t n = bytes - at < buffer_bytes ? bytes - at : buffer_bytes;
        status = s24_inflate_read(&header, at, buffer, n, err);
        status = status == S24_OK ? s24_output_write(w->out, offset + at, buffer, n, err) : status;
    }
    s24_inflate_end(&header);
    free(buffer);
    s24_plain_record(&w->plain, magic, record);
    return status == S24_OK ? s24_output_write(w->out, offset + bytes, record, sizeof record, err) : status;
}

s24_status s24_plain_writer_open(s24_plain_writer **writer, s24_plain *plain, const s24_plain *like, s24_output *out,
                                 s24_error *err)
{
    s24_plain_writer *w = s24_calloc(1, sizeof *w, err);
    if (!w) {
        s24_plain_free(plain);
        s24_output_abort(out);
        return S24_ERR_SYSTEM;
    }
    w->plain = *plain;
    w->out = out;
    s24_plain_init(plain);
    for (int k = 0; k < S24_PLANES; k++) {
        w->planes[k].out = out;
        s24_spool_init(&w->waiting[k], out->io);
    }
    s24_status status = like ? s24_plain_lay_out_like(&w->plain, like, err) : s24_plain_lay_out(&w->plain, err);
    if (status == S24_OK) {
        status = w->plain.level ? s24_archive_writer_open(&w->archive, &w->plain, out, err)
                                : write_header(w, 0, "S24HEAD", err);
    }
    if (status != S24_OK) {
        s24_plain_writer_abort(w);
        return status;
    }
    *writer = w;
    return S24_OK;
}

s24_status s24_plain_writer_begin(s24_plain_writer *w, const s24_entry *entry, s24_error *err)
{
    w->entry = entry;
    if (w->archive) {
        return S24_OK;
    }
    free(w->checks);
    w->checks = s24_calloc((size_t)entry->checks_bytes, 1, err);
    s24_status status = w->checks ? S24_OK : S24_ERR_SYSTEM;
    const int planes = entry->packed ? S24_PLANES : 1; /* what is carried goes where values do */
    for (int k = 0; k < planes && status == S24_OK; k++) {
        status = s24_appender_move(&w->planes[k], s24_plain_offset(entry, k), err);
    }
    return status;
}

uint64_t s24_plain_writer_check(const s24_plain_writer *w, const s24_entry *entry, size_t panel, const void *planes)
{
    const s24_panels panels = s24_plain_panels(&w->plain, entry);
    const s24_panel_place place = s24_panel_at(&panels, panel);
    const s24_plain_place p = s24_plain_panel_place(entry, &place);
    return s24_plain_check(&w->plain, p.plane[S24_VALUES].at, planes, p.bytes);
}

s24_status s24_plain_writer_checker(const s24_plain_writer *w, const s24_entry *entry, size_t panel,
                                    s24_plain_checker *checker, s24_error *err)
{
    const s24_panels panels = s24_plain_panels(&w->plain, entry);
    const s24_panel_place place = s24_panel_at(&panels, panel);
    const s24_plain_place p = s24_plain_panel_place(entry, &place);
    return s24_plain_checker_begin(checker, &w->plain, p.plane[S24_VALUES].at, err);
}

s24_status s24_plain_writer_code(const s24_plain_writer *w, const s24_entry *entry, size_t panel, const void *planes,
                                 uint64_t check, s24_error *err)
{
    return w->archive ? s24_archive_writer_code(w->archive, entry, panel, planes, check, err) : S24_OK;
}

s24_status s24_plain_writer_panel(s24_plain_writer *w, const s24_entry *entry, size_t panel, const void *planes,
                                  uint64_t check, s24_error *err)
{
    if (w->archive) {
        return s24_archive_writer_append(w->archive, entry, panel, err);
    }
    const s24_panels panels = s24_plain_panels(&w->plain, entry);
    const s24_panel_place place = s24_panel_at(&panels, panel);
    const s24_plain_place p = s24_plain_panel_place(entry, &place);
    const unsigned char *piece = planes;
    s24_status status = S24_OK;
    w->checks[panel] = check;
    for (int k = 0; k < S24_PLANES && status == S24_OK; piece += p.plane[k++].bytes) {
        if (p.plane[k].bytes) {
            status = w->out->stream && k != S24_VALUES ? s24_spool_append(&w->waiting[k], piece, p.plane[k].bytes, err)
                                                       : s24_appender_add(&w->planes[k], piece, p.plane[k].bytes, err);
        }
    }
    return status;
}

uint64_t s24_plain_writer_check_carried(const s24_plain_writer *w, const s24_entry *entry, size_t panel, const void *data,
                                        size_t n)
{
    return s24_plain_check(&w->plain, entry->offset + (uint64_t)panel * w->plain.panel_bytes, data, n);
}

s24_status s24_plain_writer_carried(s24_plain_writer *w, size_t panel, const void *data, size_t n, uint64_t check,
                                    s24_error *err)
{
    if (w->archive) {
        return s24_archive_writer_append(w->archive, w->entry, panel, err);
    }
    w->checks[panel] = check;
    return s24_appender_add(&w->planes[S24_VALUES], data, n, err);
}

/* A plane that a stream has been waiting for. */
static s24_status send_plane(s24_plain_writer *w, const s24_entry *entry, int plane, s24_error *err)
{
    s24_spool *waiting = &w->waiting[plane];
    unsigned char *buffer = waiting->length ? s24_alloc(COPY_BYTES, err) : NULL;
    s24_status status = buffer || !waiting->length ? S24_OK : S24_ERR_SYSTEM;
    for (uint64_t at = 0; at < waiting->length && status == S24_OK;) {
        const uint64_t left = waiting->length - at;
        const size_t n = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
        status = s24_spool_read(waiting, at, buffer, n, err);
        status = status == S24_OK ? s24_output_write(w->out, s24_plain_offset(entry, plane) + at, buffer, n, err) : status;
        at += n;
    }
    free(buffer);
    s24_spool_free(waiting);
    return status;
}

/* The permutation, and its check behind those of the panels. */
static s24_status write_permutation(s24_plain_writer *w, const s24_entry *entry, s24_error *err)
{
    const size_t cols = entry->pruned->geometry.cols, n = cols * sizeof(int32_t);
    unsigned char *bytes = s24_malloc(n, err);
    if (!bytes) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < cols; i++) {
        s24_put_u32(bytes + 4 * i, (uint32_t)entry->pruned->permutation[i]);
    }
    const uint64_t check = s24_plain_check(&w->plain, s24_plain_offset(entry, S24_PLANES), bytes, n);
    const size_t place = s24_plain_panel_count(&w->plain, entry);
    s24_status status = S24_OK;
    if (w->archive) {
        status = s24_archive_writer_code(w->archive, entry, place, bytes, check, err);
        status = status == S24_OK ? s24_archive_writer_append(w->archive, entry, place, err) : status;
    } else {
        w->checks[place] = check;
        status = s24_output_write(w->out, s24_plain_offset(entry, S24_PLANES), bytes, n, err);
    }
    free(bytes);
    return status;
}

s24_status s24_plain_writer_end(s24_plain_writer *w, const s24_entry *entry, s24_error *err)
{
    s24_status status = S24_OK;
    for (int k = 0; k < S24_PLANES && status == S24_OK && !w->archive; k++) {
        status = s24_appender_flush(&w->planes[k], err);
        status = status == S24_OK ? send_plane(w, entry, k, err) : status;
    }
    status = status == S24_OK && entry->packed && entry->permuted ? write_permutation(w, entry, err) : status;
    if (w->archive) {
        return status;
    }
    if (status != S24_OK) {
        return status;
    }
    /* In place: word by word, so that the file is little-endian on any machine. The zeros are there already. */
    unsigned char *section = (unsigned char *)w->checks;
    const size_t n = (size_t)entry->checks_bytes;
    for (size_t i = 0; i + 8 < n; i += 8) {
        s24_put_u64(section + i, w->checks[i / 8]);
    }
    s24_put_u64(section + n - 8, s24_plain_check(&w->plain, entry->checks, section, n - 8));
    return s24_output_write(w->out, entry->checks, section, n, err);
}

/* What is recorded of the pruned tensors, one after another. */
typedef struct slots {
    const s24_contents *contents;
    size_t entry;  /* the next */
    unsigned char of_one[8 * S24_METRICS_SLOTS];
    size_t left;   /* of that, at its end */
} slots;

static void take_slots(slots *s, unsigned char *to, size_t n)
{
    while (n) {
        while (s->left == 0) {
            const s24_entry *const e = &s->contents->entries[s->entry++];
            if (e->packed) {
                s24_plain_put_metrics(e->pruned, s->of_one);
                s->left = sizeof s->of_one;
            }
        }
        const size_t part = n < s->left ? n : s->left;
        memcpy(to, s->of_one + sizeof s->of_one - s->left, part);
        s->left -= part;
        to += part;
        n -= part;
    }
}

static s24_status write_metrics(s24_plain_writer *w, s24_error *err)
{
    const s24_entry *m = &w->plain.metrics;
    unsigned char *const panel = s24_malloc(s24_plain_carried_most(&w->plain, m), err);
    slots from = {.contents = &w->plain.contents};
    s24_status status = panel ? s24_plain_writer_begin(w, m, err) : S24_ERR_SYSTEM;
    for (size_t i = 0; i < s24_plain_carried_panels(&w->plain, m) && status == S24_OK; i++) {
        const uint64_t left = m->bytes - (uint64_t)i * w->plain.panel_bytes;
        const size_t n = left < w->plain.panel_bytes ? (size_t)left : w->plain.panel_bytes;
        take_slots(&from, panel, n);
        const uint64_t check = s24_plain_writer_check_carried(w, m, i, panel, n);
        status = s24_plain_writer_code(w, m, i, panel, check, err);
        status = status == S24_OK ? s24_plain_writer_carried(w, i, panel, n, check, err) : status;
    }
    free(panel);
    return status == S24_OK ? s24_plain_writer_end(w, m, err) : status;
}

s24_status s24_plain_writer_finish(s24_plain_writer *w, s24_output **output, s24_error *err)
{
    s24_status status = write_metrics(w, err);
    if (status == S24_OK) {
        status = w->archive ? s24_archive_writer_finish(w->archive, err)
                            : write_header(w, w->plain.copy, "S24TAIL", err);
    }
    if (status != S24_OK) {
        s24_plain_writer_abort(w);
        return status;
    }
    for (size_t i = 0; w->coded && i < w->plain.contents.count; i++) {
        w->coded[i] = w->plain.contents.entries[i].coded;
    }
    *output = w->out;
    writer_free(w);
    return S24_OK;
}

s24_status s24_plain_writer_commit(s24_plain_writer *w, s24_error *err)
{
    s24_output *out;
    const s24_status status = s24_plain_writer_finish(w, &out, err);
    return status == S24_OK ? s24_output_commit(out, err) : status;
}
