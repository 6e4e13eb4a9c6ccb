/*
 * Reading an archive: an input that shows the plain file. What is asked for by position is made from the header, from the
 * panels' checks, or from the frame that has it; the frames decoded last are kept, since a panel is asked for in pieces.
 *
 * Of a file the index says where the frames are. Of a pipe frames are taken as they come, and the coded ones are kept
 * while a tensor is held. Salvage looks for frames by their magic, wherever they are.
 */
#include "archive_read.h"

#include <assert.h>
#include <string.h>

#include "threads.h"

#define SALVAGED_CHECKS ((size_t)1 << 20) /* more panels than are found that a header may claim in a damaged file */

/* ---------------------------------------------------------------- the plain file's bytes */

/*
 * The panel of an entry that has a part at `offset`, that part, and how many bytes of the panel are before it. Parts of one
 * kind lie in the order of panels, and kinds behind one another.
 */
static size_t panel_at(const s24_archive *a, const s24_entry *e, uint64_t offset, s24_archive_part *part, size_t *before)
{
    s24_archive_part parts[S24_PARTS_MAX];
    const size_t panels = s24_plain_panel_count(a->map.plain, e);
    if (e->packed && e->permuted && offset >= s24_plain_offset(e, S24_PLANES)) { /* a panel of its own, behind the others */
        s24_archive_parts(a->map.plain, e, panels, parts);
        *part = parts[0];
        *before = 0;
        return panels;
    }
    const size_t kinds = s24_archive_parts(a->map.plain, e, 0, parts);
    size_t kind = 0, low = 0, high = panels;
    while (kind + 1 < kinds && parts[kind + 1].offset <= offset) {
        kind++;
    }
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        s24_archive_parts(a->map.plain, e, middle, parts);
        *(parts[kind].offset <= offset ? &low : &high) = middle;
    }
    s24_archive_parts(a->map.plain, e, low, parts);
    *before = 0;
    for (size_t i = 0; i < kind; i++) {
        *before += parts[i].bytes;
    }
    *part = parts[kind];
    return low;
}

/* n bytes of an entry's data at `offset`, as far as one panel has them; *got of them. */
static s24_status read_panel(s24_archive *a, const s24_entry *e, uint64_t offset, void *data, size_t n, size_t *got,
                             s24_error *err)
{
    s24_archive_part p;
    s24_archive_slot *s;
    size_t before;
    const size_t panel = panel_at(a, e, offset, &p, &before);
    const uint64_t number = s24_archive_number(&a->map, e, panel), skip = offset - p.offset;
    const s24_archive_span *frame = s24_archive_frame_of(a, number);
    if (!frame) {
        return s24_fail_at(err, offset, S24_ARCHIVE_DAMAGED "a frame is missing" S24_ARCHIVE_RECOVER);
    }
    s24_status status = s24_archive_take_panels(a, frame, &s, err);
    if (status != S24_OK) {
        return status;
    }
    *got = n < p.bytes - skip ? n : (size_t)(p.bytes - skip);
    memcpy(data, s->data + s->starts[number - frame->first] + before + skip, *got);
    s24_archive_release(a, s);
    return S24_OK;
}

/* The same of its checks, which are made anew. */
static s24_status read_checks(const s24_archive *a, const s24_entry *e, uint64_t offset, void *data, size_t n, size_t *got,
                              s24_error *err)
{
    const size_t bytes = (size_t)e->checks_bytes, panels = s24_archive_count(a->map.plain, e);
    const uint64_t first = s24_archive_number(&a->map, e, 0), from = offset - e->checks;
    if (a->salvage && panels > a->check_count + SALVAGED_CHECKS) {
        return s24_fail_at(err, offset, S24_ARCHIVE_DAMAGED "it has not nearly what its header says");
    }
    unsigned char *section = s24_calloc(bytes, 1, err);
    if (!section) {
        return S24_ERR_SYSTEM;
    }
    for (size_t i = 0; i < panels; i++) {
        const s24_archive_span *p = s24_archive_frame_of(a, first + i);
        s24_put_u64(section + 8 * i, p ? a->checks[p->checks + (first + i - p->first)] : 0);
    }
    s24_put_u64(section + bytes - 8, s24_plain_check(a->map.plain, e->checks, section, bytes - 8));
    *got = n < bytes - from ? n : (size_t)(bytes - from);
    memcpy(data, section + from, *got);
    free(section);
    return S24_OK;
}

