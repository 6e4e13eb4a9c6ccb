#include "textbuf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

#define DRAIN_BYTES ((size_t)16 << 10)
#define PRINTED 48 /* characters that s24_text_printf expects */

void s24_text_free(s24_text *text)
{
    free(text->text);
    *text = (s24_text){0};
}

void s24_text_drain(s24_text *text)
{
    if (text->length) {
        text->drain(text->to, text->text, text->length);
        text->length = 0;
    }
}

bool s24_text_reserve(s24_text *text, size_t n)
{
    size_t wanted;
    if (text->failed) {
        return false;
    }
    if (text->drain && text->length >= DRAIN_BYTES) {
        s24_text_drain(text);
    }
    if (!s24_add(text->length, n, &wanted) || !s24_add(wanted, 1, &wanted)) {
        text->failed = true;
        return false;
    }
    if (wanted <= text->capacity) {
        assert(text->text);
        return true;
    }
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < wanted) {
        capacity *= 2;
    }
    char *const grown = realloc(text->text, capacity);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->text = grown;
    text->capacity = capacity;
    return true;
}

void s24_text_add(s24_text *text, const char *data, size_t n)
{
    if (s24_text_reserve(text, n)) {
        memcpy(text->text + text->length, data, n);
        text->length += n;
        text->text[text->length] = '\0';
    }
}

/* Into the room that is there; mostly that is enough. */
void s24_text_printf(s24_text *text, const char *format, ...)
{
    if (!s24_text_reserve(text, PRINTED)) {
        return;
    }
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const size_t room = text->capacity - text->length;
    const int n = vsnprintf(text->text + text->length, room, format, args);
    if (n < 0) {
        text->failed = true;
    } else if ((size_t)n < room) {
        text->length += (size_t)n;
    } else if (s24_text_reserve(text, (size_t)n)) {
        vsnprintf(text->text + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

/* Escapes what JSON demands, in the reference implementation's spelling, and nothing else. */
void s24_text_json_escaped(s24_text *text, const char *value)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    for (;;) {
        size_t plain = 0;
        while ((unsigned char)value[plain] >= 0x20 && value[plain] != '"' && value[plain] != '\\') {
            plain++;
        }
        s24_text_add(text, value, plain);
        value += plain;
        if (!*value) {
            return;
        }
        const char *const simple = strchr(from, *value);
        if (simple) {
            const char escape[] = {'\\', to[simple - from]};
            s24_text_add(text, escape, 2);
        } else {
            s24_text_printf(text, "\\u%04x", (unsigned)*value);
        }
        value++;
    }
}

void s24_text_json_string(s24_text *text, const char *value)
{
    s24_text_add(text, "\"", 1);
    s24_text_json_escaped(text, value);
    s24_text_add(text, "\"", 1);
}

void s24_text_shorten(const char *name, char *out, size_t size)
{
    s24_text quoted = {0};
    s24_text_json_string(&quoted, name);
    snprintf(out, size, "%.*s", quoted.length > 2 ? (int)(quoted.length - 2) : 0, quoted.text ? quoted.text + 1 : "");
    s24_text_free(&quoted);
}
