"""Instructions against llvm-objdump over all fixtures, and encodings by hand from RFC 9669."""
from __future__ import absolute_import

import binascii
import os
import re
import subprocess

import pytest

from lbc import asm
from lbc.elf.reader import open_elf
from lbc.errors import FormatError, InputError

from . import corpus

# (hex in little endian, text); made from the tables of RFC 9669, newer forms as LLVM's BPFInstrInfo.td prints them
KNOWN = [
    ("b701000002000000", "r1 = 0x2"), ("b4010000ffffffff", "w1 = -0x1"), ("bf12000000000000", "r2 = r1"),
    ("bc12000000000000", "w2 = w1"), ("bf12080000000000", "r2 = (s8)r1"), ("bf12200000000000", "r2 = (s32)r1"),
    ("bc12100000000000", "w2 = (s16)w1"), ("bf12010001000000", "r2 = addr_space_cast(r1, 0x0, 0x1)"),
    ("8701000000000000", "r1 = -r1"), ("8403000000000000", "w3 = -w3"), ("dc01000010000000", "r1 = be16 r1"),
    ("d401000040000000", "r1 = le64 r1"), ("d701000020000000", "r1 = bswap32 r1"), ("3f21000000000000", "r1 /= r2"),
    ("3f21010000000000", "r1 s/= r2"), ("9701010007000000", "r1 s%= 0x7"), ("c701000020000000", "r1 s>>= 0x20"),
    ("18010000efcdab890000000067452301", "r1 = 0x123456789abcdef ll"),
    ("18020000feffffff00000000ffffffff", "r2 = -0x2 ll"), ("0500f9ff00000000", "goto -0x7"),
    ("06000000fbffffff", "gotol -0x5"), ("e500030000000000", "may_goto +0x3"), ("85000000ffffffff", "call -0x1"),
    ("8d02000000000000", "callx r2"), ("9500000000000000", "exit"), ("1521050000000000", "if r1 == 0x0 goto +0x5"),
    ("7e21010000000000", "if w1 s>= w2 goto +0x1"), ("4d21fdff00000000", "if r1 & r2 goto -0x3"),
    ("79a1f8ff00000000", "r1 = *(u64 *)(r10 - 0x8)"), ("9121040000000000", "r1 = *(s8 *)(r2 + 0x4)"),
    ("8121040000000000", "r1 = *(s32 *)(r2 + 0x4)"), ("6a0af8ff05000000", "*(u16 *)(r10 - 0x8) = 0x5"),
    ("731a000000000000", "*(u8 *)(r10 + 0x0) = r1"), ("280000000c000000", "r0 = *(u16 *)skb[0xc]"),
    ("4030000000000000", "r0 = *(u32 *)skb[r3]"), ("db21000000000000", "lock *(u64 *)(r1 + 0x0) += r2"),
    ("c321080040000000", "lock *(u32 *)(r1 + 0x8) |= w2"),
    ("db210000a1000000", "r2 = atomic_fetch_xor((u64 *)(r1 + 0x0), r2)"),
    ("db210000e1000000", "r2 = xchg_64(r1 + 0x0, r2)"), ("c3210400f1000000", "w0 = cmpxchg32_32(r1 + 0x4, w0, w2)"),
    ("db12000000010000", "r2 = load_acquire((u64 *)(r1 + 0x0))"),
    ("d321000010010000", "store_release((u8 *)(r1 + 0x0), w2)"),
    ("ff00000000000000", "<unknown 0xff>"), ("bf12030000000000", "<unknown 0xbf>"),
    ("db210000ff0f0000", "<unknown 0xdb>"),
]


@pytest.mark.parametrize("raw,text", KNOWN)
def test_known(raw, text):
    data = binascii.unhexlify(raw)
    (index, insn), = asm.decode(data)
    assert (index, asm.text(insn)) == (0, text)
    assert asm.encode([insn]) == data


def test_big_endian_swaps_registers_and_numbers():
    little, big = binascii.unhexlify("79a1f8ff00000000"), binascii.unhexlify("791afff800000000")
    assert asm.decode(little) == asm.decode(big, "big")
    assert asm.encode(asm.decode(little), "big") == big


def test_what_does_not_fit():
    with pytest.raises(FormatError):
        asm.decode(b"\x95" + b"\0" * 6)
    with pytest.raises(FormatError):
        asm.decode(b"\x18" + b"\0" * 7)
    for insn in (asm.Insn(0xb7, 16), asm.Insn(0xb7, 1, 0, 0x8000), asm.Insn(0xb7, 1, 0, 0, 1 << 32),
                 asm.Insn(0x18, 1, 0, 0, 1 << 64)):
        with pytest.raises(InputError):
            asm.encode([insn])


def test_every_opcode_has_a_text():
    for code in range(256):
        for off in (0, 1, 8, -1):
            insn = asm.Insn(code, 1, 2, off, 0xe1)
            assert asm.text(insn)
            assert asm.decode(asm.encode([insn])) == [(0, insn)]


def test_notes():
    assert asm.texts(binascii.unhexlify("9500000000000000"),
                     notes={0: "the end"}) == ["   0: exit".ljust(44) + " ; the end"]


def objdump():
    for name in ("llvm-objdump-16", "llvm-objdump-19", "llvm-objdump-18", "llvm-objdump-17"):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            if os.access(os.path.join(folder, name), os.X_OK):
                return name
    return None


def test_as_llvm_objdump_prints():
    tool = objdump()
    if tool is None:
        pytest.skip("llvm-objdump 16 or newer is not installed")
    paths = [corpus.path(name) for name in corpus.names()]
    process = subprocess.Popen([tool, "-d", "--no-show-raw-insn"] + paths, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    output = process.communicate()[0].decode("utf-8", "replace")
    wanted, where = {}, None
    for line in output.splitlines():
        file_line = re.match(r"(.*):\tfile format", line)
        section = re.match(r"Disassembly of section (.*):$", line)
        insn = re.match(r" +(\d+):\t(.*)", line)
        if file_line:
            path = file_line.group(1)
        elif section:
            where = wanted.setdefault((path, section.group(1)), {})
        elif insn:
            where[int(insn.group(1))] = re.sub(r" <[\w.$+]+>$", "", insn.group(2))
    compared, different = 0, []
    for (path, section), texts in wanted.items():
        with open_elf(path) as elf:
            if elf.byteorder == "big":
                continue  # llvm-objdump 16 prints the numbers of such files the wrong way round
            for index, insn in asm.decode(elf.data(elf.section(section)), elf.byteorder):
                want = texts.get(index, "nothing")
                if "<unknown>" not in want:  # atomics in w registers need a newer -mcpu to be shown
                    compared += 1
                    if asm.text(insn) != want:
                        different.append((path, section, index, want, asm.text(insn)))
    assert not different
    assert compared > 4000
