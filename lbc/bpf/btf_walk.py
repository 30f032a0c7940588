"""The way through a kernel's BTF, gone by the kernel itself: a BPF program steps over all types at machine speed.

BTF has no index, so to prove where a type begins one steps over all before it (lbc.btf.walk): 10 ms in Python, the
longest single step of a start by far.  A program of type `syscall` (5.14) with bpf_loop (5.17) takes less than 1 ms: it
copies the type section out of our memory in pieces, notes where every 64th type begins and which types are called by
one of the names asked for (btf_walk.bpf.c).  Where it is refused (older kernels, no privilege), or meets anything odd,
Python walks.
"""
from __future__ import absolute_import

import mmap
import struct
import sys

from .._native import backend
from .._py23 import range
from ..errors import KernelError
from ..uapi import bpf as U
from . import btf_walk_code as _code
from .syscalls import Attr

__all__ = ["Walker"]

_AT = _code.PLACES
_MOST_FOUND = (_AT["wanted"] - _AT["found"]) // 12
_CHUNK = 96 * 1024      # below malloc's mmap threshold
_STRINGS = b"\0a\0b\0"
# int a; int (int a, int b) twice, as functions "a" and "b": bpf_loop takes only callbacks that BTF describes
_TYPES = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32) + struct.pack("=IIIIIII", 0, 13 << 24 | 2, 1, 1, 1, 3, 1) + \
    struct.pack("=III", 1, 12 << 24, 2) + struct.pack("=III", 3, 12 << 24, 2)
_BTF = struct.pack("=HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(_TYPES), len(_TYPES), len(_STRINGS)) + _TYPES + _STRINGS


class Walker(object):
    """``walk`` for one Btf in native byte order without a base, and what it needs of the kernel until ``close``."""

    def __init__(self, kernel):
        self.kernel, self._fds, self._state, self._run = kernel, [], None, None

    def _load(self):
        """The program and its memory.  KernelError where the kernel does not take them."""
        import binascii
        kernel, keep = self.kernel, self._fds
        keep.append(kernel.bpf(U.BPF_MAP_CREATE, {
            "map_type": U.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": _code.SIZE, "max_entries": 1,
            "map_flags": U.BPF_F_MMAPABLE, "map_name": b"lbc_walk"}))
        state = kernel.mmap(keep[0], _code.SIZE)
        self._state = state
        keep.append(kernel.bpf(U.BPF_BTF_LOAD, {"btf": bytearray(_BTF), "btf_size": len(_BTF)}))
        insns = bytearray(binascii.unhexlify(_code.INSNS))
        for place in _code.LOADS:
            insns[8 * place + 1] |= U.BPF_PSEUDO_MAP_VALUE << 4
            struct.pack_into("=i", insns, 8 * place + 4, keep[0])
        keep.append(kernel.bpf(U.BPF_PROG_LOAD, {
            "prog_type": U.BPF_PROG_TYPE_SYSCALL, "insn_cnt": len(insns) // 8, "insns": insns, "license": b"GPL\0",
            "prog_flags": U.BPF_F_SLEEPABLE, "prog_name": b"lbc_walk", "prog_btf_fd": keep[1], "func_info_rec_size": 8,
            "func_info_cnt": 2, "func_info": bytearray(struct.pack("=IIII", 0, 3, _code.STEP, 4))}))
        self._run = Attr(U.BPF_PROG_TEST_RUN, {"test.prog_fd": keep[2]})

    def walk(self, data, start, size, sizes, names):
        """(number of types, [byte of types 0, 64, 128 ...], [(name, index, byte)]) of the type section of ``size``
        bytes at ``data[start]``; the rows are the types whose name is at one of the string offsets ``names``.
        None where the kernel did not get to the end: why is for Python's own walk to say.

        ``sizes``: kind -> (words, words for each element).
        """
        try:
            if self._run is None:
                self._load()
            copy = None
            try:
                address = backend.address_of(data) + start
            except (TypeError, ValueError):     # read-only: a file that is mapped, or bytes
                copy = mmap.mmap(-1, size)
                for at in range(0, size, _CHUNK):
                    copy.write(data[start + at:start + min(at + _CHUNK, size)])
                address = backend.address_of(copy)
            try:
                return self._walk(address, size, sizes, names)
            finally:
                if copy is not None:
                    copy.close()
        except (KernelError, OSError, ValueError):
            return None

    def _walk(self, address, size, sizes, names):
        state, pack = self._state, struct.pack_into
        pack("=QIIIIIIII", state, 0, address, size, 0, 0, 0, 0, 0, 0, 0)
        for kind in sizes:
            fixed, each = sizes[kind]
            if kind < 128 and fixed < 64 and each < 64:
                pack("=B", state, _AT["fixed"] + kind, 4 * fixed)
                pack("=B", state, _AT["each"] + kind, 4 * each)
        for name in names:
            pack("=B", state, _AT["wanted"] + (name & 0xffff), 1)
        at, last = 0, -1
        try:
            while last < at < size:
                last = at
                self.kernel.run(self._run)
                at, index, damaged = struct.unpack_from("=III", state, _AT["at"])
                if damaged:
                    return None
        finally:
            for name in names:
                pack("=B", state, _AT["wanted"] + (name & 0xffff), 0)
        count, = struct.unpack_from("=I", state, _AT["count"])
        if at != size or count > _MOST_FOUND:
            return None
        ways = list(struct.unpack_from("=%dI" % ((index + 63) // 64), state, _AT["ways"]))
        rows = [struct.unpack_from("=III", state, _AT["found"] + 12 * number) for number in range(count)]
        return index, ways, [row for row in rows if row[0] in names]

    def close(self):
        """Give back the program and its memory (idempotent)."""
        if self._state is not None:
            self._state.close()
        self._state = self._run = None
        while self._fds:
            self.kernel.close(self._fds.pop())


def usable(order):
    """Is the program, which is little-endian as the BTF has to be, one for this machine?"""
    return order == "<" and sys.byteorder == "little"
