/*
 * C = A B with A compressed. A kept weight needs one row of B, the one that its position names:
 *
 *      C[m][0 .. N) = sum over the kept weights (m, k) of weight * B[k][0 .. N)
 *
 * What a kept weight does not meet is not touched: infinities and NaNs of B reach C only through kept weights (a kept 0
 * among them), unlike in a dense product, where a zero times an infinity is NaN. Positions beyond K, in the padding of
 * a row's last group, count as absent whatever their values.
 *
 * Three ways, by N alone:
 *
 *   N = 1           straight from the stored bytes, which is all the time there is
 *   N <= dot_max    dot products along K; B is turned so that its columns are contiguous
 *   larger          tiles: up to 8 or 12 vectors of columns by as many k as make a tile of B that stays in the L1
 *                   cache. All rows of a job go past it, their sums in a panel of C that stays in the L2 cache. A job
 *                   has several panels, so that weights are decoded once for all of them:
 *
 *                        B tile [k, vectors]      L1, packed once a job
 *        A chunk [rows, k] ------> C panel [rows, vectors]      L2, added to C every 4096 k
 *
 * Sums are f32. A chain of additions is short: a tile's, 32 to 384 k, is started at 0 and added to the panel, and the
 * panel's, of 4096 k, to C; a chunk's, 512 k in 16 lanes, to C; for N = 1 there are 16 to 64 lanes. (Without the second
 * level the error was 2.3 times sgemm's at K = 16384; with it, half.) Where the cuts are depends on K, N and the
 * kernels, never on threads: the bytes are the same.
 *
 * Scales. Those of rows are applied to C in the end, whatever the way was. Those of groups of columns are applied to weights
 * when they are decoded, and with N = 1 by the kernels that can, or else to the sum of every group.
 */
#include "matmul_i8.h"

#include <string.h>
#include <unistd.h>

#include "dtype.h"
#include "error.h"
#include "mem.h"
#include "panel.h"
#include "threads.h"

#define INLINE static inline __attribute__((always_inline))

/* ---------------------------------------------------------------- generic kernels: the specification */

static size_t generic_check(const uint8_t *positions, size_t groups)
{
    for (size_t g = 0; g < groups; g++) {
        if (!s24_valid_nibble(positions[g / 2] >> (g % 2 * 4) & 15)) {
            return g;
        }
    }
    return groups;
}

static void generic_decode(const s24_dtype_info *info, const s24_chunk *chunk)
{
    for (size_t r = 0; r < chunk->rows; r++) {
        const unsigned char *values = (const unsigned char *)chunk->values + r * chunk->value_pitch;
        const uint8_t *positions = chunk->positions + r * chunk->position_pitch;
        float *weights = chunk->weights + r * chunk->stride;
        uint16_t *offsets = chunk->offsets + r * chunk->stride;
        const size_t whole = (chunk->groups + S24_STEP_GROUPS - 1) / S24_STEP_GROUPS * S24_STEP_GROUPS;
        for (size_t i = 0; i < 2 * whole; i++) {
            const size_t group = i / 2;
            const bool there = group < chunk->groups;
            const size_t position = there ? (unsigned)positions[i / 4] >> i % 4 * 2 & 3 : 0;
            weights[i] = there ? (float)s24_decode(info, s24_load(values, info->bytes, i)) : 0;
            offsets[i] = (uint16_t)((4 * group + position) * chunk->scale);
        }
    }
}

#define WIDTH 16 /* floats: compilers make of 16 what the machine has */

INLINE void generic_tile(const unsigned vectors, const s24_chunk *chunk, size_t steps, const float *b, float *c,
                         bool first)
{
    for (size_t r = 0; r < chunk->rows; r++, c += WIDTH * vectors) {
        float sum[WIDTH * S24_TILE_VECTORS] = {0};
        for (size_t i = 0; i < S24_STEP_VALUES * steps; i++) {
            const float w = chunk->weights[r * chunk->stride + i];
            const float *row = b + chunk->offsets[r * chunk->stride + i] / sizeof *b;
            for (unsigned j = 0; j < WIDTH * vectors; j++) {
                sum[j] += w * row[j];
            }
        }
        for (unsigned j = 0; j < WIDTH * vectors; j++) {
            c[j] = first ? sum[j] : c[j] + sum[j];
        }
    }
}

#define GENERIC_TILE(n) \
    static void generic_tile_##n(const s24_chunk *chunk, size_t steps, const float *b, float *c, bool first) \
    { \
        generic_tile(n, chunk, steps, b, c, first); \
    }

GENERIC_TILE(1)
GENERIC_TILE(2)
GENERIC_TILE(3)
GENERIC_TILE(4)

static void generic_dot(unsigned cols, const s24_chunk *chunk, size_t steps, const float *b, size_t pitch,
                        float sums[S24_DOT_ROWS][S24_DOT_COLS])
{
    for (unsigned r = 0; r < S24_DOT_ROWS; r++) {
        const float *weights = chunk->weights + r * chunk->stride;
        const uint16_t *offsets = chunk->offsets + r * chunk->stride;
        for (unsigned j = 0; j < cols; j++) {
            float sum[S24_STEP_VALUES] = {0}, total = 0;
            for (size_t i = 0; i < S24_STEP_VALUES * steps; i++) {
                sum[i % S24_STEP_VALUES] += weights[i] * b[j * pitch + offsets[i]];
            }
            for (unsigned lane = 0; lane < S24_STEP_VALUES; lane++) {
                total += sum[lane];
            }
            sums[r][j] = total;
        }
    }
}

