"""Names of kernel functions: parsing a probe's target, patterns, and saying why a function cannot be probed.

Reads /proc/kallsyms and available_filter_functions, which are large: only for patterns, system calls and errors.
"""
from __future__ import absolute_import

import errno

from ..._py23 import to_text
from ...errors import InputError, KernelError, NotFoundError, errno_text
from ...kernel_functions import FunctionLists, glob_bytes
from ...tracefs import find_tracefs
from .base import refused

__all__ = ["parse_target", "explain", "count", "names", "expand"]


def parse_target(target, offset=0):
    """(symbol or address, offset) of "name", "name+0x10", "module:name+8" or an int."""
    if not isinstance(target, (str, bytes)) and not hasattr(target, "encode"):
        return target, offset
    text = target if isinstance(target, str) else to_text(target)
    name, plus, extra = text.strip().partition("+")
    if not name:
        raise InputError("which kernel function? the target is empty", hint="name it: section kprobe/NAME, or target=")
    if plus:
        try:
            offset += int(extra, 0)
        except ValueError:
            raise InputError("kernel function `%s`: `%s` is not an offset in bytes" % (text, extra))
    if name.startswith("0x"):
        try:
            return int(name, 16), offset
        except ValueError:
            pass
    return name, offset


def count(kernel, symbol):
    """How many code symbols of that name the kernel has; -1 where kallsyms cannot be read."""
    lists = FunctionLists(kernel)
    return len(_rows(lists, symbol)) if lists.kallsyms else -1


def _rows(lists, symbol):
    """Rows of kallsyms for "name" or "module:name"."""
    module, colon, name = symbol.rpartition(":")
    return lists.rows(name, module if colon else None)


def names(kernel, prefix):
    """[names] of code symbols that begin with ``prefix``."""
    return FunctionLists(kernel).starting(prefix)


def explain(kernel, error, symbol, offset, kind):
    """The error to raise for a refused kprobe: why it cannot be, as far as the kernel's own lists tell."""
    where = symbol if isinstance(symbol, str) else "0x%x" % symbol
    doing = "%s %s%s" % (kind, where, "+0x%x" % offset if offset else "")
    if error.errno in (errno.EPERM, errno.EACCES):
        return refused(kernel, error, doing)
    if error.errno == errno.EILSEQ:
        return KernelError("%s: %s" % (doing, errno_text(error.errno)), error.call, error.errno, error,
                           "the offset is not at the start of an instruction")
    if not isinstance(symbol, str):
        return refused(kernel, error, doing, "is the address the start of an instruction of kernel code?")
    lists = FunctionLists(kernel)
    rows, name = _rows(lists, symbol), symbol.rpartition(":")[2]
    if not rows and error.errno in (errno.ENOENT, errno.EINVAL) and lists.kallsyms:
        similar = lists.near(name)
        hint = None
        if any(n.startswith(symbol + ".") for n in similar):
            hint = "the compiler made a copy with a changed signature; its arguments may not be where the source says"
        return NotFoundError("kernel function", symbol, "this kernel", similar,
                             hint or "it may be inlined, or in a module that is not loaded")
    if len(rows) > 1 and error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL):
        return KernelError("%s: the kernel has %d functions of that name" % (doing, len(rows)), error.call, error.errno,
                           error,
                           "give the address: one of %s" % ", ".join("0x%x" % row.address for row in rows[:6]))
    if error.errno in (errno.EINVAL, errno.ENOENT) and rows:
        if lists.traceable(name) is False or lists.blacklisted(name):
            return KernelError("%s: the function cannot be probed: it is notrace, blacklisted or in a section "
                               "without tracing" % doing, error.call, error.errno, error,
                "/sys/kernel/debug/kprobes/blacklist lists such functions; "
                               "probe a caller instead")
    if error.errno == errno.EINVAL and rows and rows[0].module == "" and symbol.startswith("__"):
        return refused(kernel, error, doing,
                       "functions of the entry code, of kprobes itself and of init cannot be probed")
    return refused(kernel, error, doing, error.hint)


def expand(kernel, pattern):
    """[(name, address or 0)] of the traceable functions that match ("vfs_*", "module:func*"), by
    available_filter_functions."""
    import re
    lists = FunctionLists(kernel, find_tracefs(kernel) or "")
    module, colon, name = pattern.rpartition(":")
    glob = glob_bytes(name)
    tail = br" \[" + glob_bytes(module) + br"\]$" if colon else br"(?: \[[^\]]+\])?$"
    # 6.5: with addresses, so copies of one name are told apart
    rows = re.findall(br"^([0-9a-f]+) (" + glob + br")" + tail, lists.addresses_text, re.M)
    if rows:
        return [(to_text(func), int(address, 16)) for address, func in rows]
    able = set(re.findall(br"^(" + glob + br")" + tail, lists.traceable_text, re.M)) if lists.traceable_text else None
    kall = re.findall(br"^([0-9a-fA-F]+) [tTwW] (" + glob + br")"
                      + (tail.replace(b" ", b"\t") if colon else br"(?:\t\[[^\]]+\])?$"),
                      lists.kallsyms, re.M)
    seen = {}
    for address, func in kall:
        seen.setdefault(func, []).append(int(address, 16))
    if able is None:
        able = set(seen)
    # a name with several addresses cannot be told apart in this list: left out, as the kernel itself would refuse it
    return sorted((to_text(func), seen[func][0]) for func in able if len(seen.get(func, ())) == 1)
