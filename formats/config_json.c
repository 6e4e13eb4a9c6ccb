/*
 * config.json, changed member by member: the text is checked as JSON first, so that the walk over it can trust its
 * grammar, and each change is one splice. An object is made by adding {} and then its members, which keeps the file's
 * own way of breaking lines.
 *
 * What compressed-tensors wrote for a sparse model that is not quantized (ModelCompressor.update_config, 2025):
 *
 *     "quantization_config": {
 *       "quant_method": "compressed-tensors",
 *       "sparsity_config": {"format": "sparse-24-bitmask", "global_sparsity": ..., "ignore": [...],
 *                           "sparsity_structure": "2:4", "targets": ["Linear"]},
 *       "version": "0.9.1"
 *     }
 *
 * Its reader takes any further member for a quantization's, which must then be complete: nothing else is added.
 */
#include "config_json.h"

#include <string.h>

#include "json_token.h"
#include "jsonx.h"

#define SPARSITY "sparsity_config"
#define METHOD "compressed-tensors"

static const char *const outer_names[] = {"quantization_config", "compression_config"};

/* ---------------------------------------------------------------- walking */

/* One member in the text: its key from the quote on, its value; before: the end of what is in front of it. */
typedef struct member {
    size_t before, key, key_end, value, end;
} member;

static s24_json_walk walk_from(const s24_text *text, size_t at)
{
    return (s24_json_walk){text->text, text->length, at};
}

static size_t skip_space(const s24_text *text, size_t at)
{
    s24_json_walk w = walk_from(text, at);
    s24_json_look(&w);
    return w.at;
}

/* The next member of an object: m is the one before it, or {.end = the byte behind its brace}. False: there is none. */
static bool next_member(const s24_text *text, member *m)
{
    s24_json_walk w = walk_from(text, m->end);
    m->before = m->end;
    if (s24_json_look(&w) == '}') {
        return false;
    }
    s24_json_take(&w, ',');
    m->key = skip_space(text, w.at);
    s24_json_skip(&w);
    m->key_end = w.at;
    s24_json_take(&w, ':');
    s24_json_look(&w);
    m->value = w.at;
    s24_json_skip(&w);
    m->end = w.at;
    return true;
}

static bool is_key(const s24_text *text, const member *m, const char *name)
{
    const s24_json_walk w = walk_from(text, m->key);
    return s24_json_reads(&w, name);
}

