"""The producer's side of a user ring buffer (BPF_MAP_TYPE_USER_RINGBUF, kernel 6.1): records that a program drains.

Protocol: kernel/bpf/ringbuf.c, __bpf_user_ringbuf_peek(): the header's busy bit is cleared last.
"""
from __future__ import absolute_import

import errno
import select
import struct

from .._py23 import monotonic
from ..errors import InputError, KernelError
from ..uapi import bpf as _u

__all__ = ["UserRing"]

_POS = struct.Struct("@Q")
_LEN = struct.Struct("@I")
_HDR = _u.BPF_RINGBUF_HDR_SZ


class UserRing(object):
    """Writer into ``ring_map``; one writer at a time.  Raises InputError, KernelError."""

    def __init__(self, kernel, ring_map):
        if ring_map.type != _u.BPF_MAP_TYPE_USER_RINGBUF:
            raise InputError("map `%s` is no user ring buffer but a %s" %
                             (ring_map.name, _u.MAP_TYPE_NAMES.get(ring_map.type)))
        self.kernel, self.fd, self.size = kernel, ring_map.fd, ring_map.max_entries
        self.page = page = kernel.page_size()
        self.consumer = kernel.mmap(self.fd, page, writable=False)
        try:
            self.memory = kernel.mmap(self.fd, page + 2 * self.size, offset=page)
        except Exception:
            self.consumer.close()
            raise

    def put(self, record):
        """Write ``record`` (bytes); False when there is no room now.  InputError when there never can be."""
        need = len(record) + _HDR + 7 & ~7
        if need > self.size:
            raise InputError("record of %d bytes for a user ring buffer of %d" % (len(record), self.size))
        head, = _POS.unpack_from(self.memory, 0)
        if self.size - (head - _POS.unpack_from(self.consumer, 0)[0]) < need:
            return False
        at = self.page + head % self.size
        _LEN.pack_into(self.memory, at, len(record) | _u.BPF_RINGBUF_BUSY_BIT)
        _LEN.pack_into(self.memory, at + 4, 0)
        self.memory[at + _HDR:at + _HDR + len(record)] = bytes(record)
        _POS.pack_into(self.memory, 0, head + need)
        _LEN.pack_into(self.memory, at, len(record))    # done: the program may take it
        return True

    def put_wait(self, record, timeout_ms=-1):
        """As put(), waiting for the program to drain; False when the time is over.  Negative: no end."""
        end = None if timeout_ms is None or timeout_ms < 0 else monotonic() + timeout_ms / 1000.0
        epoll = None
        try:
            while not self.put(record):
                left = -1 if end is None else end - monotonic()
                if end is not None and left <= 0:
                    return False
                if epoll is None:
                    epoll = select.epoll()
                    epoll.register(self.fd, select.EPOLLOUT)
                try:
                    epoll.poll(0.1 if end is None else max(0.001, min(left, 0.1)))
                except (IOError, OSError, select.error) as error:
                    if error.args[0] != errno.EINTR:
                        raise KernelError("epoll_wait: %s" % error, "epoll_wait", error.args[0], cause=error)
            return True
        finally:
            if epoll is not None:
                epoll.close()

    def pending(self):
        """Bytes written and not drained yet."""
        return _POS.unpack_from(self.memory, 0)[0] - _POS.unpack_from(self.consumer, 0)[0]

    def close(self):
        if self.memory is not None:
            self.memory.close()
            self.consumer.close()
            self.memory = None

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()
