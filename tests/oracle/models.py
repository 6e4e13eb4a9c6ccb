#!/usr/bin/env python3
"""Whole models against numpy: models.py [S24]

A model of many tensors goes through prune, decompress and convert, as one file, as a directory of shards and in the
layouts of other tools, and every tensor of every output is compared bit for bit with what this program computes from the
original. It reads and writes all files by its own code. Models: one made here, with every dtype and odd shapes, and
every .safetensors in $S24_SAMPLES (../shared/samples where that is not set), trained ones.
"""
import fnmatch
import glob
import json
import os
import shutil
import struct
import sys
import tempfile

import numpy as np

import oracle
from oracle import Pruned, as_rows, axis_auto, check, must, parse_safetensors, path, run

QUIET = ["-q", "-f", "--no-sync"]
NAMES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "F8_E4M3": "f8e4m3", "F8_E5M2": "f8e5m2", "I8": "i8"}
BITS = {"F64": "u8", "F32": "u4", "F16": "u2", "BF16": "u2", "F8_E4M3": "u1", "F8_E5M2": "u1", "I8": "u1"}
FLOATS = {"F64": "f8", "F32": "f4", "F16": "f2"}
LEFT = ["*embed*", "*wte*", "*wpe*", "*lm_head*", "*norm*", "*ln_*", "*bias"]


# ---------------------------------------------------------------- files


def write_safetensors(file, tensors, metadata=None):
    """tensors: {name: (dtype, bytes, shape)}"""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, data, shape) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(file, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(bytes(d) for _, d, _ in tensors.values()))


