/*
 * .npz files: there and back through files and pipes, archives as others write them, and every way in which one may be
 * broken. The archives are put together here, byte by byte, by code that shares nothing with what reads and writes them.
 */
#define _GNU_SOURCE /* memmem */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "npy.h"
#include "zip.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define ROWS(table) ((int)COUNT(table))

static char noted[512];

static void note(void *user, const char *message)
{
    (void)user;
    snprintf(noted, sizeof noted, "%s", message);
}

static const s24_io io = {.force = true, .no_sync = true, .note = note};
static char path[] = "/tmp/s24-test-XXXXXX";

static void make_path(void)
{
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

/* ---------------------------------------------------------------- archives, put together */

typedef struct bytes {
    unsigned char at[8192];
    size_t n;
} bytes;

typedef struct part {
    const char *name;
    const void *data;
    size_t n;
    unsigned method, flags;
    bool force_zip64; /* a zip64 field in the local header, as numpy has it */
} part;

/* What was put together, and where: for who wants to spoil it. */
typedef struct built {
    bytes file;
    size_t local[8], data[8], central[8], end;
} built;

static void put(bytes *b, const void *data, size_t n)
{
    ck_assert_uint_le(b->n + n, sizeof b->at);
    memcpy(b->at + b->n, data, n);
    b->n += n;
}

static void put_number(bytes *b, uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)(i < 8 ? x >> 8 * i : 0);
        put(b, &byte, 1);
    }
}

static void set_number(unsigned char *p, uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)(i < 8 ? x >> 8 * i : 0);
    }
}

static uint64_t get_number(const unsigned char *p, size_t n)
{
    uint64_t x = 0;
    while (n-- > 0) {
        x = x << 8 | p[n];
    }
    return x;
}

static bytes deflated(const part *p)
{
    bytes b = {.n = 0};
    z_stream z = {0};
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)p->data;
    z.avail_in = (unsigned)p->n;
    z.next_out = b.at;
    z.avail_out = sizeof b.at;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.n = sizeof b.at - z.avail_out;
    deflateEnd(&z);
    return b;
}

static void put_sizes(bytes *b, const part *p, uint32_t crc, size_t compressed, bool known)
{
    put_number(b, p->flags, 2);
    put_number(b, p->method, 2);
    put_number(b, 0x00217a00, 4);
    put_number(b, known ? crc : 0, 4);
    put_number(b, !known ? 0 : compressed, 4);
    put_number(b, !known ? 0 : p->n, 4);
    put_number(b, strlen(p->name), 2);
}

static built build(const part *parts, size_t count, const char *comment)
{
    built f = {.end = 0};
    bytes directory = {.n = 0};
    for (size_t i = 0; i < count; i++) {
        const part *p = &parts[i];
        const uint32_t crc = (uint32_t)crc32(0, p->data, (unsigned)p->n);
        bytes body = {.n = 0};
        if (p->method == 8) {
            body = deflated(p);
        } else {
            put(&body, p->data, p->n);
        }
        const bool piped = p->flags & 8;
        f.local[i] = f.file.n;
        put_number(&f.file, 0x04034b50, 4);
        put_number(&f.file, 20, 2);
        put_sizes(&f.file, p, crc, body.n, !piped);
        put_number(&f.file, p->force_zip64 ? 20 : 0, 2);
        put(&f.file, p->name, strlen(p->name));
        if (p->force_zip64) {
            put_number(&f.file, 0x00100001, 4);
            put_number(&f.file, p->n, 8);
            put_number(&f.file, body.n, 8);
        }
        f.data[i] = f.file.n;
        put(&f.file, body.at, body.n);
        if (piped) {
            put_number(&f.file, 0x08074b50, 4);
            put_number(&f.file, crc, 4);
            put_number(&f.file, body.n, 4);
            put_number(&f.file, p->n, 4);
        }
        f.central[i] = directory.n;
        put_number(&directory, 0x02014b50, 4);
        put_number(&directory, 0x0014031e, 4);
        put_sizes(&directory, p, crc, body.n, true);
        put_number(&directory, 0, 12);
        put_number(&directory, f.local[i], 4);
        put(&directory, p->name, strlen(p->name));
    }
    for (size_t i = 0; i < count; i++) {
        f.central[i] += f.file.n;
    }
    const size_t start = f.file.n;
    put(&f.file, directory.at, directory.n);
    f.end = f.file.n;
    put_number(&f.file, 0x06054b50, 4);
    put_number(&f.file, 0, 4);
    put_number(&f.file, count, 2);
    put_number(&f.file, count, 2);
    put_number(&f.file, directory.n, 4);
    put_number(&f.file, start, 4);
    put_number(&f.file, strlen(comment), 2);
    put(&f.file, comment, strlen(comment));
    return f;
}

/* Bytes that differ from place to place. */
static unsigned char byte_at(uint64_t i)
{
    return (unsigned char)(i * 37 + i / 256 + 11);
}

/* A .npy of that header and n bytes of data, which count from `first`. */
static bytes npy(const char *descr, const char *order, const char *shape, size_t n, size_t first)
{
    bytes b = {.n = 10};
    char text[118 + 1];
    memcpy(b.at, "\x93NUMPY\1\0\x76\0", 10);
    snprintf(text, sizeof text, "{'descr': %s, 'fortran_order': %s, 'shape': %s, }", descr, order, shape);
    memset(text + strlen(text), ' ', sizeof text - 1 - strlen(text));
    text[117] = '\n';
    put(&b, text, 118);
    for (size_t i = 0; i < n; i++) {
        const unsigned char byte = byte_at(first + i);
        put(&b, &byte, 1);
    }
    return b;
}

static bytes arrays[4];

/* Stored, deflated, as a pipe gets it, empty; with a comment. */
static built good_archive(void)
{
    arrays[0] = npy("'<f4'", "False", "(2, 4)", 32, 0);
    arrays[1] = npy("'<f8'", "False", "(4, 8)", 256, 32);
    arrays[2] = npy("'>i8'", "True", "(3, 2)", 48, 288);
    arrays[3] = npy("'|b1'", "False", "(0, 7)", 0, 0);
    const part parts[] = {
        {.name = "a.npy", .data = arrays[0].at, .n = arrays[0].n, .force_zip64 = true},
        {.name = "b.npy", .data = arrays[1].at, .n = arrays[1].n, .method = 8},
        {.name = "in/c.npy", .data = arrays[2].at, .n = arrays[2].n, .method = 8, .flags = 8},
        {.name = "\xc3\xa9.npy", .data = arrays[3].at, .n = arrays[3].n, .flags = 0x800},
    };
    return build(parts, COUNT(parts), "made by hand");
}

/* ---------------------------------------------------------------- opening them */

static const s24_read_options silent;

static s24_status open_bytes(s24_source *source, const void *data, size_t n, const s24_read_options *options,
                             s24_error *err)
{
    void *copy = malloc(n ? n : 1); /* exactly n, so that a sanitizer sees what is read beyond */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, n);
    *source = (s24_source){.format = &s24_format_npz, .options = options, .io = &io};
    noted[0] = 0;
    *err = (s24_error){0};
    ck_assert_int_eq(s24_input_memory(&source->in, &io, "w.npz", copy, n, err), S24_OK);
    return s24_source_parse(source, err);
}

static void close_source(s24_source *source)
{
    s24_format_npz.close(source);
    s24_contents_free(&source->contents);
    s24_input_close(source->in);
}

/* Every byte of every tensor into `data`, one tensor behind the other, and what can be checked after that. */
static s24_status read_all(s24_source *source, bytes *data, s24_error *err)
{
    s24_status status = S24_OK;
    data->n = 0;
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        const s24_entry *e = &source->contents.entries[i];
        ck_assert_uint_le(data->n + e->bytes, sizeof data->at);
        for (uint64_t at = 0; at < e->bytes && status == S24_OK; at += 7) {
            const size_t n = e->bytes - at < 7 ? (size_t)(e->bytes - at) : 7;
            status = s24_input_read(e->in, e->offset + at, data->at + data->n + at, n, err);
        }
        data->n += (size_t)e->bytes;
    }
    return status == S24_OK ? s24_source_expect_end(source, err) : status;
}

