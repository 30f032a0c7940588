"""nodes -> types: follows every path through the C types and says what is to be fetched from where.

Knows nothing of ftrace's spelling: a ``Fetch`` is a source, the loads from memory that lead to the value, and what the
value is.  Values are followed as in C: a *place* is memory (or a register) that holds an object, anything else is a
pointer or a number that has been loaded.
"""
from __future__ import absolute_import

from . import calling, nodes, storing
from .storing import CHAR, U64, Source, Value
from .._py23 import near
from ..errors import ExprError, InputError, NotFoundError
from ..resolvers import model

__all__ = ["check", "RESERVED"]

# kernel/trace/trace_probe.c, reserved_field_names (common_tgid: until 2.6.35, still in the list in 6.x)
RESERVED = frozenset(["common_type", "common_flags", "common_preempt_count", "common_pid", "common_tgid",
                      "__probe_ip", "__probe_ret_ip", "__probe_func"])
LAYERS = {"ethhdr": 2, "iphdr": 3, "ipv6hdr": 3, "arphdr": 3, "icmphdr": 4, "icmp6hdr": 4, "tcphdr": 4, "udphdr": 4}
_ETHERNET, _IP = 14, 20  # bytes before the next layer
_DATA = {"cdata": 1, "sdata": 2, "ldata": 4, "qdata": 8}


def check(probe, function, resolver, target):
    """([Fetch], [note]) of a nodes.Probe; ExprError."""
    checker = _Checker(probe, function, resolver, target)
    if len(probe.args) > target.limits.args:
        raise checker.fail("more than %d variables" % target.limits.args, probe.args[target.limits.args].column,
                           "the kernel takes %d in one event" % target.limits.args)
    seen, fetches = set(), []
    for arg in probe.args:
        checker.check_name(arg, seen)
        fetches.append(checker.fetch(arg))
    return fetches, checker.notes


