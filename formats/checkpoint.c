#include "checkpoint.h"
#include "layout.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_SUFFIX ".index.json"
#define ADVICE "correct the index, or save the model again"
#define INDEX_MAX 100000000u /* as a safetensors header: the same names are in both */
#define INDEX_VALUES_MAX (S24_TENSORS_MAX + 1000) /* the tensors', and what else is in it */

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool s24_checkpoint_is(const char *path, bool format_given)
{
    return is_directory(path) || (!format_given && s24_ends_with(path, INDEX_SUFFIX));
}

char *s24_path_join(const char *directory, const char *name, s24_error *err)
{
    const size_t n = strlen(directory), size = n + 1 + strlen(name) + 1;
    char *path = s24_alloc(size, err);
    if (path) {
        snprintf(path, size, "%s%s%s", directory, n && directory[n - 1] != '/' ? "/" : "", name);
    }
    return path;
}

s24_status s24_directory_next(DIR *directory, const char **name, s24_error *err)
{
    errno = 0;
    const struct dirent *const e = readdir(directory);
    *name = e ? e->d_name : NULL;
    return e || errno == 0 ? S24_OK : s24_fail_errno(err, errno, "cannot read the directory");
}

/* A weights file by its name. */
static const s24_format *weights_format(const char *name)
{
    static const s24_format *const formats[] = {&s24_format_safetensors, &s24_format_s24};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (*name != '.' && s24_ends_with(name, formats[i]->suffixes)) {
            return formats[i];
        }
    }
    return NULL;
}

static bool is_index(const char *name)
{
    return s24_ends_with(name, ".safetensors" INDEX_SUFFIX) || s24_ends_with(name, ".s24" INDEX_SUFFIX);
}

bool s24_checkpoint_owns(const char *name)
{
    return weights_format(name) || is_index(name);
}

/* ---------------------------------------------------------------- the directory */

typedef struct listing {
    s24_names names; /* of weights files */
    char *index;  /* of indexes the first in order */
    size_t indexes;
    bool pickles; /* weights as PyTorch saved them */
} listing;

static void listing_free(listing *l)
{
    s24_names_free(&l->names);
    free(l->index);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static s24_status list_name(listing *l, const char *name, s24_error *err)
{
    if (is_index(name)) {
        l->indexes++;
        if (!l->index || strcmp(name, l->index) < 0) {
            free(l->index);
            l->index = strdup(name);
            return l->index ? S24_OK : s24_fail_memory(err, strlen(name));
        }
    } else if (weights_format(name)) {
        return s24_names_add(&l->names, name, err);
    } else {
        l->pickles = l->pickles || s24_ends_with(name, ".bin") || s24_ends_with(name, ".pt") || s24_ends_with(name, ".pth");
    }
    return S24_OK;
}

static s24_status list_directory(const char *directory, listing *l, s24_error *err)
{
    DIR *d = opendir(directory);
    s24_status status = S24_OK;
    if (!d) {
        return s24_fail_errno(err, errno, "cannot read the directory");
    }
    for (const char *name = ""; status == S24_OK && name;) {
        status = s24_directory_next(d, &name, err);
        status = status == S24_OK && name ? list_name(l, name, err) : status;
    }
    closedir(d);
    if (l->names.count) {
        qsort(l->names.items, l->names.count, sizeof *l->names.items, by_text);
    }
    return status;
}

/* ---------------------------------------------------------------- the index */

static s24_status read_index(s24_checkpoint *c, const s24_io *io, s24_error *err)
{
    s24_input *in;
    char *path = s24_path_join(c->directory, c->index, err);
    s24_status status = path ? s24_input_open(&in, io, path, err) : S24_ERR_SYSTEM;
    free(path);
    if (status != S24_OK) {
        return status;
    }
    if (in->size > INDEX_MAX) {
        status = s24_fail(err, S24_ERR_DATA, "is no index: it is larger than 100 MB");
    }
    c->index_bytes = (size_t)in->size;
    status = status == S24_OK ? s24_input_read_new(in, 0, &c->index_text, c->index_bytes, err) : status;
    s24_input_close(in);
    return status == S24_OK ? s24_json_parse(c->index_text, c->index_bytes, INDEX_VALUES_MAX, &c->json, err) : status;
}

/* A shard's name: one component of a path, that no terminal and no file system takes amiss. */
static s24_status check_shard_name(const cJSON *place, s24_error *err)
{
    const char *name = place->valuestring;
    if (!cJSON_IsString(place)) {
        return s24_fail(err, S24_ERR_DATA, "weight_map: %s: the file's name is not a string", place->string);
    }
    bool plain = *name && *name != '.' && !strchr(name, '/');
    for (const char *p = name; *p; p++) {
        plain = plain && (unsigned char)*p >= 0x20 && *p != 0x7f;
    }
    if (!plain) {
        return s24_fail(err, S24_ERR_DATA, "weight_map: %s: \"%s\" is not the name of a file beside the index",
                        place->string, name);
    }
    return weights_format(name) ? S24_OK
                                : s24_fail(err, S24_ERR_DATA, "weight_map: %s: \"%s\" is neither .safetensors nor .s24",
                                           place->string, name);
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const s24_index_place *)a)->tensor, ((const s24_index_place *)b)->tensor);
}

