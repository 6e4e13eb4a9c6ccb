/* s24 inspect: what a file holds, from its header alone. */
#include <string.h>

#include "color.h"
#include "command.h"
#include "error.h"
#include "hardware.h"
#include "json.h"
#include "msg.h"
#include "report.h"
#include "signals.h"
#include "table.h"

typedef struct inspect_options {
    s24_read_options read;
    selection selection;
} inspect_options;

#define INSPECT(field) offsetof(inspect_options, field)
static const args_group inspect_groups[] = {
    {"Which tensors of a dense file", selection_options, INSPECT(selection)},
    {"Input", read_options, INSPECT(read)},
    {NULL, NULL, 0},
};

/* Of a dense file nothing is pruned yet. */
static const char *status_of(const s24_report *report, const s24_report_tensor *t)
{
    const bool dense_file = strcmp(report->format, "s24") != 0;
    return dense_file && t->status != S24_TENSOR_DENSE ? "eligible" : report_status_name(t->status);
}

/* ---------------------------------------------------------------- who takes a tensor */

static const char *refusal_of(size_t stack, const s24_report_tensor *t)
{
    return s24_hardware_refusal(stack, t->stored, t->rank, t->shape, t->axis);
}

/* "asp,tensorrt"; "-": nobody; "": it is not pruned. */
static void text_hardware(char *out, size_t size, const s24_report_tensor *t)
{
    size_t used = 0;
    out[0] = '\0';
    if (t->status == S24_TENSOR_DENSE) {
        return;
    }
    for (size_t i = 0; s24_hardware_name(i) && used < size; i++) {
        if (!refusal_of(i, t)) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "," : "", s24_hardware_name(i));
        }
    }
    if (used == 0) {
        snprintf(out, size, "-");
    }
}

static void json_hardware(json_object *j, const s24_report_tensor *t)
{
    const bool dense = t->status == S24_TENSOR_DENSE;
    cJSON *names = dense ? cJSON_CreateNull() : cJSON_CreateArray();
    json_object reasons = json_new();
    for (size_t i = 0; s24_hardware_name(i) && !dense; i++) {
        const char *refusal = refusal_of(i, t);
        if (refusal) {
            json_text(&reasons, s24_hardware_name(i), refusal);
            continue;
        }
        cJSON *name = cJSON_CreateString(s24_hardware_name(i));
        if (!cJSON_AddItemToArray(names, name)) {
            cJSON_Delete(name);
            j->failed = true;
        }
    }
    json_item(j, "hardware", names);
    j->failed = j->failed || reasons.failed;
    if (dense) {
        cJSON_Delete(reasons.object);
        reasons.object = cJSON_CreateNull();
    }
    json_item(j, "hardware_reasons", reasons.object);
}

/* ---------------------------------------------------------------- a file */

static void add_tensor(table *rows, const s24_report *report, const s24_report_tensor *t)
{
    char text[TEXT_SHAPE_SIZE], stored[TEXT_SIZE];
    table_add(rows, t->name);
    text_shape(text, t->rank, t->shape, "x");
    table_add(rows, text);
    table_add(rows, s24_dtype_name(t->dtype));
    report_stored(stored, t);
    table_add(rows, t->status == S24_TENSOR_DENSE ? "" : stored);
    snprintf(text, sizeof text, "%d", t->axis);
    table_add(rows, t->axis < 0 ? "" : text);
    text_bytes(text, t->bytes_dense);
    table_add(rows, text);
    report_text_status(text, status_of(report, t), t);
    table_add(rows, text);
    text_hardware(text, sizeof text, t);
    table_add(rows, text);
    if (report->archive) {
        char parts[REPORT_PARTS_SIZE];
        report_text_bits(text, t);
        table_add(rows, text);
        report_text_parts(parts, t);
        if (msg_verbose()) {
            table_add(rows, parts);
        }
    }
    if (t->layout) {
        snprintf(text, sizeof text, "in %s", t->layout);
    }
    table_add(rows, t->layout ? text : report_why(t));
}

