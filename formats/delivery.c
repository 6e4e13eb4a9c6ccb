#include "delivery.h"

#include "config_json.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)
#define LEFT_OUT SIZE_MAX

bool s24_delivery_has(const s24_delivery *d, size_t i)
{
    return d->shards == 0 || i % d->shards == d->shard - 1;
}

static const char *shown(const char *path)
{
    return strcmp(path, "-") ? path : "standard output";
}

/* ---------------------------------------------------------------- what was written so far */

static s24_status keep_output(s24_delivery *d, s24_output *out, s24_error *err)
{
    s24_status status = s24_output_seal(out, err);
    if (status == S24_OK && d->output_count == d->output_capacity) {
        const size_t capacity = d->output_capacity ? 2 * d->output_capacity : 8;
        s24_output **outputs = realloc(d->outputs, capacity * sizeof *outputs);
        if (outputs) {
            d->outputs = outputs;
            d->output_capacity = capacity;
        } else {
            status = s24_fail_memory(err, capacity * sizeof *outputs);
        }
    }
    if (status != S24_OK) {
        s24_fail_prefix(err, status, "%s: ", out->name);
        s24_output_abort(out);
        return status;
    }
    d->outputs[d->output_count++] = out;
    return S24_OK;
}

/* A directory that need not be there yet; one that is made here goes again when the delivery fails. */
static s24_status make_directory(s24_delivery *d, const char *path, s24_error *err)
{
    if (mkdir(path, 0777) != 0) {
        const int e = errno;
        return e == EEXIST ? S24_OK /* if it is no directory, opening a file in it says so */
            : s24_fail_prefix(err, e == ENOENT ? s24_fail(err, S24_ERR_SYSTEM, "cannot make the directory: the one that it "
                                                          "would be in is not there")
                                               : s24_fail_errno(err, e, "cannot make the directory"), "%s: ", path);
    }
    s24_status status = d->io->no_sync ? S24_OK : s24_sync_entry(path, err);
    s24_fail_prefix(err, status, "%s: ", path);
    status = status == S24_OK ? s24_names_add(&d->directories, path, err) : status;
    if (status != S24_OK) {
        rmdir(path);
    }
    return status;
}

static void delivery_free(s24_delivery *d, bool failed)
{
    while (d->output_count) {
        s24_output_abort(d->outputs[--d->output_count]);
    }
    for (size_t i = d->directories.count; failed && i > 0; i--) {
        rmdir(d->directories.items[i - 1]); /* fails, as it should, unless it is empty */
    }
    s24_names_free(&d->directories);
    free(d->outputs);
    d->outputs = NULL;
}

void s24_delivery_abort(s24_delivery *d)
{
    delivery_free(d, true);
}

/* placed: the files that were not there before, but for those that other jobs count on. */
static s24_status commit_output(s24_delivery *d, size_t i, s24_names *placed, s24_error *err)
{
    s24_output *const out = d->outputs[i];
    const bool is_new = out->temporary && !out->shared && !d->io->force;
    s24_status status = is_new ? s24_names_add(placed, out->target, err) : S24_OK;
    if (status != S24_OK) {
        return status;
    }
    char *const name = strdup(out->name);
    status = s24_output_commit(out, err);
    d->outputs[i] = NULL;
    s24_fail_prefix(err, status, "%s: ", name ? name : shown(d->output));
    free(name);
    if (status != S24_OK && is_new) { /* whatever is there is another's */
        free(placed->items[--placed->count]);
    }
    return status;
}

s24_status s24_delivery_commit(s24_delivery *d, s24_error *err)
{
    s24_status status = S24_OK;
    s24_names placed = {0};
    for (size_t i = 0; i < d->output_count && status == S24_OK; i++) {
        if (i != d->index) {
            status = commit_output(d, i, &placed, err);
        }
    }
    if (status == S24_OK && d->index < d->output_count) {
        status = commit_output(d, d->index, &placed, err);
    }
    for (size_t i = 0; i < placed.count && status != S24_OK; i++) {
        unlink(placed.items[i]);
    }
    s24_names_free(&placed);
    delivery_free(d, status != S24_OK);
    return status;
}

