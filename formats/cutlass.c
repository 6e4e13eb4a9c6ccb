/*
 * What PyTorch hands to CUTLASS's sparse products: NAME.packed, two values a group, and NAME.meta, the positions as the
 * hardware wants them (layout.h has the order). A row of __metadata__ says that the two belong together.
 */
#include <string.h>

#include "safetensors.h"
#include "sparse.h"

#define DTYPE_REFUSED(id, name, ...) [S24_##id] = name ": the hardware takes f16, bf16 and i8",
static const char *const dtypes_refused[S24_DTYPES] = {S24_DTYPE_TABLE(DTYPE_REFUSED)};

static bool takes(s24_dtype dtype)
{
    return dtype == S24_F16 || dtype == S24_BF16 || dtype == S24_I8;
}

static const char *cutlass_unfit(const s24_entry *e)
{
    const char *const rank = S24_SPARSE_RANK(e->rank, "cutlass");
    const bool wide = e->dtype != S24_I8;
    if (!takes(e->dtype)) {
        return dtypes_refused[e->dtype];
    }
    if (rank) {
        return rank;
    }
    if (e->axis != 1) {
        return "cutlass has its groups along the last axis";
    }
    if (e->bytes == 0) {
        return "cutlass has no place for an empty tensor";
    }
    if (!s24_cutlass_fits(e->shape[0], e->shape[1], wide ? 2 : 1)) {
        return wide ? "cutlass takes 16-bit matrices of 32 rows and 64 columns, and multiples of them"
                    : "cutlass takes i8 matrices of 16 rows and 128 columns, and multiples of them";
    }
    return NULL;
}

static s24_cutlass geometry_of(const s24_entry *e)
{
    return s24_cutlass_of(e->shape[0], e->shape[1], s24_info(e->dtype)->bytes);
}

static s24_status cutlass_planes(const s24_entry *e, s24_contents *stored, s24_error *err)
{
    const s24_cutlass c = geometry_of(e);
    const size_t packed[] = {c.rows, e->shape[1] / 2}, meta[] = {c.rows, c.words};
    s24_text name = {0};
    s24_text_printf(&name, "%s.packed", e->name);
    bool ok = !name.failed && s24_contents_add(stored, name.text, e->dtype, 2, packed, err);
    name.length = 0;
    s24_text_printf(&name, "%s.meta", e->name);
    ok = ok && !name.failed && s24_contents_add(stored, name.text, c.word_bytes == 2 ? S24_I16 : S24_I32, 2, meta, err);
    const bool failed = name.failed;
    s24_text_free(&name);
    return failed ? s24_fail_memory(err, strlen(e->name)) : ok ? S24_OK : S24_ERR_SYSTEM;
}

/* A band's pieces, pair by pair: what is pending. */
static s24_status cutlass_begin(s24_sparse *s, s24_error *err)
{
    const s24_cutlass c = geometry_of(s->entry);
    s->pending_bytes = c.words / 2 * S24_CUTLASS_PIECE;
    s->pending = s24_calloc(s->pending_bytes, 1, err);
    return s->pending ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status flush_band(s24_sparse *s, const s24_cutlass *c, size_t band, s24_error *err)
{
    s24_status status = S24_OK;
    for (size_t pair = 0; pair < c->words / 2 && status == S24_OK; pair++) {
        status = s24_sparse_put(s, s24_cutlass_piece(c, band, pair), s->pending + pair * S24_CUTLASS_PIECE,
                                S24_CUTLASS_PIECE, err);
    }
    memset(s->pending, 0, s->pending_bytes);
    return status;
}

/* Two groups a byte of a word; words are little-endian, so that the first groups' byte is the first. */
static s24_status cutlass_positions(s24_sparse *s, const uint8_t *nibbles, size_t n, s24_error *err)
{
    const s24_cutlass c = geometry_of(s->entry);
    size_t row = s->group / s->row_groups, in_row = s->group % s->row_groups;
    s24_status status = S24_OK;
    for (size_t g = 0; g < n && status == S24_OK;) {
        const size_t word = in_row / c.groups, end = (word + 1) * c.groups;
        unsigned char *const to =
            s->pending + word / 2 * S24_CUTLASS_PIECE + s24_cutlass_in_piece(&c, row, word) * c.word_bytes;
        for (; in_row < end && g < n; in_row++, g++) {
            to[in_row % c.groups / 2] |= (unsigned char)(nibbles[g] << (in_row % 2 * 4));
        }
        if (in_row == s->row_groups) {
            in_row = 0;
            row++;
            status = row % c.band ? S24_OK : flush_band(s, &c, row / c.band - 1, err);
        }
    }
    return status;
}

static const s24_sparse_kind kind = {
    .planes = cutlass_planes,
    .plane_count = 2,
    .mark_key = S24_CUTLASS_KEY,
    .mark_value = S24_CUTLASS_VALUE,
    .begin = cutlass_begin,
    .positions = cutlass_positions,
};

static s24_status cutlass_expand(const s24_contents *plan, s24_contents *stored, s24_error *err)
{
    return s24_sparse_expand(&kind, plan, stored, err);
}

static s24_status cutlass_create(s24_sink *sink, s24_error *err)
{
    return s24_sparse_create(&kind, sink, err);
}

const s24_format s24_format_cutlass = {
    .name = "cutlass",
    .accepts = s24_safetensors_accepts,
    .unfit = cutlass_unfit,
    .expand = cutlass_expand,
    .create = cutlass_create,
    .write = s24_sparse_write,
    .finish = s24_sparse_finish,
    .abandon = s24_sparse_abandon,
};
