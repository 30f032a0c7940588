"""Type sources behind one interface: `open_resolver`."""
from __future__ import absolute_import

if __name__ != "lbc.resolvers":
    raise ImportError("import lbc.resolvers, not %s" % __name__)

__all__ = ["open_resolver", "MODES"]

# mode -> module:function(options), imported when used; a further source is one row
MODES = {
    "auto": "auto:open_auto",
    "btf": "auto:open_btf",
    "db": "auto:open_db", "local": "auto:open_db",     # the reference's name
    "remote": "auto:open_remote",
    "gdb": "auto:open_vmlinux",     # the reference's name; gdb is not needed
}


class Options(object):
    """Arguments of `open_resolver` as attributes."""

    def __init__(self, release=None, machine=None, vmlinux=None, db=None, server=None):
        self.release, self.machine, self.vmlinux, self.db, self.server = release, machine, vmlinux, db, server


def open_resolver(mode="auto", release=None, machine=None, vmlinux=None, db=None, server=None):
    """base.Resolver, nothing of it opened before the first question.

    ``mode``: "auto" (the best source that is there: the running kernel's BTF, a database info-RELEASE.db, a server when
    one is configured), "btf", "db" or "local", "remote", "gdb" (``vmlinux``).  ``release``, ``machine``: as of uname,
    None = the running kernel; ``vmlinux``, ``db``: paths; ``server``: "HOST[:PORT]".  In every mode a prev.db is asked
    first ($LBC_PREVDB, or ./prev.db when it belongs to us or root).  InputError for an unknown mode or a missing
    argument."""
    if mode not in MODES:
        from .._py23 import near
        from ..errors import InputError
        close = near(mode, MODES)
        raise InputError("no type source `%s`%s" % (mode, "; did you mean `%s`?" % close[0] if close else ""),
                         hint="modes: " + ", ".join(sorted(MODES)))
    module, _, function = MODES[mode].partition(":")
    name = __name__ + "." + module
    __import__(name)
    import sys
    return getattr(sys.modules[name], function)(Options(release, machine, vmlinux, db, server))
