"""A map as the kernel sees it: keys and values are bytes of fixed size, one method per kernel command and its fallback.

Facts used here: Documentation/bpf/maps.rst, kernel/bpf/syscall.c (map_lookup_elem, generic_map_*_batch),
kernel/bpf/hashtab.c (__htab_map_lookup_and_delete_batch, htab_map_get_next_key).
A per-CPU value is all its copies, one per possible CPU, each rounded up to 8 bytes (bpf_map_value_size()).
"""
from __future__ import absolute_import

import errno
import struct
from itertools import chain

from .._py23 import range
from ..errors import ENOTSUPP, KernelError
from ..uapi import bpf as _u
from .syscalls import Attr

__all__ = ["RawMap", "PER_CPU", "split", "value_bytes"]

PER_CPU = frozenset([_u.BPF_MAP_TYPE_PERCPU_HASH, _u.BPF_MAP_TYPE_PERCPU_ARRAY, _u.BPF_MAP_TYPE_LRU_PERCPU_HASH,
                     _u.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE])

_NO_BATCH = (errno.EINVAL, ENOTSUPP, errno.EOPNOTSUPP)  # EINVAL: before 5.6; ENOTSUPP: this map kind has none
_NO_COMMAND = _NO_BATCH
_RESULT = 1 << 20       # bytes of keys and values to ask for in one batch call, at most
_MAX_BATCH = 4096       # entries of the same
_REGROUP = 64
_Q = struct.Struct("@Q")
_FLAGS = _u.BPF_ATTR["flags"][0]
_KEY = _u.BPF_ATTR["key"][0]
_VALUE = _u.BPF_ATTR["value"][0]
_ELEM_SIZE = _FLAGS + 8     # the part of bpf_attr that every kernel knows for element commands
_splitters = {}


def value_bytes(kernel, map_type, value_size):
    """Bytes that one value of such a map takes in user space."""
    if map_type in PER_CPU:
        return (value_size + 7) // 8 * 8 * kernel.possible_cpus()
    return value_size


def split(window, size, count):
    """An iterable of ``count`` pieces of ``size`` bytes; ``window``: bytes or bytearray holding at least that much."""
    if size not in _splitters:
        _splitters[size] = struct.Struct(("%ds" % size) * _REGROUP)
    whole = _splitters[size]
    groups, rest = divmod(count, _REGROUP)
    step = size * _REGROUP
    parts = [whole.unpack_from(window, at) for at in range(0, groups * step, step)]
    parts.append(struct.unpack_from(("%ds" % size) * rest, window, groups * step))
    return chain.from_iterable(parts)


class _Slot(object):
    """Memory of one element call: the Attr, a key, a value."""
    __slots__ = ("attr", "key", "value", "flags", "value_address")

    def __init__(self, fd, key_size, value_size):
        self.key, self.value, self.flags = bytearray(key_size), bytearray(value_size), 0
        fields = {"map_fd": fd}
        if value_size:
            fields["value"] = self.value
        if key_size:
            fields["key"] = self.key   # a map without keys (queue, stack, bloom filter) wants a null pointer
        self.attr = Attr(_u.BPF_MAP_LOOKUP_ELEM, fields)
        self.attr.size = _ELEM_SIZE
        self.value_address = self.attr.get("value")


