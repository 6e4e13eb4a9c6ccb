/*
 * s24_run: reads and commits in the order of jobs and one at a time, work in parallel, and after a failure the error of
 * the lowest job that failed, whoever failed first. s24_run_series: the same across series, which open, begin and end in
 * order. Stages record what happens, and sometimes dawdle.
 */
#define _GNU_SOURCE /* RTLD_NEXT, usleep */

#include <check.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
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
    stage first;                               /* WORK where the jobs are not read */
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
    if (s == r->first) {
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

static s24_status open_given(void *ctx, size_t index, s24_series *series, s24_error *err)
{
    (void)index;
    (void)err;
    *series = *(const s24_series *)ctx;
    return S24_OK;
}

/* Threads that were made. */
static atomic_size_t created;

#pragma GCC visibility push(default)
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    }
    atomic_fetch_add(&created, 1);
    return real(thread, how, run, argument);
}
#pragma GCC visibility pop

static s24_status dawdle(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    (void)ctx;
    (void)slot;
    (void)job;
    (void)err;
    usleep(20000);
    return S24_OK;
}

/* A job needs one thread, however many are allowed; two need two. */
START_TEST(no_more_threads_than_jobs)
{
    static const s24_stages stages = {.work = dawdle};
    for (size_t jobs = 0; jobs <= 3; jobs++) {
        s24_series only = {.stages = &stages, .jobs = jobs};
        created = 0;
        ck_assert_int_eq(s24_run_series(open_given, &only, 1, 8, NULL), S24_OK);
        ck_assert_uint_eq(created, jobs ? jobs - 1 : 0);
    }
}
END_TEST

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

/* ---------------------------------------------------------------- series */

#define MAX_SERIES 60

typedef enum event { OPEN, BEGIN, END, EVENTS } event;

/* A series: some of the record's jobs, one behind another. */
typedef struct chapter {
    struct book *book;
    size_t index, first, jobs;
    bool alone, fails[EVENTS], done[EVENTS];
    int freed;
} chapter;

typedef struct book {
    record *r;
    bool read;               /* its jobs have that stage */
    size_t count, live, most_live;
    chapter chapters[MAX_SERIES];
} book;

/* Notes that it happened; fails if it shall. */
static s24_status happen(chapter *c, event e, s24_error *err)
{
    record *r = c->book->r;
    pthread_mutex_lock(&r->lock);
    expect(r, !c->done[e], "a series does something twice");
    expect(r, e == OPEN || c->done[e - 1], "a series ends before it begins, or begins before it is open");
    expect(r, c->index == 0 || c->book->chapters[c->index - 1].done[e == OPEN ? OPEN : END], "series out of order");
    c->done[e] = !c->fails[e];
    pthread_mutex_unlock(&r->lock);
    if (c->index % 3 == 0) {
        usleep(50);
    }
    return c->fails[e] ? s24_fail(err, S24_ERR_DATA, "event %d of series %zu", e, c->index) : S24_OK;
}

static s24_status chapter_pass(chapter *c, stage s, unsigned slot, size_t job, s24_error *err)
{
    pthread_mutex_lock(&c->book->r->lock);
    expect(c->book->r, s != COMMIT || (c->done[BEGIN] && !c->done[END]), "a commit outside of its series");
    expect(c->book->r, job < c->jobs && !c->freed, "no such job");
    pthread_mutex_unlock(&c->book->r->lock);
    return pass(c->book->r, s, slot, c->first + job, err);
}

static s24_status chapter_read(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    return chapter_pass(ctx, READ, slot, job, err);
}

static s24_status chapter_work(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    return chapter_pass(ctx, WORK, slot, job, err);
}

static s24_status chapter_commit(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    return chapter_pass(ctx, COMMIT, slot, job, err);
}

static s24_status chapter_begin(void *ctx, s24_error *err)
{
    return happen(ctx, BEGIN, err);
}

static s24_status chapter_end(void *ctx, s24_error *err)
{
    chapter *c = ctx;
    pthread_mutex_lock(&c->book->r->lock);
    for (size_t job = c->first; job < c->first + c->jobs; job++) {
        expect(c->book->r, c->book->r->done[COMMIT][job], "a series ends before its jobs");
    }
    pthread_mutex_unlock(&c->book->r->lock);
    return happen(c, END, err);
}

static void chapter_free(void *ctx)
{
    chapter *c = ctx;
    pthread_mutex_lock(&c->book->r->lock);
    c->freed++;
    c->book->live--;
    pthread_mutex_unlock(&c->book->r->lock);
}

static s24_status chapter_open(void *ctx, size_t index, s24_series *series, s24_error *err)
{
    static const s24_stages with_read = {.read = chapter_read, .work = chapter_work, .commit = chapter_commit,
                                         .begin = chapter_begin, .end = chapter_end, .free = chapter_free};
    static const s24_stages without = {.work = chapter_work, .commit = chapter_commit,
                                       .begin = chapter_begin, .end = chapter_end, .free = chapter_free};
    book *b = ctx;
    chapter *c = &b->chapters[index];
    const chapter *before = index ? c - 1 : NULL;
    pthread_mutex_lock(&b->r->lock);
    expect(b->r, !before || !before->alone || before->done[END], "a series is opened beside one that wants to be alone");
    pthread_mutex_unlock(&b->r->lock);
    const s24_status status = happen(c, OPEN, err);
    if (status == S24_OK) {
        pthread_mutex_lock(&b->r->lock);
        b->live++;
        b->most_live = b->live > b->most_live ? b->live : b->most_live;
        pthread_mutex_unlock(&b->r->lock);
        *series = (s24_series){.stages = b->read ? &with_read : &without, .ctx = c, .jobs = c->jobs, .alone = c->alone};
    }
    return status;
}

