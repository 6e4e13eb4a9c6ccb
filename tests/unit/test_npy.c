/* .npy: headers that numpy writes or reads, headers that it must not be given, and writing byte for byte like numpy. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"

#define ROWS(table) ((int)(sizeof (table) / sizeof (table)[0]))

static char noted[512];

static void note(void *user, const char *message)
{
    (void)user;
    snprintf(noted, sizeof noted, "%s", message);
}

static const s24_io io = {.note = note, .no_sync = true};

/* ---------------------------------------------------------------- files in memory */

typedef struct file {
    unsigned char bytes[16384];
    size_t n;
} file;

/* A file of that version and header, followed by `data` bytes. */
static file npy_file(unsigned major, unsigned minor, const char *header, size_t data)
{
    file f = {.n = major == 1 ? 10 : 12};
    const size_t length = strlen(header);
    memcpy(f.bytes, "\x93NUMPY", 6);
    f.bytes[6] = (unsigned char)major;
    f.bytes[7] = (unsigned char)minor;
    for (size_t i = 8; i < f.n; i++) {
        f.bytes[i] = (unsigned char)(length >> 8 * (i - 8));
    }
    ck_assert_uint_le(f.n + length + data, sizeof f.bytes);
    memcpy(f.bytes + f.n, header, length);
    memset(f.bytes + f.n + length, 1, data);
    f.n += length + data;
    return f;
}

static s24_status open_bytes(s24_source *source, const void *bytes, size_t n, const s24_read_options *options,
                             s24_error *err)
{
    void *copy = malloc(n ? n : 1); /* exactly n, so that a sanitizer sees what is read beyond */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, n);
    *source = (s24_source){.format = &s24_format_npy, .options = options, .io = &io};
    noted[0] = 0;
    ck_assert_int_eq(s24_input_memory(&source->in, &io, "w.npy", copy, n, err), S24_OK);
    return s24_format_npy.open(source, err);
}

static void close_source(s24_source *source)
{
    s24_contents_free(&source->contents);
    s24_input_close(source->in);
}

static void check_message(const s24_error *err, const char *piece)
{
    ck_assert_msg(strstr(err->message, piece) != NULL, "\"%s\" lacks \"%s\"", err->message, piece);
    ck_assert_ptr_null(strchr(err->message, '\n'));
}

/* ---------------------------------------------------------------- good headers */

#define GOOD(descr) "{'descr': " descr ", 'fortran_order': False, 'shape': (2, 3), }\n"

