"""Answers in memory: the least recently used go first, everything after its time."""
from __future__ import absolute_import

from lbc.server.memory import Memory


def test_bounds_and_order():
    memory = Memory(most_bytes=100, seconds=10)
    for name in ("a", "b", "c", "d"):
        memory.put(name, b"x" * 25, [], 0)
    assert memory.get("a", 1) == (b"x" * 25, [])
    memory.put("e", b"x" * 25, [], 1)   # b is the oldest that nobody asked for
    assert [name for name in "abcde" if memory.get(name, 2)] == ["a", "c", "d", "e"] and len(memory) == 4
    memory.put("a", b"y", ["fact"], 2)
    assert memory.get("a", 3) == (b"y", ["fact"])
    memory.put("large", b"x" * 26, [], 3)   # a quarter is the most
    assert memory.get("large", 3) is None


def test_time():
    memory = Memory(seconds=10)
    memory.put("a", b"x", [], 100)
    assert memory.get("a", 109.9) and memory.get("a", 110) is None and len(memory) == 0
