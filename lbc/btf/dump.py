"""BTF -> C text: a declaration for a message, a prototype, or one type with all it needs, in an order C takes."""
from __future__ import absolute_import

from .._py23 import range
from ..errors import FormatError
from ..uapi import btf as _u
from . import kinds as _k

__all__ = ["type_text", "declaration", "prototype", "definition", "dump"]

_MAX_DEPTH = 64
_MAX_TYPES = 1 << 16
_WORDS = {_u.BTF_KIND_CONST: "const", _u.BTF_KIND_VOLATILE: "volatile", _u.BTF_KIND_RESTRICT: "restrict"}
_MODES = {1: "QI", 2: "HI", 8: "DI"}  # sizes of enums other than int's
_TAGS = {_u.BTF_KIND_STRUCT: "struct", _u.BTF_KIND_UNION: "union", _u.BTF_KIND_ENUM: "enum", _u.BTF_KIND_ENUM64: "enum"}


def type_text(btf, type_id):
    """'struct task_struct *' of a type id; 'int vfs_unlink(...)' of a function's."""
    found = btf.type(type_id)
    if found.kind == _u.BTF_KIND_FUNC:
        return declaration(btf, found.type, found.name)
    if found.kind == _u.BTF_KIND_VAR:
        return declaration(btf, found.type, found.name)
    return declaration(btf, type_id, "")


def prototype(btf, func_id):
    """'int vfs_unlink(struct inode *dir, struct dentry *dentry)' of a FUNC's id."""
    return type_text(btf, func_id)


def declaration(btf, type_id, name, members=False, indent=""):
    """C declaration of ``name`` ("" for the bare type); ``members``: anonymous structs are written out.

    The type is walked from the outside in, as C's declarators are read from the inside out (C11 6.7.6).
    """
    text = name
    postfix = False  # what the declarator binds to next must be in parentheses when a pointer was put before it
    words = []
    for _ in range(_MAX_DEPTH):
        found = btf.type(type_id)
        kind = found.kind
        if kind in _WORDS:
            words.insert(0, _WORDS[kind])
            type_id = found.type
        elif kind == _u.BTF_KIND_TYPE_TAG:
            type_id = found.type
        elif kind == _u.BTF_KIND_PTR:
            inner = " ".join(words)
            text = "*" + inner + (" " if inner and text else "") + text
            words, postfix = [], True
            type_id = found.type
        elif kind == _u.BTF_KIND_ARRAY:
            text = ("(%s)" % text if postfix else text) + "[%s]" % (found.count or "")
            postfix = False
            type_id = found.type
        elif kind == _u.BTF_KIND_FUNC_PROTO:
            text = ("(%s)" % text if postfix else text) + "(%s)" % _params(btf, found)
            postfix = False
            type_id = found.ret
        else:
            words.append(_base(btf, found, members, indent))
            head = " ".join(words)
            return head if not text else head + (text if text.startswith("[") else " " + text)
    raise FormatError("type %d is nested too deep for C" % type_id, btf.path, "BTF types")


def _params(btf, found):
    texts = []
    for index, (name, type_id) in enumerate(found.params):
        if not type_id and not name and index == len(found.params) - 1:
            texts.append("...")
        else:
            texts.append(_shallow(btf, type_id, name))
    return ", ".join(texts) or "void"


_nested = []


def _shallow(btf, type_id, name):
    """A parameter's declaration; prototypes within prototypes end at a depth no C code has."""
    if len(_nested) > 16:
        raise FormatError("prototypes are nested too deep", btf.path, "BTF types")
    _nested.append(type_id)
    try:
        return declaration(btf, type_id, name)
    finally:
        _nested.pop()


def _base(btf, found, members, indent):
    kind = found.kind
    if kind in _TAGS:
        if members and not found.name:
            return _body(btf, found, indent)
        return "%s %s" % (_TAGS[kind], found.name or "{...}")
    if kind == _u.BTF_KIND_FWD:
        return "%s %s" % ("union" if found.is_union else "struct", found.name)
    return found.name or "void"


