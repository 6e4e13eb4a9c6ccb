/*
 * The search for an order of columns in which 2:4 keeps more (Pool and Yu, NeurIPS 2021, pose the problem), by moves that
 * are taken or not as their change and a temperature say (Kirkpatrick, Gelatt and Vecchi 1983,
 * doi 10.1126/science.220.4598.671).
 *
 * What a group loses in a row is the sum of its two smallest scores. A move exchanges two columns of different groups.
 * With the other three of its group sorted, low <= middle <= high, a column x brings the loss to low + min(middle, x):
 * two streams of minima and sums are all that a move costs, and `middle` is made anew only where a move is taken.
 *
 *     group A   a . . .      loss of A with b for a: sum of low_a + sum of min(middle_a, b)
 *     group B   b . . .      loss of B with a for b: sum of low_b + sum of min(middle_b, a)
 *
 * Few groups: parallel tempering (Swendsen and Wang 1986, doi 10.1103/PhysRevLett.57.2607). Replicas of the order are kept
 * at temperatures from cold to hot, and neighbours are exchanged after each round, so that what is stuck in the cold gets
 * out by way of the heat. Many groups: annealing in rounds that grow colder; in each the groups are dealt out at random to
 * parts that fit a cache. Replicas and parts are jobs for threads, with random numbers of their own, so that the result
 * does not depend on how many threads there are.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "linalg.h"
#include "mem.h"
#include "threads.h"

/* ---------------------------------------------------------------- random numbers */

/* SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2714064.2660195). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Below n, from 32 bits. */
static uint32_t below(uint32_t bits, uint32_t n)
{
    return (uint32_t)((uint64_t)bits * n >> 32);
}

/*
 * An exponential deviate, near enough, by exact arithmetic alone: a libm's logarithm is not the same on every machine. Its
 * density is halved from one multiple of ln 2 to the next, as it should be, and constant in between.
 */
static float exponential(uint32_t bits)
{
    const unsigned halvings = (unsigned)__builtin_ctz(bits | 1u << 15);
    return 0.6931472f * ((float)halvings + (float)(bits >> 16) * 0x1p-16f);
}

/* ---------------------------------------------------------------- the generic kernel */

static float sum_lanes(float lane[S24_COLUMN_LANES])
{
    for (size_t n = S24_COLUMN_LANES / 2; n > 0; n /= 2) {
        for (size_t i = 0; i < n; i++) {
            lane[i] += lane[i + n];
        }
    }
    return lane[0];
}

static float less_of(float a, float b)
{
    return a < b ? a : b;
}

static float greater_of(float a, float b)
{
    return a > b ? a : b;
}

static float generic_swap(const float *a, const float *b, const float *c, const float *d, size_t n)
{
    float one[S24_COLUMN_LANES] = {0}, other[S24_COLUMN_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        one[i % S24_COLUMN_LANES] += less_of(a[i], b[i]);
        other[i % S24_COLUMN_LANES] += less_of(c[i], d[i]);
    }
    for (size_t i = 0; i < S24_COLUMN_LANES; i++) {
        one[i] += other[i];
    }
    return sum_lanes(one);
}

static float generic_rest(const float *x, const float *y, const float *z, float *middle, size_t n)
{
    float sum[S24_COLUMN_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        const float less = less_of(x[i], y[i]);
        sum[i % S24_COLUMN_LANES] += less_of(less, z[i]);
        middle[i] = greater_of(less, less_of(greater_of(x[i], y[i]), z[i]));
    }
    return sum_lanes(sum);
}

static const s24_columns_kernel generic_kernel = {.swap = generic_swap, .rest = generic_rest};

/* ---------------------------------------------------------------- a chain of moves */

/* The columns as the search sees them. */
typedef struct columns {
    const s24_columns_kernel *kernel;
    size_t cols, groups;
    size_t height; /* of a column: scores of the rows looked at, and zeros up to a multiple of lanes */
    float *scores; /* [4 * groups + 1, height]: columns of zeros for padding, and one more */
} columns;

