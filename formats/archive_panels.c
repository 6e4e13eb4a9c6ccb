/*
 * Frames decoded: the last ones are kept, since a panel is asked for in pieces. Any thread may ask; of several that want the
 * same frame one decodes it.
 */
#include "archive_read.h"

#include <string.h>

/* ---------------------------------------------------------------- a frame's panels */

static s24_bench *take_bench(s24_archive *a, s24_error *err)
{
    pthread_mutex_lock(&a->lock);
    s24_bench *bench = a->benches;
    a->benches = bench ? bench->next : NULL;
    pthread_mutex_unlock(&a->lock);
    if (!bench) {
        return s24_calloc(1, sizeof *bench, err);
    }
    bench->next = NULL;
    return bench;
}

static void return_bench(s24_archive *a, s24_bench *bench)
{
    pthread_mutex_lock(&a->lock);
    bench->next = a->benches;
    a->benches = bench;
    pthread_mutex_unlock(&a->lock);
}

static s24_status decode_unit(const s24_archive *a, s24_bench *bench, const s24_frame *frame, s24_archive_unit *unit,
                              const s24_frame_unit *line, const unsigned char *coded, const s24_archive_span *p,
                              unsigned char *raw, s24_error *err)
{
    if (line->codec == S24_CODEC_STORED && line->bytes == unit->bytes) {
        s24_archive_scatter_stored(&a->map, frame, unit, raw, coded);
        return S24_OK;
    }
    if (line->codec != S24_CODEC_UNIT) {
        return line->codec >= S24_CODECS ? s24_archive_unknown_codec(line->codec, err)
                                         : s24_archive_damaged(p->offset, p->number, "is not coded as data are", err);
    }
    unit->unit.isa = a->view.behind->io->isa;
    unsigned char *values = s24_bench_reserve(bench, S24_BENCH_VALUES, s24_unit_value_bytes(&unit->unit), err);
    unsigned char *nibbles = s24_bench_reserve(bench, S24_BENCH_NIBBLES, s24_unit_nibble_bytes(&unit->unit), err);
    unsigned char *scratch = s24_bench_reserve(bench, S24_BENCH_SCRATCH, s24_decode_scratch(&unit->unit), err);
    if (!values || !nibbles || !scratch) {
        return S24_ERR_SYSTEM;
    }
    if (!s24_unit_decode(&unit->unit, coded, line->bytes, values, unit->unit.groups ? nibbles : NULL, scratch)) {
        return s24_archive_damaged(p->offset, p->number, "cannot be decoded", err);
    }
    s24_archive_scatter(&a->map, frame, unit, raw, values, nibbles);
    return S24_OK;
}

/* Reads and decodes a frame into *s, which the caller alone has. */
static s24_status load_frame(s24_archive *a, s24_bench *bench, const s24_archive_span *p, s24_archive_slot *s,
                             s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    s24_frame frame;
    if (!s24_archive_frame_fits(a, p->first, p->panels)) {
        return s24_archive_damaged(p->offset, p->number, "cannot have what the index says", err);
    }
    unsigned char *bytes = s24_bench_reserve(bench, S24_BENCH_FRAME, (size_t)p->bytes, err);
    s24_status status = bytes ? s24_archive_read_coded(a, p, bytes, (size_t)p->bytes, err) : S24_ERR_SYSTEM;
    status = status == S24_OK ? s24_archive_check_frame(a, p, bytes, &frame, units, err) : status;
    if (status != S24_OK) {
        return status;
    }
    if (frame.raw > s->bytes) {
        free(s->data);
        s->data = s24_alloc((size_t)frame.raw, err);
        s->bytes = s->data ? (size_t)frame.raw : 0;
    }
    if (frame.panels > s->panels) {
        free(s->starts);
        s->starts = s24_calloc(frame.panels + (size_t)1, sizeof *s->starts, err);
        s->panels = s->starts ? frame.panels : 0;
    }
    if (!s->data || !s->starts) {
        return S24_ERR_SYSTEM;
    }
    s24_archive_starts(&a->map, frame.first, frame.panels, s->starts);
    const unsigned char *coded = bytes + (p->bytes - frame.payload);
    for (uint32_t k = 0; k < frame.units && status == S24_OK; k++) {
        const unsigned char *at = bytes + S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (size_t)k;
        const s24_frame_unit line = {s24_get_u32(at), s24_get_u32(at + 4)};
        status = decode_unit(a, bench, &frame, &units[k], &line, coded, p, s->data, err);
        coded += line.bytes;
    }
    return status;
}

