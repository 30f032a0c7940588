"""Compiled Java methods: where their code is entered, and BPF programs on it.

    for method in java.methods(pid, "Test.square_test"): ...       # .name, .entry
    link = java.attach(obj.programs.on_call, pid, "Ltest;::square_test")

Names come from the perf-PID.map that `jcmd PID Compiler.perfmap` (JDK 17), -XX:+DumpPerfMapAtExit or perf-map-agent
writes; it is read from the process's own file system and believed only when it is the process's own (lbc.symbols).
An entry in it begins where the compiled code begins, which is not where a call arrives: an instance method first checks
the receiver's class (HotSpot: the unverified entry point) and the arguments are in their registers behind that, at the
verified entry point.  The check's instructions are read from the process; x86_64 only.

A program there sees the registers of HotSpot's calling convention (Compiled calls, assembler_x86.hpp): int and pointer
arguments in si, dx, cx, r8, r9, di (an instance method: `this` in si).  Needs hardware breakpoints (perf events of type
PERF_TYPE_BREAKPOINT), four a thread.  A method that the compiler put into its callers has no code of its own there.
"""
from __future__ import absolute_import

import errno
import os

from .bpf.links.base import LinkGroup, close_all
from .bpf.links.perf import attach_fd, open_event
from .errors import InputError, KernelError, NotFoundError, NotSupported, PrivilegeError
from .symbols import perf_map_entries
from .uapi import perf as _p

__all__ = ["Method", "methods", "attach", "verified_entry"]

BREAKPOINTS = 4     # HBP_NUM of arch/x86/include/asm/hw_breakpoint.h
CODE_BYTES = 64
# No-operations as HotSpot pads with: how each begins, and its length.
_NOPS = [(b"\x66\x66\x66\x0f\x1f\x84\x00", 11), (b"\x66\x66\x0f\x1f\x84\x00", 10), (b"\x66\x0f\x1f\x84\x00", 9),
         (b"\x0f\x1f\x84\x00", 8), (b"\x0f\x1f\x80", 7), (b"\x66\x0f\x1f\x44\x00", 6), (b"\x0f\x1f\x44\x00", 5),
         (b"\x0f\x1f\x40", 4), (b"\x66\x66\x66\x90", 4), (b"\x0f\x1f\x00", 3), (b"\x66\x66\x90", 3), (b"\x66\x90", 2),
         (b"\x90", 1)]
# What a class check begins with (receiver in rsi), and the other instructions of one, before its `jne`.
_CHECK_BEGINS = [b"\x44\x8b\x56\x08",   # mov r10d, [rsi+8]
                 b"\x4c\x8b\x56\x08",   # mov r10, [rsi+8]
                 b"\x48\x3b\x46\x08",   # cmp rax, [rsi+8]
                 b"\x4c\x8b\x16"]       # mov r10, [rsi]: compact object headers, JDK 24
_CHECK_PARTS = [(b"\x49\xbb", 10),              # movabs r11, imm64
                (b"\x4d\x03\xd3", 3),           # add r10, r11
                (b"\x4d\x33\xd3", 3),           # xor r10, r11
                (b"\x49\xc1\xe2", 4),           # shl r10, imm8
                (b"\x49\xc1\xea", 4),           # shr r10, imm8
                (b"\x4d\x8d\x14", 4),           # lea r10, [base + r10*8]
                (b"\x4f\x8d\x14", 4),
                (b"\x49\x3b\xc2", 3),           # cmp rax, r10
                (b"\x4c\x3b\xd0", 3),           # cmp r10, rax
                (b"\x44\x3b\x50\x08", 4),       # cmp r10d, [rax+8]
                (b"\x4c\x3b\x50\x08", 4)]       # cmp r10, [rax+8]
_JNE, _JMP = b"\x0f\x85", b"\xe9"


class Method(object):
    """One compiled version of a method.  ``name`` as the map has it; ``start``, ``size``: its code, ``entry``: where
    calls arrive; ``live``: False when the JVM replaced it (a jump stands at its entry)."""
    __slots__ = ("name", "start", "size", "entry", "live")

    def __init__(self, name, start, size, entry, live):
        self.name, self.start, self.size, self.entry, self.live = name, start, size, entry, live

    def __repr__(self):
        return "Method(%s, 0x%x+0x%x%s)" % (self.name, self.start, self.entry - self.start,
                                            "" if self.live else ", gone")


def _skip_nops(code, at):
    while True:
        for nop, length in _NOPS:
            if code.startswith(nop, at) and at + length <= len(code):
                at += length
                break
        else:
            return at


def verified_entry(code):
    """(bytes from the beginning of a compiled method to its verified entry point, whether it is still in use).
    ``code``: the first bytes of it, 64 are enough.  InputError when the class check is of a form not known."""
    at = _skip_nops(code, 0)    # JDK 22 and later align the entry behind the check by padding before it
    begin = [part for part in _CHECK_BEGINS if code.startswith(part, at)]
    if not begin:
        return 0, not code.startswith(_JMP)
    at += len(begin[0])
    while not code.startswith(_JNE, at):
        for part, length in _CHECK_PARTS:
            if code.startswith(part, at):
                at += length
                break
        else:
            raise InputError("a compiled method begins with a class check of a form that lbc does not know (at +0x%x)"
                             % at)
    at = _skip_nops(code, at + 6)
    return at, not code.startswith(_JMP, at)


