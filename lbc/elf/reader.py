"""ELF files: bytes in, values out; no kernel, no root.

Follows the System V gABI (chapters 4 and 5) and include/uapi/linux/elf.h: both classes, both byte orders, extended
section numbering, compressed sections (SHF_COMPRESSED and the older .zdebug_*).  Only the file header is read at once;
all else when asked for.  Damaged files give FormatError: every count is checked against the bytes left before use.
"""
from __future__ import absolute_import

import errno
import mmap
import os
import stat
import struct

from .._py23 import range, to_bytes, to_text
from ..errors import FormatError, InputError, NotFoundError
from ..uapi import elf as c

__all__ = ["Elf", "Note", "Reloc", "Section", "Segment", "Symbol", "open_elf"]

ELFCOMPRESS_ZSTD = 2      # gABI, "Compression Algorithms"; older libc headers lack it
DEFLATE_LIMIT = 1032      # no deflate stream grows by more (RFC 1951: 258 bytes from 2 bits): a larger claim is a lie
READ_WHOLE = 1 << 17      # up to this many bytes a file is read, not mapped: cheaper, and no SIGBUS when it shrinks
# (class, byte order) -> Structs, compiled once: header, section, segment, symbol, rel, rela, compression header
_FORMATS = {2: ("HHIQQQIHHHHHH", "IIQQQQIIQQ", "IIQQQQQQ", "IBBHQQ", "QQ", "QQq", "IIQQ"),
            1: ("HHIIIIIHHHHHH", "10I", "8I", "IIIBBH", "II", "IIi", "III")}
_structs = {}


def _formats(key):
    if key not in _structs:
        order = "<" if key[1] == c.ELFDATA2LSB else ">"
        _structs[key] = [struct.Struct(order + text) for text in _FORMATS[key[0]]]
    return _structs[key]


class _Value(object):
    """Plain record: positional arguments in the order of ``__slots__``."""
    __slots__ = ()

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % (n, getattr(self, n)) for n in self.__slots__))


class Section(_Value):
    """One section header; ``index`` is its number, ``offset``, ``size`` and ``entsize`` are bytes of the file."""
    __slots__ = ("index", "name", "type", "flags", "addr", "offset", "size", "link", "info", "align", "entsize")

    def __init__(self, index, name, type, flags, addr, offset, size, link, info, align, entsize):
        self.index, self.name, self.type, self.flags, self.addr, self.offset = index, name, type, flags, addr, offset
        self.size, self.link, self.info, self.align, self.entsize = size, link, info, align, entsize


class Symbol(_Value):
    """One symbol; ``shndx`` is the real section index (SHN_XINDEX resolved) or a reserved one (SHN_ABS, SHN_COMMON)."""
    __slots__ = ("name", "value", "size", "type", "bind", "visibility", "shndx")

    def __init__(self, name, value, size, type, bind, visibility, shndx):
        self.name, self.value, self.size, self.type = name, value, size, type
        self.bind, self.visibility, self.shndx = bind, visibility, shndx


class Reloc(_Value):
    """One relocation: ``offset`` in the target section, ``symbol``: index in the symbol table, ``addend`` 0 for REL."""
    __slots__ = ("offset", "type", "symbol", "addend")

    def __init__(self, offset, type, symbol, addend):
        self.offset, self.type, self.symbol, self.addend = offset, type, symbol, addend


class Segment(_Value):
    """One program header."""
    __slots__ = ("type", "flags", "offset", "vaddr", "paddr", "filesz", "memsz", "align")

    def __init__(self, type, flags, offset, vaddr, paddr, filesz, memsz, align):
        self.type, self.flags, self.offset, self.vaddr = type, flags, offset, vaddr
        self.paddr, self.filesz, self.memsz, self.align = paddr, filesz, memsz, align


class Note(_Value):
    """One note: owner ``name`` (text), ``type``, ``desc`` (bytes)."""
    __slots__ = ("name", "type", "desc")

    def __init__(self, name, type, desc):
        self.name, self.type, self.desc = name, type, desc


