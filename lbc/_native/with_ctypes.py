"""The ctypes backend: the definition of every name in ``lbc._native``, on any Python with ctypes."""
from __future__ import absolute_import

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_long = ctypes.c_long
_get_errno = ctypes.get_errno


def syscall(nr, *args):
    """Result of system call ``nr``; OSError with its errno where it fails.  libc ABI: every argument a long."""
    result = _syscall(_long(nr), *[_long(arg) for arg in args])
    if result < 0:
        number = _get_errno()
        raise OSError(number, os.strerror(number))
    return result


def address_of(buf):
    """Address of the first byte of a writable buffer (bytearray, mmap); keep ``buf`` alive and unresized meanwhile."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buf))


def bytes_at(addr, size):
    """A copy of ``size`` bytes of memory."""
    return ctypes.string_at(addr, size)


_u64 = ctypes.c_uint64


def load_acquire(addr):
    """8 bytes at ``addr``.  x86_64 loads are acquire loads;
    on weaker machines CPython's own locking orders what follows
    only by accident, which is why the compiled backend exists."""
    return _u64.from_address(addr).value


def store_release(addr, value):
    """Store 8 bytes at ``addr`` (see load_acquire for the order promised)."""
    _u64.from_address(addr).value = value
