"""ObjectSpec -> ObjectSpec: every program gets the subprograms it uses appended, calls and callback addresses resolved.

Order and arithmetic are libbpf's (bpf_object__reloc_code): a subprogram is appended when the first call to it is met,
and its own calls are followed before the caller goes on.  Afterwards ld_imm64 instructions carry their pseudo source
register (map 1, map value 2, BTF id 3, function 4); map fds and kernel ids are 0 until the loader knows them.
"""
from __future__ import absolute_import

import struct
from bisect import bisect_right

from .._py23 import OrderedDict, range
from ..errors import FormatError, RelocError
from ..uapi import bpf as _u
from ..uapi import btf as _b
from .spec import CALL, FUNC_ADDR, KCONFIG, KFUNC, KSYM, MAP, MAP_VALUE, Reloc

__all__ = ["link"]

MAX_INSNS = 1000000      # BPF_PROG_LOAD takes no more (kernel/bpf/syscall.c, BPF_COMPLEXITY_LIMIT_INSNS)
MAX_TOTAL = 16000000     # instructions of all linked programs: hostile objects only
_CALL, _LD_IMM64 = _u.BPF_JMP | _u.BPF_CALL, _u.BPF_LD | _u.BPF_IMM | _u.BPF_DW
_CALLBACK_TAG = "exception_callback:"


def link(spec):
    """A copy of ``spec`` with every autoload program whole.  Raises RelocError or FormatError.

    Programs that are not to be loaded stay as they were read, as libbpf leaves them.
    """
    return _Linker(spec).link()