class _Checker(object):
    def __init__(self, probe, function, resolver, target):
        self.probe, self.function, self.resolver, self.target = probe, function, resolver, target
        self.notes = []
        self.arg, self.letter = None, ""

    def fail(self, what, column, hint=None):
        return ExprError(what, self.probe.text, column, hint)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def check_name(self, arg, seen):
        limit = self.target.limits.variable
        if arg.name in RESERVED:
            raise self.fail("`%s` is a field that every event has" % arg.name, arg.column,
                            "it can be used in the filter as it is; call the variable otherwise")
        if arg.name in seen:
            raise self.fail("the variable `%s` is there twice" % arg.name, arg.column)
        if len(arg.name) > limit:
            raise self.fail("the name of a variable may have %d characters, `%s` has %d" % (
                limit, arg.name, len(arg.name)), arg.column)
        seen.add(arg.name)

    # -- types by name -------------------------------------------------------------------------------------------------

    def ctype(self, node):
        """Type of a nodes.CType."""
        try:
            found = self.resolver.type(node.text)
        except ExprError as error:
            raise self.fail(error.what, node.column + min(error.column, len(node.text)), error.hint)
        except (InputError, NotFoundError) as error:
            raise self.fail(error.what, node.column, error.hint)
        if found is None:
            raise self.fail("no type `%s`" % node.text, node.column)
        return found

    def complete(self, record, column):
        """``record`` with its members; a forward declaration is looked up by name."""
        if record.size is None and record.name:
            found = self.resolver.record(record.keyword, record.name)
            if found is None or found.size is None:
                raise self.fail("%s is only declared, its members are not known" % record.text, column,
                                "the module that defines it may have to be loaded")
            return found
        return record

    # -- following a value ---------------------------------------------------------------------------------------------

    def load(self, value, column):
        """The pointer or number that a place holds (an array: the pointer to its first element)."""
        if not value.place:
            return value
        found = model.strip(value.type)
        if isinstance(found, model.Array):
            if value.regs is not None:
                raise self.fail("an array in registers cannot be used as a whole", column, "take an element: [0]")
            return Value(value.source, value.loads, value.offset, model.Pointer(found.element, user=value.user), False)
        if value.regs is not None:
            return self.load_register(value, column)
        if value.bits:
            raise self.fail("a bit-field is no pointer", column)
        return Value(value.source, value.loads + ((value.offset, value.user),), 0, value.type, False, value.user)

    def load_register(self, value, column):
        word, rest = divmod(value.offset, 8)
        if rest or value.bits:
            raise self.fail("no pointer: it shares a register with other members", column)
        return Value(value.regs[word], (), 0, value.type, False)

    def pointer(self, value, column, what):
        """(value, type pointed to) of a pointer or array."""
        found = model.strip(value.type)
        if isinstance(found, model.Array):
            value = self.load(value, column)
            found = value.type
        if not isinstance(found, model.Pointer):
            if not value.known:
                raise self.fail("the type of this value is not known", column, "say it: !(struct file *)...")
            hint = None
            if what == "->" and isinstance(found, model.Record):
                hint = "use '.'"
            elif value.cast:
                hint = "!(T)x->m casts x; (T)x->m casts x->m as in C"
            elif isinstance(found, model.Scalar) and found.size == 8:
                hint = "cast it: !(struct file *)..."
            raise self.fail("%s is not a pointer" % value.type.text, column, hint)
        return self.load(value, column), found

    def deref(self, value, column, what="*", index=0):
        """The place that a pointer points to, ``index`` elements further."""
        if isinstance(model.strip(value.type), model.Array) and value.place:
            return self.element(value, index, column)
        value, pointer = self.pointer(value, column, what)
        target = model.strip(pointer.target)
        if isinstance(target, model.Void):
            raise self.fail("void * points to nothing known", column, "cast it: !(struct file *)...")
        if isinstance(target, model.FuncType):
            raise self.fail("%s points to a function" % value.type.text, column)
        user = bool(pointer.user or value.user) and not self.target.user
        size = self.size_of(target, column) if index else 0
        packet = value.packet
        return Value(value.source, value.loads, value.offset + index * size, pointer.target, True, user, packet=packet)

    def size_of(self, found, column):
        found = model.strip(found)
        if isinstance(found, model.Record):
            found = self.complete(found, column)
        if not found.size:
            raise self.fail("the size of %s is not known" % found.text, column)
        return found.size

    def element(self, value, index, column):
        array = model.strip(value.type)
        if index < 0 or (index >= array.count and array.count > 1):  # [0] and [1] often stand for `any number`
            raise self.fail("%s has no element %d" % (array.text, index), column,
                            "from 0 to %d" % (array.count - 1) if array.count else None)
        offset = value.offset + index * self.size_of(array.element, column)
        if value.regs is not None and offset + 1 > 8 * len(value.regs):
            raise self.fail("%s has no element %d" % (array.text, index), column)
        return Value(value.source, value.loads, offset, array.element, True, value.user, regs=value.regs)

    def member(self, value, name, column):
        """Member of the record in a place."""
        record = self.complete(model.strip(value.type), column)
        if value.packet == "header" and (name in _DATA or name == "Sdata"):
            return self.packet_data(value, name, record)
        try:
            found = model.find_member(record, name)
        except NotFoundError as error:
            names = model.member_names(record)
            if value.packet:
                names = names + sorted(_DATA) + ["Sdata"]
            hint = None if error.near or not names else "it has " + _listed(names)
            raise self.fail(error.what, column, hint)
        if found.bit_size:
            return self.bit_field(value, found, record)
        return Value(value.source, value.loads, value.offset + found.bit_offset // 8, found.type, True, value.user,
                     regs=value.regs)

    def bit_field(self, value, member, record):
        """The container is read that the compiler uses; in packed records, and at the end of a record, the smallest one
        that holds the bits."""
        first, width = member.bit_offset, member.bit_size
        size = model.strip(member.type).size or 4
        start = first // (8 * size) * size
        if first - 8 * start + width > 8 * size or start + size > (record.size or 0) or size > 8:
            start = first // 8
            for size in (1, 2, 4, 8):
                if first - 8 * start + width <= 8 * size:
                    break
        return Value(value.source, value.loads, value.offset + start, member.type, True, value.user,
                     (first - 8 * start, width, size), value.regs)

    def follow(self, value, steps):
        for step in steps:
            if step.kind == "[":
                value = self.index(value, step)
            else:
                value = self.step(value, step)
            if step.cast is not None:
                value = self.cast(value, self.ctype(step.cast), step.cast.column)
        return value

    def index(self, value, step):
        found = model.strip(value.type)
        if value.packet and value.packet != "header":
            return Value(value.source, value.loads, value.offset + step.what * found.size, value.type, True)
        if not isinstance(found, (model.Array, model.Pointer)):
            if not value.known:
                raise self.fail("the type of this value is not known", step.column, "say it: !(u32 *)...")
            raise self.fail("%s is neither an array nor a pointer" % value.type.text, step.column)
        return self.deref(value, step.column, "[", step.what)

    def step(self, value, step):
        found = model.strip(value.type)
        if value.source.kind == "comm":
            raise self.fail("$comm is a text without members", step.column)
        if step.kind == ".":
            if isinstance(found, model.Pointer):
                raise self.fail("%s is a pointer" % value.type.text, step.column, "use '->'")
        else:
            value = self.deref(value, step.column, "->")
            found = model.strip(value.type)
        if not isinstance(found, model.Record):
            if not value.known:
                raise self.fail("the type of this value is not known", step.column, "say it: !(struct file *)...")
            raise self.fail("%s has no members" % value.type.text, step.column,
                            "use (*...)->%s: it is a pointer to a pointer" % step.what
                            if isinstance(found, model.Pointer) else None)
        return self.member(value, step.what, step.what_column)

    # -- values --------------------------------------------------------------------------------------------------------

    def evaluate(self, node):
        return getattr(self, "at_" + type(node).__name__)(node)

    def at_Path(self, node):
        return self.follow(self.evaluate(node.source), node.steps)

    def at_Cast(self, node):
        try:
            value = self.evaluate(node.operand)
        except ExprError as error:
            if not node.tight and not error.hint and isinstance(node.operand, nodes.Path):
                error.hint = "(T)x->m casts x->m as in C; !(T)x->m casts x"
            raise
        if value.source.kind == "comm":
            raise self.fail("$comm is a text and cannot be anything else", node.column)
        return self.cast(value, self.ctype(node.type), node.type.column)

    def cast(self, value, found, column):
        """``value`` taken as another type."""
        new, old = model.strip(found), model.strip(value.type)
        if isinstance(new, model.Void):
            raise self.fail("a value cannot be void", column)
        scalar = isinstance(new, (model.Scalar, model.Pointer))
        if isinstance(old, model.Pointer) and old.user and isinstance(new, model.Pointer) and not new.user:
            found = new = model.Pointer(new.target, new.size, True)  # a pointer into user memory stays one
        if value.place and isinstance(old, model.Array) and scalar and value.known:
            value = self.load(value, column)  # as in C, an array becomes the pointer to its first element
            old = value.type
        if not scalar and (value.bits or not value.place):
            raise self.fail("%s cannot be %s" % ("a bit-field" if value.bits else "a value in a register", found.text),
                            column, "a pointer to it can: !(%s *)" % found.text
                            if isinstance(new, model.Record) and not value.bits else None)
        if scalar and value.known and (value.bits or isinstance(old, (model.Scalar, model.Pointer))
                                       and 0 < old.size < new.size):
            # converting a number keeps its value: only as many bits are read as are there
            if isinstance(new, model.Pointer):
                raise self.fail("%s is too small for a pointer" % value.type.text, column)
            if not value.bits:
                found = model.Scalar(found.text, old.size, new.signed, new.kind, new.values)
        return Value(value.source, value.loads, value.offset, found, value.place, value.user, value.bits, value.regs,
                     cast=True)

    def at_Deref(self, node):
        return self.deref(self.evaluate(node.operand), node.column)

    def at_AddressOf(self, node):
        value = self.evaluate(node.operand)
        if not value.place:
            raise self.fail("it has no address", node.column)
        if value.bits:
            raise self.fail("a bit-field has no address", node.column)
        if value.regs is not None:
            raise self.fail("it lies in a register, which has no address", node.column)
        return Value(value.source, value.loads, value.offset, model.Pointer(value.type, user=value.user), False,
                     cast=True)

    def at_ContainerOf(self, node):
        value, _ = self.pointer(self.evaluate(node.operand), node.column, "container_of")
        found = self.ctype(node.type)
        record = model.strip(found)
        if not isinstance(record, model.Record):
            raise self.fail("container_of wants a struct, %s is none" % found.text, node.type.column)
        place = Value(value.source, value.loads, 0, found, True)
        inside = self.follow(place, node.steps)
        if inside.bits or inside.loads != value.loads:
            raise self.fail("a pointer to this member cannot be", node.steps[0].column)
        return Value(value.source, value.loads, value.offset - inside.offset, model.Pointer(found, user=value.user),
                     False, value.user, cast=True)

    def at_Packet(self, node):
        column = node.column
        pointer = model.strip(self.ctype(node.type))
        header = model.strip(pointer.target) if isinstance(pointer, model.Pointer) else None
        if not isinstance(header, model.Record) or header.name not in LAYERS:
            raise self.fail("`%s` is no packet header" % node.type.text, node.type.column,
                            "struct ethhdr *, iphdr *, ipv6hdr *, icmphdr *, tcphdr *, udphdr *")
        header = self.complete(header, column)
        begins, wanted = node.layer or 3, LAYERS[header.name]
        if wanted < begins:
            raise self.fail("struct %s is layer %d, and the data begins at layer %d" % (header.name, wanted, begins),
                            column, "l%d, if that is where skb->data points to here" % wanted)
        offset = (_ETHERNET if begins == 2 and wanted > 2 else 0) + (_IP if begins <= 3 and wanted > 3 else 0)
        skb = self.socket_buffer(node)
        data = self.load(self.member(skb, "data", column), column)
        return Value(data.source, data.loads, offset, model.Pointer(header), False, packet="header", cast=True)

    def socket_buffer(self, node):
        """The struct sk_buff that the operand points to; through one more pointer where a function takes
        `struct sk_buff **` (__netif_receive_skb_core since 5.4)."""
        value = self.evaluate(node.operand)
        found = model.strip(value.type)
        record = None
        if isinstance(found, model.Pointer) and value.known:
            target = model.strip(found.target)
            if isinstance(target, model.Pointer):
                inner = model.strip(target.target)
                if isinstance(inner, model.Record) and inner.name == "sk_buff":
                    value = self.load(self.deref(value, node.column), node.column)
                    target = inner
            if isinstance(target, model.Record):
                record = target
            elif not isinstance(target, model.Void):
                raise self.not_a_buffer(value, node)
        elif value.known and not (isinstance(found, model.Scalar) and found.size == 8):
            raise self.not_a_buffer(value, node)
        if record is not None and record.name != "sk_buff":
            raise self.not_a_buffer(value, node)
        record = self.resolver.record("struct", "sk_buff")
        if record is None:
            raise self.fail("no struct sk_buff here, so packets cannot be read", node.column)
        value = self.load(value, node.column)
        return Value(value.source, value.loads, value.offset, record, True)

    def not_a_buffer(self, value, node):
        return self.fail("a packet is read from a struct sk_buff *, this is %s" % value.type.text, node.operand.column)

    def packet_data(self, value, name, record):
        """What follows a header: cdata[i] and its like count in their own size."""
        if name == "Sdata":
            return Value(value.source, value.loads, value.offset + record.size, model.Array(CHAR, 0), True)
        size = _DATA[name]
        found = model.Scalar("u%d" % (8 * size), size)
        return Value(value.source, value.loads, value.offset + record.size, found, True, packet=name)

    # -- sources -------------------------------------------------------------------------------------------------------

    def at_Register(self, node):
        regs = self.target.arch.pt_regs
        if node.name not in regs:
            names = near(node.name, sorted(regs)) or [name for name in sorted(regs) if name == node.name[1:]]
            raise self.fail("%s has no register `%s`%s" % (self.target.arch.name, node.name, _did_you_mean(names)),
                            node.column, "arguments: " + " ".join(self.target.arch.arg_regs))
        return Value(Source("reg", node.name), (), 0, U64, False, known=False)

    def at_Variable(self, node):
        if node.name == "comm":
            return Value(Source("comm"), (), 0, model.Array(CHAR, 16), False)
        if node.name == "stack":
            return Value(Source("stack", number=node.number), (), 0, U64, False, known=False)
        if not self.probe.is_return:
            raise self.fail("$retval is there when a function returns, in `r` and `R` probes", node.column,
                            "%s %s" % ("R" if self.probe.user else "r", self.probe.symbol.text.partition("+")[0]))
        if self.function is None:
            return Value(Source("retval"), (), 0, U64, False, known=False)
        found = self.function.ret
        kind = model.strip(found)
        if isinstance(kind, model.Void):
            raise self.fail("%s returns nothing" % self.function.name, node.column, self.function.text)
        self.fits_register(kind, found, "what %s returns" % self.function.name, node.column)
        return Value(Source("retval"), (), 0, found, False)

    def fits_register(self, kind, found, what, column):
        if isinstance(kind, model.Scalar) and kind.kind == "float":
            raise self.fail("%s is %s, and lies in a register that ftrace cannot read" % (what, found.text), column)
        if isinstance(kind, model.Record):
            raise self.fail("%s is %s as a whole, and not in one register" % (what, found.text), column)
        if found.size and found.size > 8:
            raise self.fail("%s is %s, which does not fit in a register" % (what, found.text), column)

    def at_Global(self, node):
        if self.target.user:
            raise self.fail("the kernel looks up symbols in kernel probes only", node.column,
                            "@0xADDRESS, or @+0xOFFSET in the file")
        if self.target.has_symbol is not None and not self.target.has_symbol(node.name):
            raise self.fail("no symbol `%s` in this kernel" % node.name, node.column + 1,
                            "/proc/kallsyms lists them; what a compiler has removed cannot be read")
        found = self.resolver.variable(node.name) if not node.offset else None
        return Value(Source("global", node.name), (), node.offset, found or U64, True, known=found is not None)

    def at_Address(self, node):
        if node.file and not self.target.user:
            raise self.fail("an offset in a file belongs to user probes", node.column, "@symbol or @0xADDRESS")
        return Value(Source("file" if node.file else "address"), (), node.number, U64, True, known=False)

    def at_Param(self, node):
        function = self.function
        if function is None:
            raise self.fail("the arguments of %s are not known by name" % self.probe.symbol.text, node.column,
                            "by number and with a cast: !(struct file *)%0")
        number = model.parameter_number(function, node.text)
        if number is None and node.column == self.arg.value_column and node.text[0] in "SUX":
            number = model.parameter_number(function, node.text[1:])  # `Sfd`: a letter, and the argument `fd`
            if number is not None:
                self.letter = node.text[0]
        if number is None:
            names = [param.name for param in function.params if param.name]
            raise self.fail("%s has no argument `%s`%s" % (
                function.name, node.text, _did_you_mean(near(node.text, names))), node.column, function.text)
        return self.argument(number, node)

    def at_Argument(self, node):
        return self.argument(node.number, node)

    def argument(self, number, node):
        function, arch, probe = self.function, self.target.arch, self.probe
        if probe.is_return and "ret-args" not in self.target.features:
            raise self.fail("a return probe cannot see the arguments: the function has used their registers since",
                            node.column, "$retval is there; take the arguments with a `%s` probe" %
                            ("P" if probe.user else "p"))
        if probe.is_return and probe.user:
            raise self.fail("a return probe of a user function cannot see its arguments", node.column,
                            "$retval is there; take the arguments with a `P` probe")
        if probe.symbol.offset:
            self.note("arguments are those of the registers at %s, which the function may have changed by then" %
                      probe.symbol.text)
        if function is None:
            return self.unknown_argument(number, node)
        if number >= len(function.params):
            raise self.fail("%s has %s" % (function.name, _count(len(function.params), "argument")), node.column,
                            function.text)
        found = function.params[number].type
        if isinstance(found, model.Variadic):
            raise self.fail("the further arguments of %s have no types" % function.name, node.column, function.text)
        place = calling.argument_place(arch, function, number)
        kind = model.strip(found)
        what = "argument %d" % number
        if place.kind == "float":
            raise self.fail("%s is %s, and lies in a register that ftrace cannot read" % (what, found.text),
                            node.column)
        if place.kind == "nothing":
            raise self.fail("%s is %s, which has no bytes" % (what, found.text), node.column)
        if isinstance(kind, model.Record):
            return self.record_argument(place, found, node)
        if found.size and found.size > 8:
            raise self.fail("%s is %s, which does not fit in a register" % (what, found.text), node.column)
        return Value(self.word_source(place), (), 0, found, False)

    def word_source(self, place):
        """Source of a place of one word."""
        if self.probe.is_return:
            return Source("arg", number=place.slot + 1)
        if place.regs:
            return Source("reg", place.regs[0])
        if place.word is None:
            raise ValueError(place.kind)
        return Source("stack", number=place.word)

    def record_argument(self, place, found, node):
        """A struct that is handed over as a whole."""
        if place.kind == "pointer":  # to the caller's copy
            return Value(self.word_source(place), (), 0, found, True)
        if place.kind == "stack":
            if self.probe.is_return:
                raise self.fail("a struct on the stack is not kept until the function returns", node.column)
            return Value(Source("stack"), (), 8 * place.word, found, True)
        if self.probe.is_return:
            regs = tuple([Source("arg", number=place.slot + 1 + word) for word, _ in enumerate(place.regs)])
        else:
            regs = tuple([Source("reg", name) for name in place.regs])
        return Value(regs[0], (), 0, found, True, regs=regs)

    def unknown_argument(self, number, node):
        """An argument of a function whose prototype nobody knows: a number in the register of its position."""
        arch = self.target.arch
        self.note("the prototype of %s is not known: arguments are taken as 64-bit numbers in the order of the "
                  "registers" % self.probe.symbol.text)
        if self.probe.is_return:
            return Value(Source("arg", number=number + 1), (), 0, U64, False, known=False)
        if number < len(arch.arg_regs):
            return Value(Source("reg", arch.arg_regs[number]), (), 0, U64, False, known=False)
        if number > 64:
            raise self.fail("no function has %d arguments" % (number + 1), node.column)
        return Value(Source("stack", number=arch.stack_args + number - len(arch.arg_regs)), (), 0, U64, False,
                     known=False)

    # -- what is stored ------------------------------------------------------------------------------------------------

    def fetch(self, arg):
        """Fetch of one variable."""
        self.arg, self.letter = arg, arg.letter
        value = self.evaluate(arg.value)
        return storing.store(self, arg, self.letter, value)


def _did_you_mean(names):
    return "; did you mean %s?" % " or ".join("`%s`" % name for name in names[:3]) if names else ""


def _count(number, what):
    return "no %s" % what if not number else "1 %s" % what if number == 1 else "%d %ss" % (number, what)


def _listed(names, limit=12):
    return ", ".join(names[:limit]) + (", ... (%d)" % len(names) if len(names) > limit else "")
