/*
 * Weights as JSON text, read and written:
 *
 *     [[1, 2], [3, 4]]                                    one tensor of f64 without a name
 *     {"dtype": "f32", "shape": [2, 2], "data": [...]}    one tensor; data nested, or flat in C order
 *     {"NAME": either of these, ...}                      a model
 *
 * Reading takes the whole text: it is checked as JSON, then walked over, first for the shapes and then for the numbers, which
 * go where they belong at once. Beside the text there are 8 bytes a number; cJSON's tree would take 80, and as many for
 * each list. A text has a limit, beyond which .npy is what one wants. Writing goes element by element, in pieces. The
 * shortest digits that read back to the same bits are written.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "json_token.h"
#include "jsonx.h"

#define TEXT_LIMIT 64000000u /* 0.3 GB with its numbers, if none has more than one digit */
#define FLUSH_BYTES 65536
#define EXACT_INTEGERS 9007199254740991.0 /* 2^53 - 1: JSON numbers are f64, and 2^53 + 1 reads as 2^53 */

/*
 * A bracket, and nothing that no text has: a safetensors file begins with a binary number, whose first byte may well be
 * '[' or a blank, but zeros follow. A byte order mark is looked over, so that the parser can say that it must not be.
 */
static bool json_probe(const unsigned char *head, size_t n)
{
    size_t first = n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (first < n && memchr(" \t\n\r", head[first], 4)) {
        first++;
    }
    for (size_t i = first; i < n; i++) {
        if (head[i] < 0x20 && !memchr("\t\n\r", head[i], 3)) {
            return false;
        }
    }
    return first < n && (head[first] == '[' || head[first] == '{');
}

/* The integers that an element may be; false: its dtype is none of integers. */
static bool integer_range(const s24_dtype_info *info, double *low, double *high)
{
    const bool is_signed = info->name[0] == 'i';
    if (!is_signed && info->name[0] != 'u') {
        return false;
    }
    const double end = ldexp(1, (int)info->bits - is_signed);
    *low = is_signed ? fmax(-end, -EXACT_INTEGERS) : 0;
    *high = fmin(end - 1, EXACT_INTEGERS);
    return true;
}

/* Floats and integers are numbers; booleans, complex numbers and packed types are not. */
static bool holds(const s24_dtype_info *info)
{
    double low, high;
    return info->kind != S24_KIND_OPAQUE || integer_range(info, &low, &high);
}

/* ---------------------------------------------------------------- messages */

/* "[1,0]", or `whole` for no index at all. */
static void path_text(const size_t *path, int depth, const char *whole, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "%s", depth > 0 ? "[" : whole);
    for (int d = 0; d < depth && used < size; d++) {
        used += (size_t)snprintf(out + used, size - used, d + 1 < depth ? "%zu," : "%zu]", path[d]);
    }
}

/* ---------------------------------------------------------------- reading: a list into an array */

#define WHOLE (-1) /* for refuse: the tensor, not an element of its data */

/* Where a tensor's numbers are in the text. */
typedef struct found {
    size_t at;
    size_t length; /* of the outermost list */
    size_t most;   /* as many numbers as that much text can hold */
    bool flat;     /* one list, though the rank is not 1 */
} found;

/* A walk over one tensor's text. */
typedef struct walk {
    s24_json_walk in;
    const char *name;
    const s24_dtype_info *info;
    int rank;
    const size_t *shape;
    size_t path[S24_MAX_RANK];
    unsigned char *out; /* NULL: only to see what is wrong */
    size_t done;
    s24_error *err;
} walk;

static s24_status refuse(const walk *w, int depth, const char *format, ...) S24_PRINTF(3, 4);

static s24_status refuse(const walk *w, int depth, const char *format, ...)
{
    char name[120], path[100], cause[200];
    va_list args;
    va_start(args, format);
    vsnprintf(cause, sizeof cause, format, args);
    va_end(args);
    s24_text_shorten(w->name, name, sizeof name);
    path_text(w->path, depth, depth == WHOLE ? "the tensor" : "the data", path, sizeof path);
    return s24_fail(w->err, S24_ERR_DATA, "%s%s%s %s", name, *name ? ": " : "", path, cause);
}

