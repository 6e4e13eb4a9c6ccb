#!/usr/bin/python3
"""numpy as an independent oracle of kept values that are stored in 8 bits with scales.

scales.py S24

The rule is written down once more: of the values that a row, or 128 columns of it, keeps, the scale is the least f32 whose
product with 127, 448 or 57344 is not below the largest; what is stored is the nearest to w / scale in f64, ties to even.
8-bit floats are looked up in tables. Scales, values, positions and the decompressed array are compared bit for bit, and the
metrics, recorded and recomputed, as tightly as sums of another order allow. S24_SEED sets the seed, which is printed.
"""
import json
import math
import os
import sys
import tempfile
import time

import numpy as np

import oracle
from oracle import DTYPES, NATIVE, Pruned, as_rows, check, close, from_rows, holder, must, path, random_array, refused, values

GROUP = 128
E5M2 = (np.arange(124, dtype="u2") << 8).view("f2").astype("f8")
TABLES = {"f8e4m3": oracle.E4M3[:127], "f8e5m2": E5M2}
STEPS = {"i8": 127.0, "f8e4m3": 448.0, "f8e5m2": 57344.0}
READ = {"i8": lambda q: q.view("i1").astype("f8"), "f8e4m3": DTYPES["f8e4m3"][2], "f8e5m2": DTYPES["f8e5m2"][2]}


def nearest(table, x):
    """Codes of the values of an ascending table that are nearest to |x|, of two the even code."""
    high = np.clip(np.searchsorted(table, np.abs(x)), 1, len(table) - 1)
    middle = (table[high - 1] + table[high]) / 2
    up = (np.abs(x) > middle) | ((np.abs(x) == middle) & (high % 2 == 0))
    return np.where(up, high, high - 1).astype("u1") | np.where(np.signbit(x), 128, 0).astype("u1")


def encode(x, to):
    if to == "i8":
        assert (np.abs(x) <= 127).all()
        return np.rint(x).astype("i1").view("u1")
    return nearest(TABLES[to], x)


def least_scale(most, steps):
    """By trying: from the nearest f32 down, and then up to the first that holds."""
    scale = np.float32(most / steps) if most else np.float32(1)
    zero, infinity = np.float32(0), np.float32(np.inf)
    while most and scale > 0 and steps * float(scale) >= most:
        scale = np.nextafter(scale, zero)
    while most and steps * float(scale) < most:
        scale = np.nextafter(scale, infinity)
    return scale


