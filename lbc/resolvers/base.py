"""The interface of every type source, and the chain of several."""
from __future__ import absolute_import

from operator import itemgetter

from ..errors import NotFoundError
from .model import _Row

__all__ = ["FuncQuery", "Resolver", "Chain"]


class FuncQuery(_Row):
    """What functions are looked for.  ``name``, ``ret``, ``arg``: patterns with `%` for any text, None = any; ret and
    arg are matched against C type texts, however spelled ("struct file*", "const struct file *"); ``limit``: how many
    at most."""
    __slots__ = ()
    _fields = ("name", "ret", "arg", "limit")

    def __new__(cls, name, ret=None, arg=None, limit=100):
        return tuple.__new__(cls, (name, ret, arg, limit))
    name, ret, arg, limit = [property(itemgetter(_index)) for _index in range(4)]


class Resolver(object):
    """Types of one kernel or binary.  None or [] = not known here, ask the next; an exception = this source is broken.

    ``mode``: "btf", "db", "remote" ...; ``where``: text for messages ("the kernel's BTF", "info.db"); ``pointer_size``:
    bytes.  ``outer``: the chain that this is part of, None when it is not.  ``notes``: texts that a user should see.
    """
    mode = ""
    where = ""
    pointer_size = 8
    outer = None
    notes = ()

    # -- what a source answers ---------------------------------------------------------------------------------------
    def functions(self, name, module=None):
        """[model.Function]: every copy of exactly this name (of this module; "" or "vmlinux": of the kernel itself)."""
        return []

    def search_functions(self, query):
        """[model.Function] that match a FuncQuery, at most ``query.limit``."""
        return []

    def record(self, keyword, name):
        """model.Record of `struct name` or `union name`, or None.  Its size is None where only a declaration is known.
        """

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

    def near(self, kind, name):
        """Up to three names like ``name``: ``kind`` is "function", "struct", "union", "enum" or "type"."""
        return []

    def close(self):
        """Give memory and files back; idempotent."""

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.close()

    # -- the same for everyone ---------------------------------------------------------------------------------------
    def type(self, text):
        """The type that a C text names: "struct task_struct *", "unsigned long", "char [16]", "int (*)(int)".

        ExprError (an InputError) says where the text is wrong; NotFoundError has near names."""
        from .ctext import parse
        return parse(self, text)

    def get_record(self, keyword, name):
        """`record`, or NotFoundError with near names."""
        found = self.record(keyword, name)
        if found is None:
            raise NotFoundError(keyword, name, self.where or None, self.near(keyword, name))
        return found

    def get_functions(self, name, module=None):
        """`functions`, or NotFoundError with near names."""
        found = self.functions(name, module)
        if not found:
            where = [text for text in ("module " + module if module else "", self.where) if text]
            raise NotFoundError("function", name, " of ".join(where) or None, self.near("function", name))
        return found


class Chain(Resolver):
    """Several sources as one: the first that knows answers.  A record that one only declares is looked for further on.

    ``resolvers``: a list; they are closed with the chain."""
    mode = "chain"

    def __init__(self, resolvers):
        self.resolvers = list(resolvers)
        for resolver in self.resolvers:
            resolver.outer = self

    @property
    def where(self):
        return " or ".join([r.where for r in self.resolvers if r.where])

    @property
    def pointer_size(self):
        return self.resolvers[-1].pointer_size if self.resolvers else 8

    def functions(self, name, module=None):
        for resolver in self.resolvers:
            found = resolver.functions(name, module)
            if found:
                return found
        return []

    def search_functions(self, query):
        """Of all sources, first those of the first; a function that an earlier one knows is not taken from a later
        one."""
        found, names = [], set()
        for resolver in self.resolvers:
            more = [f for f in resolver.search_functions(query) if f.name not in names]
            found += more
            if len(found) >= query.limit:
                break
            names.update([f.name for f in more])
        return found[:query.limit]

    def record(self, keyword, name):
        declared = None
        for resolver in self.resolvers:
            found = resolver.record(keyword, name)
            if found is not None and found.size is not None:
                return found
            declared = declared or found
        return declared

    def enum(self, name):
        return self._first("enum", name)

    def named(self, name):
        return self._first("named", name)

    def enumerator(self, name):
        return self._first("enumerator", name)

    def variable(self, name):
        return self._first("variable", name)

    def _first(self, method, name):
        for resolver in self.resolvers:
            found = getattr(resolver, method)(name)
            if found is not None:
                return found
        return None

    def search_records(self, pattern, limit=100):
        found, names = [], set()
        for resolver in self.resolvers:
            more = [row for row in resolver.search_records(pattern, limit) if row[0] not in names]
            found += more
            if len(found) >= limit:
                break
            names.update([row[0] for row in more])
        return found[:limit]

    def near(self, kind, name):
        found = []
        for resolver in self.resolvers:
            found += [other for other in resolver.near(kind, name) if other not in found]
        return found[:3]

    def close(self):
        for resolver in self.resolvers:
            resolver.close()