/* The different names of files that the index lists, in order. */
static s24_status list_shards(s24_checkpoint *c, const cJSON *map, s24_error *err)
{
    const cJSON *place;
    size_t count = 0;
    const size_t most = (size_t)cJSON_GetArraySize(map);
    const char **names = s24_calloc(most, sizeof *names, err);
    c->places = s24_calloc(most, sizeof *c->places, err);
    s24_status status = names && c->places ? S24_OK : S24_ERR_SYSTEM;
    for (place = map->child; place; place = place->next) {
        status = status == S24_OK ? check_shard_name(place, err) : status;
        if (status == S24_OK) {
            names[count++] = place->valuestring;
        }
    }
    if (status == S24_OK && count) {
        qsort(names, count, sizeof *names, by_text);
    }
    for (size_t i = 0; i < count && status == S24_OK; i++) {
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) {
            status = s24_names_add(&c->shards, names[i], err);
        }
    }
    free(names);
    return status;
}

static s24_status understand_index(s24_checkpoint *c, s24_error *err)
{
    const cJSON *map = s24_json_get(c->json, "weight_map"), *place;
    if (!cJSON_IsObject(map)) {
        return s24_fail(err, S24_ERR_DATA, "is no index of a checkpoint: it has no weight_map");
    }
    const s24_status status = list_shards(c, map, err);
    if (status != S24_OK) {
        return status;
    }
    if (c->shards.count == 0) {
        return s24_fail(err, S24_ERR_DATA, "its weight_map is empty");
    }
    for (size_t i = 1; i < c->shards.count; i++) { /* m.s24 and m.safetensors would become one file */
        if (weights_format(c->shards.items[i]) != weights_format(c->shards.items[0])) {
            return s24_fail(err, S24_ERR_DATA, "lists %s and %s: they are not of one model", c->shards.items[0],
                            c->shards.items[i]);
        }
    }
    for (place = map->child; place; place = place->next) {
        char *const *shard = bsearch(&place->valuestring, c->shards.items, c->shards.count, sizeof *c->shards.items, by_text);
        c->places[c->place_count++] = (s24_index_place){.tensor = place->string, .shard = (size_t)(shard - c->shards.items)};
    }
    qsort(c->places, c->place_count, sizeof *c->places, by_tensor);
    return S24_OK;
}

static s24_status use_index(s24_checkpoint *c, const s24_io *io, s24_error *err)
{
    const s24_status status = read_index(c, io, err);
    return s24_fail_prefix(err, status == S24_OK ? understand_index(c, err) : status, "%s: ", c->index);
}

/* ---------------------------------------------------------------- which files */

