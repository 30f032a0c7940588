"""Answers on disk, shared by threads, processes and machines: whole or not there, whoever is killed when.

    CACHE/answers/ab/abcdef...    "lbc1 CRC32 LENGTH\\n", then the bytes          CACHE/tmp/    files being written
    CACHE/locks/                  flock(2): one writer of an answer; compilers at a time

A file gets its name when it is complete (rename), so a kill -9 leaves a file in tmp/ at most.  The checksum is for
what a loss of power leaves: without fsync a renamed file may be empty or hold zeros (ext4 delayed allocation).
"""
from __future__ import absolute_import

import errno
import os
import time

from ..errors import InputError

__all__ = ["Store", "private_folder"]

_MAGIC = b"lbc1"
_OLD_SECONDS = 3600     # what lies in tmp/ longer is left over
_WRITES_PER_PRUNE = 256
_LOCKS = 4096


def private_folder(path):
    """Make ``path`` for us alone.  InputError when somebody else could write there."""
    try:
        os.makedirs(path, 0o700)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise InputError("cannot make the folder %s: %s" % (path, error.strerror), error)
    facts = os.stat(path)
    if not os.path.isdir(path) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise InputError("the folder %s is not ours alone: others may write it" % path,
                         hint="give another one, or: chown %d %s; chmod 700 %s" % (os.geteuid(), path, path))
    return path


class Lock(object):
    """A held flock; the kernel lets it go when its holder dies."""

    def __init__(self, fd):
        self._fd = fd

    def close(self):
        """Let it go; idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()


class Store(object):
    """Bytes by key (hexadecimal digits) below ``root``.  ``most_bytes``: old ones go when there is more."""

    def __init__(self, root, most_bytes=1 << 30):
        self.root, self.most_bytes = root, most_bytes
        self._writes, self._ready = 0, False

    def prepare(self):
        """Make the folders; InputError when they cannot be ours alone."""
        if not self._ready:
            private_folder(self.root)
            for name in ("answers", "tmp", "locks", "heads"):
                private_folder(os.path.join(self.root, name))
            self._sweep()
            self._ready = True
        return self

    def _path(self, key):
        return os.path.join(self.root, "answers", key[:2], key)

    def get(self, key):
        """The bytes, or None.  A damaged file is removed."""
        path = self._path(key)
        try:
            with open(path, "rb") as stream:
                head, whole = stream.readline(64), stream.read()
        except EnvironmentError:
            return None
        if head == self._head(whole):
            return whole
        try:
            os.unlink(path)
        except OSError:
            pass
        return None

    @staticmethod
    def _head(data):
        from zlib import crc32
        return b"".join([_MAGIC, (" %08x %d\n" % (crc32(data) & 0xffffffff, len(data))).encode("ascii")])

    def put(self, key, data):
        """Keep bytes.  A full disk or the like loses only the keeping."""
        try:
            folder = os.path.dirname(self._path(key))
            if not os.path.isdir(folder):
                os.makedirs(folder, 0o700)
            self.write(self._path(key), self._head(data) + data)
        except EnvironmentError:
            return
        self._writes += 1
        if self._writes % _WRITES_PER_PRUNE == 0:
            self.prune()

    def write(self, path, data, mode=0o600):
        """A file at ``path``, in one step."""
        from tempfile import mkstemp
        fd, name = mkstemp(dir=os.path.join(self.root, "tmp"))
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(data)
            os.chmod(name, mode)
            os.rename(name, path)
        except BaseException:
            try:
                os.unlink(name)
            except OSError:
                pass
            raise

    def _sweep(self):
        folder = os.path.join(self.root, "tmp")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            try:
                if time.time() - os.stat(path).st_mtime > _OLD_SECONDS:
                    os.unlink(path)
            except OSError:
                pass

    def prune(self):
        """Remove the oldest answers until what is left is four fifths of what is allowed."""
        found, total = [], 0
        for folder, _folders, names in os.walk(os.path.join(self.root, "answers")):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    facts = os.stat(path)
                except OSError:
                    continue
                found.append((facts.st_mtime, facts.st_size, path))
                total += facts.st_size
        if total <= self.most_bytes:
            return
        for _when, size, path in sorted(found):
            try:
                os.unlink(path)
            except OSError:
                continue
            total -= size
            if total <= self.most_bytes * 4 // 5:
                break

    # -- locks ---------------------------------------------------------------------------------------------------------
    def lock(self, key, seconds):
        """Lock of an answer (of one among _LOCKS names: their number is bounded), None after ``seconds``."""
        return self._wait(["key-%03x" % (int(key[:8], 16) % _LOCKS)], seconds)

    def slot(self, count, seconds):
        """Lock of one of ``count`` slots of this machine, None after ``seconds``."""
        host = "".join([c for c in os.uname()[1] if c.isalnum()])[:64]
        return self._wait(["slot-%s-%d" % (host, number) for number in range(count)], seconds)

    def _wait(self, names, seconds):
        from .._py23 import monotonic
        until, pause = monotonic() + seconds, 0.002
        while True:
            for name in names:
                held = self._try(name)
                if held is not None:
                    return held
            if monotonic() >= until:
                return None
            time.sleep(pause)
            pause = min(0.05, pause * 2)

    def _try(self, name):
        import fcntl
        # O_CLOEXEC is what Python 3 does anyway; a compiler that inherits the lock would hold it
        fd = os.open(os.path.join(self.root, "locks", name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except EnvironmentError as error:
            os.close(fd)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        return Lock(fd)
