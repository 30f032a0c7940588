"""A relocatable object without its DWARF: what `llvm-strip -g` leaves, for hosts that have a compiler and no such tool.

Sections .debug_* and their relocations go; the symbols of those sections go too, so symbols, relocations and section
numbers are counted anew (System V ABI, chapters 4 and 5).  BTF stays: .BTF and .BTF.ext are no DWARF.  String tables
stay as they are: LLVM has one for sections and symbols.
"""
from __future__ import absolute_import

import struct

from .._py23 import range
from ..errors import FormatError
from ..uapi import elf as _e

__all__ = ["strip_debug"]

_HEADER, _SECTION, _SYMBOL = "HHIQQQIHHHHHH", "IIQQQQIIQQ", "IBBHQQ"   # Elf64_Ehdr after e_ident, _Shdr, _Sym
_LINKED = (_e.SHT_REL, _e.SHT_RELA)


def strip_debug(data, path=None):
    """Bytes of the ELF64 object ``data`` (a relocatable file of either byte order) without DWARF.

    FormatError when it is no such object, or damaged."""
    try:
        return _strip(bytes(data), path)
    except (struct.error, IndexError):
        raise FormatError("the object is cut short or damaged", path)


def _strip(data, path):
    if data[:5] != b"\x7fELF\x02" or len(data) < 64:
        raise FormatError("no 64-bit ELF object", path)
    order = {b"\x01": "<", b"\x02": ">"}.get(data[5:6])
    if order is None:
        raise FormatError("neither little- nor big-endian", path)
    header = list(struct.unpack_from(order + _HEADER, data, 16))
    if header[0] != _e.ET_REL or header[10] != struct.calcsize("=" + _SECTION):
        raise FormatError("no relocatable object", path)
    place, count, names_at = header[5], header[11], header[12]
    sections = [list(struct.unpack_from(order + _SECTION, data, place + 64 * index)) for index in range(count)]
    bodies = []
    for row in sections:
        if row[1] == _e.SHT_NOBITS or row[1] == _e.SHT_NULL:
            bodies.append(b"")
        else:
            if row[4] + row[5] > len(data):
                raise FormatError("a section lies outside of the file", path)
            bodies.append(data[row[4]:row[4] + row[5]])
    names = [bodies[names_at][row[0]:].split(b"\0", 1)[0] for row in sections]
    keep = [not _is_debug(name) and not (row[1] in _LINKED and _is_debug(names[row[7]]))
            for name, row in zip(names, sections)]
    if all(keep):
        return data
    numbers, left = {}, 0
    for index in range(count):
        if keep[index]:
            numbers[index] = left
            left += 1
    moved = {}   # index of a symbol table -> {old symbol: new}
    for index in range(count):
        if keep[index] and sections[index][1] == _e.SHT_SYMTAB:
            bodies[index], moved[index] = _symbols(bodies[index], sections[index], numbers, order)
    for index in range(count):
        if keep[index] and sections[index][1] in _LINKED:
            bodies[index] = _relocations(bodies[index], sections[index], moved.get(sections[index][6], {}), order)
    return _write(data[:16], header, sections, bodies, keep, numbers, order)


def _is_debug(name):
    """DWARF; .llvm_addrsig is a hint for linkers, by the old numbers of symbols."""
    return name.startswith((b".debug_", b".zdebug_")) or name == b".llvm_addrsig"


def _symbols(body, row, numbers, order):
    """(symbol table without those of sections that go, {old index: new}); ``row`` gets its number of local symbols."""
    kept, moved, local = [], {}, 0
    for index in range(len(body) // 24):
        name, info, other, section, value, size = struct.unpack_from(order + _SYMBOL, body, 24 * index)
        if info & 15 == _e.STT_FILE:       # the name of the source: llvm-strip drops it too
            continue
        if 0 < section < 0xff00:    # SHN_LORESERVE
            if section not in numbers:
                continue
            section = numbers[section]
        moved[index] = len(kept)
        kept.append(struct.pack(order + _SYMBOL, name, info, other, section, value, size))
        local += index < row[7]
    row[7] = local
    return b"".join(kept), moved


def _relocations(body, row, moved, order):
    """Relocations with the new numbers of their symbols."""
    width = 24 if row[1] == _e.SHT_RELA else 16
    out = bytearray(body)
    for at in range(0, len(body) - width + 1, width):
        info, = struct.unpack_from(order + "Q", body, at + 8)
        symbol = info >> 32
        if symbol not in moved:
            raise FormatError("a relocation that stays refers to symbol %d, which does not" % symbol)
        struct.pack_into(order + "Q", out, at + 8, moved[symbol] << 32 | info & 0xffffffff)
    return bytes(out)


def _write(ident, header, sections, bodies, keep, numbers, order):
    out, rows = bytearray(64), []
    for index, row in enumerate(sections):
        if not keep[index]:
            continue
        body = bodies[index]
        if row[1] != _e.SHT_NULL:
            out += b"\0" * (-len(out) % max(1, min(row[8], 4096)))
            row[4] = len(out)
            if row[1] != _e.SHT_NOBITS:
                row[5] = len(body)
                out += body
            row[6] = numbers.get(row[6], 0)                  # sh_link
            if row[1] in _LINKED or row[2] & 0x40:           # SHF_INFO_LINK
                row[7] = numbers.get(row[7], 0)
        rows.append(struct.pack(order + _SECTION, *row))
    out += b"\0" * (-len(out) % 8)
    header[5], header[11], header[12] = len(out), len(rows), numbers[header[12]]
    out[:64] = ident + struct.pack(order + _HEADER, *header)
    return bytes(out + b"".join(rows))
