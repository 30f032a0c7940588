"""Objects written by hand (legacy maps, damaged parts) and compiled fixtures against their sources.

That libbpf opens and refuses the same fixtures is in test_corpus.py.
"""
from __future__ import absolute_import

import struct

import pytest

from lbc.bpf import mapdefs, reader
from lbc.bpf.spec import CALL, MAP
from lbc.errors import FormatError
from lbc.uapi import bpf as u

from .. import corpus
from ..elfwriter import ElfWriter

EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)
LOAD = struct.pack("<BBhiQ", 0x18, 1, 0, 0, 0)
CALL_INSN = struct.pack("<BBhi", 0x85, 0x10, 0, -1)
OBJECT, FUNC = 1, 2


def read(name):
    with open(corpus.path(name), "rb") as f:
        return reader.read_object(f.read(), name)


def writer(order="<"):
    return ElfWriter(order, machine=247)


def legacy(defs, symbols, load_symbol=1):
    w = writer()
    maps = w.section("maps", 1, defs, flags=3)
    prog = w.section("kprobe/x", 1, LOAD + EXIT, flags=6)
    for name, value in symbols:
        w.symbol(name, value, 20, OBJECT, shndx=maps)
    w.symbol("p", 0, 24, FUNC, shndx=prog)
    w.section(".relkprobe/x", 9, w.rel([(0, 1, load_symbol)]), link=5, info=prog, entsize=16)
    w.section("license", 1, b"GPL\0junk")
    w.section("version", 1, struct.pack("<I", 0x60c00))
    return w.bytes()


def test_legacy_maps():
    first, second = struct.pack("<5I", 1, 4, 8, 100, 1), struct.pack("<5I", 2, 4, 16, 5, 0)
    spec = reader.read_object(legacy(first + second, [("second", 20), ("first", 0)], 1), "a/my.thing.o")
    assert [(m.name, m.type, m.key_size, m.value_size, m.max_entries, m.flags, m.section)
            for m in spec.maps.values()] == [
        ("first", 1, 4, 8, 100, 1, "maps"), ("second", 2, 4, 16, 5, 0, "maps")]
    assert (spec.name, spec.license, spec.version, spec.byteorder) == ("my", b"GPL", 0x60c00, "little")
    reloc, = spec.programs["p"].relocs
    assert (reloc.insn, reloc.kind, reloc.name) == (0, MAP, "second")


@pytest.mark.parametrize("defs,symbols,say", [
    (b"\1\0\0\0" * 6 + b"\0" * 4, [("a", 0)], "beyond struct bpf_map_def"),
    (b"\0" * 41, [("a", 0), ("b", 20)], "41 bytes for 2"),
    (b"\0" * 40, [("a", 0), ("b", 36)], "outside"), (b"\1\0\0\0" * 10, [("a", 0), ("a", 20)], "two maps"),
])
def test_legacy_maps_refused(defs, symbols, say):
    with pytest.raises(FormatError) as caught:
        reader.read_object(legacy(defs, symbols), "x.o")
    assert say in str(caught.value)


def test_larger_legacy_definitions_padded_with_zeros():
    spec = reader.read_object(legacy(struct.pack("<5I", 6, 4, 4, 9, 0) + b"\0" * 8, [("a", 0)]), "x.o")
    assert spec.maps["a"].type == 6


def code(section="xdp", size=8, bind=1, value=0, relocs=(), text=b"", insns=EXIT):
    w = writer()
    main = w.section(section, 1, insns, flags=6)
    w.symbol("p", value, size, FUNC, bind, shndx=main)
    if text:
        where = w.section(".text", 1, text, flags=6)
        w.symbol("sub", 0, 8, FUNC, shndx=where)
        w.symbol("", 0, 0, 3, 0, shndx=where)
    w.symbol("", 0, 0, 3, 0, shndx=main)
    if relocs:
        w.section(".rel" + section, 9, w.rel(relocs), link=4, info=main, entsize=16)
    return w.bytes()


@pytest.mark.parametrize("data,say", [
    (code(size=16), "leaves its section"), (code(size=4), "whole number"), (code(bind=0), "static"),
    (code(size=0), "whole number"),
    (code(relocs=[(0, 1, 1)]), "opcode 0x95"), (code(relocs=[(4, 1, 1)]), "inside of an instruction"),
    (code(relocs=[(8, 1, 1)]), "damaged"), (code(relocs=[(0, 1, 77)]), "symbol 77"),
    (code(relocs=[(0, 1, 1)], insns=CALL_INSN), "no function of .text"),
    (code(relocs=[(0, 1, 1)], insns=LOAD[:8]), "opcode 0x18"), (code(relocs=[(0, 1, 1)], insns=LOAD, size=16),
                                                                "neither map nor data"),
    (b"\x7fELF", "ELF"), (b"", "ELF"), (writer().bytes(with_symtab=False), "0 symbol tables"),
    (ElfWriter(machine=62).bytes(), "not a BPF object"), (ElfWriter(bits=32, machine=247).bytes(), "not a BPF object"),
])
def test_refused(data, say):
    with pytest.raises(FormatError) as caught:
        reader.read_object(data, "x.o")
    assert say in str(caught.value)


def test_calls_by_symbol_and_by_section():
    for symbol in (2, 3):
        spec = reader.read_object(code(relocs=[(0, 10, symbol)], text=EXIT, insns=CALL_INSN), "x.o")
        reloc, = spec.programs["p"].relocs
        assert (reloc.kind, reloc.name, reloc.offset) == (CALL, ".text", 0)
        assert list(spec.subprograms) == ["sub"]


def test_sections_of_programs():
    spec = reader.read_object(code("?kprobe/vfs_read"), "x.o")
    program = spec.programs["p"]
    assert (program.section, program.autoload, program.attach_to, program.type) == (
        "kprobe/vfs_read", False, "vfs_read", u.BPF_PROG_TYPE_KPROBE)
    program = reader.read_object(code("no/such"), "x.o").programs["p"]
    assert (program.type, program.section_def, program.autoload) == (0, None, True)


@pytest.mark.parametrize("object_name,section,want", [
    ("my_object_name", ".rodata", "my_objec.rodata"), ("my_object_name", ".bss", "my_objec.bss"),
    ("t1", ".data", "t1.data"),
    ("my_object_name", ".kconfig", "my_obje.kconfig"), ("x", ".rodata.abracadabra", ".rodata.abracad"),
    ("a-b", ".data", "a_b.data"),
])
def test_internal_names(object_name, section, want):
    assert mapdefs.internal_name(object_name, section) == want  # the examples in libbpf's internal_map_name


@pytest.mark.parametrize("size,want", [(0, 0), (1, 4096), (4096, 4096), (5000, 8192), (3 * 4096, 4 * 4096),
                                       (1 << 20, 1 << 20)])
def test_ring_sizes(size, want):
    assert mapdefs.ring_size(size, 4096) == want


def test_every_fixture_reads_or_says_why():
    read_count = 0
    for name in corpus.names():
        try:
            spec = read(name)
        except FormatError as error:
            assert name.split(".")[0] in str(error)
            continue
        read_count += 1
        for program in spec.programs.values():
            assert len(program.insns) % 8 == 0 and program.insns
            assert all(row[0] < len(program.insns) // 8 for row in program.line_info + program.core_relos)
    assert read_count > 150


def test_bytes_of_bss_are_bounded():
    w = writer()
    w.section(".bss", 8, b"", flags=3, size=1 << 40)
    with pytest.raises(FormatError) as caught:
        reader.read_object(w.bytes(), "x.o")
    assert "too many" in str(caught.value)
