"""What a server may do, and how much of it: one value that every part of the server is handed."""
from __future__ import absolute_import

import os

from ..errors import InputError

__all__ = ["Settings", "from_environment", "from_words"]

# name, default, what it is; numbers are of bytes and seconds
_FIELDS = (
    ("hive", None, "folder ARCH/{btf,head,db,vmlinux}/RELEASE/ (docs/server.md), None: only this machine's kernel"),
    ("cache", None, "folder for what was compiled; shared by all workers and machines"),
    ("clang", None, "compiler; None: the newest on PATH"),
    ("sandbox", None, "one of sandbox.KINDS; None: the best that works here"),
    ("unsafe", False, "compile without a sandbox when none works"),
    ("workers", 0, "compilers at a time; 0: one for each CPU"),
    ("queue", 256, "requests that may wait for a worker"),
    ("most_body", 24 << 20, "of a request: 16 MiB of modules as base64, and some"),
    ("most_code", 1 << 20, "of one source"),
    ("most_output", 8 << 20, "of one compiler's objects or messages"),
    ("most_answer", 60 << 20, "of a whole answer; clients of lbc take 64 MiB"),
    ("most_requests", 256, "in one body"),
    ("cpu_seconds", 10, "of one compiler"),
    ("wall_seconds", 20, "of one compiler"),
    ("memory", 1 << 30, "address space of one compiler"),
    ("most_cache", 1 << 30, "of answers on disk"),
    ("own_kernel", True, "answer for the kernel that this machine runs"),
)


class Settings(object):
    """Attributes as in _FIELDS; the cache folder is made private and checked when the first answer is kept."""

    def __init__(self, **given):
        for name, default, _what in _FIELDS:
            setattr(self, name, given.pop(name, default))
        if given:
            raise TypeError("no setting %s" % ", ".join(sorted(given)))
        if self.cache is None:
            base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
            self.cache = os.path.join(base, "lbc", "server")
        self.cache = os.path.abspath(self.cache)
        if self.hive is not None:
            self.hive = os.path.abspath(self.hive)
            if not os.path.isdir(self.hive):
                raise InputError("the hive %s is no folder" % self.hive)
        if not self.workers:
            from ..host import online_cpus
            self.workers = max(1, len(online_cpus()))

    def words(self):
        """["name=value"] of everything, for another process (from_words)."""
        return ["%s=%s" % (name, getattr(self, name)) for name, _default, _what in _FIELDS
                if getattr(self, name) is not None]


def _value(name, text):
    default = dict([(row[0], row[1]) for row in _FIELDS])[name]
    if isinstance(default, bool):
        return text in ("True", "1", "yes")
    if isinstance(default, int):
        if not text.isdigit():
            raise InputError("setting %s=%s is no number" % (name, text))
        return int(text)
    return text


def from_words(words):
    """Settings of Settings.words()."""
    pairs = [word.partition("=") for word in words]
    return Settings(**dict([(name, _value(name, text)) for name, _equals, text in pairs]))


def from_environment(environ=None):
    """Settings of LBC_SERVER_HIVE, LBC_SERVER_CACHE, LBC_SERVER_CPU_SECONDS and so on: each field in capitals."""
    environ = os.environ if environ is None else environ
    given = {}
    for name, _default, _what in _FIELDS:
        text = environ.get("LBC_SERVER_" + name.upper())
        if text:
            given[name] = _value(name, text)
    return Settings(**given)
