/*
 * Converting: between layouts, without loss. What is 2:4 already is packed; nothing is pruned. A .s24 goes the way of
 * decompress, or becomes an archive or a plain file; a dense file goes the way of prune, after its tensors were looked at.
 */
#include <stdio.h>
#include <string.h>

#include "archive.h"
#include "comply.h"
#include "decompress.h"
#include "delivery.h"
#include "plain.h"
#include "prune.h"
#include "repack.h"
#include "select.h"
#include "summary.h"

static s24_status find_format(const s24_convert_request *q, const s24_format **format, s24_error *err)
{
    const char *to = q->to ? q->to : "s24";
    *format = s24_format_by_name(to);
    if (!*format || (*format != &s24_format_s24 && !(*format)->create)) {
        return s24_fail(err, S24_ERR_USAGE, "no such output type: %s", to);
    }
    return S24_OK;
}

/* Not packed after all: it will be carried as it is. */
static s24_status leave_dense(s24_entry *e, const char *reason, s24_error *err)
{
    e->packed = false;
    s24_shared_free(e->reason);
    e->reason = s24_shared_text(reason, err);
    return e->reason ? S24_OK : S24_ERR_SYSTEM;
}

static bool asked_for(const s24_convert_request *q, const s24_entry *e)
{
    return s24_selects_by_name(&q->selection, e->name);
}

typedef struct choice {
    const s24_convert_request *request;
    size_t packed; /* tensors */
} choice;

/* What is not 2:4 stays dense; a stream will be read once more. */
static s24_status judge(void *ctx, s24_entry *e, const s24_compliance *found, s24_error *err)
{
    choice *c = ctx;
    char message[200] = "not 2:4: row ";
    s24_status status = S24_OK;
    if (!found) {
        return S24_OK;
    }
    if (found->broken) {
        const size_t n = strlen(message);
        snprintf(message + n, sizeof message - n, "%zu, group %zu: ", found->first.row, found->first.group);
        s24_comply_message(found, message + strlen(message), sizeof message - strlen(message));
        status = asked_for(c->request, e)
            ? s24_fail(err, S24_ERR_DATA, "%s: %s%s%s; s24 prune makes it so", e->in->name, e->name, *e->name ? ": " : "",
                       message)
            : leave_dense(e, message, err);
    }
    c->packed += e->packed;
    return status == S24_OK ? s24_input_rewind(e->in, err) : status;
}

static s24_status nothing_packed(const s24_source *source, s24_error *err)
{
    return s24_fail(err, S24_ERR_NOTHING, "%s: no tensor is 2:4 and can be packed; -v says why, s24 prune makes them so",
                    source->in->name);
}

/* Why the output cannot hold a tensor packed; NULL: it can, or need not. */
static const char *unfit_of(const s24_format *format, const s24_entry *e)
{
    return !format->unfit || !e->packed ? NULL : e->permuted ? "2:4 in another order of its columns" : format->unfit(e);
}

static s24_status leave_unfit(s24_contents *c, const s24_format *format, s24_error *err)
{
    s24_status status = S24_OK;
    for (size_t i = 0; i < c->count && status == S24_OK; i++) {
        s24_entry *e = &c->entries[i];
        const char *unfit = unfit_of(format, e);
        status = unfit ? leave_dense(e, unfit, err) : S24_OK;
        if (unfit && status == S24_OK) { /* in a .s24 they were those of its values */
            status = s24_dense_bytes(e->dtype, e->rank, e->shape, &e->bytes, err);
        }
    }
    return status;
}

/* Which tensors are packed: those selected that are 2:4 and that the layout can hold. */
static s24_status choose(const s24_io *io, const s24_convert_request *q, s24_source *source, const s24_format *format,
                         s24_error *err)
{
    choice c = {.request = q};
    s24_status status = s24_select(source, &q->selection, S24_SAME, 0, err);
    s24_fail_prefix(err, status, "%s: ", source->in->name);
    status = status == S24_OK ? leave_unfit(&source->contents, format, err) : status;
    status = status == S24_OK ? s24_comply(io, &source->contents, judge, &c, err) : status;
    return status == S24_OK && c.packed == 0 ? nothing_packed(source, err) : status;
}

/* A dense file becomes another dense one: every tensor is carried. */
static s24_status choose_none(s24_source *source)
{
    for (size_t i = 0; i < source->contents.count; i++) {
        source->contents.entries[i].packed = false;
    }
    return S24_OK;
}

static s24_status convert_dense(const s24_io *io, const s24_convert_request *q, s24_source *source,
                                const s24_format *format, s24_report *report, s24_error *err)
{
    const s24_prune_request pack = {.input = q->input, .output = q->output, .directory = q->directory, .to = format->name,
                                    .dtype = S24_SAME, .allow_nonfinite = true, .packing = q->packing};
    const bool sparse = format == &s24_format_s24 || format->unfit;
    const s24_status status = sparse ? choose(io, q, source, format, err) : choose_none(source);
    if (status == S24_OK) {
        return s24_pack_source(io, &pack, source, report, err);
    }
    if (status == S24_ERR_NOTHING && report) {
        s24_report_fill(report, q->input, source, NULL, false, NULL);
    }
    s24_source_close(source);
    return status;
}

