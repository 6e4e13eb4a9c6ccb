/* One tensor between a file and memory: for programs that compute with it. */
#include <assert.h>
#include <string.h>

#include "plain.h"

static const s24_io quiet_io;

static const s24_entry *find_entry(s24_source *source, const char *name, s24_error *err)
{
    const s24_contents *c = &source->contents;
    if (!name && c->count == 1) {
        return &c->entries[0];
    }
    const s24_entry *e = name ? s24_source_find_entry(source, name) : NULL;
    if (e) {
        return e;
    }
    if (name) {
        s24_fail(err, S24_ERR_USAGE, "no tensor %s in it", name);
    } else {
        s24_fail(err, S24_ERR_USAGE, "has %zu tensors; --tensor says which", c->count);
    }
    return NULL;
}

/* Between the planes of a tensor in memory, each whole, and those of a panel, behind one another. */
static void copy_panel(const s24_entry *e, const s24_panel_place *place, const s24_tensor *t, unsigned char *panel, bool load)
{
    unsigned char *const whole[S24_PLANES] = {[S24_VALUES] = t->values, [S24_POSITIONS] = t->positions,
                                              [S24_SCALES] = (unsigned char *)t->scales};
    const s24_plain_place p = s24_plain_panel_place(e, place);
    for (int k = 0; k < S24_PLANES; panel += p.plane[k++].bytes) {
        if (p.plane[k].bytes) {
            assert(whole[k]); /* scales, too: it has them as the entry does */
            unsigned char *part = whole[k] + (p.plane[k].at - s24_plain_offset(e, k));
            memcpy(load ? part : panel, load ? panel : part, p.plane[k].bytes);
        }
    }
}

static s24_status load_panels(const s24_entry *e, s24_tensor *t, s24_error *err)
{
    const s24_panels panels = s24_plain_panels(s24_plain_of(e->source), e);
    s24_checks checks;
    s24_status status = s24_plain_begin(e, &checks, err);
    unsigned char *planes = s24_alloc(s24_plain_panel_bytes(e, &panels), err);
    status = planes ? status : S24_ERR_SYSTEM;
    for (size_t i = 0; i < panels.count && status == S24_OK; i++) {
        const s24_panel_place place = s24_panel_at(&panels, i);
        s24_fault fault;
        bool damaged;
        status = s24_plain_read_panel(e, &checks, i, planes, &damaged, err);
        if (status == S24_OK && !s24_plain_canonical(e, &place, planes, &fault)) {
            status = s24_fault_report(&fault, &place, e->rank, e->shape, e->axis, "", err);
        }
        if (status == S24_OK) {
            copy_panel(e, &place, t, planes, true);
        }
    }
    status = status == S24_OK ? s24_tensor_set_permutation(t, checks.permutation, err) : status;
    free(planes);
    s24_checks_free(&checks);
    return status;
}

static s24_status load_entry(const s24_entry *e, s24_tensor **tensor, s24_error *err)
{
    s24_tensor *t;
    s24_status status = e->scaled
        ? s24_tensor_new_scaled(&t, e->stored, e->scale_group, e->rank, e->shape, e->axis, err)
        : s24_tensor_new(&t, e->stored, e->rank, e->shape, e->axis, err);
    if (status != S24_OK) {
        return status;
    }
    t->source_dtype = e->dtype;
    status = load_panels(e, t, err);
    if (status != S24_OK) {
        s24_tensor_free(t);
        return status;
    }
    *tensor = t;
    return S24_OK;
}

s24_status s24_tensor_load(const char *path, const char *name, s24_tensor **tensor, s24_prune_metrics *metrics,
                           s24_error *err)
{
    s24_source *source;
    s24_tensor *t = NULL;
    s24_status status = s24_source_open(&source, &quiet_io, path, NULL, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", path);
    }
    const s24_entry *e = find_entry(source, name, err);
    if (!e) {
        status = S24_ERR_USAGE;
    } else if (source->format != &s24_format_s24 || !e->packed) {
        status = s24_fail(err, S24_ERR_USAGE, "%s%sis not pruned; s24 prune makes a .s24 whose tensors are", e->name, *e->name ? " " : "");
    } else {
        status = load_entry(e, &t, err);
    }
    status = status == S24_OK ? s24_plain_end(e->source, err) : status;
    if (status == S24_OK) {
        const s24_prune_metrics m = s24_metrics_from_sums(&e->pruned->sums);
        t->sparsity_percent = e->pruned->sums.total_count ? m.sparsity_percent : 0;
        *tensor = t;
        if (metrics) {
            *metrics = m;
        }
    } else {
        s24_tensor_free(t);
    }
    s24_source_close(source);
    return s24_fail_prefix(err, status, "%s: ", path);
}

/* ---------------------------------------------------------------- dense */

void s24_array_free(s24_array *array)
{
    free(array->data);
    *array = (s24_array){0};
}

/* Messages name the file already. */
static s24_status load_dense(const s24_entry *e, void *data, s24_error *err)
{
    s24_geometry g;
    const int last = e->rank ? e->rank - 1 : 0;
    if (s24_info(e->dtype)->bytes == 0) { /* elements that are no whole bytes are in C order wherever they come from */
        const s24_status read = s24_input_read(e->in, e->offset, data, (size_t)e->bytes, err);
        return s24_fail_prefix(err, read, "%s: ", e->in->name);
    }
    const s24_status status = s24_geometry_init(&g, S24_F64, e->rank, e->shape, last, NULL, err);
    if (status != S24_OK || e->bytes == 0) {
        return status;
    }
    void *scratch = s24_alloc(s24_entry_transposed(e, last) ? (size_t)e->bytes : 0, err);
    const s24_status read = scratch ? s24_source_read_rows(e, last, 0, g.rows, 0, g.cols, data, scratch, err)
                                    : S24_ERR_SYSTEM;
    free(scratch);
    return read;
}

