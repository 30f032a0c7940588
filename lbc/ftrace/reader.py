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
import sys
import time
from bisect import bisect_right

from .. import host
from .._py23 import monotonic, to_text
from ..errors import FormatError, KernelError, NotSupported, errno_text
from .arguments import compile_arguments, compile_place
from .columns import Columns, split_key
from .formats import read_format, read_page_format
from .lines import Event, Joiner
from .names import KernelNames
from .pages import begins, following, lost_events, records
from .printfmt import Printer
from .special import compile_line, stack_addresses

__all__ = ["RawTrace", "open_trace"]

BURST = 32                # pages of one CPU in one round: the other CPUs must not wait for ever
HOLD_MS = 10              # pause between two rounds; what came in it costs no wake-up of its own
RECHECK_SECONDS = 1.0     # CPUs that were off may come
MAX_HEADS = 1 << 15
_BAD_RECORD = (struct.error, IndexError, KeyError, ValueError, OverflowError, TypeError)
_TYPE, _TGID = struct.Struct("=H").unpack_from, struct.Struct("=I").unpack_from


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
    """Reads the per-CPU buffers of the instance at ``folder``, which must be the caller's own: its buffer_percent is
    set
    to 0, so that a first event wakes.  Parameters as of ``open_trace``; ``hold_ms``: how long lines may wait for those
    of other CPUs.  NotSupported or FormatError where only the kernel itself can print; KernelError.

    ``lost``: events overwritten before they were read, as far as is known.
    """

    def __init__(self, files, root, folder, rows, parsed=False, user_symbols=False, enumerator=None, hold_ms=HOLD_MS):
        self.files, self.root, self.folder, self.parsed = files, root, folder, parsed
        self.lost, self.hold = 0, hold_ms / 1000.0
        self.user_symbols, self._user = user_symbols, None
        self.columns = Columns(files, root, folder)
        frames = self._user_frames if user_symbols else None
        self.names = KernelNames(files, root, self.columns.options, enumerator, frames)
        self.layout = read_page_format(files.read(root + "/events/header_page").decode("latin-1"))
        self._printers, self._bulks, self._events, self._own = {}, {}, {}, {}
        for row in rows:
            self._add(row[0], row[1])
        for name in ("kernel_stack", "user_stack") if parsed else ():    # they become part of the event before them
            path = "%s/events/ftrace/%s/format" % (root, name)
            if files.exists(path):
                self._add(read_format(files.read(path).decode("latin-1"), "ftrace", path), None)
        self._fds, self._absent, self._checked = {}, {}, 0.0
        self._poller = select.poll()
        self._tables, self._drained = {}, True
        self._stamps, self._rows, self._newest = [], [], 0  # read and not given out: times, lines or Events
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
        printer = self._printers[format.id] = compile_line(format, self.names, converters, self.columns.in_ns)
        if printer.bulk is not None and sys.byteorder == "little":
            self._bulks[format.id] = printer.bulk
        if self.parsed:
            self._events[format.id] = (format.name, compile_arguments(format, self.names, converters),
                                       compile_place(format, self.names))
            if format.system == "ftrace" and format.name in ("kernel_stack", "user_stack"):
                tgid = format.by_name.get("tgid")
                self._own[format.id] = (format.name == "user_stack", stack_addresses(format),
                                        lambda page, start: _TGID(page, start + tgid.offset)[0])

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
            table = self._tables[cpu] = _Heads(self.columns, cpu)
        return table

    def _printer(self, number):
        """Printer of an event that was not expected: the kernel's own, and those that somebody else enabled."""
        try:
            self._add(self._find_format(number), None)
        except (NotSupported, FormatError, KernelError):
            head = b"%s %5d.%06d: " if self.columns.in_ns else b"%s %12d: "
            rest = b"Unknown type %d\n" % number  # as the kernel puts it
            if self.columns.in_ns:
                self._printers[number] = Printer(lambda H, s, u, b, o, e: head % (H, s, u) + rest)
            else:
                self._printers[number] = Printer(lambda H, s, u, b, o, e: head % (H, s) + rest)
        return self._printers[number]

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

    def _print_page(self, cpu, page):
        """Note time and line of every record of ``page``; answers the time of the last one, 0 without any."""
        heads, bulks, in_ns = self._table(cpu), self._bulks, self.columns.in_ns
        stamps, rows = self._stamps, self._rows
        note, append = stamps.append, rows.append
        lost, base, seconds, text, last = self._missed(cpu, page), 0, -1, b"", 0
        first = len(rows)
        at, end, stamp = begins(page, self.layout)
        while True:
            bulk = bulks.get(_TYPE(page, at + 4)[0]) if at + 6 <= end else None
            if bulk is not None and text:
                before, mark = at, len(rows)
                try:
                    at, stamp = bulk(page, at, end, stamp, base, text, heads, note, append)
                except _BAD_RECORD:
                    del rows[mark:], stamps[mark:]
                if at != before:
                    last = stamp
                    continue
            row = following(page, at, end, stamp)
            if row is None:
                break
            last = stamp = row[0]
            key, start, at = row[1:]
            if in_ns:
                second = (stamp + 500) // 1000000000  # ns2usecs() rounds
                if second != seconds:
                    seconds, base, text = second, second * 1000000000 - 500, b"%5d" % second
            append(self._line(heads[key], split_key(key)[0], stamp, page, start, at))
            note(stamp)
        if lost and len(rows) > first:
            rows[first] = lost + rows[first]
        return last

    def _line(self, head, number, stamp, page, start, end):
        """The line of one record."""
        printer = self._printers.get(number) or self._printer(number)
        micro = (stamp + 500) // 1000
        try:
            if self.columns.in_ns:
                return printer.line(head, micro // 1000000, micro % 1000000, page, start, end)
            return printer.line(head, stamp, 0, page, start, end)
        except _BAD_RECORD:
            where = b"%s %5d.%06d: " % (head, micro // 1000000, micro % 1000000)
            return where + b"[a record of %d bytes that its format does not explain]\n" % (end - start)

    def _missed(self, cpu, page):
        """Line about events lost before ``page``, b"" when there are none."""
        count = lost_events(page, self.layout)
        if not count:
            return b""
        self.lost += max(count, 1)
        return b"CPU:%d [LOST %sEVENTS]\n" % (cpu, b"%d " % count if count > 0 else b"")

    def _parse_page(self, cpu, page):
        """The same with Events; stacks become part of their event."""
        self._missed(cpu, page)
        stamp = 0
        for stamp, key, start, end in records(page, self.layout):
            number = split_key(key)[0]
            stack = self._own.get(number)
            if stack is None:
                self._give(self._joiner.add(self._event(cpu, number, key, stamp, page, start, end)))
            else:
                event = self._joiner.held.get(cpu)
                if event is not None and event.pid == split_key(key)[3]:
                    event.stack += self._frames(stack, page, start, end)
        return stamp

    def _event(self, cpu, number, key, stamp, page, start, end):
        heads, in_ns = self._table(cpu), self.columns.in_ns
        facts = heads.facts.get(key)
        if facts is None:
            facts = heads.facts[key] = self._facts(heads[key], number, key)
        task, pid, flags, name, arguments, place = facts
        try:
            function, offset, caller = place(page, start, end)
            values = arguments(page, start, end)
        except _BAD_RECORD:
            function, offset, caller, values = None, None, None, {}

        def text():
            return to_text(self._line(heads[key], number, stamp, page, start, end).rstrip(b"\n"))

        return Event(stamp / 1e9 if in_ns else float(stamp), task, pid, cpu, flags, name, function, offset, caller,
                     values, text)

    def _facts(self, head, number, key):
        """What all events that begin with ``key`` have in common."""
        if number not in self._events:
            self._printer(number)
        name, arguments, place = self._events.get(number) or ("", _no_arguments, _no_place)
        pid = split_key(key)[3]
        return (to_text(self.columns.task(pid)), pid, to_text(
            head.rpartition(b"] ")[2]).strip(), name, arguments, place)

    def _give(self, events):
        scale = 1e9 if self.columns.in_ns else 1
        for event in events:
            self._stamps.append(int(event.time * scale))
            self._rows.append(event)

    def _frames(self, stack, page, start, end):
        """[text] of a stack's frames."""
        is_user, addresses, tgid = stack
        try:
            found = addresses(page, start, end)
            if not is_user:
                self.names.functions.prefetch(found)
                return [to_text(self.names.functions[address]) for address in found]
            if self.user_symbols:
                return self._user_frames(tgid(page, start), found)
            return ["0x%x" % address for address in found]
        except _BAD_RECORD:
            return []

    # -- rounds --------------------------------------------------------------------------------------------------------

    def _read_cpu(self, fd):
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
            last = decode(cpu, page) or last
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
        """One round over ``fds``: (whether anything new came, what may be given out now in order of time)."""
        stamps, bound, newest, mixed = self._stamps, self._newest, self._newest, self.parsed
        first, self._drained = len(stamps), True
        if fds:
            self._refresh()
        for fd in sorted(fds, key=self._fds.get):
            before = len(stamps)
            empty, last = self._read_cpu(fd)
            mixed = mixed or 0 < before < len(stamps) and stamps[before] < stamps[before - 1]
            newest = max(newest, last)
            if not empty:
                bound, self._drained = min(bound, last), False
        came = newest > self._newest or len(stamps) > first
        self._newest = newest
        if not stamps:
            return came, []
        rows = self._rows
        if mixed:  # stable: of records of one time those of the lower CPU are first, as in trace_pipe
            order = sorted(range(len(stamps)), key=stamps.__getitem__)
            stamps, rows = [stamps[at] for at in order], [rows[at] for at in order]
        # without new ones nobody has anything older
        cut = bisect_right(stamps, bound) if came and stamps[-1] > bound else len(stamps)
        self._stamps, self._rows = stamps[cut:], rows[cut:]
        return came, rows[:cut] if cut < len(rows) else rows

    def _refresh(self):
        """Task names change: those that were printed so far are made anew."""
        if self.columns.refresh():
            self._tables = {}

    def _next(self, timeout):
        """[line or Event] that are due, [] when there were none within ``timeout`` seconds."""
        deadline = monotonic() + timeout
        while True:
            waiting = self._stamps or (self._joiner is not None and self._joiner.held)
            fds = self._poll(self.hold if waiting else max(deadline - monotonic(), 0))
            came, rows = self._collect(fds)
            if not came and self._joiner is not None and self._joiner.held:
                rows += self._flush_held()  # nothing more came for the last event of each CPU
            if rows or not came and monotonic() >= deadline:
                return rows
            if came and self._drained:
                time.sleep(self.hold)  # what comes meanwhile costs no wake-up of its own
            elif fds and not came:
                time.sleep(max(min(self.hold, deadline - monotonic()), 0))

    def _flush_held(self):
        """The events that were held for their stacks."""
        self._give(self._joiner.flush())
        rows, self._stamps, self._rows = self._rows, [], []
        return rows

    # -- what users call -----------------------------------------------------------------------------------------------

    def poll_bytes(self, timeout_ms):
        """Bytes of whole lines, new lines included, as soon as there are any; b"" after ``timeout_ms``."""
        return b"".join(self._next(timeout_ms / 1000.0))

    def poll(self, timeout_ms):
        """[texts without their last new line; a stack is one text of several lines] or, ``parsed``, [Event]; [] when
        nothing came within ``timeout_ms``."""
        return self._given(self._next(timeout_ms / 1000.0))

    def _given(self, rows):
        if self.parsed:
            return rows
        return [to_text(row[:-1] if row[-1:] == b"\n" else row) for row in rows]

    def drain(self):
        """The same for all that is left, when recording has stopped."""
        rows = []
        while True:
            came, more = self._collect(self._poll(0))
            rows += more
            if not came and not self._stamps:
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
    """{first 8 bytes of a record: columns before the time} of one CPU; ``facts``: the same for the parts of an
    Event."""

    def __init__(self, columns, cpu):
        dict.__init__(self)
        self.columns, self.cpu, self.facts = columns, cpu, {}

    def __missing__(self, key):
        if len(self) >= MAX_HEADS:
            self.clear()
            self.facts.clear()
        head = self[key] = self.columns.head(key, self.cpu)
        return head


def _no_arguments(page, start, end):
    return {}


def _no_place(page, start, end):
    return None, None, None
