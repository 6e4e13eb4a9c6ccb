/*
 * .npy: a magic, a version, the length of a header, the header, the data. The header is the text of a Python dict, and
 * numpy evaluates it as Python. Here a scanner knows the grammar that writers use; what else Python would take - hex,
 * comments, escapes, `(4)` - is refused, so that no two readers can see different arrays in one file.
 *
 * The format: numpy/lib/format.py. How the types that numpy lacks are saved: ml_dtypes registers them with its own
 * kinds, for which numpy.save writes '<V2' (bfloat16), '<V1' (float8_e4m3fn and others) and '<f1' (float8_e5m2).
 */
#include <stdio.h>
#include <string.h>

#include "npy.h"

#define NPY_MAGIC "\x93NUMPY"
#define NPY_MAGIC_BYTES 6
#define NPY_ALIGN 64
#define NPY_HEADER_MAX 10000 /* numpy's own limit: _MAX_HEADER_SIZE */
#define NPY_PREFIX_1 10      /* bytes before the header: magic, version, u16 length; */
#define NPY_PREFIX_2 12      /* from version 2.0 on with a u32 length */
#define NPY_GROWTH 21        /* digits kept free for the first dimension: GROWTH_AXIS_MAX_DIGITS */

#define SAVE_AGAIN "save the array again with numpy.save"

static bool npy_probe(const unsigned char *head, size_t n)
{
    return n >= NPY_MAGIC_BYTES && memcmp(head, NPY_MAGIC, NPY_MAGIC_BYTES) == 0;
}

/* ---------------------------------------------------------------- the header's text */

typedef struct npy_scan {
    const char *text;
    size_t length, at;
    uint64_t start; /* of the text in the file */
    bool python2;   /* 4L is a number: Python 2 wrote that, and version 3.0 is younger */
} npy_scan;

typedef struct npy_header {
    const char *descr; /* in the scan's text */
    size_t descr_length;
    uint64_t descr_at;
    bool fortran;
    uint64_t shape_at;
    int rank;
    size_t shape[S24_MAX_RANK];
} npy_header;

/* A piece of the file fit for a message: short, printable, one line. */
typedef struct npy_quoted {
    char text[44];
} npy_quoted;

