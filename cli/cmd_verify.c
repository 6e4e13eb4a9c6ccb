/* s24 verify: whether a .s24 is whole, and whether any file is 2:4. What it finds are results: they go to stdout. */
#include <string.h>

#include "command.h"
#include "json.h"
#include "msg.h"
#include "progress.h"
#include "signals.h"
#include "text.h"

typedef struct verify_options {
    s24_read_options read;
    selection selection;
} verify_options;

#define VERIFY(field) offsetof(verify_options, field)
static const args_group verify_groups[] = {
    {"Which tensors of a dense file", selection_options, VERIFY(selection)},
    {"Input", read_options, VERIFY(read)},
    {NULL, NULL, 0},
};

/* One file being checked, and what to do with what is found. */
typedef struct check {
    const char *path;
    size_t faults, skipped;
    cJSON *fault_list, *skipped_list; /* NULL unless JSON is wanted */
    bool failed;                      /* no memory for them */
} check;

static void keep(check *k, cJSON *list, json_object *j)
{
    if (j->failed || !cJSON_AddItemToArray(list, j->object)) {
        cJSON_Delete(j->object);
        k->failed = true;
    }
}

/* ---------------------------------------------------------------- what the library calls */

static void print_fault(const check *k, const s24_verify_fault *fault)
{
    const char *tensor = fault->tensor ? fault->tensor : "";
    text_put(stdout, fault->file ? fault->file : k->path);
    fputs(": ", stdout);
    text_put(stdout, tensor);
    fputs(*tensor ? ": " : "", stdout);
    if (fault->has_place) {
        printf("row %llu, group %llu: ", (unsigned long long)fault->row, (unsigned long long)fault->group);
    }
    text_put(stdout, fault->message);
    fputc('\n', stdout);
}

static void json_count(json_object *j, const char *key, bool known, uint64_t number)
{
    if (known) {
        json_raw(j, key, "%llu", (unsigned long long)number);
    } else {
        json_text(j, key, NULL);
    }
}

static void on_fault(void *user, const s24_verify_fault *fault)
{
    check *k = user;
    k->faults++;
    if (k->fault_list) {
        json_object j = json_new();
        json_text(&j, "file", fault->file);
        json_text(&j, "tensor", fault->tensor);
        json_count(&j, "row", fault->has_place, fault->row);
        json_count(&j, "group", fault->has_place, fault->group);
        json_count(&j, "broken_groups", fault->groups > 0, fault->broken_groups);
        json_count(&j, "groups", fault->groups > 0, fault->groups);
        json_text(&j, "message", fault->message);
        keep(k, k->fault_list, &j);
    } else if (!msg_quiet()) {
        flockfile(stderr);
        progress_wipe(); /* the same terminal, perhaps */
        fflush(stderr);
        funlockfile(stderr);
        print_fault(k, fault);
    }
}

static void on_skipped(void *user, const char *tensor, const char *reason)
{
    check *k = user;
    k->skipped++;
    if (k->skipped_list) {
        json_object j = json_new();
        json_text(&j, "name", tensor);
        json_text(&j, "reason", reason);
        keep(k, k->skipped_list, &j);
    } else {
        msg_note("%s: %s%snot checked: %s", k->path, tensor, *tensor ? ": " : "", reason);
    }
}

/* ---------------------------------------------------------------- the result of a file */

/* A file that could not be read is not ok either; on stderr it is told why, and the status is another one. */
static void print_json(check *k, s24_status status, const s24_error *err, bool first)
{
    json_object j = json_new();
    if (status != S24_OK && k->faults == 0) {
        const s24_verify_fault fault = {.message = err->message};
        on_fault(k, &fault);
    }
    json_text(&j, "path", k->path);
    json_bool(&j, "ok", status == S24_OK);
    j.failed = j.failed || k->failed || !cJSON_AddItemToObject(j.object, "faults", k->fault_list) ||
               !cJSON_AddItemToObject(j.object, "skipped", k->skipped_list);
    fputs(first ? "\n " : ",\n ", stdout);
    json_print(&j, stdout);
}

static void tell(const check *k, s24_status status, const s24_error *err)
{
    if (status == S24_ERR_CHECK) {
        msg_record(S24_ERR_CHECK);
        if (k->faults == 0) {
            msg_check("%s", err->message);
        }
    } else if (status != S24_OK) {
        msg_failure(err);
    } else if (msg_verbose() && !k->fault_list) {
        text_put(stdout, k->path);
        puts(": ok");
    }
    if (k->skipped && !msg_verbose() && !k->skipped_list) {
        msg_warn("%s: %zu tensor%s not checked; -v says which and why", k->path, k->skipped,
                 k->skipped == 1 ? " was" : "s were");
    }
}

static void verify_one(const context *c, const verify_options *o, size_t i)
{
    const bool json = c->globals->json;
    check k = {.path = c->files[i], .fault_list = json ? cJSON_CreateArray() : NULL,
               .skipped_list = json ? cJSON_CreateArray() : NULL};
    const s24_verify_request request = {
        .input = c->files[i], .read = o->read, .selection = selection_of(&o->selection),
        .fault = on_fault, .skipped = on_skipped, .user = &k,
    };
    s24_error err = {0};
    progress_start(k.path);
    const s24_status status = s24_verify_file(&c->io, &request, &err);
    progress_stop();
    tell(&k, status, &err);
    if (json) {
        print_json(&k, status, &err, i == 0);
    }
    msg_flush_stdout();
}

static void run(const context *c, const void *options)
{
    if (c->globals->json) {
        printf("{\"schema\": \"s24.verify/1\", \"version\": \"%s\", \"files\": [", s24_version());
    }
    for (size_t i = 0; i < c->file_count && !*signals_flag(); i++) {
        verify_one(c, options, i);
    }
    if (c->globals->json) {
        fputs("]}\n", stdout);
    }
}

const command cmd_verify = {
    .name = "verify",
    .synopsis = "[OPTION...] FILE...",
    .summary = "Check that a .s24 is undamaged, and that the tensors of any file are 2:4.",
    .more = "Every fault is a line on standard output: file, tensor, row and group. The exit\n"
            "status is 1 when there were any. Of a dense model the tensors are checked that\n"
            "prune would select, and one that is not 2:4 is one line.\n\n"
            "  s24 verify model.s24\n"
            "  s24 verify pruned.safetensors --exclude 'head.*'\n",
    .groups = verify_groups,
    .options_size = sizeof(verify_options),
    .least = 1, .most = SIZE_MAX,
    .operand = "the file",
    .run = run,
};
