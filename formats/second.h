/*
 * Second inputs of pruning: files of what a criterion knows besides the weights, as tensors under the weights' names. A
 * lone array goes with a lone one, whatever they are called.
 */
#ifndef S24_FORMATS_SECOND_H
#define S24_FORMATS_SECOND_H

#include "format.h"

typedef struct s24_seconds {
    s24_source *of[S24_SECONDS]; /* NULL: not given */
} s24_seconds;

/*
 * Opens those of paths[S24_SECONDS] that are not NULL. An elementwise one of raw weights is read by `read`, as they are.
 * On failure, too, the caller closes them.
 */
s24_status s24_seconds_open(s24_seconds *seconds, const s24_io *io, const char *const paths[S24_SECONDS],
                            const s24_source *weights, const s24_read_options *read, s24_error *err);
void s24_seconds_close(s24_seconds *seconds);

/* Nothing follows their data. After the last read. */
s24_status s24_seconds_expect_end(const s24_seconds *seconds, s24_error *err);

/*
 * The tensor of that kind that belongs to the entry, whose axis is chosen; its shape fits. NULL: *err says what is wrong. *taps
 * (NULL: not wanted): see below.
 *
 * Calibration is of K inputs a row. A convolution [O, I, ...] pruned along its input channels may have inputs of two kinds:
 * I, one for each channel, which then count for every tap; or I * taps, unfolded (im2col), channel by channel as
 * torch.nn.functional.unfold gives them. *taps is then how many there are, otherwise 1.
 */
const s24_entry *s24_seconds_find(const s24_seconds *seconds, s24_second kind, const s24_entry *entry, size_t *taps,
                                  s24_error *err);

/* The same of an entry that s24_prepare_plan has found it for. */
const s24_entry *s24_seconds_found(const s24_seconds *seconds, s24_second kind, const s24_entry *entry, size_t *taps);

/*
 * The method of that name, or, where that is NULL, what those second inputs are for whose paths are not NULL. S24_ERR_USAGE:
 * there is no such method, or it does not go with what is given. (Activations and hessian go with any: the error of the
 * layer's output is then known.)
 */
s24_status s24_seconds_method(const char *name, const char *const paths[S24_SECONDS], bool refit, bool transposable,
                              const s24_method **method, s24_error *err);

/* Of the kinds in a set of bits the one that is given; S24_SECONDS: none. */
s24_second s24_seconds_given(const s24_seconds *seconds, unsigned kinds);

#define S24_ELEMENTS (1u << S24_GRADIENTS | 1u << S24_SCORES)       /* of the weights' shape */
#define S24_PRODUCTS (1u << S24_ACTIVATIONS | 1u << S24_HESSIAN)    /* what gives X'X */

#endif
