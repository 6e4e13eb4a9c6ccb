/* What a plan says of each tensor: as text for people, as JSON (schema s24.plan/1, see formats/plan.h), as a drawing. */
#ifndef S24_CLI_PLAN_REPORT_H
#define S24_CLI_PLAN_REPORT_H

#include "condition.h"
#include "options.h"

#define PLAN_REASON_SIZE 128

/* One tensor, by magnitude and by the method that is planned for: of two runs, or twice of the same. */
typedef struct plan_row {
    const s24_report_tensor *magnitude, *planned;
    bool eligible;                  /* the selection takes it */
    bool prune;
    char reason[PLAN_REASON_SIZE];  /* why an eligible one is left dense */
} plan_row;

typedef struct plan_report {
    const char *path, *format;
    const char *method;     /* one of s24_method's */
    const char *shown;      /* with "+refit" and the like where that is planned */
    const criterion *criterion;
    const storage *storage;
    bool calibrated;        /* errors of the output are known, */
    bool held_out;          /* also on samples held out */
    const condition_list *budget;
    plan_row *rows;
    size_t count;
    size_t eligible, pruned;            /* tensors */
    uint64_t bytes_dense, bytes_planned;
} plan_report;

uint64_t plan_bytes(const plan_row *row); /* as planned */

void plan_report_text(const plan_report *r, bool full, FILE *out); /* full: tensors that are not eligible, too */
void plan_report_json(const plan_report *r, FILE *out);
svg *plan_report_draw(const plan_report *r); /* NULL: no memory */

#endif
