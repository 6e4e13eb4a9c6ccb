/*
 * Reading a plain .s24 file. Nothing of the header is believed before its hash matches the head's, and no data before
 * their panel's check does. The header is then read twice: as what it says of the tensors, and as where it says the
 * planes lie; both must agree with the layout that plain.c computes.
 */
#include "plain.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "archive.h"
#include "jsonx.h"
#include "st_header.h"

#define DAMAGED "is damaged: "
#define RECOVER "; s24 decompress --salvage recovers what is whole"

/* With permutations and checks; and head, metrics, their checks, copy, tail. */
#define STORED_MAX ((S24_PLANES + 2) * (size_t)S24_TENSORS_MAX + 5)
#define MEMBER_VALUES_MAX 1000 /* in s24.layout, s24.file and each of s24.tensors: far more than they have */

/* ---------------------------------------------------------------- recognising */

static bool contains(const unsigned char *data, size_t n, const char *text)
{
    const size_t length = strlen(text);
    for (size_t i = 0; i + length <= n; i++) {
        if (memcmp(data + i, text, length) == 0) {
            return true;
        }
    }
    return false;
}

/* The header's first bytes are those of a plain file. */
static bool shows_plain(const unsigned char *head, size_t n)
{
    static const char *const marks[] = {"\"s24\":\"1\"", "\"s24.layout\":", "\"s24.tensors\":", "\".s24.head\""};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (contains(head, n, marks[i])) {
            return true;
        }
    }
    return false;
}

bool s24_plain_recognise(s24_input *in, const unsigned char *head, size_t n)
{
    unsigned char record[S24_RECORD_BYTES];
    if (shows_plain(head, n) || s24_archive_shows(head, n)) {
        return true;
    }
    if (in->size == S24_UNKNOWN || in->size < sizeof record) {
        return false;
    }
    if (s24_input_read(in, in->size - sizeof record, record, sizeof record, NULL) == S24_OK &&
        (memcmp(record, "S24TAIL", 8) == 0 || s24_archive_ends(record))) {
        return true;
    }
    assert(n >= 8); /* all of the head that there is */
    const uint64_t at = s24_get_u64(head);
    return at <= S24_ST_HEADER_MAX && at + 8 + sizeof record <= in->size &&
           s24_input_read(in, at + 8, record, sizeof record, NULL) == S24_OK && memcmp(record, "S24HEAD", 8) == 0;
}

/* Head or tail, or NULL. */
static const s24_entry *find_record(const s24_contents *stored, const char *name)
{
    for (size_t i = 0; i < stored->count; i++) {
        const s24_entry *e = &stored->entries[i];
        if (e->dtype == S24_U8 && e->bytes == S24_RECORD_BYTES && strcmp(e->name, name) == 0) {
            return e;
        }
    }
    return NULL;
}

bool s24_plain_lists_records(const s24_contents *stored)
{
    return find_record(stored, ".s24.head") && find_record(stored, ".s24.tail");
}

/* ---------------------------------------------------------------- header and its records */

typedef struct record {
    uint64_t header_bytes, file_size, hash, copy;
} record;

static s24_status parse_record(const unsigned char *bytes, const char *magic, const char *what, uint64_t offset,
                               record *r, s24_error *err)
{
    if (memcmp(bytes, magic, 8) != 0 || s24_get_u64(bytes + 56) != XXH3_64bits(bytes, 56)) {
        return s24_fail_at(err, offset, DAMAGED "its %s does not match its own check" RECOVER, what);
    }
    if (s24_get_u32(bytes + 8) != S24_PLAIN_VERSION) {
        return s24_fail_unsupported(err, "is version %u of the .s24 format; this s24 reads version %d; use a newer one",
                                    s24_get_u32(bytes + 8), S24_PLAIN_VERSION);
    }
    const uint64_t flags = s24_get_u32(bytes + 12), reserved = s24_get_u64(bytes + 48);
    if (flags || reserved) {
        return s24_fail_unsupported(err, "its %s sets %s that this s24 does not know (%#llx); use a newer one", what,
                                    flags ? "flags" : "a reserved field", (unsigned long long)(flags | reserved));
    }
    *r = (record){.header_bytes = s24_get_u64(bytes + 16), .file_size = s24_get_u64(bytes + 24),
                  .hash = s24_get_u64(bytes + 32), .copy = s24_get_u64(bytes + 40)};
    return S24_OK;
}

static bool header_length_plausible(uint64_t header_bytes)
{
    return header_bytes >= 64 && header_bytes % 64 == 0 && header_bytes - 8 <= S24_ST_HEADER_MAX;
}

/*
 * Whether another tool read the file as the safetensors file that it is, and saved it: its header (the n bytes after its
 * length) is good, and its tensors lie in another order.
 */
