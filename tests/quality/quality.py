"""The error of a layer's output on fresh samples, ||X (W - V)'||_F / ||X W'||_F, by method and layer; and what must hold of it."""
import os
import subprocess
import sys
import tempfile
import time
import numpy as np
import layers
from library import Library, here

METHODS = [('magnitude', False), ('wanda', False), ('ria', False), ('sparsegpt', False), ('sparsegpt', True), ('wanda', True),
           ('obs', True)]


def error(w, v, h):
    d = w.astype(float) - v
    return np.sqrt(np.sum(d @ h * d) / np.sum(w.astype(float) @ h * w))


def sparsegpt(w, x):
    """Frantar and Alistarh 2023, arXiv 2301.00774, in f64: columns one by one."""
    w = w.astype(float)
    h = 2 * x.astype(float).T @ x.astype(float) / len(x)
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += .01 * np.mean(np.diag(h)) * np.eye(len(h))
    u = np.linalg.cholesky(np.linalg.inv(h)).T
    v = np.zeros_like(w)
    for j in range(w.shape[1]):
        if j % 4 == 0:
            cost = w[:, j:j + 4] ** 2 / np.diag(u)[j:j + 4] ** 2
            order = np.argsort(-cost, axis=1, kind='stable')[:, :2]
            keep = np.zeros(cost.shape, bool)
            np.put_along_axis(keep, order, True, 1)
        v[:, j] = np.where(keep[:, j % 4], w[:, j], 0)
        w[:, j:] -= np.outer((w[:, j] - v[:, j]) / u[j, j], u[j, j:])
    return v


def wanda(w, x):
    score = np.abs(w.astype(float)) * np.sqrt(np.sum(x.astype(float) ** 2, 0))
    order = np.argsort(-score.reshape(len(w), -1, 4), axis=2, kind='stable')[:, :, :2]
    keep = np.zeros((len(w), w.shape[1] // 4, 4), bool)
    np.put_along_axis(keep, order, True, 2)
    return w * keep.reshape(w.shape)


def permuted(w, x):
    """obs in the order of columns that s24 prune --permute finds; undone."""
    with tempfile.TemporaryDirectory() as d:
        at = {name: os.path.join(d, name) for name in ('w.npy', 'x.npy', 'w.s24', 'v.npy')}
        np.save(at['w.npy'], w)
        np.save(at['x.npy'], x)
        s24 = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), 's24')
        for args in (['prune', at['w.npy'], '--activations', at['x.npy'], '--method', 'obs', '--permute', '-o', at['w.s24']],
                     ['decompress', at['w.s24'], '-o', at['v.npy']]):
            subprocess.run([s24, '-q', *args], check=True)
        return np.load(at['v.npy'])


def measure(s, name, w, x, fresh):
    h = fresh.astype(float).T @ fresh.astype(float)
    cal = s.calibrate(x)
    row, bad = {}, []
    for method, refit in METHODS:
        start = time.time()
        v, e = s.prune(w, method, cal, refit)
        row[method + ('+refit' if refit and method != 'obs' else '')] = error(w, v, h)
        seconds = time.time() - start
        if np.any(np.sum(v.reshape(len(v), -1, 4) != 0, 2) > 2):
            bad.append(f'{method} is not 2:4')
        if method == 'wanda' and not refit and np.mean(v != wanda(w, x)) > 1e-4:
            bad.append("wanda's mask is another one than the reference's")
    s.free(cal)
    row['obs+permute'] = error(w, permuted(w, x), h)
    reference = error(w, sparsegpt(w, x), h)
    if abs(row['sparsegpt'] / reference - 1) > .01:
        bad.append(f'sparsegpt {row["sparsegpt"]:.4f}, the reference {reference:.4f}')
    if name == 'iid' and row['obs'] > 1.005 * row['magnitude']:
        bad.append('obs is worse than magnitude')
    if name != 'iid' and row['obs'] > .85 * row['sparsegpt']:
        bad.append('obs is not 15% better than sparsegpt')
    if name in ('heavy', 'heavy2', 'ih', 'hh') and row['obs+permute'] > .75 * row['sparsegpt']:
        bad.append('obs in another order is not 25% better than sparsegpt')
    if e.held_out > e.wanda_held_out:
        bad.append('obs is worse than wanda on held-out samples')
    chosen = f'{row["obs"] / row["sparsegpt"]:.3f} and {row["obs+permute"] / row["sparsegpt"]:.3f} of sparsegpt, ' \
        f'{e.method.decode()}{" + refit" if e.refit else ""}, damping {e.damping:.2g}, shape {e.shape:g}, {seconds:.1f} s'
    return row, chosen, bad


def main():
    s = Library(sys.argv[1])
    if s.blas is None:
        print('quality: skipped: no OpenBLAS')
        return 0
    only = sys.argv[3].split(',') if len(sys.argv) > 3 else None
    table = layers.layers(sys.argv[2] if len(sys.argv) > 2 else None, here('..', 'data', 'digits'))
    failed = 0
    for name, (w, x, fresh) in table.items():
        if only and name not in only:
            continue
        row, chosen, bad = measure(s, name, w, x, fresh)
        if not failed and name == (only or list(table))[0]:
            print(f'{"layer":16s}', *(f'{m:>15s}' for m in row))
        print(f'{name + " " + "x".join(map(str, w.shape)):16s}', *(f'{v:15.4f}' for v in row.values()), ' ' + chosen, flush=True)
        for b in bad:
            print(f'quality: {name}: {b}', file=sys.stderr)
        failed += len(bad)
    return failed != 0


sys.exit(main())
