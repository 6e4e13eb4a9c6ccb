#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "mem.h"

typedef enum slot_state { FREE, BUSY, DONE } slot_state; /* DONE waits for its commit */

typedef struct slot {
    slot_state state;
    size_t job;
} slot;

typedef struct run {
    const s24_stages *stages;
    void *ctx;
    size_t jobs;
    unsigned slot_count;

    pthread_mutex_t lock;      /* guards everything below; not held while a stage runs */
    pthread_cond_t changed;
    slot *slots;
    size_t next_read;          /* the job whose `read` is due */
    bool reading;              /* somebody runs `read` */
    size_t next_commit;        /* the job whose `commit` is due */
    bool committing;           /* somebody runs `commit`, and will look for the next due job when he is done */
    size_t failed;             /* the lowest job that failed, or SIZE_MAX */
    s24_status status;
    s24_error error;
} run;

static void note_failure(run *r, size_t job, s24_status status, const s24_error *error)
{
    if (status != S24_OK && job < r->failed) {
        r->failed = job;
        r->status = status;
        r->error = *error;
    }
}

static slot *find_slot(run *r, slot_state state, size_t job)
{
    for (unsigned i = 0; i < r->slot_count; i++) {
        if (r->slots[i].state == state && (state == FREE || r->slots[i].job == job)) {
            return &r->slots[i];
        }
    }
    return NULL;
}

/* Waits for the right to read the next job, and a slot for it; NULL when there is no job left. */
static slot *begin(run *r)
{
    slot *s = NULL;
    while (r->next_read < r->jobs && r->failed == SIZE_MAX && (r->reading || !(s = find_slot(r, FREE, 0)))) {
        pthread_cond_wait(&r->changed, &r->lock);
    }
    if (r->next_read == r->jobs || r->failed != SIZE_MAX) {
        return NULL;
    }
    s->state = BUSY;
    s->job = r->next_read++;
    r->reading = r->stages->read != NULL;
    return s;
}

static s24_status stage(run *r, s24_stage *function, const slot *s, s24_error *error)
{
    s24_status status = S24_OK;
    if (function) {
        pthread_mutex_unlock(&r->lock);
        status = function(r->ctx, (unsigned)(s - r->slots), s->job, error);
        pthread_mutex_lock(&r->lock);
    }
    return status;
}

/* Commits all that is due. Who comes while another thread does so leaves it to that one, and goes on. */
static void commit_due(run *r)
{
    slot *s;
    while (!r->committing && (s = find_slot(r, DONE, r->next_commit)) != NULL) {
        if (r->failed > s->job) {
            s24_error error;
            r->committing = true;
            note_failure(r, s->job, stage(r, r->stages->commit, s, &error), &error);
            r->committing = false;
        }
        s->state = FREE;
        r->next_commit++;
        pthread_cond_broadcast(&r->changed);
    }
}

static void *work_loop(void *argument)
{
    run *r = argument;
    slot *s;
    pthread_mutex_lock(&r->lock);
    while ((s = begin(r)) != NULL) {
        s24_error error;
        s24_status status = stage(r, r->stages->read, s, &error);
        if (r->reading) {
            r->reading = false;
            pthread_cond_broadcast(&r->changed);
        }
        status = status == S24_OK ? stage(r, r->stages->work, s, &error) : status;
        note_failure(r, s->job, status, &error);
        s->state = DONE;
        commit_due(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

unsigned s24_slots(unsigned threads)
{
    return threads > 1 ? threads + 2 : 1;
}

s24_status s24_run(const s24_stages *stages, void *ctx, size_t jobs, unsigned threads, s24_error *err)
{
    run r = {.stages = stages, .ctx = ctx, .jobs = jobs, .failed = SIZE_MAX};
    const size_t count = threads < jobs ? (threads ? threads : 1) : (jobs ? jobs : 1);
    r.slot_count = stages->commit ? s24_slots((unsigned)count) : (unsigned)count;
    r.slots = s24_calloc(r.slot_count, sizeof *r.slots, err);
    pthread_t *others = r.slots ? s24_calloc(count, sizeof *others, err) : NULL;
    if (!others) {
        free(r.slots);
        return S24_ERR_SYSTEM;
    }
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.changed, NULL);
    size_t started = 0;
    /* Fewer threads than asked for is slower, not wrong: the results do not depend on their number. */
    while (started + 1 < count && pthread_create(&others[started], NULL, work_loop, &r) == 0) {
        started++;
    }
    work_loop(&r);
    for (size_t i = 0; i < started; i++) {
        pthread_join(others[i], NULL);
    }
    pthread_cond_destroy(&r.changed);
    pthread_mutex_destroy(&r.lock);
    free(others);
    free(r.slots);
    if (r.status != S24_OK && err) {
        *err = r.error;
    }
    return r.status;
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
