"""Live maps: one class per kind, each a dict-like view in Python values with a raw view (``.raw``, bytes) beside it.

What a kind answers to which command: kernel/bpf/syscall.c (bpf_map_copy_value, bpf_map_update_value) and
Documentation/bpf/map_*.rst.
"""
from __future__ import absolute_import

import errno
import gc
import struct
from itertools import chain

from .._py23 import iteritems, range
from ..errors import InputError, KernelError, NotFoundError
from ..uapi import bpf as _u
from . import pinning
from .map_codec import BytesCodec, IntCodec, PerCpuCodec, codec_for
from .map_raw import PER_CPU, RawMap, split, value_bytes

__all__ = ["Map", "KINDS", "MissingKey"]


class MissingKey(NotFoundError, KeyError):
    """No such key in the map."""


_ABSENT = object()
_CHUNK = 256


class Map(object):
    """A live map that owns ``fd``.
    ``btf`` with the type ids decodes keys and values; without: ints of 1, 2, 4 or 8 bytes, else bytes.

    name type key_size value_size max_entries flags    as the kernel has them        spec    the MapSpec or None
    """

    def __init__(self, kernel, fd, name, map_type, key_size, value_size, max_entries, flags=0, btf=None, key_type_id=0,
                 value_type_id=0, spec=None):
        self.kernel, self.fd, self.name, self.type = kernel, fd, name, map_type
        self.key_size, self.value_size, self.max_entries, self.flags = key_size, value_size, max_entries, flags
        self.btf, self.key_type_id, self.value_type_id, self.spec = btf, key_type_id, value_type_id, spec
        self.pinned = None       # path, once pinned
        self.reused = False      # it was there already, under its pin
        self._memory = None
        self.raw = RawMap(kernel, fd, map_type, key_size, value_bytes(kernel, map_type, value_size), max_entries)

    def __getattr__(self, name):
        # Codecs are made when first used: a tool that only polls a ring never loads the BTF decoder.
        if name == "key_codec":
            self.key_codec = made = self._key_codec()
        elif name == "value_codec":
            self.value_codec = made = self._value_codec()
        else:
            raise AttributeError("%s has no %s" % (type(self).__name__, name))
        return made

    def _one(self, size, type_id, what):
        btf = self.btf() if callable(self.btf) and type_id else self.btf
        return codec_for(size, btf, type_id, "%s of map `%s`" % (what, self.name))

    def _key_codec(self):
        return self._one(self.key_size, self.key_type_id, "key")

    def _value_codec(self):
        one = self._one(self.value_size, self.value_type_id, "value")
        return PerCpuCodec(one, self.kernel.possible_cpus()) if self.type in PER_CPU else one

    def __repr__(self):
        return "<%s `%s` fd %s>" % (type(self).__name__, self.name, self.fd)

    # -- one element -------------------------------------------------------------------------------------------------
    def _refused(self, error, verb):
        kind = _u.MAP_TYPE_NAMES.get(self.type, self.type)
        hint = {errno.E2BIG: "the map is full or the key is outside of it (max_entries is %d)" % self.max_entries,
                errno.EPERM: "the map is frozen or read-only for user space, or the key type needs another capability",
                errno.EOPNOTSUPP: "maps of type %s do not offer this" % kind, 524:
                "maps of type %s do not offer this" % kind,
                errno.ENOMEM: "the kernel has no memory for another entry"}.get(error.errno)
        if error.errno == errno.EINVAL and self.kernel.facts is not None:
            hint = "maps of type %s may not offer this, or the flags do not fit" % kind
        return KernelError("%s map `%s`: %s" % (verb, self.name, error.what),
                           error.call, error.errno, cause=error, hint=hint)

    def get(self, key, default=None, locked=False):
        """Value of ``key`` or ``default``.  ``locked``: under the bpf_spin_lock in the value (BPF_F_LOCK, 5.1)."""
        try:
            data = self.raw.lookup(self.key_codec.encode(key), _u.BPF_F_LOCK if locked else 0)
        except KernelError as error:
            raise self._refused(error, "read")
        return default if data is None else self.value_codec.decode(data)

    def __getitem__(self, key):
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise MissingKey("key", repr(key), "map `%s`" % self.name)
        return value

    def put(self, key, value, flags=_u.BPF_ANY, locked=False):
        """Store.  ``flags``: BPF_ANY, BPF_NOEXIST, BPF_EXIST.  False when BPF_NOEXIST or BPF_EXIST said no."""
        try:
            self.raw.update(self.key_codec.encode(key), self.value_codec.encode(value),
                            flags | (_u.BPF_F_LOCK if locked else 0))
        except KernelError as error:
            if (flags, error.errno) in ((_u.BPF_NOEXIST, errno.EEXIST), (_u.BPF_EXIST, errno.ENOENT)):
                return False
            raise self._refused(error, "write")
        return True

    def __setitem__(self, key, value):
        self.put(key, value)

    def discard(self, key):
        """Remove ``key``; True when it was there."""
        try:
            return self.raw.delete(self.key_codec.encode(key))
        except KernelError as error:
            raise self._refused(error, "delete from")

    def __delitem__(self, key):
        if not self.discard(key):
            raise MissingKey("key", repr(key), "map `%s`" % self.name)

    def pop(self, key, default=_ABSENT):
        """Remove ``key`` and return its value; in one step since 5.14 (hash maps)."""
        try:
            data = self.raw.lookup_and_delete(self.key_codec.encode(key))
        except KernelError as error:
            raise self._refused(error, "take from")
        if data is not None:
            return self.value_codec.decode(data)
        if default is _ABSENT:
            raise MissingKey("key", repr(key), "map `%s`" % self.name)
        return default

    def __contains__(self, key):
        return self.raw.lookup(self.key_codec.encode(key)) is not None

    # -- many elements -----------------------------------------------------------------------------------------------
    def items(self, take=False):
        """Stream of (key, value), a few thousand a system call.  Others may add and delete meanwhile.
        ``take``: removed as well."""
        return chain.from_iterable(self._chunks(take))

    def _chunks(self, take):
        # Small steps: records that die young cost the garbage collector nothing, and stay in the CPU's cache.
        key_stream, value_stream = self.key_codec.stream, self.value_codec.stream
        key_size, value_size = self.key_size, self.raw.value_size
        for keys, values, count in self.raw.windows(take):
            keys, values = memoryview(keys), memoryview(values)
            for at in range(0, count, _CHUNK):
                some = min(_CHUNK, count - at)
                yield zip(key_stream(keys[at * key_size:(at + some) * key_size].tobytes(), some),
                          value_stream(values[at * value_size:(at + some) * value_size].tobytes(), some))

    def drain(self):
        """Stream of (key, value) that are removed from the map: what came since the last time."""
        return self.items(True)

    def as_dict(self, raw_keys=False):
        """All of it as a dict (keys must be hashable: ints, text, bytes, records);
        ``raw_keys``: keys stay bytes, which is faster."""
        key_stream, value_stream, result = self.key_codec.stream, self.value_codec.stream, {}
        collecting = gc.isenabled()
        gc.disable()    # nothing made here is garbage: looking for it again and again would double the time
        try:
            for keys, values, count in self.raw.windows():
                result.update(zip(split(keys, self.key_size, count) if raw_keys else key_stream(
                    keys, count), value_stream(values, count)))
        finally:
            if collecting:
                gc.enable()
        return result

    def keys(self):
        """Stream of keys."""
        decode = self.key_codec.decode
        for key in self.raw.keys():
            yield decode(key)

    __iter__ = keys

    def values(self):
        """Stream of values."""
        for _, value in self.items():
            yield value

    def __len__(self):
        """Entries now (counted: a walk through the map)."""
        return sum(count for _, _, count in self.raw.windows())

    def __nonzero__(self):
        return True

    __bool__ = __nonzero__   # a Map is there, however many entries it has

    def get_many(self, keys):
        """[value or None] for each of ``keys``."""
        return [self.get(key) for key in keys]

    def update(self, entries, flags=_u.BPF_ANY):
        """Store a dict or an iterable of pairs; one system call for thousands since 5.6."""
        pairs = list(iteritems(entries)) if hasattr(entries, "keys") else list(entries)
        encode_key, encode_value = self.key_codec.encode, self.value_codec.encode
        try:
            self.raw.update_many([encode_key(key) for key, _ in pairs], [encode_value(value)
                                 for _, value in pairs], flags)
        except KernelError as error:
            raise self._refused(error, "write")

    def delete_many(self, keys):
        """Remove the keys of an iterable; how many were there."""
        try:
            return self.raw.delete_many([self.key_codec.encode(key) for key in keys])
        except KernelError as error:
            raise self._refused(error, "delete from")

    def clear(self):
        """Remove every entry."""
        try:
            self.raw.delete_many(list(self.raw.keys()))
        except KernelError as error:
            raise self._refused(error, "clear")

    # -- the map itself ------------------------------------------------------------------------------------------------
    def freeze(self):
        """No more changes from user space (5.2)."""
        try:
            self.kernel.bpf(_u.BPF_MAP_FREEZE, {"map_fd": self.fd})
        except KernelError as error:
            raise self._refused(error, "freeze")

    def pin(self, path):
        """Keep the map alive under ``path`` in a BPF file system."""
        self.pinned = pinning.pin(self.kernel, self.fd, path, "map `%s`" % self.name)

    def unpin(self):
        """Remove the pin made by pin() or create()."""
        if self.pinned:
            pinning.unpin(self.kernel, self.pinned)
            self.pinned = None

    def info(self):
        """dict of struct bpf_map_info, ``id`` and ``btf_id`` among it;
        {} where the kernel has no such call (before 4.13)."""
        try:
            answer = self.kernel.info(self.fd, _u.BPF_MAP_INFO, _u.BPF_MAP_INFO_SIZE)
        except KernelError as error:
            if error.errno == errno.EINVAL:
                return {}
            raise
        facts = {name: answer.get(name) for name in answer.layout if answer.layout[name][1] in (4, 8)}
        start, width = answer.layout["name"]
        facts["name"] = bytes(answer.buf[start:start + width]).partition(b"\0")[0].decode("ascii", "replace")
        return facts

    @property
    def memory(self):
        """The values as shared memory (an ``mmap``), None unless the map was made with BPF_F_MMAPABLE (5.5)."""
        if self._memory is None and self.flags & _u.BPF_F_MMAPABLE and self.fd is not None:
            page = self.kernel.page_size()
            size = (self.memory_bytes() + page - 1) // page * page
            try:
                self._memory = self.kernel.mmap(self.fd, size)
            except KernelError as error:
                if error.errno != errno.EPERM:     # frozen, or read-only for user space
                    raise
                self._memory = self.kernel.mmap(self.fd, size, writable=False)
        return self._memory

    def memory_bytes(self):
        """Bytes of shared memory of an array that can be mapped."""
        return (self.value_size + 7) // 8 * 8 * self.max_entries

    def fileno(self):
        return self.fd

    def close(self):
        """Close the fd and unmap; the kernel frees the map when nobody else holds it."""
        fd, self.fd = self.fd, None
        if fd is not None:
            if self._memory is not None:
                self._memory.close()
                self._memory = None
            self.raw.fd = -1
            self.raw._spare = []
            self.kernel.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


