"""One tracing session: a Plan is written into a private instance of tracefs, its events are read, and all is undone.

    with Session(plan) as session:
        session.start()
        while ...:
            for line in session.poll(200): ...
    session.lost, session.missed

Whatever was made is gone after ``close()``, at the end of the process at the latest, also on signals (residue); what a
kill -9 leaves is swept by the next ``start()``.
"""
from __future__ import absolute_import

import os

from .. import residue, tracefs
from .._py23 import to_text
from ..errors import FtraceError, KernelError, LbcError
from ..kernel_files import KernelFiles
from .formats import read_format
from .plan import Names, echo_line
from .reader import open_trace

__all__ = ["Session", "threads_of"]

SHOWN_INSTANCE = "surftrace"    # what echo lines call it, as the command always has


class Session(object):
    """``plan``: plan.Plan; ``files``: KernelFiles; ``echo``: f(text) for the shell lines that do the same, or None;
    ``explain``: f(entry, FtraceError) -> LbcError for a refused probe, or None; ``pids``: only these threads and what
    they start; ``parsed``: poll() gives lines.Event instead of text; ``text``: read the text pipe even where raw pages
    could be read; ``user_symbols``: names in stacks of processes; ``enumerator``: f(name) -> number for events that
    print names of enumerators."""

    def __init__(self, plan, files=None, echo=None, explain=None, pids=(), parsed=False, text=False,
                 user_symbols=False, enumerator=None):
        self.plan, self.files, self.echo, self.explain = plan, files or KernelFiles(), echo, explain
        self.pids, self.parsed, self.text = list(pids), parsed, text
        self.user_symbols, self.enumerator, self._overrun = user_symbols, enumerator, 0
        self.root = tracefs.need_tracefs(self.files)
        self.missed = {}
        self._instance = self._trace = None
        self._events = []

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    # -- start -------------------------------------------------------------------------------------------------------
    def start(self):
        """Make the instance, define and enable the events, begin.  LbcError; then nothing is left."""
        tracefs.sweep(self.files)
        try:
            self._start()
        except BaseException:
            self.echo = None
            self.close()
            raise

    def _start(self):
        self._instance = tracefs.Instance(self.files)
        self._claim()
        instance = self._instance
        instance.write("tracing_on", "0")   # a new instance is on
        names = Names(self.root, instance.path, residue.tag())
        for name, text in self.plan.settings:
            instance.write(name, text)
        if self.pids:
            self._only(self.pids)
        for entry in self.plan.entries:
            if entry.control:
                self._define(entry)
            for path, text in self.plan.turn_on(entry, names):
                self._write(path, text, entry)
        for path, text in self.plan.options(names):
            self._write(path, text)
        self._trace = open_trace(self.files, self.root, instance.path, self._formats(names), parsed=self.parsed,
                                 text=self.text, user_symbols=self.user_symbols, enumerator=self.enumerator)
        instance.write("tracing_on", "1")
        # the settings go first, and are left out: what is traced is shown, not how it is kept
        self._show(self.plan.setup(self._shown_names())[len(self.plan.settings):])

    def _claim(self):
        """At an exit in between, this session is closed before the parts that it knows how to take apart."""
        residue.forget(self)
        residue.keep(self)

    def _define(self, entry):
        definition = entry.compiled.definition(entry.place, residue.tag())
        head, _, rest = definition.partition(" ")
        kind = head.partition(":")[0]
        try:
            event = tracefs.define_event(self.files, entry.user, kind, entry.name, rest)
        except FtraceError as error:
            raise self.explain(entry, error) if self.explain else error
        self._events.append(event)
        self._claim()

    def _write(self, path, text, entry=None):
        try:
            self._instance.write(path[len(self._instance.path) + 1:], text)
        except FtraceError as error:
            if entry is not None and self.explain:
                raise self.explain(entry, error)
            raise

    def _only(self, pids):
        """Only events of these threads (4.4), and of those that they start (event-fork)."""
        if self.files.exists(self._instance.path + "/options/event-fork"):
            self._instance.write("options/event-fork", "1")
        self._instance.write("set_event_pid", " ".join([str(pid) for pid in pids]))

    def _formats(self, names):
        """[(EventFormat, converters, Entry)] of what is enabled."""
        rows = []
        for entry in self.plan.entries:
            group = names.group_of(entry)
            path = "%s/events/%s/%s/format" % (self.root, group, entry.name)
            rows.append((read_format(to_text(self.files.read(path)), group, path), entry.compiled.converters, entry))
        return rows

    def _shown_names(self):
        return Names(self.root, "%s/instances/%s" % (self.root, SHOWN_INSTANCE))

    def _show(self, writes):
        if self.echo:
            for write in writes:
                self.echo(echo_line(*write))

    # -- run ---------------------------------------------------------------------------------------------------------
    def poll(self, timeout_ms):
        """What came, within ``timeout_ms`` at the most: a list of lines, or of lines.Event; [] when nothing did."""
        return self._trace.poll(timeout_ms)

    def pause(self):
        """Stop recording; what is recorded already can still be read."""
        self._instance.write("tracing_on", "0")

    def drain(self):
        """Stop recording, and all that is left."""
        self.pause()
        found = self._trace.drain()
        self._overrun = self._count_overruns()
        return found

    def _count_overruns(self):
        """Events that were overwritten or dropped on all CPUs: also those behind the last one that was read."""
        count, folder = 0, self._instance.path + "/per_cpu"
        for name in self.files.listdir(folder):
            try:
                text = to_text(self.files.read("%s/%s/stats" % (folder, name)))
            except KernelError:
                continue
            for line in text.splitlines():
                key, _, value = line.partition(": ")
                if key in ("overrun", "dropped events"):
                    count += int(value)
        return count

    # -- end ---------------------------------------------------------------------------------------------------------
    @property
    def lost(self):
        """Events that the kernel overwrote or could not record, as far as is known by now."""
        return max(self._overrun, self._trace.lost if self._trace is not None else 0)

    def count(self):
        """Fill ``missed``: {event: hits that no probe could handle (kprobe_profile)} of our kernel probes."""
        if not self._events:
            return
        try:
            # kprobe_profile has no groups, but the rows of kprobe_events, in the same order (both walk dyn_event_list)
            listed = to_text(self.files.read(self.root + "/kprobe_events")).splitlines()
            counted = to_text(self.files.read(self.root + "/kprobe_profile")).splitlines()
        except KernelError:
            return
        if len(listed) != len(counted):     # one came or went in between: not worth guessing
            return
        for definition, row in zip(listed, counted):
            group, _, name = definition.split(" ")[0].partition(":")[2].partition("/")
            words = row.split()
            if (group == residue.tag() and len(words) > 2 and words[0] == name and words[-1].isdigit()
                    and int(words[-1])):
                self.missed[name] = int(words[-1])

    def close(self):
        """Undo all of it.  Idempotent; raises the first error after everything was tried."""
        residue.forget(self)
        first = None
        if self._instance is not None and self._trace is not None:
            self._trace.close()     # a reader keeps the instance busy
            try:
                self._show(self.plan.undo(self._shown_names()))
            except (IOError, OSError) as error:     # nobody reads them any more
                first = error
        for thing in ([self._instance] if self._instance is not None else []) + self._events[::-1]:
            try:
                thing.close()
            except LbcError as error:
                first = first or error
        self._instance, self._events, self.echo = None, [], None
        if first is not None:
            raise first


def threads_of(pid):
    """[thread ids] of a process.  KernelError when there is none."""
    try:
        return sorted(int(name) for name in os.listdir("/proc/%d/task" % pid))
    except OSError as error:
        raise KernelError("no process %d" % pid, "open /proc/%d" % pid, error.errno, error)
