"""Rings in memory made by hand, after perf_event.h and kernel/bpf/ringbuf.c: what is taken out, what is refused."""
from __future__ import absolute_import

import mmap
import random
import struct

import pytest

from lbc._py23 import range
from lbc.bpf import events, rings
from lbc.bpf.rings import LOST, RECORDS, SHORT, BpfRing, PerfRing
from lbc.errors import FormatError

PAGE = 4096


class Memory(object):
    """A kernel whose mappings are anonymous memory."""

    def __init__(self):
        self.maps = []

    def page_size(self):
        return PAGE

    def mmap(self, fd, size, writable=True, offset=0):
        self.maps.append(mmap.mmap(-1, size))
        return self.maps[-1]

    def close(self, fd):
        pass


def sample(data):
    size = 12 + len(data) + 7 & ~7
    return struct.pack("=IHHI", 9, 0, size, size - 12) + data + b"\0" * (size - 12 - len(data))


def lost(count):
    return struct.pack("=IHHQQ", 2, 0, 24, 77, count)


class PerfWriter(object):
    def __init__(self, ring):
        self.ring, self.head = ring, struct.unpack_from("@Q", ring.memory, 1024)[0]

    def put(self, record):
        tail, = struct.unpack_from("@Q", self.ring.memory, 1032)
        if self.head + len(record) - tail > self.ring.size:
            return False
        for i in range(0, len(record), 8):
            at = PAGE + (self.head + i) % self.ring.size
            self.ring.memory[at:at + 8] = record[i:i + 8]
        self.head += len(record)
        struct.pack_into("@Q", self.ring.memory, 1024, self.head)
        return True


@pytest.fixture
def perf(native, monkeypatch):
    monkeypatch.setattr(rings, "backend", native)
    made = []

    def make(pages=4, codec=None, start=0):
        ring = PerfRing.__new__(PerfRing)
        kernel = Memory()
        original = kernel.mmap

        def at_start(fd, size, **more):
            memory = original(fd, size, **more)
            struct.pack_into("@QQ", memory, 1024, start, start)
            return memory
        kernel.mmap = at_start
        ring.__init__(kernel, -1, 3, pages, codec)
        made.append(ring)
        return ring, PerfWriter(ring)
    yield make
    for ring in made:
        ring.close()


def fetch_all(ring):
    batches = []
    for _ in range(100000):
        before = ring.tail
        more = ring.fetch()
        batches.extend(more)
        if not more and ring.tail == before:
            return batches
    raise AssertionError("does not end")


def records_of(batches):
    return [record for kind, part in batches if kind == RECORDS for record in part]


@pytest.mark.parametrize("start", [0, 8, PAGE * 4 - 8, (1 << 32) - 16, (1 << 63) + 40])
def test_mixed_samples_and_losses_in_order(perf, start):
    ring, writer = perf(start=start)
    rng = random.Random(start)
    sent = []
    got = []
    for _ in range(3000):
        if rng.random() < 0.1:
            if writer.put(lost(len(sent))):
                sent.append(("lost", len(sent)))
        else:
            data = bytes(bytearray(rng.randrange(256)
                         for _ in range(rng.choice([4, 4, 4, 12, 60, 60, 60, 60, 60, 60, 500]))))
            if writer.put(sample(data)):
                sent.append(data)
        if rng.random() < 0.05:
            for kind, part in fetch_all(ring):
                got.extend([("lost", part)] if kind == LOST else part)
    for kind, part in fetch_all(ring):
        got.extend([("lost", part)] if kind == LOST else part)
    assert got == sent and len(sent) > 2500
    assert struct.unpack_from("@Q", ring.memory, 1032)[0] == writer.head


def test_windows_cut_anywhere(perf, monkeypatch):
    """Each possible remainder at the end of a window, the 8 bytes of a bare header too."""
    for window in range(1024, 1024 + 88, 8):
        monkeypatch.setattr(rings, "WINDOW", window)
        ring, writer = perf()
        sent = [struct.pack("=Q", i) + b"x" * (4 + 8 * (i % 8)) for i in range(200)]
        for data in sent:
            assert writer.put(sample(data))
        assert records_of(fetch_all(ring)) == sent, window


@pytest.mark.parametrize("damage", [b"\x09\0\0\0\0\0\0\0", b"\x09\0\0\0\0\0\x04\0", b"\x09\0\0\0\0\0\xff\xff"])
def test_damaged_perf_ring_ends_and_recovers(perf, damage):
    ring, writer = perf()
    writer.put(sample(b"good"))
    writer.put(damage + b"\0" * 8)
    batches = fetch_all(ring)
    assert records_of(batches) == [b"good"] and any(kind == LOST for kind, _ in batches)
    writer.put(sample(b"next"))
    assert records_of(fetch_all(ring)) == [b"next"]


def test_overrun_perf_ring(perf):
    ring, writer = perf()
    struct.pack_into("@Q", ring.memory, 1024, 10 * ring.size)
    assert [kind for kind, _ in fetch_all(ring)] == [LOST]
    writer.head = 10 * ring.size
    writer.put(sample(b"next"))
    assert records_of(fetch_all(ring)) == [b"next"]


