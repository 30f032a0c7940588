"""Questions about all types of one BTF at once: functions and structs by pattern, the enum of an enumerator.

One walk over the type section notes where every type begins (20 ms and 600 kB for a kernel's 150,000 types); nothing is
built.  Ids below the BTF's ``start_id`` belong to its base and are not looked at.
"""
from __future__ import absolute_import

import struct
from array import array
from bisect import bisect_right

from .._py23 import PY2, range, to_bytes, to_text
from ..errors import FormatError
from ..uapi import btf as _u
from .walk import _Steps

__all__ = ["Scan", "names_with", "ids_named", "strings_like"]

_NATIVE = "<" if struct.pack("=H", 1) == b"\1\0" else ">"
_ENUMS = {_u.BTF_KIND_ENUM: 2, _u.BTF_KIND_ENUM64: 3}   # words of an enumerator


class Scan(object):
    """Positions of all own types of ``btf``.  FormatError when the types are damaged."""

    def __init__(self, btf):
        self.btf = btf
        header = btf._header
        raw = bytes(btf._data[header.types:header.types_end])
        if PY2 or header.order != _NATIVE:
            self.words = array("I")
            (self.words.fromstring if PY2 else self.words.frombytes)(raw)
            if header.order != _NATIVE:
                self.words.byteswap()
        else:
            self.words = memoryview(raw).cast("I")
        self.positions = array("I")
        self._walk(header)

    def _walk(self, header):
        words, add, end = self.words, self.positions.append, len(self.words)
        steps = _Steps()
        steps.sizes, steps.path = header.sizes, self.btf.path
        at = 0
        try:
            while at < end:
                add(at)
                at += steps[words[at + 1]]
        except IndexError:
            at = end + 1
        if at != end:
            raise FormatError("type section ends inside type number %d" % len(self.positions), self.btf.path,
                              "BTF types", 4 * self.positions[-1])

    def of_kind(self, kinds):
        """[word positions] of the types of ``kinds``, in order of their ids."""
        words = self.words
        wanted = frozenset(kinds)
        return [at for at in self.positions if words[at + 1] >> 24 & 0x7f in wanted]

    def id_at(self, position):
        """Type id of a position that `of_kind` gave."""
        return self.btf.start_id + bisect_right(self.positions, position) - 1

    def raw(self, type_id):
        """(words, position) of any type id, the base's too; None for ids that are not there."""
        index = type_id - self.btf.start_id
        if 0 <= index < len(self.positions):
            return self.words, self.positions[index]
        return None

    def enumerator(self, name):
        """Value of the enumerator ``name`` of the first enum that has one, None when there is none."""
        btf, found = self.btf, []
        needle = to_bytes(name)
        for offset in btf._string_offsets(needle) if name else ():
            for position in btf._positions(offset):
                at = (position - btf._header.types) // 4
                index = bisect_right(self.positions, at) - 1
                start = self.positions[index] if index >= 0 else 0
                info = self.words[start + 1]
                width = _ENUMS.get(info >> 24 & 0x7f)
                if width and at >= start + 3 and not (at - start - 3) % width:
                    found.append((at, start))
        for at, start in sorted(found):
            enum = btf.type(btf.start_id + bisect_right(self.positions, start) - 1)
            width = _ENUMS[enum.kind]
            label, value = enum.values[(at - start - 3) // width]
            if label == name:
                return value
        return None


def names_with(btf, literal, of_base=None):
    """Set of string offsets, the base's too, whose text holds ``literal``; None when it is empty: every string does.

    ``of_base``: what this said of the base, for who asks many modules over the same."""
    if not literal:
        return None
    found = set()
    if btf.base is not None:
        found.update(names_with(btf.base, literal) if of_base is None else of_base)
    _own_strings(btf, to_bytes(literal), found)
    return found


def ids_named(btf, offsets, kinds):
    """Own ids of the types of ``kinds`` named by string ``offsets``, ascending: without a walk, for a few names."""
    return sorted([type_id for offset in offsets for type_id in btf._own_ids(offset, kinds)])


def _own_strings(btf, literal, found):
    """Add to ``found`` the offsets of the strings of ``btf`` itself that hold ``literal``."""
    raw = btf.strings_bytes()
    base = btf._string_base
    find, back = raw.find, raw.rfind
    at = find(literal)
    while at >= 0:
        start = back(b"\0", 0, at) + 1
        found.add(base + start)
        end = find(b"\0", at)
        # strings may share their ends ("bar" in "foobar"): every offset up to the literal is a string with it
        found.update(range(base + start + 1, base + at + 1))
        at = find(literal, end) if end >= 0 else -1


def strings_like(btf, name, limit=4096):
    """Names in the string section of ``btf`` that begin as ``name`` does: candidates for "did you mean"."""
    head, size = to_bytes(name[:2]), len(name)
    found = []
    for text in btf.strings_bytes().split(b"\0"):
        if text.startswith(head) and abs(len(text) - size) < 8:
            found.append(to_text(text))
            if len(found) >= limit:
                break
    return found
