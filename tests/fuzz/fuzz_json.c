/*
 * Any bytes as JSON, and as JSON weights. What the validator accepts cJSON must take whole, and what cJSON prints of it
 * must be accepted; the tensors of weights must lie in the decoded memory, which is read to its end.
 */
#include <string.h>

#include "format.h"
#include "jsonx.h"

#define REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            abort(); \
        } \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_json(const char *text, size_t size)
{
    s24_error err = {0};
    cJSON *json = NULL;
    const s24_status status = s24_json_parse(text, size, SIZE_MAX, &json, &err);
    REQUIRE(s24_json_check(text, size, NULL) == status);
    if (status != S24_OK) {
        REQUIRE(status == S24_ERR_DATA && err.offset <= size && err.message[0] && !strchr(err.message, '\n'));
        return;
    }
    char *const printed = cJSON_PrintUnformatted(json);
    REQUIRE(printed && s24_json_check(printed, strlen(printed), NULL) == S24_OK);
    cJSON_free(printed);
    cJSON_Delete(json);
}

static void as_weights(const uint8_t *data, size_t size)
{
    static const s24_io io;
    static const s24_read_options options;
    s24_error err = {0};
    void *const copy = malloc(size + 1);
    s24_source source = {.format = &s24_format_json, .options = &options, .io = &io};
    REQUIRE(copy);
    memcpy(copy, data, size);
    REQUIRE(s24_input_memory(&source.in, &io, "fuzz", copy, size, &err) == S24_OK);
    const s24_status status = s24_format_json.open(&source, &err);
    uint64_t next = 0;
    if (status != S24_OK) {
        REQUIRE(status == S24_ERR_DATA && err.message[0] && !strchr(err.message, '\n'));
    }
    for (size_t i = 0; i < source.contents.count && status == S24_OK; i++) {
        const s24_entry *const entry = &source.contents.entries[i];
        REQUIRE(entry->offset == next);
        next += entry->bytes;
        unsigned char *const all = malloc((size_t)entry->bytes + 1);
        REQUIRE(all && s24_input_read(source.in, entry->offset, all, (size_t)entry->bytes, &err) == S24_OK);
        free(all);
    }
    REQUIRE(status != S24_OK || s24_input_expect_end(source.in, next, &err) == S24_OK);
    s24_contents_free(&source.contents);
    s24_input_close(source.in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_json((const char *)data, size);
    as_weights(data, size);
    return 0;
}