class HashMap(Map):
    """BPF_MAP_TYPE_HASH, LRU_HASH and the per-CPU forms of both."""


class ArrayMap(Map):
    """Keys are 0 .. max_entries - 1; entries cannot be deleted: clear() writes zeros."""

    def __len__(self):
        return self.max_entries

    def keys(self):
        return iter(range(self.max_entries))

    __iter__ = keys

    def __contains__(self, key):
        return 0 <= key < self.max_entries

    def clear(self):
        pack = struct.Struct("=I").pack
        zero = b"\0" * self.raw.value_size
        self.raw.update_many([pack(i) for i in range(self.max_entries)], [zero] * self.max_entries)


class LpmTrie(Map):
    """Keys are (prefix bits, bytes of the address) where BTF does not say otherwise (struct bpf_lpm_trie_key)."""

    def _key_codec(self):
        codec = Map._key_codec(self)
        return PrefixCodec(self.key_size) if isinstance(codec, (BytesCodec, IntCodec)) else codec


class PrefixCodec(BytesCodec):
    """(prefix bits, address bytes), or "10.0.0.0/8" and "2001:db8::/32" for keys of those sizes."""

    def decode(self, buffer, offset=0):
        return struct.unpack_from("=I", buffer, offset)[0], bytes(buffer[offset + 4:offset + self.size])

    def encode(self, value):
        if isinstance(value, str) and "/" in value and len(value) != self.size:
            import socket
            address, _, bits = value.partition("/")
            try:
                value = int(bits), socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
            except (ValueError, socket.error) as error:
                raise InputError("%s: `%s` is no address/prefix" % (self.what, value), cause=error)
        if isinstance(value, tuple) and len(value) == 2 and len(value[1]) == self.size - 4:
            return struct.pack("=I", value[0]) + bytes(value[1])
        return BytesCodec.encode(self, value)

    def stream(self, window, count):
        return [self.decode(window, at) for at in range(0, count * self.size, self.size)]


