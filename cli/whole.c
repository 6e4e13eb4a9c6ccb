#include "whole.h"

#include <string.h>
#include <sys/stat.h>

#include "io.h"
#include "msg.h"
#include "paths.h"

static s24_status write_all(s24_output *output, const void *data, size_t n, s24_error *err)
{
    const s24_status status = s24_output_write(output, 0, data, n, err);
    if (status == S24_OK) {
        return s24_output_commit(output, err);
    }
    s24_output_abort(output);
    return status;
}

s24_status whole_write(const s24_io *io, const char *path, const void *data, size_t n, s24_error *err)
{
    s24_output *output = NULL;
    s24_status status = s24_output_open(&output, io, path, NULL, 0, err);
    status = status == S24_OK ? write_all(output, data, n, err) : status;
    return s24_fail_prefix(err, status, "%s: ", path);
}

bool whole_check(const context *c, const char *option, const char *path, const char *const *others, size_t count, bool force)
{
    const char *input = NULL;
    s24_output *output = NULL;
    s24_error err = {0};
    s24_io io = c->io;
    for (size_t i = 0; i < c->file_count + count && !input; i++) {
        const char *const other = i < c->file_count ? c->files[i] : others[i - c->file_count];
        input = other && path_is_of(path, other) ? other : NULL;
    }
    if (input) {
        args_usage(c->command->name, "--%s '%s' would replace an input, '%s'", option, path, input);
        return false;
    }
    io.force = force;
    const s24_status status = s24_output_open(&output, &io, path, NULL, 0, &err);
    s24_output_abort(output);
    if (status != S24_OK) {
        s24_fail_prefix(&err, status, "%s: ", path);
        msg_failure(&err);
    }
    return status == S24_OK;
}

bool whole_check_drawing(const context *c, const char *path, const char *const *others, size_t count, bool force)
{
    if (path_is_std(path)) {
        args_usage(c->command->name, "--svg needs a file: results are on standard output");
        return false;
    }
    return whole_check(c, "svg", path, others, count, force);
}

void whole_write_drawing(const context *c, svg *drawing, const char *path, bool force)
{
    s24_io io = c->io;
    s24_error err = {0};
    size_t n = 0;
    const char *const text = drawing ? svg_finish(drawing, &n) : NULL;
    io.force = force;
    if (!text) {
        msg_error(S24_ERR_SYSTEM, "no memory for the drawing");
    } else if (whole_write(&io, path, text, n, &err) != S24_OK) {
        msg_failure(&err);
    }
    svg_free(drawing);
}
