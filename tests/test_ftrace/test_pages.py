"""lbc.ftrace.pages on pages written by the format's own description."""
from __future__ import absolute_import

import random
import struct

import pytest

from lbc.ftrace.formats import PageFormat
from lbc.ftrace.pages import lost_events, records, used

from ..ringwriter import Page, entry

LAYOUT = PageFormat(8, 8, 16, 4096)


def read(page, **options):
    raw = page.bytes(**options)
    return [(time, raw[start:end]) for time, _, start, end in records(raw, LAYOUT)]


def test_small_and_big_events():
    page = Page(1000)
    page.event(1005, entry(7, rest=b"abcd"))
    page.event(1005, entry(8, rest=b"x" * 200))
    page.event(1010, entry(9, rest=b"yyyy"), big=True)
    assert read(page) == [(1005, entry(7, rest=b"abcd")), (1005, entry(8, rest=b"x" * 200)),
                          (1010, entry(9, rest=b"yyyy"))]


def test_the_first_eight_bytes_come_as_a_number():
    page = Page(0)
    page.event(1, entry(0x1234, pid=-5, flags=6, preempt=7))
    page.event(2, entry(0x1235, pid=9, rest=b"z" * 200))
    raw = page.bytes()
    keys = [struct.unpack("=HBBi", struct.pack("=Q", key)) for _, key, _, _ in records(raw, LAYOUT)]
    assert keys == [(0x1234, 6, 7, -5), (0x1235, 0, 0, 9)]


def test_time_extend_absolute_time_and_discarded_events():
    page = Page(5)
    page.event(5 + (1 << 40), entry(1))
    page.discarded(12, delta=99)        # rb_update_read_stamp(): does not move the time
    page.event(6 + (1 << 40), entry(2))
    page.absolute(1 << 50)
    page.event((1 << 50) + 3, entry(3))
    page.end()
    assert [time for time, _ in read(page)] == [5 + (1 << 40), 6 + (1 << 40), (1 << 50) + 3]


def test_absolute_time_keeps_the_bits_that_do_not_fit():
    """rb_fix_abs_ts(), 5.17: a clock whose upper five bits are set."""
    high = 0xf8 << 56
    page = Page(high | 1000)
    page.absolute(2000)
    page.event(2000, entry(1))
    assert [time for time, _ in read(page)] == [high | 2000]
    page = Page(high >> 1 | (1 << 59) - 1)  # the 59 bits run over
    page.absolute(5)
    page.event(5, entry(1))
    assert [time for time, _ in read(page)] == [(high >> 1 & ~((1 << 59) - 1)) + (1 << 59) + 5]


def test_time_extend_at_the_very_end_is_no_record():
    page = Page(0)
    page.event(1, entry(1))
    page.data += struct.pack("=II", 30 | 5 << 5, 1)
    assert len(read(page)) == 1


@pytest.mark.parametrize("missed,expected", [(None, 0), (123, 123), (-1, -1)])
def test_lost_events(missed, expected):
    page = Page(0)
    page.event(1, entry(1))
    raw = page.bytes(missed=missed)
    assert lost_events(raw, LAYOUT) == expected
    assert len(list(records(raw, LAYOUT))) == 1 and used(raw, LAYOUT) == 12


def test_random_pages_give_back_what_was_written():
    rng = random.Random(27)
    for _ in range(300):
        now = rng.getrandbits(rng.choice([10, 30, 55]))
        page, expected = Page(now), []
        while page.room() > 700:
            kind = rng.random()
            if kind < 0.1:
                page.discarded(4 * rng.randrange(1, 20), rng.randrange(1, 1000))
            elif kind < 0.15:
                now += rng.getrandbits(20)
                page.absolute(now)
            else:
                now += rng.choice([0, 1, 500, rng.getrandbits(26), rng.getrandbits(45)])
                record = entry(rng.randrange(1 << 16), rest=bytes(bytearray(
                    rng.randrange(256) for _ in range(4 * rng.choice([0, 1, 5, 26, 27, 100])))))
                page.event(now, record, big=rng.random() < 0.1)
                expected.append((now, record))
        if rng.random() < 0.5:
            page.end()
        assert read(page) == expected


def test_garbage_is_bounded():
    """Any bytes: records inside of the page, positions that grow."""
    rng = random.Random(28)
    for number in range(1500):
        size = rng.choice([0, 7, 15, 16, 20, 64, 500])
        raw = bytearray(rng.getrandbits(8) for _ in range(size))
        if number % 3 and size > 16:
            raw[8:16] = struct.pack("=Q", rng.choice([size - 16, 1 << 26, rng.getrandbits(32)]))
            for at in range(16, size - 4, 4):  # likelier kinds
                raw[at] = raw[at] & 0xe0 | rng.choice([0, 1, 2, 3, 28, 29, 30, 31])
        raw, before = bytes(raw), 0
        for _, _, start, end in records(raw, LAYOUT):
            assert before <= start and start + 8 <= end <= len(raw)
            before = end
        assert lost_events(raw, LAYOUT) >= -1 and 0 <= used(raw, LAYOUT) <= len(raw)
