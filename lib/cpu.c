#define _GNU_SOURCE /* syscall */
/*
 * What the machine can do, and which kernel that gives. CPUID says what the processor has, XCR0 what the operating
 * system saves on a context switch: both must agree before a wider register is touched.
 */
#include "kernels.h"

#include <string.h>

#if S24_X86 && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const isa_names[] = {
    [S24_ISA_BEST] = "best", [S24_ISA_GENERIC] = "generic", [S24_ISA_NEON] = "neon", [S24_ISA_AVX2] = "avx2",
    [S24_ISA_AVX512] = "avx512", [S24_ISA_AMX] = "amx",
};

const char *s24_isa_name(s24_isa isa)
{
    return isa_names[isa];
}

bool s24_isa_parse(const char *name, s24_isa *isa)
{
    for (int i = 0; i < S24_ISAS; i++) {
        if (strcmp(name, isa_names[i]) == 0) {
            *isa = (s24_isa)i;
            return true;
        }
    }
    return false;
}

#if S24_X86

/*
 * The compiler's run-time library asks CPUID and XCR0 once, when the program is loaded. That matters: in a virtual machine
 * each CPUID traps, which made 20 us of what is now a load. It has no word for F16C (clang 14); every processor with
 * AVX2 has it. Keep equal to VECTOR_AVX2 and VECTOR_AVX512 in vector.h.
 */
#define HAS(feature) __builtin_cpu_supports(feature)

/*
 * AMX registers are 8 KiB that Linux keeps for those processes only that asked for them: arch_prctl(2), and
 * Documentation/arch/x86/xstate.rst of the kernel, with the numbers (no header of glibc 2.36 has them). A kernel without
 * these calls does not save the registers at all.
 */
#ifdef __linux__
#define ARCH_GET_XCOMP_SUPP 0x1021
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

static bool kernel_has_tiles(void)
{
    uint64_t features = 0;
    return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &features) == 0 && features >> XFEATURE_XTILEDATA & 1;
}

bool s24_amx_permitted(void)
{
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* clang 14 cannot ask its run-time library for AMX. The kernels below need none, and do not come here. */
static bool machine_has_amx(void)
{
#ifdef __clang__
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & d >> 24 & d >> 25 & 1 && kernel_has_tiles();
#else
    return HAS("amx-tile") && HAS("amx-bf16") && HAS("amx-int8") && kernel_has_tiles();
#endif
}
#else
static bool machine_has_amx(void)
{
    return false;
}

bool s24_amx_permitted(void)
{
    return false;
}
#endif

/* The best but AMX. */
static s24_isa machine_isa(void)
{
    __builtin_cpu_init();
    if (!HAS("avx2") || !HAS("fma") || !HAS("bmi") || !HAS("bmi2") || !HAS("popcnt")) {
        return S24_ISA_GENERIC;
    }
    return HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl") && HAS("avx512vbmi") &&
                   HAS("avx512vbmi2") && HAS("avx512vnni")
               ? S24_ISA_AVX512
               : S24_ISA_AVX2;
}

#elif S24_ARM64

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

#if !S24_X86

static bool machine_has_amx(void)
{
    return false;
}

bool s24_amx_permitted(void)
{
    return false;
}

#endif

s24_isa s24_isa_detect(s24_isa cap)
{
    s24_isa machine = machine_isa();
    if (machine == S24_ISA_AVX512 && (cap == S24_ISA_BEST || cap >= S24_ISA_AMX) && machine_has_amx()) {
        machine = S24_ISA_AMX;
    }
    if (cap == S24_ISA_BEST || machine <= cap) {
        return machine;
    }
    /* A cap that another family of machines has is no instruction set of this one. */
    return cap == S24_ISA_NEON ? S24_ISA_GENERIC : cap;
}

/* Kernels of one list, the best first; a NULL function ends it. What a function takes depends on the list. */
typedef void any_kernel(void);
typedef struct kernel_row {
    s24_isa isa;
    s24_dtype from, to;
    any_kernel *function;
} kernel_row;

#define ROW(isa, from, to, function) {S24_ISA_##isa, S24_##from, S24_##to, (any_kernel *)function},
#define ROW_OF_ONE(isa, dtype, function) ROW(isa, dtype, dtype, function)
#define END {S24_ISA_GENERIC, S24_F64, S24_F64, NULL}
static const kernel_row prune_rows[] = {S24_PRUNE_KERNELS(ROW) END};
static const kernel_row score_rows[] = {S24_SCORE_KERNELS(ROW) END};
static const kernel_row unpack_rows[] = {S24_UNPACK_KERNELS(ROW) END};
static const kernel_row zeros_rows[] = {S24_ZEROS_KERNELS(ROW_OF_ONE) END};
static const kernel_row measure_rows[] = {S24_MEASURE_KERNELS(ROW) END};
static const kernel_row blocks_rows[] = {S24_BLOCKS_KERNELS(ROW_OF_ONE) END};
static const kernel_row quantize_rows[] = {S24_QUANTIZE_KERNELS(ROW) END};
static const kernel_row misfit_rows[] = {S24_MISFIT_KERNELS(ROW) END};
static const kernel_row dequantize_rows[] = {S24_DEQUANTIZE_KERNELS(ROW) END};
static const kernel_row largest_rows[] = {S24_LARGEST_KERNELS(ROW_OF_ONE) END};
static const kernel_row comply_rows[] = {S24_COMPLY_KERNELS(ROW_OF_ONE) END};

static any_kernel *find(const kernel_row *rows, s24_isa isa, s24_dtype from, s24_dtype to)
{
    isa = s24_isa_detect(isa == S24_ISA_BEST || isa > S24_ISA_AVX512 ? S24_ISA_AVX512 : isa);
    while (rows->function && (rows->from != from || rows->to != to || rows->isa > isa)) {
        rows++;
    }
    return rows->function;
}

s24_prune_kernel *s24_find_prune_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_prune_kernel *)find(prune_rows, isa, from, to);
}

