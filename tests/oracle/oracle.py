#!/usr/bin/python3
"""numpy as an independent oracle of the s24 command.

oracle.py S24 [--full] [--keep DIR]

Arrays of every dtype, shape, order and axis are pruned by the command and here. Compared are the planes in the .s24,
which is parsed as the safetensors file that it is, the decompressed array, bit for bit, and the metrics. Selection is a
stable sort of -|w|; nothing is shared with the C code, not even the values of bf16 and of 8-bit floats.

S24_SEED sets the seed, which is printed. --full takes 4096 x 4096 normal numbers instead of 1024 x 1024.
"""
import argparse
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

passed = failed = 0


def check(ok, what, detail=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}{': ' if detail else ''}{detail}")
    return ok


# ---------------------------------------------------------------- dtypes: arrays of bit patterns, and their values


def table_e4m3():
    """OCP 8-bit floating point 1.0, E4M3: no infinity, NaN is all ones."""
    values = []
    for bits in range(256):
        exponent, mantissa = bits >> 3 & 15, bits & 7
        x = mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
        x = math.nan if bits & 127 == 127 else x
        values.append(-x if bits & 128 else x)
    return np.array(values)


E4M3 = table_e4m3()

# name: (the numpy type that holds it, name in safetensors, values of an array of it)
DTYPES = {
    "f64": ("<f8", "F64", lambda a: a.astype("f8")),
    "f32": ("<f4", "F32", lambda a: a.astype("f8")),
    "f16": ("<f2", "F16", lambda a: a.astype("f8")),
    "i8": ("i1", "I8", lambda a: a.astype("f8")),
    "bf16": ("<u2", "BF16", lambda a: (a.astype("u4") << 16).view("f4").astype("f8")),
    "f8e4m3": ("u1", "F8_E4M3", lambda a: E4M3[a]),
    "f8e5m2": ("u1", "F8_E5M2", lambda a: (a.astype("u2") << 8).view("f2").astype("f8")),
}
NATIVE = ("f64", "f32", "f16", "i8")


def holder(name):
    return np.dtype(DTYPES[name][0])


def values(name, a):
    return DTYPES[name][2](np.array(a, order="C").ravel()).reshape(a.shape)


def to_bf16(x):
    """Of f64 in bf16's normal range: half a unit of the 45 bits that go, one less where the last one kept is even."""
    bits = np.array(x, "f8", order="C").ravel().view("u8")
    one = np.uint64(1)
    bits = bits + (one << np.uint64(44)) - one + (bits >> np.uint64(45) & one)
    short = (bits >> np.uint64(45) << np.uint64(45)).view("f8")
    return (short.astype("f4").view("u4") >> 16).astype("u2").reshape(x.shape)


def convert(a, name, to):
    x = values(name, a)
    return a.copy() if name == to else to_bf16(x) if to == "bf16" else x.astype(holder(to))


def random_array(rng, name, shape):
    """Half of it any finite patterns, or normal numbers; half small integers, with their ties and both zeros."""
    n = math.prod(shape)
    bits = rng.integers(0, 256, n * holder(name).itemsize, dtype="u1").view(holder(name))
    if name in ("f64", "f32", "f16"):
        few = rng.choice(np.array([0.0, -0.0, 1, -1, 2, -2, 0.5]), n).astype(holder(name))
        normal = rng.standard_normal(n).astype(holder(name))
        bits = np.where(rng.random(n) < 0.5, few, normal)
    elif name != "i8":
        few = rng.choice(np.array([0, 0x38, 0x40, 0x44], holder(name)), n)
        sign = rng.integers(0, 2, n).astype(holder(name)) << (8 * holder(name).itemsize - 1)
        bits = np.where(rng.random(n) < 0.5, few | sign, bits)
        bits = np.where(np.isfinite(values(name, bits)), bits, 0).astype(holder(name))
        if name == "bf16":  # squares that neither overflow nor vanish
            x = np.abs(values(name, bits))
            bits = np.where((x == 0) | ((x > 1e-30) & (x < 1e30)), bits, 0x3F80).astype("u2")
    return bits.reshape(shape)


