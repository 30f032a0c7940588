"""A compiled BPF object file -> ObjectSpec: programs, subprograms, maps, externs, relocations; no kernel is needed.

Accepts and refuses what libbpf 1.x does (src/libbpf.c: elf_collect, collect_externs, fixup_btf, init_maps,
collect_relos), and in addition the older ``maps`` section.  Damaged input gives FormatError; time and memory stay
within a small multiple of the file's size (.bss apart, which is bounded).
"""
from __future__ import absolute_import

import struct
from bisect import bisect_right

from .. import host
from .._py23 import OrderedDict
from ..btf.parse import Btf
from ..elf.reader import Elf
from ..errors import FormatError
from ..uapi import bpf as _u
from ..uapi import elf as _e
from . import mapdefs, sections
from .btf_fixup import STV_HIDDEN, STV_INTERNAL, ObjectBtf
from .spec import (CALL, FUNC_ADDR, KCONFIG, KFUNC, KSYM, MAP, MAP_VALUE, ObjectSpec, ProgramSpec, Reloc, Variable)

__all__ = ["read_object", "object_name"]

MAX_BSS = 64 << 20     # bytes of zeros that all .bss sections of an object may ask for
MAX_OVERLAP = 16       # functions may be aliases of one another, but not so that the code grows by more than this
LD_IMM64, CALL_OP = _u.BPF_LD | _u.BPF_IMM | _u.BPF_DW, _u.BPF_JMP | _u.BPF_CALL
STRUCT_OPS = (".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link")
_DATA = ((".data", "data"), (".rodata", "rodata"), (".percpu", "percpu"))


def object_name(path):
    """"opensnoop" of "tools/opensnoop.bpf.o": up to 15 characters before the first dot, as libbpf names objects."""
    return path.replace("\\", "/").rsplit("/", 1)[-1][:15].partition(".")[0]


def read_object(data, path=""):
    """ObjectSpec of the bytes (or mmap) of an ELF file.  Raises FormatError."""
    return _Reader(data, path).read()


class _Section(object):
    """An executable section while it is taken apart: its functions by offset."""

    def __init__(self, section, raw):
        self.section, self.raw, self.programs, self.starts, self.room = section, raw, [], [], MAX_OVERLAP * len(raw)

    def sort(self):
        self.programs.sort(key=lambda program: program.section_offset)
        self.starts = [program.section_offset for program in self.programs]

    def find(self, offset):
        """The program that the byte at ``offset`` belongs to, or None."""
        position = bisect_right(self.starts, offset) - 1
        if position >= 0:
            program = self.programs[position]
            if offset < program.section_offset + len(program.insns):
                return program
        return None


