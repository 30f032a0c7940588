"""What an instance of tracefs traced, from the raw pages of its ring buffers (per_cpu/cpuN/trace_pipe_raw).

    RawTrace     decodes the pages by the events' formats and prints or parses them: three times as fast as the kernel's
                 own printing; the lines are those of trace_pipe
    open_trace   RawTrace, or pipe.TextTrace where an event or an option is beyond it

Lines of all CPUs come in the order of time.  What one round of reading found is held until the next round has seen
every CPU again: an event older than the newest one of the round before cannot turn up any more.
"""
from __future__ import absolute_import

import errno
import os
import select
import struct
import time
from operator import itemgetter

from .. import host
from .._py23 import iteritems, monotonic, to_text
from ..errors import FormatError, KernelError, NotSupported, errno_text
from .arguments import compile_arguments, compile_place
from .columns import Columns, split_key
from .formats import read_format, read_page_format
from .lines import Event, Joiner
from .names import KernelNames
from .pages import lost_events, records
from .special import compile_line, stack_addresses

__all__ = ["RawTrace", "open_trace"]

BURST = 64                # pages of one CPU in one round: the other CPUs must not wait for ever
HOLD_MS = 10              # pause between two rounds; what came in it costs no wake-up of its own
RECHECK_SECONDS = 1.0     # CPUs that were off may come
MAX_HEADS = 1 << 15
_BAD_RECORD = (struct.error, IndexError, KeyError, ValueError, OverflowError, TypeError)
_stamp = itemgetter(0)


def open_trace(files, root, folder, rows, parsed=False, text=False, user_symbols=False, enumerator=None):
    """The best reader of the instance at ``folder`` (tracefs: ``root``; ``files``: KernelFiles).

    ``rows``: [(EventFormat, {variable: f(number) -> text}, ...), ...] of the events that are on; ``parsed``: poll()
    gives lines.Event; ``text``: read trace_pipe in any case; ``user_symbols``: names in stacks of processes;
    ``enumerator``: f(name) -> number, for formats with names of enumerators.  KernelError.
    """
    if not text:
        try:
            return RawTrace(files, root, folder, rows, parsed, user_symbols, enumerator)
        except (NotSupported, FormatError):
            pass
    from .pipe import TextTrace
    return TextTrace(folder, rows, parsed)