/* ---------------------------------------------------------------- names */

/* Other tools' layouts have no suffix of their own: they are safetensors files. */
static const char *file_suffix(const s24_delivery *d)
{
    return d->format->suffixes ? d->format->suffixes : s24_format_safetensors.suffixes;
}

/* The name of shard i in the output; the caller frees it. */
static char *shard_name(const s24_delivery *d, size_t i, s24_error *err)
{
    const char *name = d->source->checkpoint->shards.items[i], *suffix = file_suffix(d);
    const size_t stem = (size_t)(strrchr(name, '.') - name), size = stem + strlen(suffix) + 1;
    char *path = s24_alloc(size, err);
    if (path) {
        snprintf(path, size, "%.*s%s", (int)stem, name, suffix);
    }
    return path;
}

/* "model.safetensors.index.json" as "model.s24.index.json"; the caller frees it. */
static char *index_name(const s24_delivery *d, s24_error *err)
{
    static const char suffix[] = ".index.json";
    const char *name = d->source->checkpoint->index, *from = d->source->format->suffixes;
    const char *to = file_suffix(d);
    size_t stem = strlen(name) - (sizeof suffix - 1);
    if (stem > strlen(from) && memcmp(name + stem - strlen(from), from, strlen(from)) == 0) {
        stem -= strlen(from);
    } else {
        to = ""; /* an index that says nothing of its files' type */
    }
    const size_t size = stem + strlen(to) + sizeof suffix;
    char *path = s24_alloc(size, err);
    if (path) {
        snprintf(path, size, "%.*s%s%s", (int)stem, name, to, suffix);
    }
    return path;
}

/* ---------------------------------------------------------------- a file */

/* A plan of the entries, and for each its number in it. */
static s24_status plan_entries(const s24_delivery *d, s24_entry *entries, size_t count, s24_contents *plan,
                               size_t *numbers, s24_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const size_t before = plan->count;
        const s24_status status = d->plan(d->ctx, &entries[i], plan, err);
        if (status != S24_OK) {
            return status;
        }
        numbers[i] = plan->count > before ? before : LEFT_OUT;
    }
    return S24_OK;
}

static s24_status plan_metadata(const s24_delivery *d, const s24_contents *from, s24_contents *plan, s24_error *err)
{
    for (size_t i = 0; i < from->pairs && !d->without_metadata; i++) {
        const s24_status status = s24_contents_keep_pair(plan, &from->metadata[i], err);
        if (status != S24_OK) {
            return status;
        }
    }
    return S24_OK;
}

/* Every file that is read: none of them may be written. */
static s24_status open_output(const s24_delivery *d, const char *path, s24_output **out, s24_error *err)
{
    size_t count = 0;
    for (size_t k = 0; k <= d->other_count; k++) {
        const s24_source *const source = k ? d->others[k - 1] : d->source;
        count += source ? s24_source_files(source) : 0;
    }
    s24_input **inputs = s24_calloc(count, sizeof *inputs, err);
    if (!inputs) {
        return S24_ERR_SYSTEM;
    }
    count = 0;
    for (size_t k = 0; k <= d->other_count; k++) {
        s24_source *const source = k ? d->others[k - 1] : d->source;
        for (size_t i = 0; source && i < s24_source_files(source); i++) {
            inputs[count++] = s24_source_file(source, i)->in;
        }
    }
    const s24_status status = s24_output_open(out, d->io, path, inputs, count, err);
    free(inputs);
    return status;
}

