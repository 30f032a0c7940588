"""Map definitions of an object file -> MapSpec: BTF ``.maps``, the older ``maps`` section, global data, struct_ops.

In a ``.maps`` variable every attribute is a member: numbers are the length of an array that the member points to, key
and value are pointers to the types, ``values`` is a flexible array (Documentation/bpf/libbpf, bpf_helpers.h ``__uint``,
``__type``, ``__array``, ``__ulong``).
"""
from __future__ import absolute_import

import struct

from ..errors import FormatError
from ..uapi import bpf as _u
from ..uapi import btf as _b
from ..uapi import elf as _e
from .spec import MapSpec, Variable

__all__ = ["btf_maps", "legacy_maps", "data_map", "struct_ops_maps", "internal_name", "MAP_IN_MAP"]

MAP_IN_MAP = (_u.BPF_MAP_TYPE_ARRAY_OF_MAPS, _u.BPF_MAP_TYPE_HASH_OF_MAPS)
_RINGS = (_u.BPF_MAP_TYPE_RINGBUF, _u.BPF_MAP_TYPE_USER_RINGBUF)
_OUTPUTS = _RINGS + (_u.BPF_MAP_TYPE_PERF_EVENT_ARRAY,)     # the kernel wants no value type of them
OBJECT_NAME_SPACE = _u.BPF_OBJ_NAME_LEN  # 16 with the NUL, so 15 characters
_NUMBERS = {"type": "type", "max_entries": "max_entries", "map_flags": "flags", "numa_node": "numa_node"}


def btf_maps(btf, datasec, size, path=None, page_size=4096):
    """[(offset in .maps, MapSpec)] of the DATASEC ``datasec`` (a kinds.Datasec); ``size``: bytes of the section."""
    found = []
    for var_id, offset, var_size in datasec.vars:
        var = btf.type(var_id)
        where = "map `%s`" % var.name
        if var.kind != _b.BTF_KIND_VAR or not var.name:
            raise FormatError("map without a name or a variable", path, ".maps", offset)
        if offset + var_size > size:
            raise FormatError("%s lies outside of its section" % where, path, ".maps", offset)
        if var.linkage != _b.BTF_VAR_GLOBAL_ALLOCATED:
            raise FormatError("%s is static, extern or hidden; maps must be global" % where, path, ".maps", offset)
        definition = btf.type(btf.resolve(var.type))
        if definition.kind != _b.BTF_KIND_STRUCT or definition.size > var_size:
            raise FormatError("%s is no struct of %d bytes" % (where, var_size), path, ".maps", offset)
        found.append((offset, _Definition(btf, var.name, path, page_size).read(definition)))
    return found


