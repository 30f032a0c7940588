"""The kernel behind one seam: every question that ``lbc.bpf`` asks the kernel is a method call on a ``Kernel``.

``Kernel`` is the running one.  Tests put another in its place that answers as a given version would
(tests/oldkernel.py), so every fallback can be tried without booting a kernel that old.
Policy lives elsewhere: a method here is one system call, packed by the generated tables of ``lbc.uapi``, its OSError
translated to KernelError (errno kept) and nothing else.
"""
from __future__ import absolute_import

import mmap
import os
import struct

from .. import host
from .._native import backend
from ..errors import KernelError, errno_text
from ..kernel_files import KernelFiles
from ..uapi import arch
from ..uapi.calls import BPF_ATTR, BPF_ATTR_SIZE, BPF_OBJ_GET_INFO_BY_FD

__all__ = ["Attr", "Kernel", "kernel", "command_name"]

_FORMATS = {1: struct.Struct("=B"), 2: struct.Struct("=H"), 4: struct.Struct("=I"), 8: struct.Struct("=Q")}
_MASKS = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}


class Attr(object):
    """One kernel structure with named members, by default ``union bpf_attr`` for ``cmd``.

    ``Attr(cmd, {"map_type": 1, "map_name": b"x"})``: an int fills its member; bytes or a bytearray fill a char array
    in place, or, in an 8-byte member, are pointed to (bytes are copied into memory that lives as long as the Attr).
    ``size``: bytes to hand to the kernel: up to the end of the last member that was set, so that an older kernel
    is never shown members it does not know (it would answer E2BIG).
    """

    __slots__ = ("cmd", "buf", "size", "fields", "layout", "_alive")

    def __init__(self, cmd, fields=None, layout=BPF_ATTR, total=BPF_ATTR_SIZE):
        self.cmd, self.layout = cmd, layout
        self.buf = bytearray(total)
        self.size = 0
        self.fields = {}
        self._alive = []
        for name in fields or ():
            self.set(name, fields[name])

    def set(self, name, value):
        """Set one member; 0 and None leave it zero and unsent."""
        offset, width = self.layout[name]
        self.fields[name] = value
        if isinstance(value, (bytes, bytearray)):
            if width != 8:
                if len(value) > width:
                    raise ValueError("%s: %d bytes, room for %d" % (name, len(value), width))
                self.buf[offset:offset + len(value)] = value
                self.size = max(self.size, offset + width)
                return
            if not isinstance(value, bytearray):
                value = bytearray(value or b"\0")
            self._alive.append(value)
            value = backend.address_of(value) if value else 0
        elif not value:
            value = 0
            if not self.size > offset:
                return
        _FORMATS[width].pack_into(self.buf, offset, value & _MASKS[width])
        if value:
            self.size = max(self.size, offset + width)

    def get(self, name):
        """The member as an unsigned int, as the kernel left it."""
        offset, width = self.layout[name]
        return _FORMATS[width].unpack_from(self.buf, offset)[0]

    def set_signed(self, name, value):
        """Set an int member for which negative values mean something."""
        self.set(name, value & _MASKS[self.layout[name][1]])


def command_name(cmd):
    """'BPF_MAP_CREATE' for 0 (looked up only for an error's text)."""
    from ..uapi import bpf as _uapi
    order = (
        "MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET "
        "PROG_ATTACH PROG_DETACH PROG_TEST_RUN PROG_GET_NEXT_ID MAP_GET_NEXT_ID PROG_GET_FD_BY_ID MAP_GET_FD_BY_ID "
        "OBJ_GET_INFO_BY_FD PROG_QUERY RAW_TRACEPOINT_OPEN BTF_LOAD BTF_GET_FD_BY_ID TASK_FD_QUERY "
        "MAP_LOOKUP_AND_DELETE_ELEM MAP_FREEZE BTF_GET_NEXT_ID MAP_LOOKUP_BATCH MAP_LOOKUP_AND_DELETE_BATCH "
        "MAP_UPDATE_BATCH MAP_DELETE_BATCH LINK_CREATE LINK_UPDATE LINK_GET_FD_BY_ID LINK_GET_NEXT_ID ENABLE_STATS "
        "ITER_CREATE LINK_DETACH PROG_BIND_MAP TOKEN_CREATE")
    for name in order.split():
        if getattr(_uapi, "BPF_" + name, None) == cmd:
            return "BPF_" + name
    return "bpf command %d" % cmd


