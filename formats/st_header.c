/*
 * The header of a safetensors file, read and written. Reading: the text is checked as JSON first, once and strictly
 * (jsonx.h: grammar, UTF-8, escapes, duplicate keys). What is left is to walk a text that is known to be well formed
 * and to see that it says what such a header may say. No tree of it is built.
 */
#include "st_header.h"

#include <stdio.h>
#include <string.h>

#include "dtype.h"
#include "json_token.h"
#include "jsonx.h"
#include "shared.h"

/* ---------------------------------------------------------------- the scanner */

enum { DTYPE, SHAPE, OFFSETS, FIELDS };

static const char *const field_names[FIELDS] = {"dtype", "shape", "data_offsets"};

/* What one tensor's object says. */
typedef struct tensor {
    unsigned seen; /* a bit a field */
    s24_dtype dtype;
    size_t rank, shape[S24_MAX_RANK];
    size_t offsets[2];
} tensor;

typedef struct scan {
    s24_json_walk in; /* the text, known to be JSON */
    char *name;       /* of the tensor, or "__metadata__", shared with its entry: it may be most of the header; NULL: none */
    char *pair;       /* likewise the key of metadata */
    s24_text key, value; /* of a tensor */
    tensor tensor;
    s24_contents contents;
    s24_error error;
} scan;

static s24_status refuse(scan *s, size_t at, const char *format, ...) S24_PRINTF(3, 4);

/* "header, byte N: NAME: cause", NAME where one is being read. */
static s24_status refuse(scan *s, size_t at, const char *format, ...)
{
    char cause[320], name[120];
    va_list args;
    va_start(args, format);
    vsnprintf(cause, sizeof cause, format, args);
    va_end(args);
    const bool named = s->name && *s->name;
    s24_text_shorten(named ? s->name : "", name, sizeof name);
    return s24_fail_at(&s->error, at, "header, byte %zu: %s%s%s", at, name, named ? ": " : "", cause);
}

static s24_status read_string(scan *s, s24_text *out, const char *what)
{
    if (s24_json_look(&s->in) != '"') {
        return refuse(s, s->in.at, "%s is not a string", what);
    }
    return s24_json_take_string(&s->in, out, &s->error);
}

static s24_status read_key(scan *s)
{
    return read_string(s, &s->key, "a key");
}

