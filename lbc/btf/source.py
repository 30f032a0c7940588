"""A file in memory that can be given back whole when it is no longer needed."""
from __future__ import absolute_import

import mmap
import os

from ..errors import FormatError

__all__ = ["map_or_read"]


def map_or_read(path):
    """The file in memory that can be given back: mapped, or (sysfs before Linux 6.16) read into an anonymous map."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        if size < 24:
            raise FormatError("%d bytes cannot be BTF" % size, path)
        try:
            return mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ)
        except (EnvironmentError, ValueError):
            pass
        memory = _copied(fd, size)
        if memory is not None:
            return memory
        memory = mmap.mmap(-1, size)
        done = 0
        os.lseek(fd, 0, 0)
        while done < size:  # sysfs hands out a page per read
            piece = os.read(fd, min(size - done, 1 << 16))
            if not piece:
                memory.close()
                raise FormatError("only %d of %d bytes could be read" % (done, size), path)
            memory.write(piece)
            done += len(piece)
        return memory
    finally:
        os.close(fd)


def _copied(fd, size):
    """A map of memory that the kernel copied the file into, without a system call for each page; None where it does not
    (Python before 3.8; Linux before 5.13 for sysfs: commit f2d6c2708bd8)."""
    if not hasattr(os, "memfd_create"):
        return None
    try:
        copy = os.memfd_create("btf", 1)    # MFD_CLOEXEC
        try:
            done = 0
            while done < size:
                some = os.sendfile(copy, fd, None, size - done)
                if not some:
                    return None
                done += some
            return mmap.mmap(copy, size)
        finally:
            os.close(copy)
    except (OSError, ValueError):
        return None
