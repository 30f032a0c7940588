"""Which file a user means by a program or library name: a path, a command on PATH, a library of ld.so.cache, or what a
process has mapped.  /etc/ld.so.cache is read here (glibc sysdeps/generic/dl-cache.h); nothing is run.
"""
from __future__ import absolute_import

import errno
import os
import struct

from .._py23 import near, range, to_text
from ..errors import InputError, NotFoundError

__all__ = ["find_binary", "find_library", "parse_ldcache", "parse_maps", "process_path"]

CACHE = "/etc/ld.so.cache"
NEW_MAGIC = b"glibc-ld.so.cache1.1"
OLD_MAGIC = b"ld.so-1.7.0"
# uname -m -> flags of its entries: FLAG_ELF_LIBC6 (3) and the ABI (dl-cache.h); others: any ELF entry will do
ABI_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0a03, "ppc64le": 0x0503, "s390x": 0x0403, "riscv64": 0x1003,
             "i386": 0x0003, "i586": 0x0003, "i686": 0x0003, "loongarch64": 0x1103}
FALLBACK_DIRS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")


class Mapping(object):
    """One line of /proc/PID/maps: addresses ``start``..``end``, ``offset`` in the file, ``device`` "08:01", ``inode``,
    ``path`` ("" for anonymous memory), ``deleted``."""
    __slots__ = ("start", "end", "perms", "offset", "device", "inode", "path", "deleted")

    def __init__(self, start, end, perms, offset, device, inode, path, deleted):
        self.start, self.end, self.perms, self.offset = start, end, perms, offset
        self.device, self.inode, self.path, self.deleted = device, inode, path, deleted

    def __repr__(self):
        return "Mapping(%x-%x %s %x %s%s)" % (self.start, self.end, self.perms, self.offset, self.path,
                                              " (deleted)" * self.deleted)


def parse_maps(raw, executable=False):
    """[Mapping] of the bytes of /proc/PID/maps (proc(5)); lines that do not parse are left out."""
    found = []
    for line in raw.split(b"\n"):
        fields = line.split(None, 5)
        if len(fields) < 5 or executable and fields[1][2:3] != b"x":
            continue
        try:
            start, end = fields[0].split(b"-")
            numbers = int(start, 16), int(end, 16), int(fields[2], 16), int(fields[4])
        except ValueError:
            continue
        path = to_text(fields[5]).replace("\\012", "\n") if len(fields) > 5 else ""
        deleted = path.endswith(" (deleted)")
        found.append(Mapping(numbers[0], numbers[1], to_text(fields[1]), numbers[2], to_text(fields[3]), numbers[3],
                             path[:-10] if deleted else path, deleted))
    return found


def parse_ldcache(raw):
    """[(soname, flags, path)] of the bytes of ld.so.cache, either format; damaged entries are left out."""
    base = 0
    if raw.startswith(OLD_MAGIC) and len(raw) >= 16:  # the old table first, the new one behind it, aligned to 8
        count = struct.unpack_from("=I", raw, 12)[0]
        base = (16 + 12 * count + 7) & ~7
        if raw[base:base + len(NEW_MAGIC)] != NEW_MAGIC:
            return _entries(raw, 16, 12, count, 16 + 12 * count)
    if raw[base:base + len(NEW_MAGIC)] != NEW_MAGIC or len(raw) < base + 48:
        return []
    return _entries(raw, base + 48, 24, struct.unpack_from("=I", raw, base + 20)[0], base)


