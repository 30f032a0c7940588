"""All types of a BTF as one C header: the vmlinux.h of a kernel, or some types with all that they need.

Every struct and union has the layout that the BTF says: gaps become unnamed bit-fields, which BTF does not name either,
so a program compiled with the header compares member by member with its kernel (CO-RE).  What C would take for the same
name gets a flavour, `name___2`, which CO-RE ignores.
"""
from __future__ import absolute_import

from .._py23 import range
from ..errors import FormatError
from ..uapi import btf as _u
from . import kinds as _k
from .scan import Scan

__all__ = ["header", "definitions"]

_MAX_DEPTH = 64
_WIDEST_GAP = 8 << 16   # bits that are written out as unnamed fields; wider ones are damage or at least not worth it
_ENUMS = (_u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64)
_WORDS = {_u.BTF_KIND_STRUCT: "struct", _u.BTF_KIND_UNION: "union", _u.BTF_KIND_ENUM: "enum",
          _u.BTF_KIND_ENUM64: "enum"}
_QUALIFIERS = {_u.BTF_KIND_CONST: "const ", _u.BTF_KIND_VOLATILE: "volatile ", _u.BTF_KIND_RESTRICT: "restrict ",
               _u.BTF_KIND_TYPE_TAG: ""}
_UNITS = _k.COMPOSITE | frozenset(_ENUMS + (_u.BTF_KIND_TYPEDEF, _u.BTF_KIND_INT, _u.BTF_KIND_FLOAT))
_C_INTS = frozenset("char short int long signed unsigned _Bool __int128".split())
_C_FLOATS = frozenset(("float", "double", "long double"))
_KEYWORDS = frozenset("""auto break case const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
asm typeof char _Bool __int128 _Alignas _Alignof _Atomic _Generic _Noreturn _Static_assert _Thread_local""".split())
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_PLAIN = {1: "char", 2: "short", 4: "int", 8: "long long"}
_MODES = {1: "QI", 2: "HI", 8: "DI"}    # of enums that are not as wide as an int; GCC's names, clang's too
_FIELDS = ((64, "long"), (32, "int"), (16, "short"), (8, "char"))

_TOP = """#ifndef %s
#define %s

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif
"""
_BOTTOM = """
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif
"""


def header(btf, guard="__VMLINUX_H__"):
    """C text of all types of ``btf`` (and of its base), in ``guard``.  FormatError when it is damaged."""
    writer = _Writer(btf)
    writer.write(range(1, btf.count))
    return "\n".join([_TOP % (guard, guard)] + writer.pieces + [_BOTTOM])


def definitions(btf, type_ids):
    """C text of these types after all that they need; behind pointers a declaration is enough."""
    writer = _Writer(btf)
    writer.write(type_ids)
    return "\n".join(writer.pieces)


def _identifier(name):
    """The name, or one like it that C takes (Rust's types have `<`, `:` and blanks in theirs)."""
    if name in _KEYWORDS or name[:1].isdigit():
        return "_" + name
    return name if _WORD.issuperset(name) else "".join([c if c in _WORD else "_" for c in name])


