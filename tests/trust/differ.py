#!/usr/bin/python3
"""A million small matrices, pruned by numpy and by s24 on every instruction set.

    differ.py S24 [MATRICES [SEED]]

Models of 2,000 matrices of one shape and dtype: random bits, normal numbers, few distinct ones with their ties, both zeros
and subnormals; of floats, each third is stored in 8 bits with scales. What `prune` writes is the same file for every
instruction set and number of threads; values, positions and scales are those of tests/oracle, and `decompress` gives its
matrices. So is its archive, which gives the file back byte for byte and the same matrices.
"""
import hashlib
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))
import oracle  # noqa: E402
import scales  # noqa: E402

MODEL = 2000
CAPS = ("generic", "neon", "avx2", "avx512", "best")
NARROWER = {"f64": ("f32", "f16", "bf16"), "f32": ("f16", "bf16"), "f16": ("f32",), "bf16": ("f32",)}


def random_model(rng, name, shape):
    a = oracle.random_array(rng, name, shape)
    kind = rng.integers(3)
    if kind == 0 and name in ("f64", "f32", "f16"):  # any finite bits: subnormals, too
        bits = rng.integers(0, 256, a.size * a.itemsize, dtype="u1").view(a.dtype).reshape(shape)
        a = np.where(np.isfinite(bits), bits, 0).astype(a.dtype)
        a = np.where(np.abs(a.astype("f8")) < 6e4, a, 1).astype(a.dtype)  # fits f16
    elif kind == 1:
        a = np.where(rng.random(shape) < 0.6, np.zeros(1, a.dtype), a).astype(a.dtype)
    return a


def write_model(path, a, name):
    count, size = a.shape[0], a[0].nbytes
    entries = {"%d" % i: {"dtype": oracle.DTYPES[name][1], "shape": list(a.shape[1:]),
                          "data_offsets": [i * size, (i + 1) * size]} for i in range(count)}
    text = json.dumps(entries)
    text += " " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text.encode() + a.tobytes())


def planes(path, count, kind):
    tensors, _ = oracle.parse_safetensors(path)
    return b"".join(tensors["%d.s24.%s" % (i, kind)][1].tobytes() for i in range(count))


def data_of(path):
    with open(path, "rb") as f:
        content = f.read()
    return content[8 + struct.unpack("<Q", content[:8])[0]:]


def run(s24, what, command, *arguments):
    done = subprocess.run([s24, command, "-q", "-f", "--no-sync", *arguments], stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("differ: %s: %s" % (what, done.stderr.decode()))


def same_file(s24, what, command, *arguments):
    """The output of every cap by 1 and 2 threads, if it is one."""
    outputs = set()
    for cap in CAPS:
        for threads in "12":
            run(s24, what, command, "--isa", cap, "-T", threads, *arguments, "-o", "m.same")
            with open("m.same", "rb") as f:
                outputs.add(f.read())
    if len(outputs) != 1:
        sys.exit("differ: %s: %s gave %d different files" % (what, command, len(outputs)))
    return outputs.pop()


def a_target(rng, name):
    """The dtype to store as, and columns for which there is a scale: None without."""
    kind = rng.integers(3)
    if kind == 0 and name in NARROWER:
        return str(rng.choice(NARROWER[name])), None
    if kind == 1 and name in NARROWER:
        return str(rng.choice(list(scales.STEPS))), int(rng.choice((0, scales.GROUP)))
    return name, None


def one_model(s24, rng, count):
    name = str(rng.choice(list(oracle.DTYPES)))
    to, group = a_target(rng, name)
    rows, cols = int(rng.integers(1, 5)), int(rng.integers(1, 40) if rng.integers(4) else rng.integers(40, 700))
    axis = int(rng.integers(2))
    what = "%d x %s %dx%d, axis %d, as %s" % (count, name, rows, cols, axis, to)
    a = random_model(rng, name, (count, rows, cols) if axis else (count, cols, rows))
    if to == "bf16" or group is not None:  # the oracle rounds normal ones to bf16, and scales must be f32
        x = np.abs(oracle.values(name, a))
        a = np.where((x == 0) | ((x > 1e-30) & (x < 1e30)), a, a.dtype.type(1))
    write_model("m.safetensors", a, name)
    as_stored = ["--dtype", to] if to != name else []
    if group is None:
        expected, kinds, back = oracle.Pruned(a, name, axis + 1, to), ("positions", "values"), to
        dense = expected.dense
    else:
        as_stored += ["--group-size", str(group)]
        expected, kinds, back = scales.Scaled(a, name, axis + 1, to, group), ("positions", "values", "scales"), name
        dense = scales.give_back(expected.rows, name, a.shape, axis + 1)
    plain = same_file(s24, what, "prune", "--include", "*", "--axis", str(axis), *as_stored, "m.safetensors")
    with open("m.s24", "wb") as f:
        f.write(plain)
    for kind in kinds:
        if planes("m.s24", count, kind) != getattr(expected, kind).tobytes():
            sys.exit("differ: %s: other %s than numpy's" % (what, kind))
    with open("m.z", "wb") as f:
        f.write(same_file(s24, what, "convert", "-z", "m.s24"))
    if same_file(s24, what, "convert", "--to", "s24", "m.z") != plain:
        sys.exit("differ: %s: its archive is of another file" % what)
    for path in ("m.s24", "m.z"):
        run(s24, what, "decompress", "--dtype", back, path, "-o", "m.out")
        if data_of("m.out") != dense.tobytes():
            sys.exit("differ: %s: %s decompressed otherwise" % (what, path))


def main():
    s24 = os.path.abspath(sys.argv[1])
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 1000000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 24
    np.seterr(all="ignore")
    rng = np.random.default_rng(seed)
    done = 0
    with tempfile.TemporaryDirectory(prefix="s24-differ-") as place:
        os.chdir(place)
        while done < wanted:
            count = min(MODEL, wanted - done)
            one_model(s24, rng, count)
            done += count
        os.chdir("/")
    print("%d matrices, seed %d: numpy and %d caps by 1 and 2 threads agree" % (done, seed, len(CAPS)))


main()
