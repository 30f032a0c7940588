"""CO-RE access paths: the one the compiler recorded ("0:1:2" on a local type) and its counterpart in a target BTF.

Rules: libbpf src/relo_core.c (bpf_core_parse_spec, bpf_core_match_member, bpf_core_spec_match, bpf_core_calc_*).
"""
from __future__ import absolute_import

from ..errors import RelocError
from ..uapi import bpf as _r
from ..uapi import btf as _u
from .core_types import essential_name, fields_are_compatible, types_are_compatible, types_match

__all__ = ["Path", "parse", "match", "value_of", "RelocValue", "FIELD", "TYPE", "ENUM_VALUE", "KIND_TEXTS"]

MAX_PATH = 64  # accessors (BPF_CORE_SPEC_MAX_LEN)
_M32, _M64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
FIELD = frozenset((_r.BPF_CORE_FIELD_BYTE_OFFSET, _r.BPF_CORE_FIELD_BYTE_SIZE, _r.BPF_CORE_FIELD_EXISTS,
                   _r.BPF_CORE_FIELD_SIGNED, _r.BPF_CORE_FIELD_LSHIFT_U64, _r.BPF_CORE_FIELD_RSHIFT_U64))
TYPE = frozenset((_r.BPF_CORE_TYPE_ID_LOCAL, _r.BPF_CORE_TYPE_ID_TARGET, _r.BPF_CORE_TYPE_EXISTS, _r.BPF_CORE_TYPE_SIZE,
                  _r.BPF_CORE_TYPE_MATCHES))
ENUM_VALUE = frozenset((_r.BPF_CORE_ENUMVAL_EXISTS, _r.BPF_CORE_ENUMVAL_VALUE))
# as in the messages of libbpf and the kernel, so that they can be looked up
KIND_TEXTS = ("byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64", "local_type_id",
              "target_type_id", "type_exists", "type_size", "enumval_exists", "enumval_value", "type_matches")
_COMPOSITE = (_u.BTF_KIND_STRUCT, _u.BTF_KIND_UNION)
_ENUMS = (_u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64)


class Path(object):
    """One way through types.  ``steps``: [(type id, index, name or None)]: None is an array element; ``raw``: the
    indexes one by one, anonymous members included; ``bit_offset`` of the end from the start."""

    __slots__ = ("btf", "root", "kind", "steps", "raw", "bit_offset")

    def __init__(self, btf, root, kind):
        self.btf, self.root, self.kind = btf, root, kind
        self.steps, self.raw, self.bit_offset = [], [], 0

    def text(self):
        """'<byte_off> [47] struct task_struct.pid (0:1 @ offset 8)', as libbpf writes it."""
        root = self.btf.type(self.root)
        text = "<%s> [%d] %s %s" % (KIND_TEXTS[self.kind] if self.kind < len(KIND_TEXTS) else "unknown", self.root,
                                    _u.KIND_NAMES.get(root.kind, "unknown"), root.name or "<anon>")
        if self.kind in TYPE:
            return text
        if self.kind in ENUM_VALUE:
            enum = self.btf.type(self.btf.resolve(self.root))
            if self.raw and hasattr(enum, "values") and self.raw[0] < len(enum.values):
                text += "::%s = %d" % enum.values[self.raw[0]]
            return text
        for position, (_, index, name) in enumerate(self.steps):
            if name is not None:
                text += "." + name
            elif position or index:
                text += "[%d]" % index
        text += " (" + ":".join("%d" % index for index in self.raw)
        offset, bits = divmod(self.bit_offset, 8)
        return text + (" @ offset %d.%d)" % (offset, bits) if bits else " @ offset %d)" % offset)


def _is_flexible(btf, step, array):
    """A [0] or [] array at the end of its struct may be indexed at will."""
    if step[2] is None or array.count:
        return False
    return step[1] == len(btf.type(step[0]).members) - 1