static s24_status refuse_extra(const s24_checkpoint *c, const listing *l, s24_error *err)
{
    for (size_t i = 0; i < l->names.count; i++) {
        if (!bsearch(&l->names.items[i], c->shards.items, c->shards.count, sizeof *c->shards.items, by_text)) {
            return s24_fail(err, S24_ERR_DATA, "%s is not in %s; move it away, or give the index itself as the input to "
                            "leave it out", l->names.items[i], c->index);
        }
    }
    return S24_OK;
}

static s24_status choose(s24_checkpoint *c, listing *l, const s24_io *io, s24_error *err)
{
    if (l->indexes > 1) {
        return s24_fail(err, S24_ERR_DATA, "has %zu indexes, %s first; give the index meant as the input", l->indexes,
                        l->index);
    }
    if (l->index) {
        c->index = l->index;
        l->index = NULL;
        const s24_status status = use_index(c, io, err);
        return status == S24_OK ? refuse_extra(c, l, err) : status;
    }
    if (l->names.count == 0) {
        return s24_fail(err, S24_ERR_DATA, "has no .safetensors and no .s24 files; %s", l->pickles ? "save PyTorch's with "
                        "safetensors.torch.save_file, or save_pretrained(safe_serialization=True)"
                        : "name the file that holds the weights");
    }
    if (l->names.count > 1) {
        return s24_fail(err, S24_ERR_DATA, "has %zu weights files, %s first, and no index, which a model in several "
                        "files needs; name one file instead", l->names.count, l->names.items[0]);
    }
    return s24_names_add(&c->shards, l->names.items[0], err);
}

static s24_status set_directory(s24_checkpoint *c, const char *path, bool whole, s24_error *err)
{
    const char *slash = strrchr(path, '/');
    c->directory = whole ? strdup(path) : slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!whole) {
        c->index = strdup(slash ? slash + 1 : path);
    }
    return c->directory && (whole || c->index) ? S24_OK : s24_fail_memory(err, strlen(path));
}

s24_status s24_checkpoint_find(s24_source *source, const s24_io *io, const char *path, s24_error *err)
{
    const bool whole = is_directory(path);
    listing l = {0};
    s24_checkpoint *c = source->checkpoint = s24_calloc(1, sizeof *c, err);
    if (!c) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = s24_input_memory(&source->in, io, path, NULL, 0, err);
    status = status == S24_OK ? set_directory(c, path, whole, err) : status;
    if (status == S24_OK && whole) {
        status = list_directory(c->directory, &l, err);
        status = status == S24_OK ? choose(c, &l, io, err) : status;
    } else if (status == S24_OK) {
        status = read_index(c, io, err);
        status = status == S24_OK ? understand_index(c, err) : status;
    }
    listing_free(&l);
    if (status == S24_OK) {
        const char *from = source->options->format;
        source->format = weights_format(c->shards.items[0]);
        if (from && strcmp(from, source->format->name) != 0) {
            return s24_fail(err, S24_ERR_DATA, "is a checkpoint of .%s files, not .%s; leave --from out",
                            source->format->name, from);
        }
    }
    return s24_fail_advise(err, status, ADVICE);
}

/* ---------------------------------------------------------------- the shards */

static s24_status open_part(s24_source *source, size_t i, s24_error *err)
{
    const s24_checkpoint *c = source->checkpoint;
    s24_source *part = NULL;
    char *path = s24_path_join(c->directory, c->shards.items[i], err);
    s24_status status = path ? s24_source_find(&part, source->io, path, source->options, err) : S24_ERR_SYSTEM;
    if (status == S24_OK) {
        source->parts[source->part_count++] = part;
        part->is_part = true;
        status = part->format == source->format ? s24_source_parse(part, err)
                 : s24_fail(err, S24_ERR_DATA, "is .%s, other shards are .%s: they are not of one model",
                            part->format->name, source->format->name);
    }
    free(path);
    return s24_fail_prefix(err, status, "%s: ", c->shards.items[i]);
}

