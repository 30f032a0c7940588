"""A KernelFiles out of a dict: what /proc, /sys and tracefs say, for tests of what reads them."""
from __future__ import absolute_import

import errno

from lbc.errors import KernelError

TRACEFS = "/sys/kernel/tracing"


class FakeFiles(object):
    """``files``: {path: bytes}; folders are there when a file in them is.  ``read``: paths that were read."""

    def __init__(self, files):
        self.files, self.asked = dict(files), []

    def read(self, path):
        self.asked.append(path)
        if path not in self.files:
            raise KernelError("read %s: ENOENT" % path, "read", errno.ENOENT)
        return self.files[path]

    def exists(self, path):
        return any(name == path or name.startswith(path + "/") for name in self.files)

    def listdir(self, path):
        return sorted({name[len(path) + 1:].split("/")[0] for name in self.files if name.startswith(path + "/")})