def _body(btf, found, indent):
    """'struct name { ... }' with its members; no semicolon behind."""
    if len(indent) > _MAX_DEPTH:
        raise FormatError("type %s is nested too deep for C" % found.name, btf.path, "BTF types")
    lines = ["%s%s {" % (_TAGS[found.kind], " " + found.name if found.name else "")]
    deeper = indent + "\t"
    packed = found.kind == _u.BTF_KIND_STRUCT and found.size > 1 and _is_packed(btf, found)
    if found.kind in _k.COMPOSITE:
        end, best = 0, 1  # first bit that is free
        for number, member in enumerate(found.members):
            size, align = btf.size_of(member.type), 1 if packed else btf.align_of(member.type)
            best = max(best, align)
            if found.kind == _u.BTF_KIND_STRUCT:
                lines.extend([deeper + pad for pad in _gap(end, member, size, align, packed)])
            text = declaration(btf, member.type, member.name, True, deeper)
            if text.endswith("[]") and (number < len(found.members) - 1 or found.kind == _u.BTF_KIND_UNION):
                text = text[:-1] + "0]"  # C takes a flexible array only at the end
            lines.append("%s%s%s;" % (deeper, text, " : %d" % member.bit_size if member.bit_size else ""))
            end = member.bit_offset + (member.bit_size or 8 * size)
        end = (end + 7) // 8
        if found.kind == _u.BTF_KIND_STRUCT and found.size > -(-end // best) * best:
            lines.append("%schar _pad_%d[%d];" % (deeper, end, found.size - end))
    else:
        lines.extend(["%s%s = %d," % (deeper, name, value) for name, value in found.values])
    mode = _MODES.get(found.size) if found.kind not in _k.COMPOSITE else None
    attribute = " __attribute__((%s))" % ("packed" if packed else "mode(%s)" % mode) if packed or mode else ""
    return "\n".join(lines) + "\n" + indent + "}" + attribute


def _gap(end, member, size, align, packed):
    """What stands between bit ``end`` and a member that does not follow at once: aligned attributes, unnamed fields."""
    if member.bit_size:
        unit = 8 * size
        natural = end
        if not packed and end // unit != (end + member.bit_size - 1) // unit:
            natural = -(-end // unit) * unit
        if member.bit_offset <= natural:
            return []
        pads, first = [], -end % 8
        if first:
            pads.append("char : %d;" % min(first, member.bit_offset - end))
        left = member.bit_offset - end - first
        if left >= 8:  # whole bytes at once: a damaged offset may be any number
            pads.append("char _pad_%d[%d];" % ((end + first) // 8, left // 8))
        if left > 0 and left % 8:
            pads.append("char : %d;" % (left % 8))
        return pads
    start, end = member.bit_offset // 8, (end + 7) // 8
    if start > -(-end // align) * align:
        return ["char _pad_%d[%d];" % (end, start - end)]
    return []


def _is_packed(btf, found):
    """Does some member lie where its alignment forbids, or the size end where no array of it could go on?"""
    best = 1
    for member in found.members:
        if not member.bit_size:
            align = btf.align_of(member.type)
            if member.bit_offset % (8 * align):
                return True
            best = max(best, align)
    return bool(found.size % best)


def definition(btf, type_id):
    """C definition of a struct, union, enum or typedef by itself: 'struct x {...};'."""
    found = btf.type(type_id)
    if found.kind in _TAGS:
        return _body(btf, found, "") + ";"
    if found.kind == _u.BTF_KIND_TYPEDEF:
        return "typedef %s;" % declaration(btf, found.type, found.name, True)
    if found.kind == _u.BTF_KIND_FWD:
        return _base(btf, found, False, "") + ";"
    return type_text(btf, type_id) + ";"


def dump(btf, type_id):
    """The type's definition after those of all it needs: whole by value, forward-declared behind pointers."""
    pieces, state, declared = [], {}, set()
    stack = [(type_id, True, False)]
    while stack:  # no recursion: the depth is the data's to choose
        current, whole, leaving = stack.pop()
        found = btf.type(current)
        kind = found.kind
        if leaving:
            if kind in _TAGS and found.name or kind in (_u.BTF_KIND_TYPEDEF, _u.BTF_KIND_FWD):
                pieces.append(definition(btf, current))
                declared.add((_TAGS.get(kind), found.name))
            continue
        named = kind in _TAGS and bool(found.name)
        if named and not whole:
            if kind in _k.COMPOSITE:
                if (_TAGS[kind], found.name) not in declared:
                    declared.add((_TAGS[kind], found.name))
                    pieces.append("%s %s;" % (_TAGS[kind], found.name))
                continue
            whole = True  # an enum has no forward declaration
        key = current if kind in _TAGS or kind == _u.BTF_KIND_TYPEDEF else (current, whole)
        if key in state:
            continue
        state[key] = True
        if len(state) > _MAX_TYPES:
            raise FormatError("type %d needs more than %d types" % (type_id, _MAX_TYPES), btf.path, "BTF types")
        stack.append((current, whole, True))
        for needed, by_value in reversed(_needs(found)):
            if needed:
                stack.append((needed, by_value and whole, False))
    return "\n\n".join(pieces) + "\n"


def _needs(found):
    """[(type id, must it be complete)] a type's C text refers to."""
    kind = found.kind
    if kind in _k.COMPOSITE:
        return [(member.type, True) for member in found.members]
    if kind == _u.BTF_KIND_FUNC_PROTO:
        return [(found.ret, False)] + [(type_id, False) for _name, type_id in found.params]
    if kind == _u.BTF_KIND_PTR:
        return [(found.type, False)]
    if kind in _k.WALKABLE or kind in (_u.BTF_KIND_ARRAY, _u.BTF_KIND_FUNC, _u.BTF_KIND_VAR):
        return [(found.type, True)]
    if kind == _u.BTF_KIND_DATASEC:
        return [(var_id, True) for var_id, _offset, _size in found.vars]
    return []