/* Some groups, and the moves between them. */
typedef struct chain {
    const columns *all;
    size_t places;    /* four a group */
    size_t movable;   /* the first of them; behind is padding, which stays at the end of the last group */
    uint32_t *column; /* [places]: what stands there */
    float *middle;    /* [places, height]: the median of the other three columns of the group */
    float *low;       /* [places]: the sum of the least of those three */
    float *loss;      /* [places / 4] */
} chain;

static const float *scores_at(const chain *c, size_t place)
{
    return c->all->scores + c->column[place] * c->all->height;
}

static void refresh(chain *c, size_t group)
{
    const s24_columns_kernel *k = c->all->kernel;
    const size_t height = c->all->height, first = 4 * group;
    const float *const zeros = c->all->scores + 4 * c->all->groups * height;
    for (size_t i = 0; i < 4; i++) {
        c->low[first + i] = k->rest(scores_at(c, first + (i ^ 1)), scores_at(c, first + (i ^ 2)),
                                    scores_at(c, first + (i ^ 3)), c->middle + (first + i) * height, height);
    }
    c->loss[group] = c->low[first] + k->swap(c->middle + first * height, scores_at(c, first), zeros, zeros, height);
}

static void refresh_all(chain *c)
{
    for (size_t g = 0; g < c->places / 4; g++) {
        refresh(c, g);
    }
}

static double loss_of(const chain *c)
{
    double loss = 0;
    for (size_t g = 0; g < c->places / 4; g++) {
        loss += (double)c->loss[g];
    }
    return loss;
}

/* By how much the loss grows when places i and j exchange their columns. */
static float change_of(const chain *c, size_t i, size_t j)
{
    const size_t height = c->all->height;
    const float sum = c->all->kernel->swap(c->middle + i * height, scores_at(c, j), c->middle + j * height,
                                           scores_at(c, i), height);
    return ((c->low[i] + c->low[j]) + sum) - (c->loss[i / 4] + c->loss[j / 4]);
}

/* Two places of different groups, of which there are two with a place that is movable. */
static void choose_places(const chain *c, uint64_t *random, size_t *i, size_t *j)
{
    do {
        const uint64_t bits = next_random(random);
        *i = below((uint32_t)bits, (uint32_t)c->movable);
        *j = below((uint32_t)(bits >> 32), (uint32_t)c->movable);
    } while (*i / 4 == *j / 4);
}

#define ROUND_MOVES 20000 /* a fraction of a second */

static s24_status run_chain(chain *c, float temperature, uint64_t moves, uint64_t random, const s24_compute_env *env,
                            s24_error *err)
{
    for (uint64_t n = 0; n < moves; n++) {
        if (n % ROUND_MOVES == 0 && s24_cancelled(env, err) != S24_OK) {
            return S24_ERR_STOPPED;
        }
        size_t i, j;
        choose_places(c, &random, &i, &j);
        const float limit = temperature * exponential((uint32_t)(next_random(&random) >> 32));
        if (change_of(c, i, j) < limit) {
            const uint32_t column = c->column[i];
            c->column[i] = c->column[j];
            c->column[j] = column;
            refresh(c, i / 4);
            refresh(c, j / 4);
        }
    }
    return S24_OK;
}

#define SAMPLED_MOVES 1023

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/*
 * The lower quartile of |change| over moves at random: what temperatures are measured by. Where columns differ much, the
 * mean is that of the few great ones.
 */
static float usual_change(const chain *c, uint64_t random)
{
    float change[SAMPLED_MOVES];
    for (unsigned n = 0; n < SAMPLED_MOVES; n++) {
        size_t i, j;
        choose_places(c, &random, &i, &j);
        change[n] = fabsf(change_of(c, i, j));
    }
    qsort(change, SAMPLED_MOVES, sizeof *change, by_size);
    return change[SAMPLED_MOVES / 4];
}

/* Room for so many places. `column` is the caller's. */
static s24_status chain_init(chain *c, const columns *all, size_t places, s24_error *err)
{
    size_t bytes;
    *c = (chain){.all = all, .places = places};
    if (!s24_mul(places, all->height * sizeof(float), &bytes)) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    c->middle = s24_alloc(bytes, err);
    c->low = c->middle ? s24_calloc(places, sizeof *c->low, err) : NULL;
    c->loss = c->low ? s24_calloc(places / 4, sizeof *c->loss, err) : NULL;
    return c->loss ? S24_OK : S24_ERR_SYSTEM;
}

