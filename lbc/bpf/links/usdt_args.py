"""USDT argument texts ("-4@-20(%rbp) 8@%rdi") -> where the BPF program finds the values.

Grammar: "User Space Probe Implementation" of the SystemTap wiki; the compiler writes each operand in its assembler's
syntax (x86_64: AT&T).  Packed as ``struct __bpf_usdt_spec`` of <bpf/usdt.bpf.h>: 12 arguments, a cookie, a count.  Two
layouts are in use, told apart by the size of the map's value: 16 bytes an argument, and 24 since libbpf 1.7, with
scaled indexes.
"""
from __future__ import absolute_import

import re
import struct

from ...errors import InputError
from ...uapi import arch as _arch

__all__ = ["Arg", "parse_args", "pack_spec", "CONST", "REG", "DEREF", "INDEXED", "UNREADABLE", "MAX_ARGS"]

CONST, REG, DEREF, INDEXED = 0, 1, 2, 3    # enum __bpf_usdt_arg_type
UNREADABLE = 255                           # no such type: bpf_usdt_arg() answers -EINVAL
MAX_ARGS = 12
_OLD = struct.Struct("=Q I h B b")         # val_off, arg_type, reg_off, arg_signed, arg_bitshift
# val_off, arg_type, idx_reg_off:12 scale:4, reserved, reg_off, signed, bitshift
_NEW = struct.Struct("=Q B x H B x h B b 6x")
_SIZE = re.compile(r"\s*(?:(-?\d+)(f?)@)?")


class Arg(object):
    """One argument.  ``kind``: CONST REG DEREF INDEXED UNREADABLE; ``value``: constant or displacement; ``reg``,
    ``index``: byte offsets in pt_regs; ``scale``: shift of the index; ``size`` in bytes, ``signed``;
    ``is_float``: raw bits of a floating point number; ``note``: text where it cannot be read."""
    __slots__ = ("kind", "value", "reg", "index", "scale", "size", "signed", "is_float", "note")

    def __init__(self, kind, value=0, reg=0, index=0, scale=0, note=""):
        self.kind, self.value, self.reg, self.index, self.scale, self.note = kind, value, reg, index, scale, note
        self.size, self.signed, self.is_float = 8, True, False

    def __repr__(self):
        return "Arg(%s)" % ", ".join("%s=%r" % (n, getattr(self, n)) for n in self.__slots__)


def _x86_names():
    offsets, names = _arch.ARCHES["x86_64"].pt_regs, {}
    for base in "ax bx cx dx".split():
        for form in ("r%s", "e%s", "%s"):
            names[form % base] = offsets[base]
        names[base[0] + "l"] = offsets[base]
        names[base[0] + "h"] = offsets[base] + 1  # bits 8..15 are the next byte of a little endian register
    for base in "si di bp sp".split():
        for form in ("r%s", "e%s", "%s", "%sl"):
            names[form % base] = offsets[base]
    for number in range(8, 16):
        for form in ("r%d", "r%dd", "r%dw", "r%db"):
            names[form % number] = offsets["r%d" % number]
    names["rip"] = names["eip"] = offsets["ip"]
    return names


def _arm_names():
    offsets, names = _arch.ARCHES["aarch64"].pt_regs, {}
    for number in range(31):
        names["x%d" % number] = names["w%d" % number] = offsets["x%d" % number]
    names["sp"] = names["wsp"] = offsets["sp"]
    names["fp"], names["lr"] = offsets["x29"], offsets["x30"]
    return names


_X86 = re.compile(r"""(?:\$(?P<const>-?(?:0[xX][0-9a-fA-F]+|\d+))
    |%(?P<reg>\w+(?:\(\d\))?)
    |(?P<disp>[-+]?(?:0[xX][0-9a-fA-F]+|\d+))?
        \((?:%(?P<base>\w+))?\s*(?:,\s*%(?P<index>\w+)\s*(?:,\s*(?P<scale>\d+))?)?\)
    |(?P<symbol>[^\s(]+)\(%rip\)
    |(?P<other>\S+))(?=\s|$)""", re.X)
_ARM = re.compile(r"""(?:\#?(?P<const>-?(?:0[xX][0-9a-fA-F]+|\d+))
    |\[\s*(?P<base>\w+)\s*(?:,\s*\#?(?P<disp>-?(?:0[xX][0-9a-fA-F]+|\d+))\s*)?\]
    |\[\s*(?P<base2>\w+)\s*,\s*(?P<index>x\d+)\s*(?:,\s*lsl\s*\#?(?P<shift>\d+)\s*)?\]
    |(?P<reg>[a-z]\w*)
    |(?P<other>\S+))(?=\s|$)""", re.X)
_FLOATS = re.compile(r"(?:[xyz]mm\d+|st(?:\(\d\))?|mm\d+|[vqdshb]\d+)$")


