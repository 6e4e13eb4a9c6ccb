#include "json_token.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shared.h"

/* ---------------------------------------------------------------- characters */

static bool hex4(const char *text, size_t n, size_t at, uint32_t *value)
{
    *value = 0;
    if (n - at < 4) {
        return false;
    }
    for (size_t i = at; i < at + 4; i++) {
        const char *const digits = "0123456789abcdef0123456789ABCDEF";
        const char *const digit = memchr(digits, text[i], 32);
        if (!digit) {
            return false;
        }
        *value = *value << 4 | (uint32_t)((digit - digits) % 16);
    }
    return true;
}

/* The escape at *at, after the backslash. */
static const char *unescape(const char *text, size_t n, size_t *at, uint32_t *character)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const size_t i = *at;
    const char *const simple = i < n ? memchr(from, text[i], 8) : NULL;
    if (simple) {
        *character = (unsigned char)to[simple - from];
        *at = i + 1;
        return NULL;
    }
    if (i >= n || text[i] != 'u') {
        return "an escape that JSON does not have";
    }
    if (!hex4(text, n, i + 1, character)) {
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
    const bool pair = *character < 0xdc00 && n - *at >= 6 && memcmp(text + *at, "\\u", 2) == 0 &&
                      hex4(text, n, *at + 2, &low) && low >= 0xdc00 && low <= 0xdfff;
    if (!pair) {
        return "half of a surrogate pair";
    }
    *character = 0x10000 + ((*character - 0xd800) << 10) + (low - 0xdc00);
    *at += 6;
    return NULL;
}

static const char *utf8(const char *text, size_t n, size_t *at, uint32_t *character)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char *const p = (const unsigned char *)text + *at;
    const size_t more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
    const char *const cause = "not UTF-8";
    if (p[0] < 0xc2 || p[0] > 0xf4 || n - *at <= more) {
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

const char *s24_json_character(const char *text, size_t n, size_t *at, uint32_t *character)
{
    const unsigned char byte = (unsigned char)text[*at];
    if (byte == '\\') {
        *at += 1;
        return unescape(text, n, at, character);
    }
    if (byte < 0x20) {
        return "a control character in a string; escape it";
    }
    if (byte >= 0x80) {
        return utf8(text, n, at, character);
    }
    *character = byte;
    *at += 1;
    return NULL;
}

/* ---------------------------------------------------------------- numbers */

/* A number taken apart: digits without the point, and the power of ten of the last one. */
typedef struct decimal {
    bool negative;
    uint64_t digits; /* wrapped, where there are more than 19 */
    size_t count;
    long exponent;
} decimal;

static size_t take_digits(decimal *d, const char *number, size_t n, size_t i)
{
    for (; i < n && number[i] >= '0' && number[i] <= '9'; i++) {
        d->digits = 10 * d->digits + (uint64_t)(number[i] - '0');
        d->count++;
    }
    return i;
}

/* The longest number at the beginning of the n bytes; how long it is. */
static size_t take_apart(decimal *d, const char *number, size_t n)
{
    *d = (decimal){.negative = number[0] == '-'};
    size_t i = take_digits(d, number, n, d->negative);
    if (i < n && number[i] == '.') {
        const size_t point = i + 1;
        i = take_digits(d, number, n, point);
        d->exponent = -(long)(i - point);
    }
    if (i < n && (number[i] == 'e' || number[i] == 'E')) {
        const bool sign = number[i + 1] == '-' || number[i + 1] == '+', below = number[i + 1] == '-';
        long exponent = 0;
        for (i += 1 + sign; i < n && number[i] >= '0' && number[i] <= '9'; i++) {
            exponent = exponent < 100000 ? exponent * 10 + (number[i] - '0') : exponent;
        }
        d->exponent += below ? -exponent : exponent;
    }
    return i;
}

/*
 * strtod would look for the locale's decimal point, so the point is taken out and the exponent lowered instead. (Its digits by
 * hand: snprintf takes as long as strtod.)
 */
static double convert(const decimal *d, const char *number, size_t n)
{
    char copy[S24_JSON_NUMBER + 24], *end = copy;
    for (size_t i = 0; i < n && number[i] != 'e' && number[i] != 'E'; i++) {
        *end = number[i];
        end += number[i] != '.';
    }
    *end++ = 'e';
    *end++ = d->exponent < 0 ? '-' : '+';
    long left = labs(d->exponent);
    for (long unit = 1000000; unit > 0; unit /= 10) { /* more than take_apart lets it become */
        *end++ = (char)('0' + left / unit);
        left %= unit;
    }
    *end = '\0';
    return strtod(copy, NULL);
}

/*
 * Up to 2^53 and 10^22 both are f64s, so that their product or quotient is the number correctly rounded (Clinger, How to
 * read floating point numbers accurately, 1990). Most numbers are such, and cost a tenth.
 */
static double value_of(const decimal *d, const char *number, size_t n)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (d->count > 19 || d->digits > UINT64_C(1) << 53 || d->exponent < -22 || d->exponent > 22) {
        return convert(d, number, n);
    }
    const double digits = (double)d->digits;
    const double value = d->exponent < 0 ? digits / powers[-d->exponent] : digits * powers[d->exponent];
    return d->negative ? -value : value;
}

