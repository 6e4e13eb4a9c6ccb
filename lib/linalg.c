#include "linalg.h"

#include <math.h>
#include <string.h>

#include "mem.h"
#include "threads.h"

/*
 * A tile's edge. Products of 256 x 256 x (what is done already) run near the BLAS's full speed, and the work without
 * it, one tile's own factorization a step, is n / 256 times 256^3 / 3: below 1% of n^3 from n = 4096 on.
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
