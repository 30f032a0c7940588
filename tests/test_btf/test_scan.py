"""Walks over all types of a BTF against the types read one by one, and bpftool's strings."""
from __future__ import absolute_import

import os

import pytest

from lbc.btf import parse, scan
from lbc.errors import FormatError
from tests.btfwriter import Words
from tests.test_btf.truth import read

FUNC, STRUCT, ENUM, ENUM64 = 12, 4, 6, 19
INT32 = 0x01000020


@pytest.mark.parametrize("name", ["values_l.btf", "values_b.btf"])
def test_positions_and_ids(name):
    btf = parse.Btf(read(name))
    found = scan.Scan(btf)
    assert len(found.positions) == btf.count - 1
    for kind in range(1, 20):
        ids = [number for number in range(1, btf.count) if btf.kind_of(number) == kind]
        positions = found.of_kind((kind,))
        assert [found.id_at(at) for at in positions] == ids
        for number, at in zip(ids, positions):
            words, place = found.raw(number)
            assert place == at and btf.name_at(words[at]) == btf.type(number).name
    assert found.raw(0) is None and found.raw(btf.count) is None


def test_names_that_hold_a_text():
    btf = parse.Btf(Words().type("tcp_read", 1, 4, extra=[INT32]).type("read", 1, 4, extra=[INT32]).type(
        "reading", 1, 4, extra=[INT32]).type("write", 1, 4, extra=[INT32]).btf())

    def names(text):
        return sorted([btf.name_at(offset) for offset in scan.names_with(btf, text)])
    assert {"tcp_read", "read", "reading"} <= set(names("read")) and "write" not in names("read")
    assert all("read" in name for name in names("read"))    # ends of strings are strings too
    assert "reading" in names("reading") and "read" not in names("reading") and names("xyz") == []
    assert scan.names_with(btf, "") is None
    offsets = scan.names_with(btf, "read")
    assert scan.ids_named(btf, offsets, (1,)) == [1, 2, 3] and scan.ids_named(btf, offsets, (FUNC,)) == []


def test_enumerators():
    words = Words().type("s", STRUCT, 4, vlen=1, extra=["TWICE", 2, 0]).type("i", 1, 4, extra=[INT32])
    words.type("first", ENUM, 4, vlen=2, extra=["ONE", 1, "TWICE", 2])
    words.type("second", ENUM64, 8, vlen=2, extra=["BIG", 5, 7, "LAST", 0xffffffff, 0xffffffff])
    words.type("", ENUM, 4, vlen=1, flag=1, extra=["NEGATIVE", 0xfffffffe])
    found = scan.Scan(parse.Btf(words.btf()))
    assert [found.enumerator(name) for name in ("ONE", "BIG", "LAST", "NEGATIVE")] == [1, 7 << 32 | 5, (1 << 64) - 1,
        -2]
    assert [found.enumerator(name) for name in ("s", "i", "first", "nothing", "")] == [None] * 5
    assert found.enumerator("TWICE") == 2   # the member of that name is none


def test_a_number_that_looks_like_a_name():
    """An enumerator's value equal to the string offset of another's name."""
    words = Words()
    offset = words.string("NAMED")
    words.type("e", ENUM, 4, vlen=2, extra=["OTHER", offset, offset, 3])
    assert scan.Scan(parse.Btf(words.btf())).enumerator("NAMED") == 3


def test_split():
    base_words = Words().type("int", 1, 4, extra=[INT32]).type("kernel_e", ENUM, 4, vlen=1, extra=["SHARED", 4])
    base = parse.Btf(base_words.btf())
    shared = base.string_offsets("SHARED")[0]
    words = Words(strings=b"", string_base=len(base_words.strings))
    words.type("module_e", ENUM, 4, vlen=2, extra=["OWN", 6, shared, 8])
    module = parse.Btf(words.btf(), base)
    found = scan.Scan(module)
    assert found.enumerator("OWN") == 6 and found.enumerator("SHARED") == 8     # of its own types only
    assert [found.id_at(at) for at in found.of_kind((ENUM,))] == [3] and found.raw(1) is None
    assert shared in scan.names_with(module, "SHARED")
    assert module.string_offsets("OWN")[0] in scan.names_with(module, "OW")
    assert scan.ids_named(module, scan.names_with(module, "_e"), (ENUM,)) == [3]


@pytest.mark.parametrize("words", [Words().type("s", STRUCT, 4, vlen=50, extra=["m", 1, 0]), Words().type("k", 31, 0),
                                   Words().type("i", 1, 4)])
def test_damage(words):
    with pytest.raises(FormatError):
        scan.Scan(parse.Btf(words.btf()))


def test_empty():
    found = scan.Scan(parse.Btf(Words().btf()))
    assert found.of_kind((1,)) == [] and found.enumerator("x") is None


def test_like():
    btf = parse.Btf(Words(strings=b"\0vfs_read\0vfs_write\0tcp_read\0vfs\0" + b"vf" + b"x" * 90 + b"\0").btf())
    assert scan.strings_like(btf, "vfs_raed") == ["vfs_read", "vfs_write", "vfs"]
    assert scan.strings_like(btf, "vfs_raed", 1) == ["vfs_read"]


@pytest.mark.skipif(not os.access("/sys/kernel/btf/vmlinux", os.R_OK), reason="this kernel has no BTF")
def test_the_kernel():
    with parse.open_btf("/sys/kernel/btf/vmlinux") as btf:
        found = scan.Scan(btf)
        assert len(found.positions) == btf.count - 1
        read, = btf.find("vfs_read", (FUNC,))
        assert read in [found.id_at(at) for at in found.of_kind((FUNC,))]
        del found
