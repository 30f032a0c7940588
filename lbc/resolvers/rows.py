"""Rows of text and numbers -> the type model: what a SQLite database and a server know (members as cells, flat names).

A cell is (type text, name, byte offset, bytes, bits "O:W" or "").  Members of a nested anonymous struct are cells of
the outer one, under `u.a` where the nested one has a name; the reference's databases have all nested structs like that.
"""
from __future__ import absolute_import

from .._py23 import integer_types, string_types, to_text
from ..errors import ExprError, NotFoundError
from . import ctext
from .base import Resolver
from .model import Array, Function, LazyRecord, Member, Param, Record, Scalar, Typedef

__all__ = ["RowsResolver", "RowsRecord"]

_MOST_BYTES = 1 << 40
_PREFIXES = ("static ", "extern ", "inline ")


def text_of(value, what, fail):
    """Native text, or ``fail``'s exception."""
    if not isinstance(value, string_types):
        raise fail("%s is no text" % what)
    return to_text(value)


def number_of(value, what, fail):
    """int of a number or of its digits (SQLite has no column types to rely on), or ``fail``'s exception."""
    if isinstance(value, string_types):
        digits = value.strip()
        if digits.isdigit() and len(digits) < 16:
            value = int(digits)
    if isinstance(value, bool) or not isinstance(value, integer_types) or not 0 <= value < _MOST_BYTES:
        raise fail("%s is no number of bytes" % what)
    return int(value)


def bits_of(value, fail):
    """(first bit, width) of "4:1"; (0, 0) of "".  gdb prints no first bit within a union: "None:4"."""
    if value is None or value == "":
        return 0, 0
    first, colon, width = text_of(value, "`bits`", fail).partition(":")
    first = "0" if first.strip() in ("", "None") else first
    if not colon or not first.strip().isdigit() or not width.strip().isdigit():
        raise fail("bit-field `%s` is not O:W" % value)
    first, width = int(first), int(width)
    if not 0 < width <= 128 or first > 1 << 20:
        raise fail("bit-field `%s` is none" % value)
    return first, width


class RowsRecord(Record):
    """A record of cells.  ``load``: f() -> [(type text, name, offset, bytes, bits)], checked; asked once."""
    __slots__ = ("_owner", "_load", "_tree")

    def __init__(self, owner, keyword, name, size, load):
        Record.__init__(self, keyword, name, size, self._all)
        self._owner, self._load, self._tree = owner, load, None

    def _branches(self):
        """[(name without dimensions, [cells], nested?)] in order."""
        if self._tree is None:
            self._tree, self._load = _branches(self._load()), None
        return self._tree

    def _all(self):
        return [self._owner.member(*branch) for branch in self._branches()]

    def find(self, name):
        """Member ``name`` or None."""
        for branch in self._branches() if name else ():
            if branch[0] == name:
                return self._owner.member(*branch)
        return None


def _branches(cells):
    """[(name, [cells], "" or the first part of their names)]: cells of one nested record together, less that part."""
    found, nested = [], {}
    for cell in cells:
        head, dot, rest = cell[1].partition(".")
        head = head.split(" ")[-1]      # gdb's `struct x * const name`: the qualifier stands where names are
        if not dot:
            found.append((head.partition("[")[0], [(cell[0], head) + tuple(cell[2:])], ""))
            continue
        if head not in nested:
            nested[head] = []
            found.append((head.partition("[")[0], nested[head], head))
        nested[head].append((cell[0], rest) + tuple(cell[2:]))
    return found


class Trusting(object):
    """What `ctext.parse` asks while it reads a row: names are believed, and looked up when something is wanted of them.

    ``size``: bytes of the member, None where the text is a pointer's or unknown."""
    where, pointer_size = "", 8

    def __init__(self, owner, size=None):
        self.owner, self.size = owner, size
        self.pointer_size = owner.pointer_size

    def _of(self, method, *names):
        """The answer of the source itself, else of the chain it is in."""
        found = getattr(self.owner, method)(*names)
        if found is None and self.owner.outer is not None:
            found = getattr(self.owner.outer, method)(*names)
        return found

    def record(self, keyword, name):
        def load():
            found = self._of("record", keyword, name)
            return None if isinstance(found, LazyRecord) else found
        return LazyRecord(keyword, name, load, self.size)

    def enum(self, name):
        found = self._of("enum", name)
        return found if found is not None else Scalar("enum " + name, self.size or 4, False, "enum")

    def named(self, name):
        if name == "char":
            return None

        def load():
            found = self._of("named", name)
            if found is None:
                raise NotFoundError("type", name, self.owner.where)
            return found.target if isinstance(found, Typedef) and found.text == name else found
        return Typedef(name, load)

    def near(self, kind, name):
        return []