static void check_message(const s24_error *err, const char *piece)
{
    ck_assert_msg(strstr(err->message, piece) != NULL, "\"%s\" lacks \"%s\"", err->message, piece);
    ck_assert_ptr_null(strchr(err->message, '\n'));
}

/* More than is read and inflated at once. */
START_TEST(a_large_member)
{
    enum { N = 128 + 4 * 256 * 256, ROOM = 2 * N };
    static unsigned char data[N], coded[ROOM], got[N];
    const bytes header = npy("'<f4'", "False", "(256, 256)", 0, 0);
    uint32_t x = 1;
    memcpy(data, header.at, 128);
    for (size_t i = 128; i < N; i++) {
        data[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    }
    z_stream z = {.next_in = data, .avail_in = N, .next_out = coded, .avail_out = ROOM};
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    char name[] = "a.npy";
    s24_zip_entry e = {.name = name, .method = S24_ZIP_DEFLATED, .crc = (uint32_t)crc32(0, data, N), .size = N,
                       .compressed = ROOM - z.avail_out};
    s24_text text = {0};
    s24_zip_put_local(&text, &e, 1);
    s24_text_add(&text, (const char *)coded, (size_t)e.compressed);
    const size_t directory = text.length;
    s24_zip_put_central(&text, &e);
    s24_zip_put_end(&text, 1, directory, text.length - directory);
    s24_source source;
    s24_error err;
    ck_assert_msg(open_bytes(&source, text.text, text.length, &silent, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(s24_input_read(source.contents.entries[0].in, 128, got, N - 128, &err) == S24_OK, "%s", err.message);
    ck_assert_mem_eq(got, data + 128, N - 128);
    ck_assert_int_eq(s24_source_expect_end(&source, &err), S24_OK);
    close_source(&source);
    s24_text_free(&text);
}
END_TEST

/* What is not right about the good archive; NULL: nothing. */
static const char *wrong(const s24_source *source, const bytes *data)
{
    static const struct {
        const char *name;
        s24_dtype dtype;
        size_t shape[2];
        bool fortran, big_endian;
    } wanted[] = {
        {"a", S24_F32, {2, 4}, false, false}, {"b", S24_F64, {4, 8}, false, false},
        {"in/c", S24_I64, {3, 2}, true, true}, {"\xc3\xa9", S24_BOOL, {0, 7}, false, false},
    };
    if (source->contents.count != COUNT(wanted) || data->n != 336) {
        return "count";
    }
    for (size_t i = 0; i < COUNT(wanted); i++) {
        const s24_entry *e = &source->contents.entries[i];
        if (strcmp(e->name, wanted[i].name) != 0 || e->dtype != wanted[i].dtype || e->rank != 2 ||
            memcmp(e->shape, wanted[i].shape, sizeof wanted[i].shape) != 0 || e->fortran != wanted[i].fortran ||
            e->big_endian != wanted[i].big_endian) {
            return e->name;
        }
    }
    for (size_t i = 0; i < data->n; i++) {
        if (data->at[i] != byte_at(i)) {
            return "data";
        }
    }
    return NULL;
}

START_TEST(reads_what_others_write)
{
    const built f = good_archive();
    s24_source source;
    s24_error err;
    bytes data;
    ck_assert_int_eq(s24_format_npz.probe(f.file.at, f.file.n), true);
    ck_assert_msg(open_bytes(&source, f.file.at, f.file.n, &silent, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(read_all(&source, &data, &err) == S24_OK, "%s", err.message);
    ck_assert_pstr_eq(wrong(&source, &data), NULL);
    ck_assert(s24_source_is_model(&source));
    for (size_t i = 0; i < source.contents.count; i++) {
        ck_assert_str_eq(source.contents.entries[i].in->name, "w.npz");
    }
    close_source(&source);
}
END_TEST

/* Rows of the middle one: held, transposed, in the machine's order. */
START_TEST(transposes_and_swaps)
{
    const built f = good_archive();
    s24_source source;
    s24_error err;
    unsigned char rows[48], scratch[48];
    ck_assert_int_eq(open_bytes(&source, f.file.at, f.file.n, &silent, &err), S24_OK);
    const s24_entry *e = &source.contents.entries[2];
    ck_assert_int_eq(s24_source_hold(e, 1, &err), S24_OK);
    ck_assert_int_eq(s24_source_read_rows(e, 1, 0, 3, 0, 2, rows, scratch, &err), S24_OK);
    ck_assert_int_eq(s24_source_expect_end(&source, &err), S24_OK);
    for (size_t i = 0; i < 48; i++) {
        const size_t element = i / 8, place = element % 2 * 3 + element / 2;
        ck_assert_uint_eq(rows[i], byte_at(288 + 8 * place + 7 - i % 8));
    }
    close_source(&source);
}
END_TEST

/* Cut anywhere: refused when it is opened. One byte more: the same. */
START_TEST(every_length)
{
    const built f = good_archive();
    bytes longer = f.file;
    s24_source source;
    s24_error err;
    for (size_t n = 0; n < f.file.n; n++) {
        ck_assert_int_eq(open_bytes(&source, f.file.at, n, &silent, &err), S24_ERR_DATA);
        check_message(&err, "truncated, or not a zip archive");
        close_source(&source);
    }
    put(&longer, "", 1);
    ck_assert_int_eq(open_bytes(&source, longer.at, longer.n, &silent, &err), S24_ERR_DATA);
    close_source(&source);
}
END_TEST

/* Any byte changed: refused at once, or by the end of the data, or what is read is what was written. */
START_TEST(every_byte)
{
    static const unsigned char changes[] = {0x01, 0x08, 0x20, 0x80, 0xff};
    const built f = good_archive();
    size_t refused = 0, late = 0;
    for (size_t i = 0; i < f.file.n; i++) {
        for (size_t c = 0; c < COUNT(changes); c++) {
            bytes changed = f.file, data;
            s24_source source;
            s24_error err;
            changed.at[i] ^= changes[c];
            s24_status status = open_bytes(&source, changed.at, changed.n, &silent, &err);
            if (status == S24_OK) {
                status = read_all(&source, &data, &err);
                ck_assert_msg(status != S24_OK || !wrong(&source, &data), "byte %zu ^ %#x goes unseen", i, changes[c]);
                late += status != S24_OK;
            }
            refused += status != S24_OK;
            ck_assert(status == S24_OK || (status == S24_ERR_DATA && err.message[0]));
            close_source(&source);
        }
    }
    /* Every byte of the data at the least. */
    ck_assert_uint_gt(late, 5 * 336);
    ck_assert_uint_gt(refused, late);
}
END_TEST

/* ---------------------------------------------------------------- spoiled in one place or two */

enum place { NOWHERE, LOCAL, CENTRAL, LOCATION, END }; /* LOCATION: of the directory's name */

typedef struct change {
    enum place place;
    unsigned member, at, width;
    int64_t value;
    bool add; /* to what is there */
} change;

static const struct spoiled {
    change changes[3];
    const char *message;
    bool late; /* found when the data are read */
} spoiled[] = {
    {{{CENTRAL, 0, 8, 2, 1, false}}, "member a.npy: is encrypted; decrypt", false},
    {{{CENTRAL, 1, 8, 2, 1 << 6, false}}, "member b.npy: is encrypted; decrypt", false},
    {{{CENTRAL, 1, 8, 2, 1 << 13, false}}, "member b.npy: is encrypted; decrypt", false},
    {{{CENTRAL, 1, 10, 2, 12, false}}, "member b.npy: is compressed by method 12 (bzip2), not stored", false},
    {{{CENTRAL, 0, 10, 2, 77, false}}, "member a.npy: is compressed by method 77 (unknown)", false},
    {{{CENTRAL, 0, 34, 2, 1, false}}, "one part of a zip archive in several", false},
    {{{END, 0, 4, 2, 1, false}}, "one part of a zip archive in several", false},
    {{{END, 0, 6, 2, 1, false}}, "one part of a zip archive in several", false},
    {{{END, 0, 8, 2, 3, false}}, "one part of a zip archive in several", false},
    {{{END, 0, 8, 2, 3, false}, {END, 0, 10, 2, 3, false}}, "more than the 3 members", false},
    {{{END, 0, 8, 2, 999, false}, {END, 0, 10, 2, 999, false}}, "counts 999 members, more than its directory", false},
    {{{END, 0, 12, 4, -1, true}}, "does not end where its end record begins", false},
    {{{END, 0, 16, 4, 1, true}}, "does not end where its end record begins", false},
    {{{END, 0, 16, 4, 0x7fffffff, false}}, "does not end where its end record begins", false},
    {{{END, 0, 20, 2, 1, true}}, "truncated, or not a zip archive", false},
    {{{CENTRAL, 1, 0, 4, 0, false}}, "fewer members than its end record counts", false},
    {{{CENTRAL, 3, 32, 2, 1, false}}, "reaches beyond the directory", false},
    {{{LOCATION, 0, 0, 1, '\n', false}}, "the name of a member has a control character", false},
    {{{LOCATION, 0, 1, 1, 0, false}}, "the name of a member has a control character", false},
    {{{LOCATION, 0, 0, 1, 0x7f, false}}, "the name of a member has a control character", false},
    {{{LOCATION, 0, 0, 1, 0xff, false}}, "the name of a member is not UTF-8", false},
    {{{LOCATION, 3, 1, 1, 'a', false}}, "the name of a member is not UTF-8", false},
    {{{LOCATION, 0, 0, 1, '/', false}}, "the name of a member is an absolute path", false},
    {{{LOCATION, 2, 0, 2, 0x2e2e, false}}, "the name of a member leads out of its directory", false},
    {{{LOCATION, 0, 0, 4, 0x2f2e2e2f, false}}, "is an absolute path", false},
    {{{CENTRAL, 0, 28, 2, 0, false}}, "the name of a member is empty", false},
    {{{LOCATION, 0, 0, 1, 'z', false}}, "member z.npy: its header has another name than the directory", false},
    {{{LOCATION, 0, 0, 1, 'b', false}, {LOCAL, 0, 30, 1, 'b', false}}, "member b.npy: occurs twice", false},
    {{{CENTRAL, 0, 24, 4, 1, true}}, "member a.npy: 161 bytes cannot come from 160", false},
    {{{CENTRAL, 0, 20, 4, 1, true}}, "member a.npy: 160 bytes cannot come from 161", false},
    {{{CENTRAL, 1, 24, 4, 0x7fffffff, false}}, "member b.npy: 2147483647 bytes cannot come from", false},
    {{{CENTRAL, 0, 24, 4, -1, true}, {CENTRAL, 0, 20, 4, -1, true}}, "member a.npy: truncated: 31 bytes of data", false},
    {{{CENTRAL, 1, 24, 4, -1, true}}, "member b.npy: truncated: 255 bytes of data", false},
    {{{CENTRAL, 1, 24, 4, 8, true}}, "member b.npy: 8 bytes too many", false},
    {{{CENTRAL, 1, 24, 4, 99, false}}, "member b.npy: its deflated data are longer than the directory says", false},
    {{{CENTRAL, 0, 20, 4, 99, false}, {CENTRAL, 0, 24, 4, 99, false}, {CENTRAL, 0, 16, 4, 0xac498042, false}},
     "member a.npy: truncated: ends after 99 bytes", false},
    {{{CENTRAL, 1, 24, 4, 0, false}}, "member b.npy: truncated: ends after 0 bytes", false},
    {{{CENTRAL, 1, 20, 4, 1, true}}, "members b.npy and in/c.npy lie over one another", false},
    {{{LOCAL, 0, 28, 2, 64, true}}, "members a.npy and b.npy lie over one another", false},
    {{{LOCAL, 0, 28, 2, 0xffff, false}}, "member a.npy: its data reach into the directory", false},
    {{{CENTRAL, 3, 20, 4, 1, true}, {CENTRAL, 3, 24, 4, 1, true}}, "its data reach into the directory", false},
    {{{CENTRAL, 2, 42, 4, 0, false}}, "member in/c.npy: its header has another name", false},
    {{{CENTRAL, 0, 42, 4, 1, true}}, "member a.npy: its header is not where the directory says", false},
    {{{CENTRAL, 0, 42, 4, 0x7fffffff, false}}, "member a.npy: lies beyond the members of the archive", false},
    {{{CENTRAL, 3, 42, 4, 140, true}}, "lies beyond the members of the archive", false}, /* where its header has no room */
    {{{CENTRAL, 0, 20, 4, 0xffffffff, false}}, "member a.npy: its extra field is damaged", false},
    {{{CENTRAL, 0, 34, 2, 0xffff, false}}, "member a.npy: its extra field is damaged", false},
    {{{CENTRAL, 1, 16, 4, 1, true}}, "member b.npy: CRC mismatch: damaged", true},
    {{{CENTRAL, 0, 16, 4, 1, true}}, "member a.npy: CRC mismatch: damaged", true},
    {{{CENTRAL, 3, 16, 4, 1, true}}, ".npy: CRC mismatch: damaged", false},
    {{{CENTRAL, 1, 20, 4, -1, true}}, "member b.npy: its deflated data do not end where they must", true},
    {{{CENTRAL, 2, 20, 4, 1, true}}, "member in/c.npy: its deflated data are longer than the directory says", true},
    {{{CENTRAL, 2, 20, 4, 16, true}}, "member in/c.npy: its deflated data are longer than the directory says", true},
};

static void spoil(built *f, const change *c)
{
    const size_t places[] = {[LOCAL] = f->local[c->member], [CENTRAL] = f->central[c->member],
                             [LOCATION] = f->central[c->member] + 46, [END] = f->end};
    unsigned char *p = f->file.at + places[c->place] + c->at;
    const uint64_t old = c->add ? get_number(p, c->width) : 0;
    set_number(p, old + (uint64_t)c->value, c->width);
}

START_TEST(refuses)
{
    built f = good_archive();
    s24_source source;
    s24_error err;
    bytes data;
    for (size_t i = 0; i < COUNT(spoiled[_i].changes) && spoiled[_i].changes[i].place; i++) {
        spoil(&f, &spoiled[_i].changes[i]);
    }
    s24_status status = open_bytes(&source, f.file.at, f.file.n, &silent, &err);
    if (spoiled[_i].late) {
        ck_assert_msg(status == S24_OK, "%s", err.message);
        status = read_all(&source, &data, &err);
    }
    ck_assert_int_eq(status, S24_ERR_DATA);
    check_message(&err, spoiled[_i].message);
    close_source(&source);
}
END_TEST

/* Members that are not what belongs into a .npz. */
static const struct stranger {
    const char *name, *descr; /* descr NULL: no .npy at all */
    size_t n;
    const char *message;      /* NULL: fine */
} strangers[] = {
    {"x.npy", "'<f4'", 4, NULL},
    {"x.txt", NULL, 4, "member x.txt: is no .npy; remove it with zip -d"},
    {"x/", NULL, 0, "member x/: is no .npy"},
    {"data.pkl", NULL, 4, "is a PyTorch file (a zip of a pickle)"},
    {"archive/data.pkl", NULL, 4, "save it with safetensors.torch.save_file, or numpy.savez"},
    {"mydata.pkl", NULL, 4, "member mydata.pkl: is no .npy"},
    {".npy", "'<f4'", 4, "member .npy: has no name before .npy"},
    {"x.npy", NULL, 40, "member x.npy: is not a .npy file"},
    {"x.npy", "'|O'", 8, "member x.npy: holds Python objects (a pickle)"},
    {"x.npy", "'<c16'", 16, "member x.npy: holds complex numbers"},
    {"x.npy", "'<f16'", 16, "member x.npy: holds long doubles"},
    {"x.npy", "'<U5'", 20, "member x.npy: holds text"},
    {"x.npy", "'|S3'", 3, "member x.npy: holds byte strings"},
    {"x.npy", "'<M8[s]'", 8, "member x.npy: holds dates"},
    {"x.npy", "[('a', '<f4')]", 4, "member x.npy: holds a structured dtype (records)"},
    {"x.npy", "'<V1'", 1, "member x.npy: the descr \"<V1\" is an 8-bit float and does not say which"},
};

START_TEST(strange_members)
{
    const struct stranger *s = &strangers[_i];
    const bytes fine = npy("'<f4'", "False", "()", 4, 0);
    bytes data = s->descr ? npy(s->descr, "False", "()", s->n, 0) : (bytes){.n = s->n};
    const part parts[] = {{.name = "fine.npy", .data = fine.at, .n = fine.n},
                          {.name = s->name, .data = data.at, .n = data.n}};
    const built f = build(parts, 2, "");
    s24_source source;
    s24_error err;
    const s24_status status = open_bytes(&source, f.file.at, f.file.n, &silent, &err);
    ck_assert_int_eq(status, s->message ? S24_ERR_DATA : S24_OK);
    if (s->message) {
        check_message(&err, s->message);
    }
    close_source(&source);
}
END_TEST

START_TEST(no_arrays)
{
    const part text = {.name = "a.txt", .data = "text", .n = 4};
    const built nothing = build(NULL, 0, ""), other = build(&text, 1, "");
    s24_source source;
    s24_error err;
    bytes data;
    ck_assert_uint_eq(nothing.file.n, 22);
    ck_assert(s24_format_npz.probe(nothing.file.at, 22));
    ck_assert_int_eq(open_bytes(&source, nothing.file.at, 22, &silent, &err), S24_OK);
    ck_assert_uint_eq(source.contents.count, 0);
    ck_assert(s24_source_is_model(&source));
    ck_assert_int_eq(read_all(&source, &data, &err), S24_OK);
    close_source(&source);
    ck_assert_int_eq(open_bytes(&source, other.file.at, other.file.n, &silent, &err), S24_ERR_DATA);
    check_message(&err, "is a zip archive without .npy members");
    close_source(&source);
}
END_TEST

/* What is carried beside weights, and what --raw-dtype is for. */
START_TEST(dtypes_of_members)
{
    static const struct {
        const char *descr;
        size_t n;
        s24_dtype dtype;
        bool big_endian;
    } cases[] = {
        {"'|b1'", 1, S24_BOOL, false}, {"'|i1'", 1, S24_I8, false}, {"'|u1'", 1, S24_U8, false},
        {"'<i2'", 2, S24_I16, false}, {"'>i2'", 2, S24_I16, true}, {"'<u2'", 2, S24_U16, false},
        {"'>u2'", 2, S24_U16, true}, {"'<i4'", 4, S24_I32, false}, {"'>i4'", 4, S24_I32, true},
        {"'<u4'", 4, S24_U32, false}, {"'>u4'", 4, S24_U32, true}, {"'<i8'", 8, S24_I64, false},
        {"'>i8'", 8, S24_I64, true}, {"'<u8'", 8, S24_U64, false}, {"'>u8'", 8, S24_U64, true},
        {"'<c8'", 8, S24_C64, false}, {"'>c8'", 8, S24_C64, true}, {"'<f2'", 2, S24_F16, false},
        {"'>f8'", 8, S24_F64, true}, {"'<V2'", 2, S24_BF16, false}, {"'<V1'", 1, S24_F8E5M2, false},
        {"'<f1'", 1, S24_F8E5M2, false},
    };
    static const s24_read_options said = {.has_dtype = true, .dtype = S24_F8E5M2};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const bytes data = npy(cases[i].descr, "False", "()", cases[i].n, 0);
        const part one = {.name = "one.npy", .data = data.at, .n = data.n};
        const built f = build(&one, 1, "");
        s24_source source;
        s24_error err;
        const s24_status status = open_bytes(&source, f.file.at, f.file.n, &said, &err);
        ck_assert_msg(status == S24_OK, "%s: %s", cases[i].descr, err.message);
        ck_assert_int_eq(source.contents.entries[0].dtype, cases[i].dtype);
        ck_assert_int_eq(source.contents.entries[0].big_endian, cases[i].big_endian);
        ck_assert_str_eq(noted, cases[i].dtype == S24_BF16
                                    ? "w.npz: one: descr \"<V2\" is read as bf16, which ml_dtypes saves so" : "");
        close_source(&source);
    }
}
END_TEST

/* A member that somebody began is checked to its end; one that nobody began is left alone. */
START_TEST(ends_what_was_begun)
{
    built f = good_archive();
    s24_source source;
    s24_error err;
    char byte;
    f.file.at[f.data[0] + 150] ^= 1; /* data of a */
    f.file.at[f.central[1] + 16] ^= 1; /* the CRC of b */
    ck_assert_int_eq(open_bytes(&source, f.file.at, f.file.n, &silent, &err), S24_OK);
    ck_assert_int_eq(s24_source_expect_end(&source, &err), S24_OK);
    const s24_entry *c = &source.contents.entries[2];
    ck_assert_int_eq(s24_input_read(c->in, c->offset, &byte, 1, &err), S24_OK);
    ck_assert_int_eq(s24_source_expect_end(&source, &err), S24_OK);
    const s24_entry *b = &source.contents.entries[1];
    ck_assert_int_eq(s24_input_read(b->in, b->offset, &byte, 1, &err), S24_OK);
    ck_assert_int_eq(s24_source_expect_end(&source, &err), S24_ERR_DATA);
    check_message(&err, "member b.npy: CRC mismatch");
    close_source(&source);
}
END_TEST

/* The right end record is the last whose comment fills the file. */
START_TEST(comments)
{
    static const char *const texts[] = {"", "x", "PK\5\6", "PK\5\6 but this one's comment would not end with the file"};
    const bytes data = npy("'<f4'", "False", "()", 4, 0);
    const part one = {.name = "one.npy", .data = data.at, .n = data.n};
    for (size_t i = 0; i < COUNT(texts); i++) {
        const built f = build(&one, 1, texts[i]);
        s24_source source;
        s24_error err;
        ck_assert_msg(open_bytes(&source, f.file.at, f.file.n, &silent, &err) == S24_OK, "%s", err.message);
        close_source(&source);
    }
    built f = build(&one, 1, "");
    const size_t n = f.file.n + 65535;
    unsigned char *large = calloc(n, 1);
    s24_source source;
    s24_error err;
    ck_assert_ptr_nonnull(large);
    set_number(f.file.at + f.end + 20, 65535, 2);
    memcpy(large, f.file.at, f.file.n);
    ck_assert_int_eq(open_bytes(&source, large, n, &silent, &err), S24_OK);
    close_source(&source);
    free(large);
}
END_TEST

/* ---------------------------------------------------------------- zip64 */

static void open_records(s24_input **in, const s24_text *text)
{
    void *copy = malloc(text->length);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text->text, text->length);
    ck_assert_int_eq(s24_input_memory(in, &io, "w.npz", copy, text->length, NULL), S24_OK);
}

static const s24_zip_entry sizes[] = {
    {.name = (char *)(uintptr_t)"small", .size = 7, .compressed = 7, .header = 9},
    {.name = (char *)(uintptr_t)"almost", .size = 0xfffffffe, .compressed = 0xfffffffe, .header = 0xfffffffe},
    {.name = (char *)(uintptr_t)"just", .size = 0xffffffff, .compressed = 0xffffffff, .header = 1},
    {.name = (char *)(uintptr_t)"far", .size = 3, .compressed = 3, .header = 0xffffffff},
    {.name = (char *)(uintptr_t)"large", .size = UINT64_C(5) << 40, .compressed = UINT64_C(5) << 40,
     .header = UINT64_C(3) << 41},
    {.name = (char *)(uintptr_t)"zeros", .size = UINT64_C(5) << 32, .compressed = 99, .header = 8, .method = 8},
};

START_TEST(zip64_directory)
{
    s24_text text = {0};
    s24_input *in;
    s24_zip zip;
    s24_error err;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        s24_zip_put_central(&text, &sizes[i]);
    }
    s24_zip_put_end(&text, COUNT(sizes), 0, text.length);
    open_records(&in, &text);
    ck_assert_msg(s24_zip_read(&zip, in, &err) == S24_OK, "%s", err.message);
    ck_assert_uint_eq(zip.count, COUNT(sizes));
    for (size_t i = 0; i < COUNT(sizes); i++) {
        ck_assert_str_eq(zip.entries[i].name, sizes[i].name);
        ck_assert_uint_eq(zip.entries[i].size, sizes[i].size);
        ck_assert_uint_eq(zip.entries[i].compressed, sizes[i].compressed);
        ck_assert_uint_eq(zip.entries[i].header, sizes[i].header);
        ck_assert_uint_eq(zip.entries[i].method, sizes[i].method);
    }
    s24_zip_free(&zip);
    s24_input_close(in);
    s24_text_free(&text);
}
END_TEST

/* A local header of a member beyond 4 GiB has its sizes aside; before they are known they are zero there. */
START_TEST(zip64_local_headers)
{
    for (int known = 0; known < 2; known++) {
        s24_zip_entry e = {.name = (char *)(uintptr_t)"large", .size = UINT64_C(5) << 32, .compressed = 99,
                           .flags = known ? 0 : S24_ZIP_DESCRIPTOR, .method = 8};
        s24_text text = {0};
        s24_zip_put_local(&text, &e, 1);
        const unsigned char *const p = (const unsigned char *)text.text;
        ck_assert_uint_eq(text.length, 30 + 5 + 20);
        ck_assert_uint_eq(get_number(p + 18, 4), UINT32_MAX);
        ck_assert_uint_eq(get_number(p + 22, 4), UINT32_MAX);
        ck_assert_uint_eq(get_number(p + 39, 8), known ? UINT64_C(5) << 32 : 0);
        ck_assert_uint_eq(get_number(p + 47, 8), known ? 99u : 0u);
        ck_assert_uint_eq(e.data, text.length);
        s24_text_free(&text);
    }
}
END_TEST

/* Each of the three numbers that may be too large for the end record alone brings the one of zip64. */
START_TEST(zip64_end)
{
    static const struct {
        uint64_t count, directory, bytes;
        bool large;
    } ends[] = {
        {65534, 0xfffffffe, 0xfffffffe, false}, {65535, 1, 1, true}, {1, 0xffffffff, 1, true}, {1, 1, 0xffffffff, true},
    };
    for (size_t i = 0; i < COUNT(ends); i++) {
        s24_text text = {0};
        s24_zip_put_end(&text, ends[i].count, ends[i].directory, ends[i].bytes);
        ck_assert_uint_eq(text.length, ends[i].large ? 22 + 20 + 56 : 22);
        s24_text_free(&text);
    }
}
END_TEST

/* What a member's directory entry has in fields, one number or two of them aside: header, disk. */
#define AT_4_GIB "\0\0\0\0\1\0\0\0"
#define FIELD(text) text, sizeof text - 1
static const struct aside {
    const char *extra;
    size_t n;
    unsigned disk;
    const char *message; /* NULL: good */
} asides[] = {
    {FIELD("\1\0\10\0" AT_4_GIB), 0, NULL},
    {FIELD("\x99\x99\2\0ab" "\1\0\10\0" AT_4_GIB), 0, NULL},
    {FIELD("\1\0\10\0" AT_4_GIB "\1\0\10\0\0\0\0\0\2\0\0\0"), 0, NULL}, /* the first says it */
    {FIELD("\1\0\14\0" AT_4_GIB "\0\0\0\0" "\x99\x99\2\0ab"), 0xffff, NULL},
    {FIELD("\1\0\14\0" AT_4_GIB "\1\0\0\0"), 0xffff, "one part of a zip archive in several"},
    {FIELD("\1\0\10\0" AT_4_GIB), 1, "one part of a zip archive in several"},
    {FIELD("\1\0\10\0" AT_4_GIB), 0xffff, "member far: its extra field is damaged"},
    {FIELD("\1\0\7\0\0\0\0\0\1\0\0"), 0, "member far: its extra field is damaged"},
    {FIELD("\1\0\11\0" AT_4_GIB), 0, "member far: its extra field is damaged"},
    {FIELD("\x99\x99\2\0ab"), 0, "member far: its extra field is damaged"},
    {FIELD(""), 0, "member far: its extra field is damaged"},
};

START_TEST(zip64_fields)
{
    const struct aside *a = &asides[_i];
    s24_text text = {0};
    s24_input *in;
    s24_zip zip;
    s24_error err;
    s24_zip_put_central(&text, &sizes[3]);
    text.length = 46 + strlen("far"); /* with other fields than its own */
    set_number((unsigned char *)text.text + 30, a->n, 2);
    set_number((unsigned char *)text.text + 34, a->disk, 2);
    s24_text_add(&text, a->extra, a->n);
    s24_zip_put_end(&text, 1, 0, text.length);
    open_records(&in, &text);
    const s24_status status = s24_zip_read(&zip, in, &err);
    if (a->message) {
        ck_assert_int_eq(status, S24_ERR_DATA);
        ck_assert_msg(strstr(err.message, a->message), "%s", err.message);
    } else {
        ck_assert_msg(status == S24_OK, "%s", err.message);
        ck_assert_uint_eq(zip.entries->header, UINT64_C(1) << 32);
        ck_assert_uint_eq(zip.entries->size, 3);
        s24_zip_free(&zip);
    }
    s24_input_close(in);
    s24_text_free(&text);
}
END_TEST

/* By the specification's offsets: what stands aside, and where the member's bytes begin. */
START_TEST(local_headers)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (uint64_t at = 0; at < 64; at++) {
            s24_zip_entry e = sizes[i];
            s24_text text = {0};
            e.header = at;
            e.crc = 0x12345678;
            s24_zip_put_local(&text, &e, 64);
            const unsigned char *p = (const unsigned char *)text.text, *extra = p + 30 + strlen(e.name);
            const bool aside = e.size >= 0xffffffff;
            ck_assert_uint_eq(get_number(p, 4), 0x04034b50);
            ck_assert_uint_eq(get_number(p + 4, 2), aside ? 45 : 20);
            ck_assert_uint_eq(get_number(p + S24_ZIP_CRC_AT, 4), 0x12345678);
            ck_assert_uint_eq(get_number(p + 18, 4), aside ? 0xffffffff : e.compressed);
            ck_assert_uint_eq(get_number(p + 22, 4), aside ? 0xffffffff : e.size);
            ck_assert_mem_eq(p + 30, e.name, strlen(e.name));
            ck_assert_uint_eq(at + text.length, e.data);
            ck_assert_uint_eq(e.data % 64, 0);
            ck_assert_uint_lt(text.length, 30 + strlen(e.name) + 20 + 6 + 64);
            size_t left = (size_t)get_number(p + 28, 2);
            ck_assert_uint_eq(left, text.length - 30 - strlen(e.name));
            if (aside) {
                ck_assert_uint_eq(get_number(extra, 4), 0x00100001);
                ck_assert_uint_eq(get_number(extra + 4, 8), e.size);
                ck_assert_uint_eq(get_number(extra + 12, 8), e.compressed);
                extra += 20;
                left -= 20;
            }
            if (left) {
                ck_assert_uint_eq(get_number(extra, 2), 0xd935);
                ck_assert_uint_eq(get_number(extra + 2, 2), left - 4);
                ck_assert_uint_eq(get_number(extra + 4, 2), 64);
            }
            s24_text_free(&text);
        }
    }
}
END_TEST

