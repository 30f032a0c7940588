"""lbc.elf.symbols against nm, gdb's view of a compiled program, and hand-made tables."""
from __future__ import absolute_import

import os
import random
import re

import pytest

from lbc.elf.reader import Elf, open_elf
from lbc.elf.symbols import Functions, open_functions
from lbc.errors import InputError, NotFoundError
from tests.elfwriter import ElfWriter
from tests.test_elf.test_reader import compile_c, tool

LIBC = "/lib/x86_64-linux-gnu/libc.so.6"
PROGRAM = """
#include <stdio.h>
static int helper(int a) { return a * 3; }
__attribute__((noinline)) int middle(int a) { return helper(a) + 1; }
int (*p)(int) = helper;
static int pick_fast(void) { return 1; }
static int pick_slow(void) { return 2; }
static int (*resolve_pick(void))(void) { return p ? pick_fast : pick_slow; }
int pick(void) __attribute__((ifunc("resolve_pick")));
int main(int argc, char **argv) { printf("%d\\n", middle(argc)); return pick(); }
"""


def nm(path, *flags):
    """{name with version: (address, letter)}."""
    rows = {}
    for line in tool(*(("nm",) + flags + (path,))).splitlines():
        match = re.match(r"([0-9a-f]+) (\w) (\S+)", line)
        if match:
            rows.setdefault(match.group(3), []).append((int(match.group(1), 16), match.group(2)))
    return rows


@pytest.fixture
def program(tmpdir):
    return compile_c(tmpdir, PROGRAM, "prog", "gcc", "-O1", "-g")


def test_every_exported_function_of_libc_is_where_nm_says():
    if not os.path.exists(LIBC):
        pytest.skip("no " + LIBC)
    rows, checked = nm(LIBC, "-D", "--defined-only"), 0
    with open_functions(LIBC) as functions:
        names = sorted(n for n, found in rows.items() if found[0][1] in "TWi")
        for name in random.Random(3).sample(names, 60) + ["malloc@@GLIBC_2.2.5", "memcpy@@GLIBC_2.14",
                                                          "memcpy@GLIBC_2.2.5"]:
            if name not in rows:
                continue
            address, letter = rows[name][0]
            found = functions.find(name.replace("@@", "@"))
            assert [f.address for f in found] == [address], name
            assert found[0].ifunc == (letter == "i") and found[0].default == ("@@" in name or "@" not in name), name
            checked += 1
    assert checked >= 60


def test_plain_name_means_the_default_version():
    if not os.path.exists(LIBC) or "memcpy@@GLIBC_2.14" not in nm(LIBC, "-D"):
        pytest.skip("needs glibc of x86-64")
    with open_functions(LIBC) as functions:
        first, second = functions.find("memcpy")[:2]
        assert (first.version, first.default, first.ifunc, second.version) == ("GLIBC_2.14", True, True, "GLIBC_2.2.5")
        with pytest.raises(InputError) as error:
            functions.probe_offset("memcpy")  # a probe on the resolver would never fire
        assert "indirect" in str(error.value)
        assert functions.probe_offset("memcpy@GLIBC_2.2.5") == second.offset


def test_program_offsets_hold_the_code_of_the_function(program):
    rows = nm(program)
    with open_functions(program) as functions:
        for name in ("main", "middle", "helper"):
            function = functions.find(name)[0]
            assert function.address == rows[name][0][0]
            code = tool("objdump", "-d", "--no-show-raw-insn", "--disassemble=" + name, program)
            assert "<%s>:" % name in code
            dump = tool("objdump", "-s", "-j.text", "--start-address=0x%x" % function.address,
                        "--stop-address=0x%x" % (function.address + 4), program)
            expected = "".join(row.replace(" ", "") for row in re.findall(r"^ [0-9a-f]+ ((?:[0-9a-f]+ )+) ", dump,
                                                                          re.M))
            with open(program, "rb") as source:
                source.seek(functions.probe_offset(name))
                assert "".join("%02x" % b for b in bytearray(source.read(4))) == expected
        with pytest.raises(InputError) as error:
            functions.probe_offset("pick")
        assert "pick_fast" in str(error.value) and "pick_slow" in str(error.value)


