#include "target.h"

#include <string.h>

s24_entry *s24_target_entry(const s24_target *target, size_t index)
{
    if (target->writer) {
        return &target->writer->plain.contents.entries[index];
    }
    return target->sink ? &target->sink->contents.entries[index] : NULL;
}

const char *s24_target_name(const s24_target *target)
{
    const s24_output *out = target->writer ? target->writer->out : target->sink ? target->sink->out : NULL;
    return out ? out->name : "";
}

/* Whole elements a step, so that a step can be counted in elements: 64 is a multiple of every element's bits. */
static s24_status read_step(const s24_entry *e, uint64_t at, size_t n, void *data, void *scratch,
                            s24_error *err)
{
    const unsigned bytes = s24_info(e->dtype)->bytes;
    if (bytes == 0 || (!e->fortran && !e->big_endian && !e->layout)) {
        const s24_status status = s24_input_read(e->in, e->offset + at, data, n, err);
        return s24_fail_prefix(err, status, "%s: ", e->in->name);
    }
    /* As rows along the last axis: what is one row of the file may be several steps, and the reverse. */
    s24_geometry g;
    const s24_status status = s24_geometry_init(&g, S24_F64, e->rank, e->shape, e->rank ? -1 : 0, NULL, err);
    if (status != S24_OK) {
        return status;
    }
    size_t first = (size_t)(at / bytes), count = n / bytes;
    unsigned char *to = data;
    while (count) {
        const size_t row = first / g.cols, col = first % g.cols;
        const size_t rows = col == 0 && count >= g.cols ? count / g.cols : 1;
        const size_t part = rows > 1 || count >= g.cols - col ? g.cols - col : count;
        const s24_status s = s24_source_read_rows(e, e->rank ? e->rank - 1 : 0, row, rows, col, part, to,
                                                  scratch, err);
        if (s != S24_OK) {
            return s;
        }
        to += rows * part * bytes;
        first += rows * part;
        count -= rows * part;
    }
    return S24_OK;
}

s24_status s24_target_write(s24_target *target, size_t index, uint64_t at, const void *data, size_t n, s24_error *err)
{
    const s24_entry *e = &target->sink->contents.entries[index];
    const unsigned bytes = s24_info(e->dtype)->bytes;
    if (target->sink->format->write && bytes) { /* what is no whole bytes only goes where bytes go as they are */
        return target->sink->format->write(target->sink, index, (size_t)(at / bytes), n / bytes, data, err);
    }
    return s24_output_write(target->sink->out, e->offset + at, data, n, err);
}

/* ---------------------------------------------------------------- carrying */

typedef struct carry_job {
    s24_carry carry;
    size_t step_bytes;
} carry_job;

/* What is on a desk. */
enum { DATA, SCRATCH, CHECK };

static size_t step_length(const carry_job *job, size_t step)
{
    const uint64_t left = job->carry.from->bytes - (uint64_t)step * job->step_bytes;
    return left < job->step_bytes ? (size_t)left : job->step_bytes;
}

static s24_status read_piece(carry_job *job, unsigned slot, size_t step, s24_error *err)
{
    const s24_workspace *w = job->carry.workspace;
    return read_step(job->carry.from, (uint64_t)step * job->step_bytes, step_length(job, step),
                     s24_workspace_piece(w, slot, DATA), s24_workspace_piece(w, slot, SCRATCH), err);
}

/* Streams are read here, in order. */
static s24_status carry_read(void *ctx, unsigned slot, size_t step, s24_error *err)
{
    carry_job *job = ctx;
    const size_t n = step_length(job, step), pieces[S24_PIECES] = {n, n, sizeof(uint64_t)};
    s24_status status = s24_io_stopped(job->carry.from->in->io, err);
    status = status == S24_OK ? s24_workspace_reserve(job->carry.workspace, slot, pieces, err) : status;
    return status == S24_OK && job->carry.from->in->stream ? read_piece(job, slot, step, err) : status;
}

static s24_status carry_work(void *ctx, unsigned slot, size_t step, s24_error *err)
{
    carry_job *job = ctx;
    const s24_carry *c = &job->carry;
    const s24_status status = c->from->in->stream ? S24_OK : read_piece(job, slot, step, err);
    if (status == S24_OK && c->target->writer) {
        uint64_t *check = s24_workspace_piece(c->workspace, slot, CHECK);
        const s24_entry *planned = s24_target_entry(c->target, c->index);
        const void *data = s24_workspace_piece(c->workspace, slot, DATA);
        *check = s24_plain_writer_check_carried(c->target->writer, planned, step, data, step_length(job, step));
        return s24_plain_writer_code(c->target->writer, planned, step, data, *check, err);
    }
    return status;
}

