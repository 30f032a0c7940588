"""Filters: the kernel's grammar (kernel/trace/trace_events_filter.c), checked against the variables or the event's
fields, with values as the trace shows them turned into the numbers that the kernel compares.

    expr := term (('&&' | '||') term)*      term := '!' term | '(' expr ')' | FIELD[.ustring|.function] OP VALUE
    OP   := == != < <= > >= & ~             VALUE := number | "text" | 'text' | what a converted variable shows

The text is kept as it was written, only values are replaced: `ip_src==127.0.0.1` -> `ip_src==0x100007f`.
"""
from __future__ import absolute_import

from . import values
from .._py23 import near
from ..errors import ExprError

__all__ = ["Field", "fields_of", "translate"]

_OPERATORS = ("~", "!=", "==", "<=", "<", ">=", ">", "&")   # in the kernel's order: the first that fits counts
_MAX_TEXT = 255      # MAX_FILTER_STR_VAL - 1
_MAX_FILTER = 4094   # with its line feed it has to be less than a page
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Field(object):
    """What can be compared.  ``kind``: "number", "string", "array", "pointer" (a `char *` of an event), "cpumask";
    ``size`` in bytes; ``signed``; ``converter``: values.* or None; ``width``: bits of a bit-field, else 0."""
    __slots__ = ("kind", "size", "signed", "converter", "width")

    def __init__(self, kind, size=8, signed=False, converter=None, width=0):
        self.kind, self.size, self.signed, self.converter, self.width = kind, size, signed, converter, width


def _common():
    """Fields of every event: trace_define_generic_fields and ..._common_fields, kernel/trace/trace_events.c."""
    number = Field("number", 4, True)
    return {"common_type": Field("number", 2), "common_flags": Field("number", 1),
            "common_preempt_count": Field("number", 1), "common_pid": number, "CPU": number, "cpu": number,
            "common_cpu": number, "COMM": Field("string"), "comm": Field("string")}


def fields_of(probe, fetches, target):
    """{name: Field} that a filter of this probe may use."""
    fields = _common()
    if probe.kind == "e":
        for name, field in (target.fields or {}).items():
            fields[name] = _event_field(field)
        return fields
    names = ("__probe_func", "__probe_ret_ip") if probe.is_return else ("__probe_ip",)
    for name in names:
        fields[name] = Field("number", 8)
    for one in fetches:
        if one.store in ("string", "comm"):
            field = Field("string")
        elif one.store in ("array", "strings"):
            field = Field("array")
        else:
            field = Field("number", one.size, one.letter == "S" and one.store == "number", one.converter,
                          one.bits[1] if one.bits else 0)
        fields[one.name] = field
    return fields


def _event_field(field):
    text = field.type
    if text in ("char *", "const char *"):
        return Field("pointer")
    if "cpumask" in text:
        return Field("cpumask")
    if field.is_string or ("[" in text and "char" in text):
        return Field("string")
    if "[" in text or "__data_loc" in text or "__rel_loc" in text or field.size not in (1, 2, 4, 8):
        return Field("array")
    return Field("number", field.size, bool(field.signed))


def translate(probe, fields, target):
    """The kernel's text of ``probe.filter``; ExprError."""
    return _Translator(probe, fields, target).run()


