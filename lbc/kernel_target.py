"""The kernel that a program is compiled for: which it is, where its BTF is, and its vmlinux.h.

The running kernel shows its BTF (5.4), or a file has it; that of any other, and of a kernel without, comes from a
server (lbc.wire, `btf`), once, and stays in the cache.  A vmlinux.h is made of the BTF once for each.
"""
from __future__ import absolute_import

import binascii
import os

from . import host
from ._py23 import sha256, to_bytes
from .errors import InputError, LbcError, NotFoundError

__all__ = ["Target", "ARCHES"]

HEADER_VERSION = 1      # of what lbc.btf.dump_all writes: another one, other headers
SYSFS = "/sys/kernel/btf/vmlinux"
# uname -m -> ARCH of -D__TARGET_ARCH_ARCH, as bpf_tracing.h spells it
ARCHES = {"x86_64": "x86", "i386": "x86", "i586": "x86", "i686": "x86", "aarch64": "arm64", "armv6l": "arm",
          "armv7l": "arm", "s390x": "s390", "ppc64": "powerpc", "ppc64le": "powerpc", "riscv64": "riscv",
          "loongarch64": "loongarch", "mips64": "mips", "mips": "mips"}
BIG_ENDIAN = frozenset(["s390x", "s390", "ppc64", "mips", "mips64", "sparc64"])
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+~-")


class Target(object):
    """Kernel ``release`` on ``machine`` (None: the running one).  ``server``: as of lbc.wire, asked for BTF that is not
    here; ``cache``: a lbc.cache.Cache."""

    def __init__(self, cache, release=None, machine=None, server=None):
        self.cache, self.server = cache, server
        self.release, self.machine = release or host.release(), machine or host.machine()
        if self.machine not in ARCHES:
            raise InputError("machine `%s` is none that BPF programs are compiled for here" % self.machine[:60],
                             hint="uname -m says one of %s" % " ".join(sorted(ARCHES)))
        if not self.release or set(self.release) - _PLAIN or self.release.startswith("."):
            raise InputError("`%s` is no kernel release: uname -r says it" % self.release[:60])
        self.running = self.release == host.release() and self.machine == host.machine()
        self._given = os.environ.get("LBC_BTF") or None if self.running else None

    def identity(self):
        """Text that is another for another kernel.  Reads at most one small file."""
        parts = [self.machine, self.release]
        if self._given:
            parts += _facts(self._given)
        elif self.running:
            parts.append(_build_id())
        else:
            parts += _facts(self._kept() or "")
        return " ".join(parts)

    def loader_btf(self):
        """Path of the BTF to relocate with where the kernel itself does not show it, else None.  Asks no server."""
        return self._file() or self._kept() if self.lacks_btf() else None   # $LBC_BTF is the loader's to see

    def lacks_btf(self):
        """Is it the running kernel, and does it not show its BTF?"""
        return self.running and not self._given and not os.path.exists(SYSFS)

    def btf(self):
        """Path of the kernel's BTF; fetched where it is not here.  NotFoundError, RemoteError."""
        if self._given:
            return self._given
        if self.running and os.path.exists(SYSFS):
            return SYSFS
        found = self._file() or self._kept()
        if found is None and self._server():
            found = self._fetch()
        if found is None:
            raise NotFoundError("BTF of kernel", "%s (%s)" % (self.release, self.machine), "this machine",
                                hint="set LBC_SERVER to a server that has it%s" % (
                                    ", or LBC_BTF to a file with it" if self.running else ""))
        return found

    def header_folder(self):
        """(folder with the kernel's vmlinux.h, is it to be removed after use?)."""
        path = self.btf()
        name = None
        if path == SYSFS and _build_id():
            name = "%s-%s-%d/vmlinux.h" % (self.machine, _build_id(), HEADER_VERSION)
            found = self.cache.find("headers", name)
            if found is not None:
                return os.path.dirname(found), False
        from .btf.parse import open_btf
        btf = open_btf(path)
        try:
            if name is None:
                name = "%s-%s-%d/vmlinux.h" % (self.machine, sha256(btf.raw)[:40], HEADER_VERSION)
                found = self.cache.find("headers", name)
                if found is not None:
                    return os.path.dirname(found), False
            from .btf.dump_all import header
            text = to_bytes(header(btf))
        finally:
            btf.close()
        kept = self.cache.keep("headers", name, text)
        if kept is not None:
            return os.path.dirname(kept), False
        from tempfile import mkdtemp
        folder = mkdtemp(prefix="lbc-")
        with open(os.path.join(folder, "vmlinux.h"), "wb") as f:
            f.write(text)
        return folder, True

    # -- where BTF is --------------------------------------------------------------------------------------------------
    def _file(self):
        """Path of a file of this machine that has the BTF of this release."""
        if self.machine != host.machine():
            return None
        from .btf.parse import kernel_btf_paths, open_btf
        for path in kernel_btf_paths(self.release):
            if path != SYSFS and os.path.exists(path):
                try:
                    open_btf(path).close()
                except LbcError:    # a vmlinux without .BTF: the next may do
                    continue
                return path
        return None

    def _name(self):
        return "%s-%s.btf" % (self.machine, self.release)

    def _kept(self):
        return self.cache.find("btf", self._name())

    def _server(self):
        return self.server or os.environ.get("LBC_SERVER")

    def _fetch(self):
        """Path of what the server answers, once it was seen to be BTF."""
        from . import wire
        from .btf.parse import Btf
        from .elf.reader import Elf
        client = wire.Client(self._server(), timeout=60)
        raw = wire.decode(client.ask_one({"cmd": "btf", "ver": self.release, "arch": self.machine}), "btf", client.url)
        where = "BTF from %s" % client.url
        if raw[:4] == b"\x7fELF":
            elf = Elf(raw, where)
            section = elf.section(".BTF")
            if section is None:
                raise InputError("%s has no .BTF section" % where)
            raw = bytes(elf.data(section))
        if Btf(raw, path=where).count < 2:
            raise InputError("%s has no types" % where)
        kept = self.cache.keep("btf", self._name(), raw)
        if kept is None:
            raise InputError("the BTF of %s cannot be kept: no folder for it that is ours alone" % self.release,
                             hint="LBC_CACHE names one")
        return kept


def _facts(path):
    """[path, bytes, time of change in ns] of a file; what tells that it is another one now."""
    try:
        found = os.stat(path)
    except OSError:
        return [path]
    return [path, str(found.st_size), "%r" % found.st_mtime]


def _build_id():
    """Hexadecimal GNU build id of the running kernel (/sys/kernel/notes: ELF notes); "" where it shows none."""
    try:
        with open("/sys/kernel/notes", "rb") as f:
            raw = f.read(4096)
    except (IOError, OSError):
        return ""
    at = raw.find(b"\x03\0\0\0GNU\0")   # NT_GNU_BUILD_ID, big-endian machines: the other way round
    size = bytearray(raw[at - 4:at])[0] if at >= 4 else 0
    if at < 4:
        at = raw.find(b"\0\0\0\x03GNU\0")
        size = bytearray(raw[at - 4:at])[3] if at >= 4 else 0
    return binascii.hexlify(raw[at + 8:at + 8 + size]).decode("ascii") if size else ""