/* What the value is that begins with this character. */
static const char *kind_of(char first)
{
    static const struct {
        char first;
        const char *name;
    } kinds[] = {
        {'f', "a boolean"}, {'t', "a boolean"}, {'n', "null"}, {'"', "a string"}, {'[', "a list"}, {'{', "an object"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (first == kinds[i].first) {
            return kinds[i].name;
        }
    }
    return "a number";
}

static s24_status take_number(walk *w)
{
    double low, high;
    bool overflow = false;
    uint64_t bits;
    if (!s24_json_number_next(&w->in)) {
        return refuse(w, w->rank, "is %s where a number is expected", kind_of(s24_json_look(&w->in)));
    }
    const double x = s24_json_take_number(&w->in);
    if (integer_range(w->info, &low, &high)) {
        if (floor(x) != x || x < low || x > high) {
            return refuse(w, w->rank, "(%g) is not an integer of %s (%.0f to %.0f)", x, w->info->name, low, high);
        }
        bits = (uint64_t)(int64_t)x;
    } else {
        bits = s24_encode(w->info, x, &overflow);
    }
    if (overflow) {
        return refuse(w, w->rank, "(%g) is beyond the range of %s", x, w->info->name);
    }
    if (w->out) {
        s24_store(w->out, w->info->bytes, w->done, bits);
    }
    w->done++;
    return S24_OK;
}

/* At most S24_MAX_RANK calls deep. */
static s24_status take_list(walk *w, int depth)
{
    if (depth == w->rank) {
        return take_number(w);
    }
    const size_t expected = w->shape[depth];
    if (!s24_json_take(&w->in, '[')) {
        return refuse(w, depth, "is %s where a list of %zu is expected", kind_of(s24_json_look(&w->in)), expected);
    }
    size_t n = 0;
    while (n < expected && s24_json_look(&w->in) != ']') {
        w->path[depth] = n++;
        const s24_status status = take_list(w, depth + 1);
        if (status != S24_OK) {
            return status;
        }
        s24_json_take(&w->in, ',');
    }
    const size_t length = n + s24_json_take_rest(&w->in);
    if (length != expected) {
        return refuse(w, depth, "has length %zu where %zu is expected", length, expected);
    }
    return S24_OK;
}

/* Checks and stores a tensor's numbers; without `out` there are not as many as its shape says, and the error tells where. */
static s24_status take_tensor(s24_json_walk in, const s24_entry *entry, const found *f, unsigned char *out, s24_error *err)
{
    const s24_dtype_info *const info = s24_info(entry->dtype);
    const size_t elements = (size_t)entry->bytes / info->bytes;
    walk w = {.in = in, .name = entry->name, .info = info, .rank = entry->rank, .shape = entry->shape, .out = out, .err = err};
    w.in.at = f->at;
    if (f->flat) {
        if (f->length != elements) {
            return refuse(&w, 0, "has length %zu, but the shape has %zu element%s", f->length, elements,
                          s24_plural(elements));
        }
        w.rank = 1;
        w.shape = &elements;
    }
    return take_list(&w, 0);
}

/* ---------------------------------------------------------------- reading: the forms */

enum { DTYPE, SHAPE, DATA, MEMBERS };

/* The three members that a tensor object has, and no others. */
static const char *const member_names[MEMBERS] = {"dtype", "shape", "data"};

/* Where an object's values are in the text; 0: it has no such member. */
typedef struct members {
    size_t at[MEMBERS];
    size_t unknown; /* the first other key */
    size_t count;   /* of all */
} members;

/* Moves over an object. */
static members find_members(s24_json_walk *in)
{
    members m = {0};
    s24_json_take(in, '{');
    for (; !s24_json_take(in, '}'); m.count++) {
        s24_json_take(in, ',');
        s24_json_look(in);
        size_t which = 0;
        while (which < MEMBERS && !s24_json_reads(in, member_names[which])) {
            which++;
        }
        if (which == MEMBERS && !m.unknown) {
            m.unknown = in->at;
        }
        s24_json_skip(in);
        s24_json_take(in, ':');
        s24_json_look(in);
        if (which < MEMBERS) {
            m.at[which] = in->at;
        }
        s24_json_skip(in);
    }
    return m;
}

/* A list's text ends at in->at: numbers have a character each, and one between them. */
static void measure_text(const s24_json_walk *in, found *f)
{
    f->most = (in->at - f->at + 1) / 2;
}

/*
 * A number, or lists whose shape the first element of each tells; that the others agree is seen when they are taken. Moves
 * over it: from the innermost of the first lists to the outermost.
 */
static s24_status add_nested(s24_contents *contents, s24_json_walk *in, const char *name, found *f, s24_error *err)
{
    const walk w = {.name = name, .err = err};
    size_t shape[S24_MAX_RANK];
    int rank = 0;
    const char first = s24_json_look(in);
    if (first != '[' && !s24_json_number_next(in)) {
        return refuse(&w, WHOLE, "is %s; a tensor is a list of numbers, or {\"dtype\", \"shape\", \"data\"}", kind_of(first));
    }
    f->at = in->at;
    while (s24_json_take(in, '[')) {
        if (rank == S24_MAX_RANK) {
            return refuse(&w, WHOLE, "has more than %d dimensions", S24_MAX_RANK);
        }
        rank++;
    }
    for (int d = rank; d-- > 0;) {
        const size_t left = d + 1 < rank; /* the first element, a list */
        shape[d] = left + s24_json_take_rest(in);
    }
    if (rank == 0) {
        s24_json_skip(in);
    }
    measure_text(in, f);
    return s24_contents_add(contents, name, S24_F64, rank, shape, err) ? S24_OK : err->status;
}

static s24_status read_dtype(const walk *w, s24_dtype *dtype)
{
    s24_json_walk in = w->in;
    s24_text text = {0};
    if (s24_json_look(&in) != '"') {
        return refuse(w, WHOLE, "has a \"dtype\" that is not a string");
    }
    s24_status status = s24_json_take_string(&in, &text, w->err);
    if (status == S24_OK && !(s24_dtype_parse(text.text, dtype) && holds(s24_info(*dtype)))) {
        char shown[40], names[200] = ""; /* of a dozen, a few letters each */
        size_t used = 0;
        for (int i = S24_F64; i < S24_DTYPES; i++) {
            if (holds(&s24_dtype_infos[i])) {
                used += (size_t)snprintf(names + used, sizeof names - used, " %s", s24_dtype_infos[i].name);
                assert(used < sizeof names);
            }
        }
        s24_text_shorten(text.text, shown, sizeof shown);
        status = refuse(w, WHOLE, "has the unknown dtype \"%s\"; known are%s", shown, names);
    }
    s24_text_free(&text);
    return status;
}

static s24_status read_shape(const walk *w, size_t *shape, int *rank)
{
    s24_json_walk in = w->in;
    *rank = 0;
    if (!s24_json_take(&in, '[')) {
        return refuse(w, WHOLE, "has a \"shape\" that is not a list");
    }
    while (!s24_json_take(&in, ']')) {
        s24_json_take(&in, ',');
        if (*rank == S24_MAX_RANK) {
            return refuse(w, WHOLE, "has more than %d dimensions", S24_MAX_RANK);
        }
        if (!s24_json_number_next(&in) || !s24_json_whole(s24_json_take_number(&in), &shape[(*rank)++])) {
            return refuse(w, WHOLE, "has a \"shape\" that is not a list of whole numbers from 0");
        }
    }
    return S24_OK;
}

static s24_status check_members(const walk *w, const members *m)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        if (!m->at[i]) {
            return refuse(w, WHOLE, "has no \"%s\"; a tensor is a list of numbers, or {\"dtype\", \"shape\", \"data\"}",
                          member_names[i]);
        }
    }
    if (!m->unknown) {
        return S24_OK;
    }
    char shown[64];
    s24_text key = {0};
    s24_json_walk in = w->in;
    in.at = m->unknown;
    s24_status status = s24_json_take_string(&in, &key, w->err);
    if (status == S24_OK) {
        s24_text_shorten(key.text, shown, sizeof shown);
        status = refuse(w, WHOLE, "has an unknown member \"%s\"", shown);
    }
    s24_text_free(&key);
    return status;
}

