"""What BPF programs print with bpf_printk(): read without taking it from others, and only a program's own lines.

    with Printk(kernel, formats=formats_of(obj.spec)) as printk:
        for line in printk.poll(1000): ...          # Line: task, pid, cpu, time, text

Since 5.9 each print is an event, bpf_trace/bpf_trace_printk (ac5a72ea5c89): it is switched on in a tracing instance of
our own, so other readers keep their copy and nothing else comes with it.  Older kernels print into the one global
trace_pipe, where a line goes to whoever reads first: there is no other way there.

A line does not say which program printed it.  Its text does: it must fit a format string of the program.  Two programs
that print with the same format cannot be told apart.
"""
from __future__ import absolute_import

import errno
import os
import select
import struct
import sys

from . import tracefs
from ._py23 import monotonic, range, to_text
from .bpf.programs import Program
from .bpf.spec import MAP_VALUE, ProgramSpec
from .errors import InputError, KernelError, NotFoundError, PrivilegeError
from .uapi import bpf as _u

__all__ = ["Printk", "Line", "formats_of", "formats_of_program", "find_programs", "show"]

EVENT = "events/bpf_trace/bpf_trace_printk"
_NAMES = ("bpf_trace_printk: ", "0: ", ": ")    # 5.9 and later; 4.x, where the place of a caller stands
_HELPERS = (6, 177)     # trace_printk, trace_vprintk (linux/bpf.h)
_INSN = struct.Struct("=BBhi")
_LD_IMM64, _MOV_IMM, _CALL = 0x18, 0xb7, 0x85
_READ = 1 << 16
_made = [0]


class Line(object):
    """One printed line: ``task``, ``pid``, ``cpu`` of whom it was printed in, ``time`` (seconds of the trace clock),
    ``text`` without the end of line."""
    __slots__ = ("task", "pid", "cpu", "time", "text", "raw")

    def __init__(self, task, pid, cpu, time, text, raw):
        self.task, self.pid, self.cpu, self.time, self.text, self.raw = task, pid, cpu, time, text, raw

    def as_dict(self):
        """The same without ``raw``, for JSON."""
        return {name: getattr(self, name) for name in ("task", "pid", "cpu", "time", "text")}

    def __repr__(self):
        return "Line(%r)" % self.text


def parse_line(raw):
    """Line of `    bash-2392  [001] d..1.  2375.809655: bpf_trace_printk: text`; None for what is no such line.  A
    task's name is at most 15 bytes of anything, the flags have no blanks, so the columns are found from the time
    backwards."""
    best = None
    for name in _NAMES:
        at = raw.find(": " + name)
        if at > 0 and (best is None or at < best[0]):
            best = at, at + 2 + len(name)
            if name == _NAMES[0]:
                break
    if best is None:
        return None
    head, text = raw[:best[0]].split(), raw[best[1]:]
    place = max([number for number, word in enumerate(head) if word[:1] == "[" and word[-1:] == "]" and
                 word[1:-1].isdigit()] or [-1])
    if place < 1:
        return None
    task, dash, pid = raw[:raw.rindex(head[place], 0, best[0])].strip().rpartition("-")
    try:
        return Line(task, int(pid.partition(" ")[0]), int(head[place][1:-1]), float(head[-1]), text, raw)
    except ValueError:
        return None


