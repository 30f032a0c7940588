"""CO-RE's two questions about types of different BTFs: are they compatible (type_exists), do they match (type_matches)?

Rules: Documentation/bpf/llvm_reloc.rst, libbpf src/relo_core.c (__bpf_core_types_are_compat, __bpf_core_types_match).
Depths are libbpf's: 32 steps along one chain, 32 levels of recursion; beyond that RelocError.
"""
from __future__ import absolute_import

from ..btf.parse import essential_name
from ..errors import RelocError
from ..uapi import btf as _u

__all__ = ["same_group", "types_are_compatible", "types_match", "fields_are_compatible", "essential_name"]

DEPTH = 32
_ENUMS = (_u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64)
_COMPOSITE = (_u.BTF_KIND_STRUCT, _u.BTF_KIND_UNION)
_PLAIN = _COMPOSITE + _ENUMS + (_u.BTF_KIND_UNKN, _u.BTF_KIND_FWD)


def same_group(one, other):
    """Do kinds ``one`` and ``other`` go together?  enum and enum64 do."""
    return one == other or (one in _ENUMS and other in _ENUMS)


def _too_deep(local_id, target_id):
    return RelocError("types [%d] and [%d] are nested too deeply to compare" % (local_id, target_id))


def types_are_compatible(local, local_id, target, target_id, level=DEPTH):
    """Kinds agree along pointers, arrays and function prototypes; names and sizes do not matter.  -> bool."""
    if not same_group(local.kind_of(local_id), target.kind_of(target_id)):
        return False
    for _ in range(DEPTH):
        local_id, target_id = local.resolve(local_id), target.resolve(target_id)
        mine, theirs = local.type(local_id), target.type(target_id)
        kind = mine.kind
        if not same_group(kind, theirs.kind):
            return False
        if kind in _PLAIN:
            return True
        if kind == _u.BTF_KIND_INT:  # integers at a bit offset are the bit-fields of old compilers
            return mine.offset == 0 and theirs.offset == 0
        if kind in (_u.BTF_KIND_PTR, _u.BTF_KIND_ARRAY):
            local_id, target_id = mine.type, theirs.type
        elif kind == _u.BTF_KIND_FUNC_PROTO:
            if len(mine.params) != len(theirs.params):
                return False
            for (_, one), (_, other) in zip(mine.params, theirs.params):
                if level <= 0:
                    raise _too_deep(local_id, target_id)
                if not types_are_compatible(local, local.resolve(one), target, target.resolve(other), level - 1):
                    return False
            local_id, target_id = mine.ret, theirs.ret
        else:
            return False
    raise _too_deep(local_id, target_id)


def fields_are_compatible(local, local_id, target, target_id):
    """May a field of the local type be read from one of the target type?  Sizes do not matter, kinds do.  -> bool."""
    for _ in range(DEPTH * 2):
        local_id, target_id = local.resolve(local_id), target.resolve(target_id)
        kind, other = local.kind_of(local_id), target.kind_of(target_id)
        if kind in _COMPOSITE and other in _COMPOSITE:
            return True
        if not same_group(kind, other):
            return False
        if kind in (_u.BTF_KIND_PTR, _u.BTF_KIND_FLOAT):
            return True
        mine, theirs = local.type(local_id), target.type(target_id)
        if kind == _u.BTF_KIND_INT:
            return mine.offset == 0 and theirs.offset == 0
        if kind in _ENUMS or kind == _u.BTF_KIND_FWD:
            one, two = essential_name(mine.name), essential_name(theirs.name)
            return not one or not two or one == two
        if kind != _u.BTF_KIND_ARRAY:
            return False
        local_id, target_id = mine.type, theirs.type
    raise _too_deep(local_id, target_id)


def _names_match(mine, theirs):
    if not theirs:
        return not mine
    return essential_name(mine) == essential_name(theirs)


def types_match(local, local_id, target, target_id, behind_pointer=False, level=DEPTH):
    """Names, kinds, sizes of integers, lengths of arrays and all members agree (bpf_core_type_matches).  -> bool."""
    return _Matcher(local, target).match(local_id, target_id, behind_pointer, level)


class _Matcher(object):
    """Answers are kept: the same pair of types is asked for often, and hostile types ask exponentially."""

    def __init__(self, local, target):
        self.local, self.target, self.known = local, target, {}

    def match(self, local_id, target_id, behind_pointer, level):
        key = local_id, target_id, behind_pointer
        answer = self.known.get(key)
        if answer is None or answer[1] > level:
            answer = self.known[key] = self._match(local_id, target_id, behind_pointer, level), level
        return answer[0]

    def _match(self, local_id, target_id, behind_pointer, level):
        if level <= 0:
            raise _too_deep(local_id, target_id)
        local, target = self.local, self.target
        for _ in range(DEPTH):
            local_id, target_id = local.resolve(local_id), target.resolve(target_id)
            mine, theirs = local.type(local_id), target.type(target_id)
            kind, other = mine.kind, theirs.kind
            if local_id and target_id and not _names_match(mine.name, theirs.name) or bool(local_id) != bool(target_id):
                return False
            if kind == _u.BTF_KIND_UNKN:
                return kind == other
            if kind == _u.BTF_KIND_FWD:
                if kind == other:
                    return mine.is_union == theirs.is_union
                return behind_pointer and other == (_u.BTF_KIND_UNION if mine.is_union else _u.BTF_KIND_STRUCT)
            if kind in _ENUMS:
                return other in _ENUMS and self._enums(mine, theirs)
            if kind in _COMPOSITE:
                if behind_pointer and other == _u.BTF_KIND_FWD:
                    return (kind == _u.BTF_KIND_UNION) == theirs.is_union
                return kind == other and (behind_pointer or self._members(mine, theirs, behind_pointer, level))
            if kind != other:
                return False
            if kind == _u.BTF_KIND_INT:
                return mine.size == theirs.size and mine.signed == theirs.signed
            if kind == _u.BTF_KIND_PTR:
                behind_pointer = True
                local_id, target_id = mine.type, theirs.type
            elif kind == _u.BTF_KIND_ARRAY:
                if mine.count != theirs.count:
                    return False
                local_id, target_id = mine.type, theirs.type
            elif kind == _u.BTF_KIND_FUNC_PROTO:
                if len(mine.params) != len(theirs.params):
                    return False
                for (_, one), (_, two) in zip(mine.params, theirs.params):
                    if not self.match(one, two, behind_pointer, level - 1):
                        return False
                local_id, target_id = mine.ret, theirs.ret
            else:
                return False
        raise _too_deep(local_id, target_id)

    @staticmethod
    def _enums(mine, theirs):
        if mine.size != theirs.size or len(mine.values) > len(theirs.values):
            return False
        there = set(essential_name(name) for name, _ in theirs.values)
        return all(essential_name(name) in there for name, _ in mine.values)

    def _members(self, mine, theirs, behind_pointer, level):
        if len(mine.members) > len(theirs.members):
            return False
        by_name = {}
        for member in theirs.members:
            by_name.setdefault(essential_name(member.name), []).append(member)
        for member in mine.members:
            if not any(self.match(member.type, other.type, behind_pointer, level - 1)
                       for other in by_name.get(essential_name(member.name), ())):
                return False
        return True
