"""Which source is asked: the modes of `open_resolver`, the order of "auto", prev.db before all, and whom to trust.

lbc runs as root, and the working folder may be anybody's: a database that merely lies there is taken only when it
belongs to us or to root and not everybody may write it.
"""
from __future__ import absolute_import

import os

from .. import host
from ..errors import InputError, LbcError, NotSupported
from .base import Chain, Resolver

__all__ = ["open_auto", "open_btf", "open_db", "open_remote", "open_vmlinux", "trusted", "database_of"]


def trusted(path):
    """Is ``path`` a file that belongs to us or root, and that not everybody may write?"""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return found.st_mode & 0o170000 == 0o100000 and found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o002


def database_of(release):
    """Path of info-RELEASE.db in the working folder, $XDG_CACHE_HOME/lbc or ~/.cache/lbc, where it is `trusted`; or
    None."""
    name = "info-%s.db" % release
    if "/" in name:
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for path in (name, os.path.join(cache, "lbc", name)):
        if trusted(path):
            return path
    return None


def _with_overlay(main):
    """``main`` behind prev.db, where there is one."""
    path = os.environ.get("LBC_PREVDB")
    if path and not os.path.exists(path):
        raise InputError("no database %s" % path, hint="the environment variable LBC_PREVDB names this file")
    if not path and os.path.exists("prev.db"):
        path = os.path.abspath("prev.db")
        if not trusted(path):
            main.notes = ["%s is left alone: others may write it, or it is not yours; LBC_PREVDB=prev.db takes it"
                          % path]
            return main
    if not path:
        return main
    from .db import DbResolver
    return Chain([DbResolver(path), main])


def open_btf(options):
    """The running kernel's BTF, or that of the file ``vmlinux``."""
    from .btf import BtfResolver
    return _with_overlay(BtfResolver(options.vmlinux, release=options.release))


def open_db(options):
    """The database ``db``, or info-RELEASE.db."""
    from .db import DbResolver
    release = options.release or host.release()
    path = options.db or database_of(release)
    if path is None:
        raise InputError("no database info-%s.db here or in ~/.cache/lbc that belongs to you or root and that not "
                         "everybody may write" % release, hint="give its path: -d FILE")
    return _with_overlay(DbResolver(path))


def open_remote(options):
    """The server."""
    from .remote import RemoteResolver
    return _with_overlay(RemoteResolver(options.server, options.release, options.machine))


def open_vmlinux(options):
    """The file ``vmlinux``: its BTF."""
    if not options.vmlinux:
        raise InputError("mode gdb needs a vmlinux", hint="give its path: -v FILE")
    from .btf import BtfResolver

    class FileBtf(BtfResolver):
        """Says what else could be done where the file has no BTF."""
        mode = "gdb"

        def _open(self):
            try:
                BtfResolver._open(self)
            except LbcError as error:
                if "no .BTF section" in error.what:
                    raise InputError("%s has no BTF, and its DWARF is not read yet" % self.path, error,
                                     "add BTF to a copy of it (pahole -J FILE), or use the running kernel's: -m btf")
                raise
    return _with_overlay(FileBtf(options.vmlinux))


def open_auto(options):
    """The best source that is there, found when the first question comes."""
    return _with_overlay(Auto(options))


class Auto(Resolver):
    """Looks for a source at the first question, and is that source from then on.  What options name comes first."""
    mode = "auto"

    def __init__(self, options):
        self._options, self._source = options, None

    def source(self):
        """The resolver that answers.  NotSupported says where was looked when there is none."""
        if self._source is None:
            self._source = self._choose(self._options)
            self._source.outer = self.outer
        return self._source

    @staticmethod
    def _choose(options):
        from .btf import BtfResolver, kernel_btf
        release = options.release or host.release()
        foreign = options.machine not in (None, host.machine())
        path = options.db
        if options.vmlinux or not (path or options.server or foreign) and kernel_btf(options.release):
            return BtfResolver(options.vmlinux, release=options.release)
        path = path or not options.server and database_of(release)
        if path:
            from .db import DbResolver
            return DbResolver(path)
        from ..wire import server_url
        if server_url(options.server):
            from .remote import RemoteResolver
            return RemoteResolver(options.server, options.release, options.machine)
        raise NotSupported("type information that could be found: no BTF of %s, no database info-%s.db here or in "
                           "~/.cache/lbc, no server" % (release, release),
                           hint="give one: LBC_BTF=FILE, -d FILE, -r HOST")

    @property
    def where(self):
        return self.source().where

    @property
    def pointer_size(self):
        return self.source().pointer_size

    def close(self):
        if self._source is not None:
            self._source.close()


def _passed_on(name):
    def ask(self, *words):
        return getattr(self.source(), name)(*words)
    ask.__name__, ask.__doc__ = name, getattr(Resolver, name).__doc__
    return ask


for _name in ("functions", "search_functions", "record", "enum", "named", "enumerator", "variable", "search_records",
              "near"):
    setattr(Auto, _name, _passed_on(_name))
del _name
