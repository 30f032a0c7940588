"""The last step of the types: in which form the kernel shall store a value, and how it is shown.

The suffix follows from the C type: numbers of 1 to 8 bytes, `char []` and `char *` as text, bit-fields, arrays of
numbers; a struct as a whole cannot be stored.  The name of a variable may ask for a conversion (values.PREFIXES).
"""
from __future__ import absolute_import

from . import values
from ..resolvers import model

__all__ = ["Source", "Value", "Fetch", "store", "is_char", "U64", "CHAR"]

U64 = model.Scalar("u64", 8)
CHAR = model.Scalar("char", 1, True, "char")


class Source(object):
    """Where a chain of loads begins.  ``kind``: "reg" (``name``), "arg" (``number``, from 1), "stack" (``number`` of a
    word, None: the stack pointer itself), "retval", "comm", "global" (``name``), "address", "file".  What lies at the
    last three is a place, at an address or offset that stands in the first load's offset; the others are values."""
    __slots__ = ("kind", "name", "number")

    def __init__(self, kind, name="", number=None):
        self.kind, self.name, self.number = kind, name, number

    @property
    def in_memory(self):
        """Is the source itself a place in memory?"""
        return self.kind in ("global", "address", "file")


class Value(object):
    """``source``, then ``loads``: ((offset, user), ...), then ``offset`` bytes more: a place of type ``type``
    (``place``), or the pointer or number itself.  ``bits``: (first bit, width, bytes) of a bit-field at ``offset``;
    ``user``: the place (or what the pointer points to) is user memory; ``regs``: [Source], when the place is registers;
    ``known``: the type was said, not assumed; ``packet``: "header", or the name of the data behind it; ``cast``: the
    type was given by a cast."""
    __slots__ = ("source", "loads", "offset", "type", "place", "user", "bits", "regs", "known", "packet", "cast")

    def __init__(self, source, loads, offset, found, place, user=False, bits=None, regs=None, known=True, packet=None,
                 cast=False):
        self.source, self.loads, self.offset, self.type = source, loads, offset, found
        self.place, self.user, self.bits, self.regs = place, user, bits, regs
        self.known, self.packet, self.cast = known, packet, cast


class Fetch(object):
    """One variable.  ``source``, ``loads`` [(offset, user)], then ``store``:

    "number"  ``size`` bytes, in the format ``letter``    "plain"    8 bytes in the kernel's own format
    "bits"    ``bits``: (first, width) in ``size`` bytes  "string"   the text at the last load; ``user``: user memory
    "array"   ``count`` of ``size`` bytes                 "strings"  ``count`` pointers to text
    "symbol"  a kernel address, shown as a name           "comm"     the name of the task

    ``letter``: "" or U, S, X; ``type``: C type text; ``converter``: for display, or None.
    """
    __slots__ = ("name", "column", "source", "loads", "store", "size", "letter", "bits", "count", "user", "type",
                 "converter")

    def __init__(self, arg, value, kind, loads=(), size=8, letter="", bits=None, count=0, user=False, converter=None):
        self.name, self.column, self.type = arg.name, arg.value_column, value.type.text
        self.source, self.loads, self.store, self.size = value.source, loads, kind, size
        self.letter, self.bits, self.count, self.user, self.converter = letter, bits, count, user, converter

    @property
    def stored(self):
        """Bytes in the event, text itself not counted."""
        size = 4 if self.store in ("string", "strings", "comm") else self.size
        return size * (self.count or 1)


def is_char(found):
    """Is it plain `char`, of which texts are made?  `unsigned char` and `u8` are numbers."""
    found = model.strip(found)
    return isinstance(found, model.Scalar) and found.text == "char"


def store(checker, arg, letter, value):
    """Fetch of ``value``; ``checker``: makes the errors, follows members."""
    return _Store(checker, arg, letter).fetch(value)


