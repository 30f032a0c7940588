"""lbc.elf.reader against readelf (GNU and LLVM) and hand-made damaged files."""
from __future__ import absolute_import

import os
import re
import subprocess
import sys
import zlib

import pytest

from lbc.elf.reader import Elf, open_elf
from lbc.errors import FormatError, InputError, NotFoundError
from tests.elfwriter import ElfWriter

BPF_SOURCE = """
struct { int (*type)[1]; int (*max_entries)[4]; int *key; long *value; } counts __attribute__((section(".maps")));
static void *(*lookup)(void *, const void *) = (void *)1;
int total = 3;
static __attribute__((noinline)) int add(int a) { return a + total; }
__attribute__((section("kprobe/x"))) int first(void *ctx) {
    int k = 0; long *v = lookup(&counts, &k); return v ? *v : add(k); }
__attribute__((section("tracepoint/a/b"))) int second(void *ctx) { return add(total); }
char LICENSE[] __attribute__((section("license"))) = "GPL";
"""


def tool(*command):
    """Output of a tool; skips the test when it is missing."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError:
        pytest.skip("%s is not installed" % command[0])
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.decode("utf-8", "replace")


def compile_c(folder, source, name, *command):
    path, out = str(folder.join("in.c")), str(folder.join(name))
    with open(path, "w") as target:
        target.write(source)
    tool(*(command + (path, "-o", out)))
    return out


@pytest.fixture(params=["bpfel", "bpfeb"])
def bpf_object(request, tmpdir):
    return compile_c(tmpdir, BPF_SOURCE, "x.o", "clang-16", "-target", request.param, "-g", "-O2", "-c")


def readelf_sections(path):
    """[(name, type text, addr, offset, size, entsize, flags text, link, info, align)] of readelf -SW."""
    rows = []
    for line in tool("readelf", "-SW", path).splitlines():
        match = re.match(r"\s+\[\s*(\d+)\] (\S*)\s+(\S+)\s+([0-9a-f]{8,16}) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)\s(.{3})"
                         r"\s+(\d+)\s+(\d+)\s+(\d+)", line)
        if match:
            g = match.groups()
            rows.append((g[1], int(g[3], 16), int(g[4], 16), int(g[5], 16), int(g[6], 16), int(g[8]), int(g[9]),
                         int(g[10])))
    return rows


def our_sections(elf):
    return [(s.name, s.addr, s.offset, s.size, s.entsize, s.link, s.info, s.align) for s in elf.sections]


def readelf_symbols(path, table=".symtab"):
    """[(value, size, type, bind, visibility, shndx text, name without version)] of one symbol table."""
    rows, here = [], False
    for line in tool("readelf", "-sW", path).splitlines():
        if line.startswith("Symbol table '"):
            here = line.split("'")[1] == table
        match = re.match(r"\s+\d+: ([0-9a-f]+)\s+(\w+) (\w+)\s+(\w+)\s+(\w+)\s+(?:\[.*?\] +)?(\w+) ?(\S*)", line)
        if here and match:
            g = match.groups()
            rows.append((int(g[0], 16), int(g[1], 0), g[2], g[3], g[4], g[5], g[6].partition("@")[0]))
    return rows


TYPES = {0: "NOTYPE", 1: "OBJECT", 2: "FUNC", 3: "SECTION", 4: "FILE", 5: "COMMON", 6: "TLS", 10: "IFUNC"}
BINDS = {0: "LOCAL", 1: "GLOBAL", 2: "WEAK", 10: "UNIQUE"}
SEEN = {0: "DEFAULT", 1: "INTERNAL", 2: "HIDDEN", 3: "PROTECTED"}
INDEXES = {0: "UND", 0xfff1: "ABS", 0xfff2: "COM"}


def our_symbols(elf, section=None):
    return [(s.value, s.size, TYPES[s.type], BINDS[s.bind], SEEN[s.visibility], INDEXES.get(s.shndx, str(s.shndx)),
             s.name.partition("@")[0] if s.type != 3 else elf.sections[s.shndx].name) for s in elf.symbols(section)]


def compare(path):
    """Sections and all symbol tables of ``path`` equal readelf's."""
    with open_elf(path) as elf:
        expected, tables = readelf_sections(path), 0
        assert len(expected) > 5 and our_sections(elf) == expected
        for section in elf.sections:
            if section.type in (2, 11):
                ours, theirs = our_symbols(elf, section), readelf_symbols(path, section.name)
                assert len(ours) == len(theirs) > 1
                for mine, other in zip(ours, theirs):  # readelf names section symbols only in relocatable files
                    assert mine[:6] == other[:6] and (mine[6] == other[6] or mine[2] == "SECTION")
                tables += 1
        assert tables


