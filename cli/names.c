#include "names.h"

#include <string.h>

#include "msg.h"
#include "paths.h"
#include "suggest.h"

/* Whether the file lacks the tensor and has one of a similar name. */
static bool find_similar(const s24_report *report, suggest *s)
{
    for (size_t i = 0; i < report->count; i++) {
        if (strcmp(report->tensors[i].name, s->word) == 0) {
            return false;
        }
        suggest_try(s, report->tensors[i].name);
    }
    return s->nearest != NULL;
}

void names_failure(const context *c, const char *path, const char *name, const s24_error *err)
{
    const s24_stats_request request = {.input = path, .header_only = true};
    s24_report report = {0};
    suggest s = {.word = name};
    const bool look = name && err->status == S24_ERR_USAGE && !path_is_std(path);
    if (look && s24_stats_file(&c->io, &request, &report, NULL) == S24_OK && find_similar(&report, &s)) {
        msg_error(S24_ERR_USAGE, "%s: no tensor %s; did you mean %s?", path, name, s.nearest);
    } else {
        msg_failure(err);
    }
    s24_report_free(&report);
}