def parse(btf, type_id, access, kind):
    """Path of the relocation (type id, access string, kind) in the object's own BTF.  RelocError if it is nonsense."""
    path = Path(btf, type_id, kind)

    def bad(why):
        return RelocError("CO-RE relocation <%s> on type [%d] with access string %r: %s" % (
            KIND_TEXTS[kind] if kind < len(KIND_TEXTS) else "kind %d" % kind, type_id, access, why))

    if kind in TYPE:
        if access != "0":
            raise bad("must be \"0\"")
        return path
    if kind not in FIELD and kind not in ENUM_VALUE:
        raise bad("unknown kind")
    words = access.split(":")
    if len(words) > MAX_PATH:
        raise bad("too long")
    for word in words:
        if not word.isdigit() or len(word) > 10:
            raise bad("not numbers with colons")
        path.raw.append(int(word))
    number, index = btf.resolve(type_id), path.raw[0]
    if kind in ENUM_VALUE:
        enum = btf.type(number)
        if enum.kind not in _ENUMS or len(words) > 1 or index >= len(enum.values):
            raise bad("no such enumerator")
        path.steps.append((number, index, enum.values[index][0]))
        return path
    path.steps.append((number, index, None))
    path.bit_offset = index * btf.size_of(number) * 8
    for index in path.raw[1:]:
        number = btf.resolve(number)
        here = btf.type(number)
        if here.kind in _COMPOSITE:
            if index >= len(here.members):
                raise bad("no member %d in `%s`" % (index, here.name or "<anon>"))
            member = here.members[index]
            path.bit_offset += member.bit_offset
            if member.name:
                path.steps.append((number, index, member.name))
            number = member.type
        elif here.kind == _u.BTF_KIND_ARRAY:
            if index >= here.count and not _is_flexible(btf, path.steps[-1], here):
                raise bad("no element %d" % index)
            number = btf.resolve(here.type)
            path.steps.append((number, index, None))
            path.bit_offset += index * btf.size_of(number) * 8
        else:
            raise bad("type [%d] has no members" % number)
    path.bit_offset &= _M32
    return path


def match(local, target, target_id):
    """Path of ``local`` in the BTF ``target``, starting at type ``target_id``; None where it does not exist there."""
    path = Path(target, target_id, local.kind)
    if local.kind in TYPE:
        check = types_match if local.kind == _r.BPF_CORE_TYPE_MATCHES else types_are_compatible
        return path if check(local.btf, local.root, target, target_id) else None
    if local.kind in ENUM_VALUE:
        number = target.resolve(target_id)
        enum = target.type(number)
        if enum.kind in _ENUMS:
            wanted = essential_name(local.steps[0][2])
            for index, (name, _) in enumerate(enum.values):
                if essential_name(name) == wanted:
                    path.steps.append((number, index, name))
                    path.raw.append(index)
                    return path
        return None
    number = target_id
    for position, step in enumerate(local.steps):
        number = target.resolve(number)
        if step[2] is not None:
            number = _match_member(local.btf, step, target, number, path, 0)
            if number is None:
                return None
            continue
        if position:
            array = target.type(number)
            if array.kind != _u.BTF_KIND_ARRAY:
                return None
            if step[1] >= array.count and not _is_flexible(target, path.steps[-1], array):
                return None
            number = target.resolve(array.type)
        _room(path)
        path.steps.append((number, step[1], None))
        path.raw.append(step[1])
        path.bit_offset += step[1] * target.size_of(number) * 8
    path.bit_offset &= _M32
    return path


def _room(path):
    if len(path.raw) >= MAX_PATH:
        raise RelocError("type [%d] of the target is nested too deeply" % path.root)


def _match_member(local_btf, step, target, number, path, depth):
    """Type id of the target's member that is called like the local one, anonymous members looked through; None: none.

    The first of that name decides: one of another kind of type is no match, whatever follows."""
    here = target.type(number)
    if here.kind not in _COMPOSITE:
        return None
    wanted = step[2]
    for index, member in enumerate(here.members):
        name = member.name
        if name:
            if name != wanted:
                continue
            _room(path)
            path.raw.append(index)
            path.bit_offset += member.bit_offset
            path.steps.append((number, index, name))
            mine = local_btf.type(step[0]).members[step[1]]
            return member.type if fields_are_compatible(local_btf, mine.type, target, member.type) else None
        _room(path)
        path.raw.append(index)
        path.bit_offset += member.bit_offset
        before = len(path.steps)
        found = _match_member(local_btf, step, target, target.resolve(member.type), path, depth + 1)
        if found is not None:
            return found
        if len(path.steps) != before:
            return None  # there, but of another type
        path.raw.pop()
        path.bit_offset -= member.bit_offset
    return None


