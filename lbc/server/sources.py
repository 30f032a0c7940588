"""Questions about types of a kernel -> rows, from open resolvers of which a bounded number is kept."""
from __future__ import absolute_import

from .._py23 import OrderedDict
from ..errors import InputError, LbcError, NotFoundError
from ..resolvers.base import FuncQuery
from ..resolvers.model import Record, strip
from .answers import function_row, record_row, type_row
from .hive import stamp

__all__ = ["Sources"]

_MOST_ROWS = 20000
_MOST_NAME = 256


def _name(text, what):
    if not text or len(text) > _MOST_NAME or min(text) < " ":
        raise InputError("%s: %s" % (what, "it is missing" if not text else "that is no name"))
    return text


class _Open(object):
    """An open resolver and the lock that its users hold: resolvers belong to one thread at a time."""

    def __init__(self, resolver, seen):
        from threading import Lock
        self.resolver, self.seen, self.lock = resolver, seen, Lock()


class Sources(object):
    """Answers `func`, `struct` and `type` for a hive.Kernel.  Keeps up to ``most`` resolvers open; one whose file has
    changed is opened anew."""

    def __init__(self, most=8):
        from threading import Lock
        self.most, self._open, self._lock = most, OrderedDict(), Lock()
        self._order = []

    # -- resolvers -----------------------------------------------------------------------------------------------------
    def _with(self, kind, path, own):
        """_Open of a file."""
        key, seen = (kind, path), stamp(path)
        with self._lock:
            entry = self._open.get(key)
            if entry is not None and entry.seen == seen:
                self._order.remove(key)
                self._order.append(key)
                return entry
            entry = self._open[key] = _Open(_make(kind, path, own), seen)
            self._order = [other for other in self._order if other != key] + [key]
            # what falls out is closed by its last user: dropping it here would pull it from under a thread that reads
            while len(self._order) > self.most:
                del self._open[self._order.pop(0)]
            return entry

    def _ask(self, kernel, kinds, question):
        """First answer of question(resolver) that is something; ``kinds``: order of sources."""
        failed, asked = None, False
        for kind in kinds:
            path = getattr(kernel, kind)
            if path is None:
                continue
            entry = self._with(kind, path, kernel.own)
            try:
                with entry.lock:
                    found = question(entry.resolver)
            except NotFoundError:
                found = None
            except LbcError as error:
                failed = failed or error    # one damaged file does not hide the other
                continue
            asked = True
            if found:
                return found
        if failed is not None:
            raise failed
        if not asked:
            raise NotFoundError("type information", kernel.release, "this server")
        return None

    # -- questions -----------------------------------------------------------------------------------------------------
    def functions(self, kernel, name, ret=None, arg=None):
        """Rows of `func`.  A database is asked first: it knows files and lines."""
        if name or not (ret or arg):
            _name(name, "func")
        for text, what in ((ret, "ret"), (arg, "arg")):
            if text:
                _name(text, what)
        plain = name and "%" not in name and not ret and not arg

        def question(resolver):
            if plain:
                return [function_row(found) for found in resolver.functions(name)]
            rows = resolver.search_functions(FuncQuery(name or None, ret, arg, _MOST_ROWS + 1))
            if len(rows) > _MOST_ROWS:
                raise InputError("`%s` fits more than %d functions: narrow it" % (name or "%", _MOST_ROWS))
            return [function_row(found) for found in rows]
        return self._ask(kernel, ("db", "btf"), question) or []

    def record(self, kernel, text):
        """Row of `struct`, None when it is not known; a list of rows for a pattern."""
        _name(text, "struct")

        def pattern(resolver):
            rows = resolver.search_records(text, _MOST_ROWS)
            return [{"name": name, "members": members, "size": size} for name, size, members in rows]

        def one(resolver):
            keyword, _, name = text.partition(" ")
            if keyword in ("struct", "union") and name:
                found = resolver.record(keyword, name.strip())
            else:   # an anonymous record is stored under the typedef that names it
                found = strip(resolver.named(text))
                found = found if isinstance(found, Record) else None
            if found is None or found.size is None:
                return None     # nothing, or only declared here: another source may have it
            return record_row(text, found)
        if "%" in text:
            return self._ask(kernel, ("btf", "db"), pattern) or []
        return self._ask(kernel, ("btf", "db"), one)

    def type(self, kernel, text):
        """Row of `type`, or None.  `_` stands for any pointer, as in the databases."""
        _name(text, "type")

        def question(resolver):
            if text == "_" or "*" in text:
                return {"name": text, "type": "void *" if text == "_" else text, "size": resolver.pointer_size}
            keyword, _, name = text.partition(" ")
            if keyword in ("struct", "union") and name:
                found = resolver.record(keyword, name)
                if found is not None and found.size is None:
                    found = None
            elif keyword == "enum" and name:
                found = resolver.enum(name)
            else:
                found = resolver.named(text)
            return None if found is None else type_row(text, found)
        return self._ask(kernel, ("btf", "db"), question)

    def close(self):
        """Close all."""
        with self._lock:
            entries, self._open, self._order = list(self._open.values()), OrderedDict(), []
        for entry in entries:
            with entry.lock:
                entry.resolver.close()


def _make(kind, path, own):
    if kind == "db":
        from ..resolvers.db import DbResolver
        return DbResolver(path)
    from ..resolvers.btf import BtfResolver
    from ..resolvers.btf import SYSFS
    return BtfResolver(None if own and path.startswith(SYSFS + "/") else path)