/* The real path of what is there, or of the directory that it will be in; NULL: opening it will say why. */
static char *real_place(const char *path)
{
    char *real = realpath(path, NULL);
    const char *slash = strrchr(path, '/');
    if (!real && errno == ENOENT && slash) {
        char *const directory = strndup(path, (size_t)(slash - path) + 1);
        real = directory ? realpath(directory, NULL) : NULL;
        free(directory);
    }
    return real;
}

static bool is_within(const char *path, const char *directory)
{
    const size_t n = strlen(directory);
    return strncmp(path, directory, n) == 0 && (path[n] == '\0' || path[n] == '/' || directory[n - 1] == '/');
}

/*
 * A file of the output is none of the input's directory, wherever links, or a directory of the same name in both, lead.
 * An output directory inside the input is fine.
 */
static s24_status refuse_input(const s24_delivery *d, const char *path, s24_error *err)
{
    char *const real = real_place(path), *const input = realpath(d->source->checkpoint->directory, NULL);
    char *const output = realpath(d->output, NULL);
    const bool refused = real && input && output && is_within(real, input) &&
                         !(is_within(output, input) && is_within(real, output));
    free(real);
    free(input);
    free(output);
    return refused ? s24_fail(err, S24_ERR_USAGE, "%s: lies in the input; choose another output", path) : S24_OK;
}

static s24_status open_target(const s24_delivery *d, const char *path, const s24_source *file, s24_contents *plan,
                              s24_target *target, s24_error *err)
{
    s24_output *out = NULL;
    s24_status status = d->format == &s24_format_s24 ? S24_OK : s24_format_accepts(d->format, plan, err);
    status = status == S24_OK ? open_output(d, path, &out, err) : status;
    if (status == S24_OK) {
        const s24_target_settings settings = {.format = d->format, .container = d->source->format->name,
                                              .panel_groups = d->panel_groups, .panel_bytes = d->panel_bytes,
                                              .packing = d->packing, .keep = d->keep ? s24_plain_of(file) : NULL};
        status = s24_target_open(target, &settings, out, plan, err);
    } else {
        s24_contents_free(plan);
    }
    return s24_fail_prefix(err, status, "%s: ", shown(path));
}

/* The entries that are in the plan. */
static s24_status process_entries(s24_delivery *d, s24_target *target, s24_contents *from, const size_t *numbers,
                                  s24_error *err)
{
    s24_task *tasks = s24_calloc(from->count, sizeof *tasks, err);
    size_t count = 0;
    for (size_t i = 0; tasks && i < from->count; i++) {
        if (numbers[i] != LEFT_OUT) {
            tasks[count++] = (s24_task){.entry = &from->entries[i], .planned = numbers[i]};
        }
    }
    const s24_status status = tasks ? d->process(d->ctx, target, tasks, count, err) : S24_ERR_SYSTEM;
    free(tasks);
    return status;
}

/* All is written. What tensors take in an archive is told to those that they come from. */
static s24_status finish_target(s24_target *target, s24_contents *from, const size_t *numbers, s24_output **out,
                                s24_error *err)
{
    const bool archive = target->writer && target->writer->archive;
    uint64_t *coded = archive ? s24_calloc(from->count, sizeof *coded, err) : NULL; /* no fewer than are planned */
    if (archive && !coded) {
        s24_target_abort(target);
        return S24_ERR_SYSTEM;
    }
    if (archive) {
        target->writer->coded = coded;
    }
    const s24_status status = s24_target_finish(target, out, err);
    for (size_t i = 0; archive && i < from->count && status == S24_OK; i++) {
        from->entries[i].coded = numbers[i] == LEFT_OUT ? 0 : coded[numbers[i]];
    }
    free(coded);
    return status;
}

