#include "baselines.h"

#include "blas.h"
#include "dnnl.h"
#include "msg.h"

static const struct adapter {
    s24_status (*open)(s24_bench_baseline *row, s24_error *err);
    void (*close)(s24_bench_baseline *row);
    bool (*fits)(size_t m, size_t n, size_t k); /* NULL: it takes every size */
    bool bf16;                                  /* operands are rounded: only for who has, or asks for, bf16 */
    bool expected;                              /* people should know that it is missing */
} adapters[] = {
    {blas_open, blas_close, blas_fits, false, true},
    {dnnl_open_f32, dnnl_close, NULL, false, false},
    {dnnl_open_bf16, dnnl_close, NULL, true, false},
};
#define ADAPTERS (sizeof adapters / sizeof *adapters)
_Static_assert(ADAPTERS <= S24_BENCH_BASELINES, "each may be there");

/* A library that is there and does not serve is news; of those that are not installed, only the first is missed. */
static void tell(const struct adapter *adapter, s24_status status, const s24_error *err)
{
    if (adapter->expected || (status != S24_ERR_SYSTEM && !adapter->bf16)) {
        msg_warn("%s", err->message);
    } else {
        msg_note("%s", err->message);
    }
}

static void open_one(baselines *b, size_t i, size_t m, size_t k, size_t most)
{
    s24_error err = {0};
    s24_bench_baseline *row = &b->rows[b->count];
    const s24_status status = adapters[i].open(row, &err);
    if (status != S24_OK) {
        tell(&adapters[i], status, &err);
    } else if (adapters[i].fits && !adapters[i].fits(m, most, k)) {
        msg_warn("the matrices are too large for %s: left out", row->name);
        adapters[i].close(row);
    } else {
        b->adapters[b->count++] = i;
    }
}

void baselines_open(baselines *b, bool bf16, size_t m, size_t k, size_t most)
{
    *b = (baselines){.count = 0};
    for (size_t i = 0; i < ADAPTERS; i++) {
        if (bf16 || !adapters[i].bf16) {
            open_one(b, i, m, k, most);
        }
    }
}

void baselines_close(baselines *b)
{
    while (b->count) {
        b->count--;
        adapters[b->adapters[b->count]].close(&b->rows[b->count]);
    }
}
