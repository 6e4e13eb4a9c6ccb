#!/usr/bin/env python3
"""Pushes a lot through a pipe of commands, and watches their memory and descriptors.

    soak.py S24 [GIB [PASS_GIB]]

prune - | decompress - | prune - | verify -, of a model of 64 MiB tensors of f32 that is PASS_GIB large (64), until GIB (1024)
have gone in; by turns as they are, as archives, and in 8 bits with scales. Each pass is one process a stage. Told: the most
resident memory and descriptors of each, in the first and in the last quarter of a pass; more in the last is a leak.
"""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

TENSOR = 64 << 20
COLS = 4096
KINDS = (("plain", []), ("archive", ["-z"]), ("i8", ["--dtype", "i8"]))
SLOTS_KIB = 32 << 10  # buffers that are first used when a thread has to wait; 512 bytes lost a panel are more


def header(tensors):
    entries = {"layer.%d.weight" % i: {"dtype": "F32", "shape": [TENSOR // 4 // COLS, COLS],
                                       "data_offsets": [i * TENSOR, (i + 1) * TENSOR]} for i in range(tensors)}
    text = json.dumps(entries)
    text += " " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text.encode()


def tensor(path):
    """Finite f32 of any exponent; the sum of squares of some overflows nothing in f64."""
    rng = random.Random(24)
    mask = int.from_bytes(b"\xff\xff\x7f\xbf" * 1024, "little")
    with open(path, "wb") as f:
        for _ in range(TENSOR // 4096):
            f.write((int.from_bytes(rng.randbytes(4096), "little") & mask).to_bytes(4096, "little"))


def look(pid):
    """Resident KiB and descriptors; None: it has ended."""
    try:
        with open("/proc/%d/status" % pid) as f:
            rss = [int(line.split()[1]) for line in f if line.startswith("VmRSS")]
        return (rss[0], len(os.listdir("/proc/%d/fd" % pid))) if rss else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def one_pass(s24, tensors, how):
    """Returns for each stage [first quarter, last quarter] of (KiB, descriptors)."""
    with open("header", "wb") as f:
        f.write(header(tensors))
    feed = subprocess.Popen(["cat", "header"] + ["tensor"] * tensors, stdout=subprocess.PIPE)
    stages, before = [], feed.stdout
    prune = ["prune", "-q", *how, "-", "-o", "-"]
    commands = [prune, ["decompress", "-q", "-", "-o", "-"], prune, ["verify", "-q", "-"]]
    for command in commands:
        last = command[0] == "verify"
        stage = subprocess.Popen([s24] + command, stdin=before, stdout=subprocess.DEVNULL if last else subprocess.PIPE)
        before.close()
        before = stage.stdout
        stages.append(stage)
    seen = [[] for _ in stages]
    while stages[-1].poll() is None:
        for i, stage in enumerate(stages):
            found = look(stage.pid)
            if found:
                seen[i].append(found)
        time.sleep(0.2)
    for command, stage in zip(commands, stages):
        if stage.wait() != 0:
            sys.exit("soak: %s: exit status %d" % (command[0], stage.returncode))
    if feed.wait() != 0:
        sys.exit("soak: the feed failed")
    quarters = []
    for samples in seen:
        n = max(1, len(samples) // 4)
        quarters.append([tuple(max(s[k] for s in part) for k in (0, 1)) for part in (samples[1:n + 1], samples[-n - 1:-1])])
    return quarters


def main():
    s24 = os.path.abspath(sys.argv[1])
    gib = float(sys.argv[2]) if len(sys.argv) > 2 else 1024
    of_pass = float(sys.argv[3]) if len(sys.argv) > 3 else 64
    tensors = int(min(gib, of_pass) * 1024) // 64
    begin, pushed, passes, leaks = time.monotonic(), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="s24-soak-") as place:
        os.chdir(place)
        tensor("tensor")
        while pushed < gib * 1024:
            kind, how = KINDS[passes % len(KINDS)]
            quarters = one_pass(s24, tensors, how)
            passes += 1
            pushed += tensors * 64
            names = ("prune", "decompress", "prune again", "verify")
            told = "; ".join("%s %d -> %d KiB, %d -> %d descriptors" % (name, a[0], b[0], a[1], b[1])
                             for name, (a, b) in zip(names, quarters))
            print("%.0f GiB, %.0f s: %s: %s" % (pushed / 1024, time.monotonic() - begin, kind, told), flush=True)
            leaks += sum(b[0] > a[0] + SLOTS_KIB or b[1] > a[1] for a, b in quarters)
        os.chdir("/")
    print("%.0f GiB in %.0f s, %d stages that grew" % (pushed / 1024, time.monotonic() - begin, leaks))
    return leaks != 0


sys.exit(main())
