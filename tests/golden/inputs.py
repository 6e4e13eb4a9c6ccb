#!/usr/bin/env python3
"""inputs.py DIRECTORY - writes the inputs of the golden files and what the golden files must decode to.

Plain Python 3. A second implementation of pruning and of the recorded metrics, written from s24(5) and s24-prune(1), a
group at a time and with no care for speed; it shares no code with the library, nor with decode.py. Every input NAME.*
gets a text NAME.txt in the form that decode.py prints.
"""
import json
import math
import os
import struct
import sys

PANEL_GROUPS = 65536

# ------------------------------------------------------------------ element types: bytes, exponent bits, mantissa bits

FLOATS = {"f64": (8, 11, 52), "f32": (4, 8, 23), "f16": (2, 5, 10), "bf16": (2, 8, 7), "f8e4m3": (1, 4, 3),
          "f8e5m2": (1, 5, 2)}
OTHERS = {"i8": 1, "i64": 8, "bool": 1, "u8": 1, "f4": 0}
ST_NAMES = {"f8e4m3": "F8_E4M3", "f8e5m2": "F8_E5M2"}


def width(dtype):
    return FLOATS[dtype][0] if dtype in FLOATS else OTHERS[dtype]


def value(dtype, bits):
    """The number that the bits of an element stand for."""
    if dtype == "i8":
        return bits - 256 if bits > 127 else bits
    _, e, m = FLOATS[dtype]
    sign = -1.0 if bits >> (e + m) else 1.0
    exponent, mantissa = bits >> m & (1 << e) - 1, bits & (1 << m) - 1
    bias = (1 << e - 1) - 1
    if not finite(dtype, bits):
        return math.nan if mantissa or dtype == "f8e4m3" else sign * math.inf
    if exponent == 0:
        return sign * math.ldexp(mantissa, 1 - bias - m)
    return sign * math.ldexp(mantissa + (1 << m), exponent - bias - m)


def magnitude(dtype, bits):
    """|x| as an integer that orders elements."""
    if dtype == "i8":
        return abs(value(dtype, bits))
    _, e, m = FLOATS[dtype]
    return bits & (1 << e + m) - 1


def finite(dtype, bits):
    if dtype == "i8":
        return True
    _, e, m = FLOATS[dtype]
    return magnitude(dtype, bits) < ((1 << e + m) - 1 if dtype == "f8e4m3" else (1 << e) - 1 << m)


def bits_of(dtype, x):
    """The bits of a number: mostly from struct; of 8-bit floats by looking for the nearest, ties to even."""
    if dtype == "i8":
        return x & 0xff
    if dtype == "bf16":  # the numbers here are exact in f32, so that this is the only rounding
        bits = bits_of("f32", x)
        return bits + 0x7fff + (bits >> 16 & 1) >> 16
    if dtype in ("f64", "f32", "f16"):
        return int.from_bytes(struct.pack({"f64": "<d", "f32": "<f", "f16": "<e"}[dtype], x), "little")
    _, e, m = FLOATS[dtype]
    sign = 1 << e + m if math.copysign(1, x) < 0 else 0
    magnitudes = (k for k in range(1 << e + m) if finite(dtype, k))
    return sign | min(magnitudes, key=lambda k: (abs(value(dtype, k) - abs(x)), k & 1))


# ------------------------------------------------------------------ tensors: bits of the elements, C order

class Tensor:
    def __init__(self, dtype, shape, numbers=None, bits=None, raw=None):
        self.dtype, self.shape, self.raw = dtype, shape, raw
        self.bits = bits if bits is not None else [bits_of(dtype, x) for x in numbers] if raw is None else None

    def bytes(self, order="little"):
        return self.raw if self.raw is not None else b"".join(b.to_bytes(width(self.dtype), order) for b in self.bits)


def count(shape):
    return math.prod(shape)


