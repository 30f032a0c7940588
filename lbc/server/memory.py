"""Answers in memory for a minute: bytes that go out as they are, found by the hash of the request's body."""
from __future__ import absolute_import

from .._py23 import OrderedDict

__all__ = ["Memory"]

MOST_BYTES, SECONDS = 64 << 20, 60


class Memory(object):
    """``get`` and ``put`` of (body, facts).  The least recently used go when there are more than ``most_bytes``.  A
    minute, so that a changed hive is seen soon, while objects come from the disk afterwards."""

    def __init__(self, most_bytes=MOST_BYTES, seconds=SECONDS):
        self.most_bytes, self.seconds = most_bytes, seconds
        self._kept, self._bytes = OrderedDict(), 0

    def __len__(self):
        return len(self._kept)

    def get(self, key, now):
        """(body, facts), or None."""
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        if now >= kept[2]:
            self._bytes -= len(kept[0])
            return None
        self._kept[key] = kept  # the end is where the newest are
        return kept[:2]

    def put(self, key, body, facts, now):
        """Keep an answer, unless it is so large that few would fit."""
        if len(body) > self.most_bytes // 4:
            return
        old = self._kept.pop(key, None)
        self._bytes += len(body) - (len(old[0]) if old is not None else 0)
        self._kept[key] = body, facts, now + self.seconds
        while self._bytes > self.most_bytes:
            self._bytes -= len(self._kept.pop(next(iter(self._kept)))[0])