bool s24_json_overflows(const char *number, size_t n)
{
    decimal d;
    take_apart(&d, number, n);
    return (long)d.count + d.exponent > DBL_MAX_10_EXP && isinf(convert(&d, number, n));
}

/* ---------------------------------------------------------------- walking */

static void skip_string(s24_json_walk *w)
{
    for (w->at++; w->text[w->at] != '"'; w->at++) {
        w->at += w->text[w->at] == '\\';
    }
    w->at++;
}

/* A number, or one of the three words. */
static void skip_word(s24_json_walk *w)
{
    for (; w->at < w->n; w->at++) {
        const char c = w->text[w->at];
        if (c <= ' ' || c == ',' || c == ']' || c == '}') {
            return;
        }
    }
}

void s24_json_skip(s24_json_walk *w)
{
    size_t depth = 0;
    do {
        const char c = s24_json_look(w);
        if (c == '"') {
            skip_string(w);
        } else if (c == '{' || c == '[') {
            depth++;
            w->at++;
        } else if (c == '}' || c == ']') {
            depth--;
            w->at++;
        } else if (c == ',' || c == ':') {
            w->at++;
        } else {
            skip_word(w);
        }
    } while (depth);
}

size_t s24_json_take_rest(s24_json_walk *w)
{
    size_t n = 0;
    while (!s24_json_take(w, ']')) {
        s24_json_take(w, ',');
        s24_json_skip(w);
        n++;
    }
    return n;
}

double s24_json_take_number(s24_json_walk *w)
{
    s24_json_look(w);
    const char *const number = w->text + w->at;
    decimal d;
    const size_t n = take_apart(&d, number, w->n - w->at);
    w->at += n;
    return value_of(&d, number, n);
}

bool s24_json_reads(const s24_json_walk *w, const char *ascii)
{
    size_t at = w->at + 1;
    for (; w->text[at] != '"'; ascii++) {
        uint32_t character = 0;
        s24_json_character(w->text, w->n, &at, &character);
        if (character != (unsigned char)*ascii) {
            return false;
        }
    }
    return *ascii == '\0';
}

static size_t put_character(char *out, uint32_t c)
{
    const size_t more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    for (size_t i = more; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(more ? (0xf0u << (3 - more) & 0xff) | c : c);
    return more + 1;
}

/* Moves over a string, which is left at out, with its NUL: no spelling is shorter than what it stands for. */
static size_t take_characters(s24_json_walk *w, size_t end, char *out)
{
    size_t n = 0;
    for (w->at++; w->at < end;) {
        const char *const text = w->text + w->at, *const escape = memchr(text, '\\', end - w->at);
        const size_t plain = escape ? (size_t)(escape - text) : end - w->at;
        memcpy(out + n, text, plain);
        n += plain;
        w->at += plain;
        if (escape) {
            uint32_t character = 0;
            s24_json_character(w->text, end, &w->at, &character);
            n += put_character(out + n, character);
        }
    }
    out[n] = '\0';
    w->at++;
    return n;
}

/* Where the string that is next ends. */
static size_t end_of_string(s24_json_walk *w)
{
    s24_json_look(w);
    s24_json_walk ahead = *w;
    skip_string(&ahead);
    return ahead.at - 1;
}

s24_status s24_json_take_string(s24_json_walk *w, s24_text *out, s24_error *err)
{
    const size_t end = end_of_string(w);
    out->length = 0;
    if (!s24_text_reserve(out, end - w->at)) {
        return s24_fail_memory(err, end - w->at);
    }
    out->length = take_characters(w, end, out->text);
    return S24_OK;
}

char *s24_json_take_shared(s24_json_walk *w, s24_error *err)
{
    const size_t end = end_of_string(w);
    char *const text = s24_shared_new(NULL, end - w->at, err);
    if (text) {
        take_characters(w, end, text);
    }
    return text;
}
