#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "mem.h"

typedef enum slot_state { FREE, BUSY, DONE } slot_state; /* DONE waits for its commit */

typedef struct opened {
    s24_series series;
    size_t begun; /* jobs */
    bool live;    /* not yet freed */
} opened;

typedef struct slot {
    slot_state state;
    size_t number;  /* of the job, in the whole run */
    opened *series; /* NULL: could not be opened */
    size_t job;     /* of the series */
} slot;

typedef struct run {
    s24_series_open *open;
    void *ctx;
    size_t count;              /* series */
    unsigned slot_count;
    pthread_t *others;         /* [threads - 1] */

    pthread_mutex_t lock;      /* guards everything below; not held while a stage runs */
    pthread_cond_t changed;
    size_t others_started, others_most;
    slot *slots;
    opened *series;            /* number k in place k modulo slot_count: each open one has a job in a slot */
    size_t opened;             /* series */
    size_t next_read;          /* the number of the job that is begun next */
    bool reading;              /* somebody runs `read`, or opens a series */
    size_t next_commit;        /* the number of the job whose `commit` is due */
    bool committing;           /* somebody runs `commit`, and will look for the next due job when he is done */
    size_t failed;             /* the lowest job that failed, or SIZE_MAX */
    s24_status status;
    s24_error error;
} run;

static void note_failure(run *r, size_t number, s24_status status, const s24_error *error)
{
    if (status != S24_OK && number < r->failed) {
        r->failed = number;
        r->status = status;
        r->error = *error;
    }
}

static slot *find_slot(run *r, slot_state state, size_t number)
{
    for (unsigned i = 0; i < r->slot_count; i++) {
        if (r->slots[i].state == state && (state == FREE || r->slots[i].number == number)) {
            return &r->slots[i];
        }
    }
    return NULL;
}

/* A series without jobs has one that does nothing. */
static size_t jobs_of(const opened *o)
{
    return o->series.jobs ? o->series.jobs : 1;
}

/* The series that jobs are taken from; NULL: the next one is to be opened. */
static opened *current(const run *r)
{
    opened *o = r->opened ? &r->series[(r->opened - 1) % r->slot_count] : NULL;
    return o && o->begun < jobs_of(o) ? o : NULL;
}

static bool may_open(const run *r)
{
    const opened *last = r->opened ? &r->series[(r->opened - 1) % r->slot_count] : NULL;
    return !last || !last->series.alone || !last->live;
}

static s24_status open_next(run *r, s24_error *error)
{
    opened *o = &r->series[r->opened % r->slot_count];
    const size_t index = r->opened;
    r->reading = true;
    pthread_mutex_unlock(&r->lock);
    *o = (opened){.begun = 0};
    const s24_status status = r->open(r->ctx, index, &o->series, error);
    pthread_mutex_lock(&r->lock);
    o->live = status == S24_OK;
    r->opened += o->live;
    return status;
}

static bool work_left(const run *r)
{
    return r->failed == SIZE_MAX && (current(r) || r->opened < r->count);
}

/* Waits for the right to begin the next job, and a slot for it; NULL when there is no job left. */
static slot *begin(run *r)
{
    while (work_left(r)) {
        slot *const s = !r->reading && (current(r) || may_open(r)) ? find_slot(r, FREE, 0) : NULL;
        if (s) {
            *s = (slot){.state = BUSY, .number = r->next_read++};
            return s;
        }
        pthread_cond_wait(&r->changed, &r->lock);
    }
    return NULL;
}

/* Without the lock. */
static s24_status stage(s24_stage *function, const run *r, const slot *s, s24_error *error)
{
    const s24_series *series = &s->series->series;
    return function && series->jobs ? function(series->ctx, (unsigned)(s - r->slots), s->job, error) : S24_OK;
}

static s24_status commit_one(const run *r, const slot *s, s24_error *error)
{
    opened *o = s->series;
    const s24_stages *stages = o->series.stages;
    const bool last = s->job + 1 == jobs_of(o);
    s24_status status = s->job == 0 && stages->begin ? stages->begin(o->series.ctx, error) : S24_OK;
    status = status == S24_OK ? stage(stages->commit, r, s, error) : status;
    return status == S24_OK && last && stages->end ? stages->end(o->series.ctx, error) : status;
}

static void free_series(opened *o)
{
    if (o->live && o->series.stages->free) {
        o->series.stages->free(o->series.ctx);
    }
    o->live = false;
}

