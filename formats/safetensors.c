/*
 * safetensors, the files of Hugging Face models: u64 LE length of a header, the header (st_header.h), the data. What is
 * written has its data at a multiple of 64, as .s24 files have, for whoever maps it.
 */
#include "safetensors.h"

#include <string.h>

#include "plain.h"

#define PREFIX 8          /* the header's length */
#define STEP (1u << 20)   /* of reading a header whose length nobody has proved */
#define ALIGNMENT 64

/* A length that may be, and the beginning of an object. */
static bool safetensors_probe(const unsigned char *head, size_t n)
{
    if (n < PREFIX + 2 || s24_get_u64(head) > S24_ST_HEADER_MAX || head[PREFIX] != '{') {
        return false;
    }
    size_t i = PREFIX + 1;
    while (i < n && memchr(" \t\n\r", head[i], 4)) {
        i++;
    }
    return i == n || head[i] == '"' || head[i] == '}';
}

/*
 * Reads n bytes from `offset`; *data is the caller's to free, also on failure. Memory grows with what has arrived: the
 * length may be a lie.
 */
static s24_status read_growing(s24_input *in, uint64_t offset, size_t n, char **data, s24_error *err)
{
    size_t have = 0, room = 0;
    while (have < n || !*data) {
        if (have == room) {
            room = room < STEP ? STEP : 2 * room;
            room = room < n ? room : n;
            char *const grown = realloc(*data, room ? room : 1);
            if (!grown) {
                return s24_fail_memory(err, room);
            }
            *data = grown;
        }
        const s24_status status = s24_input_read(in, offset + have, *data + have, room - have, err);
        if (status != S24_OK) {
            return status;
        }
        have = room;
    }
    return S24_OK;
}

static s24_status safetensors_open(s24_source *source, s24_error *err)
{
    s24_input *const in = source->in;
    unsigned char prefix[PREFIX];
    s24_status status = s24_input_read(in, 0, prefix, sizeof prefix, err);
    if (status != S24_OK) {
        return status;
    }
    const uint64_t length = s24_get_u64(prefix);
    if (length > S24_ST_HEADER_MAX) {
        return s24_fail_at(err, 0, "a header of %llu bytes; safetensors has at most %u, so this is none",
                           (unsigned long long)length, S24_ST_HEADER_MAX);
    }
    if (in->size != S24_UNKNOWN && in->size - PREFIX < length) {
        return s24_fail_at(err, in->size, "truncated: ends after %llu bytes, its header alone needs %llu; copy the file "
                           "again", (unsigned long long)in->size, (unsigned long long)(PREFIX + length));
    }
    char *json = NULL;
    uint64_t data_bytes = 0;
    status = read_growing(in, PREFIX, (size_t)length, &json, err);
    if (status == S24_OK) {
        status = s24_st_header_parse(json, (size_t)length, PREFIX + length, &source->contents, &data_bytes, err);
    }
    free(json);
    if (status == S24_OK && in->size != S24_UNKNOWN) {
        status = s24_input_expect_end(in, PREFIX + length + data_bytes, err);
    }
    return s24_fail_advise(err, status, "save the model again with safetensors");
}

s24_status s24_safetensors_accepts(const s24_entry *entry, s24_error *err)
{
    if (strcmp(entry->name, "__metadata__") == 0) {
        return s24_fail(err, S24_ERR_DATA, "a safetensors file cannot hold a tensor of this name; rename it");
    }
    return S24_OK;
}

/* Offsets of the data, from `start` on. */
static void lay_out(s24_contents *contents, uint64_t start)
{
    for (size_t i = 0; i < contents->count; i++) {
        contents->entries[i].offset = start;
        start += contents->entries[i].bytes;
    }
}

s24_status s24_safetensors_header(s24_contents *contents, s24_text *header, s24_error *err)
{
    unsigned char prefix[PREFIX] = {0};
    s24_contents again = {.most = S24_TENSORS_MAX, .without_metadata = true};
    uint64_t data_bytes;
    lay_out(contents, 0);
    s24_text_add(header, (const char *)prefix, PREFIX);
    s24_st_header_write(header, contents, 0);
    while (header->length % ALIGNMENT) {
        s24_text_add(header, " ", 1);
        if (header->failed) {
            break;
        }
    }
    if (header->failed) {
        return s24_fail_memory(err, header->length);
    }
    const size_t length = header->length - PREFIX;
    if (length > S24_ST_HEADER_MAX) {
        return s24_fail(err, S24_ERR_DATA, "a safetensors header of %zu bytes is needed, at most %u are allowed; split "
                        "the file", length, S24_ST_HEADER_MAX);
    }
    s24_put_u64((unsigned char *)header->text, length);
    lay_out(contents, header->length);
    const s24_status status =
        s24_st_header_parse(header->text + PREFIX, length, header->length, &again, &data_bytes, err);
    s24_contents_free(&again);
    return status;
}

s24_status s24_safetensors_name_lone(s24_contents *contents, s24_error *err)
{
    if (contents->count == 1 && !*contents->entries[0].name) {
        char *const name = s24_shared_text(S24_NAMELESS, err);
        if (!name) {
            return S24_ERR_SYSTEM;
        }
        s24_shared_free(contents->entries[0].name);
        contents->entries[0].name = name;
    }
    return S24_OK;
}

static s24_status safetensors_create(s24_sink *sink, s24_error *err)
{
    s24_text header = {0};
    s24_status status = s24_safetensors_name_lone(&sink->contents, err);
    status = status == S24_OK ? s24_safetensors_header(&sink->contents, &header, err) : status;
    status = status == S24_OK ? s24_output_write(sink->out, 0, header.text, header.length, err) : status;
    s24_text_free(&header);
    return status;
}

const s24_format s24_format_safetensors = {
    .name = "safetensors",
    .suffixes = ".safetensors",
    .probe = safetensors_probe,
    .open = safetensors_open,
    .accepts = s24_safetensors_accepts,
    .create = safetensors_create,
};