static void chain_free(chain *c)
{
    free(c->middle);
    free(c->low);
    free(c->loss);
}

/* ---------------------------------------------------------------- few groups: parallel tempering */

/*
 * In units of the usual change. Chosen on 128 x 64 uniform deviates, normal ones, and normal ones of low rank or in columns
 * of very different scale: the coldest hardly moves any more, the hottest gets everywhere, and two in three neighbours are
 * exchanged.
 */
#define REPLICAS 12
#define COLDEST 0.1f
#define WARMER 1.15f /* from one to the next */

typedef struct tempering {
    const columns *all;
    chain chains[REPLICAS];        /* coldest first */
    float temperatures[REPLICAS];
    uint32_t *orders, *best_order; /* [REPLICAS, 4 * groups], [4 * groups] */
    double best_loss;
    uint64_t seed;
    const s24_compute_env *env;
} tempering;

static s24_status tempering_work(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    tempering *t = ctx;
    (void)slot;
    uint64_t random = t->seed + job;
    return run_chain(&t->chains[job], t->temperatures[job], ROUND_MOVES, next_random(&random), t->env, err);
}

/* After a round: the best so far is noted; from hot to cold, neighbours are exchanged. */
static void exchange_replicas(tempering *t, uint64_t *random)
{
    for (unsigned k = REPLICAS; k-- > 0;) {
        chain *const c = t->chains;
        const double loss = loss_of(&c[k]);
        if (loss < t->best_loss) {
            t->best_loss = loss;
            memcpy(t->best_order, c[k].column, c[k].places * sizeof *c[k].column);
        }
        const float rate = k + 1 < REPLICAS ? 1 / t->temperatures[k] - 1 / t->temperatures[k + 1] : 0;
        const float limit = exponential((uint32_t)(next_random(random) >> 32));
        if (k + 1 < REPLICAS && rate * (float)(loss_of(&c[k + 1]) - loss) < limit) {
            const chain other = c[k];
            c[k] = c[k + 1];
            c[k + 1] = other;
        }
    }
}

static s24_status run_tempering(tempering *t, uint64_t moves, s24_error *err)
{
    static const s24_stages stages = {.work = tempering_work};
    const uint64_t rounds = moves / ((uint64_t)REPLICAS * ROUND_MOVES) + 1;
    uint64_t random = t->seed;
    float temperature = COLDEST * usual_change(&t->chains[0], random);
    s24_status status = S24_OK;
    for (unsigned k = 0; k < REPLICAS; k++) {
        t->temperatures[k] = temperature;
        temperature *= WARMER;
    }
    t->best_loss = loss_of(&t->chains[0]);
    for (uint64_t r = 0; r < rounds && temperature > 0 && status == S24_OK; r++) {
        t->seed = next_random(&random);
        status = s24_run(&stages, t, REPLICAS, t->env->threads, err);
        exchange_replicas(t, &random);
    }
    return status;
}

static s24_status temper(const columns *all, uint64_t moves, uint64_t seed, const s24_compute_env *env, uint32_t *order,
                         s24_error *err)
{
    const size_t places = 4 * all->groups;
    tempering t = {.all = all, .best_order = order, .seed = seed, .env = env};
    t.orders = s24_calloc(REPLICAS * places, sizeof *t.orders, err);
    s24_status status = t.orders ? S24_OK : S24_ERR_SYSTEM;
    for (unsigned k = 0; k < REPLICAS && status == S24_OK; k++) {
        status = chain_init(&t.chains[k], all, places, err);
        t.chains[k].movable = all->cols;
        t.chains[k].column = t.orders + k * places;
        memcpy(t.chains[k].column, order, places * sizeof *order);
        if (status == S24_OK) {
            refresh_all(&t.chains[k]);
        }
    }
    status = status == S24_OK ? run_tempering(&t, moves, err) : status;
    for (unsigned k = 0; k < REPLICAS; k++) {
        chain_free(&t.chains[k]);
    }
    free(t.orders);
    return status;
}

/* ---------------------------------------------------------------- many groups: annealing part by part */

