#!/usr/bin/env python3
"""inputs.py DIRECTORY - writes the inputs of the golden files and what the golden files must decode to.

Plain Python 3. A second implementation of pruning and of the recorded metrics, written from s24(5) and s24-prune(1), a
group at a time and with no care for speed; it shares no code with the library, nor with decode.py. Every input NAME.*
gets a text NAME.txt in the form that decode.py prints, but for those that are another's spelling (README.md has whose).
"""
import json
import math
import os
import struct
import sys
import zlib

PANEL_GROUPS = 65536

# ------------------------------------------------------------------ element types: bytes, exponent bits, mantissa bits

FLOATS = {"f64": (8, 11, 52), "f32": (4, 8, 23), "f16": (2, 5, 10), "bf16": (2, 8, 7), "f8e4m3": (1, 4, 3),
          "f8e5m2": (1, 5, 2)}
OTHERS = {"i8": 1, "i64": 8, "i32": 4, "i16": 2, "u64": 8, "u32": 4, "u16": 2, "u8": 1, "bool": 1, "f8e8m0": 1,
          "c64": 0, "f6e2m3": 0, "f6e3m2": 0, "f4": 0}
ST_NAMES = {"f8e4m3": "F8_E4M3", "f8e5m2": "F8_E5M2", "f8e8m0": "F8_E8M0", "f6e2m3": "F6_E2M3", "f6e3m2": "F6_E3M2"}


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


STEPS = {"i8": 127, "f8e4m3": 448, "f8e5m2": 57344}


def least_scale(most, stored):
    """The least f32 that so many steps of are not below `most`."""
    if most == 0:
        return 1.0
    bits = bits_of("f32", most / STEPS[stored])
    while value("f32", bits) * STEPS[stored] >= most:
        bits -= 1
    return value("f32", bits + 1)


def kept_of(t, group, gradients=None):
    """Indices of the two that are kept of a group, and of the others."""
    def score(i):
        if gradients is None:
            return magnitude(t.dtype, t.bits[i])
        return abs(value(t.dtype, t.bits[i]) * gradients[i]) if finite(t.dtype, t.bits[i]) else math.inf

    ranked = sorted(group, key=lambda i: (-score(i), i))  # ties: the lower index
    return sorted(ranked[:2]), sorted(ranked[2:])


def scales_of(t, rows, stored, group):
    """The scale of every element that is kept: of its row, or of its `group` columns."""
    scales = {}
    for row in rows:
        for part in range(0, len(row), group or len(row) or 1):
            end = min(part + (group or len(row)), len(row))
            kept = [i for g in range(part, end, 4) for i in kept_of(t, row[g:min(g + 4, end)])[0]]
            scale = least_scale(max(abs(value(t.dtype, t.bits[i])) for i in kept), stored)
            scales.update((i, scale) for i in kept)
    return scales