@pytest.mark.parametrize("path", ["/bin/ls", "/bin/bash", "/lib/x86_64-linux-gnu/libc.so.6", "/bin/gdb"])
def test_system_files_as_readelf_shows_them(path):
    if not os.path.exists(path):
        pytest.skip("no " + path)
    compare(path)


def test_bpf_object_both_byte_orders(bpf_object):
    compare(bpf_object)
    with open_elf(bpf_object) as elf:
        assert elf.machine == 247 and elf.type == 1
        text = tool("readelf", "-rW", bpf_object)
        expected, ours = {}, {}
        for part in text.split("Relocation section '")[1:]:
            rows = re.findall(r"^([0-9a-f]{16})  ([0-9a-f]{16}) ", part, re.M)
            expected[part.partition("'")[0]] = [(int(o, 16), int(i, 16) & 0xffffffff, int(i, 16) >> 32) for o,
                                                i in rows]
        for section in elf.sections:
            if section.type == 9:
                ours[section.name] = [(r.offset, r.type, r.symbol) for r in elf.relocations(section)]
        assert ours == expected and sum(map(len, ours.values())) > 5
        names = [s.name for s in elf.symbols()]
        assert {"first", "second", "add", "total", "counts", "LICENSE"} <= set(names)


def test_rela_of_a_native_object(tmpdir):
    path = compile_c(tmpdir, "extern int g(int); int f(int a){ return g(a) + 1; } int (*p)(int) = f;", "n.o", "gcc",
                     "-O1", "-c")
    rows = re.findall(r"^([0-9a-f]{16})  ([0-9a-f]{16}) \S+ +[0-9a-f]{16} \S+ ([+-]) ([0-9a-f]+)$",
                      tool("readelf", "-rW", path), re.M)
    expected = sorted((int(o, 16), int(i, 16) & 0xffffffff, int(i, 16) >> 32, int(sign + a, 16)) for o, i, sign,
                      a in rows)
    with open_elf(path) as elf:
        ours = sorted((r.offset, r.type, r.symbol,
                       r.addend) for s in elf.sections if s.type == 4 for r in elf.relocations(s))
    assert ours == expected and any(row[3] < 0 for row in ours)


@pytest.mark.parametrize("style", ["zlib-gabi", "zlib-gnu"])
def test_compressed_sections_as_before_compression(tmpdir, style):
    source = "\n".join("struct s%d { int a%d; }; struct s%d v%d;" % (i, i, i, i) for i in range(200))
    plain = compile_c(tmpdir, source, "plain.o", "gcc", "-g", "-c")
    packed = str(tmpdir.join("packed.o"))
    tool("objcopy", "--compress-debug-sections=" + style, plain, packed)
    with open_elf(plain) as a, open_elf(packed) as b:
        checked = 0
        for name in (".debug_info", ".debug_str", ".debug_abbrev", ".debug_line"):
            before, after = a.section(name), b.section(name)
            if after is not None and after.size < before.size:
                assert b.data(after) == a.data(before)
                checked += 1
        assert checked >= 2


def test_zstd_says_so():
    w = ElfWriter()
    w.section(".debug_info", 1, w.pack("IIQQ", 2, 0, 100, 1) + b"\x28\xb5\x2f\xfd" + b"x" * 20, flags=0x800)
    elf = Elf(w.bytes())
    with pytest.raises(FormatError) as error:
        elf.data(elf.section(".debug_info"))
    assert "zstd" in str(error.value) or sys.version_info >= (3, 14)


def test_segments_and_build_id_as_readelf():
    path = "/bin/ls"
    rows = re.findall(r"^  (\w+)\s+0x(\w+) 0x(\w+) 0x\w+ 0x(\w+) 0x(\w+) (.{3}) 0x(\w+)$", tool("readelf", "-lW", path),
                      re.M)
    kinds = {"PHDR": 6, "INTERP": 3, "LOAD": 1, "DYNAMIC": 2, "NOTE": 4}
    expected = [(kinds[r[0]], int(r[1], 16), int(r[2], 16), int(r[3], 16),
                 int(r[4], 16)) for r in rows if r[0] in kinds]
    with open_elf(path) as elf:
        assert [(s.type, s.offset, s.vaddr, s.filesz,
                 s.memsz) for s in elf.segments if s.type in kinds.values()] == expected
        match = re.search(r"Build ID: (\w+)", tool("readelf", "-n", path))
        assert "".join("%02x" % byte for byte in bytearray(elf.build_id())) == match.group(1)