#define PART_BYTES ((size_t)2 << 20) /* of scores and medians: what an L2 cache holds */
#define ROUNDS 100
#define HOT 0.5f /* in units of the usual change; chosen as above, on 512 x 512 */
#define COLD 0.02f

typedef struct annealing {
    const columns *all;
    size_t parts, part_groups; /* the last part may be smaller */
    uint32_t *groups;          /* [groups]: dealt out, those of part 0 first */
    uint32_t *order;           /* [4 * groups]; a job changes the places of its groups */
    chain *chains;             /* one a thread */
    uint32_t *columns;         /* [threads, 4 * part_groups] */
    float temperature;
    uint64_t moves, seed;
    const s24_compute_env *env;
} annealing;

/* Groups [first, first + count) of those dealt out; the last group of all, which may have padding, at the end. */
static void load_part(const annealing *a, size_t first, size_t count, chain *c)
{
    const size_t last = a->all->groups - 1;
    for (size_t k = 0; k + 1 < count; k++) {
        if (a->groups[first + k] == last) {
            a->groups[first + k] = a->groups[first + count - 1];
            a->groups[first + count - 1] = (uint32_t)last;
        }
    }
    for (size_t k = 0; k < count; k++) {
        memcpy(c->column + 4 * k, a->order + 4 * (size_t)a->groups[first + k], 4 * sizeof *c->column);
    }
    c->places = 4 * count;
    c->movable = 4 * count - (a->groups[first + count - 1] == last ? 4 * a->all->groups - a->all->cols : 0);
}

static s24_status annealing_work(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const annealing *a = ctx;
    chain *const c = &a->chains[slot];
    const size_t first = job * a->part_groups, left = a->all->groups - first;
    const size_t count = left < a->part_groups ? left : a->part_groups;
    uint64_t random = a->seed + job;
    s24_status status = S24_OK;
    load_part(a, first, count, c);
    if (count > 1) {
        refresh_all(c);
        status = run_chain(c, a->temperature, a->moves * count / a->part_groups, next_random(&random), a->env, err);
    }
    for (size_t k = 0; k < count; k++) {
        memcpy(a->order + 4 * (size_t)a->groups[first + k], c->column + 4 * k, 4 * sizeof *c->column);
    }
    return status;
}

static void deal_groups(annealing *a, uint64_t *random)
{
    for (size_t n = a->all->groups; n > 1; n--) {
        const size_t k = below((uint32_t)(next_random(random) >> 32), (uint32_t)n);
        const uint32_t group = a->groups[k];
        a->groups[k] = a->groups[n - 1];
        a->groups[n - 1] = group;
    }
}

static s24_status run_annealing(annealing *a, uint64_t moves, unsigned threads, s24_error *err)
{
    static const s24_stages stages = {.work = annealing_work};
    uint64_t random = a->seed;
    s24_status status = S24_OK;
    a->moves = moves / (ROUNDS * a->parts) + 1;
    deal_groups(a, &random);
    load_part(a, 0, a->part_groups, &a->chains[0]);
    refresh_all(&a->chains[0]);
    const float scale = usual_change(&a->chains[0], random);
    for (unsigned r = 0; r < ROUNDS && status == S24_OK; r++) {
        a->temperature = scale * (HOT + (COLD - HOT) * ((float)r / (float)(ROUNDS - 1)));
        a->seed = next_random(&random);
        deal_groups(a, &random);
        status = s24_run(&stages, a, a->parts, threads, err);
    }
    return status;
}