static s24_status add_object(s24_contents *contents, s24_json_walk *in, const char *name, found *f, s24_error *err)
{
    walk w = {.name = name, .err = err};
    s24_dtype dtype = S24_F64;
    size_t shape[S24_MAX_RANK];
    int rank = 0;
    const members m = find_members(in);
    w.in = *in;
    s24_status status = check_members(&w, &m);
    w.in.at = m.at[DTYPE];
    status = status == S24_OK ? read_dtype(&w, &dtype) : status;
    w.in.at = m.at[SHAPE];
    status = status == S24_OK ? read_shape(&w, shape, &rank) : status;
    if (status != S24_OK) {
        return status;
    }
    if (!s24_contents_add(contents, name, dtype, rank, shape, err)) {
        return err->status;
    }
    f->at = w.in.at = m.at[DATA];
    if (s24_json_take(&w.in, '[')) {
        f->flat = s24_json_look(&w.in) != '[' && rank != 1;
        f->length = s24_json_take_rest(&w.in);
    } else {
        s24_json_skip(&w.in);
    }
    measure_text(&w.in, f);
    return S24_OK;
}

/* An object is one tensor when it says so; a model's tensors are never strings, and hardly called so all at once. */
static bool is_tensor_object(const s24_json_walk *in, const members *m)
{
    return (m->at[DTYPE] && in->text[m->at[DTYPE]] == '"') || (m->at[DATA] && (m->at[DTYPE] || m->at[SHAPE]));
}

