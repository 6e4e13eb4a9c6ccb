/*
 * A validator of RFC 8259 in front of cJSON. It walks the text once, with a stack of its own, and keeps nothing but a
 * hash and a place for every key of the objects that are still open.
 */
#include "jsonx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

#define MAX_DEPTH 128

/*
 * cJSON 1.7.15 cuts a number after 63 characters (parse_number's number_c_string[64]) and takes what is left for what
 * follows it. No f64 needs more than 24.
 */
#define MAX_NUMBER 63

typedef struct json_key {
    uint64_t hash;  /* of its characters, unescaped */
    size_t at;      /* of its first character, after the quote */
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

static bool hex4(const checker *c, size_t at, uint32_t *value)
{
    *value = 0;
    if (c->n - at < 4) {
        return false;
    }
    for (size_t i = at; i < at + 4; i++) {
        const char *const digits = "0123456789abcdef0123456789ABCDEF";
        const char *const digit = memchr(digits, c->text[i], 32);
        if (!digit) {
            return false;
        }
        *value = *value << 4 | (uint32_t)((digit - digits) % 16);
    }
    return true;
}

/* The escape at *at, after the backslash. These three give NULL, or what is wrong. */
static const char *unescape(const checker *c, size_t *at, uint32_t *character)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const size_t i = *at;
    const char *const simple = i < c->n ? memchr(from, c->text[i], 8) : NULL;
    if (simple) {
        *character = (unsigned char)to[simple - from];
        *at = i + 1;
        return NULL;
    }
    if (i >= c->n || c->text[i] != 'u') {
        return "an escape that JSON does not have";
    }
    if (!hex4(c, i + 1, character)) {
        return "\\u without four hexadecimal digits";
    }
    *at = i + 5;
    if (*character == 0) {
        return "\\u0000; names and strings must not hold NUL";
    }
    if (*character < 0xd800 || *character > 0xdfff) {
        return NULL;
    }
    uint32_t low = 0;
    const bool pair = *character < 0xdc00 && c->n - *at >= 6 && memcmp(c->text + *at, "\\u", 2) == 0 &&
                      hex4(c, *at + 2, &low) && low >= 0xdc00 && low <= 0xdfff;
    if (!pair) {
        return "half of a surrogate pair";
    }
    *character = 0x10000 + ((*character - 0xd800) << 10) + (low - 0xdc00);
    *at += 6;
    return NULL;
}

static const char *utf8(const checker *c, size_t *at, uint32_t *character)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *const p = (const unsigned char *)c->text + *at;
    const size_t more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
    const char *const cause = "not UTF-8";
    if (p[0] < 0xc2 || p[0] > 0xf4 || c->n - *at <= more) {
        return cause;
    }
    *character = p[0] & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return cause;
        }
        *character = *character << 6 | (p[i] & 0x3f);
    }
    const bool surrogate = *character >= 0xd800 && *character <= 0xdfff;
    if (*character < least[more] || *character > 0x10ffff || surrogate) {
        return cause;
    }
    *at += more + 1;
    return NULL;
}

/* The character at *at of a string, which is moved behind it. */
static const char *next_character(const checker *c, size_t *at, uint32_t *character)
{
    const unsigned char byte = (unsigned char)c->text[*at];
    if (byte == '\\') {
        *at += 1;
        return unescape(c, at, character);
    }
    if (byte < 0x20) {
        return "a control character in a string; escape it";
    }
    if (byte >= 0x80) {
        return utf8(c, at, character);
    }
    *character = byte;
    *at += 1;
    return NULL;
}

/* A string from its quote on; *hash is that of its characters (FNV-1a, then mixed: keys are compared, too). */
static s24_status check_string(checker *c, uint64_t *hash)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    c->at++;
    while (c->at < c->n && c->text[c->at] != '"') {
        const size_t start = c->at;
        uint32_t character = 0;
        const char *const cause = next_character(c, &c->at, &character);
        if (cause) {
            return refuse_at(c, start, cause);
        }
        h = (h ^ character) * UINT64_C(0x100000001b3);
    }
    *hash = h ^ h >> 32;
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
        next_character(c, &a, &x);
        next_character(c, &b, &y);
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

/* At the end of an object: its keys must differ. */
static s24_status check_keys(checker *c, size_t first)
{
    const size_t n = c->count - first;
    c->count = first;
    if (n < 2) { /* there may be no c->keys */
        return S24_OK;
    }
    json_key *const keys = c->keys + first;
    sort_keys(c, keys, n);
    for (size_t i = 1; i < n; i++) {
        if (keys[i].hash == keys[i - 1].hash && compare_strings(c, keys[i].at, keys[i - 1].at) == 0) {
            const size_t at = keys[i].at;
            size_t end = at;
            while (c->text[end] != '"' && end - at < 64) {
                uint32_t ignored;
                next_character(c, &end, &ignored);
            }
            return s24_fail_at(c->err, at - 1, "byte %zu: the key \"%.*s\" occurs twice in an object", at - 1,
                               (int)(end - at), c->text + at);
        }
    }
    return S24_OK;
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
    k->at = c->at + 1;
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

/*
 * Whether a number with a positive exponent is infinite as f64. strtod would look for the locale's decimal point, so
 * the point is taken out and the exponent lowered instead.
 */
static bool overflows(const char *number, size_t n)
{
    char copy[MAX_NUMBER + 16];
    size_t used = 0, i = 0;
    long exponent = 0, fraction = 0;
    bool point = false;
    for (; number[i] != 'e' && number[i] != 'E'; i++) {
        if (number[i] == '.') {
            point = true;
            continue;
        }
        copy[used++] = number[i];
        fraction += point;
    }
    for (i++; i < n; i++) {
        if (number[i] != '+' && exponent < 100000) {
            exponent = exponent * 10 + (number[i] - '0');
        }
    }
    snprintf(copy + used, sizeof copy - used, "e%ld", exponent - fraction);
    return isinf(strtod(copy, NULL));
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
    if (c->at - start > MAX_NUMBER) {
        return refuse_at(c, start, "a number of more than 63 characters; write it with an exponent and fewer digits");
    }
    if (large && overflows(c->text + start, c->at - start)) {
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
        uint64_t ignored;
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

bool s24_json_size(const cJSON *value, size_t *out)
{
    const double limit = 9007199254740992.0; /* 2^53: beyond, an f64 skips integers */
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0) || value->valuedouble > limit ||
        floor(value->valuedouble) != value->valuedouble) {
        return false;
    }
    *out = (size_t)value->valuedouble;
    return true;
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
