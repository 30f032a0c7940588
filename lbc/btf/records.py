"""What decoded values are made of: ``Record`` (a struct), ``EnumValue`` (an int that knows its name), text and
integers.

A record keeps the tuple that ``struct`` unpacked and turns a field into its value when it is read: making one costs 60
ns on Python 3.11 however many fields it has.
"""
from __future__ import absolute_import

from .._py23 import integer_types, near, to_text
from ..errors import InputError

__all__ = ["Record", "EnumValue", "enum_class", "record_class", "text_of", "int_of", "bytes_of"]

# words no Python takes as an attribute name, 2.7 to 3.13; such members are also there as NAME_
_KEYWORDS = frozenset(
    "and as assert async await break class continue def del elif else except exec finally for from global if import "
    "in is lambda nonlocal not or pass print raise return try while with yield None True False".split())


class Record(object):
    """A decoded struct or union: fields as attributes, immutable, equal when all fields are.

    Iterates over its values; ``._fields``: C names in order; ``._asdict()``; ``._replace(name=value)``.
    A member whose name Python does not take (``class``) is also there with an underscore behind (``class_``).
    """

    __slots__ = ("_v",)
    _fields = ()
    _type = ""
    _getters = ()
    _pack = None  # f(dict) -> tuple of raw items, set when the class is made

    def __iter__(self):
        raw = self._v
        return iter([get(raw) for get in self._getters])

    def __len__(self):
        return len(self._fields)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return list(self)[index]
        return self._getters[index](self._v)

    def _asdict(self):
        """{C member name: value}, in order where dicts keep one; records inside stay records."""
        raw = self._v
        return dict([(name, get(raw)) for name, get in zip(self._fields, self._getters)])

    def _replace(self, **changes):
        """A copy with some members changed; NotFound names raise InputError."""
        values = self._asdict()
        for name, value in changes.items():
            plain = name if name in values else name[:-1]
            if plain not in values:
                raise InputError("struct %s has no member `%s`" % (self._type, name))
            values[plain] = value
        copy = type(self)()
        copy._v = type(self)._pack(values)
        return copy

    def __eq__(self, other):
        if isinstance(other, Record):
            return self._fields == other._fields and (
                (self._v == other._v and type(self) is type(other)) or list(self) == list(other))
        return NotImplemented

    def __ne__(self, other):
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __hash__(self):
        raw = self._v
        try:
            return hash(tuple([get(raw) for get in self._getters]))
        except TypeError:  # an array inside; a tuple in its place hashes as _frozen() of the whole would
            return hash(_frozen(self))

    def __repr__(self):
        return "%s(%s)" % (self._type or "anonymous",
                           ", ".join(["%s=%r" % pair for pair in zip(self._fields, self)]))

    def __reduce__(self):
        raise TypeError("records do not pickle; send ._asdict()")


def _frozen(value):
    if isinstance(value, (Record, list)):
        return tuple([_frozen(each) for each in value])
    return value


_RESERVED = frozenset(dir(Record))


def attribute_names(name):
    """The attribute names a C member is reachable by."""
    if name in _RESERVED or (name.startswith("__") and name.endswith("__")):
        return [name + "_"]
    return [name, name + "_"] if name in _KEYWORDS else [name]


def _hash_of_raw(record):
    """Of records whose values are the raw items, as map keys often are: the same number at a quarter of the time."""
    return hash(record._v)


def record_class(type_name, fields, pack):
    """A Record class; ``fields``: [(C name, f(raw tuple) -> value)], ``pack``: f({name: value}) -> raw tuple."""
    body = {"__slots__": (), "_type": type_name, "_fields": tuple([name for name, _get in fields]),
            "_getters": tuple([get for _name, get in fields]), "_pack": staticmethod(pack),
            "__doc__": "Record of %s." % (type_name or "an anonymous type")}
    if [getattr(get, "plain_index", None) for _name, get in fields] == list(range(len(fields))):
        body["__hash__"] = _hash_of_raw
    for name, get in fields:
        for attribute in attribute_names(name):
            body.setdefault(attribute, _property(get))
    return type(str("Record_" + type_name if type_name else "Record_anonymous"), (Record,), body)


def item_getter(index):
    """f(raw tuple) -> its item; ``.index`` is read back by _property, which then saves a call."""
    def get(raw):
        return raw[index]
    get.plain_index = index
    return get


def _property(get):
    index = getattr(get, "plain_index", None)
    if index is not None:
        return property(lambda self: self._v[index])
    return property(lambda self: get(self._v))


_Integer = integer_types[-1]  # 2.7: long, which holds an unsigned 64-bit value and is int's equal


class EnumValue(_Integer):
    """The number, with ``.name`` ("" if the enum has none for it).  repr() shows the name, str() the number."""

    __slots__ = ()
    _names = {}

    @property
    def name(self):
        return self._names.get(_Integer(self), "")

    def __repr__(self):
        return self.name or str(_Integer(self))

    def __str__(self):  # json of Python 2.7 writes str() of an int's subclass
        return str(_Integer(self))


def enum_class(type_name, values):
    """(f(int) -> EnumValue, f(name or int) -> int) of an enum with ``values`` [(name, int)]."""
    names, numbers = {}, {}
    for name, number in values:
        names.setdefault(number, name)
        numbers[name] = number
    made = type(str("Enum_" + type_name if type_name else "Enum_anonymous"), (EnumValue,),
                {"__slots__": (), "_names": names, "__doc__": "Values of enum %s." % type_name})
    known = dict([(number, made(number)) for number in names])

    def of(number):
        return known[number] if number in known else made(number)

    def number_of(value):
        if isinstance(value, integer_types):
            return _Integer(value)
        number = numbers.get(to_text(value)) if hasattr(value, "encode") or isinstance(value, bytes) else None
        if number is None:
            raise InputError("enum %s has no value %r" % (type_name, value),
                             hint="perhaps %s" % " or ".join(near(str(value), numbers) or sorted(numbers)[:3]))
        return number
    return of, number_of


def text_of(raw):
    """Text of a char array, up to its first zero byte."""
    return to_text(raw.partition(b"\0")[0])


def int_of(raw, order):
    """Unsigned integer of bytes of any length; ``order`` "<" or ">"."""
    import binascii
    return int(binascii.hexlify(raw if order == ">" else raw[::-1]) or b"0", 16)


def bytes_of(number, size, order):
    """The opposite of int_of; InputError when it does not fit."""
    if number < 0 or number >> 8 * size:
        raise InputError("%d does not fit into %d bytes" % (number, size))
    import binascii
    raw = binascii.unhexlify("%0*x" % (2 * size, number)) if size else b""
    return raw if order == ">" else raw[::-1]