static s24_status anneal(const columns *all, uint64_t moves, uint64_t seed, const s24_compute_env *env, uint32_t *order,
                         s24_error *err)
{
    annealing a = {.all = all, .order = order, .seed = seed, .env = env};
    assert(all->height > 0); /* of no rows nothing is to be found */
    const size_t fit = PART_BYTES / (8 * sizeof(float) * all->height);
    a.part_groups = fit < 8 ? 8 : fit;
    a.part_groups = a.part_groups < (all->groups + 3) / 4 ? a.part_groups : (all->groups + 3) / 4;
    a.parts = (all->groups - 1) / a.part_groups + 1;
    const unsigned threads = env->threads < a.parts ? env->threads : (unsigned)a.parts;
    a.groups = s24_calloc(all->groups, sizeof *a.groups, err);
    a.chains = a.groups ? s24_calloc(threads, sizeof *a.chains, err) : NULL;
    a.columns = a.chains ? s24_calloc(threads * 4 * a.part_groups, sizeof *a.columns, err) : NULL;
    s24_status status = a.columns ? S24_OK : S24_ERR_SYSTEM;
    for (size_t g = 0; g < all->groups && status == S24_OK; g++) {
        a.groups[g] = (uint32_t)g;
    }
    for (unsigned i = 0; i < threads && status == S24_OK; i++) {
        status = chain_init(&a.chains[i], all, 4 * a.part_groups, err);
        a.chains[i].column = a.columns + i * 4 * a.part_groups;
    }
    status = status == S24_OK ? run_annealing(&a, moves, threads, err) : status;
    for (unsigned i = 0; a.chains && i < threads; i++) {
        chain_free(&a.chains[i]);
    }
    free(a.columns);
    free(a.chains);
    free(a.groups);
    return status;
}

/* ---------------------------------------------------------------- scores */

typedef struct matrix {
    const float *w;
    size_t ldw, rows, cols;
    const float *norms;
} matrix;

static double score_of(const matrix *m, size_t row, size_t col)
{
    const double w = fabs((double)m->w[row * m->ldw + col]);
    const double x = m->norms ? w * (double)m->norms[col] : w;
    return m->norms ? x * x : w;
}

/* Refuses what is no score, and finds the greatest. */
static s24_status check_scores(const matrix *m, double *greatest, s24_error *err)
{
    *greatest = 0;
    for (size_t j = 0; m->norms && j < m->cols; j++) {
        if (!(m->norms[j] >= 0 && isfinite(m->norms[j]))) {
            return s24_fail(err, S24_ERR_DATA, "the norm of column %zu is %g; norms must be finite and at least 0", j,
                            (double)m->norms[j]);
        }
    }
    for (size_t i = 0; i < m->rows; i++) {
        for (size_t j = 0; j < m->cols; j++) {
            if (!isfinite(m->w[i * m->ldw + j])) {
                return s24_fail(err, S24_ERR_DATA, "element [%zu, %zu] is not finite; mend the weights", i, j);
            }
            *greatest = fmax(*greatest, score_of(m, i, j));
        }
    }
    return S24_OK;
}

#define SAMPLE_ROWS 4096
#define SAMPLE_SCORES ((size_t)1 << 26) /* 256 MiB */
#define LEAST_ROWS 64

size_t s24_permute_sample(size_t rows, size_t cols)
{
    const size_t room = SAMPLE_SCORES / cols, most = room < SAMPLE_ROWS ? room : SAMPLE_ROWS;
    const size_t some = most > LEAST_ROWS ? most : LEAST_ROWS;
    return rows < some ? rows : some;
}

