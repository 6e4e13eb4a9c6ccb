#!/usr/bin/env python3
"""bad.py DIRECTORY - makes .s24 files that must be refused from those in good/ of DIRECTORY: in bad/ and unsupported/.

Most of them are whole, with every check right, and wrong in one thing that s24(5) forbids: to make them this script
computes all checks anew, which makes it a writer from the page as decode.py is a reader. Of what it builds these are
good: foreign.s24, calibrated.s24 and calibrated-unknown.s24.
"""
import json
import os
import struct
import sys
import zlib

from decode import File, Frame, UNKNOWN, xxh3


def reseal(b, layout):
    """Computes H, checks, copy and records of the file b anew; its sections are where those of layout are."""
    start = layout.start
    h = xxh3(bytes(b[:start]))
    sections = [(t.checks, panels_of(layout, t)) for t in layout.tensors]
    pruned = sum(t.pruned for t in layout.tensors)
    sections.append((layout.metrics_checks, carried_panels(layout.metrics_at, 128 * pruned, layout.panel_bytes)))
    for (at, size, _), panels in sections:
        for i, runs in enumerate(panels):
            data = b"".join(bytes(b[x:y]) for x, y in runs)
            struct.pack_into("<Q", b, at + 8 * i, xxh3(data, h + runs[0][0]))
        struct.pack_into("<Q", b, at + size - 8, xxh3(bytes(b[at:at + size - 8]), h + at))
    b[layout.copy_at:layout.tail_at] = b[:start]
    for at in (start, layout.tail_at):
        struct.pack_into("<Q", b, at + 32, h)
        struct.pack_into("<Q", b, at + 56, xxh3(bytes(b[at:at + 56])))


def carried_panels(at, n, step):
    return [[(at + i, at + min(i + step, n))] for i in range(0, n, step)]