static s24_status add_any(s24_contents *contents, s24_json_walk *in, const char *name, found *f, s24_error *err)
{
    return s24_json_look(in) == '{' ? add_object(contents, in, name, f, err) : add_nested(contents, in, name, f, err);
}

/* Fills contents, and *tensors in the same order (the caller frees it). */
static s24_status list_tensors(s24_json_walk in, s24_contents *contents, found **tensors, s24_error *err)
{
    members m = {.count = 1};
    bool model = false;
    s24_text name = {0};
    s24_status status = S24_OK;
    if (s24_json_look(&in) == '{') {
        s24_json_walk ahead = in;
        m = find_members(&ahead);
        model = !is_tensor_object(&in, &m);
    }
    const size_t most = model ? m.count : 1;
    *tensors = s24_calloc(most < S24_TENSORS_MAX ? most : S24_TENSORS_MAX + 1, sizeof **tensors, err);
    if (!*tensors) {
        return S24_ERR_SYSTEM;
    }
    if (!model) {
        return add_any(contents, &in, "", *tensors, err);
    }
    s24_json_take(&in, '{');
    for (size_t i = 0; status == S24_OK && !s24_json_take(&in, '}'); i++) {
        s24_json_take(&in, ',');
        status = s24_json_take_string(&in, &name, err);
        s24_json_take(&in, ':');
        status = status == S24_OK ? add_any(contents, &in, name.text, &(*tensors)[i], err) : status;
    }
    s24_text_free(&name);
    return status;
}

/*
 * Shapes may promise more than there is: memory is taken for what the text may hold, and where it cannot the walk is there to
 * say what is wrong.
 */
static s24_status decode(const s24_json_walk *in, s24_contents *contents, unsigned char **data, size_t *bytes, s24_error *err)
{
    found *tensors = NULL;
    unsigned char *out = NULL;
    size_t total = 0;
    bool possible = true;
    s24_status status = list_tensors(*in, contents, &tensors, err);
    for (size_t i = 0; i < contents->count && status == S24_OK; i++) {
        s24_entry *const entry = &contents->entries[i];
        possible = possible && entry->bytes / s24_info(entry->dtype)->bytes <= tensors[i].most;
        entry->offset = total;
        total += possible ? entry->bytes : 0; /* 8 times the text at most */
    }
    if (status == S24_OK && possible) {
        out = s24_alloc(total, err);
        status = out ? S24_OK : S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < contents->count && status == S24_OK; i++) {
        s24_entry *const entry = &contents->entries[i];
        status = take_tensor(*in, entry, &tensors[i], out ? out + entry->offset : NULL, err);
    }
    free(tensors);
    if (status != S24_OK) {
        free(out);
        return status;
    }
    assert(out); /* what cannot be has been refused */
    *data = out;
    *bytes = total;
    return S24_OK;
}

/* ---------------------------------------------------------------- reading: the file */

static s24_status read_text(s24_input *in, char **text, size_t *n, s24_error *err)
{
    const s24_status status = s24_input_read_text(in, TEXT_LIMIT, text, n, err);
    return status != S24_OK || *text ? status
        : s24_fail(err, S24_ERR_DATA, "is JSON of more than %u MB; use .npy or .safetensors", TEXT_LIMIT / 1000000);
}

static s24_status json_open(s24_source *source, s24_error *err)
{
    s24_error unwanted = {0};
    err = err ? err : &unwanted;
    char *text = NULL;
    size_t n = 0, bytes = 0;
    unsigned char *data = NULL;
    s24_input *decoded = NULL;
    s24_status status = read_text(source->in, &text, &n, err);
    s24_spool_free(&source->in->held); /* what a stream holds is in the text */
    status = status == S24_OK ? s24_json_check(text, n, err) : status;
    status = status == S24_OK ? decode(&(s24_json_walk){text, n, 0}, &source->contents, &data, &bytes, err) : status;
    free(text);
    if (status == S24_OK) {
        status = s24_input_memory(&decoded, source->io, source->in->name, data, bytes, err);
    }
    if (status == S24_OK) {
        s24_input_close(source->in);
        source->in = decoded;
    }
    return s24_fail_advise(err, status, "correct the text, or save the weights as .npy");
}

