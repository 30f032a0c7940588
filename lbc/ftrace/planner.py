"""Trace expressions -> a Plan: each is parsed, its place is found, its types are asked for, its filter is checked.

Nothing is written here.  What the kernel offers is read once (features), what an expression does not need is not asked.
"""
from __future__ import absolute_import

from .. import tracefs
from .._py23 import near, range, to_text
from ..errors import InputError, KernelError, NotFoundError
from ..expr import probe as _probe
from ..kernel_files import KernelFiles
from ..uapi import arch as _arch
from .features import read_features
from .formats import read_format
from .plan import Entry, Plan

__all__ = ["Planner", "make_planner", "make_plan", "split_lines", "MAX_PROBES"]

MAX_PROBES = 100   # of one wildcard
MAX_COMM = 15      # TASK_COMM_LEN - 1, include/linux/sched.h


class Planner(object):
    """``files``: kernel_files.KernelFiles; ``root``: tracefs, None where there is none (then expressions are only
    shown, and nothing is checked against the kernel); ``types``: a resolver, which also answers for casts in user
    probes; ``arch``: name of a machine, "" = this one; ``pid``: whose files user probes mean."""

    def __init__(self, files, root, types, arch="", pid=None, max_probes=MAX_PROBES, vmlinux=None, release=None):
        self.files, self.root, self.types = files, root, types
        self.pid, self.max_probes, self.vmlinux, self.release = pid, max_probes, vmlinux, release
        self.arch = machine(arch)
        self.only_shown = False     # then a kernel without kprobes is no reason to stop
        self._features = None

    def entries(self, expressions):
        """[Entry] of all expressions, named f0, f1 ... (kernel probes), p0, r0 ... (user probes).  LbcError."""
        found = []
        for text in expressions:
            probe = _probe.parse(text)
            if probe.kind == "e":
                found += self._events(probe)
            else:
                found += self._probes(probe, len(found))
        if not found:
            raise InputError("no expression", hint="for example: 'p wake_up_new_task comm=%0->comm'")
        return found

    def target(self, user=False, fields=None):
        """expr.probe.Target of this kernel."""
        if self.root is None:
            return _probe.Target(self.arch, user, fields)
        if self._features is None:
            self._features = read_features(self.files, self.root)
        features, limits = self._features
        return _probe.Target(self.arch, user, fields, limits, features)

    # -- probes ------------------------------------------------------------------------------------------------------
    def _probes(self, probe, number):
        places = self._user_places(probe) if probe.user else self._kernel_places(probe)
        target, entries = self.target(user=probe.user), []
        for place in places:
            letter = probe.kind.lower() if probe.user else "f"
            compiled = _probe.compile_probe(probe, "%s%d" % (letter, number + len(entries)),
                                            self._prototype(probe, place), self.types, target)
            entries.append(Entry(compiled, place.text, "", compiled.filter, place.note))
        return entries

    def _kernel_places(self, probe):
        from . import kernel_places
        if self.root is None or self.only_shown and not self.files.exists(self.root + "/kprobe_events"):
            symbol = probe.symbol
            text = (symbol.module + ":" if symbol.module else "") + symbol.name
            return [kernel_places.Place(text + ("+0x%x" % symbol.offset if symbol.offset else ""), symbol.name)]
        return kernel_places.resolve(probe.symbol, self.files, self.root, probe.is_return, self.types, self.max_probes,
                                     self.vmlinux, self.release)

    def _user_places(self, probe):
        from . import user_places
        return user_places.resolve(probe.symbol, self.pid, returns=probe.is_return, max_probes=self.max_probes)

    def _prototype(self, probe, place):
        """The function's prototype; None where no argument is asked for, or nobody knows it (user binaries)."""
        if not probe.args or probe.user:
            return None
        name = place.function.split(".")[0]     # .isra.0 and the like are copies of one source function
        found = self.types.functions(name, place.module or None)
        return found[0] if found else None

    # -- events ------------------------------------------------------------------------------------------------------
    def _events(self, probe):
        system, name = probe.symbol.module, probe.symbol.name
        if self.root is None:
            raise InputError("events need tracefs, which is not there")
        folder = self.root + "/events"
        if probe.symbol.is_pattern or any(char in system for char in "*?["):
            names = self._matching(folder, system, name)
            if not names:
                raise NotFoundError("event", "%s/%s" % (system, name), folder)
            if len(names) > self.max_probes:
                raise InputError("`%s/%s` matches %d events, more than %d" % (
                    system, name, len(names), self.max_probes),
                    hint="narrow it, or allow more with --max-probes %d" % len(names))
        else:
            names = [(system, name)]
        return [self._event(probe, *pair) for pair in names]

    def _matching(self, folder, system, name):
        from fnmatch import fnmatchcase
        return [(one, event) for one in self.files.listdir(folder) if fnmatchcase(one, system)
                and not one.startswith("lbc_") and one != "ftrace"
                for event in self.files.listdir("%s/%s" % (folder, one)) if fnmatchcase(event, name)
                and event not in ("enable", "filter")]

    def _event(self, probe, system, name):
        try:
            text = self.files.read("%s/events/%s/%s/format" % (self.root, system, name))
        except KernelError as error:
            raise self._no_event(system, name, error)
        form = read_format(to_text(text), system)
        target = self.target(fields=dict((field.name, field) for field in form.fields))
        compiled = _probe.compile_probe(probe, name, None, self.types, target)
        return Entry(compiled, "", system, compiled.filter)

    def _no_event(self, system, name, error):
        if not self.files.exists(self.root + "/events"):
            return error
        systems = self.files.listdir(self.root + "/events")
        if system in systems:
            known = self.files.listdir("%s/events/%s" % (self.root, system))
            return NotFoundError("event", "%s/%s" % (system, name), self.root + "/events",
                                 ["%s/%s" % (system, one) for one in near(name, known)])
        elsewhere = ["%s/%s" % (one, name) for one in systems
                     if name in self.files.listdir("%s/events/%s" % (self.root, one))]
        return NotFoundError("event", "%s/%s" % (system, name), self.root + "/events",
                             elsewhere or ["%s/..." % one for one in near(system, systems)])


