"""lbc.elf.usdt against readelf -n on assembled probes (what <sys/sdt.h> emits), and prelink by hand."""
from __future__ import absolute_import

import re

import pytest

from lbc.elf.reader import Elf, open_elf
from lbc.elf.usdt import find_usdt, read_usdt
from lbc.errors import FormatError, NotFoundError
from tests.elfwriter import ElfWriter
from tests.test_elf.test_reader import compile_c, tool

NOTE = '''__asm__(".pushsection .note.stapsdt,\\"?\\",\\"note\\"\\n.balign 4\\n.4byte 992f-991f,994f-993f,3\\n"
"991: .asciz \\"stapsdt\\"\\n992: .balign 4\\n993: .8byte %s\\n.8byte _.stapsdt.base\\n.8byte %s\\n"
".asciz \\"%s\\"\\n.asciz \\"%s\\"\\n.asciz \\"%s\\"\\n994: .balign 4\\n.popsection\\n"
".ifndef _.stapsdt.base\\n.pushsection .stapsdt.base,\\"aG\\",\\"progbits\\",.stapsdt.base,comdat\\n"
".weak _.stapsdt.base\\n.hidden _.stapsdt.base\\n_.stapsdt.base: .space 1\\n"
".size _.stapsdt.base,1\\n.popsection\\n.endif");
'''
PROGRAM = ("unsigned short gate __attribute__((section(\".probes\"))) = 0;\n"
           "int main(int c, char **v) { __asm__ volatile(\"site1: nop\"); __asm__ volatile(\"site2: nop\"); "
           "return gate; }\n" +
           NOTE % ("site1", "gate", "app", "begin", "-4@%%edi 8@%%rsi") + NOTE % ("site2", "0", "app", "end", ""))


@pytest.fixture(params=[(), ("-static",), ("-no-pie",)])
def program(request, tmpdir):
    return compile_c(tmpdir, PROGRAM.replace("%%", "%"), "app", "gcc", "-O0", *request.param)


def test_probes_as_readelf(program):
    text = tool("readelf", "-n", program)
    expected = re.findall(
        r"Provider: (\S+)\s+Name: (\S+)\s+Location: 0x(\w+), Base: 0x(\w+), Semaphore: 0x(\w+)\s+Arguments: ?(.*)",
        text)
    expected = [e for e in expected if e[0] == "app"]
    with open_elf(program) as elf:
        ours = [p for p in read_usdt(elf) if p.provider == "app"]
        assert [(p.provider, p.name, p.pc, p.base, p.semaphore, p.args) for p in ours] == \
            [(e[0], e[1], int(e[2], 16), int(e[3], 16), int(e[4], 16), e[5].strip()) for e in expected]
        assert [p.name for p in ours] == ["begin", "end"]
        assert [elf.file_bytes(p.pc_offset, 1) for p in ours] == [b"\x90", b"\x90"]  # the nop of each site
        gate = elf.section(".probes")
        assert ours[0].semaphore_offset == gate.offset and ours[1].semaphore_offset == 0
        assert [p.name for p in find_usdt(elf, "app", "end")] == ["end"] == [p.name for p in find_usdt(elf, "", "end")]
        with pytest.raises(NotFoundError) as error:
            find_usdt(elf, "app", "beginn")
        assert "app:begin" in error.value.near


def image(pc, linked, semaphore, base=0x5000, tail=b"p\0n\0a\0", order="<", bits=64):
    w = ElfWriter(order, bits, type=3)
    desc = w.pack("QQQ" if bits == 64 else "III", pc, linked, semaphore) + tail
    w.section(".note.stapsdt", 7, w.note(b"stapsdt\0", 3, desc), align=4)
    if base:
        w.section(".stapsdt.base", 1, b"\0", addr=base)
    w.segment(1, 0, 0x4000, 0x1000)
    w.segment(1, 0x1000, 0x6000, 0x1000, flags=6)
    return Elf(w.bytes())


@pytest.mark.parametrize("order,bits", [("<", 64), (">", 64), ("<", 32), (">", 32)])
def test_prelinked_file_is_adjusted_by_its_base(order, bits):
    probe = read_usdt(image(0x1010, 0x2000, 0x3004, order=order, bits=bits))[0]  # linked at 0x2000, now at 0x5000
    assert (probe.pc, probe.semaphore, probe.pc_offset, probe.semaphore_offset) == (0x4010, 0x6004, 0x10, 0x1004)


def test_damaged_probes():
    for elf in (image(0x4010, 0x5000, 0, tail=b"only\0"), image(0x9999, 0x5000, 0), image(0x4010, 0x5000, 0xf0000)):
        with pytest.raises(FormatError):
            read_usdt(elf)
    assert read_usdt(Elf(ElfWriter().bytes())) == []