class StackTraceMap(Map):
    """``map[stack id]``: list of instruction addresses, innermost first.  With BPF_F_STACK_BUILD_ID: raw bytes."""

    def _value_codec(self):
        if self.flags & _u.BPF_F_STACK_BUILD_ID or self.value_size % 8:
            return BytesCodec(self.value_size)
        return AddressesCodec(self.value_size)

    def frames(self, stack_id, pid=None):
        """[symbols.Frame] of a stack, innermost first: of the kernel, with ``pid`` of that process (which must still be
        there).  [] for an error of bpf_get_stackid() (below 0, or the same unsigned) and for what is not there."""
        addresses = self.get(stack_id, []) if 0 <= stack_id < self.max_entries else []
        if pid is None:
            from ..kallsyms import kernel_symbols
            return kernel_symbols().stack(addresses)
        from ..symbols import UserSymbols
        with UserSymbols() as symbols:
            return symbols.resolve(pid, addresses)


class AddressesCodec(BytesCodec):
    """u64 addresses up to the first 0 (kernel/bpf/stackmap.c pads with zeros)."""

    def decode(self, buffer, offset=0):
        addresses = struct.unpack_from("=%dQ" % (self.size // 8), buffer, offset)
        return list(addresses[:addresses.index(0)] if 0 in addresses else addresses)

    def stream(self, window, count):
        return [self.decode(window, at) for at in range(0, count * self.size, self.size)]


class FdCodec(IntCodec):
    """Stores an fd: an int, or anything with ``fileno()`` or ``.fd`` (files, sockets, maps, programs)."""

    def encode(self, value):
        if hasattr(value, "fileno"):
            value = value.fileno()
        elif hasattr(value, "fd"):
            value = value.fd
        return IntCodec.encode(self, value)


class FdArray(ArrayMap):
    """Arrays of things named by fd: programs, perf events, cgroups, maps.
    Written by fd; read back as ids where the kernel tells."""

    def _value_codec(self):
        return FdCodec(self.value_size, "value of map `%s`" % self.name)

    def __contains__(self, key):
        return Map.__contains__(self, key)

    def __len__(self):
        return Map.__len__(self)

    def keys(self):
        for key, _ in self.items():
            yield key

    __iter__ = keys

    def items(self, take=False):
        """Stream of (index, id) of the entries that are set."""
        for index in range(self.max_entries):
            value = self.get(index)
            if value is not None:
                yield index, value

    def clear(self):
        for index in range(self.max_entries):
            self.discard(index)


class PerfEventArray(FdArray):
    """Perf events by CPU; lbc.bpf.events fills and reads it."""


class MapOfMapsHash(Map):
    """Values are written as a Map or fd and read as map ids (4.19?); ``maps.from_id`` opens one."""

    def _value_codec(self):
        return FdCodec(self.value_size, "value of map `%s`" % self.name)


class FdKeyed(Map):
    """Local storage: the key is an fd of the owner (pidfd, file, socket or cgroup) or an object with ``fileno()``.
    No iteration."""

    def _key_codec(self):
        return FdCodec(self.key_size, "key of map `%s`" % self.name)


class FdValued(Map):
    """Socket maps: sockets are stored by fd and read back as cookies (8-byte values) where the kernel tells."""

    def _value_codec(self):
        return FdCodec(self.value_size, "value of map `%s`" % self.name)


class Queue(Map):
    """BPF_MAP_TYPE_QUEUE and STACK (4.20): push, pop, peek; no keys."""

    def push(self, value, overwrite=False):
        """Add; ``overwrite``: the oldest entry goes when the map is full, else False is returned."""
        try:
            self.raw.update(b"", self.value_codec.encode(value), _u.BPF_EXIST if overwrite else _u.BPF_ANY)
        except KernelError as error:
            if error.errno == errno.E2BIG:
                return False
            raise self._refused(error, "push to")
        return True

    def pop(self, default=None):
        """Take the next value, ``default`` when empty."""
        data = self.raw.lookup_and_delete(b"")
        return default if data is None else self.value_codec.decode(data)

    def peek(self, default=None):
        """The next value, left in place."""
        data = self.raw.lookup(b"")
        return default if data is None else self.value_codec.decode(data)

    def drain(self):
        """Stream of values until it is empty, at most max_entries."""
        for _ in range(self.max_entries):
            data = self.raw.lookup_and_delete(b"")
            if data is None:
                return
            yield self.value_codec.decode(data)

    def clear(self):
        for _ in self.drain():
            pass

    def _no_keys(self, *args, **kwargs):
        raise InputError("map `%s` is a %s: it has no keys" % (self.name, _u.MAP_TYPE_NAMES[self.type]),
                         hint=self._HINT)

    _HINT = "use push(), pop(), peek(), drain()"
    get = put = discard = items = keys = values = __iter__ = __len__ = __contains__ = as_dict = update = _no_keys


class BloomFilter(Queue):
    """BPF_MAP_TYPE_BLOOM_FILTER (5.16): ``add(value)`` and ``value in map``."""

    _HINT = "use add(value) and `value in map`"

    def add(self, value):
        self.raw.update(b"", self.value_codec.encode(value))

    def __contains__(self, value):
        try:
            self.raw._call(_u.BPF_MAP_LOOKUP_ELEM, b"", 0, self.value_codec.encode(value))
            return True
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return False
            raise self._refused(error, "read")

    push = pop = peek = drain = clear = Queue._no_keys


class NoElements(Map):
    """Maps that hold no elements for user space: ring buffers (lbc.bpf.events reads them) and arenas (``.memory``)."""

    def _none(self, *args, **kwargs):
        raise InputError("map `%s` is a %s: it has no elements"
                         % (self.name, _u.MAP_TYPE_NAMES.get(self.type, self.type)),
                         hint="read ring buffers with lbc.bpf.events, arenas through .memory")

    get = put = discard = pop = items = keys = values = as_dict = update = clear = _none
    __iter__ = __len__ = __contains__ = _none


class Arena(NoElements):
    """BPF_MAP_TYPE_ARENA (6.9): max_entries pages of shared memory."""

    def memory_bytes(self):
        return self.max_entries * self.kernel.page_size()


def _kinds():
    table = {}
    for cls, names in (
            (HashMap, "HASH PERCPU_HASH LRU_HASH LRU_PERCPU_HASH RHASH DEVMAP_HASH "
             "CGROUP_STORAGE PERCPU_CGROUP_STORAGE"),
            (ArrayMap, "ARRAY PERCPU_ARRAY"), (LpmTrie, "LPM_TRIE"), (StackTraceMap, "STACK_TRACE"),
            (PerfEventArray, "PERF_EVENT_ARRAY"), (FdArray, "PROG_ARRAY CGROUP_ARRAY ARRAY_OF_MAPS"),
            (MapOfMapsHash, "HASH_OF_MAPS"), (FdKeyed, "SK_STORAGE INODE_STORAGE TASK_STORAGE CGRP_STORAGE"),
            (FdValued, "SOCKMAP SOCKHASH REUSEPORT_SOCKARRAY XSKMAP"), (Map, "DEVMAP CPUMAP STRUCT_OPS INSN_ARRAY"),
            (Queue, "QUEUE STACK"), (BloomFilter, "BLOOM_FILTER"), (NoElements, "RINGBUF USER_RINGBUF"), (Arena,
            "ARENA")):
        for name in names.split():
            table[getattr(_u, "BPF_MAP_TYPE_" + name)] = cls
    return table


KINDS = _kinds()