class RawMap(object):
    """Commands on the map behind ``fd`` (owned by somebody else).  ``value_size``: bytes of one value in user space."""

    def __init__(self, kernel, fd, map_type, key_size, value_size, max_entries):
        self.kernel, self.fd, self.type = kernel, fd, map_type
        self.key_size, self.value_size, self.max_entries = key_size, value_size, max_entries
        self._spare = []   # slots that no call uses now: two threads never share one

    # -- one element -----------------------------------------------------------------------------------------------
    def _call(self, cmd, key, flags=0, value=None, result=False):
        """Run ``cmd``; ``result``: True for a copy of the value.  Raises KernelError, ValueError for a wrong length."""
        if len(key) != self.key_size:
            raise ValueError("key of %d bytes, not %d" % (len(key), self.key_size))
        if value is not None and len(value) != self.value_size:
            raise ValueError("value of %d bytes, not %d" % (len(value), self.value_size))
        try:
            slot = self._spare.pop()
        except IndexError:
            slot = _Slot(self.fd, self.key_size, self.value_size)
        attr = slot.attr
        attr.cmd = cmd
        slot.key[:] = key
        if value is not None:
            slot.value[:] = value
        if flags != slot.flags:
            _Q.pack_into(attr.buf, _FLAGS, flags)
            attr.fields["flags"] = slot.flags = flags
        if cmd == _u.BPF_MAP_DELETE_ELEM:
            # this command's attributes end behind the key; the rest must be 0 (CHECK_ATTR)
            _Q.pack_into(attr.buf, _VALUE, 0)
        try:
            self.kernel.run(attr)
            return bytes(slot.value) if result else None
        finally:
            if cmd == _u.BPF_MAP_DELETE_ELEM:
                _Q.pack_into(attr.buf, _VALUE, slot.value_address)
            self._spare.append(slot)

    def lookup(self, key, flags=0):
        """The value's bytes, None where there is none.  Raises KernelError, ValueError for a wrong length."""
        try:
            return self._call(_u.BPF_MAP_LOOKUP_ELEM, key, flags, None, True)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def update(self, key, value, flags=0):
        """Store.  ``flags``: BPF_ANY, BPF_NOEXIST (EEXIST where it is there), BPF_EXIST (ENOENT where not),
        BPF_F_LOCK."""
        self._call(_u.BPF_MAP_UPDATE_ELEM, key, flags, value)

    def delete(self, key):
        """Remove; True when it was there."""
        try:
            self._call(_u.BPF_MAP_DELETE_ELEM, key)
            return True
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return False
            raise

    def lookup_and_delete(self, key, flags=0):
        """The value's bytes (None where there is none), taken out of the map.

        One command since 4.20 for queues and stacks, since 5.14 for hash maps; else two, between which another may
        change the value.
        """
        fact = ("map_lookup_and_delete", self.type)
        if self.kernel.facts.get(fact, True):
            try:
                return self._call(_u.BPF_MAP_LOOKUP_AND_DELETE_ELEM, key, flags, None, True)
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    return None
                if error.errno not in _NO_COMMAND or not self.key_size or flags:
                    raise
                self.kernel.facts[fact] = False
        value = self.lookup(key, flags)
        return value if value is not None and self.delete(key) else None

    def next_key(self, key=None):
        """The key behind ``key`` (None: the first), None at the end.
        A key that is gone is followed by the first one."""
        slot = _Slot(self.fd, self.key_size, self.key_size)
        slot.attr.cmd = _u.BPF_MAP_GET_NEXT_KEY
        if key is None:
            if not self.kernel.facts.get("null_first_key", True):
                key = self._absent_key()
            else:
                _Q.pack_into(slot.attr.buf, _KEY, 0)
                slot.attr.fields["key"] = None
        if key is not None:
            slot.key[:] = key
        try:
            self.kernel.run(slot.attr)
            return bytes(slot.value)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return None
            if key is None and error.errno == errno.EFAULT:  # before 4.12 (8fe45924387b) NULL was not "the first"
                self.kernel.facts["null_first_key"] = False
                return self.next_key()
            raise

    def _absent_key(self):
        """A key that is not in the map: the kernel answers with the first one."""
        guesses = [b"\xff" * self.key_size, b"\xa5" * self.key_size, b"\0" * self.key_size]
        import os
        for guess in guesses + [os.urandom(self.key_size) for _ in range(32)]:
            if self.lookup(guess) is None:
                return guess
        return guesses[0]  # every guess is taken: a full map of tiny keys, for which starting behind one must do

    # -- many elements -----------------------------------------------------------------------------------------------
    def keys(self):
        """Every key as bytes, each once.
        Keys deleted meanwhile may be missing; ends in bounded time whatever others do."""
        seen = set()
        key, calls = self.next_key(), 1
        limit = 3 * self.max_entries + 64
        while key is not None and calls < limit:
            following = self.next_key(key)   # asked before the caller may delete `key`, which would start us over
            calls += 1
            if key not in seen:
                seen.add(key)
                yield key
            key = following

    def windows(self, take=False):
        """(keys, values, count): joined bytes of a few thousand entries at a time;
        ``take``: removed from the map as well.

        Batch commands since 5.6; else one by one.  The buffers are overwritten by the next step.
        """
        done = False
        if self.kernel.facts.get(("map_batch", self.type, take), True):
            for window in self._batches(take):
                if window is None:
                    break
                done = True
                yield window
            else:
                return
        if not done:
            self.kernel.facts[("map_batch", self.type, take)] = False
        for window in self._singles(take):
            yield window

    def _singles(self, take):
        read = self.lookup_and_delete if take else self.lookup
        keys, values = [], []
        for key in self.keys():
            value = read(key)
            if value is not None:
                keys.append(key)
                values.append(value)
                if len(keys) == 512:
                    yield b"".join(keys), b"".join(values), len(keys)
                    keys, values = [], []
        if keys:
            yield b"".join(keys), b"".join(values), len(keys)

    def _batches(self, take):
        """As windows(); yields None once where the batch command cannot go on (nothing was handed out at first)."""
        command = _u.BPF_MAP_LOOKUP_AND_DELETE_BATCH if take else _u.BPF_MAP_LOOKUP_BATCH
        size = max(1, min(_MAX_BATCH, _RESULT // max(1, self.key_size + self.value_size), max(self.max_entries, 16)))
        # Position between calls: a u32 for hash maps, a key for the others (uobatch in kernel/bpf/syscall.c).
        position, following = bytearray(max(8, self.key_size)), bytearray(max(8, self.key_size))
        started, stuck, keys, attr = False, 0, None, None
        while True:
            if keys is None:
                keys, values = bytearray(size * self.key_size), bytearray(size * self.value_size)
                attr = Attr(command, {"batch.map_fd": self.fd, "batch.in_batch": position if started else 0,
                                      "batch.out_batch": following, "batch.keys": keys, "batch.values": values})
                attr.size = _u.BPF_ATTR["batch.flags"][0] + 8
            attr.set("batch.count", size)
            try:
                self.kernel.run(attr)
                failure = 0
            except KernelError as error:
                failure = error.errno
                if failure == errno.ENOSPC:     # one bucket of the hash holds more than we asked for
                    size, keys, stuck = size * 2, None, stuck + 1
                    if stuck > 24:
                        raise
                    continue
                if failure in _NO_BATCH and not started:
                    yield None
                    return
                if failure not in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    raise
            count = min(attr.get("batch.count"), size)
            if failure in (errno.EINTR, errno.EAGAIN) and not count:
                stuck += 1      # entries vanish as fast as they are looked up (generic_map_lookup_batch gives up)
                if stuck > 16:
                    yield None
                    return
                continue
            stuck = 0
            position[:] = following
            if not started:
                started = True
                attr.set("batch.in_batch", position)
            if count:
                yield keys, values, count
            if failure == errno.ENOENT:
                return

    def items(self, take=False):
        """Stream of (key bytes, value bytes)."""
        key_size, value_size = self.key_size, self.value_size
        return chain.from_iterable(zip(split(keys, key_size, count), split(values, value_size, count))
                                   for keys, values, count in self.windows(take))

    def update_many(self, keys, values, flags=0):
        """Store a list of keys and a list of values: one command since 5.6, else one each."""
        self._many(_u.BPF_MAP_UPDATE_BATCH, keys, values, flags)

    def delete_many(self, keys):
        """Remove a list of keys; those that are not there do not matter.  Number of keys removed."""
        return self._many(_u.BPF_MAP_DELETE_BATCH, keys, None, 0)

    def _many(self, command, keys, values, flags):
        fact = ("map_batch", self.type, command)
        at, changed = 0, 0
        while at < len(keys) and self.kernel.facts.get(fact, True):
            part = keys[at:at + _MAX_BATCH]
            fields = {"batch.map_fd": self.fd, "batch.keys": bytearray().join(part), "batch.elem_flags": flags}
            if values is not None:
                fields["batch.values"] = bytearray().join(values[at:at + _MAX_BATCH])
            attr = Attr(command, fields)
            attr.set("batch.count", len(part))
            attr.size = _u.BPF_ATTR["batch.flags"][0] + 8
            try:
                self.kernel.run(attr)
                at, changed = at + len(part), changed + len(part)
            except KernelError as error:
                if error.errno in _NO_BATCH and not at:
                    if error.errno != errno.EINVAL or not flags:
                        self.kernel.facts[fact] = False
                    break
                done = min(attr.get("batch.count"), len(part))   # elements dealt with before the one that failed
                if error.errno == errno.EFAULT or done == len(part):
                    raise
                at, changed = at + done, changed + done
                changed += self._one_of_many(keys, values, flags, at)
                at += 1
        while at < len(keys):
            changed += self._one_of_many(keys, values, flags, at)
            at += 1
        return changed

    def _one_of_many(self, keys, values, flags, at):
        if values is None:
            return int(self.delete(keys[at]))
        self.update(keys[at], values[at], flags)
        return 1
