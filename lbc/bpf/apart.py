"""Loading in a child process: what it takes in memory (reader, BTF, CO-RE, links: 5 MB) goes back whole when it ends.

    running = load_apart(make)            # make() -> (attached BpfObject, {buffer map: struct name}, any plain value)
    running.events("events", callback)
    running.poll(100)

The child hands its open file descriptors over a socket (unix(7), SCM_RIGHTS), so programs and links live on here; a
description of the maps and of the records' layout goes with them.  Errors come back as what they were.
Attachments that must be undone by hand (tracefs events, netlink) cannot be handed on: then, and for records that
``btf.flat`` has no layout of, the object is made in this process, as if this module did not exist.
"""
from __future__ import absolute_import

import gc
import marshal
import os
import struct

from .. import errors
from .._native import backend
from ..uapi import arch
from ..uapi import calls as _u
from .syscalls import kernel

__all__ = ["load_apart", "Running", "MapShell"]

AF_UNIX, SOCK_SEQPACKET, SOL_SOCKET, SCM_RIGHTS = 1, 5, 1, 1   # include/linux/socket.h, include/linux/net.h
_SOCK_CLOEXEC, _MSG_CMSG_CLOEXEC = 0o2000000, 0x40000000
_MOST_FDS = 250         # SCM_MAX_FD is 253, include/net/scm.h
_MOST_BYTES = 1 << 17
_HEADER = struct.Struct("=QiI")     # struct cmsghdr: length, level, type


class MapShell(object):
    """What a buffer needs of a map that another process made: its fd and shape, raw bytes in and out."""

    def __init__(self, name, fd, type, key_size, value_size, max_entries, flags):
        self.name, self.fd, self.type, self.key_size, self.value_size = name, fd, type, key_size, value_size
        self.max_entries, self.flags = max_entries, flags

    def lookup(self, key):
        """Bytes of the value.  KernelError (ENOENT)."""
        value = bytearray(self.value_size)
        kernel.bpf(_u.BPF_MAP_LOOKUP_ELEM, {"map_fd": self.fd, "key": key, "value": value})
        return bytes(value)

    def put(self, index, value):
        """Entry of an array of fds."""
        kernel.bpf(_u.BPF_MAP_UPDATE_ELEM, {"map_fd": self.fd, "key": struct.pack("=I", index),
                                            "value": struct.pack("=I", value)})

    def discard(self, index):
        """Remove an entry, if it is there."""
        try:
            kernel.bpf(_u.BPF_MAP_DELETE_ELEM, {"map_fd": self.fd, "key": struct.pack("=I", index)})
        except errors.KernelError:
            pass


class Running(object):
    """Programs at work: ``maps`` {name: MapShell}, ``extra`` as make() returned it; events as BpfObject has them."""

    def __init__(self, fds, maps, layouts, extra):
        self._fds, self.maps, self._layouts, self.extra = fds, maps, layouts, extra
        self._buffers, self._poller = [], None

    def events(self, name, callback, lost=None, **settings):
        """Call ``callback(cpu, record)`` for the records of perf or ring buffer ``name``; the buffer."""
        from . import events
        from ..btf.flat import decoder
        table = self.maps[name]
        settings["decode"] = decoder(self._layouts[name])
        if table.type == _u.BPF_MAP_TYPE_RINGBUF:
            made = events.RingBuffer(kernel, table, callback, **settings)
        else:
            made = events.PerfBuffer(kernel, table, callback, lost=lost, **settings)
        self._buffers.append(made)
        if self._poller is None:
            self._poller = events.Poller(kernel)
        return self._poller.add(made)

    def poll(self, timeout_ms=-1):
        """As BpfObject.poll."""
        return self._poller.poll(timeout_ms)

    def close(self):
        """Detach and close everything (idempotent)."""
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.close()
        while self._buffers:
            self._buffers.pop().close()
        while self._fds:
            kernel.close(self._fds.pop())

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


class _InProcess(object):
    """The same face on an object of this process."""

    def __init__(self, made):
        self.object, self._types, self.extra = made
        self.poll, self.close = self.object.poll, self.object.close
        self.maps = {name: MapShell(name, table.fd, table.type, table.key_size, table.value_size, table.max_entries,
                                    table.flags) for name, table in self.object.maps.items()}

    def events(self, name, callback, lost=None, **settings):
        return self.object.events(name, callback, lost, type=self._types[name], **settings)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