class _Store(object):
    def __init__(self, checker, arg, letter):
        self.checker, self.arg, self.letter, self.target = checker, arg, letter, checker.target

    def fail(self, what, hint=None):
        return self.checker.fail(what, self.arg.value_column, hint)

    def fetch(self, value):
        if value.source.kind == "comm":
            return Fetch(self.arg, value, "comm")
        prefix = values.prefix_of(self.arg.name)
        if prefix:
            return self.prefixed(value, *prefix)
        if self.is_plain(value):
            return Fetch(self.arg, value, "plain", ((value.offset, False),) if value.place else ())
        return self.of_type(value)

    def is_plain(self, value):
        """Values that surftrace's documents show without a suffix: `$retval` of user probes, and `@symbol`."""
        if self.letter or value.cast or value.loads or value.bits:
            return False
        found = model.strip(value.type)
        if value.source.kind == "retval":
            is_text = isinstance(found, model.Pointer) and is_char(found.target)
            return self.target.user and not (value.place or value.offset or is_text)
        if not (value.place and value.source.in_memory):
            return False
        if isinstance(found, model.Pointer):
            return not is_char(found.target)
        return isinstance(found, model.Scalar) and found.size == 8 and found.kind == "int"

    def of_type(self, value):
        found = model.strip(value.type)
        if value.bits:
            return self.bit_field(value, found)
        depth = 0
        while isinstance(found, model.Record):
            value, depth = self.only_member(value), depth + 1
            found = model.strip(value.type)
            if depth > 16:
                raise self.fail("%s contains itself" % value.type.text)
        if isinstance(found, model.Array):
            return self.array(value, found)
        if isinstance(found, model.Pointer):
            return self.pointer(value, found)
        if isinstance(found, model.Scalar):
            return self.scalar(value, found)
        raise self.fail("a value of type %s cannot be read" % value.type.text)

    def only_member(self, value):
        """A record that only wraps a number (atomic_t, kuid_t) is that number."""
        record = self.checker.complete(model.strip(value.type), self.arg.value_column)
        members = record.members
        if len(members) == 1 and not members[0].bit_offset and not members[0].bit_size and \
                members[0].type.size == record.size:
            return Value(value.source, value.loads, value.offset, members[0].type, value.place, value.user,
                         regs=value.regs)
        names = model.member_names(record)
        raise self.fail("%s as a whole is no value" % value.type.text,
                        "name a member: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
                        if names else None)

    def loads_of(self, value):
        """Loads that lead to a number."""
        if not value.place:
            if value.source.in_memory and not value.loads:
                raise self.fail("the kernel reads what lies at a symbol or address, it does not show the address "
                                "itself", "/proc/kallsyms has it")
            return value.loads
        return value.loads + ((value.offset, value.user),)

    def scalar(self, value, found, converter=None):
        letter = self.letter
        if found.kind == "float" and letter != "X":
            raise self.fail("%s: the kernel's events have no floating point numbers" % found.text,
                            "X shows its bits")
        if found.size not in (1, 2, 4, 8):
            raise self.fail("a number of %d bytes cannot be stored" % found.size,
                            "take it in parts: !(u64 [2])... [0] and [1]" if found.size == 16 and value.place else None)
        if converter is None and found.values and not letter:
            converter = values.Enum(found.values, 8 * found.size, found.signed)
        return self.number(value, found.size, converter)

    def number(self, value, size, converter=None):
        if value.regs is not None:
            return self.in_registers(value, 8 * (value.offset % 8), 8 * size, converter)
        loads = self.loads_of(value)
        if not value.place and value.offset:
            if size != 8 or converter:
                raise self.fail("only a pointer can be shown with something added")
            converter = values.Offset(value.offset, self.letter)
        return self.formatted(Fetch(self.arg, value, "number", loads, size, self.letter, converter=converter))

    def formatted(self, fetch):
        """Hex where the kernel has no hex types (before 4.9)."""
        if fetch.letter == "X" and "x-types" not in self.target.features:
            fetch.letter = "U"
            if fetch.converter is None:
                one = values.Number(8 * fetch.size, "X")
                fetch.converter = values.Each(one) if fetch.store == "array" else one
        return fetch

    def in_registers(self, value, first, width, converter):
        """Part of a struct that is handed over in registers."""
        value.source = value.regs[value.offset // 8]
        if first + width > 64:
            raise self.fail("it lies in two registers")
        if not first and width in (8, 16, 32, 64):
            return self.formatted(Fetch(self.arg, value, "number", (), width // 8, self.letter, converter=converter))
        if converter is None and self.letter in ("S", "X"):
            converter = values.Number(width, self.letter)
        return Fetch(self.arg, value, "bits", (), 8, "", (first, width), converter=converter)

    def bit_field(self, value, found):
        first, width, size = value.bits
        converter = None
        if self.letter in ("S", "X"):  # the kernel prints bit-fields as unsigned numbers
            converter = values.Number(width, self.letter)
        elif not self.letter and isinstance(found, model.Scalar) and found.values:
            converter = values.Enum(found.values, width, found.signed)
        if value.regs is not None:
            return self.in_registers(value, 8 * (value.offset % 8) + first, width, converter)
        if first + width > 8 * size:
            raise self.fail("this bit-field spans more than 8 bytes")
        return Fetch(self.arg, value, "bits", self.loads_of(value), size, "", (first, width), converter=converter)

    def pointer(self, value, found):
        if is_char(found.target) and self.letter != "X":
            value = self.checker.load(value, self.arg.value_column)
            user = bool(found.user or value.user) and not self.target.user
            return self.string(value, user)
        if isinstance(model.strip(found.target), model.FuncType) and not self.letter and not self.target.user and \
                "symbol-type" in self.target.features and value.regs is None and (value.place or not value.offset):
            return Fetch(self.arg, value, "symbol", self.loads_of(value))
        return self.number(value, found.size or 8)

    def string(self, value, user):
        """The text at an address."""
        if user and "ustring" not in self.target.features:
            user = False  # before 5.3 the kernel's reads took addresses of both kinds
        return Fetch(self.arg, value, "string", value.loads + ((value.offset, False),), user=user)

    def array(self, value, found):
        letter = self.letter
        if not value.place:
            raise self.fail("%s as a whole is no value" % found.text)
        if is_char(found.element) and letter != "X":
            if value.regs is not None:
                raise self.fail("a text in registers cannot be read", "X shows its bytes, [0] one of them")
            return self.string(value, value.user)
        element, count = model.strip(found.element), found.count
        while isinstance(element, model.Array):
            element, count = model.strip(element.element), count * element.count
        one = "take one element: [0]"
        if isinstance(element, model.Record):
            raise self.fail("%s as a whole is no value" % found.text, "take a member of one element: [0].%s" % (
                model.member_names(element) + ["member"])[0])
        if not count:
            raise self.fail("how many elements %s has is not known" % found.text, one)
        if is_char(element) and isinstance(model.strip(found.element), model.Array) and letter != "X":
            raise self.fail("several texts at once cannot be read from %s" % found.text, one)
        if count > self.target.limits.array:
            raise self.fail("%s has %d elements, the kernel takes %d at once" % (
                found.text, count, self.target.limits.array), one)
        if "arrays" not in self.target.features:
            raise self.fail("this kernel cannot read whole arrays", one)
        if value.regs is not None:
            raise self.fail("an array in registers cannot be read as a whole", one)
        loads = value.loads + ((value.offset, value.user),)
        if isinstance(element, model.Pointer) and is_char(element.target) and letter != "X" and \
                "string-array" in self.target.features:
            user = bool(element.user or value.user) and not self.target.user
            return Fetch(self.arg, value, "strings", loads, count=count, user=user)
        if value.user:
            raise self.fail("the kernel reads arrays of numbers only from its own memory", one)
        return self.numbers(value, element, count, loads)

    def numbers(self, value, element, count, loads):
        size, converter = element.size, None
        if isinstance(element, model.Scalar):
            if element.kind == "float" and self.letter != "X":
                raise self.fail("%s: the kernel's events have no floating point numbers" % element.text,
                                "X shows their bits")
            if element.values and not self.letter:
                converter = values.Each(values.Enum(element.values, 8 * size, element.signed))
        if size not in (1, 2, 4, 8):
            raise self.fail("numbers of %s bytes cannot be stored" % size)
        return self.formatted(Fetch(self.arg, value, "array", loads, size, self.letter, count=count,
                                    converter=converter))

    # -- ip_, b16_ and so on -------------------------------------------------------------------------------------------

    def prefixed(self, value, prefix, size):
        """A value of exactly ``size`` bytes, in network order; a pointer to as much is followed."""
        found = model.strip(value.type)
        if isinstance(found, model.Pointer) and prefix in ("ip_", "ip6_"):
            target = model.strip(found.target)
            if isinstance(target, (model.Record, model.Array)) and target.size == size:
                value = self.checker.deref(value, self.arg.value_column)
                found = target
        if isinstance(found, model.Record):
            found = self.checker.complete(found, self.arg.value_column)
        given = value.bits[1] / 8.0 if value.bits else found.size
        if not value.known and size <= 8:
            given = size  # of registers and addresses without a type, as much is taken as is wanted
        if given != size:
            raise self.fail("a variable named %s... shows %d bytes, and %s has %s" % (
                prefix, size, value.type.text, given or "an unknown number"),
                "give the variable another name, or the value another type: !(u%d)..." % (8 * size)
                if size < 16 else "give the variable another name")
        converter = values.prefix_converter(prefix, self.letter)
        if size <= 8:
            return self.number(value, size, converter)
        if not value.place or value.regs is not None:
            raise self.fail("16 bytes can only be read from memory")
        if "arrays" not in self.target.features:
            raise self.fail("this kernel cannot read 16 bytes at once")
        if value.user:
            raise self.fail("the kernel reads arrays of numbers only from its own memory")
        self.letter = "X"
        return self.formatted(Fetch(self.arg, value, "array", value.loads + ((value.offset, False),), 1, "X", count=16,
                                    converter=converter))
