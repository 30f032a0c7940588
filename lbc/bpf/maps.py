"""MapSpec -> live Map: creation with what older kernels refuse left out, reuse of pinned maps, opening by pin or id.

Which fields may be dropped and when follows libbpf (bpf_object__create_map); the flags and sizes follow
Documentation/bpf/maps.rst and kernel/bpf/*.c.
"""
from __future__ import absolute_import

import errno
import os

from .._py23 import range, to_bytes
from ..errors import ENOTSUPP, InputError, KernelError, NotFoundError, NotSupported, PrivilegeError
from ..uapi import bpf as _u
from . import pinning
from .map_kinds import KINDS, Map, MissingKey

__all__ = [
    "create", "from_pin", "from_id", "from_fd", "KINDS", "Map", "MissingKey", "kernel_name", "ring_size",
    "explain_eperm"]

_NO_BTF = frozenset(getattr(_u, "BPF_MAP_TYPE_" + name) for name in (
    "PERF_EVENT_ARRAY CGROUP_ARRAY STACK_TRACE ARRAY_OF_MAPS HASH_OF_MAPS DEVMAP DEVMAP_HASH "
    "CPUMAP XSKMAP SOCKMAP SOCKHASH QUEUE STACK "
    "ARENA RINGBUF USER_RINGBUF PROG_ARRAY").split())     # kernels refuse BTF ids for most of these
_MAP_IN_MAP = (_u.BPF_MAP_TYPE_ARRAY_OF_MAPS, _u.BPF_MAP_TYPE_HASH_OF_MAPS)
_RINGS = (_u.BPF_MAP_TYPE_RINGBUF, _u.BPF_MAP_TYPE_USER_RINGBUF)
_NEEDS_NO_PREALLOC = (_u.BPF_MAP_TYPE_LPM_TRIE, _u.BPF_MAP_TYPE_SK_STORAGE, _u.BPF_MAP_TYPE_INODE_STORAGE,
                      _u.BPF_MAP_TYPE_TASK_STORAGE, _u.BPF_MAP_TYPE_CGRP_STORAGE)
_SINCE = {_u.BPF_MAP_TYPE_RINGBUF: "5.8", _u.BPF_MAP_TYPE_USER_RINGBUF: "6.1", _u.BPF_MAP_TYPE_BLOOM_FILTER: "5.16",
          _u.BPF_MAP_TYPE_ARENA: "6.9", _u.BPF_MAP_TYPE_CGRP_STORAGE: "6.2", _u.BPF_MAP_TYPE_TASK_STORAGE: "5.11",
          _u.BPF_MAP_TYPE_INODE_STORAGE: "5.10", _u.BPF_MAP_TYPE_STRUCT_OPS: "5.6", _u.BPF_MAP_TYPE_DEVMAP_HASH: "5.4",
          _u.BPF_MAP_TYPE_SK_STORAGE: "5.2", _u.BPF_MAP_TYPE_QUEUE: "4.20", _u.BPF_MAP_TYPE_STACK: "4.20",
          _u.BPF_MAP_TYPE_LPM_TRIE: "4.11", _u.BPF_MAP_TYPE_LRU_HASH: "4.10", _u.BPF_MAP_TYPE_LRU_PERCPU_HASH: "4.10",
          _u.BPF_MAP_TYPE_ARRAY_OF_MAPS: "4.12", _u.BPF_MAP_TYPE_HASH_OF_MAPS: "4.12", _u.BPF_MAP_TYPE_DEVMAP: "4.14",
          _u.BPF_MAP_TYPE_SOCKMAP: "4.14", _u.BPF_MAP_TYPE_CPUMAP: "4.15", _u.BPF_MAP_TYPE_XSKMAP: "4.18",
          _u.BPF_MAP_TYPE_SOCKHASH: "4.18", _u.BPF_MAP_TYPE_INSN_ARRAY: "6.19"}
