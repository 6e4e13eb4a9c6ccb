/* The directory of a zip archive, read with suspicion and written plainly: see zip.h. */
#include "zip.h"

#include <string.h>

#include "plain.h" /* numbers in little-endian bytes */

#define LOCAL 0x04034b50u
#define DESCRIPTOR 0x08074b50u
#define CENTRAL 0x02014b50u
#define END 0x06054b50u
#define END64 0x06064b50u
#define LOCATOR 0x07064b50u

/* Bytes of each without what is of variable length. */
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define END_BYTES 22
#define END64_BYTES 56
#define LOCATOR_BYTES 20

#define COMMENT_MAX 65535
#define NAME_SHOWN 120        /* characters of a name in a message */

#define IN_ZIP64_16 0xffffu   /* in place of a number: it is in the zip64 record */
#define IN_ZIP64_32 0xffffffffu
#define EXTRA_ZIP64 0x0001
#define EXTRA_ALIGNMENT 0xd935 /* what Android's zipalign fills with: u16 alignment, zeros */

#define FLAGS_ENCRYPTED (1u | 1u << 6 | 1u << 13) /* classic, strong, with a masked directory */

/*
 * The most that deflate makes of a byte: its longest match is 258 bytes and takes 2 bits at least, one for the length and
 * one for the distance.
 */
#define DEFLATE_RATIO_MAX (258 * 8 / 2)

#define COPY_AGAIN "copy the file again, or save it again with numpy.savez"