# ---------------------------------------------------------------- what 2:4 by magnitude is


def axis_auto(shape):
    if len(shape) < 3:
        return max(len(shape) - 1, 0)
    return 1 if max(shape[2:]) <= 31 else len(shape) - 1


def as_rows(a, axis):
    if a.ndim == 0:
        return a.reshape(1, 1)
    rows = math.prod(a.shape[:axis] + a.shape[axis + 1 :])
    return np.moveaxis(a, axis, -1).reshape(rows, a.shape[axis])


def from_rows(rows, shape, axis):
    if not shape:
        return rows.reshape(())
    others = shape[:axis] + shape[axis + 1 :]
    return np.moveaxis(rows.reshape(others + (shape[axis],)), -1, axis)


class Pruned:
    """Mask, planes, array and metrics of `a`, pruned along `axis` and stored as `to`."""

    def __init__(self, a, name, axis, to):
        rows = as_rows(a, axis)
        n, cols = rows.shape
        groups = -(-cols // 4)
        x = values(name, rows)
        magnitude = np.full((n, 4 * groups), -1.0)
        magnitude[:, :cols] = np.where(np.isfinite(x), np.abs(x), np.inf)
        magnitude = magnitude.reshape(n * groups, 4)
        places = np.sort(np.argsort(-magnitude, axis=1, kind="stable")[:, :2], axis=1)

        kept = np.zeros((n * groups, 4), bool)
        np.put_along_axis(kept, places, True, axis=1)
        self.kept = kept.reshape(n, 4 * groups)[:, :cols]

        stored = convert(rows, name, to)
        padded = np.zeros((n, 4 * groups), stored.dtype)
        padded[:, :cols] = stored
        self.values = np.take_along_axis(padded.reshape(n * groups, 4), places, axis=1).reshape(n, 2 * groups)
        nibbles = np.zeros((n, groups + groups % 2), "u1")
        nibbles[:, :groups] = (places[:, 0] | places[:, 1] << 2).reshape(n, groups)
        self.positions = nibbles[:, 0::2] | nibbles[:, 1::2] << 4

        masked = np.where(self.kept, stored, stored.dtype.type(0))
        self.dense = from_rows(masked, a.shape, axis)
        self.metrics = metrics(x, values(to, masked), self.kept)


def mean(x):
    return math.fsum(x.ravel()) / x.size if x.size else None


def metrics(w, v, kept):
    finite = np.isfinite(w)
    error = np.abs(np.where(finite, w - v, 0))
    total = math.fsum((w[finite] ** 2).ravel())
    lost = math.fsum((error**2).ravel())
    return {
        "total_count": w.size,
        "pruned_count": int((~kept).sum()),
        "approximation_error": mean(error[finite]),
        "kept_magnitude_mean": mean(np.abs(w[kept & finite])),
        "pruned_magnitude_mean": mean(np.abs(w[~kept & finite])),
        "relative_error": math.sqrt(lost) / math.sqrt(total) if lost else 0.0,
        "max_abs_error": float(error.max()) if w.size else 0.0,
        "sparsity_percent": 100.0 * int((v == 0).sum()) / w.size if w.size else None,
        "nonfinite_count": int((~finite).sum()),
    }


# ---------------------------------------------------------------- files


def parse_safetensors(path):
    """{name: (dtype, array of bytes, shape)}, metadata. The data must be tiled without a hole."""
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    tensors, end = {}, 0
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = t["data_offsets"]
        if begin != end:
            raise ValueError(f"{name} begins at {begin}, not {end}")
        tensors[name] = (t["dtype"], np.frombuffer(data, "u1", stop - begin, 8 + size + begin), t["shape"])
        end = stop
    if 8 + size + end != len(data):
        raise ValueError(f"{len(data) - 8 - size} bytes of data, not {end}")
    return tensors, metadata


def run(*args):
    return subprocess.run([S24, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def must(what, *args):
    p = run(*args)
    return check(p.returncode == 0, what, f"{' '.join(args)}: status {p.returncode}: {p.stderr.decode()}")


def path(name):
    return os.path.join(WORK, name)


def write_input(a, name, raw, order, big):
    """The file of an array, and the options to read it."""
    stored = np.array(a.astype(a.dtype.newbyteorder(">")) if big else a, order=order)
    if not raw:
        np.save(path("in.npy"), stored)
        return path("in.npy"), []
    with open(path("in.raw"), "wb") as f:
        f.write(stored.tobytes())
    shape = ",".join(map(str, a.shape))
    return path("in.raw"), ["--from", "raw", "--raw-dtype", name, "--shape", shape] + ["--endian", "big"] * big


def read_dense(file, like, raw):
    if not raw:
        a = np.load(file)
        return a.view("u2") if a.dtype.kind == "V" else a  # bf16, which numpy does not know
    flat = np.fromfile(file, like.dtype)
    return flat.reshape(like.shape) if flat.size == like.size else flat


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def close(a, b):
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


# ---------------------------------------------------------------- one comparison


def compare_planes(what, p, name, shape, axis, to):
    tensors, metadata = parse_safetensors(path("out.s24"))
    about = json.loads(metadata["s24.tensors"])[0]
    check((about["dtype"], about["shape"], about["axis"]) == (name, list(shape), axis), what, f"recorded: {about}")
    dtype, data, plane = tensors[about["name"] + ".s24.values"]
    check(dtype == DTYPES[to][1] and tuple(plane) == p.values.shape, what, f"values are {dtype} {plane}")
    check(data.tobytes() == p.values.tobytes(), what, "values differ")
    dtype, data, plane = tensors[about["name"] + ".s24.positions"]
    check(dtype == "U8" and tuple(plane) == p.positions.shape, what, f"positions are {dtype} {plane}")
    check(data.tobytes() == p.positions.tobytes(), what, "positions differ")


def compare_metrics(what, p, name, to, source):
    """Recorded ones with the oracle's, and recomputed ones with those."""
    recorded = run("stats", "--json", path("out.s24"))
    again = run("stats", "--json", path("out.s24"), "--original", *source)
    check(recorded.returncode == 0, what, recorded.stderr.decode())
    report = json.loads(recorded.stdout)["files"][0]["tensors"][0]
    for key, expected in p.metrics.items():
        check(close(report[key], expected), what, f"{key} is {report[key]}, not {expected}")
    dtypes = report["dtype"], report["stored_dtype"]
    check(dtypes == (name, to), what, f"dtypes {dtypes}")
    size = report["bytes_stored"]
    check(size == p.values.nbytes + p.positions.nbytes, what, f"bytes_stored {size}")
    check(recorded.stdout == again.stdout, what, f"recomputed otherwise {again.stderr.decode()}")


def compare(a, name, axis=None, to=None, order="C", big=False, extra=(), threads=1):
    """One array through prune, decompress and stats."""
    raw = name not in NATIVE
    to = to or name
    what = f"{name} {a.shape} axis {axis} as {to} order {order}{' big-endian' if big else ''}"
    source, options = write_input(a, name, raw, order, big)
    chosen = [] if axis is None else ["--axis", str(axis)]
    chosen += [] if to == name else ["--dtype", to]
    resolved = axis_auto(a.shape) if axis is None else axis % max(a.ndim, 1)
    p = Pruned(a, name, resolved, to)
    common = ["-q", "-f", "--no-sync", "-T", str(threads), *options, *chosen, *extra]
    if not must(what, "prune", source, "-o", path("out.s24"), *common):
        return
    try:
        compare_planes(what, p, name, a.shape, resolved, to)
    except (ValueError, KeyError, IndexError) as e:
        check(False, what, f"no safetensors file: {e!r}")
    back = path("back.raw" if raw else "back.npy")
    # What was narrowed stays so; what was widened comes back as it was.
    narrower = holder(to).itemsize < holder(name).itemsize
    expected = convert(p.dense, to, name) if narrower else Pruned(a, name, resolved, name).dense
    if must(what, "decompress", path("out.s24"), "-q", "-f", "--no-sync", "-o", back):
        check(same_bits(read_dense(back, expected, raw), expected), what, "decompressed differs")
    if must(what, "prune", source, "--to", "raw" if raw else "npy", "-o", back, *common):
        check(same_bits(read_dense(back, p.dense, raw), p.dense), what, "pruned to a dense file differs")
    compare_metrics(what, p, name, to, [source] if not raw else [source, *options])


# ---------------------------------------------------------------- what is compared

SHAPES = [(), (0,), (0, 5), (5, 0), (1,), (3,), (5, 7), (64, 130), (2, 3, 4, 5), (8, 16, 3, 3), (3, 40, 33)]


def every_dtype_and_shape(rng):
    for name in DTYPES:
        for shape in SHAPES:
            if shape == () and name not in NATIVE:
                continue  # raw data have a shape
            a = random_array(rng, name, shape)
            compare(a, name, threads=1 + rng.integers(3))
            if holder(name).itemsize > 1 and shape not in ((0, 5), (5, 0)):
                compare(a, name, big=True)
            if len(shape) > 1 and name in NATIVE:
                compare(a, name, order="F")


def every_axis(rng):
    for shape in [(7,), (5, 7), (2, 3, 4, 5), (3, 40, 33), (8, 16, 3, 3)]:
        for axis in range(-len(shape), len(shape)):
            for name in ("f32", "i8", "bf16"):
                compare(random_array(rng, name, shape), name, axis=axis)
            compare(random_array(rng, "f16", shape), "f16", axis=axis, order="F", big=axis % 2 == 0)


def many_panels(rng):
    """A panel is 65536 groups."""
    compare(random_array(rng, "f32", (700, 1000)), "f32", threads=2)
    compare(random_array(rng, "f32", (700, 1000)), "f32", axis=0, threads=2)
    compare(random_array(rng, "bf16", (2, 262150)), "bf16", threads=2)
    compare(random_array(rng, "f64", (3, 100000)), "f64", order="F")
    compare(random_array(rng, "f16", (64, 64, 9, 9)), "f16", order="F", threads=3)


DIGITS = {"f64": 53, "f32": 24, "f16": 11, "bf16": 8}


def other_dtypes(rng):
    pairs = [("f32", "f16"), ("f64", "f32"), ("f16", "f32"), ("f64", "f16"), ("f32", "bf16"), ("f64", "bf16"),
             ("f16", "f64"), ("bf16", "f32"), ("i8", "f16"), ("f8e4m3", "f16"), ("f8e5m2", "bf16")]
    for name, to in pairs:
        for shape in [(), (3,), (5, 7), (64, 130), (2, 3, 4, 5)]:
            if shape == () and name not in NATIVE:
                continue
            a = random_array(rng, name, shape)
            if to in DIGITS and DIGITS[to] < DIGITS.get(name, 0) and shape:
                # Odd integers of one binary digit more than it has are ties.
                n = a.flat[1::3].size
                a.flat[1::3] = rng.integers(2 ** (DIGITS[to] - 1), 2 ** DIGITS[to], n) * 2 + 1
                if to == "f16":
                    a.flat[::3] = a.flat[::3] * holder(name).type(1e-6)  # subnormal, or 0
            compare(a, name, to=to)


def refused(what, status, *args):
    out = path("none.s24")
    p = run("prune", *args, "-q", "-o", out)
    check(p.returncode == status, what, f"status {p.returncode}, not {status}: {p.stderr.decode()}")
    check(not os.path.exists(out), what, "there is an output in spite of the error")
    return p.stderr.decode()


def what_is_refused(rng):
    for bad in (np.nan, np.inf, -np.inf):
        a = random_array(rng, "f32", (9, 21))
        a[4, 17] = bad
        source, _ = write_input(a, "f32", False, "C", False)
        told = refused(f"{bad}", 3, source)
        check("[4, 17]" in told, f"{bad}", f"the place is not told: {told}")
        a[6, 2] = np.nan
        a[6, 3] = -np.inf
        compare(a, "f32", extra=["--allow-nonfinite"])
    for name, to, large, status in [("f32", "f16", 65520, 3), ("f64", "f32", 1e39, 3), ("f64", "bf16", 3.4e38, 3),
                                    ("i8", "f8e4m3", 1, 2), ("i8", "f8e5m2", 1, 2)]:
        a = random_array(rng, name, (5, 6))
        a[2, 5] = large
        source, _ = write_input(a, name, False, "C", False)
        told = refused(f"{large} as {to}", status, source, "--dtype", to)
        check(status == 2 or "[2, 5]" in told, f"{large} as {to}", f"the place is not told: {told}")
    a = random_array(rng, "f32", (5, 6))
    a[2, 5] = 65519.996  # the largest f32 that f16 holds, as 65504
    compare(a, "f32", to="f16")
    source, _ = write_input(a, "f32", False, "C", False)
    refused("no such axis", 2, source, "--axis", "2")


def already_two_of_four(rng):
    a = random_array(rng, "f32", (64, 130))
    dense = Pruned(a, "f32", 1, "f32").dense
    compare(dense, "f32")
    report = json.loads(run("stats", "--json", path("out.s24")).stdout)["files"][0]["tensors"][0]
    check(report["status"] == "packed", "2:4 already", f"status {report['status']}")
    check(report["relative_error"] == 0, "2:4 already", "loses")
    compare(a, "f32")
    report = json.loads(run("stats", "--json", path("out.s24")).stdout)["files"][0]["tensors"][0]
    check(report["status"] == "pruned", "not 2:4", f"status {report['status']}")


def normal_numbers(size):
    """Exact expectations for N(0, 1), within four standard errors that groups are the sample for. One seed for ever."""
    w = np.random.default_rng(24).standard_normal((size, size))
    np.save(path("normal.npy"), w)
    must("normal numbers", "prune", path("normal.npy"), "-q", "--no-sync", "-o", path("normal.s24"))
    report = json.loads(run("stats", "--json", path("normal.s24")).stdout)["files"][0]["tensors"][0]
    magnitude = np.sort(np.abs(w).reshape(-1, 4), axis=1)
    low, high = magnitude[:, :2].sum(axis=1), magnitude[:, 2:].sum(axis=1)
    low2, all2 = (magnitude[:, :2] ** 2).sum(axis=1), (magnitude**2).sum(axis=1)
    kept, pruned = report["kept_magnitude_mean"], report["pruned_magnitude_mean"]
    root = math.sqrt(len(low))

    def ratio_error(a, b):
        r = a.mean() / b.mean()
        return (a - r * b).std() / b.mean() / root

    relative = 0.363933240
    rows = [
        ("L1 kept", kept / (kept + pruned), 0.744497129, ratio_error(high, low + high)),
        ("L2 squared kept", 1 - report["relative_error"] ** 2, 0.867552597, ratio_error(low2, all2)),
        ("relative error", report["relative_error"], relative, ratio_error(low2, all2) / (2 * relative)),
        ("mean |w - v|", report["approximation_error"], 0.203861796, (low / 4).std() / root),
        ("kept mean", kept, 1.188045529, (high / 2).std() / root),
        ("pruned mean", pruned, 0.407723593, (low / 2).std() / root),
    ]
    for name, value, exact, error in rows:
        what = f"N(0, 1): {name}"
        check(abs(value - exact) <= 4 * error, what, f"{value} is {(value - exact) / error:.1f} standard errors off")


def main():
    global S24, WORK
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("s24", help="the command")
    parser.add_argument("--full", action="store_true", help="4096 x 4096 normal numbers")
    parser.add_argument("--keep", metavar="DIR", help="work in DIR, and leave the last files there")
    args = parser.parse_args()
    S24 = os.path.abspath(args.s24)
    seed = int(os.environ.get("S24_SEED") or time.time())
    print(f"oracle: S24_SEED={seed} numpy {np.__version__}")
    rng = np.random.default_rng(seed)
    np.seterr(invalid="ignore")  # NaN is meant
    with tempfile.TemporaryDirectory() as directory:
        WORK = args.keep or directory
        for part in (every_dtype_and_shape, every_axis, many_panels, other_dtypes, what_is_refused,
                     already_two_of_four):
            part(rng)
        normal_numbers(4096 if args.full else 1024)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