#define GENERIC_DOT(n) \
    static void generic_dot_##n(const s24_chunk *chunk, size_t steps, const float *b, size_t pitch, \
                                float sums[S24_DOT_ROWS][S24_DOT_COLS]) \
    { \
        generic_dot(n, chunk, steps, b, pitch, sums); \
    }

GENERIC_DOT(1)
GENERIC_DOT(2)
GENERIC_DOT(3)
GENERIC_DOT(4)

static bool generic_vector(const s24_dtype_info *info, const s24_chunk *chunk, const float *x, float *sums)
{
    bool valid = true;
    for (size_t r = 0; r < chunk->rows; r++) {
        const unsigned char *values = (const unsigned char *)chunk->values + r * chunk->value_pitch;
        const uint8_t *positions = chunk->positions + r * chunk->position_pitch;
        float sum[S24_STEP_VALUES] = {0}, total = 0;
        for (size_t i = 0; i < 2 * chunk->groups; i++) {
            const size_t k = i / 2 * 4 + ((unsigned)positions[i / 4] >> i % 4 * 2 & 3);
            sum[i % S24_STEP_VALUES] += (float)s24_decode(info, s24_load(values, info->bytes, i)) * x[k];
        }
        for (unsigned lane = 0; lane < S24_STEP_VALUES; lane++) {
            total += sum[lane];
        }
        sums[r] = total;
        valid = valid && generic_check(positions, chunk->groups) == chunk->groups;
    }
    return valid;
}

static const s24_matmul_ops generic_ops = {
    .width = WIDTH,
    .tile_bytes = 24 * 1024,
    .dot_max = 8,
    .check = generic_check,
    .tile = {NULL, generic_tile_1, generic_tile_2, generic_tile_3, generic_tile_4},
    .dot = {NULL, generic_dot_1, generic_dot_2, generic_dot_3, generic_dot_4},
};

