#!/usr/bin/env python3
"""Decodes coded units of archives: an independent reader, written from CODED UNITS in the manual page s24(5) alone.

coder.py DTYPE ELEMENTS GROUPS FILE   writes the elements, then the nibbles, to standard output
coder.py --list LIST                  of a line "NAME DTYPE ELEMENTS GROUPS" each: compares NAME.unit, decoded, with NAME.raw

Plain Python 3, no further modules, no care for speed. What is not as the page says is refused: exit status 1.
"""
import os
import sys

BITS = {"f64": 64, "f32": 32, "f16": 16, "bf16": 16, "f8e4m3": 8, "f8e5m2": 8, "i8": 8, "i64": 64, "i32": 32, "i16": 16,
        "u64": 64, "u32": 32, "u16": 16, "u8": 8, "bool": 8, "f8e8m0": 8}
SIGNED = ("f64", "f32", "f16", "bf16")
CODES = (4, 8, 9, 12, 13, 14)


class Refused(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Refused(why)


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, n):
        check(self.at + n <= len(self.data), "it is too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def u8(self):
        return self.bytes(1)[0]

    def u16(self):
        return int.from_bytes(self.bytes(2), "little")

    def number(self):
        n = 0
        for i in range(5):
            byte = self.u8()
            n |= (byte & 127) << 7 * i
            if byte < 128:
                return n
        raise Refused("a number is too long")


# ------------------------------------------------------------------ Tables

class Bits:
    def __init__(self, cursor):
        self.cursor, self.left, self.byte = cursor, 0, 0

    def bit(self):
        if self.left == 0:
            self.byte, self.left = self.cursor.u8(), 8
        self.left -= 1
        bit, self.byte = self.byte & 1, self.byte >> 1
        return bit


def read_table(cursor):
    """By slot: (byte, start, frequency)"""
    first, last = cursor.u8(), cursor.u8()
    frequencies = [0] * 256
    if first > last:
        check(last == 0, "an impossible table")
        n = first + 1
        for s in range(n):
            frequencies[s] = 4096 // n + (s < 4096 % n)
    else:
        check(first < last, "an impossible table")
        bits, length = Bits(cursor), 4
        for s in range(first, last):
            ones = 0
            while bits.bit():
                ones += 1
            length += (ones + 1) // 2 if ones % 2 else -(ones // 2)
            check(0 <= length <= 12, "an impossible length of a frequency")
            if length:
                frequencies[s] = 1 << length - 1 | sum(bits.bit() << i for i in range(length - 1))
        check(0 < sum(frequencies) < 4096, "an impossible sum of frequencies")
        frequencies[last] = 4096 - sum(frequencies)
    slots, start = [], 0
    for s in range(256):
        slots += [(s, start, frequencies[s])] * frequencies[s]
        start += frequencies[s]
    return slots


# ------------------------------------------------------------------ Plane headers

class Plane:
    def __init__(self, cursor, size, fields):
        first = cursor.u8()
        check(first < 32 and first & 3 < 3, "an unknown method")
        check(first < 16 or fields, "fields of a plane that has none")
        self.fields, self.method = first >= 16, first & 3
        self.size = size = fields if self.fields else size
        first &= 15
        check(first < 8 or self.method == 2, "classes of a method that has none")
        self.copies, left = [], size
        if first & 4:
            for _ in range(cursor.number()):
                run, length, distance = cursor.number(), cursor.number(), cursor.number()
                check(run + length <= left and length > 0 and distance > 0, "an impossible copy")
                left -= run + length
                self.copies.append((run, length, distance))
        self.count = size - sum(length for _, length, _ in self.copies)
        self.literals = b""
        if self.method == 1:
            self.literals = bytes([cursor.u8()]) * self.count
        elif self.method == 2:
            self.read_tables(cursor, first & 8)

    def read_tables(self, cursor, classes):
        self.words, tables, self.blocks = cursor.number(), 1, 0
        if classes:
            tables, self.shift, self.class_words = cursor.u8(), cursor.u8() + 5, cursor.number()
            check(2 <= tables <= 16 and self.shift <= 21, "impossible classes")
            self.blocks = -(-self.count // (1 << self.shift))
            self.class_table = read_table(cursor)
        self.tables = [read_table(cursor) for _ in range(tables)]

    def whole(self):
        out, at = bytearray(), 0
        for run, length, distance in self.copies:
            out += self.literals[at:at + run]
            at += run
            check(distance <= len(out), "a copy of what is before the plane")
            for _ in range(length):
                out.append(out[-distance])
        return bytes(out + self.literals[at:])


# ------------------------------------------------------------------ The coded part

class Coded:
    def __init__(self, cursor, lanes):
        self.cursor, self.words = cursor, 0
        self.states = [int.from_bytes(cursor.bytes(4), "little") for _ in range(lanes)]
        check(all(x >= 1 << 16 for x in self.states), "an impossible state")

    def decode(self, count, table_of, words):
        before, out = self.words, bytearray()
        for i in range(count):
            lane = i % len(self.states)
            x = self.states[lane]
            r = x % 4096
            symbol, start, frequency = table_of(i)[r]
            x = frequency * (x // 4096) + r - start
            if x < 1 << 16:
                x = x << 16 | self.cursor.u16()
                self.words += 1
            self.states[lane] = x
            out.append(symbol)
        check(self.words - before == words, "a plane of another number of words")
        return bytes(out)

    def plane(self, p):
        if p.blocks == 0:
            return self.decode(p.count, lambda i: p.tables[0], p.words)
        classes = self.decode(p.blocks, lambda i: p.class_table, p.class_words)
        check(max(classes) < len(p.tables), "an impossible class")
        return self.decode(p.count, lambda i: p.tables[classes[i >> p.shift]], p.words)


def decode_planes(cursor, sizes, lanes, escapes, middle=None):
    """middle: which plane may have a byte a field, and how many fields"""
    planes = [Plane(cursor, n, middle[1] if middle and i == middle[0] else 0) for i, n in enumerate(sizes)]
    escaped = [cursor.u16() for _ in range(escapes)]
    for p in planes:
        if p.method == 0:
            p.literals = cursor.bytes(p.count)
    if any(p.method == 2 for p in planes):
        coded = Coded(cursor, lanes)
        for p in planes:
            if p.method == 2:
                p.literals = coded.plane(p)
        check(all(x == 1 << 16 for x in coded.states), "another state at the end")
    check(cursor.at == len(cursor.data), "something follows")
    return [Fields(p.whole()) if p.fields else p.whole() for p in planes], escaped


# ------------------------------------------------------------------ Planes

def fields(plane, width, n):
    bits = int.from_bytes(plane, "little")
    return [bits >> i * width & (1 << width) - 1 for i in range(n)] if width else [0] * n


class Fields(bytes):
    """A plane with a byte a field"""


def middle_fields(plane, width, n):
    if isinstance(plane, Fields):
        check(all(field < 1 << width for field in plane), "a field of too many bits")
        return list(plane)
    return fields(plane, width, n)


def unpack_positions(plane, groups):
    numbers = []
    for byte in plane:
        check(byte < 216, "impossible positions")
        numbers += [byte % 6, byte // 6 % 6, byte // 36]
    check(not any(numbers[groups:]), "positions beyond the last group")
    nibbles = [CODES[n] for n in numbers[:groups]] + [0]
    return bytes(nibbles[i] | nibbles[i + 1] << 4 for i in range(0, groups, 2))


def check_nibbles(nibbles, groups):
    codes = [byte >> shift & 15 for byte in nibbles for shift in (0, 4)]
    check(all(code in CODES for code in codes[:groups]) and not any(codes[groups:]), "invalid positions")


def prefixes_of(symbols, prefix, base, escapes):
    if prefix <= 8:
        return [s & (1 << prefix) - 1 for s in symbols]
    check(symbols.count(255) == len(escapes) and all(e < 1 << prefix for e in escapes), "impossible escapes")
    rest = iter(escapes)
    return [0 if s == 0 else next(rest) if s == 255 else base + s - 1 for s in symbols]


def read_palette(cursor, bits, elements, positions):
    lanes, count = cursor.u8(), cursor.u8() + 1
    check(lanes <= 5, "too many lanes")
    palette = [cursor.bytes(bits // 8) for _ in range(count)]
    planes, _ = decode_planes(cursor, positions + [elements], 1 << lanes, 0)
    check(all(s < count for s in planes[-1]), "a symbol beyond the palette")
    return planes, b"".join(palette[s] for s in planes[-1])


def read_planes(cursor, bits, sign, elements, positions):
    lanes, prefix, base, escapes = cursor.u8(), cursor.u8(), 0, 0
    check(lanes <= 5 and 1 <= prefix <= min(13, bits - sign), "an impossible cut")
    if prefix > 8:
        base, escapes = cursor.u16(), cursor.number()
        check(base + 254 <= 1 << prefix and escapes <= elements, "an impossible window")
    rest = bits - sign - prefix
    lows, middle = rest // 8, rest % 8
    check(lows <= 7, "an impossible cut")
    sizes = positions + [elements] * (1 + lows) + ([-(-elements * middle // 8)] if middle else [])
    at = len(positions)
    sizes += [-(-elements // 8)] if sign else []
    planes, escaped = decode_planes(cursor, sizes, 1 << lanes, escapes, (at + 1 + lows, elements) if middle else None)
    prefixes = prefixes_of(planes[at], prefix, base, escaped)
    middles = middle_fields(planes[at + 1 + lows] if middle else b"", middle, elements)
    signs = fields(planes[-1] if sign else b"", sign, elements)
    out = bytearray()
    for i in range(elements):
        x = signs[i] << bits - sign | prefixes[i] << rest | middles[i] << 8 * lows
        x |= sum(planes[at + 1 + low][i] << 8 * low for low in range(lows))
        out += x.to_bytes(bits // 8, "little")
    return planes, bytes(out)


def decode(data, dtype, elements, groups):
    """The elements and the nibbles of a unit"""
    if dtype == "c64":
        dtype, elements = "f32", 2 * elements
    bits, cursor = BITS[dtype], Cursor(data)
    kind = cursor.u8()
    check(kind <= 2, "an unknown kind")
    if kind == 0:
        values, nibbles = cursor.bytes(elements * bits // 8), cursor.bytes(-(-groups // 2))
        check(cursor.at == len(data), "something follows")
        check_nibbles(nibbles, groups)
        return values, nibbles
    positions = [-(-groups // 3)] if groups else []
    if kind == 2:
        planes, values = read_palette(cursor, bits, elements, positions)
    else:
        planes, values = read_planes(cursor, bits, dtype in SIGNED, elements, positions)
    return values, unpack_positions(planes[0], groups) if groups else b""


# ------------------------------------------------------------------ the command

def read(path):
    with open(path, "rb") as f:
        return f.read()


def compare_list(path):
    """Each unit comes back; with a byte less, a byte more, or a bit of it flipped it is refused, or at least no crash."""
    kinds = set()
    with open(path) as f:
        lines = f.read().split("\n")[:-1]
    for line in lines:
        name, dtype, elements, groups = line.split(" ")
        name = os.path.join(os.path.dirname(path), name)
        data, elements, groups = read(name + ".unit"), int(elements), int(groups)
        if b"".join(decode(data, dtype, elements, groups)) != read(name + ".raw"):
            sys.exit("coder.py: %s does not come back" % name)
        kinds.add(data[0])
        for other in (data[:-1], data + b"\0"):
            try:
                decode(other, dtype, elements, groups)
                sys.exit("coder.py: %s is taken with another length" % name)
            except Refused:
                pass
    print("coder.py: %d units of kinds %s" % (len(lines), sorted(kinds)))


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--list":
        return compare_list(arguments[1])
    if len(arguments) != 4:
        sys.exit(__doc__)
    try:
        for part in decode(read(arguments[3]), arguments[0], int(arguments[1]), int(arguments[2])):
            sys.stdout.buffer.write(part)
    except (Refused, OSError) as error:
        sys.exit("coder.py: %s: %s" % (arguments[3], error))


if __name__ == "__main__":
    main(sys.argv[1:])
