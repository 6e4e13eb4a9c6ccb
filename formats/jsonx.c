/*
 * A validator of RFC 8259 in front of cJSON. It walks the text once, with a stack of its own, and keeps nothing but a
 * hash and a place for every key of the objects that are still open.
 */
#include "jsonx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "json_token.h"
#include "mem.h"

#define MAX_DEPTH 128

/* A hostile text may be one key in every five bytes: 32 bits of each are enough, so that they take less than twice the text. */
typedef struct json_key {
    uint32_t hash;  /* of its characters, unescaped */
    uint32_t at;    /* of its first character, after the quote */
} json_key;

typedef struct level {
    bool object;
    size_t first_key; /* of the object's, in checker.keys */
} level;

typedef struct checker {
    const char *text;
    size_t n, at;
    level levels[MAX_DEPTH]; /* what is open */
    size_t depth;
    size_t values, most;     /* seen, and allowed */
    json_key *keys;          /* of all open objects, a stack */
    size_t count, capacity;
    s24_error *err;
} checker;

static s24_status refuse_at(const checker *c, size_t at, const char *cause)
{
    const char *const end = "the text ends here, but it is not complete";
    return s24_fail_at(c->err, at, "byte %zu: %s", at, at < c->n ? cause : end);
}

static s24_status refuse(const checker *c, const char *cause)
{
    return refuse_at(c, c->at, cause);
}

static int look(const checker *c)
{
    return c->at < c->n ? (unsigned char)c->text[c->at] : -1;
}

static bool take(checker *c, char wanted)
{
    const bool there = c->at < c->n && c->text[c->at] == wanted;
    c->at += there;
    return there;
}

static void skip_blanks(checker *c)
{
    while (c->at < c->n && memchr(" \t\n\r", c->text[c->at], 4)) {
        c->at++;
    }
}

/* ---------------------------------------------------------------- strings */

/* A string from its quote on; *hash is that of its characters (FNV-1a, then mixed: keys are compared, too). */
static s24_status check_string(checker *c, uint32_t *hash)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    c->at++;
    while (c->at < c->n && c->text[c->at] != '"') {
        const size_t start = c->at;
        uint32_t character = 0;
        const char *const cause = s24_json_character(c->text, c->n, &c->at, &character);
        if (cause) {
            return refuse_at(c, start, cause);
        }
        h = (h ^ character) * UINT64_C(0x100000001b3);
    }
    *hash = (uint32_t)(h ^ h >> 32);
    return take(c, '"') ? S24_OK : refuse(c, "");
}

/* ---------------------------------------------------------------- keys */

/* Orders by characters; 0: equal. Both strings were checked. */
static int compare_strings(const checker *c, size_t a, size_t b)
{
    for (;;) {
        const bool a_ends = c->text[a] == '"', b_ends = c->text[b] == '"';
        if (a_ends || b_ends) {
            return (int)b_ends - (int)a_ends;
        }
        uint32_t x = 0, y = 0;
        s24_json_character(c->text, c->n, &a, &x);
        s24_json_character(c->text, c->n, &b, &y);
        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
}

/* By hash, characters, place: a total order, so that many keys of one hash cost no more than others. */
static int compare_keys(const checker *c, const json_key *a, const json_key *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    const int order = compare_strings(c, a->at, b->at);
    return order ? order : (a->at > b->at) - (a->at < b->at);
}

/* qsort has nowhere to put the text, and qsort_r is not in POSIX: heapsort, which needs no memory either. */
static void sift_down(const checker *c, json_key *keys, size_t root, size_t n)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= n) {
            return;
        }
        if (child + 1 < n && compare_keys(c, &keys[child], &keys[child + 1]) < 0) {
            child++;
        }
        if (compare_keys(c, &keys[root], &keys[child]) >= 0) {
            return;
        }
        const json_key moved = keys[root];
        keys[root] = keys[child];
        keys[child] = moved;
        root = child;
    }
}

static void sort_keys(const checker *c, json_key *keys, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(c, keys, i, n);
    }
    for (size_t end = n; end-- > 1;) {
        const json_key last = keys[end];
        keys[end] = keys[0];
        keys[0] = last;
        sift_down(c, keys, 0, end);
    }
}

static s24_status refuse_key(const checker *c, size_t at)
{
    size_t end = at;
    while (c->text[end] != '"' && end - at < 64) {
        uint32_t ignored;
        s24_json_character(c->text, c->n, &end, &ignored);
    }
    return s24_fail_at(c->err, at - 1, "byte %zu: the key \"%.*s\" occurs twice in an object", at - 1, (int)(end - at),
                       c->text + at);
}

