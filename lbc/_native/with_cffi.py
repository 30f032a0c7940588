"""The compiled backend: same names as with_ctypes, and rings and maps drained in one call.
ImportError where it was not built.

``cffi`` itself is needed only to build; the extension needs ``_cffi_backend`` to load.

Drain(room, most).perf(memory, page, size), .ring(consumer, memory, page,
size)    what lbc.bpf.rings does record by record.
Map dumps gain nothing here: the batch command is one call for thousands of entries already.
"""
from __future__ import absolute_import

import os
import struct

from .with_paths import find

_fast = find()
_lib, _ffi = _fast.lib, _fast.ffi
_syscall = _lib.lbc_syscall
_from_buffer, _cast = _ffi.from_buffer, _ffi.cast

load_acquire = _lib.lbc_load_acquire
store_release = _lib.lbc_store_release


def _long(arg):
    return arg if -1 << 63 <= arg < 1 << 63 else arg - (1 << 64)


def syscall(nr, *args):
    """Result of system call ``nr``; OSError with its errno where it fails."""
    padded = [_long(arg) for arg in args]
    padded += [0] * (6 - len(padded))
    result = _syscall(nr, *padded)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def address_of(buf):
    """Address of the first byte of a buffer; keep ``buf`` alive and unresized meanwhile."""
    return int(_cast("uintptr_t", _from_buffer(buf)))


def bytes_at(addr, size):
    """A copy of ``size`` bytes of memory."""
    return bytes(_ffi.buffer(_cast("char *", addr), size))


class Drain(object):
    """Memory of one ring's drain calls: at most ``room`` bytes and ``most`` records each."""
    __slots__ = ("out", "room", "sizes", "most", "result")

    def __init__(self, room, most):
        self.room, self.most = room, most
        self.out = _ffi.new("char[]", room)
        self.sizes = _ffi.new("uint32_t[]", most)
        self.result = _ffi.new("uint64_t[6]")

    def taken(self):
        """(count, data, sizes, lost, position): the records joined as bytes;
        sizes: an int when all are equal, else a tuple."""
        count, used, uniform, lost, tail, _ = self.result
        if not count:
            return 0, b"", 0, lost, tail
        sizes = self.sizes[0] if uniform else struct.unpack("=%dI" % count, bytes(_ffi.buffer(self.sizes, 4 * count)))
        return count, bytes(_ffi.buffer(self.out, used)), sizes, lost, tail

    def perf(self, memory, page, size):
        """Take samples out of a perf ring (its mmap)."""
        _lib.lbc_perf_drain(_from_buffer(memory), page, size, self.out, self.room, self.sizes, self.most, self.result)
        return self.taken()

    def ring(self, consumer, memory, page, size):
        """Take records out of a BPF ring buffer (mmaps of the consumer page and of the rest)."""
        _lib.lbc_ring_drain(_from_buffer(consumer), _from_buffer(memory), page, size,
                            self.out, self.room, self.sizes, self.most, self.result)
        if self.result[5] and self.result[5] <= size:
            self.room = self.result[5]
            self.out = _ffi.new("char[]", self.room)
            return self.ring(consumer, memory, page, size)
        return self.taken()
