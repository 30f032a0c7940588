"""CO-RE: ObjectSpec + target BTF -> ObjectSpec whose instructions fit that kernel.  Pure: the same on any machine.

For each relocation the candidates are the target's types of the same name without ``___flavour``; those that do not
have the path drop out, the rest must agree on the value.  An instruction whose relocation cannot be had is replaced by
a call that the verifier refuses if it is ever reached ("poisoned"); existence checks become 0 instead.
Rules: libbpf src/relo_core.c and src/libbpf.c (bpf_core_find_cands); Documentation/bpf/llvm_reloc.rst.
"""
from __future__ import absolute_import

import struct

from .._py23 import OrderedDict, range
from ..errors import FormatError, RelocError
from ..uapi import bpf as _r
from ..uapi import btf as _u
from .core_spec import match, parse, value_of
from .core_types import essential_name, types_are_compatible

__all__ = ["relocate", "types_are_compatible", "POISON"]

POISON = 195896080  # 0xbad2310, "bad relo": libbpf's helper number for an unresolved relocation
_SIZES = {_r.BPF_DW: 8, _r.BPF_W: 4, _r.BPF_H: 2, _r.BPF_B: 1}
_SIZE_CODES = {8: _r.BPF_DW, 4: _r.BPF_W, 2: _r.BPF_H, 1: _r.BPF_B}
_LD_IMM64, _CALL = _r.BPF_LD | _r.BPF_IMM | _r.BPF_DW, _r.BPF_JMP | _r.BPF_CALL
_M64 = 0xFFFFFFFFFFFFFFFF
_ENUMS = (_u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64)
_LONGS = ("long unsigned int", "long int", "unsigned long", "long", "unsigned long int", "int long", "long unsigned")


def relocate(spec, targets):
    """A copy of ``spec`` (linked or not) with every CO-RE relocation of its autoload programs applied.

    ``targets``: [Btf of vmlinux, then Btfs of modules or callables giving a list of them]; modules are looked at only
    for types that vmlinux does not have.  Poisoned instructions are listed in ``ProgramSpec.poisoned``.
    Raises RelocError (ambiguous, or not what the compiler emitted), FormatError (damaged BTF).
    """
    return _Relocator(spec, targets).relocate()


class _Result(object):
    __slots__ = ("old", "new", "resize_wrong", "path", "target")

    def __init__(self, old, new, resize_wrong, path, target):
        self.old, self.new, self.resize_wrong, self.path, self.target = old, new, resize_wrong, path, target


