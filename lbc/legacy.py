"""The reference's names for surftrace: existing scripts find what they call.  camelCase lives here and nowhere else.

    from lbc.legacy import surftrace, setupParser
    surf = surftrace(["p wake_up_new_task comm=%0->comm"], setupParser(), cb=print_line)
    surf.start()
    surf.loop()

Each name is a call into the new interface.  What the reference did wrong is done right behind the same name: any number
of sessions at once, everything undone on every way out, comms with spaces, `(fault)`, filters of every form.
"""
from __future__ import absolute_import

import sys
import threading
from collections import deque

from ._py23 import lazy_module, terminal_columns
from .errors import InputError, LbcError
from .render import hist as _hist

__all__ = ["surftrace", "setupParser", "CsurfList", "transProbeLine", "headTrans", "invHeadTrans", "taskList",
           "InvalidArgsException", "ExprException", "RootRequiredException", "FileNotEmptyException",
           "FileNotExistException", "DbException"]

# What scripts catch.  The reference raises InvalidArgsException for nearly everything, and reads `.message`.
InvalidArgsException = LbcError
ExprException = LbcError
RootRequiredException = LbcError
FileNotEmptyException = LbcError
FileNotExistException = LbcError
DbException = LbcError


def setupParser(mode="auto", db="", remote_ip="", gdb="", vmlinux="", arch="", ver=""):
    """A type source.  The reference's default asked a public server; here "remote" without one takes what this host has
    ($LBC_SERVER when it is set)."""
    from .resolvers import open_resolver
    from .wire import server_url
    if mode == "remote" and not server_url(remote_ip or None):
        mode = "auto"
    return open_resolver(mode, ver or None, arch or None, vmlinux or None, db or None, remote_ip or None)


class surftrace(object):
    """``args``: list of expressions, or {"fxpr": [what ``cbShow`` was given, ...]}; ``parser``: of setupParser;
    ``show``: hand each compiled expression to ``cbShow`` as {"type", "fxpr", "filter"} instead of tracing; ``echo``:
    print the equivalent shell lines; ``cb``: f(line) with ip_ and the like converted (default: print);
    ``cbOrig``: f(line) as the kernel prints it; ``cbEvent``: f(lines.Event), new."""

    def __init__(self, args, parser, show=False, echo=True, arch="", stack=False, cb=None, cbOrig=None, cbShow=None,
                 instance="surftrace", cbEvent=None):
        self._args, self._parser, self._is_show, self._echo = args, parser, show, echo
        self._arch, self._stack = arch, stack
        self._cbShow, self._cb, self._raw = cbShow or _print, cbOrig or cb or _print, cbOrig is not None
        if cbEvent is not None:
            self._cb = cbEvent
        self._parsed = cbEvent is not None
        self._session = self._thread = None
        self._ended = threading.Event()

    def start(self):
        """Show the expressions, or begin to trace; lines come to the callback from a thread."""
        from .ftrace.planner import make_plan, make_planner
        planner = make_planner(self._parser, self._arch, check=not self._arch)
        planner.only_shown = self._is_show
        if isinstance(self._args, dict):
            plan = _ready_plan(self._args["fxpr"], self._stack)
        elif isinstance(self._args, (list, tuple)):
            plan = make_plan(planner, [text.strip("\n") for text in self._args if text.strip()], self._stack)
        else:
            raise InputError("expressions are a list, or a dict with `fxpr`; this is a %s" % type(self._args).__name__)
        if self._is_show:
            for entry in plan.entries:
                self._cbShow({"type": entry.compiled.probe.kind, "filter": entry.condition,
                              "fxpr": entry.compiled.definition(entry.place) if entry.control else
                              "%s/%s" % (entry.system, entry.name)})
            return
        from .ftrace.tracing import planned_session
        if self._raw:
            for entry in plan.entries:
                entry.compiled.converters = {}
        self._session = planned_session(planner, plan, echo=_print if self._echo else None, parsed=self._parsed)
        self._session.start()
        self._thread = threading.Thread(target=self._read)
        self._thread.daemon = True
        self._thread.start()

    def _read(self):
        while not self._ended.is_set():
            self._hand_on(self._session.poll(200))

    def _hand_on(self, found):
        for one in found:
            self._cb(one if self._parsed else " %s " % one.strip())

    def loop(self):
        """Wait until Ctrl-C, SIGTERM or SIGHUP, or until another thread calls stop()."""
        from .tools import _cli
        _cli.loop(lambda timeout_ms: self._ended.wait(timeout_ms / 1000.0) and None, until=self._ended.is_set)
        self.stop()

    def stop(self):
        """End, hand on what is left, undo everything.  A second call does nothing."""
        self._ended.set()
        session, self._session = self._session, None
        if session is not None:
            if self._thread is not threading.current_thread():
                self._thread.join()
            try:
                self._hand_on(session.drain())
            finally:
                session.close()


def _print(text):
    sys.stdout.write("%s\n" % (text,))


