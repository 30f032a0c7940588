"""Functions of a user program or library: name -> address and file offset, address -> name.

A symbol table is taken apart by columns (arrays sliced in C), never into one object per symbol: 100,000 symbols cost
some 2 MB and a few ten ms.  Tables read, in this order: .symtab, .dynsym (with its versions), the xz-compressed
.gnu_debugdata ("MiniDebugInfo" of GDB's manual), and whatever debug file the caller adds.
"""
from __future__ import absolute_import

import struct
import sys
from array import array
from bisect import bisect_right

from .._py23 import near, range, to_bytes, to_text, u64_array
from ..errors import FormatError, InputError, NotFoundError
from ..uapi import elf as c
from .reader import Elf, open_elf

__all__ = ["Function", "Functions", "SymbolTable", "open_functions"]

MINI_LIMIT = 1 << 28      # bytes .gnu_debugdata may unpack to; real ones are below 10 MB
FUNCTION_TYPES = (c.STT_FUNC, c.STT_GNU_IFUNC)


class Function(object):
    """One function symbol.  ``address``: virtual; ``offset``: in the file (what uprobes want) or None; ``size``: bytes;
    ``version``: "GLIBC_2.14" or ""; ``default``: the version a plain name means; ``ifunc``: a resolver's address."""
    __slots__ = ("name", "address", "offset", "size", "version", "default", "bind", "ifunc")

    def __init__(self, name, address, offset, size, version, default, bind, ifunc):
        self.name, self.address, self.offset, self.size = name, address, offset, size
        self.version, self.default, self.bind, self.ifunc = version, default, bind, ifunc

    def __repr__(self):
        version = self.version and ("@@" if self.default else "@") + self.version
        return "Function(%s%s at 0x%x, %d bytes)" % (self.name, version, self.address, self.size)