/* Columns of f32, of which none exceeds 1: divided by a power of two, so that 128 x 64 and its double go the same way. */
static s24_status load_columns(const matrix *m, double greatest, columns *c, s24_error *err)
{
    const size_t sample = s24_permute_sample(m->rows, m->cols);
    size_t bytes;
    int exponent = 0;
    c->cols = m->cols;
    c->groups = (m->cols + 3) / 4;
    c->height = (sample + S24_COLUMN_LANES - 1) / S24_COLUMN_LANES * S24_COLUMN_LANES;
    if (!s24_mul((4 * c->groups + 1) * sizeof *c->scores, c->height, &bytes)) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    c->scores = s24_alloc(bytes, err);
    if (!c->scores) {
        return S24_ERR_SYSTEM;
    }
    frexp(greatest, &exponent);
    memset(c->scores, 0, bytes);
    for (size_t i = 0; i < sample; i++) {
        const size_t row = (size_t)((double)i * ((double)m->rows / (double)sample));
        for (size_t j = 0; j < m->cols; j++) {
            c->scores[j * c->height + i] = (float)ldexp(score_of(m, row, j), -exponent);
        }
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- what an order keeps */

/* Of the whole matrix, in f64, rows in order. */
static double kept_by(const matrix *m, const uint32_t *order)
{
    double kept = 0;
    for (size_t i = 0; i < m->rows; i++) {
        double row = 0;
        for (size_t p = 0; p < m->cols; p += 4) {
            double most = 0, second = 0;
            for (size_t k = p; k < p + 4 && k < m->cols; k++) {
                const double x = score_of(m, i, order[k]);
                second = x > most ? most : fmax(second, x);
                most = fmax(most, x);
            }
            row += most + second;
        }
        kept += row;
    }
    return kept;
}

/* Reorders x[n] so that no element before `count` is less than one behind (Hoare's selection). 0 < count < n. */
static void select_greatest(double *x, size_t n, size_t count)
{
    for (size_t low = 0, high = n - 1; low < high;) {
        const double pivot = x[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            for (; x[i] > pivot; i++) {
            }
            for (; x[j] < pivot; j--) {
            }
            if (i >= j) {
                break;
            }
            const double other = x[i];
            x[i++] = x[j];
            x[j--] = other;
        }
        /* All before i are at least the pivot, all behind j at most: j is i - 1 or i. */
        if (count <= j) {
            high = j;
        } else {
            low = j + 1;
        }
    }
}

/* The greatest of each row, as many as 2:4 keeps. */
static s24_status measure_rows(const matrix *m, s24_permute_figures *f, s24_error *err)
{
    const size_t tail = m->cols % 4, count = m->cols / 4 * 2 + (tail < 2 ? tail : 2);
    double *row = s24_calloc(m->cols, sizeof *row, err);
    if (!row) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < m->rows; i++) {
        for (size_t j = 0; j < m->cols; j++) {
            row[j] = score_of(m, i, j);
        }
        if (count < m->cols) {
            select_greatest(row, m->cols, count);
        }
        double kept = 0, rest = 0;
        for (size_t j = 0; j < m->cols; j++) {
            *(j < count ? &kept : &rest) += row[j];
        }
        f->kept_rows += kept;
        f->total += kept + rest;
    }
    free(row);
    return S24_OK;
}

/* ---------------------------------------------------------------- the search */

/* Columns of a group in ascending order, groups by their first; the last group, which may have padding, stays. */
static int ascending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void tidy(const columns *c, uint32_t *order)
{
    const bool whole = c->cols % 4 == 0;
    for (size_t p = 0; p < c->cols; p += 4) {
        qsort(order + p, c->cols - p < 4 ? c->cols - p : 4, sizeof *order, ascending);
    }
    qsort(order, c->groups - !whole, 4 * sizeof *order, ascending);
}

/*
 * The other order to start from: columns by descending sums, dealt out to the groups in turns, there and back, so that each
 * has its share of the great ones. Where columns differ much, that is most of what there is to gain.
 */
typedef struct column_sum {
    double sum;
    uint32_t column;
} column_sum;

static int by_sum(const void *a, const void *b)
{
    const column_sum *x = a, *y = b;
    return x->sum < y->sum ? 1 : x->sum > y->sum ? -1 : (x->column > y->column) - (x->column < y->column);
}

static s24_status deal_columns(const columns *c, uint32_t *order, s24_error *err)
{
    const size_t places = 4 * c->groups;
    column_sum *sums = s24_calloc(places, sizeof *sums, err);
    if (!sums) {
        return S24_ERR_SYSTEM;
    }
    for (size_t j = 0; j < places; j++) {
        sums[j].column = (uint32_t)j;
        sums[j].sum = j < c->cols ? 0 : -1; /* padding comes last */
        for (size_t i = 0; i < c->height && j < c->cols; i++) {
            sums[j].sum += (double)c->scores[j * c->height + i];
        }
    }
    qsort(sums, places, sizeof *sums, by_sum);
    size_t next = 0;
    for (size_t k = 0; k < 4; k++) { /* with padding the last group has fewer turns: places [0, cols) are filled */
        for (size_t g = 0; g < c->groups; g++) {
            const size_t place = 4 * (k % 2 ? c->groups - 1 - g : g) + k;
            if (place < c->cols) {
                order[place] = sums[next++].column;
            }
        }
    }
    for (size_t p = c->cols; p < places; p++) {
        order[p] = (uint32_t)p;
    }
    free(sums);
    return S24_OK;
}

#define TEMPERED_GROUPS 32 /* at most */

/* So many a pair of columns that seeds find the same order of 128 x 64; at most what takes 4096 x 4096 a minute. */
static uint64_t default_moves(const columns *c)
{
    const uint64_t pairs = (uint64_t)c->cols * c->cols / 2, most = UINT64_C(1) << 27; /* cols < 2^31 */
    return pairs < most >> 16 ? pairs << 16 : most;
}

/* order: [4 * groups], to start from, and the best found. */
static s24_status search(const columns *c, const s24_permute_options *o, uint32_t *order, s24_error *err)
{
    const uint64_t moves = o->moves ? o->moves : default_moves(c);
    const s24_compute_env env = {.threads = o->threads ? o->threads : s24_threads_available(), .cancel = o->cancel};
    return c->groups <= TEMPERED_GROUPS ? temper(c, moves, o->seed, &env, order, err)
                                        : anneal(c, moves, o->seed, &env, order, err);
}

/* The better of `order` and `other`, which is tidied, becomes `order`. */
static void take_better(const matrix *m, const columns *c, double *kept, uint32_t *order, uint32_t *other)
{
    tidy(c, other);
    const double others = kept_by(m, other);
    if (others > *kept) {
        *kept = others;
        memcpy(order, other, m->cols * sizeof *order);
    }
}

/* order: what was given, and the best in the end. other: as large, for what is tried. */
static s24_status find_order(const matrix *m, const s24_permute_options *o, columns *c, uint32_t *order, uint32_t *other,
                             s24_permute_figures *f, s24_error *err)
{
    double greatest = 0;
    s24_status status = check_scores(m, &greatest, err);
    status = status == S24_OK ? measure_rows(m, f, err) : status;
    f->kept_before = f->kept_after = status == S24_OK ? kept_by(m, order) : 0;
    if (status != S24_OK || c->groups < 2 || greatest <= 0) {
        return status;
    }
    status = load_columns(m, greatest, c, err);
    status = status == S24_OK ? deal_columns(c, other, err) : status;
    if (status == S24_OK) {
        take_better(m, c, &f->kept_after, order, other);
        memcpy(other, order, 4 * c->groups * sizeof *order);
        status = search(c, o, other, err);
    }
    if (status == S24_OK) {
        take_better(m, c, &f->kept_after, order, other);
    }
    free(c->scores);
    return status;
}

s24_status s24_permute_search(const float *w, size_t ldw, size_t rows, size_t cols, const s24_permute_options *options,
                              int32_t *permutation, s24_permute_figures *figures, s24_error *err)
{
    static const s24_permute_options defaults = S24_PERMUTE_OPTIONS_INIT;
    const s24_permute_options *o = options ? options : &defaults;
    const matrix m = {.w = w, .ldw = ldw, .rows = rows, .cols = cols, .norms = o->norms};
    const s24_columns_kernel *best = s24_find_columns_kernel(o->isa);
    columns c = {.kernel = best ? best : &generic_kernel, .cols = cols, .groups = cols / 4 + (cols % 4 != 0)};
    s24_permute_figures f = {.total = 0};
    if (cols > INT32_MAX || ldw < cols) {
        return s24_fail(err, S24_ERR_USAGE, "a matrix of %zu columns in rows of %zu cannot be permuted", cols, ldw);
    }
    uint32_t *order = s24_calloc(8 * c.groups, sizeof *order, err), *other = order ? order + 4 * c.groups : NULL;
    if (!order) {
        return S24_ERR_SYSTEM;
    }
    for (size_t p = 0; p < 4 * c.groups; p++) {
        order[p] = other[p] = (uint32_t)p;
    }
    const s24_status status = find_order(&m, o, &c, order, other, &f, err);
    for (size_t p = 0; p < cols && status == S24_OK; p++) {
        permutation[p] = (int32_t)order[p];
    }
    free(order);
    const double gain = f.kept_after - f.kept_before, possible = f.kept_rows - f.kept_before;
    f.efficacy = possible > 0 ? gain / possible : (double)NAN;
    if (figures && status == S24_OK) {
        *figures = f;
    }
    return status;
}
