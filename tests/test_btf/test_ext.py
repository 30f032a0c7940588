"""lbc.btf.ext: sections written by hand, after the layout of Documentation/bpf/btf.rst."""
from __future__ import absolute_import

import struct

import pytest

from lbc.btf.ext import BtfExt
from lbc.btf.parse import Btf
from lbc.errors import FormatError
from tests.btfwriter import Words


def part(order, name, rows, width, size=None, count=None):
    """One part with one section of ``rows`` of ``width`` bytes each."""
    size = width if size is None else size
    raw = struct.pack(order + "III", size, name, len(rows) if count is None else count)
    return raw + b"".join(struct.pack("%s%dI" % (order, len(row)), *row).ljust(width, b"\xee") for row in rows)


def ext(order, parts, header=32, **patch):
    raw, offset = struct.pack(order + "HBBI", patch.get("magic", 0xeb9f), patch.get("version", 1), 0, header), 0
    for each in parts:
        raw += struct.pack(order + "II", offset, len(each))
        offset += len(each)
    return raw.ljust(header, b"\0")[:max(header, 24)] + b"".join(parts)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("more", [0, 8])
def test_rows(order, more):
    words = Words(order)
    name = words.string("kprobe/x")
    btf = Btf(words.btf())
    found = BtfExt(ext(order, [part(order, name, [(0, 5), (64, 6)], 8 + more),
                               part(order, name, [(0, 1, 2, 3 << 10 | 7)], 16 + more),
                               part(order, name, [(8, 5, 1, 2)], 16 + more)], 32 + more), btf)
    assert found.func_info == {"kprobe/x": [(0, 5), (64, 6)]}
    assert found.line_info == {"kprobe/x": [(0, 1, 2, 3 << 10 | 7)]}
    assert found.core_relos == {"kprobe/x": [(8, 5, 1, 2)]}
    old = BtfExt(ext(order, [part(order, name, [(0, 5)], 8), b""], 24), btf)  # before CO-RE: 24 bytes of header
    assert old.func_info == {"kprobe/x": [(0, 5)]} and old.line_info == {} == old.core_relos


@pytest.mark.parametrize("data", [
    b"", b"\0" * 24, ext("<", [b"", b"", b""], magic=1), ext("<", [b"", b"", b""], version=9), ext("<", [b"", b""], 16),
    ext("<", [part("<", 1, [(0, 5)], 8, size=4)]), ext("<", [part("<", 1, [(0, 5)], 8, size=0)]),
    ext("<", [part("<", 1, [(0, 5)], 8, count=2)]), ext("<", [part("<", 1, [(0, 5)], 8, count=0xffffffff)]),
    ext("<", [part("<", 1, [], 8)]), ext("<", [part("<", 99, [(0, 5)], 8)]), ext("<", [part("<", 1, [(0, 5)], 8)[:-1]]),
    ext("<", [part("<", 1, [(0, 5)], 8) + b"\0\0\0\0"]), ext("<", [b"\x08\0\0"])])
def test_damage(data):
    words = Words()
    words.string("kprobe/x")
    with pytest.raises(FormatError):
        BtfExt(data, Btf(words.btf()))