def write_checkpoint(directory, tensors, metadata, shards):
    os.makedirs(directory)
    names = list(tensors)
    places = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {n: tensors[n] for n in names[i::shards]}
        write_safetensors(os.path.join(directory, file), part, metadata)
        places.update({n: file for n in part})
    with open(os.path.join(directory, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": 1}, "weight_map": places}, f)
    with open(os.path.join(directory, "config.json"), "w") as f:
        f.write('{"rope_theta": 1e6,\n "layers": 3}\n')


def read_checkpoint(what, directory, suffix):
    """All stored tensors, by the index, which must say the truth."""
    tensors = {}
    with open(os.path.join(directory, f"model{suffix}.index.json")) as f:
        index = json.load(f)
    for file in sorted(set(index["weight_map"].values())):
        part, _ = parse_safetensors(os.path.join(directory, file))
        tensors.update(part)
        if suffix != ".s24":
            listed = {n for n, at in index["weight_map"].items() if at == file}
            check(listed == set(part), what, f"the index lists other tensors in {file}")
    if suffix != ".s24":
        size = sum(len(t[1]) for t in tensors.values())
        check(index["metadata"]["total_size"] == size, what, "total_size is wrong")
    check(os.path.exists(os.path.join(directory, "config.json")), what, "config.json was not copied")
    return tensors


# ---------------------------------------------------------------- what should come out


def selected(name, dtype, shape):
    """The rule for models, as the manual has it."""
    if dtype not in NAMES or len(shape) < 2 or any(fnmatch.fnmatchcase(name, g) for g in LEFT):
        return False
    return shape[axis_auto(tuple(shape))] % 4 == 0 and 0 not in shape


def array_of(dtype, data, shape):
    kind = FLOATS.get(dtype, BITS[dtype] if dtype != "I8" else "i1")
    return np.frombuffer(bytes(data), kind).reshape(shape)


class Expected:
    """Of each tensor: the dense bytes after pruning, and its planes."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.pruned = {}
        for name, (dtype, data, shape) in tensors.items():
            if selected(name, dtype, shape):
                a = array_of(dtype, data, shape)
                self.pruned[name] = Pruned(a, NAMES[dtype], axis_auto(tuple(shape)), NAMES[dtype])

    def dense(self, name):
        dtype, data, shape = self.tensors[name]
        if name in self.pruned:
            data = np.ascontiguousarray(self.pruned[name].dense).tobytes()
        return dtype, bytes(data), list(shape)


def compare_dense(what, expected, tensors):
    check(set(tensors) == set(expected.tensors), what, "other tensors")
    for name in expected.tensors:
        dtype, data, shape = expected.dense(name)
        got = tensors.get(name, (None, b"", None))
        check((got[0], list(got[2] or [])) == (dtype, shape) and bytes(got[1]) == data, f"{what}: {name}",
              "not what it should be")


def compare_s24(what, expected, tensors):
    """The stored planes, as any safetensors reader finds them."""
    for name in expected.tensors:
        if name in expected.pruned:
            p = expected.pruned[name]
            check(bytes(tensors[name + ".s24.values"][1]) == p.values.tobytes(), f"{what}: {name}", "values differ")
            check(bytes(tensors[name + ".s24.positions"][1]) == p.positions.tobytes(), f"{what}: {name}", "positions differ")
        else:
            dtype, data, shape = expected.dense(name)
            check((tensors[name][0], list(tensors[name][2])) == (dtype, shape) and bytes(tensors[name][1]) == data,
                  f"{what}: {name}", "carried tensor differs")


# ---------------------------------------------------------------- layouts of other tools


def decode_bitmask(tensors):
    """sparse-24-bitmask, by its description."""
    out = {}
    for name, (dtype, data, shape) in tensors.items():
        if name.endswith(".compressed"):
            base = name[: -len("compressed")]
            rows, cols = np.frombuffer(bytes(tensors[base + "shape"][1]), "<i8")
            bits = np.frombuffer(bytes(tensors[base + "bitmask"][1]), "u1").reshape(rows, -1)
            kept = np.unpackbits(bits, axis=1, bitorder="little")[:, :cols].astype(bool)
            check((kept.reshape(rows, -1, 4).sum(2) == 2).all(), name, "not two bits a group")
            dense = np.zeros((rows, cols), BITS[dtype])
            dense[kept] = np.frombuffer(bytes(data), BITS[dtype])
            out[base + "weight"] = (dtype, dense.tobytes(), [int(rows), int(cols)])
        elif not name.endswith((".shape", ".bitmask")):
            out[name] = (dtype, bytes(data), list(shape))
    return out


def cutlass_offsets(rows, cols, band, word):
    """Where the metadata of row r, column of words c, stand: after the description of CUTLASS's reordering."""
    r, c = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    if word == 2:
        to = r // 32 * 32 + (r % 8) * 4 + (r % 32) // 8
    else:
        to = r // 16 * 16 + (r % 8) * 2 + (r % 16) // 8
    right, left = (to % 2 == 0) & (c % 2 == 1), (to % 2 == 1) & (c % 2 == 0)
    to = to + right - left
    c = c - right + left
    return (c // 2) * 2 * rows + 2 * to + c % 2


def decode_cutlass(tensors):
    out = {}
    for name, (dtype, data, shape) in tensors.items():
        if name.endswith(".packed"):
            base = name[: -len(".packed")]
            meta_dtype, meta, meta_shape = tensors[base + ".meta"]
            word = 2 if meta_dtype == "I16" else 4
            words = np.frombuffer(bytes(meta), f"<u{word}")
            rows, cols = meta_shape
            ordered = words[cutlass_offsets(rows, cols, 0, word)]
            nibbles = (ordered[:, :, None] >> (4 * np.arange(2 * word, dtype=ordered.dtype))) & 15
            nibbles = nibbles.reshape(rows, -1)
            dense = np.zeros((rows, nibbles.shape[1], 4), BITS[dtype])
            packed = np.frombuffer(bytes(data), BITS[dtype]).reshape(rows, -1, 2)
            for slot in (0, 1):
                np.put_along_axis(dense, ((nibbles >> (2 * slot)) & 3)[:, :, None].astype("i8"), packed[:, :, slot : slot + 1], 2)
            out[base] = (dtype, dense.tobytes(), [rows, 4 * nibbles.shape[1]])
        elif not name.endswith(".meta"):
            out[name] = (dtype, bytes(data), list(shape))
    return out


# ---------------------------------------------------------------- every direction


def through_one_file(what, file, expected):
    s24, back = path("m.s24"), path("m.safetensors")
    must(what, "prune", file, "-o", s24, *QUIET)
    compare_s24(f"{what}: prune", expected, parse_safetensors(s24)[0])
    must(what, "verify", s24)
    must(what, "decompress", s24, "-o", back, *QUIET)
    compare_dense(f"{what}: decompress", expected, parse_safetensors(back)[0])
    must(what, "prune", file, "--to", "same", "-o", back, *QUIET)
    compare_dense(f"{what}: prune --to same", expected, parse_safetensors(back)[0])
    must(what, "verify", back, "-q")
    must(what, "convert", back, "-o", path("c.s24"), *QUIET)
    compare_s24(f"{what}: convert", expected, parse_safetensors(path("c.s24"))[0])
    must(what, "convert", path("c.s24"), "-o", path("c.safetensors"), *QUIET)
    compare_dense(f"{what}: convert back", expected, parse_safetensors(path("c.safetensors"))[0])


def through_layouts(what, expected):
    """From and to the layouts of other tools; m.s24 and m.safetensors are there."""
    other, dense = path("other.safetensors"), path("dense.safetensors")
    for layout, decode in (("sparse-24-bitmask", decode_bitmask), ("cutlass", decode_cutlass)):
        for source in (path("m.s24"), path("m.safetensors")):
            name = f"{what}: {os.path.basename(source)} to {layout}"
            p = run("convert", source, "--to", layout, "-o", other, *QUIET)
            if p.returncode == 5:
                continue # a model without a tensor that the layout takes
            check(p.returncode == 0, name, p.stderr.decode())
            stored, _ = parse_safetensors(other)
            compare_dense(name, expected, decode(stored))
            must(name, "convert", other, "--to", "safetensors", "-o", dense, *QUIET)
            compare_dense(f"{name} and back", expected, parse_safetensors(dense)[0])
            must(name, "verify", other, "-q")
            must(name, "convert", other, "-o", path("c.s24"), *QUIET)
            must(name, "decompress", path("c.s24"), "-o", dense, *QUIET)
            compare_dense(f"{name} by .s24", expected, parse_safetensors(dense)[0])


def through_directories(what, expected, metadata, shards):
    for d in ("ck", "same", "packed", "back", "bits"):
        shutil.rmtree(path(d), ignore_errors=True)
    write_checkpoint(path("ck"), expected.tensors, metadata, shards)
    must(what, "prune", path("ck"), "--to", "same", "-o", path("same"), *QUIET)
    compare_dense(f"{what}: directory", expected, read_checkpoint(what, path("same"), ".safetensors"))
    for share in range(1, 4):
        must(what, "prune", path("ck"), "-o", path("packed"), "--shards", f"{share}/3", "-q", "--no-sync")
    compare_s24(f"{what}: directory of .s24", expected, read_checkpoint(what, path("packed"), ".s24"))
    must(what, "verify", path("packed"))
    must(what, "decompress", path("packed"), "-o", path("back"), *QUIET)
    compare_dense(f"{what}: directory back", expected, read_checkpoint(what, path("back"), ".safetensors"))
    must(what, "prune", path("ck"), "-o", path("whole.s24"), *QUIET)
    compare_s24(f"{what}: directory to one file", expected, parse_safetensors(path("whole.s24"))[0])
    p = run("convert", path("same"), "--to", "sparse-24-bitmask", "-o", path("bits"), *QUIET)
    if p.returncode == 5:
        return # a model without a tensor that the layout takes
    check(p.returncode == 0, what, p.stderr.decode())
    compare_dense(f"{what}: directory of bitmasks", expected, decode_bitmask(read_checkpoint(what, path("bits"), ".safetensors")))
    shutil.rmtree(path("back"))
    must(what, "convert", path("bits"), "--to", "safetensors", "-o", path("back"), *QUIET)
    compare_dense(f"{what}: bitmasks back", expected, read_checkpoint(what, path("back"), ".safetensors"))
    with open(path("back/config.json")) as back, open(path("ck/config.json")) as original:
        check(back.read() == original.read(), what, "config.json is not as it was")


def through_npz(what, expected):
    """numpy loads what it can hold."""
    kinds = {"BOOL": "?", "U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U16": "<u2", "U32": "<u4",
             "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": "<V2"}
    names = [n for n, t in expected.tensors.items() if t[0] in kinds]
    write_safetensors(path("np.safetensors"), {n: expected.tensors[n] for n in names})
    must(what, "prune", path("np.safetensors"), "-o", path("np.s24"), *QUIET)
    for command in (["decompress", path("np.s24")], ["convert", path("np.s24")], ["prune", path("np.safetensors")]):
        must(what, *command, "-o", path("np.npz"), *QUIET)
        with np.load(path("np.npz")) as z:
            check(set(z.files) == set(names), f"{what}: npz", "other members")
            for n in names:
                dtype, data, shape = expected.dense(n)
                a = z[n]
                check((a.dtype, list(a.shape), a.tobytes()) == (np.dtype(kinds[dtype]), shape, data), f"{what}: npz: {n}",
                      f"loaded {a.dtype} {a.shape}")
        must(what, "convert", path("np.npz"), "-o", path("again.s24"), *QUIET)
        must(what, "decompress", path("again.s24"), "--to", "safetensors", "-o", path("again.safetensors"), *QUIET)
        again, _ = parse_safetensors(path("again.safetensors"))
        check(all(bytes(again[n][1]) == expected.dense(n)[1] for n in names), f"{what}: npz", "packed from npz differs")


def through_everything(what, file, shards):
    tensors, metadata = parse_safetensors(file)
    expected = Expected(tensors)
    check(len(expected.pruned) > 0, what, "nothing to prune")
    through_one_file(what, file, expected)
    through_layouts(what, expected)
    through_directories(what, expected, metadata, shards)
    through_npz(what, expected)


# ---------------------------------------------------------------- a model of everything


def made_model(rng):
    tensors = {}

    def add(name, dtype, shape):
        size = int(np.prod(shape))
        if dtype in FLOATS:
            data = rng.standard_normal(size).astype(FLOATS[dtype])
            data[rng.random(size) < 0.05] = 0
        elif dtype == "BF16":
            data = (rng.standard_normal(size).astype("f4").view("u4") >> 16).astype("u2")
        elif dtype in ("F8_E4M3", "F8_E5M2"):
            data = rng.integers(0, 120, size).astype("u1") | (rng.integers(0, 2, size) << 7).astype("u1")
        elif dtype == "BOOL":
            data = rng.integers(0, 2, size).astype("u1")
        else:
            data = rng.integers(0, 256, size * {"I64": 8, "I32": 4, "C64": 8, "U16": 2}.get(dtype, 1)).astype("u1")
        tensors[name] = (dtype, data.tobytes(), list(shape))

    for dtype in ("F64", "F32", "F16", "BF16", "I8", "F8_E4M3", "F8_E5M2"):
        add(f"layers.{dtype}.weight", dtype, (64, 128))
        add(f"odd.{dtype}.weight", dtype, (7, 20))
        add(f"tail.{dtype}.weight", dtype, (6, 18))
        add(f"conv.{dtype}.weight", dtype, (8, 16, 3, 3))
        add(f"bias.{dtype}.bias", dtype, (64,))
    add("large.weight", "F16", (512, 1024))
    add("embed_tokens.weight", "F32", (100, 32))
    add("step", "I64", ())
    add("mask", "BOOL", (5, 7))
    add("none.weight", "F32", (0, 4))
    add("empty", "I32", (3, 0))
    add("turns", "C64", (3, 5))
    add("ids", "U16", (9,))
    return tensors


def main():
    oracle.S24 = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/s24")
    seed = int(os.environ.get("S24_SEED", "20261122"))
    print(f"models: S24_SEED={seed} numpy {np.__version__}")
    here = os.path.dirname(os.path.abspath(__file__))
    samples = os.environ.get("S24_SAMPLES", os.path.join(here, "../../../shared/samples"))
    with tempfile.TemporaryDirectory(prefix="s24-models-") as oracle.WORK:
        write_safetensors(path("made.safetensors"), made_model(np.random.default_rng(seed)), {"format": "pt", "s24": "mine"})
        through_everything("made", path("made.safetensors"), 3)
        found = sorted(glob.glob(os.path.join(samples, "*.safetensors")))
        for file in found:
            through_everything(os.path.basename(file), file, 4)
        if not found:
            print("models: no trained model in $S24_SAMPLES: skipped")
    print(f"{oracle.passed} passed, {oracle.failed} failed")
    return oracle.failed > 0


if __name__ == "__main__":
    sys.exit(main())
