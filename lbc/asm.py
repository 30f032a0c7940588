"""One BPF instruction: encode, decode, print.

Encoding: Documentation/bpf/standardization/instruction-set.rst (RFC 9669) and include/uapi/linux/bpf.h.  The text is
that of llvm-objdump (numbers in hex), close enough to the verifier's log for the two to be read side by side.
"""
from __future__ import absolute_import

import struct

from .errors import FormatError, InputError
from .uapi import bpf as _u

__all__ = ["Insn", "decode", "encode", "text", "texts"]

_ALU = {0x00: "+", 0x10: "-", 0x20: "*", 0x30: "/", 0x40: "|", 0x50: "&", 0x60: "<<", 0x70: ">>", 0x90: "%", 0xa0: "^",
        0xb0: "", 0xc0: "s>>"}
_JUMP = {0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>", 0x70: "s>=", 0xa0: "<", 0xb0: "<=",
         0xc0: "s<", 0xd0: "s<="}
_WIDTH = {_u.BPF_W: "32", _u.BPF_H: "16", _u.BPF_B: "8", _u.BPF_DW: "64"}
_ATOMIC = {0x00: ("+", "add"), 0x40: ("|", "or"), 0x50: ("&", "and"), 0xa0: ("^", "xor")}
_MOV, _NEG, _END, _DIV, _MOD = 0xb0, 0x80, 0xd0, 0x30, 0x90
LD_IMM64 = _u.BPF_LD | _u.BPF_IMM | _u.BPF_DW


class Insn(object):
    """``code``, ``dst`` and ``src`` registers, ``off`` (signed 16 bits), ``imm`` (signed 32; 64 bits for ld_imm64)."""

    __slots__ = ("code", "dst", "src", "off", "imm")

    def __init__(self, code, dst=0, src=0, off=0, imm=0):
        self.code, self.dst, self.src, self.off, self.imm = code, dst, src, off, imm

    @property
    def wide(self):
        """Is it the two-slot 64-bit load?"""
        return self.code == LD_IMM64

    def __eq__(self, other):
        return isinstance(other, Insn) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def __repr__(self):
        return "Insn(0x%02x, %d, %d, %d, %d)" % (self.code, self.dst, self.src, self.off, self.imm)


def _layout(byteorder):
    return struct.Struct(("<" if byteorder == "little" else ">") + "BBhi")


def decode(data, byteorder="little"):
    """[(index, Insn)] of bytes; the second slot of a 64-bit load is part of the first.  FormatError when cut short."""
    if len(data) % 8:
        raise FormatError("%d bytes are no whole number of BPF instructions" % len(data))
    unpack, little, found, at = _layout(byteorder).unpack_from, byteorder == "little", [], 0
    while at < len(data):
        code, regs, off, imm = unpack(data, at)
        dst, src = (regs & 15, regs >> 4) if little else (regs >> 4, regs & 15)
        index = at // 8
        if code == LD_IMM64:
            if at + 16 > len(data):
                raise FormatError("64-bit load without its second half", offset=at)
            imm = (imm & 0xFFFFFFFF) | (unpack(data, at + 8)[3] & 0xFFFFFFFF) << 32
            at += 8
        found.append((index, Insn(code, dst, src, off, imm)))
        at += 8
    return found


def encode(insns, byteorder="little"):
    """Bytes of Insns (or of the pairs that decode gives).  InputError where a number does not fit."""
    layout, little, out = _layout(byteorder), byteorder == "little", []
    for insn in insns:
        if isinstance(insn, tuple):
            insn = insn[1]
        if not (0 <= insn.dst < 16 and 0 <= insn.src < 16 and -0x8000 <= insn.off < 0x8000 and 0 <= insn.code < 256):
            raise InputError("%r does not fit an instruction" % insn)
        regs = insn.src << 4 | insn.dst if little else insn.dst << 4 | insn.src
        if insn.wide:
            if not -(1 << 63) <= insn.imm < 1 << 64:
                raise InputError("%r: more than 64 bits" % insn)
            out.append(layout.pack(insn.code, regs, insn.off, _signed(insn.imm)))
            out.append(layout.pack(0, 0, 0, _signed(insn.imm >> 32)))
        else:
            if not -(1 << 31) <= insn.imm < 1 << 32:
                raise InputError("%r: more than 32 bits" % insn)
            out.append(layout.pack(insn.code, regs, insn.off, _signed(insn.imm)))
    return b"".join(out)


def _signed(value):
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _number(value):
    return "-0x%x" % -value if value < 0 else "0x%x" % value


def _address(register, off):
    return "r%d %s 0x%x" % (register, "-" if off < 0 else "+", abs(off))


def _target(off):
    return "%s0x%x" % ("-" if off < 0 else "+", abs(off))


def text(insn):
    """'r1 = *(u64 *)(r10 - 0x8)'; "<unknown 0x..>" for what is no instruction."""
    kind = insn.code & 7
    if kind in (_u.BPF_ALU, _u.BPF_ALU64):
        found = _alu(insn, "r" if kind == _u.BPF_ALU64 else "w")
    elif kind in (_u.BPF_JMP, _u.BPF_JMP32):
        found = _jump(insn, kind)
    elif kind == _u.BPF_LD:
        found = _load(insn)
    else:
        found = _memory(insn, kind)
    return found or "<unknown 0x%02x>" % insn.code


