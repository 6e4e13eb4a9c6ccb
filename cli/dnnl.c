#include "dnnl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "error.h"
#include "library.h"

/*
 * The interface, from oneDNN's Developer Guide and Reference, version 2.6 (oneapi-src.github.io/oneDNN/v2.6). Within a
 * major version it is stable. Objects are pointers; descriptors are structs that the library fills, here as memory that
 * is larger than any of theirs (696 and 2800 bytes in 2.6).
 */
typedef void *dnnl_object;
typedef union memory_desc {
    int64_t align;
    char bytes[2048];
} memory_desc;
typedef union matmul_desc {
    int64_t align;
    char bytes[8192];
} matmul_desc;
typedef struct exec_arg {
    int arg;
    dnnl_object memory;
} exec_arg;
typedef struct dnnl_version_info {
    int major, minor, patch;
    const char *hash;
    unsigned cpu_runtime, gpu_runtime;
} dnnl_version_info;

enum { CPU = 1, IN_ORDER = 1 };                                 /* of dnnl_engine_kind_t, dnnl_stream_flags_t */
enum { BF16 = 2, F32 = 3 };                                     /* of dnnl_data_type_t */
enum { ANY = 1, ROWS = 3, COLUMNS = 22 };                       /* of dnnl_format_tag_t: any, ab, ba */
enum { QUERY_SRC = 129, QUERY_WEIGHTS = 131, QUERY_DST = 133 }; /* of dnnl_query_t */
enum { ARG_SRC = 1, ARG_DST = 17, ARG_WEIGHTS = 33 };           /* DNNL_ARG_*; a reorder has src and dst, too */
#define ALLOCATE ((void *)(size_t)-1)                           /* DNNL_MEMORY_ALLOCATE */
#define DIMENSIONS 12                                           /* DNNL_MAX_NDIMS */

/*
 * OpenMP's threads spin before they sleep: 300,000 turns of libgomp's (GOMP_SPINCOUNT). Measured on Sapphire Rapids that
 * is 1.5 ms; this is for where a turn takes ten times as long.
 */
#define SETTLE_SECONDS 0.02

typedef struct interface {
    const dnnl_version_info *(*version)(void);
    int (*engine_create)(dnnl_object *engine, int kind, size_t index);
    int (*engine_destroy)(dnnl_object engine);
    int (*stream_create)(dnnl_object *stream, dnnl_object engine, unsigned flags);
    int (*stream_wait)(dnnl_object stream);
    int (*stream_destroy)(dnnl_object stream);
    int (*describe)(memory_desc *d, int rank, const int64_t *dims, int type, int tag);
    int (*memory_create)(dnnl_object *memory, const void *desc, dnnl_object engine, void *data);
    int (*memory_destroy)(dnnl_object memory);
    int (*matmul_init)(matmul_desc *d, const memory_desc *src, const memory_desc *weights, const memory_desc *bias,
                       const memory_desc *dst);
    int (*reorder_create)(dnnl_object *pd, const void *src, dnnl_object src_engine, const void *dst,
                          dnnl_object dst_engine, const void *attributes);
    int (*pd_create)(dnnl_object *pd, const void *op, const void *attributes, dnnl_object engine, const void *hint);
    const void *(*pd_query)(const void *pd, int what, int index);
    int (*pd_destroy)(dnnl_object pd);
    int (*create)(dnnl_object *primitive, const void *pd);
    int (*execute)(const void *primitive, dnnl_object stream, int count, const exec_arg *args);
    int (*destroy)(dnnl_object primitive);
    void (*set_threads)(int threads); /* OpenMP's */
} interface;

