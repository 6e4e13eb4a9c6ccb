#include "factors.h"

#include <math.h>

#include "mem.h"

#define JOINED 4096 /* elements: calls of a kernel for fewer show, and 48 KiB of factors stay in a cache */

s24_status s24_factors_init(s24_factors *f, size_t rows, size_t cols, size_t taps, bool sums, s24_error *err)
{
    size_t all, again = 1;
    *f = (s24_factors){.rows = rows, .cols = cols, .taps = taps};
    if (!s24_mul(cols, taps, &all) || !s24_add(all, S24_FACTORS_BEHIND + JOINED, &all)) {
        return s24_fail(err, S24_ERR_USAGE, "rows of %zu elements are too long to be scored", cols);
    }
    if (cols && cols % 16 == 0 && !sums && cols * taps < JOINED) {
        again = JOINED / (cols * taps);
    }
    f->runs = again * taps;
    f->a = s24_calloc(all, sizeof *f->a, err);
    f->near_a = f->a ? s24_calloc(all, sizeof *f->near_a, err) : NULL;
    bool ok = f->near_a;
    if (ok && sums) {
        f->c = s24_calloc(all, sizeof *f->c, err);
        f->near_c = f->c ? s24_calloc(all, sizeof *f->near_c, err) : NULL;
        f->b = f->near_c ? s24_calloc(rows / taps + 1, sizeof *f->b, err) : NULL;
        f->near_b = f->b ? s24_calloc(rows / taps + 1, sizeof *f->near_b, err) : NULL;
        ok = f->near_b;
    }
    if (!ok) {
        s24_factors_free(f);
    }
    return ok ? S24_OK : S24_ERR_SYSTEM;
}

void s24_factors_free(s24_factors *f)
{
    free(f->a);
    free(f->b);
    free(f->c);
    free(f->near_a);
    free(f->near_b);
    free(f->near_c);
    *f = (s24_factors){0};
}

/* The exponents of the least and the greatest of n numbers that are not 0; 0 and 0 where all are. */
typedef struct span {
    int least, greatest;
} span;

static span span_of(const double *x, size_t n)
{
    span s = {INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < n; i++) {
        int e;
        frexp(x[i], &e);
        s.least = x[i] != 0 && e < s.least ? e : s.least;
        s.greatest = x[i] != 0 && e > s.greatest ? e : s.greatest;
    }
    return s.least <= s.greatest ? s : (span){0, 0};
}

static void scale_to(const double *x, size_t n, int exponent, float *near)
{
    for (size_t i = 0; i < n; i++) {
        near[i] = (float)ldexp(x[i], exponent);
    }
}

/*
 * Scaled so that the least factor that is not 0 is at least 1, and so is each of two that are multiplied: then no product
 * with an element that is not 0 is. The greatest are within SPAN bits of that; otherwise there are none.
 */
#define SPAN 80

static void approach(s24_factors *f)
{
    const size_t columns = f->runs * f->cols, rows = f->c ? f->rows / f->taps : 0;
    const span a = span_of(f->a, columns), b = span_of(f->b, rows), c = span_of(f->c, f->c ? columns : 0);
    const int alone = 1 - a.least, together = f->c ? 2 - b.least - c.least : alone;
    const int scale = together > alone ? together : alone, of_b = 1 - b.least, of_c = scale - of_b;
    if (a.greatest + scale > SPAN || (f->c && b.greatest + c.greatest + scale > SPAN)) {
        free(f->near_a);
        f->near_a = NULL;
        return;
    }
    scale_to(f->a, columns, scale, f->near_a);
    scale_to(f->b, rows, of_b, f->near_b);
    scale_to(f->c, f->c ? columns : 0, of_c, f->near_c);
}

void s24_factors_complete(s24_factors *f)
{
    const size_t first = f->taps * f->cols;
    for (size_t i = first; i < f->runs * f->cols; i++) {
        f->a[i] = f->a[i - first];
    }
    approach(f);
}

size_t s24_factors_joined(const s24_factors *f, size_t row, size_t cols, size_t rows)
{
    const size_t left = f->runs - row % f->runs;
    return cols != f->cols || f->c ? 1 : rows < left ? rows : left;
}

s24_row_factors s24_factors_at(const s24_factors *f, size_t row, size_t col)
{
    const size_t at = row % f->runs * f->cols + col;
    s24_row_factors r = {.a = f->a + at, .near_a = f->near_a ? f->near_a + at : NULL};
    if (f->c) {
        r.c = f->c + at;
        r.near_c = f->near_c + at;
        r.b = f->b[row / f->taps];
        r.near_b = f->near_b[row / f->taps];
    }
    return r;
}
