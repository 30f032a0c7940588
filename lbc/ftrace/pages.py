"""Pages of the trace ring buffer, as per_cpu/cpuN/trace_pipe_raw hands them out -> records with absolute times.

Documentation/trace/ring-buffer-design.rst, kernel/trace/ring_buffer.c.  A page is

    u64 time stamp | commit: bytes of data, with flags | data

and its data are events, each a word of 5 bits type or length and 27 bits of time since the one before:

    1..28  record of 4 * that many bytes          29  padding: end of the page when the time is 0, else an
                                                      event that was taken back
    0      record whose length is the next word   30  time extend: 27 + 32 bits of time, no record
                                                  31  absolute time stamp of 59 bits
"""
from __future__ import absolute_import

import struct
import sys

__all__ = ["begins", "following", "records", "lost_events", "used"]

LENGTH = (1 << 27) - 1      # what is length in `commit`
MISSED = 1 << 31            # RB_MISSED_EVENTS: events were lost before this page
STORED = 1 << 30            # RB_MISSED_STORED: how many stands behind the data
ABSOLUTE = (1 << 59) - 1    # ABS_TS_MASK
_LITTLE = sys.byteorder == "little"
_WORD, _STAMP, _LONG, _HEAD = (struct.Struct("=" + code) for code in ("I", "Q", "q", "IQ"))


def used(page, layout):
    """Bytes of data in ``page`` (bytes, as read), never more than it has."""
    if len(page) < layout.data:
        return 0
    return min(_WORD.unpack_from(page, layout.commit)[0] & LENGTH, len(page) - layout.data)


def lost_events(page, layout):
    """How many events were lost just before ``page``; -1: some, the kernel had no room to say how many."""
    if len(page) < layout.data:
        return 0
    word = _WORD.unpack_from(page, layout.commit)[0]
    if not word & MISSED:
        return 0
    at = layout.data + (word & LENGTH)
    if word & STORED and at + 8 <= len(page):
        count = (_LONG if layout.commit_size == 8 else struct.Struct("=i")).unpack_from(page, at)[0]
        return count if count > 0 else -1
    return -1


def begins(page, layout):
    """(offset of the first event, end of the data, time stamp of the page)."""
    if len(page) < layout.data:
        return 0, 0, 0
    return layout.data, layout.data + used(page, layout), _STAMP.unpack_from(page)[0]


def following(page, at, end, stamp):
    """The first record at or behind ``at``: (time, first 8 bytes as a number, offset, end of it), or None.

    ``stamp``: the time before it.  The time is in the units of the trace clock, offset and end are positions in
    ``page``.
    A record is at least 8 bytes long (struct trace_entry: type, flags, preempt count, pid); what cannot be one ends the
    page.
    """
    last = end - 12
    while at <= last:
        word, key = _HEAD.unpack_from(page, at)
        kind = word & 31
        if 1 < kind < 29:
            stop = at + 4 + kind * 4
            return (stamp + (word >> 5), key, at + 4, stop) if stop <= end else None
        if not kind:
            length = key & 0xffffffff if _LITTLE else key >> 32  # a multiple of 4 that counts itself
            stop = at + 4 + length
            if length < 12 or length & 3 or stop > end:
                return None
            return stamp + (word >> 5), _STAMP.unpack_from(page, at + 8)[0], at + 8, stop
        word, second = _WORD.unpack_from(page, at)[0] >> 5, _WORD.unpack_from(page, at + 4)[0]
        at += 8
        if kind == 30:
            # a time extend is no record: the next one's delta comes on top
            stamp += word + (second << 27)
        elif kind == 31:
            absolute = word + (second << 27) & ABSOLUTE
            high = stamp & ~ABSOLUTE  # 5.17 (6695da58f9b5): a clock may have the five bits that do not fit
            if high:
                absolute |= high
                if absolute < stamp:
                    absolute += 1 << 59
            stamp = absolute
        elif kind == 29 and word and not second & 3:
            # discarded; the kernel's reader does not count its time either (rb_update_read_stamp)
            at += second - 4
        else:
            return None
    return None


def records(page, layout):
    """Yields what ``following`` gives for each record of ``page``, oldest first."""
    at, end, stamp = begins(page, layout)
    while True:
        row = following(page, at, end, stamp)
        if row is None:
            return
        stamp, at = row[0], row[3]
        yield row
