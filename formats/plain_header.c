/*
 * The header of a plain .s24 file, and by it where everything lies: one pass over what the file stores, in its order, which
 * writes the header or compares one that exists. It is never in memory as a whole while it is written: of a tensor it says
 * several times what a small one has bytes.
 */
#include "plain.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

#include "jsonx.h"
#include "st_header.h"

#define DIMENSION_MAX ((size_t)1 << 53) /* what a number of JSON holds exactly */

/* ---------------------------------------------------------------- metadata */

/* The text of "s24.layout", */
static void describe_layout(const s24_plain *plain, s24_text *text)
{
    s24_text_printf(text, "{\"panel_groups\":%zu,\"panel_bytes\":%zu}", plain->panel_groups, plain->panel_bytes);
}

/* "s24.file", */
static void describe_file(const s24_plain *plain, s24_text *text)
{
    s24_text_printf(text, "{\"tool\":");
    s24_text_json_string(text, plain->tool);
    s24_text_printf(text, ",\"container\":");
    s24_text_json_string(text, plain->container);
    s24_text_add(text, "}", 1);
}

static void describe_scales(const s24_entry *e, s24_text *text)
{
    if (e->scaled && e->scale_group) {
        s24_text_printf(text, ",\"scales\":%u", e->scale_group);
    } else if (e->scaled) {
        s24_text_printf(text, ",\"scales\":\"row\"");
    }
}

/* "s24.tensors": what the stored planes do not tell, */
static void describe_tensors(const s24_plain *plain, s24_text *text)
{
    const s24_contents *const contents = &plain->contents;
    s24_text_add(text, "[", 1);
    for (size_t i = 0; i < contents->count; i++) {
        const s24_entry *e = &contents->entries[i];
        s24_text_printf(text, "%s{\"name\":", i ? "," : "");
        s24_text_json_string(text, e->name);
        s24_text_printf(text, ",\"dtype\":\"%s\",\"shape\":[", s24_dtype_name(e->dtype));
        for (int d = 0; d < e->rank; d++) {
            s24_text_printf(text, "%s%zu", d ? "," : "", e->shape[d]);
        }
        s24_text_printf(text, "]");
        if (e->packed) {
            s24_text_printf(text, ",\"axis\":%d,\"method\":", e->axis);
            s24_text_json_string(text, e->method);
            describe_scales(e, text);
            s24_text_printf(text, "%s", e->permuted ? ",\"permuted\":true" : "");
        }
        if (e->packed && e->pruned->calibration) {
            s24_text_printf(text, ",\"calibration\":{\"samples\":%llu,\"held_out\":%llu}",
                            (unsigned long long)e->pruned->calibration->samples,
                            (unsigned long long)e->pruned->calibration->held_out_samples);
        }
        if (e->fortran) {
            s24_text_printf(text, ",\"order\":\"F\"");
        }
        if (e->big_endian) {
            s24_text_printf(text, ",\"endian\":\"big\"");
        }
        if (e->reason) {
            s24_text_printf(text, ",\"reason\":");
            s24_text_json_string(text, e->reason);
        }
        s24_text_add(text, "}", 1);
    }
    s24_text_add(text, "]", 1);
}

static bool is_scaled(const s24_entry *e)
{
    return e->scaled;
}

static bool is_permuted(const s24_entry *e)
{
    return e->permuted;
}

static const struct feature {
    const char *name;
    bool (*of)(const s24_entry *e);
} features[] = {{S24_NEEDS_SCALES, is_scaled}, {S24_NEEDS_PERM, is_permuted}};

#define FEATURES (sizeof features / sizeof *features)

static bool is_needed(const s24_plain *plain, const struct feature *feature)
{
    bool needed = false;
    for (size_t i = 0; i < plain->contents.count && !needed; i++) {
        needed = plain->contents.entries[i].packed && feature->of(&plain->contents.entries[i]);
    }
    return needed;
}

/* and "s24.needs": what a reader must know, names between single blanks; nothing: there is no such key. */
static void describe_needs(const s24_plain *plain, s24_text *text)
{
    const char *blank = "";
    for (size_t f = 0; f < FEATURES; f++) {
        if (is_needed(plain, &features[f])) {
            s24_text_printf(text, "%s%s", blank, features[f].name);
            blank = " ";
        }
    }
}

