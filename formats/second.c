#include "second.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Whether a tensor goes with an entry of so many columns along its axis; taps: of a convolution, otherwise 1. */
typedef bool fitter(const s24_entry *second, const s24_entry *entry, size_t cols, size_t taps);

static bool fits_elements(const s24_entry *s, const s24_entry *e, size_t cols, size_t taps)
{
    (void)cols, (void)taps;
    return s->rank == e->rank && (e->rank == 0 || memcmp(s->shape, e->shape, (size_t)e->rank * sizeof *e->shape) == 0);
}

static bool fits_samples(const s24_entry *s, const s24_entry *e, size_t cols, size_t taps)
{
    (void)e;
    return s->rank >= 2 && s->shape[s->rank - 1] == cols * taps;
}

static bool fits_square(const s24_entry *s, const s24_entry *e, size_t cols, size_t taps)
{
    (void)e;
    return s->rank == 2 && s->shape[0] == cols * taps && s->shape[1] == cols * taps;
}

static bool fits_columns(const s24_entry *s, const s24_entry *e, size_t cols, size_t taps)
{
    (void)e;
    return s->rank == 1 && s->shape[0] == cols * taps;
}

/* In the order in which they decide on a method where none is named. */
static const struct {
    const char *method;
    const char *shape; /* what it must be; NULL: that of the weights */
    fitter *fits;
} kinds[S24_SECONDS] = {
    [S24_GRADIENTS] = {"gradient", NULL, fits_elements},
    [S24_SCORES] = {"scores", NULL, fits_elements},
    [S24_ACTIVATIONS] = {"obs", "samples x K", fits_samples},
    [S24_HESSIAN] = {"obs", "K x K", fits_square},
    [S24_NORMS] = {"wanda", "K", fits_columns},
};

/* ---------------------------------------------------------------- methods */

static const char *default_method(unsigned given)
{
    for (size_t k = 0; k < S24_SECONDS; k++) {
        if (given >> k & 1) {
            return kinds[k].method;
        }
    }
    return "magnitude";
}

/* "--activations or --hessian" */
static void list_kinds(char *out, size_t size, unsigned set)
{
    size_t n = 0;
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        if (set >> k & 1) {
            const char *const join = !n ? "" : set >> (k + 1) ? ", " : " or ";
            n += (size_t)snprintf(out + n, size - n, "%s--%s", join, s24_second_name((s24_second)k));
        }
    }
}

/* A kind that was given in vain. */
static s24_status refuse_kind(unsigned kind, const s24_method *method, s24_error *err)
{
    return s24_fail(err, S24_ERR_USAGE, "--%s is for --method %s; this is --method %s", s24_second_name((s24_second)kind),
                    kinds[kind].method, method->name);
}

s24_status s24_seconds_method(const char *name, const char *const paths[S24_SECONDS], bool refit, bool transposable,
                              const s24_method **method, s24_error *err)
{
    char list[96];
    unsigned given = 0;
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        given |= (paths[k] ? 1u : 0u) << k;
    }
    const bool wanda = transposable && given & ~S24_ELEMENTS;
    const s24_method *const m = s24_method_find(name ? name : wanda ? "wanda" : default_method(given));
    if (!m) {
        return s24_fail(err, S24_ERR_USAGE, "no such method: %s", name);
    }
    list_kinds(list, sizeof list, m->takes);
    if (m->takes && !(given & m->takes)) {
        return s24_fail(err, S24_ERR_USAGE, "--method %s needs %s FILE", m->name, list);
    }
    if (transposable && m != &s24_methods[S24_METHOD_MAGNITUDE] && m != &s24_methods[S24_METHOD_WANDA]) {
        return s24_fail(err, S24_ERR_USAGE, "--transposable goes with --method magnitude and wanda; this is --method %s",
                        m->name);
    }
    if (refit && !(given & S24_PRODUCTS)) {
        return s24_fail(err, S24_ERR_USAGE, "--refit needs --activations or --hessian FILE");
    }
    const unsigned calibration = given & ~S24_ELEMENTS, used = m->takes | S24_PRODUCTS;
    for (unsigned k = 0; k < S24_SECONDS; k++) {
        if (given >> k & 1 && !(used >> k & 1)) {
            return refuse_kind(k, m, err);
        }
    }
    if (calibration & (calibration - 1)) {
        list_kinds(list, sizeof list, calibration);
        return s24_fail(err, S24_ERR_USAGE, "one of %s is enough, not more", list);
    }
    *method = m;
    return S24_OK;
}

s24_second s24_seconds_given(const s24_seconds *seconds, unsigned set)
{
    unsigned k = 0;
    while (k < S24_SECONDS && !(set >> k & 1 && seconds->of[k])) {
        k++;
    }
    return (s24_second)k;
}

/* ---------------------------------------------------------------- files */

