/* Raw data: nothing but elements, so that dtype and shape must be said, and the size is the only check there is. */
#include "format.h"

static s24_status check_options(const s24_read_options *o, s24_error *err)
{
    if (!o->has_dtype || !o->has_shape) {
        const char *missing = o->has_dtype ? "shape" : o->has_shape ? "dtype" : "dtype and shape";
        return s24_fail(err, S24_ERR_USAGE, "raw data do not tell their %s; say both, as in --raw-dtype f32 "
                        "--shape 4096,4096", missing);
    }
    if (o->dtype == S24_SAME || o->dtype >= S24_DTYPES) {
        return s24_fail(err, S24_ERR_USAGE, "raw data need a dtype of their own; say it, as in --raw-dtype f32");
    }
    if (o->rank < 0 || o->rank > S24_MAX_RANK) {
        return s24_fail(err, S24_ERR_USAGE, "the shape has %d dimensions, and 0 to %d are allowed; reshape the tensor",
                        o->rank, S24_MAX_RANK);
    }
    return S24_OK;
}

static s24_status check_size(const s24_source *source, uint64_t bytes, s24_error *err)
{
    const uint64_t offset = source->options->offset, size = source->in->size;
    if (offset > INT64_MAX - bytes) {
        return s24_fail(err, S24_ERR_USAGE, "--offset %llu is beyond what a file can have", (unsigned long long)offset);
    }
    const uint64_t need = offset + bytes;
    if (size == S24_UNKNOWN || size == need) {
        return S24_OK;
    }
    return s24_fail_at(err, size < need ? size : need, "has %llu byte%s, and its shape as %s needs %llu after the first "
                       "%llu, %llu in all; check --shape, --raw-dtype and --offset", (unsigned long long)size,
                       s24_plural(size), s24_dtype_name(source->options->dtype), (unsigned long long)bytes,
                       (unsigned long long)offset, (unsigned long long)need);
}

static s24_status raw_open(s24_source *source, s24_error *err)
{
    const s24_read_options *o = source->options;
    uint64_t bytes = 0;
    s24_status status = check_options(o, err);
    status = status == S24_OK ? s24_dense_bytes(o->dtype, o->rank, o->shape, &bytes, err) : status;
    status = status == S24_OK ? check_size(source, bytes, err) : status;
    if (status != S24_OK) {
        return status;
    }
    s24_entry *entry = s24_contents_add(&source->contents, "", o->dtype, o->rank, o->shape, err);
    if (!entry) {
        return S24_ERR_SYSTEM; /* all else that can be wrong with it has been checked */
    }
    entry->offset = o->offset;
    entry->big_endian = o->big_endian && s24_info(o->dtype)->bytes > 1;
    return S24_OK;
}

static s24_status raw_create(s24_sink *sink, s24_error *err)
{
    (void)err;
    sink->contents.entries[0].offset = 0;
    return S24_OK;
}

const s24_format s24_format_raw = {
    .name = "raw",
    .suffixes = ".raw .bin",
    .max_tensors = 1,
    .open = raw_open,
    .create = raw_create,
};