/* What follows a member in a pipe: sizes of 8 bytes where those of the member need them. */
START_TEST(descriptors)
{
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const size_t width = sizes[i].size >= 0xffffffff ? 8 : 4;
        s24_zip_entry e = sizes[i];
        s24_text text = {0};
        e.crc = 0x12345678;
        s24_zip_put_descriptor(&text, &e);
        const unsigned char *p = (const unsigned char *)text.text;
        ck_assert_uint_eq(text.length, 8 + 2 * width);
        ck_assert_uint_eq(get_number(p, 4), 0x08074b50);
        ck_assert_uint_eq(get_number(p + 4, 4), 0x12345678);
        ck_assert_uint_eq(get_number(p + 8, width), e.compressed);
        ck_assert_uint_eq(get_number(p + 8 + width, width), e.size);
        s24_text_free(&text);
    }
}
END_TEST

/* A directory beyond 4 GiB, of a file that is nearly all hole. */
START_TEST(far_directory)
{
    const uint64_t directory = UINT64_C(5) << 30;
    s24_text text = {0};
    s24_input *in;
    s24_zip zip;
    s24_error err;
    s24_zip_put_central(&text, &sizes[3]);
    s24_zip_put_end(&text, 1, directory, text.length);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseeko(f, (off_t)directory, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(text.text, 1, text.length, f), text.length);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(s24_input_open(&in, &io, path, &err), S24_OK);
    ck_assert_msg(s24_zip_read(&zip, in, &err) == S24_OK, "%s", err.message);
    ck_assert_uint_eq(zip.count, 1);
    ck_assert_uint_eq(zip.directory, directory);
    s24_zip_free(&zip);
    s24_input_close(in);
    s24_text_free(&text);
}
END_TEST

