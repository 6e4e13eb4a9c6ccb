/*
 * Any bytes as a safetensors header. What is accepted must have its data in one piece from 0, be written again as a
 * header that reads the same, and be JSON for cJSON, too.
 */
#include "fuzz.h"
#include "jsonx.h"
#include "st_header.h"

static void compare(const s24_contents *a, const s24_contents *b)
{
    REQUIRE(a->count == b->count && a->pairs == b->pairs);
    for (size_t i = 0; i < a->count; i++) {
        const s24_entry *const x = &a->entries[i], *const y = &b->entries[i];
        REQUIRE(strcmp(x->name, y->name) == 0 && x->dtype == y->dtype && x->rank == y->rank);
        REQUIRE(x->offset == y->offset && x->bytes == y->bytes);
        REQUIRE(x->rank == 0 || memcmp(x->shape, y->shape, (size_t)x->rank * sizeof *x->shape) == 0);
    }
    for (size_t i = 0; i < a->pairs; i++) {
        REQUIRE(strcmp(a->metadata[i].key, b->metadata[i].key) == 0);
        REQUIRE(strcmp(a->metadata[i].value, b->metadata[i].value) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint64_t data_start = size + 8;
    const char *const text = (const char *)data;
    s24_contents contents = {0}, again = {0};
    s24_text written = {0};
    uint64_t data_bytes = 0, bytes_again = 0, next = data_start;
    s24_error err = {0};
    if (s24_st_header_parse(text, size, data_start, &contents, &data_bytes, &err) != S24_OK) {
        REQUIRE(err.message[0] && !contents.entries && !contents.metadata);
        return 0;
    }
    for (size_t i = 0; i < contents.count; i++) {
        REQUIRE(contents.entries[i].offset == next);
        next += contents.entries[i].bytes;
    }
    REQUIRE(next == data_start + data_bytes);
    s24_st_header_write(&written, &contents, data_start);
    REQUIRE(!written.failed && strlen(written.text) == written.length);
    REQUIRE(s24_st_header_parse(written.text, written.length, data_start, &again, &bytes_again, NULL) == S24_OK);
    REQUIRE(bytes_again == data_bytes);
    compare(&contents, &again);
    cJSON *json = NULL;
    REQUIRE(s24_json_parse(text, size, SIZE_MAX, &json, NULL) == S24_OK);
    cJSON_Delete(json);
    s24_text_free(&written);
    s24_contents_free(&contents);
    s24_contents_free(&again);
    return 0;
}