static npy_quoted quote(const char *text, size_t n)
{
    npy_quoted q = {0};
    const size_t shown = n < 40 ? n : 40;
    for (size_t i = 0; i < shown; i++) {
        q.text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    memcpy(q.text + shown, "...", n > shown ? 3 : 0);
    return q;
}

static uint64_t here(const npy_scan *s)
{
    return s->start + s->at;
}

/* strchr alone would find the NUL, which a damaged header may hold. */
static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static void skip_space(npy_scan *s)
{
    while (s->at < s->length && is_one_of(s->text[s->at], " \t\n\r\f")) {
        s->at++;
    }
}

static bool take(npy_scan *s, char c)
{
    skip_space(s);
    if (s->at == s->length || s->text[s->at] != c) {
        return false;
    }
    s->at++;
    return true;
}

static bool take_word(npy_scan *s, const char *word)
{
    const size_t n = strlen(word);
    skip_space(s);
    if (s->length - s->at < n || memcmp(s->text + s->at, word, n) != 0) {
        return false;
    }
    s->at += n;
    return true;
}

/* The error of text that is not the grammar's. */
static s24_status expected(npy_scan *s, const char *what, s24_error *err)
{
    skip_space(s);
    if (s->at == s->length) {
        return s24_fail_at(err, here(s), "the header ends where %s should be; " SAVE_AGAIN, what);
    }
    return s24_fail_at(err, here(s), "the header has \"%s\" where %s should be; " SAVE_AGAIN,
                       quote(s->text + s->at, 1).text, what);
}

static s24_status scan_string(npy_scan *s, const char **text, size_t *n, s24_error *err)
{
    skip_space(s);
    const char *p = s->text + s->at;
    s->at += s->length - s->at > 1 && is_one_of(p[0], "uU") && is_one_of(p[1], "'\"");
    const char mark = take(s, '\'') ? '\'' : take(s, '"') ? '"' : 0;
    if (!mark) {
        return expected(s, "a quoted string", err);
    }
    const size_t first = s->at;
    for (; s->at < s->length && s->text[s->at] != mark; s->at++) {
        if (s->text[s->at] == '\\' || (unsigned char)s->text[s->at] < ' ') {
            return s24_fail_at(err, here(s), "a string of the header has an escape or control character; " SAVE_AGAIN);
        }
    }
    if (s->at == s->length) {
        return s24_fail_at(err, s->start + first, "a string of the header does not end; " SAVE_AGAIN);
    }
    *text = s->text + first;
    *n = s->at++ - first;
    return S24_OK;
}

static s24_status scan_descr(npy_scan *s, npy_header *h, s24_error *err)
{
    skip_space(s);
    h->descr_at = here(s);
    if (take(s, '[') || take(s, '(')) {
        return s24_fail_at(err, h->descr_at, "holds a structured dtype (records), not weights; save one field of it as "
                           "a float array");
    }
    return scan_string(s, &h->descr, &h->descr_length, err);
}

static s24_status scan_order(npy_scan *s, npy_header *h, s24_error *err)
{
    h->fortran = take_word(s, "True");
    return h->fortran || take_word(s, "False") ? S24_OK : expected(s, "True or False", err);
}

static bool is_digit(const npy_scan *s)
{
    return s->at < s->length && s->text[s->at] >= '0' && s->text[s->at] <= '9';
}

static s24_status scan_dimension(npy_scan *s, size_t *value, s24_error *err)
{
    skip_space(s);
    const size_t first = s->at;
    bool fits = true;
    if (take(s, '-')) {
        return s24_fail_at(err, s->start + first, "a dimension of the shape is negative; " SAVE_AGAIN);
    }
    for (*value = 0; is_digit(s); s->at++) {
        fits = fits && s24_mul(*value, 10, value) && s24_add(*value, (size_t)(s->text[s->at] - '0'), value);
    }
    if (s->at == first) {
        return expected(s, "a dimension of the shape", err);
    }
    if (s->text[first] == '0' && s->at > first + 1) {
        return s24_fail_at(err, s->start + first, "a dimension of the shape begins with 0; " SAVE_AGAIN);
    }
    if (!fits) {
        return s24_fail_at(err, s->start + first, "a dimension of the shape is beyond 2^63 - 1; " SAVE_AGAIN);
    }
    if (s->at < s->length && s->text[s->at] == 'L') {
        if (!s->python2) {
            return s24_fail_at(err, here(s), "a dimension has Python 2's L, which version 3.0 forbids; " SAVE_AGAIN);
        }
        s->at++;
    }
    return S24_OK;
}

static s24_status scan_shape(npy_scan *s, npy_header *h, s24_error *err)
{
    skip_space(s);
    h->shape_at = here(s);
    bool comma = true;
    if (!take(s, '(')) {
        return s24_fail_at(err, h->shape_at, "the shape is not a tuple such as (3, 4); " SAVE_AGAIN);
    }
    while (!take(s, ')')) {
        if (!comma) {
            return expected(s, "',' or ')'", err);
        }
        if (h->rank == S24_MAX_RANK) {
            return s24_fail_at(err, h->shape_at, "the shape has more than %d dimensions; reshape the array",
                               S24_MAX_RANK);
        }
        const s24_status status = scan_dimension(s, &h->shape[h->rank], err);
        if (status != S24_OK) {
            return status;
        }
        h->rank++;
        comma = take(s, ',');
    }
    if (h->rank == 1 && !comma) {
        return s24_fail_at(err, h->shape_at, "the shape is a number in parentheses, not a tuple (4,); " SAVE_AGAIN);
    }
    return S24_OK;
}

static const struct {
    const char *key;
    s24_status (*scan)(npy_scan *s, npy_header *h, s24_error *err);
} npy_keys[] = {{"descr", scan_descr}, {"fortran_order", scan_order}, {"shape", scan_shape}};

#define NPY_KEYS (sizeof npy_keys / sizeof npy_keys[0])

static s24_status scan_member(npy_scan *s, npy_header *h, bool seen[NPY_KEYS], s24_error *err)
{
    const char *key;
    size_t n, i = 0;
    skip_space(s);
    const uint64_t start = here(s);
    const s24_status status = scan_string(s, &key, &n, err);
    if (status != S24_OK) {
        return status;
    }
    while (i < NPY_KEYS && (strlen(npy_keys[i].key) != n || memcmp(npy_keys[i].key, key, n) != 0)) {
        i++;
    }
    if (i == NPY_KEYS) {
        return s24_fail_at(err, start, "the header has an unknown key \"%s\"; " SAVE_AGAIN, quote(key, n).text);
    }
    if (seen[i]) {
        return s24_fail_at(err, start, "the header has \"%s\" twice; " SAVE_AGAIN, npy_keys[i].key);
    }
    seen[i] = true;
    return take(s, ':') ? npy_keys[i].scan(s, h, err) : expected(s, "':'", err);
}

static s24_status scan_header(npy_scan *s, npy_header *h, s24_error *err)
{
    bool seen[NPY_KEYS] = {false}, comma = true;
    if (s->length == 0 || s->text[s->at++] != '{') {
        return s24_fail_at(err, s->start, "the header does not begin with '{'; " SAVE_AGAIN);
    }
    while (!take(s, '}')) {
        if (!comma) {
            return expected(s, "',' or '}'", err);
        }
        const s24_status status = scan_member(s, h, seen, err);
        if (status != S24_OK) {
            return status;
        }
        comma = take(s, ',');
    }
    for (size_t i = 0; i < NPY_KEYS; i++) {
        if (!seen[i]) {
            return s24_fail_at(err, s->start, "the header has no \"%s\"; " SAVE_AGAIN, npy_keys[i].key);
        }
    }
    skip_space(s);
    return s->at == s->length ? S24_OK : expected(s, "its end", err);
}

/* ---------------------------------------------------------------- the element type */

/* numpy.dtype takes these for a descr, and writers use them for types whose code tells nothing. */
static const struct {
    const char *name;
    s24_dtype dtype;
} npy_names[] = {
    {"float64", S24_F64}, {"float32", S24_F32}, {"float16", S24_F16}, {"int8", S24_I8}, {"bfloat16", S24_BF16},
    {"float8_e4m3fn", S24_F8E4M3}, {"float8_e5m2", S24_F8E5M2},
};

/* Beginnings of codes, without the byte order. "f1" itself has been found before: f10, f12 and f16 remain. */
static const struct {
    const char *code, *what, *advice;
} npy_refused[] = {
    {"O", "Python objects (a pickle)", "load it with numpy (allow_pickle=True) and save a float array"},
    {"i", "integers", "convert them with a.astype('float32'); float bits kept in integers are read with --from raw"},
    {"u", "integers", "convert them with a.astype('float32'); float bits kept in integers are read with --from raw"},
    {"b1", "booleans", "convert them with a.astype('float32')"},
    {"?", "booleans", "convert them with a.astype('float32')"},
    {"f1", "long doubles", "convert them with a.astype('float64')"},
    {"c", "complex numbers", "save a.real and a.imag as float arrays"},
    {"S", "byte strings", "save a float array"},
    {"a", "byte strings", "save a float array"},
    {"U", "text", "save a float array"},
    {"M", "dates", "save a float array"},
    {"m", "time spans", "save a float array"},
    {"V", "raw bytes (void)", "save a float array"},
};

static s24_status refuse_descr(const npy_header *h, const char *code, s24_error *err)
{
    const npy_quoted descr = quote(h->descr, h->descr_length);
    for (size_t i = 0; i < sizeof npy_refused / sizeof npy_refused[0]; i++) {
        const size_t n = strlen(npy_refused[i].code);
        if (strncmp(code, npy_refused[i].code, n) == 0) {
            const char after = code[n + strspn(code + n, "0123456789")];
            if (after == 0 || after == '[') {
                return s24_fail_at(err, h->descr_at, "holds %s (descr \"%s\"), not weights; %s", npy_refused[i].what,
                                   descr.text, npy_refused[i].advice);
            }
        }
    }
    return s24_fail_at(err, h->descr_at, "the descr \"%s\" is no dtype that s24 knows; save f2, f4, f8 or i1, or bf16 "
                       "or an 8-bit float of ml_dtypes", descr.text);
}

static bool find_name(const char *name, s24_dtype *dtype)
{
    for (size_t i = 0; i < sizeof npy_names / sizeof npy_names[0]; i++) {
        if (strcmp(name, npy_names[i].name) == 0) {
            *dtype = npy_names[i].dtype;
            return true;
        }
    }
    return false;
}

static bool find_code(const char *code, bool carried, s24_dtype *dtype)
{
    for (int d = S24_F64; d < S24_DTYPES; d++) {
        const s24_dtype_info *info = s24_info((s24_dtype)d);
        if ((carried || s24_dtype_prunable(info->id)) && info->npy_type && strcmp(code, info->npy_type) == 0) {
            *dtype = info->id;
            return true;
        }
    }
    return false;
}

/* 8-bit floats by code: V1 is any of ml_dtypes' one-byte types, and f1 is e5m2 by its habit alone. */
static s24_status say_which(const npy_header *h, const s24_read_options *options, s24_dtype *dtype, s24_error *err)
{
    const npy_quoted descr = quote(h->descr, h->descr_length);
    if (!options->has_dtype) {
        return s24_fail_at(err, h->descr_at, "the descr \"%s\" is an 8-bit float and does not say which; add "
                           "--raw-dtype f8e4m3 or --raw-dtype f8e5m2", descr.text);
    }
    if (options->dtype != S24_F8E4M3 && options->dtype != S24_F8E5M2) {
        return s24_fail(err, S24_ERR_USAGE, "--raw-dtype %s contradicts the descr \"%s\", an 8-bit float; say f8e4m3 "
                        "or f8e5m2", s24_dtype_name(options->dtype), descr.text);
    }
    *dtype = options->dtype;
    return S24_OK;
}

#define MACHINE (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? '>' : '<')

static s24_status resolve_descr(const s24_source *source, const npy_header *h, const char *name, bool member,
                                s24_dtype *dtype, bool *big_endian, s24_error *err)
{
    char text[32] = "";
    if (h->descr_length < sizeof text) {
        memcpy(text, h->descr, h->descr_length);
    }
    const char *code = text + is_one_of(text[0], "<>=|");
    const bool named = find_name(text, dtype);
    if (!named && !find_code(code, member, dtype)) {
        return refuse_descr(h, code, err);
    }
    const s24_dtype_info *info = s24_info(*dtype);
    const s24_read_options *options = source->options;
    const char order = text[0] == '<' || text[0] == '>' ? text[0] : MACHINE;
    *big_endian = info->bytes > 1 && order == '>';
    if (!named && info->bits == 8 && s24_dtype_prunable(*dtype) && info->kind != S24_KIND_INT) {
        return say_which(h, options, dtype, err);
    }
    if (!member && options->has_dtype && options->dtype != *dtype) {
        return s24_fail(err, S24_ERR_USAGE, "--raw-dtype %s contradicts the descr \"%s\", which is %s; leave it out",
                        s24_dtype_name(options->dtype), text, info->name);
    }
    if (!named && *dtype == S24_BF16) {
        s24_io_note(source->io, "%s: %s%sdescr \"%s\" is read as bf16, which ml_dtypes saves so", source->in->name, name,
                    *name ? ": " : "", text);
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- reading */

/* What comes before the header's text: where the text lies. */
static s24_status read_prefix(s24_input *in, npy_scan *s, s24_error *err)
{
    unsigned char prefix[NPY_PREFIX_2];
    s24_status status = s24_input_read(in, 0, prefix, 8, err);
    if (status != S24_OK) {
        return status;
    }
    if (!npy_probe(prefix, sizeof prefix)) {
        return s24_fail_at(err, 0, "is not a .npy file: it does not begin with \\x93NUMPY; leave --from out to find "
                           "what it is");
    }
    const unsigned major = prefix[6], minor = prefix[7];
    if (major < 1 || major > 3 || minor != 0) {
        return s24_fail_at(err, 6, "version %u.%u of the .npy format is not known; " SAVE_AGAIN, major, minor);
    }
    s->start = major == 1 ? NPY_PREFIX_1 : NPY_PREFIX_2;
    s->python2 = major < 3;
    status = s24_input_read(in, 8, prefix + 8, s->start - 8, err);
    for (size_t i = s->start; status == S24_OK && i-- > 8;) {
        s->length = s->length << 8 | prefix[i];
    }
    if (status == S24_OK && s->length > NPY_HEADER_MAX) {
        return s24_fail_at(err, 8, "the header has %zu bytes, and numpy reads %d at most; " SAVE_AGAIN, s->length,
                           NPY_HEADER_MAX);
    }
    return status;
}

static s24_status check_size(uint64_t size, uint64_t start, const npy_header *h, s24_dtype dtype, s24_error *err)
{
    uint64_t bytes;
    if (s24_dense_bytes(dtype, h->rank, h->shape, &bytes, NULL) != S24_OK) {
        return s24_fail_at(err, h->shape_at, "the shape has more elements than can be addressed; " SAVE_AGAIN);
    }
    if (size == S24_UNKNOWN) {
        return S24_OK;
    }
    const uint64_t have = size - start;
    if (have < bytes) {
        return s24_fail_at(err, size, "truncated: %llu byte%s of data, and the header's shape and dtype need %llu; "
                           "copy the file again", (unsigned long long)have, s24_plural(have), (unsigned long long)bytes);
    }
    if (have > bytes) {
        return s24_fail_at(err, start + bytes, "%llu byte%s too many after the %llu that the header's shape and dtype "
                           "need; " SAVE_AGAIN, (unsigned long long)(have - bytes), s24_plural(have - bytes),
                           (unsigned long long)bytes);
    }
    return S24_OK;
}

s24_status s24_npy_open(s24_source *source, s24_input *in, uint64_t size, const char *name, bool member,
                        s24_error *err)
{
    char text[NPY_HEADER_MAX];
    npy_scan scan = {.text = text};
    npy_header header = {0};
    s24_dtype dtype = S24_F32;
    bool big_endian = false;
    s24_status status = read_prefix(in, &scan, err);
    status = status == S24_OK ? s24_input_read(in, scan.start, text, scan.length, err) : status;
    status = status == S24_OK ? scan_header(&scan, &header, err) : status;
    status = status == S24_OK ? resolve_descr(source, &header, name, member, &dtype, &big_endian, err) : status;
    status = status == S24_OK ? check_size(size, scan.start + scan.length, &header, dtype, err) : status;
    if (status != S24_OK) {
        return status;
    }
    s24_entry *entry = s24_contents_add(&source->contents, name, dtype, header.rank, header.shape, err);
    if (!entry) {
        return S24_ERR_SYSTEM; /* all else that can be wrong with it has been checked */
    }
    entry->offset = scan.start + scan.length;
    entry->fortran = header.fortran;
    entry->big_endian = big_endian;
    return S24_OK;
}

static s24_status npy_open(s24_source *source, s24_error *err)
{
    return s24_npy_open(source, source->in, source->in->size, "", false, err);
}

/* ---------------------------------------------------------------- writing */

static s24_status npy_accepts(const s24_entry *entry, s24_error *err)
{
    if (!s24_dtype_prunable(entry->dtype)) { /* all of which have a descr */
        return s24_fail(err, S24_ERR_DATA, "%s is not written to .npy, only floats and i8 are; write .safetensors",
                        s24_dtype_name(entry->dtype));
    }
    return S24_OK;
}

/* So version 1.0 is enough. */
_Static_assert(S24_NPY_HEADER_BYTES < NPY_HEADER_MAX, "what is written can be read");
_Static_assert(S24_NPY_HEADER_BYTES >= 200 + S24_MAX_RANK * 21 + NPY_GROWTH + NPY_ALIGN, "the longest header fits");

/* With the blanks for growth, and with 64 of padding where none is needed, as numpy.save has them. */
size_t s24_npy_header(const s24_entry *entry, char text[S24_NPY_HEADER_BYTES])
{
    const size_t room = S24_NPY_HEADER_BYTES;
    const s24_dtype_info *info = s24_info(entry->dtype);
    /* numpy's own types of one byte have no order; those that it lacks do. */
    const bool orderless = info->bytes == 1 && (info->kind == S24_KIND_INT || info->kind == S24_KIND_OPAQUE);
    memcpy(text, NPY_MAGIC "\x01", 8);
    size_t n = NPY_PREFIX_1;
    n += (size_t)snprintf(text + n, room - n, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                          orderless ? '|' : '<', info->npy_type);
    size_t growth = 0;
    for (int d = 0; d < entry->rank; d++) {
        const int digits = snprintf(text + n, room - n, "%zu", entry->shape[d]);
        growth = d == 0 ? NPY_GROWTH - (size_t)digits : growth;
        n += (size_t)digits;
        const char *after = entry->rank == 1 ? "," : d + 1 < entry->rank ? ", " : "";
        n += (size_t)snprintf(text + n, room - n, "%s", after);
    }
    n += (size_t)snprintf(text + n, room - n, "), }");
    const size_t least = n + growth + 1;
    const size_t total = least + NPY_ALIGN - least % NPY_ALIGN;
    memset(text + n, ' ', total - 1 - n);
    text[total - 1] = '\n';
    text[8] = (char)((total - NPY_PREFIX_1) & 0xff);
    text[9] = (char)((total - NPY_PREFIX_1) >> 8);
    return total;
}

static s24_status npy_create(s24_sink *sink, s24_error *err)
{
    s24_entry *entry = &sink->contents.entries[0];
    char text[S24_NPY_HEADER_BYTES];
    entry->offset = s24_npy_header(entry, text);
    return s24_output_write(sink->out, 0, text, (size_t)entry->offset, err);
}

const s24_format s24_format_npy = {
    .name = "npy",
    .suffixes = ".npy",
    .max_tensors = 1,
    .probe = npy_probe,
    .open = npy_open,
    .accepts = npy_accepts,
    .create = npy_create,
};
