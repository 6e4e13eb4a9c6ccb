/*
 * .npz, what numpy.savez writes: a zip archive whose members are .npy files, named like the arrays with ".npy" behind. Read
 * are stored and deflated members, each as a stream of its own; written are stored ones, with their data at multiples of
 * 64 in the archive as in a .npy, so that who maps it finds them aligned.
 */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "npy.h"
#include "zip.h"

#define SUFFIX ".npy"
#define SUFFIX_BYTES 4
#define ALIGNMENT 64
#define NAME_SHOWN 120

/* A first member, or the end record of an archive without any: np.savez(f) writes that. */
static bool npz_probe(const unsigned char *head, size_t n)
{
    return n >= 4 && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0);
}

/* ---------------------------------------------------------------- reading */

typedef struct archive {
    s24_zip zip;
    s24_input **members; /* as many as have been opened, in the directory's order */
    size_t opened;
} archive;

/* Archives of other things, by the names of their members. */
static s24_status check_names(const s24_zip *zip, s24_error *err)
{
    size_t arrays = 0;
    const s24_zip_entry *other = NULL;
    for (size_t i = 0; i < zip->count; i++) {
        const char *name = zip->entries[i].name;
        if (strcmp(name, "data.pkl") == 0 || s24_ends_with(name, "/data.pkl")) {
            return s24_fail_unsupported(err, "is a PyTorch file (a zip of a pickle), which s24 does not read; load it with "
                                        "torch and save it with safetensors.torch.save_file, or numpy.savez");
        }
        const bool array = s24_ends_with(name, SUFFIX) || strcmp(name, SUFFIX) == 0; /* the latter is told apart later */
        arrays += array;
        other = array || other ? other : &zip->entries[i];
    }
    if (other && arrays == 0) {
        return s24_fail(err, S24_ERR_DATA, "is a zip archive without .npy members, no .npz; extract the weights from it");
    }
    if (other) {
        return s24_fail_at(err, other->header, "member %.*s: is no .npy; remove it with zip -d, or save the arrays again "
                           "with numpy.savez", NAME_SHOWN, other->name);
    }
    return S24_OK;
}

/* The tensor's header, by a stream of its own: the one that the data come from begins at the beginning. */
static s24_status read_header(s24_source *source, const s24_zip_entry *e, s24_error *err)
{
    const size_t n = strlen(e->name) - SUFFIX_BYTES;
    if (n == 0) {
        return s24_fail_at(err, e->header, "has no name before .npy; save the array under one");
    }
    char *name = strndup(e->name, n);
    s24_input *in = NULL;
    s24_status status = name ? s24_zip_member(&in, source->in, e, false, err) : s24_fail_memory(err, n + 1);
    status = status == S24_OK ? s24_npy_open(source, in, e->size, name, true, err) : status;
    if (status == S24_ERR_DATA && err) {
        err->offset = e->header; /* counted in the file, which the header's own is not */
    }
    s24_input_close(in);
    free(name);
    return status;
}

static s24_status open_members(s24_source *source, archive *a, s24_error *err)
{
    a->members = s24_calloc(a->zip.count, sizeof *a->members, err);
    if (!a->members) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < a->zip.count; i++) {
        const s24_zip_entry *e = &a->zip.entries[i];
        s24_status status = read_header(source, e, err);
        s24_fail_prefix(err, status, "member %.*s: ", NAME_SHOWN, e->name);
        status = status == S24_OK ? s24_zip_member(&a->members[i], source->in, e, true, err) : status;
        if (status != S24_OK) {
            return status;
        }
        source->contents.entries[i].in = a->members[i];
        a->opened++;
    }
    return S24_OK;
}

static s24_status npz_open(s24_source *source, s24_error *err)
{
    archive *a = source->state = s24_calloc(1, sizeof *a, err);
    s24_status status = a ? s24_input_hold_all(source->in, err) : S24_ERR_SYSTEM; /* the directory is the last */
    status = status == S24_OK ? s24_zip_read(&a->zip, source->in, err) : status;
    status = status == S24_OK ? check_names(&a->zip, err) : status;
    status = status == S24_OK ? s24_zip_locate(&a->zip, source->in, err) : status;
    return status == S24_OK ? open_members(source, a, err) : status;
}

static void npz_close(s24_source *source)
{
    archive *a = source->state;
    if (a) {
        for (size_t i = 0; i < a->opened; i++) {
            s24_input_close(a->members[i]);
        }
        free(a->members);
        s24_zip_free(&a->zip);
        free(a);
        source->state = NULL;
    }
}

/* Members that somebody began to read are read to their end, where their CRC is. */
static s24_status npz_end(s24_source *source, s24_error *err)
{
    const archive *a = source->state;
    s24_status status = S24_OK;
    for (size_t i = 0; i < a->opened && status == S24_OK; i++) {
        if (a->members[i]->position > 0) {
            status = s24_input_expect_end(a->members[i], a->zip.entries[i].size, err);
        }
    }
    return status;
}

/* ---------------------------------------------------------------- writing */

typedef struct writer {
    s24_zip_entry member; /* at hand */
    size_t next;          /* the tensor to begin next */
    uint64_t position;    /* of the output */
    s24_text directory;   /* of the members that are complete */
} writer;

static s24_status npz_accepts(const s24_entry *entry, s24_error *err)
{
    const size_t n = strlen(entry->name);
    const char *fault = n ? s24_zip_name_fault(entry->name, n + SUFFIX_BYTES > UINT16_MAX ? n + SUFFIX_BYTES : n) : NULL;
    if (fault) { /* "" is a lone array, which gets a name */
        return s24_fail(err, S24_ERR_DATA, "its name %s, which a member of a .npz must not; write .safetensors", fault);
    }
    if (!s24_info(entry->dtype)->npy_type) {
        return s24_fail(err, S24_ERR_DATA, "numpy has no type for %s; write .safetensors", s24_dtype_name(entry->dtype));
    }
    return S24_OK;
}