def test_address_to_name_as_nm(program):
    sizes = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [tTi] (\S+)$", tool("nm", "-S", program), re.M)
    assert len(sizes) > 6
    with open_functions(program) as functions:
        for address, size, name in sizes:
            address, size = int(address, 16), int(size, 16)
            here = {n for a, _, n in sizes if int(a, 16) == address}
            assert functions.lookup(address)[0] in here and functions.lookup(address)[1] == 0
            assert functions.lookup(address + size - 1)[1] == size - 1
        assert functions.lookup(0) is None and functions.lookup(1 << 60) is None


def test_stripped_program_with_its_debug_file(program, tmpdir):
    debug, bare = str(tmpdir.join("prog.debug")), str(tmpdir.join("bare"))
    address = nm(program)["middle"][0][0]
    tool("objcopy", "--only-keep-debug", program, debug)
    tool("strip", "-o", bare, program)
    with open_functions(bare) as functions:
        with pytest.raises(NotFoundError) as error:
            functions.find("middle")
        assert "stripped" in str(error.value) and functions.lookup(address) is None
    with open_functions(bare, debug) as functions:
        assert functions.find("middle")[0].address == address and functions.lookup(address + 1) == ("middle", 1)
        assert functions.find("middle")[0].offset == open_elf_offset(bare, address)


def open_elf_offset(path, address):
    with open_elf(path) as elf:
        return elf.offset_of(address)


def test_mini_debug_info(program, tmpdir):
    debug, bare = str(tmpdir.join("mini")), str(tmpdir.join("bare"))
    tool("objcopy", "-S", "--keep-symbol=middle", program, debug)
    tool("strip", "-o", bare, program)
    tool("xz", debug)
    tool("objcopy", "--add-section", ".gnu_debugdata=%s.xz" % debug, bare)
    with open_functions(bare) as functions:
        assert functions.find("middle")[0].address == nm(program)["middle"][0][0]


def test_near_names(program):
    with open_functions(program) as functions:
        with pytest.raises(NotFoundError) as error:
            functions.find("midle")
        assert "middle" in error.value.near


def test_module_object_offsets(tmpdir):
    path = compile_c(tmpdir, "int a(void){return 1;} int b(void){return 2;}", "o.o", "gcc", "-O1", "-c",
                     "-ffunction-sections")
    with open_functions(path) as functions:
        text = [s for s in functions.elf.sections if s.name == ".text.b"][0]
        assert functions.probe_offset("b") == text.offset


def test_arm_thumb_bit_and_mapping_symbols():
    w = ElfWriter("<", 32, machine=40, type=3)
    text = w.section(".text", 1, b"\0" * 32, flags=6, addr=0x1000)
    w.symbol("$t", 0x1000, 0, 0, bind=0, shndx=text)
    w.symbol("thumb", 0x1001, 8, 2, shndx=text)
    w.symbol("$d", 0x1004, 0, 0, bind=0, shndx=text)
    w.segment(1, 0, 0x0f00, 0x1000)
    functions = Functions(Elf(w.bytes()))
    assert functions.find("thumb")[0].address == 0x1000 and functions.find("thumb")[0].offset == 0x100
    assert functions.lookup(0x1005) == ("thumb", 5)


@pytest.mark.parametrize("order", "<>")
def test_ambiguous_and_assembly_names(order):
    w = ElfWriter(order, type=3)
    text = w.section(".text", 1, b"\0" * 64, flags=6, addr=0x1000)
    w.symbol("twice", 0x1000, 8, 2, bind=0, shndx=text)
    w.symbol("twice", 0x1010, 8, 2, bind=0, shndx=text)
    w.symbol("label", 0x1020, 0, 0, bind=0, shndx=text)
    w.symbol("undefined", 0, 0, 2, shndx=0)
    w.segment(1, 0, 0x1000, 0x1000)
    functions = Functions(Elf(w.bytes()))
    assert [f.address for f in functions.find("twice")] == [0x1000, 0x1010]
    with pytest.raises(InputError) as error:
        functions.probe_offset("twice")
    assert "0x0" in str(error.value) and "0x10" in str(error.value)
    assert functions.probe_offset("label") == 0x20
    with pytest.raises(NotFoundError):
        functions.find("undefined")
    with pytest.raises(NotFoundError):
        functions.find("wice")  # the tail of a name is no name here
