"""list: what there is to trace: functions with their prototypes, events with their fields, structs with their members.

usage: python -m lbc list [FUNCTION] [--ret TYPE] [--arg TYPE] [options]
       python -m lbc list -e [SYSTEM/EVENT] [options]
       python -m lbc list -s STRUCT [options]

Names may hold `*` (or `%`) for any text; in types `%` stands for any text.

  -R, --ret TYPE       only functions that return TYPE: 'struct file *'
  -A, --arg TYPE       only functions with a parameter of TYPE: 'struct sock *', 'struct %sock *'
  -e, --events         events of the running kernel; with a name, their fields too (needs root)
  -s, --structs        a struct or union with its members; a pattern lists names, sizes and numbers of members
  -m, --mode MODE      where types come from: auto (default), btf, db, remote, gdb
  -v, --vmlinux FILE   a vmlinux or raw BTF;   -d, --db FILE   a database;   -r, --server HOST[:PORT]   a server
  -k, --release NAME   another kernel than the running one (uname -r), for databases and servers
  -n, --limit COUNT    at most so many (100); 0: all
  -j, --json           one JSON object a line

    $ python -m lbc list 'tcp_v4_*' --arg 'struct sock *'
    int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)
    void tcp_v4_destroy_sock(struct sock *sk)
    $ python -m lbc list -s iphdr
    struct iphdr, 20 bytes
     offset   size
        0:0      1  __u8 ihl : 4
        0:4      1  __u8 version : 4
          1      1  __u8 tos

Types are without const and volatile.  Exit status 0; 1 when there is nothing, 2 for wrong usage.
"""
from __future__ import absolute_import

import sys

from ..errors import KernelError, NotFoundError
from . import _cli

__all__ = ["main"]

_DEEPEST = 16   # anonymous structs in anonymous structs


def _count(text):
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number or 1 << 30


OPTIONS = (("-R", "--ret", "ret", str, None), ("-A", "--arg", "arg", str, None),
           ("-e", "--events", "events", None, None), ("-s", "--structs", "structs", None, None),
           ("-m", "--mode", "mode", str, "auto"), ("-v", "--vmlinux", "vmlinux", str, None),
           ("-d", "--db", "db", str, None), ("-r", "--server", "server", str, None),
           ("-k", "--release", "release", str, None), ("-n", "--limit", "limit", _count, 100),
           ("-j", "--json", "json", None, None))


class _Rows(object):
    """Writes rows up to a limit, and says so when there were more."""

    def __init__(self, options, what):
        self.limit, self.json, self.what, self.count = options.limit, options.json, what, 0

    def write(self, row, text):
        """One row, as JSON or as lines of text."""
        self.count += 1
        _cli.write_text(_cli.json_line(row) if self.json else text)

    def cut(self, rows):
        """``rows`` up to the limit."""
        if len(rows) > self.limit:
            sys.stdout.flush()
            sys.stderr.write("list: only the first %d %s: --limit COUNT shows more, 0 all\n" % (self.limit, self.what))
        return rows[:self.limit]


def _pattern(text):
    return text.replace("*", "%") if text else None


# -- functions -----------------------------------------------------------------------------------------------------

def _functions(resolver, name, options):
    from ..resolvers.base import FuncQuery
    rows, pattern = _Rows(options, "functions"), _pattern(name)
    if pattern and "%" not in pattern and not options.ret and not options.arg:
        found = resolver.get_functions(pattern)
    else:
        found = resolver.search_functions(FuncQuery(pattern, options.ret, options.arg, options.limit + 1))
    for function in rows.cut(found):
        row = {"name": function.name, "ret": function.ret.text, "module": function.module, "file": function.file,
               "line": function.line, "text": function.text,
               "params": [{"name": p.name, "type": p.type.text} for p in function.params]}
        text = function.text + (" [%s]" % function.module if function.module else "")
        if function.file:
            text += "  %s:%d" % (function.file, function.line)
        rows.write(row, text)
    if not rows.count:
        for text in (options.ret, options.arg):
            if text and "%" not in text:
                resolver.type(text)     # no such type: its error has near names
        what = ["returns `%s`" % options.ret] * bool(options.ret) + ["takes `%s`" % options.arg] * bool(options.arg)
        raise NotFoundError("function", name or "*", resolver.where,
                            hint="looked for one that %s" % " and ".join(what) if what else None)


# -- structs -------------------------------------------------------------------------------------------------------

def _structs(resolver, name, options):
    pattern = _pattern(name) or "%"
    if "%" not in pattern:
        return _members(_record(resolver, pattern), pattern, options)
    rows = _Rows(options, "structs")
    for text, size, members in rows.cut(resolver.search_records(pattern, options.limit + 1)):
        rows.write({"name": text, "size": size, "members": members},
                   "%-40s %7d bytes %5d member%s" % (text, size, members, "s" * (members != 1)))
    if not rows.count:
        raise NotFoundError("struct", name, resolver.where)
    return None


