"""What an object file asks for, as values: no kernel, no fd, the same on every machine.

``lbc.bpf.reader`` makes an ObjectSpec of bytes; ``linker`` and ``core_relo`` return changed copies; ``maps``,
``programs`` and ``links`` turn the parts into live things that own file descriptors.
"""
from __future__ import absolute_import

__all__ = ["ObjectSpec", "MapSpec", "ProgramSpec", "Variable", "Reloc", "Extern",
           "MAP", "MAP_VALUE", "CALL", "FUNC_ADDR", "KFUNC", "KSYM", "KCONFIG"]

# Reloc.kind: what the instruction's immediate stands for.
MAP = "map"                  # ld_imm64: fd of map `name`
MAP_VALUE = "map_value"      # ld_imm64: address of byte `offset` in the one value of map `name` (global data)
# bpf-to-bpf call to the subprogram at `offset` (bytes) of section `name`; gone after linking
CALL = "call"
FUNC_ADDR = "func_addr"      # ld_imm64: address of a subprogram (callback); after linking the immediate is relative
KFUNC = "kfunc"              # call of kernel function `name`
KSYM = "ksym"                # ld_imm64: address of kernel variable `name` (extern __ksym)
KCONFIG = "kconfig"          # ld_imm64: address of extern `name` in the .kconfig map; MAP_VALUE after linking


class _Value(object):
    """Named fields, readable repr, ``copy(field=new)``."""
    __slots__ = ()

    def copy(self, **changes):
        new = object.__new__(type(self))
        for name in self.__slots__:
            setattr(new, name, changes[name] if name in changes else getattr(self, name))
        return new

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % (n, getattr(self, n)) for n in self.__slots__))


class Variable(_Value):
    """A global variable: ``offset`` and ``size`` in bytes within its section; ``type_id`` in the object's BTF (0:
    unknown)."""
    __slots__ = ("name", "offset", "size", "type_id")

    def __init__(self, name, offset, size, type_id=0):
        self.name, self.offset, self.size, self.type_id = name, offset, size, type_id


class Reloc(_Value):
    """One instruction to patch.  ``insn``: index in the program's instructions (8 bytes each)."""
    __slots__ = ("insn", "kind", "name", "offset")

    def __init__(self, insn, kind, name, offset=0):
        self.insn, self.kind, self.name, self.offset = insn, kind, name, offset


class Extern(_Value):
    """``extern`` of .kconfig or .ksyms: ``kind`` "kconfig", "ksym" (variable) or "kfunc"; ``weak``: may be missing."""
    __slots__ = ("name", "kind", "type_id", "weak", "offset", "size")

    def __init__(self, name, kind, type_id=0, weak=False, offset=0, size=0):
        self.name, self.kind, self.type_id, self.weak, self.offset, self.size = name, kind, type_id, weak, offset, size


class MapSpec(_Value):
    """A map to create.

    type, flags              BPF_MAP_TYPE_*, BPF_F_* numbers
    key_size .. max_entries  bytes, bytes, entries (0: perf event arrays take the number of possible CPUs)
    key_type_id, value_type_id   in the object's BTF, 0 where the map has none
    pin_by_name              LIBBPF_PIN_BY_NAME was asked for
    inner                    MapSpec of the template of a map-in-map, or None
    slots                    [(index, name)]: maps or programs that fill the map before programs load
    data                     bytearray: first content of a global data section (None for other maps); change it
                             before load
    kind                     "map", or for global data "rodata" "data" "bss" "kconfig", or "struct_ops"
    section                  where it was defined (".maps", "maps", ".rodata.str" ...)
    variables                {name: Variable} of global data
    struct_ops_type          name of the kernel struct (struct_ops only); struct_ops_funcs: {member: program name}
    """
    __slots__ = ("name", "type", "key_size", "value_size", "max_entries", "flags", "extra", "numa_node", "key_type_id",
                 "value_type_id", "pin_by_name", "inner", "slots", "data", "kind", "section", "variables", "autocreate",
                 "struct_ops_type", "struct_ops_funcs", "ifindex")

    def __init__(self, name, type=0, key_size=0, value_size=0, max_entries=0, flags=0, extra=0, numa_node=None,
                 key_type_id=0, value_type_id=0, pin_by_name=False, inner=None, slots=(), data=None, kind="map",
                 section=".maps", variables=None, autocreate=True, struct_ops_type=None, struct_ops_funcs=None,
                 ifindex=0):
        self.name, self.type, self.key_size, self.value_size = name, type, key_size, value_size
        self.max_entries, self.flags, self.extra, self.numa_node = max_entries, flags, extra, numa_node
        self.key_type_id, self.value_type_id, self.pin_by_name = key_type_id, value_type_id, pin_by_name
        self.inner, self.slots, self.data, self.kind, self.section = inner, list(slots), data, kind, section
        self.variables = {} if variables is None else variables
        self.autocreate, self.struct_ops_type, self.struct_ops_funcs = autocreate, struct_ops_type, struct_ops_funcs
        self.ifindex = ifindex


