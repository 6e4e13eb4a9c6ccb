#!/usr/bin/python3
"""numpy as an independent oracle of masks by norms of a layer's inputs.

norms.py S24

Wanda's score is |w| times the norm of its input, RIA's (|w| / sum of its column + |w| / sum of its row) times the square root
of that, both in f64; of a convolution's norms there is one for each channel, or one for each channel and tap. The masks that
the command makes are compared with theirs, for all types, shapes, instruction sets and kinds of norms: where the kept pair of a
group is another one, its scores must be equal to within the rounding of the sums. S24_SEED sets the seed, which is printed.
"""
import os
import sys
import tempfile
import time

import numpy as np

import oracle
from oracle import NATIVE, check, from_rows, as_rows, axis_auto, must, path, random_array, values

SHAPES = [(1, 4), (5, 7), (3, 64), (2, 65), (64, 130), (7, 1000), (300, 24), (8, 16, 3, 3), (4, 6, 5), (3, 40, 33)]


def norms_of(rng, kind, n):
    if kind == "any":
        x = np.exp(rng.standard_normal(n))
    elif kind == "equal":
        x = np.full(n, 0.7)
    elif kind == "dead":
        x = np.exp(rng.standard_normal(n)) * (rng.random(n) < 0.3)
    elif kind == "near":
        x = 1 + rng.integers(0, 64, n) * 2.0**-26
    else:
        x = np.ldexp(1 + rng.random(n), rng.integers(-300, 300, n))
    return x


def scores_of(method, rows, norms, taps):
    """Rows of a convolution go by output and tap; norms by channel and tap."""
    n, cols = rows.shape
    factor = norms.reshape(cols, taps).T[np.arange(n) % taps]
    w = np.abs(rows)
    if method == "wanda":
        return w * factor
    joined = w.reshape(n // taps, taps, cols)
    column, row = joined.sum(0), joined.sum((1, 2))
    with np.errstate(divide="ignore"):
        by_column = np.where(column > 0, np.sqrt(norms.reshape(cols, taps).T) / column, 0)[np.arange(n) % taps]
        by_row = np.where(row > 0, 1 / row, 0)[np.arange(n) // taps, None]
    return w * (by_column + by_row * np.sqrt(factor))


def two_of_four(scores):
    n, cols = scores.shape
    padded = np.full((n, -(-cols // 4) * 4), -1.0)
    padded[:, :cols] = scores
    places = np.argsort(-padded.reshape(-1, 4), axis=1, kind="stable")[:, :2]
    kept = np.zeros((padded.size // 4, 4), bool)
    np.put_along_axis(kept, places, True, axis=1)
    return kept.reshape(padded.shape)[:, :cols]


def compare(rng, name, shape, method, kind, isa, to=None):
    a = random_array(rng, name, shape)
    a.flat[:: int(rng.integers(3, 90))] = 0
    a[np.abs(a) == 0] = 1  # so that what is kept can be told from what is not
    axis = axis_auto(shape)
    cols, taps = shape[axis], int(np.prod(shape[2:])) if axis == 1 else 1
    unfolded = taps > 1 and rng.random() < 0.5
    taps = taps if unfolded else 1
    norms = norms_of(rng, kind, cols * taps)
    what = f"{method} {name} {shape} {kind} norms{' of taps' if unfolded else ''} {isa} to {to or name}"
    np.save(path("w.npy"), a)
    np.save(path("n.npy"), norms)
    extra = ["--dtype", to] if to else []
    if not must(what, "prune", path("w.npy"), "--norms", path("n.npy"), "--method", method, "--isa", isa, "-q", "-f",
                "--no-sync", "-o", path("out.npy"), *extra):
        return
    rows = values(name, as_rows(a, axis)).reshape(-1, cols)
    scores = scores_of(method, rows, norms, taps)
    expected = two_of_four(scores)
    kept = as_rows(np.load(path("out.npy")), axis) != 0
    if method == "wanda":
        check((kept == expected).all(), what, f"{(kept != expected).sum()} elements")
        return
    sums = [np.where(m, scores, 0).sum(1) for m in (kept, expected)]
    check((kept.sum(1) == expected.sum(1)).all() and np.allclose(*sums, rtol=1e-12), what, "scores differ")


def main():
    oracle.S24 = os.path.abspath(sys.argv[1])
    seed = int(os.environ.get("S24_SEED") or time.time())
    print(f"oracle: norms: S24_SEED={seed}")
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as directory:
        oracle.WORK = directory
        kinds, isas = ["any", "equal", "dead", "near", "wide"], ["generic", "avx2", "avx512"]
        for i, shape in enumerate(SHAPES * 3):
            for j, name in enumerate(sorted(set(NATIVE) - {"i8"})):
                compare(rng, name, shape, ("wanda", "ria")[(i + j) % 2], kinds[(i + j) % 5], isas[(i // 10 + j) % 3],
                        "f16" if name == "f32" and i % 2 else None)
        compare(rng, "i8", (64, 130), "wanda", "any", "avx512")
        compare(rng, "f16", (300, 4000), "ria", "any", "avx512")
    print(f"{oracle.passed} passed, {oracle.failed} failed")
    return oracle.failed != 0


if __name__ == "__main__":
    sys.exit(main())
