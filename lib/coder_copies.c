/*
 * Copies: long parts of a plane that stood there before. Weights repeat seldom, but when they do (tied or tiled tensors,
 * tables of sines, rows of zeros) it saves whole planes, those of noise, too. So it costs little to look: every 8th place
 * is put into a table by the hash of its 8 bytes, and a few windows are looked up there; only where one of them is
 * found, the whole plane is searched.
 */
#include "coder_parts.h"

#include <string.h>

#define EVERY 8          /* bytes from place to place in the table */
#define HASHED 8         /* bytes that are hashed */
#define WINDOW 64        /* bytes looked up in a window */
#define WINDOWS 64       /* at most, */
#define WINDOWS_EVERY 2048 /* and of so many bytes one: one place of 32 is looked up */
#define NOWHERE UINT32_MAX

/* ---------------------------------------------------------------- numbers */

size_t s24_number_write(uint64_t number, uint8_t *out)
{
    size_t n = 0;
    for (; number >= 0x80; number >>= 7) {
        out[n++] = (uint8_t)(number | 0x80);
    }
    out[n++] = (uint8_t)number;
    return n;
}

uint8_t s24_get_byte(s24_cursor *cursor)
{
    if (cursor->at == cursor->end) {
        cursor->bad = true;
        return 0;
    }
    return *cursor->at++;
}

size_t s24_get_number(s24_cursor *cursor)
{
    size_t number = 0;
    for (unsigned i = 0; i < S24_NUMBER_BYTES; i++) {
        const uint8_t byte = s24_get_byte(cursor);
        number |= (size_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            return number;
        }
    }
    cursor->bad = true;
    return 0;
}

const uint8_t *s24_get_bytes(s24_cursor *cursor, size_t n)
{
    const uint8_t *bytes = cursor->at;
    if ((size_t)(cursor->end - cursor->at) < n) {
        cursor->bad = true;
        return NULL;
    }
    cursor->at += n;
    return bytes;
}

/* ---------------------------------------------------------------- finding */

typedef struct finder {
    const uint8_t *plane;
    size_t n;
    uint32_t *table;
    unsigned shift; /* of a hash of 64 bits */
} finder;

static uint64_t eight_at(const finder *f, size_t i)
{
    uint64_t x;
    memcpy(&x, f->plane + i, sizeof x);
    return x;
}

static uint32_t *slot_of(const finder *f, size_t i)
{
    return &f->table[(eight_at(f, i) * UINT64_C(0x9e3779b97f4a7c15)) >> f->shift];
}

static finder start_finding(const uint8_t *plane, size_t n, uint32_t *table)
{
    unsigned bits = 8;
    while (bits < 16 && (size_t)1 << bits < n / EVERY) {
        bits++;
    }
    memset(table, 0xff, sizeof *table << bits);
    return (finder){.plane = plane, .n = n, .table = table, .shift = 64 - bits};
}

/* How many bytes from `from` are the same as those from `i`, from < i. */
static size_t same_bytes(const finder *f, size_t from, size_t i)
{
    size_t length = 0;
    while (i + length + 8 <= f->n && eight_at(f, from + length) == eight_at(f, i + length)) {
        length += 8;
    }
    while (i + length < f->n && f->plane[from + length] == f->plane[i + length]) {
        length++;
    }
    return length;
}

/* Whether some windows have parts that stand elsewhere, too. */
static bool samples_repeat(const finder *f)
{
    for (size_t i = 0; i + HASHED <= f->n; i += EVERY) {
        uint32_t *slot = slot_of(f, i);
        *slot = *slot == NOWHERE ? (uint32_t)i : *slot;
    }
    const size_t every = f->n / WINDOWS > WINDOWS_EVERY ? f->n / WINDOWS : WINDOWS_EVERY;
    for (size_t start = 0; start < f->n; start += every) {
        for (size_t i = start; i < start + WINDOW && i + S24_COPY_LEAST <= f->n; i++) {
            const size_t from = *slot_of(f, i);
            if (from < i && eight_at(f, from) == eight_at(f, i) && same_bytes(f, from, i) >= S24_COPY_LEAST) {
                return true;
            }
        }
    }
    return false;
}

