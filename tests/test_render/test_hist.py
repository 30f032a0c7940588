"""Histograms: every value is in the slot whose bounds it lies between."""
from __future__ import absolute_import

import random

import pytest

from lbc.render import hist


@pytest.mark.parametrize("value, slot", [(-5, 0), (0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11),
                                         (2 ** 63, 64), (2 ** 64 - 1, 64), (2 ** 70, 64)])
def test_slot_of_powers_of_two(value, slot):
    slots = hist.log2_slots([value])
    assert slots[slot] == 1 and sum(slots) == 1 and len(slots) == 65


@pytest.mark.parametrize("value, slot", [(-1, 0), (0, 0), (9, 0), (10, 1), (99, 1), (100, 2), (999, 2), (1000, 3),
                                         (10 ** 15, 15), (10 ** 15 - 1, 14), (2 ** 64 - 1, 19), (10 ** 30, 19)])
def test_slot_of_powers_of_ten(value, slot):
    slots = hist.log10_slots([value])
    assert slots[slot] == 1 and sum(slots) == 1 and len(slots) == 20


def test_lines():
    # bars of 80 - 18 columns; shares of the total, cut
    lines = hist.log2_lines(hist.log2_slots([0, 1, 1, 3]))
    assert lines == ["[0,1)       1   |" + "@" * 15 + " " * 47 + "|", "[1,2)       2   |" + "@" * 31 + " " * 31 + "|",
                     "[2,4)       1   |" + "@" * 15 + " " * 47 + "|"]
    assert hist.log2_lines(hist.log2_slots([300 << 10] * 1004), 30) == ["[256K,512K) 1K  |" + "@" * 12 + "|"]
    assert hist.log10_lines(hist.log10_slots([5, 20000]), 30) == [
        "[0,10)      1   |@@@@@@      |", "[10,100)    0   |            |", "[100,1K)    0   |            |",
        "[1K,10K)    0   |            |", "[10K,100K)  1   |@@@@@@      |"]


def test_units():
    def first(slots, lines):
        return lines(slots, 30)[0].split(")")[0]
    names = [first([0] * n + [1], hist.log2_lines) for n in (1, 11, 21, 31, 41, 51, 61, 64)]
    assert names == ["[1,2", "[1K,2K", "[1M,2M", "[1G,2G", "[1T,2T", "[1P,2P", "[1E,2E", "[8E,16E"]
    assert first([0] * 19 + [1], hist.log10_lines) == "[10E,100E"


def test_refusals():
    for lines in (hist.log2_lines, hist.log10_lines):
        with pytest.raises(ValueError):
            lines([0, 0])
        with pytest.raises(OverflowError):
            lines([1], 29)


def test_no_value_is_lost():
    seed = random.Random(7)
    values = [seed.randrange(1 << seed.randrange(1, 64)) for _ in range(5000)]
    slots = hist.log2_slots(values)
    assert sum(slots) == 5000
    for n in range(1, 65):
        assert slots[n] == len([v for v in values if 2 ** (n - 1) <= v < 2 ** n])
    slots = hist.log10_slots(values)
    for n in range(1, 20):
        assert slots[n] == len([v for v in values if 10 ** n <= v < 10 ** (n + 1)])