static s24_status load_carried(const s24_entry *e, void *data, s24_error *err)
{
    const s24_plain *plain = s24_plain_of(e->source);
    s24_checks checks;
    s24_status status = s24_plain_begin(e, &checks, err);
    for (size_t i = 0; i < s24_plain_carried_panels(plain, e) && status == S24_OK; i++) {
        size_t n;
        bool damaged;
        status = s24_plain_read_carried(e, &checks, i, (unsigned char *)data + i * plain->panel_bytes, &n, &damaged, err);
    }
    s24_checks_free(&checks);
    return status;
}

static s24_status load_unpacked(const s24_entry *e, void *data, s24_error *err)
{
    s24_tensor *t;
    s24_status status = load_entry(e, &t, err);
    if (status == S24_OK) {
        status = s24_decompress(t, e->dtype, data, err);
        s24_tensor_free(t);
    }
    return status;
}

s24_status s24_array_load(const char *path, const char *name, s24_array *array, s24_error *err)
{
    s24_source *source;
    s24_status status = s24_source_open(&source, &quiet_io, path, NULL, err);
    if (status != S24_OK) {
        return s24_fail_prefix(err, status, "%s: ", path);
    }
    const s24_entry *e = find_entry(source, name, err);
    uint64_t bytes = 0;
    void *data = NULL;
    bool dense = false;
    status = e ? s24_dense_bytes(e->dtype, e->rank, e->shape, &bytes, err) : S24_ERR_USAGE;
    if (status == S24_OK && source->format != &s24_format_s24 && bytes > e->in->size) {
        status = s24_fail(err, S24_ERR_DATA, "is shorter than its header says"); /* before that much is allocated */
    }
    if (status == S24_OK) {
        data = s24_alloc((size_t)bytes, err);
        dense = source->format != &s24_format_s24;
        status = !data ? S24_ERR_SYSTEM : dense ? load_dense(e, data, err)
                 : e->packed ? load_unpacked(e, data, err) : load_carried(e, data, err);
    }
    if (status == S24_OK) {
        *array = (s24_array){.data = data, .dtype = e->dtype, .rank = e->rank};
        memcpy(array->shape, e->shape, (size_t)e->rank * sizeof *e->shape);
    } else {
        free(data);
    }
    s24_source_close(source);
    return dense ? status : s24_fail_prefix(err, status, "%s: ", path);
}

/* ---------------------------------------------------------------- writing */

static s24_status plan_tensor(s24_plain *plain, const char *name, const s24_tensor *t, const char *method,
                              const s24_prune_metrics *metrics, s24_error *err)
{
    s24_plain_init(plain);
    plain->tool = strdup("s24 " S24_VERSION);
    plain->container = strdup("npy");
    s24_entry *e = s24_contents_add(&plain->contents, name ? name : S24_NAMELESS, t->source_dtype, t->rank, t->shape, err);
    if (!e) {
        return S24_ERR_SYSTEM;
    }
    e->stored = t->dtype;
    e->scaled = t->scales != NULL;
    e->scale_group = (uint16_t)t->scale_group;
    e->permuted = t->permutation != NULL;
    const s24_status status = s24_entry_pack(e, t->axis, err);
    if (status != S24_OK) {
        return status;
    }
    if (t->permutation) {
        const size_t cols = t->geometry.cols;
        e->pruned->permutation = s24_calloc(cols, sizeof *t->permutation, err);
        if (!e->pruned->permutation) {
            return S24_ERR_SYSTEM;
        }
        memcpy(e->pruned->permutation, t->permutation, cols * sizeof *t->permutation);
    }
    e->pruned->sums = metrics->sums;
    e->method = s24_shared_text(method, err);
    return e->method && plain->tool && plain->container ? S24_OK : s24_fail_memory(err, 0);
}

static s24_status save_panels(s24_plain_writer *w, const s24_tensor *t, s24_error *err)
{
    const s24_entry *e = &w->plain.contents.entries[0];
    const s24_panels panels = s24_plain_panels(&w->plain, e);
    unsigned char *planes = s24_alloc(s24_plain_panel_bytes(e, &panels), err);
    s24_status status = planes ? s24_plain_writer_begin(w, e, err) : S24_ERR_SYSTEM;
    for (size_t i = 0; i < panels.count && status == S24_OK; i++) {
        const s24_panel_place place = s24_panel_at(&panels, i);
        copy_panel(e, &place, t, planes, false);
        status = s24_plain_writer_panel(w, e, i, planes, s24_plain_writer_check(w, e, i, planes), err);
    }
    free(planes);
    return status == S24_OK ? s24_plain_writer_end(w, e, err) : status;
}

s24_status s24_tensor_save(const char *path, const char *name, const s24_tensor *tensor, const char *method,
                           const s24_prune_metrics *metrics, s24_error *err)
{
    s24_plain plain;
    s24_output *out = NULL;
    s24_plain_writer *writer;
    s24_status status = plan_tensor(&plain, name, tensor, method, metrics, err);
    status = status == S24_OK ? s24_output_open(&out, &quiet_io, path, NULL, 0, err) : status;
    if (status != S24_OK) {
        s24_plain_free(&plain);
        return s24_fail_prefix(err, status, "%s: ", path);
    }
    status = s24_plain_writer_open(&writer, &plain, NULL, out, err);
    if (status == S24_OK) {
        status = save_panels(writer, tensor, err);
        if (status == S24_OK) {
            status = s24_plain_writer_commit(writer, err);
        } else {
            s24_plain_writer_abort(writer);
        }
    }
    return s24_fail_prefix(err, status, "%s: ", path);
}
