"""Which kernels there is something of: the hive folder, and the kernel that this machine runs.

    ARCH/btf/DISTRIBUTION/vmlinux-RELEASE     ELF with .BTF, or raw BTF        ARCH/head/DISTRIBUTION/vmlinux-RELEASE.h
    ARCH/db/DISTRIBUTION/info-RELEASE.db      SQLite (SPEC: type resolvers)    ARCH/vmlinux/DISTRIBUTION/vmlinux-RELEASE

That is what dbhive of the reference makes.  Its RELEASE of an rpm of debug information begins with `debuginfo-`.
"""
from __future__ import absolute_import

import os

from .. import host
from ..errors import InputError, NotFoundError

__all__ = ["Kernel", "Hive", "stamp"]

_NAMES = {      # group: names of files in ARCH/GROUP/DISTRIBUTION/
    "btf": ("vmlinux-%s", "vmlinux-%s.btf", "%s.btf", "vmlinux-debuginfo-%s"),
    "head": ("vmlinux-%s.h", "vmlinux-debuginfo-%s.h"),
    "db": ("info-%s.db", "info-debuginfo-%s.db"),
    "vmlinux": ("vmlinux-%s", "vmlinux-debuginfo-%s"),
}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-")


class Kernel(object):
    """One kernel: paths of its ``btf``, ``head`` (vmlinux.h), ``db``, or None; ``own``: the one that runs here."""

    def __init__(self, release, machine, own, btf=None, head=None, db=None):
        self.release, self.machine, self.own = release, machine, own
        self.btf, self.head, self.db = btf, head, db

    def __bool__(self):
        return bool(self.btf or self.head or self.db)
    __nonzero__ = __bool__


def stamp(path):
    """(path, bytes, time of change) to tell whether a file is still the same; None where it is gone."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return path, facts.st_size, facts.st_mtime


def plain(text, what):
    """``text`` when it can be part of a file's name; InputError."""
    if not text or len(text) > 128 or set(text) - _PLAIN or text.startswith(".") or ".." in text:
        raise InputError("`%s` is no %s" % (text[:60], what))
    return text


class Hive(object):
    """Looks kernels up.  ``root``: the hive folder or None; ``own``: is the running kernel one of them?"""

    def __init__(self, root=None, own=True):
        self.root, self.own = root, own

    def kernel(self, release, machine):
        """Kernel.  InputError for what no kernel is called, NotFoundError, with near names, for one that is not here.
        """
        release, machine = plain(release, "kernel release (uname -r)"), plain(machine, "machine (uname -m)")
        found = Kernel(release, machine, self.own and (release, machine) == (host.release(), host.machine()))
        if self.root is not None:
            found.btf = self._look(machine, "btf", release) or self._look(machine, "vmlinux", release)
            found.head, found.db = self._look(machine, "head", release), self._look(machine, "db", release)
        if found.own and found.btf is None:
            from ..resolvers.btf import kernel_btf
            found.btf = kernel_btf()
        if not found:
            from .._py23 import near
            names = self.releases(machine)
            raise NotFoundError("kernel", "%s (%s)" % (release, machine), "this server",
                                near(release, names) or sorted(names)[:3])
        return found

    def _look(self, machine, group, release):
        folder = os.path.join(self.root, machine, group)
        for distribution in _listed(folder):
            for name in _NAMES[group]:
                path = os.path.join(folder, distribution, name % release)
                if os.path.isfile(path):
                    return path
        return None

    def releases(self, machine):
        """Names of all kernels of a machine."""
        found = set()
        if self.own and machine == host.machine():
            found.add(host.release())
        for group in ("btf", "head", "db") if self.root is not None else ():
            folder = os.path.join(self.root, machine, group)
            for distribution in _listed(folder):
                for name in _listed(os.path.join(folder, distribution)):
                    for form in _NAMES[group]:
                        before, _, after = form.partition("%s")
                        if before and name.startswith(before) and name.endswith(after):
                            found.add(name[len(before):len(name) - len(after)])
                            break
        return found


def _listed(folder):
    try:
        return sorted([name for name in os.listdir(folder) if not name.startswith(".")])
    except OSError:
        return []
