"""Histograms by powers of two and of ten, as bars of text.

    [256K,512K) 1004|@@@@@@@@@@          |
"""
from __future__ import absolute_import

from .._py23 import range

__all__ = ["log2_slots", "log10_slots", "log2_lines", "log10_lines", "MIN_COLUMNS"]

LOG2_SLOTS, LOG10_SLOTS = 65, 20    # all of 64 bits
MIN_COLUMNS = 30
_UNITS = ["", "K", "M", "G", "T", "P", "E"]


def log2_slots(values):
    """Counts: slot 0 holds what is not positive, slot i what is in [2^(i-1), 2^i); 65 slots."""
    slots = [0] * LOG2_SLOTS
    for value in values:
        slots[min(int(value).bit_length(), LOG2_SLOTS - 1) if value > 0 else 0] += 1
    return slots


def log10_slots(values):
    """Counts: slot 0 holds what is below 10, slot i what is in [10^i, 10^(i+1)); 20 slots."""
    slots = [0] * LOG10_SLOTS
    for value in values:
        slots[min(len(str(int(value))) - 1, LOG10_SLOTS - 1) if value > 0 else 0] += 1
    return slots


def _by_1024(power):
    """Name of 2^power: '512', '1K', '2M'."""
    return "%d%s" % (1 << power % 10, _UNITS[power // 10])


def _by_1000(number):
    """'1', '999', '1K', '20M': cut, not rounded."""
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number // 1000, unit + 1
    return "%d%s" % (number, _UNITS[unit])


def _bound2(slot):
    return "0" if slot == 0 else _by_1024(slot - 1)


def _bound10(slot):
    return "0" if slot == 0 else _by_1000(10 ** slot)


def _lines(slots, bound, columns):
    used = [i for i in range(len(slots)) if slots[i]]
    if not used:
        raise ValueError("nothing to show: the list is empty, or all counts are zero")
    if columns < MIN_COLUMNS:
        raise OverflowError("%d columns are too few for a histogram, it takes %d" % (columns, MIN_COLUMNS))
    bars, total = columns - 18, sum(slots)
    lines = []
    for slot in range(used[0], used[-1] + 1):
        length = slots[slot] * bars // total
        lines.append("%-12s%-4s|%s%s|" % ("[%s,%s)" % (bound(slot), bound(slot + 1)), _by_1000(slots[slot]),
                                         "@" * length, " " * (bars - length)))
    return lines


def log2_lines(slots, columns=80):
    """Lines of counts by powers of two; a bar is the slot's share of all.  ValueError when there is none, OverflowError
    below MIN_COLUMNS."""
    return _lines(slots, _bound2, columns)


def log10_lines(slots, columns=80):
    """The same by powers of ten."""
    return _lines(slots, _bound10, columns)