/* Commits all that is due. Who comes while another thread does so leaves it to that one, and goes on. */
static void commit_due(run *r)
{
    slot *s;
    while (!r->committing && (s = find_slot(r, DONE, r->next_commit)) != NULL) {
        if (r->failed > s->number) {
            s24_error error;
            r->committing = true;
            pthread_mutex_unlock(&r->lock);
            const s24_status status = commit_one(r, s, &error);
            pthread_mutex_lock(&r->lock);
            note_failure(r, s->number, status, &error);
            r->committing = false;
            if (s->job + 1 == jobs_of(s->series)) {
                free_series(s->series);
            }
        }
        s->state = FREE;
        r->next_commit++;
        pthread_cond_broadcast(&r->changed);
    }
}

static void *work_loop(void *argument);

/*
 * Who has begun a job has another thread look for the next one, so that there are no more of them than jobs. Fewer threads
 * than asked for is slower, not wrong: the results do not depend on their number.
 */
static void start_another(run *r)
{
    if (r->others_started < r->others_most && work_left(r)) {
        if (pthread_create(&r->others[r->others_started], NULL, work_loop, r) == 0) {
            r->others_started++;
        } else {
            r->others_most = r->others_started;
        }
    }
}

/* For who began it. */
static void stop_reading(run *r)
{
    r->reading = false;
    pthread_cond_broadcast(&r->changed);
}

/* The stages before the commit, of a job whose turn it is to be read; the lock is released in between. */
static s24_status read_and_work(run *r, slot *s, s24_error *error)
{
    const s24_stages *stages = s->series->series.stages;
    s24_status status = S24_OK;
    if (stages->read) {
        r->reading = true;
        pthread_mutex_unlock(&r->lock);
        status = stage(stages->read, r, s, error);
        pthread_mutex_lock(&r->lock);
        stop_reading(r);
    }
    pthread_mutex_unlock(&r->lock);
    status = status == S24_OK ? stage(stages->work, r, s, error) : status;
    pthread_mutex_lock(&r->lock);
    return status;
}

/* From its series to its commit, which another thread may be left to do. */
static void do_job(run *r, slot *s)
{
    s24_error error;
    s24_status status = S24_OK;
    if (!current(r)) {
        status = open_next(r, &error);
        stop_reading(r);
    }
    if (status == S24_OK) {
        s->series = current(r);
        s->job = s->series->begun++;
        start_another(r);
        status = read_and_work(r, s, &error);
    }
    note_failure(r, s->number, status, &error);
    s->state = DONE;
    commit_due(r);
}

static void *work_loop(void *argument)
{
    run *r = argument;
    slot *s;
    pthread_mutex_lock(&r->lock);
    while ((s = begin(r)) != NULL) {
        do_job(r, s);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

unsigned s24_slots(unsigned threads)
{
    return threads > 1 ? threads + 2 : 1;
}

static void run_threads(run *r)
{
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    work_loop(r);
    for (size_t i = 0; i < r->others_started; i++) { /* nothing is left, so that no more are started */
        pthread_join(r->others[i], NULL);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    for (unsigned i = 0; i < r->slot_count; i++) {
        free_series(&r->series[i]);
    }
}

static s24_status run_all(run *r, unsigned threads, s24_error *err)
{
    r->failed = SIZE_MAX;
    r->others_most = threads - 1;
    r->slots = s24_calloc(r->slot_count, sizeof *r->slots, err);
    r->series = r->slots ? s24_calloc(r->slot_count, sizeof *r->series, err) : NULL;
    r->others = r->series ? s24_calloc(threads, sizeof *r->others, err) : NULL;
    const bool ran = r->others != NULL;
    if (ran) {
        run_threads(r);
    }
    free(r->others);
    free(r->series);
    free(r->slots);
    if (ran && r->status != S24_OK && err) {
        *err = r->error;
    }
    return ran ? r->status : S24_ERR_SYSTEM;
}

s24_status s24_run_series(s24_series_open *open, void *ctx, size_t count, unsigned threads, s24_error *err)
{
    const unsigned some = threads ? threads : 1;
    run r = {.open = open, .ctx = ctx, .count = count, .slot_count = s24_slots(some)};
    return run_all(&r, some, err);
}

static s24_status open_only(void *ctx, size_t index, s24_series *series, s24_error *err)
{
    (void)index;
    (void)err;
    *series = *(const s24_series *)ctx;
    return S24_OK;
}

s24_status s24_run(const s24_stages *stages, void *ctx, size_t jobs, unsigned threads, s24_error *err)
{
    s24_series only = {.stages = stages, .ctx = ctx, .jobs = jobs};
    const size_t some = threads < jobs ? (threads ? threads : 1) : (jobs ? jobs : 1);
    run r = {.open = open_only, .ctx = &only, .count = 1};
    r.slot_count = stages->commit ? s24_slots((unsigned)some) : (unsigned)some;
    return run_all(&r, (unsigned)some, err);
}

unsigned s24_threads_available(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return (unsigned)CPU_COUNT(&set);
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}