/* The entries of a file, or of all of them, as one file, complete but for its name. */
static s24_status write_file(s24_delivery *d, const char *path, s24_source *file, s24_error *err)
{
    s24_contents *const from = &file->contents;
    s24_contents plan = {0};
    s24_target target = {0};
    s24_output *out = NULL;
    size_t *numbers = s24_calloc(from->count, sizeof *numbers, err);
    s24_status status = numbers ? plan_entries(d, from->entries, from->count, &plan, numbers, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? plan_metadata(d, from, &plan, err) : status;
    if (status == S24_OK) {
        status = open_target(d, path, file, &plan, &target, err);
    } else {
        s24_contents_free(&plan);
    }
    status = status == S24_OK ? process_entries(d, &target, from, numbers, err) : status;
    if (status != S24_OK) {
        free(numbers);
        s24_target_abort(&target);
        return status;
    }
    status = finish_target(&target, from, numbers, &out, err);
    free(numbers);
    s24_fail_prefix(err, status, "%s: ", shown(path));
    return status == S24_OK ? keep_output(d, out, err) : status;
}

static s24_status write_one(s24_delivery *d, s24_error *err)
{
    s24_status status = write_file(d, d->output, d->source, err);
    for (size_t i = 0; i < s24_source_files(d->source) && status == S24_OK; i++) {
        status = d->end(d->ctx, s24_source_file(d->source, i), err);
    }
    return status;
}

/* ---------------------------------------------------------------- the shards */

static s24_status write_shard(s24_delivery *d, size_t i, s24_error *err)
{
    s24_source *part = d->source->parts[i];
    char *name = shard_name(d, i, err);
    char *path = name ? s24_path_join(d->output, name, err) : NULL;
    s24_status status = path ? S24_OK : S24_ERR_SYSTEM;
    status = status == S24_OK ? refuse_input(d, path, err) : status;
    const bool emptied = part->listed && !part->contents.count; /* of nothing but pieces of another's tensors */
    if (status == S24_OK && !emptied) {
        status = write_file(d, path, part, err);
    }
    free(name);
    free(path);
    return status == S24_OK ? d->end(d->ctx, part, err) : status;
}

/* Before hours of work: what this run will write is not there, or may be replaced. */
static s24_status check_free(const s24_delivery *d, s24_error *err)
{
    s24_status status = S24_OK;
    for (size_t i = 0; i < d->source->part_count && status == S24_OK && !d->io->force; i++) {
        if (!s24_delivery_has(d, i)) {
            continue;
        }
        char *name = shard_name(d, i, err);
        char *path = name ? s24_path_join(d->output, name, err) : NULL;
        status = path ? S24_OK : S24_ERR_SYSTEM;
        if (path && access(path, F_OK) == 0) {
            status = s24_fail(err, S24_ERR_SYSTEM, "%s: exists already; -f replaces it", path);
            if (err) {
                err->sys_errno = EEXIST;
            }
        }
        free(name);
        free(path);
    }
    return status;
}

/* ---------------------------------------------------------------- the index */

typedef struct index_line {
    const char *tensor, *file;
} index_line;

typedef struct index_list {
    s24_contents *stored; /* one a file */
    char **files;
    index_line *lines;
    size_t count;
    uint64_t total_size;
} index_list;

/* What file i will list: from the plan alone, so that every job of a share writes the same index. */
static s24_status list_file(const s24_delivery *d, size_t i, index_list *list, s24_error *err)
{
    s24_contents *from = &d->source->parts[i]->contents, plan = {0};
    size_t *numbers = s24_calloc(from->count, sizeof *numbers, err);
    list->files[i] = shard_name(d, i, err);
    s24_status status = numbers && list->files[i] ? plan_entries(d, from->entries, from->count, &plan, numbers, err)
                                                  : S24_ERR_SYSTEM;
    if (status == S24_OK && d->format->expand) {
        status = d->format->expand(&plan, &list->stored[i], err);
    } else if (status == S24_OK) {
        list->stored[i] = plan;
        plan = (s24_contents){0};
    }
    for (size_t k = 0; k < list->stored[i].count; k++) {
        const s24_entry *e = &list->stored[i].entries[k];
        list->total_size += d->format == &s24_format_s24 ? s24_plain_stored_bytes(e) : e->bytes;
    }
    list->count += list->stored[i].count;
    s24_contents_free(&plan);
    free(numbers);
    return status;
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const index_line *)a)->tensor, ((const index_line *)b)->tensor);
}