class _Ready(object):
    """An expression that was compiled before (what ``cbShow`` was given): stands where an expr.probe.Compiled does."""
    converters, notes = {}, []

    def __init__(self, row):
        from .expr.probe import parse
        head, _, rest = row["fxpr"].partition(" ")
        place, _, self._fetch = rest.partition(" ")
        kind = row["type"]
        self.probe = parse("%s %s" % (kind, head if kind == "e" else place))
        self.name = self.probe.symbol.name if kind == "e" else head.partition(":")[2]
        self.place, self.filter = place, row.get("filter") or ""

    def definition(self, place, group=None):
        """As expr.probe.Compiled.definition."""
        return " ".join(["%s:%s" % (self.probe.kind.lower(), "%s/%s" % (group, self.name) if group else self.name),
                         place, self._fetch]).rstrip()


def _ready_plan(rows, stack):
    from .ftrace.plan import Entry, Plan
    try:
        made = [_Ready(row) for row in rows]
    except (KeyError, TypeError, AttributeError):
        raise InputError("not what cbShow was given: %r" % (rows,))
    return Plan([Entry(one, one.place, one.probe.symbol.module if one.probe.kind == "e" else "", one.filter)
                 for one in made], (), stack)


class CsurfList(deque):
    """The last ``maxLen`` numbers, with histograms of them."""

    def __init__(self, maxLen=1024):
        deque.__init__(self, maxlen=maxLen)

    def hist2(self):
        """Print a histogram by powers of two."""
        self.hist2Show(_hist.log2_slots(self))

    def hist10(self):
        """Print a histogram by powers of ten."""
        self.hist10Show(_hist.log10_slots(self))

    @staticmethod
    def hist2Show(slots):
        """Print 65 counts by powers of two."""
        _print("\n".join(_hist.log2_lines(slots, terminal_columns())))

    @staticmethod
    def hist10Show(slots):
        """Print 20 counts by powers of ten."""
        _print("\n".join(_hist.log10_lines(slots, terminal_columns())))


def headTrans(head, var):
    """'ip_src', '0x100007f' -> 'ip_src=127.0.0.1': the text of a variable whose name asks for a conversion."""
    from .expr import values
    prefix = values.prefix_of(head)
    if prefix:
        var = values.convert_text(values.prefix_converter(prefix[0]), var)
    return "%s=%s" % (head, var)


def invHeadTrans(head, var):
    """The other way, for filters: 'ip_src', '127.0.0.1' -> ('ip_src', '0x100007f')."""
    from .expr import values
    prefix = values.prefix_of(head)
    if prefix:
        var = "0x%x" % values.prefix_converter(prefix[0]).invert(var)
    return head, var


def transProbeLine(line):
    """A line of a callback as {"task", "pid", "cpu", "flag", "time", "name", "args"}, for probes also "func", "pos" and
    "size"; "args" maps names to texts.  ValueError when it is no event."""
    from .ftrace import lines
    text = line.strip()
    event = lines.parse_line(text)
    if event is None:
        raise ValueError("surftrace cannot fit %s now." % line)
    rest = lines.split_line(text)[5]
    row = {"task": event.task, "pid": event.pid, "cpu": event.cpu, "flag": event.flags, "time": "%.6f" % event.time,
           "name": event.name}
    body = rest.partition(": ")[2]
    if event.name.startswith("sys_exit_"):
        row["return"] = event.args["ret"]
    elif event.function is not None or body.startswith("("):
        where, _, arguments = body[1:].partition(")")
        where = where.partition(" <- ")[0]      # of a return probe: the caller
        size = where.partition("/0x")[2].partition(" ")[0]
        row["func"], row["pos"] = lines.place_of(where)
        row["size"] = int(size, 16) if size else 0
        row["args"] = dict((name, arguments[start:end].strip('"') if kind == '"' else arguments[start:end])
                           for name, start, end, kind in lines.spans(arguments))
    elif event.name.startswith("sys_enter_"):
        row["args"] = event.args
    else:
        row["args"] = body
    return row


def taskList(pid):
    """[thread id texts] of a process, [] when there is none."""
    import os
    try:
        return os.listdir("/proc/%d/task/" % pid)
    except OSError:
        return []


# -- pylcc's names: loaded when asked for --------------------------------------------------------------------------
_ELSEWHERE = {"ClbcLoad": "legacy_bpf", "ClbcBase": "legacy_bpf", "CeventThread": "legacy_thread",
              "ClbcUstack": "legacy_stack", "getKStacks": "legacy_stack", "CelfSym": "legacy_stack",
              "CelfKsym": "legacy_stack", "CksymFast": "legacy_stack"}


def _look_up(name):
    if name not in _ELSEWHERE:
        raise AttributeError("module 'lbc.legacy' has no attribute '%s'" % name)
    home = "lbc." + _ELSEWHERE[name]
    __import__(home)
    return getattr(sys.modules[home], name)


if __name__ == "__main__":
    from .legacy_run import main
    sys.exit(main())
lazy_module(__name__, _look_up)
