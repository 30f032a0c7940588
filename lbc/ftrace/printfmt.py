"""An event's `print fmt` -> a Python function that prints its records as the kernel does.

The C text (``cfmt``) is translated with C's rules (integer promotion, signedness, wrapping, division towards zero) into
the source of one function

    line(head, seconds, microseconds, page, start, end) -> bytes of the whole line

that takes a record's numbers out with one Struct and prints them with one `%`.  Only operators, numbers, names chosen
here and constants passed by name get into that source, never text of the format file.
"""
from __future__ import absolute_import

import struct

from .._py23 import range
from ..errors import FormatError
from . import pointers
from .cfmt import parse
from .formats import ARRAY, DYNAMIC, NUMBER, RELATIVE, STRING

__all__ = ["Compiler", "Names", "compile_event", "split_format"]

_CODES = {(1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h", (4, False): "I", (4, True): "i",
          (8, False): "Q", (8, True): "q"}
_ELEMENTS = {key: struct.Struct("=" + code).unpack_from for key, code in _CODES.items()}
_TYPES = {("char",): (1, True), ("signed", "char"): (1, True), ("unsigned", "char"): (1, False), ("bool",): (1, False),
          ("_Bool",): (1, False), ("short",): (2, True), ("unsigned", "short"): (2, False), ("int",): (4, True),
          ("unsigned",): (4, False), ("unsigned", "int"): (4, False), ("signed", "int"): (4, True),
          ("long",): (8, True), ("unsigned", "long"): (8, False), ("long", "unsigned", "int"): (8, False),
          ("long", "int"): (8, True), ("long", "long"): (8, True), ("unsigned", "long", "long"): (8, False),
          ("long", "long", "unsigned", "int"): (8, False)}
for _bits in (8, 16, 32, 64):
    for _prefix in ("u", "__u", "__le", "__be", "s", "__s"):
        _TYPES["%s%d" % (_prefix, _bits),] = _bits // 8, _prefix in ("s", "__s")
    _TYPES["uint%d_t" % _bits,], _TYPES["int%d_t" % _bits,] = (_bits // 8, False), (_bits // 8, True)
for _word, _row in (("size_t", (8, False)), ("ssize_t", (8, True)), ("loff_t", (8, True)), ("sector_t", (8, False)),
                    ("pid_t", (4, True)), ("uid_t", (4, False)), ("gid_t", (4, False)), ("dev_t", (4, False)),
                    ("ino_t", (8, False)), ("uint", (4, False)), ("ulong", (8, False)), ("umode_t", (2, False)),
                    ("gfp_t", (4, False)), ("phys_addr_t", (8, False)), ("dma_addr_t", (8, False)),
                    ("uintptr_t", (8, False)), ("blkcnt_t", (8, False)), ("pgoff_t", (8, False)),
                    ("ktime_t", (8, True)), ("time64_t", (8, True)), ("off_t", (8, True)), ("pte_t", (8, False)),
                    ("uuid_t", (16, False)), ("guid_t", (16, False))):
    _TYPES[_word,] = _row
_TYPE_NAMES = frozenset(key[0] for key in _TYPES if len(key) == 1)
MAX_WIDTH = 4096      # of a `*`: the kernel prints no line longer than two pages


class Names(object):
    """What printing needs from outside, mappings from kernel addresses to bytes: ``symbols`` "f+0x1/0x20 [m]" (as %pS),
    ``plain`` "f [m]" (as %ps), ``ips`` and ``functions`` the same as ftrace shows them (its options, no module, user
    addresses), ``strings`` the text at that address.  ``constant(name)`` -> number of an enumerator or None;
    ``attached(group, event)`` -> b"system.event" that an event probe sits on, or None; ``syscall_args``: how system
    calls' arguments are shown, 0 bare hexadecimal, 1 with 0x (6.18), 2 with what pointers lead to as well (6.19)."""
    syscall_args = 0

    def __init__(self, symbols=(), plain=(), strings=(), ips=(), functions=()):
        self.symbols, self.plain, self.strings, self.ips, self.functions = symbols, plain, strings, ips, functions

    def constant(self, name):
        return None

    def attached(self, group, event):
        return None


class Value(object):
    """An expression's Python ``code`` and its C type: ``size`` bytes, ``signed``; ``kind``: "int", "str" (bytes that
    end before the first zero) or "bytes" (``code`` is a position in the page, ``item`` and ``item_signed`` its element,
    ``length`` code of the bytes there are); ``const``: the number where it is known."""
    __slots__ = ("kind", "code", "size", "signed", "const", "item", "item_signed", "length")

    def __init__(self, kind, code, size=8, signed=False, const=None, item=1, item_signed=False, length=None):
        self.kind, self.code, self.size, self.signed, self.const = kind, code, size, signed, const
        self.item, self.item_signed, self.length = item, item_signed, length


def _wrap(value, size, signed):
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if signed and value >> (8 * size - 1) else value


def constant(value, size, signed):
    value = _wrap(value, size, signed)
    return Value("int", "%d" % value if value >= 0 else "(%d)" % value, size, signed, value)


def convert(value, size, signed):
    """``value`` (int) as C converts it to an integer type."""
    if value.const is not None:
        return constant(value.const, size, signed)
    if (value.size, value.signed) == (size, signed) or (not value.signed and value.size < size) or (
            value.signed and signed and value.size <= size):
        return Value("int", value.code, size, signed)
    mask = (1 << 8 * size) - 1
    code = "(%s & %d)" % (value.code, mask)
    if signed:
        half = 1 << (8 * size - 1)
        code = "((%s ^ %d) - %d)" % (code, half, half)
    return Value("int", code, size, signed)


def split_format(text):
    """[literal, (flags, width, precision, size, conversion), literal ...] of a C format text; width and precision: None,
    a number or "*"; conversion: one letter, or `p` with what follows.  FormatError."""
    found, literal, at = [], [], 0
    while at < len(text):
        if text[at] != "%":
            literal.append(text[at])
            at += 1
            continue
        if text[at + 1:at + 2] == "%":
            literal.append("%")
            at += 2
            continue
        at += 1
        flags, numbers, size = "", [None, None], ""
        while text[at:at + 1] in ("-", "+", " ", "#", "0"):
            flags += text[at]
            at += 1
        for which in (0, 1):
            if which and text[at:at + 1] != ".":
                break
            at += which
            if text[at:at + 1] == "*":
                numbers[which] = "*"
                at += 1
            else:
                end = at
                while text[end:end + 1].isdigit():
                    end += 1
                if end > at or which:
                    numbers[which] = min(int(text[at:end] or "0"), MAX_WIDTH)
                at = end
        while text[at:at + 1] in ("h", "l", "L", "z", "t", "q", "j", "Z"):
            size += text[at]
            at += 1
        conversion = text[at:at + 1]
        at += 1
        if conversion == "p":
            # vsnprintf skips every letter and digit behind a `p`
            while text[at:at + 1].isalnum():
                conversion += text[at]
                at += 1
        elif conversion not in tuple("diuxXocs"):
            raise FormatError("conversion `%%%s` of print fmt is not known" % (size + conversion))
        found += ["".join(literal), (flags, numbers[0], numbers[1], size, conversion)]
        literal = []
    return found + ["".join(literal)]


class Compiler(object):
    """Collects the pieces of one function.  ``format``: EventFormat, ``names``: Names."""

    def __init__(self, format, names):
        self.format, self.names = format, names
        self.used, self.lines, self.count = {}, [], 0
        self.space = {"Z": b"\0", "S": names.symbols, "P": names.plain, "T": names.strings, "W": names.ips,
                      "V": names.functions}
        for name in ("ip4", "ip6", "ip6_short", "mac", "uuid", "hex_bytes", "bitmap", "bit_list", "print_flags",
                     "print_array", "divide", "remainder", "socket_address"):
            self.space[name] = getattr(pointers, name)

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
            return Value("bytes", "o + %d" % field.offset, item=field.item, item_signed=field.signed,
                         length="%d" % field.size)
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
        return Value("str", self.keep(_encode(text)))

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
            row = _TYPES.get(words) if stars == 1 else (8, False)
            if value.kind == "bytes":
                item, signed = row or (0, False)
                return Value("bytes", value.code, item=item, item_signed=signed, length=value.length)
            return value if value.kind == "str" else convert(value, 8, False)
        row = (4, False) if words[:1] == ("enum",) else _TYPES.get(words)
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
            row = (8, False) if what[1] else _TYPES.get(what[0])
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
        if value.kind != "bytes" or (value.item, value.item_signed) not in _CODES:
            raise FormatError("print fmt of %s reads what is not in the record" % self.format.name)
        take = self.keep(_ELEMENTS[value.item, value.item_signed], "e")
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
        value = self.promote(self.integer(node))
        if value.const is not None:
            result = {"-": -value.const, "~": ~value.const, "+": value.const}[operator]
            return constant(result, value.size, value.signed)
        if operator == "+":
            return value
        return self.fit("(%s%s)" % (operator, value.code), value.size, value.signed, operator == "~" and value.signed)

    @staticmethod
    def promote(value):
        """C's integer promotion."""
        return convert(value, 4, True) if value.size < 4 else value

    @staticmethod
    def fit(code, size, signed, fits=False):
        """``code``, whose value may lie outside of the type, wrapped into it."""
        if fits:
            return Value("int", code, size, signed)
        mask, half = (1 << 8 * size) - 1, 1 << (8 * size - 1)
        if signed:
            return Value("int", "(((%s & %d) ^ %d) - %d)" % (code, mask, half, half), size, True)
        return Value("int", "(%s & %d)" % (code, mask), size, False)

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
        a, b = self.promote(a), self.promote(b)
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
        return self.fit(code, size, signed, fits)

    def on_cond(self, test, yes, no):
        test, yes, no = self.value(test), self.value(yes), self.value(no)
        condition = test.code if test.kind == "int" else "True"
        if yes.kind == no.kind == "int":
            yes, no = self.promote(yes), self.promote(no)
            size = max(yes.size, no.size)
            signed = all(value.signed or value.size < size for value in (yes, no))
            yes, no = convert(yes, size, signed), convert(no, size, signed)
            return Value("int", "(%s if %s else %s)" % (yes.code, condition, no.code), size, signed)
        if yes.kind == no.kind == "bytes":
            return Value("bytes", "(%s if %s else %s)" % (yes.code, condition, no.code), item=yes.item,
                         item_signed=yes.item_signed, length="4096")
        return Value("str", "(%s if %s else %s)" % (self.text(yes), condition, self.text(no)))

    # -- functions -----------------------------------------------------------------------------------------------------

    def on_call(self, function, arguments):
        handler = getattr(self, "call" + function, None) if function.startswith("__") else None
        if handler is None:
            handler = {"jiffies_to_msecs": None}.get(function)
        if handler is None:
            raise FormatError("print fmt of %s calls %s()" % (self.format.name, function))
        try:
            return handler(*arguments)
        except TypeError:
            raise FormatError("print fmt of %s: wrong arguments of %s()" % (self.format.name, function))

    def named(self, node):
        """Place of the dynamic field that an argument names, `x` or `x[2]`."""
        index = 0
        if node[0] == "index" and node[2][0] == "int":
            node, index = node[1], node[2][1]
        if node[0] != "name":
            raise FormatError("print fmt of %s: no name of a field" % self.format.name)
        field = self.field(node[1])
        if field.kind not in (DYNAMIC, RELATIVE) or 4 * index >= field.size:
            raise FormatError("print fmt of %s: `%s` is no dynamic field" % (self.format.name, node[1]))
        return self.place(field, index)

    def call__get_str(self, node):
        value = self.named(node)
        return Value("bytes", value.code, item=1, length=value.length)

    def call__get_dynamic_array(self, node):
        return self.named(node)

    def call__get_dynamic_array_len(self, node):
        return Value("int", self.named(node).length, 4, False)

    def call__get_bitmask(self, node):
        value = self.named(node)
        return Value("str", "bitmap(%s, 8 * %s)" % (self.raw(value, value.length), value.length))

    call__get_rel_str = call__get_str
    call__get_rel_dynamic_array = call__get_sockaddr = call__get_rel_sockaddr = call__get_dynamic_array
    call__get_rel_dynamic_array_len = call__get_dynamic_array_len
    call__get_cpumask = call__get_rel_cpumask = call__get_rel_bitmask = call__get_bitmask

    def rows(self, nodes):
        """[(number without sign, name)] of `{value, "name"}, ...`; one in (a NULL or -1) ends it."""
        found = []
        for node in nodes:
            if node == ("list", []):
                continue
            if node[0] != "list" or len(node[1]) != 2:
                raise FormatError("print fmt of %s: a list of values and names was expected" % self.format.name)
            value, name = self.integer(node[1][0]), node[1][1]
            if name[0] != "str" and self.integer(name).const == 0:
                break  # NULL
            if value.const is None or name[0] != "str":
                raise FormatError("print fmt of %s: a list of values and names was expected" % self.format.name)
            found.append((value.const & (1 << 64) - 1, _encode(name[1])))
        return found

    def call__print_symbolic(self, node, *nodes):
        names = {}
        for number, name in self.rows(nodes):
            if name:  # an empty name prints the number (trace_print_symbols_seq)
                names.setdefault(number, name)
        return Value("str", "%s[%s]" % (self.keep(_Symbolic(names), "d"), convert(self.integer(node), 8, False).code))

    def call__print_flags(self, node, separator, *nodes):
        if separator[0] != "str":
            raise FormatError("print fmt of %s: a separator was expected" % self.format.name)
        flags = _Flags(_encode(separator[1]), self.rows(nodes))
        return Value("str", "%s[%s]" % (self.keep(flags, "d"), convert(self.integer(node), 8, False).code))

    call__print_symbolic_u64, call__print_flags_u64 = call__print_symbolic, call__print_flags

    def call__print_hex(self, node, length):
        return Value("str", "hex_bytes(%s)" % self.raw(self.value(node), convert(self.integer(length), 4, True).code))

    def call__print_hex_str(self, node, length):
        return Value("str", "hex_bytes(%s, b'')" % self.raw(self.value(node),
                                                            convert(self.integer(length), 4, True).code))

    def call__print_array(self, node, count, item):
        item = self.integer(item)
        if item.const not in (1, 2, 4, 8):
            raise FormatError("print fmt of %s: elements of an unknown size" % self.format.name)
        length = "%s * %d" % (convert(self.integer(count), 4, True).code, item.const)
        return Value("str", "print_array(%s, %d)" % (self.raw(self.value(node), length), item.const))

    def call__print_dynamic_array(self, node, item):
        value, item = self.named(node), self.integer(item)
        if item.const not in (1, 2, 4, 8):
            raise FormatError("print fmt of %s: elements of an unknown size" % self.format.name)
        return Value("str", "print_array(%s, %d)" % (self.raw(value, value.length), item.const))

    def call__print_ns_to_secs(self, node):
        return self.fit("(%s // 1000000000)" % convert(self.integer(node), 8, False).code, 8, False, True)

    def call__print_ns_without_secs(self, node):
        return self.fit("(%s %% 1000000000)" % convert(self.integer(node), 8, False).code, 4, False, True)

    def call__builtin_expect(self, node, unused):
        return self.value(node)

    def call__builtin_bswap16(self, node):
        value = convert(self.integer(node), 2, False).code
        return self.fit("(%s >> 8 | (%s & 255) << 8)" % (value, value), 2, False, True)

    def call__le16_to_cpup(self, node):
        value = self.value(node)
        return self.element(Value("bytes", value.code, item=2), constant(0, 8, True)) if (
            value.kind == "bytes") else self.value(("unary", "*", node))

    def call__event_in_hardirq(self):
        return Value("int", "(%s & 8)" % self.number(self.field("common_flags")), 4, True)

    def call__event_in_softirq(self):
        return Value("int", "(%s & 16)" % self.number(self.field("common_flags")), 4, True)

    def call__event_in_irq(self):
        return Value("int", "(%s & 24)" % self.number(self.field("common_flags")), 4, True)

    # -- conversions ---------------------------------------------------------------------------------------------------

    def conversion(self, spec, take):
        """(Python format text, [codes]) of one conversion; ``take()`` gives the next argument's node."""
        flags, width, precision, size, letter = spec
        codes, shown = [], ""
        for number, dot in ((width, ""), (precision, ".")):
            if number == "*":
                code = convert(self.integer(take()), 4, True).code
                if dot or letter[0] == "p":
                    codes.append(code)
                    continue
                codes.append("max(-%d, min(%s, %d))" % (MAX_WIDTH, code, MAX_WIDTH))
                shown += "*"
            elif number is not None:
                shown += "%s%d" % (dot, number)
        if letter[0] == "p":
            return self.pointer(letter[1:], flags, width, codes, take)
        plain = "".join(flag for flag in flags if flag in "-0")
        if letter == "s":
            value = self.value(take())
            if precision == "*":
                length = codes.pop()
                if value.kind == "bytes":
                    code = "b[%s:%s + max(%s, 0)].partition(Z)[0]" % (value.code, value.code, length)
                else:
                    code = "%s[:max(%s, 0)]" % (self.text(value), length)
            else:
                code = self.text(value)
            return "%" + plain.replace("0", "") + shown + "s", codes + [code]
        value = self.integer(take())
        if letter == "c":
            return "%" + plain.replace("0", "") + shown + "c", codes + ["(%s & 255)" % value.code]
        if precision == "*" or (letter == "o" and "#" in flags):
            raise FormatError("print fmt of %s: a precision or flag that is not known" % self.format.name)
        length = {"": 4, "h": 2, "hh": 1}.get(size, 8)
        code = convert(value, length, letter in "di").code
        flags = "".join(flag for flag in flags if flag in "-0" or (flag in "+ " and letter in "di")
                        or (flag == "#" and letter in "xX"))
        return "%" + flags + shown + ("d" if letter in "diu" else letter), codes + [code]

    def pointer(self, kind, flags, width, codes, take):
        """The same for %p: ``kind`` is what follows the p."""
        value = self.value(take())
        shown = "%" + ("-" if "-" in flags else "") + ("%d" % width if isinstance(width, int) else "") + "s"
        first = kind[:1]
        if first == "h":
            length = "min(%s, 64)" % codes[0] if codes else "%d" % min(width or 1, 64)
            separator = {"C": b":", "D": b"-", "N": b""}.get(kind[1:2], b" ")
            return "%s", ["hex_bytes(%s, %s)" % (self.raw(value, length), self.keep(separator))]
        if first == "b":
            count = codes[0] if codes else "%d" % (width or 0)
            function = "bit_list" if kind[1:2] == "l" else "bitmap"
            count = "max(0, min(%s, 65536))" % count
            return "%s", ["%s(%s, %s)" % (function, self.raw(value, "(%s + 7) // 8" % count), count)]
        if codes:
            raise FormatError("print fmt of %s: %%*p%s is not known" % (self.format.name, kind))
        if first in ("S", "F", "s", "f", "B") and kind[1:2] not in ("R", "b") and value.kind == "int":
            address = convert(value, 8, False).code
            if first == "B":
                address = "(%s - 1 if %s else 0)" % (address, address)
            # %pf and %pF: %ps and %pS of kernels before 5.10
            return shown, ["%s[%s]" % ("P" if first in "sf" else "S", address)]
        if first in ("I", "i") and kind[1:2] == "4" and kind[2:3] in ("", "n", "b"):
            return shown, ["ip4(%s, %s)" % (self.raw(value, 4), first == "i")]
        if first in ("I", "i") and kind[1:2] == "6":
            return shown, ["ip6_short(%s)" % self.raw(value, 16) if kind[2:3] == "c" and first == "I" else
                           "ip6(%s, %s)" % (self.raw(value, 16), first == "I")]
        if kind[:2] == "IS":
            return shown, ["socket_address(%s, %s)" % (self.raw(value, 28), self.keep(_encode(kind[2:])))]
        if first in ("M", "m"):
            separator = b"" if first == "m" else b"-" if kind[1:2] == "F" else b":"
            return shown, ["mac(%s, %s, %s)" % (self.raw(value, 6), self.keep(separator), kind[1:2] == "R")]
        if first == "U":
            return shown, ["uuid(%s, %s)" % (self.raw(value, 16), self.keep(_encode(kind[1:2] or "b")))]
        if first in ("", "x", "K") and value.kind == "int":
            # The kernel shows %p hashed unless the option hash-ptr is off (5.12), then as here
            digits = width if isinstance(width, int) else 16
            return "%0" + "%dx" % digits, [convert(value, 8, False).code]
        raise FormatError("print fmt of %s: %%p%s is not known" % (self.format.name, kind))

    def body(self, text, arguments, converters=None):
        """(Python format text, [codes]) of a whole format; ``converters``: {variable: f(int) -> text}."""
        left = list(arguments)

        def take():
            if not left:
                raise FormatError("print fmt of %s has fewer arguments than conversions" % self.format.name)
            return left.pop(0)

        out, codes = "", []
        pieces = split_format(text)
        for at in range(0, len(pieces) - 1, 2):
            literal, spec = pieces[at], pieces[at + 1]
            shown, more = self.conversion(spec, take)
            variable = _variable(literal)
            if converters and variable in converters and spec[4] in tuple("diuxX"):
                shown, more = "%s", ["%s(%s)" % (self.keep(in_bytes(converters[variable]), "c"), more[-1])]
                if literal.endswith("0x"):
                    literal = literal[:-2]
            out += literal.replace("%", "%%") + shown
            codes += more
        return out + pieces[-1].replace("%", "%%"), codes

    # -- the function --------------------------------------------------------------------------------------------------

    def unpacking(self):
        """Statement that takes every number used out of the record, or ""."""
        rows = sorted((key, name) for key, name in self.used.items())
        if not rows:
            return ""
        code, at, names, late = "=", rows[0][0][0], [], []
        for (offset, size, signed), name in rows:
            if offset < at:  # two views of the same bytes
                late.append("%s = %s(b, o + %d)[0]" % (name, self.keep(_ELEMENTS[size, signed], "e"), offset))
                continue
            code += ("%dx" % (offset - at) if offset > at else "") + _CODES[size, signed]
            at = offset + size
            names.append(name)
        self.space["U"] = struct.Struct(code).unpack_from
        first = rows[0][0][0]
        return "; ".join(["%s, = U(b, o + %d)" % (", ".join(names), first)] + late)

    def function(self, shown, codes, in_ns):
        """The function ``line(head, seconds, microseconds, page, start, end)`` for a format text and codes of a body."""
        head, first = (b"%s %5d.%06d: ", "H, s, u") if in_ns else (b"%s %12d: ", "H, s")
        self.space["F"] = head + _encode(shown)
        return self.build("line", "H, s, u, b, o, e", "F %% (%s)" % ", ".join([first] + codes))

    def build(self, name, parameters, result):
        """The function ``name``: takes the numbers used out of the record and gives ``result`` (code)."""
        steps = [self.unpacking()] + self.lines
        source = "def %s(%s):\n%s    return %s\n" % (
            name, parameters, "".join("    %s\n" % step for step in steps if step), result)
        space = dict(self.space)
        try:
            exec(compile(source, "<print fmt>", "exec"), space)
        except (SyntaxError, MemoryError, RuntimeError, OverflowError) as error:  # too deep for Python's own parser
            raise FormatError("print fmt of %s cannot be translated: %s" % (self.format.name, error))
        return space[name]


class _Symbolic(dict):
    """{number: name}; what has none in hexadecimal."""

    def __missing__(self, number):
        return b"0x%x" % number


class _Flags(dict):
    """{number: text}, made when first asked."""

    def __init__(self, separator, rows):
        dict.__init__(self)
        self.separator, self.rows = separator, rows

    def __missing__(self, number):
        if len(self) > 4096:
            self.clear()
        text = self[number] = pointers.print_flags(number, self.separator, self.rows)
        return text


def _encode(text):
    """Bytes of text out of a format file (native text; on Python 3 one character a byte, or any text)."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeError:
        return text.encode("utf-8")


def in_bytes(convert):
    """The function ``convert``, giving bytes."""
    def converted(value):
        text = convert(value)
        return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return converted


def _variable(literal):
    """`x` when the literal before a conversion ends in ` x=` or ` x=0x`, else None."""
    if literal.endswith("=0x"):
        literal = literal[:-2]
    if not literal.endswith("="):
        return None
    return literal[:-1].rpartition(" ")[2]


def compile_event(format, names, converters=None, in_ns=True):
    """The line function of an ordinary trace event, FormatError where its print fmt is beyond us."""
    compiler = Compiler(format, names)
    text, arguments = parse(format.print_fmt, _TYPE_NAMES)
    shown, codes = compiler.body(text, arguments, converters)
    return compiler.function(_encode_name(format.name) + ": " + shown + "\n", codes, in_ns)


def _encode_name(name):
    return name.replace("%", "%%")