static s24_status sort_lines(index_list *list, size_t files, s24_error *err)
{
    size_t n = 0;
    list->lines = s24_calloc(list->count, sizeof *list->lines, err);
    if (!list->lines) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < files; i++) {
        for (size_t k = 0; k < list->stored[i].count; k++) {
            list->lines[n++] = (index_line){.tensor = list->stored[i].entries[k].name, .file = list->files[i]};
        }
    }
    if (n) {
        qsort(list->lines, n, sizeof *list->lines, by_tensor);
    }
    return S24_OK;
}

/* What the input's index says besides the map stays, but for the size, which is the new one. */
static void print_metadata(const s24_delivery *d, const index_list *list, s24_text *text)
{
    const cJSON *metadata = s24_json_get(d->source->checkpoint->json, "metadata"), *item;
    bool first = true;
    s24_text_printf(text, "{\n  \"metadata\": {");
    cJSON_ArrayForEach(item, metadata) {
        if (!item->string || strcmp(item->string, "total_size") == 0) {
            continue;
        }
        char *value = cJSON_PrintUnformatted(item);
        s24_text_printf(text, "%s\n    ", first ? "" : ",");
        s24_text_json_string(text, item->string);
        s24_text_printf(text, ": %s", value ? value : "null");
        text->failed = text->failed || !value;
        free(value);
        first = false;
    }
    s24_text_printf(text, "%s\n    \"total_size\": %llu\n  },\n", first ? "" : ",", (unsigned long long)list->total_size);
}

static void print_index(const s24_delivery *d, const index_list *list, s24_text *text)
{
    print_metadata(d, list, text);
    s24_text_printf(text, "  \"weight_map\": {");
    for (size_t i = 0; i < list->count; i++) {
        s24_text_printf(text, "%s\n    ", i ? "," : "");
        s24_text_json_string(text, list->lines[i].tensor);
        s24_text_printf(text, ": ");
        s24_text_json_string(text, list->lines[i].file);
    }
    s24_text_printf(text, "\n  }\n}\n");
}

/* Opens a file of the directory that is not a shard. */
static s24_status open_beside(const s24_delivery *d, const char *path, s24_output **out, s24_error *err)
{
    s24_status status = refuse_input(d, path, err);
    if (status != S24_OK) {
        return status;
    }
    status = d->shards ? s24_output_open_shared(out, d->io, path, err) : open_output(d, path, out, err);
    return s24_fail_prefix(err, status, "%s: ", path);
}

static s24_status write_text(s24_delivery *d, const char *name, const s24_text *text, s24_error *err)
{
    s24_output *out = NULL;
    char *path = s24_path_join(d->output, name, err);
    s24_status status = !path ? S24_ERR_SYSTEM : text->failed ? s24_fail_memory(err, text->length)
                                                              : open_beside(d, path, &out, err);
    if (status == S24_OK) {
        status = s24_output_write(out, 0, text->text, text->length, err);
        s24_fail_prefix(err, status, "%s: ", path);
        if (status == S24_OK) {
            status = keep_output(d, out, err);
        } else {
            s24_output_abort(out);
        }
    }
    free(path);
    return status;
}