def prune(t, axis=-1, stored=None, gradients=None, panel_groups=PANEL_GROUPS, group=None):
    """What comes back from the .s24, and the slots 0 to 13 of the metrics. group: columns that share a scale, 0: a row."""
    stored = stored or t.dtype
    axis = axis if axis >= 0 else axis + max(len(t.shape), 1)
    rows = rows_of(t.shape, axis)
    cols = len(rows[0]) if rows else t.shape[axis]
    groups = -(-cols // 4)
    out = [0] * len(t.bits)
    slots = [0] * 7 + [0.0] * 7
    scales = scales_of(t, rows, stored, group) if group is not None else {}
    for panel, first, end in panels_of(rows, groups, panel_groups):
        lanes = [[0.0] * 8 for _ in range(6)]  # kept |w|, pruned |w|, kept w^2, pruned w^2, |w - v|, (w - v)^2
        for row in panel:
            for g in range(first, end):
                prune_group(t, row[4 * g:4 * g + 4], stored, gradients, scales, 2 * (g - first), out, slots, lanes)
        for i in range(6):
            slots[7 + i] += fold(lanes[i])
    return Tensor(t.dtype, t.shape, bits=out), slots


def prune_permuted(t, order, stored, group):
    """A matrix whose columns are put in the order first, and back afterwards."""
    cols = t.shape[1]
    at = [i // cols * cols + order[i % cols] for i in range(len(t.bits))]
    out, slots = prune(Tensor(t.dtype, t.shape, bits=[t.bits[k] for k in at]), stored=stored, group=group)
    bits = [0] * len(at)
    for i, k in enumerate(at):
        bits[k] = out.bits[i]
    return Tensor(t.dtype, t.shape, bits=bits), slots


def store(t, i, stored, scale):
    """Bits of element i as they are stored, what they count, and bits of what comes back."""
    bits = t.bits[i]
    if scale is not None:
        x = value(t.dtype, bits) / scale
        q = bits_of(stored, round(x) if stored == "i8" else x)
        return q, value(stored, q) * scale, bits_of(t.dtype, value(stored, q) * scale)
    v = bits if stored == t.dtype else bits_of(stored, value(t.dtype, bits))
    return v, value(stored, v), bits if stored == t.dtype else bits_of(t.dtype, value(stored, v))


def prune_group(t, group, stored, gradients, scales, lane, out, slots, lanes):
    kept, pruned = kept_of(t, group, gradients)
    slots[0] += len(group)
    slots[1] += len(pruned)
    slots[2] += len(pruned)
    slots[6] += any(magnitude(t.dtype, t.bits[i]) for i in pruned)
    for n, i in enumerate(kept):
        bits, w = t.bits[i], value(t.dtype, t.bits[i])
        v, counts, out[i] = store(t, i, stored, scales.get(i))
        slots[2] += magnitude(stored, v) == 0
        slots[5] += i in scales and stored == "i8" and w == 0 and bits != 0
        if not finite(t.dtype, bits):
            slots[3] += 1
            continue
        error = abs(w - counts)
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

def npy(t, fortran=False, order="<", head=None, version=1, align=64):
    """head: the text of the dict, spelled in another way."""
    letters = {"f64": "f8", "f32": "f4", "f16": "f2", "i8": "i1", "bf16": "V2", "f8e4m3": "V1", "f8e5m2": "f1"}
    shape = "(" + "".join("%d, " % n for n in t.shape) + ")"
    descr = ("|" if width(t.dtype) == 1 else order) + letters[t.dtype]
    head = head or "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    head += " " * (-(10 + len(head) + 1) % align) + "\n"
    bits = t.bits
    if fortran:  # rank 2
        bits = [t.bits[r * t.shape[1] + c] for c in range(t.shape[1]) for r in range(t.shape[0])]
    data = Tensor(t.dtype, t.shape, bits=bits).bytes("big" if order == ">" else "little")
    length = struct.pack("<H" if version == 1 else "<I", len(head))
    return b"\x93NUMPY" + bytes([version, 0]) + length + head.encode() + data


def deflate(data):
    """By the fixed codes and without matches: the same bytes whatever zlib there is."""
    codes = ["1", "10"]  # the last block, fixed codes; numbers in front of them lowest bit first
    codes += [format(0x30 + b, "08b") if b < 144 else format(0x190 + b - 144, "09b") for b in data]
    bits = codes[0] + codes[1] + "".join(codes[2:]) + "0" * 7
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8][::-1], 2) for i in range(0, len(bits), 8))


def npz(members, method=0, zip64=False, stream=False, comment=b""):
    """members: {name: bytes of a .npy}. zip64: sizes in extra fields, an end record of that; stream: sizes behind."""
    data, directory = b"", b""
    for name, raw in members.items():
        name, coded, at = name.encode(), deflate(raw) if method else raw, len(data)
        sizes = zlib.crc32(raw), len(coded), len(raw)
        extra = struct.pack("<HHQQ", 1, 16, sizes[2], sizes[1]) if zip64 else b""
        aside = (sizes[0], 0xffffffff, 0xffffffff) if zip64 else sizes
        front = struct.pack("<HHHHH", 45 if zip64 else 20, 8 if stream else 0, method, 0, 33)
        local = struct.pack("<III", *((0, 0, 0) if stream else aside)) + struct.pack("<HH", len(name), len(extra))
        data += b"PK\3\4" + front + local + name + extra + coded
        data += b"PK\7\x08" + struct.pack("<III", *sizes) if stream else b""
        directory += (b"PK\1\2\x14\0" + front + struct.pack("<III", *aside) +
                      struct.pack("<HHHHHII", len(name), len(extra), 0, 0, 0, 0, at) + name + extra)
    n, at = len(members), len(data)
    end = b""
    if zip64:
        end = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, n, n, len(directory), at)
        end += b"PK\6\7" + struct.pack("<IQI", 0, at + len(directory), 1)
    return data + directory + end + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, n, n, len(directory), at,
                                                            len(comment)) + comment