static bool saved_again(const char *text, size_t n)
{
    s24_contents stored = {.most = STORED_MAX, .without_metadata = true};
    uint64_t end;
    const s24_status status = s24_st_header_parse(text, n, 8 + n, &stored, &end, NULL);
    const bool again = status == S24_OK && s24_plain_lists_records(&stored) && find_record(&stored, ".s24.head")->offset != 8 + n;
    s24_contents_free(&stored);
    return again;
}

/* The same of a damaged file that is all held. */
static bool file_saved_again(s24_input *in)
{
    unsigned char length[8];
    char *text;
    if (s24_input_read(in, 0, length, sizeof length, NULL) != S24_OK || s24_get_u64(length) > S24_ST_HEADER_MAX ||
        s24_input_read_new(in, sizeof length, &text, (size_t)s24_get_u64(length), NULL) != S24_OK) {
        return false;
    }
    const bool again = saved_again(text, (size_t)s24_get_u64(length));
    free(text);
    return again;
}

/* Whether the head behind the header, of n bytes with its length, confirms it. */
static s24_status confirm_header(s24_input *in, const char *header, size_t n, record *head, s24_error *err)
{
    unsigned char bytes[S24_RECORD_BYTES];
    if (!header_length_plausible(n)) {
        return s24_fail_at(err, 0, DAMAGED "its header's length, %zu, cannot be" RECOVER, n - 8);
    }
    s24_status status = s24_input_read(in, n, bytes, sizeof bytes, err);
    status = status == S24_OK ? parse_record(bytes, "S24HEAD", "head", n, head, err) : status;
    if (status == S24_OK && (head->header_bytes != n || XXH3_64bits(header, n) != head->hash)) {
        status = s24_fail_at(err, 0, DAMAGED "its header does not match its check" RECOVER);
    }
    return status;
}

/* The header as it should be: at the front, confirmed by the head behind it. */
static s24_status read_header(s24_input *in, char **header, record *head, s24_error *err)
{
    unsigned char length[8];
    s24_status status = s24_input_read(in, 0, length, sizeof length, err);
    if (status != S24_OK) {
        return status;
    }
    const uint64_t n = s24_get_u64(length);
    char *text = NULL;
    status = n <= S24_ST_HEADER_MAX ? s24_input_read_new(in, 8, &text, (size_t)n, err) : S24_ERR_DATA;
    if (status == S24_ERR_DATA && !header_length_plausible(n + 8)) {
        return s24_fail_at(err, 0, DAMAGED "its header's length, %llu, cannot be" RECOVER, (unsigned long long)n);
    }
    char *whole = status == S24_OK ? realloc(text, (size_t)n + 8) : NULL;
    if (!whole) {
        free(text);
        return status == S24_OK ? s24_fail_memory(err, (size_t)n + 8) : status;
    }
    memmove(whole + 8, whole, (size_t)n);
    memcpy(whole, length, 8);
    status = confirm_header(in, whole, (size_t)n + 8, head, err);
    if (status == S24_ERR_DATA && saved_again(whole + 8, (size_t)n)) {
        status = s24_fail(err, S24_ERR_DATA, S24_PLAIN_SAVED_AGAIN);
    }
    if (status != S24_OK) {
        free(whole);
        return status;
    }
    *header = whole;
    return S24_OK;
}

/* A search in a damaged file: what cannot be read is not there, and is told if nothing else is found. */
typedef struct search {
    s24_input *in;
    int trouble; /* errno of a read; 0: there was none */
} search;

static bool is_there(search *s, s24_status status, const s24_error *err)
{
    if (status == S24_ERR_SYSTEM) {
        s->trouble = err->sys_errno;
    }
    return status == S24_OK;
}

/* n bytes at `offset` that match the hash, or NULL. */
static char *matching_header(search *s, uint64_t offset, const record *r)
{
    char *header;
    s24_error err;
    if (!header_length_plausible(r->header_bytes) ||
        !is_there(s, s24_input_read_new(s->in, offset, &header, (size_t)r->header_bytes, &err), &err)) {
        return NULL;
    }
    if (XXH3_64bits(header, (size_t)r->header_bytes) == r->hash) {
        return header;
    }
    free(header);
    return NULL;
}

/* A record at `offset`, and a header that it vouches for, at the front or in the copy. */
static char *header_by_record(search *s, uint64_t offset, const char *magic, record *r)
{
    unsigned char bytes[S24_RECORD_BYTES];
    s24_error err;
    if (!is_there(s, s24_input_read(s->in, offset, bytes, sizeof bytes, &err), &err) ||
        parse_record(bytes, magic, "", offset, r, NULL) != S24_OK) {
        return NULL;
    }
    char *header = matching_header(s, 0, r);
    return header ? header : matching_header(s, r->copy, r);
}

/*
 * Salvage: the tail is at the end; the head behind the header. Where the front's length is damaged and the tail is cut
 * off, the head is still at a multiple of 64 within the first bytes.
 */