static s24_status read_name(scan *s)
{
    s->name = s24_json_take_shared(&s->in, &s->error);
    return s->name ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status read_pair(scan *s)
{
    s24_shared_free(s->pair);
    s->pair = s24_json_take_shared(&s->in, &s->error);
    return s->pair ? S24_OK : S24_ERR_SYSTEM;
}

/* An object, whose keys are read one by one, each before its member. */
static s24_status read_object(scan *s, const char *what, s24_status (*key)(scan *s), s24_status (*member)(scan *s))
{
    if (!s24_json_take(&s->in, '{')) {
        return refuse(s, s->in.at, "%s is not an object", what);
    }
    if (s24_json_take(&s->in, '}')) {
        return S24_OK;
    }
    do {
        s24_status status = key(s);
        if (status != S24_OK) {
            return status;
        }
        s24_json_take(&s->in, ':');
        status = member(s);
        if (status != S24_OK) {
            return status;
        }
    } while (s24_json_take(&s->in, ','));
    s24_json_take(&s->in, '}');
    return S24_OK;
}

static s24_status read_size(scan *s, const char *what, size_t *out)
{
    s24_json_look(&s->in);
    const size_t start = s->in.at;
    size_t value = 0;
    while (s->in.text[s->in.at] >= '0' && s->in.text[s->in.at] <= '9') {
        const size_t digit = (size_t)(s->in.text[s->in.at++] - '0');
        if (!s24_mul(value, 10, &value) || !s24_add(value, digit, &value)) {
            return refuse(s, start, "a number in %s is beyond 2^63", what);
        }
    }
    if (s->in.at == start || strchr(".eE", s->in.text[s->in.at])) {
        return refuse(s, start, "%s is not a list of whole numbers from 0", what);
    }
    *out = value;
    return S24_OK;
}

/* A list of at most `most` numbers; *count is how many. */
static s24_status read_sizes(scan *s, const char *what, size_t *out, size_t most, size_t *count)
{
    *count = 0;
    if (!s24_json_take(&s->in, '[')) {
        return refuse(s, s->in.at, "%s is not a list", what);
    }
    if (s24_json_take(&s->in, ']')) {
        return S24_OK;
    }
    do {
        if (*count == most) {
            return refuse(s, s->in.at, "%s has more than %zu numbers", what, most);
        }
        const s24_status status = read_size(s, what, &out[(*count)++]);
        if (status != S24_OK) {
            return status;
        }
    } while (s24_json_take(&s->in, ','));
    s24_json_take(&s->in, ']');
    return S24_OK;
}

/* ---------------------------------------------------------------- what the header says */

static s24_status read_dtype(scan *s)
{
    s24_json_look(&s->in);
    const size_t start = s->in.at;
    const s24_status status = read_string(s, &s->value, field_names[DTYPE]);
    if (status != S24_OK) {
        return status;
    }
    for (int i = S24_F64; i < S24_DTYPES; i++) {
        if (strcmp(s->value.text, s24_dtype_infos[i].st_name) == 0) {
            s->tensor.dtype = (s24_dtype)i;
            return S24_OK;
        }
    }
    return refuse(s, start, "unknown dtype \"%.40s\"; this version of s24 cannot read it", s->value.text);
}

static s24_status read_shape(scan *s)
{
    return read_sizes(s, field_names[SHAPE], s->tensor.shape, S24_MAX_RANK, &s->tensor.rank);
}

static s24_status read_offsets(scan *s)
{
    size_t count;
    s24_json_look(&s->in);
    const size_t start = s->in.at;
    const s24_status status = read_sizes(s, field_names[OFFSETS], s->tensor.offsets, 2, &count);
    if (status != S24_OK) {
        return status;
    }
    if (count != 2 || s->tensor.offsets[0] > s->tensor.offsets[1]) {
        return refuse(s, start, "data_offsets are not [BEGIN, END]");
    }
    return S24_OK;
}

static s24_status tensor_member(scan *s)
{
    static s24_status (*const readers[FIELDS])(scan *) = {read_dtype, read_shape, read_offsets};
    for (unsigned i = 0; i < FIELDS; i++) {
        if (strcmp(s->key.text, field_names[i]) == 0) {
            s->tensor.seen |= 1u << i;
            return readers[i](s);
        }
    }
    return refuse(s, s->in.at, "unknown field \"%.40s\"; a tensor has dtype, shape and data_offsets", s->key.text);
}

static s24_status add_tensor(scan *s, size_t start)
{
    const tensor *const t = &s->tensor;
    for (unsigned i = 0; i < FIELDS; i++) {
        if (!(t->seen >> i & 1)) {
            return refuse(s, start, "%s is missing", field_names[i]);
        }
    }
    s24_error error;
    s24_entry *const entry = s24_contents_take(&s->contents, s24_shared_keep(s->name), t->dtype, (int)t->rank, t->shape,
                                               &error);
    if (!entry) {
        if (error.status != S24_ERR_DATA || error.sys_errno) { /* too many of them: no fault of this one */
            s->error = error;
            return error.status;
        }
        return refuse(s, start, "%s", error.message);
    }
    entry->offset = t->offsets[0];
    const size_t length = t->offsets[1] - t->offsets[0];
    if (length != entry->bytes) {
        return refuse(s, start, "data_offsets span %zu byte%s, but dtype and shape need %llu", length,
                      s24_plural(length), (unsigned long long)entry->bytes);
    }
    return S24_OK;
}

static s24_status metadata_member(scan *s)
{
    s24_json_look(&s->in);
    const size_t start = s->in.at;
    if (s24_json_look(&s->in) != '"') {
        return refuse(s, start, "the value of \"%.40s\" is not a string", s->pair);
    }
    if (s->contents.without_metadata) {
        s24_json_skip(&s->in);
        return S24_OK;
    }
    char *const value = s24_json_take_shared(&s->in, &s->error); /* it may be most of the header */
    return value ? s24_contents_take_pair(&s->contents, s24_shared_keep(s->pair), value, &s->error) : S24_ERR_SYSTEM;
}

static s24_status header_member(scan *s)
{
    s24_json_look(&s->in);
    const size_t start = s->in.at;
    s24_status status;
    if (strcmp(s->name, "__metadata__") == 0) {
        status = read_object(s, "it", read_pair, metadata_member);
    } else {
        s->tensor = (tensor){0};
        status = read_object(s, "it", read_key, tensor_member);
        status = status == S24_OK ? add_tensor(s, start) : status;
    }
    s24_shared_free(s->name);
    s->name = NULL;
    return status;
}

static s24_status read_header(scan *s, size_t n)
{
    s24_error error;
    if (n == 0 || s->in.text[0] != '{') {
        return refuse(s, 0, "it does not begin with {");
    }
    switch (s24_json_check(s->in.text, n, &error)) {
    case S24_OK: return read_object(s, "it", read_name, header_member);
    case S24_ERR_DATA: return s24_fail_at(&s->error, error.offset, "header, %s", error.message); /* "byte N: ..." */
    default: s->error = error; return error.status;
    }
}

/* ---------------------------------------------------------------- the order of the data */

typedef struct place {
    uint64_t begin, end;
    size_t index;
} place;

/* Empty tensors before the one that begins where they lie; equals in the header's order. */
static int compare_places(const void *a, const void *b)
{
    const place *const x = a, *const y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

static s24_status sort_entries(s24_contents *contents, s24_error *err)
{
    const size_t n = contents->count;
    s24_entry *const entries = contents->entries;
    place *const places = s24_calloc(n, sizeof *places, err);
    if (!places) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < n; i++) {
        places[i] = (place){entries[i].offset, entries[i].offset + entries[i].bytes, i};
    }
    qsort(places, n, sizeof *places, compare_places);
    for (size_t i = 0; i < n; i++) { /* in place: cycle by cycle each goes where it belongs */
        const s24_entry first = entries[i];
        size_t to = i;
        for (size_t from; (from = places[to].index) != i; to = from) {
            entries[to] = entries[from];
            places[to].index = to;
        }
        entries[to] = first;
        places[to].index = to;
    }
    free(places);
    return S24_OK;
}

/* Offsets become the file's. The data must follow one another from 0. */
static s24_status place_entries(s24_contents *contents, uint64_t data_start, uint64_t *data_bytes, s24_error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < contents->count; i++) {
        s24_entry *const e = &contents->entries[i];
        if (e->offset != end) {
            char name[120];
            s24_text_shorten(e->name, name, sizeof name);
            return s24_fail_at(err, data_start + end, "%s: its data begin at %llu, but the tensors before it end at "
                               "%llu; data must neither overlap nor leave a hole", name,
                               (unsigned long long)e->offset, (unsigned long long)end);
        }
        end += e->bytes; /* at most 2^63 - 1: it is one of the header's own numbers */
        e->offset += data_start;
    }
    *data_bytes = end;
    if (end > INT64_MAX - data_start) {
        return s24_fail(err, S24_ERR_DATA, "the data end beyond 2^63 bytes");
    }
    return S24_OK;
}

