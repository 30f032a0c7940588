"""Writes ELF files for tests, well-formed and not: sections, symbols and segments in a few lines.

    w = ElfWriter(order=">", bits=64, machine=247, type=1)
    text = w.section(".text", 1, b"...", flags=6)
    w.symbol("f", value=0, size=8, type=2, shndx=text)
    raw = w.bytes(shnum=3)            # any file header field can be forced to a wrong value
"""
from __future__ import absolute_import

import struct

EHDR = ("type", "machine", "version", "entry", "phoff", "shoff", "flags", "ehsize", "phentsize", "phnum", "shentsize",
        "shnum",
        "shstrndx")


class ElfWriter(object):
    def __init__(self, order="<", bits=64, machine=62, type=1):
        self.order, self.wide, self.machine, self.type = order, bits == 64, machine, type
        self.sections = [["", dict(type=0)]]
        self.symbols, self.segments = [("", 0, 0, 0, 0, 0)], []

    def pack(self, text, *values):
        return struct.pack(self.order + text, *values)

    def section(self, name, type, data=b"", **fields):
        """Adds a section, returns its index.  Fields: flags addr link info align entsize; size, offset force wrong
        values."""
        self.sections.append([name, dict(fields, type=type, data=data)])
        return len(self.sections) - 1

    def symbol(self, name, value=0, size=0, type=0, bind=1, shndx=0, other=0):
        self.symbols.append((name, value, size, type | bind << 4, other, shndx))
        return len(self.symbols) - 1

    def segment(self, type, offset, vaddr, filesz, flags=5, memsz=None, align=4096):
        self.segments.append((type, flags, offset, vaddr, filesz, filesz if memsz is None else memsz, align))

    def rel(self, rows, addend=False):
        """Bytes of REL or RELA rows (offset, type, symbol[, addend])."""
        shift = 32 if self.wide else 8
        text = ("QQ" if self.wide else "II") + ("" if not addend else "q" if self.wide else "i")
        return b"".join(self.pack(text, row[0], row[2] << shift | row[1], *row[3:]) for row in rows)

    def note(self, name, type, desc, align=4):
        def pad(raw):
            return raw + b"\0" * (-len(raw) % align)
        return pad(self.pack("III", len(name), len(desc), type) + name) + pad(desc)

    def bytes(self, with_symtab=True, **force):
        sections = [list(row) for row in self.sections]
        if with_symtab:
            names, raw = b"\0", b""
            for name, value, size, info, other, shndx in self.symbols:
                at = len(names) if name else 0
                names += name.encode() + b"\0" if name else b""
                raw += (self.pack("IBBHQQ", at, info, other, shndx, value, size) if self.wide else
                        self.pack("IIIBBH", at, value, size, info, other, shndx))
            link = len(sections) + 1
            sections.append([".symtab", dict(type=2, data=raw, link=link, info=1, entsize=24 if self.wide else 16)])
            sections.append([".strtab", dict(type=3, data=names)])
        strings, name_at = b"\0", []
        for name in [row[0] for row in sections] + [".shstrtab"]:
            name_at.append(len(strings) if name else 0)
            strings += name.encode() + b"\0" if name else b""
        sections.append([".shstrtab", dict(type=3, data=strings)])
        ehsize, phsize, shsize = (64, 56, 64) if self.wide else (52, 32, 40)
        body, headers = b"", b""
        start = ehsize + phsize * len(self.segments)
        for (name, f), at in zip(sections, name_at):
            data = f.get("data", b"")
            body += b"\0" * (-(start + len(body)) % 8)
            offset = f.get("offset", start + len(body) if f["type"] else 0)
            headers += self.pack("IIQQQQIIQQ" if self.wide else "10I", at, f["type"], f.get("flags", 0),
                                 f.get("addr", 0), offset,
                                 f.get("size", len(data)), f.get("link", 0), f.get("info", 0), f.get("align", 1),
                                 f.get("entsize", 0))
            body += data
        shoff = start + len(body)
        h = dict(type=self.type, machine=self.machine, version=1, entry=0, phoff=ehsize if self.segments else 0,
                 shoff=shoff, flags=0,
                 ehsize=ehsize, phentsize=phsize, phnum=len(self.segments), shentsize=shsize, shnum=len(sections),
                 shstrndx=len(sections) - 1)
        h.update(force)
        ident = b"\x7fELF" + struct.pack("BBB", 2 if self.wide else 1, 1 if self.order == "<" else 2, 1) + b"\0" * 9
        head = ident + self.pack("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH", *[h[name] for name in EHDR])
        phdrs = b""
        for kind, flags, offset, vaddr, filesz, memsz, align in self.segments:
            phdrs += (self.pack("IIQQQQQQ", kind, flags, offset, vaddr, vaddr, filesz, memsz, align) if self.wide else
                      self.pack("8I", kind, offset, vaddr, vaddr, filesz, memsz, flags, align))
        return head + phdrs + body + headers
