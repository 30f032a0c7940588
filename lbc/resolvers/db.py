"""Types of a SQLite database: `info-RELEASE.db` and `prev.db` of the reference, and our own with the same tables.

    files(id, file)   funs(id, func, args JSON, ret, line, fid, module)   structs(id, name, members, bytes)
    members(id, fid, types, name, offset, bytes, bits)   types(id, name, alias, bytes)

The file is somebody else's: it is opened read-only, text goes in as bound parameters only, every value that comes out
is checked, and a query that takes too long is ended.
"""
from __future__ import absolute_import

from .._py23 import monotonic, open_database, range, string_types, to_text, to_unicode
from ..errors import FormatError, InputError
from ..wire import one_line
from .ctext import Pattern
from .rows import RowsResolver, number_of, plain_module, text_of

__all__ = ["DbResolver"]

_MAGIC = b"SQLite format 3\0"
_TABLES = ("funs", "structs", "members", "types")
_SECONDS = 20       # of one query: the largest known database, without indexes, needs 0.2
_STEPS = 200000     # virtual machine instructions between two looks at the clock
_MOST_ROWS = 1 << 17
_LONGEST = 1024     # characters of a name or pattern; SQLite takes 50,000 after GLOB


class DbResolver(RowsResolver):
    """Types of the database at ``path``, opened at the first question.  InputError when it cannot be read, FormatError
    when it is damaged or something else."""
    mode = "db"

    def __init__(self, path):
        RowsResolver.__init__(self)
        self.path = path
        self.where = path
        self._connection = None
        self._columns = {}
        self._until = 0
        self._pointer_size = None

    def fail(self, what):
        return FormatError(one_line(what), self.path)

    @property
    def pointer_size(self):
        """Bytes of `void *`, which the reference stores first."""
        if self._pointer_size is None:
            row = self.type_row("_") or self.type_row("void *")
            self._pointer_size = row[2] if row is not None and row[2] in (4, 8) else 8
        return self._pointer_size

    # -- opening -----------------------------------------------------------------------------------------------------
    def _open(self):
        try:
            with open(self.path, "rb") as stream:
                head = stream.read(len(_MAGIC))
        except EnvironmentError as error:
            raise InputError("cannot read database %s: %s" % (self.path, error.strerror or error), error)
        if head != _MAGIC:
            raise self.fail("is no SQLite database")
        import sqlite3
        try:
            connection = open_database(self.path, self.fail)
        except sqlite3.Error as error:
            raise self.fail("SQLite cannot open it: %s" % error)
        connection.text_factory = to_text   # bytes that are no UTF-8 become escapes, not errors
        connection.set_progress_handler(self._late, _STEPS)
        self._connection = connection
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _late(self):
        return monotonic() > self._until

    def _check(self):
        """The tables are there, and tables: a view could be any program."""
        kinds = dict([(row[0], row[1]) for row in self._rows(
            "SELECT name, type FROM sqlite_master WHERE name IN ('files', 'funs', 'structs', 'members', 'types')")])
        for name in _TABLES:
            if kinds.get(name) != "table":
                raise self.fail("has no table `%s`: it is no type database" % name)
        self._columns = {name: [row[1] for row in self._rows("PRAGMA table_info(%s)" % name)] for name in kinds}

    def _rows(self, query, parameters=()):
        """Rows of a query, one after the other; FormatError for whatever SQLite has to say."""
        if self._connection is None:
            self._open()
        import sqlite3
        self._until = monotonic() + _SECONDS
        try:
            cursor = self._connection.execute(query, [to_unicode(value) if isinstance(value, string_types) else value
                                                      for value in parameters])
            for _ in range(_MOST_ROWS):
                row = cursor.fetchone()
                if row is None:
                    break
                yield row
        except sqlite3.Error as error:
            raise self.fail("SQLite: %s" % (
                "gave up after %d s" % _SECONDS if "interrupted" in str(error) else error))
        except (OverflowError, UnicodeError, MemoryError, ValueError) as error:
            raise self.fail("SQLite: %s" % error)

    def close(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- questions ---------------------------------------------------------------------------------------------------
    def _functions(self, where, parameters):
        """Rows for RowsResolver.function; old databases may lack the module or the files."""
        if self._connection is None:
            self._open()
        module = "funs.module" if "module" in self._columns["funs"] else "NULL"
        named = "file" in self._columns.get("files", ())
        query = "SELECT funs.func, funs.args, funs.ret, funs.line, %s, %s FROM funs %s WHERE %s" % (
            "files.file" if named else "NULL", module,
            "LEFT JOIN files ON files.id = funs.fid" if named else "", where)
        for name, args, ret, line, path, module in self._rows(query, parameters):
            name = text_of(name, "`func`", self.fail)
            # gdb's file names are as long as the build folder's; a line may be missing
            yield (name, self._args(args), text_of(ret if ret is not None else "void", "`ret`", self.fail),
                   number_of(line or 0, "`line`", self.fail),
                   text_of(path if path is not None else "", "`file`", self.fail),
                   None if module is None else plain_module(text_of(module, "`module`", self.fail)))

    def _args(self, text):
        from json import loads
        try:
            args = loads(text_of(text, "`args`", self.fail))
        except (ValueError, RuntimeError) as error:     # RuntimeError: nested without end
            raise self.fail("`args` is no JSON: %s" % error)
        if not isinstance(args, list):
            raise self.fail("`args` is no list")
        return [text_of(arg, "`args`", self.fail) for arg in args]

    def function_rows(self, name):
        return list(self._functions("funs.func = ?", (name,)))

    def search_functions(self, query):
        name = Pattern(query.name)
        ret, arg = Pattern(query.ret, True), Pattern(query.arg, True)
        is_ret, is_arg = _Matching(self, ret), _Matching(self, arg)
        found = []
        if len(name.text) > _LONGEST:
            return []
        for row in self._functions("funs.func GLOB ?", (_glob(name),)):
            if len(found) >= query.limit:
                break
            if name.matches(row[0]) and (ret.any or is_ret[row[2] or "void"]) and (
                    arg.any or any([is_arg[text] for text in row[1] if text not in ("", "void", "...")])):
                found.append(self.function(row))
        return found

    def record_row(self, name):
        for ident, size in self._rows("SELECT id, bytes FROM structs WHERE name = ? LIMIT 1", (name,)):
            return number_of(size if size is not None else 0, "`bytes`", self.fail), lambda: self._cells(ident)
        return None

    def _cells(self, ident):
        fail, cells = self.fail, []
        for types, name, offset, size, bits in self._rows(
                "SELECT types, name, offset, bytes, bits FROM members WHERE fid = ? ORDER BY id", (ident,)):
            cells.append((text_of(types, "`types`", fail), text_of(name, "`name`", fail),
                          number_of(offset if offset is not None else 0, "`offset`", fail),
                          number_of(size if size is not None else 0, "`bytes`", fail), bits))
        return cells

    def type_row(self, name):
        for found, alias, size in self._rows("SELECT name, alias, bytes FROM types WHERE name = ? LIMIT 1", (name,)):
            return (text_of(found, "`name`", self.fail), text_of(alias, "`alias`", self.fail),
                    number_of(size if size is not None else 0, "`bytes`", self.fail))
        return None

    def enumerator(self, name):
        """Only of enums that a typedef names: the reference's databases have no others."""
        if not name or len(name) > _LONGEST:
            return None
        from .rows import enum_values
        for (alias,) in self._rows("SELECT alias FROM types WHERE alias GLOB ?",
                                   ("enum*{*%s*" % _quoted(name),)):
            for number, label in (enum_values(text_of(alias, "`alias`", self.fail)) or {}).items():
                if label == name:
                    return number
        return None

    def search_records(self, pattern, limit=100):
        if len(pattern) > _LONGEST:
            return []
        keyed = pattern.startswith(("struct ", "union "))
        wanted, found = Pattern(pattern), []
        query = "SELECT name, bytes, members FROM structs WHERE name GLOB ?"
        for name, size, members in self._rows(query, (("" if keyed else "* ") + _glob(wanted),)):
            name = text_of(name, "`name`", self.fail)
            if len(found) >= limit:
                break
            if wanted.matches(name if keyed else name.partition(" ")[2]):
                found.append((name, number_of(size or 0, "`bytes`", self.fail),
                              number_of(members or 0, "`members`", self.fail)))
        return found

    def near(self, kind, name):
        from .._py23 import near
        tables = {"function": ("funs", "func", ""), "struct": ("structs", "name", "struct "),
                  "union": ("structs", "name", "union "), "type": ("types", "name", "")}
        if kind not in tables or not name:
            return []
        table, column, prefix = tables[kind]
        try:
            rows = list(self._rows("SELECT DISTINCT %s FROM %s WHERE %s GLOB ? LIMIT 4096" % (column, table, column),
                                   (_quoted(prefix + name[:2]) + "*",)))
        except FormatError:
            return []
        return near(name, [to_text(row[0])[len(prefix):] for row in rows if row[0] is not None])


class _Matching(dict):
    """type text of a row -> does it match?  The same few thousand texts stand in all rows."""

    def __init__(self, owner, pattern):
        dict.__init__(self)
        self.owner, self.pattern = owner, pattern

    def __missing__(self, text):
        answer = self[text] = self.pattern.matches(self.owner.text_type(text).text)
        return answer


def _quoted(text):
    """``text`` for GLOB, where it stands for itself."""
    return "".join(["[%s]" % c if c in "*?[" else c for c in text])


def _glob(pattern):
    """GLOB, which minds case, where LIKE does not and takes `_` for any character."""
    return "*".join([_quoted(part) for part in pattern.parts])
