"""Pins: names in a BPF file system that keep maps, programs and links alive (OBJ_PIN, OBJ_GET; kernel 4.4).

bpffs is mounted by whoever runs the machine.
Only when root asks for a pin under the usual place and nothing is mounted
there does lbc mount it, as bpftool does.
"""
from __future__ import absolute_import

import errno
import os

from .. import host
from .._py23 import to_bytes
from ..errors import InputError, KernelError, NotFoundError, PrivilegeError
from ..uapi import bpf as _u

__all__ = ["pin", "unpin", "get", "on_bpffs", "BPFFS"]

BPFFS = "/sys/fs/bpf"


def _mount_of(path):
    """(mount point, type) that holds ``path`` (made absolute; links of its folder resolved)."""
    folder, name = os.path.split(os.path.abspath(path))
    path = os.path.join(os.path.realpath(folder), name)
    best = ("/", "")
    for point, kind, _ in host.mounts():
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, kind)
    return best


def on_bpffs(path):
    """Whether ``path`` lies in a BPF file system."""
    return _mount_of(path)[1] == "bpf"


def mount_bpffs(kernel):
    """Mount bpffs at its usual place; True when it is there afterwards.  Needs root."""
    try:
        kernel.mount("bpf", BPFFS, "bpf")
        return True
    except KernelError:
        return False


def pin(kernel, fd, path, what="object"):
    """Pin ``fd`` at ``path``, making the folders between the mount and it; returns the path.
    Raises InputError, PrivilegeError, KernelError."""
    for last in (False, True):
        try:
            kernel.bpf(_u.BPF_OBJ_PIN, {"pathname": to_bytes(path) + b"\0", "bpf_fd": fd})
            return path
        except KernelError as error:
            failure = error
        if last:
            break
        try:
            there = on_bpffs(path)
            if not there and path.startswith(BPFFS + "/") and os.geteuid() == 0:
                there = mount_bpffs(kernel)
            if there and failure.errno == errno.ENOENT:
                os.makedirs(os.path.dirname(path), 0o700)
        except (OSError, IOError):
            pass
        if failure.errno not in (errno.ENOENT, errno.EPERM):
            break
    raise _explain(failure, path, "pin %s at %s" % (what, path))


def get(kernel, path, flags=0):
    """fd of what is pinned at ``path``.  Raises NotFoundError, PrivilegeError, KernelError.
    ``flags``: BPF_F_RDONLY (4.15)."""
    try:
        return kernel.bpf(_u.BPF_OBJ_GET, {"pathname": to_bytes(path) + b"\0", "file_flags": flags})
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError("pin", path)
        raise _explain(error, path, "open the pin %s" % path)


def unpin(kernel, path):
    """Remove a pin; the object lives on while something else holds it.  True when it was there."""
    try:
        os.unlink(path)
        return True
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise KernelError("remove the pin %s: %s" % (path, os.strerror(error.errno)), "unlink", error.errno,
                          cause=error)


def _explain(error, path, doing):
    if error.errno == errno.EEXIST:
        return InputError("%s: something is pinned there already" %
                          doing, cause=error, hint="remove it, or choose another name")
    try:
        point, kind = _mount_of(path)
    except (OSError, IOError):
        point, kind = "?", "bpf"
    if kind != "bpf":
        text = "%s: %s is no BPF file system (%s, mounted at %s)" % (
            doing, os.path.dirname(path), kind or "none", point)
        return KernelError(text, error.call, error.errno, cause=error, hint="as root: mount -t bpf bpf %s" % BPFFS)
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError("%s: %s" % (doing, error.what), "CAP_BPF and write access to the folder, or root",
                              error.call, error.errno, cause=error)
    return KernelError("%s: %s" % (doing, error.what), error.call, error.errno, cause=error)
