"""Raw BTF -> types, lazily: a name is found by searching bytes, a candidate is believed only when a walk proves it.

Format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h.  Nothing is built until asked for: a kernel has 150,000
types, and a program needs twenty.
"""
from __future__ import absolute_import

import struct

from .._py23 import range, to_bytes, to_text
from ..errors import FormatError
from ..uapi import btf as _u
from . import kinds as _k
from .walk import Header, TypeWalk

__all__ = ["Btf", "open_btf", "kernel_btf_paths", "essential_name"]

_MAX_DEPTH = 64  # deeper chains of modifiers and typedefs, or nested structs, are damage (libbpf stops at 32)
_CACHE = 1024  # types kept
_CHUNK = 96 * 1024  # bytes searched at once: a slice of it stays below malloc's mmap threshold and in the CPU's cache
_VOID = _k.Void()
_REFERENCES = {_u.BTF_KIND_PTR: _k.Ptr, _u.BTF_KIND_VOLATILE: _k.Volatile, _u.BTF_KIND_CONST: _k.Const,
               _u.BTF_KIND_RESTRICT: _k.Restrict}


_MOST_PLACES = 4096  # positions of types remembered: CO-RE asks for the same ones again and again
_BIG = 1 << 18       # bytes of strings
_LONGEST_NAME = 4096  # bytes before a "___" that can be its name


def essential_name(name):
    """'task_struct' of 'task_struct___old': three underscores start a flavour, unless at the very start."""
    at = name.rfind("___")  # the last one with a character before and after counts, as libbpf has it
    while at > 0:
        if name[at - 1] != "_" and name[at + 3:at + 4] not in ("", "_"):
            return name[:at]
        at = name.rfind("___", 0, at + 2)
    return name


def kernel_btf_paths(release):
    """Where the BTF of kernel ``release`` may be, best first (the order of libbpf's btf__load_vmlinux_btf)."""
    return ["/sys/kernel/btf/vmlinux"] + [pattern.replace("R", release) for pattern in (
        "/boot/vmlinux-R", "/lib/modules/R/vmlinux-R", "/lib/modules/R/build/vmlinux",
        "/usr/lib/modules/R/kernel/vmlinux", "/usr/lib/debug/boot/vmlinux-R", "/usr/lib/debug/boot/vmlinux-R.debug",
        "/usr/lib/debug/lib/modules/R/vmlinux")]


