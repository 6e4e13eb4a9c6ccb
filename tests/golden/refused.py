#!/usr/bin/env python3
"""refused.py DIRECTORY - writes inputs that must be refused, into bad/ and unsupported/ of DIRECTORY: files of types that
s24 reads with one thing wrong in each, and files of types that it knows and does not read.

Plain Python 3. Everything is put together byte by byte; README.md says of every file what is wrong with it. The .s24
among them are bad.py's.
"""
import json
import os
import struct
import sys
import zlib

from inputs import Writer, deflate

VALUES = [1, -2, 3, -4, 0.5, 0.25, -0.125, 0.0625]
DATA = struct.pack("<8f", *VALUES)


def u16(x):
    return struct.pack("<H", x)


def u32(x):
    return struct.pack("<I", x)


def u64(x):
    return struct.pack("<Q", x)


# ------------------------------------------------------------------ .npy

def npy(header, data=DATA, version=(1, 0), length=None):
    """header: the text of the dict. length: what the prefix says, where that is a lie."""
    text = header if isinstance(header, bytes) else header.encode()
    n = len(text) + 1 if length is None else length
    return b"\x93NUMPY" + bytes(version) + (u16(n) if version[0] == 1 else u32(n)) + text + b"\n" + data


def described(descr="'<f4'", order="False", shape="(2, 4)"):
    return "{'descr': %s, 'fortran_order': %s, 'shape': %s}" % (descr, order, shape)


def npy_headers():
    """What is wrong in the header's text, by name."""
    right = described()
    yield "no-descr", "{'fortran_order': False, 'shape': (2, 4)}"
    yield "no-order", "{'descr': '<f4', 'shape': (2, 4)}"
    yield "no-shape", "{'descr': '<f4', 'fortran_order': False}"
    yield "twice", right[:-1] + ", 'shape': (4, 2)}"
    yield "extra-key", right[:-1] + ", 'offset': 0}"
    yield "after", right + " {}"
    yield "not-a-dict", "('<f4', False, (2, 4))"
    yield "no-end", right[:-1]
    yield "no-colon", right.replace("':", "'", 1)
    yield "no-comma", right.replace("',", "'", 1)
    yield "comment", right[:-1] + " # two rows\n}"
    yield "nul", right.encode().replace(b" ", b"\0", 1)
    yield "order-number", described(order="0")
    yield "order-text", described(order="'False'")
    yield "descr-number", described("4")
    yield "descr-escape", described("'\\x3cf4'")
    yield "descr-no-end", "{'fortran_order': False, 'shape': (2, 4), 'descr': '<f4}"
    yield "descr-unknown", described("'<f3'")
    yield "descr-empty", described("''")
    yield "descr-long", described("'<f4" + "0" * 60 + "'")
    yield "shape-negative", described(shape="(-2, -4)")
    yield "shape-list", described(shape="[2, 4]")
    yield "shape-number", described(shape="(8)")
    yield "shape-hex", described(shape="(0x2, 0x4)")
    yield "shape-octal", described(shape="(02, 04)")
    yield "shape-float", described(shape="(2.0, 4.0)")
    yield "shape-blank", described(shape="(2 4)")
    yield "shape-none", described(shape="(None, 4)")
    yield "shape-beyond", described(shape="(18446744073709551618, 4)")
    yield "shape-product", described(shape="(4294967296, 4294967296)")
    yield "shape-bytes", described(shape="(2305843009213693952, 4)")
    yield "shape-rank", described(shape="(" + "1, " * 65 + ")")


