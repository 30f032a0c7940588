"""Files that cost time to make, kept for this user alone: compiled objects, headers of kernels, fetched BTF.

    ROOT/KIND/NAME      ROOT: $LBC_CACHE, else $XDG_CACHE_HOME/lbc, else ~/.cache/lbc; for root also /var/cache/lbc

What is kept here ends up in the kernel, so a folder counts only where none but root and this user can have put
anything:
every folder on the way to it is looked at.  A file gets its name when it is whole (rename), so any number of processes
may write at once, and a kill -9 leaves at most a file in ROOT/tmp, which the next hour sweeps.
"""
from __future__ import absolute_import

import binascii
import errno
import os
import stat
import time

__all__ = ["Cache", "open_cache", "is_ours"]

LIMITS = {"objects": 64 << 20, "headers": 64 << 20, "btf": 256 << 20}     # bytes of a kind; the oldest go
_LEFT_OVER_S = 3600
_FRESH_S = 86400        # a use is noted once a day
_MAGIC = b"lbc1"


def is_ours(path):
    """Can none but root and this user change what is at the folder ``path``?  Asks of each folder on the way."""
    path = os.path.abspath(path)
    first = True
    while True:
        try:
            facts = os.lstat(path)
        except OSError:
            return False
        if stat.S_ISLNK(facts.st_mode) and not first and facts.st_uid in (0, os.geteuid()):
            return is_ours(os.path.realpath(path))
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in ((os.geteuid(),) if first else (0, os.geteuid())):
            return False
        # in a folder like /tmp (sticky) nobody renames what is not theirs
        if facts.st_mode & 0o022 and (first or not facts.st_mode & stat.S_ISVTX):
            return False
        parent = os.path.dirname(path)
        if parent == path:
            return True
        path, first = parent, False


def _candidates():
    chosen = os.environ.get("LBC_CACHE")
    if chosen:
        return [chosen]
    base = os.environ.get("XDG_CACHE_HOME") or ""
    if not base.startswith("/"):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return [os.path.join(base, "lbc")] + (["/var/cache/lbc"] if os.geteuid() == 0 else [])


def open_cache():
    """The Cache of this user; one that keeps nothing where no folder can be trusted (LBC_CACHE=off: wanted so)."""
    for path in _candidates():
        if path == "off":
            break
        try:
            if not os.path.isdir(path):
                os.makedirs(path, 0o700)
            if is_ours(path):
                return Cache(path)
        except OSError:
            pass    # a home that is not there, not ours, read-only
    return Cache(None)


class Cache(object):
    """``root``: the folder, or None: then `get` finds nothing and `put` keeps nothing."""

    def __init__(self, root):
        self.root = root

    def path(self, kind, name):
        """Where a file is, whether it is there or not; None without a root."""
        return None if self.root is None else os.path.join(self.root, kind, name)

    def find(self, kind, name):
        """Path of a file that `keep` wrote, None where it is not."""
        path = self.path(kind, name)
        try:
            facts = None if path is None else os.lstat(path)
        except OSError:
            return None
        if facts is None or not stat.S_ISREG(facts.st_mode) or facts.st_uid not in (0, os.geteuid()) or \
                facts.st_mode & 0o022:
            return None
        self._used(path, facts)
        return path

    @staticmethod
    def _used(path, facts):
        if time.time() - facts.st_mtime > _FRESH_S:
            try:
                os.utime(path, None)
            except OSError:
                pass

    def names(self, kind):
        """Sorted names of the files of a kind."""
        try:
            return sorted(os.listdir(os.path.join(self.root, kind))) if self.root is not None else []
        except OSError:
            return []

    def keep(self, kind, name, data):
        """Write a file; its path, or None where that cannot be (a full disk loses only the keeping).  ``name`` may have
        a folder in it."""
        path = self.path(kind, name)
        if path is None:
            return None
        temporary = None
        try:
            waiting = os.path.join(self.root, "tmp")
            for folder in (waiting, os.path.dirname(path)):
                if not os.path.isdir(folder):
                    _make_folder(folder)
            temporary = os.path.join(waiting, "%d-%s" % (os.getpid(), binascii.hexlify(os.urandom(8)).decode("ascii")))
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                view = memoryview(data)
                while len(view):
                    view = view[os.write(fd, view):]
                os.fsync(fd)    # a loss of power must not leave the name without the content
            finally:
                os.close(fd)
            os.rename(temporary, path)
        except (OSError, IOError):
            try:
                if temporary is not None:
                    os.unlink(temporary)
            except OSError:
                pass
            return None
        self._prune(kind, path)
        return path

    # -- pieces of bytes that are checked when they are read ---------------------------------------------------------
    def get(self, kind, name):
        """[bytes] that `put` wrote, None where they are not, or are damaged."""
        path = self.find(kind, name)
        if path is None:
            return None
        try:
            with open(path, "rb") as f:
                head, body = f.readline(200).split(), f.read()
            if head[0] != _MAGIC or int(head[1], 16) != binascii.crc32(body) & 0xffffffff:
                return None
            parts, at = [], 0
            for size in head[2:]:
                parts.append(body[at:at + int(size)])
                at += int(size)
            return parts if at == len(body) else None
        except (IOError, OSError, ValueError, IndexError):
            return None

    def put(self, kind, name, parts):
        """Keep a list of bytes under a name."""
        body = b"".join(parts)
        head = "%08x %s\n" % (binascii.crc32(body) & 0xffffffff, " ".join([str(len(part)) for part in parts]))
        return self.keep(kind, name, _MAGIC + b" " + head.encode("ascii") + body)

    # -- bounds --------------------------------------------------------------------------------------------------------
    def _prune(self, kind, newest):
        """Remove the files used longest ago until the rest is within its limit; and what dead writers left."""
        limit, found, total = LIMITS.get(kind, 64 << 20), [], 0
        for folder, _folders, names in os.walk(os.path.join(self.root, kind)):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    facts = os.lstat(path)
                except OSError:
                    continue
                found.append((facts.st_mtime, facts.st_size, path))
                total += facts.st_size
        for _when, size, path in sorted(found):
            if total <= limit:
                break
            if path != newest and _remove(path):
                total -= size
        waiting = os.path.join(self.root, "tmp")
        for name in self.names("tmp"):
            path = os.path.join(waiting, name)
            try:
                if time.time() - os.lstat(path).st_mtime > _LEFT_OVER_S:
                    _remove(path)
            except OSError:
                pass


def _make_folder(path):
    try:
        os.makedirs(path, 0o700)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


def _remove(path):
    """Unlink a file, and its folder when it was the last."""
    try:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    except OSError as error:
        return error.errno in (errno.ENOTEMPTY, errno.EEXIST)
    return True
