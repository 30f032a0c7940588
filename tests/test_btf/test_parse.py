"""lbc.btf.parse against bpftool's dumps, and against BTF written by hand to mislead it."""
from __future__ import absolute_import

import json
import os
import struct

import pytest

from lbc.btf import kinds, parse
from lbc.errors import FormatError, InputError
from lbc.uapi import btf as _u
from tests.btfwriter import Words
from . import truth

VMLINUX = "/sys/kernel/btf/vmlinux"
needs_vmlinux = pytest.mark.skipif(not os.path.exists(VMLINUX), reason="this kernel has no BTF")
INT, PTR, ARRAY, STRUCT, UNION, ENUM = 1, 2, 3, 4, 5, 6
INT32 = 0x01000020


@pytest.mark.parametrize("letter", "lb")
def test_object_types_as_bpftool_says(letter):
    btf = parse.Btf(truth.read("values_%s.btf" % letter))
    rows = json.loads(truth.read("values_l.json").decode("utf-8"))["types"]  # the same source: only the order differs
    assert truth.compare(btf, rows) == btf.count - 1 > 40


@needs_vmlinux
def test_every_type_of_vmlinux_as_bpftool_says():
    rows = truth.bpftool_types(VMLINUX)
    if rows is None:
        pytest.skip("bpftool cannot be run here")
    with parse.open_btf(VMLINUX) as btf:
        assert truth.compare(btf, rows) == btf.count - 1
        names = {}
        for row in rows:
            if row["name"] != "(anon)":
                names.setdefault(row["name"], []).append(row["id"])
        for name in sorted(names)[::1500] + ["task_struct", "file", "inode", "list_head", "u32", "cpu_loops_per_jiffy"]:
            assert btf.find(name) == names.get(name, []), name
            assert set(btf.find_essential(name)) >= set(names.get(name, [])) or "___" in name
        assert btf.find("no such name") == [] and btf.find_one("no such name", STRUCT) == 0
        assert btf.find_one("task_struct", STRUCT) == min(
            i for i in names["task_struct"] if rows[i - 1]["kind"] == "STRUCT")


def test_names_in_places_that_are_no_types():
    # member, parameter, enumerator and plain numbers of the same value as the name's offset, arranged like a struct
    words = Words()
    words.type("int", INT, 4, extra=[INT32])
    name = words.string("wanted")
    words.type("holder", STRUCT, 8, vlen=2, extra=[name, 1, 0, name, 1, 32])
    words.type("", 13, 1, vlen=1, extra=[name, 1])
    words.type("values", ENUM, 4, vlen=2, extra=[name, STRUCT << 24, name, STRUCT << 24 | 1])  # looks like a struct
    words.type("e64", 19, 8, vlen=1, extra=[name, STRUCT << 24, 4])
    words.type("", ARRAY, 0, extra=[name, STRUCT << 24 | 1, 7])
    for at in range(0, 4):
        btf = parse.Btf(words.btf())
        assert btf.find("wanted") == [] and btf.find_one("wanted", STRUCT) == 0
        words.strings += b"x" * (3 - at) + b"\0"
    words.words += [name, STRUCT << 24, 0]
    assert parse.Btf(words.btf()).find("wanted") == [7]


def test_two_types_and_two_strings_of_one_name():
    words = Words()
    words.type("same", INT, 4, extra=[INT32]).type("same", 8, 1).type("other", 8, 1)
    words.words += [words.words[0], 8 << 24, 1]
    btf = parse.Btf(words.btf())
    assert btf.find("same") == [1, 2, 4]
    assert btf.find("same", (8,)) == [2, 4]
    assert btf.find_one("same", 8) == 2
    assert btf.count == 5


@pytest.mark.parametrize("name, plain", [
    ("task_struct___old", "task_struct"), ("task_struct", "task_struct"), ("a___b___c", "a___b"), ("___x", "___x"),
    ("a___", "a___"), ("a____b", "a____b"), ("a___b____", "a"), ("a___b", "a"), ("", ""), ("_", "_")])
def test_essential_name(name, plain):
    # bpf_core_essential_name_len(): a separator is ?___? with no underscore on either side, the last one counts
    assert parse.essential_name(name) == plain


def test_find_essential():
    words = Words()
    for name in ("s", "s___v2", "s___v3", "s___", "s____x", "as___v2", "s___v4___b", "t___v1"):
        words.type(name, STRUCT, 0)
    btf = parse.Btf(words.btf())
    assert btf.find_essential("s") == [1, 2, 3]
    assert btf.find_essential("s___mine") == [1, 2, 3]
    assert btf.find_essential("t") == [8]
    assert btf.find_essential("s", (INT,)) == []


@pytest.mark.parametrize("order", "<>")
def test_split(order):
    base_words = Words(order)
    base_words.type("int", INT, 4, extra=[INT32]).type("s", STRUCT, 4, vlen=1, extra=["m", 1, 0])
    base = parse.Btf(base_words.btf())
    words = Words(order, b"", len(base_words.strings))
    shared = base_words.words[4]  # the name offset of "s" in the base
    words.words += [shared, 8 << 24, 2]
    words.type("mine", STRUCT, 8, vlen=2, extra=["m", 2, 0, "n", 1, 32])
    btf = parse.Btf(words.btf(), base)
    assert btf.is_split and btf.start_id == 3 and btf.count == 5
    assert btf.type(3) == kinds.Typedef("s", 2) and btf.type(2).name == "s"
    assert btf.find("s") == [2, 3] and btf.find("mine") == [4] and btf.find("int") == [1]
    assert btf.member_at(4, "m.m").bit_offset == 0
    empty = parse.Btf(Words(order, b"").btf(), base)  # a module with nothing of its own: 24 bytes
    assert empty.count == 3 and empty.find("s") == [2] and empty.type(1).name == "int"
    with pytest.raises(FormatError):
        btf.type(5)


