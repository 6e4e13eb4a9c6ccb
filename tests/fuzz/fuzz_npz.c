/*
 * Any bytes as a .npz file: opened or refused, every tensor read or refused, never a crash, a leak, memory beyond the
 * bytes' measure, or an entry larger than its bytes can be.
 */
#include "fuzz.h"

#define ENOUGH (1u << 22) /* bytes of data read an input: a small file may stand for 1032 times its size */

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
    s24_source *const source = source_of(&s24_format_npz, options, data, n);
    s24_error err = {0};
    uint64_t read = 0;
    const s24_status status = s24_source_parse(source, &err);
    require_told(status, &err);
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        const s24_entry *const e = &source->contents.entries[i];
        s24_error late = {0};
        REQUIRE(e->in != source->in && e->name[0] && e->offset + e->bytes <= n * 1032 + 1032);
        const s24_status end = read_entry(e, &read, &late);
        REQUIRE(end == S24_OK || (end == S24_ERR_DATA && strncmp(late.message, "member ", 7) == 0));
    }
    if (status == S24_OK && read < ENOUGH) {
        require_told(s24_source_expect_end(source, &err), &err);
    }
    s24_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const s24_read_options said = {.has_dtype = true, .dtype = S24_F8E4M3};
    open_once(data, n, NULL);
    open_once(data, n, &said);
    return 0;
}
