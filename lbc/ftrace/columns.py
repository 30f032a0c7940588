"""The left columns of a trace line, as an instance prints them: `           bash-2392    [001] d..1.`.

kernel/trace/trace_output.c, trace_print_context() and trace_print_lat_fmt().  Task names come from saved_cmdlines.
"""
from __future__ import absolute_import

import struct

from .._py23 import monotonic
from ..errors import KernelError, NotSupported

__all__ = ["Columns", "flag_letters"]

IRQS_OFF, LAZY, NEED_RESCHED, HARDIRQ, SOFTIRQ, PREEMPT_RESCHED, NMI, BH_OFF = (1 << bit for bit in range(8))
# enum of include/linux/trace_events.h; bit 1 was "no irq flags on this machine" (never on x86_64, arm64) before 6.13
_RESCHED = {0: "."}
for _bits, _letter in ((NEED_RESCHED | LAZY | PREEMPT_RESCHED, "B"), (NEED_RESCHED | PREEMPT_RESCHED, "N"),
                       (LAZY | PREEMPT_RESCHED, "L"), (NEED_RESCHED | LAZY, "b"), (NEED_RESCHED, "n"),
                       (PREEMPT_RESCHED, "p"), (LAZY, "l")):
    _RESCHED[_bits] = _letter
# Options with which lines look altogether different; the text pipe shows those
_OTHER_SHAPES = ("raw", "hex", "bin", "latency-format", "verbose", "fields", "printk-msg-only", "sym-userobj")
CLOCKS_NOT_NS = ("counter", "x86-tsc", "tsc", "ppc-tb")  # trace_clocks[] of kernel/trace/trace.c: in_ns is 0
TASKS_SECONDS = 0.25     # reading saved_cmdlines costs more than a millisecond where it holds thousands (6.9)
MISS_SECONDS = 0.02
_KEY, _PARTS = struct.Struct("=Q"), struct.Struct("=HBBi")


def flag_letters(flags, preempt, five):
    """`d..1` of common_flags and common_preempt_count; ``five``: with the column for migrate-disable (5.15)."""
    off = "D" if flags & IRQS_OFF and flags & BH_OFF else "d" if flags & IRQS_OFF else "b" if flags & BH_OFF else "."
    hard, soft, nmi = flags & HARDIRQ, flags & SOFTIRQ, flags & NMI
    context = ("Z" if hard else "z") if nmi else "H" if hard and soft else "h" if hard else "s" if soft else "."
    text = off + _RESCHED[flags & (NEED_RESCHED | LAZY | PREEMPT_RESCHED)] + context
    if not five:
        return text + ("%x" % preempt if preempt else ".")
    return text + ("%x" % (preempt & 15) if preempt & 15 else ".") + ("%x" % (preempt >> 4) if preempt >> 4 else ".")


class Columns(object):
    """How instance ``folder`` of the tracefs at ``root`` prints.

    ``options``: the trace_options that are on; ``in_ns``: whether its clock counts nanoseconds.  NotSupported where its
    options give lines another shape.
    """

    def __init__(self, files, root, folder):
        self.files, self.root, self.folder = files, root, folder
        self.options = frozenset(files.read(folder + "/trace_options").decode("latin-1").split())
        for name in _OTHER_SHAPES:
            if name in self.options:
                raise NotSupported("printing of raw records with the option %s" % name)
        if "nocontext-info" in self.options:
            raise NotSupported("printing of raw records without context-info")
        clock = files.read(folder + "/trace_clock").decode("latin-1").partition("[")[2].partition("]")[0]
        self.in_ns = clock not in CLOCKS_NOT_NS
        self.irq_info = "irq-info" in self.options
        self.five = self.irq_info and self._has_five()
        self.tasks, self._raw, self.tgids, self._read_at, self._changed = {}, None, None, 0.0, False
        if "record-tgid" in self.options:
            self.tgids = {}

    def _has_five(self):
        """The header of the `trace` file names each column."""
        try:
            return b"migrate-disable" in self.files.head(self.folder + "/trace", 4096)
        except KernelError:
            return True

    def refresh(self, seconds=TASKS_SECONDS):
        """Read the task names again when they are older than ``seconds``.  True when a name has changed that was there
        before, or came late."""
        now = monotonic()
        if now - self._read_at >= seconds:
            self._read_at = now
            self._read_tasks()
        changed, self._changed = self._changed, False
        return changed

    def _read_tasks(self):
        try:
            raw = self.files.read(self.root + "/saved_cmdlines")
        except KernelError:
            return
        if raw == self._raw:
            return
        self._raw, tasks = raw, {}
        for line in raw.split(b"\n"):
            pid, _, name = line.partition(b" ")
            if pid.isdigit():
                tasks[int(pid)] = name
        if self.tasks:
            # a name that was missing is a change as well: lines said <...> until now
            self._changed = self._changed or tasks != self.tasks
        self.tasks = tasks
        if self.tgids is not None:
            self._read_tgids()

    def _read_tgids(self):
        try:
            rows = [line.split() for line in self.files.read(self.root + "/saved_tgids").split(b"\n")]
        except KernelError:
            return
        self.tgids = {int(row[0]): int(row[1]) for row in rows if len(row) ==
                      2 and row[0].isdigit() and row[1].isdigit()}

    def task(self, pid):
        """Name of a task as the kernel shows it (bytes)."""
        if pid <= 0:
            return b"<XXX>" if pid else b"<idle>"
        name = self.tasks.get(pid)
        if name is None and monotonic() - self._read_at >= MISS_SECONDS:  # a new one
            self._read_at = monotonic()
            self._read_tasks()
            name = self.tasks.get(pid)
        return b"<...>" if name is None else name

    def head(self, key, cpu):
        """Bytes of the columns before the time stamp, for the first 8 bytes (a number) of a record."""
        _, flags, preempt, pid = split_key(key)
        tgid = b""
        if self.tgids is not None:
            tgid = b"(%7d) " % self.tgids[pid] if self.tgids.get(pid) else b"(-------) "
        letters = flag_letters(flags, preempt, self.five).encode() if self.irq_info else b""
        return b"%16s-%-7d %s[%03d] %s" % (self.task(pid), pid, tgid, cpu, letters)


def split_key(key):
    """(type, flags, preempt count, pid) of the first 8 bytes of a record (struct trace_entry)."""
    return _PARTS.unpack(_KEY.pack(key))