/* ---------------------------------------------------------------- writing */

typedef struct writer {
    s24_text text;     /* what has not been written yet */
    uint64_t position; /* of the output, where it goes */
    size_t next;       /* the entry to begin next */
    bool model;        /* names are written */
    bool bare;         /* nothing but the lists */
} writer;

static size_t elements_of(const s24_entry *entry)
{
    return (size_t)entry->bytes / s24_info(entry->dtype)->bytes;
}

/* The bare form says nothing of dtype and shape: f64, and what the brackets show. (A bare number would not be found as
 * JSON by its content.) */
static bool bare_form(const s24_contents *contents)
{
    const s24_entry *const entry = contents->entries;
    return contents->count == 1 && !*entry->name && entry->dtype == S24_F64 && entry->rank > 0 && entry->bytes > 0;
}

static s24_status flush(s24_sink *sink, size_t threshold, s24_error *err)
{
    writer *const w = sink->state;
    if (w->text.failed) {
        return s24_fail_memory(err, FLUSH_BYTES);
    }
    if (w->text.length <= threshold) {
        return S24_OK;
    }
    const s24_status status = s24_output_write(sink->out, w->position, w->text.text, w->text.length, err);
    w->position += w->text.length;
    w->text.length = 0;
    return status;
}

static void repeat(s24_text *text, char c, int n)
{
    for (int i = 0; i < n; i++) {
        s24_text_add(text, &c, 1);
    }
}

static void end_entry(writer *w)
{
    s24_text_add(&w->text, "}", !w->bare);
}

/* Begins entries up to `last`. One without elements is complete with that: nobody writes nothing. */
static void begin_entries(s24_sink *sink, size_t end)
{
    writer *const w = sink->state;
    for (; w->next < end; w->next++) {
        const s24_entry *const entry = &sink->contents.entries[w->next];
        if (w->model) {
            s24_text_add(&w->text, ",", w->next > 0);
            s24_text_json_string(&w->text, entry->name);
            s24_text_add(&w->text, ":", 1);
        }
        if (!w->bare) {
            s24_text_printf(&w->text, "{\"dtype\":\"%s\",\"shape\":[", s24_info(entry->dtype)->name);
            for (int d = 0; d < entry->rank; d++) {
                s24_text_printf(&w->text, d ? ",%zu" : "%zu", entry->shape[d]);
            }
            s24_text_printf(&w->text, "],\"data\":");
        }
        if (entry->bytes == 0) { /* flat: [1000000000, 0] is not worth a thousand million brackets */
            s24_text_add(&w->text, "[]", 2);
            end_entry(w);
        }
    }
}

/* Brackets and comma before element i, and after the last one. */
static void punctuate(s24_text *text, const s24_entry *entry, size_t i, size_t elements)
{
    int levels = 0;
    for (size_t extent = 1; levels < entry->rank; levels++) {
        extent *= entry->shape[entry->rank - 1 - levels];
        if (i % extent) {
            break;
        }
    }
    if (i > 0) {
        repeat(text, ']', levels);
        s24_text_add(text, ",", i < elements);
    }
    if (i < elements) {
        repeat(text, '[', levels);
    }
}

/*
 * The fewest digits that read back to the same bits. m bits of mantissa tell a decimal of at most m log10(2) digits
 * from its neighbours, so that %g shows such a one as it is: the search begins there, but for subnormals.
 */
static void write_float(s24_text *text, const s24_dtype_info *info, uint64_t bits, double x)
{
    char number[40] = "";
    if (x == 0) {
        s24_text_printf(text, signbit(x) ? "-0.0" : "0");
        return;
    }
    const bool subnormal = (bits & info->magnitude_mask) >> info->mantissa_bits == 0;
    const int certain = subnormal ? 0 : (int)info->mantissa_bits * 30103 / 100000;
    for (int digits = certain ? certain : 1;; digits++) {
        assert(digits <= 17); /* which tell every f64 */
        bool overflow = false; /* then the bits are others */
        snprintf(number, sizeof number, "%.*g", digits, x);
        if (s24_encode(info, strtod(number, NULL), &overflow) == bits) {
            break;
        }
    }
    for (char *p = number; *p; p++) { /* the locale's decimal point */
        if (!strchr("0123456789+-e", *p)) {
            *p = '.';
        }
    }
    s24_text_add(text, number, strlen(number));
}

