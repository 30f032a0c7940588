"""What the parser makes of a trace expression.  Plain values; ``column`` counts from 0 in the whole text.

A value is one of
    Argument(number)      %0, $arg1             Param(text)            filename, Sfd (a letter may stand before it)
    Register(name)        %di                   Variable(name, number) $retval $comm $stack $stack3
    Global(name, offset)  @jiffies, @table+8    Address(number, file)  @0xffffffff81234567, @+0x40 (offset in the file)
    Path(source, steps)   source->a.b[2]        steps: Step(kind, name or number, cast)
    Cast(operand, type)   !(struct x *)...      Packet(operand, type, layer)   @(struct iphdr *)l3...
    Deref(operand)        *p                    AddressOf(operand)     &p->m
    ContainerOf(operand, type, steps)           container_of(p, struct x, list)
"""
from __future__ import absolute_import

__all__ = ["Probe", "Symbol", "Arg", "Argument", "Param", "Register", "Variable", "Global", "Address", "Path", "Step",
           "Cast", "Packet", "Deref", "AddressOf", "ContainerOf", "CType"]


class Node(object):
    """Named slots, given in order; the last is the column."""
    __slots__ = ()

    def __init__(self, *values):
        if len(values) != len(self.__slots__):
            raise TypeError("%s takes %s" % (type(self).__name__, ", ".join(self.__slots__)))
        for name, value in zip(self.__slots__, values):
            setattr(self, name, value)

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join(repr(getattr(self, name)) for name in self.__slots__))

    def __eq__(self, other):
        return type(self) is type(other) and all(getattr(self, name) == getattr(other, name)
                                                 for name in self.__slots__)

    def __ne__(self, other):
        return not self == other

    __hash__ = None


class Probe(Node):
    """One trace expression.  ``kind``: p r P R e; ``args``: [Arg]; ``filter``: text behind `f:` (None: there is none),
    which begins at ``filter_column``; ``text``: the whole."""
    __slots__ = ("kind", "symbol", "args", "filter", "filter_column", "text")

    @property
    def user(self):
        """A user probe (P, R)?"""
        return self.kind in "PR"

    @property
    def is_return(self):
        """A return probe (r, R)?"""
        return self.kind in "rR"


class Symbol(Node):
    """Where.  ``object``: binary or library of a user probe, else ""; ``module``: kernel module (for `e`: the system),
    ``name``: function (for `e`: the event; for a user probe also `name@VERSION` or an address), may hold wildcards;
    ``offset``: bytes into it; ``copy``: which of several: a file name, a number from 1, or None."""
    __slots__ = ("object", "module", "name", "offset", "copy", "column")

    @property
    def is_pattern(self):
        """Does the name hold wildcards?"""
        return any(char in self.name for char in "*?[")

    @property
    def text(self):
        """As it is written: 'libc:fopen', 'vfs_read+0x10', 'ext4:ext4_sync_fs', 'sched/sched_switch'."""
        words = self.object + ":" if self.object else ""
        if self.module:
            words += self.module + ":"
        words += self.name
        if self.copy is not None:
            words += "#%d" % self.copy if isinstance(self.copy, int) else "@" + self.copy
        return words + ("+0x%x" % self.offset if self.offset else "")


class Arg(Node):
    """VAR=VALUE.  ``letter``: S, U, X or "" ; ``value_column``: where the value begins."""
    __slots__ = ("name", "letter", "value", "value_column", "column")


class Argument(Node):
    """The function's argument ``number``, from 0."""
    __slots__ = ("number", "column")


class Param(Node):
    """The function's argument by name."""
    __slots__ = ("text", "column")


class Register(Node):
    """A register as ftrace calls it."""
    __slots__ = ("name", "column")


class Variable(Node):
    """$retval, $comm, $stack; ``number``: N of $stackN, else None."""
    __slots__ = ("name", "number", "column")


class Global(Node):
    """A kernel symbol, ``offset`` bytes into it."""
    __slots__ = ("name", "offset", "column")


class Address(Node):
    """A fixed address; ``file``: it is an offset in the file of a user probe."""
    __slots__ = ("number", "file", "column")


class Path(Node):
    """Steps from a source."""
    __slots__ = ("source", "steps", "column")


class Step(Node):
    """``kind``: "->", "." (``what``: name of a member) or "[" (``what``: index); ``cast``: CType or None;
    ``column``: of the operator."""
    __slots__ = ("kind", "what", "cast", "what_column", "column")


class CType(Node):
    """Text of a C type."""
    __slots__ = ("text", "column")


class Cast(Node):
    """``operand`` taken as the CType ``type``; ``tight``: by `!`, which takes only what directly follows it."""
    __slots__ = ("operand", "type", "tight", "column")


class Packet(Node):
    """The header ``type`` (a pointer to it) of the packet that ``operand``, a socket buffer, holds; ``layer``: 2, 3, 4
    or None: where its data begins."""
    __slots__ = ("operand", "type", "layer", "column")


class Deref(Node):
    """*operand"""
    __slots__ = ("operand", "column")


class AddressOf(Node):
    """&operand"""
    __slots__ = ("operand", "column")


class ContainerOf(Node):
    """container_of(operand, type, steps)"""
    __slots__ = ("operand", "type", "steps", "column")