class RowsResolver(Resolver):
    """Answers in the model from three questions that a subclass answers in rows, already checked for their shapes:

    ``function_rows(name)`` -> [(func, [arg texts], ret text, line, file, module or None)],
    ``record_row("struct x")`` -> (bytes, f() -> cells) or None, ``type_row(name)`` -> (name, alias, bytes) or None.
    """

    def __init__(self):
        self._types, self._records = {}, {}

    def fail(self, what):
        """The exception to raise for a wrong row."""
        raise NotImplementedError

    # -- texts -------------------------------------------------------------------------------------------------------
    def text_type(self, text, size=None):
        """The model's type of a text of a row; FormatError or RemoteError where it is none."""
        text = text.strip().rstrip(";").strip()
        while text.startswith(_PREFIXES):
            text = text.partition(" ")[2].lstrip()
        try:
            return ctext.parse(Trusting(self, size), text)
        except ExprError as error:  # its caret is for texts that a user wrote
            raise self.fail("type `%s`: %s" % (text[:80], error.what))

    def member(self, name, cells, nested):
        """model.Member of one cell, or of the cells of a nested record (``nested``: its name with dimensions)."""
        if nested:
            found, start = self._nested(cells)
            return Member(name, self._dimensions(found, nested), 8 * start, 0)
        text, whole, offset, size, bits = cells[0]
        count = 1
        for number in self._numbers(whole):
            count *= number
        found = self.text_type(text, size // count if count and "*" not in text else None)
        first, width = bits_of(bits, self.fail)
        return Member(name, self._dimensions(found, whole), 8 * offset + first, width)

    def _numbers(self, text):
        """[4, 2] of "name[4][2]"."""
        numbers = []
        for part in text.split("[")[1:]:
            digits = part[:-1].strip() or "0"
            if not part.endswith("]") or not digits.isdigit() or len(digits) > 10:
                raise self.fail("`%s` are no dimensions" % text[:80])
            numbers.append(int(digits))
        return numbers

    def _dimensions(self, found, name):
        for count in reversed(self._numbers(name)):
            found = Array(found, count)
        return found

    def _align(self, cell):
        """Alignment of a cell as far as its size tells, else 1."""
        text, name, _offset, size = cell[:4]
        count = 1
        for number in self._numbers(name):
            count *= number
        if "*" in text:
            return self.pointer_size
        element = size // count if count else 0
        return element if element in (2, 4, 8) and not text.startswith(("struct ", "union ")) else 1

    def _nested(self, cells):
        """(Record, byte offset) of the cells of a nested record."""
        start = min([cell[2] for cell in cells])
        moved = [(cell[0], cell[1], cell[2] - start) + tuple(cell[3:]) for cell in cells]
        ends = [cell[2] + cell[3] for cell in moved]
        align = max([self._align(cell) for cell in moved])
        size = -(-max(ends) // align) * align
        heads = {cell[1].partition(".")[0]: cell[2] for cell in reversed(moved)}
        union = len(heads) > 1 and not any(heads.values()) and not any([cell[4] for cell in moved])
        return RowsRecord(self, "union" if union else "struct", "", size, lambda: moved), start

    # -- answers -----------------------------------------------------------------------------------------------------
    def function_rows(self, name):
        return []

    def record_row(self, name):
        return None

    def type_row(self, name):
        return None

    def function(self, row):
        """model.Function of a row."""
        name, args, ret, line, where, module = row
        params = [ctext.VARIADIC if arg == "..." else Param("", self.text_type(arg)) for arg in args
                  if arg not in ("", "void")]
        return Function(name, params, self.text_type(ret or "void"), module or "", where, line)

    def functions(self, name, module=None):
        wanted = None if module is None else plain_module(module)
        return [self.function(row) for row in self.function_rows(name)
                if wanted is None or row[5] is None or row[5] == wanted]

    def record(self, keyword, name):
        return self._record(keyword, name, "%s %s" % (keyword, name)) if name else None

    def _record(self, keyword, name, asked):
        key = keyword, asked
        if key not in self._records:
            row = self.record_row(asked)
            self._records[key] = None if row is None else RowsRecord(self, keyword, name, row[0], row[1])
        return self._records[key]

    def enum(self, name):
        row = self.type_row("enum " + name)
        if row is None:
            return None
        return Scalar("enum " + name, row[2] or 4, False, "enum", enum_values(row[1]))

    def named(self, name):
        if name not in self._types:
            self._types[name] = self._named(name)
        return self._types[name]

    def _named(self, name):
        base = ctext.base_of(name)
        if base == "void":
            return ctext.VOID
        row = None
        for spelled in ctext.spellings(base) if base is not None else (name,):
            row = row or self.type_row(spelled)
        if row is None:
            return None
        _name, alias, size = row
        if base is not None:
            return ctext.base_type(base, self.pointer_size)
        return Typedef(name, self._alias(name, alias.strip(), size))

    def _alias(self, name, alias, size):
        """What typedef ``name`` stands for: gdb's `ptype`, its first line only ("struct {", "enum {A, B = 4}")."""
        keyword, _, rest = alias.partition(" ")
        tag, brace, _body = rest.partition("{")
        tag = tag.strip()
        if keyword in ("struct", "union") and (brace or not tag):
            if tag:
                return LazyRecord(keyword, tag, lambda: self.record(keyword, tag), size)
            found = self._record(keyword, "", name)   # an anonymous one is stored under the typedef's name
            return found if found is not None else Record(keyword, "", size)
        if keyword == "enum":
            tag = tag.partition(":")[0].strip()
            return Scalar("enum %s" % (tag or "(anonymous)"), size or 4, False, "enum", enum_values(alias))
        return self.text_type(alias, size)


def plain_module(name):
    """"" of the kernel's own spellings, else the module's name as the kernel spells it."""
    name = name.replace("-", "_")
    return "" if name in ("", "vm", "vmlinux", "kernel") else name


def enum_values(alias):
    """{number: name} of "enum {A, B = 4, C}"; None where the text does not have them."""
    start, end = alias.find("{"), alias.rfind("}")
    if start < 0 or end < start:
        return None
    values, number = {}, 0
    for part in alias[start + 1:end].split(","):
        name, equals, value = [piece.strip() for piece in part.partition("=")]
        if equals:
            try:
                number = int(value)
            except ValueError:
                return None
        if name and name != "...":
            values.setdefault(number, name)
        number += 1
    return values or None
