#define INLINE static inline
#define KERNELS s24_solve_generic
#include "solve_kernels_template.h"

#include "kernels.h"

const s24_solve_kernels *s24_solve_kernels_of(s24_isa cap)
{
#if S24_X86
    const s24_isa isa = s24_isa_detect(cap == S24_ISA_BEST || cap > S24_ISA_AVX512 ? S24_ISA_AVX512 : cap);
    return isa == S24_ISA_AVX512 ? &s24_solve_avx512 : isa == S24_ISA_AVX2 ? &s24_solve_avx2 : &s24_solve_generic;
#else
    (void)cap;
    return &s24_solve_generic;
#endif
}