static void escape(void *text, const char *value, size_t n)
{
    (void)n;
    s24_text_json_escaped(text, value);
}

/* One of ours: what describes it says, escaped on its way. */
static void write_own_pair(const s24_plain *plain, const char *key, void (*describe)(const s24_plain *plain, s24_text *text),
                           s24_text *text)
{
    s24_text value = {.drain = escape, .to = text};
    s24_text_printf(text, ",\"%s\":\"", key);
    describe(plain, &value);
    s24_text_drain(&value);
    s24_text_add(text, "\"", 1);
    text->failed = text->failed || value.failed;
    s24_text_free(&value);
}

/* Our keys first, so that the file shows itself in its first bytes; then the user's, out of the way of ours. */
static void write_metadata(const s24_plain *plain, s24_text *text)
{
    s24_text_printf(text, "\"__metadata__\":{\"s24\":\"1\"");
    write_own_pair(plain, "s24.layout", describe_layout, text);
    write_own_pair(plain, "s24.file", describe_file, text);
    write_own_pair(plain, "s24.tensors", describe_tensors, text);
    bool needs = false;
    for (size_t f = 0; f < FEATURES; f++) {
        needs = needs || is_needed(plain, &features[f]);
    }
    if (needs) {
        write_own_pair(plain, "s24.needs", describe_needs, text);
    }
    for (size_t i = 0; i < plain->contents.pairs; i++) {
        const s24_pair *pair = &plain->contents.metadata[i];
        s24_text_printf(text, ",\"%s", strncmp(pair->key, "s24", 3) == 0 ? "s24.user." : "");
        s24_text_json_escaped(text, pair->key);
        s24_text_add(text, "\":", 2);
        s24_text_json_string(text, pair->value);
    }
    s24_text_add(text, "}", 1);
}

/* ---------------------------------------------------------------- layout */

/* How a file is laid out: a pass over what it stores, in its order, which writes the header or compares one that exists. */
typedef struct layout {
    s24_plain *plain;
    s24_text *text;               /* where the header is written; NULL: it is not */
    const s24_contents *expected; /* what a header lists, while that is compared; otherwise NULL */
    size_t matched;               /* of these */
    uint64_t at;                  /* where the next stored tensor begins */
} layout;

/* A stored tensor: that of `name` + `suffix`. */
typedef struct part {
    const char *name, *suffix;
    s24_dtype dtype;
    int rank;
    const size_t *shape;
} part;

/* The next one that the header lists is this, there. */
static s24_status match_stored(layout *l, const part *p, uint64_t bytes, s24_error *err)
{
    if (l->matched == l->expected->count) {
        return s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: it has tensors too few");
    }
    const s24_entry *e = &l->expected->entries[l->matched++];
    const size_t n = strlen(p->name);
    const bool same = strncmp(e->name, p->name, n) == 0 && strcmp(e->name + n, p->suffix) == 0 && e->dtype == p->dtype &&
                      e->rank == p->rank && e->offset == l->at && e->bytes == bytes &&
                      (p->rank == 0 || memcmp(e->shape, p->shape, (size_t)p->rank * sizeof *p->shape) == 0);
    return same ? S24_OK : s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: %s is not what s24.tensors says",
                                    e->name);
}

static s24_status write_stored(const layout *l, const part *p, uint64_t bytes, s24_error *err)
{
    const uint64_t begin = l->at - l->plain->header_bytes;
    s24_text whole = {0};
    s24_text_printf(&whole, "%s%s", p->name, p->suffix);
    s24_text_add(l->text, ",", 1);
    s24_st_header_write_tensor(l->text, whole.failed ? "" : whole.text, p->dtype, p->rank, p->shape, begin, begin + bytes);
    const bool failed = whole.failed || l->text->failed;
    s24_text_free(&whole);
    return failed ? s24_fail_memory(err, l->text->length) : S24_OK;
}

/* Behind everything before it. */
static s24_status add_stored(layout *l, const part *p, uint64_t *offset, s24_error *err)
{
    uint64_t bytes;
    size_t end;
    s24_status status = s24_dense_bytes(p->dtype, p->rank, p->shape, &bytes, err);
    if (status != S24_OK) {
        return status;
    }
    if (!s24_add((size_t)l->at, (size_t)bytes, &end)) {
        return s24_fail(err, S24_ERR_DATA, "the file would be too large");
    }
    if (l->expected) {
        status = match_stored(l, p, bytes, err);
    } else if (l->text) {
        status = write_stored(l, p, bytes, err);
    }
    *offset = l->at;
    l->at = end;
    return status;
}