/* False: JSON has no such number. */
static bool write_number(s24_text *text, const s24_dtype_info *info, uint64_t bits)
{
    double low, high;
    if (!integer_range(info, &low, &high)) {
        const double x = s24_decode(info, bits);
        if (isfinite(x)) {
            write_float(text, info, bits, x);
        }
        return isfinite(x);
    }
    const unsigned unused = 64 - info->bits;
    const bool is_signed = low < 0;
    const int64_t i = (int64_t)(bits << unused) >> unused;
    const double x = is_signed ? (double)i : (double)bits;
    if (is_signed) {
        s24_text_printf(text, "%lld", (long long)i);
    } else {
        s24_text_printf(text, "%llu", (unsigned long long)bits);
    }
    return x >= low && x <= high;
}

static s24_status refuse_element(const s24_entry *entry, size_t i, uint64_t bits, s24_error *err)
{
    const s24_dtype_info *const info = s24_info(entry->dtype);
    char name[120], path[100];
    size_t indices[S24_MAX_RANK];
    for (int d = entry->rank; d-- > 0;) {
        indices[d] = i % entry->shape[d];
        i /= entry->shape[d];
    }
    s24_text_shorten(entry->name, name, sizeof name);
    path_text(indices, entry->rank, "the element", path, sizeof path);
    if (info->kind == S24_KIND_OPAQUE) {
        return s24_fail(err, S24_ERR_DATA, "%s%s%s is beyond 2^53, where JSON's numbers skip integers; use .npy "
                        "or .safetensors", name, *name ? ": " : "", path);
    }
    return s24_fail(err, S24_ERR_DATA, "%s%s%s is %s, which JSON does not have; use .npy or .safetensors", name,
                    *name ? ": " : "", path, isnan(s24_decode(info, bits)) ? "NaN" : "infinite");
}

static s24_status json_write(s24_sink *sink, size_t index, size_t first, size_t n, const void *data, s24_error *err)
{
    writer *const w = sink->state;
    const s24_entry *const entry = &sink->contents.entries[index];
    const s24_dtype_info *const info = s24_info(entry->dtype);
    const size_t elements = elements_of(entry);
    begin_entries(sink, index + 1);
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = s24_load(data, info->bytes, i);
        punctuate(&w->text, entry, first + i, elements);
        if (!write_number(&w->text, info, bits)) {
            return refuse_element(entry, first + i, bits, err);
        }
        const s24_status status = flush(sink, FLUSH_BYTES, err);
        if (status != S24_OK) {
            return status;
        }
    }
    if (n && first + n == elements) {
        punctuate(&w->text, entry, elements, elements);
        end_entry(w);
    }
    return flush(sink, FLUSH_BYTES, err);
}

static s24_status json_accepts(const s24_entry *entry, s24_error *err)
{
    if (!holds(s24_info(entry->dtype))) {
        return s24_fail(err, S24_ERR_DATA, "JSON has no numbers of %s; use .npy or .safetensors",
                        s24_dtype_name(entry->dtype));
    }
    return S24_OK;
}

static s24_status json_create(s24_sink *sink, s24_error *err)
{
    writer *const w = s24_calloc(1, sizeof *w, err);
    if (!w) {
        return S24_ERR_SYSTEM;
    }
    const s24_contents *const contents = &sink->contents;
    sink->state = w;
    w->bare = bare_form(contents);
    w->model = contents->count != 1 || *contents->entries[0].name;
    s24_text_add(&w->text, "{", w->model);
    if (contents->pairs) {
        s24_io_note(sink->io, "the metadata of the input have no place in JSON and are left out");
    }
    return S24_OK;
}

static void json_abandon(s24_sink *sink)
{
    writer *const w = sink->state;
    if (w) {
        s24_text_free(&w->text);
        free(w);
        sink->state = NULL;
    }
}

static s24_status json_finish(s24_sink *sink, s24_error *err)
{
    writer *const w = sink->state;
    begin_entries(sink, sink->contents.count);
    s24_text_add(&w->text, "}", w->model);
    s24_text_add(&w->text, "\n", 1);
    const s24_status status = flush(sink, 0, err);
    json_abandon(sink);
    return status;
}

const s24_format s24_format_json = {
    .name = "json",
    .suffixes = ".json",
    .probe = json_probe,
    .open = json_open,
    .accepts = json_accepts,
    .create = json_create,
    .write = json_write,
    .finish = json_finish,
    .abandon = json_abandon,
};