/* Of up to MAX_JOBS jobs in all. */
static book *book_new(unsigned threads)
{
    book *b = calloc(1, sizeof *b);
    ck_assert_ptr_nonnull(b);
    b->r = record_new(threads);
    b->read = below(2);
    b->r->first = b->read ? READ : WORK;
    b->count = below(MAX_SERIES + 1);
    size_t first = 0;
    for (size_t i = 0; i < b->count; i++) {
        b->chapters[i] = (chapter){.book = b, .index = i, .first = first, .jobs = below(3) ? below(8) : 0, .alone = !below(4)};
        first += b->chapters[i].jobs;
    }
    random_delays(b->r, first);
    if (!b->read) { /* counts as done */
        memset(b->r->delay[READ], 0, sizeof b->r->delay[READ]);
        memset(b->r->done[READ], 1, sizeof b->r->done[READ]);
    }
    return b;
}

static void book_free(book *b)
{
    record_free(b->r);
    free(b);
}

/* `whole`: series that went through; of the next one its opening may have failed. */
static void require_freed(const book *b, size_t whole)
{
    ck_assert_msg(!b->r->wrong, "%s", b->r->wrong);
    ck_assert_uint_eq(b->live, 0);
    for (size_t i = 0; i < b->count; i++) {
        const chapter *c = &b->chapters[i];
        ck_assert_int_eq(c->freed, c->done[OPEN]);
        ck_assert_int_eq(c->done[END], i < whole);
    }
}

START_TEST(series_in_order)
{
    for (int n = 0; n < 100; n++) {
        const unsigned threads = 1 + (unsigned)below(8);
        book *b = book_new(threads);
        s24_error err;
        ck_assert_int_eq(s24_run_series(chapter_open, b, b->count, threads, &err), S24_OK);
        require_freed(b, b->count);
        ck_assert_uint_le(b->most_live, s24_slots(threads));
        ck_assert_uint_le(b->r->most_in_hand, s24_slots(threads));
        book_free(b);
    }
}
END_TEST

/* The jobs of one series are worked on beside those of the next. */
START_TEST(series_overlap)
{
    book *b = book_new(4);
    s24_error err;
    b->count = 8;
    for (size_t i = 0; i < b->count; i++) {
        b->chapters[i] = (chapter){.book = b, .index = i, .first = i, .jobs = 1};
        b->r->delay[WORK][i] = 250;
    }
    ck_assert_int_eq(s24_run_series(chapter_open, b, b->count, 4, &err), S24_OK);
    require_freed(b, b->count);
    ck_assert_uint_ge(b->most_live, 3);
    book_free(b);
}
END_TEST

/* Whatever fails first: the error is its, what is before it is whole, and all is freed. */
START_TEST(series_that_fail)
{
    for (int n = 0; n < 200; n++) {
        const unsigned threads = 1 + (unsigned)below(8);
        book *b = book_new(threads);
        s24_error err = {0};
        char expected[64];
        if (b->count == 0) {
            book_free(b);
            continue;
        }
        const size_t at = below(b->count);
        chapter *c = &b->chapters[at];
        const stage s = (stage)((size_t)b->r->first + below((size_t)(STAGES - b->r->first)));
        if (c->jobs && below(2)) {
            const size_t job = c->first + below(c->jobs);
            b->r->fails[s][job] = true;
            snprintf(expected, sizeof expected, "stage %d of job %zu", s, job);
        } else {
            const event e = (event)below(EVENTS);
            c->fails[e] = true;
            snprintf(expected, sizeof expected, "event %d of series %zu", e, at);
        }
        if (at + 1 < b->count) { /* a later failure does not count, whenever it happens */
            b->chapters[at + 1].fails[below(EVENTS)] = true;
        }
        ck_assert_int_eq(s24_run_series(chapter_open, b, b->count, threads, &err), S24_ERR_DATA);
        ck_assert_str_eq(err.message, expected);
        require_freed(b, at);
        book_free(b);
    }
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
    tcase_add_test(tcase, no_more_threads_than_jobs);
    tcase_add_test(tcase, stages_left_out);
    tcase_add_test(tcase, in_parallel);
    tcase_add_test(tcase, the_lowest_failure_wins);
    tcase_add_test(tcase, a_late_lower_failure);
    tcase_add_test(tcase, earlier_jobs_are_committed);
    tcase_add_test(tcase, failure_nobody_asks_about);
    tcase_add_test(tcase, series_in_order);
    tcase_add_test(tcase, series_overlap);
    tcase_add_test(tcase, series_that_fail);
    tcase_add_test(tcase, there_is_a_processor);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
