/*
 * cJSON behind one strict door. cJSON accepts what is no JSON, loses what JSON has (1e999, 01, "1.", invalid UTF-8,
 * duplicate keys, NUL in a key) and prints NaN as null; here the text is checked against RFC 8259 first, and only then
 * given to it.
 */
#ifndef S24_FORMATS_JSONX_H
#define S24_FORMATS_JSONX_H

#include <cjson/cJSON.h>

#include "error.h"

/*
 * Parses n bytes as exactly one JSON value. S24_ERR_DATA with the byte's offset: not JSON, numbers beyond f64, duplicate
 * keys (compared after unescaping), "\u0000", lone surrogates, invalid UTF-8, deeper than 128, more than `most` values,
 * lists and objects among them: each takes 80 bytes. The caller frees *json with cJSON_Delete.
 */
s24_status s24_json_parse(const char *text, size_t n, size_t most, cJSON **json, s24_error *err);

/*
 * The elements of a text that is one JSON list, one by one: not all are in memory at a time. From {text, n, 0} on; *element
 * is the caller's to delete, NULL after the last. Errors as above, `most` of each element.
 */
typedef struct s24_json_list {
    const char *text;
    size_t n, at;
} s24_json_list;

s24_status s24_json_next(s24_json_list *list, size_t most, cJSON **element, s24_error *err);

/* The same checks without building anything. */
s24_status s24_json_check(const char *text, size_t n, s24_error *err);

const cJSON *s24_json_get(const cJSON *object, const char *key); /* case-sensitive; NULL: absent */

/* A member that must be there with that type; NULL: *err says what is missing. */
const char *s24_json_string(const cJSON *object, const char *key, s24_error *err);
bool s24_json_size(const cJSON *value, size_t *out); /* an integer 0 .. 2^53; false: it is none */
bool s24_json_whole(double value, size_t *out);       /* the same of a number, which is finite */

/* Adds a number with 17 significant digits; null where it is not finite. */
void s24_json_add_f64(cJSON *object, const char *key, double value);

#endif