/* Plain bytes. */
static s24_status add_bytes(layout *l, const char *name, const char *suffix, size_t n, uint64_t *offset, s24_error *err)
{
    return add_stored(l, &(part){name, suffix, S24_U8, 1, &n}, offset, err);
}

/* A u64 a panel and for a permutation, zeros, a u64 over this section, up to the next multiple of 64. */
static s24_status add_checks(layout *l, const char *name, s24_entry *entry, s24_error *err)
{
    const uint64_t need = l->at + 8 * (uint64_t)s24_plain_check_count(l->plain, entry) + 8;
    const uint64_t end = (need + S24_PLAIN_ALIGN - 1) / S24_PLAIN_ALIGN * S24_PLAIN_ALIGN;
    entry->checks_bytes = end - l->at;
    return add_bytes(l, name, ".s24.checks", (size_t)entry->checks_bytes, &entry->checks, err);
}

static s24_status add_planes(layout *l, s24_entry *e, s24_error *err)
{
    const s24_geometry *g = &e->pruned->geometry;
    uint64_t at; /* of what follows the values: s24_plain_offset says it */
    s24_status status = e->scaled ? s24_scales_check(g, e->scale_group, l->plain->panel_groups, err) : S24_OK;
    status = status == S24_OK && e->permuted ? s24_permutable(g, l->plain->panel_groups, err) : status;
    for (int k = 0; k < S24_PLANES && status == S24_OK; k++) {
        if (s24_plain_has(e, k)) {
            size_t shape[2];
            const int rank = s24_plain_plane_shape(e, k, shape);
            const part p = {e->name, s24_plain_plane_suffix(k), s24_plain_plane_dtype(e, k), rank, shape};
            status = add_stored(l, &p, k == S24_VALUES ? &e->offset : &at, err);
        }
    }
    return status == S24_OK && e->permuted
        ? add_stored(l, &(part){e->name, ".s24.perm", S24_I32, 1, &g->cols}, &at, err) : status;
}

static s24_status add_tensor(layout *l, s24_entry *e, s24_error *err)
{
    s24_status status;
    for (int d = 0; d < e->rank; d++) { /* only an array without elements can have such a one */
        if (e->shape[d] > DIMENSION_MAX) {
            return s24_fail(err, S24_ERR_DATA, "a dimension of %zu is more than a .s24 can describe", e->shape[d]);
        }
    }
    if (e->packed) {
        status = add_planes(l, e, err);
    } else {
        const char *suffix = strstr(e->name, ".s24.") ? ".s24.dense" : "";
        status = add_stored(l, &(part){e->name, suffix, e->dtype, e->rank, e->shape}, &e->offset, err);
    }
    return status == S24_OK ? add_checks(l, e->name, e, err) : status;
}

/* All stored tensors; the header itself has header_bytes bytes. */
static s24_status add_all(layout *l, s24_error *err)
{
    s24_plain *const plain = l->plain;
    uint64_t head;
    size_t pruned = 0;
    l->at = plain->header_bytes;
    s24_status status = add_bytes(l, "", ".s24.head", S24_RECORD_BYTES, &head, err);
    for (size_t i = 0; i < plain->contents.count && status == S24_OK; i++) {
        pruned += plain->contents.entries[i].packed;
        status = add_tensor(l, &plain->contents.entries[i], err);
    }
    s24_entry *const m = &plain->metrics;
    const size_t shape[2] = {pruned, S24_METRICS_SLOTS};
    *m = (s24_entry){.dtype = S24_F64, .bytes = 8 * S24_METRICS_SLOTS * (uint64_t)pruned};
    status = status == S24_OK ? add_stored(l, &(part){".s24.metrics", "", S24_F64, 2, shape}, &m->offset, err) : status;
    status = status == S24_OK ? add_checks(l, ".s24.metrics", m, err) : status;
    status = status == S24_OK ? add_bytes(l, ".s24.header", "", plain->header_bytes, &plain->copy, err) : status;
    status = status == S24_OK ? add_bytes(l, ".s24.tail", "", S24_RECORD_BYTES, &plain->tail, err) : status;
    plain->file_size = l->at;
    return status;
}

