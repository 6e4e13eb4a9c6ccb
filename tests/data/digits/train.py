#!/usr/bin/python3
"""Train the 64-128-64-10 digits network and write the files in this folder.

Needs numpy and scikit-learn. Usage: ./train.py [existing output folder]
"""
import json
import os
import struct
import sys
import warnings

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # same sums whatever the core count
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 0
ALPHAS = (1e-3, 1e-2, 1e-1, 1.0)  # L2 penalties to choose from
EPOCHS = 60
CALIBRATION = 256  # training images whose layer inputs are kept


def shifted(x, dy, dx):
    p = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    return p[:, 1 - dy:9 - dy, 1 - dx:9 - dx].reshape(-1, 64)


def fit(x, y, alpha):
    """Train on the images and on copies moved by half a pixel each way."""
    moves = ((0, 1), (0, -1), (1, 0), (-1, 0))
    images = np.concatenate([x] + [(x + shifted(x, *m)) / 2 for m in moves])
    net = MLPClassifier((128, 64), alpha=alpha, batch_size=64, max_iter=EPOCHS,
                        n_iter_no_change=EPOCHS, random_state=SEED)
    return net.fit(images, np.tile(y, 5))


def choose_alpha(x, y):
    """Best mean accuracy of a 5-fold cross-validation; the test set is not used."""
    score = {}
    for alpha in ALPHAS:
        folds = StratifiedKFold(5, shuffle=True, random_state=SEED).split(x, y)
        score[alpha] = np.mean([fit(x[t], y[t], alpha).score(x[v], y[v])
                                for t, v in folds])
        print(f"alpha {alpha:g}: mean validation accuracy {score[alpha]:.4f}")
    return max(score, key=score.get)


def prune_2_of_4(w):
    """Keep the two largest magnitudes of each four along the last axis."""
    groups = w.reshape(-1, 4).copy()
    order = np.argsort(-np.abs(groups), axis=1, kind="stable")
    np.put_along_axis(groups, order[:, 2:], 0, axis=1)
    return groups.reshape(w.shape)


def correct(t, x, y):
    for i in (1, 2, 3):
        x = x @ t[f"fc{i}.weight"].T + t[f"fc{i}.bias"]
        if i < 3:
            x = np.maximum(x, 0)
    return int((x.argmax(axis=1) == y).sum())


def layer_inputs(t, x):
    """What comes into each layer, by the name of its weights: calibration data."""
    inputs = {}
    for i in (1, 2, 3):
        inputs[f"fc{i}.weight"] = x.astype("<f2")
        x = np.maximum(x @ t[f"fc{i}.weight"].T + t[f"fc{i}.bias"], 0)
    return inputs


def save_safetensors(path, t):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(t):
        header[name] = {"dtype": "F32", "shape": list(t[name].shape),
                        "data_offsets": [offset, offset + t[name].nbytes]}
        offset += t[name].nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.write(b"".join(t[name].tobytes() for name in sorted(t)))


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)  # EPOCHS is fixed on purpose
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("<f4")
    x, x_test, y, y_test = train_test_split(x, y, test_size=360, stratify=y,
                                            random_state=SEED)
    net, t = fit(x, y, choose_alpha(x, y)), {}
    for i, (w, b) in enumerate(zip(net.coefs_, net.intercepts_), 1):
        t[f"fc{i}.weight"] = np.ascontiguousarray(w.T, dtype="<f4")  # [out, in]
        t[f"fc{i}.bias"] = np.ascontiguousarray(b, dtype="<f4")
    files = dict(t, test_images=np.ascontiguousarray(x_test),
                 test_labels=y_test.astype(np.int8))
    for name, a in files.items():
        np.save(os.path.join(out, name + ".npy"), a)
    save_safetensors(os.path.join(out, "digits.safetensors"), t)
    np.savez_compressed(os.path.join(out, "calibration.npz"), **layer_inputs(t, x[:CALIBRATION]))
    pruned = {n: prune_2_of_4(a) if a.ndim == 2 else a for n, a in t.items()}
    for label, p in ("dense", t), ("2:4 by magnitude", pruned):
        print(f"{label}: {correct(p, x_test, y_test)} of {len(y_test)} correct")


if __name__ == "__main__":
    main()
