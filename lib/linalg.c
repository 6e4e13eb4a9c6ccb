#include "linalg.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "threads.h"

/*
 * A tile's edge. Products of 128 x 128 x (what is done already) run near the BLAS's full speed. The work without it, in
 * plain loops of one thread, is the tiles on the diagonal, each factored and inverted: 128^2 n operations, 0.1% of n^3 at
 * n = 4096, which loops that are twenty times slower make 2%. With 256 it was four times that.
 */
#define TILE 128

s24_status s24_cancelled(const s24_compute_env *env, s24_error *err)
{
    if (env->cancel && *env->cancel) {
        return s24_fail(err, S24_ERR_STOPPED, "stopped");
    }
    return S24_OK;
}

void s24_triangle_place(size_t job, size_t *i, size_t *j)
{
    size_t row = (size_t)((sqrt(8 * (double)job + 1) - 1) / 2);
    row -= row * (row + 1) / 2 > job;
    row += (row + 1) * (row + 2) / 2 <= job;
    *i = row;
    *j = job - row * (row + 1) / 2;
}

#define REAL double
#define NAME(x) x
#define TILING tiling
#define GEMM dgemm
#define SQRT sqrt
#include "linalg_template.h"
#undef REAL
#undef NAME
#undef TILING
#undef GEMM
#undef SQRT

#define REAL float
#define NAME(x) x##_f32
#define TILING tiling_f32
#define GEMM sgemm
#define SQRT sqrtf
#include "linalg_template.h"
