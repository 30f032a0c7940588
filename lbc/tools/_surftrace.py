"""The running part of surftrace: the session's loop, its output, and what is said at the end."""
from __future__ import absolute_import

import sys

from ..ftrace.session import threads_of
from ..ftrace.tracing import planned_session
from . import _cli

LOST = 3    # exit status with --strict


class Run(object):
    """One run: prints what the session hands out, counts, and knows when it is enough."""

    def __init__(self, session, options, child):
        self.session, self.options, self.child = session, options, child
        self.seen, self.last_time = 0, None
        if options.json:
            self.render = self.as_json
        elif options.time != "boot":
            self.render = {"wall": self.at_wall, "delta": self.at_delta, "none": self.at_none}[options.time]
            if options.time == "wall":
                from .. import host
                self.offset = host.wall_clock_offset()
        else:
            self.render = None

    def poll(self, timeout_ms):
        """Number of events shown."""
        return self.show(self.session.poll(timeout_ms))

    def show(self, found):
        """Print events; cut at --count."""
        if self.options.count:
            found = found[:max(0, self.options.count - self.seen)]
        if found:
            self.seen += len(found)
            _cli.write_lines([self.render(one) for one in found] if self.render else found)
        return len(found)

    def over(self):
        """Enough events, or the command has ended."""
        if self.options.count and self.seen >= self.options.count:
            return True
        return self.child is not None and self.child.ended()

    # -- one event as text -------------------------------------------------------------------------------------------
    def as_json(self, event):
        row = {"time": event.time, "task": event.task, "pid": event.pid, "cpu": event.cpu, "flags": event.flags,
               "event": event.name, "args": event.args}
        for name in ("function", "offset", "caller", "stack"):
            value = getattr(event, name)
            if value not in (None, "", []):
                row[name] = value
        if not event.args and event.text:
            row["text"] = event.text
        return _cli.json_line(row)

    def at_wall(self, event):
        seconds = event.time + self.offset
        return _with_time(event, "%s.%06d" % (_cli.clock(seconds), seconds % 1 * 1000000))

    def at_delta(self, event):
        before, self.last_time = self.last_time, event.time
        return _with_time(event, "+%.6f" % (event.time - (event.time if before is None else before)))

    def at_none(self, event):
        return _with_time(event, "")


def _with_time(event, text):
    """The event's line with another time stamp, "" for none."""
    before, found, after = event.text.partition("%.6f: " % event.time)
    if not found:
        return event.text
    return before + (text + ": " + after if text else after)


def trace(planner, plan, options):
    """Run the plan; exit status."""
    child, pids = None, ()
    if options.command:
        from ..ftrace.command import Held, split_command
        child = Held(split_command(options.command))
        pids = [child.pid]
    elif options.pid:
        pids = threads_of(options.pid)
    session = planned_session(planner, plan, echo=None if options.quiet or options.json else _cli.write_text, pids=pids,
                              parsed=options.json or options.time != "boot", text=options.text,
                              user_symbols=options.ustack)
    try:
        return _run(session, options, child)
    finally:
        if child is not None:
            child.close()
        session.close()


def _run(session, options, child):
    run = Run(session, options, child)

    def begin():    # signals are handled by now: whatever comes, what was traced is shown
        session.start()
        sys.stdout.flush()
        if child is not None:
            child.go()
    _cli.loop(run.poll, options.duration, sys.stdout.flush, until=run.over, begin=begin)
    run.show(session.drain())
    session.count()
    sys.stdout.flush()
    return _summary(session, options)


def _summary(session, options):
    lost, missed = session.lost, sum(session.missed.values())
    if lost:
        sys.stderr.write("surftrace: %d events lost: the buffer was full; a filter, or --buffer KB, helps\n" % lost)
    if missed:
        sys.stderr.write("surftrace: %d hits missed by probes (%s): they were hit while they were being handled, or "
                         "too many calls were under way for a return probe\n" % (
                             missed, ", ".join("%s: %d" % pair for pair in sorted(session.missed.items()))))
    return LOST if options.strict and (lost or missed) else 0
