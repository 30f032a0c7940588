"""The text of trace_pipe, line by line: the way to read a trace that works everywhere.

``reader.RawTrace`` gives the same from the raw pages, faster; both have ``poll``, ``poll_bytes``, ``drain``, ``lost``,
``close``.
"""
from __future__ import absolute_import

import errno
import os
import select
import time

from .._py23 import monotonic, to_bytes, to_text
from ..errors import KernelError, errno_text
from .lines import Joiner, convert_line, lost_line
from .special import is_probe, probe_arguments

__all__ = ["TextTrace"]

CHUNK = 1 << 16
BURST = 64                  # reads of one poll
HOLD_MS = 20                # how long events wait for what may belong to them (a stack, the rest of a string)


class TextTrace(object):
    """Reads trace_pipe of the instance at ``folder``.  ``rows``: [(EventFormat, converters), ...], more columns
    allowed; ``parsed``: ``poll`` gives lines.Event instead of lines.  KernelError when the pipe does not open."""

    def __init__(self, folder, rows=(), parsed=False):
        self.path, self.parsed, self.lost = folder + "/trace_pipe", parsed, 0
        self.converters = {row[0].name: row[1] for row in rows if row[1]}
        orders = {row[0].name: [part[0] for part in probe_arguments(row[0])] for row in rows if is_probe(row[0])}
        self._orders = orders
        self._joiner = Joiner(self.converters, orders) if parsed else None
        self._rest, self._held_at = b"", 0.0
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise KernelError("open %s: %s" % (self.path, errno_text(error.errno)), "open", error.errno, cause=error)
        self._poller = select.poll()
        self._poller.register(self._fd, select.POLLIN)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _wait(self, timeout_ms):
        try:
            ready = self._poller.poll(timeout_ms)
        except (select.error, OSError) as error:  # a signal, on Python 2
            if error.args[0] != errno.EINTR:
                raise
            return
        if ready and not ready[0][1] & select.POLLIN:  # closed by the kernel: no busy loop
            time.sleep(timeout_ms / 1000.0)

    def _take(self):
        """Bytes that are there now, b"" when none are."""
        parts = []
        for _ in range(BURST):
            try:
                part = os.read(self._fd, CHUNK)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    break
                raise KernelError("read %s: %s" % (self.path, errno_text(error.errno)), "read", error.errno,
                                  cause=error)
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    def _whole(self, last=False):
        """Bytes of whole lines that are there; an incomplete last line stays for later (``last``: does not)."""
        raw = self._rest + self._take()
        cut = len(raw) if last else raw.rfind(b"\n") + 1
        self._rest = raw[cut:]
        return raw[:cut]

    def _lines(self, raw):
        lines = to_text(raw).split("\n")
        return lines if lines[-1] else lines[:-1]

    # -- what users call -----------------------------------------------------------------------------------------------

    def poll_bytes(self, timeout_ms):
        """Bytes of whole lines, new lines included, as soon as there are any; b"" after ``timeout_ms``."""
        raw = self._whole()
        if not raw:
            self._wait(timeout_ms)
            raw = self._whole()
        return self._shown(raw)

    def _shown(self, raw):
        if b" EVENTS]\n" in raw or b"[LOST EVENTS]\n" in raw:
            for line in self._lines(raw):
                self._count(lost_line(line))
        if not self.converters or not raw:
            return raw
        return to_bytes(
            "".join([convert_line(line, self.converters, self._orders) + "\n" for line in self._lines(raw)]))

    def _count(self, row):
        if row is not None:
            self.lost += max(row[1], 1)

    def poll(self, timeout_ms):
        """[lines, without new lines] or, ``parsed``, [Event]; [] when nothing came within ``timeout_ms``."""
        if not self.parsed:
            return self._lines(self.poll_bytes(timeout_ms))
        deadline, events = monotonic() + timeout_ms / 1000.0, []
        while True:
            raw = self._whole()
            now = monotonic()
            if raw:
                events += self._feed(raw)
                self._held_at = now
            elif self._joiner.held and now - self._held_at >= HOLD_MS / 1000.0:
                events += self._joiner.flush()
            if events or now >= deadline:
                return events
            wait = int((deadline - now) * 1000) + 1
            self._wait(min(wait, HOLD_MS) if self._joiner.held else wait)

    def _feed(self, raw):
        events = []
        for line in self._lines(raw):
            events += self._joiner.feed(line)
        for row in self._joiner.lost:
            self._count(row)
        self._joiner.lost = []
        return events

    def drain(self):
        """The same for all that is left, when recording has stopped."""
        found = []
        while True:
            raw = self._whole()
            if not raw:
                break
            found += self._feed(raw) if self.parsed else self._lines(self._shown(raw))
        raw = self._whole(last=True)
        if self.parsed:
            return found + self._feed(raw) + self._joiner.flush()
        return found + self._lines(self._shown(raw))

    def close(self):
        """Idempotent.  An instance cannot be removed before."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