/* Any byte of the zip64 end records changed: refused, or the same directory. */
START_TEST(zip64_end_records)
{
    s24_text text = {0};
    for (size_t i = 0; i < 65535; i++) {
        s24_zip_put_central(&text, &sizes[0]);
    }
    const size_t directory = text.length;
    s24_zip_put_end(&text, 65535, 0, directory);
    ck_assert_uint_eq(text.length - directory, 56 + 20 + 22);
    for (size_t i = directory; i < text.length; i++) {
        s24_input *in;
        s24_zip zip;
        s24_error err;
        text.text[i] ^= 1;
        open_records(&in, &text);
        const s24_status status = s24_zip_read(&zip, in, &err);
        const size_t at = i - directory;
        const bool unseen = (at >= 12 && at < 16) || at == 72; /* versions; one disk or none */
        ck_assert_msg(status == (unseen ? S24_OK : S24_ERR_DATA), "byte %zu: %s", at, err.message);
        s24_zip_free(&zip);
        s24_input_close(in);
        text.text[i] ^= 1;
    }
    s24_text_free(&text);
}
END_TEST

/* Room for so many, but before the first is looked at. */
START_TEST(too_many_members)
{
    const size_t directory = 46 * ((size_t)S24_TENSORS_MAX + 1);
    s24_text text = {0};
    s24_input *in;
    s24_zip zip;
    s24_error err;
    s24_zip_put_end(&text, S24_TENSORS_MAX + 1, 0, directory);
    char *const file = calloc(directory + text.length, 1);
    ck_assert_ptr_nonnull(file);
    memcpy(file + directory, text.text, text.length);
    ck_assert_int_eq(s24_input_memory(&in, &io, "w.npz", file, directory + text.length, NULL), S24_OK);
    ck_assert_int_eq(s24_zip_read(&zip, in, &err), S24_ERR_DATA);
    ck_assert_str_eq(err.message, "too many tensors: s24 takes 262144 a model at most; split the model");
    s24_input_close(in);
    s24_text_free(&text);
}
END_TEST

