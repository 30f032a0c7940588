"""CO-RE against small BTFs written by hand; every expectation is worked out on paper from libbpf's rules.

Equality with libbpf over all fixtures and kernels is in test_corpus.py.
"""
from __future__ import absolute_import

import struct

import pytest

from lbc.bpf import core_relo
from lbc.bpf.core_types import types_are_compatible, types_match
from lbc.bpf.spec import ObjectSpec, ProgramSpec
from lbc.btf import kinds as k
from lbc.btf.encode import Builder
from lbc.btf.parse import Btf
from lbc.errors import RelocError
from lbc.uapi import bpf as u

POISON = struct.pack("<BBhi", 0x85, 0, 0, 195896080)


def mov(imm):
    return struct.pack("<BBhi", 0xb7, 1, 0, imm)


def ldx(size, off):
    return struct.pack("<BBhi", 0x61 & 0xe7 | size, 0x21, off, 0)


def wide(value):
    return struct.pack("<BBhIBBhI", 0x18, 1, 0, value & 0xffffffff, 0, 0, 0, value >> 32)


def base(order="<"):
    b = Builder(order=order)
    b.add_int("long unsigned int", 8)   # 1
    b.add_int("int", 4, 1)              # 2, signed
    b.add_int("unsigned int", 4)        # 3
    b.add_ptr(2)                        # 4
    return b


def btf(builder):
    return Btf(builder.bytes())


def relocate(local, insns, relos, targets, order="little"):
    """The ProgramSpec after relocating; ``relos``: [(instruction, type id, access string, kind)]."""
    rows = [(insn, type_id, local.string(access), kind) for insn, type_id, access, kind in relos]
    program = ProgramSpec("p", "tp", insns=bytearray(insns), core_relos=rows)
    spec = ObjectSpec("t.o", "t", order, {}, {"p": program}, {}, {}, btf(local))
    return core_relo.relocate(spec, targets).programs["p"]


def pair():
    """Local struct s {int a; unsigned b; long c;} and a target where b moved into an anonymous union and became 8
    bytes."""
    local, target = base(), base()
    s = local.add_struct("s", 16, [k.Member("a", 2, 0), k.Member("b", 3, 32), k.Member("c", 1, 64)])
    union = target.add_union("", 8, [k.Member("b", 1, 0), k.Member("z", 2, 0)])
    target.add_struct("s", 32, [k.Member("pad", 1, 0), k.Member("", union, 64), k.Member("a", 2, 128)])
    return local, s, btf(target)


