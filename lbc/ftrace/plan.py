"""What a session writes into tracefs, as values: performed by session.py, shown as `echo` lines, written as a script.

One list of writes serves all three, with three sets of names: the session's own private group and instance; those that
the echo lines show (the kernel's default group, an instance `surftrace`); shell variables in a script.
"""
from __future__ import absolute_import

__all__ = ["Entry", "Names", "Plan", "echo_line", "quote"]


class Entry(object):
    """One event of a session.  ``compiled``: expr.probe.Compiled; ``place``: text for kprobe_events or uprobe_events,
    "" for an event that is there; ``system``: of such an event; ``condition``: the filter that is written;
    ``note``: text worth telling, or ""."""

    def __init__(self, compiled, place="", system="", condition="", note=""):
        self.compiled, self.place, self.system, self.condition, self.note = compiled, place, system, condition, note

    @property
    def name(self):
        """The event's name: f0, p1, sched_switch."""
        return self.compiled.name

    @property
    def user(self):
        """Is it a probe in a user binary?"""
        return self.compiled.probe.user

    @property
    def control(self):
        """'kprobe_events' or 'uprobe_events', '' for an event that is there."""
        return "" if self.system else "uprobe_events" if self.user else "kprobe_events"


class Names(object):
    """``root``: tracefs; ``instance``: folder of the instance; ``group``: of our probe events, None: the kernel's
    default ones."""

    def __init__(self, root, instance, group=None):
        self.root, self.instance, self.group = root, instance, group

    def group_of(self, entry):
        """Group or system that the event of ``entry`` is in."""
        return entry.system or self.group or ("uprobes" if entry.user else "kprobes")

    def event(self, entry):
        """Folder of the event in the instance."""
        return "%s/events/%s/%s" % (self.instance, self.group_of(entry), entry.name)


class Plan(object):
    """``entries``: [Entry]; ``settings``: [(file of the instance, text)] written before anything is enabled;
    ``stack``, ``ustack``: stacks of the kernel and of the process with every event."""

    def __init__(self, entries, settings=(), stack=False, ustack=False):
        self.entries, self.settings, self.stack, self.ustack = list(entries), list(settings), stack, ustack

    def define(self, entry, names):
        """(path, text) that makes the probe event of ``entry``."""
        return "%s/%s" % (names.root, entry.control), entry.compiled.definition(entry.place, names.group)

    def turn_on(self, entry, names):
        """[(path, text)]: its filter, and on."""
        writes = [(names.event(entry) + "/filter", entry.condition)] if entry.condition else []
        return writes + [(names.event(entry) + "/enable", "1")]

    def options(self, names):
        """[(path, text)] of the options of the instance."""
        writes = [("%s/options/stacktrace" % names.instance, "1" if self.stack else "0")]
        if self.ustack:
            writes.append(("%s/options/userstacktrace" % names.instance, "1"))
        return writes

    def setup(self, names):
        """[(path, text, append)], in order; the instance is there."""
        writes = [("%s/%s" % (names.instance, name), text, False) for name, text in self.settings]
        for entry in self.entries:
            if entry.control:
                writes.append(self.define(entry, names) + (True,))
            writes += [write + (False,) for write in self.turn_on(entry, names)]
        writes += [write + (False,) for write in self.options(names)]
        return writes + [("%s/tracing_on" % names.instance, "1", False)]

    def undo(self, names):
        """[(path, text, append)] that takes all of it back; the instance itself is removed afterwards."""
        writes = []
        for entry in self.entries:
            writes.append((names.event(entry) + "/enable", "0", False))
            if entry.control:
                name = "%s/%s" % (names.group, entry.name) if names.group else entry.name
                writes.append(("%s/%s" % (names.root, entry.control), "-:" + name, True))
        return writes + [("%s/tracing_on" % names.instance, "0", False)]


def quote(text):
    """``text`` as one word of a shell."""
    if text and not text.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:+-%@,"):
        return text
    return "'%s'" % text.replace("'", "'\\''")


def echo_line(path, text, append):
    """The shell line of one write."""
    return "echo %s %s %s" % (quote(text), ">>" if append else ">", path)