def bad_npy(d):
    for name, header in npy_headers():
        d.put("npy-%s.npy" % name, npy(header))
    whole = npy(described())
    start = len(whole) - len(DATA)
    d.put("npy-magic.npy", b"\x93NUMPI" + whole[6:])
    d.put("npy-version.npy", npy(described(), version=(4, 0)))
    d.put("npy-minor.npy", npy(described(), version=(1, 1)))
    d.put("npy-version-0.npy", npy(described(), version=(0, 0)))
    d.put("npy-python2.npy", npy(described(shape="(2L, 4L)"), version=(3, 0)))
    d.put("npy-length-0.npy", npy(described(), length=0))
    d.put("npy-length-less.npy", npy(described(), length=20))
    d.put("npy-length-more.npy", npy(described(), length=len(described()) + 20))
    d.put("npy-length-beyond.npy", npy(described(), length=9000))
    d.put("npy-length-huge.npy", npy(described(), version=(2, 0), length=0xffffffff))
    d.put("npy-cut-magic.npy", whole[:7])
    d.put("npy-cut-length.npy", whole[:9])
    d.put("npy-cut-header.npy", whole[:30])
    d.put("npy-cut-data.npy", whole[:-1])
    d.put("npy-cut-all-data.npy", whole[:start])
    d.put("npy-trailing.npy", whole + b"\0")
    d.put("npy-empty-trailing.npy", npy(described(shape="(0, 4)")))


def unsupported_npy(d):
    for name, descr, size in (("object", "'|O'", 4), ("complex", "'<c8'", 8), ("records", "[('a', '<f4')]", 4),
                              ("longdouble", "'<f16'", 16), ("integers", "'<i4'", 4), ("unsigned", "'|u1'", 1),
                              ("booleans", "'|b1'", 1), ("text", "'<U1'", 4), ("bytes", "'|S4'", 4),
                              ("dates", "'<M8[ns]'", 8), ("spans", "'<m8[s]'", 8), ("void", "'|V8'", 8),
                              ("f8", "'|V1'", 1), ("f1", "'<f1'", 1)):
        d.put("npy-%s.npy" % name, npy(described(descr), bytes(8 * size)))


# ------------------------------------------------------------------ .npz

MATRIX = npy(described())
STORED, DEFLATED = 0, 8


class Member:
    """One member of an archive; whatever differs from the truth is said."""

    def __init__(self, name="arr_0.npy", data=MATRIX, method=STORED, coded=None, **lies):
        self.name = name if isinstance(name, bytes) else name.encode()
        self.coded = coded if coded is not None else deflate(data) if method == DEFLATED else data
        self.method = method
        self.crc, self.size, self.compressed = zlib.crc32(data), len(data), len(self.coded)
        self.flags, self.extra, self.disk, self.at = 0, b"", 0, None
        self.local_name, self.local_magic = None, 0x04034b50
        for key, value in lies.items():
            setattr(self, key, value)

    def common(self):
        return (u16(20) + u16(self.flags) + u16(self.method) + u32(1 << 21) + u32(self.crc) + u32(self.compressed) +
                u32(self.size))

    def local(self):
        name = self.name if self.local_name is None else self.local_name
        return u32(self.local_magic) + self.common() + u16(len(name)) + u16(0) + name + self.coded

    def central(self, at):
        at = at if self.at is None else self.at
        return (u32(0x02014b50) + u16(20) + self.common() + u16(len(self.name)) + u16(len(self.extra)) + u16(0) +
                u16(self.disk) + u16(0) + u32(0) + u32(at) + self.name + self.extra)


def end_record(count, size, at, disk=0, comment=b""):
    return u32(0x06054b50) + u16(disk) + u16(0) + u16(count) * 2 + u32(size) + u32(at) + u16(len(comment)) + comment


def archive(*members, count=None, size=None, at=None, disk=0, before=b"", behind=b""):
    """before: what stands before the first member and is not counted; behind: between directory and end record."""
    data, places = b"", []
    for m in members:
        places.append(len(data))
        data += m.local()
    directory = b"".join(m.central(place) for m, place in zip(members, places))
    return before + data + directory + behind + end_record(
        len(members) if count is None else count, len(directory) if size is None else size,
        len(data) if at is None else at, disk)


