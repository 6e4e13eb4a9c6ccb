/*
 * sparse-24-bitmask, as compressed-tensors wrote it until 2026: the shape, two values a group, a bit an element. The
 * tensor M.weight becomes M.shape, M.compressed and M.bitmask, and that is how its readers find it: they give M.weight
 * back, so that no other name has a place in it.
 */
#include <string.h>

#include "plain.h"
#include "safetensors.h"
#include "sparse.h"

#define PENDING_BYTES 8192
#define WEIGHT_LENGTH (sizeof S24_BITMASK_WEIGHT - 1)

static const char *bitmask_unfit(const s24_entry *e)
{
    const char *const rank = S24_SPARSE_RANK(e->rank, "sparse-24-bitmask");
    if (rank) {
        return rank;
    }
    if (e->axis != 1) {
        return "sparse-24-bitmask has its groups along the last axis";
    }
    if (e->shape[1] % 4) {
        return "sparse-24-bitmask takes columns in multiples of 4";
    }
    if (e->bytes == 0) {
        return "sparse-24-bitmask has no place for an empty tensor";
    }
    return s24_ends_with(e->name, S24_BITMASK_WEIGHT) ? NULL : "sparse-24-bitmask is for names that end in " S24_BITMASK_WEIGHT;
}

static s24_status bitmask_planes(const s24_entry *e, s24_contents *stored, s24_error *err)
{
    const struct {
        const char *suffix;
        s24_dtype dtype;
        size_t shape[2];
    } planes[] = {
        [S24_BITMASK_SHAPE] = {".shape", S24_I64, {2, 1}},
        [S24_BITMASK_VALUES] = {".compressed", e->dtype, {e->shape[0], e->shape[1] / 2}},
        [S24_BITMASK_BITS] = {".bitmask", S24_U8, {e->shape[0], (e->shape[1] + 7) / 8}},
    };
    s24_text name = {0};
    bool ok = true;
    for (size_t p = 0; p < sizeof planes / sizeof *planes && ok; p++) {
        name.length = 0;
        s24_text_add(&name, e->name, strlen(e->name) - WEIGHT_LENGTH);
        s24_text_add(&name, planes[p].suffix, strlen(planes[p].suffix));
        ok = name.failed ? s24_fail_memory(err, 0) == S24_OK
                         : s24_contents_add(stored, name.text, planes[p].dtype, 2, planes[p].shape, err) != NULL;
    }
    s24_text_free(&name);
    return ok ? S24_OK : S24_ERR_SYSTEM;
}

static s24_status flush_bits(s24_sparse *s, s24_error *err)
{
    const s24_status status = s24_sparse_put(s, s->pending_at, s->pending, s->pending_bytes, err);
    s->pending_at += s->pending_bytes;
    s->pending_bytes = 0;
    return status;
}

static s24_status bitmask_begin(s24_sparse *s, s24_error *err)
{
    unsigned char shape[16];
    s24_put_u64(shape, s->entry->shape[0]);
    s24_put_u64(shape + 8, s->entry->shape[1]);
    s->pending = s24_alloc(PENDING_BYTES, err);
    return s->pending ? s24_output_write(s->out, s->planes[S24_BITMASK_SHAPE].offset, shape, sizeof shape, err)
                      : S24_ERR_SYSTEM;
}

/* Two groups a byte; a row begins one. */
static s24_status bitmask_positions(s24_sparse *s, const uint8_t *nibbles, size_t n, s24_error *err)
{
    size_t in_row = s->group % s->row_groups;
    for (size_t g = 0; g < n; g++) {
        const unsigned bits = 1u << (nibbles[g] & 3) | 1u << (nibbles[g] >> 2);
        if (in_row % 2) {
            s->pending[s->pending_bytes - 1] |= (unsigned char)(bits << 4);
        } else {
            if (s->pending_bytes == PENDING_BYTES) {
                const s24_status status = flush_bits(s, err);
                if (status != S24_OK) {
                    return status;
                }
            }
            s->pending[s->pending_bytes++] = (unsigned char)bits;
        }
        in_row = in_row + 1 == s->row_groups ? 0 : in_row + 1;
    }
    return S24_OK;
}

static const s24_sparse_kind kind = {
    .planes = bitmask_planes,
    .plane_count = 3,
    .begin = bitmask_begin,
    .positions = bitmask_positions,
    .end = flush_bits,
};

static s24_status bitmask_expand(const s24_contents *plan, s24_contents *stored, s24_error *err)
{
    return s24_sparse_expand(&kind, plan, stored, err);
}

static s24_status bitmask_create(s24_sink *sink, s24_error *err)
{
    return s24_sparse_create(&kind, sink, err);
}

const s24_format s24_format_bitmask = {
    .name = "sparse-24-bitmask",
    .accepts = s24_safetensors_accepts,
    .unfit = bitmask_unfit,
    .expand = bitmask_expand,
    .create = bitmask_create,
    .write = s24_sparse_write,
    .finish = s24_sparse_finish,
    .abandon = s24_sparse_abandon,
};