class Scaled:
    """What is stored of `a`, of dtype `name`, pruned along an axis to `to` with a scale for so many columns (0: a row)."""

    def __init__(self, a, name, axis, to, group):
        as_it_is = Pruned(a, name, axis, name)
        rows = as_rows(a, axis)
        self.positions, self.kept = as_it_is.positions, as_it_is.kept
        w = values(name, as_it_is.values)
        n, count = w.shape
        width = group // 2 if group else count
        parts = -(-count // width) if count else 0
        self.scales = np.array([[least_scale(np.abs(w[r, width * u : width * (u + 1)]).max(), STEPS[to])
                                 for u in range(parts)] for r in range(n)], "f4").reshape(n, parts)
        spread = np.repeat(self.scales.astype("f8"), width, axis=1)[:, :count] if parts else np.ones(w.shape)
        self.values = encode(w / spread, to)
        v = READ[to](self.values) * spread
        dense = np.zeros((n, 2 * count))
        dense.reshape(-1, 4)[self.places(n, count)] = v.reshape(-1, 2).ravel()
        dense = dense[:, : rows.shape[1]]
        self.rows = np.where(self.kept, dense, 0)
        self.metrics = oracle.metrics(values(name, rows), self.rows, self.kept)

    def places(self, n, count):
        nibbles = np.stack([self.positions & 15, self.positions >> 4], axis=2).reshape(n, 2 * self.positions.shape[1])
        nibbles = nibbles[:, : count // 2].ravel()
        group = np.arange(nibbles.size)
        return np.repeat(group, 2), np.stack([nibbles & 3, nibbles >> 2], axis=1).ravel()


def give_back(rows, name, shape, axis):
    """The values as the dtype that they came from, rounded once."""
    if name == "bf16":
        x = oracle.to_bf16(rows)
    elif name in TABLES:
        x = nearest(TABLES[name], rows)
    else:
        x = rows.astype(holder(name))
    return from_rows(np.where(rows == 0, np.signbit(rows) * x, x).astype(holder(name)), shape, axis)


def compare(a, name, to, group, axis=None, order="C", threads=1):
    axis = oracle.axis_auto(a.shape) if axis is None else axis
    what = f"{name} {a.shape} axis {axis} to {to}, scales of {group or 'a row'}"
    raw = name not in NATIVE
    source, how = oracle.write_input(a, name, raw, order if not raw else "C", False)
    about = ["--dtype", to, "--group-size", str(group), "--axis", str(axis), "-T", str(threads)]
    if not must(what, "prune", source, *how, *about, "--no-sync", "-q", "-f", "-o", path("out.s24")):
        return
    p = Scaled(a, name, axis, to, group)
    tensors, metadata = oracle.parse_safetensors(path("out.s24"))
    check(metadata.get("s24.needs") == "scales", what, "s24.needs")
    check(json.loads(metadata["s24.tensors"])[0]["scales"] == (group or "row"), what, "s24.tensors")
    prefix = json.loads(metadata["s24.tensors"])[0]["name"] + ".s24."
    shape = list(p.scales.shape) if group else [p.scales.size]
    for part, dtype, wanted, dims in (("values", DTYPES[to][1], p.values, list(p.values.shape)),
                                      ("positions", "U8", p.positions, list(p.positions.shape)),
                                      ("scales", "F32", p.scales, shape)):
        found, data, plane = tensors[prefix + part]
        check(found == dtype and list(plane) == dims, what, f"{part} are {found} {plane}")
        check(data.tobytes() == wanted.tobytes(), what, f"{part} differ")
    must(what, "verify", "-q", path("out.s24"))
    must(what, "decompress", path("out.s24"), "--no-sync", "-q", "-f", "-o", path("out." + ("raw" if raw else "npy")))
    dense = oracle.read_dense(path("out." + ("raw" if raw else "npy")), a, raw)
    check(oracle.same_bits(dense, give_back(p.rows, name, a.shape, axis)), what, "the dense array differs")
    figures = []
    for extra in [[]] if raw else [[], ["--original", source]]:
        out = oracle.run("stats", "--json", *extra, path("out.s24"))
        figures.append(json.loads(out.stdout)["files"][0]["tensors"][0])
        for key, wanted in p.metrics.items():
            check(close(figures[-1][key], wanted), what, f"{key} is {figures[-1][key]}, not {wanted}")
    check(all(f == figures[0] for f in figures), what, "recomputed metrics are others")
    check(figures[0]["bytes_stored"] == p.values.size + p.positions.size + 4 * p.scales.size, what, "bytes_stored")


def narrow(name, a):
    """Patterns of every size would be beyond one another's scales' range; kept, but for f64, whose range f32 has not."""
    if name == "f64":
        return np.where(np.abs(a) > 1e30, 1.0, a)
    if name == "f32":
        return np.where(np.abs(a) > 3e38, np.float32(1), a)
    return a


def shapes_and_dtypes(rng):
    shapes = [(1, 1), (3,), (5, 7), (4, 128), (3, 129), (9, 300), (2, 3, 4, 5), (0, 8), (3, 0)]
    for name in ("f32", "f16", "bf16", "f64", "f8e4m3", "f8e5m2"):
        for to in STEPS:
            for shape in shapes if name in NATIVE else shapes[:6]:
                for group in (0, GROUP):
                    if name != to:
                        compare(narrow(name, random_array(rng, name, shape)), name, to, group)


def other_places(rng):
    for to in STEPS:
        for axis in range(3):
            compare(random_array(rng, "f32", (6, 130, 9)), "f32", to, GROUP * (axis % 2), axis=axis, order="F")
        compare(random_array(rng, "f16", (300, 1100)), "f16", to, 0, threads=3)
        compare(random_array(rng, "f32", (2, 262150)), "f32", to, GROUP, threads=2)
        compare(random_array(rng, "f32", (1, 262144)), "f32", to, 0)


def small_and_large(rng):
    tiny = np.float32(2.0**-149)
    for to in STEPS:
        for group in (0, GROUP):
            a = rng.standard_normal((8, 256)).astype("f4")
            a[0] = 0
            a[1] = -0.0
            a[2] = tiny * rng.integers(-3, 4, 256)
            a[3] *= np.float32(1e-38)
            a[4] *= np.float32(1e38) / np.abs(a[4]).max()
            a[5, ::2] = 0
            a[6, 7] = np.float32(3.4e38) / 2
            compare(a, "f32", to, group)
            b = rng.standard_normal((4, 256)) * np.array([[1e-300], [1e-45], [1e-38], [1e38]])
            compare(b, "f64", to, group)


def what_is_refused(rng):
    for to in STEPS:
        for bad in (np.nan, np.inf, -np.inf, "1e300"):
            a = rng.standard_normal((9, 21))
            a[4, 17] = float(bad)
            source, _ = oracle.write_input(a, "f64", False, "C", False)
            for extra in ([], ["--allow-nonfinite"]):
                told = refused(f"{bad} as {to}", 3, source, "--dtype", to, *extra)
                check("[4, 17]" in told and "--allow" not in told, f"{bad} as {to}", told)
        a = rng.standard_normal((3, 9)).astype("f4")
        a[1, 8] = np.finfo("f4").max  # comes back larger, unless its scale is exact
        source, _ = oracle.write_input(a, "f32", False, "C", False)
        steps = STEPS[to]
        exact = float(least_scale(float(a[1, 8]), steps)) * steps
        if exact > float(a[1, 8]) * (1 + 2.0**-25):
            check("[1, 8]" in refused("the largest f32", 3, source, "--dtype", to), "the largest f32", to)
        else:
            compare(a, "f32", to, 0)
        np.save(path("long.npy"), np.ones((1, 262145), "f4"))
        check("--group-size 128" in refused("a long row", 2, path("long.npy"), "--dtype", to), "a long row", "no advice")
    np.save(path("i8.npy"), np.ones((2, 8), "i1"))
    refused("i8 to f8", 2, path("i8.npy"), "--dtype", "f8e4m3")
    must("i8 as it is", "prune", path("i8.npy"), "--dtype", "i8", "-q", "-f", "-o", path("i8.s24"))
    check("s24.needs" not in oracle.parse_safetensors(path("i8.s24"))[1], "i8 as it is", "has scales")


def main():
    oracle.S24 = os.path.abspath(sys.argv[1])
    seed = int(os.environ.get("S24_SEED") or time.time())
    print(f"scales: S24_SEED={seed}")
    rng = np.random.default_rng(seed)
    np.seterr(invalid="ignore", over="ignore", under="ignore")
    with tempfile.TemporaryDirectory(prefix="s24-scales-") as oracle.WORK:
        for part in (shapes_and_dtypes, other_places, small_and_large, what_is_refused):
            part(rng)
    print(f"{oracle.passed} passed, {oracle.failed} failed")
    return oracle.failed != 0


if __name__ == "__main__":
    sys.exit(main())