static s24_status write_index(s24_delivery *d, s24_error *err)
{
    const size_t files = d->source->part_count;
    index_list list = {.stored = s24_calloc(files, sizeof *list.stored, err),
                       .files = s24_calloc(files, sizeof *list.files, err)};
    s24_text text = {0};
    char *name = index_name(d, err);
    s24_status status = list.stored && list.files && name ? S24_OK : S24_ERR_SYSTEM;
    for (size_t i = 0; i < files && status == S24_OK; i++) {
        status = list_file(d, i, &list, err);
    }
    status = status == S24_OK ? sort_lines(&list, files, err) : status;
    if (status == S24_OK) {
        print_index(d, &list, &text);
        status = write_text(d, name, &text, err);
    }
    for (size_t i = 0; i < files; i++) {
        if (list.stored) {
            s24_contents_free(&list.stored[i]);
        }
        if (list.files) {
            free(list.files[i]);
        }
    }
    s24_text_free(&text);
    free(list.stored);
    free(list.files);
    free(list.lines);
    free(name);
    return status;
}

/* ---------------------------------------------------------------- every other file */

static s24_status copy_bytes(const s24_delivery *d, s24_input *in, s24_output *out, s24_error *err)
{
    unsigned char *buffer = s24_alloc(COPY_BYTES, err);
    s24_status status = buffer ? S24_OK : S24_ERR_SYSTEM;
    for (uint64_t at = 0; at < in->size && status == S24_OK; at += COPY_BYTES) {
        const size_t n = in->size - at < COPY_BYTES ? (size_t)(in->size - at) : COPY_BYTES;
        status = s24_io_stopped(d->io, err);
        status = status == S24_OK ? s24_input_read(in, at, buffer, n, err) : status;
        s24_fail_prefix(err, status, "%s: ", in->name);
        if (status == S24_OK) {
            status = s24_output_write(out, at, buffer, n, err);
            s24_fail_prefix(err, status, "%s: ", out->name);
        }
    }
    free(buffer);
    return status;
}

static s24_status copy_file(s24_delivery *d, const char *from, const char *to, s24_error *err)
{
    s24_input *in = NULL;
    s24_output *out = NULL;
    s24_status status = s24_input_open(&in, d->io, from, err);
    s24_fail_prefix(err, status, "%s: ", from);
    status = status == S24_OK ? open_beside(d, to, &out, err) : status;
    if (status == S24_OK) {
        status = copy_bytes(d, in, out, err);
        if (status == S24_OK) {
            status = keep_output(d, out, err);
        } else {
            s24_output_abort(out);
        }
    }
    s24_input_close(in);
    return status;
}

/* config.json says how the weights are stored, where that is one of compressed-tensors' layouts. */
static s24_status copy_config(s24_delivery *d, const char *from, const char *to, s24_error *err)
{
    s24_input *in = NULL;
    char *text = NULL;
    bool changed = false;
    s24_text spliced = {0};
    s24_status status = s24_input_open(&in, d->io, from, err);
    status = status == S24_OK ? s24_input_read_new(in, 0, &text, (size_t)in->size, err) : status;
    if (status == S24_OK) {
        const char *layout = d->format == &s24_format_bitmask ? d->format->name : NULL;
        status = s24_config_set_sparsity(text, (size_t)in->size, layout, &spliced, &changed, err);
        status = status == S24_ERR_DATA && !layout ? S24_OK : status; /* not ours to judge */
    }
    s24_fail_advise(err, status, "correct it, or move it away");
    s24_fail_prefix(err, status, "%s: ", from);
    if (status == S24_OK) {
        status = changed ? write_text(d, "config.json", &spliced, err) : copy_file(d, from, to, err);
    }
    s24_text_free(&spliced);
    free(text);
    s24_input_close(in);
    return status;
}