class SymbolTable(object):
    """Columns of one symbol section."""

    def __init__(self, elf, section):
        if section.entsize not in (0, 24 if elf.is64 else 16):
            raise FormatError("symbols of %d bytes" % section.entsize, elf.path, section.name)
        self.elf, self.section = elf, section
        names = elf.section_at(section.link)
        if names.type == c.SHT_NOBITS:
            raise FormatError("symbol names are not in this file", elf.path, section.name)
        self.strings = elf.strings(names)
        raw = elf.data(section)
        step = 24 if elf.is64 else 16
        raw = raw[:len(raw) // step * step]
        self.count = len(raw) // step
        words = self._native(array("I", raw))
        halves = self._native(array("H", raw))
        self.names = words[0::step // 4]
        if elf.is64:
            longs = self._native(u64_array(raw))
            self.info, self.shndx = bytearray(raw[4::24]), halves[3::12]
            self.values, self.sizes = longs[1::3], longs[2::3]
        else:
            self.info, self.shndx = bytearray(raw[12::16]), halves[7::8]
            self.values, self.sizes = words[1::4], words[2::4]
        self._versions = None

    def _native(self, column):
        if self.elf.byteorder != sys.byteorder:
            column.byteswap()
        return column

    def functions(self):
        """Indexes of the defined function symbols."""
        info, shndx, strip = self.info, self.shndx, FUNCTION_TYPES
        return [i for i in range(self.count) if info[i] & 15 in strip and shndx[i]]

    def with_name_in(self, offsets):
        """Indexes of the symbols whose name stands at one of ``offsets``."""
        return [i for i, offset in enumerate(self.names) if offset in offsets] if offsets else []

    def version(self, index):
        """(version text, is the default) of a dynamic symbol; ("", True) without one."""
        if self._versions is None:
            self._versions = self._read_versions()
        numbers, names = self._versions
        if index >= len(numbers):
            return "", True
        return names.get(numbers[index] & 0x7fff, ""), not numbers[index] & 0x8000  # bit 15: hidden, an old version

    def _read_versions(self):
        """Section .gnu.version beside .dynsym and the definitions it points to (LSB Core, "Symbol Versioning")."""
        numbers, names, elf = (), {}, self.elf
        for section in elf.sections:
            if section.type == c.SHT_GNU_versym and section.link == self.section.index:
                raw = elf.data(section)
                numbers = self._native(array("H", raw[:len(raw) & ~1]))
                break
        for section in elf.sections:
            if section.type == c.SHT_GNU_verdef and self.section.type == c.SHT_DYNSYM:
                self._read_definitions(section, names)
                break
        return numbers, names

    def _read_definitions(self, section, names):
        order = "<" if self.elf.byteorder == "little" else ">"
        entry, aux, raw = struct.Struct(order + "HHHHIII"), struct.Struct(order + "II"), self.elf.data(section)
        strings, position = self.elf.strings(self.elf.section_at(section.link)), 0
        while position + entry.size <= len(raw):
            _, flags, index, count, _, aux_at, step = entry.unpack_from(raw, position)
            at = position + aux_at
            if count and at + aux.size <= len(raw) and not flags & c.VER_FLG_BASE:
                names[index & 0x7fff] = strings.text(aux.unpack_from(raw, at)[0])
            if step < entry.size:  # the last one, or a loop
                break
            position += step


class Functions(object):
    """Function symbols of one Elf.  ``debug``: Elf with its debug symbols, or None; both are closed by ``close()``."""

    def __init__(self, elf, debug=None):
        self.elf, self.path, self.debug = elf, elf.path, debug
        self._tables = self._index = self._mini = None

    @property
    def tables(self):
        """[SymbolTable], the fullest first."""
        if self._tables is None:
            found = self._tables_of(self.debug, (c.SHT_SYMTAB,)) if self.debug else []
            found += self._tables_of(self.elf, (c.SHT_SYMTAB,))
            found += self._tables_of(self.elf, (c.SHT_DYNSYM,))
            if not any(table.section.type == c.SHT_SYMTAB for table in found):
                self._mini = self._open_mini()
                if self._mini:
                    found += self._tables_of(self._mini, (c.SHT_SYMTAB,))
            self._tables = found
        return self._tables

    @staticmethod
    def _tables_of(elf, types):
        sections = [s for s in elf.sections if s.type in types and s.size]
        return [SymbolTable(elf, s) for s in sections[:1]]  # gABI: one of each; more would only be a way to cost time

    def _open_mini(self):
        section = self.elf.section(".gnu_debugdata")
        if section is None or section.type == c.SHT_NOBITS:
            return None
        try:
            raw = _unpack(self.elf.data(section))
        except (FormatError, MemoryError):
            return None
        try:
            return Elf(raw, "%s[.gnu_debugdata]" % self.path)
        except FormatError:
            return None

    # -- name -> address -----------------------------------------------------------------------------------------------

    def find(self, name):
        """[Function] called ``name`` or ``name@VERSION``; best first (default version, direct, global, sized).
        Raises NotFoundError."""
        plain, _, wanted = name.partition("@")
        wanted = wanted.lstrip("@")
        found, seen = [], set()
        for table in self.tables:
            for function in self._find_in(table, plain, wanted):
                key = function.address, function.version
                if key not in seen and (function.version or not any(function.address == f.address for f in found)):
                    seen.add(key)
                    found.append(function)
        if not found:
            raise NotFoundError("function", name, self.path, self._near(plain),
                                None if any(t.section.type == c.SHT_SYMTAB for t in self.tables) else
                                "the file is stripped: only exported functions have names; install its debug symbols")
        found.sort(key=lambda f: (not f.default, f.ifunc, _BIND_RANK.get(f.bind, 3), not f.size))
        return found

    def _find_in(self, table, plain, wanted):
        names = {offset: ("", True) for offset in table.strings.offsets(plain)}
        if table.section.type == c.SHT_SYMTAB:  # versions are spelled out: memcpy@@GLIBC_2.14, memcpy@GLIBC_2.2.5
            for offset in _prefix_offsets(table.strings, to_bytes(plain) + b"@"):
                text = table.strings.text(offset)
                names[offset] = text.rpartition("@")[2], "@@" in text
        labels = []
        for i in table.with_name_in(names):
            kind = table.info[i] & 15
            if not table.shndx[i] or kind not in FUNCTION_TYPES + (c.STT_NOTYPE,):
                continue
            version, default = names[table.names[i]]
            if table.section.type == c.SHT_DYNSYM:
                version, default = table.version(i)
            if wanted and version != wanted:
                continue
            function = self._function(table, i, plain, version, default)
            if kind != c.STT_NOTYPE:
                yield function
            elif self._is_code(table, i):
                labels.append(function)
        for function in labels:  # labels of assembly without a type
            yield function

    @staticmethod
    def _is_code(table, i):
        sections = table.elf.sections
        return table.shndx[i] < len(sections) and bool(sections[table.shndx[i]].flags & c.SHF_EXECINSTR)

    def _address(self, table, i):
        value = table.values[i]
        if self.elf.machine == c.EM_ARM:
            return value & ~1  # bit 0: Thumb code (ELF for the Arm Architecture)
        return value

    def _function(self, table, i, name, version="", default=True):
        address, info = self._address(table, i), table.info[i]
        return Function(name, address, self.offset_of(address, table.shndx[i]), table.sizes[i], version, default,
                        info >> 4, info & 15 == c.STT_GNU_IFUNC)

    def offset_of(self, address, shndx=None):
        """File offset of virtual ``address`` (in a .o or .ko: of an offset in section ``shndx``), or None."""
        if self.elf.type == c.ET_REL:
            sections = self.elf.sections
            return sections[shndx].offset + address if shndx is not None and shndx < len(sections) else None
        found = self.elf.offset_of(address, executable=True)
        return self.elf.offset_of(address) if found is None else found

    def probe_offset(self, name):
        """File offset to put a uprobe on.  Raises NotFoundError; InputError for a name that means several functions or
        an indirect one (IFUNC), whose address is that of the code that picks the implementation once."""
        found = [f for f in self.find(name) if f.offset is not None]
        if not found:
            raise NotFoundError("code of function", name, self.path)
        if found[0].ifunc:
            stem = found[0].name.strip("_") + "_"  # __memcpy_avx_unaligned for memcpy
            variants = sorted({n for n in self.names() if n.lstrip("_").startswith(stem) and not n.endswith("_chk")})
            raise InputError("%s: `%s` is an indirect function: one of several implementations is picked at start"
                             % (self.path, name),
                             hint="probe an implementation: %s" % ", ".join(variants[:8]) if variants else
                             "its implementations have no names here; install the debug symbols")
        same = [f for f in found if (f.ifunc, f.default, f.bind) == (False, found[0].default, found[0].bind)]
        if len({f.offset for f in same}) > 1:
            raise InputError("%s: %d functions are called `%s`: at %s" % (
                self.path, len(same), name, ", ".join("0x%x" % f.offset for f in same[:8])), hint="give the offset")
        return found[0].offset

    def names(self):
        """Names of all defined functions, table by table (an iterator; names may repeat)."""
        for table in self.tables:
            text = table.strings.text
            for i in table.functions():
                yield text(table.names[i])

    def functions(self):
        """Every defined Function with code in the file (an iterator), for patterns."""
        seen = set()
        for table in self.tables:
            dynamic = table.section.type == c.SHT_DYNSYM
            for i in table.functions():
                name = table.strings.text(table.names[i])
                key = name, table.values[i]
                if name and key not in seen:
                    seen.add(key)
                    function = self._function(table, i, name, *(table.version(i) if dynamic else ("", True)))
                    if function.offset is not None:
                        yield function

    def _near(self, name):
        names, lower = set(), name.lower()
        for other in self.names():
            names.add(other)
            if len(names) > 20000:
                break
        part = sorted((n for n in names if lower in n.lower()), key=len)[:3] if len(lower) > 2 else []
        return part or near(name, names)

    # -- address -> name -----------------------------------------------------------------------------------------------

    def lookup(self, address):
        """(name, offset in the function) of a virtual address, or None."""
        if self._index is None:
            self._index = self._build_index()
        starts, sizes, refs = self._index
        i = bisect_right(starts, address) - 1
        if i < 0:
            return None
        offset = address - starts[i]
        if sizes[i] and offset >= sizes[i] or offset > 1 << 24:  # unsized ones reach to the next, within reason
            return None
        table = self.tables[refs[i] >> 32]
        return to_text(table.strings.raw(refs[i] & 0xffffffff)).partition("@")[0], offset

    def _is_private(self, ref):
        strings = self.tables[ref >> 32].strings
        at = strings.start + (ref & 0xffffffff)
        return strings.buf[at:at + 1] == b"_"

    def _build_index(self):
        """Sorted columns (start, size, table << 32 | name offset); of several names for one address the best stays."""
        starts, sizes, refs, rows = u64_array(), array("I"), u64_array(), []
        for number, table in enumerate(self.tables):
            values, info, names = table.values, table.info, table.names
            # rank: sized before unsized, global before weak before local, earlier table before later
            rows += [(values[i], (0 if table.sizes[i] else 8) + _BIND_RANK.get(info[i] >> 4, 3), number, i)
                     for i in table.functions() if names[i]]
        rows.sort()
        last = kept = None
        for value, rank, number, i in rows:
            table = self.tables[number]
            if value != last:
                last, kept = value, rank
                starts.append(self._address(table, i))
                sizes.append(min(table.sizes[i], 0xffffffff))
                refs.append(number << 32 | table.names[i])
            elif rank == kept and self._is_private(refs[-1]) and not self._is_private(number << 32 | table.names[i]):
                refs[-1] = number << 32 | table.names[i]  # malloc, not __libc_malloc
        return starts, sizes, refs

    def close(self):
        """Give the files back; idempotent."""
        for elf in (self.elf, self.debug, self._mini):
            if elf is not None:
                elf.close()
        self._tables = self._index = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


_BIND_RANK = {c.STB_GLOBAL: 0, c.STB_GNU_UNIQUE: 0, c.STB_WEAK: 1, c.STB_LOCAL: 2}


def _unpack(data):
    """Bytes of a .xz file.  Raises FormatError."""
    try:
        import lzma
    except ImportError:  # 2.7, and Pythons built without liblzma: 50 times as slow
        from .xz import decompress
        return decompress(data, MINI_LIMIT)
    try:
        return lzma.LZMADecompressor(memlimit=1 << 27).decompress(data, MINI_LIMIT)
    except (TypeError, lzma.LZMAError, EOFError) as error:  # TypeError: no size limit before 3.5
        raise FormatError("compressed data (.xz) damaged: %s" % error)


def _prefix_offsets(strings, prefix):
    """Offsets in a StringTable where a name starts with ``prefix``; the byte before must end the name before."""
    found, position = [], strings.start
    while True:
        position = strings.buf.find(prefix, position, strings.end)
        if position < 0:
            return found
        if position > strings.start and strings.buf[position - 1:position] == b"\0":
            found.append(position - strings.start)
        position += 1


def open_functions(path, debug=None):
    """Functions of the file ``path``; ``debug``: path of its debug file or None.  Raises NotFoundError, InputError,
    FormatError."""
    elf = open_elf(path)
    try:
        return Functions(elf, open_elf(debug) if debug else None)
    except Exception:
        elf.close()
        raise