s24_status s24_st_header_parse(const char *json, size_t n, uint64_t data_start, s24_contents *contents,
                               uint64_t *data_bytes, s24_error *err)
{
    scan s = {.in = {json, n, 0}, .contents = *contents};
    s24_status status = read_header(&s, n);
    if (status == S24_ERR_DATA && data_start >= n) {
        s.error.offset += data_start - n; /* from the text's to the file's */
    }
    status = status == S24_OK ? sort_entries(&s.contents, &s.error) : status;
    status = status == S24_OK ? place_entries(&s.contents, data_start, data_bytes, &s.error) : status;
    s24_shared_free(s.name);
    s24_shared_free(s.pair);
    s24_text_free(&s.key);
    s24_text_free(&s.value);
    if (status == S24_OK) {
        *contents = s.contents;
        return S24_OK;
    }
    s24_contents_free(&s.contents);
    if (err) {
        *err = s.error;
    }
    return status;
}

/* ---------------------------------------------------------------- writing */

void s24_st_header_write_tensor(s24_text *text, const char *name, s24_dtype dtype, int rank, const size_t *shape,
                                uint64_t begin, uint64_t end)
{
    s24_text_json_string(text, name);
    s24_text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", s24_info(dtype)->st_name);
    for (int d = 0; d < rank; d++) {
        s24_text_printf(text, d ? ",%zu" : "%zu", shape[d]);
    }
    s24_text_printf(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin, (unsigned long long)end);
}

void s24_st_header_write(s24_text *text, const s24_contents *contents, uint64_t data_start)
{
    s24_text_add(text, "{", 1);
    if (contents->pairs) {
        s24_text_printf(text, "\"__metadata__\":{");
        for (size_t i = 0; i < contents->pairs; i++) {
            s24_text_add(text, ",", i > 0);
            s24_text_json_string(text, contents->metadata[i].key);
            s24_text_add(text, ":", 1);
            s24_text_json_string(text, contents->metadata[i].value);
        }
        s24_text_add(text, "}", 1);
    }
    for (size_t i = 0; i < contents->count; i++) {
        const s24_entry *const e = &contents->entries[i];
        const uint64_t begin = e->offset - data_start;
        s24_text_add(text, ",", i > 0 || contents->pairs > 0);
        s24_st_header_write_tensor(text, e->name, e->dtype, e->rank, e->shape, begin, begin + e->bytes);
    }
    s24_text_add(text, "}", 1);
}