def make_planner(types, arch="", pid=None, max_probes=MAX_PROBES, vmlinux=None, release=None, files=None, check=True):
    """Planner for this kernel; ``check``: False = places are not looked up in the running kernel (another's
    expressions are shown)."""
    files = files or KernelFiles()
    root = tracefs.find_tracefs(files)
    if check and root is None:
        tracefs.need_tracefs(files)
    return Planner(files, root if check else None, types, arch, pid, max_probes, vmlinux, release)


def make_plan(planner, expressions, stack=False, ustack=False, comm=None, buffer_kb=None, clock=None):
    """Plan of ``expressions``.  ``comm``: only tasks of that name; ``buffer_kb``: kB per CPU; ``clock``: one of
    trace_clock.  LbcError."""
    entries = planner.entries(expressions)
    if comm:
        if len(comm.encode("utf-8") if not isinstance(comm, bytes) else comm) > MAX_COMM:
            raise InputError("a task's name has at most %d characters: %r" % (MAX_COMM, comm))
        quote = '"' if '"' not in comm else "'"     # the kernel's grammar has no escapes
        if quote in comm:
            raise InputError("a filter cannot hold a name with both kinds of quotes: %s" % comm)
        test = "COMM==%s%s%s" % (quote, comm, quote)    # not `comm`: an event may have a field of that name
        for entry in entries:
            entry.condition = "(%s)&&%s" % (entry.condition, test) if entry.condition else test
    settings = []
    if buffer_kb:
        settings.append(("buffer_size_kb", str(buffer_kb)))
    if clock:
        settings.append(("trace_clock", clock))
    return Plan(entries, settings, stack, ustack)


def machine(name):
    """uapi.arch.Arch called ``name`` ("" = this machine's)."""
    if not name:
        return _arch.current()
    if name not in _arch.ARCHES:
        raise NotFoundError("architecture", name, "lbc", sorted(_arch.ARCHES))
    return _arch.ARCHES[name]


def split_lines(text):
    """Expressions of a file: one a line; a `#` at the start of a line makes it a comment."""
    lines = [line.strip() for line in text.splitlines()]
    return [lines[i] for i in range(len(lines)) if lines[i] and not lines[i].startswith("#")]