static const struct {
    const char *symbol;
    size_t offset;
} symbols[] = {
    {"dnnl_version", offsetof(interface, version)},
    {"dnnl_engine_create", offsetof(interface, engine_create)},
    {"dnnl_engine_destroy", offsetof(interface, engine_destroy)},
    {"dnnl_stream_create", offsetof(interface, stream_create)},
    {"dnnl_stream_wait", offsetof(interface, stream_wait)},
    {"dnnl_stream_destroy", offsetof(interface, stream_destroy)},
    {"dnnl_memory_desc_init_by_tag", offsetof(interface, describe)},
    {"dnnl_memory_create", offsetof(interface, memory_create)},
    {"dnnl_memory_destroy", offsetof(interface, memory_destroy)},
    {"dnnl_matmul_desc_init", offsetof(interface, matmul_init)},
    {"dnnl_reorder_primitive_desc_create", offsetof(interface, reorder_create)},
    {"dnnl_primitive_desc_create", offsetof(interface, pd_create)},
    {"dnnl_primitive_desc_query_md", offsetof(interface, pd_query)},
    {"dnnl_primitive_desc_destroy", offsetof(interface, pd_destroy)},
    {"dnnl_primitive_create", offsetof(interface, create)},
    {"dnnl_primitive_execute", offsetof(interface, execute)},
    {"dnnl_primitive_destroy", offsetof(interface, destroy)},
    {"omp_set_num_threads", offsetof(interface, set_threads)},
};

/*
 * Which way around a product is given to the library, and whether its right operand is in the library's own order. None
 * is the fastest everywhere: of 2.6 on Sapphire Rapids, f32, 4096 x 4096, packed A is 1.3 times as fast as the others
 * for N = 1, plain operands are 1.5 times as fast as it for N = 32 and B packed 1.2 times for N = 128. All are tried.
 */
static const struct formulation {
    bool turned; /* transposed(C) = transposed(B) * transposed(A) */
    bool packed;
} formulations[] = {{false, false}, {false, true}, {true, true}};

typedef struct matmul {
    dnnl_object pd, primitive, src, weights, dst;
    bool turned;
} matmul;

typedef struct side {
    interface api;
    dnnl_object engine, stream;
    int type;        /* of A and B */
    char name[64];
    matmul fastest;  /* of the product that was prepared */
} side;

/* ---------------------------------------------------------------- matrices */

/* Row-major f32, as what the library is to see: turned, its transpose. */
static bool describe_f32(const side *s, size_t rows, size_t cols, bool turned, memory_desc *d)
{
    const int64_t dims[DIMENSIONS] = {(int64_t)(turned ? cols : rows), (int64_t)(turned ? rows : cols)};
    return s->api.describe(d, 2, dims, F32, turned ? COLUMNS : ROWS) == 0;
}

static bool execute(const side *s, dnnl_object primitive, int count, const exec_arg *args)
{
    return s->api.execute(primitive, s->stream, count, args) == 0 && s->api.stream_wait(s->stream) == 0;
}

static void free_memory(const side *s, dnnl_object memory)
{
    if (memory) {
        s->api.memory_destroy(memory);
    }
}

/* Copies a matrix into another order, and type. */
static bool reorder(const side *s, const void *from_desc, dnnl_object from, const void *to_desc, dnnl_object to)
{
    dnnl_object pd, primitive;
    if (s->api.reorder_create(&pd, from_desc, s->engine, to_desc, s->engine, NULL) != 0) {
        return false;
    }
    bool done = s->api.create(&primitive, pd) == 0;
    if (done) {
        done = execute(s, primitive, 2, (const exec_arg[]){{ARG_SRC, from}, {ARG_DST, to}});
        s->api.destroy(primitive);
    }
    s->api.pd_destroy(pd);
    return done;
}

/* New memory of an operand of a product, filled with x [rows, cols]. */
static bool load_operand(const side *s, const matmul *m, int query, const float *x, size_t rows, size_t cols,
                         dnnl_object *memory)
{
    memory_desc desc;
    dnnl_object plain = NULL;
    const void *wanted = s->api.pd_query(m->pd, query, 0);
    const bool done = wanted && describe_f32(s, rows, cols, m->turned, &desc) &&
                      s->api.memory_create(&plain, &desc, s->engine, (void *)(uintptr_t)x) == 0 &&
                      s->api.memory_create(memory, wanted, s->engine, ALLOCATE) == 0 &&
                      reorder(s, &desc, plain, wanted, *memory);
    free_memory(s, plain);
    return done;
}