def load_apart(make):
    """Running of ``make()``, which runs in a child process.  Raises what it raises.  Single-threaded callers only."""
    pair = _socketpair()
    if pair is None:
        return _InProcess(make())
    ours, theirs = pair
    child = os.fork()
    if not child:
        _in_child(make, theirs)
    fds = []
    try:
        os.close(theirs)
        answer, fds = _receive(ours)
    except BaseException:
        os.kill(child, 9)
        raise
    finally:
        os.close(ours)
        os.waitpid(child, 0)
    if not answer:
        raise errors.LbcError("the loading process ended without an answer", hint="LBC_APART=0 loads in one process")
    what, rest = marshal.loads(answer)
    if what == "error":
        raise _error(*rest)
    if what == "stay":
        return _InProcess(make())
    numbers, shapes, layouts, extra = rest
    where = dict(zip(numbers, fds))
    maps = {shape[0]: MapShell(shape[0], where[shape[1]], *shape[2:]) for shape in shapes}
    return Running(fds, maps, layouts, extra)


def _in_child(make, sock):
    """Make, describe, send, and end without any of the parent's clean-up running."""
    status = 1
    gc.disable()    # it ends soon, and all of its memory with it
    try:
        try:
            before = _open_fds()
            answer, numbers = _describe(make(), before)
        except errors.LbcError as error:
            numbers = []
            answer = "error", (type(error).__name__, error.what, error.hint, getattr(error, "errno", None))
        try:
            _send(sock, marshal.dumps(answer), numbers)
            status = 0
        except OSError:     # the parent was killed meanwhile: nobody to tell, and all goes with our fds
            pass
    except KeyboardInterrupt:
        pass
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(status)


def _describe(made, before):
    """(answer, fds to send)."""
    obj, types, extra = made
    from ..btf.flat import layout
    from ..uapi.btf import BTF_KIND_STRUCT
    from .. import residue
    layouts = {}
    for name, struct_name in types.items():
        found = obj.spec.btf.find_one(struct_name, BTF_KIND_STRUCT)
        layouts[name] = layout(obj.spec.btf, found) if found else None
    numbers = sorted(_open_fds() - before)
    if residue.has_leftovers() or None in layouts.values() or len(numbers) > _MOST_FDS:
        obj.close()
        return ("stay", None), []
    shapes = [(name, table.fd, table.type, table.key_size, table.value_size, table.max_entries, table.flags)
              for name, table in obj.maps.items()]
    return ("running", (numbers, shapes, layouts, extra)), numbers


def _error(name, what, hint, number):
    """The error of the child: its class and text, without running constructors that build the text anew."""
    cls = getattr(errors, name, errors.LbcError)
    error = cls.__new__(cls)
    errors.LbcError.__init__(error, what, hint=hint)
    if isinstance(error, errors.KernelError):
        error.call, error.errno = None, number
    return error


def _open_fds():
    folder = "/proc/self/fd"
    return set(int(name) for name in os.listdir(folder) if os.path.lexists("%s/%s" % (folder, name)))


# -- file descriptors over a socket: socket.sendmsg is not in 2.7, and importing socket takes 9 ms -------------------

def _socketpair():
    if os.environ.get("LBC_APART") == "0":
        return None
    pair = bytearray(8)
    try:
        backend.syscall(arch.current().nr_socketpair, AF_UNIX, SOCK_SEQPACKET | _SOCK_CLOEXEC, 0,
                        backend.address_of(pair))
    except OSError:
        return None  # a seccomp filter or the like: then without
    return struct.unpack("=ii", bytes(pair))


def _message(data, control):
    """struct msghdr (include/linux/socket.h) and what must live as long as it."""
    vector = bytearray(struct.pack("=QQ", backend.address_of(data), len(data)))
    header = bytearray(struct.pack("=QIIQQQQI4x", 0, 0, 0, backend.address_of(vector), 1,
                                   backend.address_of(control) if control else 0, len(control), 0))
    return header, (vector, data, control)


def _send(sock, data, fds):
    control = bytearray()
    if fds:
        body = struct.pack("=%di" % len(fds), *fds)
        header = _HEADER.pack(_HEADER.size + len(body), SOL_SOCKET, SCM_RIGHTS)
        control = bytearray(header + body + b"\0" * (-len(body) % 8))
    header, _alive = _message(bytearray(data), control)
    backend.syscall(arch.current().nr_sendmsg, sock, backend.address_of(header), 0)


def _receive(sock):
    """(bytes, fds); (b"", []) when the other side is gone."""
    data, control = bytearray(_MOST_BYTES), bytearray(_HEADER.size + 4 * 256)
    header, _alive = _message(data, control)
    while True:
        try:
            size = backend.syscall(arch.current().nr_recvmsg, sock, backend.address_of(header), _MSG_CMSG_CLOEXEC)
            break
        except OSError as error:
            if error.errno != 4:  # EINTR: a signal whose handler returned
                raise
    length, level, kind = _HEADER.unpack_from(control, 0)
    fds = []
    if struct.unpack_from("=Q", header, 40)[0] and (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
        fds = list(struct.unpack_from("=%di" % ((length - _HEADER.size) // 4), control, _HEADER.size))
    return bytes(data[:size]), fds