static const struct good {
    unsigned major;
    const char *header;
    s24_dtype said; /* S24_SAME: nothing said */
    s24_dtype dtype;
    int rank;
    size_t shape[4];
    bool fortran, big_endian;
    const char *note;
} good[] = {
    {1, GOOD("'<f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<f4'"), S24_F32, S24_F32, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<f8'"), S24_SAME, S24_F64, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<f2'"), S24_SAME, S24_F16, 2, {2, 3}, false, false, ""},
    {1, GOOD("'>f8'"), S24_SAME, S24_F64, 2, {2, 3}, false, true, ""},
    {1, GOOD("'>f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, true, ""},
    {1, GOOD("'>f2'"), S24_SAME, S24_F16, 2, {2, 3}, false, true, ""},
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    {1, GOOD("'=f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, false, ""},
    {1, GOOD("'|f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, false, ""},
    {1, GOOD("'f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, false, ""},
    {1, GOOD("'float16'"), S24_SAME, S24_F16, 2, {2, 3}, false, false, ""},
    {1, GOOD("'|V2'"), S24_BF16, S24_BF16, 2, {2, 3}, false, false, "w.npy: descr \"|V2\" is read as bf16"},
    {1, GOOD("'bfloat16'"), S24_SAME, S24_BF16, 2, {2, 3}, false, false, ""},
#endif
    {1, GOOD("'|i1'"), S24_SAME, S24_I8, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<i1'"), S24_SAME, S24_I8, 2, {2, 3}, false, false, ""},
    {1, GOOD("'>i1'"), S24_SAME, S24_I8, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<V2'"), S24_SAME, S24_BF16, 2, {2, 3}, false, false, "w.npy: descr \"<V2\" is read as bf16"},
    {1, GOOD("'>V2'"), S24_SAME, S24_BF16, 2, {2, 3}, false, true, "read as bf16"},
    {1, GOOD("'<f1'"), S24_F8E5M2, S24_F8E5M2, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<f1'"), S24_F8E4M3, S24_F8E4M3, 2, {2, 3}, false, false, ""},
    {1, GOOD("'|V1'"), S24_F8E4M3, S24_F8E4M3, 2, {2, 3}, false, false, ""},
    {1, GOOD("'<V1'"), S24_F8E5M2, S24_F8E5M2, 2, {2, 3}, false, false, ""},
    {1, GOOD("'float8_e4m3fn'"), S24_SAME, S24_F8E4M3, 2, {2, 3}, false, false, ""},
    {1, GOOD("'float8_e5m2'"), S24_F8E5M2, S24_F8E5M2, 2, {2, 3}, false, false, ""},
    {2, GOOD("'<f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, false, ""},
    {3, GOOD("'<f4'"), S24_SAME, S24_F32, 2, {2, 3}, false, false, ""},
    /* the dict's grammar */
    {1, "{'shape':(2,3),'fortran_order':True,'descr':'<f4'}", S24_SAME, S24_F32, 2, {2, 3}, true, false, ""},
    {1, "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (4,)}", S24_SAME, S24_F32, 1, {4}, false, false, ""},
    {1, "{u'descr': u'<f4', U\"fortran_order\": False, u'shape': (2, 3,)}  ", S24_SAME, S24_F32, 2, {2, 3}, false,
     false, ""},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4L,), }\n", S24_SAME, S24_F32, 1, {4}, false, false, ""},
    {2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }\n", S24_SAME, S24_F32, 2, {2, 3}, false, false,
     ""},
    {1, "{\t'descr'\n:\r'<f4' ,\f'fortran_order' : False , 'shape' : ( 2 , 3 ) } \t\f\r\n\n", S24_SAME, S24_F32, 2,
     {2, 3}, false, false, ""},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", S24_SAME, S24_F32, 0, {0}, false, false, ""},
    {1, "{'descr': '<f4', 'fortran_order': True, 'shape': ( ), }", S24_SAME, S24_F32, 0, {0}, true, false, ""},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", S24_SAME, S24_F32, 1, {0}, false, false, ""},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0, 4), }", S24_SAME, S24_F32, 3, {3, 0, 4}, false, false,
     ""},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807), }", S24_SAME, S24_F32, 2,
     {0, INT64_MAX}, false, false, ""},
};

static size_t good_bytes(const struct good *g)
{
    size_t n = s24_dtype_bits(g->dtype) / 8;
    for (int d = 0; d < g->rank; d++) {
        n *= g->shape[d];
    }
    return n;
}

static s24_read_options options_of(s24_dtype said)
{
    return (s24_read_options){.has_dtype = said != S24_SAME, .dtype = said};
}

START_TEST(reads_good_headers)
{
    const struct good *g = &good[_i];
    const file f = npy_file(g->major, 0, g->header, good_bytes(g));
    const s24_read_options options = options_of(g->said);
    s24_source source;
    s24_error err = {0};
    const s24_status status = open_bytes(&source, f.bytes, f.n, &options, &err);
    ck_assert_msg(status == S24_OK, "%s: %s", g->header, err.message);
    ck_assert_uint_eq(source.contents.count, 1);
    const s24_entry *e = &source.contents.entries[0];
    ck_assert_str_eq(e->name, "");
    ck_assert_int_eq(e->dtype, g->dtype);
    ck_assert_int_eq(e->rank, g->rank);
    for (int d = 0; d < g->rank; d++) {
        ck_assert_uint_eq(e->shape[d], g->shape[d]);
    }
    ck_assert_uint_eq(e->bytes, good_bytes(g));
    ck_assert_uint_eq(e->offset, f.n - good_bytes(g));
    ck_assert_int_eq(e->fortran, g->fortran);
    ck_assert_int_eq(e->big_endian, g->big_endian);
    ck_assert_msg(g->note[0] ? strstr(noted, g->note) != NULL : noted[0] == 0, "noted: %s", noted);
    close_source(&source);
}
END_TEST

START_TEST(every_truncation_is_an_error)
{
    const struct good *g = &good[_i];
    const file f = npy_file(g->major, 0, g->header, good_bytes(g));
    const s24_read_options options = options_of(g->said);
    for (size_t n = 0; n < f.n; n++) {
        s24_source source;
        s24_error err = {0};
        ck_assert_int_eq(open_bytes(&source, f.bytes, n, &options, &err), S24_ERR_DATA);
        check_message(&err, "truncated");
        ck_assert_uint_eq(err.offset, n);
        ck_assert_uint_eq(source.contents.count, 0);
        close_source(&source);
    }
}
END_TEST

START_TEST(trailing_bytes_are_an_error)
{
    const struct good *g = &good[_i];
    const file f = npy_file(g->major, 0, g->header, good_bytes(g) + 3);
    const s24_read_options options = options_of(g->said);
    s24_source source;
    s24_error err = {0};
    ck_assert_int_eq(open_bytes(&source, f.bytes, f.n, &options, &err), S24_ERR_DATA);
    check_message(&err, "3 bytes too many");
    ck_assert_uint_eq(err.offset, f.n - 3);
    close_source(&source);
}
END_TEST

START_TEST(truncation_tells_both_sizes)
{
    const file f = npy_file(1, 0, GOOD("'<f4'"), 23);
    s24_source source;
    s24_error err = {0};
    const s24_read_options options = {0};
    ck_assert_int_eq(open_bytes(&source, f.bytes, f.n, &options, &err), S24_ERR_DATA);
    check_message(&err, "23 bytes of data");
    check_message(&err, "need 24");
    close_source(&source);
}
END_TEST

/* ---------------------------------------------------------------- bad headers */

#define SHAPE(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }\n"
#define X8 "1,1,1,1,1,1,1,1,"

/* `at`: a piece of the header at which the error's offset points; NULL: no offset. */
static const struct bad {
    unsigned major;
    const char *header;
    s24_dtype said;
    s24_status status;
    const char *piece, *at;
} bad[] = {
    /* the dict */
    {1, "", S24_SAME, S24_ERR_DATA, "does not begin with '{'", ""},
    {1, "\n", S24_SAME, S24_ERR_DATA, "does not begin with '{'", "\n"},
    {1, " " SHAPE("(2,3)"), S24_SAME, S24_ERR_DATA, "does not begin with '{'", " {"},
    {1, "[" SHAPE("(2,3)") "]", S24_SAME, S24_ERR_DATA, "does not begin with '{'", "["},
    {1, "{}", S24_SAME, S24_ERR_DATA, "no \"descr\"", "{"},
    {1, "{u", S24_SAME, S24_ERR_DATA, "has \"u\" where a quoted string", "u"},
    {1, "{,}", S24_SAME, S24_ERR_DATA, "has \",\" where a quoted string", ","},
    {1, "{'descr': '<f4', 'fortran_order': False}", S24_SAME, S24_ERR_DATA, "no \"shape\"", "{"},
    {1, "{'descr': '<f4', 'shape': (2,3)}", S24_SAME, S24_ERR_DATA, "no \"fortran_order\"", "{"},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3), 'x\n", S24_SAME, S24_ERR_DATA, "control character",
     "\n"},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3), 'x", S24_SAME, S24_ERR_DATA, "does not end", "x"},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3)", S24_SAME, S24_ERR_DATA, "ends where ',' or '}'", ""},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3), 'x': 1}", S24_SAME, S24_ERR_DATA, "unknown key \"x\"",
     "'x'"},
    {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,3), 'shape': (2,3)}", S24_SAME, S24_ERR_DATA,
     "\"shape\" twice", "'shape': (2,3)}"},
    {1, "{'desc\xc3\xa9r': '<f4'}", S24_SAME, S24_ERR_DATA, "unknown key \"desc??r\"", "'desc"},
    {1, "{'descr0000000000000000000000000000000000000000000': 1}", S24_SAME, S24_ERR_DATA, "0000...\"", "'descr"},
    {1, "{'des' 'cr': '<f4'}", S24_SAME, S24_ERR_DATA, "unknown key \"des\"", "'des'"},
    {1, "{'descr' '<f4'}", S24_SAME, S24_ERR_DATA, "has \"'\" where ':'", "'<f4'"},
    {1, "{'descr': '<f4' 'fortran_order': False}", S24_SAME, S24_ERR_DATA, "where ',' or '}' should be",
     "'fortran_order'"},
    {1, "{'descr': '<f4',, 'fortran_order': False}", S24_SAME, S24_ERR_DATA, "has \",\" where a quoted string",
     ", 'fortran_order'"},
    {1, "{descr: '<f4'}", S24_SAME, S24_ERR_DATA, "has \"d\" where a quoted string", "descr"},
    {1, "{b'descr': '<f4'}", S24_SAME, S24_ERR_DATA, "has \"b\" where a quoted string", "b'descr'"},
    {1, "{'\\x64escr': '<f4'}", S24_SAME, S24_ERR_DATA, "escape", "\\x64"},
    {1, "{'descr': r'<f4'}", S24_SAME, S24_ERR_DATA, "has \"r\" where a quoted string", "r'<f4'"},
    {1, "{'descr': u '<f4'}", S24_SAME, S24_ERR_DATA, "has \"u\" where a quoted string", "u '<f4'"},
    {1, "{'descr': '''<f4'''}", S24_SAME, S24_ERR_DATA, "has \"'\" where ',' or '}'", "'<f4"},
    {1, "{'descr': None}", S24_SAME, S24_ERR_DATA, "has \"N\" where a quoted string", "None"},
    {1, "{# comment\n'descr': '<f4'}", S24_SAME, S24_ERR_DATA, "has \"#\" where a quoted string", "#"},
    {1, SHAPE("(2,3)") "x", S24_SAME, S24_ERR_DATA, "has \"x\" where its end", "x"},
    {1, SHAPE("(2,3)") "} ", S24_SAME, S24_ERR_DATA, "has \"}\" where its end", "} "},
    {1, SHAPE("(2,3)") "# pad", S24_SAME, S24_ERR_DATA, "has \"#\" where its end", "#"},
    {1, SHAPE("(2,3)") "\v", S24_SAME, S24_ERR_DATA, "has \"?\" where its end", "\v"},
    /* fortran_order */
    {1, "{'fortran_order': 0}", S24_SAME, S24_ERR_DATA, "True or False", "0"},
    {1, "{'fortran_order': 'False'}", S24_SAME, S24_ERR_DATA, "True or False", "'False'"},
    {1, "{'fortran_order': false}", S24_SAME, S24_ERR_DATA, "True or False", "false"},
    {1, "{'fortran_order': Falsey}", S24_SAME, S24_ERR_DATA, "has \"y\" where ',' or '}'", "y}"},
    {1, "{'fortran_order': Fals", S24_SAME, S24_ERR_DATA, "True or False", "Fals"},
    /* the shape */
    {1, SHAPE("(4)"), S24_SAME, S24_ERR_DATA, "a number in parentheses", "(4)"},
    {1, SHAPE("[4]"), S24_SAME, S24_ERR_DATA, "not a tuple", "[4]"},
    {1, SHAPE("4"), S24_SAME, S24_ERR_DATA, "not a tuple", "4, }"},
    {1, SHAPE("4,"), S24_SAME, S24_ERR_DATA, "not a tuple", "4,, }"},
    {1, SHAPE("'(4,)'"), S24_SAME, S24_ERR_DATA, "not a tuple", "'(4,)'"},
    {1, SHAPE("(,)"), S24_SAME, S24_ERR_DATA, "has \",\" where a dimension", ",)"},
    {1, SHAPE("(2,,3)"), S24_SAME, S24_ERR_DATA, "has \",\" where a dimension", ",3)"},
    {1, SHAPE("(2 3)"), S24_SAME, S24_ERR_DATA, "has \"3\" where ',' or ')'", "3)"},
    {1, SHAPE("(2, 3]"), S24_SAME, S24_ERR_DATA, "has \"]\" where ',' or ')'", "]"},
    {1, SHAPE("(2, -3)"), S24_SAME, S24_ERR_DATA, "negative", "-3"},
    {1, SHAPE("(2, - 3)"), S24_SAME, S24_ERR_DATA, "negative", "- 3"},
    {1, SHAPE("(2, +3)"), S24_SAME, S24_ERR_DATA, "has \"+\" where a dimension", "+3"},
    {1, SHAPE("(2, 0x3)"), S24_SAME, S24_ERR_DATA, "has \"x\" where ',' or ')'", "x3"},
    {1, SHAPE("(2, 03)"), S24_SAME, S24_ERR_DATA, "begins with 0", "03"},
    {1, SHAPE("(2, 1_0)"), S24_SAME, S24_ERR_DATA, "has \"_\" where ',' or ')'", "_0"},
    {1, SHAPE("(2, 3.0)"), S24_SAME, S24_ERR_DATA, "has \".\" where ',' or ')'", ".0"},
    {1, SHAPE("(2, 1e1)"), S24_SAME, S24_ERR_DATA, "has \"e\" where ',' or ')'", "e1"},
    {1, SHAPE("(2, True)"), S24_SAME, S24_ERR_DATA, "has \"T\" where a dimension", "True"},
    {1, SHAPE("(2, 'a')"), S24_SAME, S24_ERR_DATA, "has \"'\" where a dimension", "'a'"},
    {1, SHAPE("(2, 3LL)"), S24_SAME, S24_ERR_DATA, "has \"L\" where ',' or ')'", "L)"},
    {1, SHAPE("(2, 3 L)"), S24_SAME, S24_ERR_DATA, "has \"L\" where ',' or ')'", "L)"},
    {1, SHAPE("(2, 3l)"), S24_SAME, S24_ERR_DATA, "has \"l\" where ',' or ')'", "l)"},
    {3, SHAPE("(2L, 3L)"), S24_SAME, S24_ERR_DATA, "Python 2's L", "L, 3L"},
    {1, SHAPE("(9223372036854775808,)"), S24_SAME, S24_ERR_DATA, "beyond 2^63 - 1", "9223"},
    {1, SHAPE("(18446744073709551617,)"), S24_SAME, S24_ERR_DATA, "beyond 2^63 - 1", "1844"},
    /* A product of it wraps, and what follows would fit again. */
    {1, SHAPE("(187876131233047068208,)"), S24_SAME, S24_ERR_DATA, "beyond 2^63 - 1", "1878"},
    {1, SHAPE("(99999999999999999999999999,)"), S24_SAME, S24_ERR_DATA, "beyond 2^63 - 1", "9999"},
    {1, SHAPE("(4294967296, 4294967296)"), S24_SAME, S24_ERR_DATA, "more elements than can be addressed", "(42"},
    {1, SHAPE("(9223372036854775807,)"), S24_SAME, S24_ERR_DATA, "more elements than can be addressed", "(92"},
    {1, SHAPE("(" X8 X8 X8 X8 X8 X8 X8 X8 "1)"), S24_SAME, S24_ERR_DATA, "more than 64 dimensions", "(1,"},
    {1, "{'shape': (2, 3", S24_SAME, S24_ERR_DATA, "ends where ',' or ')'", ""},
    {1, "{'shape': (2,", S24_SAME, S24_ERR_DATA, "ends where a dimension", ""},
    /* the dtype */
    {1, GOOD("'|O'"), S24_SAME, S24_ERR_DATA, "holds Python objects (a pickle)", "'|O'"},
    {1, GOOD("'|O8'"), S24_SAME, S24_ERR_DATA, "holds Python objects (a pickle)", "'|O8'"},
    {1, GOOD("'<i8'"), S24_SAME, S24_ERR_DATA, "holds integers (descr \"<i8\"), not weights", "'<i8'"},
    {1, GOOD("'<i2'"), S24_SAME, S24_ERR_DATA, "holds integers", "'<i2'"},
    {1, GOOD("'<i16'"), S24_SAME, S24_ERR_DATA, "holds integers", "'<i16'"},
    {1, GOOD("'|u1'"), S24_SAME, S24_ERR_DATA, "holds integers", "'|u1'"},
    {1, GOOD("'|b1'"), S24_SAME, S24_ERR_DATA, "holds booleans", "'|b1'"},
    {1, GOOD("'?'"), S24_SAME, S24_ERR_DATA, "holds booleans", "'?'"},
    {1, GOOD("'<c8'"), S24_SAME, S24_ERR_DATA, "holds complex numbers", "'<c8'"},
    {1, GOOD("'<f16'"), S24_SAME, S24_ERR_DATA, "holds long doubles", "'<f16'"},
    {1, GOOD("'<f12'"), S24_SAME, S24_ERR_DATA, "a.astype('float64')", "'<f12'"},
    {1, GOOD("'|S10'"), S24_SAME, S24_ERR_DATA, "holds byte strings", "'|S10'"},
    {1, GOOD("'|a3'"), S24_SAME, S24_ERR_DATA, "holds byte strings", "'|a3'"},
    {1, GOOD("'<U5'"), S24_SAME, S24_ERR_DATA, "holds text", "'<U5'"},
    {1, GOOD("'<M8[ns]'"), S24_SAME, S24_ERR_DATA, "holds dates", "'<M8[ns]'"},
    {1, GOOD("'<m8[D]'"), S24_SAME, S24_ERR_DATA, "holds time spans", "'<m8[D]'"},
    {1, GOOD("'|V4'"), S24_SAME, S24_ERR_DATA, "holds raw bytes (void)", "'|V4'"},
    {1, GOOD("[('a', '<f4')]"), S24_SAME, S24_ERR_DATA, "structured dtype", "[('a'"},
    {1, GOOD("('<f4', (2,))"), S24_SAME, S24_ERR_DATA, "structured dtype", "('<f4'"},
    {1, GOOD("'<f3'"), S24_SAME, S24_ERR_DATA, "\"<f3\" is no dtype that s24 knows", "'<f3'"},
    {1, GOOD("'<<f4'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'<<f4'"},
    {1, GOOD("'<float32'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'<float32'"},
    {1, GOOD("'<bfloat16'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'<bfloat16'"},
    {1, GOOD("'float8_e4m3fnuz'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'float8"},
    {1, GOOD("'int64'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'int64'"},
    {1, GOOD("'f4 '"), S24_SAME, S24_ERR_DATA, "is no dtype", "'f4 '"},
    {1, GOOD("''"), S24_SAME, S24_ERR_DATA, "\"\" is no dtype", "''"},
    {1, GOOD("'<'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'<'"},
    {1, GOOD("'<f4,<f4,<f4,<f4,<f4,<f4,<f4,<f4,<f4'"), S24_SAME, S24_ERR_DATA, "is no dtype", "'<f4"},
    {1, GOOD("'\xe9'"), S24_SAME, S24_ERR_DATA, "\"?\" is no dtype", "'\xe9'"},
    /* what the user said about it */
    {1, GOOD("'<f1'"), S24_SAME, S24_ERR_DATA, "--raw-dtype f8e4m3 or --raw-dtype f8e5m2", "'<f1'"},
    {1, GOOD("'|V1'"), S24_SAME, S24_ERR_DATA, "--raw-dtype f8e4m3 or --raw-dtype f8e5m2", "'|V1'"},
    {1, GOOD("'|V1'"), S24_I8, S24_ERR_USAGE, "i8 contradicts the descr \"|V1\"", NULL},
    {1, GOOD("'<f1'"), S24_F32, S24_ERR_USAGE, "f32 contradicts the descr \"<f1\"", NULL},
    {1, GOOD("'<f4'"), S24_F16, S24_ERR_USAGE, "f16 contradicts the descr \"<f4\", which is f32", NULL},
    {1, GOOD("'<V2'"), S24_F16, S24_ERR_USAGE, "f16 contradicts the descr \"<V2\", which is bf16", NULL},
    {1, GOOD("'float8_e5m2'"), S24_F8E4M3, S24_ERR_USAGE, "which is f8e5m2", NULL},
    {1, GOOD("'|i1'"), S24_F8E4M3, S24_ERR_USAGE, "which is i8", NULL},
};

START_TEST(refuses_bad_headers)
{
    const struct bad *b = &bad[_i];
    const file f = npy_file(b->major, 0, b->header, 24);
    const s24_read_options options = options_of(b->said);
    s24_source source;
    s24_error err = {0};
    const s24_status status = open_bytes(&source, f.bytes, f.n, &options, &err);
    ck_assert_msg(status == b->status, "%s: status %d, %s", b->header, (int)status, err.message);
    check_message(&err, b->piece);
    check_message(&err, "; "); /* what to do */
    if (b->at) {
        const size_t start = b->major == 1 ? 10 : 12;
        const size_t at = b->at[0] ? (size_t)(strstr(b->header, b->at) - b->header) : strlen(b->header);
        ck_assert_msg(err.offset == start + at, "%s: byte %llu, not %zu", b->header, (unsigned long long)err.offset,
                      start + at);
    } else {
        ck_assert_uint_eq(err.offset, S24_NO_OFFSET);
    }
    ck_assert_uint_eq(source.contents.count, 0);
    close_source(&source);
}
END_TEST

START_TEST(refuses_nul_in_header)
{
    file f = npy_file(1, 0, SHAPE("(2, 3)") "    ", 24);
    f.bytes[f.n - 25] = 0;
    const s24_read_options options = {0};
    s24_source source;
    s24_error err = {0};
    ck_assert_int_eq(open_bytes(&source, f.bytes, f.n, &options, &err), S24_ERR_DATA);
    check_message(&err, "has \"?\" where its end");
    close_source(&source);
}
END_TEST

START_TEST(refuses_other_versions_and_magics)
{
    static const struct {
        unsigned major, minor;
        const char *piece;
    } cases[] = {{0, 0, "version 0.0"}, {1, 1, "version 1.1"}, {4, 0, "version 4.0"}, {3, 255, "version 3.255"}};
    const s24_read_options options = {0};
    for (int i = 0; i < ROWS(cases); i++) {
        const file f = npy_file(cases[i].major, cases[i].minor, GOOD("'<f4'"), 24);
        s24_source source;
        s24_error err = {0};
        ck_assert_int_eq(open_bytes(&source, f.bytes, f.n, &options, &err), S24_ERR_DATA);
        check_message(&err, cases[i].piece);
        ck_assert_uint_eq(err.offset, 6);
        close_source(&source);
    }
    for (size_t i = 0; i < 6; i++) {
        file f = npy_file(1, 0, GOOD("'<f4'"), 24);
        f.bytes[i] ^= 1;
        s24_source source;
        s24_error err = {0};
        ck_assert_int_eq(open_bytes(&source, f.bytes, f.n, &options, &err), S24_ERR_DATA);
        check_message(&err, "is not a .npy file");
        close_source(&source);
        ck_assert(!s24_format_npy.probe(f.bytes, f.n));
        f.bytes[i] ^= 1;
        ck_assert(s24_format_npy.probe(f.bytes, 6));
        ck_assert(!s24_format_npy.probe(f.bytes, i));
    }
}
END_TEST

/* 10,000 bytes of header are read, one more is not. */
START_TEST(limits_the_header)
{
    char header[10002];
    const s24_read_options options = {0};
    for (size_t length = 10000; length <= 10001; length++) {
        memset(header, ' ', length);
        header[length] = 0;
        memcpy(header, SHAPE("(2, 3)"), strlen(SHAPE("(2, 3)")));
        for (unsigned major = 1; major <= 3; major++) {
            const file f = npy_file(major, 0, header, 24);
            s24_source source;
            s24_error err = {0};
            const s24_status status = open_bytes(&source, f.bytes, f.n, &options, &err);
            ck_assert_int_eq(status, length == 10000 ? S24_OK : S24_ERR_DATA);
            if (status != S24_OK) {
                check_message(&err, "10001 bytes");
                ck_assert_uint_eq(err.offset, 8);
            }
            close_source(&source);
        }
    }
}
END_TEST

START_TEST(reads_64_dimensions)
{
    const file f = npy_file(1, 0, SHAPE("(" X8 X8 X8 X8 X8 X8 X8 "1,1,1,1,1,1,1,5)"), 20);
    const s24_read_options options = {0};
    s24_source source;
    s24_error err = {0};
    ck_assert_int_eq(open_bytes(&source, f.bytes, f.n, &options, &err), S24_OK);
    ck_assert_int_eq(source.contents.entries[0].rank, 64);
    ck_assert_uint_eq(source.contents.entries[0].shape[63], 5);
    close_source(&source);
}
END_TEST

/* ---------------------------------------------------------------- pipes */

static s24_status open_pipe(s24_source *source, const file *f, bool peek, const s24_read_options *options,
                            s24_error *err)
{
    int ends[2];
    char path[32];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], f->bytes, f->n), (ssize_t)f->n);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    *source = (s24_source){.format = &s24_format_npy, .options = options, .io = &io};
    ck_assert_int_eq(s24_input_open(&source->in, &io, path, err), S24_OK);
    close(ends[0]);
    unsigned char head[S24_PROBE_BYTES];
    size_t got;
    if (peek) {
        ck_assert_int_eq(s24_input_peek(source->in, head, sizeof head, &got, err), S24_OK);
    }
    return s24_format_npy.open(source, err);
}

START_TEST(reads_from_a_pipe)
{
    const struct good *g = &good[_i / 2];
    const bool peek = _i % 2;
    const file f = npy_file(g->major, 0, g->header, good_bytes(g));
    const s24_read_options options = options_of(g->said);
    s24_source source;
    s24_error err = {0};
    const s24_status status = open_pipe(&source, &f, peek, &options, &err);
    ck_assert_msg(status == S24_OK, "%s: %s", g->header, err.message);
    const s24_entry *e = &source.contents.entries[0];
    unsigned char data[64];
    ck_assert_int_eq(s24_input_read(source.in, e->offset, data, e->bytes, &err), S24_OK);
    for (size_t i = 0; i < e->bytes; i++) {
        ck_assert_uint_eq(data[i], 1);
    }
    ck_assert_int_eq(s24_input_expect_end(source.in, e->offset + e->bytes, &err), S24_OK);
    close_source(&source);
}
END_TEST

START_TEST(a_pipe_that_ends_in_the_header_is_an_error)
{
    const file whole = npy_file(1, 0, GOOD("'<f4'"), 24);
    const s24_read_options options = {0};
    for (size_t n = 0; n < whole.n - 24; n++) {
        file f = whole;
        f.n = n;
        s24_source source;
        s24_error err = {0};
        ck_assert_int_eq(open_pipe(&source, &f, n % 2, &options, &err), S24_ERR_DATA);
        check_message(&err, "truncated");
        close_source(&source);
    }
}
END_TEST

/* ---------------------------------------------------------------- writing */

/*
 * What numpy.save 1.24.2 writes. The blanks end the header: some are for growth, numpy's GROWTH_AXIS_MAX_DIGITS, and
 * where the rest is a multiple of 64 already numpy adds another 64. Regenerate a row with
 *     b = io.BytesIO(); numpy.save(b, numpy.zeros((5, 7), '<f4')); print(b.getvalue()[:192])
 * The descr of bf16 and of 8-bit floats: numpy.save of an array whose dtype is registered as ml_dtypes registers it.
 */
static const struct {
    int rank;
    size_t shape[13];
    const char *text;
    int blanks;
    size_t start;
} saved[] = {
    {0, {0}, "()", 62, 128},
    {1, {0}, "(0,)", 60, 128},
    {1, {1}, "(1,)", 60, 128},
    {1, {3}, "(3,)", 60, 128},
    {2, {5, 7}, "(5, 7)", 58, 128},
    {2, {64, 130}, "(64, 130)", 55, 128},
    {4, {2, 3, 4, 5}, "(2, 3, 4, 5)", 52, 128},
    {3, {0, 1024, 1024}, "(0, 1024, 1024)", 49, 128},
    {12, {1, 1, 1, 1, 10, 10, 10, 10, 10, 10, 10, 10}, "(1, 1, 1, 1, 10, 10, 10, 10, 10, 10, 10, 10)", 84, 192},
};

static const struct {
    s24_dtype dtype;
    const char *descr;
} descrs[] = {
    {S24_F64, "<f8"}, {S24_F32, "<f4"}, {S24_F16, "<f2"}, {S24_I8, "|i1"}, {S24_BF16, "<V2"}, {S24_F8E4M3, "<V1"},
    {S24_F8E5M2, "<f1"},
};

static file written(s24_dtype dtype, int rank, const size_t *shape, uint64_t *offset)
{
    char path[] = "/tmp/test_npy-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(path));
    char name[64];
    snprintf(name, sizeof name, "%s/w.npy", path);
    s24_sink sink = {.format = &s24_format_npy, .io = &io};
    s24_error err = {0};
    ck_assert_ptr_nonnull(s24_contents_add(&sink.contents, "w", dtype, rank, shape, &err));
    ck_assert_int_eq(s24_format_npy.accepts(&sink.contents.entries[0], &err), S24_OK);
    ck_assert_int_eq(s24_output_open(&sink.out, &io, name, NULL, 0, &err), S24_OK);
    ck_assert_int_eq(s24_format_npy.create(&sink, &err), S24_OK);
    ck_assert_int_eq(s24_output_commit(sink.out, &err), S24_OK);
    *offset = sink.contents.entries[0].offset;
    s24_contents_free(&sink.contents);
    file f = {0};
    FILE *in = fopen(name, "rb");
    ck_assert_ptr_nonnull(in);
    f.n = fread(f.bytes, 1, sizeof f.bytes, in);
    fclose(in);
    unlink(name);
    rmdir(path);
    return f;
}

START_TEST(writes_what_numpy_writes)
{
    const int s = _i / ROWS(descrs), d = _i % ROWS(descrs);
    char header[512];
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }%*s\n", descrs[d].descr,
             saved[s].text, saved[s].blanks, "");
    const file want = npy_file(1, 0, header, 0);
    uint64_t offset;
    const file f = written(descrs[d].dtype, saved[s].rank, saved[s].shape, &offset);
    ck_assert_uint_eq(f.n, want.n);
    ck_assert_mem_eq(f.bytes, want.bytes, want.n);
    ck_assert_uint_eq(f.n, saved[s].start);
    ck_assert_uint_eq(offset, saved[s].start);
}
END_TEST

/* One of them in full, so that nothing above computes it. */
START_TEST(writes_this_header)
{
    static const char want[] =
        "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }                              "
        "                              \n";
    uint64_t offset;
    const file f = written(S24_F32, 1, (size_t[]){3}, &offset);
    ck_assert_uint_eq(f.n, sizeof want - 1);
    ck_assert_mem_eq(f.bytes, want, sizeof want - 1);
}
END_TEST

START_TEST(reads_what_it_writes)
{
    size_t shape[S24_MAX_RANK];
    for (int rank = 0; rank <= S24_MAX_RANK; rank++) {
        for (int d = 0; d < rank; d++) {
            shape[d] = d ? (size_t)INT64_MAX - (size_t)d : 0; /* empty, with the longest header that there can be */
        }
        uint64_t offset;
        file f = written(S24_F32, rank, shape, &offset);
        ck_assert_uint_eq(f.n, offset);
        ck_assert_uint_eq(offset % 64, 0);
        f.n += rank ? 0 : 4;
        s24_source source;
        s24_error err = {0};
        const s24_read_options options = {0};
        const s24_status status = open_bytes(&source, f.bytes, f.n, &options, &err);
        ck_assert_msg(status == S24_OK, "rank %d: %s", rank, err.message);
        const s24_entry *e = &source.contents.entries[0];
        ck_assert_int_eq(e->rank, rank);
        ck_assert_mem_eq(e->shape, shape, (size_t)rank * sizeof *shape);
        close_source(&source);
    }
}
END_TEST

START_TEST(refuses_to_write_what_is_no_weight)
{
    for (int d = 0; d < S24_DTYPES; d++) {
        const s24_entry entry = {.dtype = (s24_dtype)d};
        s24_error err = {0};
        const s24_status status = s24_format_npy.accepts(&entry, &err);
        ck_assert_int_eq(status == S24_OK, s24_dtype_prunable(entry.dtype));
        if (status != S24_OK) {
            check_message(&err, s24_dtype_name(entry.dtype));
            check_message(&err, ".safetensors");
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("npy");
    TCase *reading = tcase_create("reading"), *writing = tcase_create("writing");
    tcase_add_loop_test(reading, reads_good_headers, 0, ROWS(good));
    tcase_add_loop_test(reading, every_truncation_is_an_error, 0, ROWS(good));
    tcase_add_loop_test(reading, trailing_bytes_are_an_error, 0, ROWS(good));
    tcase_add_test(reading, truncation_tells_both_sizes);
    tcase_add_loop_test(reading, refuses_bad_headers, 0, ROWS(bad));
    tcase_add_test(reading, refuses_nul_in_header);
    tcase_add_test(reading, refuses_other_versions_and_magics);
    tcase_add_test(reading, limits_the_header);
    tcase_add_test(reading, reads_64_dimensions);
    tcase_add_loop_test(reading, reads_from_a_pipe, 0, 2 * ROWS(good));
    tcase_add_test(reading, a_pipe_that_ends_in_the_header_is_an_error);
    tcase_add_loop_test(writing, writes_what_numpy_writes, 0, ROWS(saved) * ROWS(descrs));
    tcase_add_test(writing, writes_this_header);
    tcase_add_test(writing, reads_what_it_writes);
    tcase_add_test(writing, refuses_to_write_what_is_no_weight);
    suite_add_tcase(suite, reading);
    suite_add_tcase(suite, writing);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