class RawTrace(object):
    """Reads the per-CPU buffers of the instance at ``folder``, which must be the caller's own: its buffer_percent is set
    to 0, so that a first event wakes.  Parameters as of ``open_trace``; ``hold_ms``: how long lines may wait for those of
    other CPUs.  NotSupported or FormatError where only the kernel itself can print; KernelError.

    ``lost``: events overwritten before they were read, as far as is known.
    """

    def __init__(self, files, root, folder, rows, parsed=False, user_symbols=False, enumerator=None, hold_ms=HOLD_MS):
        self.files, self.root, self.folder, self.parsed = files, root, folder, parsed
        self.lost, self.hold = 0, hold_ms / 1000.0
        self._user = None
        self.columns = Columns(files, root, folder)
        frames = self._user_frames if user_symbols else None
        self.names = KernelNames(files, root, self.columns.options, enumerator, frames)
        self.layout = read_page_format(files.read(root + "/events/header_page").decode("latin-1"))
        self._printers, self._events, self._own = {}, {}, {}
        for row in rows:
            self._add(row[0], row[1])
        self._fds, self._absent, self._checked = {}, {}, 0.0
        self._poller = select.poll()
        self._tables = {}
        self._pending, self._newest, self._round = [], 0, 0
        self._joiner = Joiner() if parsed else None
        try:
            self._open()
        except Exception:
            self.close()
            raise

    # -- setting up ----------------------------------------------------------------------------------------------------

    def _add(self, format, converters):
        for name, offset, size in (("common_type", 0, 2), ("common_flags", 2, 1), ("common_preempt_count", 3, 1),
                                   ("common_pid", 4, 4)):
            field = format.by_name.get(name)
            if field is None or (field.offset, field.size) != (offset, size):
                raise NotSupported("records that begin in an unknown way")
        self._printers[format.id] = compile_line(format, self.names, converters, self.columns.in_ns)
        if self.parsed:
            self._events[format.id] = (format.name, compile_arguments(format, self.names, converters),
                                       compile_place(format, self.names))
            if format.system == "ftrace" and format.name in ("kernel_stack", "user_stack"):
                self._own[format.id] = format.name, stack_addresses(format)

    def _open(self):
        try:
            self.files.write(self.folder + "/buffer_percent", b"0")
        except KernelError:  # before 5.0: any event wakes there
            pass
        try:  # 6.8: pages may be larger than what header_page says
            size = int(self.files.read(self.folder + "/buffer_subbuf_size_kb")) * 1024
            self.page_size = max(size, self.layout.size)
        except (KernelError, ValueError):
            self.page_size = max(self.layout.size, host.page_size())
        for name in self.files.listdir(self.folder + "/per_cpu"):
            if not name.startswith("cpu") or not name[3:].isdigit():
                continue
            path = "%s/per_cpu/%s/trace_pipe_raw" % (self.folder, name)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
            except OSError as error:
                raise KernelError("open %s: %s" % (path, errno_text(error.errno)), "open", error.errno, cause=error)
            self._fds[fd] = int(name[3:])
            self._poller.register(fd, select.POLLIN)
        if not self._fds:
            raise NotSupported("per-CPU trace files")

    # -- one record ----------------------------------------------------------------------------------------------------

    def _table(self, cpu):
        table = self._tables.get(cpu)
        if table is None:
            table = self._tables[cpu] = _Heads(self, cpu)
        return table

    def _printer(self, number):
        """The line function of an event that was not expected: the kernel's own, and those that somebody else enabled."""
        printer = self._printers.get(number)
        if printer is None:
            try:
                format = self._find_format(number)
                self._add(format, None)
                printer = self._printers[number]
            except (NotSupported, FormatError, KernelError):
                head = b"%s %5d.%06d: " if self.columns.in_ns else b"%s %12d: "
                rest = b"Unknown type %d\n" % number  # as the kernel puts it
                if self.columns.in_ns:
                    printer = lambda H, s, u, b, o, e: head % (H, s, u) + rest  # noqa: E731
                else:
                    printer = lambda H, s, u, b, o, e: head % (H, s) + rest  # noqa: E731
                self._printers[number] = printer
        return printer

    def _find_format(self, number):
        wanted = ("ID: %d\n" % number).encode()
        events = self.root + "/events"
        systems = [name for name in self.files.listdir(events) if name != "ftrace"]
        for system in ["ftrace"] + systems:
            for name in self.files.listdir("%s/%s" % (events, system)):
                path = "%s/%s/%s/format" % (events, system, name)
                if self.files.exists(path):
                    raw = self.files.read(path)
                    if wanted in raw[:200]:
                        return read_format(raw.decode("latin-1"), system, path)
        raise FormatError("no event has the number %d" % number)

    def _user_frames(self, tgid, addresses):
        """Texts for the stack of a process."""
        if self._user is None:
            from ..symbols import UserSymbols
            self._user = UserSymbols()
        return [str(frame) for frame in self._user.resolve(tgid, addresses)]

    # -- one page ------------------------------------------------------------------------------------------------------

    def _print_page(self, cpu, page, out):
        """Append (time, line) of every record of ``page`` to ``out``."""
        table, append = self._table(cpu), out.append
        count = self._missed(cpu, page, out)
        stamp = 0
        if self.columns.in_ns:
            for stamp, key, start, end in records(page, self.layout):
                head, line = table[key]
                micro = (stamp + 500) // 1000  # ns2usecs() rounds
                try:
                    append((stamp, line(head, micro // 1000000, micro % 1000000, page, start, end)))
                except _BAD_RECORD:
                    append((stamp, self._bad(head, stamp, start, end)))
        else:
            for stamp, key, start, end in records(page, self.layout):
                head, line = table[key]
                try:
                    append((stamp, line(head, stamp, 0, page, start, end)))
                except _BAD_RECORD:
                    append((stamp, self._bad(head, stamp, start, end)))
        if count and len(out) > count[0]:
            out[count[0]] = (out[count[0]][0], count[1] + out[count[0]][1])
        return stamp

    def _missed(self, cpu, page, out):
        """(place in ``out``, line) for events lost before ``page``, or None."""
        count = lost_events(page, self.layout)
        if not count:
            return None
        self.lost += max(count, 1)
        number = b"%d " % count if count > 0 else b""
        return len(out), b"CPU:%d [LOST %sEVENTS]\n" % (cpu, number)

    def _bad(self, head, stamp, start, end):
        where = b"%s %5d.%06d: " % (head, stamp // 1000000000, stamp // 1000 % 1000000)
        return where + b"[a record of %d bytes that its format does not explain]\n" % (end - start)

    def _parse_page(self, cpu, page, out):
        """The same with (time, Event); stacks become part of their event."""
        table, joiner, columns, stamp = self._table(cpu), self._joiner, self.columns, 0
        self._missed(cpu, page, out)
        for stamp, key, start, end in records(page, self.layout):
            number, flags, preempt, pid = split_key(key)
            head, line = table[key]
            micro = (stamp + 500) // 1000
            stack = self._own.get(number)
            if stack is not None:
                event = joiner.held.get(cpu)
                if event is not None and event.pid == pid:
                    event.stack += self._frames(stack, page, start, end)
                continue
            try:
                text = line(head, *((micro // 1000000, micro % 1000000) if columns.in_ns else (stamp, 0)) +
                            (page, start, end))
                name, arguments, place = self._events.get(number) or ("", _no_arguments, _no_place)
                function, offset, caller = place(page, start, end)
                event = Event(stamp / 1e9 if columns.in_ns else float(stamp), to_text(columns.task(pid)), pid, cpu,
                              to_text(head.rpartition(b"] ")[2]), name, function, offset, caller,
                              arguments(page, start, end), to_text(text.rstrip(b"\n")))
            except _BAD_RECORD:
                text = self._bad(head, stamp, start, end)
                event = Event(stamp / 1e9, to_text(columns.task(pid)), pid, cpu, "", "", text=to_text(text.rstrip(b"\n")))
            event.flags = event.flags.strip()
            for whole in joiner.add(event):
                out.append((int(whole.time * 1e9) if columns.in_ns else int(whole.time), whole))
        return stamp

    def _frames(self, stack, page, start, end):
        kind, addresses = stack
        try:
            found = addresses(page, start, end)
            if kind == "user_stack":
                if self._user_frames_wanted():
                    tgid = self._tgid(page, start)
                    return self._user_frames(tgid, found)
                return ["0x%x" % address for address in found]
            self.names.functions.prefetch(found)
            return [to_text(self.names.functions[address]) for address in found]
        except _BAD_RECORD:
            return []

    # -- rounds --------------------------------------------------------------------------------------------------------

    def _read_cpu(self, fd, out):
        """Read one CPU's pages; (whether it is empty now, time of its last record or 0)."""
        decode, cpu, last = self._parse_page if self.parsed else self._print_page, self._fds[fd], 0
        for _ in range(BURST):
            try:
                page = os.read(fd, self.page_size)
            except OSError as error:
                if error.errno == errno.EINTR:
                    continue
                if error.errno == errno.EAGAIN:
                    return True, last
                raise KernelError("read the trace of CPU %d: %s" % (cpu, errno_text(error.errno)), "read", error.errno,
                                  cause=error)
            if not page:
                return True, last
            last = decode(cpu, page, out) or last
        return False, last

    def _poll(self, timeout):
        """Fds that have something after at most ``timeout`` seconds."""
        now = monotonic()
        if self._absent and now - self._checked > RECHECK_SECONDS:
            self._checked = now
            for fd in self._absent:
                self._poller.register(fd, select.POLLIN)
            self._absent = {}
        try:
            ready = self._poller.poll(int(timeout * 1000 + 0.999))
        except (select.error, OSError) as error:  # a signal, on Python 2
            if error.args[0] != errno.EINTR:
                raise
            return []
        found = []
        for fd, events in ready:
            if events & select.POLLIN:
                found.append(fd)
            else:  # a CPU that has never been on has no buffer: POLLERR without end
                self._poller.unregister(fd)
                self._absent[fd] = True
                self._checked = now
        return found

    def _collect(self, fds):
        """One round over ``fds``: what may be given out afterwards, in order of time."""
        pending, bound = self._pending, self._newest
        if fds:
            self._refresh()
        newest = self._newest
        for fd in sorted(fds, key=self._fds.get):
            empty, last = self._read_cpu(fd, pending)
            newest = max(newest, last)
            if not empty:
                bound = min(bound, last)
        self._newest = newest
        if not fds:  # nobody has anything older
            bound = newest
        if not pending:
            return []
        pending.sort(key=_stamp)
        if pending[-1][0] <= bound:
            self._pending = []
            return pending
        low, high = 0, len(pending)
        while low < high:
            middle = (low + high) // 2
            if pending[middle][0] <= bound:
                low = middle + 1
            else:
                high = middle
        self._pending = pending[low:]
        return pending[:low]

    def _refresh(self):
        """Task names change: those that were printed so far are made anew."""
        if self.columns.refresh():
            self._tables = {}

    def _next(self, timeout):
        """[(time, line or Event)] that are due, [] when there were none within ``timeout`` seconds."""
        deadline, pause = monotonic() + timeout, 0
        while True:
            waiting = self._pending or (self._joiner is not None and self._joiner.held)
            left = max(deadline - monotonic(), 0)
            if pause and waiting:
                time.sleep(min(pause, self.hold))
            fds = self._poll(0 if waiting else left)
            rows = self._collect(fds)
            if not fds and self._joiner is not None and self._joiner.held:
                # nothing more came for the last event of each CPU
                rows += self._flush_held()
            if rows or (not fds and monotonic() >= deadline and not self._pending):
                return rows
            pause = self.hold

    def _flush_held(self):
        scale = 1e9 if self.columns.in_ns else 1
        return [(int(event.time * scale), event) for event in self._joiner.flush()]

    # -- what users call -----------------------------------------------------------------------------------------------

    def poll_bytes(self, timeout_ms):
        """Bytes of whole lines, new lines included, as soon as there are any; b"" after ``timeout_ms``."""
        return b"".join([row[1] for row in self._next(timeout_ms / 1000.0)])

    def poll(self, timeout_ms):
        """[texts without their last new line; a stack is one text of several lines] or, ``parsed``, [Event]; [] when
        nothing came within ``timeout_ms``."""
        return self._given(self._next(timeout_ms / 1000.0))

    def _given(self, rows):
        if self.parsed:
            return [row[1] for row in rows]
        return [to_text(row[1][:-1] if row[1][-1:] == b"\n" else row[1]) for row in rows]

    def drain(self):
        """The same for all that is left, when recording has stopped."""
        rows = []
        while True:
            fds = self._poll(0)
            rows += self._collect(fds)
            if not fds and not self._pending:
                break
        if self._joiner is not None:
            rows += self._flush_held()
        return self._given(rows)

    def stats(self):
        """{cpu: {"overrun": n, "dropped events": n, ...}} of per_cpu/cpuN/stats."""
        found = {}
        for cpu in self._fds.values():
            try:
                text = to_text(self.files.read("%s/per_cpu/cpu%d/stats" % (self.folder, cpu)))
            except KernelError:
                continue
            rows = [line.partition(": ") for line in text.splitlines()]
            found[cpu] = {key: int(value) for key, _, value in rows if value.strip().isdigit()}
        return found

    def close(self):
        """Idempotent.  An instance cannot be removed before."""
        for fd in list(self._fds):
            os.close(fd)
        self._fds = {}
        if self._user is not None:
            self._user.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class _Heads(dict):
    """{first 8 bytes of a record: (columns, line function)} of one CPU."""

    def __init__(self, trace, cpu):
        dict.__init__(self)
        self.trace, self.cpu = trace, cpu

    def __missing__(self, key):
        if len(self) >= MAX_HEADS:
            self.clear()
        columns = self.trace.columns
        row = self[key] = columns.head(key, self.cpu), self.trace._printer(split_key(key)[0])
        return row


def _no_arguments(page, start, end):
    return {}


def _no_place(page, start, end):
    return None, None, None
