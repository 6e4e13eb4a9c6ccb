/*
 * s24 plan: what 2:4 would cost each tensor, by magnitude, by Wanda and by the method that is planned for, and which to leave
 * dense under a budget. It is pruning without an output, once by magnitude and once by the method; Wanda's errors come with
 * those of the latter.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "error.h"
#include "msg.h"
#include "paths.h"
#include "plan_report.h"
#include "progress.h"
#include "second.h"
#include "whole.h"

typedef struct plan_options {
    const char *output, *svg;
    criterion criterion;
    condition_list budget;
    storage storage;
    bool force;
    s24_read_options read;
    selection selection;
} plan_options;

#define PLAN(field) offsetof(plan_options, field)
static const args_option plan_rows[] = {
    {.name = "output", .letter = 'o', .value = "PLAN", .set = args_set_string, .offset = PLAN(output), .file = true,
     .help = "Write the plan, for s24 prune --plan, as PLAN, or to standard output if that is \"-\"."},
    {.name = "budget", .value = "CONDITION", .set = condition_add, .offset = PLAN(budget),
     .help = "Leave a tensor dense unless it meets the condition: a figure's name in the JSON of s24 stats, one of < <= > >=, "
             "and a number, as in 'output_error<=0.05'. Repeatable: all must be met."},
    {.name = "svg", .value = "FILE", .set = args_set_string, .offset = PLAN(svg), .file = true,
     .help = "Draw the errors of each tensor by criterion, and the budget, as FILE."},
    {.name = "force", .letter = 'f', .set = args_set_flag, .offset = PLAN(force), .help = "Replace existing outputs."},
    {.name = NULL},
};

static const args_group plan_groups[] = {
    {"Options", plan_rows, 0},
    {"Criterion", criterion_options, PLAN(criterion)},
    {"Stored values", storage_options, PLAN(storage)},
    {"Which tensors", selection_options, PLAN(selection)},
    {"Input", read_options, PLAN(read)},
    {NULL, NULL, 0},
};

/* ---------------------------------------------------------------- usage */

/* Whether the planned method does something else than pruning by magnitude, so that this is done, too. */
static bool needs_both(const plan_report *r)
{
    return strcmp(r->shown, "magnitude") != 0;
}

static bool is_given(const plan_options *o, unsigned kinds)
{
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        if (kinds >> k & 1 && o->criterion.second[k]) {
            return true;
        }
    }
    return false;
}

/* A figure that nothing can tell would leave every tensor dense. */
static bool check_budget(const context *c, const plan_options *o)
{
    for (size_t i = 0; i < o->budget.count; i++) {
        const condition *const q = &o->budget.items[i];
        const bool held_out = strcmp(q->metric->name, "held_out_error") == 0;
        if (q->metric->of_output && !is_given(o, held_out ? 1u << S24_ACTIVATIONS : S24_PRODUCTS)) {
            args_usage(c->command->name, "--budget '%s' needs %s FILE: nothing else tells that figure", q->text,
                       held_out ? "--activations" : "--activations or --hessian");
            return false;
        }
    }
    return true;
}

/* What is read for each of two runs must be there twice. */
static bool can_read_again(const context *c, const char *path)
{
    struct stat st;
    if (!path || (!path_is_std(path) && (stat(path, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))) {
        return true; /* what is not there is told by who opens it */
    }
    args_usage(c->command->name, "'%s' can be read only once, and is needed for magnitude and for the method; put it into a file",
               path);
    return false;
}

static bool check_inputs(const context *c, const plan_options *o, const plan_report *r)
{
    bool ok = !needs_both(r) || can_read_again(c, c->files[0]);
    for (unsigned k = 0; ok && k < S24_SECONDS; k++) {
        ok = !(S24_PRODUCTS >> k & 1) || !needs_both(r) || can_read_again(c, o->criterion.second[k]);
    }
    return ok;
}

static bool check_outputs(const context *c, const plan_options *o)
{
    const char *const *const seconds = o->criterion.second;
    if (o->output && o->svg && strcmp(o->output, o->svg) == 0) {
        args_usage(c->command->name, "the plan and the drawing cannot both be '%s'", o->svg);
        return false;
    }
    return (!o->output || path_is_std(o->output) || whole_check(c, "output", o->output, seconds, S24_SECONDS, o->force)) &&
           (!o->svg || whole_check_drawing(c, o->svg, seconds, S24_SECONDS, o->force));
}

/* ---------------------------------------------------------------- decisions */

static void decide(plan_report *r, plan_row *row)
{
    const s24_report_tensor *const t = row->planned;
    row->eligible = t->status != S24_TENSOR_DENSE;
    row->prune = row->eligible;
    for (size_t i = 0; i < r->budget->count && row->prune; i++) {
        const condition *const q = &r->budget->items[i];
        const double x = report_value(q->metric, t, true);
        if (isnan(x) && t->status != S24_TENSOR_PACKED) { /* of one that is 2:4 already nothing is lost */
            snprintf(row->reason, sizeof row->reason, "%s is undefined", q->metric->name);
            row->prune = false;
        } else if (!isnan(x) && !condition_holds(q, x)) {
            snprintf(row->reason, sizeof row->reason, "%s %.6g %s %.6g", q->metric->name, x, q->op->contrary, q->limit);
            row->prune = false;
        }
    }
    r->eligible += row->eligible;
    r->pruned += row->prune;
    r->bytes_dense += t->bytes_dense;
    r->bytes_planned += plan_bytes(row);
}

/* The tensors of both runs, one by one; false: it has been told that they are not those of one model. */
static bool fill(plan_report *r, const s24_report *magnitude, const s24_report *planned)
{
    bool same = magnitude->count == planned->count;
    r->format = planned->format;
    r->rows = calloc(planned->count + 1, sizeof *r->rows);
    if (!r->rows) {
        msg_error(S24_ERR_SYSTEM, "no memory for the plan");
        return false;
    }
    for (; same && r->count < planned->count; r->count++) {
        plan_row *const row = &r->rows[r->count];
        row->magnitude = &magnitude->tensors[r->count];
        row->planned = &planned->tensors[r->count];
        same = strcmp(row->magnitude->name, row->planned->name) == 0 && row->magnitude->status == row->planned->status;
        decide(r, row);
        const s24_report_figures *const f = row->planned->figures;
        const s24_output_error *const e = f ? f->output_error : NULL;
        r->calibrated = r->calibrated || e;
        r->held_out = r->held_out || (e && e->held_out_samples);
    }
    if (!same) {
        msg_error(S24_ERR_DATA, "%s: it changed while it was read; plan again", r->path);
    }
    return same;
}

/* ---------------------------------------------------------------- work */

static s24_status dry_run(const context *c, const plan_options *o, bool magnitude, bool first, s24_report *report, s24_error *err)
{
    s24_prune_request request = {
        .input = c->files[0], .read = o->read, .method = magnitude ? "magnitude" : o->criterion.method,
        .refit = !magnitude && o->criterion.refit, .transposable = !magnitude && o->criterion.transposable,
        .permute = !magnitude && o->criterion.permute,
        .dtype = o->storage.dtype, .scale_group = storage_scale_group(&o->storage), .selection = selection_of(&o->selection),
    };
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        request.second[k] = !magnitude || S24_PRODUCTS >> k & 1 ? o->criterion.second[k] : NULL;
    }
    s24_io io = c->io;
    if (first) { /* all that there is to say is said once */
        io.note = io.warn = NULL;
    }
    progress_start(c->files[0]);
    const s24_status status = s24_prune_file(&io, &request, report, err);
    progress_stop();
    return status;
}