static uint32_t get_u16(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

void s24_zip_free(s24_zip *zip)
{
    for (size_t i = 0; i < zip->count; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without entries the count is 0 */
        free(zip->entries[i].name);
    }
    free(zip->entries);
    *zip = (s24_zip){0};
}

/* ---------------------------------------------------------------- names */

/* Bytes of the UTF-8 character at p; 0: there is none. No surrogates, no longer forms than needed. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t length = 1; length <= 4 && length <= n; length++) {
        if ((p[0] & forms[length - 1].mask) != forms[length - 1].lead) {
            continue;
        }
        uint32_t x = p[0] & (unsigned char)~forms[length - 1].mask;
        for (size_t i = 1; i < length; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return 0;
            }
            x = x << 6 | (p[i] & 0x3f);
        }
        return x < forms[length - 1].least || x > 0x10ffff || (x >= 0xd800 && x < 0xe000) ? 0 : length;
    }
    return 0;
}

const char *s24_zip_name_fault(const char *name, size_t n)
{
    const unsigned char *p = (const unsigned char *)name;
    if (n == 0 || n > UINT16_MAX) {
        return n ? "is too long" : "is empty";
    }
    for (size_t i = 0; i < n;) {
        if (p[i] < ' ' || p[i] == 0x7f) {
            return "has a control character";
        }
        const size_t length = utf8_length(p + i, n - i);
        if (!length) {
            return "is not UTF-8";
        }
        i += length;
    }
    if (p[0] == '/') {
        return "is an absolute path";
    }
    for (size_t i = 0; i + 1 < n; i++) {
        if (p[i] == '.' && p[i + 1] == '.' && (i == 0 || p[i - 1] == '/') && (i + 2 == n || p[i + 2] == '/')) {
            return "leads out of its directory";
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- the end records */

typedef struct end_record {
    uint64_t at;                        /* where the end records begin, and so the directory ends */
    uint64_t count, bytes, directory;
} end_record;

static s24_status many_disks(uint64_t at, s24_error *err)
{
    return s24_fail_at(err, at, "is one part of a zip archive in several; join the parts with zip -s 0 --out");
}

/* The last record whose comment ends where the file ends. */
static s24_status find_end(s24_input *in, unsigned char record[END_BYTES], uint64_t *at, s24_error *err)
{
    const size_t n = in->size < END_BYTES + COMMENT_MAX ? (size_t)in->size : END_BYTES + COMMENT_MAX;
    unsigned char *tail = s24_alloc(n, err);
    if (!tail) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = s24_input_read(in, in->size - n, tail, n, err);
    bool found = false;
    for (size_t i = n < END_BYTES ? 0 : n - END_BYTES + 1; status == S24_OK && !found && i-- > 0;) {
        if (s24_get_u32(tail + i) == END && get_u16(tail + i + 20) == n - i - END_BYTES) {
            memcpy(record, tail + i, END_BYTES);
            *at = in->size - n + i;
            found = true;
        }
    }
    free(tail);
    if (status == S24_OK && !found) {
        return s24_fail_at(err, in->size, "truncated, or not a zip archive: the end of its directory is not there; "
                           COPY_AGAIN);
    }
    return status;
}

/* Whether a number of the end record is what the zip64 record says, or says that it is there. */
static bool agrees(uint64_t number, uint64_t in_zip64, uint64_t number64)
{
    return number == in_zip64 || number == number64;
}

/* The zip64 end record, where a locator stands before the end record. */
static s24_status read_end64(s24_input *in, const unsigned char record[END_BYTES], end_record *end, s24_error *err)
{
    unsigned char locator[LOCATOR_BYTES], p[END64_BYTES];
    if (end->at < LOCATOR_BYTES + END64_BYTES) {
        return S24_OK;
    }
    const uint64_t at = end->at - LOCATOR_BYTES;
    s24_status status = s24_input_read(in, at, locator, sizeof locator, err);
    if (status != S24_OK || s24_get_u32(locator) != LOCATOR) {
        return status;
    }
    const uint64_t offset = s24_get_u64(locator + 8);
    if (offset > at - END64_BYTES) {
        return s24_fail_at(err, at, "the zip64 locator points nowhere: damaged; " COPY_AGAIN);
    }
    status = s24_input_read(in, offset, p, sizeof p, err);
    if (status != S24_OK) {
        return status;
    }
    if (s24_get_u32(p) != END64 || s24_get_u64(p + 4) != at - offset - 12) {
        return s24_fail_at(err, offset, "the zip64 end record is not where its locator points: damaged; " COPY_AGAIN);
    }
    *end = (end_record){.at = offset, .count = s24_get_u64(p + 32), .bytes = s24_get_u64(p + 40),
                        .directory = s24_get_u64(p + 48)};
    if (s24_get_u32(locator + 4) != 0 || s24_get_u32(locator + 16) > 1 || s24_get_u32(p + 16) != 0 ||
        s24_get_u32(p + 20) != 0 || s24_get_u64(p + 24) != end->count) {
        return many_disks(offset, err);
    }
    if (!agrees(get_u16(record + 10), IN_ZIP64_16, end->count) ||
        !agrees(s24_get_u32(record + 12), IN_ZIP64_32, end->bytes) ||
        !agrees(s24_get_u32(record + 16), IN_ZIP64_32, end->directory)) {
        return s24_fail_at(err, offset, "the zip64 end record contradicts the end record: damaged; " COPY_AGAIN);
    }
    return S24_OK;
}

static s24_status read_end(s24_input *in, end_record *end, s24_error *err)
{
    unsigned char p[END_BYTES];
    s24_status status = find_end(in, p, &end->at, err);
    if (status != S24_OK) {
        return status;
    }
    const uint64_t at = end->at;
    end->count = get_u16(p + 10);
    end->bytes = s24_get_u32(p + 12);
    end->directory = s24_get_u32(p + 16);
    status = read_end64(in, p, end, err);
    if (status != S24_OK) {
        return status;
    }
    const bool zip64 = end->at != at;
    if (!agrees(get_u16(p + 4), zip64 ? IN_ZIP64_16 : 0, 0) || !agrees(get_u16(p + 6), zip64 ? IN_ZIP64_16 : 0, 0) ||
        !agrees(get_u16(p + 8), zip64 ? IN_ZIP64_16 : end->count, end->count)) {
        return many_disks(at, err);
    }
    if (end->directory > end->at || end->bytes != end->at - end->directory) {
        return s24_fail_at(err, end->at, "the directory of the archive does not end where its end record begins: damaged, "
                           "or something was put before it; " COPY_AGAIN);
    }
    if (end->count > end->bytes / CENTRAL_BYTES) {
        return s24_fail_at(err, at, "the archive's end record counts %llu member%s, more than its directory has room for: "
                           "damaged; " COPY_AGAIN, (unsigned long long)end->count, s24_plural(end->count));
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- the directory */

/* What the zip64 field of an extra says for the numbers that stand aside, in this order. False: it is not all there. */
static bool read_extra(const unsigned char *extra, size_t n, uint64_t *const numbers[4], const unsigned widths[4])
{
    bool missing = numbers[0] || numbers[1] || numbers[2] || numbers[3];
    while (n >= 4) {
        const size_t length = get_u16(extra + 2);
        const unsigned char *p = extra + 4;
        if (length > n - 4) {
            return false;
        }
        if (get_u16(extra) == EXTRA_ZIP64 && missing) {
            size_t left = length;
            for (int i = 0; i < 4; i++) {
                if (numbers[i] && left < widths[i]) {
                    return false;
                }
                if (numbers[i]) {
                    *numbers[i] = widths[i] == 8 ? s24_get_u64(p) : s24_get_u32(p);
                    p += widths[i];
                    left -= widths[i];
                }
            }
            missing = false;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return !missing;
}

/* One member at p, which has `left` bytes; at: p's offset in the file, for messages. *used: bytes it takes. */
static s24_status read_central(s24_zip_entry *e, const unsigned char *p, size_t left, uint64_t at, size_t *used,
                               s24_error *err)
{
    if (left < CENTRAL_BYTES || s24_get_u32(p) != CENTRAL) {
        return s24_fail_at(err, at, "the directory of the archive has fewer members than its end record counts: damaged; "
                           COPY_AGAIN);
    }
    const size_t name = get_u16(p + 28), extra = get_u16(p + 30), comment = get_u16(p + 32);
    *used = CENTRAL_BYTES + name + extra + comment;
    if (*used > left) {
        return s24_fail_at(err, at, "a member reaches beyond the directory of the archive: damaged; " COPY_AGAIN);
    }
    const char *text = (const char *)p + CENTRAL_BYTES;
    const char *fault = s24_zip_name_fault(text, name);
    if (fault) {
        return s24_fail_at(err, at + CENTRAL_BYTES, "the name of a member %s; save the arrays under other names", fault);
    }
    uint64_t disk = get_u16(p + 34);
    e->flags = get_u16(p + 8);
    e->method = get_u16(p + 10);
    e->crc = s24_get_u32(p + 16);
    e->compressed = s24_get_u32(p + 20);
    e->size = s24_get_u32(p + 24);
    e->header = s24_get_u32(p + 42);
    uint64_t *const aside[4] = {e->size == IN_ZIP64_32 ? &e->size : NULL,
                                e->compressed == IN_ZIP64_32 ? &e->compressed : NULL,
                                e->header == IN_ZIP64_32 ? &e->header : NULL, disk == IN_ZIP64_16 ? &disk : NULL};
    static const unsigned widths[4] = {8, 8, 8, 4};
    if (!read_extra(p + CENTRAL_BYTES + name, extra, aside, widths)) {
        return s24_fail_at(err, at, "member %.*s: its extra field is damaged; " COPY_AGAIN,
                           (int)(name < NAME_SHOWN ? name : NAME_SHOWN), text);
    }
    if (disk != 0) {
        return many_disks(at, err);
    }
    e->name = strndup(text, name);
    return e->name ? S24_OK : s24_fail_memory(err, name + 1);
}

s24_status s24_zip_read(s24_zip *zip, s24_input *in, s24_error *err)
{
    end_record end = {0};
    char *bytes = NULL;
    *zip = (s24_zip){0};
    s24_status status = read_end(in, &end, err);
    if (status != S24_OK) {
        return status;
    }
    zip->directory = end.directory;
    status = s24_contents_fit((size_t)end.count, err);
    if (status != S24_OK) {
        return status;
    }
    zip->entries = s24_calloc((size_t)end.count, sizeof *zip->entries, err);
    status = zip->entries ? s24_input_read_new(in, end.directory, &bytes, (size_t)end.bytes, err) : S24_ERR_SYSTEM;
    size_t at = 0;
    while (status == S24_OK && zip->count < end.count) {
        size_t used = 0;
        status = read_central(&zip->entries[zip->count], (const unsigned char *)bytes + at, (size_t)end.bytes - at,
                              end.directory + at, &used, err);
        zip->count += status == S24_OK;
        at += used;
    }
    if (status == S24_OK && at < end.bytes) {
        status = s24_fail_at(err, end.directory + at, "the directory of the archive has more than the %llu member%s that "
                             "its end record counts: damaged; " COPY_AGAIN, (unsigned long long)end.count,
                             s24_plural(end.count));
    }
    free(bytes);
    if (status != S24_OK) {
        s24_zip_free(zip);
    }
    return status;
}

/* ---------------------------------------------------------------- the members */

static const struct {
    unsigned method;
    const char *name;
} methods[] = {
    {1, "shrink"}, {6, "implode"}, {9, "deflate64"}, {12, "bzip2"}, {14, "LZMA"}, {93, "Zstandard"}, {95, "xz"},
    {99, "AES encryption"},
};

static s24_status refuse_method(const s24_zip_entry *e, s24_error *err)
{
    const char *name = "unknown";
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        name = methods[i].method == e->method ? methods[i].name : name;
    }
    return s24_fail_unsupported(err, "member %.*s: is compressed by method %u (%s), not stored or deflated; save it again "
                                "with numpy.savez or numpy.savez_compressed", NAME_SHOWN, e->name, e->method, name);
}

static s24_status check_entry(const s24_zip_entry *e, s24_error *err)
{
    if (e->flags & FLAGS_ENCRYPTED) {
        return s24_fail_unsupported(err, "member %.*s: is encrypted; decrypt the archive first", NAME_SHOWN, e->name);
    }
    if (e->method != S24_ZIP_STORED && e->method != S24_ZIP_DEFLATED) {
        return refuse_method(e, err);
    }
    const bool possible = e->method == S24_ZIP_STORED ? e->size == e->compressed
                                                      : e->size / DEFLATE_RATIO_MAX <= e->compressed;
    if (!possible) {
        return s24_fail_at(err, e->header, "member %.*s: %llu byte%s cannot come from %llu: damaged; " COPY_AGAIN,
                           NAME_SHOWN, e->name, (unsigned long long)e->size, s24_plural(e->size), (unsigned long long)e->compressed);
    }
    return S24_OK;
}

static s24_status damaged_local(const s24_zip_entry *e, const char *what, s24_error *err)
{
    return s24_fail_at(err, e->header, "member %.*s: %s: damaged; " COPY_AGAIN, NAME_SHOWN, e->name, what);
}

/* buffer: room for the header and the name. */
static s24_status locate(s24_zip_entry *e, s24_input *in, uint64_t directory, unsigned char *buffer, s24_error *err)
{
    const size_t name = strlen(e->name);
    if (e->header > directory || directory - e->header < LOCAL_BYTES + name) {
        return damaged_local(e, "lies beyond the members of the archive", err);
    }
    const s24_status status = s24_input_read(in, e->header, buffer, LOCAL_BYTES + name, err);
    if (status != S24_OK) {
        return status;
    }
    if (s24_get_u32(buffer) != LOCAL) {
        return damaged_local(e, "its header is not where the directory says", err);
    }
    if (get_u16(buffer + 26) != name || memcmp(buffer + LOCAL_BYTES, e->name, name) != 0) {
        return damaged_local(e, "its header has another name than the directory", err);
    }
    e->data = e->header + LOCAL_BYTES + name + get_u16(buffer + 28);
    if (e->data > directory || e->compressed > directory - e->data) {
        return damaged_local(e, "its data reach into the directory of the archive", err);
    }
    return S24_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(s24_zip_entry *const *)a)->name, (*(s24_zip_entry *const *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const uint64_t x = (*(s24_zip_entry *const *)a)->header, y = (*(s24_zip_entry *const *)b)->header;
    return (x > y) - (x < y);
}

static s24_status check_neighbours(s24_zip_entry **sorted, size_t count, s24_error *err)
{
    qsort(sorted, count, sizeof *sorted, by_name);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            return s24_fail_at(err, sorted[i]->header, "member %.*s: occurs twice; save the arrays under different names",
                               NAME_SHOWN, sorted[i]->name);
        }
    }
    qsort(sorted, count, sizeof *sorted, by_place);
    for (size_t i = 1; i < count; i++) {
        const s24_zip_entry *a = sorted[i - 1], *b = sorted[i];
        if (b->header < a->data + a->compressed) {
            return s24_fail_at(err, b->header, "members %.*s and %.*s lie over one another: damaged; " COPY_AGAIN,
                               NAME_SHOWN, a->name, NAME_SHOWN, b->name);
        }
    }
    return S24_OK;
}

s24_status s24_zip_locate(s24_zip *zip, s24_input *in, s24_error *err)
{
    size_t longest = 0;
    for (size_t i = 0; i < zip->count; i++) {
        const size_t n = strlen(zip->entries[i].name);
        longest = n > longest ? n : longest;
    }
    s24_zip_entry **sorted = s24_calloc(zip->count, sizeof *sorted, err);
    unsigned char *buffer = s24_alloc(LOCAL_BYTES + longest, err);
    s24_status status = sorted && buffer ? S24_OK : S24_ERR_SYSTEM;
    for (size_t i = 0; i < zip->count && status == S24_OK; i++) {
        sorted[i] = &zip->entries[i];
        status = check_entry(sorted[i], err);
        status = status == S24_OK ? locate(sorted[i], in, zip->directory, buffer, err) : status;
    }
    status = status == S24_OK ? check_neighbours(sorted, zip->count, err) : status;
    free(sorted);
    free(buffer);
    return status;
}

/* ---------------------------------------------------------------- writing */

#define VERSION 20         /* needed to extract: 2.0, directories and deflate; */
#define VERSION_ZIP64 45   /* 4.5 with zip64 */
#define MADE_BY_UNIX (3u << 8)
#define MODE (0100644u << 16)
#define DATE (1u << 5 | 1) /* 1980-01-01, the first there is: the same archive whenever it is written */

static void put(s24_text *text, uint64_t x, size_t bytes)
{
    unsigned char p[8];
    s24_put_u64(p, x);
    s24_text_add(text, (const char *)p, bytes);
}

static uint32_t or_aside(uint64_t x)
{
    return x < IN_ZIP64_32 ? (uint32_t)x : IN_ZIP64_32;
}

/*
 * Members of 4 GiB have their sizes in a zip64 field; for others it would only be one more thing to be read wrong. None is
 * compressed, so that both sizes are one.
 */
static bool large(const s24_zip_entry *e)
{
    return e->size >= IN_ZIP64_32;
}

/* What local header and directory have in common, from the version to the length of the name. */
static void put_common(s24_text *text, const s24_zip_entry *e, bool zip64, bool known)
{
    put(text, zip64 ? VERSION_ZIP64 : VERSION, 2);
    put(text, e->flags, 2);
    put(text, e->method, 2);
    put(text, 0, 2); /* midnight */
    put(text, DATE, 2);
    put(text, known ? e->crc : 0, 4);
    /* Both or neither of the sizes stand aside: that is what a reader of a local header is owed. */
    put(text, large(e) ? IN_ZIP64_32 : known ? e->compressed : 0, 4);
    put(text, large(e) ? IN_ZIP64_32 : known ? e->size : 0, 4);
    put(text, strlen(e->name), 2);
}

void s24_zip_put_local(s24_text *text, s24_zip_entry *e, unsigned alignment)
{
    const bool known = !(e->flags & S24_ZIP_DESCRIPTOR);
    const size_t name = strlen(e->name), zip64 = large(e) ? 20 : 0, least = 6;
    const uint64_t end = e->header + LOCAL_BYTES + name + zip64;
    const size_t filled = end % alignment ? least + (alignment - (end + least) % alignment) % alignment : 0;
    put(text, LOCAL, 4);
    put_common(text, e, large(e), known);
    put(text, zip64 + filled, 2);
    s24_text_add(text, e->name, name);
    if (zip64) {
        put(text, EXTRA_ZIP64, 2);
        put(text, 16, 2);
        put(text, known ? e->size : 0, 8);
        put(text, known ? e->compressed : 0, 8);
    }
    if (filled) {
        put(text, EXTRA_ALIGNMENT, 2);
        put(text, filled - 4, 2);
        put(text, alignment, 2);
        for (size_t i = least; i < filled; i++) {
            put(text, 0, 1);
        }
    }
    e->data = end + filled;
}

void s24_zip_put_descriptor(s24_text *text, const s24_zip_entry *e)
{
    const size_t width = large(e) ? 8 : 4;
    put(text, DESCRIPTOR, 4);
    put(text, e->crc, 4);
    put(text, e->compressed, width);
    put(text, e->size, width);
}

void s24_zip_put_central(s24_text *text, const s24_zip_entry *e)
{
    const bool far = e->header >= IN_ZIP64_32;
    const size_t extra = (large(e) ? 16u : 0u) + (far ? 8u : 0u);
    const bool zip64 = extra > 0;
    put(text, CENTRAL, 4);
    put(text, MADE_BY_UNIX | (zip64 ? VERSION_ZIP64 : VERSION), 2);
    put_common(text, e, zip64, true);
    put(text, zip64 ? 4 + extra : 0, 2);
    put(text, 0, 2); /* no comment, */
    put(text, 0, 2); /* the first disk, */
    put(text, 0, 2); /* binary data */
    put(text, MODE, 4);
    put(text, or_aside(e->header), 4);
    s24_text_add(text, e->name, strlen(e->name));
    if (zip64) {
        put(text, EXTRA_ZIP64, 2);
        put(text, extra, 2);
    }
    if (large(e)) {
        put(text, e->size, 8);
        put(text, e->compressed, 8);
    }
    if (far) {
        put(text, e->header, 8);
    }
}

void s24_zip_put_end(s24_text *text, uint64_t count, uint64_t directory, uint64_t bytes)
{
    if (count >= IN_ZIP64_16 || directory >= IN_ZIP64_32 || bytes >= IN_ZIP64_32) {
        put(text, END64, 4);
        put(text, END64_BYTES - 12, 8);
        put(text, MADE_BY_UNIX | VERSION_ZIP64, 2);
        put(text, VERSION_ZIP64, 2);
        put(text, 0, 8); /* two numbers of disks */
        put(text, count, 8);
        put(text, count, 8);
        put(text, bytes, 8);
        put(text, directory, 8);
        put(text, LOCATOR, 4);
        put(text, 0, 4);
        put(text, directory + bytes, 8);
        put(text, 1, 4);
    }
    const uint64_t short_count = count < IN_ZIP64_16 ? count : IN_ZIP64_16;
    put(text, END, 4);
    put(text, 0, 4);
    put(text, short_count, 2);
    put(text, short_count, 2);
    put(text, or_aside(bytes), 4);
    put(text, or_aside(directory), 4);
    put(text, 0, 2);
}