def panels_of(layout, t):
    if not t.pruned:
        return carried_panels(t.at, t.bytes, layout.panel_bytes)
    width = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}.get(t.stored, 1)
    out = []
    for rows, groups in layout.panels(t):
        at = t.at + (rows.start * t.groups + groups.start) * 2 * width
        p = t.positions_at + rows.start * -(-t.groups // 2) + groups.start // 2
        runs = [(at, at + len(rows) * len(groups) * 2 * width), (p, p + len(rows) * -(-len(groups) // 2))]
        if t.scaled:
            s = t.scales_at + 4 * (rows.start * t.scale_count(t.groups) + t.scale_count(groups.start))
            runs.append((s, s + len(layout.scales_of(t, rows, groups))))
        out.append(runs)
    if t.permuted:
        out.append([(t.perm_at, t.perm_at + 4 * t.cols)])
    return out


class Section:
    """A stored tensor. panels: of checks, the sections of each panel; size: of a copy or checks, where it is wrong."""

    def __init__(self, name, dtype, shape, data=None, panels=None, gap=0, size=None):
        self.name, self.dtype, self.shape, self.data, self.panels = name, dtype, shape, data, panels
        self.gap, self.size, self.at = gap, size, 0


class Plan:
    """A .s24 of one tensor, a panel of it and a panel of metrics, to be changed before it is built."""

    def __init__(self, layout, b):
        t = layout.tensors[0]
        values, positions = (Section(*what, bytes(b[at:at + n])) for what, at, n in (
            (("arr_0.s24.values", "F32", [2, 4]), t.at, 32),
            (("arr_0.s24.positions", "U8", [2, 1]), t.positions_at, 2)))
        metrics = Section(".s24.metrics", "F64", [1, 16], bytes(b[layout.metrics_at:layout.metrics_at + 128]))
        self.metadata = json.loads(b[8:layout.start])["__metadata__"]
        self.sections = [
            Section(".s24.head", "U8", [64]), values, positions,
            Section("arr_0.s24.checks", "U8", None, panels=[[values, positions]]), metrics,
            Section(".s24.metrics.s24.checks", "U8", None, panels=[[metrics]]), Section(".s24.header", "U8", None),
            Section(".s24.tail", "U8", [64])]

    def section(self, name):
        return next(s for s in self.sections if s.name == name)

    def change(self, key, old, new):
        assert self.metadata[key].count(old) == 1
        self.metadata[key] = self.metadata[key].replace(old, new)

    def text(self, start):
        """The header, whose length is said to be start; places the sections."""
        at, stored = start, {"__metadata__": self.metadata}
        for s in self.sections:
            at += s.gap
            s.at = at
            if s.panels:
                s.shape = [s.size or -(-(at + 8 * len(s.panels) + 8) // 64) * 64 - at]
            elif s.name == ".s24.header":
                s.shape = [s.size or start]
            s.bytes = len(s.data) if s.data is not None else s.shape[0]
            at += s.bytes
            stored[s.name] = {"dtype": s.dtype, "shape": s.shape, "data_offsets": [s.at - start, at - start]}
        self.size = at
        return self.spell(stored)

    def spell(self, stored):
        return json.dumps(stored, separators=(",", ":")).encode()

    def build(self):
        start = 0
        while True:
            text = self.text(start)
            text += b" " * (-(8 + len(text)) % 64)
            if 8 + len(text) == start:
                break
            start = 8 + len(text)
        header = struct.pack("<Q", len(text)) + text
        h, b = xxh3(header), bytearray(header) + bytes(self.size - start)
        for s in self.sections:
            b[s.at:s.at + s.bytes] = s.data or bytes(s.bytes)
        for s in self.sections:
            if s.panels:
                checks = b"".join(struct.pack("<Q", xxh3(b"".join(x.data for x in p), h + p[0].at)) for p in s.panels)
                checks = checks.ljust(s.bytes - 8, b"\0")
                b[s.at:s.at + s.bytes] = checks + struct.pack("<Q", xxh3(checks, h + s.at))
        copy = self.section(".s24.header")
        b[copy.at:copy.at + copy.bytes] = header[:copy.bytes].ljust(copy.bytes, b"\0")
        for name, magic in ((".s24.head", b"S24HEAD\0"), (".s24.tail", b"S24TAIL\0")):
            record = magic + struct.pack("<IIQQQQQ", 1, 0, start, self.size, h, copy.at, 0)
            at = self.section(name).at
            b[at:at + 64] = record + struct.pack("<Q", xxh3(record))
        return b


class Archive:
    """An archive in parts, to be changed and put together again: frames as bytes, each sealed anew where that is asked for."""

    def __init__(self, b):
        self.header = Frame(b, 8, 0, 0).header(b)
        self.hash = xxh3(self.header)
        self.frames, at = [], 8
        while b[at:at + 4] == b"S24F":
            end = at + 64 + 8 * sum(struct.unpack_from("<II", b, at + 24)) + struct.unpack_from("<Q", b, at + 32)[0]
            self.frames.append(bytearray(b[at:end]))
            at = end
        self.magic, self.tail = bytearray(b[:8]), bytearray(b[at:])

    def seal(self, k, number=None):
        """The checks of frame k, as it is now."""
        f = self.frames[k]
        kind, number = f[4], struct.unpack_from("<Q", f, 8)[0] if number is None else number
        begin = 64 + 8 * sum(struct.unpack_from("<II", f, 24))
        seed = (0 if kind == 1 else self.hash) + number
        struct.pack_into("<Q", f, 48, xxh3(bytes(f[begin:]), seed))
        struct.pack_into("<Q", f, begin - 8, xxh3(bytes(f[:begin - 8]), seed))

    def seal_tail(self):
        struct.pack_into("<Q", self.tail, 56, xxh3(bytes(self.tail[:56])))

    def bytes(self):
        return bytes(self.magic + b"".join(self.frames) + self.tail)


def main(directory):
    def read(name):
        with open(os.path.join(directory, "good", name + ".s24"), "rb") as f:
            return bytearray(f.read())

    def write(name, b, where="bad", suffix=".s24"):
        with open(os.path.join(directory, where, name + suffix), "wb") as f:
            f.write(b)

    def bad(name, source, change, seal=True, where="bad"):
        b = read(source)
        layout = File(bytes(b))
        change(b, layout)
        if seal:
            reseal(b, layout)
        write(name, b, where)

    def unsupported(name, source, change):
        bad(name, source, change, where="unsupported")

    def built(name, change, where="bad"):
        b = read("matrix")
        plan = Plan(File(bytes(b)), b)
        change(plan)
        write(name, plan.build(), where)

    def record(at, form, x):
        def change(b, layout):
            for record_at in (layout.start, layout.tail_at):
                struct.pack_into(form, b, record_at + at, x)
        return change

    def tail(at, form, x):
        """After sealing: only the tail, with a check of its own that is right."""
        def change(b, layout):
            struct.pack_into(form, b, layout.tail_at + at, x)
            struct.pack_into("<Q", b, layout.tail_at + 56, xxh3(bytes(b[layout.tail_at:layout.tail_at + 56])))
        return change

    def header(old, new):
        """Replaces text of the header, at the cost of the blanks at its end."""
        def change(b, layout):
            text = bytes(b[8:layout.start])
            assert text.count(old) == 1
            text = text.replace(old, new).rstrip(b" ").ljust(layout.start - 8)
            assert len(text) == layout.start - 8
            b[8:layout.start] = text
        return change

    def head_alone(at, form, x):
        """The head with a check of its own that is right, and one number that is not."""
        def change(b, layout):
            struct.pack_into(form, b, layout.start + at, x)
            struct.pack_into("<Q", b, layout.start + 56, xxh3(bytes(b[layout.start:layout.start + 56])))
        return change

    def place(where, x):
        def change(b, layout):
            b[where(layout)] = x
        return change

    def slot(i, x):
        return lambda b, layout: struct.pack_into("<d", b, layout.metrics_at + 8 * i, x)

    def stored(section, dtype, data):
        section.dtype, section.data = dtype, data

    def spell_otherwise(plan):
        """As another writer may: blanks, another order, members and features that a reader need not know."""
        plan.metadata["s24.may"] = "colour size"
        plan.change("s24.layout", "{", '{"colour":"red",')
        plan.change("s24.file", "{", '{"size":null,')
        plan.change("s24.tensors", "[{", '[{"colour":[1,2],')
        plan.spell = lambda stored: json.dumps(stored, indent=1, sort_keys=True).encode() + b"\r\n\t"

    def calibrated(samples="8", held_out="2", training=.25, other=.5):
        """With what calibration recorded, as a method that knows the inputs leaves it."""
        def change(plan):
            plan.change("s24.tensors", '"magnitude"',
                        '"magnitude","calibration":{"samples":%s,"held_out":%s}' % (samples, held_out))
            metrics = plan.section(".s24.metrics")
            for i, x in ((14, training), (15, other)):
                bits = x if isinstance(x, bytes) else struct.pack("<d", x)
                metrics.data = metrics.data[:8 * i] + bits + metrics.data[8 * i + 8:]
        return change

    def swap_panels(b, layout):
        """Two panels of one tensor change places, and their checks with them."""
        t = tensor("even")(layout)
        panels = [panels_of(layout, t)[i] for i in range(2)]
        checks = t.checks[0]
        for (x, y), (v, w) in zip(*panels):
            b[x:y], b[v:w] = b[v:w], b[x:y]
        b[checks:checks + 8], b[checks + 8:checks + 16] = b[checks + 8:checks + 16], b[checks:checks + 8]
        own = checks + t.checks[1] - 8
        struct.pack_into("<Q", b, own, xxh3(bytes(b[checks:own]), layout.hash + checks))

    def resave(b, metadata=True):
        """As the safetensors library saves what it loaded: by size of dtype, then name; the header padded to 8."""
        header = json.loads(b[8:8 + struct.unpack_from("<Q", b)[0]])
        start, data, out = 8 + struct.unpack_from("<Q", b)[0], b"", {}
        if metadata:
            out["__metadata__"] = header["__metadata__"]
        del header["__metadata__"]
        rank = ["F64", "I64", "F32", "BF16", "F8_E4M3", "F8_E5M2", "BOOL", "U8", "F4"]
        for name, o in sorted(header.items(), key=lambda item: (rank.index(item[1]["dtype"]), item[0])):
            begin, end = o["data_offsets"]
            out[name] = {**o, "data_offsets": [len(data), len(data) + end - begin]}
            data += bytes(b[start + begin:start + end])
        text = json.dumps(out, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data

    def tensor(name):
        return lambda layout: next(t for t in layout.tensors if t.name == name)

    # Damage: nothing is computed anew.
    bad("header", "matrix", place(lambda f: 100, ord("x")), seal=False)
    bad("header-length", "matrix", place(lambda f: 0, 1), seal=False)
    bad("head", "matrix", place(lambda f: f.start + 24, 0), seal=False)
    bad("panel", "panels", place(lambda f: tensor("short")(f).at + 30, 0), seal=False)
    bad("panel-positions", "panels", place(lambda f: tensor("short")(f).positions_at, 0), seal=False)
    bad("panel-carried", "npz", place(lambda f: tensor("b")(f).at + 5, 0x55), seal=False)
    bad("panels-swapped", "panels", swap_panels, seal=False)
    bad("checks", "panels", place(lambda f: tensor("short")(f).checks[0], 0), seal=False)
    bad("metrics", "matrix", place(lambda f: f.metrics_at + 3, 1), seal=False)
    bad("metrics-checks", "matrix", place(lambda f: f.metrics_checks[0], 0), seal=False)
    bad("copy", "matrix", place(lambda f: f.copy_at + 100, 0), seal=False)
    bad("tail-damaged", "matrix", place(lambda f: f.tail_at + 20, 1), seal=False)
    write("short", read("matrix")[:-1])
    write("short-tail", read("matrix")[:-64])
    write("short-data", read("matrix")[:1100])
    write("short-header", read("matrix")[:500])
    write("long", read("matrix") + b"\0")

    # Records that match their own checks, and lie.
    bad("place", "matrix", lambda b, f: record(40, "<Q", f.copy_at - 64)(b, f))
    bad("file-size", "matrix", lambda b, f: record(24, "<Q", len(b) + 64)(b, f))
    bad("header-bytes", "matrix", lambda b, f: record(16, "<Q", f.start + 64)(b, f))
    bad("hash", "matrix", head_alone(32, "<Q", 1), seal=False)
    bad("tail", "matrix", tail(24, "<Q", 4096), seal=False)

    # What the header says: the text of matrix.s24's, changed in place.
    bad("utf8", "matrix", header(b"magnitude", b"\xffagnitude"))
    bad("json", "matrix", header(b'{"__metadata__":', b'{"__metadata__";'))
    bad("json-twice", "matrix", header(b'"s24.file"', b'"s24.user":"","s24.user":"","s24.file"'))
    bad("nul", "matrix", header(b'"npy', b'"n\\u0000'))
    bad("mark", "matrix", header(b'"s24":"1"', b'"s24":"2"'))
    bad("layout", "matrix", header(b"65536", b"65537"))
    bad("layout-bytes", "matrix", header(b"262144", b"262145"))
    bad("axis", "matrix", header(b'axis\\":1', b'axis\\":0'))
    bad("axis-beyond", "matrix", header(b'axis\\":1', b'axis\\":2'))
    bad("dtype-carried", "matrix", header(b'dtype\\":\\"f32', b'dtype\\":\\"i64'))
    bad("shape", "matrix", header(b'shape\\":[2,8]', b'shape\\":[8,2]'))
    bad("shape-negative", "matrix", header(b'shape\\":[2,8]', b'shape\\":[-8]'))

    bad("scales-needs", "scales", header(b',"s24.needs":"scales"', b""))
    bad("scales-none", "scales", header(b',\\"scales\\":\\"row\\"', b""))
    bad("scales-dtype", "scales", header(b'dtype\\":\\"f32', b'dtype\\":\\"i8'))
    bad("scales-row", "scales128", header(b'[3,8],\\"axis\\":1,\\"method\\":\\"magnitude\\",\\"scales\\":128',
                                          b'[3,8],\\"axis\\":1,\\"method\\":\\"magn\\",\\"scales\\":\\"row\\"'))
    bad("scales-panels", "scales128", header(b'panel_groups\\":32', b'panel_groups\\":30'))

    bad("carried-axis", "npz", header(b'\\"reason\\":\\"rank 0: no matrix\\"', b'\\"axis\\":0'))

    bad("perm-needs", "permuted-scales", header(b"scales perm", b"scales"))
    bad("perm-none", "permuted", header(b',\\"permuted\\":true', b""))
    bad("perm-flag", "permuted", header(b'permuted\\":true', b'permuted\\":1'))
    bad("perm-panels", "permuted", header(b'panel_groups\\":65536', b'panel_groups\\":2'))

    # Built anew with another header.
    for key in ("s24", "s24.layout", "s24.file", "s24.tensors"):
        built("no-" + key[4:] if key[3:] else "no-mark", lambda p: p.metadata.pop(key))
    built("tensors-none", lambda p: p.metadata.update({"s24.tensors": "[]"}))
    built("tensors-name", lambda p: p.change("s24.tensors", "arr_0", "arr_1"))
    built("tensors-method", lambda p: p.change("s24.tensors", '"magnitude"', "1"))
    built("tensors-shape-beyond", lambda p: p.change("s24.tensors", "[2,8]", "[4294967296,4294967296]"))
    built("tensors-shape-rank", lambda p: p.change("s24.tensors", "[2,8]", "[%s]" % ",".join(["1"] * 65)))
    built("tensors-more", lambda p: p.change("s24.tensors", "[{", "[" + 5 * '{"name":"x","dtype":"f32","shape":[0]},' + "{"))
    built("metadata-number", lambda p: p.metadata.update({"step": 1}))
    built("stored-i8", lambda p: stored(p.section("arr_0.s24.values"), "I8", bytes(8)))
    built("stored-less", lambda p: p.sections.pop(4))
    built("stored-more", lambda p: p.sections.insert(6, Section("extra", "U8", [64], bytes(64))))
    built("stored-perm", lambda p: p.sections.insert(1, Section("arr_0.s24.perm", "I32", [8], bytes(32))))
    built("stored-order", lambda p: p.sections.insert(1, p.sections.pop(4)))
    built("stored-hole", lambda p: setattr(p.section(".s24.metrics"), "gap", 64))
    built("stored-checks", lambda p: setattr(p.section("arr_0.s24.checks"), "size", 94))
    built("stored-copy", lambda p: setattr(p.section(".s24.header"), "size", 64))

    def scale(i, x):
        return lambda b, layout: struct.pack_into("<f", b, layout.tensors[0].scales_at + 4 * i, x)

    # What the data say.
    for name, x in (("scale-0", 0.0), ("scale-negative", -1.0), ("scale-nan", float("nan")), ("scale-inf", float("inf"))):
        bad(name, "scales", scale(3, x))
    bad("scale-damaged", "scales128", scale(1, 1.0), seal=False)
    def column(i, x):
        return lambda b, layout: struct.pack_into("<i", b, layout.tensors[0].perm_at + 4 * i, x)

    bad("perm-twice", "permuted", column(2, 3))
    bad("perm-beyond", "permuted", column(2, 12))
    bad("perm-negative", "permuted", column(2, -1))
    bad("perm-damaged", "permuted", column(2, 3), seal=False)
    bad("position-0", "matrix", place(lambda f: f.tensors[0].positions_at, 0x40))
    bad("position", "matrix", place(lambda f: f.tensors[0].positions_at, 0x43))
    bad("pad-nibble", "scalar", place(lambda f: f.tensors[0].positions_at, 0x44))
    bad("pad-value", "scalar", place(lambda f: f.tensors[0].at + 8, 1))
    bad("zeros", "matrix", place(lambda f: f.tensors[0].checks[0] + 8, 1))
    bad("zeros-metrics", "matrix", place(lambda f: f.metrics_checks[0] + 8, 1))
    for name, at, x in (("count", 0, 17.0), ("count-pruned", 1, 9.0), ("count-pruned-less", 1, 7.0), ("fraction", 2, 8.5),
                        ("far", 5, 2.0 ** 53), ("sum", 7, -1.0), ("nan", 9, float("nan")), ("slot", 15, 1.0)):
        bad(name, "matrix", slot(at, x))

    unsupported("version", "matrix", record(8, "<I", 2))
    unsupported("flags", "matrix", record(12, "<I", 1))
    unsupported("reserved", "matrix", record(48, "<Q", 1))
    unsupported("needs", "matrix", header(b'"s24.file"', b'"s24.needs":"x","s24.file"'))
    unsupported("needs-more", "scales", header(b'"s24.needs":"scales"', b'"s24.needs":"scales x"'))
    unsupported("needs-name", "scales", header(b'"s24.needs":"scales"', b'"s24.needs":"scalez"'))
    unsupported("scales-word", "scales", header(b'\\"scales\\":\\"row\\"', b'\\"scales\\":\\"col\\"'))
    unsupported("scales-kind", "scales", header(b'\\"scales\\":\\"row\\"', b'\\"scales\\":64'))
    unsupported("key", "matrix", header(b'"s24.file"', b'"s24.new":"","s24.file"'))
    write("resaved-many", resave(read("panels"), metadata=False), suffix=".safetensors")
    write("resaved", resave(read("matrix")))
    write("resaved-bare", resave(read("matrix"), metadata=False))

    built("foreign", spell_otherwise, "good")
    built("calibrated", calibrated(), "good")
    built("calibrated-unknown", calibrated("0", "0", UNKNOWN, UNKNOWN), "good")
    built("calibration-held-out", calibrated(held_out="9"))
    built("calibration-samples", calibrated(samples="null"))
    built("calibration-held-out-null", calibrated(held_out="null"))
    built("calibration-list", lambda p: p.change("s24.tensors", '"magnitude"', '"magnitude","calibration":[8,2]'))
    built("calibration-negative", calibrated(training=-.25))
    built("calibration-zero", calibrated(other=-0.0))
    built("calibration-nan", calibrated(other=struct.pack("<Q", 0xfff8000000000000)))

    # Archives: damage, then what matches its checks and lies.
    def archive(name, change, where="bad", source="model"):
        a = Archive(read("archive-" + source))
        change(a)
        write("archive-" + name, a.bytes(), where)

    def insert(k, at, b):
        """Bytes put into a frame; the index and the tail know."""
        def change(a):
            a.frames[k][at:at] = b
            moved = k % len(a.frames) + 1
            index = a.frames[-1]
            lines = len(index) - struct.unpack_from("<Q", index, 32)[0]
            for line in range(lines + 16 * (moved - 1), len(index), 16):
                struct.pack_into("<Q", index, line, struct.unpack_from("<Q", index, line)[0] + len(b))
            a.seal(len(a.frames) - 1)
            tail_field(16, "<Q", len(b))(a)
            tail_field(24, "<Q", len(b))(a)
        return change

    def one_more_unit(a):
        """Of no bytes, before the others."""
        insert(1, 56, bytes(8))(a)
        field(1, 28, "<I", struct.unpack_from("<I", a.frames[1], 28)[0] + 1)(a)

    def copy(make):
        """Another header once more."""
        def change(a):
            f, header = a.frames[-2], make(a.header)
            payload, old = zlib.compress(header, 9), len(f) - 72
            f[72:] = payload
            struct.pack_into("<I", f, 60, len(payload))
            struct.pack_into("<QQ", f, 32, len(payload), len(header))
            a.seal(len(a.frames) - 2)
            move(a, 0, len(payload) - old)
        return change

    def byte(part, at):
        def change(a):
            b = {"magic": a.magic, "tail": a.tail}[part] if isinstance(part, str) else a.frames[part]
            b[at] ^= 1
        return change

    def field(k, at, form, x, number=None):
        """A number of a frame, sealed."""
        def change(a):
            struct.pack_into(form, a.frames[k], at, x)
            a.seal(k, number)
        return change

    def swap(a):
        a.frames[1], a.frames[2] = a.frames[2], a.frames[1]

    def header_payload(make):
        """Another payload in both frames of the header; what lies behind the first is moved, and the index knows."""
        def change(a):
            for k in (0, len(a.frames) - 2):
                f = a.frames[k]
                payload = make(a.header)
                old = len(f) - 72
                struct.pack_into("<I", f, 60, len(payload))
                struct.pack_into("<Q", f, 32, len(payload))
                f[72:] = payload
                a.seal(k)
            move(a, len(payload) - old, len(payload) - old)
        return change

    def move(a, first, last):
        """All frames lie so many bytes further on, the index as many more."""
        index = a.frames[-1]
        lines = len(index) - struct.unpack_from("<Q", index, 32)[0]
        for at in range(lines, len(index), 16):
            struct.pack_into("<Q", index, at, struct.unpack_from("<Q", index, at)[0] + first)
        a.seal(len(a.frames) - 1)
        for at, n in ((16, first + last), (24, first + last)):
            struct.pack_into("<Q", a.tail, at, struct.unpack_from("<Q", a.tail, at)[0] + n)
        a.seal_tail()

    def both_checks(a):
        """The check of a panel, wrong in its frame and in the index."""
        units = struct.unpack_from("<I", a.frames[1], 28)[0]
        a.frames[1][56 + 8 * units] ^= 1
        a.frames[-1][56] ^= 1
        a.seal(1)
        a.seal(len(a.frames) - 1)

    def index_line(at, form, x):
        def change(a):
            index = a.frames[-1]
            begin = len(index) - struct.unpack_from("<Q", index, 32)[0]
            struct.pack_into(form, index, begin + at, struct.unpack_from(form, index, begin + at)[0] + x)
            a.seal(len(a.frames) - 1)
        return change

    def index_same(at):
        """A number of the index is that of the line before."""
        def change(a):
            index = a.frames[-1]
            begin = len(index) - struct.unpack_from("<Q", index, 32)[0] + at
            index[begin:begin + 8] = index[begin - 16:begin - 8]
            a.seal(len(a.frames) - 1)
        return change

    def short_frame(a):
        """By the index the first frame has one byte."""
        index_line(16, "<Q", 1 - len(a.frames[1]))(a)

    def tail_field(at, form, x):
        def change(a):
            struct.pack_into(form, a.tail, at, struct.unpack_from(form, a.tail, at)[0] + x)
            a.seal_tail()
        return change

    def payload_byte(a):
        a.frames[1][-1] ^= 1
        a.seal(1)

    def all_versions(a):
        for k in range(len(a.frames)):
            field(k, 6, "<H", 2)(a)

    archive("magic", byte("magic", 1))
    archive("header", byte(0, 100))
    archive("frame", byte(1, -1))
    archive("table", byte(1, 60))
    archive("perm", byte(1, -1), source="permuted")
    archive("copy", byte(-2, 100))
    archive("copy-other", copy(lambda header: header.replace(b"conv", b"konv")))
    archive("copy-less", copy(lambda header: struct.pack("<Q", len(header) - 72) + header[8:-64]))
    archive("gap", lambda a: insert(-2, len(a.frames[-2]), bytes(8))(a))
    archive("index", byte(-1, 100))
    archive("tail", byte("tail", 20))
    archive("short", lambda a: a.tail.pop())
    archive("cut", lambda a: (a.tail.clear(), a.frames.__delitem__(slice(2, None))))
    archive("long", lambda a: a.tail.append(0))
    archive("swapped", swap)
    archive("dropped", lambda a: a.frames.pop(1))
    archive("doubled", lambda a: a.frames.insert(1, a.frames[1]))
    archive("number", field(1, 8, "<Q", 2, 1))
    archive("first", field(2, 16, "<Q", 0))
    archive("kind", field(1, 4, "<H", 3))
    archive("raw", field(1, 40, "<Q", 1))
    archive("units", one_more_unit)
    archive("codec-data", field(1, 56, "<I", 2))
    archive("codec-header", field(0, 56, "<I", 1))
    archive("bytes", field(1, 60, "<I", 1))
    archive("unit", payload_byte)
    archive("checks", lambda a: (byte(1, 80)(a), a.seal(1)))
    archive("panel", both_checks)
    archive("header-raw", field(0, 40, "<Q", 64))
    archive("header-none", field(0, 40, "<Q", 0))
    archive("header-odd", lambda a: field(0, 40, "<Q", len(a.header) + 8)(a))
    archive("header-vast", field(0, 40, "<Q", 100000064))
    archive("header-stored", field(0, 56, "<I", 0))
    archive("header-cut", header_payload(lambda header: zlib.compress(header, 9)[:-5]))
    archive("header-bomb", header_payload(lambda header: zlib.compress(header + bytes(100000), 9)))
    archive("header-less", header_payload(lambda header: zlib.compress(header[:-64], 9)))
    archive("header-behind", header_payload(lambda header: zlib.compress(header, 9) + b"x"))
    archive("header-length", header_payload(lambda header: zlib.compress(bytes([header[0] ^ 64]) + header[1:], 9)))
    archive("index-offset", index_line(16, "<Q", 1))
    archive("index-first", index_line(24, "<Q", 1))
    archive("index-begin", index_line(0, "<Q", 1))
    archive("index-begin-panel", index_line(8, "<Q", 1))
    archive("index-same", index_same(16))
    archive("index-same-panel", index_same(24))
    archive("index-short", short_frame)
    archive("tail-size", tail_field(16, "<Q", 1))
    archive("tail-index", tail_field(24, "<Q", 8))
    archive("tail-frames", tail_field(32, "<Q", 1))
    archive("tail-frames-none", lambda a: tail_field(32, "<Q", 3 - len(a.frames))(a))
    archive("tail-hash", tail_field(40, "<Q", 1))
    archive("tail-plain", tail_field(48, "<Q", 64))
    archive("version", all_versions, "unsupported")
    archive("version-tail", tail_field(8, "<I", 1), "unsupported")
    archive("flags", tail_field(12, "<I", 1), "unsupported")
    archive("codec", field(0, 56, "<I", 7), "unsupported")
    archive("codec-data", field(1, 56, "<I", 9), "unsupported")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bad.py DIRECTORY")
    sys.dont_write_bytecode = True
    main(sys.argv[1])