class RingWriter(object):
    """Producer's side: data appears twice, as the kernel maps it."""

    def __init__(self, ring):
        self.ring, self.head = ring, 0

    def put(self, data, flags=0):
        size = len(data) + 15 & ~7
        tail, = struct.unpack_from("@Q", self.ring.consumer, 0)
        if self.head + size - tail > self.ring.size:
            return None
        record = struct.pack("=II", len(data) | flags, 0) + data
        start = self.head
        self.write(start, record)
        self.head += size
        struct.pack_into("@Q", self.ring.memory, 0, self.head)
        return start

    def write(self, start, record):
        at = start % self.ring.size
        first, rest = record[:self.ring.size - at], record[self.ring.size - at:]
        for base in (PAGE, PAGE + self.ring.size):
            self.ring.memory[base + at:base + at + len(first)] = first
            self.ring.memory[base:base + len(rest)] = rest

    def submit(self, start, length, flags=0):
        self.write(start, struct.pack("=I", length | flags))


@pytest.fixture
def ring(native, monkeypatch):
    monkeypatch.setattr(rings, "backend", native)
    made = []

    def make(size=PAGE * 4, codec=None):
        ring = BpfRing(Memory(), -1, size, codec)
        made.append(ring)
        return ring, RingWriter(ring)
    yield make
    for ring in made:
        ring.close()


def test_busy_and_discarded(ring):
    reader, writer = ring()
    rng = random.Random(5)
    sent, got = [], []
    for turn in range(150):
        for _ in range(rng.randrange(20)):
            data = bytes(bytearray(rng.randrange(256) for _ in range(rng.choice([0, 1, 8, 8, 8, 8, 8, 64, 64, 100]))))
            if rng.random() < 0.2:
                writer.put(data, rings._DISCARD)
            elif writer.put(data) is not None:
                sent.append(data)
        held = writer.put(b"held", rings._BUSY)
        behind = writer.put(b"behind")
        got.extend(records_of(fetch_all(reader)))
        assert got == sent      # nothing at or behind the reserved one
        if held is not None:
            if turn % 2:
                writer.submit(held, 4)
                sent.append(b"held")
            else:
                writer.submit(held, 4, rings._DISCARD)
        if behind is not None:
            sent.append(b"behind")
        got.extend(records_of(fetch_all(reader)))
        assert got == sent
    assert len(sent) > 500


def test_ring_record_larger_than_the_window(ring):
    reader, writer = ring(1 << 18)
    big = b"".join(struct.pack("=I", i) for i in range(40000))
    for _ in range(5):
        writer.put(b"small")
        writer.put(big)
        assert records_of(fetch_all(reader)) == [b"small", big]


@pytest.mark.parametrize("word", [0x3fffffff, 0x00ffffff])
def test_damaged_ring_ends(ring, word):
    reader, writer = ring()
    start = writer.put(b"12345678")
    writer.submit(start, word)
    assert records_of(fetch_all(reader)) == []


class Twelve(object):
    """A codec of 12 bytes."""
    size, flexible = 12, False

    def decode(self, buffer, offset=0):
        return struct.unpack_from("=Q", buffer, offset)[0]

    def strided(self, window, at, count, stride, before):
        return [self.decode(window, at + before + i * stride) for i in range(count)]


def test_codec_and_short_records(ring, perf):
    reader, writer = ring(codec=Twelve())
    numbers = list(range(100))
    for i in numbers:
        writer.put(struct.pack("=QI", i, 0) + b"more" * (i % 3 if 20 < i < 60 else 0))
    writer.put(b"12345678")
    writer.put(struct.pack("=QI", 500, 0))
    batches = fetch_all(reader)
    assert [b for b in batches if b[0] == SHORT] == [(SHORT, [b"12345678"])]
    assert records_of(batches) == numbers + [500]
    reader, writer = perf(codec=Twelve())
    for i in numbers:
        writer.put(sample(struct.pack("=QI", i, 0)))
    assert records_of(fetch_all(reader)) == numbers


class Still(object):
    """A ring that holds given batches."""
    cpu = 5
    codec = Twelve()

    def __init__(self, *batches):
        self.batches, self.pending, self.tail = list(batches), [], 0

    def more(self):
        return bool(self.batches)

    def fetch(self):
        self.tail += 1
        return [self.batches.pop(0)]


class Flag(object):
    stopped = False

    def stop(self):
        self.stopped = True


def test_delivery_when_callbacks_fail():
    got, told = [], []

    def callback(cpu, record):
        got.append(record)
        if record in (2, 5):
            raise ZeroDivisionError(record)
        if record == 7:
            return False
    still = Still((RECORDS, [1, 2, 3]), (LOST, 4), (SHORT, [b"a", b"b"]), (RECORDS, [5, 6, 7, 8]))
    buf = events._Buffer(None, "x", callback, False, lambda cpu, count: told.append((cpu, count)))
    flag = Flag()
    outcomes = []
    for _ in range(20):
        try:
            outcomes.append(buf.deliver(still, flag))
            flag.stopped = False
        except (ZeroDivisionError, FormatError) as error:
            outcomes.append(type(error).__name__)
    assert got == [1, 2, 3, 5, 6, 7, 8] and told == [(5, 4)] and buf.lost == 4
    assert outcomes[:6] == ["ZeroDivisionError", "FormatError", "FormatError", "ZeroDivisionError", 2, 1]
    assert buf.records == 7