static void print_summary(const s24_report *report, size_t selected)
{
    const bool dense_file = strcmp(report->format, "s24") != 0;
    char dense[TEXT_SIZE], stored[TEXT_SIZE];
    text_bytes(dense, report->bytes_dense);
    text_bytes(stored, report->bytes_stored);
    fputs(color(stdout, COLOR_BOLD), stdout);
    text_put(stdout, report->path);
    printf("%s: %s%s, %zu tensor%s, %zu %s, ", color(stdout, COLOR_OFF), report->format, report->archive ? " archive" : "",
           report->count, s24_plural(report->count), selected, dense_file ? "eligible" : "pruned");
    printf(dense_file ? "%s\n" : "%s, %s dense\n", dense_file ? dense : stored, dense);
}

#define COLUMNS \
    {"tensor", false}, {"shape", false}, {"dtype", false}, {"stored", false}, {"axis", true}, {"bytes", true}, \
    {"status", false}, {"hardware", false}

static void print_text(const s24_report *report)
{
    static const table_column columns[] = {COLUMNS, {"why", false}, {NULL, false}};
    static const table_column of_archive[] = {COLUMNS, {"bits", true}, {"why", false}, {NULL, false}};
    static const table_column with_parts[] = {COLUMNS, {"bits", true}, {"of which", false}, {"why", false}, {NULL, false}};
    table rows = {.columns = !report->archive ? columns : msg_verbose() ? with_parts : of_archive};
    size_t selected = 0;
    for (size_t i = 0; i < report->count; i++) {
        add_tensor(&rows, report, &report->tensors[i]);
        selected += report->tensors[i].status != S24_TENSOR_DENSE;
    }
    print_summary(report, selected);
    table_print(&rows, stdout);
}

static void print_json(const s24_report *report, bool first)
{
    printf("%s\n {\"path\": ", first ? "" : ",");
    json_print_string(report->path, stdout);
    printf(", \"format\": \"%s\", \"archive\": %s, \"tensors\": [", report->format, report->archive ? "true" : "false");
    for (size_t i = 0; i < report->count; i++) {
        const s24_report_tensor *t = &report->tensors[i];
        json_object j = json_new();
        report_json_head(&j, t, status_of(report, t));
        json_text(&j, "method", t->method);
        report_json_storage(&j, t);
        json_raw(&j, "bytes_dense", "%llu", (unsigned long long)t->bytes_dense);
        json_raw(&j, "bytes_stored", "%llu", (unsigned long long)t->bytes_stored);
        json_f64(&j, "bits_per_element", t->bits_per_element);
        report_json_parts(&j, t);
        json_text(&j, "layout", t->layout);
        json_text(&j, "file", t->file);
        json_hardware(&j, t);
        fputs(i ? ",\n  " : "\n  ", stdout);
        json_print(&j, stdout);
    }
    fputs("]}", stdout);
}

static void run(const context *c, const void *options)
{
    const inspect_options *o = options;
    bool first = true;
    if (c->globals->json) {
        printf("{\"schema\": \"s24.inspect/1\", \"version\": \"%s\", \"files\": [", s24_version());
    }
    for (size_t i = 0; i < c->file_count && !*signals_flag(); i++) {
        const s24_stats_request request = {
            .input = c->files[i], .read = o->read, .selection = selection_of(&o->selection), .header_only = true,
            .parts = c->globals->verbose,
        };
        s24_report report = {0};
        s24_error err = {0};
        if (s24_stats_file(&c->io, &request, &report, &err) != S24_OK) {
            msg_failure(&err);
            continue;
        }
        if (c->globals->json) {
            print_json(&report, first);
        } else {
            print_text(&report);
        }
        first = false;
        s24_report_free(&report);
        msg_flush_stdout();
    }
    if (c->globals->json) {
        fputs("]}\n", stdout);
    }
}

const command cmd_inspect = {
    .name = "inspect",
    .synopsis = "[OPTION...] FILE...",
    .summary = "List the tensors of a file and which of them prune would select, from the header alone.",
    .more = "  s24 inspect model.safetensors\n"
            "  s24 inspect gpt2.safetensors --axis 'h.*.weight=0' --json\n",
    .groups = inspect_groups,
    .options_size = sizeof(inspect_options),
    .least = 1, .most = SIZE_MAX,
    .operand = "the file",
    .run = run,
};
