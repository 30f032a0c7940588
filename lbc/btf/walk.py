"""Header and type boundaries of raw BTF: which bytes are the types and strings, and where type number n begins.

BTF has no index: a type's length follows from its ``info`` word (include/uapi/linux/btf.h), so the only exact way to
the n-th type is to step over all before it.  This walks as far as asked and keeps the position of every 64th type.
"""
from __future__ import absolute_import

import struct

from .._py23 import PY2, range
from ..errors import FormatError
from ..uapi import btf as _u

__all__ = ["Header", "TypeWalk", "BLOCK", "SIZES"]

BLOCK = 64
_BLOCK_RANGE = range(BLOCK)
_WINDOW = 24 * 1024  # words looked at together where memoryview cannot show them in place: 96 kB, below malloc's mmap
_NATIVE = "<" if struct.pack("=H", 1) == b"\1\0" else ">"

# kind -> words to the next type: (fixed, per vlen element).  btf_type itself is 3 words.
SIZES = {
    _u.BTF_KIND_INT: (4, 0), _u.BTF_KIND_PTR: (3, 0), _u.BTF_KIND_ARRAY: (6, 0), _u.BTF_KIND_STRUCT: (3, 3),
    _u.BTF_KIND_UNION: (3, 3), _u.BTF_KIND_ENUM: (3, 2), _u.BTF_KIND_FWD: (3, 0), _u.BTF_KIND_TYPEDEF: (3, 0),
    _u.BTF_KIND_VOLATILE: (3, 0), _u.BTF_KIND_CONST: (3, 0), _u.BTF_KIND_RESTRICT: (3, 0), _u.BTF_KIND_FUNC: (3, 0),
    _u.BTF_KIND_FUNC_PROTO: (3, 2), _u.BTF_KIND_VAR: (4, 0), _u.BTF_KIND_DATASEC: (3, 3), _u.BTF_KIND_FLOAT: (3, 0),
    _u.BTF_KIND_DECL_TAG: (4, 0), _u.BTF_KIND_TYPE_TAG: (3, 0), _u.BTF_KIND_ENUM64: (3, 3),
}