/* All shards are there: those that are not are told at once, the first by its name. */
static s24_status find_shards(const s24_checkpoint *c, s24_error *err)
{
    size_t missing = 0, first = 0;
    for (size_t i = c->shards.count; i-- > 0;) {
        char *path = s24_path_join(c->directory, c->shards.items[i], err);
        if (!path) {
            return S24_ERR_SYSTEM;
        }
        if (access(path, F_OK) != 0 && errno == ENOENT) {
            missing++;
            first = i;
        }
        free(path);
    }
    if (missing) {
        s24_fail(err, S24_ERR_DATA, "%s%s missing: %zu of the %zu file%s that %s lists; put %s beside it",
                 c->shards.items[first], missing > 1 ? " and others are" : " is", missing, c->shards.count,
                 s24_plural(c->shards.count), c->index, missing > 1 ? "them" : "it");
        if (err) {
            err->sys_errno = ENOENT;
        }
        return S24_ERR_DATA;
    }
    return S24_OK;
}

/* Every tensor of the shard is where the index says. */
static s24_status compare_part(const s24_source *source, size_t shard, s24_error *err)
{
    const s24_checkpoint *c = source->checkpoint;
    const s24_contents *contents = &source->parts[shard]->contents;
    for (size_t i = 0; i < contents->count && c->index; i++) {
        const s24_index_place key = {.tensor = contents->entries[i].name};
        const s24_index_place *place = bsearch(&key, c->places, c->place_count, sizeof *c->places, by_tensor);
        if (!place || place->shard != shard) {
            return s24_fail(err, S24_ERR_DATA, "%s: tensor %s is in it, but %s%s", c->shards.items[shard], key.tensor,
                            place ? "the index says in " : "not in the index", place ? c->shards.items[place->shard] : "");
        }
    }
    return S24_OK;
}

/* As many tensors as the index has, all of them in it: then none is missing. Otherwise one is named. */
static s24_status compare_count(s24_source *source, s24_error *err)
{
    const s24_checkpoint *c = source->checkpoint;
    size_t count = 0;
    for (size_t i = 0; i < source->part_count; i++) {
        count += source->parts[i]->contents.count;
    }
    if (!c->index || count == c->place_count) {
        return S24_OK;
    }
    const s24_index_place *p = c->places;
    while (s24_source_find_entry(source->parts[p->shard], p->tensor)) {
        p++;
        assert(p < c->places + c->place_count); /* those that are there are fewer, since each has its own place */
    }
    return s24_fail(err, S24_ERR_DATA, "%s: has no tensor %s, which the index says is in it", c->shards.items[p->shard],
                    p->tensor);
}

/* A pair of metadata, of one of the shards; `number` counts them through all. */
typedef struct pair_place {
    const s24_pair *pair;
    const s24_source *part;
    size_t number;
} pair_place;

static int by_number(const void *a, const void *b)
{
    const size_t x = ((const pair_place *)a)->number, y = ((const pair_place *)b)->number;
    return (x > y) - (x < y);
}

static int by_key(const void *a, const void *b)
{
    const int order = strcmp(((const pair_place *)a)->pair->key, ((const pair_place *)b)->pair->key);
    return order ? order : by_number(a, b);
}

static pair_place *list_pairs(const s24_source *source, size_t *count, s24_error *err)
{
    *count = 0;
    for (size_t i = 0; i < source->part_count; i++) {
        *count += source->parts[i]->contents.pairs;
    }
    pair_place *places = s24_calloc(*count, sizeof *places, err);
    for (size_t i = 0, n = 0; i < source->part_count && places; i++) {
        const s24_contents *c = &source->parts[i]->contents;
        for (size_t k = 0; k < c->pairs; k++, n++) {
            places[n] = (pair_place){.pair = &c->metadata[k], .part = source->parts[i], .number = n};
        }
    }
    return places;
}

