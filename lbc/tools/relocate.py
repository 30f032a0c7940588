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

Exit: 0; 1 with one line on stderr if it cannot be done; 2 for wrong usage.
"""
from __future__ import absolute_import

import sys

from .. import asm
from ..bpf import core_relo, linker, reader
from ..btf.parse import open_btf
from ..elf.reader import open_elf
from ..errors import LbcError

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


def _parse(argv):
    """(object path, [BTF paths], json?, all?), or None when the usage is wrong."""
    path, btfs, json, every = None, [], False, False
    words = iter(argv)
    for word in words:
        if word == "--json":
            json = True
        elif word == "--all":
            every = True
        elif word == "--btf":
            btfs.append(next(words, None))
        elif word.startswith("--btf="):
            btfs.append(word[6:])
        elif word.startswith("-") or path is not None:
            return None
        else:
            path = word
    if path is None or not btfs or not all(btfs):
        return None
    return path, btfs, json, every


def main(argv=None):
    """Command line; -> exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if "-h" in argv or "--help" in argv:
        sys.stdout.write(__doc__)
        return 0
    asked = _parse(argv)
    if asked is None:
        sys.stderr.write("usage: relocate OBJECT.bpf.o --btf FILE [--btf FILE ...] [--json] [--all]\n")
        return 2
    path, btfs, as_json, every = asked
    try:
        spec = relocate_file(path, btfs, every)
        for name, program in spec.programs.items():
            if program.autoload:
                _print(name, program, spec.byteorder, as_json)
        sys.stdout.flush()
    except LbcError as error:
        sys.stderr.write("relocate: %s\n" % " ".join(str(error).split("\n")))
        return 1
    except (IOError, OSError) as error:  # a closed pipe, a full disk: not worth a traceback either
        import errno
        if error.errno != errno.EPIPE:
            sys.stderr.write("relocate: %s\n" % error)
        return 1
    return 0


def _print(name, program, byteorder, as_json):
    if as_json:
        import binascii
        import json
        hexa = binascii.hexlify(bytes(program.insns)).decode("ascii")
        sys.stdout.write('{"prog": %s, "insns": "%s"}\n' % (json.dumps(name), hexa))
        return
    starts = {row[0] for row in program.func_info}
    sys.stdout.write("%s (%s), %d instructions%s\n" % (
        name, program.section, len(program.insns) // 8,
        "; with " + ", ".join(program.subprograms) if program.subprograms else ""))
    subprograms = dict(zip(sorted(starts)[1:], program.subprograms))
    for line in asm.texts(bytes(program.insns), byteorder, _notes(program)):
        at = int(line.partition(":")[0])
        if at in subprograms:
            sys.stdout.write("  %s:\n" % subprograms[at])
        sys.stdout.write(line + "\n")
    sys.stdout.write("\n")


if __name__ == "__main__":
    sys.exit(main())
