"""The kinds of BTF types as plain values: ids are ints, names native text, offsets and sizes in the units BTF uses.

Source: include/uapi/linux/btf.h.  A type of a kind newer than this list is an ``Unknown``: it can be walked past and
counted when the BTF says its size (BTF_LAYOUT, Linux 7.1), never interpreted.
"""
from __future__ import absolute_import

from ..uapi import btf as _u

__all__ = ["BtfType", "Int", "Ptr", "Array", "Struct", "Union", "Member", "Enum", "Enum64", "Fwd", "Typedef",
           "Volatile",
           "Const", "Restrict", "Func", "FuncProto", "Var", "Datasec", "Float", "DeclTag", "TypeTag", "Void", "Unknown",
           "MODIFIERS", "COMPOSITE", "NAMED_TYPES", "WALKABLE"]


class BtfType(object):
    """Base: ``.kind`` (BTF_KIND_*), ``.name`` ("" if none); equal when all fields are."""

    __slots__ = ()
    kind = _u.BTF_KIND_UNKN
    name = ""

    @classmethod
    def _fields(cls):
        return cls.__slots__ or getattr(cls.__mro__[1], "__slots__", ())

    def _key(self):
        return tuple(getattr(self, field) for field in self._fields())

    def __eq__(self, other):
        return type(self) is type(other) and self._key() == other._key()

    def __ne__(self, other):
        return not self == other

    __hash__ = None

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__,
                           ", ".join("%s=%r" % (field, getattr(self, field)) for field in self._fields()))


class Void(BtfType):
    """Type id 0."""

    __slots__ = ()
    name = "void"


class Int(BtfType):
    """``size`` bytes, ``bits`` wide at bit ``offset``; ``encoding``: BTF_INT_SIGNED|CHAR|BOOL."""

    __slots__ = ("name", "size", "encoding", "bits", "offset")
    kind = _u.BTF_KIND_INT

    def __init__(self, name, size, encoding=0, bits=None, offset=0):
        self.name, self.size, self.encoding, self.offset = name, size, encoding, offset
        self.bits = size * 8 if bits is None else bits

    @property
    def signed(self):
        return bool(self.encoding & _u.BTF_INT_SIGNED)


class _Ref(BtfType):  # one slot, shared by the four kinds that are only a reference
    __slots__ = ("type",)

    def __init__(self, type):
        self.type = type


class Ptr(_Ref):
    """Pointer to ``type`` (0: void)."""

    __slots__ = ()
    kind = _u.BTF_KIND_PTR


class Volatile(_Ref):
    """volatile ``type``."""

    __slots__ = ()
    kind = _u.BTF_KIND_VOLATILE


class Const(_Ref):
    """const ``type``."""

    __slots__ = ()
    kind = _u.BTF_KIND_CONST


class Restrict(_Ref):
    """restrict ``type``."""

    __slots__ = ()
    kind = _u.BTF_KIND_RESTRICT


class Array(BtfType):
    """``count`` elements of ``type``; count 0: flexible."""

    __slots__ = ("type", "index_type", "count")
    kind = _u.BTF_KIND_ARRAY

    def __init__(self, type, index_type, count):
        self.type, self.index_type, self.count = type, index_type, count


class Member(BtfType):
    """Member of a struct or union: ``bit_offset`` from its start; ``bit_size`` 0 unless a bit-field."""

    __slots__ = ("name", "type", "bit_offset", "bit_size")

    def __init__(self, name, type, bit_offset=0, bit_size=0):
        self.name, self.type, self.bit_offset, self.bit_size = name, type, bit_offset, bit_size


class Struct(BtfType):
    """``size`` bytes, ``members``: list of Member."""

    __slots__ = ("name", "size", "members")
    kind = _u.BTF_KIND_STRUCT

    def __init__(self, name, size, members):
        self.name, self.size, self.members = name, size, members


class Union(BtfType):
    """``size`` bytes, ``members``: list of Member."""

    __slots__ = ("name", "size", "members")
    kind = _u.BTF_KIND_UNION

    def __init__(self, name, size, members):
        self.name, self.size, self.members = name, size, members


class Enum(BtfType):
    """``values``: list of (name, int); ``signed`` as the kind_flag says (clang 15 and later set it)."""

    __slots__ = ("name", "size", "signed", "values")
    kind = _u.BTF_KIND_ENUM

    def __init__(self, name, size, signed, values):
        self.name, self.size, self.signed, self.values = name, size, signed, values


