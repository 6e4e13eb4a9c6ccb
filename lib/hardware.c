/*
 * Sources. ASP: the shapes that apex/contrib/sparsity/asp.py prunes. cuSPARSELt and CUTLASS: _DTYPE_SHAPE_CONSTRAINTS
 * of torch/sparse/semi_structured.py, which takes multiples of those. TensorRT: structured sparsity in NVIDIA's guide.
 */
#include "hardware.h"

#include "dtype.h"

/* What the rules look at. */
typedef struct tensor {
    s24_dtype dtype;
    int rank, axis;
    size_t rows, cols; /* outputs, and inputs: what a group runs along */
    bool convolution;  /* OI and the taps of a kernel, along the input channels */
} tensor;

/* As the automatic choice of an axis sees it: at least one dimension after axis 1, all of them those of a kernel. */
static bool is_convolution(int rank, const size_t *shape, int axis)
{
    return rank >= 3 && rank <= 5 && axis == 1 && s24_axis_auto(rank, shape) == 1;
}

static bool is_half(s24_dtype dtype)
{
    return dtype == S24_F16 || dtype == S24_BF16;
}

static const char not_24[] = "f32 is 1:2 on sparse Tensor Cores, not 2:4";
static const char no_matrix[] = "no matrix";
static const char no_layer[] = "neither a matrix nor a convolution along its input channels";

/* ---------------------------------------------------------------- the rules */

static const char *asp(tensor t)
{
    if (t.dtype != S24_F32 && !is_half(t.dtype)) {
        return "only f32, f16 and bf16";
    }
    if (t.rank != 2 && !t.convolution) {
        return no_layer;
    }
    if (t.axis != 1) {
        return "only along axis 1";
    }
    return t.rows % 8 ? "rows are no multiple of 8" : t.cols % 16 ? "columns are no multiple of 16" : NULL;
}

static const char *cusparselt(tensor t)
{
    const bool byte = s24_info(t.dtype)->bytes == 1;
    if (!byte && !is_half(t.dtype)) {
        return t.dtype == S24_F32 ? not_24 : "only f16, bf16, i8 and 8-bit floats";
    }
    if (t.rank != 2) {
        return no_matrix;
    }
    if (byte) {
        return t.rows % 32 ? "rows are no multiple of 32" : t.cols % 32 ? "columns are no multiple of 32" : NULL;
    }
    return t.rows % 16 ? "rows are no multiple of 16" : t.cols % 16 ? "columns are no multiple of 16" : NULL;
}

static const char *cutlass(tensor t)
{
    if (t.dtype != S24_I8 && !is_half(t.dtype)) {
        return t.dtype == S24_F32 ? not_24 : "only f16, bf16 and i8";
    }
    if (t.rank != 2) {
        return no_matrix;
    }
    if (t.axis != 1) {
        return "only along the last axis";
    }
    if (t.dtype == S24_I8) {
        return t.rows % 16 ? "rows are no multiple of 16" : t.cols % 128 ? "columns are no multiple of 128" : NULL;
    }
    return t.rows % 32 ? "rows are no multiple of 32" : t.cols % 64 ? "columns are no multiple of 64" : NULL;
}

/* f32 weights are run as f16. What is smaller is taken, but no faster: not worth telling people to go there. */
static const char *tensorrt(tensor t)
{
    if (t.dtype != S24_F32 && t.dtype != S24_I8 && !is_half(t.dtype)) {
        return "only f32, f16, bf16 and i8";
    }
    if (t.rank != 2 && !t.convolution) {
        return no_layer;
    }
    return t.cols < 256 ? "no gain below about 256 input channels" : NULL;
}

static const struct {
    const char *name;
    const char *(*refusal)(tensor t);
} stacks[] = {
    {"asp", asp},
    {"cusparselt", cusparselt},
    {"cutlass", cutlass},
    {"tensorrt", tensorrt},
};
#define STACKS (sizeof stacks / sizeof *stacks)

/* ---------------------------------------------------------------- asking */

const char *s24_hardware_name(size_t stack)
{
    return stack < STACKS ? stacks[stack].name : NULL;
}

const char *s24_hardware_refusal(size_t stack, s24_dtype dtype, int rank, const size_t *shape, int axis)
{
    for (int d = 0; d < rank; d++) {
        if (shape[d] == 0) {
            return "empty";
        }
    }
    const tensor t = {
        .dtype = dtype, .rank = rank, .axis = axis,
        .rows = rank < 2 ? 1 : axis == 0 ? shape[1] : shape[0],
        .cols = rank ? shape[axis] : 1,
        .convolution = is_convolution(rank, shape, axis),
    };
    return stacks[stack].refusal(t);
}