class Printk(object):
    """Lines that programs print, from now on.  ``formats``: only those that fit one of these bpf_printk formats (None:
    all); ``lost``: events that found no room, as far as the kernel tells.  NotSupported without tracefs,
    PrivilegeError, KernelError."""

    def __init__(self, kernel, formats=None):
        self.kernel, self.lost = kernel, 0
        self._unread = []
        self._match = None if formats is None else matcher(formats)
        self._rest, self._fd, self._instance = b"", None, None
        tracefs.sweep(kernel)
        root = tracefs.need_tracefs(kernel)
        try:
            folder = root
            if kernel.exists("%s/%s" % (root, EVENT)):
                _made[0] += 1
                self._instance = tracefs.Instance(kernel, "_printk%d" % _made[0])
                self._instance.write(EVENT + "/enable", "1")
                folder = self._instance.path
            self.own = self._instance is not None
            try:
                self._fd = os.open(folder + "/trace_pipe", os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
            except OSError as error:
                raise KernelError("cannot read %s/trace_pipe: %s" % (folder, error.strerror), "open", error.errno,
                                  cause=error, hint="another program reads it: only one can, before kernel 5.9"
                                  if not self.own else None)
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
        except BaseException:
            self.close()
            raise

    def poll(self, timeout_ms=-1):
        """[Line] as soon as there are some; [] when ``timeout_ms`` is over (negative: waits for ever)."""
        until = None if timeout_ms is None or timeout_ms < 0 else monotonic() + timeout_ms / 1000.0
        while True:
            found, self._unread = self._unread or self._read(), []
            left = 100 if until is None else min(100, (until - monotonic()) * 1000)
            if found or left <= 0 and until is not None:
                return found
            # Some kernels do not wake a reader for a partly filled page: look again by ourselves.
            self._wait(max(left, 1))

    def unread(self, lines):
        """Let the next poll() give ``lines`` again."""
        self._unread = lines + self._unread

    def _wait(self, timeout_ms):
        try:
            self._poll.poll(timeout_ms)
        except (select.error, OSError) as error:
            if error.args[0] != errno.EINTR:   # on Python 2
                raise

    def _read(self):
        lines = []
        for _ in range(64):     # a program that prints without end must not keep us here
            try:
                chunk = os.read(self._fd, _READ)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    break
                raise KernelError("read trace_pipe: %s" % error.strerror, "read", error.errno, cause=error)
            if not chunk:
                break
            lines += (self._rest + chunk).split(b"\n")
            self._rest = lines.pop()
        return self._lines([to_text(raw) for raw in lines])

    def _lines(self, texts):
        found = []
        for raw in texts:
            if raw.startswith("CPU:") and "[LOST " in raw:
                words = raw.partition("[LOST ")[2].split()
                self.lost += int(words[0]) if words and words[0].isdigit() else 1
                continue
            line = parse_line(raw)
            if line is not None and (self._match is None or self._match(line.text)):
                found.append(line)
        return found

    def close(self):
        """Give the instance back; idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.close()

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


def show(printk, write=None, duration_s=None, count=None):
    """Hand each line's text to ``write`` (default: to stdout) until Ctrl-C, for ``duration_s`` seconds or ``count``
    lines."""
    until = None if duration_s is None else monotonic() + duration_s
    try:
        while (count is None or count > 0) and (until is None or monotonic() < until):
            lines = printk.poll(200 if until is None else max(0, min(200, (until - monotonic()) * 1000)))
            while lines and count != 0:
                line = lines.pop(0)
                if write is None:
                    sys.stdout.write(line.raw + "\n")
                    sys.stdout.flush()
                else:
                    write(line.text)
                count = None if count is None else count - 1
            printk.unread(lines)
    except KeyboardInterrupt:
        pass


# -- whose line is it? -------------------------------------------------------------------------------------------------

def matcher(formats):
    """f(line's text) -> whether one of the format strings can have printed it."""
    import re
    patterns = []
    for text in formats:
        first = text.split("\n")[0]     # a format of several lines prints several; a line begins where it begins
        parts = re.split(r"(%%|%[-+ #0]*[0-9]*\.?[0-9]*(?:hh|h|ll|l|z|t)?(?:p[a-zA-Z0-9]{0,3}|[diuxXcs]))", first)
        patterns.append("".join([re.escape(part) if number % 2 == 0 else "%" if part == "%%" else ".*"
                                 for number, part in enumerate(parts)]) + r"\s*")
    whole = re.compile("(?:%s)\\Z" % "|".join(patterns) if patterns else r"(?!)", re.S)
    return lambda line: whole.match(line) is not None


def _string(data, at, size):
    """The text of ``size`` bytes, the last of them 0 and no other, at ``at``; None when it is none."""
    raw = bytes(bytearray(data[at:at + size]))
    if len(raw) != size or size < 2 or raw.find(b"\0") != size - 1:
        return None
    return to_text(raw[:-1])


def _formats(insns, pointer, helper):
    """[text] of the format strings: r1 = pointer into constants, r2 = size, call.  ``pointer(index, source register)``:
    (data, offset) of the ld_imm64 there when it points into constants, else None; ``helper(number)``: may this call be
    one?"""
    found, known = [], {}   # register -> (data, offset) or int
    jumps = len(insns) // 8
    index = 0
    while index < jumps:
        code, registers, _, value = _INSN.unpack_from(insns, index * 8)
        target, source = registers & 15, registers >> 4
        if code == _LD_IMM64:
            known[target] = pointer(index, source)
            index += 1
        elif code == _MOV_IMM:
            known[target] = value
        elif code == 0xbf:      # mov register
            known[target] = known.get(source)
        elif code == _CALL:
            place, size = known.get(1), known.get(2)
            if source == 0 and helper(value) and isinstance(place, tuple) and isinstance(size, int):
                text = _string(place[0], place[1], size)
                if text is not None and text not in found:
                    found.append(text)
            for register in range(6):
                known.pop(register, None)
        elif code & 7 in (4, 7):    # arithmetic
            known.pop(target, None)
        index += 1
    return found


def formats_of(spec):
    """[format string] that the programs of an ObjectSpec hand to bpf_printk(); those that they build on their stack are
    not seen."""
    found = []
    for program in list(spec.programs.values()) + list(spec.subprograms.values()):
        places = dict([(reloc.insn, reloc) for reloc in program.relocs if reloc.kind == MAP_VALUE])

        def pointer(index, source, places=places):
            reloc = places.get(index)
            data = spec.maps[reloc.name].data if reloc is not None and reloc.name in spec.maps else None
            return (data, reloc.offset) if data is not None else None
        found += [text for text in _formats(program.insns, pointer, lambda number: number in _HELPERS)
                  if text not in found]
    return found


def find_programs(kernel, name):
    """[id] of the loaded programs with this id or name (of which the kernel keeps 15 bytes).  NotFoundError,
    PrivilegeError (CAP_SYS_ADMIN is needed; 4.13)."""
    titles = {}
    for number in _program_ids(kernel):
        try:
            with _Loaded(kernel, number) as program:
                titles[number] = program.info().name
        except NotFoundError:
            continue    # it is gone meanwhile
    found = [number for number in sorted(titles) if str(number) == name or titles[number] == name[:15]]
    if not found:
        from ._py23 import near
        raise NotFoundError("loaded BPF program", name, "this kernel", near(name[:15], set(titles.values())))
    return found


def _program_ids(kernel):
    from .bpf.syscalls import Attr
    attr, last = Attr(_u.BPF_PROG_GET_NEXT_ID), 0
    attr.size = 12
    while True:
        attr.set("start_id", last)
        try:
            kernel.run(attr)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return
            if error.errno == errno.EPERM:
                raise PrivilegeError("list the loaded BPF programs: %s" % error.what, "CAP_SYS_ADMIN", error.call,
                                     error.errno, error)
            raise
        last = attr.get("next_id")
        yield last


class _Loaded(Program):
    """A program that somebody loaded, opened by id."""

    def __init__(self, kernel, number):
        try:
            fd = kernel.bpf(_u.BPF_PROG_GET_FD_BY_ID, {"prog_id": number})
        except KernelError as error:
            if error.errno == errno.ENOENT:
                raise NotFoundError("loaded BPF program", str(number))
            raise
        Program.__init__(self, kernel, ProgramSpec("", ""), fd)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


def formats_of_program(kernel, number):
    """[format string] of the loaded program with id ``number``, read from its instructions and its maps of constants
    (4.13; needs CAP_SYS_ADMIN)."""
    from .bpf import maps
    with _Loaded(kernel, number) as program:
        insns = program.xlated()
    opened = {}

    def pointer(index, source):
        if source != _u.BPF_PSEUDO_MAP_VALUE:
            return None
        map_id, offset = (_INSN.unpack_from(insns, (index + step) * 8)[3] for step in (0, 1))
        if map_id not in opened:
            try:
                with maps.from_id(kernel, map_id) as table:
                    opened[map_id] = table.raw.lookup(b"\0\0\0\0")
            except (KernelError, NotFoundError, InputError):
                opened[map_id] = None
        return (opened[map_id], offset) if opened[map_id] else None
    # The kernel has turned a helper's number into an address that it may hide: any call of this shape counts.
    return _formats(insns, pointer, lambda value: True)
