/* PruneMetrics from sums. The definitions are in s24.h; ratios are formed here, when they are wanted, and only here. */
#include <float.h>
#include <math.h>

#include "s24.h"

void s24_sums_add(s24_sums *total, const s24_sums *part)
{
    total->total_count += part->total_count;
    total->pruned_count += part->pruned_count;
    total->zero_count += part->zero_count;
    total->nonfinite_kept += part->nonfinite_kept;
    total->nonfinite_pruned += part->nonfinite_pruned;
    total->negative_zero_count += part->negative_zero_count;
    total->broken_groups += part->broken_groups;
    total->kept_abs += part->kept_abs;
    total->pruned_abs += part->pruned_abs;
    total->kept_sq += part->kept_sq;
    total->pruned_sq += part->pruned_sq;
    total->quant_abs += part->quant_abs;
    total->quant_sq += part->quant_sq;
    total->max_abs_error = fmax(total->max_abs_error, part->max_abs_error);
}

static double mean(double sum, uint64_t count)
{
    return count ? sum / (double)count : NAN;
}

/*
 * ||W - V|| / ||W||: nothing lost is 0, of whatever. Undefined where the squares of f64 values under- or overflow. A square
 * below DBL_MIN is rounded to a multiple of 2^-1074, so that n of them are off by n 2^-1075 at most: half a unit of the last
 * place of n DBL_MIN. A sum that is less may have no digit that is right.
 */
static double relative(const s24_sums *s)
{
    const double error_sq = s->pruned_sq + s->quant_sq, total_sq = s->kept_sq + s->pruned_sq;
    const double least = (double)s->total_count * DBL_MIN;
    if (s->max_abs_error == 0) {
        return 0;
    }
    return error_sq >= least && total_sq >= least && isfinite(error_sq) && isfinite(total_sq) ?
        sqrt(error_sq) / sqrt(total_sq) : NAN;
}

s24_prune_metrics s24_metrics_from_sums(const s24_sums *s)
{
    const uint64_t nonfinite = s->nonfinite_kept + s->nonfinite_pruned;
    const uint64_t kept = s->total_count - s->pruned_count;
    return (s24_prune_metrics){
        .pruned_count = s->pruned_count,
        .total_count = s->total_count,
        .approximation_error = mean(s->pruned_abs + s->quant_abs, s->total_count - nonfinite),
        .kept_magnitude_mean = mean(s->kept_abs, kept - s->nonfinite_kept),
        .pruned_magnitude_mean = mean(s->pruned_abs, s->pruned_count - s->nonfinite_pruned),
        .relative_error = relative(s),
        .max_abs_error = s->max_abs_error,
        .sparsity_percent = mean(100.0 * (double)s->zero_count, s->total_count),
        .nonfinite_count = nonfinite,
        .sums = *s,
    };
}