/* Of what is made anew of the header: itself, head, its copy or tail. */
static s24_status read_made(s24_archive *a, uint64_t offset, void *data, size_t n, size_t *got, s24_error *err)
{
    const s24_plain *plain = a->map.plain;
    const bool front = offset < plain->header_bytes + S24_RECORD_BYTES;
    const size_t skip = (size_t)(front ? offset : offset - plain->copy), bytes = plain->header_bytes;
    if (skip < bytes) {
        *got = n < bytes - skip ? n : bytes - skip;
        pthread_mutex_lock(&a->lock);
        const s24_status status = s24_inflate_read(&a->header, skip, data, *got, err);
        pthread_mutex_unlock(&a->lock);
        return status;
    }
    unsigned char record[S24_RECORD_BYTES];
    const size_t left = bytes + sizeof record - skip;
    s24_plain_record(plain, front ? "S24HEAD" : "S24TAIL", record);
    *got = n < left ? n : left;
    memcpy(data, record + (skip - bytes), *got);
    return S24_OK;
}

/* The entry, or the metrics, whose data or checks lie at `offset`; there is one. */
static const s24_entry *entry_at(const s24_archive *a, uint64_t offset)
{
    const s24_contents *c = a->map.contents;
    size_t low = 0, high = c->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (c->entries[middle].checks + c->entries[middle].checks_bytes <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < c->count ? &c->entries[low] : &a->map.plain->metrics;
}

static s24_status view_read(s24_view *view, uint64_t offset, void *data, size_t n, s24_error *err)
{
    s24_archive *a = (s24_archive *)view;
    const s24_plain *plain = a->map.plain;
    unsigned char *to = data;
    s24_status status = S24_OK;
    assert(plain); /* nobody asks before s24_archive_begin */
    while (n && status == S24_OK) {
        size_t got = 0;
        if (offset < plain->header_bytes + S24_RECORD_BYTES || offset >= plain->copy) {
            status = read_made(a, offset, to, n, &got, err);
        } else {
            const s24_entry *e = entry_at(a, offset);
            status = offset >= e->checks ? read_checks(a, e, offset, to, n, &got, err)
                                         : read_panel(a, e, offset, to, n, &got, err);
        }
        to += got;
        offset += got;
        n -= got;
    }
    return status;
}

/* ---------------------------------------------------------------- holding, ending */

/* Of a stream the frames of all tensors that [offset, offset + n) touches. */
static s24_status view_hold(s24_view *view, uint64_t offset, uint64_t n, s24_error *err)
{
    s24_archive *a = (s24_archive *)view;
    if (!s24_archive_streams(a) || n == 0) {
        return S24_OK;
    }
    const s24_entry *first = entry_at(a, offset), *last = entry_at(a, offset + n - 1);
    const uint64_t from = s24_archive_number(&a->map, first, 0);
    const uint64_t end = s24_archive_number(&a->map, last, s24_archive_count(a->map.plain, last));
    const s24_status status = s24_archive_drop_before(a, from, err);
    return status == S24_OK ? s24_archive_take_frames(a, from, end, err) : status;
}

/* The header lies there once more, and is the same. */
static s24_status check_copy(const s24_archive *a, uint64_t offset, uint64_t number, uint64_t *end, s24_error *err)
{
    char *copy;
    size_t n;
    const s24_status status = s24_archive_read_header(a->view.behind, offset, number, &copy, &n, end, err);
    if (status != S24_OK) {
        return status;
    }
    const bool same = n == a->map.plain->header_bytes && s24_archive_check(copy, n, 0) == a->hash;
    free(copy);
    return same ? S24_OK : s24_archive_damaged(offset, number, "the header once more, is another one", err);
}

static s24_status view_end(s24_view *view, s24_error *err)
{
    s24_archive *a = (s24_archive *)view;
    if (!s24_archive_streams(a)) {
        uint64_t end;
        const s24_status status = check_copy(a, a->copy, a->frame_count + 1, &end, err);
        return status != S24_OK || end == a->copy_end
            ? status : s24_archive_bad_index(err, end, "does not follow the header's copy");
    }
    assert(a->panels == s24_archive_panels(&a->map)); /* the last ones are the metrics', which have been read */
    a->copy = a->position;
    const s24_status status = check_copy(a, a->copy, a->frame_count + 1, &a->position, err);
    return status == S24_OK ? s24_archive_check_end(a, err) : status;
}

/* ---------------------------------------------------------------- opening, closing */

static void view_close(s24_view *view)
{
    s24_archive *a = (s24_archive *)view;
    s24_archive_free_panels(a);
    s24_bench_clear(&a->table);
    s24_spool_free(&a->held);
    s24_inflate_end(&a->header);
    s24_archive_map_free(&a->map);
    s24_input_close(a->view.behind);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->loaded);
    free(a->frames);
    free(a->checks);
    free(a);
}

