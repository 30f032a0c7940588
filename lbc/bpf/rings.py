"""The two kinds of shared ring memory, read: one perf ring of one CPU, one BPF ring buffer.

``fetch()`` takes what is there (at most about WINDOW bytes) out of the ring and returns it as batches:
``(RECORDS, [record, ...])``, ``(LOST, count)``, ``(SHORT, [bytes])`` (a record smaller than its type).
A window is copied, taken apart and released before anybody sees a record, so that whatever a callback does,
no record is
lost or seen twice, and the kernel has its room back early.

Layouts: include/uapi/linux/perf_event.h (struct perf_event_mmap_page, PERF_RECORD_LOST, PERF_RECORD_SAMPLE);
Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c.
"""
from __future__ import absolute_import

import struct

from .._py23 import range
from .._native import backend
from ..uapi import calls as _u

__all__ = ["PerfRing", "BpfRing", "RECORDS", "LOST", "SHORT", "WINDOW"]

RECORDS, LOST, SHORT = 0, 1, 2
WINDOW = 1 << 16
_MOST = 4096        # records that the compiled backend takes in one call
_LOOK = 64          # records looked at together when they seem to be of one size
_POS = struct.Struct("@Q")      # native: one 8-byte access; "=Q" goes byte by byte and could tear
_HEAD = struct.Struct("=IHHI")  # perf_event_header, then the u32 size of the raw sample
_LOST = struct.Struct("=QQ")    # id, lost
_U32 = struct.Struct("=I")
_DATA_HEAD = _u.PERF_EVENT_MMAP_PAGE["data_head"][0]
_DATA_TAIL = _u.PERF_EVENT_MMAP_PAGE["data_tail"][0]
_RAW = 12           # bytes in front of the data of a raw sample
_HDR = _u.BPF_RINGBUF_HDR_SZ
_BUSY, _DISCARD = _u.BPF_RINGBUF_BUSY_BIT, _u.BPF_RINGBUF_DISCARD_BIT
# behind producer_pos and pending_pos in struct bpf_ringbuf (kernel/bpf/ringbuf.c, BPF_F_RB_OVERWRITE)
_OVERWRITE_POS = 16
_runs = {}


