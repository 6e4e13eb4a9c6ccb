#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise, mincore, preadv2 */
#include "window.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

/* Of headers older than Linux 5.14; older systems themselves say EINVAL, and pages then come one by one. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/*
 * What is mapped at once; only what is looked at gets pages. Unmapping interrupts the other processors: with windows of
 * 8 MiB two threads took 1.09 times as long, with 1 MiB 1.3 times.
 */
#define WINDOW_BYTES (32u << 20)
#define LEAST_BYTES (256u << 10) /* less than this is copied as fast as it is mapped */

/* ---------------------------------------------------------------- the caller's record */

static s24_map_slot *take_slot(s24_maps *maps)
{
    for (size_t i = 0; maps && i < S24_MAPS; i++) {
        int taken = 0;
        if (__atomic_compare_exchange_n(&maps->slots[i].taken, &taken, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return &maps->slots[i];
        }
    }
    return NULL;
}

static void set_slot(s24_map_slot *slot, const void *base, size_t bytes)
{
    __atomic_store_n(&slot->bytes, 0, __ATOMIC_RELEASE); /* never a new base with an old length */
    __atomic_store_n(&slot->base, (uintptr_t)base, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->bytes, bytes, __ATOMIC_RELEASE);
}

/* In a signal handler: system calls and atomic loads, nothing else. */
bool s24_maps_repair(s24_maps *maps, void *address)
{
    const uintptr_t at = (uintptr_t)address;
    for (size_t i = 0; i < S24_MAPS; i++) {
        s24_map_slot *slot = &maps->slots[i];
        const uintptr_t base = __atomic_load_n(&slot->base, __ATOMIC_ACQUIRE);
        const size_t bytes = __atomic_load_n(&slot->bytes, __ATOMIC_ACQUIRE);
        if (at >= base && at - base < bytes) {
            const uintptr_t page = at & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
            __atomic_store_n(&slot->lost, 1, __ATOMIC_RELEASE);
            /* All that follows, too: a file that ends here has no page behind. */
            return mmap((void *)page, base + bytes - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
                   MAP_FAILED;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- windows */

static void unmap(s24_window *w)
{
    if (w->base) {
        set_slot(w->slot, NULL, 0);
        munmap(w->base, w->length);
    }
    w->base = NULL;
    w->length = 0;
}

void s24_window_close(s24_window *w)
{
    unmap(w);
    if (w->slot) {
        __atomic_store_n(&w->slot->taken, 0, __ATOMIC_RELEASE);
    }
    *w = (s24_window){0};
}

static bool covers(const s24_window *w, const s24_input *in, uint64_t offset, size_t n)
{
    return w->base && w->in == in && offset >= w->offset && n <= w->length && offset - w->offset <= w->length - n;
}

/* Maps what begins with the page of `offset` and has room for n bytes from there. */
static bool map_at(s24_window *w, s24_input *in, uint64_t offset, size_t n)
{
    const uint64_t first = offset & ~(uint64_t)(sysconf(_SC_PAGESIZE) - 1), left = in->size - first;
    const uint64_t wanted = offset - first + n > WINDOW_BYTES ? offset - first + n : WINDOW_BYTES;
    unmap(w);
    w->slot = w->slot ? w->slot : take_slot(in->io->maps);
    if (!w->slot) {
        return false;
    }
    w->length = (size_t)(wanted < left ? wanted : left);
    void *base = mmap(NULL, w->length, PROT_READ, MAP_SHARED, in->fd, (off_t)first);
    if (base == MAP_FAILED) {
        return false;
    }
    w->in = in;
    w->base = base;
    w->offset = first;
    set_slot(w->slot, base, w->length);
    return true;
}

static bool resident_byte(const s24_input *in, uint64_t at, const void *mapped)
{
    unsigned char byte;
    const struct iovec to = {&byte, 1};
    const ssize_t got = preadv2(in->fd, &to, 1, (off_t)at, RWF_NOWAIT);
    if (got < 0 && errno != EAGAIN) { /* a file system, or a system, that cannot tell so */
        const uintptr_t page = (uintptr_t)mapped & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1);
        return mincore((void *)page, 1, &byte) == 0 && byte & 1;
    }
    return got == 1;
}

/*
 * Whether the bytes are in the page cache, by the first and the last: only then is mapping the faster way, and no disk or
 * network waited for a page at a time. (mincore() for every page took 6% of the time of pruning.)
 */
static bool resident(const s24_input *in, uint64_t offset, const unsigned char *data, size_t n)
{
    return resident_byte(in, offset, data) && resident_byte(in, offset + n - 1, data + n - 1);
}

/* The mapped bytes; NULL: they are better read. */
static const unsigned char *look(s24_window *w, s24_input *in, uint64_t offset, size_t n)
{
    if (!in->io->maps || in->stream || in->fd < 0 || n < LEAST_BYTES) {
        return NULL;
    }
    if (!covers(w, in, offset, n) && !map_at(w, in, offset, n)) {
        return NULL;
    }
    unsigned char *data = w->base + (offset - w->offset);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), skew = (uintptr_t)data & (page - 1);
    if (!resident(in, offset, data, n) || (madvise(data - skew, n + skew, MADV_POPULATE_READ) != 0 && errno != EINVAL)) {
        return NULL;
    }
    return data;
}

s24_status s24_window_view(s24_window *w, s24_input *in, uint64_t offset, size_t n, void *buffer, const void **data,
                           s24_error *err)
{
    if (offset <= in->size && n <= in->size - offset && (*data = look(w, in, offset, n)) != NULL) {
        return s24_io_stopped(in->io, err);
    }
    *data = buffer;
    return s24_input_read(in, offset, buffer, n, err);
}

s24_status s24_window_settle(s24_window *w, s24_error *err)
{
    if (!w->slot || !__atomic_exchange_n(&w->slot->lost, 0, __ATOMIC_ACQ_REL)) {
        return S24_OK;
    }
    unmap(w);
    return s24_fail(err, S24_ERR_DATA, "%s: truncated: it was cut off while it was read", w->in->name);
}
