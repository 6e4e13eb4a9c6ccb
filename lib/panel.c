/*
 * The generic kernels: selection, packing, sums, unpacking, an element at a time and for every dtype. They are the
 * specification. An instruction set's kernel, where there is one, does the front of each row, and the code here the
 * rest of it.
 */
#include "panel.h"

#include <math.h>

#include "error.h"
#include "scale.h"

/* ---------------------------------------------------------------- geometry of panels */

s24_panels s24_panels_of(const s24_geometry *geometry, size_t panel_groups)
{
    const size_t groups = geometry->groups;
    s24_panels p = {.rows = geometry->rows, .groups = groups, .rows_per_panel = 1, .runs_per_row = 1,
                    .groups_per_run = groups};
    if (geometry->rows == 0 || groups == 0) {
        return p; /* count = 0 */
    }
    if (groups > panel_groups) {
        p.groups_per_run = panel_groups;
        p.runs_per_row = (groups - 1) / panel_groups + 1;
        p.count = p.rows * p.runs_per_row;
    } else {
        p.rows_per_panel = panel_groups / groups;
        p.count = (p.rows - 1) / p.rows_per_panel + 1;
    }
    return p;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

s24_panel_place s24_panel_at(const s24_panels *p, size_t index)
{
    const size_t row = index / p->runs_per_row * p->rows_per_panel;
    const size_t group = index % p->runs_per_row * p->groups_per_run;
    return (s24_panel_place){.row = row, .rows = min_size(p->rows_per_panel, p->rows - row), .group = group,
                             .groups = min_size(p->groups_per_run, p->groups - group)};
}

size_t s24_place_cols(const s24_panel_place *place, size_t cols)
{
    return min_size(4 * place->groups, cols - 4 * place->group);
}

/* ---------------------------------------------------------------- selection */

/*
 * Which two of four keys are the greatest, as a nibble p0 | p1 << 2, p0 < p1. Of equal keys the lower index wins, so
 * that padding (key 0 at the end) loses against everything.
 */
static unsigned select_two(const uint64_t key[4])
{
    unsigned position[4], kept = 0;
    for (unsigned j = 0; j < 4; j++) {
        unsigned losses = 0;
        for (unsigned i = 0; i < 4; i++) {
            losses += i < j ? key[i] >= key[j] : key[i] > key[j];
        }
        position[kept] = j;
        kept += losses < 2; /* the order is total: exactly two lose less than twice */
    }
    return position[0] | position[1] << 2;
}

/* Two indices, the lower first; not padding, when the group has only n < 4 elements. */
static bool nibble_valid(unsigned nibble)
{
    return (nibble & 3) < nibble >> 2;
}

static unsigned nibble_get(const uint8_t *positions, size_t group)
{
    return positions[group / 2] >> (group % 2 * 4) & 15;
}

/* Groups are set in ascending order; the pad nibble of an odd row's last byte becomes 0. */
static void nibble_set(uint8_t *positions, size_t group, unsigned nibble)
{
    const unsigned low = group % 2 ? positions[group / 2] & 15u : 0;
    positions[group / 2] = (uint8_t)(group % 2 ? low | nibble << 4 : nibble);
}

/* ---------------------------------------------------------------- sums */

/* The four elements of a group as the generic code sees them; what lies beyond the row's end is 0. */
typedef struct group {
    uint64_t bits[4];
    unsigned count; /* real elements */
} group;

static group load_group(const s24_dtype_info *info, const void *row, size_t cols, size_t g)
{
    group q = {.count = (unsigned)min_size(4, cols - 4 * g)};
    for (unsigned i = 0; i < q.count; i++) {
        q.bits[i] = s24_load(row, info->bytes, 4 * g + i);
    }
    return q;
}

/* What the lanes do not hold: finite elements only reach those. */
typedef struct counts {
    uint64_t nonfinite_kept, nonfinite_pruned;
    uint64_t pruned_tail; /* of groups with padding: a mask may keep that, and prune more */
} counts;

/* What was stored of a group: the values, and whether they are of a type that knows no -0.0. */
typedef struct stored {
    double v[2];
    bool unsigned_zero;
} stored;

static void add_kept(const s24_dtype_info *from, uint64_t bits, const stored *kept, size_t i, size_t lane, s24_lanes *lanes,
                     counts *n)
{
    lanes->kept_zeros += kept->v[i] == 0;
    lanes->negative_zeros += kept->unsigned_zero && s24_key(from, bits) == 0 && bits != 0;
    if (s24_key(from, bits) >= from->nonfinite_key) {
        n->nonfinite_kept++;
        return;
    }
    const double w = fabs(s24_decode(from, bits));
    /* 0 where pruning just stored w; but what is measured may be another tensor's, or a solver's, values. */
    const double error = fabs(s24_decode(from, bits) - kept->v[i]);
    lanes->kept_abs[lane] += w;
    lanes->kept_sq[lane] += w * w;
    lanes->quant_abs[lane] += error;
    lanes->quant_sq[lane] += error * error;
    lanes->max_abs_error = fmax(lanes->max_abs_error, error);
}

static void add_pruned(const s24_dtype_info *from, uint64_t bits, size_t lane, s24_lanes *lanes, counts *n)
{
    const uint64_t key = s24_key(from, bits);
    lanes->negative_zeros += key == 0 && bits != 0;
    if (key >= from->nonfinite_key) {
        n->nonfinite_pruned++;
        return;
    }
    const double w = fabs(s24_decode(from, bits));
    lanes->pruned_abs[lane] += w;
    lanes->pruned_sq[lane] += w * w;
    lanes->max_abs_error = fmax(lanes->max_abs_error, w);
}

/* Adds group g of a row: its elements, which two are kept, and what was stored of those. */
static void add_group(const s24_dtype_info *from, const group *q, size_t g, unsigned nibble, const stored *values,
                      s24_lanes *lanes, counts *n)
{
    size_t kept = 0, pruned = 0;
    bool broken = false;
    for (unsigned i = 0; i < q->count; i++) {
        if (i == (nibble & 3) || i == nibble >> 2) {
            add_kept(from, q->bits[i], values, kept, (2 * g + kept) % S24_LANES, lanes, n);
            kept++;
        } else {
            add_pruned(from, q->bits[i], (2 * g + pruned) % S24_LANES, lanes, n);
            broken |= s24_key(from, q->bits[i]) != 0;
            pruned++;
        }
    }
    lanes->broken_groups += broken;
    n->pruned_tail += q->count < 4 ? pruned : 0;
}

/* The tree ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)): what halving a vector again and again gives. */
static double fold(const double lane[S24_LANES])
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static s24_sums fold_lanes(const s24_lanes *lanes, const counts *n, size_t rows, size_t cols)
{
    const size_t pruned = rows * (cols / 4 * 2) + n->pruned_tail;
    return (s24_sums){
        .total_count = rows * cols,
        .pruned_count = pruned,
        .zero_count = pruned + lanes->kept_zeros,
        .nonfinite_kept = n->nonfinite_kept,
        .nonfinite_pruned = n->nonfinite_pruned,
        .negative_zero_count = lanes->negative_zeros,
        .broken_groups = lanes->broken_groups,
        .kept_abs = fold(lanes->kept_abs),
        .pruned_abs = fold(lanes->pruned_abs),
        .kept_sq = fold(lanes->kept_sq),
        .pruned_sq = fold(lanes->pruned_sq),
        .quant_abs = fold(lanes->quant_abs),
        .quant_sq = fold(lanes->quant_sq),
        .max_abs_error = lanes->max_abs_error,
    };
}

/* ---------------------------------------------------------------- pruning */

s24_pruner s24_pruner_of(const s24_method *method, s24_dtype from, s24_dtype to, s24_dtype aux, bool allow_nonfinite,
                         s24_isa isa)
{
    const bool scaled = s24_dtype_scaled(from, to);
    return (s24_pruner){.from = s24_info(from), .to = s24_info(to), .aux = method->score ? s24_info(aux) : NULL,
                        .method = method, .allow_nonfinite = allow_nonfinite && !scaled, .scaled = scaled,
                        .kernel = method->score || method->factors ? NULL
                                                                   : s24_find_prune_kernel(isa, from, scaled ? from : to),
                        .quantize = scaled ? s24_find_quantize_kernel(isa, from, to) : NULL,
                        .largest = scaled ? s24_find_largest_kernel(isa, from) : NULL};
}

void s24_pruner_by(s24_pruner *pruner, const s24_factors *factors, s24_isa isa)
{
    const s24_dtype from = pruner->from->id;
    pruner->factors = factors;
    pruner->scored = s24_find_score_kernel(isa, from, pruner->scaled ? from : pruner->to->id);
}

void s24_pruner_mask(s24_pruner *pruner, s24_isa isa)
{
    pruner->masked = true;
    pruner->kernel = NULL;
    pruner->measure = pruner->from == pruner->to ? s24_find_measure_kernel(isa, pruner->from->id, pruner->to->id) : NULL;
}

static bool set_fault(s24_fault *fault, s24_fault_kind kind, size_t col, double value)
{
    *fault = (s24_fault){.kind = kind, .col = col, .value = value};
    return false;
}

/* What a row has besides its elements, from the first of them on. */
typedef struct beside {
    const void *aux;
    s24_row_factors factors;
} beside;

static void score_by_factors(const s24_pruner *p, const group *q, const s24_row_factors *f, size_t g, uint64_t key[4])
{
    for (unsigned i = 0; i < q->count; i++) {
        const double factor = f->c ? f->a[4 * g + i] + f->b * f->c[4 * g + i] : f->a[4 * g + i];
        const double score = fabs(s24_decode(p->from, q->bits[i])) * factor;
        if (key[i] < p->from->nonfinite_key) {
            memcpy(&key[i], &score, sizeof score);
        } else {
            key[i] = UINT64_MAX;
        }
    }
}

/* The keys of group g; false: an element that is refused. */
static bool group_keys(const s24_pruner *p, const group *q, const beside *row, size_t g, uint64_t key[4],
                       s24_fault *fault)
{
    for (unsigned i = 0; i < 4; i++) {
        key[i] = i < q->count ? s24_key(p->from, q->bits[i]) : 0;
        if (key[i] >= p->from->nonfinite_key && !p->allow_nonfinite) {
            return set_fault(fault, S24_FAULT_NONFINITE, 4 * g + i, s24_decode(p->from, q->bits[i]));
        }
    }
    if (p->factors) {
        score_by_factors(p, q, &row->factors, g, key);
    }
    if (!p->method->score) {
        return true;
    }
    uint64_t weights[4], scores[4] = {0};
    size_t at;
    const unsigned bytes = p->from->bytes;
    for (unsigned i = 0; i < q->count; i++) {
        s24_store(weights, bytes, i, q->bits[i]);
    }
    const unsigned char *aux_group = (const unsigned char *)row->aux + 4 * g * p->aux->bytes;
    if (!p->method->score(p->from, weights, p->aux, aux_group, q->count, scores, &at)) {
        return set_fault(fault, S24_FAULT_AUX_NONFINITE, 4 * g + at, NAN);
    }
    for (unsigned i = 0; i < q->count; i++) {
        key[i] = key[i] >= p->from->nonfinite_key ? UINT64_MAX : scores[i];
    }
    return true;
}

static bool prune_group(const s24_pruner *p, const group *q, const beside *row, size_t g, void *values,
                        uint8_t *positions, s24_lanes *lanes, counts *n, s24_fault *fault)
{
    uint64_t key[4];
    stored kept = {.unsigned_zero = false};
    if (!group_keys(p, q, row, g, key, fault)) {
        return false;
    }
    const unsigned nibble = p->masked ? nibble_get(positions, g) : select_two(key);
    if (p->masked && !nibble_valid(nibble)) {
        return set_fault(fault, S24_FAULT_POSITIONS, 4 * g, 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        const unsigned position = i ? nibble >> 2 : nibble & 3;
        bool overflow = false;
        uint64_t bits = q->bits[position];
        if (p->from != p->to) {
            bits = s24_encode(p->to, s24_decode(p->from, bits), &overflow);
        }
        if (overflow) {
            return set_fault(fault, S24_FAULT_RANGE, 4 * g + position, s24_decode(p->from, q->bits[position]));
        }
        s24_store(values, p->to->bytes, 2 * g + i, bits);
        kept.v[i] = s24_decode(p->to, bits);
    }
    if (!p->masked) {
        nibble_set(positions, g, nibble);
    }
    add_group(p->from, q, g, nibble, &kept, lanes, n);
    return true;
}

static const void *row_of(const void *base, size_t row, size_t elements, unsigned bytes)
{
    return (const unsigned char *)base + row * elements * bytes;
}

/* Groups that are pruned before the tap is told: a multiple of eight, and not so many that their values leave the cache. */
#define PIECE_GROUPS 4096

static size_t groups_of(size_t cols)
{
    return (cols + 3) / 4;
}

/* Tells the tap of values up to `end`, a byte, when there is a piece of them or no more to come. */
static void tell_values(const s24_panel *panel, size_t end, size_t least, size_t *told)
{
    if (panel->tap && end - *told >= least) {
        panel->tap->add(panel->tap->ctx, (unsigned char *)panel->values + *told, end - *told);
        *told = end;
    }
}

/* By a kernel, if there is one: how many of `groups` whole groups, from group g of the row on. */
static size_t prune_whole(const s24_pruner *p, const unsigned char *src, size_t groups, const beside *row, size_t g,
                          unsigned char *values, uint8_t *positions, s24_lanes *lanes)
{
    if (!p->scored) {
        return p->kernel ? p->kernel(src, groups, values, positions, lanes) : 0;
    }
    const s24_row_factors *const f = &row->factors;
    const s24_row_factors from = {.a = f->a + 4 * g, .c = f->c ? f->c + 4 * g : NULL, .b = f->b,
                                  .near_a = f->near_a ? f->near_a + 4 * g : NULL,
                                  .near_c = f->near_c ? f->near_c + 4 * g : NULL, .near_b = f->near_b};
    return p->scored(src, groups, &from, values, positions, lanes);
}

/* Where rows of a panel lie, `count` of them joined to one. */
typedef struct joint {
    size_t row, count;
} joint;

static bool prune_joint(const s24_pruner *p, bool kernels, const s24_panel *panel, joint at, s24_lanes *lanes, counts *n,
                        size_t *told, s24_fault *fault)
{
    const size_t row_groups = groups_of(panel->cols), in = p->from->bytes, out = p->to->bytes;
    const size_t cols = at.count * panel->cols, groups = groups_of(cols), r = at.row;
    const unsigned char *src = row_of(panel->dense, r, panel->cols, p->from->bytes);
    const beside row = {p->aux ? row_of(panel->aux, r, panel->cols, p->aux->bytes) : NULL,
                        p->factors ? s24_factors_at(p->factors, panel->row + r, panel->col) : (s24_row_factors){0}};
    unsigned char *values = (unsigned char *)panel->values + r * 2 * row_groups * out;
    uint8_t *positions = panel->positions + r * ((row_groups + 1) / 2);
    for (size_t g = 0; g < groups;) {
        const size_t end = min_size(groups, g + PIECE_GROUPS), whole = min_size(end, cols / 4) - g;
        g += kernels ? prune_whole(p, src + 4 * g * in, whole, &row, g, values + 2 * g * out, positions + g / 2, lanes) : 0;
        for (; g < end; g++) {
            const group q = load_group(p->from, src, cols, g);
            if (!prune_group(p, &q, &row, g, values, positions, lanes, n, fault)) {
                fault->row = r + fault->col / panel->cols;
                fault->col = fault->col % panel->cols;
                return false;
            }
        }
        tell_values(panel, (r * row_groups + g) * 2 * out, PIECE_GROUPS * 2 * out, told);
    }
    return true;
}

/*
 * One run over all rows, by kernels or without. Where a row is a multiple of 16 elements, rows lie behind one another in
 * every plane and all start at lane 0: they are one long row, and a kernel is called once a piece. With factors that are
 * rows whose factors lie behind one another, too.
 */
static bool prune_rows(const s24_pruner *p, bool kernels, const s24_panel *panel, s24_lanes *lanes, counts *n,
                       s24_fault *fault)
{
    const bool joined = panel->cols % 16 == 0 && panel->cols;
    size_t told = 0;
    for (joint at = {0, 0}; at.row < panel->rows; at.row += at.count) {
        const size_t left = panel->rows - at.row;
        at.count = !joined ? 1 : !p->factors ? left : s24_factors_joined(p->factors, panel->row + at.row, panel->cols, left);
        if (!prune_joint(p, kernels, panel, at, lanes, n, &told, fault)) {
            return false;
        }
    }
    tell_values(panel, panel->rows * groups_of(panel->cols) * 2 * p->to->bytes, 1, &told);
    return true;
}

/* ---------------------------------------------------------------- pruning to a dtype with scales */

static void *scales_of(const s24_panel *panel, size_t scale_group, size_t row)
{
    return (unsigned char *)panel->scales + row * s24_row_scales(panel->cols, scale_group) * sizeof(float);
}

/* Which element value i of a row is. */
static s24_fault scale_fault(size_t row, const uint8_t *positions, size_t i, double value)
{
    const unsigned nibble = nibble_get(positions, i / 2);
    return (s24_fault){.kind = S24_FAULT_SCALE_RANGE, .row = row, .value = value,
                       .col = i / 2 * 4 + (i % 2 ? nibble >> 2 : nibble & 3)};
}

/* How many of a row's kept values are elements: a mask may keep padding of the last group, in its last slots. */
static size_t real_values(const uint8_t *positions, size_t cols)
{
    const size_t groups = groups_of(cols), left = cols - 4 * (groups - 1);
    const unsigned nibble = groups ? nibble_get(positions, groups - 1) : 0;
    return groups == 0 ? 0 : 2 * (groups - 1) + ((nibble & 3) < left) + (nibble >> 2 < left);
}

/* The kept values of a row are in the scratch as they were: finds their scales and stores them. */
static bool quantize_row(const s24_pruner *p, const s24_panel *panel, size_t r, s24_lanes *lanes, s24_fault *fault)
{
    const uint8_t *const positions = panel->positions + r * ((groups_of(panel->cols) + 1) / 2);
    const size_t count = 2 * groups_of(panel->cols), real = real_values(positions, panel->cols);
    const size_t step = p->scale_group ? p->scale_group / 2 : count, in = p->from->bytes, out = p->to->bytes;
    unsigned char *values = (unsigned char *)panel->values + r * count * out, *scales = scales_of(panel, p->scale_group, r);
    for (size_t begin = 0; begin < count; begin += step, scales += sizeof(float)) {
        const unsigned char *src = (const unsigned char *)panel->scratch + begin * in;
        const size_t n = min_size(step, count - begin);
        size_t at;
        float scale;
        if (!s24_quantize(p, src, n, min_size(n, real - begin), values + begin * out, &scale, lanes, &at)) {
            *fault = scale_fault(r, positions, begin + at,
                                 s24_decode(p->from, s24_load(src, p->from->bytes, at)));
            return false;
        }
        memcpy(scales, &scale, sizeof scale);
    }
    return true;
}

/*
 * Row by row: pruned as it is, to the scratch, then quantized from there. What the one adds to the lanes and what the other
 * does are apart, but for the zeros, which are those of the stored values.
 */
static bool prune_scaled(const s24_pruner *p, bool kernels, const s24_panel *panel, s24_lanes *lanes, counts *n,
                         s24_fault *fault)
{
    const size_t groups = groups_of(panel->cols), row_bytes = 2 * groups * p->to->bytes;
    s24_pruner as_it_is = *p;
    size_t told = 0;
    as_it_is.to = p->from;
    for (size_t r = 0; r < panel->rows && !lanes->redo; r++) {
        const s24_panel row = {
            .rows = 1, .cols = panel->cols, .values = panel->scratch,
            .dense = row_of(panel->dense, r, panel->cols, p->from->bytes),
            .aux = p->aux ? row_of(panel->aux, r, panel->cols, p->aux->bytes) : NULL,
            .positions = panel->positions + r * ((groups + 1) / 2),
            .row = panel->row + r, .col = panel->col,
        };
        const uint64_t zeros = lanes->kept_zeros;
        if (!prune_rows(&as_it_is, kernels, &row, lanes, n, fault)) {
            fault->row = r;
            fault->kind = fault->kind == S24_FAULT_NONFINITE ? S24_FAULT_UNSCALED : fault->kind;
            return false;
        }
        lanes->kept_zeros = zeros;
        if (!lanes->redo && !quantize_row(p, panel, r, lanes, fault)) {
            return false;
        }
        tell_values(panel, (r + 1) * row_bytes, PIECE_GROUPS * 2 * p->to->bytes, &told);
    }
    tell_values(panel, panel->rows * row_bytes, 1, &told);
    return true;
}

/* ---------------------------------------------------------------- pruning a panel */

/* The same, and the tap told from the beginning to the end. */
static bool prune_and_tell(const s24_pruner *p, bool kernels, const s24_panel *panel, s24_lanes *lanes, counts *n,
                           s24_fault *fault)
{
    const s24_tap *tap = panel->tap;
    *fault = (s24_fault){.kind = S24_FAULT_NONE};
    if (tap) {
        tap->start(tap->ctx);
    }
    const bool ok = (p->scaled ? prune_scaled : prune_rows)(p, kernels, panel, lanes, n, fault);
    if (ok && tap) {
        tap->add(tap->ctx, panel->positions, panel->rows * ((groups_of(panel->cols) + 1) / 2));
    }
    if (ok && tap && p->scaled) {
        tap->add(tap->ctx, panel->scales, panel->rows * s24_row_scales(panel->cols, p->scale_group) * sizeof(float));
    }
    return ok;
}

/* The kept values of a row, those of padding 0; false: positions that are none. */
static bool pack_row(const void *src, size_t cols, const uint8_t *positions, unsigned bytes, void *values)
{
    bool valid = true;
#define PACK(width) \
    for (size_t g = 0; g < cols / 4; g++) { \
        const unsigned nibble = nibble_get(positions, g); \
        const unsigned char *const four = (const unsigned char *)src + 4 * g * (width); \
        memcpy((unsigned char *)values + 2 * g * (width), four + (nibble & 3) * (width), width); \
        memcpy((unsigned char *)values + (2 * g + 1) * (width), four + (nibble >> 2) * (width), width); \
        valid = valid && nibble_valid(nibble); \
    } \
    break
    switch (bytes) {
    case 1: PACK(1);
    case 2: PACK(2);
    case 4: PACK(4);
    default: PACK(8);
    }
#undef PACK
    for (size_t g = cols / 4, i = 0; 4 * g < cols && i < 2; i++) {
        const unsigned nibble = nibble_get(positions, g);
        const size_t at = 4 * g + (i ? nibble >> 2 : nibble & 3);
        s24_store(values, bytes, 2 * g + i, at < cols ? s24_load(src, bytes, at) : 0);
        valid = valid && nibble_valid(nibble);
    }
    return valid;
}

/*
 * By a mask, values as they are: packed, then measured by a kernel, which gives the sums that pruning would have. False:
 * there is something to refuse, which the generic code names.
 */
static bool prune_by_mask(const s24_pruner *p, const s24_panel *panel, s24_sums *sums)
{
    const s24_measurer measurer = {.from = p->from, .to = p->to, .kernel = p->measure, .as_it_is = p->measure};
    const size_t groups = groups_of(panel->cols), row_positions = (groups + 1) / 2;
    const unsigned bytes = p->from->bytes;
    s24_fault fault;
    bool ok = true;
    for (size_t r = 0; r < panel->rows && ok; r++) {
        ok = pack_row(row_of(panel->dense, r, panel->cols, bytes), panel->cols, panel->positions + r * row_positions, bytes,
                      (unsigned char *)panel->values + r * 2 * groups * bytes);
    }
    ok = ok && s24_measure_panel(&measurer, panel, sums, &fault);
    if (!ok || (!p->allow_nonfinite && sums->nonfinite_kept + sums->nonfinite_pruned)) {
        return false;
    }
    if (panel->tap) {
        panel->tap->start(panel->tap->ctx);
        panel->tap->add(panel->tap->ctx, panel->values, panel->rows * 2 * groups * bytes);
        panel->tap->add(panel->tap->ctx, panel->positions, panel->rows * row_positions);
    }
    return true;
}

bool s24_prune_panel(const s24_pruner *pruner, const s24_panel *panel, s24_sums *sums, s24_fault *fault)
{
    if (pruner->measure && prune_by_mask(pruner, panel, sums)) {
        return true;
    }
    s24_lanes lanes = {0};
    counts n = {0};
    bool ok = prune_and_tell(pruner, true, panel, &lanes, &n, fault);
    if (lanes.redo) {
        lanes = (s24_lanes){0};
        n = (counts){0};
        ok = prune_and_tell(pruner, false, panel, &lanes, &n, fault);
    }
    if (ok) {
        *sums = fold_lanes(&lanes, &n, panel->rows, panel->cols);
    }
    return ok;
}

/* ---------------------------------------------------------------- measuring */

s24_measurer s24_measurer_of(s24_dtype from, s24_dtype to, s24_isa isa)
{
    return (s24_measurer){.from = s24_info(from), .to = s24_info(to), .kernel = s24_find_measure_kernel(isa, from, to),
                          .as_it_is = s24_find_measure_kernel(isa, from, from),
                          .misfit = s24_find_misfit_kernel(isa, from, to)};
}

/* The scale of group g of a row whose scales these are; 1 where there are none. */
static double scale_of(const void *scales, size_t scale_group, size_t g)
{
    return scales ? (double)s24_load_scale(scales, scale_group ? 4 * g / scale_group : 0) : 1;
}

/* Group g of a row; false: its positions are invalid. */
static bool measure_group(const s24_measurer *m, const void *src, size_t cols, size_t g, const void *values,
                          const uint8_t *positions, const void *scales, s24_lanes *lanes, counts *n)
{
    const group q = load_group(m->from, src, cols, g);
    const unsigned nibble = nibble_get(positions, g), bytes = m->to->bytes;
    const double scale = scale_of(scales, m->scale_group, g);
    const stored kept = {
        .v = {s24_decode(m->to, s24_load(values, bytes, 2 * g)) * scale,
              s24_decode(m->to, s24_load(values, bytes, 2 * g + 1)) * scale},
        .unsigned_zero = scales && m->to->kind == S24_KIND_INT,
    };
    if (nibble_valid(nibble)) {
        add_group(m->from, &q, g, nibble, &kept, lanes, n);
        return true;
    }
    return false;
}

#define PIECE_VALUES 1024 /* 8 KiB of f64 */

/* The elements of `groups` whole groups that are kept; how many groups there are up to positions that are none. */
static size_t gather_kept(const s24_dtype_info *info, const void *src, const uint8_t *positions, size_t groups, void *kept)
{
    for (size_t g = 0; g < groups; g++) {
        const unsigned nibble = nibble_get(positions, g);
        if (!nibble_valid(nibble)) {
            return g;
        }
        s24_store(kept, info->bytes, 2 * g, s24_load(src, info->bytes, 4 * g + (nibble & 3)));
        s24_store(kept, info->bytes, 2 * g + 1, s24_load(src, info->bytes, 4 * g + (nibble >> 2)));
    }
    return groups;
}

/*
 * The first groups of a row with scales by kernels, a multiple of four: as if the elements had been kept as they are, and then
 * what is lost besides.
 */
static size_t measure_scaled(const s24_measurer *m, const unsigned char *src, size_t cols, const unsigned char *values,
                             const uint8_t *positions, const void *scales, s24_lanes *lanes)
{
    unsigned char kept[PIECE_VALUES * sizeof(double)];
    const size_t groups = cols / 4 / 4 * 4, run = m->scale_group ? m->scale_group / 4 : groups, in = m->from->bytes;
    size_t done = 0;
    while (m->as_it_is && m->misfit && done < groups) {
        const size_t n = min_size(min_size(run - done % run, PIECE_VALUES / 2), groups - done);
        const uint64_t zeros = lanes->kept_zeros;
        if (gather_kept(m->from, src + 4 * done * in, positions + done / 2, n, kept) < n) {
            break;
        }
        m->as_it_is(src + 4 * done * in, n, kept, positions + done / 2, lanes);
        lanes->kept_zeros = zeros;
        s24_add_misfits(m, kept, values + 2 * done, 2 * n, s24_load_scale(scales, done / run), lanes);
        done += n;
    }
    return done;
}

/* Rows as in prune_rows. */
static bool measure_rows(const s24_measurer *m, s24_measure_kernel *kernel, const s24_panel *panel, s24_lanes *lanes,
                         counts *n, s24_fault *fault)
{
    const bool joined = panel->cols % 16 == 0 && !panel->scales;
    const size_t rows = joined ? 1 : panel->rows;
    const size_t cols = joined ? panel->rows * panel->cols : panel->cols;
    const size_t groups = groups_of(cols);
    for (size_t r = 0; r < rows; r++) {
        const void *src = row_of(panel->dense, r, cols, m->from->bytes);
        const void *values = row_of(panel->values, r, 2 * groups, m->to->bytes);
        const void *scales = panel->scales ? scales_of(panel, m->scale_group, r) : NULL;
        const uint8_t *positions = panel->positions + r * ((groups + 1) / 2);
        size_t g = !kernel ? 0 : scales ? measure_scaled(m, src, cols, values, positions, scales, lanes)
                                        : kernel(src, cols / 4, values, positions, lanes);
        for (; g < groups; g++) {
            if (!measure_group(m, src, cols, g, values, positions, scales, lanes, n)) {
                *fault = (s24_fault){.kind = S24_FAULT_POSITIONS, .row = joined ? 4 * g / panel->cols : r,
                                     .col = joined ? 4 * g % panel->cols : 4 * g};
                return false;
            }
        }
    }
    return true;
}

bool s24_measure_panel(const s24_measurer *measurer, const s24_panel *panel, s24_sums *sums, s24_fault *fault)
{
    s24_lanes lanes = {0};
    counts n = {0};
    *fault = (s24_fault){.kind = S24_FAULT_NONE};
    bool ok = !panel->scales || s24_scales_valid(panel->scales, panel->rows, panel->cols, measurer->scale_group, fault);
    ok = ok && measure_rows(measurer, panel->scales ? measurer->as_it_is : measurer->kernel, panel, &lanes, &n, fault);
    if (ok && lanes.redo) {
        lanes = (s24_lanes){0};
        n = (counts){0};
        ok = measure_rows(measurer, NULL, panel, &lanes, &n, fault);
    }
    if (ok) {
        *sums = fold_lanes(&lanes, &n, panel->rows, panel->cols);
    }
    return ok;
}

uint64_t s24_count_zeros(const s24_dtype_info *info, s24_isa isa, const void *data, size_t n)
{
    s24_zeros_kernel *kernel = s24_find_zeros_kernel(isa, info->id);
    uint64_t zeros = 0;
    for (size_t i = kernel ? kernel(data, n, &zeros) : 0; i < n; i++) {
        zeros += s24_key(info, s24_load(data, info->bytes, i)) == 0;
    }
    return zeros;
}

/* ---------------------------------------------------------------- compliance */

s24_complier s24_complier_of(s24_dtype dtype, s24_isa isa)
{
    return (s24_complier){.info = s24_info(dtype), .kernel = s24_find_comply_kernel(isa, dtype)};
}

static unsigned nonzero_of(const s24_dtype_info *info, const group *q)
{
    unsigned nonzero = 0;
    for (unsigned i = 0; i < q->count; i++) {
        nonzero += s24_key(info, q->bits[i]) != 0;
    }
    return nonzero;
}

uint64_t s24_broken_groups(const s24_complier *complier, size_t rows, size_t cols, const void *dense)
{
    const s24_dtype_info *info = complier->info;
    const bool joined = cols % 4 == 0; /* whole groups: rows behind one another are one long row */
    const size_t run_rows = joined ? 1 : rows, run_cols = joined ? rows * cols : cols;
    uint64_t broken = 0;
    for (size_t r = 0; r < run_rows; r++) {
        const void *row = row_of(dense, r, run_cols, info->bytes);
        size_t g = complier->kernel ? complier->kernel(row, run_cols / 4, &broken) : 0;
        for (; 4 * g < run_cols; g++) {
            const group q = load_group(info, row, run_cols, g);
            broken += nonzero_of(info, &q) > 2;
        }
    }
    return broken;
}

bool s24_find_broken_group(s24_dtype dtype, size_t rows, size_t cols, const void *dense, s24_broken_group *first)
{
    const s24_dtype_info *info = s24_info(dtype);
    for (size_t r = 0; r < rows; r++) {
        const void *row = row_of(dense, r, cols, info->bytes);
        for (size_t g = 0; 4 * g < cols; g++) {
            const group q = load_group(info, row, cols, g);
            const unsigned nonzero = nonzero_of(info, &q);
            if (nonzero > 2) {
                *first = (s24_broken_group){.row = r, .group = g, .nonzero = nonzero, .elements = q.count};
                return true;
            }
        }
    }
    return false;
}

/* ---------------------------------------------------------------- unpacking */

s24_unpacker s24_unpacker_of(s24_dtype from, s24_dtype to, s24_isa isa)
{
    return (s24_unpacker){.from = s24_info(from), .to = s24_info(to), .kernel = s24_find_unpack_kernel(isa, from, to),
                          .expand = s24_find_unpack_kernel(isa, to, to),
                          .dequantize = s24_find_dequantize_kernel(isa, from, to)};
}

static bool unpack_group(const s24_unpacker *u, const void *values, unsigned nibble, const void *scales, size_t g,
                         unsigned count, void *dst, s24_fault *fault)
{
    if (!nibble_valid(nibble)) {
        return set_fault(fault, S24_FAULT_POSITIONS, 4 * g, 0);
    }
    uint64_t dense[4] = {0};
    for (unsigned i = 0; i < 2; i++) {
        const unsigned position = i ? nibble >> 2 : nibble & 3;
        bool overflow = false;
        dense[position] = s24_load(values, u->from->bytes, 2 * g + i);
        if (u->from != u->to) {
            const double x = s24_decode(u->from, dense[position]) * scale_of(scales, u->scale_group, g);
            dense[position] = s24_encode(u->to, x, &overflow);
            if (overflow) {
                return set_fault(fault, S24_FAULT_RANGE, 4 * g + position, x);
            }
        }
    }
    for (unsigned i = 0; i < count; i++) {
        s24_store(dst, u->to->bytes, 4 * g + i, dense[i]);
    }
    return true;
}

/* By kernels, as far as they come: how many groups of a row with scales, an even number. */
static size_t unpack_scaled(const s24_unpacker *u, const unsigned char *values, const uint8_t *positions, const void *scales,
                            size_t cols, unsigned char *row)
{
    unsigned char piece[PIECE_VALUES * sizeof(double)];
    const size_t count = cols / 4 * 2, run = u->scale_group ? u->scale_group / 2 : count;
    size_t done = 0;
    while (u->dequantize && u->expand && done < count) {
        const size_t left = run - done % run, n = min_size(min_size(left, PIECE_VALUES), count - done);
        const float scale = s24_load_scale(scales, done / run);
        const size_t groups = u->dequantize(values + done, n, scale, piece) / 2;
        const size_t expanded = u->expand(piece, positions + done / 4, groups, row + 2 * done * u->to->bytes);
        done += 2 * expanded;
        if (2 * expanded < n) {
            break;
        }
    }
    return done / 2;
}

bool s24_unpack_panel(const s24_unpacker *u, size_t rows, size_t cols, const void *values, const uint8_t *positions,
                      const void *scales, void *dst, s24_fault *fault)
{
    /* Whole bytes of positions: rows lie behind one another in every plane. */
    const bool joined = cols % 8 == 0 && !scales;
    const size_t run_cols = joined ? rows * cols : cols;
    const size_t groups = groups_of(run_cols), row_scales = s24_row_scales(cols, u->scale_group);
    *fault = (s24_fault){.kind = S24_FAULT_NONE};
    if (scales && !s24_scales_valid(scales, rows, cols, u->scale_group, fault)) {
        return false;
    }
    for (size_t r = 0; r < (joined ? 1 : rows); r++) {
        const void *row_values = row_of(values, r, 2 * groups, u->from->bytes);
        const uint8_t *row_positions = positions + r * ((groups + 1) / 2);
        const void *row_scale = scales ? (const unsigned char *)scales + r * row_scales * sizeof(float) : NULL;
        void *row = (unsigned char *)dst + r * run_cols * u->to->bytes;
        size_t g = scales ? unpack_scaled(u, row_values, row_positions, row_scale, cols, row)
                 : u->kernel ? u->kernel(row_values, row_positions, run_cols / 4, row) : 0;
        for (; g < groups; g++) {
            const unsigned count = (unsigned)min_size(4, run_cols - 4 * g);
            if (!unpack_group(u, row_values, nibble_get(row_positions, g), row_scale, g, count, row, fault)) {
                fault->row = joined ? fault->col / cols : r;
                fault->col = joined ? fault->col % cols : fault->col;
                return false;
            }
        }
    }
    return true;
}