/* ---------------------------------------------------------------- decoded frames */

/* A slot for a frame that none has: the one that nobody has used for longest, or a new one. Under the lock. */
static s24_archive_slot *free_slot(s24_archive *a, s24_error *err)
{
    s24_archive_slot *oldest = NULL;
    unsigned idle = 0;
    for (s24_archive_slot *s = a->slots; s; s = s->next) {
        idle += s->users == 0;
        if (s->users == 0 && (!oldest || s->used < oldest->used)) {
            oldest = s;
        }
    }
    if (oldest && idle >= a->slots_idle) {
        return oldest;
    }
    s24_archive_slot *s = s24_calloc(1, sizeof *s, err);
    if (s) {
        s->next = a->slots;
        a->slots = s;
    }
    return s;
}

/* The frame's slot, decoded or to be decoded by the caller (S24_SLOT_LOADING). Under the lock. */
static s24_archive_slot *claim_slot(s24_archive *a, size_t frame, bool *mine, s24_error *err)
{
    s24_archive_slot *s = a->slots;
    while (s && (s->state == S24_SLOT_EMPTY || s->frame != frame)) {
        s = s->next;
    }
    *mine = !s;
    s = s ? s : free_slot(a, err);
    if (s) {
        s->users++;
        s->used = ++a->clock;
        if (*mine) {
            s->frame = frame;
            s->state = S24_SLOT_LOADING;
        }
    }
    return s;
}

void s24_archive_release(s24_archive *a, s24_archive_slot *s)
{
    pthread_mutex_lock(&a->lock);
    s->users--;
    pthread_mutex_unlock(&a->lock);
}

s24_status s24_archive_take_panels(s24_archive *a, const s24_archive_span *p, s24_archive_slot **taken, s24_error *err)
{
    bool mine;
    s24_status status = S24_OK;
    pthread_mutex_lock(&a->lock);
    s24_archive_slot *s = claim_slot(a, (size_t)(p - a->frames), &mine, err);
    while (s && !mine && s->state == S24_SLOT_LOADING) {
        pthread_cond_wait(&a->loaded, &a->lock);
    }
    /* Whoever was to decode it could not, and was told why; this one shall be, too. */
    if (s && !mine && s->state == S24_SLOT_EMPTY) {
        s->state = S24_SLOT_LOADING;
        s->frame = (size_t)(p - a->frames);
        mine = true;
    }
    pthread_mutex_unlock(&a->lock);
    if (!s) {
        return S24_ERR_SYSTEM;
    }
    if (mine) {
        s24_bench *bench = take_bench(a, err);
        status = bench ? load_frame(a, bench, p, s, err) : S24_ERR_SYSTEM;
        if (bench) {
            return_bench(a, bench);
        }
        pthread_mutex_lock(&a->lock);
        s->state = status == S24_OK ? S24_SLOT_READY : S24_SLOT_EMPTY;
        pthread_cond_broadcast(&a->loaded);
        pthread_mutex_unlock(&a->lock);
    }
    if (status != S24_OK) {
        s24_archive_release(a, s);
        return status;
    }
    *taken = s;
    return S24_OK;
}

void s24_archive_free_panels(s24_archive *a)
{
    while (a->slots) {
        s24_archive_slot *s = a->slots;
        a->slots = s->next;
        free(s->data);
        free(s->starts);
        free(s);
    }
    s24_bench_free(a->benches);
}