def run_length(window, at, stride, columns, most):
    """How many records from ``at`` on have the same bytes in their headers (``columns``) and so the same size and
    kind."""
    count = min((len(window) - at) // stride, most)
    piece = window[at:at + count * stride]
    for column in columns:
        same = piece[column::stride]
        count = min(count, len(same) - len(same.lstrip(same[:1])))
    return count


def payloads(window, at, count, stride, skip, size):
    """[bytes] of ``count`` records: ``size`` bytes behind ``skip`` bytes of header in every ``stride``."""
    key = (stride, skip, size)
    if key not in _runs:
        if len(_runs) > 256:
            _runs.clear()   # sizes come from the program: do not collect them for ever
        text = "%dx%ds%dx" % (skip, size, stride - skip - size)
        _runs[key] = struct.Struct(text * 16), struct.Struct(text)
    many, one = _runs[key]
    result = []
    whole = at + count // 16 * 16 * stride
    for place in range(at, whole, 16 * stride):
        result.extend(many.unpack_from(window, place))
    for place in range(whole, at + count * stride, stride):
        result.extend(one.unpack_from(window, place))
    return result


class _Batches(object):
    """Collects records in order.  A codec has ``size`` (the least bytes of a record), ``decode(buffer, offset)``,
    ``strided(window, at, count, stride, before)``, ``flexible`` (a record is as long as its buffer)."""

    def __init__(self, codec):
        self.codec, self.size = codec, codec.size if codec is not None else 0
        self.done, self.open = [], []

    def one(self, window, at, size):
        codec = self.codec
        if codec is None:
            self.open.append(window[at:at + size])
        elif size < self.size:
            self.close()
            self.done.append((SHORT, [window[at:at + size]]))
        elif codec.flexible:
            self.open.append(codec.decode(window[at:at + size]))
        else:
            self.open.append(codec.decode(window, at))

    def run(self, window, at, count, stride, skip, size):
        codec = self.codec
        if codec is None:
            self.open.extend(payloads(window, at, count, stride, skip, size))
        elif size < self.size:
            self.close()
            self.done.append((SHORT, payloads(window, at, count, stride, skip, size)))
        elif codec.flexible:
            self.open.extend([codec.decode(data) for data in payloads(window, at, count, stride, skip, size)])
        else:
            self.open.extend(codec.strided(window, at, count, stride, skip))

    def drained(self, count, data, sizes, lost):
        """What the compiled backend took out: records joined; ``sizes``: one int for all, or one for each."""
        if lost:
            self.lost(lost)
        if count and not isinstance(sizes, tuple):
            if sizes:
                self.run(data, 0, count, sizes, 0, sizes)
            else:
                for _ in range(count):
                    self.one(data, 0, 0)
        elif count:
            at, one = 0, self.one if self.codec is not None else None
            append = self.open.append
            for size in sizes:
                end = at + size
                if one is None:
                    append(data[at:end])
                else:
                    one(data, at, size)
                at = end

    def lost(self, count):
        self.close()
        self.done.append((LOST, count))

    def close(self):
        if self.open:
            self.done.append((RECORDS, self.open))
            self.open = []

    def all(self):
        self.close()
        return self.done


class PerfRing(object):
    """The ring of the perf event ``fd`` (owned from now on) on ``cpu``: ``pages`` pages, a power of two.
    Raises KernelError."""

    def __init__(self, kernel, fd, cpu, pages, codec=None):
        self.kernel, self.fd, self.cpu, self.codec = kernel, fd, cpu, codec
        self.page = kernel.page_size()
        self.size = pages * self.page
        self.memory = kernel.mmap(fd, self.page + self.size)
        self.tail = _POS.unpack_from(self.memory, _DATA_TAIL)[0]
        self.pending = []       # batches fetched and not delivered yet (lbc.bpf.events)
        self.drain = backend.Drain(WINDOW, _MOST) if hasattr(backend, "Drain") else None

    def more(self):
        """Whether something is there to fetch."""
        return _POS.unpack_from(self.memory, _DATA_HEAD)[0] != self.tail

    def fetch(self):
        memory = self.memory
        if self.drain is not None:
            count, data, sizes, lost, self.tail = self.drain.perf(memory, self.page, self.size)
            batches = _Batches(self.codec)
            batches.drained(count, data, sizes, lost)
            return batches.all()
        head, = _POS.unpack_from(memory, _DATA_HEAD)
        tail = self.tail
        left = head - tail
        if not left:
            return []
        if left > self.size or left < 0:
            # Never happens while we alone move data_tail; after damage start again at the newest record.
            self._release(head)
            return [(LOST, 1)]
        size = self.size
        at = tail % size
        length = min(left, WINDOW)
        first = min(length, size - at)
        window = memory[self.page + at:self.page + at + first]
        if first < length:
            window += memory[self.page:self.page + length - first]
        batches = _Batches(self.codec)
        used = self._take_apart(window, batches)
        if not used:            # a single record is at most 64 kB (its size is a u16), so one is always whole
            batches.lost(1)
            used = left
        self._release(tail + used)
        return batches.all()

    def _take_apart(self, window, batches):
        at, end, single = 0, len(window), 0
        while end - at >= 8:
            if end - at < _RAW:     # a header at the window's very end: only a record without content is whole
                kind, _, size, raw = _HEAD.unpack(window[at:] + b"\0\0\0\0")
            else:
                kind, _, size, raw = _HEAD.unpack_from(window, at)
            if size < 8 or at + size > end:
                break
            if kind == _u.PERF_RECORD_SAMPLE and size >= _RAW:
                if not single and end - at > 3 * size:
                    count, look = 0, _LOOK
                    while True:
                        more = run_length(window, at + count * size, size, (0, 6, 7), look)
                        count += more
                        if more < look:
                            break
                        look *= 4
                        if window[at + count * size:at + count * size + 8] != window[at:at + 8]:
                            break
                    if count > 2:
                        batches.run(window, at, count, size, _RAW, min(raw, size - _RAW))
                        at += count * size
                        continue
                    single = _LOOK      # mixed sizes: one by one for a while
                elif single:
                    single -= 1
                batches.one(window, at + _RAW, min(raw, size - _RAW))
            elif kind == _u.PERF_RECORD_LOST and size >= 24:
                batches.lost(_LOST.unpack_from(window, at + 8)[1])
            at += size
        return at

    def _release(self, tail):
        self.tail = tail
        _POS.pack_into(self.memory, _DATA_TAIL, tail)

    def close(self):
        fd, self.fd = self.fd, None
        if fd is not None:
            self.memory.close()
            self.kernel.close(fd)


class BpfRing(object):
    """The ring buffer map ``fd`` (not owned) of ``size`` bytes.  ``cpu`` is None: all CPUs write into it.
    Raises KernelError."""
    cpu = None

    def __init__(self, kernel, fd, size, codec=None, overwrite=False):
        self.kernel, self.fd, self.size, self.codec, self.overwrite = kernel, fd, size, codec, overwrite
        self.page = page = kernel.page_size()
        self.consumer = kernel.mmap(fd, page)
        try:
            # Data pages are mapped twice in a row by the kernel: a record that wraps reads as one piece.
            self.memory = kernel.mmap(fd, page + 2 * size, writable=False, offset=page)
        except Exception:
            self.consumer.close()
            raise
        self.tail = _POS.unpack_from(self.consumer, 0)[0]
        self.pending = []
        self.drain = backend.Drain(WINDOW, _MOST) if hasattr(backend, "Drain") and not overwrite else None

    def more(self):
        return _POS.unpack_from(self.memory, 0)[0] != self.tail

    def fetch(self):
        memory = self.memory
        if self.drain is not None:
            count, data, sizes, lost, self.tail = self.drain.ring(self.consumer, memory, self.page, self.size)
            batches = _Batches(self.codec)
            batches.drained(count, data, sizes, lost)
            return batches.all()
        head, = _POS.unpack_from(memory, 0)
        tail = self.tail
        batches = _Batches(self.codec)
        if self.overwrite:
            oldest, = _POS.unpack_from(memory, _OVERWRITE_POS)
            if oldest > tail:
                batches.lost(1)     # how many records were overwritten is not known, only that some were
                tail = oldest
        left = head - tail
        if not left:
            return batches.all()
        at = self.page + tail % self.size
        length = min(left, WINDOW)
        record = (_U32.unpack_from(memory, at)[0] & ~(_BUSY | _DISCARD)) + _HDR + 7 & ~7
        if record > length:     # a record larger than our window comes alone
            length = min(record, left)
        # Two copies: what the headers in the first one call finished was written before the second one was made.
        heads = memory[at:at + length]
        window = memory[at:at + length]
        if self.overwrite and _POS.unpack_from(memory, _OVERWRITE_POS)[0] > tail:
            return batches.all()    # overtaken while copying: the next call sees it as lost
        used = self._take_apart(heads, window, batches)
        if tail + used != self.tail:
            self.tail = tail + used
            _POS.pack_into(self.consumer, 0, self.tail)
        return batches.all()

    @staticmethod
    def _take_apart(heads, window, batches):
        at, end, single = 0, len(heads), 0
        while end - at >= _HDR:
            word, = _U32.unpack_from(heads, at)
            if word & _BUSY:
                break
            size = word & ~_DISCARD
            stride = size + _HDR + 7 & ~7
            if at + stride > end:
                break
            if not single and end - at > 3 * stride:
                count, look = 0, _LOOK
                while True:
                    more = run_length(heads, at + count * stride, stride, (0, 1, 2, 3), look)
                    count += more
                    if more < look:
                        break
                    look *= 4
                    if heads[at + count * stride:at + count * stride + 4] != heads[at:at + 4]:
                        break
                if count > 2:
                    if not word & _DISCARD:
                        batches.run(window, at, count, stride, _HDR, size)
                    at += count * stride
                    continue
                single = _LOOK
            elif single:
                single -= 1
            if not word & _DISCARD:
                batches.one(window, at + _HDR, size)
            at += stride
        return at

    def close(self):
        if self.consumer is not None:
            self.consumer.close()
            self.memory.close()
            self.consumer = self.memory = None
            self.fd = None