class _Definition(object):
    """One map definition being read; every refusal is libbpf's (strict mode)."""

    def __init__(self, btf, name, path, page_size, inner=False):
        self.btf, self.name, self.path, self.page_size, self.inner = btf, name, path, page_size, inner

    def _bad(self, what):
        return FormatError("map `%s`: %s" % (self.name, what), self.path, ".maps")

    def read(self, definition):
        spec = MapSpec(self.name)
        sizes = {"key": 0, "value": 0}
        members = definition.members
        for position, member in enumerate(members):
            name = member.name
            if name in _NUMBERS:
                setattr(spec, _NUMBERS[name], self._number(member))
            elif name in ("key_size", "value_size"):
                self._size(sizes, name[:-5], self._number(member))
            elif name in ("key", "value"):
                target = self.btf.type(member.type)
                if target.kind != _b.BTF_KIND_PTR:
                    raise self._bad("`%s` must be a pointer to the type" % name)
                self._size(sizes, name, self.btf.size_of(target.type))
                setattr(spec, name + "_type_id", target.type)
            elif name == "values":
                if position != len(members) - 1:
                    raise self._bad("`values` must be the last member")
                self._size(sizes, "value", 4)
                self._values(spec, member)
            elif name == "pinning":
                value = self._number(member)
                if self.inner or value not in (0, 1):  # LIBBPF_PIN_NONE, LIBBPF_PIN_BY_NAME
                    raise self._bad("pinning %d is not possible here" % value)
                spec.pin_by_name = value == 1
            elif name == "map_extra":
                spec.extra = self._long(member)
            else:
                raise self._bad("unknown member `%s`" % name)
        if not spec.type:
            raise self._bad("has no type")
        spec.key_size, spec.value_size = sizes["key"], sizes["value"]
        if spec.type in _OUTPUTS and not spec.value_type_id:
            spec.value_type_id = self._record(members)
        if spec.type in _RINGS:
            spec.max_entries = ring_size(spec.max_entries, self.page_size)
        return spec

    def _size(self, sizes, which, size):
        if sizes[which] and sizes[which] != size:
            raise self._bad("two %s sizes, %d and %d" % (which, sizes[which], size))
        sizes[which] = size

    def _number(self, member):
        pointer = self.btf.type(self.btf.resolve(member.type))
        array = self.btf.type(pointer.type) if pointer.kind == _b.BTF_KIND_PTR else pointer
        if pointer.kind != _b.BTF_KIND_PTR or array.kind != _b.BTF_KIND_ARRAY:
            raise self._bad("`%s` must be given with __uint()" % member.name)
        return array.count

    def _record(self, members):
        """Type of a buffer's records: lbc.h counts max_entries in `const CELL`s; __uint() in ints.  0: not told."""
        for member in members:
            if member.name == "max_entries":
                array = self.btf.type(self.btf.type(self.btf.resolve(member.type)).type)
                element = self.btf.type(array.type)
                return element.type if element.kind == _b.BTF_KIND_CONST else 0
        return 0

    def _long(self, member):
        kind = self.btf.type(self.btf.resolve(member.type))
        if kind.kind == _b.BTF_KIND_PTR:
            return self._number(member)
        if kind.kind not in (_b.BTF_KIND_ENUM, _b.BTF_KIND_ENUM64) or len(kind.values) != 1:
            raise self._bad("`%s` must be given with __ulong()" % member.name)
        return kind.values[0][1] & 0xFFFFFFFFFFFFFFFF

    def _values(self, spec, member):
        programs = spec.type == _u.BPF_MAP_TYPE_PROG_ARRAY
        if self.inner:
            raise self._bad("a map in a map in a map is not possible")
        if not programs and spec.type not in MAP_IN_MAP:
            raise self._bad("`values` belong to maps of maps and to program arrays")
        array = self.btf.type(member.type)
        pointer = self.btf.type(self.btf.resolve(array.type)) if array.kind == _b.BTF_KIND_ARRAY else array
        if array.kind != _b.BTF_KIND_ARRAY or array.count or pointer.kind != _b.BTF_KIND_PTR:
            raise self._bad("`values` must be an array [] of pointers")
        target = self.btf.type(self.btf.resolve(pointer.type))
        if target.kind != (_b.BTF_KIND_FUNC_PROTO if programs else _b.BTF_KIND_STRUCT):
            raise self._bad("`values` points to %s" % _b.KIND_NAMES.get(target.kind, "an unknown kind"))
        if not programs:
            spec.inner = _Definition(self.btf, self.name + ".inner", self.path, self.page_size, True).read(target)


def ring_size(size, page_size):
    """A ring buffer holds a power-of-two number of pages: the next one that is not smaller than ``size`` bytes."""
    pages = size // page_size
    if size == 0 or (size % page_size == 0 and pages & (pages - 1) == 0):
        return size
    rounded = page_size
    while rounded <= size:
        rounded <<= 1
    return rounded if rounded <= 0xFFFFFFFF else size


def legacy_maps(section, raw, symbols, order, btf=None, path=None):
    """[(offset, MapSpec)] of a ``maps`` section: a struct bpf_map_def, or a larger one, per symbol (libbpf < 1.0)."""
    named = [symbol for symbol in symbols if symbol.shndx == section.index and symbol.type != _e.STT_SECTION]
    if not named or not raw:
        return []
    size, rest = divmod(len(raw), len(named))
    if rest or size < 4:
        raise FormatError("%d bytes for %d maps" % (len(raw), len(named)), path, section.name)
    found = []
    for symbol in sorted(named, key=lambda symbol: symbol.value):
        if not symbol.name or symbol.value + size > len(raw):
            raise FormatError("map `%s` lies outside of its section" % symbol.name, path, section.name, symbol.value)
        row = raw[symbol.value:symbol.value + size]
        if row[20:].strip(b"\0"):
            raise FormatError("map `%s` uses options beyond struct bpf_map_def" % symbol.name, path, section.name,
                              symbol.value)
        type_, key_size, value_size, entries, flags = struct.unpack(order + "5I", row[:20].ljust(20, b"\0"))
        spec = MapSpec(symbol.name, type_, key_size, value_size, entries, flags, section=section.name)
        if btf is not None:
            _annotate(spec, btf)
        found.append((symbol.value, spec))
    return found