static s24_status npz_create(s24_sink *sink, s24_error *err)
{
    sink->state = s24_calloc(1, sizeof(writer), err);
    if (sink->contents.pairs) {
        s24_io_note(sink->io, "the metadata of the input have no place in a .npz and are left out");
    }
    return sink->state ? S24_OK : S24_ERR_SYSTEM;
}

static void npz_abandon(s24_sink *sink)
{
    writer *w = sink->state;
    if (w) {
        free(w->member.name);
        s24_text_free(&w->directory);
        free(w);
        sink->state = NULL;
    }
}

static s24_status append(s24_sink *sink, const void *data, size_t n, s24_error *err)
{
    writer *w = sink->state;
    const s24_status status = s24_output_write(sink->out, w->position, data, n, err);
    w->position += n;
    return status;
}

/* Writes what has been put together, and frees it. */
static s24_status append_text(s24_sink *sink, s24_text *text, s24_error *err)
{
    const s24_status status = text->failed ? s24_fail_memory(err, text->length)
                                           : append(sink, text->text, text->length, err);
    s24_text_free(text);
    return status;
}

static char *member_name(const char *name, s24_error *err)
{
    name = *name ? name : S24_NAMELESS;
    const size_t size = strlen(name) + sizeof SUFFIX;
    char *copy = s24_calloc(size, 1, err);
    if (copy) {
        snprintf(copy, size, "%s" SUFFIX, name);
    }
    return copy;
}

static unsigned flags_of(const s24_sink *sink, const char *name)
{
    unsigned flags = sink->out->stream ? S24_ZIP_DESCRIPTOR : 0;
    for (; *name; name++) {
        flags |= *name & 0x80 ? S24_ZIP_UTF8 : 0;
    }
    return flags;
}

static s24_status begin_member(s24_sink *sink, s24_entry *entry, s24_error *err)
{
    writer *w = sink->state;
    s24_zip_entry *m = &w->member;
    char header[S24_NPY_HEADER_BYTES];
    const size_t n = s24_npy_header(entry, header);
    s24_text text = {0};
    free(m->name);
    *m = (s24_zip_entry){.name = member_name(entry->name, err), .method = S24_ZIP_STORED, .header = w->position,
                         .size = n + entry->bytes, .compressed = n + entry->bytes};
    if (!m->name) {
        return S24_ERR_SYSTEM;
    }
    m->flags = flags_of(sink, m->name);
    m->crc = (uint32_t)crc32_z(0, (const unsigned char *)header, n);
    s24_zip_put_local(&text, m, ALIGNMENT);
    s24_text_add(&text, header, n);
    entry->offset = m->data + n;
    return append_text(sink, &text, err);
}

/* Now the CRC is known: a file's local header gets it, behind the data in a pipe it follows. */
static s24_status end_member(s24_sink *sink, s24_error *err)
{
    writer *w = sink->state;
    const s24_zip_entry *m = &w->member;
    s24_text text = {0};
    s24_zip_put_central(&w->directory, m);
    if (m->flags & S24_ZIP_DESCRIPTOR) {
        s24_zip_put_descriptor(&text, m);
        return append_text(sink, &text, err);
    }
    const unsigned char crc[] = {(unsigned char)m->crc, (unsigned char)(m->crc >> 8), (unsigned char)(m->crc >> 16),
                                 (unsigned char)(m->crc >> 24)};
    return s24_output_write(sink->out, m->header + S24_ZIP_CRC_AT, crc, sizeof crc, err);
}

/* Begins tensors before number `end`. One without elements is complete with that: nobody writes nothing. */
static s24_status begin_members(s24_sink *sink, size_t end, s24_error *err)
{
    writer *w = sink->state;
    for (; w->next < end; w->next++) {
        s24_entry *entry = &sink->contents.entries[w->next];
        s24_status status = begin_member(sink, entry, err);
        status = status == S24_OK && entry->bytes == 0 ? end_member(sink, err) : status;
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

static s24_status npz_write(s24_sink *sink, size_t index, size_t first, size_t n, const void *data, s24_error *err)
{
    writer *w = sink->state;
    const s24_entry *entry = &sink->contents.entries[index];
    const unsigned bytes = s24_info(entry->dtype)->bytes;
    s24_status status = begin_members(sink, index + 1, err);
    if (status != S24_OK || n == 0) {
        return status;
    }
    w->member.crc = (uint32_t)crc32_z(w->member.crc, data, n * bytes);
    status = append(sink, data, n * bytes, err);
    return status == S24_OK && (first + n) * bytes == entry->bytes ? end_member(sink, err) : status;
}

static s24_status npz_finish(s24_sink *sink, s24_error *err)
{
    writer *w = sink->state;
    s24_status status = begin_members(sink, sink->contents.count, err);
    const uint64_t directory = w->position;
    if (status == S24_OK) {
        s24_zip_put_end(&w->directory, sink->contents.count, directory, w->directory.length);
        status = append_text(sink, &w->directory, err);
    }
    npz_abandon(sink);
    return status;
}

const s24_format s24_format_npz = {
    .name = "npz",
    .suffixes = ".npz",
    .probe = npz_probe,
    .open = npz_open,
    .close = npz_close,
    .end = npz_end,
    .accepts = npz_accepts,
    .create = npz_create,
    .write = npz_write,
    .finish = npz_finish,
    .abandon = npz_abandon,
};
