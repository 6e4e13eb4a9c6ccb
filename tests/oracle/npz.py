#!/usr/bin/python3
"""numpy as an independent oracle of .npz files.

npz.py S24

Models of every dtype, shape and order are saved in every way that numpy and zipfile have, pruned, and brought back as .npz
and as safetensors, by files and by pipes. Compared is every array, bit for bit, with what numpy says that it must be.

S24_SEED sets the seed, which is printed.
"""
import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np

import oracle
from oracle import DTYPES, Pruned, axis_auto, check, must, parse_safetensors, path, random_array, same_bits

SHAPES = [(), (0,), (0, 4), (4, 0), (1,), (7,), (8, 12), (5, 7), (4, 130), (64, 260), (2, 8, 3, 3), (3, 5, 40)]
# What is carried: name in safetensors, and numpy's.
CARRIED = {"BOOL": "b1", "U8": "u1", "I16": "i2", "U16": "u2", "I32": "i4", "U32": "u4", "I64": "i8", "U64": "u8",
           "C64": "c8"}


class Unseekable(io.RawIOBase):
    """A pipe, as far as zipfile can tell."""

    def __init__(self, name):
        super().__init__()
        self.file = open(name, "wb")

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)

    def close(self):
        self.file.close()
        super().close()


def save_zipfile(name, arrays, method, zip64):
    with zipfile.ZipFile(name, "w", method) as z:
        z.comment = b"a comment"
        for member, a in arrays.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, a, version=(2, 0))
            with z.open(member + ".npy", "w", force_zip64=zip64) as f:
                f.write(data.getvalue())


def save_unseekable(name, arrays, save):
    with Unseekable(name) as f:
        save(f, **arrays)


WRITERS = {
    "savez": lambda name, arrays: np.savez(name, **arrays),
    "savez_compressed": lambda name, arrays: np.savez_compressed(name, **arrays),
    "savez to a pipe": lambda name, arrays: save_unseekable(name, arrays, np.savez),
    "savez_compressed to a pipe": lambda name, arrays: save_unseekable(name, arrays, np.savez_compressed),
    "zip64 everywhere": lambda name, arrays: save_zipfile(name, arrays, zipfile.ZIP_DEFLATED, True),
    "zip64 nowhere": lambda name, arrays: save_zipfile(name, arrays, zipfile.ZIP_STORED, False),
}


class Model:
    """Arrays as they are saved, and for each the array that must come back and its type in safetensors."""

    def __init__(self):
        self.saved, self.expected, self.types = {}, {}, {}

    def add(self, name, a, dtype, order, big):
        stored = np.array(a.astype(a.dtype.newbyteorder(">")) if big else a, order=order)
        if dtype == "bf16":  # what ml_dtypes has numpy write: two bytes of no type
            stored = stored.view("V2") if stored.shape else np.frombuffer(stored.tobytes(), "V2").reshape(())
        self.saved[name] = stored
        axis = axis_auto(a.shape)
        pruned = dtype in DTYPES and a.ndim > 1 and a.size and a.shape[axis] % 4 == 0
        dense = Pruned(a, dtype, axis, dtype).dense if pruned else a
        self.expected[name] = np.array(dense, order="C")
        self.types[name] = DTYPES[dtype][1] if dtype in DTYPES else dtype


def random_model(rng):
    m = Model()
    for shape in SHAPES:
        for dtype in ["f64", "f32", "f16", "i8", "bf16"]:
            order, big = rng.choice(["C", "F"]), bool(rng.integers(2)) and dtype not in ("i8", "bf16")
            m.add(f"{dtype}/{len(m.saved)}", random_array(rng, dtype, shape), dtype, order, big)
        for dtype, numpys in CARRIED.items():
            n = int(np.prod(shape)) * np.dtype(numpys).itemsize
            raw = rng.integers(0, 2 if dtype == "BOOL" else 256, n, dtype="u1").view(numpys).reshape(shape)
            order, big = rng.choice(["C", "F"]), bool(rng.integers(2)) and raw.dtype.itemsize > 1
            m.add(f"{dtype}.é{len(m.saved)}", raw, dtype, order, big)
    return m


