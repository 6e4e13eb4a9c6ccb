/* Reports: what a source holds, or what was done with it. */
#ifndef S24_FORMATS_SUMMARY_H
#define S24_FORMATS_SUMMARY_H

#include "format.h"

/*
 * From a source's entries: those packed with figures from their sums, if these were measured, the others carried. method: of the
 * packed ones, where the entries do not name it.
 */
s24_status s24_report_fill(s24_report *report, const char *path, s24_source *source, const char *method, bool measured,
                           s24_error *err);

/* What a dense file takes: zeros are stored, too. Of what was measured. */
void s24_report_as_dense(s24_report *report);

#endif