def zip64(record=b"", offset=None):
    """An archive with the end records of zip64: record in the place of its first bytes, offset in its locator."""
    m = Member()
    data, directory = m.local(), m.central(0)
    at = len(data) + len(directory)
    end64 = (u32(0x06064b50) + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(1) + u64(1) + u64(len(directory)) +
             u64(len(data)))
    end64 = record + end64[len(record):]
    locator = u32(0x07064b50) + u32(0) + u64(at if offset is None else offset) + u32(1)
    return data + directory + end64 + locator + end_record(1, len(directory), len(data))


def bad_npz(d):
    whole = archive(Member())
    coded = deflate(MATRIX)
    two = Member("a.npy"), Member("b.npy")
    d.put("npz-cut.npz", whole[:-1])
    d.put("npz-cut-directory.npz", whole[:-40])
    d.put("npz-cut-data.npz", whole[:60])
    d.put("npz-trailing.npz", whole + b"\0")
    d.put("npz-before.npz", archive(Member(), before=Member("b.npy").local()))
    d.put("npz-behind.npz", archive(Member(), behind=bytes(8)))
    d.put("npz-count-more.npz", archive(*two, count=3))
    d.put("npz-count-many.npz", archive(*two, count=60000))
    d.put("npz-count-less.npz", archive(*two, count=1))
    d.put("npz-directory-size.npz", archive(*two, size=60))
    d.put("npz-directory-at.npz", archive(Member(), at=10))
    d.put("npz-directory-beyond.npz", archive(Member(), at=1 << 30))
    d.put("npz-crc.npz", archive(Member(crc=1)))
    d.put("npz-crc-deflated.npz", archive(Member(method=DEFLATED, crc=1)))
    d.put("npz-deflate-noise.npz", archive(Member(method=DEFLATED, coded=b"\xff" * len(coded))))
    d.put("npz-deflate-cut.npz", archive(Member(method=DEFLATED, coded=coded[:-8])))
    d.put("npz-deflate-more.npz", archive(Member(method=DEFLATED, coded=deflate(MATRIX + bytes(9)))))
    d.put("npz-deflate-less.npz", archive(Member(method=DEFLATED, coded=deflate(MATRIX[:-8]))))
    d.put("npz-deflate-behind.npz", archive(Member(method=DEFLATED, coded=coded + b"\0")))
    # 512 bytes of stored blocks, five bytes more each than they hold; all but one are empty.
    left = 512 - len(npy(described(shape="(10, 4)"), b""))
    blocks = next(n for n in range(1, 17) if (left - 5 * n) % 16 == 0)
    member = npy(described(shape="(%d, 4)" % ((left - 5 * blocks) // 16)), bytes(left - 5 * blocks))
    stored = b"\0\0\0\xff\xff" * (blocks - 1) + b"\1" + u16(len(member)) + u16(0xffff - len(member)) + member
    assert len(stored) == 512
    d.put("npz-deflate-behind-512.npz", archive(Member(data=member, method=DEFLATED, coded=stored + b"\0")))
    d.put("npz-bomb.npz", archive(Member(data=npy(described(shape="(1073741824,)")), method=DEFLATED, size=0xfffffffe)))
    d.put("npz-bomb-shape.npz", archive(Member(data=npy(described(shape="(1073741824,)")), method=DEFLATED)))
    d.put("npz-sizes.npz", archive(Member(size=len(MATRIX) + 1)))
    d.put("npz-shape-less.npz", archive(Member(data=MATRIX + b"\0")))
    d.put("npz-into-directory.npz", archive(Member(size=len(MATRIX) + 8, compressed=len(MATRIX) + 8)))
    d.put("npz-overlap.npz", archive(Member("a.npy"), Member("b.npy", at=0, local_name=b"a.npy")))
    outer = Member("a.npy", MATRIX + Member("b.npy").local())
    d.put("npz-nested.npz", archive(outer, Member("b.npy", at=len(Member("a.npy").local()))))
    d.put("npz-twice.npz", archive(Member(), Member()))
    d.put("npz-local-name.npz", archive(Member(local_name=b"arr_1.npy")))
    d.put("npz-local-magic.npz", archive(Member("a.npy"), Member("b.npy", local_magic=0x04034b51)))
    d.put("npz-beyond.npz", archive(Member(at=1 << 30)))
    d.put("npz-extra.npz", archive(Member(size=0xffffffff, extra=u16(1) + u16(4) + u32(200))))
    d.put("npz-extra-length.npz", archive(Member(size=0xffffffff, extra=u16(1) + u16(400) + u64(200))))
    d.put("npz-zip64-at.npz", zip64(offset=1 << 40))
    d.put("npz-zip64-magic.npz", zip64(record=u32(0x06064b51)))
    d.put("npz-zip64-count.npz", zip64(record=u32(0x06064b50) + u64(44) + u16(45) * 2 + u32(0) * 2 + u64(2) * 2))
    for name, text in (("parent", "../a.npy"), ("absolute", "/a.npy"), ("control", "a\n.npy"), ("empty", ""),
                       ("bare", ".npy"), ("latin1", b"\xe4.npy"), ("nul", "a\0.npy")):
        d.put("npz-name-%s.npz" % name, archive(Member(text)))
    d.put("npz-member.npz", archive(Member(data=b"\x93NUMPI" + MATRIX[6:])))
    d.put("npz-member-header.npz", archive(Member(data=npy(described(shape="[2, 4]")))))
    d.put("npz-member-short.npz", archive(Member(data=b"\x93NUM")))
    d.put("npz-among.npz", archive(Member(), Member("notes.txt", b"hello")))
    d.put("npz-none.npz", archive(Member("notes.txt", b"hello")))


def unsupported_npz(d):
    d.put("npz-encrypted.npz", archive(Member(flags=1)))
    d.put("npz-bzip2.npz", archive(Member(method=12)))
    d.put("npz-aes.npz", archive(Member(method=99, flags=1)))
    d.put("npz-zstandard.npz", archive(Member(method=93)))
    d.put("npz-implode.npz", archive(Member(method=6)))
    d.put("npz-parts.npz", archive(Member(), disk=1))
    d.put("npz-member-disk.npz", archive(Member(disk=1)))
    d.put("npz-member-object.npz", archive(Member(data=npy(described("'|O'"), b"\x80\x04N.\0\0\0\0" * 8))))
    d.put("pytorch.pt", archive(Member("archive/data.pkl", b"\x80\x02}q\0."), Member("archive/data/0", DATA)))


# ------------------------------------------------------------------ safetensors

def safetensors(header, data=DATA, length=None):
    text = header if isinstance(header, bytes) else header.encode()
    return u64(len(text) if length is None else length) + text + data


def entry(dtype='"F32"', shape="[2,4]", offsets="[0,32]"):
    return '{"dtype":%s,"shape":%s,"data_offsets":%s}' % (dtype, shape, offsets)


def st_headers():
    right = entry()
    yield "not-object", '{"w":[]}'
    yield "list", '["w"]'
    yield "tail", '{"w":%s}{}' % right
    yield "comma", '{"w":%s,}' % right
    yield "cut", '{"w":%s' % right
    yield "quotes", "{'w':%s}" % right
    yield "constant", '{"w":%s}' % entry(shape="[NaN,4]")
    yield "twice", '{"w":%s,"w":%s}' % (right, right)
    yield "twice-escaped", '{"w":%s,"\\u0077":%s}' % (right, right)
    yield "utf8", b'{"\xff":%s}' % right.encode()
    yield "utf8-long", b'{"\xc0\xaf":%s}' % right.encode()
    yield "surrogate", '{"\\ud800":%s}' % right
    yield "nul", '{"w\\u0000":%s}' % right
    yield "control", '{"w\n":%s}' % right
    yield "escape", '{"\\w":%s}' % right
    yield "deep", '{"w":' + "[" * 200 + "]" * 200 + "}"
    yield "dtype", '{"w":%s}' % entry('"F33"')
    yield "dtype-case", '{"w":%s}' % entry('"f32"')
    yield "dtype-number", '{"w":%s}' % entry("4")
    yield "no-dtype", '{"w":{"shape":[2,4],"data_offsets":[0,32]}}'
    yield "no-shape", '{"w":{"dtype":"F32","data_offsets":[0,32]}}'
    yield "no-offsets", '{"w":{"dtype":"F32","shape":[2,4]}}'
    yield "field", '{"w":%s}' % (right[:-1] + ',"crc":1}')
    yield "field-twice", '{"w":%s}' % (right[:-1] + ',"dtype":"F32"}')
    yield "shape-text", '{"w":%s}' % entry(shape='"2,4"')
    yield "shape-negative", '{"w":%s}' % entry(shape="[-2,-4]")
    yield "shape-float", '{"w":%s}' % entry(shape="[2.0,4]")
    yield "shape-exponent", '{"w":%s}' % entry(shape="[2e0,4]")
    yield "shape-beyond", '{"w":%s}' % entry(shape="[18446744073709551618,4]")
    yield "shape-product", '{"w":%s}' % entry(shape="[4294967296,4294967296]")
    yield "shape-rank", '{"w":%s}' % entry(shape="[" + "1," * 64 + "8]")
    yield "offsets-one", '{"w":%s}' % entry(offsets="[32]")
    yield "offsets-three", '{"w":%s}' % entry(offsets="[0,32,32]")
    yield "offsets-down", '{"w":%s}' % entry(offsets="[32,0]")
    yield "offsets-less", '{"w":%s}' % entry(offsets="[0,31]")
    yield "offsets-beyond", '{"w":%s}' % entry(offsets="[0,18446744073709551648]")
    yield "offsets-far", '{"w":%s}' % entry(offsets="[9223372036854775775,9223372036854775807]")
    yield "start", '{"w":%s}' % entry(shape="[1,4]", offsets="[16,32]")
    yield "hole", '{"a":%s,"b":%s}' % (entry(shape="[3]", offsets="[0,12]"), entry(shape="[4]", offsets="[16,32]"))
    yield "overlap", '{"a":%s,"b":%s}' % (entry(shape="[5]", offsets="[0,20]"), entry(shape="[4]", offsets="[16,32]"))
    yield "same", '{"a":%s,"b":%s}' % (right, right)
    yield "bits", '{"w":%s}' % entry('"F4"', "[3]", "[0,2]")
    yield "metadata-list", '{"__metadata__":[],"w":%s}' % right
    yield "metadata-number", '{"__metadata__":{"step":1},"w":%s}' % right
    yield "metadata-nested", '{"__metadata__":{"a":{"b":"c"}},"w":%s}' % right
    yield "metadata-twice", '{"__metadata__":{"a":"b","a":"c"},"w":%s}' % right


def bad_safetensors(d):
    for name, header in st_headers():
        d.put("st-%s.safetensors" % name, safetensors(header))
    right = '{"w":%s}' % entry()
    whole = safetensors(right)
    d.put("st-data-less.safetensors", whole[:-1])
    d.put("st-data-none.safetensors", whole[:-32])
    d.put("st-data-more.safetensors", whole + b"\0")
    d.put("st-cut-header.safetensors", whole[:40])
    d.put("st-cut-length.safetensors", whole[:7])
    d.put("st-length-0.safetensors", safetensors(right, length=0))
    d.put("st-length-less.safetensors", safetensors(right, length=len(right) - 1))
    d.put("st-length-more.safetensors", safetensors(right, length=len(right) + 1))
    d.put("st-length-beyond.safetensors", safetensors(right, length=99999999))
    d.put("st-length-huge.safetensors", safetensors(right, length=1 << 62))


# ------------------------------------------------------------------ checkpoints

def shard(*names):
    header = ",".join('"%s":%s' % (n, entry(offsets="[%d,%d]" % (32 * i, 32 * i + 32))) for i, n in enumerate(names))
    return safetensors("{%s}" % header, DATA * len(names))


def bad_checkpoints(d):
    def put(name, weight_map, files=(("one.safetensors", "a"), ("two.safetensors", "b"))):
        text = weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map})
        d.put("index-%s/model.safetensors.index.json" % name, text)
        for file, *tensors in files:
            d.put("index-%s/%s" % (name, file), shard(*tensors))

    right = {"a": "one.safetensors", "b": "two.safetensors"}
    put("no-map", "{}", ())
    put("map-list", '{"weight_map":[]}', ())
    put("map-empty", {}, ())
    put("list", "[]", ())
    put("no-json", '{"weight_map":', ())
    put("twice", '{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}')
    put("number", {"a": "one.safetensors", "b": 2})
    put("null", {"a": "one.safetensors", "b": None})
    put("parent", {"a": "../good.safetensors"}, ())
    put("slash", {"a": "sub/one.safetensors"}, ())
    put("absolute", {"a": "/etc/one.safetensors"}, ())
    put("hidden", {"a": ".one.safetensors"}, ())
    put("no-name", {"a": ""}, ())
    put("control", {"a": "one\n.safetensors"}, ())
    put("suffix", {"a": "one.bin"}, ())
    put("missing", right, (("one.safetensors", "a"),))
    put("absent", {**right, "c": "two.safetensors"})
    put("unlisted", right, (("one.safetensors", "a"), ("two.safetensors", "b", "c")))
    put("elsewhere", {"a": "two.safetensors", "b": "one.safetensors"})
    put("both", right, (("one.safetensors", "a"), ("two.safetensors", "a", "b")))
    put("extra", right, (("one.safetensors", "a"), ("two.safetensors", "b"), ("three.safetensors", "c")))
    put("mixed", {"a": "one.safetensors", "b": "two.s24"}, (("one.safetensors", "a"),))
    put("shard", right, (("one.safetensors", "a"),))
    d.put("index-shard/two.safetensors", shard("b")[:-1])
    put("shard-type", right, (("one.safetensors", "a"),))
    d.put("index-shard-type/two.safetensors", MATRIX)
    put("two", right)
    d.put("index-two/other.safetensors.index.json", json.dumps({"weight_map": right}))
    d.put("index-none/one.safetensors", shard("a"))
    d.put("index-none/two.safetensors", shard("b"))
    d.put("index-empty/README.txt", "no weights\n")


def bad_configs(d):
    """The config.json beside a model, which is changed where the layout is one that it has to name."""
    two_of_four = safetensors('{"m.weight":%s}' % entry(), struct.pack("<8f", 1, 0, 0, -4, 0.5, 0, 0.25, 0))
    for name, text in (("json", '{"a":1,}'), ("list", "[]"), ("twice", '{"a":1,"a":2}'),
                       ("method", '{"quantization_config":{"quant_method":"gptq"}}'),
                       ("outer", '{"quantization_config":"none"}'),
                       ("inner", '{"quantization_config":{"sparsity_config":[]}}')):
        d.put("config-%s/model.safetensors" % name, two_of_four)
        d.put("config-%s/config.json" % name, text)


# ------------------------------------------------------------------ JSON

BAD_JSON = {
    "ragged": "[[1,2,3,4],[5,6,7]]",
    "ragged-long": "[[1,2,3,4],[5,6,7,8,9]]",
    "ragged-rank": "[[1,2,3,4],[5,6,7,[8]]]",
    "ragged-scalar": "[[1,2,3,4],5]",
    "null": "[1,2,null,4]",
    "text": '[1,2,"3",4]',
    "boolean": "[1,2,true,4]",
    "object": "[1,2,{},4]",
    "nan": "[1,2,NaN,4]",
    "infinity": "[1,2,-Infinity,4]",
    "beyond": "[1,2,1e999,4]",
    "zero": "[1,2,03,4]",
    "point": "[1,2,3.,4]",
    "plus": "[1,2,+3,4]",
    "hex": "[1,2,0x3,4]",
    "exponent": "[1,2,3e,4]",
    "digits": "[1,2,3.%s,4]" % ("0" * 80),
    "comma": "[1,2,3,4,]",
    "no-comma": "[1,2 3,4]",
    "tail": "[1,2,3,4] 5",
    "cut": "[1,2,3,4",
    "close": "[1,2,3,4}",
    "quotes": "{'w': [1,2,3,4]}",
    "python": "[1,2,None,4]",
    "comment": "[1,2,3,4 // four\n]",
    "utf8": b'{"\xff":[1,2,3,4]}',
    "twice": '{"w":[1,2,3,4],"w":[1,2,3,4]}',
    "deep": "[" * 200 + "]" * 200,
    "rank": "[" * 65 + "1" + "]" * 65,
    "string": '{"w":"1,2,3,4"}',
    "no-shape": '{"dtype":"f32","data":[1,2,3,4]}',
    "no-data": '{"dtype":"f32","shape":[4]}',
    "no-dtype": '{"shape":[4],"data":[1,2,3,4]}',
    "member": '{"dtype":"f32","shape":[4],"data":[1,2,3,4],"axis":0}',
    "dtype": '{"dtype":"f33","shape":[4],"data":[1,2,3,4]}',
    "shape": '{"dtype":"f32","shape":[2,4],"data":[1,2,3,4]}',
    "shape-nested": '{"dtype":"f32","shape":[4,1],"data":[[1,2,3,4]]}',
    "shape-negative": '{"dtype":"f32","shape":[-4],"data":[1,2,3,4]}',
    "shape-float": '{"dtype":"f32","shape":[1.5],"data":[1,2,3,4]}',
    "shape-product": '{"dtype":"f32","shape":[4503599627370496,4503599627370496],"data":[1,2,3,4]}',
    "range": '{"dtype":"f16","shape":[4],"data":[1,2,65520,4]}',
    "range-i8": '{"dtype":"i8","shape":[4],"data":[1,2,128,4]}',
    "fraction": '{"dtype":"i8","shape":[4],"data":[1,2,2.5,4]}',
    "range-u64": '{"w":{"dtype":"u64","shape":[1],"data":[9007199254740993]}}',
}


# ------------------------------------------------------------------ sparse layouts of others

def planes(named, metadata=None):
    """A safetensors file of {name: (dtype, shape, bytes)}."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, b) in named.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(b)]}
        data += b
    return safetensors(json.dumps(header, separators=(",", ":")), data)


def bitmask24(**other):
    p = {"shape": ("I64", [2, 1], struct.pack("<2q", 2, 12)), "compressed": ("F16", [2, 6], bytes(24)),
         "bitmask": ("U8", [2, 2], b"\x53\x0a\xc5\x09")}
    p.update(other)
    return planes({"m." + name: plane for name, plane in p.items()})


def bitmask(**other):
    p = {"shape": ("I64", [2], struct.pack("<2q", 2, 12)), "compressed": ("F16", [5], bytes(10)),
         "bitmask": ("U8", [2, 2], b"\x01\x08\x03\x01"), "row_offsets": ("I64", [2], struct.pack("<2q", 0, 2))}
    p.update(other)
    return planes({"m." + name: plane for name, plane in p.items()})


def cutlass(**other):
    p = {"packed": ("I8", [16, 64], bytes(1024)), "meta": ("I32", [16, 4], b"\x44" * 256)}
    p.update(other)
    return planes({"m." + name: plane for name, plane in p.items()}, {"semi_structured": "cutlass"})


def bad_layouts(d):
    def i64(*numbers):
        return "I64", [len(numbers)], struct.pack("<%dq" % len(numbers), *numbers)

    for name, other in (
            ("shape-dtype", {"shape": ("I32", [2, 1], struct.pack("<2i", 2, 12))}),
            ("shape-rank", {"shape": i64(1, 2, 12)}),
            ("shape-negative", {"shape": i64(2, -12)}),
            ("shape-none", {"shape": i64()}),
            ("columns", {"shape": i64(2, 10)}),
            ("values", {"compressed": ("F16", [2, 5], bytes(20))}),
            ("bits", {"bitmask": ("U8", [2, 1], b"\x53\xc5")}),
            ("bits-dtype", {"bitmask": ("I8", [2, 2], b"\x53\x0a\xc5\x09")}),
            ("three", {"bitmask": ("U8", [2, 2], b"\x53\x0a\xd5\x09")}),
            ("one", {"bitmask": ("U8", [2, 2], b"\x53\x02\xc5\x09")}),
            ("behind", {"bitmask": ("U8", [2, 2], b"\x53\x0a\xc5\x19")})):
        d.put("bitmask24-%s.safetensors" % name, bitmask24(**other))
    for name, other in (
            ("offsets", {"row_offsets": i64(0, 9)}),
            ("offsets-down", {"row_offsets": i64(1, 0)}),
            ("offsets-dtype", {"row_offsets": ("U64", [2], bytes(16))}),
            ("more", {"bitmask": ("U8", [2, 2], b"\x01\x0c\x03\x01")}),
            ("less", {"bitmask": ("U8", [2, 2], b"\x01\x08\x03\x00")}),
            ("behind", {"bitmask": ("U8", [2, 2], b"\x01\x08\x03\x11")}),
            ("values", {"compressed": ("F16", [5, 1], bytes(10))}),
            ("bits", {"bitmask": ("U8", [2, 3], bytes(6))})):
        d.put("bitmask-%s.safetensors" % name, bitmask(**other))
    d.put("bitmask-dense.safetensors", bitmask(weight=("F16", [1], bytes(2))))
    for name, other in (
            ("meta", {"meta": ("I32", [8, 8], b"\x44" * 256)}),
            ("meta-dtype", {"meta": ("I16", [16, 4], b"\x44" * 128)}),
            ("dtype", {"packed": ("F32", [16, 16], bytes(1024))}),
            ("shape", {"packed": ("I8", [8, 64], bytes(512))}),
            ("codes", {"meta": ("I32", [16, 4], b"\x44" * 100 + b"\x45" + b"\x44" * 155)})):
        d.put("cutlass-%s.safetensors" % name, cutlass(**other))


# ------------------------------------------------------------------ raw data, and what is nothing

def bad_others(d):
    d.put("raw-less.raw", DATA[:-1])
    d.put("raw-more.raw", DATA + b"\0")
    d.put("raw-none.raw", b"")
    for name, text in BAD_JSON.items():
        d.put("json-%s.json" % name, text)
    d.put("json-bom.json", b"\xef\xbb\xbf[1,2,3,4]")
    d.put("nothing", b"")
    d.put("zeros", bytes(64))
    d.put("text", "These are no weights.\n")


def unsupported_others(d):
    d.put("model.gguf", b"GGUF" + u32(3) + u64(0) * 2)
    d.put("legacy.pt", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")
    d.put("model.pkl", b"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94\x8c\x01w\x94K\x01s.")
    d.put("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(8))
    d.put("model.onnx", b"\x08\x07\x12\x07pytorch\x1a\x052.0.1:\x08\x0a\x06\x0a\x01x\x12\x01y")
    d.put("model.tflite", b"\x1c\0\0\0TFL3" + bytes(24))
    d.put("model.npy.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflate(MATRIX) + u32(zlib.crc32(MATRIX)) +
          u32(len(MATRIX)))
    d.put("model.npy.zst", b"\x28\xb5\x2f\xfd\x20" + bytes([len(MATRIX)]) + u32(len(MATRIX) << 3 | 1)[:3] + MATRIX)
    d.put("model.npy.xz", b"\xfd7zXZ\0\0\x04" + u32(zlib.crc32(b"\0\x04")))
    d.put("model.npy.bz2", b"BZh9\x17rE8P\x90" + bytes(4))


def main(directory):
    bad, unsupported = (Writer(os.path.join(directory, name)) for name in ("bad", "unsupported"))
    bad_npy(bad)
    bad_npz(bad)
    bad_safetensors(bad)
    bad_checkpoints(bad)
    bad_configs(bad)
    bad_layouts(bad)
    bad_others(bad)
    unsupported_npy(unsupported)
    unsupported_npz(unsupported)
    unsupported_others(unsupported)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: refused.py DIRECTORY")
    main(sys.argv[1])