/* At the end of an object: its keys must differ. */
static s24_status check_keys(checker *c, size_t first)
{
    const size_t n = c->count - first;
    c->count = first;
    if (n < 2) { /* there may be no c->keys */
        return S24_OK;
    }
    json_key *const keys = c->keys + first;
    size_t again = SIZE_MAX; /* the first that was there before */
    sort_keys(c, keys, n);
    for (size_t i = 1; i < n; i++) {
        if (keys[i].hash == keys[i - 1].hash && keys[i].at < again && compare_strings(c, keys[i].at, keys[i - 1].at) == 0) {
            again = keys[i].at;
        }
    }
    return again == SIZE_MAX ? S24_OK : refuse_key(c, again);
}

static s24_status check_key(checker *c)
{
    skip_blanks(c);
    if (look(c) != '"') {
        return refuse(c, "a key in double quotes is missing");
    }
    if (c->count == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 64;
        json_key *const grown = realloc(c->keys, capacity * sizeof *grown);
        if (!grown) {
            return s24_fail_memory(c->err, capacity * sizeof *grown);
        }
        c->keys = grown;
        c->capacity = capacity;
    }
    json_key *const k = &c->keys[c->count];
    k->at = (uint32_t)(c->at + 1);
    const s24_status status = check_string(c, &k->hash);
    if (status != S24_OK) {
        return status;
    }
    c->count++;
    skip_blanks(c);
    return take(c, ':') ? S24_OK : refuse(c, "a colon is missing after a key");
}

/* ---------------------------------------------------------------- numbers and words */

static bool take_digits(checker *c)
{
    const size_t start = c->at;
    while (c->at < c->n && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
        c->at++;
    }
    return c->at > start;
}

static s24_status check_number(checker *c)
{
    const size_t start = c->at;
    bool large = false;
    take(c, '-');
    if (look(c) == 'I' || look(c) == 'N' || look(c) == 'i' || look(c) == 'n') {
        return refuse_at(c, start, "JSON has no infinity and no NaN; use .npy");
    }
    if (take(c, '0')) {
        if (look(c) >= '0' && look(c) <= '9') {
            return refuse_at(c, start, "a number that begins with 0");
        }
    } else if (!take_digits(c)) {
        return refuse(c, "a digit is missing");
    }
    if (take(c, '.') && !take_digits(c)) {
        return refuse(c, "a digit is missing after the decimal point");
    }
    if (take(c, 'e') || take(c, 'E')) {
        large = !take(c, '-');
        if (large) {
            take(c, '+');
        }
        if (!take_digits(c)) {
            return refuse(c, "a digit is missing in the exponent");
        }
    }
    if (c->at - start > S24_JSON_NUMBER) {
        return refuse_at(c, start, "a number of more than 63 characters; write it with an exponent and fewer digits");
    }
    if (large && s24_json_overflows(c->text + start, c->at - start)) {
        return refuse_at(c, start, "a number beyond the range of f64");
    }
    return S24_OK;
}