/* ---------------------------------------------------------------- the header's bytes */

static s24_status too_long(s24_error *err)
{
    return s24_fail(err, S24_ERR_DATA, "too many tensors, or too long names: the header would be beyond safetensors' "
                    "100,000,000 bytes; split the model");
}

/* Before anything of it is made: a header has at least so many bytes. Every name is in it once more than it has planes. */
static bool surely_too_long(const s24_contents *contents)
{
    static const char described[] = "{'name':'','dtype':'f32','shape':[]},", stored[] = "'':{'dtype':'U8','shape':[0],"
                                    "'data_offsets':[0,0]},";
    size_t least = 0;
    for (size_t i = 0; i < contents->count && least <= S24_ST_HEADER_MAX; i++) {
        const s24_entry *e = &contents->entries[i];
        const size_t parts = 1 + (e->packed ? s24_plain_plane_count(e) + e->permuted : 1); /* with the checks */
        least += sizeof described - 1 + parts * (sizeof stored - 1) + (parts + 1) * strlen(e->name);
    }
    return least > S24_ST_HEADER_MAX;
}

/* An archive has a header as it is held. */
static int level_of(const s24_plain *plain)
{
    return plain->level ? Z_BEST_COMPRESSION : Z_BEST_SPEED;
}

/* Where they go. */
typedef struct out {
    size_t bytes;           /* that went */
    s24_deflater *deflater; /* NULL: they are counted only */
    XXH3_state_t *state;
} out;

static void put(void *to, const char *text, size_t n)
{
    out *const o = to;
    o->bytes += n;
    if (o->deflater) {
        s24_deflate_add(o->deflater, text, n);
        XXH3_64bits_update(o->state, text, n);
    }
}

/* All of them, padded with spaces, where it is header_bytes long; all offsets are set. */
static s24_status put_header(s24_plain *plain, out *o, s24_error *err)
{
    static const char spaces[S24_PLAIN_ALIGN + 1] = "                                                                ";
    unsigned char length[8];
    s24_text text = {.drain = put, .to = o};
    layout l = {.plain = plain, .text = &text};
    s24_put_u64(length, plain->header_bytes - 8);
    s24_text_add(&text, (const char *)length, sizeof length);
    s24_text_add(&text, "{", 1);
    write_metadata(plain, &text);
    s24_status status = add_all(&l, err);
    s24_text_add(&text, "}", 1);
    s24_text_drain(&text);
    put(o, spaces, (S24_PLAIN_ALIGN - o->bytes % S24_PLAIN_ALIGN) % S24_PLAIN_ALIGN);
    if (status == S24_OK && text.failed) {
        status = s24_fail_memory(err, text.length);
    }
    s24_text_free(&text);
    return status == S24_OK && o->bytes - 8 > S24_ST_HEADER_MAX ? too_long(err) : status;
}

/* By its length; *bytes is what that comes out as. */
static s24_status make_header(s24_plain *plain, size_t *bytes, s24_error *err)
{
    s24_deflater deflater;
    out o = {.deflater = &deflater, .state = XXH3_createState()};
    if (!o.state) {
        return s24_fail_memory(err, 0);
    }
    XXH3_64bits_reset(o.state);
    s24_deflate_begin(&deflater, level_of(plain));
    const s24_status status = put_header(plain, &o, err);
    const s24_status ended = s24_deflate_end(&deflater, &plain->header, status == S24_OK ? err : NULL);
    plain->hash = XXH3_64bits_digest(o.state);
    XXH3_freeState(o.state);
    *bytes = o.bytes;
    return status == S24_OK ? ended : status;
}

/* ---------------------------------------------------------------- names */

/* What JSON can hold: names may come from a .npz. */
static s24_status check_string(s24_text *scratch, const char *value, s24_error *err)
{
    scratch->length = 0;
    s24_text_json_string(scratch, value);
    const s24_status status = scratch->failed ? s24_fail_memory(err, 0) : s24_json_check(scratch->text, scratch->length, err);
    return status == S24_ERR_DATA ? s24_fail_prefix(err, status, "a name or metadata that a .s24 cannot hold: ") : status;
}

