/* Any bytes as a .npy file: opened or refused, never a crash, a leak, or an entry that lies outside the bytes. */
#include "fuzz.h"

static void open_once(const uint8_t *data, size_t n, const s24_read_options *options)
{
    s24_source *const source = source_of(&s24_format_npy, options, data, n);
    s24_error err = {0};
    const s24_status status = s24_source_parse(source, &err);
    const s24_entry *const e = source->contents.entries;
    require_told(status, &err);
    REQUIRE(source->contents.count == (status == S24_OK));
    REQUIRE(status != S24_OK || e->offset + e->bytes == n);
    s24_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const s24_read_options said = {.has_dtype = true, .dtype = S24_F8E4M3};
    open_once(data, n, NULL);
    open_once(data, n, &said);
    return 0;
}