class Elf(object):
    """One ELF file in ``data`` (bytes, bytearray or mmap).  Raises FormatError when it is none."""

    def __init__(self, data, path=None):
        if isinstance(data, memoryview):
            data = data.tobytes()
        self._data, self.path, self._size = data, path, len(data)
        self._sections = self._segments = self._by_name = None
        if self._size < 16 or data[:4] != b"\x7fELF":
            raise FormatError("not an ELF file", path)
        ident = bytearray(data[:16])
        key = ident[c.EI_CLASS], ident[c.EI_DATA]
        if key[0] not in _FORMATS or key[1] not in (c.ELFDATA2LSB, c.ELFDATA2MSB):
            raise FormatError("unknown ELF class %d or byte order %d" % key, path, offset=4)
        self.is64 = key[0] == c.ELFCLASS64
        self.byteorder = "little" if key[1] == c.ELFDATA2LSB else "big"
        (self._ehdr, self._shdr, self._phdr, self._sym, self._rel, self._rela, self._chdr) = _formats(key)
        self._need(16, self._ehdr.size, "file header")
        (self.type, self.machine, _, self.entry, self._phoff, self._shoff, self.flags, _, self._phentsize, self._phnum,
         self._shentsize, self._shnum, self._shstrndx) = self._ehdr.unpack_from(data, 16)

    # -- access --------------------------------------------------------------------------------------------------------

    def _need(self, offset, size, what):
        if offset > self._size or size > self._size - offset:
            text = "%s needs %d bytes, the file has %d" % (what, offset + size, self._size)
            raise FormatError(text, self.path, offset=offset)

    def _zero_header(self):
        """Section header 0: holds counts that do not fit the file header (gABI, "Extended Section Numbering")."""
        self._need(self._shoff, self._shdr.size, "section header 0")
        return self._shdr.unpack_from(self._data, self._shoff)

    @property
    def sections(self):
        """[Section], index 0 (the null section) included."""
        if self._sections is None:
            self._sections = self._read_sections()
        return self._sections

    def _read_sections(self):
        if not self._shoff:
            return []
        count, names_index, size = self._shnum, self._shstrndx, self._shdr.size
        if self._shentsize != size:
            raise FormatError("section header entries of %d bytes, not %d" % (self._shentsize, size), self.path)
        if not count:
            count = self._zero_header()[5]
        if names_index == c.SHN_XINDEX:
            names_index = self._zero_header()[6]
        if count > (self._size - min(self._shoff, self._size)) // size:
            raise FormatError("%d section headers do not fit the file" % count, self.path, offset=self._shoff)
        unpack, data, base = self._shdr.unpack_from, self._data, self._shoff
        rows = [unpack(data, base + i * size) for i in range(count)]
        if 0 < names_index < count:
            table = self._strings(Section(names_index, "", *rows[names_index][1:]), "section names")
            return [Section(i, table.text(row[0]), *row[1:]) for i, row in enumerate(rows)]
        if names_index:
            raise FormatError("section name table %d of %d sections" % (names_index, count), self.path)
        return [Section(i, "", *row[1:]) for i, row in enumerate(rows)]

    def section(self, name):
        """The first Section called ``name``, or None; ``.debug_x`` also finds the older ``.zdebug_x``."""
        if self._by_name is None:
            self._by_name = {}
            for section in self.sections:
                self._by_name.setdefault(section.name, section)
        found = self._by_name.get(name)
        if found is None and name.startswith(".debug_"):
            found = self._by_name.get(".z" + name[1:])
        return found

    def section_at(self, index):
        """Section number ``index``; FormatError when there is none."""
        if index >= len(self.sections):
            raise FormatError("section %d of %d" % (index, len(self.sections)), self.path)
        return self.sections[index]

    def _range(self, section):
        """(buffer, start, end) of a section's content: no copy unless it is compressed."""
        if section.type in (c.SHT_NOBITS, c.SHT_NULL):
            return b"", 0, 0
        if section.offset > self._size or section.size > self._size - section.offset:
            raise FormatError("section of %d bytes does not fit the file of %d" % (section.size, self._size), self.path,
                              section.name, section.offset)
        start, end = section.offset, section.offset + section.size
        if section.flags & c.SHF_COMPRESSED:
            if section.size < self._chdr.size:
                raise FormatError("too short for a compression header", self.path, section.name, start)
            header = self._chdr.unpack_from(self._data, start)  # Elf64_Chdr has a reserved word after the type
            size = header[2] if self.is64 else header[1]
            plain = self._inflate(section, header[0], start + self._chdr.size, end, size)
            return plain, 0, len(plain)
        if section.name.startswith(".zdebug_") and self._data[start:start + 4] == b"ZLIB" and section.size >= 12:
            size = struct.unpack_from(">Q", self._data, start + 4)[0]  # big-endian in every file (GNU binutils)
            plain = self._inflate(section, c.ELFCOMPRESS_ZLIB, start + 12, end, size)
            return plain, 0, len(plain)
        return self._data, start, end

    def _inflate(self, section, kind, start, end, size):
        if kind == ELFCOMPRESS_ZSTD:
            return self._unzstd(section, start, end, size)
        if kind != c.ELFCOMPRESS_ZLIB:
            raise FormatError("unknown compression %d" % kind, self.path, section.name)
        if size > DEFLATE_LIMIT * (end - start) + 64:
            raise FormatError("claims %d bytes out of %d compressed" % (size, end - start), self.path, section.name)
        import zlib
        stream = zlib.decompressobj()
        try:
            plain = stream.decompress(self._data[start:end], size + 1)
        except (zlib.error, MemoryError, OverflowError) as error:
            raise FormatError("compressed data damaged: %s" % error, self.path, section.name)
        if len(plain) != size:
            raise FormatError("compressed data does not give the %d bytes promised" % size, self.path, section.name)
        return plain

    def _unzstd(self, section, start, end, size):
        try:
            from compression import zstd  # Python 3.14
        except ImportError:
            raise FormatError("compressed with zstd, which this Python cannot read (3.14 can); "
                              "objcopy --decompress-debug-sections helps", self.path, section.name)
        if size > (1 << 15) * (end - start) + 64:
            raise FormatError("claims %d bytes out of %d compressed" % (size, end - start), self.path, section.name)
        try:
            plain = zstd.ZstdDecompressor().decompress(self._data[start:end], size + 1)
        except (zstd.ZstdError, EOFError, MemoryError) as error:
            raise FormatError("compressed data damaged: %s" % error, self.path, section.name)
        if len(plain) != size:
            raise FormatError("compressed data does not give the %d bytes promised" % size, self.path, section.name)
        return plain

    def data(self, section):
        """Content of a Section as bytes, decompressed; b"" for SHT_NOBITS."""
        buf, start, end = self._range(section)
        part = buf[start:end]
        return part if isinstance(part, bytes) else bytes(part)

    def file_bytes(self, offset, size):
        """``size`` bytes of the file; FormatError when they are not there."""
        self._need(offset, size, "content")
        return bytes(self._data[offset:offset + size])

    def _strings(self, section, what):
        buf, start, end = self._range(section)
        return StringTable(buf, start, end, self.path, section.name or what)

    def strings(self, section):
        """StringTable over a string section."""
        return self._strings(section, "strings")

    # -- symbols and relocations ---------------------------------------------------------------------------------------

    def symbol_section(self):
        """The .symtab, else the .dynsym, else None."""
        found = None
        for section in self.sections:
            if section.type == c.SHT_SYMTAB:
                return section
            if section.type == c.SHT_DYNSYM and found is None:
                found = section
        return found

    def symbols(self, section=None):
        """[Symbol] of ``section`` (None: the .symtab, else the .dynsym, else []), the null symbol included."""
        section = section or self.symbol_section()
        if section is None:
            return []
        buf, start, end = self._range(section)
        size = self._sym.size
        if section.entsize not in (0, size):
            raise FormatError("symbols of %d bytes, not %d" % (section.entsize, size), self.path, section.name)
        text = self._strings(self.section_at(section.link), "symbol names").text
        unpack, wide, xindex, result = self._sym.unpack_from, self.is64, None, []
        for position in range(start, end - size + 1, size):
            if wide:
                name, info, other, shndx, value, length = unpack(buf, position)
            else:
                name, value, length, info, other, shndx = unpack(buf, position)
            if shndx == c.SHN_XINDEX:
                if xindex is None:
                    xindex = self._extended_indexes(section)
                number = (position - start) // size
                if number >= len(xindex):
                    raise FormatError("symbol %d has no extended section index" % number, self.path, section.name)
                shndx = xindex[number]
            result.append(Symbol(text(name), value, length, info & 15, info >> 4, other & 3, shndx))
        return result

    def _extended_indexes(self, symtab):
        for section in self.sections:
            if section.type == c.SHT_SYMTAB_SHNDX and section.link == symtab.index:
                raw = self.data(section)
                order = "<" if self.byteorder == "little" else ">"
                return struct.unpack("%s%dI" % (order, len(raw) // 4), raw[:len(raw) & ~3])
        return ()

    def relocations(self, section):
        """[Reloc] of a SHT_REL or SHT_RELA Section."""
        if section.type not in (c.SHT_REL, c.SHT_RELA):
            raise InputError("section `%s` holds no relocations" % section.name)
        layout = self._rel if section.type == c.SHT_REL else self._rela
        if section.entsize not in (0, layout.size):
            text = "relocations of %d bytes, not %d" % (section.entsize, layout.size)
            raise FormatError(text, self.path, section.name)
        buf, start, end = self._range(section)
        shift, mask = (32, 0xffffffff) if self.is64 else (8, 0xff)
        result, unpack = [], layout.unpack_from
        for position in range(start, end - layout.size + 1, layout.size):
            row = unpack(buf, position)
            result.append(Reloc(row[0], row[1] & mask, row[1] >> shift, row[2] if len(row) > 2 else 0))
        return result

    # -- segments and notes --------------------------------------------------------------------------------------------

    @property
    def segments(self):
        """[Segment]: the program headers."""
        if self._segments is None:
            self._segments = self._read_segments()
        return self._segments

    def _read_segments(self):
        count, size = self._phnum, self._phdr.size
        if count == c.PN_XNUM and self._shoff:
            count = self._zero_header()[7]
        if not count or not self._phoff:
            return []
        if self._phentsize != size:
            raise FormatError("program headers of %d bytes, not %d" % (self._phentsize, size), self.path)
        if count > (self._size - min(self._phoff, self._size)) // size:
            raise FormatError("%d program headers do not fit the file" % count, self.path, offset=self._phoff)
        rows = [self._phdr.unpack_from(self._data, self._phoff + i * size) for i in range(count)]
        if self.is64:
            return [Segment(*row) for row in rows]
        return [Segment(row[0], row[6], *(row[1:6] + row[7:])) for row in rows]  # Elf32_Phdr: flags near its end

    def notes(self, section=None):
        """[Note] of a SHT_NOTE Section; None: of all note sections, or of the PT_NOTE segments when there are none."""
        if section is not None:
            return self._parse_notes(self.data(section), section.align, section.name)
        result, left = [], 2 * self._size  # headers of a hostile file may all claim the same bytes
        for section in self.sections:
            if section.type == c.SHT_NOTE:
                left -= section.size
                if left < 0:
                    raise FormatError("note sections overlap", self.path, section.name)
                result += self._parse_notes(self.data(section), section.align, section.name)
        if not result:
            for segment in self.segments:
                if segment.type == c.PT_NOTE:
                    left -= segment.filesz
                    if left < 0:
                        raise FormatError("note segments overlap", self.path)
                    raw = self.file_bytes(segment.offset, segment.filesz)
                    result += self._parse_notes(raw, segment.align, "PT_NOTE")
        return result

    def _parse_notes(self, raw, align, where):
        head = struct.Struct("<III" if self.byteorder == "little" else ">III")
        pad, position, result = (7 if align == 8 else 3), 0, []  # 8: only .note.gnu.property of 64-bit files
        while position + 12 <= len(raw):
            namesz, descsz, kind = head.unpack_from(raw, position)
            name_at = position + 12
            desc_at = (name_at + namesz + pad) & ~pad
            if namesz > len(raw) - name_at or desc_at + descsz > len(raw):
                raise FormatError("note longer than its section", self.path, where, position)
            name = to_text(raw[name_at:name_at + namesz].rstrip(b"\0"))
            result.append(Note(name, kind, raw[desc_at:desc_at + descsz]))
            position = (desc_at + descsz + pad) & ~pad
        return result

    def build_id(self):
        """The GNU build-id as bytes, or None."""
        section = self.section(".note.gnu.build-id") if self._shoff else None
        for note in self.notes(section):
            if note.name == "GNU" and note.type == c.NT_GNU_BUILD_ID and note.desc:
                return note.desc
        return None

    def offset_of(self, vaddr, executable=False):
        """File offset of a virtual address through PT_LOAD, or None when no byte of the file is loaded there."""
        for segment in self.segments:
            if segment.type == c.PT_LOAD and 0 <= vaddr - segment.vaddr < segment.filesz:
                if segment.flags & c.PF_X or not executable:
                    return vaddr - segment.vaddr + segment.offset
        return None

    def vaddr_of(self, offset):
        """Virtual address of a file offset, executable segments first, or None."""
        found = None
        for segment in self.segments:
            if segment.type == c.PT_LOAD and 0 <= offset - segment.offset < segment.filesz:
                if segment.flags & c.PF_X:
                    return offset - segment.offset + segment.vaddr
                found = offset - segment.offset + segment.vaddr if found is None else found
        return found

    def close(self):
        """Give the file back; idempotent.  Values handed out stay valid."""
        data, self._data, self._size = self._data, b"", 0
        if hasattr(data, "close"):
            data.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class StringTable(object):
    """NUL-terminated names in ``buf[start:end]``.  Overlapping names of a hostile file cannot make more text than a
    small multiple of the table: ``text`` counts what it hands out."""

    def __init__(self, buf, start, end, path=None, section=None):
        self.buf, self.start, self.end, self.path, self.section = buf, start, end, path, section
        self._seen, self._left = {}, 8 * (end - start) + 4096

    def raw(self, offset):
        """Bytes of the name at ``offset`` in the table."""
        position = self.start + offset
        stop = self.buf.find(b"\0", position, self.end) if position < self.end else -1
        if stop < 0:
            if offset == 0 and self.start == self.end:
                return b""
            raise FormatError("no terminated name here", self.path, self.section, offset)
        return bytes(self.buf[position:stop])

    def text(self, offset):
        """Name at ``offset`` as text."""
        found = self._seen.get(offset)
        if found is None:
            name = self.raw(offset)
            self._left -= len(name)
            if self._left < 0:
                raise FormatError("names overlap far more than any linker makes them", self.path, self.section, offset)
            found = self._seen[offset] = to_text(name)
        return found

    def offsets(self, name):
        """Set of the offsets where ``name`` stands, tails of longer names included (linkers share them)."""
        needle, found, position = to_bytes(name) + b"\0", set(), self.start
        while True:
            position = self.buf.find(needle, position, self.end)
            if position < 0:
                return found
            found.add(position - self.start)
            position += 1


def open_elf(path):
    """Elf of a file; large ones are mapped, not read.  Raises NotFoundError, InputError, FormatError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))  # a FIFO must not block us
    except (OSError, IOError) as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFoundError("file", path)
        raise InputError("cannot open %s: %s" % (path, error.strerror), cause=error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("%s is not a regular file" % path)
        return from_fd(fd, status.st_size, path)
    finally:
        os.close(fd)


def from_fd(fd, size, path):
    """Elf of the open file ``fd`` of ``size`` bytes; the fd may be closed afterwards."""
    try:
        if size <= READ_WHOLE:
            data = os.read(fd, READ_WHOLE + 1)
        else:
            data = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    except (OSError, IOError, ValueError, OverflowError, mmap.error) as error:
        raise InputError("cannot read %s: %s" % (path, error), cause=error)
    try:
        return Elf(data, path)
    except FormatError:
        if hasattr(data, "close"):
            data.close()
        raise
