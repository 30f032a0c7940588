"""An event's `print fmt` -> a Python function that prints its records as the kernel does.

The C text (``cfmt``) is translated with C's rules (``cexpr``) into the source of a Printer's functions, which take a
record's numbers out with one Struct and print them with one `%`.
"""
from __future__ import absolute_import

import struct

from .._py23 import range
from ..errors import FormatError
from . import pointers
from .ccalls import Calls
from .cexpr import ELEMENTS, encode
from .cfmt import parse
from .cvalues import ELEMENT_CODES, TYPE_NAMES, convert

__all__ = ["Compiler", "Names", "Printer", "compile_event", "escape", "in_bytes", "split_format"]

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


class Printer(object):
    """``line(columns, seconds, microseconds, page, start, end) -> bytes`` of a whole line with its new line; for a
    clock that does not count nanoseconds ``seconds`` is the raw time.

    ``bulk``: None, or the same for the records of this event that follow each other:
    ``bulk(page, at, end, stamp, base, seconds, heads, note, append) -> (at, stamp)`` prints from the ring buffer event
    at ``at`` on (see ``pages``), up to one that is something else, or ``base`` (nanoseconds at which ``seconds``, a
    text, begins) and a second; the time goes to ``note``, the line to ``append``."""
    __slots__ = ("line", "bulk")

    def __init__(self, line, bulk=None):
        self.line, self.bulk = line, bulk


def split_format(text):
    """[literal, (flags, width, precision, size, conversion), literal ...] of a C format text; width and precision:
    None, a number or "*"; conversion: one letter, or `p` with what follows.  FormatError."""
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


class Compiler(Calls):
    """Makes the Printer of ``format`` (EventFormat); ``names``: Names."""

    def __init__(self, format, names):
        Calls.__init__(self, format, names)
        for name in ("ip4", "ip6", "ip6_short", "mac", "uuid", "bit_list", "socket_address"):
            self.space[name] = getattr(pointers, name)

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
            return shown, ["socket_address(%s, %s)" % (self.raw(value, 28), self.keep(encode(kind[2:])))]
        if first in ("M", "m"):
            separator = b"" if first == "m" else b"-" if kind[1:2] == "F" else b":"
            return shown, ["mac(%s, %s, %s)" % (self.raw(value, 6), self.keep(separator), kind[1:2] == "R")]
        if first == "U":
            return shown, ["uuid(%s, %s)" % (self.raw(value, 16), self.keep(encode(kind[1:2] or "b")))]
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
            variable = variable_before(literal)
            if converters and variable in converters and spec[4] in tuple("diuxX"):
                shown, more = "%s", ["%s(%s)" % (self.keep(in_bytes(converters[variable]), "c"), more[-1])]
                if literal.endswith("0x"):
                    literal = literal[:-2]
            out += literal.replace("%", "%%") + shown
            codes += more
        return out + pieces[-1].replace("%", "%%"), codes

    # -- the functions -------------------------------------------------------------------------------------------------

    def unpacking(self, bulk=False):
        """(statement that takes every number used out of the record, or ""; Struct of it)."""
        rows = sorted((key, name) for key, name in self.used.items())
        code, at, names, late = "=", 0, [], []
        if bulk:
            code, at, names = "=IQ", 8, ["w", "key"]  # the ring buffer's word, and the record's first 8 bytes
        elif rows:
            at = rows[0][0][0]
        first = 0 if bulk else at
        for (offset, size, signed), name in rows:
            if offset < at:  # two views of the same bytes
                late.append("%s = %s(b, o + %d)[0]" % (name, self.keep(ELEMENTS[size, signed], "e"), offset))
                continue
            code += ("%dx" % (offset - at) if offset > at else "") + ELEMENT_CODES[size, signed]
            at = offset + size
            names.append(name)
        if not names:
            return "", None
        taken = "%s, = U(b, at)" % ", ".join(names) if bulk else "%s, = U(b, o + %d)" % (", ".join(names), first)
        return [taken] + late, struct.Struct(code)

    def printer(self, shown, codes, in_ns):
        """The Printer for the Python format text and the codes of a body."""
        if in_ns:
            self.space["F"] = b"%s %5d.%06d: " + encode(shown)
        else:
            self.space["F"] = b"%s %12d: " + encode(shown)
        first = "H, s, u" if in_ns else "H, s"
        line = self.build("line", "H, s, u, b, o, e", "F %% (%s)" % ", ".join([first] + codes))
        return Printer(line, self._bulk(shown, codes) if in_ns else None)

    def _bulk(self, shown, codes):
        taken, whole = self.unpacking(True)
        self.space.update(U=whole.unpack_from, B=b"%s %s.%06d: " + encode(shown))
        return self._made("bulk", ["def bulk(b, at, end, stamp, base, s, heads, note, append):",
                                   "    last = end - %d" % whole.size,
                                   "    while at <= last:",
                                   "        " + taken[0],
                                   "        k = w & 31",
                                   "        t = stamp + (w >> 5)",
                                   "        u = t - base",
                                   "        if key & 65535 != %d or not 1 < k < 29 or not 0 <= u < 1000000000:" %
                                   self.format.id,
                                   "            break",
                                   "        o = at + 4",
                                   "        e = o + 4 * k"] +
                          ["        " + step for step in taken[1:] + self.lines] +
                          ["        append(B %% (%s))" % ", ".join(["heads[key]", "s", "u // 1000"] + codes),
                           "        note(t)",
                           "        at, stamp = e, t",
                           "    return at, stamp"])

    def build(self, name, parameters, result):
        """The function ``name``: takes the numbers used out of the record and gives ``result`` (code)."""
        taken, whole = self.unpacking()
        if whole is not None:
            self.space["U"] = whole.unpack_from
        return self._made(name, ["def %s(%s):" % (name, parameters)] +
                          ["    " + step for step in list(taken) + self.lines] + ["    return " + result])

    def _made(self, name, lines):
        space = dict(self.space)
        try:
            exec(compile("\n".join(lines) + "\n", "<print fmt>", "exec"), space)
        except (SyntaxError, MemoryError, RuntimeError, OverflowError) as error:  # too deep for Python's own parser
            raise FormatError("print fmt of %s cannot be translated: %s" % (self.format.name, error))
        return space[name]


def in_bytes(convert):
    """The function ``convert``, giving bytes."""
    def converted(value):
        text = convert(value)
        return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    return converted


def variable_before(literal):
    """`x` when the literal before a conversion ends in ` x=` or ` x=0x`, else None."""
    if literal.endswith("=0x"):
        literal = literal[:-2]
    if not literal.endswith("="):
        return None
    return literal[:-1].rpartition(" ")[2]


def compile_event(format, names, converters=None, in_ns=True):
    """The Printer of an ordinary trace event, FormatError where its print fmt is beyond us."""
    compiler = Compiler(format, names)
    text, arguments = parse(format.print_fmt, TYPE_NAMES)
    shown, codes = compiler.body(text, arguments, converters)
    return compiler.printer(escape(format.name) + ": " + shown + "\n", codes, in_ns)


def escape(name):
    """``name`` for a Python format text."""
    return name.replace("%", "%%")
