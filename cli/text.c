#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Controls of bidirectional text, which show a line in another order than it has, and separators of lines. */
static bool reorders(uint32_t c)
{
    return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* One character of s: its bytes in *n, and whether it can be printed as it is. A byte that is not UTF-8 is one. */
static bool next_character(const unsigned char *s, size_t *n)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least; /* a shorter form exists for less: not UTF-8 */
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        if ((s[0] & forms[f].mask) != forms[f].lead) {
            continue;
        }
        uint32_t c = s[0] & (uint32_t)~forms[f].mask & 0xff;
        size_t i = 1;
        for (; i <= f && (s[i] & 0xc0) == 0x80; i++) {
            c = c << 6 | (s[i] & 0x3fu);
        }
        if (i <= f || c < forms[f].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            break;
        }
        *n = i;
        return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && !reorders(c); /* C0, DEL, C1 */
    }
    *n = 1;
    return false;
}

typedef struct sink {
    char *out;
    size_t size, length;
} sink;

static void add(sink *k, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++, k->length++) {
        if (k->length + 1 < k->size) {
            k->out[k->length] = s[i];
        }
    }
}

static void add_escaped_byte(sink *k, unsigned char byte)
{
    static const char names[][2] = {{'\n', 'n'}, {'\t', 't'}, {'\r', 'r'}};
    char code[8];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (byte == (unsigned char)names[i][0]) {
            const char pair[2] = {'\\', names[i][1]};
            add(k, pair, 2);
            return;
        }
    }
    add(k, code, (size_t)snprintf(code, sizeof code, "\\x%02x", byte));
}

size_t text_escape(char *out, size_t size, const char *s, bool reversible)
{
    sink k = {.out = out, .size = size};
    for (size_t n; *s; s += n) {
        if (next_character((const unsigned char *)s, &n)) {
            add(&k, "\\", reversible && *s == '\\');
            add(&k, s, n);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            add_escaped_byte(&k, (unsigned char)s[i]);
        }
    }
    if (size) {
        out[k.length < size ? k.length : size - 1] = '\0';
    }
    return k.length;
}

char *text_escaped(const char *s, bool reversible)
{
    const size_t size = text_escape(NULL, 0, s, reversible) + 1;
    char *out = malloc(size);
    if (out) {
        text_escape(out, size, s, reversible);
    }
    return out;
}

void text_put(FILE *f, const char *s)
{
    for (size_t n; *s; s += n) {
        char part[32]; /* a character has at most 4 bytes, each at most 4 characters */
        char one[5] = {0};
        next_character((const unsigned char *)s, &n);
        memcpy(one, s, n);
        text_escape(part, sizeof part, one, false);
        fputs(part, f);
    }
}

char *text_utf8(const char *s)
{
    char *out = malloc(3 * strlen(s) + 1), *to = out;
    for (size_t n; out && *s; s += n) {
        const bool printable = next_character((const unsigned char *)s, &n);
        const bool broken = !printable && n == 1 && (unsigned char)*s >= 0x80;
        const char *from = broken ? "\xef\xbf\xbd" : s;
        const size_t length = broken ? 3 : n;
        memcpy(to, from, length);
        to += length;
    }
    if (out) {
        *to = '\0';
    }
    return out;
}

size_t text_width(const char *s)
{
    size_t width = 0;
    for (size_t n; *s; s += n) {
        next_character((const unsigned char *)s, &n);
        width++;
    }
    return width;
}

void text_bytes(char out[TEXT_SIZE], uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double x = (double)bytes;
    int unit = 0;
    while (x >= 999.5 && unit < 6) {
        x /= 1000;
        unit++;
    }
    snprintf(out, TEXT_SIZE, "%.*f %s", unit == 0 || x >= 99.95 ? 0 : x >= 9.995 ? 1 : 2, x, units[unit]);
}

void text_figure(char out[TEXT_SIZE], double x)
{
    if (isfinite(x)) {
        snprintf(out, TEXT_SIZE, "%.6g", x);
    } else {
        snprintf(out, TEXT_SIZE, "-");
    }
}

void text_exact(char out[TEXT_SIZE], double x)
{
    if (isfinite(x)) {
        snprintf(out, TEXT_SIZE, "%.17g", x);
    } else {
        out[0] = '\0';
    }
}

void text_shape(char out[TEXT_SHAPE_SIZE], int rank, const size_t *shape, const char *between)
{
    size_t used = 0;
    out[0] = '\0';
    for (int d = 0; d < rank && used < TEXT_SHAPE_SIZE; d++) {
        used += (size_t)snprintf(out + used, TEXT_SHAPE_SIZE - used, "%s%zu", d ? between : "", shape[d]);
    }
}
