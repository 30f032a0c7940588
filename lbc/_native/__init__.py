"""Raw system calls and shared memory: the only home of ctypes and cffi.

Two backends define the same names (``with_ctypes`` is the definition and always there; ``with_cffi`` needs the compiled
module that ``python -m lbc._native.build`` makes).
``backend`` is the one in use; ``LBC_NATIVE=ctypes|cffi`` forces one,
and a forced one that is missing is an error, never a silent fallback.

syscall(nr, *args)      -> int; raises OSError(errno).  args: ints (addresses included)
address_of(buf)         -> int: address of a writable buffer (bytearray, mmap); the caller keeps buf alive
bytes_at(addr, size)    -> bytes: a copy of memory
load_acquire(addr)      -> int: 8 bytes, acquire order
store_release(addr, v)  -> None: 8 bytes, release order
"""
from __future__ import absolute_import

import os

NAMES = ("ctypes", "cffi")


def load(name):
    """The backend module called ``name``; ImportError where it is not there."""
    if name == "ctypes":
        from . import with_ctypes as module
    elif name == "cffi":
        from . import with_cffi as module
    else:
        raise ImportError("LBC_NATIVE=%s: no such backend (have: %s)" % (name, ", ".join(NAMES)))
    return module


def choose(want):
    """The forced backend, else the compiled one when it was built, else ctypes."""
    if want:
        return load(want)
    try:
        return load("cffi")
    except ImportError:
        return load("ctypes")


backend = choose(os.environ.get("LBC_NATIVE"))