class Btf(object):
    """Types of raw BTF ``data`` (bytes or mmap); ids from ``.start_id`` are its own, lower ones those of ``base``.

    FormatError on damage, at the latest when the damaged part is read.  ``pointer_size``: 8, set it for 32-bit targets.
    """

    def __init__(self, data, base=None, path=None):
        self.path, self.base = path, base
        self._data = data
        self._owned = ()
        self._cache, self._places = {}, {}
        self._columns = self._flavours = None
        self._offsets, self._starts = {}, {}    # of names that were expected: string offsets, [(index, byte)] of types
        self.walker = None  # see expect()
        self.codecs = None  # what lbc.btf.values compiled
        self.pointer_size = base.pointer_size if base is not None else 8
        header = self._header = Header(data, path)
        self.order = header.order
        if base is not None and base.order != header.order:
            raise FormatError("its byte order is not that of its base", path, "BTF header")
        self._strings, self._strings_end = header.strings, header.strings_end
        if header.strings < header.strings_end:
            if data[header.strings_end - 1:header.strings_end] != b"\0":
                raise FormatError("string section does not end in a zero byte", path, "BTF strings")
            if base is None and data[header.strings:header.strings + 1] != b"\0":
                raise FormatError("string section does not begin with a zero byte", path, "BTF strings", 0)
        elif base is None:
            raise FormatError("string section is empty", path, "BTF strings")
        self._string_base = base.string_end if base is not None else 0
        self._walk = TypeWalk(data, header, path)
        self.start_id = base.count if base is not None else 1
        word = struct.Struct(header.order + "I")
        self._word, self._triple = word, struct.Struct(header.order + "III")

    # -- life ---------------------------------------------------------------------------------------------------------

    def close(self):
        """Give the memory back (data that was handed in belongs to the caller)."""
        self._walk.close()
        self._cache, self._places = {}, {}
        self._columns = self._flavours = self.walker = None
        self._offsets, self._starts = {}, {}
        self._data = b""
        for thing in self._owned:
            thing.close()
        self._owned = ()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    @property
    def is_split(self):
        """True for BTF over a base (a module's)."""
        return self.base is not None

    @property
    def raw(self):
        """All of it as bytes."""
        return bytes(self._data[:])

    @property
    def count(self):
        """Ids are below this; walks the whole type section the first time."""
        return self.start_id + self._walk.count()

    @property
    def string_end(self):
        """First string offset a BTF over this one may call its own."""
        return self._string_base + self._strings_end - self._strings

    def types_bytes(self, first, stop):
        """Raw bytes of this section's own types ``first`` to ``stop`` - 1."""
        position = self._walk.position_of
        start = position(first - self.start_id)
        end = position(stop - self.start_id)
        end = self._header.types_end if end is None else end
        return b"" if start is None else bytes(self._data[start:end])

    def strings_bytes(self):
        """Raw bytes of this section's own strings."""
        return bytes(self._data[self._strings:self._strings_end])

    # -- strings ------------------------------------------------------------------------------------------------------

    def bytes_at(self, offset):
        """The string at ``offset`` of the string section, as bytes.  FormatError outside of it."""
        if offset < self._string_base:
            return self.base.bytes_at(offset)
        at = offset - self._string_base + self._strings
        if at >= self._strings_end:
            if not offset:
                return b""  # a split BTF may have no strings at all
            raise FormatError("string offset %d is outside the string section" % offset, self.path, "BTF strings")
        size = 48
        while True:
            piece = self._data[at:min(at + size, self._strings_end)]
            end = piece.find(b"\0")
            if end >= 0:
                return bytes(piece[:end])
            size *= 8

    def name_at(self, offset):
        """The string at ``offset`` as text."""
        return to_text(self.bytes_at(offset)) if offset else ""

    def _search(self, needle, start, end):
        """Positions of ``needle`` in data[start:end]; slices are searched since mmap.find is ten times slower."""
        data, over = self._data, len(needle) - 1
        if isinstance(data, bytes):
            at = data.find(needle, start, end)
            while at >= 0:
                yield at
                at = data.find(needle, at + 1, end)
            return
        while start < end:
            stop = min(start + _CHUNK + over, end)
            piece = data[start:stop]
            at = piece.find(needle)
            while at >= 0:
                yield start + at
                at = piece.find(needle, at + 1)
            start = stop if stop == end else stop - over

    def _string_offsets(self, name):
        """Offsets of whole strings equal to ``name`` (bytes), the base's included."""
        known = self._offsets.get(name)
        return self._search_string(name) if known is None else known

    def _search_string(self, name):
        if self.base is not None:
            for offset in self.base._string_offsets(name):
                yield offset
        first = self._strings
        if self._data[first:first + len(name) + 1] == name + b"\0":
            yield self._string_base
        for at in self._search(b"\0" + name + b"\0", first, self._strings_end):
            yield self._string_base + at + 1 - first
            if self._strings_end - first > _BIG:
                break  # writers of BTF (pahole, LLVM, libbpf) store a string once; only where it costs nothing we check

    def string_offsets(self, name):
        """Offsets of the strings equal to ``name``; several only where the writer did not care."""
        return list(self._string_offsets(to_bytes(name)))

    def _flavour_offsets(self, name):
        """Offsets of strings ``name___*``: looked for once, for all names, since kernels hardly have any."""
        if self._flavours is None:
            self._flavours = {}
            for at in self._search(b"___", self._strings, self._strings_end):
                self._note_flavour(at)
        found = self.base._flavour_offsets(name) if self.base is not None else []
        return found + self._flavours.get(name, [])

    def _note_flavour(self, at):
        """A "___" is at byte ``at``."""
        first = self._strings
        begin = max(at - _LONGEST_NAME, first)
        start = at - len(self._data[begin:at].rpartition(b"\0")[2])
        offset = self._string_base + start - first
        whole = self.bytes_at(offset)
        plain = to_bytes(essential_name(to_text(whole)))
        if plain != whole and start + len(plain) == at:  # the last "___" of a name is the one that counts
            self._flavours.setdefault(plain, []).append(offset)

    def _search_strings(self, names):
        """What _string_offsets of all of ``names`` (bytes) and _flavour_offsets want, in one pass over the strings."""
        first, end, data = self._strings, self._strings_end, self._data
        if end - first <= _BIG:
            for name in names:
                self._offsets[name] = list(self._search_string(name))
            return
        left = [(b"\0" + name + b"\0", name) for name in names]
        over = max([2] + [len(needle) - 1 for needle, _name in left])
        look, self._flavours = self._flavours is None, self._flavours or {}
        for name in names:
            self._offsets[name] = []
        for start in range(first, end, _CHUNK):
            piece = data[start:min(start + _CHUNK + over, end)]
            for row in left[:]:
                at = piece.find(row[0])
                if at >= 0:
                    self._offsets[row[1]].append(self._string_base + start + at + 1 - first)
                    left.remove(row)    # see _search_string: a string is stored once
            at = piece.find(b"___") if look else -1
            while 0 <= at < _CHUNK:
                self._note_flavour(start + at)
                at = piece.find(b"___", at + 1)

    # -- finding ------------------------------------------------------------------------------------------------------

    def expect(self, names):
        """These names will be looked for: with a ``walker`` (walk(data, start, size, sizes, offsets), see
        lbc.bpf.btf_walk) all are found at once; without one nothing is done."""
        if self.walker is None or self.base is not None:
            return
        self._search_strings([to_bytes(name) for name in names if name])
        wanted = set(offset for found in self._offsets.values() for offset in found) - set(self._starts)
        header = self._header
        answer = self.walker(self._data, header.types, header.types_end - header.types, header.sizes, wanted)
        if answer is None:
            self.walker = None
            return
        count, ways, rows = answer
        self._walk.adopt(count, ways)
        for offset in wanted:
            self._starts[offset] = []
        for offset, index, at in rows:
            self._starts[offset].append((index, header.types + at))
            self._places[index + self.start_id] = header.types + at

    def _positions(self, offset):
        """Positions in the type section of words equal to ``offset``, ascending.

        Looking for the word through the whole section takes 4 ms.  Its second bytes alone, gathered once (1 ms), are a
        quarter of it, and a single byte is found at the speed of memchr: 0.3 ms."""
        header, data, needle = self._header, self._data, self._word.pack(offset)
        start, end = header.types, header.types_end
        low, middle = (0, 1) if header.order == "<" else (3, 2)
        if self._columns is None:
            self._columns = data[start + low:end:4], data[start + middle:end:4]
        lows, middles = self._columns
        first, second, want_first, want_second = middles, lows, needle[middle:middle + 1], needle[low:low + 1]
        if want_first == b"\0":  # half of all bytes are zero
            first, second, want_first, want_second = lows, middles, want_second, want_first
        find = first.find
        at = find(want_first)
        while at >= 0:
            if second[at:at + 1] == want_second and data[start + 4 * at:start + 4 * at + 4] == needle:
                yield start + 4 * at
            at = find(want_first, at + 1)

    def _own_ids(self, offset, wanted):
        """Ids of this section's types named by string ``offset``, of kinds ``wanted`` (None: any), lowest first."""
        header, data, index_at = self._header, self._data, self._walk.index_at
        end, sizes, word = header.types_end, header.sizes, self._word
        if offset in self._starts:
            for index, at in self._starts[offset]:
                if wanted is None or word.unpack_from(data, at + 4)[0] >> 24 & 0x7f in wanted:
                    yield self.start_id + index
            return
        for at in self._positions(offset):
            if at + 12 > end:
                continue
            kind = word.unpack_from(data, at + 4)[0] >> 24 & 0x7f
            if kind not in sizes or (wanted is not None and kind not in wanted):
                continue
            index = index_at(at)  # it may be a member, or any word of the same value: only the walk can tell
            if index is not None:
                yield self.start_id + index

    def _ids(self, offsets, wanted):
        if self.base is not None:
            base_end = self.base.string_end
            for type_id in self.base._ids([offset for offset in offsets if offset < base_end], wanted):
                yield type_id
        for offset in offsets:
            if offset:
                for type_id in self._own_ids(offset, wanted):
                    yield type_id

    def find(self, name, kinds=None):
        """Ids of all types called ``name`` (exactly), ascending; ``kinds``: collection of BTF_KIND_*.  [] if none."""
        offsets = list(self._string_offsets(to_bytes(name))) if name else []
        return sorted(self._ids(offsets, kinds)) if offsets else []

    def find_one(self, name, kind):
        """Lowest id of a type of ``kind`` called ``name``, or 0."""
        offsets = list(self._string_offsets(to_bytes(name))) if name else []
        if len(offsets) > 1:
            return (self.find(name, (kind,)) or (0,))[0]
        for type_id in self._ids(offsets, (kind,)):
            return type_id
        return 0

    def find_essential(self, name, kinds=None):
        """Ids of all types whose name without ``___flavour`` is ``name`` (itself taken without flavour), ascending."""
        plain = to_bytes(essential_name(name))
        if not plain:
            return []
        offsets = list(self._string_offsets(plain)) + list(self._flavour_offsets(plain))
        return sorted(self._ids(offsets, kinds)) if offsets else []

    # -- types --------------------------------------------------------------------------------------------------------

    def _position(self, type_id):
        position = self._places.get(type_id)
        if position is None:
            position = self._walk.position_of(type_id - self.start_id)
            if position is None:
                raise FormatError("type id %d, but there are %d types" % (type_id, self.count), self.path, "BTF types")
            if len(self._places) < _MOST_PLACES:
                self._places[type_id] = position
        return position

    def _raw_at(self, type_id):
        """(owner, byte position, name offset, info, size or type) of ``type_id`` > 0."""
        owner = self
        while type_id < owner.start_id:
            owner = owner.base
            if owner is None or type_id <= 0:
                raise FormatError("type id %d has no type" % type_id, self.path, "BTF types")
        position = owner._position(type_id)
        return (owner, position) + owner._triple.unpack_from(owner._data, position)

    def kind_of(self, type_id):
        """BTF_KIND_* of ``type_id`` without building it; 0 for void."""
        return self._raw_at(type_id)[3] >> 24 & 0x7f if type_id else 0

    def head(self, type_id):
        """(BTF_KIND_*, name, size or type id) of a type without building it; (0, "void", 0) of id 0."""
        if not type_id:
            return 0, "void", 0
        owner, _position, name, info, value = self._raw_at(type_id)
        return info >> 24 & 0x7f, owner.name_at(name), value

    def type(self, type_id):
        """The type as a value of ``lbc.btf.kinds``; id 0 is ``Void()``.  FormatError for ids there are not."""
        if not type_id:
            return _VOID
        cached = self._cache.get(type_id)
        if cached is None:
            owner, position, name, info, value = self._raw_at(type_id)
            try:
                cached = owner._build(position, owner.name_at(name), info, value)
            except struct.error:
                raise FormatError("type section ends inside type %d" % type_id, self.path, "BTF types", position)
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            self._cache[type_id] = cached
        return cached

    def _rows(self, position, count, width):
        """``count`` tuples of ``width`` words after the 12 bytes of the type; bounds checked before anything is
        built."""
        if position + 12 + count * width * 4 > self._header.types_end:
            raise FormatError("%d elements do not fit into the type section" % count, self.path, "BTF types",
                              position - self._header.types)
        flat = struct.unpack_from("%s%dI" % (self.order, count * width), self._data, position + 12)
        return zip(*(flat[column::width] for column in range(width)))

    def _build(self, position, name, info, value):
        kind, vlen, flag = info >> 24 & 0x7f, info & 0xffffff, bool(info >> 31)
        if kind == _u.BTF_KIND_INT:
            word, = self._rows(position, 1, 1)
            word = word[0]
            return _k.Int(name, value, word >> 24 & 15, word & 0xff, word >> 16 & 0xff)
        if kind in _REFERENCES:
            return _REFERENCES[kind](value)
        if kind == _u.BTF_KIND_ARRAY:
            return _k.Array(*list(self._rows(position, 1, 3))[0])
        if kind in _k.COMPOSITE:
            make, text = _k.Member, self.name_at
            if flag:
                members = [make(text(label), type_id, bits & 0xffffff, bits >> 24)
                           for label, type_id, bits in self._rows(position, vlen, 3)]
            else:
                members = [make(text(label), type_id, bits) for label, type_id, bits in self._rows(position, vlen, 3)]
            return (_k.Struct if kind == _u.BTF_KIND_STRUCT else _k.Union)(name, value, members)
        if kind == _u.BTF_KIND_ENUM:
            return _k.Enum(name, value, flag, [
                (self.name_at(label), number - (1 << 32) if flag and number >> 31 else number)
                for label, number in self._rows(position, vlen, 2)])
        if kind == _u.BTF_KIND_ENUM64:
            return _k.Enum64(name, value, flag, [
                (self.name_at(label), (high << 32 | low) - (1 << 64 if flag and high >> 31 else 0))
                for label, low, high in self._rows(position, vlen, 3)])
        if kind == _u.BTF_KIND_FUNC_PROTO:
            return _k.FuncProto(value, [(self.name_at(label), type_id)
                                        for label, type_id in self._rows(position, vlen, 2)])
        if kind == _u.BTF_KIND_TYPEDEF:
            return _k.Typedef(name, value)
        if kind == _u.BTF_KIND_FUNC:
            return _k.Func(name, value, vlen)
        if kind == _u.BTF_KIND_FWD:
            return _k.Fwd(name, flag)
        if kind == _u.BTF_KIND_VAR:
            return _k.Var(name, value, list(self._rows(position, 1, 1))[0][0])
        if kind == _u.BTF_KIND_DATASEC:
            return _k.Datasec(name, value, list(self._rows(position, vlen, 3)))
        if kind == _u.BTF_KIND_FLOAT:
            return _k.Float(name, value)
        if kind == _u.BTF_KIND_DECL_TAG:
            index = list(self._rows(position, 1, 1))[0][0]
            return _k.DeclTag(name, value, index - (1 << 32) if index >> 31 else index, flag)
        if kind == _u.BTF_KIND_TYPE_TAG:
            return _k.TypeTag(name, value, flag)
        fixed, each = self._header.sizes[kind]
        end = position + 4 * (fixed + each * vlen)
        return _k.Unknown(kind, name, flag, vlen, value, bytes(self._data[position + 12:end]))

    # -- questions about types ----------------------------------------------------------------------------------------

    def _skip(self, type_id, passed):
        for _ in range(_MAX_DEPTH):
            if not type_id:
                return 0
            raw = self._raw_at(type_id)
            if raw[3] >> 24 & 0x7f not in passed:
                return type_id
            type_id = raw[4]
        raise FormatError("type %d: typedefs and modifiers go in a circle" % type_id, self.path, "BTF types")

    def skip_mods(self, type_id):
        """Past const, volatile, restrict and type tags."""
        return self._skip(type_id, _k.MODIFIERS)

    def resolve(self, type_id):
        """Past modifiers and typedefs."""
        return self._skip(type_id, _k.WALKABLE)

    def size_of(self, type_id):
        """Bytes of a value; FormatError for types that have no size (void, functions, forward declarations)."""
        count = 1
        for _ in range(_MAX_DEPTH):
            type_id = self.resolve(type_id)
            if not type_id:
                break
            kind = self.kind_of(type_id)
            if kind == _u.BTF_KIND_PTR:
                return count * self.pointer_size
            if kind == _u.BTF_KIND_VAR or kind == _u.BTF_KIND_DECL_TAG:
                type_id = self._raw_at(type_id)[4]
            elif kind == _u.BTF_KIND_ARRAY:
                array = self.type(type_id)
                count *= array.count
                type_id = array.type
            elif kind in _k.COMPOSITE or kind in (_u.BTF_KIND_INT, _u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64,
                                                  _u.BTF_KIND_FLOAT, _u.BTF_KIND_DATASEC):
                return count * self._raw_at(type_id)[4]
            else:
                break
        raise FormatError("type %d has no size" % type_id, self.path, "BTF types")

    def align_of(self, type_id, _depth=0):
        """Bytes a value is aligned to; 1 for packed structs (judged by their members' offsets)."""
        if _depth > _MAX_DEPTH:
            raise FormatError("type %d contains itself" % type_id, self.path, "BTF types")
        type_id = self.resolve(type_id)
        found = self.type(type_id)
        kind = found.kind
        if kind == _u.BTF_KIND_PTR:
            return self.pointer_size
        if kind in (_u.BTF_KIND_INT, _u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64, _u.BTF_KIND_FLOAT):
            return max(1, min(self.pointer_size, found.size)) if found.size <= 8 else found.size
        if kind == _u.BTF_KIND_ARRAY:
            return self.align_of(found.type, _depth + 1)
        if kind in _k.COMPOSITE:
            return self._align_of_members(found, _depth)
        raise FormatError("type %d has no alignment" % type_id, self.path, "BTF types")

    def _align_of_members(self, found, depth):
        best, known = 1, {}
        for member in found.members:
            align = known.get(member.type)
            if align is None:
                align = known[member.type] = self.align_of(member.type, depth + 1)
            if not member.bit_size and member.bit_offset % (8 * align):
                return 1
            best = max(best, align)
        return 1 if found.size % best else best

    def member_at(self, type_id, path):
        """Member ``path`` ("pid", "se.run_node") of a struct or union, its ``bit_offset`` from the outermost start.

        Anonymous members are looked through; None when there is no such member.
        """
        offset, found = 0, None
        for name in path.split("."):
            if found is not None:
                type_id = found.type
            found = self._member(self.resolve(type_id), to_bytes(name) + b"\0", 0, {})
            if found is None:
                return None
            offset += found.bit_offset
        return _k.Member(found.name, found.type, offset, found.bit_size)

    def _member(self, type_id, name, depth, seen):
        if depth > _MAX_DEPTH or seen.get(type_id):
            raise FormatError("type %d contains itself" % type_id, self.path, "BTF types")
        if not type_id or type_id in seen:  # looked through in vain already
            return None
        seen[type_id] = True    # we are in it
        owner, position, _label, info, _size = self._raw_at(type_id)
        if info >> 24 & 0x7f not in _k.COMPOSITE:
            return None
        data, strings, own = owner._data, owner._strings - owner._string_base, owner._string_base
        size, anonymous = len(name), []
        for label, member_type, bits in owner._rows(position, info & 0xffffff, 3):
            if label >= own and label:
                at = strings + label
                if data[at:at + size] != name:
                    continue
            elif not label:
                anonymous.append((member_type, bits))
                continue
            elif owner.bytes_at(label) != name[:-1]:
                continue
            return self._as_member(name, member_type, bits, info, 0)
        for member_type, bits in anonymous:
            found = self._member(self.resolve(member_type), name, depth + 1, seen)
            if found is not None:
                found.bit_offset += bits & 0xffffff if info >> 31 else bits
                return found
        seen[type_id] = False
        return None

    @staticmethod
    def _as_member(name, member_type, bits, info, base):
        flag = info >> 31
        return _k.Member(to_text(name[:-1]), member_type, base + (bits & 0xffffff if flag else bits),
                         bits >> 24 if flag else 0)


def open_btf(path, base=None):
    """BTF of a raw file or of an ELF file's ``.BTF`` section.  FormatError; InputError when it cannot be read."""
    from .source import map_or_read
    try:
        data = map_or_read(path)
    except EnvironmentError as error:
        from ..errors import InputError
        raise InputError("cannot read BTF of %s: %s" % (path, error.strerror or error), error)
    try:
        if data[:4] == b"\x7fELF":
            from ..elf.reader import Elf
            elf = Elf(data, path)
            section = elf.section(".BTF")
            if section is None:
                raise FormatError("has no .BTF section", path)
            raw = bytes(elf.data(section))
            elf.close()
            data.close()
            return Btf(raw, base, path)
        found = Btf(data, base, path)
        found._owned = (data,)
        return found
    except BaseException:
        data.close()
        raise
