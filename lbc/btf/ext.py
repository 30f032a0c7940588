"""``.BTF.ext`` -> function info, line info and CO-RE relocations per ELF section.

Format: Documentation/bpf/btf.rst, "4.2 .BTF.ext section"; the core_relo part is in the header when ``hdr_len`` >= 32.
Records longer than the known ones are legal: their tails are skipped.
"""
from __future__ import absolute_import

import struct

from ..errors import FormatError
from ..uapi import btf as _u

__all__ = ["BtfExt"]

_SECTION = ".BTF.ext"


class BtfExt(object):
    """``.func_info .line_info .core_relos``: {ELF section name: [rows]}, offsets in bytes from the section's start.

    Rows: ``(offset, type_id)``, ``(offset, file_name_off, line_off, line_col)``, ``(offset, type_id, access_str_off,
    kind)``; line_col is line << 10 | column.  Section names come from ``btf``'s strings.  FormatError on damage.
    """

    __slots__ = ("func_info", "line_info", "core_relos", "path")

    def __init__(self, data, btf, path=None):
        self.path = path = path if path is not None else btf.path
        if len(data) < 24:
            raise FormatError("%d bytes: its header alone has 24" % len(data), path, _SECTION)
        for order in "<>":
            magic, version, _flags, length = struct.unpack_from(order + "HBBI", data, 0)
            if magic == _u.BTF_MAGIC:
                break
        else:
            raise FormatError("magic %#06x instead of %#06x" % (magic, _u.BTF_MAGIC), path, _SECTION, 0)
        if version != _u.BTF_VERSION:
            raise FormatError("version %d, known is %d" % (version, _u.BTF_VERSION), path, _SECTION, 2)
        if length < 24 or length > len(data):
            raise FormatError("header length %d in %d bytes" % (length, len(data)), path, _SECTION, 4)
        known = min(length // 8 - 1, 3)
        parts = struct.unpack_from("%s%dI" % (order, 2 * known), data, 8) + (0, 0)
        self.func_info = self._read(data, btf, order, length, parts[0], parts[1], 2, "func_info")
        self.line_info = self._read(data, btf, order, length, parts[2], parts[3], 4, "line_info")
        self.core_relos = self._read(data, btf, order, length, parts[4], parts[5], 4, "core_relo")

    def _read(self, data, btf, order, header, start, size, words, what):
        """Sections of one part: u32 record size, then per ELF section a name offset, a count and the records."""
        found = {}
        if not size:
            return found
        at, end = header + start, header + start + size
        if end > len(data) or at & 3 or size < 4:
            raise FormatError("%s of %d bytes at %d does not fit into %d bytes" % (what, size, start, len(data)),
                              self.path, _SECTION, at)
        stride, = struct.unpack_from(order + "I", data, at)
        if stride < 4 * words or stride & 3:
            raise FormatError("%s records of %d bytes, at least %d needed" % (what, stride, 4 * words), self.path,
                              _SECTION, at)
        at += 4
        per, record = struct.Struct(order + "II"), struct.Struct("%s%dI" % (order, words)).unpack_from
        while at < end:
            if end - at < 8:
                raise FormatError("%s ends inside a section's head" % what, self.path, _SECTION, at)
            name, count = per.unpack_from(data, at)
            at += 8
            if not count or count > (end - at) // stride:
                raise FormatError("%s: %d records of %d bytes, but %d bytes are left" % (what, count, stride, end - at),
                                  self.path, _SECTION, at)
            rows = found.setdefault(btf.name_at(name), [])
            rows.extend([record(data, at + index * stride) for index in range(count)])
            at += count * stride
        return found
