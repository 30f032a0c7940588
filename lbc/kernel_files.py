"""Files of /sys, /proc and tracefs as the kernel wants them read and written; errors as KernelError."""
from __future__ import absolute_import

import os

from . import host
from ._native import backend
from .errors import KernelError, errno_text
from .uapi import arch

__all__ = ["KernelFiles"]


class KernelFiles(object):
    """The running kernel's files.  The seam at which tests put another kernel in its place."""

    def read(self, path):
        """Bytes of a file.  Raises KernelError."""
        try:
            return host.read_file(path)
        except (OSError, IOError) as error:
            raise _failed("read", path, error)

    def head(self, path, size):
        """The first bytes, ``size`` at the most, of a file that may be long.  Raises KernelError."""
        try:
            fd = os.open(path, os.O_RDONLY)
            try:
                return os.read(fd, size)
            finally:
                os.close(fd)
        except (OSError, IOError) as error:
            raise _failed("read", path, error)

    def write(self, path, data, append=False):
        """One write() of ``data``, as tracefs wants it.  Never with O_TRUNC: that deletes every probe of
        kprobe_events and every pid of set_event_pid, other people's too.  Raises KernelError."""
        try:
            fd = os.open(path, os.O_WRONLY | (os.O_APPEND if append else 0))
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        except (OSError, IOError) as error:
            raise _failed("write", path, error)

    def exists(self, path):
        return os.path.exists(path)

    def listdir(self, path):
        """Sorted names in a folder, [] where there is none."""
        try:
            return sorted(os.listdir(path))
        except OSError:
            return []

    def mkdir(self, path):
        """A new folder (tracefs: a new instance).  Raises KernelError."""
        try:
            os.mkdir(path)
        except OSError as error:
            raise _failed("mkdir", path, error)

    def rmdir(self, path):
        """Remove a folder (tracefs: an instance with all in it).  Raises KernelError."""
        try:
            os.rmdir(path)
        except OSError as error:
            raise _failed("rmdir", path, error)

    def mount(self, source, target, kind):
        """mount(2) of a file system without a device.  Raises KernelError."""
        buffers = [bytearray(text.encode() + b"\0") for text in (source, target, kind)]
        try:
            backend.syscall(arch.current().nr_mount, *([backend.address_of(b) for b in buffers] + [0, 0]))
        except OSError as error:
            raise _failed("mount", target, error)


def _failed(call, path, error):
    return KernelError("%s %s: %s" % (call, path, errno_text(error.errno)), call, error.errno, cause=error)