static bool store_result(const side *s, const matmul *m, float *c, size_t rows, size_t cols)
{
    memory_desc desc;
    dnnl_object plain = NULL;
    const void *got = s->api.pd_query(m->pd, QUERY_DST, 0);
    const bool done = got && describe_f32(s, rows, cols, m->turned, &desc) &&
                      s->api.memory_create(&plain, &desc, s->engine, c) == 0 && reorder(s, got, m->dst, &desc, plain);
    free_memory(s, plain);
    return done;
}

/* ---------------------------------------------------------------- products */

static void matmul_free(const side *s, matmul *m)
{
    free_memory(s, m->src);
    free_memory(s, m->weights);
    free_memory(s, m->dst);
    if (m->primitive) {
        s->api.destroy(m->primitive);
    }
    if (m->pd) {
        s->api.pd_destroy(m->pd);
    }
    *m = (matmul){0};
}

/* [rows, k] times [k, cols], of the side's type into f32. */
static bool create_matmul(const side *s, size_t rows, size_t k, size_t cols, bool packed, matmul *m)
{
    static const memory_desc no_bias = {0};
    const int64_t left[DIMENSIONS] = {(int64_t)rows, (int64_t)k}, right[DIMENSIONS] = {(int64_t)k, (int64_t)cols};
    const int64_t result[DIMENSIONS] = {(int64_t)rows, (int64_t)cols};
    memory_desc src, weights, dst;
    matmul_desc desc;
    return s->api.describe(&src, 2, left, s->type, ROWS) == 0 &&
           s->api.describe(&weights, 2, right, s->type, packed ? ANY : ROWS) == 0 &&
           s->api.describe(&dst, 2, result, F32, ROWS) == 0 &&
           s->api.matmul_init(&desc, &src, &weights, &no_bias, &dst) == 0 &&
           s->api.pd_create(&m->pd, &desc, NULL, s->engine, NULL) == 0 && s->api.create(&m->primitive, m->pd) == 0;
}

static bool make_matmul(const side *s, const s24_bench_product *p, const struct formulation *f, matmul *m)
{
    *m = (matmul){.turned = f->turned};
    const void *dst = NULL;
    const bool made = create_matmul(s, f->turned ? p->n : p->m, p->k, f->turned ? p->m : p->n, f->packed, m) &&
                      load_operand(s, m, f->turned ? QUERY_WEIGHTS : QUERY_SRC, p->a, p->m, p->k,
                                   f->turned ? &m->weights : &m->src) &&
                      load_operand(s, m, f->turned ? QUERY_SRC : QUERY_WEIGHTS, p->b, p->k, p->n,
                                   f->turned ? &m->src : &m->weights) &&
                      (dst = s->api.pd_query(m->pd, QUERY_DST, 0)) != NULL &&
                      s->api.memory_create(&m->dst, dst, s->engine, ALLOCATE) == 0;
    if (!made) {
        matmul_free(s, m);
    }
    return made;
}

static bool run_matmul(const side *s, const matmul *m)
{
    const exec_arg args[] = {{ARG_SRC, m->src}, {ARG_WEIGHTS, m->weights}, {ARG_DST, m->dst}};
    return execute(s, m->primitive, 3, args);
}

/* The best of three calls, or the first where it takes long; 0: it does not work. */
static double try_matmul(const side *s, const matmul *m)
{
    double best = 0;
    for (int i = 0; i < 3 && best < 0.1; i++) {
        const double start = s24_now();
        if (!run_matmul(s, m)) {
            return 0;
        }
        const double seconds = s24_now() - start;
        best = i == 0 || seconds < best ? seconds : best;
    }
    return best;
}

/* ---------------------------------------------------------------- the benchmark's steps */

static s24_status prepare(void *ctx, const s24_bench_product *p, s24_error *err)
{
    side *s = ctx;
    double best = 0;
    s->api.set_threads((int)p->threads); /* what is best depends on it */
    matmul_free(s, &s->fastest);
    for (size_t i = 0; i < sizeof formulations / sizeof *formulations; i++) {
        matmul m;
        const double seconds = make_matmul(s, p, &formulations[i], &m) ? try_matmul(s, &m) : 0;
        if (seconds > 0 && (best == 0 || seconds < best)) {
            const matmul slower = s->fastest;
            s->fastest = m;
            m = slower;
            best = seconds;
        }
        matmul_free(s, &m);
    }
    return best > 0 ? S24_OK : s24_fail(err, S24_ERR_SYSTEM, "%s cannot multiply [%zu, %zu] by [%zu, %zu]; say "
                                        "--baseline none", s->name, p->m, p->k, p->k, p->n);
}