/* Words at the place of a value: the three of JSON, and what others write, with the cause. */
static s24_status check_word(checker *c)
{
    static const char no_number[] = "JSON has no infinity and no NaN; use .npy";
    static const struct {
        const char *word, *cause;
    } words[] = {
        {"null", NULL},
        {"true", NULL},
        {"false", NULL},
        {"NaN", no_number},
        {"nan", no_number},
        {"Infinity", no_number},
        {"inf", no_number},
        {"None", "None is Python's; JSON writes null"},
        {"True", "True is Python's; JSON writes true"},
        {"False", "False is Python's; JSON writes false"},
        {"'", "strings are written in double quotes"},
        {"\xef\xbb\xbf", "a byte order mark; save the text without it"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t length = strlen(words[i].word);
        if (c->n - c->at >= length && memcmp(c->text + c->at, words[i].word, length) == 0) {
            if (words[i].cause) {
                return refuse(c, words[i].cause);
            }
            c->at += length;
            return S24_OK;
        }
        if (c->at < c->n && c->n - c->at < length && memcmp(c->text + c->at, words[i].word, c->n - c->at) == 0) {
            return refuse_at(c, c->n, "");
        }
    }
    return refuse(c, "a value is missing");
}

/* ---------------------------------------------------------------- the document */

static s24_status open_level(checker *c, bool object)
{
    if (c->depth == MAX_DEPTH) {
        return refuse(c, "nested deeper than 128");
    }
    c->levels[c->depth++] = (level){object, c->count};
    c->at++;
    return S24_OK;
}

/* A whole scalar, or the opening bracket of a container, of which *opened tells. */
static s24_status check_value(checker *c, bool *opened)
{
    skip_blanks(c);
    if (c->values++ == c->most) {
        return s24_fail_at(c->err, c->at, "byte %zu: more than the %zu values that s24 takes here", c->at, c->most);
    }
    const int first = look(c);
    *opened = first == '{' || first == '[';
    if (*opened) {
        return open_level(c, first == '{');
    }
    if (first == '"') {
        uint32_t ignored;
        return check_string(c, &ignored);
    }
    if (first == '-' || (first >= '0' && first <= '9')) {
        return check_number(c);
    }
    return check_word(c);
}

/* The next thing in the innermost container: its end, or one more member, up to where check_value stops. */
static s24_status check_member(checker *c, bool *opened)
{
    const level *const l = &c->levels[c->depth - 1];
    skip_blanks(c);
    if (take(c, l->object ? '}' : ']')) {
        *opened = false;
        c->depth--;
        return l->object ? check_keys(c, l->first_key) : S24_OK;
    }
    if (!*opened && !take(c, ',')) {
        return refuse(c, l->object ? "a comma or } is missing" : "a comma or ] is missing");
    }
    if (l->object) {
        const s24_status status = check_key(c);
        if (status != S24_OK) {
            return status;
        }
    }
    return check_value(c, opened);
}

/* The value at c->at, which is moved behind it. */
static s24_status check_whole(checker *c)
{
    bool opened = false;
    if (c->n > UINT32_MAX) { /* no place of a key is beyond */
        return s24_fail(c->err, S24_ERR_DATA, "is JSON of more than 4 GiB");
    }
    s24_status status = check_value(c, &opened);
    while (status == S24_OK && c->depth > 0) {
        status = check_member(c, &opened);
    }
    free(c->keys);
    return status;
}

static s24_status check_end(checker *c)
{
    skip_blanks(c);
    return c->at < c->n ? refuse(c, "something follows the end of the JSON value") : S24_OK;
}

static s24_status build(const char *text, size_t n, cJSON **json, s24_error *err)
{
    *json = cJSON_ParseWithLength(text, n);
    return *json ? S24_OK : s24_fail(err, S24_ERR_SYSTEM, "no memory for %zu bytes of JSON", n);
}

static s24_status check(const char *text, size_t n, size_t most, s24_error *err)
{
    checker c = {.text = text, .n = n, .most = most, .err = err};
    const s24_status status = check_whole(&c);
    return status == S24_OK ? check_end(&c) : status;
}

s24_status s24_json_check(const char *text, size_t n, s24_error *err)
{
    return check(text, n, SIZE_MAX, err);
}

s24_status s24_json_parse(const char *text, size_t n, size_t most, cJSON **json, s24_error *err)
{
    const s24_status status = check(text, n, most, err);
    return status == S24_OK ? build(text, n, json, err) : status;
}

s24_status s24_json_next(s24_json_list *list, size_t most, cJSON **element, s24_error *err)
{
    checker c = {.text = list->text, .n = list->n, .at = list->at, .most = most, .err = err};
    const bool first = list->at == 0;
    *element = NULL;
    skip_blanks(&c);
    if (first && !take(&c, '[')) {
        return refuse(&c, "a list is missing");
    }
    skip_blanks(&c);
    if (take(&c, ']')) {
        return check_end(&c);
    }
    if (!first && !take(&c, ',')) {
        return refuse(&c, "a comma or ] is missing");
    }
    const size_t start = c.at;
    const s24_status status = check_whole(&c);
    list->at = c.at;
    return status == S24_OK ? build(list->text + start, c.at - start, element, err) : status;
}

/* ---------------------------------------------------------------- access */

const cJSON *s24_json_get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

const char *s24_json_string(const cJSON *object, const char *key, s24_error *err)
{
    const cJSON *const item = s24_json_get(object, key);
    if (!item) {
        s24_fail(err, S24_ERR_DATA, "\"%s\" is missing", key);
        return NULL;
    }
    if (!cJSON_IsString(item)) {
        s24_fail(err, S24_ERR_DATA, "\"%s\" is not a string", key);
        return NULL;
    }
    return item->valuestring;
}

bool s24_json_whole(double value, size_t *out)
{
    const double limit = 9007199254740992.0; /* 2^53: beyond, an f64 skips integers */
    if (value < 0 || value > limit || floor(value) != value) {
        return false;
    }
    *out = (size_t)value;
    return true;
}

bool s24_json_size(const cJSON *value, size_t *out)
{
    return cJSON_IsNumber(value) && s24_json_whole(value->valuedouble, out);
}

void s24_json_add_f64(cJSON *object, const char *key, double value)
{
    char number[40];
    if (!isfinite(value)) {
        cJSON_AddNullToObject(object, key);
        return;
    }
    snprintf(number, sizeof number, "%.17g", value);
    for (char *p = number; *p; p++) { /* the locale's decimal point */
        if (!strchr("0123456789+-e", *p)) {
            *p = '.';
        }
    }
    cJSON_AddRawToObject(object, key, number);
}