def safetensors(tensors, metadata=None, spell=None, align=8):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, t in tensors.items():
        b = t.bytes()
        header[name] = {"dtype": ST_NAMES.get(t.dtype, t.dtype.upper()), "shape": t.shape,
                        "data_offsets": [len(data), len(data) + len(b)]}
        data += b
    text = (spell(header) if spell else json.dumps(header, ensure_ascii=False, separators=(",", ":"))).encode()
    text += b" " * (-len(text) % align)
    return struct.pack("<Q", len(text)) + text + data


def mask_of(row):
    """Bits of what is not 0, the first element's the lowest of its byte."""
    bits = [0] * -(-len(row) // 8)
    for i, x in enumerate(row):
        bits[i // 8] |= (x != 0) << i % 8
    return bits


def bitmask_planes(t, two_of_four):
    """sparse-24-bitmask, or sparse-bitmask, of a matrix."""
    rows = [t.bits[i:i + t.shape[1]] for i in range(0, len(t.bits), t.shape[1])]
    kept, starts = [x for row in rows for x in row if x], []
    for row in rows:
        starts.append(starts[-1] + before if starts else 0)
        before = sum(x != 0 for x in row)
    mask = [b for row in rows for b in mask_of(row)]
    planes = {"m.shape": Tensor("i64", [2, 1] if two_of_four else [2], bits=t.shape),
              "m.compressed": Tensor(t.dtype, [t.shape[0], len(kept) // t.shape[0]] if two_of_four else [len(kept)],
                                     bits=kept),
              "m.bitmask": Tensor("u8", [t.shape[0], len(mask) // t.shape[0]], bits=mask)}
    if not two_of_four:
        planes["m.row_offsets"] = Tensor("i64", [len(rows)], bits=starts)
    return planes


def cutlass_planes(t):
    """PyTorch's order of metadata for CUTLASS, of an i8 matrix: words of 8 groups, rows and columns shuffled."""
    m, cols = t.shape
    kept, words = [], [0] * (m * cols // 32)
    for r in range(m):
        for c in range(cols // 32):
            word = 0
            for g in range(8):
                at = r * cols + 32 * c + 4 * g
                i0, i1 = [i for i in range(4) if t.bits[at + i]]
                word |= (i0 | i1 << 2) << 4 * g
                kept += [t.bits[at + i0], t.bits[at + i1]]
            row, col = r // 16 * 16 + r % 8 * 2 + r % 16 // 8, c
            if row % 2 != col % 2:
                row, col = (row + 1, col - 1) if col % 2 else (row - 1, col + 1)
            words[col // 2 * 2 * m + 2 * row + col % 2] = word
    return {"m.packed": Tensor("i8", [m, cols // 2], bits=kept), "m.meta": Tensor("i32", [m, cols // 32], bits=words)}


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
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())

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

    for name, cols, stored, group, seed in (("permuted", 12, "f32", None, 55), ("permuted-scales", 11, "i8", 0, 56)):
        t = Tensor("f32", [3, cols], pseudo(3 * cols, seed))
        w.put(name + ".npy", npy(t))
        w.put(name + ".txt", describe("arr_0", *prune_permuted(t, [(5 * i + 3) % cols for i in range(cols)], stored, group)))
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

    axes = {d: Tensor(d, [5, 3], pseudo(15, 20 + i, 1 / 8)) for i, d in enumerate(FLOATS)}
    axes["i8"] = Tensor("i8", [5, 3], [int(x) for x in pseudo(15, 30, 8)])
    axes["cube"] = Tensor("f32", [2, 6, 2], pseudo(24, 31))
    w.model("axes", axes, {n: 1 if n == "cube" else 0 for n in axes})

    carried = {d: Tensor(d, [3], bits=[(1 << 8 * width(d)) - 1, 1, 1 << 8 * width(d) - 1])
               for d in ("i64", "i32", "i16", "u64", "u32", "u16", "u8", "f8e8m0")}
    carried["bool"] = Tensor("bool", [3], bits=[1, 0, 1])
    for d, n in (("c64", 8), ("f6e2m3", 3), ("f6e3m2", 3), ("f4", 2)):
        carried[d] = Tensor(d, [4 if d != "c64" else 1], raw=bytes(range(1, n + 1)))
    carried["w"] = Tensor("f32", [1, 4], [4, 3, 2, 1])
    w.model("carried", carried, {"w": 1})

    rounded = Tensor("f32", [2, 8], [1 + 2.0 ** -8, 1 + 3 * 2.0 ** -8, 0.1, -0.2, 3e38, -1e-40, 1e-45, 0,
                                     -0.0, 1, 2, 3, math.pi, -math.e, 65535, 1e9])
    w.lone("rounded", ".npy", npy(rounded), rounded, stored="bf16")

    packed = Tensor("f16", [3, 8], pseudo(24, 40))
    for i in range(0, 24, 4):
        packed.bits[i + i // 4 % 3] = packed.bits[i + 3] = 0
    w.lone("packed", ".npy", npy(packed), packed)

    scaled = Tensor("f32", [5, 11], pseudo(55, 50))
    scaled.bits[0:11] = [0, 0x80000000, 0, 0, 0x80000000, 0x80000000, 0, 0, 0, 0, 0x80000000]
    scaled.bits[11:22] = [bits_of("f32", math.ldexp(x, -149)) for x in (300, -1, 2, 3, 1, -40, 127, 254, 0, 1, 1)]
    scaled.bits[22:33] = [bits_of("f32", x) for x in (127, 0.5, 0, 0, 1.5, -2.5, 0, 0, -3.5, 0.25, 0)]  # ties
    w.lone("scales", ".npy", npy(scaled), scaled, stored="i8", group=0)
    columns128 = {"w": Tensor("f32", [2, 133], pseudo(266, 51)), "half": Tensor("f16", [3, 8], pseudo(24, 52, 1 / 64)),
                  "b": Tensor("f8e4m3", [2, 4], pseudo(8, 53, 1 / 8)), "steps": Tensor("i64", [1], bits=[7])}
    w.put("scales128.safetensors", safetensors(columns128))
    w.put("scales128.txt", "".join(describe(n, *(
        (t,) if n == "steps" else prune(t, stored="f8e4m3", panel_groups=32, group=None if n == "b" else 128)))
        for n, t in columns128.items()))
    wide = Tensor("f64", [3, 6], [x * 10.0 ** e for x, e in zip(pseudo(18, 54), [-310, 37, 0] * 6)])
    w.lone("scales-e5m2", ".npy", npy(wide), wide, stored="f8e5m2", group=0)
    for name, cols, stored, group, seed in (("permuted", 12, "f32", None, 55), ("permuted-scales", 11, "i8", 0, 56)):
        t = Tensor("f32", [3, cols], pseudo(3 * cols, seed))
        w.put(name + ".npy", npy(t))
        w.put(name + ".txt", describe("arr_0", *prune_permuted(t, [(5 * i + 3) % cols for i in range(cols)], stored, group)))
    nothing = {"rows": Tensor("f32", [0, 8], []), "cols": Tensor("f16", [3, 0], []), "one": Tensor("f32", [1, 1], [-0.75])}
    w.put("scales-nothing.safetensors", safetensors(nothing))
    w.put("scales-nothing.txt", "".join(describe(n, *prune(t, stored="i8", group=0)) for n, t in nothing.items()))

    w.put("npz.npz", npz({"a.npy": npy(columns), "b.npy": npy(i8), "steps.npy": npy(scalar)}))
    w.put("npz.txt", (describe("a", *prune(columns, axis=0)) + describe("b", *prune(i8)) +
                      describe("steps", scalar)).encode())
    halves = Tensor("f16", [2, 8], pseudo(16, 41))
    w.lone("raw", ".raw", b"header" + halves.bytes("big"), halves)

    readers(w, matrix)


def readers(w, matrix):
    """Other ways to say what a file above says, or what nobody but a reader needs."""
    said = "'fortran_order': False, 'shape': (2, 8)"
    for name, how in (
            ("npy-version-2", {"version": 2}), ("npy-version-3", {"version": 3}), ("npy-unaligned", {"align": 1}),
            ("npy-big-endian", {"order": ">"}), ("npy-fortran", {"fortran": True}),
            ("npy-name", {"head": "{'descr': 'float32', %s}" % said}),
            ("npy-quotes", {"head": '{u"shape":(2,\t8,),"fortran_order" : False , u\'descr\':\'<f4\',}'}),
            ("npy-python2", {"head": "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 8L), }"})):
        w.put(name + ".npy", npy(matrix, **how))
    member = {"arr_0.npy": npy(matrix)}
    for name, how in (
            ("stored", {}), ("deflated", {"method": 8}), ("zip64", {"zip64": True}), ("stream", {"stream": True}),
            ("stream-deflated", {"stream": True, "method": 8}), ("comment", {"comment": b"PK\5\6 of weights"})):
        w.put("npz-%s.npz" % name, npz(member, **how))
    for name, how in (
            ("st-unpadded", {"align": 1}), ("st-metadata", {"metadata": {}}),
            ("st-blanks", {"spell": lambda header: json.dumps(header, indent=1) + "\n\t"}),
            ("st-escaped", {"spell": lambda header: json.dumps(header).replace("arr", "\\u0061r\\u0072")}),
            ("st-fields", {"spell": lambda header: json.dumps(header, sort_keys=True)})):
        w.put(name + ".safetensors", safetensors({"arr_0": matrix}, **how))
    numbers = [value("f32", b) for b in matrix.bits]
    w.put("json-flat.json", json.dumps({"dtype": "f32", "shape": [2, 8], "data": numbers}).encode())
    w.put("json-nested.json", json.dumps({"data": [numbers[:8], numbers[8:]], "shape": [2, 8], "dtype": "f32"},
                                         indent=2).encode())
    w.put("raw-plain.raw", matrix.bytes())

    half = Tensor("bf16", [2, 8], pseudo(16, 42, 1 / 16))
    w.lone("npy-bf16", ".npy", npy(half), half)
    for d in "f8e4m3", "f8e5m2":
        eighth = Tensor(d, [2, 8], pseudo(16, 43, 1 / 4))
        w.lone("npy-" + d, ".npy", npy(eighth), eighth)
    numbers = Tensor("f64", [2, 8], [1e-300, -1.5e300, 0.1, 2 ** 53, -0.0, 5e-324, 3, 4] * 2)
    text = json.dumps({"w": [[value("f64", b) for b in numbers.bits[:8]], [value("f64", b) for b in numbers.bits[8:]]]})
    w.put("json-model.json", text.encode())
    w.put("json-model.txt", describe("w", *prune(numbers)).encode())
    order = {"b": Tensor("f32", [4], [1, 2, 3, 4]), "a": Tensor("f32", [1, 4], [8, 7, 6, 5])}
    w.put("st-order.safetensors", safetensors(order, spell=lambda header: json.dumps(header, sort_keys=True)))
    w.put("st-order.txt", (describe("b", order["b"]) + describe("a", *prune(order["a"]))).encode())

    sparse = Tensor("f16", [2, 12], pseudo(24, 44))
    for i in range(0, 24, 4):
        sparse.bits[i + i // 4 % 3] = sparse.bits[i + 3] = 0
    for name, two_of_four in (("bitmask24", True), ("bitmask", False)):
        if not two_of_four:
            sparse.bits[0:4] = [0] * 4
        w.put(name + ".safetensors", safetensors(bitmask_planes(sparse, two_of_four)))
        w.put(name + ".txt", describe("m.weight", *prune(sparse)).encode())
    tiles = Tensor("i8", [16, 128], bits=[0] * 2048)
    for i in range(0, 2048, 4):
        for k in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))[(i // 4 * 7 + i // 128) % 6]:
            tiles.bits[i + k] = i // 4 % 9 + 1
    w.put("cutlass.safetensors", safetensors(cutlass_planes(tiles), {"semi_structured": "cutlass"}))
    w.put("cutlass.txt", describe("m", *prune(tiles)).encode())

    shards = [{"a": matrix, "bias": Tensor("f32", [3], [1, 2, 3])},
              {"b": Tensor("bf16", [3, 8], pseudo(24, 45, 1 / 16))}]
    places, text = {}, ""
    for i, tensors in enumerate(shards):
        name = "model-%05d-of-00002.safetensors" % (i + 1)
        w.put("shards/" + name, safetensors(tensors))
        places.update({n: name for n in tensors})
        text += "".join(describe(n, *(prune(t) if len(t.shape) > 1 else (t,))) for n, t in tensors.items())
    w.put("shards/model.safetensors.index.json",
          json.dumps({"metadata": {"total_size": 1}, "weight_map": places}).encode())
    w.put("shards.txt", text.encode())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: inputs.py DIRECTORY")
    main(sys.argv[1])
