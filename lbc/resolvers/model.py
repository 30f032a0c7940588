"""C types as every resolver answers them: one model, whatever they were read from (BTF, a database, a server, DWARF).

Types are immutable and lazy: the members of a record and the target of a pointer are read when they are asked for, so
naming one struct reads one struct.  Offsets are in bits as in BTF (Documentation/bpf/btf.rst), sizes in bytes.
"""
from __future__ import absolute_import

from operator import itemgetter

from .._py23 import near as near_names
from ..errors import FormatError, NotFoundError

__all__ = ["Void", "Variadic", "Scalar", "Pointer", "Array", "Record", "LazyRecord", "Typedef", "FuncType", "Member",
           "Param", "Function", "strip", "declare", "find_member", "member_names", "parameter_number"]

_MOST_MEMBERS = 1 << 17  # looked at for one name: more are damage (an anonymous struct that contains itself)
_DEEPEST = 64           # typedefs of typedefs, anonymous structs in anonymous structs


class _Row(tuple):
    """What ``collections.namedtuple`` makes, without the 2 ms that importing it costs."""
    __slots__ = ()
    _fields = ()

    @classmethod
    def _make(cls, values):
        return tuple.__new__(cls, values)

    def _asdict(self):
        return dict(zip(self._fields, self))

    def _replace(self, **changes):
        row = self._asdict()
        for name in changes:
            if name not in row:
                raise ValueError("%s has no field %r" % (type(self).__name__, name))
        row.update(changes)
        return self._make([row[name] for name in self._fields])

    def __getnewargs__(self):
        return tuple(self)

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join(["%s=%r" % pair for pair in zip(self._fields, self)]))


class Member(_Row):
    """Member of a record.  ``name``: "" for an anonymous struct or union, whose members belong to the record around it;
    ``bit_size``: 0 = no bit-field."""
    __slots__ = ()
    _fields = ("name", "type", "bit_offset", "bit_size")

    def __new__(cls, name, type, bit_offset, bit_size):
        return tuple.__new__(cls, (name, type, bit_offset, bit_size))
    name, type, bit_offset, bit_size = [property(itemgetter(_index)) for _index in range(4)]


class Param(_Row):
    """Parameter.  ``name``: "" where the source does not know it (a database)."""
    __slots__ = ()
    _fields = ("name", "type")

    def __new__(cls, name, type):
        return tuple.__new__(cls, (name, type))
    name, type = property(itemgetter(0)), property(itemgetter(1))


class Function(_Row):
    """Prototype of one copy of a function.  ``module``: "" = the kernel itself; ``file``, ``line``: "", 0 = not known;
    ``params``: [Param], ``ret``: a type."""
    __slots__ = ()
    _fields = ("name", "params", "ret", "module", "file", "line")

    def __new__(cls, name, params, ret, module, file, line):
        return tuple.__new__(cls, (name, params, ret, module, file, line))
    name, params, ret, module, file, line = [property(itemgetter(_index)) for _index in range(6)]

    @property
    def text(self):
        """'int vfs_read(struct file *file, char *buf)'"""
        words = [declare(p.type, p.name) for p in self.params]
        left, right = halves(self.ret)
        return join(left, self.name, "(%s)%s" % (", ".join(words) or "void", right))


def halves(found):
    """What stands left and right of the name in a declaration of type ``found`` (C11 6.7.6 from the inside out)."""
    if isinstance(found, Pointer):
        target = found.target
        left, right = halves(target)
        if isinstance(target, (FuncType, Array)):
            return left + (" (*" if not left.endswith("*") else "(*"), ")" + right
        return left + ("*" if left.endswith("*") else " *"), right
    if isinstance(found, Array):
        left, right = halves(found.element)
        return left, "[%d]%s" % (found.count, right)
    if isinstance(found, FuncType):
        left, right = halves(found.ret)
        return left, "(%s)%s" % (found.params_text, right)
    return found.text, ""


def join(left, name, right):
    """'char *' + 'buf' + '[4]' -> 'char *buf[4]'."""
    return left + (" " if (name or right) and not left.endswith("*") else "") + name + right


def declare(found, name):
    """C declaration of ``name`` ("": the bare type)."""
    left, right = halves(found)
    return join(left, name, right)


class Void(object):
    """void"""
    __slots__ = ()
    text, size = "void", 0


