/*
 * Scales: kept values of floats as 8 bits. Everything goes over f64, where all of it but the quotient is exact: the steps of a
 * scale, 7 bits at most, times an f32, and q times an f32, too. The scale is rounded up, so that a quotient never exceeds the
 * steps and nothing has to be clamped; and of several values that are nearly the largest none overflows.
 */
#include "scale.h"

#include <float.h>
#include <math.h>

#include "error.h"

double s24_scale_steps(const s24_dtype_info *to)
{
    return to->kind == S24_KIND_INT ? 127 : s24_decode(to, to->nonfinite_key - 1);
}

s24_status s24_scales_check(const s24_geometry *geometry, size_t scale_group, size_t panel_groups, s24_error *err)
{
    if (scale_group != 0 && scale_group != S24_SCALE_GROUP) {
        return s24_fail(err, S24_ERR_USAGE, "%zu columns cannot share a scale; only %d can, or 0, which is a whole row",
                        scale_group, S24_SCALE_GROUP);
    }
    if (geometry->groups <= panel_groups || (scale_group && panel_groups % (scale_group / 4) == 0)) {
        return S24_OK;
    }
    if (scale_group) {
        return s24_fail(err, S24_ERR_USAGE, "panels of %zu groups would cut %zu columns in two that share a scale; make them a "
                        "multiple of %zu groups", panel_groups, scale_group, scale_group / 4);
    }
    return s24_fail(err, S24_ERR_USAGE, "a row of %zu elements is too long for one scale, which takes up to %zu; "
                    "--group-size %d gives it one for every %d", geometry->cols, 4 * panel_groups, S24_SCALE_GROUP,
                    S24_SCALE_GROUP);
}

bool s24_scale_valid(float scale)
{
    return scale > 0 && scale <= FLT_MAX;
}

bool s24_scales_valid(const void *scales, size_t rows, size_t cols, size_t scale_group, s24_fault *fault)
{
    const size_t row_scales = s24_row_scales(cols, scale_group);
    for (size_t i = 0; i < rows * row_scales; i++) {
        const float scale = s24_load_scale(scales, i);
        if (!s24_scale_valid(scale)) {
            *fault = (s24_fault){.kind = S24_FAULT_SCALE, .row = i / row_scales, .col = i % row_scales * scale_group,
                                 .value = (double)scale};
            return false;
        }
    }
    return true;
}

/* The least f32 whose product with `steps` is not below `most`; infinity: there is none. */
static float find_scale(double steps, double most)
{
    const double quotient = most / steps;
    if (most == 0) {
        return 1;
    }
    if (quotient > FLT_MAX) {
        return INFINITY;
    }
    /* The nearest f32 to the nearest f64 to the true quotient is that least one, or the one below it. */
    const float scale = (float)quotient;
    return steps * (double)scale < most ? nextafterf(scale, INFINITY) : scale;
}

static uint64_t quantize(const s24_dtype_info *to, double x)
{
    bool overflow = false;
    return s24_encode(to, to->kind == S24_KIND_INT ? nearbyint(x) : x, &overflow);
}

/* The greatest magnitude of n values, none of them infinite or NaN. */
static uint64_t largest_key(const s24_pruner *p, const void *values, size_t n)
{
    uint64_t most = 0;
    for (size_t i = p->largest ? p->largest(values, n, &most) : 0; i < n; i++) {
        const uint64_t key = s24_key(p->from, s24_load(values, p->from->bytes, i));
        most = key > most ? key : most;
    }
    return most;
}

/* The first that has it. */
static size_t find_key(const s24_dtype_info *from, const void *values, uint64_t key)
{
    size_t i = 0;
    while (s24_key(from, s24_load(values, from->bytes, i)) != key) {
        i++;
    }
    return i;
}

/* Value i, and what it is stored as. */
static void add_misfit(const s24_dtype_info *from, const s24_dtype_info *to, uint64_t bits, uint64_t stored, float scale,
                       size_t i, s24_lanes *lanes)
{
    const double w = s24_decode(from, bits);
    const double error = fabs(w - s24_decode(to, stored) * (double)scale);
    lanes->kept_zeros += s24_key(to, stored) == 0;
    lanes->negative_zeros += to->kind == S24_KIND_INT && w == 0 && bits != 0;
    lanes->quant_abs[i % S24_LANES] += error;
    lanes->quant_sq[i % S24_LANES] += error * error;
    lanes->max_abs_error = fmax(lanes->max_abs_error, error);
}

bool s24_quantize(const s24_pruner *p, const void *values, size_t n, size_t real, void *q, float *scale, s24_lanes *lanes,
                  size_t *at)
{
    const s24_dtype_info *from = p->from, *to = p->to;
    const uint64_t key = largest_key(p, values, real);
    const double steps = s24_scale_steps(to), most = s24_decode(from, key);
    bool overflow = false;
    *scale = find_scale(steps, most);
    if (most > 0 && isfinite(*scale)) { /* the largest comes back as steps * scale, which is not below it */
        s24_encode(from, steps * (double)*scale, &overflow);
    }
    if (overflow || !isfinite(*scale)) {
        *at = find_key(from, values, key);
        return false;
    }
    for (size_t i = p->quantize ? p->quantize(values, real, *scale, q, lanes) : 0; i < real; i++) {
        const uint64_t bits = s24_load(values, from->bytes, i);
        const uint64_t stored = quantize(to, s24_decode(from, bits) / (double)*scale);
        s24_store(q, to->bytes, i, stored);
        add_misfit(from, to, bits, stored, *scale, i, lanes);
    }
    for (size_t i = real; i < n; i++) {
        s24_store(q, to->bytes, i, 0);
    }
    return true;
}

void s24_add_misfits(const s24_measurer *m, const void *values, const void *q, size_t n, float scale, s24_lanes *lanes)
{
    for (size_t i = m->misfit ? m->misfit(values, q, n, scale, lanes) : 0; i < n; i++) {
        add_misfit(m->from, m->to, s24_load(values, m->from->bytes, i), s24_load(q, m->to->bytes, i), scale, i, lanes);
    }
}
