"""Functions and records of BTF by patterns: over all types, from their words, building only what is answered."""
from __future__ import absolute_import

from .._py23 import range
from ..btf.kinds import MODIFIERS
from ..btf.scan import ids_named, names_with
from ..uapi import btf as U
from .ctext import Pattern, base_of

__all__ = ["functions", "records"]

_KEYWORDS = {U.BTF_KIND_STRUCT: "struct", U.BTF_KIND_UNION: "union"}
_FEW_NAMES = 48     # each costs 0.3 ms to find, a walk over a kernel's types 30
# what stands before the name of a type
_WORDS = {U.BTF_KIND_STRUCT: "struct ", U.BTF_KIND_UNION: "union ", U.BTF_KIND_FWD: "struct ", U.BTF_KIND_ENUM: "enum ",
          U.BTF_KIND_ENUM64: "enum ", U.BTF_KIND_TYPEDEF: "", U.BTF_KIND_INT: "", U.BTF_KIND_FLOAT: ""}


def _offsets(view, pattern):
    """Offsets of the strings that may match; those of the kernel are looked for once for all modules."""
    known = view.base.offsets if view.base is not None else view.offsets
    if pattern.literal not in known:
        known.clear()
        known[pattern.literal] = names_with(view.base.btf if view.base is not None else view.btf, pattern.literal)
    of_base = known[pattern.literal]
    return names_with(view.btf, pattern.literal, of_base) if view.base is not None else of_base


def _named(view, kinds, pattern):
    """Positions of the own types of ``kinds`` that have a name, one that matches."""
    scan, name_at = view.scan(), view.btf.name_at
    words = scan.words
    if pattern.any:
        return [at for at in scan.of_kind(kinds) if words[at]]
    offsets = _offsets(view, pattern)
    return [at for at in scan.of_kind(kinds) if words[at] in offsets and pattern.matches(name_at(words[at]))]


class _Texts(dict):
    """type id -> its C text, made once for each type: from the words where it is pointers to something named."""

    def __init__(self, view):
        dict.__init__(self)
        self.view, scan = view, view.scan()
        self.words, self.positions, self.start = scan.words, scan.positions, scan.btf.start_id

    def __missing__(self, type_id):
        text = self[type_id] = self._from_words(type_id) or self.view.type(type_id).text
        return text

    def _from_words(self, type_id):
        words, stars = self.words, 0
        for _ in range(16):
            index = type_id - self.start
            if not 0 <= index < len(self.positions):
                return None
            at = self.positions[index]
            info = words[at + 1]
            kind = info >> 24 & 0x7f
            word = _WORDS.get(kind)
            if word is not None and words[at]:
                if kind == U.BTF_KIND_FWD and info >> 31:
                    word = "union "
                name = self.view.btf.name_at(words[at])
                if kind == U.BTF_KIND_INT:
                    name = base_of(name) or name
                return word + name + (" " + "*" * stars if stars else "")
            if kind == U.BTF_KIND_PTR:
                stars += 1
            elif kind not in MODIFIERS:
                return None
            type_id = words[at + 2]
        return None


class _Takes(dict):
    """type id of a prototype -> does it match the patterns of result and parameters?"""

    def __init__(self, view, ret, arg):
        dict.__init__(self)
        self.view, self.ret, self.arg = view, ret, arg
        self.matching = _Matching(_Texts(view), ret), _Matching(_Texts(view), arg)

    def __missing__(self, proto_id):
        found = self.view.scan().raw(proto_id)
        if found is None:   # of the base, or no type at all
            proto = self.view.btf.type(proto_id)
            ret, params = getattr(proto, "ret", 0), [type_id for _name, type_id in getattr(proto, "params", ())]
        else:
            words, at = found
            count = words[at + 1] & 0xffffff if words[at + 1] >> 24 & 0x7f == U.BTF_KIND_FUNC_PROTO else 0
            ret, params = words[at + 2], words[at + 4:at + 3 + 2 * count:2]
        is_ret, is_arg = self.matching
        answer = is_ret[ret] and (self.arg.any or any([is_arg[type_id] for type_id in params]))
        self[proto_id] = answer
        return answer


class _Matching(dict):
    """type id -> does its text match?"""

    def __init__(self, texts, pattern):
        dict.__init__(self)
        self.texts, self.pattern = texts, pattern

    def __missing__(self, type_id):
        answer = self[type_id] = self.pattern.any or self.pattern.matches(self.texts[type_id])
        return answer


def functions(views, query):
    """[model.Function] of a FuncQuery, in order of the views and their ids."""
    name, found = Pattern(query.name), []
    ret, arg = Pattern(query.ret, True), Pattern(query.arg, True)
    for view in views:
        if len(found) >= query.limit:
            break
        for type_id in _function_ids(view, name, ret, arg):
            found.append(view.function(type_id))
            if len(found) >= query.limit:
                break
    return found


def _function_ids(view, name, ret, arg):
    """Ids of the own functions that match, ascending."""
    kinds, plain = (U.BTF_KIND_FUNC,), ret.any and arg.any
    if plain and not name.any:
        offsets = _offsets(view, name)
        if len(offsets) < _FEW_NAMES:
            return ids_named(view.btf, [at for at in offsets if name.matches(view.btf.name_at(at))], kinds)
    scan, takes = view.scan(), _Takes(view, ret, arg)
    words = scan.words
    return (scan.id_at(at) for at in _named(view, kinds, name) if plain or takes[words[at + 2]])


def records(views, pattern, limit):
    """[("struct x", bytes, members)]; ``pattern`` is of the name alone or begins with "struct " or "union "."""
    kinds = list(_KEYWORDS)
    for kind, keyword in _KEYWORDS.items():
        if pattern.startswith(keyword + " "):
            kinds, pattern = [kind], pattern[len(keyword):].strip()
    found, name = [], Pattern(pattern)
    for view in views:
        words = view.scan().words
        for at in _named(view, kinds, name):
            if len(found) >= limit:
                return found
            info = words[at + 1]
            text = "%s %s" % (_KEYWORDS[info >> 24 & 0x7f], view.btf.name_at(words[at]))
            found.append((text, int(words[at + 2]), int(info & 0xffffff)))
    return found
