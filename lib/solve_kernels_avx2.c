/* The solvers' kernels as the compiler makes them for AVX2. */
#include "kernels.h"

#if S24_X86

#include "solve_kernels.h"
#include "vector.h"

VECTOR_BEGIN(VECTOR_AVX2)

#define KERNELS s24_solve_avx2
#include "solve_kernels_template.h"

VECTOR_END

#endif