static s24_status multiply(void *ctx, const s24_bench_product *p, s24_error *err)
{
    const side *s = ctx;
    s->api.set_threads((int)p->threads);
    return run_matmul(s, &s->fastest) ? S24_OK : s24_fail(err, S24_ERR_SYSTEM, "%s: a product failed", s->name);
}

static s24_status finish(void *ctx, const s24_bench_product *p, s24_error *err)
{
    const side *s = ctx;
    return store_result(s, &s->fastest, p->c, p->m, p->n)
               ? S24_OK : s24_fail(err, S24_ERR_SYSTEM, "%s: no memory for a result", s->name);
}

/* ---------------------------------------------------------------- loading */

static s24_status load(interface *api, s24_error *err)
{
    /* Never unloaded: threads of OpenMP stay behind that run its code. */
    void *handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
        handle = dlopen("libdnnl.so.3", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
        return handle ? s24_fail(err, S24_ERR_DATA, "oneDNN 3 (libdnnl.so.3) has an interface that is not known here; "
                                 "version 2 is (Debian 12: libdnnl2)")
                      : s24_fail(err, S24_ERR_SYSTEM, "no oneDNN to compare with; install version 2 (Debian 12: "
                                 "libdnnl2)");
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        if (!library_find(handle, symbols[i].symbol, (char *)api + symbols[i].offset)) {
            return s24_fail(err, S24_ERR_DATA, "this oneDNN (libdnnl.so.2) has no %s: left out", symbols[i].symbol);
        }
    }
    return S24_OK;
}

static s24_status start(side *s, s24_error *err)
{
    const s24_status status = load(&s->api, err);
    if (status != S24_OK) {
        return status;
    }
    const dnnl_version_info *v = s->api.version();
    snprintf(s->name, sizeof s->name, "oneDNN %d.%d.%d %s", v->major, v->minor, v->patch,
             s->type == F32 ? "f32" : "bf16");
    if (s->api.engine_create(&s->engine, CPU, 0) != 0 || s->api.stream_create(&s->stream, s->engine, IN_ORDER) != 0) {
        return s24_fail(err, S24_ERR_SYSTEM, "%s cannot be started", s->name);
    }
    matmul m = {0};
    const bool can = create_matmul(s, 16, 16, 16, false, &m);
    matmul_free(s, &m);
    return can ? S24_OK : s24_fail(err, S24_ERR_DATA, "%s: not on this machine", s->name);
}

static s24_status open_side(int type, s24_bench_baseline *row, s24_error *err)
{
    side *s = calloc(1, sizeof *s);
    if (!s) {
        return s24_fail_memory(err, sizeof *s);
    }
    s->type = type;
    *row = (s24_bench_baseline){.name = s->name, .ctx = s, .prepare = prepare, .multiply = multiply, .finish = finish,
                                .settle_seconds = SETTLE_SECONDS, .weight_bytes = type == F32 ? 4 : 2};
    const s24_status status = start(s, err);
    if (status != S24_OK) {
        dnnl_close(row);
    }
    return status;
}

s24_status dnnl_open_f32(s24_bench_baseline *row, s24_error *err)
{
    return open_side(F32, row, err);
}

s24_status dnnl_open_bf16(s24_bench_baseline *row, s24_error *err)
{
    return open_side(BF16, row, err);
}

void dnnl_close(s24_bench_baseline *row)
{
    side *s = row->ctx;
    matmul_free(s, &s->fastest);
    if (s->stream) {
        s->api.stream_destroy(s->stream);
    }
    if (s->engine) {
        s->api.engine_destroy(s->engine);
    }
    free(s);
    row->ctx = NULL;
}
