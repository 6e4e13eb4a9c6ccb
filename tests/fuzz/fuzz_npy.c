/* Any bytes as a .npy file: opened or refused, never a crash, a leak, or an entry that lies outside the bytes. */
#include <string.h>

#include "format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void open_once(const uint8_t *data, size_t n, const s24_read_options *options)
{
    static const s24_io io;
    s24_source source = {.format = &s24_format_npy, .options = options, .io = &io};
    s24_error err = {0};
    void *copy = malloc(n ? n : 1); /* the input's to free */
    if (!copy) {
        return;
    }
    if (n) {
        memcpy(copy, data, n);
    }
    if (s24_input_memory(&source.in, &io, "fuzz.npy", copy, n, &err) != S24_OK) {
        return;
    }
    const s24_status status = s24_format_npy.open(&source, &err);
    const s24_entry *e = source.contents.entries;
    if (status == S24_OK ? source.contents.count != 1 || e->offset + e->bytes != n
                         : source.contents.count != 0 || err.status != status || !err.message[0]) {
        abort();
    }
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