def pseudo(n, seed, scale=1.0):
    """n numbers with few digits, the same everywhere."""
    out, state = [], seed
    for _ in range(n):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        out.append(((state >> 40) % 4001 - 2000) / 256.0 * scale)
    return out


# ------------------------------------------------------------------ pruning

def rows_of(shape, axis):
    """For every row the indices of its elements in C order."""
    if not shape:
        return [[0]]
    strides = [count(shape[d + 1:]) for d in range(len(shape))]
    starts = [0]
    for d in range(len(shape)):
        if d != axis:
            starts = [s + i * strides[d] for s in starts for i in range(shape[d])]
    return [[s + k * strides[axis] for k in range(shape[axis])] for s in starts]


def fold(lane):
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]))


def panels_of(rows, groups, panel_groups):
    """(rows, first group, end group) of every panel."""
    if not rows or not groups:
        return []
    if groups <= panel_groups:
        step = panel_groups // groups
        return [(rows[i:i + step], 0, groups) for i in range(0, len(rows), step)]
    return [([row], g, min(g + panel_groups, groups)) for row in rows for g in range(0, groups, panel_groups)]


def prune(t, axis=-1, stored=None, gradients=None, panel_groups=PANEL_GROUPS):
    """What comes back from the .s24, and the slots 0 to 13 of the metrics."""
    stored = stored or t.dtype
    axis = axis if axis >= 0 else axis + max(len(t.shape), 1)
    rows = rows_of(t.shape, axis)
    cols = len(rows[0]) if rows else t.shape[axis]
    groups = -(-cols // 4)
    out = [0] * len(t.bits)
    slots = [0] * 7 + [0.0] * 7
    for panel, first, end in panels_of(rows, groups, panel_groups):
        lanes = [[0.0] * 8 for _ in range(6)]  # kept |w|, pruned |w|, kept w^2, pruned w^2, |w - v|, (w - v)^2
        for row in panel:
            for g in range(first, end):
                prune_group(t, row[4 * g:4 * g + 4], stored, gradients, 2 * (g - first), out, slots, lanes)
        for i in range(6):
            slots[7 + i] += fold(lanes[i])
    return Tensor(t.dtype, t.shape, bits=out), slots


def prune_group(t, group, stored, gradients, lane, out, slots, lanes):
    def score(i):
        if gradients is None:
            return magnitude(t.dtype, t.bits[i])
        return abs(value(t.dtype, t.bits[i]) * gradients[i]) if finite(t.dtype, t.bits[i]) else math.inf

    ranked = sorted(group, key=lambda i: (-score(i), i))  # ties: the lower index
    kept, pruned = sorted(ranked[:2]), sorted(ranked[2:])
    slots[0] += len(group)
    slots[1] += len(pruned)
    slots[2] += len(pruned)
    slots[6] += any(magnitude(t.dtype, t.bits[i]) for i in pruned)
    for n, i in enumerate(kept):
        bits, w = t.bits[i], value(t.dtype, t.bits[i])
        v = bits if stored == t.dtype else bits_of(stored, w)
        out[i] = bits if stored == t.dtype else bits_of(t.dtype, value(stored, v))
        slots[2] += magnitude(stored, v) == 0
        if not finite(t.dtype, bits):
            slots[3] += 1
            continue
        error = abs(w - value(stored, v))
        for k, x in ((0, abs(w)), (2, w * w), (4, error), (5, error * error)):
            lanes[k][(lane + n) % 8] += x
        slots[13] = max(slots[13], float(error))
    for n, i in enumerate(pruned):
        bits, w = t.bits[i], value(t.dtype, t.bits[i])
        slots[5] += magnitude(t.dtype, bits) == 0 and bits != 0
        if not finite(t.dtype, bits):
            slots[4] += 1
            continue
        lanes[1][(lane + n) % 8] += abs(w)
        lanes[3][(lane + n) % 8] += w * w
        slots[13] = max(slots[13], float(abs(w)))


# ------------------------------------------------------------------ files

def npy(t, fortran=False, order="<"):
    letters = {"f64": "f8", "f32": "f4", "f16": "f2", "i8": "i1"}
    shape = "(" + "".join("%d, " % n for n in t.shape) + ")"
    descr = ("|" if width(t.dtype) == 1 else order) + letters[t.dtype]
    head = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    bits = t.bits
    if fortran:  # rank 2
        bits = [t.bits[r * t.shape[1] + c] for c in range(t.shape[1]) for r in range(t.shape[0])]
    data = Tensor(t.dtype, t.shape, bits=bits).bytes("big" if order == ">" else "little")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


def safetensors(tensors, metadata=None):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, t in tensors.items():
        b = t.bytes()
        header[name] = {"dtype": ST_NAMES.get(t.dtype, t.dtype.upper()), "shape": t.shape,
                        "data_offsets": [len(data), len(data) + len(b)]}
        data += b
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


# ------------------------------------------------------------------ expected text, as decode.py prints it

def element(dtype, bits):
    if dtype not in FLOATS and dtype != "i8":
        n = 8 * width(dtype)
        return str(bits - (1 << n) if dtype[0] == "i" and bits >> n - 1 else bits)
    x = value(dtype, bits)
    return "nan:%0*x" % (2 * width(dtype), bits) if x != x else repr(x)


def describe(name, t, slots=None):
    lines = ["%s %s %s" % (json.dumps(name, ensure_ascii=False), t.dtype, json.dumps(t.shape, separators=(",", ":")))]
    if t.raw is not None:
        lines.append("  bytes " + t.raw.hex())
    else:
        step = t.shape[-1] if t.shape else 1
        for i in range(0, len(t.bits), step or 1):
            lines.append("  " + " ".join(element(t.dtype, b) for b in t.bits[i:i + step]))
    if slots:
        lines.append("  counts " + " ".join("%d" % x for x in slots[:7]))
        lines.append("  sums " + " ".join(repr(float(x)) for x in slots[7:]))
    return "\n".join(lines) + "\n"


class Writer:
    def __init__(self, directory):
        self.directory = directory

    def put(self, name, data):
        with open(os.path.join(self.directory, name), "wb") as f:
            f.write(data)

    def lone(self, name, suffix, data, t, **how):
        self.put(name + suffix, data)
        self.put(name + ".txt", describe("arr_0", *prune(t, **how)).encode())

    def model(self, name, tensors, pruned, metadata=None, panel_groups=PANEL_GROUPS):
        """pruned: {name: axis}; the other tensors are carried."""
        self.put(name + ".safetensors", safetensors(tensors, metadata))
        text = ""
        for pair in (metadata or {}).items():
            text += "metadata %s %s\n" % tuple(json.dumps(s, ensure_ascii=False) for s in pair)
        for n, t in tensors.items():
            how = prune(t, pruned[n], panel_groups=panel_groups) if n in pruned else (t,)
            text += describe(n, *how)
        self.put(name + ".txt", text.encode())


def main(directory):
    w = Writer(directory)

    matrix = Tensor("f32", [2, 8], [1, -2, 3, -4, 0.5, 0.25, -0.125, 0.0625, 0, 0, 0, 7, 1, -1.5, 8, 1.5])
    w.lone("matrix", ".npy", npy(matrix), matrix)

    tails = {"k%d" % k: Tensor("f32", [2, k], pseudo(2 * k, k)) for k in (1, 2, 3, 5, 6, 7, 9)}
    tails["k3"].bits[1] = 0x80000000  # -0.0
    tails["vector"] = Tensor("f32", [6], [-0.0, -0.0, 1e-45, -0.0, 0.0, -1e-40])
    w.model("tails", tails, {n: -1 for n in tails})

    columns = Tensor("f16", [10, 3], pseudo(30, 77))
    w.lone("columns", ".npy", npy(columns), columns, axis=0)

    model = {
        "conv.weight": Tensor("bf16", [2, 8, 2, 2], pseudo(64, 1, 1 / 16)),
        "fc.bias": Tensor("f32", [50], pseudo(50, 2)),
        "fc.weight": Tensor("f8e4m3", [4, 8], pseudo(32, 3)),
        "out.weight": Tensor("f8e5m2", [2, 8], pseudo(16, 4)),
        "gr\u00f6\u00dfe \"x\\y\"": Tensor("f32", [2, 4], pseudo(8, 5)),
        "steps": Tensor("i64", [], bits=[(1 << 64) - 12345]),
        "mask": Tensor("bool", [3], bits=[1, 0, 1]),
        "a.s24.values": Tensor("u8", [5], bits=[1, 2, 3, 254, 255]),
        "empty": Tensor("f32", [0, 4], []),
        "quarter": Tensor("f4", [2, 2], raw=b"\x21\x43"),
    }
    metadata = {"format": "pt", "s24.note": "a key that begins like ours", "s24": "and this one",
                "lines": "one\ntwo\t\"quoted\""}
    pruned = {"conv.weight": 1, "fc.weight": 1, "out.weight": 1, "gr\u00f6\u00dfe \"x\\y\"": 1}
    w.model("model", model, pruned, metadata, panel_groups=8)

    i8 = Tensor("i8", [2, 8], [127, -128, -127, 1, 0, 0, -1, 0, 5, -5, 5, -5, -128, 127, 127, -128])
    w.lone("i8", ".npy", npy(i8), i8)

    scalar = Tensor("f64", [], [math.pi])
    w.lone("scalar", ".npy", npy(scalar), scalar, axis=0)

    nothing = {"rows": Tensor("f32", [0, 8], []), "one": Tensor("f32", [1, 1], [0.75]),
               "cols": Tensor("f16", [3, 0], [])}
    w.model("nothing", nothing, {n: -1 for n in nothing})

    panels = {"long": Tensor("f32", [2, 37], pseudo(74, 8)),
              "short": Tensor("bf16", [5, 7], pseudo(35, 9, 1 / 16)),
              "even": Tensor("f64", [3, 16], pseudo(48, 10))}
    w.model("panels", panels, {n: -1 for n in panels}, panel_groups=4)

    narrow = Tensor("f64", [2, 8], [0.1, -0.2, 1 + 2.0 ** -11, 1 + 3 * 2.0 ** -11,
                                    65519.0, 1e-8, -2.0 ** -25, 2.0 ** -24 * 1.5,
                                    1e-300, 0, -1e-9, 1e-10, 3, 2, 1, 1 / 3])
    w.lone("narrow", ".npy", npy(narrow), narrow, stored="f16")

    nonfinite = Tensor("f32", [2, 8], pseudo(16, 12))
    for at, bits in ((1, 0x7fc00001), (2, 0xff800000), (3, 0x7f800000), (9, 0x7f800000), (12, 0xffc12345)):
        nonfinite.bits[at] = bits
    w.lone("nonfinite", ".npy", npy(nonfinite), nonfinite)

    weights, gradients = pseudo(16, 13), pseudo(16, 14, 1 / 4)
    weights[8:12], gradients[8:12] = [0, 0, 1, 0], [1, 1, 0, 1]  # scores all 0: the element unequal to 0 is pruned
    w.put("gradient.gradients.npy", npy(Tensor("f64", [2, 8], gradients)))
    text = json.dumps([weights[:8], weights[8:]]) + "\n"
    w.lone("gradient", ".json", text.encode(), Tensor("f64", [2, 8], weights), gradients=gradients)

    fortran = Tensor("f32", [3, 8], pseudo(24, 15))
    w.lone("fortran", ".npy", npy(fortran, fortran=True, order=">"), fortran)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: inputs.py DIRECTORY")
    main(sys.argv[1])
