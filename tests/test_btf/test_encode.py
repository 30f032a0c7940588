"""lbc.btf.encode: what it writes is what bpftool reads; what it tames is as libbpf tames it."""
from __future__ import absolute_import

import pytest

from lbc.btf import encode, kinds, parse
from lbc.errors import InputError
from . import truth


def every_kind(maker):
    """One of each; the id of the first."""
    first = maker.next_id
    integer = maker.add_int("int", 4, 1)
    pointer = maker.add_ptr(integer)
    maker.add_array(integer, integer, 3)
    struct = maker.add_struct("s", 16, [kinds.Member("a", integer, 0), kinds.Member("b", pointer, 64)])
    maker.add_struct("bits", 4, [kinds.Member("a", integer, 0, 3), kinds.Member("b", integer, 3, 9)])
    maker.add_union("u", 8, [kinds.Member("a", integer), kinds.Member("b", pointer)])
    maker.add_enum("e", 4, True, [("A", -1), ("B", 1)])
    maker.add_enum("ue", 4, False, [("C", 0xf0)])
    maker.add_enum64("e64", 8, False, [("D", 1 << 63)])
    maker.add_enum64("s64", 8, True, [("E", -1)])
    maker.add_fwd("fs")
    maker.add_fwd("fu", True)
    maker.add_typedef("t", struct)
    maker.add_volatile(integer)
    maker.add_const(integer)
    maker.add_restrict(pointer)
    proto = maker.add_func_proto(integer, [("x", integer), ("", 0)])
    maker.add_func("f", proto, 1)
    var = maker.add_var("v", integer, 1)
    maker.add_datasec(".data", 4, [(var, 0, 4)])
    maker.add_float("double", 8)
    maker.add_decl_tag("tag", struct, 1)
    maker.add_decl_tag("whole", struct)
    maker.add_type_tag("user", integer)
    return first


@pytest.mark.parametrize("order", "<>")
def test_every_kind_as_bpftool_reads_it(order, tmpdir):
    maker = encode.Builder(order=order)
    every_kind(maker)
    raw = maker.bytes()
    btf = parse.Btf(raw)
    assert set(btf.kind_of(i) for i in range(1, btf.count)) == set(range(1, 20))
    rewritten = dict((i, btf.type(i)) for i in range(1, btf.count))
    assert encode.encode(btf, rewritten) == raw == encode.encode(btf)
    path = tmpdir.join("x.btf")
    path.write_binary(raw)
    rows = truth.bpftool_types(str(path))
    if rows is None:
        pytest.skip("bpftool cannot be run here")
    assert truth.compare(btf, rows) == btf.count - 1 == 24


def test_split_as_bpftool_reads_it(tmpdir):
    base_maker = encode.Builder()
    every_kind(base_maker)
    base = parse.Btf(base_maker.bytes())
    maker = encode.Builder(base)
    first = every_kind(maker)
    maker.add_typedef("only_here", 4)
    btf = parse.Btf(maker.bytes(), base)
    assert first == base.count == btf.start_id and btf.find("s", (4,)) == [4, first + 3]
    assert btf.type(first + 3).name == "s" and btf.strings_bytes() == b"only_here\0"
    tmpdir.join("base").write_binary(base_maker.bytes())
    tmpdir.join("split").write_binary(maker.bytes())
    rows = truth.bpftool_types(str(tmpdir.join("split")), str(tmpdir.join("base")))
    if rows is None:
        pytest.skip("bpftool cannot be run here")
    assert truth.compare(btf, rows) == 25


def test_rewrite_of_compiler_output():
    for letter in "lb":
        raw = truth.read("values_%s.btf" % letter)
        btf = parse.Btf(raw)
        assert encode.encode(btf)[24:] == raw[24:]
        assert encode.encode(btf, dict((i, btf.type(i)) for i in range(1, btf.count)))[24:] == raw[24:]


def test_what_cannot_be_written():
    maker = encode.Builder()
    for bad in (kinds.Int("x", -1), kinds.Ptr(1 << 32), kinds.Typedef("a\0b", 1),
                kinds.Struct("s", 8, [kinds.Member("a", 1, 1 << 24), kinds.Member("b", 1, 0, 1)])):
        with pytest.raises(InputError):
            maker.add(bad)
    btf = parse.Btf(maker.bytes())
    with pytest.raises(InputError):
        encode.encode(btf, {5: kinds.Ptr(0)})