@pytest.mark.parametrize("insn,access,kind,want", [
    (mov(4), "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET, mov(8)),
    (ldx(u.BPF_W, 4), "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET, ldx(u.BPF_DW, 8)),       # unsigned: may be resized
    (ldx(u.BPF_W, 0), "0:0", u.BPF_CORE_FIELD_BYTE_OFFSET, ldx(u.BPF_W, 16)),
    (mov(4), "0:1", u.BPF_CORE_FIELD_BYTE_SIZE, mov(8)),
    (mov(1), "0:1", u.BPF_CORE_FIELD_EXISTS, mov(1)), (mov(1), "0:2", u.BPF_CORE_FIELD_EXISTS, mov(0)),
    (mov(1), "0:0", u.BPF_CORE_FIELD_SIGNED, mov(1)), (mov(0), "0:1", u.BPF_CORE_FIELD_SIGNED, mov(0)),
    (mov(32), "0:1", u.BPF_CORE_FIELD_LSHIFT_U64, mov(0)), (mov(32), "0:1", u.BPF_CORE_FIELD_RSHIFT_U64, mov(0)),
    (mov(8), "0:2", u.BPF_CORE_FIELD_BYTE_OFFSET, POISON), (wide(8), "0:2", u.BPF_CORE_FIELD_BYTE_OFFSET, POISON * 2),
    (wide(20), "1:1", u.BPF_CORE_FIELD_BYTE_OFFSET, wide(40)),
    (mov(1), "0", u.BPF_CORE_TYPE_EXISTS, mov(1)), (mov(16), "0", u.BPF_CORE_TYPE_SIZE, mov(32)),
    (wide(5), "0", u.BPF_CORE_TYPE_ID_LOCAL, wide(5)), (wide(77), "0", u.BPF_CORE_TYPE_ID_TARGET, wide(6)),
    (mov(1), "0", u.BPF_CORE_TYPE_MATCHES, mov(0)),
])
def test_kinds(insn, access, kind, want):
    local, s, target = pair()
    assert bytes(relocate(local, insn, [(0, s, access, kind)], [target]).insns) == want


@pytest.mark.parametrize("insn,access,kind,say", [
    (mov(5), "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET, "holds 5"), (mov(0), "0:9", u.BPF_CORE_FIELD_BYTE_OFFSET,
                                                               "no member 9"),
    (mov(0), "0:-1", u.BPF_CORE_FIELD_BYTE_OFFSET, "not numbers"),
    (mov(0), "", u.BPF_CORE_FIELD_BYTE_OFFSET, "not numbers"),
    (mov(0), "1", u.BPF_CORE_TYPE_EXISTS, "must be"), (mov(0), "0", 99, "unknown kind"),
    (mov(0), "0:0:0", u.BPF_CORE_FIELD_EXISTS, "no members"), (b"\x95" + b"\0" * 7, "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET,
                                                               "cannot"),
    (b"\xbf" + mov(4)[1:], "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET, "no immediate"),
    (ldx(u.BPF_H, 4), "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET, "resized"),
])
def test_refusals(insn, access, kind, say):
    local, s, target = pair()
    with pytest.raises(RelocError) as caught:
        relocate(local, insn, [(0, s, access, kind)], [target])
    assert say in str(caught.value) and "program `p`, instruction 0" in str(caught.value)


def test_signed_field_of_another_size_poisons_loads_only():
    local, target = base(), base()
    s = local.add_struct("s", 4, [k.Member("a", 2, 0)])
    target.add_int("long int", 8, 1)
    target.add_struct("s", 8, [k.Member("a", 5, 0)])
    found = relocate(local, ldx(u.BPF_W, 0) + mov(0), [(0, s, "0:0", 0), (1, s, "0:0", 0)], [btf(target)])
    assert bytes(found.insns) == POISON + mov(0)
    assert list(found.poisoned) == [0] and "struct s.a" in found.poisoned[0]


def test_pointers_of_a_32_bit_target():
    local, target = base(), Builder()
    s = local.add_struct("s", 16, [k.Member("x", 1, 0), k.Member("p", 4, 64)])
    target.add_int("long unsigned int", 4)
    target.add_ptr(0)
    target.add_struct("s", 8, [k.Member("x", 1, 0), k.Member("p", 2, 32)])
    found = relocate(local, ldx(u.BPF_DW, 8), [(0, s, "0:1", u.BPF_CORE_FIELD_BYTE_OFFSET)], [btf(target)])
    assert bytes(found.insns) == ldx(u.BPF_W, 4)


def bitfields(order):
    b = base(order)
    return b, b.add_struct("s", 4, [k.Member("a", 3, 0, 3), k.Member("b", 2, 3, 7), k.Member("c", 3, 10, 22)])


@pytest.mark.parametrize("order,lshift", [("<", 64 - 10), (">", (8 - 4) * 8 + 3)])
def test_bit_fields(order, lshift):
    (local, s), (target, _) = bitfields(order), bitfields(order)
    text = {"<": "little", ">": "big"}[order]
    insns = struct.pack(order + "BBhi", 0xb7, 1, 0, 0) * 5
    kinds = (u.BPF_CORE_FIELD_BYTE_OFFSET, u.BPF_CORE_FIELD_BYTE_SIZE, u.BPF_CORE_FIELD_LSHIFT_U64)
    relos = [(i, s, "0:1", kind) for i, kind in enumerate(kinds)]
    found = relocate(local, insns, relos, [btf(target)], text).insns
    assert [struct.unpack_from(order + "i", found, 8 * i + 4)[0] for i in range(3)] == [0, 4, lshift]


def test_enum_values():
    local, target = base(), base()
    e = local.add_enum("e", 4, False, [("ONE", 1), ("TWO___old", 2), ("GONE", 3)])
    target.add_enum64("e", 8, False, [("TWO", 1 << 40), ("ONE", 7)])
    target = btf(target)
    value, there = u.BPF_CORE_ENUMVAL_VALUE, u.BPF_CORE_ENUMVAL_EXISTS
    found = relocate(local, wide(2) + mov(1) + mov(3) + mov(1), [
        (0, e, "1", value), (2, e, "0", value), (3, e, "2", value), (4, e, "2", there)], [target])
    assert bytes(found.insns) == wide(1 << 40) + mov(7) + POISON + mov(0)


def test_flavours_and_ambiguity():
    local = base()
    s = local.add_struct("s___mine", 8, [k.Member("a", 2, 0), k.Member("b", 2, 32)])
    target = base()
    target.add_struct("s", 8, [k.Member("a", 2, 0), k.Member("b", 2, 32)])
    target.add_struct("s___2", 12, [k.Member("a", 2, 0), k.Member("x", 2, 32), k.Member("b", 2, 64)])
    target.add_struct("s__x", 4, [k.Member("a", 2, 0)])
    target = btf(target)
    offset = u.BPF_CORE_FIELD_BYTE_OFFSET
    assert bytes(relocate(local, mov(0), [(0, s, "0:0", offset)], [target]).insns) == mov(0)
    with pytest.raises(RelocError) as caught:
        relocate(local, mov(4), [(0, s, "0:1", offset)], [target])
    assert "ambiguous" in str(caught.value) and len(caught.value.candidates) == 2


def test_modules_are_asked_only_when_needed():
    local = base()
    s = local.add_struct("s", 4, [k.Member("a", 2, 0)])
    m = local.add_struct("m", 4, [k.Member("a", 2, 0)])
    vmlinux = base()
    vmlinux.add_struct("s", 8, [k.Member("z", 1, 0)])
    vmlinux = btf(vmlinux)
    module = Builder(vmlinux)
    module.add_struct("m", 16, [k.Member("z", 1, 0), k.Member("a", 2, 64)])
    module.add_struct("s", 8, [k.Member("a", 2, 32)])
    asked = []

    def modules():
        asked.append(1)
        return [Btf(module.bytes(), vmlinux)]

    offset = u.BPF_CORE_FIELD_BYTE_OFFSET
    assert bytes(relocate(local, mov(0), [(0, s, "0:0", offset)], [vmlinux, modules]).insns) == POISON
    assert not asked
    assert bytes(relocate(local, mov(0), [(0, m, "0:0", offset)], [vmlinux, modules]).insns) == mov(8)
    assert len(asked) == 1


def test_arrays_and_flexible_ends():
    local, target = base(), base()
    local.add_array(3, 3, 4)                                               # 5
    s = local.add_struct("s", 16, [k.Member("a", 5, 0)])
    target.add_array(3, 3, 2)
    target.add_array(3, 3, 0)
    target.add_struct("s", 4, [k.Member("n", 3, 0), k.Member("a", 6, 32)])
    target.add_struct("t", 8, [k.Member("a", 5, 0), k.Member("n", 3, 64)])
    t = local.add_struct("t", 16, [k.Member("a", 5, 0)])
    offset, target = u.BPF_CORE_FIELD_BYTE_OFFSET, btf(target)
    assert bytes(relocate(local, mov(12), [(0, s, "0:0:3", offset)], [target]).insns) == mov(16)
    assert bytes(relocate(local, mov(12), [(0, t, "0:0:3", offset)], [target]).insns) == POISON
    assert bytes(relocate(local, mov(4), [(0, t, "0:0:1", offset)], [target]).insns) == mov(4)


def test_types_that_match_and_that_are_only_compatible():
    local, target = base(), base()
    one = local.add_struct("s", 16, [k.Member("p", 6, 0)])
    local.add_ptr(local.next_id + 1)
    local.add_struct("t", 4, [k.Member("only_here", 2, 0)])
    other = target.add_struct("s", 24, [k.Member("x", 1, 0), k.Member("p", 6, 64)])
    target.add_ptr(target.next_id + 1)
    target.add_fwd("t")
    signed = target.add_struct("s", 4, [k.Member("p", 2, 0)])
    local, target = btf(local), btf(target)
    assert types_match(local, one, target, other) and not types_match(local, one, target, signed)
    assert types_are_compatible(local, one, target, signed)
    assert not types_match(local, 2, target, 3) and types_are_compatible(local, 2, target, 3)


def test_types_nested_beyond_reason():
    b = Builder()
    b.add_int("int", 4)
    for _ in range(70):
        b.add_ptr(b.next_id - 1)
    found = btf(b)
    with pytest.raises(RelocError):
        types_are_compatible(found, 71, found, 71)
    with pytest.raises(RelocError):
        types_match(found, 71, found, 71)