class _Linker(object):
    def __init__(self, spec):
        self.spec = spec
        self.order = "<" if spec.byteorder == "little" else ">"
        self.insn = struct.Struct(self.order + "BBhi")
        self.imm = struct.Struct(self.order + "i")
        self.functions = sorted(spec.subprograms.values(), key=lambda sub: sub.section_offset)
        self.starts = [sub.section_offset for sub in self.functions]
        self.kconfig = next((m.name for m in spec.maps.values() if m.kind == "kconfig"), None)
        self.calls = {}
        self.total = 0

    def link(self):
        programs = OrderedDict()
        callbacks = self._exception_callbacks()
        for name, program in self.spec.programs.items():
            if program.autoload:
                program = self._link(program, callbacks.get(program.name))
                self.total += len(program.insns) // 8
                if self.total > MAX_TOTAL:
                    raise FormatError("linked programs are larger than %d instructions" % MAX_TOTAL, self.spec.path)
            programs[name] = program
        return self.spec.copy(programs=programs)

    def _find(self, offset):
        """The subprogram that the byte ``offset`` of .text belongs to, or None."""
        position = bisect_right(self.starts, offset) - 1
        if position >= 0:
            found = self.functions[position]
            if 0 <= offset < found.section_offset + len(found.insns):
                return found
        return None

    def _sites(self, program):
        """[(instruction, kind, byte offset in .text of the callee)] of calls and callback addresses; cached."""
        found = self.calls.get(id(program))
        if found is not None:
            return found
        found = []
        relocs = {reloc.insn: reloc for reloc in program.relocs}
        insns, unpack, low = program.insns, self.insn.unpack_from, self.order == "<"
        position, pseudo = 0, 0
        opcodes = bytes(insns[::8])
        call = struct.pack("B", _CALL)
        while True:
            position = opcodes.find(call, position)
            if position < 0:
                break
            _, regs, off, imm = unpack(insns, position * 8)
            source, target = (regs >> 4, regs & 15) if low else (regs & 15, regs >> 4)
            if source == _u.BPF_PSEUDO_CALL and not target and not off:
                reloc = relocs.get(position)
                if reloc is None:
                    found.append((position, CALL, program.section_offset + (position + imm + 1) * 8))
                elif reloc.kind == CALL:
                    found.append((position, CALL, reloc.offset))
                elif reloc.kind != KFUNC:
                    raise RelocError("a %s relocation cannot stand on a call" % reloc.kind, program.name, position)
            position += 1
        for reloc in program.relocs:
            if reloc.kind == FUNC_ADDR:
                pseudo += 1
                found.append((reloc.insn, FUNC_ADDR, reloc.offset))
        if pseudo:
            found.sort()
        self.calls[id(program)] = found
        return found

    def _link(self, program, callback):
        linked = program.copy(insns=bytearray(program.insns), relocs=[], core_relos=[], func_info=[], line_info=[],
                              subprograms=[])
        placed = {}  # id(subprogram) -> instruction index in `linked`
        infos = {"func_info": True, "line_info": True}
        self._append(linked, program, program, 0, infos)
        stack = [(program, 0, iter(self._sites(program)))]
        patches = []
        while stack or callback is not None:
            if not stack:  # the exception callback goes last, unless something already brought it in
                function, callback = callback, None
                if id(function) in placed:
                    continue
                stack.append(self._place(linked, program, function, placed, infos))
                continue
            current, base, sites = stack[-1]
            for insn, kind, offset in sites:
                function = self._find(offset)
                if function is None:
                    raise RelocError("calls byte %d of .text, where no function is" % offset, program.name, base + insn,
                                     hint="functions that BPF programs call must be in section .text")
                if id(function) not in placed:
                    stack.append(self._place(linked, program, function, placed, infos))
                    patches.append((base + insn, placed[id(function)], kind))
                    break
                patches.append((base + insn, placed[id(function)], kind))
            else:
                stack.pop()
        for insn, target, kind in patches:
            self.imm.pack_into(linked.insns, insn * 8 + 4, target - insn - 1)
            if kind == FUNC_ADDR:
                self._source(linked.insns, insn, _u.BPF_PSEUDO_FUNC)
        self._settle(linked)
        return linked

    def _place(self, linked, program, function, placed, infos):
        base = len(linked.insns) // 8
        if base + len(function.insns) // 8 > MAX_INSNS:
            raise RelocError("longer than %d instructions" % MAX_INSNS, program.name)
        placed[id(function)] = base
        linked.insns += function.insns
        linked.subprograms.append(function.name)
        self._append(linked, program, function, base, infos)
        return function, base, iter(self._sites(function))

    @staticmethod
    def _append(linked, program, part, base, infos):
        """Relocations and .BTF.ext rows of ``part``, which now begins at instruction ``base``."""
        for reloc in part.relocs:
            if reloc.kind != CALL:
                linked.relocs.append(Reloc(reloc.insn + base, reloc.kind, reloc.name, reloc.offset))
        linked.core_relos += [(row[0] + base,) + row[1:] for row in part.core_relos] if base else part.core_relos
        for name in ("func_info", "line_info"):
            if not infos[name]:
                continue
            rows = getattr(part, name)
            if rows:
                getattr(linked, name).extend([(row[0] + base,) + row[1:] for row in rows] if base else rows)
            elif part is program:
                infos[name] = False  # the kernel takes all of it or none
            else:
                raise RelocError("function `%s` has no %s in .BTF.ext, its caller has" % (part.name, name),
                                 program.name)

    def _source(self, insns, insn, value):
        at = insn * 8 + 1
        if self.order == "<":
            insns[at] = insns[at] & 0x0F | value << 4
        else:
            insns[at] = insns[at] & 0xF0 | value

    def _settle(self, linked):
        """Pseudo source registers and offsets of what refers to maps and externs; ids stay 0."""
        insns, put = linked.insns, self.imm.pack_into
        externs = self.spec.externs
        for reloc in linked.relocs:
            at, kind = reloc.insn * 8, reloc.kind
            if kind == MAP:
                self._source(insns, reloc.insn, _u.BPF_PSEUDO_MAP_FD)
                put(insns, at + 4, 0)
            elif kind in (MAP_VALUE, KCONFIG):
                if kind == KCONFIG:
                    reloc.kind, reloc.offset, reloc.name = MAP_VALUE, externs[reloc.name].offset, self.kconfig
                self._source(insns, reloc.insn, _u.BPF_PSEUDO_MAP_VALUE)
                put(insns, at + 4, 0)
                put(insns, at + 12, _signed(reloc.offset))
            elif kind == KSYM:
                self._source(insns, reloc.insn, _u.BPF_PSEUDO_BTF_ID if externs[reloc.name].type_id else 0)
                put(insns, at + 4, 0)
                put(insns, at + 12, 0)
            elif kind == KFUNC:
                self._source(insns, reloc.insn, _u.BPF_PSEUDO_KFUNC_CALL)
                put(insns, at + 4, 0)
        linked.relocs.sort(key=lambda reloc: reloc.insn)

    # -- exception callbacks (__exception_cb, Linux 6.7) ---------------------------------------------------------------

    def _exception_callbacks(self):
        """{program name: subprogram} from the declaration tags "exception_callback:<name>" of programs."""
        btf, found = self.spec.btf, {}
        if btf is None or _CALLBACK_TAG.encode() not in bytes(btf.raw):
            return found
        for number in range(1, btf.count):
            tag = btf.type(number)
            if tag.kind != _b.BTF_KIND_DECL_TAG or not tag.name.startswith(_CALLBACK_TAG) or tag.component != -1:
                continue
            func, name = btf.type(tag.type), tag.name[len(_CALLBACK_TAG):]
            if func.kind != _b.BTF_KIND_FUNC or func.linkage != _b.BTF_FUNC_GLOBAL:
                raise RelocError("exception callback `%s` is not tied to a program" % name)
            if func.name in found:
                found[func.name] = None  # two of them: the verifier refuses it, nothing is appended
                continue
            matching = [sub for sub in self.functions if sub.name == name]
            if len(matching) != 1 or not matching[0].is_global:
                raise RelocError("exception callback `%s` is no global function" % name, func.name)
            found[func.name] = matching[0]
        return found


def _signed(value):
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000
