/* Work split into numbered jobs, done by threads, read and committed in order. */
#ifndef S24_LIB_THREADS_H
#define S24_LIB_THREADS_H

#include "s24.h"

/*
 * A job runs through three stages. `read` runs for one job at a time, in the order of their numbers; so does
 * `commit`; `work` of different jobs runs in parallel. Each may be NULL. Sums that are added in `commit` are added in one
 * order whatever the number of threads.
 *
 * `slot` names the buffers of a job, from its read to its commit. There are two more of them than threads, so that nobody
 * waits for his turn: a job whose commit is not due is left in its slot, and its thread begins another one. Who writes to a
 * file in `commit` is then the only one who does, while the others compute.
 */
typedef s24_status s24_stage(void *ctx, unsigned slot, size_t job, s24_error *err);

typedef struct s24_stages {
    s24_stage *read, *work, *commit;
    /* Of a series as a whole; NULL: nothing to do. `begin` and `end`, in the order of commits: before its first and after its last. */
    s24_status (*begin)(void *ctx, s24_error *err);
    s24_status (*end)(void *ctx, s24_error *err);
    void (*free)(void *ctx); /* of what was opened, at the latest before the run returns, whether it failed or not */
} s24_stages;

/* How many slots a run uses with so many threads: numbers below this; s24_run without a commit, below `threads`. */
unsigned s24_slots(unsigned threads);

/*
 * Runs jobs 0 .. jobs - 1 on at most `threads` threads, this one among them. After a failure no new job is begun; the
 * error is the one of the lowest failing job, and nothing after that job is committed.
 */
s24_status s24_run(const s24_stages *stages, void *ctx, size_t jobs, unsigned threads, s24_error *err);

/* The jobs of one tensor, say. */
typedef struct s24_series {
    const s24_stages *stages;
    void *ctx;
    size_t jobs; /* may be 0: then it only begins and ends */
    bool alone;  /* the next series is opened when this one has ended: what it reads does not outlive that */
} s24_series;

/*
 * The same for `count` series one behind another: while the last jobs of a tensor are worked on, the first of the next one
 * are, too. `open` fills in series number `index`, in order, before its first job is read; no more series are open at
 * any time than there are slots.
 */
typedef s24_status s24_series_open(void *ctx, size_t index, s24_series *series, s24_error *err);

s24_status s24_run_series(s24_series_open *open, void *ctx, size_t count, unsigned threads, s24_error *err);

#endif
