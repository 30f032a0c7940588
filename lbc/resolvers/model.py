"""C types as every resolver answers them: one model, whatever they were read from (BTF, a database, a server, DWARF).

Types are immutable and lazy: the members of a record and the target of a pointer are read when they are asked for, so
naming one struct reads one struct.  Offsets are in bits as in BTF (Documentation/bpf/btf.rst), sizes in bytes.
"""
from __future__ import absolute_import

from collections import namedtuple

from .._py23 import near as near_names
from ..errors import NotFoundError

__all__ = ["Void", "Scalar", "Pointer", "Array", "Record", "Typedef", "FuncType", "Member", "Param", "Function",
           "strip", "find_member", "member_names", "parameter_number"]

# name: "" for an anonymous struct or union, whose members belong to the record around it; bit_size: 0 = no bit-field
Member = namedtuple("Member", "name type bit_offset bit_size")
Param = namedtuple("Param", "name type")    # name: "" where the source does not know it (a database)


class Function(namedtuple("Function", "name params ret module file line")):
    """Prototype of one copy of a function.  ``module``: "" = the kernel itself; ``file``, ``line``: "", 0 = not known;
    ``params``: [Param], ``ret``: a type."""
    __slots__ = ()

    @property
    def text(self):
        """'int vfs_read(struct file *file, char *buf)'"""
        words = [_declare(p.type.text, p.name) for p in self.params]
        return "%s(%s)" % (_declare(self.ret.text, self.name), ", ".join(words) or "void")


def _declare(text, name):
    """C declaration of ``name``: 'char *' + 'buf' -> 'char *buf'."""
    if not name:
        return text
    at = text.find("(*)")
    if at >= 0:
        return text[:at + 2] + name + text[at + 2:]
    at = text.find(" [")
    if at >= 0:
        return "%s %s%s" % (text[:at], name, text[at + 1:])
    return text + name if text.endswith("*") else "%s %s" % (text, name)


class Void(object):
    """void"""
    __slots__ = ()
    text, size = "void", 0


class Scalar(object):
    """A number: ``kind`` is "int", "char", "bool", "float" or "enum"; ``values``: {number: name} of an enum, else
    None."""
    __slots__ = ("text", "size", "signed", "kind", "values")

    def __init__(self, text, size, signed=False, kind="int", values=None):
        self.text, self.size, self.signed, self.kind, self.values = text, size, signed, kind, values


class _Lazy(object):
    """``_target``: a type, or a function that gives it once it is wanted."""
    __slots__ = ("_target",)

    def __init__(self, target):
        self._target = target

    @property
    def target(self):
        if callable(self._target):
            self._target = self._target()
        return self._target


class Pointer(_Lazy):
    """``user``: it points into user memory (`__user`)."""
    __slots__ = ("size", "user")

    def __init__(self, target, size=8, user=False):
        _Lazy.__init__(self, target)
        self.size, self.user = size, user

    @property
    def text(self):
        target = self.target
        if isinstance(target, FuncType):
            return "%s (*)(%s)" % (target.ret.text, target.params_text)
        if isinstance(target, Array):
            at = target.text.find(" [")
            return "%s (*)%s" % (target.text[:at], target.text[at + 1:])
        return target.text + ("*" if target.text.endswith("*") else " *")


class Typedef(_Lazy):
    __slots__ = ("text",)

    def __init__(self, name, target):
        _Lazy.__init__(self, target)
        self.text = name

    @property
    def size(self):
        return self.target.size


class Array(object):
    """``count`` elements (0: a flexible array)."""
    __slots__ = ("element", "count")

    def __init__(self, element, count):
        self.element, self.count = element, count

    @property
    def size(self):
        return self.element.size * self.count

    @property
    def text(self):
        inner = self.element.text   # dimensions go from the outside to the inside
        at = inner.find(" [")
        return "%s [%d]%s" % (inner if at < 0 else inner[:at], self.count, "" if at < 0 else inner[at + 1:])


class FuncType(object):
    """What a function pointer points to."""
    __slots__ = ("ret", "params")
    size = 0

    def __init__(self, ret, params):
        self.ret, self.params = ret, params

    @property
    def params_text(self):
        return ", ".join([p.type.text for p in self.params]) or "void"

    @property
    def text(self):
        return "%s (%s)" % (self.ret.text, self.params_text)


class Record(object):
    """A struct or union.  ``keyword``: "struct" or "union"; ``name``: "" = anonymous; ``size``: None = only declared."""
    __slots__ = ("keyword", "name", "size", "_members")

    def __init__(self, keyword, name, size, members=()):
        self.keyword, self.name, self.size, self._members = keyword, name, size, members

    @property
    def text(self):
        return "%s %s" % (self.keyword, self.name or "(anonymous)")

    @property
    def members(self):
        """[Member], in order of declaration; reads them at the first call."""
        if callable(self._members):
            self._members = self._members()
        return self._members


def strip(found):
    """The type behind typedefs."""
    while isinstance(found, Typedef):
        found = found.target
    return found


def find_member(record, name):
    """Member ``name`` of ``record``, its bit offset counted from the start of ``record`` through anonymous members;
    NotFoundError with near names."""
    found = _find(record, name, 0)
    if found is None:
        names = member_names(record)
        raise NotFoundError("member", name, record.text, near_names(name, names))
    return found


def _find(record, name, base):
    for member in record.members:
        if member.name == name:
            return member._replace(bit_offset=base + member.bit_offset)
        if not member.name:
            inner = strip(member.type)
            if isinstance(inner, Record):
                found = _find(inner, name, base + member.bit_offset)
                if found is not None:
                    return found
    return None


def member_names(record):
    """Names that can be written behind `->`, those of anonymous members included."""
    names = []
    for member in record.members:
        if member.name:
            names.append(member.name)
        else:
            inner = strip(member.type)
            if isinstance(inner, Record):
                names += member_names(inner)
    return names


def parameter_number(function, name):
    """Index of the parameter called ``name``, None when there is none of that name."""
    for number, param in enumerate(function.params):
        if param.name == name:
            return number
    return None
