/*
 * JSON for reports: an object a tensor, made by cJSON and printed at once. What is around the objects is printed as
 * text, so that the report of a model with a hundred thousand tensors does not lie in memory as a whole.
 */
#ifndef S24_CLI_JSON_H
#define S24_CLI_JSON_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "s24.h"

/* A member that could not be added is remembered, and told when the object is printed. */
typedef struct json_object {
    cJSON *object;
    bool failed;
} json_object;

json_object json_new(void);
void json_text(json_object *j, const char *key, const char *value);  /* NULL: null; what is not UTF-8 is U+FFFD */
void json_bool(json_object *j, const char *key, bool value);
void json_raw(json_object *j, const char *key, const char *format, ...) S24_PRINTF(3, 4); /* a number; "": null */
void json_f64(json_object *j, const char *key, double value);        /* 17 digits; null where it is not finite */
void json_item(json_object *j, const char *key, cJSON *item); /* takes it over; NULL: there was no memory */
void json_shape(json_object *j, const char *key, int rank, const size_t *shape);
void json_print(json_object *j, FILE *out); /* on one line, and frees it */

void json_print_string(const char *s, FILE *out); /* one string, quoted */

#endif