class ProgramSpec(_Value):
    """A program to load.

    name, section            function name; whole section name ("kprobe/vfs_read")
    type, attach_type        BPF_PROG_TYPE_*, expected attach type (BPF_TRACE_FENTRY ...; 0: none)
    attach_to                text behind the slash ("vfs_read", "sched/sched_switch"), "" where none
    section_def              the row of SECTIONS that matched, None where no row did (type 0)
    flags                    prog_flags (sleepable, XDP frags)
    insns                    bytearray, 8 bytes an instruction, native byte order of the object
    relocs                   [Reloc]
    core_relos               [(instruction index, type_id, access string offset, kind)] as in .BTF.ext
    func_info, line_info     [(instruction index, ...)] rows as in .BTF.ext, instruction indexes of this program
    subprograms              [names] appended by the linker, in order
    autoload, autoattach     '?' sections are not loaded unless asked for
    """
    __slots__ = ("name", "section", "type", "attach_type", "attach_to", "section_def", "flags", "insns", "relocs",
                 "core_relos", "func_info", "line_info", "subprograms", "autoload", "autoattach", "section_offset",
                 "poisoned", "is_global")

    def __init__(self, name, section, type=0, attach_type=0, attach_to="", section_def=None, flags=0, insns=None,
                 relocs=(), core_relos=(), func_info=(), line_info=(), subprograms=(), autoload=True,
                 autoattach=True, section_offset=0, poisoned=None, is_global=True):
        self.name, self.section, self.type = name, section, type
        self.attach_type, self.attach_to = attach_type, attach_to
        self.section_def, self.flags = section_def, flags
        self.insns = bytearray() if insns is None else insns
        self.relocs, self.core_relos = list(relocs), list(core_relos)
        self.func_info, self.line_info, self.subprograms = list(func_info), list(line_info), list(subprograms)
        self.autoload, self.autoattach, self.section_offset = autoload, autoattach, section_offset
        self.poisoned = {} if poisoned is None else poisoned  # {insn index: text of the CO-RE relocation that failed}
        self.is_global = is_global


class ObjectSpec(_Value):
    """All of one object file.  ``maps``, ``programs``, ``subprograms``: {name: spec} in file order (OrderedDict).

    btf        lbc.btf Btf of the object, or None        license  bytes ("GPL")
    byteorder  "little" or "big"                          version  kern_version of old objects, 0
    externs    {name: Extern}                             path     for messages
    core_sections  names of sections with CO-RE relocations in the order of .BTF.ext (they are resolved in that order)

    ``btf`` is already repaired (section sizes, variable offsets, externs): its ``.raw`` may go to BPF_BTF_LOAD.
    """
    __slots__ = ("path", "name", "byteorder", "maps", "programs", "subprograms", "externs", "btf", "license", "version",
                 "core_sections")

    def __init__(self, path, name, byteorder, maps, programs, subprograms, externs, btf, license=b"", version=0,
                 core_sections=()):
        self.path, self.name, self.byteorder = path, name, byteorder
        self.maps, self.programs, self.subprograms, self.externs = maps, programs, subprograms, externs
        self.btf, self.license, self.version = btf, license, version
        self.core_sections = list(core_sections)
