"""Writes pages of the trace ring buffer by Documentation/trace/ring-buffer-design.rst and the comments of
include/linux/ring_buffer.h, for tests of who reads them."""
from __future__ import absolute_import

import struct

HEADER = 16
SIZE = 4096


class Page(object):
    """One page being filled; ``stamp``: its time stamp."""

    def __init__(self, stamp, size=SIZE):
        self.stamp, self.size, self.data, self.now = stamp, size, b"", stamp

    def room(self):
        return self.size - HEADER - len(self.data)

    def event(self, time, record, big=False):
        """A data event; a delta of 2**27 and more gets a time extend before it."""
        delta = time - self.now
        if delta >> 27:
            self.data += struct.pack("=II", 30 | (delta & (1 << 27) - 1) << 5, delta >> 27)
            delta = 0
        record += b"\0" * (-len(record) % 4)
        if len(record) <= 28 * 4 and not big:
            self.data += struct.pack("=I", len(record) // 4 | delta << 5) + record
        else:
            self.data += struct.pack("=II", delta << 5, len(record) + 4) + record
        self.now = time

    def absolute(self, time):
        """A time stamp of 59 bits."""
        self.data += struct.pack("=II", 31 | (time & (1 << 27) - 1) << 5, time >> 27 & 0xffffffff)
        self.now = time

    def discarded(self, length, delta=1):
        """An event that was given up: its time does not count."""
        self.data += struct.pack("=II", 29 | delta << 5, length + 4) + b"\xee" * length

    def end(self):
        """Padding to the end of the page."""
        self.data += struct.pack("=I", 29)

    def bytes(self, missed=None):
        """The page as read; ``missed``: events lost before it, -1 for a number that is not said."""
        flags, tail = 0, b""
        if missed:
            flags = 1 << 31
            if missed > 0:
                flags, tail = 3 << 30, struct.pack("=q", missed)
        raw = struct.pack("=QQ", self.stamp, len(self.data) | flags) + self.data + tail
        return raw + b"\0" * (self.size - len(raw))


def entry(number, pid=1, flags=0, preempt=0, rest=b""):
    """struct trace_entry and what follows it."""
    return struct.pack("=HBBi", number, flags, preempt, pid) + rest
