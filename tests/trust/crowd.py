#!/usr/bin/env python3
"""Many commands at once, in one directory, and many tensors in one model.

    crowd.py S24 [COMMANDS [TENSORS]]

COMMANDS (64) commands read the same files and write their own, at the same time; then as many all want the same output, and
exactly one may get it. Then a model of TENSORS (100,000) goes through prune, verify, stats, inspect and decompress, and as an
archive, too.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time


def model(path, tensors, rows, cols, rng):
    entries, size = {}, rows * cols * 4
    for i in range(tensors):
        entries["model.layers.%d.weight" % i] = {"dtype": "F32", "shape": [rows, cols],
                                                 "data_offsets": [i * size, (i + 1) * size]}
    text = json.dumps(entries)
    text += " " * (-len(text) % 8)
    mask = int.from_bytes(b"\xff\xff\x7f\xbf" * (rows * cols), "little")
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text.encode())
        for _ in range(tensors):
            f.write((int.from_bytes(rng.randbytes(size), "little") & mask).to_bytes(size, "little"))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def at_once(s24, commands):
    running = [subprocess.Popen([s24, "-q"] + c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
    return [p.wait() for p in running]


def crowd(s24, count, rng):
    model("m.safetensors", 6, 256, 512, rng)
    kinds = (["prune", "m.safetensors"], ["decompress", "m.s24"], ["prune", "-z", "m.safetensors"], ["decompress", "m.z"],
             ["convert", "--to", "s24", "m.z"], ["prune", "--dtype", "i8", "m.safetensors"])
    for i, output in enumerate(("m.s24", "m.out", "m.z", "m.out.z", "m.again", "m.i8")):
        assert subprocess.run([s24, "-q", *kinds[i], "-o", output]).returncode == 0
    expected = [read(output) for output in ("m.s24", "m.out", "m.z", "m.out", "m.s24", "m.i8")]
    os.mkdir("own")
    assert not any(at_once(s24, [kinds[i % 6] + ["-o", "own/%d" % i] for i in range(count)])), "a command among others failed"
    assert sorted(os.listdir("own"), key=int) == [str(i) for i in range(count)]
    for i in range(count):
        assert read("own/%d" % i) == expected[i % 6], "another's output"
    os.mkdir("same")
    statuses = at_once(s24, [["prune", "m.safetensors", "-o", "same/m.s24"]] * count)
    assert sorted(statuses) == [0] + [4] * (count - 1), statuses
    assert os.listdir("same") == ["m.s24"] and read("same/m.s24") == expected[0]
    print("%d commands at once: all right; %d for the same output: one got it" % (count, count))


def promised(path, pruned):
    """Resident bytes at most: an archive counts with its header unpacked, which is the plain one's."""
    size = os.path.getsize(path)
    if path == "many.z":
        with open("many.s24", "rb") as f:
            size += struct.unpack("<Q", f.read(8))[0]
    return (64 << 20) + 2 * size + 768 * pruned


def many(s24, tensors, rng):
    model("many.safetensors", tensors, 4, 16, rng)
    for command in (["prune", "many.safetensors", "-o", "many.s24"], ["verify", "many.s24"], ["stats", "many.s24"],
                    ["inspect", "many.s24"], ["decompress", "many.s24", "-o", "many.out"], ["stats", "many.safetensors"],
                    ["prune", "many.safetensors", "-z", "-o", "many.z"], ["verify", "many.z"], ["stats", "many.z"],
                    ["inspect", "many.z"], ["decompress", "many.z", "-f", "-o", "many.out"]):
        begin = time.monotonic()
        process = subprocess.Popen([s24, "-q"] + command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, command
        resident, most = usage.ru_maxrss << 10, promised(command[1], tensors if command[0] in ("prune", "stats") else 0)
        assert resident <= most, "%s: %d MiB, more than is promised" % (command, resident >> 20)
        print("%d tensors: %s: %.1f s, %d of %d MiB resident" % (
            tensors, " ".join(command[:-1]), time.monotonic() - begin, resident >> 20, most >> 20))


def main():
    s24 = os.path.abspath(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    tensors = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    rng = random.Random(24)
    with tempfile.TemporaryDirectory(prefix="s24-crowd-") as place:
        os.chdir(place)
        crowd(s24, count, rng)
        many(s24, tensors, rng)
        os.chdir("/")


main()
