"""mask.py S24 W.npy OUT ROUNDS: 2:4 by magnitude as one writes it in numpy and torch, and s24's whole command; a line a
time: what it is, what it is compared with, seconds. Sides take turns."""
import os
import subprocess
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np

try:
    import torch
    torch.set_num_threads(1)
except ImportError:
    torch = None

s24, path, out, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
w = np.load(path)


def numpy_partition():
    groups = np.abs(w).reshape(-1, 4)
    least = np.argpartition(groups, 1, axis=1)[:, :2]
    mask = np.ones(groups.shape, bool)
    np.put_along_axis(mask, least, False, axis=1)
    return w * mask.reshape(w.shape)


def torch_topk():
    groups = t.abs().view(-1, 4)
    kept = groups.topk(2, dim=1).indices
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(1, kept, True)
    return t * mask.view(t.shape)


# The six masks of a group, and the one that keeps most: a product and an argmax, as NVIDIA's ASP does it.
def torch_patterns():
    best = (t.abs().view(-1, 4) @ patterns.t()).argmax(dim=1)
    return t * patterns[best].view(t.shape)


def command(dtype):
    subprocess.run([s24, "-T", "1", "prune", "-q", "--no-sync", "--dtype", dtype, path, "-f", "-o", out], check=True)


sides = [("s24 -T 1 prune, f32 to f32", "-", lambda: command("f32")),
         ("s24 -T 1 prune, f32 to f16", "-", lambda: command("f16")),
         ("numpy, argpartition", "s24 -T 1 prune, f32 to f16", numpy_partition)]
if torch:
    t = torch.from_numpy(w)
    patterns = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]],
                            dtype=t.dtype)
    sides += [("torch, topk", "s24 -T 1 prune, f32 to f16", torch_topk),
              ("torch, the best of six masks", "s24 -T 1 prune, f32 to f16", torch_patterns)]
for i in range(rounds + 1):  # the first is not counted
    for name, base, work in sides:
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        if i:
            print(name, base, f"{seconds:.6f}", sep="\t")
