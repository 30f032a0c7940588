"""USDT probes (statically defined tracing): the notes that <sys/sdt.h> leaves in .note.stapsdt.

Format: "User Space Probe Implementation" of the SystemTap wiki: note owner "stapsdt", type 3; three addresses (the
probe's nop, the link-time address of .stapsdt.base, the semaphore or 0), then provider, name and arguments, each ended
by a NUL.
"""
from __future__ import absolute_import

import struct

from .._py23 import near, to_text
from ..errors import FormatError, NotFoundError

__all__ = ["Usdt", "find_usdt", "read_usdt"]

NT_STAPSDT = 3


class Usdt(object):
    """One site of a probe: ``pc``, ``semaphore`` (0: none) are virtual addresses, after prelink adjustment by ``base``;
    ``pc_offset``, ``semaphore_offset`` (0: none) are file offsets; ``args``: "8@%rdi -4@$1" as written."""
    __slots__ = ("provider", "name", "pc", "base", "semaphore", "args", "pc_offset", "semaphore_offset")

    def __init__(self, provider, name, pc, base, semaphore, args, pc_offset, semaphore_offset):
        self.provider, self.name, self.pc, self.base, self.semaphore = provider, name, pc, base, semaphore
        self.args, self.pc_offset, self.semaphore_offset = args, pc_offset, semaphore_offset

    def __repr__(self):
        return "Usdt(%s:%s at 0x%x %s)" % (self.provider, self.name, self.pc, self.args)


def read_usdt(elf):
    """[Usdt] of an Elf, in file order; [] when it has no probes.  Raises FormatError."""
    section = elf.section(".note.stapsdt")
    if section is None:
        return []
    layout = struct.Struct(("<" if elf.byteorder == "little" else ">") + ("QQQ" if elf.is64 else "III"))
    mask = (1 << (64 if elf.is64 else 32)) - 1
    base, found = elf.section(".stapsdt.base"), []
    for note in elf.notes(section):
        if note.name != "stapsdt" or note.type != NT_STAPSDT:
            continue
        texts = note.desc[layout.size:].split(b"\0")
        if len(note.desc) < layout.size or len(texts) < 3:
            raise FormatError("USDT note too short", elf.path, section.name)
        pc, linked, semaphore = layout.unpack_from(note.desc)
        if base is not None and linked:  # prelink moves the code, not the note
            moved = base.addr - linked
            pc = (pc + moved) & mask
            semaphore = (semaphore + moved) & mask if semaphore else 0
        pc_offset = elf.offset_of(pc, executable=True)
        if pc_offset is None:
            text = "USDT probe %s at 0x%x lies outside the code" % (to_text(texts[1]), pc)
            raise FormatError(text, elf.path, section.name)
        semaphore_offset = elf.offset_of(semaphore) if semaphore else 0
        if semaphore_offset is None:
            raise FormatError("semaphore 0x%x lies outside the data" % semaphore, elf.path, section.name)
        found.append(Usdt(to_text(texts[0]), to_text(texts[1]), pc, base.addr if base else linked, semaphore,
                          to_text(texts[2]), pc_offset, semaphore_offset))
    return found


def find_usdt(elf, provider, name):
    """[Usdt] called ``provider:name`` ("" or "*": any provider).  Raises NotFoundError, FormatError."""
    probes = read_usdt(elf)
    found = [p for p in probes if p.name == name and provider in ("", "*", p.provider)]
    if not found:
        names = sorted({"%s:%s" % (p.provider, p.name) for p in probes})
        wanted = "%s:%s" % (provider or "*", name)
        raise NotFoundError("USDT probe", wanted, elf.path, near(wanted, names),
                            hint="there are: %s" % ", ".join(names[:12]) if names else "this file has no USDT probes")
    return found