def _annotate(spec, btf):
    """Key and value types of BPF_ANNOTATE_KV_PAIR (struct ____btf_map_<name> with members key and value)."""
    for number in btf.find("____btf_map_" + spec.name, (_b.BTF_KIND_STRUCT,)):
        members = {member.name: member.type for member in btf.type(number).members}
        if set(members) != {"key", "value"}:
            continue
        if spec.type in _OUTPUTS:   # the value is a record, not the descriptor that the kernel keeps
            spec.value_type_id = members["value"]
        elif btf.size_of(members["key"]) == spec.key_size and btf.size_of(members["value"]) == spec.value_size:
            spec.key_type_id, spec.value_type_id = members["key"], members["value"]


def internal_name(object_name, section):
    """Name of the map of a data section: "my_objec.rodata", ".data.custom"; what the kernel and bpftool show."""
    suffix = min(max(7, len(section)), OBJECT_NAME_SPACE - 1)
    prefix = "" if "." in section[1:] or section.startswith(".percpu") else \
        object_name[:OBJECT_NAME_SPACE - 1][:OBJECT_NAME_SPACE - 1 - suffix]
    return "".join(c if c.isalnum() and ord(c) < 128 or c in "_." else "_" for c in prefix + section[:suffix])


def data_map(object_name, section, size, data, kind, btf, datasec_id, symbols):
    """MapSpec of a global data section: one value that holds it all.  ``symbols``: data symbols of the section."""
    variables, mmapable = {}, False
    flags = _u.BPF_F_RDONLY_PROG if kind in ("rodata", "kconfig") else 0
    if datasec_id:
        for var_id, offset, var_size in btf.type(datasec_id).vars:
            var = btf.type(var_id)
            if var.kind == _b.BTF_KIND_VAR and offset + var_size <= size:
                variables[var.name] = Variable(var.name, offset, var_size, var.type)
                mmapable = mmapable or var.linkage != _b.BTF_VAR_STATIC
    for symbol in symbols:
        if symbol.name and symbol.name not in variables and symbol.value + symbol.size <= size:
            variables[symbol.name] = Variable(symbol.name, symbol.value, symbol.size)
    percpu = kind == "percpu"
    return MapSpec(internal_name(object_name, section),
                   _u.BPF_MAP_TYPE_PERCPU_ARRAY if percpu else _u.BPF_MAP_TYPE_ARRAY, 4, size, 1,
                   flags | (_u.BPF_F_MMAPABLE if mmapable and not percpu else 0), value_type_id=datasec_id,
                   data=bytearray(size) if data is None else bytearray(data), kind=kind, section=section,
                   variables=variables)


def struct_ops_maps(btf, datasec, section, raw, path=None):
    """[(offset, MapSpec, kinds.Struct)] of a .struct_ops section; functions are filled in from its relocations."""
    autocreate, plain = not section.startswith("?"), section.lstrip("?")
    found, room = [], len(raw)
    for var_id, offset, _ in datasec.vars:
        var = btf.type(var_id)
        number = btf.resolve(var.type) if var.kind == _b.BTF_KIND_VAR else 0
        definition = btf.type(number)
        if not number or definition.kind != _b.BTF_KIND_STRUCT or not definition.name:
            raise FormatError("struct_ops variable `%s` is no named struct" % var.name, path, section, offset)
        room -= definition.size
        if offset + definition.size > len(raw) or room < 0:
            raise FormatError("struct_ops variable `%s` does not fit its section" % var.name, path, section, offset)
        found.append((offset, MapSpec(var.name, _u.BPF_MAP_TYPE_STRUCT_OPS, 4, definition.size, 1,
                                      _u.BPF_F_LINK if plain == ".struct_ops.link" else 0, value_type_id=number,
                                      data=bytearray(raw[offset:offset + definition.size]), kind="struct_ops",
                                      section=plain, autocreate=autocreate, struct_ops_type=definition.name,
                                      struct_ops_funcs={}), definition))
    return found


def fill_slots(spec, definition, var_size, offset, target):
    """Record that the ``values`` entry at byte ``offset`` of the variable is map or program ``target``; -> bool."""
    member = definition.members[-1] if definition.members else None
    if member is None or member.name != "values" or offset * 8 < member.bit_offset or offset + 8 > var_size:
        return False
    index, rest = divmod(offset - member.bit_offset // 8, 8)
    if rest:
        return False
    spec.slots = [slot for slot in spec.slots if slot[0] != index] + [(index, target)]
    return True