class Header(object):
    """Checked ``struct btf_header``: ``order`` "<"|">", byte positions ``types``..``types_end``,
    ``strings``..``strings_end``.

    ``sizes``: kind -> (words, words per element), with what a BTF_LAYOUT section (Linux 7.1) says about unknown kinds.
    """

    __slots__ = ("order", "version", "flags", "types", "types_end", "strings", "strings_end", "sizes")

    def __init__(self, data, path=None):
        total = len(data)
        if total < 24:
            raise FormatError("%d bytes cannot be BTF: its header alone has 24" % total, path)
        for order in "<>":
            magic, self.version, self.flags, length, type_off, type_len, str_off, str_len = struct.unpack_from(
                order + "HBBIIIII", data, 0)
            if magic == _u.BTF_MAGIC:
                break
        else:
            raise FormatError("not BTF: magic %#06x instead of %#06x" % (magic, _u.BTF_MAGIC), path, offset=0)
        self.order = order
        if self.version != _u.BTF_VERSION:
            raise FormatError("BTF version %d, known is %d" % (self.version, _u.BTF_VERSION), path, "BTF header", 2)
        if length < 24 or length > total:
            raise FormatError("header length %d in %d bytes of BTF" % (length, total), path, "BTF header", 4)
        rest = total - length
        for name, offset, size in (("type", type_off, type_len), ("string", str_off, str_len)):
            if offset > rest or size > rest - offset:
                raise FormatError("%s section of %d bytes at %d, but only %d bytes follow the header"
                                  % (name, size, offset, rest), path, "BTF header")
        if type_len & 3:
            raise FormatError("type section of %d bytes is no whole number of words" % type_len, path, "BTF header")
        if max(type_off, str_off) < min(type_off + type_len, str_off + str_len):
            raise FormatError("type and string sections overlap", path, "BTF header")
        self.types, self.types_end = length + type_off, length + type_off + type_len
        self.strings, self.strings_end = length + str_off, length + str_off + str_len
        self.sizes = SIZES
        if length >= 32:
            self._read_layout(data, length, rest, path)

    def _read_layout(self, data, length, rest, path):
        offset, size = struct.unpack_from(self.order + "II", data, 24)
        if not size:
            return
        if offset > rest or size > rest - offset:
            raise FormatError("layout section of %d bytes at %d, but only %d bytes follow the header"
                              % (size, offset, rest), path, "BTF header")
        sizes = dict(SIZES)
        for kind in range(1, min(size // 4, _u.BTF_MAX_KIND + 1)):
            info_size, elem_size, _flags = struct.unpack_from(self.order + "BBH", data, length + offset + 4 * kind)
            # known kinds keep their own sizes: nothing of them could be read under others
            if kind not in sizes and not (info_size | elem_size) & 3:
                sizes[kind] = (3 + info_size // 4, elem_size // 4)
        self.sizes = sizes


class _Steps(dict):
    """info word -> words to the next type; filled as infos are met (a lookup is faster than any chain of ifs)."""

    __slots__ = ("sizes", "path")

    def __missing__(self, info):
        kind = info >> 24 & 0x7f
        size = self.sizes.get(kind)
        if size is None:
            known = "kind %d is newer than this reader" % kind if kind > _u.BTF_KIND_MAX else "kind %d is none" % kind
            raise FormatError("BTF type of unknown kind: %s, and the BTF has no layout section that says its size"
                              % known, self.path, "BTF types")
        step = size[0] + (info & 0xffffff) * size[1]
        if len(self) < 4096:  # hostile data could have any number of different infos
            self[info] = step
        return step


class TypeWalk(object):
    """Boundaries of the types of one BTF.  Indices from 0 are of this section alone; positions are bytes in ``data``.

    FormatError when the walk meets an unknown kind or the section ends inside a type.
    """

    def __init__(self, data, header, path=None):
        self.path = path
        self._data, self._header = data, header
        self._start, self._end = header.types, (header.types_end - header.types) // 4  # in words
        self._steps = _Steps()
        self._steps.sizes, self._steps.path = header.sizes, path
        self._ways = [0]  # word position of types 0, 64, 128 ...
        self._next = 0  # index and word position where the walk stands
        self._position = 0
        self.done = not self._end
        self._in_place = not PY2 and header.order == _NATIVE and not self._start & 3
        self._view = self._words = None
        self._low = self._high = 0  # words self._words covers

    def adopt(self, count, ways):
        """What another has walked: ``count`` types in all, those of every 64th at byte ``ways`` of the section."""
        self._ways, self._next, self._position, self.done = [way // 4 for way in ways], count, self._end, True

    def close(self):
        """Let go of the data."""
        for view in (self._words, self._view):
            if view is not None and hasattr(view, "release"):
                view.release()
        self._words = self._view = self._data = None
        self._low = self._high = 0

    def _load(self, position):
        """Make the words around word ``position`` indexable."""
        if self._in_place:
            low, high = 0, self._end
            self._view = memoryview(self._data)
            part = self._view[self._start:self._start + 4 * high]
            words = part.cast("I")
            part.release()
        else:
            low, high = position, min(position + _WINDOW, self._end)
            from array import array  # its import brings in collections: 2 ms that the usual case does without
            words = array("I", b"")
            raw = self._data[self._start + 4 * low:self._start + 4 * high]
            (words.frombytes if hasattr(words, "frombytes") else words.fromstring)(raw)
            if self._header.order != _NATIVE:
                words.byteswap()
        self._words, self._low, self._high = words, low, high

    def _truncated(self, index, position):
        return FormatError("type section ends inside type number %d" % (index + 1), self.path, "BTF types",
                           4 * min(position, self._end))

    def _slow_steps(self, position, index, count):
        """As the fast loop, but over window edges, and exact at the end: (position, types stepped over)."""
        steps, done = self._steps, 0
        while done < count and position < self._end:
            if position + 3 > self._end:
                raise self._truncated(index + done, position)
            if not self._low <= position + 1 < self._high:
                self._load(position)
            position += steps[self._words[position + 1 - self._low]]
            if position > self._end:
                raise self._truncated(index + done, position)
            done += 1
        return position, done

    def _careful_block(self, position):
        """A block in single steps; damage is raised only when nothing before it is left to be had."""
        done = 0
        while position < self._end and (not done or (self._next + done) % BLOCK):
            try:
                position, _one = self._slow_steps(position, self._next + done, 1)
            except FormatError:
                if not done:
                    raise
                break
            done += 1
        return position, done

    def _block(self):
        """Walk one block further, or less where the section ends or is damaged."""
        position = self._position
        if not self._low <= position + 1 < self._high:
            self._load(position)
        words, steps = self._words, self._steps
        at = position + 1 - self._low
        try:
            if self._next % BLOCK:  # went on after damage
                raise IndexError
            for _ in _BLOCK_RANGE:
                at += steps[words[at]]
            done, position = BLOCK, at - 1 + self._low
            if position > self._end:
                raise IndexError
        except (IndexError, FormatError):
            position, done = self._careful_block(position)
        self._next += done
        self._position = position
        if position >= self._end:
            self.done = True
        elif not self._next % BLOCK:
            self._ways.append(position)

    def count(self):
        """How many types the section has: walks all of it."""
        while not self.done:
            self._block()
        return self._next

    def position_of(self, index):
        """Byte position in the data of type number ``index`` (from 0) or None past the end."""
        while index >= self._next:
            if self.done:
                return None
            self._block()
        way = index // BLOCK
        position, left = self._ways[way], index - way * BLOCK
        if left:
            position = self._slow_steps(position, way * BLOCK, left)[0]
        return self._start + 4 * position

    def index_at(self, position):
        """Number of the type that begins at byte ``position``, or None when no type begins exactly there."""
        if position < self._start or position & 3 != self._start & 3:
            return None
        target = (position - self._start) // 4
        if target >= self._end:
            return None
        while self._position <= target and not self.done:
            self._block()
        ways = self._ways
        low, high = 0, len(ways)
        while high - low > 1:  # the last way point not after the target
            middle = (low + high) // 2
            if ways[middle] <= target:
                low = middle
            else:
                high = middle
        at, index = ways[low], low * BLOCK
        while at < target:
            at, done = self._slow_steps(at, index, 1)
            index += done
        return index if at == target else None
