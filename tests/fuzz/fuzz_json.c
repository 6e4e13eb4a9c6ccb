/*
 * Any bytes as JSON, and as JSON weights. What the validator accepts cJSON must take whole, and what cJSON prints of it
 * must be accepted; the tensors of weights must lie in the decoded memory, which is read to its end, and a bare list must
 * have the numbers of cJSON's tree, bit for bit.
 */
#include "fuzz.h"
#include "jsonx.h"

static void as_json(const char *text, size_t size)
{
    s24_error err = {0};
    cJSON *json = NULL;
    const s24_status status = s24_json_parse(text, size, SIZE_MAX, &json, &err);
    REQUIRE(s24_json_check(text, size, NULL) == status);
    if (status != S24_OK) {
        require_told(status, &err);
        REQUIRE(status == S24_ERR_DATA && err.offset <= size);
        return;
    }
    char *const printed = cJSON_PrintUnformatted(json);
    REQUIRE(printed && s24_json_check(printed, strlen(printed), NULL) == S24_OK);
    cJSON_free(printed);
    cJSON_Delete(json);
}

/* The numbers of a tree in order, each compared with the next of `data`; how many. */
static size_t compare_numbers(const cJSON *tree, const unsigned char *data)
{
    if (!cJSON_IsArray(tree)) {
        REQUIRE(memcmp(data, &tree->valuedouble, sizeof tree->valuedouble) == 0);
        return 1;
    }
    size_t n = 0;
    for (const cJSON *child = tree->child; child; child = child->next) {
        n += compare_numbers(child, data + n * sizeof child->valuedouble);
    }
    return n;
}

static void as_tree(const uint8_t *text, size_t size, const s24_entry *entry, const unsigned char *data)
{
    cJSON *json = NULL;
    REQUIRE(s24_json_parse((const char *)text, size, SIZE_MAX, &json, NULL) == S24_OK);
    if (!cJSON_IsObject(json)) {
        REQUIRE(!*entry->name && entry->dtype == S24_F64);
        REQUIRE(compare_numbers(json, data) == entry->bytes / sizeof(double));
    }
    cJSON_Delete(json);
}

static void as_weights(const uint8_t *data, size_t size)
{
    s24_source *const source = source_of(&s24_format_json, NULL, data, size);
    s24_error err = {0};
    uint64_t next = 0;
    const s24_status status = s24_source_parse(source, &err);
    require_told(status, &err);
    REQUIRE(status == S24_OK || status == S24_ERR_DATA);
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        const s24_entry *const entry = &source->contents.entries[i];
        REQUIRE(entry->offset == next);
        next += entry->bytes;
        unsigned char *const all = malloc((size_t)entry->bytes + 1);
        REQUIRE(all && s24_input_read(source->in, entry->offset, all, (size_t)entry->bytes, &err) == S24_OK);
        if (source->contents.count == 1) {
            as_tree(data, size, entry, all);
        }
        free(all);
    }
    REQUIRE(status != S24_OK || s24_input_expect_end(source->in, next, &err) == S24_OK);
    s24_source_close(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_json((const char *)data, size);
    as_weights(data, size);
    return 0;
}
