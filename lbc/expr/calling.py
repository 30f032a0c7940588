"""Where a function's arguments lie when it is entered: registers, stack words, or behind a pointer.

x86-64: System V ABI, 3.2.3 (the kernel follows it); aarch64: Procedure Call Standard (AAPCS64), 6.8.2.
"""
from __future__ import absolute_import

from .._py23 import range
from ..resolvers import model

__all__ = ["Place", "argument_place"]


class Place(object):
    """``kind``: "regs" (``regs``: names, in order of the object's words), "stack" (``word``: the first stack word),
    "pointer" (in ``regs`` or at ``word`` lies a pointer to a copy), "float" (a register that ftrace cannot read),
    "nothing" (no bytes); ``slot``: number of the first register or stack word among all: ftrace's $argN is slot + 1."""
    __slots__ = ("kind", "regs", "word", "slot")

    def __init__(self, kind, regs=(), word=None, slot=None):
        self.kind, self.regs, self.word, self.slot = kind, regs, word, slot


def argument_place(arch, function, number):
    """Place of argument ``number`` (from 0) of ``function`` (model.Function) on ``arch`` (uapi.arch.Arch)."""
    walk = _X86(arch) if arch.name == "x86_64" else _Arm(arch)
    found = None
    for param in function.params[:number + 1]:
        found = walk.next(model.strip(param.type))
    return found


def _leaves(found, offset, leaves):
    """[(byte offset, type)] of the scalars and pointers in a type; at most 17 are needed."""
    found = model.strip(found)
    if isinstance(found, model.Record):
        for member in found.members:
            if len(leaves) < 17:
                _leaves(member.type, offset + member.bit_offset // 8, leaves)
    elif isinstance(found, model.Array):
        for index in range(min(found.count, 17)):
            _leaves(found.element, offset + index * found.element.size, leaves)
    else:
        leaves.append((offset, found))
    return leaves


def _is_float(found):
    return isinstance(found, model.Scalar) and found.kind == "float"


class _Walk(object):
    float_regs, float_size = 8, 16

    def __init__(self, arch):
        self.regs, self.first = arch.arg_regs, arch.stack_args
        self.used, self.floats, self.words = 0, 0, 0

    def take(self, count):
        """Place in ``count`` registers."""
        first = self.used
        self.used += count
        return Place("regs", tuple(self.regs[first:self.used]), slot=first)

    def stack(self, size, align=8):
        """Place in memory."""
        if align > 8 and self.words % 2:
            self.words += 1
        word = self.words
        self.words += (size + 7) // 8
        return Place("stack", (), self.first + word, len(self.regs) + word)

    def float(self, size):
        """Place of a number in a floating point register (`long double` is in memory on x86-64)."""
        if size > self.float_size or self.floats >= self.float_regs:
            return self.stack(size, size)
        self.floats += 1
        return Place("float")

    def next(self, found):
        """Place of the next argument, of type ``found``."""
        if _is_float(found):
            return self.float(found.size)
        if isinstance(found, model.Record):
            if not found.size:
                return Place("nothing")
            return self.record(found)
        if isinstance(found, model.Scalar) and found.size > 8:
            return self.wide(found.size)
        return self.take(1) if self.used < len(self.regs) else self.stack(8)


class _X86(_Walk):
    float_size = 8

    def wide(self, size):
        """A 128-bit number."""
        return self.take(2) if self.used + 2 <= len(self.regs) else self.stack(size, 16)

    def record(self, found):
        """Words of at most two registers, each of the class that its members have; else memory, and registers stay
        free for later arguments."""
        if found.size <= 16:
            leaves = _leaves(found, 0, [])
            words = (found.size + 7) // 8
            ints = [any(at // 8 == word and not _is_float(leaf) for at, leaf in leaves) for word in range(words)]
            aligned = all(at % (leaf.size or 1) == 0 and (leaf.size or 1) <= 8 for at, leaf in leaves)
            wanted, floats = sum(ints), words - sum(ints)
            if aligned and self.used + wanted <= len(self.regs) and self.floats + floats <= self.float_regs:
                self.floats += floats
                return self.take(wanted) if not floats else self._mixed(wanted)
        return self.stack(found.size)

    def _mixed(self, wanted):
        self.used += wanted
        return Place("float")


class _Arm(_Walk):
    def wide(self, size):
        """A 128-bit number: an even register and the next."""
        self.used += self.used % 2
        if self.used + 2 <= len(self.regs):
            return self.take(2)
        self.used = len(self.regs)
        return self.stack(size, 16)

    def record(self, found):
        """Up to four equal floats, two registers, or a pointer to a copy."""
        leaves = _leaves(found, 0, [])
        if leaves and len(leaves) <= 4 and all(_is_float(leaf) and leaf.size == leaves[0][1].size
                                               for _, leaf in leaves):
            if self.floats + len(leaves) <= self.float_regs:
                self.floats += len(leaves)
                return Place("float")
            self.floats = self.float_regs
            return self.stack(found.size)
        if found.size > 16:
            place = self.take(1) if self.used < len(self.regs) else self.stack(8)
            place.kind = "pointer"
            return place
        if any((leaf.size or 1) > 8 for _, leaf in leaves):
            return self.wide(found.size)
        words = (found.size + 7) // 8
        if self.used + words <= len(self.regs):
            return self.take(words)
        self.used = len(self.regs)
        return self.stack(found.size)