/* Weights that the index does not list are left out, too: who gives the index itself has others beside it. */
static bool is_weights(const s24_delivery *d, const char *name)
{
    const char *const index = d->source->checkpoint->index;
    return s24_checkpoint_owns(name) || (index && strcmp(name, index) == 0);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static s24_status copy_directory(s24_delivery *d, const char *from, const char *to, bool top, s24_error *err);

static s24_status copy_entry(s24_delivery *d, const char *name, const char *from, const char *to, bool top,
                             s24_error *err)
{
    struct stat st, link;
    if (lstat(from, &link) != 0 || stat(from, &st) != 0) {
        return s24_fail_prefix(err, s24_fail_errno(err, errno, "cannot copy"), "%s: ", from);
    }
    if (S_ISDIR(st.st_mode)) {
        if (*name == '.' || S_ISLNK(link.st_mode)) {
            s24_io_note(d->io, "%s: not copied: a %s directory", from, *name == '.' ? "hidden" : "linked");
            return S24_OK;
        }
        return same_file(from, d->output) ? S24_OK : copy_directory(d, from, to, false, err);
    }
    if (!S_ISREG(st.st_mode)) {
        s24_io_note(d->io, "%s: not copied: neither a file nor a directory", from);
        return S24_OK;
    }
    if (same_file(from, to)) {
        return s24_fail(err, S24_ERR_USAGE, "%s: is the input; choose another output", to);
    }
    return top && strcmp(name, "config.json") == 0 ? copy_config(d, from, to, err) : copy_file(d, from, to, err);
}

/* Temporary files of s24 itself, of a run that goes on beside this one or was killed, are none of the checkpoint's. */
static bool is_temporary(const char *name)
{
    return *name == '.' && strstr(name, ".s24-") != NULL;
}

static bool is_skipped(const s24_delivery *d, const char *name, bool top)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_temporary(name) || (top && is_weights(d, name));
}

static s24_status copy_directory(s24_delivery *d, const char *from, const char *to, bool top, s24_error *err)
{
    s24_status status = make_directory(d, to, err);
    DIR *directory = status == S24_OK ? opendir(from) : NULL;
    if (status == S24_OK && !directory) {
        return s24_fail_prefix(err, s24_fail_errno(err, errno, "cannot read the directory"), "%s: ", from);
    }
    for (const char *name = ""; status == S24_OK && name;) {
        status = s24_directory_next(directory, &name, err);
        s24_fail_prefix(err, status, "%s: ", from);
        if (status != S24_OK || !name || is_skipped(d, name, top)) {
            continue;
        }
        char *inside = s24_path_join(from, name, err), *outside = s24_path_join(to, name, err);
        status = inside && outside ? copy_entry(d, name, inside, outside, top, err) : S24_ERR_SYSTEM;
        free(inside);
        free(outside);
    }
    if (directory) {
        closedir(directory);
    }
    return status;
}

/* ---------------------------------------------------------------- the whole */

static s24_status write_directory(s24_delivery *d, s24_error *err)
{
    const s24_checkpoint *c = d->source->checkpoint;
    if (same_file(c->directory, d->output)) {
        return s24_fail(err, S24_ERR_USAGE, "%s: is the input; choose another output", d->output);
    }
    s24_status status = check_free(d, err);
    status = status == S24_OK ? make_directory(d, d->output, err) : status;
    /* What is quick, and may fail, before what takes its time. */
    status = status == S24_OK ? copy_directory(d, c->directory, d->output, true, err) : status;
    d->index = c->index ? d->output_count : SIZE_MAX;
    status = status == S24_OK && c->index ? write_index(d, err) : status;
    for (size_t i = 0; i < d->source->part_count && status == S24_OK; i++) {
        status = s24_delivery_has(d, i) ? write_shard(d, i, err) : S24_OK;
    }
    return status;
}

s24_status s24_delivery_write(s24_delivery *d, s24_error *err)
{
    d->index = SIZE_MAX;
    if (!d->directory) {
        return write_one(d, err);
    }
    if (!d->source->checkpoint) {
        return s24_fail(err, S24_ERR_USAGE, "%s: only a checkpoint becomes a directory of files", d->output);
    }
    if (d->format != &s24_format_s24 && d->format != &s24_format_safetensors && !d->format->unfit) {
        return s24_fail(err, S24_ERR_USAGE, "%s: a checkpoint's directory holds .safetensors or .s24 files, not .%s",
                        d->output, d->format->name);
    }
    return write_directory(d, err);
}
