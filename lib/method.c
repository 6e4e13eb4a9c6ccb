/*
 * Pruning criteria: a table of scorers. A new criterion is a row and its scorer.
 */
#include <math.h>

#include "panel.h"

/*
 * |w * g|, the first-order change of the loss when w becomes 0 (Molchanov et al. 2019, arXiv 1906.10771). The bits of a
 * non-negative f64 order like its value.
 */
static bool score_gradient(const s24_dtype_info *info, const void *weights, const s24_dtype_info *aux_info,
                           const void *aux, size_t n, uint64_t *keys, size_t *at)
{
    for (size_t i = 0; i < n; i++) {
        const double w = s24_decode(info, s24_load(weights, info->bytes, i));
        const double g = s24_decode(aux_info, s24_load(aux, aux_info->bytes, i));
        if (!isfinite(g)) {
            *at = i;
            return false;
        }
        const double score = fabs(w * g);
        memcpy(&keys[i], &score, sizeof score);
    }
    return true;
}

const s24_method s24_methods[S24_METHODS] = {
    [S24_METHOD_MAGNITUDE] = {.name = "magnitude"},
    [S24_METHOD_GRADIENT] = {.name = "gradient", .score = score_gradient, .takes = 1u << S24_GRADIENTS},
};

const char *s24_second_name(s24_second second)
{
    static const char *const names[S24_SECONDS] = {
        [S24_GRADIENTS] = "gradients", [S24_SCORES] = "scores", [S24_ACTIVATIONS] = "activations",
        [S24_HESSIAN] = "hessian", [S24_NORMS] = "norms",
    };
    return names[second];
}

const s24_method *s24_method_find(const char *name)
{
    for (int i = 0; i < S24_METHODS; i++) {
        if (strcmp(name, s24_methods[i].name) == 0) {
            return &s24_methods[i];
        }
    }
    return NULL;
}