class Enum64(BtfType):
    """``values``: list of (name, int) of up to 64 bits.  Linux 6.0."""

    __slots__ = ("name", "size", "signed", "values")
    kind = _u.BTF_KIND_ENUM64

    def __init__(self, name, size, signed, values):
        self.name, self.size, self.signed, self.values = name, size, signed, values


class Fwd(BtfType):
    """Forward declaration of a struct (or of a union: ``is_union``)."""

    __slots__ = ("name", "is_union")
    kind = _u.BTF_KIND_FWD

    def __init__(self, name, is_union=False):
        self.name, self.is_union = name, is_union


class Typedef(BtfType):
    """``name`` for ``type``."""

    __slots__ = ("name", "type")
    kind = _u.BTF_KIND_TYPEDEF

    def __init__(self, name, type):
        self.name, self.type = name, type


class Func(BtfType):
    """Function ``name`` with prototype ``type``; ``linkage``: BTF_FUNC_*."""

    __slots__ = ("name", "type", "linkage")
    kind = _u.BTF_KIND_FUNC

    def __init__(self, name, type, linkage=0):
        self.name, self.type, self.linkage = name, type, linkage


class FuncProto(BtfType):
    """``ret``: type id; ``params``: list of (name, type id); a last ("", 0) means variadic."""

    __slots__ = ("ret", "params")
    kind = _u.BTF_KIND_FUNC_PROTO

    def __init__(self, ret, params):
        self.ret, self.params = ret, params


class Var(BtfType):
    """Variable; ``linkage``: BTF_VAR_*."""

    __slots__ = ("name", "type", "linkage")
    kind = _u.BTF_KIND_VAR

    def __init__(self, name, type, linkage=0):
        self.name, self.type, self.linkage = name, type, linkage


class Datasec(BtfType):
    """Section ``name`` of ``size`` bytes; ``vars``: list of (var id, byte offset, byte size)."""

    __slots__ = ("name", "size", "vars")
    kind = _u.BTF_KIND_DATASEC

    def __init__(self, name, size, vars):
        self.name, self.size, self.vars = name, size, vars


class Float(BtfType):
    """Floating point of ``size`` bytes.  Linux 5.13."""

    __slots__ = ("name", "size")
    kind = _u.BTF_KIND_FLOAT

    def __init__(self, name, size):
        self.name, self.size = name, size


class DeclTag(BtfType):
    """Text ``name`` tied to ``type``, or to its member/parameter ``component`` (-1: the whole).  ``attribute``: a C
    attribute, not a tag (Linux 6.15).  Linux 5.16."""

    __slots__ = ("name", "type", "component", "attribute")
    kind = _u.BTF_KIND_DECL_TAG

    def __init__(self, name, type, component=-1, attribute=False):
        self.name, self.type, self.component, self.attribute = name, type, component, attribute


class TypeTag(BtfType):
    """Text ``name`` tied to a pointer's target ``type``.  ``attribute``: as for DeclTag.  Linux 5.17."""

    __slots__ = ("name", "type", "attribute")
    kind = _u.BTF_KIND_TYPE_TAG

    def __init__(self, name, type, attribute=False):
        self.name, self.type, self.attribute = name, type, attribute


class Unknown(BtfType):
    """A kind newer than this module: ``number``, ``flag``, ``vlen``, ``size_or_type`` and ``extra`` (bytes after
    it)."""

    __slots__ = ("number", "name", "flag", "vlen", "size_or_type", "extra")

    def __init__(self, number, name, flag, vlen, size_or_type, extra):
        self.number, self.name, self.flag, self.vlen = number, name, flag, vlen
        self.size_or_type, self.extra = size_or_type, extra

    @property
    def kind(self):
        return self.number


MODIFIERS = frozenset((_u.BTF_KIND_CONST, _u.BTF_KIND_VOLATILE, _u.BTF_KIND_RESTRICT, _u.BTF_KIND_TYPE_TAG))
WALKABLE = MODIFIERS | frozenset((_u.BTF_KIND_TYPEDEF,))
COMPOSITE = frozenset((_u.BTF_KIND_STRUCT, _u.BTF_KIND_UNION))
# what C calls a type by name (CO-RE candidates): no functions, variables, sections, tags
NAMED_TYPES = COMPOSITE | frozenset((_u.BTF_KIND_INT, _u.BTF_KIND_ENUM, _u.BTF_KIND_ENUM64, _u.BTF_KIND_FWD,
                                     _u.BTF_KIND_TYPEDEF, _u.BTF_KIND_FLOAT))