#define GENERIC_SET(dtype, name) \
    static void decode_##name(const s24_chunk *chunk) \
    { \
        generic_decode(s24_info(S24_##dtype), chunk); \
    } \
    static bool vector_##name(const s24_chunk *chunk, const float *x, float *sums) \
    { \
        return generic_vector(s24_info(S24_##dtype), chunk, x, sums); \
    } \
    const s24_matmul_kernel s24_matmul_##name##_generic = {&generic_ops, decode_##name, vector_##name};

GENERIC_SET(F32, f32)
GENERIC_SET(F16, f16)
GENERIC_SET(BF16, bf16)
GENERIC_SET(F8E4M3, f8e4m3)
GENERIC_SET(F8E5M2, f8e5m2)
GENERIC_SET(I8, i8)

const s24_matmul_kernel *s24_find_matmul_kernel(s24_isa isa, s24_dtype dtype)
{
    static const struct {
        s24_isa isa;
        s24_dtype dtype;
        const s24_matmul_kernel *kernel;
    } rows[] = {
#define X(isa_, dtype_, kernel_) {S24_ISA_##isa_, S24_##dtype_, &kernel_},
        S24_MATMUL_KERNELS(X)
#undef X
    };
    const s24_matmul_kernel *best = NULL;
    isa = s24_isa_detect(isa);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        best = rows[i].dtype == dtype && rows[i].isa <= isa ? rows[i].kernel : best;
    }
    return best;
}

/* ---------------------------------------------------------------- one product */

/*
 * Sizes, by measurement within half and double. The C and the decoded A of a job share the second-level cache with what
 * is fetched for the next tile. The more panels a job has, the more seldom A is read and decoded; the fewer, the more
 * rows a packed tile of B serves.
 */
#define DOT_GROUPS 128            /* 512 elements: 4 columns of B are 8 KiB */
#define DOT_ELEMENTS (4 * DOT_GROUPS)
#define BATCH_ROWS 16             /* checked or decoded, then multiplied: A comes from memory once */
#define JOB_PANELS 8
#define SPAN_GROUPS 1024          /* 4096 k: how many the panel of C sums up before it is added to C; see the top */
#define JOBS_PER_THREAD 4         /* enough for threads of unequal speed to finish together */
#define GRAIN (4u << 20)          /* multiply-adds, more or less, that are worth a thread: some 50 us */

/* A worker's own buffers. */
typedef struct scratch {
    float *b;                          /* a tile of B; not for dot products, which share `turned` */
    float *c;                          /* a panel of C */
    float *weights;                    /* of A, decoded */
    uint16_t *offsets;
} scratch;

typedef struct product {
    const s24_tensor *a;
    const s24_matmul_kernel *kernel;
    const s24_matmul_ops *ops;
    unsigned bytes;                    /* an element of A */
    const float *b;
    float *c;
    size_t ldb, n, ldc;
    bool checked;                      /* positions have been looked at before */
    size_t job_rows, row_jobs, col_jobs; /* job = column job * row_jobs + row / job_rows */
    size_t panels, wide;               /* of C, for tiles: in all, and the most of a job */
    size_t tile_groups, pitch;         /* k of a tile, and floats between its rows: those of the widest panel */
    float *turned;                     /* B for dot products; NULL: tiles */
    scratch **scratches;
} product;

static size_t ceil_div(size_t a, size_t b)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): every kernel has a tile, so that there are panels */
    return a / b + (a % b != 0);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static const unsigned char *row_values(const product *p, size_t row, size_t group)
{
    return (const unsigned char *)p->a->values + (row * p->a->geometry.row_values + 2 * group) * p->bytes;
}

static const uint8_t *row_positions(const product *p, size_t row, size_t group)
{
    return p->a->positions + row * p->a->geometry.row_positions + group / 2;
}

s24_status s24_check_rows(const s24_tensor *a, const s24_matmul_ops *ops, size_t row, size_t rows, s24_error *err)
{
    const size_t groups = a->geometry.groups;
    for (size_t r = row; r < row + rows; r++) {
        const size_t bad = ops->check(a->positions + r * a->geometry.row_positions, groups);
        if (bad < groups) {
            return s24_fail(err, S24_ERR_DATA, "row %zu, group %zu: positions are not two ascending indices", r, bad);
        }
    }
    return S24_OK;
}

/* Weights at positions beyond K, in the last group of each row: absent. */
static void clear_padding(const product *p, const s24_chunk *chunk, size_t group)
{
    const size_t cols = p->a->geometry.cols;
    if (4 * (group + chunk->groups) <= cols) {
        return;
    }
    for (size_t r = 0; r < chunk->rows; r++) {
        for (size_t i = 2 * chunk->groups - 2; i < 2 * chunk->groups; i++) {
            if (4 * group + chunk->offsets[r * chunk->stride + i] / chunk->scale >= cols) {
                chunk->weights[r * chunk->stride + i] = 0;
            }
        }
    }
}

/* Weights times the scales of their groups of columns. */
static void scale_weights(const product *p, const s24_chunk *chunk, size_t row, size_t group)
{
    const size_t step = p->a->scale_group / 4, row_scales = s24_row_scales(p->a->geometry.cols, p->a->scale_group);
    for (size_t r = 0; r < chunk->rows; r++) {
        const float *scales = p->a->scales + (row + r) * row_scales;
        float *weights = chunk->weights + r * chunk->stride;
        for (size_t g = group, end; g < group + chunk->groups; g = end) {
            end = min_size((g / step + 1) * step, group + chunk->groups);
            for (size_t i = 2 * (g - group); i < 2 * (end - group); i++) {
                weights[i] *= scales[g / step];
            }
        }
    }
}

/* Asks for the cache lines that begin within p[0 .. bytes): the one before comes with what is before. */
INLINE void prefetch_lines(const void *p, size_t bytes)
{
    for (size_t i = -(uintptr_t)p % 64; i < bytes; i += 64) {
        __builtin_prefetch((const char *)p + i, 0, 2);
    }
}

/*
 * Asks for a chunk that is due soon: its rows lie a page apart, where hardware prefetchers do not look. (Inlined, since
 * gcc 12 takes a function that only prefetches for one without effects and drops the calls.)
 */
INLINE void prefetch_chunk(const product *p, size_t row, size_t rows, size_t group, size_t groups)
{
    const size_t value_bytes = 2 * groups * p->bytes, position_bytes = groups / 2;
    for (size_t r = row; r < row + rows; r++) {
        prefetch_lines(row_values(p, r, group), value_bytes);
        prefetch_lines(row_positions(p, r, group), position_bytes);
    }
}

/* Decodes to the place that is given: rows, stride, weights and offsets of `to`. */
static s24_chunk decode_chunk(const product *p, const s24_chunk *to, size_t row, size_t group, size_t groups,
                              size_t scale)
{
    s24_chunk chunk = *to;
    chunk.values = row_values(p, row, group);
    chunk.positions = row_positions(p, row, group);
    chunk.value_pitch = p->a->geometry.row_values * p->bytes;
    chunk.position_pitch = p->a->geometry.row_positions;
    chunk.groups = groups;
    chunk.scale = (unsigned)scale;
    p->kernel->decode(&chunk);
    if (p->a->scale_group) {
        scale_weights(p, &chunk, row, group);
    }
    clear_padding(p, &chunk, group);
    return chunk;
}

/* ---------------------------------------------------------------- tiles */

/* A block of C: the rows and the panels of a job. Panel i of it begins at (i - panel) * rows * pitch in scratch.c. */
typedef struct block {
    size_t row, rows, panel, end;
} block;

/* A tile of B, and the columns of C that it adds to. */
typedef struct tile {
    size_t panel, group, groups;
    size_t col, n, vectors;
} tile;

/* The vectors of panel i: as even a cut as there is, so that no panel is a sliver. */
static size_t panel_begin(const product *p, size_t i)
{
    return ceil_div(p->n, p->ops->width) * i / p->panels;
}

static tile find_tile(const product *p, size_t panel, size_t group)
{
    const size_t begin = panel_begin(p, panel), vectors = panel_begin(p, panel + 1) - begin;
    return (tile){
        .panel = panel,
        .group = group,
        .groups = min_size(p->tile_groups, p->a->geometry.groups - group),
        .col = begin * p->ops->width,
        .n = min_size(vectors * p->ops->width, p->n - begin * p->ops->width),
        .vectors = vectors,
    };
}

/* The tile that comes next; behind the last one, one without groups. */
static tile next_tile(const product *p, const block *at, const tile *t)
{
    const bool wrap = t->panel + 1 == at->end;
    const size_t group = wrap ? min_size(t->group + p->tile_groups, p->a->geometry.groups) : t->group;
    return find_tile(p, wrap ? at->panel : t->panel + 1, group);
}

static float *panel_sums(const product *p, const scratch *s, const block *at, size_t panel)
{
    return s->c + (panel - at->panel) * at->rows * p->pitch;
}

static void pack_tile(const product *p, const tile *t, float *to)
{
    const size_t k = 4 * t->group, rows = 4 * ceil_div(t->groups, S24_STEP_GROUPS) * S24_STEP_GROUPS;
    const size_t width = t->vectors * p->ops->width;
    for (size_t r = 0; r < rows; r++, to += p->pitch) {
        const size_t there = k + r < p->a->geometry.cols ? t->n : 0;
        if (there) {
            memcpy(to, p->b + (k + r) * p->ldb + t->col, there * sizeof *to);
        }
        memset(to + there, 0, (width - there) * sizeof *to);
    }
}

/* Asks for rows [from, to) / parts of the tile: into the second-level cache, from where it will be packed. */
INLINE void prefetch_tile(const product *p, const tile *t, size_t from, size_t to, size_t parts)
{
    const size_t k = 4 * t->group, rows = min_size(4 * t->groups, p->a->geometry.cols - k);
    for (size_t r = rows * from / parts; r < rows * to / parts; r++) {
        const float *row = p->b + (k + r) * p->ldb + t->col;
        for (size_t i = 0; i < t->n; i += 64 / sizeof *row) {
            __builtin_prefetch(row + i, 0, 2);
        }
    }
}

/*
 * Asks for the batch that is decoded two batches after row r: of this tile's k, or of the next one's. A whole tile's
 * time ahead, or spread over all panels, is no better for many columns, and 0.8 times as fast for 32.
 */
INLINE void prefetch_rows(const product *p, const block *at, const tile *t, size_t r)
{
    const bool wrap = r + 2 * BATCH_ROWS >= at->rows;
    const size_t due = r + 2 * BATCH_ROWS - (wrap ? at->rows : 0), group = wrap ? t->group + t->groups : t->group;
    if (due < at->rows) {
        prefetch_chunk(p, at->row + due, min_size(BATCH_ROWS, at->rows - due), group,
                       min_size(p->tile_groups, p->a->geometry.groups - group));
    }
}

/*
 * One tile of B: all rows of the block past it, a batch at a time, while the next tile and the next batches are
 * fetched. The first panel decodes, and the others find what it left.
 */
static void multiply_tile(const product *p, scratch *s, const block *at, const tile *t, bool first)
{
    const size_t stride = 2 * p->tile_groups, steps = ceil_div(t->groups, S24_STEP_GROUPS);
    const size_t row_floats = t->vectors * p->ops->width;
    const tile next = next_tile(p, at, t);
    float *c = panel_sums(p, s, at, t->panel);
    pack_tile(p, t, s->b);
    for (size_t r = 0; r < at->rows; r += BATCH_ROWS) {
        const size_t rows = min_size(BATCH_ROWS, at->rows - r), slot = p->wide > 1 ? r * stride : 0;
        prefetch_tile(p, &next, r, r + rows, at->rows);
        s24_chunk chunk = {.rows = rows, .stride = stride, .weights = s->weights + slot, .offsets = s->offsets + slot};
        if (t->panel == at->panel) {
            prefetch_rows(p, at, t, r);
            chunk = decode_chunk(p, &chunk, at->row + r, t->group, t->groups, p->pitch * sizeof(float));
        }
        p->ops->tile[t->vectors](&chunk, steps, s->b, c + r * row_floats, first);
    }
}

static void add_floats(float *restrict c, const float *restrict sums, size_t n)
{
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (size_t i = 0; i < 16; i++) {
            c[j + i] += sums[j + i];
        }
    }
    for (; j < n; j++) {
        c[j] += sums[j];
    }
}

/* The sums of a span of k to C: the first as they are, later ones added. */
static void flush_block(const product *p, const scratch *s, const block *at, bool first)
{
    for (size_t r = 0; r < at->rows; r++) {
        for (size_t panel = at->panel; panel < at->end; panel++) {
            const tile t = find_tile(p, panel, 0);
            const float *sums = panel_sums(p, s, at, panel) + r * t.vectors * p->ops->width;
            float *c = p->c + (at->row + r) * p->ldc + t.col;
            if (first) {
                memcpy(c, sums, t.n * sizeof *c);
            } else {
                add_floats(c, sums, t.n);
            }
        }
    }
}

static void tile_rows(const product *p, scratch *s, size_t col_job, size_t row, size_t rows)
{
    const block at = {.row = row, .rows = rows, .panel = p->panels * col_job / p->col_jobs,
                      .end = p->panels * (col_job + 1) / p->col_jobs};
    const size_t span = ceil_div(SPAN_GROUPS, p->tile_groups) * p->tile_groups, groups = p->a->geometry.groups;
    for (size_t g = 0; g < groups; g += p->tile_groups) {
        const size_t next = g + p->tile_groups;
        for (size_t panel = at.panel; panel < at.end; panel++) {
            const tile t = find_tile(p, panel, g);
            multiply_tile(p, s, &at, &t, g % span == 0);
        }
        if (next % span == 0 || next >= groups) {
            flush_block(p, s, &at, g < span);
        }
    }
}

/* ---------------------------------------------------------------- dot products */

/*
 * B with contiguous columns, by chunks of DOT_GROUPS so that what one chunk of A needs lies together; zeros behind K:
 *
 *      chunk 0: column 0 | column 1 | ... | column n - 1;  chunk 1: column 0 | ...        512 elements each
 */
static float *turned_chunk(const product *p, size_t group)
{
    return p->turned + 4 * group * p->n;
}

/* The vector kernel leaves a padded group out, and wants zeros from there on: its weights 0 would meet a NaN there. */
static size_t turned_cols(const product *p)
{
    return p->n == 1 ? p->a->geometry.cols / 4 * 4 : p->a->geometry.cols;
}

/* Up to 16 rows of B, within a chunk: a cache line of each column at a time. */
static void turn_rows(const product *p, size_t k, size_t rows)
{
    const float *b = p->b + k * p->ldb;
    float *column = turned_chunk(p, k / DOT_ELEMENTS * DOT_GROUPS) + k % DOT_ELEMENTS;
    for (size_t j = 0; j < p->n; j++, column += DOT_ELEMENTS) {
        for (size_t r = 0; r < rows; r++) {
            column[r] = b[r * p->ldb + j];
        }
    }
}

static void turn_b(const product *p)
{
    const size_t cols = turned_cols(p), rest = p->a->geometry.cols % DOT_ELEMENTS ? cols % DOT_ELEMENTS : DOT_ELEMENTS;
    const size_t begin = p->n == 1 && p->ldb == 1 ? cols : 0;
    if (begin) {
        memcpy(p->turned, p->b, cols * sizeof *p->b);
    }
    for (size_t k = begin; k < cols; k += 16) {
        turn_rows(p, k, min_size(16, cols - k));
    }
    for (size_t j = 0; j < p->n; j++) {
        float *column = turned_chunk(p, (p->a->geometry.cols - 1) / DOT_ELEMENTS * DOT_GROUPS) + j * DOT_ELEMENTS;
        memset(column + rest, 0, (DOT_ELEMENTS - rest) * sizeof *column);
    }
}

/* Four rows; where there are fewer, the others are what an earlier chunk left, and count for nothing. */
static void dot_chunk(const product *p, const s24_chunk *chunk, size_t row, size_t group)
{
    const size_t steps = ceil_div(chunk->groups, S24_STEP_GROUPS);
    float sums[S24_DOT_ROWS][S24_DOT_COLS];
    for (size_t j = 0; j < p->n; j += S24_DOT_COLS) {
        const size_t cols = min_size(S24_DOT_COLS, p->n - j);
        p->ops->dot[cols](chunk, steps, turned_chunk(p, group) + j * DOT_ELEMENTS, DOT_ELEMENTS, sums);
        for (size_t r = 0; r < chunk->rows; r++) {
            float *c = p->c + (row + r) * p->ldc + j;
            for (size_t i = 0; i < cols; i++) {
                c[i] = group ? c[i] + sums[r][i] : sums[r][i];
            }
        }
    }
}

static void dot_rows(const product *p, scratch *s, size_t row, size_t rows)
{
    const size_t groups = p->a->geometry.groups;
    for (size_t g = 0; g < groups; g += DOT_GROUPS) {
        const size_t count = min_size(DOT_GROUPS, groups - g);
        for (size_t r = 0; r < rows; r += S24_DOT_ROWS) {
            const size_t next = min_size(row + r + BATCH_ROWS, p->a->geometry.rows);
            prefetch_chunk(p, next, min_size(S24_DOT_ROWS, p->a->geometry.rows - next), g, count);
            const s24_chunk to = {.rows = min_size(S24_DOT_ROWS, rows - r), .stride = 2 * DOT_GROUPS,
                                  .weights = s->weights, .offsets = s->offsets};
            const s24_chunk chunk = decode_chunk(p, &to, row + r, g, count, 1);
            dot_chunk(p, &chunk, row + r, g);
        }
    }
}

/* ---------------------------------------------------------------- one column */

/* The last group of a row, when it is padded. */
static float last_group(const product *p, scratch *s, size_t row, size_t group)
{
    const size_t even = group & ~(size_t)1;
    const s24_chunk to = {.rows = 1, .stride = S24_STEP_VALUES, .weights = s->weights, .offsets = s->offsets};
    const s24_chunk chunk = decode_chunk(p, &to, row, even, 1 + group % 2, 1);
    float sum = 0;
    for (size_t i = 2 * (group - even); i < 2 * chunk.groups; i++) {
        const size_t k = 4 * even + chunk.offsets[i];
        sum += k < p->a->geometry.cols ? chunk.weights[i] * p->b[k * p->ldb] : 0;
    }
    return sum;
}

static bool vector_run(const product *p, size_t row, size_t rows, size_t group, size_t groups, const float *scales,
                       float *sums)
{
    const s24_geometry *g = &p->a->geometry;
    const s24_chunk chunk = {.values = row_values(p, row, group), .positions = row_positions(p, row, group),
                             .value_pitch = g->row_values * p->bytes, .position_pitch = g->row_positions,
                             .scales = scales, .scale_pitch = s24_row_scales(g->cols, p->a->scale_group),
                             .rows = rows, .groups = groups};
    return p->kernel->vector(&chunk, p->turned + 4 * group, sums);
}

/* With scales of groups of columns: by the kernel, or a group after the other, each a whole number of steps. */
static bool vector_scaled(const product *p, size_t row, size_t rows, size_t groups, float *sums)
{
    const size_t step = p->a->scale_group / 4, row_scales = s24_row_scales(p->a->geometry.cols, p->a->scale_group);
    float part[BATCH_ROWS];
    bool valid = true;
    if (p->ops->vector_scales) {
        return vector_run(p, row, rows, 0, groups, p->a->scales + row * row_scales, sums);
    }
    memset(sums, 0, rows * sizeof *sums);
    for (size_t g = 0; g < groups; g += step) {
        valid = vector_run(p, row, rows, g, min_size(step, groups - g), NULL, part) && valid;
        for (size_t r = 0; r < rows; r++) {
            sums[r] += p->a->scales[(row + r) * row_scales + g / step] * part[r];
        }
    }
    return valid;
}

/* Positions are looked at by the kernel, since reading them takes as long; which one it is, is found when it is bad. */
static s24_status vector_rows(const product *p, scratch *s, size_t row, size_t rows, s24_error *err)
{
    const s24_geometry *g = &p->a->geometry;
    const size_t whole = g->cols / 4;
    float sums[BATCH_ROWS];
    const bool valid = p->a->scale_group ? vector_scaled(p, row, rows, whole, sums)
                                         : vector_run(p, row, rows, 0, whole, NULL, sums);
    const s24_status status = p->checked || (valid && whole == g->groups) ? S24_OK : s24_check_rows(p->a, p->ops, row, rows, err);
    for (size_t r = 0; r < rows && status == S24_OK; r++) {
        p->c[(row + r) * p->ldc] = whole < g->groups ? sums[r] + last_group(p, s, row + r, whole) : sums[r];
    }
    return status;
}

/* ---------------------------------------------------------------- the plan */

static s24_status multiply_rows(const product *p, scratch *s, size_t col_job, size_t row, size_t rows, s24_error *err)
{
    if (p->n == 1) {
        return vector_rows(p, s, row, rows, err);
    }
    /* Positions are looked at once: a bad one fails the product, and leads no kernel outside its tile meanwhile. */
    const s24_status status = col_job == 0 && !p->checked ? s24_check_rows(p->a, p->ops, row, rows, err) : S24_OK;
    if (status == S24_OK && p->turned) {
        dot_rows(p, s, row, rows);
    } else if (status == S24_OK) {
        tile_rows(p, s, col_job, row, rows);
    }
    return status;
}

static s24_status work(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const product *p = ctx;
    scratch *s = p->scratches[worker];
    const size_t col_job = job / p->row_jobs, row = job % p->row_jobs * p->job_rows;
    const size_t rows = min_size(p->job_rows, p->a->geometry.rows - row);
    const size_t most = p->turned ? BATCH_ROWS : rows;
    s24_status status = S24_OK;
    for (size_t done = 0; done < rows && status == S24_OK; done += most) {
        status = multiply_rows(p, s, col_job, row + done, min_size(most, rows - done), err);
    }
    return status;
}

/* Cuts the rows into jobs of at most `most`, fewer where threads would stay idle: results do not depend on it. */
static void plan_rows(product *p, size_t most, unsigned threads)
{
    const size_t rows = p->a->geometry.rows;
    const size_t wanted = threads > 1 ? ceil_div((size_t)threads * JOBS_PER_THREAD, p->col_jobs) : 1;
    const size_t even = ceil_div(ceil_div(rows, wanted), 2 * S24_DOT_ROWS) * 2 * S24_DOT_ROWS;
    p->job_rows = min_size(most, even);
    p->row_jobs = ceil_div(rows, p->job_rows);
}

static s24_status plan_dots(product *p, unsigned threads, s24_error *err)
{
    size_t floats, bytes;
    p->col_jobs = 1;
    if (!s24_mul(ceil_div(p->a->geometry.cols, DOT_ELEMENTS) * DOT_ELEMENTS, p->n, &floats) ||
        !s24_mul(floats, sizeof *p->turned, &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a product over %zu elements is too long", p->a->geometry.cols);
    }
    p->turned = s24_alloc(bytes, err);
    if (!p->turned) {
        return S24_ERR_SYSTEM;
    }
    turn_b(p);
    plan_rows(p, p->a->geometry.rows, threads);
    return S24_OK;
}

/* Of C and decoded A: three quarters of a second-level cache of 1 to 2 MiB. Results do not depend on it. */
static size_t job_bytes(void)
{
    size_t cache = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    const long known = sysconf(_SC_LEVEL2_CACHE_SIZE); /* glibc; 0 where it does not know */
    cache = known > 0 ? (size_t)known : 0;
#endif
    return (cache > 2u << 20 ? 2u << 20 : cache < 1u << 20 ? 1u << 20 : cache) / 4 * 3;
}

static void plan_tiles(product *p, unsigned threads)
{
    size_t most = 0;
    while (most < S24_TILE_VECTORS && p->ops->tile[most + 1]) {
        most++;
    }
    const size_t vectors = ceil_div(p->n, p->ops->width);
    p->panels = ceil_div(vectors, most);
    /* So few rows that threads would stay idle: more of the columns. */
    const bool flat = threads > 1 && p->a->geometry.rows < (size_t)threads * JOBS_PER_THREAD * BATCH_ROWS;
    p->col_jobs = flat ? p->panels : ceil_div(p->panels, JOB_PANELS);
    p->wide = ceil_div(p->panels, p->col_jobs);
    p->pitch = ceil_div(vectors, p->panels) * p->ops->width;
    p->tile_groups = p->ops->tile_bytes / (p->pitch * sizeof(float)) / 4 / S24_STEP_GROUPS * S24_STEP_GROUPS;
    const size_t sum_bytes = p->wide * p->pitch * sizeof(float);
    const size_t decoded_bytes = 2 * p->tile_groups * (sizeof(float) + sizeof(uint16_t));
    plan_rows(p, job_bytes() / (sum_bytes + decoded_bytes), threads);
}

static s24_status alloc_scratch(const product *p, scratch *s, s24_error *err)
{
    const size_t rows = p->turned ? S24_DOT_ROWS : p->wide > 1 ? p->job_rows : BATCH_ROWS;
    const size_t entries = rows * 2 * (p->turned ? DOT_GROUPS : p->tile_groups);
    s->weights = s24_alloc(entries * sizeof *s->weights, err);
    s->offsets = s->weights ? s24_alloc(entries * sizeof *s->offsets, err) : NULL;
    if (!s->offsets) {
        return S24_ERR_SYSTEM;
    }
    if (p->turned) { /* dot products count four rows, also where there are fewer */
        memset(s->weights, 0, entries * sizeof *s->weights);
        memset(s->offsets, 0, entries * sizeof *s->offsets);
        return S24_OK;
    }
    s->b = s24_alloc(p->ops->tile_bytes, err);
    s->c = s->b ? s24_alloc(p->job_rows * p->wide * p->pitch * sizeof *s->c, err) : NULL;
    return s->c ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status alloc_scratches(product *p, unsigned threads, s24_error *err)
{
    p->scratches = s24_calloc(threads, sizeof *p->scratches, err);
    for (unsigned i = 0; i < threads; i++) {
        scratch *s = p->scratches ? p->scratches[i] = s24_calloc(1, sizeof *s, err) : NULL;
        if (!s || alloc_scratch(p, s, err) != S24_OK) {
            return S24_ERR_SYSTEM;
        }
    }
    return S24_OK;
}

static void free_product(product *p, unsigned threads)
{
    for (unsigned i = 0; p->scratches && i < threads; i++) {
        if (p->scratches[i]) {
            free(p->scratches[i]->weights);
            free(p->scratches[i]->offsets);
            free(p->scratches[i]->b);
            free(p->scratches[i]->c);
        }
        free(p->scratches[i]);
    }
    free(p->scratches);
    free(p->turned);
}

static unsigned worthwhile_threads(const product *p, unsigned threads)
{
    const s24_geometry *g = &p->a->geometry;
    /* A column costs as a multiply-add; reading and decoding a weight as a few. */
    const double cost = (double)g->rows * (double)g->row_values * ((double)p->n + 8);
    threads = threads ? threads : s24_threads_available();
    return cost / GRAIN < 2 ? 1 : cost / GRAIN < threads ? (unsigned)(cost / GRAIN) : threads;
}

static s24_status multiply(product *p, unsigned threads, s24_error *err)
{
    static const s24_stages stages = {.work = work};
    s24_status status = S24_OK;
    if (p->n <= p->ops->dot_max) {
        status = plan_dots(p, threads, err);
    } else {
        plan_tiles(p, threads);
    }
    if (status == S24_OK) {
        threads = (unsigned)min_size(threads, p->row_jobs * p->col_jobs);
        status = alloc_scratches(p, threads, err);
    }
    if (status == S24_OK) {
        status = s24_run(&stages, p, p->row_jobs * p->col_jobs, threads, err);
    }
    free_product(p, threads);
    return status;
}

/* The nearest bf16, ties to even, as f32; NaN stays NaN. */
static float round_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* With every element of B rounded. */
static s24_status multiply_rounded(product *p, unsigned threads, s24_error *err)
{
    const size_t rows = p->a->geometry.cols;
    size_t count, bytes;
    if (!s24_mul(rows, p->n, &count) || !s24_mul(count, sizeof(float), &bytes)) {
        return s24_fail(err, S24_ERR_USAGE, "a product over %zu elements is too long", rows);
    }
    float *rounded = s24_alloc(bytes, err);
    if (!rounded) {
        return S24_ERR_SYSTEM;
    }
    for (size_t k = 0; k < rows; k++) {
        for (size_t j = 0; j < p->n; j++) {
            rounded[k * p->n + j] = round_bf16(p->b[k * p->ldb + j]);
        }
    }
    p->b = rounded;
    p->ldb = p->n;
    const s24_status status = multiply(p, threads, err);
    free(rounded);
    return status;
}

/* ---------------------------------------------------------------- plans */

struct s24_matmul_plan {
    const s24_tensor *a;
    const s24_matmul_kernel *kernel;
    s24_matmul_options options;
    bool amx;
    bool checked;                      /* all positions are valid */
    unsigned char *packed;             /* of s24_amx_pack, or NULL */
    size_t packed_bytes;
};

#define AMX_ROWS 16 /* fewer are faster without */

static s24_status plan_init(s24_matmul_plan *plan, const s24_tensor *a, const s24_matmul_options *options,
                            s24_error *err)
{
    static const s24_matmul_options defaults = S24_MATMUL_OPTIONS_INIT;
    *plan = (s24_matmul_plan){.a = a, .options = options ? *options : defaults};
    plan->kernel = s24_find_matmul_kernel(plan->options.isa, a->dtype);
    if (!plan->kernel) {
        return s24_fail(err, S24_ERR_USAGE, "a product with weights of %s cannot be; store them as f32 or less",
                        s24_dtype_name(a->dtype));
    }
    if (a->rank != 2 || a->axis != 1) {
        return s24_fail(err, S24_ERR_USAGE, "only a matrix pruned along axis 1 can be multiplied; this is of rank %d, "
                        "pruned along axis %d", a->rank, a->axis);
    }
    if (a->scales) {
        const s24_panel_place whole = {.rows = a->geometry.rows, .groups = a->geometry.groups};
        s24_fault fault;
        if (!s24_scales_valid(a->scales, a->geometry.rows, a->geometry.cols, a->scale_group, &fault)) {
            return s24_fault_report(&fault, &whole, a->rank, a->shape, a->axis, "", err);
        }
    }
    /* AMX's sums run over more than a group of columns. */
    plan->amx = s24_isa_detect(plan->options.isa) == S24_ISA_AMX && a->scale_group == 0 && s24_amx_permitted();
    return plan->options.compute == S24_COMPUTE_I8 ? s24_i8_check(a, err) : S24_OK;
}

s24_status s24_matmul_plan_new(const s24_tensor *a, const s24_matmul_options *options, s24_matmul_plan **plan,
                               s24_error *err)
{
    s24_matmul_plan *made = s24_calloc(1, sizeof *made, err);
    if (!made) {
        return S24_ERR_SYSTEM;
    }
    s24_status status = plan_init(made, a, options, err);
    if (status == S24_OK) {
        status = s24_check_rows(a, made->kernel->ops, 0, a->geometry.rows, err);
    }
#if S24_X86
    if (status == S24_OK && made->amx && a->geometry.rows >= AMX_ROWS && a->geometry.cols > 0) {
        s24_pack *pack = made->options.compute == S24_COMPUTE_I8 ? s24_i8_pack : s24_amx_pack;
        status = pack(a, &made->packed, &made->packed_bytes, err);
    }
#endif
    if (status != S24_OK) {
        free(made);
        return status;
    }
    made->checked = true;
    *plan = made;
    return S24_OK;
}

size_t s24_matmul_plan_bytes(const s24_matmul_plan *plan)
{
    return plan->packed_bytes;
}

void s24_matmul_plan_free(s24_matmul_plan *plan)
{
    if (plan) {
        free(plan->packed);
    }
    free(plan);
}

#if S24_X86

/*
 * AMX fills 32 rows and reads B once more. 4096 x 4096 on Sapphire Rapids: with 4 columns the time of the AVX-512
 * kernels is 0.95 (f32), 1.0 (f16), 1.15 (bf16), 1.2 (i8) of that of AMX, with 8 it is 1.3 and more.
 */
static bool amx_suits(const s24_product *io)
{
    const bool wide = io->a->dtype == S24_F32 || io->a->dtype == S24_F16;
    return io->n >= (wide ? 5 : 4) && io->a->geometry.rows >= AMX_ROWS;
}

#endif

/* By the engine that suits; neither side is empty. */
static s24_status dispatch(const s24_matmul_plan *plan, const s24_product *io, s24_error *err)
{
    product p = {.a = io->a, .kernel = plan->kernel, .ops = plan->kernel->ops,
                 .bytes = s24_info(plan->a->dtype)->bytes, .b = io->b, .c = io->c, .ldb = io->ldb, .n = io->n,
                 .ldc = io->ldc, .checked = io->checked};
    const unsigned threads = worthwhile_threads(&p, plan->options.threads);
    if (io->compute == S24_COMPUTE_I8) {
        const s24_isa isa = s24_isa_detect(plan->options.isa);
        const s24_isa permitted = isa == S24_ISA_AMX && !plan->amx ? S24_ISA_AVX512 : isa;
        return s24_i8_multiply(io, s24_find_i8_kernel(permitted, io->n), p.ops, threads, err);
    }
#if S24_X86
    if (plan->amx && amx_suits(io)) {
        bool finite;
        const s24_status status = s24_amx_multiply(io, p.ops, threads, &finite, err);
        if (status != S24_OK || finite) {
            return status;
        }
    }
#endif
    return io->compute == S24_COMPUTE_BF16 ? multiply_rounded(&p, threads, err) : multiply(&p, threads, err);
}

/* ---------------------------------------------------------------- scales of rows */

#define SCALED_ELEMENTS (1u << 19) /* of C, a job: some 100 us */

typedef struct scaling {
    const s24_product *io;
    size_t job_rows;
} scaling;

static s24_status scale_job(void *ctx, unsigned worker, size_t job, s24_error *err)
{
    const scaling *s = ctx;
    const s24_product *io = s->io;
    const size_t end = min_size((job + 1) * s->job_rows, io->a->geometry.rows);
    (void)worker, (void)err;
    for (size_t r = job * s->job_rows; r < end; r++) {
        float *c = io->c + r * io->ldc;
        const float scale = io->a->scales[r];
        for (size_t j = 0; j < io->n; j++) {
            c[j] *= scale;
        }
    }
    return S24_OK;
}

static s24_status scale_rows(const s24_product *io, unsigned threads, s24_error *err)
{
    static const s24_stages stages = {.work = scale_job};
    const size_t rows = io->a->geometry.rows, job_rows = io->n < SCALED_ELEMENTS ? SCALED_ELEMENTS / io->n : 1;
    scaling s = {.io = io, .job_rows = job_rows};
    const size_t jobs = ceil_div(rows, job_rows);
    threads = threads ? threads : s24_threads_available();
    return s24_run(&stages, &s, jobs, (unsigned)min_size(threads, jobs), err);
}

s24_status s24_matmul_plan_multiply(const s24_matmul_plan *plan, const float *b, size_t ldb, size_t n, float *c,
                                    size_t ldc, s24_error *err)
{
    const s24_geometry *g = &plan->a->geometry;
    if (ldb < n || ldc < n) {
        return s24_fail(err, S24_ERR_USAGE, "row strides %zu and %zu are less than the %zu column%s", ldb, ldc, n,
                        s24_plural(n));
    }
    if (g->rows == 0 || n == 0) {
        return S24_OK;
    }
    if (g->cols == 0) {
        for (size_t r = 0; r < g->rows; r++) {
            memset(c + r * ldc, 0, n * sizeof *c);
        }
        return S24_OK;
    }
    const s24_product io = {.a = plan->a, .b = b, .ldb = ldb, .n = n, .c = c, .ldc = ldc,
                            .compute = plan->options.compute, .checked = plan->checked,
                            .packed = plan->packed};
    const s24_status status = dispatch(plan, &io, err);
    return status == S24_OK && plan->a->scales && plan->a->scale_group == 0 ? scale_rows(&io, plan->options.threads, err)
                                                                             : status;
}

s24_status s24_sparse_matmul(const s24_tensor *a, const float *b, size_t ldb, size_t n, float *c, size_t ldc,
                             const s24_matmul_options *options, s24_error *err)
{
    s24_matmul_plan plan;
    const s24_status status = plan_init(&plan, a, options, err);
    return status == S24_OK ? s24_matmul_plan_multiply(&plan, b, ldb, n, c, ldc, err) : status;
}