class Kernel(KernelFiles):
    """The running kernel.  Stateless but for ``facts``, where lbc.bpf.features keeps conclusive answers."""

    def __init__(self):
        self.facts = {}
        self._arch = arch.current()

    # -- bpf(2) -------------------------------------------------------------------------------------------------
    def bpf(self, cmd, fields):
        """Result of one bpf() call (an fd or 0).  ``fields``: {member of bpf_attr: int or bytes}.  Raises
        KernelError."""
        return self.run(Attr(cmd, fields))

    def run(self, attr):
        """The same for an Attr that is kept: reused for many calls, or read back with ``attr.get(name)``."""
        try:
            return backend.syscall(self._arch.nr_bpf, attr.cmd, backend.address_of(attr.buf), attr.size or 8)
        except OSError as error:
            raise KernelError("%s: %s" % (command_name(attr.cmd), errno_text(error.errno)), command_name(attr.cmd),
                              error.errno,
                              cause=error)

    def info(self, fd, layout, total):
        """Attr of what BPF_OBJ_GET_INFO_BY_FD says of ``fd``; ``layout``/``total``: BPF_MAP_INFO, BPF_MAP_INFO_SIZE and
        so on."""
        answer = Attr(None, layout=layout, total=total)
        answer.size = total
        self.bpf(BPF_OBJ_GET_INFO_BY_FD, {"info.bpf_fd": fd, "info.info_len": total, "info.info": answer.buf})
        return answer

    # -- perf_event_open(2), ioctl(2) ---------------------------------------------------------------------------
    def perf_event_open(self, attr, pid=-1, cpu=-1, group_fd=-1, flags=0):
        """fd of a perf event (always close-on-exec).  ``attr``: bytearray of struct perf_event_attr, size set."""
        from ..uapi.calls import PERF_FLAG_FD_CLOEXEC
        return self._call("perf_event_open", self._arch.nr_perf_event_open, backend.address_of(attr), pid, cpu,
                          group_fd,
                          flags | PERF_FLAG_FD_CLOEXEC)

    def ioctl(self, fd, request, arg=0):
        """ioctl with an int or a pointer (bytearray) argument."""
        return self._call("ioctl", self._arch.nr_ioctl, fd, request, backend.address_of(arg)
                          if isinstance(arg, bytearray) else arg)

    def _call(self, name, nr, *args):
        try:
            return backend.syscall(nr, *args)
        except OSError as error:
            raise KernelError("%s: %s" % (name, errno_text(error.errno)), name, error.errno, cause=error)

    # -- netlink(7) --------------------------------------------------------------------------------
    def netlink(self, message):
        """All answers (bytes of nlmsghdr after nlmsghdr) to one rtnetlink request, up to its acknowledgement or the end
        of a dump."""
        import socket
        link = None
        try:
            link = socket.socket(16, socket.SOCK_RAW, 0)  # AF_NETLINK, NETLINK_ROUTE
            for option in (10, 11):  # SOL_NETLINK: NETLINK_CAP_ACK (4.3), NETLINK_EXT_ACK (4.12)
                try:
                    link.setsockopt(270, option, 1)
                except (OSError, IOError, socket.error):
                    pass
            link.send(message)
            answer = b""
            while True:
                part = link.recv(1 << 16)
                answer += part
                at = 0
                while at + 16 <= len(part):
                    size, kind = struct.unpack_from("=IH", part, at)
                    if kind in (2, 3) or size < 16:  # NLMSG_ERROR (also the acknowledgement), NLMSG_DONE
                        return answer
                    at += (size + 3) & ~3
        except (OSError, IOError, socket.error) as error:
            raise KernelError("netlink: %s" % errno_text(error.errno or 5), "netlink", error.errno, cause=error)
        finally:
            if link is not None:
                link.close()

    def close(self, fd):
        """Close an fd; errors do not matter, it is gone either way."""
        try:
            os.close(fd)
        except OSError:
            pass

    # -- memory ----------------------------------------------------------------------------------------------------
    def mmap(self, fd, size, writable=True, offset=0):
        """A shared mapping (an ``mmap`` object) of ``size`` bytes.  Raises KernelError."""
        try:
            return mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0),
                             offset=offset)
        except (OSError, ValueError, mmap.error) as error:
            number = getattr(error, "errno", None) or 22
            raise KernelError("mmap: %s" % errno_text(number), "mmap", number, cause=error)

    def raise_memlock(self):
        """Lift RLIMIT_MEMLOCK (kernels before 5.11 charge maps and programs to it).  True when it grew."""
        import resource
        old = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        if old[0] == resource.RLIM_INFINITY:
            return False
        for new in ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), (old[1], old[1])):
            try:
                resource.setrlimit(resource.RLIMIT_MEMLOCK, new)
                return resource.getrlimit(resource.RLIMIT_MEMLOCK) != old
            except (ValueError, OSError, resource.error):
                continue
        return False

    # -- facts -----------------------------------------------------------------------------------------------------
    def release(self):
        return host.release()

    def machine(self):
        return host.machine()

    def possible_cpus(self):
        return host.possible_cpus()

    def online_cpus(self):
        return host.online_cpus()

    def page_size(self):
        return host.page_size()


kernel = Kernel()