class _Writer(object):
    """``pieces``: definitions in an order that C takes."""

    def __init__(self, btf):
        self.btf = btf
        self.pieces = []
        self._tags, self._names = {}, {}        # id -> "struct x"; id -> name of a typedef, an enumerator's (id, index)
        self._types, self._layouts, self._declarators, self._needed = {}, {}, {}, {}
        self._done, self._declared = {}, set()
        self._written_enums = set()
        self._kinds = _all_kinds(btf)
        self._name_all()

    def _type(self, type_id):
        found = self._types.get(type_id)
        if found is None:
            found = self._types[type_id] = self.btf.type(type_id)
        return found

    # -- names ---------------------------------------------------------------------------------------------------------
    def _name_all(self):
        """Give every type its name, by the order of ids: struct, union and enum share one name space of C, typedefs and
        enumerators another (C11 6.2.3)."""
        tags, names, forwards = {}, {"__builtin_va_list": 1}, []
        for type_id, kind in enumerate(self._kinds):
            if kind in _UNITS:
                found = self._type(type_id)
                if kind in _WORDS:
                    if found.name:
                        self._tags[type_id] = _WORDS[kind] + " " + _unused(tags, found.name, _WORDS[kind])
                    if kind in _ENUMS:
                        for index, (name, _value) in enumerate(found.values):
                            self._names[type_id, index] = _unused(names, name)
                elif kind == _u.BTF_KIND_TYPEDEF or not _is_of_c(found):
                    self._names[type_id] = _unused(names, found.name or "_")
            elif kind == _u.BTF_KIND_FWD:
                forwards.append(type_id)
        for type_id in forwards:
            found = self._type(type_id)
            word, name = "union" if found.is_union else "struct", _identifier(found.name or "_")
            # the definition of that name if there is one of the same sort
            if tags.get(name, [word])[0] != word:
                name += "___fwd"
            self._tags[type_id] = word + " " + name

    # -- sizes ---------------------------------------------------------------------------------------------------------
    def _layout(self, type_id, depth=0):
        """(size, alignment) in bytes of a type as this header's C has it."""
        known = self._layouts.get(type_id)
        if known is not None:
            return known
        if depth > _MAX_DEPTH:
            raise FormatError("type %d contains itself" % type_id, self.btf.path, "BTF types")
        found = self._type(type_id)
        kind = found.kind
        if kind in _k.COMPOSITE:
            known = found.size, self._align(found, depth)
        elif kind == _u.BTF_KIND_PTR:
            known = (self.btf.pointer_size,) * 2
        elif kind in _k.WALKABLE:
            known = self._layout(found.type, depth + 1)
        elif kind == _u.BTF_KIND_ARRAY:
            size, align = self._layout(found.type, depth + 1)
            known = size * found.count, align
        elif kind in _ENUMS or kind in (_u.BTF_KIND_INT, _u.BTF_KIND_FLOAT):
            known = found.size, max(1, min(found.size, 16))
        else:   # void, functions, what is only declared
            known = 0, 1
        self._layouts[type_id] = known
        return known

    def _align(self, found, depth):
        """Alignment; 1 where the members' places say that the struct is packed."""
        best, is_struct = 1, found.kind == _u.BTF_KIND_STRUCT
        for member in found.members:
            size, align = self._layout(member.type, depth + 1)
            offset, bits = member.bit_offset, member.bit_size
            if is_struct and (_straddles(offset, bits, 8 * size) if bits else offset % (8 * align)):
                return 1
            if align > best and (not bits or member.name):
                best = align
        return 1 if found.size % best else best

    # -- declarations --------------------------------------------------------------------------------------------------
    def _declarator(self, type_id, qualifiers="", depth=0):
        """(what stands before a name of that type, what behind); memory of it for what has no qualifier."""
        if not qualifiers:
            known = self._declarators.get(type_id)
            if known is not None:
                return known
        if depth > _MAX_DEPTH:
            raise FormatError("type %d is nested too deep for C" % type_id, self.btf.path, "BTF types")
        found = self._type(type_id)
        kind = found.kind
        if kind in _QUALIFIERS:
            word = _QUALIFIERS[kind]
            return self._declarator(found.type, qualifiers if word in qualifiers else word + qualifiers, depth + 1)
        if kind == _u.BTF_KIND_PTR:
            before, behind = self._declarator(found.type, "", depth + 1)
            # [] and () bind closer than *, so a pointer to those goes into parentheses (C11 6.7.6)
            made = (before + "(*" + qualifiers, ")" + behind) if behind[:1] in ("[", "(") else (
                before + "*" + qualifiers, behind)
        elif kind == _u.BTF_KIND_ARRAY:
            before, behind = self._declarator(found.type, qualifiers, depth + 1)
            made = before, "[%d]%s" % (found.count, behind)
        elif kind == _u.BTF_KIND_FUNC_PROTO:
            before, behind = self._declarator(found.ret, "", depth + 1)
            made = before, "(%s)%s" % (self._parameters(found, depth), behind)
        else:
            made = qualifiers.replace("restrict ", "") + self._base(type_id, found, depth) + " ", ""
        if not qualifiers:
            self._declarators[type_id] = made
        return made

    def _parameters(self, found, depth):
        texts = []
        for index, (name, type_id) in enumerate(found.params):
            if not type_id and not name and index == len(found.params) - 1:
                return ", ".join(texts + ["..."]) if texts else ""
            before, behind = self._declarator(type_id, "", depth + 1)
            texts.append(before.rstrip(" ") + behind if not name else before + _identifier(name) + behind)
        return ", ".join(texts) or "void"

    def _base(self, type_id, found, depth):
        kind = found.kind
        if type_id in self._tags:
            return self._tags[type_id]
        if type_id in self._names:
            return self._names[type_id]
        if kind in _k.COMPOSITE:
            return self._body(type_id, found, depth + 1)
        if kind in _ENUMS:
            if type_id in self._written_enums:      # its enumerators are there already
                return "%s%s" % ("" if found.signed else "unsigned ", _PLAIN.get(found.size, "int"))
            return self._enum(type_id, found)
        return found.name or "void"

    # -- definitions ---------------------------------------------------------------------------------------------------
    def _enum(self, type_id, found):
        self._written_enums.add(type_id)
        wide = found.kind == _u.BTF_KIND_ENUM64
        suffix = ("LL" if found.signed else "ULL") if wide else ""
        lines = ["\t%s = %d%s," % (self._names[type_id, index], value, suffix if abs(value) >> 31 else "")
                 for index, (_name, value) in enumerate(found.values)]
        mode = _MODES.get(found.size)
        return "%s {\n%s\n}%s" % (self._tags.get(type_id, "enum"), "\n".join(lines),
                                  " __attribute__((mode(%s)))" % mode if mode else "")

    def _body(self, type_id, found, depth=0):
        """'struct name { ... }' without a semicolon."""
        if depth > _MAX_DEPTH:
            raise FormatError("type %d is nested too deep for C" % type_id, self.btf.path, "BTF types")
        is_struct = found.kind == _u.BTF_KIND_STRUCT
        best = self._layout(type_id)[1]
        packed, end, lines = False, 0, []
        for member in found.members:
            size, align = self._layout(member.type)
            offset, bits = member.bit_offset, member.bit_size
            if is_struct and align > best and not (bits and not member.name):
                packed = True
            elif is_struct and bits and _straddles(offset, bits, 8 * size):
                packed = True
        packed = packed or best == 1 and any([self._layout(member.type)[1] > 1 for member in found.members])
        for member in found.members:
            size, align = self._layout(member.type)
            offset, bits = member.bit_offset, member.bit_size
            if is_struct:
                if not bits:
                    natural = end + -end % (8 if packed else 8 * align)
                elif not packed and _straddles(end, bits, 8 * size):
                    natural = end + -end % (8 * size)
                else:
                    natural = end
                if offset > natural:
                    lines += _gap(end, offset)
                end = offset + (bits or 8 * size)
            else:
                end = max(end, bits or 8 * size)
            before, behind = self._declarator(member.type, "", depth + 1)
            text = before + _identifier(member.name) + behind if member.name else (before + behind).rstrip(" ")
            if "\n" in text:
                text = text.replace("\n", "\n\t")
            lines.append("%s : %d;" % (text, bits) if bits else text + ";")
        whole = 8 * found.size
        if whole > end + -end % (8 if packed else 8 * best):
            pads = _gap(end if is_struct else 0, whole)
            lines += pads if is_struct else ["struct {\n\t\t%s\n\t};" % "\n\t\t".join(pads)]
        return "%s {%s}%s" % (self._tags.get(type_id, _WORDS[found.kind]),
                              "\n\t%s\n" % "\n\t".join(lines) if lines else "",
                              " __attribute__((packed))" if packed else "")

    def _definition(self, type_id, found):
        kind = found.kind
        if kind in _k.COMPOSITE:
            return self._body(type_id, found) + ";\n"
        if kind in _ENUMS:
            return (self._enum(type_id, found) if found.values else self._tags[type_id]) + ";\n"
        if kind == _u.BTF_KIND_TYPEDEF:
            # GCC before 9 says that __gnuc_va_list is void
            before, behind = ("__builtin_va_list ", "") if found.name == "__gnuc_va_list" and not found.type else \
                self._declarator(found.type)
            return "typedef %s%s%s;\n" % (before, self._names[type_id], behind)
        signed = kind == _u.BTF_KIND_INT and found.signed
        if found.size in _PLAIN:
            return "typedef %s%s %s;\n" % ("signed " if signed else "unsigned ", _PLAIN[found.size],
                                           self._names[type_id])
        return "typedef char %s[%d];\n" % (self._names[type_id], found.size)

    # -- order ---------------------------------------------------------------------------------------------------------
    def _is_unit(self, type_id, found):
        """Is it defined by itself?  Anonymous types are where they are used, unnamed enums also by themselves."""
        kind = found.kind
        if kind in _k.COMPOSITE:
            return bool(found.name)
        if kind in _ENUMS:
            return bool(found.name or found.values)
        return kind == _u.BTF_KIND_TYPEDEF or type_id in self._names

    def _needs(self, type_id, whole, depth=0):
        """Ids of what must be defined before a declaration with that type; negative: only declared."""
        key = type_id if whole else -type_id
        known = self._needed.get(key)
        if known is not None:
            return known
        if depth > _MAX_DEPTH:
            raise FormatError("type %d is nested too deep for C" % type_id, self.btf.path, "BTF types")
        found = self._type(type_id)
        kind = found.kind
        if kind in _k.COMPOSITE:
            if found.name:
                known = (type_id,) if whole else (-type_id,)
            else:
                known = self._of_members(found, depth)
        elif kind == _u.BTF_KIND_PTR:
            known = self._needs(found.type, False, depth + 1)
        elif kind == _u.BTF_KIND_TYPEDEF:
            known = (type_id,) + (self._needs(found.type, True, depth + 1) if whole else ())
        elif kind in _QUALIFIERS:
            known = self._needs(found.type, whole, depth + 1)
        elif kind == _u.BTF_KIND_ARRAY:     # of complete elements, even behind a pointer (C11 6.7.6.2)
            known = self._needs(found.type, True, depth + 1)
        elif kind == _u.BTF_KIND_FUNC_PROTO:
            known = self._needs(found.ret, False, depth + 1)
            for _name, param in found.params:
                known += self._needs(param, False, depth + 1)
        elif kind == _u.BTF_KIND_FWD:
            known = (-type_id,)
        elif kind in _ENUMS:
            known = (type_id,) if found.name else ()
        else:
            known = (type_id,) if type_id in self._names else ()
        self._needed[key] = known
        return known

    def _of_members(self, found, depth=0):
        known, seen = [], set()
        for member in found.members:
            if member.type not in seen:
                seen.add(member.type)
                known.extend(self._needs(member.type, True, depth + 1))
        return tuple(known)

    def write(self, type_ids):
        """Append the definitions of ``type_ids`` and of all they need to ``pieces``."""
        late = []
        for type_id in type_ids:
            found = self._type(type_id) if self._kinds[type_id] in _UNITS else None
            if found is not None and self._is_unit(type_id, found):
                if found.kind in _ENUMS and not found.name:
                    late.append((type_id, found))   # unless some struct or typedef has it inside
                else:
                    self._write_one(type_id)
        for type_id, found in late:
            if type_id not in self._written_enums:
                self.pieces.append(self._enum(type_id, found) + ";\n")

    def _write_one(self, root):
        done, stack = self._done, [root]
        while stack:    # no recursion: the depth is the data's to choose
            current = stack.pop()
            if current < 0:
                current = -current
                if done.get(current) is not False:
                    continue
                done[current] = True
                found = self._type(current)
                self.pieces.append(self._definition(current, found))
                self._declared.add(self._tags.get(current))
                continue
            if current in done:     # written, or being written: what contains itself is no C, and stays as it is
                continue
            done[current] = False
            stack.append(-current)
            found = self._type(current)
            if found.kind in _k.COMPOSITE:
                needed = self._of_members(found)
            elif found.kind == _u.BTF_KIND_TYPEDEF:
                needed = self._needs(found.type, False)
            else:
                continue
            for one in reversed(needed):
                if one < 0:
                    if one != -current:
                        self._declare(-one)
                elif one not in done:
                    stack.append(one)

    def _declare(self, type_id):
        tag = self._tags[type_id]
        if tag not in self._declared:
            self._declared.add(tag)
            self.pieces.append(tag + ";\n")


