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

/*
 * The user's own, in their order: of f64 bits, those of positive numbers with the sign set, all bits of negative ones turned
 * around. -0.0 is 0.
 */
static bool score_given(const s24_dtype_info *info, const void *weights, const s24_dtype_info *aux_info, const void *aux,
                        size_t n, uint64_t *keys, size_t *at)
{
    (void)info, (void)weights;
    for (size_t i = 0; i < n; i++) {
        const double score = s24_decode(aux_info, s24_load(aux, aux_info->bytes, i)) + 0.0;
        if (!isfinite(score)) {
            *at = i;
            return false;
        }
        uint64_t bits;
        memcpy(&bits, &score, sizeof bits);
        keys[i] = bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
    }
    return true;
}

#define PRODUCTS (1u << S24_ACTIVATIONS | 1u << S24_HESSIAN)

/* Those that solve know the whole tensor: see solve.h. */
const s24_method s24_methods[S24_METHODS] = {
    [S24_METHOD_MAGNITUDE] = {.name = "magnitude"},
    [S24_METHOD_GRADIENT] = {.name = "gradient", .score = score_gradient, .takes = 1u << S24_GRADIENTS},
    [S24_METHOD_SCORES] = {.name = "scores", .score = score_given, .takes = 1u << S24_SCORES},
    [S24_METHOD_WANDA] = {.name = "wanda", .takes = PRODUCTS | 1u << S24_NORMS, .factors = true},
    [S24_METHOD_RIA] = {.name = "ria", .takes = PRODUCTS | 1u << S24_NORMS, .factors = true},
    [S24_METHOD_SPARSEGPT] = {.name = "sparsegpt", .takes = PRODUCTS, .solves = true},
    [S24_METHOD_OBS] = {.name = "obs", .takes = PRODUCTS, .solves = true},
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
