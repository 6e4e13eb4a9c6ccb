/*
 * Any bytes as a .npz file: opened or refused, every tensor read or refused, never a crash, a leak, memory beyond the
 * bytes' measure, or an entry larger than its bytes can be.
 */
#include <string.h>

#include "format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ENOUGH (1u << 22) /* bytes of data read an input: a small file may stand for 1032 times its size */

static void insist(bool condition)
{
    if (!condition) {
        abort();
    }
}

static s24_status read_entry(const s24_entry *e, uint64_t *read, s24_error *err)
{
    unsigned char part[4096];
    s24_status status = S24_OK;
    for (uint64_t at = 0; at < e->bytes && status == S24_OK && *read < ENOUGH; at += sizeof part) {
        const size_t step = e->bytes - at < sizeof part ? (size_t)(e->bytes - at) : sizeof part;
        status = s24_input_read(e->in, e->offset + at, part, step, err);
        *read += step;
    }
    return status;
}

static void open_once(const uint8_t *data, size_t n, const s24_read_options *options)
{
    static const s24_io io;
    s24_source source = {.format = &s24_format_npz, .options = options, .io = &io};
    s24_error err = {0};
    void *copy = malloc(n ? n : 1); /* the input's to free */
    if (!copy) {
        return;
    }
    if (n) {
        memcpy(copy, data, n);
    }
    if (s24_input_memory(&source.in, &io, "fuzz.npz", copy, n, &err) != S24_OK) {
        return;
    }
    s24_status status = s24_source_parse(&source, &err);
    insist(status == S24_OK || (err.status == status && err.message[0]));
    uint64_t read = 0;
    for (size_t i = 0; i < source.contents.count && status == S24_OK; i++) {
        const s24_entry *e = &source.contents.entries[i];
        insist(e->in != source.in && e->name[0] && e->offset + e->bytes <= n * 1032 + 1032);
        s24_error late = {0};
        const s24_status end = read_entry(e, &read, &late);
        insist(end == S24_OK || (end == S24_ERR_DATA && strncmp(late.message, "member ", 7) == 0));
    }
    if (status == S24_OK && read < ENOUGH) {
        status = s24_source_expect_end(&source, &err);
        insist(status == S24_OK || err.message[0]);
    }
    s24_format_npz.close(&source);
    s24_contents_free(&source.contents);
    s24_input_close(source.in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const s24_read_options silent, said = {.has_dtype = true, .dtype = S24_F8E4M3};
    open_once(data, n, &silent);
    open_once(data, n, &said);
    return 0;
}