static s24_status find_header(s24_input *in, char **header, record *r, s24_error *err)
{
    s24_status status = s24_input_hold_all(in, err);
    if (status != S24_OK) {
        return status;
    }
    search s = {.in = in};
    char *found = in->size >= S24_RECORD_BYTES ? header_by_record(&s, in->size - S24_RECORD_BYTES, "S24TAIL", r) : NULL;
    for (uint64_t at = 64; !found && header_length_plausible(at) && at + S24_RECORD_BYTES <= in->size; at += 64) {
        found = header_by_record(&s, at, "S24HEAD", r);
    }
    if (found) {
        *header = found;
        return S24_OK;
    }
    return s.trouble ? s24_fail_errno(err, s.trouble, "cannot read what may be left of its header")
        : s24_fail(err, S24_ERR_DATA, "is damaged beyond recovery: neither its header nor the copy is whole");
}

/* ---------------------------------------------------------------- what the header says */

static s24_status bad_header(s24_error *err, const char *what)
{
    return s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: %s", what);
}

static const char *metadata_get(const s24_contents *stored, const char *key)
{
    for (size_t i = 0; i < stored->pairs; i++) {
        if (strcmp(stored->metadata[i].key, key) == 0) {
            return stored->metadata[i].value;
        }
    }
    return NULL;
}

