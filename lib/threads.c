#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "mem.h"

typedef struct run {
    const s24_stages *stages;
    void *ctx;
    size_t jobs;

    pthread_mutex_t lock;      /* guards everything below; held during `read` and `commit` of their own turn only */
    pthread_cond_t turn;
    size_t next_read;          /* the job whose `read` is due */
    bool reading;              /* somebody runs `read` */
    size_t next_commit;        /* the job whose `commit` is due */
    size_t failed;             /* the lowest job that failed, or SIZE_MAX */
    s24_status status;
    s24_error error;
} run;

typedef struct worker {
    run *run;
    unsigned index;
    pthread_t thread;
} worker;

static void note_failure(run *r, size_t job, s24_status status, const s24_error *error)
{
    if (job < r->failed) {
        r->failed = job;
        r->status = status;
        r->error = *error;
    }
}

/* Waits for the right to read the next job; false when there is none left. */
static bool begin_read(run *r, size_t *job)
{
    while (r->reading) {
        pthread_cond_wait(&r->turn, &r->lock);
    }
    if (r->next_read == r->jobs || r->failed != SIZE_MAX) {
        return false;
    }
    *job = r->next_read++;
    r->reading = true;
    return true;
}

static void *work_loop(void *argument)
{
    worker *self = argument;
    run *r = self->run;
    const s24_stages *stages = r->stages;
    size_t job;
    pthread_mutex_lock(&r->lock);
    while (begin_read(r, &job)) {
        s24_error error;
        pthread_mutex_unlock(&r->lock);
        s24_status status = stages->read ? stages->read(r->ctx, self->index, job, &error) : S24_OK;
        pthread_mutex_lock(&r->lock);
        r->reading = false;
        pthread_cond_broadcast(&r->turn);
        if (status == S24_OK && stages->work) {
            pthread_mutex_unlock(&r->lock);
            status = stages->work(r->ctx, self->index, job, &error);
            pthread_mutex_lock(&r->lock);
        }
        if (status != S24_OK) {
            note_failure(r, job, status, &error);
        }
        while (r->next_commit != job) {
            pthread_cond_wait(&r->turn, &r->lock);
        }
        if (r->failed > job && stages->commit) {
            pthread_mutex_unlock(&r->lock); /* next_commit keeps the others out */
            status = stages->commit(r->ctx, self->index, job, &error);
            pthread_mutex_lock(&r->lock);
            if (status != S24_OK) {
                note_failure(r, job, status, &error);
            }
        }
        r->next_commit++;
        pthread_cond_broadcast(&r->turn);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

s24_status s24_run(const s24_stages *stages, void *ctx, size_t jobs, unsigned threads, s24_error *err)
{
    run r = {.stages = stages, .ctx = ctx, .jobs = jobs, .failed = SIZE_MAX};
    const size_t count = threads < jobs ? (threads ? threads : 1) : (jobs ? jobs : 1);
    worker *workers = s24_calloc(count, sizeof *workers, err);
    if (!workers) {
        return S24_ERR_SYSTEM;
    }
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.turn, NULL);
    size_t started = 1;
    for (size_t i = 0; i < count; i++) {
        workers[i] = (worker){.run = &r, .index = (unsigned)i};
    }
    /* Fewer threads than asked for is slower, not wrong: the results do not depend on their number. */
    while (started < count && pthread_create(&workers[started].thread, NULL, work_loop, &workers[started]) == 0) {
        started++;
    }
    work_loop(&workers[0]);
    for (size_t i = 1; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    pthread_cond_destroy(&r.turn);
    pthread_mutex_destroy(&r.lock);
    free(workers);
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