/* The header, where it must be, or of a damaged file wherever it is whole. */
static s24_status first_header(s24_archive *a, char **header, size_t *n, s24_error *err)
{
    s24_input *in = a->view.behind;
    unsigned char magic[S24_ARCHIVE_MAGIC_BYTES];
    s24_status status = a->salvage ? s24_input_hold_all(in, err) : S24_OK;
    if (status != S24_OK) {
        return status;
    }
    status = s24_input_read(in, 0, magic, sizeof magic, err);
    if (status == S24_OK && memcmp(magic, S24_ARCHIVE_MAGIC, sizeof magic) != 0) {
        status = s24_fail_at(err, 0, S24_ARCHIVE_DAMAGED "it does not begin as an archive does" S24_ARCHIVE_RECOVER);
    }
    status = status == S24_OK ? s24_archive_read_header(in, sizeof magic, 0, header, n, &a->begin, err) : status;
    return status == S24_ERR_DATA && a->salvage ? s24_archive_find_header(in, header, n, err) : status;
}

s24_status s24_archive_open(s24_source *source, char **header, size_t *header_bytes, s24_error *err)
{
    s24_input *viewed, *in = source->in;
    s24_archive *a = s24_calloc(1, sizeof *a, err);
    if (!a) {
        return S24_ERR_SYSTEM;
    }
    const unsigned threads = source->io->threads ? source->io->threads : s24_threads_available();
    *a = (s24_archive){.view = {.read = view_read, .hold = view_hold, .end = view_end, .close = view_close, .behind = in},
                   .source = source, .salvage = source->options->salvage, .slots_idle = threads + 2};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->loaded, NULL);
    s24_spool_init(&a->held, in->io);
    s24_status status = s24_input_viewed(&viewed, in->io, in->name, &a->view, err);
    if (status != S24_OK) {
        a->view.behind = NULL; /* still the source's */
        view_close(&a->view);
        return status;
    }
    source->in = viewed;
    status = first_header(a, header, header_bytes, err);
    if (status == S24_OK) {
        a->hash = s24_archive_check(*header, *header_bytes, 0);
        a->position = a->begin;
    }
    return status;
}

s24_status s24_archive_begin(s24_source *source, s24_error *err)
{
    s24_archive *a = (s24_archive *)source->in->view;
    s24_status status = s24_archive_map_init(&a->map, s24_plain_of(source), &source->contents, err);
    s24_inflate_begin(&a->header, &s24_plain_of(source)->header);
    if (status == S24_OK && !s24_archive_streams(a)) {
        /* Frames may have moved under a whole index. */
        status = a->salvage ? s24_archive_find_frames(a, err) : s24_archive_load_index(a, err);
    }
    source->in->size = a->map.plain->file_size;
    return status;
}

/* ---------------------------------------------------------------- measuring */

