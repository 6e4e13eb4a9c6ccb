"""Layers to measure calibrated pruning on: W [rows, K], X to calibrate with, and fresh X of the same kind.

Groups of four lie along K. Convolutions are im2col matrices, columns (tap, channel). The trained network is the voice
detector of the samples, fed with synthetic speech: harmonics through formants, pauses, noise of many levels."""
import os
import struct
import json
import numpy as np


def safetensors(path):
    with open(path, 'rb') as f:
        n, = struct.unpack('<Q', f.read(8))
        header = json.loads(f.read(n))
        base = 8 + n
        out = {}
        for name, t in header.items():
            if name != '__metadata__':
                f.seek(base + t['data_offsets'][0])
                raw = f.read(t['data_offsets'][1] - t['data_offsets'][0])
                out[name] = np.frombuffer(raw, '<f4').reshape(t['shape'])
    return out


def speech(seconds, rng, rate=16000):
    n = int(seconds * rate)
    out = np.zeros(n)
    at = 0
    while at < n:
        length = int(rate * rng.uniform(.05, .4))
        end = min(n, at + length)
        t = np.arange(end - at) / rate
        kind = rng.random()
        if kind < .55:  # voiced
            f0 = rng.uniform(80, 300) * (1 + .1 * np.sin(2 * np.pi * rng.uniform(2, 6) * t))
            phase = 2 * np.pi * np.cumsum(f0) / rate
            formants = [(rng.uniform(250, 900), 90), (rng.uniform(800, 2400), 140), (rng.uniform(2300, 3500), 250)]
            x = np.zeros(end - at)
            for h in range(1, 30):
                f = h * f0.mean()
                if f < rate / 2:
                    x += sum(1 / (1 + ((f - c) / b) ** 2) for c, b in formants) * np.sin(h * phase + rng.uniform(0, 6))
        elif kind < .75:  # fricative
            x = np.diff(rng.normal(size=end - at + 1)) * .3
        else:
            x = np.zeros(end - at)
        out[at:end] = x * np.hanning(end - at) ** .3 * 10 ** rng.uniform(-1.5, 0)
        at = end
    return (out * .2 + rng.normal(size=n) * 10 ** rng.uniform(-4, -1.5)).astype(np.float32)


def conv(x, w, b, stride):
    """x [batch, C, T], padded by one: the output, and the im2col inputs [batch * T', taps * C]."""
    batch, channels, length = x.shape
    x = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    steps = (length + 2 - 3) // stride + 1
    cols = np.stack([x[:, :, s * stride:s * stride + 3] for s in range(steps)], 1)  # [batch, T', C, 3]
    cols = cols.transpose(0, 1, 3, 2).reshape(batch * steps, 3 * channels)
    y = np.maximum(cols @ matrix(w).T + b, 0)
    return y.reshape(batch, steps, -1).transpose(0, 2, 1), cols


def matrix(w):
    return w.transpose(0, 2, 1).reshape(w.shape[0], -1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def detector(path, seconds, rng):
    """The inputs of every layer of the voice detector."""
    n = safetensors(path)
    streams = 32
    audio = np.stack([speech(seconds / streams, rng) for _ in range(streams)])
    frames = (audio.shape[1] - 64) // 512
    h = np.zeros((streams, 128), np.float32)
    c = np.zeros((streams, 128), np.float32)
    inputs = {k: [] for k in ('conv2', 'conv3', 'conv4', 'ih', 'hh')}
    for f in range(frames):
        x = audio[:, f * 512:f * 512 + 576]
        x = np.concatenate([x, x[:, -2:-66:-1]], 1)
        s = np.stack([x[:, i * 128:i * 128 + 256] for i in range(4)], 1) @ n['stft_conv.weight'][:, 0].T
        x = np.sqrt(s[..., :129] ** 2 + s[..., 129:] ** 2).transpose(0, 2, 1)
        x, _ = conv(x, n['conv1.weight'], n['conv1.bias'], 1)
        x, i2 = conv(x, n['conv2.weight'], n['conv2.bias'], 2)
        x, i3 = conv(x, n['conv3.weight'], n['conv3.bias'], 2)
        x, i4 = conv(x, n['conv4.weight'], n['conv4.bias'], 1)
        x = x[:, :, -1]
        for name, value in zip(inputs, (i2, i3, i4, x, h)):
            inputs[name].append(value)
        gates = x @ n['lstm_cell.weight_ih'].T + n['lstm_cell.bias_ih'] + h @ n['lstm_cell.weight_hh'].T + n['lstm_cell.bias_hh']
        i, fg, g, o = np.split(gates, 4, 1)
        c = sigmoid(fg) * c + sigmoid(i) * np.tanh(g)
        h = (sigmoid(o) * np.tanh(c)).astype(np.float32)
    weights = {'conv2': matrix(n['conv2.weight']), 'conv3': matrix(n['conv3.weight']), 'conv4': matrix(n['conv4.weight']),
               'ih': n['lstm_cell.weight_ih'], 'hh': n['lstm_cell.weight_hh']}
    return {k: (np.ascontiguousarray(weights[k], np.float32),
                np.ascontiguousarray(np.concatenate(v), np.float32)) for k, v in inputs.items()}


def split(w, x, calibration, fresh):
    """Calibration and fresh rows, apart in time."""
    return w, x[:calibration], x[-fresh:]


def heavy_tailed(rows, k, n, rng):
    """Correlated, with outlier channels: a mixing of heavy-tailed sources, as language models have it."""
    rank = k // 4
    mix = rng.normal(size=(rank, k)) / np.sqrt(rank)
    scale = np.exp(rng.normal(size=k))
    x = (rng.standard_t(3, size=(n, rank)) @ mix + .3 * rng.normal(size=(n, k))) * scale
    return rng.normal(size=(rows, k)).astype(np.float32), x.astype(np.float32)


def digits(data):
    w = [np.load(os.path.join(data, f'fc{i}.weight.npy')) for i in (1, 2)]
    b = [np.load(os.path.join(data, f'fc{i}.bias.npy')) for i in (1, 2)]
    x = np.load(os.path.join(data, 'test_images.npy')).astype(np.float32)
    h = np.maximum(x @ w[0].T + b[0], 0)
    x, h = (np.concatenate([v[::2], v[1::2]]) for v in (x, h))
    return {'fc1': (w[0], x), 'fc2': (w[1], h)}


def layers(samples, data, seed=1):
    """name -> W, X to calibrate with, fresh X."""
    rng = np.random.default_rng(seed)
    out = {}
    x = rng.normal(size=(3 * 2048, 512)).astype(np.float32)
    out['iid'] = split(rng.normal(size=(256, 512)).astype(np.float32), x, 2048, 2048)
    w, x = heavy_tailed(256, 512, 4 * 2048, rng)
    out['heavy'] = split(w, x, 2048, 4096)
    w, x = heavy_tailed(384, 256, 4 * 2048, np.random.default_rng(seed + 1))
    out['heavy2'] = split(w, x, 2048, 4096)
    for name, (w, x) in (detector(samples, 640, rng) if samples else {}).items():
        out[name] = split(w, x, min(len(x) // 2, 8192), len(x) // 2)
    for name, (w, x) in digits(data).items():
        out[name] = split(w, x, 180, 180)
    return out