def compare_npz(what, file, model):
    if not check(os.path.exists(file), what, "no file"):
        return
    with zipfile.ZipFile(file) as z:
        check(z.testzip() is None, what, "zipfile finds damage")
        check(all(i.date_time == (1980, 1, 1, 0, 0, 0) for i in z.infolist()), what, "a date")
    with np.load(file) as z:
        check(list(z.files) == list(model.expected), what, f"names {z.files}")
        for name, expected in model.expected.items():
            a = z[name]
            a = a.view("u2") if a.dtype.kind == "V" and a.shape else a
            a = np.frombuffer(a.tobytes(), "u2").reshape(()) if a.dtype.kind == "V" else a
            check(same_bits(a, expected), f"{what}: {name}", f"{a.dtype} {a.shape}, not {expected.dtype} {expected.shape}")


def compare_safetensors(what, file, model):
    tensors, _ = parse_safetensors(file)
    check(sorted(tensors) == sorted(model.expected), what, f"names {list(tensors)}")
    for name, expected in model.expected.items():
        dtype, data, shape = tensors[name]
        check((dtype, tuple(shape)) == (model.types[name], expected.shape), f"{what}: {name}", f"{dtype} {shape}")
        check(data.tobytes() == expected.tobytes(), f"{what}: {name}", "differs")


def pipe(what, *args, source, to):
    with open(source, "rb") as f:
        p = subprocess.run([oracle.S24, *args], input=f.read(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    with open(to, "wb") as f:
        f.write(p.stdout)
    return check(p.returncode == 0, what, f"{' '.join(args)}: status {p.returncode}: {p.stderr.decode()}")


def read(file):
    with open(file, "rb") as f:
        return f.read()


def through(what, model):
    """in.npz to .s24 and back, and to its own type, by files and by pipes."""
    source, packed, piped = path("in.npz"), path("out.s24"), path("piped.s24")
    common = ["-q", "-f", "--no-sync"]
    if not must(what, "prune", source, "-o", packed, *common):
        return
    if pipe(what, "prune", "-", "-o", "-", "-q", source=source, to=piped):
        check(read(packed) == read(piped), what, "a pipe makes another .s24")
    for name in ("same.npz", "back.npz", "piped.npz", "back.safetensors"):
        if os.path.exists(path(name)):
            os.remove(path(name))
    must(what, "prune", source, "--to", "same", "-o", path("same.npz"), *common)
    compare_npz(f"{what}, --to same", path("same.npz"), model)
    must(what, "decompress", packed, "-o", path("back.npz"), *common)
    compare_npz(f"{what}, decompressed", path("back.npz"), model)
    check(read(path("same.npz")) == read(path("back.npz")), what, "one archive in two ways is two")
    pipe(what, "decompress", "-", "--to", "npz", "-o", "-", "-q", source=packed, to=path("piped.npz"))
    compare_npz(f"{what}, piped", path("piped.npz"), model)
    must(what, "decompress", packed, "-o", path("back.safetensors"), *common)
    compare_safetensors(f"{what}, as safetensors", path("back.safetensors"), model)
    must(what, "verify", path("piped.npz"), "-q")
    must(what, "stats", packed, "--original", source, "--json")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("s24", help="the command")
    args = parser.parse_args()
    oracle.S24 = os.path.abspath(args.s24)
    seed = int(os.environ.get("S24_SEED") or time.time())
    print(f"npz: S24_SEED={seed} numpy {np.__version__}")
    rng = np.random.default_rng(seed)
    np.seterr(invalid="ignore")  # any bits are a complex number
    with tempfile.TemporaryDirectory() as oracle.WORK:
        for what, write in WRITERS.items():
            model = random_model(rng)
            write(path("in.npz"), model.saved)
            through(what, model)
    print(f"{oracle.passed} passed, {oracle.failed} failed")
    return oracle.failed != 0


if __name__ == "__main__":
    sys.exit(main())
