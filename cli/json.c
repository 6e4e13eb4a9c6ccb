#include "json.h"

#include <stdarg.h>
#include <stdlib.h>

#include "msg.h"
#include "text.h"

json_object json_new(void)
{
    cJSON *object = cJSON_CreateObject();
    return (json_object){.object = object, .failed = !object};
}

void json_item(json_object *j, const char *key, cJSON *item)
{
    if (!cJSON_AddItemToObject(j->object, key, item)) {
        cJSON_Delete(item);
        j->failed = true;
    }
}

void json_text(json_object *j, const char *key, const char *value)
{
    char *clean = value ? text_utf8(value) : NULL;
    json_item(j, key, !value ? cJSON_CreateNull() : clean ? cJSON_CreateString(clean) : NULL);
    free(clean);
}

void json_bool(json_object *j, const char *key, bool value)
{
    json_item(j, key, cJSON_CreateBool(value));
}

/* cJSON's own numbers are doubles, and print 15 digits where it deems that enough: numbers are put in as text. */
void json_raw(json_object *j, const char *key, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_item(j, key, cJSON_CreateRaw(*text ? text : "null"));
}

void json_f64(json_object *j, const char *key, double value)
{
    char text[TEXT_SIZE];
    text_exact(text, value);
    json_raw(j, key, "%s", text);
}

void json_shape(json_object *j, const char *key, int rank, const size_t *shape)
{
    cJSON *array = cJSON_CreateArray();
    for (int d = 0; d < rank; d++) {
        char text[TEXT_SIZE];
        snprintf(text, sizeof text, "%zu", shape[d]);
        cJSON *item = cJSON_CreateRaw(text);
        if (!cJSON_AddItemToArray(array, item)) {
            cJSON_Delete(item);
            j->failed = true;
        }
    }
    json_item(j, key, array);
}

void json_print(json_object *j, FILE *out)
{
    char *text = j->failed ? NULL : cJSON_PrintUnformatted(j->object);
    fputs(text ? text : "null", out);
    if (!text) {
        msg_error(S24_ERR_SYSTEM, "no memory for the report");
    }
    cJSON_free(text);
    cJSON_Delete(j->object);
    *j = (json_object){0};
}

void json_print_string(const char *s, FILE *out)
{
    char *clean = text_utf8(s);
    json_object j = {.object = clean ? cJSON_CreateString(clean) : NULL};
    j.failed = !j.object;
    json_print(&j, out);
    free(clean);
}
