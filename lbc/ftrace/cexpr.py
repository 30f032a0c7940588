"""Expressions of a print fmt (the syntax tree of ``cfmt``) -> Python source with C's meaning.

Only operators, numbers, names chosen here and constants passed by name get into that source, never text of the format
file.  The source sees the page as ``b``, the record's start and end in it as ``o`` and ``e``.
"""
from __future__ import absolute_import

import struct

from ..errors import FormatError
from . import pointers
from .cvalues import ELEMENT_CODES, TYPES, Value, constant, convert, fit, promote
from .formats import ARRAY, DYNAMIC, NUMBER, STRING

__all__ = ["Expressions", "ELEMENTS", "encode"]

ELEMENTS = {key: struct.Struct("=" + code).unpack_from for key, code in ELEMENT_CODES.items()}


def encode(text):
    """Bytes of text out of a format file (native text; on Python 3 one character a byte, or any text)."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeError:
        return text.encode("utf-8")


class Expressions(object):
    """Collects the pieces of one function: numbers ``used`` of the record, statements ``lines`` that come first, the
    name ``space`` that the source needs.  ``format``: EventFormat, ``names``: printfmt.Names."""

    def __init__(self, format, names):
        self.format, self.names = format, names
        self.used, self.lines, self.count = {}, [], 0
        self.space = {"Z": b"\0", "S": names.symbols, "P": names.plain, "T": names.strings, "W": names.ips,
                      "V": names.functions, "divide": pointers.divide, "remainder": pointers.remainder}

    # -- pieces --------------------------------------------------------------------------------------------------------

    def keep(self, value, prefix="k"):
        """Name under which the function sees the constant ``value``."""
        self.count += 1
        name = "%s%d" % (prefix, self.count)
        self.space[name] = value
        return name

    def assign(self, code):
        """Name of a variable that holds ``code``."""
        self.count += 1
        self.lines.append("x%d = %s" % (self.count, code))
        return "x%d" % self.count

    def field(self, name):
        field = self.format.by_name.get(name)
        if field is None:
            raise FormatError("print fmt of %s names a field `%s` that is not there" % (self.format.name, name))
        return field

    def number(self, field, offset=0):
        """Variable that holds a number of 1 to 8 bytes at ``offset`` in ``field``."""
        size = field.size if field.kind == NUMBER else field.item if field.kind == ARRAY else 4
        signed = field.signed and field.kind in (NUMBER, ARRAY)
        key = field.offset + offset, size, signed
        if key not in self.used:
            self.used[key] = "f%d" % len(self.used)
        return self.used[key]

    def place(self, field, index=0):
        """Value "bytes" for what a string, array or dynamic field holds."""
        if field.kind in (STRING, ARRAY, NUMBER):
            length = "%d" % field.size if field.size else "(e - o - %d)" % field.offset  # `buf[]` goes on to the end
            return Value("bytes", "o + %d" % field.offset, item=field.item, item_signed=field.signed, length=length)
        where = self.number(field, 4 * index)
        base = "o" if field.kind == DYNAMIC else "o + %d" % (field.offset + 4 * index + 4)
        return Value("bytes", self.assign("%s + (%s & 65535)" % (base, where)), item=field.item,
                     length="(%s >> 16)" % where)

    def text(self, value):
        """Code of the string that ``value`` points to."""
        if value.kind == "str":
            return value.code
        if value.kind == "bytes":
            return "b[%s:%s + %s].partition(Z)[0]" % (value.code, value.code, value.length or "4096")
        return "T[%s]" % convert(value, 8, False).code

    def raw(self, value, length):
        """Code of ``length`` (number or code) bytes at ``value``, which must be in the record."""
        if value.kind != "bytes":
            raise FormatError("print fmt of %s prints bytes that are not in the record" % self.format.name)
        return "b[%s:%s + %s]" % (value.code, value.code, length)

    # -- expressions ---------------------------------------------------------------------------------------------------

    def value(self, node):
        return getattr(self, "on_" + node[0])(*node[1:])

    def integer(self, node):
        value = self.value(node)
        if value.kind != "int":
            raise FormatError("print fmt of %s calculates with what is no number" % self.format.name)
        return value

    def on_int(self, value, suffix):
        size = 8 if "l" in suffix or value >> 32 else 4
        return constant(value, size, "u" not in suffix and not value >> (8 * size - 1))

    def on_str(self, text):
        return Value("str", self.keep(encode(text)))

    def on_name(self, name):
        if name == "NULL":
            return constant(0, 8, False)
        if name in ("true", "false"):
            return constant(name == "true", 4, True)
        number = self.names.constant(name)
        if number is not None:
            return constant(number, 8 if number >> 31 not in (0, -1) else 4, number >> 63 <= 0)
        raise FormatError("print fmt of %s names `%s`, which its format does not explain" % (self.format.name, name))

    def on_list(self, nodes):
        raise FormatError("print fmt of %s has braces where no list is known" % self.format.name)

    def on_field(self, name):
        field = self.field(name)
        if field.kind == NUMBER:
            return Value("int", self.number(field), field.size, field.signed)
        if name.startswith(("__data_loc_", "__rel_loc_")):
            return Value("int", self.number(field), 4, False)
        return self.place(field)

    def on_cast(self, named, node):
        words, stars = named
        value = self.value(node)
        if stars:
            row = TYPES.get(words) if stars == 1 else (8, False)
            if value.kind == "bytes":
                item, signed = row or (0, False)
                return Value("bytes", value.code, item=item, item_signed=signed, length=value.length)
            return value if value.kind == "str" else convert(value, 8, False)
        row = (4, False) if words[:1] == ("enum",) else TYPES.get(words)
        if value.kind != "int":
            if value.kind == "bytes" and row == (8, False) or words == ("void",):
                return value
            raise FormatError("print fmt of %s casts what is no number" % self.format.name)
        if row is None or row[0] > 8:
            raise FormatError("print fmt of %s casts to `%s`" % (self.format.name, " ".join(words)))
        if words in (("bool",), ("_Bool",)):
            return Value("int", "(%s != 0)" % value.code, 1, False)
        return convert(value, *row)

    def on_sizeof(self, what):
        if isinstance(what[0], tuple):
            row = (8, False) if what[1] else TYPES.get(what[0])
            if row:
                return constant(row[0], 8, False)
        elif what[0] == "field":
            return constant(self.field(what[1]).size, 8, False)
        elif what[0] == "index" and what[1][0] == "field":
            return constant(self.field(what[1][1]).item, 8, False)
        elif what == ("unary", "*", what[2]):
            return constant(self.value(what[2]).item or 1, 8, False)
        raise FormatError("print fmt of %s takes the size of something unknown" % self.format.name)

    def element(self, value, index):
        """The element ``index`` (Value) of the array ``value``."""
        if value.kind != "bytes" or (value.item, value.item_signed) not in ELEMENT_CODES:
            raise FormatError("print fmt of %s reads what is not in the record" % self.format.name)
        take = self.keep(ELEMENTS[value.item, value.item_signed], "e")
        at = "%s + %d" % (value.code, index.const * value.item) if index.const is not None else (
            "%s + %s * %d" % (value.code, index.code, value.item))
        return Value("int", "%s(b, %s)[0]" % (take, at), value.item, value.item_signed)

    def on_index(self, node, index):
        if node[0] == "field" and self.field(node[1]).kind == ARRAY and index[0] == "int":
            field = self.field(node[1])
            if field.item in (1, 2, 4, 8) and index[1] < field.count:
                return Value("int", self.number(field, index[1] * field.item), field.item, field.signed)
        return self.element(self.value(node), convert(self.integer(index), 8, True))

    def on_unary(self, operator, node):
        if operator == "&":
            if node[0] == "field":
                return self.place(self.field(node[1]))
            if node[0] == "index":
                value, index = self.value(node[1]), convert(self.integer(node[2]), 8, True)
                if value.kind == "bytes" and value.item:
                    return Value("bytes", "(%s + %s * %d)" % (value.code, index.code, value.item), item=value.item,
                                 item_signed=value.item_signed)
            raise FormatError("print fmt of %s takes the address of something unknown" % self.format.name)
        if operator == "*":
            return self.element(self.value(node), constant(0, 8, True))
        value = self.value(node)
        if operator == "!":
            return Value("int", "(not %s)" % value.code, 4, True) if value.kind == "int" else constant(0, 4, True)
        value = promote(self.integer(node))
        if value.const is not None:
            result = {"-": -value.const, "~": ~value.const, "+": value.const}[operator]
            return constant(result, value.size, value.signed)
        if operator == "+":
            return value
        return fit("(%s%s)" % (operator, value.code), value.size, value.signed, operator == "~" and value.signed)

    def on_binary(self, operator, left, right):
        if operator in ("&&", "||"):
            left, right = self.value(left), self.value(right)
            codes = ["%s" % value.code if value.kind == "int" else "True" for value in (left, right)]
            return Value("int", "(1 if %s %s %s else 0)" % (codes[0], "and" if operator == "&&" else "or", codes[1]), 4,
                         True)
        a, b = self.value(left), self.value(right)
        if a.kind == "bytes" and operator in ("+", "-") and b.kind == "int" and a.item:
            return Value("bytes", "(%s %s %s * %d)" % (a.code, operator, convert(b, 8, True).code, a.item),
                         item=a.item, item_signed=a.item_signed)
        if a.kind in ("bytes", "str") and operator in ("==", "!=") and b.const == 0:
            return constant(operator == "!=", 4, True)  # a place in the record is not NULL
        if a.kind != "int" or b.kind != "int":
            raise FormatError("print fmt of %s calculates with what is no number" % self.format.name)
        a, b = promote(a), promote(b)
        if operator in ("<<", ">>"):
            if b.const is not None:
                count = "%d" % (b.const & (8 * a.size - 1))
            else:
                count = "(%s & %d)" % (b.code, 8 * a.size - 1)
            if operator == ">>":
                return self.fold("(%s >> %s)" % (a.code, count), a.size, a.signed, a, b, True)
            return self.fold("(%s << %s)" % (a.code, count), a.size, a.signed, a, b)
        size = max(a.size, b.size)
        signed = all(value.signed or value.size < size for value in (a, b))
        a, b = convert(a, size, signed), convert(b, size, signed)
        if operator in ("==", "!=", "<", ">", "<=", ">="):
            return self.fold("(%s %s %s)" % (a.code, operator, b.code), 4, True, a, b, True)
        if operator in ("&", "|", "^"):
            return self.fold("(%s %s %s)" % (a.code, operator, b.code), size, signed, a, b, True)
        if operator in ("/", "%"):
            if b.const and b.const > 0 and not signed:
                return self.fold("(%s %s %s)" % (a.code, operator.replace("/", "//"), b.code), size, signed, a, b, True)
            return self.fold("%s(%s, %s)" % ("divide" if operator == "/" else "remainder", a.code, b.code), size,
                             signed, a, b)
        return self.fold("(%s %s %s)" % (a.code, operator, b.code), size, signed, a, b)

    def fold(self, code, size, signed, a, b, fits=False):
        """The result of ``code``; calculated now where both sides are constants."""
        if a.const is not None and b.const is not None:
            return constant(eval(code, {"divide": pointers.divide, "remainder": pointers.remainder,
                                        "__builtins__": {}}), size, signed)
        return fit(code, size, signed, fits)

    def on_cond(self, test, yes, no):
        test, yes, no = self.value(test), self.value(yes), self.value(no)
        condition = test.code if test.kind == "int" else "True"
        if yes.kind == no.kind == "int":
            yes, no = promote(yes), promote(no)
            size = max(yes.size, no.size)
            signed = all(value.signed or value.size < size for value in (yes, no))
            yes, no = convert(yes, size, signed), convert(no, size, signed)
            return Value("int", "(%s if %s else %s)" % (yes.code, condition, no.code), size, signed)
        if yes.kind == no.kind == "bytes":
            return Value("bytes", "(%s if %s else %s)" % (yes.code, condition, no.code), item=yes.item,
                         item_signed=yes.item_signed, length="4096")
        return Value("str", "(%s if %s else %s)" % (self.text(yes), condition, self.text(no)))