@pytest.mark.parametrize("order", "<>")
def test_32_bit_files(order):
    w = ElfWriter(order, 32, machine=8)
    text = w.section(".text", 1, b"code", flags=6, addr=0x100)
    w.section(".rel.text", 9, w.rel([(4, 2, 1)]), entsize=8)
    w.symbol("main", 0x101, 3, 2, shndx=text)
    w.segment(1, 0x54, 0x8000, 16)
    elf = Elf(w.bytes())
    assert not elf.is64 and elf.byteorder == ("little" if order == "<" else "big")
    symbol = elf.symbols()[1]
    assert (symbol.name, symbol.value, symbol.size, symbol.type, symbol.bind, symbol.shndx) == ("main", 0x101, 3, 2, 1,
                                                                                                text)
    assert [(r.offset, r.type, r.symbol) for r in elf.relocations(elf.section(".rel.text"))] == [(4, 2, 1)]
    assert elf.offset_of(0x8004) == 0x58 and elf.segments[0].flags == 5 and elf.data(elf.section(".text")) == b"code"


def test_32_bit_program_as_readelf(tmpdir):
    path = compile_c(tmpdir, "int f(void){return 1;} int v = 2;", "m32.o", "clang-16", "-target", "armv7-linux-gnueabi",
                     "-c")
    with open_elf(path) as elf:
        assert our_sections(elf) == readelf_sections(path)
        assert our_symbols(elf) == [s if s[2] != "SECTION" else s[:6] + (elf.sections[int(s[5])].name,)
                                    for s in readelf_symbols(path)]


def test_more_sections_than_the_header_can_count(tmpdir):
    lines = "".join('.section .s%d,"a"\n.globl g%d\ng%d: .byte 1\n' % (i, i, i) for i in range(66000))
    source, path = str(tmpdir.join("many.s")), str(tmpdir.join("many.o"))
    with open(source, "w") as target:
        target.write(lines)
    tool("as", source, "-o", path)
    with open_elf(path) as elf:
        assert len(elf.sections) > 66000
        last = [s for s in elf.symbols() if s.name == "g65999"][0]
        assert elf.sections[last.shndx].name == ".s65999"


@pytest.mark.parametrize("force,text", [
    (dict(shoff=1 << 40), "fit"), (dict(shentsize=32), "32"), (dict(shnum=60000), "60000"),
    (dict(shstrndx=9000), "9000")])
def test_damaged_section_headers(force, text):
    with pytest.raises(FormatError) as error:
        Elf(ElfWriter().bytes(**force), path="bad.o").sections
    assert text in str(error.value) and str(error.value).startswith("bad.o")


def test_damaged_pieces():
    for field in (dict(size=1 << 50), dict(offset=1 << 60)):
        w = ElfWriter()
        w.section(".data", 1, b"x", **field)
        elf = Elf(w.bytes())
        with pytest.raises(FormatError) as error:
            elf.data(elf.section(".data"))
        assert error.value.section == ".data"
    w = ElfWriter()
    w.section(".note", 7, w.pack("III", 1 << 31, 4, 1) + b"GNU\0")
    with pytest.raises(FormatError):
        Elf(w.bytes()).notes()
    for raw in (b"", b"\x7fELF", b"#!/bin/sh\n" * 20, b"\x7fELF\x02\x03" + b"\0" * 60,
                b"\x7fELF\x02\x01\x01" + b"\0" * 20):
        with pytest.raises(FormatError):
            Elf(raw)
    w = ElfWriter()
    w.segment(1, 0, 0, 1)
    with pytest.raises(FormatError):
        Elf(w.bytes(phnum=5000)).segments


def test_nobits_has_no_content_and_old_names_are_found():
    w = ElfWriter()
    w.section(".bss", 8, size=1 << 40)
    w.section(".zdebug_x", 1, b"ZLIB" + b"\0" * 7 + b"\x05" + zlib.compress(b"hello"))
    elf = Elf(w.bytes())
    assert elf.data(elf.section(".bss")) == b"" and elf.section(".bss").size == 1 << 40
    assert elf.data(elf.section(".debug_x")) == b"hello" and elf.section(".nothing") is None


def test_opening(tmpdir):
    with pytest.raises(NotFoundError):
        open_elf(str(tmpdir.join("none")))
    with pytest.raises(InputError):
        open_elf(str(tmpdir))
    os.mkfifo(str(tmpdir.join("fifo")))
    with pytest.raises(InputError):
        open_elf(str(tmpdir.join("fifo")))  # must not wait for a writer
    tmpdir.join("empty").write("")
    with pytest.raises(FormatError):
        open_elf(str(tmpdir.join("empty")))
    elf = open_elf("/proc/self/exe")
    elf.close()
    elf.close()


def test_a_large_file_is_not_read(tmpdir):
    w = ElfWriter()
    w.symbol("f", type=2, shndx=1)
    path = str(tmpdir.join("large"))
    raw = w.bytes()
    shoff = 120 << 20
    with open(path, "wb") as target:  # sparse, with the section headers at its end
        target.write(w.bytes(shoff=shoff))
        target.seek(shoff)
        target.write(raw[-64 * 4:])

    def resident():
        with open("/proc/self/statm") as source:
            return int(source.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    before = resident()
    with open_elf(path) as elf:
        assert elf.symbols()[1].name == "f"
        assert resident() - before < 8 << 20
