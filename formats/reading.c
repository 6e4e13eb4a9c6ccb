#include "reading.h"

#include <math.h>
#include <string.h>

/* Whether all are finite, by their width: a word of activations is looked at in one step. */
static bool all_finite(const s24_dtype_info *info, const unsigned char *data, size_t n)
{
    uint64_t beyond = 0;
#define LOOK(type) \
    for (size_t i = 0; i < n; i++) { \
        type bits; \
        memcpy(&bits, data + i * sizeof bits, sizeof bits); \
        beyond |= (bits & (type)info->magnitude_mask) >= (type)info->nonfinite_key; \
    } \
    return !beyond
    switch (info->kind == S24_KIND_INT ? 0 : info->bytes) {
    case 0: return true;
    case 2: LOOK(uint16_t);
    case 4: LOOK(uint32_t);
    case 8: LOOK(uint64_t);
    default: LOOK(uint8_t);
    }
#undef LOOK
}

s24_status s24_reading_check(const s24_entry *e, const void *data, size_t row, size_t n, size_t cols, s24_error *err)
{
    const s24_dtype_info *const info = s24_info(e->dtype);
    const bool finite = all_finite(info, data, n * cols);
    for (size_t i = 0; i < n * cols && !finite; i++) {
        if (s24_key(info, s24_load(data, info->bytes, i)) >= info->nonfinite_key) {
            const double x = s24_decode(info, s24_load(data, info->bytes, i));
            return s24_fail(err, S24_ERR_DATA, "%s: %s%srow %zu, column %zu is %s: nothing can be fitted to what is not "
                            "finite", e->in->name, e->name, *e->name ? ": " : "", row + i / cols, i % cols,
                            isnan(x) ? "nan" : "infinite");
        }
    }
    return S24_OK;
}

s24_status s24_reading_begin(s24_reading *r, const s24_entry *e, int axis, size_t rows, size_t cols, s24_error *err)
{
    const unsigned bytes = s24_info(e->dtype)->bytes;
    const size_t fit = cols ? S24_READING_ELEMENTS / cols : 1;
    *r = (s24_reading){.entry = e, .axis = axis, .rows = rows, .cols = cols, .chunk = fit < 1 ? 1 : fit < rows ? fit : rows};
    size_t elements, n;
    if (!s24_mul(r->chunk, cols, &elements) || !s24_mul(elements, bytes, &n)) {
        return s24_fail_memory(err, SIZE_MAX);
    }
    r->data = s24_malloc(n, err);
    r->scratch = r->data && s24_entry_transposed(e, axis) ? s24_malloc(n, err) : NULL;
    return r->data && (r->scratch || !s24_entry_transposed(e, axis)) ? s24_source_hold(e, axis, err) : S24_ERR_SYSTEM;
}

void s24_reading_end(s24_reading *r)
{
    free(r->data);
    free(r->scratch);
}

s24_status s24_reading_next(s24_reading *r, size_t row, size_t *n, s24_error *err)
{
    const s24_entry *const e = r->entry;
    *n = r->rows - row < r->chunk ? r->rows - row : r->chunk;
    s24_status status = s24_io_stopped(e->in->io, err);
    status = status == S24_OK ? s24_source_read_rows(e, r->axis, row, *n, 0, r->cols, r->data, r->scratch, err) : status;
    return status == S24_OK ? s24_reading_check(e, r->data, row, *n, r->cols, err) : status;
}

s24_status s24_convert_elements(const s24_entry *e, const void *from, s24_dtype to, void *data, size_t n, s24_error *err)
{
    const s24_status status = s24_dtype_convert(e->dtype, from, to, data, n, NULL, err);
    return s24_fail_prefix(err, status, "%s: %s%s", e->in->name, e->name, *e->name ? ": " : "");
}

/* Which input is input i of the columns' order: channel by channel, all taps of one together. */
static size_t input_at(const s24_matrix *m, size_t i)
{
    return m->order ? (size_t)m->order[i / m->taps] * m->taps + i % m->taps : i;
}

void s24_reorder_inputs(const s24_matrix *m, unsigned bytes, void *rows, size_t n, unsigned char *row)
{
    const size_t inputs = m->cols * m->taps;
    unsigned char *at = rows;
    for (size_t r = 0; m->order && r < n; r++, at += inputs * bytes) {
        for (size_t i = 0; i < inputs; i++) {
            memcpy(row + i * bytes, at + input_at(m, i) * bytes, bytes);
        }
        memcpy(at, row, inputs * bytes);
    }
}

size_t s24_samples_of(const s24_entry *x)
{
    size_t n = 1;
    for (int d = 0; d + 1 < x->rank; d++) {
        n *= x->shape[d];
    }
    return n;
}
