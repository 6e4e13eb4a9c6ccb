/*
 * What is known of a layer's output where a mask alone is chosen, and nothing solved: the norms of its inputs, from
 * activations or a hessian that are read as a stream, and the error that masks make. Nothing of the size of K x K, or of the
 * weights, is kept.
 */
#ifndef S24_FORMATS_OUTPUTS_H
#define S24_FORMATS_OUTPUTS_H

#include "calibration.h"
#include "reading.h"

/* Sums of squares of the inputs as they come, by parts of the samples. */
typedef struct s24_squares {
    size_t inputs;
    uint64_t rows[S24_PARTS]; /* of a hessian, none */
    double *of[S24_PARTS];    /* NULL: nothing is known */
} s24_squares;

/* From activations or a hessian. They are held where they are streams. The caller frees them. */
s24_status s24_squares_read(const s24_matrix *m, s24_second kind, const s24_entry *second, s24_squares *s, s24_error *err);
void s24_squares_free(s24_squares *s);

/*
 * Norms over the parts of a set of bits, in the columns' order, channel by channel: into [2 * inputs], of which half is
 * scratch.
 */
void s24_squares_norms(const s24_matrix *m, const s24_squares *s, unsigned parts, double *norms);

/*
 * Who chooses: of Wanda's masks and of the method's the one for all samples, and the one by those that are not held out.
 * Values are left as they are.
 */
enum { S24_MASK_WANDA, S24_MASK_METHOD, S24_MASKS };

typedef struct s24_masks {
    s24_pruner all[S24_MASKS], fit[S24_MASKS];
    const s24_entry *elements; /* of the method's second input by elements; NULL: none */
    bool same;                 /* the method is Wanda's: there is one of each */
} s24_masks;

/*
 * The errors of their outputs: wanda_* of *error, and training and held_out. The weights are held where they are a stream.
 */
s24_status s24_observe(const s24_matrix *m, s24_second kind, const s24_entry *second, const s24_squares *s,
                       const s24_masks *masks, s24_output_error *error, s24_error *err);

#endif
