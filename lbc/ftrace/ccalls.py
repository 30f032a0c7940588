"""The functions that a print fmt may call: __get_str() and so on (include/trace/stages/stage3_trace_output.h)."""
from __future__ import absolute_import

from ..errors import FormatError
from . import pointers
from .cexpr import Expressions, encode
from .cvalues import Value, constant, convert, fit
from .formats import DYNAMIC, RELATIVE

__all__ = ["Calls"]


class Calls(Expressions):
    """Expressions with the functions of trace events."""

    def __init__(self, format, names):
        Expressions.__init__(self, format, names)
        for name in ("bitmap", "hex_bytes", "print_array"):
            self.space[name] = getattr(pointers, name)

    def on_call(self, function, arguments):
        handler = getattr(self, "call" + function, None) if function.startswith("__") else None
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
            found.append((value.const & (1 << 64) - 1, encode(name[1])))
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
        flags = _Flags(encode(separator[1]), self.rows(nodes))
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
        return fit("(%s // 1000000000)" % convert(self.integer(node), 8, False).code, 8, False, True)

    def call__print_ns_without_secs(self, node):
        return fit("(%s %% 1000000000)" % convert(self.integer(node), 8, False).code, 4, False, True)

    def call__builtin_expect(self, node, unused):
        return self.value(node)

    def call__builtin_bswap16(self, node):
        value = convert(self.integer(node), 2, False).code
        return fit("(%s >> 8 | (%s & 255) << 8)" % (value, value), 2, False, True)

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