class _Relocator(object):
    def __init__(self, spec, targets):
        if not targets:
            raise RelocError("no target BTF to relocate `%s` against" % spec.name)
        self.spec, self.btf = spec, spec.btf
        self.vmlinux, self.modules = targets[0], list(targets[1:])
        self.big = spec.byteorder == "big"
        order = ">" if self.big else "<"
        self.insn = struct.Struct(order + "BBhi")
        self.candidates, self.results, self.local_paths = {}, {}, {}
        self.opened = None

    def relocate(self):
        spec = self.spec
        if self.btf is None or not self._any():
            return spec
        pointer_size(self.vmlinux)
        programs, subprograms = OrderedDict(spec.programs), OrderedDict(spec.subprograms)
        # Candidates that fail one relocation are out for all later ones of that type, so the order has to be libbpf's.
        by_section = {}
        for table in (programs, subprograms):
            for key, program in table.items():
                if program.autoload and program.core_relos:
                    by_section.setdefault(program.section, []).append((program.section_offset, key, table))
        order = [name.lstrip("?") for name in spec.core_sections]
        for section in sorted(by_section, key=lambda name: order.index(name) if name in order else len(order)):
            for _, key, table in sorted(by_section[section], key=lambda row: row[:2]):
                table[key] = self._program(table[key])
        return spec.copy(programs=programs, subprograms=subprograms)

    def _any(self):
        return any(program.core_relos for table in (self.spec.programs, self.spec.subprograms)
                   for program in table.values() if program.autoload)

    def _program(self, program):
        new = program.copy(insns=bytearray(program.insns), poisoned=dict(program.poisoned))
        for row in program.core_relos:
            insn, type_id, access, kind = row
            key = type_id, access, kind
            try:
                result = self.results.get(key)
                if result is None:
                    result = self.results[key] = self._resolve(type_id, self.btf.name_at(access), kind)
                self._patch(new, insn, result)
            except RelocError as error:
                if error.program is None:
                    raise RelocError(error.what, program.name, insn, error.spec, error.candidates, error.hint)
                raise
        return new

    # -- resolving -----------------------------------------------------------------------------------------------------

    def _resolve(self, type_id, access, kind):
        local = parse(self.btf, type_id, access, kind)
        if kind == _r.BPF_CORE_TYPE_ID_LOCAL:
            value = value_of(_r.BPF_CORE_TYPE_ID_TARGET, local, self.big)  # may have changed in linking: not checked
            return _Result(value, value, False, local, local)
        candidates = self._candidates(type_id)
        old = value_of(kind, local, self.big)
        kept, chosen = [], None
        for btf, number in candidates:
            path = match(local, btf, number)
            if path is None:
                continue
            result = self._result(kind, local, old, path)
            if chosen is None:
                chosen = result
            elif path.bit_offset != chosen.target.bit_offset:
                raise RelocError("ambiguous: `%s` and `%s` have it at bits %d and %d" % (
                    self._label(chosen.target), self._label(path), chosen.target.bit_offset, path.bit_offset),
                    spec=local.text(), candidates=[chosen.target.text(), path.text()])
            elif (result.new.poison, result.new.value) != (chosen.new.poison, chosen.new.value):
                raise RelocError("ambiguous: `%s` gives %d, `%s` gives %d" % (
                    self._label(chosen.target), chosen.new.value, self._label(path), result.new.value),
                    spec=local.text(), candidates=[chosen.target.text(), path.text()])
            kept.append((btf, number))
        if chosen is None:
            return self._result(kind, local, old, None)
        candidates[:] = kept
        return chosen

    @staticmethod
    def _label(path):
        return "%s [%d]" % (path.btf.type(path.root).name, path.root)

    def _result(self, kind, local, old, path):
        new = value_of(kind, path, self.big)
        wrong = False
        if old.size != new.size and not new.poison:
            # Reading a 32-bit pointer, or an unsigned integer of another width, zero-extends to the right value.
            mine, theirs = self.btf.type(old.type_id), path.btf.type(new.type_id)
            wrong = not (mine.kind == theirs.kind == _u.BTF_KIND_PTR or (
                mine.kind == theirs.kind == _u.BTF_KIND_INT and mine.encoding != _u.BTF_INT_SIGNED
                and theirs.encoding != _u.BTF_INT_SIGNED))
        return _Result(old, new, wrong, local, path)

    def _candidates(self, type_id):
        """[(Btf, id)] of the target types that may stand for the local type; a list shared by all its relocations."""
        found = self.candidates.get(type_id)
        if found is None:
            local = self.btf.type(type_id)
            name = essential_name(local.name)
            if not name or not type_id:
                raise RelocError("type [%d] has no name, so it cannot be looked up in the target" % type_id)
            kinds = _ENUMS if local.kind in _ENUMS else (local.kind,)
            found = [(self.vmlinux, number) for number in self.vmlinux.find_essential(name, kinds)]
            if not found:
                for module in self._modules():
                    found += [(module, number) for number in module.find_essential(name, kinds)
                              if number >= module.start_id]
            self.candidates[type_id] = found
        return found

    def _modules(self):
        if self.opened is None:
            self.opened = []
            for module in self.modules:
                self.opened += list(module()) if callable(module) else [module]
            for module in self.opened:
                module.pointer_size = self.vmlinux.pointer_size
        return self.opened

    # -- patching ------------------------------------------------------------------------------------------------------

    def _patch(self, program, index, result):
        insns, at = program.insns, index * 8
        if at + 8 > len(insns):
            raise RelocError("relocates an instruction behind the end", program.name, index)
        code, regs, off, imm = self.insn.unpack_from(insns, at)
        kind, value = code & 7, result.new.value
        wide = code == _LD_IMM64
        if wide and at + 16 > len(insns):
            raise RelocError("64-bit load without its second half", program.name, index)
        if result.new.poison:
            return self._poison(program, index, wide, result)
        if kind in (_r.BPF_ALU, _r.BPF_ALU64):
            if code & 8 != _r.BPF_K:
                raise self._unexpected(program, index, result, "has no immediate")
            self._check(program, index, result, imm)
            imm = value
        elif kind in (_r.BPF_LDX, _r.BPF_ST, _r.BPF_STX):
            self._check(program, index, result, off)
            if value > 0x7FFF:
                raise self._unexpected(program, index, result, "cannot reach offset %d" % value)
            if result.resize_wrong:
                return self._poison(program, index, False, result)
            off = value
            if result.new.size != result.old.size:
                if _SIZES.get(code & 0x18) != result.old.size or result.new.size not in _SIZE_CODES:
                    raise self._unexpected(program, index, result, "cannot be resized from %d to %d bytes" % (
                        result.old.size, result.new.size))
                code = code & 0xE7 | _SIZE_CODES[result.new.size]
        elif wide:
            second = self.insn.unpack_from(insns, at + 8)
            source = regs & 15 if self.big else regs >> 4
            if source or off or second[:3] != (0, 0, 0):
                raise self._unexpected(program, index, result, "is no plain 64-bit load")
            self._check(program, index, result, (imm & 0xFFFFFFFF) | (second[3] & 0xFFFFFFFF) << 32)
            imm = value
            self.insn.pack_into(insns, at + 8, 0, 0, 0, _signed32(value >> 32))
        else:
            raise self._unexpected(program, index, result, "cannot be relocated")
        self.insn.pack_into(insns, at, code, regs, off, _signed32(imm))

    def _check(self, program, index, result, found):
        if result.old.checked and found & _M64 != result.old.value & _M64:
            raise self._unexpected(program, index, result, "holds %d where the compiler should have put %d" % (
                found, result.old.value))

    @staticmethod
    def _unexpected(program, index, result, why):
        return RelocError("CO-RE relocation %s: the instruction %s" % (result.path.text(), why), program.name, index,
                          result.path.text(), [result.target.text()] if result.target is not None else ())

    def _poison(self, program, index, wide, result):
        text = result.path.text()
        if result.target is not None:
            text += ": found, but its size differs in a way that a load cannot bridge"
        for position in (index, index + 1) if wide else (index,):
            self.insn.pack_into(program.insns, position * 8, _CALL, 0, 0, POISON)
            program.poisoned[position] = text


def _signed32(value):
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def pointer_size(btf):
    """Bytes of a pointer in ``btf``, told by its ``long``; sets ``btf.pointer_size`` (8 where there is no such)."""
    for number in _first_longs(btf):
        size = btf.type(number).size
        if size in (4, 8):
            btf.pointer_size = size
            return size
    return btf.pointer_size


def _first_longs(btf):
    # The base types come first in every BTF seen so far; a search by name costs 15 ms, as the names' offsets are small
    # numbers that occur everywhere.
    # Nor is btf.count asked: it would walk over all types.
    try:
        for number in range(1, 64):
            if btf.kind_of(number) == _u.BTF_KIND_INT and btf.type(number).name in _LONGS:
                yield number
    except FormatError:
        return  # fewer types than that
    for name in _LONGS:
        for number in btf.find(name, (_u.BTF_KIND_INT,)):
            yield number