def _register(names, name, what):
    if name in names:
        return names[name]
    if _FLOATS.match(name):
        raise LookupError("register `%s` holds floating point or vectors, which a probe does not see" % name)
    raise LookupError("unknown register `%s` in `%s`" % (name, what))


def _x86(match, names):
    text, part = match.group(0), match.groupdict()
    if part["const"] is not None:
        return Arg(CONST, int(part["const"], 0))
    if part["reg"] is not None:
        return Arg(REG, reg=_register(names, part["reg"], text))
    if part["symbol"] is not None or part["other"] is not None:
        raise LookupError("place `%s` is not one that can be read" % text)
    disp = int(part["disp"] or "0", 0)
    if part["base"] is None:
        raise LookupError("place `%s` has no base register" % text)
    base = _register(names, part["base"], text)
    if part["index"] is None:
        return Arg(DEREF, disp, base)
    scale = {"1": 0, "2": 1, "4": 2, "8": 3}.get(part["scale"] or "1")
    if scale is None:
        raise LookupError("scale of `%s` is not 1, 2, 4 or 8" % text)
    return Arg(INDEXED, disp, base, _register(names, part["index"], text), scale)


def _arm(match, names):
    text, part = match.group(0), match.groupdict()
    if part["const"] is not None:
        return Arg(CONST, int(part["const"], 0))
    if part["base"] is not None:
        return Arg(DEREF, int(part["disp"] or "0", 0), _register(names, part["base"], text))
    if part["index"] is not None:
        return Arg(INDEXED, 0, _register(names, part["base2"], text), _register(names, part["index"], text),
                   int(part["shift"] or 0))
    if part["reg"] in ("xzr", "wzr"):
        return Arg(CONST, 0)
    if part["reg"] is not None:
        return Arg(REG, reg=_register(names, part["reg"], text))
    raise LookupError("place `%s` is not one that can be read" % text)


_MACHINES = {"x86_64": (_X86, _x86, _x86_names), "aarch64": (_ARM, _arm, _arm_names)}
_names = {}


def parse_args(text, machine):
    """[Arg] of a note's argument text; a place that cannot be read is an Arg UNREADABLE with a note.  InputError for
    nonsense."""
    if machine not in _MACHINES:
        raise InputError("USDT arguments of machine `%s` are not known to lbc (have: %s)"
                         % (machine, ", ".join(sorted(_MACHINES))))
    pattern, build, table = _MACHINES[machine]
    if machine not in _names:
        _names[machine] = table()
    args, position, text = [], 0, text.strip()
    if text[:1] == ":":  # libbpf and perf: "no arguments"
        return args
    while position < len(text):
        size = _SIZE.match(text, position)
        place = pattern.match(text, size.end())
        if not place:
            raise InputError("USDT arguments `%s`: not understood from `%s` on" % (text, text[position:]))
        try:
            arg = build(place, _names[machine])
        except LookupError as error:
            arg = Arg(UNREADABLE, note=str(error.args[0]))
        if size.group(1):
            number = int(size.group(1))
            arg.size, arg.signed = abs(number), number < 0
        arg.is_float = bool(size.group(2))
        if arg.is_float:
            arg.signed = False
        if arg.size not in (1, 2, 4, 8):
            arg.kind, arg.note = UNREADABLE, "%d bytes wide" % arg.size
            arg.size = 8
        args.append(arg)
        position = place.end()
        while text[position:position + 1].isspace():
            position += 1
    if len(args) > MAX_ARGS:
        raise InputError("USDT probe with %d arguments: <bpf/usdt.bpf.h> takes %d" % (len(args), MAX_ARGS))
    return args


def pack_spec(args, cookie, value_size):
    """Bytes of struct __bpf_usdt_spec for a map whose values have ``value_size`` bytes."""
    stride = (value_size - 16) // MAX_ARGS
    if stride not in (16, 24) or value_size != stride * MAX_ARGS + 16:
        raise InputError("map __bpf_usdt_specs has values of %d bytes: not a layout of <bpf/usdt.bpf.h> that lbc knows"
                         % value_size)
    out = bytearray(value_size)
    for number, arg in enumerate(args):
        kind, value, shift = arg.kind, arg.value & 0xffffffffffffffff, 64 - 8 * arg.size
        if stride == 16:
            _OLD.pack_into(out, 16 * number, value, UNREADABLE if kind == INDEXED else kind, arg.reg, arg.signed, shift)
        else:
            _NEW.pack_into(out, 24 * number, value, kind, arg.index | arg.scale << 12, 0, arg.reg, arg.signed, shift)
    struct.pack_into("=Qh", out, stride * MAX_ARGS, cookie & 0xffffffffffffffff, len(args))
    return bytes(out)
