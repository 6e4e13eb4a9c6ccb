#!/usr/bin/env python3
"""bad.py DIRECTORY - makes bad-*.s24 from the golden files of DIRECTORY, in the same place.

Most of them are whole, with every check right, and wrong in one thing that s24(5) forbids: to make them this script
computes all checks anew, which makes it a writer from the page as decode.py is a reader.
"""
import os
import struct
import sys

from decode import File, xxh3


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
        out.append([(at, at + len(rows) * len(groups) * 2 * width), (p, p + len(rows) * -(-len(groups) // 2))])
    return out


def main(directory):
    def read(name):
        with open(os.path.join(directory, name + ".s24"), "rb") as f:
            return bytearray(f.read())

    def write(name, b):
        with open(os.path.join(directory, "bad-" + name + ".s24"), "wb") as f:
            f.write(b)

    def bad(name, source, change, seal=True):
        b = read(source)
        layout = File(bytes(b))
        change(b, layout)
        if seal:
            reseal(b, layout)
        write(name, b)

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

    def place(where, x):
        def change(b, layout):
            b[where(layout)] = x
        return change

    def tensor(name):
        return lambda layout: next(t for t in layout.tensors if t.name == name)

    bad("version", "matrix", record(8, "<I", 2))
    bad("flags", "matrix", record(12, "<I", 1))
    bad("reserved", "matrix", record(48, "<Q", 1))
    bad("place", "matrix", lambda b, f: record(40, "<Q", f.copy_at - 64)(b, f))
    bad("tail", "matrix", tail(24, "<Q", 4096), seal=False)
    bad("needs", "matrix", header(b'"s24.file"', b'"s24.needs":"x","s24.file"'))
    bad("key", "matrix", header(b'"s24.file"', b'"s24.new":"","s24.file"'))
    bad("layout", "matrix", header(b'65536', b'65537'))
    bad("axis", "matrix", header(b'axis\\":1', b'axis\\":0'))
    bad("position", "matrix", place(lambda f: f.tensors[0].positions_at, 0x43))
    bad("pad-nibble", "tails", place(lambda f: tensor("k9")(f).positions_at + 1, 0x44))
    bad("pad-value", "tails", place(lambda f: tensor("k5")(f).at + 3 * 4, 1))
    bad("zeros", "matrix", place(lambda f: f.tensors[0].checks[0] + 8, 1))
    bad("count", "matrix", lambda b, f: struct.pack_into("<d", b, f.metrics_at, 17.0))
    bad("fraction", "matrix", lambda b, f: struct.pack_into("<d", b, f.metrics_at + 8 * 2, 8.5))
    bad("sum", "matrix", lambda b, f: struct.pack_into("<d", b, f.metrics_at + 8 * 7, -1.0))
    bad("slot", "matrix", lambda b, f: struct.pack_into("<d", b, f.metrics_at + 8 * 15, 1.0))
    bad("header", "panels", place(lambda f: 100, 0), seal=False)
    bad("panel", "panels", place(lambda f: tensor("short")(f).at + 30, 0), seal=False)
    bad("copy", "panels", place(lambda f: f.copy_at + 100, 0), seal=False)
    write("short", read("panels")[:-1])
    write("long", read("panels") + b"\0")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bad.py DIRECTORY")
    sys.dont_write_bytecode = True
    main(sys.argv[1])