class _Translator(object):
    def __init__(self, probe, fields, target):
        self.whole, self.base = probe.text, probe.filter_column
        self.text, self.size, self.at = probe.filter, len(probe.filter), 0
        self.probe, self.fields, self.target = probe, fields, target
        self.pieces, self.copied = [], 0

    def fail(self, what, at=None, hint=None):
        return ExprError(what, self.whole, self.base + (self.at if at is None else at), hint)

    def blanks(self):
        while self.at < self.size and self.text[self.at] in " \t\r\n":
            self.at += 1

    def run(self):
        opened = []
        while True:
            self.blanks()
            char = self.text[self.at:self.at + 1]
            if char == "(":
                opened.append(self.at)
                self.at += 1
                continue
            if char == "!":
                if self.text[self.at + 1:self.at + 2] in ("=", "~"):
                    raise self.fail("a field is missing before `%s`" % self.text[self.at:self.at + 2])
                self.at += 1
                continue
            self.predicate()
            self.blanks()
            while self.text[self.at:self.at + 1] == ")":
                if not opened:
                    raise self.fail("no parenthesis is open here")
                opened.pop()
                self.at += 1
                self.blanks()
            if self.at >= self.size:
                break
            if self.text[self.at:self.at + 2] not in ("&&", "||"):
                raise self.fail("`&&` or `||` is wanted here")
            self.at += 2
        if opened:
            raise self.fail("`)` is missing", opened[-1])
        result = "".join(self.pieces) + self.text[self.copied:]
        if len(result) > _MAX_FILTER:
            raise self.fail("a filter of %d characters" % len(result), 0, "the kernel takes %d" % _MAX_FILTER)
        return result

    def replace(self, begin, new):
        """Put ``new`` in place of text[begin:at]."""
        self.pieces += [self.text[self.copied:begin], new]
        self.copied = self.at

    # -- one comparison ------------------------------------------------------------------------------------------------

    def predicate(self):
        begin = self.at
        while self.at < self.size and self.text[self.at] in _WORD:
            self.at += 1
        name = self.text[begin:self.at]
        if not name:
            raise self.no_field(begin)
        field = self.fields.get(name)
        if field is None:
            raise self.unknown(name, begin)
        how = self.modifier(name, field)
        self.blanks()
        op = self.operator(name)
        self.blanks()
        if self.at >= self.size:
            raise self.fail("a value is missing behind `%s`" % op)
        if how == ".function":
            return self.function(op)
        if self.text.startswith("CPUS{", self.at):
            return self.cpus(name, field, op, begin)
        if field.kind == "cpumask":
            raise self.fail("`%s` is a set of CPUs" % name, self.at, "%s & CPUS{0-3}" % name)
        if field.kind == "array":
            raise self.fail("`%s` is an array, which the kernel does not compare" % name, begin,
                            "take one element as a variable of its own")
        if field.kind == "number":
            return self.number(name, field, op, begin)
        return self.string(name, op)

    def no_field(self, at):
        if at >= self.size:
            return self.fail("the filter ends where a field is wanted", at)
        char = self.text[at]
        if char in "\"'":
            return self.fail("a comparison begins with a field", at, "FIELD==\"text\"")
        return self.fail("a field is wanted, not `%s`" % char, at)

    def unknown(self, name, at):
        similar = near(name, sorted(self.fields))
        what = "no field `%s`" % name
        if similar:
            what += "; did you mean %s?" % " or ".join("`%s`" % one for one in similar)
        own = [one for one in sorted(self.fields) if one not in _common() and not one.startswith("__")]
        hint = "fields: %s; in every event: common_pid, CPU, COMM" % ", ".join(own[:20]) if own else \
            "in every event: common_pid, CPU, COMM; a variable makes another: %s=%%0" % name
        if name[0].isdigit():
            what, hint = "a comparison begins with a field, not with `%s`" % name, hint
        return self.fail(what, at, hint)

    def modifier(self, name, field):
        """.ustring (5.18), .function (6.3), or ""."""
        at = self.at
        if self.text[at:at + 1] != ".":
            return ""
        end = at + 1
        while end < self.size and self.text[end] in _WORD:
            end += 1
        word = self.text[at:end]
        if word == ".ustring":
            if field.kind not in ("pointer", "string"):
                raise self.fail("`%s` is no pointer to a text" % name, at, ".ustring is for `char *` fields of events")
        elif word == ".function":
            if field.kind != "number" or field.size != 8 or field.converter:
                raise self.fail("`%s` is no address of code" % name, at)
            if "filter-function" not in self.target.features:
                raise self.fail("this kernel does not compare with functions", at, "it came with 6.3; "
                                "compare with the address of /proc/kallsyms")
        else:
            raise self.fail("`%s` is not known behind a field" % word, at, ".ustring and .function are"
                            if self.probe.kind == "e" else "members belong into the variable, before the filter")
        self.at = end
        return word

    def operator(self, name):
        at, text = self.at, self.text
        two = text[at:at + 2]
        if two not in ("&&", "||"):
            for op in _OPERATORS:
                if text.startswith(op, at):
                    self.at += len(op)
                    return op
        hint = "FIELD==VALUE; also != < <= > >= & ~"
        if text[at:at + 1] == "=":
            hint = "equal is `==`"
        elif two == "!~":
            hint = "!(%s ~ \"...\")" % name
        raise self.fail("`%s` is compared with nothing" % name if at >= self.size or two in ("&&", "||")
                        or text[at] == ")" else "an operator is wanted here", at, hint)

    def quoted(self):
        """Text in quotes at the current place."""
        begin = self.at
        end = self.text.find(self.text[begin], begin + 1)
        if end < 0:
            raise self.fail("the closing %s is missing" % self.text[begin])
        self.at = end + 1
        return self.text[begin + 1:end]

    def word(self):
        """An unquoted value."""
        begin = self.at
        while self.at < self.size and self.text[self.at] not in " \t\r\n)&|(\"'":
            self.at += 1
        if self.at == begin:
            raise self.fail("a value is wanted here")
        return self.text[begin:self.at]

    def string(self, name, op):
        begin = self.at
        if op not in ("==", "!=", "~"):
            raise self.fail("texts are compared by == != ~, not by `%s`" % op, begin - len(op))
        if self.text[begin] in "\"'":
            text = self.quoted()
        else:
            text = self.word()
            self.replace(begin, '"%s"' % text)
        if len(text) > _MAX_TEXT:
            raise self.fail("a text of %d characters" % len(text), begin, "the kernel takes %d" % _MAX_TEXT)

    def function(self, op):
        if op not in ("==", "!="):
            raise self.fail("functions are compared by == and !=, not by `%s`" % op, self.at - len(op))
        self.word()

    def cpus(self, name, field, op, begin):
        """FIELD & CPUS{0-3,7} (6.6); for numbers it is spelled out, which every kernel takes."""
        value, end = self.at, self.text.find("}", self.at)
        if end < 0:
            raise self.fail("the closing } is missing")
        terms = []
        for part in self.text[value + 5:end].split(","):
            first, dash, last = part.partition("-")
            last = last if dash else first
            if not first.strip().isdigit() or not last.strip().isdigit() or int(first) > int(last):
                raise self.fail("`%s` is no list of CPUs" % self.text[value:end + 1], value, "CPUS{0-3,7}")
            terms.append("%s==%d" % (name, int(first)) if int(first) == int(last) else
                         "%s>=%d&&%s<=%d" % (name, int(first), name, int(last)))
        self.at = end + 1
        if field.kind == "cpumask":
            if op not in ("&", "==", "!="):
                raise self.fail("sets of CPUs are compared by & == !=", value - len(op))
            if "filter-function" not in self.target.features:  # 6.6, one version later
                raise self.fail("this kernel does not compare sets of CPUs", value)
        elif field.kind != "number" or op != "&" or field.converter:
            raise self.fail("CPUS{...} wants a number or a set of CPUs, and &", value - len(op), "CPU & CPUS{0-3}")
        else:
            self.replace(begin, "(%s)" % "||".join(terms))

    def number(self, name, field, op, name_at):
        begin = self.at
        if op == "~":
            raise self.fail("`%s` is a number, and `~` compares texts" % name, begin - 1)
        converter = field.converter
        is_quoted = self.text[begin] in "\"'"
        text = self.quoted() if is_quoted else self.word()
        if op in ("<", "<=", ">", ">=") and converter is not None and not converter.ordered:
            raise self.fail("`%s` is in network byte order, which the kernel cannot order" % name, begin,
                            "== != and & work")
        bits = field.width or 8 * field.size
        try:
            if is_quoted and converter is None:
                raise ValueError("%s is a number" % name)
            raw = (converter or values.Number(bits)).invert(text)
        except ValueError as error:
            raise self.no_value(name, field, text, begin, error)
        if op[0] in "<>" and getattr(converter, "is_signed", False) and not field.signed:
            return self.signed_order(name, op, raw, bits, name_at)
        plain = self.plain(text, field, bits) if converter is None or isinstance(converter, values.Enum) else None
        if is_quoted or plain is None:
            self.replace(begin, self.spelled(raw, field, converter))

    def signed_order(self, name, op, raw, bits, name_at):
        """Order of numbers that are shown with a sign (enums, bit-fields) and that the kernel has without one."""
        half = 1 << (bits - 1)
        less = op[0] == "<"
        upper = "%s%s0x%x" % (name, ">=" if less else "<", half)    # negative, or not negative
        joined = "||" if less == (raw < half) else "&&"
        self.replace(name_at, "(%s%s0x%x%s%s)" % (name, op, raw, joined, upper))

    def plain(self, text, field, bits):
        """The number as it was written, when the kernel reads it as such."""
        try:
            value = values.parse_number(text)
        except ValueError:
            return None
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if field.signed else (0, (1 << bits) - 1)
        return text if low <= value <= high and len(text) < 24 else None

    def spelled(self, raw, field, converter):
        if field.signed:
            number = values.signed(raw, 8 * field.size)
            if number < 0:
                return "%d" % number
        if isinstance(converter, values.Enum):
            return "%d" % raw
        return "0x%x" % raw

    def no_value(self, name, field, text, at, error):
        converter = field.converter
        if isinstance(converter, values.Enum):
            similar = near(text, converter.names())
            names = similar or converter.names()[:8]
            return self.fail("`%s` is neither a number nor an enumerator of `%s`" % (text, name), at,
                             "%s: %s" % ("did you mean" if similar else "for example", ", ".join(names)))
        if isinstance(converter, values.Ip4):
            return self.fail("`%s` is no IPv4 address: %s" % (text, error), at, "%s==127.0.0.1" % name)
        what = "`%s` is no value for the number `%s`" % (text, name)
        if str(error) not in ("not a number",):
            what += ": %s" % error
        return self.fail(what, at)