/* The only tensor that a frame has panels of; SIZE_MAX: there are several. */
static size_t only_entry(const s24_archive *a, const s24_archive_span *p)
{
    const size_t first = s24_archive_entry(&a->map, p->first);
    return first == s24_archive_entry(&a->map, p->first + p->panels - 1) ? first : SIZE_MAX;
}

/* With parts all of the frame, otherwise its head and table. */
static s24_status read_account(s24_archive *a, const s24_archive_span *p, s24_bench *bench, bool parts, s24_error *err)
{
    s24_archive_unit units[S24_UNITS_MAX];
    s24_frame frame;
    unsigned version;
    const bool fits = s24_archive_frame_fits(a, p->first, p->panels);
    const uint64_t most = S24_FRAME_HEAD_BYTES + S24_FRAME_LINE_BYTES * (S24_UNITS_MAX + (uint64_t)p->panels) +
                          S24_FRAME_CHECK_BYTES;
    const size_t n = (size_t)(parts || most > p->bytes ? p->bytes : most);
    unsigned char *bytes = fits ? s24_bench_reserve(bench, S24_BENCH_FRAME, n, err) : NULL;
    s24_status status = bytes ? s24_archive_read_coded(a, p, bytes, n, err) : S24_ERR_SYSTEM;
    if (!fits) {
        return s24_archive_damaged(p->offset, p->number, "cannot have what the index says", err);
    }
    if (status == S24_OK && parts) {
        status = s24_archive_check_frame(a, p, bytes, &frame, units, err);
    } else if (status == S24_OK) {
        status = s24_frame_get(&frame, &version, bytes) && s24_archive_head_fits(a, &frame) &&
                 frame.panels == p->panels && frame.first == p->first && s24_frame_bytes(&frame) == p->bytes
            ? s24_archive_check_begin(a, &frame, version, p->number, bytes, p->offset, units, err)
            : s24_archive_damaged(p->offset, p->number, "is not what the index says", err);
    }
    if (status == S24_OK) {
        s24_archive_account(&a->map, &frame, bytes, parts ? bytes + (p->bytes - frame.payload) : NULL,
                            a->source->contents.entries);
    }
    return status;
}

static s24_status account_frame(s24_archive *a, const s24_archive_span *p, s24_bench *bench, bool parts, s24_error *err)
{
    const size_t only = only_entry(a, p);
    if (parts || only == SIZE_MAX) {
        return read_account(a, p, bench, parts, err);
    }
    if (only < a->source->contents.count) {
        a->source->contents.entries[only].coded += p->bytes;
    }
    return S24_OK;
}

static s24_status begin_parts(s24_contents *c, s24_error *err)
{
    for (size_t i = 0; i < c->count; i++) {
        s24_entry *e = &c->entries[i];
        e->parts = s24_calloc(1, sizeof *e->parts, err);
        if (!e->parts) {
            return S24_ERR_SYSTEM;
        }
    }
    return S24_OK;
}

s24_status s24_archive_measure(s24_source *source, bool parts, s24_error *err)
{
    s24_archive *a = (s24_archive *)source->in->view;
    s24_status status = S24_OK;
    if (s24_archive_streams(a)) { /* what frames take is counted as they come */
        const uint64_t metrics = s24_archive_number(&a->map, &a->map.plain->metrics, 0); /* these are read later */
        status = s24_archive_take_frames(a, parts ? 0 : metrics, s24_archive_panels(&a->map), err);
        if (status != S24_OK || !parts) {
            return status;
        }
    }
    status = parts ? begin_parts(&source->contents, err) : S24_OK;
    for (size_t i = 0; i < source->contents.count; i++) {
        source->contents.entries[i].coded = 0;
    }
    s24_bench bench = {0};
    for (size_t k = 0; k < a->frame_count && status == S24_OK; k++) {
        status = s24_io_stopped(source->io, err);
        status = status == S24_OK ? account_frame(a, &a->frames[k], &bench, parts, err) : status;
    }
    s24_bench_clear(&bench);
    return status;
}
