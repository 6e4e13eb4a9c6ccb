/*
 * What the machine can do, and which kernel that gives. CPUID says what the processor has, XCR0 what the operating
 * system saves on a context switch: both must agree before a wider register is touched.
 */
#include "kernels.h"

#include <string.h>

#if S24_X86
#include <cpuid.h>
#endif

static const char *const isa_names[] = {
    [S24_ISA_GENERIC] = "generic", [S24_ISA_NEON] = "neon", [S24_ISA_AVX2] = "avx2", [S24_ISA_AVX512] = "avx512",
    [S24_ISA_BEST] = "best",
};

const char *s24_isa_name(s24_isa isa)
{
    return isa_names[isa];
}

bool s24_isa_parse(const char *name, s24_isa *isa)
{
    for (int i = 0; i <= S24_ISA_BEST; i++) {
        if (strcmp(name, isa_names[i]) == 0) {
            *isa = (s24_isa)i;
            return true;
        }
    }
    return false;
}

#if S24_X86

/* XCR0, Intel SDM vol. 1, 13.3: bits 1 and 2 SSE and AVX state; 5 to 7 opmask, upper ZMM0-15, ZMM16-31. */
#define XCR0_AVX 0x6u
#define XCR0_AVX512 0xe6u

#define LEAF1_ECX_AVX2 (bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C | bit_POPCNT)
#define LEAF7_EBX_AVX2 (bit_AVX2 | bit_BMI | bit_BMI2)
#define LEAF7_EBX_AVX512 (bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL)
#define LEAF7_ECX_AVX512 (bit_AVX512VBMI | bit_AVX512VBMI2)

__attribute__((target("xsave"))) static unsigned read_xcr0(void)
{
    return (unsigned)__builtin_ia32_xgetbv(0);
}

static bool all(unsigned word, unsigned bits)
{
    return (word & bits) == bits;
}

static s24_isa machine_isa(void)
{
    unsigned a, b, c, d, ecx1;
    if (!__get_cpuid(1, &a, &b, &ecx1, &d) || !all(ecx1, LEAF1_ECX_AVX2) || !all(read_xcr0(), XCR0_AVX)) {
        return S24_ISA_GENERIC;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !all(b, LEAF7_EBX_AVX2)) {
        return S24_ISA_GENERIC;
    }
    if (all(b, LEAF7_EBX_AVX512) && all(c, LEAF7_ECX_AVX512) && all(read_xcr0(), XCR0_AVX512)) {
        return S24_ISA_AVX512;
    }
    return S24_ISA_AVX2;
}

#elif defined(__aarch64__)

static s24_isa machine_isa(void)
{
    return S24_ISA_NEON; /* part of the architecture */
}

#else

static s24_isa machine_isa(void)
{
    return S24_ISA_GENERIC;
}

#endif

s24_isa s24_isa_detect(s24_isa cap)
{
    const s24_isa machine = cap == S24_ISA_GENERIC ? S24_ISA_GENERIC : machine_isa();
    if (machine <= cap) {
        return machine;
    }
    /* A cap that another family of machines has is no instruction set of this one. */
    return cap == S24_ISA_NEON ? S24_ISA_GENERIC : cap;
}

/* Kernels of one list; a NULL function ends it. */
typedef struct prune_row {
    s24_isa isa;
    s24_dtype from, to;
    s24_prune_kernel *function;
} prune_row;

typedef struct unpack_row {
    s24_isa isa;
    s24_dtype from, to;
    s24_unpack_kernel *function;
} unpack_row;

#define X(isa, from, to, function) {S24_ISA_##isa, S24_##from, S24_##to, function},
static const prune_row prune_rows[] = {S24_PRUNE_KERNELS(X){S24_ISA_GENERIC, S24_F64, S24_F64, NULL}};
static const unpack_row unpack_rows[] = {S24_UNPACK_KERNELS(X){S24_ISA_GENERIC, S24_F64, S24_F64, NULL}};
#undef X

s24_prune_kernel *s24_find_prune_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    const prune_row *best = NULL;
    isa = s24_isa_detect(isa);
    for (const prune_row *row = prune_rows; row->function; row++) {
        if (row->from == from && row->to == to && row->isa <= isa && (!best || row->isa > best->isa)) {
            best = row;
        }
    }
    return best ? best->function : NULL;
}

s24_unpack_kernel *s24_find_unpack_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    const unpack_row *best = NULL;
    isa = s24_isa_detect(isa);
    for (const unpack_row *row = unpack_rows; row->function; row++) {
        if (row->from == from && row->to == to && row->isa <= isa && (!best || row->isa > best->isa)) {
            best = row;
        }
    }
    return best ? best->function : NULL;
}