s24_score_kernel *s24_find_score_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_score_kernel *)find(score_rows, isa, from, to);
}

s24_unpack_kernel *s24_find_unpack_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_unpack_kernel *)find(unpack_rows, isa, from, to);
}

s24_quantize_kernel *s24_find_quantize_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_quantize_kernel *)find(quantize_rows, isa, from, to);
}

s24_misfit_kernel *s24_find_misfit_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_misfit_kernel *)find(misfit_rows, isa, from, to);
}

s24_dequantize_kernel *s24_find_dequantize_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_dequantize_kernel *)find(dequantize_rows, isa, from, to);
}

s24_largest_kernel *s24_find_largest_kernel(s24_isa isa, s24_dtype dtype)
{
    return (s24_largest_kernel *)find(largest_rows, isa, dtype, dtype);
}

s24_comply_kernel *s24_find_comply_kernel(s24_isa isa, s24_dtype dtype)
{
    return (s24_comply_kernel *)find(comply_rows, isa, dtype, dtype);
}

s24_zeros_kernel *s24_find_zeros_kernel(s24_isa isa, s24_dtype dtype)
{
    return (s24_zeros_kernel *)find(zeros_rows, isa, dtype, dtype);
}

s24_measure_kernel *s24_find_measure_kernel(s24_isa isa, s24_dtype from, s24_dtype to)
{
    return (s24_measure_kernel *)find(measure_rows, isa, from, to);
}

s24_blocks_kernel *s24_find_blocks_kernel(s24_isa isa)
{
    return (s24_blocks_kernel *)find(blocks_rows, isa, S24_F64, S24_F64);
}

typedef struct columns_row {
    s24_isa isa;
    const s24_columns_kernel *table;
} columns_row;

const s24_columns_kernel *s24_find_columns_kernel(s24_isa isa)
{
#define COLUMNS_ROW(isa_, table_) {S24_ISA_##isa_, &table_},
    static const columns_row rows[] = {S24_COLUMNS_KERNELS(COLUMNS_ROW) {S24_ISA_GENERIC, NULL}};
    const columns_row *row = rows;
    isa = s24_isa_detect(isa == S24_ISA_BEST || isa > S24_ISA_AVX512 ? S24_ISA_AVX512 : isa);
    while (row->table && row->isa > isa) {
        row++;
    }
    return row->table;
}
