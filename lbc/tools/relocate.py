"""relocate: apply the CO-RE relocations of an object file against any BTF, without loading it.

usage: python -m lbc relocate OBJECT.bpf.o --btf FILE [--btf FILE ...] [--json] [--all]

  --btf FILE   the target's types: raw BTF (/sys/kernel/btf/vmlinux) or an ELF file with a .BTF section (vmlinux, .ko);
               the first is the kernel, further ones its modules, looked at for types that the kernel does not have
  --json       one line for each program: {"prog": name, "insns": hex of the instructions, in the object's byte order}
  --all        also programs that are not loaded by themselves (SEC("?..."))

Needs no root and no kernel, on any machine, for objects of both byte orders.  The instructions are those that libbpf
hands to BPF_PROG_LOAD: subprograms appended, calls resolved, CO-RE applied.  What only a running kernel can tell stays
open: map descriptors are 0 (source register 1, or 2 with the offset in the second half), ids of kernel variables
(source register 3) and of kernel functions (a call with source register 2) are 0, addresses of untyped kernel symbols
are 0, and helpers are not replaced by those of older kernels.  A field or type that the target does not have makes
its instruction a call of helper 195896080, as libbpf does, and a note says what was missing.

Exit status 0; 1 with one line on stderr if it cannot be done; 2 for wrong usage.
"""
from __future__ import absolute_import

import sys

from .. import asm
from ..bpf import core_relo, linker, reader
from ..btf.parse import open_btf
from ..elf.reader import open_elf
from . import _cli

__all__ = ["main", "relocate_file"]


def relocate_file(path, btf_paths, every=False):
    """ObjectSpec of the object at ``path``, linked and relocated against the BTF files.  Raises LbcError."""
    from ..host import read_file
    open_elf(path).close()  # its errors name what is wrong with the path itself
    spec = reader.read_object(read_file(path), path)
    if every:
        for program in spec.programs.values():
            program.autoload = True
    base = open_btf(btf_paths[0])
    targets = [base] + [open_btf(name, base) for name in btf_paths[1:]]
    return core_relo.relocate(linker.link(spec), targets)


def _notes(program):
    """{instruction index: text}: what an instruction refers to, or why it is poisoned."""
    notes = {}
    for reloc in program.relocs:
        if reloc.kind == "map_value":
            notes[reloc.insn] = "%s + %d" % (reloc.name, reloc.offset)
        elif reloc.kind == "func_addr":
            notes[reloc.insn] = "address of a subprogram"
        else:
            notes[reloc.insn] = "%s %s" % (reloc.kind, reloc.name)
    for row in program.core_relos:
        notes.setdefault(row[0], "CO-RE")
    for insn, why in program.poisoned.items():
        notes[insn] = "missing: " + why
    return notes


def main(argv=None):
    """Exit status.  Raises LbcError (see _cli.run_main)."""
    btfs = []

    def one_more(path):
        btfs.append(path)
        return btfs
    options = _cli.parse(__doc__, argv, (("-b", "--btf", "btf", one_more, None), ("-j", "--json", "json", None, None),
                                         ("-a", "--all", "all", None, None)), positional=1)
    if not options.rest or not all(btfs) or not btfs:
        raise _cli.UsageError("give the path of a .bpf.o file and --btf FILE, the kernel that it is for")
    spec = relocate_file(options.rest[0], btfs, options.all)
    for name, program in spec.programs.items():
        if program.autoload:
            _print(name, program, spec.byteorder, options.json)
    sys.stdout.flush()
    return 0


def _print(name, program, byteorder, as_json):
    if as_json:
        import binascii
        hexa = binascii.hexlify(bytes(program.insns)).decode("ascii")
        sys.stdout.write('{"prog": %s, "insns": "%s"}\n' % (_cli.json_line(name), hexa))
        return
    starts = {row[0] for row in program.func_info}
    _cli.write_text("%s (%s), %d instructions%s" % (
        name, program.section, len(program.insns) // 8,
        "; with " + ", ".join(program.subprograms) if program.subprograms else ""))
    subprograms = dict(zip(sorted(starts)[1:], program.subprograms))
    for line in asm.texts(bytes(program.insns), byteorder, _notes(program)):
        at = int(line.partition(":")[0])
        if at in subprograms:
            _cli.write_text("  %s:" % subprograms[at])
        _cli.write_text(line)
    sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(_cli.run_main("relocate", main))