s24_status s24_seconds_open(s24_seconds *seconds, const s24_io *io, const char *const paths[S24_SECONDS],
                            const s24_source *weights, const s24_read_options *read, s24_error *err)
{
    static const s24_read_options by_content;
    const bool raw = weights->format == &s24_format_raw;
    for (size_t k = 0; k < S24_SECONDS; k++) {
        if (paths[k]) {
            const s24_status status = s24_source_open(&seconds->of[k], io, paths[k],
                                                      raw && !kinds[k].shape ? read : &by_content, err);
            if (status != S24_OK) {
                return s24_fail_prefix(err, status, "%s: ", paths[k]);
            }
            if (seconds->of[k]->format == &s24_format_s24) {
                return s24_fail(err, S24_ERR_USAGE, "%s: is a .s24 file; --%s takes a dense one", paths[k],
                                s24_second_name((s24_second)k));
            }
        }
    }
    return S24_OK;
}

void s24_seconds_close(s24_seconds *seconds)
{
    for (size_t k = 0; k < S24_SECONDS; k++) {
        s24_source_close(seconds->of[k]);
        seconds->of[k] = NULL;
    }
}

s24_status s24_seconds_expect_end(const s24_seconds *seconds, s24_error *err)
{
    for (size_t k = 0; k < S24_SECONDS; k++) {
        for (size_t i = 0; seconds->of[k] && i < s24_source_files(seconds->of[k]); i++) {
            s24_source *const file = s24_source_file(seconds->of[k], i);
            const s24_status status = s24_source_expect_end(file, err);
            if (status != S24_OK) {
                return s24_fail_prefix(err, status, "%s: ", file->in->name);
            }
        }
    }
    return S24_OK;
}

/* ---------------------------------------------------------------- tensors */

/* Of a convolution pruned along its input channels: places of the kernel. */
static size_t taps_of(const s24_entry *e)
{
    size_t taps = 1;
    for (int d = 2; d < e->rank && e->axis == 1; d++) {
        taps *= e->shape[d]; /* no more than the elements that there are */
    }
    return taps;
}

static void describe_shape(char *out, size_t size, const s24_entry *e)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (int d = 0; d < e->rank && n < size; d++) {
        n += (size_t)snprintf(out + n, size - n, "%s%zu", d ? ", " : "", e->shape[d]);
    }
    if (n < size) {
        snprintf(out + n, size - n, "]");
    }
}

static s24_status misfit(s24_second kind, const s24_entry *s, size_t cols, size_t taps, s24_error *err)
{
    char shape[96], unfolded[64] = "";
    if (!kinds[kind].shape) {
        return s24_fail(err, S24_ERR_DATA, "%s: %s: %s have another shape than the weights", s->in->name, s->name,
                        s24_second_name(kind));
    }
    describe_shape(shape, sizeof shape, s);
    if (taps > 1) {
        snprintf(unfolded, sizeof unfolded, ", or unfolded (im2col) of %zu", cols * taps);
    }
    return s24_fail(err, S24_ERR_DATA, "%s: %s: the shape of the %s, %s, does not fit; it must be %s, of K = %zu inputs%s",
                    s->in->name, s->name, s24_second_name(kind), shape, kinds[kind].shape, cols, unfolded);
}

const s24_entry *s24_seconds_find(const s24_seconds *seconds, s24_second kind, const s24_entry *e, size_t *taps,
                                  s24_error *err)
{
    s24_source *const source = seconds->of[kind];
    const bool lone = !s24_source_is_model(e->source) && source->contents.count == 1;
    const s24_entry *s = lone ? &source->contents.entries[0] : s24_source_find_entry(source, e->name);
    const size_t cols = e->rank ? e->shape[e->axis] : 1, places = taps_of(e);
    if (!s) {
        s24_fail(err, S24_ERR_DATA, *e->name ? "%s: no %s for tensor %s; s24 prune --exclude leaves it out"
                                             : "%s: no %s for an array without a name%s; give a file that has one tensor",
                 source->in->name, s24_second_name(kind), e->name);
        return NULL;
    }
    if (!s24_dtype_prunable(s->dtype)) {
        s24_fail(err, S24_ERR_DATA, "%s: %s: %s of dtype %s are no numbers to score by", s->in->name, s->name,
                 s24_second_name(kind), s24_dtype_name(s->dtype));
        return NULL;
    }
    const bool plain = kinds[kind].fits(s, e, cols, 1), unfolded = !plain && kinds[kind].fits(s, e, cols, places);
    if (!plain && !unfolded) {
        misfit(kind, s, cols, places, err);
        return NULL;
    }
    if (taps) {
        *taps = unfolded ? places : 1;
    }
    return s;
}

const s24_entry *s24_seconds_found(const s24_seconds *seconds, s24_second kind, const s24_entry *e, size_t *taps)
{
    const s24_entry *const s = s24_seconds_find(seconds, kind, e, taps, NULL);
    assert(s);
    return s;
}