def _record(resolver, name):
    """Record of 'iphdr', 'struct iphdr', 'union x' or a typedef."""
    from ..resolvers.model import Record, strip
    keyword, _, rest = name.strip().partition(" ")
    if rest and keyword in ("struct", "union"):
        return resolver.get_record(keyword, rest.strip())
    found = resolver.record("struct", name) or resolver.record("union", name) or strip(resolver.named(name))
    return found if isinstance(found, Record) else resolver.get_record("struct", name)


def _members(record, asked, options):
    if record.size is None:
        raise NotFoundError("definition of", record.text, hint="it is only declared")
    title = record.text if record.name else asked
    rows = _Rows(options, "members")
    rows.limit = 1 << 30
    if not options.json:
        _cli.write_text("%s, %d bytes\n%7s %6s" % (title, record.size, "offset", "size"))
    lines = list(_lines(record, 0, 0))
    if options.json:
        rows.write({"name": title, "size": record.size, "members": lines}, "")
        return
    for row in lines:
        offset = "%d" % row["offset"] if not row["bits"] else "%d:%d" % (row["offset"], row["bit_offset"] % 8)
        rows.write(row, "%7s %6d  %s%s%s" % (offset, row["size"], "  " * row["depth"], row["text"],
                                             " : %d" % row["bits"] if row["bits"] else ""))


def _lines(record, base, depth):
    """Rows of all members; those of anonymous ones follow them, one step deeper."""
    from ..resolvers.model import Record, declare, strip
    for member in record.members:
        at = base + member.bit_offset
        inner = strip(member.type)
        nested = isinstance(inner, Record) and not inner.name and depth < _DEEPEST
        text = declare(member.type, member.name)
        if nested and not member.name:
            text = inner.keyword
        yield {"name": member.name, "type": member.type.text, "offset": at // 8, "size": member.type.size or 0,
               "bits": member.bit_size, "bit_offset": at, "depth": depth, "text": text}
        if nested:
            for row in _lines(inner, at, depth + 1):
                yield row


# -- events --------------------------------------------------------------------------------------------------------

def _events(name, options):
    from ..kernel_files import KernelFiles
    from ..resolvers.ctext import Pattern
    from ..tracefs import need_tracefs
    files = KernelFiles()
    root = need_tracefs(files) + "/events"
    system, slash, event = (name or "*").replace(":", "/", 1).partition("/")
    systems, every = Pattern(_pattern(system)), Pattern(_pattern(event if slash else system))
    rows, found, names = _Rows(options, "events"), [], files.listdir(root)
    if not names:
        raise KernelError("%s cannot be read" % root, hint="are you root?")
    for folder in names:
        inside = files.listdir("%s/%s" % (root, folder)) if files.exists("%s/%s/enable" % (root, folder)) else []
        whole = systems.matches(folder)
        for each in inside:
            if (whole and (not slash or every.matches(each)) or not slash and every.matches(each)) and files.exists(
                    "%s/%s/%s/format" % (root, folder, each)):
                found.append((folder, each))
    for folder, each in rows.cut(found):
        _event(files, root, folder, each, rows, name)
    if not rows.count:
        from .._py23 import near
        raise NotFoundError("event", name, root, near(event or system, [
            each for folder in names for each in files.listdir("%s/%s" % (root, folder))]))


def _event(files, root, system, event, rows, detailed):
    from .._py23 import to_text
    from ..ftrace.formats import read_format
    row = {"system": system, "name": event}
    text = "%s/%s" % (system, event)
    if detailed or rows.json:
        path = "%s/%s/%s/format" % (root, system, event)
        try:
            form = read_format(to_text(files.read(path)), system, path)
        except KernelError:     # a probe that another process removed, or we may not look
            if not rows.json:
                text += "  (its format cannot be read)"
            return rows.write(row, text)
        row["id"] = form.id
        row["fields"] = [{"name": f.name, "type": _field_type(f), "offset": f.offset, "size": f.size,
                          "signed": f.signed} for f in form.own_fields]
        for field in form.own_fields:
            base, bracket, count = _field_type(field).partition("[")
            text += "\n    %s %s%s%s" % (base, field.name, bracket, count)
    return rows.write(row, text)


def _field_type(field):
    if field.kind in ("dynamic", "relative"):
        return field.type + "[]"
    return "%s[%d]" % (field.type, field.count) if field.kind != "number" else field.type


def main(argv=None):
    """Exit status.  Raises LbcError (see _cli.run_main)."""
    options = _cli.parse(__doc__, argv, OPTIONS, positional=1)
    name = options.rest[0] if options.rest else None
    if options.events and (options.structs or options.ret or options.arg):
        raise _cli.UsageError("--events goes with no --structs, --ret or --arg")
    if options.structs and (options.ret or options.arg):
        raise _cli.UsageError("--ret and --arg are for functions")
    if options.events:
        _events(name, options)
        return 0
    if not name and not options.ret and not options.arg:
        raise _cli.UsageError("what? a name of a function or struct, or a pattern: '*' is all")
    from ..resolvers import open_resolver
    with open_resolver(options.mode, options.release, None, options.vmlinux, options.db, options.server) as resolver:
        for note in resolver.notes:
            sys.stderr.write("list: %s\n" % note)
        (_structs if options.structs else _functions)(resolver, name, options)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(_cli.run_main("list", main))