static s24_status check_strings(const s24_contents *c, s24_error *err)
{
    s24_text scratch = {0};
    s24_status status = S24_OK;
    for (size_t i = 0; i < c->count && status == S24_OK; i++) {
        status = check_string(&scratch, c->entries[i].name, err);
    }
    for (size_t i = 0; i < c->pairs && status == S24_OK; i++) {
        status = check_string(&scratch, c->metadata[i].key, err);
        status = status == S24_OK ? check_string(&scratch, c->metadata[i].value, err) : status;
    }
    s24_text_free(&scratch);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether a tensor's parts would have a name that the file has for something else. */
static bool taken(const s24_entry *e)
{
    return strcmp(e->name, ".s24.metrics") == 0 || (!e->packed && strcmp(e->name, "__metadata__") == 0);
}

/* Two stored tensors of one name are a file nobody can open. Different tensors' parts have different names. */
static s24_status check_names(const s24_contents *c, s24_error *err)
{
    const char **names = s24_calloc(c->count, sizeof *names, err), *twice = NULL;
    if (!names) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < c->count; i++) {
        names[i] = c->entries[i].name;
        twice = taken(&c->entries[i]) ? names[i] : twice;
    }
    qsort(names, c->count, sizeof *names, compare_names);
    for (size_t i = 1; i < c->count; i++) {
        twice = strcmp(names[i], names[i - 1]) == 0 ? names[i] : twice;
    }
    free(names);
    if (!twice) {
        return S24_OK;
    }
    char shown[120];
    s24_text_shorten(twice, shown, sizeof shown);
    return s24_fail(err, S24_ERR_DATA, "a name that a .s24 cannot hold: \"%s\" would occur twice; rename the tensor", shown);
}

/* ---------------------------------------------------------------- laying out */

s24_status s24_plain_lay_out(s24_plain *plain, s24_error *err)
{
    if (!s24_plain_sizes_valid(plain)) {
        return s24_fail(err, S24_ERR_USAGE, "panels of %zu group%s and %zu byte%s are not possible", plain->panel_groups,
                        s24_plural(plain->panel_groups), plain->panel_bytes, s24_plural(plain->panel_bytes));
    }
    if (!plain->tool || !plain->container) { /* the copies of him who filled them in */
        return s24_fail_memory(err, 0);
    }
    if (surely_too_long(&plain->contents)) {
        return too_long(err);
    }
    s24_status status = check_strings(&plain->contents, err);
    status = status == S24_OK ? check_names(&plain->contents, err) : status;
    /*
     * The header holds its own length (as the shape of its copy). Begin with none and lay out again with the length that
     * came out, until it stays: lengths only grow, by a digit of that number, so this ends after two or three rounds.
     */
    out counted = {0};
    plain->header_bytes = 0;
    status = status == S24_OK ? put_header(plain, &counted, err) : status;
    while (status == S24_OK && counted.bytes != plain->header_bytes) {
        plain->header_bytes = counted.bytes;
        s24_deflated_free(&plain->header);
        status = make_header(plain, &counted.bytes, err);
    }
    return status;
}

s24_status s24_plain_lay_out_as(s24_plain *plain, char *header, size_t header_bytes, const s24_contents *stored,
                                s24_error *err)
{
    layout l = {.plain = plain, .expected = stored};
    assert(stored); /* or nothing would be compared */
    s24_deflated_free(&plain->header);
    plain->header_bytes = header_bytes;
    plain->hash = XXH3_64bits(header, header_bytes);
    s24_status status = s24_deflate(&plain->header, header, header_bytes, Z_BEST_SPEED, err);
    free(header);
    status = status == S24_OK ? add_all(&l, err) : status;
    return status != S24_OK || l.matched == stored->count
        ? status : s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: it has tensors too many");
}

s24_status s24_plain_lay_out_like(s24_plain *plain, const s24_plain *from, s24_error *err)
{
    layout l = {.plain = plain};
    plain->header_bytes = from->header_bytes;
    plain->hash = from->hash;
    const s24_status status = add_all(&l, err);
    assert(status != S24_OK || plain->file_size == from->file_size); /* of the same contents */
    return status == S24_OK ? s24_deflate_again(&plain->header, &from->header, level_of(plain), err) : status;
}
