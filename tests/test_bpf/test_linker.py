"""Linking by hand-made programs: order of subprograms, calls, callbacks, shifted rows, recursion, limits."""
from __future__ import absolute_import

import struct

import pytest

from lbc.bpf import linker
from lbc.bpf.spec import (CALL, FUNC_ADDR, KCONFIG, KFUNC, KSYM, MAP, MAP_VALUE, Extern, MapSpec, ObjectSpec,
                          ProgramSpec, Reloc)
from lbc.errors import RelocError

EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def call(imm):
    return struct.pack("<BBhi", 0x85, 0x10, 0, imm)


def load(low=0, source=0, high=0):
    return struct.pack("<BBhiBBhi", 0x18, 1 | source << 4, 0, low, 0, 0, 0, high)


def link(main, subs, relocs=(), maps=(), externs=(), **rows):
    """The linked main program; ``subs``: [(name, bytes, relocs)] laid out in .text one after the other."""
    at, subprograms = 0, {}
    for name, insns, its in subs:
        subprograms[name] = ProgramSpec(name, ".text", insns=bytearray(insns), relocs=its, section_offset=at,
                                        func_info=[(0, 9)], line_info=[(0, 1, 2, 3)], core_relos=[(0, 5, 6, 0)])
        at += len(insns)
    main = ProgramSpec("main", "tp", insns=bytearray(main), relocs=relocs, **rows)
    spec = ObjectSpec("x.o", "x", "little", dict((m.name, m) for m in maps), {"main": main}, subprograms,
                      dict((e.name, e) for e in externs), None)
    return linker.link(spec).programs["main"]


def test_order_is_depth_first_by_first_call():
    # main calls b, then a; b calls c: main b c a
    subs = [("a", EXIT, []), ("b", call(-1) + EXIT, [Reloc(0, CALL, ".text", 24)]), ("c", EXIT, [])]
    found = link(call(-1) + call(-1) + EXIT, subs, [Reloc(0, CALL, ".text", 8), Reloc(1, CALL, ".text", 0)],
                 func_info=[(0, 1)], line_info=[(0, 1, 1, 1), (2, 1, 1, 1)], core_relos=[(1, 7, 8, 0)])
    assert found.subprograms == ["b", "c", "a"]
    assert bytes(found.insns) == call(2) + call(4) + EXIT + call(1) + EXIT + EXIT + EXIT
    assert found.func_info == [(0, 1), (3, 9), (5, 9), (6, 9)]
    assert [row[0] for row in found.line_info] == [0, 2, 3, 5, 6]
    assert [row[0] for row in found.core_relos] == [1, 3, 5, 6]
    assert found.relocs == []


def test_static_call_without_relocation_and_recursion():
    # .text: a at 0 calls b at instruction 2 by distance alone, b calls a back
    subs = [("a", call(1) + EXIT, []), ("b", call(-3) + EXIT, [])]
    found = link(call(-1) + EXIT, subs, [Reloc(0, CALL, ".text", 0)])
    assert bytes(found.insns) == call(1) + EXIT + call(1) + EXIT + call(-3) + EXIT


def test_what_loads_refer_to():
    maps = [MapSpec("m", 1), MapSpec("x.data", 2, kind="data"), MapSpec("x.kconfig", 2, kind="kconfig")]
    externs = [Extern("CONFIG_HZ", "kconfig", 1, offset=8, size=4), Extern("var", "ksym", 3), Extern("any", "ksym", 0),
               Extern("func", "kfunc", 4)]
    relocs = [Reloc(0, MAP, "m"), Reloc(2, MAP_VALUE, "x.data", 12), Reloc(4, KCONFIG, "CONFIG_HZ"),
              Reloc(6, KSYM, "var"),
              Reloc(8, KSYM, "any"), Reloc(10, KFUNC, "func"), Reloc(11, FUNC_ADDR, ".text", 0)]
    found = link(load(5) * 5 + call(-1) + load() + EXIT, [("cb", EXIT, [])], relocs, maps, externs)
    assert bytes(found.insns) == (load(0, 1) + load(0, 2, 12) + load(0, 2, 8) + load(0, 3) + load(0, 0)
                                  + struct.pack("<BBhi", 0x85, 0x20, 0, 0) + load(2, 4) + EXIT + EXIT)
    assert [(r.insn, r.kind, r.name, r.offset) for r in found.relocs][2] == (4, MAP_VALUE, "x.kconfig", 8)


def test_refusals():
    with pytest.raises(RelocError) as caught:
        link(call(-1) + EXIT, [("a", EXIT, [])], [Reloc(0, CALL, ".text", 800)])
    assert "no" in str(caught.value) and ".text" in str(caught.value)
    with pytest.raises(RelocError):
        link(call(5) + EXIT, [])
    with pytest.raises(RelocError):
        link(call(-1) + EXIT, [("a", EXIT, [])], [Reloc(0, MAP, "m")])


def test_a_chain_longer_than_pythons_stack():
    count = 3000
    subs = [("f%d" % i, call(1) + EXIT, []) for i in range(count)] + [("last", EXIT, [])]
    found = link(call(-1) + EXIT, subs, [Reloc(0, CALL, ".text", 0)])
    assert len(found.subprograms) == count + 1 and len(found.insns) == 8 * (2 + 2 * count + 1)


def test_programs_that_do_not_load_stay_as_they_are():
    program = ProgramSpec("p", "tp", insns=bytearray(call(99)), autoload=False)
    spec = ObjectSpec("x.o", "x", "little", {}, {"p": program}, {}, {}, None)
    assert linker.link(spec).programs["p"] is program