/* ---------------------------------------------------------------- writing */

static void plan(s24_contents *contents)
{
    static const size_t shape[] = {2, 3, 0};
    memset(contents, 0, sizeof *contents);
    s24_contents_add(contents, "empty", S24_F64, 3, shape, NULL);
    s24_contents_add(contents, "layer/weight", S24_F32, 2, shape, NULL);
    s24_contents_add(contents, "\xe2\x82\xac", S24_C64, 1, shape, NULL);
    s24_contents_add(contents, "half", S24_BF16, 1, shape, NULL);
    s24_contents_add(contents, "scalar", S24_U16, 0, shape, NULL);
    s24_contents_add(contents, "nothing", S24_BOOL, 1, shape + 2, NULL);
}

static void open_sink(s24_sink **sink, const char *to, s24_contents *contents)
{
    s24_output *out = NULL;
    s24_error err;
    ck_assert_int_eq(s24_output_open(&out, &io, to, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_sink_open(sink, &s24_format_npz, out, contents, &err), S24_OK);
}

/* In steps of one element: everything must go through in order. */
static void write_to(const char *to)
{
    s24_contents contents;
    s24_sink *sink;
    s24_error err;
    uint64_t at = 0;
    plan(&contents);
    open_sink(&sink, to, &contents);
    for (size_t i = 0; i < sink->contents.count; i++) {
        const s24_entry *e = &sink->contents.entries[i];
        const unsigned width = s24_info(e->dtype)->bytes;
        ck_assert(!s24_sink_positional(sink, i));
        for (size_t k = 0; k < e->bytes / width; k++) {
            unsigned char element[8];
            for (size_t b = 0; b < width; b++) {
                element[b] = byte_at(at++);
            }
            ck_assert_int_eq(sink->format->write(sink, i, k, 1, element, &err), S24_OK);
        }
    }
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
}

static bytes get_file(const char *from)
{
    bytes b = {.n = 0};
    FILE *f = fopen(from, "rb");
    ck_assert_ptr_nonnull(f);
    b.n = fread(b.at, 1, sizeof b.at, f);
    ck_assert_uint_lt(b.n, sizeof b.at);
    fclose(f);
    return b;
}

static void put_file(const char *to, const bytes *b)
{
    FILE *f = fopen(to, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(b->at, 1, b->n, f), b->n);
    ck_assert_int_eq(fclose(f), 0);
}

/* What write_to writes to a pipe. */
static bytes get_piped(void)
{
    bytes b = {.n = 0};
    int fds[2];
    char name[32];
    ck_assert_int_eq(pipe(fds), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", fds[1]);
    const pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        write_to(name);
        _exit(0);
    }
    close(fds[1]);
    for (ssize_t r; (r = read(fds[0], b.at + b.n, sizeof b.at - b.n)) > 0;) {
        b.n += (size_t)r;
    }
    close(fds[0]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    return b;
}

static void check_plan(s24_source *source)
{
    s24_contents wanted;
    s24_error err;
    bytes data;
    plan(&wanted);
    ck_assert_uint_eq(source->contents.count, wanted.count);
    for (size_t i = 0; i < wanted.count; i++) {
        const s24_entry *got = &source->contents.entries[i], *want = &wanted.entries[i];
        ck_assert_str_eq(got->name, want->name);
        ck_assert_int_eq(got->dtype, want->dtype);
        ck_assert_int_eq(got->rank, want->rank);
        ck_assert(got->rank == 0 || memcmp(got->shape, want->shape, (size_t)got->rank * sizeof *got->shape) == 0);
        ck_assert(!got->fortran && !got->big_endian);
    }
    ck_assert_msg(read_all(source, &data, &err) == S24_OK, "%s", err.message);
    ck_assert_uint_eq(data.n, 24 + 16 + 4 + 2);
    for (size_t i = 0; i < data.n; i++) {
        ck_assert_uint_eq(data.at[i], byte_at(i));
    }
    s24_contents_free(&wanted);
}

/* A simple reader goes from local header to local header, and finds everything there. */
static void walk(const bytes *f, bool piped)
{
    size_t at = 0, members = 0;
    while (get_number(f->at + at, 4) == 0x04034b50) {
        const unsigned char *p = f->at + at;
        const size_t name = (size_t)get_number(p + 26, 2), data = at + 30 + name + (size_t)get_number(p + 28, 2);
        const size_t shown = (size_t)get_number(p + 18, 4);
        ck_assert_uint_eq(data % 64, 0);
        ck_assert_mem_eq(f->at + data, "\x93NUMPY\1\0\x76\0", 10);
        ck_assert_uint_eq(get_number(p + 8, 2), 0);
        ck_assert_uint_eq(get_number(p + 10, 4), 0x00210000);
        ck_assert_uint_eq(get_number(p + 6, 2) & 8, piped ? 8 : 0);
        ck_assert_uint_eq((get_number(p + 6, 2) & 0x800) != 0, p[30] >= 0x80);
        ck_assert_uint_eq(get_number(p + 22, 4), shown);
        if (piped) { /* the data are unknown there: find what follows them */
            size_t end = data + 128;
            while (get_number(f->at + end, 4) != 0x08074b50) {
                end++;
            }
            ck_assert_uint_eq(get_number(p + 14, 4) | shown, 0);
            ck_assert_uint_eq(get_number(f->at + end + 4, 4), crc32(0, f->at + data, (unsigned)(end - data)));
            ck_assert_uint_eq(get_number(f->at + end + 8, 4), end - data);
            ck_assert_uint_eq(get_number(f->at + end + 12, 4), end - data);
            at = end + 16;
        } else {
            ck_assert_uint_eq(get_number(p + 14, 4), crc32(0, f->at + data, (unsigned)shown));
            at = data + shown;
        }
        members++;
    }
    ck_assert_uint_eq(members, 6);
    ck_assert_uint_eq(get_number(f->at + at, 4), 0x02014b50);
}

/* The members' headers are numpy's, to the byte order of types that have none. */
START_TEST(descrs)
{
    static const struct {
        s24_dtype dtype;
        const char *descr;
    } cases[] = {
        {S24_F64, "'<f8'"}, {S24_F32, "'<f4'"}, {S24_F16, "'<f2'"}, {S24_BF16, "'<V2'"}, {S24_F8E4M3, "'<V1'"},
        {S24_F8E5M2, "'<f1'"}, {S24_I8, "'|i1'"}, {S24_I16, "'<i2'"}, {S24_I32, "'<i4'"}, {S24_I64, "'<i8'"},
        {S24_U8, "'|u1'"}, {S24_U16, "'<u2'"}, {S24_U32, "'<u4'"}, {S24_U64, "'<u8'"}, {S24_BOOL, "'|b1'"},
        {S24_C64, "'<c8'"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const s24_entry e = {.dtype = cases[i].dtype};
        char header[S24_NPY_HEADER_BYTES], wanted[64];
        ck_assert_uint_eq(s24_npy_header(&e, header), 128);
        snprintf(wanted, sizeof wanted, "{'descr': %s, 'fortran_order': False, 'shape': (), } ", cases[i].descr);
        ck_assert_mem_eq(header, "\x93NUMPY\1\0\x76\0", 10);
        ck_assert_msg(memcmp(header + 10, wanted, strlen(wanted) - 1) == 0, "%.54s", header + 10);
    }
}
END_TEST

START_TEST(there_and_back)
{
    s24_source *source = NULL;
    s24_error err;
    write_to(path);
    const bytes first = get_file(path);
    walk(&first, false);
    ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
    ck_assert_str_eq(source->format->name, "npz");
    check_plan(source);
    s24_source_close(source);
    write_to(path);
    const bytes second = get_file(path);
    ck_assert_uint_eq(first.n, second.n);
    ck_assert_mem_eq(first.at, second.at, first.n);
}
END_TEST

START_TEST(there_and_back_through_pipes)
{
    const bytes piped = get_piped();
    s24_source *source = NULL;
    s24_error err;
    int fds[2];
    char name[32];
    walk(&piped, true);
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(write(fds[1], piped.at, piped.n), (ssize_t)piped.n); /* less than a pipe holds */
    close(fds[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", fds[0]);
    ck_assert_int_eq(s24_source_open(&source, &io, name, NULL, &err), S24_OK);
    check_plan(source);
    s24_source_close(source);
    close(fds[0]);
}
END_TEST

/* More members than 16 bits count. */
START_TEST(many_tensors)
{
    enum { MANY = 65536 };
    static const size_t shape[] = {1};
    s24_contents contents = {0};
    s24_source *source = NULL;
    s24_sink *sink;
    s24_error err;
    char name[64];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t%d", i);
        ck_assert_ptr_nonnull(s24_contents_add(&contents, name, S24_F32, 1, shape, &err));
    }
    open_sink(&sink, path, &contents);
    for (size_t i = 0; i < MANY; i++) {
        const uint32_t value = (uint32_t)i;
        ck_assert_int_eq(sink->format->write(sink, i, 0, 1, &value, &err), S24_OK);
    }
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
    ck_assert_int_eq(s24_source_open(&source, &io, path, NULL, &err), S24_OK);
    ck_assert_uint_eq(source->contents.count, MANY);
    for (size_t i = MANY; i-- > 0;) { /* in any order */
        const s24_entry *e = &source->contents.entries[i];
        uint32_t value;
        ck_assert_int_eq(s24_input_read(e->in, e->offset, &value, sizeof value, &err), S24_OK);
        ck_assert_uint_eq(value, i);
    }
    ck_assert_int_eq(s24_source_expect_end(source, &err), S24_OK);
    s24_source_close(source);
}
END_TEST

START_TEST(lone_array_gets_a_name)
{
    static const size_t shape[] = {1};
    s24_contents contents = {0};
    s24_source *source = NULL;
    s24_sink *sink;
    s24_error err;
    s24_contents_add(&contents, "", S24_F8E5M2, 1, shape, NULL);
    s24_contents_add_pair(&contents, "key", "value", NULL);
    noted[0] = 0;
    open_sink(&sink, path, &contents);
    ck_assert_ptr_nonnull(strstr(noted, "metadata"));
    ck_assert_int_eq(sink->format->write(sink, 0, 0, 1, "x", &err), S24_OK);
    ck_assert_int_eq(s24_sink_commit(sink, &err), S24_OK);
    static const s24_read_options said = {.has_dtype = true, .dtype = S24_F8E5M2};
    ck_assert_int_eq(s24_source_open(&source, &io, path, &said, &err), S24_OK);
    ck_assert_str_eq(source->contents.entries[0].name, "arr_0");
    ck_assert_int_eq(source->contents.entries[0].dtype, S24_F8E5M2);
    s24_source_close(source);
}
END_TEST

START_TEST(abandons)
{
    s24_contents contents;
    s24_sink *sink;
    s24_error err;
    const double element = 1;
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    plan(&contents);
    open_sink(&sink, path, &contents);
    ck_assert_int_eq(sink->format->write(sink, 1, 0, 1, &element, &err), S24_OK);
    s24_sink_abort(sink);
    ck_assert_uint_eq(get_file(path).n, 0);
}
END_TEST

START_TEST(accepts)
{
    static const struct {
        const char *name;
        s24_dtype dtype;
        const char *message; /* NULL: accepted */
    } cases[] = {
        {"a", S24_F32, NULL}, {"a/b.c", S24_C64, NULL}, {"", S24_BOOL, NULL}, {"..a/b../...", S24_U64, NULL},
        {"\xc3\xa9", S24_BF16, NULL}, {"\xf0\x9f\x98\x80", S24_F8E4M3, NULL},
        {"..", S24_F32, "leads out"}, {"../a", S24_F32, "leads out"}, {"a/..", S24_F32, "leads out"},
        {"a/../b", S24_F32, "leads out"}, {"/a", S24_F32, "absolute"}, {"a\nb", S24_F32, "control"},
        {"\xc0\x80", S24_F32, "not UTF-8"}, {"\xed\xa0\x80", S24_F32, "not UTF-8"}, {"\xe2\x82", S24_F32, "not UTF-8"},
        {"\xf4\x90\x80\x80", S24_F32, "not UTF-8"}, {"\x80", S24_F32, "not UTF-8"}, {"\xff", S24_F32, "not UTF-8"},
        {"a", S24_F8E8M0, "numpy has no type for f8e8m0; write .safetensors"},
        {"a", S24_F4, "numpy has no type for f4"}, {"a", S24_F6E2M3, "no type"}, {"a", S24_F6E3M2, "no type"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const s24_entry e = {.name = (char *)(uintptr_t)cases[i].name, .dtype = cases[i].dtype};
        s24_error err;
        ck_assert_int_eq(s24_format_npz.accepts(&e, &err), cases[i].message ? S24_ERR_DATA : S24_OK);
        if (cases[i].message) {
            check_message(&err, cases[i].message);
        }
    }
    char *long_name = malloc(65533);
    ck_assert_ptr_nonnull(long_name);
    memset(long_name, 'a', 65532);
    long_name[65531] = long_name[65532] = 0;
    const s24_entry e = {.name = long_name, .dtype = S24_F32};
    s24_error err;
    ck_assert_int_eq(s24_format_npz.accepts(&e, &err), S24_OK);
    long_name[65531] = 'a';
    ck_assert_int_eq(s24_format_npz.accepts(&e, &err), S24_ERR_DATA);
    check_message(&err, "is too long");
    free(long_name);
}
END_TEST

/* One array into memory: larger than its file, and in Fortran order. */
START_TEST(loads_an_array)
{
    bytes zeros = npy("'<f4'", "False", "(32, 32)", 4096, 0), fortran = npy("'<u2'", "True", "(2, 3)", 12, 0);
    memset(zeros.at + 128, 0, 4096);
    const part parts[] = {{.name = "zeros.npy", .data = zeros.at, .n = zeros.n, .method = 8},
                          {.name = "fortran.npy", .data = fortran.at, .n = fortran.n, .method = 8}};
    built f = build(parts, 2, "");
    s24_array array;
    s24_error err;
    for (int damaged = 0; damaged < 2; damaged++) {
        f.file.at[f.central[1] + 16] ^= (unsigned char)damaged;
        put_file(path, &f.file);
        ck_assert_uint_lt(f.file.n, 4096);
        ck_assert_msg(s24_array_load(path, "zeros", &array, &err) == S24_OK, "%s", err.message);
        ck_assert_mem_eq(array.data, zeros.at + 128, 4096);
        s24_array_free(&array);
        const s24_status status = s24_array_load(path, "fortran", &array, &err);
        ck_assert_msg(status == (damaged ? S24_ERR_DATA : S24_OK), "%s", err.message);
        for (size_t i = 0; !damaged && i < 12; i++) {
            ck_assert_uint_eq(((unsigned char *)array.data)[i], byte_at(2 * (i / 2 % 3 * 2 + i / 2 / 3) + i % 2));
        }
        if (damaged) {
            check_message(&err, "member fortran.npy: CRC mismatch");
        } else {
            s24_array_free(&array);
        }
    }
}
END_TEST

/*
 * What a .s24 carries is in C order and little-endian, and its header tells how it was: as an array, as an archive and
 * back, and as a dense file.
 */
START_TEST(carried_as_it_was)
{
    static const char told[] = "\\\"shape\\\":[3,2],\\\"order\\\":\\\"F\\\",\\\"endian\\\":\\\"big\\\"";
    const built f = good_archive();
    char again[sizeof path + 4], packed[sizeof path + 4];
    unsigned char expected[48];
    s24_array array;
    s24_error err;
    for (size_t i = 0; i < sizeof expected; i++) {
        const size_t element = i / 8, place = element % 2 * 3 + element / 2;
        expected[i] = byte_at(288 + 8 * place + 7 - i % 8);
    }
    snprintf(again, sizeof again, "%s.a", path);
    snprintf(packed, sizeof packed, "%s.z", path);
    put_file(packed, &f.file);
    const s24_prune_request pruned = {.input = packed, .output = path, .dtype = S24_SAME};
    const s24_convert_request pack = {.input = path, .output = packed, .packing.level = 5},
                              unpack = {.input = packed, .output = again},
                              dense = {.input = packed, .output = again, .to = "npz"};
    ck_assert_msg(s24_prune_file(&io, &pruned, NULL, &err) == S24_OK, "%s", err.message);
    const bytes plain = get_file(path);
    ck_assert_ptr_nonnull(memmem(plain.at, plain.n, told, strlen(told)));
    ck_assert_msg(s24_convert_file(&io, &pack, NULL, &err) == S24_OK, "%s", err.message);
    ck_assert_msg(s24_convert_file(&io, &unpack, NULL, &err) == S24_OK, "%s", err.message);
    const bytes unpacked = get_file(again);
    ck_assert_uint_eq(unpacked.n, plain.n);
    ck_assert_mem_eq(unpacked.at, plain.at, plain.n);
    ck_assert_msg(s24_convert_file(&io, &dense, NULL, &err) == S24_OK, "%s", err.message);
    const char *const files[] = {path, packed, again};
    for (size_t i = 0; i < COUNT(files); i++) {
        ck_assert_msg(s24_array_load(files[i], "in/c", &array, &err) == S24_OK, "%s", err.message);
        ck_assert_mem_eq(array.data, expected, sizeof expected);
        s24_array_free(&array);
    }
    unlink(again);
    unlink(packed);
}
END_TEST

int main(void)
{
    Suite *const suite = suite_create("npz");
    TCase *const tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, make_path, remove_path);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_large_member);
    tcase_add_test(tcase, reads_what_others_write);
    tcase_add_test(tcase, transposes_and_swaps);
    tcase_add_test(tcase, every_length);
    tcase_add_test(tcase, every_byte);
    tcase_add_loop_test(tcase, refuses, 0, ROWS(spoiled));
    tcase_add_loop_test(tcase, strange_members, 0, ROWS(strangers));
    tcase_add_test(tcase, no_arrays);
    tcase_add_test(tcase, dtypes_of_members);
    tcase_add_test(tcase, ends_what_was_begun);
    tcase_add_test(tcase, comments);
    tcase_add_test(tcase, zip64_directory);
    tcase_add_test(tcase, zip64_local_headers);
    tcase_add_test(tcase, zip64_end);
    tcase_add_loop_test(tcase, zip64_fields, 0, (int)COUNT(asides));
    tcase_add_test(tcase, local_headers);
    tcase_add_test(tcase, descriptors);
    tcase_add_test(tcase, far_directory);
    tcase_add_test(tcase, zip64_end_records);
    tcase_add_test(tcase, too_many_members);
    tcase_add_test(tcase, descrs);
    tcase_add_test(tcase, there_and_back);
    tcase_add_test(tcase, there_and_back_through_pipes);
    tcase_add_test(tcase, many_tensors);
    tcase_add_test(tcase, lone_array_gets_a_name);
    tcase_add_test(tcase, abandons);
    tcase_add_test(tcase, accepts);
    tcase_add_test(tcase, loads_an_array);
    tcase_add_test(tcase, carried_as_it_was);
    suite_add_tcase(suite, tcase);
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