/* Keys beginning "s24" are ours, but for s24.user.*; an unknown one may change what the file means. */
static s24_status take_user_metadata(s24_plain *plain, const s24_contents *stored, s24_error *err)
{
    static const char *const ours[] = {"s24", "s24.layout", "s24.file", "s24.tensors", "s24.needs", "s24.may"};
    for (size_t i = 0; i < stored->pairs; i++) {
        const s24_pair *pair = &stored->metadata[i];
        const char *key = pair->key;
        bool own = false;
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++) {
            own = own || strcmp(key, ours[k]) == 0;
        }
        if (own) {
            continue;
        }
        const bool escaped = strncmp(key, "s24.user.", 9) == 0;
        if (!escaped && strncmp(key, "s24", 3) == 0) {
            return s24_fail_unsupported(err, "its metadata key %s is unknown to this s24; use a newer one", key);
        }
        const s24_status status =
            s24_contents_take_pair(&plain->contents, escaped ? s24_shared_text(key + 9, err) : s24_shared_keep(pair->key),
                                   s24_shared_keep(pair->value), err);
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

static const char *member_text(const s24_contents *stored, const char *key, s24_error *err)
{
    const char *text = metadata_get(stored, key);
    if (!text) {
        s24_fail(err, S24_ERR_DATA, "its header is no .s24 header: metadata %s is missing", key);
    }
    return text;
}

static s24_status parse_member(const s24_contents *stored, const char *key, cJSON **json, s24_error *err)
{
    const char *text = member_text(stored, key, err);
    if (!text) {
        return S24_ERR_DATA;
    }
    const s24_status status = s24_json_parse(text, strlen(text), MEMBER_VALUES_MAX, json, err);
    return status == S24_ERR_DATA ? s24_fail(err, status, "its header is no .s24 header: %s is no JSON", key) : status;
}

static s24_status parse_layout(s24_plain *plain, const s24_contents *stored, s24_error *err)
{
    cJSON *json;
    s24_status status = parse_member(stored, "s24.layout", &json, err);
    if (status != S24_OK) {
        return status;
    }
    const bool ok = s24_json_size(s24_json_get(json, "panel_groups"), &plain->panel_groups) &&
                    s24_json_size(s24_json_get(json, "panel_bytes"), &plain->panel_bytes) &&
                    s24_plain_sizes_valid(plain);
    cJSON_Delete(json);
    return ok ? S24_OK : bad_header(err, "s24.layout makes no sense");
}

static s24_status parse_file(s24_plain *plain, const s24_contents *stored, s24_error *err)
{
    cJSON *json;
    s24_status status = parse_member(stored, "s24.file", &json, err);
    if (status != S24_OK) {
        return status;
    }
    const char *tool = s24_json_string(json, "tool", err);
    const char *container = tool ? s24_json_string(json, "container", err) : NULL;
    if (container) {
        plain->tool = strdup(tool);
        plain->container = strdup(container);
        status = plain->tool && plain->container ? S24_OK : s24_fail_memory(err, 0);
    } else {
        status = bad_header(err, "s24.file lacks tool or container");
    }
    cJSON_Delete(json);
    return status;
}

static bool optional_string(const cJSON *object, const char *key, const char **value)
{
    const cJSON *item = s24_json_get(object, key);
    *value = item ? item->valuestring : NULL;
    return !item || cJSON_IsString(item);
}

/* A member that has this one value, or is not there. */
static bool optional_mark(const cJSON *object, const char *key, const char *value)
{
    const char *given;
    return optional_string(object, key, &given) && (!given || strcmp(given, value) == 0);
}

/* The dtype of the values plane of the tensor: the header's next stored tensor. It is one that the tensor's can become. */
static s24_status stored_dtype(const s24_contents *stored, size_t at, s24_entry *e, s24_error *err)
{
    const size_t n = strlen(e->name);
    if (at < stored->count && strncmp(stored->entries[at].name, e->name, n) == 0 &&
        strcmp(stored->entries[at].name + n, ".s24.values") == 0 && s24_dtype_prunable(stored->entries[at].dtype)) {
        e->stored = stored->entries[at].dtype;
        return (e->scaled ? s24_dtype_scaled : s24_dtype_convertible)(e->dtype, e->stored)
            ? S24_OK : bad_header(err, "a pruned tensor's values are of a dtype that it cannot become");
    }
    return bad_header(err, "a pruned tensor's values are not where they belong");
}

/* Of how many samples the metrics tell what became of the output. */
static s24_status parse_calibration(s24_pruned *pruned, const cJSON *object, s24_error *err)
{
    const cJSON *const calibration = s24_json_get(object, "calibration");
    size_t samples, held_out;
    if (!calibration) {
        return S24_OK;
    }
    if (!cJSON_IsObject(calibration) || !s24_json_size(s24_json_get(calibration, "samples"), &samples) ||
        !s24_json_size(s24_json_get(calibration, "held_out"), &held_out) || held_out > samples) {
        return bad_header(err, "a tensor's calibration in s24.tensors makes no sense");
    }
    pruned->calibration = s24_calloc(1, sizeof *pruned->calibration, err);
    if (!pruned->calibration) {
        return S24_ERR_SYSTEM;
    }
    pruned->calibration->samples = samples;
    pruned->calibration->held_out_samples = held_out;
    return S24_OK;
}

/* "scales" of an object of s24.tensors: "row", or how many columns share one. */
static s24_status parse_scales(const cJSON *object, s24_entry *e, s24_error *err)
{
    const cJSON *item = s24_json_get(object, "scales");
    size_t group = 0;
    e->scaled = item != NULL;
    if (!item || (cJSON_IsString(item) && strcmp(item->valuestring, "row") == 0) ||
        (s24_json_size(item, &group) && group == S24_SCALE_GROUP)) {
        e->scale_group = (uint16_t)group;
        return S24_OK;
    }
    return s24_fail_unsupported(err, "a tensor in s24.tensors has scales of a kind that this s24 does not know; use a newer one");
}

/* "permuted" of an object of s24.tensors. */
static bool parse_permuted(const cJSON *object, s24_entry *e)
{
    const cJSON *item = s24_json_get(object, "permuted");
    e->permuted = cJSON_IsTrue(item);
    return !item || cJSON_IsBool(item);
}

/* Rows are whole in panels where they must be. */
static s24_status check_panels(const s24_plain *plain, const s24_entry *e, s24_error *err)
{
    const s24_geometry *g = &e->pruned->geometry;
    if (e->scaled && s24_scales_check(g, e->scale_group, plain->panel_groups, NULL) != S24_OK) {
        return bad_header(err, "a scale is for more than a panel");
    }
    return !e->permuted || s24_permutable(g, plain->panel_groups, NULL) == S24_OK
        ? S24_OK : bad_header(err, "a permutation is of more than a panel");
}

/* What only a pruned tensor has. */
static bool is_carried(const cJSON *object)
{
    static const char *const keys[] = {"axis", "scales", "permuted", "calibration"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (s24_json_get(object, keys[i])) {
            return false;
        }
    }
    return true;
}

/* One object of s24.tensors. *at: the stored tensor that it begins with. */
static s24_status parse_tensor(s24_plain *plain, const s24_contents *stored, const cJSON *object, size_t *at,
                               s24_error *err)
{
    const char *name = s24_json_string(object, "name", err), *method, *reason;
    const char *dtype_name = name ? s24_json_string(object, "dtype", err) : NULL;
    const cJSON *dims = s24_json_get(object, "shape"), *item;
    s24_dtype dtype;
    size_t shape[S24_MAX_RANK], axis = 0;
    int rank = 0;
    /* Order and endianness are what the original's were; what is here is in C order and little-endian. */
    if (!dtype_name || !s24_dtype_parse(dtype_name, &dtype) || !cJSON_IsArray(dims) ||
        !optional_string(object, "method", &method) || !optional_string(object, "reason", &reason) ||
        !optional_mark(object, "order", "F") || !optional_mark(object, "endian", "big")) {
        return bad_header(err, "a tensor in s24.tensors lacks something or has the wrong type");
    }
    for (item = dims->child; item; item = item->next) {
        if (rank == S24_MAX_RANK || !s24_json_size(item, &shape[rank++])) {
            return bad_header(err, "a shape in s24.tensors makes no sense");
        }
    }
    s24_entry *e = s24_contents_add(&plain->contents, name, dtype, rank, shape, err);
    if (!e) {
        return err ? err->status : S24_ERR_DATA;
    }
    const s24_entry *const last = plain->contents.count > 1 ? e - 1 : e; /* which of the first has nothing yet */
    e->method = method ? s24_shared_like(last->method, method, err) : NULL;
    e->reason = reason ? s24_shared_like(last->reason, reason, err) : NULL;
    if ((method && !e->method) || (reason && !e->reason)) {
        return S24_ERR_SYSTEM;
    }
    if (!method) {
        *at += 2; /* data, checks */
        return is_carried(object) ? S24_OK : bad_header(err, "a tensor in s24.tensors has what only a pruned one has");
    }
    if (!s24_json_size(s24_json_get(object, "axis"), &axis) || axis >= (size_t)(rank ? rank : 1) ||
        !s24_dtype_prunable(dtype)) {
        return bad_header(err, "a pruned tensor in s24.tensors has no axis or a dtype that cannot be pruned");
    }
    if (!parse_permuted(object, e)) {
        return bad_header(err, "what says whether a tensor is permuted is neither true nor false");
    }
    s24_status status = parse_scales(object, e, err);
    status = status == S24_OK ? stored_dtype(stored, *at, e, err) : status;
    *at += s24_plain_plane_count(e) + e->permuted + 1; /* and the checks */
    status = status == S24_OK ? s24_entry_pack(e, (int)axis, err) : status;
    status = status == S24_OK ? check_panels(plain, e, err) : status;
    return status == S24_OK ? parse_calibration(e->pruned, object, err) : status;
}

static s24_status parse_tensors(s24_plain *plain, const s24_contents *stored, s24_error *err)
{
    const char *text = member_text(stored, "s24.tensors", err);
    s24_json_list list = {.text = text, .n = text ? strlen(text) : 0};
    size_t at = 1; /* after .s24.head */
    while (text) {
        cJSON *object;
        s24_status status = s24_json_next(&list, MEMBER_VALUES_MAX, &object, err);
        if (status == S24_ERR_DATA) {
            return bad_header(err, "s24.tensors is no JSON list");
        }
        if (status != S24_OK || !object) {
            return status;
        }
        status = parse_tensor(plain, stored, object, &at, err);
        cJSON_Delete(object);
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_ERR_DATA;
}

#define FEATURE_SHOWN 64 /* letters of its name */

/* What s24.needs may name. */
enum { NEEDS_SCALES, NEEDS_PERM, FEATURES };
static const char *const features[FEATURES] = {[NEEDS_SCALES] = S24_NEEDS_SCALES, [NEEDS_PERM] = S24_NEEDS_PERM};

/* FEATURES: unknown. */
static int find_feature(const char *name, size_t n)
{
    int i = 0;
    while (i < FEATURES && !(strlen(features[i]) == n && strncmp(features[i], name, n) == 0)) {
        i++;
    }
    return i;
}

static s24_status check_features(const s24_contents *stored, bool named[FEATURES], s24_error *err)
{
    const char *mark = metadata_get(stored, "s24"), *needs = metadata_get(stored, "s24.needs");
    if (!mark || strcmp(mark, "1") != 0) {
        return bad_header(err, "metadata s24 is not \"1\"");
    }
    for (size_t n; needs && *needs; needs += n) { /* names between single blanks */
        n = strcspn(needs, " ");
        const int i = find_feature(needs, n);
        if (i == FEATURES) {
            return s24_fail_unsupported(err, "needs features that this s24 does not know (%.*s); use a newer one",
                                        n < FEATURE_SHOWN ? (int)n : FEATURE_SHOWN, needs);
        }
        named[i] = true;
        n += needs[n] == ' ';
    }
    return S24_OK;
}

/* A reader that does not know a feature refuses the file by its name, and not because it finds it odd. */
static s24_status check_needs(const s24_plain *plain, const bool named[FEATURES], s24_error *err)
{
    for (size_t i = 0; i < plain->contents.count; i++) {
        if (plain->contents.entries[i].scaled && !named[NEEDS_SCALES]) {
            return bad_header(err, "it has scales, and s24.needs does not say so");
        }
        if (plain->contents.entries[i].permuted && !named[NEEDS_PERM]) {
            return bad_header(err, "it has a permutation, and s24.needs does not say so");
        }
    }
    return S24_OK;
}

/* has_record: an archive's plain file is as its header says. */
static s24_status understand(s24_plain *plain, char *header, const record *r, bool has_record, s24_error *err)
{
    s24_contents stored = {.most = STORED_MAX};
    bool named[FEATURES] = {false};
    uint64_t end;
    s24_status status = s24_st_header_parse(header + 8, (size_t)r->header_bytes - 8, r->header_bytes, &stored, &end, err);
    status = status == S24_OK ? check_features(&stored, named, err) : status;
    status = status == S24_OK ? parse_layout(plain, &stored, err) : status;
    status = status == S24_OK ? parse_file(plain, &stored, err) : status;
    status = status == S24_OK ? parse_tensors(plain, &stored, err) : status;
    status = status == S24_OK ? check_needs(plain, named, err) : status;
    status = status == S24_OK ? take_user_metadata(plain, &stored, err) : status;
    if (status != S24_OK) {
        free(header);
    } else {
        status = s24_plain_lay_out_as(plain, header, (size_t)r->header_bytes, &stored, err);
    }
    if (status == S24_OK && has_record && (r->file_size != plain->file_size || r->copy != plain->copy)) {
        status = bad_header(err, "its head contradicts it");
    }
    s24_contents_free(&stored);
    return s24_fail_advise(err, status, S24_PLAIN_ADVICE);
}

static s24_status check_size(const s24_plain *plain, const s24_input *in, s24_error *err)
{
    if (in->size == S24_UNKNOWN || in->size == plain->file_size || plain->lenient) {
        return S24_OK;
    }
    return s24_fail_at(err, in->size < plain->file_size ? in->size : plain->file_size,
                       DAMAGED "it has %llu bytes and should have %llu" RECOVER, (unsigned long long)in->size,
                       (unsigned long long)plain->file_size);
}

/* A .s24 whose beginning is damaged may be either: its end tells. */
static bool is_archive(s24_input *in, const unsigned char *head, size_t n)
{
    unsigned char tail[S24_ARCHIVE_TAIL_BYTES];
    if (s24_archive_shows(head, n) || shows_plain(head, n)) {
        return s24_archive_shows(head, n);
    }
    return in->size != S24_UNKNOWN && in->size >= sizeof tail &&
           s24_input_read(in, in->size - sizeof tail, tail, sizeof tail, NULL) == S24_OK && s24_archive_ends(tail);
}

/* The header of either kind of file. *has_record: r is more than its length. */
static s24_status open_header(s24_source *source, char **header, record *r, bool *has_record, s24_error *err)
{
    unsigned char head[S24_PROBE_BYTES];
    size_t got;
    s24_status status = s24_input_peek(source->in, head, sizeof head, &got, err);
    if (status != S24_OK) {
        return status;
    }
    *has_record = !is_archive(source->in, head, got);
    if (!*has_record) {
        size_t n = 0;
        status = s24_archive_open(source, header, &n, err);
        *r = (record){.header_bytes = n};
        return status;
    }
    if (!source->options->salvage) {
        return read_header(source->in, header, r, err);
    }
    status = find_header(source->in, header, r, err);
    return status == S24_ERR_DATA && file_saved_again(source->in) ? s24_fail(err, S24_ERR_DATA, S24_PLAIN_SAVED_AGAIN) : status;
}

static s24_status plain_open(s24_source *source, s24_error *err)
{
    s24_plain *plain = s24_calloc(1, sizeof *plain, err);
    if (!plain) {
        return S24_ERR_SYSTEM;
    }
    s24_plain_init(plain);
    source->state = plain;
    plain->contents.most = source->contents.most;
    plain->lenient = source->options->salvage;
    char *header = NULL;
    record r;
    bool has_record;
    s24_status status = open_header(source, &header, &r, &has_record, err);
    status = status == S24_OK ? understand(plain, header, &r, has_record, err) : status;
    status = status == S24_OK && has_record ? check_size(plain, source->in, err) : status;
    if (status == S24_OK) { /* the source lists them; the plain keeps what it needs besides */
        source->contents = plain->contents;
        plain->contents = (s24_contents){0};
        plain->metrics.source = source;
        plain->metrics.in = source->in;
    }
    return status == S24_OK && !has_record ? s24_archive_begin(source, err) : status;
}

static void plain_close(s24_source *source)
{
    if (source->state) {
        s24_plain_free(source->state);
        free(source->state);
    }
}

const s24_format s24_format_s24 = {.name = "s24", .suffixes = ".s24", .open = plain_open, .close = plain_close};

/* ---------------------------------------------------------------- data */

/* What is wrong with a checks section of n bytes; NULL: nothing. */
static const char *fault_of_checks(const s24_plain *plain, const s24_entry *entry, const unsigned char *bytes, size_t n)
{
    if (s24_get_u64(bytes + n - 8) != s24_plain_check(plain, entry->checks, bytes, n - 8)) {
        return "do not match their own";
    }
    for (size_t i = 8 * s24_plain_check_count(plain, entry); i < n - 8; i++) {
        if (bytes[i]) {
            return "are followed by what is not zero";
        }
    }
    return NULL;
}

void s24_checks_free(s24_checks *checks)
{
    free(checks->of_panel);
    free(checks->permutation);
    *checks = (s24_checks){0};
}

/* Bytes of a permutation become numbers where they are. *lost: they are none, or not the ones that were written. */
static s24_status take_permutation(const s24_plain *plain, const s24_entry *entry, s24_checks *checks, char *bytes,
                                   const char **lost, s24_error *err)
{
    const size_t cols = entry->pruned->geometry.cols, n = cols * sizeof(int32_t);
    int32_t *numbers = (int32_t *)(void *)bytes; /* malloc's alignment */
    if (s24_plain_check(plain, s24_plain_offset(entry, S24_PLANES), bytes, n) != checks->of_panel[s24_plain_panel_count(plain, entry)]) {
        *lost = "its permutation does not match its check: damaged";
        return S24_OK;
    }
    for (size_t i = 0; i < cols; i++) {
        numbers[i] = (int32_t)s24_get_u32((const unsigned char *)bytes + 4 * i);
    }
    const s24_status status = s24_permutation_check(numbers, cols, err);
    *lost = status == S24_ERR_DATA ? "its permutation does not have each column once" : NULL;
    return status == S24_ERR_DATA ? S24_OK : status;
}

static s24_status load_permutation(const s24_entry *entry, s24_checks *checks, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(entry->source);
    const char *lost = "its permutation is cut off or damaged";
    char *bytes;
    s24_status status = s24_input_read_new(entry->source->in, s24_plain_offset(entry, S24_PLANES), &bytes,
                                           entry->pruned->geometry.cols * sizeof(int32_t), err);
    if (status == S24_OK) {
        status = take_permutation(plain, entry, checks, bytes, &lost, err);
        if (status == S24_OK && !lost) {
            checks->permutation = (int32_t *)(void *)bytes;
            return S24_OK;
        }
        free(bytes);
    } else if (status == S24_ERR_DATA && plain->lenient) {
        status = S24_OK;
    }
    checks->lost = lost;
    return status != S24_OK || plain->lenient ? status
        : s24_fail_at(err, s24_plain_offset(entry, S24_PLANES), "%s: %s" RECOVER, entry->name, lost);
}

static s24_status load_checks(const s24_entry *entry, s24_checks *checks, s24_error *err)
{
    s24_source *const source = entry->source;
    const s24_plain *plain = s24_plain_of(source);
    const size_t n = (size_t)entry->checks_bytes;
    const uint64_t end = entry->checks + n;
    *checks = (s24_checks){0};
    s24_status status = source->options->salvage ? S24_OK /* all is held */
                                                : s24_input_hold(source->in, entry->offset, end - entry->offset, err);
    if (status != S24_OK) {
        return status;
    }
    char *section;
    status = s24_input_read_new(source->in, entry->checks, &section, n, err);
    if (status == S24_ERR_DATA && plain->lenient) { /* cut off: no panel will match */
        section = s24_calloc(n, 1, err);
        status = section ? S24_OK : S24_ERR_SYSTEM;
        checks->damaged = true;
    }
    if (status != S24_OK) {
        return status;
    }
    const unsigned char *bytes = (const unsigned char *)section;
    const char *fault = fault_of_checks(plain, entry, bytes, n);
    if (fault) {
        checks->damaged = true;
        if (!plain->lenient) {
            free(section);
            return s24_fail_at(err, entry->checks, DAMAGED "the checks of %s %s" RECOVER,
                               entry == &plain->metrics ? "its metrics" : entry->name, fault);
        }
    }
    checks->of_panel = (uint64_t *)(void *)section; /* malloc's alignment */
    for (size_t i = 0; i < n / 8; i++) {
        checks->of_panel[i] = s24_get_u64(bytes + 8 * i);
    }
    return S24_OK;
}

s24_status s24_plain_begin(const s24_entry *entry, s24_checks *checks, s24_error *err)
{
    s24_status status = load_checks(entry, checks, err);
    if (status == S24_OK && entry->packed && entry->permuted) {
        status = load_permutation(entry, checks, err);
        if (status != S24_OK) {
            s24_checks_free(checks);
        }
    }
    return status;
}

/* Reads the pieces of a panel into `data`, behind one another, and compares. */
static s24_status read_checked(s24_source *source, uint64_t check, const s24_plain_place *p, void *data, bool *damaged,
                               s24_error *err)
{
    const s24_plain *plain = s24_plain_of(source);
    unsigned char *to = data;
    s24_status status = S24_OK;
    *damaged = false;
    for (int k = 0; k < S24_PLANES && status == S24_OK; to += p->plane[k++].bytes) {
        status = p->plane[k].bytes ? s24_input_read(source->in, p->plane[k].at, to, p->plane[k].bytes, err) : S24_OK;
    }
    const bool unsupported = err && err->sys_errno == ENOTSUP; /* a later s24's: whole, for all that is known */
    if (status == S24_ERR_DATA && plain->lenient && !unsupported) {
        *damaged = true;
        return S24_OK;
    }
    if (status == S24_OK) {
        *damaged = s24_plain_check(plain, p->plane[S24_VALUES].at, data, p->bytes) != check;
    }
    return status;
}

s24_status s24_plain_read_panel(const s24_entry *entry, const s24_checks *checks, size_t panel, void *planes, bool *damaged,
                                s24_error *err)
{
    const s24_plain *plain = s24_plain_of(entry->source);
    const s24_panels panels = s24_plain_panels(plain, entry);
    const s24_panel_place place = s24_panel_at(&panels, panel);
    const s24_plain_place p = s24_plain_panel_place(entry, &place);
    const s24_status status = read_checked(entry->source, checks->of_panel[panel], &p, planes, damaged, err);
    if (status == S24_OK && *damaged && !plain->lenient) {
        return s24_fail_at(err, p.plane[S24_VALUES].at, "rows %zu to %zu do not match their check: damaged" RECOVER, place.row,
                           place.row + place.rows - 1);
    }
    return status;
}

s24_status s24_plain_read_carried(const s24_entry *entry, const s24_checks *checks, size_t panel, void *data, size_t *n,
                                  bool *damaged, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(entry->source);
    const uint64_t from = (uint64_t)panel * plain->panel_bytes, left = entry->bytes - from;
    *n = left < plain->panel_bytes ? (size_t)left : plain->panel_bytes;
    const s24_plain_place p = {.plane[S24_VALUES] = {entry->offset + from, *n}, .bytes = *n};
    const s24_status status = read_checked(entry->source, checks->of_panel[panel], &p, data, damaged, err);
    if (status == S24_OK && *damaged && !plain->lenient) {
        return s24_fail_at(err, p.plane[S24_VALUES].at, "bytes %llu to %llu do not match their check: damaged" RECOVER,
                           (unsigned long long)from, (unsigned long long)(from + *n - 1));
    }
    return status;
}

/* ---------------------------------------------------------------- the end of the file */

/*
 * What the shape alone says: how many elements there are, and how many of them cannot have been kept. Of the tail of a
 * row more may have been pruned: a transposable mask keeps padding there.
 */
static bool counts_fit(const s24_entry *e)
{
    const s24_geometry *const g = &e->pruned->geometry;
    const s24_sums *const sums = &e->pruned->sums;
    const uint64_t least = g->rows * s24_pruned_per_row(g->cols), most = g->rows * (g->cols / 4 * 2 + g->cols % 4);
    return sums->total_count == g->num_elements && sums->pruned_count >= least && sums->pruned_count <= most;
}

static s24_status read_metrics(s24_source *source, s24_error *err)
{
    s24_plain *plain = s24_plain_of(source);
    const s24_entry *m = &plain->metrics;
    unsigned char *slots = s24_alloc((size_t)m->bytes, err);
    s24_checks checks = {0};
    s24_status status = slots ? s24_plain_begin(m, &checks, err) : S24_ERR_SYSTEM;
    bool damaged = false;
    size_t at = 0;
    assert(!plain->lenient); /* damage is an error */
    for (size_t i = 0; i < s24_plain_carried_panels(plain, m) && status == S24_OK; i++) {
        size_t n = 0;
        status = s24_plain_read_carried(m, &checks, i, slots + at, &n, &damaged, err);
        s24_fail_prefix(err, status, "the recorded metrics: ");
        at += n;
    }
    at = 0;
    for (size_t i = 0; i < source->contents.count && status == S24_OK; i++) {
        s24_entry *e = &source->contents.entries[i];
        if (e->packed) {
            if (!s24_plain_get_metrics(e->pruned, slots + at) || !counts_fit(e)) {
                status = s24_fail_at(err, m->offset + at, "the recorded metrics make no sense; " S24_PLAIN_ADVICE);
            }
            at += 8 * S24_METRICS_SLOTS;
        }
    }
    s24_checks_free(&checks);
    free(slots);
    return status;
}

static s24_status check_copy(s24_source *source, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(source);
    unsigned char copy[4096], own[sizeof copy];
    s24_inflater header;
    s24_status status = S24_OK;
    s24_inflate_begin(&header, &plain->header);
    for (size_t at = 0; at < plain->header_bytes && status == S24_OK;) {
        const size_t left = plain->header_bytes - at, n = left < sizeof copy ? left : sizeof copy;
        status = s24_input_read(source->in, plain->copy + at, copy, n, err);
        status = status == S24_OK ? s24_inflate_read(&header, at, own, n, err) : status;
        if (status == S24_OK && memcmp(copy, own, n) != 0) {
            status = s24_fail_at(err, plain->copy + at, DAMAGED "the copy of its header is not the header" RECOVER);
        }
        at += n;
    }
    s24_inflate_end(&header);
    return status;
}

static s24_status check_record(s24_source *source, const char *magic, uint64_t offset, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(source);
    unsigned char bytes[S24_RECORD_BYTES], expected[S24_RECORD_BYTES];
    s24_plain_record(plain, magic, expected);
    const s24_status status = s24_input_read(source->in, offset, bytes, sizeof bytes, err);
    if (status == S24_OK && memcmp(bytes, expected, sizeof bytes) != 0) {
        return s24_fail_at(err, offset, DAMAGED "its tail does not match" RECOVER);
    }
    return status;
}

s24_status s24_plain_end(s24_source *source, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(source);
    s24_status status = read_metrics(source, err);
    status = status == S24_OK ? check_copy(source, err) : status;
    status = status == S24_OK ? check_record(source, "S24TAIL", plain->tail, err) : status;
    return status == S24_OK ? s24_input_expect_end(source->in, plain->file_size, err) : status;
}