/* The metadata of all shards, in order: what two say differently is the first one's, and told. */
static s24_status gather_metadata(s24_source *source, s24_error *err)
{
    size_t count, kept = 0;
    pair_place *places = list_pairs(source, &count, err);
    s24_status status = places ? S24_OK : S24_ERR_SYSTEM;
    if (status == S24_OK && count) {
        qsort(places, count, sizeof *places, by_key);
    }
    for (size_t i = 0; i < count && status == S24_OK; i++) {
        const s24_pair *pair = places[i].pair;
        if (kept == 0 || strcmp(places[kept - 1].pair->key, pair->key) != 0) {
            places[kept++] = places[i];
        } else if (strcmp(places[kept - 1].pair->value, pair->value) != 0) {
            s24_io_note(source->io, "%s: metadata %s differs from that of the shards before", places[i].part->in->name,
                        pair->key);
        }
    }
    if (kept) {
        qsort(places, kept, sizeof *places, by_number);
    }
    for (size_t i = 0; i < kept && status == S24_OK; i++) {
        status = s24_contents_keep_pair(&source->contents, places[i].pair, err);
    }
    free(places);
    return status;
}

/* Moves the parts' entries behind one another. */
static s24_status gather(s24_source *source, s24_error *err)
{
    s24_contents *all = &source->contents;
    for (size_t i = 0; i < source->part_count; i++) {
        all->capacity += source->parts[i]->contents.count;
    }
    const s24_status status = s24_contents_fit(all->capacity, err);
    all->entries = status == S24_OK ? s24_calloc(all->capacity, sizeof *all->entries, err) : NULL;
    if (!all->entries) {
        return status == S24_OK ? S24_ERR_SYSTEM : status;
    }
    for (size_t i = 0; i < source->part_count; i++) {
        s24_source *part = source->parts[i];
        if (part->contents.count) {
            memcpy(all->entries + all->count, part->contents.entries, part->contents.count * sizeof *all->entries);
        }
        all->count += part->contents.count;
        free(part->contents.entries);
        free(part->by_name);
        part->by_name = NULL;
        part->contents.entries = NULL;
        part->contents.count = part->contents.capacity = 0;
    }
    s24_checkpoint_divide(source);
    return gather_metadata(source, err);
}

void s24_checkpoint_divide(s24_source *source)
{
    s24_contents *all = &source->contents;
    size_t at = 0;
    for (size_t i = 0; i < source->part_count; i++) {
        s24_contents *own = &source->parts[i]->contents;
        const size_t first = at;
        while (at < all->count && all->entries[at].source == source->parts[i]) {
            at++;
        }
        own->entries = all->entries + first;
        own->count = at - first;
    }
}

s24_status s24_checkpoint_parse(s24_source *source, s24_error *err)
{
    const s24_checkpoint *c = source->checkpoint;
    source->parts = s24_calloc(c->shards.count, sizeof *source->parts, err);
    if (!source->parts) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = c->index ? find_shards(c, err) : S24_OK;
    for (size_t i = 0; i < c->shards.count && status == S24_OK; i++) {
        status = open_part(source, i, err);
    }
    for (size_t i = 0; i < c->shards.count && status == S24_OK; i++) {
        status = compare_part(source, i, err);
    }
    status = status == S24_OK ? compare_count(source, err) : status;
    status = status == S24_OK ? gather(source, err) : status;
    if (status == S24_OK && source->format == &s24_format_safetensors) {
        status = s24_layout_apply(source, err);
        s24_checkpoint_divide(source);
        for (size_t i = 0; i < source->part_count; i++) {
            s24_layout_unmark(&source->parts[i]->contents);
        }
    }
    return s24_fail_advise(err, status, ADVICE);
}

void s24_checkpoint_close(s24_source *source)
{
    s24_checkpoint *c = source->checkpoint;
    const bool gathered = source->contents.entries != NULL;
    for (size_t i = 0; i < source->part_count; i++) {
        if (gathered) { /* they are the whole's */
            source->parts[i]->contents.entries = NULL;
            source->parts[i]->contents.count = 0;
        }
        s24_source_close(source->parts[i]);
    }
    free(source->parts);
    s24_names_free(&c->shards);
    cJSON_Delete(c->json);
    free(c->index_text);
    free(c->places);
    free(c->index);
    free(c->directory);
    free(c);
}
