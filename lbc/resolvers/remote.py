"""Types of a server (lbc.wire): every question once, answers kept in memory and checked before they are believed."""
from __future__ import absolute_import

from .. import host
from .._py23 import string_types, to_text
from ..errors import LbcError, RemoteError
from ..wire import Client, one_line
from .base import FuncQuery
from .ctext import Pattern
from .rows import RowsResolver, number_of, plain_module, text_of

__all__ = ["RemoteResolver"]

_MOST_ROWS = 1 << 16
_NARROW = ("i386", "i486", "i586", "i686", "x86", "arm", "armv6l", "armv7l")   # machines with pointers of 4 bytes


class RemoteResolver(RowsResolver):
    """Types of kernel ``release`` on ``machine`` (None: the running ones) as ``server`` ("HOST[:PORT]", None:
    $LBC_SERVER) knows them.  RemoteError when it fails or answers nonsense; what it does not know is None, as
    everywhere."""
    mode = "remote"

    def __init__(self, server=None, release=None, machine=None, client=None):
        RowsResolver.__init__(self)
        self.client = client or Client(server)
        self.release, self.machine = release or host.release(), machine or host.machine()
        self.where = "the server %s" % self.client.url
        self.pointer_size = 4 if self.machine in _NARROW else 8
        self._answers = {}

    def fail(self, what):
        return RemoteError("server %s: %s" % (self.client.url, one_line(what)), self.client.url)

    def _ask(self, cmd, **fields):
        """The field `res` of an answer, None where the server does not know."""
        key = cmd, tuple(sorted(fields.items()))
        if key not in self._answers:
            request = dict(fields, cmd=cmd, ver=self.release, arch=self.machine)
            self._answers[key] = self.client.ask_one(request).get("res")
        return self._answers[key]

    def _list(self, answer):
        if answer is None:
            return []
        if not isinstance(answer, list) or len(answer) > _MOST_ROWS:
            raise self.fail("a list was wanted")
        for row in answer:
            if not isinstance(row, dict):
                raise self.fail("a list of objects was wanted")
        return answer

    def _function(self, row):
        fail, args = self.fail, row.get("args")
        if not isinstance(args, list):
            raise fail("`args` is no list")
        module = row.get("module")  # not in version 1, yet servers may add it
        return (text_of(row.get("func"), "`func`", fail), [text_of(arg, "`args`", fail) for arg in args],
                text_of(row.get("ret"), "`ret`", fail), number_of(row.get("line") or 0, "`line`", fail),
                text_of(row.get("file") or "", "`file`", fail),
                plain_module(to_text(module)) if isinstance(module, string_types) else None)

    def function_rows(self, name):
        if not name or "%" in name:
            return []
        return [row for row in [self._function(row) for row in self._list(self._ask("func", func=name))]
                if row[0] == name]

    def search_functions(self, query):
        fields = {"func": query.name or "%"}
        for field, text in (("ret", query.ret), ("arg", query.arg)):
            if text:
                fields[field] = text
        name = Pattern(query.name)
        ret, arg = Pattern(query.ret, True), Pattern(query.arg, True)
        found = []
        for row in self._list(self._ask("func", **fields)):
            function = self.function(self._function(row))
            if name.matches(function.name) and ret.matches(function.ret.text) and (
                    arg.any or any([arg.matches(p.type.text) for p in function.params])):
                found.append(function)
        return found[:query.limit]

    def record_row(self, name):
        answer = self._ask("struct", struct=name) if "%" not in name else None
        if answer is None:
            return None
        fail = self.fail
        if not isinstance(answer, dict) or not isinstance(answer.get("cell"), list):
            raise fail("`struct` wants an object with `cell`")
        if len(answer["cell"]) > _MOST_ROWS:
            raise fail("%s has %d members" % (name, len(answer["cell"])))
        cells = []
        for cell in answer["cell"]:
            if not isinstance(cell, dict):
                raise fail("a cell is no object")
            cells.append((text_of(cell.get("type"), "`type`", fail), text_of(cell.get("name"), "`name`", fail),
                          number_of(cell.get("offset") or 0, "`offset`", fail),
                          number_of(cell.get("size") or 0, "`size`", fail), cell.get("bits")))
        return number_of(answer.get("size") or 0, "`size`", fail), lambda: cells

    def type_row(self, name):
        answer = self._ask("type", type=name)
        if answer is None:
            return None
        if not isinstance(answer, dict):
            raise self.fail("`type` wants an object")
        return (text_of(answer.get("name"), "`name`", self.fail), text_of(answer.get("type"), "`type`", self.fail),
                number_of(answer.get("size") or 0, "`size`", self.fail))

    def search_records(self, pattern, limit=100):
        keyed = pattern.startswith(("struct ", "union "))
        found = []
        for asked in (pattern,) if keyed else ("struct " + pattern, "union " + pattern):
            answer, wanted = self._ask("struct", struct=asked), Pattern(asked)
            for row in self._list([answer] if isinstance(answer, dict) else answer):
                name = text_of(row.get("name"), "`name`", self.fail)
                if wanted.matches(name):
                    found.append((name, number_of(row.get("size") or 0, "`size`", self.fail),
                                  number_of(row.get("members") or 0, "`members`", self.fail)))
        return found[:limit]

    def near(self, kind, name):
        from .._py23 import near
        head = name.partition("%")[0][:3]
        try:
            if kind == "function" and head:
                return near(name, [f.name for f in self.search_functions(FuncQuery(head + "%"))])
            if kind in ("struct", "union") and head:
                rows = self.search_records("%s %s%%" % (kind, head))
                return near(name, [row[0].partition(" ")[2] for row in rows])
        except LbcError:
            pass    # what is being said matters more
        return []
