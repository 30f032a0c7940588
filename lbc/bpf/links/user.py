"""User probes by name: ``BINARY:FUNC+off`` -> file and offset in it."""
from __future__ import absolute_import

from ...errors import InputError
from .perf import uprobe

__all__ = ["parse_target", "place", "attach_uprobe"]


def parse_target(text):
    """(binary, function or "", offset in bytes) of "/bin/bash:readline+8", "libc.so.6:malloc", "/bin/x:0x1200"."""
    binary, colon, function = text.partition(":") if not text.startswith("/") else text.rpartition(":")
    if not colon or not binary or not function:
        raise InputError("user probe `%s`: expected BINARY:FUNCTION[+OFFSET] or BINARY:OFFSET" % text,
                         hint="for example uprobe/libc.so.6:malloc or uprobe//bin/bash:readline+8")
    name, plus, extra = function.partition("+")
    try:
        if plus:
            return binary, name, int(extra, 0)
        if name[:1].isdigit():
            return binary, "", int(name, 0)
    except ValueError:
        raise InputError("user probe `%s`: `%s` is not an offset in bytes" % (text, extra or name))
    return binary, name, 0


def place(binary, function, offset=0, pid=None):
    """(path that opens here, offset in the file).  NotFoundError, InputError, FormatError."""
    from ...elf.locate import find_binary
    path = find_binary(binary, pid)
    if not function:
        return path, offset
    from ...elf.symbols import open_functions
    with open_functions(path) as functions:
        return path, functions.probe_offset(function) + offset


def attach_uprobe(kernel, program, target=None, path=None, func=None, offset=0, pid=-1, is_return=False, cookie=0,
                  ref_ctr_offset=0, way=None):
    """Link to a function or offset of a user program or library.  ``pid``: -1 all processes, 0 this one, else that one,
    whose mount name space then says what the binary's name means."""
    if pid == 0:
        import os
        pid = os.getpid()
    if path is None:
        if not target:
            raise InputError("program `%s`: which binary and function? (section uprobe/BINARY:FUNC, or target=, "
                             "or path= and func=)" % program.name)
        path, function, extra = parse_target(target)
        func, offset = func or function, offset + extra
    where, at = place(path, func, offset, pid if pid > 0 else None)
    what = "%s %s:%s" % ("uretprobe" if is_return else "uprobe", where,
                         "%s+0x%x" % (func, offset) if func and offset else func or "0x%x" % at)
    return uprobe(kernel, program, where, at, is_return, pid, cookie, ref_ctr_offset, way, what)