def _plain_name(name):
    """'test.square_test' of "Ltest;::square_test" (perf-map-agent), "int test.square_test(int)" (jcmd),
    "test::square_test" and "test.square_test"."""
    name = name.partition("(")[0].split(" ")[-1]
    kind, colons, method = name.rpartition("::")
    if colons:
        name = "%s.%s" % (kind[1:-1] if kind.startswith("L") and kind.endswith(";") else kind, method)
    return name.replace("/", ".")


def _map_of(pid):
    try:
        return perf_map_entries(pid)
    except (OSError, IOError) as error:
        if not os.path.isdir("/proc/%d" % pid):
            raise NotFoundError("process", str(pid))
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PrivilegeError("cannot read the names of the compiled methods of process %d: %s"
                                 % (pid, error.strerror), "root, or the process's own user", cause=error)
        raise NotFoundError("perf map", "/tmp/perf-%d.map" % pid, "the file system of process %d" % pid,
                            hint="jcmd %d Compiler.perfmap writes it (JDK 17 and later), or load perf-map-agent" % pid)
    except ValueError as error:
        raise InputError("/tmp/perf-%d.map of process %d: %s" % (pid, pid, error),
                         hint="it must belong to the process's user or to root, and be no link")


def methods(pid, symbol):
    """[Method] of each compiled version of ``symbol`` in process ``pid``: a name as the map has it, or CLASS.METHOD,
    which overloads share.  NotFoundError with near names, InputError, PrivilegeError, NotSupported (not x86_64)."""
    if os.uname()[4] != "x86_64":
        raise NotSupported("lbc's knowledge of where compiled Java methods are entered on %s" % os.uname()[4])
    entries = _map_of(pid)
    found = [row for row in entries if row[2] == symbol]
    if not found:
        wanted = _plain_name(symbol)
        if "(" not in symbol:
            found = [row for row in entries if _plain_name(row[2]) == wanted]
        if not found:
            from ._py23 import near
            raise NotFoundError("compiled method", symbol, "the perf map of process %d" % pid,
                                near(symbol, [row[2] for row in entries]) or
                                near(wanted, set([_plain_name(row[2]) for row in entries])),
                                hint="methods are compiled when they have run often enough; then write the map again: "
                                     "jcmd %d Compiler.perfmap" % pid)
    result = []
    try:
        memory = os.open("/proc/%d/mem" % pid, os.O_RDONLY)
    except OSError as error:
        raise PrivilegeError("cannot read the memory of process %d: %s" % (pid, error.strerror), "CAP_SYS_PTRACE",
                             cause=error)
    try:
        for start, size, name in found:
            try:
                os.lseek(memory, start, os.SEEK_SET)
                code = os.read(memory, CODE_BYTES)
            except (OSError, OverflowError):
                continue    # the code cache let go of it
            at, live = verified_entry(code)
            result.append(Method(name, start, size, start + at, live))
    finally:
        os.close(memory)
    return result


def _threads(pid):
    try:
        return [int(name) for name in os.listdir("/proc/%d/task" % pid)]
    except OSError:
        raise NotFoundError("process", str(pid), hint="it may have ended")


def attach(program, pid, symbol):
    """Link of ``program`` (section "perf_event") to each call of the Java method ``symbol`` in process ``pid``, in all
    threads, those that begin later too; it is closed with the program's object, if not before.  A thread that
    begins in the moment of attaching may be missed.

    Errors of methods(); NotFoundError too when every version of it was replaced; NotSupported without breakpoints."""
    found = [method for method in methods(pid, symbol) if method.live]
    if not found:
        raise NotFoundError("compiled method in use", symbol, "process %d" % pid,
                            hint="the JVM has compiled it anew: write the map again: jcmd %d Compiler.perfmap" % pid)
    if len(found) > BREAKPOINTS:
        raise InputError("%s: %d compiled methods have this name, a thread has %d breakpoints: %s" % (
            symbol, len(found), BREAKPOINTS, "; ".join([method.name for method in found])),
            hint="give the whole name, with the types of the arguments")
    links = []
    try:
        for tid in sorted(_threads(pid)):
            for method in found:
                link = _on_thread(program, pid, tid, method)
                if link is not None:
                    links.append(link)
    except BaseException:
        close_all(links)
        raise
    if not links:
        raise NotFoundError("process", str(pid), hint="it may have ended")
    link = LinkGroup(program.kernel, links, "%d breakpoint%s of %s in process %d" % (
        len(links), "s" if len(links) > 1 else "", symbol, pid), program)
    if program.object is not None:
        program.object.own(link)
    return link


def _on_thread(program, pid, tid, method):
    """A breakpoint for one thread and all that it begins; None when the thread has ended."""
    fields = {"type": _p.PERF_TYPE_BREAKPOINT, "sample_period": 1, "bp_type": _p.HW_BREAKPOINT_X,
              "bp_addr": method.entry, "bp_len": 8, "inherit": 1, "exclude_kernel": 1, "exclude_hv": 1}
    what = "Java method %s of process %d" % (method.name, pid)
    kernel = program.kernel
    try:
        return attach_fd(kernel, program, open_event(kernel, fields, tid, -1), what=what)
    except NotSupported:
        raise
    except KernelError as error:
        if error.errno == errno.ESRCH:
            return None
        if error.errno in (errno.EOPNOTSUPP, errno.ENOENT, errno.ENODEV):
            raise NotSupported("hardware breakpoints", None, error.errno, error.call, error)
        if error.errno == errno.ENOSPC:
            raise KernelError("%s: no free breakpoint register in thread %d" % (what, tid), error.call, error.errno,
                              error, hint="a debugger or another tracer uses them; there are %d a thread" % BREAKPOINTS)
        raise