/* ---------------------------------------------------------------- from a .s24 */

/* A sparse layout that can hold none of the tensors would make a dense file. */
static s24_status expect_some(const s24_source *source, const s24_format *format, s24_error *err)
{
    const s24_contents *c = &source->contents;
    bool some = !format->unfit;
    for (size_t i = 0; i < c->count; i++) {
        some = some || (c->entries[i].packed && !unfit_of(format, &c->entries[i]));
    }
    return some ? S24_OK : s24_fail(err, S24_ERR_NOTHING, "%s: %s can hold none of its tensors; -v says why",
                                    source->in->name, format->name);
}

typedef struct unpacking {
    const s24_convert_request *request;
    s24_source *source;
    const s24_format *format;
    s24_report *report; /* NULL: not wanted */
    bool nothing;       /* was done */
} unpacking;

/* They came back as their original dtype, whatever they were stored as. */
static void forget_stored(s24_contents *c)
{
    for (size_t i = 0; i < c->count; i++) {
        c->entries[i].stored = c->entries[i].dtype;
        c->entries[i].scaled = false;
    }
}

/* What became of the tensors: of a dense output nothing is packed any more, of a sparse one what it can hold. */
static s24_status report_unpacked(void *ctx, s24_error *err)
{
    const unpacking *u = ctx;
    if (!u->report) {
        return S24_OK;
    }
    forget_stored(&u->source->contents);
    s24_status status = leave_unfit(&u->source->contents, u->format, err);
    status = status == S24_OK ? s24_report_fill(u->report, u->request->input, u->source, NULL, !u->nothing, err) : status;
    if (status == S24_OK) {
        u->report->archive = u->request->packing.level != 0;
    }
    if (status == S24_OK && !u->format->unfit && u->format != &s24_format_s24) {
        s24_report_as_dense(u->report);
    }
    return status;
}

/* From a .s24 to a .s24 only what is another file then. */
static s24_status repack(const s24_io *io, unpacking *u, s24_error *err)
{
    bool archives = false;
    for (size_t i = 0; i < s24_source_files(u->source); i++) {
        archives = archives || s24_archive_is(s24_source_file(u->source, i));
    }
    if (!archives && !u->request->packing.level) {
        return s24_fail(err, S24_ERR_USAGE, "%s: is a .s24 file already; --to names another type, -z makes it an archive",
                        u->source->in->name);
    }
    if (u->source->checkpoint && !u->request->directory) {
        return s24_fail(err, S24_ERR_USAGE, "%s: the .s24 files of a checkpoint stay files: give a directory as output",
                        u->source->in->name);
    }
    return s24_repack_source(io, u->request, u->source, report_unpacked, u, err);
}

static s24_status unpack(const s24_io *io, unpacking *u, s24_error *err)
{
    const s24_decompress_request request = {.input = u->request->input, .output = u->request->output,
                                            .directory = u->request->directory, .to = u->format->name,
                                            .dtype = S24_SAME};
    if (u->format == &s24_format_s24) {
        return repack(io, u, err);
    }
    const s24_status status = expect_some(u->source, u->format, err);
    return status == S24_OK ? s24_decompress_source(io, &request, u->source, report_unpacked, u, err) : status;
}

static s24_status convert_s24(const s24_io *io, const s24_convert_request *q, s24_source *source,
                              const s24_format *format, s24_report *report, s24_error *err)
{
    unpacking u = {.request = q, .source = source, .format = format, .report = report};
    const s24_status status = unpack(io, &u, err);
    u.nothing = status == S24_ERR_NOTHING;
    if (u.nothing && report) {
        report_unpacked(&u, NULL);
    } else if (status != S24_OK && report) {
        s24_report_free(report);
    }
    s24_source_close(source);
    return status;
}

/* ---------------------------------------------------------------- the file */

/* A dense stream that is to be packed is read twice. */
static s24_status open_source(s24_source **source, const s24_io *io, const s24_convert_request *q,
                              const s24_format *format, s24_error *err)
{
    s24_status status = s24_source_find(source, io, q->input, &q->read, err);
    const bool packs = format == &s24_format_s24 || format->unfit;
    if (status == S24_OK && packs && (*source)->format != &s24_format_s24) {
        status = s24_input_hold_all((*source)->in, err);
    }
    return status == S24_OK ? s24_source_parse(*source, err) : status;
}

s24_status s24_convert_file(const s24_io *io, const s24_convert_request *q, s24_report *report, s24_error *err)
{
    s24_source *source = NULL;
    const s24_format *format;
    s24_status status = find_format(q, &format, err);
    if (status != S24_OK) {
        return status;
    }
    status = open_source(&source, io, q, format, err);
    if (status != S24_OK) {
        s24_source_close(source);
        return s24_fail_prefix(err, status, "%s: ", s24_input_shown(q->input));
    }
    return source->format == &s24_format_s24 ? convert_s24(io, q, source, format, report, err)
                                             : convert_dense(io, q, source, format, report, err);
}
