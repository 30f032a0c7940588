"""Trace expressions from text to what is written into tracefs: the facade of this package.

    probe = parse("p wake_up_new_task comm=%0->comm f:comm==\"bash\"")          # nodes.Probe: syntax only
    compiled = compile_probe(probe, "f0", function, resolver, Target(arch))     # types, limits, filter
    compiled.definition("wake_up_new_task")     # 'p:f0 wake_up_new_task comm=+0xae0(%di):string'
    compiled.filter                             # 'comm=="bash"'
"""
from __future__ import absolute_import

from . import checker, emitter, filters, parser
from ..errors import ExprError, InputError

__all__ = ["parse", "compile_probe", "Target", "Limits", "Compiled", "FEATURES"]

parse = parser.parse

# What kernels differ in.  The caller finds them in <tracefs>/README.
#   x-types       x8 ... x64 (4.9)                  arrays        u32[4] (4.20)
#   ustring       :ustring (5.3)                    user-read     +u0(...) (5.3)
#   string-array  string[4] (4.20)                  symbol-type   :symbol (4.20)
#   ret-args      $argN in return probes (6.9)      filter-function  FIELD.function (6.3)
#   filter-ustring   FIELD.ustring (5.18)
FEATURES = ("x-types", "arrays", "ustring", "user-read", "string-array", "symbol-type")
_LINE = 4094    # WRITE_BUFSIZE - 2, kernel/trace/trace.c: bytes of a definition


class Limits(object):
    """What the kernel's parser takes.  ``arg_length``: characters of one fetch argument with its type (63, 255 in
    7.x); ``depth``: loads within each other (7.x: 8); ``args`` in one event; ``array``: elements; ``name``,
    ``variable``: characters of an event's and a variable's name; ``event``: bytes of all variables
    (MAX_PROBE_EVENT_SIZE)."""

    def __init__(self, arg_length=63, depth=14, args=128, array=64, name=63, variable=32, event=3072):
        self.arg_length, self.depth, self.args, self.array = arg_length, depth, args, array
        self.name, self.variable, self.event = name, variable, event


class Target(object):
    """The kernel that an expression is for.  ``arch``: uapi.arch.Arch; ``user``: a user probe; ``fields``: {name: with
    .name .type .size .signed .is_string} of an event (kind `e`); ``features``: frozenset of names (FEATURES);
    ``has_symbol``: name -> does the kernel have a symbol of this name (for `@symbol`), None: not checked."""

    def __init__(self, arch, user=False, fields=None, limits=None, features=None, has_symbol=None):
        self.arch, self.user, self.fields, self.has_symbol = arch, user, fields, has_symbol
        self.limits = limits or Limits()
        self.features = frozenset(FEATURES if features is None else features)


class Compiled(object):
    """``probe``; ``name`` of the event; ``fetch``: [(variable, fetch argument)]; ``filter``: the kernel's text, "" if
    none; ``converters``: {variable: f(number or list of numbers) -> text} of the variables that are not shown as the
    kernel prints them (values.convert_text applies one to printed text); ``fetches``: [storing.Fetch]; ``notes``:
    [text] worth telling."""

    def __init__(self, probe, name, fetch, condition, converters, fetches=(), notes=()):
        self.probe, self.name, self.fetch, self.filter = probe, name, fetch, condition
        self.converters, self.fetches, self.notes = converters, list(fetches), list(notes)

    def definition(self, place, group=None):
        """The line for kprobe_events or uprobe_events; ``place``: as the kernel wants it (`vfs_read`, `/bin/sh:0x8a0`).
        ExprError when the kernel takes no line so long, InputError for an event (kind `e`), which needs none."""
        probe = self.probe
        if probe.kind == "e":
            raise InputError("an event needs no definition")
        words = ["%s:%s %s" % (probe.kind.lower(), "%s/%s" % (group, self.name) if group else self.name, place)]
        words += ["%s=%s" % pair for pair in self.fetch]
        line = " ".join(words)
        if len(line) > _LINE:
            raise ExprError("this makes a line of %d bytes" % len(line), probe.text, probe.symbol.column,
                            "the kernel takes %d: make two expressions of it" % _LINE)
        return line


def compile_probe(probe, name, function, resolver, target):
    """Compiled.  ``function``: resolvers.model.Function, or None where nobody knows the prototype; ``resolver``:
    resolvers.base.Resolver.  ExprError with a caret where something is wrong."""
    if len(name) > target.limits.name:
        raise InputError("the event's name `%s` has more than %d characters" % (name, target.limits.name))
    fetches, notes = checker.check(probe, function, resolver, target)
    fetch = [(one.name, emitter.spell(one, target, probe.text)) for one in fetches]
    stored = 0
    for one in fetches:
        stored += one.stored
        if stored > target.limits.event:
            raise ExprError("the variables up to here have more than %d bytes" % target.limits.event, probe.text,
                            one.column, "the kernel has no larger events: make two expressions of it")
    if sum([len(variable) + len(text) + 2 for variable, text in fetch]) > _LINE - 32:
        raise ExprError("the variables make a line of more than %d bytes" % _LINE, probe.text,
                        fetches[-1].column, "make two expressions of it")
    condition = ""
    if probe.filter is not None:
        condition = filters.translate(probe, filters.fields_of(probe, fetches, target), target)
    converters = dict((one.name, one.converter) for one in fetches if one.converter is not None)
    return Compiled(probe, name, fetch, condition, converters, fetches, notes)