class _Reader(object):
    def __init__(self, data, path):
        self.path, self.name = path or None, object_name(path)
        self.elf = elf = Elf(data, self.path)
        if not elf.is64 or elf.type != _e.ET_REL or elf.machine not in (_e.EM_NONE, _e.EM_BPF):
            raise FormatError("not a BPF object file (type %d, machine %d)" % (elf.type, elf.machine), self.path)
        self.order = "<" if elf.byteorder == "little" else ">"
        self.insn = struct.Struct(self.order + "BBhi")
        tables = [section for section in elf.sections if section.type == _e.SHT_SYMTAB]
        if len(tables) != 1:
            raise FormatError("%d symbol tables; a BPF object has one (stripped?)" % len(tables), self.path)
        self.symbols = elf.symbols(tables[0])
        self.code, self.data, self.relocs = OrderedDict(), OrderedDict(), []  # index -> _Section, (section, kind)
        self.maps, self.map_at, self.data_at, self.struct_ops = OrderedDict(), {}, {}, []
        self.license, self.version, self.btf, self.ext, self.bss = b"", 0, None, None, 0
        self.btf_data = self.ext_data = self.maps_section = self.legacy = self.text = self.arena = None
        self.externs, self.btf_maps = OrderedDict(), []

    def _bad(self, what, section=None, offset=None):
        return FormatError(what, self.path, section, offset)

    def read(self):
        for section in self.elf.sections[1:]:
            self._sort_out(section)
        by_section = {}
        for symbol in self.symbols:
            by_section.setdefault(symbol.shndx, []).append(symbol)
        self.by_section = by_section
        for code in self.code.values():
            self._functions(code)
        self._btf()
        self._maps()
        for section in self.relocs:
            self._relocations(section)
        self._distribute()
        return self._spec()

    # -- sections ------------------------------------------------------------------------------------------------------

    def _sort_out(self, section):
        name, kind = section.name, section.type
        if kind == _e.SHT_STRTAB or name.startswith((".debug_", ".rel.debug_")) or name in (".rel.BTF", ".rel.BTF.ext"):
            return
        if name == "license":
            self.license = self.elf.data(section).partition(b"\0")[0][:63]
        elif name == "version":
            raw = self.elf.data(section)
            if len(raw) != 4:
                raise self._bad("a kernel version has 4 bytes, not %d" % len(raw), name)
            self.version = struct.unpack(self.order + "I", raw)[0]
        elif name == "maps":
            self.legacy = section
        elif name == ".maps":
            self.maps_section = section
        elif name in (".BTF", ".BTF.ext"):
            if kind != _e.SHT_PROGBITS:
                raise self._bad("has the wrong section type %d" % kind, name)
            if name == ".BTF":
                self.btf_data = self.elf.data(section)
            else:
                self.ext_data = self.elf.data(section)
        elif kind == _e.SHT_PROGBITS and section.size:
            self._progbits(section, name)
        elif kind == _e.SHT_REL:
            self._relocation_section(section)
        elif kind == _e.SHT_NOBITS and (name == ".bss" or name.startswith(".bss.")):
            self.bss += section.size
            if self.bss > MAX_BSS:
                raise self._bad("%d bytes of zeroed data are too many" % self.bss, name)
            if section.size:
                self.data[section.index] = (section, "bss")

    def _progbits(self, section, name):
        if section.flags & _e.SHF_EXECINSTR:
            if name == ".text":
                self.text = section.index
            self.code[section.index] = _Section(section, self.elf.data(section))
            return
        for prefix, data_kind in _DATA:
            if name == prefix or name.startswith(prefix + "."):
                self.data[section.index] = (section, data_kind)
        if name in STRUCT_OPS:
            self.struct_ops.append(section)
        elif name == ".addr_space.1":
            self.arena = section

    def _relocation_section(self, section):
        if section.entsize != 16 or section.info >= len(self.elf.sections):
            raise self._bad("relocation section is damaged", section.name)
        target = self.elf.sections[section.info]
        if target.flags & _e.SHF_EXECINSTR or target.name == ".maps" or target.name in STRUCT_OPS:
            self.relocs.append(section)

    # -- functions -----------------------------------------------------------------------------------------------------

    def _functions(self, code):
        section = code.section
        if section.name.startswith("?"):
            name, autoload = section.name[1:], False
        else:
            name, autoload = section.name, True
        is_text = section.index == self.text
        row, target = (None, "") if is_text else sections.match(name)
        for symbol in self.by_section.get(section.index, ()):
            if symbol.type != _e.STT_FUNC:
                continue
            if symbol.value + symbol.size > len(code.raw):
                raise self._bad("function `%s` leaves its section" % symbol.name, section.name, symbol.value)
            if not is_text and symbol.bind == _e.STB_LOCAL:
                raise self._bad("program `%s` is static; programs must be global" % symbol.name, section.name,
                                symbol.value)
            if not symbol.size or symbol.size % 8 or symbol.value % 8:
                raise self._bad("function `%s` is no whole number of instructions" % symbol.name, section.name,
                                symbol.value)
            code.room -= symbol.size
            if code.room < 0:
                raise self._bad("functions overlap", section.name, symbol.value)
            code.programs.append(ProgramSpec(
                symbol.name, name, row.type if row else 0, row.attach_type if row else 0, target, row,
                row.prog_flags if row else 0, bytearray(code.raw[symbol.value:symbol.value + symbol.size]),
                autoload=autoload, section_offset=symbol.value, is_global=symbol.bind != _e.STB_LOCAL))
        code.sort()

    # -- BTF -----------------------------------------------------------------------------------------------------------

    def _extern_symbols(self):
        return [symbol for symbol in self.by_section.get(_e.SHN_UNDEF, ()) if self._is_extern(symbol) and symbol.name]

    @staticmethod
    def _is_extern(symbol):
        return symbol.shndx == _e.SHN_UNDEF and symbol.type == _e.STT_NOTYPE and \
            symbol.bind in (_e.STB_GLOBAL, _e.STB_WEAK)

    def _btf(self):
        externs = self._extern_symbols()
        needed = bool(self.maps_section or self.struct_ops or externs)
        if self.btf_data is None:
            if needed:
                raise self._bad("has no BTF, which its maps or externs need (compile with -g)")
            return
        try:
            self._repair(externs)
            if self.ext_data is not None:
                from ..btf.ext import BtfExt
                self.ext = BtfExt(self.ext_data, self.btf)
        except FormatError:
            if needed:
                raise
            self.ext = None  # as libbpf: programs without line information still run

    def _repair(self, externs):
        fixer = ObjectBtf(self.btf_data, self.path)
        hidden = (STV_HIDDEN, STV_INTERNAL)
        pristine = []

        def original():
            if not pristine:
                pristine.append(Btf(self.btf_data, path=self.path))
            return pristine[0]

        weak = [(symbol.name, symbol.bind == _e.STB_WEAK) for symbol in externs]
        for extern in fixer.collect_externs(weak, original):
            self.externs[extern.name] = extern
        sizes = {}
        for section in self.elf.sections[1:]:
            sizes.setdefault(section.name, section.size)
        fixer.fix_datasecs(lambda name: sizes.get(name, 0),
                           {symbol.name: symbol for symbol in reversed(self.symbols)
                            if symbol.type == _e.STT_OBJECT and symbol.bind in (_e.STB_GLOBAL, _e.STB_WEAK)})
        if self.text is not None:
            fixer.hide_functions([symbol.name for symbol in self.by_section.get(self.text, ())
                                  if symbol.type == _e.STT_FUNC and symbol.bind != _e.STB_LOCAL
                                  and symbol.visibility in hidden])
        self.datasec_ids = {name: fixer.offsets.index(at) + 1 for name, at in fixer.datasecs.items()}
        self.btf = Btf(bytes(fixer.raw), path=self.path)

    def _datasec_id(self, name):
        return self.datasec_ids.get(name, 0) if self.btf is not None else 0

    # -- maps ----------------------------------------------------------------------------------------------------------

    def _add_map(self, spec, section=None, offset=0):
        if spec.name in self.maps:
            raise self._bad("two maps are called `%s`" % spec.name, spec.section)
        self.maps[spec.name] = spec
        if section is not None:
            self.map_at[section, offset] = spec

    def _maps(self):
        if self.legacy is not None:
            raw = self.elf.data(self.legacy)
            for offset, spec in mapdefs.legacy_maps(self.legacy, raw, self.by_section.get(self.legacy.index, ()),
                                                    self.order, self.btf, self.path):
                self._add_map(spec, self.legacy.index, offset)
        if self.maps_section is not None:
            number = self._datasec_id(".maps")
            if not number:
                raise self._bad("BTF does not describe the maps", ".maps")
            datasec = self.btf.type(number)
            found = mapdefs.btf_maps(self.btf, datasec, self.maps_section.size, self.path, host.page_size())
            for (offset, spec), (var_id, _, size) in zip(found, datasec.vars):
                self._add_map(spec, self.maps_section.index, offset)
                self.btf_maps.append((offset, size, spec, self.btf.type(self.btf.resolve(self.btf.type(var_id).type))))
        self._arena_map()
        for index in sorted(self.data):
            section, kind = self.data[index]
            data = None if kind == "bss" else self.elf.data(section)
            self._data_map(section.name, section.size if data is None else len(data), data, kind, index)
        self._kconfig_map()
        for section in self.struct_ops:
            self._struct_ops(section)

    def _data_map(self, name, size, data, kind, index):
        symbols = [symbol for symbol in self.by_section.get(index, ()) if symbol.type == _e.STT_OBJECT]
        spec = mapdefs.data_map(self.name, name, size, data, kind, self.btf, self._datasec_id(name), symbols)
        if spec.name in self.maps:  # names are cut at 15 characters: .rodata.str1.1 and .rodata.str1.16
            spec.name = name
        self._add_map(spec)
        if index is not None:
            self.data_at[index] = spec
        return spec

    def _kconfig_map(self):
        options = [extern for extern in self.externs.values() if extern.kind == "kconfig"]
        if options:
            spec = self._data_map(".kconfig", options[-1].offset + options[-1].size, None, "kconfig", None)
            spec.variables = {extern.name: Variable(extern.name, extern.offset, extern.size, extern.type_id)
                              for extern in options}

    def _arena_map(self):
        arenas = [spec for spec in self.maps.values() if spec.type == _u.BPF_MAP_TYPE_ARENA]
        if len(arenas) > 1:
            raise self._bad("map `%s`: an object may have one arena" % arenas[1].name, ".maps")
        if self.arena is not None:
            if not arenas:
                raise self._bad("arena variables without an arena map", self.arena.name)
            arenas[0].data = bytearray(self.elf.data(self.arena))
            self.data_at[self.arena.index] = arenas[0]

    def _struct_ops(self, section):
        number = self._datasec_id(section.name)
        if not number:
            raise self._bad("BTF does not describe the section", section.name)
        raw = self.elf.data(section)
        for offset, spec, definition in mapdefs.struct_ops_maps(self.btf, self.btf.type(number), section.name, raw,
                                                                self.path):
            self._add_map(spec)
            self.map_at.setdefault(("struct_ops", section.index), []).append((offset, spec, definition))

    # -- relocations ---------------------------------------------------------------------------------------------------

    def _relocations(self, section):
        target = self.elf.sections[section.info]
        count, symbols = len(self.elf.sections), self.symbols
        if target.index in self.code:
            code, handle = self.code[target.index], None
            size = len(code.raw)
        else:
            handle = self._map_reloc if target.name == ".maps" else self._struct_ops_reloc
            code, size = None, target.size
        for reloc in self.elf.relocations(section):
            if reloc.symbol >= len(symbols):
                raise self._bad("symbol %d does not exist" % reloc.symbol, section.name, reloc.offset)
            symbol = symbols[reloc.symbol]
            if symbol.shndx >= count or reloc.offset >= size:
                raise self._bad("relocation against `%s` is damaged" % symbol.name, section.name, reloc.offset)
            if handle:
                handle(target, reloc.offset, symbol)
                continue
            if code is None:
                continue
            if reloc.offset % 8:
                raise self._bad("relocation inside of an instruction", section.name, reloc.offset)
            program = code.find(reloc.offset)
            if program is not None:  # else: left over of a weak function that another one replaced
                self._program_reloc(program, (reloc.offset - program.section_offset) // 8, symbol)
        if code is not None:
            for program in code.programs:
                program.relocs.sort(key=lambda row: row.insn)

    def _program_reloc(self, program, insn, symbol):
        code, regs, _, imm = self.insn.unpack_from(program.insns, insn * 8)
        where = "program `%s`, instruction %d: " % (program.name, insn)
        if code not in (LD_IMM64, CALL_OP) or (code == LD_IMM64 and insn * 8 + 16 > len(program.insns)):
            raise self._bad(where + "opcode 0x%02x cannot refer to `%s`" % (code, symbol.name), program.section)
        add = program.relocs.append
        if self._is_extern(symbol):
            extern = self.externs.get(symbol.name)
            if extern is None:
                raise self._bad(where + "`%s` is undefined" % symbol.name, program.section)
            if code == CALL_OP:
                return add(Reloc(insn, KFUNC, extern.name))
            return add(Reloc(insn, KCONFIG if extern.kind == "kconfig" else KSYM, extern.name))
        if code == CALL_OP:
            source = regs >> 4 if self.order == "<" else regs & 15
            if source != _u.BPF_PSEUDO_CALL or symbol.shndx != self.text or self.text is None or symbol.value % 8:
                raise self._bad(where + "calls `%s`, which is no function of .text" % symbol.name, program.section)
            return add(Reloc(insn, CALL, ".text", symbol.value + (imm + 1) * 8))
        if not symbol.shndx:
            raise self._bad(where + "`%s` is undefined" % symbol.name, program.section)
        if self._is_subprogram(symbol):
            if symbol.value % 8 or imm % 8:
                raise self._bad(where + "`%s` is no start of a function" % symbol.name, program.section)
            return add(Reloc(insn, FUNC_ADDR, ".text", symbol.value + imm))
        spec = self.map_at.get((symbol.shndx, symbol.value))
        if spec is not None:
            return add(Reloc(insn, MAP, spec.name))
        spec = self.data_at.get(symbol.shndx)
        if spec is None:
            raise self._bad(where + "`%s` in section `%s` is neither map nor data" % (
                symbol.name, self.elf.sections[symbol.shndx].name), program.section)
        return add(Reloc(insn, MAP_VALUE, spec.name, symbol.value + imm))

    def _is_subprogram(self, symbol):
        if symbol.shndx != self.text:
            return False
        if symbol.bind == _e.STB_LOCAL:
            return symbol.type == _e.STT_SECTION
        return symbol.bind in (_e.STB_GLOBAL, _e.STB_WEAK) and symbol.type == _e.STT_FUNC

    def _map_reloc(self, section, offset, symbol):
        for start, size, spec, definition in self.btf_maps:
            if start <= offset and offset + 8 <= start + size:
                break
        else:
            raise self._bad("no map here for `%s`" % symbol.name, section.name, offset)
        if spec.type in mapdefs.MAP_IN_MAP:
            known = symbol.name in self.maps and symbol.shndx == self.maps_section.index
            if spec.type == _u.BPF_MAP_TYPE_HASH_OF_MAPS and spec.key_size != 4:
                raise self._bad("map `%s`: only a hash of maps with 4-byte keys can be filled" % spec.name,
                                section.name, offset)
        elif spec.type == _u.BPF_MAP_TYPE_PROG_ARRAY:
            code = self.code.get(symbol.shndx)
            program = code.find(symbol.value) if code is not None and symbol.shndx != self.text else None
            known = program is not None and program.name == symbol.name and program.section_offset == symbol.value
        else:
            known = False
        if not known or not mapdefs.fill_slots(spec, definition, size, offset - start, symbol.name):
            raise self._bad("map `%s` cannot hold `%s`" % (spec.name, symbol.name), section.name, offset)

    def _struct_ops_reloc(self, section, offset, symbol):
        for start, spec, definition in self.map_at.get(("struct_ops", section.index), ()):
            if start <= offset < start + definition.size:
                break
        else:
            raise self._bad("no struct_ops map here for `%s`" % symbol.name, section.name, offset)
        member = next((m for m in definition.members if m.bit_offset == (offset - start) * 8 and m.name), None)
        if member is None or not self._is_function_pointer(member.type):
            raise self._bad("map `%s` has no function pointer at byte %d" % (spec.name, offset - start),
                            section.name, offset)
        code = self.code.get(symbol.shndx)
        program = code.find(symbol.value) if code is not None and symbol.shndx != self.text else None
        if program is None or program.section_offset != symbol.value:
            raise self._bad("map `%s`: `%s` is no program" % (spec.name, symbol.name), section.name, offset)
        row = program.section_def
        if row is None or row.type != _u.BPF_PROG_TYPE_STRUCT_OPS:
            raise self._bad("map `%s`: program `%s` is not in a struct_ops section" % (spec.name, program.name),
                            section.name)
        spec.struct_ops_funcs[member.name] = program.name

    def _is_function_pointer(self, type_id):
        pointer = self.btf.type(self.btf.resolve(type_id))
        return hasattr(pointer, "type") and hasattr(self.btf.type(self.btf.resolve(pointer.type)), "params")

    # -- .BTF.ext ------------------------------------------------------------------------------------------------------

    def _distribute(self):
        """Rows of .BTF.ext go to the function that they are about; instruction indexes become relative to it."""
        if self.ext is None:
            return
        by_name = {}
        for code in self.code.values():
            by_name.setdefault(code.section.name, code)
        for attribute, table in (("func_info", self.ext.func_info), ("line_info", self.ext.line_info),
                                 ("core_relos", self.ext.core_relos)):
            for name, rows in table.items():
                code = by_name.get(name)
                if code is None:
                    continue
                for row in rows:
                    if row[0] % 8:
                        raise self._bad("%s of `%s` inside of an instruction" % (attribute, name), ".BTF.ext", row[0])
                    program = code.find(row[0])
                    if program is not None:
                        getattr(program, attribute).append(((row[0] - program.section_offset) // 8,) + tuple(row[1:]))

    # -- the whole -----------------------------------------------------------------------------------------------------

    def _spec(self):
        programs, subprograms = OrderedDict(), OrderedDict()
        for index in sorted(self.code):
            for program in self.code[index].programs:
                if index != self.text:
                    if program.name in programs:
                        raise self._bad("two programs are called `%s`" % program.name, program.section)
                    programs[program.name] = program
                else:  # static functions of files linked together may share a name
                    key = program.name
                    while key in subprograms:
                        key = "%s@%d" % (program.name, program.section_offset // 8 + len(subprograms))
                    subprograms[key] = program
        order = list(self.ext.core_relos) if self.ext is not None else []
        return ObjectSpec(self.path or "", self.name, self.elf.byteorder, self.maps, programs, subprograms,
                          self.externs, self.btf, self.license, self.version, order)
