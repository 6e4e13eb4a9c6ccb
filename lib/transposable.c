/*
 * Transposable masks: the generic search, which is the specification; blocks handed to a kernel where there is one; strips
 * of blocks handed to threads.
 */
#include "transposable.h"

#include <math.h>

#include "mem.h"
#include "threads.h"

const uint8_t s24_pair_nibbles[6] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};

typedef struct patterns {
    uint8_t pair[S24_PATTERNS][4];  /* of each row, 0..5 */
    uint8_t pairs[S24_PATTERNS][2]; /* as kernels want them */
    uint16_t kept[S24_PATTERNS];    /* bit 4 * i + j: element j of row i */
} patterns;

static unsigned bits_of(unsigned pair)
{
    return 1u << (s24_pair_nibbles[pair] & 3) | 1u << (s24_pair_nibbles[pair] >> 2);
}

/* Each column twice: of the four rows' bits, as digits of two bits, the sum is 2222. */
static bool twice_a_column(const unsigned bits[4])
{
    unsigned count[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 4; j++) {
            count[j] += bits[i] >> j & 1;
        }
    }
    return count[0] == 2 && count[1] == 2 && count[2] == 2 && count[3] == 2;
}

static void make_patterns(patterns *p)
{
    size_t n = 0;
    for (unsigned code = 0; code < 6 * 6 * 6 * 6; code++) {
        const unsigned pair[4] = {code / 216, code / 36 % 6, code / 6 % 6, code % 6};
        const unsigned bits[4] = {bits_of(pair[0]), bits_of(pair[1]), bits_of(pair[2]), bits_of(pair[3])};
        if (!twice_a_column(bits)) {
            continue;
        }
        for (unsigned i = 0; i < 4; i++) {
            p->pair[n][i] = (uint8_t)pair[i];
        }
        p->pairs[n][0] = (uint8_t)(6 * pair[0] + pair[1]);
        p->pairs[n][1] = (uint8_t)(6 * pair[2] + pair[3]);
        p->kept[n] = (uint16_t)(bits[0] | bits[1] << 4 | bits[2] << 8 | bits[3] << 12);
        n++;
    }
}

/* ---------------------------------------------------------------- one block */

typedef struct block {
    double score[16];   /* finite; 0 where it was not, and where there is padding */
    unsigned nonfinite; /* bits, as in `kept` */
} block;

/* Eight scores of f64 might exceed it. */
#define HUGE_SCORE 0x1p1000

static double sum_of(const block *b, const uint8_t pair[4])
{
    double row[4];
    for (unsigned i = 0; i < 4; i++) {
        const unsigned nibble = s24_pair_nibbles[pair[i]];
        row[i] = b->score[4 * i + (nibble & 3)] + b->score[4 * i + (nibble >> 2)];
    }
    return (row[0] + row[1]) + (row[2] + row[3]);
}