def test_member_at():
    btf = parse.Btf(truth.read("values_l.btf"))
    everything, bits = btf.find("everything", (STRUCT,))[0], btf.find("bits", (STRUCT,))[0]
    outer, inner = btf.member_at(everything, "in"), btf.member_at(btf.find("pair", (STRUCT,))[0], "class")
    assert btf.member_at(everything, "in.class").bit_offset == outer.bit_offset + inner.bit_offset
    # through anonymous
    assert btf.member_at(everything, "lo").bit_offset == btf.member_at(everything, "v4").bit_offset + 8
    assert (btf.member_at(bits, "d").bit_offset, btf.member_at(bits, "d").bit_size) == (15, 17)
    assert btf.member_at(everything, "nothing") is None and btf.member_at(everything, "a.b") is None
    assert btf.size_of(everything) == len(truth.read("values_l_everything.bin"))


def test_sizes_and_alignment():
    btf = parse.Btf(truth.read("values_l.btf"))
    for name, size, align in (("event", 64, 8), ("tight", 15, 1), ("bits", 24, 8), ("pair", 8, 4)):
        type_id = btf.find(name, (STRUCT,))[0]
        assert (btf.size_of(type_id), btf.align_of(type_id)) == (size, align), name


def test_unknown_kind():
    words = Words().type("int", INT, 4, extra=[INT32]).type("new", 25, 3, vlen=2, extra=[1, 2, 3, 4, 5])
    words.type("after", 8, 1)
    plain = parse.Btf(words.btf())
    assert plain.type(1).name == "int"
    with pytest.raises(FormatError) as caught:
        plain.type(3)
    assert "25" in str(caught.value)
    layout = b"\0" * 4 * 25 + struct.pack("<BBH", 4, 8, 0)  # kind 25: 4 bytes and 8 for each of vlen
    btf = parse.Btf(words.btf(header=32, layout=layout))
    assert btf.count == 4 and btf.find("after") == [3]
    found = btf.type(2)
    assert (found.kind, found.name, found.vlen, found.size_or_type, len(found.extra)) == (25, "new", 2, 3, 20)


def circle(kind):
    return Words().type("", kind, 2).type("", kind, 1).btf()


@pytest.mark.parametrize("data", [
    b"", b"\x9f\xeb\x01", b"\x9f\xeb\x01" + b"\0" * 20, Words().btf(magic=0x1234), Words().btf(version=2),
    Words().btf(header=20), Words().btf(str_len=1 << 31), Words().btf(type_len=8), Words().btf(type_off=3, type_len=4),
    Words(strings=b"").btf(), Words(strings=b"\0x").btf(), Words(strings=b"x\0").btf(),
    Words().type("i", 1, 4).btf(type_len=6)])
def test_damaged_header(data):
    with pytest.raises(FormatError):
        parse.Btf(data)


@pytest.mark.parametrize("words", [
    Words().type("i", 1, 4), Words().type("s", 4, 4, vlen=1000), Words().type("s", 4, 4, vlen=0xffffff),
    Words().type("k", 0, 0), Words().type("k", 31, 0), Words().type("a", 3, 0, extra=[1, 2])])
def test_damaged_types(words):
    btf = parse.Btf(words.btf())
    with pytest.raises(FormatError):
        btf.type(1)
        btf.count


def test_circles_end():
    for data in (circle(8), circle(10), Words().type("", 3, 0, extra=[1, 1, 2]).btf()):
        btf = parse.Btf(data)
        with pytest.raises(FormatError):
            btf.size_of(1)
        with pytest.raises(FormatError):
            btf.align_of(1)
    itself = parse.Btf(Words().type("s", STRUCT, 8, vlen=1, extra=[0, 1, 0]).btf())
    with pytest.raises(FormatError):
        itself.member_at(1, "x")
    with pytest.raises(FormatError):
        itself.align_of(1)
    huge = parse.Btf(Words().type("i", 1, 4, extra=[INT32]).type("", 3, 0, extra=[1, 1, 0xffffffff]).btf())
    assert huge.size_of(2) == 4 * 0xffffffff


def test_files(tmpdir):
    path = tmpdir.join("x.btf")
    path.write_binary(truth.read("values_l.btf"))
    btf = parse.open_btf(str(path))
    assert btf.find("event", (STRUCT,))
    btf.close()
    btf.close()
    with pytest.raises(InputError):
        parse.open_btf(str(tmpdir.join("missing")))
    path.write_binary(b"short")
    with pytest.raises(FormatError):
        parse.open_btf(str(path))


def test_kernel_btf_paths():
    paths = parse.kernel_btf_paths("6.1.0-%s")
    assert paths[0] == "/sys/kernel/btf/vmlinux" and paths[1] == "/boot/vmlinux-6.1.0-%s"
    assert paths[2] == "/lib/modules/6.1.0-%s/vmlinux-6.1.0-%s" and len(paths) == 8


def test_uapi_kinds_have_classes():
    have = set(cls.kind for cls in vars(kinds).values() if isinstance(cls, type)
               and isinstance(getattr(cls, "kind", None), int))
    assert have >= set(range(1, _u.BTF_KIND_MAX + 1))
