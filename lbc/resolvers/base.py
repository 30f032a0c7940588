"""The interface of every type source, and the chain of several."""
from __future__ import absolute_import

from collections import namedtuple

__all__ = ["FuncQuery", "Resolver", "Chain"]

# name, ret, arg: patterns with `%` for any text, None = any; ret and arg are matched against the C type texts
FuncQuery = namedtuple("FuncQuery", "name ret arg limit")
FuncQuery.__new__.__defaults__ = (None, None, 100)


class Resolver(object):
    """Types of one kernel or binary.  None or [] = not known here, ask the next; an exception = this source is broken.

    ``mode``: "btf", "db", "remote" ...; ``where``: text for messages ("the kernel's BTF", "info.db").
    """
    mode = ""
    where = ""

    def functions(self, name, module=None):
        """[model.Function]: every copy of exactly this name (of this module)."""
        return []

    def search_functions(self, query):
        """[model.Function] that match a FuncQuery, at most ``query.limit``."""
        return []

    def record(self, keyword, name):
        """model.Record of `struct name` or `union name`, or None."""

    def enum(self, name):
        """model.Scalar of `enum name`, or None."""

    def named(self, name):
        """The type of a typedef or base type ("u64", "unsigned int", "pid_t"), or None."""

    def enumerator(self, name):
        """Number of an enumerator of any enum ("TASK_RUNNING"), or None."""

    def variable(self, name):
        """Type of a global variable, or None (BTF has those of per-CPU variables only)."""

    def search_records(self, pattern, limit=100):
        """[(text "struct x", size in bytes, number of members)] of a pattern with `%`."""
        return []

    def close(self):
        pass