static unsigned best_pattern(const patterns *p, const block *b)
{
    unsigned best = 0;
    int best_nonfinite = -1;
    double best_sum = -1;
    for (unsigned n = 0; n < S24_PATTERNS; n++) {
        const int nonfinite = __builtin_popcount(p->kept[n] & b->nonfinite);
        const double sum = sum_of(b, p->pair[n]);
        if (nonfinite > best_nonfinite || (nonfinite == best_nonfinite && sum > best_sum)) {
            best = n;
            best_nonfinite = nonfinite;
            best_sum = sum;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- blocks side by side */

typedef struct transposer {
    const s24_block_rows *blocks;
    const s24_score_rows *scores;
    const s24_dtype_info *info;
    s24_blocks_kernel *kernel; /* NULL: generic */
    patterns patterns;
    size_t strips, strips_per_job;
    size_t row_bytes;
    unsigned char **buffers; /* four rows a thread, where scores need them */
    uint8_t *positions;
} transposer;

/* Four rows of blocks, those at the end of the partner axis NULL. */
typedef struct strip {
    const void *row[4];
    uint8_t *positions[4];
} strip;

/* S24_BLOCKS of them: a lane each. */
typedef struct batch {
    double score[16][S24_BLOCKS];
    double most; /* the greatest of all, infinity where one is not finite */
} batch;

/* count scores of row i from column `col` on, of which those beyond it are padding; at most 4 * S24_BLOCKS. */
static void load_row(const transposer *t, const void *row, unsigned i, size_t col, size_t count, batch *b)
{
    double most = 0;
    for (size_t k = 0; k < 4 * S24_BLOCKS; k++) {
        double x = 0;
        if (row && k < count) {
            x = fabs(s24_decode(t->info, s24_load(row, t->info->bytes, col + k)));
            most = x <= HUGE_SCORE ? fmax(most, x) : INFINITY; /* a NaN, too */
        }
        b->score[4 * i + k % 4][k / 4] = x;
    }
    b->most = fmax(b->most, most);
}

/* The same for f32, most often met, and with all columns there. The keys of floats order like their magnitudes. */
static void load_floats(const void *row, unsigned i, size_t col, batch *b)
{
    uint32_t most = 0;
    const char *const from = (const char *)row + 4 * col;
    for (unsigned k = 0; k < S24_BLOCKS; k++) {
        float x[4];
        uint32_t key[4];
        memcpy(x, from + 16 * k, sizeof x);
        memcpy(key, x, sizeof key);
        for (unsigned j = 0; j < 4; j++) {
            key[j] &= INT32_MAX;
            most = key[j] > most ? key[j] : most;
            b->score[4 * i + j][k] = (double)fabsf(x[j]);
        }
    }
    float greatest;
    memcpy(&greatest, &most, sizeof greatest);
    b->most = isfinite(greatest) ? fmax(b->most, (double)greatest) : INFINITY;
}

static void load_batch(const transposer *t, const strip *s, size_t col, batch *b)
{
    const size_t left = t->blocks->cols - col, count = left < 4 * S24_BLOCKS ? left : 4 * S24_BLOCKS;
    b->most = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (s->row[i] && t->info->id == S24_F32 && count == 4 * S24_BLOCKS) {
            load_floats(s->row[i], i, col, b);
        } else {
            load_row(t, s->row[i], i, col, count, b);
        }
    }
}

/* Scores beyond HUGE_SCORE are made smaller, which is exact for all that counts in a sum with such ones. */
static block block_of(const batch *b, unsigned number)
{
    block out = {.nonfinite = 0};
    double most = 0;
    for (unsigned k = 0; k < 16; k++) {
        const double x = b->score[k][number];
        out.nonfinite |= (unsigned)!isfinite(x) << k;
        out.score[k] = isfinite(x) ? x : 0;
        most = fmax(most, out.score[k]);
    }
    for (unsigned k = 0; k < 16; k++) {
        out.score[k] *= most > HUGE_SCORE ? 0x1p-8 : 1;
    }
    return out;
}

static void best_patterns(const patterns *p, const batch *b, unsigned count, uint8_t *best)
{
    for (unsigned k = 0; k < count; k++) {
        const block one = block_of(b, k);
        best[k] = (uint8_t)best_pattern(p, &one);
    }
}

static void store_pattern(const transposer *t, const strip *s, size_t group, unsigned number)
{
    for (unsigned i = 0; i < 4; i++) {
        const unsigned nibble = s24_pair_nibbles[t->patterns.pair[number][i]];
        if (s->row[i]) {
            uint8_t *byte = s->positions[i] + group / 2;
            *byte = (uint8_t)(group % 2 ? (*byte & 15u) | nibble << 4 : nibble);
        }
    }
}

static void do_strip(const transposer *t, const strip *s)
{
    const size_t cols = t->blocks->cols, groups = (cols + 3) / 4;
    for (size_t g = 0; g < groups; g += S24_BLOCKS) {
        batch b;
        uint8_t best[S24_BLOCKS];
        load_batch(t, s, 4 * g, &b);
        const unsigned count = (unsigned)(groups - g < S24_BLOCKS ? groups - g : S24_BLOCKS);
        if (t->kernel && b.most <= HUGE_SCORE) {
            t->kernel(t->patterns.pairs, (const double(*)[S24_BLOCKS])b.score, best);
        } else {
            best_patterns(&t->patterns, &b, count, best);
        }
        for (unsigned k = 0; k < count; k++) {
            store_pattern(t, s, g + k, best[k]);
        }
    }
}

/* ---------------------------------------------------------------- all strips */

s24_block_rows s24_block_rows_of(const s24_geometry *geometry, int rank, const size_t *shape, int axis)
{
    s24_block_rows b = {.rows = geometry->rows, .cols = geometry->cols, .partner = 1, .step = 1};
    const int partner = axis > 0 ? axis - 1 : 1;
    if (rank > 1) {
        b.partner = shape[partner];
        for (int d = partner + 1; d < rank; d++) {
            b.step *= d == axis ? 1 : shape[d];
        }
    }
    return b;
}

/* Strip `index`: outer, then four places of the partner axis, then inner. */
static strip strip_at(const transposer *t, size_t index, unsigned char *buffer)
{
    const s24_block_rows *b = t->blocks;
    const size_t fours = (b->partner + 3) / 4, row_positions = ((b->cols + 3) / 4 + 1) / 2;
    const size_t inner = index % b->step, place = index / b->step % fours * 4, outer = index / b->step / fours;
    strip s = {.row = {NULL}};
    for (size_t i = 0; i < 4 && place + i < b->partner; i++) {
        const size_t row = (outer * b->partner + place + i) * b->step + inner;
        s.row[i] = t->scores->get(t->scores->ctx, row, buffer ? buffer + i * t->row_bytes : NULL);
        s.positions[i] = t->positions + row * row_positions;
    }
    return s;
}

static s24_status transposer_work(void *ctx, unsigned slot, size_t job, s24_error *err)
{
    const transposer *t = ctx;
    (void)err;
    for (size_t i = job * t->strips_per_job; i < t->strips && i < (job + 1) * t->strips_per_job; i++) {
        const strip s = strip_at(t, i, t->buffers ? t->buffers[slot] : NULL);
        do_strip(t, &s);
    }
    return S24_OK;
}

static s24_status make_buffers(transposer *t, unsigned threads, s24_error *err)
{
    size_t bytes;
    if (!s24_mul(t->row_bytes, 4, &bytes)) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    t->buffers = s24_calloc(threads, sizeof *t->buffers, err);
    for (unsigned i = 0; t->buffers && i < threads; i++) {
        t->buffers[i] = s24_malloc(bytes, err);
        if (!t->buffers[i]) {
            return S24_ERR_SYSTEM;
        }
    }
    return t->buffers ? S24_OK : S24_ERR_SYSTEM;
}

/* A panel's worth of groups: less is not worth a turn at the lock. */
#define JOB_GROUPS 65536

s24_status s24_transposable_positions(const s24_block_rows *blocks, const s24_score_rows *scores, s24_isa isa,
                                      unsigned threads, uint8_t *positions, s24_error *err)
{
    static const s24_stages stages = {.work = transposer_work};
    transposer t = {.blocks = blocks, .scores = scores, .info = s24_info(scores->dtype),
                    .kernel = s24_find_blocks_kernel(isa), .positions = positions};
    if (blocks->rows == 0 || blocks->cols == 0) {
        return S24_OK;
    }
    make_patterns(&t.patterns);
    t.row_bytes = blocks->cols * t.info->bytes;
    t.strips = blocks->rows / blocks->partner * ((blocks->partner + 3) / 4);
    t.strips_per_job = JOB_GROUPS / blocks->cols + 1;
    const size_t jobs = (t.strips - 1) / t.strips_per_job + 1;
    threads = threads < jobs ? threads : (unsigned)jobs;
    s24_status status = scores->buffered ? make_buffers(&t, threads, err) : S24_OK;
    status = status == S24_OK ? s24_run(&stages, &t, jobs, threads, err) : status;
    for (unsigned i = 0; t.buffers && i < threads; i++) {
        free(t.buffers[i]);
    }
    free(t.buffers);
    return status;
}

typedef struct matrix {
    const unsigned char *data;
    size_t row_bytes;
} matrix;

static const void *matrix_row(const void *ctx, size_t row, void *buffer)
{
    const matrix *m = ctx;
    (void)buffer;
    return m->data + row * m->row_bytes;
}

s24_status s24_transposable_matrix(s24_dtype dtype, const void *scores, size_t rows, size_t cols, s24_isa isa,
                                   unsigned threads, uint8_t *positions, s24_error *err)
{
    const matrix m = {.data = scores, .row_bytes = cols * s24_info(dtype)->bytes};
    const s24_block_rows blocks = {.rows = rows, .cols = cols, .partner = rows, .step = 1};
    const s24_score_rows source = {.get = matrix_row, .ctx = &m, .dtype = dtype};
    return s24_transposable_positions(&blocks, &source, isa, threads, positions, err);
}
