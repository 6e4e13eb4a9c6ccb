/*
 * Types that are known and not read, so that the message can say what the file is and what to do with it. A row each:
 * what its first bytes are. Whoever says --from raw is believed.
 */
#include <string.h>

#include "format.h"

static bool has(const unsigned char *head, size_t n, size_t at, const char *magic, size_t length)
{
    return n >= at + length && memcmp(head + at, magic, length) == 0;
}

#define MAGIC(name, at, bytes) \
    static bool name##_probe(const unsigned char *head, size_t n) \
    { \
        return has(head, n, at, bytes, sizeof(bytes) - 1); \
    }
MAGIC(gguf, 0, "GGUF")
MAGIC(hdf5, 0, "\x89HDF\r\n\x1a\n")
MAGIC(tflite, 4, "TFL3")
MAGIC(gzip, 0, "\x1f\x8b\x08")
MAGIC(zstd, 0, "\x28\xb5\x2f\xfd")
MAGIC(xz, 0, "\xfd" "7zXZ")

static bool bzip2_probe(const unsigned char *head, size_t n)
{
    return n >= 4 && has(head, n, 0, "BZh", 3) && head[3] >= '1' && head[3] <= '9' &&
           (has(head, n, 4, "1AY&SY", 6) || has(head, n, 4, "\x17rE8P\x90", 6)); /* a block, or the end */
}

/* ---------------------------------------------------------------- pickles */

/* PROTO 2 to 5, then one of the opcodes that begin an object: all that dump() ever writes there. */
static bool pickle_probe(const unsigned char *head, size_t n)
{
    static const char opcodes[] = "(])}cCGIJKLMNSTUVX\x80\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x95\x96";
    return n >= 3 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && memchr(opcodes, head[2], sizeof opcodes - 1);
}

/* torch.save before 1.6: a pickle of its magic number, a LONG1 of 10 bytes. (Later ones are zip archives.) */
static bool pytorch_probe(const unsigned char *head, size_t n)
{
    return pickle_probe(head, n) && has(head, n, 2, "\x8a\x0a", 2);
}

/* ---------------------------------------------------------------- ONNX: protobuf, without a magic number */

/* A varint of up to 64 bits at *at; false: the bytes end before it does. */
static bool read_varint(const unsigned char *head, size_t n, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; *at < n && shift < 64; shift += 7) {
        const unsigned char byte = head[(*at)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

/* Passes over a field of text. What lies beyond the bytes at hand is taken for text. */
static bool skip_text(const unsigned char *head, size_t n, size_t *at)
{
    uint64_t length;
    if (!read_varint(head, n, at, &length)) {
        return false;
    }
    for (; length && *at < n; length--, ++*at) {
        if (head[*at] < 0x20 && !memchr("\t\n\r", head[*at], 3)) {
            return false;
        }
    }
    return true;
}

/* Field numbers of ModelProto and GraphProto (onnx.proto3) as tags: number << 3 | 2, and | 0 for varints. */
enum { IR_VERSION = 0x08, PRODUCER = 0x12, PRODUCER_VERSION = 0x1a, DOMAIN = 0x22, MODEL_VERSION = 0x28, DOC = 0x32,
       GRAPH = 0x3a, OPSET = 0x42 };

/* Writers put fields in order: ir_version, texts, and then the graph, which begins with one of its own fields. */
static bool onnx_probe(const unsigned char *head, size_t n)
{
    static const unsigned char graph_fields[] = {0x0a, 0x12, 0x2a, 0x52, 0x5a, 0x62}; /* node, name, ... output */
    size_t at = 1;
    uint64_t value;
    unsigned char last = IR_VERSION;
    if (n < 2 || head[0] != IR_VERSION || !read_varint(head, n, &at, &value) || value < 1 || value > 100) {
        return false;
    }
    while (at < n) {
        const unsigned char tag = head[at++];
        if (tag <= last) {
            return false;
        }
        last = tag;
        if (tag == GRAPH || tag == OPSET) {
            const bool length = read_varint(head, n, &at, &value) && value > 0 && at < n;
            return length && (tag == OPSET || memchr(graph_fields, head[at], sizeof graph_fields));
        }
        const bool text = tag == PRODUCER || tag == PRODUCER_VERSION || tag == DOMAIN || tag == DOC;
        if (text ? !skip_text(head, n, &at) : tag != MODEL_VERSION || !read_varint(head, n, &at, &value)) {
            return false;
        }
    }
    return last > PRODUCER; /* a text longer than what is at hand */
}

/* ---------------------------------------------------------------- the rows */

#define FOREIGN(id, is, instead) \
    const s24_format s24_format_##id = {.name = is, .unsupported = true, .advice = instead, .probe = id##_probe};

FOREIGN(gguf, "a GGUF file", "prune the safetensors model that it was made from, then convert that")
FOREIGN(pytorch, "a PyTorch file", "load it and save its weights with safetensors.torch.save_file")
FOREIGN(pickle, "a Python pickle", "load it, if you trust it, and save its arrays with numpy.savez")
FOREIGN(hdf5, "an HDF5 file", "load it and save its weights with numpy.savez")
FOREIGN(onnx, "an ONNX model", "export its weights as .npz or safetensors")
FOREIGN(tflite, "a TensorFlow Lite model", "prune the weights that it was made from, as .npz or safetensors")
FOREIGN(gzip, "compressed with gzip", "decompress it on the way: gzip -dc FILE | s24 COMMAND -")
FOREIGN(zstd, "compressed with zstd", "decompress it on the way: zstd -dc FILE | s24 COMMAND -")
FOREIGN(xz, "compressed with xz", "decompress it on the way: xz -dc FILE | s24 COMMAND -")
FOREIGN(bzip2, "compressed with bzip2", "decompress it on the way: bzip2 -dc FILE | s24 COMMAND -")