class RelocValue(object):
    """What one side of a relocation says: ``value``; ``size`` and ``type_id`` of the field where a load may be resized;
    ``checked``: does the compiler's value have to be this one?  ``poison``: there is none."""

    __slots__ = ("value", "size", "type_id", "checked", "poison")

    def __init__(self, value, checked=True, size=0, type_id=0, poison=False):
        self.value, self.checked, self.size, self.type_id, self.poison = value, checked, size, type_id, poison


_POISON = RelocValue(0, poison=True)


def value_of(kind, path, big_endian):
    """RelocValue of relocation ``kind`` for ``path`` (None: does not exist).  RelocError when it has no value."""
    if kind in FIELD:
        if kind == _r.BPF_CORE_FIELD_EXISTS:
            if path is None:
                return RelocValue(0)
            return RelocValue(1)
        return _POISON if path is None else _field_value(kind, path, big_endian)
    if kind in TYPE:
        if path is None:
            return RelocValue(0)
        if kind == _r.BPF_CORE_TYPE_ID_TARGET:
            return RelocValue(path.root, False)
        return RelocValue(path.btf.size_of(path.root) if kind == _r.BPF_CORE_TYPE_SIZE else 1)
    if kind == _r.BPF_CORE_ENUMVAL_EXISTS:
        return RelocValue(0 if path is None else 1)
    if path is None:
        return _POISON
    enum = path.btf.type(path.steps[0][0])
    number = enum.values[path.steps[0][1]][1]
    if enum.kind == _u.BTF_KIND_ENUM:  # 32 bits, signed whatever the enum says: struct btf_enum.val is an __s32
        number = (number + 0x80000000 & _M32) - 0x80000000
    return RelocValue(number & _M64)


def _field_value(kind, path, big_endian):
    btf, (number, index, name) = path.btf, path.steps[-1]
    if name is None:  # element of an array, or the struct itself
        size = btf.size_of(number)
        if kind == _r.BPF_CORE_FIELD_BYTE_OFFSET:
            return RelocValue(path.bit_offset // 8, True, size, number)
        if kind == _r.BPF_CORE_FIELD_BYTE_SIZE:
            return RelocValue(size)
        raise RelocError("%s cannot be had of an array element" % KIND_TEXTS[kind], spec=path.text())
    member = btf.type(number).members[index]
    bit_size, bits = member.bit_size, path.bit_offset
    field_id = btf.resolve(member.type)
    field = btf.type(field_id)
    if bit_size:
        size = getattr(field, "size", 0)
        if not size:
            raise RelocError("bit-field of a type without a size", spec=path.text())
        offset = bits // 8 // size * size
        while bits + bit_size - offset * 8 > size * 8:  # the smallest aligned integer that holds all of it
            if size >= 8:
                raise RelocError("bit-field cannot be read at once", spec=path.text())
            size *= 2
            offset = bits // 8 // size * size
    else:
        size = btf.size_of(field_id)
        offset, bit_size = bits // 8, size * 8
    checked = not member.bit_size  # compilers choose other loads for bit-fields than we would
    if kind == _r.BPF_CORE_FIELD_BYTE_OFFSET:
        return RelocValue(offset, checked, 0 if member.bit_size else size, 0 if member.bit_size else field_id)
    if kind == _r.BPF_CORE_FIELD_BYTE_SIZE:
        return RelocValue(size, checked)
    if kind == _r.BPF_CORE_FIELD_SIGNED:
        return RelocValue(int(bool(getattr(field, "signed", False))))
    if kind == _r.BPF_CORE_FIELD_LSHIFT_U64:
        shift = (8 - size) * 8 + bits - offset * 8 if big_endian else 64 - (bits + bit_size - offset * 8)
        return RelocValue(shift & _M32 if shift >= 0 else shift & _M64, checked)
    return RelocValue(64 - bit_size & _M64, True)