static s24_status carry_commit(void *ctx, unsigned slot, size_t step, s24_error *err)
{
    carry_job *job = ctx;
    const s24_carry *c = &job->carry;
    const void *data = s24_workspace_piece(c->workspace, slot, DATA);
    const uint64_t *check = s24_workspace_piece(c->workspace, slot, CHECK);
    const size_t n = step_length(job, step);
    const s24_status status = c->target->writer
        ? s24_plain_writer_carried(c->target->writer, step, data, n, *check, err)
        : s24_target_write(c->target, c->index, (uint64_t)step * job->step_bytes, data, n, err);
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(c->target));
}

static s24_status carry_begin(void *ctx, s24_error *err)
{
    const s24_carry *c = &((carry_job *)ctx)->carry;
    const s24_status status = c->target->writer
        ? s24_plain_writer_begin(c->target->writer, s24_target_entry(c->target, c->index), err) : S24_OK;
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(c->target));
}

static s24_status carry_end(void *ctx, s24_error *err)
{
    const s24_carry *c = &((carry_job *)ctx)->carry;
    const s24_status status = c->target->writer
        ? s24_plain_writer_end(c->target->writer, s24_target_entry(c->target, c->index), err) : S24_OK;
    *c->done += c->from->bytes;
    return s24_fail_prefix(err, status, "%s: ", s24_target_name(c->target));
}

s24_status s24_carry_open(const s24_carry *carry, s24_series *series, s24_error *err)
{
    static const s24_stages stages = {.read = carry_read, .work = carry_work, .commit = carry_commit,
                                      .begin = carry_begin, .end = carry_end, .free = free};
    const s24_entry *from = carry->from;
    s24_status status = S24_OK;
    if (from->fortran || from->big_endian) {
        status = s24_input_hold(from->in, from->offset, from->bytes, err);
        s24_fail_prefix(err, status, "%s: ", from->in->name);
    }
    if (status != S24_OK) {
        return status;
    }
    carry_job *job = s24_calloc(1, sizeof *job, err);
    if (!job) {
        return S24_ERR_SYSTEM;
    }
    const size_t step = carry->target->writer ? carry->target->writer->plain.panel_bytes : S24_PANEL_BYTES;
    *job = (carry_job){.carry = *carry, .step_bytes = step};
    *series = (s24_series){.stages = &stages, .ctx = job, .jobs = (size_t)(from->bytes / step + (from->bytes % step != 0))};
    return S24_OK;
}

/* ---------------------------------------------------------------- the target */

s24_status s24_target_open(s24_target *target, const s24_target_settings *settings, s24_output *out, s24_contents *plan,
                           s24_error *err)
{
    if (settings->format != &s24_format_s24) {
        return s24_sink_open(&target->sink, settings->format, out, plan, err);
    }
    const s24_plain *const keep = settings->keep; /* a header may have what this s24 does not write */
    const size_t groups = keep ? keep->panel_groups : settings->panel_groups;
    const size_t bytes = keep ? keep->panel_bytes : settings->panel_bytes;
    s24_plain plain;
    s24_plain_init(&plain);
    plain.contents = *plan;
    *plan = (s24_contents){0};
    plain.panel_groups = groups ? groups : plain.panel_groups;
    plain.panel_bytes = bytes ? bytes : plain.panel_bytes;
    plain.level = settings->packing.level;
    plain.frame_bytes = settings->packing.frame_bytes ? settings->packing.frame_bytes : plain.frame_bytes;
    plain.tool = strdup(keep ? keep->tool : "s24 " S24_VERSION);
    plain.container = strdup(keep ? keep->container : settings->container);
    return s24_plain_writer_open(&target->writer, &plain, keep, out, err);
}

s24_status s24_target_finish(s24_target *target, s24_output **out, s24_error *err)
{
    const s24_status status = target->writer ? s24_plain_writer_finish(target->writer, out, err)
                                             : s24_sink_finish(target->sink, out, err);
    *target = (s24_target){0};
    return status;
}

void s24_target_abort(s24_target *target)
{
    s24_plain_writer_abort(target->writer);
    s24_sink_abort(target->sink);
    *target = (s24_target){0};
}