typedef struct lister {
    s24_copies *copies;
    uint8_t *list, *literals;
    size_t most; /* bytes of the list */
    size_t done; /* bytes of the plane */
} lister;

static void add_copy(lister *l, const finder *f, size_t from, size_t to, size_t length)
{
    const size_t run = to - l->done;
    s24_copies *c = l->copies;
    memcpy(l->literals + c->literal_count, f->plane + l->done, run);
    c->literal_count += run;
    c->list_bytes += s24_number_write(run, l->list + c->list_bytes);
    c->list_bytes += s24_number_write(length, l->list + c->list_bytes);
    c->list_bytes += s24_number_write(to - from, l->list + c->list_bytes);
    c->count++;
    l->done = to + length;
}

static void find_all(const finder *f, lister *l)
{
    for (size_t i = 0; i + S24_COPY_LEAST <= f->n && l->copies->list_bytes + 3 * S24_NUMBER_BYTES <= l->most; i++) {
        uint32_t *slot = slot_of(f, i);
        size_t from = *slot, to = i;
        if (i % EVERY == 0) {
            *slot = (uint32_t)i;
        }
        if (from >= i || eight_at(f, from) != eight_at(f, i)) {
            continue;
        }
        size_t length = same_bytes(f, from, to);
        while (from > 0 && to > l->done && f->plane[from - 1] == f->plane[to - 1]) {
            from--, to--, length++;
        }
        if (length >= S24_COPY_LEAST) {
            add_copy(l, f, from, to, length);
            for (size_t k = (i + EVERY) / EVERY * EVERY; k < l->done && k + HASHED <= f->n; k += EVERY) {
                *slot_of(f, k) = (uint32_t)k;
            }
            i = l->done - 1;
        }
    }
}

bool s24_may_repeat(const uint8_t *plane, size_t n, uint32_t *table)
{
    const finder f = start_finding(plane, n, table);
    return samples_repeat(&f);
}

void s24_find_copies(const uint8_t *plane, size_t n, s24_copies *copies, uint8_t *list, uint8_t *literals, uint32_t *table)
{
    lister l = {.copies = copies, .list = list, .literals = literals, .most = s24_copies_list_bytes(n)};
    *copies = (s24_copies){.list = list, .literals = literals};
    if (n < 2 * S24_COPY_LEAST) {
        return;
    }
    const finder f = start_finding(plane, n, table);
    find_all(&f, &l);
    memcpy(literals + copies->literal_count, plane + l.done, n - l.done);
    copies->literal_count += n - l.done;
}

/* ---------------------------------------------------------------- putting */

void s24_read_copies(s24_cursor *cursor, size_t count, size_t n, s24_copies *copies)
{
    size_t left = n;
    *copies = (s24_copies){.count = count, .list = cursor->at, .literal_count = n};
    for (size_t i = 0; i < count && !cursor->bad; i++) {
        const size_t run = s24_get_number(cursor), length = s24_get_number(cursor), distance = s24_get_number(cursor);
        if (run > left || length == 0 || length > left - run || distance == 0) {
            cursor->bad = true;
            return;
        }
        left -= run + length;
        copies->literal_count -= length;
    }
    copies->list_bytes = (size_t)(cursor->at - copies->list);
}

bool s24_put_copies(const s24_copies *copies, uint8_t *plane, size_t n)
{
    s24_cursor cursor = {.at = copies->list, .end = copies->list + copies->list_bytes};
    const uint8_t *literals = copies->literals;
    size_t done = 0;
    for (size_t i = 0; i < copies->count; i++) {
        const size_t run = s24_get_number(&cursor), length = s24_get_number(&cursor);
        const size_t distance = s24_get_number(&cursor);
        memcpy(plane + done, literals, run);
        literals += run;
        done += run;
        if (distance > done) {
            return false;
        }
        if (distance >= length) {
            memcpy(plane + done, plane + done - distance, length);
        } else {
            for (size_t k = 0; k < length; k++) {
                plane[done + k] = plane[done + k - distance];
            }
        }
        done += length;
    }
    memcpy(plane + done, literals, n - done);
    return true;
}
