"""What the compiler leaves open in an object's BTF, filled in from ELF: section sizes, variable offsets, externs.

Works on the raw .BTF bytes, before a Btf is made of them, because all of it changes numbers in place.  The result is
what BPF_BTF_LOAD may be given.
Facts: Documentation/bpf/btf.rst; libbpf ``btf_fixup_datasec``, ``bpf_object__collect_externs``.
"""
from __future__ import absolute_import

import struct

from .._py23 import range, to_bytes, to_text
from ..btf.walk import SIZES
from ..errors import FormatError
from ..uapi import btf as _u
from .spec import Extern

__all__ = ["ObjectBtf", "kconfig_type"]

STV_INTERNAL, STV_HIDDEN = 1, 2  # gABI, symbol visibility


class ObjectBtf(object):
    """The .BTF section of an object under repair: ``raw`` is a bytearray, changed in place.

    ``datasecs`` {name: byte offset of the type}, ``vars``, ``funcs`` {name: (id, byte offset)} (first of that name),
    ``offsets`` [byte offset of type 1, 2 ...].
    """

    def __init__(self, data, path=None):
        self.raw, self.path = bytearray(data), path
        if len(self.raw) < 24:
            raise self._bad("BTF header is cut short")
        magic = bytes(self.raw[:2])
        self.order = "<" if magic == b"\x9f\xeb" else ">"
        if magic not in (b"\x9f\xeb", b"\xeb\x9f"):
            raise self._bad("not BTF: bad magic")
        self._words = struct.Struct(self.order + "III")
        self._u32 = struct.Struct(self.order + "I")
        header, type_off, type_len, str_off, str_len = struct.unpack_from(self.order + "5I", self.raw, 4)
        self.types_at, self.types_end = header + type_off, header + type_off + type_len
        self.strings_at, self.strings_end = header + str_off, header + str_off + str_len
        if header < 24 or max(self.types_end, self.strings_end) > len(self.raw) or type_len % 4:
            raise self._bad("BTF sections lie outside of the file")
        self.datasecs, self.vars, self.funcs, self.offsets = {}, {}, {}, []
        self._int32 = 0
        self._walk()

    def _bad(self, what, offset=None):
        return FormatError(what, self.path, ".BTF", offset)

    def _walk(self):
        raw, words, at, end = self.raw, self._words.unpack_from, self.types_at, self.types_end
        offsets, sizes = self.offsets, SIZES
        number = 0
        while at < end:
            if end - at < 12:
                raise self._bad("type %d is cut short" % (number + 1), at)
            number += 1
            offsets.append(at)
            name, info, _ = words(raw, at)
            kind = info >> 24 & 0x7F
            if kind not in sizes:
                raise self._bad("type %d has the unknown kind %d" % (number, kind), at)
            fixed, each = sizes[kind]
            here, at = at, at + 4 * (fixed + each * (info & 0xFFFFFF))
            if kind == _u.BTF_KIND_DATASEC:
                self.datasecs.setdefault(self.string(name), here)
            elif kind == _u.BTF_KIND_VAR:
                self.vars.setdefault(self.string(name), (number, here))
            elif kind == _u.BTF_KIND_FUNC:
                self.funcs.setdefault(self.string(name), (number, here))
            elif kind == _u.BTF_KIND_INT and not self._int32 and at <= end and \
                    self._u32.unpack_from(raw, here + 12)[0] & 0xFF == 32:
                self._int32 = number
        if at != end:
            raise self._bad("the last type is cut short", end)

    def string(self, offset):
        """Native text at ``offset`` of the string section."""
        start = self.strings_at + offset
        stop = self.raw.find(b"\0", start, self.strings_end) if start < self.strings_end else -1
        if stop < 0:
            raise self._bad("string at %d is outside of the string section" % offset)
        return to_text(bytes(self.raw[start:stop]))

    def secinfos(self, at):
        """[(byte offset of the row, var id, offset, size)] of the DATASEC at byte ``at``."""
        vlen = self._words.unpack_from(self.raw, at)[1] & 0xFFFFFF
        return [(row,) + self._words.unpack_from(self.raw, row) for row in range(at + 12, at + 12 + 12 * vlen, 12)]

    def type_at(self, number):
        """(kind, name, byte offset) of type ``number``."""
        if not 0 < number <= len(self.offsets):
            raise self._bad("type %d does not exist" % number)
        at = self.offsets[number - 1]
        name, info, _ = self._words.unpack_from(self.raw, at)
        return info >> 24 & 0x7F, self.string(name), at

    def _put(self, at, value):
        self._u32.pack_into(self.raw, at, value & 0xFFFFFFFF)

    # -- what ELF knows better -------------------------------------------------------------------------------------

    def fix_datasecs(self, section_size, global_symbols):
        """Fill in sizes and offsets of every DATASEC.  ``section_size(name)`` -> bytes or 0; ``global_symbols``:
        {name: Symbol} of global and weak data.  Raises FormatError where libbpf refuses the object."""
        for name, at in self.datasecs.items():
            rows = self.secinfos(at)
            if name not in (".kconfig", ".ksyms"):
                unset = self._u32.unpack_from(self.raw, at + 8)[0] == 0
                if unset:
                    size = section_size(name)
                    if not size:
                        raise self._bad("DATASEC `%s` has no section in the file" % name, at)
                    self._put(at + 8, size)
                for row, var, _, _ in rows:
                    kind, var_name, var_at = self.type_at(var)
                    if kind != _u.BTF_KIND_VAR:
                        raise self._bad("DATASEC `%s` holds type %d, which is no variable" % (name, var), row)
                    if self._u32.unpack_from(self.raw, var_at + 12)[0] != _u.BTF_VAR_GLOBAL_ALLOCATED:
                        continue
                    symbol = global_symbols.get(var_name)
                    if symbol is None:
                        raise self._bad("variable `%s` of DATASEC `%s` has no symbol" % (var_name, name), row)
                    if unset:
                        self._put(row + 4, symbol.value)
                    if symbol.visibility in (STV_HIDDEN, STV_INTERNAL):
                        self._put(var_at + 12, _u.BTF_VAR_STATIC)
            ordered = sorted((self._words.unpack_from(self.raw, row[0]) for row in rows), key=lambda info: info[1])
            for row, info in zip(rows, ordered):
                self._words.pack_into(self.raw, row[0], *info)

    def hide_functions(self, names):
        """Global functions marked ``hidden`` become static: the verifier then looks at each call with its context."""
        for name in names:
            number, at = self.funcs.get(name, (0, 0))
            if number:
                info = self._u32.unpack_from(self.raw, at + 4)[0]
                if info & 0xFFFFFF == _u.BTF_FUNC_GLOBAL:
                    self._put(at + 4, _u.BTF_KIND_FUNC << 24 | _u.BTF_FUNC_STATIC)

    # -- externs ---------------------------------------------------------------------------------------------------

    def collect_externs(self, symbols, btf):
        """[Extern] of the undefined ``symbols`` (name, weak), in libbpf's order; their DATASECs become loadable.

        ``btf``: callable giving a Btf of the unchanged bytes (asked for only with .kconfig externs)."""
        holders = {}
        for name, at in self.datasecs.items():
            for _, var, _, _ in self.secinfos(at):
                holders.setdefault(var, name)
        found, kconfig = [], []
        for name, weak in symbols:
            (number, at), want = self.vars.get(name, (None, 0)), _u.BTF_VAR_GLOBAL_EXTERN
            func_number, func_at = self.funcs.get(name, (None, 0))
            is_func = func_number is not None and (number is None or func_number < number)
            if is_func:
                number, at = func_number, func_at
                linkage, want = self._u32.unpack_from(self.raw, at + 4)[0] & 0xFFFFFF, _u.BTF_FUNC_EXTERN
            elif number is not None:
                linkage = self._u32.unpack_from(self.raw, at + 12)[0]
            if number is None or linkage != want:
                raise self._bad("extern `%s` has no BTF" % name)
            section, type_id = holders.get(number), self._u32.unpack_from(self.raw, at + 8)[0]
            if section == ".kconfig" and not is_func:
                known = btf()
                size, align = known.size_of(type_id), known.align_of(type_id)
                if not size or not align or kconfig_type(known, type_id) is None:
                    raise self._bad("extern `%s`: this type cannot hold a kernel option" % name)
                kconfig.append((-align, size, to_bytes(name), Extern(name, "kconfig", type_id, weak, 0, size)))
            elif section == ".ksyms":
                found.append((to_bytes(name), Extern(name, "kfunc" if is_func else "ksym", self._skip(type_id), weak)))
            else:
                raise self._bad("extern `%s` is in section `%s`, not .kconfig or .ksyms" % (name, section))
        offset = 0
        kconfig.sort(key=lambda row: row[:3])
        for align, size, _, extern in kconfig:
            extern.offset = -(-offset // -align) * -align
            offset = extern.offset + size
        found.sort(key=lambda row: row[0])
        externs = [row[-1] for row in kconfig] + [row[-1] for row in found]
        self._settle_externs({extern.name: extern for extern in externs}, offset)
        return externs

    def _skip(self, type_id):
        for _ in range(32):
            if not 0 < type_id <= len(self.offsets):
                return 0
            info, target = self._words.unpack_from(self.raw, self.offsets[type_id - 1])[1:]
            if info >> 24 & 0x7F not in (_u.BTF_KIND_TYPEDEF, _u.BTF_KIND_CONST, _u.BTF_KIND_VOLATILE,
                                         _u.BTF_KIND_RESTRICT, _u.BTF_KIND_TYPE_TAG):
                return type_id
            type_id = target
        raise self._bad("type %d refers to itself" % type_id)

    def _settle_externs(self, externs, kconfig_size):
        # The verifier knows no extern variables: those of .kconfig live in a map, those of .ksyms are made 4-byte ints.
        for section in (".kconfig", ".ksyms"):
            at = self.datasecs.get(section)
            if at is None:
                continue
            rows, dummy, ksyms = self.secinfos(at), 0, section == ".ksyms"
            if not any(self.type_at(row[1])[1] in externs for row in rows):
                continue
            for position, (row, var, _, _) in enumerate(rows):
                kind, name, var_at = self.type_at(var)
                if name not in externs:
                    raise self._bad("`%s` of DATASEC `%s` is not used as an extern" % (name, section), row)
                if kind == _u.BTF_KIND_FUNC:
                    if not dummy:
                        dummy = len(self.offsets) + 1
                    self._put(row, dummy)
                    self._put(var_at + 4, _u.BTF_KIND_FUNC << 24 | _u.BTF_FUNC_GLOBAL)
                elif kind == _u.BTF_KIND_VAR:
                    self._put(var_at + 12, _u.BTF_VAR_GLOBAL_ALLOCATED)
                    if ksyms:
                        self._put(var_at + 8, self._int32)
                self._put(row + 4, 4 * position if ksyms else externs[name].offset)
                if ksyms:
                    self._put(row + 8, 4)
            self._put(at + 8, 4 * len(rows) if ksyms else kconfig_size)
            if dummy:
                self._add_dummy(rows)

    def _add_dummy(self, rows):
        # A function may not be in a DATASEC: one int variable stands for all; nameless parameters get its name too.
        name = self.strings_end - self.strings_at
        for _, var, _, _ in rows:
            kind, _, at = self.type_at(var)
            if kind == _u.BTF_KIND_FUNC:
                proto = self._u32.unpack_from(self.raw, at + 8)[0]
                proto_kind, _, proto_at = self.type_at(proto)
                if proto_kind == _u.BTF_KIND_FUNC_PROTO:
                    vlen = self._u32.unpack_from(self.raw, proto_at + 4)[0] & 0xFFFFFF
                    for row in range(proto_at + 12, proto_at + 12 + 8 * vlen, 8):
                        param_name, param_type = struct.unpack_from(self.order + "II", self.raw, row)
                        if param_type and not param_name:
                            self._put(row, name)
        var = struct.pack(self.order + "4I", name, _u.BTF_KIND_VAR << 24, self._int32, _u.BTF_VAR_GLOBAL_ALLOCATED)
        text = b"dummy_ksym\0"
        header = struct.unpack_from(self.order + "I", self.raw, 4)[0]
        if header != self.types_at:
            raise self._bad("types do not follow the header: .ksyms cannot be settled")
        types = bytes(self.raw[self.types_at:self.types_end]) + var
        strings = bytes(self.raw[self.strings_at:self.strings_end]) + text
        head = bytearray(self.raw[:header])
        struct.pack_into(self.order + "4I", head, 8, 0, len(types), len(types), len(strings))
        self.offsets.append(self.types_end)
        self.raw = head + types + strings
        self.types_end = header + len(types)
        self.strings_at, self.strings_end = self.types_end, self.types_end + len(strings)


def kconfig_type(btf, type_id):
    """("bool" | "char" | "int" | "tristate" | "text", signed) of a .kconfig extern's type; None: libbpf refuses it."""
    number = btf.resolve(type_id)
    kind = btf.type(number) if number else None
    if kind is None:
        return None
    if kind.kind == _u.BTF_KIND_INT:
        signed = bool(kind.encoding & _u.BTF_INT_SIGNED)
        if kind.encoding & _u.BTF_INT_BOOL:
            return ("bool", False) if kind.size == 1 else None
        if kind.size == 1:
            return "char", signed
        return ("int", signed) if kind.size in (2, 4, 8) else None
    if kind.kind in (_u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64):
        if kind.name == "libbpf_tristate" and (kind.kind == _u.BTF_KIND_ENUM64 or kind.size == 4):
            return "tristate", False
    elif kind.kind == _u.BTF_KIND_ARRAY and kind.count:
        element = btf.type(btf.resolve(kind.type))
        if element.kind == _u.BTF_KIND_INT and element.size == 1 and not element.encoding & _u.BTF_INT_BOOL:
            return "text", False
    return None
