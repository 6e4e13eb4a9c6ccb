#!/usr/bin/env python3
"""flips.py [S24 [FLIPS [CUTS [SEED]]]]: is every damage of a .s24 detected?

Prunes a layer of the digits network, then 2,000 times flips one bit and 500 times cuts the file off, at places drawn
from a printed seed, and asks `s24 verify` each time. Detected is exit status 1 (a fault) or 3 (no file that can be
read); 0, any other status and a signal are failures. Prints "N passed, N failed".
"""
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAYER = ROOT / "tests/data/digits/fc1.weight.npy"
DETECTED = (1, 3)


def run(s24, *args):
    return subprocess.run([s24, "-q", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def damages(data, flips, cuts, rng):
    """What is done to the file, in words, and the bytes that are left."""
    for bit in rng.sample(range(8 * len(data)), min(flips, 8 * len(data))):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit % 8} of byte {bit // 8} flipped", flipped
    for n in rng.sample(range(len(data)), min(cuts, len(data))):
        yield f"cut off after {n} bytes", data[:n]


def main(s24=str(ROOT / "build/s24"), flips="2000", cuts="500", seed="24"):
    passed = failed = 0
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "fc1.s24"
        subprocess.run([s24, "-q", "prune", LAYER, "-o", path], check=True)
        if run(s24, "verify", path) != 0:
            sys.exit("flips: the undamaged file does not verify")
        data = path.read_bytes()
        print(f"flips: {len(data)} bytes, seed {seed}")
        for what, damaged in damages(data, int(flips), int(cuts), random.Random(int(seed))):
            path.write_bytes(damaged)
            status = run(s24, "verify", path)
            if status in DETECTED:
                passed += 1
            else:
                failed += 1
                print(f"flips: {what}: exit status {status}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