static bool find(const s24_text *text, size_t object, const char *name, member *m)
{
    *m = (member){.end = object + 1};
    while (next_member(text, m)) {
        if (is_key(text, m, name)) {
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- splicing */

/* Puts what `with` has in the place of bytes [from, to). */
static s24_status splice(s24_text *text, size_t from, size_t to, const s24_text *with, s24_error *err)
{
    s24_text made = {0};
    s24_text_add(&made, text->text, from);
    s24_text_add(&made, with->text ? with->text : "", with->length);
    s24_text_add(&made, text->text + to, text->length - to);
    made.failed = made.failed || with->failed;
    if (made.failed) {
        s24_text_free(&made);
        return s24_fail_memory(err, text->length + with->length);
    }
    s24_text_free(text);
    *text = made;
    return S24_OK;
}

static size_t root_of(const s24_text *text)
{
    return skip_space(text, 0);
}

/* A line break and `depth` times the file's indentation; a blank, or nothing, where it has all on one line. */
static void add_break(s24_text *to, const s24_text *text, size_t root, int depth, bool first)
{
    const size_t first_key = skip_space(text, root + 1), n = first_key - root - 1;
    const char *const space = text->text + root + 1;
    size_t line = n;
    while (line > 0 && space[line - 1] != '\n') {
        line--;
    }
    if (text->text[first_key] == '}') { /* an empty file: as transformers writes them */
        s24_text_printf(to, "\n%*s", 2 * depth, "");
    } else if (line == 0) {
        s24_text_add(to, " ", !first);
    } else {
        s24_text_add(to, space, line);
        for (int d = 0; d < depth; d++) {
            s24_text_add(to, space + line, n - line);
        }
    }
}

/* Sets a member of the object, which lies `depth` deep, to a value as JSON spells it. */
static s24_status set(s24_text *text, size_t object, int depth, const char *name, const char *value, s24_error *err)
{
    member m;
    s24_text with = {0};
    size_t from, to;
    if (find(text, object, name, &m)) {
        from = m.value;
        to = m.end;
        s24_text_add(&with, value, strlen(value));
    } else {
        const bool empty = text->text[skip_space(text, object + 1)] == '}';
        from = m.before; /* of the end: behind the last member */
        to = empty ? skip_space(text, from) : from;
        s24_text_add(&with, ",", !empty);
        add_break(&with, text, root_of(text), depth, empty);
        s24_text_json_string(&with, name);
        s24_text_printf(&with, ": %s", value);
        if (empty) {
            add_break(&with, text, root_of(text), depth - 1, true);
        }
    }
    const s24_status status = splice(text, from, to, &with, err);
    s24_text_free(&with);
    return status;
}

static s24_status take_out(s24_text *text, size_t object, const member *m, s24_error *err)
{
    const s24_text nothing = {0};
    const size_t after = skip_space(text, m->end);
    if (m->before != object + 1) { /* with the comma in front of it */
        return splice(text, m->before, m->end, &nothing, err);
    }
    /* The first: with the comma behind it, up to the next key; alone: with all blanks. */
    return text->text[after] == ',' ? splice(text, m->key, skip_space(text, after + 1), &nothing, err)
                                    : splice(text, m->before, after, &nothing, err);
}

/* ---------------------------------------------------------------- what it says */

static bool is_object(const s24_text *text, const member *m)
{
    return text->text[m->value] == '{';
}

/* A member whose value is that string, or which is not there. */
static bool says(const s24_text *text, size_t object, const char *name, const char *wanted)
{
    member m;
    if (!find(text, object, name, &m)) {
        return true;
    }
    const size_t n = strlen(wanted); /* nobody writes these words with escapes */
    const char *const value = text->text + m.value;
    return m.end - m.value == n + 2 && *value == '"' && memcmp(value + 1, wanted, n) == 0;
}

static bool is_empty(const s24_text *text, const member *m)
{
    return text->text[m->value] == 'n' ||
           (strchr("{[", text->text[m->value]) && skip_space(text, m->value + 1) == m->end - 1);
}

/* Whether an object without its sparsity_config speaks of nothing: of no quantization, and of no transformation. */
static bool says_nothing(const s24_text *text, size_t object)
{
    static const char *const idle[] = {"quant_method", "format", "version", "quantization_status",
                                       "global_compression_ratio", "ignore"};
    member m = {.end = object + 1};
    if (!says(text, object, "quant_method", METHOD) || !says(text, object, "format", "dense")) {
        return false;
    }
    while (next_member(text, &m)) {
        bool known = is_empty(text, &m);
        for (size_t i = 0; i < sizeof idle / sizeof *idle && !known; i++) {
            known = is_key(text, &m, idle[i]);
        }
        if (!known) {
            return false;
        }
    }
    return true;
}

static s24_status remove_sparsity(s24_text *text, const char *outer_name, s24_error *err)
{
    member outer, inner;
    if (!find(text, root_of(text), outer_name, &outer) || !is_object(text, &outer) ||
        !find(text, outer.value, SPARSITY, &inner)) {
        return S24_OK;
    }
    const size_t object = outer.value;
    const s24_status status = take_out(text, object, &inner, err);
    if (status != S24_OK || !says_nothing(text, object)) {
        return status;
    }
    s24_json_walk w = walk_from(text, object); /* what is before it has not moved */
    s24_json_skip(&w);
    outer.end = w.at;
    return take_out(text, root_of(text), &outer, err);
}

static bool is_null(const s24_text *text, const member *m)
{
    return text->text[m->value] == 'n';
}

/* Finds the member of `object`, or makes it, as an object. */
static s24_status open_object(s24_text *text, size_t object, int depth, const char *name, member *m, s24_error *err)
{
    const bool there = find(text, object, name, m) && !is_null(text, m);
    const s24_status status = there ? S24_OK : set(text, object, depth, name, "{}", err);
    if (status != S24_OK) {
        return status;
    }
    find(text, object, name, m); /* it is there now */
    return is_object(text, m) ? S24_OK : s24_fail(err, S24_ERR_DATA, "\"%s\" is not an object", name);
}

static s24_status add_sparsity(s24_text *text, const char *format, s24_error *err)
{
    member outer, inner;
    const size_t root = root_of(text);
    const char *name = outer_names[0];
    if (!find(text, root, name, &outer) && find(text, root, outer_names[1], &outer)) {
        name = outer_names[1];
    }
    const bool made = !find(text, root, name, &outer) || is_null(text, &outer);
    s24_status status = open_object(text, root, 1, name, &outer, err);
    if (status == S24_OK && !says(text, outer.value, "quant_method", METHOD)) {
        return s24_fail(err, S24_ERR_DATA, "\"%s\" has another quant_method than %s, whose layout this is", name,
                        METHOD);
    }
    if (status == S24_OK && made) {
        status = set(text, outer.value, 2, "quant_method", "\"" METHOD "\"", err);
    }
    status = status == S24_OK ? open_object(text, outer.value, 2, SPARSITY, &inner, err) : status;
    if (status != S24_OK) {
        return status;
    }
    /* Those that are there say what the user's model is: only what the layout must say is set. */
    s24_text value = {0};
    member m;
    s24_text_json_string(&value, format);
    status = value.failed ? s24_fail_memory(err, strlen(format))
                          : set(text, inner.value, 3, "format", value.text, err);
    s24_text_free(&value);
    status = status == S24_OK ? set(text, inner.value, 3, "sparsity_structure", "\"2:4\"", err) : status;
    if (status == S24_OK && !find(text, inner.value, "targets", &m)) {
        status = set(text, inner.value, 3, "targets", "[\"Linear\"]", err);
    }
    if (status == S24_OK && !find(text, inner.value, "ignore", &m)) {
        status = set(text, inner.value, 3, "ignore", "[]", err);
    }
    return status;
}

s24_status s24_config_set_sparsity(const char *text, size_t n, const char *format, s24_text *out, bool *changed,
                                   s24_error *err)
{
    *out = (s24_text){0};
    *changed = false;
    s24_status status = s24_json_check(text, n, err);
    if (status != S24_OK) {
        return status;
    }
    s24_text_add(out, text, n);
    if (out->failed) {
        return s24_fail_memory(err, n);
    }
    if (out->text[root_of(out)] != '{') {
        return s24_fail(err, S24_ERR_DATA, "is not a JSON object");
    }
    if (format) {
        status = add_sparsity(out, format, err);
    }
    for (size_t i = 0; i < 2 && !format && status == S24_OK; i++) {
        status = remove_sparsity(out, outer_names[i], err);
    }
    *changed = status == S24_OK && (out->length != n || memcmp(out->text, text, n) != 0);
    return status;
}
