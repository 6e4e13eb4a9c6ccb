/*
 * s24_run: reads and commits in the order of jobs and one at a time, work in parallel, and after a failure the error of
 * the lowest job that failed, whoever failed first. Stages record what happens, and sometimes dawdle.
 */
#define _DEFAULT_SOURCE 1 /* usleep */

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "threads.h"
#include "random.h"

#define MAX_JOBS 400
#define MAX_THREADS 16

/* ---------------------------------------------------------------- stages that keep a record */

typedef enum stage { READ, WORK, COMMIT, STAGES } stage;

typedef struct record {
    /* set by the test */
    unsigned threads;
    bool fails[STAGES][MAX_JOBS];
    unsigned char delay[STAGES][MAX_JOBS]; /* in 20 microseconds */

    pthread_mutex_t lock;
    size_t begun[STAGES], running[STAGES]; /* how many */
    bool done[STAGES][MAX_JOBS];
    size_t job_of[MAX_THREADS + 2];            /* what is in a slot */
    size_t in_hand, most_in_hand;
    const char *wrong;                     /* the first thing that was; told at the end, in the test's own thread */
} record;

static void expect(record *r, bool condition, const char *wrong)
{
    if (!condition && !r->wrong) {
        r->wrong = wrong;
    }
}

/* Before anything is done to the job; under the lock. */
static void enter(record *r, stage s, unsigned slot, size_t job)
{
    expect(r, slot < s24_slots(r->threads), "no such slot");
    expect(r, !r->done[s][job], "a stage done twice");
    if (s != WORK) {
        expect(r, r->begun[s] == job, s == READ ? "reads are out of order" : "commits are out of order");
        expect(r, r->running[s] == 0, s == READ ? "two reads at once" : "two commits at once");
    }
    if (s == READ) {
        expect(r, r->job_of[slot] == SIZE_MAX, "a second job in a slot");
        r->job_of[slot] = job;
        r->in_hand++;
        r->most_in_hand = r->in_hand > r->most_in_hand ? r->in_hand : r->most_in_hand;
    } else {
        expect(r, r->done[s - 1][job], "a stage before the one before it");
        expect(r, r->job_of[slot] == job, "another slot's job");
    }
    r->begun[s]++;
    r->running[s]++;
}

static s24_status pass(record *r, stage s, unsigned slot, size_t job, s24_error *err)
{
    pthread_mutex_lock(&r->lock);
    enter(r, s, slot, job);
    pthread_mutex_unlock(&r->lock);
    if (r->delay[s][job]) {
        usleep(20u * r->delay[s][job]);
    }
    pthread_mutex_lock(&r->lock);
    r->running[s]--;
    r->done[s][job] = !r->fails[s][job];
    if (s == COMMIT || r->fails[s][job]) {
        r->job_of[slot] = SIZE_MAX;
        r->in_hand--;
    }
    pthread_mutex_unlock(&r->lock);
    return r->fails[s][job] ? s24_fail(err, S24_ERR_DATA, "stage %d of job %zu", s, job) : S24_OK;
}

static s24_status stage_read(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    return pass(ctx, READ, slot, job, err);
}

static s24_status stage_work(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    return pass(ctx, WORK, slot, job, err);
}

static s24_status stage_commit(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    return pass(ctx, COMMIT, slot, job, err);
}

static const s24_stages all_stages = {.read = stage_read, .work = stage_work, .commit = stage_commit};

static record *record_new(unsigned threads)
{
    record *r = calloc(1, sizeof *r);
    ck_assert_ptr_nonnull(r);
    r->threads = threads ? threads : 1;
    pthread_mutex_init(&r->lock, NULL);
    for (int i = 0; i < MAX_THREADS + 2; i++) {
        r->job_of[i] = SIZE_MAX;
    }
    return r;
}