def _entries(raw, at, step, count, strings):
    entry, found = struct.Struct("=iII"), []
    for position in range(at, at + min(count, (len(raw) - at) // step) * step, step):
        flags, key, value = entry.unpack_from(raw, position)
        names = []
        for offset in (key, value):
            stop = raw.find(b"\0", strings + offset, strings + offset + 4096)
            names.append(to_text(raw[strings + offset:stop]) if stop > 0 else "")
        if names[0] and names[1]:
            found.append((names[0], flags, names[1]))
    return found


def _read(path):
    with open(path, "rb") as source:
        return source.read()


def _matches(soname, name):
    """`c`, `libc`, `libc.so`, `libc.so.6` all mean libc.so.6."""
    if soname == name:
        return True
    stem = name if name.startswith("lib") else "lib" + name
    return soname == stem or soname.startswith(stem + "." if ".so" in stem else stem + ".so")


def find_library(name, machine=None, root=""):
    """Path of the library ``name`` ("c", "libc", "libc.so.6") as ld.so would find it; None when there is none.
    ``root``: prefix of another mount namespace, "/proc/PID/root"."""
    try:
        entries = parse_ldcache(_read(root + CACHE))
    except (OSError, IOError):
        entries = []
    flags = ABI_FLAGS.get(machine or os.uname()[4])
    found = [e for e in entries if _matches(e[0], name) and (flags is None or e[1] == flags)]
    found.sort(key=lambda e: (e[0] != name, "glibc-hwcaps" in e[2]))  # hwcaps copies are for some CPUs only
    for _, _, path in found:
        if os.path.exists(root + path):
            return path
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder and not root]
    for folder in folders + list(FALLBACK_DIRS):  # musl keeps no cache
        try:
            names = sorted(os.listdir(root + folder))
        except OSError:
            continue
        for soname in sorted((n for n in names if _matches(n, name)), key=lambda n: (n != name, len(n))):
            path = os.path.join(folder, soname)
            with open(root + path, "rb") as source:
                if source.read(4) == b"\x7fELF":  # libc.so is a linker script on development machines
                    return path
    return None


def _find_command(name, pid):
    for folder in os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"):
        path = os.path.join(folder or ".", name)
        seen = process_path(pid, path)
        if os.path.isfile(seen) and os.access(seen, os.X_OK):
            return path
    return None


def process_path(pid, path):
    """Absolute ``path`` as process ``pid`` (0 or None: we) sees it, openable from here.  Symbolic links are followed
    inside its root: left to the kernel, an absolute link below /proc/PID/root would lead to a file of ours."""
    if not pid:
        return path
    root, done, todo, links = "/proc/%d/root" % pid, [], path.split("/")[::-1], 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = "/".join([root] + done + [part])
        try:
            target = os.readlink(here) if os.path.islink(here) else None
        except OSError:
            target = None
        links += target is not None
        if target is None or links > 40:  # the kernel's own limit (MAXSYMLINKS)
            done.append(part)
            continue
        if target.startswith("/"):
            done = []
        todo += target.split("/")[::-1]
    return "/".join([root] + done)


def _mapped(pid, name):
    """Path (in the process) of the mapped library called ``name``, or None."""
    for mapping in parse_maps(_read("/proc/%d/maps" % pid), executable=True):
        base = mapping.path.rpartition("/")[2]
        if mapping.path.startswith("/") and not mapping.deleted and (mapping.path == name or _matches(base, name)):
            return mapping.path
        stem = base.partition("-")[0]  # libc-2.31.so: the file behind libc.so.6 before glibc 2.34
        if stem != base and base.endswith(".so") and _matches(stem + ".so", name):
            return mapping.path
    return None


def find_binary(name, pid=None):
    """File meant by ``name``: a path; a command on PATH; a library ("c", "libc.so.6"); with ``pid``, as that process
    sees it (its mapped libraries first; "" or "exe": its program).  Returns a path that opens here.  Raises
    NotFoundError, InputError."""
    root = "/proc/%d/root" % pid if pid else ""
    if pid and not os.path.exists("/proc/%d" % pid):
        raise NotFoundError("process", str(pid))
    if pid and name in ("", "exe"):
        return "/proc/%d/exe" % pid
    try:
        if "/" in name:
            path = os.path.abspath(name) if not root else name
            path = process_path(pid, path)
            if not os.path.exists(path):
                raise NotFoundError("file", name, "process %d" % pid if pid else None)
            return path
        path = _mapped(pid, name) if pid else None
        if path is None:
            finders = [lambda: _find_command(name, pid), lambda: find_library(name, root=root)]
            if ".so" in name or name.startswith("lib"):
                finders.reverse()
            path = finders[0]() or finders[1]()
    except (OSError, IOError) as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise InputError("cannot look into process %s: %s" % (pid, error.strerror), cause=error, hint="run as root")
        if error.errno in (errno.ENOENT, errno.ESRCH):
            raise NotFoundError("process", str(pid))
        raise InputError("cannot find the file of `%s`: %s" % (name, error), cause=error)
    if path is None:
        searched = "process %d and PATH" % pid if pid else "PATH and ld.so.cache"
        raise NotFoundError("program or library", name, searched, _near_names(name))
    return process_path(pid, path)


def _near_names(name):
    try:
        sonames = {soname.partition(".so")[0] for soname, _, _ in parse_ldcache(_read(CACHE))}
    except (OSError, IOError):
        sonames = set()
    return near(name if name.startswith("lib") else "lib" + name, sonames)
