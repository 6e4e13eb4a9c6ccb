/* Work split into numbered jobs, done by threads, read and committed in order. */
#ifndef S24_LIB_THREADS_H
#define S24_LIB_THREADS_H

#include "s24.h"

/*
 * A job runs through three stages. `read` runs for one job at a time, in the order of their numbers; so does
 * `commit`; `work` of different jobs runs in parallel. Each may be NULL. `worker` (0 .. threads - 1) names the
 * worker's own buffers: one worker takes one job through all stages before it takes the next, so there are never more
 * than `threads` jobs under way. Sums that are added in `commit` are added in one order whatever the number of threads.
 */
typedef struct s24_stages {
    s24_status (*read)(void *ctx, unsigned worker, size_t job, s24_error *err);
    s24_status (*work)(void *ctx, unsigned worker, size_t job, s24_error *err);
    s24_status (*commit)(void *ctx, unsigned worker, size_t job, s24_error *err);
} s24_stages;

/*
 * Runs jobs 0 .. jobs - 1 on at most `threads` threads, this one among them. After a failure no new job is begun; the
 * error is the one of the lowest failing job, and nothing after that job is committed.
 */
s24_status s24_run(const s24_stages *stages, void *ctx, size_t jobs, unsigned threads, s24_error *err);

#endif