static void record_free(record *r)
{
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void random_delays(record *r, size_t jobs)
{
    const size_t slow = below(4); /* none, reads, work, commits */
    for (size_t job = 0; slow && job < jobs; job++) {
        r->delay[slow - 1][job] = (unsigned char)(below(3) ? 0 : below(10));
    }
}

static size_t done(const record *r, stage s, size_t jobs)
{
    size_t n = 0;
    for (size_t job = 0; job < jobs; job++) {
        n += r->done[s][job];
    }
    return n;
}

/* ---------------------------------------------------------------- all is well */

START_TEST(in_order)
{
    for (int n = 0; n < 60; n++) {
        const unsigned threads = (unsigned)below(MAX_THREADS + 1);
        const size_t jobs = below(n % 2 ? 12 : MAX_JOBS);
        record *r = record_new(threads);
        s24_error err;
        random_delays(r, jobs);
        ck_assert_int_eq(s24_run(&all_stages, r, jobs, threads, &err), S24_OK);
        ck_assert_msg(!r->wrong, "%u threads, %zu jobs: %s", threads, jobs, r->wrong);
        for (int s = 0; s < STAGES; s++) {
            ck_assert_uint_eq(done(r, (stage)s, jobs), jobs);
            ck_assert_uint_eq(r->running[s], 0);
        }
        ck_assert_uint_le(r->most_in_hand, s24_slots(threads));
        record_free(r);
    }
}
END_TEST

START_TEST(no_jobs)
{
    for (unsigned threads = 0; threads < 4; threads++) {
        record *r = record_new(threads);
        ck_assert_int_eq(s24_run(&all_stages, r, 0, threads, NULL), S24_OK);
        ck_assert_uint_eq(r->begun[READ], 0);
        record_free(r);
    }
}
END_TEST

/* Any of the stages may be missing. The others are those of a job all the same. */
static s24_status count_job(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    (void)slot;
    (void)err;
    ((unsigned char *)ctx)[job]++; /* its own byte: no lock */
    return S24_OK;
}

START_TEST(stages_left_out)
{
    for (unsigned which = 0; which < 8; which++) {
        const s24_stages stages = {.read = which & 1 ? count_job : NULL, .work = which & 2 ? count_job : NULL,
                                   .commit = which & 4 ? count_job : NULL};
        unsigned char count[50] = {0};
        ck_assert_int_eq(s24_run(&stages, count, sizeof count, 3, NULL), S24_OK);
        for (size_t job = 0; job < sizeof count; job++) {
            ck_assert_uint_eq(count[job], (which & 1) + (which >> 1 & 1) + (which >> 2));
        }
    }
}
END_TEST

/* ---------------------------------------------------------------- in parallel */

/* Two stages that can only end together. */
typedef struct meeting {
    stage stages[2];
    size_t jobs[2];
    pthread_mutex_t lock;
    pthread_cond_t came;
    unsigned present;
    bool missed;
} meeting;

/* Who is one of the two waits for the other; at most 20 s. */
static s24_status meet(meeting *m, stage s, size_t job)
{
    struct timespec end;
    int late = 0;
    if ((s != m->stages[0] || job != m->jobs[0]) && (s != m->stages[1] || job != m->jobs[1])) {
        return S24_OK;
    }
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    pthread_mutex_lock(&m->lock);
    m->present++;
    pthread_cond_broadcast(&m->came);
    while (m->present < 2 && !late) {
        late = pthread_cond_timedwait(&m->came, &m->lock, &end);
    }
    m->missed = m->missed || late;
    pthread_mutex_unlock(&m->lock);
    return S24_OK;
}

static s24_status meet_read(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    (void)slot;
    (void)err;
    return meet(ctx, READ, job);
}

static s24_status meet_work(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    (void)slot;
    (void)err;
    return meet(ctx, WORK, job);
}

static s24_status meet_commit(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    (void)slot;
    (void)err;
    return meet(ctx, COMMIT, job);
}

START_TEST(in_parallel)
{
    static const s24_stages stages = {.read = meet_read, .work = meet_work, .commit = meet_commit};
    static const struct {
        stage stages[2];
        size_t jobs[2];
        unsigned threads;
    } rows[] = {
        {{WORK, WORK}, {0, 1}, 2}, {{WORK, WORK}, {7, 8}, 2}, {{WORK, WORK}, {0, 9}, 10}, {{WORK, READ}, {0, 1}, 2},
        {{WORK, READ}, {3, 5}, 3}, {{COMMIT, READ}, {4, 5}, 2}, {{COMMIT, WORK}, {4, 5}, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        meeting m = {.stages = {rows[i].stages[0], rows[i].stages[1]}, .jobs = {rows[i].jobs[0], rows[i].jobs[1]}};
        pthread_mutex_init(&m.lock, NULL);
        pthread_cond_init(&m.came, NULL);
        ck_assert_int_eq(s24_run(&stages, &m, 10, rows[i].threads, NULL), S24_OK);
        ck_assert_msg(m.present == 2 && !m.missed, "row %zu: one waited for the other in vain", i);
        pthread_cond_destroy(&m.came);
        pthread_mutex_destroy(&m.lock);
    }
}
END_TEST

/* ---------------------------------------------------------------- failures */

/* The lowest job that fails, which stages let fail in any order of time. */
static size_t lowest_failure(const record *r, size_t jobs, stage *s)
{
    for (size_t job = 0; job < jobs; job++) {
        for (int k = 0; k < STAGES; k++) {
            if (r->fails[k][job]) {
                *s = (stage)k;
                return job;
            }
        }
    }
    return jobs;
}

static void require_failed(const record *r, size_t jobs, s24_status status, const s24_error *err)
{
    stage s = READ;
    char expected[64];
    const size_t job = lowest_failure(r, jobs, &s);
    ck_assert_msg(!r->wrong, "%s", r->wrong);
    ck_assert_int_eq(status, S24_ERR_DATA);
    ck_assert_int_eq(err->status, S24_ERR_DATA);
    snprintf(expected, sizeof expected, "stage %d of job %zu", s, job);
    ck_assert_str_eq(err->message, expected);
    /* All before it is committed, and nothing after it; few jobs were begun in vain. */
    ck_assert_uint_eq(done(r, COMMIT, jobs), job);
    ck_assert_uint_eq(r->begun[COMMIT], job + (s == COMMIT));
    ck_assert_uint_le(r->begun[READ], job + s24_slots(r->threads));
}

START_TEST(the_lowest_failure_wins)
{
    for (int n = 0; n < 300; n++) {
        const unsigned threads = 1 + (unsigned)below(n % 2 ? 4 : MAX_THREADS);
        const size_t jobs = 1 + below(60);
        record *r = record_new(threads);
        s24_error err;
        random_delays(r, jobs);
        for (size_t failures = 1 + below(5); failures; failures--) {
            r->fails[below(STAGES)][below(jobs)] = true;
        }
        const s24_status status = s24_run(&all_stages, r, jobs, threads, &err);
        require_failed(r, jobs, status, &err);
        record_free(r);
    }
}
END_TEST

/* The higher job fails long before the lower one. */
START_TEST(a_late_lower_failure)
{
    for (int s = READ; s <= WORK; s++) {
        record *r = record_new(4);
        s24_error err;
        r->fails[WORK][1] = r->fails[s][3] = true;
        r->delay[WORK][1] = 255;
        require_failed(r, 20, s24_run(&all_stages, r, 20, 4, &err), &err);
        record_free(r);
    }
}
END_TEST

/* A job that is committed late, while later ones fail: it is committed all the same. */
START_TEST(earlier_jobs_are_committed)
{
    record *r = record_new(4);
    s24_error err;
    r->delay[WORK][0] = 255;
    r->fails[WORK][1] = true;
    require_failed(r, 20, s24_run(&all_stages, r, 20, 4, &err), &err);
    ck_assert(r->done[COMMIT][0]);
    record_free(r);
}
END_TEST

START_TEST(failure_nobody_asks_about)
{
    record *r = record_new(2);
    r->fails[COMMIT][5] = true;
    ck_assert_int_eq(s24_run(&all_stages, r, 20, 2, NULL), S24_ERR_DATA);
    ck_assert_uint_eq(done(r, COMMIT, 20), 5);
    record_free(r);
}
END_TEST

START_TEST(there_is_a_processor)
{
    ck_assert_uint_ge(s24_threads_available(), 1);
}
END_TEST

/* ---------------------------------------------------------------- suite */

int main(void)
{
    const char *given = getenv("S24_SEED");
    first_seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("test_threads: S24_SEED=%llu\n", (unsigned long long)first_seed);

    Suite *suite = suite_create("threads");
    TCase *tcase = tcase_create("threads");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, in_order);
    tcase_add_test(tcase, no_jobs);
    tcase_add_test(tcase, stages_left_out);
    tcase_add_test(tcase, in_parallel);
    tcase_add_test(tcase, the_lowest_failure_wins);
    tcase_add_test(tcase, a_late_lower_failure);
    tcase_add_test(tcase, earlier_jobs_are_committed);
    tcase_add_test(tcase, failure_nobody_asks_about);
    tcase_add_test(tcase, there_is_a_processor);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
