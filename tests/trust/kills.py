#!/usr/bin/env python3
"""Kills commands at random moments, and looks at what is left.

    kills.py S24 [KILLS [SEED]]

After each kill the output is the old file or the whole new one, and of a directory there is an index only if its shards are
whole. SIGTERM, SIGINT and SIGHUP leave nothing else; SIGKILL leaves at most temporary files, which the next run removes.
"""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TEMPORARY = re.compile(r"^\..*\.s24-[0-9a-f]{8}-[0-9]+-[A-Za-z0-9]{6}$")
OLD = b"precious " * 100


def array(path, rows, rng):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 1024), }" % rows
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        # finite f32: the exponent's upper bits are masked off
        bits = int.from_bytes(rng.randbytes(4096 * rows), "little")
        mask = int.from_bytes(b"\xff\xff\x7f\xbf" * (1024 * rows), "little")
        f.write((bits & mask).to_bytes(4096 * rows, "little"))


def checkpoint(path, shards, rng):
    os.mkdir(path)
    weights = {}
    for i in range(shards):
        name = "model-%05d-of-%05d.safetensors" % (i + 1, shards)
        rows = 512
        head = json.dumps({"layer.%d.weight" % i: {"dtype": "F16", "shape": [rows, 1024], "data_offsets": [0, 2048 * rows]}})
        head += " " * (-len(head) % 8)
        with open(os.path.join(path, name), "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head.encode())
            f.write(bytes(b & 0xbf for b in rng.randbytes(2048 * rows)))
        weights["layer.%d.weight" % i] = name
    with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": 2048 * 512 * shards}, "weight_map": weights}, f)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Kit:
    def __init__(self, s24, rng):
        self.s24, self.rng = s24, rng
        self.left = 0
        self.commands = {
            "prune": (["prune", "-q", "-f", "w.npy", "-o", "out/o"], "out/o"),
            "prune, no fsync": (["prune", "-q", "-f", "--no-sync", "--dtype", "f16", "w.npy", "-o", "out/o"], "out/o"),
            "to npz": (["prune", "-q", "-f", "w.npy", "--to", "npz", "-o", "out/o"], "out/o"),
            "decompress": (["decompress", "-q", "-f", "w.s24", "-o", "out/o"], "out/o"),
            "convert": (["convert", "-q", "-f", "w.s24", "--to", "safetensors", "-o", "out/o"], "out/o"),
            "prune to an archive": (["prune", "-q", "-f", "-z", "-T", "2", "w.npy", "-o", "out/o"], "out/o"),
            "convert to an archive": (["convert", "-q", "-f", "-z", "w.s24", "-o", "out/o"], "out/o"),
            "convert from an archive": (["convert", "-q", "-f", "w.z.s24", "-o", "out/o"], "out/o"),
            "a directory": (["prune", "-q", "model", "-o", "out/model"], None),
        }

    def run(self, command):
        return subprocess.run([self.s24] + command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def prepare(self):
        array("w.npy", 2048, self.rng)
        checkpoint("model", 4, self.rng)
        os.mkdir("out")
        assert self.run(["prune", "-q", "w.npy", "-o", "w.s24"]).returncode == 0
        assert self.run(["prune", "-q", "-z", "w.npy", "-o", "w.z.s24"]).returncode == 0
        self.new, self.time = {}, {}
        for name, (command, output) in self.commands.items():
            times = []
            for _ in range(3):
                shutil.rmtree("out/model", ignore_errors=True)
                begin = time.monotonic()
                done = self.run(command)
                times.append(time.monotonic() - begin)
                assert done.returncode == 0, (name, done.stderr)
            self.time[name] = sorted(times)[1]
            self.new[name] = read(output) if output else {f: read("out/model/" + f) for f in os.listdir("out/model")}
        shutil.rmtree("out")
        os.mkdir("out")

    def temporaries(self):
        found = []
        for directory, _, files in os.walk("out"):
            found += [os.path.join(directory, f) for f in files if f.startswith(".")]
        for path in found:
            assert TEMPORARY.match(os.path.basename(path)), ("not to be recognised", path)
        return found

    def check_file(self, name, output, ended):
        content = read(output)
        assert content in (OLD, self.new[name]), (name, "neither old nor new", len(content))
        assert not ended or content == self.new[name], (name, "said 0, and is old")
        assert os.stat(output).st_mode & 0o777 in (0o644, 0o600), name
        return content == OLD

    def check_directory(self, name, ended):
        there = {f: read("out/model/" + f) for f in os.listdir("out/model")} if os.path.isdir("out/model") else {}
        files = {f: b for f, b in there.items() if not TEMPORARY.match(f)}
        for f, content in files.items():
            assert content == self.new[name].get(f), (name, f, "not whole")
        if any(f.endswith(".index.json") for f in files) or ended:
            assert files.keys() == self.new[name].keys(), (name, "an index before its files")
        return not files

    def kill_once(self):
        name = self.rng.choice(list(self.commands))
        command, output = self.commands[name]
        which = self.rng.choice(SIGNALS)
        shutil.rmtree("out/model", ignore_errors=True)
        if output:
            with open(output, "wb") as f:
                f.write(OLD)
        process = subprocess.Popen([self.s24] + command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.rng.uniform(0, 1.1 * self.time[name]))
        process.send_signal(which)
        status = process.wait()
        assert status in (0, -which, 128 + which), (name, which, status)
        old = self.check_file(name, output, status == 0) if output else self.check_directory(name, status == 0)
        left = self.temporaries()
        assert which == signal.SIGKILL or not left, (name, which, left)
        if left:
            self.left += 1
            done = self.run(command if output else ["prune", "-q", "-f", "w.npy", "-o", "out/model/w.s24"])
            assert done.returncode == 0, (name, done.stderr)
            assert not self.temporaries(), (name, "not removed", self.temporaries())
        return which, old


def main():
    s24 = os.path.abspath(sys.argv[1])
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    os.umask(0o022)
    for which in SIGNALS[1:]: # a shell has them ignored by what it leaves behind, and so would the commands
        signal.signal(which, signal.SIG_DFL)
    place = tempfile.mkdtemp(prefix="s24-kills-")
    os.chdir(place)
    try:
        kit = Kit(s24, random.Random(seed))
        kit.prepare()
        counts = {which: [0, 0] for which in SIGNALS}
        for _ in range(kills):
            which, old = kit.kill_once()
            counts[which][not old] += 1
    finally:
        os.chdir("/")
        shutil.rmtree(place)
    for which, (old, new) in counts.items():
        print("%-8s %5d times: %d left the old output, %d the whole new one" % (which.name, old + new, old, new))
    print("%d kills, seed %d; %d left temporary files, which the next run removed" % (kills, seed, kit.left))


main()
