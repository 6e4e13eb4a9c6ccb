/*
 * Any bytes as a config.json whose sparse layout is set and taken away. What comes out is JSON, says what it should,
 * and differs in nothing else; doing it twice changes nothing.
 */
#include "config_json.h"
#include "fuzz.h"
#include "jsonx.h"

static const char *const outer_names[] = {"quantization_config", "compression_config"};

static cJSON *parse(const char *text, size_t n)
{
    cJSON *json = NULL;
    REQUIRE(s24_json_parse(text, n, SIZE_MAX, &json, NULL) == S24_OK && cJSON_IsObject(json));
    return json;
}

/* Nothing but the two objects is touched. Frees both. */
static void compare_rest(cJSON *before, cJSON *after)
{
    for (size_t i = 0; i < 2; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(before, outer_names[i]);
        cJSON_DeleteItemFromObjectCaseSensitive(after, outer_names[i]);
    }
    REQUIRE(cJSON_Compare(before, after, true));
    cJSON_Delete(before);
    cJSON_Delete(after);
}

/* Of the object that speaks of the layout; NULL: there is none. */
static const cJSON *sparsity_of(const cJSON *json)
{
    const cJSON *found = NULL;
    for (size_t i = 0; i < 2 && !found; i++) {
        found = s24_json_get(s24_json_get(json, outer_names[i]), "sparsity_config");
    }
    return found;
}

static bool is_text(const cJSON *json, const char *text)
{
    return cJSON_IsString(json) && strcmp(json->valuestring, text) == 0;
}

/* format: NULL to take it away. Afterwards *out is the text, unless it is refused. */
static bool change(const char *text, size_t n, const char *format, s24_text *out)
{
    bool changed = false, again = true;
    s24_error err = {0};
    s24_text second;
    const s24_status status = s24_config_set_sparsity(text, n, format, out, &changed, &err);
    require_told(status, &err);
    if (status != S24_OK) {
        REQUIRE(status == S24_ERR_DATA && !changed);
        return false;
    }
    cJSON *const before = parse(text, n), *const after = parse(out->text, out->length);
    const cJSON *const sparsity = sparsity_of(after);
    if (format) {
        REQUIRE(is_text(s24_json_get(sparsity, "format"), format));
        REQUIRE(is_text(s24_json_get(sparsity, "sparsity_structure"), "2:4"));
    } else {
        REQUIRE(!sparsity);
    }
    compare_rest(before, after);
    REQUIRE(changed == (out->length != n || memcmp(out->text, text, n) != 0));
    REQUIRE(s24_config_set_sparsity(out->text, out->length, format, &second, &again, NULL) == S24_OK && !again);
    s24_text_free(&second);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *const text = (const char *)data;
    s24_text with = {0}, without = {0}, neither = {0};
    change(text, n, NULL, &without);
    if (change(text, n, "sparse-24-bitmask", &with)) {
        REQUIRE(change(with.text, with.length, NULL, &neither));
    }
    s24_text_free(&with);
    s24_text_free(&without);
    s24_text_free(&neither);
    return 0;
}