def _alu(insn, letter):
    op, dst = insn.code & 0xF0, "%s%d" % (letter, insn.dst)
    if op == _NEG:
        return "%s = -%s" % (dst, dst)
    if op == _END:
        dst = "r%d" % insn.dst
        if letter == "r":
            return "%s = bswap%d %s" % (dst, insn.imm, dst)
        return "%s = %s%d %s" % (dst, "be" if insn.code & _u.BPF_X else "le", insn.imm, dst)
    if op not in _ALU:
        return None
    if not insn.code & _u.BPF_X:
        value = _number(insn.imm)
    elif op == _MOV and insn.off:
        if insn.off == _u.BPF_ADDR_SPACE_CAST and letter == "r":
            return "%s = addr_space_cast(r%d, 0x%x, 0x%x)" % (dst, insn.src, insn.imm >> 16 & 0xFFFF, insn.imm & 0xFFFF)
        if insn.off not in (8, 16, 32):
            return None
        value = "(s%d)%s%d" % (insn.off, letter, insn.src)
    else:
        value = "%s%d" % (letter, insn.src)
    sign = "s" if op in (_DIV, _MOD) and insn.off == 1 else ""
    return "%s %s%s= %s" % (dst, sign, _ALU[op], value)


def _jump(insn, kind):
    op, letter = insn.code & 0xF0, "r" if kind == _u.BPF_JMP else "w"
    if op == 0:
        return "goto %s" % _target(insn.off) if kind == _u.BPF_JMP else "gotol %s" % _target(insn.imm)
    if op == _u.BPF_CALL and kind == _u.BPF_JMP:
        return "callx r%d" % insn.dst if insn.code & _u.BPF_X else "call %s" % _number(insn.imm)
    if op == _u.BPF_EXIT and kind == _u.BPF_JMP:
        return "exit"
    if op == _u.BPF_JCOND and kind == _u.BPF_JMP and insn.src == _u.BPF_MAY_GOTO:
        return "may_goto %s" % _target(insn.off)
    if op not in _JUMP:
        return None
    other = "%s%d" % (letter, insn.src) if insn.code & _u.BPF_X else _number(insn.imm)
    return "if %s%d %s %s goto %s" % (letter, insn.dst, _JUMP[op], other, _target(insn.off))


def _load(insn):
    mode, width = insn.code & 0xE0, _WIDTH[insn.code & 0x18]
    if insn.wide:
        value = insn.imm if insn.imm < 1 << 63 else insn.imm - (1 << 64)
        return "r%d = %s ll" % (insn.dst, _number(value))
    if mode == _u.BPF_ABS:
        return "r0 = *(u%s *)skb[%s]" % (width, _number(insn.imm))
    if mode == _u.BPF_IND:
        return "r0 = *(u%s *)skb[r%d]" % (width, insn.src)
    return None


def _memory(insn, kind):
    mode, width = insn.code & 0xE0, _WIDTH[insn.code & 0x18]
    if kind == _u.BPF_LDX:
        if mode in (_u.BPF_MEM, _u.BPF_MEMSX):
            sign = "u" if mode == _u.BPF_MEM else "s"
            return "r%d = *(%s%s *)(%s)" % (insn.dst, sign, width, _address(insn.src, insn.off))
        return None
    place = "*(u%s *)(%s)" % (width, _address(insn.dst, insn.off))
    if mode == _u.BPF_MEM:
        return "%s = %s" % (place, "r%d" % insn.src if kind == _u.BPF_STX else _number(insn.imm))
    if mode == _u.BPF_ATOMIC and kind == _u.BPF_STX:
        return _atomic(insn, width, place)
    return None


def _atomic(insn, width, place):
    op = insn.imm & 0xFFF
    letter = "r" if width == "64" else "w"
    source = "%s%d" % (letter, insn.src)
    if op == _u.BPF_LOAD_ACQ:
        letter = "r" if width == "64" else "w"
        return "%s%d = load_acquire((u%s *)(%s))" % (letter, insn.dst, width, _address(insn.src, insn.off))
    if op == _u.BPF_STORE_REL:
        return "store_release((u%s *)(%s), %s)" % (width, _address(insn.dst, insn.off), source)
    if width not in ("64", "32"):
        return None
    here, prefix = _address(insn.dst, insn.off), "" if width == "64" else "32"
    if op == _u.BPF_XCHG:
        return "%s = xchg%s_%s(%s, %s)" % (source, prefix, width, here, source)
    if op == _u.BPF_CMPXCHG:
        return "%s0 = cmpxchg%s_%s(%s, %s0, %s)" % (letter, prefix, width, here, letter, source)
    sign, name = _ATOMIC.get(op & ~_u.BPF_FETCH, (None, None))
    if sign is None:
        return None
    if op & _u.BPF_FETCH:
        return "%s = atomic_fetch_%s((u%s *)(%s), %s)" % (source, name, width, here, source)
    return "lock %s %s= %s" % (place, sign, source)


def texts(data, byteorder="little", notes=None):
    """['   0: r1 = 0x2', ...] of bytes; ``notes``: {index: text} put behind as ``; text``."""
    lines = []
    for index, insn in decode(data, byteorder):
        line = "%4d: %s" % (index, text(insn))
        note = (notes or {}).get(index)
        lines.append("%-44s ; %s" % (line, note) if note else line)
    return lines