_ALLOWED = frozenset(bytearray(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."))


def kernel_name(name):
    """At most 15 bytes of letters, digits, '_' and '.' (bpf_obj_name_cpy; '.' since 5.2)."""
    return bytes(bytearray(c if c in _ALLOWED else ord("_") for c in bytearray(to_bytes(name))[:15]))


def ring_size(size, page):
    """``size`` bytes rounded up to a power-of-two number of pages, as ring buffers want it;
    0 stays 0 (the kernel refuses it)."""
    if not size:
        return 0
    rounded = page
    while rounded < size:
        rounded *= 2
    return rounded if rounded < 1 << 32 else size


def _adjusted(kernel, spec):
    """Numbers that depend on this machine: entries of perf arrays and bytes of rings."""
    if spec.type == _u.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
        # libbpf fills in only max_entries; objects for bcc's loader also leave out the sizes
        return spec.copy(max_entries=spec.max_entries or kernel.possible_cpus())
    if spec.type in _RINGS:
        return spec.copy(max_entries=ring_size(spec.max_entries, kernel.page_size()))
    return spec


def create(kernel, spec, btf=None, btf_fd=0, inner_fd=None, pin_root=pinning.BPFFS, fields=None):
    """A new Map as ``spec`` (MapSpec) asks, or the pinned one of its name.  Owns its fd.

    btf        Btf of the object: decodes keys and values     btf_fd     the same loaded in the kernel,
    0 where it was refused
    inner_fd   fd of a map like spec.inner; made for the moment when absent
    fields     more members of bpf_attr (struct_ops: btf_vmlinux_value_type_id, value_type_btf_obj_fd)
    Raises PrivilegeError, NotSupported, InputError (pinned map of another shape), KernelError.
    """
    spec = _adjusted(kernel, spec)
    if spec.pin_by_name:
        path = os.path.join(pin_root, spec.name)
        found = _reuse(kernel, spec, path, btf)
        if found is not None:
            return found
    inner = None
    try:
        if spec.type in _MAP_IN_MAP and inner_fd is None:
            if spec.inner is None:
                raise InputError("map `%s` holds maps, but there is no template of them" % spec.name,
                                 hint="declare `__array(values, struct { ... })`, or give the inner map's shape")
            inner = create(kernel, spec.inner.copy(pin_by_name=False), btf, btf_fd)
            inner_fd = inner.fd
        fd, flags = _create_fd(kernel, spec, btf_fd, inner_fd, fields or {})
    finally:
        if inner is not None:
            inner.close()
    made = KINDS.get(spec.type, Map)(kernel, fd, spec.name, spec.type, spec.key_size, spec.value_size, spec.max_entries,
                                     flags, btf, spec.key_type_id, spec.value_type_id, spec)
    try:
        if spec.data is not None:
            _fill(made, spec)
        if spec.pin_by_name:
            made.pin(path)
    except Exception:
        made.close()
        raise
    return made


def _create_fd(kernel, spec, btf_fd, inner_fd, extra):
    """(fd, flags that the kernel took): everything asked for, then with less: no mmap, no BTF ids, no name."""
    base = {"map_type": spec.type, "key_size": spec.key_size, "value_size": spec.value_size,
            "max_entries": spec.max_entries, "map_extra": spec.extra, "map_ifindex": spec.ifindex,
            "inner_map_fd": inner_fd or 0}
    base.update(extra)
    flags = spec.flags
    if spec.numa_node is not None:
        base["numa_node"] = spec.numa_node
        flags |= _u.BPF_F_NUMA_NODE
    types = {}
    if btf_fd and (spec.key_type_id or spec.value_type_id) and spec.type not in _NO_BTF and spec.kind != "struct_ops":
        types = {"btf_fd": btf_fd, "btf_key_type_id": spec.key_type_id, "btf_value_type_id": spec.value_type_id}
    elif btf_fd and spec.kind == "struct_ops":
        base["btf_fd"] = btf_fd
    name = kernel_name(spec.name) if kernel.facts.get("map_name", True) else b""
    attempts = []
    for drop in (0, _u.BPF_F_MMAPABLE):   # without it global data is read and written by system calls (before 5.5)
        if drop and not (flags & drop and spec.data is not None):
            continue
        if not drop and flags & _u.BPF_F_MMAPABLE and spec.data is not None and not kernel.facts.get(
            "map_mmapable", True):
            continue
        for with_types in (types, {}) if types else ({},):
            attempts.append((flags & ~drop, name, with_types))
        if name:
            attempts.append((flags & ~drop, b"", {}))
    first = None
    for flags, name, types in attempts:
        members = dict(base, map_flags=flags, map_name=name, **types)
        try:
            fd = _with_memlock(kernel, members)
        except KernelError as error:
            first = first or error
            if error.errno in (errno.EPERM, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                break
            continue
        _learn(kernel, spec, name, flags)
        return fd, flags
    raise _refused(kernel, spec, first)


def _learn(kernel, spec, name, flags):
    """Remember what only less of succeeded: the next map does not ask again."""
    if not name and b"." not in kernel_name(spec.name) and kernel_name(spec.name):
        kernel.facts["map_name"] = False
    if spec.data is not None and spec.flags & ~flags & _u.BPF_F_MMAPABLE:
        kernel.facts["map_mmapable"] = False


def _with_memlock(kernel, members):
    """BPF_MAP_CREATE; kernels before 5.11 answer EPERM where RLIMIT_MEMLOCK is too low: lift it once."""
    try:
        return kernel.bpf(_u.BPF_MAP_CREATE, members)
    except KernelError as error:
        if error.errno != errno.EPERM or kernel.facts.get("memlock_raised"):
            raise
        kernel.facts["memlock_raised"] = True
        if not kernel.raise_memlock():
            raise
    return kernel.bpf(_u.BPF_MAP_CREATE, members)


def explain_eperm(kernel):
    """(why, need): what stands between this process and bpf(), found by looking."""
    def word(path):
        try:
            return kernel.read(path).decode("ascii", "replace").strip()
        except KernelError:
            return ""
    caps = 0
    for line in word("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            caps = int(line.split()[1], 16)
    if not caps & (1 << 39 | 1 << 21):     # CAP_BPF, CAP_SYS_ADMIN of linux/capability.h
        why = "this process has neither CAP_BPF nor CAP_SYS_ADMIN"
        if word("/proc/sys/kernel/unprivileged_bpf_disabled") in ("1", "2"):
            why += ", and kernel.unprivileged_bpf_disabled is set"
        return why, "root, or CAP_BPF (CAP_SYS_ADMIN before 5.8)"
    lockdown = word("/sys/kernel/security/lockdown")
    if "[confidentiality]" in lockdown:
        return "the kernel is locked down (confidentiality)", "a kernel without lockdown=confidentiality"
    try:
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if soft != resource.RLIM_INFINITY:
            return ("RLIMIT_MEMLOCK is %d bytes (hard limit %d), which kernels before 5.11 "
                    "charge maps to; or a container or security module "
                    "forbids bpf()" % (soft, hard)), "ulimit -l unlimited, CAP_SYS_RESOURCE"
    except (ImportError, ValueError):
        pass
    return "a container, seccomp filter or security module forbids bpf()", "a process outside of the container"


def _refused(kernel, spec, error):
    """The error for a map that could not be made: which map, of which shape, why."""
    kind = _u.MAP_TYPE_NAMES.get(spec.type, "type %d" % spec.type)
    what = "create map `%s` (%s, key %d, value %d, %d entries, flags %#x): %s" % (
        spec.name, kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags, error.what)
    if error.errno in (errno.EPERM, errno.EACCES):
        why, need = explain_eperm(kernel)
        return PrivilegeError("%s: %s" % (what, why), need, error.call, error.errno, cause=error, hint="needs " + need)
    if error.errno in (errno.EINVAL, ENOTSUPP, errno.EOPNOTSUPP) and not have_type(kernel, spec.type):
        return NotSupported("maps of type %s, which `%s` is" % (kind, spec.name),
                            _SINCE.get(spec.type), error.errno, error.call, cause=error)
    hint = None
    if error.errno == errno.E2BIG:
        hint = "keys, values or the number of entries are beyond what the kernel takes"
    elif error.errno == errno.ENOMEM:
        hint = "the kernel (or this memory cgroup) has no memory for it: fewer entries, or BPF_F_NO_PREALLOC"
    elif error.errno == errno.EINVAL and spec.type in _NEEDS_NO_PREALLOC and not spec.flags & _u.BPF_F_NO_PREALLOC:
        hint = "maps of type %s must have the flag BPF_F_NO_PREALLOC" % kind
    elif error.errno == errno.EINVAL and not spec.max_entries and spec.type not in _NEEDS_NO_PREALLOC:
        hint = "max_entries is 0"
    elif error.errno == errno.EINVAL and spec.flags & ~_u.BPF_F_NUMA_NODE:
        hint = "a flag of %#x may be newer than the kernel" % spec.flags
    return KernelError(what, error.call, error.errno, cause=error, hint=hint)


# {type: (key_size, value_size, max_entries, flags)} that every kernel with the type accepts; others: (4, 4, 1, 0)
_SMALLEST = {_u.BPF_MAP_TYPE_STACK_TRACE: (4, 8, 1, 0), _u.BPF_MAP_TYPE_LPM_TRIE: (8, 4, 1, _u.BPF_F_NO_PREALLOC),
             _u.BPF_MAP_TYPE_QUEUE: (0, 4, 1, 0), _u.BPF_MAP_TYPE_STACK: (0, 4, 1, 0), _u.BPF_MAP_TYPE_BLOOM_FILTER:
             (0, 4, 1, 0),
             _u.BPF_MAP_TYPE_ARENA: (0, 0, 1, _u.BPF_F_MMAPABLE),
             _u.BPF_MAP_TYPE_RINGBUF: (0, 0, 4096, 0), _u.BPF_MAP_TYPE_USER_RINGBUF: (0, 0, 4096, 0)}
_HARD_TO_TRY = _MAP_IN_MAP + _NEEDS_NO_PREALLOC + (
    _u.BPF_MAP_TYPE_STRUCT_OPS, _u.BPF_MAP_TYPE_CGROUP_STORAGE,
    _u.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
    _u.BPF_MAP_TYPE_RHASH, _u.BPF_MAP_TYPE_INSN_ARRAY)


def have_type(kernel, map_type):
    """Whether the kernel has maps of this type, found by making a tiny one.
    True also where that cannot be told apart."""
    if map_type not in KINDS or map_type in _HARD_TO_TRY:
        return _u.BPF_MAP_TYPE_RHASH >= map_type and map_type in KINDS
    key, value, entries, flags = _SMALLEST.get(map_type, (4, 4, 1, 0))
    if map_type in _RINGS:
        entries = kernel.page_size()
    try:
        kernel.close(kernel.bpf(_u.BPF_MAP_CREATE, {"map_type": map_type, "key_size": key, "value_size": value,
                                                    "max_entries": entries, "map_flags": flags}))
        return True
    except KernelError as error:
        return error.errno != errno.EINVAL


# -- global data ---------------------------------------------------------

def _fill(made, spec):
    """First content of a global data map; constants are frozen so that the verifier may rely on them (5.2)."""
    data = bytes(spec.data)
    if len(data) > spec.value_size:
        raise InputError("map `%s`: %d bytes of content, room for %d" % (spec.name, len(data), spec.value_size))
    if data.strip(b"\0"):
        made.raw.update(b"\0\0\0\0", data + b"\0" * (spec.value_size - len(data)))
    if spec.kind in ("rodata", "kconfig"):
        try:
            made.kernel.bpf(_u.BPF_MAP_FREEZE, {"map_fd": made.fd})
        except KernelError as error:
            if error.errno not in (errno.EINVAL, ENOTSUPP,
                                   errno.EOPNOTSUPP):   # before 5.2: stays writable, nothing else is lost
                raise


# -- maps that exist -----------------------------------------------------

_COMPARED = ("type", "key_size", "value_size", "max_entries", "flags", "extra")


def _shape(kernel, fd):
    """{type, key_size, value_size, max_entries, flags, extra, name, id, btf_id, btf_key_type_id,
    btf_value_type_id} of a map's fd."""
    try:
        answer = kernel.info(fd, _u.BPF_MAP_INFO, _u.BPF_MAP_INFO_SIZE)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        return _shape_of_fdinfo(kernel, fd)      # before 4.13
    facts = {name: answer.get(name) for name in ("type", "id", "key_size", "value_size", "max_entries", "btf_id",
                                                 "btf_key_type_id", "btf_value_type_id")}
    facts["flags"], facts["extra"] = answer.get("map_flags"), answer.get("map_extra")
    start, width = answer.layout["name"]
    facts["name"] = bytes(answer.buf[start:start + width]).partition(b"\0")[0].decode("ascii", "replace")
    return facts


def _shape_of_fdinfo(kernel, fd):
    facts = dict.fromkeys(_COMPARED + ("id", "btf_id", "btf_key_type_id", "btf_value_type_id"), 0)
    names = {"map_type": "type", "key_size": "key_size", "value_size": "value_size", "max_entries": "max_entries",
             "map_flags": "flags"}
    for line in kernel.read("/proc/self/fdinfo/%d" % fd).decode("ascii", "replace").splitlines():
        word, _, value = line.partition(":")
        if word in names:
            facts[names[word]] = int(value.strip(), 0)
    facts["name"] = ""
    return facts


def _reuse(kernel, spec, path, btf):
    """The Map pinned at ``path``, None where nothing is.  InputError when it has another shape."""
    try:
        fd = pinning.get(kernel, path)
    except NotFoundError:
        return None
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES) and os.path.exists(path):
            raise
        return None    # no bpffs there yet: pin() says so, or mounts it
    try:
        facts = _shape(kernel, fd)
        if spec.type in (_u.BPF_MAP_TYPE_DEVMAP, _u.BPF_MAP_TYPE_DEVMAP_HASH):
            facts["flags"] &= ~_u.BPF_F_RDONLY_PROG      # the kernel sets it by itself (0cdbb4b09a06)
        wanted = {name: getattr(spec, name) for name in _COMPARED}
        if spec.numa_node is not None:
            wanted["flags"] |= _u.BPF_F_NUMA_NODE
        wrong = [name for name in _COMPARED if facts[name] != wanted[name]]
        if wrong:
            raise InputError("map `%s`: the one pinned at %s is another: %s" % (spec.name, path, ", ".join(
                "%s is %s, not %s" % (name, facts[name], wanted[name]) for name in wrong)),
                hint="remove the pin (rm %s) or rename the map" % path)
    except Exception:
        kernel.close(fd)
        raise
    found = KINDS.get(spec.type, Map)(kernel, fd, spec.name, spec.type, spec.key_size, spec.value_size,
                                      spec.max_entries, spec.flags, btf, spec.key_type_id, spec.value_type_id, spec)
    found.pinned, found.reused = path, True
    return found


def from_fd(kernel, fd, btf=None, name=None):
    """A Map of an fd that now belongs to it; keys and values decode by the BTF that the kernel keeps with the map."""
    facts = _shape(kernel, fd)
    if btf is None and facts["btf_id"]:
        btf = _Loaded(kernel, facts["btf_id"])
    return KINDS.get(facts["type"], Map)(kernel, fd, name or facts["name"], facts["type"], facts["key_size"],
                                         facts["value_size"], facts["max_entries"], facts["flags"], btf,
                                         facts["btf_key_type_id"], facts["btf_value_type_id"])


def _open(kernel, fd, btf):
    try:
        return from_fd(kernel, fd, btf)
    except Exception:
        kernel.close(fd)
        raise


def from_pin(kernel, path, btf=None):
    """The Map pinned at ``path``.  Raises NotFoundError, PrivilegeError,
    KernelError (also when a program or link is pinned there)."""
    found = _open(kernel, pinning.get(kernel, path), btf)
    found.pinned = path
    return found


def from_id(kernel, map_id, btf=None):
    """The Map with this id (4.13; CAP_SYS_ADMIN).  Raises NotFoundError, PrivilegeError, KernelError."""
    try:
        fd = kernel.bpf(_u.BPF_MAP_GET_FD_BY_ID, {"map_id": map_id})
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError("map id", str(map_id))
        if error.errno == errno.EPERM:
            raise PrivilegeError("open map id %d: %s" % (map_id, error.what), "CAP_SYS_ADMIN", error.call, error.errno,
                                 cause=error)
        raise
    return _open(kernel, fd, btf)


def ids(kernel):
    """List of the ids of every map in the kernel (4.13)."""
    from .syscalls import Attr
    found, attr = [], Attr(_u.BPF_MAP_GET_NEXT_ID)
    attr.size = 12
    for _ in range(1 << 20):
        attr.set("start_id", found[-1] if found else 0)
        try:
            kernel.run(attr)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                break
            raise
        found.append(attr.get("next_id"))
    return found


class _Loaded(object):
    """The BTF that the kernel holds under an id, fetched when called."""

    def __init__(self, kernel, btf_id):
        self.kernel, self.btf_id, self.btf = kernel, btf_id, None

    def __call__(self):
        if self.btf is None:
            from ..btf.parse import Btf
            kernel = self.kernel
            try:
                fd = kernel.bpf(_u.BPF_BTF_GET_FD_BY_ID, {"btf_id": self.btf_id})
            except KernelError:
                return None     # gone or not allowed: values stay bytes
            try:
                size = kernel.info(fd, _u.BPF_BTF_INFO, _u.BPF_BTF_INFO_SIZE).get("btf_size")
                data = bytearray(size)
                from .syscalls import Attr
                answer = Attr(None, {"btf": data, "btf_size": size}, layout=_u.BPF_BTF_INFO, total=_u.BPF_BTF_INFO_SIZE)
                kernel.bpf(_u.BPF_OBJ_GET_INFO_BY_FD, {"info.bpf_fd": fd,
                           "info.info_len": _u.BPF_BTF_INFO_SIZE, "info.info": answer.buf})
            finally:
                kernel.close(fd)
            self.btf = Btf(bytes(data))
        return self.btf