def _all_kinds(btf):
    """[kind] of every type id, those of the base first; one walk, where asking for each would walk 64 times."""
    kinds = [0] if btf.base is None else _all_kinds(btf.base)
    scan = Scan(btf)
    words = scan.words
    kinds.extend([words[at + 1] >> 24 & 0x7f for at in scan.positions])
    return kinds


def _straddles(offset, bits, unit):
    return bool(unit) and offset // unit != (offset + bits - 1) // unit


def _unused(taken, name, word=""):
    """The name, or name___2, name___3 when others have it; ``taken``: {name: [word, how many]}, or counts."""
    name = _identifier(name)
    number = 1
    made = name
    while made in taken:
        number = max(number, taken[name][1] if word else taken[name]) + 1
        if word:
            taken[name][1] = number
        else:
            taken[name] = number
        made = "%s___%d" % (name, number)
    taken[made] = [word, 1] if word else 1
    return made


def _is_of_c(found):
    """Does C know an int or float of this name?"""
    if found.kind == _u.BTF_KIND_FLOAT:
        return found.name in _C_FLOATS
    return _C_INTS.issuperset(found.name.split()) and bool(found.name)


def _gap(start, end):
    """Unnamed bit-fields from bit ``start`` to ``end``: they give no alignment to the struct (x86-64 psABI 3.1.2)."""
    if end - start > _WIDEST_GAP:
        start += -start % 8
        return ["char _gap_%d[%d];" % (start // 8, (end - start) // 8)]
    lines = []
    while start < end:
        for width, name in _FIELDS:
            if start % width == 0 and end - start >= width:
                break
        else:
            width, name = min(8 - start % 8, end - start), "char"
        lines.append("%s : %d;" % (name, width))
        start += width
    return lines