class Variadic(Void):
    """The `...` at the end of a parameter list."""
    __slots__ = ()
    text = "..."


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
        """'struct file *'"""
        return declare(self, "")


class Typedef(_Lazy):
    """Another name, ``text``, for ``target``."""
    __slots__ = ("text",)

    def __init__(self, name, target):
        _Lazy.__init__(self, target)
        self.text = name

    @property
    def size(self):
        return strip(self).size


class Array(object):
    """``count`` elements (0: a flexible array)."""
    __slots__ = ("element", "count")

    def __init__(self, element, count):
        self.element, self.count = element, count

    @property
    def size(self):
        return (self.element.size or 0) * self.count

    @property
    def text(self):
        """'int [4][2]': dimensions from the outside to the inside"""
        return declare(self, "")


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
        """'int (int)'"""
        return declare(self, "")


class Record(object):
    """A struct or union.  ``keyword``: "struct" or "union"; ``name``: "" = anonymous; ``size``: bytes, None = only
    declared."""
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

    def find(self, name):
        """Member ``name`` or None, as `find_member` says; a source that need not read all members for it does better.
        """
        return _find(self, name, 0, _Walk())


class LazyRecord(Record):
    """A record that only its name is known of: ``load`` gives the Record, or None, once size or members are asked for.
    """
    __slots__ = ("_load", "_size")

    def __init__(self, keyword, name, load, size=None):
        # no Record.__init__: `size` is a property here
        self.keyword, self.name, self._load, self._size = keyword, name, load, size

    def _loaded(self):
        if callable(self._load):
            self._load = self._load()
        return self._load

    @property
    def size(self):
        """Bytes: as known where it was named, else read."""
        if self._size is None:
            found = self._loaded()
            self._size = found.size if found is not None else None
        return self._size

    @property
    def members(self):
        """[Member] of what is read now."""
        found = self._loaded()
        return found.members if found is not None else []

    @property
    def known(self):
        """False when only the declaration is known: no members."""
        return self._loaded() is not None

    def find(self, name):
        """Member ``name`` or None."""
        found = self._loaded()
        return found.find(name) if found is not None else None


def strip(found):
    """The type behind typedefs.  FormatError where a damaged source has them go in a circle."""
    for _ in range(_DEEPEST):
        if not isinstance(found, Typedef):
            return found
        found = found.target
    raise FormatError("typedef %s leads to no end" % found.text)


def find_member(record, name):
    """Member ``name`` of ``record``, its bit offset counted from the start of ``record`` through anonymous members;
    NotFoundError with near names."""
    found = record.find(name)
    if found is None:
        names = member_names(record)
        hint = None
        if not names:
            hint = "%s is only declared here: its members are not known" % record.text
        raise NotFoundError("member", name, record.text, near_names(name, names), hint=hint)
    return found


def _find(record, name, base, walk):
    walk = walk.into(record)
    for member in record.members:
        if member.name == name:
            return member._replace(bit_offset=base + member.bit_offset) if base else member
        if not member.name:
            inner = strip(member.type)
            if isinstance(inner, Record):
                found = _find(inner, name, base + member.bit_offset, walk)
                if found is not None:
                    return found
    return None


class _Walk(object):
    """Stops where anonymous structs contain themselves, once or twice: their names have no end."""
    __slots__ = ("depth", "left")

    def __init__(self, depth=0, left=None):
        self.depth, self.left = depth, left or [_MOST_MEMBERS]

    def into(self, record):
        """The walk one record further down."""
        self.left[0] -= 1 + len(record.members)
        if self.depth > _DEEPEST or self.left[0] < 0:
            raise FormatError("%s has no end of members" % record.text)
        return _Walk(self.depth + 1, self.left)


def member_names(record):
    """Names that can be written behind `->`, those of anonymous members included."""
    return _names(record, [], _Walk())


def _names(record, names, walk):
    walk = walk.into(record)
    for member in record.members:
        if member.name:
            names.append(member.name)
        else:
            inner = strip(member.type)
            if isinstance(inner, Record):
                _names(inner, names, walk)
    return names


def parameter_number(function, name):
    """Index of the parameter called ``name``, None when there is none of that name."""
    for number, param in enumerate(function.params):
        if param.name == name:
            return number
    return None