/* The JSON as a file. */
static void write_plan(const context *c, const plan_options *o, const plan_report *r)
{
    char *text = NULL;
    size_t n = 0;
    s24_io io = c->io;
    s24_error err = {0};
    FILE *const f = open_memstream(&text, &n);
    bool whole = f != NULL;
    if (f) {
        plan_report_json(r, f);
        whole = !ferror(f);
        whole = fclose(f) == 0 && whole;
    }
    io.force = o->force;
    if (!whole) {
        msg_error(S24_ERR_SYSTEM, "no memory for the plan");
    } else if (whole_write(&io, o->output, text, n, &err) != S24_OK) {
        msg_failure(&err);
    }
    free(text);
}

static void tell(const context *c, const plan_options *o, const plan_report *r)
{
    const globals *const g = c->globals;
    const bool json = g->json || (o->output && path_is_std(o->output));
    if (json) {
        plan_report_json(r, stdout);
    }
    if (!g->json && !(json && g->quiet)) {
        plan_report_text(r, g->verbose, json ? stderr : stdout);
    }
    if (o->output && !path_is_std(o->output)) {
        write_plan(c, o, r);
    }
    if (o->svg) {
        whole_write_drawing(c, plan_report_draw(r), o->svg, o->force);
    }
    msg_flush_stdout();
}

static void make_plan(const context *c, const plan_options *o, plan_report *r)
{
    s24_report magnitude = {0}, planned = {0};
    s24_error err = {0};
    const bool both = needs_both(r);
    s24_status status = both ? dry_run(c, o, true, true, &magnitude, &err) : S24_OK;
    status = status == S24_OK ? dry_run(c, o, !both, false, &planned, &err) : status;
    if (status != S24_OK) {
        msg_failure(&err);
    } else if (fill(r, both ? &magnitude : &planned, &planned)) {
        tell(c, o, r);
    }
    free(r->rows);
    s24_report_free(&magnitude);
    s24_report_free(&planned);
}

static void run(const context *c, const void *options)
{
    const plan_options *o = options;
    char shown[40];
    plan_report r = {.path = s24_input_shown(c->files[0]), .criterion = &o->criterion, .storage = &o->storage,
                     .budget = &o->budget, .shown = shown};
    r.method = criterion_method(c->command->name, &o->criterion);
    if (!r.method || !storage_check(c->command->name, &o->storage)) {
        return;
    }
    snprintf(shown, sizeof shown, "%s%s%s%s", r.method, o->criterion.transposable ? "+transposable" : "",
             o->criterion.refit ? "+refit" : "", o->criterion.permute ? "+permute" : "");
    if (check_budget(c, o) && check_inputs(c, o, &r) && check_outputs(c, o)) {
        make_plan(c, o, &r);
    }
}

const command cmd_plan = {
    .name = "plan",
    .synopsis = "[OPTION...] MODEL",
    .summary = "Say what 2:4 costs each layer by each criterion, and which to leave dense under a budget.",
    .more = "  s24 plan model.safetensors --budget 'relative_error<=0.35'\n"
            "  s24 plan model.safetensors --activations inputs.npz --svg plan.svg \\\n"
            "    -o plan.json --budget 'held_out_error<=0.05'\n"
            "  s24 prune model.safetensors --activations inputs.npz --plan plan.json\n",
    .groups = plan_groups,
    .defaults = &(const plan_options){.storage.dtype = S24_SAME},
    .options_size = sizeof(plan_options),
    .least = 1, .most = 1,
    .operand = "the model",
    .run = run,
};
